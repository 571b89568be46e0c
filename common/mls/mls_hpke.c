/* SPDX-License-Identifier: ISC */
#include "common/mls/mls_hpke.h"

#include <sodium.h>
#include <string.h>

/* suite_id of the KEM alone (RFC 9180 section 4.1) and of the whole (section 5.1). */
static const uint8_t kem_id[] = { 'K', 'E', 'M', 0x00, 0x10 };
static const uint8_t hpke_id[] = { 'H', 'P', 'K', 'E', 0x00, 0x10, 0x00, 0x01, 0x00, 0x01 };

static const struct mls_span kem = { kem_id, sizeof(kem_id) };
static const struct mls_span hpke = { hpke_id, sizeof(hpke_id) };
static const struct mls_span none = { NULL, 0 };

static struct mls_span text(const char *s)
{
	return mls_span(s, strlen(s));
}

static void labeled_extract(uint8_t out[static MLS_HASH_LEN], struct mls_span id,
	struct mls_span salt, const char *label, const struct mls_span *ikm, size_t n)
{
	struct mls_span parts[6] = { text("HPKE-v1"), id, text(label) };
	size_t i;

	for (i = 0; i < n; i++)
		parts[3 + i] = ikm[i];
	mls_extract(out, salt, parts, 3 + n);
}

static void labeled_expand(uint8_t *out, size_t len, struct mls_span id,
	const uint8_t prk[static MLS_HASH_LEN], const char *label, const struct mls_span *info,
	size_t n)
{
	uint8_t length[2] = { (uint8_t)(len >> 8), (uint8_t)len };
	struct mls_span parts[7] = { mls_span(length, 2), text("HPKE-v1"), id, text(label) };
	size_t i;

	for (i = 0; i < n; i++)
		parts[4 + i] = info[i];
	mls_expand(out, len, mls_span(prk, MLS_HASH_LEN), parts, 4 + n);
}

int mls_hpke_derive_key_pair(uint8_t priv[static MLS_PRIV_LEN], uint8_t pub[static MLS_PUB_LEN],
	struct mls_span ikm)
{
	uint8_t prk[MLS_HASH_LEN];
	uint8_t sk[MLS_PRIV_LEN];
	uint8_t pk[MLS_PUB_LEN];
	int r = TD_ERR_MALFORMED;
	struct mls_span counter;
	unsigned c;
	uint8_t b;

	labeled_extract(prk, kem, none, "dkp_prk", &ikm, 1);
	for (c = 0; c < 256 && r == TD_ERR_MALFORMED; c++) {
		b = (uint8_t)c;
		counter = mls_span(&b, 1);
		labeled_expand(sk, sizeof(sk), kem, prk, "candidate", &counter, 1);
		r = mls_p256_public(pk, sk); /* malformed: 0 or not below the order; next one */
	}
	if (r < 0)
		goto out;
	memcpy(priv, sk, sizeof(sk));
	memcpy(pub, pk, sizeof(pk));
out:
	sodium_memzero(prk, sizeof(prk));
	sodium_memzero(sk, sizeof(sk));
	return r;
}

int mls_hpke_generate(struct mls_ctx *cx, uint8_t priv[static MLS_PRIV_LEN], uint8_t *pub)
{
	uint8_t pk[MLS_PUB_LEN];
	uint8_t ikm[32];
	int r;

	if ((r = cx->random(cx->user, ikm, sizeof(ikm))) < 0)
		return mls_fail(cx, r, "no random bytes");
	r = mls_hpke_derive_key_pair(priv, pk, mls_span(ikm, sizeof(ikm)));
	sodium_memzero(ikm, sizeof(ikm));
	if (r == TD_OK && pub != NULL)
		memcpy(pub, pk, sizeof(pk));
	return r;
}

struct hpke_keys {
	uint8_t key[MLS_AEAD_KEY_LEN];
	uint8_t nonce[MLS_AEAD_NONCE_LEN];
};

/* ExtractAndExpand, then the key schedule of mode base for the first and only message. */
static void hpke_schedule(struct hpke_keys *k, const uint8_t dh[static 32], struct mls_span enc,
	struct mls_span pub, const char *label, struct mls_span context)
{
	uint8_t head[MLS_LABEL_MAX];
	uint8_t prk[MLS_HASH_LEN];
	uint8_t shared[MLS_HASH_LEN];
	uint8_t ks[1 + 2 * MLS_HASH_LEN] = { 0 }; /* mode base, psk_id_hash, info_hash */
	struct mls_span kem_context[2] = { enc, pub };
	struct mls_span info[2] = { mls_label_head(head, label, context.len), context };
	struct mls_span ikm = mls_span(dh, 32);
	struct mls_span ks_context = mls_span(ks, sizeof(ks));

	labeled_extract(prk, kem, none, "eae_prk", &ikm, 1);
	labeled_expand(shared, sizeof(shared), kem, prk, "shared_secret", kem_context, 2);

	labeled_extract(ks + 1, hpke, none, "psk_id_hash", NULL, 0);
	labeled_extract(ks + 1 + MLS_HASH_LEN, hpke, none, "info_hash", info, 2);
	labeled_extract(prk, hpke, mls_span(shared, sizeof(shared)), "secret", NULL, 0);
	labeled_expand(k->key, sizeof(k->key), hpke, prk, "key", &ks_context, 1);
	labeled_expand(k->nonce, sizeof(k->nonce), hpke, prk, "base_nonce", &ks_context, 1);
	sodium_memzero(prk, sizeof(prk));
	sodium_memzero(shared, sizeof(shared));
}

int mls_encrypt_with_label(struct mls_ctx *cx, uint8_t kem_output[static MLS_PUB_LEN],
	uint8_t *ciphertext, struct mls_span pub, const char *label, struct mls_span context,
	struct mls_span plain)
{
	uint8_t priv[MLS_PRIV_LEN];
	uint8_t enc[MLS_PUB_LEN];
	uint8_t dh[32];
	struct hpke_keys k;
	int r;

	if ((r = mls_hpke_generate(cx, priv, enc)) < 0 || (r = mls_p256_ecdh(dh, priv, pub)) < 0)
		goto out;
	hpke_schedule(&k, dh, mls_span(enc, sizeof(enc)), pub, label, context);
	if ((r = mls_aead_seal(ciphertext, k.key, k.nonce, plain)) < 0)
		goto out;
	memcpy(kem_output, enc, sizeof(enc));
out:
	sodium_memzero(priv, sizeof(priv));
	sodium_memzero(dh, sizeof(dh));
	sodium_memzero(&k, sizeof(k));
	return r;
}

int mls_decrypt_with_label(uint8_t *plain, const uint8_t priv[static MLS_PRIV_LEN],
	const char *label, struct mls_span context, struct mls_span kem_output,
	struct mls_span ciphertext)
{
	uint8_t pub[MLS_PUB_LEN];
	uint8_t dh[32];
	struct hpke_keys k;
	int r;

	if (ciphertext.len < MLS_AEAD_TAG_LEN)
		return TD_ERR_MALFORMED;
	if ((r = mls_p256_public(pub, priv)) < 0 || (r = mls_p256_ecdh(dh, priv, kem_output)) < 0)
		goto out;
	hpke_schedule(&k, dh, kem_output, mls_span(pub, sizeof(pub)), label, context);
	r = mls_aead_open(plain, k.key, k.nonce, ciphertext);
out:
	sodium_memzero(dh, sizeof(dh));
	sodium_memzero(&k, sizeof(k));
	return r;
}
