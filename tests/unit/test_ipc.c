/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/ipc.h"

/* Every type with the sizes of the list. */
static const struct type {
	enum ipc_type type;
	enum ipc_dir dir;
	const char *name;
	size_t fixed, max_data;
} types[] = {
#define X(name, no, dir, fixed, data) { IPC_##name, dir, #name, sizeof(fixed), data },
	IPC_MESSAGES(X)
#undef X
};
enum { TYPES = sizeof(types) / sizeof(types[0]) };

static void fill(uint8_t *out, size_t len, unsigned seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		out[i] = (uint8_t)(seed * 31 + i * 7);
}

/* One message of a type: contents told by `seed`, data_len of data. */
static void put(struct ipc_queue *q, const struct type *t, size_t data_len, unsigned seed)
{
	static uint8_t body[1024], data[IPC_MAX_MSG];

	fill(body, t->fixed, seed);
	fill(data, data_len, seed + 1);
	assert_int_equal(ipc_queue_put(q, t->type, 1000 + seed, body, t->fixed, data, data_len),
		TD_OK);
}

static void expect(const struct ipc_msg *m, const struct type *t, size_t data_len, unsigned seed)
{
	static uint8_t body[1024], data[IPC_MAX_MSG];

	fill(body, t->fixed, seed);
	fill(data, data_len, seed + 1);
	assert_int_equal(m->hdr.type, t->type);
	assert_int_equal(m->hdr.conn, 1000 + seed);
	assert_int_equal((uintptr_t)m->body % 8, 0);
	assert_memory_equal(m->body, body, t->fixed);
	assert_int_equal(m->data_len, data_len);
	assert_memory_equal(m->data, data, data_len);
}

static struct ipc_reader *reader(enum ipc_dir dir)
{
	struct ipc_reader *r;

	assert_int_equal(ipc_reader_new(&r, dir), TD_OK);
	return r;
}

/* Moves up to n bytes from the queue's buffer to the reader; returns how many. */
static size_t feed(struct ipc_reader *r, const uint8_t *from, size_t len, size_t n)
{
	size_t room;
	uint8_t *to = ipc_reader_room(r, &room);

	assert_true(room > 0);
	n = n < room ? n : room;
	n = n < len ? n : len;
	memcpy(to, from, n);
	ipc_reader_fed(r, n);
	return n;
}

/* All types of a direction, each empty, with a little data and with as much as it takes, arrive
 * whole however the bytes are cut. */
static void messages_survive_any_cut(void **state)
{
	static const size_t steps[] = { 1, 3, 8, 17, 4096, 65536, 1 << 20 };
	size_t i, s, at;
	int dir;

	(void)state;
	for (dir = IPC_TO_WORKER; dir <= IPC_TO_RECEIVER; dir++) {
		struct ipc_queue q;
		size_t lens[TYPES * 3], n = 0;
		const struct type *of[TYPES * 3];

		ipc_queue_init(&q);
		for (i = 0; i < TYPES * 3; i++) {
			const struct type *t = &types[i / 3];

			if (t->dir != (enum ipc_dir)dir)
				continue;
			of[n] = t;
			lens[n] = i % 3 == 0 ? 0 : i % 3 == 1 ? t->max_data / 3 : t->max_data;
			put(&q, t, lens[n], (unsigned)n);
			n++;
		}
		for (s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
			struct ipc_reader *r = reader((enum ipc_dir)dir);
			struct ipc_msg m;
			size_t got = 0;
			int e;

			for (at = 0; at < q.len;) {
				at += feed(r, q.buf + at, q.len - at, steps[s]);
				while ((e = ipc_reader_next(r, &m)) == 1) {
					assert_true(got < n);
					expect(&m, of[got], lens[got], (unsigned)got);
					got++;
				}
				assert_int_equal(e, 0);
			}
			assert_int_equal(got, n);
			ipc_reader_free(r);
		}
		ipc_queue_free(&q);
	}
}

static void a_broken_message_breaks_the_reader(void **state)
{
	static const struct {
		const char *name;
		struct ipc_hdr hdr;
		enum ipc_dir dir;
	} cases[] = {
		{ "no such type", { 0, 0, 0, 0 }, IPC_TO_WORKER },
		{ "no such type", { 8, 13, 0, 1 }, IPC_TO_WORKER },
		{ "no such type", { 8, 65535, 0, 1 }, IPC_TO_RECEIVER },
		{ "wrong way", { 8, IPC_TICK, 0, 0 }, IPC_TO_RECEIVER },
		{ "wrong way", { 8, IPC_PONG, 0, 0 }, IPC_TO_WORKER },
		{ "zero is not zero", { 8, IPC_TICK, 1, 0 }, IPC_TO_WORKER },
		{ "short", { 7, IPC_TICK, 0, 0 }, IPC_TO_WORKER },
		{ "data where there is none", { 9, IPC_TICK, 0, 0 }, IPC_TO_WORKER },
		{ "key cut", { 39, IPC_KEY, 0, 1 }, IPC_TO_WORKER },
		{ "oversize", { sizeof(struct ipc_packet) + IPC_MAX_DGRAM + 1, IPC_PACKET, 0, 1 },
			IPC_TO_WORKER },
		{ "oversize", { UINT32_MAX, IPC_PACKET, 0, 1 }, IPC_TO_WORKER },
		{ "oversize", { sizeof(struct ipc_frame) + IPC_MAX_PCM + 1, IPC_FRAME, 0, 1 },
			IPC_TO_RECEIVER },
		{ "oversize", { 4 + IPC_MAX_LOG + 1, IPC_LOG, 0, 0 }, IPC_TO_RECEIVER },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ipc_reader *r = reader(cases[i].dir);
		struct ipc_queue q;
		struct ipc_msg m;
		unsigned ok = cases[i].dir == IPC_TO_WORKER ? IPC_PING : IPC_PONG;
		const struct ipc_pong pong = { 0 };

		print_message("%s\n", cases[i].name);
		ipc_queue_init(&q);
		assert_int_equal(ipc_queue_put(&q, (enum ipc_type)ok, 0, &pong,
					 ok == IPC_PONG ? sizeof(pong) : 0, NULL, 0),
			TD_OK);
		feed(r, q.buf, q.len, q.len);
		/* Its header alone is enough to tell. */
		feed(r, (const uint8_t *)&cases[i].hdr, sizeof(cases[i].hdr), 64);
		assert_int_equal(ipc_reader_next(r, &m), 1);
		assert_int_equal(ipc_reader_next(r, &m), TD_ERR_MALFORMED);
		feed(r, q.buf, q.len, q.len);
		assert_int_equal(ipc_reader_next(r, &m), TD_ERR_MALFORMED);
		ipc_queue_free(&q);
		ipc_reader_free(r);
	}
}

/* A key is nowhere in the reader once the next message was asked for, whole or in pieces. */
static void keys_do_not_stay_behind(void **state)
{
	static const size_t steps[] = { 1, 24, 1000 };
	const struct ipc_dave_epoch epoch = { .epoch = 1 };
	struct ipc_dave_sender sender = { .user_id = 1 };
	struct ipc_key key = { .mode = 1 };
	struct ipc_queue q;
	struct ipc_msg m;
	size_t s, at, room;

	(void)state;
	memset(key.key, 0xa5, sizeof(key.key));
	memset(sender.secret, 0xa5, sizeof(sender.secret));
	ipc_queue_init(&q);
	ipc_queue_put(&q, IPC_PING, 0, NULL, 0, NULL, 0);
	ipc_queue_put(&q, IPC_KEY, 1, &key, sizeof(key), NULL, 0);
	ipc_queue_put(&q, IPC_DAVE_EPOCH, 1, &epoch, sizeof(epoch), &sender, sizeof(sender));
	ipc_queue_put(&q, IPC_PING, 0, NULL, 0, NULL, 0);
	for (s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
		struct ipc_reader *r = reader(IPC_TO_WORKER);
		const uint8_t *buf = ipc_reader_room(r, &room);
		int keys = 0;

		memset(ipc_reader_room(r, &room), 0, room);
		for (at = 0; at < q.len;) {
			at += feed(r, q.buf + at, q.len - at, steps[s]);
			while (ipc_reader_next(r, &m) == 1) {
				if (m.hdr.type != IPC_KEY)
					continue;
				assert_memory_equal(m.body, &key, sizeof(key));
				keys++;
			}
		}
		assert_int_equal(keys, 1);
		for (at = 0; at < room; at++)
			assert_int_not_equal(buf[at], 0xa5);
		ipc_reader_free(r);
	}
	/* Nor in a queue, once it was written. */
	{
		int fd = open("/dev/null", O_WRONLY);

		assert_int_equal(ipc_queue_write(&q, fd), 0);
		for (at = 0; at < q.cap; at++)
			assert_int_not_equal(q.buf[at], 0xa5);
		close(fd);
	}
	ipc_queue_free(&q);
}

struct shed_count {
	size_t by_conn[8];
};

static void count_shed(void *user, uint64_t conn)
{
	struct shed_count *c = user;

	assert_true(conn < 8);
	c->by_conn[conn]++;
}

static const struct type *type_of(enum ipc_type no)
{
	size_t i;

	for (i = 0; types[i].type != no; i++)
		;
	return &types[i];
}

/* A queue of packets with a control after every third; serials count up. */
static void put_mixed(struct ipc_queue *q, unsigned packets)
{
	struct ipc_packet p;
	struct ipc_control c = { 0 };
	uint8_t data[160] = { 0x77 };
	unsigned i;

	for (i = 0; i < packets; i++) {
		p.arrival_ns = i;
		assert_int_equal(ipc_queue_put(q, IPC_PACKET, i % 4 + 1, &p, sizeof(p), data,
					 sizeof(data)),
			TD_OK);
		if (i % 3 == 2) {
			c.serial++;
			assert_int_equal(ipc_queue_put(q, IPC_CONTROL, 5, &c, sizeof(c), NULL, 0),
				TD_OK);
		}
	}
}

/* Through a pipe that takes a piece at a time, cut anywhere, with shedding in between: what comes
 * out is well formed, the controls are all there and in order, the packets are the newest ones and
 * none is unaccounted for. */
static void shedding_keeps_controls_and_the_torn_message(void **state)
{
	size_t cut;

	(void)state;
	for (cut = 1; cut < 600; cut += 13) {
		struct ipc_reader *r = reader(IPC_TO_WORKER);
		struct shed_count dropped = { { 0 } };
		uint64_t serial = 0, last = 0;
		struct ipc_queue q;
		struct ipc_msg m;
		size_t shed, packets = 0, room, first_left = 0;
		int fds[2], e;

		ipc_queue_init(&q);
		put_mixed(&q, 60);
		assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
		/* Leaves room for `cut` bytes and no more: the write tears a message. */
		{
			static const uint8_t junk[4096];
			size_t size = (size_t)fcntl(fds[1], F_SETPIPE_SZ, 4096), i;
			uint8_t drain[4096];

			for (i = 0; i < size; i += sizeof(junk))
				assert_int_equal(write(fds[1], junk, sizeof(junk)), 4096);
			assert_int_equal(ipc_queue_write(&q, fds[1]), 1);
			assert_int_equal(read(fds[0], drain, sizeof(drain)), 4096);
			/* A real pipe takes whole pages; the torn write is made by hand. */
			memcpy(ipc_reader_room(r, &room), q.buf + q.head, cut);
			ipc_reader_fed(r, cut);
			q.head += cut;
			q.len -= cut;
			for (i = 0; i < cut;) {
				struct ipc_hdr h;

				memcpy(&h, q.buf + i, sizeof(h));
				i += sizeof(h) + ((h.len + 7) & ~7u);
				q.torn = i - cut;
			}
		}
		shed = ipc_queue_shed(&q, 4000, count_shed, &dropped);
		assert_true(shed > 0);
		assert_true(q.len <= 4000);
		assert_true(q.len > 4000 - 200);
		assert_int_equal(dropped.by_conn[1] + dropped.by_conn[2] + dropped.by_conn[3] +
				dropped.by_conn[4],
			shed);
		assert_int_equal(dropped.by_conn[5], 0);
		while (q.len > 0) {
			uint8_t *to = ipc_reader_room(r, &room);
			ssize_t n;

			e = ipc_queue_write(&q, fds[1]);
			assert_true(e == 0 || e == 1);
			n = read(fds[0], to, room);
			assert_true(n > 0);
			ipc_reader_fed(r, (size_t)n);
		}
		while ((e = ipc_reader_next(r, &m)) == 1) {
			if (m.hdr.type == IPC_CONTROL) {
				struct ipc_control c;

				memcpy(&c, m.body, sizeof(c));
				assert_int_equal(c.serial, ++serial);
				continue;
			}
			{
				struct ipc_packet p;

				memcpy(&p, m.body, sizeof(p));
				packets++;
				if (packets > 1)
					assert_true(p.arrival_ns > last);
				/* Behind the ones that had left, no hole but the one. */
				if (packets > 1 && p.arrival_ns != last + 1)
					first_left++;
				last = p.arrival_ns;
			}
		}
		assert_int_equal(e, 0);
		assert_int_equal(serial, 20);
		assert_int_equal(packets + shed, 60);
		assert_int_equal(last, 59);
		assert_true(first_left <= 1);
		close(fds[0]);
		close(fds[1]);
		ipc_queue_free(&q);
		ipc_reader_free(r);
	}
}

static void shedding_stops_when_it_is_enough(void **state)
{
	struct shed_count dropped = { { 0 } };
	struct ipc_queue q;
	size_t len;

	(void)state;
	ipc_queue_init(&q);
	assert_int_equal(ipc_queue_shed(&q, 0, count_shed, &dropped), 0);
	put_mixed(&q, 6);
	len = q.len;
	assert_int_equal(ipc_queue_shed(&q, len, count_shed, &dropped), 0);
	assert_int_equal(q.len, len);
	assert_int_equal(ipc_queue_shed(&q, len - 1, count_shed, &dropped), 1);
	assert_int_equal(dropped.by_conn[1], 1); /* the oldest */
	/* Controls stay, bound or not. */
	assert_int_equal(ipc_queue_shed(&q, 0, count_shed, &dropped), 5);
	assert_int_equal(q.len, 2 * (sizeof(struct ipc_hdr) + sizeof(struct ipc_control)));
	ipc_queue_free(&q);
}

/* 40 MB go through a queue and a pipe with neither end in step. */
static void a_big_queue_drains_in_order(void **state)
{
	struct ipc_reader *r = reader(IPC_TO_RECEIVER);
	const struct type *t = type_of(IPC_FRAME);
	unsigned in = 0, out = 0, total = 4000;
	struct ipc_queue q;
	struct ipc_msg m;
	int fds[2];

	(void)state;
	ipc_queue_init(&q);
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	while (out < total) {
		unsigned burst;
		size_t room;
		uint8_t *to;
		ssize_t n;

		for (burst = 0; burst < 9 && in < total; burst++, in++)
			put(&q, t, (in * 977) % IPC_MAX_PCM, in);
		assert_true(ipc_queue_write(&q, fds[1]) >= 0);
		to = ipc_reader_room(r, &room);
		n = read(fds[0], to, room);
		assert_true(n > 0 || (n < 0 && errno == EAGAIN));
		if (n > 0)
			ipc_reader_fed(r, (size_t)n);
		while (ipc_reader_next(r, &m) == 1) {
			expect(&m, t, (out * 977) % IPC_MAX_PCM, out);
			out++;
		}
	}
	assert_int_equal(in, total);
	assert_int_equal(q.len, 0);
	assert_int_equal(q.cap, 0); /* what it took to be so big */
	close(fds[0]);
	close(fds[1]);
	ipc_queue_free(&q);
	ipc_reader_free(r);
}

/* A backlog that stays does not make every message cost a copy of it. */
static void a_standing_backlog_is_cheap(void **state)
{
	const struct type *t = type_of(IPC_PACKET);
	struct ipc_queue q;
	unsigned i, moves = 0;
	uint8_t *buf = NULL;
	size_t head = 0;

	(void)state;
	ipc_queue_init(&q);
	for (i = 0; i < 20000; i++) {
		put(&q, t, 1000, i);
		if (q.buf != buf || q.head < head)
			moves++;
		buf = q.buf;
		if (q.len > 1000000) { /* what a write does, one message at a time */
			q.head += 1024;
			q.len -= 1024;
		}
		head = q.head;
	}
	assert_true(moves < 40);
	assert_true(q.cap <= 8 * 1000000);
	ipc_queue_free(&q);
}

static void room_is_written_in_place(void **state)
{
	struct ipc_frame f = { .ssrc = 9, .samples = 120, .channels = 1 };
	struct ipc_reader *r = reader(IPC_TO_RECEIVER);
	struct ipc_queue q;
	struct ipc_msg m;
	uint8_t *room;

	(void)state;
	ipc_queue_init(&q);
	room = ipc_queue_put_room(&q, IPC_FRAME, 7, &f, sizeof(f), 240);
	assert_non_null(room);
	assert_int_equal((uintptr_t)room % 8, 0);
	memset(room, 0x5a, 240);
	/* Lengths that are no multiple of 8 are followed by zeros. */
	assert_int_equal(ipc_queue_put(&q, IPC_LOG, 0, &(struct ipc_log){ 2 },
				 sizeof(struct ipc_log), "hey", 3),
		TD_OK);
	assert_int_equal(q.len % 8, 0);
	feed(r, q.buf, q.len, q.len);
	assert_int_equal(ipc_reader_next(r, &m), 1);
	assert_int_equal(m.data_len, 240);
	assert_int_equal(m.data[239], 0x5a);
	assert_int_equal(ipc_reader_next(r, &m), 1);
	assert_int_equal(m.data_len, 3);
	assert_memory_equal(m.data, "hey", 3);
	assert_int_equal(m.data[3], 0);
	assert_int_equal(ipc_reader_next(r, &m), 0);
	ipc_queue_free(&q);
	ipc_reader_free(r);
}

static void a_closed_pipe_is_a_peer_that_left(void **state)
{
	struct ipc_queue q;
	int fds[2];

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	ipc_queue_init(&q);
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	put_mixed(&q, 1);
	assert_int_equal(ipc_queue_write(&q, fds[1]), TD_ERR_PEER_GONE);
	close(fds[1]);
	assert_int_equal(ipc_queue_write(&q, fds[1]), TD_ERR_SYS);
	ipc_queue_free(&q);
}

static void types_have_names(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < TYPES; i++)
		assert_string_equal(ipc_type_name((uint16_t)types[i].type), types[i].name);
	assert_string_equal(ipc_type_name(0), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_survive_any_cut),
		cmocka_unit_test(a_broken_message_breaks_the_reader),
		cmocka_unit_test(keys_do_not_stay_behind),
		cmocka_unit_test(shedding_keeps_controls_and_the_torn_message),
		cmocka_unit_test(shedding_stops_when_it_is_enough),
		cmocka_unit_test(a_big_queue_drains_in_order),
		cmocka_unit_test(a_standing_backlog_is_cheap),
		cmocka_unit_test(room_is_written_in_place),
		cmocka_unit_test(a_closed_pipe_is_a_peer_that_left),
		cmocka_unit_test(types_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
