/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_JOB_H
#define TD_CONVERT_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/*
 * What becomes one output: a track, or for a mixdown all tracks of a session. A track is files that
 * follow each other; a plain file is a track of one. Positions are samples at 48 kHz since the
 * start of the session. Everything here is planned before the first worker starts, and then only
 * looked at.
 */
#define JOB_TO_END UINT64_MAX

struct job_part {
	const char *path;
	uint64_t position;
	uint64_t samples; /* at 48 kHz, as its manifest says; JOB_TO_END: what the file has */
};

/* Silence of a session that is not in the files. */
struct job_cut {
	uint64_t position, samples;
};

struct job_track {
	struct job_part *parts;
	struct job_cut *cuts;
	size_t part_count, cut_count;
};

enum job_state { JOB_PLANNED, JOB_SKIPPED, JOB_REFUSED, JOB_STARTED, JOB_DONE, JOB_FAILED };

struct job {
	const char *input;         /* as it is called for the user */
	const char *folder, *name; /* of the output; folder NULL: standard output */
	const char *output;        /* folder and name together, for the user; "-" */
	struct job_track *tracks;
	size_t track_count;
	bool mix;
	bool session;              /* files of a session, not to be followed through links */
	const char *title, *album; /* NULL: what the input says */
	uint64_t start_utc_ns;     /* of position 0; 0: what the input says */
	unsigned group;            /* inputs are deleted when all jobs of a group went well */
	uint64_t cost;             /* roughly how much work, in bytes of 16 bit samples */
	struct timespec newest;    /* change of its inputs, as planned */

	/* the parent's */
	enum job_state state;
	const char *reason;      /* of JOB_SKIPPED, JOB_REFUSED, JOB_FAILED */
	bool deletable;          /* inputs read completely, output checked */
	bool copied;             /* not encoded again */
	uint64_t samples, total; /* of the input, done and expected */
	uint32_t rate;           /* of the input; 0: not known yet */
	unsigned warnings;
};

#endif
