/* SPDX-License-Identifier: ISC */
/*
 * A DAVE session on hostile messages, with a real call behind it: three sessions of ours and a
 * gateway that signs. The bytes are a script of what the gateway does; good messages can have bytes
 * changed, cut or added on their way to the session under test, member 0. Whatever came before, at
 * the end a call made anew has to work.
 *
 * Curve, signatures, AEAD and locked memory are toys with the same contracts, and fast. The first
 * byte: bit 0 begins with a call of three, bit 1 lets every signature and tag pass, so that changed
 * bytes get behind them.
 */
#include "tests/unit/dave_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMBERS = 3, STEPS_MAX = 24 };

/* ---- in the place of the real ones ---- */

static bool believing;

int __wrap_mls_p256_public(uint8_t pub[static MLS_PUB_LEN],
	const uint8_t priv[static MLS_PRIV_LEN]);
int __wrap_mls_p256_check(struct mls_span pub);
int __wrap_mls_p256_ecdh(uint8_t out[static 32], const uint8_t priv[static MLS_PRIV_LEN],
	struct mls_span pub);
int __wrap_mls_sign_with_label(uint8_t sig[static MLS_SIG_MAX], size_t *len,
	const uint8_t priv[static MLS_PRIV_LEN], const char *label, const struct mls_span *content,
	size_t n);
int __wrap_mls_verify_with_label(struct mls_span pub, const char *label,
	const struct mls_span *content, size_t n, struct mls_span sig);
int __wrap_mls_aead_seal(uint8_t *sealed, const uint8_t key[static MLS_AEAD_KEY_LEN],
	const uint8_t nonce[static MLS_AEAD_NONCE_LEN], struct mls_span plain);
int __wrap_mls_aead_open(uint8_t *plain, const uint8_t key[static MLS_AEAD_KEY_LEN],
	const uint8_t nonce[static MLS_AEAD_NONCE_LEN], struct mls_span sealed);
int __wrap_mls_equal(const uint8_t *a, const uint8_t *b, size_t n);
int __real_mls_equal(const uint8_t *a, const uint8_t *b, size_t n);

/* Numbers modulo a prime: a point is one of them, written down eight times. */
static const uint64_t prime = (UINT64_C(1) << 61) - 1;

static uint64_t times(uint64_t a, uint64_t b)
{
	return (uint64_t)((unsigned __int128)a * b % prime);
}

static uint64_t power(uint64_t base, const uint8_t priv[static MLS_PRIV_LEN])
{
	uint64_t result = 1, exponent;

	for (memcpy(&exponent, priv, 8); exponent > 0; exponent >>= 1, base = times(base, base))
		if ((exponent & 1) != 0)
			result = times(result, base);
	return result;
}

int __wrap_mls_p256_public(uint8_t pub[static MLS_PUB_LEN], const uint8_t priv[static MLS_PRIV_LEN])
{
	uint64_t point = power(3, priv);
	int i;

	if (sodium_is_zero(priv, MLS_PRIV_LEN))
		return TD_ERR_MALFORMED;
	pub[0] = 4;
	for (i = 0; i < 8; i++)
		memcpy(pub + 1 + 8 * i, &point, 8);
	return TD_OK;
}

int __wrap_mls_p256_check(struct mls_span pub)
{
	uint64_t point;

	if (pub.len != MLS_PUB_LEN || pub.p[0] != 4 || memcmp(pub.p + 1, pub.p + 9, 56) != 0)
		return TD_ERR_MALFORMED;
	memcpy(&point, pub.p + 1, 8);
	return point > 0 && point < prime ? TD_OK : TD_ERR_MALFORMED;
}

int __wrap_mls_p256_ecdh(uint8_t out[static 32], const uint8_t priv[static MLS_PRIV_LEN],
	struct mls_span pub)
{
	uint64_t point;

	if (__wrap_mls_p256_check(pub) < 0 || sodium_is_zero(priv, MLS_PRIV_LEN))
		return TD_ERR_MALFORMED;
	memcpy(&point, pub.p + 1, 8);
	point = power(point, priv);
	memset(out, 0, 32);
	memcpy(out, &point, 8);
	return TD_OK;
}

static void toy_hash(uint8_t out[static MLS_HASH_LEN], struct mls_span first, struct mls_span next,
	const struct mls_span *rest, size_t n)
{
	struct mls_span parts[12] = { first, next };

	SIM_MUST(n <= 10);
	if (n > 0)
		memcpy(parts + 2, rest, n * sizeof(*rest));
	mls_hash(out, parts, 2 + n);
}

int __wrap_mls_sign_with_label(uint8_t sig[static MLS_SIG_MAX], size_t *len,
	const uint8_t priv[static MLS_PRIV_LEN], const char *label, const struct mls_span *content,
	size_t n)
{
	uint8_t pub[MLS_PUB_LEN];
	int r = __wrap_mls_p256_public(pub, priv);

	if (r < 0)
		return r;
	memset(sig, 0x30, MLS_SIG_MAX);
	toy_hash(sig, mls_span(pub, sizeof(pub)), mls_span(label, strlen(label)), content, n);
	*len = 71;
	return TD_OK;
}

int __wrap_mls_verify_with_label(struct mls_span pub, const char *label,
	const struct mls_span *content, size_t n, struct mls_span sig)
{
	uint8_t good[MLS_HASH_LEN];

	if (__wrap_mls_p256_check(pub) < 0)
		return TD_ERR_MALFORMED;
	toy_hash(good, pub, mls_span(label, strlen(label)), content, n);
	return believing || (sig.len == 71 && memcmp(sig.p, good, sizeof(good)) == 0) ? TD_OK
										      : TD_ERR_AUTH;
}

static void toy_tag(uint8_t tag[static MLS_HASH_LEN], const uint8_t *key, const uint8_t *nonce,
	struct mls_span plain)
{
	toy_hash(tag, mls_span(key, MLS_AEAD_KEY_LEN), mls_span(nonce, MLS_AEAD_NONCE_LEN), &plain,
		1);
}

int __wrap_mls_aead_seal(uint8_t *sealed, const uint8_t key[static MLS_AEAD_KEY_LEN],
	const uint8_t nonce[static MLS_AEAD_NONCE_LEN], struct mls_span plain)
{
	uint8_t tag[MLS_HASH_LEN];

	toy_tag(tag, key, nonce, plain);
	memmove(sealed, plain.p, plain.len);
	memcpy(sealed + plain.len, tag, MLS_AEAD_TAG_LEN);
	return TD_OK;
}

int __wrap_mls_aead_open(uint8_t *plain, const uint8_t key[static MLS_AEAD_KEY_LEN],
	const uint8_t nonce[static MLS_AEAD_NONCE_LEN], struct mls_span sealed)
{
	uint8_t tag[MLS_HASH_LEN];
	size_t len;

	if (sealed.len < MLS_AEAD_TAG_LEN)
		return TD_ERR_MALFORMED;
	len = sealed.len - MLS_AEAD_TAG_LEN;
	toy_tag(tag, key, nonce, mls_span(sealed.p, len));
	if (!believing && memcmp(tag, sealed.p + len, MLS_AEAD_TAG_LEN) != 0) {
		sodium_memzero(plain, len);
		return TD_ERR_AUTH;
	}
	memmove(plain, sealed.p, len);
	return TD_OK;
}

int __wrap_mls_equal(const uint8_t *a, const uint8_t *b, size_t n)
{
	return believing ? 0 : __real_mls_equal(a, b, n);
}

/* Locked pages are five system calls each; the sanitizer's guard as well. */
void *__wrap_sodium_malloc(size_t n);
void __wrap_sodium_free(void *p);

void *__wrap_sodium_malloc(size_t n)
{
	return malloc(n);
}

void __wrap_sodium_free(void *p)
{
	free(p);
}

/* ---- the script ---- */

/* Says it to member 0 with up to three bytes changed, and to the others as it is. */
static void say_changed(struct sim *s, uint8_t op, struct mls_span good, struct rd *script)
{
	unsigned changes = rd_u8(script);
	uint8_t *bytes = malloc(good.len + 1);
	size_t len = good.len;
	size_t i;

	SIM_MUST(bytes != NULL);
	memcpy(bytes, good.p, good.len);
	for (i = 0; i < (changes & 3) && len > 0; i++) {
		size_t at = rd_u16(script) % len;

		bytes[at] ^= rd_u8(script);
	}
	if ((changes & 4) != 0)
		len = rd_u16(script) % (len + 1);
	if ((changes & 8) != 0 && len == good.len)
		bytes[len++] = rd_u8(script);
	sim_say(s, 0, op, bytes, len);
	if ((changes & 16) != 0)
		sim_say(s, 0, op, bytes, len);
	for (i = 1; i < s->n; i++)
		if (s->c[i].connected && (changes & 32) == 0)
			sim_say(s, i, op, good.p, good.len);
	free(bytes);
}

static void propose(struct sim *s, struct rd *script)
{
	struct sim_list l = sim_list(s);
	unsigned n = rd_u8(script) % 4;
	struct sim_bytes copy = { NULL, 0 };
	struct mls_span payload;

	while (n-- > 0) {
		uint8_t what = rd_u8(script);

		if ((what & 1) != 0)
			sim_propose_add(s, &l, (what >> 1) % s->n);
		else
			sim_propose_remove(s, &l, what >> 1);
	}
	payload = sim_finish(&l);
	sim_set(&copy, payload.p, payload.len);
	say_changed(s, 27, mls_span(copy.b, copy.len), script);
	free(copy.b);
}

/* The newest commit of a member, as opcode 29 or 30. */
static void announce(struct sim *s, uint8_t op, struct rd *script)
{
	uint8_t who = rd_u8(script);
	struct sim_bytes half;

	if (s->c[who % s->n].commit.len == 0)
		return;
	half = sim_half(s, who % s->n, (uint16_t)(who >> 4), op == 30);
	say_changed(s, op, mls_span(half.b, half.len), script);
	free(half.b);
}

static void revoke(struct sim *s, struct rd *script)
{
	const struct mls_group *g = sim_group(s, 0)->group;
	uint8_t payload[2 + 33] = { 1, 33, 32 };

	if (g != NULL && mls_group_n_proposals(g) > 0)
		memcpy(payload + 3, mls_group_proposal(g, 0)->ref, 32);
	say_changed(s, 27, mls_span(payload, sizeof(payload)), script);
}

static void text(struct sim *s, struct rd *script)
{
	static const uint8_t ops[] = { 21, 22, 24, 24 };
	uint8_t what = rd_u8(script);
	char json[96];

	snprintf(json, sizeof(json), "{\"transition_id\":%u,\"protocol_version\":%u,\"epoch\":%u}",
		what >> 4, what >> 2 & 1, 1 + (what >> 3 & 1));
	say_changed(s, ops[what & 3], mls_span(json, strlen(json)), script);
}

static void other(struct sim *s, struct rd *script)
{
	uint8_t what = rd_u8(script);
	struct dave_session *d = s->c[0].d;

	switch (what % 6) {
	case 0:
		dave_session_version(d, what >> 6, s->now_ns);
		break;
	case 1:
		dave_session_user(d, s->c[(what >> 4) % s->n].user_id, (what & 8) != 0);
		break;
	case 2:
		dave_session_failing(d, s->c[(what >> 4) % s->n].user_id, s->now_ns);
		break;
	case 3:
		if ((what & 8) != 0)
			dave_session_reset(d, s->channel_id, s->now_ns);
		break;
	case 4:
		say_changed(s, 25, mls_span(s->sender, s->sender_len), script);
		break;
	case 5:
		s->now_ns += (uint64_t)(what >> 3) * TD_SEC_NS;
		break;
	}
	sim_take(&s->c[0]);
}

static void raw(struct sim *s, struct rd *script)
{
	uint8_t op = (uint8_t)(20 + rd_u8(script) % 12);
	size_t len = rd_u8(script);
	const uint8_t *bytes;

	if (len > rd_left(script))
		len = rd_left(script);
	bytes = rd_bytes(script, len);
	sim_say(s, 0, op, bytes, len);
}

static void step(struct sim *s, struct rd *script)
{
	switch (rd_u8(script) % 8) {
	case 0:
		propose(s, script);
		break;
	case 1:
	case 2:
		announce(s, 29, script);
		break;
	case 3:
		announce(s, 30, script);
		break;
	case 4:
		revoke(s, script);
		break;
	case 5:
		text(s, script);
		break;
	case 6:
		other(s, script);
		break;
	case 7:
		raw(s, script);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sim *s = sim_new(1);
	struct rd script;
	unsigned flags, steps;
	size_t i;

	rd_init(&script, data, size);
	for (i = 0; i < MEMBERS; i++)
		sim_enter(s);
	flags = rd_u8(&script);
	if ((flags & 1) != 0)
		sim_join_all(s);
	sim_enter(s); /* waits */
	believing = (flags & 2) != 0;
	for (steps = 0; steps < STEPS_MAX && rd_left(&script) > 0; steps++)
		step(s, &script);
	/* Identified anew, all find together. */
	believing = false;
	for (i = 0; i < s->n; i++) {
		s->c[i].connected = false;
		dave_session_reset(s->c[i].d, s->channel_id, s->now_ns);
		sim_take(&s->c[i]);
	}
	for (i = 0; i < s->n; i++)
		sim_connect(s, i);
	sim_join_all(s);
	sim_check(s);
	sim_free(s);
	return 0;
}
