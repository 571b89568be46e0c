/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_UNIT_UNPACK_H
#define TD_TESTS_UNIT_UNPACK_H

/*
 * Drives a whole worker in-process: requests go through a queue and a reader as on a pipe, what
 * comes back is read the same way and collected. For tests that include cmocka first.
 */
#include <inttypes.h>
#include <math.h>
#include <opus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/dave_frame.h"
#include "common/dave_ratchet.h"
#include "common/err.h"
#include "common/ipc.h"
#include "common/opus_packet.h"
#include "common/rtp.h"
#include "common/transport.h"
#include "unpacker/worker.h"

#define MS TD_MS_NS
#define T0 TD_REPLAY_BASE_NS

enum { CONN = 7, USER_A = 1001, USER_B = 1002, SSRC_A = 0xa0a0, SSRC_B = 0xb0b0 };
enum { MAX_FRAMES = 20000, MAX_COUNTED = 2048 };

struct got_frame {
	struct ipc_frame f;
	uint64_t conn;
	int16_t *pcm;
};

struct got_opus {
	struct ipc_opus o;
	uint64_t conn;
	size_t frames; /* how many came before it */
	uint8_t *data;
	size_t len;
};

struct unpack {
	struct worker w;
	struct ipc_queue to, from; /* requests, replies */
	struct ipc_reader *in, *back;
	int error; /* the first that worker_message() or a reader gave */
	struct transport *t;

	struct got_frame *frame;
	size_t frames;
	struct got_opus *opus;
	size_t opuses;
	size_t rtcps, echoes, pongs, readies, logs, counter_messages;
	uint32_t waits; /* of the last pong */
	uint64_t last_echo;
	uint8_t rtcp[IPC_MAX_DGRAM];
	size_t rtcp_len;
	uint64_t rtcp_user;
	char log[IPC_MAX_LOG + 1];   /* the latest */
	uint64_t sum[COUNTER_COUNT]; /* of every COUNTERS message */
	struct got_counters {
		uint64_t user_id, conn;
		uint32_t ssrc;
		uint64_t sum[COUNTER_COUNT];
	} * by; /* the same for each stream */
	size_t bys;
};

static inline void unpack_counters(struct unpack *u, uint64_t conn, const struct ipc_counters *m)
{
	size_t i;
	int c;

	u->counter_messages++;
	for (i = 0; i < u->bys; i++) {
		if (u->by[i].user_id == m->user_id && u->by[i].ssrc == m->ssrc &&
			u->by[i].conn == conn)
			break;
	}
	assert_true(i < MAX_COUNTED);
	if (i == u->bys) {
		u->by[i].user_id = m->user_id;
		u->by[i].ssrc = m->ssrc;
		u->by[i].conn = conn;
		u->bys++;
	}
	for (c = 0; c < COUNTER_COUNT; c++) {
		u->sum[c] += m->delta[c];
		u->by[i].sum[c] += m->delta[c];
	}
}

static inline void unpack_frame(struct unpack *u, const struct ipc_msg *m)
{
	struct got_frame *g = &u->frame[u->frames];

	assert_true(u->frames < MAX_FRAMES);
	memcpy(&g->f, m->body, sizeof(g->f));
	g->conn = m->hdr.conn;
	assert_int_equal(m->data_len, (size_t)g->f.samples * g->f.channels * 2);
	assert_true(g->f.samples > 0 && g->f.samples <= 5760);
	assert_true(g->f.kind < IPC_FRAME_KINDS);
	assert_memory_equal(g->f.zero, (uint8_t[sizeof(g->f.zero)]){ 0 }, sizeof(g->f.zero));
	g->pcm = malloc(m->data_len);
	memcpy(g->pcm, m->data, m->data_len);
	u->frames++;
}

static inline void unpack_opus(struct unpack *u, const struct ipc_msg *m)
{
	struct got_opus *g = &u->opus[u->opuses];

	assert_true(u->opuses < MAX_FRAMES);
	memcpy(&g->o, m->body, sizeof(g->o));
	g->conn = m->hdr.conn;
	g->frames = u->frames;
	g->len = m->data_len;
	assert_int_equal(opus_packet_samples(m->data, m->data_len), g->o.samples);
	assert_int_equal(opus_packet_is_silence(m->data, m->data_len), g->o.silence);
	g->data = malloc(m->data_len);
	memcpy(g->data, m->data, m->data_len);
	u->opuses++;
}

/* Reads every reply there is. */
static inline void unpack_collect(struct unpack *u)
{
	struct ipc_msg m;
	size_t at = 0;
	int r;

	while (at < u->from.len) {
		size_t room, n;
		uint8_t *to = ipc_reader_room(u->back, &room);

		n = u->from.len - at < room ? u->from.len - at : room;
		memcpy(to, u->from.buf + u->from.head + at, n);
		ipc_reader_fed(u->back, n);
		at += n;
		while ((r = ipc_reader_next(u->back, &m)) == 1) {
			if (m.hdr.type == IPC_FRAME) {
				unpack_frame(u, &m);
			} else if (m.hdr.type == IPC_OPUS) {
				unpack_opus(u, &m);
			} else if (m.hdr.type == IPC_COUNTERS) {
				unpack_counters(u, m.hdr.conn, m.body);
			} else if (m.hdr.type == IPC_RTCP) {
				u->rtcps++;
				memcpy(u->rtcp, m.data, m.data_len);
				u->rtcp_len = m.data_len;
				u->rtcp_user = ((const struct ipc_rtcp *)m.body)->user_id;
			} else if (m.hdr.type == IPC_CONTROL_ECHO) {
				u->echoes++;
				u->last_echo = ((const struct ipc_control *)m.body)->serial;
			} else if (m.hdr.type == IPC_LOG) {
				u->logs++;
				memcpy(u->log, m.data, m.data_len);
				u->log[m.data_len] = '\0';
			} else {
				u->pongs += m.hdr.type == IPC_PONG;
				if (m.hdr.type == IPC_PONG)
					u->waits = ((const struct ipc_pong *)m.body)->waits;
				u->readies += m.hdr.type == IPC_READY;
			}
		}
		assert_int_equal(r, 0);
	}
	u->from.head = u->from.len = 0;
}

/* Hands the waiting requests to the worker, `step` bytes at a time. */
static inline void unpack_run_stepwise(struct unpack *u, size_t step)
{
	struct ipc_msg m;
	size_t at = 0, n;
	int r = 0;

	while (at < u->to.len && u->error == 0) {
		size_t room;
		uint8_t *to = ipc_reader_room(u->in, &room);

		n = u->to.len - at < room ? u->to.len - at : room;
		n = n < step ? n : step;
		memcpy(to, u->to.buf + u->to.head + at, n);
		ipc_reader_fed(u->in, n);
		at += n;
		while (u->error == 0 && (r = ipc_reader_next(u->in, &m)) == 1)
			u->error = worker_message(&u->w, &m);
		if (r < 0)
			u->error = r;
	}
	u->to.head = u->to.len = 0;
	unpack_collect(u);
}

static inline void unpack_run(struct unpack *u)
{
	unpack_run_stepwise(u, SIZE_MAX);
}

static inline void unpack_put(struct unpack *u, enum ipc_type type, uint64_t conn, const void *body,
	size_t body_len, const void *data, size_t data_len)
{
	assert_int_equal(ipc_queue_put(&u->to, type, conn, body, body_len, data, data_len), TD_OK);
}

static inline void unpack_init(struct unpack *u)
{
	memset(u, 0, sizeof(*u));
	u->frame = malloc(MAX_FRAMES * sizeof(*u->frame));
	u->opus = malloc(MAX_FRAMES * sizeof(*u->opus));
	u->by = calloc(MAX_COUNTED, sizeof(*u->by));
	ipc_queue_init(&u->to);
	ipc_queue_init(&u->from);
	worker_init(&u->w, &u->from);
	td_log_set_hook(worker_log, &u->from);
	assert_int_equal(ipc_reader_new(&u->in, IPC_TO_WORKER), TD_OK);
	assert_int_equal(ipc_reader_new(&u->back, IPC_TO_RECEIVER), TD_OK);
}

static inline void unpack_free(struct unpack *u)
{
	size_t i;

	td_log_set_hook(NULL, NULL);
	worker_free(&u->w);
	for (i = 0; i < u->frames; i++)
		free(u->frame[i].pcm);
	free(u->frame);
	for (i = 0; i < u->opuses; i++)
		free(u->opus[i].data);
	free(u->opus);
	free(u->by);
	ipc_queue_free(&u->to);
	ipc_queue_free(&u->from);
	ipc_reader_free(u->in);
	ipc_reader_free(u->back);
	transport_free(u->t);
}

static inline void unpack_hello(struct unpack *u)
{
	const struct ipc_hello h = { IPC_VERSION, sizeof(struct ipc_hdr) };

	unpack_put(u, IPC_HELLO, 0, &h, sizeof(h), NULL, 0);
}

static inline void unpack_open_for(struct unpack *u, uint64_t conn, uint32_t want,
	uint64_t reorder_ns, uint64_t hold_ns, uint32_t channels)
{
	const struct ipc_conn_open o = { .reorder_ns = reorder_ns,
		.hold_ns = hold_ns,
		.want = want,
		.channels = channels };

	unpack_put(u, IPC_CONN_OPEN, conn, &o, sizeof(o), NULL, 0);
}

static inline void unpack_open(struct unpack *u, uint64_t conn, uint64_t reorder_ns,
	uint64_t hold_ns, uint32_t channels)
{
	unpack_open_for(u, conn, IPC_WANT_PCM | IPC_WANT_RTCP, reorder_ns, hold_ns, channels);
}

static inline void unpack_key(struct unpack *u, uint64_t conn, enum transport_mode mode,
	uint8_t seed, uint32_t own_ssrc)
{
	struct ipc_key k = { .mode = mode, .own_ssrc = own_ssrc };

	memset(k.key, seed, sizeof(k.key));
	transport_free(u->t);
	assert_int_equal(transport_new(&u->t, mode, k.key), TD_OK);
	unpack_put(u, IPC_KEY, conn, &k, sizeof(k), NULL, 0);
}

static inline void unpack_speaker(struct unpack *u, uint64_t conn, uint32_t ssrc, uint64_t user)
{
	const struct ipc_speaker s = { .user_id = user, .ssrc = ssrc };

	unpack_put(u, IPC_SPEAKER, conn, &s, sizeof(s), NULL, 0);
}

static inline void unpack_gone(struct unpack *u, uint64_t conn, uint64_t user)
{
	const struct ipc_speaker_gone s = { .user_id = user };

	unpack_put(u, IPC_SPEAKER_GONE, conn, &s, sizeof(s), NULL, 0);
}

/* The secret of a user in an epoch is made of the two. */
static inline void unpack_dave_secret(uint8_t secret[static 16], uint64_t user, uint8_t epoch)
{
	memset(secret, epoch, 16);
	memcpy(secret, &user, sizeof(user));
}

/* `sealed` has room for the trailer. Returns how long it is. */
static inline size_t unpack_dave_seal(uint8_t *sealed, uint64_t user, uint8_t epoch, uint32_t nonce,
	const void *data, size_t len)
{
	uint8_t secret[16], key[16];
	struct dave_frame_key *k;
	size_t n;

	unpack_dave_secret(secret, user, epoch);
	dave_ratchet_key(key, secret, 0, nonce >> 24);
	assert_int_equal(dave_frame_key_new(&k, key), TD_OK);
	assert_int_equal(dave_frame_seal(k, sealed, &n, data, len, nonce, NULL, 0), TD_OK);
	dave_frame_key_free(k);
	return n;
}

/* Senders as in the message. */
static inline void unpack_dave_epoch(struct unpack *u, uint64_t conn, uint64_t at_ns,
	uint64_t epoch, const struct ipc_dave_sender *senders, size_t count)
{
	const struct ipc_dave_epoch e = { .at_ns = at_ns, .epoch = epoch, .no = (uint32_t)epoch };

	unpack_put(u, IPC_DAVE_EPOCH, conn, &e, sizeof(e), senders, count * sizeof(*senders));
}

static inline void unpack_dave_passthrough(struct unpack *u, uint64_t conn, uint64_t until_ns)
{
	const struct ipc_dave_passthrough p = { until_ns };

	unpack_put(u, IPC_DAVE_PASSTHROUGH, conn, &p, sizeof(p), NULL, 0);
}

static inline void unpack_tick(struct unpack *u, uint64_t now_ns)
{
	const struct ipc_tick t = { now_ns };

	unpack_put(u, IPC_TICK, 0, &t, sizeof(t), NULL, 0);
}

static inline void unpack_control(struct unpack *u, uint64_t conn, uint64_t serial)
{
	const struct ipc_control c = { serial };

	unpack_put(u, IPC_CONTROL, conn, &c, sizeof(c), NULL, 0);
}

static inline void unpack_datagram(struct unpack *u, uint64_t conn, uint64_t arrival_ns,
	const void *data, size_t len)
{
	const struct ipc_packet p = { .arrival_ns = arrival_ns };

	unpack_put(u, IPC_PACKET, conn, &p, sizeof(p), data, len);
}

static inline void unpack_plain(struct unpack *u, enum ipc_type type, uint64_t conn)
{
	unpack_put(u, type, conn, NULL, 0, NULL, 0);
}

/* One RTP packet, sealed with the key given last. */
static inline void unpack_rtp(struct unpack *u, uint64_t conn, uint64_t arrival_ns, uint32_t ssrc,
	uint16_t seq, uint32_t ts, const void *payload, size_t len)
{
	static uint32_t nonce;
	uint8_t header[RTP_MIN_HEADER], packet[IPC_MAX_DGRAM];
	size_t n;

	rtp_write(header, RTP_OPUS_PAYLOAD_TYPE, seq, ts, ssrc);
	n = transport_seal(u->t, packet, header, sizeof(header), payload, len, ++nonce);
	unpack_datagram(u, conn, arrival_ns, packet, n);
}

/* A worker that was greeted, with CONN open in the clear and both speakers known. */
static inline void unpack_begin_for(struct unpack *u, uint32_t want, uint64_t reorder_ns,
	uint32_t channels)
{
	unpack_init(u);
	unpack_hello(u);
	unpack_open_for(u, CONN, want, reorder_ns, 2 * TD_SEC_NS, channels);
	unpack_key(u, CONN, TRANSPORT_NONE, 0, 0);
	unpack_speaker(u, CONN, SSRC_A, USER_A);
	unpack_speaker(u, CONN, SSRC_B, USER_B);
}

static inline void unpack_begin(struct unpack *u, uint64_t reorder_ns, uint32_t channels)
{
	unpack_begin_for(u, IPC_WANT_PCM | IPC_WANT_RTCP, reorder_ns, channels);
}

/* Every packet that came is accounted for once, every lost one too. */
static inline void check_accounts(const uint64_t *n)
{
	assert_int_equal(n[COUNTER_RECEIVED],
		n[COUNTER_DECODED] + n[COUNTER_PADDING] + n[COUNTER_DUPLICATE] + n[COUNTER_LATE] +
			n[COUNTER_UNDECODABLE] + n[COUNTER_RESTARTED] + n[COUNTER_HELD_DROPPED] +
			n[COUNTER_UNDECODED] + n[COUNTER_DAVE_NO_KEY] + n[COUNTER_DAVE_AUTH] +
			n[COUNTER_DAVE_REPLAY] + n[COUNTER_DAVE_REFUSED]);
	assert_int_equal(n[COUNTER_LOST],
		n[COUNTER_FEC] + n[COUNTER_CONCEALED] + n[COUNTER_SKIPPED]);
	assert_true(n[COUNTER_SILENCE] <= n[COUNTER_DECODED]);
}

/* Closes the connection and runs everything. */
static inline void unpack_end(struct unpack *u)
{
	size_t i;

	unpack_plain(u, IPC_CONN_CLOSE, CONN);
	unpack_run(u);
	assert_int_equal(u->error, 0);
	for (i = 0; i < u->bys; i++)
		check_accounts(u->by[i].sum);
}

/* ---- sound ---- */

struct voice {
	uint8_t (*packet)[400];
	int *len;
	int count, samples, channels;
};

/* `count` packets of something like speech, with in-band FEC when `fec`. */
static inline void voice_make(struct voice *v, int count, int samples, int channels, bool fec)
{
	int e, i, k, c;
	OpusEncoder *enc = opus_encoder_create(48000, channels,
		samples < 480 ? OPUS_APPLICATION_RESTRICTED_LOWDELAY : OPUS_APPLICATION_VOIP, &e);
	int16_t *pcm = malloc(sizeof(*pcm) * (size_t)(samples * channels));

	v->packet = malloc(sizeof(*v->packet) * (size_t)count);
	v->len = malloc(sizeof(*v->len) * (size_t)count);
	v->count = count;
	v->samples = samples;
	v->channels = channels;
	opus_encoder_ctl(enc, OPUS_SET_BITRATE(fec ? 28000 * channels : 16000));
	if (fec) {
		opus_encoder_ctl(enc, OPUS_SET_SIGNAL(OPUS_SIGNAL_VOICE));
		opus_encoder_ctl(enc, OPUS_SET_BANDWIDTH(OPUS_BANDWIDTH_WIDEBAND));
		opus_encoder_ctl(enc, OPUS_SET_INBAND_FEC(1));
		opus_encoder_ctl(enc, OPUS_SET_PACKET_LOSS_PERC(25));
	}
	for (k = 0; k < count; k++) {
		for (i = 0; i < samples; i++) {
			double t = (double)(k * samples + i) / 48000;
			double loud = 0.6 + 0.4 * sin(t * 2 * M_PI * 4); /* syllables: VAD, FEC */
			double s = loud *
				(sin(t * 1130) + 0.5 * sin(t * 4400 + 1900 * sin(t * 9) / 9));

			for (c = 0; c < channels; c++)
				pcm[i * channels + c] = (int16_t)(8000 * s * (c == 0 ? 1 : 0.4));
		}
		v->len[k] = opus_encode(enc, pcm, samples, v->packet[k], sizeof(v->packet[k]));
		assert_true(v->len[k] > 0);
	}
	free(pcm);
	opus_encoder_destroy(enc);
}

/* The first packet from `from` on that carries a copy of the one before, or carries none. */
static inline int voice_find(const struct voice *v, int from, bool fec)
{
	while (opus_packet_has_fec(v->packet[from], (size_t)v->len[from]) != fec) {
		from++;
		assert_true(from < v->count - 5);
	}
	return from;
}

static inline void voice_free(struct voice *v)
{
	free(v->packet);
	free(v->len);
}

/* Packet k of the voice on time, as SSRC_A: sequence and timestamp start at what is given. */
static inline void voice_send(struct unpack *u, const struct voice *v, int k, uint64_t arrival_ns,
	uint16_t seq0, uint32_t ts0)
{
	unpack_rtp(u, CONN, arrival_ns, SSRC_A, (uint16_t)(seq0 + k),
		ts0 + (uint32_t)(k * v->samples), v->packet[k], (size_t)v->len[k]);
}

/* ---- everything at once ---- */

struct event {
	uint64_t at;
	uint32_t ssrc, ts;
	uint16_t seq;
	int k; /* -1: padding, -2: silence */
};

static inline uint32_t roll(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Two speakers with loss, jitter, pauses, padding, duplicates and jumps. Sorted by arrival. */
static inline size_t make_trouble(struct event *e, size_t max, uint32_t seed)
{
	size_t n = 0, i, j;
	int s, k;

	for (s = 0; s < 2; s++) {
		uint64_t at = T0 + roll(&seed) % 50 * MS;
		uint32_t ts = roll(&seed) << 8;
		uint16_t seq = (uint16_t)roll(&seed);

		for (k = 0; k < 400; k++) {
			struct event v = { at + roll(&seed) % (90 * MS), s ? SSRC_B : SSRC_A, ts,
				seq, k };
			uint32_t dice = roll(&seed) % 100;

			at += 20 * MS;
			ts += 960;
			seq++;
			if (dice == 50)
				v.k = -1;
			if (dice >= 60 && dice < 64)
				v.k = -2;
			if (dice < 8)
				continue; /* lost */
			if (n + 2 > max)
				break;
			e[n++] = v;
			if (dice == 10) {
				v.at += roll(&seed) % (300 * MS);
				e[n++] = v;
			} else if (dice == 11) {
				at += roll(&seed) % 3000 * MS; /* a pause, told or not */
				ts += roll(&seed) % 3000 * 48;
			} else if (dice == 12) {
				ts += roll(&seed) << 9;
			} else if (dice == 13) {
				seq = (uint16_t)(seq + roll(&seed));
			}
		}
	}
	for (i = 1; i < n; i++) {
		struct event v = e[i];

		for (j = i; j > 0 && e[j - 1].at > v.at; j--)
			e[j] = e[j - 1];
		e[j] = v;
	}
	return n;
}

static inline void send_trouble(struct unpack *u, const struct voice *v, const struct event *e)
{
	static const uint8_t silent[] = { 0xf8, 0xff, 0xfe };
	const uint8_t *data = e->k == -2 ? silent : e->k < 0 ? NULL : v->packet[e->k];
	size_t len = e->k == -2 ? sizeof(silent) : e->k < 0 ? 0 : (size_t)v->len[e->k];

	unpack_rtp(u, CONN, e->at, e->ssrc, e->seq, e->ts, data, len);
}

/* ---- what comes out ---- */

/* libopus driven directly: what the worker is compared with. */
struct plain {
	OpusDecoder *dec;
	int channels;
	int16_t pcm[5760 * 2];
};

static inline void plain_init(struct plain *p, int channels)
{
	int e;

	p->dec = opus_decoder_create(48000, channels, &e);
	p->channels = channels;
}

static inline void plain_free(struct plain *p)
{
	opus_decoder_destroy(p->dec);
}

/* The frame has the n samples in p. One channel is the left of two: more it did not need yet. */
static inline void plain_same(const struct plain *p, const struct got_frame *g, int n)
{
	int step = p->channels / g->f.channels, i;

	assert_int_equal(g->f.samples, n);
	assert_in_range(g->f.channels, 1, p->channels);
	for (i = 0; i < n * g->f.channels; i++)
		assert_int_equal(g->pcm[i], p->pcm[i * step]);
}

/* The frame is what libopus gives for the packet now. */
static inline void plain_expect(struct plain *p, const struct got_frame *g, const void *packet,
	int len)
{
	plain_same(p, g, opus_decode(p->dec, packet, len, p->pcm, 5760, 0));
}

/* The frame is what libopus makes up (next NULL) or recovers, faded from `at` samples of a gap. */
static inline void plain_expect_lost(struct plain *p, const struct got_frame *g, const void *next,
	int len, int at)
{
	int n = g->f.samples, i;

	assert_int_equal(opus_decode(p->dec, next, len, p->pcm, n, next != NULL), n);
	if (next == NULL) {
		for (i = 0; i < n * p->channels; i++)
			p->pcm[i] = (int16_t)(p->pcm[i] * (4800 - at - i / p->channels) / 4800);
	}
	plain_same(p, g, n);
}

#endif
