/* SPDX-License-Identifier: ISC */
#include "sinks/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"

/* Writes end at multiples of this, so that most are whole pages at page boundaries. */
enum { OUTFILE_BLOCK = 64 * 1024 };

struct outfile {
	int fd, dir_fd;
	int error;        /* errno of the first failure: nothing is appended after it */
	int beside_error; /* of the first failure beside it */
	char *name;
	struct outfile_besides besides;
	uint64_t stored; /* size of the file on disk */
	uint64_t whole;  /* size when it was flushed last */
	uint64_t base;   /* where buf[0] belongs; stored <= base, between them is a hole to be */
	size_t used;
	uint8_t *buf;
};

static const struct outfile_sys real_sys = { pwrite, ftruncate, fsync };
static const struct outfile_sys *sys = &real_sys;

void outfile_test_sys(const struct outfile_sys *replacement)
{
	sys = replacement != NULL ? replacement : &real_sys;
}

/* Not of the heap, where files that come and go would leave holes that fit nothing, and all of it
 * at once: a call does not need more memory whenever somebody talks longer than anybody did before.
 */
static void *make_buffer(void)
{
	void *p = mmap(NULL, OUTFILE_BLOCK, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return p != MAP_FAILED ? p : NULL;
}

int outfile_create(struct outfile **ret, int dir_fd, const char *name)
{
	struct outfile *f;
	int r = TD_ERR_NOMEM;

	if ((f = calloc(1, sizeof(*f))) == NULL)
		goto out;
	f->fd = -1;
	f->dir_fd = dir_fd;
	if ((f->name = strdup(name)) == NULL)
		goto out;
	if ((f->buf = make_buffer()) == NULL)
		goto out;
	r = TD_ERR_IO;
	f->fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	/* The umask may have taken bits away; it cannot have added any. */
	if (f->fd < 0 || fchmod(f->fd, 0600) < 0)
		goto out;
	*ret = f;
	f = NULL;
	r = TD_OK;
out:
	outfile_free(f);
	return r;
}

void outfile_free(struct outfile *f)
{
	int saved = errno;

	if (f == NULL)
		return;
	if (f->fd >= 0)
		close(f->fd);
	if (f->buf != NULL)
		munmap(f->buf, OUTFILE_BLOCK);
	free(f->name);
	free(f);
	errno = saved;
}

uint64_t outfile_length(const struct outfile *f)
{
	return f->base + f->used;
}

int outfile_errno(const struct outfile *f)
{
	return f->error != 0 ? f->error : f->beside_error;
}

/* The first failure decides: what is buffered is given up, the length becomes what is on disk. */
static int outfile_fail(struct outfile *f)
{
	if (f->error == 0) {
		f->error = errno != 0 ? errno : EIO;
		f->base = f->stored;
		f->used = 0;
	}
	errno = f->error;
	return TD_ERR_IO;
}

bool outfile_is_gone(const struct outfile *f)
{
	struct stat st;

	return fstat(f->fd, &st) == 0 && st.st_nlink == 0;
}

int outfile_rewind(struct outfile *f, uint64_t length)
{
	int r;

	if (length > f->stored) {
		errno = EINVAL;
		return TD_ERR_IO;
	}
	do {
		r = sys->ftruncate(f->fd, (off_t)length);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return outfile_fail(f);
	f->stored = f->base = f->whole = length;
	f->used = 0;
	f->error = 0;
	return TD_OK;
}

void outfile_cut(struct outfile *f)
{
	if (f->error != 0 && f->stored > f->whole && sys->ftruncate(f->fd, (off_t)f->whole) == 0)
		f->stored = f->base = f->whole;
}

/* Writes all of it. *ret_done: bytes that made it, also on TD_ERR_IO. */
static int write_at(int fd, uint64_t at, const uint8_t *data, size_t len, size_t *ret_done)
{
	size_t done = 0;
	int r = TD_OK;

	while (done < len) {
		ssize_t n = sys->pwrite(fd, data + done, len - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				errno = ENOSPC;
			r = TD_ERR_IO;
			break;
		}
		done += (size_t)n;
	}
	*ret_done = done;
	return r;
}

/* Writes the buffer out, not a hole behind it. */
static int drain(struct outfile *f)
{
	size_t done;
	int r;

	if (f->used == 0)
		return TD_OK;
	r = write_at(f->fd, f->base, f->buf, f->used, &done);
	if (done > 0)
		f->stored = f->base + done;
	if (r < 0)
		return outfile_fail(f);
	f->base += f->used;
	f->used = 0;
	return TD_OK;
}

int outfile_flush(struct outfile *f)
{
	int r;

	if (f->error != 0)
		return outfile_fail(f);
	if ((r = drain(f)) < 0)
		return r;
	if (f->stored < f->base) {
		do {
			r = sys->ftruncate(f->fd, (off_t)f->base);
		} while (r < 0 && errno == EINTR);
		if (r < 0)
			return outfile_fail(f);
		f->stored = f->base;
	}
	f->whole = f->stored;
	return TD_OK;
}

int outfile_sync(struct outfile *f)
{
	int r;

	if ((r = outfile_flush(f)) < 0)
		return r;
	do {
		r = sys->fsync(f->fd);
	} while (r < 0 && errno == EINTR);
	/* EINVAL: this kind of file cannot be synchronised, which is no loss. */
	if (r < 0 && errno != EINVAL && errno != ENOTSUP)
		return outfile_fail(f);
	return TD_OK;
}

/* Room in the buffer up to the next block boundary of the file. */
static size_t room(const struct outfile *f)
{
	return OUTFILE_BLOCK - (size_t)(f->base % OUTFILE_BLOCK) - f->used;
}

/* Appends a piece that fits; data NULL: zeros. */
static int put(struct outfile *f, const void *data, size_t len)
{
	if (data != NULL)
		memcpy(f->buf + f->used, data, len);
	else
		memset(f->buf + f->used, 0, len);
	f->used += len;
	return room(f) == 0 ? drain(f) : TD_OK;
}

int outfile_append(struct outfile *f, const void *data, size_t len)
{
	const uint8_t *p = data;
	int r = TD_OK;

	if (f->error != 0)
		return outfile_fail(f);
	while (len > 0 && r == TD_OK) {
		size_t n = room(f) < len ? room(f) : len;

		r = put(f, p, n);
		p += n;
		len -= n;
	}
	return r;
}

/* Bytes go from the pipe to the file inside the kernel, as far as that is possible. */
static size_t move(struct outfile *f, int pipe_fd, size_t len)
{
	size_t done = 0;

	while (done < len) {
		loff_t at = (loff_t)f->base;
		ssize_t n = splice(pipe_fd, NULL, f->fd, &at, len - done, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		f->stored = f->base += (uint64_t)n;
		done += (size_t)n;
	}
	return done;
}

int outfile_append_pipe(struct outfile *f, int pipe_fd, size_t len)
{
	int r;

	if (f->error != 0)
		return outfile_fail(f);
	if ((r = drain(f)) < 0)
		return r;
	len -= move(f, pipe_fd, len);
	/* Some files cannot take part in that, and a full disk is one that writing finds out, too.
	 */
	while (len > 0 && r == TD_OK) {
		ssize_t n = read(pipe_fd, f->buf + f->used, room(f) < len ? room(f) : len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n == 0 ? EIO : errno;
			return outfile_fail(f);
		}
		f->used += (size_t)n;
		len -= (size_t)n;
		r = room(f) == 0 ? drain(f) : TD_OK;
	}
	return r;
}

int outfile_zeros(struct outfile *f, uint64_t len)
{
	int r;

	if (f->error != 0)
		return outfile_fail(f);
	if (len <= room(f))
		return len > 0 ? put(f, NULL, (size_t)len) : TD_OK;
	if ((r = drain(f)) < 0)
		return r;
	if (len > (uint64_t)INT64_MAX - f->base) {
		errno = EFBIG;
		return outfile_fail(f);
	}
	f->base += len;
	return TD_OK;
}

int outfile_patch(struct outfile *f, uint64_t at, const void *data, size_t len)
{
	size_t done;
	int r;

	if (f->error == 0 && (r = outfile_flush(f)) < 0)
		return r;
	if (at > f->stored || len > f->stored - at) {
		errno = EINVAL;
		return TD_ERR_IO;
	}
	if ((r = write_at(f->fd, at, data, len, &done)) < 0 && f->error == 0)
		return outfile_fail(f);
	return r;
}

int outfile_rename(int dir_fd, const char *from, const char *to)
{
	struct stat st;

	if (renameat2(dir_fd, from, dir_fd, to, RENAME_NOREPLACE) == 0)
		return TD_OK;
	if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP)
		return TD_ERR_IO;
	/* This file system cannot refuse by itself. The folder is ours alone: nobody races us. */
	if (fstatat(dir_fd, to, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return TD_ERR_IO;
	}
	return renameat(dir_fd, from, dir_fd, to) == 0 ? TD_OK : TD_ERR_IO;
}

int outfile_replace_begin(struct outfile **ret, int dir_fd, const char *name)
{
	char *part;
	int r, saved;

	if (asprintf(&part, ".%s.part", name) < 0)
		return TD_ERR_NOMEM;
	(void)unlinkat(dir_fd, part, 0); /* of an attempt that failed */
	r = outfile_create(ret, dir_fd, part);
	saved = errno;
	free(part);
	errno = saved;
	return r;
}

/* fresh: nothing may be called so yet. */
static int replace_end(struct outfile *f, const char *name, bool sync, bool fresh)
{
	int r = sync ? outfile_sync(f) : outfile_flush(f), saved;

	if (r == TD_OK && fresh)
		r = outfile_rename(f->dir_fd, f->name, name);
	else if (r == TD_OK)
		r = renameat(f->dir_fd, f->name, f->dir_fd, name) == 0 ? TD_OK : TD_ERR_IO;
	saved = errno;
	if (r < 0)
		(void)unlinkat(f->dir_fd, f->name, 0);
	/* The name is part of it; file systems that cannot do this have nothing to lose. */
	else if (sync)
		(void)fsync(f->dir_fd);
	outfile_free(f);
	errno = saved;
	return r;
}

int outfile_replace_end(struct outfile *f, const char *name, bool sync)
{
	return replace_end(f, name, sync, false);
}

static int replace(int dir_fd, const char *name, const void *data, size_t len, bool sync,
	bool fresh)
{
	struct outfile *f;
	int r;

	if ((r = outfile_replace_begin(&f, dir_fd, name)) < 0)
		return r;
	(void)outfile_append(f, data, len); /* it knows */
	return replace_end(f, name, sync, fresh);
}

int outfile_replace(int dir_fd, const char *name, const void *data, size_t len, bool sync)
{
	return replace(dir_fd, name, data, len, sync, false);
}

int outfile_sync_name(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), r, saved;

	if (fd < 0)
		return TD_ERR_IO;
	do {
		r = sys->fsync(fd);
	} while (r < 0 && errno == EINTR);
	if (r < 0 && (errno == EINVAL || errno == ENOTSUP))
		r = 0;
	saved = errno;
	close(fd);
	errno = saved;
	return r < 0 ? TD_ERR_IO : TD_OK;
}

/* ---- beside ---- */

const struct outfile_besides *outfile_besides(const struct outfile *f)
{
	return &f->besides;
}

static char *beside_name(const char *name, const char *ending)
{
	char *ret;

	return asprintf(&ret, "%s.%s", name, ending) >= 0 ? ret : NULL;
}

static bool besides_have(const struct outfile_besides *b, const char *ending)
{
	for (uint32_t i = 0; i < b->count; i++) {
		if (strcmp(b->endings[i], ending) == 0)
			return true;
	}
	return false;
}

int outfile_beside(struct outfile *f, const char *ending, const void *data, size_t len)
{
	struct outfile_besides *b = &f->besides;
	bool fresh = !besides_have(b, ending);
	char *name = NULL;
	int r;

	if (ending[0] == '\0' || strlen(ending) >= OUTFILE_ENDING_MAX ||
		strchr(ending, '/') != NULL)
		return TD_ERR_USAGE;
	if (fresh && b->count >= OUTFILE_BESIDE_MAX)
		return TD_ERR_LIMIT;
	if ((name = beside_name(f->name, ending)) == NULL)
		return TD_ERR_NOMEM;
	if ((r = replace(f->dir_fd, name, data, len, false, fresh)) == TD_ERR_IO &&
		f->beside_error == 0)
		f->beside_error = errno;
	if (r == TD_OK && fresh)
		strcpy(b->endings[b->count++], ending);
	free(name);
	return r;
}

/* Renames the first `count` files beside `from`, all or none. */
static int rename_besides(int dir_fd, const char *from, const char *to,
	const struct outfile_besides *b, uint32_t count)
{
	int r = TD_OK, saved;
	uint32_t i;

	for (i = 0; i < count && r == TD_OK; i++) {
		char *old = beside_name(from, b->endings[i]);
		char *new = beside_name(to, b->endings[i]);

		r = old != NULL && new != NULL ? outfile_rename(dir_fd, old, new) : TD_ERR_NOMEM;
		free(old);
		free(new);
	}
	if (r < 0 && i > 0) {
		saved = errno;
		(void)rename_besides(dir_fd, to, from, b, i - 1);
		errno = saved;
	}
	return r;
}

int outfile_rename_all(int dir_fd, const char *from, const char *to,
	const struct outfile_besides *besides)
{
	int r, saved;

	if ((r = rename_besides(dir_fd, from, to, besides, besides->count)) < 0)
		return r;
	if ((r = outfile_rename(dir_fd, from, to)) < 0) {
		saved = errno;
		(void)rename_besides(dir_fd, to, from, besides, besides->count);
		errno = saved;
	}
	return r;
}

int outfile_take_name(struct outfile *f, const char *to)
{
	char *name = strdup(to);
	int r;

	if (name == NULL)
		return TD_ERR_NOMEM;
	if ((r = outfile_rename_all(f->dir_fd, f->name, to, &f->besides)) < 0) {
		free(name);
		return r;
	}
	free(f->name);
	f->name = name;
	return TD_OK;
}

void outfile_unlink(struct outfile *f)
{
	int saved = errno;

	(void)unlinkat(f->dir_fd, f->name, 0);
	for (uint32_t i = 0; i < f->besides.count; i++) {
		char *name = beside_name(f->name, f->besides.endings[i]);

		if (name != NULL)
			(void)unlinkat(f->dir_fd, name, 0);
		free(name);
	}
	errno = saved;
}

static int output_append(void *user, const void *data, size_t len)
{
	return outfile_append(user, data, len);
}

static int output_zeros(void *user, uint64_t len)
{
	return outfile_zeros(user, len);
}

static int output_patch(void *user, uint64_t at, const void *data, size_t len)
{
	return outfile_patch(user, at, data, len);
}

static uint64_t output_length(void *user)
{
	return outfile_length(user);
}

static int output_beside(void *user, const char *ending, const void *data, size_t len)
{
	return outfile_beside(user, ending, data, len);
}

struct td_output outfile_output(struct outfile *f)
{
	return (struct td_output){
		.size = sizeof(struct td_output),
		.user = f,
		.append = output_append,
		.zeros = output_zeros,
		.patch = output_patch,
		.length = output_length,
		.beside = output_beside,
	};
}
