/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/unpack.h"

enum { STEP = 960, PACKETS = 900, LATE_SSRC = 0xc0c0 };
#define WINDOW (60 * MS)
#define AT(k) (T0 + (uint64_t)(k)*20 * MS)

static const uint8_t silence[] = { 0xf8, 0xff, 0xfe };
static struct voice voice;
static uint32_t ts_jump; /* added to the timestamps of packets from 13 on */

/* A worker that was greeted, in a call that is encrypted from here on. */
static void begin(struct unpack *u)
{
	unpack_begin(u, WINDOW, 1);
	unpack_dave_passthrough(u, CONN, 0);
}

static void end_with(struct unpack *u, const uint64_t *want, size_t wants)
{
	static const enum td_counter dave[] = { COUNTER_DAVE_OPENED, COUNTER_DAVE_PLAIN,
		COUNTER_DAVE_NO_KEY, COUNTER_DAVE_AUTH, COUNTER_DAVE_REPLAY, COUNTER_DAVE_REFUSED };
	size_t i;

	unpack_end(u);
	assert_true(wants == sizeof(dave) / sizeof(dave[0]));
	for (i = 0; i < wants; i++) {
		if (u->sum[dave[i]] != want[i])
			print_message("%s\n", td_counter_name(dave[i]));
		assert_int_equal(u->sum[dave[i]], want[i]);
	}
}
/* opened, plain, no key, auth, replayed, refused */
#define END_WITH(u, ...) end_with((u), (const uint64_t[]){ __VA_ARGS__ }, 6)

/* An epoch of `users`, 0-terminated. */
static void put_epoch(struct unpack *u, uint64_t at_ns, uint8_t epoch, const uint64_t *users)
{
	struct ipc_dave_sender s[4];
	size_t n;

	for (n = 0; users[n] != 0; n++) {
		s[n].user_id = users[n];
		unpack_dave_secret(s[n].secret, users[n], epoch);
	}
	unpack_dave_epoch(u, CONN, at_ns, epoch, s, n);
}
#define EPOCH(u, at, epoch, ...) put_epoch((u), (at), (epoch), (const uint64_t[]){ __VA_ARGS__, 0 })

/* Packet k of the voice, sealed by `user` in `epoch` (0: in the clear), at `arrival_ns`. */
static void send_as(struct unpack *u, uint32_t ssrc, uint64_t user, uint8_t epoch, uint32_t nonce,
	int k, uint64_t arrival_ns)
{
	uint8_t sealed[1024];
	const uint8_t *data = voice.packet[k];
	size_t len = (size_t)voice.len[k];

	if (epoch > 0) {
		len = unpack_dave_seal(sealed, user, epoch, nonce, data, len);
		data = sealed;
	}
	unpack_rtp(u, CONN, arrival_ns, ssrc, (uint16_t)k,
		(uint32_t)k * STEP + (k >= 13 ? ts_jump : 0), data, len);
}

static void send_k(struct unpack *u, uint8_t epoch, int k)
{
	send_as(u, SSRC_A, USER_A, epoch, (uint32_t)k, k, AT(k));
}

/* The frames are packets from .. to of the voice, bit for bit; `n` frames were before. */
static void expect_voice(struct unpack *u, size_t n, int from, int to)
{
	struct plain p;
	int k;

	assert_int_equal(u->frames, n + (size_t)(to - from));
	plain_init(&p, 1);
	for (k = from; k < to; k++) {
		assert_int_equal(u->frame[n + (size_t)(k - from)].f.kind, IPC_FRAME_DECODED);
		assert_int_equal(u->frame[n + (size_t)(k - from)].f.seq, k);
		plain_expect(&p, &u->frame[n + (size_t)(k - from)], voice.packet[k], voice.len[k]);
	}
	plain_free(&p);
}

static void sound_as_without(void **state)
{
	struct unpack u;
	int k;

	(void)state;
	begin(&u);
	EPOCH(&u, T0, 1, USER_B, USER_A);
	for (k = 0; k < 50; k++)
		send_k(&u, 1, k);
	END_WITH(&u, 50, 0, 0, 0, 0, 0);
	expect_voice(&u, 0, 0, 50);
	assert_int_equal(u.sum[COUNTER_LOST], 0);
	unpack_free(&u);
}

/* A call of version 0 counts nothing of this; F8 FF FE passes everywhere. */
static void plain_frames(void **state)
{
	static const struct {
		const char *name;
		bool epoch;
		uint64_t until_ns;
		uint64_t decoded, plain, refused;
	} cases[] = {
		{ "version 0", false, UINT64_MAX, 20, 0, 0 },
		{ "encrypted", true, 0, 10, 0, 10 },
		{ "encrypted, no key yet", false, 0, 10, 0, 10 },
		{ "for some time", true, AT(8), 14, 4, 6 },
		{ "to the nanosecond", true, AT(8) + 1, 15, 5, 5 },
		{ "was encrypted", true, UINT64_MAX, 20, 10, 0 },
	};
	struct unpack u;
	size_t i;
	int k;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		unpack_begin(&u, WINDOW, 1);
		if (cases[i].epoch)
			EPOCH(&u, T0, 1, USER_A);
		unpack_dave_passthrough(&u, CONN, cases[i].until_ns);
		for (k = 0; k < 20; k++) {
			if (k % 2 == 0)
				send_k(&u, 0, k);
			else
				unpack_rtp(&u, CONN, AT(k), SSRC_A, (uint16_t)k, (uint32_t)k * STEP,
					silence, 3);
		}
		END_WITH(&u, 0, cases[i].plain, 0, 0, 0, cases[i].refused);
		assert_int_equal(u.sum[COUNTER_DECODED], cases[i].decoded);
		assert_int_equal(u.sum[COUNTER_LOST], 0);
		unpack_free(&u);
	}
}

/* What is encrypted is decrypted, passthrough or not. */
static void passthrough_does_not_open(void **state)
{
	struct unpack u;
	int k;

	(void)state;
	unpack_begin(&u, WINDOW, 1);
	EPOCH(&u, T0, 1, USER_A);
	for (k = 0; k < 10; k++)
		send_k(&u, k < 5 ? 1 : 2, k);
	END_WITH(&u, 5, 0, 0, 5, 0, 0);
	expect_voice(&u, 0, 0, 5);
	unpack_free(&u);
}

/* New keys before everybody uses them, the old ones up to ten seconds, by the time of arrival. */
static void epochs_overlap(void **state)
{
	struct unpack u;
	int k;

	(void)state;
	begin(&u);
	EPOCH(&u, T0, 1, USER_A);
	for (k = 0; k < 600; k++) {
		if (k == 50)
			EPOCH(&u, AT(50), 2, USER_A);
		/* Old and new in turn; at 550 the old one's time is over. */
		send_as(&u, SSRC_A, USER_A, k < 50 || k % 2 == 1 ? 1 : 2, (uint32_t)k, k, AT(k));
	}
	END_WITH(&u, 575, 0, 0, 25, 0, 0);
	unpack_free(&u);
}

/* The minimum: a third epoch does not prolong the first one's life, an empty one ends all. */
static void epochs_end(void **state)
{
	struct unpack u;

	(void)state;
	begin(&u);
	EPOCH(&u, T0, 1, USER_A);
	EPOCH(&u, T0 + 1 * TD_SEC_NS, 2, USER_A);
	EPOCH(&u, T0 + 5 * TD_SEC_NS, 3, USER_A);
	send_as(&u, SSRC_A, USER_A, 1, 0, 0, T0 + 11 * TD_SEC_NS - 1);
	send_as(&u, SSRC_A, USER_A, 1, 1, 1, T0 + 11 * TD_SEC_NS);
	send_as(&u, SSRC_A, USER_A, 2, 0, 2, T0 + 11 * TD_SEC_NS);
	unpack_dave_epoch(&u, CONN, T0 + 11 * TD_SEC_NS, 0, NULL, 0);
	send_as(&u, SSRC_A, USER_A, 3, 0, 3, T0 + 21 * TD_SEC_NS - 1);
	send_as(&u, SSRC_A, USER_A, 3, 1, 4, T0 + 21 * TD_SEC_NS);
	unpack_run(&u);
	/* Erased once nothing that came in time can still wait. */
	unpack_tick(&u, T0 + 23 * TD_SEC_NS - 1);
	unpack_run(&u);
	assert_int_equal(((struct conn *)map_get(&u.w.conns, CONN))->dave.epochs, 1);
	unpack_tick(&u, T0 + 23 * TD_SEC_NS);
	unpack_run(&u);
	assert_int_equal(((struct conn *)map_get(&u.w.conns, CONN))->dave.epochs, 0);
	END_WITH(&u, 3, 0, 1, 1, 0, 0);
	unpack_free(&u);
}

/* Twenty at once: the newest sixteen open. */
static void epochs_are_bounded(void **state)
{
	struct unpack u;
	int k;

	(void)state;
	begin(&u);
	for (k = 1; k <= 20; k++)
		EPOCH(&u, T0, (uint8_t)k, USER_A);
	for (k = 0; k < 20; k++)
		send_k(&u, (uint8_t)(20 - k), k);
	END_WITH(&u, 16, 0, 0, 4, 0, 0);
	expect_voice(&u, 0, 0, 16);
	unpack_free(&u);
}

/* Who is not in an epoch does not speak under it: B's frames under A's name, and one who left. */
static void members_alone(void **state)
{
	struct unpack u;

	(void)state;
	begin(&u);
	EPOCH(&u, T0, 1, USER_A, USER_B);
	EPOCH(&u, T0 + 1, 2, USER_B);
	send_as(&u, SSRC_A, USER_B, 1, 0, 0, T0 + 2); /* B's key */
	send_as(&u, SSRC_A, USER_A, 2, 1, 1, T0 + 3); /* a member no more */
	send_as(&u, SSRC_A, USER_A, 1, 2, 2, T0 + 4); /* of before */
	send_as(&u, SSRC_B, USER_B, 2, 0, 0, T0 + 5);
	send_as(&u, SSRC_B, USER_B, 1, 1, 1, T0 + 6);
	send_as(&u, SSRC_A, USER_A, 2, 3, 3, T0 + 11 * TD_SEC_NS);
	END_WITH(&u, 3, 0, 1, 2, 0, 0);
	unpack_free(&u);
}

/* Frames before the key: held, and opened in order before anything newer. */
static void held_until_the_key(void **state)
{
	struct unpack u;
	int k, ticks;

	(void)state;
	for (ticks = 0; ticks < 2; ticks++) {
		begin(&u);
		EPOCH(&u, T0, 1, USER_A);
		for (k = 0; k < 200; k++) {
			/* Nonces count from zero in the second epoch. */
			send_as(&u, SSRC_A, USER_A, k < 50 ? 1 : 2, (uint32_t)(k < 50 ? k : k - 50),
				k, AT(k));
			if (ticks)
				unpack_tick(&u, AT(k) + 10 * MS);
			if (k == 60) {
				unpack_run(&u);
				assert_int_equal(u.frames, 50);
			}
			if (k == 140)
				EPOCH(&u, AT(140) + 10 * MS, 2, USER_B, USER_A);
		}
		END_WITH(&u, 200, 0, 0, 0, 0, 0);
		expect_voice(&u, 0, 0, 200);
		assert_int_equal(u.sum[COUNTER_LOST], 0);
		unpack_free(&u);
	}
}

/* Waiting for a key changes nothing about time: not even when, behind the frames that wait, a spurt
 * begins that has to be placed anew. */
static void waiting_moves_nothing(void **state)
{
	struct unpack u[2];
	size_t i;
	int k;

	(void)state;
	ts_jump = (30 + 25) * STEP;
	for (i = 0; i < 2; i++) {
		begin(&u[i]);
		EPOCH(&u[i], T0, 1, USER_A);
		if (i == 0)
			EPOCH(&u[i], T0, 2, USER_A);
		for (k = 0; k < 60; k++) {
			/* A pause of 600 ms that the sender counts as 1100; 13 is late by 50 ms. */
			uint64_t at = k < 13 ? AT(k) : AT(k + 30) + (k == 13 ? 50 * MS : 0);

			if (k == 13)
				send_as(&u[i], SSRC_A, USER_A, 1, 14, 14, AT(44));
			if (k != 14)
				send_as(&u[i], SSRC_A, USER_A, k >= 10 && k < 13 ? 2 : 1,
					(uint32_t)k, k, at);
		}
		if (i == 1)
			EPOCH(&u[i], AT(90), 2, USER_A);
		END_WITH(&u[i], 60, 0, 0, 0, 0, 0);
		assert_int_equal(u[i].frames, 60);
	}
	for (i = 0; i < 60; i++)
		assert_memory_equal(&u[0].frame[i].f, &u[1].frame[i].f, sizeof(u[0].frame[i].f));
	assert_int_equal(u[0].sum[COUNTER_TIME_JUMPS], 1);
	assert_int_equal(u[1].sum[COUNTER_TIME_JUMPS], 1);
	unpack_free(&u[0]);
	unpack_free(&u[1]);
	ts_jump = 0;
}

/* The key never comes: each frame waits its own two seconds, to the nanosecond; then concealed like
 * what was lost, and not counted so. */
static void the_key_never_comes(void **state)
{
	struct unpack u;
	int k, known;

	(void)state;
	for (known = 0; known < 2; known++) {
		begin(&u);
		EPOCH(&u, T0, 1, known ? USER_A : USER_B, USER_B);
		EPOCH(&u, T0, 3, USER_A);
		for (k = 0; k < 40; k++)
			send_k(&u, k >= 20 && k < 23 ? 2 : 3, k);
		unpack_tick(&u, AT(20) + 2 * TD_SEC_NS - 1);
		unpack_run(&u);
		assert_int_equal(u.frames, 20);
		assert_int_equal(u.sum[COUNTER_DAVE_AUTH], 0);
		unpack_tick(&u, AT(22) + 2 * TD_SEC_NS - 1);
		unpack_run(&u);
		assert_int_equal(u.frames, 20);
		unpack_tick(&u, AT(22) + 2 * TD_SEC_NS);
		unpack_run(&u);
		assert_true(u.frames >= 37 + 3);
		assert_int_equal(u.frame[20].f.kind, IPC_FRAME_CONCEALED);
		assert_int_equal(u.frame[20].f.seq, 20);
		END_WITH(&u, 37, 0, 0, 3, 0, 0);
		assert_int_equal(u.sum[COUNTER_DECODED], 37);
		assert_int_equal(u.sum[COUNTER_LOST], 0);
		assert_int_equal(u.sum[COUNTER_CONCEALED], 0);
		unpack_free(&u);
	}
}

/* Beside a real loss: that one is counted, and both are filled. */
static void dropped_beside_lost(void **state)
{
	struct unpack u;
	int k;

	(void)state;
	begin(&u);
	EPOCH(&u, T0, 1, USER_A);
	for (k = 0; k < 40; k++) {
		if (k != 21)
			send_k(&u, k == 20 || k == 22 ? 2 : 1, k);
	}
	END_WITH(&u, 37, 0, 0, 2, 0, 0);
	assert_int_equal(u.sum[COUNTER_LOST], 1);
	assert_int_equal(u.sum[COUNTER_CONCEALED], 1);
	assert_int_equal(u.frames, 40);
	unpack_free(&u);
}

/* No key of the user at all, or (an answer, if not the right one) one of a later epoch. */
static void nobody_has_a_key(void **state)
{
	struct unpack u;
	int k, later;

	(void)state;
	for (later = 0; later < 2; later++) {
		begin(&u);
		EPOCH(&u, T0, 1, USER_B);
		for (k = 0; k < 10; k++)
			send_k(&u, 1, k);
		EPOCH(&u, T0 + TD_SEC_NS, 2, later ? USER_A : USER_B);
		END_WITH(&u, 0, 0, later ? 0 : 10, later ? 10 : 0, 0, 0);
		assert_int_equal(u.frames, 0);
		unpack_free(&u);
	}
}

static void replayed_frames(void **state)
{
	struct unpack u;
	int k;

	(void)state;
	begin(&u);
	EPOCH(&u, T0, 1, USER_A);
	for (k = 0; k < 20; k++)
		send_as(&u, SSRC_A, USER_A, 1, (uint32_t)(k < 15 ? k : k - 10), k, AT(k));
	send_as(&u, SSRC_A, USER_A, 1, 14, 14, AT(20));       /* the same packet: a duplicate */
	send_as(&u, SSRC_A, USER_A, 1, 1u << 24, 20, AT(20)); /* a generation too early */
	END_WITH(&u, 15, 0, 0, 0, 6, 0);
	assert_int_equal(u.sum[COUNTER_DUPLICATE], 1);
	unpack_free(&u);
}

/* A flood of frames that never open costs nobody else a thing, nor the stream its place. */
static void hostile_frames_cost_themselves(void **state)
{
	uint8_t sealed[1024];
	struct unpack u;
	size_t bit, len;
	int k;

	(void)state;
	begin(&u);
	EPOCH(&u, T0, 1, USER_A, USER_B);
	len = unpack_dave_seal(sealed, USER_A, 1, 7, voice.packet[0], (size_t)voice.len[0]);
	for (bit = 0; bit < len * 8; bit++) {
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		unpack_rtp(&u, CONN, T0 + bit * MS, SSRC_A, (uint16_t)bit, (uint32_t)bit * 120,
			sealed, len);
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (bit % 20 == 0)
			send_as(&u, SSRC_B, USER_B, 1, (uint32_t)bit, (int)bit / 20, T0 + bit * MS);
	}
	unpack_end(&u);
	assert_int_equal(u.sum[COUNTER_DAVE_OPENED], (len * 8 + 19) / 20);
	assert_int_equal(u.sum[COUNTER_DAVE_REPLAY] + u.sum[COUNTER_DAVE_AUTH] +
			u.sum[COUNTER_DAVE_REFUSED],
		len * 8);
	expect_voice(&u, 0, 0, ((int)len * 8 + 19) / 20);
	unpack_free(&u);
	/* More than the window holds: the oldest go, sound goes on. */
	begin(&u);
	EPOCH(&u, T0, 1, USER_A);
	for (k = 0; k < PACKETS; k++)
		send_as(&u, SSRC_A, USER_A, k < 700 ? 2 : 1, (uint32_t)k, k, T0 + (uint64_t)k * MS);
	END_WITH(&u, 200, 0, 0, 700, 0, 0);
	unpack_free(&u);
}

/* Nobody named the SSRC: sealed until then, and opened in order, with a key that came meanwhile. */
static void held_for_a_name_and_a_key(void **state)
{
	struct unpack u;
	int k, key_first;

	(void)state;
	for (key_first = 0; key_first < 2; key_first++) {
		begin(&u);
		for (k = 0; k < 80; k++) {
			send_as(&u, LATE_SSRC, USER_A, 1, (uint32_t)k, k, AT(k));
			if (k == (key_first ? 30 : 60))
				EPOCH(&u, AT(k), 1, USER_A);
			if (k == (key_first ? 60 : 30))
				unpack_speaker(&u, CONN, LATE_SSRC, USER_A);
		}
		END_WITH(&u, 80, 0, 0, 0, 0, 0);
		expect_voice(&u, 0, 0, 80);
		unpack_free(&u);
	}
	/* Named after the hold: what still waits for its key is opened, what had to go is gone. */
	begin(&u);
	EPOCH(&u, T0, 1, USER_A);
	for (k = 0; k < 130; k++) {
		send_as(&u, LATE_SSRC, USER_A, 1, (uint32_t)k, k, AT(k));
		if (k == 110)
			unpack_speaker(&u, CONN, LATE_SSRC, USER_A);
	}
	/* Received under no name, opened under one: the accounts are the stream's. */
	unpack_plain(&u, IPC_CONN_CLOSE, CONN);
	unpack_run(&u);
	check_accounts(u.sum);
	assert_int_equal(u.sum[COUNTER_DAVE_NO_KEY], 11);
	expect_voice(&u, 0, 11, 130);
	unpack_free(&u);
}

/* Whether a plain frame is taken is judged by when it came, not by when it was named. */
static void plain_frames_held_for_a_name(void **state)
{
	struct unpack u;

	(void)state;
	unpack_begin(&u, WINDOW, 1);
	send_as(&u, LATE_SSRC, USER_A, 0, 0, 0, AT(0));
	unpack_dave_passthrough(&u, CONN, 0);
	send_as(&u, LATE_SSRC, USER_A, 0, 0, 1, AT(1));
	unpack_dave_passthrough(&u, CONN, UINT64_MAX);
	unpack_speaker(&u, CONN, LATE_SSRC, USER_A);
	END_WITH(&u, 0, 0, 0, 0, 0, 1);
	expect_voice(&u, 0, 0, 1);
	unpack_free(&u);
}

/* A user who comes back has a new SSRC, a new epoch, and nonces from the start. */
static void the_user_rejoins(void **state)
{
	struct unpack u;
	int k;

	(void)state;
	begin(&u);
	EPOCH(&u, T0, 1, USER_A, USER_B);
	for (k = 0; k < 10; k++)
		send_k(&u, 1, k);
	unpack_gone(&u, CONN, USER_A);
	EPOCH(&u, AT(10), 2, USER_B);
	EPOCH(&u, AT(12), 3, USER_B, USER_A);
	unpack_speaker(&u, CONN, LATE_SSRC, USER_A);
	for (k = 10; k < 20; k++)
		send_as(&u, LATE_SSRC, USER_A, 3, (uint32_t)(k - 10), k, AT(k + 2));
	END_WITH(&u, 20, 0, 0, 0, 0, 0);
	assert_int_equal(u.frames, 20);
	unpack_free(&u);
}

/* A flush keeps keys, a reset forgets them and takes plain frames again, counting none. */
static void flush_and_reset(void **state)
{
	struct unpack u;
	int reset;

	(void)state;
	for (reset = 0; reset < 2; reset++) {
		begin(&u);
		EPOCH(&u, T0, 1, USER_A);
		send_k(&u, 1, 0);
		unpack_plain(&u, reset ? IPC_CONN_RESET : IPC_CONN_FLUSH, CONN);
		unpack_key(&u, CONN, TRANSPORT_NONE, 0, 0);
		unpack_speaker(&u, CONN, SSRC_A, USER_A);
		send_k(&u, 1, 1);
		send_k(&u, 0, 2);
		if (reset)
			END_WITH(&u, 1, 0, 1, 0, 0, 0);
		else
			END_WITH(&u, 2, 0, 0, 0, 0, 1);
		assert_int_equal(u.frames, 2);
		unpack_free(&u);
	}
}

/* A spurt that ends in encrypted silence frames: seen as what they are. */
static void silence_is_seen_inside(void **state)
{
	uint8_t sealed[64];
	struct unpack u;
	size_t len;
	int k;

	(void)state;
	begin(&u);
	EPOCH(&u, T0, 1, USER_A);
	for (k = 0; k < 20; k++) {
		if (k < 10 || k >= 15) {
			send_k(&u, 1, k);
			continue;
		}
		len = unpack_dave_seal(sealed, USER_A, 1, (uint32_t)k, silence, 3);
		unpack_rtp(&u, CONN, AT(k), SSRC_A, (uint16_t)k, (uint32_t)k * STEP, sealed, len);
	}
	len = unpack_dave_seal(sealed, USER_A, 1, 20, silence, 0); /* nothing inside */
	unpack_rtp(&u, CONN, AT(20), SSRC_A, 20, 20 * STEP, sealed, len);
	END_WITH(&u, 21, 0, 0, 0, 0, 0);
	assert_int_equal(u.sum[COUNTER_SILENCE], 5);
	assert_int_equal(u.sum[COUNTER_PADDING], 1);
	assert_int_equal(u.frame[12].f.kind, IPC_FRAME_SILENCE);
	unpack_free(&u);
}

static void malformed_requests(void **state)
{
	static const struct {
		uint64_t at_ns;
		size_t len;
		int want;
	} cases[] = { { T0, 24, TD_OK }, { T0, 0, TD_OK }, { T0, 23, TD_ERR_MALFORMED },
		{ T0, 25, TD_ERR_MALFORMED }, { UINT64_MAX, 24, TD_ERR_MALFORMED } };
	static const uint8_t data[48];
	struct unpack u;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct ipc_dave_epoch e = { .at_ns = cases[i].at_ns };

		begin(&u);
		unpack_put(&u, IPC_DAVE_EPOCH, CONN, &e, sizeof(e), data, cases[i].len);
		unpack_run(&u);
		assert_int_equal(u.error, cases[i].want);
		unpack_free(&u);
	}
}

static int setup(void **state)
{
	(void)state;
	voice_make(&voice, PACKETS, STEP, 1, false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	voice_free(&voice);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sound_as_without),
		cmocka_unit_test(plain_frames),
		cmocka_unit_test(passthrough_does_not_open),
		cmocka_unit_test(epochs_overlap),
		cmocka_unit_test(epochs_end),
		cmocka_unit_test(epochs_are_bounded),
		cmocka_unit_test(members_alone),
		cmocka_unit_test(held_until_the_key),
		cmocka_unit_test(waiting_moves_nothing),
		cmocka_unit_test(the_key_never_comes),
		cmocka_unit_test(dropped_beside_lost),
		cmocka_unit_test(nobody_has_a_key),
		cmocka_unit_test(replayed_frames),
		cmocka_unit_test(hostile_frames_cost_themselves),
		cmocka_unit_test(held_for_a_name_and_a_key),
		cmocka_unit_test(plain_frames_held_for_a_name),
		cmocka_unit_test(the_user_rejoins),
		cmocka_unit_test(flush_and_reset),
		cmocka_unit_test(silence_is_seen_inside),
		cmocka_unit_test(malformed_requests),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
