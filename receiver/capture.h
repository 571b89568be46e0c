/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_CAPTURE_H
#define TD_RECEIVER_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

#include "receiver/link_layer.h"

/* A capture file, read from its beginning to its end: pcap and pcapng. */
struct capture;

struct capture_packet {
	uint64_t at_ns;                /* after the first packet of the file; never falls */
	struct link_datagram datagram; /* borrowed until the next call */
};

/* TD_ERR_IO, TD_ERR_UNSUPPORTED (link type) and one line in err. */
int capture_open(struct capture **ret, const char *path, char *err, size_t err_len);
void capture_close(struct capture *c); /* NULL is fine */

/* The next UDP datagram: 1; 0 at the end; TD_ERR_IO and one line in err when the file is damaged
 * or cut: what was read up to there is good. Frames that hold none are skipped and counted. */
int capture_next(struct capture *c, struct capture_packet *ret, char *err, size_t err_len);

/* Wall time of the first packet; 0 before it was read. */
uint64_t capture_start_utc_ns(const struct capture *c);
/* How often the clock of the capture was set by more than an hour, so far. */
uint64_t capture_steps(const struct capture *c);
/* Frames whose UDP datagram the capture had cut short (snap length), so far. */
uint64_t capture_cut(const struct capture *c);

#endif
