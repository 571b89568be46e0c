/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_DAVE_NONCES_H
#define TD_COMMON_DAVE_NONCES_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The nonces of one sender in one epoch that were used, generation and all: each of the last
 * DAVE_NONCES_WINDOW up to the highest, and whatever is lower. All zero: none.
 */
enum { DAVE_NONCES_WINDOW = 1024 };

struct dave_nonces {
	uint64_t top; /* the highest; its bit in `seen` is set, or there is none */
	uint64_t seen[DAVE_NONCES_WINDOW / 64];
};

bool dave_nonces_used(const struct dave_nonces *s, uint64_t n);
void dave_nonces_add(struct dave_nonces *s, uint64_t n); /* one that was used is fine */

#endif
