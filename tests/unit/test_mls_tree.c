/* SPDX-License-Identifier: ISC */
#include "tests/unit/mls_sim.h"

#include "common/mls/mls_path.h"

/* The relations of appendix C against each other, over a tree of 1024 leaves. */
static void math(void **state)
{
	const uint32_t n_leaves = 1024;
	const uint32_t root = mls_root(n_leaves);
	uint32_t x;

	(void)state;
	assert_int_equal(mls_n_nodes(0), 0);
	assert_int_equal(mls_n_nodes(n_leaves), 2047);
	assert_int_equal(mls_first_below(root), 0);
	assert_int_equal(mls_last_below(root), 2046);
	for (x = 0; x < mls_n_nodes(n_leaves); x++) {
		if (!mls_is_leaf(x)) {
			assert_int_equal(mls_parent(mls_left(x)), x);
			assert_int_equal(mls_parent(mls_right(x)), x);
			assert_int_equal(mls_level(mls_left(x)) + 1, mls_level(x));
			assert_int_equal(mls_sibling(mls_left(x)), mls_right(x));
			assert_int_equal(mls_last_below(mls_left(x)) + 1, x);
			assert_int_equal(mls_first_below(mls_right(x)), x + 1);
		}
		if (x != root)
			assert_int_equal(mls_sibling(mls_sibling(x)), x);
		assert_true(mls_is_below(x, root) && mls_is_below(x, x));
	}
}

/* A leaf that is told from others by its signature alone. */
static struct mls_leaf *a_leaf(struct sim *s)
{
	struct mls_leaf *l;

	sim_new_package(s, 0);
	assert_int_equal(mls_leaf_new(&l, s->m[0].package->package.leaf.raw), 0);
	return l;
}

static uint32_t add(struct sim *s, struct mls_tree *t)
{
	struct mls_leaf *l = a_leaf(s);
	uint32_t at;

	assert_int_equal(mls_tree_add(t, l, &at), 0);
	mls_leaf_unref(l);
	return at;
}

static void fill_parents(struct mls_tree *t)
{
	uint8_t key[MLS_PUB_LEN] = { 4 };
	uint32_t x;

	for (x = 1; x < mls_n_nodes(t->n_leaves); x += 2) {
		key[1] = (uint8_t)x;
		assert_int_equal(mls_tree_set_parent(t, x, mls_span(key, sizeof(key))), 0);
	}
}

static void grows_and_shrinks(void **state)
{
	static const uint32_t leaves[] = { 1, 2, 4, 4, 8, 8, 8, 8, 16 };
	struct mls_tree t = { NULL, 0 };
	struct sim s;
	uint32_t i;

	(void)state;
	sim_init(&s, 1);
	for (i = 0; i < 9; i++) {
		assert_int_equal(add(&s, &t), i);
		assert_int_equal(t.n_leaves, leaves[i]);
	}
	assert_int_equal(mls_tree_remove(&t, 3), 0);
	assert_int_equal(mls_tree_remove(&t, 3), TD_ERR_MALFORMED); /* blank */
	assert_int_equal(mls_tree_remove(&t, 16), TD_ERR_MALFORMED);
	assert_int_equal(mls_tree_remove(&t, UINT32_MAX), TD_ERR_MALFORMED);
	assert_int_equal(t.n_leaves, 16);
	assert_int_equal(add(&s, &t), 3); /* leftmost blank */
	assert_int_equal(mls_tree_remove(&t, 8), 0);
	assert_int_equal(t.n_leaves, 8);
	for (i = 4; i < 7; i++)
		assert_int_equal(mls_tree_remove(&t, i), 0);
	assert_int_equal(t.n_leaves, 8);
	for (i = 1; i < 4; i++)
		assert_int_equal(mls_tree_remove(&t, i), 0);
	assert_int_equal(mls_tree_remove(&t, 7), 0);
	assert_int_equal(t.n_leaves, 1); /* several halvings at once */
	assert_int_equal(add(&s, &t), 1);
	assert_true(mls_tree_is_blank(&t, 1));
	mls_tree_free(&t);
	sim_free(&s);
}

static void add_below_parents_is_unmerged(void **state)
{
	struct mls_tree t = { NULL, 0 };
	struct sim s;
	uint32_t list[16];
	size_t n;
	uint32_t i;

	(void)state;
	sim_init(&s, 2);
	for (i = 0; i < 8; i++)
		add(&s, &t);
	assert_int_equal(mls_tree_remove(&t, 1), 0);
	assert_int_equal(mls_tree_remove(&t, 6), 0);
	fill_parents(&t);
	mls_tree_blank_path(&t, 0);
	assert_int_equal(mls_tree_set_parent(&t, 7, mls_span("root", 4)), 0);
	assert_int_equal(add(&s, &t), 1);
	assert_int_equal(add(&s, &t), 6);
	assert_int_equal(t.nodes[7].parent->n_unmerged, 2);
	assert_int_equal(t.nodes[7].parent->unmerged[0], 1);
	assert_int_equal(t.nodes[7].parent->unmerged[1], 6);
	assert_int_equal(t.nodes[11].parent->n_unmerged, 1);
	assert_int_equal(t.nodes[5].parent->n_unmerged, 0);
	assert_int_equal(mls_tree_resolution(&t, 7, list, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(list[0], 7);
	assert_int_equal(list[1], 2);
	assert_int_equal(list[2], 12);
	assert_int_equal(mls_tree_resolution(&t, 3, list, &n), 0); /* blank: left, then right */
	assert_int_equal(n, 3);
	assert_int_equal(list[0], 0);
	assert_int_equal(list[1], 2);
	assert_int_equal(list[2], 5);
	mls_tree_free(&t);
	sim_free(&s);
}

static void filtered_path(void **state)
{
	struct mls_tree t = { NULL, 0 };
	struct mls_direct_path p;
	struct sim s;
	uint32_t i;

	(void)state;
	sim_init(&s, 3);
	for (i = 0; i < 5; i++)
		add(&s, &t);
	mls_tree_filtered_path(&t, 4, &p); /* nobody at 5, 6, 7 */
	assert_int_equal(p.n, 1);
	assert_int_equal(p.node[0], 7);
	assert_int_equal(p.copath[0], 3);
	mls_tree_filtered_path(&t, 0, &p);
	assert_int_equal(p.n, 3);
	assert_int_equal(p.node[2], 7);
	assert_int_equal(p.copath[2], 11);
	mls_tree_free(&t);
	sim_free(&s);
}

static void copies_are_apart(void **state)
{
	struct mls_tree t = { NULL, 0 };
	struct mls_tree c;
	uint8_t before[MLS_HASH_LEN];
	uint8_t after[MLS_HASH_LEN];
	struct sim s;
	uint32_t i;

	(void)state;
	sim_init(&s, 4);
	for (i = 0; i < 4; i++)
		add(&s, &t);
	fill_parents(&t);
	mls_tree_hash(&t, 3, before);
	assert_int_equal(mls_tree_copy(&c, &t), 0);
	mls_tree_hash(&c, 3, after);
	assert_memory_equal(before, after, sizeof(before));
	add(&s, &c);
	assert_int_equal(mls_tree_remove(&c, 0), 0);
	mls_tree_free(&c);
	mls_tree_hash(&t, 3, after);
	assert_memory_equal(before, after, sizeof(before));
	mls_tree_free(&t);
	sim_free(&s);
}

static void reading(void **state)
{
	uint8_t bytes[8192];
	struct mls_tree t = { NULL, 0 };
	struct mls_tree back;
	struct sim s;
	struct wr w;
	struct rd r;
	struct mls_span content;
	uint32_t i;
	size_t n;

	(void)state;
	sim_init(&s, 5);
	for (i = 0; i < 5; i++)
		add(&s, &t);
	fill_parents(&t);
	mls_tree_blank_path(&t, 4);
	assert_int_equal(mls_tree_remove(&t, 2), 0);
	wr_init(&w, bytes, sizeof(bytes));
	mls_tree_write(&w, &t);
	assert_false(w.bad);
	assert_true(w.len <= mls_tree_bound(&t));
	rd_init(&r, bytes, w.len);
	content = mls_rd_vec(&r);
	assert_true(rd_done(&r));
	assert_int_equal(mls_tree_read(&back, content), 0);
	assert_int_equal(back.n_leaves, 8);
	mls_tree_free(&back);

	for (n = 0; n < content.len; n++) {
		int e = mls_tree_read(&back, mls_span(content.p, n));

		/* A cut behind a whole node that is not blank is a tree of its own. */
		if (e == 0)
			mls_tree_free(&back);
		else
			assert_int_equal(e, TD_ERR_MALFORMED);
	}
	bytes[w.len] = 0; /* one blank node more */
	assert_int_equal(mls_tree_read(&back, mls_span(content.p, content.len + 1)),
		TD_ERR_MALFORMED);
	bytes[w.len] = 2;
	assert_int_equal(mls_tree_read(&back, mls_span(content.p, content.len + 1)),
		TD_ERR_MALFORMED);
	mls_tree_free(&t);
	sim_free(&s);
}

static void reading_refusals(void **state)
{
	static const struct {
		const char *bytes; /* hex; L stands for a whole leaf */
		int want;
	} rows[] = {
		{ "", TD_ERR_MALFORMED }, { "00", TD_ERR_MALFORMED }, { "0101L", TD_OK },
		{ "0101L00", TD_ERR_MALFORMED }, /* ends blank */
		{ "0101L000101L", TD_OK },
		{ "0101L0101L", TD_ERR_MALFORMED }, /* a leaf in a parent's place */
		{ "0102010000", TD_ERR_MALFORMED }, /* a parent in a leaf's */
		{ "0103", TD_ERR_MALFORMED }, { "02", TD_ERR_MALFORMED },
		{ "0101L010201aa00000101L", TD_OK },
		{ "0101L010201aa000800000000000000010101L", TD_OK },
		{ "0101L010201aa000800000000000000000101L", TD_ERR_MALFORMED }, /* twice */
		{ "0101L010201aa000800000001000000000101L", TD_ERR_MALFORMED }, /* descending */
		{ "0101L010201aa0007000000000000010101L", TD_ERR_MALFORMED },   /* 7 bytes */
	};
	struct mls_tree t;
	struct sim s;
	size_t i;

	(void)state;
	sim_init(&s, 6);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mls_span leaf = s.m[0].package->package.leaf.raw;
		uint8_t bytes[2048];
		struct wr w;
		const char *p;

		wr_init(&w, bytes, sizeof(bytes));
		for (p = rows[i].bytes; *p != '\0'; p++) {
			uint8_t b;

			if (*p == 'L') {
				mls_wr_span(&w, leaf);
				continue;
			}
			sodium_hex2bin(&b, 1, p++, 2, NULL, NULL, NULL);
			wr_u8(&w, b);
		}
		if (mls_tree_read(&t, mls_span(bytes, w.len)) != rows[i].want)
			fail_msg("row %zu", i);
		if (rows[i].want == TD_OK)
			mls_tree_free(&t);
	}
	sim_free(&s);
}

/* More leaves than we take, from few bytes: ends at the bound, not at the memory. */
static void too_many_leaves(void **state)
{
	const size_t n = (size_t)4 * MLS_MAX_LEAVES;
	uint8_t *zeros = calloc(1, n);
	struct mls_tree t;

	(void)state;
	assert_non_null(zeros);
	assert_int_equal(mls_tree_read(&t, mls_span(zeros, n)), TD_ERR_LIMIT);
	free(zeros);
}

/* The key check notices a key that is not the node's. */
static void keys_belong_to_nodes(void **state)
{
	struct mls_tree_keys *k;
	struct sim s;

	(void)state;
	sim_init(&s, 7);
	sim_grow(&s, 3);
	sim_commit(&s, 0, MLS_COMMIT_FORCE_PATH);
	k = &s.m[3].group->keys->tree;
	assert_int_equal(k->have, 1u << 2); /* the root alone: 0 and 3 meet there */
	assert_int_equal(mls_tree_keys_check(k, &s.m[3].group->tree, 3), 0);
	k->node[2][31] ^= 1;
	assert_int_equal(mls_tree_keys_check(k, &s.m[3].group->tree, 3), TD_ERR_MALFORMED);
	k->node[2][31] ^= 1;
	mls_tree_blank_path(&s.m[3].group->tree, 3);
	mls_tree_keys_sync(k, &s.m[3].group->tree, 3);
	assert_int_equal(k->have, 0);
	assert_true(sodium_is_zero(k->node[2], MLS_PRIV_LEN));
	sim_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(math),
		cmocka_unit_test(grows_and_shrinks),
		cmocka_unit_test(add_below_parents_is_unmerged),
		cmocka_unit_test(filtered_path),
		cmocka_unit_test(copies_are_apart),
		cmocka_unit_test(reading),
		cmocka_unit_test(reading_refusals),
		cmocka_unit_test(too_many_leaves),
		cmocka_unit_test(keys_belong_to_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
