/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "receiver/link_layer.h"

/* IPv4, 20-byte header, UDP, 192.0.2.1:4660 to 192.0.2.2:22136, payload "hi". */
#define IP4                                                                                        \
	0x45, 0, 0, 30, 0, 1, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 0x56, \
		0x78, 0, 10, 0, 0, 'h', 'i'
/* The same with 4 bytes of options, over IPv6, as a fragment, as TCP. */
#define IP4_OPTIONS                                                                                \
	0x46, 0, 0, 34, 0, 1, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 1, 1, 1, 0, 0x12, \
		0x34, 0x56, 0x78, 0, 10, 0, 0, 'h', 'i'
#define IP6                                                                                        \
	0x60, 0, 0, 0, 0, 10, 17, 64, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,      \
		0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x12, 0x34, 0x56, 0x78, 0, \
		10, 0, 0, 'h', 'i'
#define IP4_FRAGMENT                                                                               \
	0x45, 0, 0, 30, 0, 1, 0x20, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 0x56, \
		0x78, 0, 10, 0, 0, 'h', 'i'
#define IP4_TCP                                                                                   \
	0x45, 0, 0, 30, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 0x56, \
		0x78, 0, 10, 0, 0, 'h', 'i'
#define MACS 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12

struct frame_case {
	const char *name;
	int link_type, want;
	uint8_t family;
	size_t len;
	uint8_t bytes[96];
};
#define CASE(name, link_type, want, family, ...)                                   \
	{                                                                          \
		name, link_type, want, family, sizeof((uint8_t[]){ __VA_ARGS__ }), \
		{                                                                  \
			__VA_ARGS__                                                \
		}                                                                  \
	}

static const struct frame_case cases[] = {
	CASE("ethernet", 1, TD_OK, 4, MACS, 8, 0, IP4),
	CASE("ethernet with padding behind", 1, TD_OK, 4, MACS, 8, 0, IP4, 0, 0, 0, 0, 0, 0),
	CASE("ethernet, IPv6", 1, TD_OK, 6, MACS, 0x86, 0xdd, IP6),
	CASE("one VLAN tag", 1, TD_OK, 4, MACS, 0x81, 0, 0, 7, 8, 0, IP4),
	CASE("two VLAN tags", 1, TD_OK, 4, MACS, 0x88, 0xa8, 0, 1, 0x81, 0, 0, 7, 8, 0, IP4),
	CASE("IP options", 1, TD_OK, 4, MACS, 8, 0, IP4_OPTIONS),
	CASE("raw IP", 101, TD_OK, 4, IP4),
	CASE("raw IP, BSD's number", 12, TD_OK, 4, IP4),
	CASE("raw IPv6", 229, TD_OK, 6, IP6),
	CASE("raw IP holding IPv6", 101, TD_OK, 6, IP6),
	CASE("cooked v1", 113, TD_OK, 4, 0, 0, 3, 4, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, IP4),
	CASE("cooked v2", 276, TD_OK, 4, 8, 0, 0, 0, 0, 0, 0, 1, 3, 4, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0,
		IP4),
	CASE("loopback, little endian family", 0, TD_OK, 4, 2, 0, 0, 0, IP4),
	CASE("loopback, big endian family", 108, TD_OK, 6, 0, 0, 0, 30, IP6),
	CASE("ARP", 1, TD_ERR_UNSUPPORTED, 0, MACS, 8, 6, IP4),
	CASE("TCP", 1, TD_ERR_UNSUPPORTED, 0, MACS, 8, 0, IP4_TCP),
	CASE("a fragment", 1, TD_ERR_UNSUPPORTED, 0, MACS, 8, 0, IP4_FRAGMENT),
	CASE("tags without end", 1, TD_ERR_UNSUPPORTED, 0, MACS, 0x81, 0, 0, 1, 0x81, 0, 0, 1, 0x81,
		0, 0, 1, 0x81, 0, 0, 1, 0x81, 0, 0, 1, 8, 0, IP4),
	CASE("unknown link type", 147, TD_ERR_UNSUPPORTED, 0, IP4),
	CASE("IP header of 16 bytes", 101, TD_ERR_MALFORMED, 0, 0x44, 0, 0, 30, 0, 1, 0x40, 0, 64,
		17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2, 0, 8, 0, 0),
	CASE("UDP length of 7", 101, TD_ERR_MALFORMED, 0, 0x45, 0, 0, 28, 0, 1, 0x40, 0, 64, 17, 0,
		0, 192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2, 0, 7, 0, 0),
};

static void frames_give_their_datagram(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct link_datagram d = { .len = 77 };
		int r = link_udp(&d, cases[i].link_type, cases[i].bytes, cases[i].len);

		if (r != cases[i].want)
			fail_msg("%s: %d", cases[i].name, r);
		if (r != TD_OK) {
			assert_int_equal(d.len, 77); /* left alone */
			continue;
		}
		assert_int_equal(d.source.family, cases[i].family);
		assert_int_equal(d.source.port, 0x1234);
		assert_int_equal(d.destination.port, 0x5678);
		assert_int_equal(d.len, 2);
		assert_memory_equal(d.data, "hi", 2);
		assert_int_equal(d.source.ip[cases[i].family == 4 ? 3 : 15], 1);
	}
}

/* A capture may have cut the frame anywhere. */
static void every_shorter_frame_is_refused(void **state)
{
	struct link_datagram d;
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (cases[i].want != TD_OK || strstr(cases[i].name, "padding") != NULL)
			continue;
		for (len = 0; len < cases[i].len; len++) {
			/* A block of its own, so that a sanitizer sees a read behind it. */
			uint8_t copy[96];

			memcpy(copy + sizeof(copy) - len, cases[i].bytes, len);
			assert_int_not_equal(link_udp(&d, cases[i].link_type,
						     copy + sizeof(copy) - len, len),
				TD_OK);
		}
	}
}

static void addresses_compare_whole(void **state)
{
	struct link_address a = { .family = 4, .ip = { 192, 0, 2, 1 }, .port = 7 }, b = a;

	(void)state;
	assert_true(link_address_equal(&a, &b));
	b.port = 8;
	assert_false(link_address_equal(&a, &b));
	b = a;
	b.ip[3] = 2;
	assert_false(link_address_equal(&a, &b));
	b = a;
	b.family = 6;
	assert_false(link_address_equal(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_give_their_datagram),
		cmocka_unit_test(every_shorter_frame_is_refused),
		cmocka_unit_test(addresses_compare_whole),
	};

	return cmocka_run_group_tests_name("link_layer", tests, NULL, NULL);
}
