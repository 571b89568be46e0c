/* SPDX-License-Identifier: ISC */
#include <sodium.h>
#include <stdlib.h>

#include "common/mls/mls_tree.h"

/*
 * Tree hashes, parent hashes and the validation of whole trees. Recursion goes down one level per
 * call, so MLS_MAX_LEVEL bounds it.
 */

static void hash_u8(crypto_hash_sha256_state *st, uint8_t v)
{
	crypto_hash_sha256_update(st, &v, 1);
}

static void hash_u32(crypto_hash_sha256_state *st, uint32_t v)
{
	uint8_t b[4];
	struct wr w;

	wr_init(&w, b, sizeof(b));
	wr_u32(&w, v);
	crypto_hash_sha256_update(st, b, sizeof(b));
}

static void hash_varint(crypto_hash_sha256_state *st, size_t n)
{
	uint8_t b[4];
	struct wr w;

	wr_init(&w, b, sizeof(b));
	mls_wr_varint(&w, n);
	crypto_hash_sha256_update(st, b, w.len);
}

static void hash_vec(crypto_hash_sha256_state *st, const uint8_t *p, size_t n)
{
	hash_varint(st, n);
	crypto_hash_sha256_update(st, p, n);
}

/* The unmerged leaves of p, less those struck. */
static void hash_unmerged(crypto_hash_sha256_state *st, const struct mls_parent *p,
	const struct mls_parent *strike)
{
	uint32_t n = 0;
	uint32_t i;

	for (i = 0; i < p->n_unmerged; i++)
		n += strike == NULL || !mls_tree_is_unmerged(strike, p->unmerged[i]);
	hash_varint(st, 4 * (size_t)n);
	for (i = 0; i < p->n_unmerged; i++)
		if (strike == NULL || !mls_tree_is_unmerged(strike, p->unmerged[i]))
			hash_u32(st, p->unmerged[i]);
}

/* Section 7.8, as if the unmerged leaves of `strike` (or NULL) were not there (section 7.9). */
static void hash_node(const struct mls_tree *t, uint32_t x, const struct mls_parent *strike,
	uint8_t out[static MLS_HASH_LEN])
{
	uint8_t left[MLS_HASH_LEN];
	uint8_t right[MLS_HASH_LEN];
	const struct mls_parent *p = t->nodes[x].parent;
	const struct mls_leaf *l = t->nodes[x].leaf;
	crypto_hash_sha256_state st;

	crypto_hash_sha256_init(&st);
	if (mls_is_leaf(x)) {
		if (l != NULL && strike != NULL && mls_tree_is_unmerged(strike, x / 2))
			l = NULL;
		hash_u8(&st, 1);
		hash_u32(&st, x / 2);
		hash_u8(&st, l != NULL);
		if (l != NULL)
			crypto_hash_sha256_update(&st, l->node.raw.p, l->node.raw.len);
	} else {
		hash_node(t, mls_left(x), strike, left);
		hash_node(t, mls_right(x), strike, right);
		hash_u8(&st, 2);
		hash_u8(&st, p != NULL);
		if (p != NULL) {
			hash_vec(&st, p->key, p->key_len);
			hash_vec(&st, p->hash, p->hash_len);
			hash_unmerged(&st, p, strike);
		}
		hash_vec(&st, left, sizeof(left));
		hash_vec(&st, right, sizeof(right));
	}
	crypto_hash_sha256_final(&st, out);
}

void mls_tree_hash(const struct mls_tree *t, uint32_t node, uint8_t out[static MLS_HASH_LEN])
{
	hash_node(t, node, NULL, out);
}

/* `plain` is the sibling's tree hash if the caller has it already, and is of use only while the
 * parent has no unmerged leaves. */
static void parent_hash(const struct mls_tree *t, uint32_t parent, uint32_t sibling,
	const uint8_t *plain, uint8_t out[static MLS_HASH_LEN])
{
	const struct mls_parent *p = t->nodes[parent].parent;
	uint8_t original[MLS_HASH_LEN];
	crypto_hash_sha256_state st;

	if (plain != NULL && p->n_unmerged == 0)
		memcpy(original, plain, sizeof(original));
	else
		hash_node(t, sibling, p->n_unmerged > 0 ? p : NULL, original);
	crypto_hash_sha256_init(&st);
	hash_vec(&st, p->key, p->key_len);
	hash_vec(&st, p->hash, p->hash_len);
	hash_vec(&st, original, sizeof(original));
	crypto_hash_sha256_final(&st, out);
}

void mls_tree_parent_hash(const struct mls_tree *t, uint32_t parent, uint32_t sibling,
	uint8_t out[static MLS_HASH_LEN])
{
	parent_hash(t, parent, sibling, NULL, out);
}

size_t mls_tree_set_parent_hashes(struct mls_tree *t, uint32_t leaf,
	uint8_t out[static MLS_HASH_LEN])
{
	uint8_t h[MLS_HASH_LEN];
	struct mls_direct_path path;
	struct mls_parent *p;
	size_t len = 0;
	unsigned i;

	mls_tree_filtered_path(t, leaf, &path);
	for (i = path.n; i-- > 0;) {
		p = t->nodes[path.node[i]].parent;
		memcpy(p->hash, h, len);
		p->hash_len = (uint8_t)len;
		parent_hash(t, path.node[i], path.copath[i], NULL, h);
		len = sizeof(h);
	}
	memcpy(out, h, len);
	return len;
}

/* Validation */

struct check {
	const struct mls_tree *t;
	uint8_t (*hashes)[MLS_HASH_LEN]; /* tree hash of every node */
	uint32_t *resolution;            /* scratch, as long as the tree */
};

/* Every unmerged leaf is a leaf below, and every parent between knows it as unmerged too. */
static bool unmerged_is_sane(const struct mls_tree *t, uint32_t x)
{
	const struct mls_parent *p = t->nodes[x].parent;
	const struct mls_parent *between;
	uint32_t leaf;
	uint32_t i;
	uint32_t y;

	for (i = 0; i < p->n_unmerged; i++) {
		leaf = p->unmerged[i];
		if (leaf >= t->n_leaves || !mls_is_below(2 * leaf, x) ||
			t->nodes[2 * leaf].leaf == NULL)
			return false;
		for (y = mls_parent(2 * leaf); y != x; y = mls_parent(y)) {
			between = t->nodes[y].parent;
			if (between != NULL && !mls_tree_is_unmerged(between, leaf))
				return false;
		}
	}
	return true;
}

static struct mls_span carried_hash(const struct mls_node *n)
{
	if (n->parent != NULL)
		return mls_span(n->parent->hash, n->parent->hash_len);
	return n->leaf->node.parent_hash; /* empty unless its source is a commit */
}

/* How many descendants in the resolution of `child` carry the hash of parent x (section 7.9.2). */
static int count_fits(const struct check *c, uint32_t x, uint32_t child, uint32_t sibling,
	unsigned *fits)
{
	const struct mls_parent *p = c->t->nodes[x].parent;
	uint8_t want[MLS_HASH_LEN];
	size_t unmerged = 0; /* of x, below child */
	size_t others = 0;   /* of these, in the resolution */
	size_t n;
	size_t i;
	int r;

	parent_hash(c->t, x, sibling, c->hashes[sibling], want);
	if ((r = mls_tree_resolution(c->t, child, c->resolution, &n)) < 0)
		return r;
	for (i = 0; i < p->n_unmerged; i++)
		unmerged += mls_is_below(2 * p->unmerged[i], child);
	for (i = 0; i < n; i++)
		others += mls_is_leaf(c->resolution[i]) &&
			mls_tree_is_unmerged(p, c->resolution[i] / 2);
	for (i = 0; i < n; i++) {
		bool is_unmerged = mls_is_leaf(c->resolution[i]) &&
			mls_tree_is_unmerged(p, c->resolution[i] / 2);

		/* All of the resolution but this entry must be x's unmerged leaves, all of them. */
		if (n - 1 != unmerged || others - is_unmerged != unmerged)
			continue;
		if (mls_span_equal(carried_hash(&c->t->nodes[c->resolution[i]]),
			    mls_span(want, sizeof(want))))
			(*fits)++;
	}
	return TD_OK;
}

static int check_parent(struct mls_ctx *cx, const struct check *c, uint32_t x)
{
	unsigned fits = 0;
	int r;

	if ((r = count_fits(c, x, mls_left(x), mls_right(x), &fits)) < 0 ||
		(r = count_fits(c, x, mls_right(x), mls_left(x), &fits)) < 0)
		return r;
	if (fits != 1)
		return mls_fail(cx, TD_ERR_AUTH, "tree: parent hash does not verify");
	return TD_OK;
}

static void hash_all(const struct check *c, uint32_t x)
{
	const struct mls_parent *p = c->t->nodes[x].parent;
	crypto_hash_sha256_state st;

	if (mls_is_leaf(x)) {
		hash_node(c->t, x, NULL, c->hashes[x]);
		return;
	}
	hash_all(c, mls_left(x));
	hash_all(c, mls_right(x));
	crypto_hash_sha256_init(&st);
	hash_u8(&st, 2);
	hash_u8(&st, p != NULL);
	if (p != NULL) {
		hash_vec(&st, p->key, p->key_len);
		hash_vec(&st, p->hash, p->hash_len);
		hash_unmerged(&st, p, NULL);
	}
	hash_vec(&st, c->hashes[mls_left(x)], MLS_HASH_LEN);
	hash_vec(&st, c->hashes[mls_right(x)], MLS_HASH_LEN);
	crypto_hash_sha256_final(&st, c->hashes[x]);
}

int mls_tree_check_parents(struct mls_ctx *cx, const struct mls_tree *t)
{
	uint32_t n = mls_n_nodes(t->n_leaves);
	struct check c = { t, NULL, NULL };
	int r = TD_ERR_NOMEM;
	uint32_t x;

	for (x = 1; x < n; x += 2)
		if (t->nodes[x].parent != NULL && !unmerged_is_sane(t, x))
			return mls_fail(cx, TD_ERR_MALFORMED, "tree: impossible unmerged leaves");
	if ((c.hashes = calloc(n, sizeof(*c.hashes))) == NULL ||
		(c.resolution = calloc(n, sizeof(*c.resolution))) == NULL)
		goto out;
	hash_all(&c, mls_root(t->n_leaves));
	r = TD_OK;
	for (x = 1; x < n && r == TD_OK; x += 2)
		if (t->nodes[x].parent != NULL)
			r = check_parent(cx, &c, x);
out:
	free(c.resolution);
	free(c.hashes);
	return r;
}

static int compare_spans(const void *a, const void *b)
{
	const struct mls_span *x = a;
	const struct mls_span *y = b;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return x->len > 0 ? memcmp(x->p, y->p, x->len) : 0;
}

static bool sort_has_twins(struct mls_span *keys, size_t n)
{
	size_t i;

	qsort(keys, n, sizeof(*keys), compare_spans);
	for (i = 1; i < n; i++)
		if (compare_spans(&keys[i - 1], &keys[i]) == 0)
			return true;
	return false;
}

int mls_tree_check_unique(struct mls_ctx *cx, const struct mls_tree *t)
{
	uint32_t nodes = mls_n_nodes(t->n_leaves);
	struct mls_span *keys;
	int r = TD_OK;
	size_t n = 0;
	uint32_t x;

	if ((keys = calloc(nodes, sizeof(*keys))) == NULL)
		return TD_ERR_NOMEM;
	for (x = 0; x < nodes; x++)
		if (!mls_tree_is_blank(t, x))
			keys[n++] = mls_tree_key(t, x);
	if (sort_has_twins(keys, n))
		r = mls_fail(cx, TD_ERR_DUPLICATE, "tree: an encryption key twice");
	n = 0;
	for (x = 0; x < nodes; x += 2)
		if (t->nodes[x].leaf != NULL)
			keys[n++] = t->nodes[x].leaf->node.signature_key;
	if (r == TD_OK && sort_has_twins(keys, n))
		r = mls_fail(cx, TD_ERR_DUPLICATE, "tree: a signature key twice");
	free(keys);
	return r;
}

int mls_tree_check_nodes(struct mls_ctx *cx, const struct mls_tree *t, struct mls_span group_id)
{
	uint32_t x;
	int r;

	for (x = 0; x < mls_n_nodes(t->n_leaves); x++) {
		if (t->nodes[x].leaf != NULL) {
			r = mls_leaf_node_check(cx, &t->nodes[x].leaf->node, group_id, x / 2);
			if (r < 0)
				return r;
		} else if (t->nodes[x].parent != NULL) {
			if ((r = mls_p256_check(mls_tree_key(t, x))) < 0)
				return mls_fail(cx, r, "tree: a parent's key is no point");
		}
	}
	return TD_OK;
}
