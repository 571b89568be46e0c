/* SPDX-License-Identifier: ISC */
#include "common/mls/mls_p256.h"

#include <assert.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/params.h>
#include <sodium.h>

#include "common/mls/mls_crypto.h"

/* Failures are marked and dropped from libcrypto's error queue: it belongs to the whole thread,
 * and a leftover entry would look like a failure of the TLS connection next to us. */

/* What a failed call says of its input: nothing, if it was memory that was short. */
static int verdict(int of_input)
{
	bool short_of_memory = ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE ||
		ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;

	return short_of_memory ? TD_ERR_NOMEM : of_input;
}

int mls_p256_public(uint8_t pub[static MLS_PUB_LEN], const uint8_t priv[static MLS_PRIV_LEN])
{
	int r = TD_ERR_NOMEM;
	EC_GROUP *group = NULL;
	EC_POINT *point = NULL;
	BIGNUM *k = NULL;

	ERR_set_mark();
	if ((group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1)) == NULL ||
		(point = EC_POINT_new(group)) == NULL || (k = BN_secure_new()) == NULL ||
		BN_bin2bn(priv, MLS_PRIV_LEN, k) == NULL)
		goto out;
	BN_set_flags(k, BN_FLG_CONSTTIME);
	if (BN_is_zero(k) || BN_cmp(k, EC_GROUP_get0_order(group)) >= 0) {
		r = TD_ERR_MALFORMED;
		goto out;
	}
	if (EC_POINT_mul(group, point, k, NULL, NULL, NULL) == 1 &&
		EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, pub, MLS_PUB_LEN,
			NULL) == MLS_PUB_LEN)
		r = TD_OK;
out:
	BN_clear_free(k);
	EC_POINT_clear_free(point);
	EC_GROUP_free(group);
	ERR_pop_to_mark();
	return r;
}

/* Makes a key of parameters: the public point, or the private scalar with it. */
static int key_from(EVP_PKEY **ret, int selection, OSSL_PARAM *params)
{
	EVP_PKEY_CTX *c = NULL;
	EVP_PKEY *key = NULL;
	int r = TD_ERR_NOMEM;

	if ((c = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL)) == NULL ||
		EVP_PKEY_fromdata_init(c) != 1)
		goto out;
	if (EVP_PKEY_fromdata(c, &key, selection, params) != 1) {
		r = verdict(TD_ERR_MALFORMED);
		goto out;
	}
	*ret = key;
	r = TD_OK;
out:
	EVP_PKEY_CTX_free(c);
	return r;
}

static int public_key(EVP_PKEY **ret, struct mls_span pub)
{
	char curve[] = "prime256v1";
	uint8_t point[MLS_PUB_LEN];
	OSSL_PARAM params[3];

	if (pub.len != MLS_PUB_LEN || pub.p[0] != 0x04)
		return TD_ERR_MALFORMED;
	memcpy(point, pub.p, sizeof(point));
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0);
	params[1] =
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point));
	params[2] = OSSL_PARAM_construct_end();
	return key_from(ret, EVP_PKEY_PUBLIC_KEY, params);
}

static int private_key(EVP_PKEY **ret, const uint8_t priv[static MLS_PRIV_LEN])
{
	char curve[] = "prime256v1";
	uint8_t point[MLS_PUB_LEN];
	uint8_t native[MLS_PRIV_LEN];
	OSSL_PARAM params[4];
	BIGNUM *k = NULL;
	int r;

	if ((r = mls_p256_public(point, priv)) < 0)
		return r;
	r = TD_ERR_NOMEM;
	if ((k = BN_secure_new()) == NULL || BN_bin2bn(priv, MLS_PRIV_LEN, k) == NULL ||
		BN_bn2nativepad(k, native, sizeof(native)) != MLS_PRIV_LEN)
		goto out;
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0);
	params[1] =
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point));
	params[2] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, native, sizeof(native));
	params[3] = OSSL_PARAM_construct_end();
	r = key_from(ret, EVP_PKEY_KEYPAIR, params);
out:
	sodium_memzero(native, sizeof(native));
	BN_clear_free(k);
	return r;
}

int mls_p256_check(struct mls_span pub)
{
	EVP_PKEY *key = NULL;
	int r;

	ERR_set_mark();
	r = public_key(&key, pub);
	EVP_PKEY_free(key);
	ERR_pop_to_mark();
	return r;
}

int mls_p256_ecdh(uint8_t out[static 32], const uint8_t priv[static MLS_PRIV_LEN],
	struct mls_span pub)
{
	EVP_PKEY *peer = NULL;
	EVP_PKEY *own = NULL;
	EVP_PKEY_CTX *c = NULL;
	uint8_t x[32];
	size_t len = sizeof(x);
	int r;

	ERR_set_mark();
	if ((r = public_key(&peer, pub)) < 0 || (r = private_key(&own, priv)) < 0)
		goto out;
	r = TD_ERR_NOMEM;
	if ((c = EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL)) == NULL ||
		EVP_PKEY_derive_init(c) != 1 || EVP_PKEY_derive_set_peer(c, peer) != 1 ||
		EVP_PKEY_derive(c, x, &len) != 1 || len != sizeof(x))
		goto out;
	memcpy(out, x, sizeof(x));
	r = TD_OK;
out:
	sodium_memzero(x, sizeof(x));
	EVP_PKEY_CTX_free(c);
	EVP_PKEY_free(own);
	EVP_PKEY_free(peer);
	ERR_pop_to_mark();
	return r;
}

enum { SIGN_PARTS_MAX = 8 };

/* The label's head and then the content: what both sides of a signature run through. */
static size_t labelled(struct mls_span parts[static SIGN_PARTS_MAX + 1],
	uint8_t head[static MLS_LABEL_MAX], const char *label, const struct mls_span *content,
	size_t n)
{
	size_t len = 0;
	size_t i;

	assert(n <= SIGN_PARTS_MAX);
	for (i = 0; i < n; i++) {
		parts[1 + i] = content[i];
		len += content[i].len;
	}
	parts[0] = mls_label_head(head, label, len);
	return n + 1;
}

int mls_sign_with_label(uint8_t sig[static MLS_SIG_MAX], size_t *len,
	const uint8_t priv[static MLS_PRIV_LEN], const char *label, const struct mls_span *content,
	size_t n)
{
	struct mls_span parts[SIGN_PARTS_MAX + 1];
	uint8_t head[MLS_LABEL_MAX];
	size_t got = MLS_SIG_MAX;
	EVP_MD_CTX *md = NULL;
	EVP_PKEY *key = NULL;
	size_t i;
	int r;

	ERR_set_mark();
	n = labelled(parts, head, label, content, n);
	if ((r = private_key(&key, priv)) < 0)
		goto out;
	r = TD_ERR_NOMEM;
	if ((md = EVP_MD_CTX_new()) == NULL ||
		EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) != 1)
		goto out;
	for (i = 0; i < n; i++)
		if (parts[i].len > 0 && EVP_DigestSignUpdate(md, parts[i].p, parts[i].len) != 1)
			goto out;
	/* Short of memory, OpenSSL 3.0 can report success and a length of -1. */
	if (EVP_DigestSignFinal(md, sig, &got) != 1 || got > MLS_SIG_MAX)
		goto out;
	*len = got;
	r = TD_OK;
out:
	EVP_MD_CTX_free(md);
	EVP_PKEY_free(key);
	ERR_pop_to_mark();
	return r;
}

int mls_verify_with_label(struct mls_span pub, const char *label, const struct mls_span *content,
	size_t n, struct mls_span sig)
{
	struct mls_span parts[SIGN_PARTS_MAX + 1];
	uint8_t head[MLS_LABEL_MAX];
	EVP_MD_CTX *md = NULL;
	EVP_PKEY *key = NULL;
	size_t i;
	int r;

	ERR_set_mark();
	n = labelled(parts, head, label, content, n);
	if ((r = public_key(&key, pub)) < 0)
		goto out;
	r = TD_ERR_NOMEM;
	if ((md = EVP_MD_CTX_new()) == NULL ||
		EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key) != 1)
		goto out;
	for (i = 0; i < n; i++)
		if (parts[i].len > 0 && EVP_DigestVerifyUpdate(md, parts[i].p, parts[i].len) != 1)
			goto out;
	r = EVP_DigestVerifyFinal(md, sig.p, sig.len) == 1 ? TD_OK : verdict(TD_ERR_AUTH);
out:
	EVP_MD_CTX_free(md);
	EVP_PKEY_free(key);
	ERR_pop_to_mark();
	return r;
}
