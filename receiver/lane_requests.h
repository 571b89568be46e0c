/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_LANE_REQUESTS_H
#define TD_RECEIVER_LANE_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/map.h"
#include "receiver/journal.h"
#include "receiver/lane_memory.h"
#include "receiver/lane_thread.h"

/*
 * What goes down a lane: the queue before the request pipe, and what is needed to tell it all again
 * to a worker that takes the place of one that died. What a worker has been told lies in two parts:
 * `conns` is what it knew at the journal's beginning, and the journal is everything since. An entry
 * leaves the journal for conns when nothing that it set off can be under way any more: the worker
 * has answered a ping that came behind it, and as much time has been told since as its windows can
 * hold anything.
 *
 * One thread. No file descriptors but the one given to be written to.
 */
enum { LANE_PINGS = 64, LANE_UNDER_WAY = 4 };

struct lane_requests {
	struct ipc_conn_open open; /* of every connection */
	bool live;                 /* sheds when there is too much: lane_requests_watch() */
	struct lane_thread *thread;

	struct ipc_queue queue;
	struct journal journal;
	struct lane_conn *conns;
	struct map by_number; /* the same, by connection */
	bool connected;       /* there is a worker: what is added goes into the queue, too */
	uint64_t newest_ns;   /* the latest time a worker was told */
	uint64_t tick_ns;     /* the latest by a tick */

	struct {
		uint64_t no, newest_ns; /* of the journal when it was sent */
	} ping[LANE_PINGS];
	unsigned sent, answered;     /* pings of this worker */
	uint64_t pongs_before;       /* of all workers before it */
	unsigned written;            /* of those sent: they have left the queue */
	size_t since_ping;           /* bytes */
	uint64_t pinged_ns;          /* newest_ns then */
	size_t since_marked;         /* bytes of packets since the oldest were marked */
	uint64_t undecoded, dropped; /* packets of which the sound, or all, was shed */
	uint32_t epochs;             /* so many were told: struct ipc_dave_epoch */
	uint64_t answered_no;        /* the journal up to here is the worker's past */
};

void lane_requests_init(struct lane_requests *q, const struct ipc_conn_open *open, bool live,
	struct lane_thread *thread);
void lane_requests_free(struct lane_requests *q);

/* There is a new worker: everything it has to know, and what has not come back from the one before.
 * Returns how many packets that are. While the lane thread waits for a worker. */
size_t lane_requests_retell(struct lane_requests *q);
/* It is gone. */
void lane_requests_disconnect(struct lane_requests *q);
/* This worker has been through everything it was told again. */
bool lane_requests_caught_up(struct lane_requests *q);
/* Forgets the packets that are under way; returns how many. */
size_t lane_requests_give_up(struct lane_requests *q);

/* 0 or TD_ERR_NOMEM. */
int lane_requests_open(struct lane_requests *q, uint64_t conn);
void lane_requests_close(struct lane_requests *q, uint64_t conn);
struct lane_conn *lane_requests_conn(const struct lane_requests *q, uint64_t conn); /* or NULL */

/* A message that changes what the worker knows of a connection, or a control. Not for packets. */
void lane_requests_add(struct lane_requests *q, uint64_t conn, enum ipc_type type, const void *body,
	size_t len);
/* These take what is in locked memory over. */
void lane_requests_key(struct lane_requests *q, uint64_t conn, struct ipc_key *key);
void lane_requests_epoch(struct lane_requests *q, uint64_t conn, struct lane_epoch *e);

void lane_requests_packet(struct lane_requests *q, uint64_t conn, uint64_t arrival_ns,
	const uint8_t *data, size_t len);
void lane_requests_tick(struct lane_requests *q, uint64_t now_ns);
/* A few times a second. Live, the oldest load is shed when it has waited for too long; more often
 * when there is too much of it. Where packets are wanted beside sound, first they are marked as not
 * to be decoded; only what is twice as old, or twice as much, is dropped. */
void lane_requests_watch(struct lane_requests *q);
void lane_requests_ping(struct lane_requests *q);

/* Writes what the pipe takes, as ipc_queue_write(). Live, pipes must not fill with what will be too
 * old: no more is under way than LANE_UNDER_WAY unanswered pings, and what is between them. */
int lane_requests_write(struct lane_requests *q, int fd);
/* Something the network side saw happen. */
void lane_requests_count(struct lane_requests *q, uint64_t conn, enum td_counter what, uint64_t n);

#endif
