/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/rtcp.h"
#include "tests/unit/hex.h"

/* voice-gateway.md section 14.3: its clear bytes, then its plaintext. */
#define REAL "80c800060005ec18 e957a59b69374bc60a5b61d000005b8e001e661b 81ca00020005ec1801000000"

static void reads_a_real_compound(void **state)
{
	struct rtcp_report_block blocks[RTCP_MAX_BLOCKS];
	struct rtcp_sender_info info;
	struct rtcp_packet p;
	uint8_t data[64];
	size_t len = hex(data, sizeof(data), REAL), at = 0, cname_len;
	const char *cname;
	uint32_t ssrc;

	(void)state;
	assert_int_equal(len, 40);
	assert_int_equal(rtcp_check(data, len, &ssrc), TD_OK);
	assert_int_equal(ssrc, 0x5ec18);

	assert_int_equal(rtcp_next(data, len, &at, &p), 1);
	assert_int_equal(p.type, RTCP_SR);
	assert_int_equal(p.count, 0);
	assert_int_equal(p.ssrc, 0x5ec18);
	assert_int_equal(rtcp_sender_info(&p, &info), TD_OK);
	assert_true(info.ntp == 0xe957a59b69374bc6);
	assert_int_equal(info.rtp_timestamp, 0x0a5b61d0);
	assert_int_equal(info.packets, 0x5b8e);
	assert_int_equal(info.octets, 0x1e661b);
	assert_int_equal(rtcp_report_blocks(&p, blocks), 0);

	assert_int_equal(rtcp_next(data, len, &at, &p), 1);
	assert_int_equal(p.type, RTCP_SDES);
	assert_int_equal(p.ssrc, 0x5ec18);
	assert_int_equal(rtcp_sdes_cname(&p, 0x5ec18, &cname, &cname_len), TD_OK);
	assert_non_null(cname);
	assert_int_equal(cname_len, 0);
	assert_int_equal(rtcp_sdes_cname(&p, 1, &cname, &cname_len), TD_OK);
	assert_null(cname);
	assert_int_equal(rtcp_next(data, len, &at, &p), 0);
}

static void reads_report_blocks(void **state)
{
	struct rtcp_report_block b[RTCP_MAX_BLOCKS];
	struct rtcp_packet p;
	uint8_t data[64];
	size_t at = 0,
	       len = hex(data, sizeof(data),
		       "82c9000d 00000001"
		       "0000000a 80fffffe 00010002 00000003 00000004 00000005"
		       "0000000b 00000100 00000000 00000000 00000000 00000000");

	(void)state;
	assert_int_equal(rtcp_next(data, len, &at, &p), 1);
	assert_int_equal(rtcp_report_blocks(&p, b), 2);
	assert_int_equal(b[0].ssrc, 10);
	assert_int_equal(b[0].fraction_lost, 0x80);
	assert_int_equal(b[0].lost, -2);
	assert_int_equal(b[0].highest_sequence, 0x10002);
	assert_int_equal(b[0].jitter, 3);
	assert_int_equal(b[0].last_sr, 4);
	assert_int_equal(b[0].delay_since_last_sr, 5);
	assert_int_equal(b[1].ssrc, 11);
	assert_int_equal(b[1].lost, 256);
}

static void reads_names_and_goodbyes(void **state)
{
	uint32_t sources[RTCP_MAX_BLOCKS];
	struct rtcp_packet p;
	uint8_t data[128];
	size_t at = 0, cname_len,
	       len = hex(data, sizeof(data),
		       /* two chunks, the second one's name behind a note */
		       "82ca0006 00000001 01026162 00000000"
		       "00000002 07017801 01630000"
		       /* two sources and a reason */
		       "82cb0003 00000001 00000002 02627900");
	const char *cname;
	uint32_t ssrc;

	(void)state;
	assert_int_equal(rtcp_check(data, len, &ssrc), TD_OK);
	assert_int_equal(rtcp_next(data, len, &at, &p), 1);
	assert_int_equal(rtcp_sdes_cname(&p, 1, &cname, &cname_len), TD_OK);
	assert_int_equal(cname_len, 2);
	assert_memory_equal(cname, "ab", 2);
	assert_int_equal(rtcp_sdes_cname(&p, 2, &cname, &cname_len), TD_OK);
	assert_int_equal(cname_len, 1);
	assert_memory_equal(cname, "c", 1);
	assert_int_equal(rtcp_next(data, len, &at, &p), 1);
	assert_int_equal(rtcp_bye_sources(&p, sources), 2);
	assert_int_equal(sources[0], 1);
	assert_int_equal(sources[1], 2);
	assert_int_equal(rtcp_sdes_cname(&p, 1, &cname, &cname_len), TD_ERR_MALFORMED);
}

static void checks_every_part(void **state)
{
	static const struct {
		const char *name, *bytes;
		int want;
	} cases[] = {
		{ "nothing", "", TD_ERR_MALFORMED },
		{ "empty RR", "80c90001 00000001", TD_OK },
		{ "RR without a sender", "80c90000", TD_ERR_MALFORMED },
		{ "a block that is not there", "81c90001 00000001", TD_ERR_MALFORMED },
		{ "SR cut", "80c80005 00000001 0000000000000000 00000000 00000000",
			TD_ERR_MALFORMED },
		{ "length past the end", "80c90002 00000001", TD_ERR_MALFORMED },
		{ "bytes behind the last one", "80c90001 00000001 80", TD_ERR_MALFORMED },
		{ "version 1", "40c90001 00000001", TD_ERR_MALFORMED },
		{ "version of the second", "80c90001 00000001 00c90001 00000001",
			TD_ERR_MALFORMED },
		{ "padding at the end", "a0c90002 00000001 00000004", TD_OK },
		{ "padding in the middle", "a0c90002 00000001 00000004 80c90001 00000001",
			TD_ERR_MALFORMED },
		{ "padding of zero", "a0c90002 00000001 00000000", TD_ERR_MALFORMED },
		{ "padding of three", "a0c90002 00000001 00000003", TD_ERR_MALFORMED },
		{ "padding longer than the packet", "a0c90002 00000001 0000000c",
			TD_ERR_MALFORMED },
		{ "padding that eats the sender", "a0c90001 00000004", TD_ERR_MALFORMED },
		{ "padding of nothing", "a0c90000", TD_ERR_MALFORMED },
		{ "SDES first", "81ca0002 00000001 01000000", TD_OK },
		{ "SDES item past the end", "81ca0002 00000001 01ff0000", TD_ERR_MALFORMED },
		{ "SDES without its end", "81ca0002 00000001 01026162", TD_ERR_MALFORMED },
		{ "SDES of two chunks with one", "82ca0002 00000001 00000000", TD_ERR_MALFORMED },
		{ "SDES of none", "80ca0000", TD_OK },
		{ "BYE of none", "80cb0000", TD_OK },
		{ "BYE cut", "82cb0001 00000001", TD_ERR_MALFORMED },
		{ "BYE reason past the end", "81cb0002 00000001 04616263", TD_ERR_MALFORMED },
		{ "APP", "80cc0002 00000001 6e616d65", TD_OK },
		{ "APP without a name", "80cc0001 00000001", TD_ERR_MALFORMED },
		{ "feedback", "81cd0002 00000001 00000002", TD_OK },
		{ "feedback without a source", "81ce0001 00000001", TD_ERR_MALFORMED },
		{ "something of tomorrow", "80d30000", TD_OK },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t bytes[64], *data;
		size_t len = hex(bytes, sizeof(bytes), cases[i].bytes);
		uint32_t ssrc = 77;

		print_message("%s\n", cases[i].name);
		data = malloc(len + 1);
		memcpy(data, bytes, len);
		assert_int_equal(rtcp_check(data, len, &ssrc), cases[i].want);
		if (cases[i].want != TD_OK)
			assert_int_equal(ssrc, 77);
		free(data);
	}
}

static void refuses_every_cut_of_a_real_one(void **state)
{
	uint8_t bytes[64], *data;
	size_t n, len = hex(bytes, sizeof(bytes), REAL);
	uint32_t ssrc;

	(void)state;
	for (n = 0; n < len; n++) {
		data = malloc(n + 1);
		memcpy(data, bytes, n);
		/* The SR alone is a whole compound. */
		assert_int_equal(rtcp_check(data, n, &ssrc), n == 28 ? TD_OK : TD_ERR_MALFORMED);
		free(data);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_real_compound),
		cmocka_unit_test(reads_report_blocks),
		cmocka_unit_test(reads_names_and_goodbyes),
		cmocka_unit_test(checks_every_part),
		cmocka_unit_test(refuses_every_cut_of_a_real_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
