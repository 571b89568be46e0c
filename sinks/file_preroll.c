/* SPDX-License-Identifier: ISC */
#include "sinks/file_preroll.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"

/* Opus packets begin at multiples of this. */
enum { PREROLL_GRAIN = 120 };

void preroll_free(struct file_preroll *p)
{
	for (size_t i = 0; i < PREROLL_ITEMS; i++)
		free(p->items[i].data);
}

static struct preroll_item *item(struct file_preroll *p, uint32_t i)
{
	return &p->items[(p->first + i) % PREROLL_ITEMS];
}

static void drop_first(struct file_preroll *p)
{
	p->samples -= item(p, 0)->samples;
	p->first = (p->first + 1) % PREROLL_ITEMS;
	p->count--;
}

static void drop_old(struct file_preroll *p)
{
	while (p->count > 0 && p->samples - item(p, 0)->samples >= PREROLL_SAMPLES)
		drop_first(p);
}

static struct preroll_item *append(struct file_preroll *p, uint32_t samples, bool sound)
{
	struct preroll_item *last;

	if (p->count == PREROLL_ITEMS)
		drop_first(p);
	last = item(p, p->count++);
	last->samples = samples;
	last->sound = sound;
	p->samples += samples;
	return last;
}

int preroll_packet(struct file_preroll *p, const struct td_packet *packet)
{
	struct preroll_item *last;

	last = append(p, packet->samples, true);
	if (last->cap < packet->len) {
		uint8_t *data = realloc(last->data, packet->len);

		if (data == NULL) {
			p->count--;
			p->samples -= packet->samples;
			return TD_ERR_NOMEM;
		}
		last->data = data;
		last->cap = packet->len;
	}
	memcpy(last->data, packet->data, packet->len);
	last->packet = *packet;
	last->packet.data = last->data;
	drop_old(p);
	return TD_OK;
}

void preroll_silence(struct file_preroll *p, uint64_t n)
{
	/* More of it says nothing more. */
	uint32_t samples = n < PREROLL_SAMPLES ? (uint32_t)n : PREROLL_SAMPLES;
	struct preroll_item *last = p->count > 0 ? item(p, p->count - 1) : NULL;

	if (last == NULL || last->sound) {
		append(p, samples, false);
	} else {
		if (samples > PREROLL_SAMPLES - last->samples)
			samples = PREROLL_SAMPLES - last->samples;
		last->samples += samples;
		p->samples += samples;
	}
	drop_old(p);
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
