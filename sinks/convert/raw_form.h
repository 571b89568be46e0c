/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_RAW_FORM_H
#define TD_CONVERT_RAW_FORM_H

#include <stddef.h>
#include <stdint.h>

#include "sinks/convert/fault.h"

/* What raw samples are. */
enum raw_format { RAW_S16LE, RAW_S16BE, RAW_F32LE, RAW_U8, RAW_S24LE, RAW_S32LE };
enum { RAW_RATE_MIN = 8000, RAW_RATE_MAX = 192000, RAW_CHANNELS_MAX = 2, RAW_JSON_MAX = 65536 };

struct raw_form {
	uint32_t rate, channels;
	enum raw_format format;
};

/* Bytes of one sample of every channel. */
uint32_t raw_form_frame(const struct raw_form *form);

/* "48000:2:s16le", as --raw has it. TD_ERR_USAGE. */
int raw_form_parse(struct raw_form *ret, const char *text, struct fault *fault);

/* What is written beside captured samples (sinks/pcm.h says what). Texts are cut where they do not
 * fit. */
struct raw_about {
	struct raw_form form;
	uint64_t samples;      /* UINT64_MAX: it does not say */
	uint64_t start_utc_ns; /* 0: not known */
	char title[256], album[256];
};

/* Untrusted. TD_ERR_MALFORMED, TD_ERR_UNSUPPORTED. */
int raw_form_json(struct raw_about *ret, const char *text, size_t len, struct fault *fault);

/* len samples of all channels together: rounded to 16 bit, too loud saturates, NaN is silence. */
void raw_form_samples(int16_t *out, const uint8_t *in, size_t len, enum raw_format format);

/* "2026-01-02T03:04:05.678901Z"; the fraction may be missing. 0: it is not one. */
uint64_t utc_parse(const char *text);

/* One sample of floating point, full scale 1. */
int16_t raw_form_float(float x);

#endif
