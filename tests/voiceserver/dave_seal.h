/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_DAVE_SEAL_H
#define TD_TESTS_VOICESERVER_DAVE_SEAL_H

#include <stddef.h>
#include <stdint.h>

/*
 * Frames as a DAVE sender encrypts them (dave.md sections 8 and 9). Written apart from the
 * product's own code on purpose: what this seals, that has to open.
 */
enum { DAVE_KEY_LEN = 16, DAVE_OVERHEAD = 8 + 5 + 1 + 2 };

/* Encrypts all of `plain` under the key of generation 0, which lasts for 2^24 nonces. `out` has
 * room for len + DAVE_OVERHEAD. Returns the length, 0 when libcrypto fails. */
size_t dave_seal(uint8_t *out, const uint8_t key[static DAVE_KEY_LEN], uint32_t nonce,
	const uint8_t *plain, size_t len);

#endif
