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

int hold_push(struct hold *h, const struct packet *p, bool *ret_dropped)
{
	bool full = h->len == HOLD_MAX;
	struct packet *copy = packet_keep(p);

	if (copy == NULL)
		return TD_ERR_NOMEM;
	if (full)
		free(hold_pop(h));
	h->ring[(h->head + h->len++) % HOLD_MAX] = copy;
	*ret_dropped = full;
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
	return p;
}
