/* SPDX-License-Identifier: ISC */
#include "sinks/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "sinks/editor.h"
#include "sinks/folder.h"
#include "sinks/manifest.h"
#include "sinks/registry.h"
#include "sinks/sink.h"
#include "sinks/spec.h"
#include "sinks/text.h"
#include "sinks/timeline.h"
#include "sinks/track_sink.h"

/* How often what was received is made to last: with the ticks of a live call (REFRESH_MS in
 * receiver/lane_thread.c), at each of them, also when one is a little late and the next is not. */
#define REFRESH_NS (300 * TD_MS_NS)
/* A replay can be had again, and goes through this in an instant: what it writes more often than
 * that costs more than the rest of what is done with a packet. */
#define REFRESH_REPLAY_NS (10 * TD_SEC_NS)
/* How often sinks are watched, and the manifest follows when more than numbers in it changed. */
#define WATCH_NS TD_SEC_NS
#define MANIFEST_NS (5 * TD_SEC_NS)
/* When only its length does. */
#define MANIFEST_QUIET_NS (30 * TD_SEC_NS)
/* But a manifest that has become long takes this part of the time at most. */
enum { MANIFEST_SHARE = 50, MANIFEST_SHARE_CHANGED = 10 };
/* A sink that takes this much of a second is reported, and not again for a while. */
#define SLOW_NS (TD_SEC_NS / 2)
#define SLOW_AGAIN_NS (10 * TD_SEC_NS)
/* A folder that was removed and cannot be made anew. */
#define FOLDER_AGAIN_NS (5 * TD_SEC_NS)
/* How often folder and disk are looked at while nothing comes that could be lost. */
#define QUIET_NS (2 * TD_SEC_NS)

enum { HOST_PATH_MAX = 512, HOST_FRAME_MAX = 5760 };

/* One sink of one session. */
struct hosted {
	struct sink_session *session;
	const char *name;
	const struct td_sink_ops *ops;
	struct td_host host;
	struct td_wants wants;
	void *state;
	bool opened, done; /* done: it failed, and is only closed any more */
	bool lists;        /* it has files, and counters with them */
	bool said;         /* that something failed */
	uint64_t busy_ns;  /* it took in this second */
	uint64_t said_slow_ns;
};

struct sink_session {
	char *out_dir;
	char name[FOLDER_NAME_MAX];
	int dir_fd;
	uint64_t start_ns, now_ns;
	uint64_t heard_ns; /* how far the call got, on the clock of start_ns */
	uint64_t refreshed_ns, watched_ns, described_ns; /* headers; sinks; manifest */
	uint64_t refresh_ns;                             /* how often the headers are */
	uint64_t describing_ns; /* what the manifest took, without waiting for disks */
	uint64_t described_mono_ns;
	bool changed; /* the manifest lacks more than numbers */
	bool numbers; /* it lacks some of those that are not its length */
	bool failed, manifest_failed;
	bool full, folder_lost; /* said */
	bool fed;               /* something came since the folder was looked at: */
	uint64_t looked_ns;
	bool room_due; /* that was since the last look at the disk */
	bool live;
	uint64_t min_free, folder_tried_ns;
	struct td_session info;
	struct sink_working *working, idle;
	int16_t *mixed;      /* a frame in the channels it did not come in; HOST_FRAME_MAX * 2 */
	struct spill *spill; /* of the manifest and the tracks */
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
	bool failed = type == SINK_EVENT_FAILED || type == SINK_EVENT_FULL;

	s->failed = s->failed || failed;
	if (text != NULL && s->manifest != NULL)
		manifest_event(s->manifest, failed ? "failed" : "warning", text,
			position(s, s->heard_ns));
	s->changed = true;
	if (s->event != NULL)
		s->event(s->user, &event);
}

static void emit_failure(struct sink_session *s, const char *what, int r)
{
	char text[HOST_PATH_MAX];

	snprintf(text, sizeof(text), "%s: %s", what,
		r == TD_ERR_IO && errno != 0 ? strerror(errno) : td_strerror(r));
	emit(s, SINK_EVENT_FAILED, NULL, text, 0, 0);
}

/* A sink, as its user knows it. */
static void sink_failed(struct hosted *h, int r)
{
	char what[HOST_PATH_MAX / 2];

	h->said = true;
	snprintf(what, sizeof(what), "sink %s has ended", h->name);
	emit_failure(h->session, what, r);
}

static void host_event(void *user, const struct td_event *event)
{
	static const enum sink_event_type types[] = {
		[TD_EVENT_FILE_OPENED] = SINK_EVENT_FILE_OPENED,
		[TD_EVENT_FILE_CLOSED] = SINK_EVENT_FILE_CLOSED,
		[TD_EVENT_WARNING] = SINK_EVENT_WARNING,
		[TD_EVENT_FAILED] = SINK_EVENT_FAILED,
	};
	bool about_file =
		event->type == TD_EVENT_FILE_OPENED || event->type == TD_EVENT_FILE_CLOSED;
	struct hosted *h = user;
	char path[HOST_PATH_MAX], text[HOST_PATH_MAX];
	const char *said = event->text != NULL ? event->text : "it does not say what";

	if (event->type < TD_EVENT_FILE_OPENED || event->type > TD_EVENT_FAILED ||
		(about_file && event->path == NULL))
		return;
	h->said = h->said || event->type == TD_EVENT_FAILED;
	if (event->path != NULL)
		snprintf(path, sizeof(path), "%s/%s", h->session->name, event->path);
	text[text_clean(text, sizeof(text) - 1, said)] = '\0';
	emit(h->session, types[event->type], event->path != NULL ? path : NULL,
		about_file ? NULL : text, event->user_id, event->samples);
}

static void host_log(void *user, uint32_t level, const char *text)
{
	const struct hosted *h = user;

	td_log(level <= TD_LOG_DEBUG ? (enum td_log_level)level : TD_LOG_WARN, "sink %s: %s",
		h->name, text);
}

static const char *host_counter_name(void *user, uint32_t counter)
{
	(void)user;
	return counter < COUNTER_COUNT ? td_counter_name((enum td_counter)counter) : NULL;
}

static const struct td_writer_ops *host_writer(void *user, const char *name)
{
	(void)user;
	return registry_writer(name);
}

/* td_mono_ns() of the last tick of the kernel, a few milliseconds ago, for a fifth of the price.
 * What is far shorter than a tick counts as nothing mostly and as a tick now and then: right in
 * the sum. */
static uint64_t coarse_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * TD_SEC_NS + (uint64_t)ts.tv_nsec;
}

/* A method of h is about to be called; returns when. */
static uint64_t enter(struct hosted *h)
{
	struct sink_working *w = h->session->working;
	uint64_t now_ns = coarse_ns();

	atomic_store_explicit(&w->since_ns, now_ns, memory_order_relaxed);
	atomic_store_explicit(&w->name, h->name, memory_order_release);
	return now_ns;
}

static void leave(struct hosted *h)
{
	atomic_store_explicit(&h->session->working->name, NULL, memory_order_relaxed);
}

/* A method of a sink that was entered at began_ns returned r. */
static void returned(struct hosted *h, uint64_t began_ns, int r)
{
	leave(h);
	h->busy_ns += coarse_ns() - began_ns;
	if (r >= 0)
		return;
	h->done = true;
	sink_failed(h, r);
}

/* Calls an optional method of every sink that is alive and has it. */
#define DISPATCH(s, method, ...)                                                     \
	for (struct hosted *h = (s)->sinks; h < (s)->sinks + (s)->sink_count; h++) { \
		uint64_t began_ns;                                                   \
                                                                                     \
		if (h->done || !TD_HAS(h->ops, method))                              \
			continue;                                                    \
		began_ns = enter(h);                                                 \
		returned(h, began_ns, h->ops->method(h->state, __VA_ARGS__));        \
	}

/* Sinks of a live call have to keep up; `past_ns` is how long ago this was last looked at. */
static void watch_speed(struct hosted *h, uint64_t past_ns)
{
	struct sink_session *s = h->session;
	char text[HOST_PATH_MAX];

	if (s->live && h->busy_ns >= SLOW_NS && h->busy_ns >= past_ns / 2 &&
		(h->said_slow_ns == 0 || s->now_ns - h->said_slow_ns >= SLOW_AGAIN_NS)) {
		h->said_slow_ns = s->now_ns;
		snprintf(text, sizeof(text), "sink %s is slow: it took %llu of the last %llu ms",
			h->name, (unsigned long long)(h->busy_ns / TD_MS_NS),
			(unsigned long long)(past_ns / TD_MS_NS));
		emit(s, SINK_EVENT_WARNING, NULL, text, 0, 0);
	}
	h->busy_ns = 0;
}

/* ---- what sinks say of their tracks ---- */

struct checking {
	td_file_fn *file;
	void *user;
};

/* A plugin may leave out what it likes: nothing is NULL behind this but the name of a file. */
static void check_file(void *user, const struct td_file *file)
{
	struct checking *c = user;
	struct td_file f = *file;
	uint64_t counters[COUNTER_COUNT] = { 0 };
	uint32_t n = f.counter_count < COUNTER_COUNT ? f.counter_count : COUNTER_COUNT;

	if (f.format == NULL)
		f.format = "";
	if (f.counters != NULL)
		memcpy(counters, f.counters, n * sizeof(counters[0]));
	f.counters = counters;
	f.counter_count = COUNTER_COUNT;
	f.ssrc_count = f.ssrcs != NULL ? f.ssrc_count : 0;
	f.spurt_count = f.spurts != NULL ? f.spurt_count : 0;
	f.cut_count = f.cuts != NULL ? f.cut_count : 0;
	f.part_count = f.parts != NULL ? f.part_count : 0;
	for (uint32_t i = 0; i < f.part_count; i++) {
		if (f.parts[i].file == NULL)
			f.part_count = 0;
	}
	c->file(c->user, &f);
}

static void list_files(struct hosted *h, td_file_fn *file, void *user)
{
	struct checking c = { file, user };

	if (h->lists)
		h->ops->files(h->state, check_file, &c);
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
	uint64_t began_ns = td_mono_ns();
	int r;

	manifest_begin(s->manifest, s->dir_fd, samples, complete, reason, s->counters);
	for (size_t i = 0; i < s->sink_count; i++) {
		struct hosted *h = &s->sinks[i];

		if (!h->opened || !h->lists)
			continue;
		list_files(h, describe_file, &d);
		d.others = true;
	}
	s->described_ns = s->now_ns;
	s->changed = s->numbers = false;
	r = manifest_end(s->manifest, sync);
	/* Tried again every time; said once. */
	if (r < 0 && !s->manifest_failed) {
		s->manifest_failed = true;
		emit_failure(s, MANIFEST_FILE, r);
	}
	s->described_mono_ns = td_mono_ns();
	if (!sync)
		s->describing_ns = s->described_mono_ns - began_ns;
	return r;
}

static bool is_manifest_due(const struct sink_session *s)
{
	/* In a replay the call's time runs faster than ours. */
	uint64_t mono_ns =
		s->live ? s->now_ns - s->described_ns : td_mono_ns() - s->described_mono_ns;

	if (s->changed)
		return mono_ns >= MANIFEST_SHARE_CHANGED * s->describing_ns;
	return s->now_ns - s->described_ns >= (s->numbers ? MANIFEST_NS : MANIFEST_QUIET_NS) &&
		mono_ns >= MANIFEST_SHARE * s->describing_ns;
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
	free(s->mixed);
	manifest_free(s->manifest);
	spill_free(s->spill);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	free(s->out_dir);
	free(s);
}

static int open_folder(struct sink_session *s, const struct sink_session_conf *conf,
	const struct manifest_conf *ids)
{
	char name[FOLDER_NAME_MAX], before[FOLDER_NAME_MAX], text[HOST_PATH_MAX];
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
	} else if (conf->name != NULL) {
		folder_continues(before, conf->out_dir, conf->name, s->name, ids);
		if (before[0] != '\0')
			manifest_continues(s->manifest, before);
	}
	s->info.dir_fd = s->dir_fd;
	s->info.name = s->name;
	return r;
}

/* A sink that cannot begin is lost, and the others go on. */
static int open_sink(struct sink_session *s, const struct sink_spec *spec)
{
	const struct registry_sink *kind = spec->kind;
	struct hosted *h = &s->sinks[s->sink_count++];
	char what[HOST_PATH_MAX / 2];
	int r;

	h->session = s;
	h->name = kind->name;
	h->host = (struct td_host){ TD_SINK_ABI, sizeof(h->host), h, host_event, host_log,
		host_counter_name, host_writer };
	spec_wants(kind, spec->options, &h->wants);
	if (kind->track != NULL) {
		h->ops = &track_sink;
		h->lists = TD_HAS(kind->track, describe);
		r = track_sink_open(&h->state, kind->track, &h->host, &s->info, spec->options,
			s->spill);
	} else {
		h->ops = kind->sink;
		h->lists = TD_HAS(kind->sink, files) && TD_HAS(kind->sink, count);
		r = h->ops->open(&h->state, &h->host, &s->info, spec->options);
	}
	h->opened = r >= 0;
	if (h->opened)
		return TD_OK;
	h->done = true;
	h->lists = false;
	snprintf(what, sizeof(what), "sink %s cannot begin", h->name);
	emit_failure(s, what, r);
	return r;
}

static int open_sinks(struct sink_session *s, const struct sink_session_conf *conf)
{
	size_t opened = 0, count = 0;
	int r = TD_OK, one;

	for (size_t i = 0; i < conf->spec_count; i++)
		count += spec_parts(conf->specs[i]);
	if ((s->sinks = calloc(count + 1, sizeof(*s->sinks))) == NULL)
		return TD_ERR_NOMEM;
	for (size_t i = 0; i < conf->spec_count; i++) {
		for (const struct sink_spec *part = conf->specs[i]; part != NULL;
			part = part->next) {
			if ((one = open_sink(s, part)) == TD_OK)
				opened++;
			else
				r = one;
		}
	}
	return opened > 0 ? TD_OK : r;
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
	s->start_ns = s->now_ns = s->refreshed_ns = s->watched_ns = conf->start_ns;
	s->heard_ns = conf->start_ns;
	s->working = conf->working != NULL ? conf->working : &s->idle;
	s->event = conf->event;
	s->user = conf->user;
	s->live = conf->live;
	s->refresh_ns = conf->live || conf->realtime ? REFRESH_NS : REFRESH_REPLAY_NS;
	s->min_free = conf->min_free;
	s->info = (struct td_session){ .size = sizeof(s->info),
		.dir_fd = -1,
		.start_ns = conf->start_ns,
		.start_utc_ns = conf->start_utc_ns,
		.guild_id = conf->guild_id,
		.channel_id = conf->channel_id,
		.live = conf->live };
	if ((s->out_dir = strdup(conf->out_dir)) == NULL)
		goto out;
	if ((r = spill_new(&s->spill)) < 0 || (r = manifest_new(&s->manifest, &ids, s->spill)) < 0)
		goto out;
	if ((r = open_folder(s, conf, &ids)) < 0)
		goto out;
	spill_open(s->spill, s->dir_fd);
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

	if (file->file != NULL && track_file_end(file) > c->samples)
		c->samples = track_file_end(file);
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
	for (size_t i = 0; i < s->sink_count; i++)
		list_files(&s->sinks[i], fn, user);
}

/* For those who go on in an editor. The recording is whole without it. */
static void write_editor_files(struct sink_session *s)
{
	struct editor *e = NULL;
	char text[HOST_PATH_MAX];
	int r = editor_new(&e);

	for (size_t i = 0; r == TD_OK && i < s->sink_count; i++) {
		editor_sink(e);
		list_files(&s->sinks[i], editor_file, e);
	}
	if (r == TD_OK)
		manifest_each_event(s->manifest, editor_event, e);
	for (size_t i = 0; i < EDITOR_FILES; i++) {
		if (e != NULL)
			r = editor_write(e, s->dir_fd, i);
		if (r == TD_OK)
			continue;
		snprintf(text, sizeof(text), "%s: %s", editor_file_names[i],
			r == TD_ERR_IO ? strerror(errno) : td_strerror(r));
		emit(s, SINK_EVENT_WARNING, NULL, text, 0, 0);
	}
	editor_free(e);
}

int sink_session_close(struct sink_session *s, uint64_t end_ns, const char *reason,
	void (*track)(void *user, const struct sink_track_summary *track), void *user)
{
	struct closing closing = { s, track, user, position(s, end_ns) };
	int r;

	s->now_ns = s->heard_ns = end_ns;
	for (size_t i = 0; i < s->sink_count; i++) {
		struct hosted *h = &s->sinks[i];
		bool failed = s->failed;
		int one;

		if (h->done)
			continue;
		enter(h);
		one = h->ops->finish(h->state, end_ns);
		leave(h);
		s->failed = s->failed || one < 0;
		/* It, or we, may have told of every single file before. */
		if (one < 0 && !h->said && !failed)
			sink_failed(h, one);
	}
	each_file(s, measure_file, &closing);
	write_editor_files(s);
	describe(s, closing.samples, true, reason, true);
	if (track != NULL)
		each_file(s, summarise_file, &closing);
	r = s->failed ? TD_ERR_IO : TD_OK;
	session_free(s);
	return r;
}

/* ---- while it lives ---- */

static void heard(struct sink_session *s, uint64_t at_ns)
{
	if (at_ns > s->heard_ns)
		s->heard_ns = at_ns;
}

/* The samples of a frame in the other number of channels, borrowed until the next call; NULL: no
 * memory. */
static const int16_t *in_channels(struct sink_session *s, const struct td_frame *f, uint32_t want)
{
	const int16_t *restrict from = f->pcm;
	int16_t *restrict to;
	size_t n = f->samples, i; /* an index of 32 bits could wrap, which makes no vectors */

	if (s->mixed == NULL)
		s->mixed = malloc(sizeof(*s->mixed) * HOST_FRAME_MAX * 2);
	if ((to = s->mixed) == NULL)
		return NULL;
	if (want == 2) {
		for (i = 0; i < n; i++)
			to[2 * i] = to[2 * i + 1] = from[i];
	} else {
		for (i = 0; i < n; i++)
			to[i] = (int16_t)((from[2 * i] + from[2 * i + 1]) / 2);
	}
	return to;
}

/* A frame for h, in the channels it wants. */
static int give_frame(struct hosted *h, const struct td_frame *frame)
{
	struct td_frame f;

	if (frame->channels == h->wants.channels)
		return h->ops->frame(h->state, frame);
	f = *frame;
	if ((f.pcm = in_channels(h->session, frame, h->wants.channels)) == NULL)
		return TD_ERR_NOMEM;
	f.channels = (uint8_t)h->wants.channels;
	return h->ops->frame(h->state, &f);
}

void sink_session_frame(struct sink_session *s, const struct td_frame *frame)
{
	if (frame->samples == 0 || frame->samples > HOST_FRAME_MAX || frame->channels < 1 ||
		frame->channels > 2)
		return;
	s->fed = s->numbers = true;
	heard(s, frame->arrival_ns);
	for (struct hosted *h = s->sinks; h < s->sinks + s->sink_count; h++) {
		uint64_t began_ns;

		if (h->done || (h->wants.what & TD_WANT_PCM) == 0)
			continue;
		began_ns = enter(h);
		returned(h, began_ns, give_frame(h, frame));
	}
}

void sink_session_packet(struct sink_session *s, const struct td_packet *packet)
{
	s->fed = s->numbers = true;
	heard(s, packet->arrival_ns);
	for (struct hosted *h = s->sinks; h < s->sinks + s->sink_count; h++) {
		uint64_t began_ns;

		if (h->done || (h->wants.what & TD_WANT_OPUS) == 0)
			continue;
		began_ns = enter(h);
		returned(h, began_ns, h->ops->packet(h->state, packet));
	}
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

	s->numbers = true;
	for (size_t i = 0; ssrc != 0 && i < s->sink_count; i++) {
		struct hosted *h = &s->sinks[i];
		uint64_t began_ns;

		if (h->done || !TD_HAS(h->ops, count))
			continue;
		began_ns = enter(h);
		returned(h, began_ns, h->ops->count(h->state, ssrc, user_id, delta, COUNTER_COUNT));
		taken = taken || (h->lists && !h->done);
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

/* The descriptor stays the same: every sink makes its next file in the new folder. */
static int make_folder_anew(struct sink_session *s)
{
	char name[FOLDER_NAME_MAX], err[HOST_PATH_MAX];
	int fd, r;

	(void)sink_out_prepare(s->out_dir, err, sizeof(err));
	if ((r = folder_create(&fd, name, s->out_dir, s->name)) < 0)
		return r;
	r = dup3(fd, s->dir_fd, O_CLOEXEC) >= 0 ? TD_OK : TD_ERR_IO;
	close(fd);
	if (r == TD_OK)
		memcpy(s->name, name, sizeof(s->name));
	return r;
}

static void watch_folder(struct sink_session *s)
{
	char was[FOLDER_NAME_MAX], text[2 * HOST_PATH_MAX];
	int r;

	if (!folder_is_gone(s->dir_fd) ||
		(s->folder_lost && s->now_ns - s->folder_tried_ns < FOLDER_AGAIN_NS))
		return;
	memcpy(was, s->name, sizeof(was));
	s->folder_tried_ns = s->now_ns;
	r = make_folder_anew(s);
	if (r == TD_OK)
		snprintf(text, sizeof(text), "the recording goes on in %s", s->name);
	else
		snprintf(text, sizeof(text), "it cannot be made anew: %s",
			r == TD_ERR_IO ? strerror(errno) : td_strerror(r));
	if (!s->folder_lost) {
		char full[3 * HOST_PATH_MAX];

		snprintf(full, sizeof(full),
			"%s: somebody removed this folder, and what was in it is lost; %s", was,
			text);
		emit(s, SINK_EVENT_FAILED, NULL, full, 0, 0);
	} else if (r == TD_OK) {
		emit(s, SINK_EVENT_WARNING, NULL, text, 0, 0);
	}
	s->folder_lost = r < 0;
}

static void watch_room(struct sink_session *s)
{
	char text[HOST_PATH_MAX];

	if (s->full || folder_has_room(s->dir_fd, s->min_free, text, sizeof(text)) == TD_OK)
		return;
	s->full = true;
	emit(s, SINK_EVENT_FULL, NULL, text, 0, 0);
}

void sink_session_tick(struct sink_session *s, uint64_t now_ns)
{
	uint64_t past_ns;

	if (now_ns > s->now_ns)
		s->now_ns = now_ns;
	if (s->live)
		heard(s, now_ns);
	if (s->now_ns - s->refreshed_ns < s->refresh_ns)
		return;
	s->refreshed_ns = s->now_ns;
	if (s->fed || s->folder_lost || s->now_ns - s->looked_ns >= QUIET_NS) {
		s->fed = false;
		s->room_due = true;
		s->looked_ns = s->now_ns;
		watch_folder(s);
	}
	/* In a replay time goes as fast as the disk does: it says nothing about the call. */
	DISPATCH(s, tick, s->live ? now_ns : 0);
	past_ns = s->now_ns - s->watched_ns;
	if (past_ns < WATCH_NS)
		return;
	s->watched_ns = s->now_ns;
	if (s->room_due)
		watch_room(s);
	s->room_due = false;
	for (size_t i = 0; i < s->sink_count; i++)
		watch_speed(&s->sinks[i], past_ns);
	if (is_manifest_due(s))
		describe(s, position(s, s->heard_ns), false, NULL, false);
}
