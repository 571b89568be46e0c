/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_LANE_MEMORY_H
#define TD_RECEIVER_LANE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/counters.h"
#include "common/ipc.h"
#include "receiver/dave_session.h"

/*
 * What a lane remembers of its connections, because a replacement worker has to be told: keys,
 * speakers, epochs. Keys are in locked memory. One thread.
 */
struct lane_speaker {
	uint64_t user_id;
	uint32_t ssrc;
};

/* Keys of one DAVE epoch, in locked memory: the message that carries them and its senders. */
struct lane_epoch {
	struct lane_epoch *next; /* the one before */
	struct ipc_dave_epoch body;
	size_t count;
	struct ipc_dave_sender senders[];
};

struct lane_conn {
	struct lane_conn *next;
	uint64_t conn;
	bool has_key;
	struct ipc_key *key;       /* locked memory */
	struct lane_epoch *epochs; /* newest first */
	uint64_t passthrough_ns;
	struct lane_speaker *speakers;
	size_t speaker_count, speaker_cap;
	uint64_t counters[COUNTER_COUNT]; /* not yet handed on */
	bool counted;
};

/* TD_ERR_NOMEM. */
int lane_conn_new(struct lane_conn **ret, uint64_t conn);
void lane_conn_free(struct lane_conn *c); /* wipes; NULL is fine */

/* A fresh Identify: keys and speakers are dead. */
void lane_conn_forget(struct lane_conn *c);
/* A speaker who cannot be remembered (no memory, too many) is missed by a replacement alone. */
void lane_conn_add_speaker(struct lane_conn *c, uint64_t user_id, uint32_t ssrc);
void lane_conn_drop_speaker(struct lane_conn *c, uint64_t user_id);
/* The newest epoch, which lets those expire that the worker lets expire. NULL: no memory. */
const struct lane_epoch *lane_conn_add_epoch(struct lane_conn *c, uint64_t at_ns, uint64_t epoch,
	const struct dave_sender *senders, size_t count);

/* Puts everything a fresh worker must know about c. TD_ERR_NOMEM. */
int lane_conn_tell(const struct lane_conn *c, const struct ipc_conn_open *open,
	struct ipc_queue *queue);

#endif
