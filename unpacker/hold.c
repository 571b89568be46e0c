/* SPDX-License-Identifier: ISC */
#include "unpacker/hold.h"

#include <stdlib.h>

#include "common/err.h"

/* The oldest goes: whether it has to be counted. */
static bool drop(struct hold *h)
{
	struct packet *p = hold_pop(h);
	bool again = p->again;

	free(p);
	return !again;
}

size_t hold_clear(struct hold *h)
{
	size_t n = 0;

	while (h->len > 0)
		n += drop(h);
	return n;
}

int hold_push(struct hold *h, const struct packet *p, size_t *ret_dropped)
{
	struct packet *copy = packet_keep(p);
	size_t n = 0;

	if (copy == NULL)
		return TD_ERR_NOMEM;
	while (h->len == HOLD_MAX || h->bytes + p->len > HOLD_MAX_BYTES)
		n += drop(h);
	*ret_dropped = n;
	h->ring[(h->head + h->len++) % HOLD_MAX] = copy;
	h->bytes += copy->len;
	return TD_OK;
}

struct packet *hold_pop(struct hold *h)
{
	struct packet *p;

	if (h->len == 0)
		return NULL;
	p = h->ring[h->head];
	h->head = (h->head + 1) % HOLD_MAX;
	h->len--;
	h->bytes -= p->len;
	return p;
}
