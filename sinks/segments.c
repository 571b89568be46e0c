/* SPDX-License-Identifier: ISC */
#include "sinks/segments.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/folder.h"
#include "sinks/outfile.h"
#include "sinks/registry.h"
#include "sinks/shape.h"
#include "sinks/utc.h"

#define HIDDEN_NAME ".%" PRIu32 ".part"
/* Sound may be under way this long after it was heard; then silence is silence. */
#define UNDER_WAY_NS (500 * TD_MS_NS)
enum {
	SAMPLES_PER_MS = TD_RATE / 1000,
	PIECE = 10 * SAMPLES_PER_MS, /* what is looked at as a whole */
	QUIET_PEAK = 8,              /* -72 dBFS: what rings on in a decoder */
	NAME_LEN = 64,
	NAME_TRIES = 1000,
	FOLDER_LEN = 24,
	FOLDER_TRIES = 100,
};

enum option {
	OPTION_FORMAT,
	OPTION_AFTER,
	OPTION_MIN,
	OPTION_MAX,
	OPTION_RATE,
	OPTION_CHANNELS,
	OPTION_COUNT,
};

static const struct td_option segments_options[] = {
	[OPTION_FORMAT] = { .name = "format",
		.type = TD_OPTION_FORMAT,
		.fallback = "wav",
		.meaning = "of the files" },
	[OPTION_AFTER] = { .name = "after",
		.type = TD_OPTION_NUMBER,
		.fallback = "800",
		.min = 100,
		.max = 60000,
		.meaning = "milliseconds of silence that end an utterance" },
	[OPTION_MIN] = { .name = "min",
		.type = TD_OPTION_NUMBER,
		.fallback = "200",
		.min = 0,
		.max = 60000,
		.meaning = "milliseconds; shorter utterances are dropped" },
	[OPTION_MAX] = { .name = "max",
		.type = TD_OPTION_NUMBER,
		.fallback = "30000",
		.min = 1000,
		.max = 3600000,
		.meaning = "milliseconds; longer ones go on in the next file" },
	[OPTION_RATE] = { .name = "rate",
		.type = TD_OPTION_NUMBER,
		.fallback = "16000",
		.min = 8000,
		.max = 192000,
		.meaning = "samples per second" },
	[OPTION_CHANNELS] = { .name = "channels",
		.type = TD_OPTION_NUMBER,
		.fallback = "1",
		.min = 1,
		.max = 2,
		.meaning = "of each file" },
	[OPTION_COUNT] = { .name = NULL },
};

struct segments_conf {
	const struct td_writer_ops *writer;
	const char *const *writer_options;
	uint64_t after, min, max; /* samples at 48 kHz */
	uint32_t rate, channels;
};

struct segments {
	struct segments_conf conf;
	const struct td_host *host;
	const struct td_session *info;
	char folder[FOLDER_LEN]; /* of the utterances; the index is called so, too */
	int folder_fd;
	struct outfile *index;
	uint64_t index_length; /* whole lines */
	TAILQ_HEAD(, segments_track) tracks;
	uint32_t serial;      /* of files that have no name yet */
	bool failed, failing; /* something was lost; the last one was */
};

/* One speaker. */
struct segments_track {
	TAILQ_ENTRY(segments_track) link;
	struct segments *session;
	uint64_t user_id;
	uint32_t ssrc;
	uint64_t position; /* of what comes next */

	/* The utterance that is being written: */
	struct outfile *file; /* NULL: none */
	uint64_t first, end;  /* positions of its first sound and behind its last */
	bool goes_on;         /* from the one before, which was as long as may be */
	char title[NAME_LEN];
	struct td_output output;
	struct td_writer_conf conf;
	void *writer;
	struct shape *shape;
};

/* ---- options ---- */

static uint64_t number(const char *const *options, enum option o)
{
	return strtoull(options[2 * o + 1], NULL, 10);
}

static struct segments_conf read_conf(const char *const *options)
{
	return (struct segments_conf){
		.writer = registry_writer(options[2 * OPTION_FORMAT + 1]),
		.writer_options = options + 2 * (size_t)OPTION_COUNT,
		.after = number(options, OPTION_AFTER) * SAMPLES_PER_MS,
		.min = number(options, OPTION_MIN) * SAMPLES_PER_MS,
		.max = number(options, OPTION_MAX) * SAMPLES_PER_MS,
		.rate = (uint32_t)number(options, OPTION_RATE),
		.channels = (uint32_t)number(options, OPTION_CHANNELS),
	};
}

static int segments_check(const char *const *options, char *err, size_t err_len)
{
	struct segments_conf conf = read_conf(options);
	const struct td_writer_conf w = { .size = sizeof(w),
		.source = TD_WANT_PCM,
		.channels = conf.channels,
		.rate = conf.rate,
		.options = conf.writer_options };

	if (conf.writer == NULL || (conf.writer->takes & TD_WANT_PCM) == 0) {
		snprintf(err, err_len, "there is no format '%.20s' that takes PCM",
			options[2 * OPTION_FORMAT + 1]);
		return TD_ERR_USAGE;
	}
	if (conf.min > conf.max) {
		snprintf(err, err_len, "min is longer than max");
		return TD_ERR_USAGE;
	}
	return conf.writer->check(&w, err, err_len);
}

static void segments_wants(const char *const *options, struct td_wants *ret)
{
	ret->what = TD_WANT_PCM;
	ret->channels = (uint32_t)number(options, OPTION_CHANNELS);
}

/* ---- the session ---- */

static void segments_close(void *state)
{
	struct segments *s = state;

	outfile_free(s->index);
	if (s->folder_fd >= 0)
		close(s->folder_fd);
	free(s);
}

/* "segments", or "segments-2", ... when another sink of this session has that. */
static int make_folder(struct segments *s)
{
	int dir_fd = s->info->dir_fd;

	snprintf(s->folder, sizeof(s->folder), "segments");
	for (unsigned n = 2; mkdirat(dir_fd, s->folder, 0700) < 0; n++) {
		if (errno != EEXIST || n > FOLDER_TRIES)
			return TD_ERR_IO;
		snprintf(s->folder, sizeof(s->folder), "segments-%u", n);
	}
	if (fchmodat(dir_fd, s->folder, 0700, 0) < 0)
		return TD_ERR_IO;
	s->folder_fd = openat(dir_fd, s->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return s->folder_fd >= 0 ? TD_OK : TD_ERR_IO;
}

static int make_index(struct segments *s)
{
	char name[FOLDER_LEN + 8];
	struct outfile *index;
	int r;

	snprintf(name, sizeof(name), "%s.jsonl", s->folder);
	if ((r = outfile_create(&index, s->info->dir_fd, name)) < 0)
		return r;
	outfile_free(s->index);
	s->index = index;
	s->index_length = 0;
	return TD_OK;
}

/* Somebody removed the session's folder, or what is ours in it: anew, from the next utterance on.
 */
static void watch_folder(struct segments *s)
{
	int fd = s->folder_fd;

	if (folder_is_gone(s->info->dir_fd))
		return; /* it is tried again; the host says so */
	if (folder_is_gone(fd) && make_folder(s) == TD_OK) {
		/* Files that are being written know it by its number. */
		(void)dup3(s->folder_fd, fd, O_CLOEXEC);
		close(s->folder_fd);
	}
	s->folder_fd = fd;
	if (outfile_is_gone(s->index)) {
		s->failed = true;
		(void)make_index(s);
	}
}

static int segments_begin(void **ret_state, const struct td_host *host,
	const struct td_session *session, const char *const *options)
{
	struct segments *s = calloc(1, sizeof(*s));
	int r;

	if (s == NULL)
		return TD_ERR_NOMEM;
	s->conf = read_conf(options);
	s->host = host;
	s->info = session;
	TAILQ_INIT(&s->tracks);
	s->folder_fd = -1;
	if ((r = make_folder(s)) < 0 || (r = make_index(s)) < 0)
		goto out;
	*ret_state = s;
	s = NULL;
	r = TD_OK;
out:
	if (s != NULL) {
		int saved = errno;

		segments_close(s);
		errno = saved;
	}
	return r;
}

/* An utterance is lost. Said once, until one is not. */
static void lost(struct segments_track *t, int r, int cause)
{
	struct segments *s = t->session;
	char text[256];
	struct td_event event = { .size = sizeof(event),
		.type = TD_EVENT_FAILED,
		.text = text,
		.user_id = t->user_id };

	s->failed = true;
	if (s->failing)
		return;
	s->failing = true;
	snprintf(text, sizeof(text), "%s: %s; utterances are lost", s->folder,
		r == TD_ERR_IO && cause != 0 ? strerror(cause) : td_strerror(r));
	s->host->event(s->host->user, &event);
}

/* ---- an utterance ---- */

static void drop(struct segments_track *t)
{
	uint64_t samples;

	if (t->writer != NULL)
		t->session->conf.writer->close(t->writer, &samples);
	t->writer = NULL;
	if (t->file != NULL)
		outfile_unlink(t->file);
	outfile_free(t->file);
	t->file = NULL;
	shape_free(t->shape);
	t->shape = NULL;
}

/* cause: errno when it is known; 0: it is the file's, or the last one. */
static void drop_lost(struct segments_track *t, int r, int cause)
{
	if (t->file != NULL && outfile_errno(t->file) != 0)
		cause = outfile_errno(t->file);
	else if (cause == 0)
		cause = errno;
	drop(t);
	lost(t, r, cause);
}

static int begin(struct segments_track *t)
{
	struct segments *s = t->session;
	char hidden[NAME_LEN];
	int r;

	t->first = t->end = t->position;
	if (t->user_id != 0)
		snprintf(t->title, sizeof(t->title), "%" PRIu64, t->user_id);
	else
		snprintf(t->title, sizeof(t->title), "ssrc-%" PRIu32, t->ssrc);
	t->conf = (struct td_writer_conf){ .size = sizeof(t->conf),
		.source = TD_WANT_PCM,
		.channels = s->conf.channels,
		.rate = s->conf.rate,
		.position = t->first,
		.start_utc_ns =
			s->info->start_utc_ns + (uint64_t)td_samples_to_ns((int64_t)t->first),
		.title = t->title,
		.album = s->info->name,
		.options = s->conf.writer_options };
	snprintf(hidden, sizeof(hidden), HIDDEN_NAME, s->serial++);
	if ((r = outfile_create(&t->file, s->folder_fd, hidden)) < 0)
		return r;
	t->output = outfile_output(t->file);
	if ((r = s->conf.writer->open(&t->writer, &t->output, &t->conf)) < 0) {
		t->writer = NULL;
		return r;
	}
	return shape_new(&t->shape, TD_RATE, s->conf.channels, s->conf.rate, s->conf.channels);
}

static int put_audio(void *user, const int16_t *pcm, uint32_t samples)
{
	struct segments_track *t = user;

	return t->session->conf.writer->write(t->writer, pcm, samples);
}

static int put_silence(void *user, uint64_t n)
{
	struct segments_track *t = user;

	return t->session->conf.writer->silence(t->writer, n);
}

/* One write, so that a reader never sees half a line; where a full disk left one, it goes first. */
static int add_line(struct segments_track *t, const char *name)
{
	struct segments *s = t->session;
	char line[512], user[32] = "null", utc[UTC_TEXT];
	int r;

	if (outfile_errno(s->index) != 0 && (r = outfile_rewind(s->index, s->index_length)) < 0)
		return r;
	if (t->user_id != 0)
		snprintf(user, sizeof(user), "\"%" PRIu64 "\"", t->user_id);
	utc_text(utc, t->conf.start_utc_ns);
	snprintf(line, sizeof(line),
		"{\"user_id\":%s,\"ssrc\":%" PRIu32
		",\"file\":\"%s/%s\",\"start\":%.3f,\"duration\":%.3f,\"first_sample\":%" PRIu64
		",\"samples\":%" PRIu64 ",\"start_utc\":\"%s\"}\n",
		user, t->ssrc, s->folder, name, (double)t->first / TD_RATE,
		(double)(t->end - t->first) / TD_RATE, t->first, t->end - t->first, utc);
	if ((r = outfile_append(s->index, line, strlen(line))) < 0 ||
		(r = outfile_flush(s->index)) < 0)
		return r;
	s->index_length += strlen(line);
	return TD_OK;
}

/* <speaker>-<milliseconds since the session's start>.<format>: in the order of time by name. */
static int take_name(struct segments_track *t, char ret_name[static NAME_LEN])
{
	int r = TD_ERR_IO;

	for (unsigned n = 1; n <= NAME_TRIES; n++) {
		char again[8] = "";

		if (n > 1)
			snprintf(again, sizeof(again), "-%u", n);
		snprintf(ret_name, NAME_LEN, "%.24s-%09" PRIu64 "%s.%.16s", t->title,
			t->first / SAMPLES_PER_MS, again, t->session->conf.writer->name);
		if ((r = outfile_take_name(t->file, ret_name)) == TD_OK || errno != EEXIST)
			break;
	}
	return r;
}

/* The utterance is over. */
static void end(struct segments_track *t)
{
	struct segments *s = t->session;
	char name[NAME_LEN], path[NAME_LEN + FOLDER_LEN];
	struct td_event event = { .size = sizeof(event),
		.type = TD_EVENT_FILE_CLOSED,
		.path = path,
		.user_id = t->user_id };
	uint64_t samples;
	int r;

	if (t->file == NULL)
		return;
	if (t->end - t->first < s->conf.min && !t->goes_on) {
		drop(t);
		return;
	}
	if ((r = shape_end(t->shape, put_audio, t)) < 0)
		goto out;
	r = s->conf.writer->close(t->writer, &samples);
	t->writer = NULL;
	if (r < 0 || (r = outfile_flush(t->file)) < 0 || (r = take_name(t, name)) < 0)
		goto out;
	if ((r = add_line(t, name)) < 0)
		goto out;
	snprintf(path, sizeof(path), "%s/%s", s->folder, name);
	event.samples = t->end - t->first;
	s->host->event(s->host->user, &event);
	outfile_free(t->file);
	t->file = NULL;
	shape_free(t->shape);
	t->shape = NULL;
	s->failing = false;
out:
	if (r < 0)
		drop_lost(t, r, outfile_errno(s->index));
}

/* ---- the track ---- */

static int segments_open(void **ret_track, void *state, const struct td_track *track)
{
	struct segments_track *t = calloc(1, sizeof(*t));
	struct segments *s = state;

	if (t == NULL)
		return TD_ERR_NOMEM;
	t->session = s;
	t->user_id = track->user_id;
	t->ssrc = track->ssrc;
	TAILQ_INSERT_TAIL(&s->tracks, t, link);
	*ret_track = t;
	return TD_OK;
}

static int segments_silence(void *track, uint64_t n)
{
	struct segments_track *t = track;

	t->position += n;
	if (t->file != NULL && t->position - t->end >= t->session->conf.after)
		end(t);
	return TD_OK;
}

/* Sound that goes into the utterance as far as one may be long; returns how much of it did. */
static uint32_t put_sound(struct segments_track *t, const int16_t *pcm, uint32_t samples)
{
	struct segments *s = t->session;
	uint64_t room, quiet;
	int r = TD_OK;

	if (t->file != NULL && t->position - t->first >= s->conf.max) {
		t->goes_on = true;
		end(t);
	} else if (t->file == NULL) {
		t->goes_on = false;
	}
	if (t->file == NULL)
		r = begin(t);
	room = s->conf.max - (t->position - t->first);
	if (samples > room)
		samples = (uint32_t)room;
	quiet = t->position - t->end;
	if (r == TD_OK && quiet > 0)
		r = shape_silence(t->shape, quiet, put_audio, put_silence, t);
	if (r == TD_OK)
		r = shape_audio(t->shape, pcm, samples, put_audio, t);
	t->position += samples;
	t->end = t->position;
	if (r < 0)
		drop_lost(t, r, 0);
	return samples;
}

static bool is_quiet(const int16_t *pcm, uint32_t values)
{
	for (uint32_t i = 0; i < values; i++) {
		if (pcm[i] > QUIET_PEAK || pcm[i] < -QUIET_PEAK)
			return false;
	}
	return true;
}

static int segments_audio(void *track, const int16_t *pcm, uint32_t samples)
{
	struct segments_track *t = track;
	uint32_t channels = t->session->conf.channels;

	while (samples > 0) {
		uint32_t n = samples < PIECE ? samples : PIECE;

		if (is_quiet(pcm, n * channels))
			segments_silence(t, n);
		else
			n = put_sound(t, pcm, n);
		pcm += (size_t)n * channels;
		samples -= n;
	}
	return TD_OK;
}

/* What there is of an utterance survives this process, in a file that opens. */
static void keep(struct segments_track *t)
{
	int r = t->session->conf.writer->refresh(t->writer);

	if (r == TD_OK)
		r = outfile_flush(t->file);
	if (r < 0)
		drop_lost(t, r, errno);
}

/* Nothing comes while nobody speaks: then time tells that an utterance is over. */
static int segments_tick(void *state, uint64_t now_ns)
{
	struct segments *s = state;
	struct segments_track *t;
	int64_t now;

	watch_folder(s);
	TAILQ_FOREACH(t, &s->tracks, link)
	{
		if (t->file != NULL)
			keep(t);
	}
	if (now_ns < s->info->start_ns + UNDER_WAY_NS)
		return TD_OK;
	now = td_ns_to_samples((int64_t)(now_ns - UNDER_WAY_NS - s->info->start_ns));
	TAILQ_FOREACH(t, &s->tracks, link)
	{
		if (t->file != NULL && now > (int64_t)(t->end + s->conf.after))
			end(t);
	}
	return TD_OK;
}

static int segments_end(void *track)
{
	end(track);
	return TD_OK;
}

static void segments_free(void *track)
{
	struct segments_track *t = track;

	drop(t);
	TAILQ_REMOVE(&t->session->tracks, t, link);
	free(t);
}

static void segments_named(void *track, uint64_t user_id, uint32_t own)
{
	struct segments_track *t = track;

	(void)own;
	t->user_id = user_id;
	snprintf(t->title, sizeof(t->title), "%" PRIu64, user_id);
}

static int segments_finish(void *state)
{
	struct segments *s = state;

	if (outfile_sync(s->index) < 0)
		s->failed = true;
	return s->failed ? TD_ERR_IO : TD_OK;
}

const struct td_track_ops segments_sink = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_track_ops),
	.name = "segments",
	.meaning = "one file per utterance, and a line of JSON each: for transcribers",
	.options = segments_options,
	.wants = segments_wants,
	.begin = segments_begin,
	.open = segments_open,
	.silence = segments_silence,
	.end = segments_end,
	.free = segments_free,
	.close = segments_close,
	.audio = segments_audio,
	.named = segments_named,
	.tick = segments_tick,
	.finish = segments_finish,
	.check = segments_check,
};
