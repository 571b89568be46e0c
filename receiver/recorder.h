/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_RECORDER_H
#define TD_RECEIVER_RECORDER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "receiver/console.h"
#include "receiver/events.h"
#include "receiver/lane.h"
#include "receiver/options.h"

/*
 * All lanes together, and the sessions of files on them: what a live call (receiver/call.h) and a
 * replay (receiver/replay.h) have in common. Network thread, but for what says otherwise.
 */
struct recorder;

struct recorder_conf {
	uv_loop_t *loop;
	const struct options *options;
	struct events *events; /* NULL: none */
	struct console *console;
	bool live;
	/* A session of connection conn opened, or is closed and all its files with it. r: 0, or
	 * what could not be written. */
	void (*session_opened)(void *user, uint64_t conn, int r);
	void (*session_closed)(void *user, uint64_t conn, int r);
	/* Encrypted frames of this user do not open (for DAVE's recovery). */
	void (*failing)(void *user, uint64_t conn, uint64_t user_id);
	/* Less than --min-free is left on the disk: everything should end. May come again. */
	void (*disk_full)(void *user);
	/* Live: whatever has arrived up to now shall go down its lane. */
	void (*catch_up)(void *user);
	/* A lane that was congested has room again. */
	void (*drained)(void *user);
	/* The unpacker of this connection cannot be kept running: nothing of it is heard any more.
	 */
	void (*broken)(void *user, uint64_t conn);
	void *user;
};

/* Starts the lanes. One clear line in err on failure: TD_ERR_SYS, TD_ERR_NOMEM. */
int recorder_new(struct recorder **ret, const struct recorder_conf *conf, char *err,
	size_t err_len);
/* Ends the lanes; sessions still open are closed as they are. NULL is fine. */
void recorder_free(struct recorder *r);

/* A new voice connection of this guild: its number, never used before, and its lane. 0: no memory,
 * or no unpacker.
 */
uint64_t recorder_connect(struct recorder *r, uint64_t guild_id, struct lane **ret_lane);
void recorder_disconnect(struct recorder *r, uint64_t conn);

/* Begins a session of files: position 0 is start_ns (start_utc_ns by the wall clock). Outcome:
 * session_opened. TD_ERR_NOMEM. */
int recorder_session_open(struct recorder *r, uint64_t conn, uint64_t channel_id, uint64_t user_id,
	uint64_t start_ns, uint64_t start_utc_ns);
/* Finishes it: what is held is released first. reason is for the manifest. Outcome:
 * session_closed. */
void recorder_session_close(struct recorder *r, uint64_t conn, uint64_t end_ns, const char *reason);

/* A control of this type for the connection's session, its fields zero; NULL without memory. Send
 * it with lane_control(). */
struct lane_control *recorder_control(enum lane_control_type type, uint64_t at_ns);

/* A packet went down a live lane: keep its time moving until everything held is out again. */
void recorder_awake(struct recorder *r);

/* True when anything that was to be written could not be. */
bool recorder_failed(const struct recorder *r);
/* Everything counted so far, of all connections: packets, samples of sound, tracks begun. */
void recorder_totals(struct recorder *r, uint64_t totals[static COUNTER_COUNT],
	uint64_t *ret_samples, unsigned *ret_files);
/* The table of all tracks closed so far, on the console. */
void recorder_print_tracks(struct recorder *r);

#endif
