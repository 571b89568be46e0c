/* SPDX-License-Identifier: ISC */
#include "sinks/convert/raw_form.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/err.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "s16le is taken as it is");

static const uint32_t widths[] = {
	[RAW_S16LE] = 2,
	[RAW_S16BE] = 2,
	[RAW_F32LE] = 4,
	[RAW_U8] = 1,
	[RAW_S24LE] = 3,
	[RAW_S32LE] = 4,
};

uint32_t raw_form_frame(const struct raw_form *form)
{
	return widths[form->format] * form->channels;
}

/* The formats that have names. */
static bool format_parse(enum raw_format *ret, const char *name)
{
	static const char *const names[] = { "s16le", "s16be", "f32le" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], name) == 0) {
			*ret = (enum raw_format)i;
			return true;
		}
	}
	return false;
}

/* A number of digits only, up to and including the character `end`. */
static bool number_parse(uint32_t *ret, const char **text, char end)
{
	uint32_t n = 0;
	const char *p = *text;

	for (; *p >= '0' && *p <= '9' && n < 100000000; p++)
		n = n * 10 + (uint32_t)(*p - '0');
	if (p == *text || *p != end)
		return false;
	*text = p + 1;
	*ret = n;
	return true;
}

static int form_check(const struct raw_form *form, int r, const char *what, struct fault *fault)
{
	if (form->rate < RAW_RATE_MIN || form->rate > RAW_RATE_MAX)
		return fault_set(fault, r, "%srate %" PRIu32 " is not from %d to %d", what,
			form->rate, RAW_RATE_MIN, RAW_RATE_MAX);
	if (form->channels < 1 || form->channels > RAW_CHANNELS_MAX)
		return fault_set(fault, r, "%s%" PRIu32 " channels; there can be 1 or 2", what,
			form->channels);
	return TD_OK;
}

int raw_form_parse(struct raw_form *ret, const char *text, struct fault *fault)
{
	struct raw_form form;
	const char *p = text;
	int r;

	if (!number_parse(&form.rate, &p, ':') || !number_parse(&form.channels, &p, ':') ||
		!format_parse(&form.format, p))
		return fault_set(fault, TD_ERR_USAGE,
			"not RATE:CHANNELS:FORMAT with s16le, s16be or f32le, as 48000:2:s16le");
	if ((r = form_check(&form, TD_ERR_USAGE, "", fault)) == TD_OK)
		*ret = form;
	return r;
}

/* A whole number from 0 on; UINT64_MAX: it is none. */
static uint64_t json_count(const json_t *v)
{
	return json_is_integer(v) && json_integer_value(v) >= 0 ? (uint64_t)json_integer_value(v)
								: UINT64_MAX;
}

static void json_text(char *ret, size_t len, const json_t *v)
{
	snprintf(ret, len, "%s", json_is_string(v) ? json_string_value(v) : "");
}

int raw_form_json(struct raw_about *ret, const char *text, size_t len, struct fault *fault)
{
	struct raw_about about = { .samples = UINT64_MAX };
	json_t *json = NULL;
	json_error_t e;
	uint64_t rate, channels;
	const char *format;
	int r = TD_ERR_MALFORMED;

	if ((json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e)) == NULL) {
		fault_set(fault, r, "line %d: %s", e.line, e.text);
		goto out;
	}
	format = json_string_value(json_object_get(json, "format"));
	rate = json_count(json_object_get(json, "rate"));
	channels = json_count(json_object_get(json, "channels"));
	if (format == NULL || rate > UINT32_MAX || channels > UINT32_MAX) {
		fault_set(fault, r, "needs format, rate and channels");
		goto out;
	}
	if (!format_parse(&about.form.format, format)) {
		r = fault_set(fault, TD_ERR_UNSUPPORTED,
			"format '%.20s' is not s16le, s16be or f32le", format);
		goto out;
	}
	about.form.rate = (uint32_t)rate;
	about.form.channels = (uint32_t)channels;
	if ((r = form_check(&about.form, TD_ERR_UNSUPPORTED, "", fault)) < 0)
		goto out;
	about.samples = json_count(json_object_get(json, "samples"));
	json_text(about.title, sizeof(about.title), json_object_get(json, "title"));
	json_text(about.album, sizeof(about.album), json_object_get(json, "album"));
	if (json_is_string(json_object_get(json, "start")))
		about.start_utc_ns = utc_parse(json_string_value(json_object_get(json, "start")));
	*ret = about;
out:
	json_decref(json);
	return r;
}

int16_t raw_form_float(float x)
{
	x *= 32768.0f;
	/* NaN fails every comparison. */
	if (!(x < 32767.0f))
		return x >= 32767.0f ? INT16_MAX : 0;
	return x > -32768.0f ? (int16_t)lrintf(x) : INT16_MIN;
}

/* The upper 16 of 32 bits, rounded. */
static int16_t narrow(int32_t x)
{
	return x >= INT32_MAX - 0x7fff ? INT16_MAX : (int16_t)((x + 0x8000) >> 16);
}

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

void raw_form_samples(int16_t *out, const uint8_t *in, size_t len, enum raw_format format)
{
	switch (format) {
	case RAW_S16LE:
		if (len > 0)
			memcpy(out, in, 2 * len);
		break;
	case RAW_S16BE:
		for (size_t i = 0; i < len; i++)
			out[i] = (int16_t)(in[2 * i] << 8 | in[2 * i + 1]);
		break;
	case RAW_F32LE:
		for (size_t i = 0; i < len; i++) {
			uint32_t bits = le32(in + 4 * i);
			float x;

			memcpy(&x, &bits, sizeof(x));
			out[i] = raw_form_float(x);
		}
		break;
	case RAW_U8:
		for (size_t i = 0; i < len; i++)
			out[i] = (int16_t)((in[i] - 128) * 256);
		break;
	case RAW_S24LE:
		for (size_t i = 0; i < len; i++)
			out[i] = narrow((int32_t)((uint32_t)in[3 * i + 2] << 24 |
				(uint32_t)in[3 * i + 1] << 16 | (uint32_t)in[3 * i] << 8));
		break;
	case RAW_S32LE:
		for (size_t i = 0; i < len; i++)
			out[i] = narrow((int32_t)le32(in + 4 * i));
		break;
	}
}

uint64_t utc_parse(const char *text)
{
	uint64_t ns = 0, unit = TD_SEC_NS / 10;
	struct tm tm = { 0 };
	const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	time_t at;

	if (p == NULL)
		return 0;
	if (*p == '.') {
		for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
			ns += (uint64_t)(*p - '0') * unit;
	}
	/* Up to the year 2262: nanoseconds fit into 63 bits. */
	if (strcmp(p, "Z") != 0 || (at = timegm(&tm)) < 0 || (uint64_t)at > INT64_MAX / TD_SEC_NS)
		return 0;
	return (uint64_t)at * TD_SEC_NS + ns;
}
