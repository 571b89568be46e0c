/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_FEED_H
#define TD_CONVERT_FEED_H

#include "sinks/convert/mixer.h"

/*
 * The sound of a job, one track or the mix of all. A mix is read twice: once for its peak, which
 * decides how much quieter it has to be so that no sample is out of range.
 */
struct feed;

/* Errors as of reel_open() and mixer_open(). job and witness are borrowed for as long as it lives.
 */
int feed_open(struct feed **ret, const struct job *job, const struct raw_form *raw,
	const struct witness *witness, struct fault *fault);
void feed_free(struct feed *f);

const struct source_info *feed_info(const struct feed *f);
/* The only file of the job, still open; NULL: there are several. */
const struct source *feed_source(const struct feed *f);

/* Before the first feed_read() of a mix: finds its peak. ceiling: what the loudest sample may be.
 * Nothing to do for a track. */
int feed_measure(struct feed *f, uint32_t ceiling, struct fault *fault);

/* As source_read(). */
int feed_read(struct feed *f, int16_t *pcm, uint32_t max, uint64_t *ret_n, bool *ret_silent,
	struct fault *fault);
enum source_end feed_finish(struct feed *f);
struct timespec feed_newest(const struct feed *f);

#endif
