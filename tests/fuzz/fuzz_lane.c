/* SPDX-License-Identifier: ISC */
/*
 * The receiving half of a lane under a worker that has been taken over: what the bytes say comes up
 * a real pipe to a real lane thread, whose sessions write real files. The script is of two parties:
 * the worker, who may say anything in any shape, and the network thread, which posts controls and
 * replaces workers. Whatever was said, every session that opened closes, and its WAV and FLAC files
 * are as long as their tracks are said to be.
 */
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <semaphore.h>
#include <signal.h>
#include <sndfile.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/opus_packet.h"
#include "common/rtcp.h"
#include "receiver/lane_thread.h"
#include "sinks/host.h"
#include "sinks/outfile.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define START TD_REPLAY_BASE_NS

enum { CONNS = 2, STEPS_MAX = 600, WORKERS_MAX = 8, SAID_MAX = 1 << 20, FILES_MAX = 4096 };

static const char *const specs[] = {
	"file",
	"file:format=flac+opus,channels=1",
	"segments:format=wav",
	"file:format=opus",
	"file:format=mp3+pcm",
	"file:format=flac,split=2,max-silence=1",
	"segments:format=opus",
	"file:format=opus+wav,split=1",
};

struct rig {
	struct lane_thread *thread;
	struct rd script;
	struct sink_spec *spec;
	int fd; /* of the worker's end of the reply pipe; -1: it is gone */
	uint8_t said[SAID_MAX];
	size_t said_len;
	uint64_t serial, echoed; /* posted, and said back */
	bool posted_open[CONNS];
	uint32_t rtp_ts;
	uint16_t seq;
	uint64_t arrival_ns;
	unsigned workers;
	sem_t down, closed;
	atomic_uint opens, opened, closes, tracks;
};

static char dir[64];
static atomic_uint_fast64_t clock_ns;

/* In the place of common/clock.c: time is the script's. */
uint64_t td_mono_ns(void)
{
	return atomic_load(&clock_ns);
}

uint64_t td_utc_ns(void)
{
	return 1700000000 * TD_SEC_NS + atomic_load(&clock_ns);
}

static int no_fsync(int fd)
{
	(void)fd;
	return 0;
}

static void no_log(void *user, enum td_log_level level, const char *text, size_t len)
{
	(void)user;
	(void)level;
	CHECK(strlen(text) == len && strchr(text, '\n') == NULL);
}

/* ---- what the thread says ---- */

static void on_opened(void *user, uint64_t conn, int r)
{
	struct rig *g = user;

	CHECK(conn >= 1 && conn <= CONNS);
	atomic_fetch_add(&g->opens, 1);
	if (r == TD_OK)
		atomic_fetch_add(&g->opened, 1);
}

static void on_closed(void *user, uint64_t conn, int r)
{
	struct rig *g = user;

	CHECK(conn >= 1 && conn <= CONNS);
	(void)r;
	CHECK(atomic_fetch_add(&g->closes, 1) < atomic_load(&g->opened));
	sem_post(&g->closed);
}

static bool ends_with(const char *text, const char *end)
{
	return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

static void on_track(void *user, uint64_t conn, const struct sink_track_summary *track)
{
	struct rig *g = user;
	SF_INFO info = { 0 };
	SNDFILE *f;

	(void)conn;
	CHECK(strncmp(track->path, dir, strlen(dir)) == 0);
	atomic_fetch_add(&g->tracks, 1);
	CHECK(access(track->path, R_OK) == 0);
	if (!ends_with(track->path, ".wav") && !ends_with(track->path, ".flac"))
		return;
	f = sf_open(track->path, SFM_READ, &info);
	CHECK(f != NULL);
	/* That of several parts names the first. */
	if (strstr(track->path, "-001.") == NULL)
		CHECK((uint64_t)info.frames == track->samples);
	sf_close(f);
}

static void on_event(void *user, uint64_t conn, const struct sink_event *event)
{
	(void)user;
	(void)conn;
	CHECK(event->type <= SINK_EVENT_FAILED);
	CHECK(event->text == NULL || strchr(event->text, '\n') == NULL);
}

static void on_failing(void *user, uint64_t conn, uint64_t user_id)
{
	(void)user;
	(void)conn;
	CHECK(user_id != 0);
}

static void on_counted(void *user, const uint64_t delta[static COUNTER_COUNT])
{
	(void)user;
	(void)delta;
}

static void on_sound(void *user, unsigned samples)
{
	(void)user;
	/* Of one read: as much as Opus packets of 120 ms can be said to be in a few bytes each. */
	CHECK(samples >= 1 && samples <= 5760 * (256 * 1024 / sizeof(struct ipc_opus)));
}

static void on_worker_down(void *user, const char *why)
{
	struct rig *g = user;

	CHECK(why != NULL);
	sem_post(&g->down);
}

/* ---- the worker ---- */

static void say_bytes(struct rig *g, const void *data, size_t len)
{
	if (len > SAID_MAX - g->said_len)
		return;
	if (len > 0)
		memcpy(g->said + g->said_len, data, len);
	g->said_len += len;
}

static void say(struct rig *g, uint16_t type, uint64_t conn, const void *body, size_t body_len,
	const void *data, size_t len)
{
	static const uint8_t zeros[8];
	const struct ipc_hdr hdr = { .len = (uint32_t)(body_len + len),
		.type = type,
		.conn = conn };

	if (sizeof(hdr) + body_len + len + 8 > SAID_MAX - g->said_len)
		return;
	say_bytes(g, &hdr, sizeof(hdr));
	say_bytes(g, body, body_len);
	say_bytes(g, data, len);
	say_bytes(g, zeros, (8 - (body_len + len) % 8) % 8);
}

static void say_ready(struct rig *g)
{
	const struct ipc_hello hello = { IPC_VERSION, sizeof(struct ipc_hdr) };

	say(g, IPC_READY, 0, &hello, sizeof(hello), NULL, 0);
}

/* Into the pipe with it; a thread that has had enough does not read the rest. */
static void flush(struct rig *g)
{
	size_t at = 0;

	while (g->fd >= 0 && at < g->said_len) {
		ssize_t n = write(g->fd, g->said + at, g->said_len - at);

		if (n <= 0)
			break;
		at += (size_t)n;
	}
	g->said_len = 0;
}

static void worker_start(struct rig *g)
{
	int fds[2];

	CHECK(pipe2(fds, O_CLOEXEC) == 0);
	g->fd = fds[1];
	g->workers++;
	lane_thread_worker(g->thread, fds[0]);
}

static void echo_again(void *user, uint64_t conn, uint64_t serial)
{
	struct rig *g = user;

	(void)conn;
	if (g->echoed == 0)
		g->echoed = serial - 1; /* the oldest that has not come back */
}

static void worker_end(struct rig *g)
{
	flush(g);
	close(g->fd);
	g->fd = -1;
	while (sem_wait(&g->down) != 0)
		;
	g->echoed = 0;
	lane_thread_pending(g->thread, echo_again, g);
	if (g->echoed == 0)
		g->echoed = g->serial;
}

/* Changes up to three bytes of a good message's body. */
static void spoil(struct rig *g, void *body, size_t len)
{
	uint8_t how = rd_u8(&g->script), *p = body;

	if (how < 160)
		return;
	for (unsigned i = how & 3; i > 0; i--) {
		uint8_t at = rd_u8(&g->script);

		p[at % len] = rd_u8(&g->script);
	}
}

static uint64_t next_arrival(struct rig *g, uint8_t how)
{
	if ((how & 3) == 3)
		g->arrival_ns += (uint64_t)rd_u8(&g->script) * 20 * TD_MS_NS;
	else
		g->arrival_ns += 20 * TD_MS_NS;
	if ((how & 0x80) == 0)
		lane_thread_newest(g->thread, g->arrival_ns);
	return g->arrival_ns;
}

static void say_frame(struct rig *g, uint64_t conn)
{
	static const uint16_t lengths[] = { 960, 960, 120, 1920, 5760, 1, 2880, 959 };
	static int16_t pcm[5760 * 2];
	uint8_t how = rd_u8(&g->script), who = rd_u8(&g->script);
	struct ipc_frame f = { .user_id = who >> 6,
		.ssrc = 1 + (who & 7),
		.samples = lengths[how >> 2 & 7],
		.channels = (uint8_t)(1 + (how >> 5 & 1)),
		.kind = who >> 3 & 3,
		.flags = how >> 6 & 1 };
	size_t len;

	f.arrival_ns = next_arrival(g, how);
	f.sent_ns = (int64_t)(f.arrival_ns - 20 * TD_MS_NS);
	f.rtp_ts = g->rtp_ts;
	f.seq = g->seq++;
	g->rtp_ts += f.samples;
	for (size_t i = 0; i < sizeof(pcm) / sizeof(pcm[0]); i += 7)
		pcm[i] = (int16_t)(i * (who + 3u));
	len = 2u * f.samples * f.channels;
	spoil(g, &f, sizeof(f));
	say(g, IPC_FRAME, conn, &f, sizeof(f), pcm, len);
}

static void say_opus(struct rig *g, uint64_t conn)
{
	static const uint8_t silence[] = { 0xf8, 0xff, 0xfe };
	static const uint8_t voice[] = { 0x48, 0xc0, 0x5a, 0x21, 0x93, 0x7e, 0x10, 0xee };
	uint8_t how = rd_u8(&g->script), who = rd_u8(&g->script);
	const uint8_t *data = (how & 4) != 0 ? silence : voice;
	size_t len = (how & 4) != 0 ? sizeof(silence) : sizeof(voice);
	struct ipc_opus o = { .user_id = who >> 6, .ssrc = 1 + (who & 7), .flags = how >> 6 & 1 };
	int samples;

	if ((how & 8) != 0) {
		len = rd_u8(&g->script);
		len = len < rd_left(&g->script) ? len : rd_left(&g->script);
		data = rd_bytes(&g->script, len);
	}
	samples = len > 0 ? opus_packet_samples(data, len) : 0;
	o.samples = samples > 0 ? (uint16_t)samples : 960;
	o.silence = (how & 4) != 0;
	o.lost = (how & 16) != 0 ? rd_u16(&g->script) * 960u : 0;
	o.arrival_ns = next_arrival(g, how);
	o.sent_ns = (int64_t)(o.arrival_ns - 20 * TD_MS_NS);
	o.rtp_ts = g->rtp_ts;
	o.seq = g->seq++;
	g->rtp_ts += o.samples;
	spoil(g, &o, sizeof(o));
	say(g, IPC_OPUS, conn, &o, sizeof(o), data, len);
}

static void say_counters(struct rig *g, uint64_t conn)
{
	uint8_t who = rd_u8(&g->script), n = rd_u8(&g->script) % 8;
	struct ipc_counters c = { .user_id = who >> 6, .ssrc = who & 7 };

	for (; n > 0; n--) {
		uint8_t which = rd_u8(&g->script);

		c.delta[which % COUNTER_COUNT] = which < 200 ? which : rd_u64(&g->script);
	}
	say(g, IPC_COUNTERS, conn, &c, sizeof(c), NULL, 0);
}

static void say_echo(struct rig *g, uint8_t op)
{
	struct ipc_control c = { .serial = g->echoed + 1 };

	if ((op & 0x80) != 0)
		spoil(g, &c, sizeof(c));
	else if (g->echoed == g->serial)
		return; /* nothing is asked for */
	g->echoed++;
	say(g, IPC_CONTROL_ECHO, 1 + op % CONNS, &c, sizeof(c), NULL, 0);
}

/* A type of the protocol, with as many bytes as it needs or not. */
static void say_anything(struct rig *g, uint64_t conn)
{
	uint8_t type = rd_u8(&g->script);
	size_t len = rd_u8(&g->script);
	const uint8_t *p;

	len = len < rd_left(&g->script) ? len : rd_left(&g->script);
	p = rd_bytes(&g->script, len);
	if (type < 240)
		say(g, 64 + type % 9, conn, p, len, NULL, 0);
	else
		say_bytes(g, p, len);
}

static void say_data(struct rig *g, uint64_t conn, uint8_t op)
{
	size_t len = rd_u8(&g->script);
	const uint8_t *p;

	len = len < rd_left(&g->script) ? len : rd_left(&g->script);
	p = rd_bytes(&g->script, len);
	if ((op & 0x80) != 0) {
		const struct ipc_log log = { .level = rd_u8(&g->script) };

		say(g, IPC_LOG, 0, &log, sizeof(log), p, len);
	} else {
		const struct ipc_rtcp rtcp = { .arrival_ns = g->arrival_ns, .ssrc = 1 };

		say(g, IPC_RTCP, conn, &rtcp, sizeof(rtcp), p, len);
	}
}

/* ---- the network thread ---- */

static struct lane_control *control(enum lane_control_type type)
{
	struct lane_control *c = calloc(1, sizeof(*c));

	CHECK(c != NULL);
	c->type = type;
	return c;
}

static void post(struct rig *g, uint64_t conn, struct lane_control *c)
{
	c->conn = conn;
	c->at_ns = g->arrival_ns;
	g->serial = lane_thread_post(g->thread, c);
}

static void post_open(struct rig *g, uint64_t conn)
{
	static const char *const names[CONNS] = { "a", "b" };
	struct lane_control *c = control(LANE_SESSION_OPEN);

	c->conf = (struct sink_session_conf){ .out_dir = dir,
		.name = names[conn - 1],
		.guild_id = 4,
		.start_ns = START,
		.start_utc_ns = 1700000000 * TD_SEC_NS,
		.specs = (const struct sink_spec *const *)(void *)&g->spec,
		.spec_count = 1 };
	g->posted_open[conn - 1] = true;
	post(g, conn, c);
}

static void post_close(struct rig *g, uint64_t conn)
{
	struct lane_control *c = control(LANE_SESSION_CLOSE);

	strcpy(c->text, "stopped");
	g->posted_open[conn - 1] = false;
	post(g, conn, c);
}

static void post_some(struct rig *g, uint64_t conn)
{
	static const enum lane_control_type types[] = { LANE_SPEAKER, LANE_SPEAKER,
		LANE_SPEAKER_LEFT, LANE_PAUSE, LANE_RESUME, LANE_MARK, LANE_COUNT, LANE_CODE };
	uint8_t how = rd_u8(&g->script);
	struct lane_control *c;

	if (how >= 240) {
		if (g->posted_open[conn - 1])
			post_close(g, conn);
		else
			post_open(g, conn);
		return;
	}
	c = control(types[how & 7]);
	c->user_id = how >> 6;
	c->ssrc = 1 + (how >> 3 & 7);
	c->name = "mark";
	strcpy(c->text, "text");
	c->counters[how % COUNTER_COUNT] = how;
	if (c->type == LANE_CODE) {
		c->members = calloc(2, sizeof(*c->members));
		CHECK(c->members != NULL);
		c->member_count = 2;
	}
	post(g, conn, c);
}

static void step(struct rig *g)
{
	uint8_t op = rd_u8(&g->script);
	uint64_t conn = 1 + (op >> 4 & 1);
	const struct ipc_pong pong = { .waits = op >> 7 };

	if ((op & 0x60) == 0x60)
		conn = rd_u8(&g->script); /* one there is none of */
	switch (op & 15) {
	case 0:
		say_anything(g, conn);
		break;
	case 1:
		say_counters(g, conn);
		break;
	case 2:
		say_data(g, conn, op);
		break;
	case 3:
		say(g, IPC_PONG, 0, &pong, sizeof(pong), NULL, 0);
		break;
	case 4:
	case 5:
		say_echo(g, op);
		break;
	case 6:
		post_some(g, 1 + (op >> 4 & 1));
		say_echo(g, op & 0x7f);
		break;
	case 7:
		if (g->workers < WORKERS_MAX) {
			worker_end(g);
			worker_start(g);
			if ((op & 0x80) == 0)
				say_ready(g);
		}
		break;
	case 8:
		g->arrival_ns += (uint64_t)rd_u8(&g->script) * 100 * TD_MS_NS;
		lane_thread_newest(g->thread, g->arrival_ns);
		atomic_store(&clock_ns, g->arrival_ns);
		break;
	case 9:
	case 10:
		say_opus(g, conn);
		break;
	default:
		say_frame(g, conn);
		break;
	}
	if (g->said_len > 30000)
		flush(g);
}

/* ---- life ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	return at->level > 0 ? remove(path) : 0;
}

static void remove_dir(void)
{
	rmdir(dir);
}

static void set_up(void)
{
	static const struct outfile_sys sys = { pwrite, ftruncate, no_fsync };

	if (dir[0] != '\0')
		return;
	strcpy(dir,
		access("/dev/shm", W_OK) == 0 ? "/dev/shm/fuzz_lane.XXXXXX"
					      : "/tmp/fuzz_lane.XXXXXX");
	CHECK(mkdtemp(dir) != NULL);
	atexit(remove_dir);
	signal(SIGPIPE, SIG_IGN);
	outfile_test_sys(&sys);
	td_log_set_hook(no_log, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig g;
	struct lane_thread_conf conf = {
		.ops = { on_opened, on_closed, on_track, on_event, on_failing, on_counted,
			on_sound },
		.user = &g,
		.worker_down = on_worker_down,
		.worker_user = &g,
	};
	char err[128] = "";
	uint8_t setup;

	set_up();
	memset(&g, 0, sizeof(g));
	rd_init(&g.script, data, size);
	setup = rd_u8(&g.script);
	g.arrival_ns = START;
	atomic_store(&clock_ns, START);
	if (sink_spec_parse(&g.spec, specs[setup & 7], err, sizeof(err)) != TD_OK) {
		fprintf(stderr, "%s\n", err);
		abort();
	}
	sem_init(&g.down, 0, 0);
	sem_init(&g.closed, 0, 0);
	conf.decodes = (setup & 8) == 0;
	CHECK(lane_thread_new(&g.thread, &conf) == TD_OK);
	lane_thread_epoch(g.thread, 128);
	lane_thread_allow(g.thread, 1, 0);
	lane_thread_allow(g.thread, 2, 0);
	/* Users 1 to 3 of the first connection, 1 and 2 of the second, and nobody else. */
	for (uint64_t user = 1; user <= 3; user++)
		lane_thread_allow(g.thread, 1, user);
	lane_thread_allow(g.thread, 2, 1);
	lane_thread_allow(g.thread, 2, 2);
	worker_start(&g);
	say_ready(&g);
	post_open(&g, 1);
	say_echo(&g, 0);
	for (int n = 0; n < STEPS_MAX && rd_left(&g.script) > 0; n++)
		step(&g);
	for (uint64_t conn = 1; conn <= CONNS; conn++)
		post_close(&g, conn);
	worker_end(&g);
	/* No other will come: what was posted is carried out, and what is open is closed by that.
	 */
	lane_thread_abandon(g.thread);
	for (;;) {
		bool pending = false;

		g.echoed = 0;
		lane_thread_pending(g.thread, echo_again, &g);
		pending = g.echoed != 0;
		if (!pending)
			break;
		usleep(10);
	}
	lane_thread_free(g.thread);
	CHECK(atomic_load(&g.opened) == atomic_load(&g.closes));
	sem_destroy(&g.down);
	sem_destroy(&g.closed);
	sink_spec_free(g.spec);
	CHECK(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
	return 0;
}
