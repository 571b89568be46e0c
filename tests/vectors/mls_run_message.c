/* SPDX-License-Identifier: ISC */
/* Vectors of messages and of whole clients: protection, encoding, Welcome, passive clients. */
#include <stdio.h>
#include <stdlib.h>

#include "common/mls/mls_group.h"
#include "common/mls/mls_tree.h"
#include "tests/vectors/mls_run.h"

/* Protection of PublicMessages */

static struct mls_span protection_context(struct run *v)
{
	struct mls_group_context c = {
		.version = MLS_VERSION,
		.suite = MLS_SUITE,
		.group_id = run_hex(v, v->c, "group_id"),
		.epoch = run_number(v, v->c, "epoch"),
		.tree_hash = run_hex(v, v->c, "tree_hash"),
		.confirmed_hash = run_hex(v, v->c, "confirmed_transcript_hash"),
	};
	size_t bound = mls_group_context_bound(&c);
	uint8_t *out = run_hold(v, bound);
	struct wr w;

	wr_init(&w, out, bound);
	mls_group_context_write(&w, &c);
	return mls_span(out, w.len);
}

/* The message anew with our own signature and tag, and back. */
static bool protect(struct run *v, const struct mls_public_message *old, struct mls_span context,
	const uint8_t *membership_key)
{
	const uint8_t *priv = run_fixed(v, v->c, "signature_priv", MLS_PRIV_LEN);
	struct mls_public_message m = *old;
	uint8_t tag[MLS_HASH_LEN];
	uint8_t sig[MLS_SIG_MAX];
	size_t room = old->content.raw.len + 256;
	uint8_t *out = run_hold(v, room);
	size_t len;
	struct wr w;

	WANT_OR_FALSE(v, mls_public_message_sign(&m.content, sig, &len, priv, context) == 0);
	m.signature = mls_span(sig, len);
	mls_public_message_membership_tag(tag, &m, membership_key, context);
	m.membership_tag = mls_span(tag, sizeof(tag));
	wr_init(&w, out, room);
	mls_message_head_write(&w, MLS_WIRE_PUBLIC_MESSAGE);
	mls_public_message_write(&w, &m);
	WANT_OR_FALSE(v, !w.bad);
	WANT_OR_FALSE(v, mls_public_message_parse(&v->cx, mls_span(out, w.len), &m) == 0);
	WANT_OR_FALSE(v, mls_span_equal(m.content.raw, old->content.raw));
	WANT_OR_FALSE(v, mls_public_message_verify_membership(&m, membership_key, context) == 0);
	WANT_OR_FALSE(v,
		mls_public_message_verify(&m, run_hex(v, v->c, "signature_pub"), context) == 0);
	return true;
}

static void public_one(struct run *v, const char *message, const char *content, uint8_t type)
{
	const uint8_t *membership_key = run_fixed(v, v->c, "membership_key", MLS_HASH_LEN);
	struct mls_span context = protection_context(v);
	struct mls_public_message m;

	WANT(v, mls_public_message_parse(&v->cx, run_hex(v, v->c, message), &m) == 0);
	WANT(v, mls_span_equal(m.content.group_id, run_hex(v, v->c, "group_id")));
	WANT(v, m.content.epoch == run_number(v, v->c, "epoch"));
	WANT(v, m.content.sender_type == MLS_SENDER_MEMBER && m.content.sender == 1);
	WANT(v, m.content.content_type == type);
	WANT(v, mls_span_equal(m.content.body, run_hex(v, v->c, content)));
	WANT(v, mls_public_message_verify_membership(&m, membership_key, context) == 0);
	WANT(v, mls_public_message_verify(&m, run_hex(v, v->c, "signature_pub"), context) == 0);
	if (protect(v, &m, context, membership_key))
		v->passed++;
}

void run_message_protection(struct run *v)
{
	static const char *const private_ones[] = { "proposal_priv", "commit_priv",
		"application_priv" };
	char why[64];
	size_t i;

	public_one(v, "proposal_pub", "proposal", MLS_CONTENT_PROPOSAL);
	public_one(v, "commit_pub", "commit", MLS_CONTENT_COMMIT);
	for (i = 0; i < 3; i++) {
		struct mls_span bytes = run_hex(v, v->c, private_ones[i]);
		struct mls_public_message m;

		WANT(v, mls_public_message_parse(&v->cx, bytes, &m) == TD_ERR_UNSUPPORTED);
		snprintf(why, sizeof(why), "%s: a PrivateMessage", private_ones[i]);
		run_skip(v, why);
	}
}

/* Encoding: what is read is written again from its parts and has to come out the same. */

struct field {
	const char *name;
	void (*recode)(struct rd *r, struct wr *w);
};

static void head(struct rd *r, struct wr *w, uint16_t wire_format)
{
	if (mls_message_head_read(r) != wire_format)
		r->bad = true;
	mls_message_head_write(w, wire_format);
}

static void recode_welcome(struct rd *r, struct wr *w)
{
	struct mls_welcome_view v;

	head(r, w, MLS_WIRE_WELCOME);
	mls_welcome_read(r, &v);
	if (!r->bad)
		mls_welcome_write(w, &v);
}

static void recode_group_info(struct rd *r, struct wr *w)
{
	struct mls_group_info v;

	head(r, w, MLS_WIRE_GROUP_INFO);
	mls_group_info_read(r, &v);
	if (!r->bad)
		mls_group_info_write(w, &v);
}

static void recode_bare_key_package(struct rd *r, struct wr *w)
{
	struct mls_key_package v;

	mls_key_package_read(r, &v);
	if (!r->bad)
		mls_key_package_write(w, &v);
}

static void recode_key_package(struct rd *r, struct wr *w)
{
	head(r, w, MLS_WIRE_KEY_PACKAGE);
	recode_bare_key_package(r, w);
}

static void recode_ratchet_tree(struct rd *r, struct wr *w)
{
	struct mls_tree t;
	struct mls_span content = mls_rd_vec(r);

	if (r->bad || mls_tree_read(&t, content) < 0) {
		r->bad = true;
		return;
	}
	mls_tree_write(w, &t);
	mls_tree_free(&t);
}

static void recode_group_secrets(struct rd *r, struct wr *w)
{
	struct mls_group_secrets v;

	mls_group_secrets_read(r, &v);
	if (!r->bad)
		mls_group_secrets_write(w, &v);
}

static void recode_remove(struct rd *r, struct wr *w)
{
	wr_u32(w, rd_u32(r));
}

static void recode_commit(struct rd *r, struct wr *w)
{
	struct mls_commit_view v;

	mls_commit_read(r, &v);
	if (!r->bad)
		mls_commit_write(w, &v);
}

static void recode_public_message(struct rd *r, struct wr *w)
{
	struct mls_public_message v;

	head(r, w, MLS_WIRE_PUBLIC_MESSAGE);
	mls_public_message_read(r, &v);
	if (!r->bad)
		mls_public_message_write(w, &v);
}

static void messages_field(struct run *v, const struct field *f)
{
	struct mls_span bytes = run_hex(v, v->c, f->name);
	uint8_t *out = run_hold(v, bytes.len + 64);
	struct rd r;
	struct wr w;

	rd_init(&r, bytes.p, bytes.len);
	wr_init(&w, out, bytes.len + 64);
	f->recode(&r, &w);
	if (!run_want(v, rd_done(&r), f->name, __FILE__, __LINE__) ||
		!run_want(v, !w.bad && run_same(out, w.len, bytes), f->name, __FILE__, __LINE__))
		return;
	v->passed++;
}

/* Proposals of a type we refuse: to say so, we have to read them to their end. */
static void messages_refused(struct run *v, const char *name, uint16_t type)
{
	struct mls_span bytes = run_hex(v, v->c, name);
	uint8_t *typed = run_hold(v, bytes.len + 2);
	struct mls_proposal_view p;
	struct rd r;
	struct wr w;

	wr_init(&w, typed, bytes.len + 2);
	wr_u16(&w, type);
	mls_wr_span(&w, bytes);
	rd_init(&r, typed, w.len);
	mls_proposal_read(&r, &p);
	WANT(v, rd_done(&r));
	WANT(v, mls_proposal_refusal(p.type) != NULL);
	run_skip(v, mls_proposal_refusal(type));
}

static void messages_forbidden(struct run *v, const char *name, int error, const char *why)
{
	struct mls_public_message m;

	WANT(v, mls_public_message_parse(&v->cx, run_hex(v, v->c, name), &m) == error);
	run_skip(v, why);
}

void run_messages(struct run *v)
{
	static const struct field fields[] = {
		{ "mls_welcome", recode_welcome },
		{ "mls_group_info", recode_group_info },
		{ "mls_key_package", recode_key_package },
		{ "ratchet_tree", recode_ratchet_tree },
		{ "group_secrets", recode_group_secrets },
		{ "add_proposal", recode_bare_key_package },
		{ "remove_proposal", recode_remove },
		{ "commit", recode_commit },
		{ "public_message_proposal", recode_public_message },
		{ "public_message_commit", recode_public_message },
	};
	size_t i;

	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		messages_field(v, &fields[i]);
	messages_refused(v, "update_proposal", MLS_PROPOSAL_UPDATE);
	messages_refused(v, "pre_shared_key_proposal", MLS_PROPOSAL_PSK);
	messages_refused(v, "re_init_proposal", MLS_PROPOSAL_REINIT);
	messages_refused(v, "external_init_proposal", MLS_PROPOSAL_EXTERNAL_INIT);
	messages_refused(v, "group_context_extensions_proposal",
		MLS_PROPOSAL_GROUP_CONTEXT_EXTENSIONS);
	messages_forbidden(v, "public_message_application", TD_ERR_MALFORMED,
		"an application message as PublicMessage, which the RFC forbids");
	messages_forbidden(v, "private_message", TD_ERR_UNSUPPORTED, "a PrivateMessage");
}

/* Behind the header of an MLSMessage. */
static struct mls_span body(struct run *v, const json_t *o, const char *key, uint16_t wire_format)
{
	struct mls_span bytes = run_hex(v, o, key);
	struct rd r;

	rd_init(&r, bytes.p, bytes.len);
	run_want(v, mls_message_head_read(&r) == wire_format && !r.bad, key, __FILE__, __LINE__);
	return mls_span(r.p, rd_left(&r));
}

/* Welcome step by step: there is no tree, so the group cannot be joined. */

void run_welcome(struct run *v)
{
	struct mls_span package = body(v, v->c, "key_package", MLS_WIRE_KEY_PACKAGE);
	struct mls_span bytes = body(v, v->c, "welcome", MLS_WIRE_WELCOME);
	const uint8_t *init = run_fixed(v, v->c, "init_priv", MLS_PRIV_LEN);
	struct mls_package_keys keys = { .init = { 0 } };
	struct mls_own_package own = { .keys = &keys };
	uint8_t *plain = run_hold(v, MLS_GROUP_SECRETS_MAX);
	uint8_t nonce[MLS_AEAD_NONCE_LEN];
	uint8_t key[MLS_AEAD_KEY_LEN];
	uint8_t pub[MLS_PUB_LEN];
	uint8_t tag[MLS_HASH_LEN];
	struct mls_group_secrets secrets;
	struct mls_welcome_view view;
	struct mls_group_info info;
	struct mls_epoch e;
	uint8_t *opened;
	struct rd r;

	rd_init(&r, package.p, package.len);
	mls_key_package_read(&r, &own.package);
	WANT(v, rd_done(&r));
	WANT(v, mls_key_package_check(&v->cx, &own.package) == 0);
	WANT(v, mls_p256_public(pub, init) == 0);
	WANT(v, run_same(pub, sizeof(pub), own.package.init_key));
	memcpy(keys.init, init, MLS_PRIV_LEN);
	mls_key_package_ref(own.ref, &own.package);

	rd_init(&r, bytes.p, bytes.len);
	mls_welcome_read(&r, &view);
	WANT(v, rd_done(&r) && view.suite == MLS_SUITE);
	WANT(v, mls_welcome_open_secrets(&v->cx, &own, &view, plain, &secrets) == 0);
	WANT(v, secrets.psks.len == 0);

	memcpy(e.joiner, secrets.joiner_secret.p, MLS_HASH_LEN);
	mls_schedule_welcome(&e, NULL);
	mls_welcome_key(&e, key, nonce);
	opened = run_hold(v, view.encrypted_group_info.len);
	WANT(v, mls_aead_open(opened, key, nonce, view.encrypted_group_info) == 0);
	rd_init(&r, opened, view.encrypted_group_info.len - MLS_AEAD_TAG_LEN);
	mls_group_info_read(&r, &info);
	WANT(v, rd_done(&r));
	WANT(v,
		mls_verify_with_label(run_hex(v, v->c, "signer_pub"), "GroupInfoTBS", &info.tbs, 1,
			info.signature) == 0);
	mls_schedule_epoch(&e, NULL, info.context.raw);
	mls_confirmation_tag(tag, &e, info.context.confirmed_hash);
	WANT(v, run_same(tag, sizeof(tag), info.confirmation_tag));
}

/* Passive clients */

/* The pre-shared keys a Welcome names, looked up in the case. False: one is not there. */
static bool find_psks(struct run *v, struct mls_span list, struct run_psk *psks, size_t *n)
{
	json_t *known = run_array(v, v->c, "external_psks");
	struct mls_span id;
	const uint8_t *start;
	struct rd r;
	json_t *o;
	size_t i;

	rd_init(&r, list.p, list.len);
	for (*n = 0; rd_left(&r) > 0; (*n)++) {
		start = r.p;
		if (rd_u8(&r) != 1 || *n == 16)
			return false;
		id = mls_rd_vec(&r);
		mls_rd_vec(&r);
		psks[*n].id = mls_rd_since(&r, start);
		psks[*n].psk = mls_span(NULL, 0);
		json_array_foreach(known, i, o) if (mls_span_equal(run_hex(v, o, "psk_id"), id))
			psks[*n]
				.psk = run_hex(v, o, "psk");
		if (r.bad || psks[*n].psk.p == NULL)
			return false;
	}
	return true;
}

static bool join(struct run *v, const struct mls_own_package *own, struct mls_group **g)
{
	struct mls_span bytes = run_hex(v, v->c, "welcome");
	struct mls_span welcome = body(v, v->c, "welcome", MLS_WIRE_WELCOME);
	struct mls_span tree = run_hex(v, v->c, "ratchet_tree");
	uint8_t *plain = run_hold(v, MLS_GROUP_SECRETS_MAX);
	struct mls_join_options options = { .psk_secret = NULL };
	struct mls_group_secrets secrets;
	uint8_t psk_secret[MLS_HASH_LEN];
	struct mls_welcome_view view;
	struct run_psk psks[16];
	struct rd r;
	size_t n;

	rd_init(&r, welcome.p, welcome.len);
	mls_welcome_read(&r, &view);
	WANT_OR_FALSE(v, rd_done(&r));
	WANT_OR_FALSE(v, mls_welcome_open_secrets(&v->cx, own, &view, plain, &secrets) == 0);
	if (secrets.psks.len > 0) {
		/* Without the keys it has to be refused by name. */
		WANT_OR_FALSE(v,
			mls_group_join(&v->cx, g, own, bytes, &options) == TD_ERR_UNSUPPORTED);
		if (!find_psks(v, secrets.psks, psks, &n)) {
			run_skip(v, "a Welcome with a pre-shared key that is not in the case");
			return false;
		}
		run_psk_secret(psk_secret, psks, n);
		options.psk_secret = psk_secret;
	}
	if (tree.len > 0) {
		rd_init(&r, tree.p, tree.len);
		options.tree = mls_rd_vec(&r);
		WANT_OR_FALSE(v, rd_done(&r));
	}
	v->cx.why = NULL;
	WANT_OR_FALSE(v, mls_group_join(&v->cx, g, own, bytes, &options) == 0);
	return true;
}

enum step { STEP_OK, STEP_FAILED, STEP_SKIPPED };

/* A refusal of something DAVE does not have ends the case as skipped; anything else fails it. */
static enum step refused(struct run *v, int r)
{
	if (r == TD_ERR_UNSUPPORTED && v->cx.why != NULL &&
		(strstr(v->cx.why, "refused") != NULL)) {
		run_skip(v, v->cx.why);
		return STEP_SKIPPED;
	}
	run_want(v, false, "proposal or commit accepted", __FILE__, __LINE__);
	return STEP_FAILED;
}

static enum step epoch(struct run *v, const json_t *o, struct mls_group **g)
{
	json_t *proposals = run_array(v, o, "proposals");
	struct mls_commit_info info;
	struct mls_group *next = NULL;
	struct mls_proposal *p;
	json_t *value;
	size_t i;
	int r;

	v->cx.why = NULL;
	json_array_foreach(proposals, i, value)
	{
		if ((r = mls_proposal_open(&v->cx, *g, run_hex_value(v, value), &p)) < 0)
			return refused(v, r);
		if ((r = mls_group_store(&v->cx, *g, p)) < 0) {
			mls_proposal_free(p);
			return refused(v, r);
		}
	}
	r = mls_group_process(&v->cx, *g, run_hex(v, o, "commit"), MLS_PROCESS_ALLOW_NEW_CREDENTIAL,
		&next, &info);
	if (r < 0)
		return refused(v, r);
	if (!run_want(v, next != NULL, "still a member", __FILE__, __LINE__))
		return STEP_FAILED;
	mls_group_free(*g);
	*g = next;
	return run_want(v,
		       run_same(mls_group_authenticator(*g), MLS_HASH_LEN,
			       run_hex(v, o, "epoch_authenticator")),
		       "epoch_authenticator", __FILE__, __LINE__)
		? STEP_OK
		: STEP_FAILED;
}

static void live(struct run *v, const struct mls_own_package *own)
{
	json_t *epochs = run_array(v, v->c, "epochs");
	struct mls_group *g = NULL;
	json_t *o;
	size_t i;

	if (!join(v, own, &g))
		return;
	if (run_want(v,
		    run_same(mls_group_authenticator(g), MLS_HASH_LEN,
			    run_hex(v, v->c, "initial_epoch_authenticator")),
		    "initial_epoch_authenticator", __FILE__, __LINE__))
		json_array_foreach(epochs, i, o) if (epoch(v, o, &g) != STEP_OK) break;
	mls_group_free(g);
}

void run_passive_client(struct run *v)
{
	struct mls_span package = body(v, v->c, "key_package", MLS_WIRE_KEY_PACKAGE);
	struct mls_package_keys keys;
	struct mls_own_package *own;

	memcpy(keys.init, run_fixed(v, v->c, "init_priv", MLS_PRIV_LEN), MLS_PRIV_LEN);
	memcpy(keys.leaf, run_fixed(v, v->c, "encryption_priv", MLS_PRIV_LEN), MLS_PRIV_LEN);
	memcpy(keys.signature, run_fixed(v, v->c, "signature_priv", MLS_PRIV_LEN), MLS_PRIV_LEN);
	WANT(v, mls_own_package_load(&v->cx, &own, package, &keys) == 0);
	if (run_want(v, mls_key_package_check(&v->cx, &own->package) == 0, "own key package valid",
		    __FILE__, __LINE__))
		live(v, own);
	mls_own_package_free(own);
}
