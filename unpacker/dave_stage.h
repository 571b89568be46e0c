/* SPDX-License-Identifier: ISC */
#ifndef TD_UNPACKER_DAVE_STAGE_H
#define TD_UNPACKER_DAVE_STAGE_H

#include <stddef.h>
#include <stdint.h>

/*
 * End-to-end encryption, between the transport's payload and Opus: `*ret` is the Opus packet inside
 * the frame that `user_id` (0: not named yet) sent, borrowed, valid as long as the frame is.
 *
 * Protocol version 0, the one there is so far, encrypts nothing: what comes in goes out. The keys
 * of each sender will live behind this call and nowhere else.
 */
void dave_stage_open(
	uint64_t user_id, const uint8_t *frame, size_t len, const uint8_t **ret, size_t *ret_len);

#endif
