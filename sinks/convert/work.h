/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_WORK_H
#define TD_CONVERT_WORK_H

#include "sinks/convert/format.h"
#include "sinks/convert/job.h"
#include "sinks/convert/raw_form.h"

/* What every job of a run has in common. */
struct work_conf {
	const struct format *format;
	const struct raw_form *raw; /* of plain inputs; NULL: they say it themselves */
	uint32_t rate, channels;    /* 0: as the input */
};

struct work_result {
	uint64_t samples; /* per channel, of the input */
	uint32_t rate;    /* of the input */
	bool copied;      /* not encoded again */
	bool deletable;   /* read completely, unchanged, and the output was checked */
};

/* What a job is worked on with: started is called when it is known what it is. */
struct work_observer {
	struct witness witness;
	void (*started)(void *user, uint64_t total, uint32_t rate);
};

/*
 * Does one job from its inputs to an output that is on the disk, checked, and has its name. On an
 * error there is no output. One thread; everything is freed.
 */
int work_run(const struct job *job, const struct work_conf *conf,
	const struct work_observer *observer, struct work_result *ret, struct fault *fault);

#endif
