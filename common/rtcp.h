/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_RTCP_H
#define TD_COMMON_RTCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RTCP compounds (RFC 3550 section 6) after transport decryption: voice-gateway.md section 10. */
enum { RTCP_SR = 200, RTCP_RR = 201, RTCP_SDES = 202, RTCP_BYE = 203, RTCP_APP = 204 };
enum { RTCP_CLEAR_LEN = 8, RTCP_MAX_BLOCKS = 31 };

/* One packet of a compound. Pointers lead into the compound. */
struct rtcp_packet {
	uint8_t type;  /* 200-206 and up */
	uint8_t count; /* RC, SC or FMT, 0-31 */
	uint32_t ssrc; /* of the sender, or the first source (SDES, BYE); 0 when there is none */
	const uint8_t *body; /* behind the 4-byte header, padding taken off */
	size_t body_len;
};

struct rtcp_sender_info { /* SR, section 6.4.1 */
	uint64_t ntp;     /* 32.32 seconds since 1900 */
	uint32_t rtp_timestamp, packets, octets;
};

struct rtcp_report_block { /* SR and RR, section 6.4.1 */
	uint32_t ssrc;
	uint8_t fraction_lost;
	int32_t lost; /* signed 24 bits */
	uint32_t highest_sequence, jitter, last_sr, delay_since_last_sr;
};

/* Steps through a compound: 1 and a packet, 0 at its end, TD_ERR_MALFORMED (version, lengths,
 * padding not in the last packet, a first packet that is neither SR nor RR is accepted). *at starts
 * at 0. */
int rtcp_next(const uint8_t *compound, size_t len, size_t *at, struct rtcp_packet *ret);

/* The parts of an SR (sender info) and of an SR or RR (blocks; returns how many, at most
 * RTCP_MAX_BLOCKS). TD_ERR_MALFORMED when the body is shorter than its counts say, or of another
 * type. */
int rtcp_sender_info(const struct rtcp_packet *p, struct rtcp_sender_info *ret);
int rtcp_report_blocks(const struct rtcp_packet *p,
	struct rtcp_report_block ret[static RTCP_MAX_BLOCKS]);

/* The CNAME of an SDES chunk of `ssrc` (section 6.5.1): text borrowed from the compound, no NUL.
 * TD_ERR_MALFORMED; 0 with *ret NULL when there is none. */
int rtcp_sdes_cname(const struct rtcp_packet *p, uint32_t ssrc, const char **ret, size_t *ret_len);

/* The sources a BYE names, at most RTCP_MAX_BLOCKS; returns how many or TD_ERR_MALFORMED. */
int rtcp_bye_sources(const struct rtcp_packet *p, uint32_t ret[static RTCP_MAX_BLOCKS]);

/* Checks a whole compound, every part of every known packet. 0 or TD_ERR_MALFORMED. *ret_ssrc: the
 * first packet's. */
int rtcp_check(const uint8_t *compound, size_t len, uint32_t *ret_ssrc);

#endif
