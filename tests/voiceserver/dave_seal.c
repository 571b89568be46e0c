/* SPDX-License-Identifier: ISC */
#include <openssl/evp.h>
#include <string.h>

#include "common/bytes.h"
#include "tests/voiceserver/dave_seal.h"

enum { TAG_LEN = 8, FULL_TAG_LEN = 16, NONCE_LEN = 12, NONCE_AT = 8, MARKER = 0xfafa };

/* Encrypts to out, gives the tag as a whole: libcrypto cuts none when it encrypts. */
static int gcm(uint8_t *out, uint8_t tag[static FULL_TAG_LEN], const uint8_t *key, uint32_t nonce,
	const uint8_t *plain, size_t len)
{
	uint8_t iv[NONCE_LEN] = { 0 };
	EVP_CIPHER_CTX *cx = EVP_CIPHER_CTX_new();
	int n, i, ok;

	for (i = 0; i < 4; i++)
		iv[NONCE_AT + i] = (uint8_t)(nonce >> 8 * i);
	ok = cx != NULL && EVP_EncryptInit_ex(cx, EVP_aes_128_gcm(), NULL, key, iv) == 1 &&
		EVP_EncryptUpdate(cx, out, &n, plain, (int)len) == 1 &&
		EVP_EncryptFinal_ex(cx, out + n, &n) == 1 &&
		EVP_CIPHER_CTX_ctrl(cx, EVP_CTRL_AEAD_GET_TAG, FULL_TAG_LEN, tag) == 1;
	EVP_CIPHER_CTX_free(cx);
	return ok;
}

size_t dave_seal(uint8_t *out, const uint8_t key[static DAVE_KEY_LEN], uint32_t nonce,
	const uint8_t *plain, size_t len)
{
	uint8_t tag[FULL_TAG_LEN];
	struct wr w;

	if (!gcm(out, tag, key, nonce, plain, len))
		return 0;
	wr_init(&w, out + len, DAVE_OVERHEAD);
	wr_bytes(&w, tag, TAG_LEN);
	for (; nonce >= 0x80; nonce >>= 7)
		wr_u8(&w, (uint8_t)(nonce | 0x80));
	wr_u8(&w, (uint8_t)nonce);
	wr_u8(&w, (uint8_t)(w.len + 3));
	wr_u16(&w, MARKER);
	return len + w.len;
}
