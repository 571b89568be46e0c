/* SPDX-License-Identifier: ISC */
#include "sinks/convert/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sinks/convert/plan_add.h"

struct job *planner_job(struct planner *p, const char *input, const char *folder, const char *name)
{
	struct plan *plan = p->plan;
	struct job *job;

	if (plan->count == plan->room) {
		size_t room = plan->room > 0 ? 2 * plan->room : 64;
		struct job *jobs = arena_zeroed(&plan->arena, room * sizeof(*jobs));

		if (plan->count > 0)
			memcpy(jobs, plan->jobs, plan->count * sizeof(*jobs));
		plan->jobs = jobs;
		plan->room = room;
	}
	job = &plan->jobs[plan->count++];
	job->input = arena_copy(&plan->arena, input);
	job->group = plan->groups;
	job->name = name != NULL ? arena_copy(&plan->arena, name) : NULL;
	job->folder = folder != NULL ? arena_copy(&plan->arena, folder) : NULL;
	if (name == NULL)
		job->output = NULL;
	else if (folder == NULL)
		job->output = "-";
	else if (strcmp(folder, ".") == 0)
		job->output = job->name;
	else
		job->output = arena_format(&plan->arena, "%s%s%s", folder,
			folder[strlen(folder) - 1] == '/' ? "" : "/", name);
	return job;
}

void planner_refuse(struct planner *p, struct job *job, const char *fmt, ...)
{
	struct fault line;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line.text, sizeof(line.text), fmt, ap);
	va_end(ap);
	fault_clean(line.text);
	job->reason = arena_copy(&p->plan->arena, line.text);
	job->state = JOB_REFUSED;
}

void plan_make(struct plan *ret, const struct args *args, plan_note_fn *note, void *user)
{
	struct planner p = { ret, args, note, user, false };

	*ret = (struct plan){ 0 };
	for (size_t i = 0; i < args->input_count; i++) {
		planner_input(&p, args->inputs[i]);
		ret->groups++;
	}
	planner_clashes(&p);
}

void plan_free(struct plan *p)
{
	arena_free(&p->arena);
}

static int by_cost(const void *left, const void *right)
{
	const struct job *const *a = left, *const *b = right;

	if ((*a)->cost != (*b)->cost)
		return (*a)->cost > (*b)->cost ? -1 : 1;
	return *a < *b ? -1 : *a > *b;
}

struct job **plan_order(struct plan *p, size_t *ret_count)
{
	struct job **order = arena_zeroed(&p->arena, (p->count + 1) * sizeof(struct job *));
	size_t n = 0;

	for (size_t i = 0; i < p->count; i++) {
		if (p->jobs[i].state == JOB_PLANNED)
			order[n++] = &p->jobs[i];
	}
	if (n > 0)
		qsort(order, n, sizeof(struct job *), by_cost);
	*ret_count = n;
	return order;
}
