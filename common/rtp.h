/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_RTP_H
#define TD_COMMON_RTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RTP (RFC 3550 section 5, RFC 8285) as Discord's voice servers send it: voice-gateway.md 8.3, 9.
 */
enum { RTP_OPUS_PAYLOAD_TYPE = 120, RTP_MIN_HEADER = 12 };

/* What a datagram on the voice socket is, told from its clear bytes alone (section 8.3). */
enum datagram_kind {
	DATAGRAM_RTP,
	DATAGRAM_RTCP,
	DATAGRAM_DISCOVERY,   /* answer to IP discovery */
	DATAGRAM_KEEPALIVE,   /* 8 bytes: an echo of ours */
	DATAGRAM_SHORT,       /* under 12 bytes and none of the above */
	DATAGRAM_BAD_VERSION, /* not version 2 */
};
enum datagram_kind datagram_classify(const uint8_t *data, size_t len);

struct rtp_header {
	uint32_t ssrc;
	uint32_t timestamp; /* 48 kHz */
	uint16_t sequence;
	uint8_t payload_type;
	bool marker, padding, extension;
	uint8_t csrc_count;
	uint16_t extension_len; /* bytes of extension body, first thing in the plaintext */
	size_t clear_len;       /* header, CSRCs and extension preamble: the AAD of section 9.2 */
};

/* Reads the clear part of a packet. TD_ERR_TRUNCATED, TD_ERR_MALFORMED (version). */
int rtp_parse(struct rtp_header *ret, const uint8_t *data, size_t len);

/*
 * Finds the payload in the decrypted rest of the packet: skips the extension body, then takes the
 * padding from the end (section 9.3 steps 1-3, in this order). *ret points into plain; length 0
 * means that the packet was padding alone. TD_ERR_MALFORMED: extension or padding longer than what
 * there is, or a padding count of zero.
 */
int rtp_payload(const struct rtp_header *h, const uint8_t *plain, size_t len, const uint8_t **ret,
	size_t *ret_len);

/* Writes a 12-byte header without CSRC, extension and padding. */
void rtp_write(uint8_t out[static RTP_MIN_HEADER], uint8_t payload_type, uint16_t sequence,
	uint32_t timestamp, uint32_t ssrc);

#endif
