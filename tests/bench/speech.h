/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_BENCH_SPEECH_H
#define TD_TESTS_BENCH_SPEECH_H

#include <stddef.h>
#include <stdint.h>

/*
 * Opus packets of 20 ms as a voice client sends them: what sounds like speech to an encoder
 * (syllables of a voice with formants, hiss before some of them, a room), at 64 kbit/s. The same
 * seed gives the same packets.
 */
enum { SPEECH_MAX_LEN = 1275, SPEECH_SAMPLES = 960, SPEECH_BITRATE = 64000 };

struct speech_packet {
	size_t len;
	uint8_t data[SPEECH_MAX_LEN];
};

/* `count` packets in a row, coded in 1 or 2 channels, which are not the same. */
void speech_encode(struct speech_packet *out, size_t count, int channels, uint64_t seed);

#endif
