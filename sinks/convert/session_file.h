/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_SESSION_FILE_H
#define TD_CONVERT_SESSION_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sinks/convert/arena.h"
#include "sinks/convert/fault.h"
#include "sinks/convert/job.h"

/* What session.json (docs/session.md) says about files. Untrusted. */
#define SESSION_FILE "session.json"
enum { SESSION_TRACKS_MAX = 10000, SESSION_PARTS_MAX = 100000, SESSION_FILE_MAX = 64 << 20 };
#define SESSION_POSITION_MAX (UINT64_C(1) << 40) /* 265 days */

struct session_track {
	struct job_track track; /* paths begin with the folder */
	const char *stem;       /* for names of outputs */
	const char *title;      /* the speaker */
	const char *bad;        /* what is wrong with it; NULL: nothing */
	const char *format;     /* of its files */
	const char *speaker;    /* the same for all recordings of one sound */
};

struct session_file {
	bool complete;
	uint64_t start_utc_ns; /* 0: not known */
	uint64_t samples;
	struct session_track *tracks;
	size_t track_count;
};

/* text: of session.json in `folder`. TD_ERR_MALFORMED, TD_ERR_LIMIT. Everything is the arena's. */
int session_file_parse(struct session_file *ret, struct arena *arena, const char *folder,
	const char *text, size_t len, struct fault *fault);

/* TD_ERR_IO, too. */
int session_file_read(struct session_file *ret, struct arena *arena, const char *folder,
	struct fault *fault);

#endif
