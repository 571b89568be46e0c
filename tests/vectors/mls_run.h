/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_MLS_RUN_H
#define TD_TESTS_MLS_RUN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/mls/mls_codec.h"
#include "common/mls/mls_crypto.h"
#include "common/mls/mls_ctx.h"

/*
 * What the runners of the RFC 9420 vector files share. A runner gets one case of its file and
 * reports what it compared through `struct run`; mls_vectors.c counts.
 */
struct run {
	const char *file;
	size_t index; /* of the case */
	json_t *c;    /* the case */
	struct mls_ctx cx;
	unsigned passed, failed, skipped;
	unsigned checks;     /* comparisons so far */
	struct memory *held; /* freed after the case */
};

/* Fails the runner that calls it, with the condition as the reason. */
#define WANT(v, cond)                                                  \
	do {                                                           \
		if (!run_want((v), (cond), #cond, __FILE__, __LINE__)) \
			return;                                        \
	} while (0)

/* The same in a helper that says whether all was well. */
#define WANT_OR_FALSE(v, cond)                                         \
	do {                                                           \
		if (!run_want((v), (cond), #cond, __FILE__, __LINE__)) \
			return false;                                  \
	} while (0)

bool run_want(struct run *v, bool ok, const char *what, const char *file, int line);
void run_skip(struct run *v, const char *why);

/* Fields of an object: a missing or ill-formed one fails the case and gives nothing. Bytes live
 * until the case ends; null is no bytes with p NULL. */
struct mls_span run_hex(struct run *v, const json_t *o, const char *key);
struct mls_span run_hex_value(struct run *v, const json_t *value);
uint64_t run_number(struct run *v, const json_t *o, const char *key);
const char *run_text(struct run *v, const json_t *o, const char *key);
json_t *run_array(struct run *v, const json_t *o, const char *key);
/* A private key or hash: n bytes, or the case fails and 64 zero bytes come back. */
const uint8_t *run_fixed(struct run *v, const json_t *o, const char *key, size_t n);

void *run_hold(struct run *v, size_t n); /* n zero bytes until the case ends */

static inline bool run_same(const uint8_t *got, size_t n, struct mls_span want)
{
	return mls_span_equal(mls_span(got, n), want);
}

/* psk_secret (section 8.4) of n external pre-shared keys. */
struct run_psk {
	struct mls_span id; /* PreSharedKeyID as encoded */
	struct mls_span psk;
};
void run_psk_secret(uint8_t out[static MLS_HASH_LEN], const struct run_psk *psks, size_t n);

/* One per file; see mls_vectors.c. */
void run_tree_math(struct run *v);
void run_deserialization(struct run *v);
void run_crypto_basics(struct run *v);
void run_psk_secret_case(struct run *v);
void run_key_schedule(struct run *v);
void run_transcript_hashes(struct run *v);
void run_secret_tree(struct run *v);
void run_tree_operations(struct run *v);
void run_tree_validation(struct run *v);
void run_treekem(struct run *v);
void run_message_protection(struct run *v);
void run_messages(struct run *v);
void run_welcome(struct run *v);
void run_passive_client(struct run *v);

#endif
