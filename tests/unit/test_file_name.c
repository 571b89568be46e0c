/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/err.h"
#include "sinks/file_name.h"

#define START_UTC UINT64_C(1795158000123456789)

static void templates(void **state)
{
	static const struct {
		const char *template;
		uint64_t user_id;
		const char *want;
	} cases[] = {
		{ "{user}", 7, "7" },
		{ "{user}", UINT64_MAX, "18446744073709551615" },
		{ "{user}", 0, "ssrc-4294967295" },
		{ "{ssrc}", 7, "4294967295" },
		{ "{session}", 7, "Team_call__1" },
		{ "{start}", 7, "20261120T070000Z" },
		{ "{format}", 7, "flac" },
		{ "{start}-{user}_{format}.x", 7, "20261120T070000Z-7_flac.x" },
		{ "{user}{user}{user}", 7, "777" },
		{ "plain", 7, "plain" },
		/* what people try */
		{ "../../etc/passwd", 7, "_._.._etc_passwd" },
		{ "..", 7, "_." },
		{ ".hidden", 7, "_hidden" },
		{ ".{user}", 7, "_7" },
		{ "/", 7, "_" },
		{ "a b\tc\nd", 7, "a_b_c_d" },
		{ "a:b*c?d\"e<f>g|h\\i", 7, "a_b_c_d_e_f_g_h_i" },
		{ "$(reboot);`x`&%s%n", 7, "__reboot___x___s_n" },
		{ "M\xc3\xbcller", 7, "M__ller" },
		{ "\xff\x7f\x01", 7, "___" },
		{ "-rf", 7, "-rf" },
		/* names the session has itself */
		{ "session", 7, "session_" },
		{ "SESSION", 7, "SESSION_" },
		{ "labels", 7, "labels_" },
		{ "session.json", 7, "session.json" },
		{ "sessions", 7, "sessions" },
		{ "", 7, "_" },
	};
	struct file_name_fields f = { 0, UINT32_MAX, "Team call/ 1", START_UTC, "flac" };
	char stem[FILE_STEM_MAX], err[256] = "";

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f.user_id = cases[i].user_id;
		assert_int_equal(file_name_check(cases[i].template, err, sizeof(err)), 0);
		file_name_stem(stem, cases[i].template, &f);
		if (strcmp(stem, cases[i].want) != 0)
			fail_msg("'%s': '%s', not '%s'", cases[i].template, stem, cases[i].want);
	}
	assert_string_equal(err, "");
}

static void refused(void **state)
{
	static const struct {
		const char *template, *err;
	} cases[] = {
		{ "{", "name: a '{' is never closed" },
		{ "{user", "name: a '{' is never closed" },
		{ "{user}{", "name: a '{' is never closed" },
		{ "{us{user}", "name: a '{' is never closed" },
		{ "}", "name: a '}' without '{'" },
		{ "{user}}", "name: a '}' without '{'" },
		{ "{}",
			"name: there is no field '{}'; there is: {user}, {ssrc}, {session}, "
			"{start}, {format}" },
		{ "{name}",
			"name: there is no field '{name}'; there is: {user}, {ssrc}, {session}, "
			"{start}, {format}" },
		{ "{User}",
			"name: there is no field '{User}'; there is: {user}, {ssrc}, {session}, "
			"{start}, {format}" },
		{ "{ user}",
			"name: there is no field '{ user}'; there is: {user}, {ssrc}, {session}, "
			"{start}, {format}" },
		{ "{use}",
			"name: there is no field '{use}'; there is: {user}, {ssrc}, {session}, "
			"{start}, {format}" },
		{ "{aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}",
			"name: there is no field '{aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'; there "
			"is: {user}, {ssrc}, {session}, {start}, {format}" },
	};
	char err[256];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(file_name_check(cases[i].template, err, sizeof(err)),
			TD_ERR_USAGE);
		assert_string_equal(err, cases[i].err);
	}
	/* a small buffer is no danger */
	assert_int_equal(file_name_check("{", err, 4), TD_ERR_USAGE);
	assert_string_equal(err, "nam");
}

static void long_ones_are_cut_off(void **state)
{
	struct file_name_fields f = { UINT64_MAX, 1, NULL, START_UTC, "flac" };
	char session[1000], template[129], stem[FILE_STEM_MAX], name[FILE_NAME_MAX];

	(void)state;
	memset(session, 's', sizeof(session) - 1);
	session[sizeof(session) - 1] = '\0';
	f.session = session;
	memset(template, 'x', sizeof(template));
	strcpy(template + 100, "{session}{user}");
	file_name_stem(stem, template, &f);
	assert_int_equal(strlen(stem), FILE_STEM_MAX - 2);
	file_name(name, stem, 4294967295u, UINT32_MAX, "abcdefghijklmnop");
	assert_int_equal(strlen(name), strlen(stem) + strlen("-4294967295-4294967295.") + 16);
	assert_string_equal(name + strlen(stem), "-4294967295-4294967295.abcdefghijklmnop");
}

static void names(void **state)
{
	char name[FILE_NAME_MAX];

	(void)state;
	file_name(name, "7", 1, 0, "wav");
	assert_string_equal(name, "7.wav");
	file_name(name, "7", 2, 0, "wav");
	assert_string_equal(name, "7-2.wav");
	file_name(name, "7", 1, 1, "wav");
	assert_string_equal(name, "7-001.wav");
	file_name(name, "7", 2, 1000, "wav");
	assert_string_equal(name, "7-2-1000.wav");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(templates),
		cmocka_unit_test(refused),
		cmocka_unit_test(long_ones_are_cut_off),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests_name("file_name", tests, NULL, NULL);
}
