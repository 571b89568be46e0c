/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_VOICE_GATEWAY_H
#define TD_RECEIVER_VOICE_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/transport.h"
#include "receiver/connection_info.h"

/*
 * Discord voice gateway v8, client side, for one guild, as an engine: messages and time in, actions
 * out. It knows no socket, clock or thread; whoever drives it carries out the actions in order
 * (receiver/call_gateway.c) or looks at them (tests, fuzzers). Protocol: voice-gateway.md sections
 * 2-7, 12, 13.
 *
 * After each vgw_* input call take all actions with vgw_next(), then ask vgw_deadline(). An input
 * that comes up while an action is carried out (it failed at once) may be made on the spot, as the
 * last thing done with that action: what follows from it comes behind the actions not taken yet.
 */
struct vgw;

/* A longer message, either way, is not one of this protocol. */
enum { VGW_MESSAGE_MAX = 1024 * 1024 };

enum vgw_action_type {
	/* WebSocket. One at a time: VGW_CONNECT comes only when the one before is closed. */
	VGW_CONNECT,     /* open wss://host:port/?v=8 (host, port, tls): then vgw_opened() or
	                    vgw_closed() */
	VGW_SEND_TEXT,   /* data, len */
	VGW_SEND_BINARY, /* data, len */
	VGW_DISCONNECT,  /* close with code (0: drop without a close frame), or stop connecting; no
	                    vgw_closed() for it, and nothing to wait for */
	/* UDP */
	VGW_UDP_OPEN,  /* open a socket to host:port, discover our address for ssrc:
	                  then vgw_discovered() or vgw_discovery_failed() */
	VGW_UDP_CLOSE, /* the socket of an ended session */
	/* media */
	VGW_SESSION_NEW, /* fresh Identify: keys, SSRCs and users known so far are dead */
	VGW_KEY,         /* mode, key, ssrc (our own): opens what comes from now on */
	VGW_MEDIA_READY, /* once per session, after its first VGW_KEY: send keepalives and silence
	                  */
	VGW_SPEAKER,     /* ssrc belongs to user_id */
	VGW_USER_JOINED, /* user_id is in the call */
	VGW_USER_LEFT,   /* user_id is not any more */
	/* life, for events */
	VGW_READY, /* identified, key received: recording may begin (each new session once) */
	VGW_RECONNECTING, /* text: why; attempt. VGW_CONNECT follows, now or after a pause */
	VGW_RESUMED,      /* the connection stands again, same session */
	VGW_NEED_INFO,    /* text: why; verdict: what this comes to without any. Waits for
	                     vgw_new_info(), or vgw_stop() when nobody has any */
	VGW_ENDED,        /* text: why; verdict. Last action ever */
	VGW_WARNING,      /* text */
	/* end-to-end encryption */
	VGW_DAVE,         /* opcode 21, 22, 24 (data: the JSON of d) or 25, 27, 29, 30 (data: the
	                     payload, possibly empty) */
	VGW_DAVE_VERSION, /* opcode 4 came: dave_version. Comes again with each VGW_KEY, also while
	                     a session is being resumed: the same version again is no news */
};

enum vgw_verdict {
	VGW_LEFT,    /* we left, as asked */
	VGW_REMOVED, /* disconnected by the other side for good: kicked, channel gone, call ended */
	VGW_INFO_NEEDED, /* can go on only with new connection info */
	VGW_REFUSED,     /* the server will not have us: authentication, version, protocol */
	VGW_UNREACHABLE, /* gave up connecting */
	VGW_FAILED,      /* nothing can be recorded here any more (said with vgw_stop() alone) */
};

struct vgw_action {
	enum vgw_action_type type;
	const char *host; /* NUL-terminated; UDP: an address as text */
	const char *text; /* one clear phrase without token and key */
	const uint8_t *data;
	size_t len;
	uint64_t user_id;
	uint32_t ssrc;
	uint16_t port;
	uint16_t code;
	uint8_t opcode;
	bool tls;
	unsigned attempt, dave_version;
	enum vgw_verdict verdict;
	enum transport_mode mode;
	const uint8_t *key; /* TRANSPORT_KEY_LEN bytes */
};

struct vgw_conf {
	const struct connection_info *info; /* copied to locked memory; borrowed for the call */
	/* Uniform random bytes; for jitter and the heartbeat nonce. */
	void (*random)(void *user, uint8_t *out, size_t len);
	void *user;
	uint64_t (*utc_ms)(void *user); /* wall time, for the heartbeat nonce alone; NULL: now_ns */
	unsigned max_dave_version;      /* said in Identify */
};

/* TD_ERR_NOMEM. Nothing happens before vgw_start(). Free with vgw_free(). */
int vgw_new(struct vgw **ret, const struct vgw_conf *conf);
void vgw_free(struct vgw *g); /* NULL is fine; wipes token and keys */

void vgw_start(struct vgw *g, uint64_t now_ns);
/* New connection info at any time, asked for or not: the old session is dead, a fresh Identify
 * follows (section 1.3). Same guild and user. What we have already is ignored unless we wait for
 * info: saying it twice does no harm. */
void vgw_new_info(struct vgw *g, const struct connection_info *info, uint64_t now_ns);
/* The voice server went away and another will be named (endpoint null): drops the connection and
 * waits as after VGW_NEED_INFO. */
void vgw_server_gone(struct vgw *g, uint64_t now_ns);
/* Ends the connection: closes with 1000, then VGW_ENDED with this verdict and text. */
void vgw_stop(struct vgw *g, enum vgw_verdict verdict, const char *text, uint64_t now_ns);

/* What the WebSocket of the last VGW_CONNECT does. Text and data are borrowed for the call. */
void vgw_opened(struct vgw *g, uint64_t now_ns);
void vgw_text(struct vgw *g, const char *text, size_t len, uint64_t now_ns);
void vgw_binary(struct vgw *g, const uint8_t *data, size_t len, uint64_t now_ns);
/* Closed or never opened. code: of the close frame, 0 when there was none. reason: for people, may
 * be NULL ("certificate verify failed"). fatal: trying again is pointless (wrong certificate). */
void vgw_closed(struct vgw *g, uint16_t code, const char *reason, bool fatal, uint64_t now_ns);

/* The outcome of VGW_UDP_OPEN: our external address (text) and port, or nothing after all tries. */
void vgw_discovered(struct vgw *g, const char *address, uint16_t port, uint64_t now_ns);
void vgw_discovery_failed(struct vgw *g, uint64_t now_ns);

/* What the end-to-end encryption engine has to say: opcodes 23 and 31 (JSON of d), 26 and 28
 * (payload). Called between two vgw_next() the answer to an action comes right behind it, in
 * front of the actions not taken yet: a key package is the first thing said after opcode 4. While a
 * session is being resumed it is kept and said after VGW_RESUMED; a fresh session forgets it.
 * TD_ERR_STATE when there is no session to say it in, TD_ERR_LIMIT (too long, or too much kept),
 * TD_ERR_NOMEM, TD_ERR_USAGE (no opcode of ours). */
int vgw_dave_send(struct vgw *g, uint8_t opcode, const uint8_t *data, size_t len);

/* The next action in order: 1, or 0 when there is none. What it points to is valid until the next
 * input call; vgw_next() and vgw_dave_send() leave it alone. */
int vgw_next(struct vgw *g, struct vgw_action *ret);

/* When to call vgw_tick() at the latest; UINT64_MAX: never. Calling it early is harmless. */
uint64_t vgw_deadline(const struct vgw *g);
void vgw_tick(struct vgw *g, uint64_t now_ns);

#endif
