/* SPDX-License-Identifier: ISC */
#include "receiver/pcap_file.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "receiver/link_layer.h"

enum { READ_AT_ONCE = 64 * 1024, FRAME_MAX = 256 * 1024 };
#define MAGIC_US 0xa1b2c3d4u
#define MAGIC_NS 0xa1b23c4du

struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy, snap_len, link_type;
};

struct frame_header {
	uint32_t sec, fraction, len, original_len;
};

struct pcap_file {
	int fd, link_type;
	bool swapped;  /* it was written by a machine of the other byte order */
	uint64_t unit; /* of its times, ns */
	uint32_t snap_len;
	size_t head, tail; /* buf[head .. tail) is not looked at yet */
	/* Behind what is left of one frame there is room for the rest. */
	uint8_t buf[sizeof(struct frame_header) + FRAME_MAX + READ_AT_ONCE];
};

static uint32_t u32(const struct pcap_file *f, uint32_t n)
{
	return f->swapped ? __builtin_bswap32(n) : n;
}

/* False: libpcap knows more of such files than we do. */
static bool understand(struct pcap_file *f, const struct file_header *h)
{
	uint16_t major = h->major, minor = h->minor;
	uint32_t link_type;

	f->swapped =
		h->magic == __builtin_bswap32(MAGIC_US) || h->magic == __builtin_bswap32(MAGIC_NS);
	if (f->swapped) {
		major = __builtin_bswap16(major);
		minor = __builtin_bswap16(minor);
	}
	f->unit = u32(f, h->magic) == MAGIC_NS ? 1 : TD_US_NS;
	f->snap_len = u32(f, h->snap_len);
	if (f->snap_len == 0 || f->snap_len > INT_MAX)
		f->snap_len = FRAME_MAX;
	/* The upper bits say how long checksums behind frames are. */
	link_type = u32(f, h->link_type);
	f->link_type = (int)link_type;
	return (u32(f, h->magic) == MAGIC_US || u32(f, h->magic) == MAGIC_NS) && major == 2 &&
		minor == 4 && link_type <= UINT16_MAX && link_type_known(f->link_type);
}

int pcap_file_new(struct pcap_file **ret, int fd)
{
	struct pcap_file *f = malloc(sizeof(*f));
	struct file_header h;
	int r = TD_ERR_NOMEM;

	if (f == NULL)
		goto out;
	r = TD_ERR_UNSUPPORTED;
	if (pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) || !understand(f, &h) ||
		lseek(fd, sizeof(h), SEEK_SET) < 0)
		goto out;
	f->fd = fd;
	f->head = f->tail = 0;
	*ret = f;
	f = NULL;
	r = TD_OK;
out:
	free(f);
	return r;
}

void pcap_file_free(struct pcap_file *f)
{
	if (f == NULL)
		return;
	close(f->fd);
	free(f);
}

int pcap_file_link_type(const struct pcap_file *f)
{
	return f->link_type;
}

/* Reads until `len` bytes are there, or the file ends. */
static int fill(struct pcap_file *f, size_t len)
{
	if (f->tail - f->head >= len)
		return TD_OK;
	memmove(f->buf, f->buf + f->head, f->tail - f->head);
	f->tail -= f->head;
	f->head = 0;
	while (f->tail < len) {
		ssize_t n = read(f->fd, f->buf + f->tail, READ_AT_ONCE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return TD_ERR_IO;
		if (n == 0)
			break;
		f->tail += (size_t)n;
	}
	return TD_OK;
}

int pcap_file_next(struct pcap_file *f, struct pcap_frame *ret, char *err, size_t err_len)
{
	struct frame_header h;
	size_t have, len;

	if (fill(f, sizeof(h)) != TD_OK)
		goto failed;
	have = f->tail - f->head;
	if (have == 0)
		return 0;
	if (have < sizeof(h)) {
		snprintf(err, err_len, "the file ends in the header of a frame");
		return TD_ERR_IO;
	}
	memcpy(&h, f->buf + f->head, sizeof(h));
	len = u32(f, h.len);
	if (len > FRAME_MAX) {
		snprintf(err, err_len, "a frame of %zu bytes", len);
		return TD_ERR_IO;
	}
	if (fill(f, sizeof(h) + len) != TD_OK)
		goto failed;
	if (f->tail - f->head < sizeof(h) + len) {
		snprintf(err, err_len, "the file ends in a frame");
		return TD_ERR_IO;
	}
	ret->utc_ns = u32(f, h.sec) * TD_SEC_NS + u32(f, h.fraction) * f->unit;
	ret->data = f->buf + f->head + sizeof(h);
	ret->len = len < f->snap_len ? len : f->snap_len;
	f->head += sizeof(h) + len;
	return 1;
failed:
	snprintf(err, err_len, "%s", strerror(errno));
	return TD_ERR_IO;
}
