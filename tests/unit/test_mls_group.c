/* SPDX-License-Identifier: ISC */
/* Groups of up to 50 members, all on our own code: what must work. */
#include "tests/unit/mls_sim.h"

static void grows_to_fifty_and_shrinks(void **state)
{
	static const size_t batches[] = { 1, 1, 2, 5, 8, 16, 16 };
	struct sim s;
	size_t i;
	size_t k;

	(void)state;
	sim_init(&s, 1);
	for (i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
		for (k = 0; k < batches[i]; k++)
			sim_propose_add(&s, sim_add_member(&s));
		sim_commit(&s, sim_pick_member(&s), 0);
	}
	assert_int_equal(mls_group_n_members(sim_any(&s)), 50);
	assert_int_equal(mls_group_n_leaves(sim_any(&s)), 64);

	/* From the right, in gulps; the tree halves whenever its right half is empty. */
	for (i = 50; i > 3; i -= k) {
		for (k = 0; k < 9 && i - k > 3; k++)
			sim_propose_remove(&s, i - 1 - k);
		sim_commit(&s, sim_pick(&s, 3), 0);
	}
	assert_int_equal(mls_group_n_members(sim_any(&s)), 3);
	assert_int_equal(mls_group_n_leaves(sim_any(&s)), 4);
	sim_free(&s);
}

static void random_churn(void **state)
{
	struct sim s;
	size_t epoch;
	size_t i;

	(void)state;
	for (uint64_t seed = 10; seed < 14; seed++) {
		sim_init(&s, seed);
		for (i = 0; i < 11; i++)
			sim_add_member(&s);
		for (epoch = 0; epoch < 40; epoch++) {
			size_t by = sim_pick_member(&s);
			size_t changes = 0;

			for (i = 0; i < s.n; i++) {
				if (i == by || sim_pick(&s, 4) != 0)
					continue;
				if (s.m[i].group != NULL && sim_pick(&s, 2) == 0) {
					sim_propose_remove(&s, i);
				} else if (s.m[i].group == NULL) {
					sim_new_package(&s, i);
					sim_propose_add(&s, i);
				} else {
					continue;
				}
				changes++;
			}
			sim_commit(&s, by,
				changes == 0 || sim_pick(&s, 3) == 0 ? MLS_COMMIT_FORCE_PATH : 0);
		}
		sim_free(&s);
	}
}

/* Remove and Add of the same client in one commit, its signature key unchanged: a client that
 * could not follow is brought back like this. The two come in any order. */
static void readds_in_one_commit(void **state)
{
	struct sim_bytes remove;
	struct sim_bytes add;
	struct sim s;

	(void)state;
	for (int order = 0; order < 2; order++) {
		sim_init(&s, 20);
		sim_grow(&s, 4);
		mls_group_free(s.m[2].group);
		s.m[2].group = NULL;
		sim_new_package(&s, 2);
		sim_remove_proposal(&s, &remove, sim_leaf(&s, 2));
		sim_add_proposal(&s, &add, 2);
		sim_deliver(&s, order == 0 ? &remove : &add);
		sim_deliver(&s, order == 0 ? &add : &remove);
		sim_commit(&s, 3, 0);
		assert_non_null(s.m[2].group);
		assert_int_equal(mls_group_own_leaf(s.m[2].group), 2);
		sim_free(&s);
	}
}

static void blank_leaf_is_taken_again(void **state)
{
	struct sim s;
	size_t late;

	(void)state;
	sim_init(&s, 21);
	sim_grow(&s, 6);
	sim_propose_remove(&s, 3);
	sim_commit(&s, 1, 0);
	assert_null(mls_group_member(sim_any(&s), 3));
	late = sim_add_member(&s);
	sim_propose_add(&s, late);
	sim_commit(&s, 5, 0);
	assert_int_equal(mls_group_own_leaf(s.m[late].group), 3);
	assert_int_equal(mls_group_n_leaves(sim_any(&s)), 8);
	sim_free(&s);
}

/* Everybody commits, one is announced, an earlier one of its sender's at that. */
static void commit_race(void **state)
{
	struct mls_own_commit *c[5];
	struct mls_own_commit *early;
	struct sim s;
	size_t late;
	size_t i;

	(void)state;
	sim_init(&s, 22);
	sim_grow(&s, 4);
	late = sim_add_member(&s);
	sim_propose_add(&s, late);
	early = sim_make_commit(&s, 1, 0);
	sim_propose_remove(&s, 3);
	for (i = 0; i < 5; i++)
		c[i] = i == 3 ? NULL : sim_make_commit(&s, i, 0);
	/* The gateway took the one made before the Remove was proposed. */
	for (i = 0; i < 5; i++)
		mls_own_commit_free(c[i]);
	sim_announce(&s, 1, early);
	assert_non_null(s.m[late].group);
	assert_non_null(s.m[3].group);
	assert_int_equal(mls_group_n_proposals(s.m[0].group), 0);
	sim_propose_remove(&s, 3);
	sim_commit(&s, late, 0);
	sim_free(&s);
}

/* How a call begins: two are alone in groups of their own with the same id, each is asked to add
 * the other, one commit is announced. Its maker adopts it, the other drops its group and joins. */
static void both_begin_a_group(void **state)
{
	struct mls_own_commit *c[2];
	struct sim_bytes add[2];
	struct mls_group *joined;
	struct sim s;
	size_t i;

	(void)state;
	sim_init(&s, 31);
	sim_add_member(&s);
	assert_int_equal(mls_group_new(&s.cx, &s.m[1].group, s.m[1].package,
				 mls_span(sim_group_id, sizeof(sim_group_id)),
				 mls_span(s.extensions, s.extensions_len)),
		0);
	assert_memory_not_equal(mls_group_authenticator(s.m[0].group),
		mls_group_authenticator(s.m[1].group), 32);
	for (i = 0; i < 2; i++)
		sim_add_proposal(&s, &add[i], 1 - i);
	for (i = 0; i < 2; i++) {
		assert_int_equal(sim_store(&s, s.m[i].group, &add[i]), 0);
		c[i] = sim_make_commit(&s, i, 0);
		assert_int_equal(mls_group_own_leaf(s.m[i].group), 0);
	}
	/* Foreign bytes at leaf 0 of the same epoch: no match for our own commit. */
	assert_int_not_equal(c[0]->message_len == c[1]->message_len &&
			memcmp(c[0]->message, c[1]->message, c[0]->message_len) == 0,
		1);
	assert_int_equal(mls_group_join(&s.cx, &joined, s.m[0].package,
				 mls_span(c[1]->welcome, c[1]->welcome_len), NULL),
		0);
	mls_group_free(s.m[0].group);
	s.m[0].group = joined;
	mls_group_free(s.m[1].group);
	s.m[1].group = c[1]->next;
	c[1]->next = NULL;
	sim_agree(&s);
	assert_int_equal(mls_group_own_leaf(s.m[0].group), 1);
	assert_int_equal(mls_group_epoch(s.m[0].group), 1);
	for (i = 0; i < 2; i++)
		mls_own_commit_free(c[i]);
	sim_propose_remove(&s, 1);
	sim_commit(&s, 0, 0);
	sim_free(&s);
}

/* Joining with and without a path secret, and what can be opened with it afterwards. */
static void welcome_with_path_secret(void **state)
{
	struct sim s;
	size_t late;

	(void)state;
	sim_init(&s, 23);
	sim_grow(&s, 5);
	late = sim_add_member(&s);
	sim_propose_add(&s, late);
	sim_commit(&s, 2, MLS_COMMIT_FORCE_PATH);
	assert_true(s.m[late].group->keys->tree.have != 0);
	/* A path node above the newcomer is used for sealing now: it has to have its key. */
	sim_commit(&s, 0, MLS_COMMIT_FORCE_PATH);
	sim_commit(&s, late, MLS_COMMIT_FORCE_PATH);

	late = sim_add_member(&s);
	sim_propose_add(&s, late);
	sim_commit(&s, 2, 0);
	assert_true(s.m[late].group->keys->tree.have == 0);
	sim_commit(&s, 0, MLS_COMMIT_FORCE_PATH);
	sim_free(&s);
}

/* Leaves that a commit adds get their secret in the Welcome and no ciphertext in the path. */
static void newcomers_get_no_ciphertext(void **state)
{
	static const uint32_t want[] = { 1, 0 }; /* for leaf 0; for the other half, all new */
	struct mls_public_message m;
	struct mls_path_node node;
	struct mls_own_commit *c;
	struct sim s;
	struct rd r;
	size_t i;

	(void)state;
	sim_init(&s, 30);
	sim_grow(&s, 1);
	sim_propose_add(&s, sim_add_member(&s));
	sim_propose_add(&s, sim_add_member(&s));
	c = sim_make_commit(&s, 1, MLS_COMMIT_FORCE_PATH);
	assert_int_equal(mls_public_message_parse(&s.cx, mls_span(c->message, c->message_len), &m),
		0);
	rd_init(&r, m.content.commit.path.nodes.p, m.content.commit.path.nodes.len);
	for (i = 0; mls_path_node_next(&r, &node); i++)
		assert_int_equal(node.n_ciphertexts, want[i]);
	assert_int_equal(i, 2);
	sim_announce(&s, 1, c);
	sim_free(&s);
}

/* Newcomers are unmerged below nodes whose keys they never got: they open with their leaf's. */
static void unmerged_leaves(void **state)
{
	const struct mls_parent *root;
	struct sim s;
	size_t i;

	(void)state;
	sim_init(&s, 24);
	sim_grow(&s, 5);
	for (i = 0; i < 6; i++)
		sim_commit(&s, i, MLS_COMMIT_FORCE_PATH); /* now all parents have keys */
	sim_propose_add(&s, sim_add_member(&s));
	sim_commit(&s, 1, 0);
	root = sim_any(&s)->tree.nodes[7].parent;
	assert_non_null(root);
	assert_int_equal(root->n_unmerged, 1);
	assert_int_equal(root->unmerged[0], 6);
	sim_propose_add(&s, sim_add_member(&s));
	sim_commit(&s, 6, 0);
	root = sim_any(&s)->tree.nodes[7].parent;
	assert_int_equal(root->n_unmerged, 2);
	assert_int_equal(root->unmerged[0], 6);
	assert_int_equal(root->unmerged[1], 7);
	sim_commit(&s, 0, MLS_COMMIT_FORCE_PATH); /* the resolution of their half has them apart */
	sim_propose_add(&s, sim_add_member(&s));  /* and a join has to accept such a tree */
	sim_propose_remove(&s, 2);
	sim_commit(&s, 7, 0);
	sim_free(&s);
}

static void alone_again(void **state)
{
	struct sim s;

	(void)state;
	sim_init(&s, 25);
	sim_grow(&s, 2);
	sim_propose_remove(&s, 0);
	sim_propose_remove(&s, 1);
	sim_commit(&s, 2, 0); /* from leaf 2 of 4, all others gone: the path is empty */
	assert_int_equal(mls_group_n_leaves(s.m[2].group), 4);
	sim_propose_add(&s, 0);
	s.m[0].group = NULL;
	sim_commit(&s, 2, 0);
	assert_int_equal(mls_group_own_leaf(s.m[0].group), 0);
	sim_free(&s);
}

/* A member's own proposal, as a message and by value. */
static void member_proposal(struct sim *s, size_t by, struct mls_span proposal,
	struct sim_bytes *out)
{
	const struct mls_group *g = s->m[by].group;
	struct mls_public_message m = { 0 };
	uint8_t tag[MLS_HASH_LEN];
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
	wr_u8(&w, MLS_CONTENT_PROPOSAL);
	mls_wr_span(&w, proposal);
	rd_init(&r, out->b + 4, w.len - 4);
	mls_framed_content_read(&r, &m.content);
	assert_true(rd_done(&r));
	assert_int_equal(mls_public_message_sign(&m.content, sig, &len, s->m[by].signature,
				 g->context.raw),
		0);
	m.signature = mls_span(sig, len);
	mls_public_message_membership_tag(tag, &m, g->keys->epoch.membership_key, g->context.raw);
	mls_wr_vec(&w, m.signature);
	mls_wr_vec(&w, mls_span(tag, sizeof(tag)));
	out->len = w.len;
}

static void members_may_propose(void **state)
{
	static const uint8_t remove_two[] = { 0, 3, 0, 0, 0, 2 };
	struct sim_bytes b;
	struct sim s;
	size_t i;

	(void)state;
	sim_init(&s, 26);
	sim_grow(&s, 3);
	member_proposal(&s, 1, mls_span(remove_two, sizeof(remove_two)), &b);
	sim_deliver(&s, &b);
	b.b[b.len - 1] ^= 1;
	assert_int_equal(sim_store(&s, s.m[0].group, &b), TD_ERR_AUTH);
	assert_string_equal(s.cx.why, "proposal: membership tag does not verify");
	sim_commit(&s, 3, 0);
	assert_null(s.m[2].group);
	for (i = 0; i < 4; i++)
		assert_true((s.m[i].group == NULL) == (i == 2));
	sim_free(&s);
}

static void revoke_rebuilds(void **state)
{
	struct sim_bytes b[3];
	struct mls_span ref;
	struct sim s;
	size_t late;
	size_t i;

	(void)state;
	sim_init(&s, 27);
	sim_grow(&s, 3);
	late = sim_add_member(&s);
	sim_add_proposal(&s, &b[0], late);
	sim_remove_proposal(&s, &b[1], 1);
	sim_remove_proposal(&s, &b[2], 2);
	for (i = 0; i < 3; i++)
		sim_deliver(&s, &b[i]);
	for (i = 0; i < s.n; i++) {
		if (s.m[i].group == NULL)
			continue;
		ref = mls_span(mls_group_proposal(s.m[i].group, 1)->ref, MLS_HASH_LEN);
		assert_int_equal(mls_group_proposal(s.m[i].group, 1)->view.removed, 1);
		assert_int_equal(mls_group_revoke(s.m[i].group, ref), 0);
		assert_int_equal(mls_group_n_proposals(s.m[i].group), 2);
		assert_int_equal(mls_group_proposal(s.m[i].group, 1)->view.removed, 2);
		assert_int_equal(mls_group_revoke(s.m[i].group, mls_span(sim_group_id, 8)),
			TD_ERR_NOKEY);
	}
	sim_commit(&s, 0, 0);
	assert_non_null(s.m[1].group);
	assert_null(s.m[2].group);
	assert_non_null(s.m[late].group);
	sim_free(&s);
}

/* A commit leaves the group it was made from as it was, proposals included. */
static void group_is_not_changed_by_trying(void **state)
{
	struct mls_commit_info info;
	struct mls_own_commit *c;
	struct mls_group *next;
	uint8_t before[MLS_HASH_LEN];
	struct sim s;

	(void)state;
	sim_init(&s, 28);
	sim_grow(&s, 3);
	sim_propose_remove(&s, 2);
	memcpy(before, mls_group_authenticator(s.m[1].group), sizeof(before));
	c = sim_make_commit(&s, 0, 0);
	assert_int_equal(mls_group_process(&s.cx, s.m[1].group,
				 mls_span(c->message, c->message_len), 0, &next, &info),
		0);
	assert_true(info.has_path && !info.removed_us && !info.credential_changed);
	assert_int_equal(info.n_removes, 1);
	assert_int_equal(info.n_adds, 0);
	mls_group_free(next);
	mls_own_commit_free(c);
	assert_memory_equal(before, mls_group_authenticator(s.m[1].group), sizeof(before));
	assert_int_equal(mls_group_n_proposals(s.m[1].group), 1);
	sim_agree(&s);
	sim_commit(&s, 1, 0);
	sim_free(&s);
}

/* The form DAVE clients send, byte for byte around the keys. */
static void key_package_form(void **state)
{
	static const uint8_t capabilities[] = { 2, 0, 1, 2, 0, 2, 0, 0, 2, 0, 1, 1, 0, 0, 0, 0, 0,
		0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0 };
	static const uint8_t head[] = { 0, 1, 0, 2, 0x40, 0x41, 4 };
	struct mls_span raw;
	struct sim s;

	(void)state;
	sim_init(&s, 29);
	raw = s.m[0].package->package.raw;
	assert_memory_equal(raw.p, head, sizeof(head));
	/* Three keys with their headers, then a basic credential of 8 bytes. */
	assert_memory_equal(raw.p + 4 + 3 * 67, "\0\1\10", 3);
	assert_memory_equal(raw.p + 4 + 3 * 67 + 11, capabilities, sizeof(capabilities));
	assert_int_equal(mls_key_package_check(&s.cx, &s.m[0].package->package), 0);
	assert_true(raw.len >= 389 && raw.len <= 394);
	sim_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_to_fifty_and_shrinks),
		cmocka_unit_test(random_churn),
		cmocka_unit_test(readds_in_one_commit),
		cmocka_unit_test(blank_leaf_is_taken_again),
		cmocka_unit_test(commit_race),
		cmocka_unit_test(both_begin_a_group),
		cmocka_unit_test(welcome_with_path_secret),
		cmocka_unit_test(newcomers_get_no_ciphertext),
		cmocka_unit_test(unmerged_leaves),
		cmocka_unit_test(alone_again),
		cmocka_unit_test(members_may_propose),
		cmocka_unit_test(revoke_rebuilds),
		cmocka_unit_test(group_is_not_changed_by_trying),
		cmocka_unit_test(key_package_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
