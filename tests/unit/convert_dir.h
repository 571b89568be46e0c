/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_CONVERT_DIR_H
#define TD_TESTS_CONVERT_DIR_H

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sinks/convert/fault.h"

/* A scratch folder that is the current one while a test runs, and what a witness heard. */
static char scratch[64];
static char heard[4096];

static inline int scratch_enter(void **state)
{
	(void)state;
	heard[0] = '\0';
	strcpy(scratch, "/tmp/test_convert.XXXXXX");
	return mkdtemp(scratch) != NULL ? chdir(scratch) : -1;
}

static inline int scratch_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int scratch_leave(void **state)
{
	(void)state;
	return chdir("/") < 0 ? -1 : nftw(scratch, scratch_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void put_file(const char *name, const void *data, size_t len)
{
	FILE *f = fopen(name, "wb");

	if (f == NULL || fwrite(data, 1, len, f) != len || fclose(f) != 0)
		abort();
}

static inline void put_text(const char *name, const char *text)
{
	put_file(name, text, strlen(text));
}

static inline void hear_warning(void *user, const char *text)
{
	(void)user;
	snprintf(heard + strlen(heard), sizeof(heard) - strlen(heard), "%s\n", text);
}

__attribute__((unused)) static const struct witness witness = { .warn = hear_warning };

#endif
