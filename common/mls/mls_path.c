/* SPDX-License-Identifier: ISC */
#include "common/mls/mls_path.h"

#include <sodium.h>
#include <stdlib.h>

#include "common/mls/mls_hpke.h"

void mls_tree_keys_sync(struct mls_tree_keys *keys, const struct mls_tree *t, uint32_t own)
{
	uint32_t root = mls_root(t->n_leaves);
	uint32_t kept = 0;
	uint32_t x;
	unsigned k;

	for (x = 2 * own; x != root;) {
		x = mls_parent(x);
		if (!mls_tree_is_blank(t, x))
			kept |= 1u << mls_level(x);
	}
	keys->have &= kept;
	for (k = 0; k <= MLS_MAX_LEVEL; k++)
		if ((keys->have >> k & 1) == 0)
			sodium_memzero(keys->node[k], MLS_PRIV_LEN);
}

static const uint8_t *key_of(const struct mls_tree_keys *keys, uint32_t own, uint32_t node)
{
	if (node == 2 * own)
		return keys->leaf;
	if (mls_is_leaf(node) || !mls_is_below(2 * own, node) ||
		(keys->have >> mls_level(node) & 1) == 0)
		return NULL;
	return keys->node[mls_level(node)];
}

int mls_tree_keys_check(const struct mls_tree_keys *keys, const struct mls_tree *t, uint32_t own)
{
	uint32_t root = mls_root(t->n_leaves);
	uint8_t pub[MLS_PUB_LEN];
	const uint8_t *priv;
	uint32_t x = 2 * own;
	int r;

	for (;;) {
		priv = key_of(keys, own, x);
		if (priv != NULL) {
			if (mls_tree_is_blank(t, x))
				return TD_ERR_MALFORMED;
			if ((r = mls_p256_public(pub, priv)) < 0)
				return r;
			if (!mls_span_equal(mls_span(pub, sizeof(pub)), mls_tree_key(t, x)))
				return TD_ERR_MALFORMED;
		}
		if (x == root)
			return TD_OK;
		x = mls_parent(x);
	}
}

int mls_path_node_key(uint8_t priv[static MLS_PRIV_LEN], uint8_t pub[static MLS_PUB_LEN],
	const uint8_t path_secret[static MLS_HASH_LEN])
{
	uint8_t node_secret[MLS_HASH_LEN];
	int r;

	mls_derive_secret(node_secret, path_secret, "node");
	r = mls_hpke_derive_key_pair(priv, pub, mls_span(node_secret, sizeof(node_secret)));
	sodium_memzero(node_secret, sizeof(node_secret));
	return r;
}

/* The resolution of x less the leaves this commit added: the receivers of one path node. The
 * caller frees *ret. */
static int receivers(const struct mls_tree *t, uint32_t x, const bool *added, uint32_t **ret,
	size_t *ret_n)
{
	uint32_t *list;
	size_t kept = 0;
	size_t n;
	size_t i;
	int r;

	list = calloc(mls_last_below(x) - mls_first_below(x) + 1, sizeof(*list));
	if (list == NULL)
		return TD_ERR_NOMEM;
	if ((r = mls_tree_resolution(t, x, list, &n)) < 0) {
		free(list);
		return r;
	}
	for (i = 0; i < n; i++)
		if (added == NULL || !mls_is_leaf(list[i]) || !added[list[i] / 2])
			list[kept++] = list[i];
	*ret = list;
	*ret_n = kept;
	return TD_OK;
}

static bool tree_has_key(const struct mls_tree *t, struct mls_span key)
{
	uint32_t x;

	for (x = 0; x < mls_n_nodes(t->n_leaves); x++)
		if (!mls_tree_is_blank(t, x) && mls_span_equal(mls_tree_key(t, x), key))
			return true;
	return false;
}

/* Keys of a path must be points, and new: also among themselves, which the caller's final look at
 * the whole tree finds. */
static int check_new_key(struct mls_ctx *cx, const struct mls_tree *t, struct mls_span key)
{
	int r;

	if (tree_has_key(t, key))
		return mls_fail(cx, TD_ERR_DUPLICATE, "path: a key the tree has already");
	if ((r = mls_p256_check(key)) < 0)
		return mls_fail(cx, r, "path: a key is no point on the curve");
	return TD_OK;
}

static int check_ciphertexts(struct mls_ctx *cx, const struct mls_tree *t, uint32_t copath,
	const struct mls_path_node *node, const bool *added)
{
	uint32_t *list = NULL;
	size_t n = 0;
	int r;

	if ((r = receivers(t, copath, added, &list, &n)) < 0)
		return r;
	free(list);
	if (n != node->n_ciphertexts)
		return mls_fail(cx, TD_ERR_MALFORMED, "path: wrong number of ciphertexts");
	return TD_OK;
}

int mls_path_apply(struct mls_ctx *cx, struct mls_tree *t, uint32_t sender,
	const struct mls_update_path *path, const bool *added)
{
	uint8_t hash[MLS_HASH_LEN];
	struct mls_direct_path direct;
	struct mls_path_node node;
	struct mls_leaf *leaf = NULL;
	struct rd nodes;
	size_t hash_len;
	unsigned i;
	int r;

	mls_tree_filtered_path(t, sender, &direct);
	if (path->leaf.source != MLS_SOURCE_COMMIT)
		return mls_fail(cx, TD_ERR_MALFORMED, "path: leaf of another source");
	if (path->n_nodes != direct.n)
		return mls_fail(cx, TD_ERR_MALFORMED, "path: wrong number of nodes");
	if ((r = check_new_key(cx, t, path->leaf.encryption_key)) < 0)
		return r;
	rd_init(&nodes, path->nodes.p, path->nodes.len);
	for (i = 0; mls_path_node_next(&nodes, &node); i++)
		if ((r = check_new_key(cx, t, node.key)) < 0 ||
			(r = check_ciphertexts(cx, t, direct.copath[i], &node, added)) < 0)
			return r;
	if ((r = mls_leaf_new(&leaf, path->leaf.raw)) < 0)
		return r;

	mls_tree_blank_path(t, sender);
	rd_init(&nodes, path->nodes.p, path->nodes.len);
	for (i = 0; mls_path_node_next(&nodes, &node); i++)
		if ((r = mls_tree_set_parent(t, direct.node[i], node.key)) < 0)
			goto out;
	mls_tree_set_leaf(t, sender, leaf);
	hash_len = mls_tree_set_parent_hashes(t, sender, hash);
	if (!mls_span_equal(path->leaf.parent_hash, mls_span(hash, hash_len)))
		r = mls_fail(cx, TD_ERR_AUTH, "path: parent hash of the leaf does not fit");
out:
	mls_leaf_unref(leaf);
	return r;
}

/* From path.node[first], whose path secret is `secret`, to the top: derives, compares, keeps. The
 * secret becomes the one past the top. */
static int climb(struct mls_ctx *cx, const struct mls_tree *t, const struct mls_direct_path *direct,
	unsigned first, uint8_t secret[static MLS_HASH_LEN], struct mls_tree_keys *keys)
{
	uint8_t pub[MLS_PUB_LEN];
	unsigned level;
	unsigned i;
	int r;

	for (i = first; i < direct->n; i++) {
		level = mls_level(direct->node[i]);
		if ((r = mls_path_node_key(keys->node[level], pub, secret)) < 0)
			return r;
		keys->have |= 1u << level;
		if (mls_tree_is_blank(t, direct->node[i]) ||
			!mls_span_equal(mls_span(pub, sizeof(pub)),
				mls_tree_key(t, direct->node[i])))
			return mls_fail(cx, TD_ERR_AUTH, "path: secret does not fit its node");
		mls_derive_secret(secret, secret, "path");
	}
	return TD_OK;
}

/* The first node of the path that is above own; path.n when there is none. */
static unsigned meeting(const struct mls_direct_path *direct, uint32_t own)
{
	unsigned i;

	for (i = 0; i < direct->n; i++)
		if (mls_is_below(2 * own, direct->node[i]))
			break;
	return i;
}

/* Ciphertext number `index` of path node number `at`. */
static void find_ciphertext(const struct mls_update_path *path, unsigned at, size_t index,
	struct mls_hpke_ciphertext *ret)
{
	struct mls_path_node node = { 0 };
	struct rd r;

	rd_init(&r, path->nodes.p, path->nodes.len);
	do
		mls_path_node_next(&r, &node);
	while (at-- > 0);
	rd_init(&r, node.ciphertexts.p, node.ciphertexts.len);
	do
		mls_hpke_ciphertext_read(&r, ret);
	while (index-- > 0);
}

int mls_path_open(struct mls_ctx *cx, const struct mls_tree *t, uint32_t own, uint32_t sender,
	const struct mls_update_path *path, const bool *added, struct mls_span context,
	struct mls_tree_keys *keys, uint8_t commit_secret[static MLS_HASH_LEN],
	uint8_t *path_secret)
{
	uint8_t secret[MLS_HASH_LEN];
	struct mls_hpke_ciphertext sealed;
	struct mls_direct_path direct;
	const uint8_t *priv = NULL;
	uint32_t *list = NULL;
	size_t n = 0;
	size_t i;
	unsigned at;
	int r;

	mls_tree_filtered_path(t, sender, &direct);
	at = meeting(&direct, own);
	if (at == direct.n || path->n_nodes != direct.n)
		return mls_fail(cx, TD_ERR_MALFORMED, "path: does not meet ours");
	if ((r = receivers(t, direct.copath[at], added, &list, &n)) < 0)
		goto out;
	/* Not the first ancestor: we may be an unmerged leaf below it and never got its key. */
	for (i = 0; i < n && priv == NULL; i++)
		priv = key_of(keys, own, list[i]);
	if (priv == NULL) {
		r = mls_fail(cx, TD_ERR_NOKEY, "path: sealed for none of our keys");
		goto out;
	}
	find_ciphertext(path, at, i - 1, &sealed);
	if (sealed.ciphertext.len != MLS_HASH_LEN + MLS_AEAD_TAG_LEN) {
		r = mls_fail(cx, TD_ERR_MALFORMED, "path: ciphertext of another length");
		goto out;
	}
	r = mls_decrypt_with_label(secret, priv, "UpdatePathNode", context, sealed.kem_output,
		sealed.ciphertext);
	if (r < 0) {
		r = mls_fail(cx, r, "path: secret does not open");
		goto out;
	}
	if (path_secret != NULL)
		memcpy(path_secret, secret, MLS_HASH_LEN);
	mls_tree_keys_sync(keys, t, own);
	if ((r = climb(cx, t, &direct, at, secret, keys)) < 0)
		goto out;
	memcpy(commit_secret, secret, MLS_HASH_LEN);
out:
	sodium_memzero(secret, sizeof(secret));
	free(list);
	return r;
}

int mls_path_join(struct mls_ctx *cx, const struct mls_tree *t, uint32_t own, uint32_t signer,
	const uint8_t path_secret[static MLS_HASH_LEN], struct mls_tree_keys *keys)
{
	uint8_t secret[MLS_HASH_LEN];
	struct mls_direct_path direct;
	int r;

	memcpy(secret, path_secret, sizeof(secret));
	mls_tree_filtered_path(t, signer, &direct);
	r = climb(cx, t, &direct, meeting(&direct, own), secret, keys);
	sodium_memzero(secret, sizeof(secret));
	return r;
}

/* Our leaf anew: as before but for the key, the source and the parent hash. */
static int renew_leaf(struct mls_tree *t, uint32_t own, const uint8_t pub[static MLS_PUB_LEN],
	struct mls_span parent_hash, struct mls_span group_id,
	const uint8_t signature_priv[static MLS_PRIV_LEN])
{
	struct mls_leaf_node l = *mls_tree_leaf(t, own);
	struct mls_leaf_node view;
	struct mls_leaf *leaf = NULL;
	struct wr w = { 0 };
	int r;

	l.encryption_key = mls_span(pub, MLS_PUB_LEN);
	l.source = MLS_SOURCE_COMMIT;
	l.parent_hash = parent_hash;
	if ((r = mls_wr_new(&w, mls_leaf_node_bound(&l))) < 0 ||
		(r = mls_leaf_node_sign(&w, &view, &l, signature_priv, group_id, own)) < 0 ||
		(r = mls_leaf_new(&leaf, view.raw)) < 0)
		goto out;
	mls_tree_set_leaf(t, own, leaf);
out:
	mls_leaf_unref(leaf);
	free(w.buf);
	return r;
}

int mls_path_make(struct mls_ctx *cx, struct mls_tree *t, uint32_t own, struct mls_span group_id,
	const uint8_t signature_priv[static MLS_PRIV_LEN], struct mls_tree_keys *keys,
	struct mls_own_path *ret)
{
	uint8_t hash[MLS_HASH_LEN];
	uint8_t leaf_pub[MLS_PUB_LEN];
	uint8_t pub[MLS_PUB_LEN];
	size_t hash_len;
	unsigned level;
	unsigned i;
	int r;

	mls_tree_filtered_path(t, own, &ret->path);
	mls_tree_blank_path(t, own);
	mls_tree_keys_sync(keys, t, own);
	if ((r = mls_hpke_generate(cx, keys->leaf, leaf_pub)) < 0)
		return r;
	if ((r = cx->random(cx->user, ret->secret[0], MLS_HASH_LEN)) < 0)
		return mls_fail(cx, r, "no random bytes");
	for (i = 0; i < ret->path.n; i++) {
		level = mls_level(ret->path.node[i]);
		if ((r = mls_path_node_key(keys->node[level], pub, ret->secret[i])) < 0)
			return r;
		keys->have |= 1u << level;
		r = mls_tree_set_parent(t, ret->path.node[i], mls_span(pub, sizeof(pub)));
		if (r < 0)
			return r;
		mls_derive_secret(ret->secret[i + 1], ret->secret[i], "path");
	}
	hash_len = mls_tree_set_parent_hashes(t, own, hash);
	return renew_leaf(t, own, leaf_pub, mls_span(hash, hash_len), group_id, signature_priv);
}

static int write_node(struct mls_ctx *cx, struct wr *w, const struct mls_tree *t, uint32_t copath,
	const bool *added, struct mls_span context, const uint8_t secret[static MLS_HASH_LEN])
{
	uint8_t kem_output[MLS_PUB_LEN];
	uint8_t sealed[MLS_HASH_LEN + MLS_AEAD_TAG_LEN];
	uint32_t *list = NULL;
	size_t mark;
	size_t n = 0;
	size_t i;
	int r;

	if ((r = receivers(t, copath, added, &list, &n)) < 0)
		return r;
	mark = mls_wr_open(w);
	for (i = 0; i < n && r == TD_OK; i++) {
		r = mls_encrypt_with_label(cx, kem_output, sealed, mls_tree_key(t, list[i]),
			"UpdatePathNode", context, mls_span(secret, MLS_HASH_LEN));
		mls_wr_vec(w, mls_span(kem_output, sizeof(kem_output)));
		mls_wr_vec(w, mls_span(sealed, sizeof(sealed)));
	}
	mls_wr_close(w, mark);
	free(list);
	return r;
}

int mls_path_write(struct mls_ctx *cx, struct wr *w, const struct mls_tree *t, uint32_t own,
	const bool *added, struct mls_span context, const struct mls_own_path *p)
{
	size_t mark;
	unsigned i;
	int r;

	mls_wr_span(w, mls_tree_leaf(t, own)->raw);
	mark = mls_wr_open(w);
	for (i = 0; i < p->path.n; i++) {
		mls_wr_vec(w, mls_tree_key(t, p->path.node[i]));
		r = write_node(cx, w, t, p->path.copath[i], added, context, p->secret[i]);
		if (r < 0)
			return r;
	}
	mls_wr_close(w, mark);
	return w->bad ? TD_ERR_LIMIT : TD_OK;
}

size_t mls_path_bound(const struct mls_tree *t, uint32_t own)
{
	/* A node is in at most one receiver list, so the ciphertexts are no more than nodes. */
	enum { CIPHERTEXT = MLS_PUB_LEN + 2 + MLS_HASH_LEN + MLS_AEAD_TAG_LEN + 1 };

	return mls_tree_leaf(t, own)->raw.len + 16 + MLS_MAX_LEVEL * (MLS_PUB_LEN + 8) +
		(size_t)mls_n_nodes(t->n_leaves) * CIPHERTEXT;
}

const uint8_t *mls_path_secret_for(const struct mls_own_path *p, uint32_t leaf)
{
	unsigned i = meeting(&p->path, leaf);

	return i < p->path.n ? p->secret[i] : NULL;
}
