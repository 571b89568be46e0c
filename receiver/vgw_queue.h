/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_VGW_QUEUE_H
#define TD_RECEIVER_VGW_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "receiver/voice_gateway.h"

/*
 * The actions of one engine that wait to be taken, and the memory of what they point to. One
 * thread.
 */
struct vgw_block;

struct vgw_queue {
	struct vgw_action *v;
	size_t head, len, cap;
	size_t answer_at; /* where an answer to the action taken last belongs */
	struct vgw_block *blocks;
	struct vgw_action scratch; /* written in place of an action there is no memory for */
};

int vgw_queue_init(struct vgw_queue *q); /* TD_ERR_NOMEM */
void vgw_queue_free(struct vgw_queue *q);

/* A new action behind all others, or in front of those not taken yet but behind earlier answers.
 * Zero but for its type. Never NULL: without memory it is a dead one. */
struct vgw_action *vgw_queue_push(struct vgw_queue *q, enum vgw_action_type type);
struct vgw_action *vgw_queue_answer(struct vgw_queue *q, enum vgw_action_type type);

/* 1 and the next action, or 0. */
int vgw_queue_next(struct vgw_queue *q, struct vgw_action *ret);

/* Memory that lives until all actions are taken and vgw_queue_recycle() was called; it is wiped
 * then. secret: locked, too. NULL without memory. */
void *vgw_queue_alloc(struct vgw_queue *q, size_t n, bool secret);
/* At the start of each input: frees what no waiting action can point to. */
void vgw_queue_recycle(struct vgw_queue *q);

#endif
