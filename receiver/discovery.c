/* SPDX-License-Identifier: ISC */
#include "receiver/discovery.h"

#include <arpa/inet.h>
#include <string.h>

#include "common/bytes.h"
#include "common/err.h"

enum { REQUEST = 1, RESPONSE = 2, BODY_LEN = 70, ADDRESS_LEN = 64 };

void discovery_request(uint8_t out[static DISCOVERY_LEN], uint32_t ssrc)
{
	struct wr w;

	wr_init(&w, out, DISCOVERY_LEN);
	wr_u16(&w, REQUEST);
	wr_u16(&w, BODY_LEN);
	wr_u32(&w, ssrc);
	wr_zeros(&w, ADDRESS_LEN + 2);
}

int discovery_response(char address[static INET6_ADDRSTRLEN], uint16_t *ret_port,
	const uint8_t *data, size_t len, uint32_t ssrc)
{
	uint8_t parsed[sizeof(struct in6_addr)];
	const uint8_t *text;
	uint16_t port;
	struct rd r;

	rd_init(&r, data, len);
	if (rd_u16(&r) != RESPONSE || rd_u16(&r) != BODY_LEN || rd_u32(&r) != ssrc)
		return TD_ERR_MALFORMED;
	text = rd_bytes(&r, ADDRESS_LEN);
	port = rd_u16(&r);
	if (!rd_done(&r) || memchr(text, '\0', INET6_ADDRSTRLEN) == NULL)
		return TD_ERR_MALFORMED;
	if (inet_pton(AF_INET, (const char *)text, parsed) != 1 &&
		inet_pton(AF_INET6, (const char *)text, parsed) != 1)
		return TD_ERR_MALFORMED;
	strcpy(address, (const char *)text);
	*ret_port = port;
	return TD_OK;
}
