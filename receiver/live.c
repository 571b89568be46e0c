/* SPDX-License-Identifier: ISC */
#include "receiver/live.h"

#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/log.h"
#include "receiver/call.h"
#include "receiver/control_input.h"
#include "receiver/udp.h"

struct live_call {
	struct live_call *next;
	struct call *call;
};

struct live {
	uv_loop_t *loop;
	const struct options *options;
	struct recorder *recorder;
	struct events *events;
	struct ws_context *ws;
	struct udp_reader *udp;
	struct dave_identity *identity; /* one for all connections of the account */
	struct control_input *input;
	struct live_call *calls;
	uv_timer_t *duration;
	bool bad_input;   /* a line of the file was refused */
	unsigned records; /* of connection info in it */
	bool starting;    /* the file is being read: no end yet */
	bool input_done, stopping;
	int status;
};

/* The guild's call; one that is ending counts no more, its guild may have a new one already. */
static struct call *call_of(struct live *l, uint64_t guild_id)
{
	struct live_call *c;

	for (c = l->calls; c != NULL; c = c->next) {
		if (call_guild(c->call) == guild_id && !call_ending(c->call))
			return c->call;
	}
	return NULL;
}

static void stop_when_done(struct live *l)
{
	if (l->calls == NULL && !l->starting && (l->input_done || l->stopping))
		uv_stop(l->loop);
}

static int verdict_status(enum vgw_verdict verdict)
{
	switch (verdict) {
	case VGW_LEFT:
		return EXIT_DONE;
	case VGW_FAILED:
	case VGW_UNREACHABLE:
		return EXIT_FAILED;
	case VGW_REMOVED:
	case VGW_INFO_NEEDED:
	case VGW_REFUSED:
		break;
	}
	return EXIT_TURNED_AWAY;
}

static void on_call_ended(void *user, struct call *call, enum vgw_verdict verdict)
{
	int status = verdict_status(verdict);
	struct live *l = user;
	struct live_call **at, *c;

	for (at = &l->calls; (*at)->call != call; at = &(*at)->next)
		;
	c = *at;
	*at = c->next;
	free(c);
	call_free(call);
	if (status > l->status)
		l->status = status;
	stop_when_done(l);
}

static void join(struct live *l, const struct connection_info *info)
{
	struct call_conf conf = { .loop = l->loop,
		.recorder = l->recorder,
		.ws = l->ws,
		.udp = l->udp,
		.identity = l->identity,
		.events = l->events,
		.rejoin_timeout_ns = l->input != NULL ? l->options->rejoin_timeout_ns : 0,
		.ended = on_call_ended,
		.user = l };
	struct live_call *c = calloc(1, sizeof(*c));

	if (c == NULL || call_new(&c->call, &conf, info) != TD_OK) {
		log_error("the call cannot be begun");
		free(c);
		return;
	}
	c->next = l->calls;
	l->calls = c;
}

/* ---- control lines ---- */

static void on_control(void *user, const struct control *control)
{
	struct live *l = user;
	struct call *call = call_of(l, control->info.guild_id);

	if (l->stopping)
		return;
	switch (control->type) {
	case CONTROL_INFO:
		if (call != NULL)
			call_new_info(call, &control->info);
		else
			join(l, &control->info);
		return;
	case CONTROL_EXPECT:
		if (call == NULL)
			join(l, &control->info);
		return;
	case CONTROL_VOICE_STATE:
	case CONTROL_VOICE_SERVER:
		if (call != NULL)
			call_dispatch(call, control);
		return;
	case CONTROL_COMMAND:
		if (call != NULL) {
			call_command(call, control->command, control->text);
			return;
		}
		event_emit(l->events, "error", control->info.guild_id, "ss, ss", "command",
			control_command_name(control->command), "message", "no such call");
		log_warn("%s: no such call", control_command_name(control->command));
		return;
	case CONTROL_IGNORED:
		return;
	}
}

static void on_bad(void *user, uint64_t guild_id, const char *why)
{
	struct live *l = user;

	l->bad_input = true;
	log_error("%s: %s", strcmp(l->options->join, "-") == 0 ? "input" : l->options->join, why);
	event_emit(l->events, "error", guild_id, "ss", "message", why);
}

void live_stop(struct live *l)
{
	struct live_call *c, *next;

	l->stopping = true;
	for (c = l->calls; c != NULL; c = next) {
		next = c->next; /* a call without files ends, and is gone, at once */
		call_stop(c->call, "left");
	}
	stop_when_done(l);
}

void live_disk_full(struct live *l)
{
	struct live_call *c, *next;

	if (l->stopping)
		return;
	l->stopping = true;
	for (c = l->calls; c != NULL; c = next) {
		next = c->next;
		call_disk_full(c->call);
	}
	stop_when_done(l);
}

static void on_end(void *user)
{
	struct live *l = user;

	l->input_done = true;
	live_stop(l);
}

/* ---- sessions ---- */

static struct call *call_by_conn(struct live *l, uint64_t conn)
{
	struct live_call *c;

	for (c = l->calls; c != NULL && call_conn(c->call) != conn; c = c->next)
		;
	return c != NULL ? c->call : NULL;
}

static void on_duration(uv_timer_t *timer)
{
	live_stop(timer->data);
}

void live_session_opened(struct live *l, uint64_t conn, int r)
{
	struct call *call = call_by_conn(l, conn);

	/* --duration is of recording: the way there does not count. */
	if (r == TD_OK && l->options->duration_ns > 0 && l->duration->data == NULL) {
		l->duration->data = l;
		uv_timer_start(l->duration, on_duration, l->options->duration_ns / TD_MS_NS, 0);
	}
	if (call != NULL)
		call_session_opened(call, r);
}

void live_session_closed(struct live *l, uint64_t conn)
{
	struct call *call = call_by_conn(l, conn);

	if (call != NULL)
		call_session_closed(call);
}

void live_broken(struct live *l, uint64_t conn)
{
	struct call *call = call_by_conn(l, conn);

	if (call != NULL)
		call_broken(call);
}

void live_failing(struct live *l, uint64_t conn, uint64_t user_id)
{
	struct call *call = call_by_conn(l, conn);

	if (call != NULL)
		call_failing(call, user_id);
}

void live_catch_up(struct live *l)
{
	if (l->udp != NULL)
		udp_reader_catch_up(l->udp);
}

/* ---- life ---- */

static void handle_freed(uv_handle_t *handle)
{
	free(handle);
}

int live_status(const struct live *l)
{
	return l->status;
}

static void random_bytes(void *user, uint8_t *out, size_t len)
{
	(void)user;
	randombytes_buf(out, len);
}

/* The first reading of a file: is there something to join, and nothing else? */
static void on_check(void *user, const struct control *control)
{
	struct live *l = user;

	if (control->type == CONTROL_INFO)
		l->records++;
	else if (control->type != CONTROL_IGNORED)
		on_bad(l, control->info.guild_id, "a file holds connection info alone");
}

/* Everything in the file must make sense before anything is joined, and something must be there. */
static int start_file(struct live *l, const struct control_input_handlers *handlers)
{
	struct control_input_handlers check = *handlers;
	const char *path = l->options->join;
	int r;

	check.control = on_check;
	if ((r = control_input_read_file(path, &check)) == TD_OK && l->bad_input)
		return EXIT_WRONG_USAGE;
	if (r == TD_OK && l->records == 0) {
		log_error("%s: no connection info in it", path);
		return EXIT_WRONG_USAGE;
	}
	l->starting = true;
	if (r == TD_OK)
		r = control_input_read_file(path, handlers);
	l->starting = false;
	l->input_done = true;
	if (r != TD_OK) {
		log_error("%s: %s", path, strerror(errno));
		return EXIT_FAILED;
	}
	return -1;
}

int live_new(struct live **ret, uv_loop_t *loop, const struct options *options,
	struct recorder *recorder, struct events *events)
{
	struct live *l = calloc(1, sizeof(*l));
	struct control_input_handlers handlers = { .control = on_control,
		.bad = on_bad,
		.end = on_end,
		.user = l };
	char err[256] = "out of memory";
	int status = EXIT_FAILED, r;

	if (l == NULL || (l->duration = calloc(1, sizeof(*l->duration))) == NULL) {
		log_error("%s", err);
		free(l);
		return EXIT_FAILED;
	}
	uv_timer_init(loop, l->duration);
	l->loop = loop;
	l->options = options;
	l->recorder = recorder;
	l->events = events;
	*ret = l;
	if (dave_identity_new(&l->identity, random_bytes, NULL) != TD_OK) {
		log_error("cannot make a signature key");
		return EXIT_FAILED;
	}
	if (udp_reader_new(&l->udp, loop, options->latency_ms) != TD_OK) {
		log_error("sockets cannot be watched");
		return EXIT_FAILED;
	}
	if ((r = ws_context_new(&l->ws, loop, options->ca_file, err, sizeof(err))) != TD_OK) {
		log_error("%s", err);
		status = r == TD_ERR_USAGE ? EXIT_WRONG_USAGE : EXIT_FAILED;
	} else if (strcmp(options->join, "-") != 0) {
		status = start_file(l, &handlers);
	} else if (control_input_stdin(&l->input, loop, &handlers) == TD_OK) {
		status = -1;
	} else {
		log_error("standard input cannot be read");
	}
	return status;
}

void live_end(struct live *l)
{
	struct live_call *c;

	if (l == NULL)
		return;
	control_input_free(l->input);
	while ((c = l->calls) != NULL) {
		l->calls = c->next;
		call_free(c->call);
		free(c);
	}
	ws_context_end(l->ws);
	udp_reader_free(l->udp);
	l->udp = NULL;
	uv_close((uv_handle_t *)l->duration, handle_freed);
}

void live_free(struct live *l)
{
	if (l == NULL)
		return;
	ws_context_free(l->ws);
	dave_identity_free(l->identity);
	free(l);
}
