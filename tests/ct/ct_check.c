/* SPDX-License-Identifier: ISC */
/*
 * Does time depend on secrets? After ctgrind: secrets are marked as undefined memory and the code
 * runs under valgrind's memcheck, which complains of every branch and every address made of
 * undefined bytes. What is public by design is marked as defined where it becomes so: whether a tag
 * was right (__wrap_mls_equal here; ct.supp where libcrypto looks).
 *
 * Private keys of P-256 are not marked: their arithmetic is libcrypto's. What was not run is not
 * checked, and neither are instructions whose time depends on what they work on.
 */
#include <stdio.h>
#include <string.h>

#include <sodium.h>
#include <valgrind/memcheck.h>

#include "common/dave_ratchet.h"
#include "common/mls/mls_group_state.h"
#include "tests/unit/dave_sim.h"

#define POISON(p, n) (void)VALGRIND_MAKE_MEM_UNDEFINED((p), (n))
#define REVEAL(p, n) (void)VALGRIND_MAKE_MEM_DEFINED((p), (n))

static unsigned cases, equals;
static unsigned long errors;

/* Everything of ours that compares tags calls this: the answer is public. */
int __real_mls_equal(const uint8_t *a, const uint8_t *b, size_t n);
int __wrap_mls_equal(const uint8_t *a, const uint8_t *b, size_t n);

int __wrap_mls_equal(const uint8_t *a, const uint8_t *b, size_t n)
{
	int r = __real_mls_equal(a, b, n);

	REVEAL(&r, sizeof(r));
	equals++;
	return r;
}

static void done(const char *what)
{
	unsigned long now = VALGRIND_COUNT_ERRORS;

	printf("%s %u - %s\n", now == errors ? "ok" : "not ok", ++cases, what);
	fflush(stdout);
	errors = now;
}

/* That `p` was made of what is secret, all of it: else nothing was checked. Reveals it. */
static void must_be_secret(void *p, size_t n)
{
	uint8_t bits[256];
	size_t i;

	SIM_MUST(n <= sizeof(bits) && VALGRIND_GET_VBITS(p, bits, n) == 1);
	for (i = 0; i < n; i++)
		SIM_MUST(bits[i] == 0xff);
	REVEAL(p, n);
}

/* ---- frames ---- */

enum { MEDIA_LEN = 160, SHIFT = 24 };
static const uint8_t base[DAVE_RATCHET_SECRET_LEN] = "a base secret..";

struct sealed {
	uint8_t data[MEDIA_LEN + DAVE_FRAME_MAX_TRAILER], media[MEDIA_LEN], plain[MEDIA_LEN];
	struct dave_frame f;
};

/* Its ciphertext and tag are as good as keys here: what else depends on them shall not show. */
static void seal(struct sealed *s, const uint8_t *key, uint32_t nonce, bool right)
{
	struct dave_frame_key *k;
	size_t len;

	memset(s->media, 'm', sizeof(s->media));
	SIM_MUST(dave_frame_key_new(&k, key) == TD_OK);
	SIM_MUST(dave_frame_seal(k, s->data, &len, s->media, MEDIA_LEN, nonce, NULL, 0) == TD_OK);
	dave_frame_key_free(k);
	SIM_MUST(dave_frame_parse(&s->f, s->data, len) == TD_OK);
	s->data[MEDIA_LEN + 3] ^= right ? 0 : 1;
	POISON(s->data, MEDIA_LEN + DAVE_FRAME_TAG_LEN);
}

static void check_opened(struct sealed *s, int r, bool right)
{
	static const uint8_t none[MEDIA_LEN];

	SIM_MUST(r == (right ? TD_OK : TD_ERR_AUTH));
	if (right)
		must_be_secret(s->plain, MEDIA_LEN);
	SIM_MUST(memcmp(s->plain, right ? s->media : none, MEDIA_LEN) == 0);
}

static void derivation(void)
{
	static const uint32_t generation[] = { 0, 1, 2, 9 };
	uint8_t secret[DAVE_RATCHET_SECRET_LEN], key[DAVE_FRAME_KEY_LEN], want[DAVE_FRAME_KEY_LEN];
	size_t i;

	for (i = 0; i < sizeof(generation) / sizeof(generation[0]); i++) {
		memcpy(secret, base, sizeof(secret));
		dave_ratchet_key(want, secret, 0, generation[i]);
		POISON(secret, sizeof(secret));
		dave_ratchet_key(key, secret, 0, generation[i]);
		must_be_secret(key, sizeof(key));
		SIM_MUST(memcmp(key, want, sizeof(key)) == 0);
	}
	done("the ratchet's keys from a secret base");
}

static void frame(bool right)
{
	uint8_t key[DAVE_FRAME_KEY_LEN];
	struct dave_frame_key *k;
	struct sealed s;

	memcpy(key, base, sizeof(key));
	seal(&s, key, 7, right);
	POISON(key, sizeof(key));
	SIM_MUST(dave_frame_key_new(&k, key) == TD_OK);
	check_opened(&s, dave_frame_open(k, s.plain, &s.f, s.data), right);
	dave_frame_key_free(k);
	done(right ? "a frame opens with a secret key and tag"
		   : "a frame with a wrong tag does not");
}

/* Generations 0 and 2, a wrong tag, and generation 0 forgotten: its secret is hashed on. */
static void ratchet(void)
{
	static const struct {
		uint32_t nonce;
		bool right;
	} step[] = { { 1, true }, { 2, false }, { 2u << SHIFT, true }, { 2u << SHIFT | 1, true } };
	uint8_t key[DAVE_FRAME_KEY_LEN], *secret;
	uint64_t now_ns = 300000 * TD_SEC_NS; /* long enough for generation 2 */
	struct dave_ratchet *r;
	struct sealed s;
	size_t i;

	SIM_MUST((secret = sodium_malloc(DAVE_RATCHET_SECRET_LEN)) != NULL);
	memcpy(secret, base, DAVE_RATCHET_SECRET_LEN);
	POISON(secret, DAVE_RATCHET_SECRET_LEN);
	SIM_MUST(dave_ratchet_new(&r, secret, 0) == TD_OK);
	for (i = 0; i < sizeof(step) / sizeof(step[0]); i++, now_ns += 11 * TD_SEC_NS) {
		dave_ratchet_key(key, base, 0, step[i].nonce >> SHIFT);
		seal(&s, key, step[i].nonce, step[i].right);
		check_opened(&s, dave_ratchet_open(r, s.plain, &s.f, s.data, now_ns, false),
			step[i].right);
	}
	must_be_secret(secret, DAVE_RATCHET_SECRET_LEN);
	SIM_MUST(memcmp(secret, base, DAVE_RATCHET_BASE_LEN) != 0); /* it moved on */
	dave_ratchet_free(r);
	sodium_free(secret);
	done("a ratchet opens, refuses and forgets");
}

/* ---- MLS ---- */

/* A call of three where one goes: a commit that the second has yet to process. */
static struct sim *three(struct sim_bytes *commit)
{
	struct sim *s = sim_new_call(3, 3);
	uint32_t leaf = sim_leaf(s, 2);
	struct sim_list l;

	s->c[2].connected = false;
	l = sim_list(s);
	sim_propose_remove(s, &l, leaf);
	sim_say_all(s, 27, sim_finish(&l));
	*commit = sim_half(s, 0, 1, false);
	return s;
}

/* The epoch's secrets and both tags, which end the message: V<32> confirmation, V<32> membership.
 * All the next epoch's secrets are made of ours. */
static void process(const char *what, bool flip_tag, bool flip_init, unsigned compared)
{
	struct sim_bytes commit;
	struct sim *s = three(&commit);
	struct mls_group *next = NULL, *g = sim_group(s, 1)->group;
	struct mls_ctx cx = { .random = sim_draw_mls, .user = s };
	uint8_t *end = commit.b + commit.len, secret[MLS_HASH_LEN];
	struct mls_commit_info info;
	int r;

	if (flip_tag)
		end[-1] ^= 1;
	g->keys->epoch.init[5] ^= flip_init ? 1 : 0;
	POISON(&g->keys->epoch, sizeof(g->keys->epoch));
	POISON(end - MLS_HASH_LEN, MLS_HASH_LEN);
	POISON(end - 2 * MLS_HASH_LEN - 1, MLS_HASH_LEN);
	equals = 0;
	r = mls_group_process(&cx, g, mls_span(commit.b + 2, commit.len - 2), 0, &next, &info);
	SIM_MUST(equals == compared);
	if (flip_tag || flip_init) {
		SIM_MUST(r == TD_ERR_AUTH && next == NULL);
	} else {
		SIM_MUST(r == TD_OK);
		mls_group_exporter_base(next, "a label", secret);
		mls_exporter_from_base(secret, 16, secret, mls_span("context", 7));
		must_be_secret(secret, sizeof(secret));
	}
	REVEAL(&g->keys->epoch, sizeof(g->keys->epoch));
	mls_group_free(next);
	free(commit.b);
	sim_free(s);
	done(what);
}

/* The comparison by itself, wherever the difference is. */
static void compare(void)
{
	uint8_t a[MLS_HASH_LEN], b[MLS_HASH_LEN];
	size_t i;

	for (i = 0; i <= MLS_HASH_LEN; i++) {
		memset(a, 'a', sizeof(a));
		memset(b, 'a', sizeof(b));
		if (i < MLS_HASH_LEN)
			b[i] ^= 0x80;
		POISON(a, sizeof(a));
		POISON(b, sizeof(b));
		SIM_MUST((mls_equal(a, b, sizeof(a)) == 0) == (i == MLS_HASH_LEN));
	}
	done("tags are compared");
}

int main(void)
{
	if (RUNNING_ON_VALGRIND == 0) {
		fprintf(stderr, "ct_check: means something under valgrind alone (make ct)\n");
		return 2;
	}
	SIM_MUST(sodium_init() >= 0);
	derivation();
	frame(true);
	frame(false);
	ratchet();
	compare();
	process("a commit with the right tags", false, false, 2);
	process("a commit with a wrong membership tag", true, false, 1);
	process("a commit with a wrong confirmation tag", false, true, 2);
	printf("1..%u\n", cases);
	return errors == 0 ? 0 : 1;
}
