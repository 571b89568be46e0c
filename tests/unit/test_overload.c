/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "receiver/lane_requests.h"
#include "tests/unit/unpack.h"

/* What is shed when more comes than can be decoded or written, in which order, and how it sounds.
 */
enum { BOTH = IPC_WANT_PCM | IPC_WANT_OPUS, STEP = 960, PACKETS = 300 };

/* ---- the queue before an unpacker ---- */

struct rig {
	struct lane_thread *thread;
	struct lane_requests q;
	uint64_t sent;
};

static void no_sound(void *user, unsigned samples)
{
	(void)user;
	(void)samples;
}

static void worker_is_down(void *user, const char *why)
{
	(void)user;
	(void)why;
}

static void rig_up(struct rig *g, uint32_t want, bool live)
{
	const struct ipc_conn_open open = { 100 * MS, 2000 * MS, want, 2 };
	struct lane_thread_conf conf = { .ops = { .sound = no_sound },
		.user = g,
		.worker_down = worker_is_down };

	g->sent = 0;
	assert_int_equal(lane_thread_new(&g->thread, &conf), TD_OK);
	lane_requests_init(&g->q, &open, live, g->thread);
	lane_requests_retell(&g->q);
	assert_int_equal(lane_requests_open(&g->q, CONN), TD_OK);
}

static void rig_down(struct rig *g)
{
	lane_requests_close(&g->q, CONN);
	assert_null(lane_requests_conn(&g->q, CONN));
	lane_requests_free(&g->q);
	lane_thread_free(g->thread);
}

/* A packet of `len` bytes that arrives at `ms`. */
static void send_packet(struct rig *g, uint64_t ms, size_t len)
{
	uint8_t packet[IPC_MAX_DGRAM] = { 0 };

	rtp_write(packet, RTP_OPUS_PAYLOAD_TYPE, (uint16_t)g->sent, (uint32_t)(g->sent * STEP),
		SSRC_A);
	g->sent++;
	lane_requests_packet(&g->q, CONN, T0 + ms * MS, packet, len);
}

struct waits {
	size_t packets, marked;
	uint64_t first_ms, first_whole_ms; /* arrival of the oldest; of the oldest not marked */
	bool in_order;                     /* all that are marked come before all that are not */
};

static struct waits look(const struct rig *g)
{
	struct waits w = { .in_order = true };
	const struct ipc_queue *q = &g->q.queue;

	for (size_t at = q->head, total; at < q->head + q->len; at += total) {
		struct ipc_packet p;
		struct ipc_hdr hdr;
		uint64_t ms;

		memcpy(&hdr, q->buf + at, sizeof(hdr));
		total = ipc_wire_size(hdr.len);
		if (hdr.type != IPC_PACKET)
			continue;
		memcpy(&p, q->buf + at + sizeof(hdr), sizeof(p));
		ms = (p.arrival_ns - T0) / MS;
		if (w.packets++ == 0)
			w.first_ms = ms;
		if (p.flags == IPC_PACKET_UNDECODED) {
			w.in_order = w.in_order && w.marked == w.packets - 1;
			w.marked++;
		} else if (w.marked == w.packets - 1) {
			w.first_whole_ms = ms;
		}
	}
	return w;
}

static uint64_t dropped(const struct rig *g)
{
	return lane_requests_conn(&g->q, CONN)->counters[COUNTER_OVERLOAD];
}

/* Nothing is read for a minute. */
static void nothing_waits_for_long(void **state)
{
	static const uint32_t wants[] = { IPC_WANT_PCM, IPC_WANT_OPUS, BOTH };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct waits w;
		struct rig g;

		rig_up(&g, wants[i], true);
		for (uint64_t ms = 0; ms < 60000; ms += 20) {
			send_packet(&g, ms, 200);
			if (ms % 500 == 0)
				lane_requests_watch(&g.q);
			w = look(&g);
			assert_true(ms - w.first_ms <= 10500);
			assert_true(w.in_order);
			if (wants[i] == BOTH)
				assert_true(ms - w.first_whole_ms <= 5500);
			/* For a while nothing is lost at all. */
			if (ms < 5000)
				assert_int_equal(w.marked, 0);
			if (ms < 10000)
				assert_int_equal(dropped(&g), 0);
		}
		assert_int_equal(w.marked > 0, wants[i] == BOTH);
		assert_int_equal(dropped(&g) + w.packets, g.sent);
		assert_int_equal(g.q.dropped, dropped(&g));
		assert_int_equal(g.q.undecoded > 0, wants[i] == BOTH);
		/* What was dropped must not come again with another worker. */
		lane_requests_disconnect(&g.q);
		assert_int_equal(lane_requests_retell(&g.q), w.packets);
		rig_down(&g);
	}
}

/* So much at once that it is not a matter of time. */
static void nor_too_much(void **state)
{
	struct waits w;
	struct rig g;

	(void)state;
	rig_up(&g, BOTH, true);
	for (unsigned i = 0; i < 40000; i++) {
		size_t len = g.q.queue.len;

		send_packet(&g, i / 40, 1200);
		assert_true(g.q.queue.len <= 16 * 1024 * 1024);
		if (len < 8 * 1024 * 1024 - 4096 && dropped(&g) == 0)
			assert_int_equal(g.q.undecoded, 0);
		if (dropped(&g) == 0 && len > 9 * 1024 * 1024)
			assert_true(g.q.undecoded > 0);
	}
	w = look(&g);
	assert_true(w.in_order);
	assert_true(dropped(&g) > 0);
	assert_int_equal(dropped(&g) + w.packets, g.sent);
	/* those that are to be decoded are 8 MiB at most */
	assert_true((w.packets - w.marked) * 1250 <= 8 * 1024 * 1024 + 4096);
	rig_down(&g);
}

static void a_replay_sheds_nothing(void **state)
{
	struct waits w;
	struct rig g;

	(void)state;
	rig_up(&g, BOTH, false);
	for (uint64_t ms = 0; ms < 400000; ms += 20) {
		send_packet(&g, ms, 1200);
		if (ms % 500 == 0)
			lane_requests_watch(&g.q);
	}
	w = look(&g);
	assert_int_equal(w.packets, g.sent);
	assert_int_equal(w.marked, 0);
	rig_down(&g);
}

/* READY, and answers to what was not asked. */
static void answer_unasked(struct rig *g, int fd, unsigned n)
{
	const struct ipc_hello hello = { IPC_VERSION, sizeof(struct ipc_hdr) };
	const struct ipc_pong pong = { 0 };
	struct ipc_queue said;
	bool waits;

	ipc_queue_init(&said);
	ipc_queue_put(&said, IPC_READY, 0, &hello, sizeof(hello), NULL, 0);
	for (unsigned i = 0; i < n; i++)
		ipc_queue_put(&said, IPC_PONG, 0, &pong, sizeof(pong), NULL, 0);
	assert_int_equal(ipc_queue_write(&said, fd), 0);
	ipc_queue_free(&said);
	while (lane_thread_pongs(g->thread, &waits) < n)
		usleep(100);
}

/* A worker that answers more than it was asked does not get more at once for it later. */
static void answers_nobody_asked_for(void **state)
{
	enum { UNASKED = 40, PING_SIZE = sizeof(struct ipc_hdr) };
	uint8_t got[16 * PING_SIZE];
	int request[2], reply[2];
	struct rig g;

	(void)state;
	assert_int_equal(pipe2(request, O_NONBLOCK), 0);
	assert_int_equal(pipe(reply), 0);
	rig_up(&g, IPC_WANT_PCM, true);
	lane_thread_worker(g.thread, reply[0]);
	answer_unasked(&g, reply[1], UNASKED);
	assert_int_equal(lane_requests_write(&g.q, request[1]), 0);
	while (g.q.sent < UNASKED) {
		lane_requests_ping(&g.q);
		assert_int_equal(lane_requests_write(&g.q, request[1]), 0);
	}
	while (read(request[0], got, sizeof(got)) > 0)
		;
	for (unsigned i = 0; i < 16; i++)
		lane_requests_ping(&g.q);
	assert_int_equal(lane_requests_write(&g.q, request[1]), 0);
	assert_int_equal(read(request[0], got, sizeof(got)), LANE_UNDER_WAY * PING_SIZE);
	close(reply[1]);
	rig_down(&g);
	close(request[0]);
	close(request[1]);
}

/* ---- the unpacker ---- */

static void say(struct unpack *u, const struct voice *v, int k, bool undecoded)
{
	struct ipc_packet p = { .arrival_ns = T0 + (uint64_t)k * 20 * MS,
		.flags = undecoded ? IPC_PACKET_UNDECODED : 0 };
	uint8_t header[RTP_MIN_HEADER], packet[IPC_MAX_DGRAM];
	size_t n;

	rtp_write(header, RTP_OPUS_PAYLOAD_TYPE, (uint16_t)(65400 + k), (uint32_t)(k * STEP),
		SSRC_A);
	n = transport_seal(u->t, packet, header, sizeof(header), v->packet[k], (size_t)v->len[k],
		(uint32_t)k + 1);
	unpack_put(u, IPC_PACKET, CONN, &p, sizeof(p), packet, n);
}

/* Every packet is passed on, the sound of those between is a gap that fades out, and what follows
 * is where it belongs. */
static void kept_and_not_decoded(void **state)
{
	struct voice v;
	struct unpack u;
	size_t decoded = 0, i;
	uint32_t end = 0;

	(void)state;
	voice_make(&v, PACKETS, STEP, 1, true);
	unpack_begin_for(&u, BOTH, 0, 1);
	for (int k = 0; k < PACKETS; k++)
		say(&u, &v, k, k >= 100 && k < 200);
	unpack_end(&u);
	assert_int_equal(u.opuses, PACKETS);
	for (i = 0; i < u.opuses; i++) {
		assert_int_equal(u.opus[i].o.rtp_ts, i * STEP);
		assert_int_equal(u.opus[i].o.lost, 0);
		assert_int_equal(u.opus[i].len, v.len[i]);
		assert_memory_equal(u.opus[i].data, v.packet[i], (size_t)v.len[i]);
	}
	for (i = 0; i < u.frames; i++) {
		const struct ipc_frame *f = &u.frame[i].f;

		assert_true(f->rtp_ts >= end);
		end = f->rtp_ts + f->samples;
		if (f->kind == IPC_FRAME_DECODED) {
			assert_int_equal(f->rtp_ts % STEP, 0);
			assert_true(f->rtp_ts < 100 * STEP || f->rtp_ts >= 200 * STEP);
			decoded++;
		} else {
			/* made up: a tenth of a second at most, and what the next one brings */
			assert_true(f->rtp_ts < 105 * STEP || f->rtp_ts >= 199 * STEP);
		}
	}
	assert_int_equal(decoded, PACKETS - 100);
	assert_int_equal(u.sum[COUNTER_RECEIVED], PACKETS);
	assert_int_equal(u.sum[COUNTER_DECODED], PACKETS - 100);
	assert_int_equal(u.sum[COUNTER_UNDECODED], 100);
	assert_int_equal(u.sum[COUNTER_LOST], 0);
	unpack_free(&u);
	voice_free(&v);
}

/* Where nobody wants sound there is nothing to be saved. */
static void nothing_to_save(void **state)
{
	struct voice v;
	struct unpack u;

	(void)state;
	voice_make(&v, 50, STEP, 1, false);
	unpack_begin_for(&u, IPC_WANT_OPUS, 0, 1);
	for (int k = 0; k < 50; k++)
		say(&u, &v, k, true);
	unpack_end(&u);
	assert_int_equal(u.opuses, 50);
	assert_int_equal(u.sum[COUNTER_DECODED], 50);
	assert_int_equal(u.sum[COUNTER_UNDECODED], 0);
	unpack_free(&u);
	voice_free(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_waits_for_long),
		cmocka_unit_test(nor_too_much),
		cmocka_unit_test(a_replay_sheds_nothing),
		cmocka_unit_test(answers_nobody_asked_for),
		cmocka_unit_test(kept_and_not_decoded),
		cmocka_unit_test(nothing_to_save),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
