/* SPDX-License-Identifier: ISC */

/*
 * receiver, from start to end:
 *
 *  1 no core, no dump        5 the out folder is there and can be written
 *  2 command line; no root   6 lanes: unpacker processes and their threads
 *  3 log, progress, events   7 the calls, or the capture
 *  4 capture and keys read   8 loop until all is done; close files; the table
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "receiver/console.h"
#include "receiver/events.h"
#include "receiver/harden.h"
#include "receiver/live.h"
#include "receiver/options.h"
#include "receiver/recorder.h"
#include "receiver/replay.h"

enum { PROGRESS_MS = 250 };

struct receiver {
	struct options options;
	struct console *console;
	struct events *events;
	uv_loop_t loop;
	uv_async_t interrupted;
	uv_timer_t progress;
	struct recorder *recorder;
	struct live *live;     /* --join, or ... */
	struct replay *replay; /* ... --replay */
};

/* ---- what the loop brings ---- */

static void stop(struct receiver *r)
{
	if (r->live != NULL)
		live_stop(r->live);
	if (r->replay != NULL)
		replay_stop(r->replay);
}

/* SIGINT and SIGTERM: the first one stops us by the loop; the second one leaves at once, whatever
 * we are waiting for. Files are valid at every moment. */
static volatile sig_atomic_t signals;
static uv_async_t *_Atomic interrupted; /* NULL: there is no loop to tell */

static void on_signal(int number)
{
	uv_async_t *async = atomic_load(&interrupted);

	(void)number;
	if (signals++ > 0)
		_exit(EXIT_AT_ONCE);
	if (async != NULL)
		uv_async_send(async);
}

static void on_interrupted(uv_async_t *async)
{
	log_info("stopping; once more to leave at once");
	stop(async->data);
}

static void on_progress(uv_timer_t *timer)
{
	struct receiver *r = timer->data;
	uint64_t totals[COUNTER_COUNT], samples, seconds, due;
	unsigned files;
	char text[160];

	recorder_totals(r->recorder, totals, &samples, &files);
	seconds = samples / TD_RATE;
	due = totals[COUNTER_RECEIVED] + totals[COUNTER_LOST];
	snprintf(text, sizeof(text),
		"%" PRIu64 " packets  audio %02" PRIu64 ":%02" PRIu64 ":%02" PRIu64
		"  %u files  loss %.2f %%",
		totals[COUNTER_RECEIVED], seconds / 3600, seconds / 60 % 60, seconds % 60, files,
		due > 0 ? 100.0 * (double)totals[COUNTER_LOST] / (double)due : 0.0);
	console_progress(r->console, text);
}

static void on_session_opened(void *user, uint64_t conn, int result)
{
	struct receiver *r = user;

	if (r->live != NULL)
		live_session_opened(r->live, conn, result);
	else
		replay_session_opened(r->replay, result);
}

static void on_session_closed(void *user, uint64_t conn, int result)
{
	struct receiver *r = user;

	(void)result; /* the recorder keeps it */
	if (r->live != NULL)
		live_session_closed(r->live, conn);
	else
		replay_session_closed(r->replay);
}

static void on_failing(void *user, uint64_t conn, uint64_t user_id)
{
	struct receiver *r = user;

	if (r->live != NULL)
		live_failing(r->live, conn, user_id);
}

static void on_catch_up(void *user)
{
	struct receiver *r = user;

	if (r->live != NULL)
		live_catch_up(r->live);
}

static void on_drained(void *user)
{
	struct receiver *r = user;

	if (r->replay != NULL)
		replay_drained(r->replay);
}

static void on_disk_full(void *user)
{
	struct receiver *r = user;

	if (r->live != NULL)
		live_disk_full(r->live);
	else
		replay_disk_full(r->replay);
}

static void on_broken(void *user, uint64_t conn)
{
	struct receiver *r = user;

	if (r->live != NULL)
		live_broken(r->live, conn);
	else
		replay_stop(r->replay);
}

/* ---- start and end ---- */

/* libuv aborts where it gets no memory, without a word. */
static void *or_say(void *p, size_t n)
{
	if (p == NULL && n > 0)
		console_out_of_memory();
	return p;
}

static void *uv_malloc(size_t n)
{
	return or_say(malloc(n), n);
}

static void *uv_calloc(size_t n, size_t size)
{
	return or_say(calloc(n, size), n * size);
}

static void *uv_realloc(void *p, size_t n)
{
	return or_say(realloc(p, n), n);
}

/* A descriptor a track, a few a call: as many as we may have. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void watch_signals(struct receiver *r)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	uv_async_init(&r->loop, &r->interrupted, on_interrupted);
	uv_timer_init(&r->loop, &r->progress);
	r->interrupted.data = r->progress.data = r;
	atomic_store(&interrupted, &r->interrupted);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (console_has_progress(r->console))
		uv_timer_start(&r->progress, on_progress, PROGRESS_MS, PROGRESS_MS);
}

/* Everything up to the running loop: -1, or the exit status, the reason logged. */
static int begin(struct receiver *r)
{
	struct recorder_conf conf = { .loop = &r->loop,
		.options = &r->options,
		.events = r->events,
		.console = r->console,
		.live = r->options.join != NULL,
		.session_opened = on_session_opened,
		.session_closed = on_session_closed,
		.failing = on_failing,
		.disk_full = on_disk_full,
		.catch_up = on_catch_up,
		.drained = on_drained,
		.broken = on_broken,
		.user = r };
	char err[512];
	int status;

	if (r->options.replay != NULL &&
		(status = replay_new(&r->replay, &r->options, r->events)) >= 0)
		return status;
	if (sink_out_prepare(r->options.out, err, sizeof(err)) != TD_OK ||
		sink_out_has_room(r->options.out, r->options.min_free, err, sizeof(err)) != TD_OK ||
		recorder_new(&r->recorder, &conf, err, sizeof(err)) != TD_OK) {
		log_error("%s", err);
		return EXIT_FAILED;
	}
	if (r->replay != NULL)
		return replay_start(r->replay, &r->loop, r->recorder);
	return live_new(&r->live, &r->loop, &r->options, r->recorder, r->events);
}

static int run(struct receiver *r)
{
	int status = begin(r);

	if (status >= 0)
		return status;
	uv_run(&r->loop, UV_RUN_DEFAULT);
	status = r->live != NULL ? live_status(r->live) : replay_status(r->replay);
	if (status == EXIT_DONE && recorder_failed(r->recorder))
		status = EXIT_FAILED;
	return status;
}

static void end(struct receiver *r)
{
	uv_timer_stop(&r->progress);
	console_progress(r->console, "");
	if (r->recorder != NULL)
		recorder_print_tracks(r->recorder);
	live_end(r->live);
	replay_free(r->replay);
	recorder_free(r->recorder);
	atomic_store(&interrupted, NULL);
	uv_close((uv_handle_t *)&r->interrupted, NULL);
	uv_close((uv_handle_t *)&r->progress, NULL);
	uv_run(&r->loop, UV_RUN_DEFAULT);
	live_free(r->live);
}

int main(int argc, char **argv)
{
	struct receiver *r = calloc(1, sizeof(*r));
	struct console_conf console;
	int status = EXIT_FAILED;

	harden();
	uv_replace_allocator(uv_malloc, uv_realloc, uv_calloc, free);
	if (r == NULL || sodium_init() < 0 || uv_loop_init(&r->loop) != 0) {
		fprintf(stderr, "%s: cannot start: out of memory\n", program_invocation_short_name);
		return EXIT_FAILED;
	}
	if ((status = options_parse(&r->options, argc, argv)) >= 0)
		goto out;
	status = EXIT_FAILED;
	console = (struct console_conf){ .json = r->options.log_json,
		.quiet = r->options.quiet,
		.debug = r->options.verbose };
	if (console_new(&r->console, &console) != TD_OK ||
		(r->options.events && events_new(&r->events) != TD_OK)) {
		fprintf(stderr, "%s: cannot start: out of memory\n", program_invocation_short_name);
		goto out;
	}
	raise_descriptors();
	watch_signals(r);
	status = run(r);
	end(r);
out:
	uv_loop_close(&r->loop);
	events_free(r->events);
	console_free(r->console);
	options_free(&r->options);
	free(r);
	return status;
}
