/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_SERVER_H
#define TD_TESTS_VOICESERVER_SERVER_H

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/voiceserver/capture.h"
#include "tests/voiceserver/scenario.h"
#include "tests/voiceserver/truth.h"

/*
 * The voice server as an engine: messages, datagrams and time in, messages, datagrams and events
 * out. It knows no socket and no clock; live.c and offline.c drive it. One server holds one call
 * per guild (call.h), a call holds the voice sessions of its real clients (session.h), and each
 * WebSocket connection (gateway.h) is tied to a session once it has identified.
 */
struct call;
struct gw;
struct session;

struct server_io {
	void *user;
	/* A datagram to a client; borrowed for the call. */
	void (*datagram)(void *user, const struct sockaddr_in *to, const uint8_t *data, size_t len);
	/* Something a test may want to know; borrowed for the call. */
	void (*event)(void *user, json_t *event);
};

enum { SERVER_ENDPOINTS = 2, SERVER_ENDPOINT_LEN = 64 };

struct server {
	const struct scenario *sc;
	struct server_io io;
	uint64_t now_ns; /* of the input being worked on */
	int64_t utc_ns;  /* add to now_ns for wall time */
	bool offline;    /* nobody is connected: recorders just hear */
	uint16_t udp_port;
	char endpoints[SERVER_ENDPOINTS][SERVER_ENDPOINT_LEN];
	struct call **calls;
	size_t n_calls;
	struct gw *gws; /* all that are open */
	struct truth *truth;
};

/* Borrows sc. TD_ERR_NOMEM, TD_ERR_IO (clips). Free with server_free() after all gws. */
int server_new(struct server **ret, const struct scenario *sc, const struct server_io *io);
void server_free(struct server *s); /* NULL is fine */

/* A datagram from a client. */
void server_datagram(struct server *s, const struct sockaddr_in *from, const uint8_t *data,
	size_t len);

/* When server_run() has something to do; UINT64_MAX: never. */
uint64_t server_next_ns(const struct server *s);
/* Does everything that is due at s->now_ns. */
void server_run(struct server *s);
/* True once every call has come to its end. */
bool server_ended(const struct server *s);

/* Hands event to the driver and frees it. */
void server_event(struct server *s, json_t *event);

/* A session by the SSRC it was given; NULL: none. */
struct session *server_session_by_ssrc(const struct server *s, uint32_t ssrc);

#endif
