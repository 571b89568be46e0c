/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_ALIGN_BEEPS_H
#define TD_TESTS_ALIGN_BEEPS_H

#include <math.h>

#include "common/clock.h"

/*
 * What the speakers of the alignment test say: a beep a second, whose pitch tells the speaker and
 * which of the sixteen seconds of their clip it is. Beep n of a clip begins at sample
 * n * TD_RATE + BEEP_AT of the clip as a decoder gives it.
 */
enum {
	BEEP_SPEAKERS = 6,
	BEEP_CODES = 16,    /* per speaker, one after the other */
	BEEP_SAMPLES = 960, /* 20 ms */
	BEEP_AT = 24000,
	CLIP_SAMPLES = BEEP_CODES * TD_RATE,
	CLIP_FRAME = 960,
};

static inline double beep_hz(unsigned speaker, unsigned code)
{
	return 1000 + 100.0 * (speaker * BEEP_CODES + code);
}

/* Sample i of a beep, -1 to 1. */
static inline double beep_value(unsigned speaker, unsigned code, int i)
{
	double t = i + 0.5;

	return sin(M_PI * t / BEEP_SAMPLES) *
		sin(2 * M_PI * beep_hz(speaker, code) * (t - BEEP_SAMPLES / 2.0) / TD_RATE);
}

#endif
