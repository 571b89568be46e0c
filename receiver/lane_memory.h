/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_LANE_MEMORY_H
#define TD_RECEIVER_LANE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/counters.h"
#include "common/ipc.h"
#include "common/transport.h"
#include "receiver/dave_session.h"

/*
 * What a worker knew of a connection before everything that is in the lane's journal: keys,
 * speakers, epochs. A replacement is told that first. Keys are in locked memory. One thread.
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
	struct ipc_key *key;       /* locked memory; NULL: none */
	struct lane_epoch *epochs; /* newest first */
	uint64_t passthrough_ns;
	struct lane_speaker *speakers;
	size_t speaker_count, speaker_cap;
	uint64_t counters[COUNTER_COUNT]; /* not yet handed on */
	bool counted;
	uint64_t finished_no; /* what the journal has of it before this has left the worker */
};

/* TD_ERR_NOMEM. */
int lane_conn_new(struct lane_conn **ret, uint64_t conn);
void lane_conn_free(struct lane_conn *c); /* wipes; NULL is fine */

/* In locked memory, for the two below; locked_free(). NULL: no memory. */
struct ipc_key *lane_key_new(enum transport_mode mode, uint32_t own_ssrc,
	const uint8_t key[static TRANSPORT_KEY_LEN]);
struct lane_epoch *lane_epoch_new(uint64_t at_ns, uint64_t epoch, const struct dave_sender *senders,
	size_t count);

/* A fresh Identify: keys and speakers are dead. */
void lane_conn_forget(struct lane_conn *c);
void lane_conn_set_key(struct lane_conn *c, struct ipc_key *key); /* takes it over */
/* A speaker who cannot be remembered (no memory, too many) is missed by a replacement alone. */
void lane_conn_add_speaker(struct lane_conn *c, uint64_t user_id, uint32_t ssrc);
void lane_conn_drop_speaker(struct lane_conn *c, uint64_t user_id);
/* The newest epoch, taken over, which lets those expire that the worker lets expire. */
void lane_conn_add_epoch(struct lane_conn *c, struct lane_epoch *e);

/* Puts the message of an epoch. TD_ERR_NOMEM. */
int lane_epoch_tell(const struct lane_epoch *e, uint64_t conn, struct ipc_queue *queue);
/* Puts everything a fresh worker must know about c. TD_ERR_NOMEM. */
int lane_conn_tell(const struct lane_conn *c, const struct ipc_conn_open *open,
	struct ipc_queue *queue);

#endif
