/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MLS_LEAF_H
#define TD_COMMON_MLS_LEAF_H

#include <stddef.h>
#include <stdint.h>

#include "common/mls/mls_codec.h"
#include "common/mls/mls_ctx.h"
#include "common/mls/mls_p256.h"

/*
 * LeafNode (RFC 9420 section 7.2) and its validation (section 7.3). Any thread.
 */
enum mls_leaf_source {
	MLS_SOURCE_KEY_PACKAGE = 1,
	MLS_SOURCE_UPDATE = 2,
	MLS_SOURCE_COMMIT = 3,
};

enum mls_credential_type { MLS_CREDENTIAL_BASIC = 1, MLS_CREDENTIAL_X509 = 2 };

/* A view into the bytes it was read from. Lists are the content of their vectors. */
struct mls_leaf_node {
	struct mls_span raw; /* the whole LeafNode */
	struct mls_span tbs; /* all before the signature; the group's part of the TBS is not here */
	struct mls_span encryption_key;
	struct mls_span signature_key;
	uint16_t credential_type;
	struct mls_span identity; /* of a basic credential; for X.509 the certificates, unread */
	struct mls_span versions, suites, extension_types, proposal_types, credential_types;
	uint8_t source;                 /* enum mls_leaf_source */
	uint64_t not_before, not_after; /* source 1 only */
	struct mls_span parent_hash;    /* source 3 only */
	struct mls_span extensions;
	struct mls_span signature;
};

/* Reads one LeafNode; r is bad if there is none. Suite, keys and signature are not judged. */
void mls_leaf_node_read(struct rd *r, struct mls_leaf_node *ret);

/* Writes the fields (raw and tbs are not looked at), without and with the signature. */
void mls_leaf_node_write_tbs(struct wr *w, const struct mls_leaf_node *l);
void mls_leaf_node_write(struct wr *w, const struct mls_leaf_node *l);

/* Enough room for either. */
size_t mls_leaf_node_bound(const struct mls_leaf_node *l);

/*
 * Section 7.3 without what needs a tree (unique keys) or a clock (lifetime): a basic credential;
 * version, suite, credential and every extension in its own capabilities; both keys points on the
 * curve; the signature. group_id and leaf go into the signature of sources 2 and 3, and are not
 * looked at for source 1. TD_ERR_UNSUPPORTED, TD_ERR_MALFORMED, TD_ERR_AUTH, TD_ERR_LIMIT.
 */
int mls_leaf_node_check(struct mls_ctx *cx, const struct mls_leaf_node *l, struct mls_span group_id,
	uint32_t leaf);

/* The signature alone (for trees of the vectors). */
int mls_leaf_node_verify(const struct mls_leaf_node *l, struct mls_span group_id, uint32_t leaf);

/*
 * Encodes and signs l, whose fields but the signature are set. w is a fresh writer (mls_wr_new)
 * that the caller frees; *ret is a view into it.
 */
int mls_leaf_node_sign(struct wr *w, struct mls_leaf_node *ret, const struct mls_leaf_node *l,
	const uint8_t signature_priv[static MLS_PRIV_LEN], struct mls_span group_id, uint32_t leaf);

/* An immutable LeafNode with its bytes, shared by the trees that hold it. Not thread-safe: all
 * owners are on one thread. */
struct mls_leaf {
	unsigned refs;
	struct mls_leaf_node node; /* a view into raw */
	uint8_t raw[];
};

/* Copies raw, one whole LeafNode. TD_ERR_MALFORMED, TD_ERR_NOMEM. */
int mls_leaf_new(struct mls_leaf **ret, struct mls_span raw);
struct mls_leaf *mls_leaf_ref(struct mls_leaf *l); /* NULL is fine */
void mls_leaf_unref(struct mls_leaf *l);           /* NULL is fine */

#endif
