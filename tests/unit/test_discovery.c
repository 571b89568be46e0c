/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "receiver/discovery.h"

enum { SSRC = 0x159 };

/* voice-gateway.md section 14.2 */
static void request_is_the_documented_one(void **state)
{
	static const uint8_t head[] = { 0, 1, 0, 70, 0, 0, 1, 0x59 };
	uint8_t out[DISCOVERY_LEN], zeros[DISCOVERY_LEN - sizeof(head)] = { 0 };

	(void)state;
	memset(out, 0xaa, sizeof(out));
	discovery_request(out, SSRC);
	assert_memory_equal(out, head, sizeof(head));
	assert_memory_equal(out + sizeof(head), zeros, sizeof(zeros));
}

static void answer(uint8_t out[static DISCOVERY_LEN], const char *address, size_t address_len)
{
	static const uint8_t head[] = { 0, 2, 0, 70, 0, 0, 1, 0x59 };

	memset(out, 0, DISCOVERY_LEN);
	memcpy(out, head, sizeof(head));
	memcpy(out + 8, address, address_len);
	out[72] = 0xc3;
	out[73] = 0x50;
}

static void answer_gives_address_and_port(void **state)
{
	char address[INET6_ADDRSTRLEN];
	uint8_t data[DISCOVERY_LEN];
	uint16_t port;

	(void)state;
	answer(data, "203.0.113.9", 11);
	assert_int_equal(discovery_response(address, &port, data, sizeof(data), SSRC), TD_OK);
	assert_string_equal(address, "203.0.113.9");
	assert_int_equal(port, 50000);
}

static void bad_answers_are_refused(void **state)
{
	static const struct {
		const char *what;
		size_t at;
		uint8_t value;
	} cases[] = {
		{ "a request", 1, 1 },
		{ "another length", 3, 71 },
		{ "another SSRC", 7, 0x58 },
		{ "not an address", 8, 'x' },
		{ "an empty address", 8, 0 },
	};
	char address[INET6_ADDRSTRLEN];
	uint8_t data[DISCOVERY_LEN + 1];
	uint16_t port;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		answer(data, "203.0.113.9", 11);
		data[cases[i].at] = cases[i].value;
		if (discovery_response(address, &port, data, DISCOVERY_LEN, SSRC) == TD_OK)
			fail_msg("accepted: %s", cases[i].what);
	}
	answer(data, "203.0.113.9", 11);
	for (i = 0; i <= sizeof(data); i++) {
		int r = discovery_response(address, &port, data, i, SSRC);

		assert_int_equal(r == TD_OK, i == DISCOVERY_LEN);
	}
	/* 64 bytes without a NUL */
	memset(data + 8, '1', 64);
	assert_int_not_equal(discovery_response(address, &port, data, DISCOVERY_LEN, SSRC), TD_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_is_the_documented_one),
		cmocka_unit_test(answer_gives_address_and_port),
		cmocka_unit_test(bad_answers_are_refused),
	};

	return cmocka_run_group_tests_name("discovery", tests, NULL, NULL);
}
