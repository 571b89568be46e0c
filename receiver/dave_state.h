/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_DAVE_STATE_H
#define TD_RECEIVER_DAVE_STATE_H

#include "receiver/dave_group.h"
#include "receiver/dave_queue.h"
#include "receiver/dave_session.h"

/* What dave_session.c and dave_say.c share; for nobody else but tests. */
enum {
	DAVE_MAX_TRANSITIONS = 16, /* announced and not executed; the oldest goes */
	DAVE_MAX_TAKEN = 64,       /* messages remembered to know them when they come again */
	DAVE_MAX_FAILING = 8,
};

struct dave_transition {
	uint16_t id;
	unsigned version;
	uint64_t opening; /* dave_session.opening when it was announced */
	uint64_t at_ns;
};

struct dave_failing {
	uint64_t user_id; /* 0: free */
	uint64_t since_ns, last_ns;
};

struct dave_session {
	struct dave_conf conf;
	struct dave_group group;
	struct dave_queue queue;

	unsigned version;
	bool described;             /* opcode 4 came since the reset */
	unsigned described_version; /* what it said last */

	struct dave_transition pending[DAVE_MAX_TRANSITIONS]; /* oldest first */
	size_t n_pending;
	bool executed; /* a transition was, since the reset */
	uint16_t last_id;
	uint64_t executed_ns;

	uint64_t pass_until_ns;
	uint64_t opening; /* counts what lets plain frames in until a new group executes */
	bool has_keys;    /* senders were announced and did not expire since */

	bool recovering;
	uint64_t recovering_ns;
	bool recover_due; /* once the guard time is over */
	uint16_t recover_id;
	bool begin_due; /* there was no memory for it */
	struct dave_failing failing[DAVE_MAX_FAILING];

	/* Commits and welcomes, a ring of DAVE_MAX_TAKEN hashes; NULL before the first. */
	uint8_t (*taken)[MLS_HASH_LEN];
	size_t n_taken; /* ever */
};

/* Actions. All return TD_OK or TD_ERR_NOMEM, and then nothing was added. */
int dave_say(struct dave_session *d, uint8_t opcode, const void *data, size_t len);
int dave_say_transition(struct dave_session *d, uint8_t opcode, uint16_t id);
int dave_say_commit(struct dave_session *d, const struct mls_own_commit *c);
int dave_warn(struct dave_session *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* DAVE_EPOCH and DAVE_CODE of a group. */
int dave_say_epoch(struct dave_session *d, const struct mls_group *group);
int dave_say_no_epoch(struct dave_session *d);
int dave_say_passthrough(struct dave_session *d, uint64_t until_ns);

#endif
