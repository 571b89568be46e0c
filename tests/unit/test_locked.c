/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/locked.h"

enum { KEY = 40, INFO = 928, MANY = 3000 };
static bool sanitized; /* by the address sanitizer */

static bool is_zero(const uint8_t *p, size_t n)
{
	while (n > 0 && *p == 0)
		p++, n--;
	return n == 0;
}

/* Of every size, written to the last byte, beside others: zero at first, and nobody's but ours. */
static void blocks(void **state)
{
	static const size_t steps[] = { 1, 7, 100 };
	uint8_t *p[3][1000];

	(void)state;
	for (size_t i = 0; i < 1000; i++) {
		for (size_t k = 0; k < 3; k++) {
			size_t n = i * steps[k] / 16;

			assert_non_null(p[k][i] = locked_new(n));
			assert_int_equal((uintptr_t)p[k][i] % _Alignof(max_align_t), 0);
			assert_true(is_zero(p[k][i], n));
			memset(p[k][i], (int)(i + k), n);
		}
	}
	for (size_t i = 1000; i-- > 0;) {
		for (size_t k = 0; k < 3; k++) {
			size_t n = i * steps[k] / 16;

			for (size_t at = 0; at < n; at++)
				assert_int_equal(p[k][i][at], (uint8_t)(i + k));
			locked_free(p[k][i]);
		}
	}
	locked_free(NULL);
	assert_null(locked_new(SIZE_MAX));
	assert_null(locked_new(SIZE_MAX / 4));
}

/* Where it was: its page is still there, for others are on it. */
static void wiped(void **state)
{
	uint8_t *other, *p;

	(void)state;
	locked_alone = false;
	for (size_t n = KEY; n <= 2000; n *= 2) {
		other = locked_new(n);
		p = locked_new(n);
		assert_true(other != NULL && p != NULL);
		memset(p, 0xa5, n);
		locked_free(p);
		assert_true(is_zero(p + sizeof(void *), n - sizeof(void *)));
		for (size_t i = 0; i < sizeof(void *); i++)
			assert_int_not_equal(p[i], 0xa5);
		locked_free(other);
	}
}

/* What /proc says of the mapping that p is in. */
static void flags_of(char *out, size_t size, const void *p)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long from, to;
	bool in = false;
	char line[512];

	assert_non_null(f);
	out[0] = '\0';
	while (out[0] == '\0' && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			in = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (in && strncmp(line, "VmFlags:", 8) == 0)
			snprintf(out, size, "%s", line + 8);
	}
	fclose(f);
}

static void locked_and_not_dumped(void **state)
{
	static const size_t sizes[] = { KEY, INFO, 100000 };
	struct rlimit limit;
	char flags[512];

	(void)state;
	locked_alone = false;
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *p = locked_new(sizes[i]);

		assert_non_null(p);
		flags_of(flags, sizeof(flags), p);
		assert_non_null(strstr(flags, " dd"));
		/* The address sanitizer locks nothing. */
		if (limit.rlim_cur >= 1 << 20 && !sanitized)
			assert_non_null(strstr(flags, " lo"));
		locked_free(p);
	}
}

static size_t mapping_count(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	size_t lines = 0;
	int c;

	assert_non_null(f);
	while ((c = fgetc(f)) != EOF)
		lines += c == '\n';
	fclose(f);
	return lines;
}

/* A block costs no mapping of its own, and what is given back goes back. */
static void shared_and_given_back(void **state)
{
	static void *p[MANY];
	size_t before, full;

	(void)state;
	locked_alone = false;
	before = mapping_count();
	for (size_t i = 0; i < MANY; i++)
		assert_non_null(p[i] = locked_new(i % 2 == 0 ? KEY : INFO));
	full = mapping_count();
	assert_true(full < before + MANY / 10);
	for (size_t i = 0; i < MANY; i += 3)
		locked_free(p[i]);
	for (size_t i = 0; i < MANY; i += 3)
		assert_non_null(p[i] = locked_new(i % 2 == 0 ? KEY : INFO));
	assert_true(mapping_count() <= full);
	for (size_t i = 0; i < MANY; i++)
		locked_free(p[i]);
	assert_true(mapping_count() <= before + 4 * 2);
}

static void overrun(void)
{
	uint8_t *a = locked_new(48), *b = locked_new(48);

	(a < b ? a : b)[48] = 1;
	locked_free(a);
	locked_free(b);
}

static void free_twice(void)
{
	void *other = locked_new(KEY), *p = locked_new(KEY);

	locked_free(p);
	locked_free(p);
	locked_free(other);
}

static void overrun_region(void)
{
	uint8_t *p = locked_new(KEY);

	memset(p, 0, 1 << 20);
}

static void overrun_own_pages(void)
{
	uint8_t *p = locked_new(4096);

	memset(p, 0, 4097);
}

static void fill(void)
{
	struct rlimit limit = { 400 << 20, 400 << 20 };
	static void *p[1000000];
	size_t n = 0;

	if (setrlimit(RLIMIT_AS, &limit) != 0)
		_exit(1);
	while (n < 1000000 && (p[n] = locked_new(INFO)) != NULL)
		n++;
	if (n < 1000 || n == 1000000 || locked_new(500 << 20) != NULL)
		_exit(2);
	while (n > 0)
		locked_free(p[--n]);
	if ((p[0] = locked_new(INFO)) == NULL || !is_zero(p[0], INFO))
		_exit(3);
}

static void in_a_child(void **state)
{
	static const struct {
		void (*run)(void);
		int signal; /* 0: exits with 0 */
	} cases[] = { { overrun, SIGABRT }, { free_twice, SIGABRT }, { overrun_region, SIGSEGV },
		{ overrun_own_pages, SIGSEGV }, { fill, 0 } };

	(void)state;
	if (sanitized)
		skip(); /* the address sanitizer has a say in each of these */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rlimit none = { 0, 0 };
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			setrlimit(RLIMIT_CORE, &none);
			signal(SIGABRT, SIG_DFL);
			signal(SIGSEGV, SIG_DFL);
			cases[i].run();
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (cases[i].signal == 0)
			assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		else
			assert_true(WIFSIGNALED(status) && WTERMSIG(status) == cases[i].signal);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_a_child),
		cmocka_unit_test(blocks),
		cmocka_unit_test(wiped),
		cmocka_unit_test(locked_and_not_dumped),
		cmocka_unit_test(shared_and_given_back),
	};

	sanitized = locked_alone;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
