/* SPDX-License-Identifier: ISC */
#include "sinks/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/err.h"

#define NAMELESS ".session.lists.part" /* until it has lost that */

struct spill {
	int fd; /* -1: none */
	uint32_t block_count;
};

int spill_new(struct spill **ret)
{
	struct spill *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return TD_ERR_NOMEM;
	s->fd = -1;
	*ret = s;
	return TD_OK;
}

void spill_open(struct spill *s, int dir_fd)
{
	int flags = O_RDWR | O_CLOEXEC;

	s->fd = openat(dir_fd, ".", O_TMPFILE | flags, 0600);
	/* This file system has none without a name. */
	if (s->fd < 0 &&
		(s->fd = openat(dir_fd, NAMELESS, O_CREAT | O_EXCL | O_NOFOLLOW | flags, 0600)) >=
			0)
		(void)unlinkat(dir_fd, NAMELESS, 0);
}

void spill_free(struct spill *s)
{
	if (s == NULL)
		return;
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

void spill_list_free(struct spill_list *l)
{
	free(l->blocks);
	free(l->tail);
	*l = (struct spill_list){ .len = 0 };
}

/* Bytes of it that are in memory. */
static size_t tail_len(const struct spill_list *l)
{
	return (size_t)(l->len - (uint64_t)l->block_count * SPILL_BLOCK);
}

/* One block that lies within one of the file. */
static bool write_block(struct spill *s, const uint8_t *data)
{
	size_t done = 0;

	while (done < SPILL_BLOCK) {
		ssize_t n = pwrite(s->fd, data + done, SPILL_BLOCK - done,
			(off_t)s->block_count * SPILL_BLOCK + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

/* Room for one more. */
static bool grow_blocks(struct spill_list *l)
{
	uint32_t cap = l->block_cap > 0 ? l->block_cap * 2 : 8;
	uint32_t *p;

	if (l->block_count < l->block_cap)
		return true;
	if ((p = realloc(l->blocks, cap * sizeof(*p))) == NULL)
		return false;
	l->blocks = p;
	l->block_cap = cap;
	return true;
}

/* Whole blocks go to the file, as far as it takes them. */
static void write_blocks(struct spill *s, struct spill_list *l)
{
	size_t len = tail_len(l), done = 0;

	while (len - done >= SPILL_BLOCK && s->block_count < UINT32_MAX && grow_blocks(l) &&
		write_block(s, l->tail + done)) {
		l->blocks[l->block_count++] = s->block_count++;
		done += SPILL_BLOCK;
	}
	memmove(l->tail, l->tail + done, len - done);
}

int spill_append(struct spill *s, struct spill_list *l, const void *data, size_t len)
{
	size_t used = tail_len(l), cap = l->tail_cap > 0 ? l->tail_cap : 64;
	uint8_t *p;

	if (len == 0)
		return TD_OK;
	while (cap - used < len)
		cap *= 2;
	if (cap > l->tail_cap) {
		if ((p = realloc(l->tail, cap)) == NULL)
			return TD_ERR_NOMEM;
		l->tail = p;
		l->tail_cap = cap;
	}
	memcpy(l->tail + used, data, len);
	l->len += len;
	/* After a failure it is tried again a block later. */
	if (s != NULL && s->fd >= 0 && used / SPILL_BLOCK != (used + len) / SPILL_BLOCK)
		write_blocks(s, l);
	return TD_OK;
}

static int read_block(const struct spill *s, uint32_t block, size_t from, uint8_t *to, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(s->fd, to + done, len - done,
			(off_t)block * SPILL_BLOCK + (off_t)(from + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return TD_ERR_IO;
		done += (size_t)n;
	}
	return TD_OK;
}

int spill_read(const struct spill *s, const struct spill_list *l, uint64_t at, void *to, size_t len)
{
	uint64_t spilt = (uint64_t)l->block_count * SPILL_BLOCK;
	uint8_t *p = to;
	int r;

	if (at > l->len || len > l->len - at)
		return TD_ERR_IO;
	while (len > 0 && at < spilt) {
		size_t from = (size_t)(at % SPILL_BLOCK), n = SPILL_BLOCK - from;

		if (n > len)
			n = len;
		if ((r = read_block(s, l->blocks[at / SPILL_BLOCK], from, p, n)) < 0)
			return r;
		at += n;
		p += n;
		len -= n;
	}
	if (len > 0)
		memcpy(p, l->tail + (at - spilt), len);
	return TD_OK;
}

/* Of the heap, where a page of its own would cost more than all that is done with the list. */
static bool is_small(uint64_t size)
{
	return size <= SPILL_BLOCK;
}

void *spill_load(const struct spill *s, const struct spill_list *l, size_t room)
{
	size_t len = (size_t)l->len, size = len + room + 1; /* an empty mapping there is not */
	void *p;

	if (is_small(size))
		p = malloc(size);
	else if ((p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			  0)) == MAP_FAILED)
		p = NULL;
	if (p == NULL)
		return NULL;
	if (spill_read(s, l, 0, p, len) < 0) {
		spill_unload(p, l->len, room);
		return NULL;
	}
	return p;
}

void spill_unload(void *p, uint64_t len, size_t room)
{
	if (p == NULL)
		return;
	if (is_small(len + room + 1))
		free(p);
	else
		munmap(p, (size_t)len + room + 1);
}
