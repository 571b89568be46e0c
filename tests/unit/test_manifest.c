/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/manifest.h"
#include "sinks/outfile.h"

static char dir[64], path[128];
static int dir_fd = -1;
static struct manifest *m;
static struct spill *spill;

static int setup(void **state)
{
	static const struct manifest_conf conf = { 1, UINT64_MAX, 3,
		UINT64_C(1795158000123456789) };

	(void)state;
	strcpy(dir, "/tmp/test_manifest.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/%s", dir, MANIFEST_FILE);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
	if (spill_new(&spill) < 0)
		return -1;
	spill_open(spill, dir_fd);
	return manifest_new(&m, &conf, spill);
}

static int teardown(void **state)
{
	(void)state;
	outfile_test_sys(NULL);
	manifest_free(m);
	spill_free(spill);
	unlink(path);
	close(dir_fd);
	return rmdir(dir); /* nothing else was left */
}

static json_t *load(void)
{
	json_error_t error;
	json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &error);

	if (json == NULL)
		fail_msg("%s: %s", path, error.text);
	return json;
}

static void expect_text(const json_t *json, const char *key, const char *want)
{
	assert_string_equal(json_string_value(json_object_get(json, key)), want);
}

static void expect_int(const json_t *json, const char *key, json_int_t want)
{
	assert_true(json_is_integer(json_object_get(json, key)));
	assert_int_equal(json_integer_value(json_object_get(json, key)), want);
}

static void expect_null(const json_t *json, const char *key)
{
	assert_true(json_is_null(json_object_get(json, key)));
}

static void expect_pair(const json_t *json, json_int_t a, json_int_t b)
{
	assert_int_equal(json_array_size(json), 2);
	assert_int_equal(json_integer_value(json_array_get(json, 0)), a);
	assert_int_equal(json_integer_value(json_array_get(json, 1)), b);
}

/* Every member of docs/session.md, in a session under way. */
static void recording(void **state)
{
	const uint64_t session[COUNTER_COUNT] = { [COUNTER_AUTH] = 2 };
	const uint64_t track[COUNTER_COUNT] = { [COUNTER_RECEIVED] = 50, [COUNTER_LOST] = 3 };
	const uint64_t rest[COUNTER_COUNT] = { [COUNTER_AUTH] = 5, [COUNTER_STREAM_LIMIT] = 7 };
	const uint32_t ssrcs[] = { 70, UINT32_MAX };
	const struct td_spurt spurts[] = { { 480, 960 }, { UINT64_C(1) << 40, 1 } };
	const struct td_part parts[] = { { "a-001.wav", 0, 48000 }, { "a-002.wav", 50000, 48001 } };
	const struct td_cut cuts[] = { { 47000, 2000 } };
	const struct td_file known = { .size = sizeof(known),
		.channels = 2,
		.rate = 44100,
		.spurts = spurts,
		.parts = parts,
		.cuts = cuts,
		.spurt_count = 2,
		.part_count = 2,
		.cut_count = 1,
		.file = "18446744073709551615.wav",
		.format = "wav",
		.user_id = UINT64_MAX,
		.samples = 96000,
		.first_sample = 480,
		.ssrcs = ssrcs,
		.counters = track,
		.ssrc_count = 2,
		.counter_count = COUNTER_COUNT };
	const struct td_file unknown = { .size = sizeof(unknown),
		.channels = 1,
		.rate = 48000,
		.file = "ssrc-9.wav",
		.format = "wav",
		.samples = 96001,
		.first_sample = TD_NO_SAMPLE,
		.counters = session,
		.counter_count = COUNTER_COUNT };
	const struct td_file none = { .size = sizeof(none),
		.counters = rest,
		.counter_count = COUNTER_COUNT };
	json_t *json, *t, *list;
	struct stat st;

	(void)state;
	manifest_event(m, "gateway", "resumed", 4800);
	manifest_pause(m, 9600);
	manifest_begin(m, dir_fd, 100000, false, "ignored", session);
	manifest_file(m, &known);
	manifest_file(m, &none);
	manifest_file(m, &unknown);
	assert_int_equal(manifest_end(m, false), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	json = load();
	assert_int_equal(json_object_size(json), 18);
	expect_int(json, "schema", 1);
	expect_text(json_object_get(json, "software"), "name", "tapedeck");
	expect_text(json_object_get(json, "software"), "version", TD_VERSION);
	expect_text(json, "state", "recording");
	expect_text(json, "guild_id", "1");
	expect_text(json, "channel_id", "18446744073709551615");
	expect_text(json, "user_id", "3");
	expect_text(json, "start", "2026-11-20T07:00:00.123456Z");
	expect_int(json, "rate", 48000);
	expect_int(json, "samples", 100000);
	expect_null(json, "reason");
	t = json_object_get(json, "counters");
	assert_int_equal(json_object_size(t), COUNTER_COUNT);
	expect_int(t, "auth_failed", 7);
	expect_int(t, "stream_limit", 7);
	expect_int(t, "received", 0);
	assert_int_equal(json_array_size(json_object_get(json, "tracks")), 2);
	t = json_array_get(json_object_get(json, "tracks"), 0);
	assert_int_equal(json_object_size(t), 12);
	expect_int(t, "rate", 44100);
	list = json_object_get(t, "spurts");
	assert_int_equal(json_array_size(list), 2);
	expect_pair(json_array_get(list, 0), 480, 960);
	expect_pair(json_array_get(list, 1), INT64_C(1) << 40, 1);
	list = json_object_get(t, "cuts");
	assert_int_equal(json_array_size(list), 1);
	expect_pair(json_array_get(list, 0), 47000, 2000);
	list = json_object_get(t, "parts");
	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(json_object_size(json_array_get(list, 1)), 3);
	expect_text(json_array_get(list, 1), "file", "a-002.wav");
	expect_int(json_array_get(list, 1), "position", 50000);
	expect_int(json_array_get(list, 1), "samples", 48001);
	expect_text(t, "file", "18446744073709551615.wav");
	expect_text(t, "user_id", "18446744073709551615");
	expect_text(t, "format", "wav");
	expect_int(t, "channels", 2);
	expect_int(t, "samples", 96000);
	expect_int(t, "first_sample", 480);
	assert_int_equal(json_array_size(json_object_get(t, "ssrcs")), 2);
	assert_int_equal(json_integer_value(json_array_get(json_object_get(t, "ssrcs"), 1)),
		UINT32_MAX);
	t = json_object_get(t, "counters");
	for (int c = 0; c < COUNTER_COUNT; c++)
		expect_int(t, td_counter_name((enum td_counter)c), (json_int_t)track[c]);
	t = json_array_get(json_object_get(json, "tracks"), 1);
	assert_int_equal(json_object_size(t), 10);
	expect_int(t, "rate", 48000);
	assert_int_equal(json_array_size(json_object_get(t, "spurts")), 0);
	expect_null(t, "user_id");
	expect_null(t, "first_sample");
	assert_int_equal(json_array_size(json_object_get(t, "ssrcs")), 0);
	t = json_array_get(json_object_get(json, "events"), 0);
	expect_int(t, "at", 4800);
	expect_text(t, "type", "gateway");
	expect_text(t, "text", "resumed");
	expect_int(json, "events_dropped", 0);
	t = json_array_get(json_object_get(json, "pauses"), 0);
	expect_int(t, "from", 9600);
	expect_null(t, "to");
	expect_int(json, "pauses_dropped", 0);
	json_decref(json);
}

/* Lists of pairs are put where they belong, whatever other texts look like. */
static void a_name_like_a_member(void **state)
{
	const uint64_t none[COUNTER_COUNT] = { 0 };
	const struct td_spurt spurts[] = { { 0, UINT64_C(9007199254740993) }, { 10, 20 } };
	const struct td_file file = { .size = sizeof(file),
		.file = "\"spurts\": \"\"",
		.format = "\", \"spurts\": \"\", \"",
		.spurts = spurts,
		.spurt_count = 2,
		.counters = none,
		.counter_count = COUNTER_COUNT };
	json_t *json, *t;

	(void)state;
	for (size_t i = 0; i < 2; i++) { /* versions do not pile up */
		manifest_begin(m, dir_fd, 1, false, NULL, none);
		manifest_file(m, &file);
		manifest_file(m, &file);
		assert_int_equal(manifest_end(m, false), 0);
	}
	json = load();
	for (size_t i = 0; i < 2; i++) {
		t = json_array_get(json_object_get(json, "tracks"), i);
		expect_text(t, "file", file.file);
		expect_text(t, "format", file.format);
		assert_int_equal(json_array_size(json_object_get(t, "spurts")), 2);
		expect_pair(json_array_get(json_object_get(t, "spurts"), 0), 0,
			INT64_C(9007199254740993));
		expect_pair(json_array_get(json_object_get(t, "spurts"), 1), 10, 20);
	}
	json_decref(json);
}

static char seen[256];

static void see(void *user, uint64_t at, const char *type, const char *text)
{
	size_t used = strlen(seen);

	assert_ptr_equal(user, seen);
	snprintf(seen + used, sizeof(seen) - used, "%d %s %s;", (int)at, type,
		text != NULL ? text : "-");
}

static void events_can_be_read_back(void **state)
{
	(void)state;
	seen[0] = '\0';
	manifest_each_event(m, see, seen);
	assert_string_equal(seen, "");
	manifest_event(m, "mark", "here", 5);
	manifest_event(m, "mark", NULL, 4);
	manifest_each_event(m, see, seen);
	assert_string_equal(seen, "5 mark here;4 mark -;");
}

static void complete(void **state)
{
	const uint64_t none[COUNTER_COUNT] = { 0 };
	json_t *json, *pauses;

	(void)state;
	manifest_resume(m, 1); /* of nothing */
	manifest_pause(m, 100);
	manifest_pause(m, 150); /* of a pause */
	manifest_resume(m, 200);
	manifest_resume(m, 250);
	manifest_pause(m, 300);
	manifest_begin(m, dir_fd, 1000, false, NULL, none);
	assert_int_equal(manifest_end(m, true), 0);
	manifest_begin(m, dir_fd, 1000, true, "stopped", none);
	assert_int_equal(manifest_end(m, true), 0);
	json = load();
	expect_text(json, "state", "complete");
	expect_text(json, "reason", "stopped");
	pauses = json_object_get(json, "pauses");
	assert_int_equal(json_array_size(pauses), 2);
	expect_int(json_array_get(pauses, 0), "from", 100);
	expect_int(json_array_get(pauses, 0), "to", 200);
	/* the end of the session ends it */
	expect_int(json_array_get(pauses, 1), "to", 1000);
	assert_int_equal(json_array_size(json_object_get(json, "tracks")), 0);
	json_decref(json);
}

static void any_text_is_valid_json(void **state)
{
	const uint64_t none[COUNTER_COUNT] = { 0 };
	json_t *json, *events;

	(void)state;
	manifest_event(m, "a", "\"quoted\"\n\x01\\", 0);
	manifest_event(m, "b", "caf\xc3\xa9", 0);
	manifest_event(m, "c", "cut \xc3", 0);
	manifest_event(m, "\xff", "\xed\xa0\x80", 0);
	manifest_event(m, "d", NULL, 0);
	manifest_begin(m, dir_fd, 0, false, NULL, none);
	assert_int_equal(manifest_end(m, false), 0);
	json = load();
	events = json_object_get(json, "events");
	assert_int_equal(json_array_size(events), 5);
	expect_text(json_array_get(events, 0), "text", "\"quoted\"\n\x01\\");
	expect_text(json_array_get(events, 1), "text", "caf\xc3\xa9");
	expect_text(json_array_get(events, 2), "text", "cut ?");
	expect_text(json_array_get(events, 3), "type", "?");
	expect_null(json_array_get(events, 4), "text");
	json_decref(json);
}

static void lists_are_bounded(void **state)
{
	const uint64_t none[COUNTER_COUNT] = { 0 };
	json_t *json;

	(void)state;
	for (uint64_t i = 0; i < MANIFEST_EVENTS_MAX + 5; i++) {
		manifest_event(m, "x", "y", i);
		manifest_pause(m, i);
		manifest_resume(m, i + 1);
	}
	manifest_begin(m, dir_fd, 0, false, NULL, none);
	assert_int_equal(manifest_end(m, false), 0);
	json = load();
	assert_int_equal(json_array_size(json_object_get(json, "events")), MANIFEST_EVENTS_MAX);
	expect_int(json, "events_dropped", 5);
	assert_int_equal(json_array_size(json_object_get(json, "pauses")), MANIFEST_EVENTS_MAX);
	expect_int(json, "pauses_dropped", 5);
	/* the last one kept is whole */
	expect_int(json_array_get(json_object_get(json, "pauses"), MANIFEST_EVENTS_MAX - 1), "to",
		MANIFEST_EVENTS_MAX);
	json_decref(json);
}

static ssize_t no_pwrite(int fd, const void *data, size_t len, off_t at)
{
	(void)fd;
	(void)data;
	(void)len;
	(void)at;
	errno = ENOSPC;
	return -1;
}

static void a_full_disk_keeps_the_old_one(void **state)
{
	static const struct outfile_sys none_left = { no_pwrite, ftruncate, fsync };
	const uint64_t none[COUNTER_COUNT] = { 0 };
	json_t *json;

	(void)state;
	manifest_begin(m, dir_fd, 1, false, NULL, none);
	assert_int_equal(manifest_end(m, false), 0);
	outfile_test_sys(&none_left);
	manifest_begin(m, dir_fd, 2, false, NULL, none);
	assert_int_equal(manifest_end(m, false), TD_ERR_IO);
	assert_int_equal(errno, ENOSPC);
	json = load();
	expect_int(json, "samples", 1);
	json_decref(json);
	assert_int_equal(faccessat(dir_fd, ".session.json.part", F_OK, 0), -1);
	/* and there is room again; also over the leftovers of somebody who was killed half way */
	outfile_test_sys(NULL);
	close(openat(dir_fd, ".session.json.part", O_WRONLY | O_CREAT, 0600));
	manifest_begin(m, dir_fd, 3, false, NULL, none);
	assert_int_equal(manifest_end(m, false), 0);
	json = load();
	expect_int(json, "samples", 3);
	json_decref(json);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(recording),
		TEST(a_name_like_a_member),
		TEST(events_can_be_read_back),
		TEST(complete),
		TEST(any_text_is_valid_json),
		TEST(lists_are_bounded),
		TEST(a_full_disk_keeps_the_old_one),
	};

	return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
