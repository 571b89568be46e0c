/* SPDX-License-Identifier: ISC */
#include "sinks/file_conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/file_name.h"
#include "sinks/registry.h"

enum { SPLIT_TEXT_MAX = 20, NAME_MAX_LEN = 128, SILENCE_MAX_S = 86400 };
/* Smaller parts are a slip of the pen: a header alone may be a kilobyte. */
#define SPLIT_BYTES_MIN (UINT64_C(64) << 10)
#define SPLIT_BYTES_MAX (UINT64_C(1) << 50)
#define SPLIT_SECONDS_MAX UINT64_C(31536000)

enum option {
	OPTION_FORMAT,
	OPTION_CHANNELS,
	OPTION_RATE,
	OPTION_SPLIT,
	OPTION_MAX_SILENCE,
	OPTION_NAME,
	OPTION_COUNT,
};

const struct td_option file_options[] = {
	[OPTION_FORMAT] = { .name = "format",
		.type = TD_OPTION_FORMAT,
		.fallback = "wav",
		.meaning = "of the files" },
	[OPTION_CHANNELS] = { .name = "channels",
		.type = TD_OPTION_NUMBER,
		.fallback = "2",
		.min = 1,
		.max = 2,
		.meaning = "of each file" },
	[OPTION_RATE] = { .name = "rate",
		.type = TD_OPTION_NUMBER,
		.fallback = "48000",
		.min = 8000,
		.max = 192000,
		.meaning = "samples per second" },
	[OPTION_SPLIT] = { .name = "split",
		.type = TD_OPTION_TEXT,
		.fallback = "",
		.max = SPLIT_TEXT_MAX,
		.meaning = "a new part every so many seconds, or after so many bytes (k, M, G)" },
	[OPTION_MAX_SILENCE] = { .name = "max-silence",
		.type = TD_OPTION_NUMBER,
		.fallback = "",
		.min = 1,
		.max = SILENCE_MAX_S,
		.meaning = "seconds that are left of a longer pause" },
	[OPTION_NAME] = { .name = "name",
		.type = TD_OPTION_TEXT,
		.fallback = "{user}",
		.min = 1,
		.max = NAME_MAX_LEN,
		.meaning = "of each file, with {user}, {ssrc}, {session}, {start}, {format}" },
	[OPTION_COUNT] = { .name = NULL },
};

/* A whole number and at most one letter; 0: neither. */
static uint64_t split_number(const char *text, char *ret_unit)
{
	uint64_t n = 0;
	const char *p;

	for (p = text; *p >= '0' && *p <= '9' && n <= SPLIT_BYTES_MAX; p++)
		n = n * 10 + (uint64_t)(*p - '0');
	*ret_unit = *p;
	return *p == '\0' || p[1] == '\0' ? n : 0;
}

static int read_split(struct file_conf *conf, const char *text, char *err, size_t err_len)
{
	char unit;
	uint64_t n = split_number(text, &unit);
	unsigned shift = unit == 'k' ? 10 : unit == 'M' ? 20 : unit == 'G' ? 30 : 0;

	if (text[0] == '\0')
		return TD_OK;
	if (unit == '\0' && n >= 1 && n <= SPLIT_SECONDS_MAX) {
		conf->split_seconds = n;
		return TD_OK;
	}
	if (shift > 0 && n <= SPLIT_BYTES_MAX >> shift && n << shift >= SPLIT_BYTES_MIN) {
		conf->split_bytes = n << shift;
		return TD_OK;
	}
	snprintf(err, err_len,
		"split is a number of seconds (600), or a size of at least 64k (500k, 25M, 2G)");
	return TD_ERR_USAGE;
}

static int check_writer(const struct file_conf *conf, char *err, size_t err_len)
{
	const struct td_writer_conf w = { .size = sizeof(w),
		.source = conf->source,
		.channels = conf->channels,
		.rate = conf->rate,
		.options = conf->writer_options };

	if (conf->source == TD_WANT_OPUS && conf->rate != TD_RATE) {
		snprintf(err, err_len, "%s keeps what was received, which has a rate of %d",
			conf->writer->name, TD_RATE);
		return TD_ERR_USAGE;
	}
	return conf->writer->check(&w, err, err_len);
}

int file_conf_read(struct file_conf *ret, const char *const *options, char *err, size_t err_len)
{
	const char *silence = options[2 * OPTION_MAX_SILENCE + 1];
	struct file_conf conf = {
		.writer = registry_writer(options[2 * OPTION_FORMAT + 1]),
		.writer_options = options + 2 * (size_t)OPTION_COUNT,
		.channels = (uint32_t)strtoul(options[2 * OPTION_CHANNELS + 1], NULL, 10),
		.rate = (uint32_t)strtoul(options[2 * OPTION_RATE + 1], NULL, 10),
		.max_silence =
			silence[0] != '\0' ? strtoull(silence, NULL, 10) * TD_RATE : FILE_KEEP_ALL,
		.name = options[2 * OPTION_NAME + 1],
	};
	int r;

	if (conf.writer == NULL) {
		snprintf(err, err_len, "there is no format '%.20s'",
			options[2 * OPTION_FORMAT + 1]);
		return TD_ERR_USAGE;
	}
	conf.source = (conf.writer->takes & TD_WANT_OPUS) != 0 ? TD_WANT_OPUS : TD_WANT_PCM;
	if ((r = read_split(&conf, options[2 * OPTION_SPLIT + 1], err, err_len)) < 0)
		return r;
	if ((r = file_name_check(conf.name, err, err_len)) < 0)
		return r;
	if ((r = check_writer(&conf, err, err_len)) < 0)
		return r;
	*ret = conf;
	return TD_OK;
}
