/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_DAVE_CODE_H
#define TD_RECEIVER_DAVE_CODE_H

#include <stddef.h>
#include <stdint.h>

#include "common/mls/mls_p256.h"

/*
 * What people compare to know that nobody listens in between (dave.md section 11). Pure; any
 * thread.
 */
enum {
	DAVE_CODE_GROUP = 5, /* digits, and bytes, of one group */
	DAVE_FINGERPRINT_LEN = 64,
	DAVE_FINGERPRINT_DIGITS = 45,
};

/* `digits`, a multiple of DAVE_CODE_GROUP, out of as many bytes of data; and a NUL. The privacy
 * code of a call is 30 digits of its epoch authenticator. TD_ERR_TRUNCATED: len is less than that;
 * out is left alone. */
int dave_code(char *out, size_t digits, const uint8_t *data, size_t len);

/* Of a pair of users, the same whoever comes first; DAVE_FINGERPRINT_DIGITS of it are shown. Takes
 * 16 MiB and about 100 ms: scrypt. TD_ERR_MALFORMED: a key of more than MLS_PUB_LEN bytes.
 * TD_ERR_NOMEM. */
struct dave_fingerprint_user {
	uint64_t user_id;
	const uint8_t *key; /* signature key, public */
	size_t key_len;
};
int dave_fingerprint(uint8_t out[static DAVE_FINGERPRINT_LEN],
	const struct dave_fingerprint_user *a, const struct dave_fingerprint_user *b);

#endif
