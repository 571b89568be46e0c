/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MLS_SCHEDULE_H
#define TD_COMMON_MLS_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

#include "common/mls/mls_codec.h"
#include "common/mls/mls_crypto.h"

/*
 * GroupContext, transcript hashes, key schedule and exporter (RFC 9420 sections 8, 8.1, 8.2, 8.5,
 * 8.7, 6.1). Nothing here allocates or fails. Any thread.
 */

/* A view into the bytes it was read from. */
struct mls_group_context {
	struct mls_span raw;
	uint16_t version;
	uint16_t suite;
	struct mls_span group_id;
	uint64_t epoch;
	struct mls_span tree_hash;
	struct mls_span confirmed_hash; /* confirmed_transcript_hash; empty at epoch 0 */
	struct mls_span extensions;     /* content of the vector */
};

void mls_group_context_read(struct rd *r, struct mls_group_context *ret);
void mls_group_context_write(struct wr *w, const struct mls_group_context *c); /* raw unused */
size_t mls_group_context_bound(const struct mls_group_context *c);

/*
 * The secrets of one epoch. Keep it in locked memory. `joiner`, `welcome` and `epoch` are needed
 * only while the epoch begins: wipe them then (mls_epoch_forget). What DAVE never uses is not
 * derived: sender data, encryption, external, resumption.
 */
struct mls_epoch {
	uint8_t joiner[MLS_HASH_LEN];
	uint8_t welcome[MLS_HASH_LEN];
	uint8_t epoch[MLS_HASH_LEN];
	uint8_t init[MLS_HASH_LEN];
	uint8_t exporter[MLS_HASH_LEN];
	uint8_t authenticator[MLS_HASH_LEN];
	uint8_t confirmation_key[MLS_HASH_LEN];
	uint8_t membership_key[MLS_HASH_LEN];
};

/* Section 8: joiner_secret of the new epoch from the old init_secret. `context` is the new
 * GroupContext as encoded. */
void mls_schedule_joiner(struct mls_epoch *e, const uint8_t init_old[static MLS_HASH_LEN],
	const uint8_t commit_secret[static MLS_HASH_LEN], struct mls_span context);

/* welcome_secret from joiner_secret. psk_secret NULL stands for 32 zero bytes, here and below. */
void mls_schedule_welcome(struct mls_epoch *e, const uint8_t *psk_secret);

/* epoch_secret from joiner_secret, and with it all below. */
void mls_schedule_epoch(struct mls_epoch *e, const uint8_t *psk_secret, struct mls_span context);

/* All below from an epoch_secret that is there already (section 11: a new group's is random). */
void mls_schedule_from_epoch_secret(struct mls_epoch *e);

void mls_epoch_forget(struct mls_epoch *e);

/* Section 12.4.3.1: key and nonce of encrypted_group_info, from e->welcome. */
void mls_welcome_key(const struct mls_epoch *e, uint8_t key[static MLS_AEAD_KEY_LEN],
	uint8_t nonce[static MLS_AEAD_NONCE_LEN]);

/* Section 8.2. `content` is the FramedContent as sent (wire format PublicMessage). */
void mls_confirmed_hash(uint8_t out[static MLS_HASH_LEN], struct mls_span interim_hash,
	struct mls_span content, struct mls_span signature);
void mls_interim_hash(uint8_t out[static MLS_HASH_LEN], struct mls_span confirmed_hash,
	struct mls_span confirmation_tag);
/* Section 6.1. */
void mls_confirmation_tag(uint8_t out[static MLS_HASH_LEN], const struct mls_epoch *e,
	struct mls_span confirmed_hash);

/* Section 8.5 in two steps: mls_exporter_base() depends on the label alone, and is enough to keep
 * per epoch when many contexts come later. */
void mls_exporter_base(uint8_t out[static MLS_HASH_LEN], const struct mls_epoch *e,
	const char *label);
void mls_exporter_from_base(uint8_t *out, size_t len, const uint8_t base[static MLS_HASH_LEN],
	struct mls_span context);

#endif
