/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_PACKET_H
#define TD_TESTS_VOICESERVER_PACKET_H

#include "common/transport.h"
#include "tests/voiceserver/talk.h"

/* Datagrams as a voice server sends them (voice-gateway.md sections 8 to 10). */
enum { PACKET_MAX = 2048, PACKET_DISCOVERY_LEN = 74 };

/* The datagram that carries m, sealed with t (NULL: nothing is encrypted and no tag follows).
 * Returns its length. */
size_t packet_build(uint8_t out[static PACKET_MAX], struct transport *t, const struct media *m,
	uint32_t ssrc, uint32_t nonce);

/* True for an IP discovery request; *ret_ssrc is written then. */
bool packet_is_discovery(const uint8_t *data, size_t len, uint32_t *ret_ssrc);
void packet_discovery_answer(uint8_t out[static PACKET_DISCOVERY_LEN], uint32_t ssrc,
	const char *address, uint16_t port);

#endif
