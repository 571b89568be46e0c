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
	uint64_t count[COUNTER_COUNT]; /* since the last counters */
	uint64_t lost[COUNTER_COUNT];  /* since the last packet: its gap is not closed yet */
	uint64_t waiting; /* received by the worker's counters, and nothing else by then */
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
	return s->frame.arrival_ns < ns && s->opus.arrival_ns < ns &&
		s->count[COUNTER_DECODED] == 0 && s->waiting == 0;
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

static void count_packet(struct delivered_stream *s, bool silence)
{
	for (size_t i = 0; i < COUNTER_COUNT; i++)
		s->count[i] += s->lost[i];
	memset(s->lost, 0, sizeof(s->lost));
	s->count[COUNTER_RECEIVED]++;
	s->count[COUNTER_DECODED]++;
	s->count[COUNTER_SILENCE] += silence;
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
	/* If nothing comes behind a gap, the next worker fills and counts all of it. */
	if (f->kind == IPC_FRAME_FEC || f->kind == IPC_FRAME_CONCEALED) {
		s->lost[COUNTER_LOST]++;
		s->lost[f->kind == IPC_FRAME_FEC ? COUNTER_FEC : COUNTER_CONCEALED]++;
	} else {
		count_packet(s, f->kind == IPC_FRAME_SILENCE);
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
	if (!d->decodes)
		count_packet(s, o->silence != 0);
	return true;
}

/* How many packets these counters say what became of. */
static uint64_t ends_in(const uint64_t delta[static COUNTER_COUNT])
{
	static const enum td_counter ends[] = { COUNTER_DECODED, COUNTER_PADDING, COUNTER_DUPLICATE,
		COUNTER_LATE, COUNTER_UNDECODABLE, COUNTER_RESTARTED, COUNTER_HELD_DROPPED,
		COUNTER_UNDECODED, COUNTER_DAVE_NO_KEY, COUNTER_DAVE_AUTH, COUNTER_DAVE_REPLAY,
		COUNTER_DAVE_REFUSED };
	uint64_t n = 0;

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		n += delta[ends[i]];
	return n;
}

void delivered_counted(struct delivered *d, uint64_t conn, const struct ipc_counters *c)
{
	struct delivered_stream *s = get(d, conn, c->ssrc, c->user_id);

	if (s == NULL)
		return;
	memset(s->count, 0, sizeof(s->count));
	memset(s->lost, 0, sizeof(s->lost));
	s->waiting += c->delta[COUNTER_RECEIVED] - ends_in(c->delta);
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
		uint64_t decoded;

		if (s == NULL)
			continue;
		s->frame.again = s->opus.again = true;
		decoded = s->count[COUNTER_DECODED];
		s->count[COUNTER_RECEIVED] -= s->waiting;
		if (decoded > 0 || s->waiting > 0)
			each(user, s->conn, s->ssrc, s->user_id, s->count);
		memset(s->count, 0, sizeof(s->count));
		memset(s->lost, 0, sizeof(s->lost));
		s->waiting = 0;
	}
}

enum delivered_state delivered_look(const struct delivered *d, uint64_t conn, uint32_t ssrc,
	uint16_t seq, uint64_t at_ns)
{
	const struct delivered_stream *s = map_get(&d->streams, key_of(conn, ssrc));
	const struct delivered_end *e;

	if (s == NULL)
		return at_ns < d->forgotten_ns ? DELIVERED_LONG_AGO : DELIVERED_NOT;
	e = d->decodes ? &s->frame : &s->opus;
	if (!e->any)
		return DELIVERED_NOT;
	if (is_behind(e, seq, at_ns))
		return -ahead_of(e, seq) < LATELY ? DELIVERED_LATELY : DELIVERED_LONG_AGO;
	/* The sender has jumped to other numbers since, or before many were lost. */
	if (at_ns < e->arrival_ns &&
		(ahead_of(e, seq) <= -SAME_NUMBERING || ahead_of(e, seq) >= SAME_NUMBERING))
		return DELIVERED_LONG_AGO;
	return DELIVERED_NOT;
}
