/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include <sodium.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/mls/mls_group_state.h"
#include "tests/vectors/dave_run.h"

/* A session of ours with recorded keys in it. */

static void draw(void *user, uint8_t *out, size_t len)
{
	(void)user;
	randombytes_buf(out, len);
}

bool live_open(struct live *l, struct run *v, uint64_t channel_id, uint64_t user_id)
{
	struct dave_conf conf = {
		.channel_id = channel_id,
		.user_id = user_id,
		.random = draw,
	};

	memset(l, 0, sizeof(*l));
	l->v = v;
	l->now_ns = TD_REPLAY_BASE_NS;
	l->pass_until_ns = UINT64_MAX;
	if (sodium_init() < 0 || dave_identity_new(&l->identity, draw, NULL) < 0)
		return false;
	conf.identity = l->identity;
	return dave_session_new(&l->d, &conf) == TD_OK;
}

void live_close(struct live *l)
{
	dave_session_free(l->d);
	dave_identity_free(l->identity);
}

static uint32_t id_in(const struct dave_action *a)
{
	json_t *root = json_loadb((const char *)a->data, a->len, 0, NULL);
	json_t *id = json_object_get(root, "transition_id");
	uint32_t n = json_is_integer(id) ? (uint32_t)json_integer_value(id) : UINT32_MAX;

	json_decref(root);
	return n;
}

static void note_epoch(struct live *l, const struct dave_action *a)
{
	const size_t max = sizeof(l->senders) / sizeof(l->senders[0]);

	l->n_senders = a->sender_count < max ? a->sender_count : max;
	if (l->n_senders > 0)
		memcpy(l->senders, a->senders, l->n_senders * sizeof(l->senders[0]));
	l->epoch = a->epoch;
}

void live_take(struct live *l)
{
	struct dave_action a;

	while (dave_next(l->d, &a) == 1) {
		switch (a.type) {
		case DAVE_SEND:
			if (l->n_sent == sizeof(l->sent) / sizeof(l->sent[0]))
				l->n_sent = 0;
			l->sent[l->n_sent].opcode = a.opcode;
			l->sent[l->n_sent++].id = a.opcode == 23 || a.opcode == 31 ? id_in(&a) : 0;
			break;
		case DAVE_EPOCH:
			note_epoch(l, &a);
			break;
		case DAVE_PASSTHROUGH:
			l->pass_until_ns = a.until_ns;
			break;
		case DAVE_CODE:
			snprintf(l->code, sizeof(l->code), "%s", a.text);
			break;
		case DAVE_WARNING:
			l->warnings++;
			break;
		}
	}
}

int live_message(struct live *l, unsigned op, struct mls_span payload)
{
	int r;

	/* Long enough for no recovery to be held back by the one before. */
	l->now_ns += 11 * TD_SEC_NS;
	l->d->group.cx.why = NULL;
	r = dave_session_message(l->d, (uint8_t)op, payload.p, payload.len, l->now_ns);
	live_take(l);
	return r;
}

bool live_said(struct live *l, unsigned op, long id)
{
	size_t i;

	for (i = 0; i < l->n_sent; i++) {
		if (l->sent[i].opcode != op || (id >= 0 && l->sent[i].id != (uint32_t)id))
			continue;
		l->n_sent--;
		memmove(&l->sent[i], &l->sent[i + 1], (l->n_sent - i) * sizeof(l->sent[0]));
		return true;
	}
	return false;
}

const struct mls_group *live_group(const struct live *l)
{
	return l->d->group.group;
}

static void drop_own(struct dave_group *g)
{
	while (g->n_own > 0)
		mls_own_commit_free(g->own[--g->n_own]);
	g->own_current = false;
}

/* In place of the group of ourselves alone. Its epoch secret is what mls_group_new() draws. */
static int give_secret(void *user, uint8_t *out, size_t n)
{
	const uint8_t *secret = user;

	if (secret == NULL)
		randombytes_buf(out, n);
	else
		memcpy(out, secret, n);
	return n == MLS_HASH_LEN ? TD_OK : TD_ERR_STATE;
}

/* The leaf of the recorded group was signed apart from the key package's. */
static int use_leaf(struct mls_group *g, struct mls_span raw)
{
	struct mls_group_context c = g->context;
	struct mls_leaf *leaf;
	int r;

	if ((r = mls_leaf_new(&leaf, raw)) < 0)
		return r;
	mls_tree_set_leaf(&g->tree, 0, leaf);
	mls_leaf_unref(leaf);
	if ((r = mls_group_set_context(g, &c)) == TD_OK)
		mls_group_confirm(g);
	return r;
}

static void use_alone(struct live *l, uint8_t *secret, struct mls_span leaf)
{
	struct dave_group *g = &l->d->group;
	struct mls_ctx cx = { .random = give_secret, .user = secret };
	uint8_t extensions[DAVE_MAX_SENDER + 14];
	struct mls_group *alone = NULL;
	struct wr w;

	wr_init(&w, extensions, sizeof(extensions));
	mls_external_senders_write(&w, mls_span(g->sender, g->sender_len));
	WANT(l->v,
		mls_group_new(&cx, &alone, g->package, mls_span(g->id, 8),
			mls_span(extensions, w.len)) == TD_OK);
	drop_own(g);
	mls_group_free(g->group);
	g->group = alone;
	WANT(l->v, leaf.len == 0 || use_leaf(alone, leaf) == TD_OK);
	g->established = false;
}

void live_use_package(struct live *l, const json_t *o, struct mls_span package)
{
	struct dave_group *g = &l->d->group;
	struct mls_own_package *own = NULL;
	struct mls_package_keys keys;
	struct run *v = l->v;

	memcpy(keys.init, run_fixed(v, o, "init_private", MLS_PRIV_LEN), MLS_PRIV_LEN);
	memcpy(keys.leaf, run_fixed(v, o, "leaf_private", MLS_PRIV_LEN), MLS_PRIV_LEN);
	memcpy(keys.signature, run_fixed(v, o, "signature_private", MLS_PRIV_LEN), MLS_PRIV_LEN);
	WANT(v, g->package != NULL); /* the session made one itself */
	WANT(v, mls_own_package_load(&g->cx, &own, package, &keys) == TD_OK);
	mls_own_package_free(g->package);
	g->package = own;
	WANT(v, mls_key_package_check(&g->cx, &own->package) == TD_OK);
	WANT(v, run_same(own->ref, sizeof(own->ref), run_hex(v, o, "key_package_ref")));
	if (g->sender_len > 0)
		use_alone(l, NULL, mls_span(NULL, 0));
}

void live_use_local_group(struct live *l, const json_t *o)
{
	uint8_t secret[MLS_HASH_LEN];
	const struct mls_group *g;
	struct run *v = l->v;

	memcpy(secret, run_fixed(v, o, "epoch_secret", MLS_HASH_LEN), MLS_HASH_LEN);
	WANT(v, l->d->group.package != NULL && l->d->group.sender_len > 0);
	WANT(v, !l->d->group.established && l->d->group.group != NULL);
	use_alone(l, secret, run_hex(v, o, "leaf_node"));
	g = live_group(l);
	WANT(v, mls_group_epoch(g) == 0 && mls_group_own_leaf(g) == 0);
	WANT(v, mls_span_equal(mls_group_member(g, 0)->raw, run_hex(v, o, "leaf_node")));
	WANT(v, mls_span_equal(g->context.raw, run_hex(v, o, "group_context")));
	WANT(v,
		run_same(g->keys->epoch.membership_key, MLS_HASH_LEN,
			run_hex(v, o, "membership_key")));
	WANT(v, run_same(g->keys->epoch.init, MLS_HASH_LEN, run_hex(v, o, "init_secret")));
	WANT(v, run_same(g->confirmation_tag, MLS_HASH_LEN, run_hex(v, o, "confirmation_tag")));
	WANT(v, run_same(g->interim_hash, MLS_HASH_LEN, run_hex(v, o, "interim_transcript_hash")));
}

/* The proposals a commit names, found in the group's store. */
static bool find_proposals(const struct mls_group *g, const struct mls_commit_view *commit,
	struct mls_change *c)
{
	struct mls_proposal_or_ref p;
	struct rd rd;
	size_t i;

	c->list = calloc(g->n_proposals + 1, sizeof(*c->list));
	rd_init(&rd, commit->proposals.p, commit->proposals.len);
	while (c->list != NULL && mls_proposal_or_ref_next(&rd, &p)) {
		for (i = 0; i < g->n_proposals; i++)
			if (mls_span_equal(p.ref, mls_span(g->proposals[i]->ref, MLS_HASH_LEN)))
				break;
		if (!p.by_ref || i == g->n_proposals || c->n == g->n_proposals)
			return false;
		c->list[c->n++] = g->proposals[i]->view;
	}
	return c->list != NULL;
}

/* The keys of an update path of ours. */
static int use_path(struct run *v, struct mls_ctx *cx, struct mls_group *next,
	const struct mls_update_path *path, const struct mls_change *change, const json_t *o)
{
	const json_t *nodes = run_array(v, o, "path_nodes");
	const json_t *secrets = run_array(v, o, "path_secrets");
	struct mls_tree_keys *keys = &next->keys->tree;
	uint8_t pub[MLS_PUB_LEN];
	size_t i;
	int r;

	if ((r = mls_path_apply(cx, &next->tree, next->own, path, change->added)) < 0)
		return r;
	memcpy(keys->leaf, run_fixed(v, o, "leaf_private", MLS_PRIV_LEN), MLS_PRIV_LEN);
	keys->have = 0;
	for (i = 0; i < json_array_size(nodes); i++) {
		unsigned level = mls_level((uint32_t)json_integer_value(json_array_get(nodes, i)));
		struct mls_span secret = run_hex_value(v, json_array_get(secrets, i));

		if (level == 0 || level > MLS_MAX_LEVEL || secret.len != MLS_HASH_LEN)
			return TD_ERR_MALFORMED;
		if ((r = mls_path_node_key(keys->node[level], pub, secret.p)) < 0)
			return r;
		keys->have |= 1u << level;
	}
	return mls_tree_keys_check(keys, &next->tree, next->own);
}

/* The group a recorded commit of ours leads to. */
static int own_next(struct live *l, struct mls_span message, const json_t *o,
	struct mls_group **ret)
{
	const struct mls_group *g = live_group(l);
	struct mls_ctx *cx = &l->d->group.cx;
	struct mls_change change = { 0 };
	struct mls_group *next = NULL;
	struct mls_public_message m;
	struct run *v = l->v;
	int r;

	if ((r = mls_public_message_parse(cx, message, &m)) < 0)
		goto out;
	r = TD_ERR_STATE;
	if (m.content.epoch != g->context.epoch || m.content.sender != g->own ||
		!find_proposals(g, &m.content.commit, &change))
		goto out;
	if ((r = mls_group_successor(g, &next)) < 0 ||
		(r = mls_change_apply(cx, &change, next, g->own)) < 0)
		goto out;
	if (m.content.commit.has_path &&
		(r = use_path(v, cx, next, &m.content.commit.path, &change, o)) < 0)
		goto out;
	if ((r = mls_group_advance(g, next, run_fixed(v, o, "commit_secret", MLS_HASH_LEN),
		     m.content.raw, m.signature)) < 0)
		goto out;
	r = TD_ERR_AUTH;
	if (!run_same(next->confirmation_tag, MLS_HASH_LEN, m.confirmation_tag))
		goto out;
	mls_epoch_forget(&next->keys->epoch);
	*ret = next;
	next = NULL;
	r = TD_OK;
out:
	mls_change_free(&change);
	mls_group_free(next);
	return r;
}

void live_use_commit(struct live *l, const json_t *o, bool may_be_new)
{
	struct dave_group *g = &l->d->group;
	struct mls_group *next = NULL;
	struct mls_own_commit *c;
	struct run *v = l->v;
	struct mls_span message = run_hex(v, o, "commit");

	WANT(v, g->group != NULL && (g->n_own > 0 || may_be_new));
	WANT(v, own_next(l, message, o, &next) == TD_OK);
	if (!g->own_current) {
		WANT(v, may_be_new && g->n_own < DAVE_MAX_OWN_COMMITS);
		g->own[g->n_own++] = calloc(1, sizeof(*c));
		WANT(v, g->own[g->n_own - 1] != NULL);
	}
	c = g->own[g->n_own - 1];
	mls_group_free(c->next);
	c->next = next;
	free(c->message);
	c->message = malloc(message.len);
	WANT(v, c->message != NULL);
	memcpy(c->message, message.p, message.len);
	c->message_len = message.len;
	WANT(v,
		run_same(mls_group_authenticator(next), MLS_HASH_LEN,
			run_hex(v, o, "next_epoch_authenticator")));
}
