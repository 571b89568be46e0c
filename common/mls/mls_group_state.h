/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MLS_GROUP_STATE_H
#define TD_COMMON_MLS_GROUP_STATE_H

#include "common/mls/mls_group.h"
#include "common/mls/mls_path.h"
#include "common/mls/mls_schedule.h"
#include "common/mls/mls_tree.h"

/* What mls_group.c, mls_commit.c and mls_welcome.c share; for nobody else. */

struct mls_group_keys { /* in locked memory */
	uint8_t signature[MLS_PRIV_LEN];
	struct mls_tree_keys tree;
	struct mls_epoch epoch;
};

struct mls_group {
	struct mls_tree tree;
	uint32_t own;
	uint8_t *context_bytes;
	struct mls_group_context context; /* a view into context_bytes */
	uint8_t confirmation_tag[MLS_HASH_LEN];
	uint8_t interim_hash[MLS_HASH_LEN];
	struct mls_group_keys *keys;
	struct mls_proposal **proposals;
	size_t n_proposals;
	size_t proposal_bytes;
};

/* An empty group with room for its keys. */
int mls_group_alloc(struct mls_group **ret);

/* Encodes the fields (which may point into the present context) as the group's context, with the
 * hash of its tree as it is now. */
int mls_group_set_context(struct mls_group *g, const struct mls_group_context *fields);

/* Once g->keys->epoch is there: confirmation tag and interim hash of the epoch. */
void mls_group_confirm(struct mls_group *g);

/* A by-value or referenced proposal, judged on its own (sections 12.1.1, 12.1.3). */
int mls_proposal_check(struct mls_ctx *cx, const struct mls_group *g,
	const struct mls_proposal_view *p);

/* A proposal list and what it did to a tree. */
struct mls_joiner {
	uint32_t leaf;
	const struct mls_key_package *package; /* a view into the proposal */
};
struct mls_change {
	struct mls_proposal_view *list;
	size_t n;
	uint32_t n_removes;
	struct mls_joiner *joiners;
	uint32_t n_joiners;
	bool *added; /* per leaf of the new tree */
};
void mls_change_free(struct mls_change *c);

/* Sections 12.2, 12.3: applies c->list to the tree of `next`, Removes first, then Adds in order. */
int mls_change_apply(struct mls_ctx *cx, struct mls_change *c, struct mls_group *next,
	uint32_t committer);

/* A copy of g to become its successor: tree, keys and context, no proposals. */
int mls_group_successor(const struct mls_group *g, struct mls_group **ret);

/* Sections 8 and 8.2: from provisional to final. `next` has its tree; content and signature are
 * those of the commit. */
int mls_group_advance(const struct mls_group *g, struct mls_group *next,
	const uint8_t commit_secret[static MLS_HASH_LEN], struct mls_span content,
	struct mls_span signature);

/* Section 12.4.3: the Welcome of a commit; path is NULL when there is none. */
int mls_welcome_make(struct mls_ctx *cx, const struct mls_group *next,
	const struct mls_change *change, const struct mls_own_path *path, uint8_t **ret,
	size_t *ret_len);

#endif
