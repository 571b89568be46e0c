/* SPDX-License-Identifier: ISC */
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "receiver/dave_code.h"
#include "receiver/dave_state.h"

/* What the session has to say, written into its queue. */

enum { OP_COMMIT_WELCOME = 28 };

int dave_say(struct dave_session *d, uint8_t opcode, const void *data, size_t len)
{
	struct dave_action *a;
	void *copy;

	if (dave_queue_reserve(&d->queue, 1) < 0 ||
		(copy = dave_queue_alloc(&d->queue, len, false)) == NULL)
		return TD_ERR_NOMEM;
	memcpy(copy, data, len);
	a = dave_queue_push(&d->queue, DAVE_SEND);
	a->opcode = opcode;
	a->data = copy;
	a->len = len;
	return TD_OK;
}

int dave_say_transition(struct dave_session *d, uint8_t opcode, uint16_t id)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "{\"transition_id\":%u}", id);

	return dave_say(d, opcode, text, (size_t)n);
}

int dave_say_commit(struct dave_session *d, const struct mls_own_commit *c)
{
	struct dave_action *a;
	uint8_t *both;

	if (dave_queue_reserve(&d->queue, 1) < 0 ||
		(both = dave_queue_alloc(&d->queue, c->message_len + c->welcome_len, false)) ==
			NULL)
		return TD_ERR_NOMEM;
	memcpy(both, c->message, c->message_len);
	if (c->welcome != NULL)
		memcpy(both + c->message_len, c->welcome, c->welcome_len);
	a = dave_queue_push(&d->queue, DAVE_SEND);
	a->opcode = OP_COMMIT_WELCOME;
	a->data = both;
	a->len = c->message_len + c->welcome_len;
	return TD_OK;
}

int dave_warn(struct dave_session *d, const char *fmt, ...)
{
	enum { TEXT_MAX = 240 };
	va_list ap;
	char *text;

	if (dave_queue_reserve(&d->queue, 1) < 0 ||
		(text = dave_queue_alloc(&d->queue, TEXT_MAX, false)) == NULL)
		return TD_ERR_NOMEM;
	va_start(ap, fmt);
	vsnprintf(text, TEXT_MAX, fmt, ap);
	va_end(ap);
	dave_queue_push(&d->queue, DAVE_WARNING)->text = text;
	return TD_OK;
}

/* Base secrets (section 8) of everybody but us; returns how many. */
static size_t list_senders(struct dave_sender *out, const struct mls_group *group)
{
	uint8_t base[MLS_HASH_LEN];
	uint8_t context[8];
	size_t n = 0;
	uint32_t i;
	int b;

	mls_group_exporter_base(group, "Discord Secure Frames v0", base);
	for (i = 0; i < mls_group_n_leaves(group); i++) {
		const struct mls_leaf_node *leaf = mls_group_member(group, i);

		if (leaf == NULL || i == mls_group_own_leaf(group))
			continue;
		out[n].user_id = dave_user_of(leaf);
		for (b = 0; b < 8; b++) /* little endian, unlike the identity */
			context[b] = (uint8_t)(out[n].user_id >> (8 * b));
		mls_exporter_from_base(out[n].secret, DAVE_SECRET_LEN, base,
			mls_span(context, sizeof(context)));
		n++;
	}
	sodium_memzero(base, sizeof(base));
	return n;
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static size_t list_members(uint64_t *out, const struct mls_group *group)
{
	size_t n = 0;
	uint32_t i;

	for (i = 0; i < mls_group_n_leaves(group); i++)
		if (mls_group_member(group, i) != NULL)
			out[n++] = dave_user_of(mls_group_member(group, i));
	qsort(out, n, sizeof(*out), ascending);
	return n;
}

int dave_say_epoch(struct dave_session *d, const struct mls_group *group)
{
	size_t n = mls_group_n_members(group);
	struct dave_sender *senders;
	struct dave_action *a;
	uint64_t *members;
	char *code;

	if (dave_queue_reserve(&d->queue, 2) < 0 ||
		(senders = dave_queue_alloc(&d->queue, n * sizeof(*senders), true)) == NULL ||
		(members = dave_queue_alloc(&d->queue, n * sizeof(*members), false)) == NULL ||
		(code = dave_queue_alloc(&d->queue, DAVE_CODE_LEN + 1, false)) == NULL)
		return TD_ERR_NOMEM;
	dave_code(code, DAVE_CODE_LEN, mls_group_authenticator(group), MLS_HASH_LEN);
	a = dave_queue_push(&d->queue, DAVE_EPOCH);
	a->epoch = mls_group_epoch(group);
	a->senders = senders;
	a->sender_count = list_senders(senders, group);
	d->has_keys = true;
	a = dave_queue_push(&d->queue, DAVE_CODE);
	a->epoch = mls_group_epoch(group);
	a->text = code;
	a->members = members;
	a->member_count = list_members(members, group);
	return TD_OK;
}

int dave_say_no_epoch(struct dave_session *d)
{
	if (dave_queue_reserve(&d->queue, 1) < 0)
		return TD_ERR_NOMEM;
	dave_queue_push(&d->queue, DAVE_EPOCH);
	d->has_keys = false;
	return TD_OK;
}

int dave_say_passthrough(struct dave_session *d, uint64_t until_ns)
{
	if (until_ns == d->pass_until_ns)
		return TD_OK;
	if (dave_queue_reserve(&d->queue, 1) < 0)
		return TD_ERR_NOMEM;
	dave_queue_push(&d->queue, DAVE_PASSTHROUGH)->until_ns = until_ns;
	d->pass_until_ns = until_ns;
	return TD_OK;
}
