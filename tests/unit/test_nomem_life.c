/* SPDX-License-Identifier: ISC */
/*
 * A life with every allocation failing once in turn, those of the libraries too: a worker that
 * opens, decodes and ends; and what a lane thread does with its replies, from --sink to the last
 * file, in all formats. Nothing crashes or leaks (run it with the address sanitizer), what is
 * missing in the end was said to be, and every file that is there is one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <signal.h>
#include <sndfile.h>
#include <sodium.h>

#include "common/log.h"
#include "receiver/lane_thread.h"
#include "sinks/host.h"
#include "sinks/outfile.h"
#include "tests/unit/nomem.h"
#include "tests/unit/unpack.h"

/* ---- a worker ---- */

static const uint8_t key_bytes[TRANSPORT_KEY_LEN] = { 9, 8, 7 };
static const uint8_t voice[] = { 0x48, 0xc0, 0x5a, 0x21, 0x93, 0x7e, 0x10, 0xee };
static const uint8_t report[] = { 0x80, 201, 0, 1, 0, 0, 0xa0, 0xa0 };
enum { PACKETS = 25 };

struct talk {
	struct ipc_queue requests;
	struct transport *t;
	struct ipc_reader *reader;
};

static void ask(struct talk *k, enum ipc_type type, const void *body, size_t body_len,
	const void *data, size_t len)
{
	assert_int_equal(ipc_queue_put(&k->requests, type, CONN, body, body_len, data, len), TD_OK);
}

static void ask_packet(struct talk *k, uint64_t at_ns, const uint8_t *aad, size_t aad_len,
	const uint8_t *plain, size_t len, uint32_t nonce)
{
	const struct ipc_packet p = { .arrival_ns = at_ns };
	uint8_t sealed[256];
	size_t n = transport_seal(k->t, sealed, aad, aad_len, plain, len, nonce);

	assert_true(n > 0);
	ask(k, IPC_PACKET, &p, sizeof(p), sealed, n);
}

/* Two who speak, one of them end-to-end encrypted, one named late; gaps, RTCP, a flush. */
static void write_requests(struct talk *k)
{
	const struct ipc_hello hello = { IPC_VERSION, sizeof(struct ipc_hdr) };
	const struct ipc_conn_open open = { 100 * MS, 700 * MS,
		IPC_WANT_PCM | IPC_WANT_OPUS | IPC_WANT_RTCP, 2 };
	struct ipc_key key = { .mode = TRANSPORT_AES256_GCM, .own_ssrc = 99 };
	const struct ipc_speaker a = { .user_id = USER_A, .ssrc = SSRC_A };
	const struct ipc_speaker b = { .user_id = USER_B, .ssrc = SSRC_B };
	const struct ipc_dave_epoch epoch = { .at_ns = T0, .epoch = 1 };
	const struct ipc_dave_sender sender = { .user_id = USER_B, .secret = { 5 } };
	struct dave_frame_key *dave = NULL;
	uint8_t frame_key[DAVE_FRAME_KEY_LEN];
	struct ipc_control control = { .serial = 1 };
	struct ipc_tick tick = { .now_ns = T0 + 10 * TD_SEC_NS };
	uint32_t nonce = 0;

	memcpy(key.key, key_bytes, sizeof(key.key));
	dave_ratchet_key(frame_key, sender.secret, 0, 0);
	assert_int_equal(dave_frame_key_new(&dave, frame_key), TD_OK);
	ask(k, IPC_HELLO, &hello, sizeof(hello), NULL, 0);
	ask(k, IPC_CONN_OPEN, &open, sizeof(open), NULL, 0);
	ask(k, IPC_KEY, &key, sizeof(key), NULL, 0);
	ask(k, IPC_CONTROL, &control, sizeof(control), NULL, 0);
	ask(k, IPC_SPEAKER, &a, sizeof(a), NULL, 0);
	ask(k, IPC_DAVE_EPOCH, &epoch, sizeof(epoch), &sender, sizeof(sender));
	for (uint16_t i = 0; i < PACKETS; i++) {
		uint64_t at_ns = T0 + i * 20 * MS;
		uint8_t head[RTP_MIN_HEADER], sealed[64];
		size_t len;

		if (i % 7 != 3) {
			rtp_write(head, RTP_OPUS_PAYLOAD_TYPE, i, i * 960u, SSRC_A);
			ask_packet(k, at_ns, head, sizeof(head), voice, sizeof(voice), nonce++);
		}
		if (i == 5)
			ask(k, IPC_SPEAKER, &b, sizeof(b), NULL, 0);
		rtp_write(head, RTP_OPUS_PAYLOAD_TYPE, i, i * 960u, SSRC_B);
		assert_int_equal(dave_frame_seal(dave, sealed, &len, voice, sizeof(voice), i, NULL,
					 0),
			TD_OK);
		ask_packet(k, at_ns, head, sizeof(head), sealed, len, nonce++);
	}
	ask_packet(k, T0 + PACKETS * 20 * MS, report, sizeof(report), NULL, 0, nonce++);
	ask(k, IPC_TICK, &tick, sizeof(tick), NULL, 0);
	ask(k, IPC_CONN_FLUSH, NULL, 0, NULL, 0);
	for (control.serial = 2; control.serial < 12; control.serial++)
		ask(k, IPC_CONTROL, &control, sizeof(control), NULL, 0);
	ask(k, IPC_CONN_CLOSE, NULL, 0, NULL, 0);
	dave_frame_key_free(dave);
}

/* What unpacker/main.c does, but for the pipes. */
static int work(const struct talk *k, struct ipc_queue *replies)
{
	struct ipc_reader *reader = NULL;
	struct ipc_msg m;
	struct worker w;
	size_t at = 0;
	int r;

	worker_init(&w, replies);
	if ((r = ipc_reader_new(&reader, IPC_TO_WORKER)) != TD_OK)
		goto out;
	while (r == TD_OK && at < k->requests.len) {
		size_t room, n = k->requests.len - at;
		uint8_t *to = ipc_reader_room(reader, &room);

		n = n < room ? n : room;
		memcpy(to, k->requests.buf + k->requests.head + at, n);
		ipc_reader_fed(reader, n);
		at += n;
		while (r == TD_OK && (r = ipc_reader_next(reader, &m)) == 1)
			r = worker_message(&w, &m);
	}
out:
	ipc_reader_free(reader);
	worker_free(&w);
	return r;
}

static void start(struct talk *k)
{
	ipc_queue_init(&k->requests);
	assert_int_equal(transport_new(&k->t, TRANSPORT_AES256_GCM, key_bytes), TD_OK);
	write_requests(k);
}

static void stop(struct talk *k)
{
	transport_free(k->t);
	ipc_queue_free(&k->requests);
}

static void a_worker(void **state)
{
	struct talk k = { .t = NULL };
	struct ipc_queue whole, replies;
	unsigned quiet = 0;
	long at;

	(void)state;
	start(&k);
	ipc_queue_init(&whole);
	assert_int_equal(work(&k, &whole), TD_OK);
	for (at = 0;; at++) {
		int r;

		ipc_queue_init(&replies);
		arm(at);
		r = work(&k, &replies);
		disarm();
		/* It says so, or has done all the same. */
		if (r == TD_OK && failed) {
			quiet++;
			assert_int_equal(replies.len, whole.len);
		}
		assert_true(r == TD_OK || (failed && r == TD_ERR_NOMEM));
		ipc_queue_free(&replies);
		if (!failed)
			break;
	}
	assert_true(at > 50);
	print_message("# %ld allocations, %u did no harm\n", at, quiet);
	ipc_queue_free(&whole);
	stop(&k);
}

/* ---- a lane thread and its sinks ---- */

static const char *spec_text;
static char dir[64];

struct life {
	struct ipc_queue replies;
	struct sink_spec *spec;
	sem_t down;
	atomic_int opened, open_failed, closed, close_failed, said, tracks;
	atomic_uint_fast64_t samples;
};

static void on_opened(void *user, uint64_t conn, int r)
{
	struct life *l = user;

	(void)conn;
	atomic_fetch_add(r == TD_OK ? &l->opened : &l->open_failed, 1);
}

static void on_closed(void *user, uint64_t conn, int r)
{
	struct life *l = user;

	(void)conn;
	atomic_fetch_add(&l->closed, 1);
	if (r != TD_OK)
		atomic_fetch_add(&l->close_failed, 1);
}

static void on_track(void *user, uint64_t conn, const struct sink_track_summary *track)
{
	struct life *l = user;

	(void)conn;
	atomic_fetch_add(&l->tracks, 1);
	atomic_fetch_add(&l->samples, track->samples);
}

static void on_event(void *user, uint64_t conn, const struct sink_event *event)
{
	struct life *l = user;

	(void)conn;
	if (event->type != SINK_EVENT_WARNING && event->type != SINK_EVENT_FAILED)
		return;
	atomic_fetch_add(&l->said, 1);
	assert_true(event->text != NULL && event->text[0] != '\0');
}

static void on_failing(void *user, uint64_t conn, uint64_t user_id)
{
	(void)user;
	(void)conn;
	(void)user_id;
}

static void on_counted(void *user, const uint64_t delta[static COUNTER_COUNT])
{
	(void)user;
	(void)delta;
}

static void on_sound(void *user, unsigned samples)
{
	(void)user;
	(void)samples;
}

static void on_down(void *user, const char *why)
{
	struct life *l = user;

	if (why[0] != '\0')
		atomic_fetch_add(&l->said, 1);
	sem_post(&l->down);
}

static uint64_t post(struct lane_thread *t, enum lane_control_type type, uint64_t at_ns,
	const struct sink_session_conf *conf)
{
	/* Those of the network thread do not count here. */
	struct lane_control *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->type = type;
	c->conn = CONN;
	c->at_ns = at_ns;
	c->user_id = USER_B;
	c->ssrc = SSRC_B;
	c->name = "mark";
	strcpy(c->text, "stopped");
	if (conf != NULL)
		c->conf = *conf;
	if (type == LANE_CODE) {
		c->members = calloc(2, sizeof(*c->members));
		assert_non_null(c->members);
		c->member_count = 2;
	}
	return lane_thread_post(t, c);
}

/* A whole life on the replies of a worker; only what the lane thread asks for counts. */
static int live(struct life *l, long at)
{
	struct lane_thread_conf conf = {
		.ops = { on_opened, on_closed, on_track, on_event, on_failing, on_counted,
			on_sound },
		.user = l,
		.decodes = true,
		.worker_down = on_down,
		.worker_user = l,
	};
	struct lane_thread *t = NULL;
	char err[128] = "";
	int fds[2], r;
	size_t done = 0;

	sem_init(&l->down, 0, 0);
	arm(at);
	r = sink_spec_parse(&l->spec, spec_text, err, sizeof(err));
	if (r == TD_OK)
		r = lane_thread_new(&t, &conf);
	else
		assert_true(err[0] != '\0');
	disarm();
	if (r != TD_OK)
		return r;
	const struct sink_session_conf session = { .out_dir = dir,
		.name = "s",
		.guild_id = 4,
		.start_ns = T0,
		.start_utc_ns = 1700000000 * TD_SEC_NS,
		.specs = (const struct sink_spec *const[]){ l->spec },
		.spec_count = 1 };
	static const enum lane_control_type rest[] = { LANE_SPEAKER, LANE_SPEAKER, LANE_PAUSE,
		LANE_RESUME, LANE_MARK, LANE_CODE, LANE_COUNT, LANE_SPEAKER_LEFT, LANE_MARK,
		LANE_SESSION_CLOSE };

	lane_thread_newest(t, T0 + 3600 * TD_SEC_NS);
	lane_thread_allow(t, CONN, 0);
	lane_thread_allow(t, CONN, USER_A);
	lane_thread_allow(t, CONN, USER_B);
	post(t, LANE_SESSION_OPEN, T0, &session);
	for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
		post(t, rest[i], T0 + TD_SEC_NS, NULL);
	assert_int_equal(pipe(fds), 0);
	/* Not in the middle of the count: where it is, the counter goes on. */
	atomic_store(&armed, true);
	lane_thread_worker(t, fds[0]);
	while (done < l->replies.len) {
		ssize_t n = write(fds[1], l->replies.buf + l->replies.head + done,
			l->replies.len - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	close(fds[1]);
	while (sem_wait(&l->down) != 0)
		;
	lane_thread_abandon(t);
	lane_thread_free(t);
	disarm();
	return TD_OK;
}

static int no_fsync(int fd)
{
	(void)fd;
	return 0;
}

static unsigned files;
static uint64_t content; /* of all files, whatever their order */

static bool dropped; /* the manifest says that it lacks something */

static void digest(const void *data, size_t len)
{
	uint64_t d = 0xcbf29ce484222325u;

	for (size_t i = 0; i < len; i++)
		d = (d ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
	content += d;
}

static void digest_file(const char *path)
{
	static uint8_t data[1 << 20];
	FILE *f = fopen(path, "rb");

	assert_non_null(f);
	digest(data, fread(data, 1, sizeof(data), f));
	fclose(f);
}

/* Where there is no memory for one spurt more, the one before grows: that is how it is meant. What
 * else is not there is counted. */
static void digest_json(json_t *v)
{
	static const char *const counts[] = { "events_dropped", "pauses_dropped",
		"privacy_codes_dropped" };
	json_t *track;
	char *text;
	size_t i;

	json_array_foreach(json_object_get(v, "tracks"), i, track) json_object_del(track, "spurts");
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		dropped = dropped || json_integer_value(json_object_get(v, counts[i])) > 0;
	assert_non_null(text = json_dumps(v, JSON_COMPACT));
	digest(text, strlen(text));
	free(text);
}

static int look_at(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const char *ending = strrchr(path, '.');
	SF_INFO info = { 0 };
	SNDFILE *f;

	if (type != FTW_F || ending == NULL)
		return 0;
	assert_null(strstr(path + ftw->base, ".part"));
	files++;
	if (strcmp(ending, ".json") == 0) {
		json_error_t e;
		json_t *v = json_load_file(path, 0, &e);

		if (v == NULL)
			fail_msg("%s: %s", path, e.text);
		digest_json(v);
		json_decref(v);
	} else if (strcmp(ending, ".wav") == 0 || strcmp(ending, ".flac") == 0 ||
		strcmp(ending, ".opus") == 0) {
		if ((f = sf_open(path, SFM_READ, &info)) == NULL)
			fail_msg("%s, %lld bytes: %s", path, (long long)st->st_size,
				sf_strerror(NULL));
		sf_close(f);
	}
	/* The projects are made of the spurts, too. */
	if (strcmp(ending, ".json") != 0 && strcmp(ending, ".txt") != 0 &&
		strcmp(ending, ".rpp") != 0)
		digest_file(path);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	return ftw->level > 0 ? remove(path) : 0;
}

struct outcome {
	int tracks;
	unsigned files;
	uint64_t samples, content;
};

/* One life; whether it said that something is wrong. */
static bool outcome(struct outcome *ret, const struct ipc_queue *replies, long at)
{
	static struct life l;
	int r;

	memset(&l, 0, sizeof(l));
	l.replies = *replies;
	r = live(&l, at);
	assert_true(r == TD_OK || (failed && (r == TD_ERR_NOMEM || r == TD_ERR_USAGE)));
	assert_int_equal(atomic_load(&l.opened), atomic_load(&l.closed));
	files = 0;
	content = 0;
	dropped = false;
	assert_int_equal(nftw(dir, look_at, 8, FTW_PHYS), 0);
	assert_int_equal(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	sink_spec_free(l.spec);
	sem_destroy(&l.down);
	*ret = (struct outcome){ atomic_load(&l.tracks), files, atomic_load(&l.samples), content };
	return r != TD_OK || dropped || atomic_load(&l.said) > 0 ||
		atomic_load(&l.open_failed) > 0 || atomic_load(&l.close_failed) > 0;
}

static void a_lane(const char *spec, long least)
{
	static const struct outfile_sys sys = { pwrite, ftruncate, no_fsync };
	struct talk k = { .t = NULL };
	struct ipc_queue replies;
	struct outcome good, now;
	unsigned quiet = 0;
	long at;

	spec_text = spec;
	signal(SIGPIPE, SIG_IGN); /* cmocka has its own idea */
	start(&k);
	ipc_queue_init(&replies);
	assert_int_equal(work(&k, &replies), TD_OK);
	stop(&k);
	outfile_test_sys(&sys);
	strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/nomem.XXXXXX" : "/tmp/nomem.XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_false(outcome(&good, &replies, -1));
	assert_true(good.files > 1);
	for (at = 0;; at++) {
		bool said = outcome(&now, &replies, at);

		if (!failed)
			break;
		if (said)
			continue;
		quiet++;
		if (memcmp(&now, &good, sizeof(now)) != 0)
			backtrace_symbols_fd(where, where_count, STDERR_FILENO);
		if (memcmp(&now, &good, sizeof(now)) != 0)
			fail_msg("%s: allocation %ld: %d tracks, %u files, %llu samples, and "
				 "nothing was said",
				spec, at, now.tracks, now.files, (unsigned long long)now.samples);
	}
	assert_true(at > least);
	print_message("# %s: %ld allocations, %u did no harm\n", spec, at, quiet);
	outfile_test_sys(NULL);
	rmdir(dir);
	ipc_queue_free(&replies);
}

static void a_lane_wav(void **state)
{
	(void)state;
	a_lane("file", 100);
}

static void a_lane_opus(void **state)
{
	(void)state;
	a_lane("file:format=opus", 100);
}

static void a_lane_flac(void **state)
{
	(void)state;
	a_lane("file:format=flac", 100);
}

static void a_lane_mp3(void **state)
{
	(void)state;
	a_lane("file:format=mp3", 100);
}

static void a_lane_pcm(void **state)
{
	(void)state;
	a_lane("file:format=pcm,rate=16000", 100);
}

static void a_lane_segments(void **state)
{
	(void)state;
	a_lane("segments", 100);
}

static void no_log(void *user, enum td_log_level level, const char *text, size_t len)
{
	(void)user;
	(void)level;
	(void)text;
	(void)len;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_worker),
		cmocka_unit_test(a_lane_wav),
		cmocka_unit_test(a_lane_opus),
		cmocka_unit_test(a_lane_flac),
		cmocka_unit_test(a_lane_mp3),
		cmocka_unit_test(a_lane_pcm),
		cmocka_unit_test(a_lane_segments),
	};

	td_log_set_hook(no_log, NULL);
	nomem_init();
	return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
