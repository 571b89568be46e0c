/* SPDX-License-Identifier: ISC */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "tests/voiceserver/wire.h"

enum { GARBAGE_MAX = 200, FRAME_MS = 20, DUPLICATE_MS = 10 };

struct datagram {
	uint64_t at_ns, order;
	size_t len;
	uint8_t data[];
};

/* A binary heap; `order` keeps what is due at the same time in order. */
struct wire {
	struct datagram **heap;
	size_t n, room;
	uint64_t order;
	struct datagram *popped;
};

static const char *const fate_names[] = { "sent", "delayed", "duplicated", "lost", "corrupt",
	"truncated", "unreadable" };

const char *wire_fate_name(enum wire_fate fate)
{
	return fate_names[fate];
}

int wire_new(struct wire **ret)
{
	struct wire *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return TD_ERR_NOMEM;
	*ret = w;
	return TD_OK;
}

void wire_free(struct wire *w)
{
	if (w == NULL)
		return;
	while (w->n > 0)
		free(w->heap[--w->n]);
	free(w->heap);
	free(w->popped);
	free(w);
}

static bool before(const struct datagram *a, const struct datagram *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

/* Out of memory loses the datagram: that is what networks do. */
static uint8_t *put(struct wire *w, uint64_t at_ns, const uint8_t *data, size_t len)
{
	struct datagram *d, **bigger;
	size_t i, parent;

	if (w->n == w->room) {
		i = w->room > 0 ? 2 * w->room : 64;
		if ((bigger = realloc(w->heap, i * sizeof(*bigger))) == NULL)
			return NULL;
		w->heap = bigger;
		w->room = i;
	}
	if ((d = malloc(sizeof(*d) + len)) == NULL)
		return NULL;
	d->at_ns = at_ns;
	d->order = w->order++;
	d->len = len;
	memcpy(d->data, data, len);
	for (i = w->n++; i > 0; i = parent) {
		parent = (i - 1) / 2;
		if (!before(d, w->heap[parent]))
			break;
		w->heap[i] = w->heap[parent];
	}
	w->heap[i] = d;
	return d->data;
}

static bool lost(const struct faults *f, struct wire_stream *s)
{
	bool single = rng_chance(&s->rng, f->loss), burst = rng_chance(&s->rng, f->burst_loss);

	if (s->burst_left == 0 && burst)
		s->burst_left = f->burst_length;
	if (s->burst_left > 0) {
		s->burst_left--;
		return true;
	}
	return single;
}

/* What the way takes beyond the least it can take. */
static uint64_t queueing(const struct faults *f, struct wire_stream *s)
{
	uint64_t ns = f->jitter_ns > 0 ? rng_below(&s->rng, f->jitter_ns + 1) : 0;
	double radius, angle, normal;

	if (f->deviation_ns > 0) {
		radius = sqrt(-2 * log((double)((rng_u64(&s->rng) >> 11) + 1) * 0x1p-53));
		angle = 2 * M_PI * (double)(rng_u64(&s->rng) >> 11) * 0x1p-53;
		normal = (double)f->delay_ns + (double)f->deviation_ns * radius * cos(angle);
		ns += normal > 0 ? (uint64_t)normal : 0;
	}
	if (f->spike > 0 && rng_chance(&s->rng, f->spike))
		ns += f->spike_ns;
	return ns;
}

/* When it arrives. Jitter alone never lets one packet of a stream overtake another. */
static uint64_t arrival(const struct faults *f, struct wire_stream *s, uint64_t now_ns,
	enum wire_fate *fate)
{
	uint64_t at_ns = now_ns + queueing(f, s);

	if (at_ns < s->last_ns)
		at_ns = s->last_ns;
	s->last_ns = at_ns;
	if (rng_chance(&s->rng, f->reorder)) {
		*fate = WIRE_DELAYED;
		at_ns += (uint64_t)f->reorder_depth * FRAME_MS * TD_MS_NS + TD_MS_NS;
	}
	return at_ns;
}

void wire_garbage(struct wire *w, struct rng *rng, uint64_t now_ns)
{
	uint8_t junk[GARBAGE_MAX];
	size_t len = (size_t)rng_below(rng, sizeof(junk) + 1);

	rng_fill(rng, junk, sizeof(junk));
	/* Half of it looks like RTP at first sight. */
	if (rng_chance(rng, 0.5)) {
		junk[0] = (uint8_t)(0x80 | (junk[0] & 0x3f));
		junk[1] = 0x78;
	}
	put(w, now_ns, junk, len);
}

enum wire_fate wire_push(struct wire *w, const struct faults *f, struct wire_stream *s,
	uint64_t now_ns, uint64_t call_ns, const uint8_t *data, size_t len)
{
	enum wire_fate fate = WIRE_SENT;
	uint64_t at_ns;
	uint8_t *copy;

	if (call_ns < f->from_ns || call_ns >= f->to_ns) {
		at_ns = now_ns > s->last_ns ? now_ns : s->last_ns;
		put(w, at_ns, data, len);
		return WIRE_SENT;
	}
	if (rng_chance(&s->rng, f->garbage))
		wire_garbage(w, &s->rng, now_ns);
	if (lost(f, s))
		return WIRE_LOST;
	at_ns = arrival(f, s, now_ns, &fate);
	if (rng_chance(&s->rng, f->truncate)) {
		put(w, at_ns, data, (size_t)rng_below(&s->rng, len < 32 ? len : 32));
		return WIRE_TRUNCATED;
	}
	copy = put(w, at_ns, data, len);
	if (rng_chance(&s->rng, f->corrupt) && copy != NULL && len > 20) {
		copy[len - 20 + rng_below(&s->rng, 16)] ^= (uint8_t)(1u << rng_below(&s->rng, 8));
		return WIRE_CORRUPT;
	}
	if (rng_chance(&s->rng, f->duplicate)) {
		at_ns += rng_below(&s->rng, DUPLICATE_MS + 1) * TD_MS_NS;
		put(w, at_ns, data, len);
		return fate == WIRE_SENT ? WIRE_DUPLICATED : fate;
	}
	return fate;
}

uint64_t wire_next_ns(const struct wire *w)
{
	return w->n > 0 ? w->heap[0]->at_ns : UINT64_MAX;
}

size_t wire_pop(struct wire *w, const uint8_t **ret)
{
	struct datagram *last;
	size_t i = 0, child;

	free(w->popped);
	w->popped = w->heap[0];
	last = w->heap[--w->n];
	while ((child = 2 * i + 1) < w->n) {
		if (child + 1 < w->n && before(w->heap[child + 1], w->heap[child]))
			child++;
		if (!before(w->heap[child], last))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	if (w->n > 0)
		w->heap[i] = last;
	*ret = w->popped->data;
	return w->popped->len;
}
