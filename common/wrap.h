/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_WRAP_H
#define TD_COMMON_WRAP_H

#include <stdint.h>

/*
 * Counters that wrap, and the only two places that know how: RTP sequence numbers (16 bits) and
 * RTP timestamps (32 bits), RFC 3550 section 5.1. Each gives the 64-bit number that is congruent
 * to `value` and nearest to `near` (at exactly half the range: the later one). Start a stream at
 * near = value; compare, subtract and sort the results as ordinary numbers. Pure; any thread.
 */
static inline int64_t seq_unwrap(int64_t near, uint16_t value)
{
	uint16_t ahead = (uint16_t)(value - (uint16_t)near);

	return near + (ahead <= 0x8000 ? (int64_t)ahead : (int64_t)ahead - 0x10000);
}

static inline int64_t ts_unwrap(int64_t near, uint32_t value)
{
	uint32_t ahead = value - (uint32_t)near;

	return near + (ahead <= 0x80000000u ? (int64_t)ahead : (int64_t)ahead - 0x100000000);
}

#endif
