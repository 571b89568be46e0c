/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <opus.h>
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
#include "sinks/file_track.h"
#include "sinks/host.h"
#include "sinks/outfile.h"
#include "sinks/registry.h"
#include "sinks/sink.h"
#include "sinks/spec.h"

/*
 * The file sink, through the host and into a real folder. Two speakers talk by a script: 7, who is
 * known from the start, and SSRC 80, who becomes 8. Every sink is given both frames and packets,
 * and takes what it wants.
 */
enum { FRAME = 960, EVENTS = 4000, SECONDS = 13 };
#define START (1000 * TD_SEC_NS)
#define START_UTC UINT64_C(1795158000000000000)

static char dir[64];
static struct sink_session *session;
static char events[EVENTS][200];
static size_t event_count;
static OpusEncoder *encoder;

static void on_event(void *user, const struct sink_event *event)
{
	static const char *const names[] = { "opened", "closed", "warning", "failed" };

	(void)user;
	assert_true(event_count < EVENTS);
	snprintf(events[event_count++], sizeof(events[0]), "%s %s", names[event->type],
		event->path != NULL ? event->path : event->text);
}

static size_t count_events(const char *prefix)
{
	size_t n = 0;

	for (size_t i = 0; i < event_count; i++)
		n += strncmp(events[i], prefix, strlen(prefix)) == 0;
	return n;
}

static int no_fsync(int fd)
{
	(void)fd;
	return 0;
}

static const struct outfile_sys fast = { pwrite, ftruncate, no_fsync };

static int setup(void **state)
{
	int r;

	(void)state;
	strcpy(dir, "/tmp/test_file_sink.XXXXXX");
	outfile_test_sys(&fast);
	event_count = 0;
	session = NULL;
	encoder = opus_encoder_create(TD_RATE, 2, OPUS_APPLICATION_VOIP, &r);
	return mkdtemp(dir) == NULL || r != OPUS_OK ? -1 : 0;
}

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
	file_track_test_max(0, 0);
	registry_reset();
	opus_encoder_destroy(encoder);
	return remove_all(dir);
}

/* ---- a session ---- */

static struct sink_spec *spec;
static bool wants_packets; /* nobody else is given them: to encode takes a while */

static bool live;

static void begin(const char *name, const char *sink)
{
	const struct sink_spec *specs[1];
	struct sink_session_conf conf = {
		.out_dir = dir,
		.name = name,
		.guild_id = 1,
		.channel_id = 2,
		.user_id = 3,
		.start_ns = START,
		.start_utc_ns = START_UTC,
		.specs = specs,
		.spec_count = 1,
		.live = live,
		.event = on_event,
	};
	char err[512] = "";

	if (sink_spec_parse(&spec, sink, err, sizeof(err)) < 0)
		fail_msg("%s: %s", sink, err);
	specs[0] = spec;
	wants_packets = strstr(sink, "opus") != NULL;
	assert_int_equal(sink_session_open(&session, &conf), 0);
}

static uint64_t at(uint64_t ms)
{
	return START + ms * TD_MS_NS;
}

static int end(uint64_t ms)
{
	int r = sink_session_close(session, at(ms), "stopped", NULL, NULL);

	sink_spec_free(spec);
	session = NULL;
	return r;
}

/* 20 ms of speaker `ssrc`: a voice of sorts, different in every frame, loud enough for every codec.
 * shift: samples later than `ms`. */
static void say(uint64_t user_id, uint32_t ssrc, uint64_t ms, uint32_t shift, bool spurt)
{
	int16_t pcm[FRAME * 2];
	uint8_t data[1500];
	uint64_t now = at(ms) + (uint64_t)td_samples_to_ns(shift);
	struct td_packet p = { .size = sizeof(p),
		.ssrc = ssrc,
		.user_id = user_id,
		.arrival_ns = now,
		.sent_ns = (int64_t)now,
		.rtp_ts = (uint32_t)(ms * 48 + shift),
		.samples = FRAME,
		.flags = spurt ? TD_FRAME_SPURT : 0,
		.data = data };
	struct td_frame f = { .size = sizeof(f),
		.ssrc = ssrc,
		.user_id = user_id,
		.arrival_ns = now,
		.sent_ns = (int64_t)now,
		.rtp_ts = p.rtp_ts,
		.samples = FRAME,
		.channels = 2,
		.flags = p.flags,
		.pcm = pcm };

	for (unsigned i = 0; i < FRAME; i++) {
		uint64_t t = ms * 48 + i, tri = t * (ssrc + 40) % 12000;

		pcm[2 * i] = (int16_t)(tri < 6000 ? tri : 12000 - tri);
		pcm[2 * i + 1] = (int16_t)(pcm[2 * i] / 2 + (int)(t * 7919 % 64));
	}
	if (wants_packets) {
		p.len = (uint32_t)opus_encode(encoder, pcm, FRAME, data, sizeof(data));
		sink_session_packet(session, &p);
	}
	sink_session_frame(session, &f);
}

/* Who talks when, in ms; lengths are whole frames. A pause of 2.5 s is in the middle of both. */
static const struct {
	uint32_t ssrc;
	uint64_t from, to;
	uint32_t shift;
} script[] = {
	{ 70, 1000, 3400, 0 },
	{ 80, 2500, 4500, 0 },
	{ 70, 4000, 5500, 0 },
	{ 70, 8000, 12020, 7 },
	{ 80, 9500, 9520, 31 },
};

static void talk(uint64_t from, uint64_t to)
{
	for (uint64_t ms = from; ms < to; ms += 20) {
		if (ms == 3000)
			sink_session_speaker(session, 8, 80, at(ms));
		for (size_t i = 0; i < sizeof(script) / sizeof(script[0]); i++) {
			if (ms < script[i].from || ms >= script[i].to)
				continue;
			say(script[i].ssrc == 70     ? 7
					: ms >= 3000 ? 8
						     : 0,
				script[i].ssrc, ms, script[i].shift, ms == script[i].from);
		}
		sink_session_tick(session, at(ms));
	}
}

/* A whole session of this sink. */
static void record(const char *name, const char *sink)
{
	opus_encoder_ctl(encoder, OPUS_RESET_STATE);
	begin(name, sink);
	talk(0, SECONDS * 1000);
	sink_session_mark(session, "mark", "here", at(2000));
	assert_int_equal(end(SECONDS * 1000), 0);
}

/* ---- what was written ---- */

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
	assert_true(json_is_integer(json_object_get(json, key)));
	return json_integer_value(json_object_get(json, key));
}

static const char *text(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

static json_t *list(const json_t *json, const char *key)
{
	return json_object_get(json, key);
}

static json_int_t pair(const json_t *list_of_pairs, size_t i, size_t k)
{
	return json_integer_value(json_array_get(json_array_get(list_of_pairs, i), k));
}

static bool exists(const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

struct sound {
	int16_t *pcm;
	uint64_t samples;
	uint32_t channels, rate;
};

static void sound_free(struct sound *s)
{
	free(s->pcm);
	memset(s, 0, sizeof(*s));
}

/* Appends a file; raw ones are as their track is. */
static void sound_add(struct sound *s, const char *folder, const char *file, const json_t *track)
{
	SF_INFO info = { 0 };
	char path[512];
	SNDFILE *snd;

	if (strcmp(text(track, "format"), "pcm") == 0) {
		info.format = SF_FORMAT_RAW | SF_FORMAT_PCM_16 | SF_ENDIAN_LITTLE;
		info.channels = (int)number(track, "channels");
		info.samplerate = (int)number(track, "rate");
	}
	snprintf(path, sizeof(path), "%s/%s/%s", dir, folder, file);
	if ((snd = sf_open(path, SFM_READ, &info)) == NULL)
		fail_msg("%s: %s", path, sf_strerror(NULL));
	s->channels = (uint32_t)info.channels;
	s->rate = (uint32_t)info.samplerate;
	s->pcm = realloc(s->pcm, (s->samples + (uint64_t)info.frames + 1) * s->channels * 2);
	assert_non_null(s->pcm);
	assert_int_equal(sf_readf_short(snd, s->pcm + s->samples * s->channels, info.frames),
		info.frames);
	s->samples += (uint64_t)info.frames;
	sf_close(snd);
}

/* The sound of a track, parts put together. */
static struct sound hear(const char *folder, const json_t *track)
{
	json_t *parts = list(track, "parts"), *part;
	struct sound s = { 0 };
	size_t i;

	if (parts == NULL)
		sound_add(&s, folder, text(track, "file"), track);
	json_array_foreach(parts, i, part) sound_add(&s, folder, text(part, "file"), track);
	assert_int_equal(s.rate, number(track, "rate"));
	assert_int_equal(s.channels, number(track, "channels"));
	return s;
}

/* The largest difference of two sounds of the same length. */
static int difference(const struct sound *a, const struct sound *b)
{
	int worst = 0;

	assert_int_equal(a->samples, b->samples);
	assert_int_equal(a->channels, b->channels);
	for (uint64_t i = 0; i < a->samples * a->channels; i++) {
		int d = abs(a->pcm[i] - b->pcm[i]);

		worst = d > worst ? d : worst;
	}
	return worst;
}

/* ---- parts ---- */

/* Put together, parts are the whole track; each says where in the session it begins. */
static void parts_are_the_track(void **state)
{
	static const struct {
		const char *sink, *split;
		size_t parts; /* 0: more than one, of who talks more */
		int difference;
	} cases[] = {
		{ "file:format=wav", "split=2", 7, 0 },
		{ "file:format=wav", "split=13", 1, 0 },
		{ "file:format=wav,channels=1", "split=64k", 0, 0 },
		{ "file:format=wav,rate=44100", "split=2", 7, 0 },
		{ "file:format=wav,rate=16000,channels=1", "split=64k", 0, 0 },
		{ "file:format=wav,rate=192000,channels=1", "split=1", 13, 0 },
		{ "file:format=flac", "split=2", 7, 0 },
		{ "file:format=flac,level=2", "split=100k", 0, 0 },
		{ "file:format=pcm", "split=2", 7, 0 },
		{ "file:format=pcm,rate=22050", "split=64k", 0, 0 },
		{ "file:format=wav,max-silence=1", "split=2", 0, 0 },
		{ "file:format=wav,max-silence=1,rate=44100", "split=2", 0, 0 },
		{ "file:format=flac,max-silence=1", "split=300k", 0, 0 },
		{ "file:format=opus", "split=2", 7, 300 },
		{ "file:format=opus", "split=64k", 0, 300 },
		{ "file:format=opus,max-silence=1", "split=2", 0, 300 },
		{ "file:format=mp3,rate=48000", "split=5", 3, 400 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char whole[16], split[16], sink[128];
		json_t *a, *b;

		snprintf(whole, sizeof(whole), "whole%zu", i);
		snprintf(split, sizeof(split), "split%zu", i);
		snprintf(sink, sizeof(sink), "%s,%s", cases[i].sink, cases[i].split);
		event_count = 0;
		record(whole, cases[i].sink);
		record(split, sink);
		assert_int_equal(count_events("failed") + count_events("warning"), 0);
		a = manifest(whole);
		b = manifest(split);
		for (size_t t = 0; t < 2; t++) {
			json_t *x = json_array_get(list(a, "tracks"), t);
			json_t *y = json_array_get(list(b, "tracks"), t);
			json_t *parts = list(y, "parts"), *part;
			struct sound all = hear(whole, x), together = hear(split, y);
			json_int_t sum = 0, before = -1;
			size_t k;
			int d = difference(&all, &together);

			if (d > cases[i].difference)
				fail_msg("%s: track %zu differs by %d", sink, t, d);
			assert_null(list(x, "parts"));
			assert_int_equal(number(x, "samples"), number(y, "samples"));
			assert_true(json_equal(list(x, "cuts"), list(y, "cuts")) ||
				(list(x, "cuts") == NULL && list(y, "cuts") == NULL));
			assert_string_equal(text(y, "file"),
				text(json_array_get(parts, 0), "file"));
			if (cases[i].parts > 0)
				assert_int_equal(json_array_size(parts), cases[i].parts);
			else
				assert_true(t == 1 || json_array_size(parts) > 1);
			json_array_foreach(parts, k, part)
			{
				assert_true(number(part, "position") > before);
				assert_true(number(part, "samples") > 0);
				before = number(part, "position");
				if (cases[i].parts > 0 && cases[i].difference == 0)
					assert_int_equal(before % TD_RATE, 0);
				if (list(y, "cuts") == NULL)
					assert_true(llabs(before - sum) <= 6);
				sum += number(part, "samples");
			}
			assert_int_equal(sum, number(y, "samples"));
			sound_free(&all);
			sound_free(&together);
		}
		json_decref(a);
		json_decref(b);
	}
}

/* Lengths are of the session, also where a file's own samples are longer. */
static void lengths_at_another_rate(void **state)
{
	json_t *json, *track, *part;
	json_int_t sum = 0;
	struct sound s;
	size_t i;

	(void)state;
	begin("s", "file:rate=44100,split=5");
	talk(0, SECONDS * 1000);
	assert_int_equal(end(SECONDS * 1000 + 1), 0);
	json = manifest("s");
	track = json_array_get(list(json, "tracks"), 0);
	s = hear("s", track);
	assert_int_equal(s.samples, ((SECONDS * 1000 + 1) * 441 + 5) / 10);
	assert_int_equal(number(json, "samples"), (SECONDS * 1000 + 1) * 48);
	assert_int_equal(number(track, "samples"), (SECONDS * 1000 + 1) * 48);
	json_array_foreach(list(track, "parts"), i, part) sum += number(part, "samples");
	assert_int_equal(sum, (SECONDS * 1000 + 1) * 48);
	sound_free(&s);
	json_decref(json);
}

/* A part has reached its size, and not by much more than a frame. */
static void parts_have_their_size(void **state)
{
	json_t *json, *parts, *part;
	struct stat st;
	char path[256];
	size_t i;

	(void)state;
	begin("s", "file:split=64k");
	for (uint64_t ms = 0; ms < 3000; ms += 20)
		say(7, 70, ms, 0, ms == 0);
	/* hours of nothing in one go */
	say(7, 70, 600000, 0, true);
	assert_int_equal(end(600020), 0);
	json = manifest("s");
	parts = list(json_array_get(list(json, "tracks"), 0), "parts");
	assert_true(json_array_size(parts) > 1700);
	json_array_foreach(parts, i, part)
	{
		snprintf(path, sizeof(path), "%s/s/%s", dir, text(part, "file"));
		assert_int_equal(stat(path, &st), 0);
		assert_true(st.st_size <= 65536 + 4 * FRAME);
		assert_true(st.st_size >= 65536 || i + 1 == json_array_size(parts));
		if (i < 999)
			assert_int_equal(strlen(text(part, "file")), strlen("7-001.wav"));
	}
	assert_string_equal(text(json_array_get(parts, 999), "file"), "7-1000.wav");
	json_decref(json);
}

/* ---- pauses ---- */

/* At a multiple of 2 s, or behind a cut that has one inside. */
static bool begins_in_time(uint64_t position, const json_t *cuts)
{
	uint64_t last = position - position % (2 * TD_RATE);
	bool good = last == position;

	for (size_t i = 0; i < json_array_size(cuts); i++)
		good = good ||
			(position == (uint64_t)(pair(cuts, i, 0) + pair(cuts, i, 1)) &&
				last > (uint64_t)pair(cuts, i, 0));
	return good;
}

/* What is cut out is listed; what is left is what was there. */
static void pauses_are_shortened(void **state)
{
	static const json_int_t want[2][4][2] = {
		/* 5500 + 1000 to 8000 (and 7 samples); 12020 + 1000 is after the end */
		{ { 6500 * 48, 1500 * 48 + 7 } },
		/* 0 + 1000 to 2500; 4500 + 1000 to 9500 (31); 9520 + 1000 to the end */
		{ { 48000, 1500 * 48 }, { 5500 * 48, 4000 * 48 + 31 },
			{ 10520 * 48 + 31, (SECONDS * 1000 - 10520) * 48 - 31 } },
	};
	static const size_t counts[2] = { 1, 3 };
	json_t *a, *b, *c;

	(void)state;
	record("whole", "file");
	record("cut", "file:max-silence=1");
	record("parts", "file:max-silence=1,split=2");
	a = manifest("whole");
	b = manifest("cut");
	c = manifest("parts");
	assert_int_equal(number(b, "samples"), SECONDS * TD_RATE);
	for (size_t t = 0; t < 2; t++) {
		json_t *x = json_array_get(list(a, "tracks"), t);
		json_t *y = json_array_get(list(b, "tracks"), t), *cuts = list(y, "cuts"), *part;
		json_t *parts = list(json_array_get(list(c, "tracks"), t), "parts");
		struct sound all = hear("whole", x), left = hear("cut", y);
		uint64_t from = 0, to = 0;
		size_t i;

		assert_null(list(x, "cuts"));
		assert_int_equal(json_array_size(cuts), counts[t]);
		for (i = 0; i <= json_array_size(cuts); i++) {
			bool last = i == json_array_size(cuts);
			uint64_t stop = last ? all.samples : (uint64_t)pair(cuts, i, 0);

			if (!last) {
				assert_int_equal(pair(cuts, i, 0), want[t][i][0]);
				assert_int_equal(pair(cuts, i, 1), want[t][i][1]);
			}
			assert_memory_equal(all.pcm + 2 * from, left.pcm + 2 * to,
				4 * (stop - from));
			to += stop - from;
			from = last ? stop : stop + (uint64_t)pair(cuts, i, 1);
		}
		assert_int_equal(to, left.samples);
		assert_int_equal(number(y, "samples"), left.samples);
		/* sound is where it was, whatever was cut out before */
		assert_int_equal(number(y, "first_sample"), number(x, "first_sample"));
		assert_true(json_equal(list(x, "spurts"), list(y, "spurts")));
		/* every part begins with what was at its position */
		json_array_foreach(parts, i, part)
		{
			struct sound one = { 0 };
			uint64_t position = (uint64_t)number(part, "position");

			sound_add(&one, "parts", text(part, "file"), y);
			assert_int_equal(one.samples, number(part, "samples"));
			assert_true(position < all.samples);
			assert_memory_equal(one.pcm, all.pcm + 2 * position, 4);
			assert_true(begins_in_time(position, cuts));
			for (size_t k = 0; k < json_array_size(cuts); k++)
				assert_false(position >= (uint64_t)pair(cuts, k, 0) &&
					position < (uint64_t)(pair(cuts, k, 0) + pair(cuts, k, 1)));
			sound_free(&one);
		}
		sound_free(&all);
		sound_free(&left);
	}
	json_decref(a);
	json_decref(b);
	json_decref(c);
}

static void ignore_event(void *user, const struct td_event *event)
{
	(void)user;
	(void)event;
}

/* Silence may come in any number of pieces: it is one pause. */
static void silence_in_pieces(void **state)
{
	static const struct td_host host = { .abi = TD_SINK_ABI,
		.size = sizeof(host),
		.event = ignore_event };
	static const int16_t pcm[2 * FRAME];
	struct td_session info = { .size = sizeof(info), .name = "s" };
	const struct td_track who = { sizeof(who), 70, 7 };
	struct td_file file = { .size = sizeof(file) };
	const struct td_track_ops *ops = registry_sink("file")->track;
	void *sink, *track;
	char err[128];

	(void)state;
	info.dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(sink_spec_parse(&spec, "file:max-silence=2", err, sizeof(err)), 0);
	assert_int_equal(ops->begin(&sink, &host, &info, spec->options), 0);
	assert_int_equal(ops->open(&track, sink, &who), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(ops->silence(track, 30000), 0);
	assert_int_equal(ops->audio(track, pcm, FRAME), 0);
	assert_int_equal(ops->silence(track, 96000), 0);
	assert_int_equal(ops->silence(track, 1), 0);
	assert_int_equal(ops->end(track), 0);
	ops->describe(track, &file);
	assert_int_equal(file.samples, 96000 + FRAME + 96000);
	assert_int_equal(file.cut_count, 2);
	assert_int_equal(file.cuts[0].position, 96000);
	assert_int_equal(file.cuts[0].samples, 54000);
	assert_int_equal(file.cuts[1].position, 150000 + FRAME + 96000);
	assert_int_equal(file.cuts[1].samples, 1);
	ops->free(track);
	ops->close(sink);
	sink_spec_free(spec);
	close(info.dir_fd);
}

/* The session is as long as what was heard in it, whatever was cut out. */
static void sound_after_the_end(void **state)
{
	json_t *json;

	(void)state;
	begin("s", "file:max-silence=1");
	say(7, 70, 0, 0, true);
	say(7, 70, 3000, 0, true);
	assert_int_equal(end(2000), 0);
	json = manifest("s");
	assert_int_equal(number(json, "samples"), 3020 * 48);
	assert_int_equal(number(json_array_get(list(json, "tracks"), 0), "samples"), 1040 * 48);
	json_decref(json);
}

static void lists_are_bounded(void **state)
{
	json_t *json, *track;
	struct sound s;

	(void)state;
	file_track_test_max(3, 1);
	record("s", "file:split=1,max-silence=1");
	json = manifest("s");
	track = json_array_get(list(json, "tracks"), 1);
	assert_int_equal(json_array_size(list(track, "parts")), 3);
	assert_int_equal(json_array_size(list(track, "cuts")), 1);
	s = hear("s", track);
	assert_int_equal(s.samples, (SECONDS * 1000 - 1500) * 48);
	assert_int_equal(s.samples, number(track, "samples"));
	sound_free(&s);
	assert_int_equal(count_events("warning"), 3);
	assert_int_equal(count_events("warning 8-003.wav: no more than 3 parts; this one goes on"),
		1);
	assert_int_equal(count_events("warning 8-003.wav: no more than 1 pauses are shortened"), 1);
	assert_int_equal(count_events("failed"), 0);
	json_decref(json);
}

/* ---- names ---- */

static void all_parts_are_renamed(void **state)
{
	static const char *const before[] = { "s/20261120T070000Z-ssrc-80-001.pcm",
		"s/20261120T070000Z-ssrc-80-001.pcm.json", "s/20261120T070000Z-ssrc-80-003.pcm",
		"s/20261120T070000Z-ssrc-80-003.pcm.json" };
	static const char *const after[] = { "s/20261120T070000Z-8-001.pcm",
		"s/20261120T070000Z-8-001.pcm.json", "s/20261120T070000Z-8-002.pcm.json",
		"s/20261120T070000Z-8-003.pcm", "s/20261120T070000Z-8-003.pcm.json",
		"s/20261120T070000Z-8-012.pcm.json" };
	json_t *json, *beside;
	char path[256];

	(void)state;
	begin("s", "file:format=pcm,split=1,name={start}-{user}");
	talk(0, 3000);
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++)
		assert_true(exists(before[i]));
	talk(3000, SECONDS * 1000);
	assert_int_equal(end(SECONDS * 1000), 0);
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++)
		assert_false(exists(before[i]));
	for (size_t i = 0; i < sizeof(after) / sizeof(after[0]); i++)
		assert_true(exists(after[i]));
	json = manifest("s");
	assert_string_equal(text(json_array_get(list(json, "tracks"), 1), "file"),
		"20261120T070000Z-8-001.pcm");
	json_decref(json);
	/* what stands beside a part says whose it is and where it begins */
	snprintf(path, sizeof(path), "%s/s/20261120T070000Z-8-005.pcm.json", dir);
	assert_non_null(beside = json_load_file(path, 0, NULL));
	assert_string_equal(text(beside, "title"), "8");
	assert_string_equal(text(beside, "album"), "s");
	assert_string_equal(text(beside, "start"), "2026-11-20T07:00:04.000000Z");
	assert_int_equal(number(beside, "position"), 4 * TD_RATE);
	assert_int_equal(number(beside, "samples"), TD_RATE);
	json_decref(beside);
	snprintf(path, sizeof(path), "%s/s/20261120T070000Z-8-001.pcm.json", dir);
	assert_non_null(beside = json_load_file(path, 0, NULL));
	assert_string_equal(text(beside, "title"), "ssrc-80");
	json_decref(beside);
}

static void names_that_are_taken(void **state)
{
	static const char *const names[] = { "s/session_-001.wav", "s/session_-002.wav",
		"s/session_-2-001.wav", "s/session_-2-002.wav" };

	(void)state;
	record("s", "file:name=session,split=10");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_true(exists(names[i]));
	/* somebody has the name a speaker should get */
	begin("t", "file:split=2");
	talk(0, 2980);
	{
		char path[256];

		snprintf(path, sizeof(path), "%s/t/8-001.wav", dir);
		close(open(path, O_WRONLY | O_CREAT, 0600));
	}
	talk(2980, SECONDS * 1000);
	assert_int_equal(end(SECONDS * 1000), 0);
	assert_true(exists("t/8-2-001.wav"));
	assert_true(exists("t/8-2-007.wav"));
	assert_false(exists("t/ssrc-80-001.wav"));
	assert_int_equal(count_events("warning"), 0);
}

static void refused(void **state)
{
	static const struct {
		const char *sink, *err;
	} cases[] = {
		{ "file:split=0", "split is a number of seconds" },
		{ "file:split=-1", "split is a number of seconds" },
		{ "file:split=1.5", "split is a number of seconds" },
		{ "file:split=99999999999999999999", "split is a number of seconds" },
		{ "file:split=k", "split is a number of seconds" },
		{ "file:split=63k", "split is a number of seconds" },
		{ "file:split=1kB", "split is a number of seconds" },
		{ "file:split=100kB", "split is a number of seconds" },
		{ "file:split=1m", "split is a number of seconds" },
		{ "file:split=9999999999G", "split is a number of seconds" },
		{ "file:max-silence=0", "max-silence" },
		{ "file:name={foo}", "name: there is no field '{foo}'" },
		{ "file:name={user", "name: a '{' is never closed" },
		{ "file:name=", "name" },
		{ "file:format=opus,rate=44100", "opus keeps what was received" },
		{ "file:format=mp3,rate=47999", "mp3" },
		{ "file:rate=7999", "rate" },
		{ "file:level=3", "level" },
		{ "file:format=nothing", "nothing" },
	};
	static const char *const good[] = { "file:split=1", "file:split=64k", "file:split=25M",
		"file:split=2G", "file:split=31536000", "file:name={user}{ssrc}{session}{start}",
		"file:format=opus,channels=1", "file:format=flac,level=3,rate=8000",
		"file:format=wav+opus,split=60", "file:max-silence=1" };
	struct td_wants wants;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char err[512] = "";

		assert_int_equal(sink_spec_parse(&spec, cases[i].sink, err, sizeof(err)),
			TD_ERR_USAGE);
		if (strstr(err, cases[i].err) == NULL || strchr(err, '\n') != NULL)
			fail_msg("%s: %s", cases[i].sink, err);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char err[512] = "";

		if (sink_spec_parse(&spec, good[i], err, sizeof(err)) < 0)
			fail_msg("%s: %s", good[i], err);
		sink_spec_wants(spec, &wants);
		if (strncmp(good[i], "file:format=opus", 16) == 0)
			assert_int_equal(wants.what, TD_WANT_OPUS);
		sink_spec_free(spec);
	}
}

/* ---- what a writer is given ---- */

enum { CALLS = 4000 };
static struct {
	char kind; /* o(pen), p(acket), s(ilence), c(lose) */
	struct td_writer_conf conf;
	char title[32], album[32];
	uint64_t samples;
	uint32_t lost;
	uint8_t first; /* byte of the packet */
} calls[CALLS];
static size_t call_count;
static int refuse_packet; /* the how manieth is no Opus; 0: none */

static int spy_check(const struct td_writer_conf *conf, char *err, size_t err_len)
{
	(void)err;
	(void)err_len;
	assert_null(conf->title);
	assert_string_equal(conf->options[0], "taste");
	assert_null(conf->options[2]);
	return 0;
}

static int spy_open(void **ret_state, const struct td_output *out,
	const struct td_writer_conf *conf)
{
	assert_true(call_count < CALLS);
	assert_string_equal(conf->options[1], "sour");
	calls[call_count].kind = 'o';
	calls[call_count].conf = *conf;
	snprintf(calls[call_count].title, 32, "%s", conf->title);
	snprintf(calls[call_count++].album, 32, "%s", conf->album);
	*ret_state = calls;
	return out->append(out->user, "", 1);
}

static int spy_silence(void *state, uint64_t n)
{
	assert_ptr_equal(state, calls);
	assert_true(call_count < CALLS);
	calls[call_count].kind = 's';
	calls[call_count++].samples = n;
	return 0;
}

static int spy_packet(void *state, const struct td_packet *p)
{
	assert_ptr_equal(state, calls);
	assert_true(call_count < CALLS);
	if (refuse_packet > 0 && --refuse_packet == 0)
		return TD_ERR_UNSUPPORTED;
	calls[call_count].kind = 'p';
	calls[call_count].samples = p->samples;
	calls[call_count].lost = p->lost;
	calls[call_count++].first = p->data[0];
	return 0;
}

static int spy_refresh(void *state)
{
	assert_ptr_equal(state, calls);
	return 0;
}

static int spy_close(void *state, uint64_t *ret_samples)
{
	assert_ptr_equal(state, calls);
	assert_true(call_count < CALLS);
	calls[call_count++].kind = 'c';
	*ret_samples = UINT64_MAX;
	return 0;
}

static const struct td_option spy_options[] = {
	{ .name = "taste",
		.type = TD_OPTION_CHOICE,
		.fallback = "sweet",
		.choices = "sweet|sour",
		.meaning = "of it" },
	{ .name = NULL },
};

static const struct td_writer_ops spy = {
	.abi = TD_SINK_ABI,
	.size = sizeof(spy),
	.name = "spy",
	.meaning = "for tests",
	.options = spy_options,
	.takes = TD_WANT_OPUS,
	.check = spy_check,
	.open = spy_open,
	.silence = spy_silence,
	.refresh = spy_refresh,
	.close = spy_close,
	.packet = spy_packet,
};

static void begin_spy(const char *sink)
{
	static const struct td_plugin plugin = { TD_SINK_ABI, sizeof(plugin), NULL, NULL, &spy };
	char err[256];

	registry_reset();
	assert_int_equal(registry_add(&plugin, "test", err, sizeof(err)), 0);
	call_count = 0;
	memset(calls, 0, sizeof(calls));
	begin("s", sink);
}

static void packet(uint64_t ms, uint8_t first, uint32_t lost)
{
	struct td_packet p = { .size = sizeof(p),
		.ssrc = 70,
		.arrival_ns = at(ms),
		.sent_ns = (int64_t)at(ms),
		.rtp_ts = (uint32_t)(ms * 48),
		.samples = FRAME,
		.lost = lost,
		.len = 1,
		.data = &first };

	sink_session_packet(session, &p);
}

static void expect_call(size_t i, char kind, uint64_t samples, uint8_t first)
{
	if (i >= call_count || calls[i].kind != kind || calls[i].samples != samples ||
		(kind == 'p' && calls[i].first != first))
		fail_msg("call %zu of %zu: %c %" PRIu64 " %u", i, call_count, calls[i].kind,
			calls[i].samples, calls[i].first);
}

/* What a writer may take its time for depends on it. */
static void writers_know_what_is_live(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		live = i == 1;
		begin_spy("file:format=spy,taste=sour,channels=1,name={ssrc}");
		live = false;
		packet(850, 1, 0);
		assert_int_equal(end(1000), 0);
		assert_int_equal(calls[0].conf.live, i);
	}
}

/* Packets are passed on as they came; a part begins with the last 80 ms once more. */
static void packets_are_passed_on(void **state)
{
	size_t i = 0;

	(void)state;
	begin_spy("file:format=spy,split=1,taste=sour,channels=1,name={ssrc}");
	packet(850, 1, 0);    /* ...870 */
	packet(910, 2, 4800); /* 40 ms of silence; more was lost than there is room for */
	packet(930, 3, 0);
	packet(950, 4, 0);
	packet(970, 5, 0);
	packet(992, 6, 0); /* begins before 1000 ms, and most of it is after: a new part */
	sink_session_speaker(session, 7, 70, at(1100));
	packet(1989, 7, 48000); /* nearer to what is before: in the part that is there */
	packet(2009, 8, 0);
	assert_int_equal(end(2500), 0);

	assert_int_equal(calls[i].conf.source, TD_WANT_OPUS);
	assert_int_equal(calls[i].conf.channels, 1);
	assert_int_equal(calls[i].conf.rate, TD_RATE);
	assert_int_equal(calls[i].conf.preroll, 0);
	assert_int_equal(calls[i].conf.position, 0);
	assert_int_equal(calls[i].conf.start_utc_ns, START_UTC);
	assert_string_equal(calls[i].title, "ssrc-70");
	assert_string_equal(calls[i].album, "s");
	expect_call(i++, 'o', 0, 0);
	expect_call(i++, 's', 850 * 48, 0);
	expect_call(i++, 'p', FRAME, 1);
	expect_call(i++, 's', 40 * 48, 0);
	assert_int_equal(calls[i].lost, 40 * 48);
	expect_call(i++, 'p', FRAME, 2);
	for (uint8_t k = 3; k <= 5; k++)
		expect_call(i++, 'p', FRAME, k);
	expect_call(i++, 's', 96, 0);
	expect_call(i++, 'c', 0, 0);
	assert_int_equal(calls[i].conf.position, 992 * 48);
	assert_int_equal(calls[i].conf.start_utc_ns, START_UTC + 992 * TD_MS_NS);
	assert_int_equal(calls[i].conf.preroll, 3840 + 96);
	expect_call(i++, 'o', 0, 0);
	for (uint8_t k = 2; k <= 5; k++)
		expect_call(i++, 'p', FRAME, k);
	expect_call(i++, 's', 96, 0);
	expect_call(i++, 'p', FRAME, 6);
	expect_call(i++, 's', (1989 - 1012) * 48, 0);
	expect_call(i++, 'p', FRAME, 7);
	expect_call(i++, 'c', 0, 0);
	assert_string_equal(calls[i].title, "7");
	assert_int_equal(calls[i].conf.position, 2009 * 48);
	/* 60 ms of silence, a packet, and as much as it takes to stay in step */
	assert_int_equal(calls[i].conf.preroll % 120, 2009 * 48 % 120);
	assert_int_equal(calls[i].conf.preroll, 3840 + 72);
	i++;
	expect_call(i++, 's', 2009 * 48 % 120, 0);
	expect_call(i++, 's', 2880, 0);
	expect_call(i++, 'p', FRAME, 7);
	expect_call(i++, 'p', FRAME, 8);
	expect_call(i++, 's', (2500 - 2029) * 48, 0);
	expect_call(i++, 'c', 0, 0);
	assert_int_equal(i, call_count);
	assert_true(exists("s/70-001.spy"));
}

/* A packet the writer cannot make sense of costs its own 20 ms. */
static void a_packet_that_is_none(void **state)
{
	(void)state;
	refuse_packet = 2;
	begin_spy("file:format=spy,taste=sour");
	packet(0, 1, 0);
	packet(20, 2, 0);
	packet(40, 3, 0);
	assert_int_equal(end(60), 0);
	refuse_packet = 0;
	expect_call(0, 'o', 0, 0);
	expect_call(1, 'p', FRAME, 1);
	expect_call(2, 's', FRAME, 0);
	expect_call(3, 'p', FRAME, 3);
	expect_call(4, 'c', 0, 0);
	assert_int_equal(count_events("failed"), 0);
}

/* ---- crashes and failures ---- */

/* Every file in the folder opens; returns how many. */
static size_t check_files(const char *folder, const char *ending)
{
	char path[256];
	struct dirent *e;
	size_t count = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", dir, folder);
	assert_non_null(d = opendir(path));
	while ((e = readdir(d)) != NULL) {
		size_t len = strlen(e->d_name);
		char file[600];
		SF_INFO info = { 0 };
		SNDFILE *snd;

		if (e->d_name[0] == '.' || len < strlen(ending) ||
			strcmp(e->d_name + len - strlen(ending), ending) != 0)
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		if ((snd = sf_open(file, SFM_READ, &info)) == NULL)
			fail_msg("%s: %s", file, sf_strerror(NULL));
		sf_close(snd);
		count++;
	}
	closedir(d);
	return count;
}

static void killed_at_any_moment(void **state)
{
	static const char *const formats[] = { "wav", "flac" };

	(void)state;
	for (unsigned i = 0; i < 24; i++) {
		const char *format = formats[i % 2];
		char name[16], sink[64], ending[8];
		int status;
		pid_t pid;

		snprintf(name, sizeof(name), "k%u", i);
		snprintf(sink, sizeof(sink), "file:format=%s,split=%s", format,
			i % 3 ? "1" : "64k");
		snprintf(ending, sizeof(ending), ".%s", format);
		if ((pid = fork()) == 0) {
			begin(name, sink);
			talk(0, 2000);
			for (;;)
				talk(2000, SECONDS * 1000);
		}
		usleep(2000 + i * 7919 % 97 * 1000);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		if (exists(name))
			check_files(name, ending);
	}
}

/* From the nth write on the disk is full. Overwriting needs no room. */
static int writes_left;

static ssize_t counting_pwrite(int fd, const void *data, size_t len, off_t where)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && where + (off_t)len > st.st_size && --writes_left < 0) {
		errno = ENOSPC;
		return -1;
	}
	return pwrite(fd, data, len, where);
}

static void a_disk_that_fills_up(void **state)
{
	static const struct outfile_sys sys = { counting_pwrite, ftruncate, no_fsync };

	(void)state;
	for (int n = 1; n < 60; n += n < 20 ? 1 : 5) {
		char name[16];
		json_t *json, *track, *part;
		size_t i, k;

		snprintf(name, sizeof(name), "d%d", n);
		event_count = 0;
		writes_left = n + 1;
		outfile_test_sys(&sys);
		begin(name, "file:split=1");
		talk(0, 5000);
		/* so that there is room for the manifest */
		writes_left = writes_left < 0 ? 1000 : 100000;
		if (writes_left == 1000)
			outfile_test_sys(&fast);
		assert_int_equal(end(5000), count_events("failed") > 0 ? TD_ERR_IO : 0);
		outfile_test_sys(&fast);
		/* one for each track, one for the manifest */
		assert_true(count_events("failed") <= 3);
		assert_true(count_events("failed session.json") <= 1);
		assert_int_equal(count_events("warning"), 0);
		check_files(name, ".wav");
		json = manifest(name);
		json_array_foreach(list(json, "tracks"), i, track)
		{
			json_int_t sum = 0;

			json_array_foreach(list(track, "parts"), k, part)
			{
				struct sound s = { 0 };

				sound_add(&s, name, text(part, "file"), track);
				assert_int_equal(s.samples, number(part, "samples"));
				sum += number(part, "samples");
				sound_free(&s);
			}
			assert_int_equal(sum, number(track, "samples"));
		}
		json_decref(json);
	}
}

/* A part that cannot begin interrupts one track with one event; the others go on. */
static void a_part_that_cannot_begin(void **state)
{
	char path[256];
	json_t *json;

	(void)state;
	begin("s", "file:split=2,name={ssrc}");
	talk(0, 3000);
	/* nobody can make a file of this name any more */
	snprintf(path, sizeof(path), "%s/s/.70-003.wav.part", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	talk(3000, SECONDS * 1000);
	assert_int_equal(end(SECONDS * 1000), TD_ERR_IO);
	assert_int_equal(count_events("failed"), 1);
	assert_int_equal(count_events("failed 70-003.wav: File exists; nothing more of this "
				      "speaker is written until it can be made"),
		1);
	json = manifest("s");
	assert_int_equal(json_array_size(list(json_array_get(list(json, "tracks"), 0), "parts")),
		2);
	assert_int_equal(number(json_array_get(list(json, "tracks"), 0), "samples"), 4 * TD_RATE);
	assert_int_equal(json_array_size(list(json_array_get(list(json, "tracks"), 1), "parts")),
		7);
	json_decref(json);
}

static int failing_fsync(int fd)
{
	(void)fd;
	errno = EIO;
	return -1;
}

/* Also parts that were closed long ago have to last. */
static void closed_parts_are_synced(void **state)
{
	static const struct outfile_sys sys = { pwrite, ftruncate, failing_fsync };

	(void)state;
	begin("s", "file:split=1");
	talk(0, 5000);
	outfile_test_sys(&sys);
	assert_int_equal(end(5000), TD_ERR_IO);
	assert_int_equal(count_events("failed 7-005.wav: Input/output error; this file ends here"),
		1);
	/* labels and projects can be made again */
	assert_int_equal(count_events("warning labels.txt: Input/output error"), 1);
}

static int fsyncs;

static int counting_fsync(int fd)
{
	fsyncs++;
	return no_fsync(fd);
}

static void every_part_is_synced_at_the_end(void **state)
{
	static const struct outfile_sys sys = { pwrite, ftruncate, counting_fsync };

	(void)state;
	begin("s", "file:split=1");
	talk(0, 5000);
	fsyncs = 0;
	outfile_test_sys(&sys);
	assert_int_equal(end(5000), 0);
	/* 5 parts of 2 tracks, 3 files for editors, the manifest */
	assert_int_equal(fsyncs, 2 * 5 + 3 + 1);
}

/* ---- editors ---- */

static void files_for_editors(void **state)
{
	static const char *const names[] = { "labels.txt", "session.lof", "session.rpp" };
	char path[256], line[256];
	size_t lines = 0;
	bool mark = false;
	FILE *f;

	(void)state;
	record("s", "file:format=wav+flac,split=5");
	snprintf(path, sizeof(path), "%s/s/labels.txt", dir);
	assert_non_null(f = fopen(path, "r"));
	while (fgets(line, sizeof(line), f) != NULL) {
		lines++;
		mark = mark || strcmp(line, "2.000000\t2.000000\there\n") == 0;
	}
	fclose(f);
	/* 5 spurts, once each although there are two formats */
	assert_int_equal(lines, 5 + 1);
	assert_true(mark);
	snprintf(path, sizeof(path), "%s/s/session.lof", dir);
	assert_non_null(f = fopen(path, "r"));
	assert_non_null(fgets(line, sizeof(line), f));
	assert_string_equal(line, "file \"7-001.wav\" offset 0.000000\n");
	assert_non_null(fgets(line, sizeof(line), f));
	assert_string_equal(line, "file \"7-002.wav\" offset 5.000000\n");
	fclose(f);
	assert_true(exists("s/session.rpp"));

	/* a session without files has none of them */
	begin("t", "file");
	assert_int_equal(end(1000), 0);
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "t/%s", names[i]);
		assert_false(exists(path));
	}
}

/* ---- the same twice ---- */

static void same_bytes(const char *a, const char *b)
{
	FILE *f = fopen(a, "r"), *g = fopen(b, "r");
	int c, d;

	assert_non_null(f);
	if (g == NULL)
		fail_msg("%s is missing", b);
	do {
		c = fgetc(f);
		d = fgetc(g);
		if (c != d)
			fail_msg("%s and %s differ at %ld", a, b, ftell(f));
	} while (c != EOF);
	fclose(f);
	fclose(g);
}

static void two_runs_are_identical(void **state)
{
	char out[64], a[600], b[600];
	struct dirent *e;
	size_t count = 0;
	DIR *d;

	(void)state;
	record("s",
		"file:format=wav+flac+mp3+opus+pcm,split=3,max-silence=2,name={user}-{session}");
	strcpy(out, dir);
	strcpy(dir, "/tmp/test_file_sink.XXXXXX");
	assert_non_null(mkdtemp(dir));
	record("s",
		"file:format=wav+flac+mp3+opus+pcm,split=3,max-silence=2,name={user}-{session}");
	snprintf(a, sizeof(a), "%s/s", out);
	assert_non_null(d = opendir(a));
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(a, sizeof(a), "%s/s/%s", out, e->d_name);
		snprintf(b, sizeof(b), "%s/s/%s", dir, e->d_name);
		same_bytes(a, b);
		count++;
	}
	closedir(d);
	assert_true(count > 40);
	remove_all(out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(parts_are_the_track),
		TEST(lengths_at_another_rate),
		TEST(parts_have_their_size),
		TEST(pauses_are_shortened),
		TEST(silence_in_pieces),
		TEST(sound_after_the_end),
		TEST(lists_are_bounded),
		TEST(all_parts_are_renamed),
		TEST(names_that_are_taken),
		TEST(refused),
		TEST(writers_know_what_is_live),
		TEST(packets_are_passed_on),
		TEST(a_packet_that_is_none),
		TEST(killed_at_any_moment),
		TEST(a_disk_that_fills_up),
		TEST(a_part_that_cannot_begin),
		TEST(closed_parts_are_synced),
		TEST(every_part_is_synced_at_the_end),
		TEST(files_for_editors),
		TEST(two_runs_are_identical),
	};

	return cmocka_run_group_tests_name("file_sink", tests, NULL, NULL);
}
