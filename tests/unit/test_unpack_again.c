/* SPDX-License-Identifier: ISC */
/* Packets a worker is given again, because the one before it died (IPC_PACKET_AGAIN). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/unpack.h"

enum { COUNT = 150 };

static struct voice voice;

static int setup(void **state)
{
	(void)state;
	voice_make(&voice, COUNT, 960, 1, true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	voice_free(&voice);
	return 0;
}

/* As unpack_rtp(), flagged. */
static void rtp_again(struct unpack *u, uint64_t arrival_ns, uint16_t seq, uint32_t ts,
	const void *payload, size_t len)
{
	const struct ipc_packet p = { .arrival_ns = arrival_ns, .flags = IPC_PACKET_AGAIN };
	uint8_t packet[IPC_MAX_DGRAM];

	rtp_write(packet, RTP_OPUS_PAYLOAD_TYPE, seq, ts, SSRC_A);
	if (len > 0)
		memcpy(packet + RTP_MIN_HEADER, payload, len);
	unpack_put(u, IPC_PACKET, CONN, &p, sizeof(p), packet, RTP_MIN_HEADER + len);
}

enum { LOST = -1, PAUSE = -2 };

/* Packet k: when it arrives and what it says. There are pauses, jitter, loss and reordering. */
struct plan {
	uint64_t at;
	uint32_t ts;
	uint16_t seq;
	int k; /* of the voice; LOST */
};

static size_t make_plan(struct plan *p, bool trouble)
{
	uint64_t at = T0;
	uint32_t ts = 0xffff0000, seed = 5;
	size_t n = 0;

	for (int k = 0; k < COUNT; k++) {
		uint64_t late = trouble ? roll(&seed) % 15 * MS : 0;

		if (k % 50 == 49) { /* a pause of a second */
			at += TD_SEC_NS;
			ts += 48000;
		}
		if (!(trouble && (k % 17 == 7 || k % 17 == 8)))
			p[n++] = (struct plan){ at + late, ts, (uint16_t)(65500 + k), k };
		at += 20 * MS;
		ts += 960;
	}
	for (size_t i = 3; trouble && i + 1 < n; i += 11) {
		struct plan swap = p[i];

		p[i] = p[i + 1];
		p[i + 1] = swap;
	}
	for (size_t i = 1; i < n; i++)
		if (p[i].at < p[i - 1].at)
			p[i].at = p[i - 1].at;
	return n;
}

static void send(struct unpack *u, const struct plan *p, bool again)
{
	if (again)
		rtp_again(u, p->at, p->seq, p->ts, voice.packet[p->k], (size_t)voice.len[p->k]);
	else
		unpack_rtp(u, CONN, p->at, SSRC_A, p->seq, p->ts, voice.packet[p->k],
			(size_t)voice.len[p->k]);
}

/* Everything in one worker's life. */
static void whole(struct unpack *u, const struct plan *p, size_t n, uint32_t want)
{
	unpack_begin_for(u, want, 100 * MS, 1);
	for (size_t i = 0; i < n; i++)
		send(u, &p[i], false);
	unpack_end(u);
}

/* Where the frames of packet seq begin in a whole life; all of them came before it if there is
 * none.
 */
static size_t frame_of(const struct unpack *u, uint16_t seq)
{
	size_t i;

	for (i = 0; i < u->frames && u->frame[i].f.seq != seq; i++)
		;
	return i;
}

static void assert_same_frame(const struct got_frame *a, const struct got_frame *b, bool exact)
{
	assert_int_equal(a->f.rtp_ts, b->f.rtp_ts);
	assert_int_equal(a->f.seq, b->f.seq);
	assert_int_equal(a->f.kind, b->f.kind);
	assert_int_equal(a->f.samples, b->f.samples);
	assert_int_equal(a->f.arrival_ns, b->f.arrival_ns);
	assert_int_equal(a->f.flags, b->f.flags);
	if (exact) {
		assert_int_equal(a->f.sent_ns, b->f.sent_ns);
		assert_memory_equal(a->pcm, b->pcm, 2u * a->f.samples);
	}
}

/*
 * A worker that died when the frames of packet `delivered` and all before it had come back. Its
 * replacement hears the last `warm` of these again, and then the rest. Exact: it has heard all.
 */
static void second_life(const struct plan *p, size_t n, const struct unpack *first,
	uint16_t delivered, int warm, uint32_t want, bool exact)
{
	size_t from = frame_of(first, delivered) + 1, i;
	struct unpack u;

	unpack_begin_for(&u, want, 100 * MS, 1);
	for (i = 0; i < n; i++) {
		int behind = (int16_t)(uint16_t)(delivered - p[i].seq);

		if (behind < warm)
			send(&u, &p[i], behind >= 0);
	}
	unpack_end(&u);
	assert_int_equal(u.frames, first->frames - from);
	for (i = 0; i < u.frames; i++)
		assert_same_frame(&u.frame[i], &first->frame[from + i], exact);
	for (i = 0; i < u.opuses; i++)
		assert_true((int16_t)(uint16_t)(u.opus[i].o.seq - delivered) > 0);
	if (want & IPC_WANT_OPUS) {
		size_t after = 0;

		for (i = 0; i < first->opuses; i++)
			after += (int16_t)(uint16_t)(first->opus[i].o.seq - delivered) > 0;
		assert_int_equal(u.opuses, after);
		for (i = 0; i < u.opuses; i++) {
			const struct got_opus *g = &first->opus[first->opuses - u.opuses + i];

			assert_int_equal(u.opus[i].o.seq, g->o.seq);
			assert_int_equal(u.opus[i].o.lost, g->o.lost);
			assert_int_equal(u.opus[i].o.flags, g->o.flags);
			assert_int_equal(u.opus[i].len, g->len);
		}
	}
	unpack_free(&u);
}

static void as_if_nothing_were(void **state)
{
	static const uint32_t wants[] = { IPC_WANT_PCM, IPC_WANT_PCM | IPC_WANT_OPUS };
	struct plan p[COUNT];

	(void)state;
	for (int i = 0; i < 4; i++) {
		size_t n = make_plan(p, i % 2 == 1);
		uint32_t want = wants[i / 2];
		struct unpack first;

		whole(&first, p, n, want);
		/* Wherever the first life ends behind a packet of its own. */
		for (size_t k = 0; k + 1 < first.frames; k++) {
			const struct ipc_frame *f = &first.frame[k].f;

			if (f->kind == IPC_FRAME_DECODED)
				second_life(p, n, &first, f->seq, COUNT, want, true);
		}
		unpack_free(&first);
	}
}

/* Twelve packets are enough for everything but the last bit. */
static void twelve_packets_are_enough(void **state)
{
	struct plan p[COUNT];
	struct unpack first;
	size_t n = make_plan(p, false);

	(void)state;
	whole(&first, p, n, IPC_WANT_PCM);
	for (size_t k = 0; k + 1 < first.frames; k++)
		second_life(p, n, &first, first.frame[k].f.seq, 12, IPC_WANT_PCM, false);
	unpack_free(&first);
}

/* Nothing is sent and nothing counted, whatever is wrong with what comes again. */
static void leaves_no_trace(void **state)
{
	static const uint8_t silent[] = { 0xf8, 0xff, 0xfe }, refused[] = { 0xff };
	struct unpack u;
	uint64_t all = 0;

	(void)state;
	unpack_begin_for(&u, IPC_WANT_PCM | IPC_WANT_OPUS | IPC_WANT_RTCP, 100 * MS, 1);
	for (int k = 0; k < 60; k++) {
		uint64_t at = T0 + (uint64_t)k * 20 * MS;
		uint16_t seq = (uint16_t)(100 + k);
		uint32_t ts = 5000 + (uint32_t)k * 960;

		if (k >= 12) /* a pause of which the timestamps know nothing */
			at += 400 * MS;
		if (k >= 55)
			ts += 480000; /* and they jump */
		if (k == 20 || k == 21)
			continue; /* lost */
		if (k == 30)
			rtp_again(&u, at, seq, ts, silent, sizeof(silent));
		else if (k == 31)
			rtp_again(&u, at, seq, ts, refused, sizeof(refused));
		else if (k == 32)
			rtp_again(&u, at, seq, ts, NULL, 0); /* padding */
		else
			rtp_again(&u, at, seq, ts, voice.packet[k], (size_t)voice.len[k]);
		if (k == 40) /* a duplicate, and one that is too late */
			rtp_again(&u, at, seq, ts, voice.packet[k], (size_t)voice.len[k]);
		if (k == 45) /* of another numbering */
			rtp_again(&u, at, 20000, ts, voice.packet[k], (size_t)voice.len[k]);
		if (k == 50)
			rtp_again(&u, at, 120, 5000 + 20 * 960, voice.packet[20],
				(size_t)voice.len[20]);
	}
	unpack_end(&u);
	assert_int_equal(u.frames, 0);
	assert_int_equal(u.opuses, 0);
	for (int c = 0; c < COUNTER_COUNT; c++)
		all += u.sum[c];
	assert_int_equal(all, 0);
	unpack_free(&u);
}

/* A packet that came before its key waits for it; it is known again when the key is there. */
static void before_its_key(void **state)
{
	for (int again = 0; again < 2; again++) {
		struct ipc_packet p = { .arrival_ns = T0, .flags = again ? IPC_PACKET_AGAIN : 0 };
		uint8_t header[RTP_MIN_HEADER], packet[IPC_MAX_DGRAM];
		struct unpack u;
		size_t len;

		(void)state;
		unpack_begin(&u, 100 * MS, 1);
		unpack_key(&u, CONN, TRANSPORT_AES256_GCM, 2, 0);
		rtp_write(header, RTP_OPUS_PAYLOAD_TYPE, 1, 960, SSRC_A);
		len = transport_seal(u.t, packet, header, sizeof(header), voice.packet[0],
			(size_t)voice.len[0], 1);
		unpack_key(&u, CONN, TRANSPORT_XCHACHA20, 1, 0);
		unpack_key(&u, CONN, TRANSPORT_XCHACHA20, 3, 0);
		unpack_put(&u, IPC_PACKET, CONN, &p, sizeof(p), packet, len);
		unpack_key(&u, CONN, TRANSPORT_AES256_GCM, 2, 0);
		unpack_end(&u);
		assert_int_equal(u.frames, !again);
		assert_int_equal(u.sum[COUNTER_RECEIVED], !again);
		assert_int_equal(u.sum[COUNTER_AUTH], 0);
		unpack_free(&u);
	}
}

/* Its first new packet goes on with the spurt; one behind a pause begins another. */
static void spurts(void **state)
{
	for (int pause = 0; pause < 2; pause++) {
		struct unpack u;

		(void)state;
		unpack_begin(&u, 100 * MS, 1);
		for (int k = 0; k < 30; k++) {
			uint64_t at = T0 + (uint64_t)k * 20 * MS;
			uint32_t ts = (uint32_t)k * 960;

			if (pause && k >= 12) {
				at += TD_SEC_NS;
				ts += 48000;
			}
			if (k < 12)
				rtp_again(&u, at, (uint16_t)k, ts, voice.packet[k],
					(size_t)voice.len[k]);
			else
				unpack_rtp(&u, CONN, at, SSRC_A, (uint16_t)k, ts, voice.packet[k],
					(size_t)voice.len[k]);
		}
		unpack_end(&u);
		assert_int_equal(u.frames, 18);
		assert_int_equal(u.frame[0].f.flags, pause ? IPC_FRAME_SPURT : 0);
		for (size_t i = 1; i < u.frames; i++)
			assert_int_equal(u.frame[i].f.flags, 0);
		/* On our clock where they were recorded, to a sample. */
		for (size_t i = 0; i < u.frames; i++)
			assert_in_range(u.frame[i].f.sent_ns -
					(int64_t)(T0 + (12 + i) * 20 * MS +
						(pause ? TD_SEC_NS : 0)) +
					30000,
				0, 60000);
		unpack_free(&u);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_if_nothing_were),
		cmocka_unit_test(twelve_packets_are_enough),
		cmocka_unit_test(leaves_no_trace),
		cmocka_unit_test(before_its_key),
		cmocka_unit_test(spurts),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
