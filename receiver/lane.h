/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_LANE_H
#define TD_RECEIVER_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/counters.h"
#include "common/transport.h"
#include "receiver/dave_session.h"
#include "receiver/lane_thread.h"

/*
 * The writing half of a lane: what the network thread sends to one unpacker process, and the
 * supervision of that process. A worker that dies, hangs or talks nonsense is replaced and told
 * again what it has to know: connections, keys, speakers and controls still to be carried out.
 *
 * All calls on the network thread (the one that runs the loop); none blocks.
 */
struct lane;

struct lane_conf {
	uv_loop_t *loop;
	unsigned index;       /* for messages */
	const char *unpacker; /* path of the program */
	bool live;            /* drop the oldest packets when the queue is full; else never drop */
	uint32_t want;        /* IPC_WANT_* */
	unsigned channels;    /* of decoded frames */
	uint64_t reorder_ns, hold_ns;
	struct lane_thread_ops ops; /* on the lane thread */
	void *user;                 /* of ops and of what follows */
	/* The queue has room again after lane_congested() was true. */
	void (*drained)(void *user);
	/* The lane has more to do than it can (text says what becomes of it), or no more. */
	void (*overload)(void *user, unsigned index, const char *text);
	/* The worker was lost and is replaced, or cannot be kept running (fatal): then nothing is
	 * heard any more on this lane, and what was recorded can be finished. */
	void (*worker_lost)(void *user, unsigned index, const char *how, bool fatal);
	/* A sink has not come back for so long: everything on this lane waits for it. */
	void (*held_up)(void *user, unsigned index, const char *sink, uint64_t ns);
};

/* Starts the thread and the first worker. TD_ERR_NOMEM, TD_ERR_SYS with errno. */
int lane_new(struct lane **ret, const struct lane_conf *conf);
/* Ends worker and thread; sessions still open are closed as they are. May block for a second. The
 * loop has to run once more for its handles. NULL is fine. */
void lane_free(struct lane *l);

/* A voice connection; conn is a number never used before. channels etc. come from the conf. */
int lane_conn_open(struct lane *l, uint64_t conn);
void lane_conn_close(struct lane *l, uint64_t conn);
void lane_conn_flush(struct lane *l, uint64_t conn);
/* A fresh Identify: keys, speakers and streams are dead. */
void lane_conn_reset(struct lane *l, uint64_t conn);
void lane_conn_key(struct lane *l, uint64_t conn, enum transport_mode mode, uint32_t own_ssrc,
	const uint8_t key[static TRANSPORT_KEY_LEN]);
void lane_conn_speaker(struct lane *l, uint64_t conn, uint64_t user_id, uint32_t ssrc);
void lane_conn_speaker_gone(struct lane *l, uint64_t conn, uint64_t user_id);

/* Keys of end-to-end encryption, as struct ipc_dave_epoch and struct ipc_dave_passthrough say. At
 * most IPC_DAVE_MAX_SENDERS senders; borrowed. */
void lane_conn_dave_epoch(struct lane *l, uint64_t conn, uint64_t at_ns, uint64_t epoch,
	const struct dave_sender *senders, size_t count);
void lane_conn_dave_passthrough(struct lane *l, uint64_t conn, uint64_t until_ns);

/* One datagram as received, at most IPC_MAX_DGRAM bytes. */
void lane_packet(struct lane *l, uint64_t conn, uint64_t arrival_ns, const uint8_t *data,
	size_t len);
void lane_tick(struct lane *l, uint64_t now_ns);
/* When a packet last went down this lane; 0: never. */
uint64_t lane_last_packet_ns(const struct lane *l);
/* Counts something the network side saw happen to a connection; reaches its session by itself. */
void lane_count(struct lane *l, uint64_t conn, enum td_counter what, uint64_t n);

/* Puts a bookmark into the connection's stream; takes c over (from malloc). Counters go before. */
void lane_control(struct lane *l, uint64_t conn, struct lane_control *c);

/* True after a fatal worker_lost. */
bool lane_abandoned(const struct lane *l);

/* Writes what the pipe takes. The loop's driver calls it once a turn for every lane. */
void lane_flush(struct lane *l);
/* True while more waits than a back-pressured source should add to; conf.drained follows then. */
bool lane_congested(struct lane *l);
/* To be called every quarter of a second: watches over the worker. One that has not answered when
 * it is called for the fifth time is killed. */
void lane_watch(struct lane *l, uint64_t now_ns);

#endif
