/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_CLOCK_H
#define TD_COMMON_CLOCK_H

#include <stdint.h>

/*
 * Time in tapedeck is a uint64_t of nanoseconds in a variable that ends in _ns, on one monotonic
 * base: CLOCK_MONOTONIC when live, the capture's own time (first packet = TD_REPLAY_BASE_NS) in a
 * replay. Wall time appears in names and manifests only, in variables that end in _utc_ns.
 */
enum { TD_RATE = 48000 }; /* samples per second and channel of everything decoded */

#define TD_SEC_NS 1000000000ull
#define TD_MS_NS 1000000ull
#define TD_US_NS 1000ull

/* Replays start here and not at zero, so that "a second before the first packet" is a time too. */
#define TD_REPLAY_BASE_NS (3600 * TD_SEC_NS)

/* Samples per channel at 48 kHz to nanoseconds: 1 sample = 62500/3 ns. Rounds down. */
static inline int64_t td_samples_to_ns(int64_t samples)
{
	return samples / 3 * 62500 + samples % 3 * 62500 / 3;
}

/* Nanoseconds to the nearest whole sample per channel at 48 kHz. */
static inline int64_t td_ns_to_samples(int64_t ns)
{
	int64_t whole = ns / 62500, rest = ns % 62500;

	return whole * 3 + (rest * 3 + (rest >= 0 ? 31250 : -31250)) / 62500;
}

/* CLOCK_MONOTONIC and CLOCK_REALTIME, nanoseconds. Never called by an engine. Any thread. */
uint64_t td_mono_ns(void);
uint64_t td_utc_ns(void);

#endif
