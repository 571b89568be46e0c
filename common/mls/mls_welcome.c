/* SPDX-License-Identifier: ISC */
#include <sodium.h>
#include <stdlib.h>

#include "common/mls/mls_group_state.h"
#include "common/mls/mls_hpke.h"

/*
 * Welcome (RFC 9420 section 12.4.3), made and processed.
 */

/* Making */

/* GroupInfo with the tree inside, signed and sealed; *ret is the caller's to free. */
static int seal_group_info(const struct mls_group *g, uint8_t **ret, size_t *ret_len)
{
	size_t tree_bound = mls_tree_bound(&g->tree);
	uint8_t nonce[MLS_AEAD_NONCE_LEN];
	uint8_t key[MLS_AEAD_KEY_LEN];
	uint8_t sig[MLS_SIG_MAX];
	uint8_t *sealed = NULL;
	struct mls_span tbs;
	struct wr w = { 0 };
	size_t extensions;
	size_t data;
	size_t len;
	int r;

	r = mls_wr_new(&w, g->context.raw.len + tree_bound + MLS_SIG_MAX + MLS_HASH_LEN + 64);
	if (r < 0)
		goto out;
	mls_wr_span(&w, g->context.raw);
	extensions = mls_wr_open(&w);
	wr_u16(&w, MLS_EXT_RATCHET_TREE);
	data = mls_wr_open(&w);
	mls_tree_write(&w, &g->tree);
	mls_wr_close(&w, data);
	mls_wr_close(&w, extensions);
	mls_wr_vec(&w, mls_span(g->confirmation_tag, MLS_HASH_LEN));
	wr_u32(&w, g->own);
	tbs = mls_span(w.buf, w.len);
	r = w.bad ? TD_ERR_LIMIT
		  : mls_sign_with_label(sig, &len, g->keys->signature, "GroupInfoTBS", &tbs, 1);
	if (r < 0)
		goto out;
	mls_wr_vec(&w, mls_span(sig, len));
	r = TD_ERR_NOMEM;
	if (w.bad || (sealed = malloc(w.len + MLS_AEAD_TAG_LEN)) == NULL)
		goto out;
	mls_welcome_key(&g->keys->epoch, key, nonce);
	if ((r = mls_aead_seal(sealed, key, nonce, mls_span(w.buf, w.len))) < 0)
		goto out;
	*ret = sealed;
	*ret_len = w.len + MLS_AEAD_TAG_LEN;
	sealed = NULL;
out:
	sodium_memzero(key, sizeof(key));
	free(sealed);
	free(w.buf);
	return r;
}

enum {
	GROUP_SECRETS_MAX = 1 + MLS_HASH_LEN + 1 + 1 + MLS_HASH_LEN + 1,
	ENCRYPTED_SECRETS_MAX =
		1 + MLS_HASH_LEN + 2 + MLS_PUB_LEN + 2 + GROUP_SECRETS_MAX + MLS_AEAD_TAG_LEN,
};

static int write_secrets(struct mls_ctx *cx, struct wr *w, const struct mls_group *g,
	const struct mls_joiner *joiner, const struct mls_own_path *path, struct mls_span context)
{
	const uint8_t *path_secret = path != NULL ? mls_path_secret_for(path, joiner->leaf) : NULL;
	struct mls_group_secrets s = {
		.joiner_secret = mls_span(g->keys->epoch.joiner, MLS_HASH_LEN),
		.has_path_secret = path_secret != NULL,
		.path_secret = mls_span(path_secret, path_secret != NULL ? MLS_HASH_LEN : 0),
	};
	uint8_t sealed[GROUP_SECRETS_MAX + MLS_AEAD_TAG_LEN];
	uint8_t plain[GROUP_SECRETS_MAX];
	uint8_t kem_output[MLS_PUB_LEN];
	uint8_t ref[MLS_HASH_LEN];
	struct wr p;
	int r;

	wr_init(&p, plain, sizeof(plain));
	mls_group_secrets_write(&p, &s);
	r = p.bad ? TD_ERR_LIMIT
		  : mls_encrypt_with_label(cx, kem_output, sealed, joiner->package->init_key,
			    "Welcome", context, mls_span(plain, p.len));
	sodium_memzero(plain, sizeof(plain));
	if (r < 0)
		return r;
	mls_key_package_ref(ref, joiner->package);
	mls_wr_vec(w, mls_span(ref, sizeof(ref)));
	mls_wr_vec(w, mls_span(kem_output, sizeof(kem_output)));
	mls_wr_vec(w, mls_span(sealed, p.len + MLS_AEAD_TAG_LEN));
	return TD_OK;
}

int mls_welcome_make(struct mls_ctx *cx, const struct mls_group *next,
	const struct mls_change *change, const struct mls_own_path *path, uint8_t **ret,
	size_t *ret_len)
{
	uint8_t *info = NULL;
	struct mls_span sealed;
	struct wr w = { 0 };
	size_t info_len;
	size_t mark;
	uint32_t i;
	int r;

	if ((r = seal_group_info(next, &info, &info_len)) < 0)
		goto out;
	sealed = mls_span(info, info_len);
	r = mls_wr_new(&w, 16 + info_len + change->n_joiners * (size_t)ENCRYPTED_SECRETS_MAX);
	if (r < 0)
		goto out;
	wr_u16(&w, MLS_SUITE);
	mark = mls_wr_open(&w);
	for (i = 0; i < change->n_joiners; i++) {
		r = write_secrets(cx, &w, next, &change->joiners[i], path, sealed);
		if (r < 0)
			goto out;
	}
	mls_wr_close(&w, mark);
	mls_wr_vec(&w, sealed);
	if (w.bad) {
		r = TD_ERR_LIMIT;
		goto out;
	}
	*ret = w.buf;
	*ret_len = w.len;
	w.buf = NULL;
out:
	free(w.buf);
	free(info);
	return r;
}

/* Processing */

static int find_secrets(struct mls_ctx *cx, const struct mls_own_package *own,
	const struct mls_welcome_view *welcome, struct mls_encrypted_secrets *ret)
{
	struct mls_encrypted_secrets s;
	unsigned found = 0;
	struct rd r;

	rd_init(&r, welcome->secrets.p, welcome->secrets.len);
	while (mls_encrypted_secrets_next(&r, &s)) {
		if (mls_span_equal(s.new_member, mls_span(own->ref, MLS_HASH_LEN))) {
			*ret = s;
			found++;
		}
	}
	if (found == 0)
		return mls_fail(cx, TD_ERR_NOKEY, "welcome: not for our key package");
	if (found > 1)
		return mls_fail(cx, TD_ERR_DUPLICATE, "welcome: our key package twice");
	return TD_OK;
}

int mls_welcome_open_secrets(struct mls_ctx *cx, const struct mls_own_package *own,
	const struct mls_welcome_view *welcome, uint8_t plain[static MLS_GROUP_SECRETS_MAX],
	struct mls_group_secrets *ret)
{
	struct mls_encrypted_secrets s = { 0 };
	struct rd rd;
	int r;

	if ((r = find_secrets(cx, own, welcome, &s)) < 0)
		return r;
	if (s.encrypted.ciphertext.len > MLS_GROUP_SECRETS_MAX)
		return mls_fail(cx, TD_ERR_LIMIT, "welcome: group secrets too long");
	r = mls_decrypt_with_label(plain, own->keys->init, "Welcome", welcome->encrypted_group_info,
		s.encrypted.kem_output, s.encrypted.ciphertext);
	if (r < 0)
		return mls_fail(cx, r, "welcome: group secrets do not open");
	rd_init(&rd, plain, s.encrypted.ciphertext.len - MLS_AEAD_TAG_LEN);
	mls_group_secrets_read(&rd, ret);
	if (!rd_done(&rd) || ret->joiner_secret.len != MLS_HASH_LEN ||
		(ret->has_path_secret && ret->path_secret.len != MLS_HASH_LEN))
		return mls_fail(cx, TD_ERR_MALFORMED, "welcome: group secrets malformed");
	return TD_OK;
}

/* Opens GroupInfo into plain, which has room for the ciphertext. g->keys->epoch has the welcome
 * secret. */
static int open_group_info(struct mls_ctx *cx, const struct mls_group *g, struct mls_span sealed,
	uint8_t *plain, struct mls_group_info *ret)
{
	uint8_t nonce[MLS_AEAD_NONCE_LEN];
	uint8_t key[MLS_AEAD_KEY_LEN];
	struct rd rd;
	int r;

	mls_welcome_key(&g->keys->epoch, key, nonce);
	r = mls_aead_open(plain, key, nonce, sealed);
	sodium_memzero(key, sizeof(key));
	if (r < 0)
		return mls_fail(cx, r, "welcome: group info does not open");
	rd_init(&rd, plain, sealed.len - MLS_AEAD_TAG_LEN);
	mls_group_info_read(&rd, ret);
	if (!rd_done(&rd))
		return mls_fail(cx, TD_ERR_MALFORMED, "welcome: group info malformed");
	if (ret->context.version != MLS_VERSION || ret->context.suite != MLS_SUITE)
		return mls_fail(cx, TD_ERR_UNSUPPORTED, "welcome: other version or suite");
	return TD_OK;
}

static int take_tree(struct mls_ctx *cx, struct mls_group *g, const struct mls_group_info *info,
	struct mls_span given)
{
	struct mls_span content = given;
	struct mls_span data;
	struct rd rd;
	int r;

	if (content.len == 0) {
		if (!mls_ext_find(info->extensions, MLS_EXT_RATCHET_TREE, &data))
			return mls_fail(cx, TD_ERR_UNSUPPORTED, "welcome: without a ratchet tree");
		rd_init(&rd, data.p, data.len);
		content = mls_rd_vec(&rd);
		if (!rd_done(&rd))
			return mls_fail(cx, TD_ERR_MALFORMED, "welcome: ratchet tree malformed");
	}
	if ((r = mls_tree_read(&g->tree, content)) < 0)
		return mls_fail(cx, r, "welcome: ratchet tree malformed");
	return TD_OK;
}

/* Everything that can be said of a GroupInfo and its tree without secrets. */
static int check_group_info(struct mls_ctx *cx, const struct mls_group *g,
	const struct mls_group_info *info)
{
	const struct mls_leaf_node *signer = mls_tree_leaf(&g->tree, info->signer);
	uint8_t hash[MLS_HASH_LEN];
	int r;

	mls_tree_hash(&g->tree, mls_root(g->tree.n_leaves), hash);
	if (!mls_span_equal(info->context.tree_hash, mls_span(hash, sizeof(hash))))
		return mls_fail(cx, TD_ERR_AUTH, "welcome: tree hash does not fit");
	if (signer == NULL)
		return mls_fail(cx, TD_ERR_MALFORMED, "welcome: signer is no member");
	r = mls_verify_with_label(signer->signature_key, "GroupInfoTBS", &info->tbs, 1,
		info->signature);
	if (r < 0)
		return mls_fail(cx, r, "welcome: signature does not verify");
	if ((r = mls_tree_check_parents(cx, &g->tree)) < 0 ||
		(r = mls_tree_check_unique(cx, &g->tree)) < 0 ||
		(r = mls_tree_check_nodes(cx, &g->tree, info->context.group_id)) < 0)
		return r;
	return TD_OK;
}

static int find_own_leaf(struct mls_ctx *cx, struct mls_group *g, const struct mls_own_package *own,
	uint32_t signer)
{
	const struct mls_leaf_node *l;
	uint32_t i;

	for (i = 0; i < g->tree.n_leaves; i++) {
		l = mls_tree_leaf(&g->tree, i);
		if (l != NULL && mls_span_equal(l->raw, own->package.leaf.raw))
			break;
	}
	if (i == g->tree.n_leaves || i == signer)
		return mls_fail(cx, TD_ERR_MALFORMED, "welcome: our leaf is not in the tree");
	g->own = i;
	memcpy(g->keys->tree.leaf, own->keys->leaf, MLS_PRIV_LEN);
	memcpy(g->keys->signature, own->keys->signature, MLS_PRIV_LEN);
	return TD_OK;
}

static int enter(struct mls_ctx *cx, struct mls_group *g, const struct mls_group_info *info,
	const uint8_t *psk_secret)
{
	int r;

	if ((r = mls_group_set_context(g, &info->context)) < 0)
		return r;
	mls_schedule_epoch(&g->keys->epoch, psk_secret, g->context.raw);
	mls_epoch_forget(&g->keys->epoch);
	mls_group_confirm(g);
	if (info->confirmation_tag.len != MLS_HASH_LEN ||
		mls_equal(info->confirmation_tag.p, g->confirmation_tag, MLS_HASH_LEN) != 0)
		return mls_fail(cx, TD_ERR_AUTH, "welcome: confirmation tag does not verify");
	return TD_OK;
}

static int read_welcome(struct mls_ctx *cx, struct mls_span bytes, struct mls_welcome_view *ret)
{
	struct rd rd;

	rd_init(&rd, bytes.p, bytes.len);
	/* Suite 1 would begin like version 1; it is not ours, so this is a header. */
	if (bytes.len >= 4 && memcmp(bytes.p, (const uint8_t[]){ 0, 1, 0, 3 }, 4) == 0)
		mls_message_head_read(&rd);
	mls_welcome_read(&rd, ret);
	if (!rd_done(&rd))
		return mls_fail(cx, TD_ERR_MALFORMED, "welcome: malformed");
	if (ret->suite != MLS_SUITE)
		return mls_fail(cx, TD_ERR_UNSUPPORTED, "welcome: other suite");
	return TD_OK;
}

int mls_group_join(struct mls_ctx *cx, struct mls_group **ret, const struct mls_own_package *own,
	struct mls_span welcome, const struct mls_join_options *options)
{
	static const struct mls_join_options none;
	struct mls_group_secrets secrets;
	struct mls_welcome_view view;
	struct mls_group_info info;
	struct mls_group *g = NULL;
	uint8_t *secret_bytes = NULL;
	uint8_t *info_bytes = NULL;
	int r;

	if (options == NULL)
		options = &none;
	if ((r = read_welcome(cx, welcome, &view)) < 0 || (r = mls_group_alloc(&g)) < 0)
		goto out;
	r = TD_ERR_NOMEM;
	if ((secret_bytes = mls_secret_new(MLS_GROUP_SECRETS_MAX)) == NULL ||
		(info_bytes = malloc(view.encrypted_group_info.len + 1)) == NULL)
		goto out;
	if ((r = mls_welcome_open_secrets(cx, own, &view, secret_bytes, &secrets)) < 0)
		goto out;
	if (secrets.psks.len > 0 && options->psk_secret == NULL) {
		r = mls_fail(cx, TD_ERR_UNSUPPORTED, "welcome refused: pre-shared keys");
		goto out;
	}
	memcpy(g->keys->epoch.joiner, secrets.joiner_secret.p, MLS_HASH_LEN);
	mls_schedule_welcome(&g->keys->epoch, options->psk_secret);
	if ((r = open_group_info(cx, g, view.encrypted_group_info, info_bytes, &info)) < 0 ||
		(r = take_tree(cx, g, &info, options->tree)) < 0 ||
		(r = check_group_info(cx, g, &info)) < 0 ||
		(r = find_own_leaf(cx, g, own, info.signer)) < 0)
		goto out;
	if (secrets.has_path_secret) {
		r = mls_path_join(cx, &g->tree, g->own, info.signer, secrets.path_secret.p,
			&g->keys->tree);
		if (r < 0)
			goto out;
	}
	if ((r = enter(cx, g, &info, options->psk_secret)) < 0)
		goto out;
	*ret = g;
	g = NULL;
out:
	mls_secret_free(secret_bytes);
	free(info_bytes);
	mls_group_free(g);
	return r;
}
