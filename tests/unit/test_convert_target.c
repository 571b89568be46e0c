/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/ioctl.h>
#include <sys/wait.h>

#include "common/err.h"
#include "sinks/convert/target.h"
#include "tests/unit/convert_dir.h"

enum { LEN = 500000 };

static uint8_t sound[LEN];

/* Takes nothing out of the pipe until it is full; the exit status: whether all of it came. */
_Noreturn static void read_late(int fd)
{
	static uint8_t got[LEN + 1];
	size_t len = 0;
	int there = 0;
	ssize_t n;

	while (there < fcntl(fd, F_GETPIPE_SZ))
		ioctl(fd, FIONREAD, &there);
	while ((n = read(fd, got + len, sizeof(got) - len)) > 0)
		len += (size_t)n;
	_exit(len == LEN && memcmp(got, sound, LEN) == 0 ? 0 : 1);
}

/* Whoever made the pipe may have made it one that is not waited for. */
static void stdout_that_does_not_wait(void **state)
{
	int pair[2], was, fd, status, r;
	struct fault fault = { "" };
	struct target *t;
	pid_t pid;

	(void)state;
	for (size_t i = 0; i < LEN; i++)
		sound[i] = (uint8_t)(i * 7 >> 3);
	assert_int_equal(target_open(&t, NULL, NULL, &fault), TD_OK);
	assert_int_equal(target_output(t)->append(target_output(t)->user, sound, LEN), TD_OK);
	assert_int_equal(target_sync(t, &fd, &fault), TD_OK);
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	fflush(NULL);
	if ((pid = fork()) == 0) {
		close(pair[1]);
		read_late(pair[0]);
	}
	assert_int_equal(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
	was = dup(STDOUT_FILENO);
	dup2(pair[1], STDOUT_FILENO);
	close(pair[1]);
	r = target_commit(t, NULL, &fault);
	dup2(was, STDOUT_FILENO);
	close(was);
	close(pair[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_string_equal(fault.text, "");
	assert_int_equal(r, TD_OK);
	assert_int_equal(status, 0);
	target_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(stdout_that_does_not_wait, scratch_enter,
			scratch_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
