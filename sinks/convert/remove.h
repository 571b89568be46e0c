/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_REMOVE_H
#define TD_CONVERT_REMOVE_H

#include "sinks/convert/plan.h"

/*
 * --delete: the inputs of a job that went well, with the description beside raw ones, once every
 * job of its group has: so a session stays whole or goes as a whole, but for session.json. Inputs
 * that were damaged or changed while they were read, and those of outputs nobody can check, stay.
 */
typedef void remove_tell_fn(void *user, const char *path, const char *problem);

/* A job of the plan has ended. tell: for every file, problem NULL when it is gone. */
void remove_inputs(const struct plan *plan, const struct job *ended, remove_tell_fn *tell,
	void *user);

#endif
