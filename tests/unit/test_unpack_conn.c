/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/hex.h"
#include "tests/unit/unpack.h"
#include "unpacker/hold.h"

enum { STEP = 960 };
#define WINDOW (60 * MS)
#define AT(k) (T0 + (uint64_t)(k)*20 * MS)

static const uint8_t silence[] = { 0xf8, 0xff, 0xfe };

static uint64_t count_of(const struct unpack *u, enum td_counter c)
{
	return u->sum[c];
}

static uint64_t count_by(const struct unpack *u, uint64_t user_id, uint32_t ssrc, enum td_counter c)
{
	size_t i;

	for (i = 0; i < u->bys; i++) {
		if (u->by[i].user_id == user_id && u->by[i].ssrc == ssrc)
			return u->by[i].sum[c];
	}
	return 0;
}

static size_t frames_by(const struct unpack *u, uint64_t user_id, uint32_t ssrc)
{
	size_t i, n = 0;

	for (i = 0; i < u->frames; i++)
		n += u->frame[i].f.user_id == user_id && u->frame[i].f.ssrc == ssrc;
	return n;
}

static void send_silence(struct unpack *u, uint32_t ssrc, int from, int to)
{
	int k;

	for (k = from; k < to; k++)
		unpack_rtp(u, CONN, AT(k), ssrc, (uint16_t)k, (uint32_t)k * STEP, silence, 3);
}

/* ---- what a datagram is ---- */

/* bad-tag, truncated, video-ssrc, rtx-ssrc, own ssrc, keepalive: one reason for every drop, and
 * nothing dropped makes a stream. */
static void every_drop_has_its_reason(void **state)
{
	static const struct {
		const char *name, *bytes;
		size_t len; /* zeros follow up to here */
		enum td_counter want;
	} cases[] = {
		{ "keepalive echo", "0100000000000000", 8, COUNTER_NOT_VOICE },
		{ "ping", "1337f00d00000001", 8, COUNTER_NOT_VOICE },
		{ "discovery", "0002004600000159", 74, COUNTER_NOT_VOICE },
		{ "nothing", "", 0, COUNTER_SHORT },
		{ "one byte", "80", 1, COUNTER_SHORT },
		{ "eleven bytes", "8078", 11, COUNTER_SHORT },
		{ "not RTP", "4078", 40, COUNTER_BAD_VERSION },
		{ "header cut", "9f78", 40, COUNTER_SHORT },
		{ "no room for tag and nonce", "80780001000000000000a0a0", 31, COUNTER_SHORT },
		{ "bad-tag", "80780001000000000000a0a0", 32, COUNTER_AUTH },
		{ "bad-tag of an unknown SSRC", "80780001000000000000dddd", 60, COUNTER_AUTH },
		{ "video-ssrc", "80650001000000000000a0a1", 60, COUNTER_OTHER_PAYLOAD },
		{ "rtx-ssrc", "80e60001000000000000a0a2", 60, COUNTER_OTHER_PAYLOAD },
		{ "own", "80780001000000000000e0e0", 60, COUNTER_OWN },
		{ "RTCP cut", "80c900010000a0a0", 27, COUNTER_SHORT },
		{ "RTCP with a bad tag", "80c900010000a0a0", 28, COUNTER_AUTH },
	};
	uint8_t data[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct unpack u;
		int c;

		print_message("%s\n", cases[i].name);
		memset(data, 0, sizeof(data));
		hex(data, sizeof(data), cases[i].bytes);
		unpack_init(&u);
		unpack_hello(&u);
		unpack_open(&u, CONN, WINDOW, 0, 1);
		unpack_key(&u, CONN, TRANSPORT_AES256_GCM, 3, 0xe0e0);
		unpack_datagram(&u, CONN, T0, data, cases[i].len);
		unpack_end(&u);
		for (c = 0; c < COUNTER_COUNT; c++)
			assert_int_equal(u.sum[c], c == (int)cases[i].want);
		assert_int_equal(u.bys, 1);
		assert_int_equal(u.by[0].ssrc, 0);
		unpack_free(&u);
	}
}

static void without_a_key_nothing_opens(void **state)
{
	static const uint8_t rtcp[40] = { 0x80, 0xc9 };
	struct unpack u;

	(void)state;
	unpack_init(&u);
	unpack_hello(&u);
	unpack_open(&u, CONN, WINDOW, 0, 1);
	unpack_key(&u, CONN + 1, TRANSPORT_XCHACHA20, 3, 0); /* another connection's */
	send_silence(&u, SSRC_A, 0, 3);
	unpack_datagram(&u, CONN, T0 + 1, rtcp, sizeof(rtcp));
	unpack_end(&u);
	assert_int_equal(count_of(&u, COUNTER_NO_KEY), 4);
	assert_int_equal(u.frames, 0);
	unpack_free(&u);
}

/* A stream plays on through packets that do not verify: before, between and after its own. */
static void bad_tags_disturb_nobody(void **state)
{
	static const enum transport_mode modes[] = { TRANSPORT_AES256_GCM, TRANSPORT_XCHACHA20 };
	size_t i;
	int k;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct voice v;
		struct plain p;
		struct unpack u;
		uint8_t junk[80] = { 0x80, 0x78, 0x00, 0x00 };

		voice_make(&v, 40, STEP, 1, false);
		unpack_init(&u);
		unpack_hello(&u);
		unpack_open(&u, CONN, WINDOW, 0, 1);
		unpack_key(&u, CONN, modes[i], 3, 0);
		unpack_speaker(&u, CONN, SSRC_A, USER_A);
		junk[10] = (uint8_t)(SSRC_A >> 8);
		junk[11] = (uint8_t)SSRC_A;
		for (k = 0; k < 40; k++) {
			junk[3] = (uint8_t)k; /* the number of the packet that is next */
			unpack_datagram(&u, CONN, AT(k), junk, sizeof(junk));
			voice_send(&u, &v, k, AT(k), 0, 0);
		}
		unpack_end(&u);
		assert_int_equal(u.frames, 40);
		assert_int_equal(count_of(&u, COUNTER_AUTH), 40);
		assert_int_equal(count_by(&u, USER_A, SSRC_A, COUNTER_AUTH), 0);
		plain_init(&p, 1);
		for (k = 0; k < 40; k++)
			plain_expect(&p, &u.frame[k], v.packet[k], v.len[k]);
		plain_free(&p);
		unpack_free(&u);
		voice_free(&v);
	}
}

/* ext-header, csrc, padding, marker, all at once, and lengths that lie. */
static void headers_of_every_kind(void **state)
{
	static const struct {
		const char *name, *header, *before, *after; /* around the payload */
		enum td_counter want;
	} cases[] = {
		{ "plain", "80780005000000010000a0a0", "", "", COUNTER_SILENCE },
		{ "marker", "80f80005000000010000a0a0", "", "", COUNTER_SILENCE },
		{ "ext-header", "90780005000000010000a0a0 bede0001", "1085aa00", "",
			COUNTER_SILENCE },
		{ "csrc", "82780005000000010000a0a0 0000000100000002", "", "", COUNTER_SILENCE },
		{ "padding", "a0780005000000010000a0a0", "", "000003", COUNTER_SILENCE },
		{ "everything", "b1f80005000000010000a0a0 00000001 10000002", "1085aa0000000000",
			"00000004", COUNTER_SILENCE },
		{ "extension too long", "90780005000000010000a0a0 bede0002", "10", "",
			COUNTER_BAD_PADDING },
		{ "padding too long", "a0780005000000010000a0a0", "", "000007",
			COUNTER_BAD_PADDING },
		{ "padding of zero", "a0780005000000010000a0a0", "", "000000",
			COUNTER_BAD_PADDING },
		{ "padding into the extension", "b0780005000000010000a0a0 bede0001", "1085aa00",
			"000007", COUNTER_BAD_PADDING },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t header[64], plain[64], packet[256];
		size_t header_len = hex(header, sizeof(header), cases[i].header), len;
		struct unpack u;

		print_message("%s\n", cases[i].name);
		len = hex(plain, 32, cases[i].before);
		memcpy(plain + len, silence, 3);
		len += 3;
		len += hex(plain + len, 16, cases[i].after);
		unpack_init(&u);
		unpack_hello(&u);
		unpack_open(&u, CONN, WINDOW, 0, 1);
		unpack_key(&u, CONN, TRANSPORT_AES256_GCM, 3, 0);
		len = transport_seal(u.t, packet, header, header_len, plain, len, 1);
		unpack_datagram(&u, CONN, T0, packet, len);
		unpack_end(&u);
		assert_int_equal(count_of(&u, cases[i].want), 1);
		assert_int_equal(u.frames, cases[i].want == COUNTER_SILENCE);
		assert_int_equal(count_of(&u, COUNTER_RECEIVED), u.frames);
		unpack_free(&u);
	}
}

/* rtcp-mixed: between voice packets, opened with 8 bytes of AAD, passed on whole. */
static void rtcp_is_passed_on(void **state)
{
	static const char *const compound =
		"80c800060005ec18 e957a59b69374bc60a5b61d000005b8e001e661b "
		"81ca00020005ec1801000000";
	uint8_t clear[64], packet[128];
	size_t len = hex(clear, sizeof(clear), compound), n;
	struct unpack u;
	int k;

	(void)state;
	unpack_init(&u);
	unpack_hello(&u);
	unpack_open(&u, CONN, WINDOW, 0, 1);
	unpack_key(&u, CONN, TRANSPORT_XCHACHA20, 3, 0);
	unpack_speaker(&u, CONN, 0x5ec18, USER_B);
	for (k = 0; k < 10; k++) {
		send_silence(&u, SSRC_A, k, k + 1);
		n = transport_seal(u.t, packet, clear, 8, clear + 8, len - 8, (uint32_t)k);
		unpack_datagram(&u, CONN, AT(k), packet, n);
	}
	/* Opens, and is none. */
	n = transport_seal(u.t, packet, clear, 8, clear + 8, len - 9, 99);
	unpack_datagram(&u, CONN, AT(10), packet, n);
	unpack_end(&u);
	assert_int_equal(u.rtcps, 10);
	assert_int_equal(u.rtcp_len, len);
	assert_memory_equal(u.rtcp, clear, len);
	assert_int_equal(u.rtcp_user, USER_B);
	assert_int_equal(count_of(&u, COUNTER_RTCP), 10);
	assert_int_equal(count_of(&u, COUNTER_RTCP_BAD), 1);
	assert_int_equal(count_of(&u, COUNTER_DECODED), 10);
	assert_int_equal(u.frames, 10);
	unpack_free(&u);
}

static void rtcp_nobody_wants_is_counted_alone(void **state)
{
	const struct ipc_conn_open o = { .reorder_ns = WINDOW,
		.want = IPC_WANT_PCM,
		.channels = 1 };
	static const uint8_t rr[] = { 0x80, 0xc9, 0, 1, 0, 0, 0, 1, 0x80, 0xc9, 0, 1, 0, 0, 0, 1 };
	struct unpack u;

	(void)state;
	unpack_init(&u);
	unpack_hello(&u);
	unpack_put(&u, IPC_CONN_OPEN, CONN, &o, sizeof(o), NULL, 0);
	unpack_key(&u, CONN, TRANSPORT_NONE, 0, 0);
	unpack_datagram(&u, CONN, T0, rr, sizeof(rr));
	unpack_end(&u);
	assert_int_equal(u.rtcps, 0);
	assert_int_equal(count_of(&u, COUNTER_RTCP), 1);
	unpack_free(&u);
}

/* ---- who speaks ---- */

/* unknown-ssrc-then-speaking: the frames are the same as if the name had been known. */
static void held_packets_are_replayed_as_they_came(void **state)
{
	struct unpack known, late;
	struct voice v;
	size_t i;
	int k;

	(void)state;
	voice_make(&v, 60, STEP, 1, true);
	unpack_begin(&known, WINDOW, 1);
	unpack_init(&late);
	unpack_hello(&late);
	unpack_open(&late, CONN, WINDOW, 2 * TD_SEC_NS, 1);
	unpack_key(&late, CONN, TRANSPORT_NONE, 0, 0);
	for (k = 0; k < 60; k++) {
		/* The start is slow, and its hold ends between two packets. */
		uint64_t at = AT(k) + (k < 3 ? 15 * MS : 0);

		if (k == 3 || k == 30 || k == 41)
			continue;
		voice_send(&known, &v, k, at, 65530, 5);
		voice_send(&late, &v, k, at, 65530, 5);
		if (k == 45)
			unpack_speaker(&late, CONN, SSRC_A, USER_A);
	}
	unpack_end(&known);
	unpack_end(&late);
	assert_int_equal(count_of(&late, COUNTER_HELD), 43);
	assert_int_equal(count_of(&late, COUNTER_HELD_DROPPED), 0);
	assert_int_equal(known.frames, late.frames);
	for (i = 0; i < known.frames; i++) {
		late.frame[i].f.flags &= (uint8_t)~IPC_FRAME_HELD;
		assert_memory_equal(&known.frame[i].f, &late.frame[i].f, sizeof(known.frame[i].f));
		assert_memory_equal(known.frame[i].pcm, late.frame[i].pcm,
			(size_t)known.frame[i].f.samples * 2);
	}
	unpack_free(&known);
	unpack_free(&late);
	voice_free(&v);
}

/* Nobody is named in time: a track of its own, complete; named later, it goes on under the name. */
static void a_hold_ends_without_a_name(void **state)
{
	struct unpack u;

	(void)state;
	unpack_init(&u);
	unpack_hello(&u);
	unpack_open(&u, CONN, WINDOW, TD_SEC_NS, 1);
	unpack_key(&u, CONN, TRANSPORT_NONE, 0, 0);
	send_silence(&u, SSRC_A, 0, 40);
	unpack_tick(&u, T0 + TD_SEC_NS - 1);
	unpack_run(&u);
	assert_int_equal(u.frames, 0);
	unpack_tick(&u, T0 + TD_SEC_NS);
	unpack_run(&u);
	assert_int_equal(u.frames, 40);
	send_silence(&u, SSRC_A, 60, 70);
	unpack_speaker(&u, CONN, SSRC_A, USER_A);
	send_silence(&u, SSRC_A, 70, 80);
	unpack_end(&u);
	assert_int_equal(frames_by(&u, 0, SSRC_A) + frames_by(&u, USER_A, SSRC_A), u.frames);
	assert_true(frames_by(&u, USER_A, SSRC_A) >= 10);
	assert_int_equal(count_by(&u, 0, SSRC_A, COUNTER_HELD), 40);
	assert_int_equal(count_by(&u, 0, SSRC_A, COUNTER_RECEIVED), 50);
	assert_int_equal(count_by(&u, USER_A, SSRC_A, COUNTER_RECEIVED), 10);
	assert_int_equal(u.sum[COUNTER_RECEIVED], u.sum[COUNTER_DECODED]);
	unpack_free(&u);
}

/* Whether somebody who pings is told of packets that may wait for longer than those before them. */
static uint32_t waits(struct unpack *u)
{
	u->waits = 2;
	unpack_plain(u, IPC_PING, 0);
	unpack_run(u);
	return u->waits;
}

static void a_pong_says_what_waits(void **state)
{
	uint8_t sealed[64];
	static const uint8_t garbage[60] = { 0x80, RTP_OPUS_PAYLOAD_TYPE };
	size_t len = unpack_dave_seal(sealed, USER_A, 1, 1, silence, 3);
	struct ipc_dave_sender sender = { .user_id = USER_A };
	struct unpack u;

	(void)state;
	unpack_init(&u);
	unpack_hello(&u);
	assert_int_equal(waits(&u), 0);
	unpack_open(&u, CONN, WINDOW, 2 * TD_SEC_NS, 1);
	unpack_key(&u, CONN, TRANSPORT_NONE, 0, 0);
	/* For a name. */
	send_silence(&u, SSRC_A, 0, 10);
	assert_int_equal(waits(&u), 1);
	unpack_speaker(&u, CONN, SSRC_A, USER_A);
	assert_int_equal(waits(&u), 0);
	/* For those before them. */
	send_silence(&u, SSRC_A, 11, 13);
	assert_int_equal(waits(&u), 0);
	/* Far from all others: what it is the next one tells. */
	unpack_rtp(&u, CONN, AT(13), SSRC_A, 30000, 13 * STEP, silence, 3);
	assert_int_equal(waits(&u), 1);
	send_silence(&u, SSRC_A, 14, 15);
	assert_int_equal(waits(&u), 0);
	/* For a key. */
	unpack_dave_passthrough(&u, CONN, 0);
	unpack_rtp(&u, CONN, AT(15), SSRC_A, 15, 15 * STEP, sealed, len);
	assert_int_equal(waits(&u), 1);
	unpack_dave_secret(sender.secret, USER_A, 1);
	unpack_dave_epoch(&u, CONN, AT(15), 1, &sender, 1);
	assert_int_equal(waits(&u), 0);
	/* For the one of the transport, until it is given up. */
	unpack_key(&u, CONN, TRANSPORT_AES256_GCM, 3, 0);
	unpack_key(&u, CONN, TRANSPORT_AES256_GCM, 3, 0);
	unpack_datagram(&u, CONN, AT(16), garbage, sizeof(garbage));
	assert_int_equal(waits(&u), 1);
	unpack_tick(&u, AT(16) + TD_SEC_NS);
	assert_int_equal(waits(&u), 0);
	unpack_free(&u);
}

/* Of what leaves nothing else behind: whoever reads the answer may forget it. */
static void a_pong_comes_behind_what_was_counted(void **state)
{
	static const uint8_t keepalive[8] = { 1 };
	struct unpack u;

	(void)state;
	unpack_begin(&u, WINDOW, 1);
	send_silence(&u, SSRC_A, 0, 10);
	assert_int_equal(waits(&u), 0);
	/* What was counted by frames alone can wait. */
	assert_int_equal(u.counter_messages, 0);
	send_silence(&u, SSRC_A, 9, 10);
	assert_int_equal(waits(&u), 0);
	assert_int_equal(u.counter_messages, 1);
	assert_int_equal(count_by(&u, USER_A, SSRC_A, COUNTER_DUPLICATE), 1);
	assert_int_equal(count_by(&u, USER_A, SSRC_A, COUNTER_RECEIVED), 11);
	unpack_datagram(&u, CONN, AT(10), keepalive, sizeof(keepalive));
	assert_int_equal(waits(&u), 0);
	assert_int_equal(u.counter_messages, 2);
	assert_int_equal(count_of(&u, COUNTER_NOT_VOICE), 1);
	/* Once. */
	assert_int_equal(waits(&u), 0);
	assert_int_equal(u.counter_messages, 2);
	unpack_free(&u);
}

static void a_full_hold_drops_the_oldest(void **state)
{
	struct unpack u;
	int k;

	(void)state;
	unpack_init(&u);
	unpack_hello(&u);
	unpack_open(&u, CONN, WINDOW, 60 * TD_SEC_NS, 1);
	unpack_key(&u, CONN, TRANSPORT_NONE, 0, 0);
	send_silence(&u, SSRC_A, 0, HOLD_MAX + 30);
	unpack_speaker(&u, CONN, SSRC_A, USER_A);
	unpack_tick(&u, AT(HOLD_MAX + 40));
	unpack_run(&u);
	assert_int_equal(u.frames, HOLD_MAX);
	assert_int_equal(u.frame[0].f.seq, 30);
	/* More SSRCs than may wait: the one that waits longest goes, with its packets counted. */
	for (k = 0; k < 70; k++)
		unpack_rtp(&u, CONN, AT(HOLD_MAX + 50 + k), 0x5000 + (uint32_t)k, 1, 1, silence, 3);
	unpack_end(&u);
	assert_int_equal(count_by(&u, USER_A, SSRC_A, COUNTER_HELD_DROPPED), 30);
	assert_int_equal(count_of(&u, COUNTER_HELD_DROPPED), 36);
	assert_int_equal(u.frames, HOLD_MAX + 64);
	assert_int_equal(frames_by(&u, 0, 0x5005), 0);
	assert_int_equal(frames_by(&u, 0, 0x5006), 1);
	assert_int_equal(count_of(&u, COUNTER_RECEIVED), HOLD_MAX + 100);
	unpack_free(&u);
}

/* Never a frame of one user under another's name, even of what was waiting. */
static void an_ssrc_is_re_assigned(void **state)
{
	struct unpack u;
	size_t i;

	(void)state;
	unpack_begin(&u, WINDOW, 1);
	send_silence(&u, SSRC_A, 0, 10);
	send_silence(&u, SSRC_A, 11, 13); /* waits for 10 */
	unpack_speaker(&u, CONN, SSRC_A, USER_B);
	send_silence(&u, SSRC_A, 14, 20);
	unpack_end(&u);
	assert_int_equal(count_by(&u, USER_A, SSRC_A, COUNTER_RECEIVED), 12);
	assert_int_equal(count_by(&u, USER_A, SSRC_A, COUNTER_LOST), 1);
	assert_int_equal(count_by(&u, USER_B, SSRC_A, COUNTER_RECEIVED), 6);
	assert_int_equal(count_by(&u, USER_B, SSRC_A, COUNTER_LOST), 0); /* a new stream */
	assert_int_equal(frames_by(&u, USER_A, SSRC_A), 13);
	assert_int_equal(frames_by(&u, USER_B, SSRC_A), 6);
	for (i = 0; i < u.frames; i++)
		assert_int_equal(u.frame[i].f.user_id, u.frame[i].f.seq < 14 ? USER_A : USER_B);
	assert_int_equal(u.frame[13].f.flags, IPC_FRAME_SPURT);
	/* Naming the same user again is not a change. */
	unpack_free(&u);
	unpack_begin(&u, WINDOW, 1);
	send_silence(&u, SSRC_A, 0, 10);
	unpack_speaker(&u, CONN, SSRC_A, USER_A);
	send_silence(&u, SSRC_A, 10, 20);
	unpack_end(&u);
	assert_int_equal(u.frames, 20);
	assert_int_equal(u.frame[10].f.flags, 0);
	unpack_free(&u);
}

/* Two users with decoders of their own, and one user with two SSRCs. */
static void speakers_do_not_mix(void **state)
{
	struct voice v, w;
	struct plain p, q, o;
	struct unpack u;
	size_t i;
	int k, a = 0, b = 0, c = 0;

	(void)state;
	voice_make(&v, 50, STEP, 1, false);
	voice_make(&w, 50, STEP, 2, true);
	unpack_begin(&u, WINDOW, 2);
	unpack_speaker(&u, CONN, 0xa1a1, USER_A);
	for (k = 0; k < 50; k++) {
		uint32_t ts = (uint32_t)k * STEP;

		unpack_rtp(&u, CONN, AT(k), SSRC_A, (uint16_t)k, ts, v.packet[k], (size_t)v.len[k]);
		unpack_rtp(&u, CONN, AT(k), SSRC_B, (uint16_t)k, ts, w.packet[k], (size_t)w.len[k]);
		unpack_rtp(&u, CONN, AT(k), 0xa1a1, (uint16_t)k, ts, w.packet[k], (size_t)w.len[k]);
	}
	unpack_end(&u);
	plain_init(&p, 2);
	plain_init(&q, 2);
	plain_init(&o, 2);
	for (i = 0; i < u.frames; i++) {
		const struct got_frame *g = &u.frame[i];

		if (g->f.ssrc == SSRC_A) {
			plain_expect(&p, g, v.packet[a], v.len[a]);
			a++;
		} else if (g->f.ssrc == SSRC_B) {
			plain_expect(&q, g, w.packet[b], w.len[b]);
			b++;
		} else {
			plain_expect(&o, g, w.packet[c], w.len[c]);
			c++;
		}
		assert_int_equal(g->f.user_id, g->f.ssrc == SSRC_B ? USER_B : USER_A);
	}
	assert_int_equal(a, 50);
	assert_int_equal(b, 50);
	assert_int_equal(c, 50);
	plain_free(&p);
	plain_free(&q);
	plain_free(&o);
	unpack_free(&u);
	voice_free(&v);
	voice_free(&w);
}

/* rejoin, ssrc-change-same-user: what waited leaves, what comes after is a new stream. */
static void a_speaker_leaves_and_comes_back(void **state)
{
	struct unpack u;

	(void)state;
	unpack_begin(&u, WINDOW, 1);
	unpack_speaker(&u, CONN, 0xa1a1, USER_A);
	send_silence(&u, SSRC_A, 0, 2); /* in the hold of the start */
	send_silence(&u, SSRC_B, 2, 3);
	unpack_gone(&u, CONN, USER_A);
	unpack_control(&u, CONN, 1);
	unpack_run(&u);
	assert_int_equal(frames_by(&u, USER_A, SSRC_A), 2);
	assert_int_equal(count_by(&u, USER_A, SSRC_A, COUNTER_DECODED), 2);
	assert_int_equal(frames_by(&u, USER_B, SSRC_B), 0);
	unpack_gone(&u, CONN, 424242);
	unpack_gone(&u, CONN, 0);
	/* What was under way is theirs for a moment; then the old SSRC is unknown. */
	send_silence(&u, SSRC_A, 3, 4);
	unpack_control(&u, CONN, 2);
	unpack_run(&u);
	send_silence(&u, SSRC_A, 120, 121);
	unpack_speaker(&u, CONN, 0xa2a2, USER_A);
	send_silence(&u, 0xa2a2, 121, 125);
	unpack_end(&u);
	assert_int_equal(frames_by(&u, USER_A, SSRC_A), 3);
	assert_int_equal(frames_by(&u, 0, SSRC_A), 1);
	assert_int_equal(frames_by(&u, USER_A, 0xa2a2), 4);
	assert_int_equal(u.sum[COUNTER_RECEIVED], u.sum[COUNTER_DECODED]);
	unpack_free(&u);
}

static void streams_have_a_limit(void **state)
{
	struct unpack u;
	uint32_t i;

	(void)state;
	unpack_init(&u);
	unpack_hello(&u);
	unpack_open(&u, CONN, WINDOW, 0, 1);
	unpack_key(&u, CONN, TRANSPORT_NONE, 0, 0);
	/* Padding alone makes no decoder: a thousand streams are cheap. */
	for (i = 0; i < CONN_MAX_STREAMS + 10; i++)
		unpack_rtp(&u, CONN, T0, i, 1, 1, NULL, 0);
	send_silence(&u, 5, 2, 3); /* one of those there are */
	unpack_run(&u);
	assert_int_equal(TAILQ_FIRST(&u.w.list)->streams, CONN_MAX_STREAMS);
	unpack_end(&u);
	assert_int_equal(count_by(&u, 0, 0, COUNTER_STREAM_LIMIT), 10);
	assert_int_equal(count_by(&u, 0, 5, COUNTER_DECODED), 1);
	assert_int_equal(count_of(&u, COUNTER_RECEIVED), CONN_MAX_STREAMS + 1);
	unpack_free(&u);
}

/* ---- what the receiver says ---- */

static void hello_comes_first(void **state)
{
	static const struct ipc_hello wrong = { IPC_VERSION + 1, sizeof(struct ipc_hdr) };
	struct unpack u;

	(void)state;
	unpack_init(&u);
	unpack_plain(&u, IPC_PING, 0);
	unpack_run(&u);
	assert_int_equal(u.error, TD_ERR_STATE);
	assert_int_equal(u.pongs, 0);
	unpack_free(&u);

	unpack_init(&u);
	unpack_put(&u, IPC_HELLO, 0, &wrong, sizeof(wrong), NULL, 0);
	unpack_run(&u);
	assert_int_equal(u.error, TD_ERR_UNSUPPORTED);
	assert_int_equal(u.readies, 0);
	unpack_free(&u);

	unpack_init(&u);
	unpack_hello(&u);
	unpack_plain(&u, IPC_PING, 0);
	unpack_run(&u);
	assert_int_equal(u.readies, 1);
	assert_int_equal(u.pongs, 1);
	unpack_hello(&u);
	unpack_run(&u);
	assert_int_equal(u.error, TD_ERR_STATE);
	unpack_free(&u);
}

static void values_that_cannot_be_end_the_worker(void **state)
{
	static const struct {
		struct ipc_conn_open open;
		struct ipc_key key;
		uint64_t conn, arrival_ns, tick_ns;
	} cases[] = {
		{ .conn = 1, .open.channels = 0 },
		{ .conn = 1, .open.channels = 3 },
		{ .conn = 0, .open.channels = 1 },
		{ .conn = 1, .open.channels = 1, .key.mode = 3 },
		{ .conn = 1, .open.channels = 1, .key.mode = 1u << 31 },
		{ .conn = 1, .open.channels = 1, .arrival_ns = UINT64_MAX },
		{ .conn = 1, .open.channels = 1, .tick_ns = UINT64_MAX - 1 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct unpack u;

		unpack_init(&u);
		unpack_hello(&u);
		unpack_put(&u, IPC_CONN_OPEN, cases[i].conn, &cases[i].open, sizeof(cases[i].open),
			NULL, 0);
		unpack_put(&u, IPC_KEY, cases[i].conn, &cases[i].key, sizeof(cases[i].key), NULL,
			0);
		unpack_datagram(&u, cases[i].conn, cases[i].arrival_ns, silence, 3);
		unpack_tick(&u, cases[i].tick_ns);
		unpack_run(&u);
		assert_int_equal(u.error, TD_ERR_MALFORMED);
		unpack_free(&u);
	}
}

/* oversize: a datagram of the largest size passes, a larger one is no message. */
static void the_largest_datagram(void **state)
{
	static uint8_t big[IPC_MAX_DGRAM + 1] = { 0x80, 0x78 };
	struct unpack u;

	(void)state;
	unpack_begin(&u, WINDOW, 1);
	unpack_datagram(&u, CONN, T0, big, IPC_MAX_DGRAM);
	unpack_datagram(&u, CONN, T0, big, IPC_MAX_DGRAM - 1);
	big[1] = 0xc9;
	unpack_datagram(&u, CONN, T0, big, IPC_MAX_DGRAM);
	unpack_datagram(&u, CONN, T0, big, IPC_MAX_DGRAM + 1);
	unpack_run(&u);
	assert_int_equal(u.error, TD_ERR_MALFORMED);
	unpack_free(&u);
}

static void connections_that_are_not_open_are_ignored(void **state)
{
	static const enum ipc_type plain[] = { IPC_CONN_CLOSE, IPC_CONN_FLUSH, IPC_CONN_RESET };
	struct unpack u;
	size_t i;

	(void)state;
	unpack_begin(&u, WINDOW, 1);
	for (i = 0; i < 3; i++)
		unpack_plain(&u, plain[i], 99);
	unpack_speaker(&u, 99, 1, 1);
	unpack_gone(&u, 99, 1);
	for (i = 0; i < 1000; i++)
		unpack_datagram(&u, 99, T0, silence, 3);
	unpack_control(&u, 99, 17);     /* somebody waits for this one */
	unpack_open(&u, CONN, 1, 1, 1); /* twice: the first one stays */
	send_silence(&u, SSRC_A, 0, 3);
	unpack_end(&u);
	assert_int_equal(u.w.unknown, 1005);
	assert_int_equal(u.logs, 11); /* 1, 2, 4, ... 512, and the one opened twice */
	assert_non_null(strstr(u.log, "opened twice"));
	assert_int_equal(u.echoes, 1);
	assert_int_equal(u.last_echo, 17);
	assert_int_equal(u.frames, 3);
	assert_int_equal(u.frame[0].f.user_id, USER_A);
	unpack_free(&u);
}

/* Counters come before the bookmark, the one asked for or all, and only what is new. */
static void bookmarks_follow_what_they_mark(void **state)
{
	struct unpack u;

	(void)state;
	unpack_begin(&u, 0, 1);
	unpack_open(&u, 8, 0, 0, 1);
	unpack_key(&u, 8, TRANSPORT_NONE, 0, 0);
	send_silence(&u, SSRC_A, 0, 3);
	unpack_rtp(&u, 8, T0, 9, 1, 1, silence, 3);
	unpack_tick(&u, T0 + TD_SEC_NS / 2); /* they are done with */
	unpack_control(&u, 8, 1);
	unpack_run(&u);
	assert_int_equal(u.counter_messages, 1);
	assert_int_equal(u.by[0].conn, 8);
	assert_int_equal(u.echoes, 1);
	unpack_control(&u, 0, 2);
	unpack_run(&u);
	assert_int_equal(u.counter_messages, 2);
	assert_int_equal(u.last_echo, 2);
	unpack_control(&u, 0, 3);
	unpack_run(&u);
	assert_int_equal(u.counter_messages, 2); /* never all zero */
	assert_int_equal(u.last_echo, 3);
	unpack_free(&u);
}

static void counters_come_once_a_second(void **state)
{
	struct unpack u;

	(void)state;
	unpack_begin(&u, WINDOW, 1);
	send_silence(&u, SSRC_A, 0, 500); /* ten seconds, nobody asks */
	unpack_run(&u);
	assert_in_range(u.counter_messages, 9, 10);
	unpack_tick(&u, AT(500) + 3600 * TD_SEC_NS); /* and then an hour of nothing */
	unpack_run(&u);
	assert_in_range(u.counter_messages, 10, 11);
	assert_int_equal(count_of(&u, COUNTER_RECEIVED), 500);
	unpack_free(&u);
	/* A second after something was counted, and not after somebody told the time. */
	unpack_begin(&u, 2 * TD_SEC_NS, 1);
	send_silence(&u, SSRC_A, 0, 5);
	send_silence(&u, SSRC_A, 6, 7); /* played two seconds later */
	unpack_tick(&u, T0 + 10 * TD_SEC_NS);
	unpack_run(&u);
	assert_int_equal(u.counter_messages, 2);
	assert_int_equal(count_of(&u, COUNTER_DECODED), 6);
	unpack_free(&u);
}

static void flush_keeps_speakers_and_reset_does_not(void **state)
{
	static const struct {
		enum ipc_type type;
		size_t named;
		uint64_t no_key;
	} cases[] = { { IPC_CONN_FLUSH, 4, 0 }, { IPC_CONN_RESET, 2, 2 } };
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct unpack u;

		unpack_begin(&u, WINDOW, 1);
		send_silence(&u, SSRC_A, 0, 2);
		unpack_rtp(&u, CONN, AT(2), 0xdddd, 1, 1, silence, 3); /* held */
		unpack_plain(&u, cases[i].type, CONN);
		unpack_run(&u);
		assert_int_equal(frames_by(&u, USER_A, SSRC_A), 2);
		assert_int_equal(frames_by(&u, 0, 0xdddd), 1);
		assert_int_equal(count_of(&u, COUNTER_DECODED), 3);
		/* The same numbers once more: a new stream, no duplicates. */
		send_silence(&u, SSRC_A, 0, 2);
		if (cases[i].type == IPC_CONN_RESET) { /* and with a key again */
			unpack_key(&u, CONN, TRANSPORT_NONE, 0, 0);
			send_silence(&u, SSRC_A, 2, 4);
		}
		unpack_end(&u);
		assert_int_equal(frames_by(&u, 0, SSRC_A), cases[i].no_key);
		assert_int_equal(frames_by(&u, USER_A, SSRC_A), cases[i].named);
		assert_int_equal(count_of(&u, COUNTER_NO_KEY), cases[i].no_key);
		assert_int_equal(count_of(&u, COUNTER_DUPLICATE), 0);
		unpack_free(&u);
	}
}

/* Packets and the word of a new key overtake each other: neither order costs one, for a moment. */
static void a_new_key_meets_packets_under_way(void **state)
{
	struct transport *old, *next;
	uint8_t key[TRANSPORT_KEY_LEN], header[RTP_MIN_HEADER], packet[64];
	struct unpack u;
	size_t n;

	(void)state;
	memset(key, 3, sizeof(key));
	assert_int_equal(transport_new(&old, TRANSPORT_AES256_GCM, key), TD_OK);
	memset(key, 4, sizeof(key));
	assert_int_equal(transport_new(&next, TRANSPORT_XCHACHA20, key), TD_OK);
	unpack_init(&u);
	unpack_hello(&u);
	unpack_open(&u, CONN, WINDOW, 0, 1);
	unpack_key(&u, CONN, TRANSPORT_AES256_GCM, 3, 0);
	send_silence(&u, SSRC_A, 0, 2);
	/* one under the next key before it is known */
	rtp_write(header, RTP_OPUS_PAYLOAD_TYPE, 2, 2 * 960, SSRC_A);
	n = transport_seal(next, packet, header, sizeof(header), silence, 3, 76);
	unpack_datagram(&u, CONN, AT(2), packet, n);
	unpack_key(&u, CONN, TRANSPORT_XCHACHA20, 4, 0);
	/* one under the old key behind it */
	rtp_write(header, RTP_OPUS_PAYLOAD_TYPE, 3, 3 * 960, SSRC_A);
	n = transport_seal(old, packet, header, sizeof(header), silence, 3, 77);
	unpack_datagram(&u, CONN, AT(3), packet, n);
	send_silence(&u, SSRC_A, 4, 6);
	/* and one long after */
	rtp_write(header, RTP_OPUS_PAYLOAD_TYPE, 6, 6 * 960, SSRC_A);
	n = transport_seal(old, packet, header, sizeof(header), silence, 3, 78);
	unpack_datagram(&u, CONN, AT(106), packet, n);
	unpack_end(&u);
	assert_int_equal(u.frames, 6);
	assert_int_equal(count_of(&u, COUNTER_LOST), 0);
	assert_int_equal(count_of(&u, COUNTER_AUTH), 1);
	transport_free(old);
	transport_free(next);
	unpack_free(&u);
}

/* Times that fall, against the contract, crash nothing and lose nothing. */
static void time_that_falls_counts_as_now(void **state)
{
	struct unpack u;
	int k;

	(void)state;
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 50; k++)
		unpack_rtp(&u, CONN, AT(100 - k), SSRC_A, (uint16_t)k, (uint32_t)k * STEP, silence,
			3);
	unpack_tick(&u, 0);
	unpack_end(&u);
	assert_int_equal(u.frames, 50);
	unpack_free(&u);
}

/* The worker fed one byte at a time does what it does with everything at once. */
static void one_byte_at_a_time(void **state)
{
	static const size_t steps[] = { 1, 7, SIZE_MAX };
	struct unpack u[3];
	struct voice v;
	size_t i, s;
	int k;

	(void)state;
	voice_make(&v, 30, STEP, 1, true);
	for (s = 0; s < 3; s++) {
		unpack_begin(&u[s], WINDOW, 2);
		for (k = 0; k < 30; k++) {
			if (k != 12)
				voice_send(&u[s], &v, k, AT(k), 65530, 5);
		}
		unpack_control(&u[s], CONN, 1);
		unpack_plain(&u[s], IPC_CONN_CLOSE, CONN);
		unpack_run_stepwise(&u[s], steps[s]);
		assert_int_equal(u[s].error, 0);
		assert_int_equal(u[s].echoes, 1);
		assert_int_equal(u[s].frames, u[0].frames);
		assert_int_equal(u[s].frames, 30);
		for (i = 0; i < u[s].frames; i++)
			assert_memory_equal(u[s].frame[i].pcm, u[0].frame[i].pcm,
				2u * u[0].frame[i].f.samples * u[0].frame[i].f.channels);
		assert_memory_equal(u[s].sum, u[0].sum, sizeof(u[s].sum));
	}
	for (s = 0; s < 3; s++)
		unpack_free(&u[s]);
	voice_free(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_drop_has_its_reason),
		cmocka_unit_test(without_a_key_nothing_opens),
		cmocka_unit_test(bad_tags_disturb_nobody),
		cmocka_unit_test(headers_of_every_kind),
		cmocka_unit_test(rtcp_is_passed_on),
		cmocka_unit_test(rtcp_nobody_wants_is_counted_alone),
		cmocka_unit_test(held_packets_are_replayed_as_they_came),
		cmocka_unit_test(a_hold_ends_without_a_name),
		cmocka_unit_test(a_pong_says_what_waits),
		cmocka_unit_test(a_pong_comes_behind_what_was_counted),
		cmocka_unit_test(a_full_hold_drops_the_oldest),
		cmocka_unit_test(an_ssrc_is_re_assigned),
		cmocka_unit_test(speakers_do_not_mix),
		cmocka_unit_test(a_speaker_leaves_and_comes_back),
		cmocka_unit_test(streams_have_a_limit),
		cmocka_unit_test(hello_comes_first),
		cmocka_unit_test(values_that_cannot_be_end_the_worker),
		cmocka_unit_test(the_largest_datagram),
		cmocka_unit_test(connections_that_are_not_open_are_ignored),
		cmocka_unit_test(bookmarks_follow_what_they_mark),
		cmocka_unit_test(counters_come_once_a_second),
		cmocka_unit_test(flush_keeps_speakers_and_reset_does_not),
		cmocka_unit_test(a_new_key_meets_packets_under_way),
		cmocka_unit_test(time_that_falls_counts_as_now),
		cmocka_unit_test(one_byte_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
