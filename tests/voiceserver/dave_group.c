/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "tests/voiceserver/call.h"
#include "tests/voiceserver/dave_group.h"

enum { BATCH_MS = 10, TRANSITION_MS = 2000, GATHER_MS = 5000, PHANTOM_ID = 77 };

void dave_group_changed(struct dave_call *d)
{
	uint64_t due = d->call->server->now_ns + BATCH_MS * TD_MS_NS;

	if (due < d->plan_ns)
		d->plan_ns = due;
}

/* ---- transitions ---- */

static void transition_execute(struct dave_call *d, bool timed_out)
{
	struct dave_transition *t = &d->transition;
	struct dave_msg m = { .op = DAVE_EXECUTE_TRANSITION, .id = t->id };

	t->deadline_ns = 0;
	dave_log(d, NULL,
		json_pack("{s:s, s:i, s:i, s:b}", "event", "dave_execute", "transition_id",
			(int)t->id, "version", (int)t->version, "timed_out", timed_out));
	dave_tell_all(d, &m);
	if (t->version == 0 && d->call->capture != NULL)
		capture_dave(d->call->capture,
			d->call->server->now_ns + (uint64_t)d->call->server->utc_ns, 0, 0,
			json_array());
	dave_group_changed(d);
}

/* Begins a transition that `who` has to be ready for: members of the group, or everybody. */
static void transition_begin(struct dave_call *d, uint16_t id, unsigned version, bool group_only)
{
	struct dave_transition *t = &d->transition;
	struct dave_member *m, **bigger;

	t->n_waiting = 0;
	for (m = d->members; m != NULL; m = m->next) {
		if (group_only && !m->in_group)
			continue;
		bigger = realloc(t->waiting, (t->n_waiting + 1) * sizeof(*bigger));
		if (bigger == NULL)
			return;
		t->waiting = bigger;
		t->waiting[t->n_waiting++] = m;
	}
	t->id = id;
	t->version = version;
	t->deadline_ns = d->call->server->now_ns + TRANSITION_MS * TD_MS_NS;
}

static void transition_without(struct dave_call *d, const struct dave_member *m)
{
	struct dave_transition *t = &d->transition;
	size_t i;

	for (i = 0; t->deadline_ns != 0 && i < t->n_waiting; i++) {
		if (t->waiting[i] != m)
			continue;
		t->waiting[i] = t->waiting[--t->n_waiting];
		if (t->n_waiting == 0)
			transition_execute(d, false);
		return;
	}
}

static uint16_t id_next(struct dave_call *d)
{
	if (d->next_id == 0)
		d->next_id = 1;
	return d->next_id++;
}

void dave_group_ready(struct dave_member *m, uint16_t id)
{
	dave_log(m->dave, m,
		json_pack("{s:s, s:i}", "event", "dave_ready", "transition_id", (int)id));
	if (m->dave->transition.id == id)
		transition_without(m->dave, m);
}

/* ---- proposals ---- */

static void outs_clear(struct dave_call *d)
{
	while (d->n_out > 0)
		free(d->out[--d->n_out].p.message);
}

static struct dave_out *out_find(struct dave_call *d, struct mls_span ref)
{
	size_t i;

	for (i = 0; i < d->n_out; i++)
		if (mls_span_equal(ref, mls_span(d->out[i].p.ref, MLS_HASH_LEN)))
			return &d->out[i];
	return NULL;
}

static struct dave_out *propose(struct dave_call *d, struct mls_span package, uint64_t user_id,
	uint32_t leaf)
{
	struct dave_out *o = &d->out[d->n_out];

	if (d->n_out == DAVE_MAX_OUT)
		return NULL;
	memset(o, 0, sizeof(*o));
	o->add = package.len > 0;
	o->user_id = user_id;
	o->leaf = leaf;
	if (dave_propose(&o->p, &d->external, d->call->guild->channel_id, d->epoch, package,
		    leaf) != TD_OK)
		return NULL;
	d->n_out++;
	return o;
}

static void propose_member(struct dave_call *d, const struct dave_member *m)
{
	struct dave_out *o;
	size_t i;

	for (i = 0; i < d->n_out; i++)
		if (d->out[i].add &&
			memcmp(d->out[i].package_ref, m->package_ref, MLS_HASH_LEN) == 0)
			return;
	if ((o = propose(d, mls_span(m->package, m->package_len), m->user_id, 0)) != NULL)
		memcpy(o->package_ref, m->package_ref, MLS_HASH_LEN);
}

static void propose_adds(struct dave_call *d)
{
	const struct dave_member *m;

	for (m = d->members; m != NULL; m = m->next)
		if (m->package != NULL && (!m->in_group || m->broken))
			propose_member(d, m);
}

static void propose_removes(struct dave_call *d)
{
	const struct dave_leaf *l;
	uint32_t i;
	size_t k;

	for (i = 0; i < d->n_leaves; i++) {
		l = &d->leaves[i];
		/* Who starts over is taken out once there is a key package to put them back. */
		if (!l->used ||
			(l->member != NULL && !(l->member->broken && l->member->package != NULL)))
			continue;
		for (k = 0; k < d->n_out && (d->out[k].add || d->out[k].leaf != i); k++)
			continue;
		if (k == d->n_out)
			propose(d, mls_span(NULL, 0), l->user_id, i);
	}
}

/* Op 27 to one member, with the proposals from number `from` on that concern it. */
static void proposals_send(struct dave_call *d, struct dave_member *m, size_t from, bool revoke)
{
	size_t i, mark, n = 0, room = 16;
	struct dave_msg msg = { .op = DAVE_PROPOSALS };
	struct wr w = { 0 };

	for (i = from; i < d->n_out; i++)
		room += d->out[i].p.len + MLS_HASH_LEN;
	if (mls_wr_new(&w, room) != TD_OK)
		return;
	wr_u8(&w, revoke);
	mark = mls_wr_open(&w);
	for (i = from; i < d->n_out; i++) {
		const struct dave_out *o = &d->out[i];

		/* At epoch 0 everybody adds the others to a group of their own. */
		if ((!d->grouped && o->user_id == m->user_id) || o->moot != revoke)
			continue;
		if (revoke)
			mls_wr_vec(&w, mls_span(o->p.ref, MLS_HASH_LEN));
		else
			mls_wr_span(&w, mls_span(o->p.message, o->p.len));
		n++;
	}
	mls_wr_close(&w, mark);
	msg.data = w.buf;
	msg.len = w.len;
	if (n > 0 && !w.bad)
		dave_tell(m, &msg);
	free(w.buf);
}

/* Whether proposals of this epoch are any business of m. */
static bool concerned(const struct dave_call *d, const struct dave_member *m)
{
	return d->grouped ? m->in_group && !m->broken : m->package != NULL;
}

static void proposals_announce(struct dave_call *d, size_t from)
{
	struct dave_member *m;

	for (m = d->members; m != NULL; m = m->next) {
		if (!concerned(d, m))
			continue;
		proposals_send(d, m, m->told ? from : 0, false);
		m->told = true;
	}
}

/* Takes back what is moot. */
static void proposals_revoke(struct dave_call *d)
{
	struct dave_member *m;
	size_t i, n = 0;

	for (i = 0; i < d->n_out; i++)
		n += d->out[i].moot;
	if (n == 0)
		return;
	for (m = d->members; m != NULL; m = m->next)
		if (concerned(d, m) && m->told)
			proposals_send(d, m, 0, true);
	for (i = n = 0; i < d->n_out; i++) {
		if (d->out[i].moot)
			free(d->out[i].p.message);
		else
			d->out[n++] = d->out[i];
	}
	d->n_out = n;
}

/* Adds whose user has left, or has sent another key package since. */
static void proposals_judge(struct dave_call *d)
{
	const struct dave_member *m;
	size_t i;

	for (i = 0; i < d->n_out; i++) {
		struct dave_out *o = &d->out[i];

		if (!o->add || o->phantom)
			continue;
		o->moot = true;
		for (m = d->members; m != NULL; m = m->next)
			if (m->package != NULL &&
				memcmp(m->package_ref, o->package_ref, MLS_HASH_LEN) == 0)
				o->moot = false;
	}
}

void dave_group_phantom(struct dave_call *d, bool announced, uint64_t length_ns)
{
	struct mls_own_package *own = NULL;
	struct mls_ctx cx = { dave_random, &d->rng, NULL };
	uint8_t id[DAVE_ID_LEN], signature[MLS_PRIV_LEN];
	uint64_t user = d->call->guild->channel_id + PHANTOM_ID;
	struct dave_out *o;

	dave_id_write(id, user);
	rng_fill(&d->rng, signature, sizeof(signature));
	signature[0] &= 0x7f;
	if (!d->grouped || d->phantom_ns != UINT64_MAX ||
		mls_own_package_new(&cx, &own, mls_span(id, sizeof(id)), signature) != TD_OK)
		return;
	d->phantom_id = user;
	d->phantom_announced = announced;
	d->phantom_ns = d->call->server->now_ns + length_ns;
	if (announced)
		dave_say_presence(d, user, true);
	if ((o = propose(d, own->package.raw, user, 0)) != NULL) {
		o->phantom = true;
		proposals_announce(d, d->n_out - 1);
	}
	mls_own_package_free(own);
}

static void phantom_revoke(struct dave_call *d)
{
	size_t i;

	for (i = 0; i < d->n_out; i++)
		if (d->out[i].phantom)
			d->out[i].moot = true;
	d->phantom_ns = UINT64_MAX;
	proposals_revoke(d);
	if (d->phantom_announced)
		dave_say_presence(d, d->phantom_id, false);
}

/* ---- beginning and ending groups ---- */

static void group_drop(struct dave_call *d)
{
	struct dave_member *m;

	outs_clear(d);
	d->phantom_ns = UINT64_MAX;
	free(d->leaves);
	d->leaves = NULL;
	d->n_leaves = 0;
	d->grouped = false;
	d->epoch = 0;
	for (m = d->members; m != NULL; m = m->next) {
		/* Of what comes it has the keys once it is in again. */
		if (m->in_group && m->to_serial > d->serial)
			m->to_serial = d->serial + 1;
		m->in_group = m->broken = m->told = false;
		free(m->package);
		m->package = NULL;
	}
}

void dave_group_recreate(struct dave_call *d)
{
	struct dave_msg m = { .op = DAVE_PREPARE_EPOCH, .epoch = 1, .version = d->version };

	group_drop(d);
	d->gather_until_ns = d->call->server->now_ns + GATHER_MS * TD_MS_NS;
	dave_log(d, NULL, json_pack("{s:s}", "event", "dave_recreate"));
	dave_tell_all(d, &m);
}

static unsigned version_wanted(const struct dave_call *d)
{
	const struct session *s;

	for (s = d->call->sessions; s != NULL; s = s->next)
		if (s->described && s->max_dave == 0)
			return 0;
	return d->forced_version;
}

static void version_change(struct dave_call *d, unsigned version)
{
	struct dave_msg m = { .op = DAVE_PREPARE_TRANSITION, .version = version };

	d->version = version;
	if (version > 0) {
		dave_group_recreate(d);
		return;
	}
	m.id = id_next(d);
	group_drop(d);
	transition_begin(d, m.id, 0, false);
	dave_tell_all(d, &m);
	if (d->members == NULL)
		transition_execute(d, false);
}

/* The last one in the call starts over, alone (section 5). */
static void last_one(struct dave_call *d)
{
	struct dave_msg m = { .op = DAVE_PREPARE_TRANSITION, .version = d->version };

	dave_group_recreate(d);
	d->first = true;
	dave_tell_all(d, &m);
}

void dave_group_plan(struct dave_call *d)
{
	const struct dave_member *m;
	size_t from, n = 0, packages = 0, committers = 0;

	d->plan_ns = UINT64_MAX;
	if (d->transition.deadline_ns != 0)
		return;
	if (version_wanted(d) != d->version) {
		version_change(d, version_wanted(d));
		return;
	}
	for (m = d->members; m != NULL; m = m->next, n++) {
		packages += m->package != NULL;
		committers += m->in_group && !m->broken;
	}
	if (d->version == 0)
		return;
	/* What they send next is for the members of the new group: nobody is left out for being a
	 * little slow. */
	if (!d->grouped && packages < n && d->call->server->now_ns < d->gather_until_ns) {
		d->plan_ns = d->gather_until_ns;
		return;
	}
	if (d->grouped && n == 0) {
		group_drop(d);
		d->first = true;
	} else if (d->grouped && n == 1) {
		last_one(d);
	} else if (d->grouped && committers == 0) {
		dave_group_recreate(d);
	} else if (d->grouped || packages > 1) {
		proposals_judge(d);
		proposals_revoke(d);
		from = d->n_out;
		/* Both orders occur, and clients have to bear both. */
		if (d->grouped && d->serial % 2 == 0)
			propose_removes(d);
		propose_adds(d);
		if (d->grouped)
			propose_removes(d);
		proposals_announce(d, from);
	}
}

void dave_group_forget(struct dave_call *d, struct dave_member *m)
{
	uint32_t i;

	for (i = 0; i < d->n_leaves; i++)
		if (d->leaves[i].member == m)
			d->leaves[i].member = NULL;
	transition_without(d, m);
	dave_group_changed(d);
}

void dave_group_package(struct dave_member *m, const uint8_t *data, size_t len)
{
	struct mls_ctx cx = { 0 };
	struct mls_key_package kp;
	const char *bad = NULL;
	struct rd r;

	rd_init(&r, data, len);
	mls_key_package_read(&r, &kp);
	if (!rd_done(&r) || mls_key_package_check(&cx, &kp) != TD_OK ||
		dave_id_read(kp.leaf.identity) != m->user_id)
		bad = cx.why != NULL ? cx.why : "not a key package of this user";
	dave_log(m->dave, m,
		json_pack("{s:s, s:b}", "event", "dave_key_package", "good", bad == NULL));
	if (bad != NULL)
		return;
	free(m->package);
	if ((m->package = malloc(len)) == NULL)
		return;
	memcpy(m->package, data, len);
	m->package_len = len;
	mls_key_package_ref(m->package_ref, &kp);
	m->told = false;
	dave_group_changed(m->dave);
}

void dave_group_invalid(struct dave_member *m, uint16_t id)
{
	struct dave_call *d = m->dave;

	dave_log(d, m, json_pack("{s:s, s:i}", "event", "dave_invalid", "transition_id", (int)id));
	m->broken = m->in_group;
	if (m->to_serial > d->serial)
		m->to_serial = d->serial;
	transition_without(d, m);
	dave_group_changed(d);
}

uint64_t dave_group_next_ns(const struct dave_call *d)
{
	uint64_t next = d->plan_ns;

	if (d->transition.deadline_ns != 0 && d->transition.deadline_ns < next)
		next = d->transition.deadline_ns;
	return d->phantom_ns < next ? d->phantom_ns : next;
}

void dave_group_run(struct dave_call *d)
{
	uint64_t now = d->call->server->now_ns;

	if (d->transition.deadline_ns != 0 && d->transition.deadline_ns <= now)
		transition_execute(d, true);
	if (d->phantom_ns <= now)
		phantom_revoke(d);
	if (d->plan_ns <= now)
		dave_group_plan(d);
}

/* ---- commits ---- */

/* Which leaf a member commits from. */
static uint32_t leaf_of(const struct dave_call *d, const struct dave_member *m)
{
	return d->grouped ? m->leaf : 0;
}

/* All that is outstanding, all of it once, and nothing else: why not, or NULL. */
static const char *references_refusal(struct dave_call *d, const struct dave_member *by,
	const struct dave_commit *c)
{
	const struct mls_commit_view *v = &c->m.content.commit;
	size_t i, n = 0, expected = 0;
	bool seen[DAVE_MAX_OUT] = { false }, removes = false;
	struct mls_span ref;
	struct dave_out *o;
	struct rd r;

	for (i = 0; i < d->n_out; i++) {
		expected += d->grouped || d->out[i].user_id != by->user_id;
		if (d->out[i].phantom)
			return "while a proposal is to be revoked";
	}
	rd_init(&r, v->proposals.p, v->proposals.len);
	for (; dave_commit_next(&r, &ref); n++) {
		if ((o = out_find(d, ref)) == NULL)
			return "unknown proposal";
		if (seen[o - d->out])
			return "proposal twice";
		seen[o - d->out] = true;
		removes |= !o->add;
		if (!o->add && o->leaf == leaf_of(d, by))
			return "committer removes itself";
		if (o->add && dave_welcome_for(NULL, NULL, c->welcome, o->package_ref) != TD_OK)
			return "nobody welcomed";
	}
	if (n == 0 || n != expected)
		return "not all proposals";
	return removes && !v->has_path ? "remove without path" : NULL;
}

static const char *commit_refusal(struct dave_call *d, const struct dave_member *by,
	const struct dave_commit *c)
{
	const struct mls_framed_content *f = &c->m.content;

	if (dave_id_read(f->group_id) != d->call->guild->channel_id)
		return "other group";
	if (f->epoch != d->epoch)
		return "other epoch";
	if (f->sender_type != MLS_SENDER_MEMBER || f->sender != leaf_of(d, by))
		return "not the sender's leaf";
	if (!concerned(d, by))
		return "not a member";
	return references_refusal(d, by, c);
}

static struct dave_leaf *leaf_at(struct dave_call *d, uint32_t i)
{
	struct dave_leaf *bigger;

	if (i >= d->n_leaves) {
		if ((bigger = realloc(d->leaves, (i + 1) * sizeof(*bigger))) == NULL)
			return NULL;
		memset(bigger + d->n_leaves, 0, (i + 1 - d->n_leaves) * sizeof(*bigger));
		d->leaves = bigger;
		d->n_leaves = i + 1;
	}
	return &d->leaves[i];
}

static void seat(struct dave_call *d, uint32_t i, struct dave_member *m)
{
	struct dave_leaf *l = leaf_at(d, i);

	if (l == NULL)
		return;
	*l = (struct dave_leaf){ true, m->user_id, m };
	m->leaf = i;
	m->in_group = m->told = true;
	m->broken = false;
	/* Who missed nothing still has the older keys. */
	if (m->from_serial == UINT64_MAX || m->to_serial < d->serial)
		m->from_serial = d->serial;
	m->to_serial = UINT64_MAX;
	free(m->package);
	m->package = NULL;
}

static struct dave_member *member_by_package(struct dave_call *d, const uint8_t *ref)
{
	struct dave_member *m;

	for (m = d->members; m != NULL; m = m->next)
		if (m->package != NULL && memcmp(m->package_ref, ref, MLS_HASH_LEN) == 0)
			return m;
	return NULL;
}

/* Section 12.3 of RFC 9420: removes first, then each add takes the leftmost free leaf. */
static void commit_apply(struct dave_call *d, const struct dave_commit *c,
	struct dave_member **added, size_t *n)
{
	const struct mls_span *list = &c->m.content.commit.proposals;
	struct dave_member *m;
	struct mls_span ref;
	struct dave_out *o;
	struct rd r;
	uint32_t i;

	rd_init(&r, list->p, list->len);
	while (dave_commit_next(&r, &ref)) {
		if ((o = out_find(d, ref))->add)
			continue;
		if ((m = d->leaves[o->leaf].member) != NULL)
			m->in_group = false;
		d->leaves[o->leaf] = (struct dave_leaf){ 0 };
	}
	*n = 0;
	rd_init(&r, list->p, list->len);
	while (dave_commit_next(&r, &ref)) {
		o = out_find(d, ref);
		if (!o->add || (m = member_by_package(d, o->package_ref)) == NULL)
			continue;
		for (i = 0; i < d->n_leaves && d->leaves[i].used; i++)
			continue;
		seat(d, i, m);
		added[(*n)++] = m;
	}
}

static bool is_one_of(struct dave_member **list, size_t n, const struct dave_member *m)
{
	size_t i;

	for (i = 0; i < n && list[i] != m; i++)
		continue;
	return i < n;
}

/* Tells m about the commit, damaged where the script wants it. */
static void announce(struct dave_member *m, bool added, const struct dave_commit *c, uint16_t id)
{
	struct dave_msg msg = { .id = id, .serial = m->dave->serial };
	bool *flip = added ? &m->flip_welcome : &m->flip_commit;
	uint8_t *bytes = NULL;
	size_t len = 0;

	if (added) {
		msg.op = DAVE_WELCOME;
		if (dave_welcome_for(&bytes, &len, c->welcome, m->package_ref) != TD_OK)
			return;
	} else {
		msg.op = DAVE_ANNOUNCE_COMMIT;
		if ((bytes = malloc(c->message.len)) == NULL)
			return;
		memcpy(bytes, c->message.p, len = c->message.len);
	}
	if (*flip)
		bytes[len - 1] ^= 1;
	*flip = false;
	if (m->late_ns > 0)
		m->hold_until_ns = m->dave->call->server->now_ns + m->late_ns;
	m->late_ns = 0;
	msg.data = bytes;
	msg.len = len;
	dave_tell(m, &msg);
	free(bytes);
}

static void commit_accept(struct dave_call *d, struct dave_member *by, const struct dave_commit *c)
{
	struct dave_member *added[DAVE_MAX_OUT], *m;
	uint16_t id = d->first ? 0 : id_next(d);
	size_t n;

	d->serial++;
	if (!d->grouped) {
		seat(d, 0, by);
		d->grouped = true;
	}
	commit_apply(d, c, added, &n);
	outs_clear(d);
	d->epoch++;
	d->first = false;
	dave_log(d, by,
		json_pack("{s:s, s:I, s:I, s:i, s:i, s:b}", "event", "dave_commit", "epoch",
			(json_int_t)d->epoch, "serial", (json_int_t)d->serial, "transition_id",
			(int)id, "added", (int)n, "path", c->m.content.commit.has_path));
	if (id != 0)
		transition_begin(d, id, d->version, true);
	for (m = d->members; m != NULL; m = m->next)
		if (m->in_group && (!m->broken || is_one_of(added, n, m)))
			announce(m, is_one_of(added, n, m), c, id);
	dave_group_changed(d);
}

void dave_group_commit(struct dave_member *m, const uint8_t *data, size_t len)
{
	struct dave_call *d = m->dave;
	struct dave_commit c;
	const char *why = "not a commit";

	if (dave_commit_read(&c, mls_span(data, len)) == TD_OK)
		why = commit_refusal(d, m, &c);
	if (why != NULL)
		dave_log(d, m, json_pack("{s:s, s:s}", "event", "dave_refused", "why", why));
	else
		commit_accept(d, m, &c);
}
