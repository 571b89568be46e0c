/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/editor.h"
#include "sinks/outfile.h"

static char dir[64];
static int dir_fd = -1;
static struct editor *e;

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_editor.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
	return editor_new(&e);
}

static int teardown(void **state)
{
	(void)state;
	outfile_test_sys(NULL);
	editor_free(e);
	for (size_t i = 0; i < EDITOR_FILES; i++)
		unlinkat(dir_fd, editor_file_names[i], 0);
	close(dir_fd);
	return rmdir(dir); /* nothing else was left */
}

static void write_all(void)
{
	for (size_t i = 0; i < EDITOR_FILES; i++)
		assert_int_equal(editor_write(e, dir_fd, i), 0);
}

/* The whole file; borrowed until the next call. */
static const char *content(const char *name)
{
	static char text[16384];
	int fd = openat(dir_fd, name, O_RDONLY);
	struct stat st;
	ssize_t n;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	n = read(fd, text, sizeof(text) - 1);
	assert_true(n >= 0);
	text[n] = '\0';
	close(fd);
	return text;
}

static void expect(const char *name, const char *want)
{
	assert_string_equal(content(name), want);
}

#define HEAD "<REAPER_PROJECT 0.1 \"6.0\" 0\n  TEMPO 120 4 4\n  SAMPLERATE 48000 1 0\n"
#define ITEM(at, length, from, type, name)                                            \
	"    <ITEM\n      POSITION " at "\n      LENGTH " length                      \
	"\n      LOOP 0\n      FADEIN 1 0 0\n      FADEOUT 1 0 0\n      NAME \"" name \
	"\"\n      SOFFS " from "\n      <SOURCE " type "\n        FILE \"" name      \
	"\"\n      >\n    >\n"

static void a_session(void **state)
{
	const uint32_t ssrcs[] = { 70, 71 }, unknown[] = { UINT32_MAX };
	const struct td_spurt spurts[] = { { 48000, 24000 }, { 480001, 1 } };
	const struct td_spurt other[] = { { 60000, 4800 } };
	const struct td_file seven = { .size = sizeof(seven),
		.file = "7.wav",
		.format = "wav",
		.user_id = 7,
		.samples = 480002,
		.ssrcs = ssrcs,
		.ssrc_count = 2,
		.spurts = spurts,
		.spurt_count = 2 };
	const struct td_file nobody = { .size = sizeof(nobody),
		.file = "ssrc-4294967295.wav",
		.format = "wav",
		.samples = 480002,
		.ssrcs = unknown,
		.ssrc_count = 1,
		.spurts = other,
		.spurt_count = 1 };
	const struct td_file none = { .size = sizeof(none) };

	(void)state;
	editor_sink(e);
	editor_file(e, &seven);
	editor_file(e, &nobody);
	editor_file(e, &none);
	editor_event(e, 48000, "mark", "first");
	editor_event(e, 1, "resumed", "not for editors");
	editor_event(e, 30000, "warning", "a\tb\nc");
	editor_event(e, 500000, "failed", "disk full");
	editor_event(e, 500000, "mark", NULL);
	write_all();
	expect("labels.txt",
		"0.625000\t0.625000\ta b c\n"
		"1.000000\t1.500000\t7\n"
		"1.000000\t1.000000\tfirst\n"
		"1.250000\t1.350000\tssrc-4294967295\n"
		"10.000021\t10.000042\t7\n"
		"10.416667\t10.416667\tdisk full\n"
		"10.416667\t10.416667\tmark\n");
	expect("session.lof",
		"file \"7.wav\" offset 0.000000\n"
		"file \"ssrc-4294967295.wav\" offset 0.000000\n");
	expect("session.rpp",
		HEAD "  MARKER 1 1.000000 \"first\" 0\n"
		     "  MARKER 2 10.416667 \"mark\" 0\n"
		     "  <TRACK\n    NAME \"7\"\n" ITEM("0.000000", "10.000042", "0.000000", "WAVE",
			     "7.wav") "  >\n"
				      "  <TRACK\n    NAME \"ssrc-4294967295\"\n" ITEM("0.000000",
					      "10.000042", "0.000000", "WAVE",
					      "ssrc-4294967295.wav") "  >\n>\n");
}

/* Items are cut where the sound was, and stay where they belong in time. */
static void parts_and_cuts(void **state)
{
	const uint32_t ssrcs[] = { 70 };
	/* 3 s, of which the second one is missing; a cut exactly between the parts; 2 s */
	const struct td_part parts[] = { { "a-001.flac", 0, 96000 },
		{ "a-002.flac", 192000, 96000 }, { "a-003.flac", 288000, 0 } };
	const struct td_cut cuts[] = { { 48000, 48000 }, { 144000, 48000 }, { 240000, 0 },
		{ 288000, 4800 } };
	const struct td_file file = { .size = sizeof(file),
		.file = "a-001.flac",
		.format = "flac",
		.user_id = 7,
		.samples = 192000,
		.ssrcs = ssrcs,
		.ssrc_count = 1,
		.parts = parts,
		.part_count = 3,
		.cuts = cuts,
		.cut_count = 4 };

	(void)state;
	editor_sink(e);
	editor_file(e, &file);
	write_all();
	expect("labels.txt", "");
	expect("session.lof",
		"file \"a-001.flac\" offset 0.000000\n"
		"file \"a-002.flac\" offset 4.000000\n");
	expect("session.rpp",
		HEAD "  <TRACK\n    NAME \"7\"\n" ITEM("0.000000", "1.000000", "0.000000", "FLAC",
			"a-001.flac") ITEM("2.000000", "1.000000", "1.000000", "FLAC",
			"a-001.flac") ITEM("4.000000", "1.000000", "0.000000", "FLAC", "a-002.flac")
			ITEM("5.000000", "1.000000", "1.000000", "FLAC", "a-002.flac") "  >\n>\n");
}

/* One speaker in several formats is there once; two tracks of theirs in one format are two. */
static void formats(void **state)
{
	const uint32_t ssrcs[] = { 70 };
	const struct td_spurt spurts[] = { { 0, 4800 } };
	struct td_file file = { .size = sizeof(file),
		.user_id = 7,
		.samples = 48000,
		.ssrcs = ssrcs,
		.ssrc_count = 1,
		.spurts = spurts,
		.spurt_count = 1 };
	static const struct {
		const char *file, *format;
		bool next;
	} cases[] = {
		{ "7.pcm", "pcm", true },   /* nothing opens it: labels alone */
		{ "7.flac", "flac", true }, /* this one goes in */
		{ "ssrc-70.flac", "flac", false },
		{ "7.wav", "wav", true },
		{ "ssrc-70.wav", "wav", false },
		{ "7.mp3", "mp3", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (cases[i].next)
			editor_sink(e);
		file.file = cases[i].file;
		file.format = cases[i].format;
		editor_file(e, &file);
	}
	file.user_id = 8;
	file.file = "8.opus";
	file.format = "opus";
	editor_file(e, &file);
	write_all();
	expect("labels.txt", "0.000000\t0.100000\t7\n0.000000\t0.100000\t8\n");
	expect("session.lof",
		"file \"7.flac\" offset 0.000000\n"
		"file \"ssrc-70.flac\" offset 0.000000\n"
		"file \"8.opus\" offset 0.000000\n");
	assert_non_null(strstr(content("session.rpp"), "<SOURCE OPUS\n        FILE \"8.opus\"\n"));
	assert_null(strstr(content("session.rpp"), "mp3"));
}

/* Names of plugins' files and what users write. */
static void any_text_is_safe(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "plain", "\"plain\"" },
		{ "say \"hi\"", "'say \"hi\"'" },
		{ "it's", "\"it's\"" },
		{ "it's \"it\"", "`it's \"it\"`" },
		{ "\"'`", "`\"''`" },
		{ "a\n  >\n<TRACK", "\"a   > <TRACK\"" },
		{ "\xc3\xa4\x7f\x1b[2J", "\"\xc3\xa4  [2J\"" },
	};
	struct td_file file = { .size = sizeof(file), .format = "wav", .user_id = 7, .samples = 1 };
	char want[128];

	(void)state;
	editor_sink(e);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		editor_event(e, 0, "mark", cases[i].text);
		file.file = cases[i].text;
		editor_file(e, &file);
	}
	write_all();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(want, sizeof(want), "  MARKER %zu 0.000000 %s 0\n", i + 1, cases[i].want);
		assert_non_null(strstr(content("session.rpp"), want));
		snprintf(want, sizeof(want), "        FILE %s\n", cases[i].want);
		assert_non_null(strstr(content("session.rpp"), want));
	}
	/* what cannot be written is not */
	expect("session.lof",
		"file \"plain\" offset 0.000000\n"
		"file \"it's\" offset 0.000000\n");
	assert_non_null(strstr(content("labels.txt"), "0.000000\t0.000000\ta   > <TRACK\n"));
}

static void without_tracks_there_is_nothing(void **state)
{
	(void)state;
	editor_sink(e);
	editor_event(e, 0, "mark", "x");
	write_all();
	for (size_t i = 0; i < EDITOR_FILES; i++)
		assert_int_equal(faccessat(dir_fd, editor_file_names[i], F_OK, 0), -1);
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

static void a_full_disk(void **state)
{
	static const struct outfile_sys sys = { no_pwrite, ftruncate, fsync };
	const struct td_file file = { .size = sizeof(file),
		.file = "7.wav",
		.format = "wav",
		.user_id = 7,
		.samples = 1 };

	(void)state;
	editor_sink(e);
	editor_file(e, &file);
	outfile_test_sys(&sys);
	errno = 0;
	assert_int_equal(editor_write(e, dir_fd, 1), TD_ERR_IO);
	assert_int_equal(errno, ENOSPC);
	outfile_test_sys(NULL);
	write_all();
	expect("session.lof", "file \"7.wav\" offset 0.000000\n");
}

/* Of a session of weeks: what would be too long is not there, the rest is. */
static void too_long_for_an_editor(void **state)
{
	enum { MANY = 100000 };
	static struct td_spurt spurts[MANY];
	static struct td_cut cuts[MANY];
	static struct td_part parts[MANY];
	struct td_file file = { .size = sizeof(file),
		.file = "7.wav",
		.format = "wav",
		.samples = 2 * MANY,
		.user_id = 1,
		.spurts = spurts };

	(void)state;
	for (uint64_t i = 0; i < MANY; i++) {
		spurts[i] = (struct td_spurt){ 20000 * i, 9600 };
		cuts[i] = (struct td_cut){ 3 * i + 1, 2 };
		parts[i] = (struct td_part){ "7.wav", 2 * i, 2 };
	}
	editor_sink(e);
	file.spurt_count = MANY;
	for (; file.user_id <= EDITOR_LABELS_MAX / MANY; file.user_id++)
		editor_file(e, &file);
	assert_int_equal(editor_write(e, dir_fd, 0), 0);
	editor_event(e, 1, "mark", "one more");
	assert_int_equal(editor_write(e, dir_fd, 0), TD_ERR_LIMIT);
	assert_int_equal(editor_write(e, dir_fd, 2), 0);
	file.spurt_count = 0;
	file.cuts = cuts;
	file.cut_count = MANY;
	for (size_t i = 0; i < EDITOR_ITEMS_MAX / MANY; i++, file.user_id++)
		editor_file(e, &file);
	assert_int_equal(editor_write(e, dir_fd, 1), 0);
	assert_int_equal(editor_write(e, dir_fd, 2), TD_ERR_LIMIT);
	file.cut_count = 0;
	file.parts = parts;
	file.part_count = MANY;
	for (size_t i = 0; i < EDITOR_ITEMS_MAX / MANY; i++, file.user_id++)
		editor_file(e, &file);
	assert_int_equal(editor_write(e, dir_fd, 1), TD_ERR_LIMIT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_session),
		TEST(parts_and_cuts),
		TEST(formats),
		TEST(any_text_is_safe),
		TEST(without_tracks_there_is_nothing),
		TEST(a_full_disk),
		TEST(too_long_for_an_editor),
	};

	return cmocka_run_group_tests_name("editor", tests, NULL, NULL);
}
