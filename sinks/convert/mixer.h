/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_MIXER_H
#define TD_CONVERT_MIXER_H

#include <stdbool.h>
#include <stdint.h>

#include "sinks/convert/reel.h"

/*
 * The sum of several tracks, each at its place in the session; where one has ended it is silent.
 * One channel goes to both of two.
 */
struct mixer;

/* Opens every track, silence put back. TD_ERR_UNSUPPORTED (different rates) and as reel_open(). */
int mixer_open(struct mixer **ret, const struct job *job, const struct witness *witness,
	struct fault *fault);
void mixer_free(struct mixer *m);

/* Rate, channels (the most that a track has) and samples (of the longest). */
const struct source_info *mixer_info(const struct mixer *m);

/* As source_read(); samples of 32 bits, which hold the sum of all tracks. */
enum { MIXER_BLOCK = 1024 };
int mixer_read(struct mixer *m, int32_t *sum, uint32_t max, uint64_t *ret_n, bool *ret_silent,
	struct fault *fault);

enum source_end mixer_finish(struct mixer *m);
struct timespec mixer_newest(const struct mixer *m);

/* The largest value in it, without its sign. */
uint32_t mixer_peak(const int32_t *sum, size_t len);

/* What a sum has to be multiplied with so that this peak is `ceiling` (at most 32767): 1 when it
 * is lower. */
double mixer_gain(uint32_t peak, uint32_t ceiling);
void mixer_scale(int16_t *out, const int32_t *sum, size_t len, double gain);

#endif
