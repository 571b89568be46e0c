/* SPDX-License-Identifier: ISC */
#include "common/mls/mls_message.h"

/* Proposals */

static void skip_psk(struct rd *r)
{
	enum { EXTERNAL = 1, RESUMPTION = 2 };
	uint8_t type = rd_u8(r);

	if (type == RESUMPTION) {
		rd_u8(r); /* usage */
		mls_rd_vec(r);
		rd_u64(r);
	} else if (type == EXTERNAL) {
		mls_rd_vec(r);
	} else {
		r->bad = true;
	}
	mls_rd_vec(r); /* psk_nonce */
}

static void skip_reinit(struct rd *r)
{
	mls_rd_vec(r);
	rd_u16(r);
	rd_u16(r);
	mls_rd_vec(r);
}

void mls_proposal_read(struct rd *r, struct mls_proposal_view *ret)
{
	const uint8_t *start = r->p;
	struct mls_leaf_node leaf;

	memset(ret, 0, sizeof(*ret));
	ret->type = rd_u16(r);
	switch (ret->type) {
	case MLS_PROPOSAL_ADD:
		mls_key_package_read(r, &ret->add);
		break;
	case MLS_PROPOSAL_UPDATE:
		mls_leaf_node_read(r, &leaf);
		break;
	case MLS_PROPOSAL_REMOVE:
		ret->removed = rd_u32(r);
		break;
	case MLS_PROPOSAL_PSK:
		skip_psk(r);
		break;
	case MLS_PROPOSAL_REINIT:
		skip_reinit(r);
		break;
	case MLS_PROPOSAL_EXTERNAL_INIT:
	case MLS_PROPOSAL_GROUP_CONTEXT_EXTENSIONS:
		mls_rd_vec(r);
		break;
	default: /* where it ends only its own RFC could say */
		r->bad = true;
	}
	ret->raw = mls_rd_since(r, start);
}

void mls_proposal_write(struct wr *w, const struct mls_proposal_view *p)
{
	switch (p->type) {
	case MLS_PROPOSAL_ADD:
		wr_u16(w, p->type);
		mls_key_package_write(w, &p->add);
		break;
	case MLS_PROPOSAL_REMOVE:
		wr_u16(w, p->type);
		wr_u32(w, p->removed);
		break;
	default:
		mls_wr_span(w, p->raw);
	}
}

const char *mls_proposal_refusal(uint16_t type)
{
	switch (type) {
	case MLS_PROPOSAL_ADD:
	case MLS_PROPOSAL_REMOVE:
		return NULL;
	case MLS_PROPOSAL_UPDATE:
		return "proposal type refused: Update";
	case MLS_PROPOSAL_PSK:
		return "proposal type refused: PreSharedKey";
	case MLS_PROPOSAL_REINIT:
		return "proposal type refused: ReInit";
	case MLS_PROPOSAL_EXTERNAL_INIT:
		return "proposal type refused: ExternalInit";
	case MLS_PROPOSAL_GROUP_CONTEXT_EXTENSIONS:
		return "proposal type refused: GroupContextExtensions";
	default:
		return "proposal type refused: unknown";
	}
}

/* Update paths and commits */

void mls_hpke_ciphertext_read(struct rd *r, struct mls_hpke_ciphertext *ret)
{
	ret->kem_output = mls_rd_vec(r);
	ret->ciphertext = mls_rd_vec(r);
}

bool mls_path_node_next(struct rd *nodes, struct mls_path_node *ret)
{
	struct mls_hpke_ciphertext c;
	struct rd list;

	if (nodes->bad || rd_left(nodes) == 0)
		return false;
	ret->key = mls_rd_vec(nodes);
	list = mls_rd_open(nodes);
	ret->ciphertexts = mls_span(list.p, rd_left(&list));
	ret->n_ciphertexts = 0;
	while (!list.bad && rd_left(&list) > 0) {
		mls_hpke_ciphertext_read(&list, &c);
		ret->n_ciphertexts++;
	}
	mls_rd_close(nodes, &list);
	return !nodes->bad;
}

void mls_update_path_read(struct rd *r, struct mls_update_path *ret)
{
	struct mls_path_node node;
	struct rd nodes;

	memset(ret, 0, sizeof(*ret));
	mls_leaf_node_read(r, &ret->leaf);
	nodes = mls_rd_open(r);
	ret->nodes = mls_span(nodes.p, rd_left(&nodes));
	while (mls_path_node_next(&nodes, &node))
		ret->n_nodes++;
	mls_rd_close(r, &nodes);
}

void mls_update_path_write(struct wr *w, const struct mls_update_path *p)
{
	struct mls_path_node node;
	struct rd nodes;
	size_t mark;

	mls_leaf_node_write(w, &p->leaf);
	mark = mls_wr_open(w);
	rd_init(&nodes, p->nodes.p, p->nodes.len);
	while (mls_path_node_next(&nodes, &node)) {
		mls_wr_vec(w, node.key);
		mls_wr_vec(w, node.ciphertexts);
	}
	mls_wr_close(w, mark);
}

bool mls_proposal_or_ref_next(struct rd *proposals, struct mls_proposal_or_ref *ret)
{
	enum { BY_VALUE = 1, BY_REFERENCE = 2 };
	uint8_t type;

	if (proposals->bad || rd_left(proposals) == 0)
		return false;
	type = rd_u8(proposals);
	ret->by_ref = type == BY_REFERENCE;
	if (type == BY_REFERENCE)
		ret->ref = mls_rd_vec(proposals);
	else if (type == BY_VALUE)
		mls_proposal_read(proposals, &ret->proposal);
	else
		proposals->bad = true;
	return !proposals->bad;
}

void mls_commit_read(struct rd *r, struct mls_commit_view *ret)
{
	struct mls_proposal_or_ref p;
	struct rd proposals;

	memset(ret, 0, sizeof(*ret));
	proposals = mls_rd_open(r);
	ret->proposals = mls_span(proposals.p, rd_left(&proposals));
	while (mls_proposal_or_ref_next(&proposals, &p))
		;
	mls_rd_close(r, &proposals);
	ret->has_path = mls_rd_present(r);
	if (ret->has_path)
		mls_update_path_read(r, &ret->path);
}

void mls_commit_write(struct wr *w, const struct mls_commit_view *c)
{
	struct mls_proposal_or_ref p;
	size_t mark = mls_wr_open(w);
	struct rd proposals;

	rd_init(&proposals, c->proposals.p, c->proposals.len);
	while (mls_proposal_or_ref_next(&proposals, &p)) {
		wr_u8(w, p.by_ref ? 2 : 1);
		if (p.by_ref)
			mls_wr_vec(w, p.ref);
		else
			mls_proposal_write(w, &p.proposal);
	}
	mls_wr_close(w, mark);
	wr_u8(w, c->has_path);
	if (c->has_path)
		mls_update_path_write(w, &c->path);
}

/* Framing */

static void read_sender(struct rd *r, struct mls_framed_content *c)
{
	c->sender_type = rd_u8(r);
	switch (c->sender_type) {
	case MLS_SENDER_MEMBER:
	case MLS_SENDER_EXTERNAL:
		c->sender = rd_u32(r);
		break;
	case MLS_SENDER_NEW_MEMBER_PROPOSAL:
	case MLS_SENDER_NEW_MEMBER_COMMIT:
		break;
	default:
		r->bad = true;
	}
}

void mls_framed_content_read(struct rd *r, struct mls_framed_content *ret)
{
	const uint8_t *start = r->p;
	const uint8_t *body;

	memset(ret, 0, sizeof(*ret));
	ret->group_id = mls_rd_vec(r);
	ret->epoch = rd_u64(r);
	read_sender(r, ret);
	ret->authenticated_data = mls_rd_vec(r);
	ret->content_type = rd_u8(r);
	body = r->p;
	if (ret->content_type == MLS_CONTENT_PROPOSAL)
		mls_proposal_read(r, &ret->proposal);
	else if (ret->content_type == MLS_CONTENT_COMMIT)
		mls_commit_read(r, &ret->commit);
	else
		r->bad = true;
	ret->body = mls_rd_since(r, body);
	ret->raw = mls_rd_since(r, start);
}

void mls_framed_content_write(struct wr *w, const struct mls_framed_content *c)
{
	mls_wr_vec(w, c->group_id);
	wr_u64(w, c->epoch);
	wr_u8(w, c->sender_type);
	if (c->sender_type == MLS_SENDER_MEMBER || c->sender_type == MLS_SENDER_EXTERNAL)
		wr_u32(w, c->sender);
	mls_wr_vec(w, c->authenticated_data);
	wr_u8(w, c->content_type);
	if (c->content_type == MLS_CONTENT_PROPOSAL)
		mls_proposal_write(w, &c->proposal);
	else
		mls_commit_write(w, &c->commit);
}

void mls_public_message_read(struct rd *r, struct mls_public_message *ret)
{
	memset(ret, 0, sizeof(*ret));
	mls_framed_content_read(r, &ret->content);
	ret->signature = mls_rd_vec(r);
	if (ret->content.content_type == MLS_CONTENT_COMMIT)
		ret->confirmation_tag = mls_rd_vec(r);
	if (ret->content.sender_type == MLS_SENDER_MEMBER)
		ret->membership_tag = mls_rd_vec(r);
}

void mls_public_message_write(struct wr *w, const struct mls_public_message *m)
{
	mls_framed_content_write(w, &m->content);
	mls_wr_vec(w, m->signature);
	if (m->content.content_type == MLS_CONTENT_COMMIT)
		mls_wr_vec(w, m->confirmation_tag);
	if (m->content.sender_type == MLS_SENDER_MEMBER)
		mls_wr_vec(w, m->membership_tag);
}

uint16_t mls_message_head_read(struct rd *r)
{
	if (rd_u16(r) != MLS_VERSION)
		r->bad = true;
	return rd_u16(r);
}

void mls_message_head_write(struct wr *w, uint16_t wire_format)
{
	wr_u16(w, MLS_VERSION);
	wr_u16(w, wire_format);
}

int mls_public_message_parse(struct mls_ctx *cx, struct mls_span message,
	struct mls_public_message *ret)
{
	struct rd r;
	uint16_t format;

	rd_init(&r, message.p, message.len);
	format = mls_message_head_read(&r);
	if (!r.bad && format == MLS_WIRE_PRIVATE_MESSAGE)
		return mls_fail(cx, TD_ERR_UNSUPPORTED, "message refused: PrivateMessage");
	if (!r.bad && format != MLS_WIRE_PUBLIC_MESSAGE)
		return mls_fail(cx, TD_ERR_UNSUPPORTED, "message refused: not a PublicMessage");
	mls_public_message_read(&r, ret);
	if (!rd_done(&r))
		return mls_fail(cx, TD_ERR_MALFORMED, "message: malformed");
	return TD_OK;
}

int mls_public_message_length(struct mls_span bytes, size_t *ret)
{
	struct mls_public_message m;
	struct rd r;

	rd_init(&r, bytes.p, bytes.len);
	if (mls_message_head_read(&r) != MLS_WIRE_PUBLIC_MESSAGE)
		return TD_ERR_MALFORMED;
	mls_public_message_read(&r, &m);
	if (r.bad)
		return TD_ERR_MALFORMED;
	*ret = bytes.len - rd_left(&r);
	return TD_OK;
}

/* Authentication */

static const uint8_t tbs_head[] = { 0, MLS_VERSION, 0, MLS_WIRE_PUBLIC_MESSAGE };

/* FramedContentTBS; returns the number of parts. */
static size_t tbs_parts(struct mls_span parts[static 3], const struct mls_framed_content *c,
	struct mls_span context)
{
	parts[0] = mls_span(tbs_head, sizeof(tbs_head));
	parts[1] = c->raw;
	parts[2] = context;
	return c->sender_type == MLS_SENDER_MEMBER ? 3 : 2;
}

/* FramedContentAuthData, appended to parts; scratch holds the two length headers. */
static size_t auth_parts(struct mls_span *parts, size_t n, uint8_t scratch[static 8],
	const struct mls_public_message *m)
{
	struct wr w;

	wr_init(&w, scratch, 8);
	mls_wr_varint(&w, m->signature.len);
	parts[n++] = mls_span(scratch, w.len);
	parts[n++] = m->signature;
	if (m->content.content_type == MLS_CONTENT_COMMIT) {
		wr_init(&w, scratch + 4, 4);
		mls_wr_varint(&w, m->confirmation_tag.len);
		parts[n++] = mls_span(scratch + 4, w.len);
		parts[n++] = m->confirmation_tag;
	}
	return n;
}

int mls_public_message_verify(const struct mls_public_message *m, struct mls_span signature_key,
	struct mls_span context)
{
	struct mls_span parts[3];
	size_t n = tbs_parts(parts, &m->content, context);

	return mls_verify_with_label(signature_key, "FramedContentTBS", parts, n, m->signature);
}

int mls_public_message_sign(const struct mls_framed_content *c, uint8_t sig[static MLS_SIG_MAX],
	size_t *len, const uint8_t signature_priv[static MLS_PRIV_LEN], struct mls_span context)
{
	struct mls_span parts[3];
	size_t n = tbs_parts(parts, c, context);

	return mls_sign_with_label(sig, len, signature_priv, "FramedContentTBS", parts, n);
}

void mls_public_message_membership_tag(uint8_t tag[static MLS_HASH_LEN],
	const struct mls_public_message *m, const uint8_t membership_key[static MLS_HASH_LEN],
	struct mls_span context)
{
	struct mls_span parts[7];
	uint8_t scratch[8];
	size_t n = tbs_parts(parts, &m->content, context);

	n = auth_parts(parts, n, scratch, m);
	mls_hmac(tag, mls_span(membership_key, MLS_HASH_LEN), parts, n);
}

int mls_public_message_verify_membership(const struct mls_public_message *m,
	const uint8_t membership_key[static MLS_HASH_LEN], struct mls_span context)
{
	uint8_t tag[MLS_HASH_LEN];

	mls_public_message_membership_tag(tag, m, membership_key, context);
	if (m->membership_tag.len != MLS_HASH_LEN ||
		mls_equal(tag, m->membership_tag.p, MLS_HASH_LEN) != 0)
		return TD_ERR_AUTH;
	return TD_OK;
}

void mls_proposal_ref(uint8_t ref[static MLS_HASH_LEN], const struct mls_public_message *m)
{
	struct mls_span parts[6];
	uint8_t scratch[8];
	size_t n;

	parts[0] = mls_span(tbs_head + 2, 2); /* the wire format, without the version */
	parts[1] = m->content.raw;
	n = auth_parts(parts, 2, scratch, m);
	mls_ref_hash(ref, "MLS 1.0 Proposal Reference", parts, n);
}

/* Welcome */

bool mls_encrypted_secrets_next(struct rd *secrets, struct mls_encrypted_secrets *ret)
{
	if (secrets->bad || rd_left(secrets) == 0)
		return false;
	ret->new_member = mls_rd_vec(secrets);
	mls_hpke_ciphertext_read(secrets, &ret->encrypted);
	return !secrets->bad;
}

void mls_welcome_read(struct rd *r, struct mls_welcome_view *ret)
{
	struct mls_encrypted_secrets s;
	struct rd secrets;

	memset(ret, 0, sizeof(*ret));
	ret->suite = rd_u16(r);
	secrets = mls_rd_open(r);
	ret->secrets = mls_span(secrets.p, rd_left(&secrets));
	while (mls_encrypted_secrets_next(&secrets, &s))
		;
	mls_rd_close(r, &secrets);
	ret->encrypted_group_info = mls_rd_vec(r);
}

void mls_welcome_write(struct wr *w, const struct mls_welcome_view *v)
{
	wr_u16(w, v->suite);
	mls_wr_vec(w, v->secrets);
	mls_wr_vec(w, v->encrypted_group_info);
}

void mls_group_secrets_read(struct rd *r, struct mls_group_secrets *ret)
{
	struct rd psks;

	memset(ret, 0, sizeof(*ret));
	ret->joiner_secret = mls_rd_vec(r);
	ret->has_path_secret = mls_rd_present(r);
	if (ret->has_path_secret)
		ret->path_secret = mls_rd_vec(r);
	psks = mls_rd_open(r);
	ret->psks = mls_span(psks.p, rd_left(&psks));
	while (!psks.bad && rd_left(&psks) > 0)
		skip_psk(&psks);
	mls_rd_close(r, &psks);
}

void mls_group_secrets_write(struct wr *w, const struct mls_group_secrets *s)
{
	mls_wr_vec(w, s->joiner_secret);
	wr_u8(w, s->has_path_secret);
	if (s->has_path_secret)
		mls_wr_vec(w, s->path_secret);
	mls_wr_vec(w, s->psks);
}

void mls_group_info_read(struct rd *r, struct mls_group_info *ret)
{
	const uint8_t *start = r->p;

	memset(ret, 0, sizeof(*ret));
	mls_group_context_read(r, &ret->context);
	ret->extensions = mls_rd_vec(r);
	ret->confirmation_tag = mls_rd_vec(r);
	ret->signer = rd_u32(r);
	ret->tbs = mls_rd_since(r, start);
	ret->signature = mls_rd_vec(r);
	if (!r->bad && mls_ext_check(ret->extensions) < 0)
		r->bad = true;
}

void mls_group_info_write(struct wr *w, const struct mls_group_info *g)
{
	mls_group_context_write(w, &g->context);
	mls_wr_vec(w, g->extensions);
	mls_wr_vec(w, g->confirmation_tag);
	wr_u32(w, g->signer);
	mls_wr_vec(w, g->signature);
}

/* External senders */

void mls_external_sender_read(struct rd *r, struct mls_external_sender *ret)
{
	const uint8_t *start = r->p;

	memset(ret, 0, sizeof(*ret));
	ret->signature_key = mls_rd_vec(r);
	ret->credential_type = rd_u16(r);
	ret->identity = mls_rd_vec(r);
	if (ret->credential_type != MLS_CREDENTIAL_BASIC &&
		ret->credential_type != MLS_CREDENTIAL_X509)
		r->bad = true;
	ret->raw = mls_rd_since(r, start);
}

void mls_external_senders_write(struct wr *w, struct mls_span sender)
{
	size_t data;
	size_t list;

	wr_u16(w, MLS_EXT_EXTERNAL_SENDERS);
	data = mls_wr_open(w);
	list = mls_wr_open(w);
	mls_wr_span(w, sender);
	mls_wr_close(w, list);
	mls_wr_close(w, data);
}

bool mls_external_sender_find(struct mls_span extensions, uint32_t index,
	struct mls_external_sender *ret)
{
	struct mls_span data;
	struct rd outer;
	struct rd list;
	bool found = false;
	uint32_t i;

	if (!mls_ext_find(extensions, MLS_EXT_EXTERNAL_SENDERS, &data))
		return false;
	rd_init(&outer, data.p, data.len);
	list = mls_rd_open(&outer);
	for (i = 0; !list.bad && rd_left(&list) > 0; i++) {
		struct mls_external_sender s;

		mls_external_sender_read(&list, &s);
		if (i == index && !list.bad) {
			*ret = s;
			found = true;
		}
	}
	mls_rd_close(&outer, &list);
	return found && rd_done(&outer);
}
