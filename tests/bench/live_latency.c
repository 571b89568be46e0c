/* SPDX-License-Identifier: ISC */

/*
 * A sink of its own file: how long datagrams are under way until their frame is here. Counts frames
 * that came in their place inside a spurt, a first one waits for other reasons; and none of the
 * first second, in which everything begins. When a session
 * closes, `file` holds of all sessions so far: frames, then the 50th, 90th, 99th and 99.9th of a
 * hundred and the longest, in microseconds.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <tapedeck/sink.h>

enum { STEP_US = 10, STEPS = 100000 };

static atomic_uint_fast64_t steps[STEPS], frames, first_ns;

static const struct td_option options[] = {
	{ .name = "file",
		.type = TD_OPTION_TEXT,
		.fallback = "latency.txt",
		.min = 1,
		.max = 4000,
		.meaning = "where the result goes" },
	{ .name = NULL },
};

struct latency {
	const char *file;
};

static void latency_wants(const char *const *values, struct td_wants *ret)
{
	(void)values;
	ret->what = TD_WANT_PCM;
	ret->channels = 2;
}

static int latency_open(void **ret_state, const struct td_host *host,
	const struct td_session *session, const char *const *values)
{
	struct latency *l = calloc(1, sizeof(*l));

	(void)host;
	(void)session;
	if (l == NULL)
		return TD_SINK_ERR_NOMEM;
	l->file = values[1];
	*ret_state = l;
	return 0;
}

static int latency_frame(void *state, const struct td_frame *f)
{
	uint_fast64_t none = 0;
	struct timespec t;
	uint64_t us;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &t);
	us = ((uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec - f->arrival_ns) / 1000;
	atomic_compare_exchange_strong(&first_ns, &none, f->arrival_ns);
	if (f->arrival_ns < first_ns + 1000000000 || f->kind != TD_FRAME_DECODED ||
		(f->flags & TD_FRAME_SPURT) != 0)
		return 0;
	us /= STEP_US;
	atomic_fetch_add_explicit(&steps[us < STEPS ? us : STEPS - 1], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&frames, 1, memory_order_relaxed);
	return 0;
}

static uint64_t quantile(uint64_t total, double of)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < STEPS - 1 && (double)(sum += steps[i]) < of * (double)total; i++)
		;
	return (uint64_t)(i + 1) * STEP_US;
}

static int latency_finish(void *state, uint64_t end_ns)
{
	struct latency *l = state;
	uint64_t total = frames;
	FILE *out = fopen(l->file, "we");

	(void)end_ns;
	if (out == NULL)
		return TD_SINK_ERR_IO;
	fprintf(out, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
		total, quantile(total, 0.5), quantile(total, 0.9), quantile(total, 0.99),
		quantile(total, 0.999), quantile(total, 1));
	return fclose(out) == 0 ? 0 : TD_SINK_ERR_IO;
}

static void latency_close(void *state)
{
	free(state);
}

static const struct td_sink_ops sink = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_sink_ops),
	.name = "latency",
	.meaning = "how long datagrams are under way",
	.options = options,
	.wants = latency_wants,
	.open = latency_open,
	.finish = latency_finish,
	.close = latency_close,
	.frame = latency_frame,
};

static const struct td_plugin plugin = { TD_SINK_ABI, sizeof(plugin), &sink, NULL, NULL };

TD_PLUGIN(plugin)
