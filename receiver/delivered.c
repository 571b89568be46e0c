/* SPDX-License-Identifier: ISC */
#include "receiver/delivered.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"

enum {
	SAME_NUMBERING = 512, /* as far apart as numbers can be: what the reorder window holds */
	LATELY = 12, /* packets, 240 ms: an Opus decoder that hears them sounds as if never gone */
};

struct delivered_stream {
	uint64_t conn, user_id;
	uint32_t ssrc;
	uint16_t frame_seq, opus_seq; /* the latest */
	bool framed, passed;          /* there was one */
	bool again;                   /* the worker is new: it may repeat packets */
	uint64_t count[COUNTER_COUNT];
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

static struct delivered_stream *get(struct delivered *d, uint64_t conn, uint32_t ssrc,
	uint64_t user_id)
{
	struct delivered_stream *s = map_get(&d->streams, key_of(conn, ssrc));

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

/* seq is the latest delivered or one shortly before it. */
static bool is_behind(uint16_t seq, uint16_t latest)
{
	int16_t ahead = (int16_t)(seq - latest);

	return ahead <= 0 && ahead > -SAME_NUMBERING;
}

bool delivered_frame(struct delivered *d, uint64_t conn, const struct ipc_frame *f)
{
	struct delivered_stream *s = get(d, conn, f->ssrc, f->user_id);

	if (s == NULL)
		return true;
	s->framed = true;
	s->frame_seq = f->seq;
	if (f->kind == IPC_FRAME_FEC || f->kind == IPC_FRAME_CONCEALED) {
		s->count[COUNTER_LOST]++;
		s->count[f->kind == IPC_FRAME_FEC ? COUNTER_FEC : COUNTER_CONCEALED]++;
	} else {
		s->count[COUNTER_RECEIVED]++;
		s->count[COUNTER_DECODED]++;
		s->count[COUNTER_SILENCE] += f->kind == IPC_FRAME_SILENCE;
	}
	return true;
}

bool delivered_opus(struct delivered *d, uint64_t conn, const struct ipc_opus *o)
{
	struct delivered_stream *s = get(d, conn, o->ssrc, o->user_id);

	if (s == NULL)
		return true;
	/* The frame of a packet comes after it, and may not have come any more. */
	if (s->again && s->passed && is_behind(o->seq, s->opus_seq))
		return false;
	s->again = false;
	s->passed = true;
	s->opus_seq = o->seq;
	if (!d->decodes) {
		s->count[COUNTER_RECEIVED]++;
		s->count[COUNTER_DECODED]++;
		s->count[COUNTER_SILENCE] += o->silence;
	}
	return true;
}

void delivered_counted(struct delivered *d, uint64_t conn, uint32_t ssrc)
{
	struct delivered_stream *s = map_get(&d->streams, key_of(conn, ssrc));

	if (s != NULL)
		memset(s->count, 0, sizeof(s->count));
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
		s->again = true;
		if (s->count[COUNTER_RECEIVED] + s->count[COUNTER_LOST] == 0)
			continue;
		each(user, s->conn, s->ssrc, s->user_id, s->count);
		memset(s->count, 0, sizeof(s->count));
	}
}

enum delivered_state delivered_look(const struct delivered *d, uint64_t conn, uint32_t ssrc,
	uint16_t seq)
{
	const struct delivered_stream *s = map_get(&d->streams, key_of(conn, ssrc));
	uint16_t latest;

	if (s == NULL || (d->decodes ? !s->framed : !s->passed))
		return DELIVERED_NOT;
	latest = d->decodes ? s->frame_seq : s->opus_seq;
	if (!is_behind(seq, latest))
		return DELIVERED_NOT;
	return (uint16_t)(latest - seq) < LATELY ? DELIVERED_LATELY : DELIVERED_LONG_AGO;
}
