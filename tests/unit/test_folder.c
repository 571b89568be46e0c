/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/folder.h"
#include "sinks/host.h"
#include "sinks/manifest.h"

/* 2026-11-20T07:00:00Z */
#define START_UTC (UINT64_C(1795158000) * TD_SEC_NS)

static char dir[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_folder.XXXXXX");
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

/* A session of that guild, `s` seconds after the first; returns what it says it continues, "" for
 * nothing. Free it. */
static char *session(const char *name, uint64_t guild_id, uint64_t channel_id, uint64_t user_id,
	unsigned s, const char *made)
{
	struct sink_session_conf conf = { .out_dir = dir,
		.name = name,
		.guild_id = guild_id,
		.channel_id = channel_id,
		.user_id = user_id,
		.start_ns = 5 * TD_SEC_NS,
		.start_utc_ns = START_UTC + s * TD_SEC_NS + 5000,
		.spec_count = 1 };
	struct sink_spec *spec;
	struct sink_session *session;
	char path[300], err[200];
	const char *value;
	json_t *json;
	char *ret;

	assert_int_equal(sink_spec_parse(&spec, "file", err, sizeof(err)), TD_OK);
	conf.specs = (const struct sink_spec *const[]){ spec };
	assert_int_equal(sink_session_open(&session, &conf), TD_OK);
	snprintf(path, sizeof(path), "%s/%s/session.json", dir, made);
	assert_non_null(json = json_load_file(path, 0, NULL));
	value = json_string_value(json_object_get(json, "continues"));
	ret = strdup(value != NULL ? value : "");
	json_decref(json);
	assert_int_equal(sink_session_close(session, conf.start_ns, "stopped", NULL, NULL), TD_OK);
	/* and when it is complete */
	assert_non_null(json = json_load_file(path, 0, NULL));
	value = json_string_value(json_object_get(json, "continues"));
	assert_string_equal(value != NULL ? value : "", ret);
	json_decref(json);
	sink_spec_free(spec);
	return ret;
}

static void assert_continues(char *have, const char *want)
{
	assert_string_equal(have, want);
	free(have);
}

static void the_same_name_goes_on(void **state)
{
	(void)state;
	assert_continues(session("talk", 1, 2, 3, 0, "talk"), "");
	assert_continues(session("talk", 1, 2, 3, 10, "talk-2"), "talk");
	assert_continues(session("talk", 1, 2, 3, 20, "talk-3"), "talk-2");
	/* the same moment, as in a second replay, and an earlier one */
	assert_continues(session("talk", 1, 2, 3, 20, "talk-4"), "talk-2");
	assert_continues(session("talk", 1, 2, 3, 0, "talk-5"), "");
	assert_continues(session("talk", 1, 2, 3, 30, "talk-6"), "talk-5");
	/* another name */
	assert_continues(session("talks", 1, 2, 3, 40, "talks"), "");
	assert_continues(session("talk-2", 1, 2, 3, 50, "talk-2-2"), "talk-2");
}

static void others_do_not(void **state)
{
	(void)state;
	assert_continues(session("s", 1, 2, 3, 0, "s"), "");
	assert_continues(session("s", 9, 2, 3, 10, "s-2"), "");
	assert_continues(session("s", 1, 9, 3, 20, "s-3"), "");
	assert_continues(session("s", 1, 2, 0, 30, "s-4"), "");
	assert_continues(session("s", 1, 2, 3, 40, "s-5"), "s");
	assert_continues(session("s", 9, 2, 3, 50, "s-6"), "s-2");
	assert_continues(session("s", 1, 2, 0, 60, "s-7"), "s-4");
}

static void names_that_are_made_up_do_not(void **state)
{
	(void)state;
	assert_continues(session(NULL, 1, 2, 3, 0, "1-2-20261120T070000Z"), "");
	assert_continues(session(NULL, 1, 2, 3, 1, "1-2-20261120T070001Z"), "");
}

/* What stands in a folder of that name in place of a manifest. */
static void manifest_is(const char *folder, const char *text)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, folder);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/%s/session.json", dir, folder);
	assert_non_null(f = fopen(path, "w"));
	fputs(text, f);
	fclose(f);
}

static void what_cannot_be_read_is_passed_over(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"{\n \"guild_id\": \"1\",\n \"channel_id\": \"2\",\n \"user_id\": \"3\"\n}",
		"{\n \"guild_id\": \"1\",\n \"channel_id\": \"2\",\n \"user_id\": \"3\",\n \"start\": "
		"\"yesterday\"\n}",
		"{\n \"guild_id\": \"1\",\n \"channel_id\": \"x\",\n \"user_id\": \"3\",\n \"start\": "
		"\"2026-11-20T06:00:00.000000Z\"\n}",
		"{\n \"guild_id\": \"1\",\n \"channel_id\": \"2\",\n \"user_id\": "
		"\"33333333333333333333333\",\n \"start\": \"2026-11-20T06:00:00.000000Z\"\n}",
	};
	char folder[32], path[300];
	size_t i;

	(void)state;
	assert_continues(session("s", 1, 2, 3, 0, "s"), "");
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		snprintf(folder, sizeof(folder), "s-%zu", i + 2);
		manifest_is(folder, texts[i]);
	}
	snprintf(path, sizeof(path), "%s/s-8", dir);
	assert_int_equal(symlink("s", path), 0);
	snprintf(path, sizeof(path), "%s/s-9", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/s-9/session.json", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	snprintf(path, sizeof(path), "%s/s-10", dir);
	assert_int_equal(mkdir(path, 0000), 0);
	assert_continues(session("s", 1, 2, 3, 5, "s-11"), "s");
}

static void a_manifest_says_whose_it_is(void **state)
{
	struct manifest_conf conf = { 11, 0, UINT64_MAX, START_UTC + 123456000 }, have;
	uint64_t none[COUNTER_COUNT] = { 0 };
	struct manifest *m;
	int fd = open(dir, O_RDONLY | O_DIRECTORY);

	(void)state;
	assert_int_equal(manifest_peek(fd, &have), TD_ERR_IO);
	assert_int_equal(manifest_new(&m, &conf), TD_OK);
	manifest_continues(m, "one");
	manifest_continues(m, "t\"w\xff");
	manifest_begin(m, none);
	assert_int_equal(manifest_write(m, fd, 0, false, NULL, false), TD_OK);
	assert_int_equal(manifest_peek(fd, &have), TD_OK);
	assert_int_equal(have.guild_id, 11);
	assert_int_equal(have.channel_id, 0);
	assert_true(have.user_id == UINT64_MAX);
	assert_int_equal(have.start_utc_ns, conf.start_utc_ns);
	manifest_free(m);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_same_name_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(others_do_not, setup, teardown),
		cmocka_unit_test_setup_teardown(names_that_are_made_up_do_not, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_read_is_passed_over, setup,
			teardown),
		cmocka_unit_test_setup_teardown(a_manifest_says_whose_it_is, setup, teardown),
	};

	return cmocka_run_group_tests_name("folder", tests, NULL, NULL);
}
