/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_FILE_NAME_H
#define TD_SINKS_FILE_NAME_H

#include <stddef.h>
#include <stdint.h>

/*
 * What a file of a track is called: the template of the option name, filled in, then "-2", "-3",
 * ... when that is taken, "-001", "-002", ... for parts, and the ending of the format.
 *
 * A template may hold {user}, {ssrc}, {session}, {start} and {format}. Whatever comes out, every
 * character outside [A-Za-z0-9._-] is "_", the first one is no dot, and no name is one of those
 * that the session's own files have.
 */
enum { FILE_STEM_MAX = 161, FILE_NAME_MAX = 216 }; /* bytes, NUL included */

struct file_name_fields {
	uint64_t user_id; /* 0: not known; then {user} is "ssrc-<n>" */
	uint32_t ssrc;
	const char *session;
	uint64_t start_utc_ns;
	const char *format;
};

/* TD_ERR_USAGE and one line in err: an unknown field, a brace that is left open. Any thread. */
int file_name_check(const char *template, char *err, size_t err_len);

/* The stem, cut off where it is too long. template: one that was checked. */
void file_name_stem(char ret[static FILE_STEM_MAX], const char *template,
	const struct file_name_fields *fields);

/* take: 1, 2, ...; part: 1, 2, ..., 0 for a track that is one file. */
void file_name(char ret[static FILE_NAME_MAX], const char *stem, unsigned take, uint32_t part,
	const char *format);

#endif
