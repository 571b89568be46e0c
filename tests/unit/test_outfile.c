/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/outfile.h"

static char dir[64];
static int dir_fd = -1;
static struct outfile *f;
static struct td_output out;

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_outfile.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
	if (outfile_create(&f, dir_fd, ".a.part") < 0)
		return -1;
	out = outfile_output(f);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	outfile_test_sys(NULL);
	outfile_unlink(f);
	outfile_free(f);
	close(dir_fd);
	return rmdir(dir); /* nothing else was left */
}

static bool holds(const char *name, const char *want)
{
	int fd = openat(dir_fd, name, O_RDONLY);
	char got[64] = "";
	struct stat st;

	if (fd < 0)
		return false;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(read(fd, got, sizeof(got) - 1) >= 0);
	close(fd);
	return strcmp(got, want) == 0;
}

static bool exists(const char *name)
{
	return faccessat(dir_fd, name, F_OK, 0) == 0;
}

static void touch(const char *name)
{
	close(openat(dir_fd, name, O_WRONLY | O_CREAT, 0600));
}

/* Whatever it is called, what is beside it is called after it. */
static void beside_follows(void **state)
{
	(void)state;
	assert_int_equal(out.beside(out.user, "json", "1", 1), 0);
	assert_int_equal(out.beside(out.user, "txt", "t", 1), 0);
	assert_true(holds(".a.part.json", "1"));
	assert_int_equal(outfile_take_name(f, "a.pcm"), 0);
	assert_true(holds("a.pcm.json", "1"));
	assert_true(holds("a.pcm.txt", "t"));
	assert_false(exists(".a.part.json"));
	assert_int_equal(out.beside(out.user, "json", "22", 2), 0);
	assert_true(holds("a.pcm.json", "22"));
	assert_int_equal(outfile_take_name(f, "b.pcm"), 0);
	assert_true(exists("b.pcm"));
	assert_true(holds("b.pcm.json", "22"));
	assert_true(holds("b.pcm.txt", "t"));
	assert_false(exists("a.pcm.json"));
	assert_int_equal(outfile_besides(f)->count, 2);
}

/* All names or none; nothing of somebody else's is overwritten. */
static void a_taken_name(void **state)
{
	static const char *const taken[] = { "b", "b.json", "b.txt" };

	(void)state;
	assert_int_equal(out.beside(out.user, "json", "1", 1), 0);
	assert_int_equal(out.beside(out.user, "txt", "t", 1), 0);
	for (size_t i = 0; i < 3; i++) {
		touch(taken[i]);
		errno = 0;
		assert_int_equal(outfile_take_name(f, "b"), TD_ERR_IO);
		assert_int_equal(errno, EEXIST);
		assert_true(exists(".a.part"));
		assert_true(holds(".a.part.json", "1"));
		assert_true(holds(".a.part.txt", "t"));
		for (size_t k = 0; k < 3; k++)
			assert_int_equal(exists(taken[k]), k == i);
		assert_int_equal(unlinkat(dir_fd, taken[i], 0), 0);
	}
	touch(".a.part.x");
	assert_int_equal(out.beside(out.user, "x", "1", 1), TD_ERR_IO);
	assert_int_equal(outfile_errno(f), EEXIST);
	assert_true(holds(".a.part.x", ""));
	assert_int_equal(out.append(out.user, "goes on", 7), 0);
	assert_int_equal(unlinkat(dir_fd, ".a.part.x", 0), 0);
}

static void endings_that_cannot_be(void **state)
{
	(void)state;
	assert_int_equal(out.beside(out.user, "", "", 0), TD_ERR_USAGE);
	assert_int_equal(out.beside(out.user, "a/../b", "", 0), TD_ERR_USAGE);
	assert_int_equal(out.beside(out.user, "1234567890123456", "", 0), TD_ERR_USAGE);
	assert_int_equal(out.beside(out.user, "123456789012345", "", 0), 0);
	for (int i = 1; i < OUTFILE_BESIDE_MAX; i++)
		assert_int_equal(out.beside(out.user, (const char[]){ (char)('a' + i), 0 }, "", 0),
			0);
	assert_int_equal(out.beside(out.user, "more", "", 0), TD_ERR_LIMIT);
}

static int fsyncs;

static int counting_fsync(int fd)
{
	fsyncs++;
	return fsync(fd);
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

static int no_fsync(int fd)
{
	(void)fd;
	errno = EIO;
	return -1;
}

static void replace_is_all_or_nothing(void **state)
{
	static const struct outfile_sys counting = { pwrite, ftruncate, counting_fsync };
	static const struct outfile_sys no_write = { no_pwrite, ftruncate, fsync };
	static const struct outfile_sys no_sync = { pwrite, ftruncate, no_fsync };

	(void)state;
	assert_int_equal(outfile_replace(dir_fd, "x", "one", 3, false), 0);
	assert_true(holds("x", "one"));
	fsyncs = 0;
	outfile_test_sys(&counting);
	touch(".x.part"); /* left by somebody who was killed */
	assert_int_equal(outfile_replace(dir_fd, "x", "two", 3, true), 0);
	assert_int_equal(fsyncs, 1);
	assert_true(holds("x", "two"));
	assert_int_equal(outfile_sync_name(dir_fd, "x"), 0);
	assert_int_equal(fsyncs, 2);
	assert_int_equal(outfile_sync_name(dir_fd, "y"), TD_ERR_IO);
	assert_int_equal(errno, ENOENT);
	outfile_test_sys(&no_write);
	assert_int_equal(outfile_replace(dir_fd, "x", "three", 5, false), TD_ERR_IO);
	assert_int_equal(errno, ENOSPC);
	outfile_test_sys(&no_sync);
	assert_int_equal(outfile_replace(dir_fd, "x", "three", 5, true), TD_ERR_IO);
	assert_int_equal(outfile_sync_name(dir_fd, "x"), TD_ERR_IO);
	assert_int_equal(errno, EIO);
	assert_true(holds("x", "two"));
	assert_false(exists(".x.part"));
	assert_int_equal(unlinkat(dir_fd, "x", 0), 0);
}

/* The bytes come to the end of what is there, and where nobody can move them they are read: from a
 * file, which is no pipe. */
static void from_a_pipe(void **state)
{
	int pair[2], file = openat(dir_fd, "b", O_RDWR | O_CREAT, 0600);

	(void)state;
	assert_int_equal(pipe(pair), 0);
	assert_int_equal(write(pair[1], "moved", 5), 5);
	assert_int_equal(pwrite(file, "read", 4, 0), 4);
	assert_int_equal(out.append(out.user, "first ", 6), 0);
	assert_int_equal(outfile_append_pipe(f, pair[0], 5), 0);
	assert_int_equal(outfile_length(f), 11);
	assert_int_equal(outfile_append_pipe(f, file, 4), 0);
	assert_int_equal(out.append(out.user, " last", 5), 0);
	assert_int_equal(outfile_length(f), 20);
	assert_int_equal(outfile_flush(f), 0);
	assert_true(holds(".a.part", "first movedread last"));
	/* Behind a hole. */
	assert_int_equal(out.zeros(out.user, 1000000), 0);
	assert_int_equal(write(pair[1], "x", 1), 1);
	assert_int_equal(outfile_append_pipe(f, pair[0], 1), 0);
	assert_int_equal(outfile_length(f), 1000021);
	/* More than there is. */
	assert_int_equal(outfile_append_pipe(f, file, 1), TD_ERR_IO);
	assert_int_equal(outfile_errno(f), EIO);
	assert_int_equal(outfile_length(f), 1000021);
	assert_int_equal(out.patch(out.user, 0, "FIRST", 5), 0);
	close(pair[0]);
	close(pair[1]);
	close(file);
	assert_int_equal(unlinkat(dir_fd, "b", 0), 0);
}

/* Half of it fits: that is the length, and the start can still be put right. */
static void from_a_pipe_to_the_end_of_the_disk(void **state)
{
	struct rlimit was, limit;
	char block[8192];
	struct stat st;
	int pair[2], fd;

	(void)state;
	memset(block, 'x', sizeof(block));
	assert_int_equal(pipe(pair), 0);
	assert_int_equal(write(pair[1], block, sizeof(block)), sizeof(block));
	assert_int_equal(out.append(out.user, "first", 5), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	limit = was;
	limit.rlim_cur = 4096;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(outfile_append_pipe(f, pair[0], sizeof(block)), 0);
	assert_int_equal(outfile_flush(f), TD_ERR_IO);
	assert_int_equal(outfile_errno(f), EFBIG);
	assert_int_equal(outfile_length(f), 4096);
	assert_int_equal(out.patch(out.user, 0, "FIRST", 5), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(outfile_append_pipe(f, pair[0], 1), TD_ERR_IO);
	fd = openat(dir_fd, ".a.part", O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 4096);
	assert_int_equal(read(fd, block, 6), 6);
	assert_memory_equal(block, "FIRSTx", 6);
	close(fd);
	close(pair[0]);
	close(pair[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(beside_follows),
		TEST(a_taken_name),
		TEST(endings_that_cannot_be),
		TEST(replace_is_all_or_nothing),
		TEST(from_a_pipe),
		TEST(from_a_pipe_to_the_end_of_the_disk),
	};

	return cmocka_run_group_tests_name("outfile", tests, NULL, NULL);
}
