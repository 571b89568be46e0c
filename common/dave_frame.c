/* SPDX-License-Identifier: ISC */
#include "common/dave_frame.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/bytes.h"
#include "common/err.h"

enum { MARKER = 0xfa, MARKER_LEN = 2, IV_LEN = 12, LEB_MAX_LEN = 10 };

struct dave_frame_key {
	EVP_CIPHER_CTX *ctx; /* both ways: GCM expands one schedule for both */
};

/* ---- the trailer ---- */

/* Bits above the 64th are dropped: whoever needs fewer says so himself. */
static uint64_t rd_leb(struct rd *r)
{
	uint64_t v = 0;
	int i;

	for (i = 0; i < LEB_MAX_LEN; i++) {
		uint8_t b = rd_u8(r);

		v |= (uint64_t)(b & 0x7f) << 7 * i;
		if ((b & 0x80) == 0)
			return v;
	}
	r->bad = true;
	return 0;
}

static void wr_leb(struct wr *w, uint32_t v)
{
	for (; v >= 0x80; v >>= 7)
		wr_u8(w, (uint8_t)(v | 0x80));
	wr_u8(w, (uint8_t)v);
}

static int parse_ranges(struct dave_frame *f, struct rd *r)
{
	uint64_t end = 0;

	f->ranges = 0;
	while (rd_left(r) > 0) {
		uint64_t offset = rd_leb(r), len = rd_leb(r);

		if (r->bad || offset < end || offset > f->media_len || len > f->media_len - offset)
			return TD_ERR_MALFORMED;
		end = offset + len;
		if (len == 0)
			continue;
		f->range[f->ranges].offset = (uint32_t)offset;
		f->range[f->ranges++].len = (uint32_t)len;
	}
	return TD_OK;
}

int dave_frame_parse(struct dave_frame *ret, const uint8_t *data, size_t len)
{
	size_t trailer;
	struct rd r;

	if (len < DAVE_FRAME_MIN_TRAILER || len > UINT32_MAX || data[len - 1] != MARKER ||
		data[len - 2] != MARKER)
		return TD_ERR_MALFORMED;
	trailer = data[len - 1 - MARKER_LEN];
	if (trailer < DAVE_FRAME_MIN_TRAILER || trailer > len)
		return TD_ERR_MALFORMED;
	ret->media_len = (uint32_t)(len - trailer);
	rd_init(&r, data + ret->media_len + DAVE_FRAME_TAG_LEN,
		trailer - DAVE_FRAME_TAG_LEN - 1 - MARKER_LEN);
	ret->nonce = (uint32_t)rd_leb(&r);
	if (r.bad)
		return TD_ERR_MALFORMED;
	return parse_ranges(ret, &r);
}

/* ---- the cipher ---- */

int dave_frame_key_new(struct dave_frame_key **ret, const uint8_t key[static DAVE_FRAME_KEY_LEN])
{
	struct dave_frame_key *k = calloc(1, sizeof(*k));

	if (k == NULL || (k->ctx = EVP_CIPHER_CTX_new()) == NULL ||
		EVP_CipherInit_ex(k->ctx, EVP_aes_128_gcm(), NULL, key, NULL, 0) != 1) {
		dave_frame_key_free(k);
		return TD_ERR_NOMEM;
	}
	*ret = k;
	return TD_OK;
}

void dave_frame_key_free(struct dave_frame_key *k)
{
	if (k == NULL)
		return;
	EVP_CIPHER_CTX_free(k->ctx);
	free(k);
}

static bool begin(struct dave_frame_key *k, uint32_t nonce, int sealing)
{
	const uint8_t iv[IV_LEN] = { [8] = (uint8_t)nonce,
		(uint8_t)(nonce >> 8),
		(uint8_t)(nonce >> 16),
		(uint8_t)(nonce >> 24) };

	return EVP_CipherInit_ex(k->ctx, NULL, NULL, NULL, iv, sealing) == 1;
}

/* Media through the cipher: clear ranges as additional data and as they are, the rest changed. */
static bool run(struct dave_frame_key *k, uint8_t *out, const uint8_t *in, size_t len,
	const struct dave_frame_range *range, size_t ranges)
{
	size_t i, at = 0;
	int n;

	for (i = 0; i < ranges; i++) {
		if (EVP_CipherUpdate(k->ctx, NULL, &n, in + range[i].offset, (int)range[i].len) !=
			1)
			return false;
		memcpy(out + range[i].offset, in + range[i].offset, range[i].len);
	}
	for (i = 0; i <= ranges; i++) {
		size_t to = i < ranges ? range[i].offset : len;

		if (to > at && EVP_CipherUpdate(k->ctx, out + at, &n, in + at, (int)(to - at)) != 1)
			return false;
		at = i < ranges ? (size_t)range[i].offset + range[i].len : len;
	}
	return true;
}

int dave_frame_open(struct dave_frame_key *k, uint8_t *plain, const struct dave_frame *f,
	const uint8_t *data)
{
	uint8_t tag[DAVE_FRAME_TAG_LEN], none[16];
	int n;

	memcpy(tag, data + f->media_len, sizeof(tag));
	if (f->media_len <= INT32_MAX && begin(k, f->nonce, 0) &&
		run(k, plain, data, f->media_len, f->range, f->ranges) &&
		EVP_CIPHER_CTX_ctrl(k->ctx, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag) == 1 &&
		EVP_CipherFinal_ex(k->ctx, none, &n) == 1)
		return TD_OK;
	/* GCM decrypts before it knows; what it wrote is nobody's. */
	sodium_memzero(plain, f->media_len);
	return TD_ERR_AUTH;
}

int dave_frame_seal(struct dave_frame_key *k, uint8_t *sealed, size_t *ret_len,
	const uint8_t *plain, size_t len, uint32_t nonce, const struct dave_frame_range *range,
	size_t ranges)
{
	uint8_t none[16];
	uint64_t end = 0;
	struct wr w;
	size_t i;
	int n;

	if (len > INT32_MAX)
		return TD_ERR_USAGE;
	wr_init(&w, sealed + len, DAVE_FRAME_MAX_TRAILER - 1 - MARKER_LEN);
	wr_zeros(&w, DAVE_FRAME_TAG_LEN);
	wr_leb(&w, nonce);
	for (i = 0; i < ranges; i++) {
		if (range[i].len == 0 || range[i].offset < end || range[i].offset > len ||
			range[i].len > len - range[i].offset)
			return TD_ERR_USAGE;
		end = (uint64_t)range[i].offset + range[i].len;
		wr_leb(&w, range[i].offset);
		wr_leb(&w, range[i].len);
	}
	if (w.bad)
		return TD_ERR_USAGE;
	if (!begin(k, nonce, 1) || !run(k, sealed, plain, len, range, ranges) ||
		EVP_CipherFinal_ex(k->ctx, none, &n) != 1 ||
		EVP_CIPHER_CTX_ctrl(k->ctx, EVP_CTRL_AEAD_GET_TAG, DAVE_FRAME_TAG_LEN,
			sealed + len) != 1)
		return TD_ERR_NOMEM;
	w.cap += 1 + MARKER_LEN;
	wr_u8(&w, (uint8_t)(w.len + 1 + MARKER_LEN));
	wr_u8(&w, MARKER);
	wr_u8(&w, MARKER);
	*ret_len = len + w.len;
	return TD_OK;
}
