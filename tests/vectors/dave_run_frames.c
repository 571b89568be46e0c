/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "common/dave_frame.h"
#include "common/dave_ratchet.h"
#include "common/err.h"
#include "tests/vectors/dave_run.h"

/* Media frames: those of a call, and the file of frames alone. */

struct run_ratchet {
	uint64_t user_id;
	struct dave_ratchet *ratchet;
	uint8_t *secret; /* locked, the ratchet's */
};
struct run_senders {
	struct run_ratchet v[64];
	size_t n;
};

void run_senders_free(struct run_senders *s)
{
	if (s == NULL)
		return;
	while (s->n > 0) {
		dave_ratchet_free(s->v[--s->n].ratchet);
		mls_secret_free(s->v[s->n].secret);
	}
	free(s);
}

/* The sender's ratchet in this epoch, begun with its base when it is met first. */
static struct dave_ratchet *find_ratchet(struct run_senders *s, uint64_t user_id,
	const uint8_t *base, uint64_t now_ns)
{
	struct run_ratchet *r;
	size_t i;

	for (i = 0; i < s->n; i++)
		if (s->v[i].user_id == user_id)
			return s->v[i].ratchet;
	if (s->n == sizeof(s->v) / sizeof(s->v[0]))
		return NULL;
	r = &s->v[s->n];
	if ((r->secret = mls_secret_new(DAVE_RATCHET_SECRET_LEN)) == NULL)
		return NULL;
	memcpy(r->secret, base, DAVE_RATCHET_BASE_LEN);
	if (dave_ratchet_new(&r->ratchet, r->secret, now_ns) < 0) {
		mls_secret_free(r->secret);
		return NULL;
	}
	r->user_id = user_id;
	s->n++;
	return r->ratchet;
}

static size_t read_ranges(struct run *v, const json_t *f, struct dave_frame_range *out)
{
	const json_t *list = json_object_get(f, "clear_ranges");
	json_t *one;
	size_t i;

	if (!run_want(v, json_array_size(list) <= DAVE_FRAME_MAX_RANGES, "clear_ranges", __FILE__,
		    __LINE__))
		return 0;
	json_array_foreach(list, i, one)
	{
		out[i].offset = (uint32_t)json_integer_value(json_array_get(one, 0));
		out[i].len = (uint32_t)json_integer_value(json_array_get(one, 1));
	}
	return json_array_size(list);
}

/* The trailer says what the recording says, and the key opens and seals it. */
static void compare_frame(struct run *v, const json_t *f, const uint8_t *key, struct mls_span plain)
{
	struct mls_span sealed = run_hex(v, f, "encrypted");
	struct dave_frame_range want[DAVE_FRAME_MAX_RANGES];
	size_t n = read_ranges(v, f, want);
	uint8_t *bytes = malloc(sealed.len + DAVE_FRAME_MAX_TRAILER);
	struct dave_frame_key *k = NULL;
	struct dave_frame frame;
	bool opens, seals;
	size_t len = 0;

	if (bytes == NULL || dave_frame_key_new(&k, key) < 0)
		abort();
	opens = dave_frame_parse(&frame, sealed.p, sealed.len) == TD_OK &&
		frame.nonce == run_number(v, f, "nonce") && frame.ranges == n &&
		memcmp(frame.range, want, n * sizeof(want[0])) == 0 &&
		dave_frame_open(k, bytes, &frame, sealed.p) == TD_OK &&
		run_same(bytes, frame.media_len, plain);
	seals = opens &&
		dave_frame_seal(k, bytes, &len, plain.p, plain.len, frame.nonce, want, n) ==
			TD_OK &&
		run_same(bytes, len, sealed);
	run_want(v, opens, "the frame opens", __FILE__, __LINE__);
	run_want(v, seals, "and is sealed the same", __FILE__, __LINE__);
	dave_frame_key_free(k);
	free(bytes);
}

/* As the worker does it. */
static void open_by_ratchet(struct live *l, struct run_senders *s, const json_t *f,
	const uint8_t *base, struct mls_span plain)
{
	struct run *v = l->v;
	struct mls_span sealed = run_hex(v, f, "encrypted");
	struct dave_ratchet *r = find_ratchet(s, run_id(v, f, "sender"), base, l->now_ns);
	uint8_t *bytes = malloc(sealed.len + 1);
	struct dave_frame frame;

	if (bytes == NULL)
		abort();
	run_want(v,
		r != NULL && dave_frame_parse(&frame, sealed.p, sealed.len) == TD_OK &&
			dave_ratchet_open(r, bytes, &frame, sealed.p, l->now_ns, false) == TD_OK &&
			run_same(bytes, frame.media_len, plain),
		"the sender's ratchet opens it", __FILE__, __LINE__);
	run_want(v,
		r != NULL &&
			dave_ratchet_open(r, bytes, &frame, sealed.p, l->now_ns, false) ==
				TD_ERR_DUPLICATE,
		"once", __FILE__, __LINE__);
	free(bytes);
}

/* Our own base secret is nobody's business but the group's. */
static bool find_base(struct live *l, uint64_t user_id, uint8_t base[static DAVE_SECRET_LEN])
{
	uint8_t exporter[MLS_HASH_LEN];
	uint8_t context[8];
	size_t i;

	if (user_id == l->d->conf.user_id) {
		for (i = 0; i < 8; i++)
			context[i] = (uint8_t)(user_id >> (8 * i));
		mls_group_exporter_base(live_group(l), "Discord Secure Frames v0", exporter);
		mls_exporter_from_base(base, DAVE_SECRET_LEN, exporter, mls_span(context, 8));
		return true;
	}
	for (i = 0; i < l->n_senders; i++)
		if (l->senders[i].user_id == user_id) {
			memcpy(base, l->senders[i].secret, DAVE_SECRET_LEN);
			return true;
		}
	return false;
}

void run_call_frame(struct live *l, struct run_senders **senders, const json_t *f)
{
	struct run *v = l->v;
	bool video = json_object_get(f, "plain") != NULL;
	struct mls_span plain = run_hex(v, f, video ? "plain" : "opus");
	uint8_t key[DAVE_FRAME_KEY_LEN];
	uint8_t base[DAVE_RATCHET_SECRET_LEN] = { 0 };

	if (*senders == NULL && (*senders = calloc(1, sizeof(**senders))) == NULL)
		abort();
	WANT(v, live_group(l) != NULL);
	WANT(v, run_number(v, f, "epoch") == mls_group_epoch(live_group(l)));
	WANT(v, find_base(l, run_id(v, f, "sender"), base));
	dave_ratchet_key(key, base, 0, (uint32_t)run_number(v, f, "generation"));
	compare_frame(v, f, key, plain);
	open_by_ratchet(l, *senders, f, base, plain);
}

static void run_frame(struct run *v, const json_t *f, const uint8_t *base)
{
	uint8_t key[DAVE_FRAME_KEY_LEN];
	uint64_t counter = run_number(v, f, "counter");
	uint64_t generation = run_number(v, f, "generation");

	WANT(v, counter >> 24 == generation);
	WANT(v, (uint32_t)counter == run_number(v, f, "nonce"));
	dave_ratchet_key(key, base, 0, (uint32_t)generation);
	compare_frame(v, f, key, run_hex(v, f, "plain"));
}

/* It has to fail to parse, or not open under any generation of the file. */
static void run_damaged(struct run *v, const json_t *root, const json_t *f)
{
	struct mls_span sealed = run_hex(v, f, "encrypted");
	uint8_t *bytes = malloc(sealed.len + 1);
	struct dave_frame frame;
	bool opened = false;
	json_t *one;
	size_t i;

	if (bytes == NULL)
		abort();
	if (dave_frame_parse(&frame, sealed.p, sealed.len) == TD_OK)
		json_array_foreach(run_array(v, root, "keys"), i, one)
		{
			struct dave_frame_key *k;

			if (dave_frame_key_new(&k, run_fixed(v, one, "key", 16)) < 0)
				abort();
			opened |= dave_frame_open(k, bytes, &frame, sealed.p) == TD_OK;
			dave_frame_key_free(k);
		}
	free(bytes);
	run_want(v, !opened, "it stays shut", __FILE__, __LINE__);
}

static void run_key(struct run *v, const json_t *k, const uint8_t *base)
{
	uint8_t key[DAVE_FRAME_KEY_LEN];

	dave_ratchet_key(key, base, 0, (uint32_t)run_number(v, k, "generation"));
	WANT(v, run_same(key, sizeof(key), run_hex(v, k, "key")));
}

void run_frames(struct run *v, const json_t *root)
{
	uint8_t base[DAVE_RATCHET_SECRET_LEN] = { 0 };
	struct dave_frame frame;
	json_t *one;
	size_t i;

	run_begin(v, "base secret");
	memcpy(base, run_fixed(v, root, "base_secret", DAVE_RATCHET_BASE_LEN),
		DAVE_RATCHET_BASE_LEN);
	run_end(v);
	json_array_foreach(run_array(v, root, "keys"), i, one)
	{
		run_begin(v, "key %zu", i);
		run_key(v, one, base);
		run_end(v);
	}
	json_array_foreach(run_array(v, root, "frames"), i, one)
	{
		run_begin(v, "frame %zu", i);
		run_frame(v, one, base);
		run_end(v);
	}
	json_array_foreach(run_array(v, root, "must_not_decrypt"), i, one)
	{
		run_begin(v, "damaged frame: %s", run_text(v, one, "why"));
		run_damaged(v, root, one);
		run_end(v);
	}
	json_array_foreach(run_array(v, root, "not_protocol_frames"), i, one)
	{
		struct mls_span data;

		run_begin(v, "plain frame: %s", run_text(v, one, "why"));
		data = run_hex(v, one, "data");
		run_want(v, dave_frame_parse(&frame, data.p, data.len) == TD_ERR_MALFORMED,
			"it is no encrypted frame", __FILE__, __LINE__);
		run_end(v);
	}
}
