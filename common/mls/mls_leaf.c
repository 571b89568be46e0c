/* SPDX-License-Identifier: ISC */
#include "common/mls/mls_leaf.h"

#include <stdlib.h>

#include "common/mls/mls_crypto.h"

static struct mls_span read_u16s(struct rd *r)
{
	struct mls_span list = mls_rd_vec(r);

	if (list.len % 2 != 0)
		r->bad = true;
	return list;
}

static void read_source(struct rd *r, struct mls_leaf_node *l)
{
	l->source = rd_u8(r);
	switch (l->source) {
	case MLS_SOURCE_KEY_PACKAGE:
		l->not_before = rd_u64(r);
		l->not_after = rd_u64(r);
		break;
	case MLS_SOURCE_UPDATE:
		break;
	case MLS_SOURCE_COMMIT:
		l->parent_hash = mls_rd_vec(r);
		break;
	default:
		r->bad = true;
	}
}

void mls_leaf_node_read(struct rd *r, struct mls_leaf_node *ret)
{
	struct mls_leaf_node l = { 0 };
	const uint8_t *start = r->p;

	l.encryption_key = mls_rd_vec(r);
	l.signature_key = mls_rd_vec(r);
	l.credential_type = rd_u16(r);
	l.identity = mls_rd_vec(r);
	/* How to read on depends on the type, so an unknown one ends it here. */
	if (l.credential_type != MLS_CREDENTIAL_BASIC && l.credential_type != MLS_CREDENTIAL_X509)
		r->bad = true;
	l.versions = read_u16s(r);
	l.suites = read_u16s(r);
	l.extension_types = read_u16s(r);
	l.proposal_types = read_u16s(r);
	l.credential_types = read_u16s(r);
	read_source(r, &l);
	l.extensions = mls_rd_vec(r);
	l.tbs = mls_rd_since(r, start);
	l.signature = mls_rd_vec(r);
	l.raw = mls_rd_since(r, start);
	if (!r->bad && mls_ext_check(l.extensions) < 0)
		r->bad = true;
	if (!r->bad)
		*ret = l;
}

void mls_leaf_node_write_tbs(struct wr *w, const struct mls_leaf_node *l)
{
	mls_wr_vec(w, l->encryption_key);
	mls_wr_vec(w, l->signature_key);
	wr_u16(w, l->credential_type);
	mls_wr_vec(w, l->identity);
	mls_wr_vec(w, l->versions);
	mls_wr_vec(w, l->suites);
	mls_wr_vec(w, l->extension_types);
	mls_wr_vec(w, l->proposal_types);
	mls_wr_vec(w, l->credential_types);
	wr_u8(w, l->source);
	if (l->source == MLS_SOURCE_KEY_PACKAGE) {
		wr_u64(w, l->not_before);
		wr_u64(w, l->not_after);
	} else if (l->source == MLS_SOURCE_COMMIT) {
		mls_wr_vec(w, l->parent_hash);
	}
	mls_wr_vec(w, l->extensions);
}

void mls_leaf_node_write(struct wr *w, const struct mls_leaf_node *l)
{
	mls_leaf_node_write_tbs(w, l);
	mls_wr_vec(w, l->signature);
}

size_t mls_leaf_node_bound(const struct mls_leaf_node *l)
{
	return l->encryption_key.len + l->signature_key.len + l->identity.len + l->versions.len +
		l->suites.len + l->extension_types.len + l->proposal_types.len +
		l->credential_types.len + l->parent_hash.len + l->extensions.len +
		l->signature.len + 11 * 4 + 2 + 1 + 16 + MLS_SIG_MAX;
}

/* What the signature covers: the leaf's own bytes, and its place in the group unless the leaf was
 * made before there was one. */
static size_t tbs_parts(struct mls_span parts[static 4], uint8_t scratch[static 8], uint8_t source,
	struct mls_span tbs, struct mls_span group_id, uint32_t leaf)
{
	struct wr w;
	size_t head;

	parts[0] = tbs;
	if (source == MLS_SOURCE_KEY_PACKAGE)
		return 1;
	wr_init(&w, scratch, 8);
	mls_wr_varint(&w, group_id.len);
	head = w.len;
	wr_u32(&w, leaf);
	parts[1] = mls_span(scratch, head);
	parts[2] = group_id;
	parts[3] = mls_span(scratch + head, 4);
	return 4;
}

int mls_leaf_node_verify(const struct mls_leaf_node *l, struct mls_span group_id, uint32_t leaf)
{
	struct mls_span parts[4];
	uint8_t scratch[8];
	size_t n = tbs_parts(parts, scratch, l->source, l->tbs, group_id, leaf);

	return mls_verify_with_label(l->signature_key, "LeafNodeTBS", parts, n, l->signature);
}

static bool is_default_extension(uint16_t type)
{
	return type >= MLS_EXT_APPLICATION_ID && type <= MLS_EXT_EXTERNAL_SENDERS;
}

int mls_leaf_node_check(struct mls_ctx *cx, const struct mls_leaf_node *l, struct mls_span group_id,
	uint32_t leaf)
{
	struct mls_span data;
	uint16_t type;
	struct rd r;
	int e;

	if (l->credential_type != MLS_CREDENTIAL_BASIC)
		return mls_fail(cx, TD_ERR_UNSUPPORTED, "leaf: credential is not basic");
	if (!mls_u16s_have(l->versions, MLS_VERSION) || !mls_u16s_have(l->suites, MLS_SUITE) ||
		!mls_u16s_have(l->credential_types, l->credential_type))
		return mls_fail(cx, TD_ERR_UNSUPPORTED,
			"leaf: capabilities lack our version, suite or its own credential");
	rd_init(&r, l->extensions.p, l->extensions.len);
	while (mls_ext_next(&r, &type, &data))
		if (!is_default_extension(type) && !mls_u16s_have(l->extension_types, type))
			return mls_fail(cx, TD_ERR_MALFORMED,
				"leaf: extension not in its own capabilities");
	if ((e = mls_p256_check(l->encryption_key)) < 0)
		return mls_fail(cx, e, "leaf: encryption key is no point on the curve");
	if ((e = mls_leaf_node_verify(l, group_id, leaf)) < 0)
		return mls_fail(cx, e, "leaf: signature does not verify");
	return TD_OK;
}

int mls_leaf_node_sign(struct wr *w, struct mls_leaf_node *ret, const struct mls_leaf_node *l,
	const uint8_t signature_priv[static MLS_PRIV_LEN], struct mls_span group_id, uint32_t leaf)
{
	uint8_t sig[MLS_SIG_MAX];
	struct mls_span parts[4];
	uint8_t scratch[8];
	size_t sig_len;
	struct rd rd;
	size_t n;
	int r;

	mls_leaf_node_write_tbs(w, l);
	if (w->bad)
		return TD_ERR_LIMIT;
	n = tbs_parts(parts, scratch, l->source, mls_span(w->buf, w->len), group_id, leaf);
	if ((r = mls_sign_with_label(sig, &sig_len, signature_priv, "LeafNodeTBS", parts, n)) < 0)
		return r;
	mls_wr_vec(w, mls_span(sig, sig_len));
	rd_init(&rd, w->buf, w->len);
	mls_leaf_node_read(&rd, ret);
	return w->bad || !rd_done(&rd) ? TD_ERR_LIMIT : TD_OK;
}

int mls_leaf_new(struct mls_leaf **ret, struct mls_span raw)
{
	struct mls_leaf *l = NULL;
	struct rd r;

	if ((l = calloc(1, sizeof(*l) + raw.len)) == NULL)
		return TD_ERR_NOMEM;
	l->refs = 1;
	if (raw.len > 0)
		memcpy(l->raw, raw.p, raw.len);
	rd_init(&r, l->raw, raw.len);
	mls_leaf_node_read(&r, &l->node);
	if (!rd_done(&r)) {
		free(l);
		return TD_ERR_MALFORMED;
	}
	*ret = l;
	return TD_OK;
}

struct mls_leaf *mls_leaf_ref(struct mls_leaf *l)
{
	if (l != NULL)
		l->refs++;
	return l;
}

void mls_leaf_unref(struct mls_leaf *l)
{
	if (l != NULL && --l->refs == 0)
		free(l);
}
