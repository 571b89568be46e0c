/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "common/err.h"
#include "common/ids.h"
#include "common/mls/mls_group_state.h"
#include "receiver/dave_code.h"
#include "tests/vectors/dave_run.h"

/* A transcript: what the gateway said goes in, what we said and what came of it is compared. */

struct replay {
	struct live live;
	struct run *v;
	struct run_senders *senders; /* of the epoch; NULL before its first frame */
	int last;                    /* what the last gateway message was answered with */
	unsigned last_op;            /* and its opcode */
	bool refused;                /* the recording refused it, too */
};

static json_t *d_of(struct run *v, const json_t *s)
{
	json_t *root = json_loads(run_text(v, s, "text"), 0, NULL);
	json_t *d = json_incref(json_object_get(root, "d"));

	json_decref(root);
	return d;
}

static void name_users(struct replay *p, const json_t *d)
{
	json_t *one;
	uint64_t id;
	size_t i;

	json_array_foreach(json_object_get(d, "user_ids"), i, one)
	{
		WANT(p->v, td_id_parse(&id, json_string_value(one)) == TD_OK);
		dave_session_user(p->live.d, id, true);
		live_take(&p->live);
	}
}

static void recv_text(struct replay *p, unsigned op, const json_t *s)
{
	json_t *d = d_of(p->v, s);
	char *text;

	switch (op) {
	case 4:
		dave_session_version(p->live.d,
			(unsigned)json_integer_value(json_object_get(d, "dave_protocol_version")),
			p->live.now_ns);
		live_take(&p->live);
		break;
	case 11:
		name_users(p, d);
		break;
	case 13:
		dave_session_user(p->live.d, run_id(p->v, d, "user_id"), false);
		live_take(&p->live);
		break;
	case 21:
	case 22:
	case 24:
		if ((text = json_dumps(d, JSON_COMPACT)) != NULL)
			p->last = live_message(&p->live, op, mls_span(text, strlen(text)));
		free(text);
		break;
	}
	json_decref(d);
}

/* Nothing may be left of what we said to the message before. Our commit may be: to one that the
 * recording refused as a whole and of which we took a part. */
static void nothing_more(struct replay *p)
{
	if (p->refused)
		live_said(&p->live, 28, -1);
	if (p->live.n_sent > 0 && !p->v->broken)
		printf("unexpected: opcode %u\n", p->live.sent[0].opcode);
	run_want(p->v, p->live.n_sent == 0, "nothing said that was not recorded", __FILE__,
		__LINE__);
}

static void step_recv(struct replay *p, const json_t *s)
{
	unsigned op = (unsigned)run_number(p->v, s, "op");

	nothing_more(p);
	p->refused = false;
	p->live.warnings = 0;
	p->last = TD_OK;
	p->last_op = op;
	if (strcmp(run_text(p->v, s, "frame"), "binary") == 0)
		p->last = live_message(&p->live, op, run_hex(p->v, s, "payload"));
	else
		recv_text(p, op, s);
}

static void step_send(struct replay *p, const json_t *s)
{
	unsigned op = (unsigned)run_number(p->v, s, "op");
	long id = -1;
	json_t *d;

	if (op == 23 || op == 31) {
		d = d_of(p->v, s);
		id = (long)run_number(p->v, d, "transition_id");
		json_decref(d);
	} else if (op != 26 && op != 28) {
		return; /* not about DAVE */
	}
	if (op == 28 && p->refused && p->live.n_sent == 0)
		return; /* a commit of the rest of a bad message: not owed */
	run_want(p->v, live_said(&p->live, op, id),
		op == 23           ? "opcode 23 with this id"
			: op == 31 ? "opcode 31 with this id"
			: op == 26 ? "a key package"
				   : "a commit",
		__FILE__, __LINE__);
}

static void step_secret(struct replay *p, const json_t *s)
{
	const char *what = run_text(p->v, s, "what");

	if (strcmp(what, "key_package") == 0)
		live_use_package(&p->live, s, run_hex(p->v, s, "key_package"));
	else if (strcmp(what, "local_group") == 0)
		live_use_local_group(&p->live, s);
	else if (strcmp(what, "commit") != 0)
		run_skip(p->v, "a secret of an unknown kind");
	else
		live_use_commit(&p->live, s, p->refused);
}

static void compare_secrets(struct replay *p, const struct mls_group *g, const json_t *secrets)
{
	const struct mls_epoch *e = &g->keys->epoch;
	const struct {
		const char *name;
		const uint8_t *value;
	} rows[] = {
		{ "init", e->init },
		{ "exporter", e->exporter },
		{ "confirm", e->confirmation_key },
		{ "membership", e->membership_key },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (json_object_get(secrets, rows[i].name) != NULL)
			run_want(p->v,
				run_same(rows[i].value, MLS_HASH_LEN,
					run_hex(p->v, secrets, rows[i].name)),
				rows[i].name, __FILE__, __LINE__);
}

static void compare_roster(struct replay *p, const struct mls_group *g, const json_t *roster)
{
	json_t *one;
	size_t i;

	WANT(p->v, json_array_size(roster) == mls_group_n_members(g));
	json_array_foreach(roster, i, one)
	{
		const struct mls_leaf_node *leaf =
			mls_group_member(g, (uint32_t)run_number(p->v, one, "leaf"));

		WANT(p->v, leaf != NULL && dave_user_of(leaf) == run_id(p->v, one, "user_id"));
		WANT(p->v,
			mls_span_equal(leaf->signature_key,
				run_hex(p->v, one, "signature_public")));
	}
}

static const struct dave_sender *find_sender(const struct live *l, uint64_t user_id)
{
	size_t i;

	for (i = 0; i < l->n_senders; i++)
		if (l->senders[i].user_id == user_id)
			return &l->senders[i];
	return NULL;
}

static void compare_senders(struct replay *p, const json_t *senders)
{
	size_t i, ours = 0;
	json_t *one;

	json_array_foreach(senders, i, one)
	{
		uint64_t user_id = run_id(p->v, one, "user_id");
		const struct dave_sender *s = find_sender(&p->live, user_id);
		uint8_t key[16];

		if (user_id == p->live.d->conf.user_id) {
			WANT(p->v, s == NULL); /* nobody hears themselves */
			ours++;
			continue;
		}
		WANT(p->v, s != NULL);
		WANT(p->v, run_same(s->secret, DAVE_SECRET_LEN, run_hex(p->v, one, "base_secret")));
		mls_derive_tree_secret(key, sizeof(key), mls_span(s->secret, DAVE_SECRET_LEN),
			"key", 0);
		WANT(p->v, run_same(key, sizeof(key), run_hex(p->v, one, "key_generation_0")));
	}
	WANT(p->v, p->live.n_senders + ours == json_array_size(senders));
}

static void compare_tree(struct replay *p, const struct mls_group *g, const json_t *s)
{
	size_t cap = mls_tree_bound(&g->tree);
	uint8_t *bytes = malloc(cap);
	struct wr w;

	if (bytes == NULL)
		abort();
	wr_init(&w, bytes, cap);
	mls_tree_write(&w, &g->tree);
	run_want(p->v,
		!w.bad && mls_span_equal(mls_span(w.buf, w.len), run_hex(p->v, s, "ratchet_tree")),
		"ratchet_tree", __FILE__, __LINE__);
	free(bytes);
}

static void step_state(struct replay *p, const json_t *s)
{
	const struct mls_group *g = live_group(&p->live);
	struct run *v = p->v;

	run_senders_free(p->senders);
	p->senders = NULL;
	WANT(v, p->last == TD_OK);
	WANT(v, dave_group_is_established(&p->live.d->group));
	WANT(v, mls_group_epoch(g) == run_number(v, s, "epoch"));
	WANT(v, p->live.epoch == mls_group_epoch(g));
	WANT(v, mls_group_own_leaf(g) == run_number(v, s, "own_leaf"));
	WANT(v,
		run_same(mls_group_authenticator(g), MLS_HASH_LEN,
			run_hex(v, s, "epoch_authenticator")));
	WANT(v, strcmp(p->live.code, run_text(v, s, "privacy_code")) == 0);
	WANT(v, mls_span_equal(g->context.raw, run_hex(v, s, "group_context")));
	WANT(v, mls_span_equal(g->context.tree_hash, run_hex(v, s, "tree_hash")));
	WANT(v,
		mls_span_equal(g->context.confirmed_hash,
			run_hex(v, s, "confirmed_transcript_hash")));
	WANT(v, run_same(g->interim_hash, MLS_HASH_LEN, run_hex(v, s, "interim_transcript_hash")));
	if (json_object_get(s, "ratchet_tree") != NULL)
		compare_tree(p, g, s);
	compare_secrets(p, g, json_object_get(s, "secrets"));
	compare_roster(p, g, run_array(v, s, "roster"));
	compare_senders(p, run_array(v, s, "senders"));
}

static void step_executed(struct replay *p, const json_t *s)
{
	const struct dave_session *d = p->live.d;

	WANT(p->v, d->executed && d->last_id == run_number(p->v, s, "transition_id"));
	WANT(p->v, d->version == run_number(p->v, s, "protocol_version"));
	WANT(p->v, d->version > 0 || p->live.pass_until_ns == UINT64_MAX);
}

static void step_frame(struct replay *p, const json_t *s)
{
	run_call_frame(&p->live, &p->senders, s);
}

static void step_refused(struct replay *p, const json_t *s)
{
	(void)s;
	p->refused = true;
	WANT(p->v, p->last < 0 || p->live.warnings > 0);
}

static void step(struct replay *p, const json_t *s)
{
	static const struct {
		const char *kind;
		void (*run)(struct replay *p, const json_t *s);
	} rows[] = {
		{ "recv", step_recv },
		{ "send", step_send },
		{ "secret", step_secret },
		{ "state", step_state },
		{ "executed", step_executed },
		{ "frame", step_frame },
		{ "refused", step_refused },
		{ "note", NULL },
		{ "closed", NULL },
	};
	const char *kind = run_text(p->v, s, "kind");
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(kind, rows[i].kind) != 0)
			continue;
		if (rows[i].run != NULL)
			rows[i].run(p, s);
		return;
	}
	run_skip(p->v, "a step of an unknown kind");
}

static void run_view(struct run *v, const json_t *root, const json_t *view)
{
	struct replay p = { .v = v };
	json_t *s;
	size_t i;

	if (!run_want(v,
		    live_open(&p.live, v, run_id(v, root, "channel_id"),
			    run_id(v, view, "user_id")),
		    "a session", __FILE__, __LINE__))
		return;
	json_array_foreach(run_array(v, view, "steps"), i, s)
	{
		v->step = (long)run_number(v, s, "n");
		step(&p, s);
		if (v->broken)
			break;
	}
	if (!v->broken)
		nothing_more(&p);
	run_senders_free(p.senders);
	live_close(&p.live);
}

void run_transcript(struct run *v, const json_t *root)
{
	json_t *view;
	size_t i;

	json_array_foreach(json_object_get(root, "views"), i, view)
	{
		run_begin(v, "view of %s", run_text(v, view, "user_id"));
		run_view(v, root, view);
		run_end(v);
	}
}
