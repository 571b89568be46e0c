/* SPDX-License-Identifier: ISC */
#include "sinks/track_sink.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "sinks/track.h"

struct track_sink {
	const struct td_track_ops *ops;
	const struct td_host *outer;
	struct td_host host;         /* outer, as ops sees it */
	bool said;                   /* ops reported a failure during this call */
	bool said_spurts, said_cuts; /* that these are left out */
	void *state;                 /* of ops; valid when begun */
	bool begun;
	struct track_set *tracks;
};

/* ---- a track that fails is an event, of its own or of ours ---- */

static void inner_event(void *user, const struct td_event *event)
{
	struct track_sink *s = user;

	s->said = s->said || event->type == TD_EVENT_FAILED;
	s->outer->event(s->outer->user, event);
}

static void inner_log(void *user, uint32_t level, const char *text)
{
	const struct track_sink *s = user;

	s->outer->log(s->outer->user, level, text);
}

static const char *inner_counter_name(void *user, uint32_t counter)
{
	const struct track_sink *s = user;

	return s->outer->counter_name(s->outer->user, counter);
}

static const struct td_writer_ops *inner_writer(void *user, const char *name)
{
	const struct track_sink *s = user;

	return s->outer->writer(s->outer->user, name);
}

static void on_failed(void *user, const struct track *t, int r)
{
	struct track_sink *s = user;
	char text[256];
	const struct td_event event = { .size = sizeof(event),
		.type = TD_EVENT_FAILED,
		.text = text,
		.user_id = t->user_id };
	const char *why = r == TD_ERR_IO ? strerror(errno) : td_strerror(r);

	if (!s->said) {
		if (t->user_id != 0)
			snprintf(text, sizeof(text), "%s: user %" PRIu64, s->ops->name, t->user_id);
		else
			snprintf(text, sizeof(text), "%s: SSRC %" PRIu32, s->ops->name, t->ssrc);
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			": %s; nothing more of this speaker", why);
		s->outer->event(s->outer->user, &event);
	}
	s->said = false;
}

/* ---- methods ---- */

static void tracks_close(void *state)
{
	struct track_sink *s = state;

	track_set_free(s->tracks);
	if (s->begun)
		s->ops->close(s->state);
	free(s);
}

int track_sink_open(void **ret_state, const struct td_track_ops *ops, const struct td_host *host,
	const struct td_session *session, const char *const *options, struct spill *spill)
{
	struct track_sink *s = calloc(1, sizeof(*s));
	struct td_wants wants = { .size = sizeof(wants) };
	int r;

	if (s == NULL)
		return TD_ERR_NOMEM;
	s->ops = ops;
	s->outer = host;
	s->host = (struct td_host){ TD_SINK_ABI, sizeof(s->host), s, inner_event, inner_log,
		inner_counter_name, inner_writer };
	ops->wants(options, &wants);
	if ((r = ops->begin(&s->state, &s->host, session, options)) < 0)
		goto out;
	s->begun = true;
	r = track_set_new(&s->tracks, ops, s->state, session->start_ns, wants.channels, spill);
	if (r < 0)
		goto out;
	track_set_on_failure(s->tracks, on_failed, s);
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

	s->said = false;
	return track_set_frame(s->tracks, frame);
}

static int tracks_packet(void *state, const struct td_packet *packet)
{
	struct track_sink *s = state;

	s->said = false;
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

	s->said = false;
	track_set_refresh(s->tracks);
	return TD_HAS(s->ops, tick) ? s->ops->tick(s->state, now_ns) : TD_OK;
}

static int tracks_finish(void *state, uint64_t end_ns)
{
	struct track_sink *s = state;
	struct track *const *tracks;
	size_t count;
	int r = TD_OK;

	s->said = false;
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

uint64_t track_file_end(const struct td_file *file)
{
	const struct td_part *last =
		file->part_count > 0 ? &file->parts[file->part_count - 1] : NULL;
	uint64_t from = last != NULL ? last->position : 0;
	uint64_t end = last != NULL ? from + last->samples : file->samples;

	for (uint32_t i = 0; i < file->cut_count; i++)
		end += file->cuts[i].position >= from ? file->cuts[i].samples : 0;
	return end;
}

/* A file that failed may end before it. */
static uint64_t first_sample(const struct track *t, const struct td_file *file)
{
	return t->first_sample >= 0 && (uint64_t)t->first_sample < track_file_end(file)
		? (uint64_t)t->first_sample
		: TD_NO_SAMPLE;
}

/* A list that cannot be read again, or not without memory, is left out, which is said once. */
static void leave_out(const struct track_sink *s, bool *said, const struct td_file *file,
	const char *what)
{
	char text[512];
	const struct td_event event = { .size = sizeof(event),
		.type = TD_EVENT_FAILED,
		.text = text,
		.user_id = file->user_id };

	if (*said)
		return;
	*said = true;
	snprintf(text, sizeof(text), "%s: the list of its %s cannot be read again, and is left out",
		file->file != NULL ? file->file : s->ops->name, what);
	s->outer->event(s->outer->user, &event);
}

static void tracks_files(void *state, td_file_fn *file, void *user)
{
	struct track_sink *s = state;
	struct td_file none = { .size = sizeof(none), .counter_count = COUNTER_COUNT };
	size_t count;
	struct track *const *tracks = track_set_sorted(s->tracks, &count);

	for (size_t i = 0; i < count; i++) {
		const struct track *t = tracks[i];
		struct td_spurt *spurts = NULL;
		struct td_file info = none;

		info.counters = t->counters;
		if (t->open && TD_HAS(s->ops, describe)) {
			info.user_id = t->user_id;
			info.ssrcs = t->ssrcs;
			info.ssrc_count = t->ssrc_count;
			info.spurts = spurts = track_spurts(s->tracks, t, &info.spurt_count);
			s->ops->describe(t->state, &info);
			if (spurts == NULL)
				leave_out(s, &s->said_spurts, &info, "spurts");
			if (info.cuts == NULL && info.cut_count > 0) {
				leave_out(s, &s->said_cuts, &info, "cuts");
				info.cut_count = 0;
			}
			info.first_sample = first_sample(t, &info);
		}
		file(user, &info);
		track_spurts_free(t, spurts);
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
