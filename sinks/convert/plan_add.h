/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_PLAN_ADD_H
#define TD_CONVERT_PLAN_ADD_H

#include "sinks/convert/plan.h"

/* The inside of a plan: what is found, then what it clashes with. */
struct planner {
	struct plan *plan;
	const struct args *args;
	plan_note_fn *note;
	void *user;
	bool beside; /* outputs go to where their inputs are */
};

/* A new job, all zero but for these; NULL parts of it mean as in struct job. */
struct job *planner_job(struct planner *p, const char *input, const char *folder, const char *name);
/* It will not be done. */
__attribute__((format(printf, 3, 4))) void planner_refuse(struct planner *p, struct job *job,
	const char *fmt, ...);

/* One INPUT: jobs for everything in it. */
void planner_input(struct planner *p, const char *path);

/* Jobs whose outputs are there already, or must not be written. */
void planner_clashes(struct planner *p);

#endif
