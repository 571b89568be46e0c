/* SPDX-License-Identifier: ISC */
#include "receiver/capture.h"

#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"

struct capture {
	pcap_t *pcap;
	int link_type;
	bool started;
	uint64_t start_utc_ns, at_ns, cut;
};

int capture_open(struct capture **ret, const char *path, char *err, size_t err_len)
{
	struct capture *c = calloc(1, sizeof(*c));
	char why[PCAP_ERRBUF_SIZE] = "";
	int r = TD_ERR_NOMEM;

	if (c == NULL)
		goto out;
	r = TD_ERR_IO;
	c->pcap = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, why);
	if (c->pcap == NULL) {
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
		pcap_close(c->pcap);
	free(c);
}

/* Captures are in order but for clocks that were set meanwhile: time stands still then. */
static void capture_time(struct capture *c, const struct pcap_pkthdr *header)
{
	/* With nanosecond precision tv_usec holds nanoseconds. */
	uint64_t utc_ns = (uint64_t)header->ts.tv_sec * TD_SEC_NS + (uint64_t)header->ts.tv_usec;

	if (!c->started) {
		c->started = true;
		c->start_utc_ns = utc_ns;
	}
	if (utc_ns > c->start_utc_ns && utc_ns - c->start_utc_ns > c->at_ns)
		c->at_ns = utc_ns - c->start_utc_ns;
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

uint64_t capture_cut(const struct capture *c)
{
	return c->cut;
}
