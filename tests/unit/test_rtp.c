/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/rtp.h"
#include "tests/unit/hex.h"

static void tells_datagrams_apart(void **state)
{
	static const struct {
		const char *bytes;
		size_t len; /* zeros follow the bytes up to here */
		enum datagram_kind want;
	} cases[] = {
		{ "", 0, DATAGRAM_SHORT },
		{ "80", 1, DATAGRAM_SHORT },
		{ "80780102000003c0000000", 11, DATAGRAM_SHORT },
		{ "80780102000003c000", 9, DATAGRAM_SHORT },
		{ "0100000000000000", 8, DATAGRAM_KEEPALIVE },
		{ "1337f00d00000001", 8, DATAGRAM_KEEPALIVE },
		{ "80c8000600000001", 8, DATAGRAM_KEEPALIVE },
		{ "0002004600000159", 74, DATAGRAM_DISCOVERY },
		{ "0002004600000159", 73, DATAGRAM_BAD_VERSION },
		{ "0001004600000159", 74, DATAGRAM_BAD_VERSION },
		{ "8002004600000159", 74, DATAGRAM_RTP },
		{ "40780102", 40, DATAGRAM_BAD_VERSION },
		{ "c0780102", 40, DATAGRAM_BAD_VERSION },
		{ "80780102", 12, DATAGRAM_RTP },
		{ "80f80102", 12, DATAGRAM_RTP }, /* marker: not RTCP */
		{ "80bf0102", 12, DATAGRAM_RTP },
		{ "80c00102", 12, DATAGRAM_RTCP },
		{ "80c80006", 28, DATAGRAM_RTCP },
		{ "81cd0006", 28, DATAGRAM_RTCP },
		{ "80df0102", 12, DATAGRAM_RTCP },
		{ "80e00102", 12, DATAGRAM_RTP },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *data = calloc(1, cases[i].len + 1);

		hex(data, cases[i].len, cases[i].bytes);
		assert_int_equal(datagram_classify(data, cases[i].len), cases[i].want);
		free(data);
	}
}

static void parses_headers(void **state)
{
	static const struct {
		const char *bytes;
		int want;
		size_t clear_len;
		unsigned csrc, extension_len;
		bool marker, padding, extension;
	} cases[] = {
		{ "80780102000003c00000002a", TD_OK, 12, 0, 0, false, false, false },
		{ "80f80102000003c00000002a", TD_OK, 12, 0, 0, true, false, false },
		{ "a0780102000003c00000002a", TD_OK, 12, 0, 0, false, true, false },
		{ "90780102000003c00000002abede0001", TD_OK, 16, 0, 4, false, false, true },
		/* The profile is not looked at; an empty extension is one. */
		{ "90780102000003c00000002a10030000", TD_OK, 16, 0, 0, false, false, true },
		{ "92780102000003c00000002a 00000001 00000002 bede0002", TD_OK, 24, 2, 8, false,
			false, true },
		{ "8f780102000003c00000002a 000000010000000200000003000000040000000500000006"
		  "0000000700000008000000090000000a0000000b0000000c0000000d0000000e0000000f",
			TD_OK, 72, 15, 0, false, false, false },
		{ "90780102000003c00000002abede3fff", TD_OK, 16, 0, 65532, false, false, true },
		{ "90780102000003c00000002abede4000", TD_OK, 16, 0, 65535, false, false, true },
		{ "90780102000003c00000002abedeffff", TD_OK, 16, 0, 65535, false, false, true },
		{ "80780102000003c000000", TD_ERR_TRUNCATED, 0, 0, 0, 0, 0, 0 },
		{ "90780102000003c00000002abede00", TD_ERR_TRUNCATED, 0, 0, 0, 0, 0, 0 },
		{ "81780102000003c00000002a000000", TD_ERR_TRUNCATED, 0, 0, 0, 0, 0, 0 },
		{ "91780102000003c00000002a00000001bede", TD_ERR_TRUNCATED, 0, 0, 0, 0, 0, 0 },
		{ "", TD_ERR_TRUNCATED, 0, 0, 0, 0, 0, 0 },
		{ "40780102000003c00000002a", TD_ERR_MALFORMED, 0, 0, 0, 0, 0, 0 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t bytes[128], *data;
		size_t len = hex(bytes, sizeof(bytes), cases[i].bytes);
		struct rtp_header h;

		data = malloc(len + 1); /* a block of its own: a sanitizer sees one byte too many */
		memcpy(data, bytes, len);
		assert_int_equal(rtp_parse(&h, data, len), cases[i].want);
		free(data);
		if (cases[i].want != TD_OK)
			continue;
		assert_int_equal(h.ssrc, 42);
		assert_int_equal(h.timestamp, 960);
		assert_int_equal(h.sequence, 0x102);
		assert_int_equal(h.payload_type, RTP_OPUS_PAYLOAD_TYPE);
		assert_int_equal(h.clear_len, cases[i].clear_len);
		assert_int_equal(h.csrc_count, cases[i].csrc);
		assert_int_equal(h.extension_len, cases[i].extension_len);
		assert_int_equal(h.marker, cases[i].marker);
		assert_int_equal(h.padding, cases[i].padding);
		assert_int_equal(h.extension, cases[i].extension);
	}
}

static void finds_the_payload(void **state)
{
	static const struct {
		unsigned extension_len;
		bool padding;
		const char *plain;
		int want;
		const char *payload;
	} cases[] = {
		{ 0, false, "78aabbccdd", TD_OK, "78aabbccdd" },
		{ 0, false, "", TD_OK, "" },
		{ 4, false, "1085aa00 78aabbccdd", TD_OK, "78aabbccdd" },
		{ 4, true, "1085aa00 78aabbccdd 00000004", TD_OK, "78aabbccdd" },
		{ 4, false, "1085aa00", TD_OK, "" },
		{ 0, true, "78aabb01", TD_OK, "78aabb" },
		{ 0, true, "00000004", TD_OK, "" }, /* a probe: padding alone */
		{ 4, true, "1085aa00 00000004", TD_OK, "" },
		{ 0, true, "78aabb00", TD_ERR_MALFORMED, NULL }, /* a count of zero */
		{ 0, true, "78aabb05", TD_ERR_MALFORMED, NULL }, /* more than there is */
		/* The extension is not padding's to take. */
		{ 4, true, "1085aa00 78aa04", TD_ERR_MALFORMED, NULL },
		{ 4, true, "1085aa00", TD_ERR_MALFORMED, NULL },
		{ 0, true, "", TD_ERR_MALFORMED, NULL },
		{ 8, false, "1085aa0078aabb", TD_ERR_MALFORMED, NULL },
		{ 65535, false, "1085aa0078aabb", TD_ERR_MALFORMED, NULL },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rtp_header h = { .extension_len = (uint16_t)cases[i].extension_len,
			.extension = cases[i].extension_len > 0,
			.padding = cases[i].padding };
		uint8_t plain[64], want[64];
		size_t len = hex(plain, sizeof(plain), cases[i].plain), want_len, got_len = 0;
		const uint8_t *got = NULL;

		assert_int_equal(rtp_payload(&h, plain, len, &got, &got_len), cases[i].want);
		if (cases[i].want != TD_OK)
			continue;
		want_len = hex(want, sizeof(want), cases[i].payload);
		assert_int_equal(got_len, want_len);
		assert_memory_equal(got, want, want_len);
	}
}

static void writes_what_it_parses(void **state)
{
	uint8_t out[RTP_MIN_HEADER], want[RTP_MIN_HEADER];

	(void)state;
	rtp_write(out, RTP_OPUS_PAYLOAD_TYPE, 0xfffe, 0xfffffc40, 0x159);
	hex(want, sizeof(want), "8078fffefffffc4000000159");
	assert_memory_equal(out, want, sizeof(want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_datagrams_apart),
		cmocka_unit_test(parses_headers),
		cmocka_unit_test(finds_the_payload),
		cmocka_unit_test(writes_what_it_parses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
