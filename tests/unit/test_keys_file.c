/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/err.h"
#include "receiver/keys_file.h"

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define IDS "\"guild_id\":\"1\",\"channel_id\":\"2\",\"user_id\":\"3\""
#define MODE "\"mode\":\"aead_aes256_gcm_rtpsize\",\"secret_key\":\"" KEY "\""
#define NOBODY "\"speakers\":[]"

static int parse(struct keys_file **ret, const char *text, char *err, size_t err_len)
{
	return keys_file_parse(ret, text, strlen(text), err, err_len);
}

static void a_whole_file_is_read(void **state)
{
	static const char text[] =
		"{\"schema\":1," IDS "," MODE ",\"unknown\":[1,{}],"
		"\"server\":{\"ip\":\"192.0.2.7\",\"port\":50001},"
		"\"speakers\":[{\"ssrc\":9,\"user_id\":\"18446744073709551615\",\"from_us\":5000},"
		"{\"ssrc\":4294967295,\"user_id\":\"8\"},"
		"{\"ssrc\":10,\"user_id\":\"7\",\"from_us\":5000},"
		"{\"left\":true,\"user_id\":\"7\",\"from_us\":6000},"
		"{\"left\":false,\"ssrc\":11,\"user_id\":\"7\",\"from_us\":7000}]}";
	struct keys_file *k;
	char err[128];
	int i;

	(void)state;
	assert_int_equal(parse(&k, text, err, sizeof(err)), TD_OK);
	assert_int_equal(k->guild_id, 1);
	assert_int_equal(k->channel_id, 2);
	assert_int_equal(k->user_id, 3);
	assert_int_equal(k->mode, TRANSPORT_AES256_GCM);
	for (i = 0; i < TRANSPORT_KEY_LEN; i++)
		assert_int_equal(k->secret_key[i], i);
	assert_true(k->has_server);
	assert_int_equal(k->server.family, 4);
	assert_int_equal(k->server.ip[3], 7);
	assert_int_equal(k->server.port, 50001);
	/* by time; equal times as given */
	assert_int_equal(k->speaker_count, 5);
	assert_int_equal(k->speakers[0].ssrc, 4294967295u);
	assert_int_equal(k->speakers[0].from_ns, 0);
	assert_int_equal(k->speakers[1].ssrc, 9);
	assert_int_equal(k->speakers[1].from_ns, 5000000);
	assert_true(k->speakers[1].user_id == UINT64_MAX);
	assert_int_equal(k->speakers[2].ssrc, 10);
	assert_false(k->speakers[2].left);
	assert_true(k->speakers[3].left);
	assert_int_equal(k->speakers[3].user_id, 7);
	assert_int_equal(k->speakers[3].from_ns, 6000000);
	assert_false(k->speakers[4].left);
	assert_int_equal(k->speakers[4].ssrc, 11);
	keys_file_free(k);
}

static void modes_have_their_keys(void **state)
{
	struct keys_file *k;
	char err[128];

	(void)state;
	assert_int_equal(parse(&k, "{\"schema\":1," IDS ",\"mode\":\"none\"," NOBODY "}", err,
				 sizeof(err)),
		TD_OK);
	assert_int_equal(k->mode, TRANSPORT_NONE);
	assert_false(k->has_server);
	keys_file_free(k);
	assert_int_equal(parse(&k,
				 "{\"schema\":1," IDS
				 ",\"mode\":\"aead_xchacha20_poly1305_rtpsize\","
				 "\"secret_key\":\"" KEY "\"," NOBODY "}",
				 err, sizeof(err)),
		TD_OK);
	assert_int_equal(k->mode, TRANSPORT_XCHACHA20);
	keys_file_free(k);
}

static void keys_of_encryption_are_read(void **state)
{
	static const char text[] = "{\"schema\":1," IDS "," MODE "," NOBODY ",\"dave\":["
				   "{\"from_us\":7,\"protocol_version\":0,\"epoch\":2},"
				   "{\"protocol_version\":1,\"epoch\":1,\"senders\":[{\"user_id\":"
				   "\"5\",\"secret\":\"000102030405060708090a0b0c0d0e0f\"}]}]}";
	struct keys_file *k;
	char err[128];
	int i;

	(void)state;
	assert_int_equal(parse(&k, text, err, sizeof(err)), TD_OK);
	assert_int_equal(k->dave_count, 2);
	assert_int_equal(k->dave[0].from_ns, 0);
	assert_int_equal(k->dave[0].epoch, 1);
	assert_int_equal(k->dave[0].protocol_version, 1);
	assert_int_equal(k->dave[0].sender_count, 1);
	assert_int_equal(k->dave[0].senders[0].user_id, 5);
	for (i = 0; i < DAVE_SECRET_LEN; i++)
		assert_int_equal(k->dave[0].senders[0].secret[i], i);
	assert_int_equal(k->dave[1].from_ns, 7000);
	assert_int_equal(k->dave[1].protocol_version, 0);
	assert_int_equal(k->dave[1].sender_count, 0);
	keys_file_free(k);
}

static void bad_files_are_refused_by_name(void **state)
{
	static const struct {
		const char *text, *names;
	} cases[] = {
		{ "", "not JSON" },
		{ "[", "not JSON" },
		{ "[]", "not a JSON object" },
		{ "{}", "schema: missing" },
		{ "{\"schema\":2," IDS "," MODE "," NOBODY "}", "schema" },
		{ "{\"schema\":1,\"channel_id\":\"2\",\"user_id\":\"3\"," MODE "," NOBODY "}",
			"guild_id: missing" },
		{ "{\"schema\":1,\"guild_id\":\"1\",\"user_id\":\"3\"," MODE "," NOBODY "}",
			"channel_id: missing" },
		{ "{\"schema\":1,\"guild_id\":\"1\",\"channel_id\":\"2\"," MODE "," NOBODY "}",
			"user_id: missing" },
		{ "{\"schema\":1,\"guild_id\":\"0x1\",\"channel_id\":\"2\"}", "guild_id: not" },
		{ "{\"schema\":1," IDS "," NOBODY "}", "mode: missing" },
		{ "{\"schema\":1," IDS ",\"mode\":\"xsalsa20_poly1305\"," NOBODY "}", "mode" },
		{ "{\"schema\":1," IDS ",\"mode\":\"aead_aes256_gcm_rtpsize\"," NOBODY "}",
			"secret_key: missing" },
		{ "{\"schema\":1," IDS ",\"mode\":\"aead_aes256_gcm_rtpsize\","
		  "\"secret_key\":\"0011\"," NOBODY "}",
			"secret_key" },
		{ "{\"schema\":1," IDS ",\"mode\":\"aead_aes256_gcm_rtpsize\","
		  "\"secret_key\":\"g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d"
		  "1e1f\"," NOBODY "}",
			"secret_key" },
		{ "{\"schema\":1," IDS "," MODE ",\"server\":{\"port\":1}," NOBODY "}",
			"server.ip" },
		{ "{\"schema\":1," IDS "," MODE ",\"server\":{\"ip\":\"a.b\",\"port\":1}," NOBODY
		  "}",
			"server.ip" },
		{ "{\"schema\":1," IDS "," MODE
		  ",\"server\":{\"ip\":\"1.2.3.4\",\"port\":65536}," NOBODY "}",
			"server.port" },
		{ "{\"schema\":1," IDS "," MODE "}", "speakers: missing" },
		{ "{\"schema\":1," IDS "," MODE ",\"speakers\":{}}", "speakers" },
		{ "{\"schema\":1," IDS "," MODE ",\"speakers\":[7]}", "speakers" },
		{ "{\"schema\":1," IDS "," MODE ",\"speakers\":[{\"ssrc\":-1,\"user_id\":\"1\"}]}",
			"speakers.ssrc" },
		{ "{\"schema\":1," IDS "," MODE ",\"speakers\":[{\"ssrc\":1}]}",
			"speakers.user_id" },
		{ "{\"schema\":1," IDS "," MODE
		  ",\"speakers\":[{\"ssrc\":1,\"user_id\":\"1\",\"from_us\":-1}]}",
			"speakers.from_us" },
		{ "{\"schema\":1," IDS "," MODE "," NOBODY ",\"dave\":{}}", "dave" },
		{ "{\"schema\":1," IDS "," MODE "," NOBODY ",\"dave\":[1]}", "dave" },
		{ "{\"schema\":1," IDS "," MODE "," NOBODY ",\"dave\":[{}]}",
			"dave.protocol_version" },
		{ "{\"schema\":1," IDS "," MODE "," NOBODY ",\"dave\":[{\"protocol_version\":2}]}",
			"dave.protocol_version" },
		{ "{\"schema\":1," IDS "," MODE "," NOBODY
		  ",\"dave\":[{\"protocol_version\":1,\"from_us\":-1}]}",
			"dave.from_us" },
		{ "{\"schema\":1," IDS "," MODE "," NOBODY
		  ",\"dave\":[{\"protocol_version\":1,\"senders\":{}}]}",
			"dave.senders" },
		{ "{\"schema\":1," IDS "," MODE "," NOBODY
		  ",\"dave\":[{\"protocol_version\":1,\"senders\":[{\"user_id\":\"5\","
		  "\"secret\":\"00\"}]}]}",
			"dave.senders.secret" },
		{ "{\"schema\":1," IDS "," MODE "," NOBODY
		  ",\"dave\":[{\"protocol_version\":1,\"senders\":[{\"secret\":"
		  "\"000102030405060708090a0b0c0d0e0f\"}]}]}",
			"dave.senders.user_id" },
	};
	struct keys_file *k = NULL;
	char err[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(&k, cases[i].text, err, sizeof(err)), TD_ERR_USAGE);
		assert_null(k);
		if (strstr(err, cases[i].names) == NULL)
			fail_msg("case %zu: \"%s\" does not name \"%s\"", i, err, cases[i].names);
		assert_null(strstr(err, "0102"));
	}
}

static int start(void **state)
{
	(void)state;
	return sodium_init() < 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_file_is_read),
		cmocka_unit_test(modes_have_their_keys),
		cmocka_unit_test(keys_of_encryption_are_read),
		cmocka_unit_test(bad_files_are_refused_by_name),
	};

	return cmocka_run_group_tests_name("keys_file", tests, start, NULL);
}
