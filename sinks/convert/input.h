/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_INPUT_H
#define TD_CONVERT_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "sinks/convert/fault.h"

/*
 * A file that is read: what is in it at the moment it is opened. That it grows is noticed at the
 * end, that it shrinks when something is missing.
 */
struct input {
	int fd;
	bool stream;                /* a pipe: read from the start to the end, once; no size */
	bool own;                   /* fd is ours to close */
	uint64_t size;              /* when it was opened; UINT64_MAX: a stream */
	struct stat stat;           /* when it was opened */
	bool shrank;                /* something was not there any more */
	uint64_t data_at, data_end; /* as far as holes were looked for */
};

enum { INPUT_NOFOLLOW = 1u, INPUT_SPOOL = 2u };

/*
 * A regular file, or standard input for "-" (any kind but a terminal). INPUT_NOFOLLOW: a symbolic
 * link is an error. INPUT_SPOOL: a stream is read to its end into an unnamed file first.
 * TD_ERR_IO, TD_ERR_UNSUPPORTED.
 */
int input_open(struct input *ret, const char *path, unsigned flags, struct fault *fault);
void input_close(struct input *in);

/* Reads len bytes, fewer at the end only; at is ignored for a stream. *ret is written always.
 * TD_ERR_IO. */
int input_read(struct input *in, void *buf, size_t len, uint64_t at, size_t *ret);

/* How many bytes from `at` on are a hole. */
uint64_t input_hole(struct input *in, uint64_t at);

/* Whether it is still as it was opened, in length and time, at the path it was opened from. */
enum input_change { INPUT_SAME, INPUT_GREW, INPUT_CHANGED };
enum input_change input_changed(const struct input *in, const char *path);

/* An unnamed file to read and write. TD_ERR_IO with errno. */
int input_unnamed(int *ret_fd);

#endif
