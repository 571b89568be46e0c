/* SPDX-License-Identifier: ISC */
#include "sinks/track_sink.h"

#include <stdbool.h>
#include <stdlib.h>

#include "common/err.h"
#include "sinks/track.h"

struct track_sink {
	const struct td_track_ops *ops;
	void *state; /* of ops; valid when begun */
	bool begun;
	struct track_set *tracks;
};

static void tracks_close(void *state)
{
	struct track_sink *s = state;

	track_set_free(s->tracks);
	if (s->begun)
		s->ops->close(s->state);
	free(s);
}

int track_sink_open(void **ret_state, const struct td_track_ops *ops, const struct td_host *host,
	const struct td_session *session, const char *const *options)
{
	struct track_sink *s = calloc(1, sizeof(*s));
	struct td_wants wants = { .size = sizeof(wants) };
	int r;

	if (s == NULL)
		return TD_ERR_NOMEM;
	s->ops = ops;
	ops->wants(options, &wants);
	if ((r = ops->begin(&s->state, host, session, options)) < 0)
		goto out;
	s->begun = true;
	r = track_set_new(&s->tracks, ops, s->state, session->start_ns, wants.channels);
	if (r < 0)
		goto out;
	*ret_state = s;
	s = NULL;
out:
	if (s != NULL)
		tracks_close(s);
	return r;
}

static int tracks_frame(void *state, const struct td_frame *frame)
{
	struct track_sink *s = state;

	return track_set_frame(s->tracks, frame);
}

static int tracks_packet(void *state, const struct td_packet *packet)
{
	struct track_sink *s = state;

	return track_set_packet(s->tracks, packet);
}

static int tracks_speaker(void *state, uint64_t user_id, uint32_t ssrc)
{
	struct track_sink *s = state;

	return track_set_speaker(s->tracks, user_id, ssrc);
}

static int tracks_speaker_left(void *state, uint64_t user_id)
{
	struct track_sink *s = state;

	track_set_speaker_left(s->tracks, user_id);
	return TD_OK;
}

static int tracks_count(void *state, uint32_t ssrc, uint64_t user_id, const uint64_t *delta,
	uint32_t delta_count)
{
	struct track_sink *s = state;

	if (delta_count != COUNTER_COUNT)
		return TD_ERR_UNSUPPORTED;
	return track_set_count(s->tracks, ssrc, user_id, delta);
}

static int tracks_tick(void *state, uint64_t now_ns)
{
	struct track_sink *s = state;

	track_set_refresh(s->tracks);
	return TD_HAS(s->ops, tick) ? s->ops->tick(s->state, now_ns) : TD_OK;
}

static int tracks_finish(void *state, uint64_t end_ns)
{
	struct track_sink *s = state;
	struct track *const *tracks;
	size_t count;
	int r = TD_OK;

	track_set_finish(s->tracks, end_ns);
	tracks = track_set_sorted(s->tracks, &count);
	for (size_t i = 0; i < count; i++) {
		if (tracks[i]->failed)
			r = TD_ERR_IO;
	}
	if (TD_HAS(s->ops, finish) && s->ops->finish(s->state) < 0)
		r = TD_ERR_IO;
	return r;
}

static void tracks_files(void *state, td_file_fn *file, void *user)
{
	struct track_sink *s = state;
	struct td_file none = { .size = sizeof(none), .counter_count = COUNTER_COUNT };
	size_t count;
	struct track *const *tracks = track_set_sorted(s->tracks, &count);

	for (size_t i = 0; i < count; i++) {
		const struct track *t = tracks[i];
		struct td_file info = none;

		info.counters = t->counters;
		if (t->open && TD_HAS(s->ops, describe)) {
			info.user_id = t->user_id;
			info.ssrcs = t->ssrcs;
			info.ssrc_count = t->ssrc_count;
			info.spurts = t->spurts;
			info.spurt_count = t->spurt_count;
			s->ops->describe(t->state, &info);
			/* A file that failed may end before it. */
			info.first_sample =
				t->first_sample >= 0 && (uint64_t)t->first_sample < info.samples
				? (uint64_t)t->first_sample
				: TD_NO_SAMPLE;
		}
		file(user, &info);
	}
	none.counters = track_set_rest(s->tracks);
	file(user, &none);
}

const struct td_sink_ops track_sink = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_sink_ops),
	.frame = tracks_frame,
	.packet = tracks_packet,
	.finish = tracks_finish,
	.close = tracks_close,
	.speaker = tracks_speaker,
	.speaker_left = tracks_speaker_left,
	.count = tracks_count,
	.tick = tracks_tick,
	.files = tracks_files,
};
