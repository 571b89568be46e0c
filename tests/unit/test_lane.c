/* SPDX-License-Identifier: ISC */
/* A lane with the unpacker of this build, or with a script in its place, and a real loop. */
#include <libgen.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ipc.h"
#include "common/rtp.h"
#include "common/transport.h"
#include "receiver/lane.h"

enum { CONN = 7, USER = 1001, SSRC = 0xa0a0 };
static const uint8_t silent[] = { 0xf8, 0xff, 0xfe };

struct rig {
	uv_loop_t loop;
	struct lane *lane;
	struct transport *t;
	char dir[64], program[PATH_MAX];
	unsigned untold, fatal;
	char how[512]; /* the latest */
	uint64_t lost_ns, sent_seq;
	atomic_uint lost, drained, opened, closed;
	atomic_uint_fast64_t samples, received, decoded, missing, overload;
};

/* ---- what the lane says ---- */

static void on_opened(void *user, uint64_t conn, int r)
{
	struct rig *g = user;

	(void)conn;
	(void)r;
	atomic_fetch_add(&g->opened, 1);
}

static void on_closed(void *user, uint64_t conn, int r)
{
	struct rig *g = user;

	(void)conn;
	(void)r;
	atomic_fetch_add(&g->closed, 1);
}

static void on_track(void *user, uint64_t conn, const struct sink_track_summary *track)
{
	(void)user;
	(void)conn;
	(void)track;
}

static void on_held_up(void *user, unsigned index, const char *sink, uint64_t ns)
{
	(void)user;
	(void)index;
	(void)sink;
	(void)ns;
}

static void on_event(void *user, uint64_t conn, const struct sink_event *event)
{
	(void)user;
	(void)conn;
	(void)event;
}

static void on_failing(void *user, uint64_t conn, uint64_t user_id)
{
	(void)user;
	(void)conn;
	(void)user_id;
}

static void on_counted(void *user, const uint64_t delta[static COUNTER_COUNT])
{
	struct rig *g = user;

	atomic_fetch_add(&g->received, delta[COUNTER_RECEIVED]);
	atomic_fetch_add(&g->decoded, delta[COUNTER_DECODED]);
	atomic_fetch_add(&g->missing, delta[COUNTER_LOST]);
}

static void on_sound(void *user, unsigned samples)
{
	struct rig *g = user;

	atomic_fetch_add(&g->samples, samples);
}

static void on_drained(void *user)
{
	struct rig *g = user;

	g->drained++;
}

static void on_lost(void *user, unsigned index, const char *how, bool fatal)
{
	struct rig *g = user;

	(void)index;
	g->lost++;
	g->fatal += fatal;
	g->lost_ns = td_mono_ns();
	snprintf(g->how, sizeof(g->how), "%s", how);
	if ((how = strstr(how, "; and ")) != NULL)
		g->untold += (unsigned)atoi(how + strlen("; and "));
}

/* ---- life ---- */

/* script: what takes the place of the unpacker, NULL: nothing does. */
static void rig_up(struct rig *g, const char *script, bool live)
{
	struct lane_conf conf = { .loop = &g->loop,
		.unpacker = g->program,
		.live = live,
		.want = IPC_WANT_PCM,
		.channels = 1,
		.reorder_ns = 100 * TD_MS_NS,
		.hold_ns = 2 * TD_SEC_NS,
		.ops = { on_opened, on_closed, on_track, on_event, on_failing, on_counted,
			on_sound },
		.user = g,
		.drained = on_drained,
		.worker_lost = on_lost,
		.held_up = on_held_up };
	static const uint8_t key[TRANSPORT_KEY_LEN];
	ssize_t n;

	memset(g, 0, sizeof(*g));
	assert_int_equal(uv_loop_init(&g->loop), 0);
	n = readlink("/proc/self/exe", g->program, sizeof(g->program) - 32);
	assert_true(n > 0);
	g->program[n] = '\0';
	dirname(dirname(g->program)); /* from the folder of tests to that of programs */
	strcat(g->program, "/unpacker");
	strcpy(g->dir, "/tmp/test_lane.XXXXXX");
	assert_non_null(mkdtemp(g->dir));
	if (script != NULL) {
		FILE *f;

		snprintf(g->program, sizeof(g->program), "%s/unpacker", g->dir);
		f = fopen(g->program, "w");
		assert_non_null(f);
		fputs(script, f);
		fclose(f);
		assert_int_equal(chmod(g->program, 0700), 0);
	}
	assert_int_equal(transport_new(&g->t, TRANSPORT_NONE, key), TD_OK);
	assert_int_equal(lane_new(&g->lane, &conf), TD_OK);
}

static void on_close(uv_handle_t *handle, void *user)
{
	(void)user;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void rig_down(struct rig *g)
{
	char command[128];

	lane_free(g->lane);
	uv_walk(&g->loop, on_close, NULL);
	uv_run(&g->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&g->loop), 0);
	transport_free(g->t);
	snprintf(command, sizeof(command), "rm -rf %s", g->dir);
	assert_int_equal(system(command), 0);
}

/* Turns the loop for so long, or until *until has reached n. */
static void turn(struct rig *g, unsigned ms, const void *until, uint64_t n, bool wide)
{
	uint64_t from = td_mono_ns(), watched = from;

	while (td_mono_ns() - from < ms * TD_MS_NS) {
		uint64_t now_ns = td_mono_ns();

		if (until != NULL &&
			(wide ? atomic_load((const atomic_uint_fast64_t *)until)
			      : atomic_load((const atomic_uint *)until)) >= n)
			return;
		if (now_ns - watched > 250 * TD_MS_NS) {
			lane_watch(g->lane, now_ns);
			watched = now_ns;
		}
		lane_flush(g->lane);
		uv_run(&g->loop, UV_RUN_NOWAIT);
		usleep(500);
	}
}

static void until_lost(struct rig *g, unsigned n, unsigned ms)
{
	turn(g, ms, &g->lost, n, false);
	assert_int_equal(g->lost, n);
}

static void until_decoded(struct rig *g, uint64_t packets)
{
	turn(g, 10000, &g->samples, packets * 960, true);
	assert_int_equal(atomic_load(&g->samples), packets * 960);
}

static void control(struct rig *g, enum lane_control_type type)
{
	struct lane_control *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->type = type;
	c->at_ns = TD_REPLAY_BASE_NS;
	c->conf.out_dir = g->dir;
	c->conf.name = "s";
	lane_control(g->lane, CONN, c);
}

/* A connection with its key and its speaker. */
static void connect_to(struct rig *g)
{
	static const uint8_t key[TRANSPORT_KEY_LEN];

	assert_int_equal(lane_conn_open(g->lane, CONN), TD_OK);
	lane_conn_key(g->lane, CONN, TRANSPORT_NONE, 0, key);
	lane_conn_speaker(g->lane, CONN, USER, SSRC);
}

/* The next `n` packets, 20 ms apart. */
static void send_packets(struct rig *g, unsigned n)
{
	uint8_t header[RTP_MIN_HEADER], packet[IPC_MAX_DGRAM];

	for (; n > 0; n--, g->sent_seq++) {
		size_t len;

		rtp_write(header, RTP_OPUS_PAYLOAD_TYPE, (uint16_t)(65000 + g->sent_seq),
			(uint32_t)(g->sent_seq * 960), SSRC);
		len = transport_seal(g->t, packet, header, sizeof(header), silent, sizeof(silent),
			1);
		lane_packet(g->lane, CONN, TD_REPLAY_BASE_NS + g->sent_seq * 20 * TD_MS_NS, packet,
			len);
	}
}

static void flush(struct rig *g)
{
	lane_conn_flush(g->lane, CONN);
	lane_conn_open(g->lane, CONN + 1); /* a second one, for the sake of it */
	lane_conn_close(g->lane, CONN + 1);
}

/* Our only child. */
static pid_t worker(void)
{
	char path[64], line[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	f = fopen(path, "r");
	assert_non_null(f);
	if (fgets(line, sizeof(line), f) == NULL)
		line[0] = '\0';
	fclose(f);
	return (pid_t)atoi(line);
}

/* ---- the unpacker ---- */

static void nothing_is_lost_nor_twice(void **state)
{
	(void)state;
	for (unsigned kill_at = 0; kill_at < 6; kill_at++) {
		struct rig g;

		rig_up(&g, NULL, kill_at % 2 == 0);
		connect_to(&g);
		for (unsigned i = 0; i < 6; i++) {
			send_packets(&g, 100);
			if (i == kill_at) {
				turn(&g, kill_at * 3, NULL, 0, false);
				kill(worker(), SIGKILL);
				until_lost(&g, 1, 2000);
				assert_string_equal(g.how, "killed by signal 9");
			}
		}
		flush(&g);
		until_decoded(&g, 600);
		turn(&g, 50, NULL, 0, false);
		assert_int_equal(atomic_load(&g.samples), 600 * 960);
		assert_int_equal(atomic_load(&g.received), 600);
		assert_int_equal(atomic_load(&g.decoded), 600);
		assert_int_equal(atomic_load(&g.missing), 0);
		rig_down(&g);
	}
}

/* The flush had gone down, and its packets had not come back. */
static void killed_behind_a_flush(void **state)
{
	struct rig g;

	(void)state;
	rig_up(&g, NULL, false);
	connect_to(&g);
	turn(&g, 100, NULL, 0, false);
	kill(worker(), SIGSTOP);
	send_packets(&g, 300);
	flush(&g);
	turn(&g, 20, NULL, 0, false);
	kill(worker(), SIGKILL);
	until_decoded(&g, 300);
	/* What is behind the flush is behind it now, too: nothing of it comes again. */
	send_packets(&g, 10);
	flush(&g);
	until_decoded(&g, 310);
	kill(worker(), SIGKILL);
	until_lost(&g, 2, 2000);
	turn(&g, 100, NULL, 0, false);
	assert_int_equal(atomic_load(&g.samples), 310 * 960);
	assert_int_equal(atomic_load(&g.received), 310);
	rig_down(&g);
}

/* A session that has ended, and another one on the same connection. */
static void of_an_ended_session_nothing_comes_again(void **state)
{
	struct rig g;

	(void)state;
	rig_up(&g, NULL, false);
	connect_to(&g);
	control(&g, LANE_SESSION_OPEN);
	send_packets(&g, 100);
	flush(&g);
	control(&g, LANE_SESSION_CLOSE);
	turn(&g, 5000, &g.closed, 1, false);
	assert_int_equal(atomic_load(&g.closed), 1);
	assert_int_equal(atomic_load(&g.samples), 100 * 960);
	kill(worker(), SIGKILL);
	until_lost(&g, 1, 2000);
	send_packets(&g, 50);
	flush(&g);
	until_decoded(&g, 150);
	turn(&g, 100, NULL, 0, false);
	assert_int_equal(atomic_load(&g.samples), 150 * 960);
	assert_int_equal(atomic_load(&g.received), 150);
	rig_down(&g);
}

static void hangs(void **state)
{
	struct rig g;
	uint64_t from;

	(void)state;
	rig_up(&g, NULL, true);
	connect_to(&g);
	send_packets(&g, 50);
	turn(&g, 100, NULL, 0, false);
	from = td_mono_ns();
	kill(worker(), SIGSTOP);
	until_lost(&g, 1, 4000);
	/* Not at once: it may be starved. When at the latest is the machine's affair
	 * (docs/TESTING.md). */
	assert_true(td_mono_ns() - from >= 900 * TD_MS_NS);
	assert_non_null(strstr(g.how, "did not answer"));
	send_packets(&g, 50);
	flush(&g);
	until_decoded(&g, 100);
	rig_down(&g);
}

/* Twenty in two seconds and more: they come more slowly, few are told, none is given up. */
static void killed_again_and_again(void **state)
{
	unsigned kills = 0, roll = 0;
	struct rig g;
	uint64_t from;
	pid_t last = 0;

	(void)state;
	rig_up(&g, NULL, true);
	connect_to(&g);
	from = td_mono_ns();
	while (td_mono_ns() - from < 2500 * TD_MS_NS) {
		pid_t now = worker();

		if (roll++ % 16 == 0)
			send_packets(&g, 1);
		if (now > 0 && now != last) {
			kill(now, SIGKILL);
			last = now;
			kills++;
		}
		turn(&g, 1, NULL, 0, false);
	}
	assert_in_range(kills, 8, 14);
	assert_in_range(g.lost, 3, 9);
	assert_int_equal(g.fatal, 0);
	flush(&g);
	until_decoded(&g, g.sent_seq);
	turn(&g, 1200, NULL, 0, false);
	assert_true(g.untold > 0);
	assert_int_equal(g.lost + g.untold, kills);
	assert_int_equal(atomic_load(&g.missing), 0);
	rig_down(&g);
}

/* Without room for a worker's pipes there is none, rather than one with descriptors of ours. */
static void no_descriptors_for_its_pipes(void **state)
{
	struct rlimit was, few;
	struct rig g;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	few = was;
	few.rlim_cur = 16;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	rig_up(&g, NULL, true);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	until_lost(&g, 1, 4000);
	assert_non_null(strstr(g.how, "exit status 127"));
	connect_to(&g);
	send_packets(&g, 50);
	flush(&g);
	until_decoded(&g, 50);
	rig_down(&g);
}

/* While there is none, a source that can wait does. */
static void no_worker_is_congestion(void **state)
{
	struct rig g;

	(void)state;
	rig_up(&g, NULL, false);
	connect_to(&g);
	turn(&g, 100, NULL, 0, false);
	assert_false(lane_congested(g.lane));
	for (unsigned i = 1; i <= 3; i++) {
		pid_t now = worker();

		kill(now, SIGKILL);
		while (worker() == now || worker() <= 0)
			turn(&g, 1, NULL, 0, false);
	}
	kill(worker(), SIGKILL); /* the fourth is 20 ms late */
	for (unsigned i = 0; i < 1000 && !lane_congested(g.lane); i++) {
		uv_run(&g.loop, UV_RUN_NOWAIT);
		usleep(100);
	}
	assert_true(lane_congested(g.lane));
	g.drained = 0;
	turn(&g, 2000, &g.drained, 1, false);
	assert_int_equal(g.drained, 1);
	assert_false(lane_congested(g.lane));
	rig_down(&g);
}

/* ---- what is not the unpacker ---- */

static void given_up(void **state)
{
	static const struct {
		const char *script, *how;
	} cases[] = {
		{ "#!/bin/sh\nexit 3\n", "exit status 3" },
		{ "#!/bin/sh\nexit 0\n", "exit status 0" },
		{ "#!/bin/sh\nkill -SEGV $$\n", "killed by signal 11" },
		{ "#!/bin/sh\nexec head -c 100000 /dev/urandom >&4\n", "malformed message" },
		/* a READY for another version; half a header, and its end */
		{ "#!/bin/sh\nprintf '\\010\\0\\0\\0\\100\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\377\\0\\0\\0\\020\\0\\0\\0' >&4; "
		  "exec cat <&3 >/dev/null\n",
			"malformed message" },
		{ "#!/bin/sh\nprintf '\\010\\0\\0\\0\\100\\0' >&4; exit 1\n", "exit status 1" },
		{ "#!/nowhere/to/be/found\n", "cannot be executed" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig g;

		rig_up(&g, cases[i].script, true);
		connect_to(&g);
		control(&g, LANE_SESSION_OPEN);
		control(&g, LANE_SESSION_CLOSE);
		send_packets(&g, 20);
		turn(&g, 10000, &g.fatal, 1, false);
		assert_int_equal(g.fatal, 1);
		assert_true(lane_abandoned(g.lane));
		assert_non_null(strstr(g.how, cases[i].how));
		/* What was recorded is finished, whatever comes. */
		turn(&g, 2000, &g.closed, 1, false);
		assert_int_equal(atomic_load(&g.closed), 1);
		control(&g, LANE_SESSION_OPEN);
		turn(&g, 2000, &g.opened, 2, false);
		assert_int_equal(atomic_load(&g.opened), 2);
		send_packets(&g, 20);
		assert_false(lane_congested(g.lane));
		rig_down(&g);
	}
}

/* It begins well and dies of a packet: the packets are dropped, and the next one lives. */
static void a_packet_that_kills(void **state)
{
	char script[PATH_MAX + 256], real[PATH_MAX];
	struct rig g;

	(void)state;
	rig_up(&g, NULL, true);
	strcpy(real, g.program);
	rig_down(&g);
	/* As long as what is told it is long, it dies of it. */
	snprintf(script, sizeof(script),
		"#!/bin/bash\nn=$(head -c 1000 <&3 | wc -c)\n[ \"$n\" -lt 1000 ] || kill -SEGV $$\n"
		"exit 9\n");
	rig_up(&g, script, true);
	connect_to(&g);
	send_packets(&g, 200);
	turn(&g, 1500, NULL, 0, false);
	assert_int_equal(g.fatal, 0);
	assert_true(g.lost >= 2 && g.lost <= 3);
	assert_non_null(strstr(g.how, "signal 11"));
	/* The last one was told little, and waits for more. */
	assert_true(worker() > 0);
	rig_down(&g);
}

static void none_at_all(void **state)
{
	struct lane_conf conf = { .unpacker = "/nowhere/to/be/found", .channels = 1 };
	uv_loop_t loop;
	struct lane *l;

	(void)state;
	uv_loop_init(&loop);
	conf.loop = &loop;
	assert_int_equal(lane_new(&l, &conf), TD_ERR_SYS);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_nor_twice),
		cmocka_unit_test(killed_behind_a_flush),
		cmocka_unit_test(of_an_ended_session_nothing_comes_again),
		cmocka_unit_test(hangs),
		cmocka_unit_test(killed_again_and_again),
		cmocka_unit_test(no_descriptors_for_its_pipes),
		cmocka_unit_test(no_worker_is_congestion),
		cmocka_unit_test(given_up),
		cmocka_unit_test(a_packet_that_kills),
		cmocka_unit_test(none_at_all),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
