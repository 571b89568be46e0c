/* SPDX-License-Identifier: ISC */
#include "unpacker/reorder.h"

#include <string.h>

#include "common/err.h"
#include "common/wrap.h"

/* Where the packet of this number waits; only of those from next to highest. */
static struct packet **slot_of(const struct reorder *r, int64_t seq)
{
	return &r->slot[(uint64_t)seq & (r->slots - 1)];
}

static size_t bit_of(int64_t seq)
{
	return (size_t)((uint64_t)seq % REORDER_SLOTS);
}

static bool has_come(const struct reorder *r, int64_t seq)
{
	size_t i = bit_of(seq);

	return (r->came[i / 64] >> i % 64 & 1) != 0;
}

static void note(struct reorder *r, int64_t seq, bool came)
{
	size_t i = bit_of(seq);
	uint64_t bit = (uint64_t)1 << i % 64;

	r->came[i / 64] = came ? r->came[i / 64] | bit : r->came[i / 64] & ~bit;
}

void reorder_init(struct reorder *r, uint64_t window_ns)
{
	memset(r, 0, sizeof(*r));
	r->window_ns = window_ns;
	r->slot = r->few;
	r->slots = REORDER_FEW;
}

static void free_slots(struct reorder *r)
{
	if (r->slot != r->few)
		free(r->slot);
	r->slot = r->few;
	r->slots = REORDER_FEW;
}

void reorder_free(struct reorder *r)
{
	size_t i;

	for (i = 0; i < r->slots; i++)
		free(r->slot[i]);
	free_slots(r);
	reorder_init(r, r->window_ns);
}

enum reorder_verdict reorder_check(const struct reorder *r, uint16_t seq, int64_t *ret)
{
	int64_t n = r->started ? seq_unwrap(r->highest, seq) : seq;

	*ret = n;
	if (!r->started)
		return REORDER_FITS;
	if (n > r->highest + REORDER_SLOTS)
		return REORDER_FAR;
	if (n >= r->next)
		return n <= r->highest && *slot_of(r, n) != NULL ? REORDER_DUPLICATE : REORDER_FITS;
	if (r->open && n > r->highest - REORDER_SLOTS)
		return REORDER_FITS;
	if (n < r->next - REORDER_SLOTS)
		return REORDER_FAR;
	return has_come(r, n) ? REORDER_DUPLICATE : REORDER_LATE;
}

void reorder_hold(struct reorder *r, uint32_t spurt, uint64_t until_ns)
{
	r->hold_spurt = spurt;
	r->hold_until_ns = until_ns;
}

/* What the number of a packet that comes in means for the numbers we know. */
static void admit(struct reorder *r, int64_t seq)
{
	if (!r->started) {
		r->started = r->open = true;
		r->next = r->highest = seq;
	}
	if (seq < r->next)
		r->next = seq;
	if (seq > r->highest)
		r->highest = seq;
}

/* `next` moves on behind seq, the first one from `next` on that came. */
static void advance(struct reorder *r, int64_t seq)
{
	if (seq - r->next >= REORDER_SLOTS)
		memset(r->came, 0, sizeof(r->came));
	else
		for (; r->next < seq; r->next++)
			note(r, r->next, false);
	note(r, seq, true);
	r->next = seq + 1;
	r->open = false;
}

bool reorder_pass(struct reorder *r, const struct packet *p, uint64_t now_ns)
{
	if (!r->started || p->seq != r->next || reorder_holds(r, now_ns) ||
		p->sealed_until_ns > now_ns)
		return false;
	admit(r, p->seq);
	advance(r, p->seq);
	return true;
}

/* Room for what waits and for seq. */
static int reserve(struct reorder *r, int64_t seq)
{
	int64_t low = r->started && r->next < seq ? r->next : seq;
	int64_t high = r->started && r->highest > seq ? r->highest : seq;
	struct packet **few = r->slot, **slot;
	size_t was = r->slots, slots = was, i;

	while (slots <= (size_t)(high - low))
		slots *= 2;
	if (slots == was)
		return TD_OK;
	if ((slot = calloc(slots, sizeof(struct packet *))) == NULL)
		return TD_ERR_NOMEM;
	r->slot = slot;
	r->slots = slots;
	for (i = 0; i < was; i++) {
		if (few[i] != NULL)
			*slot_of(r, few[i]->seq) = few[i];
		few[i] = NULL;
	}
	if (few != r->few)
		free(few);
	return TD_OK;
}

int reorder_put(struct reorder *r, const struct packet *p)
{
	struct packet *copy;
	int ret;

	if ((ret = reserve(r, p->seq)) != TD_OK)
		return ret;
	if ((copy = packet_keep(p)) == NULL)
		return TD_ERR_NOMEM;
	admit(r, p->seq);
	*slot_of(r, p->seq) = copy;
	if (r->waiting++ == 0 || p->arrival_ns < r->oldest_ns)
		r->oldest_ns = p->arrival_ns;
	return TD_OK;
}

struct packet *reorder_at(struct reorder *r, int64_t seq)
{
	return r->waiting > 0 && seq >= r->next && seq <= r->highest ? *slot_of(r, seq) : NULL;
}

/* The waiting packet with the lowest number. There is one. */
static struct packet *front(const struct reorder *r)
{
	int64_t seq = r->next;

	while (*slot_of(r, seq) == NULL)
		seq++;
	return *slot_of(r, seq);
}

/* Held as the start of a spurt: older ones that still wait for a gap are not. */
static bool is_held(const struct reorder *r, const struct packet *p, uint64_t now_ns)
{
	return reorder_holds(r, now_ns) && p->spurt >= r->hold_spurt;
}

uint64_t reorder_due(const struct reorder *r)
{
	const struct packet *p;
	uint64_t due;

	if (r->waiting == 0)
		return REORDER_NEVER;
	p = front(r);
	if (r->hold_until_ns > 0 && p->spurt >= r->hold_spurt)
		return r->hold_until_ns;
	/* reorder_pop() was asked after every change: it is a gap, a seal or both. */
	due = p->seq != r->next ? r->oldest_ns + r->window_ns : 0;
	if (p->sealed_until_ns <= due)
		return due;
	/* A seal can outlast the hold of a later spurt, whose time is settled when it ends. */
	due = p->sealed_until_ns;
	return r->hold_until_ns > 0 && r->hold_until_ns < due ? r->hold_until_ns : due;
}

static void find_oldest(struct reorder *r)
{
	size_t left = r->waiting;
	int64_t seq;

	r->oldest_ns = REORDER_NEVER;
	for (seq = r->next; left > 0; seq++) {
		const struct packet *p = *slot_of(r, seq);

		if (p == NULL)
			continue;
		if (p->arrival_ns < r->oldest_ns)
			r->oldest_ns = p->arrival_ns;
		left--;
	}
}

struct packet *reorder_pop(struct reorder *r, uint64_t now_ns, int64_t *ret_lost)
{
	struct packet *p;

	if (!reorder_holds(r, now_ns))
		r->hold_until_ns = 0;
	if (r->waiting == 0)
		return NULL;
	p = front(r);
	if (is_held(r, p, now_ns) || p->sealed_until_ns > now_ns)
		return NULL;
	if (p->seq != r->next && now_ns - r->oldest_ns < r->window_ns)
		return NULL;
	*slot_of(r, p->seq) = NULL;
	*ret_lost = p->seq - r->next;
	if (--r->waiting == 0)
		free_slots(r);
	advance(r, p->seq);
	if (r->waiting > 0 && p->arrival_ns == r->oldest_ns)
		find_oldest(r);
	return p;
}

void reorder_restart(struct reorder *r, int64_t seq)
{
	memset(r->came, 0, sizeof(r->came));
	r->next = r->highest = seq;
}
