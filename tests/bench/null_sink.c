/* SPDX-License-Identifier: ISC */
/*
 * A sink that takes what it is told to take and does nothing with it: what is left when a replay
 * goes to it is the way there.
 */
#include <stdlib.h>
#include <string.h>

#include <tapedeck/sink.h>

static const struct td_option options[] = {
	{ .name = "want",
		.type = TD_OPTION_CHOICE,
		.fallback = "nothing",
		.choices = "nothing|packets|sound",
		.meaning = "is taken" },
	{ .name = NULL },
};

static void null_wants(const char *const *values, struct td_wants *ret)
{
	ret->what = strcmp(values[1], "sound") == 0 ? TD_WANT_PCM
		: strcmp(values[1], "packets") == 0 ? TD_WANT_OPUS
						    : 0;
	ret->channels = 2;
}

static int null_open(void **ret_state, const struct td_host *host, const struct td_session *session,
	const char *const *values)
{
	(void)host;
	(void)session;
	(void)values;
	return (*ret_state = malloc(1)) != NULL ? 0 : TD_SINK_ERR_NOMEM;
}

static int null_finish(void *state, uint64_t end_ns)
{
	(void)state;
	(void)end_ns;
	return 0;
}

static int null_frame(void *state, const struct td_frame *frame)
{
	(void)state;
	(void)frame;
	return 0;
}

static int null_packet(void *state, const struct td_packet *packet)
{
	(void)state;
	(void)packet;
	return 0;
}

static const struct td_sink_ops sink = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_sink_ops),
	.name = "bench_null",
	.meaning = "takes sound and drops it",
	.options = options,
	.wants = null_wants,
	.open = null_open,
	.finish = null_finish,
	.close = free,
	.frame = null_frame,
	.packet = null_packet,
};

static const struct td_plugin plugin = { TD_SINK_ABI, sizeof(plugin), &sink, NULL, NULL };

TD_PLUGIN(plugin)
