/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_SPARSE_OUTPUT_H
#define TD_TESTS_SPARSE_OUTPUT_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/sink.h"

/*
 * A struct td_output over a file in memory, with a buffer, that can be made to fail. What is in fd
 * is what a kill would leave.
 */
enum { SPARSE_BUFFER = 64 * 1024, SPARSE_BESIDE = 4096 };

struct sparse {
	int fd;
	uint64_t stored;
	size_t used;
	uint64_t room; /* what fits into the file */
	bool failed;
	bool beside_fails;
	int appends, patches, besides;
	size_t beside_len;
	char ending[16], beside[SPARSE_BESIDE];
	uint8_t buffer[SPARSE_BUFFER];
};

static inline int sparse_fail(struct sparse *s)
{
	s->failed = true;
	s->used = 0;
	errno = ENOSPC;
	return TD_ERR_IO;
}

static inline int sparse_flush(struct sparse *s)
{
	uint64_t fits = s->room < s->stored ? 0 : s->room - s->stored;
	size_t len = s->used < fits ? s->used : (size_t)fits;

	if (s->failed)
		return TD_ERR_IO;
	if (pwrite(s->fd, s->buffer, len, (off_t)s->stored) != (ssize_t)len)
		abort();
	s->stored += len;
	if (len < s->used)
		return sparse_fail(s);
	s->used = 0;
	return TD_OK;
}

static inline int sparse_append(void *user, const void *data, size_t len)
{
	struct sparse *s = user;
	const uint8_t *p = data;

	if (s->failed)
		return TD_ERR_IO;
	s->appends++;
	while (len > 0) {
		size_t n = SPARSE_BUFFER - s->used < len ? SPARSE_BUFFER - s->used : len;

		memcpy(s->buffer + s->used, p, n);
		s->used += n;
		p += n;
		len -= n;
		if (s->used == SPARSE_BUFFER && sparse_flush(s) < 0)
			return TD_ERR_IO;
	}
	return TD_OK;
}

static inline int sparse_zeros(void *user, uint64_t len)
{
	struct sparse *s = user;

	if (sparse_flush(s) < 0)
		return TD_ERR_IO;
	if (len > s->room - s->stored)
		return sparse_fail(s);
	s->stored += len;
	if (ftruncate(s->fd, (off_t)s->stored) < 0)
		abort();
	return TD_OK;
}

static inline int sparse_patch(void *user, uint64_t at, const void *data, size_t len)
{
	struct sparse *s = user;

	s->patches++;
	if (!s->failed && sparse_flush(s) < 0)
		return TD_ERR_IO;
	if (at > s->stored || len > s->stored - at)
		return TD_ERR_IO;
	if (pwrite(s->fd, data, len, (off_t)at) != (ssize_t)len)
		abort();
	return TD_OK;
}

static inline uint64_t sparse_length(void *user)
{
	struct sparse *s = user;

	return s->stored + s->used;
}

static inline int sparse_beside(void *user, const char *ending, const void *data, size_t len)
{
	struct sparse *s = user;

	s->besides++;
	if (s->beside_fails)
		return TD_ERR_IO;
	snprintf(s->ending, sizeof(s->ending), "%s", ending);
	if (len >= sizeof(s->beside))
		abort();
	memcpy(s->beside, data, len);
	s->beside[len] = '\0';
	s->beside_len = len;
	return TD_OK;
}

/* s is large: static or allocated. Ends with close(s->fd). */
static inline struct td_output sparse_output(struct sparse *s)
{
	memset(s, 0, sizeof(*s));
	s->fd = memfd_create("sparse", 0);
	s->room = UINT64_MAX / 4;
	return (struct td_output){
		.size = sizeof(struct td_output),
		.user = s,
		.append = sparse_append,
		.zeros = sparse_zeros,
		.patch = sparse_patch,
		.length = sparse_length,
		.beside = sparse_beside,
	};
}

/* What a program says about the file: 0 and nothing said, or no such program (77). */
static inline int sparse_run(const struct sparse *s, const char *program, const char *after)
{
	char command[256], said[256] = "";
	size_t len;
	FILE *p;
	int r;

	snprintf(command, sizeof(command),
		"command -v %.*s >/dev/null || exit 77; %s /proc/%d/fd/%d %s 2>&1",
		(int)strcspn(program, " "), program, program, (int)getpid(), s->fd, after);
	if ((p = popen(command, "r")) == NULL)
		return -1;
	len = fread(said, 1, sizeof(said) - 1, p);
	said[len] = '\0';
	r = pclose(p);
	if (WEXITSTATUS(r) == 77)
		return 77;
	if (r != 0 || len > 0)
		fprintf(stderr, "%s: %d %s\n", command, r, said);
	return r != 0 || len > 0 ? -1 : 0;
}

#endif
