/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/transport.h"
#include "tests/unit/hex.h"

/* voice-gateway.md sections 14.1 and 14.3. The AAD is `aad_len` bytes of the packet. */
static const struct vector {
	const char *name;
	enum transport_mode mode;
	const char *key; /* NULL: 00 01 02 ... 1f */
	const char *packet;
	size_t aad_len;
	const char *plain;
	uint32_t nonce; /* as it is sealed */
} vectors[] = {
	{ "gcm ext-header", TRANSPORT_AES256_GCM, NULL,
		"90780102000003c00000002abede0001 4f627e810282984732"
		"b9d3deb142f761fba772904f929bb1e8 00000007",
		16, "1085aa00 78aabbccdd", 7 },
	{ "xchacha ext-header", TRANSPORT_XCHACHA20, NULL,
		"90780102000003c00000002abede0001 a632f737006812870a"
		"d37fb9462de79028db64d4adaeb41873 00000007",
		16, "1085aa00 78aabbccdd", 7 },
	{ "gcm padding", TRANSPORT_AES256_GCM, NULL,
		"b0780102000003c00000002abede0001 4f627e810282984732d294c505"
		"4060d3309fd8912d71095b307246608d 00000007",
		16, "1085aa00 78aabbccdd 00000004", 7 },
	{ "xchacha padding", TRANSPORT_XCHACHA20, NULL,
		"b0780102000003c00000002abede0001 a632f737006812870a43455fc6"
		"ad7fc0ecb581420dedf9e0cd8a7de3f5 00000007",
		16, "1085aa00 78aabbccdd 00000004", 7 },
	{ "gcm plain header", TRANSPORT_AES256_GCM, NULL,
		"80780102000003c00000002a 274d6f4da7 1aba1cc234a58ea4c9f630e4e20bb729 00000007", 12,
		"78aabbccdd", 7 },
	{ "gcm real RTCP", TRANSPORT_AES256_GCM,
		"4405dfc5d83d86c231d3313a59cef41d6b780641acf007c9af841dc616b278a2",
		"80c800060005ec18 8af5b6fb63a15a19f519ab9b502e933c6ae101ae685f5e7f42b4fab783bb0eed"
		"a73e70e994cbaea0fdb0652f91a52d69 5a000080",
		8, "e957a59b69374bc60a5b61d000005b8e001e661b 81ca00020005ec1801000000",
		0x5a000080 },
};

struct bytes {
	uint8_t packet[256], plain[256];
	size_t packet_len, plain_len;
	struct transport *t;
};

static void vector_load(struct bytes *b, const struct vector *v)
{
	uint8_t key[TRANSPORT_KEY_LEN];
	size_t i;

	for (i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	if (v->key != NULL)
		assert_int_equal(hex(key, sizeof(key), v->key), sizeof(key));
	b->packet_len = hex(b->packet, sizeof(b->packet), v->packet);
	b->plain_len = hex(b->plain, sizeof(b->plain), v->plain);
	assert_int_equal(transport_new(&b->t, v->mode, key), TD_OK);
}

static void opens_and_seals_every_vector(void **state)
{
	uint8_t out[256];
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const struct vector *v = &vectors[i];
		struct bytes b;

		print_message("%s\n", v->name);
		vector_load(&b, v);
		assert_int_equal(transport_open(b.t, out, &len, b.packet, b.packet_len, v->aad_len),
			TD_OK);
		assert_int_equal(len, b.plain_len);
		assert_memory_equal(out, b.plain, len);
		len = transport_seal(b.t, out, b.packet, v->aad_len, b.plain, b.plain_len,
			v->nonce);
		assert_int_equal(len, b.packet_len);
		assert_memory_equal(out, b.packet, len);
		/* The kept context carries nothing over from packet to packet. */
		assert_int_equal(transport_open(b.t, out, &len, b.packet, b.packet_len, v->aad_len),
			TD_OK);
		assert_memory_equal(out, b.plain, len);
		transport_free(b.t);
	}
}

/* bad-tag: every bit of a packet counts, and nothing of a refused one is seen. */
static void refuses_every_changed_bit(void **state)
{
	uint8_t out[256], zeros[256] = { 0 };
	size_t i, bit;

	(void)state;
	for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const struct vector *v = &vectors[i];
		struct bytes b;

		vector_load(&b, v);
		for (bit = 0; bit < b.packet_len * 8; bit++) {
			size_t len = 12345;

			b.packet[bit / 8] ^= (uint8_t)(1u << bit % 8);
			memset(out, 0, sizeof(out));
			assert_int_equal(transport_open(b.t, out, &len, b.packet, b.packet_len,
						 v->aad_len),
				TD_ERR_AUTH);
			assert_int_equal(len, 12345);
			assert_memory_equal(out, zeros, sizeof(out));
			b.packet[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		transport_free(b.t);
	}
}

/* truncated: at every length, from a block of exactly that size. */
static void refuses_every_shorter_packet(void **state)
{
	uint8_t out[256];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const struct vector *v = &vectors[i];
		struct bytes b;

		vector_load(&b, v);
		for (n = 0; n < b.packet_len; n++) {
			size_t least = v->aad_len + TRANSPORT_TAG_LEN + TRANSPORT_NONCE_LEN, len;
			uint8_t *cut = malloc(n + 1);

			memcpy(cut, b.packet, n);
			assert_int_equal(transport_open(b.t, out, &len, cut, n, v->aad_len),
				n < least ? TD_ERR_TRUNCATED : TD_ERR_AUTH);
			free(cut);
		}
		transport_free(b.t);
	}
}

/* Whatever the length, and whichever code opens it. */
static void every_length(void **state)
{
	static const uint8_t key[TRANSPORT_KEY_LEN] = { 7 }, aad[16] = { 0x90, 0x78, 1, 2 };
	uint8_t plain[700], packet[800], out[700], zeros[700] = { 0 };
	int mode;

	(void)state;
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * 31 + 5);
	for (mode = TRANSPORT_AES256_GCM; mode < TRANSPORT_MODES; mode++) {
		struct transport *t;

		assert_int_equal(transport_new(&t, (enum transport_mode)mode, key), TD_OK);
		for (size_t len = 0; len <= sizeof(plain); len++) {
			size_t got = 12345,
			       n = transport_seal(t, packet, aad, sizeof(aad), plain, len,
				       (uint32_t)len);

			assert_int_equal(n, sizeof(aad) + len + 20);
			assert_int_equal(transport_open(t, out, &got, packet, n, sizeof(aad)),
				TD_OK);
			assert_int_equal(got, len);
			assert_memory_equal(out, plain, len);
			memset(out, 0, sizeof(out));
			packet[len % n] ^= 1;
			assert_int_equal(transport_open(t, out, &got, packet, n, sizeof(aad)),
				TD_ERR_AUTH);
			assert_memory_equal(out, zeros, sizeof(out));
		}
		transport_free(t);
	}
}

static void none_copies(void **state)
{
	static const uint8_t key[TRANSPORT_KEY_LEN], packet[] = "headerpayload";
	struct transport *t;
	uint8_t out[64];
	size_t len;

	(void)state;
	assert_int_equal(transport_new(&t, TRANSPORT_NONE, key), TD_OK);
	assert_int_equal(transport_open(t, out, &len, packet, 13, 6), TD_OK);
	assert_int_equal(len, 7);
	assert_memory_equal(out, "payload", 7);
	assert_int_equal(transport_open(t, out, &len, packet, 6, 6), TD_OK);
	assert_int_equal(len, 0);
	assert_int_equal(transport_open(t, out, &len, packet, 5, 6), TD_ERR_TRUNCATED);
	assert_int_equal(transport_seal(t, out, packet, 6, packet + 6, 7, 1), 13);
	assert_memory_equal(out, packet, 13);
	transport_free(t);
}

static void an_empty_plaintext_is_sealed_and_opened(void **state)
{
	static const uint8_t key[TRANSPORT_KEY_LEN], aad[12] = { 0x80, 0x78 };
	uint8_t packet[64], out[64];
	struct transport *t;
	int mode;

	(void)state;
	for (mode = TRANSPORT_AES256_GCM; mode < TRANSPORT_MODES; mode++) {
		size_t len = 1, n;

		assert_int_equal(transport_new(&t, (enum transport_mode)mode, key), TD_OK);
		n = transport_seal(t, packet, aad, sizeof(aad), NULL, 0, 9);
		assert_int_equal(n, 12 + 20);
		assert_int_equal(transport_open(t, out, &len, packet, n, 12), TD_OK);
		assert_int_equal(len, 0);
		transport_free(t);
	}
}

static void names_are_those_of_the_gateway(void **state)
{
	static const uint8_t key[TRANSPORT_KEY_LEN];
	enum transport_mode mode;
	struct transport *t = NULL;
	int i;

	(void)state;
	assert_string_equal(transport_mode_name(TRANSPORT_AES256_GCM), "aead_aes256_gcm_rtpsize");
	assert_string_equal(transport_mode_name(TRANSPORT_XCHACHA20),
		"aead_xchacha20_poly1305_rtpsize");
	for (i = 0; i < TRANSPORT_MODES; i++) {
		assert_int_equal(transport_mode_parse(&mode,
					 transport_mode_name((enum transport_mode)i)),
			TD_OK);
		assert_int_equal(mode, i);
	}
	assert_int_equal(transport_mode_parse(&mode, "xsalsa20_poly1305"), TD_ERR_UNSUPPORTED);
	assert_int_equal(transport_mode_parse(&mode, ""), TD_ERR_UNSUPPORTED);
	assert_int_equal(transport_new(&t, (enum transport_mode)7, key), TD_ERR_UNSUPPORTED);
	assert_null(t);
	transport_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_and_seals_every_vector),
		cmocka_unit_test(refuses_every_changed_bit),
		cmocka_unit_test(refuses_every_shorter_packet),
		cmocka_unit_test(every_length),
		cmocka_unit_test(none_copies),
		cmocka_unit_test(an_empty_plaintext_is_sealed_and_opened),
		cmocka_unit_test(names_are_those_of_the_gateway),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
