/* SPDX-License-Identifier: ISC */
#include "receiver/delivered.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"

enum {
	SAME_NUMBERING = 512, /* as far apart as numbers can be: what the reorder window holds */
	LATELY = 12, /* packets, 240 ms: an Opus decoder that hears them sounds as if never gone */
};

/* The latest that came back of one kind. */
struct delivered_end {
	bool any;
	bool again; /* the worker is new: it may repeat messages */
	uint16_t seq;
	uint64_t arrival_ns; /* the highest */
};

struct delivered_stream {
	uint64_t conn, user_id;
	uint32_t ssrc;
	struct delivered_end frame, opus;
	struct delivered_end done;     /* and whatever else it became */
	uint64_t counted_ns;           /* duplicates that arrived by then are counted */
	uint64_t count[COUNTER_COUNT]; /* since the last counters */
};

static uint64_t key_of(uint64_t conn, uint32_t ssrc)
{
	return conn << 32 | ssrc;
}

void delivered_free(struct delivered *d)
{
	for (size_t i = 0; i < d->streams.cap; i++)
		free(d->streams.table[i].value);
	map_free(&d->streams);
}

/* Nothing of it will be asked for again. What is not counted yet stays. */
static bool is_past(const struct delivered_stream *s, uint64_t ns)
{
	return s->frame.arrival_ns < ns && s->opus.arrival_ns < ns && s->done.arrival_ns < ns &&
		s->count[COUNTER_RECEIVED] == 0;
}

/* Called before a stream is added, so that those that end do not add up in a long call. */
static void forget_past(struct delivered *d)
{
	size_t i = 0;

	if (d->newest_ns < d->forgotten_ns + 2 * DELIVERED_KEPT_NS)
		return;
	d->forgotten_ns = d->newest_ns - DELIVERED_KEPT_NS;
	while (i < d->streams.cap) {
		struct delivered_stream *s = d->streams.table[i].value;

		if (s == NULL || !is_past(s, d->forgotten_ns)) {
			i++;
			continue;
		}
		/* Another one may take its place in the table. */
		map_del(&d->streams, key_of(s->conn, s->ssrc));
		free(s);
	}
}

static struct delivered_stream *get(struct delivered *d, uint64_t conn, uint32_t ssrc,
	uint64_t user_id)
{
	struct delivered_stream *s = map_get(&d->streams, key_of(conn, ssrc));

	if (s == NULL)
		forget_past(d);
	if (s == NULL && d->streams.len < DELIVERED_MAX && (s = calloc(1, sizeof(*s))) != NULL) {
		s->conn = conn;
		s->ssrc = ssrc;
		if (map_put(&d->streams, key_of(conn, ssrc), s) != TD_OK) {
			free(s);
			s = NULL;
		}
	}
	if (s != NULL)
		s->user_id = user_id;
	return s;
}

/* How far seq is ahead of the latest. */
static int ahead_of(const struct delivered_end *e, uint16_t seq)
{
	return (int16_t)(uint16_t)(seq - e->seq);
}

/* It is the latest delivered or one shortly before it, and had arrived by then. */
static bool is_behind(const struct delivered_end *e, uint16_t seq, uint64_t arrival_ns)
{
	int ahead = ahead_of(e, seq);

	return e->any && ahead <= 0 && ahead > -SAME_NUMBERING && arrival_ns <= e->arrival_ns;
}

/* False: it came before, from another worker. */
static bool move_on(struct delivered_end *e, uint16_t seq, uint64_t arrival_ns)
{
	if (e->again && is_behind(e, seq, arrival_ns))
		return false;
	e->any = true;
	e->again = false;
	e->seq = seq;
	if (arrival_ns > e->arrival_ns)
		e->arrival_ns = arrival_ns;
	return true;
}

/* Everything of the stream up to there is done with. A new worker says it of what it was told
 * again, too. */
static void move_done(struct delivered_end *e, uint16_t seq, uint64_t arrival_ns)
{
	int ahead = ahead_of(e, seq);

	if (!e->any || ahead > 0 || ahead <= -SAME_NUMBERING)
		e->seq = seq;
	e->any = true;
	if (arrival_ns > e->arrival_ns)
		e->arrival_ns = arrival_ns;
}

static void count_gap(struct delivered_stream *s, uint16_t lost, uint16_t recovered,
	uint16_t concealed)
{
	s->count[COUNTER_LOST] += lost;
	s->count[COUNTER_FEC] += recovered;
	s->count[COUNTER_CONCEALED] += concealed;
	s->count[COUNTER_SKIPPED] += (uint64_t)(lost - recovered - concealed);
}

static void came(struct delivered *d, uint64_t arrival_ns)
{
	if (arrival_ns > d->newest_ns)
		d->newest_ns = arrival_ns;
}

bool delivered_frame(struct delivered *d, uint64_t conn, const struct ipc_frame *f)
{
	struct delivered_stream *s = get(d, conn, f->ssrc, f->user_id);

	came(d, f->arrival_ns);
	if (s == NULL)
		return true;
	if (!move_on(&s->frame, f->seq, f->arrival_ns))
		return false;
	/* A gap is counted with the packet behind it. If that does not come, the next worker fills
	 * and counts all of it. */
	if (f->kind == IPC_FRAME_DECODED || f->kind == IPC_FRAME_SILENCE) {
		ipc_count_packet(s->count, COUNTER_DECODED, f->flags);
		s->count[COUNTER_SILENCE] += f->kind == IPC_FRAME_SILENCE;
		move_done(&s->done, f->seq, f->arrival_ns);
		count_gap(s, f->lost, f->recovered, f->concealed);
	}
	return true;
}

bool delivered_opus(struct delivered *d, uint64_t conn, const struct ipc_opus *o)
{
	struct delivered_stream *s = get(d, conn, o->ssrc, o->user_id);

	came(d, o->arrival_ns);
	if (s == NULL)
		return true;
	/* The frame of a packet comes after it, and may not have come any more. */
	if (!move_on(&s->opus, o->seq, o->arrival_ns))
		return false;
	if (!d->decodes) {
		ipc_count_packet(s->count, COUNTER_DECODED, o->flags);
		s->count[COUNTER_SILENCE] += o->silence != 0;
		move_done(&s->done, o->seq, o->arrival_ns);
		count_gap(s, o->missing, 0, 0);
	}
	return true;
}

void delivered_counted(struct delivered *d, uint64_t conn, const struct ipc_counters *c)
{
	struct delivered_stream *s = get(d, conn, c->ssrc, c->user_id);

	if (s == NULL)
		return;
	memset(s->count, 0, sizeof(s->count));
	if (c->any != 0)
		move_done(&s->done, c->seq, c->arrival_ns);
	if (c->arrival_ns > s->counted_ns)
		s->counted_ns = c->arrival_ns;
}

void delivered_forget(struct delivered *d, uint64_t conn)
{
	struct map kept = { 0 };

	for (size_t i = 0; i < d->streams.cap; i++) {
		struct delivered_stream *s = d->streams.table[i].value;

		if (s == NULL)
			continue;
		if (s->conn == conn || map_put(&kept, key_of(s->conn, s->ssrc), s) != TD_OK)
			free(s);
	}
	map_free(&d->streams);
	d->streams = kept;
}

void delivered_worker_lost(struct delivered *d,
	void (*each)(void *user, uint64_t conn, uint32_t ssrc, uint64_t user_id,
		const uint64_t delta[static COUNTER_COUNT]),
	void *user)
{
	for (size_t i = 0; i < d->streams.cap; i++) {
		struct delivered_stream *s = d->streams.table[i].value;

		if (s == NULL)
			continue;
		s->frame.again = s->opus.again = true;
		if (s->count[COUNTER_RECEIVED] > 0)
			each(user, s->conn, s->ssrc, s->user_id, s->count);
		memset(s->count, 0, sizeof(s->count));
	}
}

enum delivered_state delivered_look(const struct delivered *d, uint64_t conn, uint32_t ssrc,
	uint16_t seq, uint64_t at_ns)
{
	const struct delivered_stream *s = map_get(&d->streams, key_of(conn, ssrc));
	const struct delivered_end *e;

	if (s == NULL)
		return at_ns < d->forgotten_ns ? DELIVERED_LONG_AGO : DELIVERED_NOT;
	e = &s->done;
	if (is_behind(e, seq, at_ns))
		return -ahead_of(e, seq) < LATELY ? DELIVERED_LATELY : DELIVERED_LONG_AGO;
	/* The sender has jumped to other numbers since, or before many were lost. */
	if (e->any && at_ns < e->arrival_ns &&
		(ahead_of(e, seq) <= -SAME_NUMBERING || ahead_of(e, seq) > SAME_NUMBERING))
		return DELIVERED_LONG_AGO;
	return at_ns <= s->counted_ns ? DELIVERED_COUNTED : DELIVERED_NOT;
}
