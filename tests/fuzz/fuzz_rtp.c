/* SPDX-License-Identifier: ISC */
/* One datagram, opened or not: what it is, its headers, its payload, RTCP, the Opus packet. */
#include <opus.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/opus_packet.h"
#include "common/rtcp.h"
#include "common/rtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static bool inside(const void *p, size_t len, const uint8_t *data, size_t size)
{
	const uint8_t *at = p;

	return at >= data && len <= size && at <= data + (size - len);
}

static void fuzz_opus(const uint8_t *data, size_t size)
{
	int n = opus_packet_samples(data, size);

	check(n == TD_ERR_MALFORMED || (n >= 120 && n <= OPUS_MAX_SAMPLES && n % 120 == 0));
	check(size == 0 || opus_packet_channels(data, size) == 1 + (data[0] >> 2 & 1));
	if (opus_packet_has_fec(data, size))
		check(n > 0 && !opus_packet_is_celt(data, size));
	if (opus_packet_is_silence(data, size))
		check(n == 960);
	if (n > 0)
		check(n == opus_packet_get_nb_samples(data, (opus_int32)size, TD_RATE));
}

static void fuzz_rtcp(const uint8_t *data, size_t size)
{
	struct rtcp_report_block blocks[RTCP_MAX_BLOCKS];
	uint32_t ssrc = 0, sources[RTCP_MAX_BLOCKS], first = 0;
	bool good = rtcp_check(data, size, &ssrc) == TD_OK;
	struct rtcp_sender_info info;
	size_t at = 0, cname_len, packets = 0;
	struct rtcp_packet p;
	const char *cname;
	int r;

	while ((r = rtcp_next(data, size, &at, &p)) == 1) {
		check(inside(p.body, p.body_len, data, size) && at <= size && p.count <= 31);
		if (packets++ == 0)
			first = p.ssrc;
		/* What was checked never fails; what was not may, and reads no further for it. */
		r = rtcp_sender_info(&p, &info);
		check(r == TD_OK || p.type != RTCP_SR || !good);
		r = rtcp_report_blocks(&p, blocks);
		check(r == p.count || (p.type != RTCP_SR && p.type != RTCP_RR) || !good);
		r = rtcp_bye_sources(&p, sources);
		check(r == p.count || p.type != RTCP_BYE || !good);
		cname = NULL;
		r = rtcp_sdes_cname(&p, p.ssrc, &cname, &cname_len);
		check(r == TD_OK || p.type != RTCP_SDES || !good);
		check(r != TD_OK || cname == NULL || inside(cname, cname_len, data, size));
	}
	check(!good || (r == 0 && packets > 0 && ssrc == first));
}

static void fuzz_packet(const uint8_t *data, size_t size)
{
	const uint8_t *payload;
	struct rtp_header h;
	size_t len;

	if (rtp_parse(&h, data, size) != TD_OK) {
		check(datagram_classify(data, size) != DATAGRAM_RTP || size < 12 + 15 * 4 + 4);
		return;
	}
	check(h.clear_len >= RTP_MIN_HEADER && h.clear_len <= size);
	if (rtp_payload(&h, data + h.clear_len, size - h.clear_len, &payload, &len) != TD_OK)
		return;
	check(inside(payload, len, data, size));
	fuzz_opus(payload, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 4096)
		return 0;
	check(datagram_classify(data, size) <= DATAGRAM_BAD_VERSION);
	fuzz_packet(data, size);
	fuzz_rtcp(data, size);
	fuzz_opus(data, size);
	return 0;
}
