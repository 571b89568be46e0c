/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_DAVE_H
#define TD_TESTS_VOICESERVER_DAVE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/voiceserver/dave_seal.h"
#include "tests/voiceserver/packet.h"
#include "tests/voiceserver/scenario.h"

/*
 * End-to-end encryption in a call (dave.md): the server's half of it, and the scripted speakers as
 * members. This file is where messages come in and go out; dave_group.h decides.
 */
struct call;
struct member;
struct session;
struct dave_call;

/* Of every call, encrypted or not. TD_ERR_NOMEM. Free with dave_free(). */
int dave_new(struct dave_call **ret, struct call *c);
void dave_free(struct dave_call *d); /* NULL is fine */

/* What the session description says. */
int dave_version(const struct session *s);
/* True when a client that speaks up to `max_version` may join; if not it gets 4017. */
bool dave_admits(bool require_dave, int64_t max_version);

/* A real client has identified, was given its description, is gone for good. */
void dave_identified(struct session *s);
void dave_described(struct session *s);
void dave_gone(struct session *s);
/* Opcodes 23 and 31; d is borrowed. */
void dave_text(struct session *s, int op, json_t *d);
/* A binary message: opcode, payload. 0, or TD_ERR_UNSUPPORTED: a client sends no such opcode. */
int dave_binary(struct session *s, const uint8_t *data, size_t len);

/* A scripted speaker comes or goes. */
void dave_joins(struct call *c, struct member *m);
void dave_leaves(struct call *c, struct member *m);

/* True while the script waits for the recorder to get its first keys. */
bool dave_holds_start(const struct call *c);

/* When there is something to do; UINT64_MAX: never. */
uint64_t dave_next_ns(const struct call *c);
void dave_run(struct call *c);

/* A frame of a scripted speaker on its way out: m's payload may become what is in buf. */
enum dave_fate {
	DAVE_READABLE,   /* the recorder can make sense of it */
	DAVE_UNREADABLE, /* it cannot */
	DAVE_UNSENT,     /* there is no key to send it under */
};
enum dave_fate dave_frame(struct call *c, struct member *from, struct media *m,
	uint8_t buf[static PACKET_MAX]);

/* True when the recorder is where it can read what the others send. */
bool dave_recorder_reads(const struct call *c);

/* What a script does to it. */
void dave_event(struct call *c, const struct scenario_event *e);

#endif
