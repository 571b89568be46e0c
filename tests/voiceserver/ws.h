/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_WS_H
#define TD_TESTS_VOICESERVER_WS_H

#include <uv.h>

#include "tests/voiceserver/certs.h"
#include "tests/voiceserver/server.h"

/* WebSocket listeners on 127.0.0.1: every connection is a struct gw of the server. */
struct ws;

/* Around every input to the server. */
struct ws_hooks {
	void *user;
	void (*enter)(void *user); /* brings the server's time up to date */
	void (*leave)(void *user); /* the server may have something to do at once */
};

/* Listens on SERVER_ENDPOINTS ports of the system's choice and names them in s->endpoints. certs
 * NULL: without TLS. TD_ERR_SYS, TD_ERR_NOMEM. *ret may be set on failure too; either way stop it,
 * let the loop run to its end, free it. NULL is fine for both. */
int ws_new(struct ws **ret, uv_loop_t *loop, struct server *s, const struct certs *certs,
	const struct ws_hooks *hooks);
void ws_stop(struct ws *w);
void ws_free(struct ws *w);

#endif
