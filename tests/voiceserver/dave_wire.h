/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_DAVE_WIRE_H
#define TD_TESTS_VOICESERVER_DAVE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/mls/mls_message.h"
#include "common/mls/mls_p256.h"
#include "tests/voiceserver/rng.h"

/*
 * The messages of DAVE as the server needs them (dave.md section 2): its own key and the proposals
 * it signs, what a commit says, and a Welcome with the secrets of one member alone.
 */
enum dave_op {
	DAVE_PREPARE_TRANSITION = 21,
	DAVE_EXECUTE_TRANSITION = 22,
	DAVE_READY_FOR_TRANSITION = 23,
	DAVE_PREPARE_EPOCH = 24,
	DAVE_EXTERNAL_SENDER = 25,
	DAVE_KEY_PACKAGE = 26,
	DAVE_PROPOSALS = 27,
	DAVE_COMMIT_WELCOME = 28,
	DAVE_ANNOUNCE_COMMIT = 29,
	DAVE_WELCOME = 30,
	DAVE_INVALID = 31,
};

/* One message, either way. Which members count depends on op. */
struct dave_msg {
	enum dave_op op;
	uint16_t id; /* of the transition */
	unsigned version;
	unsigned epoch;
	const uint8_t *data; /* behind the id, borrowed */
	size_t len;
	uint64_t serial; /* 29, 30: which commit it is; not on the wire */
};

/* User and channel ids as MLS has them. */
enum { DAVE_ID_LEN = 8 };
void dave_id_write(uint8_t out[static DAVE_ID_LEN], uint64_t id);
uint64_t dave_id_read(struct mls_span id); /* 0: not 8 bytes */

/* The key that signs proposals. */
enum { DAVE_SENDER_MAX = 80 };
struct dave_external {
	uint8_t priv[MLS_PRIV_LEN];
	uint8_t sender[DAVE_SENDER_MAX]; /* ExternalSender: what op 25 carries */
	size_t len;
};
int dave_external_make(struct dave_external *ret, struct rng *rng);

/* A `random` for struct mls_ctx: user is a struct rng. Repeatable, so never for a real secret. */
int dave_random(void *user, uint8_t *out, size_t n);

/* A signed proposal: an Add if key_package has bytes, else a Remove of leaf. */
struct dave_proposal {
	uint8_t *message; /* MLSMessage, freed with free() */
	size_t len;
	uint8_t ref[MLS_HASH_LEN];
};
int dave_propose(struct dave_proposal *ret, const struct dave_external *by, uint64_t channel_id,
	uint64_t epoch, struct mls_span key_package, uint32_t leaf);

/* Op 28 taken apart. Views into the payload. */
struct dave_commit {
	struct mls_span message, welcome; /* welcome: empty when there is none */
	struct mls_public_message m;
};
int dave_commit_read(struct dave_commit *ret, struct mls_span payload);
/* The references of a commit in order; false at the end. A proposal by value has ref.len 0. */
bool dave_commit_next(struct rd *refs, struct mls_span *ret);

/* The Welcome with the secrets for the key package of that reference alone; *ret is freed with
 * free(); ret NULL: only looks. TD_ERR_NOKEY: there are none; TD_ERR_MALFORMED, TD_ERR_NOMEM. */
int dave_welcome_for(uint8_t **ret, size_t *ret_len, struct mls_span welcome,
	const uint8_t ref[static MLS_HASH_LEN]);

#endif
