/* SPDX-License-Identifier: ISC */
/*
 * MLS on hostile bytes. The first byte picks where they go: into a reader, or into the handlers of
 * a real group of three. For the handlers there is a second way in, with signature, tags and
 * encryption made good around the bytes, so that a fuzzer gets past the cryptography.
 */
#include <stdint.h>
#include <stdlib.h>

#include "common/mls/mls_group.h"
#include "common/mls/mls_group_state.h"
#include "common/mls/mls_hpke.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct mls_ctx cx;
	struct mls_own_package *package[4]; /* the last one is not in the group */
	uint8_t signature[4][MLS_PRIV_LEN];
	struct mls_group *group[3];
} world;

static void must(int r)
{
	if (r < 0)
		abort();
}

static int counting_random(void *user, uint8_t *out, size_t n)
{
	static uint8_t counter;

	(void)user;
	memset(out, ++counter, n);
	return TD_OK;
}

/* Member 0 proposes to add `i`; stored at member 0. */
static void propose_add(size_t i)
{
	struct mls_group *g = world.group[0];
	struct mls_public_message m = { 0 };
	uint8_t tag[MLS_HASH_LEN];
	uint8_t sig[MLS_SIG_MAX];
	uint8_t bytes[1024];
	struct mls_proposal *p;
	struct rd r;
	struct wr w;
	size_t len;

	wr_init(&w, bytes, sizeof(bytes));
	mls_message_head_write(&w, MLS_WIRE_PUBLIC_MESSAGE);
	mls_wr_vec(&w, g->context.group_id);
	wr_u64(&w, g->context.epoch);
	wr_u8(&w, MLS_SENDER_MEMBER);
	wr_u32(&w, 0);
	mls_wr_varint(&w, 0);
	wr_u8(&w, MLS_CONTENT_PROPOSAL);
	wr_u16(&w, MLS_PROPOSAL_ADD);
	mls_wr_span(&w, world.package[i]->package.raw);
	rd_init(&r, bytes + 4, w.len - 4);
	mls_framed_content_read(&r, &m.content);
	must(mls_public_message_sign(&m.content, sig, &len, world.signature[0], g->context.raw));
	m.signature = mls_span(sig, len);
	mls_public_message_membership_tag(tag, &m, g->keys->epoch.membership_key, g->context.raw);
	mls_wr_vec(&w, m.signature);
	mls_wr_vec(&w, mls_span(tag, sizeof(tag)));
	must(mls_proposal_open(&world.cx, g, mls_span(bytes, w.len), &p));
	must(mls_group_store(&world.cx, g, p));
}

static void build(void)
{
	struct mls_own_commit *c;
	size_t i;

	world.cx.random = counting_random;
	for (i = 0; i < 4; i++) {
		must(mls_hpke_generate(&world.cx, world.signature[i], NULL));
		must(mls_own_package_new(&world.cx, &world.package[i], mls_span(&"abcd"[i], 1),
			world.signature[i]));
	}
	must(mls_group_new(&world.cx, &world.group[0], world.package[0], mls_span("group", 5),
		mls_span(NULL, 0)));
	propose_add(1);
	propose_add(2);
	must(mls_group_commit(&world.cx, world.group[0], MLS_COMMIT_FORCE_PATH, &c));
	for (i = 1; i < 3; i++)
		must(mls_group_join(&world.cx, &world.group[i], world.package[i],
			mls_span(c->welcome, c->welcome_len), NULL));
	mls_group_free(world.group[0]);
	world.group[0] = c->next;
	c->next = NULL;
	mls_own_commit_free(c);
}

static void process(struct mls_span message)
{
	struct mls_commit_info info;
	struct mls_group *next;

	if (mls_group_process(&world.cx, world.group[1], message, 0, &next, &info) == TD_OK)
		mls_group_free(next);
}

/* The bytes as the Commit of member 0, everything around them right. */
static void process_framed(const uint8_t *data, size_t size)
{
	static uint8_t bytes[1 << 16];
	static const uint8_t tag[MLS_HASH_LEN];
	const struct mls_group *g = world.group[0];
	struct mls_public_message m = { 0 };
	uint8_t membership[MLS_HASH_LEN];
	uint8_t sig[MLS_SIG_MAX];
	struct rd r;
	struct wr w;
	size_t len;

	if (size > 60000)
		return;
	wr_init(&w, bytes, sizeof(bytes));
	mls_message_head_write(&w, MLS_WIRE_PUBLIC_MESSAGE);
	mls_wr_vec(&w, g->context.group_id);
	wr_u64(&w, g->context.epoch);
	wr_u8(&w, MLS_SENDER_MEMBER);
	wr_u32(&w, 0);
	mls_wr_varint(&w, 0);
	wr_u8(&w, MLS_CONTENT_COMMIT);
	wr_bytes(&w, data, size);
	rd_init(&r, bytes + 4, w.len - 4);
	mls_framed_content_read(&r, &m.content);
	if (!rd_done(&r))
		return;
	must(mls_public_message_sign(&m.content, sig, &len, world.signature[0], g->context.raw));
	m.signature = mls_span(sig, len);
	m.confirmation_tag = mls_span(tag, sizeof(tag));
	mls_public_message_membership_tag(membership, &m, g->keys->epoch.membership_key,
		g->context.raw);
	mls_wr_vec(&w, m.signature);
	mls_wr_vec(&w, m.confirmation_tag);
	mls_wr_vec(&w, mls_span(membership, sizeof(membership)));
	process(mls_span(bytes, w.len));
}

static void propose(struct mls_span message)
{
	struct mls_proposal *p;

	if (mls_proposal_open(&world.cx, world.group[1], message, &p) == TD_OK)
		mls_proposal_free(p);
}

static void join(struct mls_span welcome)
{
	struct mls_group *g;

	if (mls_group_join(&world.cx, &g, world.package[3], welcome, NULL) == TD_OK)
		mls_group_free(g);
}

/* The bytes as the GroupInfo in a Welcome for package 3. */
static void join_sealed(const uint8_t *data, size_t size)
{
	static uint8_t sealed[1 << 16];
	static uint8_t bytes[(1 << 16) + 512];
	struct mls_epoch e = { .joiner = { 1 } };
	struct mls_group_secrets s = { .joiner_secret = mls_span(e.joiner, MLS_HASH_LEN) };
	uint8_t nonce[MLS_AEAD_NONCE_LEN];
	uint8_t key[MLS_AEAD_KEY_LEN];
	uint8_t kem_output[MLS_PUB_LEN];
	uint8_t secrets[128];
	uint8_t plain[64];
	struct mls_span info;
	size_t mark;
	struct wr p;
	struct wr w;

	if (size == 0 || size > 60000)
		return;
	mls_schedule_welcome(&e, NULL);
	mls_welcome_key(&e, key, nonce);
	must(mls_aead_seal(sealed, key, nonce, mls_span(data, size)));
	info = mls_span(sealed, size + MLS_AEAD_TAG_LEN);
	wr_init(&p, plain, sizeof(plain));
	mls_group_secrets_write(&p, &s);
	must(mls_encrypt_with_label(&world.cx, kem_output, secrets,
		world.package[3]->package.init_key, "Welcome", info, mls_span(plain, p.len)));
	wr_init(&w, bytes, sizeof(bytes));
	wr_u16(&w, MLS_SUITE);
	mark = mls_wr_open(&w);
	mls_wr_vec(&w, mls_span(world.package[3]->ref, MLS_HASH_LEN));
	mls_wr_vec(&w, mls_span(kem_output, sizeof(kem_output)));
	mls_wr_vec(&w, mls_span(secrets, p.len + MLS_AEAD_TAG_LEN));
	mls_wr_close(&w, mark);
	mls_wr_vec(&w, info);
	join(mls_span(bytes, w.len));
}

/* A tree: read, written back the same, validated. */
static void tree(const uint8_t *data, size_t size)
{
	struct mls_span content = mls_span(data, size);
	struct mls_tree t;
	struct mls_span back;
	uint8_t *bytes;
	struct rd r;
	struct wr w;

	if (mls_tree_read(&t, content) < 0)
		return;
	if ((bytes = malloc(mls_tree_bound(&t))) == NULL)
		abort();
	wr_init(&w, bytes, mls_tree_bound(&t));
	mls_tree_write(&w, &t);
	rd_init(&r, bytes, w.len);
	back = mls_rd_vec(&r);
	if (w.bad || !mls_span_equal(back, content))
		abort();
	free(bytes);
	mls_tree_check_parents(&world.cx, &t);
	mls_tree_check_unique(&world.cx, &t);
	mls_tree_check_nodes(&world.cx, &t, mls_span("group", 5));
	mls_tree_free(&t);
}

static void readers(const uint8_t *data, size_t size)
{
	struct mls_group_secrets secrets;
	struct mls_external_sender sender;
	struct mls_key_package package;
	struct mls_group_info info;
	struct rd r;

	rd_init(&r, data, size);
	mls_group_secrets_read(&r, &secrets);
	rd_init(&r, data, size);
	mls_group_info_read(&r, &info);
	rd_init(&r, data, size);
	mls_key_package_read(&r, &package);
	if (!r.bad)
		mls_key_package_check(&world.cx, &package);
	mls_ext_check(mls_span(data, size));
	mls_external_sender_find(mls_span(data, size), 1, &sender);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (world.group[0] == NULL)
		build();
	if (size == 0)
		return 0;
	switch (data[0] % 8) {
	case 0:
		readers(data + 1, size - 1);
		break;
	case 1:
		tree(data + 1, size - 1);
		break;
	case 2:
		propose(mls_span(data + 1, size - 1));
		break;
	case 3:
		process(mls_span(data + 1, size - 1));
		break;
	case 4:
		process_framed(data + 1, size - 1);
		break;
	case 5:
		join(mls_span(data + 1, size - 1));
		break;
	case 6:
		join_sealed(data + 1, size - 1);
		break;
	default:
		break;
	}
	return 0;
}
