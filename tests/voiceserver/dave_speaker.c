/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mls/mls_hpke.h"
#include "tests/voiceserver/dave_speaker.h"

enum { MAX_COMMITS = 16, MAX_PENDING = 8, EXTENSIONS_MAX = DAVE_SENDER_MAX + 14 };

struct send_key {
	bool set;
	uint8_t key[DAVE_KEY_LEN];
	uint64_t serial;
};

struct pending {
	bool used;
	uint16_t id;
	unsigned version;
	struct send_key key;
};

struct dave_speaker {
	struct dave_speaker_io io;
	struct rng rng;
	struct mls_ctx cx;
	uint64_t channel_id, user_id;
	uint8_t signature[MLS_PRIV_LEN];
	bool early;
	unsigned version;
	uint8_t extensions[EXTENSIONS_MAX];
	size_t extensions_len; /* 0: the external sender is not known */

	struct mls_own_package *package; /* outstanding */
	struct mls_group *group;
	bool established;
	struct mls_own_commit *commits[MAX_COMMITS]; /* of this epoch */
	size_t n_commits;
	uint16_t last_id;

	struct pending pending[MAX_PENDING];
	struct send_key key;
	uint32_t nonce;
};

static void say(struct dave_speaker *s, enum dave_op op, uint16_t id, const uint8_t *p, size_t len)
{
	struct dave_msg m = { .op = op, .id = id, .data = p, .len = len };

	s->io.say(s->io.user, &m);
}

int dave_speaker_new(struct dave_speaker **ret, uint64_t channel_id, uint64_t user_id,
	struct rng rng, bool early, const struct dave_speaker_io *io)
{
	struct dave_speaker *s = calloc(1, sizeof(*s));
	int r = TD_ERR_NOMEM;

	if (s == NULL)
		goto out;
	s->io = *io;
	s->rng = rng;
	s->cx = (struct mls_ctx){ dave_random, &s->rng, NULL };
	s->channel_id = channel_id;
	s->user_id = user_id;
	s->early = early;
	if ((r = mls_hpke_generate(&s->cx, s->signature, NULL)) != TD_OK)
		goto out;
	*ret = s;
	s = NULL;
out:
	dave_speaker_free(s);
	return r;
}

static void commits_drop(struct dave_speaker *s)
{
	while (s->n_commits > 0)
		mls_own_commit_free(s->commits[--s->n_commits]);
}

static void group_drop(struct dave_speaker *s)
{
	commits_drop(s);
	mls_group_free(s->group);
	s->group = NULL;
	s->established = false;
}

void dave_speaker_free(struct dave_speaker *s)
{
	if (s == NULL)
		return;
	group_drop(s);
	mls_own_package_free(s->package);
	free(s);
}

/* The group of ourselves alone, which a first commit makes real. */
static void pending_group(struct dave_speaker *s)
{
	uint8_t id[DAVE_ID_LEN];

	if (s->established || s->package == NULL || s->extensions_len == 0)
		return;
	group_drop(s);
	dave_id_write(id, s->channel_id);
	mls_group_new(&s->cx, &s->group, s->package, mls_span(id, sizeof(id)),
		mls_span(s->extensions, s->extensions_len));
}

/* Starts over: a fresh leaf and key package. Keys that are in use stay. */
static void init(struct dave_speaker *s)
{
	uint8_t id[DAVE_ID_LEN];

	group_drop(s);
	mls_own_package_free(s->package);
	s->package = NULL;
	dave_id_write(id, s->user_id);
	if (mls_own_package_new(&s->cx, &s->package, mls_span(id, sizeof(id)), s->signature) !=
		TD_OK)
		return;
	pending_group(s);
	say(s, DAVE_KEY_PACKAGE, 0, s->package->bytes, s->package->package.raw.len);
}

void dave_speaker_version(struct dave_speaker *s, unsigned version)
{
	s->version = version;
	if (version > 0)
		init(s);
}

void dave_speaker_recover(struct dave_speaker *s)
{
	say(s, DAVE_INVALID, s->last_id, NULL, 0);
	init(s);
}

void dave_base_secret(uint8_t out[static DAVE_BASE_LEN], const struct mls_group *g,
	uint64_t user_id)
{
	uint8_t base[MLS_HASH_LEN], context[DAVE_ID_LEN];
	size_t i;

	for (i = 0; i < sizeof(context); i++)
		context[i] = (uint8_t)(user_id >> 8 * i);
	mls_group_exporter_base(g, "Discord Secure Frames v0", base);
	mls_exporter_from_base(out, DAVE_BASE_LEN, base, mls_span(context, sizeof(context)));
}

/* Uses a key for sending from now on. Libdave's first nonce is 1, the whitepaper's 0. */
static void key_use(struct dave_speaker *s, const struct send_key *k)
{
	s->key = *k;
	s->nonce = (uint32_t)(s->user_id & 1);
}

static struct pending *pending_find(struct dave_speaker *s, uint16_t id)
{
	size_t i;

	for (i = 0; i < MAX_PENDING; i++)
		if (s->pending[i].used && s->pending[i].id == id)
			return &s->pending[i];
	return NULL;
}

static struct pending *pending_new(struct dave_speaker *s, uint16_t id, unsigned version)
{
	struct pending *p = pending_find(s, id);
	size_t i;

	for (i = 0; p == NULL && i < MAX_PENDING; i++)
		if (!s->pending[i].used)
			p = &s->pending[i];
	if (p == NULL)
		p = &s->pending[0];
	*p = (struct pending){ .used = true, .id = id, .version = version };
	return p;
}

/* Takes the group over that op 29 or 30 led to. */
static void install(struct dave_speaker *s, struct mls_group *g, const struct dave_msg *m)
{
	uint8_t base[DAVE_BASE_LEN];
	struct send_key key = { .set = true, .serial = m->serial };

	group_drop(s);
	s->group = g;
	s->established = true;
	s->last_id = m->id;
	dave_base_secret(base, g, s->user_id);
	mls_derive_tree_secret(key.key, sizeof(key.key), mls_span(base, sizeof(base)), "key", 0);
	s->io.epoch(s->io.user, g, m->serial);
	/* Somebody new has no older key to use until the others are ready. */
	if (m->id == 0 || s->early || (!s->key.set && s->version > 0))
		key_use(s, &key);
	if (m->id == 0)
		return;
	pending_new(s, m->id, 1)->key = key;
	say(s, DAVE_READY_FOR_TRANSITION, m->id, NULL, 0);
}

static void hear_sender(struct dave_speaker *s, const struct dave_msg *m)
{
	struct wr w;

	wr_init(&w, s->extensions, sizeof(s->extensions));
	mls_external_senders_write(&w, mls_span(m->data, m->len));
	s->extensions_len = w.bad ? 0 : w.len;
	pending_group(s);
}

/* False: this message is not to be followed any further. */
static bool proposal_take(struct dave_speaker *s, struct mls_span message)
{
	struct mls_proposal *p;
	uint64_t user;
	int r;

	if ((r = mls_proposal_open(&s->cx, s->group, message, &p)) != TD_OK)
		return r == TD_ERR_STATE;
	user = p->view.type == MLS_PROPOSAL_ADD ? dave_id_read(p->view.add.leaf.identity)
						: s->user_id;
	if (user != s->user_id && !s->io.recognizes(s->io.user, user)) {
		mls_proposal_free(p);
		return false;
	}
	if (mls_group_store(&s->cx, s->group, p) != TD_OK)
		mls_proposal_free(p);
	return true;
}

static bool proposals_take(struct dave_speaker *s, const struct dave_msg *m)
{
	struct mls_span one;
	struct rd r, list;
	bool revoke;
	size_t len;

	rd_init(&r, m->data, m->len);
	revoke = rd_u8(&r) == 1;
	list = mls_rd_open(&r);
	while (!list.bad && rd_left(&list) > 0) {
		if (revoke) {
			one = mls_rd_vec(&list);
			mls_group_revoke(s->group, one);
			continue;
		}
		if (mls_public_message_length(mls_span(list.p, rd_left(&list)), &len) != TD_OK)
			return false;
		one = mls_span(rd_bytes(&list, len), len);
		if (!proposal_take(s, one))
			return false;
	}
	return !list.bad;
}

static void hear_proposals(struct dave_speaker *s, const struct dave_msg *m)
{
	struct mls_own_commit *c;
	uint8_t *both;

	if (s->group == NULL || !proposals_take(s, m) || mls_group_n_proposals(s->group) == 0)
		return;
	if (s->n_commits == MAX_COMMITS)
		commits_drop(s);
	/* Refused when a proposal removes ourselves: then others commit. */
	if (mls_group_commit(&s->cx, s->group, 0, &c) != TD_OK)
		return;
	s->commits[s->n_commits++] = c;
	if ((both = malloc(c->message_len + c->welcome_len)) == NULL)
		return;
	memcpy(both, c->message, c->message_len);
	if (c->welcome != NULL)
		memcpy(both + c->message_len, c->welcome, c->welcome_len);
	say(s, DAVE_COMMIT_WELCOME, 0, both, c->message_len + c->welcome_len);
	free(both);
}

static void hear_commit(struct dave_speaker *s, const struct dave_msg *m)
{
	struct mls_span message = mls_span(m->data, m->len);
	struct mls_commit_info info;
	struct mls_group *next;
	size_t i;

	for (i = 0; i < s->n_commits; i++) {
		if (!mls_span_equal(message,
			    mls_span(s->commits[i]->message, s->commits[i]->message_len)))
			continue;
		next = s->commits[i]->next;
		s->commits[i]->next = NULL;
		mls_own_package_free(s->package);
		s->package = NULL;
		install(s, next, m);
		return;
	}
	if (!s->established)
		return;
	if (mls_group_process(&s->cx, s->group, message, MLS_PROCESS_REFERENCES_ONLY, &next,
		    &info) != TD_OK) {
		s->last_id = m->id;
		dave_speaker_recover(s);
	} else if (next == NULL) {
		group_drop(s);
	} else {
		install(s, next, m);
	}
}

static void hear_welcome(struct dave_speaker *s, const struct dave_msg *m)
{
	struct mls_group *g;

	if (s->package == NULL)
		return;
	if (mls_group_join(&s->cx, &g, s->package, mls_span(m->data, m->len), NULL) != TD_OK) {
		s->last_id = m->id;
		dave_speaker_recover(s);
		return;
	}
	mls_own_package_free(s->package);
	s->package = NULL;
	install(s, g, m);
}

static void execute(struct dave_speaker *s, unsigned version, const struct send_key *key)
{
	s->version = version;
	if (version == 0) {
		group_drop(s);
		s->key.set = false;
	} else if (key->set && !(s->key.set && s->key.serial == key->serial)) {
		key_use(s, key);
	}
}

static void hear_execute(struct dave_speaker *s, uint16_t id)
{
	struct pending *p = pending_find(s, id);

	if (p == NULL)
		return;
	p->used = false;
	execute(s, p->version, &p->key);
}

static void hear_prepare(struct dave_speaker *s, const struct dave_msg *m)
{
	struct send_key none = { 0 };

	if (m->id == 0) {
		execute(s, m->version, &none);
		return;
	}
	pending_new(s, m->id, m->version);
	say(s, DAVE_READY_FOR_TRANSITION, m->id, NULL, 0);
}

void dave_speaker_hear(struct dave_speaker *s, const struct dave_msg *m)
{
	switch (m->op) {
	case DAVE_PREPARE_TRANSITION:
		hear_prepare(s, m);
		break;
	case DAVE_EXECUTE_TRANSITION:
		hear_execute(s, m->id);
		break;
	case DAVE_PREPARE_EPOCH:
		/* What is sent stays as it is until the new group's transition. */
		if (m->epoch == 1 && m->version > 0)
			init(s);
		break;
	case DAVE_EXTERNAL_SENDER:
		hear_sender(s, m);
		break;
	case DAVE_PROPOSALS:
		hear_proposals(s, m);
		break;
	case DAVE_ANNOUNCE_COMMIT:
		hear_commit(s, m);
		break;
	case DAVE_WELCOME:
		hear_welcome(s, m);
		break;
	default:
		break;
	}
}

enum dave_sealing dave_speaker_seal(struct dave_speaker *s, uint8_t *out, size_t *out_len,
	const uint8_t *plain, size_t len, uint64_t *serial)
{
	if (s->version == 0 && !s->key.set)
		return DAVE_PLAIN;
	if (!s->key.set)
		return DAVE_MUTE;
	*out_len = dave_seal(out, s->key.key, s->nonce++, plain, len);
	*serial = s->key.serial;
	return *out_len > 0 ? DAVE_SEALED : DAVE_MUTE;
}
