/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MLS_MESSAGE_H
#define TD_COMMON_MLS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/mls/mls_codec.h"
#include "common/mls/mls_ctx.h"
#include "common/mls/mls_key_package.h"
#include "common/mls/mls_leaf.h"
#include "common/mls/mls_schedule.h"

/*
 * The messages of RFC 9420 as views into received bytes: framing (section 6), proposals (12.1),
 * commits (12.4), update paths (7.6), Welcome and GroupInfo (12.4.3). Reading checks the structure
 * down to the last length, so that walking a view later cannot fail; it judges no suite, key or
 * signature. Nothing here allocates. Any thread.
 *
 * Readers set r->bad when there is no such object; *ret is then not to be used.
 */
enum mls_wire_format {
	MLS_WIRE_PUBLIC_MESSAGE = 1,
	MLS_WIRE_PRIVATE_MESSAGE = 2,
	MLS_WIRE_WELCOME = 3,
	MLS_WIRE_GROUP_INFO = 4,
	MLS_WIRE_KEY_PACKAGE = 5,
};
enum mls_sender_type {
	MLS_SENDER_MEMBER = 1,
	MLS_SENDER_EXTERNAL = 2,
	MLS_SENDER_NEW_MEMBER_PROPOSAL = 3,
	MLS_SENDER_NEW_MEMBER_COMMIT = 4,
};
enum mls_content_type {
	MLS_CONTENT_APPLICATION = 1,
	MLS_CONTENT_PROPOSAL = 2,
	MLS_CONTENT_COMMIT = 3,
};
enum mls_proposal_type {
	MLS_PROPOSAL_ADD = 1,
	MLS_PROPOSAL_UPDATE = 2,
	MLS_PROPOSAL_REMOVE = 3,
	MLS_PROPOSAL_PSK = 4,
	MLS_PROPOSAL_REINIT = 5,
	MLS_PROPOSAL_EXTERNAL_INIT = 6,
	MLS_PROPOSAL_GROUP_CONTEXT_EXTENSIONS = 7,
};

/* Proposal with its type in front. Only Add and Remove are taken apart: of the others, whose
 * structure is checked all the same, there is `raw` alone. */
struct mls_proposal_view {
	struct mls_span raw;
	uint16_t type;
	struct mls_key_package add;
	uint32_t removed; /* leaf index */
};
void mls_proposal_read(struct rd *r, struct mls_proposal_view *ret);
void mls_proposal_write(struct wr *w,
	const struct mls_proposal_view *p); /* others than 1, 3: raw */

/* Why a proposal type is refused, by name; NULL for Add and Remove. */
const char *mls_proposal_refusal(uint16_t type);

/* UpdatePath. `nodes` is the content of its vector: walk it with mls_path_node_next(). */
struct mls_update_path {
	struct mls_leaf_node leaf;
	struct mls_span nodes;
	uint32_t n_nodes;
};
struct mls_path_node {
	struct mls_span key;
	struct mls_span ciphertexts; /* content: HPKECiphertext after HPKECiphertext */
	uint32_t n_ciphertexts;
};
struct mls_hpke_ciphertext {
	struct mls_span kem_output;
	struct mls_span ciphertext;
};
void mls_update_path_read(struct rd *r, struct mls_update_path *ret);
void mls_update_path_write(struct wr *w, const struct mls_update_path *p);
bool mls_path_node_next(struct rd *nodes, struct mls_path_node *ret); /* false at the end */
void mls_hpke_ciphertext_read(struct rd *r, struct mls_hpke_ciphertext *ret);

/* Commit. `proposals` is the content of its vector: walk it with mls_proposal_or_ref_next(). */
struct mls_commit_view {
	struct mls_span proposals;
	bool has_path;
	struct mls_update_path path;
};
struct mls_proposal_or_ref {
	bool by_ref;
	struct mls_span ref;
	struct mls_proposal_view proposal;
};
void mls_commit_read(struct rd *r, struct mls_commit_view *ret);
void mls_commit_write(struct wr *w, const struct mls_commit_view *c);
bool mls_proposal_or_ref_next(struct rd *proposals, struct mls_proposal_or_ref *ret);

/* FramedContent, and PublicMessage around it (section 6.2). */
struct mls_framed_content {
	struct mls_span raw;
	struct mls_span group_id;
	uint64_t epoch;
	uint8_t sender_type;
	uint32_t sender; /* leaf index, or index into external_senders; 0 for new members */
	struct mls_span authenticated_data;
	uint8_t content_type;
	struct mls_span body; /* the Proposal or Commit */
	union {
		struct mls_proposal_view proposal;
		struct mls_commit_view commit;
	};
};
struct mls_public_message {
	struct mls_framed_content content;
	struct mls_span signature;
	struct mls_span confirmation_tag; /* of commits */
	struct mls_span membership_tag;   /* of members */
};
/* An application message is bad: the RFC forbids it in a PublicMessage. */
void mls_framed_content_read(struct rd *r, struct mls_framed_content *ret);
void mls_framed_content_write(struct wr *w, const struct mls_framed_content *c);
void mls_public_message_read(struct rd *r, struct mls_public_message *ret);
void mls_public_message_write(struct wr *w, const struct mls_public_message *m);

/* Reads the version and wire format of an MLSMessage; bad unless the version is mls10. */
uint16_t mls_message_head_read(struct rd *r);
void mls_message_head_write(struct wr *w, uint16_t wire_format);

/* A whole MLSMessage that has to be a PublicMessage and nothing more. TD_ERR_UNSUPPORTED names
 * another wire format; TD_ERR_MALFORMED. */
int mls_public_message_parse(struct mls_ctx *cx, struct mls_span message,
	struct mls_public_message *ret);

/* Length of the MLSMessage at the front of `bytes` (op 28 has a Welcome right behind the commit).
 * TD_ERR_MALFORMED: no PublicMessage. */
int mls_public_message_length(struct mls_span bytes, size_t *ret);

/*
 * Signature and membership tag (sections 6.1, 6.2) over version, wire format, content and, for
 * members, the GroupContext of the epoch as encoded. Both TD_ERR_AUTH on mismatch.
 */
int mls_public_message_verify(const struct mls_public_message *m, struct mls_span signature_key,
	struct mls_span context);
int mls_public_message_verify_membership(const struct mls_public_message *m,
	const uint8_t membership_key[static MLS_HASH_LEN], struct mls_span context);

/* The same two, made. `m->content.raw` is set; the tag covers the signature and, in a commit, the
 * confirmation tag of m. */
int mls_public_message_sign(const struct mls_framed_content *c, uint8_t sig[static MLS_SIG_MAX],
	size_t *len, const uint8_t signature_priv[static MLS_PRIV_LEN], struct mls_span context);
void mls_public_message_membership_tag(uint8_t tag[static MLS_HASH_LEN],
	const struct mls_public_message *m, const uint8_t membership_key[static MLS_HASH_LEN],
	struct mls_span context);

/* ProposalRef (section 5.2) of a message that is a proposal. */
void mls_proposal_ref(uint8_t ref[static MLS_HASH_LEN], const struct mls_public_message *m);

/* Welcome, without MLSMessage header. `secrets` is walked with mls_encrypted_secrets_next(). */
struct mls_welcome_view {
	uint16_t suite;
	struct mls_span secrets;
	struct mls_span encrypted_group_info;
};
struct mls_encrypted_secrets {
	struct mls_span new_member; /* KeyPackageRef */
	struct mls_hpke_ciphertext encrypted;
};
void mls_welcome_read(struct rd *r, struct mls_welcome_view *ret);
void mls_welcome_write(struct wr *w, const struct mls_welcome_view *v);
bool mls_encrypted_secrets_next(struct rd *secrets, struct mls_encrypted_secrets *ret);

/* GroupSecrets, the plaintext in a Welcome. A view into secret bytes: wipe these. */
struct mls_group_secrets {
	struct mls_span joiner_secret;
	bool has_path_secret;
	struct mls_span path_secret;
	struct mls_span psks; /* content of the vector, not taken apart */
};
void mls_group_secrets_read(struct rd *r, struct mls_group_secrets *ret);
void mls_group_secrets_write(struct wr *w, const struct mls_group_secrets *s);

struct mls_group_info {
	struct mls_span tbs; /* all before the signature */
	struct mls_group_context context;
	struct mls_span extensions; /* content of the vector */
	struct mls_span confirmation_tag;
	uint32_t signer;
	struct mls_span signature;
};
void mls_group_info_read(struct rd *r, struct mls_group_info *ret);
void mls_group_info_write(struct wr *w, const struct mls_group_info *g);

/* ExternalSender (section 12.1.8.1), the elements of the external_senders extension. */
struct mls_external_sender {
	struct mls_span raw;
	struct mls_span signature_key;
	uint16_t credential_type;
	struct mls_span identity;
};
void mls_external_sender_read(struct rd *r, struct mls_external_sender *ret);
/* A list of extensions (content of its vector) with one external_senders that has one sender, which
 * is what the group of a call has; takes up to 14 bytes more than `sender`, an ExternalSender. */
void mls_external_senders_write(struct wr *w, struct mls_span sender);
/* Number `index` of the list in a GroupContext's extensions; false when there is none. */
bool mls_external_sender_find(struct mls_span extensions, uint32_t index,
	struct mls_external_sender *ret);

#endif
