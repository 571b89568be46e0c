/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MLS_P256_H
#define TD_COMMON_MLS_P256_H

#include <stddef.h>
#include <stdint.h>

#include "common/mls/mls_codec.h"
#include "common/mls/mls_ctx.h"

/*
 * P-256 keys, ECDH and labelled ECDSA signatures of cipher suite 2 (RFC 9420 section 5.1.2), on
 * libcrypto. Private keys are 32-byte big-endian scalars, public keys 65 bytes 04 x y, signatures
 * DER. Any thread. Every function may also return TD_ERR_NOMEM when libcrypto fails; where
 * it fails without saying that memory was short, the input gets the blame.
 */
enum { MLS_PRIV_LEN = 32, MLS_PUB_LEN = 65, MLS_SIG_MAX = 72 };

/* The public key of a private one. TD_ERR_MALFORMED: the scalar is 0 or not below the order. */
int mls_p256_public(uint8_t pub[static MLS_PUB_LEN], const uint8_t priv[static MLS_PRIV_LEN]);

/* 0 when pub is an uncompressed point on the curve, TD_ERR_MALFORMED when not. */
int mls_p256_check(struct mls_span pub);

/* The x coordinate of the common point. TD_ERR_MALFORMED: pub is no point, or priv no scalar. */
int mls_p256_ecdh(uint8_t out[static 32], const uint8_t priv[static MLS_PRIV_LEN],
	struct mls_span pub);

/* SignWithLabel; the content comes in n (at most 8) parts. *len gets 70 to 72 as a rule. The nonce
 * is libcrypto's, so no two signatures are alike. TD_ERR_MALFORMED: priv is no scalar. */
int mls_sign_with_label(uint8_t sig[static MLS_SIG_MAX], size_t *len,
	const uint8_t priv[static MLS_PRIV_LEN], const char *label, const struct mls_span *content,
	size_t n);

/* VerifyWithLabel. TD_ERR_AUTH: does not verify, or the signature is not exact DER;
 * TD_ERR_MALFORMED: pub is no point on the curve. */
int mls_verify_with_label(struct mls_span pub, const char *label, const struct mls_span *content,
	size_t n, struct mls_span sig);

#endif
