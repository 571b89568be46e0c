/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_GATEWAY_H
#define TD_TESTS_VOICESERVER_GATEWAY_H

#include "tests/voiceserver/server.h"

/*
 * The server side of one WebSocket connection of voice gateway v8 (voice-gateway.md sections 2 to
 * 7). Messages come in through gw_text() and gw_binary(); what is to be sent waits in a queue.
 */
enum gw_op {
	GW_IDENTIFY = 0,
	GW_SELECT_PROTOCOL = 1,
	GW_READY = 2,
	GW_HEARTBEAT = 3,
	GW_SESSION_DESCRIPTION = 4,
	GW_SPEAKING = 5,
	GW_HEARTBEAT_ACK = 6,
	GW_RESUME = 7,
	GW_HELLO = 8,
	GW_RESUMED = 9,
	GW_CLIENTS_CONNECT = 11,
	GW_VIDEO = 12,
	GW_CLIENT_DISCONNECT = 13,
	GW_SESSION_UPDATE = 14,
	GW_MEDIA_SINK_WANTS = 15,
	GW_VERSION = 16,
	GW_CLIENT_FLAGS = 18,
	GW_SPEED_TEST = 19,
	GW_PLATFORM = 20,
	GW_DAVE_TRANSITION_READY = 23,
	GW_DAVE_INVALID_COMMIT_WELCOME = 31,
	GW_NO_ROUTE = 32,
};

enum gw_close {
	GW_UNKNOWN_OP = 4001,
	GW_UNDECODABLE = 4002,
	GW_NOT_AUTHENTICATED = 4003,
	GW_AUTHENTICATION_FAILED = 4004,
	GW_ALREADY_AUTHENTICATED = 4005,
	GW_SESSION_INVALID = 4006,
	GW_SESSION_TIMEOUT = 4009,
	GW_SERVER_NOT_FOUND = 4011,
	GW_UNKNOWN_PROTOCOL = 4012,
	GW_DISCONNECTED = 4014,
	GW_UNKNOWN_MODE = 4016,
	GW_DAVE_REQUIRED = 4017,
	GW_BAD_REQUEST = 4020,
};

struct gw_msg {
	struct gw_msg *next;
	size_t len;
	bool binary;
	char text[]; /* with a NUL behind it */
};

struct gw {
	struct gw *next, *prev; /* of the server */
	struct server *server;
	struct session *session;  /* NULL before Identify or Resume, and after the session's end */
	void (*wake)(void *user); /* there is something to send, or to close */
	void *user;
	struct gw_msg *first, *last;
	unsigned close_code; /* close with it once the queue is empty; 0: stay open */
	const char *close_reason;
	bool cut;         /* reset the connection now */
	bool stalled;     /* nothing comes or goes any more, and nobody says so */
	unsigned unowned; /* messages before it was known whose they are */
	bool identified;
	unsigned fragment_size; /* send messages in pieces of this many bytes; 0: whole */
	uint64_t fragment_ns;   /* between pieces */
	uint64_t heard_ns;      /* the last heartbeat, or the start */
	uint64_t mute_until_ns; /* heartbeats are not answered before */
};

/* A new connection; Hello waits in its queue. TD_ERR_NOMEM. Free with gw_free(). */
int gw_new(struct gw **ret, struct server *s, void (*wake)(void *user), void *user);
/* The connection is gone. `code` of the client's close frame, 0: none. NULL is fine. */
void gw_free(struct gw *g, unsigned code);

/* A message of the client. */
void gw_text(struct gw *g, const char *text, size_t len);
void gw_binary(struct gw *g, const uint8_t *data, size_t len);
/* A client that has not sent a heartbeat for long is closed: when that is to be looked at. */
uint64_t gw_next_ns(const struct gw *g);
void gw_run(struct gw *g);

/* Queues a message, ends the connection. Neither calls back before it returns. */
void gw_send_text(struct gw *g, const char *text);
void gw_send_binary(struct gw *g, const void *data, size_t len);
void gw_close(struct gw *g, unsigned code, const char *reason);
void gw_cut(struct gw *g);
/* A whole message has gone out: what a scenario cuts may be cut behind it. */
void gw_sent(struct gw *g);
/* Takes the first message of the queue; NULL: none. Free with free(). */
struct gw_msg *gw_take(struct gw *g);

#endif
