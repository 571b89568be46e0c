/* SPDX-License-Identifier: ISC */
#include "receiver/dave_queue.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mls/mls_ctx.h"

struct dave_block {
	struct dave_block *next;
	void *data;
	size_t size;
	bool secret;
};

static void free_blocks(struct dave_queue *q)
{
	struct dave_block *b, *next;

	for (b = q->blocks; b != NULL; b = next) {
		next = b->next;
		if (b->secret) {
			mls_secret_free(b->data);
		} else {
			sodium_memzero(b->data, b->size);
			free(b->data);
		}
		free(b);
	}
	q->blocks = NULL;
}

void dave_queue_free(struct dave_queue *q)
{
	free_blocks(q);
	free(q->v);
	*q = (struct dave_queue){ .v = NULL };
}

int dave_queue_reserve(struct dave_queue *q, size_t n)
{
	size_t cap = q->cap > 0 ? q->cap : 16;
	struct dave_action *v;

	while (cap - q->len < n)
		cap *= 2;
	if (cap == q->cap)
		return TD_OK;
	if ((v = realloc(q->v, cap * sizeof(*v))) == NULL)
		return TD_ERR_NOMEM;
	q->v = v;
	q->cap = cap;
	return TD_OK;
}

struct dave_action *dave_queue_push(struct dave_queue *q, enum dave_action_type type)
{
	struct dave_action *a;

	assert(q->len < q->cap);
	a = &q->v[q->len++];
	*a = (struct dave_action){ .type = type };
	return a;
}

int dave_queue_next(struct dave_queue *q, struct dave_action *ret)
{
	if (q->head == q->len)
		return 0;
	*ret = q->v[q->head++];
	return 1;
}

void *dave_queue_alloc(struct dave_queue *q, size_t n, bool secret)
{
	/* Locked memory keeps an alignment only for sizes that are a multiple of it. */
	const size_t align = _Alignof(max_align_t);
	struct dave_block *b = malloc(sizeof(*b));

	if (b == NULL)
		return NULL;
	n = (n / align + 1) * align;
	b->data = secret ? mls_secret_new(n) : malloc(n);
	if (b->data == NULL) {
		free(b);
		return NULL;
	}
	b->size = n;
	b->secret = secret;
	b->next = q->blocks;
	q->blocks = b;
	return b->data;
}

void dave_queue_recycle(struct dave_queue *q)
{
	if (q->head != q->len)
		return;
	q->head = q->len = 0;
	free_blocks(q);
}
