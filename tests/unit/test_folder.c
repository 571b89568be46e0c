/* SPDX-License-Identifier: ISC */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "sinks/folder.h"
#include "sinks/host.h"

/* Somebody else in a folder where everybody may write, who is as quick as can be: right behind
 * each new folder something of theirs is put in its place. */
enum { NOBODY = 65534, VICTIM_MODE = 0755 };
static enum { HARMLESS, PUTS_LINK, PUTS_LINK_LATER, PUTS_FOLDER } other;

static char base[] = "/tmp/tapedeck-folder-XXXXXX", out[64], victim[64];

static void interfere(int dir_fd, const char *name)
{
	int saved = errno;

	if (other == PUTS_LINK || other == PUTS_FOLDER)
		assert_int_equal(unlinkat(dir_fd, name, AT_REMOVEDIR), 0);
	if (other == PUTS_LINK)
		assert_int_equal(symlinkat(victim, dir_fd, name), 0);
	if (other == PUTS_FOLDER) {
		assert_int_equal(syscall(SYS_mkdirat, dir_fd, name, 0777), 0);
		assert_int_equal(fchownat(dir_fd, name, NOBODY, NOBODY, 0), 0);
	}
	errno = saved;
}

/* In the C library's place. */
int mkdirat(int dir_fd, const char *name, mode_t mode)
{
	int r = (int)syscall(SYS_mkdirat, dir_fd, name, mode);

	if (r == 0)
		interfere(dir_fd, name);
	return r;
}

int mkdir(const char *path, mode_t mode)
{
	return mkdirat(AT_FDCWD, path, mode);
}

int fchmodat(int dir_fd, const char *name, mode_t mode, int flags)
{
	int (*real)(int, const char *, mode_t, int);
	int r;

	*(void **)&real = dlsym(RTLD_NEXT, "fchmodat");
	r = real(dir_fd, name, mode, flags);
	if (r == 0 && other == PUTS_LINK_LATER) {
		assert_int_equal(unlinkat(dir_fd, name, AT_REMOVEDIR), 0);
		assert_int_equal(symlinkat(victim, dir_fd, name), 0);
	}
	return r;
}

static int setup(void **state)
{
	(void)state;
	umask(0);
	if (mkdtemp(base) == NULL)
		return -1;
	snprintf(out, sizeof(out), "%s/out", base);
	snprintf(victim, sizeof(victim), "%s/victim", base);
	return mkdir(out, 0777) == 0 && mkdir(victim, VICTIM_MODE) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	other = HARMLESS;
	snprintf(command, sizeof(command), "rm -rf '%s'", base);
	return system(command);
}

static void assert_untouched(void)
{
	struct stat st;

	assert_int_equal(stat(victim, &st), 0);
	assert_int_equal(st.st_mode & 07777, VICTIM_MODE);
}

static void a_link_in_its_place_is_not_followed(void **state)
{
	char used[FOLDER_NAME_MAX], path[80], err[256];
	int fd;

	(void)state;
	other = PUTS_LINK;
	assert_int_equal(folder_create(&fd, used, out, "s"), TD_ERR_IO);
	assert_untouched();
	other = PUTS_LINK_LATER;
	assert_int_equal(folder_create(&fd, used, out, "w"), TD_ERR_IO);
	other = PUTS_LINK;
	/* The out folder itself, made anew. */
	snprintf(path, sizeof(path), "%s/new", out);
	assert_int_equal(sink_out_prepare(path, err, sizeof(err)), TD_ERR_IO);
	assert_untouched();
	snprintf(path, sizeof(path), "%s/deep/er", out);
	assert_int_equal(sink_out_prepare(path, err, sizeof(err)), TD_ERR_IO);
	assert_untouched();
}

static void a_folder_in_its_place_is_not_ours(void **state)
{
	char used[FOLDER_NAME_MAX];
	int fd;

	(void)state;
	if (geteuid() != 0)
		skip(); /* to make one of somebody else's */
	other = PUTS_FOLDER;
	assert_int_equal(folder_create(&fd, used, out, "t"), TD_ERR_IO);
	/* Nobody else can have been here: it is the file system that gives it another owner. */
	assert_int_equal(chmod(out, 0755), 0);
	assert_int_equal(folder_create(&fd, used, out, "u"), TD_OK);
	close(fd);
	assert_int_equal(chmod(out, 0777), 0);
}

/* Links that were there before take a name, and no more. */
static void names_taken_by_links_are_taken(void **state)
{
	char used[FOLDER_NAME_MAX], path[96];
	struct stat st;
	int fd;

	(void)state;
	other = HARMLESS;
	snprintf(path, sizeof(path), "%s/v", out);
	assert_int_equal(symlink(victim, path), 0);
	snprintf(path, sizeof(path), "%s/v-2", out);
	assert_int_equal(symlink("/nonexistent", path), 0);
	assert_int_equal(folder_create(&fd, used, out, "v"), TD_OK);
	assert_string_equal(used, "v-3");
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	close(fd);
	assert_untouched();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_link_in_its_place_is_not_followed),
		cmocka_unit_test(a_folder_in_its_place_is_not_ours),
		cmocka_unit_test(names_taken_by_links_are_taken),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
