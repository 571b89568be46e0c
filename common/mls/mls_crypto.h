/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MLS_CRYPTO_H
#define TD_COMMON_MLS_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#include "common/mls/mls_codec.h"

/*
 * Hash, MAC, key derivation and AEAD of cipher suite 2 (RFC 9420 sections 5.1, 5.2, 8, 9.1):
 * SHA-256, HMAC-SHA256, HKDF-SHA256, AES-128-GCM. Inputs are lists of spans, so nothing has to be
 * joined before it is hashed. Any thread.
 *
 * The hashes are libsodium's: their state is on the stack, where it can be wiped, and they cannot
 * fail. AES-GCM is libcrypto's.
 */
enum {
	MLS_SUITE = 2, /* DHKEM(P-256), AES-128-GCM, SHA-256, ECDSA P-256 */
	MLS_VERSION = 1,
	MLS_HASH_LEN = 32,
	MLS_AEAD_KEY_LEN = 16,
	MLS_AEAD_NONCE_LEN = 12,
	MLS_AEAD_TAG_LEN = 16,
};

void mls_hash(uint8_t out[static MLS_HASH_LEN], const struct mls_span *parts, size_t n);
void mls_hmac(uint8_t out[static MLS_HASH_LEN], struct mls_span key, const struct mls_span *parts,
	size_t n);

/* 0 equal, -1 not; the time depends on the length alone. For tags and keys. */
int mls_equal(const uint8_t *a, const uint8_t *b, size_t n);

/* HKDF-Extract and HKDF-Expand (RFC 5869). len at most 255 * 32, else nothing is written and the
 * program is at fault (asserted). out may be the key itself only while len is at most 32. */
void mls_extract(uint8_t out[static MLS_HASH_LEN], struct mls_span salt, const struct mls_span *ikm,
	size_t n);
void mls_expand(uint8_t *out, size_t len, struct mls_span prk, const struct mls_span *info,
	size_t n);

/* Section 8. The label goes without "MLS 1.0 ", which is put in front; at most 200 bytes
 * long (asserted). out and secret may be the same 32 bytes. */
void mls_expand_with_label(uint8_t *out, size_t len, struct mls_span secret, const char *label,
	struct mls_span context);
void mls_derive_secret(uint8_t out[static MLS_HASH_LEN], const uint8_t secret[static MLS_HASH_LEN],
	const char *label);
/* Section 9.1. The secret may be shorter than a hash (a DAVE sender's first one has 16 bytes). */
void mls_derive_tree_secret(uint8_t *out, size_t len, struct mls_span secret, const char *label,
	uint32_t generation);

/* Section 5.2. The label is taken as it is. `value` is the object's bytes in up to 7 parts. */
void mls_ref_hash(uint8_t out[static MLS_HASH_LEN], const char *label, const struct mls_span *value,
	size_t n);

/* One-shot AES-128-GCM with a 16-byte tag and no associated data, the only form MLS needs here.
 * sealed holds len + 16 bytes. TD_ERR_NOMEM when libcrypto fails. */
int mls_aead_seal(uint8_t *sealed, const uint8_t key[static MLS_AEAD_KEY_LEN],
	const uint8_t nonce[static MLS_AEAD_NONCE_LEN], struct mls_span plain);

/* plain holds sealed.len - 16 bytes and is wiped unless the tag is right. TD_ERR_MALFORMED: shorter
 * than a tag; TD_ERR_AUTH: the tag does not verify; TD_ERR_NOMEM. */
int mls_aead_open(uint8_t *plain, const uint8_t key[static MLS_AEAD_KEY_LEN],
	const uint8_t nonce[static MLS_AEAD_NONCE_LEN], struct mls_span sealed);

/* V("MLS 1.0 " + label) and the header of V(content), as they stand before the content itself in
 * everything that is labelled: writes them to buf and returns them. */
enum { MLS_LABEL_MAX = 240 };
struct mls_span mls_label_head(uint8_t buf[static MLS_LABEL_MAX], const char *label,
	size_t content_len);

#endif
