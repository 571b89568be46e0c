/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_POOL_H
#define TD_CONVERT_POOL_H

#include "sinks/convert/job.h"
#include "sinks/convert/work.h"

/*
 * Worker processes, each with one job at a time. One that dies costs the input it was at, and is
 * replaced. They end with this process, however that ends.
 */
enum pool_what { POOL_STARTED, POOL_PROGRESS, POOL_WARNING, POOL_ENDED };

struct pool_conf {
	const struct work_conf *work;
	unsigned workers;
	/* Tells of a job whose members have changed: its state is JOB_STARTED, or at POOL_ENDED
	 * JOB_DONE or JOB_FAILED. text: of the warning, or why it failed; borrowed. */
	void (*tell)(void *user, struct job *job, enum pool_what what, const char *text);
	/* A few times a second. */
	void (*tick)(void *user);
	void *user;
};

/* Does all of them, in this order. TD_ERR_STATE: SIGINT, SIGTERM or SIGHUP came; every worker is
 * gone and nothing half written is left. TD_ERR_SYS: there can be no worker at all; errno. */
int pool_run(struct job *const *jobs, size_t count, const struct pool_conf *conf);

#endif
