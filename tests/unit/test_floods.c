/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <malloc.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "receiver/udp.h"
#include "tests/unit/unpack.h"

/*
 * A call in which somebody wants harm: floods of SSRCs, of timestamps, of sequence numbers, of the
 * largest packets and of the longest sound in the fewest bytes. Two honest speakers talk on: every
 * frame of theirs is there and is what libopus makes of the packet. What the worker keeps stays
 * below the numbers of docs/ARCHITECTURE.md, "Bounds", and every datagram is counted once.
 *
 * And a wall clock that is set while datagrams come in.
 */
enum { STEP = 960, HONEST = 250, FLOOD = 100000 };
enum { KEY = 7 };
#define MODE TRANSPORT_AES256_GCM
#define REORDER_NS (100 * MS)
#define NAME_NS (2 * TD_SEC_NS)

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = true };
#else
enum { SANITIZED = false };
#endif

/* The worker without its pipes: replies are looked at and forgotten. */
struct rig {
	struct worker w;
	struct ipc_queue out;
	struct transport *t;
	uint32_t nonce, seed;
	struct voice v;
	struct plain ear[2];
	int heard[2];
	uint64_t datagrams;
	size_t frames, peak; /* peak: packets that wait at once */
	uint64_t sum[COUNTER_COUNT], honest[COUNTER_COUNT];
	long rss_before, rss_peak; /* kB */
};

static long rss_kb(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long size, pages = 0;

	if (f != NULL && fscanf(f, "%ld %ld", &size, &pages) != 2)
		pages = 0;
	if (f != NULL)
		fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void rig_frame(struct rig *t, const struct ipc_frame *f, const uint8_t *pcm)
{
	int s = f->user_id == USER_A ? 0 : f->user_id == USER_B ? 1 : -1, n;

	t->frames++;
	if (s < 0)
		return;
	n = opus_decode(t->ear[s].dec, t->v.packet[t->heard[s] % t->v.count],
		t->v.len[t->heard[s] % t->v.count], t->ear[s].pcm, 5760, 0);
	assert_int_equal(f->kind, IPC_FRAME_DECODED);
	assert_int_equal(f->seq, (uint16_t)(65500 + t->heard[s]));
	assert_int_equal(f->samples, n);
	assert_memory_equal(pcm, t->ear[s].pcm, (size_t)n * 2);
	assert_int_equal(f->flags & IPC_FRAME_SPURT, t->heard[s] == 0 ? IPC_FRAME_SPURT : 0);
	t->heard[s]++;
}

static void rig_replies(struct rig *t)
{
	size_t at = t->out.head, end = at + t->out.len;
	int i;

	while (at < end) {
		const struct ipc_hdr *h = (const void *)(t->out.buf + at);
		const uint8_t *body = t->out.buf + at + sizeof(*h);

		if (h->type == IPC_FRAME)
			rig_frame(t, (const void *)body, body + sizeof(struct ipc_frame));
		if (h->type == IPC_COUNTERS) {
			const struct ipc_counters *m = (const void *)body;

			for (i = 0; i < COUNTER_COUNT; i++) {
				t->sum[i] += m->delta[i];
				if (m->user_id == USER_A || m->user_id == USER_B)
					t->honest[i] += m->delta[i];
			}
		}
		at += sizeof(*h) + (h->len + 7) / 8 * 8;
	}
	t->out.head = t->out.len = 0;
}

static struct conn *rig_conn(const struct rig *t)
{
	return TAILQ_FIRST(&t->w.list);
}

static void tell(struct rig *t, enum ipc_type type, uint64_t conn, const void *body, size_t len,
	const void *data, size_t data_len)
{
	struct ipc_msg m = {
		.hdr = { .type = type, .conn = conn, .len = (uint32_t)(len + data_len) },
		.body = body,
		.data = data,
		.data_len = data_len
	};

	assert_int_equal(worker_message(&t->w, &m), TD_OK);
}

static void rig_key(struct rig *t, uint64_t conn, uint32_t want)
{
	const struct ipc_conn_open o = { .reorder_ns = REORDER_NS,
		.hold_ns = NAME_NS,
		.want = want,
		.channels = 1 };
	struct ipc_key k = { .mode = MODE, .own_ssrc = 1 };

	memset(k.key, KEY, sizeof(k.key));
	tell(t, IPC_CONN_OPEN, conn, &o, sizeof(o), NULL, 0);
	tell(t, IPC_KEY, conn, &k, sizeof(k), NULL, 0);
}

static void rig_name(struct rig *t, uint64_t conn, uint32_t ssrc, uint64_t user)
{
	const struct ipc_speaker s = { .user_id = user, .ssrc = ssrc };

	tell(t, IPC_SPEAKER, conn, &s, sizeof(s), NULL, 0);
}

static void rig_up(struct rig *t, uint32_t want)
{
	const struct ipc_hello h = { IPC_VERSION, sizeof(struct ipc_hdr) };
	uint8_t key[32];

	memset(t, 0, sizeof(*t));
	memset(key, KEY, sizeof(key));
	t->seed = 11;
	ipc_queue_init(&t->out);
	worker_init(&t->w, &t->out);
	assert_int_equal(transport_new(&t->t, MODE, key), TD_OK);
	voice_make(&t->v, 100, STEP, 1, false);
	plain_init(&t->ear[0], 1);
	plain_init(&t->ear[1], 1);
	tell(t, IPC_HELLO, 0, &h, sizeof(h), NULL, 0);
	rig_key(t, CONN, want);
	rig_name(t, CONN, SSRC_A, USER_A);
	rig_name(t, CONN, SSRC_B, USER_B);
	malloc_trim(0); /* what others left is not ours to count */
	t->rss_before = rss_kb();
}

static void datagram(struct rig *t, uint64_t conn, uint64_t at_ns, const void *data, size_t len)
{
	const struct ipc_packet p = { .arrival_ns = at_ns };
	struct conn *c;

	tell(t, IPC_PACKET, conn, &p, sizeof(p), data, len);
	t->datagrams++;
	c = rig_conn(t);
	if (c->waiting > t->peak)
		t->peak = c->waiting;
	if (t->out.len > 1 << 20) {
		rig_replies(t);
		if (t->datagrams % 64 == 0 && rss_kb() > t->rss_peak)
			t->rss_peak = rss_kb();
	}
}

static size_t sealed(struct rig *t, uint8_t *out, uint32_t ssrc, uint16_t seq, uint32_t ts,
	const void *payload, size_t len)
{
	uint8_t header[RTP_MIN_HEADER];

	rtp_write(header, RTP_OPUS_PAYLOAD_TYPE, seq, ts, ssrc);
	return transport_seal(t->t, out, header, sizeof(header), payload, len, ++t->nonce);
}

static void rtp(struct rig *t, uint64_t conn, uint64_t at_ns, uint32_t ssrc, uint16_t seq,
	uint32_t ts, const void *payload, size_t len)
{
	uint8_t packet[IPC_MAX_DGRAM];
	size_t n = sealed(t, packet, ssrc, seq, ts, payload, len);

	datagram(t, conn, at_ns, packet, n);
}

/* Packet k of both honest speakers, in time. */
static void honest(struct rig *t, int k, uint64_t at_ns)
{
	static const uint32_t ssrc[2] = { SSRC_A, SSRC_B };
	int s;

	for (s = 0; s < 2; s++)
		rtp(t, CONN, at_ns, ssrc[s], (uint16_t)(65500 + k), (uint32_t)(k * STEP - 5000),
			t->v.packet[k % t->v.count], (size_t)t->v.len[k % t->v.count]);
}

/* Received, or one of the reasons not to be: every datagram exactly once. */
static void check_datagrams(const struct rig *t)
{
	const uint64_t *n = t->sum;

	assert_int_equal(t->datagrams,
		n[COUNTER_RECEIVED] + n[COUNTER_AUTH] + n[COUNTER_NO_KEY] + n[COUNTER_SHORT] +
			n[COUNTER_BAD_VERSION] + n[COUNTER_BAD_PADDING] + n[COUNTER_OTHER_PAYLOAD] +
			n[COUNTER_OWN] + n[COUNTER_NOT_VOICE] + n[COUNTER_STREAM_LIMIT] +
			n[COUNTER_RTCP] + n[COUNTER_RTCP_BAD]);
	check_accounts(n);
}

static void rig_down(struct rig *t, long limit_mb)
{
	int s;

	tell(t, IPC_CONN_CLOSE, CONN, NULL, 0, NULL, 0);
	rig_replies(t);
	check_datagrams(t);
	for (s = 0; s < 2; s++) {
		assert_int_equal(t->heard[s], HONEST);
		plain_free(&t->ear[s]);
	}
	assert_int_equal(t->honest[COUNTER_DECODED], 2 * HONEST);
	assert_int_equal(t->honest[COUNTER_RECEIVED], 2 * HONEST);
	assert_int_equal(t->honest[COUNTER_LOST] + t->honest[COUNTER_TIME_JUMPS], 0);
	if (!SANITIZED)
		assert_true(t->rss_peak - t->rss_before <= limit_mb * 1024);
	if (getenv("FLOOD_FIGURES") != NULL)
		fprintf(stderr, "# rss +%ld kB, %zu waited at once, %zu frames\n",
			t->rss_peak - t->rss_before, t->peak, t->frames);
	worker_free(&t->w);
	ipc_queue_free(&t->out);
	transport_free(t->t);
	voice_free(&t->v);
}

/* ---- floods ---- */

/* What comes between two packets of the honest: `n` is which of the flood's it is. */
typedef void flood_fn(struct rig *t, int n, uint64_t at_ns);

static void flood(flood_fn *hostile, int count, long limit_mb)
{
	struct rig t;
	int k, i, a_step = count / HONEST;

	rig_up(&t, IPC_WANT_PCM);
	for (k = 0; k < HONEST; k++) {
		uint64_t at_ns = T0 + (uint64_t)k * 20 * MS;

		honest(&t, k, at_ns);
		for (i = 0; i < a_step; i++)
			hostile(&t, k * a_step + i,
				at_ns + (uint64_t)i * 20 * MS / (unsigned)a_step);
	}
	if (rss_kb() > t.rss_peak)
		t.rss_peak = rss_kb();
	rig_down(&t, limit_mb);
}

static uint32_t dice(struct rig *t)
{
	return roll(&t->seed) << 16 ^ roll(&t->seed);
}

/* Never one of the honest, nor our own. */
static uint32_t any_ssrc(struct rig *t)
{
	return dice(t) | 0x80000000;
}

static void hostile_ssrc(struct rig *t, int n, uint64_t at_ns)
{
	const uint8_t *voice = t->v.packet[n % t->v.count];

	rtp(t, CONN, at_ns, any_ssrc(t), (uint16_t)dice(t), dice(t), voice,
		(size_t)t->v.len[n % t->v.count]);
}

static void ssrcs_that_open(void **state)
{
	(void)state;
	flood(hostile_ssrc, FLOOD, 64);
}

/* A few hundred that stay: all the streams that nobody was named for, each with a decoder. */
static void hostile_streams(struct rig *t, int n, uint64_t at_ns)
{
	int k = n / 1000;

	rtp(t, CONN, at_ns, 0x80000000u + (uint32_t)(n % 1000), (uint16_t)k, (uint32_t)(k * STEP),
		t->v.packet[k % t->v.count], (size_t)t->v.len[k % t->v.count]);
}

static void streams_that_stay(void **state)
{
	(void)state;
	flood(hostile_streams, FLOOD, 64);
}

static void hostile_unopened(struct rig *t, int n, uint64_t at_ns)
{
	uint8_t packet[200];
	size_t len = sealed(t, packet, any_ssrc(t), (uint16_t)n, dice(t), t->v.packet[0], 60);

	packet[len - 10] ^= 1;
	datagram(t, CONN, at_ns, packet, len);
}

static void ssrcs_that_do_not_open(void **state)
{
	(void)state;
	flood(hostile_unopened, FLOOD, 8);
}

/* Under the SSRCs of the honest, which everybody may write into a header. */
static void hostile_forged(struct rig *t, int n, uint64_t at_ns)
{
	uint8_t packet[200];
	size_t len = sealed(t, packet, n % 2 ? SSRC_A : SSRC_B, (uint16_t)dice(t), dice(t),
		t->v.packet[0], 60);

	packet[len - 5 - dice(t) % 16] ^= (uint8_t)(1 + dice(t) % 255);
	datagram(t, CONN, at_ns, packet, len);
}

static void forged_packets_of_the_honest(void **state)
{
	(void)state;
	flood(hostile_forged, FLOOD, 8);
}

static void hostile_ts(struct rig *t, int n, uint64_t at_ns)
{
	rtp(t, CONN, at_ns, 0x90000000, (uint16_t)n, dice(t), t->v.packet[n % t->v.count],
		(size_t)t->v.len[n % t->v.count]);
}

static void timestamps_at_random(void **state)
{
	(void)state;
	flood(hostile_ts, FLOOD / 10, 32);
}

static void hostile_seq(struct rig *t, int n, uint64_t at_ns)
{
	rtp(t, CONN, at_ns, 0x90000000, (uint16_t)dice(t), (uint32_t)n * STEP,
		t->v.packet[n % t->v.count], (size_t)t->v.len[n % t->v.count]);
}

static void sequence_numbers_at_random(void **state)
{
	(void)state;
	flood(hostile_seq, FLOOD / 10, 32);
}

/* 120 ms of sound in two bytes and zeros: the most work for the fewest bytes. */
static void hostile_long(struct rig *t, int n, uint64_t at_ns)
{
	static const uint8_t zeros[40] = { 0x1b, 0x02 }; /* two of 60 ms, SILK */

	rtp(t, CONN, at_ns, 0x90000000u + (uint32_t)(n % 4), (uint16_t)(n / 4),
		(uint32_t)(n / 4) * 5760, zeros, sizeof(zeros));
}

static void the_longest_sound_in_the_fewest_bytes(void **state)
{
	(void)state;
	flood(hostile_long, FLOOD / 10, 32);
}

/* As large as a datagram may be, of SSRCs without a name: what is held for one is bounded. */
static void hostile_large(struct rig *t, int n, uint64_t at_ns)
{
	static const uint8_t large[IPC_MAX_DGRAM - 32];

	rtp(t, CONN, at_ns, 0x90000000u + (uint32_t)(n % CONN_MAX_HELD), (uint16_t)(n / 64),
		(uint32_t)(n / 64) * STEP, large, sizeof(large));
}

static void the_largest_packets_without_a_name(void **state)
{
	(void)state;
	flood(hostile_large, FLOOD, CONN_MAX_HELD * 256 / 1024 + 48);
}

/* Every stream there may be begins with a gap: what is behind it waits, as much as there is room
 * for. */
static void hostile_gaps(struct rig *t, int n, uint64_t at_ns)
{
	static const uint8_t large[IPC_MAX_DGRAM - 32] = { 0xf8, 0xff, 0xfe };
	uint32_t ssrc = 0x90000000u + (uint32_t)(n % 200);
	int k = n / 200;

	/* Named, so that nothing is held: a member's own SSRCs are. */
	if (k == 0)
		rig_name(t, CONN, ssrc, 5000u + (uint32_t)(n % 200));
	/* All within the time that a packet waits for those before it. */
	rtp(t, CONN, at_ns, ssrc, (uint16_t)(k < 2 ? k : k + 2), (uint32_t)k * STEP,
		k < 2 ? (const uint8_t *)"\xf8\xff\xfe" : large, k < 2 ? 3 : sizeof(large));
}

static void gaps_in_every_stream(void **state)
{
	struct rig t;
	int n;

	(void)state;
	rig_up(&t, IPC_WANT_PCM);
	for (n = 0; n < 5; n++)
		honest(&t, n, T0 + (uint64_t)n * 20 * MS);
	for (n = 0; n < 200 * 300; n++)
		hostile_gaps(&t, n, T0 + 99 * MS);
	assert_in_range(t.peak, CONN_MAX_WAITING / 2, CONN_MAX_WAITING + 1);
	t.rss_peak = rss_kb();
	for (n = 5; n < HONEST; n++)
		honest(&t, n, T0 + (uint64_t)n * 20 * MS);
	rig_down(&t, CONN_MAX_WAITING * 2 / 1024 + 32);
}

/* Everything at once that is no packet of anybody: half of what comes. Each has its reason. */
static void hostile_rubbish(struct rig *t, int n, uint64_t at_ns)
{
	static const uint8_t nothing[1];
	uint8_t packet[400];
	size_t i, len = sealed(t, packet, any_ssrc(t), (uint16_t)n, dice(t), t->v.packet[0], 60);

	switch (n % 7) {
	case 0: /* random bytes */
		len = dice(t) % sizeof(packet);
		for (i = 0; i < len; i++)
			packet[i] = (uint8_t)dice(t);
		break;
	case 1: /* a header that looks right, and random bytes */
		for (i = RTP_MIN_HEADER; i < len; i++)
			packet[i] = (uint8_t)dice(t);
		break;
	case 2: /* an honest packet that was cut off */
		len = sealed(t, packet, SSRC_A, (uint16_t)n, (uint32_t)n, t->v.packet[0], 60);
		len = dice(t) % len;
		break;
	case 3: /* RTCP of sorts */
		packet[1] = (uint8_t)(200 + dice(t) % 8);
		len = dice(t) % (len + 1);
		break;
	case 4: /* other payloads */
		packet[1] = (uint8_t)(dice(t) % 128);
		break;
	case 5: /* as if from us */
		len = sealed(t, packet, 1, (uint16_t)n, (uint32_t)n, t->v.packet[0], 60);
		break;
	case 6: /* more padding than packet, with a tag that fits */
		rtp_write(packet, RTP_OPUS_PAYLOAD_TYPE, (uint16_t)n, 1, any_ssrc(t));
		packet[0] |= 0x20;
		len = transport_seal(t->t, packet, memcpy(packet + 300, packet, 12), 12,
			(const uint8_t *)"\xf8\xff\xc8", 3, ++t->nonce);
		break;
	}
	datagram(t, CONN, at_ns, len > 0 ? packet : nothing, len);
}

static void rubbish_as_half_of_the_traffic(void **state)
{
	(void)state;
	flood(hostile_rubbish, 2 * HONEST, 8);
}

static void rubbish_as_nearly_all_of_it(void **state)
{
	(void)state;
	flood(hostile_rubbish, FLOOD, 16);
}

/* Whoever is named finds room, however many that are not were there first. */
static void the_named_find_room(void **state)
{
	struct rig t;
	uint32_t i;
	int k;

	(void)state;
	rig_up(&t, IPC_WANT_PCM);
	for (k = 0; k < 10; k++) {
		for (i = 0; i < 60 && k < 9; i++)
			rtp(&t, CONN, T0 + (uint64_t)k * NAME_NS,
				0x90000000u + (uint32_t)k * 60 + i, 1, 1, t.v.packet[0],
				(size_t)t.v.len[0]);
	}
	assert_int_equal(rig_conn(&t)->unnamed, CONN_MAX_UNNAMED);
	assert_int_equal(rig_conn(&t)->streams, CONN_MAX_UNNAMED);
	for (i = 0; i < CONN_MAX_STREAMS - CONN_MAX_UNNAMED - 2; i++) {
		rig_name(&t, CONN, 0xa0000000u + i, 7000 + i);
		rtp(&t, CONN, T0 + 20 * TD_SEC_NS, 0xa0000000u + i, 1, 1, t.v.packet[0],
			(size_t)t.v.len[0]);
	}
	/* One that was nobody's and gets a name makes room for another nobody. */
	rig_name(&t, CONN, 0x90000000u, 6999);
	assert_int_equal(rig_conn(&t)->unnamed, CONN_MAX_UNNAMED - 1);
	for (k = 0; k < HONEST; k++)
		honest(&t, k, T0 + 21 * TD_SEC_NS + (uint64_t)k * 20 * MS);
	assert_int_equal(rig_conn(&t)->streams, CONN_MAX_STREAMS);
	rig_down(&t, 128);
}

/* Whoever speaks and is not named yet loses nothing to SSRCs that come once and never again. */
static void a_flood_while_one_waits_for_a_name(void **state)
{
	struct rig t;
	int k, i;

	(void)state;
	rig_up(&t, 0);
	for (k = 0; k < 50; k++) {
		uint64_t at_ns = T0 + (uint64_t)k * 20 * MS;

		rtp(&t, CONN, at_ns, 0xc0c0, (uint16_t)k, (uint32_t)(k * STEP), t.v.packet[k],
			(size_t)t.v.len[k]);
		for (i = 0; i < 60; i++)
			hostile_ssrc(&t, i, at_ns + MS);
	}
	rig_name(&t, CONN, 0xc0c0, USER_A);
	tell(&t, IPC_CONN_CLOSE, CONN, NULL, 0, NULL, 0);
	rig_replies(&t);
	check_datagrams(&t);
	assert_int_equal(t.honest[COUNTER_HELD], 50);
	assert_int_equal(t.honest[COUNTER_DECODED], 50);
	worker_free(&t.w);
	ipc_queue_free(&t.out);
	transport_free(t.t);
	voice_free(&t.v);
	plain_free(&t.ear[0]);
	plain_free(&t.ear[1]);
}

/* ---- the network ---- */

struct way {
	int loss, burst, duplicate, depth, jitter_ms; /* percent; burst: packets lost in a row */
	int window_ms;
};

static int by_arrival(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	return x->at != y->at ? (x->at < y->at ? -1 : 1) : x->k - y->k;
}

/* What becomes of a packet every 20 ms on the way; who is in time according to the contract: it
 * came before any later one had waited as long as one waits. */
static size_t travel(const struct way *w, struct event *e, bool *in_time, uint32_t seed)
{
	uint64_t first_after = UINT64_MAX, came[HONEST];
	int k, burst = 0;
	size_t n = 0;

	for (k = 0; k < HONEST; k++) {
		uint64_t at = T0 + (uint64_t)k * 20 * MS;

		came[k] = UINT64_MAX;
		if (burst == 0 && k > 0 && (int)(roll(&seed) % 1000) < w->loss * 10 / w->burst)
			burst = w->burst;
		if (w->jitter_ms > 0 && k % 10 != 0)
			at += roll(&seed) % (unsigned)w->jitter_ms * MS;
		if (w->depth > 0 && k > 0 && roll(&seed) % 10 == 0)
			at += (uint64_t)w->depth * 20 * MS + MS;
		if (burst > 0 && burst-- > 0)
			continue;
		came[k] = at;
		e[n++] = (struct event){ .at = at, .k = k };
		if ((int)(roll(&seed) % 100) < w->duplicate)
			e[n++] = (struct event){ .at = at + roll(&seed) % 300 * MS, .k = k };
	}
	for (k = HONEST; k-- > 0;) {
		in_time[k] = came[k] != UINT64_MAX &&
			(first_after == UINT64_MAX ||
				came[k] < first_after + (uint64_t)w->window_ms * MS);
		if (came[k] < first_after)
			first_after = came[k];
	}
	qsort(e, n, sizeof(*e), by_arrival);
	return n;
}

/* Every frame is what libopus gives for it, in its place; who was in time is there. */
static void check_way(const struct way *w, const struct voice *v, uint32_t seed)
{
	uint64_t latest_ms = (uint64_t)(w->jitter_ms + w->depth * 20 + 1);
	struct event e[2 * HONEST];
	bool in_time[HONEST], heard[HONEST] = { false };
	uint64_t sent = 0;
	struct plain ear;
	struct unpack u;
	int64_t last = INT64_MIN;
	size_t i, n;
	int k, at = 0;

	n = travel(w, e, in_time, seed);
	unpack_begin(&u, (uint64_t)w->window_ms * MS, 1);
	for (i = 0; i < n; i++)
		unpack_rtp(&u, CONN, e[i].at, SSRC_A, (uint16_t)(65500 + e[i].k),
			(uint32_t)(e[i].k * STEP - 5000), v->packet[e[i].k],
			(size_t)v->len[e[i].k]);
	unpack_end(&u);
	plain_init(&ear, 1);
	for (i = 0; i < u.frames; i++) {
		const struct got_frame *g = &u.frame[i];
		int32_t from = (int32_t)(g->f.rtp_ts + 5000);
		int64_t off = g->f.sent_ns - (int64_t)T0 - td_samples_to_ns(from);

		k = from / STEP;
		assert_true(from > last || last == INT64_MIN);
		last = from;
		/* To the sample; but a pause of the network of 200 ms and more, behind which
		 * nothing comes quickly for another 180 ms, is taken for one of the speaker's. */
		if (u.sum[COUNTER_TIME_JUMPS] == 0)
			assert_in_range(off + 1, 0, 2);
		else
			assert_in_range(off + 1, 0, latest_ms * MS + 2);
		if (g->f.kind == IPC_FRAME_DECODED) {
			plain_expect(&ear, g, v->packet[k], v->len[k]);
			heard[k] = true;
			at = 0;
		} else if (g->f.kind == IPC_FRAME_FEC) {
			plain_expect_lost(&ear, g, v->packet[k + 1], v->len[k + 1], 0);
		} else {
			plain_expect_lost(&ear, g, NULL, 0, at);
			at += g->f.samples;
		}
	}
	for (k = 0; k < HONEST; k++) {
		sent += heard[k];
		if (in_time[k] && !heard[k])
			fail_msg("loss %d burst %d depth %d jitter %d window %d: %d came in time",
				w->loss, w->burst, w->depth, w->jitter_ms, w->window_ms, k);
	}
	assert_int_equal(u.sum[COUNTER_DECODED], sent);
	assert_int_equal(u.sum[COUNTER_RECEIVED], n);
	assert_int_equal(n, sent + u.sum[COUNTER_DUPLICATE] + u.sum[COUNTER_LATE]);
	if (u.sum[COUNTER_TIME_JUMPS] > 0)
		assert_true(latest_ms > 200);
	if (getenv("FLOOD_FIGURES") != NULL && u.sum[COUNTER_TIME_JUMPS] > 0)
		fprintf(stderr, "# %d jumps: loss %d burst %d depth %d jitter %d window %d\n",
			(int)u.sum[COUNTER_TIME_JUMPS], w->loss, w->burst, w->depth, w->jitter_ms,
			w->window_ms);
	plain_free(&ear);
	unpack_free(&u);
}

static void every_kind_of_way(void **state)
{
	static const int losses[] = { 0, 1, 5, 15, 30 }, jitters[] = { 0, 50, 200, 500 };
	struct way w = { .duplicate = 10 };
	struct voice v;
	uint32_t seed = 1;
	size_t l, j;

	(void)state;
	voice_make(&v, HONEST + 1, STEP, 1, true);
	for (w.window_ms = 100; w.window_ms <= 500; w.window_ms += 400) {
		for (l = 0; l < 5; l++) {
			for (w.burst = 1; w.burst <= 8; w.burst += 7) {
				for (j = 0; j < 4; j++) {
					w.loss = losses[l];
					w.jitter_ms = jitters[j];
					w.depth = 0;
					check_way(&w, &v, seed++);
					w.depth = (int)(seed % 20) + 1;
					check_way(&w, &v, seed++);
				}
			}
		}
		w.loss = w.jitter_ms = 0;
		w.burst = 1;
		for (w.depth = 1; w.depth <= 20; w.depth++)
			check_way(&w, &v, seed++);
	}
	voice_free(&v);
}

/* ---- a wall clock that is set ---- */

/*
 * Both clocks of udp.c and the kernel's stamps: what it calls is here. Wall time is monotonic time
 * and `wall_ns`; a datagram was stamped with the wall time of its arrival.
 */
static struct {
	bool on;
	uint64_t mono_ns;
	int64_t wall_ns;
	uint64_t arrived_ns[64]; /* of the datagrams in the socket */
	uint64_t stamp_ns[64];
	int count, taken;
	uint64_t got_ns[64]; /* what udp.c says */
	int got;
	uint32_t foreign;
} sim;

int clock_gettime(clockid_t id, struct timespec *ts)
{
	uint64_t ns = sim.mono_ns + (id == CLOCK_REALTIME ? (uint64_t)sim.wall_ns : 0);

	if (!sim.on || (id != CLOCK_REALTIME && id != CLOCK_MONOTONIC)) {
		struct timespec now = { 0 };

		/* Not through the library's own, which is this. */
		if (syscall(SYS_clock_gettime, id, &now) != 0)
			return -1;
		*ts = now;
		return 0;
	}
	*ts = (struct timespec){ (time_t)(ns / TD_SEC_NS), (long)(ns % TD_SEC_NS) };
	return 0;
}

int recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags, struct timespec *timeout)
{
	unsigned i;

	if (!sim.on)
		return (int)syscall(SYS_recvmmsg, fd, msgs, n, flags, timeout);
	for (i = 0; i < n && sim.taken < sim.count; i++, sim.taken++) {
		struct msghdr *h = &msgs[i].msg_hdr;
		struct cmsghdr *cm = h->msg_control;
		struct timespec ts = { (time_t)(sim.stamp_ns[sim.taken] / TD_SEC_NS),
			(long)(sim.stamp_ns[sim.taken] % TD_SEC_NS) };

		memcpy(h->msg_iov->iov_base, "\x80\x78 a datagram", 13);
		msgs[i].msg_len = 13;
		*cm = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(ts)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_TIMESTAMPNS };
		memcpy(CMSG_DATA(cm), &ts, sizeof(ts));
		h->msg_controllen = CMSG_SPACE(sizeof(ts));
	}
	return i > 0 ? (int)i : -1;
}

static void sim_datagram(void *user, uint64_t arrival_ns, const uint8_t *data, size_t len)
{
	(void)user;
	(void)data;
	assert_int_equal(len, 13);
	sim.got_ns[sim.got++] = arrival_ns;
}

static void sim_ignore(void *user, const char *why)
{
	(void)user;
	(void)why;
}

static void sim_foreign(void *user, uint32_t n)
{
	(void)user;
	sim.foreign += n;
}

static void sim_arrives(uint64_t at_ns)
{
	sim.arrived_ns[sim.count] = at_ns;
	sim.stamp_ns[sim.count++] = at_ns + (uint64_t)sim.wall_ns;
}

/* A datagram each 20 ms, read 1 ms later; before the tenth is read the clock is set by `step_ns`,
 * and is set back before the twentieth. */
static void one_step(int64_t step_ns)
{
	struct sockaddr_in here = { .sin_family = AF_INET };
	socklen_t here_len = sizeof(here);
	uv_loop_t loop;
	struct udp *u;
	struct udp_conf conf = { .loop = &loop,
		.host = "127.0.0.1",
		.datagram = sim_datagram,
		.foreign = sim_foreign,
		.failed = sim_ignore };
	int peer = socket(AF_INET, SOCK_DGRAM, 0), i;

	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(peer, (struct sockaddr *)&here, sizeof(here)), 0);
	assert_int_equal(getsockname(peer, (struct sockaddr *)&here, &here_len), 0);
	conf.port = ntohs(here.sin_port);
	memset(&sim, 0, sizeof(sim));
	sim.on = true;
	sim.mono_ns = 1000 * TD_SEC_NS;
	sim.wall_ns = (int64_t)(1700000000 * TD_SEC_NS);
	uv_loop_init(&loop);
	assert_int_equal(udp_reader_new(&conf.reader, &loop, 5), TD_OK);
	assert_int_equal(udp_new(&u, &conf), TD_OK);
	/* The request for our address: it comes back as the datagram that makes the socket
	 * readable. What is read is the simulation's. */
	for (i = 0; i < 30; i++) {
		struct sockaddr_in from;
		socklen_t from_len = sizeof(from);
		uint8_t data[100];

		if (i == 0) {
			uv_run(&loop, UV_RUN_NOWAIT);
			assert_true(recvfrom(peer, data, sizeof(data), 0, (struct sockaddr *)&from,
					    &from_len) > 0);
			assert_int_equal(sendto(peer, "x", 1, 0, (struct sockaddr *)&from,
						 from_len),
				1);
		}
		sim.mono_ns += 19 * MS;
		sim_arrives(sim.mono_ns);
		if (i == 10)
			sim.wall_ns += step_ns;
		if (i == 20)
			sim.wall_ns -= step_ns;
		sim.mono_ns += MS;
		uv_run(&loop, UV_RUN_ONCE);
	}
	assert_int_equal(sim.got, 30);
	for (i = 0; i < 30; i++) {
		/* Without a step: exactly. At one: when it was read, at worst. */
		if (i == 10 || i == 20)
			assert_in_range(sim.got_ns[i], sim.arrived_ns[i] - MS,
				sim.arrived_ns[i] + MS);
		else
			assert_true(sim.got_ns[i] == sim.arrived_ns[i]);
	}
	udp_free(u);
	udp_reader_free(conf.reader);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	sim.on = false;
	close(peer);
}

/* The socket is connected: what anybody else sends to it never comes in, and is counted. */
static void datagrams_of_strangers(void **state)
{
	struct sockaddr_in here[2], to;
	socklen_t len = sizeof(to);
	uint8_t data[100];
	uv_loop_t loop;
	struct udp *u;
	struct udp_conf conf = { .loop = &loop,
		.host = "127.0.0.1",
		.datagram = sim_datagram,
		.foreign = sim_foreign,
		.failed = sim_ignore };
	int fd[2], i;

	(void)state;
	memset(&sim, 0, sizeof(sim));
	for (i = 0; i < 2; i++) {
		here[i] = (struct sockaddr_in){ .sin_family = AF_INET };
		here[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK + (unsigned)i);
		fd[i] = socket(AF_INET, SOCK_DGRAM, 0);
		len = sizeof(here[i]);
		assert_int_equal(bind(fd[i], (struct sockaddr *)&here[i], len), 0);
		assert_int_equal(getsockname(fd[i], (struct sockaddr *)&here[i], &len), 0);
	}
	conf.port = ntohs(here[0].sin_port);
	uv_loop_init(&loop);
	assert_int_equal(udp_reader_new(&conf.reader, &loop, 0), TD_OK);
	assert_int_equal(udp_new(&u, &conf), TD_OK);
	uv_run(&loop, UV_RUN_NOWAIT);
	len = sizeof(to);
	assert_true(recvfrom(fd[0], data, sizeof(data), 0, (struct sockaddr *)&to, &len) > 0);
	for (i = 0; i < 100; i++) {
		sendto(fd[1], "\x80\x78 a stranger's", 13, 0, (struct sockaddr *)&to, len);
		if (i % 10 == 0)
			sendto(fd[0], "\x80\x78 a datagram", 13, 0, (struct sockaddr *)&to, len);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(sim.got, 10);
	udp_free(u);
	assert_int_equal(sim.foreign, 100);
	udp_reader_free(conf.reader);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	close(fd[0]);
	close(fd[1]);
}

static void the_wall_clock_is_set(void **state)
{
	static const int64_t steps_ms[] = { 1, -1, 10, -10, 40, -40, 60, -60, 1000, -1000, 3600000,
		-3600000, 1000000000, -1000000000 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(steps_ms) / sizeof(steps_ms[0]); i++)
		one_step(steps_ms[i] * (int64_t)MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ssrcs_that_open),
		cmocka_unit_test(streams_that_stay),
		cmocka_unit_test(ssrcs_that_do_not_open),
		cmocka_unit_test(forged_packets_of_the_honest),
		cmocka_unit_test(timestamps_at_random),
		cmocka_unit_test(sequence_numbers_at_random),
		cmocka_unit_test(the_longest_sound_in_the_fewest_bytes),
		cmocka_unit_test(the_largest_packets_without_a_name),
		cmocka_unit_test(gaps_in_every_stream),
		cmocka_unit_test(rubbish_as_half_of_the_traffic),
		cmocka_unit_test(rubbish_as_nearly_all_of_it),
		cmocka_unit_test(the_named_find_room),
		cmocka_unit_test(a_flood_while_one_waits_for_a_name),
		cmocka_unit_test(every_kind_of_way),
		cmocka_unit_test(datagrams_of_strangers),
		cmocka_unit_test(the_wall_clock_is_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
