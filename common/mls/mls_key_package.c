/* SPDX-License-Identifier: ISC */
#include "common/mls/mls_key_package.h"

#include <sodium.h>
#include <stdlib.h>

#include "common/mls/mls_hpke.h"

void mls_key_package_read(struct rd *r, struct mls_key_package *ret)
{
	struct mls_key_package kp = { 0 };
	const uint8_t *start = r->p;

	kp.version = rd_u16(r);
	kp.suite = rd_u16(r);
	kp.init_key = mls_rd_vec(r);
	mls_leaf_node_read(r, &kp.leaf);
	kp.extensions = mls_rd_vec(r);
	kp.tbs = mls_rd_since(r, start);
	kp.signature = mls_rd_vec(r);
	kp.raw = mls_rd_since(r, start);
	if (!r->bad && mls_ext_check(kp.extensions) < 0)
		r->bad = true;
	if (!r->bad)
		*ret = kp;
}

static void write_tbs(struct wr *w, const struct mls_key_package *kp)
{
	wr_u16(w, kp->version);
	wr_u16(w, kp->suite);
	mls_wr_vec(w, kp->init_key);
	mls_leaf_node_write(w, &kp->leaf);
	mls_wr_vec(w, kp->extensions);
}

void mls_key_package_write(struct wr *w, const struct mls_key_package *kp)
{
	write_tbs(w, kp);
	mls_wr_vec(w, kp->signature);
}

int mls_key_package_check(struct mls_ctx *cx, const struct mls_key_package *kp)
{
	int r;

	if (kp->version != MLS_VERSION || kp->suite != MLS_SUITE)
		return mls_fail(cx, TD_ERR_UNSUPPORTED, "key package: other version or suite");
	if (kp->leaf.source != MLS_SOURCE_KEY_PACKAGE)
		return mls_fail(cx, TD_ERR_MALFORMED, "key package: leaf of another source");
	if (mls_span_equal(kp->init_key, kp->leaf.encryption_key))
		return mls_fail(cx, TD_ERR_MALFORMED, "key package: init key is the leaf's key");
	if ((r = mls_p256_check(kp->init_key)) < 0)
		return mls_fail(cx, r, "key package: init key is no point on the curve");
	if ((r = mls_leaf_node_check(cx, &kp->leaf, mls_span(NULL, 0), 0)) < 0)
		return r;
	r = mls_verify_with_label(kp->leaf.signature_key, "KeyPackageTBS", &kp->tbs, 1,
		kp->signature);
	if (r < 0)
		return mls_fail(cx, r, "key package: signature does not verify");
	return TD_OK;
}

void mls_key_package_ref(uint8_t ref[static MLS_HASH_LEN], const struct mls_key_package *kp)
{
	mls_ref_hash(ref, "MLS 1.0 KeyPackage Reference", &kp->raw, 1);
}

void mls_own_package_free(struct mls_own_package *own)
{
	if (own == NULL)
		return;
	mls_secret_free(own->keys);
	free(own->bytes);
	free(own);
}

static int fits(const uint8_t priv[static MLS_PRIV_LEN], struct mls_span pub)
{
	uint8_t own[MLS_PUB_LEN];
	int r = mls_p256_public(own, priv);

	if (r < 0)
		return r;
	return mls_span_equal(mls_span(own, sizeof(own)), pub) ? TD_OK : TD_ERR_MALFORMED;
}

int mls_own_package_load(struct mls_ctx *cx, struct mls_own_package **ret, struct mls_span bytes,
	const struct mls_package_keys *keys)
{
	struct mls_own_package *own = NULL;
	struct rd rd;
	int r = TD_ERR_NOMEM;

	if ((own = calloc(1, sizeof(*own))) == NULL ||
		(own->keys = mls_secret_new(sizeof(*own->keys))) == NULL ||
		(own->bytes = malloc(bytes.len + 1)) == NULL)
		goto out;
	*own->keys = *keys;
	memcpy(own->bytes, bytes.p, bytes.len);
	rd_init(&rd, own->bytes, bytes.len);
	mls_key_package_read(&rd, &own->package);
	if (!rd_done(&rd)) {
		r = mls_fail(cx, TD_ERR_MALFORMED, "own key package: malformed");
		goto out;
	}
	if ((r = fits(keys->init, own->package.init_key)) < 0 ||
		(r = fits(keys->leaf, own->package.leaf.encryption_key)) < 0 ||
		(r = fits(keys->signature, own->package.leaf.signature_key)) < 0) {
		r = mls_fail(cx, r, "own key package: a private key does not fit");
		goto out;
	}
	mls_key_package_ref(own->ref, &own->package);
	*ret = own;
	own = NULL;
out:
	mls_own_package_free(own);
	return r;
}

/* Signs leaf and package over the keys and writes the KeyPackage to *out (caller frees out->buf).
 */
static int build(struct wr *out, const struct mls_package_keys *keys,
	const uint8_t init_pub[static MLS_PUB_LEN], const uint8_t leaf_pub[static MLS_PUB_LEN],
	struct mls_span identity)
{
	static const uint8_t version[] = { 0, MLS_VERSION };
	static const uint8_t suite[] = { 0, MLS_SUITE };
	static const uint8_t basic[] = { 0, MLS_CREDENTIAL_BASIC };
	struct mls_key_package kp = { .version = MLS_VERSION, .suite = MLS_SUITE };
	uint8_t signature_pub[MLS_PUB_LEN];
	uint8_t sig[MLS_SIG_MAX];
	struct mls_span tbs;
	struct wr leaf = { 0 };
	size_t sig_len;
	int r;

	if ((r = mls_p256_public(signature_pub, keys->signature)) < 0)
		goto out;
	kp.init_key = mls_span(init_pub, MLS_PUB_LEN);
	kp.leaf = (struct mls_leaf_node){
		.encryption_key = mls_span(leaf_pub, MLS_PUB_LEN),
		.signature_key = mls_span(signature_pub, MLS_PUB_LEN),
		.credential_type = MLS_CREDENTIAL_BASIC,
		.identity = identity,
		.versions = mls_span(version, 2),
		.suites = mls_span(suite, 2),
		.credential_types = mls_span(basic, 2),
		.source = MLS_SOURCE_KEY_PACKAGE,
		.not_after = UINT64_MAX,
	};
	if ((r = mls_wr_new(&leaf, mls_leaf_node_bound(&kp.leaf))) < 0 ||
		(r = mls_leaf_node_sign(&leaf, &kp.leaf, &kp.leaf, keys->signature,
			 mls_span(NULL, 0), 0)) < 0 ||
		(r = mls_wr_new(out, leaf.len + MLS_PUB_LEN + MLS_SIG_MAX + 32)) < 0)
		goto out;
	write_tbs(out, &kp);
	tbs = mls_span(out->buf, out->len);
	r = mls_sign_with_label(sig, &sig_len, keys->signature, "KeyPackageTBS", &tbs, 1);
	if (r < 0)
		goto out;
	mls_wr_vec(out, mls_span(sig, sig_len));
	r = out->bad ? TD_ERR_LIMIT : TD_OK;
out:
	free(leaf.buf);
	return r;
}

int mls_own_package_new(struct mls_ctx *cx, struct mls_own_package **ret, struct mls_span identity,
	const uint8_t signature_priv[static MLS_PRIV_LEN])
{
	struct mls_package_keys *keys = NULL;
	uint8_t init_pub[MLS_PUB_LEN];
	uint8_t leaf_pub[MLS_PUB_LEN];
	struct wr out = { 0 };
	int r = TD_ERR_NOMEM;

	if ((keys = mls_secret_new(sizeof(*keys))) == NULL)
		goto out;
	memcpy(keys->signature, signature_priv, MLS_PRIV_LEN);
	if ((r = mls_hpke_generate(cx, keys->init, init_pub)) < 0 ||
		(r = mls_hpke_generate(cx, keys->leaf, leaf_pub)) < 0 ||
		(r = build(&out, keys, init_pub, leaf_pub, identity)) < 0)
		goto out;
	r = mls_own_package_load(cx, ret, mls_span(out.buf, out.len), keys);
out:
	free(out.buf);
	mls_secret_free(keys);
	return r;
}
