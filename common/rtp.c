/* SPDX-License-Identifier: ISC */
#include "common/rtp.h"

#include "common/bytes.h"
#include "common/err.h"

enum { RTP_VERSION = 2, FLAG_PADDING = 0x20, FLAG_EXTENSION = 0x10, CSRC_MASK = 0x0f };
enum { KEEPALIVE_LEN = 8, DISCOVERY_LEN = 74, DISCOVERY_ANSWER = 2 };
/* RFC 5761 section 4: what in the second byte tells RTCP from RTP on one port. */
enum { RTCP_TYPE_FIRST = 192, RTCP_TYPE_LAST = 223 };

enum datagram_kind datagram_classify(const uint8_t *data, size_t len)
{
	if (len == KEEPALIVE_LEN)
		return DATAGRAM_KEEPALIVE;
	if (len == DISCOVERY_LEN && data[0] == 0 && data[1] == DISCOVERY_ANSWER)
		return DATAGRAM_DISCOVERY;
	if (len < RTP_MIN_HEADER)
		return DATAGRAM_SHORT;
	if (data[0] >> 6 != RTP_VERSION)
		return DATAGRAM_BAD_VERSION;
	if (data[1] >= RTCP_TYPE_FIRST && data[1] <= RTCP_TYPE_LAST)
		return DATAGRAM_RTCP;
	return DATAGRAM_RTP;
}

int rtp_parse(struct rtp_header *ret, const uint8_t *data, size_t len)
{
	struct rtp_header h = { 0 };
	uint8_t first, second;
	uint32_t words;
	struct rd r, fixed;

	rd_init(&r, data, len);
	fixed = rd_window(&r, RTP_MIN_HEADER);
	if (fixed.bad)
		return TD_ERR_TRUNCATED;
	first = rd_u8(&fixed);
	second = rd_u8(&fixed);
	h.sequence = rd_u16(&fixed);
	h.timestamp = rd_u32(&fixed);
	h.ssrc = rd_u32(&fixed);
	h.payload_type = second & 0x7f;
	h.marker = (second & 0x80) != 0;
	h.padding = (first & FLAG_PADDING) != 0;
	h.extension = (first & FLAG_EXTENSION) != 0;
	h.csrc_count = first & CSRC_MASK;
	rd_bytes(&r, h.csrc_count * (size_t)4);
	if (h.extension) {
		rd_u16(&r); /* the profile: one-byte or two-byte elements, neither is read */
		words = rd_u16(&r);
		/* More words than 16 bits of bytes: no datagram is that long, so any such length
		 * will do. */
		h.extension_len = words > UINT16_MAX / 4 ? UINT16_MAX : (uint16_t)(words * 4);
	}
	if (r.bad)
		return TD_ERR_TRUNCATED;
	if (first >> 6 != RTP_VERSION)
		return TD_ERR_MALFORMED;
	h.clear_len = len - rd_left(&r);
	*ret = h;
	return TD_OK;
}

int rtp_payload(const struct rtp_header *h, const uint8_t *plain, size_t len, const uint8_t **ret,
	size_t *ret_len)
{
	size_t padding = 0;

	if (h->extension_len > len)
		return TD_ERR_MALFORMED;
	plain += h->extension_len;
	len -= h->extension_len;
	if (h->padding) {
		padding = len > 0 ? plain[len - 1] : 0;
		if (padding == 0 || padding > len)
			return TD_ERR_MALFORMED;
	}
	*ret = plain;
	*ret_len = len - padding;
	return TD_OK;
}

void rtp_write(uint8_t out[static RTP_MIN_HEADER], uint8_t payload_type, uint16_t sequence,
	uint32_t timestamp, uint32_t ssrc)
{
	struct wr w;

	wr_init(&w, out, RTP_MIN_HEADER);
	wr_u8(&w, RTP_VERSION << 6);
	wr_u8(&w, payload_type & 0x7f);
	wr_u16(&w, sequence);
	wr_u32(&w, timestamp);
	wr_u32(&w, ssrc);
}
