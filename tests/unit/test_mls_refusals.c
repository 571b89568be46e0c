/* SPDX-License-Identifier: ISC */
/* What a group must not accept: and why it says it does not. */
#include "tests/unit/mls_sim.h"

/* Proposals */

static void proposal_table(void **state)
{
	static const struct {
		const char *proposal; /* with its type, in hex */
		int want;
		const char *why;
	} rows[] = {
		{ "000300000001", TD_OK, NULL },
		{ "000300000005", TD_ERR_MALFORMED, "proposal: removes no member" }, /* blank */
		{ "000300000008", TD_ERR_MALFORMED, "proposal: removes no member" }, /* outside */
		{ "0003ffffffff", TD_ERR_MALFORMED, "proposal: removes no member" },
		{ "0004010000", TD_ERR_UNSUPPORTED, "proposal type refused: PreSharedKey" },
		{ "0005000001000200", TD_ERR_UNSUPPORTED, "proposal type refused: ReInit" },
		{ "000600", TD_ERR_UNSUPPORTED, "proposal type refused: ExternalInit" },
		{ "000700", TD_ERR_UNSUPPORTED, "proposal type refused: GroupContextExtensions" },
	};
	struct mls_proposal_view view;
	struct sim_bytes b;
	uint8_t bytes[64];
	struct sim s;
	struct rd r;
	size_t len;
	size_t i;

	(void)state;
	sim_init(&s, 1);
	sim_grow(&s, 4);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(sodium_hex2bin(bytes, sizeof(bytes), rows[i].proposal,
					 strlen(rows[i].proposal), NULL, &len, NULL),
			0);
		rd_init(&r, bytes, len);
		mls_proposal_read(&r, &view);
		assert_true(rd_done(&r));
		sim_external_proposal(&s, &b, mls_span(bytes, len), 1, 0);
		s.cx.why = NULL;
		assert_int_equal(sim_store(&s, s.m[0].group, &b), rows[i].want);
		if (rows[i].why != NULL)
			assert_string_equal(s.cx.why, rows[i].why);
	}
	sim_free(&s);
}

static void proposal_update_is_named(void **state)
{
	struct sim_bytes b;
	uint8_t bytes[1024];
	struct sim s;
	struct wr w;

	(void)state;
	sim_init(&s, 2);
	wr_init(&w, bytes, sizeof(bytes));
	wr_u16(&w, MLS_PROPOSAL_UPDATE);
	mls_wr_span(&w, s.m[0].package->package.leaf.raw);
	sim_external_proposal(&s, &b, mls_span(bytes, w.len), 0, 0);
	assert_int_equal(sim_store(&s, s.m[0].group, &b), TD_ERR_UNSUPPORTED);
	assert_string_equal(s.cx.why, "proposal type refused: Update");
	sim_free(&s);
}

static void proposal_sender_and_epoch(void **state)
{
	static const uint8_t remove[] = { 0, 3, 0, 0, 0, 1 };
	struct sim_bytes b;
	struct sim s;

	(void)state;
	sim_init(&s, 3);
	sim_grow(&s, 2);
	sim_external_proposal(&s, &b, mls_span(remove, sizeof(remove)), 0, 0);
	assert_int_equal(sim_store(&s, s.m[0].group, &b), TD_ERR_STATE);
	assert_string_equal(s.cx.why, "proposal: of another group or epoch");
	sim_external_proposal(&s, &b, mls_span(remove, sizeof(remove)), 2, 0);
	assert_int_equal(sim_store(&s, s.m[0].group, &b), TD_ERR_STATE);
	assert_string_equal(s.cx.why, "proposal: of another group or epoch");
	sim_external_proposal(&s, &b, mls_span(remove, sizeof(remove)), 1, 1);
	assert_int_equal(sim_store(&s, s.m[0].group, &b), TD_ERR_MALFORMED);
	assert_string_equal(s.cx.why, "proposal: no such external sender");
	sim_external_proposal(&s, &b, mls_span(remove, sizeof(remove)), 1, 0);
	b.b[5] ^= 1; /* the group id */
	assert_int_equal(sim_store(&s, s.m[0].group, &b), TD_ERR_STATE);
	b.b[5] ^= 1;
	assert_int_equal(sim_store(&s, s.m[0].group, &b), TD_OK);
	assert_int_equal(sim_store(&s, s.m[0].group, &b), TD_ERR_DUPLICATE);
	assert_int_equal(mls_group_n_proposals(s.m[0].group), 1);
	sim_free(&s);
}

static void proposal_of_an_old_epoch_is_not_stored(void **state)
{
	struct mls_proposal *p;
	struct sim_bytes b;
	struct sim s;

	(void)state;
	sim_init(&s, 4);
	sim_grow(&s, 2);
	sim_remove_proposal(&s, &b, 1);
	assert_int_equal(mls_proposal_open(&s.cx, s.m[0].group, sim_span(&b), &p), 0);
	sim_commit(&s, 2, MLS_COMMIT_FORCE_PATH);
	assert_int_equal(mls_group_store(&s.cx, s.m[0].group, p), TD_ERR_STATE);
	mls_proposal_free(p);
	sim_free(&s);
}

/* Long proposals fill the store up by their bytes, not only by their number. */
static void store_is_bounded(void **state)
{
	struct mls_proposal *p[3];
	struct sim_bytes b;
	struct sim s;
	size_t i;

	(void)state;
	sim_init(&s, 11);
	sim_grow(&s, 3);
	for (i = 0; i < 3; i++) {
		sim_remove_proposal(&s, &b, (uint32_t)i);
		assert_int_equal(mls_proposal_open(&s.cx, s.m[3].group, sim_span(&b), &p[i]), 0);
		assert_int_equal(p[i]->len, b.len);
	}
	p[0]->len = MLS_MAX_STORE_BYTES - p[1]->len; /* as if */
	assert_int_equal(mls_group_store(&s.cx, s.m[3].group, p[0]), 0);
	assert_int_equal(mls_group_store(&s.cx, s.m[3].group, p[1]), 0);
	assert_int_equal(mls_group_store(&s.cx, s.m[3].group, p[2]), TD_ERR_LIMIT);
	assert_int_equal(mls_group_revoke(s.m[3].group, mls_span(p[1]->ref, MLS_HASH_LEN)), 0);
	p[2]->len = 1;
	assert_int_equal(mls_group_store(&s.cx, s.m[3].group, p[2]), 0);
	sim_free(&s);
}

/* One bit per byte everywhere, every proper prefix, one byte too much. */
static void proposal_bytes(void **state)
{
	struct sim_bytes b;
	struct sim s;
	size_t len;
	size_t i;

	(void)state;
	sim_init(&s, 5);
	sim_grow(&s, 1);
	sim_add_proposal(&s, &b, sim_add_member(&s));
	for (i = 0; i < b.len; i++) {
		b.b[i] ^= (uint8_t)(1 << (i % 8));
		assert_int_not_equal(sim_store(&s, s.m[0].group, &b), 0);
		b.b[i] ^= (uint8_t)(1 << (i % 8));
	}
	len = b.len;
	for (b.len = 0; b.len < len; b.len++)
		assert_int_equal(sim_store(&s, s.m[0].group, &b), TD_ERR_MALFORMED);
	b.b[len] = 0;
	b.len = len + 1;
	assert_int_equal(sim_store(&s, s.m[0].group, &b), TD_ERR_MALFORMED);
	b.len = len;
	assert_int_equal(sim_store(&s, s.m[0].group, &b), TD_OK);
	sim_free(&s);
}

/* Every bit of the signatures of an Add: framing, key package, leaf. The outer ones are made good
 * again, so that the inner one has to be looked at. */
static void proposal_signatures(void **state)
{
	const struct mls_key_package *kp;
	struct mls_span sigs[2];
	uint8_t bytes[1024];
	struct sim_bytes b;
	struct sim s;
	struct wr w;
	size_t late;
	size_t i;
	size_t k;

	(void)state;
	sim_init(&s, 6);
	late = sim_add_member(&s);
	kp = &s.m[late].package->package;
	sigs[0] = kp->signature;
	sigs[1] = kp->leaf.signature;
	for (k = 0; k < 2; k++) {
		for (i = 0; i < 8 * sigs[k].len; i++) {
			size_t at = (size_t)(sigs[k].p - kp->raw.p) + i / 8;

			wr_init(&w, bytes, sizeof(bytes));
			wr_u16(&w, MLS_PROPOSAL_ADD);
			mls_wr_span(&w, kp->raw);
			bytes[2 + at] ^= (uint8_t)(1 << (i % 8));
			sim_external_proposal(&s, &b, mls_span(bytes, w.len), 0, 0);
			assert_int_equal(sim_store(&s, s.m[0].group, &b), TD_ERR_AUTH);
		}
	}
	assert_string_equal(s.cx.why, "leaf: signature does not verify");
	sim_add_proposal(&s, &b, late);
	for (i = 0; i < 8 * 70; i++) {
		b.b[b.len - 70 + i / 8] ^= (uint8_t)(1 << (i % 8));
		assert_int_equal(sim_store(&s, s.m[0].group, &b), TD_ERR_AUTH);
		b.b[b.len - 70 + i / 8] ^= (uint8_t)(1 << (i % 8));
	}
	assert_string_equal(s.cx.why, "proposal: signature does not verify");
	sim_free(&s);
}

/* Commits */

/* Frames `body`, a Commit, as member `by` would: signature and membership tag are right, the
 * confirmation tag is `tag`. */
static void frame_commit(struct sim *s, size_t by, struct mls_span body, struct mls_span tag,
	struct sim_bytes *out)
{
	const struct mls_group *g = s->m[by].group;
	struct mls_public_message m = { 0 };
	uint8_t membership[MLS_HASH_LEN];
	uint8_t sig[MLS_SIG_MAX];
	struct rd r;
	struct wr w;
	size_t len;

	wr_init(&w, out->b, sizeof(out->b));
	mls_message_head_write(&w, MLS_WIRE_PUBLIC_MESSAGE);
	mls_wr_vec(&w, g->context.group_id);
	wr_u64(&w, g->context.epoch);
	wr_u8(&w, MLS_SENDER_MEMBER);
	wr_u32(&w, g->own);
	mls_wr_varint(&w, 0);
	wr_u8(&w, MLS_CONTENT_COMMIT);
	mls_wr_span(&w, body);
	rd_init(&r, out->b + 4, w.len - 4);
	mls_framed_content_read(&r, &m.content);
	assert_true(rd_done(&r));
	assert_int_equal(mls_public_message_sign(&m.content, sig, &len, s->m[by].signature,
				 g->context.raw),
		0);
	m.signature = mls_span(sig, len);
	m.confirmation_tag = tag;
	mls_public_message_membership_tag(membership, &m, g->keys->epoch.membership_key,
		g->context.raw);
	mls_wr_vec(&w, m.signature);
	mls_wr_vec(&w, m.confirmation_tag);
	mls_wr_vec(&w, mls_span(membership, sizeof(membership)));
	assert_false(w.bad);
	out->len = w.len;
}

static int process_flags(struct sim *s, size_t who, struct mls_span message, unsigned flags)
{
	struct mls_group *before = s->m[who].group;
	struct mls_group *next = NULL;
	struct mls_commit_info info;
	int r;

	s->cx.why = "";
	r = mls_group_process(&s->cx, before, message, flags, &next, &info);
	if (r < 0)
		assert_null(next);
	mls_group_free(next);
	return r;
}

static int process(struct sim *s, size_t who, struct mls_span message)
{
	return process_flags(s, who, message, 0);
}

/* A commit with these proposals (content of the vector) and perhaps a path, its confirmation tag
 * 32 zeros: which is looked at last. */
static int process_forged(struct sim *s, size_t by, size_t who, struct mls_span proposals,
	struct mls_span path)
{
	static const uint8_t zeros[MLS_HASH_LEN];
	struct sim_bytes message;
	struct sim_bytes body;
	struct wr w;

	wr_init(&w, body.b, sizeof(body.b));
	mls_wr_vec(&w, proposals);
	wr_u8(&w, path.len > 0);
	mls_wr_span(&w, path);
	frame_commit(s, by, mls_span(body.b, w.len), mls_span(zeros, sizeof(zeros)), &message);
	return process(s, who, sim_span(&message));
}

static struct mls_span refs(struct sim *s, size_t who, uint8_t *out, size_t times)
{
	const struct mls_group *g = s->m[who].group;
	struct wr w;
	size_t i;

	wr_init(&w, out, 1024);
	while (times-- > 0) {
		for (i = 0; i < mls_group_n_proposals(g); i++) {
			wr_u8(&w, 2);
			mls_wr_vec(&w, mls_span(mls_group_proposal(g, i)->ref, MLS_HASH_LEN));
		}
	}
	assert_false(w.bad);
	return mls_span(out, w.len);
}

static void commit_proposals(void **state)
{
	static const uint8_t remove_committer[] = { 1, 0, 3, 0, 0, 0, 1 };
	static const uint8_t remove_twice[] = { 1, 0, 3, 0, 0, 0, 2, 1, 0, 3, 0, 0, 0, 2 };
	static const uint8_t remove_blank[] = { 1, 0, 3, 0, 0, 0, 6 };
	static const uint8_t remove[] = { 1, 0, 3, 0, 0, 0, 2 };
	static const uint8_t psk[] = { 1, 0, 4, 1, 0, 0 };
	const struct mls_span no_path = mls_span(NULL, 0);
	uint8_t list[1024];
	struct sim s;

	(void)state;
	sim_init(&s, 7);
	sim_grow(&s, 4);
	sim_propose_add(&s, sim_add_member(&s));

	assert_int_equal(process_forged(&s, 1, 0, refs(&s, 1, list, 1), no_path), TD_ERR_AUTH);
	assert_string_equal(s.cx.why, "commit: confirmation tag does not verify");
	assert_int_equal(process_forged(&s, 1, 0, refs(&s, 1, list, 2), no_path), TD_ERR_DUPLICATE);
	assert_string_equal(s.cx.why, "commit: the same reference twice");
	refs(&s, 1, list, 1);
	list[7] ^= 1;
	assert_int_equal(process_forged(&s, 1, 0, mls_span(list, 34), no_path), TD_ERR_NOKEY);
	assert_string_equal(s.cx.why, "commit: reference to an unknown proposal");
	list[1] = 31;
	assert_int_equal(process_forged(&s, 1, 0, mls_span(list, 33), no_path), TD_ERR_NOKEY);
	assert_int_equal(process_forged(&s, 1, 0, no_path, no_path), TD_ERR_MALFORMED);
	assert_string_equal(s.cx.why, "commit: has to have a path");
	assert_int_equal(process_forged(&s, 1, 0, mls_span(remove, 7), no_path), TD_ERR_MALFORMED);
	assert_string_equal(s.cx.why, "commit: has to have a path");
	assert_int_equal(process_forged(&s, 1, 0, mls_span(remove_committer, 7), no_path),
		TD_ERR_STATE);
	assert_string_equal(s.cx.why, "commit: removes its own sender");
	assert_int_equal(process_forged(&s, 1, 0, mls_span(remove_twice, 14), no_path),
		TD_ERR_MALFORMED);
	assert_string_equal(s.cx.why, "commit: removes no member, or one twice");
	assert_int_equal(process_forged(&s, 1, 0, mls_span(remove_blank, 7), no_path),
		TD_ERR_MALFORMED);
	assert_int_equal(process_forged(&s, 1, 0, mls_span(psk, sizeof(psk)), no_path),
		TD_ERR_UNSUPPORTED);
	assert_string_equal(s.cx.why, "proposal type refused: PreSharedKey");
	sim_agree(&s);
	sim_commit(&s, 3, 0);
	sim_free(&s);
}

/* The same client twice: a second key package of a member, without removing it. */
static void commit_adds_a_member_again(void **state)
{
	struct mls_own_commit *c;
	uint8_t list[1024];
	struct sim_bytes b;
	struct sim s;

	(void)state;
	sim_init(&s, 8);
	sim_grow(&s, 3);
	sim_new_package(&s, 2);
	sim_add_proposal(&s, &b, 2);
	sim_deliver(&s, &b);
	assert_int_equal(mls_group_commit(&s.cx, s.m[0].group, 0, &c), TD_ERR_DUPLICATE);
	assert_string_equal(s.cx.why, "tree: a signature key twice");
	assert_int_equal(process_forged(&s, 1, 0, refs(&s, 1, list, 1), mls_span(NULL, 0)),
		TD_ERR_DUPLICATE);
	sim_free(&s);
}

static void commit_by_value_can_be_refused(void **state)
{
	struct mls_own_commit *c;
	struct sim_bytes message;
	struct sim_bytes body;
	struct sim_bytes add;
	struct mls_group *next;
	struct sim s;
	struct wr w;
	struct rd r;
	size_t late;

	(void)state;
	sim_init(&s, 9);
	sim_grow(&s, 3);
	late = sim_add_member(&s);
	sim_add_proposal(&s, &add, late);
	/* Commit it by reference in one copy of the call, to know what the tag has to be. */
	assert_int_equal(sim_store(&s, s.m[1].group, &add), 0);
	c = sim_make_commit(&s, 1, 0);
	assert_int_equal(process(&s, 0, mls_span(c->message, c->message_len)), TD_ERR_NOKEY);
	mls_own_commit_free(c);

	wr_init(&w, body.b, sizeof(body.b));
	mls_wr_varint(&w, 3 + s.m[late].package->package.raw.len);
	wr_u8(&w, 1);
	wr_u16(&w, MLS_PROPOSAL_ADD);
	mls_wr_span(&w, s.m[late].package->package.raw);
	wr_u8(&w, 0);
	body.len = w.len;
	for (int round = 0; round < 2; round++) {
		static const uint8_t no_path_secret[MLS_HASH_LEN];
		struct mls_proposal_view view = mls_group_proposal(s.m[1].group, 0)->view;
		struct mls_change change = { .list = calloc(1, sizeof(view)), .n = 1 };
		struct mls_public_message m;
		uint8_t tag[MLS_HASH_LEN] = { 0 };
		uint8_t membership[MLS_HASH_LEN];

		/* The tag depends on the signature, so sign first, then compute both tags. */
		change.list[0] = view;
		frame_commit(&s, 1, sim_span(&body), mls_span(tag, sizeof(tag)), &message);
		assert_int_equal(mls_public_message_parse(&s.cx, sim_span(&message), &m), 0);
		assert_int_equal(mls_group_successor(s.m[1].group, &next), 0);
		assert_int_equal(mls_change_apply(&s.cx, &change, next, 1), 0);
		assert_int_equal(mls_group_advance(s.m[1].group, next, no_path_secret,
					 m.content.raw, m.signature),
			0);
		m.confirmation_tag = mls_span(next->confirmation_tag, MLS_HASH_LEN);
		mls_public_message_membership_tag(membership, &m,
			s.m[1].group->keys->epoch.membership_key, s.m[1].group->context.raw);
		memcpy(message.b + message.len - 33 - 32, next->confirmation_tag, 32);
		memcpy(message.b + message.len - 32, membership, 32);
		rd_init(&r, message.b, message.len);
		if (round == 0)
			assert_int_equal(process(&s, 0, sim_span(&message)), 0);
		else
			assert_int_equal(process_flags(&s, 0, sim_span(&message),
						 MLS_PROCESS_REFERENCES_ONLY),
				TD_ERR_MALFORMED);
		mls_group_free(next);
		mls_change_free(&change);
	}
	sim_free(&s);
}

/* A good commit with a path and one without: every bit of its tags and signature, one bit per byte
 * of the rest, every prefix, one byte more. */
static void commit_bytes(void **state)
{
	struct mls_own_commit *c;
	struct mls_public_message m;
	struct sim_bytes b;
	struct sim s;
	size_t i;

	(void)state;
	for (int path = 0; path < 2; path++) {
		sim_init(&s, 30);
		sim_grow(&s, 3);
		if (path)
			sim_propose_remove(&s, 2);
		else
			sim_propose_add(&s, sim_add_member(&s));
		c = sim_make_commit(&s, 1, 0);
		memcpy(b.b, c->message, c->message_len);
		b.len = c->message_len;
		assert_int_equal(mls_public_message_parse(&s.cx, sim_span(&b), &m), 0);
		for (i = 0; i < 8 * b.len; i++) {
			if (b.b + i / 8 < m.signature.p && i % 8 != (i / 8) % 8)
				continue;
			b.b[i / 8] ^= (uint8_t)(1 << (i % 8));
			assert_int_not_equal(process(&s, 0, sim_span(&b)), 0);
			b.b[i / 8] ^= (uint8_t)(1 << (i % 8));
		}
		for (i = 0; i < b.len; i++)
			assert_int_equal(process(&s, 0, mls_span(b.b, i)), TD_ERR_MALFORMED);
		b.b[b.len] = 0;
		assert_int_equal(process(&s, 0, mls_span(b.b, b.len + 1)), TD_ERR_MALFORMED);
		assert_int_equal(process(&s, 1, sim_span(&b)), TD_ERR_STATE); /* our own */
		sim_announce(&s, 1, c);
		assert_int_equal(process(&s, 0, sim_span(&b)), TD_ERR_STATE); /* once more */
		sim_free(&s);
	}
}

/* Signed by another member, and tagged so that all can see a member did it. */
static void commit_of_an_impostor(void **state)
{
	uint8_t own[MLS_PRIV_LEN];
	uint8_t list[1024];
	struct sim s;

	(void)state;
	sim_init(&s, 34);
	sim_grow(&s, 2);
	sim_propose_add(&s, sim_add_member(&s));
	memcpy(own, s.m[1].signature, sizeof(own));
	memcpy(s.m[1].signature, s.m[2].signature, sizeof(own));
	assert_int_equal(process_forged(&s, 1, 0, refs(&s, 1, list, 1), mls_span(NULL, 0)),
		TD_ERR_AUTH);
	assert_string_equal(s.cx.why, "commit: signature does not verify");
	memcpy(s.m[1].signature, own, sizeof(own));
	sim_free(&s);
}

/* Signed and tagged anew by its sender, so that what is behind these is reached. */
static int process_resigned(struct sim *s, size_t by, size_t who, struct sim_bytes *b)
{
	struct mls_public_message m;
	struct sim_bytes again;
	struct rd r;

	rd_init(&r, b->b + 4, b->len - 4);
	mls_public_message_read(&r, &m);
	if (!rd_done(&r))
		return TD_ERR_MALFORMED;
	frame_commit(s, by, m.content.body, m.confirmation_tag, &again);
	return process(s, who, sim_span(&again));
}

static void flip_all(struct sim *s, struct sim_bytes *b, struct mls_span where, int want,
	const char *why)
{
	size_t i;

	for (i = 0; i < 8 * where.len; i++) {
		size_t at = (size_t)(where.p - b->b) + i / 8;

		b->b[at] ^= (uint8_t)(1 << (i % 8));
		if (want == 0)
			assert_int_not_equal(process_resigned(s, 1, 0, b), 0);
		else
			assert_int_equal(process_resigned(s, 1, 0, b), want);
		if (why != NULL)
			assert_string_equal(s->cx.why, why);
		b->b[at] ^= (uint8_t)(1 << (i % 8));
	}
}

static void commit_path(void **state)
{
	struct mls_hpke_ciphertext sealed;
	struct mls_update_path *path;
	struct mls_public_message m;
	struct mls_path_node node;
	struct mls_own_commit *c;
	struct sim_bytes b;
	struct rd nodes;
	struct sim s;
	struct rd r;

	(void)state;
	sim_init(&s, 31);
	sim_grow(&s, 3);
	sim_propose_remove(&s, 3);
	c = sim_make_commit(&s, 1, 0);
	memcpy(b.b, c->message, c->message_len);
	b.len = c->message_len;
	mls_own_commit_free(c);
	assert_int_equal(mls_public_message_parse(&s.cx, sim_span(&b), &m), 0);
	path = &m.content.commit.path;
	rd_init(&nodes, path->nodes.p, path->nodes.len);
	assert_true(mls_path_node_next(&nodes, &node));
	assert_int_equal(node.n_ciphertexts, 1); /* for leaf 0 */
	rd_init(&r, node.ciphertexts.p, node.ciphertexts.len);
	mls_hpke_ciphertext_read(&r, &sealed);

	/* The parts are good but for the confirmation tag, which knows the first signature. */
	assert_int_equal(process_resigned(&s, 1, 0, &b), TD_ERR_AUTH);
	assert_string_equal(s.cx.why, "commit: confirmation tag does not verify");
	flip_all(&s, &b, path->leaf.signature, TD_ERR_AUTH, "leaf: signature does not verify");
	flip_all(&s, &b, path->leaf.parent_hash, TD_ERR_AUTH, "leaf: signature does not verify");
	flip_all(&s, &b, path->leaf.identity, TD_ERR_MALFORMED,
		"path: identity or signature key changed");
	flip_all(&s, &b, path->leaf.signature_key, TD_ERR_MALFORMED,
		"path: identity or signature key changed");
	flip_all(&s, &b, path->leaf.encryption_key, 0, NULL);
	flip_all(&s, &b, node.key, TD_ERR_MALFORMED, "path: a key is no point on the curve");
	flip_all(&s, &b, sealed.ciphertext, TD_ERR_AUTH, "path: secret does not open");
	flip_all(&s, &b, sealed.kem_output, TD_ERR_MALFORMED, "path: secret does not open");
	sim_free(&s);
}

/* Paths that are well signed, and wrong. `spoil` works on the committer's side of the making. */
struct spoiled {
	const char *why;
	int want;
	void (*spoil)(struct sim *s, struct mls_group *next, struct mls_own_path *path);
};

static void other_secret(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	(void)s;
	(void)next;
	path->secret[0][0] ^= 1;
}

static void reused_key(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	struct mls_span key = s->m[0].package->package.leaf.encryption_key;

	assert_int_equal(mls_tree_set_parent(&next->tree, path->path.node[0], key), 0);
}

static void one_node_less(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	(void)s;
	(void)next;
	path->path.n--;
}

static void other_parent(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	uint8_t priv[MLS_PRIV_LEN];
	uint8_t pub[MLS_PUB_LEN];

	assert_int_equal(mls_hpke_generate(&s->cx, priv, pub), 0);
	assert_int_equal(mls_tree_set_parent(&next->tree, path->path.node[0],
				 mls_span(pub, sizeof(pub))),
		0);
}

static void one_receiver_less(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	(void)s;
	path->path.copath[1] = mls_left(path->path.copath[1]);
	(void)next;
}

static void commit_path_spoiled(void **state)
{
	static const struct spoiled rows[] = {
		{ "path: secret does not fit its node", TD_ERR_AUTH, other_secret },
		{ "path: a key the tree has already", TD_ERR_DUPLICATE, reused_key },
		{ "path: wrong number of nodes", TD_ERR_MALFORMED, one_node_less },
		{ "path: parent hash of the leaf does not fit", TD_ERR_AUTH, other_parent },
		{ "path: wrong number of ciphertexts", TD_ERR_MALFORMED, one_receiver_less },
	};
	struct mls_own_path *path;
	struct mls_group *next;
	struct mls_group *g;
	uint8_t bytes[8192];
	struct sim s;
	struct wr w;
	size_t i;

	(void)state;
	sim_init(&s, 32);
	sim_grow(&s, 3);
	g = s.m[1].group;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		path = mls_secret_new(sizeof(*path));
		assert_int_equal(mls_group_successor(g, &next), 0);
		assert_int_equal(mls_path_make(&s.cx, &next->tree, 1, g->context.group_id,
					 s.m[1].signature, &next->keys->tree, path),
			0);
		rows[i].spoil(&s, next, path);
		struct mls_group_context c = g->context;
		c.epoch++;
		assert_int_equal(mls_group_set_context(next, &c), 0);
		wr_init(&w, bytes, sizeof(bytes));
		assert_int_equal(mls_path_write(&s.cx, &w, &next->tree, 1, NULL, next->context.raw,
					 path),
			0);
		assert_int_equal(process_forged(&s, 1, 0, mls_span(NULL, 0),
					 mls_span(bytes, w.len)),
			rows[i].want);
		assert_string_equal(s.cx.why, rows[i].why);
		mls_group_free(next);
		mls_secret_free(path);
	}
	sim_free(&s);
}

static void own_commit_refusals(void **state)
{
	struct mls_own_commit *c;
	struct sim s;

	(void)state;
	sim_init(&s, 33);
	sim_grow(&s, 2);
	assert_int_equal(mls_group_commit(&s.cx, s.m[0].group, 0, &c), TD_ERR_STATE);
	assert_string_equal(s.cx.why, "commit: no proposals");
	sim_propose_remove(&s, 0);
	assert_int_equal(mls_group_commit(&s.cx, s.m[0].group, 0, &c), TD_ERR_STATE);
	assert_string_equal(s.cx.why, "commit: removes its own sender");
	sim_commit(&s, 1, 0);
	sim_free(&s);
}

/* Welcomes */

static int join(struct sim *s, size_t who, struct mls_span welcome)
{
	struct mls_group *g = NULL;
	int r;

	s->cx.why = "";
	r = mls_group_join(&s->cx, &g, s->m[who].package, welcome, NULL);
	if (r < 0)
		assert_null(g);
	mls_group_free(g);
	return r;
}

static void welcome_bytes(void **state)
{
	struct mls_own_commit *c;
	struct sim_bytes b;
	struct sim s;
	size_t late;
	size_t other;
	size_t i;

	(void)state;
	sim_init(&s, 40);
	sim_grow(&s, 2);
	late = sim_add_member(&s);
	other = sim_add_member(&s);
	sim_propose_add(&s, late);
	c = sim_make_commit(&s, 1, MLS_COMMIT_FORCE_PATH);
	b.len = c->welcome_len;
	memcpy(b.b, c->welcome, b.len);
	for (i = 0; i < b.len; i++) {
		b.b[i] ^= (uint8_t)(1 << (i % 8));
		assert_int_not_equal(join(&s, late, sim_span(&b)), 0);
		b.b[i] ^= (uint8_t)(1 << (i % 8));
	}
	for (i = 0; i < b.len; i++)
		assert_int_equal(join(&s, late, mls_span(b.b, i)), TD_ERR_MALFORMED);
	b.b[b.len] = 0;
	assert_int_equal(join(&s, late, mls_span(b.b, b.len + 1)), TD_ERR_MALFORMED);
	assert_int_equal(join(&s, other, sim_span(&b)), TD_ERR_NOKEY);
	assert_int_equal(join(&s, late, sim_span(&b)), 0);
	memmove(b.b + 4, b.b, b.len); /* as an MLSMessage */
	memcpy(b.b, "\0\1\0\3", 4);
	b.len += 4;
	assert_int_equal(join(&s, late, sim_span(&b)), 0);
	mls_own_commit_free(c);
	sim_free(&s);
}

static void welcome_secrets(void **state)
{
	struct mls_welcome_view view;
	struct mls_own_commit *c;
	struct sim_bytes b;
	struct sim s;
	struct rd r;
	struct wr w;
	size_t late;

	(void)state;
	sim_init(&s, 42);
	late = sim_add_member(&s);
	sim_propose_add(&s, late);
	c = sim_make_commit(&s, 0, 0);
	rd_init(&r, c->welcome, c->welcome_len);
	mls_welcome_read(&r, &view);
	assert_true(rd_done(&r));

	wr_init(&w, b.b, sizeof(b.b)); /* ours twice */
	wr_u16(&w, MLS_SUITE);
	mls_wr_varint(&w, 2 * view.secrets.len);
	mls_wr_span(&w, view.secrets);
	mls_wr_span(&w, view.secrets);
	mls_wr_vec(&w, view.encrypted_group_info);
	assert_int_equal(join(&s, late, mls_span(b.b, w.len)), TD_ERR_DUPLICATE);

	view.suite = 3;
	wr_init(&w, b.b, sizeof(b.b));
	mls_welcome_write(&w, &view);
	assert_int_equal(join(&s, late, mls_span(b.b, w.len)), TD_ERR_UNSUPPORTED);
	assert_string_equal(s.cx.why, "welcome: other suite");
	mls_own_commit_free(c);
	sim_free(&s);
}

/* A Welcome of our own making: these group secrets, and this GroupInfo. */
static int join_made(struct sim *s, size_t who, struct mls_span psks, struct mls_span info,
	const struct mls_epoch *e)
{
	struct mls_group_secrets secrets = {
		.joiner_secret = mls_span(e->joiner, MLS_HASH_LEN),
		.psks = psks,
	};
	const struct mls_own_package *own = s->m[who].package;
	uint8_t nonce[MLS_AEAD_NONCE_LEN];
	uint8_t key[MLS_AEAD_KEY_LEN];
	uint8_t kem_output[MLS_PUB_LEN];
	struct sim_bytes welcome;
	uint8_t sealed_secrets[256];
	uint8_t sealed[1024];
	uint8_t plain[200];
	size_t mark;
	struct wr p;
	struct wr w;

	mls_welcome_key(e, key, nonce);
	assert_int_equal(mls_aead_seal(sealed, key, nonce, info), 0);
	wr_init(&p, plain, sizeof(plain));
	mls_group_secrets_write(&p, &secrets);
	assert_int_equal(mls_encrypt_with_label(&s->cx, kem_output, sealed_secrets,
				 own->package.init_key, "Welcome",
				 mls_span(sealed, info.len + MLS_AEAD_TAG_LEN),
				 mls_span(plain, p.len)),
		0);
	wr_init(&w, welcome.b, sizeof(welcome.b));
	wr_u16(&w, MLS_SUITE);
	mark = mls_wr_open(&w);
	mls_wr_vec(&w, mls_span(own->ref, MLS_HASH_LEN));
	mls_wr_vec(&w, mls_span(kem_output, sizeof(kem_output)));
	mls_wr_vec(&w, mls_span(sealed_secrets, p.len + MLS_AEAD_TAG_LEN));
	mls_wr_close(&w, mark);
	mls_wr_vec(&w, mls_span(sealed, info.len + MLS_AEAD_TAG_LEN));
	return join(s, who, mls_span(welcome.b, w.len));
}

static void welcome_of_another_kind(void **state)
{
	static const uint8_t psk[] = { 1, 1, 0xaa, 1, 0xbb };
	struct mls_group_info info = { .signer = 0 };
	struct mls_epoch e = { .joiner = { 7 } };
	uint8_t bytes[512];
	struct sim s;
	struct wr w;
	size_t late;

	(void)state;
	sim_init(&s, 43);
	late = sim_add_member(&s);
	mls_schedule_welcome(&e, NULL);
	info.context = s.m[0].group->context;
	info.confirmation_tag = mls_span(s.m[0].group->confirmation_tag, MLS_HASH_LEN);
	wr_init(&w, bytes, sizeof(bytes));
	mls_group_info_write(&w, &info);
	assert_int_equal(join_made(&s, late, mls_span(NULL, 0), mls_span(bytes, w.len), &e),
		TD_ERR_UNSUPPORTED);
	assert_string_equal(s.cx.why, "welcome: without a ratchet tree");
	assert_int_equal(join_made(&s, late, mls_span(psk, sizeof(psk)), mls_span(bytes, w.len),
				 &e),
		TD_ERR_UNSUPPORTED);
	assert_string_equal(s.cx.why, "welcome refused: pre-shared keys");
	info.context.suite = 1;
	wr_init(&w, bytes, sizeof(bytes));
	mls_group_info_write(&w, &info);
	assert_int_equal(join_made(&s, late, mls_span(NULL, 0), mls_span(bytes, w.len), &e),
		TD_ERR_UNSUPPORTED);
	assert_string_equal(s.cx.why, "welcome: other version or suite");
	sim_free(&s);
}

/* Two leaves of one user: fine for the RFC, for the caller to find. */
static void identity_twice(void **state)
{
	struct mls_own_commit *c;
	struct sim s;
	size_t late;

	(void)state;
	sim_init(&s, 44);
	sim_grow(&s, 2);
	assert_int_equal(mls_group_check_identities(&s.cx, s.m[0].group), 0);
	late = sim_add_member(&s);
	s.m[late].user = s.m[1].user;
	sim_new_package(&s, late);
	sim_propose_add(&s, late);
	c = sim_make_commit(&s, 0, 0);
	assert_int_equal(mls_group_check_identities(&s.cx, c->next), TD_ERR_DUPLICATE);
	mls_own_commit_free(c);
	sim_free(&s);
}

/* Welcomes of a member that lies: what it seals is consistent but for one thing. */
struct lie {
	const char *why;
	int want;
	void (*tell)(struct sim *s, struct mls_group *next, struct mls_own_path *path);
};

static void refresh(struct mls_group *g)
{
	struct mls_group_context c = g->context;

	assert_int_equal(mls_group_set_context(g, &c), 0);
	mls_schedule_welcome(&g->keys->epoch, NULL);
	mls_schedule_epoch(&g->keys->epoch, NULL, g->context.raw);
	mls_group_confirm(g);
}

static void lie_nothing(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	(void)s;
	(void)path;
	refresh(next);
}

static void lie_tag(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	(void)s;
	(void)path;
	next->confirmation_tag[31] ^= 0x80;
}

static void lie_signature(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	(void)path;
	memcpy(next->keys->signature, s->m[0].signature, MLS_PRIV_LEN);
}

static void lie_signer(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	(void)s;
	(void)path;
	next->own = 7;
}

static void lie_tree_hash(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	(void)s;
	(void)path;
	next->context_bytes[next->context.tree_hash.p - next->context_bytes] ^= 1;
}

static void lie_leaf(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	struct mls_leaf *l;
	struct sim_bytes b;

	(void)s;
	(void)path;
	/* The signer's own leaf: any other is covered by a parent hash, which is looked at first.
	 */
	b.len = next->tree.nodes[2].leaf->node.raw.len;
	memcpy(b.b, next->tree.nodes[2].leaf->node.raw.p, b.len);
	b.b[b.len - 1] ^= 1; /* its signature */
	assert_int_equal(mls_leaf_new(&l, sim_span(&b)), 0);
	mls_tree_set_leaf(&next->tree, 1, l);
	mls_leaf_unref(l);
	refresh(next);
}

static void lie_parent_hash(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	(void)s;
	next->tree.nodes[path->path.node[0]].parent->hash[3] ^= 1;
	refresh(next);
}

static void lie_parent_key(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	(void)s;
	next->tree.nodes[path->path.node[0]].parent->key[3] ^= 1;
	refresh(next);
}

static void unmerged(struct mls_parent *p, uint32_t leaf)
{
	p->unmerged = realloc(p->unmerged, sizeof(uint32_t));
	p->unmerged[0] = leaf;
	p->n_unmerged = 1;
}

static void lie_unmerged_outside(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	(void)s;
	unmerged(next->tree.nodes[path->path.node[0]].parent, 3);
	refresh(next);
}

static void lie_unmerged_blank(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	(void)s;
	unmerged(next->tree.nodes[path->path.node[path->path.n - 1]].parent, 6);
	refresh(next);
}

static void lie_unmerged_between(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	(void)s;
	/* Unmerged at the root, and not at the parent that stands between. */
	unmerged(next->tree.nodes[path->path.node[path->path.n - 1]].parent, 0);
	refresh(next);
}

/* A leaf unmerged at one parent and not at the next: struck from the hash of the one, and in the
 * way only of the other's resolution. */
static void lie_unmerged_above(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	struct mls_leaf *l;

	assert_int_equal(path->path.node[1], 3);
	assert_null(mls_tree_leaf(&next->tree, 3));
	sim_new_package(s, 2);
	assert_int_equal(mls_leaf_new(&l, s->m[2].package->package.leaf.raw), 0);
	mls_tree_set_leaf(&next->tree, 3, l);
	mls_leaf_unref(l);
	unmerged(next->tree.nodes[3].parent, 3);
	refresh(next);
}

static void lie_twin(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	struct mls_span raw;
	struct mls_leaf *l;

	(void)s;
	(void)path;
	mls_tree_blank_path(&next->tree, 1); /* or parent hashes would tell first */
	raw = next->tree.nodes[0].leaf->node.raw;
	assert_int_equal(mls_leaf_new(&l, raw), 0);
	mls_tree_set_leaf(&next->tree, 3, l);
	mls_leaf_unref(l);
	refresh(next);
}

static void lie_absent(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	uint32_t leaf;

	(void)path;
	assert_true(mls_group_find(next, sim_identity(&s->m[5].user), &leaf));
	assert_int_equal(mls_tree_remove(&next->tree, leaf), 0);
	refresh(next);
}

static void lie_path_secret(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	unsigned i;

	(void)s;
	(void)next;
	for (i = 0; i <= path->path.n; i++)
		path->secret[i][0] ^= 1;
}

static void lie_joiner(struct sim *s, struct mls_group *next, struct mls_own_path *path)
{
	(void)s;
	(void)path;
	next->keys->epoch.joiner[0] ^= 1;
}

static void welcome_lies(void **state)
{
	static const struct lie rows[] = {
		{ NULL, TD_OK, lie_nothing },
		{ "welcome: confirmation tag does not verify", TD_ERR_AUTH, lie_tag },
		{ "welcome: signature does not verify", TD_ERR_AUTH, lie_signature },
		{ "welcome: signer is no member", TD_ERR_MALFORMED, lie_signer },
		{ "welcome: tree hash does not fit", TD_ERR_AUTH, lie_tree_hash },
		{ "leaf: signature does not verify", TD_ERR_AUTH, lie_leaf },
		{ "tree: parent hash does not verify", TD_ERR_AUTH, lie_parent_hash },
		{ "tree: parent hash does not verify", TD_ERR_AUTH, lie_parent_key },
		{ "tree: impossible unmerged leaves", TD_ERR_MALFORMED, lie_unmerged_outside },
		{ "tree: impossible unmerged leaves", TD_ERR_MALFORMED, lie_unmerged_blank },
		{ "tree: impossible unmerged leaves", TD_ERR_MALFORMED, lie_unmerged_between },
		{ "tree: parent hash does not verify", TD_ERR_AUTH, lie_unmerged_above },
		{ "tree: an encryption key twice", TD_ERR_DUPLICATE, lie_twin },
		{ "welcome: our leaf is not in the tree", TD_ERR_MALFORMED, lie_absent },
		{ "path: secret does not fit its node", TD_ERR_AUTH, lie_path_secret },
		{ "welcome: group info does not open", TD_ERR_AUTH, lie_joiner },
	};
	struct mls_own_path *path;
	struct mls_change change;
	struct mls_group *next;
	struct mls_group *g;
	struct sim_bytes add;
	uint8_t *welcome;
	size_t len;
	struct sim s;
	size_t i;

	(void)state;
	sim_init(&s, 41);
	sim_grow(&s, 4);
	sim_propose_remove(&s, 2);
	sim_propose_remove(&s, 3);
	sim_commit(&s, 1, 0);
	sim_add_member(&s); /* 5 is to join, at leaf 2 */
	sim_add_proposal(&s, &add, 5);
	g = s.m[1].group;
	assert_int_equal(sim_store(&s, g, &add), 0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(&change, 0, sizeof(change));
		change.list = calloc(1, sizeof(*change.list));
		change.list[0] = mls_group_proposal(g, 0)->view;
		change.n = 1;
		path = mls_secret_new(sizeof(*path));
		assert_int_equal(mls_group_successor(g, &next), 0);
		assert_int_equal(mls_change_apply(&s.cx, &change, next, 1), 0);
		assert_int_equal(mls_path_make(&s.cx, &next->tree, 1, g->context.group_id,
					 s.m[1].signature, &next->keys->tree, path),
			0);
		assert_int_equal(mls_group_advance(g, next, path->secret[path->path.n],
					 mls_span("content", 7), mls_span("signature", 9)),
			0);
		rows[i].tell(&s, next, path);
		assert_int_equal(mls_welcome_make(&s.cx, next, &change, path, &welcome, &len), 0);
		/* The welcome key follows the joiner secret, except where that is the lie. */
		assert_int_equal(join(&s, 5, mls_span(welcome, len)), rows[i].want);
		if (rows[i].why != NULL)
			assert_string_equal(s.cx.why, rows[i].why);
		free(welcome);
		mls_group_free(next);
		mls_change_free(&change);
		mls_secret_free(path);
	}
	sim_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(proposal_table),
		cmocka_unit_test(proposal_update_is_named),
		cmocka_unit_test(proposal_sender_and_epoch),
		cmocka_unit_test(proposal_of_an_old_epoch_is_not_stored),
		cmocka_unit_test(store_is_bounded),
		cmocka_unit_test(proposal_bytes),
		cmocka_unit_test(proposal_signatures),
		cmocka_unit_test(commit_proposals),
		cmocka_unit_test(commit_adds_a_member_again),
		cmocka_unit_test(commit_by_value_can_be_refused),
		cmocka_unit_test(commit_bytes),
		cmocka_unit_test(commit_of_an_impostor),
		cmocka_unit_test(commit_path),
		cmocka_unit_test(commit_path_spoiled),
		cmocka_unit_test(own_commit_refusals),
		cmocka_unit_test(welcome_bytes),
		cmocka_unit_test(welcome_secrets),
		cmocka_unit_test(welcome_of_another_kind),
		cmocka_unit_test(identity_twice),
		cmocka_unit_test(welcome_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
