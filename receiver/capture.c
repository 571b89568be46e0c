/* SPDX-License-Identifier: ISC */
#include "receiver/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "receiver/pcap_file.h"

/* No call is silent for that long and goes on in the same capture. */
#define CLOCK_SET_NS (3600 * TD_SEC_NS)
#define FRAME_NS (20 * TD_MS_NS)

enum { READ_AT_ONCE = 64 * 1024 };

struct capture {
	struct pcap_file *plain; /* one of these two */
	pcap_t *pcap;
	char *buf; /* of its file */
	int link_type;
	bool started;
	uint64_t start_utc_ns, last_utc_ns, at_ns, cut, steps;
};

/* By libpcap, in larger pieces than it asks for, and by one thread. Takes fd over. */
static pcap_t *open_pcap(struct capture *c, int fd, char why[static PCAP_ERRBUF_SIZE])
{
	FILE *file = fd == STDIN_FILENO ? stdin : fdopen(fd, "rb");
	pcap_t *pcap;

	if (file == NULL) {
		snprintf(why, PCAP_ERRBUF_SIZE, "%s", strerror(errno));
		close(fd);
		return NULL;
	}
	if (file != stdin && (c->buf = malloc(READ_AT_ONCE)) != NULL)
		setvbuf(file, c->buf, _IOFBF, READ_AT_ONCE);
	__fsetlocking(file, FSETLOCKING_BYCALLER);
	pcap = pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, why);
	if (pcap == NULL && file != stdin)
		fclose(file);
	return pcap;
}

static int open_file(struct capture *c, const char *path, char why[static PCAP_ERRBUF_SIZE])
{
	bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		snprintf(why, PCAP_ERRBUF_SIZE, "%s", strerror(errno));
		return TD_ERR_IO;
	}
	if (!is_stdin && pcap_file_new(&c->plain, fd) == TD_OK) {
		c->link_type = pcap_file_link_type(c->plain);
		return TD_OK;
	}
	if ((c->pcap = open_pcap(c, fd, why)) == NULL)
		return TD_ERR_IO;
	c->link_type = pcap_datalink(c->pcap);
	return TD_OK;
}

int capture_open(struct capture **ret, const char *path, char *err, size_t err_len)
{
	struct capture *c = calloc(1, sizeof(*c));
	char why[PCAP_ERRBUF_SIZE] = "";
	int r = TD_ERR_NOMEM;

	if (c == NULL)
		goto out;
	if ((r = open_file(c, path, why)) != TD_OK) {
		snprintf(err, err_len, "%s", why);
		goto out;
	}
	if (!link_type_known(c->link_type)) {
		const char *name = pcap_datalink_val_to_description(c->link_type);

		snprintf(err, err_len, "link type %s is not supported",
			name != NULL ? name : "of the capture");
		r = TD_ERR_UNSUPPORTED;
		goto out;
	}
	*ret = c;
	c = NULL;
	r = TD_OK;
out:
	capture_close(c);
	return r;
}

void capture_close(struct capture *c)
{
	if (c == NULL)
		return;
	if (c->pcap != NULL)
		pcap_close(c->pcap); /* closes the file */
	pcap_file_free(c->plain);
	free(c->buf);
	free(c);
}

/*
 * Captures are in order but for clocks that were set meanwhile. Set back, time stands still until
 * it is that late again, or goes on from there when it was far; set ahead by more than any pause,
 * it goes on as if the next packet had followed at once. A recording is as long as the call was.
 */
static void capture_time(struct capture *c, uint64_t utc_ns)
{
	int64_t step_ns = (int64_t)(utc_ns - c->last_utc_ns);

	if (!c->started) {
		c->started = true;
		c->start_utc_ns = c->last_utc_ns = utc_ns;
		return;
	}
	if (step_ns > (int64_t)CLOCK_SET_NS || step_ns < -(int64_t)CLOCK_SET_NS) {
		c->steps++;
		c->at_ns += FRAME_NS;
		c->last_utc_ns = utc_ns;
	} else if (step_ns > 0) {
		c->at_ns += (uint64_t)step_ns;
		c->last_utc_ns = utc_ns;
	}
}

static int next_frame(struct capture *c, struct pcap_frame *ret, char *err, size_t err_len)
{
	struct pcap_pkthdr *header;
	const u_char *frame;
	int r;

	if (c->plain != NULL)
		return pcap_file_next(c->plain, ret, err, err_len);
	r = pcap_next_ex(c->pcap, &header, &frame);
	if (r == PCAP_ERROR_BREAK)
		return 0;
	if (r != 1) {
		snprintf(err, err_len, "%s", pcap_geterr(c->pcap));
		return TD_ERR_IO;
	}
	/* With nanosecond precision tv_usec holds nanoseconds. */
	ret->utc_ns = (uint64_t)header->ts.tv_sec * TD_SEC_NS + (uint64_t)header->ts.tv_usec;
	ret->data = frame;
	ret->len = header->caplen;
	return 1;
}

int capture_next(struct capture *c, struct capture_packet *ret, char *err, size_t err_len)
{
	struct pcap_frame f;
	int r;

	while ((r = next_frame(c, &f, err, err_len)) == 1) {
		capture_time(c, f.utc_ns);
		r = link_udp(&ret->datagram, c->link_type, f.data, f.len);
		if (r == TD_OK) {
			ret->at_ns = c->at_ns;
			return 1;
		}
		if (r == TD_ERR_TRUNCATED)
			c->cut++;
	}
	return r;
}

uint64_t capture_start_utc_ns(const struct capture *c)
{
	return c->start_utc_ns;
}

uint64_t capture_steps(const struct capture *c)
{
	return c->steps;
}

uint64_t capture_cut(const struct capture *c)
{
	return c->cut;
}
