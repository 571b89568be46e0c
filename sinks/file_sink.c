/* SPDX-License-Identifier: ISC */
#include "sinks/file_sink.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/outfile.h"
#include "sinks/registry.h"

enum { FILE_NAME_MAX = 64, FILE_NAME_TRIES = 1000 };

struct file_sink {
	const struct td_host *host;
	const struct td_writer_ops *writer;
	int dir_fd;
	uint32_t channels;
};

/* The file of one track. */
struct file_track {
	struct file_sink *sink;
	uint64_t user_id;
	uint64_t samples; /* written; what the file holds once it is closed */
	bool failed;
	char name[FILE_NAME_MAX];
	struct outfile *out;
	struct td_output output;
	struct td_writer_conf conf;
	void *writer; /* NULL: closed */
};

static void file_event(const struct file_track *t, uint32_t type, uint64_t samples)
{
	struct td_event event = {
		.size = sizeof(event),
		.type = type,
		.path = t->name,
		.user_id = t->user_id,
		.samples = samples,
	};

	t->sink->host->event(t->sink->host->user, &event);
}

__attribute__((format(printf, 3, 4))) static void file_say(struct file_sink *s, uint32_t type,
	const char *fmt, ...)
{
	char text[256];
	struct td_event event = { .size = sizeof(event), .type = type, .text = text };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->host->event(s->host->user, &event);
}

/* This file ends here, with one event; r is what its writer returned. */
static int file_fail(struct file_track *t, int r)
{
	int cause = t->out != NULL ? outfile_errno(t->out) : 0;

	if (!t->failed) {
		t->failed = true;
		file_say(t->sink, TD_EVENT_FAILED, "%s: %s; this file ends here", t->name,
			cause != 0 ? strerror(cause) : td_strerror(r));
	}
	return TD_ERR_IO;
}

/* <stem>.<format>, or <stem>-2.<format>, ... when that is taken. */
static void file_name(const struct file_sink *s, char ret[static FILE_NAME_MAX], const char *stem,
	unsigned n)
{
	if (n < 2)
		snprintf(ret, FILE_NAME_MAX, "%s.%s", stem, s->writer->name);
	else
		snprintf(ret, FILE_NAME_MAX, "%s-%u.%s", stem, n, s->writer->name);
}

/* Gives the file `from` the first free name of the stem; *ret_name on success. */
static int file_take_name(struct file_sink *s, const char *from, const char *stem,
	char ret_name[static FILE_NAME_MAX])
{
	char name[FILE_NAME_MAX];
	int r = TD_ERR_IO;

	for (unsigned n = 1; n <= FILE_NAME_TRIES; n++) {
		file_name(s, name, stem, n);
		r = outfile_rename(s->dir_fd, from, name);
		if (r == TD_OK || errno != EEXIST)
			break;
	}
	if (r == TD_OK)
		memcpy(ret_name, name, sizeof(name));
	return r;
}

static void track_file_free(void *state)
{
	struct file_track *t = state;
	uint64_t samples;

	if (t == NULL)
		return;
	if (t->writer != NULL)
		t->sink->writer->close(t->writer, &samples);
	outfile_free(t->out);
	free(t);
}

static int track_file_open(void **ret_track, void *user, const struct td_track *track)
{
	struct file_sink *s = user;
	struct file_track *t;
	char stem[FILE_NAME_MAX / 2], part[FILE_NAME_MAX + 8];
	bool created = false;
	int r = TD_ERR_NOMEM;

	if (track->user_id != 0)
		snprintf(stem, sizeof(stem), "%" PRIu64, track->user_id);
	else
		snprintf(stem, sizeof(stem), "ssrc-%" PRIu32, track->ssrc);
	if ((t = calloc(1, sizeof(*t))) == NULL)
		goto out;
	t->sink = s;
	t->user_id = track->user_id;
	file_name(s, t->name, stem, 1);
	/* Nobody ever sees it under its name without a valid header. */
	snprintf(part, sizeof(part), ".%s.part", t->name);
	if ((r = outfile_create(&t->out, s->dir_fd, part)) < 0)
		goto out;
	created = true;
	t->output = outfile_output(t->out);
	t->conf = (struct td_writer_conf){ .size = sizeof(t->conf),
		.source = TD_WANT_PCM,
		.channels = s->channels,
		.rate = TD_RATE };
	if ((r = s->writer->open(&t->writer, &t->output, &t->conf)) < 0)
		goto out;
	if ((r = outfile_flush(t->out)) < 0)
		goto out;
	if ((r = file_take_name(s, part, stem, t->name)) < 0)
		goto out;
	file_event(t, TD_EVENT_FILE_OPENED, 0);
	*ret_track = t;
	t = NULL;
out:
	if (t != NULL) {
		int cause = t->out != NULL && outfile_errno(t->out) != 0 ? outfile_errno(t->out)
									 : errno;

		if (created)
			unlinkat(s->dir_fd, part, 0);
		file_say(s, TD_EVENT_FAILED, "%s: %s; this speaker is not recorded", t->name,
			r == TD_ERR_IO ? strerror(cause) : td_strerror(r));
		track_file_free(t);
	}
	return r;
}

static int track_file_audio(void *state, const int16_t *pcm, uint32_t samples)
{
	struct file_track *t = state;
	int r = t->sink->writer->write(t->writer, pcm, samples);

	t->samples += samples;
	return r < 0 ? file_fail(t, r) : TD_OK;
}

static int track_file_silence(void *state, uint64_t n)
{
	struct file_track *t = state;
	int r = t->sink->writer->silence(t->writer, n);

	t->samples += n;
	return r < 0 ? file_fail(t, r) : TD_OK;
}

static int track_file_end(void *state)
{
	struct file_track *t = state;
	int r = t->sink->writer->close(t->writer, &t->samples);

	t->writer = NULL;
	if (r == TD_OK)
		r = outfile_sync(t->out);
	if (r < 0)
		file_fail(t, r);
	outfile_free(t->out);
	t->out = NULL;
	file_event(t, TD_EVENT_FILE_CLOSED, t->samples);
	return t->failed ? TD_ERR_IO : TD_OK;
}

static void track_file_named(void *state, uint64_t user_id, uint32_t own)
{
	struct file_track *t = state;
	char stem[FILE_NAME_MAX / 2];

	t->user_id = user_id;
	if (!own)
		return;
	snprintf(stem, sizeof(stem), "%" PRIu64, user_id);
	/* The sound is safe under its old name too, and the manifest tells whose it is. */
	if (file_take_name(t->sink, t->name, stem, t->name) < 0)
		file_say(t->sink, TD_EVENT_WARNING, "%s could not be renamed to its speaker: %s",
			t->name, strerror(errno));
}

static int track_file_refresh(void *state)
{
	struct file_track *t = state;
	int r = t->sink->writer->refresh(t->writer);

	return r < 0 ? file_fail(t, r) : TD_OK;
}

static void track_file_describe(void *state, struct td_file *file)
{
	const struct file_track *t = state;

	file->file = t->name;
	file->format = t->sink->writer->name;
	file->channels = t->sink->channels;
	file->rate = TD_RATE;
	file->samples = t->samples;
}

/* ---- the sink ---- */

static const struct td_option file_options[] = {
	{ .name = "format",
		.type = TD_OPTION_CHOICE,
		.fallback = "wav",
		.choices = "wav",
		.meaning = "of the files" },
	{ .name = "channels",
		.type = TD_OPTION_NUMBER,
		.fallback = "2",
		.min = 1,
		.max = 2,
		.meaning = "of each file" },
	{ .name = NULL },
};

/* The value of an option; the host gives every one. */
static const char *option(const char *const *options, const char *name)
{
	while (strcmp(options[0], name) != 0)
		options += 2;
	return options[1];
}

static void file_wants(const char *const *options, struct td_wants *ret)
{
	ret->what = TD_WANT_PCM;
	ret->channels = option(options, "channels")[0] == '1' ? 1 : 2;
}

static int file_begin(void **ret_state, const struct td_host *host,
	const struct td_session *session, const char *const *options)
{
	struct td_wants wants = { .size = sizeof(wants) };
	struct file_sink *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return TD_ERR_NOMEM;
	file_wants(options, &wants);
	s->host = host;
	s->dir_fd = session->dir_fd;
	s->channels = wants.channels;
	s->writer = registry_writer(option(options, "format"));
	*ret_state = s;
	return TD_OK;
}

static void file_close(void *state)
{
	free(state);
}

const struct td_track_ops file_sink = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_track_ops),
	.name = "file",
	.meaning = "one file per speaker",
	.options = file_options,
	.wants = file_wants,
	.begin = file_begin,
	.open = track_file_open,
	.audio = track_file_audio,
	.silence = track_file_silence,
	.end = track_file_end,
	.free = track_file_free,
	.close = file_close,
	.named = track_file_named,
	.refresh = track_file_refresh,
	.describe = track_file_describe,
};
