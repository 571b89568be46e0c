/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MLS_TREE_H
#define TD_COMMON_MLS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/mls/mls_codec.h"
#include "common/mls/mls_crypto.h"
#include "common/mls/mls_ctx.h"
#include "common/mls/mls_leaf.h"
#include "common/mls/mls_tree_math.h"

/*
 * The public side of the ratchet tree (RFC 9420 sections 4, 7.1, 7.7, 7.8, 7.9, 12.4.3.3). A tree
 * and the leaves it shares with its copies belong to one thread.
 *
 * Bounds: a tree of more leaves than MLS_MAX_LEAVES is TD_ERR_LIMIT. A node takes at least one byte
 * of input, so what is allocated while reading is bounded by the input too.
 */
enum {
	MLS_MAX_LEVEL = 14,
	MLS_MAX_LEAVES = 1 << MLS_MAX_LEVEL,
	MLS_KEY_MAX = 133, /* the longest public key and hash of any suite: trees of other suites */
	MLS_HASH_MAX = 64, /* can be read and hashed, not validated */
};

struct mls_parent {
	uint8_t key[MLS_KEY_MAX];
	uint8_t key_len;
	uint8_t hash[MLS_HASH_MAX]; /* parent_hash */
	uint8_t hash_len;
	uint32_t n_unmerged;
	uint32_t *unmerged; /* leaf indices, ascending; owned */
};

/* Blank when both are NULL; even nodes have only ever a leaf, odd ones a parent. */
struct mls_node {
	struct mls_leaf *leaf;
	struct mls_parent *parent;
};

struct mls_tree {
	struct mls_node *nodes; /* mls_n_nodes(n_leaves) of them; NULL when empty */
	uint32_t n_leaves;      /* 0 or a power of two */
};

/* All functions leave the tree as it was when they fail, unless said otherwise. */

void mls_tree_free(struct mls_tree *t); /* and makes it empty; an empty one is fine */

/* Leaves are shared, parents copied. *ret is uninitialised before. TD_ERR_NOMEM. */
int mls_tree_copy(struct mls_tree *ret, const struct mls_tree *t);

/* Reads the content of `optional<Node> ratchet_tree<V>` (all of `content`, without its header) and
 * pads it to a full tree. TD_ERR_MALFORMED: also a last node that is blank, a leaf in a parent's
 * place, unmerged leaves not ascending. TD_ERR_LIMIT, TD_ERR_NOMEM. Nothing is validated. */
int mls_tree_read(struct mls_tree *ret, struct mls_span content);

/* Writes header and content, and the room that takes at most. */
void mls_tree_write(struct wr *w, const struct mls_tree *t);
size_t mls_tree_bound(const struct mls_tree *t);

bool mls_tree_is_blank(const struct mls_tree *t, uint32_t node);
/* The leaf, or NULL when blank or out of range. */
const struct mls_leaf_node *mls_tree_leaf(const struct mls_tree *t, uint32_t leaf);
/* The HPKE key of a node that is not blank. */
struct mls_span mls_tree_key(const struct mls_tree *t, uint32_t node);
bool mls_tree_is_unmerged(const struct mls_parent *p, uint32_t leaf);

/* Section 7.7: takes the leftmost blank leaf, or doubles the tree; *ret_leaf says where. Takes a
 * reference of its own. TD_ERR_LIMIT, TD_ERR_NOMEM. */
int mls_tree_add(struct mls_tree *t, struct mls_leaf *leaf, uint32_t *ret_leaf);

/* Section 7.7: blanks the leaf and its direct path, halves while the right half is blank.
 * TD_ERR_MALFORMED: out of range or blank. */
int mls_tree_remove(struct mls_tree *t, uint32_t leaf);

void mls_tree_blank_path(struct mls_tree *t, uint32_t leaf); /* the direct path, not the leaf */
void mls_tree_set_leaf(struct mls_tree *t, uint32_t leaf, struct mls_leaf *l); /* references it */
/* Replaces a parent by one with that key, no hash and no unmerged leaves. TD_ERR_NOMEM. */
int mls_tree_set_parent(struct mls_tree *t, uint32_t node, struct mls_span key);

/* Section 4.1.1: the resolution of a node, in order; `out` has room for the nodes of its subtree
 * (2^(level + 1) - 1). *n gets the count. TD_ERR_MALFORMED: unmerged lists so broken that it does
 * not fit, which mls_tree_check_parents() rules out. */
int mls_tree_resolution(const struct mls_tree *t, uint32_t node, uint32_t *out, size_t *n);

/* Section 4.1.2: the filtered direct path from the bottom up, with the copath child of each. */
struct mls_direct_path {
	unsigned n;
	uint32_t node[MLS_MAX_LEVEL];
	uint32_t copath[MLS_MAX_LEVEL];
};
void mls_tree_filtered_path(const struct mls_tree *t, uint32_t leaf, struct mls_direct_path *ret);

/* Section 7.8: the hash of a node's subtree; the tree's is that of its root. */
void mls_tree_hash(const struct mls_tree *t, uint32_t node, uint8_t out[static MLS_HASH_LEN]);

/* Section 7.9: the parent hash that a descendant of `parent` (not blank) on the other side of
 * `sibling` (a child of it) has to carry. */
void mls_tree_parent_hash(const struct mls_tree *t, uint32_t parent, uint32_t sibling,
	uint8_t out[static MLS_HASH_LEN]);

/* After the path of `leaf` got new keys: sets its parent hashes from the top down. The one its leaf
 * has to carry goes to out, its length (0 when the path is empty, else 32) is returned. */
size_t mls_tree_set_parent_hashes(struct mls_tree *t, uint32_t leaf,
	uint8_t out[static MLS_HASH_LEN]);

/* Validation, in three parts; a tree of a GroupInfo has to pass all of them. */

/* Unmerged lists (section 12.4.3.1) and parent hashes (section 7.9.2). */
int mls_tree_check_parents(struct mls_ctx *cx, const struct mls_tree *t);
/* Encryption keys unique among all nodes, signature keys among leaves (sections 7.3, 12.4.3.1). */
int mls_tree_check_unique(struct mls_ctx *cx, const struct mls_tree *t);
/* mls_leaf_node_check() of every leaf; every parent's key a point on the curve. */
int mls_tree_check_nodes(struct mls_ctx *cx, const struct mls_tree *t, struct mls_span group_id);

#endif
