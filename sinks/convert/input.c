/* SPDX-License-Identifier: ISC */
#include "sinks/convert/input.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"

enum { SPOOL_BLOCK = 1 << 16 };

int input_unnamed(int *ret_fd)
{
	const char *dir = getenv("TMPDIR");
	char name[4096];
	int fd;

	if (dir == NULL || dir[0] != '/' || strlen(dir) > sizeof(name) - 32)
		dir = "/tmp";
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0) {
		snprintf(name, sizeof(name), "%s/tapedeck-XXXXXX", dir);
		if ((fd = mkostemp(name, O_CLOEXEC)) < 0)
			return TD_ERR_IO;
		(void)unlink(name);
	}
	*ret_fd = fd;
	return TD_OK;
}

/* read() or pread() until len or the end. */
static ssize_t read_all(int fd, void *buf, size_t len, const uint64_t *at)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = at != NULL
			? pread(fd, (uint8_t *)buf + done, len - done, (off_t)(*at + done))
			: read(fd, (uint8_t *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int write_all(int fd, const uint8_t *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Everything that comes, into a file that takes its place. */
static int spool(struct input *in, struct fault *fault)
{
	uint8_t *buf = malloc(SPOOL_BLOCK);
	int fd = -1, r = TD_ERR_NOMEM;
	ssize_t n;

	if (buf == NULL) {
		fault_set(fault, r, "%s", td_strerror(r));
		goto out;
	}
	r = TD_ERR_IO;
	if (input_unnamed(&fd) < 0) {
		fault_set(fault, r, "no temporary file: %s", strerror(errno));
		goto out;
	}
	while ((n = read_all(in->fd, buf, SPOOL_BLOCK, NULL)) > 0) {
		if (write_all(fd, buf, (size_t)n) < 0) {
			fault_set(fault, r, "temporary file: %s", strerror(errno));
			goto out;
		}
	}
	if (n < 0 || fstat(fd, &in->stat) < 0) {
		fault_set(fault, r, "cannot be read: %s", strerror(errno));
		goto out;
	}
	in->fd = fd;
	fd = -1;
	in->own = true;
	in->stream = false;
	in->size = (uint64_t)in->stat.st_size;
	r = TD_OK;
out:
	free(buf);
	if (fd >= 0)
		close(fd);
	return r;
}

static int open_stdin(struct input *in, unsigned flags, struct fault *fault)
{
	in->fd = STDIN_FILENO;
	if (fstat(in->fd, &in->stat) < 0)
		return fault_set(fault, TD_ERR_IO, "cannot be read: %s", strerror(errno));
	if (isatty(in->fd) || S_ISDIR(in->stat.st_mode))
		return fault_set(fault, TD_ERR_UNSUPPORTED, "standard input is a %s",
			S_ISDIR(in->stat.st_mode) ? "folder" : "terminal");
	/* A file from its start can be read like any other. */
	if (S_ISREG(in->stat.st_mode) && lseek(in->fd, 0, SEEK_CUR) == 0) {
		in->size = (uint64_t)in->stat.st_size;
		return TD_OK;
	}
	in->stream = true;
	in->size = UINT64_MAX;
	return (flags & INPUT_SPOOL) != 0 ? spool(in, fault) : TD_OK;
}

int input_open(struct input *ret, const char *path, unsigned flags, struct fault *fault)
{
	struct input in = { .fd = -1 };
	int r;

	if (strcmp(path, "-") == 0) {
		if ((r = open_stdin(&in, flags, fault)) == TD_OK)
			*ret = in;
		return r;
	}
	/* Without O_NONBLOCK a pipe with this name would be waited for. */
	in.fd = open(path,
		O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY |
			((flags & INPUT_NOFOLLOW) != 0 ? O_NOFOLLOW : 0));
	in.own = true;
	if (in.fd < 0 || fstat(in.fd, &in.stat) < 0) {
		r = fault_set(fault, TD_ERR_IO, "%s",
			errno == ELOOP ? "a symbolic link" : strerror(errno));
		goto out;
	}
	if (!S_ISREG(in.stat.st_mode)) {
		r = fault_set(fault, TD_ERR_UNSUPPORTED, "not a regular file");
		goto out;
	}
	in.size = (uint64_t)in.stat.st_size;
	(void)posix_fadvise(in.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	*ret = in;
	return TD_OK;
out:
	input_close(&in);
	return r;
}

void input_close(struct input *in)
{
	if (in->own && in->fd >= 0)
		close(in->fd);
	in->fd = -1;
}

int input_read(struct input *in, void *buf, size_t len, uint64_t at, size_t *ret)
{
	ssize_t n;

	*ret = 0;
	if (!in->stream) {
		if (at >= in->size)
			return TD_OK;
		if (len > in->size - at)
			len = (size_t)(in->size - at);
	}
	if ((n = read_all(in->fd, buf, len, in->stream ? NULL : &at)) < 0)
		return TD_ERR_IO;
	if (!in->stream && (size_t)n < len)
		in->shrank = true;
	*ret = (size_t)n;
	return TD_OK;
}

uint64_t input_hole(struct input *in, uint64_t at)
{
	off_t data, end;

	if (in->stream || at >= in->size || (at >= in->data_at && at < in->data_end))
		return 0;
	data = lseek(in->fd, (off_t)at, SEEK_DATA);
	if (data < 0)
		/* Nothing but a hole to the end, where that still is; or this cannot be asked. */
		return errno == ENXIO && lseek(in->fd, 0, SEEK_END) >= (off_t)in->size
			? in->size - at
			: 0;
	end = lseek(in->fd, data, SEEK_HOLE);
	in->data_at = (uint64_t)data;
	in->data_end = end < 0 ? in->size : (uint64_t)end;
	return ((uint64_t)data < in->size ? (uint64_t)data : in->size) - at;
}

enum input_change input_changed(const struct input *in, const char *path)
{
	struct stat now, there;

	if (!in->own || in->stream || strcmp(path, "-") == 0)
		return INPUT_SAME;
	if (fstat(in->fd, &now) < 0)
		return INPUT_CHANGED;
	if (now.st_size > in->stat.st_size)
		return INPUT_GREW;
	if (now.st_size != in->stat.st_size || now.st_mtim.tv_sec != in->stat.st_mtim.tv_sec ||
		now.st_mtim.tv_nsec != in->stat.st_mtim.tv_nsec || stat(path, &there) < 0 ||
		there.st_dev != now.st_dev || there.st_ino != now.st_ino)
		return INPUT_CHANGED;
	return INPUT_SAME;
}
