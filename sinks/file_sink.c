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

#include "common/err.h"
#include "sinks/outfile.h"
#include "sinks/track.h"
#include "sinks/wav.h"

enum { FILE_NAME_MAX = 64, FILE_NAME_TRIES = 1000, FILE_CHUNK = 1024 };

static const struct td_writer_ops *const writers[] = { &wav_writer };

struct file_sink {
	const struct td_host *host;
	const struct td_writer_ops *writer;
	int dir_fd;
	uint32_t channels;
	bool failed; /* something of this session could not be written */
	struct track_set *tracks;
};

/* The file of one track. */
struct file_track {
	struct file_sink *sink;
	uint64_t user_id;
	uint64_t samples; /* written; what the file holds once it is closed */
	bool dirty;       /* written to since the last refresh */
	bool failed;
	char name[FILE_NAME_MAX];
	struct outfile *out;
	struct td_output output;
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
		t->failed = t->sink->failed = true;
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
	if ((r = s->writer->open(&t->writer, &t->output, s->channels)) < 0)
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
		s->failed = true;
		file_say(s, TD_EVENT_FAILED, "%s: %s; this speaker is not recorded", t->name,
			r == TD_ERR_IO ? strerror(cause) : td_strerror(r));
		track_file_free(t);
	}
	return r;
}

/* Interleaved samples in `to` channels from those in `from`; both 1 or 2, not the same. */
static void convert(int16_t *out, const int16_t *in, uint32_t samples, uint32_t from)
{
	for (uint32_t i = 0; i < samples; i++) {
		if (from == 1)
			out[2 * i] = out[2 * i + 1] = in[i];
		else
			out[i] = (int16_t)(((int32_t)in[2 * i] + in[2 * i + 1]) / 2);
	}
}

static int track_file_audio(void *state, const int16_t *pcm, uint32_t samples, uint32_t channels)
{
	struct file_track *t = state;
	struct file_sink *s = t->sink;
	int16_t converted[2 * FILE_CHUNK];
	int r = TD_OK;

	t->dirty = true;
	if (channels == s->channels) {
		r = s->writer->write(t->writer, pcm, samples);
		t->samples += samples;
		return r < 0 ? file_fail(t, r) : TD_OK;
	}
	while (samples > 0 && r == TD_OK) {
		uint32_t n = samples < FILE_CHUNK ? samples : FILE_CHUNK;

		convert(converted, pcm, n, channels);
		r = s->writer->write(t->writer, converted, n);
		t->samples += n;
		pcm += (size_t)n * channels;
		samples -= n;
	}
	return r < 0 ? file_fail(t, r) : TD_OK;
}

static int track_file_silence(void *state, uint64_t n)
{
	struct file_track *t = state;
	int r = t->sink->writer->silence(t->writer, n);

	t->dirty = true;
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

static const struct td_track_ops track_file = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_track_ops),
	.open = track_file_open,
	.audio = track_file_audio,
	.silence = track_file_silence,
	.end = track_file_end,
	.free = track_file_free,
	.named = track_file_named,
};

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

static uint32_t file_channels(const char *const *options)
{
	return option(options, "channels")[0] == '1' ? 1 : 2;
}

static void file_close(void *state)
{
	struct file_sink *s = state;

	track_set_free(s->tracks);
	free(s);
}

static int file_open(void **ret_state, const struct td_host *host, const struct td_session *session,
	const char *const *options)
{
	struct file_sink *s = calloc(1, sizeof(*s));
	int r;

	if (s == NULL)
		return TD_ERR_NOMEM;
	s->host = host;
	s->dir_fd = session->dir_fd;
	s->channels = file_channels(options);
	for (size_t i = 0; i < sizeof(writers) / sizeof(writers[0]); i++) {
		if (strcmp(writers[i]->name, option(options, "format")) == 0)
			s->writer = writers[i];
	}
	if ((r = track_set_new(&s->tracks, &track_file, s, session->start_ns)) < 0) {
		file_close(s);
		return r;
	}
	*ret_state = s;
	return TD_OK;
}

static int file_frame(void *state, const struct td_frame *frame)
{
	struct file_sink *s = state;

	return track_set_frame(s->tracks, frame);
}

static int file_finish(void *state, uint64_t end_ns)
{
	struct file_sink *s = state;

	track_set_finish(s->tracks, end_ns);
	return s->failed ? TD_ERR_IO : TD_OK;
}

static int file_speaker(void *state, uint64_t user_id, uint32_t ssrc)
{
	struct file_sink *s = state;

	return track_set_speaker(s->tracks, user_id, ssrc);
}

static int file_speaker_left(void *state, uint64_t user_id)
{
	struct file_sink *s = state;

	track_set_speaker_left(s->tracks, user_id);
	return TD_OK;
}

static int file_count(void *state, uint32_t ssrc, uint64_t user_id, const uint64_t *delta,
	uint32_t delta_count)
{
	struct file_sink *s = state;

	if (delta_count != COUNTER_COUNT)
		return TD_ERR_UNSUPPORTED;
	return track_set_count(s->tracks, ssrc, user_id, delta);
}

static int file_tick(void *state)
{
	struct file_sink *s = state;
	size_t count;
	struct track *const *tracks = track_set_sorted(s->tracks, &count);

	for (size_t i = 0; i < count; i++) {
		struct file_track *t = tracks[i]->state;
		int r;

		if (!tracks[i]->open || tracks[i]->failed || !t->dirty)
			continue;
		t->dirty = false;
		if ((r = s->writer->refresh(t->writer)) < 0) {
			file_fail(t, r);
			tracks[i]->failed = true;
		}
	}
	return TD_OK;
}

static void file_files(void *state, td_file_fn *file, void *user)
{
	struct file_sink *s = state;
	struct td_file none = { .size = sizeof(none), .counter_count = COUNTER_COUNT };
	size_t count;
	struct track *const *tracks = track_set_sorted(s->tracks, &count);

	for (size_t i = 0; i < count; i++) {
		const struct track *t = tracks[i];
		const struct file_track *f = t->state;
		struct td_file info = none;

		info.counters = t->counters;
		if (t->open) {
			info.file = f->name;
			info.format = s->writer->name;
			info.channels = s->channels;
			info.user_id = t->user_id;
			info.samples = f->samples;
			/* A file that failed may end before it. */
			info.first_sample = (uint64_t)t->first_sample < f->samples
				? (uint64_t)t->first_sample
				: TD_NO_SAMPLE;
			info.ssrcs = t->ssrcs;
			info.ssrc_count = t->ssrc_count;
		}
		file(user, &info);
	}
	none.counters = track_set_rest(s->tracks);
	file(user, &none);
}

const struct td_sink_ops file_sink = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_sink_ops),
	.name = "file",
	.meaning = "one file per speaker",
	.options = file_options,
	.channels = file_channels,
	.open = file_open,
	.frame = file_frame,
	.finish = file_finish,
	.close = file_close,
	.speaker = file_speaker,
	.speaker_left = file_speaker_left,
	.count = file_count,
	.tick = file_tick,
	.files = file_files,
};
