/* SPDX-License-Identifier: ISC */
#include "receiver/lane_memory.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/locked.h"

enum { LANE_MAX_SPEAKERS = 16384 };   /* as many SSRCs as a worker knows */
#define DAVE_KEEP_NS (10 * TD_SEC_NS) /* old epochs, behind the next one's beginning */

int lane_conn_new(struct lane_conn **ret, uint64_t conn)
{
	struct lane_conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return TD_ERR_NOMEM;
	c->conn = conn;
	c->passthrough_ns = UINT64_MAX;
	*ret = c;
	return TD_OK;
}

static void epochs_free(struct lane_epoch **at)
{
	struct lane_epoch *e;

	while ((e = *at) != NULL) {
		*at = e->next;
		locked_free(e);
	}
}

void lane_conn_free(struct lane_conn *c)
{
	if (c == NULL)
		return;
	epochs_free(&c->epochs);
	locked_free(c->key);
	free(c->speakers);
	free(c);
}

struct ipc_key *lane_key_new(enum transport_mode mode, uint32_t own_ssrc,
	const uint8_t key[static TRANSPORT_KEY_LEN])
{
	struct ipc_key *k = locked_new(sizeof(*k));

	if (k == NULL)
		return NULL;
	k->mode = mode;
	k->own_ssrc = own_ssrc;
	memcpy(k->key, key, TRANSPORT_KEY_LEN);
	return k;
}

void lane_conn_set_key(struct lane_conn *c, struct ipc_key *key)
{
	locked_free(c->key);
	c->key = key;
}

void lane_conn_forget(struct lane_conn *c)
{
	lane_conn_set_key(c, NULL);
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

struct lane_epoch *lane_epoch_new(uint64_t at_ns, uint64_t epoch, const struct dave_sender *senders,
	size_t count)
{
	struct lane_epoch *e = locked_new(sizeof(*e) + count * sizeof(e->senders[0]));

	if (e == NULL)
		return NULL;
	e->next = NULL;
	e->body = (struct ipc_dave_epoch){ .at_ns = at_ns, .epoch = epoch };
	e->count = count;
	for (size_t i = 0; i < count; i++) {
		e->senders[i].user_id = senders[i].user_id;
		memcpy(e->senders[i].secret, senders[i].secret, DAVE_SECRET_LEN);
	}
	return e;
}

void lane_conn_add_epoch(struct lane_conn *c, struct lane_epoch *e)
{
	uint64_t at_ns = e->body.at_ns;
	struct lane_epoch **at;

	e->next = c->epochs;
	c->epochs = e;
	/* What expired before this one came has expired for a replacement worker, too. */
	for (at = &c->epochs; *at != NULL && at_ns - (*at)->body.at_ns < DAVE_KEEP_NS;
		at = &(*at)->next)
		;
	if (*at != NULL)
		epochs_free(&(*at)->next);
}

int lane_epoch_tell(const struct lane_epoch *e, uint64_t conn, struct ipc_queue *queue)
{
	return ipc_queue_put(queue, IPC_DAVE_EPOCH, conn, &e->body, sizeof(e->body), e->senders,
		e->count * sizeof(e->senders[0]));
}

/* Oldest first: each one makes those before it expire. */
static int tell_epochs(const struct lane_epoch *e, uint64_t conn, struct ipc_queue *queue)
{
	int r;

	if (e == NULL)
		return TD_OK;
	if ((r = tell_epochs(e->next, conn, queue)) != TD_OK)
		return r;
	return lane_epoch_tell(e, conn, queue);
}

int lane_conn_tell(const struct lane_conn *c, const struct ipc_conn_open *open,
	struct ipc_queue *queue)
{
	const struct ipc_dave_passthrough passthrough = { .until_ns = c->passthrough_ns };
	size_t i;
	int r;

	if ((r = ipc_queue_put(queue, IPC_CONN_OPEN, c->conn, open, sizeof(*open), NULL, 0)) < 0)
		return r;
	if (c->key != NULL &&
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
