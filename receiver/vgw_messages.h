/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_VGW_MESSAGES_H
#define TD_RECEIVER_VGW_MESSAGES_H

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/transport.h"
#include "receiver/connection_info.h"

/*
 * The voice gateway's messages (voice-gateway.md section 3): the d of what the server says, read
 * into structs, and what we say, written as text. No state. Readers return 0 or TD_ERR_MALFORMED
 * and write on success only.
 */
enum vgw_op {
	VGW_OP_IDENTIFY = 0,
	VGW_OP_SELECT = 1,
	VGW_OP_READY = 2,
	VGW_OP_HEARTBEAT = 3,
	VGW_OP_DESCRIPTION = 4,
	VGW_OP_SPEAKING = 5,
	VGW_OP_ACK = 6,
	VGW_OP_RESUME = 7,
	VGW_OP_HELLO = 8,
	VGW_OP_RESUMED = 9,
	VGW_OP_CLIENTS_CONNECT = 11,
	VGW_OP_VIDEO = 12,
	VGW_OP_CLIENT_DISCONNECT = 13,
	VGW_OP_DAVE_PREPARE_TRANSITION = 21,
	VGW_OP_DAVE_EXECUTE_TRANSITION = 22,
	VGW_OP_DAVE_TRANSITION_READY = 23,
	VGW_OP_DAVE_PREPARE_EPOCH = 24,
	VGW_OP_DAVE_EXTERNAL_SENDER = 25,
	VGW_OP_DAVE_KEY_PACKAGE = 26,
	VGW_OP_DAVE_PROPOSALS = 27,
	VGW_OP_DAVE_COMMIT_WELCOME = 28,
	VGW_OP_DAVE_ANNOUNCE_COMMIT = 29,
	VGW_OP_DAVE_WELCOME = 30,
	VGW_OP_DAVE_INVALID_COMMIT_WELCOME = 31,
};

struct vgw_hello {
	uint64_t interval_ns; /* within sane bounds; the customary one when it was senseless */
	bool sensible;        /* the interval is the server's */
	bool version_8;       /* the server says 8, or says nothing */
};
struct vgw_ready {
	uint32_t ssrc;
	char ip[INET6_ADDRSTRLEN];
	uint16_t port;
	bool modes[TRANSPORT_MODES]; /* those of ours it lists */
};
struct vgw_description {
	enum transport_mode mode;
	uint8_t key[TRANSPORT_KEY_LEN]; /* the caller wipes it */
	unsigned dave_version;
};
struct vgw_speaker {
	uint64_t user_id;
	uint32_t ssrc; /* 0: none (opcode 12 only) */
};

void vgw_read_hello(struct vgw_hello *ret, const json_t *d);
int vgw_read_ready(struct vgw_ready *ret, const json_t *d);
/* Overwrites the key in d. */
int vgw_read_description(struct vgw_description *ret, json_t *d);
int vgw_read_speaking(struct vgw_speaker *ret, const json_t *d);
int vgw_read_video(struct vgw_speaker *ret, const json_t *d);

/* No message but a DAVE one is longer: every character of token and session id escaped. */
enum { VGW_TEXT_MAX = 6 * (CONNECTION_TOKEN_MAX + CONNECTION_SESSION_MAX) + 512 };

/* seq: the last sequence number seen, -1 for none. */
void vgw_write_identify(struct wr *w, const struct connection_info *info, unsigned max_dave);
void vgw_write_resume(struct wr *w, const struct connection_info *info, int64_t seq);
void vgw_write_select(struct wr *w, const char *address, uint16_t port, enum transport_mode mode);
void vgw_write_heartbeat(struct wr *w, uint64_t nonce, int64_t seq);
void vgw_write_speaking(struct wr *w, uint32_t ssrc);
/* d: len bytes of JSON; adds at most 32 bytes to them. */
void vgw_write_dave(struct wr *w, uint8_t opcode, const uint8_t *d, size_t len);

#endif
