/* SPDX-License-Identifier: ISC */

/*
 * A level meter: how loud everybody is, for every `interval` seconds in which they are heard.
 *
 *   receiver ... --sink file --sink meter:interval=5,log=yes
 *
 * In the folder of the session, levels.jsonl, a line for each speaker and interval:
 *
 *   {"at":12,"user_id":"81384788765712384","ssrc":7,"peak":-3.1,"rms":-20.4,"heard":0.94}
 *
 * `at` is where it begins, in seconds; peak and rms (of what was heard) are dB below full scale;
 * heard is how many seconds of it there was sound. user_id is null while the speaker is not known.
 * Live, a line comes within two seconds of the end of its interval; in a replay, where only what
 * comes tells the time, with the next word of the same stream. Sound that comes later still, and
 * more than 256 streams in one interval, make a second line for it.
 *
 * Height 1: frames come as they are heard, a stream each.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tapedeck/sink.h>

enum { RATE = 48000, STREAMS_MAX = 256 };

#define SECOND_NS UINT64_C(1000000000)
/* Sound is some way behind its time: so long after an interval there may be more of it. */
#define LATE_NS SECOND_NS

/* One stream in one interval. */
struct level {
	uint64_t user_id, interval; /* which one, from 0 */
	uint32_t ssrc;
	uint64_t samples; /* heard; 0: this place is free */
	uint64_t last_ns; /* when it was heard last */
	uint32_t peak;
	double energy;
};

struct meter {
	const struct td_host *host;
	uint64_t start_ns, seconds; /* seconds: of an interval */
	int log;
	FILE *file;
	struct level levels[STREAMS_MAX];
};

static const struct td_option options[] = {
	{ .name = "interval",
		.type = TD_OPTION_NUMBER,
		.fallback = "1",
		.min = 1,
		.max = 3600,
		.meaning = "seconds that a line is about" },
	{ .name = "log",
		.type = TD_OPTION_CHOICE,
		.fallback = "no",
		.choices = "yes|no",
		.meaning = "a line in the receiver's log, too" },
	{ .name = NULL },
};
/* Options are given in the order of the table: key, value, key, value, ... */
enum { VALUE_INTERVAL = 1, VALUE_LOG = 3 };

static void meter_wants(const char *const *values, struct td_wants *ret)
{
	(void)values;
	ret->what = TD_WANT_PCM;
	ret->channels = 1;
}

static int meter_open(void **ret_state, const struct td_host *host,
	const struct td_session *session, const char *const *values)
{
	struct meter *m = calloc(1, sizeof(*m));
	int fd, cause;

	if (m == NULL)
		return TD_SINK_ERR_NOMEM;
	m->host = host;
	m->start_ns = session->start_ns;
	m->seconds = strtoul(values[VALUE_INTERVAL], NULL, 10);
	m->log = values[VALUE_LOG][0] == 'y';
	fd = openat(session->dir_fd, "levels.jsonl", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || (m->file = fdopen(fd, "w")) == NULL) {
		cause = errno;
		if (fd >= 0)
			close(fd);
		free(m);
		errno = cause; /* TD_SINK_ERR_IO: errno says why */
		return TD_SINK_ERR_IO;
	}
	*ret_state = m;
	return 0;
}

static double decibel(double amplitude)
{
	return amplitude > 0 ? 20 * log10(amplitude / 32768) : -96.3;
}

/* Writes the line of a level and frees its place. */
static int meter_line(struct meter *m, struct level *l)
{
	double rms = decibel(sqrt(l->energy / (double)l->samples)), peak = decibel(l->peak);
	char who[32] = "null", text[128];

	if (l->user_id != 0)
		snprintf(who, sizeof(who), "\"%" PRIu64 "\"", l->user_id);
	fprintf(m->file,
		"{\"at\":%" PRIu64 ",\"user_id\":%s,\"ssrc\":%" PRIu32
		",\"peak\":%.1f,\"rms\":%.1f,\"heard\":%.2f}\n",
		l->interval * m->seconds, who, l->ssrc, peak, rms, (double)l->samples / RATE);
	if (m->log) {
		snprintf(text, sizeof(text), "user %" PRIu64 ": peak %.1f dB, rms %.1f dB",
			l->user_id, peak, rms);
		m->host->log(m->host->user, TD_LEVEL_INFO, text);
	}
	l->samples = 0;
	return ferror(m->file) ? TD_SINK_ERR_IO : 0;
}

/* The place of a stream: its own, or a free one. When more speak than we have places, it gets
 * the one that was not heard for longest, whose level is written out. */
static int meter_find(struct meter *m, uint32_t ssrc, struct level **ret)
{
	struct level *free_one = NULL, *oldest = m->levels;
	int r;

	for (struct level *l = m->levels; l < m->levels + STREAMS_MAX; l++) {
		if (l->samples > 0 && l->ssrc == ssrc) {
			*ret = l;
			return 0;
		}
		if (l->samples == 0 && free_one == NULL)
			free_one = l;
		if (l->last_ns < oldest->last_ns)
			oldest = l;
	}
	if (free_one == NULL && (r = meter_line(m, free_one = oldest)) < 0)
		return r;
	*ret = free_one;
	return 0;
}

static int meter_frame(void *state, const struct td_frame *f)
{
	struct meter *m = state;
	uint64_t since_ns =
		f->sent_ns > (int64_t)m->start_ns ? (uint64_t)f->sent_ns - m->start_ns : 0;
	uint64_t interval = since_ns / (m->seconds * SECOND_NS);
	struct level *l;
	int r;

	if (f->kind == TD_FRAME_SILENCE)
		return 0;
	if ((r = meter_find(m, f->ssrc, &l)) < 0)
		return r;
	if (l->samples > 0 && l->interval != interval && (r = meter_line(m, l)) < 0)
		return r;
	if (l->samples == 0)
		*l = (struct level){ .ssrc = f->ssrc, .interval = interval };
	l->user_id = f->user_id;
	l->last_ns = since_ns;
	l->samples += f->samples;
	for (uint32_t i = 0; i < f->samples; i++) {
		uint32_t amplitude = (uint32_t)abs(f->pcm[i]);

		l->peak = amplitude > l->peak ? amplitude : l->peak;
		l->energy += (double)amplitude * amplitude;
	}
	return 0;
}

static int meter_tick(void *state, uint64_t now_ns)
{
	struct meter *m = state;
	uint64_t before = 0; /* the interval whose sound may still come */
	int r;

	if (now_ns > m->start_ns + LATE_NS)
		before = (now_ns - LATE_NS - m->start_ns) / (m->seconds * SECOND_NS);
	for (struct level *l = m->levels; l < m->levels + STREAMS_MAX; l++) {
		if (l->samples > 0 && l->interval < before && (r = meter_line(m, l)) < 0)
			return r;
	}
	return fflush(m->file) != 0 ? TD_SINK_ERR_IO : 0;
}

static int meter_finish(void *state, uint64_t end_ns)
{
	struct meter *m = state;
	int r = 0;

	(void)end_ns;
	for (struct level *l = m->levels; l < m->levels + STREAMS_MAX && r == 0; l++) {
		if (l->samples > 0)
			r = meter_line(m, l);
	}
	return fflush(m->file) != 0 ? TD_SINK_ERR_IO : r;
}

static void meter_close(void *state)
{
	struct meter *m = state;

	fclose(m->file);
	free(m);
}

static const struct td_sink_ops sink = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_sink_ops),
	.name = "meter",
	.meaning = "how loud everybody is: levels.jsonl",
	.options = options,
	.wants = meter_wants,
	.open = meter_open,
	.finish = meter_finish,
	.close = meter_close,
	.frame = meter_frame,
	.tick = meter_tick,
};

static const struct td_plugin plugin = { TD_SINK_ABI, sizeof(plugin), &sink, NULL, NULL };

TD_PLUGIN(plugin)
