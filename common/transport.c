/* SPDX-License-Identifier: ISC */
#include "common/transport.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/locked.h"

enum { GCM_IV_LEN = 12, XCHACHA_IV_LEN = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES };
/* Up to about this length OpenSSL takes longer for its calls than for AES, and libsodium is
 * quicker; beyond it has the faster AES. */
enum { GCM_SHORT = 320 };
enum { STACK_DEPTH = 8 * 1024 };
enum { TRAILER_LEN = TRANSPORT_TAG_LEN + TRANSPORT_NONCE_LEN };

/* A datagram, told apart: everything a cipher needs to open or seal one. */
struct parts {
	const uint8_t *aad, *nonce; /* nonce: the 4 bytes of the wire */
	size_t aad_len;
};

struct secret {
	crypto_aead_aes256gcm_state gcm; /* for what is short, where the CPU has AES */
	uint8_t key[TRANSPORT_KEY_LEN];
};

struct transport {
	const struct transport_alg *alg;
	struct secret *secret; /* locked memory */
	/* AES: keys expanded once, not per packet. Most only ever open: seal_ctx is NULL till then.
	 */
	EVP_CIPHER_CTX *open_ctx, *seal_ctx;
	bool has_gcm;
};

/* Opening checks the tag at `sealed` + len; sealing writes it there. */
struct transport_alg {
	const char *name;
	size_t trailer_len;
	int (*init)(struct transport *t);
	int (*decrypt)(struct transport *t, uint8_t *plain, const uint8_t *sealed, size_t len,
		const struct parts *p);
	int (*encrypt)(struct transport *t, uint8_t *sealed, const uint8_t *plain, size_t len,
		const struct parts *p);
};

static int none_init(struct transport *t)
{
	(void)t;
	return TD_OK;
}

static int none_copy(struct transport *t, uint8_t *out, const uint8_t *in, size_t len,
	const struct parts *p)
{
	(void)t;
	(void)p;
	if (len > 0)
		memcpy(out, in, len);
	return TD_OK;
}

static int gcm_init(struct transport *t)
{
	t->open_ctx = EVP_CIPHER_CTX_new();
	if (t->open_ctx == NULL ||
		EVP_DecryptInit_ex(t->open_ctx, EVP_aes_256_gcm(), NULL, t->secret->key, NULL) != 1)
		return TD_ERR_NOMEM;
	t->has_gcm = crypto_aead_aes256gcm_is_available() != 0;
	if (t->has_gcm)
		crypto_aead_aes256gcm_beforenm(&t->secret->gcm, t->secret->key);
	return TD_OK;
}

static int gcm_open(struct transport *t, uint8_t *plain, const uint8_t *sealed, size_t len,
	const struct parts *p)
{
	uint8_t iv[GCM_IV_LEN] = { 0 }, tag[TRANSPORT_TAG_LEN];
	int n;

	memcpy(iv, p->nonce, TRANSPORT_NONCE_LEN);
	if (len <= GCM_SHORT && t->has_gcm)
		return crypto_aead_aes256gcm_decrypt_afternm(plain, NULL, NULL, sealed,
			       len + TRANSPORT_TAG_LEN, p->aad, p->aad_len, iv,
			       &t->secret->gcm) == 0
			? TD_OK
			: TD_ERR_AUTH;
	memcpy(tag, sealed + len, sizeof(tag));
	if (EVP_DecryptInit_ex(t->open_ctx, NULL, NULL, NULL, iv) == 1 &&
		EVP_DecryptUpdate(t->open_ctx, NULL, &n, p->aad, (int)p->aad_len) == 1 &&
		EVP_DecryptUpdate(t->open_ctx, plain, &n, sealed, (int)len) == 1 &&
		EVP_CIPHER_CTX_ctrl(t->open_ctx, EVP_CTRL_GCM_SET_TAG, sizeof(tag), tag) == 1 &&
		EVP_DecryptFinal_ex(t->open_ctx, plain + len, &n) == 1)
		return TD_OK;
	/* GCM decrypts before it knows; what it wrote is nobody's. */
	sodium_memzero(plain, len);
	return TD_ERR_AUTH;
}

static bool gcm_seal_init(struct transport *t)
{
	if (t->seal_ctx != NULL)
		return true;
	if ((t->seal_ctx = EVP_CIPHER_CTX_new()) != NULL &&
		EVP_EncryptInit_ex(t->seal_ctx, EVP_aes_256_gcm(), NULL, t->secret->key, NULL) == 1)
		return true;
	EVP_CIPHER_CTX_free(t->seal_ctx);
	t->seal_ctx = NULL;
	return false;
}

static int gcm_seal(struct transport *t, uint8_t *sealed, const uint8_t *plain, size_t len,
	const struct parts *p)
{
	uint8_t iv[GCM_IV_LEN] = { 0 };
	int n;

	if (!gcm_seal_init(t))
		return TD_ERR_NOMEM;
	memcpy(iv, p->nonce, TRANSPORT_NONCE_LEN);
	if (EVP_EncryptInit_ex(t->seal_ctx, NULL, NULL, NULL, iv) != 1 ||
		EVP_EncryptUpdate(t->seal_ctx, NULL, &n, p->aad, (int)p->aad_len) != 1 ||
		EVP_EncryptUpdate(t->seal_ctx, sealed, &n, plain, (int)len) != 1 ||
		EVP_EncryptFinal_ex(t->seal_ctx, sealed + len, &n) != 1 ||
		EVP_CIPHER_CTX_ctrl(t->seal_ctx, EVP_CTRL_GCM_GET_TAG, TRANSPORT_TAG_LEN,
			sealed + len) != 1)
		return TD_ERR_NOMEM;
	return TD_OK;
}

static int xchacha_open(struct transport *t, uint8_t *plain, const uint8_t *sealed, size_t len,
	const struct parts *p)
{
	uint8_t iv[XCHACHA_IV_LEN] = { 0 };

	memcpy(iv, p->nonce, TRANSPORT_NONCE_LEN);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, sealed,
		    len + TRANSPORT_TAG_LEN, p->aad, p->aad_len, iv, t->secret->key) != 0)
		return TD_ERR_AUTH;
	return TD_OK;
}

static int xchacha_seal(struct transport *t, uint8_t *sealed, const uint8_t *plain, size_t len,
	const struct parts *p)
{
	uint8_t iv[XCHACHA_IV_LEN] = { 0 };

	memcpy(iv, p->nonce, TRANSPORT_NONCE_LEN);
	crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, plain, len, p->aad, p->aad_len,
		NULL, iv, t->secret->key);
	return TD_OK;
}

static const struct transport_alg algs[TRANSPORT_MODES] = {
	[TRANSPORT_NONE] = { "none", 0, none_init, none_copy, none_copy },
	[TRANSPORT_AES256_GCM] = { "aead_aes256_gcm_rtpsize", TRAILER_LEN, gcm_init, gcm_open,
		gcm_seal },
	[TRANSPORT_XCHACHA20] = { "aead_xchacha20_poly1305_rtpsize", TRAILER_LEN, none_init,
		xchacha_open, xchacha_seal },
};

const char *transport_mode_name(enum transport_mode mode)
{
	return (unsigned)mode < TRANSPORT_MODES ? algs[mode].name : "?";
}

int transport_mode_parse(enum transport_mode *ret, const char *name)
{
	unsigned i;

	for (i = 0; i < TRANSPORT_MODES; i++) {
		if (strcmp(name, algs[i].name) == 0) {
			*ret = (enum transport_mode)i;
			return TD_OK;
		}
	}
	return TD_ERR_UNSUPPORTED;
}

int transport_new(struct transport **ret, enum transport_mode mode,
	const uint8_t key[static TRANSPORT_KEY_LEN])
{
	struct transport *t = NULL;
	int r = TD_ERR_NOMEM;

	if ((unsigned)mode >= TRANSPORT_MODES)
		return TD_ERR_UNSUPPORTED;
	if ((t = calloc(1, sizeof(*t))) == NULL)
		goto out;
	t->alg = &algs[mode];
	/* The first call in a process sets libsodium up, which looks what the CPU has. */
	if (sodium_init() < 0 || (t->secret = locked_new(sizeof(*t->secret))) == NULL)
		goto out;
	memcpy(t->secret->key, key, TRANSPORT_KEY_LEN);
	if ((r = t->alg->init(t)) != TD_OK)
		goto out;
	*ret = t;
	t = NULL;
out:
	transport_free(t);
	return r;
}

void transport_free(struct transport *t)
{
	if (t == NULL)
		return;
	EVP_CIPHER_CTX_free(t->open_ctx); /* both wipe what they hold */
	EVP_CIPHER_CTX_free(t->seal_ctx);
	locked_free(t->secret);
	free(t);
	/* A cipher puts the parts of a key there that it has no registers for. */
	sodium_stackzero(STACK_DEPTH);
}

int transport_open(struct transport *t, uint8_t *plain, size_t *ret_len, const uint8_t *packet,
	size_t len, size_t aad_len)
{
	size_t trailer = t->alg->trailer_len, sealed_len;
	struct parts p = { .aad = packet, .aad_len = aad_len };
	int r;

	if (len < aad_len || len - aad_len < trailer)
		return TD_ERR_TRUNCATED;
	sealed_len = len - aad_len - trailer;
	p.nonce = packet + aad_len + sealed_len + (trailer > 0 ? TRANSPORT_TAG_LEN : 0);
	if ((r = t->alg->decrypt(t, plain, packet + aad_len, sealed_len, &p)) != TD_OK)
		return r;
	*ret_len = sealed_len;
	return TD_OK;
}

size_t transport_seal(struct transport *t, uint8_t *packet, const uint8_t *aad, size_t aad_len,
	const uint8_t *plain, size_t len, uint32_t nonce)
{
	const uint8_t suffix[TRANSPORT_NONCE_LEN] = { (uint8_t)(nonce >> 24),
		(uint8_t)(nonce >> 16), (uint8_t)(nonce >> 8), (uint8_t)nonce };
	struct parts p = { aad, suffix, aad_len };

	if (aad_len > 0)
		memmove(packet, aad, aad_len);
	if (t->alg->encrypt(t, packet + aad_len, plain, len, &p) != TD_OK)
		return 0;
	if (t->alg->trailer_len > 0)
		memcpy(packet + aad_len + len + TRANSPORT_TAG_LEN, suffix, sizeof(suffix));
	return aad_len + len + t->alg->trailer_len;
}
