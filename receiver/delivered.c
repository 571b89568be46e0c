/* SPDX-License-Identifier: ISC */
#include "receiver/delivered.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"

enum {
	SAME_NUMBERING = 512, /* as far apart as numbers can be: what the reorder window holds */
	EPOCHS = 16,          /* of a sender: a worker does not know more */
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
	struct delivered_end done; /* and whatever else it became */
	/* What the latest was opened with, until it is done with. */
	struct delivered_opened {
		bool any;
		uint16_t seq;
		uint32_t epoch_no;
		uint64_t arrival_ns, nonce, user_id;
	} opened;
	uint16_t opened_seq[LATELY]; /* the last that were done with, any order */
	size_t opened_count;
	uint64_t counted_ns;           /* duplicates that arrived by then are counted */
	uint64_t count[COUNTER_COUNT]; /* since the last counters */
};

/* The nonces of a user by epochs, any order. */
struct delivered_sender {
	size_t epochs;
	struct epoch_nonces {
		uint32_t no;
		struct dave_nonces nonces;
	} * epoch[EPOCHS];
};

struct delivered_conn {
	struct map senders;
};

static uint64_t key_of(uint64_t conn, uint32_t ssrc)
{
	return conn << 32 | ssrc;
}

/* ---- nonces ---- */

static void sender_free(struct delivered_sender *s)
{
	for (size_t i = 0; s != NULL && i < s->epochs; i++)
		free(s->epoch[i]);
	free(s);
}

static void forget_senders(struct delivered *d, uint64_t conn)
{
	struct delivered_conn *c = map_get(&d->conns, conn);

	if (c == NULL)
		return;
	for (size_t i = 0; i < c->senders.cap; i++)
		sender_free(c->senders.table[i].value);
	d->senders -= c->senders.len;
	map_free(&c->senders);
	map_del(&d->conns, conn);
	free(c);
}

static struct delivered_conn *conn_of(struct delivered *d, uint64_t conn)
{
	struct delivered_conn *c = map_get(&d->conns, conn);

	if (c == NULL && (c = calloc(1, sizeof(*c))) != NULL &&
		map_put(&d->conns, conn, c) != TD_OK) {
		free(c);
		c = NULL;
	}
	return c;
}

static struct delivered_sender *sender_of(struct delivered *d, uint64_t conn, uint64_t user_id)
{
	struct delivered_conn *c = map_get(&d->conns, conn);
	struct delivered_sender *s = c != NULL ? map_get(&c->senders, user_id) : NULL;

	if (s != NULL || d->senders == DELIVERED_MAX || (c = conn_of(d, conn)) == NULL)
		return s;
	if ((s = calloc(1, sizeof(*s))) == NULL || map_put(&c->senders, user_id, s) != TD_OK) {
		free(s);
		return NULL;
	}
	d->senders++;
	return s;
}

/* Those of an epoch; the worker has forgotten the oldest by then. NULL: it is older than all. */
static struct epoch_nonces *epoch_of(struct delivered_sender *s, uint32_t no)
{
	struct epoch_nonces **oldest = &s->epoch[0];
	size_t i;

	for (i = 0; i < s->epochs; i++) {
		if (s->epoch[i]->no == no)
			return s->epoch[i];
		if (s->epoch[i]->no < (*oldest)->no)
			oldest = &s->epoch[i];
	}
	if (s->epochs < EPOCHS) {
		if ((s->epoch[i] = calloc(1, sizeof(*s->epoch[i]))) == NULL)
			return NULL;
		s->epochs++;
		oldest = &s->epoch[i];
	} else if ((*oldest)->no > no) {
		return NULL;
	}
	**oldest = (struct epoch_nonces){ .no = no };
	return *oldest;
}

void delivered_used(const struct delivered *d, uint64_t conn, uint32_t epoch_no,
	delivered_nonces *each, void *user)
{
	const struct delivered_conn *c = map_get(&d->conns, conn);

	for (size_t i = 0; c != NULL && i < c->senders.cap; i++) {
		const struct delivered_sender *s = c->senders.table[i].value;

		for (size_t k = 0; s != NULL && k < s->epochs; k++) {
			if (s->epoch[k]->no == epoch_no)
				each(user, conn, epoch_no, c->senders.table[i].key,
					&s->epoch[k]->nonces);
		}
	}
}

/* ---- streams ---- */

void delivered_free(struct delivered *d)
{
	for (size_t i = 0; i < d->streams.cap; i++)
		free(d->streams.table[i].value);
	map_free(&d->streams);
	/* Another one may take its place in the table. */
	for (size_t i = 0; i < d->conns.cap;) {
		if (d->conns.table[i].value != NULL)
			forget_senders(d, d->conns.table[i].key);
		else
			i++;
	}
	map_free(&d->conns);
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

static void note_opened(struct delivered_stream *s, uint8_t flags, uint16_t seq,
	uint64_t arrival_ns, uint32_t epoch_no, uint64_t nonce)
{
	if ((flags & IPC_FRAME_DAVE_OPENED) != 0)
		s->opened = (struct delivered_opened){ true, seq, epoch_no, arrival_ns, nonce,
			s->user_id };
}

/* Its nonce is used up if the next worker is not given it any more. */
static void use_nonce(struct delivered *d, struct delivered_stream *s)
{
	const struct delivered_opened *o = &s->opened;
	struct delivered_sender *sender;
	struct epoch_nonces *e;

	if (!o->any || !is_behind(&s->done, o->seq, o->arrival_ns))
		return;
	if ((sender = sender_of(d, s->conn, o->user_id)) != NULL &&
		(e = epoch_of(sender, o->epoch_no)) != NULL)
		dave_nonces_add(&e->nonces, o->nonce);
	s->opened_seq[s->opened_count++ % LATELY] = o->seq;
	s->opened.any = false;
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
		note_opened(s, f->flags, f->seq, f->arrival_ns, f->epoch_no, f->nonce);
		use_nonce(d, s);
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
	note_opened(s, o->flags, o->seq, o->arrival_ns, o->epoch_no, o->nonce);
	if (!d->decodes) {
		ipc_count_packet(s->count, COUNTER_DECODED, o->flags);
		s->count[COUNTER_SILENCE] += o->silence != 0;
		move_done(&s->done, o->seq, o->arrival_ns);
		count_gap(s, o->missing, 0, 0);
		use_nonce(d, s);
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
	use_nonce(d, s);
	if (c->arrival_ns > s->counted_ns)
		s->counted_ns = c->arrival_ns;
}

void delivered_forget(struct delivered *d, uint64_t conn)
{
	struct map kept = { 0 };

	forget_senders(d, conn);
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

static bool was_opened(const struct delivered_stream *s, uint16_t seq)
{
	size_t i, n = s->opened_count < LATELY ? s->opened_count : LATELY;

	for (i = 0; i < n && s->opened_seq[i] != seq; i++)
		;
	return i < n;
}

enum delivered_state delivered_look(const struct delivered *d, uint64_t conn, uint32_t ssrc,
	uint16_t seq, uint64_t at_ns)
{
	const struct delivered_stream *s = map_get(&d->streams, key_of(conn, ssrc));
	const struct delivered_end *e;

	if (s == NULL)
		return at_ns < d->forgotten_ns ? DELIVERED_LONG_AGO : DELIVERED_NOT;
	e = &s->done;
	if (is_behind(e, seq, at_ns)) {
		if (-ahead_of(e, seq) >= LATELY)
			return DELIVERED_LONG_AGO;
		return was_opened(s, seq) ? DELIVERED_OPENED : DELIVERED_LATELY;
	}
	/* The sender has jumped to other numbers since, or before many were lost. */
	if (e->any && at_ns < e->arrival_ns &&
		(ahead_of(e, seq) <= -SAME_NUMBERING || ahead_of(e, seq) > SAME_NUMBERING))
		return DELIVERED_LONG_AGO;
	return at_ns <= s->counted_ns ? DELIVERED_COUNTED : DELIVERED_NOT;
}
