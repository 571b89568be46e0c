/* SPDX-License-Identifier: ISC */
#include "sinks/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/folder.h"
#include "sinks/manifest.h"
#include "sinks/sink.h"
#include "sinks/spec.h"
#include "sinks/timeline.h"

/* How often what was received is made to last; the manifest as often when more than numbers in it
 * changed. */
#define REFRESH_NS TD_SEC_NS
#define MANIFEST_NS (5 * TD_SEC_NS)

enum { HOST_PATH_MAX = 512 };

/* One sink of one session. */
struct hosted {
	struct sink_session *session;
	const struct td_sink_ops *ops;
	struct td_host host;
	void *state;
	bool opened, done; /* done: it failed, and is only closed any more */
};

struct sink_session {
	char *out_dir;
	char name[FOLDER_NAME_MAX];
	int dir_fd;
	uint64_t start_ns, now_ns;
	uint64_t refreshed_ns, described_ns; /* headers; manifest */
	bool changed;                        /* the manifest lacks more than numbers */
	bool failed, manifest_failed;
	struct td_session info;
	struct manifest *manifest;
	uint64_t counters[COUNTER_COUNT];
	void (*event)(void *user, const struct sink_event *event);
	void *user;
	struct hosted *sinks;
	size_t sink_count;
};

static uint64_t position(const struct sink_session *s, uint64_t at_ns)
{
	int64_t pos =
		timeline_position(s->start_ns, at_ns > INT64_MAX ? INT64_MAX : (int64_t)at_ns);

	return pos > 0 ? (uint64_t)pos : 0;
}

static void emit(struct sink_session *s, enum sink_event_type type, const char *path,
	const char *text, uint64_t user_id, uint64_t samples)
{
	struct sink_event event = { type, path, text, user_id, samples };

	if (type == SINK_EVENT_FAILED)
		s->failed = true;
	if (text != NULL && s->manifest != NULL)
		manifest_event(s->manifest, type == SINK_EVENT_FAILED ? "failed" : "warning", text,
			position(s, s->now_ns));
	s->changed = true;
	if (s->event != NULL)
		s->event(s->user, &event);
}

static void emit_failure(struct sink_session *s, const char *what, int r)
{
	char text[HOST_PATH_MAX];

	snprintf(text, sizeof(text), "%s: %s", what,
		r == TD_ERR_IO ? strerror(errno) : td_strerror(r));
	emit(s, SINK_EVENT_FAILED, NULL, text, 0, 0);
}

static void host_event(void *user, const struct td_event *event)
{
	static const enum sink_event_type types[] = {
		[TD_EVENT_FILE_OPENED] = SINK_EVENT_FILE_OPENED,
		[TD_EVENT_FILE_CLOSED] = SINK_EVENT_FILE_CLOSED,
		[TD_EVENT_WARNING] = SINK_EVENT_WARNING,
		[TD_EVENT_FAILED] = SINK_EVENT_FAILED,
	};
	struct hosted *h = user;
	char path[HOST_PATH_MAX];

	if (event->type < TD_EVENT_FILE_OPENED || event->type > TD_EVENT_FAILED)
		return;
	if (event->path != NULL)
		snprintf(path, sizeof(path), "%s/%s", h->session->name, event->path);
	emit(h->session, types[event->type], event->path != NULL ? path : NULL, event->text,
		event->user_id, event->samples);
}

/* A method of a sink returned r. */
static void returned(struct hosted *h, int r)
{
	if (r >= 0)
		return;
	h->done = true;
	emit_failure(h->session, h->ops->name, r);
}

/* Calls an optional method of every sink that is alive and has it. */
#define DISPATCH(s, method, ...)                                                     \
	for (struct hosted *h = (s)->sinks; h < (s)->sinks + (s)->sink_count; h++) { \
		if (!h->done && TD_HAS(h->ops, method))                              \
			returned(h, h->ops->method(h->state, __VA_ARGS__));          \
	}

/* ---- manifest ---- */

struct describing {
	struct sink_session *session;
	bool others; /* counters without a file were listed by a sink before */
};

static void describe_file(void *user, const struct td_file *file)
{
	struct describing *d = user;

	/* Every sink counts the same things: what has no file is listed once. */
	if (file->file != NULL || !d->others)
		manifest_file(d->session->manifest, file);
}

static int describe(struct sink_session *s, uint64_t samples, bool complete, const char *reason,
	bool sync)
{
	struct describing d = { s, false };
	int r;

	manifest_begin(s->manifest, s->counters);
	for (size_t i = 0; i < s->sink_count; i++) {
		struct hosted *h = &s->sinks[i];

		if (!h->opened || !TD_HAS(h->ops, files))
			continue;
		h->ops->files(h->state, describe_file, &d);
		d.others = true;
	}
	s->described_ns = s->now_ns;
	s->changed = false;
	r = manifest_write(s->manifest, s->dir_fd, samples, complete, reason, sync);
	/* Tried again every time; said once. */
	if (r < 0 && !s->manifest_failed) {
		s->manifest_failed = true;
		emit_failure(s, MANIFEST_FILE, r);
	}
	return r;
}

/* ---- open and close ---- */

static void session_free(struct sink_session *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->sink_count; i++) {
		if (s->sinks[i].opened)
			s->sinks[i].ops->close(s->sinks[i].state);
	}
	free(s->sinks);
	manifest_free(s->manifest);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	free(s->out_dir);
	free(s);
}

static int open_folder(struct sink_session *s, const struct sink_session_conf *conf)
{
	char name[FOLDER_NAME_MAX], text[HOST_PATH_MAX];
	int r;

	folder_session_name(name, conf->guild_id, conf->channel_id, conf->start_utc_ns);
	r = folder_create(&s->dir_fd, s->name, conf->out_dir,
		conf->name != NULL ? conf->name : name);
	if (r == TD_ERR_USAGE) {
		snprintf(text, sizeof(text), "'%.200s' cannot be the name of a session",
			conf->name);
		emit(s, SINK_EVENT_FAILED, NULL, text, 0, 0);
		r = TD_ERR_IO;
	} else if (r < 0) {
		emit_failure(s, conf->out_dir, r);
	}
	s->info.dir_fd = s->dir_fd;
	return r;
}

static int open_sinks(struct sink_session *s, const struct sink_session_conf *conf)
{
	int r = TD_OK;

	for (size_t i = 0; i < conf->spec_count && r == TD_OK; i++) {
		struct hosted *h = &s->sinks[s->sink_count++];

		h->session = s;
		h->ops = conf->specs[i]->ops;
		h->host = (struct td_host){ TD_SINK_ABI, sizeof(h->host), h, host_event };
		r = h->ops->open(&h->state, &h->host, &s->info, conf->specs[i]->options);
		h->opened = r == TD_OK;
		if (r < 0)
			emit_failure(s, h->ops->name, r);
	}
	return r;
}

int sink_session_open(struct sink_session **ret, const struct sink_session_conf *conf)
{
	struct manifest_conf ids = { conf->guild_id, conf->channel_id, conf->user_id,
		conf->start_utc_ns };
	struct sink_session *s;
	int r = TD_ERR_NOMEM;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		return r;
	s->dir_fd = -1;
	s->start_ns = s->now_ns = s->refreshed_ns = conf->start_ns;
	s->event = conf->event;
	s->user = conf->user;
	s->info = (struct td_session){ sizeof(s->info), -1, conf->start_ns };
	if ((s->out_dir = strdup(conf->out_dir)) == NULL)
		goto out;
	if ((s->sinks = calloc(conf->spec_count + 1, sizeof(*s->sinks))) == NULL)
		goto out;
	if ((r = manifest_new(&s->manifest, &ids)) < 0)
		goto out;
	if ((r = open_folder(s, conf)) < 0)
		goto out;
	if ((r = open_sinks(s, conf)) < 0)
		goto out;
	if ((r = describe(s, 0, false, NULL, true)) < 0)
		goto out;
	*ret = s;
	s = NULL;
out:
	session_free(s);
	return r;
}

struct closing {
	struct sink_session *session;
	void (*track)(void *user, const struct sink_track_summary *track);
	void *user;
	uint64_t samples; /* the longest file */
};

static void measure_file(void *user, const struct td_file *file)
{
	struct closing *c = user;

	if (file->file != NULL && file->samples > c->samples)
		c->samples = file->samples;
}

static void summarise_file(void *user, const struct td_file *file)
{
	struct closing *c = user;
	char path[HOST_PATH_MAX * 2];
	struct sink_track_summary summary = { path, file->user_id, file->samples, file->counters };

	if (file->file == NULL)
		return;
	snprintf(path, sizeof(path), "%s/%s/%s", c->session->out_dir, c->session->name, file->file);
	c->track(c->user, &summary);
}

static void each_file(struct sink_session *s, td_file_fn *fn, void *user)
{
	for (size_t i = 0; i < s->sink_count; i++) {
		if (TD_HAS(s->sinks[i].ops, files))
			s->sinks[i].ops->files(s->sinks[i].state, fn, user);
	}
}

int sink_session_close(struct sink_session *s, uint64_t end_ns, const char *reason,
	void (*track)(void *user, const struct sink_track_summary *track), void *user)
{
	struct closing closing = { s, track, user, position(s, end_ns) };
	int r;

	s->now_ns = end_ns;
	for (size_t i = 0; i < s->sink_count; i++) {
		struct hosted *h = &s->sinks[i];

		/* What a sink has to say about its failures it said by events. */
		if (!h->done && h->ops->finish(h->state, end_ns) < 0)
			s->failed = true;
	}
	each_file(s, measure_file, &closing);
	describe(s, closing.samples, true, reason, true);
	if (track != NULL)
		each_file(s, summarise_file, &closing);
	r = s->failed ? TD_ERR_IO : TD_OK;
	session_free(s);
	return r;
}

/* ---- while it lives ---- */

void sink_session_frame(struct sink_session *s, const struct sink_frame *frame)
{
	struct td_frame f = {
		.size = sizeof(f),
		.ssrc = frame->ssrc,
		.user_id = frame->user_id,
		.arrival_ns = frame->arrival_ns,
		.sent_ns = frame->sent_ns,
		.rtp_ts = frame->rtp_ts,
		.samples = frame->samples,
		.seq = frame->seq,
		.kind = frame->kind,
		.channels = frame->channels,
		.flags = frame->spurt ? TD_FRAME_SPURT : 0,
		.pcm = frame->pcm,
	};

	if (frame->samples == 0 || frame->channels < 1 || frame->channels > 2)
		return;
	DISPATCH(s, frame, &f);
}

void sink_session_rtcp(struct sink_session *s, uint64_t arrival_ns, uint64_t user_id, uint32_t ssrc,
	const uint8_t *compound, size_t len)
{
	DISPATCH(s, rtcp, arrival_ns, user_id, ssrc, compound, len);
}

void sink_session_speaker(struct sink_session *s, uint64_t user_id, uint32_t ssrc, uint64_t at_ns)
{
	(void)at_ns;
	s->changed = true;
	DISPATCH(s, speaker, user_id, ssrc);
}

void sink_session_speaker_left(struct sink_session *s, uint64_t user_id, uint64_t at_ns)
{
	(void)at_ns;
	DISPATCH(s, speaker_left, user_id);
}

void sink_session_count(struct sink_session *s, uint32_t ssrc, uint64_t user_id,
	const uint64_t delta[static COUNTER_COUNT])
{
	bool taken = false;

	for (size_t i = 0; ssrc != 0 && i < s->sink_count; i++) {
		struct hosted *h = &s->sinks[i];

		if (h->done || !TD_HAS(h->ops, count) || !TD_HAS(h->ops, files))
			continue;
		returned(h, h->ops->count(h->state, ssrc, user_id, delta, COUNTER_COUNT));
		taken = taken || !h->done;
	}
	for (size_t c = 0; !taken && c < COUNTER_COUNT; c++)
		s->counters[c] += delta[c];
}

void sink_session_pause(struct sink_session *s, uint64_t at_ns)
{
	manifest_pause(s->manifest, position(s, at_ns));
	s->changed = true;
}

void sink_session_resume(struct sink_session *s, uint64_t at_ns)
{
	manifest_resume(s->manifest, position(s, at_ns));
	s->changed = true;
}

void sink_session_code(struct sink_session *s, uint64_t epoch, const char *code,
	const uint64_t *members, size_t count, uint64_t at_ns)
{
	manifest_code(s->manifest, epoch, code, members, count, position(s, at_ns));
	s->changed = true;
}

void sink_session_mark(struct sink_session *s, const char *type, const char *text, uint64_t at_ns)
{
	manifest_event(s->manifest, type, text, position(s, at_ns));
	s->changed = true;
}

void sink_session_tick(struct sink_session *s, uint64_t now_ns)
{
	if (now_ns > s->now_ns)
		s->now_ns = now_ns;
	if (s->now_ns - s->refreshed_ns < REFRESH_NS)
		return;
	s->refreshed_ns = s->now_ns;
	for (size_t i = 0; i < s->sink_count; i++) {
		struct hosted *h = &s->sinks[i];

		if (!h->done && TD_HAS(h->ops, tick))
			returned(h, h->ops->tick(h->state));
	}
	if (s->changed || s->now_ns - s->described_ns >= MANIFEST_NS)
		describe(s, position(s, s->now_ns), false, NULL, false);
}
