/* SPDX-License-Identifier: ISC */
#include "receiver/vgw_queue.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/locked.h"

/* One input makes fewer than this but for a list of users, so there is room for the rest even when
 * memory is short. Every connection has it, and says nothing for minutes. */
enum { QUEUE_START = 16 };

struct vgw_block {
	struct vgw_block *next;
	size_t size; /* of data */
	bool secret;
	_Alignas(max_align_t) unsigned char data[];
};

int vgw_queue_init(struct vgw_queue *q)
{
	memset(q, 0, sizeof(*q));
	if ((q->v = reallocarray(NULL, QUEUE_START, sizeof(*q->v))) == NULL)
		return TD_ERR_NOMEM;
	q->cap = QUEUE_START;
	return TD_OK;
}

static void free_blocks(struct vgw_queue *q)
{
	struct vgw_block *b, *next;

	for (b = q->blocks; b != NULL; b = next) {
		next = b->next;
		if (b->secret) {
			locked_free(b);
		} else {
			sodium_memzero(b->data, b->size);
			free(b);
		}
	}
	q->blocks = NULL;
}

void vgw_queue_free(struct vgw_queue *q)
{
	free_blocks(q);
	free(q->v);
	q->v = NULL;
	q->head = q->len = q->cap = 0;
}

static bool make_room(struct vgw_queue *q)
{
	struct vgw_action *v;

	if (q->len < q->cap)
		return true;
	if (q->cap > SIZE_MAX / 2 / sizeof(*v) ||
		(v = realloc(q->v, q->cap * 2 * sizeof(*v))) == NULL)
		return false;
	q->v = v;
	q->cap *= 2;
	return true;
}

static struct vgw_action *insert(struct vgw_queue *q, size_t at, enum vgw_action_type type)
{
	struct vgw_action *a = &q->scratch;

	if (make_room(q)) {
		a = &q->v[at];
		memmove(a + 1, a, (q->len - at) * sizeof(*a));
		q->len++;
	}
	memset(a, 0, sizeof(*a));
	a->type = type;
	return a;
}

struct vgw_action *vgw_queue_push(struct vgw_queue *q, enum vgw_action_type type)
{
	return insert(q, q->len, type);
}

struct vgw_action *vgw_queue_answer(struct vgw_queue *q, enum vgw_action_type type)
{
	size_t before = q->len;
	struct vgw_action *a = insert(q, q->answer_at, type);

	if (q->len > before)
		q->answer_at++;
	return a;
}

int vgw_queue_next(struct vgw_queue *q, struct vgw_action *ret)
{
	if (q->head == q->len)
		return 0;
	*ret = q->v[q->head++];
	q->answer_at = q->head;
	return 1;
}

void *vgw_queue_alloc(struct vgw_queue *q, size_t n, bool secret)
{
	struct vgw_block *b;

	if (n > SIZE_MAX - sizeof(*b))
		return NULL;
	b = secret ? locked_new(sizeof(*b) + n) : malloc(sizeof(*b) + n);
	if (b == NULL)
		return NULL;
	b->next = q->blocks;
	b->size = n;
	b->secret = secret;
	q->blocks = b;
	return b->data;
}

void vgw_queue_recycle(struct vgw_queue *q)
{
	struct vgw_action *v;

	if (q->head != q->len)
		return;
	q->head = q->len = q->answer_at = 0;
	free_blocks(q);
	if (q->cap > QUEUE_START && (v = reallocarray(q->v, QUEUE_START, sizeof(*v))) != NULL) {
		q->v = v;
		q->cap = QUEUE_START;
	}
}
