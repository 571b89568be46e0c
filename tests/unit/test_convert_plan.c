/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <getopt.h>
#include <time.h>

#include "common/err.h"
#include "sinks/convert/args.h"
#include "sinks/convert/plan.h"
#include "sinks/convert/report.h"
#include "sinks/convert/session_file.h"
#include "tests/unit/convert_dir.h"

enum { ARGS_MAX = 16 };

/* A command line in one text, spaces between; options are read from its start. */
static int parse(struct args *ret, char *text)
{
	static char *argv[ARGS_MAX + 1];
	int argc = 0;

	for (char *word; (word = strsep(&text, " ")) != NULL && argc < ARGS_MAX;)
		argv[argc++] = word;
	argv[argc] = NULL;
	optind = 0;
	return args_parse(ret, argc, argv);
}

static void command_lines(void **state)
{
	static const struct {
		const char *text;
		int status;
	} cases[] = {
		{ "convert a.wav", -1 }, { "convert a.wav -f flac b.wav", -1 },
		{ "convert -f wav -o out -j 2 -r 8000 -c 1 --raw 8000:1:s16le a b", -1 },
		{ "convert -fwav -j256 --force --keep --delete --json -q -v x", -1 },
		{ "convert -f flac:level=3 x", -1 }, { "convert --mix x y", -1 },
		{ "convert -- -x -y", -1 }, { "convert - -o out", -1 },
		{ "convert - x -o out", -1 }, { "convert", 2 }, { "convert --", 2 },
		{ "convert -o out", 2 }, { "convert -f", 2 }, { "convert -f  x", 2 },
		{ "convert -f : x", 2 }, { "convert -f ape x", 2 }, { "convert -f flac: x", 2 },
		{ "convert -f flac:level x", 2 }, { "convert -f flac:level= x", 2 },
		{ "convert -f flac:level=9 x", 2 }, { "convert -f flac:level=3,volume=11 x", 2 },
		{ "convert -f wav/../flac x", 2 }, { "convert -o  x", 2 }, { "convert -j 0 x", 2 },
		{ "convert -j 257 x", 2 }, { "convert -j 2x x", 2 }, { "convert -j -1 x", 2 },
		{ "convert -r 7999 x", 2 }, { "convert -r 192001 x", 2 }, { "convert -r 48k x", 2 },
		{ "convert -c 0 x", 2 }, { "convert -c 3 x", 2 }, { "convert --raw x y", 2 },
		{ "convert --mix --delete x", 2 }, { "convert --mix -", 2 }, { "convert - -", 2 },
		{ "convert - x", 2 }, { "convert -o - x y", 2 }, { "convert -o - --json x", 2 },
		{ "convert - --json", 2 }, { "convert --plugin nowhere.so x", 2 },
		{ "convert --colour x", 2 }, { "convert x ", 2 }, /* an empty one */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[128];
		struct args args;
		int status;

		snprintf(text, sizeof(text), "%s", cases[i].text);
		status = parse(&args, text);
		args_free(&args);
		if (status != cases[i].status)
			fail_msg("%s: %d", cases[i].text, status);
	}
}

static void command_line_values(void **state)
{
	char text[] = "./bin/tapedeck-convert a -f flac:level=3 -o out -j 7 -r 8000 -c 1 "
		      "--raw 44100:2:s16be -q b";
	struct args a;

	(void)state;
	assert_int_equal(parse(&a, text), -1);
	assert_string_equal(a.program, "tapedeck-convert");
	assert_string_equal(a.format.writer->name, "flac");
	assert_string_equal(a.format.options[0], "level");
	assert_string_equal(a.format.options[1], "3");
	assert_null(a.format.options[2]);
	assert_string_equal(a.out, "out");
	assert_int_equal(a.workers, 7);
	assert_int_equal(a.rate, 8000);
	assert_int_equal(a.channels, 1);
	assert_true(a.have_raw && a.raw.rate == 44100 && a.raw.format == RAW_S16BE);
	assert_true(a.quiet && !a.json && !a.mix && !a.delete_inputs && !a.force);
	assert_int_equal(a.input_count, 2);
	assert_string_equal(a.inputs[0], "a");
	assert_string_equal(a.inputs[1], "b");
	args_free(&a);
}

/* ---- plans ---- */

static void note(void *user, const char *input, const char *text)
{
	(void)user;
	snprintf(heard + strlen(heard), sizeof(heard) - strlen(heard), "%s: %s\n", input, text);
}

/* A plan as text: "input>output" a job, "!" for one that is refused, "=" for one skipped. */
static const char *planned(const char *command)
{
	static char ret[4096];
	char text[256];
	struct plan plan;
	struct args args;

	snprintf(text, sizeof(text), "%s", command);
	if (parse(&args, text) != -1)
		fail_msg("%s", command);
	plan_make(&plan, &args, note, NULL);
	ret[0] = '\0';
	for (size_t i = 0; i < plan.count; i++)
		snprintf(ret + strlen(ret), sizeof(ret) - strlen(ret), "%s%s>%s ",
			plan.jobs[i].state == JOB_REFUSED           ? "!"
				: plan.jobs[i].state == JOB_SKIPPED ? "="
								    : "",
			plan.jobs[i].input, plan.jobs[i].output != NULL ? plan.jobs[i].output : "");
	plan_free(&plan);
	args_free(&args);
	return ret;
}

static void set_time(const char *name, long seconds, long ns)
{
	const struct timespec times[2] = { { seconds, ns }, { seconds, ns } };

	assert_int_equal(utimensat(AT_FDCWD, name, times, 0), 0);
}

static void names(void **state)
{
	(void)state;
	mkdir("d", 0700);
	mkdir("d/e", 0700);
	put_text("x.wav", "1");
	put_text("x", "2");
	put_text(".y", "3");
	put_text("d/a.b.flac", "4");
	put_text("d/e/c.OPUS", "5");
	put_text("d/.hidden.wav", "6");
	put_text("d/letter.txt", "7");
	put_text("d/nobody.pcm", "8");
	put_text("d/some.pcm", "9");
	put_text("d/some.json", "{}");
	assert_int_equal(symlink("..", "d/loop"), 0);
	assert_int_equal(symlink("../x.wav", "d/link.wav"), 0);
	assert_int_equal(symlink("nowhere", "d/broken.wav"), 0);
	assert_string_equal(planned("convert x.wav"), "x.wav>x.mp3 ");
	assert_string_equal(planned("convert ./x.wav /x.wav"), "./x.wav>x.mp3 !/x.wav> ");
	assert_string_equal(planned("convert x .y -f flac"), "x>x.flac .y>.y.flac ");
	assert_string_equal(planned("convert -o o d/a.b.flac"), "d/a.b.flac>o/a.b.mp3 ");
	assert_string_equal(planned("convert -o o/ d/a.b.flac"), "d/a.b.flac>o/a.b.mp3 ");
	assert_string_equal(planned("convert -o - d/a.b.flac"), "d/a.b.flac>- ");
	assert_string_equal(planned("convert -o o -"), "->o/stdin.mp3 ");
	assert_string_equal(planned("convert -o o d"),
		"d/a.b.flac>o/a.b.mp3 d/e/c.OPUS>o/e/c.mp3 d/link.wav>o/link.mp3 "
		"d/some.pcm>o/some.mp3 ");
	assert_string_equal(planned("convert d/ -f flac"),
		"d/e/c.OPUS>d/e/c.flac d/link.wav>d/link.flac d/some.pcm>d/some.flac ");
	assert_string_equal(planned("convert --raw 48000:2:s16le -f opus d"),
		"d/a.b.flac>d/a.b.opus d/link.wav>d/link.opus d/nobody.pcm>d/nobody.opus "
		"d/some.pcm>d/some.opus ");
	assert_string_equal(planned("convert nofile d/broken.wav /dev/null"),
		"!nofile> !d/broken.wav> !/dev/null> ");
}

/* The output folder among the inputs: what it holds are outputs of earlier runs. */
static void out_folder_inside(void **state)
{
	(void)state;
	mkdir("d", 0700);
	mkdir("d/out", 0700);
	put_text("d/a.wav", "1");
	put_text("d/out/a.mp3", "2");
	put_text("d/out/b.flac", "3");
	set_time("d/out/a.mp3", 1, 0);
	assert_string_equal(planned("convert -o d/out d"), "d/a.wav>d/out/a.mp3 ");
	assert_string_equal(planned("convert -o d/out d/out"), "d/out/b.flac>d/out/b.mp3 ");
	assert_string_equal(planned("convert d"), "d/a.wav>d/a.mp3 d/out/b.flac>d/out/b.mp3 ");
}

static void clashes(void **state)
{
	(void)state;
	mkdir("d", 0700);
	put_text("x.wav", "1");
	put_text("x.flac", "2");
	put_text("d/x.wav", "3");
	assert_int_equal(symlink("d", "s"), 0);
	assert_string_equal(planned("convert x.wav x.flac"), "x.wav>x.mp3 !x.flac>x.mp3 ");
	assert_string_equal(planned("convert -o o x.wav d/x.wav"),
		"x.wav>o/x.mp3 !d/x.wav>o/x.mp3 ");
	assert_string_equal(planned("convert x.wav ./x.wav"), "x.wav>x.mp3 =./x.wav>x.mp3 ");
	assert_string_equal(planned("convert x.wav s/x.wav d/x.wav"),
		"x.wav>x.mp3 s/x.wav>s/x.mp3 =d/x.wav>d/x.mp3 ");
	/* an output that is an input, its own or another one, whatever it is called */
	assert_string_equal(planned("convert -f wav x.wav"), "!x.wav>x.wav ");
	assert_string_equal(planned("convert -f wav d/x.wav -o s"), "!d/x.wav>s/x.wav ");
	assert_string_equal(planned("convert -f flac x.wav x.flac"),
		"!x.wav>x.flac !x.flac>x.flac ");
	assert_int_equal(link("x.wav", "x.mp3"), 0);
	assert_string_equal(planned("convert x.wav"), "!x.wav>x.mp3 ");
	unlink("x.mp3");
	/* what is there and no file */
	assert_int_equal(symlink("nowhere", "x.mp3"), 0);
	assert_string_equal(planned("convert --force x.wav"), "!x.wav>x.mp3 ");
	unlink("x.mp3");
	mkdir("x.mp3", 0700);
	assert_string_equal(planned("convert --force x.wav"), "!x.wav>x.mp3 ");
	rmdir("x.mp3");
}

static void ages(void **state)
{
	(void)state;
	put_text("x.wav", "1");
	put_text("x.mp3", "2");
	set_time("x.wav", 1000, 5);
	set_time("x.mp3", 1000, 5);
	assert_string_equal(planned("convert x.wav"), "=x.wav>x.mp3 ");
	assert_string_equal(planned("convert --force x.wav"), "x.wav>x.mp3 ");
	set_time("x.mp3", 1000, 4);
	assert_string_equal(planned("convert x.wav"), "x.wav>x.mp3 ");
	set_time("x.mp3", 1001, 0);
	assert_string_equal(planned("convert x.wav"), "=x.wav>x.mp3 ");
	rename("x.wav", "x.pcm");
	put_text("x.json", "{}");
	set_time("x.json", 1001, 1);
	assert_string_equal(planned("convert x.pcm"), "x.pcm>x.mp3 ");
	set_time("x.json", 1001, 0);
	assert_string_equal(planned("convert x.pcm"), "=x.pcm>x.mp3 ");
}

static void sessions(void **state)
{
	(void)state;
	mkdir("r", 0700);
	mkdir("r/s", 0700);
	put_text("r/s/1.wav", "1");
	put_text("r/s/2-001.wav", "2");
	put_text("r/s/notes.wav", "no track");
	put_text("r/s/session.json",
		"{\"schema\":1,\"state\":\"recording\",\"tracks\":[{\"file\":\"1.wav\",\"user_id\":\"1\"},"
		"{\"file\":\"2-001.wav\",\"user_id\":\"2\",\"parts\":[{\"file\":\"2-001.wav\","
		"\"position\":0,\"samples\":5}]},{\"file\":\"../x.wav\"}]}");
	assert_string_equal(planned("convert r/s"),
		"r/s/1.wav>r/s/1.mp3 r/s/2-001.wav>r/s/2.mp3 !r/s>r/s/track.mp3 ");
	assert_string_equal(heard,
		"r/s: the session is not complete: what is there now is converted\n");
	assert_string_equal(planned("convert -o o r"),
		"r/s/1.wav>o/s/1.mp3 r/s/2-001.wav>o/s/2.mp3 !r/s>o/s/track.mp3 ");
	assert_string_equal(planned("convert -o o r/s/"),
		"r/s//1.wav>o/s/1.mp3 r/s//2-001.wav>o/s/2.mp3 !r/s/>o/s/track.mp3 ");
	/* with a track nobody can read there is no mix */
	assert_string_equal(planned("convert --mix r"), "!r/s>r/s/mix.mp3 ");
	put_text("r/s/session.json",
		"{\"schema\":1,\"state\":\"complete\",\"tracks\":[{\"file\":\"1.wav\",\"user_id\":\"1\"}]}");
	assert_string_equal(planned("convert --mix r"), "r/s>r/s/mix.mp3 ");
	assert_string_equal(planned("convert --mix -o o r"), "r/s>o/s-mix.mp3 ");
	assert_string_equal(planned("convert --mix -o o r/s r"),
		"r/s>o/s-mix.mp3 =r/s>o/s-mix.mp3 ");
	/* deleted after it was converted */
	unlink("r/s/1.wav");
	assert_string_equal(planned("convert r/s"), "!r/s/1.wav>r/s/1.mp3 ");
	assert_string_equal(planned("convert --mix r/s"), "!r/s>r/s/mix.mp3 ");
	put_text("r/s/1.mp3", "1");
	assert_string_equal(planned("convert r/s"), "=r/s/1.wav>r/s/1.mp3 ");
	assert_string_equal(planned("convert -f wav -o o r/s"), "r/s/1.mp3>o/s/1.wav ");
	assert_non_null(
		strstr(heard, "r/s/1.mp3: its recording is gone: this is taken in its place\n"));
	assert_string_equal(planned("convert --mix -o o r/s"), "r/s>o/s-mix.mp3 ");
	/* what loses nothing before what does, and no link */
	assert_int_equal(symlink("1.mp3", "r/s/1.pcm"), 0);
	put_text("r/s/1.flac", "1");
	assert_string_equal(planned("convert -f wav r/s"), "r/s/1.flac>r/s/1.wav ");
	unlink("r/s/1.flac");
	unlink("r/s/1.pcm");
	put_text("r/s/session.json", "{\"schema\":2,\"tracks\":[]}");
	assert_string_equal(planned("convert r"), "!r/s/session.json> ");
}

static void hostile_manifests(void **state)
{
	static const struct {
		const char *text;
		const char *bad; /* of its first track; NULL: good; "": the whole is refused */
	} cases[] = {
		{ "{\"schema\":1,\"tracks\":[{\"file\":\"a.wav\"}]}", NULL },
		{ "{\"schema\":1,\"tracks\":[{\"file\":\"a.wav\",\"cuts\":[[1,2],[3,4]]}]}", NULL },
		{ "", "" },
		{ "[]", "" },
		{ "{}", "" },
		{ "{\"schema\":2,\"tracks\":[]}", "" },
		{ "{\"schema\":1}", "" },
		{ "{\"schema\":1,\"tracks\":{}}", "" },
		{ "{\"schema\":1,\"tracks\":[", "" },
		{ "{\"schema\":1,\"tracks\":[7]}", "file name" },
		{ "{\"schema\":1,\"tracks\":[{\"file\":7}]}", "file name" },
		{ "{\"schema\":1,\"tracks\":[{\"file\":\"\"}]}", "file name" },
		{ "{\"schema\":1,\"tracks\":[{\"file\":\"a/b\"}]}", "file name" },
		{ "{\"schema\":1,\"tracks\":[{\"file\":\"..\"}]}", "file name" },
		{ "{\"schema\":1,\"tracks\":[{\"file\":\".a.wav\"}]}", "file name" },
		{ "{\"schema\":1,\"tracks\":[{\"file\":\"a\\u0007.wav\"}]}", "file name" },
		{ "{\"schema\":1,\"tracks\":[{\"file\":\"a.wav\",\"parts\":[{\"file\":\"/b\","
		  "\"position\":0,\"samples\":1}]}]}",
			"file name" },
		{ "{\"schema\":1,\"tracks\":[{\"file\":\"a.wav\",\"parts\":[{\"file\":\"b\","
		  "\"position\":-1,\"samples\":1}]}]}",
			"no position" },
		{ "{\"schema\":1,\"tracks\":[{\"file\":\"a.wav\",\"parts\":[{\"file\":\"b\","
		  "\"position\":0,\"samples\":9223372036854775807}]}]}",
			"no position" },
		{ "{\"schema\":1,\"tracks\":[{\"file\":\"a.wav\",\"parts\":[{\"file\":\"b\","
		  "\"position\":0,\"samples\":9},{\"file\":\"c\",\"position\":8,\"samples\":9}]}]}",
			"order" },
		{ "{\"schema\":1,\"tracks\":[{\"file\":\"a.wav\",\"cuts\":[[1]]}]}",
			"no position" },
		{ "{\"schema\":1,\"tracks\":[{\"file\":\"a.wav\",\"cuts\":[7]}]}", "no position" },
		{ "{\"schema\":1,\"tracks\":[{\"file\":\"a.wav\",\"cuts\":[[5,9],[13,1]]}]}",
			"order" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct session_file s = { 0 };
		struct arena arena = { NULL };
		struct fault fault = { "" };
		int r = session_file_parse(&s, &arena, "f", cases[i].text, strlen(cases[i].text),
			&fault);

		if (cases[i].bad == NULL)
			assert_true(r == TD_OK && s.tracks[0].bad == NULL);
		else if (cases[i].bad[0] == '\0')
			assert_true(r < 0 && fault.text[0] != '\0');
		else if (r < 0 || s.tracks[0].bad == NULL ||
			strstr(s.tracks[0].bad, cases[i].bad) == NULL)
			fail_msg("%s: %d %s", cases[i].text, r, s.tracks[0].bad);
		arena_free(&arena);
	}
}

static void largest_first(void **state)
{
	char text[] = "convert -o o a.wav b.wav c.opus d.wav e.flac";
	static const char *const want[] = { "c.opus", "e.flac", "b.wav", "d.wav", "a.wav" };
	char *zeros = calloc(1, 1 << 20);
	struct job **order;
	struct plan plan;
	struct args args;
	size_t count;

	(void)state;
	memset(zeros, 1, 1 << 20);
	put_file("a.wav", zeros, 50000);
	put_file("b.wav", zeros, 400000);
	put_file("c.opus", zeros, 100000);
	put_file("d.wav", zeros, 400000);
	put_file("e.flac", zeros, 300000);
	free(zeros);
	/* nothing but a hole: no work */
	assert_int_equal(truncate("a.wav", 1 << 30), 0);
	assert_int_equal(parse(&args, text), -1);
	plan_make(&plan, &args, note, NULL);
	order = plan_order(&plan, &count);
	assert_int_equal(count, 5);
	for (size_t i = 0; i < count; i++)
		assert_string_equal(order[i]->input, want[i]);
	plan_free(&plan);
	args_free(&args);
}

/* ---- the line that moves ---- */

static void lines(void **state)
{
	static const struct {
		struct report_state s;
		int width;
		const char *want;
	} cases[] = {
		{ { 0, 9, 0, 100, 0, 0 }, 60,
			"[..............................]   0%  0/9  0.0x  -:-- left" },
		{ { 3, 9, 50, 100, 600, 60 }, 52,
			"[##########...........]  50%  3/9  10.0x  1:00 left" },
		{ { 9, 9, 100, 100, 600, 60 }, 30, "100%  9/9  10.0x  0:00 left" },
		{ { 1, 9, 1, 100, 600, 600 }, 32, "  1%  1/9  1.0x  16:30:00 left" },
		{ { 1, 9, 1, 100, 600, 60 }, 10, "  1%  1/9" },
		{ { 1, 9, 1, 0, 600, 60 }, 1, "" },
		{ { 1, 9, 1e-300, 100, 600, 60 }, 33, "  0%  1/9  10.0x  99:59:59 left" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char line[256];

		report_line(line, sizeof(line), &cases[i].s, cases[i].width);
		if (strncmp(line, cases[i].want, strlen(cases[i].want)) != 0 ||
			(int)strlen(line) >= (cases[i].width > 0 ? cases[i].width : 1) + 1)
			fail_msg("case %zu: '%s'", i, line);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(command_lines),
		cmocka_unit_test(command_line_values),
		cmocka_unit_test_setup_teardown(names, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(out_folder_inside, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(clashes, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(ages, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(sessions, scratch_enter, scratch_leave),
		cmocka_unit_test(hostile_manifests),
		cmocka_unit_test_setup_teardown(largest_first, scratch_enter, scratch_leave),
		cmocka_unit_test(lines),
	};

	/* Under cmocka standard output is a file or a terminal; outputs to it are only planned. */
	if (isatty(STDOUT_FILENO) && freopen("/dev/stderr", "w", stdout) == NULL)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
