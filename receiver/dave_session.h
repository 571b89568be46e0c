/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_DAVE_SESSION_H
#define TD_RECEIVER_DAVE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The DAVE session of one voice connection (protocol versions 0 and 1), as an engine: what the
 * gateway says about it and time in; answers, keys and codes out. Sans-I/O; one thread at a time.
 * dave.md sections 2, 4, 5, 10 and 11; MLS is common/mls/. docs/dave.md draws its states.
 *
 * After each dave_* input call take all actions with dave_next().
 */
struct dave_session;
struct dave_identity; /* the signature key: one a process, shared by all its connections */

enum { DAVE_MAX_VERSION = 1 }; /* said in Identify */
enum { DAVE_SECRET_LEN = 16, DAVE_CODE_LEN = 30 };

struct dave_sender {
	uint64_t user_id;
	uint8_t secret[DAVE_SECRET_LEN]; /* base secret of the sender's ratchet, section 8 */
};

enum dave_action_type {
	/* Say it on the gateway: opcode 23 or 31 (data: the JSON of d), 26 or 28 (data: payload).
	 */
	DAVE_SEND,
	/* A new epoch's keys: senders, sender_count (everybody in the group but us), epoch. Older
	 * ones expire 10 s from now. sender_count 0: nothing new, the older ones expire. */
	DAVE_EPOCH,
	/* Unencrypted frames are taken until until_ns (0: no more, UINT64_MAX: always). */
	DAVE_PASSTHROUGH,
	/* The call's voice privacy code for this epoch: text (30 digits and NUL), members
	 * (member_count of their user ids in ascending order, ourselves among them), epoch. */
	DAVE_CODE,
	DAVE_WARNING, /* text: one clear phrase without secrets */
};
struct dave_action {
	enum dave_action_type type;
	uint8_t opcode;
	const uint8_t *data;
	size_t len;
	const struct dave_sender *senders;
	const uint64_t *members;
	size_t sender_count, member_count;
	uint64_t epoch, until_ns;
	const char *text;
};

struct dave_conf {
	uint64_t channel_id;            /* the group's id */
	uint64_t user_id;               /* ourselves */
	struct dave_identity *identity; /* borrowed, outlives the session */
	void (*random)(void *user, uint8_t *out, size_t len);
	void *user;
};

/* TD_ERR_NOMEM, TD_ERR_SYS (the cryptographic library failed). The key lives in locked memory. */
int dave_identity_new(struct dave_identity **ret,
	void (*random)(void *user, uint8_t *out, size_t len), void *user);
void dave_identity_free(struct dave_identity *id); /* NULL is fine; wipes */

/* TD_ERR_NOMEM. Begins as version 0, passthrough on. */
int dave_session_new(struct dave_session **ret, const struct dave_conf *conf);
void dave_session_free(struct dave_session *d); /* NULL is fine; wipes */

/* A fresh Identify, perhaps in another channel: group, external sender, recognized users and
 * pending transitions are dead (section 4, last line of 5). */
void dave_session_reset(struct dave_session *d, uint64_t channel_id, uint64_t now_ns);
/* Session description (opcode 4) named this version. Comes again with every new transport key: only
 * a version that differs, or the first one since a reset, begins anything. */
void dave_session_version(struct dave_session *d, unsigned version, uint64_t now_ns);
/* The connection was lost and stands again, same session: what was said last may not have arrived.
 * A key package that nothing has come of yet is said again. */
void dave_session_resumed(struct dave_session *d);
/* Opcodes 11 and 13: who may be in the group. */
void dave_session_user(struct dave_session *d, uint64_t user_id, bool present);
/* Opcodes 21, 22 and 24 (data: the JSON of d) and 25, 27, 29 and 30 (data: the payload behind seq
 * and opcode). What is wrong with a message costs what section 4 says: TD_ERR_MALFORMED,
 * TD_ERR_AUTH, TD_ERR_UNSUPPORTED, TD_ERR_STATE tell tests and logs; answers come as actions. */
int dave_session_message(struct dave_session *d, uint8_t opcode, const uint8_t *data, size_t len,
	uint64_t now_ns);
/* For about a second frames of user_id came and none opened (section 4.4). Said every second while
 * that lasts; after two seconds of it, it may begin a recovery. */
void dave_session_failing(struct dave_session *d, uint64_t user_id, uint64_t now_ns);

/* The next thing to do: 1, or 0. What it points to is valid until the next dave_* call. */
int dave_next(struct dave_session *d, struct dave_action *ret);

#endif
