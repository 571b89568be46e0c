/* SPDX-License-Identifier: ISC */
#include "sinks/convert/work.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/convert/feed.h"
#include "sinks/convert/target.h"
#include "sinks/convert/verify.h"
#include "sinks/shape.h"
#include "sinks/wav.h"

/* Samples at once: read, carried. */
enum { WORK_BLOCK = 4096, WORK_SPAN = 8 << 20 };
/* The loudest a mix may be; 1 dB less where it is resampled, which can go over what it was. */
enum { PEAK_MAX = 32767, PEAK_RESAMPLED = 29204 };

struct work {
	const struct job *job;
	const struct work_conf *conf;
	const struct work_observer *observer;
	struct fault *fault;
	struct feed *feed;
	const struct source_info *in;
	struct shape *shape;
	struct target *target;
	struct td_writer_conf writer_conf;
	void *writer;   /* NULL: closed */
	uint64_t done;  /* samples of the input */
	uint64_t out;   /* samples that went to the writer */
	uint64_t quiet; /* zeros of the input that are not passed on yet */
	int16_t pcm[WORK_BLOCK * RAW_CHANNELS_MAX]; /* or bytes */
};

/* A writer or its output failed. */
static int output_failed(struct work *w, int r)
{
	const char *cause = target_error(w->target);

	return fault_set(w->fault, r, "%s: %s", w->job->output,
		cause[0] != '\0' ? cause : td_strerror(r));
}

/* ---- input, silence told apart, shape, writer ---- */

static int to_writer(void *user, const int16_t *pcm, uint32_t samples)
{
	struct work *w = user;

	w->out += samples;
	return w->conf->format->writer->write(w->writer, pcm, samples);
}

static int silence_to_writer(void *user, uint64_t n)
{
	struct work *w = user;

	w->out += n;
	return w->conf->format->writer->silence(w->writer, n);
}

static int audio(struct work *w, const int16_t *pcm, uint32_t samples)
{
	int r = shape_audio(w->shape, pcm, samples, to_writer, w);

	return r < 0 ? output_failed(w, r) : r;
}

/* A second of zeros or more is silence; less is sound that happens to be zero. */
static int flush_quiet(struct work *w)
{
	static const int16_t zeros[WORK_BLOCK * RAW_CHANNELS_MAX];
	uint64_t n = w->quiet;
	int r = TD_OK;

	w->quiet = 0;
	if (n >= w->in->rate) {
		r = shape_silence(w->shape, n, to_writer, silence_to_writer, w);
		return r < 0 ? output_failed(w, r) : r;
	}
	while (n > 0 && r == TD_OK) {
		uint32_t piece = n < WORK_BLOCK ? (uint32_t)n : WORK_BLOCK;

		r = audio(w, zeros, piece);
		n -= piece;
	}
	return r;
}

static bool is_zero(const int16_t *pcm, size_t len)
{
	return pcm[0] == 0 && memcmp(pcm, pcm + 1, (len - 1) * sizeof(*pcm)) == 0;
}

static int encode_block(struct work *w, uint64_t n, bool silent)
{
	int r;

	w->done += n;
	if (silent || is_zero(w->pcm, (size_t)n * w->in->channels)) {
		w->quiet += n;
		return TD_OK;
	}
	if (w->quiet > 0 && (r = flush_quiet(w)) < 0)
		return r;
	return audio(w, w->pcm, (uint32_t)n);
}

/* Bytes of the only input go to the output as they are. Read by its own offset, beside what
 * libsndfile does with it. */
static int carry(struct work *w, uint64_t at, uint64_t len)
{
	const struct td_output *out = target_output(w->target);
	struct input in = *source_input(feed_source(w->feed));
	size_t n;
	int r;

	in.shrank = false;
	while (len > 0) {
		if ((r = target_carry(w->target, in.fd, at, len, &n)) < 0)
			return output_failed(w, r);
		if (n == 0) {
			n = len < sizeof(w->pcm) ? (size_t)len : sizeof(w->pcm);
			if ((r = input_read(&in, w->pcm, n, at, &n)) < 0)
				return fault_set(w->fault, r, "cannot be read: %s",
					strerror(errno));
			if (in.shrank)
				return fault_set(w->fault, TD_ERR_TRUNCATED,
					"became shorter while it was read");
			if ((r = out->append(out->user, w->pcm, n)) < 0)
				return output_failed(w, r);
		}
		at += n;
		len -= n;
	}
	return TD_OK;
}

static int carry_samples(struct work *w, uint64_t at, uint64_t n)
{
	int r;

	w->done += n;
	if (w->quiet > 0 && (r = flush_quiet(w)) < 0)
		return r;
	if ((r = carry(w, at, n * w->in->channels * sizeof(*w->pcm))) < 0)
		return r;
	w->out += n;
	wav_appended(w->writer, n);
	return TD_OK;
}

/* The input, if its samples are what a WAV of them holds; else NULL. */
static const struct source *plain_source(const struct work *w)
{
	const struct source *source = feed_source(w->feed);

	return source != NULL && source_is_plain(source) &&
			w->conf->format->writer == &wav_writer &&
			w->writer_conf.rate == w->in->rate &&
			w->writer_conf.channels == w->in->channels
		? source
		: NULL;
}

static int encode_all(struct work *w)
{
	const struct witness *witness = &w->observer->witness;
	const struct source *plain;
	uint64_t n, at;
	bool silent;
	int r;

	for (;;) {
		plain = plain_source(w);
		at = plain != NULL ? source_offset(plain) : 0;
		if ((r = feed_read(w->feed, plain != NULL ? NULL : w->pcm,
			     plain != NULL ? WORK_SPAN : WORK_BLOCK, &n, &silent, w->fault)) < 0)
			return r;
		if (n == 0)
			break;
		r = plain != NULL && !silent ? carry_samples(w, at, n) : encode_block(w, n, silent);
		if (r < 0)
			return r;
		if (witness->progress != NULL)
			witness->progress(witness->user, w->done);
	}
	if (w->done == 0)
		return fault_set(w->fault, TD_ERR_TRUNCATED, "empty: there is no sound in it");
	if ((r = flush_quiet(w)) < 0)
		return r;
	r = shape_end(w->shape, to_writer, w);
	return r < 0 ? output_failed(w, r) : r;
}

static const char *text_or_null(const char *text)
{
	return text != NULL && text[0] != '\0' ? text : NULL;
}

/* From sound to a finished file. */
static int encode(struct work *w)
{
	const struct td_writer_ops *writer = w->conf->format->writer;
	uint32_t rate = w->writer_conf.rate, channels = w->writer_conf.channels;
	uint64_t stored;
	int r;

	if ((r = feed_measure(w->feed, rate == w->in->rate ? PEAK_MAX : PEAK_RESAMPLED, w->fault)) <
		0)
		return r;
	/* What was measured was read again from the start. */
	w->in = feed_info(w->feed);
	if ((r = shape_new(&w->shape, w->in->rate, w->in->channels, rate, channels)) < 0)
		return fault_set(w->fault, r, "%s", td_strerror(r));
	if ((r = writer->open(&w->writer, target_output(w->target), &w->writer_conf)) < 0)
		return output_failed(w, r);
	if ((r = encode_all(w)) < 0)
		return r;
	r = writer->close(w->writer, &stored);
	w->writer = NULL;
	if (r < 0)
		return output_failed(w, r);
	return TD_OK;
}

/* ---- copies ---- */

/* An input that is what it should become: encoding it again would only lose something. */
static bool is_copy(const struct work *w)
{
	const struct source *source = feed_source(w->feed);

	return source != NULL && w->in->lossy != NULL && w->in->samples != SOURCE_UNKNOWN &&
		strcmp(w->in->lossy, w->conf->format->writer->name) == 0 &&
		!w->conf->format->chosen && w->writer_conf.rate == w->in->rate &&
		w->writer_conf.channels == w->in->channels && w->job->tracks[0].cut_count == 0 &&
		w->job->tracks[0].parts[0].position == 0;
}

static int copy(struct work *w)
{
	w->done = w->out = w->in->samples;
	return carry(w, 0, source_input(feed_source(w->feed))->size);
}

/* ---- the job ---- */

static int prepare(struct work *w)
{
	const struct job *job = w->job;
	uint32_t rate = w->conf->rate, channels = w->conf->channels;
	int r;

	if ((r = feed_open(&w->feed, job, w->conf->raw, &w->observer->witness, w->fault)) < 0)
		return r;
	w->in = feed_info(w->feed);
	w->observer->started(w->observer->witness.user, w->in->samples, w->in->rate);
	if (w->in->samples == 0)
		return fault_set(w->fault, TD_ERR_TRUNCATED, "empty: there is no sound in it");
	if ((r = format_fit(w->conf->format, w->in->rate, w->in->channels, &rate, &channels,
		     w->fault)) < 0)
		return r;
	w->writer_conf = (struct td_writer_conf){
		.size = sizeof(w->writer_conf),
		.source = TD_WANT_PCM,
		.channels = channels,
		.rate = rate,
		.start_utc_ns = job->start_utc_ns != 0 ? job->start_utc_ns : w->in->start_utc_ns,
		.title = text_or_null(job->title != NULL ? job->title : w->in->title),
		.album = text_or_null(job->album != NULL ? job->album : w->in->album),
		.options = w->conf->format->options,
	};
	return target_open(&w->target, job->folder, job->name, w->fault);
}

/* Written out, opened again, measured, and only then there. */
static int finish(struct work *w, struct work_result *ret)
{
	const struct verify v = { .format = w->conf->format->writer->name,
		.rate = w->writer_conf.rate,
		.channels = w->writer_conf.channels,
		.samples = w->out };
	enum source_end end = feed_finish(w->feed);
	struct timespec mtime = feed_newest(w->feed);
	bool checked = false;
	struct fault inner;
	int fd, r;

	if ((r = target_sync(w->target, &fd, &inner)) < 0)
		goto out;
	if ((r = verify_output(&v, fd, &checked, &inner)) < 0)
		goto out;
	if (w->job->newest.tv_sec > mtime.tv_sec ||
		(w->job->newest.tv_sec == mtime.tv_sec && w->job->newest.tv_nsec > mtime.tv_nsec))
		mtime = w->job->newest;
	/* Never as new as an input that is not the one that was read. */
	if (end == SOURCE_CHANGED) {
		mtime.tv_sec -= mtime.tv_nsec == 0;
		mtime.tv_nsec = mtime.tv_nsec == 0 ? (long)TD_SEC_NS - 1 : mtime.tv_nsec - 1;
	}
	r = target_commit(w->target, w->job->newest.tv_sec != 0 ? &mtime : NULL, &inner);
	ret->deletable = checked && end == SOURCE_WHOLE;
out:
	return r < 0 ? fault_set(w->fault, r, "%s: %s", w->job->output, inner.text) : r;
}

int work_run(const struct job *job, const struct work_conf *conf,
	const struct work_observer *observer, struct work_result *ret, struct fault *fault)
{
	struct work_result result = { 0 };
	struct work *w = calloc(1, sizeof(*w));
	uint64_t stored;
	int r;

	if (w == NULL)
		return fault_set(fault, TD_ERR_NOMEM, "%s", td_strerror(TD_ERR_NOMEM));
	w->job = job;
	w->conf = conf;
	w->observer = observer;
	w->fault = fault;
	if ((r = prepare(w)) < 0)
		goto out;
	result.copied = is_copy(w);
	if ((r = result.copied ? copy(w) : encode(w)) < 0)
		goto out;
	if ((r = finish(w, &result)) < 0)
		goto out;
	result.samples = w->done;
	result.rate = w->in->rate;
	*ret = result;
out:
	if (w->writer != NULL)
		(void)conf->format->writer->close(w->writer, &stored);
	shape_free(w->shape);
	target_free(w->target);
	feed_free(w->feed);
	free(w);
	return r;
}
