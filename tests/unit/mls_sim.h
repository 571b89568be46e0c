/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_MLS_SIM_H
#define TD_TESTS_MLS_SIM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/mls/mls_group.h"
#include "common/mls/mls_group_state.h"
#include "common/mls/mls_hpke.h"
#include "common/mls/mls_tree.h"

/*
 * A call in one process: members that run our own code, and an external sender that proposes who
 * comes and goes, as the voice gateway does. Random bytes come from a seed, so a run can be
 * repeated; only the nonces of signatures are libcrypto's own.
 */
enum { SIM_MAX = 64 };

struct sim_member {
	uint64_t user;
	uint8_t signature[MLS_PRIV_LEN];
	struct mls_own_package *package; /* outstanding */
	struct mls_group *group;         /* NULL while not in the call */
};

struct sim {
	struct mls_ctx cx;
	uint64_t seed, counter;
	uint8_t sender_priv[MLS_PRIV_LEN];
	uint8_t extensions[160];
	size_t extensions_len;
	struct sim_member m[SIM_MAX];
	size_t n;
};

struct sim_bytes {
	uint8_t b[16384];
	size_t len;
};

static const uint8_t sim_group_id[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

static int sim_random(void *user, uint8_t *out, size_t n)
{
	struct sim *s = user;
	uint8_t seed[randombytes_SEEDBYTES] = { 0 };

	memcpy(seed, &s->seed, 8);
	memcpy(seed + 8, &s->counter, 8);
	s->counter++;
	randombytes_buf_deterministic(out, n, seed);
	return TD_OK;
}

/* A number below n, from the same stream. */
static inline uint32_t sim_pick(struct sim *s, uint32_t n)
{
	uint32_t v;

	sim_random(s, (uint8_t *)&v, sizeof(v));
	return v % n;
}

static inline struct mls_span sim_identity(const uint64_t *user)
{
	return mls_span(user, sizeof(*user));
}

static inline void sim_new_package(struct sim *s, size_t i)
{
	struct sim_member *m = &s->m[i];

	mls_own_package_free(m->package);
	m->package = NULL;
	assert_int_equal(mls_own_package_new(&s->cx, &m->package, sim_identity(&m->user),
				 m->signature),
		0);
}

static inline size_t sim_add_member(struct sim *s)
{
	size_t i = s->n++;

	assert_true(i < SIM_MAX);
	s->m[i].user = 0x1000 + i;
	assert_int_equal(mls_hpke_generate(&s->cx, s->m[i].signature, NULL), 0);
	sim_new_package(s, i);
	return i;
}

/* A group id of 8 bytes and one external sender, like the group of a call; member 0 begins it. */
static inline void sim_init(struct sim *s, uint64_t seed)
{
	uint8_t sender[MLS_PUB_LEN + 16];
	uint8_t pub[MLS_PUB_LEN];
	size_t sender_len;
	struct wr w;

	memset(s, 0, sizeof(*s));
	s->seed = seed;
	s->cx.random = sim_random;
	s->cx.user = s;
	assert_int_equal(mls_hpke_generate(&s->cx, s->sender_priv, pub), 0);
	wr_init(&w, sender, sizeof(sender));
	mls_wr_vec(&w, mls_span(pub, sizeof(pub)));
	wr_u16(&w, MLS_CREDENTIAL_BASIC);
	mls_wr_vec(&w, mls_span("\0", 1));
	sender_len = w.len;
	wr_init(&w, s->extensions, sizeof(s->extensions));
	mls_external_senders_write(&w, mls_span(sender, sender_len));
	s->extensions_len = w.len;
	sim_add_member(s);
	assert_int_equal(mls_group_new(&s->cx, &s->m[0].group, s->m[0].package,
				 mls_span(sim_group_id, sizeof(sim_group_id)),
				 mls_span(s->extensions, s->extensions_len)),
		0);
}

static inline void sim_free(struct sim *s)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		mls_group_free(s->m[i].group);
		mls_own_package_free(s->m[i].package);
	}
}

/* Some member that is in the call, at random; and one that is in it at all. */
static inline size_t sim_pick_member(struct sim *s)
{
	size_t i;

	do
		i = sim_pick(s, (uint32_t)s->n);
	while (s->m[i].group == NULL);
	return i;
}

static inline struct mls_group *sim_any(const struct sim *s)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		if (s->m[i].group != NULL)
			return s->m[i].group;
	return NULL;
}

static inline uint32_t sim_leaf(const struct sim *s, size_t i)
{
	uint32_t leaf = UINT32_MAX;

	assert_true(mls_group_find(sim_any(s), sim_identity(&s->m[i].user), &leaf));
	return leaf;
}

/* A proposal of the external sender over `proposal`, a Proposal with its type. */
static inline void sim_external_proposal(struct sim *s, struct sim_bytes *out,
	struct mls_span proposal, uint64_t epoch, uint32_t sender)
{
	struct mls_public_message m = { 0 };
	uint8_t sig[MLS_SIG_MAX];
	struct rd r;
	struct wr w;
	size_t len;

	wr_init(&w, out->b, sizeof(out->b));
	mls_message_head_write(&w, MLS_WIRE_PUBLIC_MESSAGE);
	mls_wr_vec(&w, mls_span(sim_group_id, sizeof(sim_group_id)));
	wr_u64(&w, epoch);
	wr_u8(&w, MLS_SENDER_EXTERNAL);
	wr_u32(&w, sender);
	mls_wr_varint(&w, 0);
	wr_u8(&w, MLS_CONTENT_PROPOSAL);
	mls_wr_span(&w, proposal);
	rd_init(&r, out->b + 4, w.len - 4);
	mls_framed_content_read(&r, &m.content);
	assert_true(rd_done(&r));
	assert_int_equal(mls_public_message_sign(&m.content, sig, &len, s->sender_priv,
				 mls_span(NULL, 0)),
		0);
	mls_wr_vec(&w, mls_span(sig, len));
	assert_false(w.bad);
	out->len = w.len;
}

static inline struct mls_span sim_span(const struct sim_bytes *b)
{
	return mls_span(b->b, b->len);
}

static inline void sim_add_proposal(struct sim *s, struct sim_bytes *out, size_t i)
{
	uint8_t proposal[1024];
	struct wr w;

	wr_init(&w, proposal, sizeof(proposal));
	wr_u16(&w, MLS_PROPOSAL_ADD);
	mls_wr_span(&w, s->m[i].package->package.raw);
	sim_external_proposal(s, out, mls_span(proposal, w.len), mls_group_epoch(sim_any(s)), 0);
}

static inline void sim_remove_proposal(struct sim *s, struct sim_bytes *out, uint32_t leaf)
{
	uint8_t proposal[8];
	struct wr w;

	wr_init(&w, proposal, sizeof(proposal));
	wr_u16(&w, MLS_PROPOSAL_REMOVE);
	wr_u32(&w, leaf);
	sim_external_proposal(s, out, mls_span(proposal, w.len), mls_group_epoch(sim_any(s)), 0);
}

static inline int sim_store(struct sim *s, struct mls_group *g, const struct sim_bytes *b)
{
	struct mls_proposal *p;
	int r;

	if ((r = mls_proposal_open(&s->cx, g, sim_span(b), &p)) < 0)
		return r;
	if ((r = mls_group_store(&s->cx, g, p)) < 0)
		mls_proposal_free(p);
	return r;
}

/* To everybody who is in the call. */
static inline void sim_deliver(struct sim *s, const struct sim_bytes *b)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		if (s->m[i].group != NULL)
			assert_int_equal(sim_store(s, s->m[i].group, b), 0);
}

static inline void sim_propose_add(struct sim *s, size_t i)
{
	struct sim_bytes b;

	sim_add_proposal(s, &b, i);
	sim_deliver(s, &b);
}

static inline void sim_propose_remove(struct sim *s, size_t i)
{
	struct sim_bytes b;

	sim_remove_proposal(s, &b, sim_leaf(s, i));
	sim_deliver(s, &b);
}

/* Everybody in the call has come to the same epoch, with keys that fit. */
static inline void sim_agree(const struct sim *s)
{
	const struct mls_group *first = sim_any(s);
	uint32_t members = 0;
	uint8_t base[2][MLS_HASH_LEN];
	uint32_t leaf;
	size_t i;

	mls_group_exporter_base(first, "label", base[0]);
	for (i = 0; i < s->n; i++) {
		const struct mls_group *g = s->m[i].group;

		if (g == NULL)
			continue;
		members++;
		assert_true(
			mls_span_equal(mls_group_context(g)->raw, mls_group_context(first)->raw));
		assert_memory_equal(mls_group_authenticator(g), mls_group_authenticator(first), 32);
		assert_memory_equal(mls_group_interim_hash(g), mls_group_interim_hash(first), 32);
		mls_group_exporter_base(g, "label", base[1]);
		assert_memory_equal(base[0], base[1], sizeof(base[0]));
		assert_int_equal(mls_tree_keys_check(&g->keys->tree, &g->tree,
					 mls_group_own_leaf(g)),
			0);
		assert_true(mls_group_find(g, sim_identity(&s->m[i].user), &leaf));
		assert_int_equal(leaf, mls_group_own_leaf(g));
	}
	assert_int_equal(members, mls_group_n_members(first));
}

/* The commit `c` of member `by` is announced: it adopts its own, the others process it, those who
 * were added join, those who were removed are out. */
static inline void sim_announce(struct sim *s, size_t by, struct mls_own_commit *c)
{
	struct mls_commit_info info;
	struct mls_group *next;
	uint32_t leaf;
	size_t i;

	for (i = 0; i < s->n; i++) {
		if (i == by || s->m[i].group == NULL)
			continue;
		next = NULL;
		if (mls_group_process(&s->cx, s->m[i].group, mls_span(c->message, c->message_len),
			    0, &next, &info) != 0)
			fail_msg("member %zu refuses: %s", i, s->cx.why);
		assert_int_equal(info.committer, mls_group_own_leaf(s->m[by].group));
		assert_int_equal(info.removed_us, next == NULL);
		mls_group_free(s->m[i].group);
		s->m[i].group = next;
	}
	for (i = 0; i < s->n; i++) {
		if (i == by || s->m[i].group != NULL || s->m[i].package == NULL ||
			!mls_group_find(c->next, sim_identity(&s->m[i].user), &leaf))
			continue;
		if (mls_group_join(&s->cx, &s->m[i].group, s->m[i].package,
			    mls_span(c->welcome, c->welcome_len), NULL) != 0)
			fail_msg("member %zu cannot join: %s", i, s->cx.why);
	}
	mls_group_free(s->m[by].group);
	s->m[by].group = c->next;
	c->next = NULL;
	mls_own_commit_free(c);
	sim_agree(s);
}

static inline struct mls_own_commit *sim_make_commit(struct sim *s, size_t by, unsigned flags)
{
	struct mls_own_commit *c = NULL;

	if (mls_group_commit(&s->cx, s->m[by].group, flags, &c) != 0)
		fail_msg("member %zu cannot commit: %s", by, s->cx.why);
	return c;
}

static inline void sim_commit(struct sim *s, size_t by, unsigned flags)
{
	sim_announce(s, by, sim_make_commit(s, by, flags));
}

/* n members more, all in one commit of member 0. */
static inline void sim_grow(struct sim *s, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		sim_propose_add(s, sim_add_member(s));
	sim_commit(s, 0, 0);
}

#endif
