/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/convert/args.h"
#include "sinks/convert/plan.h"
#include "sinks/convert/pool.h"
#include "sinks/convert/remove.h"
#include "sinks/convert/report.h"
#include "sinks/host.h"

struct run {
	struct args args;
	struct plan plan;
	struct report *report;
};

/* What was found while planning waits here for the report, which needs the plan. */
struct note {
	const char *input, *text;
};
struct notes {
	struct run *run;
	struct note *list;
	size_t count, room;
};

static void on_note(void *user, const char *input, const char *text)
{
	struct notes *notes = user;
	struct arena *arena = &notes->run->plan.arena;

	if (notes->count == notes->room) {
		struct note *list;

		notes->room = 2 * notes->room + 16;
		list = arena_zeroed(arena, notes->room * sizeof(*list));
		if (notes->count > 0)
			memcpy(list, notes->list, notes->count * sizeof(*list));
		notes->list = list;
	}
	notes->list[notes->count++] =
		(struct note){ arena_copy(arena, input), arena_copy(arena, text) };
}

static void on_removed(void *user, const char *path, const char *problem)
{
	struct run *run = user;

	if (problem == NULL)
		report_deleted(run->report, path);
	else
		report_warning(run->report, path, problem);
}

static void on_job(void *user, struct job *job, enum pool_what what, const char *text)
{
	struct run *run = user;

	switch (what) {
	case POOL_STARTED:
		report_started(run->report, job);
		break;
	case POOL_PROGRESS:
		report_progress(run->report, job);
		break;
	case POOL_WARNING:
		report_warning(run->report, job->input, text);
		break;
	case POOL_ENDED:
		if (job->state == JOB_FAILED)
			job->reason = arena_copy(&run->plan.arena, text);
		report_ended(run->report, job);
		if (run->args.delete_inputs)
			remove_inputs(&run->plan, job, on_removed, run);
		break;
	}
}

static void on_tick(void *user)
{
	struct run *run = user;

	report_tick(run->report);
}

/* Every track of a mix is open at once. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int convert(struct run *run)
{
	const struct args *args = &run->args;
	const struct work_conf work = {
		.format = &args->format,
		.raw = args->have_raw ? &args->raw : NULL,
		.rate = args->rate,
		.channels = args->channels,
	};
	const struct pool_conf pool = { .work = &work,
		.workers = args->workers,
		.tell = on_job,
		.tick = on_tick,
		.user = run };
	struct job **order;
	size_t count;
	int r;

	for (size_t i = 0; i < run->plan.count; i++) {
		if (run->plan.jobs[i].state != JOB_PLANNED)
			report_ended(run->report, &run->plan.jobs[i]);
	}
	order = plan_order(&run->plan, &count);
	r = pool_run(order, count, &pool);
	if (r == TD_ERR_SYS)
		fprintf(stderr, "%s: no worker can be started: %s\n", args->program,
			strerror(errno));
	if (report_end(run->report, r == TD_ERR_STATE) > 0 && r == TD_OK)
		return CONVERT_SOME;
	return r == TD_OK ? CONVERT_DONE : r == TD_ERR_STATE ? CONVERT_INTERRUPTED : CONVERT_FAILED;
}

static int prepare(struct run *run)
{
	const struct args *args = &run->args;
	const struct report_conf conf = { .program = args->program,
		.json = args->json,
		.quiet = args->quiet,
		.verbose = args->verbose,
		.terminal = isatty(STDERR_FILENO) != 0 };
	struct notes notes = { .run = run };
	char err[512];

	if (args->out != NULL && strcmp(args->out, "-") != 0 &&
		sink_out_prepare(args->out, err, sizeof(err)) < 0) {
		fprintf(stderr, "%s: -o: %s\n", args->program, err);
		return CONVERT_FAILED;
	}
	plan_make(&run->plan, args, on_note, &notes);
	if (report_new(&run->report, &conf, run->plan.jobs, run->plan.count) < 0) {
		fprintf(stderr, "%s: %s\n", args->program, td_strerror(TD_ERR_NOMEM));
		return CONVERT_FAILED;
	}
	for (size_t i = 0; i < notes.count; i++)
		report_warning(run->report, notes.list[i].input, notes.list[i].text);
	return -1;
}

int main(int argc, char **argv)
{
	struct run run = { 0 };
	int status;

	signal(SIGPIPE, SIG_IGN);
	if ((status = args_parse(&run.args, argc, argv)) < 0) {
		raise_file_limit();
		if ((status = prepare(&run)) < 0)
			status = convert(&run);
	}
	report_free(run.report);
	plan_free(&run.plan);
	args_free(&run.args);
	return status;
}
