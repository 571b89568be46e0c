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
#include <sndfile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/file_outage.h"
#include "sinks/host.h"
#include "sinks/outfile.h"
#include "sinks/sink.h"
#include "sinks/spec.h"

/*
 * Disks that fail, through the host and into a real folder: what is read back from all parts has to
 * be what was sent, wherever the disk took it. Speakers talk without a pause but for one of a
 * second, each a noise of their own.
 */
enum { FRAME = 960, EVENTS = 2000, PAUSE_FROM = 9000, PAUSE_TO = 10000, VOICES = 8 };
#define START (1000 * TD_SEC_NS)

static char dir[64];
static struct sink_session *session;
static struct sink_spec *spec;
static uint8_t voice[VOICES][1500]; /* packets of it */
static uint32_t voice_len[VOICES];
static bool wants_packets;
static char events[EVENTS][400];
static size_t event_count;
static uint64_t min_free;

/* ---- a disk ---- */

static uint64_t now_ms;     /* of the session; the wall clock goes with it */
static uint64_t extra_ns;   /* that the disk took */
static uint64_t back_ms;    /* room again from then on */
static int64_t writes_left; /* that grow a file, until there is none */
static int failing_errno;   /* why */
static uint64_t attempts;   /* that failed */
static uint64_t slow_ns;    /* what a failure takes */
static bool fail_truncate, fail_sync;

static uint64_t fake_clock(void)
{
	return START + now_ms * TD_MS_NS + extra_ns;
}

static bool grows(int fd, size_t len, off_t where)
{
	struct stat st;

	return fstat(fd, &st) == 0 && where + (off_t)len > st.st_size;
}

static ssize_t disk_pwrite(int fd, const void *data, size_t len, off_t where)
{
	if (now_ms < back_ms && grows(fd, len, where) && --writes_left < 0) {
		attempts++;
		extra_ns += slow_ns;
		errno = failing_errno;
		return -1;
	}
	return pwrite(fd, data, len, where);
}

static int disk_ftruncate(int fd, off_t len)
{
	if (fail_truncate && now_ms < back_ms && grows(fd, 0, len)) {
		errno = failing_errno;
		return -1;
	}
	return ftruncate(fd, len);
}

static int disk_fsync(int fd)
{
	(void)fd;
	errno = EIO;
	return fail_sync ? -1 : 0;
}

static const struct outfile_sys disk = { disk_pwrite, disk_ftruncate, disk_fsync };

/* ---- sessions ---- */

static void on_event(void *user, const struct sink_event *event)
{
	static const char *const names[] = { "opened", "closed", "warning", "failed", "full" };

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

/* A replay tries to write the manifest again only as often as the machine has time for it. */
static size_t count_failed_sound(void)
{
	return count_events("failed") - count_events("failed session.json");
}

static void expect_event(const char *wanted)
{
	if (count_events(wanted) == 1)
		return;
	for (size_t i = 0; i < event_count; i++)
		print_message("%s\n", events[i]);
	fail_msg("not once: %s", wanted);
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_disk.XXXXXX");
	outfile_test_sys(&disk);
	outage_test_clock(fake_clock);
	event_count = 0;
	session = NULL;
	min_free = now_ms = extra_ns = back_ms = attempts = slow_ns = 0;
	failing_errno = ENOSPC;
	fail_truncate = fail_sync = false;
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static void remove_all(const char *path)
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
	rmdir(path);
}

static int teardown(void **state)
{
	(void)state;
	outfile_test_sys(NULL);
	outage_test_clock(NULL);
	remove_all(dir);
	return 0;
}

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
		.start_utc_ns = UINT64_C(1795158000000000000),
		.realtime = true,
		.min_free = min_free,
		.specs = specs,
		.spec_count = 1,
		.event = on_event,
	};
	char err[512] = "";

	if (sink_spec_parse(&spec, sink, err, sizeof(err)) < 0)
		fail_msg("%s: %s", sink, err);
	specs[0] = spec;
	wants_packets = strstr(sink, "opus") != NULL;
	event_count = 0;
	now_ms = extra_ns = attempts = 0;
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

/* Sample i of a speaker, left and right: never 0, nowhere the same. */
static int16_t sample(uint32_t ssrc, uint64_t i, unsigned channel)
{
	uint32_t x = (uint32_t)(i * 2654435761u) ^ (ssrc + channel) * 40503u;

	x ^= x >> 15;
	x *= 2246822519u;
	return (int16_t)(1 + (x >> 8) % 8000);
}

static int make_voice(void **state)
{
	int16_t pcm[FRAME * 2];
	OpusEncoder *encoder;
	int r;

	(void)state;
	encoder = opus_encoder_create(TD_RATE, 2, OPUS_APPLICATION_VOIP, &r);
	for (unsigned v = 0; encoder != NULL && v < VOICES; v++) {
		for (unsigned i = 0; i < 2 * FRAME; i++)
			pcm[i] = sample(1, v * FRAME + i / 2, i % 2);
		voice_len[v] = (uint32_t)opus_encode(encoder, pcm, FRAME, voice[v], 1500);
	}
	opus_encoder_destroy(encoder);
	return encoder != NULL ? 0 : -1;
}

static void say(uint64_t user_id, uint32_t ssrc, uint64_t ms, bool spurt)
{
	int16_t pcm[FRAME * 2];
	struct td_frame f = { .size = sizeof(f),
		.ssrc = ssrc,
		.user_id = user_id,
		.arrival_ns = at(ms),
		.sent_ns = (int64_t)at(ms),
		.rtp_ts = (uint32_t)(ms * 48),
		.samples = FRAME,
		.channels = 2,
		.flags = spurt ? TD_FRAME_SPURT : 0,
		.pcm = pcm };
	struct td_packet p = { .size = sizeof(p),
		.ssrc = ssrc,
		.user_id = user_id,
		.arrival_ns = f.arrival_ns,
		.sent_ns = f.sent_ns,
		.rtp_ts = f.rtp_ts,
		.samples = FRAME,
		.flags = f.flags };

	for (unsigned i = 0; i < 2 * FRAME; i++)
		pcm[i] = sample(ssrc, ms * 48 + i / 2, i % 2);
	if (wants_packets) {
		p.data = voice[ms / 20 % VOICES];
		p.len = voice_len[ms / 20 % VOICES];
		sink_session_packet(session, &p);
	} else {
		sink_session_frame(session, &f);
	}
}

static bool in_pause(uint64_t ms)
{
	return ms >= PAUSE_FROM && ms < PAUSE_TO;
}

/* Speakers 1 .. count, and the disk's clock with them. */
static void talk(uint64_t from, uint64_t to, unsigned count)
{
	for (uint64_t ms = from; ms < to; ms += 20) {
		now_ms = ms;
		for (unsigned u = 1; u <= count && !in_pause(ms); u++)
			say(u, 100 + u, ms, ms == 0 || ms == PAUSE_TO);
		sink_session_tick(session, at(ms));
	}
	now_ms = to;
}

/* ---- what is there ---- */

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

static json_t *track(const json_t *json, size_t i)
{
	return json_array_get(json_object_get(json, "tracks"), i);
}

static bool exists(const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

/* What a track says and what its files hold. */
struct heard {
	uint64_t from[64], to[64]; /* of every part, in samples of the session */
	size_t parts;
	uint64_t missing; /* samples of speech that are in none, of those before `until` */
};

/* Opens a part and holds it against what was said; lossless only where exact. */
static uint64_t hear_part(const char *folder, const json_t *t, const char *file, uint64_t position,
	bool exact)
{
	uint32_t ssrc =
		(uint32_t)json_integer_value(json_array_get(json_object_get(t, "ssrcs"), 0));
	SF_INFO info = { 0 };
	char path[512];
	int16_t *pcm;
	SNDFILE *snd;

	if (strcmp(text(t, "format"), "pcm") == 0)
		info = (SF_INFO){ .format = SF_FORMAT_RAW | SF_FORMAT_PCM_16 | SF_ENDIAN_LITTLE,
			.channels = 2,
			.samplerate = (int)number(t, "rate") };
	snprintf(path, sizeof(path), "%s/%s/%s", dir, folder, file);
	if ((snd = sf_open(path, SFM_READ, &info)) == NULL)
		fail_msg("%s: %s", path, sf_strerror(NULL));
	assert_int_equal(info.channels, 2);
	pcm = malloc(info.frames < 1 << 30 ? ((size_t)info.frames + 1) * 4 : 1);
	assert_non_null(pcm);
	if (info.frames > INT64_C(100) * 3600 * TD_RATE ||
		sf_readf_short(snd, pcm, info.frames) != info.frames)
		fail_msg("%s: %" PRId64 " samples cannot be read", path, (int64_t)info.frames);
	sf_close(snd);
	for (uint64_t i = 0; exact && i < 2 * (uint64_t)info.frames; i++) {
		uint64_t at_sample = position + i / 2;
		int16_t wanted = in_pause(at_sample / 48) ? 0 : sample(ssrc, at_sample, i % 2);

		if (pcm[i] != wanted)
			fail_msg("%s: sample %" PRIu64 " is wrong", path, i / 2);
	}
	free(pcm);
	return (uint64_t)info.frames * TD_RATE / (uint64_t)info.samplerate;
}

static struct heard hear(const char *folder, const json_t *t, bool exact)
{
	json_t *parts = json_object_get(t, "parts"), *part;
	struct heard h = { .parts = 1 };
	json_int_t sum = 0;
	size_t i;

	if (parts == NULL) {
		h.to[0] = hear_part(folder, t, text(t, "file"), 0, exact);
		assert_int_equal(h.to[0], number(t, "samples"));
		return h;
	}
	assert_string_equal(text(json_array_get(parts, 0), "file"), text(t, "file"));
	h.parts = json_array_size(parts);
	assert_true(h.parts <= 64);
	json_array_foreach(parts, i, part)
	{
		h.from[i] = (uint64_t)number(part, "position");
		h.to[i] = h.from[i] + hear_part(folder, t, text(part, "file"), h.from[i], exact);
		assert_int_equal(h.to[i] - h.from[i], number(part, "samples"));
		assert_true(i == 0 || h.from[i] >= h.to[i - 1]);
		sum += number(part, "samples");
	}
	assert_int_equal(sum, number(t, "samples"));
	return h;
}

/* Everything of the session but what lies between two points in time (ms) is there. */
static void expect_all_but(const struct heard *h, uint64_t from, uint64_t to, uint64_t length)
{
	uint64_t at_sample = 0;

	for (size_t i = 0; i < h->parts; i++) {
		if (h->from[i] > at_sample && (at_sample < from * 48 || h->from[i] > to * 48))
			fail_msg("a gap from %" PRIu64 " to %" PRIu64 " ms", at_sample / 48,
				h->from[i] / 48);
		at_sample = h->to[i];
	}
	assert_int_equal(at_sample, length * 48);
}

/* No file without a name, none that is not listed. */
static size_t count_files(const char *folder, const char *ending)
{
	char path[256];
	struct dirent *e;
	size_t n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", dir, folder);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		const char *dot = strrchr(e->d_name, '.');

		assert_null(strstr(e->d_name, ".part"));
		n += dot != NULL && dot != e->d_name && strcmp(dot, ending) == 0;
	}
	closedir(d);
	return n;
}

/* ---- full disks ---- */

static const struct {
	const char *sink, *ending;
	bool exact;
	int step;
} formats[] = {
	{ "file", ".wav", true, 1 },
	{ "file:format=flac", ".flac", true, 2 },
	{ "file:format=pcm", ".pcm", true, 2 },
	{ "file:split=3", ".wav", true, 2 },
	{ "file:split=600k", ".wav", true, 3 },
	{ "file:format=mp3", ".mp3", false, 5 },
	{ "file:format=opus", ".opus", false, 4 },
	{ "file:format=opus,split=3", ".opus", false, 4 },
};

/* The n-th write finds no room, nor does any after it for three seconds. */
static void room_comes_back(void **state)
{
	(void)state;
	for (size_t f = 0; f < sizeof(formats) / sizeof(formats[0]); f++) {
		for (int n = 1; n < 40; n += n < 12 ? formats[f].step : 9 * formats[f].step) {
			uint64_t full_ms = 0;
			size_t parts = 0;
			char name[24];
			json_t *json;

			snprintf(name, sizeof(name), "f%zu-%d", f, n);
			back_ms = 0;
			begin(name, formats[f].sink);
			writes_left = n;
			back_ms = UINT64_MAX;
			for (uint64_t ms = 0; ms < 16000; ms += 20) {
				talk(ms, ms + 20, 2);
				if (writes_left < 0 && full_ms == 0) {
					full_ms = ms;
					back_ms = ms + 3000;
				}
			}
			back_ms = 0;
			assert_int_equal(end(16000), full_ms != 0 ? TD_ERR_IO : 0);
			json = manifest(name);
			assert_int_equal(json_array_size(json_object_get(json, "tracks")), 2);
			for (size_t i = 0; i < 2; i++) {
				struct heard h = hear(name, track(json, i), formats[f].exact);

				/* At most what waited to be written for a second before, and five
				 * seconds until it is tried again. */
				if (full_ms != 0 && full_ms < 7000)
					expect_all_but(&h, full_ms > 3500 ? full_ms - 3500 : 0,
						full_ms + 7500, 16000);
				parts += h.parts;
			}
			assert_int_equal(count_files(name, formats[f].ending), parts);
			/* the first one by its name, those that follow together; the manifest */
			assert_true(count_events("failed") <= 5);
			assert_int_equal(count_events("opened"), count_events("closed"));
			json_decref(json);
		}
	}
}

/* A disk that is full once and stays so for long; files can be made after it in parts as before. */
static void one_track_in_order(void **state)
{
	struct heard h;
	json_t *json;

	(void)state;
	begin("s", "file");
	talk(0, 4000, 1);
	writes_left = 0;
	back_ms = 20000;
	talk(4000, 30000, 1);
	assert_int_equal(end(30000), TD_ERR_IO);
	/* It was noticed within the second, then tried every five seconds. */
	assert_true(attempts < 3 * 26);
	expect_event("failed 1.wav: No space left on device; this file ends here, and the next one "
		     "begins when it can be written");
	assert_int_equal(count_failed_sound(), 1);
	expect_event("warning 1-002.wav: the recording of this speaker goes on in this file");
	assert_int_equal(count_events("warning"), 1);
	json = manifest("s");
	assert_string_equal(text(json, "state"), "complete");
	h = hear("s", track(json, 0), true);
	assert_int_equal(h.parts, 2);
	assert_int_equal(h.from[0], 0);
	assert_true(h.to[0] > 3900 * 48 - 2 * 16384 && h.to[0] <= 5000 * 48);
	assert_true(h.from[1] >= 20000 * 48 && h.from[1] <= 25100 * 48);
	assert_int_equal(h.to[1], 30000 * 48);
	assert_int_equal(number(json, "samples"), 30000 * 48);
	assert_int_equal(number(track(json, 0), "first_sample"), 0);
	json_decref(json);
}

/* However often it fails, one event says so, and the one before it stays. */
static void a_manifest_that_cannot_be_written(void **state)
{
	json_t *json;

	(void)state;
	begin("s", "file");
	talk(0, 2000, 1);
	writes_left = 0;
	back_ms = UINT64_MAX;
	talk(2000, 20000, 1);
	assert_int_equal(end(20000), TD_ERR_IO);
	expect_event("failed session.json: No space left on device");
	json = manifest("s");
	assert_string_equal(text(json, "state"), "recording");
	json_decref(json);
}

/* Nobody has a file when the disk is full from the start; the first one begins where it can. */
static void full_from_the_start(void **state)
{
	struct heard h;
	json_t *json;

	(void)state;
	begin("s", "file");
	writes_left = 0;
	back_ms = 4000;
	talk(0, 3000, 1);
	assert_int_equal(count_events("opened"), 0);
	sink_session_tick(session, at(3000));
	talk(3000, 9000, 1);
	assert_int_equal(end(9000), TD_ERR_IO);
	expect_event("failed 1.wav: No space left on device; nothing more of this speaker is "
		     "written until it can be made");
	json = manifest("s");
	assert_string_equal(text(track(json, 0), "file"), "1.wav");
	assert_int_equal(number(track(json, 0), "first_sample"), 0);
	h = hear("s", track(json, 0), true);
	assert_int_equal(h.parts, 1);
	assert_int_equal(h.from[0], 5000 * 48);
	assert_int_equal(h.to[0], 9000 * 48);
	json_decref(json);
}

static void fifty_speakers_few_events(void **state)
{
	json_t *json;

	(void)state;
	begin("s", "file:format=opus");
	talk(0, 2000, 50);
	writes_left = 0;
	back_ms = 6000;
	talk(2000, 20000, 50);
	assert_int_equal(end(20000), TD_ERR_IO);
	assert_int_equal(count_failed_sound(), 2);
	expect_event("failed No space left on device: files of 49 more speakers ended");
	assert_int_equal(count_events("warning"), 2);
	expect_event("warning 49 more speakers go on in new files");
	json = manifest("s");
	for (size_t i = 0; i < 50; i += 7) {
		struct heard h = hear("s", track(json, i), false);

		assert_int_equal(h.parts, 2);
		assert_int_equal(h.to[1], 20000 * 48);
	}
	json_decref(json);
}

/* However slowly it fails, nine tenths of the time are left for what goes on. */
static void attempts_take_little_time(void **state)
{
	(void)state;
	begin("s", "file");
	talk(0, 2000, 20);
	writes_left = 0;
	back_ms = UINT64_MAX;
	slow_ns = 0;
	talk(2000, 4000, 20); /* every file ends once */
	slow_ns = 100 * TD_MS_NS;
	attempts = extra_ns = 0;
	for (uint64_t ms = 4000; ms < 60000; ms += 20) {
		now_ms = ms;
		for (unsigned u = 1; u <= 20; u++)
			say(u, 100 + u, ms, false);
	}
	print_message("%" PRIu64 " attempts in 56 s, %" PRIu64 " s\n", attempts,
		(uint64_t)(extra_ns / TD_SEC_NS));
	assert_true(attempts > 10);
	assert_true(extra_ns <= 7 * TD_SEC_NS);
	back_ms = 0;
	assert_int_equal(end(60000), TD_ERR_IO);
}

/* Parts that end as soon as they began come further and further apart. */
static void a_disk_that_comes_and_goes(void **state)
{
	json_t *json;

	(void)state;
	begin("s", "file");
	back_ms = UINT64_MAX;
	writes_left = 3;
	for (uint64_t ms = 0; ms < 300000; ms += 20) {
		talk(ms, ms + 20, 1);
		if (writes_left < 0 && ms % 5000 == 0)
			writes_left = 8;
	}
	back_ms = 0;
	assert_int_equal(end(300000), TD_ERR_IO);
	json = manifest("s");
	assert_in_range(hear("s", track(json, 0), true).parts, 5, 14);
	json_decref(json);
}

static void other_failures(void **state)
{
	static const int errors[] = { EIO, EDQUOT, EROFS, EFBIG };
	char name[24], wanted[128];
	json_t *json;

	(void)state;
	for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
		struct heard h;

		snprintf(name, sizeof(name), "e%zu", e);
		back_ms = 0;
		begin(name, "file:max-silence=2");
		talk(0, 3000, 1);
		failing_errno = errors[e];
		writes_left = 0;
		back_ms = 5000;
		talk(3000, 12000, 1);
		assert_int_equal(end(12000), TD_ERR_IO);
		snprintf(wanted, sizeof(wanted), "failed 1.wav: %s; this file ends here",
			strerror(errors[e]));
		expect_event(wanted);
		json = manifest(name);
		h = hear(name, track(json, 0), true);
		assert_int_equal(h.parts, 2);
		expect_all_but(&h, 2500, 10000, 12000);
		json_decref(json);
	}
}

/* Silence at the end of a file that cannot be made longer. */
static void no_room_for_silence(void **state)
{
	struct heard h;
	json_t *json;

	(void)state;
	begin("s", "file:format=pcm");
	talk(0, 2000, 1);
	fail_truncate = true;
	back_ms = writes_left = INT64_MAX;
	assert_int_equal(end(41000), TD_ERR_IO);
	expect_event("failed 1.pcm: No space left on device; this file ends here");
	json = manifest("s");
	h = hear("s", track(json, 0), true);
	assert_int_equal(h.parts, 1);
	assert_int_equal(h.to[0], 2000 * 48);
	json_decref(json);
}

/* At another rate parts are where they should be, to the sample of the file. */
static void at_another_rate(void **state)
{
	struct heard h;
	json_t *json;

	(void)state;
	begin("s", "file:rate=16000");
	talk(0, 3000, 1);
	writes_left = 0;
	back_ms = 5000;
	talk(3000, 12000, 1);
	assert_int_equal(end(12000), TD_ERR_IO);
	json = manifest("s");
	h = hear("s", track(json, 0), false);
	assert_int_equal(h.parts, 2);
	expect_all_but(&h, 1000, 10000, 12000);
	json_decref(json);
}

/* Cuts inside the gap, before and behind it. */
static void pauses_that_are_cut(void **state)
{
	json_t *json, *t, *parts;
	uint64_t cut = 0;
	size_t i;

	(void)state;
	begin("s", "file:max-silence=1");
	for (uint64_t s = 0; s < 60; s += 5) {
		talk(1000 * s, 1000 * s + 1000, s == 5 ? 0 : 1); /* then four seconds of pause */
		now_ms = 1000 * s + 4000;
		sink_session_tick(session, at(now_ms));
		if (s == 15) {
			writes_left = 0;
			back_ms = 33000;
		}
	}
	assert_int_equal(end(60000), TD_ERR_IO);
	json = manifest("s");
	t = track(json, 0);
	parts = json_object_get(t, "parts");
	assert_int_equal(json_array_size(parts), 2);
	/* by cuts alone a sample of the second part is where it was said: a second in five is sound
	 */
	assert_int_equal(number(json_array_get(parts, 1), "position") % (5 * TD_RATE), 0);
	for (i = 0; i < json_array_size(json_object_get(t, "cuts")); i++) {
		json_t *c = json_array_get(json_object_get(t, "cuts"), i);
		uint64_t from = (uint64_t)json_integer_value(json_array_get(c, 0));

		if (from >= (uint64_t)number(json_array_get(parts, 1), "position"))
			cut += (uint64_t)json_integer_value(json_array_get(c, 1));
	}
	assert_int_equal(number(json_array_get(parts, 1), "position") +
			number(json_array_get(parts, 1), "samples") + cut,
		60 * TD_RATE);
	json_decref(json);
}

/* Who it is becomes known while nothing can be written. */
static void named_meanwhile(void **state)
{
	json_t *json;

	(void)state;
	begin("s", "file");
	for (uint64_t ms = 0; ms < 12000; ms += 20) {
		now_ms = ms;
		if (ms == 2000) {
			writes_left = 0;
			back_ms = 5000;
		}
		if (ms == 4000)
			sink_session_speaker(session, 8, 80, at(ms));
		say(ms < 4000 ? 0 : 8, 80, ms, ms == 0);
		sink_session_tick(session, at(ms));
	}
	assert_int_equal(end(12000), TD_ERR_IO);
	assert_true(exists("s/8.wav"));
	assert_true(exists("s/8-002.wav"));
	json = manifest("s");
	assert_int_equal(json_array_size(json_object_get(json, "tracks")), 1);
	assert_int_equal(hear("s", track(json, 0), false).parts, 2);
	json_decref(json);
}

/* The bytes of a whole file; "" when there is none. */
static char *slurp(const char *name)
{
	char path[256], *all = calloc(1, 1 << 20);
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if ((f = fopen(path, "r")) != NULL) {
		(void)!fread(all, 1, (1 << 20) - 1, f);
		fclose(f);
	}
	return all;
}

/* Utterances are whole or not there, and every line of the index stands for one that is. */
static void utterances(void **state)
{
	(void)state;
	for (int n = 0; n < 12; n++) {
		size_t lines = 0, late = 0;
		char name[24], folder[48], *all, *line, *save;

		snprintf(name, sizeof(name), "u%d", n);
		back_ms = 0;
		begin(name, "segments:after=300");
		writes_left = n;
		back_ms = 10000;
		for (uint64_t s = 0; s < 20; s++) {
			for (uint64_t ms = 1000 * s; ms < 1000 * s + 400; ms += 20) {
				now_ms = ms;
				say(1, 101, ms, ms == 1000 * s);
			}
			now_ms = 1000 * s + 900;
			sink_session_tick(session, at(now_ms));
		}
		assert_int_equal(end(20000), TD_ERR_IO);
		snprintf(folder, sizeof(folder), "%s/segments.jsonl", name);
		all = slurp(folder);
		for (line = strtok_r(all, "\n", &save); line != NULL;
			line = strtok_r(NULL, "\n", &save)) {
			json_t *json = json_loads(line, 0, NULL);
			char file[128];

			assert_non_null(json);
			snprintf(file, sizeof(file), "%s/%s", name, text(json, "file"));
			assert_true(exists(file));
			late += number(json, "first_sample") >= 11 * TD_RATE;
			json_decref(json);
			lines++;
		}
		free(all);
		assert_int_equal(late, 9);
		snprintf(folder, sizeof(folder), "%s/segments", name);
		assert_int_equal(count_files(folder, ".wav"), lines);
		assert_true(count_events("failed") <= 2);
	}
}

/* Whatever the format, a file on the disk is a second old at most. */
static void written_every_second(void **state)
{
	(void)state;
	for (size_t f = 0; f < sizeof(formats) / sizeof(formats[0]); f++) {
		SF_INFO info = { 0 };
		char path[256], name[24];
		SNDFILE *snd;

		if (strstr(formats[f].sink, "split") != NULL)
			continue;
		if (strstr(formats[f].sink, "pcm") != NULL)
			info = (SF_INFO){ .format = SF_FORMAT_RAW | SF_FORMAT_PCM_16,
				.channels = 2,
				.samplerate = TD_RATE };
		snprintf(name, sizeof(name), "w%zu", f);
		begin(name, formats[f].sink);
		talk(0, 5020, 1);
		snprintf(path, sizeof(path), "%s/%s/1%s", dir, name, formats[f].ending);
		snd = sf_open(path, SFM_READ, &info);
		assert_non_null(snd);
		/* MP3: half a second more */
		assert_in_range(info.frames, 4400 * 48, 5020 * 48);
		sf_close(snd);
		assert_int_equal(end(6000), 0);
	}
}

/* ---- somebody removes things ---- */

static void remove_in(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	remove_all(path);
}

static void a_file_is_removed(void **state)
{
	struct heard h;
	char path[256];
	json_t *json;

	(void)state;
	begin("s", "file:split=3");
	talk(0, 5000, 2);
	snprintf(path, sizeof(path), "%s/s/1-002.wav", dir);
	assert_int_equal(unlink(path), 0);
	talk(5000, 9000, 2);
	assert_int_equal(end(9000), TD_ERR_IO);
	expect_event("failed 1-002.wav: No such file or directory; somebody removed it, and what "
		     "was in it is lost");
	assert_int_equal(count_events("failed"), 1);
	json = manifest("s");
	h = hear("s", track(json, 0), true);
	assert_int_equal(h.parts, 3);
	expect_all_but(&h, 3000, 6100, 9000);
	h = hear("s", track(json, 1), true);
	expect_all_but(&h, 0, 0, 9000);
	json_decref(json);
}

/* A part that is done may be taken away: to archive it, say. */
static void a_closed_part_is_taken(void **state)
{
	char path[256];

	(void)state;
	begin("s", "file:split=3");
	talk(0, 5000, 1);
	snprintf(path, sizeof(path), "%s/s/1-001.wav", dir);
	assert_int_equal(unlink(path), 0);
	talk(5000, 9000, 1);
	assert_int_equal(end(9000), 0);
	assert_int_equal(count_events("failed"), 0);
}

/* One who is silent just then loses nothing of what they say later. */
static void removed_in_a_pause(void **state)
{
	struct heard h;
	char path[256];
	json_t *json;

	(void)state;
	begin("s", "file");
	talk(0, PAUSE_FROM + 500, 1);
	snprintf(path, sizeof(path), "%s/s/1.wav", dir);
	assert_int_equal(unlink(path), 0);
	talk(PAUSE_FROM + 500, 12000, 1);
	assert_int_equal(end(12000), TD_ERR_IO);
	json = manifest("s");
	h = hear("s", track(json, 0), true);
	assert_int_equal(h.parts, 1);
	assert_int_equal(h.from[0], PAUSE_TO * 48);
	assert_int_equal(h.to[0], 12000 * 48);
	json_decref(json);
}

static void the_folder_is_removed(void **state)
{
	static const char *const sinks[] = { "file", "file:split=2", "file:format=opus" };
	char name[24], wanted[256];
	struct heard h;
	json_t *json;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "r%zu", i);
		begin(name, sinks[i]);
		talk(0, 5000, 5);
		remove_in(name);
		talk(5000, 9000, 5);
		assert_int_equal(end(9000), TD_ERR_IO);
		snprintf(wanted, sizeof(wanted),
			"failed %s: somebody removed this folder, and what was in it is lost; the "
			"recording goes on in %s",
			name, name);
		expect_event(wanted);
		assert_int_equal(count_events("failed"), 1);
		json = manifest(name);
		assert_string_equal(text(json, "state"), "complete");
		assert_int_equal(json_array_size(json_object_get(json, "tracks")), 5);
		for (size_t k = 0; k < 5; k++) {
			h = hear(name, track(json, k), i < 2);
			expect_all_but(&h, 0, 6100, 9000);
			assert_true(h.from[0] > 5000 * 48);
		}
		json_decref(json);
		assert_int_equal(count_events("opened"), count_events("closed"));
	}
}

/* Nobody speaks: it is made anew before there is anything to lose. */
static void removed_in_silence(void **state)
{
	struct heard h;
	json_t *json;

	(void)state;
	begin("s", "file");
	talk(0, 3300, 0);
	remove_in("s");
	talk(3300, 6000, 0);
	expect_event("failed s: somebody removed this folder, and what was in it is lost; the "
		     "recording goes on in s");
	talk(6000, 9000, 1);
	assert_int_equal(end(9000), TD_ERR_IO);
	json = manifest("s");
	h = hear("s", track(json, 0), false);
	assert_int_equal(h.parts, 1);
	assert_int_equal(h.to[0], 9000 * 48);
	json_decref(json);
}

/* With the out folder, and somebody put another thing in its place: it is tried again. */
static void everything_is_removed(void **state)
{
	struct heard h;
	json_t *json;
	FILE *f;

	(void)state;
	begin("s", "file");
	talk(0, 3000, 2);
	remove_all(dir);
	f = fopen(dir, "w");
	fclose(f);
	talk(3000, 5000, 2);
	expect_event(
		"failed s: somebody removed this folder, and what was in it is lost; it cannot "
		"be made anew: Not a directory");
	unlink(dir);
	talk(5000, 16000, 2);
	expect_event("warning the recording goes on in s");
	assert_int_equal(end(16000), TD_ERR_IO);
	assert_true(count_events("failed") <= 2); /* the manifest's too */
	json = manifest("s");
	for (size_t k = 0; k < 2; k++) {
		h = hear("s", track(json, k), true);
		expect_all_but(&h, 0, 14500, 16000);
	}
	json_decref(json);
}

/* Another folder of the name is somebody else's. */
static void the_folder_is_replaced(void **state)
{
	char path[256];
	json_t *json;

	(void)state;
	begin("s", "file");
	talk(0, 3000, 1);
	remove_in("s");
	snprintf(path, sizeof(path), "%s/s", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	talk(3000, 6000, 1);
	assert_int_equal(end(6000), TD_ERR_IO);
	assert_false(exists("s/1.wav"));
	json = manifest("s-2");
	assert_int_equal(hear("s-2", track(json, 0), true).to[0], 6000 * 48);
	json_decref(json);
}

/* One that is moved is still there. */
static void the_folder_is_moved(void **state)
{
	char from[256], to[256];
	json_t *json;

	(void)state;
	begin("s", "file");
	talk(0, 3000, 1);
	snprintf(from, sizeof(from), "%s/s", dir);
	snprintf(to, sizeof(to), "%s/moved", dir);
	assert_int_equal(rename(from, to), 0);
	talk(3000, 6000, 1);
	assert_int_equal(end(6000), 0);
	json = manifest("moved");
	assert_int_equal(hear("moved", track(json, 0), true).to[0], 6000 * 48);
	json_decref(json);
}

static void utterances_of_a_removed_folder(void **state)
{
	char *all;

	(void)state;
	begin("s", "segments:after=300");
	for (uint64_t s = 0; s < 9; s++) {
		for (uint64_t ms = 1000 * s; ms < 1000 * s + 400; ms += 20)
			say(1, 101, ms, ms == 1000 * s);
		if (s == 3)
			remove_in("s");
		sink_session_tick(session, at(1000 * s + 990));
	}
	assert_int_equal(end(9000), TD_ERR_IO);
	assert_int_equal(count_files("s/segments", ".wav"), 5);
	all = slurp("s/segments.jsonl");
	assert_non_null(strstr(all, "\"first_sample\":192000,"));
	free(all);
}

/* What was moved from memory to the disk, which does not give it back. */
static void lose_nameless_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	char target[256];
	struct dirent *e;

	assert_true(d != NULL && nothing >= 0);
	while ((e = readdir(d)) != NULL) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);

		target[n > 0 ? n : 0] = '\0';
		if (strncmp(target, dir, strlen(dir)) == 0 && strstr(target, "(deleted)") != NULL)
			assert_true(dup2(nothing, atoi(e->d_name)) >= 0);
	}
	closedir(d);
	close(nothing);
}

static void lists_that_cannot_be_read(void **state)
{
	static const char *const sinks[] = { "file", "file:max-silence=1" };
	json_t *json, *event;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		begin("s", sinks[i]);
		for (uint64_t s = 0; s < 100; s++) {
			now_ms = 3000 * s;
			say(1, 101, now_ms, true);
			say(2, 102, now_ms, true);
			sink_session_tick(session, at(now_ms + 2990));
			if (s == 90)
				lose_nameless_files();
		}
		assert_int_equal(end(300000), TD_ERR_IO);
		expect_event("failed 1.wav: the list of its spurts cannot be read again, and is "
			     "left out");
		if (i == 1)
			expect_event("failed 1.wav: the list of its cuts cannot be read again, and "
				     "is left out");
		assert_int_equal(count_events("failed"), 1 + i);
		/* All the rest is there. */
		json = manifest("s");
		assert_string_equal(text(json, "state"), "complete");
		assert_int_equal(json_array_size(json_object_get(json, "tracks")), 2);
		assert_int_equal(json_array_size(json_object_get(track(json, 1), "spurts")), 0);
		assert_null(json_object_get(track(json, 1), "cuts"));
		event = json_array_get(json_object_get(json, "events"), 0);
		assert_string_equal(text(event, "type"), "failed");
		json_decref(json);
		remove_in("s");
	}
}

/* What the disk does not give back of the events is dropped and counted, and the rest is told on.
 */
static void events_that_cannot_be_read(void **state)
{
	json_t *json, *list;

	(void)state;
	begin("s", "file");
	talk(0, 100, 1);
	for (uint64_t i = 0; i < 100; i++)
		sink_session_mark(session, "mark", "long ago", at(i));
	lose_nameless_files();
	sink_session_mark(session, "mark", "lost with them", at(100));
	sink_session_tick(session, at(5000));
	sink_session_mark(session, "mark", "later", at(6000));
	assert_int_equal(end(7000), 0);
	json = manifest("s");
	assert_string_equal(text(json, "state"), "complete");
	assert_int_equal(json_integer_value(json_object_get(json, "events_dropped")), 101);
	list = json_object_get(json, "events");
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(text(json_array_get(list, 0), "text"), "later");
	json_decref(json);
}

/* ---- --min-free ---- */

static void too_little_room(void **state)
{
	(void)state;
	min_free = UINT64_C(1) << 60;
	begin("s", "file");
	talk(0, 900, 1);
	assert_int_equal(count_events("full"), 0);
	talk(900, 5000, 1);
	assert_int_equal(count_events("full the disk is nearly full: "), 1);
	assert_int_equal(count_events("full"), 1);
	assert_int_equal(end(5000), TD_ERR_IO);
	min_free = 1;
	begin("t", "file");
	talk(0, 5000, 1);
	assert_int_equal(count_events("full"), 0);
	assert_int_equal(end(5000), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(room_comes_back),
		TEST(one_track_in_order),
		TEST(a_manifest_that_cannot_be_written),
		TEST(full_from_the_start),
		TEST(fifty_speakers_few_events),
		TEST(attempts_take_little_time),
		TEST(a_disk_that_comes_and_goes),
		TEST(other_failures),
		TEST(no_room_for_silence),
		TEST(at_another_rate),
		TEST(pauses_that_are_cut),
		TEST(named_meanwhile),
		TEST(utterances),
		TEST(written_every_second),
		TEST(a_file_is_removed),
		TEST(a_closed_part_is_taken),
		TEST(removed_in_a_pause),
		TEST(the_folder_is_removed),
		TEST(removed_in_silence),
		TEST(everything_is_removed),
		TEST(the_folder_is_replaced),
		TEST(the_folder_is_moved),
		TEST(utterances_of_a_removed_folder),
		TEST(lists_that_cannot_be_read),
		TEST(events_that_cannot_be_read),
		TEST(too_little_room),
	};

	return cmocka_run_group_tests(tests, make_voice, NULL);
}
