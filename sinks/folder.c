/* SPDX-License-Identifier: ISC */
#include "sinks/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/host.h"

enum { FOLDER_TRIES = 10000, FOLDER_SUFFIX_MAX = 8 };
/* So many folders of a name are looked at: other calls may have it, too. */
enum { FOLDER_LOOK_BACK = 1000 };

void folder_session_name(char ret[static FOLDER_NAME_MAX], uint64_t guild_id, uint64_t channel_id,
	uint64_t utc_ns)
{
	time_t at = (time_t)(utc_ns / TD_SEC_NS);
	char start[32] = "";
	struct tm tm;

	if (gmtime_r(&at, &tm) != NULL)
		strftime(start, sizeof(start), "%Y%m%dT%H%M%SZ", &tm);
	snprintf(ret, FOLDER_NAME_MAX, "%" PRIu64 "-%" PRIu64 "-%s", guild_id, channel_id, start);
}

/* No path, nothing hidden, nothing that makes a mess of a terminal, room for a suffix. */
static bool is_plain_name(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > FOLDER_NAME_MAX - 1 - FOLDER_SUFFIX_MAX || name[0] == '.')
		return false;
	for (const char *p = name; *p != '\0'; p++) {
		if (*p == '/' || (unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	}
	return true;
}

/* The nth folder of a name. */
static void numbered(char ret[static FOLDER_NAME_MAX], const char *name, unsigned n)
{
	snprintf(ret, FOLDER_NAME_MAX, "%s", name);
	if (n >= 2 && n <= FOLDER_TRIES)
		snprintf(ret, FOLDER_NAME_MAX, "%.*s-%u", FOLDER_NAME_MAX - FOLDER_SUFFIX_MAX, name,
			n);
}

/*
 * For us alone, whatever the umask has taken away, and never what a link leads to: where others may
 * write, somebody may have put one in the place of what we have just made.
 */
static int make_private(int dir_fd, const char *name)
{
	struct stat st;

	if (fchmodat(dir_fd, name, 0700, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	/* Without /proc it cannot be done, and most often need not be. */
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return -1;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
		(st.st_mode & 07777) == 0700)
		return 0;
	errno = EPERM;
	return -1;
}

/* Not a folder that somebody has put in the place of ours. */
static bool is_ours(int fd, int out_fd)
{
	struct stat st, out;

	if (fstat(fd, &st) < 0 || fstat(out_fd, &out) < 0)
		return false;
	/* Where nobody else can have been, a server of files may call us by another name. */
	if (st.st_uid == geteuid() || (out.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return true;
	errno = EPERM;
	return false;
}

int folder_create(int *ret_fd, char ret_name[static FOLDER_NAME_MAX], const char *out_dir,
	const char *name)
{
	char used[FOLDER_NAME_MAX];
	int out_fd, fd = -1, r = TD_ERR_IO, saved;

	if (!is_plain_name(name))
		return TD_ERR_USAGE;
	if ((out_fd = open(out_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		goto out;
	numbered(used, name, 1);
	for (unsigned n = 2; mkdirat(out_fd, used, 0700) < 0; n++) {
		if (errno != EEXIST || n >= FOLDER_TRIES)
			goto out;
		numbered(used, name, n);
	}
	/* Before it is opened: the umask may have taken away what opening needs. */
	if (make_private(out_fd, used) < 0)
		goto out;
	if ((fd = openat(out_fd, used, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0 ||
		!is_ours(fd, out_fd))
		goto out;
	/* The name lasts from here on; a file system that cannot do this has nothing to lose. */
	(void)fsync(out_fd);
	memcpy(ret_name, used, sizeof(used));
	*ret_fd = fd;
	fd = -1;
	r = TD_OK;
out:
	saved = errno;
	if (fd >= 0)
		close(fd);
	if (out_fd >= 0)
		close(out_fd);
	errno = saved;
	return r;
}

/* Whether the folder has the manifest of the same recorder in the same call, of before. */
static bool is_before(int out_fd, const char *folder, const struct manifest_conf *conf)
{
	struct manifest_conf was;
	int fd = openat(out_fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r;

	if (fd < 0)
		return false;
	r = is_ours(fd, out_fd) ? manifest_peek(fd, &was) : TD_ERR_IO;
	close(fd);
	return r == TD_OK && was.guild_id == conf->guild_id && was.channel_id == conf->channel_id &&
		was.user_id == conf->user_id && was.start_utc_ns < conf->start_utc_ns;
}

void folder_continues(char ret[static FOLDER_NAME_MAX], const char *out_dir, const char *name,
	const char *made, const struct manifest_conf *conf)
{
	size_t len = strlen(name);
	char before[FOLDER_NAME_MAX];
	unsigned n, looked = 0;
	int out_fd;

	ret[0] = '\0';
	if (strncmp(made, name, len) != 0 || made[len] != '-' ||
		(out_fd = open(out_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return;
	n = (unsigned)strtoul(made + len + 1, NULL, 10);
	for (; n > 1 && n <= FOLDER_TRIES && looked < FOLDER_LOOK_BACK; looked++) {
		numbered(before, name, --n);
		if (is_before(out_fd, before, conf)) {
			memcpy(ret, before, sizeof(before));
			break;
		}
	}
	close(out_fd);
}

bool folder_is_gone(int dir_fd)
{
	struct stat st;

	return fstat(dir_fd, &st) == 0 && st.st_nlink == 0;
}

uint64_t folder_id(int dir_fd)
{
	struct stat st;

	return fstat(dir_fd, &st) == 0 ? (uint64_t)st.st_dev << 48 ^ (uint64_t)st.st_ino : 0;
}

/* One folder of a path; what is there already is fine until something is done in it. */
static int make_one(const char *path)
{
	if (mkdir(path, 0700) == 0)
		return make_private(AT_FDCWD, path);
	return errno == EEXIST ? 0 : -1;
}

static int make_path(char *path)
{
	int r = 0;

	for (char *p = path; r == 0 && *p != '\0'; p++) {
		if (p == path || *p != '/' || p[-1] == '/')
			continue;
		*p = '\0';
		r = make_one(path);
		*p = '/';
	}
	return r < 0 ? r : make_one(path);
}

/* Creates a file and removes it again. */
static int try_write(const char *path)
{
	char name[64];
	int dir_fd, fd, r = -1, saved;

	if ((dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return -1;
	snprintf(name, sizeof(name), ".tapedeck-%ld", (long)getpid());
	fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		r = close(fd) < 0 || unlinkat(dir_fd, name, 0) < 0 ? -1 : 0;
	saved = errno;
	close(dir_fd);
	errno = saved;
	return r;
}

/* "1.5 MiB" */
static void size_text(char ret[static 32], uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB" };
	size_t u = bytes >= UINT64_C(1) << 30 ? 2 : bytes >= UINT64_C(1) << 20 ? 1 : 0;
	unsigned shift = 10 * (unsigned)(u + 1);
	uint64_t tenths = (bytes >> (shift - 10)) * 10 / 1024;

	snprintf(ret, 32, "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10, units[u]);
}

int folder_has_room(int dir_fd, uint64_t min_free, char *err, size_t err_len)
{
	char left[32], least[32];
	struct statvfs fs;
	uint64_t bytes;

	if (min_free == 0 || fstatvfs(dir_fd, &fs) < 0)
		return TD_OK;
	bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (bytes >= min_free)
		return TD_OK;
	size_text(left, bytes);
	size_text(least, min_free);
	snprintf(err, err_len, "the disk is nearly full: %s are left, less than %s", left, least);
	return TD_ERR_LIMIT;
}

int sink_out_has_room(const char *dir, uint64_t min_free, char *err, size_t err_len)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (fd < 0)
		return TD_OK;
	r = folder_has_room(fd, min_free, err, err_len);
	close(fd);
	return r;
}

int sink_out_prepare(const char *dir, char *err, size_t err_len)
{
	char *path;
	int r = TD_ERR_IO;

	errno = ENOENT;
	if (dir[0] == '\0' || (path = strdup(dir)) == NULL) {
		snprintf(err, err_len, "'%s': %s", dir, strerror(errno));
		return r;
	}
	if (make_path(path) == 0 && try_write(path) == 0)
		r = TD_OK;
	else
		snprintf(err, err_len, "%s: %s", dir, strerror(errno));
	free(path);
	return r;
}
