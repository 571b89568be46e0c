/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_OUTFILE_H
#define TD_SINKS_OUTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sinks/sink.h"

/*
 * A file that is being written: the one place where sinks touch the disk. It grows at its end
 * through a buffer; what is there may be overwritten. Every write is checked. After the first
 * failure nothing is appended any more, and the length is what could be stored.
 *
 * One thread at a time. Results: 0 or TD_ERR_IO with the cause in errno and outfile_errno().
 */
struct outfile;

/* A new file `name` in the folder dir_fd, mode 0600 whatever the umask; an existing one or a
 * symbolic link is an error (EEXIST). Also TD_ERR_NOMEM. Free with outfile_free(). */
int outfile_create(struct outfile **ret, int dir_fd, const char *name);
/* Closes without writing out what is buffered; NULL is fine. */
void outfile_free(struct outfile *f);

/* Members as of struct td_output, which outfile_output() makes. */
int outfile_append(struct outfile *f, const void *data, size_t len);
int outfile_zeros(struct outfile *f, uint64_t len);
int outfile_patch(struct outfile *f, uint64_t at, const void *data, size_t len);
uint64_t outfile_length(const struct outfile *f);
int outfile_beside(struct outfile *f, const char *ending, const void *data, size_t len);
struct td_output outfile_output(struct outfile *f);

/*
 * Small files beside a file (td_output.beside): called as it with "." and an ending appended.
 */
enum { OUTFILE_BESIDE_MAX = 4, OUTFILE_ENDING_MAX = 16 };
struct outfile_besides {
	uint32_t count;
	char endings[OUTFILE_BESIDE_MAX][OUTFILE_ENDING_MAX];
};
/* Those of f; borrowed. */
const struct outfile_besides *outfile_besides(const struct outfile *f);

/* Appends len bytes that are in a pipe, which the kernel moves where it can. After an error some of
 * them are still in it. */
int outfile_append_pipe(struct outfile *f, int pipe_fd, size_t len);

/* Hands everything buffered to the kernel: it survives this process. */
int outfile_flush(struct outfile *f);
/* As outfile_flush(), and waits until the disk has it: it survives the machine. */
int outfile_sync(struct outfile *f);
/* The errno of the first failure, of this file or one beside it; 0: none. */
int outfile_errno(const struct outfile *f);

/* Whether somebody removed it: it can be written, and nobody will find it. */
bool outfile_is_gone(const struct outfile *f);
/* Cuts f off at `length`, which is stored, and goes on from there as if nothing had failed. */
int outfile_rewind(struct outfile *f, uint64_t length);

/* After a failure: takes back what came since it was flushed last, which may end in the middle. */
void outfile_cut(struct outfile *f);

/* Calls f `to`, and what is beside it after it, unless one of these is taken (EEXIST): all or
 * nothing. */
int outfile_take_name(struct outfile *f, const char *to);
/* Removes f and what is beside it from the folder. */
void outfile_unlink(struct outfile *f);

/* The same by name, for a file that is closed. */
int outfile_rename(int dir_fd, const char *from, const char *to);
int outfile_rename_all(int dir_fd, const char *from, const char *to,
	const struct outfile_besides *besides);
int outfile_sync_name(int dir_fd, const char *name);

/* A small file as a whole, mode 0600: it takes the place of the one called so in one step. sync:
 * waits until the disk has it. Until then it is called ".<name>.part". */
int outfile_replace(int dir_fd, const char *name, const void *data, size_t len, bool sync);
/* The same in pieces: what is appended to f between these. The end frees f; instead of it there is
 * outfile_unlink(). */
int outfile_replace_begin(struct outfile **ret, int dir_fd, const char *name);
int outfile_replace_end(struct outfile *f, const char *name, bool sync);

/* What the files are written with, to be replaced by tests; NULL: the system's. Not for threads. */
struct outfile_sys {
	ssize_t (*pwrite)(int fd, const void *data, size_t len, off_t at);
	int (*ftruncate)(int fd, off_t len);
	int (*fsync)(int fd);
};
void outfile_test_sys(const struct outfile_sys *sys);

#endif
