/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_VGW_ENGINE_H
#define TD_RECEIVER_VGW_ENGINE_H

#include "receiver/vgw_messages.h"
#include "receiver/vgw_queue.h"
#include "receiver/voice_gateway.h"

/*
 * Inside the engine: voice_gateway.c keeps the connection's life (connect, lose, resume, rejoin,
 * end), vgw_receive.c does what a message asks for. Nobody else includes this.
 */
enum vgw_state {
	VGW_S_IDLE,        /* vgw_start() to come */
	VGW_S_NEED_INFO,   /* new connection info to come */
	VGW_S_GRACE,       /* the same, for a short time */
	VGW_S_BACKOFF,     /* the next attempt to come */
	VGW_S_CONNECTING,  /* vgw_opened() or vgw_closed() to come */
	VGW_S_HELLO,       /* open; Hello to come */
	VGW_S_IDENTIFYING, /* Identify said; Ready to come */
	VGW_S_DISCOVERING, /* our UDP address to come */
	VGW_S_SELECTING,   /* Select Protocol said; Session Description to come */
	VGW_S_LIVE,
	VGW_S_RESUMING, /* Resume said; Resumed to come */
	VGW_S_ENDED,
};
#define VGW_IN(state) (1u << (state))
#define VGW_IN_IDENTIFIED                                                                  \
	(VGW_IN(VGW_S_IDENTIFYING) | VGW_IN(VGW_S_DISCOVERING) | VGW_IN(VGW_S_SELECTING) | \
		VGW_IN(VGW_S_LIVE) | VGW_IN(VGW_S_RESUMING))
#define VGW_IN_OPEN (VGW_IN_IDENTIFIED | VGW_IN(VGW_S_HELLO))
#define VGW_NEVER UINT64_MAX

enum {
	VGW_PATIENCE_S = 10,    /* for each answer of the server */
	VGW_DISCOVERY_S = 15,   /* whoever discovers gives up sooner and says so */
	VGW_CLOSE_AGAIN = 4000, /* a code that leaves the session resumable */
	VGW_CLOSE_DONE = 1000,  /* and one that ends it */
	VGW_PHRASE_MAX = 240,
};

/* What the end-to-end encryption said while the connection was being resumed. */
struct vgw_held {
	struct vgw_held *next;
	size_t len;
	uint8_t opcode;
	uint8_t data[];
};

struct vgw {
	struct vgw_conf conf;         /* its info is NULL: that lives in *info */
	struct connection_info *info; /* locked memory */
	struct vgw_queue queue;
	enum vgw_state state;
	uint64_t timer_at;   /* when the state is given up */
	uint64_t beat_at;    /* the next heartbeat */
	uint64_t not_before; /* no new connection sooner */
	bool new_info;       /* not tried yet */
	unsigned infos;      /* tried since a connection that stood, ... */
	uint64_t info_at;    /* ... the last of them then */
	uint64_t live_since;

	/* the connection */
	bool socket; /* VGW_CONNECT was said, and neither side closed since */
	uint64_t interval_ns;
	unsigned unanswered; /* heartbeats */
	bool broken;         /* out of memory for something that had to be said */

	/* the session */
	bool session; /* it was live, so it can be resumed */
	bool udp_open;
	uint32_t ssrc;
	enum transport_mode mode;
	int64_t seq; /* last one seen; -1: none */
	struct vgw_held *held, **held_end;
	size_t held_bytes;

	/* how it goes */
	unsigned attempt;         /* connections since one that stood */
	unsigned resume_failures; /* Resume said, Resumed never heard */
	unsigned rejoins;         /* new info asked for since a connection that stood */
	unsigned refusals;        /* 4004 since a session that came about */
	unsigned warnings;
	char grace_text[VGW_PHRASE_MAX]; /* why it will have ended */
};

static inline bool vgw_is_in(const struct vgw *g, unsigned states)
{
	return (states & VGW_IN(g->state)) != 0;
}

/* now + wait, never wrapping into the past and never meaning VGW_NEVER. */
static inline uint64_t vgw_after(uint64_t now_ns, uint64_t wait_ns)
{
	return now_ns < VGW_NEVER - 1 - wait_ns ? now_ns + wait_ns : VGW_NEVER - 1;
}

/* ---- voice_gateway.c ---- */

/* A phrase for an action. */
const char *vgw_say(struct vgw *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* VGW_WARNING, but ever more rarely for a server that makes many necessary. */
void vgw_warn(struct vgw *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A writer into an action's memory of `room` bytes; without memory it is bad from the start. Hand
 * it to vgw_send_text() in any case. */
struct wr vgw_writer(struct vgw *g, size_t room, bool secret);
void vgw_send_text(struct vgw *g, const struct wr *w, bool answer);
/* 0 (inclusive) to 1 (exclusive). */
double vgw_random(struct vgw *g);
void vgw_beat(struct vgw *g, uint64_t now_ns);
/* Enters a state that is given up after wait_ns. */
void vgw_enter(struct vgw *g, enum vgw_state state, uint64_t now_ns, uint64_t wait_ns);
/* Closes the WebSocket, if there is one, with code, and takes it as lost. */
void vgw_drop(struct vgw *g, uint16_t code, const char *why, uint64_t now_ns);
void vgw_end(struct vgw *g, enum vgw_verdict verdict, const char *why, uint64_t now_ns);
/* Says what was held while resuming. */
void vgw_say_held(struct vgw *g);

/* ---- vgw_receive.c ---- */

void vgw_receive_text(struct vgw *g, const char *text, size_t len, uint64_t now_ns);
void vgw_receive_binary(struct vgw *g, const uint8_t *data, size_t len);

#endif
