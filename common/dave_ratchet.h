/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_DAVE_RATCHET_H
#define TD_COMMON_DAVE_RATCHET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dave_frame.h"
#include "common/dave_nonces.h"

/*
 * The keys of one sender in one epoch (dave.md section 8): a hash ratchet with a key for each
 * generation, the top byte of the nonce; and the nonces that were used. Receiving side.
 *
 * Limits: a generation is not older than the oldest kept, not more than 250 ahead of the newest,
 * and not one that 170 frames a second could not have reached since `created_ns` (the second one
 * takes 27 hours). Ten seconds after a newer one opened a frame the older ones are erased. A nonce
 * opens one frame; it may come up to 1023 below the highest, the first one's included. Who goes on
 * in another's place says which were used there: dave_ratchet_set_used().
 */
enum {
	DAVE_RATCHET_BASE_LEN = 16,
	DAVE_RATCHET_SECRET_LEN = 32,
	DAVE_RATCHET_MAX_AHEAD = 250,
	DAVE_RATCHET_RATE = 170, /* frames a second: 50 of speech, two videos at 60 */
};

struct dave_ratchet;

/* Begins with the first DAVE_RATCHET_BASE_LEN bytes of `secret`, which has room for
 * DAVE_RATCHET_SECRET_LEN, lies in locked memory and is borrowed until dave_ratchet_free(): the
 * secret of the oldest generation is kept there and nowhere else. TD_ERR_NOMEM. */
int dave_ratchet_new(struct dave_ratchet **ret, uint8_t *secret, uint64_t created_ns);
void dave_ratchet_free(struct dave_ratchet *r); /* NULL is fine; wipes, `secret` too */

/*
 * Opens a frame that arrived at now_ns, as dave_frame_open() does. Times may fall by a little.
 *
 * TD_ERR_AUTH: this key does not fit. TD_ERR_DUPLICATE: it does, and the nonce was used before or
 * is too far below the highest. TD_ERR_LIMIT: the generation is out of bounds, so that nobody knows
 * whether the key fits. TD_ERR_NOMEM. On an error plain is zeros or as it was, and the ratchet is
 * as it was. `again`: it was opened before, in whoever's place we are, and its nonce may be used.
 */
int dave_ratchet_open(struct dave_ratchet *r, uint8_t *plain, const struct dave_frame *f,
	const uint8_t *data, uint64_t now_ns, bool again);

/* The nonce that opened last, generation and all. */
uint64_t dave_ratchet_last(const struct dave_ratchet *r);
/* These were used, and no others. */
void dave_ratchet_set_used(struct dave_ratchet *r, const struct dave_nonces *used);

/* The full number of the generation whose last 8 bits are g8, not older than `oldest`. */
uint64_t dave_ratchet_unwrap(uint32_t oldest, uint8_t g8);
/* The key of a generation, counted from the one of `secret` (the base of generation 0: 16 bytes;
 * else 32), which is not changed. For senders, who hold a base, and tests. */
void dave_ratchet_key(uint8_t key[static DAVE_FRAME_KEY_LEN], const uint8_t *secret,
	uint32_t secret_generation, uint32_t generation);

#endif
