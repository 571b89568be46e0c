/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MLS_HPKE_H
#define TD_COMMON_MLS_HPKE_H

#include <stddef.h>
#include <stdint.h>

#include "common/mls/mls_codec.h"
#include "common/mls/mls_crypto.h"
#include "common/mls/mls_ctx.h"
#include "common/mls/mls_p256.h"

/*
 * HPKE (RFC 9180) as RFC 9420 section 5.1.3 uses it: base mode, one message per encapsulation, no
 * associated data, DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM. libcrypto has HPKE from
 * 3.2 on only. Any thread. All may return TD_ERR_NOMEM when libcrypto fails.
 */

/* DeriveKeyPair (RFC 9180 section 7.1.3). */
int mls_hpke_derive_key_pair(uint8_t priv[static MLS_PRIV_LEN], uint8_t pub[static MLS_PUB_LEN],
	struct mls_span ikm);

/* A fresh key pair from cx->random; also good for signature keys. pub may be NULL. */
int mls_hpke_generate(struct mls_ctx *cx, uint8_t priv[static MLS_PRIV_LEN], uint8_t *pub);

/* EncryptWithLabel. ciphertext holds plain.len + 16 bytes. TD_ERR_MALFORMED: pub is no point. */
int mls_encrypt_with_label(struct mls_ctx *cx, uint8_t kem_output[static MLS_PUB_LEN],
	uint8_t *ciphertext, struct mls_span pub, const char *label, struct mls_span context,
	struct mls_span plain);

/* DecryptWithLabel. plain holds ciphertext.len - 16 bytes and is wiped on failure.
 * TD_ERR_MALFORMED: kem_output is no point, or the ciphertext shorter than a tag; TD_ERR_AUTH. */
int mls_decrypt_with_label(uint8_t *plain, const uint8_t priv[static MLS_PRIV_LEN],
	const char *label, struct mls_span context, struct mls_span kem_output,
	struct mls_span ciphertext);

#endif
