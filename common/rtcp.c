/* SPDX-License-Identifier: ISC */
#include "common/rtcp.h"

#include "common/bytes.h"
#include "common/err.h"

enum { SDES_END = 0, SDES_CNAME = 1 };
enum { RTCP_FEEDBACK_FIRST = 205, RTCP_FEEDBACK_LAST = 206 };
enum { SENDER_INFO_LEN = 20, BLOCK_LEN = 24 };

int rtcp_next(const uint8_t *compound, size_t len, size_t *at, struct rtcp_packet *ret)
{
	struct rtcp_packet p = { 0 };
	uint8_t first, padding;
	struct rd r;

	if (*at >= len)
		return 0;
	rd_init(&r, compound + *at, len - *at);
	first = rd_u8(&r);
	p.type = rd_u8(&r);
	p.count = first & 0x1f;
	p.body_len = rd_u16(&r) * (size_t)4;
	p.body = rd_bytes(&r, p.body_len);
	if (r.bad || first >> 6 != 2)
		return TD_ERR_MALFORMED;
	if (p.body_len >= 4) {
		struct rd body;

		rd_init(&body, p.body, p.body_len);
		p.ssrc = rd_u32(&body);
	}
	if (first & 0x20) {
		padding = p.body_len > 0 ? p.body[p.body_len - 1] : 0;
		if (padding == 0 || padding % 4 != 0 || padding > p.body_len || rd_left(&r) > 0)
			return TD_ERR_MALFORMED;
		p.body_len -= padding;
	}
	if (p.body_len < 4 || ((p.type == RTCP_SDES || p.type == RTCP_BYE) && p.count == 0))
		p.ssrc = 0;
	*at = len - rd_left(&r);
	*ret = p;
	return 1;
}

int rtcp_sender_info(const struct rtcp_packet *p, struct rtcp_sender_info *ret)
{
	struct rtcp_sender_info info;
	struct rd r;

	if (p->type != RTCP_SR)
		return TD_ERR_MALFORMED;
	rd_init(&r, p->body, p->body_len);
	rd_u32(&r);
	info.ntp = rd_u64(&r);
	info.rtp_timestamp = rd_u32(&r);
	info.packets = rd_u32(&r);
	info.octets = rd_u32(&r);
	if (r.bad)
		return TD_ERR_MALFORMED;
	*ret = info;
	return TD_OK;
}

int rtcp_report_blocks(const struct rtcp_packet *p,
	struct rtcp_report_block ret[static RTCP_MAX_BLOCKS])
{
	struct rtcp_report_block b;
	unsigned i;
	struct rd r;

	if (p->type != RTCP_SR && p->type != RTCP_RR)
		return TD_ERR_MALFORMED;
	rd_init(&r, p->body, p->body_len);
	rd_bytes(&r, 4 + (p->type == RTCP_SR ? SENDER_INFO_LEN : 0));
	if (r.bad || rd_left(&r) < p->count * (size_t)BLOCK_LEN)
		return TD_ERR_MALFORMED;
	/* What is left behind the blocks is a profile's extension: none of ours. */
	for (i = 0; i < p->count; i++) {
		uint32_t word;

		b.ssrc = rd_u32(&r);
		word = rd_u32(&r);
		b.fraction_lost = (uint8_t)(word >> 24);
		word &= 0xffffff;
		b.lost = word < 0x800000 ? (int32_t)word : (int32_t)word - 0x1000000;
		b.highest_sequence = rd_u32(&r);
		b.jitter = rd_u32(&r);
		b.last_sr = rd_u32(&r);
		b.delay_since_last_sr = rd_u32(&r);
		ret[i] = b;
	}
	return (int)p->count;
}

int rtcp_sdes_cname(const struct rtcp_packet *p, uint32_t ssrc, const char **ret, size_t *ret_len)
{
	const uint8_t *cname = NULL;
	size_t cname_len = 0;
	unsigned i;
	struct rd r;

	if (p->type != RTCP_SDES)
		return TD_ERR_MALFORMED;
	rd_init(&r, p->body, p->body_len);
	for (i = 0; i < p->count; i++) {
		uint32_t chunk = rd_u32(&r);
		uint8_t item;

		while ((item = rd_u8(&r)) != SDES_END) {
			uint8_t len = rd_u8(&r);
			const uint8_t *text = rd_bytes(&r, len);

			if (item == SDES_CNAME && chunk == ssrc && cname == NULL) {
				cname = text;
				cname_len = len;
			}
		}
		/* The end marker is followed by zeros up to the next 32-bit boundary. */
		rd_bytes(&r, rd_left(&r) % 4);
	}
	if (r.bad)
		return TD_ERR_MALFORMED;
	*ret = (const char *)cname;
	*ret_len = cname_len;
	return TD_OK;
}

int rtcp_bye_sources(const struct rtcp_packet *p, uint32_t ret[static RTCP_MAX_BLOCKS])
{
	unsigned i;
	struct rd r;

	if (p->type != RTCP_BYE)
		return TD_ERR_MALFORMED;
	rd_init(&r, p->body, p->body_len);
	if (rd_left(&r) < p->count * (size_t)4)
		return TD_ERR_MALFORMED;
	for (i = 0; i < p->count; i++)
		ret[i] = rd_u32(&r);
	if (rd_left(&r) > 0)
		rd_bytes(&r, rd_u8(&r)); /* the reason */
	return r.bad ? TD_ERR_MALFORMED : (int)p->count;
}

static int packet_check(const struct rtcp_packet *p)
{
	struct rtcp_report_block blocks[RTCP_MAX_BLOCKS];
	struct rtcp_sender_info info;
	uint32_t sources[RTCP_MAX_BLOCKS];
	const char *cname;
	size_t cname_len;
	int r = TD_OK;

	if (p->type == RTCP_SR)
		r = rtcp_sender_info(p, &info);
	if (r == TD_OK && (p->type == RTCP_SR || p->type == RTCP_RR))
		r = rtcp_report_blocks(p, blocks);
	else if (p->type == RTCP_SDES)
		r = rtcp_sdes_cname(p, p->ssrc, &cname, &cname_len);
	else if (p->type == RTCP_BYE)
		r = rtcp_bye_sources(p, sources);
	else if (p->type >= RTCP_APP && p->type <= RTCP_FEEDBACK_LAST)
		r = p->body_len >= 8 ? TD_OK : TD_ERR_MALFORMED; /* two SSRCs, or one and a name */
	return r < 0 ? r : TD_OK;
}

int rtcp_check(const uint8_t *compound, size_t len, uint32_t *ret_ssrc)
{
	struct rtcp_packet p;
	uint32_t ssrc = 0;
	size_t at = 0;
	bool first = true;
	int r;

	while ((r = rtcp_next(compound, len, &at, &p)) == 1) {
		if ((r = packet_check(&p)) != TD_OK)
			return r;
		if (first)
			ssrc = p.ssrc;
		first = false;
	}
	if (r != TD_OK || first)
		return TD_ERR_MALFORMED;
	*ret_ssrc = ssrc;
	return TD_OK;
}
