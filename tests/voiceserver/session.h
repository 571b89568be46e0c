/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_SESSION_H
#define TD_TESTS_VOICESERVER_SESSION_H

#include "common/transport.h"
#include "tests/voiceserver/relayed.h"
#include "tests/voiceserver/server.h"
#include "tests/voiceserver/talk.h"
#include "tests/voiceserver/wire.h"

enum { TICKET_TEXT = 33 };

/* Someone else in the call as this session sees them: SSRCs are per session. */
struct peer {
	uint64_t user_id;
	size_t stay; /* a user who comes back is another peer */
	uint32_t ssrc;
	struct wire_stream stream;
};

struct numbered;

/* A voice session of a real client: from Identify until it is closed for good. */
struct session {
	struct session *next;
	struct call *call;
	uint64_t user_id;
	size_t number; /* of the sessions of its call, in order */
	bool recorder;
	char session_id[TICKET_TEXT], token[TICKET_TEXT];

	struct gw *gw;    /* NULL while its socket is lost */
	uint64_t lost_ns; /* since when */
	uint16_t next_number;
	struct numbered *first, *last; /* sent, kept for a resume */
	unsigned n_kept;

	uint32_t ssrc;
	bool described, speaking, udp_heard;
	int64_t max_dave; /* version the client speaks up to */
	enum transport_mode mode;
	uint8_t key[TRANSPORT_KEY_LEN];
	struct transport *transport;
	uint32_t nonce;
	struct sockaddr_in address; /* where its datagrams come from; port 0: not known */
	char told_address[16];      /* what discovery answered */
	uint16_t told_port;
	unsigned discoveries;

	struct peer *peers;
	size_t n_peers;
	struct wire *wire;
	struct relayed relayed; /* what it sends */
	struct rng rng;
};

/* TD_ERR_NOMEM. Owned by call once it is in its list; free with session_free(). */
int session_new(struct session **ret, struct call *call, uint64_t user_id, size_t number);
void session_free(struct session *s); /* NULL is fine */

/* Sends {"op":op,"d":d}; steals d. The second gives it a number and keeps it for a resume. Without
 * a socket only numbered messages are kept. */
void session_say(struct session *s, int op, json_t *d);
void session_say_numbered(struct session *s, int op, json_t *d);
/* A binary message of DAVE, numbered and kept; `id` goes in front of the payload unless it is NULL.
 */
void session_say_binary(struct session *s, uint8_t op, const uint16_t *id, const uint8_t *data,
	size_t len);
/* Sends again everything after number `ack` (-1: everything). TD_ERR_LIMIT: not kept any more. */
int session_redeliver(struct session *s, int64_t ack);

/* The peer, made when it is new; NULL when out of memory. Valid until the next new peer. */
struct peer *session_peer(struct session *s, uint64_t user_id, size_t stay);

/* A new key (mode: only the first time). TD_ERR_NOMEM, TD_ERR_UNSUPPORTED. */
int session_key(struct session *s, enum transport_mode mode);
/* The session description, opcode 4. */
void session_describe(struct session *s);
/* Tells whose SSRC it is, opcode 5. */
void session_name(struct session *s, uint64_t user_id, size_t stay, unsigned bits);

/* True when packets may go to it. */
bool session_hears(const struct session *s);
/* Sends m of a peer through the wire. `ret_ssrc` is the sender's as this session sees it. */
enum wire_fate session_media(struct session *s, uint64_t user_id, size_t stay,
	const struct media *m, const struct faults *faults, uint32_t *ret_ssrc);
/* A datagram at once, past the wire. */
void session_datagram(struct session *s, const uint8_t *data, size_t len);
/* Delivers what is due on its wire. */
void session_run(struct session *s);

#endif
