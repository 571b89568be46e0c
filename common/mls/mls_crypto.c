/* SPDX-License-Identifier: ISC */
#include "common/mls/mls_crypto.h"

#include <assert.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <sodium.h>

#include "common/err.h"

static_assert(MLS_HASH_LEN == crypto_hash_sha256_BYTES, "the suite's hash is SHA-256");

void mls_hash(uint8_t out[static MLS_HASH_LEN], const struct mls_span *parts, size_t n)
{
	crypto_hash_sha256_state st;
	size_t i;

	crypto_hash_sha256_init(&st);
	for (i = 0; i < n; i++)
		crypto_hash_sha256_update(&st, parts[i].p, parts[i].len);
	crypto_hash_sha256_final(&st, out);
}

static void hmac_init(crypto_auth_hmacsha256_state *st, struct mls_span key)
{
	static const uint8_t empty[1]; /* libsodium takes no NULL for a key of no bytes */

	crypto_auth_hmacsha256_init(st, key.len > 0 ? key.p : empty, key.len);
}

void mls_hmac(uint8_t out[static MLS_HASH_LEN], struct mls_span key, const struct mls_span *parts,
	size_t n)
{
	crypto_auth_hmacsha256_state st;
	size_t i;

	hmac_init(&st, key);
	for (i = 0; i < n; i++)
		crypto_auth_hmacsha256_update(&st, parts[i].p, parts[i].len);
	crypto_auth_hmacsha256_final(&st, out);
	sodium_memzero(&st, sizeof(st));
}

int mls_equal(const uint8_t *a, const uint8_t *b, size_t n)
{
	return sodium_memcmp(a, b, n);
}

void mls_extract(uint8_t out[static MLS_HASH_LEN], struct mls_span salt, const struct mls_span *ikm,
	size_t n)
{
	mls_hmac(out, salt, ikm, n); /* HMAC pads an empty salt to the zeros the RFC asks for */
}

void mls_expand(uint8_t *out, size_t len, struct mls_span prk, const struct mls_span *info,
	size_t n)
{
	crypto_auth_hmacsha256_state st;
	uint8_t block[MLS_HASH_LEN];
	uint8_t counter = 0;
	size_t take;
	size_t i;

	assert(len <= 255 * MLS_HASH_LEN);
	for (; len > 0; len -= take, out += take) {
		hmac_init(&st, prk);
		if (counter > 0)
			crypto_auth_hmacsha256_update(&st, block, sizeof(block));
		for (i = 0; i < n; i++)
			crypto_auth_hmacsha256_update(&st, info[i].p, info[i].len);
		counter++;
		crypto_auth_hmacsha256_update(&st, &counter, 1);
		crypto_auth_hmacsha256_final(&st, block);
		take = len < sizeof(block) ? len : sizeof(block);
		memcpy(out, block, take);
	}
	sodium_memzero(&st, sizeof(st));
	sodium_memzero(block, sizeof(block));
}

struct mls_span mls_label_head(uint8_t buf[static MLS_LABEL_MAX], const char *label,
	size_t content_len)
{
	static const char prefix[] = "MLS 1.0 ";
	size_t len = sizeof(prefix) - 1 + strlen(label);
	struct wr w;

	wr_init(&w, buf, MLS_LABEL_MAX);
	mls_wr_varint(&w, len);
	wr_bytes(&w, prefix, sizeof(prefix) - 1);
	wr_bytes(&w, label, strlen(label));
	mls_wr_varint(&w, content_len);
	assert(!w.bad);
	return mls_span(buf, w.len);
}

void mls_expand_with_label(uint8_t *out, size_t len, struct mls_span secret, const char *label,
	struct mls_span context)
{
	uint8_t head[MLS_LABEL_MAX];
	uint8_t length[2] = { (uint8_t)(len >> 8), (uint8_t)len };
	struct mls_span info[] = {
		mls_span(length, sizeof(length)),
		mls_label_head(head, label, context.len),
		context,
	};

	mls_expand(out, len, secret, info, 3);
}

void mls_derive_secret(uint8_t out[static MLS_HASH_LEN], const uint8_t secret[static MLS_HASH_LEN],
	const char *label)
{
	mls_expand_with_label(out, MLS_HASH_LEN, mls_span(secret, MLS_HASH_LEN), label,
		mls_span(NULL, 0));
}

void mls_derive_tree_secret(uint8_t *out, size_t len, struct mls_span secret, const char *label,
	uint32_t generation)
{
	uint8_t g[4];
	struct wr w;

	wr_init(&w, g, sizeof(g));
	wr_u32(&w, generation);
	mls_expand_with_label(out, len, secret, label, mls_span(g, sizeof(g)));
}

void mls_ref_hash(uint8_t out[static MLS_HASH_LEN], const char *label, const struct mls_span *value,
	size_t n)
{
	enum { PARTS_MAX = 7 };
	struct mls_span parts[3 + PARTS_MAX];
	uint8_t head[2][4];
	struct wr w;
	size_t len = 0;
	size_t i;

	assert(n <= PARTS_MAX);
	for (i = 0; i < n; i++) {
		parts[3 + i] = value[i];
		len += value[i].len;
	}
	wr_init(&w, head[0], 4);
	mls_wr_varint(&w, strlen(label));
	parts[0] = mls_span(head[0], w.len);
	parts[1] = mls_span(label, strlen(label));
	wr_init(&w, head[1], 4);
	mls_wr_varint(&w, len);
	parts[2] = mls_span(head[1], w.len);
	mls_hash(out, parts, 3 + n);
}

int mls_aead_seal(uint8_t *sealed, const uint8_t key[static MLS_AEAD_KEY_LEN],
	const uint8_t nonce[static MLS_AEAD_NONCE_LEN], struct mls_span plain)
{
	EVP_CIPHER_CTX *c = NULL;
	int r = TD_ERR_NOMEM;
	int n;

	if (plain.len > INT_MAX - MLS_AEAD_TAG_LEN)
		return TD_ERR_LIMIT;
	ERR_set_mark();
	if ((c = EVP_CIPHER_CTX_new()) == NULL ||
		EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, key, nonce) != 1 ||
		EVP_EncryptUpdate(c, sealed, &n, plain.p, (int)plain.len) != 1 ||
		EVP_EncryptFinal_ex(c, sealed + plain.len, &n) != 1 ||
		EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, MLS_AEAD_TAG_LEN,
			sealed + plain.len) != 1)
		goto out;
	r = TD_OK;
out:
	EVP_CIPHER_CTX_free(c);
	ERR_pop_to_mark();
	return r;
}

int mls_aead_open(uint8_t *plain, const uint8_t key[static MLS_AEAD_KEY_LEN],
	const uint8_t nonce[static MLS_AEAD_NONCE_LEN], struct mls_span sealed)
{
	uint8_t tag[MLS_AEAD_TAG_LEN];
	EVP_CIPHER_CTX *c = NULL;
	int r = TD_ERR_NOMEM;
	size_t len;
	int n;

	if (sealed.len < MLS_AEAD_TAG_LEN || sealed.len > INT_MAX)
		return TD_ERR_MALFORMED;
	len = sealed.len - MLS_AEAD_TAG_LEN;
	memcpy(tag, sealed.p + len, sizeof(tag));
	ERR_set_mark();
	if ((c = EVP_CIPHER_CTX_new()) == NULL ||
		EVP_DecryptInit_ex(c, EVP_aes_128_gcm(), NULL, key, nonce) != 1 ||
		EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, MLS_AEAD_TAG_LEN, tag) != 1 ||
		EVP_DecryptUpdate(c, plain, &n, sealed.p, (int)len) != 1)
		goto out;
	r = EVP_DecryptFinal_ex(c, plain + len, &n) == 1 ? TD_OK : TD_ERR_AUTH;
out:
	if (r < 0)
		sodium_memzero(plain, len);
	EVP_CIPHER_CTX_free(c);
	ERR_pop_to_mark();
	return r;
}
