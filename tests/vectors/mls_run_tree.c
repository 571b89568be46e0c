/* SPDX-License-Identifier: ISC */
/* Vectors of the ratchet tree: operations, validation, TreeKEM. */
#include <stdio.h>
#include <stdlib.h>

#include "common/mls/mls_path.h"
#include "tests/vectors/mls_run.h"

/* A tree as the vectors have it: with the length header of its vector. */
static int read_tree(struct mls_tree *t, struct mls_span bytes)
{
	struct mls_span content;
	struct rd r;

	rd_init(&r, bytes.p, bytes.len);
	content = mls_rd_vec(&r);
	return rd_done(&r) ? mls_tree_read(t, content) : TD_ERR_MALFORMED;
}

static bool tree_is(struct run *v, const struct mls_tree *t, struct mls_span want)
{
	size_t bound = mls_tree_bound(t);
	uint8_t *out = run_hold(v, bound);
	struct wr w;

	wr_init(&w, out, bound);
	mls_tree_write(&w, t);
	return !w.bad && run_same(out, w.len, want);
}

static bool hash_is(const struct mls_tree *t, uint32_t node, struct mls_span want)
{
	uint8_t hash[MLS_HASH_LEN];

	mls_tree_hash(t, node, hash);
	return run_same(hash, sizeof(hash), want);
}

static void operate(struct run *v, struct mls_tree *t, const struct mls_proposal_view *p)
{
	struct mls_leaf *leaf;
	uint32_t at;
	int r;

	if (p->type == MLS_PROPOSAL_ADD) {
		WANT(v, mls_leaf_new(&leaf, p->add.leaf.raw) == 0);
		r = mls_tree_add(t, leaf, &at);
		mls_leaf_unref(leaf);
		WANT(v, r == 0);
	} else {
		WANT(v, mls_tree_remove(t, p->removed) == 0);
	}
	WANT(v, tree_is(v, t, run_hex(v, v->c, "tree_after")));
	WANT(v, hash_is(t, mls_root(t->n_leaves), run_hex(v, v->c, "tree_hash_after")));
}

void run_tree_operations(struct run *v)
{
	struct mls_span bytes = run_hex(v, v->c, "proposal");
	json_int_t suite = json_integer_value(json_object_get(v->c, "cipher_suite"));
	struct mls_tree t = { NULL, 0 };
	struct mls_proposal_view p;
	struct rd r;

	if (suite > 3) {
		run_skip(v, "a cipher suite whose hash is not SHA-256");
		return;
	}
	rd_init(&r, bytes.p, bytes.len);
	mls_proposal_read(&r, &p);
	WANT(v, rd_done(&r));
	WANT(v, read_tree(&t, run_hex(v, v->c, "tree_before")) == 0);
	if (run_want(v, tree_is(v, &t, run_hex(v, v->c, "tree_before")), "tree_before", __FILE__,
		    __LINE__) &&
		run_want(v, hash_is(&t, mls_root(t.n_leaves), run_hex(v, v->c, "tree_hash_before")),
			"tree_hash_before", __FILE__, __LINE__)) {
		if (mls_proposal_refusal(p.type) != NULL)
			run_skip(v, mls_proposal_refusal(p.type));
		else
			operate(v, &t, &p);
	}
	mls_tree_free(&t);
}

static bool resolution_is(struct run *v, const struct mls_tree *t, uint32_t x, const json_t *want)
{
	uint32_t *list = run_hold(v, mls_n_nodes(t->n_leaves) * sizeof(*list));
	size_t n;
	size_t i;

	if (mls_tree_resolution(t, x, list, &n) < 0 || n != json_array_size(want))
		return false;
	for (i = 0; i < n; i++)
		if (json_integer_value(json_array_get(want, i)) != list[i])
			return false;
	return true;
}

static void validate(struct run *v, const struct mls_tree *t)
{
	struct mls_span group_id = run_hex(v, v->c, "group_id");
	json_t *resolutions = run_array(v, v->c, "resolutions");
	json_t *hashes = run_array(v, v->c, "tree_hashes");
	uint32_t n = mls_n_nodes(t->n_leaves);
	uint32_t x;

	WANT(v, json_array_size(resolutions) == n && json_array_size(hashes) == n);
	for (x = 0; x < n; x++) {
		WANT(v, resolution_is(v, t, x, json_array_get(resolutions, x)));
		WANT(v, hash_is(t, x, run_hex_value(v, json_array_get(hashes, x))));
	}
	WANT(v, mls_tree_check_parents(&v->cx, t) == 0);
	WANT(v, mls_tree_check_unique(&v->cx, t) == 0);
	WANT(v, mls_tree_check_nodes(&v->cx, t, group_id) == 0);
	WANT(v, tree_is(v, t, run_hex(v, v->c, "tree")));
}

void run_tree_validation(struct run *v)
{
	struct mls_tree t = { NULL, 0 };

	WANT(v, read_tree(&t, run_hex(v, v->c, "tree")) == 0);
	validate(v, &t);
	mls_tree_free(&t);
}

/* TreeKEM */

struct member {
	bool present;
	uint32_t leaf;
	const uint8_t *signature;
	struct mls_tree_keys keys;
};

struct kem_case {
	struct mls_tree tree;
	struct mls_span group_id;
	struct member *members;
	size_t n_members;
};

static bool load_member(struct run *v, const struct kem_case *k, const json_t *o, struct member *m)
{
	json_t *secrets = run_array(v, o, "path_secrets");
	const struct mls_leaf_node *leaf;
	uint8_t pub[MLS_PUB_LEN];
	json_t *s;
	size_t i;

	m->leaf = (uint32_t)run_number(v, o, "index");
	m->signature = run_fixed(v, o, "signature_priv", MLS_PRIV_LEN);
	memcpy(m->keys.leaf, run_fixed(v, o, "encryption_priv", MLS_PRIV_LEN), MLS_PRIV_LEN);
	WANT_OR_FALSE(v, (leaf = mls_tree_leaf(&k->tree, m->leaf)) != NULL);
	WANT_OR_FALSE(v,
		mls_p256_public(pub, m->signature) == 0 &&
			run_same(pub, sizeof(pub), leaf->signature_key));
	json_array_foreach(secrets, i, s)
	{
		uint32_t node = (uint32_t)run_number(v, s, "node");
		const uint8_t *secret = run_fixed(v, s, "path_secret", MLS_HASH_LEN);

		WANT_OR_FALSE(v,
			node < mls_n_nodes(k->tree.n_leaves) && !mls_is_leaf(node) &&
				mls_is_below(2 * m->leaf, node));
		WANT_OR_FALSE(v,
			mls_path_node_key(m->keys.node[mls_level(node)], pub, secret) == 0);
		m->keys.have |= 1u << mls_level(node);
	}
	WANT_OR_FALSE(v, mls_tree_keys_check(&m->keys, &k->tree, m->leaf) == 0);
	m->present = true;
	return true;
}

/* The GroupContext a path's secrets are sealed under; lives as long as the case. */
static struct mls_span path_context(struct run *v, const struct kem_case *k,
	const struct mls_tree *after)
{
	uint8_t hash[MLS_HASH_LEN];
	struct mls_group_context c = {
		.version = MLS_VERSION,
		.suite = MLS_SUITE,
		.group_id = k->group_id,
		.epoch = run_number(v, v->c, "epoch"),
		.tree_hash = mls_span(hash, sizeof(hash)),
		.confirmed_hash = run_hex(v, v->c, "confirmed_transcript_hash"),
	};
	size_t bound = mls_group_context_bound(&c);
	uint8_t *out = run_hold(v, bound);
	struct wr w;

	mls_tree_hash(after, mls_root(after->n_leaves), hash);
	wr_init(&w, out, bound);
	mls_group_context_write(&w, &c);
	return mls_span(out, w.len);
}

/* Everybody but the sender opens the path. want: path secrets per leaf, or NULL for our own path,
 * where every member has to come to the same commit secret. */
static bool open_all(struct run *v, const struct kem_case *k, const struct mls_tree *after,
	uint32_t sender, const struct mls_update_path *path, const json_t *want,
	struct mls_span commit_secret)
{
	struct mls_span context = path_context(v, k, after);
	uint8_t path_secret[MLS_HASH_LEN];
	uint8_t secret[MLS_HASH_LEN];
	struct mls_tree_keys keys;
	size_t i;

	for (i = 0; i < k->n_members; i++) {
		const struct member *m = &k->members[i];

		if (m->leaf == sender)
			continue;
		keys = m->keys;
		v->cx.why = NULL;
		WANT_OR_FALSE(v,
			mls_path_open(&v->cx, after, m->leaf, sender, path, NULL, context, &keys,
				secret, path_secret) == 0);
		WANT_OR_FALSE(v, run_same(secret, sizeof(secret), commit_secret));
		WANT_OR_FALSE(v, mls_tree_keys_check(&keys, after, m->leaf) == 0);
		if (want != NULL)
			WANT_OR_FALSE(v,
				run_same(path_secret, sizeof(path_secret),
					run_hex_value(v, json_array_get(want, m->leaf))));
	}
	return true;
}

static bool receive_path(struct run *v, const struct kem_case *k, const json_t *o,
	struct mls_tree *after)
{
	uint32_t sender = (uint32_t)run_number(v, o, "sender");
	struct mls_span bytes = run_hex(v, o, "update_path");
	json_t *want = run_array(v, o, "path_secrets");
	struct mls_update_path path;
	struct rd r;
	size_t i;

	rd_init(&r, bytes.p, bytes.len);
	mls_update_path_read(&r, &path);
	WANT_OR_FALSE(v, rd_done(&r));
	WANT_OR_FALSE(v, mls_leaf_node_check(&v->cx, &path.leaf, k->group_id, sender) == 0);
	WANT_OR_FALSE(v, mls_path_apply(&v->cx, after, sender, &path, NULL) == 0);
	WANT_OR_FALSE(v,
		hash_is(after, mls_root(after->n_leaves), run_hex(v, o, "tree_hash_after")));
	WANT_OR_FALSE(v, json_array_size(want) == after->n_leaves);
	for (i = 0; i < json_array_size(want); i++)
		WANT_OR_FALSE(v,
			json_is_null(json_array_get(want, i)) ==
				(i == sender || mls_tree_leaf(after, (uint32_t)i) == NULL));
	return open_all(v, k, after, sender, &path, want, run_hex(v, o, "commit_secret"));
}

/* A path of our own, for the member that sent one. */
static bool send_path(struct run *v, const struct kem_case *k, const struct member *m,
	struct mls_tree *made, struct mls_tree *after)
{
	struct mls_own_path *own = run_hold(v, sizeof(*own));
	struct mls_tree_keys keys = m->keys;
	struct mls_update_path path;
	uint8_t *bytes;
	struct rd r;
	struct wr w;

	WANT_OR_FALSE(v,
		mls_path_make(&v->cx, made, m->leaf, k->group_id, m->signature, &keys, own) == 0);
	WANT_OR_FALSE(v, mls_tree_keys_check(&keys, made, m->leaf) == 0);
	bytes = run_hold(v, mls_path_bound(made, m->leaf));
	wr_init(&w, bytes, mls_path_bound(made, m->leaf));
	WANT_OR_FALSE(v,
		mls_path_write(&v->cx, &w, made, m->leaf, NULL, path_context(v, k, made), own) ==
			0);
	rd_init(&r, bytes, w.len);
	mls_update_path_read(&r, &path);
	WANT_OR_FALSE(v, rd_done(&r));
	WANT_OR_FALSE(v, mls_leaf_node_check(&v->cx, &path.leaf, k->group_id, m->leaf) == 0);
	WANT_OR_FALSE(v, mls_path_apply(&v->cx, after, m->leaf, &path, NULL) == 0);
	return open_all(v, k, after, m->leaf, &path, NULL,
		mls_span(own->secret[own->path.n], MLS_HASH_LEN));
}

static bool one_path(struct run *v, const struct kem_case *k, const json_t *o)
{
	uint32_t sender = (uint32_t)run_number(v, o, "sender");
	struct mls_tree trees[3] = { { NULL, 0 } };
	bool ok = false;
	size_t i;

	for (i = 0; i < 3; i++)
		if (mls_tree_copy(&trees[i], &k->tree) < 0)
			goto out;
	ok = receive_path(v, k, o, &trees[0]);
	for (i = 0; ok && i < k->n_members; i++)
		if (k->members[i].leaf == sender)
			ok = send_path(v, k, &k->members[i], &trees[1], &trees[2]);
out:
	for (i = 0; i < 3; i++)
		mls_tree_free(&trees[i]);
	return ok;
}

static void treekem(struct run *v, struct kem_case *k)
{
	json_t *members = run_array(v, v->c, "leaves_private");
	json_t *paths = run_array(v, v->c, "update_paths");
	json_t *o;
	size_t i;

	k->group_id = run_hex(v, v->c, "group_id");
	k->n_members = json_array_size(members);
	k->members = run_hold(v, (k->n_members + 1) * sizeof(*k->members));
	WANT(v, k->n_members > 0 && json_array_size(paths) > 0);
	json_array_foreach(members, i, o) if (!load_member(v, k, o, &k->members[i])) return;
	json_array_foreach(paths, i, o) if (!one_path(v, k, o)) return;
}

void run_treekem(struct run *v)
{
	struct kem_case k = { .tree = { NULL, 0 } };

	WANT(v, read_tree(&k.tree, run_hex(v, v->c, "ratchet_tree")) == 0);
	treekem(v, &k);
	mls_tree_free(&k.tree);
}
