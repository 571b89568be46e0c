/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "tests/voiceserver/call.h"
#include "tests/voiceserver/dave.h"
#include "tests/voiceserver/dave_group.h"
#include "tests/voiceserver/gateway.h"

/* Scripted speakers answer so late, so that now and then each member's commit is the first. */
enum { ANSWER_MS = 8, START_WAIT_MS = 3000 };

/* A message on its way: from a scripted speaker, or held back on the way to a member. */
struct dave_post {
	struct dave_post *next;
	uint64_t due_ns;
	struct dave_member *member;
	bool answer;
	struct dave_msg m;
	uint8_t data[];
};

int dave_new(struct dave_call **ret, struct call *c)
{
	struct dave_call *d = calloc(1, sizeof(*d));
	int r = TD_ERR_NOMEM;

	if (d == NULL)
		goto out;
	d->call = c;
	d->rng = rng_stream(c->server->sc->seed, c->guild->guild_id, 0, RNG_DAVE);
	d->version = d->forced_version = c->guild->dave;
	d->first = true;
	d->next_id = 1;
	d->plan_ns = d->phantom_ns = UINT64_MAX;
	if ((r = dave_external_make(&d->external, &d->rng)) != TD_OK)
		goto out;
	*ret = d;
	d = NULL;
out:
	dave_free(d);
	return r;
}

void dave_log(struct dave_call *d, const struct dave_member *m, json_t *event)
{
	char id[TD_ID_TEXT];

	json_object_set_new(event, "guild_id",
		json_string(td_id_format(id, d->call->guild->guild_id)));
	if (m != NULL)
		json_object_set_new(event, "user_id", json_string(td_id_format(id, m->user_id)));
	server_event(d->call->server, event);
}

void dave_say_presence(struct dave_call *d, uint64_t user_id, bool present)
{
	char id[TD_ID_TEXT];
	struct session *s;

	td_id_format(id, user_id);
	for (s = d->call->sessions; s != NULL; s = s->next)
		if (present)
			session_say_numbered(s, GW_CLIENTS_CONNECT,
				json_pack("{s:[s]}", "user_ids", id));
		else
			session_say_numbered(s, GW_CLIENT_DISCONNECT,
				json_pack("{s:s}", "user_id", id));
}

/* ---- posts ---- */

static void post(struct dave_member *m, bool answer, uint64_t due_ns, const struct dave_msg *msg)
{
	struct dave_post **at = &m->dave->posts, *p = malloc(sizeof(*p) + msg->len);

	if (p == NULL)
		return;
	p->due_ns = due_ns;
	p->member = m;
	p->answer = answer;
	p->m = *msg;
	if (msg->len > 0)
		memcpy(p->data, msg->data, msg->len);
	p->m.data = p->data;
	while (*at != NULL && (*at)->due_ns <= due_ns)
		at = &(*at)->next;
	p->next = *at;
	*at = p;
}

static void posts_drop(struct dave_call *d, const struct dave_member *m)
{
	struct dave_post **at = &d->posts, *p;

	while ((p = *at) != NULL) {
		if (p->member == m) {
			*at = p->next;
			free(p);
		} else {
			at = &p->next;
		}
	}
}

/* ---- to members ---- */

static void session_tell(struct session *s, const struct dave_msg *m)
{
	switch (m->op) {
	case DAVE_PREPARE_TRANSITION:
		session_say_numbered(s, m->op,
			json_pack("{s:i, s:i}", "transition_id", (int)m->id, "protocol_version",
				(int)m->version));
		break;
	case DAVE_EXECUTE_TRANSITION:
		session_say_numbered(s, m->op, json_pack("{s:i}", "transition_id", (int)m->id));
		break;
	case DAVE_PREPARE_EPOCH:
		session_say_numbered(s, m->op,
			json_pack("{s:i, s:i}", "epoch", (int)m->epoch, "protocol_version",
				(int)m->version));
		break;
	case DAVE_ANNOUNCE_COMMIT:
	case DAVE_WELCOME:
		session_say_binary(s, m->op, &m->id, m->data, m->len);
		break;
	default:
		session_say_binary(s, m->op, NULL, m->data, m->len);
	}
}

static void deliver(struct dave_member *m, const struct dave_msg *msg)
{
	if (m->speaker != NULL)
		dave_speaker_hear(m->speaker, msg);
	else
		session_tell(m->session, msg);
}

void dave_tell(struct dave_member *m, const struct dave_msg *msg)
{
	/* One held back holds back what follows: they share a TCP connection. */
	if (m->hold_until_ns > m->dave->call->server->now_ns)
		post(m, false, m->hold_until_ns, msg);
	else
		deliver(m, msg);
}

void dave_tell_all(struct dave_call *d, const struct dave_msg *msg)
{
	struct dave_member *m;

	for (m = d->members; m != NULL; m = m->next)
		dave_tell(m, msg);
}

/* ---- from members ---- */

static void member_says(struct dave_member *m, const struct dave_msg *msg)
{
	switch (msg->op) {
	case DAVE_READY_FOR_TRANSITION:
		dave_group_ready(m, msg->id);
		break;
	case DAVE_INVALID:
		dave_group_invalid(m, msg->id);
		break;
	case DAVE_KEY_PACKAGE:
		dave_group_package(m, msg->data, msg->len);
		break;
	default:
		dave_group_commit(m, msg->data, msg->len);
	}
}

static void speaker_says(void *user, const struct dave_msg *msg)
{
	struct dave_member *m = user;
	uint64_t late = rng_below(&m->rng, ANSWER_MS) + 1;

	/* Messages of one member stay in order. */
	if (m->answered_ns < m->dave->call->server->now_ns)
		m->answered_ns = m->dave->call->server->now_ns;
	m->answered_ns += late * TD_MS_NS;
	post(m, true, m->answered_ns, msg);
}

static bool speaker_recognizes(void *user, uint64_t user_id)
{
	const struct dave_call *d = ((struct dave_member *)user)->dave;
	const struct dave_member *m;

	for (m = d->members; m != NULL && m->user_id != user_id; m = m->next)
		continue;
	return m != NULL || (d->phantom_announced && d->phantom_id == user_id);
}

static struct dave_member *recorder(const struct dave_call *d)
{
	struct dave_member *m;

	for (m = d->members; m != NULL && (m->session == NULL || !m->session->recorder);
		m = m->next)
		continue;
	return m;
}

static bool has_keys(const struct dave_member *m, uint64_t serial)
{
	return m != NULL && m->from_serial <= serial && serial < m->to_serial;
}

static json_t *secrets_json(const struct mls_group *g, uint64_t but)
{
	json_t *list = json_array();
	uint8_t secret[DAVE_BASE_LEN];
	char hex[2 * DAVE_BASE_LEN + 1], id[TD_ID_TEXT];
	const struct mls_leaf_node *leaf;
	uint64_t user;
	uint32_t i;
	size_t k;

	for (i = 0; i < mls_group_n_leaves(g); i++) {
		if ((leaf = mls_group_member(g, i)) == NULL ||
			(user = dave_id_read(leaf->identity)) == but)
			continue;
		dave_base_secret(secret, g, user);
		for (k = 0; k < sizeof(secret); k++)
			snprintf(hex + 2 * k, 3, "%02x", secret[k]);
		json_array_append_new(list,
			json_pack("{s:s, s:s}", "user_id", td_id_format(id, user), "secret", hex));
	}
	return list;
}

/* Whoever comes first into an epoch knows everybody's secret: the capture gets them from there. */
static void speaker_epoch(void *user, const struct mls_group *g, uint64_t serial)
{
	struct dave_call *d = ((struct dave_member *)user)->dave;
	const struct server *sv = d->call->server;
	const struct dave_member *to = recorder(d);

	if (d->call->capture == NULL || d->captured == serial || !has_keys(to, serial))
		return;
	d->captured = serial;
	capture_dave(d->call->capture, sv->now_ns + (uint64_t)sv->utc_ns, 1, mls_group_epoch(g),
		secrets_json(g, to->user_id));
}

/* ---- coming and going ---- */

static struct dave_member *member_new(struct dave_call *d, uint64_t user_id, struct session *s,
	const struct member *scripted)
{
	struct dave_member *m = calloc(1, sizeof(*m)), **at = &d->members;

	if (m == NULL)
		return NULL;
	m->dave = d;
	m->user_id = user_id;
	m->session = s;
	m->scripted = scripted;
	m->from_serial = m->to_serial = UINT64_MAX;
	m->rng = rng_stream(d->call->server->sc->seed ^ d->call->guild->guild_id, user_id,
		s != NULL ? s->number : scripted->stay, RNG_DAVE);
	while (*at != NULL)
		at = &(*at)->next;
	*at = m;
	return m;
}

static void member_free(struct dave_member *m)
{
	dave_speaker_free(m->speaker);
	free(m->package);
	free(m);
}

static void member_goes(struct dave_member *m)
{
	struct dave_call *d = m->dave;
	struct dave_member **at = &d->members;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	posts_drop(d, m);
	dave_group_forget(d, m);
	member_free(m);
}

void dave_free(struct dave_call *d)
{
	struct dave_member *m;
	struct dave_post *p;

	if (d == NULL)
		return;
	while ((p = d->posts) != NULL) {
		d->posts = p->next;
		free(p);
	}
	while ((m = d->members) != NULL) {
		d->members = m->next;
		member_free(m);
	}
	while (d->n_out > 0)
		free(d->out[--d->n_out].p.message);
	free(d->transition.waiting);
	free(d->leaves);
	free(d);
}

/* Gives m a voice of its own. */
static void speaker_begin(struct dave_member *m, bool early)
{
	struct dave_call *d = m->dave;
	struct dave_speaker_io io = { m, speaker_says, speaker_recognizes, speaker_epoch };
	struct dave_msg sender = { .op = DAVE_EXTERNAL_SENDER,
		.data = d->external.sender,
		.len = d->external.len };

	if (dave_speaker_new(&m->speaker, d->call->guild->channel_id, m->user_id, m->rng, early,
		    &io) != TD_OK)
		return;
	dave_speaker_hear(m->speaker, &sender);
	dave_speaker_version(m->speaker, d->version);
}

void dave_joins(struct call *c, struct member *m)
{
	const struct scenario_speaker *sp = &c->guild->speakers[m->speaker];
	struct dave_member *x;

	if (!c->guild->dave || !c->dave->speakers_in)
		return;
	if ((x = member_new(c->dave, sp->user_id, NULL, m)) != NULL)
		speaker_begin(x, sp->early_keys);
}

static struct dave_member *member_of(const struct call *c, const struct member *scripted)
{
	struct dave_member *m;

	for (m = c->dave->members; m != NULL && m->scripted != scripted; m = m->next)
		continue;
	return m;
}

void dave_leaves(struct call *c, struct member *m)
{
	struct dave_member *x = member_of(c, m);

	if (x != NULL)
		member_goes(x);
}

static void speakers_begin(struct call *c)
{
	size_t i;

	if (c->dave->speakers_in)
		return;
	c->dave->speakers_in = true;
	for (i = 0; i < c->n_members; i++)
		if (c->members[i].present)
			dave_joins(c, &c->members[i]);
}

/* ---- real clients ---- */

int dave_version(const struct session *s)
{
	return s->max_dave > 0 ? (int)s->call->dave->version : 0;
}

bool dave_admits(bool require_dave, int64_t max_version)
{
	return !require_dave || max_version >= 1;
}

static void sender_say(struct session *s)
{
	const struct dave_external *e = &s->call->dave->external;

	if (s->max_dave > 0 && s->call->guild->dave)
		session_say_binary(s, DAVE_EXTERNAL_SENDER, NULL, e->sender, e->len);
}

/* Op 25 comes before op 4 or after it, and a recorder has to bear both. Other clients get it after:
 * some there are that forget one that comes early. */
static bool sender_early(const struct session *s)
{
	return s->recorder && s->call->guild->sender_early && s->number % 2 == 0;
}

void dave_identified(struct session *s)
{
	if (sender_early(s))
		sender_say(s);
}

void dave_described(struct session *s)
{
	struct call *c = s->call;
	struct dave_member *m;

	if (!c->guild->dave)
		return;
	dave_group_changed(c->dave);
	if (s->max_dave == 0)
		return;
	if (!sender_early(s))
		sender_say(s);
	if ((m = member_new(c->dave, s->user_id, s, NULL)) == NULL)
		return;
	if (c->server->offline)
		speaker_begin(m, false);
	if (s->recorder && c->n_members > 0 && c->start_ns == 0)
		c->dave->start_by_ns = c->server->now_ns + START_WAIT_MS * TD_MS_NS;
}

static struct dave_member *member_by_session(const struct session *s)
{
	struct dave_member *m;

	for (m = s->call->dave->members; m != NULL && m->session != s; m = m->next)
		continue;
	return m;
}

void dave_gone(struct session *s)
{
	struct dave_member *m = member_by_session(s);

	if (m != NULL)
		member_goes(m);
	if (s->call->guild->dave)
		dave_group_changed(s->call->dave);
}

void dave_text(struct session *s, int op, json_t *d)
{
	struct dave_member *m = member_by_session(s);
	json_t *id = json_object_get(d, "transition_id");
	struct dave_msg msg = { .op = (enum dave_op)op, .id = (uint16_t)json_integer_value(id) };

	if (m != NULL && json_is_integer(id))
		member_says(m, &msg);
}

int dave_binary(struct session *s, const uint8_t *data, size_t len)
{
	struct dave_member *m = member_by_session(s);
	struct dave_msg msg = { .data = data + 1, .len = len - 1 };

	if (len < 1 || (data[0] != DAVE_KEY_PACKAGE && data[0] != DAVE_COMMIT_WELCOME))
		return TD_ERR_UNSUPPORTED;
	msg.op = (enum dave_op)data[0];
	if (m != NULL)
		member_says(m, &msg);
	/* Without this the speakers would be a group of their own before the recorder is there. */
	if (m != NULL && s->recorder)
		speakers_begin(s->call);
	return TD_OK;
}

/* ---- time ---- */

bool dave_holds_start(const struct call *c)
{
	const struct dave_member *m = recorder(c->dave);

	return c->dave->start_by_ns > c->server->now_ns && m != NULL && c->dave->version > 0 &&
		!m->in_group;
}

uint64_t dave_next_ns(const struct call *c)
{
	const struct dave_call *d = c->dave;
	uint64_t next = dave_group_next_ns(d);

	if (d->posts != NULL && d->posts->due_ns < next)
		next = d->posts->due_ns;
	if (d->start_by_ns != 0 && c->start_ns == 0 && d->start_by_ns < next)
		next = d->start_by_ns;
	return next;
}

void dave_run(struct call *c)
{
	struct dave_call *d = c->dave;
	struct dave_post *p;

	if (c->server->offline && !d->speakers_in)
		speakers_begin(c);
	while ((p = d->posts) != NULL && p->due_ns <= c->server->now_ns) {
		d->posts = p->next;
		if (p->answer)
			member_says(p->member, &p->m);
		else
			deliver(p->member, &p->m);
		free(p);
	}
	dave_group_run(d);
}

/* ---- frames ---- */

/* Damages, repeats: what the recorder must not take for a frame. True when it was done. */
static bool frame_spoil(struct dave_member *m, uint8_t *frame, size_t *len)
{
	bool spoilt = m->corrupt || (m->replay && m->last_len > 0);

	if (m->corrupt) {
		frame[0] ^= 1;
	} else if (spoilt) {
		memcpy(frame, m->last, m->last_len);
		*len = m->last_len;
	}
	if (m->corrupt)
		m->corrupt = false;
	else if (spoilt)
		m->replay = false;
	return spoilt;
}

enum dave_fate dave_frame(struct call *c, struct member *from, struct media *m,
	uint8_t buf[static PACKET_MAX])
{
	struct dave_member *x = c->guild->dave ? member_of(c, from) : NULL;
	uint64_t serial = 0;
	size_t len;

	if (!c->guild->dave || m->len == 0)
		return DAVE_READABLE;
	if (x == NULL || x->speaker == NULL)
		return DAVE_UNSENT;
	switch (dave_speaker_seal(x->speaker, buf, &len, m->payload, m->len, &serial)) {
	case DAVE_PLAIN:
		return DAVE_READABLE;
	case DAVE_MUTE:
		return DAVE_UNSENT;
	case DAVE_SEALED:
		break;
	}
	if (c->server->now_ns < x->plain_until_ns)
		return m->kind == MEDIA_SILENCE ? DAVE_READABLE : DAVE_UNREADABLE;
	if (m->kind == MEDIA_VOICE && frame_spoil(x, buf, &len)) {
		m->payload = buf;
		m->len = len;
		return DAVE_UNREADABLE;
	}
	memcpy(x->last, buf, len);
	x->last_len = len;
	m->payload = buf;
	m->len = len;
	return has_keys(recorder(c->dave), serial) ? DAVE_READABLE : DAVE_UNREADABLE;
}

bool dave_recorder_reads(const struct call *c)
{
	const struct dave_member *m = recorder(c->dave);

	return c->dave->version == 0 || !c->dave->grouped ||
		(m != NULL && m->in_group && !m->broken);
}

/* ---- the script ---- */

/* The scripted speaker an event is about: the one it names, or the first. */
static struct dave_member *subject(const struct call *c, const struct scenario_event *e)
{
	struct dave_member *m;

	for (m = c->dave->members; m != NULL; m = m->next)
		if (m->scripted != NULL && (e->user_id == 0 || e->user_id == m->user_id))
			return m;
	return NULL;
}

/* What befalls a speaker. */
static void speaker_event(struct dave_member *m, const struct scenario_event *e)
{
	if (m == NULL || m->speaker == NULL)
		return;
	if (e->kind == EVENT_DAVE_CORRUPT)
		m->corrupt = true;
	else if (e->kind == EVENT_DAVE_REPLAY)
		m->replay = true;
	else if (e->kind == EVENT_DAVE_PLAIN)
		m->plain_until_ns = m->dave->call->server->now_ns + e->length_ns;
	else
		dave_speaker_recover(m->speaker);
}

/* What befalls the recorder's next commit or welcome. */
static void recorder_event(struct dave_member *m, const struct scenario_event *e)
{
	if (m == NULL)
		return;
	if (e->kind == EVENT_DAVE_BAD_COMMIT)
		m->flip_commit = true;
	else if (e->kind == EVENT_DAVE_BAD_WELCOME)
		m->flip_welcome = true;
	else
		m->late_ns = e->length_ns;
}

/* With late_ns: the recorder hears of it so late, and nobody waits for it. */
static void recreate(struct dave_call *d, uint64_t late_ns)
{
	struct dave_member *m = recorder(d);

	if (late_ns > 0 && m != NULL)
		m->hold_until_ns = d->call->server->now_ns + late_ns;
	dave_group_recreate(d);
	if (late_ns > 0)
		d->gather_until_ns = 0;
}

void dave_event(struct call *c, const struct scenario_event *e)
{
	struct dave_call *d = c->dave;

	switch (e->kind) {
	case EVENT_DAVE_DOWNGRADE:
	case EVENT_DAVE_UPGRADE:
		d->forced_version = e->kind == EVENT_DAVE_UPGRADE;
		dave_group_changed(d);
		break;
	case EVENT_DAVE_RECREATE:
		if (d->version > 0)
			recreate(d, e->length_ns);
		break;
	case EVENT_DAVE_REVOKE:
	case EVENT_DAVE_UNEXPECTED:
		dave_group_phantom(d, e->kind == EVENT_DAVE_REVOKE, e->length_ns);
		break;
	case EVENT_DAVE_BAD_COMMIT:
	case EVENT_DAVE_BAD_WELCOME:
	case EVENT_DAVE_LATE:
		recorder_event(recorder(d), e);
		break;
	default:
		speaker_event(subject(c, e), e);
	}
}
