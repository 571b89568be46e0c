/* SPDX-License-Identifier: ISC */
#include "common/mls/mls_schedule.h"

#include <sodium.h>

static const uint8_t zeros[MLS_HASH_LEN];

static struct mls_span hash_span(const uint8_t h[static MLS_HASH_LEN])
{
	return mls_span(h, MLS_HASH_LEN);
}

void mls_group_context_read(struct rd *r, struct mls_group_context *ret)
{
	struct mls_group_context c = { 0 };
	const uint8_t *start = r->p;

	c.version = rd_u16(r);
	c.suite = rd_u16(r);
	c.group_id = mls_rd_vec(r);
	c.epoch = rd_u64(r);
	c.tree_hash = mls_rd_vec(r);
	c.confirmed_hash = mls_rd_vec(r);
	c.extensions = mls_rd_vec(r);
	c.raw = mls_rd_since(r, start);
	if (!r->bad && mls_ext_check(c.extensions) < 0)
		r->bad = true;
	if (!r->bad)
		*ret = c;
}

void mls_group_context_write(struct wr *w, const struct mls_group_context *c)
{
	wr_u16(w, c->version);
	wr_u16(w, c->suite);
	mls_wr_vec(w, c->group_id);
	wr_u64(w, c->epoch);
	mls_wr_vec(w, c->tree_hash);
	mls_wr_vec(w, c->confirmed_hash);
	mls_wr_vec(w, c->extensions);
}

size_t mls_group_context_bound(const struct mls_group_context *c)
{
	return 12 + 4 * 4 + c->group_id.len + c->tree_hash.len + c->confirmed_hash.len +
		c->extensions.len;
}

void mls_schedule_joiner(struct mls_epoch *e, const uint8_t init_old[static MLS_HASH_LEN],
	const uint8_t commit_secret[static MLS_HASH_LEN], struct mls_span context)
{
	struct mls_span ikm = hash_span(commit_secret);
	uint8_t pre[MLS_HASH_LEN];

	mls_extract(pre, hash_span(init_old), &ikm, 1);
	mls_expand_with_label(e->joiner, MLS_HASH_LEN, hash_span(pre), "joiner", context);
	sodium_memzero(pre, sizeof(pre));
}

static void member_secret(uint8_t out[static MLS_HASH_LEN], const struct mls_epoch *e,
	const uint8_t *psk_secret)
{
	struct mls_span ikm = hash_span(psk_secret != NULL ? psk_secret : zeros);

	mls_extract(out, hash_span(e->joiner), &ikm, 1);
}

void mls_schedule_welcome(struct mls_epoch *e, const uint8_t *psk_secret)
{
	uint8_t member[MLS_HASH_LEN];

	member_secret(member, e, psk_secret);
	mls_derive_secret(e->welcome, member, "welcome");
	sodium_memzero(member, sizeof(member));
}

void mls_schedule_epoch(struct mls_epoch *e, const uint8_t *psk_secret, struct mls_span context)
{
	uint8_t member[MLS_HASH_LEN];

	member_secret(member, e, psk_secret);
	mls_expand_with_label(e->epoch, MLS_HASH_LEN, hash_span(member), "epoch", context);
	sodium_memzero(member, sizeof(member));
	mls_schedule_from_epoch_secret(e);
}

void mls_schedule_from_epoch_secret(struct mls_epoch *e)
{
	mls_derive_secret(e->init, e->epoch, "init");
	mls_derive_secret(e->exporter, e->epoch, "exporter");
	mls_derive_secret(e->authenticator, e->epoch, "authentication");
	mls_derive_secret(e->confirmation_key, e->epoch, "confirm");
	mls_derive_secret(e->membership_key, e->epoch, "membership");
}

void mls_epoch_forget(struct mls_epoch *e)
{
	sodium_memzero(e->joiner, sizeof(e->joiner));
	sodium_memzero(e->welcome, sizeof(e->welcome));
	sodium_memzero(e->epoch, sizeof(e->epoch));
}

void mls_welcome_key(const struct mls_epoch *e, uint8_t key[static MLS_AEAD_KEY_LEN],
	uint8_t nonce[static MLS_AEAD_NONCE_LEN])
{
	struct mls_span none = mls_span(NULL, 0);

	mls_expand_with_label(key, MLS_AEAD_KEY_LEN, hash_span(e->welcome), "key", none);
	mls_expand_with_label(nonce, MLS_AEAD_NONCE_LEN, hash_span(e->welcome), "nonce", none);
}

void mls_confirmed_hash(uint8_t out[static MLS_HASH_LEN], struct mls_span interim_hash,
	struct mls_span content, struct mls_span signature)
{
	static const uint8_t public_message[] = { 0, 1 };
	uint8_t head[4];
	struct wr w;

	wr_init(&w, head, sizeof(head));
	mls_wr_varint(&w, signature.len);
	mls_hash(out,
		(struct mls_span[]){ interim_hash, mls_span(public_message, 2), content,
			mls_span(head, w.len), signature },
		5);
}

void mls_interim_hash(uint8_t out[static MLS_HASH_LEN], struct mls_span confirmed_hash,
	struct mls_span confirmation_tag)
{
	uint8_t head[4];
	struct wr w;

	wr_init(&w, head, sizeof(head));
	mls_wr_varint(&w, confirmation_tag.len);
	mls_hash(out,
		(struct mls_span[]){ confirmed_hash, mls_span(head, w.len), confirmation_tag }, 3);
}

void mls_confirmation_tag(uint8_t out[static MLS_HASH_LEN], const struct mls_epoch *e,
	struct mls_span confirmed_hash)
{
	mls_hmac(out, hash_span(e->confirmation_key), &confirmed_hash, 1);
}

void mls_exporter_base(uint8_t out[static MLS_HASH_LEN], const struct mls_epoch *e,
	const char *label)
{
	mls_derive_secret(out, e->exporter, label);
}

void mls_exporter_from_base(uint8_t *out, size_t len, const uint8_t base[static MLS_HASH_LEN],
	struct mls_span context)
{
	uint8_t h[MLS_HASH_LEN];

	mls_hash(h, &context, 1);
	mls_expand_with_label(out, len, hash_span(base), "exported", hash_span(h));
}
