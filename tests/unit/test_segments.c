/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <sndfile.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/host.h"
#include "sinks/outfile.h"

enum { FRAME = 960, FRAME_MS = 20, FILES = 64 };
#define START (1000 * TD_SEC_NS)

static char dir[64];
static struct sink_spec *spec;
static struct sink_session *session;
static unsigned closed_events, failed_events;
static bool live;

static void on_event(void *user, const struct sink_event *event)
{
	(void)user;
	closed_events += event->type == SINK_EVENT_FILE_CLOSED;
	failed_events += event->type == SINK_EVENT_FAILED;
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_segments.XXXXXX");
	closed_events = failed_events = 0;
	live = false;
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	outfile_test_sys(NULL);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static void begin(const char *text)
{
	struct sink_session_conf conf = { .out_dir = dir,
		.name = "s",
		.start_ns = START,
		.start_utc_ns = UINT64_C(1795158000250000000),
		.live = live,
		.realtime = true,
		.event = on_event };
	const struct sink_spec *specs[1];
	char err[200] = "";

	if (sink_spec_parse(&spec, text, err, sizeof(err)) != 0)
		fail_msg("%s: %s", text, err);
	specs[0] = spec;
	conf.specs = specs;
	conf.spec_count = 1;
	assert_int_equal(sink_session_open(&session, &conf), 0);
}

static int end_at(uint64_t ms)
{
	int r = sink_session_close(session, START + ms * TD_MS_NS, "end", NULL, NULL);

	sink_spec_free(spec);
	return r;
}

/* Sound of this loudness from ms on, in frames; 0 is the silence that decoders ring out in. */
static void speak(uint64_t user_id, uint32_t ssrc, uint64_t from_ms, uint64_t to_ms, int loud)
{
	int16_t pcm[FRAME];

	for (uint64_t ms = from_ms; ms < to_ms; ms += FRAME_MS) {
		struct td_frame f = { .size = sizeof(f),
			.ssrc = ssrc,
			.user_id = user_id,
			.arrival_ns = START + (ms + FRAME_MS) * TD_MS_NS,
			.sent_ns = (int64_t)(START + ms * TD_MS_NS),
			.rtp_ts = (uint32_t)(ms * 48),
			.samples = FRAME,
			.channels = 1,
			.flags = ms == from_ms ? TD_FRAME_SPURT : 0,
			.pcm = pcm };

		for (unsigned i = 0; i < FRAME; i++)
			pcm[i] = (int16_t)(i % 2 == 0 ? loud : -loud);
		sink_session_frame(session, &f);
	}
}

struct line {
	char file[96], user[32];
	uint64_t first, samples;
	double start, duration;
};

/* The lines of an index; every file they name is there, with that many samples. */
static size_t lines(struct line ret[static FILES], const char *index, uint32_t rate)
{
	char path[256], text[1024];
	size_t count = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/s/%s", dir, index);
	assert_non_null(f = fopen(path, "r"));
	while (fgets(text, sizeof(text), f) != NULL) {
		json_t *json = json_loads(text, 0, NULL);
		struct line *l = &ret[count++];
		const char *user;
		SF_INFO info = { 0 };
		SNDFILE *snd;

		assert_non_null(json);
		assert_true(count < FILES);
		user = json_string_value(json_object_get(json, "user_id"));
		snprintf(l->user, sizeof(l->user), "%s", user != NULL ? user : "null");
		snprintf(l->file, sizeof(l->file), "%s",
			json_string_value(json_object_get(json, "file")));
		l->first = (uint64_t)json_integer_value(json_object_get(json, "first_sample"));
		l->samples = (uint64_t)json_integer_value(json_object_get(json, "samples"));
		l->start = json_real_value(json_object_get(json, "start"));
		l->duration = json_real_value(json_object_get(json, "duration"));
		json_decref(json);
		snprintf(path, sizeof(path), "%s/s/%s", dir, l->file);
		assert_non_null(snd = sf_open(path, SFM_READ, &info));
		assert_int_equal(info.samplerate, rate);
		assert_int_equal((uint64_t)info.frames, l->samples * rate / TD_RATE);
		sf_close(snd);
	}
	fclose(f);
	return count;
}

/* Files in the folder of the utterances, finished or not. */
static size_t files(void)
{
	char path[128];
	size_t count = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/s/segments", dir);
	assert_non_null(d = opendir(path));
	while ((e = readdir(d)) != NULL)
		count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(d);
	return count;
}

static void an_utterance_ends_with_silence(void **state)
{
	struct line l[FILES];

	(void)state;
	begin("segments");
	speak(7, 70, 1000, 2000, 1000);
	speak(7, 70, 2500, 3000, 1000); /* 500 ms later: the same utterance */
	speak(7, 70, 3800, 4000, 1000); /* 800 ms later: another one */
	speak(8, 80, 3900, 4100, 1000);
	assert_int_equal(end_at(60000), 0);
	assert_int_equal(lines(l, "segments.jsonl", 16000), 3);
	assert_string_equal(l[0].file, "segments/7-000001000.wav");
	assert_string_equal(l[0].user, "7");
	assert_int_equal(l[0].first, 48000);
	assert_int_equal(l[0].samples, 96000);
	assert_true(l[0].start == 1.0 && l[0].duration == 2.0);
	assert_string_equal(l[1].file, "segments/7-000003800.wav");
	assert_string_equal(l[2].file, "segments/8-000003900.wav");
	assert_int_equal(l[2].samples, 9600);
	assert_int_equal(closed_events, 3);
	assert_int_equal(files(), 3);
}

/* Silence that was sent is silence; the end is where the last sound is. */
static void sent_silence_is_silence(void **state)
{
	struct line l[FILES];

	(void)state;
	begin("segments:after=200,rate=48000");
	speak(7, 70, 0, 300, 1000);
	speak(7, 70, 300, 1000, 8);
	speak(7, 70, 1000, 1300, 9);
	assert_int_equal(end_at(2000), 0);
	assert_int_equal(lines(l, "segments.jsonl", 48000), 2);
	assert_int_equal(l[0].first, 0);
	assert_int_equal(l[0].samples, 300 * 48);
	assert_int_equal(l[1].first, 48000);
	assert_int_equal(l[1].samples, 300 * 48);
}

static void short_ones_are_dropped_and_long_ones_cut(void **state)
{
	struct line l[FILES];

	(void)state;
	begin("segments:min=100,max=1000,rate=48000");
	speak(7, 70, 0, 80, 1000);
	speak(7, 70, 2000, 4060, 1000);
	assert_int_equal(end_at(6000), 0);
	assert_int_equal(lines(l, "segments.jsonl", 48000), 3);
	assert_int_equal(l[0].first, 2000 * 48);
	assert_int_equal(l[0].samples, 48000);
	assert_int_equal(l[1].first, 3000 * 48);
	assert_int_equal(l[1].samples, 48000);
	/* shorter than the least, but the end of something longer */
	assert_int_equal(l[2].first, 4000 * 48);
	assert_int_equal(l[2].samples, 60 * 48);
	assert_int_equal(files(), 3);
}

/* In a live call, time alone ends an utterance, and the file is there at once. */
static void time_ends_an_utterance(void **state)
{
	struct line l[FILES];

	(void)state;
	live = true;
	begin("segments");
	speak(7, 70, 0, 1000, 1000);
	sink_session_tick(session, START + 2000 * TD_MS_NS);
	assert_int_equal(closed_events, 0); /* sound may be under way still */
	assert_int_equal(files(), 1);
	sink_session_tick(session, START + 3000 * TD_MS_NS);
	assert_int_equal(closed_events, 1);
	assert_int_equal(lines(l, "segments.jsonl", 16000), 1);
	speak(7, 70, 4000, 5000, 1000);
	assert_int_equal(end_at(6000), 0);
	assert_int_equal(lines(l, "segments.jsonl", 16000), 2);
	assert_int_equal(l[1].first, 4000 * 48);
}

/* How fast a replay runs says nothing about the call. */
static void time_ends_nothing_in_a_replay(void **state)
{
	struct line l[FILES];

	(void)state;
	begin("segments");
	speak(7, 70, 0, 1000, 1000);
	sink_session_tick(session, START + 3600 * TD_SEC_NS);
	speak(7, 70, 1500, 2000, 1000);
	assert_int_equal(end_at(6000), 0);
	assert_int_equal(lines(l, "segments.jsonl", 16000), 1);
	assert_int_equal(l[0].samples, 96000);
}

/* An utterance that is under way opens, as far as it has come. */
static void what_is_under_way_is_there(void **state)
{
	char path[128];
	SF_INFO info = { 0 };
	SNDFILE *snd;

	(void)state;
	begin("segments:rate=48000");
	speak(7, 70, 0, 1000, 1000);
	sink_session_tick(session, START + 2000 * TD_MS_NS);
	snprintf(path, sizeof(path), "%s/s/segments/.0.part", dir);
	assert_non_null(snd = sf_open(path, SFM_READ, &info));
	assert_int_equal(info.frames, 48000);
	sf_close(snd);
	assert_int_equal(end_at(6000), 0);
	assert_int_equal(files(), 1);
}

static void a_speaker_becomes_known(void **state)
{
	struct line l[FILES];

	(void)state;
	begin("segments");
	speak(0, 70, 0, 1000, 1000);
	speak(0, 70, 2000, 3000, 1000);
	sink_session_speaker(session, 7, 70, START);
	speak(7, 70, 4000, 5000, 1000);
	assert_int_equal(end_at(6000), 0);
	assert_int_equal(lines(l, "segments.jsonl", 16000), 3);
	assert_string_equal(l[0].user, "null");
	assert_string_equal(l[0].file, "segments/ssrc-70-000000000.wav");
	assert_string_equal(l[1].file, "segments/7-000002000.wav");
	assert_string_equal(l[2].file, "segments/7-000004000.wav");
}

static void two_formats_have_a_folder_each(void **state)
{
	struct line l[FILES];

	(void)state;
	begin("segments:format=wav+flac");
	speak(7, 70, 0, 1000, 1000);
	assert_int_equal(end_at(6000), 0);
	assert_int_equal(lines(l, "segments.jsonl", 16000), 1);
	assert_string_equal(l[0].file, "segments/7-000000000.wav");
	assert_int_equal(lines(l, "segments-2.jsonl", 16000), 1);
	assert_string_equal(l[0].file, "segments-2/7-000000000.flac");
}

static bool disk_full;

static ssize_t full_pwrite(int fd, const void *data, size_t len, off_t at)
{
	if (!disk_full)
		return pwrite(fd, data, len, at);
	errno = ENOSPC;
	return -1;
}

/* What cannot be written is lost with one word; what can be again is. */
static void a_full_disk(void **state)
{
	const struct outfile_sys sys = { full_pwrite, ftruncate, fsync };
	struct line l[FILES];

	(void)state;
	outfile_test_sys(&sys);
	begin("segments");
	speak(7, 70, 0, 1000, 1000);
	speak(7, 70, 2000, 3000, 1000);
	disk_full = true;
	speak(7, 70, 4000, 5000, 1000);
	speak(7, 70, 6000, 7000, 1000);
	speak(7, 70, 8000, 9000, 1000);
	assert_int_equal(failed_events, 1);
	disk_full = false;
	speak(7, 70, 10000, 11000, 1000);
	assert_int_equal(end_at(12000), TD_ERR_IO);
	assert_true(lines(l, "segments.jsonl", 16000) >= 1);
	assert_int_equal(files(), closed_events);
}

static void options_that_make_no_sense(void **state)
{
	static const struct {
		const char *text, *err;
	} cases[] = {
		{ "segments:min=2000,max=1000", "min is longer than max" },
		{ "segments:format=mp3,rate=17000", "mp3" },
		{ "segments:after=5", "after" },
		{ "segments:format=xyz", "xyz" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sink_spec *s = NULL;
		char err[200] = "";

		assert_int_equal(sink_spec_parse(&s, cases[i].text, err, sizeof(err)),
			TD_ERR_USAGE);
		assert_non_null(strstr(err, cases[i].err));
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_utterance_ends_with_silence),
		TEST(sent_silence_is_silence),
		TEST(short_ones_are_dropped_and_long_ones_cut),
		TEST(time_ends_an_utterance),
		TEST(time_ends_nothing_in_a_replay),
		TEST(what_is_under_way_is_there),
		TEST(a_speaker_becomes_known),
		TEST(two_formats_have_a_folder_each),
		TEST(a_full_disk),
		TEST(options_that_make_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
