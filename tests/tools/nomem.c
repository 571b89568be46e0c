/* SPDX-License-Identifier: ISC */
/*
 * What makes a receiver one that is short of memory once, from main() to its end: NOMEM_AT=n lets
 * allocation n fail; NOMEM_COUNT=FILE says at the end how many there were, NOMEM_WHERE=FILE where
 * the one that failed was (for addr2line).
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* And libwebsockets and libuv look at some of theirs only with abort() or not at all. */
#define NOMEM_FRAIL "/libsndfile.so", "/libmp3lame.so", "/libsoxr.so"
#include "tests/unit/nomem.h"

/* A sanitizer's finding is not taken for an orderly end. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
	return "exitcode=99";
}

static void say_where(void)
{
	const char *path = getenv("NOMEM_WHERE");
	int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;

	if (fd < 0)
		return;
	backtrace_symbols_fd(where, where_count, fd);
	close(fd);
}

static void at_end(void)
{
	const char *path = getenv("NOMEM_COUNT");
	FILE *f;

	disarm();
	if (path == NULL || (f = fopen(path, "w")) == NULL)
		return;
	fprintf(f, "%ld %s\n", atomic_load(&counted), failed ? "failed" : "whole");
	fclose(f);
}

__attribute__((constructor)) static void begin_to_count(void)
{
	const char *at = getenv("NOMEM_AT");

	nomem_init();
	on_failed = say_where;
	atexit(at_end);
	arm(at != NULL ? atol(at) : -1);
}
