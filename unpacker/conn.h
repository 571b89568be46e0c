/* SPDX-License-Identifier: ISC */
#ifndef TD_UNPACKER_CONN_H
#define TD_UNPACKER_CONN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/early.h"
#include "common/ipc.h"
#include "common/map.h"
#include "unpacker/dave_stage.h"
#include "unpacker/stream.h"

/*
 * One voice connection: its key, who speaks under which SSRC, and a stream for each. Datagrams in;
 * frames, RTCP and counters out. Every function returns TD_OK or TD_ERR_NOMEM unless it says more.
 *
 * Times of one connection never fall: an older one counts as the latest. What is due leaves at its
 * own deadline, the earliest first, before anything later is looked at.
 */
enum {
	CONN_MAX_STREAMS = 1024,
	CONN_MAX_UNNAMED = 256,   /* of these without a speaker: whoever is named finds room */
	CONN_MAX_HELD = 64,       /* SSRCs without a speaker that wait at once */
	CONN_MAX_SOURCES = 16384, /* SSRCs known at all */
	/* Packets that wait in all streams together. Beyond it one that has more than its share
	 * waiting waits no longer. */
	CONN_MAX_WAITING = 16384,
	CONN_SHARE_WAITING = 64,
};

struct transport;
struct source; /* an SSRC: its user, and its stream or the packets that wait for one */
TAILQ_HEAD(source_list, source);

/* What is needed for the one datagram at hand: one for all connections of a thread. */
struct conn_scratch {
	uint8_t plain[IPC_MAX_DGRAM];  /* opened */
	uint8_t opened[IPC_MAX_DGRAM]; /* the frame in it, opened end to end */
};

struct conn {
	TAILQ_ENTRY(conn) link; /* the owner's */
	struct stream_conf conf;
	uint64_t hold_ns;
	struct transport *transport;     /* NULL: no key */
	struct transport *old_transport; /* the one before, for packets that were under way */
	uint64_t old_until_ns;
	struct early unopened; /* RTP that no key opened: one that would may be on its way */
	uint32_t own_ssrc;     /* 0: none */
	struct map sources;    /* SSRC to struct source, every one of: */
	/* with a stream; with packets that wait for a name; with a user alone. Each in order of
	 * appearance. */
	struct source_list active, held, named;
	size_t streams, unnamed, holds; /* unnamed: of the streams */
	size_t waiting;                 /* packets, in all streams */
	/* Of those with a stream or a hold, the one that is due first on top: a binary heap. */
	struct source **due;
	size_t due_len, due_cap; /* room for every stream and hold there is, at least */
	uint64_t order;          /* the last one given out */
	uint64_t now_ns;
	uint64_t counters_due_ns;      /* REORDER_NEVER: nothing was counted since the last time */
	uint64_t count[COUNTER_COUNT]; /* of what belongs to no SSRC */
	struct conn_scratch *scratch;
	struct dave_stage dave;
};

/* `out`, `pool` and `scratch` are borrowed. Also TD_ERR_MALFORMED: a value that cannot be. */
int conn_new(struct conn **ret, uint64_t id, const struct ipc_conn_open *open,
	struct ipc_queue *out, struct decoder_pool *pool, struct conn_scratch *scratch);
void conn_free(struct conn *c); /* NULL is fine; conn_flush() it first or lose what waits */

int conn_key(struct conn *c, const struct ipc_key *key); /* also TD_ERR_MALFORMED: no such mode */
int conn_speaker(struct conn *c, uint32_t ssrc, uint64_t user_id);
int conn_speaker_gone(struct conn *c, uint64_t user_id);
/* A datagram of at most IPC_MAX_DGRAM bytes; flags: IPC_PACKET_*. */
int conn_packet(struct conn *c, uint64_t arrival_ns, uint32_t flags, const uint8_t *data,
	size_t len);
/* A DAVE_EPOCH with `count` senders behind it; what waited for its keys is opened first. */
int conn_dave_epoch(struct conn *c, const struct ipc_dave_epoch *e, const uint8_t *senders,
	size_t count);
void conn_dave_passthrough(struct conn *c, uint64_t until_ns);
int conn_advance(struct conn *c, uint64_t now_ns);
int conn_send_counters(struct conn *c);
/* Somebody wants to know how far it is. Counters leave of what leaves nothing else behind; *ret is
 * whether some packet waits for a name, for a key, or for the one that tells what it was, and not
 * just for those before it. */
int conn_settle(struct conn *c, bool *ret);
/* Everything that waits leaves, every stream ends; keys and speakers stay. */
int conn_flush(struct conn *c);
/* The same, and keys and speakers are forgotten, and unencrypted frames are taken. */
int conn_reset(struct conn *c);

#endif
