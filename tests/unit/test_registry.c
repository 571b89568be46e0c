/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/host.h"
#include "sinks/plugin.h"
#include "sinks/registry.h"
#include "tests/abi/layout.h"

/* ---- a plugin that fits, made again for every case, which breaks one thing of it ---- */

static uint32_t sink_what, track_what, want_channels;

static void sink_wants(const char *const *options, struct td_wants *ret)
{
	assert_non_null(options);
	ret->what = sink_what;
	ret->channels = want_channels;
}

static void track_wants(const char *const *options, struct td_wants *ret)
{
	(void)options;
	ret->what = track_what;
	ret->channels = want_channels;
}

/* Never called: only whether they are there is looked at. */
static int any_open(void **a, const struct td_host *b, const struct td_session *c,
	const char *const *d)
{
	(void)a, (void)b, (void)c, (void)d;
	return TD_ERR_STATE;
}

static int any_end(void *a, uint64_t b)
{
	(void)a, (void)b;
	return TD_ERR_STATE;
}

static void any_free(void *a)
{
	(void)a;
}

static int any_method(void *a)
{
	(void)a;
	return TD_ERR_STATE;
}

static int any_frame(void *a, const struct td_frame *b)
{
	(void)a, (void)b;
	return TD_ERR_STATE;
}

static int any_packet(void *a, const struct td_packet *b)
{
	(void)a, (void)b;
	return TD_ERR_STATE;
}

static int any_track(void **a, void *b, const struct td_track *c)
{
	(void)a, (void)b, (void)c;
	return TD_ERR_STATE;
}

static int any_audio(void *a, const int16_t *b, uint32_t c)
{
	(void)a, (void)b, (void)c;
	return TD_ERR_STATE;
}

static int any_check(const struct td_writer_conf *a, char *b, size_t c)
{
	(void)a, (void)b, (void)c;
	return TD_ERR_STATE;
}

static int any_file(void **a, const struct td_output *b, const struct td_writer_conf *c)
{
	(void)a, (void)b, (void)c;
	return TD_ERR_STATE;
}

static int any_close(void *a, uint64_t *b)
{
	(void)a, (void)b;
	return TD_ERR_STATE;
}

static struct td_option sink_options[20], writer_options[3];
static struct td_sink_ops sink;
static struct td_track_ops track;
static struct td_writer_ops writer;
static struct td_plugin plugin;

static struct td_option option(const char *name, uint32_t type, const char *fallback)
{
	return (struct td_option){ .name = name,
		.type = type,
		.fallback = fallback,
		.choices = "a|b",
		.max = 9,
		.meaning = "of a test" };
}

static void make(void)
{
	plugin_reset();
	sink_what = TD_WANT_PCM | TD_WANT_OPUS | TD_WANT_RTCP;
	track_what = TD_WANT_PCM;
	want_channels = 2;
	memset(sink_options, 0, sizeof(sink_options));
	memset(writer_options, 0, sizeof(writer_options));
	sink_options[0] = option("one", TD_OPTION_CHOICE, "a");
	sink_options[1] = option("two-2", TD_OPTION_NUMBER, "9");
	sink_options[2] = option("three", TD_OPTION_TEXT, "");
	sink_options[3] = option("format", TD_OPTION_FORMAT, "w");
	writer_options[0] = option("four", TD_OPTION_TEXT, "123456789");
	sink = (struct td_sink_ops){ TD_SINK_ABI, sizeof(sink), "s_1", "of a test", sink_options,
		sink_wants, any_open, any_end, any_free, any_frame, any_packet, NULL, NULL, NULL,
		NULL, NULL, NULL, NULL };
	track = (struct td_track_ops){ TD_SINK_ABI, sizeof(track), "t", "of a test", NULL,
		track_wants, any_open, any_track, any_end, any_method, any_free, any_free,
		any_audio, any_packet, NULL, NULL, NULL, NULL, NULL, NULL };
	writer = (struct td_writer_ops){ TD_SINK_ABI, sizeof(writer), "w", "of a test",
		writer_options, TD_WANT_PCM | TD_WANT_OPUS, 0, any_check, any_file, any_end,
		any_method, any_close, any_audio, any_packet };
	plugin = (struct td_plugin){ TD_SINK_ABI, sizeof(plugin), &sink, &track, &writer };
}

static void what_fits_is_there(void **state)
{
	char err[256] = "";
	const char *origin = NULL;
	size_t last = 0;

	(void)state;
	make();
	assert_int_equal(registry_add(&plugin, "p.so", err, sizeof(err)), TD_OK);
	assert_string_equal(err, "");
	assert_ptr_equal(registry_sink("s_1")->sink, &sink);
	assert_string_equal(registry_sink("s_1")->origin, "p.so");
	assert_ptr_equal(registry_sink("s_1")->options, sink_options);
	assert_ptr_equal(registry_sink("t")->track, &track);
	assert_string_equal(registry_sink("t")->meaning, "of a test");
	assert_ptr_equal(registry_writer("w"), &writer);
	while (registry_writer_at(last + 1, NULL) != NULL)
		last++;
	assert_ptr_equal(registry_writer_at(last, &origin), &writer);
	assert_string_equal(origin, "p.so");
	assert_string_equal(registry_sink_at(0)->name, "file");
	assert_null(registry_sink_at(0)->origin);
	assert_string_equal(registry_writer_at(0, &origin)->name, "wav");
	assert_null(origin);
	assert_null(registry_sink("w"));
	assert_null(registry_writer("t"));
}

/* As small as ABI 1 lets them be. */
static void small_structs_fit(void **state)
{
	char err[256] = "";

	(void)state;
	make();
	sink_what = TD_WANT_RTCP;
	sink.size = offsetof(struct td_sink_ops, frame);
	writer.size = offsetof(struct td_writer_ops, packet);
	writer.takes = TD_WANT_PCM;
	track.size = offsetof(struct td_track_ops, packet);
	assert_int_equal(registry_add(&plugin, "p.so", err, sizeof(err)), TD_OK);
	make();
	sink_what = 0;
	track_what = TD_WANT_OPUS;
	writer.takes = TD_WANT_OPUS;
	writer.write = NULL;
	plugin.size = sizeof(plugin) + 100;
	sink.size = sizeof(sink) + 100;
	assert_int_equal(registry_add(&plugin, "p.so", err, sizeof(err)), TD_OK);
}

/* ---- what does not ---- */

/* Breaks one thing and is told what will be said about it. */
#define CASE(name, r, said, ...)               \
	static int name(const char **ret_said) \
	{                                      \
		__VA_ARGS__;                   \
		*ret_said = said;              \
		return r;                      \
	}
#define NO TD_ERR_UNSUPPORTED
#define IS TD_ERR_USAGE

CASE(abi_0, NO, "its plugin is of ABI 0, and this program of ABI 1", plugin.abi = 0)
CASE(abi_2, NO, "its plugin is of ABI 2, and this program of ABI 1", plugin.abi = 2)
CASE(plugin_small, NO, "its plugin has 31 bytes, and ABI 1 at least 32", plugin.size = 31)
CASE(nothing, NO, "its plugin brings no sink, no track and no writer", plugin.sink = NULL;
	plugin.track = NULL; plugin.writer = NULL)
CASE(sink_abi, NO, "its sink is of ABI 2, and this program of ABI 1", sink.abi = 2)
CASE(sink_abi_0, NO, "its sink is of ABI 0, and this program of ABI 1", sink.abi = 0)
CASE(sink_small, NO, "its sink has 63 bytes, and ABI 1 at least 64", sink.size = 63)
CASE(track_abi, NO, "its track is of ABI 7, and this program of ABI 1", track.abi = 7)
CASE(track_small, NO, "its track has 87 bytes, and ABI 1 at least 88", track.size = 87)
CASE(writer_abi, NO, "its writer is of ABI 9, and this program of ABI 1", writer.abi = 9)
CASE(writer_small, NO, "its writer has 79 bytes, and ABI 1 at least 80", writer.size = 79)
CASE(no_name, IS, "its sink has no name", sink.name = NULL)
CASE(empty_name, IS, "its sink '' needs a name of [a-z0-9_], at most 31 of them", sink.name = "")
CASE(upper_name, IS, "its track 'T' needs a name of [a-z0-9_], at most 31 of them",
	track.name = "T")
CASE(dash_name, IS, "its sink 'a-b' needs a name of [a-z0-9_], at most 31 of them",
	sink.name = "a-b")
CASE(slash_name, IS, "its sink '../x' needs a name of [a-z0-9_], at most 31 of them",
	sink.name = "../x")
CASE(escape_name, IS, "its sink '?[2J' needs a name of [a-z0-9_], at most 31 of them",
	sink.name = "\x1b[2J")
CASE(long_name, IS,
	"its sink '12345678901234567890123456789012' needs a name of [a-z0-9_], at most 31 of them",
	sink.name = "12345678901234567890123456789012")
CASE(writer_name, IS, "its writer 'a_b' needs a name of [a-z0-9], at most 31 of them",
	writer.name = "a_b")
CASE(no_meaning, NO, "its sink 's_1' does not say what it means", sink.meaning = NULL)
CASE(sink_taken, IS, "there is a sink 'file' already, built in", sink.name = "file")
CASE(track_taken, IS, "there is a sink 'file' already, built in", track.name = "file")
CASE(writer_taken, IS, "there is a writer 'wav' already, built in", writer.name = "wav")
CASE(both_same, IS, "there is a sink 's_1' already, from p.so", track.name = "s_1")
CASE(sink_no_wants, NO, "its sink 's_1' has no wants()", sink.wants = NULL)
CASE(sink_no_open, NO, "its sink 's_1' has no open()", sink.open = NULL)
CASE(sink_no_finish, NO, "its sink 's_1' has no finish()", sink.finish = NULL)
CASE(sink_no_close, NO, "its sink 's_1' has no close()", sink.close = NULL)
CASE(sink_no_frame, NO, "its 's_1' wants PCM and has no frame()", sink.frame = NULL)
CASE(sink_no_packet, NO, "its 's_1' wants Opus packets and has no packet()", sink.packet = NULL)
CASE(sink_short_packet, NO, "its 's_1' wants Opus packets and has no packet()",
	sink.size = offsetof(struct td_sink_ops, packet))
CASE(sink_wants_8, NO, "its 's_1' wants something this program does not know", sink_what |= 8)
CASE(sink_channels_0, NO, "its 's_1' wants PCM of neither 1 nor 2 channels", want_channels = 0)
CASE(sink_channels_3, NO, "its 's_1' wants PCM of neither 1 nor 2 channels", want_channels = 3)
CASE(track_no_wants, NO, "its track 't' has no wants()", track.wants = NULL)
CASE(track_no_begin, NO, "its track 't' has no begin()", track.begin = NULL)
CASE(track_no_open, NO, "its track 't' has no open()", track.open = NULL)
CASE(track_no_silence, NO, "its track 't' has no silence()", track.silence = NULL)
CASE(track_no_end, NO, "its track 't' has no end()", track.end = NULL)
CASE(track_no_free, NO, "its track 't' has no free()", track.free = NULL)
CASE(track_no_close, NO, "its track 't' has no close()", track.close = NULL)
CASE(track_no_audio, NO, "its 't' wants PCM and has no audio()", track.audio = NULL)
CASE(track_no_packet, NO, "its 't' wants Opus packets and has no packet()",
	track_what = TD_WANT_OPUS;
	track.packet = NULL)
CASE(track_wants_both, NO, "its 't' has to want either PCM or Opus packets",
	track_what = TD_WANT_PCM | TD_WANT_OPUS)
CASE(track_wants_none, NO, "its 't' has to want either PCM or Opus packets", track_what = 0)
CASE(writer_no_check, NO, "its writer 'w' has no check()", writer.check = NULL)
CASE(writer_no_open, NO, "its writer 'w' has no open()", writer.open = NULL)
CASE(writer_no_silence, NO, "its writer 'w' has no silence()", writer.silence = NULL)
CASE(writer_no_refresh, NO, "its writer 'w' has no refresh()", writer.refresh = NULL)
CASE(writer_no_close, NO, "its writer 'w' has no close()", writer.close = NULL)
CASE(writer_no_write, NO, "its writer 'w' has no write()", writer.write = NULL)
CASE(writer_no_packet, NO, "its writer 'w' has no packet()", writer.packet = NULL)
CASE(writer_short, NO, "its writer 'w' has no packet()",
	writer.size = offsetof(struct td_writer_ops, packet))
CASE(writer_takes_0, NO, "its writer 'w' takes neither PCM nor Opus packets alone",
	writer.takes = 0)
CASE(writer_takes_rtcp, NO, "its writer 'w' takes neither PCM nor Opus packets alone",
	writer.takes = TD_WANT_PCM | TD_WANT_RTCP)
CASE(option_name, IS, "its sink 's_1' has an option named 'A'; names are of [a-z0-9-]",
	sink_options[1].name = "A")
CASE(option_under, IS, "its sink 's_1' has an option named 'a_b'; names are of [a-z0-9-]",
	sink_options[1].name = "a_b")
CASE(option_empty, IS, "its sink 's_1' has an option named ''; names are of [a-z0-9-]",
	sink_options[1].name = "")
CASE(option_twice, NO, "its sink 's_1' has option one twice", sink_options[2].name = "one")
CASE(option_type_0, NO, "its sink 's_1' has option one of a type that cannot be (0)",
	sink_options[0].type = 0)
CASE(option_type_5, NO, "its sink 's_1' has option one of a type that cannot be (5)",
	sink_options[0].type = 5)
CASE(two_formats, NO, "its sink 's_1' has option more of a type that cannot be (4)",
	sink_options[4] = option("more", TD_OPTION_FORMAT, "w"))
CASE(writer_format, NO, "its writer 'w' has option four of a type that cannot be (4)",
	writer_options[0].type = TD_OPTION_FORMAT)
CASE(option_meaning, NO, "its sink 's_1' has option one without a meaning",
	sink_options[0].meaning = NULL)
CASE(option_fallback, NO, "its sink 's_1' has option one without a fallback",
	sink_options[0].fallback = NULL)
CASE(no_choices, NO, "its sink 's_1' has option one without choices",
	sink_options[0].choices = NULL)
CASE(empty_choices, NO, "its sink 's_1' has option one without choices",
	sink_options[0].choices = "")
CASE(not_a_choice, NO, "its sink 's_1' has option one, which cannot be its fallback 'c'",
	sink_options[0].fallback = "c")
CASE(not_a_number, NO, "its sink 's_1' has option two-2, which cannot be its fallback '10'",
	sink_options[1].fallback = "10")
CASE(long_text, NO, "its writer 'w' has option four, which cannot be its fallback '1234567890'",
	writer_options[0].fallback = "1234567890")
CASE(short_text, NO, "its writer 'w' has option four, which cannot be its fallback '1'",
	writer_options[0].fallback = "1";
	writer_options[0].min = 2)
CASE(range, NO, "its sink 's_1' has option two-2 from 10 to 9", sink_options[1].min = 10)
CASE(no_format, NO, "its 's_1' writes 'nope', which no writer here does",
	sink_options[3].fallback = "nope")

static void many_options(size_t count)
{
	static char names[20][4];

	for (size_t i = 0; i < count; i++) {
		snprintf(names[i], sizeof(names[i]), "n%02zu", i);
		sink_options[i] = option(names[i], TD_OPTION_TEXT, "");
	}
}
CASE(options_17, NO, "its sink 's_1' has more than 16 options", many_options(17))

static void what_does_not_fit_gets_one_clear_line(void **state)
{
	static int (*const cases[])(const char **ret_said) = { abi_0, abi_2, plugin_small, nothing,
		sink_abi, sink_abi_0, sink_small, track_abi, track_small, writer_abi, writer_small,
		no_name, empty_name, upper_name, dash_name, slash_name, escape_name, long_name,
		writer_name, no_meaning, sink_taken, track_taken, writer_taken, both_same,
		sink_no_wants, sink_no_open, sink_no_finish, sink_no_close, sink_no_frame,
		sink_no_packet, sink_short_packet, sink_wants_8, sink_channels_0, sink_channels_3,
		track_no_wants, track_no_begin, track_no_open, track_no_silence, track_no_end,
		track_no_free, track_no_close, track_no_audio, track_no_packet, track_wants_both,
		track_wants_none, writer_no_check, writer_no_open, writer_no_silence,
		writer_no_refresh, writer_no_close, writer_no_write, writer_no_packet, writer_short,
		writer_takes_0, writer_takes_rtcp, option_name, option_under, option_empty,
		option_twice, option_type_0, option_type_5, two_formats, writer_format,
		option_meaning, option_fallback, no_choices, empty_choices, not_a_choice,
		not_a_number, long_text, short_text, range, no_format, options_17 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char err[256] = "", want[256];
		const char *said;
		int r;

		make();
		r = cases[i](&said);
		snprintf(want, sizeof(want), "p.so: %s", said);
		assert_int_equal(registry_add(&plugin, "p.so", err, sizeof(err)), r);
		assert_string_equal(err, want);
		/* nothing of it is there */
		assert_null(registry_sink("s_1"));
		assert_null(registry_sink("t"));
		assert_null(registry_writer("w"));
	}
}

static void sixteen_options_are_fine(void **state)
{
	char err[256];

	(void)state;
	make();
	many_options(16);
	assert_int_equal(registry_add(&plugin, "p.so", err, sizeof(err)), TD_OK);
}

static void names_are_taken_once(void **state)
{
	char err[256];

	(void)state;
	make();
	assert_int_equal(registry_add(&plugin, "p.so", err, sizeof(err)), TD_OK);
	assert_int_equal(registry_add(&plugin, "q.so", err, sizeof(err)), TD_ERR_USAGE);
	assert_string_equal(err, "q.so: there is a sink 's_1' already, from p.so");
	sink.name = "s_2";
	track.name = "t2";
	assert_int_equal(registry_add(&plugin, "q.so", err, sizeof(err)), TD_ERR_USAGE);
	assert_string_equal(err, "q.so: there is a writer 'w' already, from p.so");
	assert_null(registry_sink("s_2"));
}

static void there_is_a_limit(void **state)
{
	static struct td_sink_ops many[70];
	static char names[70][8];
	char err[256];
	size_t i;
	int r = TD_OK;

	(void)state;
	make();
	sink_options[0].name = NULL;
	plugin.track = NULL;
	plugin.writer = NULL;
	for (i = 0; i < 70 && r == TD_OK; i++) {
		snprintf(names[i], sizeof(names[i]), "n%zu", i);
		many[i] = sink;
		many[i].name = names[i];
		plugin.sink = &many[i];
		r = registry_add(&plugin, "p.so", err, sizeof(err));
	}
	assert_int_equal(r, TD_ERR_LIMIT);
	assert_string_equal(err, "p.so: there are 64 plugins already");
	assert_non_null(registry_sink_at(63));
	assert_null(registry_sink_at(64));
	plugin_reset();
}

/* ---- files ---- */

static void files_that_are_no_plugins(void **state)
{
	char dir[] = "/tmp/test_registry.XXXXXX", path[64], err[512], want[512];
	const struct registry_sink *s;
	const struct td_writer_ops *w;
	FILE *f;

	(void)state;
	plugin_reset();
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/nope.so", dir);
	snprintf(want, sizeof(want), "%s: No such file or directory", path);
	assert_int_equal(sink_plugin_load(path, err, sizeof(err)), TD_ERR_IO);
	assert_string_equal(err, want);
	assert_int_equal(plugin_sink(&s, path, err, sizeof(err)), TD_ERR_IO);
	assert_string_equal(err, want);

	/* by name */
	setenv("TAPEDECK_PLUGIN_PATH", dir, 1);
	assert_int_equal(plugin_sink(&s, "nope", err, sizeof(err)), TD_ERR_USAGE);
	snprintf(want, sizeof(want), "no nope.so in: %s", dir);
	assert_non_null(strstr(err, want));
	assert_int_equal(plugin_writer(&w, "nope", err, sizeof(err)), PLUGIN_NOWHERE);
	assert_string_equal(err, want);
	assert_int_equal(plugin_writer(&w, "../nope", err, sizeof(err)), PLUGIN_NOWHERE);
	assert_string_equal(err, "");
	assert_int_equal(plugin_writer(&w, "wav", err, sizeof(err)), TD_OK);
	assert_string_equal(w->name, "wav");
	assert_non_null(f = fopen(path, "w"));
	fputs("text", f);
	fclose(f);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(plugin_sink(&s, "nope", err, sizeof(err)), TD_ERR_UNSUPPORTED);
	snprintf(want, sizeof(want), "%s: cannot be loaded: file too short", path);
	assert_string_equal(err, want);
	/* the first file of the name decides */
	snprintf(want, sizeof(want), "/nowhere:%s::/tmp", dir);
	setenv("TAPEDECK_PLUGIN_PATH", want, 1);
	assert_int_equal(plugin_writer(&w, "nope", err, sizeof(err)), TD_ERR_UNSUPPORTED);

	/* who could have written it */
	assert_int_equal(chmod(path, 01666), 0);
	assert_int_equal(sink_plugin_load(path, err, sizeof(err)), TD_ERR_UNSUPPORTED);
	assert_non_null(strstr(err, "nope.so: not loaded, for it can be written by everybody"));
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(sink_plugin_load(path, err, sizeof(err)), TD_ERR_UNSUPPORTED);
	assert_non_null(strstr(err, "nope.so: not loaded, for it can be written by everybody"));
	assert_int_equal(chmod(path, 0664), 0);
	assert_int_equal(chmod(dir, 0702), 0);
	assert_int_equal(sink_plugin_load(path, err, sizeof(err)), TD_ERR_UNSUPPORTED);
	assert_non_null(strstr(err, "for its folder can be written by everybody"));
	assert_int_equal(chmod(dir, 01777), 0);
	assert_int_equal(sink_plugin_load(path, err, sizeof(err)), TD_ERR_UNSUPPORTED);
	assert_non_null(strstr(err, "file too short"));
	assert_int_equal(sink_plugin_load(dir, err, sizeof(err)), TD_ERR_UNSUPPORTED);
	assert_non_null(strstr(err, ": is not a file"));
	unlink(path);
	assert_int_equal(rmdir(dir), 0);
	unsetenv("TAPEDECK_PLUGIN_PATH");
}

static size_t folder_count;
static char folders[4][256];

static int on_folder(void *user, const char *path)
{
	(void)user;
	assert_true(folder_count < 4);
	snprintf(folders[folder_count++], sizeof(folders[0]), "%s", path);
	return 0;
}

static void folders_of_the_program_and_of_the_environment(void **state)
{
	char self[200], want[256];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	(void)state;
	assert_true(n > 0);
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	folder_count = 0;
	unsetenv("TAPEDECK_PLUGIN_PATH");
	assert_int_equal(plugin_folders(on_folder, NULL), 0);
	assert_int_equal(folder_count, 2);
	snprintf(want, sizeof(want), "%s/plugins", self);
	assert_string_equal(folders[0], want);
	*strrchr(self, '/') = '\0';
	snprintf(want, sizeof(want), "%s/lib/tapedeck/plugins", self);
	assert_string_equal(folders[1], want);
	folder_count = 0;
	setenv("TAPEDECK_PLUGIN_PATH", ":/a::b:", 1);
	assert_int_equal(plugin_folders(on_folder, NULL), 0);
	assert_int_equal(folder_count, 2);
	assert_string_equal(folders[0], "/a");
	assert_string_equal(folders[1], "b");
	folder_count = 0;
	setenv("TAPEDECK_PLUGIN_PATH", "", 1);
	assert_int_equal(plugin_folders(on_folder, NULL), 0);
	assert_int_equal(folder_count, 0);
	unsetenv("TAPEDECK_PLUGIN_PATH");
}

/* ---- what was promised with ABI 1 ---- */

#define M LAYOUT_M
#define N LAYOUT_N
#define S LAYOUT_S
static const struct layout layout_today[] = {
#include "tests/abi/layout_members.h"
	{ NULL, 0, 0 },
};

static void abi_1_is_where_it_was(void **state)
{
	size_t i;

	(void)state;
	assert_true(TD_SINK_ABI >= 1);
	for (i = 0; layout_abi1[i].name != NULL; i++) {
		assert_string_equal(layout_today[i].name, layout_abi1[i].name);
		if (layout_today[i].at != layout_abi1[i].at ||
			layout_today[i].size != layout_abi1[i].size)
			fail_msg("%s has moved", layout_abi1[i].name);
	}
	assert_null(layout_today[i].name);
	assert_true(i > 180);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_fits_is_there),
		cmocka_unit_test(small_structs_fit),
		cmocka_unit_test(what_does_not_fit_gets_one_clear_line),
		cmocka_unit_test(sixteen_options_are_fine),
		cmocka_unit_test(names_are_taken_once),
		cmocka_unit_test(there_is_a_limit),
		cmocka_unit_test(files_that_are_no_plugins),
		cmocka_unit_test(folders_of_the_program_and_of_the_environment),
		cmocka_unit_test(abi_1_is_where_it_was),
	};

	return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
