/* SPDX-License-Identifier: ISC */
#ifndef TD_UNPACKER_DAVE_STAGE_H
#define TD_UNPACKER_DAVE_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dave_frame.h"
#include "common/ipc.h"

/*
 * End-to-end encryption of one connection, between the transport's payload and Opus: the epochs
 * whose keys live, and when unencrypted frames are taken. dave.md sections 8 to 10.
 *
 * A frame is judged by the time it arrived, however long it waited since: so keys outlive their
 * epoch's end by as long as a frame may wait, and no frame that arrived later opens with them.
 */
enum { DAVE_STAGE_EPOCHS = 16 };

struct dave_epoch;

struct dave_stage {
	uint64_t wait_ns;                            /* how long a frame may wait for its key */
	uint64_t plain_until_ns;                     /* UINT64_MAX: always */
	struct dave_epoch *epoch[DAVE_STAGE_EPOCHS]; /* oldest first */
	size_t epochs;
	bool encrypted;          /* there is or was an epoch */
	struct dave_frame frame; /* the one at hand, and its plaintext: */
	uint8_t *plain;          /* IPC_MAX_DGRAM bytes, borrowed */
	/* If it opened, by which nonce, and of which epoch (struct ipc_dave_epoch). */
	uint64_t nonce;
	uint32_t epoch_no;
};

/* Waiting for a key gets worse from here on: the highest of what the epochs said is told. */
enum dave_verdict {
	DAVE_STAGE_OPENED,   /* the plaintext is in `plain`, frame.media_len long */
	DAVE_STAGE_PLAIN,    /* not encrypted, and fine: in a call that is or was encrypted */
	DAVE_STAGE_CLEAR,    /* the same, and nothing to be counted */
	DAVE_STAGE_REFUSED,  /* not encrypted */
	DAVE_STAGE_REPLAYED, /* a key fits; the nonce was used */
	/* Perhaps of an epoch still to come: */
	DAVE_STAGE_NO_KEY, /* no live epoch knows the user */
	DAVE_STAGE_LIMIT,  /* the generation is out of bounds in all that do */
	DAVE_STAGE_AUTH,   /* no key fits */
};

/* As a connection begins. `plain` (IPC_MAX_DGRAM bytes) is borrowed; other stages of the thread may
 * have it, too. */
void dave_stage_init(struct dave_stage *d, uint64_t wait_ns, uint8_t *plain);
/* Forgets everything, as a connection begins. Also what frees it. */
void dave_stage_reset(struct dave_stage *d);

/* DAVE_EPOCH; senders are as in the message, perhaps not aligned. TD_ERR_NOMEM. */
int dave_stage_epoch(struct dave_stage *d, const struct ipc_dave_epoch *e, const uint8_t *senders,
	size_t count);
/* These nonces of a sender were used up by the worker before this one. TD_ERR_NOMEM. */
int dave_stage_used(struct dave_stage *d, const struct ipc_dave_used *u);
/* When the next epoch is to be erased; UINT64_MAX: none. */
uint64_t dave_stage_due(const struct dave_stage *d);
void dave_stage_advance(struct dave_stage *d, uint64_t now_ns);

/* Whether an unencrypted frame that arrives now is taken. */
bool dave_stage_takes_plain(const struct dave_stage *d, uint64_t arrival_ns);
/*
 * Opens a frame of user_id (0: not named) that arrived at arrival_ns; DAVE_STAGE_PLAIN_OK is what
 * dave_stage_takes_plain() said then. *ret is one of enum dave_verdict. TD_ERR_NOMEM.
 */
enum {
	DAVE_STAGE_PLAIN_OK = 1u << 0,
	DAVE_STAGE_NEWEST_ALONE = 1u << 1,  /* it was tried before the newest epoch came */
	DAVE_STAGE_OPENED_BEFORE = 1u << 2, /* IPC_PACKET_OPENED */
};
int dave_stage_open(struct dave_stage *d, enum dave_verdict *ret, uint64_t user_id,
	const uint8_t *data, size_t len, uint64_t arrival_ns, unsigned flags);

#endif
