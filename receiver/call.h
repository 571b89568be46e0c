/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_CALL_H
#define TD_RECEIVER_CALL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "receiver/control.h"
#include "receiver/recorder.h"
#include "receiver/voice_gateway.h"
#include "receiver/ws.h"

/*
 * One guild's voice connection while it is recorded: drives the gateway engine over its WebSocket
 * and UDP sockets, hands keys, speakers and packets to the guild's lane, and keeps the recording's
 * state. Network thread.
 */
struct call;

struct call_conf {
	uv_loop_t *loop;
	struct recorder *recorder;
	struct ws_context *ws;
	struct udp_reader *udp;
	struct events *events;
	struct dave_identity *identity;
	uint64_t rejoin_timeout_ns; /* 0: there is nobody to ask for new connection info */
	/* The connection and its last session of files are over; call_free() it from here. */
	void (*ended)(void *user, struct call *call, enum vgw_verdict verdict);
	void *user;
};

/* Starts connecting once info is whole: at once, or when the dispatches have brought session id,
 * token and endpoint (until then those members are empty). TD_ERR_NOMEM. */
int call_new(struct call **ret, const struct call_conf *conf, const struct connection_info *info);
/* After `ended`, or when the process ends. */
void call_free(struct call *c);

uint64_t call_guild(const struct call *c);
uint64_t call_conn(const struct call *c); /* its connection in the recorder */
bool call_ending(const struct call *c);

/* New connection info of the same guild and user, asked for or not. */
void call_new_info(struct call *c, const struct connection_info *info);
/* The main gateway's dispatches (CONTROL_VOICE_STATE, CONTROL_VOICE_SERVER) of this guild. */
void call_dispatch(struct call *c, const struct control *control);
/* Carries out a command, or says in an error event why not. */
void call_command(struct call *c, enum control_command command, const char *text);
/* Finishes the files, then the connection: the disk is nearly full. */
void call_disk_full(struct call *c);
/* Finishes files and connection. */
void call_stop(struct call *c, const char *reason);

/* From the recorder. */
void call_session_opened(struct call *c, int r);
void call_session_closed(struct call *c);
void call_broken(struct call *c);                    /* its unpacker is no more */
void call_failing(struct call *c, uint64_t user_id); /* their frames do not open */

#endif
