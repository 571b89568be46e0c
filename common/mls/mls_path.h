/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MLS_PATH_H
#define TD_COMMON_MLS_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/mls/mls_ctx.h"
#include "common/mls/mls_message.h"
#include "common/mls/mls_tree.h"

/*
 * Update paths both ways (RFC 9420 sections 7.4, 7.5, 7.6): TreeKEM. Any thread.
 */

/* What one member knows of the tree's private half: its leaf's key and keys on its direct path, by
 * level. Keep it in locked memory. */
struct mls_tree_keys {
	uint8_t leaf[MLS_PRIV_LEN];
	uint8_t node[MLS_MAX_LEVEL + 1][MLS_PRIV_LEN]; /* [0] unused */
	uint32_t have;                                 /* bit k: node[k] is known */
};

/* Forgets the keys of nodes that are blank or gone. Call it whenever the tree lost nodes. */
void mls_tree_keys_sync(struct mls_tree_keys *keys, const struct mls_tree *t, uint32_t own);

/* Whether every key fits its node in the tree. TD_ERR_MALFORMED if not. */
int mls_tree_keys_check(const struct mls_tree_keys *keys, const struct mls_tree *t, uint32_t own);

/* "node" of section 7.4: the key pair of a node with that path secret. */
int mls_path_node_key(uint8_t priv[static MLS_PRIV_LEN], uint8_t pub[static MLS_PUB_LEN],
	const uint8_t path_secret[static MLS_HASH_LEN]);

/*
 * Section 7.6, the public half: puts a received path into the tree, to which the commit's
 * proposals have been applied. Checks source, node count, keys that are points and new to the tree,
 * ciphertext counts (`added`: per leaf, whether this commit added it and it therefore gets none;
 * NULL for no leaf) and the leaf's parent hash; not the leaf's signature. On failure the tree may
 * be half changed: work on a copy. TD_ERR_MALFORMED, TD_ERR_AUTH, TD_ERR_NOMEM.
 */
int mls_path_apply(struct mls_ctx *cx, struct mls_tree *t, uint32_t sender,
	const struct mls_update_path *path, const bool *added);

/*
 * The private half, after mls_path_apply(): opens the ciphertext made for one of our keys, updates
 * `keys` and gives the commit secret. `context` is the provisional GroupContext as encoded. own is
 * not the sender. path_secret, if not NULL, gets the 32 bytes that were sealed for us. On failure
 * keys may be half changed. TD_ERR_NOKEY: sealed for none of our keys; TD_ERR_AUTH.
 */
int mls_path_open(struct mls_ctx *cx, const struct mls_tree *t, uint32_t own, uint32_t sender,
	const struct mls_update_path *path, const bool *added, struct mls_span context,
	struct mls_tree_keys *keys, uint8_t commit_secret[static MLS_HASH_LEN],
	uint8_t *path_secret);

/* Section 12.4.3.1: takes the path secret of a Welcome, for the lowest node above both own and
 * signer, and compares every public key on the way up. */
int mls_path_join(struct mls_ctx *cx, const struct mls_tree *t, uint32_t own, uint32_t signer,
	const uint8_t path_secret[static MLS_HASH_LEN], struct mls_tree_keys *keys);

/* A path of our own in the making. Keep it in locked memory. */
struct mls_own_path {
	struct mls_direct_path path;
	uint8_t secret[MLS_MAX_LEVEL + 1][MLS_HASH_LEN]; /* [i] of path.node[i]; [path.n]: commit */
};

/*
 * Section 7.5, first half: a fresh leaf key and path secrets for `own` in the tree, to which the
 * proposals have been applied; keys becomes what we know then. On failure tree and keys may be half
 * changed: work on copies.
 */
int mls_path_make(struct mls_ctx *cx, struct mls_tree *t, uint32_t own, struct mls_span group_id,
	const uint8_t signature_priv[static MLS_PRIV_LEN], struct mls_tree_keys *keys,
	struct mls_own_path *ret);

/* Second half: seals the secrets for everybody else and writes the UpdatePath. w has
 * mls_path_bound() room. */
int mls_path_write(struct mls_ctx *cx, struct wr *w, const struct mls_tree *t, uint32_t own,
	const bool *added, struct mls_span context, const struct mls_own_path *p);
size_t mls_path_bound(const struct mls_tree *t, uint32_t own);

/* The secret an added leaf gets in its Welcome; NULL when the path does not pass over it. */
const uint8_t *mls_path_secret_for(const struct mls_own_path *p, uint32_t leaf);

#endif
