/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/rtcp.h"
#include "common/rtp.h"
#include "tests/voiceserver/packet.h"

enum { VIDEO_PAYLOAD_TYPE = 101, DISCOVERY_REQUEST = 1, DISCOVERY_RESPONSE = 2 };
enum { DISCOVERY_REST = 70, DISCOVERY_ADDRESS = 64 };
enum { RTP_PADDING_BIT = 0x20, RTP_EXTENSION_BIT = 0x10, RTP_MARKER_BIT = 0x80 };
enum { EXTENSION_PROFILE = 0xbede, EXTENSION_WORDS = 2 };
/* Seconds from 1900 to a day in 2026: what the sender reports count from. */
#define NTP_BASE 3976214400u

static size_t seal(uint8_t out[static PACKET_MAX], struct transport *t, const struct wr *aad,
	const struct wr *plain, uint32_t nonce)
{
	if (t != NULL)
		return transport_seal(t, out, aad->buf, aad->len, plain->buf, plain->len, nonce);
	memcpy(out, aad->buf, aad->len);
	memcpy(out + aad->len, plain->buf, plain->len);
	return aad->len + plain->len;
}

/* One-byte form elements: 1 audio level, 9 Discord's speaker bits, 3 absolute send time. */
static void extension_write(struct wr *w, const struct media *m)
{
	wr_u8(w, 1 << 4);
	wr_u8(w, m->kind == MEDIA_VOICE ? 0x80 | 32 : 127);
	wr_u8(w, 9 << 4);
	wr_u8(w, 2);
	wr_u8(w, 3 << 4 | 2);
	wr_u8(w, (uint8_t)(m->at_ns / TD_SEC_NS));
	wr_u16(w, (uint16_t)(m->at_ns / (TD_SEC_NS >> 16)));
}

static size_t rtp_build(uint8_t out[static PACKET_MAX], struct transport *t, const struct media *m,
	uint32_t ssrc, uint32_t nonce)
{
	uint8_t aad_bytes[RTP_MIN_HEADER + 4], plain_bytes[PACKET_MAX];
	bool video = m->kind == MEDIA_VIDEO;
	struct wr aad, plain;

	wr_init(&aad, aad_bytes, sizeof(aad_bytes));
	wr_init(&plain, plain_bytes, PACKET_MAX - 64);
	rtp_write(wr_room(&aad, RTP_MIN_HEADER), video ? VIDEO_PAYLOAD_TYPE : RTP_OPUS_PAYLOAD_TYPE,
		m->sequence, m->timestamp, video ? ssrc + 1 : ssrc);
	if (m->marker)
		aad_bytes[1] |= RTP_MARKER_BIT;
	if (m->extension) {
		aad_bytes[0] |= RTP_EXTENSION_BIT;
		wr_u16(&aad, EXTENSION_PROFILE);
		wr_u16(&aad, EXTENSION_WORDS);
		extension_write(&plain, m);
	}
	wr_bytes(&plain, m->payload, m->len);
	if (m->padding > 0) {
		aad_bytes[0] |= RTP_PADDING_BIT;
		wr_zeros(&plain, m->padding - 1);
		wr_u8(&plain, (uint8_t)m->padding);
	}
	return plain.bad ? 0 : seal(out, t, &aad, &plain, nonce);
}

/* A sender report, then who sent it. */
static size_t rtcp_build(uint8_t out[static PACKET_MAX], struct transport *t, const struct media *m,
	uint32_t ssrc, uint32_t nonce)
{
	static const char cname[] = "speaker@test";
	uint8_t aad_bytes[RTCP_CLEAR_LEN], plain_bytes[64];
	struct wr aad, plain;

	wr_init(&aad, aad_bytes, sizeof(aad_bytes));
	wr_u8(&aad, 0x80);
	wr_u8(&aad, RTCP_SR);
	wr_u16(&aad, 6);
	wr_u32(&aad, ssrc);
	wr_init(&plain, plain_bytes, sizeof(plain_bytes));
	wr_u32(&plain, NTP_BASE + (uint32_t)(m->at_ns / TD_SEC_NS));
	wr_u32(&plain, (uint32_t)(((m->at_ns % TD_SEC_NS) << 32) / TD_SEC_NS));
	wr_u32(&plain, m->timestamp);
	wr_u32(&plain, m->packets);
	wr_u32(&plain, m->octets);
	wr_u8(&plain, 0x81);
	wr_u8(&plain, RTCP_SDES);
	wr_u16(&plain, 5);
	wr_u32(&plain, ssrc);
	wr_u8(&plain, 1);
	wr_u8(&plain, sizeof(cname) - 1);
	wr_bytes(&plain, cname, sizeof(cname) - 1);
	wr_zeros(&plain, 2);
	return seal(out, t, &aad, &plain, nonce);
}

size_t packet_build(uint8_t out[static PACKET_MAX], struct transport *t, const struct media *m,
	uint32_t ssrc, uint32_t nonce)
{
	return m->kind == MEDIA_RTCP ? rtcp_build(out, t, m, ssrc, nonce)
				     : rtp_build(out, t, m, ssrc, nonce);
}

bool packet_is_discovery(const uint8_t *data, size_t len, uint32_t *ret_ssrc)
{
	struct rd r;
	uint16_t type, rest;
	uint32_t ssrc;

	rd_init(&r, data, len);
	type = rd_u16(&r);
	rest = rd_u16(&r);
	ssrc = rd_u32(&r);
	rd_bytes(&r, DISCOVERY_REST - 4);
	if (!rd_done(&r) || type != DISCOVERY_REQUEST || rest != DISCOVERY_REST)
		return false;
	*ret_ssrc = ssrc;
	return true;
}

void packet_discovery_answer(uint8_t out[static PACKET_DISCOVERY_LEN], uint32_t ssrc,
	const char *address, uint16_t port)
{
	char text[DISCOVERY_ADDRESS] = { 0 };
	struct wr w;

	snprintf(text, sizeof(text), "%s", address);
	wr_init(&w, out, PACKET_DISCOVERY_LEN);
	wr_u16(&w, DISCOVERY_RESPONSE);
	wr_u16(&w, DISCOVERY_REST);
	wr_u32(&w, ssrc);
	wr_bytes(&w, text, sizeof(text));
	wr_u16(&w, port);
}
