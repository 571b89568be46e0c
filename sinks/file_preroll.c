/* SPDX-License-Identifier: ISC */
#include "sinks/file_preroll.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"

/* Opus packets begin at multiples of this. */
enum { PREROLL_GRAIN = 120 };

void preroll_free(struct file_preroll *p)
{
	for (size_t i = 0; i < p->cap; i++)
		free(p->items[i].data);
	free(p->items);
}

static struct preroll_item *item(struct file_preroll *p, uint32_t i)
{
	i += p->first;
	return &p->items[i < p->cap ? i : i - p->cap];
}

static void drop_first(struct file_preroll *p)
{
	p->samples -= item(p, 0)->samples;
	p->first = p->first + 1 < p->cap ? p->first + 1 : 0;
	p->count--;
}

static void drop_old(struct file_preroll *p)
{
	while (p->count > 0 && p->samples - item(p, 0)->samples >= PREROLL_SAMPLES)
		drop_first(p);
}

/* A larger ring; what is in it moves to its beginning. */
static int grow(struct file_preroll *p)
{
	uint32_t cap = p->cap > 0 ? 2 * p->cap : PREROLL_ITEMS_MIN;
	struct preroll_item *items;

	if (cap > PREROLL_ITEMS)
		cap = PREROLL_ITEMS;
	if ((items = calloc(cap, sizeof(*items))) == NULL)
		return TD_ERR_NOMEM;
	for (uint32_t i = 0; i < p->count; i++)
		items[i] = *item(p, i);
	free(p->items);
	p->items = items;
	p->cap = cap;
	p->first = 0;
	return TD_OK;
}

/* The next item, with room for its data; NULL: no memory. It is the last one once it is counted. */
static struct preroll_item *append(struct file_preroll *p, uint32_t samples, bool sound,
	uint32_t len)
{
	struct preroll_item *next;
	uint8_t *data;

	if (p->count == PREROLL_ITEMS)
		drop_first(p);
	if (p->count == p->cap && grow(p) < 0)
		return NULL;
	next = item(p, p->count);
	if (next->cap < len) {
		if ((data = realloc(next->data, len)) == NULL)
			return NULL;
		next->data = data;
		next->cap = len;
	}
	next->samples = samples;
	next->sound = sound;
	p->count++;
	p->samples += samples;
	return next;
}

int preroll_packet(struct file_preroll *p, const struct td_packet *packet)
{
	struct preroll_item *last = append(p, packet->samples, true, packet->len);

	if (last == NULL)
		return TD_ERR_NOMEM;
	memcpy(last->data, packet->data, packet->len);
	last->packet = *packet;
	last->packet.data = last->data;
	drop_old(p);
	return TD_OK;
}

int preroll_silence(struct file_preroll *p, uint64_t n)
{
	/* More of it says nothing more. */
	uint32_t samples = n < PREROLL_SAMPLES ? (uint32_t)n : PREROLL_SAMPLES;
	struct preroll_item *last = p->count > 0 ? item(p, p->count - 1) : NULL;

	if (last == NULL || last->sound) {
		if (append(p, samples, false, 0) == NULL)
			return TD_ERR_NOMEM;
	} else {
		if (samples > PREROLL_SAMPLES - last->samples)
			samples = PREROLL_SAMPLES - last->samples;
		last->samples += samples;
		p->samples += samples;
	}
	drop_old(p);
	return TD_OK;
}

uint32_t preroll_length(struct file_preroll *p, uint64_t at)
{
	uint32_t length = (uint32_t)p->samples;

	if (p->count > 0 && !item(p, 0)->sound && length > PREROLL_SAMPLES) {
		item(p, 0)->samples -= length - PREROLL_SAMPLES;
		p->samples = length = PREROLL_SAMPLES;
	}
	if (length < PREROLL_SAMPLES)
		length = PREROLL_SAMPLES;
	return length + (uint32_t)((at + PREROLL_GRAIN - length % PREROLL_GRAIN) % PREROLL_GRAIN);
}

int preroll_write(struct file_preroll *p, uint32_t length, const struct td_writer_ops *ops,
	void *writer)
{
	int r = TD_OK;

	if (length > p->samples)
		r = ops->silence(writer, length - p->samples);
	for (uint32_t i = 0; i < p->count && r == TD_OK; i++) {
		const struct preroll_item *it = item(p, i);

		r = it->sound ? ops->packet(writer, &it->packet)
			      : ops->silence(writer, it->samples);
	}
	return r;
}
