/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_DAVE_RUN_H
#define TD_TESTS_DAVE_RUN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/mls/mls_codec.h"
#include "receiver/dave_state.h"

/*
 * What the runners of recorded DAVE sessions share (tests/vectors/dave/README.md). A case is a view
 * of a transcript, a message to judge, a code or a frame; dave_vectors.c counts.
 */
struct run {
	const char *file;
	char what[128]; /* the case, for messages */
	long step;      /* of a transcript; -1: none */
	unsigned passed, failed, skipped;
	unsigned checks; /* comparisons so far */
	bool broken;     /* the case has failed */
	struct memory *held;
};

/* Fails the case and leaves the function that says it. */
#define WANT(v, cond)                                                  \
	do {                                                           \
		if (!run_want((v), (cond), #cond, __FILE__, __LINE__)) \
			return;                                        \
	} while (0)

bool run_want(struct run *v, bool ok, const char *what, const char *file, int line);
void run_skip(struct run *v, const char *why); /* something that is not compared */

void run_begin(struct run *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void run_end(struct run *v);

/* Fields of an object; a missing or ill-formed one fails the case and gives nothing. Bytes live
 * until the case ends. */
struct mls_span run_hex(struct run *v, const json_t *o, const char *key);
struct mls_span run_hex_value(struct run *v, const json_t *value);
uint64_t run_number(struct run *v, const json_t *o, const char *key);
uint64_t run_id(struct run *v, const json_t *o, const char *key);
const char *run_text(struct run *v, const json_t *o, const char *key); /* "" */
const json_t *run_array(struct run *v, const json_t *o, const char *key);
/* n bytes, or the case fails and 128 zero bytes come back. */
const uint8_t *run_fixed(struct run *v, const json_t *o, const char *key, size_t n);

static inline bool run_same(const void *got, size_t n, struct mls_span want)
{
	return mls_span_equal(mls_span(got, n), want);
}

/*
 * A session whose private keys are the recorded ones. They are put into it from behind: its own
 * are made at random, as they should be.
 */
struct live {
	struct run *v;
	struct dave_identity *identity;
	struct dave_session *d;
	uint64_t now_ns;
	/* What it said since the last live_take(). */
	struct {
		uint8_t opcode;
		uint32_t id; /* of 23 and 31 */
	} sent[64];
	size_t n_sent;
	struct dave_sender senders[256]; /* the last epoch's */
	size_t n_senders;
	uint64_t epoch;
	char code[DAVE_CODE_LEN + 1];
	uint64_t pass_until_ns;
	unsigned warnings;
};

bool live_open(struct live *l, struct run *v, uint64_t channel_id, uint64_t user_id);
void live_close(struct live *l);
void live_take(struct live *l); /* all actions */
int live_message(struct live *l, unsigned op, struct mls_span payload);
/* True once, if it said that; id -1 for any. */
bool live_said(struct live *l, unsigned op, long id);

void live_use_package(struct live *l, const json_t *keys, struct mls_span package);
void live_use_local_group(struct live *l, const json_t *secret);
/* In place of the commit the session has just made; may_be_new: or beside, if it made none. */
void live_use_commit(struct live *l, const json_t *secret, bool may_be_new);
const struct mls_group *live_group(const struct live *l);

/* A media frame of the current epoch; *senders holds the ratchets, NULL at its beginning. */
struct run_senders;
void run_call_frame(struct live *l, struct run_senders **senders, const json_t *f);
void run_senders_free(struct run_senders *s); /* NULL is fine */

/* One per format. */
void run_transcript(struct run *v, const json_t *root);
void run_cases(struct run *v, const json_t *root);
void run_codes(struct run *v, const json_t *root);
void run_frames(struct run *v, const json_t *root);

#endif
