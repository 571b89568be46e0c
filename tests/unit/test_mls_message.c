/* SPDX-License-Identifier: ISC */
/* Every structure: read whole, and refused when anything of it is missing or follows. */
#include "tests/unit/mls_sim.h"

struct shape {
	const char *name;
	void (*read)(struct rd *r);
	struct sim_bytes bytes;
};

static void read_leaf_node(struct rd *r)
{
	struct mls_leaf_node v;

	mls_leaf_node_read(r, &v);
}

static void read_key_package(struct rd *r)
{
	struct mls_key_package v;

	mls_key_package_read(r, &v);
}

static void read_proposal(struct rd *r)
{
	struct mls_proposal_view v;

	mls_proposal_read(r, &v);
}

static void read_message(struct rd *r)
{
	struct mls_public_message v;

	if (mls_message_head_read(r) != MLS_WIRE_PUBLIC_MESSAGE)
		r->bad = true;
	mls_public_message_read(r, &v);
}

static void read_commit(struct rd *r)
{
	struct mls_commit_view v;

	mls_commit_read(r, &v);
}

static void read_update_path(struct rd *r)
{
	struct mls_update_path v;

	mls_update_path_read(r, &v);
}

static void read_welcome(struct rd *r)
{
	struct mls_welcome_view v;

	mls_welcome_read(r, &v);
}

static void read_group_secrets(struct rd *r)
{
	struct mls_group_secrets v;

	mls_group_secrets_read(r, &v);
}

static void read_group_context(struct rd *r)
{
	struct mls_group_context v;

	mls_group_context_read(r, &v);
}

static void read_group_info(struct rd *r)
{
	struct mls_group_info v;

	mls_group_info_read(r, &v);
}

static void read_external_sender(struct rd *r)
{
	struct mls_external_sender v;

	mls_external_sender_read(r, &v);
}

static void take(struct shape *s, const char *name, void (*read)(struct rd *r), struct mls_span b)
{
	s->name = name;
	s->read = read;
	assert_true(b.len < sizeof(s->bytes.b));
	memcpy(s->bytes.b, b.p, b.len);
	s->bytes.len = b.len;
}

enum { SHAPES = 16 };

/* One of each, from a call of four in which one leaves and one joins. */
static size_t collect(struct shape *out)
{
	static const uint8_t remove[] = { 0, 3, 0, 0, 0, 1 };
	static const uint8_t psk[] = { 0, 4, 2, 1, 1, 0xaa, 0, 0, 0, 0, 0, 0, 0, 9, 1, 0xbb };
	static const uint8_t reinit[] = { 0, 5, 1, 0xaa, 0, 1, 0, 2, 3, 0, 9, 0 };
	static const uint8_t secrets[] = { 2, 1, 2, 1, 1, 7, 4, 1, 0, 1, 0xbb };
	struct mls_external_sender sender;
	struct mls_public_message m;
	struct mls_own_commit *c;
	struct sim_bytes b;
	struct wr w;
	struct sim s;
	size_t n = 0;

	sim_init(&s, 1);
	sim_grow(&s, 3);
	sim_add_proposal(&s, &b, sim_add_member(&s));
	take(&out[n++], "proposal message", read_message, sim_span(&b));
	sim_deliver(&s, &b);
	sim_propose_remove(&s, 3);
	c = sim_make_commit(&s, 0, 0);
	take(&out[n++], "commit message", read_message, mls_span(c->message, c->message_len));
	assert_int_equal(mls_public_message_parse(&s.cx, mls_span(c->message, c->message_len), &m),
		0);
	take(&out[n++], "commit", read_commit, m.content.body);
	wr_init(&w, b.b, sizeof(b.b));
	mls_update_path_write(&w, &m.content.commit.path);
	take(&out[n++], "update path", read_update_path, mls_span(b.b, w.len));
	take(&out[n++], "path leaf", read_leaf_node, m.content.commit.path.leaf.raw);
	take(&out[n++], "leaf", read_leaf_node, s.m[0].package->package.leaf.raw);
	take(&out[n++], "key package", read_key_package, s.m[0].package->package.raw);
	take(&out[n++], "welcome", read_welcome, mls_span(c->welcome, c->welcome_len));
	take(&out[n++], "group context", read_group_context, s.m[0].group->context.raw);
	wr_init(&w, b.b, sizeof(b.b));
	mls_wr_span(&w, s.m[0].group->context.raw);
	mls_wr_vec(&w, mls_span("\0\7\2xx", 5));
	mls_wr_vec(&w, mls_span("tag", 3));
	wr_u32(&w, 2);
	mls_wr_vec(&w, mls_span("signature", 9));
	take(&out[n++], "group info", read_group_info, mls_span(b.b, w.len));
	assert_true(mls_external_sender_find(s.m[0].group->context.extensions, 0, &sender));
	take(&out[n++], "external sender", read_external_sender, sender.raw);
	take(&out[n++], "remove", read_proposal, mls_span(remove, sizeof(remove)));
	take(&out[n++], "pre-shared key", read_proposal, mls_span(psk, sizeof(psk)));
	take(&out[n++], "reinit", read_proposal, mls_span(reinit, sizeof(reinit)));
	take(&out[n++], "group secrets", read_group_secrets, mls_span(secrets, sizeof(secrets)));
	mls_own_commit_free(c);
	sim_free(&s);
	return n;
}

static void prefixes(void **state)
{
	struct shape *shapes = calloc(SHAPES, sizeof(*shapes));
	size_t n = collect(shapes);
	size_t i;
	size_t k;
	struct rd r;

	(void)state;
	assert_int_equal(n, 15);
	for (i = 0; i < n; i++) {
		/* From a heap block of its own length, so that a sanitizer sees a step over it. */
		for (k = 0; k <= shapes[i].bytes.len; k++) {
			uint8_t *exact = malloc(k + 1);

			memcpy(exact + 1, shapes[i].bytes.b, k);
			rd_init(&r, exact + 1, k);
			shapes[i].read(&r);
			if (rd_done(&r) != (k == shapes[i].bytes.len))
				fail_msg("%s, %zu of %zu bytes", shapes[i].name, k,
					shapes[i].bytes.len);
			free(exact);
		}
		shapes[i].bytes.b[shapes[i].bytes.len] = 0;
		rd_init(&r, shapes[i].bytes.b, shapes[i].bytes.len + 1);
		shapes[i].read(&r);
		assert_false(rd_done(&r));
		assert_false(r.bad);
	}
	free(shapes);
}

struct refusal {
	const char *name;
	void (*read)(struct rd *r);
	const char *hex;
	bool good;
};

static void structure(void **state)
{
	static const struct refusal rows[] = {
		{ "proposal of an unknown type", read_proposal, "000800", false },
		{ "GREASE proposal", read_proposal, "0a0a00", false },
		{ "external init", read_proposal, "000600", true },
		{ "psk of type 3", read_proposal, "00040300 00", false },
		{ "psk of type 0", read_proposal, "00040000 00", false },
		{ "commit of nothing", read_commit, "0000", true },
		{ "commit, path byte 2", read_commit, "0002", false },
		{ "commit, entry of type 0", read_commit, "02000000", false },
		{ "commit, entry of type 3", read_commit, "02030000", false },
		{ "commit, reference cut", read_commit, "03020500 00", false },
		{ "leaf, basic", read_leaf_node, "0000 0001 00 0000000000 02 00 00", true },
		{ "leaf, X.509", read_leaf_node, "0000 0002 00 0000000000 02 00 00", true },
		{ "leaf, other credential", read_leaf_node, "0000 0003 00 0000000000 02 00 00",
			false },
		{ "leaf, source 0", read_leaf_node, "0000 0001 00 0000000000 00 00 00", false },
		{ "leaf, source 4", read_leaf_node, "0000 0001 00 0000000000 04 00 00", false },
		{ "leaf, odd list", read_leaf_node, "0000 0001 00 010000000000 02 00 00", false },
		{ "leaf, extension twice", read_leaf_node,
			"0000 0001 00 0000000000 02 06000900000900 00", false },
		{ "message of version 2", read_message,
			"00020001 00 0000000000000000 0200000000 00 02 000300000000 00", false },
		{ "external sender", read_message,
			"00010001 00 0000000000000000 0200000000 00 02 000300000000 00", true },
		{ "new member's proposal", read_message,
			"00010001 00 0000000000000000 03 00 02 000300000000 00", true },
		{ "sender of type 0", read_message,
			"00010001 00 0000000000000000 0000000000 00 02 000300000000 00", false },
		{ "sender of type 5", read_message,
			"00010001 00 0000000000000000 0500000000 00 02 000300000000 00", false },
		{ "application message", read_message,
			"00010001 00 0000000000000000 0200000000 00 01 00 00", false },
		{ "content of type 4", read_message,
			"00010001 00 0000000000000000 0200000000 00 04 00 00", false },
		{ "path of a node without ciphertexts", read_update_path,
			"0000 0001 00 0000000000 03 00 00 00 02 0000", true },
	};
	uint8_t bytes[128];
	struct rd r;
	size_t len;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(sodium_hex2bin(bytes, sizeof(bytes), rows[i].hex,
					 strlen(rows[i].hex), " ", &len, NULL),
			0);
		rd_init(&r, bytes, len);
		rows[i].read(&r);
		if (rd_done(&r) != rows[i].good)
			fail_msg("%s", rows[i].name);
	}
}

static void wire_formats_are_named(void **state)
{
	static const struct {
		const char *bytes;
		int want;
		const char *why;
	} rows[] = {
		{ "\0\1\0\2", TD_ERR_UNSUPPORTED, "message refused: PrivateMessage" },
		{ "\0\1\0\3", TD_ERR_UNSUPPORTED, "message refused: not a PublicMessage" },
		{ "\0\1\0\4", TD_ERR_UNSUPPORTED, "message refused: not a PublicMessage" },
		{ "\0\1\0\5", TD_ERR_UNSUPPORTED, "message refused: not a PublicMessage" },
		{ "\0\2\0\2", TD_ERR_MALFORMED, "message: malformed" },
		{ "\0\1\0\1", TD_ERR_MALFORMED, "message: malformed" },
	};
	struct mls_ctx cx = { .random = mls_random_system };
	struct mls_public_message m;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(mls_public_message_parse(&cx, mls_span(rows[i].bytes, 4), &m),
			rows[i].want);
		assert_string_equal(cx.why, rows[i].why);
	}
}

/* A commit with a Welcome right behind it, as op 28 has it. */
static void length_of_the_first(void **state)
{
	struct mls_own_commit *c;
	uint8_t both[8192];
	struct sim s;
	size_t len;

	(void)state;
	sim_init(&s, 2);
	sim_propose_add(&s, sim_add_member(&s));
	c = sim_make_commit(&s, 0, 0);
	memcpy(both, c->message, c->message_len);
	memcpy(both + c->message_len, c->welcome, c->welcome_len);
	assert_int_equal(mls_public_message_length(mls_span(both, c->message_len + c->welcome_len),
				 &len),
		0);
	assert_int_equal(len, c->message_len);
	assert_int_equal(mls_public_message_length(mls_span(both, c->message_len - 1), &len),
		TD_ERR_MALFORMED);
	assert_int_equal(mls_public_message_length(mls_span(c->welcome, c->welcome_len), &len),
		TD_ERR_MALFORMED);
	sim_announce(&s, 0, c);
	sim_free(&s);
}

/* A key package that is well signed, and wrong in one thing. */
static void key_package_table(void **state)
{
	static const uint8_t two[] = { 0, 2 };
	static const uint8_t one[] = { 0, 1 };
	static const uint8_t unknown[] = { 0xff, 0x01, 0 };
	static const struct {
		const char *why;
		int want;
		int spoil;
	} rows[] = {
		{ NULL, TD_OK, 0 },
		{ "key package: other version or suite", TD_ERR_UNSUPPORTED, 1 },
		{ "key package: other version or suite", TD_ERR_UNSUPPORTED, 2 },
		{ "key package: leaf of another source", TD_ERR_MALFORMED, 3 },
		{ "key package: init key is the leaf's key", TD_ERR_MALFORMED, 4 },
		{ "leaf: credential is not basic", TD_ERR_UNSUPPORTED, 5 },
		{ "leaf: capabilities lack our version, suite or its own credential",
			TD_ERR_UNSUPPORTED, 6 },
		{ "leaf: capabilities lack our version, suite or its own credential",
			TD_ERR_UNSUPPORTED, 7 },
		{ "leaf: capabilities lack our version, suite or its own credential",
			TD_ERR_UNSUPPORTED, 8 },
		{ "leaf: extension not in its own capabilities", TD_ERR_MALFORMED, 9 },
		{ "key package: init key is no point on the curve", TD_ERR_MALFORMED, 10 },
		{ "leaf: encryption key is no point on the curve", TD_ERR_MALFORMED, 11 },
		{ NULL, TD_OK, 12 },
	};
	struct sim s;
	size_t i;

	(void)state;
	sim_init(&s, 3);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mls_key_package kp = s.m[0].package->package;
		uint8_t bad_point[MLS_PUB_LEN];
		uint8_t sig[MLS_SIG_MAX];
		uint8_t bytes[1024];
		struct mls_span tbs;
		struct wr leaf;
		struct wr w;
		struct rd r;
		size_t len;

		memcpy(bad_point, kp.init_key.p, sizeof(bad_point));
		bad_point[64] ^= 1;
		switch (rows[i].spoil) {
		case 1:
			kp.version = 2;
			break;
		case 2:
			kp.suite = 1;
			break;
		case 3:
			kp.leaf.source = MLS_SOURCE_UPDATE;
			break;
		case 4:
			kp.init_key = kp.leaf.encryption_key;
			break;
		case 5:
			kp.leaf.credential_type = MLS_CREDENTIAL_X509;
			break;
		case 6:
			kp.leaf.versions = mls_span(two, 2);
			break;
		case 7:
			kp.leaf.suites = mls_span(one, 2);
			break;
		case 8:
			kp.leaf.credential_types = mls_span(two, 2);
			break;
		case 9:
			kp.leaf.extensions = mls_span(unknown, 3);
			break;
		case 10:
			kp.init_key = mls_span(bad_point, sizeof(bad_point));
			break;
		case 11:
			kp.leaf.encryption_key = mls_span(bad_point, sizeof(bad_point));
			break;
		case 12:
			kp.leaf.extensions = mls_span(unknown, 3);
			kp.leaf.extension_types = mls_span(unknown, 2);
			break;
		}
		assert_int_equal(mls_wr_new(&leaf, 1024), 0);
		assert_int_equal(mls_leaf_node_sign(&leaf, &kp.leaf, &kp.leaf, s.m[0].signature,
					 mls_span(NULL, 0), 0),
			0);
		wr_init(&w, bytes, sizeof(bytes));
		kp.signature = mls_span(NULL, 0);
		mls_key_package_write(&w, &kp);
		tbs = mls_span(bytes, w.len - 1);
		assert_int_equal(mls_sign_with_label(sig, &len, s.m[0].signature, "KeyPackageTBS",
					 &tbs, 1),
			0);
		w.len--;
		mls_wr_vec(&w, mls_span(sig, len));
		rd_init(&r, bytes, w.len);
		mls_key_package_read(&r, &kp);
		assert_true(rd_done(&r));
		assert_int_equal(mls_key_package_check(&s.cx, &kp), rows[i].want);
		if (rows[i].why != NULL)
			assert_string_equal(s.cx.why, rows[i].why);
		free(leaf.buf);
	}
	sim_free(&s);
}

static void own_package_with_wrong_keys(void **state)
{
	struct mls_own_package *own = NULL;
	struct mls_package_keys keys;
	struct mls_span bytes;
	struct sim s;
	int i;

	(void)state;
	sim_init(&s, 4);
	bytes = s.m[0].package->package.raw;
	for (i = 0; i < 4; i++) {
		keys = *s.m[0].package->keys;
		if (i == 0)
			keys.init[31] ^= 1;
		else if (i == 1)
			keys.leaf[31] ^= 1;
		else if (i == 2)
			keys.signature[31] ^= 1;
		else
			bytes.len--;
		assert_int_equal(mls_own_package_load(&s.cx, &own, bytes, &keys), TD_ERR_MALFORMED);
		assert_null(own);
	}
	memset(keys.signature, 0, sizeof(keys.signature));
	assert_int_equal(mls_own_package_new(&s.cx, &own, mls_span("x", 1), keys.signature),
		TD_ERR_MALFORMED);
	sim_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefixes),
		cmocka_unit_test(structure),
		cmocka_unit_test(wire_formats_are_named),
		cmocka_unit_test(length_of_the_first),
		cmocka_unit_test(key_package_table),
		cmocka_unit_test(own_package_with_wrong_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
