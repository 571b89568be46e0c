/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_REEL_H
#define TD_CONVERT_REEL_H

#include <stdbool.h>
#include <stdint.h>

#include "sinks/convert/job.h"
#include "sinks/convert/source.h"

/*
 * A track read from start to end: its parts one after the other, each at its place, silence where
 * there is none. `restored`: silence that was left out of the files is put back, so a sample is
 * where it was in the session.
 */
struct reel;

struct reel_conf {
	const struct job_track *track;
	const struct raw_form *raw; /* as of source_conf */
	unsigned input_flags;
	bool restored;
	const struct witness *witness; /* borrowed for as long as the reel lives */
};

/* Opens the first part, which decides rate and channels. Errors as of source_open(), with the file
 * named when there are several. */
int reel_open(struct reel **ret, const struct reel_conf *conf, struct fault *fault);
void reel_free(struct reel *r);

/* samples: of the whole reel; SOURCE_UNKNOWN: shows at the end. */
const struct source_info *reel_info(const struct reel *r);
/* The part that is open now; NULL: none. */
const struct source *reel_source(const struct reel *r);

/* As source_read(). */
int reel_read(struct reel *r, int16_t *pcm, uint32_t max, uint64_t *ret_n, bool *ret_silent,
	struct fault *fault);

/* The worst that happened to a part so far, the one that is open included. */
enum source_end reel_finish(struct reel *r);

/* The newest change of what was read so far. */
struct timespec reel_newest(const struct reel *r);

#endif
