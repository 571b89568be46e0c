/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_REPORT_H
#define TD_CONVERT_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "sinks/convert/job.h"

/*
 * What the user sees: on a terminal a line that moves, else a line per file, both on standard
 * error; or JSON lines on standard output (docs/convert.md describes them). At the end what failed
 * is named once more.
 */
struct report;

struct report_conf {
	const char *program;
	bool json, quiet, verbose;
	bool terminal; /* standard error is one */
	int width;     /* of the terminal; 0: ask it */
};

/* jobs: all of a run, those that are not done included. TD_ERR_NOMEM. */
int report_new(struct report **ret, const struct report_conf *conf, const struct job *jobs,
	size_t count);
void report_free(struct report *r);

void report_started(struct report *r, const struct job *job);
void report_progress(struct report *r, const struct job *job);
void report_warning(struct report *r, const char *input, const char *text);
/* Its state says how: JOB_DONE, JOB_SKIPPED, JOB_REFUSED, JOB_FAILED (its reason why). */
void report_ended(struct report *r, const struct job *job);
void report_deleted(struct report *r, const char *path);
void report_tick(struct report *r);

/* The last words. Returns how many failed. */
size_t report_end(struct report *r, bool interrupted);

/* The line that moves, for width columns: how much is done of how much, in whatever unit cost is.
 */
struct report_state {
	size_t files, all_files;
	double cost, all_cost; /* work done, of all */
	double sound, elapsed; /* seconds converted, seconds since the start */
};
void report_line(char *ret, size_t len, const struct report_state *state, int width);

#endif
