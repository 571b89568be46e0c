/* SPDX-License-Identifier: ISC */
#include "receiver/dave_group.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mls/mls_hpke.h"

struct source {
	void (*random)(void *user, uint8_t *out, size_t len);
	void *user;
};

static int draw(void *user, uint8_t *out, size_t n)
{
	const struct source *s = user;

	s->random(s->user, out, n);
	return TD_OK;
}

int dave_identity_new(struct dave_identity **ret,
	void (*random)(void *user, uint8_t *out, size_t len), void *user)
{
	struct source source = { random, user };
	struct mls_ctx cx = { .random = draw, .user = &source };
	struct dave_identity *id = NULL;
	int r = TD_ERR_NOMEM;

	if ((id = calloc(1, sizeof(*id))) == NULL ||
		(id->key = mls_secret_new(MLS_PRIV_LEN)) == NULL)
		goto out;
	if ((r = mls_hpke_generate(&cx, id->key, NULL)) < 0)
		goto out;
	*ret = id;
	id = NULL;
out:
	dave_identity_free(id);
	return r;
}

void dave_identity_free(struct dave_identity *id)
{
	if (id == NULL)
		return;
	mls_secret_free(id->key);
	free(id);
}

static int draw_for_conf(void *user, uint8_t *out, size_t n)
{
	const struct dave_conf *conf = user;

	conf->random(conf->user, out, n);
	return TD_OK;
}

static void write_id(uint8_t out[static 8], uint64_t id)
{
	struct wr w;

	wr_init(&w, out, 8);
	wr_u64(&w, id);
}

void dave_group_init(struct dave_group *g, const struct dave_conf *conf)
{
	memset(g, 0, sizeof(*g));
	g->cx.random = draw_for_conf;
	g->cx.user = (void *)(uintptr_t)conf; /* only read */
	g->signer = conf->identity;
	g->user_id = conf->user_id;
	write_id(g->identity, conf->user_id);
	dave_group_set_channel(g, conf->channel_id);
}

void dave_group_set_channel(struct dave_group *g, uint64_t channel_id)
{
	write_id(g->id, channel_id);
}

/* What belongs to one epoch of one group. */
static void drop_epoch(struct dave_group *g)
{
	while (g->n_own > 0)
		mls_own_commit_free(g->own[--g->n_own]);
	while (g->n_aside > 0)
		mls_proposal_free(g->aside[--g->n_aside]);
	g->aside_bytes = 0;
	g->own_current = false;
	mls_group_free(g->group);
	g->group = NULL;
	g->established = false;
}

static void drop_package(struct dave_group *g)
{
	mls_own_package_free(g->package);
	g->package = NULL;
}

void dave_group_drop(struct dave_group *g)
{
	drop_epoch(g);
	drop_package(g);
}

void dave_group_free(struct dave_group *g)
{
	dave_group_drop(g);
	dave_users_free(&g->users);
	g->sender_len = 0;
}

bool dave_group_is_established(const struct dave_group *g)
{
	return g->group != NULL && g->established;
}

bool dave_group_has(const struct dave_group *g, uint64_t user_id)
{
	uint8_t identity[8];
	uint32_t leaf;

	write_id(identity, user_id);
	return g->group != NULL &&
		mls_group_find(g->group, mls_span(identity, sizeof(identity)), &leaf);
}

uint64_t dave_user_of(const struct mls_leaf_node *leaf)
{
	struct rd r;

	if (leaf->credential_type != MLS_CREDENTIAL_BASIC || leaf->identity.len != 8)
		return 0;
	rd_init(&r, leaf->identity.p, leaf->identity.len);
	return rd_u64(&r);
}

/* The group of ourselves alone, with the key package's leaf. */
static int begin_alone(struct dave_group *g)
{
	uint8_t extensions[DAVE_MAX_SENDER + 14];
	struct mls_group *alone;
	struct wr w;
	int r;

	wr_init(&w, extensions, sizeof(extensions));
	mls_external_senders_write(&w, mls_span(g->sender, g->sender_len));
	if (w.bad)
		return TD_ERR_LIMIT;
	if ((r = mls_group_new(&g->cx, &alone, g->package, mls_span(g->id, sizeof(g->id)),
		     mls_span(extensions, w.len))) < 0)
		return r;
	drop_epoch(g);
	g->group = alone;
	return TD_OK;
}

int dave_group_begin(struct dave_group *g)
{
	int r;

	dave_group_drop(g);
	if ((r = mls_own_package_new(&g->cx, &g->package,
		     mls_span(g->identity, sizeof(g->identity)), g->signer->key)) < 0)
		return r;
	if (g->sender_len > 0 && (r = begin_alone(g)) < 0)
		drop_package(g);
	return r;
}

int dave_group_external_sender(struct dave_group *g, struct mls_span bytes, bool *changed)
{
	struct mls_external_sender sender;
	struct rd rd;
	int r;

	*changed = false;
	if (g->sender_len > 0 && mls_span_equal(bytes, mls_span(g->sender, g->sender_len)))
		return TD_OK; /* a resumed connection says it again */
	rd_init(&rd, bytes.p, bytes.len);
	mls_external_sender_read(&rd, &sender);
	if (!rd_done(&rd))
		return mls_fail(&g->cx, TD_ERR_MALFORMED, "external sender: malformed");
	if (bytes.len > sizeof(g->sender))
		return mls_fail(&g->cx, TD_ERR_LIMIT, "external sender: too long");
	if (sender.credential_type != MLS_CREDENTIAL_BASIC)
		return mls_fail(&g->cx, TD_ERR_UNSUPPORTED, "external sender: not basic");
	if ((r = mls_p256_check(sender.signature_key)) < 0)
		return mls_fail(&g->cx, r, "external sender: its key is no point");
	*changed = g->sender_len > 0;
	if (dave_group_is_established(g))
		return mls_fail(&g->cx, TD_ERR_STATE, "external sender: a group has one for life");
	memcpy(g->sender, bytes.p, bytes.len);
	g->sender_len = bytes.len;
	return g->package != NULL ? begin_alone(g) : TD_OK;
}

/* What DAVE asks of a group on top of RFC 9420: every member a user id, none twice. */
static int check_members(struct dave_group *g, const struct mls_group *next)
{
	uint32_t i;

	for (i = 0; i < mls_group_n_leaves(next); i++) {
		const struct mls_leaf_node *leaf = mls_group_member(next, i);

		if (leaf != NULL && dave_user_of(leaf) == 0)
			return mls_fail(&g->cx, TD_ERR_MALFORMED, "group: a member is no user");
	}
	return mls_group_check_identities(&g->cx, next);
}

/* Op 27 */

static int put_aside(struct dave_group *g, struct mls_proposal *p, uint64_t user_id)
{
	size_t i;

	g->unknown = user_id;
	for (i = 0; i < g->n_aside; i++)
		if (memcmp(g->aside[i]->ref, p->ref, sizeof(p->ref)) == 0) {
			mls_proposal_free(p);
			return TD_OK;
		}
	if (g->n_aside == DAVE_MAX_ASIDE || p->len > DAVE_MAX_ASIDE_BYTES - g->aside_bytes)
		return mls_fail(&g->cx, TD_ERR_LIMIT, "proposals: too many users nobody named");
	g->aside[g->n_aside++] = p;
	g->aside_bytes += p->len;
	return TD_OK;
}

static struct mls_proposal *take_aside(struct dave_group *g, size_t i)
{
	struct mls_proposal *p = g->aside[i];

	g->aside_bytes -= p->len;
	g->n_aside--;
	memmove(&g->aside[i], &g->aside[i + 1], (g->n_aside - i) * sizeof(g->aside[0]));
	return p;
}

/* Into the store, unless it is there. Takes p on success. */
static int store(struct dave_group *g, struct mls_proposal *p)
{
	int r = mls_group_store(&g->cx, g->group, p);

	if (r == TD_OK)
		g->own_current = false;
	if (r == TD_ERR_DUPLICATE) {
		mls_proposal_free(p); /* a resumed connection says it again */
		r = TD_OK;
	}
	return r;
}

/* One that has been verified. Takes p on success. *counts: it is among what a commit is made of. */
static int judge(struct dave_group *g, struct mls_proposal *p, bool *counts)
{
	uint64_t user_id;

	if (p->sender_type != MLS_SENDER_EXTERNAL || p->sender != 0)
		return mls_fail(&g->cx, TD_ERR_AUTH, "proposal: not the external sender's");
	if (p->view.type == MLS_PROPOSAL_ADD) {
		if ((user_id = dave_user_of(&p->view.add.leaf)) == 0)
			return mls_fail(&g->cx, TD_ERR_MALFORMED, "proposal: adds no user");
		if (user_id == g->user_id && !g->established) {
			mls_proposal_free(p); /* for the others: we are in our own group */
			return TD_OK;
		}
		if (user_id != g->user_id && !dave_users_have(&g->users, user_id))
			return put_aside(g, p, user_id);
	}
	*counts = true;
	return store(g, p);
}

static int append_one(struct dave_group *g, struct mls_span message, bool *counts)
{
	struct mls_public_message m;
	struct mls_proposal *p = NULL;
	int r;

	if ((r = mls_public_message_parse(&g->cx, message, &m)) < 0)
		return r;
	if (!mls_span_equal(m.content.group_id, mls_span(g->id, sizeof(g->id))))
		return mls_fail(&g->cx, TD_ERR_STATE, "proposal: of another group");
	/* No fault: beside an established group, who waits for a Welcome sees its proposals. */
	if (m.content.epoch != mls_group_epoch(g->group))
		return TD_OK;
	if ((r = mls_proposal_open(&g->cx, g->group, message, &p)) < 0)
		return r;
	if ((r = judge(g, p, counts)) < 0)
		mls_proposal_free(p);
	return r;
}

/* The next MLSMessage of a vector of them. */
static int next_message(struct rd *r, struct mls_span *ret)
{
	size_t len;

	if (mls_public_message_length(mls_span(r->p, rd_left(r)), &len) < 0)
		return TD_ERR_MALFORMED;
	*ret = mls_span(rd_bytes(r, len), len);
	return TD_OK;
}

/* Bad ones are passed over: who stops at the first lacks the good ones behind it when somebody
 * else's commit names them. But there is no commit of ours to such a message. */
static int append(struct dave_group *g, struct rd messages, bool *counts)
{
	enum { BAD_MAX = 8 };
	struct rd walk = messages;
	struct mls_span message;
	int r = TD_OK, bad = 0;

	while (rd_left(&walk) > 0)
		if (next_message(&walk, &message) < 0)
			return mls_fail(&g->cx, TD_ERR_MALFORMED, "proposals: malformed");
	while (rd_left(&messages) > 0 && bad < BAD_MAX && !td_err_is_fatal(r)) {
		int one = next_message(&messages, &message);

		if (one == TD_OK)
			one = append_one(g, message, counts);
		if (one < 0) {
			r = one;
			bad++;
		}
	}
	return r;
}

static int revoke_one(struct dave_group *g, struct mls_span ref)
{
	size_t i;

	for (i = 0; i < g->n_aside; i++)
		if (mls_span_equal(ref, mls_span(g->aside[i]->ref, MLS_HASH_LEN))) {
			mls_proposal_free(take_aside(g, i));
			return TD_OK;
		}
	if (mls_group_revoke(g->group, ref) < 0)
		return mls_fail(&g->cx, TD_ERR_NOKEY, "proposals: revokes an unknown one");
	g->own_current = false;
	return TD_OK;
}

static int revoke(struct dave_group *g, struct rd refs, bool *counts)
{
	struct rd walk = refs;
	int r = TD_OK, one;

	while (!walk.bad && rd_left(&walk) > 0)
		mls_rd_vec(&walk);
	if (walk.bad)
		return mls_fail(&g->cx, TD_ERR_MALFORMED, "proposals: malformed");
	while (rd_left(&refs) > 0)
		if ((one = revoke_one(g, mls_rd_vec(&refs))) < 0)
			r = one;
	*counts = true;
	return r;
}

static bool removes_us(const struct mls_group *group)
{
	size_t i;

	for (i = 0; i < mls_group_n_proposals(group); i++) {
		const struct mls_proposal_view *v = &mls_group_proposal(group, i)->view;

		if (v->type == MLS_PROPOSAL_REMOVE && v->removed == mls_group_own_leaf(group))
			return true;
	}
	return false;
}

/* A commit of everything stored; the last one again when nothing has changed since. */
static int commit_store(struct dave_group *g, const struct mls_own_commit **commit)
{
	struct mls_own_commit *c = NULL;
	int r;

	if (mls_group_n_proposals(g->group) == 0 || removes_us(g->group))
		return TD_OK;
	if (!g->own_current) {
		/* Of somebody who is in the group already we may see the Add before the Remove:
		 * then this fails, and the next message makes it right. */
		if ((r = mls_group_commit(&g->cx, g->group, 0, &c)) < 0)
			return r;
		if ((r = check_members(g, c->next)) < 0) {
			mls_own_commit_free(c);
			return r;
		}
		if (g->n_own == DAVE_MAX_OWN_COMMITS) {
			mls_own_commit_free(g->own[0]);
			memmove(&g->own[0], &g->own[1], --g->n_own * sizeof(g->own[0]));
		}
		g->own[g->n_own++] = c;
		g->own_current = true;
	}
	*commit = g->own[g->n_own - 1];
	return TD_OK;
}

int dave_group_proposals(struct dave_group *g, struct mls_span payload,
	const struct mls_own_commit **commit)
{
	enum { APPEND = 0, REVOKE = 1 };
	bool counts = false;
	struct rd rd, list;
	uint8_t operation;
	int r;

	*commit = NULL;
	g->unknown = 0;
	if (g->group == NULL)
		return mls_fail(&g->cx, TD_ERR_STATE, "proposals: there is no group");
	rd_init(&rd, payload.p, payload.len);
	operation = rd_u8(&rd);
	list = mls_rd_open(&rd);
	if (list.bad || !rd_done(&rd) || (operation != APPEND && operation != REVOKE))
		return mls_fail(&g->cx, TD_ERR_MALFORMED, "proposals: malformed");
	r = operation == APPEND ? append(g, list, &counts) : revoke(g, list, &counts);
	if (r < 0 || !counts || g->unknown != 0)
		return r;
	return commit_store(g, commit);
}

int dave_group_named(struct dave_group *g, uint64_t user_id, const struct mls_own_commit **commit)
{
	bool found = false;
	size_t i = 0;
	int r;

	*commit = NULL;
	while (i < g->n_aside) {
		struct mls_proposal *p;

		if (dave_user_of(&g->aside[i]->view.add.leaf) != user_id) {
			i++;
			continue;
		}
		p = take_aside(g, i);
		if ((r = store(g, p)) < 0) {
			mls_proposal_free(p);
			return r;
		}
		found = true;
	}
	return found ? commit_store(g, commit) : TD_OK;
}

/* Op 29 */

static bool is_tag_of(const struct mls_public_message *m, const struct mls_own_commit *c)
{
	return m != NULL &&
		mls_span_equal(m->confirmation_tag,
			mls_span(mls_group_confirmation_tag(c->next), MLS_HASH_LEN));
}

/* The group behind a commit of ours, or NULL. An update path of our own cannot be processed, so
 * this is the only way to that group. */
static struct mls_group *take_own(struct dave_group *g, struct mls_span message)
{
	struct mls_public_message m;
	bool parsed = mls_public_message_parse(&g->cx, message, &m) == TD_OK &&
		m.content.content_type == MLS_CONTENT_COMMIT;
	struct mls_group *next = NULL;
	size_t i;

	for (i = 0; i < g->n_own && next == NULL; i++) {
		struct mls_own_commit *c = g->own[i];

		if (mls_span_equal(message, mls_span(c->message, c->message_len)) ||
			is_tag_of(parsed ? &m : NULL, c)) {
			next = c->next;
			g->n_own--;
			memmove(&g->own[i], &g->own[i + 1], (g->n_own - i) * sizeof(g->own[0]));
			c->next = NULL;
			mls_own_commit_free(c);
			g->own_current = false;
		}
	}
	return next;
}

int dave_group_commit(struct dave_group *g, struct mls_span message, enum dave_verdict *verdict,
	struct mls_group **ret)
{
	struct mls_commit_info info;
	struct mls_group *next;
	int r;

	if ((next = take_own(g, message)) != NULL)
		goto taken;
	if (!dave_group_is_established(g)) {
		*verdict = DAVE_IGNORED;
		return TD_OK;
	}
	if ((r = mls_group_process(&g->cx, g->group, message, MLS_PROCESS_REFERENCES_ONLY, &next,
		     &info)) < 0)
		return r;
	if (next == NULL) {
		*verdict = DAVE_REMOVED;
		return TD_OK;
	}
	if ((r = check_members(g, next)) < 0) {
		mls_group_free(next);
		return r;
	}
taken:
	*verdict = DAVE_TAKEN;
	*ret = next;
	return TD_OK;
}

/* Op 30 */

static int check_joined(struct dave_group *g, const struct mls_group *next)
{
	const struct mls_group_context *c = mls_group_context(next);
	struct mls_external_sender sender;

	if (!mls_span_equal(c->group_id, mls_span(g->id, sizeof(g->id))))
		return mls_fail(&g->cx, TD_ERR_STATE, "welcome: into another group");
	if (!mls_external_sender_find(c->extensions, 0, &sender) ||
		!mls_span_equal(sender.raw, mls_span(g->sender, g->sender_len)) ||
		mls_external_sender_find(c->extensions, 1, &sender))
		return mls_fail(&g->cx, TD_ERR_AUTH, "welcome: another external sender");
	return check_members(g, next);
}

int dave_group_welcome(struct dave_group *g, struct mls_span welcome, enum dave_verdict *verdict,
	struct mls_group **ret)
{
	struct mls_group *next;
	int r;

	if (g->package == NULL) {
		*verdict = DAVE_IGNORED;
		return TD_OK;
	}
	if (g->sender_len == 0)
		return mls_fail(&g->cx, TD_ERR_STATE, "welcome: before the external sender");
	if ((r = mls_group_join(&g->cx, &next, g->package, welcome, NULL)) < 0)
		return r;
	if ((r = check_joined(g, next)) < 0) {
		mls_group_free(next);
		return r;
	}
	*verdict = DAVE_TAKEN;
	*ret = next;
	return TD_OK;
}

void dave_group_adopt(struct dave_group *g, struct mls_group *next)
{
	dave_group_drop(g);
	g->group = next;
	g->established = true;
}
