/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MLS_KEY_PACKAGE_H
#define TD_COMMON_MLS_KEY_PACKAGE_H

#include <stddef.h>
#include <stdint.h>

#include "common/mls/mls_codec.h"
#include "common/mls/mls_crypto.h"
#include "common/mls/mls_ctx.h"
#include "common/mls/mls_leaf.h"
#include "common/mls/mls_p256.h"

/*
 * KeyPackage (RFC 9420 section 10) and its validation (section 10.1). Any thread.
 */

/* A view into the bytes it was read from. */
struct mls_key_package {
	struct mls_span raw;
	struct mls_span tbs;
	uint16_t version;
	uint16_t suite;
	struct mls_span init_key;
	struct mls_leaf_node leaf;
	struct mls_span extensions; /* content of the vector */
	struct mls_span signature;
};

/* Reads one bare KeyPackage (no MLSMessage header); r is bad if there is none. */
void mls_key_package_read(struct rd *r, struct mls_key_package *ret);

/* Writes the fields (raw and tbs are not looked at). */
void mls_key_package_write(struct wr *w, const struct mls_key_package *kp);

/* Version, suite, source 1, both signatures, init key a point and not the leaf's key, and all of
 * mls_leaf_node_check(). TD_ERR_UNSUPPORTED, TD_ERR_MALFORMED, TD_ERR_AUTH, TD_ERR_LIMIT. */
int mls_key_package_check(struct mls_ctx *cx, const struct mls_key_package *kp);

/* KeyPackageRef (section 5.2). */
void mls_key_package_ref(uint8_t ref[static MLS_HASH_LEN], const struct mls_key_package *kp);

/* The private half of a key package: in locked memory. */
struct mls_package_keys {
	uint8_t init[MLS_PRIV_LEN];
	uint8_t leaf[MLS_PRIV_LEN];
	uint8_t signature[MLS_PRIV_LEN];
};

/* One key package of ours. Use it for one join, then free it: its init key must not live on. */
struct mls_own_package {
	uint8_t *bytes; /* the KeyPackage, `package.raw` */
	struct mls_key_package package;
	uint8_t ref[MLS_HASH_LEN];
	struct mls_package_keys *keys;
};

/*
 * A fresh key package: new init and leaf keys, basic credential with that identity, capabilities
 * version 1, suite 2, basic and nothing else, lifetime 0 to 2^64 - 1, no extensions: byte for byte
 * the form DAVE clients send. The signature key is the caller's and is copied. *ret is freed with
 * mls_own_package_free(). TD_ERR_MALFORMED (signature key), TD_ERR_NOMEM, or what cx->random says.
 */
int mls_own_package_new(struct mls_ctx *cx, struct mls_own_package **ret, struct mls_span identity,
	const uint8_t signature_priv[static MLS_PRIV_LEN]);

/* A key package made earlier, with its keys (copied). TD_ERR_MALFORMED if a key does not fit. */
int mls_own_package_load(struct mls_ctx *cx, struct mls_own_package **ret, struct mls_span bytes,
	const struct mls_package_keys *keys);

void mls_own_package_free(struct mls_own_package *own); /* wipes the keys; NULL is fine */

#endif
