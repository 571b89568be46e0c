/* SPDX-License-Identifier: ISC */
#ifndef TD_UNPACKER_TO_S16_H
#define TD_UNPACKER_TO_S16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Samples as libopus computes them, full scale being 1, as it converts them itself: to the nearest,
 * a half to the even one, and to the ends of the range what lies beyond. Returns whether all were
 * within -1 and 1.
 */
bool to_s16(int16_t *to, const float *from, size_t n);

/* The same in plain C: what is run where the processor has no other, and what tests compare with.
 */
bool to_s16_plain(int16_t *to, const float *from, size_t n);

#endif
