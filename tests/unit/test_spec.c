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
#include "sinks/plugin.h"
#include "sinks/spec.h"

#define FILE_REST "rate, split, max-silence, name"

/* ---- a sink and two writers that are only looked at ---- */

static const char *checked[8]; /* the options that check() was given, per part */
static size_t check_count;

static void t_wants(const char *const *options, struct td_wants *ret)
{
	ret->what = strcmp(options[3], "2") == 0 ? TD_WANT_OPUS : TD_WANT_PCM;
	ret->channels = strcmp(options[1], "a") == 0 ? 1 : 2;
}

static int t_open(void **ret_state, const struct td_host *host, const struct td_session *session,
	const char *const *options)
{
	(void)ret_state, (void)host, (void)session, (void)options;
	return TD_ERR_STATE;
}

static int t_finish(void *state, uint64_t end_ns)
{
	(void)state, (void)end_ns;
	return TD_OK;
}

static void t_close(void *state)
{
	(void)state;
}

static int t_frame(void *state, const struct td_frame *frame)
{
	(void)state, (void)frame;
	return TD_OK;
}

static int t_check(const char *const *options, char *err, size_t err_len)
{
	assert_true(check_count < 8);
	checked[check_count++] = options[7];
	if (strcmp(options[5], "bad") != 0)
		return TD_OK;
	snprintf(err, err_len, "bad is\nbad");
	return TD_ERR_USAGE;
}

static int w_check(const struct td_writer_conf *conf, char *err, size_t err_len)
{
	(void)conf, (void)err, (void)err_len;
	return TD_OK;
}

static int w_open(void **ret_state, const struct td_output *out, const struct td_writer_conf *conf)
{
	(void)ret_state, (void)out, (void)conf;
	return TD_ERR_STATE;
}

static int w_silence(void *state, uint64_t n)
{
	(void)state, (void)n;
	return TD_OK;
}

static int w_refresh(void *state)
{
	(void)state;
	return TD_OK;
}

static int w_close(void *state, uint64_t *ret_samples)
{
	(void)state, (void)ret_samples;
	return TD_OK;
}

static int w_write(void *state, const int16_t *pcm, uint32_t samples)
{
	(void)state, (void)pcm, (void)samples;
	return TD_OK;
}

static const struct td_option t_options[] = {
	{ "choice", "b", "aa|b|ab|a|xyz", 0, 0, "of a test", TD_OPTION_CHOICE },
	{ "number", "1", NULL, 1, 2, "of a test", TD_OPTION_NUMBER },
	{ "text", "", NULL, 2, 9, "of a test", TD_OPTION_TEXT },
	{ "format", "x", NULL, 0, 0, "of a test", TD_OPTION_FORMAT },
	{ "full", "f", NULL, 1, 9, "of a test", TD_OPTION_TEXT },
	{ "maybe", "", NULL, 3, 5, "of a test", TD_OPTION_NUMBER },
	{ NULL, NULL, NULL, 0, 0, NULL, 0 },
};
static const struct td_option x_options[] = {
	{ "level", "5", NULL, 0, 9, "of a test", TD_OPTION_NUMBER },
	{ "number", "7", NULL, 7, 8, "the sink has it too", TD_OPTION_NUMBER },
	{ NULL, NULL, NULL, 0, 0, NULL, 0 },
};
static const struct td_option y_options[] = {
	{ "rate", "9", NULL, 0, 9, "of a test", TD_OPTION_NUMBER },
	{ "level", "1", NULL, 0, 3, "of a test", TD_OPTION_NUMBER },
	{ NULL, NULL, NULL, 0, 0, NULL, 0 },
};
static const struct td_sink_ops t_sink = { TD_SINK_ABI, sizeof(t_sink), "t", "of a test", t_options,
	t_wants, t_open, t_finish, t_close, t_frame, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	t_check };
static const struct td_writer_ops x_writer = { TD_SINK_ABI, sizeof(x_writer), "x", "of a test",
	x_options, TD_WANT_PCM, 0, w_check, w_open, w_silence, w_refresh, w_close, w_write, NULL };
static const struct td_writer_ops y_writer = { TD_SINK_ABI, sizeof(y_writer), "y", "of a test",
	y_options, TD_WANT_PCM, 0, w_check, w_open, w_silence, w_refresh, w_close, w_write, NULL };
static const struct td_writer_ops z_writer = { TD_SINK_ABI, sizeof(z_writer), "z", "of a test",
	NULL, TD_WANT_PCM, 0, w_check, w_open, w_silence, w_refresh, w_close, w_write, NULL };

static int setup(void **state)
{
	static const struct td_plugin x = { TD_SINK_ABI, sizeof(x), &t_sink, NULL, &x_writer };
	static const struct td_plugin y = { TD_SINK_ABI, sizeof(y), NULL, NULL, &y_writer };
	static const struct td_plugin z = { TD_SINK_ABI, sizeof(z), NULL, NULL, &z_writer };
	char err[256];

	(void)state;
	plugin_reset();
	check_count = 0;
	return registry_add(&x, "x.so", err, sizeof(err)) != TD_OK ||
		registry_add(&y, "y.so", err, sizeof(err)) != TD_OK ||
		registry_add(&z, "z.so", err, sizeof(err)) != TD_OK;
}

/* All parts as "key=value key=value ...|..." */
static void show(char *ret, size_t len, const struct sink_spec *spec)
{
	ret[0] = '\0';
	for (; spec != NULL; spec = spec->next) {
		for (size_t i = 0; spec->options[i] != NULL; i += 2)
			snprintf(ret + strlen(ret), len - strlen(ret), "%s%s=%s", i > 0 ? " " : "",
				spec->options[i], spec->options[i + 1]);
		snprintf(ret + strlen(ret), len - strlen(ret), "%s", spec->next != NULL ? "|" : "");
	}
}

#define X "format=x full=f maybe= level=5 number=7"
#define Y "format=y full=f maybe= rate=9 level=1"

static void good_specs(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "t", "choice=b number=1 text= " X },
		{ "t:choice=aa", "choice=aa number=1 text= " X },
		{ "t:choice=ab,choice2=", NULL },
		{ "t:number=2,choice=a", NULL }, /* wants packets, has no packet() */
		{ "t:text=ab,choice=a", "choice=a number=1 text=ab " X },
		{ "t:text=123456789", "choice=b number=1 text=123456789 " X },
		{ "t:text=", "choice=b number=1 text= " X },
		{ "t:maybe=3", "choice=b number=1 text= format=x full=f maybe=3 level=5 number=7" },
		{ "t:maybe=", "choice=b number=1 text= " X },
		/* values hold anything */
		{ "t:text=a=b:c", "choice=b number=1 text=a=b:c " X },
		{ "t:text=a\\,b,full=c",
			"choice=b number=1 text=a,b format=x full=c maybe= level=5 "
			"number=7" },
		{ "t:text=a\\\\,full=\\",
			"choice=b number=1 text=a\\ format=x full=\\ maybe= level=5 "
			"number=7" },
		{ "t:text=\\n\\\"\\=", "choice=b number=1 text=\\n\\\"\\= " X },
		{ "t:text=\\\\\\,\\\\", "choice=b number=1 text=\\,\\ " X },
		{ "t:text=a b\n", "choice=b number=1 text=a b\n " X },
		/* formats */
		{ "t:format=x", "choice=b number=1 text= " X },
		{ "t:format=y", "choice=b number=1 text= " Y },
		{ "t:format=z", "choice=b number=1 text= format=z full=f maybe=" },
		{ "t:level=9", "choice=b number=1 text= format=x full=f maybe= level=9 number=7" },
		{ "t:level=3,format=y",
			"choice=b number=1 text= format=y full=f maybe= rate=9 level=3" },
		{ "t:format=y,rate=0",
			"choice=b number=1 text= format=y full=f maybe= rate=0 level=1" },
		{ "t:format=x+y,text=hi",
			"choice=b number=1 text=hi " X "|choice=b number=1 text=hi " Y },
		{ "t:level=2,format=z+y+x,rate=3",
			"choice=b number=1 text= format=z full=f maybe=|"
			"choice=b number=1 text= format=y full=f maybe= rate=3 level=2|"
			"choice=b number=1 text= format=x full=f maybe= level=2 number=7" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sink_spec *spec = NULL;
		char err[512] = "", got[512];

		check_count = 0;
		if (cases[i].want == NULL) {
			assert_int_equal(sink_spec_parse(&spec, cases[i].text, err, sizeof(err)),
				TD_ERR_USAGE);
			assert_null(spec);
			continue;
		}
		if (sink_spec_parse(&spec, cases[i].text, err, sizeof(err)) != 0)
			fail_msg("%s: %s", cases[i].text, err);
		assert_string_equal(err, "");
		show(got, sizeof(got), spec);
		assert_string_equal(got, cases[i].want);
		assert_int_equal(check_count, spec_parts(spec));
		assert_string_equal(checked[0], spec->options[7]);
		sink_spec_free(spec);
	}
	sink_spec_free(NULL);
}

static void what_a_spec_wants(void **state)
{
	static const struct {
		const char *text;
		uint32_t what, channels;
	} cases[] = { { "t", TD_WANT_PCM, 2 }, { "t:choice=a", TD_WANT_PCM, 1 },
		{ "t:format=x+y,choice=a", TD_WANT_PCM, 1 }, { "file:channels=1", TD_WANT_PCM, 1 },
		{ "file", TD_WANT_PCM, 2 }, { "file:format=opus", TD_WANT_OPUS, 0 },
		{ "file:format=opus+wav,channels=1", TD_WANT_OPUS | TD_WANT_PCM, 1 },
		{ "file:format=wav+opus", TD_WANT_OPUS | TD_WANT_PCM, 2 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sink_spec *spec;
		struct td_wants wants;
		char err[512];

		assert_int_equal(sink_spec_parse(&spec, cases[i].text, err, sizeof(err)), 0);
		sink_spec_wants(spec, &wants);
		assert_int_equal(wants.size, sizeof(wants));
		assert_int_equal(wants.what, cases[i].what);
		/* `t` came with a plugin. */
		assert_int_equal(sink_spec_is_built_in(spec), cases[i].text[0] != 't');
		if ((wants.what & TD_WANT_PCM) != 0)
			assert_int_equal(wants.channels, cases[i].channels);
		sink_spec_free(spec);
	}
}

#define HAS "it has: choice, number, text, format, full, maybe"

static void bad_specs_get_one_clear_line(void **state)
{
	static const struct {
		const char *text, *err;
	} cases[] = {
		{ "", "no sink is called ''; there is: file, " },
		{ "mp9", "no sink is called 'mp9'; there is: file, " },
		{ "mp9", "; and no mp9.so in: /nowhere" },
		{ "File", "no sink is called 'File'; there is: file, " },
		{ "fi\nle\x1b[2J", "no sink is called 'fi?le?[2J'; there is: file, " },
		{ "t:", "t has no option ''; " HAS "; with x: level, number" },
		{ "t:bitrate=9", "t has no option 'bitrate'; " HAS "; with x: level, number" },
		{ "t:format=z,level=1", "t has no option 'level'; " HAS },
		{ "t:rate=1", "t has no option 'rate'; " HAS "; with x: level, number" },
		{ "t:format=y+x+z,rat=1",
			"t has no option 'rat'; " HAS
			"; with y: rate, level; with x: level, number" },
		{ "t:text=ab,", "t has no option ''; " HAS "; with x: level, number" },
		{ "t:text=ab,,full=a", "t has no option ''; " HAS "; with x: level, number" },
		{ "t:=b", "t has no option ''; " HAS "; with x: level, number" },
		{ "t:text", "t: text needs a value: text=..." },
		{ "t:format", "t: format needs a value: format=..." },
		{ "t:level", "t: level needs a value: level=..." },
		{ "t:format=", "t: format cannot be ''; it is one of: wav, " },
		{ "t:format=mp9", "t: format cannot be 'mp9'; it is one of: wav, " },
		{ "t:format=mp9", ", x, y, z; no mp9.so in: /nowhere" },
		{ "t:format=x+", "t: format cannot be ''; it is one of: wav, " },
		{ "t:format=+x", "t: format cannot be ''; it is one of: wav, " },
		{ "t:format=x+y+x", "t: format 'x' is given twice" },
		{ "t:format=x|y", "t: format cannot be 'x|y'; it is one of: wav, " },
		{ "t:choice=", "t: choice cannot be ''; it is one of: aa|b|ab|a|xyz" },
		{ "t:choice=aab", "t: choice cannot be 'aab'; it is one of: aa|b|ab|a|xyz" },
		{ "t:choice=aa|b", "t: choice cannot be 'aa|b'; it is one of: aa|b|ab|a|xyz" },
		{ "t:choice=yz", "t: choice cannot be 'yz'; it is one of: aa|b|ab|a|xyz" },
		{ "t:choice=xy", "t: choice cannot be 'xy'; it is one of: aa|b|ab|a|xyz" },
		{ "t:choice=|", "t: choice cannot be '|'; it is one of: aa|b|ab|a|xyz" },
		{ "t:choice=b|", "t: choice cannot be 'b|'; it is one of: aa|b|ab|a|xyz" },
		{ "t:text=a", "t: text cannot be 'a'; it is a text of 2 to 9 bytes" },
		{ "t:text=1234567890",
			"t: text cannot be '1234567890'; it is a text of 2 to 9 bytes" },
		{ "t:full=", "t: full cannot be ''; it is a text of 1 to 9 bytes" },
		{ "t:number=", "t: number cannot be ''; it is a number from 1 to 2" },
		{ "t:number=0", "t: number cannot be '0'; it is a number from 1 to 2" },
		{ "t:number=3", "t: number cannot be '3'; it is a number from 1 to 2" },
		{ "t:number=7", "t: number cannot be '7'; it is a number from 1 to 2" },
		{ "t:number=1x", "t: number cannot be '1x'; it is a number from 1 to 2" },
		{ "t:number=-1", "t: number cannot be '-1'; it is a number from 1 to 2" },
		{ "t:number=01", "t: number cannot be '01'; it is a number from 1 to 2" },
		{ "t:number=18446744073709551617",
			"t: number cannot be '18446744073709551617'; it is a number from 1 to 2" },
		{ "t:number=184467440737095516160",
			"t: number cannot be '184467440737095516160'; it is a number from 1 to 2" },
		{ "t:maybe=2", "t: maybe cannot be '2'; it is a number from 3 to 5" },
		{ "t:level=10", "t: level cannot be '10'; it is a number from 0 to 9" },
		{ "t:format=x+y,level=5", "t: level cannot be '5'; it is a number from 0 to 3" },
		{ "t:number=1,number=2", "t: number is given twice" },
		{ "t:format=x,format=y", "t: format is given twice" },
		{ "t:level=1,level=1", "t: level is given twice" },
		{ "t:text=bad", "t: bad is?bad" },
		{ "t:number=2", "t wants Opus packets and has no packet()" },
		{ "./nope.so:a=b", "./nope.so: No such file or directory" },
		{ "/", "/: is not a file" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sink_spec *spec = NULL;
		char err[512] = "", want[512];
		int r;

		check_count = 0;
		r = sink_spec_parse(&spec, cases[i].text, err, sizeof(err));
		assert_int_equal(r, TD_ERR_USAGE);
		assert_null(spec);
		snprintf(want, sizeof(want), "--sink: %s", cases[i].err);
		/* what goes on with all that there is, is not told in full */
		if (cases[i].err[0] == ';' || cases[i].err[0] == ',')
			assert_non_null(strstr(err, cases[i].err));
		else if (want[strlen(want) - 1] == ' ')
			assert_memory_equal(err, want, strlen(want));
		else
			assert_string_equal(err, want);
	}
}

static void long_texts_fit(void **state)
{
	static const char *const starts[] = { "", "t:text=", "t:", "t:format=", "./",
		"t:text=\\," };
	char text[5000], err[32];

	(void)state;
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		struct sink_spec *spec = NULL;

		memset(text, 'x', sizeof(text) - 1);
		text[sizeof(text) - 1] = '\0';
		memcpy(text, starts[i], strlen(starts[i]));
		assert_int_equal(sink_spec_parse(&spec, text, err, sizeof(err)), TD_ERR_USAGE);
		assert_int_equal(strlen(err), sizeof(err) - 1);
		assert_int_equal(sink_spec_parse(&spec, text, err, 0), TD_ERR_USAGE);
	}
}

static void as_many_as_there_can_be(void **state)
{
	char text[2000] = "t:format=x+y+z+wav+flac+pcm+mp3+opus", err[512];
	struct sink_spec *spec = NULL;

	(void)state;
	assert_int_equal(sink_spec_parse(&spec, text, err, sizeof(err)), 0);
	assert_int_equal(spec_parts(spec), 8);
	assert_int_equal(spec_parts(NULL), 0);
	sink_spec_free(spec);
	spec = NULL;
	strcpy(text, "t:text=ab");
	for (int i = 0; i < 31; i++)
		strcat(text, ",a=b");
	assert_int_equal(sink_spec_parse(&spec, text, err, sizeof(err)), TD_ERR_USAGE);
	assert_non_null(strstr(err, "has no option 'a'"));
	strcat(text, ",a=b");
	assert_int_equal(sink_spec_parse(&spec, text, err, sizeof(err)), TD_ERR_USAGE);
	assert_string_equal(err, "--sink: t: too many options");
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
		cmocka_unit_test_setup(good_specs, setup),
		cmocka_unit_test_setup(what_a_spec_wants, setup),
		cmocka_unit_test_setup(bad_specs_get_one_clear_line, setup),
		cmocka_unit_test_setup(long_texts_fit, setup),
		cmocka_unit_test_setup(as_many_as_there_can_be, setup),
		cmocka_unit_test(out_folder_is_made),
		cmocka_unit_test(session_folders_never_collide),
		cmocka_unit_test(session_names),
	};

	setenv("TAPEDECK_PLUGIN_PATH", "/nowhere", 1);
	return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
