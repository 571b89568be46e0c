/* SPDX-License-Identifier: ISC */
/*
 * A media frame as its sender's client might have made it: the trailer, then a ratchet that opens
 * it. One byte chooses the age of the ratchet, so that generations come into play; every frame that
 * is sealed from the input must open once and not twice.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/dave_frame.h"
#include "common/dave_ratchet.h"
#include "common/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX = 2048 };

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_ranges(const struct dave_frame *f, size_t len)
{
	uint64_t end = 0;
	uint32_t i;

	check(f->media_len + DAVE_FRAME_MIN_TRAILER <= len);
	check(len - f->media_len <= DAVE_FRAME_MAX_TRAILER);
	check(f->ranges <= DAVE_FRAME_MAX_RANGES);
	for (i = 0; i < f->ranges; i++) {
		check(f->range[i].len > 0 && f->range[i].offset >= end);
		end = (uint64_t)f->range[i].offset + f->range[i].len;
	}
	check(end <= f->media_len);
}

/* What the trailer says, said about the same media again. */
static void check_sealed(struct dave_ratchet *r, const uint8_t *base, const struct dave_frame *f,
	const uint8_t *media, uint64_t now_ns)
{
	uint8_t key[DAVE_FRAME_KEY_LEN], sealed[MAX + DAVE_FRAME_MAX_TRAILER], plain[MAX];
	struct dave_frame_key *k;
	struct dave_frame again;
	size_t len;
	int e;

	dave_ratchet_key(key, base, 0, f->nonce >> 24);
	check(dave_frame_key_new(&k, key) == TD_OK);
	check(dave_frame_seal(k, sealed, &len, media, f->media_len, f->nonce, f->range,
		      f->ranges) == TD_OK);
	dave_frame_key_free(k);
	check(dave_frame_parse(&again, sealed, len) == TD_OK);
	check(again.media_len == f->media_len && again.nonce == f->nonce &&
		again.ranges == f->ranges &&
		memcmp(again.range, f->range, f->ranges * sizeof(f->range[0])) == 0);
	e = dave_ratchet_open(r, plain, &again, sealed, now_ns, false);
	check(e == TD_OK || e == TD_ERR_LIMIT);
	if (e != TD_OK)
		return;
	check(memcmp(plain, media, f->media_len) == 0);
	e = dave_ratchet_open(r, plain, &again, sealed, now_ns, false);
	check(e == TD_ERR_DUPLICATE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t base[DAVE_RATCHET_BASE_LEN] = { 1, 2, 3 };
	uint8_t secret[DAVE_RATCHET_SECRET_LEN] = { 1, 2, 3 }, plain[MAX];
	uint64_t now_ns = TD_REPLAY_BASE_NS;
	struct dave_ratchet *r;
	struct dave_frame f;
	int e;

	if (size < 1 || size > MAX)
		return 0;
	now_ns += (uint64_t)data[0] * 30 * 3600 * TD_SEC_NS;
	data++;
	size--;
	if (dave_frame_parse(&f, data, size) != TD_OK)
		return 0;
	check_ranges(&f, size);
	check(dave_ratchet_new(&r, secret, TD_REPLAY_BASE_NS) == TD_OK);
	e = dave_ratchet_open(r, plain, &f, data, now_ns, false);
	check(e == TD_OK || e == TD_ERR_AUTH || e == TD_ERR_LIMIT);
	if (e != TD_OK)
		check_sealed(r, base, &f, data, now_ns);
	dave_ratchet_free(r);
	return 0;
}
