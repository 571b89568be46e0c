/* SPDX-License-Identifier: ISC */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/unpack.h"

/* Packets of 20 ms, over both wraps, into the window of the default. */
enum { STEP = 960, PACKETS = 400, SEQ0 = 65500, NEW_SSRC = 0xa1a1, BOTH = 5 };
#define TS0 0xfffff000u
#define WINDOW (60 * MS)
#define AT(k) (T0 + (uint64_t)(k)*20 * MS)

_Static_assert(BOTH == (IPC_WANT_PCM | IPC_WANT_OPUS), "both");

static const uint8_t silence[] = { 0xf8, 0xff, 0xfe };
static const uint8_t malformed[] = { 0xff, 0x82, 0x08, 0x00 };
static struct voice plain_voice, fec_voice;

/* libopus takes whatever is framed well. This packet of 10 ms it is made to refuse. */
static const uint8_t refused[] = { 0xf0, 0x11, 0x22, 0x33 };

int opus_decode_float(OpusDecoder *st, const unsigned char *data, opus_int32 len, float *pcm,
	int frame_size, int decode_fec)
{
	static int (*real)(OpusDecoder *, const unsigned char *, opus_int32, float *, int, int);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "opus_decode_float");
	if (len == sizeof(refused) && memcmp(data, refused, sizeof(refused)) == 0)
		return OPUS_INTERNAL_ERROR;
	return real(st, data, len, pcm, frame_size, decode_fec);
}

/* ---- what was put in ---- */

static struct given {
	uint32_t ssrc, ts;
	uint16_t seq;
	const uint8_t *data;
	size_t len;
} given[2 * PACKETS + 200];
static size_t givens;

static void note(uint32_t ssrc, uint16_t seq, uint32_t ts, const uint8_t *data, size_t len)
{
	assert_true(givens < sizeof(given) / sizeof(given[0]));
	given[givens++] = (struct given){ ssrc, ts, seq, data, len };
}

static bool was_given(const struct got_opus *g)
{
	size_t i;

	for (i = 0; i < givens; i++) {
		if (given[i].ssrc == g->o.ssrc && given[i].seq == g->o.seq &&
			given[i].ts == g->o.rtp_ts && given[i].len == g->len &&
			memcmp(given[i].data, g->data, g->len) == 0)
			return true;
	}
	return false;
}

static void give(struct unpack *u, uint64_t at_ns, int k, uint32_t ts, const uint8_t *data,
	size_t len)
{
	note(SSRC_A, (uint16_t)(SEQ0 + k), ts, data, len);
	unpack_rtp(u, CONN, at_ns, SSRC_A, (uint16_t)(SEQ0 + k), ts, data, len);
}

/* Packet k of the voice, `pause` samples behind its place. */
static void say(struct unpack *u, const struct voice *v, int k, uint64_t at_ns, uint32_t pause)
{
	give(u, at_ns, k, TS0 + (uint32_t)k * STEP + pause, v->packet[k], (size_t)v->len[k]);
}

static void say_all(struct unpack *u, const struct voice *v, int from, int to)
{
	for (; from < to; from++)
		say(u, v, from, AT(from), 0);
}

static void say_sealed(struct unpack *u, const struct voice *v, int k, uint8_t epoch,
	uint32_t nonce)
{
	uint8_t sealed[1024];
	size_t n = unpack_dave_seal(sealed, USER_A, epoch, nonce, v->packet[k], (size_t)v->len[k]);

	note(SSRC_A, (uint16_t)(SEQ0 + k), TS0 + (uint32_t)k * STEP, v->packet[k],
		(size_t)v->len[k]);
	unpack_rtp(u, CONN, AT(k), SSRC_A, (uint16_t)(SEQ0 + k), TS0 + (uint32_t)k * STEP, sealed,
		n);
}

static void put_epoch(struct unpack *u, uint64_t at_ns, uint8_t epoch)
{
	struct ipc_dave_sender s = { .user_id = USER_A };

	unpack_dave_secret(s.secret, USER_A, epoch);
	unpack_dave_epoch(u, CONN, at_ns, epoch, &s, 1);
}

/* ---- scenarios ---- */

static void losses(struct unpack *u, const struct voice *v)
{
	static const int lost[][2] = { { 20, 1 }, { 40, 2 }, { 60, 3 }, { 80, 5 }, { 100, 6 },
		{ 120, 11 }, { 150, 15 }, { 180, 16 }, { 210, 17 }, { 250, 50 } };
	int from = 0;
	size_t i;

	for (i = 0; i < sizeof(lost) / sizeof(lost[0]); i++) {
		say_all(u, v, from, lost[i][0]);
		from = lost[i][0] + lost[i][1];
	}
	say_all(u, v, from, PACKETS);
}

static void reordering(struct unpack *u, const struct voice *v)
{
	int k;

	for (k = 0; k < 200; k++) {
		if (k % 20 != 10)
			say(u, v, k, AT(k), 0);
		if (k % 20 == 10 + k / 40)
			say(u, v, k - k / 40, AT(k), 0); /* the last ones come too late */
	}
}

static void duplicates(struct unpack *u, const struct voice *v)
{
	int k;

	for (k = 0; k < 100; k++) {
		say(u, v, k, AT(k), 0);
		if (k % 3 == 0)
			say(u, v, k, AT(k), 0);
		if (k % 7 == 6)
			say(u, v, k - 6, AT(k), 0);
	}
}

/* With silence frames and without, told in timestamps and not, with a loss beside it, and probes
 * that are lost, too. */
static void pauses(struct unpack *u, const struct voice *v)
{
	int k;

	say_all(u, v, 0, 20);
	for (k = 20; k < 25; k++)
		give(u, AT(k), k, TS0 + (uint32_t)k * STEP, silence, sizeof(silence));
	for (k = 25; k < 50; k++)
		say(u, v, k, AT(k + 50), 50 * STEP);
	for (k = 52; k < 80; k++)
		say(u, v, k, AT(k + 80), 80 * STEP);
	for (k = 80; k < 100; k++)
		say(u, v, k, AT(k + 160), 80 * STEP);
	for (k = 100; k < 110; k++) {
		if (k != 104)
			give(u, AT(200 + k), k, TS0, NULL, 0);
	}
	for (k = 110; k < 130; k++)
		say(u, v, k, AT(k + 250), 180 * STEP);
}

/* Inside speech and beside what is lost there. */
static void padding(struct unpack *u, const struct voice *v)
{
	int k;

	for (k = 0; k < 100; k++) {
		if (k % 20 == 10)
			give(u, AT(k), k, 0, NULL, 0);
		else if (k != 29 && k != 51 && k != 52)
			say(u, v, k, AT(k), 0);
	}
	give(u, AT(101), 101, 0, NULL, 0);
}

/* Some before their key, some whose key never comes, one nonce twice, one in the clear. */
static void sealed(struct unpack *u, const struct voice *v)
{
	int k;

	unpack_dave_passthrough(u, CONN, 0);
	put_epoch(u, T0, 1);
	for (k = 0; k < PACKETS; k++) {
		if (k == 50)
			say(u, v, k, AT(k), 0);
		else if (k == 60)
			say_sealed(u, v, k, 1, 59);
		else if (k % 40 != 30)
			say_sealed(u, v, k, k < 100 ? 1 : k >= 200 && k < 203 ? 3 : 2, (uint32_t)k);
		if (k == 120)
			put_epoch(u, AT(k), 2);
	}
}

static void another_ssrc(struct unpack *u, const struct voice *v)
{
	int k;

	say_all(u, v, 0, 30);
	unpack_speaker(u, CONN, NEW_SSRC, USER_A);
	for (k = 30; k < 90; k++) {
		uint32_t ts = (uint32_t)k * STEP;

		if (k < 35)
			say(u, v, k, AT(k), 0);
		if (k == 60)
			unpack_gone(u, CONN, USER_A);
		note(NEW_SSRC, (uint16_t)k, ts, v->packet[k], (size_t)v->len[k]);
		unpack_rtp(u, CONN, AT(k), NEW_SSRC, (uint16_t)k, ts, v->packet[k],
			(size_t)v->len[k]);
	}
}

/* Timestamps jump, with a loss and without; the numbers do; thousands are lost. */
static void jumps(struct unpack *u, const struct voice *v)
{
	int k;

	for (k = 0; k < 50; k++)
		say(u, v, k, AT(k), k < 20 ? 0 : 1u << 20);
	for (k = 51; k < 80; k++)
		say(u, v, k, AT(k), 1u << 22);
	for (k = 80; k < 120; k++)
		give(u, AT(k), k + 20000, TS0 + (uint32_t)k * STEP + (1u << 22), v->packet[k],
			(size_t)v->len[k]);
	for (k = 120; k < 160; k++)
		give(u, AT(k + 3000), k + 23000, TS0 + (uint32_t)(k + 3000) * STEP + (1u << 22),
			v->packet[k], (size_t)v->len[k]);
}

/* Packets that libopus refuses: the first, alone, beside losses, before an outage whose length
 * tells what the last packet was; and what is no packet at all. */
static void refusals(struct unpack *u, const struct voice *v)
{
	uint32_t far = 80 * STEP + 200000;
	int k;

	for (k = 0; k < 80; k++) {
		uint32_t ts = TS0 + (uint32_t)k * STEP;

		if (k == 0 || k == 10 || k == 20 || k == 32 || k == 79)
			give(u, AT(k), k, ts, refused, sizeof(refused));
		else if (k == 40 || k == 51)
			give(u, AT(k), k, ts, malformed, sizeof(malformed));
		else if (k != 21 && k != 31 && k != 50)
			say(u, v, k, AT(k), 0);
	}
	for (k = 80; k < 120; k++)
		give(u, AT(k) + (uint64_t)td_samples_to_ns(200000), k + 600,
			TS0 + far + (uint32_t)(k - 80) * STEP, v->packet[k], (size_t)v->len[k]);
}

static void trouble(struct unpack *u, const struct voice *v, uint32_t seed)
{
	static struct event e[2 * PACKETS + 200];
	size_t i, n = make_trouble(e, sizeof(e) / sizeof(e[0]), seed);

	for (i = 0; i < n; i++) {
		if (e[i].k >= 0)
			note(e[i].ssrc, e[i].seq, e[i].ts, v->packet[e[i].k],
				(size_t)v->len[e[i].k]);
		else if (e[i].k == -2)
			note(e[i].ssrc, e[i].seq, e[i].ts, silence, sizeof(silence));
		send_trouble(u, v, &e[i]);
	}
}

/* ---- what has to be the same ---- */

static void same_frames(const struct unpack *a, const struct unpack *b)
{
	size_t i;

	assert_int_equal(a->frames, b->frames);
	for (i = 0; i < a->frames; i++) {
		const struct got_frame *f = &a->frame[i], *g = &b->frame[i];

		assert_memory_equal(&f->f, &g->f, sizeof(f->f));
		assert_memory_equal(f->pcm, g->pcm, (size_t)f->f.samples * f->f.channels * 2);
	}
}

static void same_packets(const struct unpack *a, const struct unpack *b)
{
	size_t i;

	assert_int_equal(a->opuses, b->opuses);
	for (i = 0; i < a->opuses; i++) {
		struct ipc_opus x = a->opus[i].o, y = b->opus[i].o;

		x.missing = y.missing = 0; /* with frames, they have it */
		assert_memory_equal(&x, &y, sizeof(x));
		assert_int_equal(a->opus[i].len, b->opus[i].len);
		assert_memory_equal(a->opus[i].data, b->opus[i].data, a->opus[i].len);
	}
}

/* The packet and its own frame, the last one behind it, say the same of themselves; the frames
 * before that one fill what the packet says is missing. */
static void agree(const struct got_opus *g, const struct got_frame *frame, size_t frames)
{
	const struct ipc_frame *f = &frame[frames - 1].f;
	uint32_t filled = 0;
	uint8_t flags = 0;
	size_t i;

	assert_int_equal(f->kind, g->o.silence ? IPC_FRAME_SILENCE : IPC_FRAME_DECODED);
	assert_int_equal(f->user_id, g->o.user_id);
	assert_int_equal(f->arrival_ns, g->o.arrival_ns);
	assert_int_equal(f->sent_ns, g->o.sent_ns);
	assert_int_equal(f->ssrc, g->o.ssrc);
	assert_int_equal(f->rtp_ts, g->o.rtp_ts);
	assert_int_equal(f->seq, g->o.seq);
	assert_int_equal(f->samples, g->o.samples);
	for (i = 0; i < frames; i++)
		flags |= frame[i].f.flags;
	for (i = 0; i + 1 < frames; i++)
		filled += frame[i].f.samples;
	assert_int_equal(flags, g->o.flags);
	assert_true(filled <= g->o.lost);
	assert_true(g->o.lost - filled < 120 || filled >= 4800);
}

/* Each packet comes right before the frames that it gives. */
static void packets_come_before_frames(const struct unpack *u)
{
	size_t i;

	assert_int_equal(u->opus[0].frames, 0);
	for (i = 0; i < u->opuses; i++) {
		size_t first = u->opus[i].frames;
		size_t next = i + 1 < u->opuses ? u->opus[i + 1].frames : u->frames;

		assert_true(next > first);
		agree(&u->opus[i], &u->frame[first], next - first);
	}
}

/* Without sound nothing is recovered or concealed; everything else is counted as with it. */
static void counted_as_with_sound(const struct unpack *with, const struct unpack *without,
	bool refusing)
{
	uint64_t n = without->sum[COUNTER_DECODED] + without->sum[COUNTER_UNDECODABLE];
	int c;

	assert_int_equal(without->sum[COUNTER_DECODED], without->opuses);
	assert_int_equal(with->sum[COUNTER_DECODED] + with->sum[COUNTER_UNDECODABLE], n);
	assert_int_equal(without->sum[COUNTER_FEC] + without->sum[COUNTER_CONCEALED], 0);
	for (c = 0; c < COUNTER_COUNT && !refusing; c++) {
		if (c != COUNTER_FEC && c != COUNTER_CONCEALED && c != COUNTER_SKIPPED)
			assert_int_equal(with->sum[c], without->sum[c]);
	}
}

/* Plays the same to whoever wants sound, packets, and both, and compares. play NULL: trouble. */
static void compare(void (*play)(struct unpack *u, const struct voice *v), const struct voice *v,
	uint32_t seed)
{
	static const uint32_t wants[] = { IPC_WANT_PCM, BOTH, IPC_WANT_OPUS };
	bool refusing = play == refusals;
	struct unpack u[3];
	size_t i;

	for (i = 0; i < 3; i++) {
		givens = 0;
		unpack_begin_for(&u[i], wants[i], WINDOW, 2);
		if (play != NULL)
			play(&u[i], v);
		else
			trouble(&u[i], v, seed);
		unpack_end(&u[i]);
	}
	assert_true(u[0].frames > 0 && u[2].opuses > 0);
	assert_int_equal(u[0].opuses, 0);
	assert_int_equal(u[2].frames, 0);
	assert_int_equal(u[2].w.pool.len, 0); /* there was no decoder */
	same_frames(&u[0], &u[1]);
	same_packets(&u[1], &u[2]);
	assert_memory_equal(u[0].sum, u[1].sum, sizeof(u[0].sum));
	for (i = 0; i < u[2].opuses; i++)
		assert_true(was_given(&u[2].opus[i]));
	if (!refusing)
		packets_come_before_frames(&u[1]);
	counted_as_with_sound(&u[1], &u[2], refusing);
	for (i = 0; i < 3; i++)
		unpack_free(&u[i]);
}

static void packets_and_sound_do_not_touch(void **state)
{
	static const struct {
		const char *name;
		void (*play)(struct unpack *u, const struct voice *v);
	} cases[] = { { "losses", losses }, { "reordering", reordering },
		{ "duplicates", duplicates }, { "pauses", pauses }, { "padding", padding },
		{ "sealed", sealed }, { "another SSRC", another_ssrc }, { "jumps", jumps },
		{ "refusals", refusals } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		compare(cases[i].play, &plain_voice, 0);
		compare(cases[i].play, &fec_voice, 0);
	}
}

static void nor_in_trouble(void **state)
{
	uint32_t seed;

	(void)state;
	for (seed = 1; seed <= 10; seed++)
		compare(NULL, seed % 2 ? &fec_voice : &plain_voice, seed * 7919);
}

/* ---- one by one ---- */

/* Packets 0-19, then `lost` numbers, then on with the rest `pause_ms` and `samples` later. */
static void what_is_lost_and_what_is_a_pause(void **state)
{
	static const struct {
		const char *name;
		int lost, pause_ms;
		int samples;
		uint32_t want_lost;
		bool want_spurt;
	} cases[] = {
		{ "nothing", 0, 0, 0, 0, false },
		{ "one", 1, 0, 0, 960, false },
		{ "three", 3, 0, 0, 2880, false },
		{ "nine", 9, 0, 0, 8640, false },
		{ "ten: 200 ms without a packet", 10, 0, 0, 9600, true },
		/* These come quickly, so that nothing but the gap tells. */
		{ "200 ms are not filled", 15, -200, 9600, 14400, false },
		{ "more", 16, -200, 9600, 15360, true },
		{ "fifty", 50, 0, 0, 48000, true },
		{ "an outage", 3000, 0, 0, 2880000, true },
		{ "a pause", 0, 600, 0, 0, true },
		{ "a pause beside a loss", 2, 600, 0, 1920, true },
		{ "a short one", 2, 100, 0, 1920, false },
		{ "less is missing", 1, 0, -50, 910, false },
		{ "nothing is missing", 1, 0, -960, 0, false },
		{ "less than nothing", 1, 0, -5000, 0, false },
		{ "a jump", 0, 0, 1 << 20, 0, true },
		{ "a loss at a jump", 2, 0, 1 << 20, 0, true },
		{ "a jump back", 2, 0, -(1 << 20), 0, true },
	};
	size_t i;
	int k;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int lost = cases[i].lost, later = cases[i].pause_ms * 48 + cases[i].samples;
		struct unpack u;

		print_message("%s\n", cases[i].name);
		unpack_begin_for(&u, IPC_WANT_OPUS, WINDOW, 1);
		say_all(&u, &plain_voice, 0, 20);
		for (k = 20; k < 40; k++)
			give(&u, AT(k + lost) + (uint64_t)cases[i].pause_ms * MS, k + lost,
				TS0 + (uint32_t)((k + lost) * STEP + later), plain_voice.packet[k],
				(size_t)plain_voice.len[k]);
		unpack_end(&u);
		givens = 0;
		assert_int_equal(u.opuses, 40);
		for (k = 0; k < 40; k++) {
			bool spurt = k == 0 || (k == 20 && cases[i].want_spurt);

			assert_int_equal(u.opus[k].o.flags, spurt ? IPC_FRAME_SPURT : 0);
			assert_int_equal(u.opus[k].o.lost, k == 20 ? cases[i].want_lost : 0);
		}
		assert_int_equal(u.sum[COUNTER_LOST], lost);
		assert_int_equal(u.sum[COUNTER_SKIPPED], lost);
		unpack_free(&u);
	}
}

/* Two that came and could not be opened are missing like those that never came. */
static void what_does_not_open_is_missing(void **state)
{
	struct unpack u;
	int k;

	(void)state;
	unpack_begin_for(&u, IPC_WANT_OPUS, WINDOW, 1);
	unpack_dave_passthrough(&u, CONN, 0);
	put_epoch(&u, T0, 1);
	for (k = 0; k < 40; k++) {
		if (k == 20 || k == 22)
			say(&u, &plain_voice, k, AT(k), 0);
		else if (k != 21)
			say_sealed(&u, &plain_voice, k, 1, (uint32_t)k);
	}
	unpack_end(&u);
	givens = 0;
	assert_int_equal(u.opuses, 37);
	assert_int_equal(u.opus[20].o.seq, (uint16_t)(SEQ0 + 23));
	assert_int_equal(u.opus[20].o.lost, 3 * STEP);
	assert_int_equal(u.opus[21].o.lost, 0);
	assert_int_equal(u.sum[COUNTER_LOST], 1);
	assert_int_equal(u.sum[COUNTER_DAVE_REFUSED], 2);
	unpack_free(&u);
}

/* A probe that is lost in a pause was no sound; one that is lost in speech hides no loss. */
static void padding_is_not_missing(void **state)
{
	struct unpack u;
	int k;

	(void)state;
	unpack_begin_for(&u, IPC_WANT_OPUS, WINDOW, 1);
	say_all(&u, &plain_voice, 0, 10);
	for (k = 10; k < 20; k++) {
		if (k != 14)
			give(&u, AT(k + 20), k, TS0, NULL, 0);
	}
	for (k = 20; k < 40; k++) {
		if (k == 31)
			give(&u, AT(k + 30), k, TS0, NULL, 0);
		else if (k != 30)
			say(&u, &plain_voice, k, AT(k + 30), (uint32_t)(k < 31 ? 30 : 29) * STEP);
	}
	unpack_end(&u);
	givens = 0;
	assert_int_equal(u.opuses, 28);
	for (k = 0; k < 28; k++)
		assert_int_equal(u.opus[k].o.lost, k == 20 ? STEP : 0);
	assert_int_equal(u.sum[COUNTER_LOST], 2);
	assert_int_equal(u.sum[COUNTER_PADDING], 10);
	unpack_free(&u);
}

/* The shortest and the longest, counted where the fields say. */
static void packets_of_every_duration(void **state)
{
	static const int durations[] = { 120, 240, 480, 960, 1920, 2880, 3840, 4800, 5760 };
	size_t i;
	int k;

	(void)state;
	for (i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
		int n = durations[i];
		struct voice v;
		struct unpack u;

		voice_make(&v, 40, n, 2, false);
		unpack_begin_for(&u, IPC_WANT_OPUS, WINDOW, 1);
		for (k = 0; k < 40; k++) {
			if (k != 20)
				voice_send(&u, &v, k, T0 + (uint64_t)td_samples_to_ns(k * n), SEQ0,
					TS0);
		}
		unpack_end(&u);
		assert_int_equal(u.opuses, 39);
		for (k = 0; k < 39; k++) {
			const struct got_opus *g = &u.opus[k];
			int m = k + (k >= 20);
			uint64_t at = T0 + (uint64_t)td_samples_to_ns(m * n);

			assert_int_equal(g->conn, CONN);
			assert_int_equal(g->o.user_id, USER_A);
			assert_int_equal(g->o.arrival_ns, at);
			assert_in_range((uint64_t)g->o.sent_ns, at - 1, at + 1);
			assert_int_equal(g->o.ssrc, SSRC_A);
			assert_int_equal(g->o.seq, (uint16_t)(SEQ0 + m));
			assert_int_equal(g->o.rtp_ts, TS0 + (uint32_t)(m * n));
			assert_int_equal(g->o.samples, n);
			assert_int_equal(g->o.lost, k == 20 ? n : 0);
			assert_int_equal(g->len, v.len[m]);
			assert_memory_equal(g->data, v.packet[m], g->len);
		}
		unpack_free(&u);
		voice_free(&v);
	}
}

/* One that libopus refuses is passed on, one whose framing is wrong is not; each is counted once.
 * The length of the first is what a loss behind it is reckoned by. */
static void what_opus_refuses_is_passed_on(void **state)
{
	static const struct {
		uint32_t want;
		uint64_t decoded, undecodable;
		size_t opuses, frames;
	} cases[] = { { BOTH, 37, 2, 38, 38 }, { IPC_WANT_OPUS, 38, 1, 38, 0 },
		{ IPC_WANT_PCM, 37, 2, 0, 38 }, { 0, 38, 1, 0, 0 } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct unpack u;

		unpack_begin_for(&u, cases[i].want, WINDOW, 1);
		say_all(&u, &plain_voice, 0, 20);
		give(&u, AT(20), 20, TS0 + 20 * STEP, refused, sizeof(refused));
		give(&u, AT(21), 21, TS0 + 21 * STEP, malformed, sizeof(malformed));
		say_all(&u, &plain_voice, 23, 40);
		unpack_end(&u);
		givens = 0;
		assert_int_equal(u.opuses, cases[i].opuses);
		assert_int_equal(u.frames, cases[i].frames);
		assert_int_equal(u.sum[COUNTER_DECODED], cases[i].decoded);
		assert_int_equal(u.sum[COUNTER_UNDECODABLE], cases[i].undecodable);
		assert_int_equal(u.sum[COUNTER_LOST], 1);
		if (u.opuses > 0) {
			assert_int_equal(u.opus[21].o.lost, 480);
			assert_int_equal(u.opus[20].o.samples, 480);
			assert_memory_equal(u.opus[20].data, refused, sizeof(refused));
		}
		unpack_free(&u);
	}
}

/* The largest datagram, full of Opus: two frames, the length of the first one written down. */
static void the_largest_packet(void **state)
{
	enum { LEN = IPC_MAX_DGRAM - RTP_MIN_HEADER, FIRST = 1000 };
	static uint8_t packet[LEN] = { 0xfa, 252, (FIRST - 252) / 4 };
	static const uint32_t wants[] = { BOTH, IPC_WANT_OPUS };
	size_t i;

	(void)state;
	for (i = 3; i < LEN; i++)
		packet[i] = (uint8_t)(i * 7);
	for (i = 0; i < 2; i++) {
		struct unpack u;

		unpack_begin_for(&u, wants[i], WINDOW, 2);
		give(&u, T0, 0, TS0, packet, LEN);
		give(&u, AT(2), 1, TS0 + 2 * STEP, packet, LEN);
		assert_true(u.to.len > 2 * IPC_MAX_DGRAM);
		unpack_end(&u);
		givens = 0;
		assert_int_equal(u.opuses, 2);
		assert_int_equal(u.opus[1].len, LEN);
		assert_memory_equal(u.opus[1].data, packet, LEN);
		assert_int_equal(u.opus[1].o.samples, 2 * STEP);
		assert_int_equal(u.sum[COUNTER_DECODED], 2);
		unpack_free(&u);
	}
}

/* And what the message itself may hold: not one byte more than a datagram. */
static void the_largest_message(void **state)
{
	static const uint8_t data[IPC_MAX_DGRAM + 1];
	static const struct ipc_opus o;
	size_t more, room;

	(void)state;
	for (more = 0; more < 2; more++) {
		struct ipc_reader *r;
		struct ipc_queue q;
		struct ipc_msg m;

		ipc_queue_init(&q);
		assert_int_equal(ipc_queue_put(&q, IPC_OPUS, CONN, &o, sizeof(o), data,
					 IPC_MAX_DGRAM + more),
			TD_OK);
		assert_int_equal(ipc_reader_new(&r, IPC_TO_RECEIVER), TD_OK);
		memcpy(ipc_reader_room(r, &room), q.buf + q.head, q.len);
		assert_true(room >= q.len);
		ipc_reader_fed(r, q.len);
		assert_int_equal(ipc_reader_next(r, &m), more ? TD_ERR_MALFORMED : 1);
		ipc_reader_free(r);
		ipc_queue_free(&q);
	}
}

/* Each connection has wants of its own. */
static void connections_want_different_things(void **state)
{
	static const uint32_t wants[] = { IPC_WANT_OPUS, IPC_WANT_PCM, BOTH, 0 };
	struct unpack u;
	size_t i, n[4] = { 0 }, opus[4] = { 0 };
	int k;

	(void)state;
	unpack_init(&u);
	unpack_hello(&u);
	for (i = 0; i < 4; i++) {
		unpack_open_for(&u, i + 1, wants[i], WINDOW, 0, 1);
		unpack_key(&u, i + 1, TRANSPORT_NONE, 0, 0);
	}
	for (k = 0; k < 20; k++) {
		for (i = 0; i < 4; i++)
			unpack_rtp(&u, i + 1, AT(k), SSRC_A, (uint16_t)k, (uint32_t)k * STEP,
				plain_voice.packet[k], (size_t)plain_voice.len[k]);
	}
	unpack_run(&u);
	assert_int_equal(u.error, 0);
	for (i = 0; i < 4; i++)
		unpack_plain(&u, IPC_CONN_CLOSE, i + 1);
	unpack_run(&u);
	for (i = 0; i < u.frames; i++)
		n[u.frame[i].conn - 1]++;
	for (i = 0; i < u.opuses; i++)
		opus[u.opus[i].conn - 1]++;
	for (i = 0; i < 4; i++) {
		assert_int_equal(n[i], wants[i] & IPC_WANT_PCM ? 20 : 0);
		assert_int_equal(opus[i], wants[i] & IPC_WANT_OPUS ? 20 : 0);
	}
	assert_int_equal(u.w.pool.len, 2); /* decoders: of those who want sound */
	unpack_free(&u);
}

static int setup(void **state)
{
	(void)state;
	voice_make(&plain_voice, PACKETS, STEP, 1, false);
	voice_make(&fec_voice, PACKETS, STEP, 1, true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	voice_free(&plain_voice);
	voice_free(&fec_voice);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_and_sound_do_not_touch),
		cmocka_unit_test(nor_in_trouble),
		cmocka_unit_test(what_is_lost_and_what_is_a_pause),
		cmocka_unit_test(what_does_not_open_is_missing),
		cmocka_unit_test(padding_is_not_missing),
		cmocka_unit_test(packets_of_every_duration),
		cmocka_unit_test(what_opus_refuses_is_passed_on),
		cmocka_unit_test(the_largest_packet),
		cmocka_unit_test(the_largest_message),
		cmocka_unit_test(connections_want_different_things),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
