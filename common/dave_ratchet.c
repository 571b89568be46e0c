/* SPDX-License-Identifier: ISC */
#include "common/dave_ratchet.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/mls/mls_crypto.h"

#define OLD_NS (10 * TD_SEC_NS)
enum { GENERATION_SHIFT = 24, KEPT = 4 };

struct dave_ratchet {
	uint8_t *secret; /* of generation `oldest`; the caller's */
	uint64_t created_ns;
	uint32_t oldest, newest;
	/* A newer generation opened a frame: it becomes the oldest then. UINT64_MAX: none did. */
	uint32_t next_oldest;
	uint64_t next_oldest_ns, newest_ns;
	struct kept {
		uint32_t generation;
		struct dave_frame_key *key; /* NULL: free */
	} kept[KEPT];
	unsigned next_kept; /* to be replaced */
	struct dave_nonces used;
	uint64_t last; /* of these */
};

/* ---- generations ---- */

uint64_t dave_ratchet_unwrap(uint32_t oldest, uint8_t g8)
{
	return ((uint64_t)oldest / 256 + (g8 < oldest % 256 ? 1 : 0)) * 256 + g8;
}

/* `out` is the secret of generation `to`, by hashing that of `from` (out may be it). */
static void walk(uint8_t *out, const uint8_t *secret, uint32_t from, uint32_t to)
{
	uint32_t g;

	if (out != secret)
		memcpy(out, secret, from == 0 ? DAVE_RATCHET_BASE_LEN : DAVE_RATCHET_SECRET_LEN);
	for (g = from; g < to; g++) {
		size_t len = g == 0 ? DAVE_RATCHET_BASE_LEN : DAVE_RATCHET_SECRET_LEN;

		mls_derive_tree_secret(out, DAVE_RATCHET_SECRET_LEN, mls_span(out, len), "secret",
			g);
	}
}

void dave_ratchet_key(uint8_t key[static DAVE_FRAME_KEY_LEN], const uint8_t *secret,
	uint32_t secret_generation, uint32_t generation)
{
	uint8_t s[DAVE_RATCHET_SECRET_LEN];

	walk(s, secret, secret_generation, generation);
	mls_derive_tree_secret(key, DAVE_FRAME_KEY_LEN,
		mls_span(s, generation == 0 ? DAVE_RATCHET_BASE_LEN : DAVE_RATCHET_SECRET_LEN),
		"key", generation);
	sodium_memzero(s, sizeof(s));
}

static void set_oldest(struct dave_ratchet *r, uint32_t generation)
{
	size_t i;

	walk(r->secret, r->secret, r->oldest, generation);
	r->oldest = generation;
	for (i = 0; i < KEPT; i++) {
		if (r->kept[i].generation < generation) {
			dave_frame_key_free(r->kept[i].key);
			r->kept[i].key = NULL;
		}
	}
}

/* Erases what is ten seconds older than something newer. */
static void expire(struct dave_ratchet *r, uint64_t now_ns)
{
	while (now_ns >= r->next_oldest_ns) {
		set_oldest(r, r->next_oldest);
		r->next_oldest = r->newest;
		r->next_oldest_ns = r->newest > r->oldest ? r->newest_ns + OLD_NS : UINT64_MAX;
	}
}

static void note_generation(struct dave_ratchet *r, uint32_t generation, uint64_t now_ns)
{
	if (generation <= r->newest)
		return;
	r->newest = generation;
	r->newest_ns = now_ns;
	if (r->next_oldest_ns == UINT64_MAX) {
		r->next_oldest = generation;
		r->next_oldest_ns = now_ns + OLD_NS;
	}
}

/* ---- frames ---- */

int dave_ratchet_new(struct dave_ratchet **ret, uint8_t *secret, uint64_t created_ns)
{
	struct dave_ratchet *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return TD_ERR_NOMEM;
	r->secret = secret;
	r->created_ns = created_ns;
	r->next_oldest_ns = UINT64_MAX;
	*ret = r;
	return TD_OK;
}

void dave_ratchet_free(struct dave_ratchet *r)
{
	size_t i;

	if (r == NULL)
		return;
	for (i = 0; i < KEPT; i++)
		dave_frame_key_free(r->kept[i].key);
	sodium_memzero(r->secret, DAVE_RATCHET_SECRET_LEN);
	free(r);
}

void dave_ratchet_set_used(struct dave_ratchet *r, const struct dave_nonces *used)
{
	r->used = *used;
}

uint64_t dave_ratchet_last(const struct dave_ratchet *r)
{
	return r->last;
}

/* The key of a generation, derived at most once while it is in use. That it was asked for says
 * nothing of the sender: a frame of somebody else leaves no trace that could be seen. */
static int key_of(struct dave_frame_key **ret, struct dave_ratchet *r, uint32_t generation)
{
	uint8_t key[DAVE_FRAME_KEY_LEN];
	struct dave_frame_key *made;
	struct kept *k;
	size_t i;
	int e;

	for (i = 0; i < KEPT; i++) {
		if (r->kept[i].key != NULL && r->kept[i].generation == generation) {
			*ret = r->kept[i].key;
			return TD_OK;
		}
	}
	dave_ratchet_key(key, r->secret, r->oldest, generation);
	e = dave_frame_key_new(&made, key);
	sodium_memzero(key, sizeof(key));
	if (e != TD_OK)
		return e;
	k = &r->kept[r->next_kept++ % KEPT];
	dave_frame_key_free(k->key);
	k->generation = generation;
	*ret = k->key = made;
	return TD_OK;
}

int dave_ratchet_open(struct dave_ratchet *r, uint8_t *plain, const struct dave_frame *f,
	const uint8_t *data, uint64_t now_ns, bool again)
{
	uint64_t age = now_ns > r->created_ns ? (now_ns - r->created_ns) / TD_SEC_NS : 0;
	uint64_t g, n;
	struct dave_frame_key *key;
	int e;

	expire(r, now_ns);
	g = dave_ratchet_unwrap(r->oldest, (uint8_t)(f->nonce >> GENERATION_SHIFT));
	if (g > (uint64_t)r->newest + DAVE_RATCHET_MAX_AHEAD ||
		g > age * DAVE_RATCHET_RATE >> GENERATION_SHIFT)
		return TD_ERR_LIMIT;
	n = g << GENERATION_SHIFT | (f->nonce & 0xffffff);
	if ((e = key_of(&key, r, (uint32_t)g)) != TD_OK)
		return e;
	/* A used nonce does not make it ours: each epoch counts from 0. The tag does. */
	if ((e = dave_frame_open(key, plain, f, data)) == TD_OK && !again &&
		dave_nonces_used(&r->used, n)) {
		sodium_memzero(plain, f->media_len);
		e = TD_ERR_DUPLICATE;
	}
	if (e != TD_OK)
		return e;
	note_generation(r, (uint32_t)g, now_ns);
	dave_nonces_add(&r->used, n);
	r->last = n;
	return TD_OK;
}
