/* SPDX-License-Identifier: ISC */
/*
 * Opening what comes from the network, with real keys of both modes. The first byte: bit 0 the
 * mode, bit 1 the other mode first, bit 2 real encryption. With it each datagram of the script is
 * sealed, and opens as it was and not with one bit changed. Without it the two ciphers below copy
 * (a tag of 16 equal bytes is one that does not verify), and the bytes get behind the tag as they
 * are: into a worker whose keys change, which opens RTP and RTCP and must count all of it.
 *
 * Then each datagram is a byte of what happens before it, a length of 16 bits, and bytes.
 */
#include <openssl/evp.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/rtcp.h"
#include "common/rtp.h"
#include "common/transport.h"
#include "unpacker/worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CONN = 1, DATAGRAMS_MAX = 400, TRAILER = TRANSPORT_TAG_LEN + TRANSPORT_NONCE_LEN };

static bool copying;

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* ---- in the place of the libraries' ---- */

static uint8_t gcm_tag[TRANSPORT_TAG_LEN];

static bool tag_is_bad(const uint8_t *tag)
{
	for (size_t i = 1; i < TRANSPORT_TAG_LEN; i++) {
		if (tag[i] != tag[0])
			return false;
	}
	return tag[0] != 0;
}

int __wrap_EVP_DecryptUpdate(EVP_CIPHER_CTX *ctx, unsigned char *out, int *outl,
	const unsigned char *in, int inl);
int __real_EVP_DecryptUpdate(EVP_CIPHER_CTX *ctx, unsigned char *out, int *outl,
	const unsigned char *in, int inl);
int __wrap_EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *ctx, int type, int arg, void *ptr);
int __real_EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *ctx, int type, int arg, void *ptr);
int __wrap_EVP_DecryptFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *outl);
int __real_EVP_DecryptFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *outl);
int __wrap_crypto_aead_xchacha20poly1305_ietf_decrypt(unsigned char *m, unsigned long long *mlen_p,
	unsigned char *nsec, const unsigned char *c, unsigned long long clen,
	const unsigned char *ad, unsigned long long adlen, const unsigned char *npub,
	const unsigned char *k);
int __real_crypto_aead_xchacha20poly1305_ietf_decrypt(unsigned char *m, unsigned long long *mlen_p,
	unsigned char *nsec, const unsigned char *c, unsigned long long clen,
	const unsigned char *ad, unsigned long long adlen, const unsigned char *npub,
	const unsigned char *k);

int __wrap_EVP_DecryptUpdate(EVP_CIPHER_CTX *ctx, unsigned char *out, int *outl,
	const unsigned char *in, int inl)
{
	if (!copying)
		return __real_EVP_DecryptUpdate(ctx, out, outl, in, inl);
	if (out != NULL && inl > 0)
		memcpy(out, in, (size_t)inl);
	*outl = inl;
	return 1;
}

int __wrap_EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *ctx, int type, int arg, void *ptr)
{
	if (copying && type == EVP_CTRL_GCM_SET_TAG)
		memcpy(gcm_tag, ptr, sizeof(gcm_tag));
	return __real_EVP_CIPHER_CTX_ctrl(ctx, type, arg, ptr);
}

int __wrap_EVP_DecryptFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *outl)
{
	if (!copying)
		return __real_EVP_DecryptFinal_ex(ctx, out, outl);
	*outl = 0;
	return tag_is_bad(gcm_tag) ? 0 : 1;
}

int __wrap_crypto_aead_xchacha20poly1305_ietf_decrypt(unsigned char *m, unsigned long long *mlen_p,
	unsigned char *nsec, const unsigned char *c, unsigned long long clen,
	const unsigned char *ad, unsigned long long adlen, const unsigned char *npub,
	const unsigned char *k)
{
	if (!copying)
		return __real_crypto_aead_xchacha20poly1305_ietf_decrypt(m, mlen_p, nsec, c, clen,
			ad, adlen, npub, k);
	check(clen >= TRANSPORT_TAG_LEN);
	if (tag_is_bad(c + clen - TRANSPORT_TAG_LEN))
		return -1;
	memcpy(m, c, clen - TRANSPORT_TAG_LEN);
	return 0;
}

/* ---- sealed and opened ---- */

static size_t aad_of(const uint8_t *data, size_t len, uint8_t how)
{
	struct rtp_header h;

	if (datagram_classify(data, len) == DATAGRAM_RTP && rtp_parse(&h, data, len) == TD_OK)
		return h.clear_len;
	return how % 16 < len ? how % 16 : len;
}

/* plain of exactly as much room as is promised. */
static int open_exactly(struct transport *t, uint8_t **ret, size_t *ret_len, const uint8_t *packet,
	size_t len, size_t aad_len)
{
	uint8_t *copy = malloc(len + (len == 0));

	*ret = malloc(len + (len == 0));
	check(copy != NULL && *ret != NULL);
	if (len > 0)
		memcpy(copy, packet, len);
	int r = transport_open(t, *ret, ret_len, copy, len, aad_len);

	free(copy);
	return r;
}

static void seal_and_open(struct transport *t, const uint8_t *data, size_t len, uint8_t how)
{
	size_t aad_len = aad_of(data, len, how), sealed_len, plain_len = 77;
	uint8_t *sealed = malloc(len + TRAILER), *plain;

	check(sealed != NULL);
	sealed_len = transport_seal(t, sealed, data, aad_len, data + aad_len, len - aad_len,
		how * 0x1010101u);
	check(sealed_len == len + TRAILER);
	check(open_exactly(t, &plain, &plain_len, sealed, sealed_len, aad_len) == TD_OK);
	check(plain_len == len - aad_len && memcmp(plain, data + aad_len, plain_len) == 0);
	free(plain);
	sealed[how * 7u % sealed_len] ^= (uint8_t)(1u << how % 8);
	plain_len = 77;
	check(open_exactly(t, &plain, &plain_len, sealed, sealed_len, aad_len) == TD_ERR_AUTH);
	check(plain_len == 77);
	free(plain);
	/* What was never sealed, and every way to be too short. */
	plain_len = 77;
	check(open_exactly(t, &plain, &plain_len, data, len, aad_len) ==
		(len - aad_len < TRAILER ? TD_ERR_TRUNCATED : TD_ERR_AUTH));
	check(plain_len == 77);
	free(plain);
	free(sealed);
}

static void fuzz_real(struct rd *r, enum transport_mode mode)
{
	static const uint8_t key[TRANSPORT_KEY_LEN] = { 1, 2, 3 };
	struct transport *t = NULL;

	check(transport_new(&t, mode, key) == TD_OK);
	for (int n = 0; n < DATAGRAMS_MAX && rd_left(r) > 0; n++) {
		uint8_t how = rd_u8(r);
		size_t len = rd_u16(r) % (IPC_MAX_DGRAM - TRAILER);
		const uint8_t *p;

		len = len < rd_left(r) ? len : rd_left(r);
		if ((p = rd_bytes(r, len)) != NULL && len > 0)
			seal_and_open(t, p, len, how);
	}
	transport_free(t);
}

/* ---- into a worker ---- */

struct rig {
	struct worker w;
	struct ipc_queue out;
	uint64_t now_ns, datagrams, rtcps;
	uint64_t sum[COUNTER_COUNT];
};

static void no_log(void *user, enum td_log_level level, const char *text, size_t len)
{
	(void)user;
	(void)level;
	check(strlen(text) == len);
}

static void ask(struct rig *g, enum ipc_type type, const void *body, const void *data, size_t len)
{
	const struct ipc_msg m = { .hdr = { .type = type, .conn = CONN },
		.body = body,
		.data = data,
		.data_len = len };

	check(worker_message(&g->w, &m) == TD_OK);
}

static void ask_key(struct rig *g, enum transport_mode mode)
{
	struct ipc_key key = { .mode = mode, .own_ssrc = 99 };

	memset(key.key, (int)mode, sizeof(key.key));
	ask(g, IPC_KEY, &key, NULL, 0);
}

static void hear(struct rig *g)
{
	size_t at = 0;

	while (at < g->out.len) {
		const uint8_t *p = g->out.buf + g->out.head + at;
		struct ipc_counters c;
		struct ipc_hdr h;
		uint32_t ssrc;

		memcpy(&h, p, sizeof(h));
		p += sizeof(h);
		if (h.type == IPC_COUNTERS) {
			memcpy(&c, p, sizeof(c));
			for (size_t i = 0; i < COUNTER_COUNT; i++)
				g->sum[i] += c.delta[i];
		} else if (h.type == IPC_RTCP) {
			check(rtcp_check(p + sizeof(struct ipc_rtcp),
				      h.len - sizeof(struct ipc_rtcp), &ssrc) == TD_OK);
			g->rtcps++;
		}
		at += sizeof(h) + ((h.len + 7) & ~(size_t)7);
	}
	g->out.head = g->out.len = 0;
}

static void before_datagram(struct rig *g, uint8_t how, enum transport_mode mode)
{
	const struct ipc_speaker speaker = { .user_id = 1 + (how >> 6), .ssrc = how >> 4 & 3 };
	const struct ipc_tick tick = { .now_ns = g->now_ns };

	switch (how & 15) {
	case 0:
		ask_key(g, mode);
		break;
	case 1:
		ask_key(g, TRANSPORT_AES256_GCM + TRANSPORT_XCHACHA20 - mode);
		break;
	case 2:
		ask(g, IPC_CONN_RESET, NULL, NULL, 0);
		break;
	case 3:
		g->now_ns += (uint64_t)(how >> 4) * 300 * TD_MS_NS;
		break;
	case 4:
		ask(g, IPC_TICK, &tick, NULL, 0);
		break;
	case 5:
		ask(g, IPC_SPEAKER, &speaker, NULL, 0);
		break;
	default:
		g->now_ns += 20 * TD_MS_NS;
		break;
	}
}

static void fuzz_copied(struct rd *r, enum transport_mode mode, bool late)
{
	const struct ipc_hello hello = { IPC_VERSION, sizeof(struct ipc_hdr) };
	const struct ipc_conn_open open = { .reorder_ns = 100 * TD_MS_NS,
		.hold_ns = 700 * TD_MS_NS,
		.want = IPC_WANT_PCM | IPC_WANT_OPUS | IPC_WANT_RTCP,
		.channels = 2 };
	struct rig g = { .now_ns = TD_REPLAY_BASE_NS };
	const uint64_t *n = g.sum;

	ipc_queue_init(&g.out);
	worker_init(&g.w, &g.out);
	ask(&g, IPC_HELLO, &hello, NULL, 0);
	ask(&g, IPC_CONN_OPEN, &open, NULL, 0);
	if (!late)
		ask_key(&g, mode);
	while (g.datagrams < DATAGRAMS_MAX && rd_left(r) > 0) {
		struct ipc_packet p = { .flags = 0 };
		uint8_t *copy;
		size_t len;

		before_datagram(&g, rd_u8(r), mode);
		len = rd_u16(r) % (IPC_MAX_DGRAM + 1);
		len = len < rd_left(r) ? len : rd_left(r);
		copy = malloc(len + (len == 0));
		check(copy != NULL);
		rd_copy(r, copy, len);
		p.arrival_ns = g.now_ns;
		ask(&g, IPC_PACKET, &p, copy, len);
		free(copy);
		g.datagrams++;
		hear(&g);
	}
	ask(&g, IPC_CONN_CLOSE, NULL, NULL, 0);
	hear(&g);
	check(g.datagrams ==
		n[COUNTER_RECEIVED] + n[COUNTER_AUTH] + n[COUNTER_NO_KEY] + n[COUNTER_SHORT] +
			n[COUNTER_BAD_VERSION] + n[COUNTER_BAD_PADDING] + n[COUNTER_OTHER_PAYLOAD] +
			n[COUNTER_OWN] + n[COUNTER_NOT_VOICE] + n[COUNTER_STREAM_LIMIT] +
			n[COUNTER_RTCP] + n[COUNTER_RTCP_BAD]);
	check(g.rtcps == n[COUNTER_RTCP]);
	worker_free(&g.w);
	ipc_queue_free(&g.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum transport_mode mode;
	struct rd r;
	uint8_t how;

	td_log_set_hook(no_log, NULL);
	rd_init(&r, data, size);
	how = rd_u8(&r);
	mode = (how & 1) != 0 ? TRANSPORT_XCHACHA20 : TRANSPORT_AES256_GCM;
	copying = (how & 4) == 0;
	if (copying)
		fuzz_copied(&r, mode, (how & 2) != 0);
	else
		fuzz_real(&r, mode);
	copying = false;
	return 0;
}
