/* SPDX-License-Identifier: ISC */
#include "receiver/capture.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"

/* No call is silent for that long and goes on in the same capture. */
#define CLOCK_SET_NS (3600 * TD_SEC_NS)
#define FRAME_NS (20 * TD_MS_NS)

enum { READ_AT_ONCE = 64 * 1024 };

struct capture {
	pcap_t *pcap;
	char *buf; /* of its file */
	int link_type;
	bool started;
	uint64_t start_utc_ns, last_utc_ns, at_ns, cut, steps;
};

/* As libpcap opens it, "-" included, but read in larger pieces, and by one thread. */
static pcap_t *open_file(struct capture *c, const char *path, char why[static PCAP_ERRBUF_SIZE])
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rbe");
	pcap_t *pcap;

	if (file == NULL) {
		snprintf(why, PCAP_ERRBUF_SIZE, "%s", strerror(errno));
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

int capture_open(struct capture **ret, const char *path, char *err, size_t err_len)
{
	struct capture *c = calloc(1, sizeof(*c));
	char why[PCAP_ERRBUF_SIZE] = "";
	int r = TD_ERR_NOMEM;

	if (c == NULL)
		goto out;
	r = TD_ERR_IO;
	if ((c->pcap = open_file(c, path, why)) == NULL) {
		snprintf(err, err_len, "%s", why);
		goto out;
	}
	c->link_type = pcap_datalink(c->pcap);
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
	free(c->buf);
	free(c);
}

/*
 * Captures are in order but for clocks that were set meanwhile. Set back, time stands still until
 * it is that late again, or goes on from there when it was far; set ahead by more than any pause,
 * it goes on as if the next packet had followed at once. A recording is as long as the call was.
 */
static void capture_time(struct capture *c, const struct pcap_pkthdr *header)
{
	/* With nanosecond precision tv_usec holds nanoseconds. */
	uint64_t utc_ns = (uint64_t)header->ts.tv_sec * TD_SEC_NS + (uint64_t)header->ts.tv_usec;
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

int capture_next(struct capture *c, struct capture_packet *ret, char *err, size_t err_len)
{
	struct pcap_pkthdr *header;
	const u_char *frame;
	int r;

	while ((r = pcap_next_ex(c->pcap, &header, &frame)) == 1) {
		capture_time(c, header);
		r = link_udp(&ret->datagram, c->link_type, frame, header->caplen);
		if (r == TD_OK) {
			ret->at_ns = c->at_ns;
			return 1;
		}
		if (r == TD_ERR_TRUNCATED)
			c->cut++;
	}
	if (r == PCAP_ERROR_BREAK)
		return 0;
	snprintf(err, err_len, "%s", pcap_geterr(c->pcap));
	return TD_ERR_IO;
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
