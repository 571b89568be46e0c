/* SPDX-License-Identifier: ISC */
#include "common/early.h"

#include <stdlib.h>
#include <string.h>

bool early_put(struct early *e, uint64_t arrival_ns, uint32_t flags, const uint8_t *data,
	size_t len)
{
	struct early_datagram *d = malloc(sizeof(*d) + len);
	bool full = e->count == EARLY_MAX;

	if (d == NULL)
		return true;
	d->next = NULL;
	d->arrival_ns = arrival_ns;
	d->flags = flags;
	d->len = len;
	memcpy(d->data, data, len);
	if (full)
		free(early_take(e));
	if (e->count == 0)
		e->first = d;
	else
		e->last->next = d;
	e->last = d;
	e->count++;
	return full;
}

struct early_datagram *early_take(struct early *e)
{
	struct early_datagram *d = e->first;

	if (e->count == 0)
		return NULL;
	e->first = d->next;
	e->count--;
	return d;
}

uint64_t early_since_ns(const struct early *e, uint64_t otherwise)
{
	return e->count > 0 ? e->first->arrival_ns : otherwise;
}

void early_clear(struct early *e)
{
	while (e->count > 0)
		free(early_take(e));
}
