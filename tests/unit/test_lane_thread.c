/* SPDX-License-Identifier: ISC */
/* The reading half of a lane, with a worker that says what it likes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ipc.h"
#include "common/map.h"
#include "receiver/lane_thread.h"

enum { CONN = 5, USER = 1001, SSRC = 70 };
#define NOW (1000 * TD_SEC_NS)

struct rig {
	struct lane_thread *thread;
	int write_fd;
	sem_t down;
	char why[64];
	atomic_uint samples, counted;
};

static void on_down(void *user, const char *why)
{
	struct rig *g = user;

	strncpy(g->why, why, sizeof(g->why) - 1);
	sem_post(&g->down);
}

static void on_sound(void *user, unsigned samples)
{
	struct rig *g = user;

	atomic_fetch_add(&g->samples, samples);
}

static void on_counted(void *user, const uint64_t delta[static COUNTER_COUNT])
{
	struct rig *g = user;

	(void)delta;
	atomic_fetch_add(&g->counted, 1);
}

static void on_failing(void *user, uint64_t conn, uint64_t user_id)
{
	(void)user;
	(void)conn;
	(void)user_id;
}

static int setup(void **state)
{
	static struct rig g;
	struct lane_thread_conf conf = {
		.ops = { .sound = on_sound, .counted = on_counted, .failing = on_failing },
		.user = &g,
		.decodes = true,
		.worker_down = on_down,
		.worker_user = &g
	};
	int fds[2];

	memset(&g, 0, sizeof(g));
	sem_init(&g.down, 0, 0);
	if (pipe(fds) < 0 || lane_thread_new(&g.thread, &conf) != 0)
		return -1;
	g.write_fd = fds[1];
	lane_thread_newest(g.thread, NOW);
	lane_thread_allow(g.thread, CONN, 0);
	lane_thread_worker(g.thread, fds[0]);
	*state = &g;
	return 0;
}

static int teardown(void **state)
{
	struct rig *g = *state;

	close(g->write_fd);
	lane_thread_free(g->thread);
	return 0;
}

static void begin(struct ipc_queue *q)
{
	const struct ipc_hello hello = { IPC_VERSION, sizeof(struct ipc_hdr) };

	ipc_queue_init(q);
	ipc_queue_put(q, IPC_READY, 0, &hello, sizeof(hello), NULL, 0);
}

/* Says what is in q and leaves. Returns why the thread let the worker go. */
static const char *say_all(struct rig *g, struct ipc_queue *q)
{
	struct timespec until;

	assert_int_equal(ipc_queue_write(q, g->write_fd), 0);
	ipc_queue_free(q);
	close(g->write_fd);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	assert_int_equal(sem_timedwait(&g->down, &until), 0);
	g->write_fd = open("/dev/null", O_WRONLY);
	return g->why;
}

/* One thing after READY. */
static const char *say(struct rig *g, enum ipc_type type, const void *body, size_t body_len,
	const void *data, size_t data_len)
{
	struct ipc_queue q;

	begin(&q);
	ipc_queue_put(&q, type, CONN, body, body_len, data, data_len);
	return say_all(g, &q);
}

static struct ipc_frame a_frame(uint64_t user_id)
{
	return (struct ipc_frame){ .user_id = user_id,
		.arrival_ns = NOW,
		.sent_ns = (int64_t)NOW,
		.ssrc = SSRC,
		.samples = 960,
		.channels = 1 };
}

static void who_was_told_may_be_named(void **state)
{
	const struct ipc_frame f = a_frame(USER);
	int16_t pcm[960] = { 0 };
	struct rig *g = *state;

	lane_thread_allow(g->thread, CONN, 2000);
	lane_thread_allow(g->thread, CONN, USER);
	lane_thread_allow(g->thread, CONN, USER);
	lane_thread_allow(g->thread, CONN + 1, 3);
	assert_string_equal(say(g, IPC_FRAME, &f, sizeof(f), pcm, sizeof(pcm)), "");
	assert_int_equal(g->samples, 960);
}

/* Nor is anybody taken for another who looks alike to a table of names. */
static void nor_may_one_that_hashes_as_they_do(void **state)
{
	uint64_t other = USER + 1, mask = 0xffff;
	struct ipc_frame f = a_frame(USER);
	int16_t pcm[960] = { 0 };
	struct rig *g = *state;
	struct ipc_queue q;

	while ((map_hash(CONN ^ other) & mask) != (map_hash(CONN ^ (uint64_t)USER) & mask))
		other++;
	lane_thread_allow(g->thread, CONN, USER);
	begin(&q);
	ipc_queue_put(&q, IPC_FRAME, CONN, &f, sizeof(f), pcm, sizeof(pcm));
	f.user_id = other;
	ipc_queue_put(&q, IPC_FRAME, CONN, &f, sizeof(f), pcm, sizeof(pcm));
	assert_string_equal(say_all(g, &q), "sent a malformed message");
	assert_int_equal(g->samples, 960);
}

/* Nor remembered: who was named a moment ago may not be any more. */
static void nobody_may_be_named_of_a_connection_that_is_closed(void **state)
{
	const struct ipc_frame f = a_frame(USER);
	int16_t pcm[960] = { 0 };
	struct rig *g = *state;
	struct lane_control *forget = calloc(1, sizeof(*forget));
	struct ipc_control echo;
	struct ipc_queue q;

	lane_thread_allow(g->thread, CONN, USER);
	forget->type = LANE_FORGET;
	forget->conn = CONN;
	echo.serial = lane_thread_post(g->thread, forget);
	begin(&q);
	for (int i = 0; i < 3; i++) {
		struct ipc_frame next = f;

		next.seq = (uint16_t)i;
		if (i == 2)
			ipc_queue_put(&q, IPC_CONTROL_ECHO, CONN, &echo, sizeof(echo), NULL, 0);
		ipc_queue_put(&q, IPC_FRAME, CONN, &next, sizeof(next), pcm, sizeof(pcm));
	}
	assert_string_equal(say_all(g, &q), "sent a malformed message");
	assert_int_equal(g->samples, 2 * 960);
}

static void nobody_may_be_unnamed(void **state)
{
	const struct ipc_frame f = a_frame(0);
	int16_t pcm[960] = { 0 };
	struct rig *g = *state;

	assert_string_equal(say(g, IPC_FRAME, &f, sizeof(f), pcm, sizeof(pcm)), "");
	assert_int_equal(g->samples, 960);
}

/* What came back is remembered for each connection: there are only those that there are. */
static void connections_that_are_none_may_not(void **state)
{
	const struct ipc_frame f = a_frame(0);
	int16_t pcm[960] = { 0 };
	struct rig *g = *state;
	struct ipc_queue q;

	begin(&q);
	ipc_queue_put(&q, IPC_FRAME, CONN, &f, sizeof(f), pcm, sizeof(pcm));
	ipc_queue_put(&q, IPC_FRAME, CONN + 1, &f, sizeof(f), pcm, sizeof(pcm));
	assert_string_equal(say_all(g, &q), "sent a malformed message");
	assert_int_equal(g->samples, 960);
}

static void others_may_not(void **state)
{
	const struct ipc_frame f = a_frame(USER);
	int16_t pcm[960] = { 0 };
	struct rig *g = *state;

	lane_thread_allow(g->thread, CONN, USER + 1);
	lane_thread_allow(g->thread, CONN + 1, USER);
	assert_string_not_equal(say(g, IPC_FRAME, &f, sizeof(f), pcm, sizeof(pcm)), "");
	assert_int_equal(g->samples, 0);
}

static void packets_of_others_may_not(void **state)
{
	const struct ipc_opus o = { .user_id = USER,
		.arrival_ns = NOW,
		.ssrc = SSRC,
		.samples = 960 };
	struct rig *g = *state;

	assert_string_not_equal(say(g, IPC_OPUS, &o, sizeof(o), "\xf8\xff\xfe", 3), "");
}

static void packets_of_another_length_may_not(void **state)
{
	const struct ipc_opus o = { .arrival_ns = NOW, .ssrc = SSRC, .samples = 480 };
	struct rig *g = *state;

	assert_string_not_equal(say(g, IPC_OPUS, &o, sizeof(o), "\xf8\xff\xfe", 3), "");
}

static void endless_losses_may_not(void **state)
{
	const struct ipc_opus o = { .arrival_ns = NOW,
		.ssrc = SSRC,
		.samples = 960,
		.lost = UINT32_MAX };
	struct rig *g = *state;

	assert_string_not_equal(say(g, IPC_OPUS, &o, sizeof(o), "\xf8\xff\xfe", 3), "");
}

static void counters_of_others_may_not(void **state)
{
	const struct ipc_counters c = { .user_id = USER, .ssrc = SSRC, .delta = { 1 } };
	struct rig *g = *state;

	assert_string_not_equal(say(g, IPC_COUNTERS, &c, sizeof(c), NULL, 0), "");
	assert_int_equal(g->counted, 0);
}

/* What was opened is told apart by it: numbers out of the air would push out the real ones. */
static void epochs_that_are_none_may_not(void **state)
{
	struct ipc_frame f = a_frame(0);
	int16_t pcm[960] = { 0 };
	struct rig *g = *state;
	struct ipc_queue q;

	lane_thread_epoch(g->thread, 3);
	f.flags = IPC_FRAME_DAVE_OPENED;
	begin(&q);
	for (f.epoch_no = 3; f.epoch_no <= 4; f.epoch_no++, f.seq++)
		ipc_queue_put(&q, IPC_FRAME, CONN, &f, sizeof(f), pcm, sizeof(pcm));
	assert_string_equal(say_all(g, &q), "sent a malformed message");
	assert_int_equal(g->samples, 960);
}

static void packets_of_epochs_that_are_none_may_not(void **state)
{
	const struct ipc_opus o = { .arrival_ns = NOW,
		.ssrc = SSRC,
		.samples = 960,
		.epoch_no = 1,
		.flags = IPC_FRAME_DAVE_OPENED };
	struct rig *g = *state;

	assert_string_not_equal(say(g, IPC_OPUS, &o, sizeof(o), "\xf8\xff\xfe", 3), "");
}

static void rtcp_that_is_none_may_not(void **state)
{
	const struct ipc_rtcp m = { .arrival_ns = NOW, .ssrc = SSRC };
	struct rig *g = *state;

	assert_string_not_equal(say(g, IPC_RTCP, &m, sizeof(m), "\xff\x00\x00\x00\x00", 5), "");
}

static void rtcp_is_fine(void **state)
{
	/* an empty receiver report */
	const uint8_t rr[] = { 0x80, 201, 0, 1, 0, 0, 0, SSRC };
	const struct ipc_rtcp m = { .arrival_ns = NOW, .ssrc = SSRC };
	struct rig *g = *state;

	assert_string_equal(say(g, IPC_RTCP, &m, sizeof(m), rr, sizeof(rr)), "");
}

static void rtcp_of_the_future_may_not(void **state)
{
	const uint8_t rr[] = { 0x80, 201, 0, 1, 0, 0, 0, SSRC };
	const struct ipc_rtcp m = { .arrival_ns = NOW + 1, .ssrc = SSRC };
	struct rig *g = *state;

	assert_string_not_equal(say(g, IPC_RTCP, &m, sizeof(m), rr, sizeof(rr)), "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_was_told_may_be_named),
		TEST(nor_may_one_that_hashes_as_they_do),
		TEST(nobody_may_be_named_of_a_connection_that_is_closed),
		TEST(nobody_may_be_unnamed),
		TEST(connections_that_are_none_may_not),
		TEST(others_may_not),
		TEST(packets_of_others_may_not),
		TEST(packets_of_another_length_may_not),
		TEST(endless_losses_may_not),
		TEST(counters_of_others_may_not),
		TEST(epochs_that_are_none_may_not),
		TEST(packets_of_epochs_that_are_none_may_not),
		TEST(rtcp_that_is_none_may_not),
		TEST(rtcp_is_fine),
		TEST(rtcp_of_the_future_may_not),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
