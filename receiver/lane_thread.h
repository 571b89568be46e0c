/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_LANE_THREAD_H
#define TD_RECEIVER_LANE_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/counters.h"
#include "receiver/delivered.h"
#include "sinks/host.h"

/*
 * The reading half of a lane: a thread that takes what comes back from the unpacker and runs the
 * sinks of every session on the lane. The writing half is receiver/lane.h.
 *
 * What the sinks must be told in order with the sound (a session opens, a user joins, a pause
 * begins) is put here with lane_thread_post() and a CONTROL message with its serial goes down the
 * request pipe; the thread carries it out when the serial comes back. So the worker decides nothing
 * but when.
 */
enum lane_control_type {
	LANE_SESSION_OPEN,  /* conf */
	LANE_SESSION_CLOSE, /* at_ns, text: reason */
	LANE_SPEAKER,       /* user_id, ssrc, at_ns */
	LANE_SPEAKER_LEFT,  /* user_id, at_ns */
	LANE_PAUSE,         /* at_ns */
	LANE_RESUME,        /* at_ns */
	LANE_MARK,          /* name, text, at_ns */
	LANE_COUNT,         /* counters: what the network side counted */
	LANE_CODE,          /* epoch, text: the privacy code, members, member_count, at_ns */
	LANE_FORGET,        /* the connection is closed: nothing of it comes any more */
};
struct lane_control {
	struct lane_control *next;
	enum lane_control_type type;
	uint64_t serial, conn, at_ns, user_id;
	uint32_t ssrc;
	const char *name; /* static */
	char text[160];
	struct sink_session_conf
		conf; /* its name, when not NULL, is owned by whoever outlives us */
	uint64_t counters[COUNTER_COUNT];
	uint64_t epoch, *members; /* members: from malloc, freed with the control */
	size_t member_count;
};

/* How the thread speaks to the rest; all called on the lane thread. */
struct lane_thread_ops {
	/* A session of files opened (r 0) or could not be; or closed, with how that went. */
	void (*session_opened)(void *user, uint64_t conn, int r);
	void (*session_closed)(void *user, uint64_t conn, int r);
	void (*session_track)(void *user, uint64_t conn, const struct sink_track_summary *track);
	void (*session_event)(void *user, uint64_t conn, const struct sink_event *event);
	/* For a second, no encrypted frame of this user opened that should have. */
	void (*failing)(void *user, uint64_t conn, uint64_t user_id);
	/* What the unpacker counted since last time, and sound that came back (samples, of one or
	 * more messages). */
	void (*counted)(void *user, const uint64_t delta[static COUNTER_COUNT]);
	void (*sound)(void *user, unsigned samples);
};

void lane_control_free(struct lane_control *c); /* NULL is fine */

struct lane_thread;

struct lane_thread_conf {
	struct lane_thread_ops ops;
	void *user;   /* of ops */
	bool decodes; /* sound comes as frames, and not as packets alone */
	bool live;    /* time goes on by itself; else what comes tells it, the same every time */
	/* The reply pipe ended, or what came out of it made no sense (why, static; "" for a plain
	 * end): the worker is done for. The thread waits for lane_thread_worker(). */
	void (*worker_down)(void *worker_user, const char *why);
	void *worker_user;
};

/* Starts the thread. TD_ERR_NOMEM, TD_ERR_SYS. */
int lane_thread_new(struct lane_thread **ret, const struct lane_thread_conf *conf);
/* Waits for the thread, which ends once lane_thread_end() was called and its pipe is at its end.
 * Sessions still open are closed as they are. NULL is fine. */
void lane_thread_free(struct lane_thread *t);
void lane_thread_end(struct lane_thread *t);

/* Gives the thread the reply pipe of a new worker (it closes it), after worker_down or at start. */
void lane_thread_worker(struct lane_thread *t, int reply_fd);

/* There will be no worker any more: from here on controls are carried out as they are posted, so
 * that what was recorded can be finished. */
void lane_thread_abandon(struct lane_thread *t);

/* Takes over c (from malloc, lane_control_free()) and gives it the next serial, which is returned.
 */
uint64_t lane_thread_post(struct lane_thread *t, struct lane_control *c);
/* Calls each with every control posted and not yet carried out, in order: a new worker has to be
 * asked for them again. */
void lane_thread_pending(struct lane_thread *t,
	void (*each)(void *user, uint64_t conn, uint64_t serial), void *user);

/* This user may be named as a speaker of the connection, and with user_id 0 something may be said
 * of the connection at all; the worker, which may have been taken over, may name no other. Before
 * it is told. Until LANE_FORGET. */
void lane_thread_allow(struct lane_thread *t, uint64_t conn, uint64_t user_id);

/* As delivered_look(). Only between worker_down and lane_thread_worker(): the thread waits then. */
enum delivered_state lane_thread_delivered(const struct lane_thread *t, uint64_t conn,
	uint32_t ssrc, uint16_t seq, uint64_t at_ns);

/* As delivered_used(). Then, too. */
void lane_thread_used(const struct lane_thread *t, uint64_t conn, uint32_t epoch_no,
	delivered_nonces *each, void *user);

/* The latest time the worker was told, by a packet or otherwise: no frame that comes back can have
 * arrived later. */
void lane_thread_newest(struct lane_thread *t, uint64_t arrival_ns);

/* The number of the latest epoch the worker was given: nothing that comes back was opened with a
 * later one. */
void lane_thread_epoch(struct lane_thread *t, uint32_t no);

/* For the watchdog: how many messages have come back in all, and whether the thread is waiting for
 * more right now (and not, say, for a disk). Any thread. */
uint64_t lane_thread_heard(const struct lane_thread *t);
bool lane_thread_waiting(const struct lane_thread *t);
/* The sink that the thread is in right now, and since when (td_mono_ns()); NULL: in none. Any
 * thread. */
const char *lane_thread_working(const struct lane_thread *t, uint64_t *ret_since_ns);
/* How many pings were answered: everything that came back before is with the sinks. *ret_waits is
 * what that answer, or one after it, said (struct ipc_pong). Any thread. */
uint64_t lane_thread_pongs(const struct lane_thread *t, bool *ret_waits);

#endif
