/* SPDX-License-Identifier: ISC */
#include "sinks/track.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/map.h"
#include "sinks/timeline.h"

struct stream {
	uint32_t ssrc;
	struct track *track;
	struct timeline time;
};

struct track_set {
	const struct td_track_ops *ops;
	void *user;
	uint64_t start_ns;
	uint32_t channels;
	struct spill *spill;
	struct track **tracks;
	size_t track_count, track_cap;
	struct map streams; /* by SSRC */
	uint64_t rest[COUNTER_COUNT];
	void (*failed)(void *user, const struct track *t, int r);
	void *failed_user;
};

int track_set_new(struct track_set **ret, const struct td_track_ops *ops, void *user,
	uint64_t start_ns, uint32_t channels, struct spill *spill)
{
	struct track_set *set = calloc(1, sizeof(*set));

	if (set == NULL)
		return TD_ERR_NOMEM;
	set->ops = ops;
	set->user = user;
	set->start_ns = start_ns;
	set->channels = channels;
	set->spill = spill;
	*ret = set;
	return TD_OK;
}

void track_set_on_failure(struct track_set *set,
	void (*failed)(void *user, const struct track *t, int r), void *user)
{
	set->failed = failed;
	set->failed_user = user;
}

/* A method of ops returned r for the track. */
static void track_returned(const struct track_set *set, struct track *t, int r)
{
	if (r >= 0 || t->failed)
		return;
	t->failed = true;
	if (set->failed != NULL)
		set->failed(set->failed_user, t, r);
}

static void track_free(const struct track_set *set, struct track *t)
{
	if (t->open)
		set->ops->free(t->state);
	free(t->ssrcs);
	spill_list_free(&t->spurts);
	free(t);
}

void track_set_free(struct track_set *set)
{
	if (set == NULL)
		return;
	for (size_t i = 0; i < set->track_count; i++)
		track_free(set, set->tracks[i]);
	free(set->tracks);
	for (size_t i = 0; i < set->streams.cap; i++)
		free(set->streams.table[i].value);
	map_free(&set->streams);
	free(set);
}

/* Room for one more in a growing array. */
static int grow(void **array, size_t *cap, size_t count, size_t size)
{
	size_t want = *cap == 0 ? 8 : *cap * 2;
	void *p;

	if (count < *cap)
		return TD_OK;
	if ((p = realloc(*array, want * size)) == NULL)
		return TD_ERR_NOMEM;
	*array = p;
	*cap = want;
	return TD_OK;
}

static int stream_add(struct track_set *set, uint32_t ssrc, struct stream **ret)
{
	struct stream *st;
	int r;

	if (set->streams.len >= TRACK_STREAM_MAX)
		return TD_ERR_LIMIT;
	if ((st = calloc(1, sizeof(*st))) == NULL)
		return TD_ERR_NOMEM;
	if ((r = map_put(&set->streams, ssrc, st)) < 0) {
		free(st);
		return r;
	}
	st->ssrc = ssrc;
	*ret = st;
	return TD_OK;
}

static void stream_remove(struct track_set *set, struct stream *st)
{
	map_del(&set->streams, st->ssrc);
	free(st);
}

static struct track *track_of_user(const struct track_set *set, uint64_t user_id)
{
	for (size_t i = 0; i < set->track_count; i++) {
		if (set->tracks[i]->own && set->tracks[i]->user_id == user_id)
			return set->tracks[i];
	}
	return NULL;
}

static int track_add(struct track_set *set, uint64_t user_id, uint32_t ssrc, struct track **ret)
{
	void *array = set->tracks;
	struct track *t;
	int r;

	if (set->track_count >= TRACK_MAX)
		return TD_ERR_LIMIT;
	r = grow(&array, &set->track_cap, set->track_count, sizeof(struct track *));
	set->tracks = array;
	if (r < 0)
		return r;
	if ((t = calloc(1, sizeof(*t))) == NULL)
		return TD_ERR_NOMEM;
	t->user_id = user_id;
	t->own = user_id != 0;
	t->ssrc = ssrc;
	t->first_sample = -1;
	set->tracks[set->track_count++] = t;
	*ret = t;
	return TD_OK;
}

/* The last list of SSRCs a reader of the manifest sees; it is bounded, the sound is not. */
static int track_list_ssrc(struct track *t, uint32_t ssrc)
{
	uint32_t *p;

	for (uint32_t i = 0; i < t->ssrc_count; i++) {
		if (t->ssrcs[i] == ssrc)
			return TD_OK;
	}
	if (t->ssrc_count >= TRACK_STREAM_MAX)
		return TD_OK;
	if ((p = realloc(t->ssrcs, (t->ssrc_count + 1) * sizeof(*p))) == NULL)
		return TD_ERR_NOMEM;
	t->ssrcs = p;
	t->ssrcs[t->ssrc_count++] = ssrc;
	return TD_OK;
}

/* From here on the stream's sound goes to t. */
static int stream_attach(struct stream *st, struct track *t)
{
	int r;

	if ((r = track_list_ssrc(t, st->ssrc)) < 0)
		return r;
	/* An RTP clock says nothing about another track. */
	if (st->track != NULL && st->track != t)
		st->time = (struct timeline){ 0 };
	st->track = t;
	t->newest = st->ssrc;
	return TD_OK;
}

static void track_remove(struct track_set *set, size_t i)
{
	track_free(set, set->tracks[i]);
	set->track_count--;
	memmove(&set->tracks[i], &set->tracks[i + 1],
		(set->track_count - i) * sizeof(struct track *));
}

/* Takes a track that has written nothing off the list; its counts go to another. */
static void track_dissolve(struct track_set *set, struct track *t, struct track *into)
{
	size_t i = 0;

	for (size_t c = 0; c < COUNTER_COUNT; c++)
		into->counters[c] += t->counters[c];
	while (set->tracks[i] != t)
		i++;
	track_remove(set, i);
}

/* The stream turned out to be user_id's. */
static int stream_name(struct track_set *set, struct stream *st, uint64_t user_id)
{
	struct track *was = st->track, *t;
	bool unknown = was != NULL && was->user_id == 0;
	int r;

	if (was != NULL && was->own && was->user_id == user_id)
		return TD_OK;
	t = track_of_user(set, user_id);
	if (unknown && t == NULL) {
		was->user_id = user_id;
		was->own = true;
		if (was->open && !was->failed && TD_HAS(set->ops, named))
			set->ops->named(was->state, user_id, 1);
		return TD_OK;
	}
	if (t == NULL && (r = track_add(set, user_id, st->ssrc, &t)) < 0)
		return r;
	if ((r = stream_attach(st, t)) < 0)
		return r;
	if (unknown && was->open) {
		was->user_id = user_id;
		if (!was->failed && TD_HAS(set->ops, named))
			set->ops->named(was->state, user_id, 0);
	} else if (unknown && !was->failed) {
		track_dissolve(set, was, t);
	}
	return TD_OK;
}

/* Room for one more track without a speaker. TD_ERR_LIMIT: all of them have sound. */
static int room_for_unknown(struct track_set *set)
{
	struct track *t, *silent = NULL;
	size_t count = 0, silent_at = 0;
	struct stream *st;

	for (size_t i = 0; i < set->track_count; i++) {
		t = set->tracks[i];
		count += t->user_id == 0;
		if (t->user_id == 0 && !t->open && !t->failed && silent == NULL) {
			silent = t;
			silent_at = i;
		}
	}
	if (count < TRACK_UNKNOWN_MAX)
		return TD_OK;
	if (silent == NULL)
		return TD_ERR_LIMIT;
	for (size_t c = 0; c < COUNTER_COUNT; c++)
		set->rest[c] += silent->counters[c];
	/* Without memory it may have got none. */
	if ((st = map_get(&set->streams, silent->ssrc)) != NULL)
		stream_remove(set, st);
	track_remove(set, silent_at);
	return TD_OK;
}

/* The stream of an SSRC with its track, made when they are new. TD_ERR_LIMIT, TD_ERR_NOMEM. */
static int stream_get(struct track_set *set, uint32_t ssrc, uint64_t user_id, struct stream **ret)
{
	struct stream *st = map_get(&set->streams, ssrc);
	struct track *t = NULL;
	bool fresh = st == NULL;
	int r = TD_OK;

	if (fresh && user_id == 0 && (r = room_for_unknown(set)) < 0)
		return r;
	if (fresh && (r = stream_add(set, ssrc, &st)) < 0)
		return r;
	if (user_id != 0) {
		r = stream_name(set, st, user_id);
	} else if (fresh) {
		if ((r = track_add(set, 0, ssrc, &t)) == TD_OK)
			r = stream_attach(st, t);
	}
	if (r < 0) {
		if (st->track == NULL)
			stream_remove(set, st);
		return r;
	}
	*ret = st;
	return TD_OK;
}

int track_set_speaker(struct track_set *set, uint64_t user_id, uint32_t ssrc)
{
	struct stream *st;
	int r;

	if (user_id == 0)
		return TD_OK;
	if ((r = stream_get(set, ssrc, user_id, &st)) == TD_OK)
		st->track->newest = ssrc;
	return r == TD_ERR_LIMIT ? TD_OK : r;
}

void track_set_speaker_left(struct track_set *set, uint64_t user_id)
{
	struct map *m = &set->streams;
	size_t i = 0;

	if (user_id == 0)
		return;
	/* The server may give the SSRC to somebody else: it says nothing about this user any more.
	 */
	while (i < m->cap) {
		struct stream *st = m->table[i].value;

		/* Another one may take its place in the table. */
		if (st != NULL && st->track->user_id == user_id)
			stream_remove(set, st);
		else
			i++;
	}
}

int track_set_count(struct track_set *set, uint32_t ssrc, uint64_t user_id,
	const uint64_t delta[static COUNTER_COUNT])
{
	struct stream *st = map_get(&set->streams, ssrc);
	struct track *t = NULL;
	uint64_t *to = set->rest;
	int r;

	/* Counts of a user may come after they left and their SSRCs were forgotten. */
	if (st != NULL && st->track->own && st->track->user_id == user_id)
		t = st->track;
	else if (user_id != 0)
		t = track_of_user(set, user_id);
	if (t == NULL) {
		if ((r = stream_get(set, ssrc, user_id, &st)) == TD_OK)
			t = st->track;
		else if (r != TD_ERR_LIMIT)
			return r;
	}
	if (t != NULL)
		to = t->counters;
	for (size_t c = 0; c < COUNTER_COUNT; c++)
		to[c] += delta[c];
	return TD_OK;
}

/* True when the user's newest SSRC speaks at pos, or did within the last 100 ms. */
static bool newest_speaks(const struct track_set *set, const struct track *t, int64_t pos)
{
	const struct stream *st = map_get(&set->streams, t->newest);

	return st != NULL && st->track == t && st->time.begun &&
		pos < st->time.next_pos + TIMELINE_SLACK;
}

/* Sound of `samples` at pos: for the list of spurts. Without memory for one more, the last one
 * grows: no sound is denied. */
static void track_list_spurt(struct track_set *set, struct track *t, int64_t pos, uint32_t samples)
{
	struct td_spurt *last = &t->spurt;
	uint64_t end = (uint64_t)pos + samples;
	bool fresh = last->samples == 0;

	if (!fresh && (uint64_t)pos > last->first_sample + last->samples + TRACK_SPURT_GAP)
		fresh = t->spurts.len < (TRACK_SPURT_MAX - 1) * sizeof(*last) &&
			spill_append(set->spill, &t->spurts, last, sizeof(*last)) == TD_OK;
	if (fresh)
		last->first_sample = (uint64_t)pos;
	last->samples = end - last->first_sample;
}

struct td_spurt *track_spurts(const struct track_set *set, const struct track *t,
	uint32_t *ret_count)
{
	uint32_t count = (uint32_t)(t->spurts.len / sizeof(t->spurt));
	struct td_spurt *spurts = spill_load(set->spill, &t->spurts, sizeof(t->spurt));

	*ret_count = 0;
	if (spurts != NULL && t->spurt.samples > 0) {
		spurts[count] = t->spurt;
		*ret_count = count + 1;
	}
	return spurts;
}

void track_spurts_free(const struct track *t, struct td_spurt *spurts)
{
	spill_unload(spurts, t->spurts.len, sizeof(t->spurt));
}

/* Silence up to pos on an open track. */
static bool track_reach(struct track_set *set, struct track *t, int64_t pos)
{
	struct td_track info = { sizeof(info), t->ssrc, t->user_id };

	int r;

	if (!t->open && !t->failed) {
		r = set->ops->open(&t->state, set->user, &info);
		t->open = r >= 0;
		track_returned(set, t, r);
	}
	if (!t->failed && pos > t->written)
		track_returned(set, t, set->ops->silence(t->state, (uint64_t)(pos - t->written)));
	t->dirty = true;
	return !t->failed;
}

/* Where a frame belongs; *ret_track NULL: nowhere. Sets the stream's clock going. */
static int track_place(struct track_set *set, uint32_t ssrc, uint64_t user_id,
	const struct timeline_frame *f, struct track **ret_track, struct timeline_place *ret)
{
	struct stream *st;
	struct track *t;
	int r;

	*ret_track = NULL;
	if ((r = stream_get(set, ssrc, user_id, &st)) < 0) {
		if (r == TD_ERR_LIMIT)
			set->rest[COUNTER_STREAM_LIMIT]++;
		return r == TD_ERR_LIMIT ? TD_OK : r;
	}
	t = st->track;
	*ret = timeline_place(&st->time, set->start_ns, f, t->written);
	if (ret->jump)
		t->counters[COUNTER_TIME_JUMPS]++;
	if (st->ssrc != t->newest && newest_speaks(set, t, ret->pos)) {
		t->counters[COUNTER_OVERLAP]++;
		return TD_OK;
	}
	if (ret->overlap)
		t->counters[COUNTER_OVERLAP]++;
	if (ret->skip < f->samples)
		*ret_track = t;
	return TD_OK;
}

static void track_sounds(struct track_set *set, struct track *t, int64_t pos, uint32_t samples)
{
	if (t->first_sample < 0)
		t->first_sample = pos;
	track_list_spurt(set, t, pos, samples);
}

int track_set_frame(struct track_set *set, const struct td_frame *frame)
{
	struct timeline_frame f = { frame->arrival_ns, frame->sent_ns, frame->rtp_ts,
		frame->samples, (frame->flags & TD_FRAME_SPURT) != 0 };
	struct timeline_place place;
	struct track *t;
	uint32_t samples;
	int64_t pos;
	int r;

	if ((r = track_place(set, frame->ssrc, frame->user_id, &f, &t, &place)) < 0 || t == NULL)
		return r;
	pos = place.pos + place.skip;
	samples = frame->samples - place.skip;
	if (frame->kind != TD_FRAME_SILENCE)
		track_sounds(set, t, pos, samples);
	if (track_reach(set, t, pos))
		track_returned(set, t,
			set->ops->audio(t->state, frame->pcm + (size_t)place.skip * set->channels,
				samples));
	t->written = pos + samples;
	return TD_OK;
}

int track_set_packet(struct track_set *set, const struct td_packet *packet)
{
	struct timeline_frame f = { packet->arrival_ns, packet->sent_ns, packet->rtp_ts,
		packet->samples, (packet->flags & TD_FRAME_SPURT) != 0 };
	struct td_packet p = *packet;
	struct timeline_place place;
	struct track *t;
	int64_t pos, gap;
	int r;

	if ((r = track_place(set, packet->ssrc, packet->user_id, &f, &t, &place)) < 0 || t == NULL)
		return r;
	/* It cannot be cut: whole or not at all. What is late by less moves behind what is there.
	 */
	if (place.skip > packet->samples / 2)
		return TD_OK;
	pos = place.pos + place.skip;
	if (!packet->silence)
		track_sounds(set, t, pos, packet->samples);
	/* By the clock there may be less room than the numbers say was lost. */
	gap = pos > t->written ? pos - t->written : 0;
	if (p.lost > gap)
		p.lost = (uint32_t)gap;
	if (track_reach(set, t, pos))
		track_returned(set, t, set->ops->packet(t->state, &p));
	t->written = pos + packet->samples;
	return TD_OK;
}

void track_set_refresh(struct track_set *set)
{
	for (size_t i = 0; i < set->track_count; i++) {
		struct track *t = set->tracks[i];

		if (!t->dirty || !t->open || t->failed)
			continue;
		t->dirty = false;
		if (TD_HAS(set->ops, refresh))
			track_returned(set, t, set->ops->refresh(t->state));
	}
}

void track_set_finish(struct track_set *set, uint64_t end_ns)
{
	int64_t end =
		timeline_position(set->start_ns, end_ns > INT64_MAX ? INT64_MAX : (int64_t)end_ns);

	for (size_t i = 0; i < set->track_count; i++) {
		if (set->tracks[i]->written > end)
			end = set->tracks[i]->written;
	}
	for (size_t i = 0; i < set->track_count; i++) {
		struct track *t = set->tracks[i];

		if (!t->open)
			continue;
		if (!t->failed && end > t->written)
			track_returned(set, t,
				set->ops->silence(t->state, (uint64_t)(end - t->written)));
		t->written = end;
		track_returned(set, t, set->ops->end(t->state));
	}
}

static int by_user(const void *a, const void *b)
{
	const struct track *x = *(const struct track *const *)a;
	const struct track *y = *(const struct track *const *)b;

	if (x->user_id != y->user_id)
		return x->user_id - 1 < y->user_id - 1 ? -1 : 1; /* 0 is the largest */
	if (x->own != y->own)
		return x->own ? -1 : 1;
	return x->ssrc < y->ssrc ? -1 : x->ssrc > y->ssrc;
}

struct track *const *track_set_sorted(struct track_set *set, size_t *ret_count)
{
	if (set->track_count > 0)
		qsort(set->tracks, set->track_count, sizeof(struct track *), by_user);
	*ret_count = set->track_count;
	return set->tracks;
}

const uint64_t *track_set_rest(const struct track_set *set)
{
	return set->rest;
}
