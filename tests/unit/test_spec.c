/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/folder.h"
#include "sinks/host.h"
#include "sinks/spec.h"

#define FILE_REST "rate, split, max-silence, name"

static void good_specs(void **state)
{
	static const struct {
		const char *text, *format, *channels;
		unsigned want_channels;
	} cases[] = {
		{ "file", "wav", "2", 2 },
		{ "file:format=wav", "wav", "2", 2 },
		{ "file:channels=1", "wav", "1", 1 },
		{ "file:channels=2,format=wav", "wav", "2", 2 },
		{ "file:format=wav,channels=1", "wav", "1", 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sink_spec *spec = NULL;
		struct td_wants wants;
		char err[256] = "";

		assert_int_equal(sink_spec_parse(&spec, cases[i].text, err, sizeof(err)), 0);
		assert_string_equal(err, "");
		assert_string_equal(spec->options[0], "format");
		assert_string_equal(spec->options[1], cases[i].format);
		assert_string_equal(spec->options[2], "channels");
		assert_string_equal(spec->options[3], cases[i].channels);
		assert_null(spec->options[12]);
		sink_spec_wants(spec, &wants);
		assert_int_equal(wants.channels, cases[i].want_channels);
		sink_spec_free(spec);
	}
	sink_spec_free(NULL);
}

static void bad_specs_get_one_clear_line(void **state)
{
	static const struct {
		const char *text, *err;
	} cases[] = {
		{ "", "--sink: no sink is called ''; there is: file" },
		{ "mp9",
			"--sink: no sink is called 'mp9'; there is: file; and no mp9.so in: "
			"/nowhere" },
		{ "File", "--sink: no sink is called 'File'; there is: file" },
		{ "fi\nle\x1b[2J", "--sink: no sink is called 'fi?le?[2J'; there is: file" },
		{ "file:", "--sink: file has no option ''; it has: format, channels, " FILE_REST },
		{ "file:bitrate=9",
			"--sink: file has no option 'bitrate'; it has: format, channels, " FILE_REST },
		{ "file:format=wav,",
			"--sink: file has no option ''; it has: format, channels, " FILE_REST },
		{ "file:format", "--sink: file: format needs a value: format=..." },
		{ "file:format=", "--sink: file: format cannot be ''; it is one of: wav" },
		{ "file:format=mp3", "--sink: file: format cannot be 'mp3'; it is one of: wav" },
		{ "file:format=wa", "--sink: file: format cannot be 'wa'; it is one of: wav" },
		{ "file:channels=0",
			"--sink: file: channels cannot be '0'; it is a number from 1 to 2" },
		{ "file:channels=3",
			"--sink: file: channels cannot be '3'; it is a number from 1 to 2" },
		{ "file:channels=1x",
			"--sink: file: channels cannot be '1x'; it is a number from 1 to 2" },
		{ "file:channels=-1",
			"--sink: file: channels cannot be '-1'; it is a number from 1 to 2" },
		{ "file:channels=01",
			"--sink: file: channels cannot be '01'; it is a number from 1 to 2" },
		{ "file:channels=92233720368547758081",
			"--sink: file: channels cannot be '92233720368547758081'; it is a number "
			"from 1 to 2" },
		{ "file:channels=1,channels=2", "--sink: file: channels is given twice" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sink_spec *spec = NULL;
		char err[256] = "";

		assert_int_equal(sink_spec_parse(&spec, cases[i].text, err, sizeof(err)),
			TD_ERR_USAGE);
		assert_string_equal(err, cases[i].err);
		assert_null(spec);
	}
}

static void long_texts_fit(void **state)
{
	struct sink_spec *spec = NULL;
	char text[5000], err[32];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(sink_spec_parse(&spec, text, err, sizeof(err)), TD_ERR_USAGE);
	assert_int_equal(strlen(err), sizeof(err) - 1);
	assert_int_equal(sink_spec_parse(&spec, text, err, 0), TD_ERR_USAGE);
}

/* A sink that is only looked at. */
static void any_wants(const char *const *options, struct td_wants *ret)
{
	(void)options;
	ret->what = 0;
}

static int any_open(void **ret_state, const struct td_host *host, const struct td_session *session,
	const char *const *options)
{
	(void)ret_state;
	(void)host;
	(void)session;
	(void)options;
	return TD_ERR_STATE;
}

static int any_finish(void *state, uint64_t end_ns)
{
	(void)state;
	(void)end_ns;
	return TD_OK;
}

static void any_close(void *state)
{
	(void)state;
}

static void choices_are_whole_words(void **state)
{
	static const struct td_option options[] = {
		{ .name = "format",
			.type = TD_OPTION_CHOICE,
			.fallback = "b",
			.choices = "aa|b|ab",
			.meaning = "of a test" },
		{ .name = NULL },
	};
	static const struct {
		const char *text;
		int want;
	} cases[] = { { "t:format=aa", 0 }, { "t:format=b", 0 }, { "t:format=ab", 0 },
		{ "t:format=a", TD_ERR_USAGE }, { "t:format=aa|b", TD_ERR_USAGE },
		{ "t:format=|", TD_ERR_USAGE }, { "t:format=b|", TD_ERR_USAGE } };
	struct td_sink_ops ops = { .abi = TD_SINK_ABI,
		.size = sizeof(ops),
		.name = "t",
		.meaning = "of a test",
		.options = options,
		.wants = any_wants,
		.open = any_open,
		.finish = any_finish,
		.close = any_close };
	const struct td_plugin plugin = { TD_SINK_ABI, sizeof(plugin), &ops, NULL, NULL };
	char why[128];

	(void)state;
	registry_reset();
	assert_int_equal(registry_add(&plugin, "test", why, sizeof(why)), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sink_spec *spec = NULL;
		char err[256];

		assert_int_equal(sink_spec_parse(&spec, cases[i].text, err, sizeof(err)),
			cases[i].want);
		sink_spec_free(spec);
	}
}

/* ---- folders ---- */

static void out_folder_is_made(void **state)
{
	char dir[] = "/tmp/test_spec.XXXXXX", path[128], err[256] = "", want[256];
	mode_t mask = umask(0277);
	struct stat st;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/a//b/c/", dir);
	assert_int_equal(sink_out_prepare(path, err, sizeof(err)), 0);
	assert_int_equal(sink_out_prepare(path, err, sizeof(err)), 0);
	umask(mask);
	snprintf(path, sizeof(path), "%s/a/b", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	/* nothing is left behind */
	snprintf(path, sizeof(path), "%s/a/b/c", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(rmdir(path), 0);
	/* a file where a folder should be */
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	snprintf(want, sizeof(want), "%s: Not a directory", path);
	assert_int_equal(sink_out_prepare(path, err, sizeof(err)), TD_ERR_IO);
	assert_string_equal(err, want);
	unlink(path);
	assert_int_equal(sink_out_prepare("", err, sizeof(err)), TD_ERR_IO);
	assert_string_equal(err, "'': No such file or directory");
	snprintf(path, sizeof(path), "%s/a/b", dir);
	rmdir(path);
	snprintf(path, sizeof(path), "%s/a", dir);
	rmdir(path);
	assert_int_equal(rmdir(dir), 0);
}

static void session_folders_never_collide(void **state)
{
	char dir[] = "/tmp/test_spec.XXXXXX", name[FOLDER_NAME_MAX];
	static const char *const want[] = { "s", "s-2", "s-3" };
	mode_t mask = umask(0777);
	struct stat st;
	int fd, out_fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0700), 0);
	out_fd = open(dir, O_RDONLY | O_DIRECTORY);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(folder_create(&fd, name, dir, "s"), 0);
		assert_string_equal(name, want[i]);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0700);
		close(fd);
	}
	umask(mask);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(unlinkat(out_fd, want[i], AT_REMOVEDIR), 0);
	close(out_fd);
	assert_int_equal(rmdir(dir), 0);
}

static void session_names(void **state)
{
	static const char *const bad[] = { "", ".", "..", ".x", "a/b", "/a", "a\nb", "\x7f" };
	char name[FOLDER_NAME_MAX], longest[FOLDER_NAME_MAX + 1];
	int fd = -1;

	(void)state;
	folder_session_name(name, 12, UINT64_MAX, UINT64_C(1795158000123456789));
	assert_string_equal(name, "12-18446744073709551615-20261120T070000Z");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(folder_create(&fd, name, "/tmp", bad[i]), TD_ERR_USAGE);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(folder_create(&fd, name, "/tmp", longest), TD_ERR_USAGE);
	assert_int_equal(folder_create(&fd, name, "/nonexistent", "x"), TD_ERR_IO);
	assert_int_equal(fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_specs),
		cmocka_unit_test(bad_specs_get_one_clear_line),
		cmocka_unit_test(long_texts_fit),
		cmocka_unit_test(choices_are_whole_words),
		cmocka_unit_test(out_folder_is_made),
		cmocka_unit_test(session_folders_never_collide),
		cmocka_unit_test(session_names),
	};

	setenv("TAPEDECK_PLUGIN_PATH", "/nowhere", 1);
	return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
