/* SPDX-License-Identifier: ISC */
#include "unpacker/dave_stage.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/dave_ratchet.h"
#include "common/err.h"
#include "common/locked.h"
#include "common/map.h"
#include "common/opus_packet.h"

#define OLD_NS (10 * TD_SEC_NS)

struct dave_epoch {
	uint64_t at_ns;
	uint64_t until_ns; /* frames that arrive from then on do not open; UINT64_MAX: not known */
	uint32_t no;
	size_t senders;
	/* One locked piece, a secret for each sender: base, later what the ratchet makes of it. */
	uint8_t (*secret)[DAVE_RATCHET_SECRET_LEN];
	struct map by_user; /* to one of: */
	struct epoch_sender {
		struct dave_ratchet *ratchet; /* NULL until it is needed */
	} sender[];
};

/* ---- epochs ---- */

static void epoch_free(struct dave_epoch *e)
{
	size_t i;

	if (e == NULL)
		return;
	for (i = 0; i < e->senders; i++)
		dave_ratchet_free(e->sender[i].ratchet);
	map_free(&e->by_user);
	locked_free(e->secret); /* wipes */
	free(e);
}

static int epoch_new(struct dave_epoch **ret, const struct ipc_dave_epoch *m,
	const uint8_t *senders, size_t count)
{
	struct dave_epoch *e = calloc(1, sizeof(*e) + count * sizeof(e->sender[0]));
	uint64_t user_id;
	size_t i;

	if (e == NULL || (e->secret = locked_new(count * sizeof(e->secret[0]))) == NULL) {
		free(e);
		return TD_ERR_NOMEM;
	}
	e->at_ns = m->at_ns;
	e->no = m->no;
	e->until_ns = UINT64_MAX;
	e->senders = count;
	/* Not sorted: qsort() asks the system how much memory there is, which a worker may not. */
	for (i = 0; i < count; i++, senders += sizeof(struct ipc_dave_sender)) {
		memcpy(&user_id, senders, sizeof(user_id));
		memcpy(e->secret[i], senders + offsetof(struct ipc_dave_sender, secret),
			DAVE_RATCHET_BASE_LEN);
		if (map_get(&e->by_user, user_id) == NULL &&
			map_put(&e->by_user, user_id, &e->sender[i]) != TD_OK) {
			epoch_free(e);
			return TD_ERR_NOMEM;
		}
	}
	*ret = e;
	return TD_OK;
}

static void forget_oldest(struct dave_stage *d)
{
	epoch_free(d->epoch[0]);
	memmove(d->epoch, d->epoch + 1, --d->epochs * sizeof(d->epoch[0]));
}

void dave_stage_init(struct dave_stage *d, uint64_t wait_ns, uint8_t *plain)
{
	memset(d, 0, sizeof(*d));
	d->wait_ns = wait_ns;
	d->plain = plain;
	d->plain_until_ns = UINT64_MAX;
}

void dave_stage_reset(struct dave_stage *d)
{
	while (d->epochs > 0)
		forget_oldest(d);
	sodium_memzero(d->plain, IPC_MAX_DGRAM);
	dave_stage_init(d, d->wait_ns, d->plain);
}

int dave_stage_epoch(struct dave_stage *d, const struct ipc_dave_epoch *m, const uint8_t *senders,
	size_t count)
{
	struct dave_epoch *e = NULL;
	size_t i;
	int r;

	if (count > 0 && (r = epoch_new(&e, m, senders, count)) != TD_OK)
		return r;
	for (i = 0; i < d->epochs; i++) {
		if (m->at_ns + OLD_NS < d->epoch[i]->until_ns)
			d->epoch[i]->until_ns = m->at_ns + OLD_NS;
	}
	if (e == NULL)
		return TD_OK;
	if (d->epochs == DAVE_STAGE_EPOCHS)
		forget_oldest(d);
	d->epoch[d->epochs++] = e;
	d->encrypted = true;
	return TD_OK;
}

/* None ends later than one that came after it. */
uint64_t dave_stage_due(const struct dave_stage *d)
{
	if (d->epochs == 0 || d->epoch[0]->until_ns == UINT64_MAX)
		return UINT64_MAX;
	return d->epoch[0]->until_ns + d->wait_ns;
}

void dave_stage_advance(struct dave_stage *d, uint64_t now_ns)
{
	while (dave_stage_due(d) <= now_ns)
		forget_oldest(d);
}

/* ---- frames ---- */

static int sender_ready(struct dave_epoch *e, struct epoch_sender *s)
{
	if (s->ratchet != NULL)
		return TD_OK;
	return dave_ratchet_new(&s->ratchet, e->secret[s - e->sender], e->at_ns);
}

int dave_stage_used(struct dave_stage *d, const struct ipc_dave_used *u)
{
	struct epoch_sender *s;
	size_t i;
	int r;

	for (i = 0; i < d->epochs && d->epoch[i]->no != u->epoch_no; i++)
		;
	if (i == d->epochs || (s = map_get(&d->epoch[i]->by_user, u->user_id)) == NULL)
		return TD_OK;
	if ((r = sender_ready(d->epoch[i], s)) == TD_OK)
		dave_ratchet_set_used(s->ratchet, &u->nonces);
	return r;
}

static int sender_open(struct dave_stage *d, enum dave_verdict *ret, struct dave_epoch *e,
	uint64_t user_id, const uint8_t *data, uint64_t arrival_ns, bool again)
{
	struct epoch_sender *s = map_get(&e->by_user, user_id);
	int r;

	*ret = DAVE_STAGE_NO_KEY;
	if (s == NULL || arrival_ns >= e->until_ns)
		return TD_OK;
	if ((r = sender_ready(e, s)) != TD_OK)
		return r;
	switch (dave_ratchet_open(s->ratchet, d->plain, &d->frame, data, arrival_ns, again)) {
	case TD_OK:
		d->nonce = dave_ratchet_last(s->ratchet);
		d->epoch_no = e->no;
		*ret = DAVE_STAGE_OPENED;
		return TD_OK;
	case TD_ERR_DUPLICATE:
		*ret = DAVE_STAGE_REPLAYED;
		return TD_OK;
	case TD_ERR_LIMIT:
		*ret = DAVE_STAGE_LIMIT;
		return TD_OK;
	case TD_ERR_AUTH:
		*ret = DAVE_STAGE_AUTH;
		return TD_OK;
	default:
		return TD_ERR_NOMEM;
	}
}

bool dave_stage_takes_plain(const struct dave_stage *d, uint64_t arrival_ns)
{
	return d->plain_until_ns == UINT64_MAX || arrival_ns < d->plain_until_ns;
}

int dave_stage_open(struct dave_stage *d, enum dave_verdict *ret, uint64_t user_id,
	const uint8_t *data, size_t len, uint64_t arrival_ns, unsigned flags)
{
	bool again = (flags & DAVE_STAGE_OPENED_BEFORE) != 0;
	size_t i = d->epochs, end = 0;
	enum dave_verdict v;
	int r;

	if ((flags & DAVE_STAGE_NEWEST_ALONE) != 0 && d->epochs > 0)
		end = d->epochs - 1;
	*ret = DAVE_STAGE_CLEAR;
	if (len == 0 || opus_packet_is_silence(data, len))
		return TD_OK;
	if (len > IPC_MAX_DGRAM || dave_frame_parse(&d->frame, data, len) != TD_OK) {
		if ((flags & DAVE_STAGE_PLAIN_OK) == 0)
			*ret = DAVE_STAGE_REFUSED;
		else if (d->encrypted)
			*ret = DAVE_STAGE_PLAIN;
		return TD_OK;
	}
	*ret = DAVE_STAGE_NO_KEY;
	while (user_id != 0 && i-- > end) {
		if ((r = sender_open(d, &v, d->epoch[i], user_id, data, arrival_ns, again)) !=
			TD_OK)
			return r;
		if (v < DAVE_STAGE_NO_KEY || v > *ret)
			*ret = v;
		if (v < DAVE_STAGE_NO_KEY)
			return TD_OK;
	}
	return TD_OK;
}
