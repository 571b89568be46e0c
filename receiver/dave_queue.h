/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_DAVE_QUEUE_H
#define TD_RECEIVER_DAVE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "receiver/dave_session.h"

/*
 * The actions of one session that wait to be taken, and the memory of what they point to. One
 * thread.
 */
struct dave_block;

struct dave_queue {
	struct dave_action *v;
	size_t head, len, cap;
	struct dave_block *blocks;
};

void dave_queue_free(struct dave_queue *q); /* and makes it empty */

/* Room for n more actions, so that pushing these cannot fail. TD_ERR_NOMEM. */
int dave_queue_reserve(struct dave_queue *q, size_t n);
/* A new action behind the others, zero but for its type, into room that was reserved. */
struct dave_action *dave_queue_push(struct dave_queue *q, enum dave_action_type type);
int dave_queue_next(struct dave_queue *q, struct dave_action *ret); /* 1, or 0 */

/* Memory that lives until all actions are taken and dave_queue_recycle() was called; it is wiped
 * then. secret: locked, too. NULL without memory. */
void *dave_queue_alloc(struct dave_queue *q, size_t n, bool secret);
/* At the start of each input: frees what no waiting action can point to. */
void dave_queue_recycle(struct dave_queue *q);

#endif
