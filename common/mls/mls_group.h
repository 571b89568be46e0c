/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MLS_GROUP_H
#define TD_COMMON_MLS_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/mls/mls_ctx.h"
#include "common/mls/mls_key_package.h"
#include "common/mls/mls_message.h"

/*
 * A member's view of a group (RFC 9420 sections 11, 12). A struct mls_group is one epoch, and never
 * becomes another: committing, processing a commit and joining each make a new group beside it,
 * which the caller looks at, and then keeps in place of the old one or frees. So a call that fails
 * has changed nothing, and a commit of our own can wait beside its bytes until it is announced.
 * Freeing a group wipes the secrets of its epoch.
 *
 *	struct mls_group *next;
 *	int r = mls_group_process(cx, g, bytes, 0, &next, &info);
 *	if (r == TD_OK && next != NULL && policy_allows(next)) {
 *		mls_group_free(g);
 *		g = next;
 *	}
 *
 * Only the proposal store of a group changes: proposals of its epoch, kept by reference, applied to
 * a copy of the epoch's tree each time. Nothing is ever undone.
 *
 * This layer knows RFC 9420, cipher suite 2, basic credentials, PublicMessage, Add and Remove; the
 * rest of the RFC is refused with TD_ERR_UNSUPPORTED and a reason in cx->why. What DAVE demands on
 * top (identities of 8 bytes, one external sender, who may be added) is its caller's to check; for
 * that, views of everything are below. Not looked at: lifetimes, required_capabilities and group
 * extensions nobody here knows; DAVE has none of them.
 *
 * Groups share leaves with their successors: a group, what was made from it and the context used
 * belong to one thread. All functions may return TD_ERR_NOMEM.
 */
struct mls_group;

enum {
	MLS_MAX_PROPOSALS = 4096,       /* in the store, and in one commit */
	MLS_MAX_STORE_BYTES = 16 << 20, /* of messages in the store */
};

/*
 * Section 11: a group of ourselves alone, epoch 0, leaf 0, with the leaf of `own` (whose keys are
 * copied; own stays the caller's). `extensions` is the content of the GroupContext's extensions
 * vector. TD_ERR_MALFORMED: extensions. *ret is freed with mls_group_free().
 */
int mls_group_new(struct mls_ctx *cx, struct mls_group **ret, const struct mls_own_package *own,
	struct mls_span group_id, struct mls_span extensions);

void mls_group_free(struct mls_group *g); /* wipes; NULL is fine */

/* Views; valid as long as the group. */
const struct mls_group_context *mls_group_context(const struct mls_group *g);
uint64_t mls_group_epoch(const struct mls_group *g);
uint32_t mls_group_own_leaf(const struct mls_group *g);
const struct mls_tree *mls_group_tree(const struct mls_group *g);
/* The hash of the epoch's transcript, confirmation tag included (section 8.2); 32 bytes. */
const uint8_t *mls_group_interim_hash(const struct mls_group *g);
const uint8_t *mls_group_confirmation_tag(const struct mls_group *g); /* 32 bytes */
const uint8_t *mls_group_authenticator(const struct mls_group *g);    /* 32 bytes (section 8.7) */

/* Members are leaves that are not blank: for (i = 0; i < mls_group_n_leaves(g); i++), NULL means
 * blank. Identity and signature key are in the leaf node. */
uint32_t mls_group_n_leaves(const struct mls_group *g);
const struct mls_leaf_node *mls_group_member(const struct mls_group *g, uint32_t leaf);
uint32_t mls_group_n_members(const struct mls_group *g);
/* The first leaf with that identity; false when there is none. */
bool mls_group_find(const struct mls_group *g, struct mls_span identity, uint32_t *leaf);
/* TD_ERR_DUPLICATE when two leaves have the same identity (the RFC leaves this to the caller). */
int mls_group_check_identities(struct mls_ctx *cx, const struct mls_group *g);

/* Section 8.5. The base is one label's secret, enough to export for any context later on with
 * mls_exporter_from_base(); keep it in locked memory. */
void mls_group_exporter_base(const struct mls_group *g, const char *label,
	uint8_t base[static MLS_HASH_LEN]);

/*
 * Proposals (sections 12.1, 12.2)
 */
struct mls_proposal {
	uint8_t ref[MLS_HASH_LEN];
	uint8_t sender_type; /* MLS_SENDER_MEMBER or MLS_SENDER_EXTERNAL */
	uint32_t sender;     /* leaf, or index into external_senders */
	struct mls_span authenticated_data;
	struct mls_proposal_view view; /* Add: view.add; Remove: view.removed */
	uint64_t epoch;                /* the one it belongs to */
	uint8_t *bytes;                /* the message; what the spans point into */
	size_t len;
};

/*
 * Reads and verifies one proposal of the group's epoch: a whole MLSMessage, from a member or an
 * external sender; an Add's key package, a Remove's leaf. Whether the same client is there already
 * is judged on the tree a commit leads to, since a Remove and an Add may come in any order. Stores
 * nothing. *ret is freed with mls_proposal_free(). TD_ERR_UNSUPPORTED: another type of proposal or
 * message, by name in cx->why; TD_ERR_STATE: other group or epoch (a proposal for another epoch is
 * no fault); TD_ERR_AUTH; TD_ERR_MALFORMED.
 */
int mls_proposal_open(struct mls_ctx *cx, const struct mls_group *g, struct mls_span message,
	struct mls_proposal **ret);
void mls_proposal_free(struct mls_proposal *p); /* NULL is fine */

/* Puts a proposal opened against this group into its store, which owns it from then on. On failure
 * it stays the caller's: TD_ERR_DUPLICATE (that reference is there), TD_ERR_STATE (another
 * epoch's), TD_ERR_LIMIT. */
int mls_group_store(struct mls_ctx *cx, struct mls_group *g, struct mls_proposal *p);

/* Takes out the proposal with that reference. TD_ERR_NOKEY: there is none. */
int mls_group_revoke(struct mls_group *g, struct mls_span ref);

/* The store, in the order in which it was filled. */
size_t mls_group_n_proposals(const struct mls_group *g);
const struct mls_proposal *mls_group_proposal(const struct mls_group *g, size_t i);

/*
 * Commits (section 12.4)
 */
struct mls_own_commit {
	uint8_t *message; /* MLSMessage */
	size_t message_len;
	uint8_t *welcome; /* bare Welcome; NULL when nobody is added */
	size_t welcome_len;
	struct mls_group *next; /* the state after it; take it and put NULL here to adopt it */
};

enum mls_commit_flags {
	MLS_COMMIT_FORCE_PATH = 1, /* a path although there are only Adds, or nothing at all */
};

/*
 * Commits all stored proposals, by reference, in their order: with an update path if there is a
 * Remove. The group stays as it is. *ret is freed with mls_own_commit_free(). TD_ERR_STATE: nothing
 * to commit, or a proposal removes ourselves; TD_ERR_DUPLICATE: a key would be in the tree twice;
 * TD_ERR_MALFORMED: a leaf removed twice; TD_ERR_LIMIT.
 */
int mls_group_commit(struct mls_ctx *cx, const struct mls_group *g, unsigned flags,
	struct mls_own_commit **ret);
void mls_own_commit_free(struct mls_own_commit *c); /* and c->next; NULL is fine */

/* What a processed commit did. */
struct mls_commit_info {
	uint32_t committer; /* leaf */
	bool has_path;
	bool removed_us;         /* then there is no next group */
	bool credential_changed; /* the committer's identity or signature key */
	uint32_t n_adds, n_removes;
};

enum mls_process_flags {
	/* Lets a path change its sender's identity or signature key: the RFC leaves that to the
	 * application, no DAVE client does it. */
	MLS_PROCESS_ALLOW_NEW_CREDENTIAL = 1,
	/* Refuses proposals by value, as DAVE does: all of them come from the external sender. */
	MLS_PROCESS_REFERENCES_ONLY = 2,
};

/*
 * Sections 12.4.2: verifies another member's commit, a whole MLSMessage, and makes the group it
 * leads to; *ret_next is NULL if that is one without us. Proposals are looked up in the store, or
 * come by value. *info is written on success only. TD_ERR_STATE: other group or epoch, or a commit
 * of our own leaf (compare it with those we made); TD_ERR_NOKEY: a reference that is not in the
 * store, or a path sealed for none of our keys; TD_ERR_AUTH, TD_ERR_MALFORMED, TD_ERR_DUPLICATE,
 * TD_ERR_UNSUPPORTED, TD_ERR_LIMIT.
 */
int mls_group_process(struct mls_ctx *cx, const struct mls_group *g, struct mls_span message,
	unsigned flags, struct mls_group **ret_next, struct mls_commit_info *info);

/*
 * Welcome (section 12.4.3.1)
 */
struct mls_join_options {
	/* The ratchet tree when GroupInfo has none: content of the vector, without its header. */
	struct mls_span tree;
	/* 32 bytes for a group that begins with pre-shared keys; without, a Welcome that names any
	 * is refused. Only test vectors have them. */
	const uint8_t *psk_secret;
};

/*
 * Joins by a Welcome, bare or as MLSMessage, made for the key package `own` (whose keys are copied;
 * own stays the caller's, to be freed after a success). options may be NULL. TD_ERR_NOKEY: not for
 * this key package; TD_ERR_UNSUPPORTED: other suite, pre-shared keys, no tree; TD_ERR_AUTH,
 * TD_ERR_MALFORMED, TD_ERR_DUPLICATE, TD_ERR_LIMIT. The group id is for the caller to compare.
 */
int mls_group_join(struct mls_ctx *cx, struct mls_group **ret, const struct mls_own_package *own,
	struct mls_span welcome, const struct mls_join_options *options);

/* The first step alone: the GroupSecrets for `own`. plain, in locked memory, holds the bytes *ret
 * points into. TD_ERR_LIMIT: more than it can (which takes pre-shared keys by the dozen). */
enum { MLS_GROUP_SECRETS_MAX = 4096 };
int mls_welcome_open_secrets(struct mls_ctx *cx, const struct mls_own_package *own,
	const struct mls_welcome_view *welcome, uint8_t plain[static MLS_GROUP_SECRETS_MAX],
	struct mls_group_secrets *ret);

#endif
