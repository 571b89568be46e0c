/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_DISCOVERY_H
#define TD_RECEIVER_DISCOVERY_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

/* IP discovery datagrams (voice-gateway.md section 8.1). Pure. */
enum { DISCOVERY_LEN = 74 };

void discovery_request(uint8_t out[static DISCOVERY_LEN], uint32_t ssrc);

/* Our external address as text and port. TD_ERR_MALFORMED: not a good answer for this SSRC. */
int discovery_response(char address[static INET6_ADDRSTRLEN], uint16_t *ret_port,
	const uint8_t *data, size_t len, uint32_t ssrc);

#endif
