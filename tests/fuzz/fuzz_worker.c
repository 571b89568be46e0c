/* SPDX-License-Identifier: ISC */
/*
 * A whole worker, driven by a script of bytes: packets that are in or out of order, ticks, names,
 * keys, connections. The transport encrypts nothing, so that the fuzzer gets in; end-to-end
 * encryption does, with secrets that the script's senders know. Every reply is checked to be
 * well formed, and in the end every datagram must have been counted once. Then the same script is
 * played to somebody who wants everything, which must change nothing of what was wanted before.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/dave_frame.h"
#include "common/dave_ratchet.h"
#include "common/err.h"
#include "common/ipc.h"
#include "common/opus_packet.h"
#include "common/rtp.h"
#include "common/transport.h"
#include "unpacker/worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CONNS = 2, SSRCS = 4, USERS = 16, MAX_DATAGRAMS = 3000, MAX_SEALED = 700 };
enum { WANT_BITS = 3, WANT_ALL = (1 << WANT_BITS) - 1 };

_Static_assert(WANT_ALL == (IPC_WANT_PCM | IPC_WANT_RTCP | IPC_WANT_OPUS), "all there is to want");

struct script {
	struct rd rd;
	struct worker w;
	struct ipc_queue to, from;
	struct ipc_reader *in, *back;
	uint64_t now_ns;
	uint16_t seq[SSRCS];
	uint32_t ts[SSRCS];
	uint32_t nonce[SSRCS];
	uint8_t epoch;
	uint64_t datagrams, controls, echoes;
	uint64_t sum[COUNTER_COUNT];
	struct seen {
		uint32_t want;            /* IPC_WANT_*, for as long as the script runs */
		uint64_t frames, packets; /* digests of all that came, in order; 0: nothing */
	} seen[CONNS];
};

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void put(struct script *s, enum ipc_type type, uint64_t conn, const void *body,
	size_t body_len, const void *data, size_t len)
{
	check(ipc_queue_put(&s->to, type, conn, body, body_len, data, len) == TD_OK);
}

static void check_frame(const struct ipc_msg *m)
{
	struct ipc_frame f;

	memcpy(&f, m->body, sizeof(f));
	check(f.samples >= 1 && f.samples <= 5760);
	check(f.channels == 1 || f.channels == 2);
	check(f.kind < IPC_FRAME_KINDS && f.flags < 2 * IPC_FRAME_DAVE_PLAIN);
	check(m->data_len == (size_t)f.samples * f.channels * 2);
	check(f.kind != IPC_FRAME_CONCEALED || (f.samples <= 4800 && f.flags == 0));
}

static void check_opus(const struct ipc_msg *m)
{
	struct ipc_opus o;

	memcpy(&o, m->body, sizeof(o));
	check(o.samples >= 120 && o.samples == opus_packet_samples(m->data, m->data_len));
	check(o.silence == opus_packet_is_silence(m->data, m->data_len));
	check(o.flags < 2 * IPC_FRAME_DAVE_PLAIN && o.lost <= INT32_MAX);
}

static void digest(uint64_t *d, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (; len > 0; len--)
		*d = (*d ^ *p++) * 0x100000001b3 + 1;
}

/* `missing` is said once, by the frame where there is one. */
static void digest_opus(uint64_t *d, const struct ipc_msg *m)
{
	struct ipc_opus o;

	memcpy(&o, m->body, sizeof(o));
	o.missing = 0;
	digest(d, &o, sizeof(o));
	digest(d, m->data, m->data_len);
}

static void read_reply(struct script *s, const struct ipc_msg *m)
{
	struct seen *seen = &s->seen[(m->hdr.conn - 1) % CONNS];
	uint64_t any = 0;
	int c;

	switch (m->hdr.type) {
	case IPC_FRAME:
		check_frame(m);
		check((seen->want & IPC_WANT_PCM) != 0);
		digest(&seen->frames, m->body, sizeof(struct ipc_frame));
		digest(&seen->frames, m->data, m->data_len);
		break;
	case IPC_OPUS:
		check_opus(m);
		check((seen->want & IPC_WANT_OPUS) != 0);
		digest_opus(&seen->packets, m);
		break;
	case IPC_COUNTERS:
		for (c = 0; c < COUNTER_COUNT; c++) {
			uint64_t delta = ((const struct ipc_counters *)m->body)->delta[c];

			any |= delta;
			s->sum[c] += delta;
		}
		check(any != 0);
		break;
	case IPC_CONTROL_ECHO:
		check(((const struct ipc_control *)m->body)->serial == s->echoes++);
		break;
	}
}

/* Hands over what was put, and reads what comes back. */
static void run(struct script *s)
{
	struct ipc_msg m;
	size_t room;
	int e;

	while (s->to.len > 0) {
		uint8_t *to = ipc_reader_room(s->in, &room);
		size_t n = s->to.len < room ? s->to.len : room;

		memcpy(to, s->to.buf + s->to.head, n);
		ipc_reader_fed(s->in, n);
		s->to.head += n;
		s->to.len -= n;
		while ((e = ipc_reader_next(s->in, &m)) == 1)
			check(worker_message(&s->w, &m) == TD_OK);
		check(e == 0);
	}
	while (s->from.len > 0) {
		uint8_t *to = ipc_reader_room(s->back, &room);
		size_t n = s->from.len < room ? s->from.len : room;

		memcpy(to, s->from.buf + s->from.head, n);
		ipc_reader_fed(s->back, n);
		s->from.head += n;
		s->from.len -= n;
		while ((e = ipc_reader_next(s->back, &m)) == 1)
			read_reply(s, &m);
		check(e == 0);
	}
	s->from.head = 0;
}

static void put_datagram(struct script *s, uint64_t conn, const uint8_t *data, size_t len)
{
	const struct ipc_packet p = { .arrival_ns = s->now_ns };

	put(s, IPC_PACKET, conn, &p, sizeof(p), data, len);
	s->datagrams++;
}

static void open_conn(struct script *s, uint64_t conn)
{
	uint8_t b = rd_u8(&s->rd);
	const struct ipc_conn_open open = {
		.reorder_ns = (uint64_t)(b & 7) * 30 * TD_MS_NS,
		.hold_ns = (uint64_t)(b >> 3 & 3) * 700 * TD_MS_NS,
		.want = s->seen[conn - 1].want,
		.channels = 1 + (b >> 7),
	};
	const struct ipc_key key = { .mode = TRANSPORT_NONE, .own_ssrc = 99 };

	put(s, IPC_CONN_OPEN, conn, &open, sizeof(open), NULL, 0);
	put(s, IPC_KEY, conn, &key, sizeof(key), NULL, 0);
}

/* ---- end-to-end encryption: the secret of a user in an epoch is made of the two ---- */

static void secret_of(uint8_t secret[static DAVE_RATCHET_BASE_LEN], uint64_t user, uint8_t epoch)
{
	memset(secret, epoch, DAVE_RATCHET_BASE_LEN);
	secret[0] = (uint8_t)user;
}

/* Every other user at most, and at times a message that says nothing new. */
static void put_epoch(struct script *s, uint64_t conn)
{
	struct ipc_dave_sender senders[USERS];
	uint8_t members = rd_u8(&s->rd), before = rd_u8(&s->rd);
	const struct ipc_dave_epoch e = {
		.at_ns = s->now_ns - (uint64_t)before * before * TD_MS_NS / 4,
		.epoch = ++s->epoch,
	};
	size_t n = 0, i;

	memset(senders, 0, sizeof(senders));
	for (i = 0; i < USERS; i++) {
		if ((members >> i % 8 & 1) == 0)
			continue;
		senders[n].user_id = i;
		secret_of(senders[n++].secret, i, s->epoch);
	}
	put(s, IPC_DAVE_EPOCH, conn, &e, sizeof(e), senders, n * sizeof(senders[0]));
}

static void put_passthrough(struct script *s, uint64_t conn)
{
	uint8_t b = rd_u8(&s->rd);
	const struct ipc_dave_passthrough p = {
		.until_ns = b == 0 ? 0
			: b == 255 ? UINT64_MAX
				   : s->now_ns + b * 20 * TD_MS_NS,
	};

	put(s, IPC_DAVE_PASSTHROUGH, conn, &p, sizeof(p), NULL, 0);
}

/* Seals len bytes at p, which has room, as a user in an epoch around the latest. */
static size_t seal(struct script *s, uint8_t *p, size_t len, unsigned ssrc)
{
	static const uint32_t nonce_steps[] = { 1, 1, 1, 0, 2, 1023, 1024, 1u << 24 };
	uint8_t b = rd_u8(&s->rd), key[DAVE_FRAME_KEY_LEN], base[DAVE_RATCHET_BASE_LEN];
	uint8_t sealed[600 + DAVE_FRAME_MAX_TRAILER];
	struct dave_frame_key *k;
	size_t n;

	s->nonce[ssrc] += nonce_steps[b & 7];
	secret_of(base, b >> 4, (uint8_t)(s->epoch + 1 - (b >> 3 & 1)));
	dave_ratchet_key(key, base, 0, s->nonce[ssrc] >> 24);
	check(dave_frame_key_new(&k, key) == TD_OK);
	check(dave_frame_seal(k, sealed, &n, p, len, s->nonce[ssrc], NULL, 0) == TD_OK);
	dave_frame_key_free(k);
	memcpy(p, sealed, n);
	return n;
}

/* A packet of a stream that goes on from where it was, or nearly. */
static void put_voice(struct script *s, uint64_t conn, uint8_t how)
{
	static const uint16_t seq_steps[] = { 1, 1, 1, 1, 2, 0, 0xffff, 4, 40, 600, 30000, 3,
		0xfffd, 1, 1, 511 };
	uint8_t packet[MAX_SEALED], b = rd_u8(&s->rd);
	unsigned i = how % SSRCS;
	struct wr w;

	s->seq[i] = (uint16_t)(s->seq[i] + seq_steps[b & 15]);
	if ((b >> 4 & 7) == 7)
		s->ts[i] += rd_u32(&s->rd);
	else
		s->ts[i] += (uint32_t)(b >> 4 & 7) * 960;
	wr_init(&w, packet, sizeof(packet));
	rtp_write(wr_room(&w, RTP_MIN_HEADER), RTP_OPUS_PAYLOAD_TYPE, s->seq[i], s->ts[i], 1 + i);
	if (b & 0x80) { /* of the script */
		size_t n = rd_u8(&s->rd);

		n = n < rd_left(&s->rd) ? n : rd_left(&s->rd);
		wr_bytes(&w, rd_bytes(&s->rd, n), n);
	} else if (how & 0x40) {
		static const uint8_t silence[] = { 0xf8, 0xff, 0xfe };

		wr_bytes(&w, silence, sizeof(silence));
	} else { /* one SILK frame of 20 ms with LBRR and whatever follows */
		static const uint8_t voice[] = { 0x48, 0xc0, 0x5a, 0x21, 0x93, 0x7e, 0x10, 0xee };

		wr_bytes(&w, voice, sizeof(voice));
	}
	if (how & 0x20)
		w.len = RTP_MIN_HEADER +
			seal(s, packet + RTP_MIN_HEADER, w.len - RTP_MIN_HEADER, i);
	put_datagram(s, conn, packet, w.len);
}

static void put_raw(struct script *s, uint64_t conn)
{
	size_t n = rd_u8(&s->rd);
	const uint8_t *p;

	n = n < rd_left(&s->rd) ? n : rd_left(&s->rd);
	if ((p = rd_bytes(&s->rd, n)) != NULL)
		put_datagram(s, conn, p, n);
}

static void step(struct script *s)
{
	uint8_t op = rd_u8(&s->rd), b;
	uint64_t conn = 1 + (op >> 4) % CONNS;
	struct ipc_control control;
	struct ipc_speaker speaker;
	struct ipc_tick tick;

	switch (op & 15) {
	case 0:
		b = rd_u8(&s->rd);
		s->now_ns += (uint64_t)b * b * TD_MS_NS / 4;
		break;
	case 1:
		tick.now_ns = s->now_ns += rd_u8(&s->rd) * TD_MS_NS;
		put(s, IPC_TICK, 0, &tick, sizeof(tick), NULL, 0);
		break;
	case 2:
		b = rd_u8(&s->rd);
		speaker = (struct ipc_speaker){ .user_id = b >> 4, .ssrc = 1 + b % SSRCS };
		put(s, IPC_SPEAKER, conn, &speaker, sizeof(speaker), NULL, 0);
		break;
	case 3:
		speaker.user_id = rd_u8(&s->rd) >> 4;
		put(s, IPC_SPEAKER_GONE, conn, &speaker.user_id, sizeof(speaker.user_id), NULL, 0);
		break;
	case 4:
		control.serial = s->controls++;
		put(s, IPC_CONTROL, op & 0x80 ? 0 : conn, &control, sizeof(control), NULL, 0);
		break;
	case 5:
		put(s, op & 0x80 ? IPC_CONN_FLUSH : IPC_CONN_RESET, conn, NULL, 0, NULL, 0);
		break;
	case 6:
		put(s, IPC_CONN_CLOSE, conn, NULL, 0, NULL, 0);
		open_conn(s, conn);
		break;
	case 7:
		put_raw(s, conn);
		break;
	case 8:
		open_conn(s, conn); /* twice, or a key after a reset */
		break;
	case 9:
		if (op & 0x80)
			put_passthrough(s, conn);
		else
			put_epoch(s, conn);
		break;
	default:
		s->now_ns += 20 * TD_MS_NS;
		put_voice(s, conn, op);
		break;
	}
}

static void check_accounts(const struct script *s)
{
	const uint64_t *n = s->sum;

	check(n[COUNTER_RECEIVED] ==
		n[COUNTER_DECODED] + n[COUNTER_PADDING] + n[COUNTER_DUPLICATE] + n[COUNTER_LATE] +
			n[COUNTER_UNDECODABLE] + n[COUNTER_RESTARTED] + n[COUNTER_HELD_DROPPED] +
			n[COUNTER_UNDECODED] + n[COUNTER_DAVE_NO_KEY] + n[COUNTER_DAVE_AUTH] +
			n[COUNTER_DAVE_REPLAY] + n[COUNTER_DAVE_REFUSED]);
	check(n[COUNTER_LOST] == n[COUNTER_FEC] + n[COUNTER_CONCEALED] + n[COUNTER_SKIPPED]);
	check(s->datagrams ==
		n[COUNTER_RECEIVED] + n[COUNTER_AUTH] + n[COUNTER_NO_KEY] + n[COUNTER_SHORT] +
			n[COUNTER_BAD_VERSION] + n[COUNTER_BAD_PADDING] + n[COUNTER_OTHER_PAYLOAD] +
			n[COUNTER_OWN] + n[COUNTER_NOT_VOICE] + n[COUNTER_STREAM_LIMIT] +
			n[COUNTER_RTCP] + n[COUNTER_RTCP_BAD]);
	check(n[COUNTER_SILENCE] <= n[COUNTER_DECODED]);
	check(s->echoes == s->controls);
}

/* Plays the script, whose first byte says what is wanted, unless everything is. */
static void play(struct script *s, const uint8_t *data, size_t size, bool want_all)
{
	const struct ipc_hello hello = { IPC_VERSION, sizeof(struct ipc_hdr) };
	unsigned wants;
	uint64_t conn;

	*s = (struct script){ .now_ns = TD_REPLAY_BASE_NS };
	rd_init(&s->rd, data, size);
	wants = rd_u8(&s->rd);
	ipc_queue_init(&s->to);
	ipc_queue_init(&s->from);
	worker_init(&s->w, &s->from);
	td_log_set_hook(worker_log, &s->from);
	check(ipc_reader_new(&s->in, IPC_TO_WORKER) == TD_OK);
	check(ipc_reader_new(&s->back, IPC_TO_RECEIVER) == TD_OK);
	put(s, IPC_HELLO, 0, &hello, sizeof(hello), NULL, 0);
	for (conn = 1; conn <= CONNS; conn++) {
		s->seen[conn - 1].want = want_all ? WANT_ALL : wants & WANT_ALL;
		wants >>= WANT_BITS;
		open_conn(s, conn);
	}
	while (rd_left(&s->rd) > 0 && s->datagrams < MAX_DATAGRAMS) {
		step(s);
		if (s->to.len > 10000)
			run(s);
	}
	for (conn = 1; conn <= CONNS; conn++)
		put(s, IPC_CONN_CLOSE, conn, NULL, 0, NULL, 0);
	run(s);
	check_accounts(s);

	td_log_set_hook(NULL, NULL);
	worker_free(&s->w);
	ipc_queue_free(&s->to);
	ipc_queue_free(&s->from);
	ipc_reader_free(s->in);
	ipc_reader_free(s->back);
}

/* What was wanted does not depend on what else is. */
static void compare(const struct script *some, const struct script *all)
{
	size_t i;

	for (i = 0; i < CONNS; i++) {
		const struct seen *a = &some->seen[i], *b = &all->seen[i];

		check((a->want & IPC_WANT_PCM) == 0 || a->frames == b->frames);
		check((a->want & IPC_WANT_OPUS) == 0 || a->packets == b->packets);
	}
	check(some->sum[COUNTER_DECODED] + some->sum[COUNTER_UNDECODABLE] ==
		all->sum[COUNTER_DECODED] + all->sum[COUNTER_UNDECODABLE]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script some, all;

	play(&some, data, size, false);
	play(&all, data, size, true);
	compare(&some, &all);
	return 0;
}
