/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_PLAN_H
#define TD_CONVERT_PLAN_H

#include "sinks/convert/arena.h"
#include "sinks/convert/args.h"
#include "sinks/convert/job.h"

/*
 * From inputs to jobs, before anything is done: what is in folders and sessions, what every output
 * is called, which of them are up to date, are inputs themselves, or are the output of another
 * input. What cannot be converted is a job that is JOB_REFUSED, with its reason.
 */
struct plan {
	struct arena arena;
	struct job *jobs; /* in the order of the inputs */
	size_t count, room;
	unsigned groups;
};

/* note: something about an input that stops nothing. */
typedef void plan_note_fn(void *user, const char *input, const char *text);

void plan_make(struct plan *ret, const struct args *args, plan_note_fn *note, void *user);
void plan_free(struct plan *p);

/* The jobs to do, most work first: so all workers are busy to the end. The array is the arena's. */
struct job **plan_order(struct plan *p, size_t *ret_count);

#endif
