/* SPDX-License-Identifier: ISC */

/*
 * A plugin of all three heights, in what C11, C++11 and C++20 have in common. -DFROZEN: built
 * against the header that ABI 1 was published with. Its other -D make it one that must be refused.
 *
 *   probe         sink: fails from frame `fail` on, takes `slow` ms for each one of guild `guild`,
 *                 crashes at frame `crash`; writes probe.txt
 *   probe_track   track: the same for each speaker
 *   probe         writer: a line with rate and channels, then samples as they are
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef FROZEN
#include "sink_abi1.h"
#else
#include <tapedeck/sink.h>
#endif

#ifndef OPS_ABI
#define OPS_ABI TD_SINK_ABI
#endif
#ifndef NAME
#define NAME "probe"
#endif
#ifdef NO_FINISH
#define FINISH NULL
#else
#define FINISH probe_finish
#endif

struct probe {
	const struct td_host *host;
	int dir_fd;
	uint64_t frames, fail, crash, slow_ms, samples, silence, tracks;
};

static const struct td_option options[] = {
	{ "fail", "0", NULL, 0, 1000000, "frame that fails; 0: none", TD_OPTION_NUMBER },
	{ "slow", "0", NULL, 0, 10000, "ms for each frame", TD_OPTION_NUMBER },
	{ "guild", "", NULL, 0, UINT64_MAX, "slow in this one alone", TD_OPTION_NUMBER },
	{ "crash", "0", NULL, 0, 1000000, "frame that crashes; 0: none", TD_OPTION_NUMBER },
	{ NULL, NULL, NULL, 0, 0, NULL, 0 },
};

static void probe_wants(const char *const *values, struct td_wants *ret)
{
	(void)values;
	ret->what = TD_WANT_PCM;
	ret->channels = 1;
}

static int probe_open(void **ret_state, const struct td_host *host,
	const struct td_session *session, const char *const *values)
{
	struct probe *p = (struct probe *)calloc(1, sizeof(*p));

	if (p == NULL)
		return TD_SINK_ERR_NOMEM;
	p->host = host;
	p->dir_fd = session->dir_fd;
	p->fail = strtoul(values[1], NULL, 10);
	p->slow_ms = strtoul(values[3], NULL, 10);
	if (values[5][0] != '\0' && strtoull(values[5], NULL, 10) != session->guild_id)
		p->slow_ms = 0;
	p->crash = strtoul(values[7], NULL, 10);
	*ret_state = p;
	return 0;
}

static int probe_count(struct probe *p, uint32_t samples)
{
	const struct timespec slow = { (time_t)(p->slow_ms / 1000),
		(long)(p->slow_ms % 1000 * 1000000) };

	p->samples += samples;
	if (p->slow_ms > 0)
		nanosleep(&slow, NULL);
	if (++p->frames == p->crash)
		abort();
	return p->fail != 0 && p->frames >= p->fail ? TD_SINK_ERR_LIMIT : 0;
}

static int probe_frame(void *state, const struct td_frame *frame)
{
	return probe_count((struct probe *)state, frame->samples);
}

static int probe_write_down(struct probe *p)
{
	int fd = openat(p->dir_fd, "probe.txt", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return TD_SINK_ERR_IO;
	dprintf(fd, "%" PRIu64 " samples, %" PRIu64 " of silence, %" PRIu64 " tracks\n", p->samples,
		p->silence, p->tracks);
	return close(fd) != 0 ? TD_SINK_ERR_IO : 0;
}

#ifndef NO_FINISH
static int probe_finish(void *state, uint64_t end_ns)
{
	(void)end_ns;
	return probe_write_down((struct probe *)state);
}
#endif

static void probe_close(void *state)
{
	free(state);
}

static const struct td_sink_ops sink = { OPS_ABI, sizeof(struct td_sink_ops), NAME, "for tests",
	options, probe_wants, probe_open, FINISH, probe_close, probe_frame, NULL, NULL, NULL, NULL,
	NULL, NULL, NULL, NULL };

/* ---- height 2 ---- */

struct probe_track {
	struct probe *probe;
};

static int probe_track_open(void **ret_track, void *state, const struct td_track *track)
{
	struct probe_track *t = (struct probe_track *)calloc(1, sizeof(*t));

	(void)track;
	if (t == NULL)
		return TD_SINK_ERR_NOMEM;
	t->probe = (struct probe *)state;
	t->probe->tracks++;
	*ret_track = t;
	return 0;
}

static int probe_track_audio(void *track, const int16_t *pcm, uint32_t samples)
{
	(void)pcm;
	return probe_count(((struct probe_track *)track)->probe, samples);
}

static int probe_track_silence(void *track, uint64_t n)
{
	((struct probe_track *)track)->probe->silence += n;
	return 0;
}

static int probe_track_end(void *track)
{
	(void)track;
	return 0;
}

static void probe_track_free(void *track)
{
	free(track);
}

static int probe_track_finish(void *state)
{
	return probe_write_down((struct probe *)state);
}

static const struct td_track_ops track = { TD_SINK_ABI, sizeof(struct td_track_ops), "probe_track",
	"for tests", options, probe_wants, probe_open, probe_track_open, probe_track_silence,
	probe_track_end, probe_track_free, probe_close, probe_track_audio, NULL, NULL, NULL, NULL,
	NULL, probe_track_finish, NULL };

/* ---- height 3 ---- */

struct probe_file {
	const struct td_output *out;
	uint64_t header, frame;
};

static int probe_writer_check(const struct td_writer_conf *conf, char *err, size_t err_len)
{
	(void)err;
	(void)err_len;
	return conf->channels == 1 || conf->channels == 2 ? 0 : TD_SINK_ERR_USAGE;
}

static int probe_writer_open(void **ret_state, const struct td_output *out,
	const struct td_writer_conf *conf)
{
	struct probe_file *f = (struct probe_file *)calloc(1, sizeof(*f));
	char line[64];

	if (f == NULL)
		return TD_SINK_ERR_NOMEM;
	f->out = out;
	f->frame = 2 * conf->channels;
	f->header = (uint64_t)snprintf(line, sizeof(line), "probe %" PRIu32 " %" PRIu32 "\n",
		conf->rate, conf->channels);
	*ret_state = f;
	return out->append(out->user, line, f->header);
}

static int probe_writer_write(void *state, const int16_t *pcm, uint32_t samples)
{
	struct probe_file *f = (struct probe_file *)state;

	return f->out->append(f->out->user, pcm, samples * f->frame);
}

static int probe_writer_silence(void *state, uint64_t n)
{
	struct probe_file *f = (struct probe_file *)state;

	return f->out->zeros(f->out->user, n * f->frame);
}

static int probe_writer_refresh(void *state)
{
	(void)state;
	return 0;
}

static int probe_writer_close(void *state, uint64_t *ret_samples)
{
	struct probe_file *f = (struct probe_file *)state;

	*ret_samples = (f->out->length(f->out->user) - f->header) / f->frame;
	free(f);
	return 0;
}

static const struct td_writer_ops writer = { TD_SINK_ABI, sizeof(struct td_writer_ops), "probe",
	"for tests", NULL, TD_WANT_PCM, 0, probe_writer_check, probe_writer_open,
	probe_writer_silence, probe_writer_refresh, probe_writer_close, probe_writer_write, NULL };

#ifndef NO_TRACK
static const struct td_plugin plugin = { TD_SINK_ABI, sizeof(struct td_plugin), &sink, &track,
	&writer };
#else
static const struct td_plugin plugin = { TD_SINK_ABI, sizeof(struct td_plugin), &sink, NULL,
	&writer };
const void *probe_unused[] = { &track };
#endif

#ifdef NO_SYMBOL
const struct td_plugin *not_td_plugin = &plugin;
#else
TD_PLUGIN(plugin)
#endif
