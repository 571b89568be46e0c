/* SPDX-License-Identifier: ISC */
#include "receiver/lane_memory.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"

enum { LANE_MAX_SPEAKERS = 16384 };   /* as many SSRCs as a worker knows */
#define DAVE_KEEP_NS (10 * TD_SEC_NS) /* old epochs, behind the next one's beginning */

int lane_conn_new(struct lane_conn **ret, uint64_t conn)
{
	struct lane_conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return TD_ERR_NOMEM;
	c->conn = conn;
	c->passthrough_ns = UINT64_MAX;
	if ((c->key = sodium_malloc(sizeof(*c->key))) == NULL) {
		free(c);
		return TD_ERR_NOMEM;
	}
	sodium_memzero(c->key, sizeof(*c->key));
	*ret = c;
	return TD_OK;
}

static void epochs_free(struct lane_epoch **at)
{
	struct lane_epoch *e;

	while ((e = *at) != NULL) {
		*at = e->next;
		sodium_free(e);
	}
}

void lane_conn_free(struct lane_conn *c)
{
	if (c == NULL)
		return;
	epochs_free(&c->epochs);
	sodium_free(c->key);
	free(c->speakers);
	free(c);
}

void lane_conn_forget(struct lane_conn *c)
{
	c->has_key = false;
	sodium_memzero(c->key, sizeof(*c->key));
	epochs_free(&c->epochs);
	c->passthrough_ns = UINT64_MAX;
	c->speaker_count = 0;
}

void lane_conn_add_speaker(struct lane_conn *c, uint64_t user_id, uint32_t ssrc)
{
	size_t i;

	for (i = 0; i < c->speaker_count && c->speakers[i].ssrc != ssrc; i++)
		;
	if (i == LANE_MAX_SPEAKERS)
		return;
	if (i == c->speaker_cap) {
		size_t cap = c->speaker_cap > 0 ? c->speaker_cap * 2 : 8;
		struct lane_speaker *bigger = reallocarray(c->speakers, cap, sizeof(*bigger));

		if (bigger == NULL)
			return;
		c->speakers = bigger;
		c->speaker_cap = cap;
	}
	c->speakers[i] = (struct lane_speaker){ .user_id = user_id, .ssrc = ssrc };
	if (i == c->speaker_count)
		c->speaker_count++;
}

void lane_conn_drop_speaker(struct lane_conn *c, uint64_t user_id)
{
	size_t i, kept = 0;

	for (i = 0; i < c->speaker_count; i++) {
		if (c->speakers[i].user_id != user_id)
			c->speakers[kept++] = c->speakers[i];
	}
	c->speaker_count = kept;
}

const struct lane_epoch *lane_conn_add_epoch(struct lane_conn *c, uint64_t at_ns, uint64_t epoch,
	const struct dave_sender *senders, size_t count)
{
	struct lane_epoch *e, **at;
	size_t i;

	if ((e = sodium_malloc(sizeof(*e) + count * sizeof(e->senders[0]))) == NULL)
		return NULL;
	e->body = (struct ipc_dave_epoch){ .at_ns = at_ns, .epoch = epoch };
	e->count = count;
	for (i = 0; i < count; i++) {
		e->senders[i].user_id = senders[i].user_id;
		memcpy(e->senders[i].secret, senders[i].secret, DAVE_SECRET_LEN);
	}
	e->next = c->epochs;
	c->epochs = e;
	/* What expired before this one came has expired for a replacement worker, too. */
	for (at = &c->epochs; *at != NULL && at_ns - (*at)->body.at_ns < DAVE_KEEP_NS;
		at = &(*at)->next)
		;
	if (*at != NULL)
		epochs_free(&(*at)->next);
	return e;
}

/* Oldest first: each one makes those before it expire. */
static int tell_epochs(const struct lane_epoch *e, uint64_t conn, struct ipc_queue *queue)
{
	int r;

	if (e == NULL)
		return TD_OK;
	if ((r = tell_epochs(e->next, conn, queue)) != TD_OK)
		return r;
	return ipc_queue_put(queue, IPC_DAVE_EPOCH, conn, &e->body, sizeof(e->body), e->senders,
		e->count * sizeof(e->senders[0]));
}

int lane_conn_tell(const struct lane_conn *c, const struct ipc_conn_open *open,
	struct ipc_queue *queue)
{
	const struct ipc_dave_passthrough passthrough = { .until_ns = c->passthrough_ns };
	size_t i;
	int r;

	if ((r = ipc_queue_put(queue, IPC_CONN_OPEN, c->conn, open, sizeof(*open), NULL, 0)) < 0)
		return r;
	if (c->has_key &&
		(r = ipc_queue_put(queue, IPC_KEY, c->conn, c->key, sizeof(*c->key), NULL, 0)) < 0)
		return r;
	if ((r = tell_epochs(c->epochs, c->conn, queue)) < 0)
		return r;
	if ((r = ipc_queue_put(queue, IPC_DAVE_PASSTHROUGH, c->conn, &passthrough,
		     sizeof(passthrough), NULL, 0)) < 0)
		return r;
	for (i = 0; i < c->speaker_count && r == TD_OK; i++) {
		struct ipc_speaker speaker = { .user_id = c->speakers[i].user_id,
			.ssrc = c->speakers[i].ssrc };

		r = ipc_queue_put(queue, IPC_SPEAKER, c->conn, &speaker, sizeof(speaker), NULL, 0);
	}
	return r;
}
