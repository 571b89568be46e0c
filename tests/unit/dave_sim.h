/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_DAVE_SIM_H
#define TD_TESTS_DAVE_SIM_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/mls/mls_hpke.h"
#include "receiver/dave_state.h"

/*
 * A call in one process: sessions of ours, and a gateway that names them to each other, proposes
 * who comes and goes, takes one of their commits and runs the transitions. It looks into the
 * sessions for what a real one keeps count of itself: who sits at which leaf, and the epoch.
 */
enum { SIM_MAX = 128, SIM_BYTES = 1 << 18 };

#define SIM_MUST(cond)                                                                     \
	do {                                                                               \
		if (!(cond)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                           \
		}                                                                          \
	} while (0)

struct sim_bytes {
	uint8_t *b;
	size_t len;
};

struct sim_client {
	uint64_t user_id;
	struct dave_identity *identity;
	struct dave_session *d;
	bool connected;
	int last; /* what the last message was answered with */
	/* What it said and was told, since the last sim_forget() (counts) or ever. */
	struct sim_bytes package, commit; /* the newest of each */
	unsigned n_packages, n_commits, n_ready, n_invalid, n_warnings, n_epochs;
	uint16_t ready_id, invalid_id;
	struct dave_sender senders[SIM_MAX];
	size_t n_senders;
	uint64_t epoch, pass_until_ns;
	uint64_t members[SIM_MAX];
	size_t n_members;
	char code[DAVE_CODE_LEN + 1];
	char warning[256];
};

struct sim {
	uint64_t channel_id, now_ns, seed, counter;
	uint8_t key[MLS_PRIV_LEN];
	uint8_t sender[128];
	size_t sender_len;
	struct sim_client c[SIM_MAX];
	size_t n;
	uint16_t next_id;
	bool twice; /* everything is delivered twice, as after a resume */
	struct sim_bytes scratch;
};

static void sim_draw(void *user, uint8_t *out, size_t n)
{
	struct sim *s = user;
	uint8_t seed[randombytes_SEEDBYTES] = { 0 };

	memcpy(seed, &s->seed, 8);
	memcpy(seed + 8, &s->counter, 8);
	s->counter++;
	randombytes_buf_deterministic(out, n, seed);
}

static int sim_draw_mls(void *user, uint8_t *out, size_t n)
{
	sim_draw(user, out, n);
	return TD_OK;
}

static inline void sim_set(struct sim_bytes *to, const void *from, size_t n)
{
	uint8_t *b = malloc(n + 1);

	SIM_MUST(b != NULL);
	if (n > 0)
		memcpy(b, from, n);
	b[n] = 0;
	free(to->b);
	to->b = b;
	to->len = n;
}

/* A new external sender. */
static inline void sim_new_sender(struct sim *s)
{
	struct mls_ctx cx = { .random = sim_draw_mls, .user = s };
	uint8_t pub[MLS_PUB_LEN];
	struct wr w;

	SIM_MUST(mls_hpke_generate(&cx, s->key, pub) == 0);
	wr_init(&w, s->sender, sizeof(s->sender));
	mls_wr_vec(&w, mls_span(pub, sizeof(pub)));
	wr_u16(&w, MLS_CREDENTIAL_BASIC);
	mls_wr_vec(&w, mls_span("\0", 1));
	s->sender_len = w.len;
}

static inline struct sim *sim_new(uint64_t seed)
{
	struct sim *s = calloc(1, sizeof(*s));

	SIM_MUST(s != NULL && sodium_init() >= 0);
	s->seed = seed;
	s->channel_id = 1402345678901234567;
	s->now_ns = TD_REPLAY_BASE_NS;
	s->next_id = 1;
	s->scratch.b = malloc(SIM_BYTES);
	SIM_MUST(s->scratch.b != NULL);
	sim_new_sender(s);
	return s;
}

static inline void sim_free(struct sim *s)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		dave_session_free(s->c[i].d);
		dave_identity_free(s->c[i].identity);
		free(s->c[i].package.b);
		free(s->c[i].commit.b);
	}
	free(s->scratch.b);
	free(s);
}

static inline uint16_t sim_id_in(const struct dave_action *a)
{
	char text[64];
	unsigned id = 0;

	SIM_MUST(a->len < sizeof(text));
	memcpy(text, a->data, a->len);
	text[a->len] = '\0';
	SIM_MUST(sscanf(text, "{\"transition_id\":%u}", &id) == 1);
	return (uint16_t)id;
}

static inline void sim_hear(struct sim_client *c, const struct dave_action *a)
{
	switch (a->opcode) {
	case 23:
		c->n_ready++;
		c->ready_id = sim_id_in(a);
		break;
	case 26:
		c->n_packages++;
		sim_set(&c->package, a->data, a->len);
		break;
	case 28:
		c->n_commits++;
		sim_set(&c->commit, a->data, a->len);
		break;
	case 31:
		c->n_invalid++;
		c->invalid_id = sim_id_in(a);
		break;
	default:
		SIM_MUST(!"an opcode of ours");
	}
}

/* Takes all actions. */
static inline void sim_take(struct sim_client *c)
{
	struct dave_action a;

	while (dave_next(c->d, &a) == 1) {
		switch (a.type) {
		case DAVE_SEND:
			sim_hear(c, &a);
			break;
		case DAVE_EPOCH:
			SIM_MUST(a.sender_count <= SIM_MAX);
			c->n_epochs++;
			c->n_senders = a.sender_count;
			if (a.sender_count > 0)
				memcpy(c->senders, a.senders, a.sender_count * sizeof(*a.senders));
			c->epoch = a.epoch;
			break;
		case DAVE_PASSTHROUGH:
			c->pass_until_ns = a.until_ns;
			break;
		case DAVE_CODE:
			SIM_MUST(strlen(a.text) == DAVE_CODE_LEN && a.member_count <= SIM_MAX);
			memcpy(c->code, a.text, sizeof(c->code));
			memcpy(c->members, a.members, a.member_count * sizeof(*a.members));
			c->n_members = a.member_count;
			break;
		case DAVE_WARNING:
			c->n_warnings++;
			snprintf(c->warning, sizeof(c->warning), "%s", a.text);
			break;
		}
	}
}

static inline void sim_forget(struct sim *s)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		struct sim_client *c = &s->c[i];

		c->n_packages = c->n_commits = c->n_ready = c->n_invalid = 0;
		c->n_warnings = c->n_epochs = 0;
	}
}

static inline int sim_say(struct sim *s, size_t i, uint8_t op, const void *data, size_t len)
{
	struct sim_client *c = &s->c[i];
	int times = s->twice ? 2 : 1;

	while (times-- > 0) {
		int r = dave_session_message(c->d, op, data, len, s->now_ns);

		if (times == 0 && s->twice)
			r = c->last; /* what counts is the first one */
		c->last = r;
		sim_take(c);
	}
	return c->last;
}

static inline int sim_say_text(struct sim *s, size_t i, uint8_t op, const char *text)
{
	return sim_say(s, i, op, text, strlen(text));
}

/* A session with a version of its own; knows nobody, is named to nobody. */
static inline size_t sim_client(struct sim *s)
{
	size_t i = s->n++;
	struct sim_client *c = &s->c[i];
	struct dave_conf conf = { .channel_id = s->channel_id, .random = sim_draw, .user = s };

	SIM_MUST(i < SIM_MAX);
	c->user_id = 1000 + 7 * i;
	c->pass_until_ns = UINT64_MAX;
	SIM_MUST(dave_identity_new(&c->identity, sim_draw, s) == TD_OK);
	conf.user_id = c->user_id;
	conf.identity = c->identity;
	SIM_MUST(dave_session_new(&c->d, &conf) == TD_OK);
	return i;
}

/* Names i and all who are there to each other (opcode 11). */
static inline void sim_name(struct sim *s, size_t i)
{
	size_t k;

	for (k = 0; k < s->n; k++) {
		if (k == i || !s->c[k].connected)
			continue;
		dave_session_user(s->c[k].d, s->c[i].user_id, true);
		sim_take(&s->c[k]);
		dave_session_user(s->c[i].d, s->c[k].user_id, true);
		sim_take(&s->c[i]);
	}
}

/* The beginning of a connection to an encrypted call. */
static inline void sim_connect(struct sim *s, size_t i)
{
	sim_name(s, i);
	s->c[i].connected = true;
	sim_say(s, i, 25, s->sender, s->sender_len);
	dave_session_version(s->c[i].d, 1, s->now_ns);
	sim_take(&s->c[i]);
	SIM_MUST(s->c[i].package.len > 0);
}

static inline struct dave_group *sim_group(struct sim *s, size_t i)
{
	return &s->c[i].d->group;
}

static inline bool sim_in(struct sim *s, size_t i)
{
	return s->c[i].connected && dave_group_is_established(sim_group(s, i));
}

/* Of the call's group: of all that call themselves established, the furthest on. */
static inline const struct mls_group *sim_call(struct sim *s)
{
	const struct mls_group *best = NULL;
	size_t i;

	for (i = 0; i < s->n; i++)
		if (sim_in(s, i) &&
			(best == NULL ||
				mls_group_epoch(sim_group(s, i)->group) > mls_group_epoch(best)))
			best = sim_group(s, i)->group;
	return best;
}

static inline uint64_t sim_epoch(struct sim *s)
{
	return sim_call(s) != NULL ? mls_group_epoch(sim_call(s)) : 0;
}

static inline uint32_t sim_leaf(struct sim *s, size_t i)
{
	uint8_t identity[8];
	uint32_t leaf;
	struct wr w;

	wr_init(&w, identity, sizeof(identity));
	wr_u64(&w, s->c[i].user_id);
	SIM_MUST(mls_group_find(sim_call(s), mls_span(identity, 8), &leaf));
	return leaf;
}

/* Opcode 27, append, in the making. */
struct sim_list {
	struct wr w;
	size_t mark;
	uint64_t epoch, group_id;
	uint32_t sender; /* index */
};

static inline struct sim_list sim_list(struct sim *s)
{
	struct sim_list l = { .epoch = sim_epoch(s), .group_id = s->channel_id };

	wr_init(&l.w, s->scratch.b, SIM_BYTES);
	wr_u8(&l.w, 0);
	l.mark = mls_wr_open(&l.w);
	return l;
}

/* A proposal of the external sender; proposal begins with its type. */
static inline void sim_propose(struct sim *s, struct sim_list *l, struct mls_span proposal)
{
	struct mls_public_message m = { 0 };
	uint8_t sig[MLS_SIG_MAX];
	uint8_t id[8];
	struct wr w;
	struct rd r;
	size_t at, len;

	wr_init(&w, id, sizeof(id));
	wr_u64(&w, l->group_id);
	mls_message_head_write(&l->w, MLS_WIRE_PUBLIC_MESSAGE);
	at = l->w.len;
	mls_wr_vec(&l->w, mls_span(id, sizeof(id)));
	wr_u64(&l->w, l->epoch);
	wr_u8(&l->w, MLS_SENDER_EXTERNAL);
	wr_u32(&l->w, l->sender);
	mls_wr_varint(&l->w, 0);
	wr_u8(&l->w, MLS_CONTENT_PROPOSAL);
	mls_wr_span(&l->w, proposal);
	rd_init(&r, l->w.buf + at, l->w.len - at);
	mls_framed_content_read(&r, &m.content);
	SIM_MUST(mls_public_message_sign(&m.content, sig, &len, s->key, mls_span(NULL, 0)) == 0);
	mls_wr_vec(&l->w, mls_span(sig, len));
}

static inline void sim_propose_package(struct sim *s, struct sim_list *l, struct sim_bytes package)
{
	uint8_t proposal[1024];
	struct wr w;

	wr_init(&w, proposal, sizeof(proposal));
	wr_u16(&w, MLS_PROPOSAL_ADD);
	wr_bytes(&w, package.b, package.len);
	SIM_MUST(!w.bad);
	sim_propose(s, l, mls_span(proposal, w.len));
}

static inline void sim_propose_add(struct sim *s, struct sim_list *l, size_t i)
{
	sim_propose_package(s, l, s->c[i].package);
}

static inline void sim_propose_remove(struct sim *s, struct sim_list *l, uint32_t leaf)
{
	uint8_t proposal[8];
	struct wr w;

	wr_init(&w, proposal, sizeof(proposal));
	wr_u16(&w, MLS_PROPOSAL_REMOVE);
	wr_u32(&w, leaf);
	sim_propose(s, l, mls_span(proposal, w.len));
}

static inline struct mls_span sim_finish(struct sim_list *l)
{
	mls_wr_close(&l->w, l->mark);
	SIM_MUST(!l->w.bad);
	return mls_span(l->w.buf, l->w.len);
}

/* To everybody who is connected. */
static inline void sim_say_all(struct sim *s, uint8_t op, struct mls_span payload)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		if (s->c[i].connected)
			sim_say(s, i, op, payload.p, payload.len);
}

/* Payloads of opcodes 29 and 30 made of the newest commit of a client; freed by the caller. */
static inline struct sim_bytes sim_half(struct sim *s, size_t committer, uint16_t id,
	bool want_welcome)
{
	const struct sim_bytes *c = &s->c[committer].commit;
	struct sim_bytes out = { NULL, 0 };
	size_t len;

	SIM_MUST(c->len > 0 && mls_public_message_length(mls_span(c->b, c->len), &len) == 0);
	out.b = malloc(c->len + 2);
	SIM_MUST(out.b != NULL);
	out.b[0] = (uint8_t)(id >> 8);
	out.b[1] = (uint8_t)id;
	if (want_welcome) {
		memcpy(out.b + 2, c->b + len, c->len - len);
		out.len = c->len - len + 2;
	} else {
		memcpy(out.b + 2, c->b, len);
		out.len = len + 2;
	}
	return out;
}

/* Announces the newest commit of a client: opcode 29 to the group and the committer, 30 to all
 * others who are connected and not in it. */
static inline void sim_announce(struct sim *s, size_t committer, uint16_t id)
{
	struct sim_bytes commit = sim_half(s, committer, id, false);
	struct sim_bytes welcome = sim_half(s, committer, id, true);
	bool in[SIM_MAX] = { false };
	size_t i;

	for (i = 0; i < s->n; i++)
		in[i] = sim_in(s, i) || i == committer;
	for (i = 0; i < s->n; i++) {
		if (!s->c[i].connected)
			continue;
		if (in[i])
			sim_say(s, i, 29, commit.b, commit.len);
		else if (welcome.len > 2)
			sim_say(s, i, 30, welcome.b, welcome.len);
	}
	free(commit.b);
	free(welcome.b);
}

static inline void sim_execute(struct sim *s, uint16_t id)
{
	char text[32];
	size_t i;

	snprintf(text, sizeof(text), "{\"transition_id\":%u}", id);
	for (i = 0; i < s->n; i++)
		if (s->c[i].connected)
			sim_say_text(s, i, 22, text);
}

/* Everybody in the call has the same code and roster, and keys for all others that fit. */
static inline void sim_check(struct sim *s)
{
	const struct sim_client *first = NULL;
	size_t i, k, n = 0;

	for (i = 0; i < s->n; i++) {
		const struct sim_client *c = &s->c[i];

		if (!c->connected)
			continue;
		n++;
		SIM_MUST(sim_in(s, i));
		first = first != NULL ? first : c;
		SIM_MUST(strcmp(c->code, first->code) == 0 && c->epoch == first->epoch);
		SIM_MUST(c->n_members == first->n_members && c->n_senders + 1 == c->n_members);
		SIM_MUST(memcmp(c->members, first->members, c->n_members * sizeof(c->members[0])) ==
			0);
	}
	SIM_MUST(n > 0 && first->n_members == n);
	for (i = 1; i < n; i++)
		SIM_MUST(first->members[i - 1] < first->members[i]);
	/* Whoever is heard by two is heard with the same key by both. */
	for (i = 0; i < first->n_senders; i++)
		for (k = 0; k < s->n; k++) {
			const struct sim_client *c = &s->c[k];
			size_t j;

			if (!c->connected || c->user_id == first->senders[i].user_id)
				continue;
			for (j = 0; j < c->n_senders; j++)
				if (c->senders[j].user_id == first->senders[i].user_id)
					break;
			SIM_MUST(j < c->n_senders &&
				memcmp(c->senders[j].secret, first->senders[i].secret,
					DAVE_SECRET_LEN) == 0);
		}
}

/* Adds everybody connected who is not in the group, in one message; returns a committer. Without a
 * group each is asked to add the others to its own. */
static inline size_t sim_propose_missing(struct sim *s)
{
	const struct mls_group *call = sim_call(s);
	size_t i, k, committer = SIM_MAX;
	struct mls_span payload = { NULL, 0 };

	for (k = 0; k < s->n; k++) {
		struct sim_list l;

		if (!s->c[k].connected)
			continue;
		if (call == NULL || payload.p == NULL) {
			l = sim_list(s);
			for (i = 0; i < s->n; i++)
				if (s->c[i].connected && !sim_in(s, i) && (call != NULL || i != k))
					sim_propose_add(s, &l, i);
			payload = sim_finish(&l);
		}
		sim_say(s, k, 27, payload.p, payload.len);
		if (committer == SIM_MAX && (call == NULL || sim_in(s, k)))
			committer = k;
	}
	SIM_MUST(committer < SIM_MAX);
	return committer;
}

/* A whole transition: everybody connected who is not in it joins. */
static inline void sim_join_all(struct sim *s)
{
	uint16_t id = s->next_id++;
	size_t committer = sim_propose_missing(s);

	sim_announce(s, committer, id);
	sim_execute(s, id);
}

static inline size_t sim_enter(struct sim *s)
{
	size_t i = sim_client(s);

	sim_connect(s, i);
	return i;
}

/* n members in a call, one group. */
static inline struct sim *sim_new_call(uint64_t seed, size_t n)
{
	struct sim *s = sim_new(seed);

	while (n-- > 0)
		sim_enter(s);
	sim_join_all(s);
	sim_check(s);
	sim_forget(s);
	return s;
}

/* i goes; the others are told, and committer's commit is taken. */
static inline void sim_leave(struct sim *s, size_t i, size_t committer)
{
	uint32_t leaf = sim_leaf(s, i);
	uint16_t id = s->next_id++;
	struct sim_list l;
	size_t k;

	s->c[i].connected = false;
	for (k = 0; k < s->n; k++)
		if (s->c[k].connected) {
			dave_session_user(s->c[k].d, s->c[i].user_id, false);
			sim_take(&s->c[k]);
		}
	l = sim_list(s);
	sim_propose_remove(s, &l, leaf);
	sim_say_all(s, 27, sim_finish(&l));
	sim_announce(s, committer, id);
	sim_execute(s, id);
}

#endif
