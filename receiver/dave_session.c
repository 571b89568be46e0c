/* SPDX-License-Identifier: ISC */
#include "receiver/dave_session.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "receiver/dave_state.h"
#include "receiver/json_read.h"

enum dave_opcode {
	PREPARE_TRANSITION = 21,
	EXECUTE_TRANSITION = 22,
	TRANSITION_READY = 23,
	PREPARE_EPOCH = 24,
	EXTERNAL_SENDER = 25,
	KEY_PACKAGE = 26,
	PROPOSALS = 27,
	ANNOUNCE_COMMIT = 29,
	WELCOME = 30,
	INVALID_COMMIT_WELCOME = 31,
};

static const uint64_t GUARD_NS = 10 * TD_SEC_NS;        /* between two recoveries */
static const uint64_t PLAIN_AFTER_NS = 10 * TD_SEC_NS;  /* plain frames in flight */
static const uint64_t FAILING_NS = 2 * TD_SEC_NS;       /* of failure, before it means something */
static const uint64_t FAILING_GAP_NS = 1750 * TD_MS_NS; /* without a word: one did open */
static const uint64_t SETTLE_NS = 5 * TD_SEC_NS;        /* after a transition */
static const uint64_t STALE_NS = 30 * TD_SEC_NS;        /* a transition nobody will execute */

int dave_session_new(struct dave_session **ret, const struct dave_conf *conf)
{
	struct dave_session *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return TD_ERR_NOMEM;
	d->conf = *conf;
	dave_group_init(&d->group, &d->conf);
	d->pass_until_ns = UINT64_MAX;
	*ret = d;
	return TD_OK;
}

void dave_session_free(struct dave_session *d)
{
	if (d == NULL)
		return;
	dave_group_free(&d->group);
	dave_queue_free(&d->queue);
	free(d->taken);
	free(d);
}

static void forget_recovery(struct dave_session *d)
{
	d->recovering = d->recover_due = d->begin_due = false;
	memset(d->failing, 0, sizeof(d->failing));
}

void dave_session_reset(struct dave_session *d, uint64_t channel_id, uint64_t now_ns)
{
	(void)now_ns;
	dave_queue_recycle(&d->queue);
	dave_group_free(&d->group);
	d->conf.channel_id = channel_id;
	dave_group_set_channel(&d->group, channel_id);
	d->version = 0;
	d->described = false;
	d->n_pending = 0;
	d->executed = false;
	d->n_taken = 0;
	forget_recovery(d);
	if (d->has_keys)
		dave_say_no_epoch(d);
	dave_say_passthrough(d, UINT64_MAX);
}

static int say_package(struct dave_session *d)
{
	return dave_say(d, KEY_PACKAGE, d->group.package->bytes, d->group.package->package.raw.len);
}

/* Section 4, INIT. Without memory it is done with the next input. */
static int begin(struct dave_session *d)
{
	int r = dave_group_begin(&d->group);

	if (r == TD_OK)
		r = say_package(d);
	d->begin_due = r < 0;
	return r;
}

static int recover(struct dave_session *d, uint16_t id, const char *why, uint64_t now_ns)
{
	int r;

	if (d->recovering && now_ns - d->recovering_ns < GUARD_NS) {
		d->recover_due = true;
		d->recover_id = id;
		return TD_OK;
	}
	dave_warn(d, "DAVE: %s; asking to be added to the call's group again", why);
	if ((r = dave_say_transition(d, INVALID_COMMIT_WELCOME, id)) < 0) {
		d->recover_due = true;
		d->recover_id = id;
		return r;
	}
	d->recovering = true;
	d->recovering_ns = now_ns;
	d->recover_due = false;
	memset(d->failing, 0, sizeof(d->failing));
	return begin(d);
}

/* What an earlier input left to do. */
static void catch_up(struct dave_session *d, uint64_t now_ns)
{
	dave_queue_recycle(&d->queue);
	if (d->recover_due && !(d->recovering && now_ns - d->recovering_ns < GUARD_NS))
		recover(d, d->recover_id, "still no key for the call", now_ns);
	else if (d->begin_due)
		begin(d);
}

static bool downgrade_pending(const struct dave_session *d, size_t from)
{
	size_t i;

	for (i = from; i < d->n_pending; i++)
		if (d->pending[i].version == 0)
			return true;
	return false;
}

/* Version 0 from now on: no group, everything plain. */
static int become_plain(struct dave_session *d)
{
	int r;

	d->version = 0;
	dave_group_drop(&d->group);
	forget_recovery(d);
	if ((r = dave_say_no_epoch(d)) < 0)
		return r;
	return dave_say_passthrough(d, UINT64_MAX);
}

/* `later` is the place in pending[] from which transitions were announced after this one. */
static int execute(struct dave_session *d, const struct dave_transition *t, size_t later,
	uint64_t now_ns)
{
	d->executed = true;
	d->last_id = t->id;
	d->executed_ns = now_ns;
	if (t->version == 0)
		return become_plain(d);
	d->version = t->version;
	/* A transition of the old group does not end what was opened for the new one. */
	if (d->pass_until_ns != UINT64_MAX || t->opening != d->opening ||
		downgrade_pending(d, later))
		return TD_OK;
	return dave_say_passthrough(d, now_ns + PLAIN_AFTER_NS);
}

static void drop_pending(struct dave_session *d, size_t i)
{
	d->n_pending--;
	memmove(&d->pending[i], &d->pending[i + 1], (d->n_pending - i) * sizeof(d->pending[0]));
}

static size_t find_pending(const struct dave_session *d, uint16_t id)
{
	size_t i;

	for (i = 0; i < d->n_pending; i++)
		if (d->pending[i].id == id)
			break;
	return i;
}

/* A transition was announced: id 0 is executed at once, the others wait for everybody. */
static int announce(struct dave_session *d, uint16_t id, unsigned version, uint64_t now_ns)
{
	struct dave_transition t = { .id = id,
		.version = version,
		.opening = d->opening,
		.at_ns = now_ns };
	size_t i;
	int r;

	if (id == 0)
		return execute(d, &t, d->n_pending, now_ns);
	if ((i = find_pending(d, id)) < d->n_pending)
		drop_pending(d, i);
	else if (d->n_pending == DAVE_MAX_TRANSITIONS)
		drop_pending(d, 0);
	d->pending[d->n_pending++] = t;
	if (version == 0 && (r = dave_say_passthrough(d, UINT64_MAX)) < 0)
		return r;
	return dave_say_transition(d, TRANSITION_READY, id);
}

/* A group is about to be made, and its members speak plainly until it is there (section 15.3). */
static int open_group(struct dave_session *d, unsigned version)
{
	int r;

	d->version = version;
	d->opening++;
	forget_recovery(d);
	d->begin_due = true; /* also if the next line fails */
	if ((r = dave_say_passthrough(d, UINT64_MAX)) < 0)
		return r;
	return begin(d);
}

static int refuse_version(struct dave_session *d, unsigned version)
{
	dave_warn(d, "DAVE: version %u is not known here, nothing of it will be heard", version);
	return TD_ERR_UNSUPPORTED;
}

void dave_session_version(struct dave_session *d, unsigned version, uint64_t now_ns)
{
	/* While the gateway changes the version, opcode 4 may still say the old one. */
	bool settled =
		d->n_pending == 0 && (d->version == 0 || dave_group_is_established(&d->group));
	bool again = d->described && version == d->described_version;
	bool first = !d->described;

	catch_up(d, now_ns);
	d->described = true;
	d->described_version = version;
	if (!first && (version == d->version || (again && !settled)))
		return;
	if (version > DAVE_MAX_VERSION) {
		refuse_version(d, version);
		return;
	}
	if (version > 0)
		open_group(d, version);
	else if (d->version != 0)
		become_plain(d);
}

void dave_session_resumed(struct dave_session *d)
{
	dave_queue_recycle(&d->queue);
	if (d->version > 0 && d->group.package != NULL && !dave_group_is_established(&d->group))
		say_package(d);
}

void dave_session_user(struct dave_session *d, uint64_t user_id, bool present)
{
	const struct mls_own_commit *commit;

	dave_queue_recycle(&d->queue);
	if (!present) {
		dave_users_remove(&d->group.users, user_id);
		return;
	}
	if (dave_users_add(&d->group.users, user_id) < 0) {
		dave_warn(d, "DAVE: too many users in the call");
		return;
	}
	if (dave_group_named(&d->group, user_id, &commit) == TD_OK && commit != NULL)
		dave_say_commit(d, commit);
}

/* Opcodes 21, 22, 24 */

static int prepare_transition(struct dave_session *d, const json_t *root, uint64_t now_ns)
{
	int64_t id, version;

	if (json_read_int(&id, json_object_get(root, "transition_id"), 0, UINT16_MAX) != TD_OK ||
		json_read_int(&version, json_object_get(root, "protocol_version"), 0, UINT16_MAX) !=
			TD_OK)
		return TD_ERR_MALFORMED;
	if (version > DAVE_MAX_VERSION)
		return refuse_version(d, (unsigned)version);
	return announce(d, (uint16_t)id, (unsigned)version, now_ns);
}

static int execute_transition(struct dave_session *d, const json_t *root, uint64_t now_ns)
{
	struct dave_transition t;
	int64_t id;
	size_t i;

	if (json_read_int(&id, json_object_get(root, "transition_id"), 0, UINT16_MAX) != TD_OK)
		return TD_ERR_MALFORMED;
	if ((i = find_pending(d, (uint16_t)id)) == d->n_pending)
		return TD_ERR_STATE;
	t = d->pending[i];
	drop_pending(d, i);
	return execute(d, &t, i, now_ns);
}

static int prepare_epoch(struct dave_session *d, const json_t *root, uint64_t now_ns)
{
	const json_t *with_id = json_object_get(root, "transition_id");
	int64_t version, id = 0;
	uint64_t epoch;

	if (json_read_id(&epoch, json_object_get(root, "epoch")) != TD_OK ||
		json_read_int(&version, json_object_get(root, "protocol_version"), 0, UINT16_MAX) !=
			TD_OK ||
		(with_id != NULL && !json_is_null(with_id) &&
			json_read_int(&id, with_id, 0, UINT16_MAX) != TD_OK))
		return TD_ERR_MALFORMED;
	if (version > DAVE_MAX_VERSION)
		return refuse_version(d, (unsigned)version);
	if (epoch == 1 && version > 0)
		return open_group(d, (unsigned)version);
	if (id != 0)
		return announce(d, (uint16_t)id, (unsigned)version, now_ns);
	if (version == 0)
		return become_plain(d);
	return TD_OK; /* the same group goes on under the version there is */
}

static int message_json(struct dave_session *d, uint8_t opcode, const uint8_t *data, size_t len,
	uint64_t now_ns)
{
	json_t *root = json_read_text((const char *)data, len, 0, NULL);
	int r = TD_ERR_MALFORMED;

	if (json_is_object(root)) {
		if (opcode == PREPARE_TRANSITION)
			r = prepare_transition(d, root, now_ns);
		else if (opcode == EXECUTE_TRANSITION)
			r = execute_transition(d, root, now_ns);
		else
			r = prepare_epoch(d, root, now_ns);
	}
	json_decref(root);
	return r;
}

/* Opcodes 25, 27, 29, 30 */

static int external_sender(struct dave_session *d, struct mls_span payload)
{
	bool changed;
	int r = dave_group_external_sender(&d->group, payload, &changed);

	if (changed)
		dave_warn(d, "DAVE: the gateway came with another key for its proposals; %s",
			r == TD_OK ? "no group was there yet, it is taken"
				   : "the group stays with the first one");
	return r;
}

static int proposals(struct dave_session *d, struct mls_span payload)
{
	const struct mls_own_commit *commit;
	int r = dave_group_proposals(&d->group, payload, &commit);

	if (d->group.unknown != 0)
		dave_warn(d, "DAVE: user %llu shall be added, and is not known to be in the call",
			(unsigned long long)d->group.unknown);
	if (r == TD_OK && commit != NULL)
		r = dave_say_commit(d, commit);
	return r;
}

static void hash_message(uint8_t hash[static MLS_HASH_LEN], uint8_t opcode, struct mls_span payload)
{
	struct mls_span parts[2] = { mls_span(&opcode, 1), payload };

	mls_hash(hash, parts, 2);
}

/* A resumed connection brings what it brought before: known by its hash, and answered as then. */
static bool came_before(const struct dave_session *d, const uint8_t hash[static MLS_HASH_LEN])
{
	size_t n = d->n_taken < DAVE_MAX_TAKEN ? d->n_taken : DAVE_MAX_TAKEN;
	size_t i;

	for (i = 0; i < n; i++)
		if (memcmp(d->taken[i], hash, MLS_HASH_LEN) == 0)
			return true;
	return false;
}

static int take_epoch(struct dave_session *d, struct mls_group *next, uint16_t id,
	const uint8_t hash[static MLS_HASH_LEN], uint64_t now_ns)
{
	size_t at = d->n_taken % DAVE_MAX_TAKEN;
	int r = TD_OK;

	if (d->taken == NULL &&
		(d->taken = reallocarray(NULL, DAVE_MAX_TAKEN, sizeof(*d->taken))) == NULL)
		r = TD_ERR_NOMEM;
	if (r < 0 || (r = dave_say_epoch(d, next)) < 0) {
		mls_group_free(next);
		return r;
	}
	dave_group_adopt(&d->group, next);
	memcpy(d->taken[at], hash, MLS_HASH_LEN);
	d->n_taken++;
	forget_recovery(d);
	return announce(d, id, d->version, now_ns);
}

/* Commit or Welcome: a transition id, and MLS. */
static int new_epoch(struct dave_session *d, uint8_t opcode, struct mls_span payload,
	uint64_t now_ns)
{
	enum dave_verdict verdict = DAVE_IGNORED;
	uint8_t hash[MLS_HASH_LEN];
	struct mls_group *next = NULL;
	struct mls_span rest;
	struct rd rd;
	uint16_t id;
	int r;

	rd_init(&rd, payload.p, payload.len);
	id = rd_u16(&rd);
	if (rd.bad)
		return TD_ERR_TRUNCATED;
	rest = mls_span(rd.p, rd_left(&rd));
	hash_message(hash, opcode, payload);
	if (came_before(d, hash))
		return find_pending(d, id) < d->n_pending
			? dave_say_transition(d, TRANSITION_READY, id)
			: TD_OK;
	d->group.cx.why = NULL;
	r = opcode == WELCOME ? dave_group_welcome(&d->group, rest, &verdict, &next)
			      : dave_group_commit(&d->group, rest, &verdict, &next);
	if (r == TD_OK && verdict == DAVE_TAKEN)
		r = take_epoch(d, next, id, hash, now_ns);
	if (r == TD_OK && verdict == DAVE_REMOVED) {
		dave_group_drop(&d->group);
		dave_warn(d, "DAVE: removed from the call's group; its new keys are not for us");
	}
	if (r < 0)
		recover(d, id, d->group.cx.why != NULL ? d->group.cx.why : td_strerror(r), now_ns);
	return r;
}

int dave_session_message(struct dave_session *d, uint8_t opcode, const uint8_t *data, size_t len,
	uint64_t now_ns)
{
	struct mls_span payload = mls_span(data, len);

	catch_up(d, now_ns);
	switch (opcode) {
	case PREPARE_TRANSITION:
	case EXECUTE_TRANSITION:
	case PREPARE_EPOCH:
		return message_json(d, opcode, data, len, now_ns);
	case EXTERNAL_SENDER:
		return external_sender(d, payload);
	case PROPOSALS:
		return proposals(d, payload);
	case ANNOUNCE_COMMIT:
	case WELCOME:
		return new_epoch(d, opcode, payload, now_ns);
	}
	return TD_ERR_UNSUPPORTED;
}

/* How long frames of a user have failed; a user who was not heard of for a while begins anew. */
static uint64_t failing_for(struct dave_session *d, uint64_t user_id, uint64_t now_ns)
{
	struct dave_failing *f = NULL, *oldest = &d->failing[0];
	size_t i;

	for (i = 0; i < DAVE_MAX_FAILING; i++) {
		if (d->failing[i].user_id == user_id)
			f = &d->failing[i];
		if (d->failing[i].last_ns < oldest->last_ns)
			oldest = &d->failing[i];
	}
	if (f == NULL || now_ns - f->last_ns > FAILING_GAP_NS) {
		f = f != NULL ? f : oldest;
		*f = (struct dave_failing){ .user_id = user_id, .since_ns = now_ns };
	}
	f->last_ns = now_ns;
	return now_ns - f->since_ns;
}

static bool transition_pending(const struct dave_session *d, uint64_t now_ns)
{
	size_t i;

	for (i = 0; i < d->n_pending; i++)
		if (now_ns - d->pending[i].at_ns < STALE_NS)
			return true;
	return false;
}

void dave_session_failing(struct dave_session *d, uint64_t user_id, uint64_t now_ns)
{
	catch_up(d, now_ns);
	if (user_id == 0 || !dave_group_is_established(&d->group) ||
		!dave_group_has(&d->group, user_id))
		return;
	if (failing_for(d, user_id, now_ns) < FAILING_NS || !d->executed ||
		now_ns - d->executed_ns < SETTLE_NS || transition_pending(d, now_ns))
		return;
	d->group.cx.why = NULL;
	recover(d, d->last_id, "what is said does not decrypt", now_ns);
}

int dave_next(struct dave_session *d, struct dave_action *ret)
{
	return dave_queue_next(&d->queue, ret);
}
