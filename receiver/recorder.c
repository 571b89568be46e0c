/* SPDX-License-Identifier: ISC */
#include "receiver/recorder.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/ipc.h"
#include "common/log.h"
#include "receiver/worker_process.h"

enum {
	TICK_MS = 20,
	WATCH_MS = 250,
	LIVE_REORDER_MS = 100,
	/* Nobody waits for a replay: what came late in the capture is still in time for the file.
	 */
	REPLAY_REORDER_MS = 500,
	HOLD_MS = 2000,
	TRACKS_SHOWN = 10000,
};
/* After this long without packets nothing is held any more, and time may stand still. */
#define AWAKE_NS ((HOLD_MS + 500) * TD_MS_NS)

struct connection {
	struct connection *next;
	uint64_t conn, guild_id;
	struct lane *lane;
};

/* From a lane thread to the network thread. */
struct note {
	struct note *next;
	enum { NOTE_OPENED, NOTE_CLOSED, NOTE_FAILING, NOTE_FULL } what;
	uint64_t conn, user_id;
	int r;
};

struct track_row {
	char *path;
	uint64_t user_id, samples, received, lost, recovered;
};

struct recorder {
	struct recorder_conf conf;
	char unpacker[PATH_MAX];
	struct lane **lanes;
	unsigned lane_count;
	uint64_t last_conn;
	uv_timer_t *tick, *watch;
	uv_prepare_t *flush;
	uv_async_t *noted;
	bool failed;

	pthread_mutex_t lock; /* for what the lane threads share with us */
	struct connection *connections;
	struct note *notes, **notes_end;
	struct track_row *tracks;
	size_t track_count, track_cap;
	uint64_t totals[COUNTER_COUNT];
	atomic_uint_fast64_t samples;
	atomic_uint files; /* opened so far */
};

/* ---- on the lane threads ---- */

static uint64_t guild_of(struct recorder *r, uint64_t conn)
{
	struct connection *c;
	uint64_t guild_id = 0;

	pthread_mutex_lock(&r->lock);
	for (c = r->connections; c != NULL && guild_id == 0; c = c->next) {
		if (c->conn == conn)
			guild_id = c->guild_id;
	}
	pthread_mutex_unlock(&r->lock);
	return guild_id;
}

static void note(struct recorder *r, struct note what)
{
	struct note *n = malloc(sizeof(*n));

	if (n == NULL)
		console_out_of_memory(); /* an end never noticed would keep us for ever */
	*n = what;
	pthread_mutex_lock(&r->lock);
	*r->notes_end = n;
	r->notes_end = &n->next;
	pthread_mutex_unlock(&r->lock);
	uv_async_send(r->noted);
}

static void on_session_opened(void *user, uint64_t conn, int result)
{
	note(user, (struct note){ .what = NOTE_OPENED, .conn = conn, .r = result });
}

static void on_session_closed(void *user, uint64_t conn, int result)
{
	note(user, (struct note){ .what = NOTE_CLOSED, .conn = conn, .r = result });
}

static void on_failing(void *user, uint64_t conn, uint64_t user_id)
{
	note(user, (struct note){ .what = NOTE_FAILING, .conn = conn, .user_id = user_id });
}

static void on_session_event(void *user, uint64_t conn, const struct sink_event *event)
{
	struct recorder *r = user;
	uint64_t guild_id = guild_of(r, conn);
	char id[TD_ID_TEXT] = "", *speaker = event->user_id != 0 ? id : NULL;

	if (speaker != NULL)
		td_id_format(id, event->user_id);
	switch (event->type) {
	case SINK_EVENT_FILE_OPENED:
		atomic_fetch_add(&r->files, 1);
		event_emit(r->conf.events, "file_opened", guild_id, "ss, ss?", "path", event->path,
			"user_id", speaker);
		log_debug("%s: opened", event->path);
		return;
	case SINK_EVENT_FILE_CLOSED:
		event_emit(r->conf.events, "file_closed", guild_id, "ss, ss?, sI", "path",
			event->path, "user_id", speaker, "samples", (json_int_t)event->samples);
		log_debug("%s: closed", event->path);
		return;
	case SINK_EVENT_WARNING:
		event_emit(r->conf.events, "warning", guild_id, "ss", "message", event->text);
		log_warn("%s", event->text);
		return;
	case SINK_EVENT_FULL:
		note(r, (struct note){ .what = NOTE_FULL, .conn = conn });
		/* fall through */
	case SINK_EVENT_FAILED:
		event_emit(r->conf.events, "error", guild_id, "ss", "message", event->text);
		log_error("%s", event->text);
		return;
	}
}

static void on_session_track(void *user, uint64_t conn, const struct sink_track_summary *track)
{
	struct recorder *r = user;
	struct track_row *row;

	(void)conn;
	pthread_mutex_lock(&r->lock);
	if (r->track_count == r->track_cap && r->track_cap < TRACKS_SHOWN) {
		size_t cap = r->track_cap > 0 ? r->track_cap * 2 : 16;
		struct track_row *bigger = reallocarray(r->tracks, cap, sizeof(*bigger));

		if (bigger != NULL) {
			r->tracks = bigger;
			r->track_cap = cap;
		}
	}
	if (r->track_count < r->track_cap &&
		(r->tracks[r->track_count].path = strdup(track->path)) != NULL) {
		row = &r->tracks[r->track_count++];
		row->user_id = track->user_id;
		row->samples = track->samples;
		row->received = track->counters[COUNTER_RECEIVED];
		row->lost = track->counters[COUNTER_LOST];
		row->recovered = track->counters[COUNTER_FEC];
	}
	pthread_mutex_unlock(&r->lock);
}

static void on_counted(void *user, const uint64_t delta[static COUNTER_COUNT])
{
	struct recorder *r = user;
	size_t i;

	pthread_mutex_lock(&r->lock);
	for (i = 0; i < COUNTER_COUNT; i++)
		r->totals[i] += delta[i];
	pthread_mutex_unlock(&r->lock);
}

static void on_sound(void *user, unsigned samples)
{
	struct recorder *r = user;

	atomic_fetch_add_explicit(&r->samples, samples, memory_order_relaxed);
}

/* ---- on the network thread ---- */

static void on_note(struct recorder *r, const struct note *n)
{
	if (n->r != TD_OK)
		r->failed = true;
	if (n->what == NOTE_OPENED && n->r == TD_ERR_NOMEM)
		log_error("cannot record: %s", td_strerror(n->r));
	switch (n->what) {
	case NOTE_OPENED:
		r->conf.session_opened(r->conf.user, n->conn, n->r);
		break;
	case NOTE_CLOSED:
		r->conf.session_closed(r->conf.user, n->conn, n->r);
		break;
	case NOTE_FAILING:
		r->conf.failing(r->conf.user, n->conn, n->user_id);
		break;
	case NOTE_FULL:
		r->failed = true;
		r->conf.disk_full(r->conf.user);
		break;
	}
}

static void on_noted(uv_async_t *async)
{
	struct recorder *r = async->data;
	struct note *n, *next;

	pthread_mutex_lock(&r->lock);
	n = r->notes;
	r->notes = NULL;
	r->notes_end = &r->notes;
	pthread_mutex_unlock(&r->lock);
	for (; n != NULL; n = next) {
		next = n->next;
		on_note(r, n);
		free(n);
	}
}

static void on_drained(void *user)
{
	struct recorder *r = user;

	r->conf.drained(r->conf.user);
}

/* A warning for every call on the lane, and an event (name, how) in its manifest. */
static void warn_all(struct recorder *r, unsigned index, const char *text, const char *name,
	const char *how)
{
	struct connection *c;

	log_warn("%s", text);
	/* The list changes on this thread only, so reading it here needs no lock. */
	for (c = r->connections; c != NULL; c = c->next) {
		struct lane_control *mark;

		if (c->lane != r->lanes[index])
			continue;
		event_emit(r->conf.events, "warning", c->guild_id, "ss", "message", text);
		if ((mark = recorder_control(LANE_MARK, td_mono_ns())) != NULL) {
			mark->name = name;
			snprintf(mark->text, sizeof(mark->text), "%s", how);
			lane_control(c->lane, c->conn, mark);
		}
	}
}

static void on_worker_lost(void *user, unsigned index, const char *how, bool fatal)
{
	struct recorder *r = user;
	struct connection *c, *next;
	char text[256];

	if (fatal) {
		log_error("lane %u: the unpacker cannot be kept running: %s", index, how);
		r->failed = true;
		for (c = r->connections; c != NULL; c = next) {
			next = c->next;
			if (c->lane == r->lanes[index])
				r->conf.broken(r->conf.user, c->conn);
		}
		return;
	}
	snprintf(text, sizeof(text), "lane %u: unpacker lost (%s), replaced", index, how);
	warn_all(r, index, text, "worker_lost", how);
}

static void on_held_up(void *user, unsigned index, const char *sink, uint64_t ns)
{
	char text[256];

	snprintf(text, sizeof(text),
		"lane %u: sink %s has not come back for %u seconds; this lane waits for it", index,
		sink, (unsigned)(ns / TD_SEC_NS));
	warn_all(user, index, text, "held_up", sink);
}

static void on_overload(void *user, unsigned index, const char *text)
{
	warn_all(user, index, text, "overload", text);
}

static void on_flush(uv_prepare_t *prepare)
{
	struct recorder *r = prepare->data;
	unsigned i;

	for (i = 0; i < r->lane_count; i++)
		lane_flush(r->lanes[i]);
}

static void on_tick(uv_timer_t *timer)
{
	struct recorder *r = timer->data;
	uint64_t now_ns = td_mono_ns();
	bool awake = false;
	unsigned i;

	/* Nothing older may be on its way to a lane: datagrams wait unread. */
	r->conf.catch_up(r->conf.user);
	for (i = 0; i < r->lane_count; i++) {
		uint64_t last_ns = lane_last_packet_ns(r->lanes[i]);

		if (now_ns > last_ns && now_ns - last_ns > AWAKE_NS)
			continue;
		lane_tick(r->lanes[i], now_ns);
		awake = true;
	}
	if (!awake)
		uv_timer_stop(timer);
}

static void on_watch(uv_timer_t *timer)
{
	struct recorder *r = timer->data;
	uint64_t now_ns = td_mono_ns();
	unsigned i;

	for (i = 0; i < r->lane_count; i++)
		lane_watch(r->lanes[i], now_ns);
}

void recorder_awake(struct recorder *r)
{
	/* Everything that has arrived is read before a tick, so that latency is for ticks too. */
	unsigned ms = r->conf.options->latency_ms > TICK_MS ? r->conf.options->latency_ms : TICK_MS;

	if (!uv_is_active((uv_handle_t *)r->tick))
		uv_timer_start(r->tick, on_tick, ms, ms);
}

/* ---- connections and sessions ---- */

uint64_t recorder_connect(struct recorder *r, uint64_t guild_id, struct lane **ret_lane)
{
	struct lane *lane = r->lanes[guild_id % r->lane_count];
	struct connection *c = calloc(1, sizeof(*c));

	if (c == NULL || lane_abandoned(lane)) {
		free(c);
		return 0;
	}
	c->conn = ++r->last_conn;
	c->guild_id = guild_id;
	c->lane = lane;
	if (lane_conn_open(c->lane, c->conn) != TD_OK) {
		free(c);
		return 0;
	}
	pthread_mutex_lock(&r->lock);
	c->next = r->connections;
	r->connections = c;
	pthread_mutex_unlock(&r->lock);
	*ret_lane = c->lane;
	return c->conn;
}

void recorder_disconnect(struct recorder *r, uint64_t conn)
{
	struct connection **at, *c;

	pthread_mutex_lock(&r->lock);
	for (at = &r->connections; *at != NULL && (*at)->conn != conn; at = &(*at)->next)
		;
	c = *at;
	if (c != NULL)
		*at = c->next;
	pthread_mutex_unlock(&r->lock);
	if (c != NULL)
		lane_conn_close(c->lane, conn);
	free(c);
}

static struct connection *connection_find(struct recorder *r, uint64_t conn)
{
	struct connection *c;

	for (c = r->connections; c != NULL && c->conn != conn; c = c->next)
		;
	return c;
}

struct lane_control *recorder_control(enum lane_control_type type, uint64_t at_ns)
{
	struct lane_control *c = calloc(1, sizeof(*c));

	if (c != NULL) {
		c->type = type;
		c->at_ns = at_ns;
	}
	return c;
}

int recorder_session_open(struct recorder *r, uint64_t conn, uint64_t channel_id, uint64_t user_id,
	uint64_t start_ns, uint64_t start_utc_ns)
{
	struct lane_control *c = recorder_control(LANE_SESSION_OPEN, start_ns);
	struct connection *to = connection_find(r, conn);
	const struct options *o = r->conf.options;

	if (c == NULL || to == NULL) {
		lane_control_free(c);
		return TD_ERR_NOMEM;
	}
	c->conf = (struct sink_session_conf){ .out_dir = o->out,
		.name = o->session_name,
		.guild_id = to->guild_id,
		.channel_id = channel_id,
		.user_id = user_id,
		.start_ns = start_ns,
		.start_utc_ns = start_utc_ns,
		.live = r->conf.live,
		/* What comes through a pipe may come as it is captured. */
		.realtime = o->realtime || (o->replay != NULL && strcmp(o->replay, "-") == 0),
		.min_free = o->min_free,
		.specs = (const struct sink_spec *const *)o->sinks,
		.spec_count = o->sink_count };
	lane_control(to->lane, conn, c);
	return TD_OK;
}

void recorder_session_close(struct recorder *r, uint64_t conn, uint64_t end_ns, const char *reason)
{
	struct lane_control *c = recorder_control(LANE_SESSION_CLOSE, end_ns);
	struct connection *to = connection_find(r, conn);

	if (c == NULL)
		console_out_of_memory(); /* see note() */
	snprintf(c->text, sizeof(c->text), "%s", reason);
	lane_conn_flush(to->lane, conn);
	lane_control(to->lane, conn, c);
}

/* ---- what was recorded ---- */

bool recorder_failed(const struct recorder *r)
{
	return r->failed;
}

void recorder_totals(struct recorder *r, uint64_t totals[static COUNTER_COUNT],
	uint64_t *ret_samples, unsigned *ret_files)
{
	pthread_mutex_lock(&r->lock);
	memcpy(totals, r->totals, sizeof(r->totals));
	pthread_mutex_unlock(&r->lock);
	*ret_samples = atomic_load(&r->samples);
	*ret_files = atomic_load(&r->files);
}

void recorder_print_tracks(struct recorder *r)
{
	char line[512], id[TD_ID_TEXT];
	int width = 4;
	size_t i;

	if (r->track_count == 0)
		return;
	for (i = 0; i < r->track_count; i++) {
		int len = (int)strlen(r->tracks[i].path);

		width = len > width ? len : width;
	}
	width = width > 300 ? 300 : width;
	snprintf(line, sizeof(line), "%-20s  %-*s  %12s  %8s  %6s  %9s\n", "SPEAKER", width, "FILE",
		"DURATION", "PACKETS", "LOST", "RECOVERED");
	console_print(r->conf.console, line);
	for (i = 0; i < r->track_count; i++) {
		const struct track_row *t = &r->tracks[i];
		uint64_t ms = t->samples / (TD_RATE / 1000);

		snprintf(line, sizeof(line),
			"%-20s  %-*s  %02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ".%03" PRIu64
			"  %8" PRIu64 "  %6" PRIu64 "  %9" PRIu64 "\n",
			t->user_id != 0 ? td_id_format(id, t->user_id) : "unknown", width, t->path,
			ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, ms % 1000, t->received,
			t->lost, t->recovered);
		console_print(r->conf.console, line);
	}
}

/* ---- life ---- */

static void handle_freed(uv_handle_t *handle)
{
	free(handle);
}

static void handle_close(void *handle)
{
	if (handle != NULL)
		uv_close(handle, handle_freed);
}

static int handles_init(struct recorder *r)
{
	uv_loop_t *loop = r->conf.loop;

	if ((r->tick = malloc(sizeof(*r->tick))) == NULL)
		return TD_ERR_NOMEM;
	uv_timer_init(loop, r->tick);
	if ((r->watch = malloc(sizeof(*r->watch))) == NULL)
		return TD_ERR_NOMEM;
	uv_timer_init(loop, r->watch);
	if ((r->flush = malloc(sizeof(*r->flush))) == NULL)
		return TD_ERR_NOMEM;
	uv_prepare_init(loop, r->flush);
	if ((r->noted = malloc(sizeof(*r->noted))) == NULL)
		return TD_ERR_NOMEM;
	uv_async_init(loop, r->noted, on_noted);
	r->tick->data = r->watch->data = r->flush->data = r->noted->data = r;
	uv_timer_start(r->watch, on_watch, WATCH_MS, WATCH_MS);
	uv_prepare_start(r->flush, on_flush);
	return TD_OK;
}

/* What the workers have to send so that every sink gets what it wants. */
static void find_wants(const struct options *o, uint32_t *ret_want, unsigned *ret_channels)
{
	struct td_wants wants;
	size_t i;

	*ret_want = 0;
	*ret_channels = 1;
	for (i = 0; i < o->sink_count; i++) {
		sink_spec_wants(o->sinks[i], &wants);
		if ((wants.what & TD_WANT_OPUS) != 0)
			*ret_want |= IPC_WANT_OPUS;
		if ((wants.what & TD_WANT_RTCP) != 0)
			*ret_want |= IPC_WANT_RTCP;
		if ((wants.what & TD_WANT_PCM) == 0)
			continue;
		*ret_want |= IPC_WANT_PCM;
		if (wants.channels > *ret_channels)
			*ret_channels = wants.channels;
	}
}

static int lanes_start(struct recorder *r)
{
	const struct recorder_conf *conf = &r->conf;
	struct lane_conf lane = { .loop = conf->loop,
		.unpacker = r->unpacker,
		.live = conf->live,
		.reorder_ns = (conf->live ? LIVE_REORDER_MS : REPLAY_REORDER_MS) * TD_MS_NS,
		.hold_ns = HOLD_MS * TD_MS_NS,
		.ops = { .session_opened = on_session_opened,
			.session_closed = on_session_closed,
			.session_track = on_session_track,
			.session_event = on_session_event,
			.failing = on_failing,
			.counted = on_counted,
			.sound = on_sound },
		.user = r,
		.drained = on_drained,
		.overload = on_overload,
		.worker_lost = on_worker_lost,
		.held_up = on_held_up };
	int e;

	find_wants(conf->options, &lane.want, &lane.channels);
	if ((r->lanes = calloc(conf->options->workers, sizeof(struct lane *))) == NULL)
		return TD_ERR_NOMEM;
	for (; r->lane_count < conf->options->workers; r->lane_count++) {
		lane.index = r->lane_count;
		if ((e = lane_new(&r->lanes[r->lane_count], &lane)) != TD_OK)
			return e;
	}
	return TD_OK;
}

int recorder_new(struct recorder **ret, const struct recorder_conf *conf, char *err, size_t err_len)
{
	struct recorder *r = calloc(1, sizeof(*r));
	int e = TD_ERR_NOMEM;

	if (r == NULL)
		goto out;
	r->conf = *conf;
	r->notes_end = &r->notes;
	pthread_mutex_init(&r->lock, NULL);
	if ((e = worker_process_path(r->unpacker, sizeof(r->unpacker))) != TD_OK ||
		(e = handles_init(r)) != TD_OK || (e = lanes_start(r)) != TD_OK)
		goto out;
	*ret = r;
	r = NULL;
	e = TD_OK;
out:
	if (e == TD_ERR_SYS)
		snprintf(err, err_len, "cannot start %s: %s",
			r != NULL && r->unpacker[0] != '\0' ? r->unpacker : "the unpacker",
			strerror(errno));
	else if (e != TD_OK)
		snprintf(err, err_len, "%s", td_strerror(e));
	recorder_free(r);
	return e;
}

void recorder_free(struct recorder *r)
{
	struct note *n;
	size_t i;

	if (r == NULL)
		return;
	while (r->lane_count > 0)
		lane_free(r->lanes[--r->lane_count]);
	free(r->lanes);
	handle_close(r->tick);
	handle_close(r->watch);
	handle_close(r->flush);
	handle_close(r->noted);
	while (r->connections != NULL) {
		struct connection *c = r->connections;

		r->connections = c->next;
		free(c);
	}
	while ((n = r->notes) != NULL) {
		r->notes = n->next;
		free(n);
	}
	for (i = 0; i < r->track_count; i++)
		free(r->tracks[i].path);
	free(r->tracks);
	pthread_mutex_destroy(&r->lock);
	free(r);
}
