/* SPDX-License-Identifier: ISC */
#include "unpacker/hold.h"

#include <stdlib.h>

#include "common/err.h"

void hold_clear(struct hold *h)
{
	struct packet *p;

	while ((p = hold_pop(h)) != NULL)
		free(p);
}

int hold_push(struct hold *h, const struct packet *p, size_t *ret_dropped)
{
	struct packet *copy = packet_keep(p);
	size_t before = h->len;

	if (copy == NULL)
		return TD_ERR_NOMEM;
	while (h->len == HOLD_MAX || h->bytes + p->len > HOLD_MAX_BYTES)
		free(hold_pop(h));
	*ret_dropped = before - h->len;
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
