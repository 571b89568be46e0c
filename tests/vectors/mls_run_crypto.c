/* SPDX-License-Identifier: ISC */
/* Vectors without a tree or a group: codec, tree math, crypto, key schedule, ratchets. */
#include "common/mls/mls_hpke.h"
#include "common/mls/mls_message.h"
#include "common/mls/mls_p256.h"
#include "common/mls/mls_schedule.h"
#include "common/mls/mls_tree_math.h"
#include "tests/vectors/mls_run.h"

/* Appendix C; null is "there is none". */
static bool relation(struct run *v, const char *key, uint32_t x, bool exists, uint32_t node)
{
	json_t *want = json_array_get(json_object_get(v->c, key), x);

	WANT_OR_FALSE(v, want != NULL);
	WANT_OR_FALSE(v, json_is_null(want) == !exists);
	if (exists)
		WANT_OR_FALSE(v, json_integer_value(want) == node);
	return true;
}

void run_tree_math(struct run *v)
{
	uint32_t n_leaves = (uint32_t)run_number(v, v->c, "n_leaves");
	uint32_t n_nodes = mls_n_nodes(n_leaves);
	static const char *const lists[] = { "left", "right", "parent", "sibling" };
	uint32_t root = mls_root(n_leaves);
	uint32_t x;
	size_t i;

	WANT(v, n_leaves > 0);
	WANT(v, run_number(v, v->c, "n_nodes") == n_nodes);
	WANT(v, run_number(v, v->c, "root") == root);
	for (i = 0; i < 4; i++)
		WANT(v, json_array_size(json_object_get(v->c, lists[i])) == n_nodes);
	for (x = 0; x < n_nodes; x++) {
		bool leaf = mls_is_leaf(x);

		if (!relation(v, "left", x, !leaf, leaf ? 0 : mls_left(x)) ||
			!relation(v, "right", x, !leaf, leaf ? 0 : mls_right(x)) ||
			!relation(v, "parent", x, x != root, x == root ? 0 : mls_parent(x)) ||
			!relation(v, "sibling", x, x != root, x == root ? 0 : mls_sibling(x)))
			return;
	}
}

void run_deserialization(struct run *v)
{
	struct mls_span head = run_hex(v, v->c, "vlbytes_header");
	uint64_t length = run_number(v, v->c, "length");
	uint8_t out[4];
	struct wr w;
	struct rd r;

	rd_init(&r, head.p, head.len);
	WANT(v, mls_rd_varint(&r) == length);
	WANT(v, rd_done(&r));
	wr_init(&w, out, sizeof(out));
	mls_wr_varint(&w, length);
	WANT(v, !w.bad && run_same(out, w.len, head));
}

static void basics_derive(struct run *v)
{
	json_t *o = json_object_get(v->c, "ref_hash");
	struct mls_span s = run_hex(v, o, "value");
	uint8_t out[MLS_HASH_LEN];
	uint8_t *longer;
	size_t length;

	mls_ref_hash(out, run_text(v, o, "label"), &s, 1);
	WANT(v, run_same(out, sizeof(out), run_hex(v, o, "out")));

	o = json_object_get(v->c, "expand_with_label");
	length = run_number(v, o, "length");
	longer = run_hold(v, length + 1);
	mls_expand_with_label(longer, length, run_hex(v, o, "secret"), run_text(v, o, "label"),
		run_hex(v, o, "context"));
	WANT(v, run_same(longer, length, run_hex(v, o, "out")));

	o = json_object_get(v->c, "derive_secret");
	mls_derive_secret(out, run_fixed(v, o, "secret", MLS_HASH_LEN), run_text(v, o, "label"));
	WANT(v, run_same(out, sizeof(out), run_hex(v, o, "out")));

	o = json_object_get(v->c, "derive_tree_secret");
	length = run_number(v, o, "length");
	longer = run_hold(v, length + 1);
	mls_derive_tree_secret(longer, length, run_hex(v, o, "secret"), run_text(v, o, "label"),
		(uint32_t)run_number(v, o, "generation"));
	WANT(v, run_same(longer, length, run_hex(v, o, "out")));
}

static void basics_sign(struct run *v)
{
	json_t *o = json_object_get(v->c, "sign_with_label");
	const uint8_t *priv = run_fixed(v, o, "priv", MLS_PRIV_LEN);
	struct mls_span pub = run_hex(v, o, "pub");
	struct mls_span content = run_hex(v, o, "content");
	const char *label = run_text(v, o, "label");
	uint8_t sig[MLS_SIG_MAX];
	uint8_t own[MLS_PUB_LEN];
	size_t len;

	WANT(v, mls_p256_public(own, priv) == 0 && run_same(own, sizeof(own), pub));
	WANT(v, mls_verify_with_label(pub, label, &content, 1, run_hex(v, o, "signature")) == 0);
	WANT(v, mls_sign_with_label(sig, &len, priv, label, &content, 1) == 0);
	WANT(v, mls_verify_with_label(pub, label, &content, 1, mls_span(sig, len)) == 0);
}

static void basics_encrypt(struct run *v)
{
	json_t *o = json_object_get(v->c, "encrypt_with_label");
	const uint8_t *priv = run_fixed(v, o, "priv", MLS_PRIV_LEN);
	struct mls_span ciphertext = run_hex(v, o, "ciphertext");
	struct mls_span context = run_hex(v, o, "context");
	struct mls_span plaintext = run_hex(v, o, "plaintext");
	struct mls_span pub = run_hex(v, o, "pub");
	const char *label = run_text(v, o, "label");
	uint8_t kem_output[MLS_PUB_LEN];
	uint8_t own[MLS_PUB_LEN];
	uint8_t *plain = run_hold(v, ciphertext.len + 1);
	uint8_t *sealed = run_hold(v, plaintext.len + MLS_AEAD_TAG_LEN);

	WANT(v, mls_p256_public(own, priv) == 0 && run_same(own, sizeof(own), pub));
	WANT(v, ciphertext.len == plaintext.len + MLS_AEAD_TAG_LEN);
	WANT(v,
		mls_decrypt_with_label(plain, priv, label, context, run_hex(v, o, "kem_output"),
			ciphertext) == 0);
	WANT(v, run_same(plain, plaintext.len, plaintext));
	WANT(v,
		mls_encrypt_with_label(&v->cx, kem_output, sealed, pub, label, context,
			plaintext) == 0);
	memset(plain, 0, plaintext.len);
	WANT(v,
		mls_decrypt_with_label(plain, priv, label, context,
			mls_span(kem_output, sizeof(kem_output)),
			mls_span(sealed, ciphertext.len)) == 0);
	WANT(v, run_same(plain, plaintext.len, plaintext));
}

void run_crypto_basics(struct run *v)
{
	basics_derive(v);
	basics_sign(v);
	basics_encrypt(v);
}

void run_psk_secret(uint8_t out[static MLS_HASH_LEN], const struct run_psk *psks, size_t n)
{
	static const uint8_t zeros[MLS_HASH_LEN];
	uint8_t extracted[MLS_HASH_LEN];
	uint8_t input[MLS_HASH_LEN];
	uint8_t label[1024];
	struct mls_span ikm;
	struct wr w;
	size_t i;

	memset(out, 0, MLS_HASH_LEN);
	for (i = 0; i < n; i++) {
		mls_extract(extracted, mls_span(zeros, sizeof(zeros)), &psks[i].psk, 1);
		wr_init(&w, label, sizeof(label));
		mls_wr_span(&w, psks[i].id);
		wr_u16(&w, (uint16_t)i);
		wr_u16(&w, (uint16_t)n);
		mls_expand_with_label(input, sizeof(input), mls_span(extracted, sizeof(extracted)),
			"derived psk", mls_span(label, w.len));
		ikm = mls_span(out, MLS_HASH_LEN);
		mls_extract(out, mls_span(input, sizeof(input)), &ikm, 1);
	}
}

void run_psk_secret_case(struct run *v)
{
	json_t *list = run_array(v, v->c, "psks");
	size_t n = json_array_size(list);
	struct run_psk *psks = run_hold(v, (n + 1) * sizeof(*psks));
	uint8_t out[MLS_HASH_LEN];
	struct mls_span nonce;
	struct mls_span id;
	uint8_t *encoded;
	struct wr w;
	json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		id = run_hex(v, o, "psk_id");
		nonce = run_hex(v, o, "psk_nonce");
		encoded = run_hold(v, id.len + nonce.len + 16);
		wr_init(&w, encoded, id.len + nonce.len + 16);
		wr_u8(&w, 1); /* external */
		mls_wr_vec(&w, id);
		mls_wr_vec(&w, nonce);
		psks[i].id = mls_span(encoded, w.len);
		psks[i].psk = run_hex(v, o, "psk");
	}
	run_psk_secret(out, psks, n);
	WANT(v, run_same(out, sizeof(out), run_hex(v, v->c, "psk_secret")));
}

/* What the product never derives, from the epoch secret. */
static bool epoch_unused(struct run *v, const json_t *o, const struct mls_epoch *e)
{
	static const char *const rows[][2] = {
		{ "sender_data_secret", "sender data" },
		{ "encryption_secret", "encryption" },
		{ "external_secret", "external" },
		{ "resumption_psk", "resumption" },
	};
	uint8_t out[MLS_HASH_LEN];
	uint8_t priv[MLS_PRIV_LEN];
	uint8_t pub[MLS_PUB_LEN];
	size_t i;

	for (i = 0; i < 4; i++) {
		mls_derive_secret(out, e->epoch, rows[i][1]);
		WANT_OR_FALSE(v, run_same(out, sizeof(out), run_hex(v, o, rows[i][0])));
	}
	WANT_OR_FALSE(v,
		mls_hpke_derive_key_pair(priv, pub, run_hex(v, o, "external_secret")) == 0);
	WANT_OR_FALSE(v, run_same(pub, sizeof(pub), run_hex(v, o, "external_pub")));
	return true;
}

static bool epoch_exporter(struct run *v, const json_t *o, const struct mls_epoch *e)
{
	size_t length = run_number(v, o, "length");
	uint8_t *out = run_hold(v, length + 1);
	uint8_t base[MLS_HASH_LEN];

	mls_exporter_base(base, e, run_text(v, o, "label"));
	mls_exporter_from_base(out, length, base, run_hex(v, o, "context"));
	WANT_OR_FALSE(v, run_same(out, length, run_hex(v, o, "secret")));
	return true;
}

static bool epoch_one(struct run *v, const json_t *o, uint64_t epoch, struct mls_epoch *e)
{
	struct mls_group_context c = {
		.version = MLS_VERSION,
		.suite = MLS_SUITE,
		.group_id = run_hex(v, v->c, "group_id"),
		.epoch = epoch,
		.tree_hash = run_hex(v, o, "tree_hash"),
		.confirmed_hash = run_hex(v, o, "confirmed_transcript_hash"),
	};
	const uint8_t *psk_secret = run_fixed(v, o, "psk_secret", MLS_HASH_LEN);
	size_t bound = mls_group_context_bound(&c);
	uint8_t *bytes = run_hold(v, bound);
	struct mls_span context;
	struct wr w;
	size_t i;

	wr_init(&w, bytes, bound);
	mls_group_context_write(&w, &c);
	context = mls_span(bytes, w.len);
	WANT_OR_FALSE(v, mls_span_equal(context, run_hex(v, o, "group_context")));

	mls_schedule_joiner(e, e->init, run_fixed(v, o, "commit_secret", MLS_HASH_LEN), context);
	mls_schedule_welcome(e, psk_secret);
	mls_schedule_epoch(e, psk_secret, context);
	const struct {
		const char *key;
		const uint8_t *got;
	} rows[] = {
		{ "joiner_secret", e->joiner },
		{ "welcome_secret", e->welcome },
		{ "init_secret", e->init },
		{ "exporter_secret", e->exporter },
		{ "epoch_authenticator", e->authenticator },
		{ "confirmation_key", e->confirmation_key },
		{ "membership_key", e->membership_key },
	};
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		WANT_OR_FALSE(v, run_same(rows[i].got, MLS_HASH_LEN, run_hex(v, o, rows[i].key)));
	return epoch_unused(v, o, e) && epoch_exporter(v, json_object_get(o, "exporter"), e);
}

void run_key_schedule(struct run *v)
{
	json_t *epochs = run_array(v, v->c, "epochs");
	struct mls_epoch e = { .init = { 0 } };
	json_t *o;
	size_t i;

	memcpy(e.init, run_fixed(v, v->c, "initial_init_secret", MLS_HASH_LEN), MLS_HASH_LEN);
	WANT(v, json_array_size(epochs) > 0);
	json_array_foreach(epochs, i, o) if (!epoch_one(v, o, i, &e)) return;
}

void run_transcript_hashes(struct run *v)
{
	struct mls_span content = run_hex(v, v->c, "authenticated_content");
	struct mls_span interim = run_hex(v, v->c, "interim_transcript_hash_before");
	uint8_t confirmed[MLS_HASH_LEN];
	uint8_t after[MLS_HASH_LEN];
	uint8_t tag[MLS_HASH_LEN];
	struct mls_public_message m;
	struct mls_epoch e;
	struct rd r;

	rd_init(&r, content.p, content.len);
	if (rd_u16(&r) != MLS_WIRE_PUBLIC_MESSAGE) {
		run_skip(v, "a commit as PrivateMessage");
		return;
	}
	memset(&m, 0, sizeof(m));
	mls_framed_content_read(&r, &m.content);
	WANT(v, m.content.content_type == MLS_CONTENT_COMMIT);
	m.signature = mls_rd_vec(&r);
	m.confirmation_tag = mls_rd_vec(&r);
	WANT(v, rd_done(&r));

	mls_confirmed_hash(confirmed, interim, m.content.raw, m.signature);
	WANT(v,
		run_same(confirmed, sizeof(confirmed),
			run_hex(v, v->c, "confirmed_transcript_hash_after")));
	mls_interim_hash(after, mls_span(confirmed, sizeof(confirmed)), m.confirmation_tag);
	WANT(v, run_same(after, sizeof(after), run_hex(v, v->c, "interim_transcript_hash_after")));
	memcpy(e.confirmation_key, run_fixed(v, v->c, "confirmation_key", MLS_HASH_LEN),
		MLS_HASH_LEN);
	mls_confirmation_tag(tag, &e, mls_span(confirmed, sizeof(confirmed)));
	WANT(v, run_same(tag, sizeof(tag), m.confirmation_tag));
}

/* Section 9: from the root down to one leaf. The product has no secret tree, only the ratchet. */
static void leaf_secret(uint8_t secret[static MLS_HASH_LEN], uint32_t n_leaves, uint32_t leaf)
{
	struct mls_span s = mls_span(secret, MLS_HASH_LEN);
	uint32_t x = mls_root(n_leaves);

	while (!mls_is_leaf(x)) {
		bool left = 2 * leaf < x;

		mls_expand_with_label(secret, MLS_HASH_LEN, s, "tree",
			left ? mls_span("left", 4) : mls_span("right", 5));
		x = left ? mls_left(x) : mls_right(x);
	}
}

static bool ratchet(struct run *v, const json_t *row, const uint8_t leaf[static MLS_HASH_LEN],
	const char *kind, const char *key_name, const char *nonce_name)
{
	uint32_t generation = (uint32_t)run_number(v, row, "generation");
	uint8_t nonce[MLS_AEAD_NONCE_LEN];
	uint8_t key[MLS_AEAD_KEY_LEN];
	uint8_t secret[MLS_HASH_LEN];
	struct mls_span s = mls_span(secret, sizeof(secret));
	uint32_t g;

	mls_derive_secret(secret, leaf, kind);
	for (g = 0; g < generation; g++)
		mls_derive_tree_secret(secret, sizeof(secret), s, "secret", g);
	mls_derive_tree_secret(key, sizeof(key), s, "key", generation);
	mls_derive_tree_secret(nonce, sizeof(nonce), s, "nonce", generation);
	WANT_OR_FALSE(v, run_same(key, sizeof(key), run_hex(v, row, key_name)));
	WANT_OR_FALSE(v, run_same(nonce, sizeof(nonce), run_hex(v, row, nonce_name)));
	return true;
}

static bool sender_data(struct run *v)
{
	json_t *o = json_object_get(v->c, "sender_data");
	struct mls_span secret = run_hex(v, o, "sender_data_secret");
	struct mls_span sample = run_hex(v, o, "ciphertext");
	uint8_t nonce[MLS_AEAD_NONCE_LEN];
	uint8_t key[MLS_AEAD_KEY_LEN];

	if (sample.len > MLS_HASH_LEN)
		sample.len = MLS_HASH_LEN;
	mls_expand_with_label(key, sizeof(key), secret, "key", sample);
	mls_expand_with_label(nonce, sizeof(nonce), secret, "nonce", sample);
	WANT_OR_FALSE(v, run_same(key, sizeof(key), run_hex(v, o, "key")));
	WANT_OR_FALSE(v, run_same(nonce, sizeof(nonce), run_hex(v, o, "nonce")));
	return true;
}

void run_secret_tree(struct run *v)
{
	const uint8_t *root = run_fixed(v, v->c, "encryption_secret", MLS_HASH_LEN);
	json_t *leaves = run_array(v, v->c, "leaves");
	uint32_t n = (uint32_t)json_array_size(leaves);
	uint8_t secret[MLS_HASH_LEN];
	json_t *rows;
	json_t *row;
	size_t leaf;
	size_t i;

	WANT(v, n > 0);
	if (!sender_data(v))
		return;
	json_array_foreach(leaves, leaf, rows)
	{
		memcpy(secret, root, sizeof(secret));
		leaf_secret(secret, n, (uint32_t)leaf);
		WANT(v, json_array_size(rows) > 0);
		json_array_foreach(rows, i, row) if (!ratchet(v, row, secret, "handshake",
							     "handshake_key", "handshake_nonce") ||
			!ratchet(v, row, secret, "application", "application_key",
				"application_nonce")) return;
	}
}
