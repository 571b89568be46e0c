/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_OPUS_PACKET_H
#define TD_COMMON_OPUS_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What can be told from an Opus packet without decoding it (RFC 6716 sections 3 and 4.2). */
enum { OPUS_MAX_SAMPLES = 5760 }; /* per channel at 48 kHz: 120 ms */
enum { OPUS_FIRST_CELT = 16 };    /* configurations below have SILK in them */

/* Samples per channel at 48 kHz that the packet decodes to: 120 (2.5 ms) to 5760 (120 ms).
 * TD_ERR_MALFORMED: empty, cut, or longer than 120 ms. */
int opus_packet_samples(const uint8_t *packet, size_t len);

/* 1 or 2, as coded in the TOC byte; 0 for an empty packet. */
int opus_packet_channels(const uint8_t *packet, size_t len);

/* True when the packet is coded with CELT alone: nothing in it can be recovered, ever. */
static inline bool opus_packet_is_celt(const uint8_t *packet, size_t len)
{
	return len > 0 && packet[0] >> 3 >= OPUS_FIRST_CELT;
}

/* True when the packet carries in-band FEC (LBRR) for the packet before it. */
bool opus_packet_has_fec(const uint8_t *packet, size_t len);

/* True for exactly F8 FF FE, which senders put five times in a row at the end of a talk spurt. */
static inline bool opus_packet_is_silence(const uint8_t *packet, size_t len)
{
	return len == 3 && packet[0] == 0xf8 && packet[1] == 0xff && packet[2] == 0xfe;
}

#endif
