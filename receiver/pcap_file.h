/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_PCAP_FILE_H
#define TD_RECEIVER_PCAP_FILE_H

#include <stddef.h>
#include <stdint.h>

/*
 * The plainest of captures, as tcpdump writes them: a pcap file of version 2.4 on a disk. Its
 * frames are looked at where read(2) put them; through libpcap each would be copied twice. Says of
 * every such file what libpcap does, but that times go up to 2106 in either byte order.
 */
struct pcap_file;

struct pcap_frame {
	uint64_t utc_ns;
	const uint8_t *data; /* borrowed until the next call */
	size_t len;
};

/* Takes fd over. TD_ERR_UNSUPPORTED: libpcap should read this one, from where fd still stands; any
 * error leaves fd to the caller. */
int pcap_file_new(struct pcap_file **ret, int fd);
void pcap_file_free(struct pcap_file *f); /* NULL is fine */

int pcap_file_link_type(const struct pcap_file *f);
/* 1 and a frame; 0 at the end; TD_ERR_IO and one line in err. */
int pcap_file_next(struct pcap_file *f, struct pcap_frame *ret, char *err, size_t err_len);

#endif
