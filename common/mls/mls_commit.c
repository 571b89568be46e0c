/* SPDX-License-Identifier: ISC */
#include <sodium.h>
#include <stdlib.h>

#include "common/mls/mls_group_state.h"

/*
 * Commits (RFC 9420 section 12.4), made and processed: one set of steps for both, so that what we
 * send is what we would accept.
 */

void mls_change_free(struct mls_change *c)
{
	free(c->list);
	free(c->joiners);
	free(c->added);
	memset(c, 0, sizeof(*c));
}

static int apply_removes(struct mls_ctx *cx, struct mls_change *c, struct mls_group *next,
	uint32_t committer)
{
	size_t i;

	for (i = 0; i < c->n; i++) {
		if (c->list[i].type != MLS_PROPOSAL_REMOVE)
			continue;
		if (c->list[i].removed == committer)
			return mls_fail(cx, TD_ERR_STATE, "commit: removes its own sender");
		/* A leaf removed already is blank now, or out of range. */
		if (mls_tree_remove(&next->tree, c->list[i].removed) < 0)
			return mls_fail(cx, TD_ERR_MALFORMED,
				"commit: removes no member, or one twice");
		c->n_removes++;
	}
	return TD_OK;
}

static int apply_adds(struct mls_ctx *cx, struct mls_change *c, struct mls_group *next)
{
	struct mls_leaf *leaf;
	uint32_t at;
	size_t i;
	int r;

	for (i = 0; i < c->n; i++) {
		if (c->list[i].type != MLS_PROPOSAL_ADD)
			continue;
		if ((r = mls_leaf_new(&leaf, c->list[i].add.leaf.raw)) < 0)
			return r;
		r = mls_tree_add(&next->tree, leaf, &at);
		mls_leaf_unref(leaf);
		if (r < 0)
			return mls_fail(cx, r, "commit: the tree cannot grow");
		c->joiners[c->n_joiners].leaf = at;
		c->joiners[c->n_joiners].package = &c->list[i].add;
		c->n_joiners++;
	}
	return TD_OK;
}

int mls_change_apply(struct mls_ctx *cx, struct mls_change *c, struct mls_group *next,
	uint32_t committer)
{
	uint32_t i;
	int r;

	if ((c->joiners = calloc(c->n + 1, sizeof(*c->joiners))) == NULL)
		return TD_ERR_NOMEM;
	if ((r = apply_removes(cx, c, next, committer)) < 0 || (r = apply_adds(cx, c, next)) < 0)
		return r;
	if ((c->added = calloc(next->tree.n_leaves, sizeof(*c->added))) == NULL)
		return TD_ERR_NOMEM;
	for (i = 0; i < c->n_joiners; i++)
		c->added[c->joiners[i].leaf] = true;
	mls_tree_keys_sync(&next->keys->tree, &next->tree, next->own);
	return TD_OK;
}

int mls_group_successor(const struct mls_group *g, struct mls_group **ret)
{
	struct mls_group *next = NULL;
	int r;

	if ((r = mls_group_alloc(&next)) < 0)
		return r;
	if ((r = mls_tree_copy(&next->tree, &g->tree)) < 0) {
		mls_group_free(next);
		return r;
	}
	next->own = g->own;
	memcpy(next->keys->signature, g->keys->signature, MLS_PRIV_LEN);
	next->keys->tree = g->keys->tree;
	*ret = next;
	return TD_OK;
}

/* The context of the next epoch, still with the confirmed hash of this one. */
static int set_provisional_context(const struct mls_group *g, struct mls_group *next)
{
	struct mls_group_context c = g->context;

	c.epoch++;
	return mls_group_set_context(next, &c);
}

int mls_group_advance(const struct mls_group *g, struct mls_group *next,
	const uint8_t commit_secret[static MLS_HASH_LEN], struct mls_span content,
	struct mls_span signature)
{
	struct mls_group_context c = g->context;
	uint8_t confirmed[MLS_HASH_LEN];
	struct mls_epoch *e = &next->keys->epoch;
	int r;

	mls_confirmed_hash(confirmed, mls_span(g->interim_hash, MLS_HASH_LEN), content, signature);
	c.epoch++;
	c.confirmed_hash = mls_span(confirmed, sizeof(confirmed));
	if ((r = mls_group_set_context(next, &c)) < 0)
		return r;
	mls_schedule_joiner(e, g->keys->epoch.init, commit_secret, next->context.raw);
	mls_schedule_welcome(e, NULL);
	mls_schedule_epoch(e, NULL, next->context.raw);
	mls_group_confirm(next);
	return TD_OK;
}

/* Processing */

/* The proposals a commit names, out of the store or its own bytes, each allowed once. */
static int collect(struct mls_ctx *cx, const struct mls_group *g,
	const struct mls_commit_view *commit, unsigned flags, struct mls_change *c)
{
	struct mls_proposal_or_ref p;
	bool *used = NULL;
	size_t n = 0;
	struct rd rd;
	size_t i;
	int r = TD_OK;

	rd_init(&rd, commit->proposals.p, commit->proposals.len);
	while (mls_proposal_or_ref_next(&rd, &p))
		n++;
	if (n > MLS_MAX_PROPOSALS)
		return mls_fail(cx, TD_ERR_LIMIT, "commit: too many proposals");
	if ((c->list = calloc(n + 1, sizeof(*c->list))) == NULL ||
		(used = calloc(g->n_proposals + 1, sizeof(*used))) == NULL)
		return TD_ERR_NOMEM;
	rd_init(&rd, commit->proposals.p, commit->proposals.len);
	while (r == TD_OK && mls_proposal_or_ref_next(&rd, &p)) {
		if (!p.by_ref) {
			r = (flags & MLS_PROCESS_REFERENCES_ONLY) != 0
				? mls_fail(cx, TD_ERR_MALFORMED, "commit: a proposal by value")
				: mls_proposal_check(cx, g, &p.proposal);
			c->list[c->n++] = p.proposal;
			continue;
		}
		for (i = 0; i < g->n_proposals; i++)
			if (mls_span_equal(p.ref, mls_span(g->proposals[i]->ref, MLS_HASH_LEN)))
				break;
		if (i == g->n_proposals)
			r = mls_fail(cx, TD_ERR_NOKEY, "commit: reference to an unknown proposal");
		else if (used[i])
			r = mls_fail(cx, TD_ERR_DUPLICATE, "commit: the same reference twice");
		else
			c->list[c->n++] = g->proposals[i]->view;
		used[i] = true; /* the last place is for what was not found */
	}
	free(used);
	return r;
}

static int authenticate(struct mls_ctx *cx, const struct mls_group *g,
	const struct mls_public_message *m)
{
	const struct mls_leaf_node *sender;
	int r;

	if (m->content.content_type != MLS_CONTENT_COMMIT)
		return mls_fail(cx, TD_ERR_MALFORMED, "commit: is something else");
	if (!mls_span_equal(m->content.group_id, g->context.group_id) ||
		m->content.epoch != g->context.epoch || m->content.epoch == UINT64_MAX)
		return mls_fail(cx, TD_ERR_STATE, "commit: of another group or epoch");
	if (m->content.sender_type == MLS_SENDER_NEW_MEMBER_COMMIT)
		return mls_fail(cx, TD_ERR_UNSUPPORTED, "message refused: external commit");
	if (m->content.sender_type != MLS_SENDER_MEMBER ||
		(sender = mls_tree_leaf(&g->tree, m->content.sender)) == NULL)
		return mls_fail(cx, TD_ERR_MALFORMED, "commit: sender is no member");
	if (m->content.sender == g->own)
		return mls_fail(cx, TD_ERR_STATE, "commit: sent by our own leaf");
	r = mls_public_message_verify_membership(m, g->keys->epoch.membership_key, g->context.raw);
	if (r < 0)
		return mls_fail(cx, r, "commit: membership tag does not verify");
	if ((r = mls_public_message_verify(m, sender->signature_key, g->context.raw)) < 0)
		return mls_fail(cx, r, "commit: signature does not verify");
	return TD_OK;
}

static int take_path(struct mls_ctx *cx, const struct mls_group *g, struct mls_group *next,
	const struct mls_public_message *m, const struct mls_change *c, unsigned flags,
	uint8_t commit_secret[static MLS_HASH_LEN], struct mls_commit_info *info)
{
	const struct mls_update_path *path = &m->content.commit.path;
	uint32_t sender = m->content.sender;
	const struct mls_leaf_node *old = mls_tree_leaf(&g->tree, sender);
	int r;

	info->credential_changed = !mls_span_equal(old->signature_key, path->leaf.signature_key) ||
		old->credential_type != path->leaf.credential_type ||
		!mls_span_equal(old->identity, path->leaf.identity);
	if (info->credential_changed && (flags & MLS_PROCESS_ALLOW_NEW_CREDENTIAL) == 0)
		return mls_fail(cx, TD_ERR_MALFORMED, "path: identity or signature key changed");
	if ((r = mls_leaf_node_check(cx, &path->leaf, g->context.group_id, sender)) < 0 ||
		(r = mls_path_apply(cx, &next->tree, sender, path, c->added)) < 0 ||
		(r = set_provisional_context(g, next)) < 0)
		return r;
	return mls_path_open(cx, &next->tree, next->own, sender, path, c->added, next->context.raw,
		&next->keys->tree, commit_secret, NULL);
}

static bool removes_leaf(const struct mls_change *c, uint32_t leaf)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if (c->list[i].type == MLS_PROPOSAL_REMOVE && c->list[i].removed == leaf)
			return true;
	return false;
}

static bool needs_path(const struct mls_change *c)
{
	return c->n == 0 || c->n_removes > 0;
}

/* From an authentic commit and its proposals to the next epoch. */
static int follow(struct mls_ctx *cx, const struct mls_group *g, const struct mls_public_message *m,
	struct mls_change *c, unsigned flags, struct mls_group *next, struct mls_commit_info *info)
{
	uint8_t commit_secret[MLS_HASH_LEN] = { 0 };
	int r;

	if ((r = mls_change_apply(cx, c, next, m->content.sender)) < 0)
		goto out;
	if (info->has_path)
		r = take_path(cx, g, next, m, c, flags, commit_secret, info);
	else if (needs_path(c))
		r = mls_fail(cx, TD_ERR_MALFORMED, "commit: has to have a path");
	if (r < 0 || (r = mls_tree_check_unique(cx, &next->tree)) < 0)
		goto out;
	r = mls_group_advance(g, next, commit_secret, m->content.raw, m->signature);
	if (r < 0)
		goto out;
	if (m->confirmation_tag.len != MLS_HASH_LEN ||
		mls_equal(m->confirmation_tag.p, next->confirmation_tag, MLS_HASH_LEN) != 0)
		r = mls_fail(cx, TD_ERR_AUTH, "commit: confirmation tag does not verify");
	mls_epoch_forget(&next->keys->epoch);
	info->n_adds = c->n_joiners;
	info->n_removes = c->n_removes;
out:
	sodium_memzero(commit_secret, sizeof(commit_secret));
	return r;
}

int mls_group_process(struct mls_ctx *cx, const struct mls_group *g, struct mls_span message,
	unsigned flags, struct mls_group **ret_next, struct mls_commit_info *ret_info)
{
	struct mls_commit_info info = { 0 };
	struct mls_change change = { 0 };
	struct mls_group *next = NULL;
	struct mls_public_message m;
	int r;

	if ((r = mls_public_message_parse(cx, message, &m)) < 0 ||
		(r = authenticate(cx, g, &m)) < 0 ||
		(r = collect(cx, g, &m.content.commit, flags, &change)) < 0)
		goto out;
	info.committer = m.content.sender;
	info.has_path = m.content.commit.has_path;
	info.removed_us = removes_leaf(&change, g->own);
	if (!info.removed_us) {
		if ((r = mls_group_successor(g, &next)) < 0 ||
			(r = follow(cx, g, &m, &change, flags, next, &info)) < 0)
			goto out;
	}
	*ret_info = info;
	*ret_next = next;
	next = NULL;
out:
	mls_group_free(next);
	mls_change_free(&change);
	return r;
}

/* Making */

void mls_own_commit_free(struct mls_own_commit *c)
{
	if (c == NULL)
		return;
	mls_group_free(c->next);
	free(c->welcome);
	free(c->message);
	free(c);
}

/* MLSMessage up to the end of the commit; path is empty for none. */
static void write_commit(struct wr *w, const struct mls_group *g, struct mls_span path)
{
	enum { BY_REFERENCE = 2 };
	size_t mark;
	size_t i;

	mls_message_head_write(w, MLS_WIRE_PUBLIC_MESSAGE);
	mls_wr_vec(w, g->context.group_id);
	wr_u64(w, g->context.epoch);
	wr_u8(w, MLS_SENDER_MEMBER);
	wr_u32(w, g->own);
	mls_wr_varint(w, 0); /* authenticated_data */
	wr_u8(w, MLS_CONTENT_COMMIT);
	mark = mls_wr_open(w);
	for (i = 0; i < g->n_proposals; i++) {
		wr_u8(w, BY_REFERENCE);
		mls_wr_vec(w, mls_span(g->proposals[i]->ref, MLS_HASH_LEN));
	}
	mls_wr_close(w, mark);
	wr_u8(w, path.len > 0);
	mls_wr_span(w, path);
}

static size_t commit_bound(const struct mls_group *g, struct mls_span path)
{
	return 64 + g->context.group_id.len + g->n_proposals * (MLS_HASH_LEN + 2) + path.len +
		MLS_SIG_MAX + 2 * MLS_HASH_LEN + 16;
}

/* Frames, signs and tags the commit, and takes `next` to its epoch on the way, since the
 * confirmation tag belongs to that. */
static int seal_commit(const struct mls_group *g, struct mls_group *next, struct mls_span path,
	const uint8_t commit_secret[static MLS_HASH_LEN], struct wr *w)
{
	const size_t head = 4; /* version and wire format */
	struct mls_public_message m = { 0 };
	uint8_t tag[MLS_HASH_LEN];
	uint8_t sig[MLS_SIG_MAX];
	struct rd rd;
	size_t len;
	int r;

	write_commit(w, g, path);
	if (w->bad)
		return TD_ERR_LIMIT;
	rd_init(&rd, w->buf + head, w->len - head);
	mls_framed_content_read(&rd, &m.content);
	if (!rd_done(&rd))
		return TD_ERR_LIMIT;
	r = mls_public_message_sign(&m.content, sig, &len, g->keys->signature, g->context.raw);
	if (r < 0)
		return r;
	m.signature = mls_span(sig, len);
	if ((r = mls_group_advance(g, next, commit_secret, m.content.raw, m.signature)) < 0)
		return r;
	m.confirmation_tag = mls_span(next->confirmation_tag, MLS_HASH_LEN);
	mls_public_message_membership_tag(tag, &m, g->keys->epoch.membership_key, g->context.raw);
	mls_wr_vec(w, m.signature);
	mls_wr_vec(w, m.confirmation_tag);
	mls_wr_vec(w, mls_span(tag, sizeof(tag)));
	return w->bad ? TD_ERR_LIMIT : TD_OK;
}

static int make_path(struct mls_ctx *cx, const struct mls_group *g, struct mls_group *next,
	const struct mls_change *c, struct mls_own_path *path, struct wr *w)
{
	int r;

	r = mls_path_make(cx, &next->tree, next->own, g->context.group_id, g->keys->signature,
		&next->keys->tree, path);
	if (r < 0 || (r = set_provisional_context(g, next)) < 0 ||
		(r = mls_wr_new(w, mls_path_bound(&next->tree, next->own))) < 0)
		return r;
	return mls_path_write(cx, w, &next->tree, next->own, c->added, next->context.raw, path);
}

static int list_store(const struct mls_group *g, struct mls_change *c)
{
	size_t i;

	if ((c->list = calloc(g->n_proposals + 1, sizeof(*c->list))) == NULL)
		return TD_ERR_NOMEM;
	for (i = 0; i < g->n_proposals; i++)
		c->list[c->n++] = g->proposals[i]->view;
	return TD_OK;
}

int mls_group_commit(struct mls_ctx *cx, const struct mls_group *g, unsigned flags,
	struct mls_own_commit **ret)
{
	static const uint8_t no_path_secret[MLS_HASH_LEN];
	const uint8_t *commit_secret = no_path_secret;
	struct mls_change change = { 0 };
	struct mls_own_path *path = NULL;
	struct mls_own_commit *c = NULL;
	struct wr path_bytes = { 0 };
	struct wr w = { 0 };
	struct mls_span path_span;
	int r = TD_ERR_NOMEM;

	if (g->n_proposals == 0 && (flags & MLS_COMMIT_FORCE_PATH) == 0)
		return mls_fail(cx, TD_ERR_STATE, "commit: no proposals");
	if (g->context.epoch == UINT64_MAX)
		return mls_fail(cx, TD_ERR_STATE, "commit: no next epoch");
	if ((c = calloc(1, sizeof(*c))) == NULL)
		goto out;
	if ((r = list_store(g, &change)) < 0 || (r = mls_group_successor(g, &c->next)) < 0 ||
		(r = mls_change_apply(cx, &change, c->next, g->own)) < 0)
		goto out;
	if (needs_path(&change) || (flags & MLS_COMMIT_FORCE_PATH) != 0) {
		if ((path = mls_secret_new(sizeof(*path))) == NULL) {
			r = TD_ERR_NOMEM;
			goto out;
		}
		if ((r = make_path(cx, g, c->next, &change, path, &path_bytes)) < 0)
			goto out;
		commit_secret = path->secret[path->path.n];
	}
	if ((r = mls_tree_check_unique(cx, &c->next->tree)) < 0)
		goto out;
	path_span = mls_span(path_bytes.buf, path_bytes.len);
	if ((r = mls_wr_new(&w, commit_bound(g, path_span))) < 0 ||
		(r = seal_commit(g, c->next, path_span, commit_secret, &w)) < 0)
		goto out;
	if (change.n_joiners > 0) {
		r = mls_welcome_make(cx, c->next, &change, path, &c->welcome, &c->welcome_len);
		if (r < 0)
			goto out;
	}
	mls_epoch_forget(&c->next->keys->epoch);
	c->message = w.buf;
	c->message_len = w.len;
	w.buf = NULL;
	*ret = c;
	c = NULL;
out:
	free(w.buf);
	free(path_bytes.buf);
	mls_secret_free(path);
	mls_change_free(&change);
	mls_own_commit_free(c);
	return r;
}
