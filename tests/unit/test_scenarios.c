/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <sndfile.h>
#include <unistd.h>

#include "sinks/host.h"
#include "tests/unit/unpack.h"

/*
 * What can happen to time, one thing after the other, from request messages to files: a worker and
 * a session of files in one process. Asked is where in the file the sound is, whether it is what
 * libopus makes of the packets, whether everything else is silent, and what was counted.
 *
 * Times are milliseconds since position 0. A talker is one SSRC; what it says is planned, and the
 * plan carried out in the order of arrival.
 */
enum { STEP = 960, STEP_MS = 20, VOICE = 200, SSRC_C = 0xc0c0 };
#define WINDOW (100 * MS)

static const uint8_t silence_frame[] = { 0xf8, 0xff, 0xfe };

enum cue_kind { CUE_RTP, CUE_NAME, CUE_GONE, CUE_DATAGRAM, CUE_MOVED };
struct cue {
	uint64_t at_ns;
	size_t order;
	enum cue_kind kind;
	uint64_t user;
	uint32_t ssrc, ts;
	uint16_t seq;
	const uint8_t *data;
	size_t len;
};

struct talker {
	uint32_t ssrc;
	uint16_t seq; /* of the next packet */
	uint32_t ts;
	int k; /* of the voice */
};

struct scene {
	struct unpack u;
	struct voice v;
	char dir[32];
	struct sink_spec *spec;
	struct sink_session *s;
	uint64_t (*counted)[COUNTER_COUNT];
	struct cue *cues;
	size_t n_cues;
	int channels;
	/* afterwards */
	json_t *json, *track; /* the track that is listened to */
	SNDFILE *file;
	int fd;
	int64_t samples;
	struct plain ear;
	int64_t heard_to;
};

/* Encoded once for all scenes. */
static struct voice voice_of(int samples, int channels, bool fec)
{
	static struct {
		struct voice v;
		bool fec;
	} all[16];
	size_t i;

	for (i = 0; all[i].v.count > 0; i++) {
		assert_true(i + 1 < sizeof(all) / sizeof(all[0]));
		if (all[i].v.samples == samples && all[i].v.channels == channels &&
			all[i].fec == fec)
			return all[i].v;
	}
	voice_make(&all[i].v, samples == STEP ? VOICE : 80, samples, channels, fec);
	all[i].fec = fec;
	return all[i].v;
}

/* ---- the plan ---- */

static void scene_begin_with(struct scene *sc, int channels, int samples, bool fec, bool name)
{
	char text[64], err[128];

	memset(sc, 0, sizeof(*sc));
	sc->v = voice_of(samples, channels, fec);
	sc->channels = channels;
	sc->counted = calloc(MAX_COUNTED, sizeof(*sc->counted));
	strcpy(sc->dir, "/tmp/test_scenarios.XXXXXX");
	assert_non_null(mkdtemp(sc->dir));
	snprintf(text, sizeof(text), "file:format=wav,channels=%d", channels);
	assert_int_equal(sink_spec_parse(&sc->spec, text, err, sizeof(err)), TD_OK);
	assert_int_equal(sink_session_open(&sc->s,
				 &(struct sink_session_conf){ .out_dir = sc->dir,
					 .name = "s",
					 .guild_id = 1,
					 .start_ns = T0,
					 .start_utc_ns = UINT64_C(1795158000000000000),
					 .specs = (const struct sink_spec *const[]){ sc->spec },
					 .spec_count = 1 }),
		TD_OK);
	unpack_init(&sc->u);
	unpack_hello(&sc->u);
	unpack_open(&sc->u, CONN, WINDOW, 2 * TD_SEC_NS, (uint32_t)channels);
	unpack_key(&sc->u, CONN, TRANSPORT_NONE, 0, 0);
	if (!name)
		return;
	unpack_speaker(&sc->u, CONN, SSRC_A, USER_A);
	unpack_speaker(&sc->u, CONN, SSRC_B, USER_B);
	sink_session_speaker(sc->s, USER_A, SSRC_A, T0);
	sink_session_speaker(sc->s, USER_B, SSRC_B, T0);
}

static void scene_begin(struct scene *sc)
{
	scene_begin_with(sc, 1, STEP, false, true);
}

static struct cue *plan(struct scene *sc, enum cue_kind kind, double at_ms)
{
	struct cue *e;

	if ((sc->n_cues & (sc->n_cues - 1)) == 0)
		sc->cues = realloc(sc->cues, (2 * sc->n_cues + 1) * sizeof(*e));
	e = &sc->cues[sc->n_cues];
	*e = (struct cue){ .at_ns = T0 + (uint64_t)llround(at_ms * 1e6),
		.order = sc->n_cues++,
		.kind = kind };
	return e;
}

static void plan_rtp(struct scene *sc, double at_ms, uint32_t ssrc, uint16_t seq, uint32_t ts,
	const void *data, size_t len)
{
	struct cue *e = plan(sc, CUE_RTP, at_ms);

	e->ssrc = ssrc;
	e->seq = seq;
	e->ts = ts;
	e->data = data;
	e->len = len;
}

static void plan_name(struct scene *sc, double at_ms, uint32_t ssrc, uint64_t user)
{
	struct cue *e = plan(sc, CUE_NAME, at_ms);

	e->ssrc = ssrc;
	e->user = user;
}

/* Packet i from where the talker is, without moving on. */
static void say_one(struct scene *sc, const struct talker *t, int i, double at_ms)
{
	int k = (t->k + i) % sc->v.count;

	plan_rtp(sc, at_ms, t->ssrc, (uint16_t)(t->seq + i), t->ts + (uint32_t)(i * sc->v.samples),
		sc->v.packet[k], (size_t)sc->v.len[k]);
}

/* The next n packets were said, or lost. */
static void move_on(const struct scene *sc, struct talker *t, int n)
{
	t->seq = (uint16_t)(t->seq + n);
	t->ts += (uint32_t)(n * sc->v.samples);
	t->k += n;
}

static double frame_ms(const struct scene *sc)
{
	return sc->v.samples / 48.0;
}

static void say(struct scene *sc, struct talker *t, double at_ms, int n)
{
	int i;

	for (i = 0; i < n; i++)
		say_one(sc, t, i, at_ms + i * frame_ms(sc));
	move_on(sc, t, n);
}

/* Silence frames, as at the end of a talk spurt. */
static void fall_silent(struct scene *sc, struct talker *t, double at_ms, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		plan_rtp(sc, at_ms + i * STEP_MS, t->ssrc, t->seq++, t->ts, silence_frame,
			sizeof(silence_frame));
		t->ts += STEP;
	}
}

/* Timestamps run on in a pause. */
static void pass(struct talker *t, double ms)
{
	t->ts += (uint32_t)llround(ms * 48);
}

/* ---- carried out ---- */

/* What the worker has said so far goes where a lane thread takes it. */
static void forward(struct scene *sc)
{
	struct unpack *u = &sc->u;
	size_t i;
	int c;

	unpack_run(u);
	assert_int_equal(u->error, 0);
	for (i = 0; i < u->frames; i++) {
		const struct ipc_frame *f = &u->frame[i].f;

		sink_session_frame(sc->s,
			&(struct td_frame){ .size = sizeof(struct td_frame),
				.ssrc = f->ssrc,
				.user_id = f->user_id,
				.arrival_ns = f->arrival_ns,
				.sent_ns = f->sent_ns,
				.rtp_ts = f->rtp_ts,
				.samples = f->samples,
				.seq = f->seq,
				.kind = f->kind,
				.channels = f->channels,
				.flags = (f->flags & IPC_FRAME_SPURT) != 0 ? TD_FRAME_SPURT : 0,
				.pcm = u->frame[i].pcm });
		free(u->frame[i].pcm);
	}
	u->frames = 0;
	for (i = 0; i < u->bys; i++) {
		uint64_t delta[COUNTER_COUNT], any = 0;

		for (c = 0; c < COUNTER_COUNT; c++) {
			any |= delta[c] = u->by[i].sum[c] - sc->counted[i][c];
			sc->counted[i][c] = u->by[i].sum[c];
		}
		if (any != 0)
			sink_session_count(sc->s, u->by[i].ssrc, u->by[i].user_id, delta);
	}
}

static int by_time(const void *a, const void *b)
{
	const struct cue *x = a, *y = b;

	if (x->at_ns != y->at_ns)
		return x->at_ns < y->at_ns ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static void carry_out(struct scene *sc, const struct cue *e)
{
	if (e->kind == CUE_RTP) {
		unpack_rtp(&sc->u, CONN, e->at_ns, e->ssrc, e->seq, e->ts, e->data, e->len);
	} else if (e->kind == CUE_DATAGRAM) {
		unpack_datagram(&sc->u, CONN, e->at_ns, e->data, e->len);
	} else if (e->kind == CUE_NAME) {
		forward(sc);
		sink_session_speaker(sc->s, e->user, e->ssrc, e->at_ns);
		unpack_speaker(&sc->u, CONN, e->ssrc, e->user);
	} else if (e->kind == CUE_GONE) {
		/* The worker lets go of what it holds before the sinks forget whose it is. */
		unpack_gone(&sc->u, CONN, e->user);
		forward(sc);
		sink_session_speaker_left(sc->s, e->user, e->at_ns);
	} else {
		unpack_plain(&sc->u, IPC_CONN_RESET, CONN);
		unpack_key(&sc->u, CONN, TRANSPORT_NONE, 1, 0);
	}
}

static void scene_run_in_order(struct scene *sc, double end_ms)
{
	uint64_t end_ns = T0 + (uint64_t)llround(end_ms * 1e6);
	char path[64];
	size_t i;

	for (i = 0; i < sc->n_cues; i++) {
		carry_out(sc, &sc->cues[i]);
		if (i % 64 == 0) {
			forward(sc);
			sink_session_tick(sc->s, sc->cues[i].at_ns);
		}
	}
	unpack_end(&sc->u);
	forward(sc);
	assert_int_equal(sink_session_close(sc->s, end_ns, "stopped", NULL, NULL), TD_OK);
	snprintf(path, sizeof(path), "%s/s/session.json", sc->dir);
	assert_non_null(sc->json = json_load_file(path, 0, NULL));
	sc->samples = json_integer_value(json_object_get(sc->json, "samples"));
}

static void scene_run(struct scene *sc, double end_ms)
{
	if (sc->n_cues > 0)
		qsort(sc->cues, sc->n_cues, sizeof(*sc->cues), by_time);
	scene_run_in_order(sc, end_ms);
	assert_int_equal(sc->samples, llround(end_ms * 48));
}

/* ---- listening ---- */

static void ear_renew(struct scene *sc)
{
	if (sc->ear.dec != NULL)
		plain_free(&sc->ear);
	plain_init(&sc->ear, sc->channels);
}

static size_t tracks(const struct scene *sc)
{
	return json_array_size(json_object_get(sc->json, "tracks"));
}

static void listen_no_more(struct scene *sc)
{
	if (sc->file == NULL)
		return;
	sf_close(sc->file);
	close(sc->fd);
	sc->file = NULL;
}

/* The one track of the user (0: nobody's), as long as the session. */
static void listen(struct scene *sc, uint64_t user)
{
	char path[256], id[24];
	SF_INFO info = { 0 };
	size_t i;
	json_t *v, *found = NULL;

	snprintf(id, sizeof(id), "%" PRIu64, user);
	json_array_foreach(json_object_get(sc->json, "tracks"), i, v)
	{
		const char *whose = json_string_value(json_object_get(v, "user_id"));

		if (user != 0 ? whose != NULL && strcmp(whose, id) == 0 : whose == NULL) {
			assert_null(found);
			found = v;
		}
	}
	assert_non_null(found);
	listen_no_more(sc);
	snprintf(path, sizeof(path), "%s/s/%s", sc->dir,
		json_string_value(json_object_get(found, "file")));
	assert_non_null(sc->file = sf_open(path, SFM_READ, &info));
	assert_true((sc->fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0);
	assert_int_equal(info.frames, sc->samples);
	assert_int_equal(info.channels, sc->channels);
	sc->track = found;
	sc->heard_to = 0;
	ear_renew(sc);
}

static void read_at(struct scene *sc, int64_t pos, int16_t *pcm, int n)
{
	assert_true(pos >= 0 && pos + n <= sc->samples);
	assert_int_equal(sf_seek(sc->file, pos, SEEK_SET), pos);
	assert_int_equal(sf_readf_short(sc->file, pcm, n), n);
}

/* Long silence is a hole in the file: the first sample at or behind heard_to that may be something
 * else. The file's header, less than a block, shifts them a little. */
static int64_t behind_the_hole(const struct scene *sc)
{
	off_t frame = 2 * sc->channels;
	off_t at = lseek(sc->fd, sc->heard_to * frame, SEEK_DATA);

	return at < 0 ? sc->heard_to : at / frame - 4096;
}

/* Nothing sounds up to `pos`; what follows is asked for next. */
static void expect_silence(struct scene *sc, int64_t pos)
{
	static const int16_t zero[2 * 4800];
	int16_t pcm[2 * 4800];

	assert_true(pos >= sc->heard_to);
	while (sc->heard_to < pos) {
		int n = pos - sc->heard_to < 4800 ? (int)(pos - sc->heard_to) : 4800;

		read_at(sc, sc->heard_to, pcm, n);
		assert_memory_equal(pcm, zero, (size_t)(n * sc->channels) * sizeof(*pcm));
		sc->heard_to += n;
		if (behind_the_hole(sc) > sc->heard_to)
			sc->heard_to = behind_the_hole(sc) < pos ? behind_the_hole(sc) : pos;
	}
}

static void expect_at(struct scene *sc, double ms)
{
	expect_silence(sc, llround(ms * 48));
}

/* What the ear has just heard is next in the track. */
static void expect_heard(struct scene *sc, int n)
{
	int16_t pcm[5760 * 2];

	assert_true(n > 0);
	read_at(sc, sc->heard_to, pcm, n);
	assert_memory_equal(pcm, sc->ear.pcm, (size_t)(n * sc->channels) * sizeof(*pcm));
	sc->heard_to += n;
}

/* Packets k to k + n - 1 of the voice, one behind the other. */
static void expect_voice(struct scene *sc, int k, int n)
{
	for (; n > 0; n--, k++)
		expect_heard(sc,
			opus_decode(sc->ear.dec, sc->v.packet[k % sc->v.count],
				sc->v.len[k % sc->v.count], sc->ear.pcm, 5760, 0));
}

static void expect_silence_frames(struct scene *sc, int n)
{
	for (; n > 0; n--)
		expect_heard(sc,
			opus_decode(sc->ear.dec, silence_frame, sizeof(silence_frame), sc->ear.pcm,
				5760, 0));
}

/* Made up for n lost packets, fading; 100 ms at most. */
static void expect_concealed(struct scene *sc, int n)
{
	int p, i;

	for (p = 0; p < n; p++) {
		assert_int_equal(opus_decode(sc->ear.dec, NULL, 0, sc->ear.pcm, STEP, 0), STEP);
		for (i = 0; i < STEP * sc->channels; i++)
			sc->ear.pcm[i] = (int16_t)(sc->ear.pcm[i] *
				(4800 - p * STEP - i / sc->channels) / 4800);
		expect_heard(sc, STEP);
	}
}

/* From the copy in packet k. */
static void expect_recovered(struct scene *sc, int k)
{
	expect_heard(sc,
		opus_decode(sc->ear.dec, sc->v.packet[k], sc->v.len[k], sc->ear.pcm, STEP, 1));
}

/* And nothing more up to the end. */
static void expect_end(struct scene *sc)
{
	expect_silence(sc, sc->samples);
}

/* How many ms off its place at `ms` packet k of the voice is, the next thing that sounds. */
static double find_voice(struct scene *sc, double ms, int k)
{
	enum { AROUND = 4800 };
	static int16_t pcm[2 * AROUND + STEP];
	int64_t want = llround(ms * 48), from = want - AROUND;
	int i;

	if (from < sc->heard_to)
		from = sc->heard_to;
	assert_int_equal(opus_decode(sc->ear.dec, sc->v.packet[k % sc->v.count],
				 sc->v.len[k % sc->v.count], sc->ear.pcm, 5760, 0),
		STEP);
	read_at(sc, from, pcm, 2 * AROUND);
	for (i = 0; i + STEP <= 2 * AROUND; i++)
		if (memcmp(pcm + i, sc->ear.pcm, STEP * sizeof(*pcm)) == 0)
			break;
	assert_true(i + STEP <= 2 * AROUND);
	expect_silence(sc, from + i);
	expect_heard(sc, STEP);
	return (double)(from + i) / 48 - ms;
}

static void expect_count(struct scene *sc, const char *name, int want)
{
	json_t *v = json_object_get(json_object_get(sc->track, "counters"), name);

	if (!json_is_integer(v) || json_integer_value(v) != want)
		fail_msg("%s: %lld, wanted %d", name, (long long)json_integer_value(v), want);
}

static void expect_counts(struct scene *sc, int decoded, int lost, int jumps)
{
	expect_count(sc, "decoded", decoded);
	expect_count(sc, "lost", lost);
	expect_count(sc, "time_jumps", jumps);
	expect_count(sc, "overlap_dropped", 0);
}

static void folder_remove(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	char sub[512];

	while (d != NULL && (e = readdir(d)) != NULL) {
		snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name);
		if (e->d_name[0] != '.' && unlink(sub) < 0)
			folder_remove(sub);
	}
	if (d != NULL)
		closedir(d);
	rmdir(path);
}

static void scene_end(struct scene *sc)
{
	listen_no_more(sc);
	if (sc->ear.dec != NULL)
		plain_free(&sc->ear);
	json_decref(sc->json);
	sink_spec_free(sc->spec);
	unpack_free(&sc->u);
	free(sc->counted);
	free(sc->cues);
	folder_remove(sc->dir);
}

/* ---- counters that wrap ---- */

static void seq_wrap(void **state)
{
	struct talker t = { SSRC_A, 65520, 1000, 0 };
	struct scene sc;

	(void)state;
	scene_begin(&sc);
	say(&sc, &t, 500, 100); /* in a spurt */
	t.seq = (uint16_t)(t.seq + 65536 - 84);
	pass(&t, 1000);
	scene_run(&sc, 4000);
	assert_int_equal(t.seq, 0);
	listen(&sc, USER_A);
	expect_at(&sc, 500);
	expect_voice(&sc, 0, 100);
	expect_end(&sc);
	expect_counts(&sc, 100, 0, 0);
	scene_end(&sc);

	/* In a pause; and the packet on the edge itself is lost, and late. */
	scene_begin(&sc);
	t = (struct talker){ SSRC_A, 65516, 1000, 0 };
	say(&sc, &t, 500, 20);
	assert_int_equal(t.seq, 0);
	pass(&t, 1000);
	say(&sc, &t, 1900, 20);
	t = (struct talker){ SSRC_B, 65534, 1000, 0 };
	say_one(&sc, &t, 0, 100);
	say_one(&sc, &t, 1, 120);
	say_one(&sc, &t, 3, 160);
	say_one(&sc, &t, 2, 161);
	say_one(&sc, &t, 4, 180);
	scene_run(&sc, 4000);
	listen(&sc, USER_A);
	expect_at(&sc, 500);
	expect_voice(&sc, 0, 20);
	expect_at(&sc, 1900);
	expect_voice(&sc, 20, 20);
	expect_end(&sc);
	expect_counts(&sc, 40, 0, 0);
	listen(&sc, USER_B);
	expect_at(&sc, 100);
	expect_voice(&sc, 0, 5);
	expect_end(&sc);
	expect_counts(&sc, 5, 0, 0);
	expect_count(&sc, "reordered", 1);
	scene_end(&sc);
}

static void ts_wrap(void **state)
{
	struct talker t = { SSRC_A, 7, 0u - 10 * STEP, 0 };
	struct scene sc;
	int lap;

	(void)state;
	scene_begin(&sc);
	say(&sc, &t, 200, 50);                               /* in a spurt */
	t = (struct talker){ SSRC_B, 7, 0u - 20 * STEP, 0 }; /* in a pause, at its first sample */
	say(&sc, &t, 200, 20);
	assert_int_equal(t.ts, 0);
	pass(&t, 700);
	say(&sc, &t, 1300, 20);
	scene_run(&sc, 3000);
	for (lap = 0; lap < 2; lap++) {
		listen(&sc, lap == 0 ? USER_A : USER_B);
		expect_at(&sc, 200);
		expect_voice(&sc, 0, lap == 0 ? 50 : 20);
		if (lap == 1) {
			expect_at(&sc, 1300);
			expect_voice(&sc, 20, 20);
		}
		expect_end(&sc);
		expect_counts(&sc, lap == 0 ? 50 : 40, 0, 0);
	}
	scene_end(&sc);
}

/* ---- who ---- */

static void expect_ssrcs(struct scene *sc, int a, int b)
{
	json_t *list = json_object_get(sc->track, "ssrcs");

	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(json_integer_value(json_array_get(list, 0)), a);
	assert_int_equal(json_integer_value(json_array_get(list, 1)), b);
}

static void ssrc_change_same_user(void **state)
{
	struct talker old = { SSRC_A, 100, 5000, 0 }, new = { SSRC_C, 60000, 0x80000000, 20 };
	struct scene sc;

	(void)state;
	scene_begin(&sc);
	say(&sc, &old, 300, 20);
	plan_name(&sc, 650, SSRC_C, USER_A);
	say(&sc, &new, 700, 40); /* goes on without a pause */
	scene_run(&sc, 2000);
	listen(&sc, USER_A);
	assert_int_equal(tracks(&sc), 1);
	expect_at(&sc, 300);
	expect_voice(&sc, 0, 20);
	ear_renew(&sc);
	expect_voice(&sc, 20, 40);
	expect_end(&sc);
	expect_counts(&sc, 60, 0, 0);
	expect_ssrcs(&sc, SSRC_A, SSRC_C);
	scene_end(&sc);
}

static void rejoin(void **state)
{
	struct talker old = { SSRC_A, 100, 5000, 0 }, new = { SSRC_C, 9, 77, 30 };
	struct scene sc;

	(void)state;
	scene_begin(&sc);
	say(&sc, &old, 300, 30);
	plan(&sc, CUE_GONE, 2000)->user = USER_A;
	plan_name(&sc, 9000, SSRC_C, USER_A);
	say(&sc, &new, 9123, 40);
	scene_run(&sc, 11000);
	assert_int_equal(tracks(&sc), 1);
	listen(&sc, USER_A);
	expect_at(&sc, 300);
	expect_voice(&sc, 0, 30);
	ear_renew(&sc);
	expect_at(&sc, 9123);
	expect_voice(&sc, 30, 40);
	expect_end(&sc);
	expect_counts(&sc, 70, 0, 0);
	expect_ssrcs(&sc, SSRC_A, SSRC_C);
	scene_end(&sc);
}

static void unknown_ssrc_then_speaking(void **state)
{
	static const int named_ms[] = { 0, 700, 5000 };
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct talker t = { SSRC_C, 1, 1, 0 };
		struct scene sc;

		/* Before the first packet; while packets are held; when they no longer are. */
		scene_begin_with(&sc, 1, STEP, false, false);
		plan_name(&sc, named_ms[i], SSRC_C, USER_A);
		say(&sc, &t, 250, 40);
		pass(&t, 6000);
		say(&sc, &t, 7050, 10);
		scene_run(&sc, 8000);
		assert_int_equal(tracks(&sc), 1);
		listen(&sc, USER_A);
		expect_at(&sc, 250);
		expect_voice(&sc, 0, 40);
		expect_at(&sc, 7050);
		expect_voice(&sc, 40, 10);
		expect_end(&sc);
		expect_counts(&sc, 50, 0, 0);
		scene_end(&sc);
	}
}

/* ---- order ---- */

/* Packet 30 comes behind the `by` that follow it, 5 ms apart from the last. */
static void reorder_by(int by)
{
	struct talker t = { SSRC_A, 65500, 1, 0 };
	struct scene sc;
	int i;

	scene_begin(&sc);
	for (i = 0; i < 60; i++)
		say_one(&sc, &t, i, 100 + (i == 30 ? (30 + by) * STEP_MS + 5 : i * STEP_MS));
	scene_run(&sc, 2000);
	listen(&sc, USER_A);
	expect_at(&sc, 100);
	expect_voice(&sc, 0, 60);
	expect_end(&sc);
	expect_counts(&sc, 60, 0, 0);
	expect_count(&sc, "reordered", 1);
	scene_end(&sc);
}

static void reorder_1(void **state)
{
	(void)state;
	reorder_by(1);
}

static void reorder_2(void **state)
{
	(void)state;
	reorder_by(2);
}

static void reorder_3(void **state)
{
	(void)state;
	reorder_by(3);
}

static void reorder_4(void **state)
{
	(void)state;
	reorder_by(4);
}

/* All of them, the first ones of the spurt too, in every order within four. */
static void reorder_n(void **state)
{
	static const int order[] = { 3, 1, 0, 2 };
	struct talker t = { SSRC_A, 65500, 1, 0 };
	struct scene sc;
	int i;

	(void)state;
	scene_begin(&sc);
	for (i = 0; i < 60; i++)
		say_one(&sc, &t, i / 4 * 4 + order[i % 4], 100 + i * STEP_MS);
	scene_run(&sc, 2000);
	listen(&sc, USER_A);
	/* Packet 3 was there at 100 ms: the quickest, so it all began at 40. */
	expect_at(&sc, 40);
	expect_voice(&sc, 0, 60);
	expect_end(&sc);
	expect_counts(&sc, 60, 0, 0);
	expect_count(&sc, "reordered", 45);
	scene_end(&sc);
}

static void duplicate(void **state)
{
	struct talker t = { SSRC_A, 65500, 1, 0 };
	struct scene sc;
	int i;

	(void)state;
	scene_begin(&sc);
	for (i = 0; i < 60; i++) {
		say_one(&sc, &t, i, 100 + i * STEP_MS);
		say_one(&sc, &t, i, 101 + i * STEP_MS);
		if (i % 3 == 0)
			say_one(&sc, &t, i, 350 + i * STEP_MS);
	}
	scene_run(&sc, 2000);
	listen(&sc, USER_A);
	expect_at(&sc, 100);
	expect_voice(&sc, 0, 60);
	expect_end(&sc);
	expect_counts(&sc, 60, 0, 0);
	expect_count(&sc, "duplicate", 80);
	scene_end(&sc);
}

/* Packet 30 is `late_ms` behind the arrival of 31, which waits for it. */
static void late(struct scene *sc, double late_ms)
{
	struct talker t = { SSRC_A, 1, 1, 0 };
	int i;

	scene_begin(sc);
	for (i = 0; i < 60; i++)
		say_one(sc, &t, i, 100 + (i == 30 ? 31 * STEP_MS + late_ms : i * STEP_MS));
	scene_run(sc, 2000);
	listen(sc, USER_A);
	expect_at(sc, 100);
	expect_voice(sc, 0, 30);
}

static void late_inside_window(void **state)
{
	static const double late_ms[] = { 1, 50, 99, 99.999 };
	struct scene sc;
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		late(&sc, late_ms[i]);
		expect_voice(&sc, 30, 30);
		expect_end(&sc);
		expect_counts(&sc, 60, 0, 0);
		expect_count(&sc, "late", 0);
		scene_end(&sc);
	}
}

static void late_outside_window(void **state)
{
	static const double late_ms[] = { 100.001, 120, 400 };
	struct scene sc;
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		late(&sc, late_ms[i]);
		expect_concealed(&sc, 1);
		expect_voice(&sc, 31, 29);
		expect_end(&sc);
		expect_counts(&sc, 59, 1, 0);
		expect_count(&sc, "concealed", 1);
		expect_count(&sc, "late", 1);
		scene_end(&sc);
	}
}

/* ---- losses ---- */

/* n packets from `from` on are lost of 200. */
static void lose(struct scene *sc, int from, int n)
{
	struct talker t = { SSRC_A, 65500, 1, 0 };

	say(sc, &t, 100, from);
	move_on(sc, &t, n);
	say(sc, &t, 100 + (from + n) * STEP_MS, 200 - from - n);
	scene_run(sc, 5000);
	listen(sc, USER_A);
	expect_at(sc, 100);
	expect_voice(sc, 0, from);
}

static void expect_rest(struct scene *sc, int from, int lost)
{
	expect_at(sc, 100 + from * STEP_MS);
	expect_voice(sc, from, 200 - from);
	expect_end(sc);
	expect_counts(sc, 200 - lost, lost, 0);
}

static void loss_single(void **state)
{
	struct scene sc;
	int at;

	(void)state;
	scene_begin(&sc);
	lose(&sc, 50, 1);
	expect_concealed(&sc, 1);
	expect_rest(&sc, 51, 1);
	expect_count(&sc, "concealed", 1);
	scene_end(&sc);

	/* With a copy in the next packet. */
	scene_begin_with(&sc, 1, STEP, true, true);
	at = voice_find(&sc.v, 50, true) - 1;
	lose(&sc, at, 1);
	expect_recovered(&sc, at + 1);
	expect_rest(&sc, at + 1, 1);
	expect_count(&sc, "recovered", 1);
	scene_end(&sc);
}

static void loss_burst_3(void **state)
{
	struct scene sc;
	int at;

	(void)state;
	scene_begin(&sc);
	lose(&sc, 50, 3);
	expect_concealed(&sc, 3);
	expect_rest(&sc, 53, 3);
	expect_count(&sc, "concealed", 3);
	scene_end(&sc);

	scene_begin_with(&sc, 1, STEP, true, true);
	at = voice_find(&sc.v, 50, true) - 3;
	lose(&sc, at, 3);
	expect_concealed(&sc, 2);
	expect_recovered(&sc, at + 3);
	expect_rest(&sc, at + 3, 3);
	expect_count(&sc, "concealed", 2);
	expect_count(&sc, "recovered", 1);
	scene_end(&sc);
}

static void loss_burst_50(void **state)
{
	struct scene sc;

	(void)state;
	scene_begin(&sc);
	lose(&sc, 50, 50);
	expect_concealed(&sc, 5);
	expect_rest(&sc, 100, 50);
	expect_count(&sc, "concealed", 5);
	expect_count(&sc, "skipped", 45);
	scene_end(&sc);
}

/* ---- pauses ---- */

static void gap_of(double gap_ms, int silence_frames)
{
	struct talker t = { SSRC_A, 65500, 0u - 44 * STEP, 0 };
	double second = 100 + (40 + silence_frames) * STEP_MS + gap_ms;
	struct scene sc;

	scene_begin(&sc);
	say(&sc, &t, 100, 40);
	fall_silent(&sc, &t, 900, silence_frames);
	pass(&t, gap_ms);
	say(&sc, &t, second, 40);
	scene_run(&sc, second + 2000);
	listen(&sc, USER_A);
	expect_at(&sc, 100);
	expect_voice(&sc, 0, 40);
	expect_silence_frames(&sc, silence_frames);
	expect_at(&sc, second);
	expect_voice(&sc, 40, 40);
	expect_end(&sc);
	expect_counts(&sc, 80 + silence_frames, 0, 0);
	expect_count(&sc, "silence", silence_frames);
	scene_end(&sc);
}

static void gap_dtx_1s(void **state)
{
	(void)state;
	gap_of(1000, 5);
	gap_of(1000, 0);
	gap_of(150, 5); /* one that is not long enough to be noticed by the clock */
}

static void gap_10min(void **state)
{
	(void)state;
	gap_of(600000, 5);
	gap_of(600000, 0);
	gap_of(600000.0 / 48, 5); /* not a whole number of frames */
}

static void sender_ts_frozen_in_pause(void **state)
{
	static const double pause_ms[] = { 1000, 350, 12345, 60000, 400 };
	struct talker t = { SSRC_A, 65500, 0u - 60 * STEP, 0 };
	double at_ms = 100;
	struct scene sc;
	int i;

	(void)state;
	scene_begin(&sc);
	for (i = 0; i < 5; i++) {
		say(&sc, &t, at_ms, 20);
		fall_silent(&sc, &t, at_ms + 400, 5);
		at_ms += 500 + pause_ms[i];
	}
	scene_run(&sc, at_ms);
	listen(&sc, USER_A);
	for (at_ms = 100, i = 0; i < 5; i++) {
		expect_at(&sc, at_ms);
		expect_voice(&sc, 20 * i, 20);
		expect_silence_frames(&sc, 5);
		at_ms += 500 + pause_ms[i];
	}
	expect_end(&sc);
	expect_count(&sc, "decoded", 125);
	expect_count(&sc, "lost", 0);
	expect_count(&sc, "overlap_dropped", 0);
	scene_end(&sc);
}

static void padding(void **state)
{
	struct talker t = { SSRC_A, 65500, 1, 0 };
	struct scene sc;
	int i;

	(void)state;
	scene_begin(&sc);
	for (i = 0; i < 60; i++) {
		say(&sc, &t, 100 + i * STEP_MS, 1);
		/* A probe of 20 packets in speech, before and behind the pause, and in it. */
		if (i == 10 || i == 29)
			for (int k = 0; k < 20; k++)
				plan_rtp(&sc, 101 + i * STEP_MS + k, SSRC_A, t.seq++, t.ts - STEP,
					NULL, 0);
	}
	pass(&t, 3000);
	for (i = 0; i < 20; i++)
		plan_rtp(&sc, 2500 + i, SSRC_A, t.seq++, t.ts - 3000 * 48, NULL, 0);
	say(&sc, &t, 4300, 20);
	scene_run(&sc, 6000);
	listen(&sc, USER_A);
	expect_at(&sc, 100);
	expect_voice(&sc, 0, 60);
	expect_at(&sc, 4300);
	expect_voice(&sc, 60, 20);
	expect_end(&sc);
	expect_counts(&sc, 80, 0, 0);
	expect_count(&sc, "padding", 60);
	scene_end(&sc);
}

/* ---- timestamps that make no sense ---- */

/* In the middle of speech, and in a pause, the timestamps jump by so much. */
static void ts_jump(uint32_t by)
{
	struct talker t = { SSRC_A, 65500, 5000, 0 };
	struct scene sc;

	scene_begin(&sc);
	say(&sc, &t, 100, 40);
	t.ts += by;
	say(&sc, &t, 900, 40);
	t.ts += by;
	pass(&t, 1000);
	say(&sc, &t, 2700, 40);
	pass(&t, 1000);
	say(&sc, &t, 4500, 40);
	scene_run(&sc, 6000);
	listen(&sc, USER_A);
	expect_at(&sc, 100);
	expect_voice(&sc, 0, 80);
	expect_at(&sc, 2700);
	expect_voice(&sc, 80, 40);
	expect_at(&sc, 4500);
	expect_voice(&sc, 120, 40);
	expect_end(&sc);
	expect_count(&sc, "decoded", 160);
	expect_count(&sc, "lost", 0);
	expect_count(&sc, "overlap_dropped", 0);
	assert_true(json_integer_value(json_object_get(json_object_get(sc.track, "counters"),
			    "time_jumps")) >= 2);
	scene_end(&sc);
}

static void ts_jump_backwards(void **state)
{
	(void)state;
	ts_jump(0u - 3 * 48000);
	ts_jump(0u - 3600u * 48000);
}

static void ts_jump_forward_2_31(void **state)
{
	(void)state;
	ts_jump(0x80000000);
	ts_jump(0x7fffffff);
	ts_jump(0x80000001);
	ts_jump(5 * 48000);
}

/* ---- frames ---- */

static void frame_2_5_to_120ms(void **state)
{
	static const int samples[] = { 120, 240, 480, 960, 1920, 2880, 3840, 4800, 5760 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		struct talker t = { SSRC_A, 65530, 0u - 3u * (uint32_t)samples[i], 0 };
		double second = 100 + 40 * samples[i] / 48.0 + 1500;
		struct scene sc;

		scene_begin_with(&sc, 1, samples[i], false, true);
		say(&sc, &t, 100, 40);
		pass(&t, 1500);
		say(&sc, &t, second, 40);
		scene_run(&sc, second + 6000);
		listen(&sc, USER_A);
		expect_at(&sc, 100);
		expect_voice(&sc, 0, 40);
		expect_at(&sc, second);
		expect_voice(&sc, 40, 40);
		expect_end(&sc);
		expect_counts(&sc, 80, 0, 0);
		scene_end(&sc);
	}
}

/* The decoder is stereo, whatever packets are: a mono one gives both channels. */
static void stereo_mono_switch(void **state)
{
	struct talker t = { SSRC_A, 1, 1, 0 };
	struct voice mono = voice_of(STEP, 1, false);
	struct scene sc;
	int i;

	(void)state;
	scene_begin_with(&sc, 2, STEP, false, true);
	for (i = 0; i < 60; i++) {
		if (i / 20 == 1)
			plan_rtp(&sc, 100 + i * STEP_MS, SSRC_A, t.seq, t.ts, mono.packet[i],
				(size_t)mono.len[i]);
		else
			say_one(&sc, &t, 0, 100 + i * STEP_MS);
		move_on(&sc, &t, 1);
	}
	scene_run(&sc, 2000);
	listen(&sc, USER_A);
	expect_at(&sc, 100);
	expect_voice(&sc, 0, 20);
	for (i = 20; i < 40; i++)
		expect_heard(&sc,
			opus_decode(sc.ear.dec, mono.packet[i], mono.len[i], sc.ear.pcm, 5760, 0));
	expect_voice(&sc, 40, 20);
	expect_end(&sc);
	expect_counts(&sc, 60, 0, 0);
	scene_end(&sc);
}

/* ---- clocks ---- */

/* The sender's clock is set in a pause: forward, back, far and near. */
static void clock_step(void **state)
{
	static const double step_ms[] = { 3000, -3000, 150, -150, 86400000, 0 };
	struct talker t = { SSRC_A, 1, 0x12345678, 0 };
	struct scene sc;
	int i;

	(void)state;
	scene_begin(&sc);
	for (i = 0; i < 6; i++) {
		say(&sc, &t, 100 + i * 1500, 25);
		pass(&t, 1000 + step_ms[i]);
	}
	scene_run(&sc, 10000);
	listen(&sc, USER_A);
	for (i = 0; i < 6; i++) {
		expect_at(&sc, 100 + i * 1500);
		expect_voice(&sc, 25 * i, 25);
	}
	expect_end(&sc);
	expect_count(&sc, "decoded", 150);
	expect_count(&sc, "lost", 0);
	expect_count(&sc, "overlap_dropped", 0);
	scene_end(&sc);

	/* Ours falls back: what comes then comes now, until it has caught up. */
	scene_begin(&sc);
	t = (struct talker){ SSRC_A, 1, 1, 0 };
	for (i = 0; i < 100; i++)
		say_one(&sc, &t, i, 1000 + i * STEP_MS - (i >= 50 ? 300 : 0));
	scene_run_in_order(&sc, 4000);
	listen(&sc, USER_A);
	expect_at(&sc, 1000);
	expect_voice(&sc, 0, 100);
	expect_end(&sc);
	expect_counts(&sc, 100, 0, 0);
	scene_end(&sc);
}

/* The first packets of a spurt are slow, for longer than reordering would wait. */
static void jitter_at_the_start(void **state)
{
	struct talker t = { SSRC_A, 1, 1, 0 };
	struct scene sc;
	int i, spurt;

	(void)state;
	scene_begin(&sc);
	for (spurt = 0; spurt < 3; spurt++) {
		for (i = 0; i < 40; i++)
			say_one(&sc, &t, i, 500 + spurt * 2000 + i * STEP_MS + (i < 8 ? 30 : 0));
		move_on(&sc, &t, 40);
		if (spurt == 0) /* timestamps run on, then stand still */
			pass(&t, 1200);
	}
	scene_run(&sc, 8000);
	listen(&sc, USER_A);
	for (spurt = 0; spurt < 3; spurt++) {
		expect_at(&sc, 500 + spurt * 2000);
		expect_voice(&sc, 40 * spurt, 40);
	}
	expect_end(&sc);
	expect_counts(&sc, 120, 0, 1);
	scene_end(&sc);
}

/* All of a spurt is slow. What the stream did in the half minute before tells when it was said, and
 * after a longer pause how late it can be at most: 200 ppm of 60 s. */
static void slow_spurt(void **state)
{
	struct talker t = { SSRC_A, 1, 1, 0 };
	struct scene sc;
	double off;
	int i;

	(void)state;
	scene_begin(&sc);
	say(&sc, &t, 500, 40);
	pass(&t, 20200);
	for (i = 0; i < 40; i++)
		say_one(&sc, &t, i, 21500 + i * STEP_MS + 70);
	move_on(&sc, &t, 40);
	pass(&t, 59200);
	for (i = 0; i < 40; i++)
		say_one(&sc, &t, i, 81500 + i * STEP_MS + 70);
	scene_run(&sc, 90000);
	listen(&sc, USER_A);
	expect_at(&sc, 500);
	expect_voice(&sc, 0, 40);
	expect_at(&sc, 21500);
	expect_voice(&sc, 40, 40);
	off = find_voice(&sc, 81500, 80);
	assert_true(off >= 0 && off <= 12.1);
	expect_voice(&sc, 81, 39);
	expect_end(&sc);
	expect_counts(&sc, 120, 0, 0);
	scene_end(&sc);
}

/* Who speaks first in a capture is not late because their first packet was: position 0 is its
 * arrival, and what they had said by then is cut. */
static void slow_first_packet(void **state)
{
	struct talker t = { SSRC_A, 1, 1, 0 };
	struct scene sc;
	int i;

	(void)state;
	scene_begin(&sc);
	for (i = 0; i < 40; i++)
		say_one(&sc, &t, i, i == 0 ? 0 : i * STEP_MS - 50 < 1 ? 1 : i * STEP_MS - 50);
	scene_run(&sc, 2000);
	listen(&sc, USER_A);
	for (i = 0; i < 3; i++) /* 50 ms: two packets and a half */
		assert_true(opus_decode(sc.ear.dec, sc.v.packet[i], sc.v.len[i], sc.ear.pcm, 5760,
				    0) == STEP);
	memmove(sc.ear.pcm, sc.ear.pcm + STEP / 2, STEP / 2 * sizeof(int16_t));
	expect_heard(&sc, STEP / 2);
	expect_voice(&sc, 3, 37);
	expect_end(&sc);
	expect_counts(&sc, 40, 0, 0);
	scene_end(&sc);
}

/* What the network adds: 0 to 15 ms, and a lot now and then. Never the same twice. */
static double delay_ms(unsigned n)
{
	n = (n ^ 61) * 0x9e3779b1u;
	n ^= n >> 15;
	n *= 0x85ebca6bu;
	return n % 97 == 0 ? 55 : n % 4096 * (15.0 / 4096);
}

/* A word of 20 packets at every minute of the truth, by a clock that is so much fast. */
static void words(struct scene *sc, uint32_t ssrc, double ppm, int minutes)
{
	struct talker t = { ssrc, 60000, 0xf0000000, 0 };
	uint32_t ts0 = t.ts;
	int m, i;

	for (m = 0; m < minutes; m++) {
		t.ts = ts0 + (uint32_t)llround(m * 60000 * 48 * (1 + ppm * 1e-6));
		for (i = 0; i < 20; i++)
			say_one(sc, &t, i,
				1000 + m * 60000 + i * STEP_MS / (1 + ppm * 1e-6) +
					delay_ms((unsigned)(m * 20 + i) + ssrc));
		move_on(sc, &t, 20);
	}
}

/* Every word is whole and where it belongs. *places: how far off, per minute. */
static void expect_words(struct scene *sc, int minutes, double *places)
{
	int m;

	for (m = 0; m < minutes; m++) {
		places[m] = find_voice(sc, 1000 + m * 60000, 20 * m);
		expect_voice(sc, 20 * m + 1, 19);
		assert_true(fabs(places[m]) <= 20);
	}
	expect_end(sc);
	expect_counts(sc, 20 * minutes, 0, 0);
}

static void clock_drift_100ppm(void **state)
{
	static const double ppm[] = { 100, -100 };
	double places[60];
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct scene sc;

		scene_begin(&sc);
		words(&sc, SSRC_A, ppm[i], 60);
		scene_run(&sc, 3600000);
		listen(&sc, USER_A);
		expect_words(&sc, 60, places);
		scene_end(&sc);
	}
}

static void two_speakers_4h_alignment(void **state)
{
	enum { MINUTES = 240 };
	static double a[MINUTES], b[MINUTES];
	struct scene sc;
	int m;

	(void)state;
	scene_begin(&sc);
	words(&sc, SSRC_A, 100, MINUTES);
	words(&sc, SSRC_B, -100, MINUTES);
	scene_run(&sc, MINUTES * 60000);
	assert_int_equal(tracks(&sc), 2);
	listen(&sc, USER_A);
	expect_words(&sc, MINUTES, a);
	listen(&sc, USER_B);
	expect_words(&sc, MINUTES, b);
	/* Said at once, heard at once. */
	for (m = 0; m < MINUTES; m++)
		assert_true(fabs(a[m] - b[m]) <= 20);
	scene_end(&sc);
}

/* ---- nothing ---- */

static void all_silent(void **state)
{
	struct talker t = { SSRC_A, 1, 1, 0 };
	struct scene sc;

	(void)state;
	scene_begin(&sc);
	fall_silent(&sc, &t, 100, 5);
	pass(&t, 3000);
	fall_silent(&sc, &t, 3200, 5);
	scene_run(&sc, 60000);
	assert_int_equal(tracks(&sc), 1);
	listen(&sc, USER_A);
	expect_end(&sc);
	expect_counts(&sc, 10, 0, 0);
	expect_count(&sc, "silence", 10);
	assert_true(json_is_null(json_object_get(sc.track, "first_sample")));
	scene_end(&sc);
}

static void no_packets_at_all(void **state)
{
	struct scene sc;

	(void)state;
	scene_begin(&sc);
	scene_run(&sc, 7200000);
	assert_int_equal(tracks(&sc), 0);
	assert_string_equal(json_string_value(json_object_get(sc.json, "state")), "complete");
	scene_end(&sc);
}

/* Keepalives are echoed, are not, and are late: time does not care. */
static void keepalive_loss(void **state)
{
	static const uint8_t echo[8] = { 1, 2, 3, 4 };
	struct talker t = { SSRC_A, 1, 1, 0 };
	struct cue *e;
	struct scene sc;
	int i;

	(void)state;
	scene_begin(&sc);
	for (i = 0; i < 12; i++) {
		e = plan(&sc, CUE_DATAGRAM, i < 3 ? i * 5000 : 60000 + i);
		e->data = echo;
		e->len = sizeof(echo);
	}
	say(&sc, &t, 14990, 20);
	pass(&t, 44000);
	say(&sc, &t, 59390, 50); /* when they all come at once */
	scene_run(&sc, 62000);
	listen(&sc, USER_A);
	expect_at(&sc, 14990);
	expect_voice(&sc, 0, 20);
	expect_at(&sc, 59390);
	expect_voice(&sc, 20, 50);
	expect_end(&sc);
	expect_counts(&sc, 70, 0, 0);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(sc.json, "counters"),
				 "not_voice")),
		12);
	scene_end(&sc);
}

/* Another server with another key: every stream is a new one, each track goes on. */
static void endpoint_move(void **state)
{
	struct talker a = { SSRC_A, 1, 1, 0 }, b = { SSRC_B, 9, 9, 0 };
	struct scene sc;
	int i;

	(void)state;
	scene_begin(&sc);
	say(&sc, &a, 100, 50);
	say(&sc, &b, 113, 50);
	plan(&sc, CUE_MOVED, 1500);
	/* A keeps the SSRC and counts anew, B has another one. */
	plan_name(&sc, 1500, SSRC_A, USER_A);
	plan_name(&sc, 1500, SSRC_C, USER_B);
	a.seq = 40000;
	a.ts = 0xdeadbeef;
	b.ssrc = SSRC_C;
	b.ts = 0x7ffffff0;
	say(&sc, &a, 4000, 50);
	say(&sc, &b, 4013, 50);
	scene_run(&sc, 6000);
	assert_int_equal(tracks(&sc), 2);
	for (i = 0; i < 2; i++) {
		listen(&sc, i == 0 ? USER_A : USER_B);
		expect_at(&sc, 100 + 13 * i);
		expect_voice(&sc, 0, 50);
		ear_renew(&sc);
		expect_at(&sc, 4000 + 13 * i);
		expect_voice(&sc, 50, 50);
		expect_end(&sc);
		expect_count(&sc, "decoded", 100);
		expect_count(&sc, "lost", 0);
		expect_count(&sc, "overlap_dropped", 0);
	}
	scene_end(&sc);
}

/* A recorder that loses its connection for a while, in the middle of speech. */
static void reconnect(void **state)
{
	struct talker t = { SSRC_A, 65500, 0u - 60 * STEP, 0 };
	struct scene sc;

	(void)state;
	scene_begin(&sc);
	say(&sc, &t, 100, 50);
	move_on(&sc, &t, 200);
	say(&sc, &t, 5100, 50);
	scene_run(&sc, 7000);
	listen(&sc, USER_A);
	expect_at(&sc, 100);
	expect_voice(&sc, 0, 50);
	expect_concealed(&sc, 5);
	expect_at(&sc, 5100);
	expect_voice(&sc, 250, 50);
	expect_end(&sc);
	expect_counts(&sc, 100, 200, 0);
	scene_end(&sc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seq_wrap),
		cmocka_unit_test(ts_wrap),
		cmocka_unit_test(ssrc_change_same_user),
		cmocka_unit_test(rejoin),
		cmocka_unit_test(unknown_ssrc_then_speaking),
		cmocka_unit_test(reorder_1),
		cmocka_unit_test(reorder_2),
		cmocka_unit_test(reorder_3),
		cmocka_unit_test(reorder_4),
		cmocka_unit_test(reorder_n),
		cmocka_unit_test(duplicate),
		cmocka_unit_test(late_inside_window),
		cmocka_unit_test(late_outside_window),
		cmocka_unit_test(loss_single),
		cmocka_unit_test(loss_burst_3),
		cmocka_unit_test(loss_burst_50),
		cmocka_unit_test(gap_dtx_1s),
		cmocka_unit_test(gap_10min),
		cmocka_unit_test(sender_ts_frozen_in_pause),
		cmocka_unit_test(padding),
		cmocka_unit_test(ts_jump_backwards),
		cmocka_unit_test(ts_jump_forward_2_31),
		cmocka_unit_test(frame_2_5_to_120ms),
		cmocka_unit_test(stereo_mono_switch),
		cmocka_unit_test(clock_step),
		cmocka_unit_test(jitter_at_the_start),
		cmocka_unit_test(slow_spurt),
		cmocka_unit_test(slow_first_packet),
		cmocka_unit_test(clock_drift_100ppm),
		cmocka_unit_test(two_speakers_4h_alignment),
		cmocka_unit_test(all_silent),
		cmocka_unit_test(no_packets_at_all),
		cmocka_unit_test(keepalive_loss),
		cmocka_unit_test(endpoint_move),
		cmocka_unit_test(reconnect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
