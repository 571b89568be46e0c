/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_DAVE_SESSION_H
#define TD_RECEIVER_DAVE_SESSION_H

#include <stddef.h>
#include <stdint.h>

/*
 * The DAVE session of one voice connection, as an engine: gateway opcodes 21-31 in, what is to be
 * said and done out (dave.md sections 2, 4 and 5). Sans-I/O; one thread at a time.
 *
 * It speaks protocol version 0 (no end-to-end encryption): transitions to version 0 are followed,
 * and a call that is encrypted, or wants to be, is reported and not understood.
 */
struct dave_session;

enum { DAVE_MAX_VERSION = 0 }; /* said in Identify */

enum dave_action_type {
	DAVE_SEND,    /* opcode, data, len: for vgw_dave_send() */
	DAVE_WARNING, /* text */
};
struct dave_action {
	enum dave_action_type type;
	uint8_t opcode;
	const uint8_t *data;
	size_t len;
	const char *text;
};

int dave_session_new(struct dave_session **ret); /* TD_ERR_NOMEM */
void dave_session_free(struct dave_session *d);  /* NULL is fine */

/* A fresh Identify: everything of the session before is dead. */
void dave_session_reset(struct dave_session *d);
/* Session description (opcode 4) named this protocol version. */
void dave_session_version(struct dave_session *d, unsigned version);
/* Opcodes 21, 22 and 24 (the JSON of d) and 25, 27, 29 and 30 (the payload). TD_ERR_MALFORMED,
 * TD_ERR_UNSUPPORTED: nothing changed. */
int dave_session_message(struct dave_session *d, uint8_t opcode, const uint8_t *data, size_t len);

/* The next thing to do: 1, or 0. Pointers are valid until the next call. */
int dave_session_next(struct dave_session *d, struct dave_action *ret);

#endif
