/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sndfile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/host.h"
#include "sinks/outfile.h"
#include "sinks/sink.h"
#include "sinks/spec.h"

enum { FRAME = 960, LONGEST = 5760, EVENTS = 64 };
#define START (1000 * TD_SEC_NS)
#define START_UTC UINT64_C(1795158000000000000)
#define SESSION "1-2-20261120T070000Z"

static char dir[64];
static struct sink_spec *spec;
static struct sink_session *session;

/* What the session reported, as lines. */
static char events[EVENTS][200];
static size_t event_count;

static void on_event(void *user, const struct sink_event *event)
{
	static const char *const names[] = { "opened", "closed", "warning", "failed" };

	assert_ptr_equal(user, events);
	assert_true(event_count < EVENTS);
	snprintf(events[event_count++], sizeof(events[0]), "%s %s user=%llu samples=%llu",
		names[event->type], event->path != NULL ? event->path : event->text,
		(unsigned long long)event->user_id, (unsigned long long)event->samples);
}

static int setup(void **state)
{
	char err[128];

	(void)state;
	strcpy(dir, "/tmp/test_host.XXXXXX");
	event_count = 0;
	session = NULL;
	if (mkdtemp(dir) == NULL)
		return -1;
	return sink_spec_parse(&spec, "file", err, sizeof(err));
}

/* Removes what is in a folder and the folder. */
static int remove_all(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		char sub[512];

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name);
		if (unlink(sub) < 0)
			remove_all(sub);
	}
	if (d != NULL)
		closedir(d);
	return rmdir(path);
}

static int teardown(void **state)
{
	(void)state;
	outfile_test_sys(NULL);
	sink_spec_free(spec);
	return remove_all(dir);
}

static int open_session_of(const char *name, const struct sink_spec *const *specs, size_t count)
{
	const struct sink_session_conf conf = {
		.out_dir = dir,
		.name = name,
		.guild_id = 1,
		.channel_id = 2,
		.user_id = 3,
		.start_ns = START,
		.start_utc_ns = START_UTC,
		.live = true,
		.specs = specs,
		.spec_count = count,
		.event = on_event,
		.user = events,
	};

	return sink_session_open(&session, &conf);
}

static void open_session(const char *name)
{
	const struct sink_spec *const specs[] = { spec };

	assert_int_equal(open_session_of(name, specs, 1), 0);
}

static uint64_t at(uint64_t ms)
{
	return START + ms * TD_MS_NS;
}

/* Frame n of a stream: 20 ms of values only this one has. */
static void fill(int16_t *pcm, unsigned channels, uint32_t ssrc, uint64_t n)
{
	for (unsigned i = 0; i < FRAME * channels; i++)
		pcm[i] = (int16_t)(1 + (ssrc * 101 + n * 7919 + i) % 30000);
}

static void frame(uint64_t user_id, uint32_t ssrc, uint64_t ms, bool spurt, unsigned channels)
{
	int16_t pcm[FRAME * 2];
	struct td_frame f = {
		.user_id = user_id,
		.arrival_ns = at(ms),
		.sent_ns = (int64_t)at(ms),
		.ssrc = ssrc,
		.rtp_ts = (uint32_t)(ms * 48),
		.samples = FRAME,
		.channels = (uint8_t)channels,
		.flags = spurt ? TD_FRAME_SPURT : 0,
		.pcm = pcm,
	};

	fill(pcm, channels, ssrc, ms / 20);
	sink_session_frame(session, &f);
}

static SNDFILE *open_file(const char *name, SF_INFO *info)
{
	char path[256];
	SNDFILE *snd;

	memset(info, 0, sizeof(*info));
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if ((snd = sf_open(path, SFM_READ, info)) == NULL)
		fail_msg("%s: %s", path, sf_strerror(NULL));
	return snd;
}

/* The stereo file holds this frame at `ms`. */
static void expect_frame(const char *name, uint32_t ssrc, uint64_t ms)
{
	int16_t want[FRAME * 2], got[FRAME * 2];
	SF_INFO info;
	SNDFILE *snd = open_file(name, &info);

	fill(want, 2, ssrc, ms / 20);
	assert_int_equal(sf_seek(snd, (sf_count_t)ms * 48, SEEK_SET), ms * 48);
	assert_int_equal(sf_readf_short(snd, got, FRAME), FRAME);
	assert_memory_equal(want, got, sizeof(want));
	sf_close(snd);
}

static sf_count_t length_of(const char *name)
{
	SF_INFO info;

	sf_close(open_file(name, &info));
	return info.frames;
}

static bool exists(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static json_t *manifest(const char *name)
{
	char path[256];
	json_t *json;

	snprintf(path, sizeof(path), "%s/%s/session.json", dir, name);
	json = json_load_file(path, 0, NULL);
	assert_non_null(json);
	return json;
}

static json_int_t number(const json_t *json, const char *key)
{
	return json_integer_value(json_object_get(json, key));
}

static const char *text(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

static json_t *track(const json_t *json, size_t i)
{
	json_t *t = json_array_get(json_object_get(json, "tracks"), i);

	assert_non_null(t);
	return t;
}

static struct sink_track_summary summaries[8];
static char paths[8][256];
static size_t summary_count;

static void on_track(void *user, const struct sink_track_summary *summary)
{
	assert_ptr_equal(user, summaries);
	assert_true(summary_count < 8);
	snprintf(paths[summary_count], sizeof(paths[0]), "%s", summary->path);
	assert_non_null(summary->counters);
	summaries[summary_count++] = *summary;
}

static int close_session(uint64_t ms)
{
	summary_count = 0;
	return sink_session_close(session, at(ms), "stopped", on_track, summaries);
}

/* ---- sessions ---- */

static void a_session_from_begin_to_end(void **state)
{
	uint64_t delta[COUNTER_COUNT] = { [COUNTER_RECEIVED] = 3 };
	char want[200];
	struct stat st;
	json_t *json;

	(void)state;
	open_session(NULL);
	json = manifest(SESSION);
	assert_string_equal(text(json, "state"), "recording");
	assert_int_equal(json_array_size(json_object_get(json, "tracks")), 0);
	json_decref(json);
	snprintf(want, sizeof(want), "%s/" SESSION, dir);
	assert_int_equal(stat(want, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);

	sink_session_speaker(session, 7, 70, at(0));
	frame(7, 70, 100, true, 2);
	frame(7, 70, 120, false, 2);
	frame(8, 80, 120, true, 2);
	sink_session_count(session, 70, 7, delta);
	sink_session_count(session, 0, 0, delta);
	sink_session_pause(session, at(200));
	sink_session_resume(session, at(500));
	sink_session_mark(session, "note", "hello", at(600));
	sink_session_rtcp(session, at(600), 7, 70, (const uint8_t *)"", 0);
	sink_session_speaker_left(session, 7, at(700));
	/* late counts of somebody who left, and of somebody never heard */
	sink_session_count(session, 70, 7, delta);
	sink_session_count(session, 90, 9, delta);
	sink_session_tick(session, at(1000));
	json = manifest(SESSION);
	assert_int_equal(number(json, "samples"), 48000);
	assert_string_equal(text(track(json, 0), "user_id"), "7");
	json_decref(json);

	assert_int_equal(close_session(2000), 0);
	assert_int_equal(length_of(SESSION "/7.wav"), 96000);
	assert_int_equal(length_of(SESSION "/8.wav"), 96000);
	expect_frame(SESSION "/7.wav", 70, 100);
	expect_frame(SESSION "/7.wav", 70, 120);
	expect_frame(SESSION "/8.wav", 80, 120);
	snprintf(want, sizeof(want), "%s/" SESSION "/7.wav", dir);
	assert_int_equal(stat(want, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	assert_int_equal(event_count, 4);
	assert_string_equal(events[0], "opened " SESSION "/7.wav user=7 samples=0");
	assert_string_equal(events[1], "opened " SESSION "/8.wav user=8 samples=0");
	assert_string_equal(events[2], "closed " SESSION "/7.wav user=7 samples=96000");
	assert_string_equal(events[3], "closed " SESSION "/8.wav user=8 samples=96000");
	assert_int_equal(summary_count, 2);
	assert_string_equal(paths[0], want);
	assert_int_equal(summaries[0].user_id, 7);
	assert_int_equal(summaries[0].samples, 96000);

	json = manifest(SESSION);
	assert_string_equal(text(json, "state"), "complete");
	assert_string_equal(text(json, "reason"), "stopped");
	assert_int_equal(number(json, "samples"), 96000);
	assert_int_equal(number(track(json, 0), "first_sample"), 4800);
	assert_int_equal(number(json_object_get(track(json, 0), "counters"), "received"), 6);
	assert_int_equal(number(json_object_get(json, "counters"), "received"), 6);
	assert_int_equal(number(json_array_get(json_object_get(json, "pauses"), 0), "from"), 9600);
	assert_int_equal(number(json_array_get(json_object_get(json, "pauses"), 0), "to"), 24000);
	assert_string_equal(text(json_array_get(json_object_get(json, "events"), 0), "text"),
		"hello");
	json_decref(json);
}

static void no_packets_at_all(void **state)
{
	json_t *json;

	(void)state;
	open_session("quiet");
	/* only the length changes: the manifest twice a minute */
	for (int s = 1; s <= 31; s++) {
		sink_session_tick(session, at(s * 1000));
		json = manifest("quiet");
		assert_int_equal(number(json, "samples"), s < 30 ? 0 : 30 * 48000);
		json_decref(json);
	}
	assert_int_equal(close_session(40000), 0);
	assert_int_equal(summary_count, 0);
	json = manifest("quiet");
	assert_string_equal(text(json, "state"), "complete");
	assert_int_equal(number(json, "samples"), 40 * 48000);
	json_decref(json);
}

static void nothing_is_overwritten(void **state)
{
	struct sink_session *first;

	(void)state;
	open_session("s");
	first = session;
	frame(7, 70, 0, true, 2);
	open_session("s");
	frame(7, 71, 0, true, 2);
	assert_int_equal(close_session(20), 0);
	session = first;
	assert_int_equal(close_session(20), 0);
	expect_frame("s/7.wav", 70, 0);
	expect_frame("s-2/7.wav", 71, 0);
}

static void names_and_folders_that_cannot_be(void **state)
{
	const struct sink_spec *const specs[] = { spec };
	char want[200];

	(void)state;
	assert_int_equal(open_session_of("../x", specs, 1), TD_ERR_IO);
	assert_string_equal(events[0],
		"failed '../x' cannot be the name of a session user=0 samples=0");
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(open_session_of("x", specs, 1), TD_ERR_IO);
	snprintf(want, sizeof(want), "failed %s: No such file or directory user=0 samples=0", dir);
	assert_string_equal(events[1], want);
	assert_null(session);
	assert_int_equal(mkdir(dir, 0700), 0);
}

static void unknown_speaker_becomes_known(void **state)
{
	json_t *json;

	(void)state;
	open_session("s");
	frame(0, 70, 0, true, 2);
	frame(0, 80, 0, true, 2);
	assert_true(exists("s/ssrc-70.wav"));
	sink_session_speaker(session, 7, 70, at(20));
	assert_false(exists("s/ssrc-70.wav"));
	assert_true(exists("s/7.wav"));
	frame(7, 70, 20, false, 2);
	/* A second SSRC that was heard before it was known to be the same user's. */
	frame(0, 71, 100, true, 2);
	sink_session_speaker(session, 7, 71, at(120));
	frame(7, 71, 200, true, 2);
	sink_session_tick(session, at(1000));
	json = manifest("s");
	assert_string_equal(text(track(json, 0), "file"), "7.wav");
	assert_string_equal(text(track(json, 1), "file"), "ssrc-71.wav");
	assert_string_equal(text(track(json, 1), "user_id"), "7");
	assert_string_equal(text(track(json, 2), "file"), "ssrc-80.wav");
	assert_true(json_is_null(json_object_get(track(json, 2), "user_id")));
	json_decref(json);
	assert_int_equal(close_session(1000), 0);
	assert_int_equal(length_of("s/7.wav"), 48000);
	assert_int_equal(length_of("s/ssrc-71.wav"), 48000);
	assert_int_equal(length_of("s/ssrc-80.wav"), 48000);
	expect_frame("s/7.wav", 70, 0);
	expect_frame("s/7.wav", 70, 20);
	expect_frame("s/7.wav", 71, 200);
	expect_frame("s/ssrc-71.wav", 71, 100);
	assert_int_equal(summaries[1].user_id, 7);
	assert_int_equal(summaries[2].user_id, 0);
}

static void a_name_that_is_taken(void **state)
{
	(void)state;
	open_session("s");
	frame(7, 70, 0, true, 2);
	sink_session_speaker_left(session, 7, at(20));
	frame(0, 70, 100, true, 2);
	sink_session_speaker(session, 7, 70, at(120));
	sink_session_speaker_left(session, 7, at(120));
	/* a third life of the same SSRC */
	frame(0, 70, 200, true, 2);
	assert_int_equal(close_session(1000), 0);
	assert_int_equal(length_of("s/7.wav"), 48000);
	expect_frame("s/ssrc-70.wav", 70, 100);
	expect_frame("s/ssrc-70-2.wav", 70, 200);
	assert_false(exists("s/.ssrc-70.wav.part"));
}

static void stereo_mono_switch(void **state)
{
	static const char *const texts[] = { "file:channels=1", "file:channels=2" };

	(void)state;
	for (unsigned want = 1; want <= 2; want++) {
		int16_t pcm[2 * FRAME], got[2 * FRAME], longest[2 * LONGEST];
		struct sink_spec *own;
		const struct sink_spec *specs[1];
		char err[64];
		SF_INFO info;
		SNDFILE *snd;
		json_t *json;

		assert_int_equal(sink_spec_parse(&own, texts[want - 1], err, sizeof(err)), 0);
		specs[0] = own;
		assert_int_equal(open_session_of(want == 1 ? "mono" : "stereo", specs, 1), 0);
		frame(7, 70, 0, true, 1);
		frame(7, 70, 20, false, 2);
		/* the loudest there is does not wrap */
		struct td_frame loud = { .user_id = 7,
			.arrival_ns = at(40),
			.sent_ns = (int64_t)at(40),
			.ssrc = 70,
			.rtp_ts = 40 * 48,
			.samples = 2,
			.channels = 2,
			.pcm = (const int16_t[]){ INT16_MIN, INT16_MIN, INT16_MAX, INT16_MAX } };
		sink_session_frame(session, &loud);
		loud.rtp_ts += 2;
		loud.samples = LONGEST;
		loud.channels = (uint8_t)(3 - want);
		for (unsigned i = 0; i < LONGEST * loud.channels; i++)
			longest[i] = (int16_t)(i / loud.channels + 1);
		loud.pcm = longest;
		sink_session_frame(session, &loud);
		assert_int_equal(close_session(0), 0);
		json = manifest(want == 1 ? "mono" : "stereo");
		assert_int_equal(number(json, "samples"), 2 * FRAME + 2 + LONGEST);
		json_decref(json);
		snd = open_file(want == 1 ? "mono/7.wav" : "stereo/7.wav", &info);
		assert_int_equal(info.channels, want);
		assert_int_equal(info.frames, 2 * FRAME + 2 + LONGEST);
		fill(pcm, 1, 70, 0);
		sf_readf_short(snd, got, FRAME);
		for (unsigned i = 0; i < FRAME * want; i++)
			assert_int_equal(got[i], pcm[i / want]);
		fill(pcm, 2, 70, 1);
		sf_readf_short(snd, got, FRAME);
		for (unsigned i = 0; i < FRAME * want; i++)
			assert_int_equal(got[i],
				want == 2 ? pcm[i] : (pcm[2 * i] + pcm[2 * i + 1]) / 2);
		sf_readf_short(snd, got, 2);
		assert_int_equal(got[0], INT16_MIN);
		assert_int_equal(got[2 * want - 1], INT16_MAX);
		/* as long as a frame can be */
		for (unsigned i = 0; i < LONGEST; i++) {
			sf_readf_short(snd, got, 1);
			assert_int_equal(got[0], i + 1);
			assert_int_equal(got[want - 1], i + 1);
		}
		sf_close(snd);
		sink_spec_free(own);
	}
}

static void impossible_frames_are_ignored(void **state)
{
	const int16_t pcm[2] = { 1, 1 };
	struct td_frame f = { .user_id = 7,
		.arrival_ns = at(0),
		.sent_ns = (int64_t)at(0),
		.ssrc = 70,
		.samples = 0,
		.channels = 2,
		.pcm = pcm };

	(void)state;
	open_session("s");
	sink_session_frame(session, &f);
	f.samples = 1;
	f.channels = 0;
	sink_session_frame(session, &f);
	f.channels = 3;
	sink_session_frame(session, &f);
	assert_int_equal(close_session(20), 0);
	assert_int_equal(summary_count, 0);
}

/* ---- time ---- */

static void headers_and_manifest_follow(void **state)
{
	uint64_t delta[COUNTER_COUNT] = { [COUNTER_RECEIVED] = 1 };
	json_t *json;

	(void)state;
	open_session("s");
	frame(7, 70, 0, true, 2);
	sink_session_tick(session, at(299));
	assert_int_equal(length_of("s/7.wav"), 0);
	sink_session_tick(session, at(351));
	assert_int_equal(length_of("s/7.wav"), FRAME);
	frame(7, 70, 20, false, 2);
	sink_session_tick(session, at(650));
	assert_int_equal(length_of("s/7.wav"), FRAME);
	sink_session_tick(session, at(701));
	assert_int_equal(length_of("s/7.wav"), 2 * FRAME);
	sink_session_tick(session, at(999));
	json = manifest("s");
	assert_int_equal(json_array_size(json_object_get(json, "tracks")), 0);
	json_decref(json);
	sink_session_tick(session, at(1200));
	json = manifest("s");
	assert_int_equal(number(track(json, 0), "samples"), 2 * FRAME);
	json_decref(json);
	/* only numbers change: the manifest in five seconds */
	frame(7, 70, 1980, true, 2);
	sink_session_count(session, 70, 7, delta);
	sink_session_tick(session, at(2400));
	assert_int_equal(length_of("s/7.wav"), 96000);
	json = manifest("s");
	assert_int_equal(number(track(json, 0), "samples"), 2 * FRAME);
	json_decref(json);
	sink_session_tick(session, at(6200));
	json = manifest("s");
	assert_int_equal(number(track(json, 0), "samples"), 96000);
	assert_int_equal(number(json_object_get(track(json, 0), "counters"), "received"), 1);
	assert_int_equal(number(json, "samples"), 297600);
	json_decref(json);
	/* time does not go back */
	sink_session_tick(session, at(1));
	json = manifest("s");
	assert_int_equal(number(json, "samples"), 297600);
	json_decref(json);
	assert_int_equal(close_session(7000), 0);
}

static void killed_session_is_valid(void **state)
{
	pid_t pid;
	int status;
	json_t *json;

	(void)state;
	if ((pid = fork()) == 0) {
		open_session("s");
		for (uint64_t ms = 0; ms < 2500; ms += 20) {
			frame(7, 70, ms, ms == 0, 2);
			frame(8, 80, ms, ms == 0, 2);
			sink_session_tick(session, at(ms));
		}
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(length_of("s/7.wav"), 115200 + FRAME);
	assert_int_equal(length_of("s/8.wav"), 115200 + FRAME);
	for (uint64_t ms = 0; ms <= 2400; ms += 20)
		expect_frame("s/8.wav", 80, ms);
	json = manifest("s");
	assert_string_equal(text(json, "state"), "recording");
	assert_string_equal(text(track(json, 0), "file"), "7.wav");
	assert_string_equal(text(track(json, 1), "file"), "8.wav");
	json_decref(json);
}

static void a_nonsense_jump_does_not_fill_the_disk(void **state)
{
	struct td_frame f = { .user_id = 7,
		.arrival_ns = at(40),
		.ssrc = 70,
		.samples = 1,
		.channels = 2,
		.pcm = (const int16_t[]){ 1, 1 } };

	(void)state;
	open_session("s");
	frame(7, 70, 0, true, 2);
	f.rtp_ts = 0x80000000u;
	f.sent_ns = INT64_MAX;
	sink_session_frame(session, &f);
	assert_int_equal(close_session(100), 0);
	assert_true(length_of("s/7.wav") <= 48000 + 4800);
	assert_int_equal(summary_count, 1);
}

/* ---- failures ---- */

static const char *full_file; /* pwrite() fails for the file of this inode */
static ino_t full_inode;

static ssize_t full_pwrite(int fd, const void *data, size_t len, off_t where)
{
	struct stat st;

	/* Overwriting what is there needs no room. */
	if (fstat(fd, &st) == 0 && st.st_ino == full_inode && where + (off_t)len > st.st_size) {
		errno = ENOSPC;
		return -1;
	}
	return pwrite(fd, data, len, where);
}

static const struct outfile_sys full = { full_pwrite, ftruncate, fsync };

static void fill_disk_for(const char *name)
{
	char path[256];
	struct stat st;

	full_file = name;
	snprintf(path, sizeof(path), "%s/%s", dir, full_file);
	assert_int_equal(stat(path, &st), 0);
	full_inode = st.st_ino;
	outfile_test_sys(&full);
}

static void disk_full(void **state)
{
	json_t *json;
	size_t failed = 0;

	(void)state;
	open_session("s");
	for (uint64_t ms = 0; ms < 1000; ms += 20) {
		frame(7, 70, ms, ms == 0, 2);
		frame(8, 80, ms, ms == 0, 2);
	}
	sink_session_tick(session, at(1000));
	fill_disk_for("s/7.wav");
	for (uint64_t ms = 1000; ms < 3000; ms += 20) {
		frame(7, 70, ms, false, 2);
		frame(8, 80, ms, false, 2);
		sink_session_tick(session, at(ms));
	}
	assert_int_equal(close_session(3000), TD_ERR_IO);
	for (size_t i = 0; i < event_count; i++)
		failed += strncmp(events[i], "failed", 6) == 0;
	assert_int_equal(failed, 1);
	assert_string_equal(events[2],
		"failed 7.wav: No space left on device; this file ends here, and the next one "
		"begins when it can be written user=0 samples=0");
	/* what was there stays, and the other one is whole */
	assert_true(length_of("s/7.wav") >= 48000);
	assert_true(length_of("s/7.wav") < 48000 + 16384);
	expect_frame("s/7.wav", 70, 980);
	assert_int_equal(length_of("s/8.wav"), 144000);
	expect_frame("s/8.wav", 80, 2980);
	json = manifest("s");
	assert_int_equal(number(json, "samples"), 144000);
	assert_int_equal(number(track(json, 0), "samples"), length_of("s/7.wav"));
	assert_string_equal(text(json_array_get(json_object_get(json, "events"), 0), "type"),
		"failed");
	json_decref(json);
	assert_int_equal(summaries[0].samples, length_of("s/7.wav"));
}

static ssize_t no_pwrite(int fd, const void *data, size_t len, off_t where)
{
	(void)fd;
	(void)data;
	(void)len;
	(void)where;
	errno = EIO;
	return -1;
}

static void nothing_can_be_written_any_more(void **state)
{
	static const struct outfile_sys sys = { no_pwrite, ftruncate, fsync };
	const struct sink_spec *const specs[] = { spec };
	json_t *json;

	(void)state;
	outfile_test_sys(&sys);
	assert_int_equal(open_session_of("s", specs, 1), TD_ERR_IO);
	assert_string_equal(events[0], "failed session.json: Input/output error user=0 samples=0");
	outfile_test_sys(NULL);
	open_session("s");
	outfile_test_sys(&sys);
	frame(7, 70, 0, true, 2);
	for (uint64_t ms = 0; ms < 9000; ms += 500) {
		frame(7, 70, 20 + ms, false, 2);
		sink_session_tick(session, at(ms));
	}
	/* once for the file, once for the manifest */
	assert_int_equal(event_count, 3);
	assert_string_equal(events[1],
		"failed 7.wav: Input/output error; nothing more of this speaker is written until "
		"it can be made user=0 samples=0");
	assert_string_equal(events[2], "failed session.json: Input/output error user=0 samples=0");
	assert_int_equal(close_session(9000), TD_ERR_IO);
	assert_int_equal(summary_count, 0);
	assert_false(exists("s-2/7.wav"));
	assert_false(exists("s-2/.7.wav.part"));
	json = manifest("s-2");
	assert_string_equal(text(json, "state"), "recording");
	json_decref(json);
}

static int failing_fsync(int fd)
{
	(void)fd;
	errno = EIO;
	return -1;
}

/* Written is not kept: a disk that cannot promise is told. */
static void sync_fails_at_the_end(void **state)
{
	static const struct outfile_sys sys = { pwrite, ftruncate, failing_fsync };

	(void)state;
	open_session("s");
	frame(7, 70, 0, true, 2);
	outfile_test_sys(&sys);
	assert_int_equal(close_session(20), TD_ERR_IO);
	assert_string_equal(events[1],
		"failed 7.wav: Input/output error; this file ends here user=0 samples=0");
	assert_int_equal(length_of("s/7.wav"), FRAME);
}

/* ---- dispatch, with a sink that is not the file sink ---- */

struct probe {
	const struct td_host *host;
	int frames, rtcp, speakers, left, counts, ticks, finished, fail_frame;
	bool live;
	struct td_frame last;
};
static struct probe *probe;
static int probe_closed, probe_fail_frame;

static void probe_wants(const char *const *options, struct td_wants *ret)
{
	(void)options;
	ret->what = TD_WANT_PCM | TD_WANT_RTCP;
	ret->channels = 2;
}

static int probe_open(void **ret_state, const struct td_host *host, const struct td_session *info,
	const char *const *options)
{
	assert_int_equal(host->abi, TD_SINK_ABI);
	assert_int_equal(host->size, sizeof(*host));
	assert_int_equal(info->start_ns, START);
	assert_true(fcntl(info->dir_fd, F_GETFD) >= 0);
	assert_null(options[0]);
	probe = calloc(1, sizeof(*probe));
	probe->host = host;
	probe->live = info->live;
	probe->fail_frame = probe_fail_frame;
	*ret_state = probe;
	return 0;
}

static int probe_frame(void *state, const struct td_frame *f)
{
	struct probe *p = state;

	p->last = *f;
	return ++p->frames == p->fail_frame ? TD_ERR_LIMIT : 0;
}

static int probe_rtcp(void *state, uint64_t arrival_ns, uint64_t user_id, uint32_t ssrc,
	const uint8_t *compound, size_t len)
{
	struct probe *p = state;

	assert_int_equal(arrival_ns, at(5));
	assert_int_equal(user_id, 7);
	assert_int_equal(ssrc, 70);
	assert_memory_equal(compound, "abc", len);
	p->rtcp++;
	return 0;
}

static int probe_speaker(void *state, uint64_t user_id, uint32_t ssrc)
{
	struct probe *p = state;

	assert_int_equal(user_id * 10, ssrc);
	p->speakers++;
	return 0;
}

static int probe_tick(void *state, uint64_t now_ns)
{
	struct probe *p = state;
	struct td_event e = { .size = sizeof(e), .type = TD_EVENT_WARNING, .text = "careful" };

	assert_int_equal(now_ns, p->live ? at(1500) : 0);
	p->ticks++;
	p->host->event(p->host->user, &e);
	e.type = 99;
	p->host->event(p->host->user, &e);
	return 0;
}

static int probe_finish(void *state, uint64_t end_ns)
{
	struct probe *p = state;

	assert_int_equal(end_ns, at(3000));
	p->finished++;
	return 0;
}

static void probe_close(void *state)
{
	free(state);
	probe_closed++;
}

static const struct td_sink_ops probe_ops = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_sink_ops),
	.name = "probe",
	.meaning = "of a test",
	.wants = probe_wants,
	.open = probe_open,
	.frame = probe_frame,
	.finish = probe_finish,
	.close = probe_close,
	.rtcp = probe_rtcp,
	.speaker = probe_speaker,
	.tick = probe_tick,
};

static struct sink_spec *probe_spec(const struct td_sink_ops *ops)
{
	const struct td_plugin plugin = { TD_SINK_ABI, sizeof(plugin), ops, NULL, NULL };
	struct sink_spec *s = NULL;
	char err[128];

	registry_reset();
	assert_int_equal(registry_add(&plugin, "test", err, sizeof(err)), 0);
	assert_int_equal(sink_spec_parse(&s, "probe", err, sizeof(err)), 0);
	return s;
}

static void every_sink_sees_everything(void **state)
{
	uint64_t delta[COUNTER_COUNT] = { [COUNTER_RECEIVED] = 4 };
	struct sink_spec *own = probe_spec(&probe_ops);
	const struct sink_spec *const specs[] = { own, spec };
	const struct td_frame nothing = { .user_id = 7, .channels = 2 };
	json_t *json;

	(void)state;
	probe_closed = probe_fail_frame = 0;
	assert_int_equal(open_session_of("s", specs, 2), 0);
	sink_session_frame(session, &nothing);
	sink_session_speaker(session, 7, 70, at(0));
	frame(7, 70, 0, true, 2);
	sink_session_rtcp(session, at(5), 7, 70, (const uint8_t *)"abc", 3);
	sink_session_count(session, 70, 7, delta);
	sink_session_speaker_left(session, 7, at(9)); /* which the probe does not have */
	sink_session_tick(session, at(1500));
	assert_int_equal(probe->frames, 1);
	assert_int_equal(probe->rtcp, 1);
	assert_int_equal(probe->speakers, 1);
	assert_int_equal(probe->ticks, 1);
	assert_int_equal(probe->last.flags, TD_FRAME_SPURT);
	assert_int_equal(probe->last.arrival_ns, at(0));
	assert_int_equal(probe->last.channels, 2);
	assert_string_equal(events[1], "warning careful user=0 samples=0");
	assert_int_equal(event_count, 2);
	assert_int_equal(close_session(3000), 0);
	assert_int_equal(probe_closed, 1);
	json = manifest("s");
	assert_int_equal(number(json_object_get(track(json, 0), "counters"), "received"), 4);
	assert_int_equal(number(json_object_get(json, "counters"), "received"), 0);
	json_decref(json);
	sink_spec_free(own);
}

static void a_sink_that_fails_is_left_alone(void **state)
{
	struct sink_spec *own = probe_spec(&probe_ops);
	const struct sink_spec *const specs[] = { own, spec };

	(void)state;
	probe_closed = 0;
	probe_fail_frame = 2;
	assert_int_equal(open_session_of("s", specs, 2), 0);
	for (uint64_t ms = 0; ms < 100; ms += 20)
		frame(7, 70, ms, ms == 0, 2);
	sink_session_speaker(session, 1, 2, at(0));
	assert_int_equal(probe->frames, 2);
	assert_string_equal(events[1],
		"failed sink probe has ended: limit reached user=0 samples=0");
	assert_int_equal(event_count, 2);
	assert_int_equal(close_session(200), TD_ERR_IO);
	assert_int_equal(probe_closed, 1);
	assert_int_equal(length_of("s/7.wav"), 9600);
	sink_spec_free(own);
}

static int silent_finish(void *state, uint64_t end_ns)
{
	(void)state;
	(void)end_ns;
	return TD_ERR_NOMEM;
}

static int listless_count(void *state, uint32_t ssrc, uint64_t user_id, const uint64_t *delta,
	uint32_t delta_count)
{
	(void)state;
	(void)ssrc;
	(void)user_id;
	(void)delta;
	(void)delta_count;
	return 0;
}

/* Says as little of its tracks as it can. */
static void listless_files(void *state, td_file_fn *file, void *user)
{
	const struct td_part part = { .samples = 5 };
	struct td_file f = { .size = sizeof(f), .file = "odd", .user_id = 7, .samples = 960 };

	(void)state;
	file(user, &f);
	f.counter_count = UINT32_MAX;
	f.ssrc_count = f.spurt_count = f.cut_count = f.part_count = 9;
	file(user, &f);
	f.parts = &part;
	f.part_count = 1;
	file(user, &f);
}

/* What a plugin leaves out is nothing; that it failed at the end is told, if by us. */
static void a_plugin_of_few_words(void **state)
{
	struct td_sink_ops ops = probe_ops;
	const struct sink_spec *specs[1];
	struct sink_spec *own;
	json_t *json;

	(void)state;
	ops.finish = silent_finish;
	ops.count = listless_count;
	ops.files = listless_files;
	specs[0] = own = probe_spec(&ops);
	probe_closed = probe_fail_frame = 0;
	assert_int_equal(open_session_of("s", specs, 1), 0);
	frame(7, 70, 0, true, 2);
	assert_int_equal(close_session(3000), TD_ERR_IO);
	assert_int_equal(event_count, 1);
	assert_string_equal(events[0],
		"failed sink probe has ended: out of memory user=0 samples=0");
	json = manifest("s");
	assert_int_equal(json_array_size(json_object_get(json, "tracks")), 3);
	json_decref(json);
	sink_spec_free(own);
}

/* In a replay the clock on the wall says nothing of when something happened. */
static void events_of_a_replay_are_in_its_time(void **state)
{
	const struct sink_spec *specs[] = { NULL };
	struct sink_session_conf conf = { .out_dir = dir,
		.name = "s",
		.start_ns = START,
		.start_utc_ns = START_UTC,
		.specs = specs,
		.spec_count = 1,
		.event = on_event,
		.user = events };
	struct sink_spec *own = probe_spec(&probe_ops);
	json_t *json;

	(void)state;
	specs[0] = own;
	probe_closed = 0;
	probe_fail_frame = 2;
	assert_int_equal(sink_session_open(&session, &conf), 0);
	frame(7, 70, 0, true, 2);
	frame(7, 70, 500, false, 2);
	assert_int_equal(close_session(3000), TD_ERR_IO);
	json = manifest("s");
	assert_int_equal(number(json_array_get(json_object_get(json, "events"), 0), "at"),
		500 * 48);
	json_decref(json);
	sink_spec_free(own);
}

/* It goes through seconds in no time, and can be had again. */
static void a_replay_is_refreshed_seldom(void **state)
{
	struct sink_spec *own = probe_spec(&probe_ops);
	const struct sink_spec *specs[] = { own };
	struct sink_session_conf conf = { .out_dir = dir,
		.name = "s",
		.start_ns = START,
		.start_utc_ns = START_UTC,
		.specs = specs,
		.spec_count = 1,
		.event = on_event,
		.user = events };

	(void)state;
	probe_closed = probe_fail_frame = 0;
	assert_int_equal(sink_session_open(&session, &conf), 0);
	for (uint64_t ms = 20; ms <= 35000; ms += 20)
		sink_session_tick(session, at(ms));
	assert_int_equal(probe->ticks, 3);
	assert_int_equal(close_session(3000), 0);
	/* At the capture's speed it does not. */
	conf.realtime = true;
	assert_int_equal(sink_session_open(&session, &conf), 0);
	for (uint64_t ms = 20; ms <= 2000; ms += 20)
		sink_session_tick(session, at(ms));
	assert_int_equal(probe->ticks, 6);
	assert_int_equal(close_session(3000), 0);
	sink_spec_free(own);
}

/* Built against an older header: what lies beyond its size is not there, whatever the bytes say. */
static void methods_beyond_the_size_are_absent(void **state)
{
	struct td_sink_ops ops = probe_ops;
	struct sink_spec *own;
	const struct sink_spec *specs[1];

	(void)state;
	ops.size = offsetof(struct td_sink_ops, rtcp);
	specs[0] = own = probe_spec(&ops);
	probe_closed = probe_fail_frame = 0;
	assert_int_equal(open_session_of("s", specs, 1), 0);
	sink_session_rtcp(session, at(5), 7, 70, (const uint8_t *)"abc", 3);
	sink_session_speaker(session, 1, 2, at(0));
	sink_session_tick(session, at(1500));
	assert_int_equal(probe->rtcp + probe->speakers + probe->ticks, 0);
	assert_int_equal(close_session(3000), 0);
	sink_spec_free(own);
}

static void two_file_sinks_do_not_collide(void **state)
{
	uint64_t delta[COUNTER_COUNT] = { [COUNTER_RECEIVED] = 4 };
	struct sink_spec *mono;
	const struct sink_spec *specs[2];
	char err[64];
	json_t *json;

	(void)state;
	assert_int_equal(sink_spec_parse(&mono, "file:channels=1", err, sizeof(err)), 0);
	specs[0] = spec;
	specs[1] = mono;
	assert_int_equal(open_session_of("s", specs, 2), 0);
	frame(7, 70, 0, true, 2);
	sink_session_count(session, 90, 9, delta);
	assert_int_equal(close_session(100), 0);
	assert_int_equal(length_of("s/7.wav"), 4800);
	assert_int_equal(length_of("s/7-2.wav"), 4800);
	json = manifest("s");
	assert_int_equal(json_array_size(json_object_get(json, "tracks")), 2);
	assert_int_equal(number(json_object_get(json, "counters"), "received"), 4);
	json_decref(json);
	sink_spec_free(mono);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_session_from_begin_to_end),
		TEST(no_packets_at_all),
		TEST(nothing_is_overwritten),
		TEST(names_and_folders_that_cannot_be),
		TEST(unknown_speaker_becomes_known),
		TEST(a_name_that_is_taken),
		TEST(stereo_mono_switch),
		TEST(impossible_frames_are_ignored),
		TEST(headers_and_manifest_follow),
		TEST(killed_session_is_valid),
		TEST(a_nonsense_jump_does_not_fill_the_disk),
		TEST(disk_full),
		TEST(nothing_can_be_written_any_more),
		TEST(sync_fails_at_the_end),
		TEST(every_sink_sees_everything),
		TEST(a_sink_that_fails_is_left_alone),
		TEST(a_plugin_of_few_words),
		TEST(events_of_a_replay_are_in_its_time),
		TEST(a_replay_is_refreshed_seldom),
		TEST(methods_beyond_the_size_are_absent),
		TEST(two_file_sinks_do_not_collide),
	};

	return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
