/* SPDX-License-Identifier: ISC */
/*
 * Workers that die at any message of what they say: everything that came is counted once and
 * comes back once, whichever of them it came from, and a frame that is sent again is refused. Real
 * workers, and what the lane thread knows of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "receiver/delivered.h"
#include "tests/unit/unpack.h"

enum { VOICE = 400, MAX_EVENTS = 2000, MAX_KILLS = 4, MAX_SAID = 20000 };

/* As receiver/lane_requests.c has them: how often it asks, and what its journal keeps. */
#define REORDER_NS (50 * MS)
#define PING_NS (250 * MS)
#define KEPT_NS (REORDER_NS + 900 * MS)
#define KEPT_WAITING_NS (6000 * MS)

static struct voice voice;

static int setup(void **state)
{
	(void)state;
	voice_make(&voice, VOICE, 960, 1, true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	voice_free(&voice);
	return 0;
}

/* ---- the call ---- */

struct datagram {
	uint64_t at_ns;
	uint32_t ssrc;
	uint16_t seq;
	size_t len;
	uint8_t data[600];
};

struct call_plan {
	struct datagram d[MAX_EVENTS];
	size_t n, second_epoch; /* the datagram before which it begins */
};

/* The journal: what is before `first` is not told again. */
struct kept {
	size_t first;
	struct {
		size_t before;
		uint64_t newest_ns;
	} ping[MAX_EVENTS];
	size_t pings, pongs; /* of this worker */
};

static void put_ping(struct unpack *u, struct kept *k, size_t before, uint64_t newest_ns)
{
	unpack_plain(u, IPC_PING, 0);
	k->ping[k->pings].before = before;
	k->ping[k->pings++].newest_ns = newest_ns;
}

static void on_pong(struct kept *k, const struct call_plan *c, const struct ipc_pong *pong)
{
	uint64_t ns = k->ping[k->pongs].newest_ns;
	size_t before = k->ping[k->pongs++].before;

	ns -= pong->waits ? KEPT_WAITING_NS : KEPT_NS;
	while (k->first < before && c->d[k->first].at_ns < ns)
		k->first++;
}

/* Whether a sender that numbers anew stays away from its older numbers: nobody could tell packets
 * from those of another numbering, and real ones take a random number for each of their lives. */
static bool numbers_apart(const struct event *e, size_t n)
{
	enum { NEAR = 100, APART = 1500 };

	for (size_t i = 0; i < n; i++) {
		bool left = false;

		for (size_t k = i + 1; k < n; k++) {
			int diff = (int16_t)(uint16_t)(e[k].seq - e[i].seq);

			if (e[k].ssrc != e[i].ssrc)
				continue;
			diff = diff < 0 ? -diff : diff;
			left = left || (diff > NEAR && e[k].at - e[i].at < TD_SEC_NS);
			if (left && diff < APART && e[k].at - e[i].at > TD_SEC_NS)
				return false;
			if (diff > NEAR && diff < APART && e[k].at - e[i].at < TD_SEC_NS)
				return false;
		}
	}
	return true;
}

/* Whether a sender that numbers anew is heard twice in a row: a worker that takes over right then
 * may count what is missing behind a single packet of the new numbers, which the one before took
 * for a stray one. */
static bool numbers_certain(const struct event *e, size_t n)
{
	enum { NEAR = 100 };
	uint16_t last[2] = { 0 };
	bool any[2] = { false }, jumped[2] = { false };

	for (size_t i = 0; i < n; i++) {
		bool b = e[i].ssrc == SSRC_B;
		int diff = (int16_t)(uint16_t)(e[i].seq - last[b]);

		if (jumped[b] && diff != 1)
			return false;
		jumped[b] = any[b] && (diff > NEAR || diff < -NEAR);
		any[b] = true;
		last[b] = e[i].seq;
	}
	return true;
}

/* Who is silent for longer than the journal reaches back begins anew for the next worker: what is
 * lost in such a pause is lost from its account as well, and what comes late is not known again. */
static void shorten_pauses(struct event *e, size_t n)
{
	uint64_t last[2] = { 0 }, sooner[2] = { 0 };

	for (size_t i = 0; i < n; i++) {
		bool b = e[i].ssrc == SSRC_B;
		uint64_t pause = last[b] != 0 ? e[i].at - last[b] : 0;

		last[b] = e[i].at;
		if (pause > 400 * MS)
			sooner[b] += pause - 400 * MS;
		e[i].at -= sooner[b];
	}
	for (size_t i = 1; i < n; i++) {
		struct event v = e[i];
		size_t k;

		for (k = i; k > 0 && e[k - 1].at > v.at; k--)
			e[k] = e[k - 1];
		e[k] = v;
	}
}

/* Instead, one of the same speaker and epoch is sent again, from however long ago. */
static size_t send_again(const struct call_plan *c, size_t i, uint8_t *payload, size_t len,
	uint32_t *seed)
{
	size_t first = i < c->second_epoch ? 0 : c->second_epoch;
	const struct datagram *old = &c->d[first + roll(seed) % (i - first + 1)];

	if (old->ssrc != c->d[i].ssrc || old->len < RTP_MIN_HEADER + 20)
		return len;
	memcpy(payload, old->data + RTP_MIN_HEADER, old->len - RTP_MIN_HEADER);
	return old->len - RTP_MIN_HEADER;
}

/* Two speakers with every kind of trouble there is, encrypted, with a new epoch in the middle. */
static void make_call(struct call_plan *c, uint32_t seed)
{
	static struct event e[MAX_EVENTS];
	uint32_t nonce[2][3] = { { 0 } };
	size_t i;

	for (;; seed++) {
		c->n = make_trouble(e, MAX_EVENTS, seed);
		shorten_pauses(e, c->n);
		if (numbers_apart(e, c->n) && numbers_certain(e, c->n))
			break;
	}
	/* A few come when their place has been given up. Not where all wait for a key: they would
	 * be in time, and for a worker that does not have to wait they are not. */
	for (i = 110; i + 80 < c->n; i += 301) {
		struct event late = e[i];

		memmove(&e[i], &e[i + 1], 40 * sizeof(e[0]));
		late.at = e[i + 39].at + 1;
		e[i + 40] = late;
	}
	c->second_epoch = c->n / 2;
	for (i = 0; i < c->n; i++) {
		struct datagram *d = &c->d[i];
		uint64_t user = e[i].ssrc == SSRC_A ? USER_A : USER_B;
		uint8_t epoch = i < c->second_epoch ? 1 : 2, *payload = d->data + RTP_MIN_HEADER;
		uint32_t dice = roll(&seed) % 100;
		size_t len = 0;

		d->at_ns = e[i].at;
		d->ssrc = e[i].ssrc;
		d->seq = e[i].seq;
		rtp_write(d->data, RTP_OPUS_PAYLOAD_TYPE, e[i].seq, e[i].ts, e[i].ssrc);
		if (e[i].k == -2) {
			memcpy(payload, "\xf8\xff\xfe", len = 3);
		} else if (e[i].k >= 0 && dice < 2) {
			memcpy(payload, "\xff\xff", len = 2); /* in the clear: refused */
		} else if (e[i].k >= 0) {
			/* Some are no Opus, some do not open, and some open with a key of a moment
			 * ago. */
			epoch = dice < 10 && epoch == 2 && i < c->second_epoch + 50 ? 1 : epoch;
			len = dice < 14 && dice >= 10
				? unpack_dave_seal(payload, user, epoch,
					  nonce[user == USER_B][epoch]++, "\xff\xff", 2)
				: unpack_dave_seal(payload, user, epoch,
					  nonce[user == USER_B][epoch]++, voice.packet[e[i].k],
					  (size_t)voice.len[e[i].k]);
			/* Everything waits for these. */
			if (i % 301 == 200)
				payload[0] ^= 1;
			if (dice == 21) /* once more */
				nonce[user == USER_B][epoch]--;
			if (dice >= 22 && dice < 27)
				len = send_again(c, i, payload, len, &seed);
		}
		d->len = RTP_MIN_HEADER + len;
	}
}

/* ---- one worker's life ---- */

static void put_epoch(struct unpack *u, uint64_t at_ns, uint8_t epoch)
{
	struct ipc_dave_sender s[2] = { { .user_id = USER_A }, { .user_id = USER_B } };

	unpack_dave_secret(s[0].secret, USER_A, epoch);
	unpack_dave_secret(s[1].secret, USER_B, epoch);
	unpack_dave_epoch(u, CONN, at_ns, epoch, s, 2);
}

static void put_used(void *user, uint64_t conn, uint32_t epoch_no, uint64_t user_id,
	const struct dave_nonces *nonces)
{
	struct ipc_dave_used m = { .user_id = user_id, .epoch_no = epoch_no, .nonces = *nonces };

	unpack_put(user, IPC_DAVE_USED, conn, &m, sizeof(m), NULL, 0);
}

/* What a worker is told that begins when the others' messages came back as d knows. */
static void tell(struct unpack *u, const struct call_plan *c, struct kept *k,
	const struct delivered *d, uint32_t want)
{
	uint64_t newest_ns = 0, pinged_ns = 0;
	size_t i;

	k->pings = k->pongs = 0;
	unpack_begin_for(u, want, REORDER_NS, 1);
	unpack_dave_passthrough(u, CONN, 0);
	put_epoch(u, T0, 1);
	delivered_used(d, CONN, 1, put_used, u);
	for (i = 0; i < c->n; i++) {
		const struct datagram *g = &c->d[i];
		struct ipc_packet p = { .arrival_ns = g->at_ns };
		enum delivered_state is = delivered_look(d, CONN, g->ssrc, g->seq, g->at_ns);

		if (i == c->second_epoch) {
			put_epoch(u, g->at_ns, 2);
			delivered_used(d, CONN, 2, put_used, u);
		}
		if (i < k->first)
			continue;
		if (is == DELIVERED_LATELY)
			p.flags = IPC_PACKET_AGAIN;
		if (is == DELIVERED_OPENED)
			p.flags = IPC_PACKET_AGAIN | IPC_PACKET_OPENED;
		if (is == DELIVERED_COUNTED)
			p.flags = IPC_PACKET_COUNTED;
		if (is != DELIVERED_LONG_AGO)
			unpack_put(u, IPC_PACKET, CONN, &p, sizeof(p), g->data, g->len);
		if (g->at_ns > newest_ns)
			newest_ns = g->at_ns;
		if (newest_ns >= pinged_ns + PING_NS) {
			put_ping(u, k, i + 1, newest_ns);
			pinged_ns = newest_ns;
		}
	}
}

/* What came back in the end. */
struct sum {
	uint64_t count[2][COUNTER_COUNT];
	struct said {
		uint32_t ssrc;
		uint16_t seq;
		uint8_t kind;
	} said[MAX_SAID];
	size_t n;
};

static void count(struct sum *s, uint32_t ssrc, const uint64_t *delta)
{
	for (size_t i = 0; i < COUNTER_COUNT; i++)
		s->count[ssrc == SSRC_B][i] += delta[i];
}

static void on_lost(void *user, uint64_t conn, uint32_t ssrc, uint64_t user_id,
	const uint64_t delta[static COUNTER_COUNT])
{
	(void)conn;
	(void)user_id;
	count(user, ssrc, delta);
}

static void take(struct sum *s, struct delivered *d, const struct ipc_msg *m)
{
	const struct ipc_counters *c = m->body;
	const struct ipc_frame *f = m->body;
	const struct ipc_opus *o = m->body;

	if (m->hdr.type == IPC_COUNTERS && c->ssrc != 0) {
		count(s, c->ssrc, c->delta);
		delivered_counted(d, CONN, c);
	} else if (m->hdr.type == IPC_FRAME && delivered_frame(d, CONN, f)) {
		s->said[s->n++] = (struct said){ f->ssrc, f->seq, f->kind };
	} else if (m->hdr.type == IPC_OPUS && delivered_opus(d, CONN, o)) {
		s->said[s->n++] = (struct said){ o->ssrc, o->seq, 100 };
	}
	assert_true(s->n < MAX_SAID);
}

/* The first `most` messages come back; how many there are. SIZE_MAX: all, to the call's end. */
static size_t live(const struct call_plan *c, struct kept *k, struct sum *s, struct delivered *d,
	uint32_t want, size_t most)
{
	struct ipc_msg m;
	struct unpack u;
	size_t n = 0, room;

	tell(&u, c, k, d, want);
	if (most == SIZE_MAX)
		unpack_plain(&u, IPC_CONN_CLOSE, CONN);
	for (size_t at = 0; at < u.to.len;) {
		uint8_t *to = ipc_reader_room(u.in, &room);

		room = room < u.to.len - at ? room : u.to.len - at;
		memcpy(to, u.to.buf + u.to.head + at, room);
		ipc_reader_fed(u.in, room);
		at += room;
		while (ipc_reader_next(u.in, &m) == 1)
			assert_int_equal(worker_message(&u.w, &m), TD_OK);
	}
	for (size_t at = 0; at < u.from.len;) {
		uint8_t *to = ipc_reader_room(u.back, &room);

		room = room < u.from.len - at ? room : u.from.len - at;
		memcpy(to, u.from.buf + u.from.head + at, room);
		ipc_reader_fed(u.back, room);
		at += room;
		while (ipc_reader_next(u.back, &m) == 1) {
			if (n++ >= most)
				continue;
			take(s, d, &m);
			if (m.hdr.type == IPC_PONG)
				on_pong(k, c, m.body);
		}
	}
	unpack_free(&u);
	return n;
}

/* ---- */

/* Whether a stream's next one of those that are compared is not this. */
static bool is_other(const struct said *s, uint32_t ssrc, bool no_made_up)
{
	return s->ssrc != ssrc ||
		(no_made_up && (s->kind == IPC_FRAME_FEC || s->kind == IPC_FRAME_CONCEALED));
}

static void same(const struct sum *a, const struct sum *b, const char *what, size_t at)
{
	for (int k = 0; k < 2; k++) {
		for (int i = 0; i < COUNTER_COUNT; i++) {
			if (i != COUNTER_TIME_JUMPS && a->count[k][i] != b->count[k][i])
				fail_msg("%s, %zu: %s is %" PRIu64 ", not %" PRIu64, what, at,
					td_counter_name((enum td_counter)i), b->count[k][i],
					a->count[k][i]);
		}
		check_accounts(b->count[k]);
	}
	/* In the order of each stream. */
	for (int k = 0; k < 2; k++) {
		uint32_t ssrc = k == 0 ? SSRC_A : SSRC_B;
		size_t x = 0, y = 0;
		/* A worker that knows less of the past may find a jump where there is none, and
		 * nothing is made up across one. */
		bool jumps = a->count[k][COUNTER_TIME_JUMPS] != b->count[k][COUNTER_TIME_JUMPS];

		for (;; x++, y++) {
			while (x < a->n && is_other(&a->said[x], ssrc, jumps))
				x++;
			while (y < b->n && is_other(&b->said[y], ssrc, jumps))
				y++;
			if (x == a->n || y == b->n)
				break;
			if (a->said[x].seq != b->said[y].seq || a->said[x].kind != b->said[y].kind)
				fail_msg("%s, %zu: packet %u came, not %u", what, at,
					b->said[y].seq, a->said[x].seq);
		}
		assert_true(x == a->n && y == b->n);
	}
}

static void die_everywhere(uint32_t want, bool decodes, size_t trials)
{
	static const enum td_counter some[] = { COUNTER_PADDING, COUNTER_DUPLICATE, COUNTER_LATE,
		COUNTER_LOST, COUNTER_UNDECODABLE, COUNTER_RESTARTED, COUNTER_DAVE_OPENED,
		COUNTER_DAVE_AUTH, COUNTER_DAVE_REFUSED, COUNTER_DAVE_REPLAY };
	static struct call_plan c;
	static struct sum whole, sum;
	uint64_t ever[COUNTER_COUNT] = { 0 };
	static struct kept kept;
	struct delivered d;
	uint32_t seed = 79;
	size_t trimmed = 0;

	for (size_t t = 0; t < trials; t++) {
		size_t messages, kills = 1 + t % MAX_KILLS;

		if (t % 20 == 0) {
			make_call(&c, 5 + (uint32_t)t);
			memset(&whole, 0, sizeof(whole));
			d = (struct delivered){ .decodes = decodes };
			kept.first = 0;
			live(&c, &kept, &whole, &d, want, SIZE_MAX);
			delivered_free(&d);
			for (size_t i = 0; i < COUNTER_COUNT; i++)
				ever[i] += whole.count[0][i] + whole.count[1][i];
		}
		memset(&sum, 0, sizeof(sum));
		d = (struct delivered){ .decodes = decodes };
		kept.first = 0;
		messages = whole.n;
		for (size_t k = 0; k < kills; k++) {
			messages =
				live(&c, &kept, &sum, &d, want, roll(&seed) % (messages / kills));
			trimmed += kept.first;
			delivered_worker_lost(&d, on_lost, &sum);
		}
		live(&c, &kept, &sum, &d, want, SIZE_MAX);
		delivered_free(&d);
		same(&whole, &sum, "trial", t);
	}
	assert_true(trimmed > trials * MAX_EVENTS / 10);
	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
		if (ever[some[i]] == 0)
			fail_msg("there is no %s", td_counter_name(some[i]));
}

static void packets(void **state)
{
	(void)state;
	die_everywhere(IPC_WANT_OPUS, false, 200);
}

static void sound(void **state)
{
	(void)state;
	die_everywhere(IPC_WANT_PCM, true, 40);
}

static void both(void **state)
{
	(void)state;
	die_everywhere(IPC_WANT_PCM | IPC_WANT_OPUS, true, 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets),
		cmocka_unit_test(sound),
		cmocka_unit_test(both),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
