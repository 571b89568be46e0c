/* SPDX-License-Identifier: ISC */
#include "common/mls/mls_group.h"

#include <stdlib.h>

#include "common/mls/mls_group_state.h"

int mls_group_alloc(struct mls_group **ret)
{
	struct mls_group *g;

	if ((g = calloc(1, sizeof(*g))) == NULL)
		return TD_ERR_NOMEM;
	if ((g->keys = mls_secret_new(sizeof(*g->keys))) == NULL) {
		free(g);
		return TD_ERR_NOMEM;
	}
	*ret = g;
	return TD_OK;
}

void mls_group_free(struct mls_group *g)
{
	size_t i;

	if (g == NULL)
		return;
	for (i = 0; i < g->n_proposals; i++)
		mls_proposal_free(g->proposals[i]);
	free(g->proposals);
	mls_tree_free(&g->tree);
	free(g->context_bytes);
	mls_secret_free(g->keys);
	free(g);
}

int mls_group_set_context(struct mls_group *g, const struct mls_group_context *fields)
{
	struct mls_group_context c = *fields;
	uint8_t tree_hash[MLS_HASH_LEN];
	struct wr w = { 0 };
	struct rd rd;
	int r;

	mls_tree_hash(&g->tree, mls_root(g->tree.n_leaves), tree_hash);
	c.tree_hash = mls_span(tree_hash, sizeof(tree_hash));
	if ((r = mls_wr_new(&w, mls_group_context_bound(&c))) < 0)
		return r;
	mls_group_context_write(&w, &c);
	rd_init(&rd, w.buf, w.len);
	mls_group_context_read(&rd, &c);
	if (w.bad || !rd_done(&rd)) {
		free(w.buf);
		return TD_ERR_MALFORMED;
	}
	free(g->context_bytes);
	g->context_bytes = w.buf;
	g->context = c;
	return TD_OK;
}

void mls_group_confirm(struct mls_group *g)
{
	mls_confirmation_tag(g->confirmation_tag, &g->keys->epoch, g->context.confirmed_hash);
	mls_interim_hash(g->interim_hash, g->context.confirmed_hash,
		mls_span(g->confirmation_tag, sizeof(g->confirmation_tag)));
}

int mls_group_new(struct mls_ctx *cx, struct mls_group **ret, const struct mls_own_package *own,
	struct mls_span group_id, struct mls_span extensions)
{
	struct mls_group_context context = {
		.version = MLS_VERSION,
		.suite = MLS_SUITE,
		.group_id = group_id,
		.extensions = extensions,
	};
	struct mls_group *g = NULL;
	struct mls_leaf *leaf = NULL;
	int r;

	if ((r = mls_group_alloc(&g)) < 0 || (r = mls_leaf_new(&leaf, own->package.leaf.raw)) < 0 ||
		(r = mls_tree_add(&g->tree, leaf, &g->own)) < 0)
		goto out;
	if ((r = mls_group_set_context(g, &context)) < 0) {
		r = mls_fail(cx, r, "new group: extensions malformed");
		goto out;
	}
	if ((r = cx->random(cx->user, g->keys->epoch.epoch, MLS_HASH_LEN)) < 0) {
		r = mls_fail(cx, r, "no random bytes");
		goto out;
	}
	mls_schedule_from_epoch_secret(&g->keys->epoch);
	mls_epoch_forget(&g->keys->epoch);
	memcpy(g->keys->signature, own->keys->signature, MLS_PRIV_LEN);
	memcpy(g->keys->tree.leaf, own->keys->leaf, MLS_PRIV_LEN);
	mls_group_confirm(g);
	*ret = g;
	g = NULL;
out:
	mls_leaf_unref(leaf);
	mls_group_free(g);
	return r;
}

/* Views */

const struct mls_group_context *mls_group_context(const struct mls_group *g)
{
	return &g->context;
}

uint64_t mls_group_epoch(const struct mls_group *g)
{
	return g->context.epoch;
}

uint32_t mls_group_own_leaf(const struct mls_group *g)
{
	return g->own;
}

const struct mls_tree *mls_group_tree(const struct mls_group *g)
{
	return &g->tree;
}

const uint8_t *mls_group_interim_hash(const struct mls_group *g)
{
	return g->interim_hash;
}

const uint8_t *mls_group_confirmation_tag(const struct mls_group *g)
{
	return g->confirmation_tag;
}

const uint8_t *mls_group_authenticator(const struct mls_group *g)
{
	return g->keys->epoch.authenticator;
}

uint32_t mls_group_n_leaves(const struct mls_group *g)
{
	return g->tree.n_leaves;
}

const struct mls_leaf_node *mls_group_member(const struct mls_group *g, uint32_t leaf)
{
	return mls_tree_leaf(&g->tree, leaf);
}

uint32_t mls_group_n_members(const struct mls_group *g)
{
	uint32_t n = 0;
	uint32_t i;

	for (i = 0; i < g->tree.n_leaves; i++)
		n += mls_tree_leaf(&g->tree, i) != NULL;
	return n;
}

bool mls_group_find(const struct mls_group *g, struct mls_span identity, uint32_t *leaf)
{
	const struct mls_leaf_node *l;
	uint32_t i;

	for (i = 0; i < g->tree.n_leaves; i++) {
		l = mls_tree_leaf(&g->tree, i);
		if (l != NULL && mls_span_equal(l->identity, identity)) {
			*leaf = i;
			return true;
		}
	}
	return false;
}

static int compare_identities(const void *a, const void *b)
{
	const struct mls_span *x = a;
	const struct mls_span *y = b;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return x->len > 0 ? memcmp(x->p, y->p, x->len) : 0;
}

int mls_group_check_identities(struct mls_ctx *cx, const struct mls_group *g)
{
	const struct mls_leaf_node *l;
	struct mls_span *ids;
	int r = TD_OK;
	size_t n = 0;
	uint32_t i;

	if ((ids = calloc(g->tree.n_leaves, sizeof(*ids))) == NULL)
		return TD_ERR_NOMEM;
	for (i = 0; i < g->tree.n_leaves; i++)
		if ((l = mls_tree_leaf(&g->tree, i)) != NULL)
			ids[n++] = l->identity;
	qsort(ids, n, sizeof(*ids), compare_identities);
	for (i = 1; i < n; i++)
		if (compare_identities(&ids[i - 1], &ids[i]) == 0)
			r = mls_fail(cx, TD_ERR_DUPLICATE, "group: an identity twice");
	free(ids);
	return r;
}

void mls_group_exporter_base(const struct mls_group *g, const char *label,
	uint8_t base[static MLS_HASH_LEN])
{
	mls_exporter_base(base, &g->keys->epoch, label);
}

/* Proposals */

int mls_proposal_check(struct mls_ctx *cx, const struct mls_group *g,
	const struct mls_proposal_view *p)
{
	const char *refusal = mls_proposal_refusal(p->type);

	if (refusal != NULL)
		return mls_fail(cx, TD_ERR_UNSUPPORTED, refusal);
	if (p->type == MLS_PROPOSAL_ADD)
		return mls_key_package_check(cx, &p->add);
	if (mls_tree_leaf(&g->tree, p->removed) == NULL)
		return mls_fail(cx, TD_ERR_MALFORMED, "proposal: removes no member");
	return TD_OK;
}

/* Who sent it, and is it theirs? */
static int verify_proposal(struct mls_ctx *cx, const struct mls_group *g,
	const struct mls_public_message *m)
{
	const struct mls_leaf_node *member;
	struct mls_external_sender external;
	struct mls_span key;
	int r;

	switch (m->content.sender_type) {
	case MLS_SENDER_MEMBER:
		if ((member = mls_tree_leaf(&g->tree, m->content.sender)) == NULL)
			return mls_fail(cx, TD_ERR_MALFORMED, "proposal: sender is no member");
		r = mls_public_message_verify_membership(m, g->keys->epoch.membership_key,
			g->context.raw);
		if (r < 0)
			return mls_fail(cx, r, "proposal: membership tag does not verify");
		key = member->signature_key;
		break;
	case MLS_SENDER_EXTERNAL:
		if (!mls_external_sender_find(g->context.extensions, m->content.sender, &external))
			return mls_fail(cx, TD_ERR_MALFORMED, "proposal: no such external sender");
		key = external.signature_key;
		break;
	default:
		return mls_fail(cx, TD_ERR_UNSUPPORTED, "message refused: sender is a new member");
	}
	if ((r = mls_public_message_verify(m, key, g->context.raw)) < 0)
		return mls_fail(cx, r, "proposal: signature does not verify");
	return TD_OK;
}

int mls_proposal_open(struct mls_ctx *cx, const struct mls_group *g, struct mls_span message,
	struct mls_proposal **ret)
{
	struct mls_public_message m;
	struct mls_proposal *p = NULL;
	int r = TD_ERR_NOMEM;

	if ((p = calloc(1, sizeof(*p))) == NULL || (p->bytes = malloc(message.len + 1)) == NULL)
		goto out;
	if (message.len > 0)
		memcpy(p->bytes, message.p, message.len);
	if ((r = mls_public_message_parse(cx, mls_span(p->bytes, message.len), &m)) < 0)
		goto out;
	if (m.content.content_type != MLS_CONTENT_PROPOSAL) {
		r = mls_fail(cx, TD_ERR_MALFORMED, "proposal: is something else");
		goto out;
	}
	if (!mls_span_equal(m.content.group_id, g->context.group_id) ||
		m.content.epoch != g->context.epoch) {
		r = mls_fail(cx, TD_ERR_STATE, "proposal: of another group or epoch");
		goto out;
	}
	if ((r = verify_proposal(cx, g, &m)) < 0 ||
		(r = mls_proposal_check(cx, g, &m.content.proposal)) < 0)
		goto out;
	mls_proposal_ref(p->ref, &m);
	p->sender_type = m.content.sender_type;
	p->sender = m.content.sender;
	p->authenticated_data = m.content.authenticated_data;
	p->view = m.content.proposal;
	p->epoch = m.content.epoch;
	p->len = message.len;
	*ret = p;
	p = NULL;
out:
	mls_proposal_free(p);
	return r;
}

void mls_proposal_free(struct mls_proposal *p)
{
	if (p != NULL)
		free(p->bytes);
	free(p);
}

int mls_group_store(struct mls_ctx *cx, struct mls_group *g, struct mls_proposal *p)
{
	struct mls_proposal **list;
	size_t i;

	if (p->epoch != g->context.epoch)
		return mls_fail(cx, TD_ERR_STATE, "proposal: of another epoch");
	for (i = 0; i < g->n_proposals; i++)
		if (memcmp(g->proposals[i]->ref, p->ref, MLS_HASH_LEN) == 0)
			return mls_fail(cx, TD_ERR_DUPLICATE, "proposal: stored already");
	if (g->n_proposals == MLS_MAX_PROPOSALS || p->len > MLS_MAX_STORE_BYTES - g->proposal_bytes)
		return mls_fail(cx, TD_ERR_LIMIT, "proposal: too many in one epoch");
	if ((list = realloc(g->proposals, (g->n_proposals + 1) * sizeof(*list))) == NULL)
		return TD_ERR_NOMEM;
	g->proposals = list;
	list[g->n_proposals++] = p;
	g->proposal_bytes += p->len;
	return TD_OK;
}

int mls_group_revoke(struct mls_group *g, struct mls_span ref)
{
	size_t i;

	for (i = 0; i < g->n_proposals; i++)
		if (mls_span_equal(mls_span(g->proposals[i]->ref, MLS_HASH_LEN), ref))
			break;
	if (i == g->n_proposals)
		return TD_ERR_NOKEY;
	g->proposal_bytes -= g->proposals[i]->len;
	mls_proposal_free(g->proposals[i]);
	g->n_proposals--;
	memmove(&g->proposals[i], &g->proposals[i + 1],
		(g->n_proposals - i) * sizeof(*g->proposals));
	return TD_OK;
}

size_t mls_group_n_proposals(const struct mls_group *g)
{
	return g->n_proposals;
}

const struct mls_proposal *mls_group_proposal(const struct mls_group *g, size_t i)
{
	return i < g->n_proposals ? g->proposals[i] : NULL;
}
