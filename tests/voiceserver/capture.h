/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_CAPTURE_H
#define TD_TESTS_VOICESERVER_CAPTURE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "common/transport.h"

/*
 * The datagrams that go to one recorder, as a capture file, and the keys file that a replay of it
 * needs. The keys file knows one key: a capture ends where the key changes.
 */
struct capture;

/* Either path may be NULL. TD_ERR_IO, TD_ERR_NOMEM. */
int capture_new(struct capture **ret, const char *pcap_path, const char *keys_path,
	uint64_t guild_id, uint64_t channel_id, uint64_t user_id);
/* How many datagrams there are in it. NULL is fine. */
size_t capture_count(const struct capture *c);
/* Writes the keys file, frees. NULL is fine. TD_ERR_IO, TD_ERR_NOMEM. */
int capture_close(struct capture *c);

/* The key of what follows. A second call ends the capture. */
void capture_key(struct capture *c, enum transport_mode mode,
	const uint8_t key[static TRANSPORT_KEY_LEN], uint16_t server_port);
void capture_datagram(struct capture *c, uint64_t utc_ns, const uint8_t *data, size_t len);
/* The recorder has these keys of end-to-end encryption from utc_ns on; steals senders. */
void capture_dave(struct capture *c, uint64_t utc_ns, unsigned version, uint64_t epoch,
	json_t *senders);
/* The recorder is told at utc_ns whose ssrc this is. */
void capture_speaker(struct capture *c, uint64_t utc_ns, uint32_t ssrc, uint64_t user_id);
/* The recorder is told at utc_ns that this user has left. */
void capture_left(struct capture *c, uint64_t utc_ns, uint64_t user_id);

#endif
