/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_DAVE_H
#define TD_TESTS_VOICESERVER_DAVE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The place of end-to-end encryption (dave.md) in the server. It has none yet: every session runs
 * with version 0 and what clients say about DAVE is read and not answered.
 */
struct session;

/* What the session description says. */
int dave_version(const struct session *s);
/* True when a client that speaks up to `max_version` may join; if not it gets 4017. */
bool dave_admits(bool require_dave, int64_t max_version);
/* Opcodes 23 and 31; d is borrowed. */
void dave_text(struct session *s, int op, json_t *d);
/* A binary message: opcode, payload. 0, or TD_ERR_UNSUPPORTED: a client sends no such opcode. */
int dave_binary(struct session *s, const uint8_t *data, size_t len);

#endif
