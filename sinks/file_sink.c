/* SPDX-License-Identifier: ISC */
#include "sinks/file_sink.h"

#include <stdlib.h>

#include "common/err.h"
#include "sinks/file_conf.h"
#include "sinks/file_track.h"

static int file_check(const char *const *options, char *err, size_t err_len)
{
	struct file_conf conf;

	return file_conf_read(&conf, options, err, err_len);
}

static void file_wants(const char *const *options, struct td_wants *ret)
{
	struct file_conf conf;
	char err[256];

	/* What cannot be is refused by file_check(); nothing is opened then. */
	if (file_conf_read(&conf, options, err, sizeof(err)) < 0)
		conf = (struct file_conf){ .source = TD_WANT_PCM, .channels = 2 };
	ret->what = conf.source;
	ret->channels = conf.channels;
}

static void file_close(void *state)
{
	struct file_session *s = state;

	file_session_unlist(s);
	spill_free(s->spill);
	free(s);
}

static int file_begin(void **ret_state, const struct td_host *host,
	const struct td_session *session, const char *const *options)
{
	struct file_session *s = calloc(1, sizeof(*s));
	char err[256];
	int r = TD_ERR_NOMEM;

	if (s == NULL)
		return r;
	s->host = s->outage.host = host;
	s->info = session;
	if ((r = spill_new(&s->spill)) < 0 ||
		(r = file_conf_read(&s->conf, options, err, sizeof(err))) < 0) {
		file_close(s);
		return r;
	}
	if (s->conf.max_silence != FILE_KEEP_ALL)
		spill_open(s->spill, session->dir_fd);
	*ret_state = s;
	return TD_OK;
}

static int file_tick(void *state, uint64_t now_ns)
{
	struct file_session *s = state;

	(void)now_ns;
	file_session_unlist(s);
	outage_tick(&s->outage, false);
	return TD_OK;
}

static int file_finish(void *state)
{
	struct file_session *s = state;

	outage_tick(&s->outage, true);
	return s->outage.failed ? TD_ERR_IO : TD_OK;
}

const struct td_track_ops file_sink = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_track_ops),
	.name = "file",
	.meaning = "one file per speaker",
	.options = file_options,
	.wants = file_wants,
	.begin = file_begin,
	.open = file_track_open,
	.audio = file_track_audio,
	.packet = file_track_packet,
	.silence = file_track_silence,
	.end = file_track_end,
	.free = file_track_free,
	.close = file_close,
	.named = file_track_named,
	.refresh = file_track_refresh,
	.describe = file_track_describe,
	.tick = file_tick,
	.finish = file_finish,
	.check = file_check,
};
