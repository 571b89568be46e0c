/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <sodium.h>

#include "common/mls/mls_hpke.h"

static struct mls_span hex(uint8_t *out, size_t cap, const char *text)
{
	size_t len;

	assert_int_equal(sodium_hex2bin(out, cap, text, strlen(text), NULL, &len, NULL), 0);
	return mls_span(out, len);
}

/* RFC 5869 test case 1, a length over one block, and a key longer than the hash's block. */
static void hkdf(void **state)
{
	uint8_t bytes[5][128];
	struct mls_span ikm = hex(bytes[0], 128, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
	struct mls_span salt = hex(bytes[1], 128, "000102030405060708090a0b0c");
	struct mls_span info = hex(bytes[2], 128, "f0f1f2f3f4f5f6f7f8f9");
	struct mls_span want = hex(bytes[3], 128,
		"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b8871858"
		"65");
	struct mls_span halves[2] = { mls_span(info.p, 3), mls_span(info.p + 3, info.len - 3) };
	uint8_t prk[MLS_HASH_LEN];
	uint8_t okm[42];

	(void)state;
	mls_extract(prk, salt, &ikm, 1);
	mls_expand(okm, sizeof(okm), mls_span(prk, sizeof(prk)), &info, 1);
	assert_memory_equal(okm, want.p, sizeof(okm));
	memset(okm, 0, sizeof(okm));
	mls_expand(okm, sizeof(okm), mls_span(prk, sizeof(prk)), halves, 2);
	assert_memory_equal(okm, want.p, sizeof(okm));
}

/* A sender's ratchet as DAVE begins it: from 16 bytes. */
static void tree_secret_from_a_short_one(void **state)
{
	static const struct {
		uint32_t generation;
		const char *key;
		const char *nonce;
	} rows[] = {
		{ 0, "7530f9a9945e2d2e06d0651f7b2a864b", "301e5f4b74090f985e726bb2" },
		{ 1, "cddd06e0f3437596bacb9c06a0329c49", "96fd12834c3de73788ec3419" },
		{ 2, "651f0856cc3dbd6496079901a6b56d4d", "4013d2efe58809b9f11f19b6" },
		{ 255, "440c48006e759f606fbffad86c5071c8", "2b6cf0e46886b33d0593cd73" },
	};
	uint8_t base[16];
	uint8_t secret[MLS_HASH_LEN];
	uint8_t want[16];
	uint8_t got[16];
	struct mls_span s = hex(base, sizeof(base), "cedd61b1b8a1ca69046554282cf70b7b");
	uint32_t g = 0;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (; g < rows[i].generation; g++) {
			mls_derive_tree_secret(secret, sizeof(secret), s, "secret", g);
			s = mls_span(secret, sizeof(secret));
		}
		mls_derive_tree_secret(got, 16, s, "key", g);
		assert_memory_equal(got, hex(want, sizeof(want), rows[i].key).p, 16);
		mls_derive_tree_secret(got, 12, s, "nonce", g);
		assert_memory_equal(got, hex(want, sizeof(want), rows[i].nonce).p, 12);
	}
}

static void derive_key_pair(void **state)
{
	uint8_t ikm[32];
	uint8_t priv[MLS_PRIV_LEN];
	uint8_t pub[MLS_PUB_LEN];
	uint8_t want[MLS_PUB_LEN];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(ikm); i++)
		ikm[i] = (uint8_t)i;
	assert_int_equal(mls_hpke_derive_key_pair(priv, pub, mls_span(ikm, sizeof(ikm))), 0);
	hex(want, sizeof(want), "c4a9b2ed5595907ca64a481ea78cf93a047ef7153f7d70121b2552b9b6f07cee");
	assert_memory_equal(priv, want, MLS_PRIV_LEN);
	hex(want, sizeof(want),
		"04cfb264d85c7eb276cf60773c461d722e25b64bf345d077c1a8b10c05b8decb45b7ad849cce5e966"
		"0102f3f368afd22fe797caf6c3a9cbcbe7657b27bbcddfdb1");
	assert_memory_equal(pub, want, MLS_PUB_LEN);
}

static const char order[] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

static void scalars(void **state)
{
	uint8_t priv[MLS_PRIV_LEN] = { 0 };
	uint8_t pub[MLS_PUB_LEN];
	uint8_t x[32];

	(void)state;
	assert_int_equal(mls_p256_public(pub, priv), TD_ERR_MALFORMED);
	hex(priv, sizeof(priv), order);
	assert_int_equal(mls_p256_public(pub, priv), TD_ERR_MALFORMED);
	priv[31]--; /* the last good one: minus the base point */
	assert_int_equal(mls_p256_public(pub, priv), 0);
	assert_int_equal(mls_p256_check(mls_span(pub, sizeof(pub))), 0);
	hex(x, sizeof(x), "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296");
	assert_memory_equal(pub + 1, x, sizeof(x));
	memset(priv, 0xff, sizeof(priv));
	assert_int_equal(mls_p256_public(pub, priv), TD_ERR_MALFORMED);
	assert_int_equal(mls_p256_ecdh(x, priv, mls_span(pub, sizeof(pub))), TD_ERR_MALFORMED);
}

static void points(void **state)
{
	static const uint8_t infinity[1] = { 0 };
	uint8_t priv[MLS_PRIV_LEN] = { 1 };
	uint8_t pub[MLS_PUB_LEN];
	uint8_t bad[MLS_PUB_LEN + 1] = { 0 };
	uint8_t x[32];
	size_t i;

	(void)state;
	assert_int_equal(mls_p256_public(pub, priv), 0);
	for (i = 0; i < 8 * sizeof(pub); i++) {
		memcpy(bad, pub, sizeof(pub));
		bad[i / 8] ^= (uint8_t)(1 << (i % 8));
		assert_int_equal(mls_p256_check(mls_span(bad, sizeof(pub))), TD_ERR_MALFORMED);
		assert_int_equal(mls_p256_ecdh(x, priv, mls_span(bad, sizeof(pub))),
			TD_ERR_MALFORMED);
	}
	memcpy(bad, pub, sizeof(pub));
	for (i = 0; i < sizeof(pub); i++)
		assert_int_equal(mls_p256_check(mls_span(bad, i)), TD_ERR_MALFORMED);
	assert_int_equal(mls_p256_check(mls_span(bad, sizeof(bad))), TD_ERR_MALFORMED);
	assert_int_equal(mls_p256_check(mls_span(infinity, 1)), TD_ERR_MALFORMED);
	bad[0] = (uint8_t)(2 | (pub[64] & 1)); /* compressed: a point, but not our form */
	assert_int_equal(mls_p256_check(mls_span(bad, 33)), TD_ERR_MALFORMED);
	assert_int_equal(ERR_peek_error(), 0); /* nothing left behind for the TLS next to us */
}

static void signatures(void **state)
{
	struct mls_span content[2] = { mls_span("con", 3), mls_span("tent", 4) };
	struct mls_span joined = mls_span("content", 7);
	uint8_t priv[MLS_PRIV_LEN] = { 1, 2, 3 };
	uint8_t sig[MLS_SIG_MAX + 1];
	uint8_t pub[MLS_PUB_LEN];
	struct mls_span key = mls_span(pub, sizeof(pub));
	size_t len;
	size_t i;

	(void)state;
	assert_int_equal(mls_p256_public(pub, priv), 0);
	assert_int_equal(mls_sign_with_label(sig, &len, priv, "label", content, 2), 0);
	assert_true(len <= MLS_SIG_MAX);
	assert_int_equal(mls_verify_with_label(key, "label", &joined, 1, mls_span(sig, len)), 0);
	assert_int_equal(mls_verify_with_label(key, "labe", &joined, 1, mls_span(sig, len)),
		TD_ERR_AUTH);
	assert_int_equal(mls_verify_with_label(key, "label", content, 1, mls_span(sig, len)),
		TD_ERR_AUTH);
	for (i = 0; i < 8 * len; i++) {
		sig[i / 8] ^= (uint8_t)(1 << (i % 8));
		assert_int_equal(mls_verify_with_label(key, "label", &joined, 1,
					 mls_span(sig, len)),
			TD_ERR_AUTH);
		sig[i / 8] ^= (uint8_t)(1 << (i % 8));
	}
	for (i = 0; i < len; i++)
		assert_int_equal(mls_verify_with_label(key, "label", &joined, 1, mls_span(sig, i)),
			TD_ERR_AUTH);
	sig[len] = 0;
	assert_int_equal(mls_verify_with_label(key, "label", &joined, 1, mls_span(sig, len + 1)),
		TD_ERR_AUTH);
	pub[64] ^= 1;
	assert_int_equal(mls_verify_with_label(key, "label", &joined, 1, mls_span(sig, len)),
		TD_ERR_MALFORMED);
	memset(priv, 0, sizeof(priv));
	assert_int_equal(mls_sign_with_label(sig, &len, priv, "label", content, 2),
		TD_ERR_MALFORMED);
}

static void aead(void **state)
{
	static const uint8_t key[MLS_AEAD_KEY_LEN] = { 1 };
	static const uint8_t nonce[MLS_AEAD_NONCE_LEN] = { 2 };
	static const uint8_t other[MLS_AEAD_NONCE_LEN] = { 3 };
	uint8_t sealed[5 + MLS_AEAD_TAG_LEN];
	uint8_t plain[5];
	size_t i;

	(void)state;
	assert_int_equal(mls_aead_seal(sealed, key, nonce, mls_span("hello", 5)), 0);
	assert_int_equal(mls_aead_open(plain, key, nonce, mls_span(sealed, sizeof(sealed))), 0);
	assert_memory_equal(plain, "hello", 5);
	for (i = 0; i < 8 * sizeof(sealed); i++) {
		sealed[i / 8] ^= (uint8_t)(1 << (i % 8));
		memset(plain, 0xee, sizeof(plain));
		assert_int_equal(mls_aead_open(plain, key, nonce, mls_span(sealed, sizeof(sealed))),
			TD_ERR_AUTH);
		assert_memory_equal(plain, "\0\0\0\0\0", 5);
		sealed[i / 8] ^= (uint8_t)(1 << (i % 8));
	}
	for (i = 0; i < sizeof(sealed); i++)
		assert_int_equal(mls_aead_open(plain, key, nonce, mls_span(sealed, i)),
			i < MLS_AEAD_TAG_LEN ? TD_ERR_MALFORMED : TD_ERR_AUTH);
	assert_int_equal(mls_aead_open(plain, key, other, mls_span(sealed, sizeof(sealed))),
		TD_ERR_AUTH);
	assert_int_equal(mls_aead_seal(sealed, key, nonce, mls_span("", 0)), 0);
	assert_int_equal(mls_aead_open(plain, key, nonce, mls_span(sealed, MLS_AEAD_TAG_LEN)), 0);
}

static void hpke(void **state)
{
	struct mls_ctx cx = { .random = mls_random_system };
	struct mls_span context = mls_span("context", 7);
	uint8_t priv[MLS_PRIV_LEN];
	uint8_t pub[MLS_PUB_LEN];
	uint8_t kem[MLS_PUB_LEN];
	uint8_t sealed[6 + MLS_AEAD_TAG_LEN];
	struct mls_span kem_output = mls_span(kem, sizeof(kem));
	struct mls_span ciphertext = mls_span(sealed, sizeof(sealed));
	uint8_t plain[6];
	size_t i;

	(void)state;
	assert_int_equal(mls_hpke_generate(&cx, priv, pub), 0);
	assert_int_equal(mls_encrypt_with_label(&cx, kem, sealed, mls_span(pub, sizeof(pub)), "l",
				 context, mls_span("secret", 6)),
		0);
	assert_int_equal(mls_decrypt_with_label(plain, priv, "l", context, kem_output, ciphertext),
		0);
	assert_memory_equal(plain, "secret", 6);
	assert_int_equal(mls_decrypt_with_label(plain, priv, "m", context, kem_output, ciphertext),
		TD_ERR_AUTH);
	assert_int_equal(mls_decrypt_with_label(plain, priv, "l", mls_span("context", 6),
				 kem_output, ciphertext),
		TD_ERR_AUTH);
	for (i = 0; i < 8 * sizeof(sealed); i++) {
		sealed[i / 8] ^= (uint8_t)(1 << (i % 8));
		assert_int_equal(mls_decrypt_with_label(plain, priv, "l", context, kem_output,
					 ciphertext),
			TD_ERR_AUTH);
		sealed[i / 8] ^= (uint8_t)(1 << (i % 8));
	}
	for (i = 0; i < 8 * sizeof(kem); i++) {
		kem[i / 8] ^= (uint8_t)(1 << (i % 8));
		assert_int_equal(mls_decrypt_with_label(plain, priv, "l", context, kem_output,
					 ciphertext),
			TD_ERR_MALFORMED);
		kem[i / 8] ^= (uint8_t)(1 << (i % 8));
	}
	for (i = 0; i < MLS_AEAD_TAG_LEN; i++)
		assert_int_equal(mls_decrypt_with_label(plain, priv, "l", context, kem_output,
					 mls_span(sealed, i)),
			TD_ERR_MALFORMED);
	pub[1] ^= 1;
	assert_int_equal(mls_encrypt_with_label(&cx, kem, sealed, mls_span(pub, sizeof(pub)), "l",
				 context, mls_span("secret", 6)),
		TD_ERR_MALFORMED);
}

static int no_random(void *user, uint8_t *out, size_t n)
{
	(void)user;
	(void)out;
	(void)n;
	return TD_ERR_SYS;
}

static void random_may_fail(void **state)
{
	struct mls_ctx cx = { .random = no_random };
	uint8_t priv[MLS_PRIV_LEN] = { 9 };

	(void)state;
	assert_int_equal(mls_hpke_generate(&cx, priv, NULL), TD_ERR_SYS);
	assert_int_equal(priv[0], 9);
	assert_string_equal(cx.why, "no random bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hkdf),
		cmocka_unit_test(tree_secret_from_a_short_one),
		cmocka_unit_test(derive_key_pair),
		cmocka_unit_test(scalars),
		cmocka_unit_test(points),
		cmocka_unit_test(signatures),
		cmocka_unit_test(aead),
		cmocka_unit_test(hpke),
		cmocka_unit_test(random_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
