/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_SOURCE_H
#define TD_CONVERT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "sinks/convert/fault.h"
#include "sinks/convert/input.h"
#include "sinks/convert/raw_form.h"

/*
 * Sound that is read from one file: raw samples with a description (given, or in a file beside
 * them), WAV and RF64, FLAC, and whatever else libsndfile reads. Everything in it is untrusted.
 *
 * Samples come out as 16 bit: finer ones are rounded, louder ones saturate, NaN is silence.
 */
struct source;

#define SOURCE_UNKNOWN UINT64_MAX
enum { SOURCE_TEXT = 256 };

struct source_info {
	uint32_t rate, channels;
	uint64_t samples;      /* SOURCE_UNKNOWN: shows at the end */
	const char *lossy;     /* "opus", "mp3": what it is encoded with; NULL: nothing is lost */
	uint64_t start_utc_ns; /* 0: not known */
	char title[SOURCE_TEXT], album[SOURCE_TEXT]; /* "": none */
};

struct source_conf {
	const char *path;           /* "-": standard input */
	const struct raw_form *raw; /* what its samples are; NULL: it says so itself */
	unsigned input_flags;       /* INPUT_NOFOLLOW */
	const struct witness *witness;
};

/* conf is borrowed for as long as the source lives. TD_ERR_IO, TD_ERR_UNSUPPORTED,
 * TD_ERR_MALFORMED, TD_ERR_TRUNCATED (it is empty), TD_ERR_NOMEM. */
int source_open(struct source **ret, const struct source_conf *conf, struct fault *fault);
void source_free(struct source *s);

const struct source_info *source_info(const struct source *s);
/* As it was opened. */
const struct input *source_input(const struct source *s);

/*
 * At most max samples per channel; *ret_n 0: the end. *ret_silent: it is so many samples of
 * silence, possibly hours, and pcm is not written. TD_ERR_IO; TD_ERR_TRUNCATED: the file shrank.
 */
int source_read(struct source *s, int16_t *pcm, uint32_t max, uint64_t *ret_n, bool *ret_silent,
	struct fault *fault);

/* Whether the file has its samples as they come out, s16le. Then source_read() may be given NULL
 * instead of pcm: samples are passed over, and those lie from source_offset() on, as it was before.
 */
bool source_is_plain(const struct source *s);
uint64_t source_offset(const struct source *s);

/* At the end: whether everything that should be there was read, and the file is still as it was.
 * Warns when it is not. */
enum source_end { SOURCE_WHOLE, SOURCE_DAMAGED, SOURCE_CHANGED };
enum source_end source_finish(struct source *s);

/* The file beside raw samples that describes them: NAME.json or, for NAME without its ending,
 * that. TD_ERR_IO: there is none. */
enum { SOURCE_PATH_MAX = 4096 };
int source_beside(char ret[static SOURCE_PATH_MAX], const char *path);

/* Whether this name is one of raw samples. */
bool source_is_raw_name(const char *name);

#endif
