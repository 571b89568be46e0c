/* SPDX-License-Identifier: ISC */
#include "sinks/convert/target.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/convert/input.h"
#include "sinks/host.h"
#include "sinks/outfile.h"

enum { TARGET_NAME_MAX = 512, TARGET_BLOCK = 1 << 16 };
/* So much at a time is sent to the disk already while the rest is made: it is waited for in the
 * end. */
enum { TARGET_AHEAD = 4 << 20 };
/* What is carried ends at multiples of this in the output: the kernel is a third quicker where it
 * can fill large blocks of its memory at once. A pipe holds pages, the first and the last of which
 * may not be whole. */
enum { TARGET_PIECE = 512 << 10, TARGET_PIPE = 2 * TARGET_PIECE };

/* A small file that goes with it. */
struct beside {
	char ending[OUTFILE_ENDING_MAX];
	void *data;
	size_t len;
};

struct target {
	struct outfile *file;
	struct td_output output;
	int dir_fd, fd; /* fd: of the file, to read from and to hold its lock */
	int pipe[2];    /* -1: not made yet */
	bool stdout_too, committed, created;
	bool no_carry;  /* it was refused once */
	uint64_t ahead; /* up to here it was sent to the disk */
	char name[TARGET_NAME_MAX], part[TARGET_NAME_MAX];
	struct beside besides[OUTFILE_BESIDE_MAX];
};

static int part_name(char ret[static TARGET_NAME_MAX], const char *name)
{
	return snprintf(ret, TARGET_NAME_MAX, ".%s.part", name) < TARGET_NAME_MAX;
}

static void send_ahead(struct target *t)
{
	uint64_t length = outfile_length(t->file);

	if (length >= t->ahead + TARGET_AHEAD && !t->stdout_too) {
		(void)sync_file_range(t->fd, (off_t)t->ahead, (off_t)(length - t->ahead),
			SYNC_FILE_RANGE_WRITE);
		t->ahead = length;
	}
}

static int output_append(void *user, const void *data, size_t len)
{
	struct target *t = user;

	send_ahead(t);
	return outfile_append(t->file, data, len);
}

static int output_zeros(void *user, uint64_t len)
{
	return outfile_zeros(((struct target *)user)->file, len);
}

static int output_patch(void *user, uint64_t at, const void *data, size_t len)
{
	return outfile_patch(((struct target *)user)->file, at, data, len);
}

static uint64_t output_length(void *user)
{
	return outfile_length(((struct target *)user)->file);
}

/* Kept until the commit: the last one of each ending counts. */
static int output_beside(void *user, const char *ending, const void *data, size_t len)
{
	struct target *t = user;
	void *copy;

	if (strlen(ending) >= OUTFILE_ENDING_MAX || ending[0] == '\0')
		return TD_ERR_LIMIT;
	for (size_t i = 0; i < OUTFILE_BESIDE_MAX; i++) {
		struct beside *b = &t->besides[i];

		if (b->ending[0] != '\0' && strcmp(b->ending, ending) != 0)
			continue;
		if ((copy = malloc(len > 0 ? len : 1)) == NULL)
			return TD_ERR_NOMEM;
		if (len > 0)
			memcpy(copy, data, len);
		free(b->data);
		*b = (struct beside){ .data = copy, .len = len };
		memcpy(b->ending, ending, strlen(ending) + 1);
		return TD_OK;
	}
	return TD_ERR_LIMIT;
}

/* A part that is there already was left behind, unless somebody holds its lock. */
static int remove_leftover(const struct target *t)
{
	int fd = openat(t->dir_fd, t->part, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK), r = 0;

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		r = TD_ERR_STATE;
	if (fd >= 0)
		close(fd);
	if (r == 0 && unlinkat(t->dir_fd, t->part, 0) < 0)
		r = TD_ERR_IO;
	return r;
}

/* Creates the part and locks it; the folder's lock makes these one step. */
static int create_part(struct target *t)
{
	int r, saved;

	(void)flock(t->dir_fd, LOCK_EX);
	r = outfile_create(&t->file, t->dir_fd, t->part);
	if (r == TD_ERR_IO && errno == EEXIST && (r = remove_leftover(t)) == 0)
		r = outfile_create(&t->file, t->dir_fd, t->part);
	if (r == TD_OK) {
		t->created = true;
		t->fd = openat(t->dir_fd, t->part, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (t->fd < 0)
			r = TD_ERR_IO;
		else
			(void)flock(t->fd, LOCK_EX | LOCK_NB);
	}
	saved = errno;
	(void)flock(t->dir_fd, LOCK_UN);
	errno = saved;
	return r;
}

static int open_named(struct target *t, const char *folder, struct fault *fault)
{
	int r;

	t->dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dir_fd < 0 && errno == ENOENT) {
		if ((r = sink_out_prepare(folder, fault->text, sizeof(fault->text))) < 0)
			return r;
		t->dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (t->dir_fd < 0)
		return fault_set(fault, TD_ERR_IO, "%s: %s", folder, strerror(errno));
	if ((r = create_part(t)) == TD_ERR_STATE)
		return fault_set(fault, r, "%s/%s: another convert is writing it", folder, t->name);
	return r < 0 ? fault_set(fault, r, "%s/%s: %s", folder, t->name, strerror(errno)) : TD_OK;
}

/* A file nobody sees, in the folder for temporary ones. */
static int open_stdout(struct target *t, struct fault *fault)
{
	const char *dir = getenv("TMPDIR");
	int r = TD_ERR_IO;

	if (dir == NULL || dir[0] != '/')
		dir = "/tmp";
	t->stdout_too = true;
	snprintf(t->part, sizeof(t->part), ".tapedeck-%ld.part", (long)getpid());
	t->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dir_fd < 0)
		goto out;
	if ((r = outfile_create(&t->file, t->dir_fd, t->part)) < 0)
		goto out;
	r = TD_ERR_IO;
	t->fd = openat(t->dir_fd, t->part, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (unlinkat(t->dir_fd, t->part, 0) == 0 && t->fd >= 0)
		r = TD_OK;
out:
	return r < 0 ? fault_set(fault, r, "%s: no temporary file: %s", dir, strerror(errno)) : r;
}

static void pipe_close(struct target *t)
{
	for (int i = 0; i < 2; i++) {
		if (t->pipe[i] >= 0)
			close(t->pipe[i]);
		t->pipe[i] = -1;
	}
}

int target_open(struct target **ret, const char *folder, const char *name, struct fault *fault)
{
	struct target *t = calloc(1, sizeof(*t));
	int r;

	if (t == NULL)
		return fault_set(fault, TD_ERR_NOMEM, "%s", td_strerror(TD_ERR_NOMEM));
	t->dir_fd = t->fd = t->pipe[0] = t->pipe[1] = -1;
	if (folder != NULL && (!part_name(t->part, name) || strlen(name) >= sizeof(t->name))) {
		r = fault_set(fault, TD_ERR_IO, "%.100s...: %s", name, strerror(ENAMETOOLONG));
		goto out;
	}
	if (folder != NULL)
		strcpy(t->name, name);
	r = folder != NULL ? open_named(t, folder, fault) : open_stdout(t, fault);
	if (r < 0)
		goto out;
	t->output = (struct td_output){
		.size = sizeof(struct td_output),
		.user = t,
		.append = output_append,
		.zeros = output_zeros,
		.patch = output_patch,
		.length = output_length,
		.beside = output_beside,
	};
	*ret = t;
	t = NULL;
out:
	target_free(t);
	return r;
}

void target_free(struct target *t)
{
	if (t == NULL)
		return;
	outfile_free(t->file);
	pipe_close(t);
	if (t->created && !t->committed)
		(void)unlinkat(t->dir_fd, t->part, 0);
	if (t->fd >= 0)
		close(t->fd);
	if (t->dir_fd >= 0)
		close(t->dir_fd);
	for (size_t i = 0; i < OUTFILE_BESIDE_MAX; i++)
		free(t->besides[i].data);
	free(t);
}

const struct td_output *target_output(struct target *t)
{
	return &t->output;
}

/* In a pipe that is smaller there is nothing to gain. */
static bool pipe_open(struct target *t)
{
	return t->pipe[0] >= 0 ||
		(pipe2(t->pipe, O_CLOEXEC) == 0 &&
			fcntl(t->pipe[1], F_SETPIPE_SZ, TARGET_PIPE) >= 0);
}

int target_carry(struct target *t, int fd, uint64_t at, uint64_t len, size_t *ret_n)
{
	uint64_t room = TARGET_PIECE - outfile_length(t->file) % TARGET_PIECE;
	loff_t from = (loff_t)at;
	ssize_t n = -1;

	*ret_n = 0;
	if (t->no_carry)
		return TD_OK;
	if (pipe_open(t)) {
		do {
			n = splice(fd, &from, t->pipe[1], NULL, room < len ? room : len, 0);
		} while (n < 0 && errno == EINTR);
	}
	if (n <= 0) {
		pipe_close(t);
		t->no_carry = true;
		return TD_OK;
	}
	send_ahead(t);
	*ret_n = (size_t)n;
	return outfile_append_pipe(t->file, t->pipe[0], (size_t)n);
}

const char *target_error(const struct target *t)
{
	int e = outfile_errno(t->file);

	return e != 0 ? strerror(e) : "";
}

int target_sync(struct target *t, int *ret_fd, struct fault *fault)
{
	int r = t->stdout_too ? outfile_flush(t->file) : outfile_sync(t->file);

	if (r < 0)
		return fault_set(fault, r, "%s", strerror(outfile_errno(t->file)));
	*ret_fd = t->fd;
	return TD_OK;
}

/* Whoever opened it may have made it one that is not waited for. */
static bool stdout_ready(void)
{
	struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return poll(&p, 1, -1) > 0 || errno == EINTR;
}

static int copy_to_stdout(struct target *t, struct fault *fault)
{
	uint8_t *buf = malloc(TARGET_BLOCK), *p;
	int r = TD_ERR_IO;
	ssize_t n = -1, done;
	off_t at = 0;

	if (buf == NULL)
		goto out;
	while ((n = pread(t->fd, buf, TARGET_BLOCK, at)) > 0) {
		at += n;
		for (p = buf; n > 0; p += done, n -= done) {
			done = write(STDOUT_FILENO, p, (size_t)n);
			if (done < 0 && (errno == EINTR || (errno == EAGAIN && stdout_ready())))
				done = 0;
			if (done < 0)
				goto out;
		}
	}
	if (n == 0)
		r = TD_OK;
out:
	free(buf);
	return r < 0 ? fault_set(fault, r, "standard output: %s", strerror(errno)) : r;
}

int target_commit(struct target *t, const struct timespec *mtime, struct fault *fault)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };
	char beside[TARGET_NAME_MAX + OUTFILE_ENDING_MAX];

	if (t->stdout_too)
		return copy_to_stdout(t, fault);
	if (mtime != NULL)
		times[1] = *mtime;
	if (futimens(t->fd, times) < 0)
		return fault_set(fault, TD_ERR_IO, "%s", strerror(errno));
	for (size_t i = 0; i < OUTFILE_BESIDE_MAX && t->besides[i].ending[0] != '\0'; i++) {
		const struct beside *b = &t->besides[i];

		snprintf(beside, sizeof(beside), "%s.%s", t->name, b->ending);
		if (outfile_replace(t->dir_fd, beside, b->data, b->len, true) < 0)
			return fault_set(fault, TD_ERR_IO, "%s: %s", beside, strerror(errno));
	}
	if (renameat(t->dir_fd, t->part, t->dir_fd, t->name) < 0)
		return fault_set(fault, TD_ERR_IO, "%s", strerror(errno));
	t->committed = true;
	/* The name is part of it; file systems that cannot do this have nothing to lose. */
	(void)fsync(t->dir_fd);
	return TD_OK;
}

void target_clean(const char *folder, const char *name)
{
	char part[TARGET_NAME_MAX], json[TARGET_NAME_MAX];
	int dir_fd;

	if (folder == NULL || (dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return;
	snprintf(json, sizeof(json), "%.*s.json", TARGET_NAME_MAX - 8, name);
	if (part_name(part, name))
		(void)unlinkat(dir_fd, part, 0);
	if (part_name(part, json))
		(void)unlinkat(dir_fd, part, 0);
	close(dir_fd);
}
