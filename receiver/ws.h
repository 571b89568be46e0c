/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_WS_H
#define TD_RECEIVER_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/*
 * WebSocket connections (libwebsockets on the libuv loop): whole messages in and out, TLS with
 * certificate and host name verified. Network thread.
 */
struct ws_context;
struct ws;

/* ca_file: roots in PEM to trust beside the system's, or NULL. TD_ERR_USAGE: the file cannot be
 * read as certificates (reason in err); TD_ERR_SYS. */
int ws_context_new(struct ws_context **ret, uv_loop_t *loop, const char *ca_file, char *err,
	size_t err_len);
/* Ends every connection. Then the loop has to run until its handles are closed, then comes
 * ws_context_free(). NULL is fine for both. */
void ws_context_end(struct ws_context *ctx);
void ws_context_free(struct ws_context *ctx);

struct ws_conf {
	const char *host; /* name or address, for connecting, SNI and verification; copied */
	uint16_t port;
	bool tls;
	void (*opened)(void *user);
	/* A whole message, at most WS_MAX_MESSAGE bytes, borrowed for the call. */
	void (*text)(void *user, const char *text, size_t len);
	void (*binary)(void *user, const uint8_t *data, size_t len);
	/* Closed by the other side or the network, or never opened; the object is gone with it.
	 * code: of the close frame or 0. fatal: the certificate was refused. */
	void (*closed)(void *user, uint16_t code, const char *reason, bool fatal);
	void *user;
};
enum { WS_MAX_MESSAGE = 1024 * 1024 };

/* Starts connecting to wss://host:port/?v=8. Outcomes come through the callbacks, never from inside
 * this call. TD_ERR_NOMEM. */
int ws_open(struct ws **ret, struct ws_context *ctx, const struct ws_conf *conf);
/* Queue a message; the bytes are copied and wiped once sent. */
int ws_send(struct ws *w, bool binary, const uint8_t *data, size_t len);
/* Closes with this code (0: drops the connection) after what is queued; no callback follows, the
 * object is gone for the caller. NULL is fine. */
void ws_close(struct ws *w, uint16_t code);

#endif
