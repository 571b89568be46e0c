/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mls/mls_hpke.h"
#include "tests/voiceserver/dave_wire.h"

/* MLSMessage, FramedContent and signature around a proposal. */
enum { PROPOSAL_OVERHEAD = 256, HEAD_LEN = 4 };

void dave_id_write(uint8_t out[static DAVE_ID_LEN], uint64_t id)
{
	struct wr w;

	wr_init(&w, out, DAVE_ID_LEN);
	wr_u64(&w, id);
}

uint64_t dave_id_read(struct mls_span id)
{
	struct rd r;
	uint64_t v;

	rd_init(&r, id.p, id.len);
	v = rd_u64(&r);
	return rd_done(&r) ? v : 0;
}

int dave_random(void *user, uint8_t *out, size_t n)
{
	rng_fill(user, out, n);
	return TD_OK;
}

int dave_external_make(struct dave_external *ret, struct rng *rng)
{
	struct mls_ctx cx = { dave_random, rng, NULL };
	uint8_t pub[MLS_PUB_LEN];
	struct wr w;
	int r;

	if ((r = mls_hpke_generate(&cx, ret->priv, pub)) != TD_OK)
		return r;
	wr_init(&w, ret->sender, sizeof(ret->sender));
	mls_wr_vec(&w, mls_span(pub, sizeof(pub)));
	wr_u16(&w, MLS_CREDENTIAL_BASIC);
	mls_wr_vec(&w, mls_span("\0", 1));
	ret->len = w.len;
	return w.bad ? TD_ERR_LIMIT : TD_OK;
}

static void proposal_write(struct wr *w, uint64_t channel_id, uint64_t epoch,
	struct mls_span package, uint32_t leaf)
{
	uint8_t group[DAVE_ID_LEN];

	dave_id_write(group, channel_id);
	mls_message_head_write(w, MLS_WIRE_PUBLIC_MESSAGE);
	mls_wr_vec(w, mls_span(group, sizeof(group)));
	wr_u64(w, epoch);
	wr_u8(w, MLS_SENDER_EXTERNAL);
	wr_u32(w, 0);
	mls_wr_varint(w, 0);
	wr_u8(w, MLS_CONTENT_PROPOSAL);
	if (package.len > 0) {
		wr_u16(w, MLS_PROPOSAL_ADD);
		mls_wr_span(w, package);
	} else {
		wr_u16(w, MLS_PROPOSAL_REMOVE);
		wr_u32(w, leaf);
	}
}

int dave_propose(struct dave_proposal *ret, const struct dave_external *by, uint64_t channel_id,
	uint64_t epoch, struct mls_span key_package, uint32_t leaf)
{
	struct mls_public_message m = { 0 };
	struct mls_ctx cx = { 0 };
	uint8_t sig[MLS_SIG_MAX];
	struct wr w = { 0 };
	struct rd r;
	size_t len;
	int err;

	if ((err = mls_wr_new(&w, key_package.len + PROPOSAL_OVERHEAD)) != TD_OK)
		return err;
	proposal_write(&w, channel_id, epoch, key_package, leaf);
	err = TD_ERR_MALFORMED;
	rd_init(&r, w.buf + HEAD_LEN, w.len - HEAD_LEN);
	mls_framed_content_read(&r, &m.content);
	if (w.bad || !rd_done(&r))
		goto out;
	err = mls_public_message_sign(&m.content, sig, &len, by->priv, mls_span(NULL, 0));
	if (err != TD_OK)
		goto out;
	mls_wr_vec(&w, mls_span(sig, len));
	err = mls_public_message_parse(&cx, mls_span(w.buf, w.len), &m);
	if (err != TD_OK)
		goto out;
	mls_proposal_ref(ret->ref, &m);
	ret->message = w.buf;
	ret->len = w.len;
	w.buf = NULL;
out:
	free(w.buf);
	return err;
}

int dave_commit_read(struct dave_commit *ret, struct mls_span payload)
{
	struct mls_ctx cx = { 0 };
	size_t len;
	int r;

	if ((r = mls_public_message_length(payload, &len)) != TD_OK)
		return r;
	ret->message = mls_span(payload.p, len);
	ret->welcome = mls_span(payload.p + len, payload.len - len);
	if ((r = mls_public_message_parse(&cx, ret->message, &ret->m)) != TD_OK)
		return r;
	return ret->m.content.content_type == MLS_CONTENT_COMMIT ? TD_OK : TD_ERR_MALFORMED;
}

bool dave_commit_next(struct rd *refs, struct mls_span *ret)
{
	struct mls_proposal_or_ref p;

	if (!mls_proposal_or_ref_next(refs, &p))
		return false;
	*ret = p.by_ref ? p.ref : mls_span(NULL, 0);
	return true;
}

int dave_welcome_for(uint8_t **ret, size_t *ret_len, struct mls_span welcome,
	const uint8_t ref[static MLS_HASH_LEN])
{
	struct mls_encrypted_secrets one;
	struct mls_welcome_view view;
	const uint8_t *from;
	struct wr w = { 0 };
	struct rd r, secrets;
	int err;

	rd_init(&r, welcome.p, welcome.len);
	mls_welcome_read(&r, &view);
	if (!rd_done(&r))
		return TD_ERR_MALFORMED;
	rd_init(&secrets, view.secrets.p, view.secrets.len);
	for (;;) {
		from = secrets.p;
		if (!mls_encrypted_secrets_next(&secrets, &one))
			return TD_ERR_NOKEY;
		if (mls_span_equal(one.new_member, mls_span(ref, MLS_HASH_LEN)))
			break;
	}
	if (ret == NULL)
		return TD_OK;
	view.secrets = mls_rd_since(&secrets, from);
	if ((err = mls_wr_new(&w, welcome.len)) != TD_OK)
		return err;
	mls_welcome_write(&w, &view);
	if (w.bad) {
		free(w.buf);
		return TD_ERR_MALFORMED;
	}
	*ret = w.buf;
	*ret_len = w.len;
	return TD_OK;
}
