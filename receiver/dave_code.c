/* SPDX-License-Identifier: ISC */
#include "receiver/dave_code.h"

#include <sodium.h>
#include <string.h>

#include "common/bytes.h"
#include "common/err.h"

static void digits_of(char out[static DAVE_CODE_GROUP], const uint8_t *data)
{
	uint64_t v = 0;
	int i;

	for (i = 0; i < DAVE_CODE_GROUP; i++)
		v = v << 8 | data[i];
	for (i = DAVE_CODE_GROUP - 1; i >= 0; i--) {
		out[i] = (char)('0' + v % 10);
		v /= 10;
	}
}

int dave_code(char *out, size_t digits, const uint8_t *data, size_t len)
{
	size_t at;

	if (digits % DAVE_CODE_GROUP != 0 || len < digits)
		return TD_ERR_TRUNCATED;
	for (at = 0; at < digits; at += DAVE_CODE_GROUP)
		digits_of(out + at, data + at);
	out[digits] = '\0';
	return TD_OK;
}

enum { VERSION = 0, USER_MAX = 2 + MLS_PUB_LEN + 8 };

static size_t write_user(uint8_t out[static USER_MAX], const struct dave_fingerprint_user *u)
{
	struct wr w;

	wr_init(&w, out, USER_MAX);
	wr_u16(&w, VERSION);
	wr_bytes(&w, u->key, u->key_len);
	wr_u64(&w, u->user_id);
	return w.bad ? 0 : w.len;
}

static int compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	int r = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return r != 0 ? r : (a_len > b_len) - (a_len < b_len);
}

int dave_fingerprint(uint8_t out[static DAVE_FINGERPRINT_LEN],
	const struct dave_fingerprint_user *a, const struct dave_fingerprint_user *b)
{
	static const uint8_t salt[16] = { 0x24, 0xca, 0xb1, 0x7a, 0x7a, 0xf8, 0xec, 0x2b, 0x82,
		0xb4, 0x12, 0xb9, 0x2d, 0xab, 0x19, 0x2e };
	enum { COST = 16384, BLOCK = 8, PARALLEL = 2 };
	uint8_t both[2 * USER_MAX];
	uint8_t one[USER_MAX];
	uint8_t two[USER_MAX];
	size_t one_len = write_user(one, a);
	size_t two_len = write_user(two, b);
	struct wr w;

	if (one_len == 0 || two_len == 0)
		return TD_ERR_MALFORMED;
	wr_init(&w, both, sizeof(both));
	if (compare(one, one_len, two, two_len) <= 0) {
		wr_bytes(&w, one, one_len);
		wr_bytes(&w, two, two_len);
	} else {
		wr_bytes(&w, two, two_len);
		wr_bytes(&w, one, one_len);
	}
	if (crypto_pwhash_scryptsalsa208sha256_ll(both, w.len, salt, sizeof(salt), COST, BLOCK,
		    PARALLEL, out, DAVE_FINGERPRINT_LEN) != 0)
		return TD_ERR_NOMEM;
	return TD_OK;
}
