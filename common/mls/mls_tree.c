/* SPDX-License-Identifier: ISC */
#include "common/mls/mls_tree.h"

#include <stdlib.h>

static void parent_free(struct mls_parent *p)
{
	if (p != NULL)
		free(p->unmerged);
	free(p);
}

static int parent_copy(struct mls_parent **ret, const struct mls_parent *p)
{
	struct mls_parent *c = malloc(sizeof(*c));

	if (c == NULL)
		return TD_ERR_NOMEM;
	*c = *p;
	c->unmerged = NULL;
	if (p->n_unmerged > 0) {
		if ((c->unmerged = calloc(p->n_unmerged, sizeof(*c->unmerged))) == NULL) {
			free(c);
			return TD_ERR_NOMEM;
		}
		memcpy(c->unmerged, p->unmerged, p->n_unmerged * sizeof(*c->unmerged));
	}
	*ret = c;
	return TD_OK;
}

static void blank(struct mls_node *n)
{
	mls_leaf_unref(n->leaf);
	parent_free(n->parent);
	n->leaf = NULL;
	n->parent = NULL;
}

void mls_tree_free(struct mls_tree *t)
{
	uint32_t x;

	for (x = 0; x < mls_n_nodes(t->n_leaves); x++)
		blank(&t->nodes[x]);
	free(t->nodes);
	t->nodes = NULL;
	t->n_leaves = 0;
}

int mls_tree_copy(struct mls_tree *ret, const struct mls_tree *t)
{
	uint32_t n = mls_n_nodes(t->n_leaves);
	struct mls_tree c = { NULL, 0 };
	uint32_t x;
	int r;

	if (n > 0 && (c.nodes = calloc(n, sizeof(*c.nodes))) == NULL)
		return TD_ERR_NOMEM;
	c.n_leaves = t->n_leaves;
	for (x = 0; x < n; x++) {
		c.nodes[x].leaf = mls_leaf_ref(t->nodes[x].leaf);
		if (t->nodes[x].parent == NULL)
			continue;
		if ((r = parent_copy(&c.nodes[x].parent, t->nodes[x].parent)) < 0) {
			mls_tree_free(&c);
			return r;
		}
	}
	*ret = c;
	return TD_OK;
}

bool mls_tree_is_blank(const struct mls_tree *t, uint32_t node)
{
	return t->nodes[node].leaf == NULL && t->nodes[node].parent == NULL;
}

const struct mls_leaf_node *mls_tree_leaf(const struct mls_tree *t, uint32_t leaf)
{
	if (leaf >= t->n_leaves || t->nodes[2 * leaf].leaf == NULL)
		return NULL;
	return &t->nodes[2 * leaf].leaf->node;
}

struct mls_span mls_tree_key(const struct mls_tree *t, uint32_t node)
{
	const struct mls_node *n = &t->nodes[node];

	if (n->leaf != NULL)
		return n->leaf->node.encryption_key;
	return mls_span(n->parent->key, n->parent->key_len);
}

bool mls_tree_is_unmerged(const struct mls_parent *p, uint32_t leaf)
{
	uint32_t lo = 0;
	uint32_t hi = p->n_unmerged;
	uint32_t mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (p->unmerged[mid] < leaf)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < p->n_unmerged && p->unmerged[lo] == leaf;
}

static bool subtree_is_blank(const struct mls_tree *t, uint32_t node)
{
	uint32_t x;

	for (x = mls_first_below(node); x <= mls_last_below(node); x++)
		if (!mls_tree_is_blank(t, x))
			return false;
	return true;
}

/* Reading */

static int read_parent(struct rd *r, struct mls_parent **ret)
{
	struct mls_parent *p;
	struct mls_span key = mls_rd_vec(r);
	struct mls_span hash = mls_rd_vec(r);
	struct rd list = mls_rd_open(r);
	size_t n = rd_left(&list) / 4;
	size_t i;

	if (r->bad || list.bad || key.len > MLS_KEY_MAX || hash.len > MLS_HASH_MAX ||
		rd_left(&list) % 4 != 0)
		return TD_ERR_MALFORMED;
	if (n > MLS_MAX_LEAVES)
		return TD_ERR_LIMIT;
	if ((p = calloc(1, sizeof(*p))) == NULL)
		return TD_ERR_NOMEM;
	if (n > 0 && (p->unmerged = calloc(n, sizeof(*p->unmerged))) == NULL) {
		free(p);
		return TD_ERR_NOMEM;
	}
	for (i = 0; i < n; i++) {
		p->unmerged[i] = rd_u32(&list);
		if (i > 0 && p->unmerged[i] <= p->unmerged[i - 1]) {
			parent_free(p);
			return TD_ERR_MALFORMED;
		}
	}
	p->n_unmerged = (uint32_t)n;
	p->key_len = (uint8_t)key.len;
	p->hash_len = (uint8_t)hash.len;
	if (key.len > 0)
		memcpy(p->key, key.p, key.len);
	if (hash.len > 0)
		memcpy(p->hash, hash.p, hash.len);
	*ret = p;
	return TD_OK;
}

enum { NODE_TYPE_LEAF = 1, NODE_TYPE_PARENT = 2 };

/* One optional<Node> in place x. */
static int read_node(struct rd *r, struct mls_node *n, uint32_t x)
{
	struct mls_leaf_node view;
	bool present = mls_rd_present(r);
	uint8_t type;

	if (r->bad)
		return TD_ERR_MALFORMED;
	if (!present)
		return TD_OK;
	type = rd_u8(r);
	if (type != (mls_is_leaf(x) ? NODE_TYPE_LEAF : NODE_TYPE_PARENT))
		return TD_ERR_MALFORMED;
	if (type == NODE_TYPE_PARENT)
		return read_parent(r, &n->parent);
	mls_leaf_node_read(r, &view);
	if (r->bad)
		return TD_ERR_MALFORMED;
	return mls_leaf_new(&n->leaf, view.raw);
}

/* Room for n leaves, the new ones blank; n is a power of two and not fewer than now. */
static int extend(struct mls_tree *t, uint32_t n_leaves)
{
	uint32_t old = mls_n_nodes(t->n_leaves);
	uint32_t want = mls_n_nodes(n_leaves);
	struct mls_node *nodes;

	if (n_leaves > MLS_MAX_LEAVES)
		return TD_ERR_LIMIT;
	if ((nodes = realloc(t->nodes, want * sizeof(*nodes))) == NULL)
		return TD_ERR_NOMEM;
	memset(nodes + old, 0, (want - old) * sizeof(*nodes));
	t->nodes = nodes;
	t->n_leaves = n_leaves;
	return TD_OK;
}

int mls_tree_read(struct mls_tree *ret, struct mls_span content)
{
	struct mls_tree t = { NULL, 0 };
	uint32_t x = 0;
	struct rd rd;
	int r = TD_OK;

	rd_init(&rd, content.p, content.len);
	for (x = 0; r == TD_OK && rd_left(&rd) > 0; x++) {
		if (x == mls_n_nodes(t.n_leaves) &&
			(r = extend(&t, t.n_leaves > 0 ? 2 * t.n_leaves : 1)) < 0)
			break;
		r = read_node(&rd, &t.nodes[x], x);
	}
	if (r == TD_OK && (x == 0 || mls_tree_is_blank(&t, x - 1)))
		r = TD_ERR_MALFORMED;
	if (r < 0) {
		mls_tree_free(&t);
		return r;
	}
	*ret = t;
	return TD_OK;
}

/* Writing */

static void write_node(struct wr *w, const struct mls_node *n)
{
	uint32_t i;

	wr_u8(w, n->leaf != NULL || n->parent != NULL);
	if (n->leaf != NULL) {
		wr_u8(w, NODE_TYPE_LEAF);
		mls_wr_span(w, n->leaf->node.raw);
	} else if (n->parent != NULL) {
		wr_u8(w, NODE_TYPE_PARENT);
		mls_wr_vec(w, mls_span(n->parent->key, n->parent->key_len));
		mls_wr_vec(w, mls_span(n->parent->hash, n->parent->hash_len));
		mls_wr_varint(w, 4 * (size_t)n->parent->n_unmerged);
		for (i = 0; i < n->parent->n_unmerged; i++)
			wr_u32(w, n->parent->unmerged[i]);
	}
}

void mls_tree_write(struct wr *w, const struct mls_tree *t)
{
	uint32_t n = mls_n_nodes(t->n_leaves);
	size_t mark = mls_wr_open(w);
	uint32_t x;

	while (n > 0 && mls_tree_is_blank(t, n - 1))
		n--;
	for (x = 0; x < n; x++)
		write_node(w, &t->nodes[x]);
	mls_wr_close(w, mark);
}

size_t mls_tree_bound(const struct mls_tree *t)
{
	size_t n = 4;
	uint32_t x;

	for (x = 0; x < mls_n_nodes(t->n_leaves); x++) {
		n += 2;
		if (t->nodes[x].leaf != NULL)
			n += t->nodes[x].leaf->node.raw.len;
		if (t->nodes[x].parent != NULL)
			n += MLS_KEY_MAX + MLS_HASH_MAX + 12 +
				4 * (size_t)t->nodes[x].parent->n_unmerged;
	}
	return n;
}

/* Evolution */

static int add_unmerged(struct mls_parent *p, uint32_t leaf)
{
	uint32_t *list = realloc(p->unmerged, (p->n_unmerged + 1) * sizeof(*list));
	uint32_t i;

	if (list == NULL)
		return TD_ERR_NOMEM;
	p->unmerged = list;
	for (i = p->n_unmerged; i > 0 && list[i - 1] > leaf; i--)
		list[i] = list[i - 1];
	list[i] = leaf;
	p->n_unmerged++;
	return TD_OK;
}

static void drop_unmerged(struct mls_parent *p, uint32_t leaf)
{
	uint32_t i;
	uint32_t kept = 0;

	for (i = 0; i < p->n_unmerged; i++)
		if (p->unmerged[i] != leaf)
			p->unmerged[kept++] = p->unmerged[i];
	p->n_unmerged = kept;
}

int mls_tree_add(struct mls_tree *t, struct mls_leaf *leaf, uint32_t *ret_leaf)
{
	const uint32_t n_leaves = t->n_leaves;
	uint32_t root;
	uint32_t x;
	uint32_t i;
	int r;

	for (i = 0; i < t->n_leaves; i++)
		if (t->nodes[2 * i].leaf == NULL)
			break;
	if (i == t->n_leaves && (r = extend(t, t->n_leaves > 0 ? 2 * t->n_leaves : 1)) < 0)
		return r;
	root = mls_root(t->n_leaves);
	for (x = 2 * i; x != root;) {
		x = mls_parent(x);
		if (t->nodes[x].parent == NULL)
			continue;
		if ((r = add_unmerged(t->nodes[x].parent, i)) < 0)
			goto undo;
	}
	t->nodes[2 * i].leaf = mls_leaf_ref(leaf);
	*ret_leaf = i;
	return TD_OK;
undo:
	for (x = 2 * i; x != root;) {
		x = mls_parent(x);
		if (t->nodes[x].parent != NULL)
			drop_unmerged(t->nodes[x].parent, i);
	}
	t->n_leaves = n_leaves; /* what a doubling added is blank */
	return r;
}

void mls_tree_blank_path(struct mls_tree *t, uint32_t leaf)
{
	uint32_t root = mls_root(t->n_leaves);
	uint32_t x;

	for (x = 2 * leaf; x != root;) {
		x = mls_parent(x);
		blank(&t->nodes[x]);
	}
}

int mls_tree_remove(struct mls_tree *t, uint32_t leaf)
{
	if (mls_tree_leaf(t, leaf) == NULL)
		return TD_ERR_MALFORMED;
	mls_tree_blank_path(t, leaf);
	blank(&t->nodes[2 * leaf]);
	/* The array stays as long as it was; only n_leaves says what is in use. The root of a tree
	 * to be halved may have a key only if something is on its right, so blank it is. */
	while (t->n_leaves > 1 && subtree_is_blank(t, mls_right(mls_root(t->n_leaves)))) {
		blank(&t->nodes[mls_root(t->n_leaves)]);
		t->n_leaves /= 2;
	}
	return TD_OK;
}

void mls_tree_set_leaf(struct mls_tree *t, uint32_t leaf, struct mls_leaf *l)
{
	mls_leaf_ref(l);
	blank(&t->nodes[2 * leaf]);
	t->nodes[2 * leaf].leaf = l;
}

int mls_tree_set_parent(struct mls_tree *t, uint32_t node, struct mls_span key)
{
	struct mls_parent *p;

	if (key.len > MLS_KEY_MAX)
		return TD_ERR_MALFORMED;
	if ((p = calloc(1, sizeof(*p))) == NULL)
		return TD_ERR_NOMEM;
	memcpy(p->key, key.p, key.len);
	p->key_len = (uint8_t)key.len;
	blank(&t->nodes[node]);
	t->nodes[node].parent = p;
	return TD_OK;
}

/* Paths */

static int resolve(const struct mls_tree *t, uint32_t node, uint32_t *out, size_t *n, size_t cap)
{
	const struct mls_node *x = &t->nodes[node];
	uint32_t i;
	int r;

	if (x->leaf == NULL && x->parent == NULL) {
		if (mls_is_leaf(node))
			return TD_OK;
		if ((r = resolve(t, mls_left(node), out, n, cap)) < 0)
			return r;
		return resolve(t, mls_right(node), out, n, cap);
	}
	if (*n == cap || (x->parent != NULL && x->parent->n_unmerged > cap - *n - 1))
		return TD_ERR_MALFORMED;
	out[(*n)++] = node;
	if (x->parent != NULL)
		for (i = 0; i < x->parent->n_unmerged; i++)
			out[(*n)++] = 2 * x->parent->unmerged[i];
	return TD_OK;
}

int mls_tree_resolution(const struct mls_tree *t, uint32_t node, uint32_t *out, size_t *n)
{
	*n = 0;
	return resolve(t, node, out, n, mls_last_below(node) - mls_first_below(node) + 1);
}

void mls_tree_filtered_path(const struct mls_tree *t, uint32_t leaf, struct mls_direct_path *ret)
{
	uint32_t root = mls_root(t->n_leaves);
	uint32_t sibling;
	uint32_t x;

	ret->n = 0;
	for (x = 2 * leaf; x != root; x = mls_parent(x)) {
		sibling = mls_sibling(x);
		/* A resolution is empty exactly when nothing below is filled. */
		if (subtree_is_blank(t, sibling))
			continue;
		ret->node[ret->n] = mls_parent(x);
		ret->copath[ret->n] = sibling;
		ret->n++;
	}
}
