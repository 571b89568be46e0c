/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_JOURNAL_H
#define TD_RECEIVER_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What went down a lane lately, in order: datagrams, and whatever else changed what a worker knows.
 * A worker that dies takes with it what was in its pipes and waited in its windows; its replacement
 * gets that again from here. Bounded: the oldest entries fall out. One thread.
 *
 * It lies in chunks, taken from the system and given back as it moves: what is resident is what it
 * holds, a chunk at either end of it, and a few spare ones while it moves fast.
 */
enum { JOURNAL_CHUNK = 64 * 1024, JOURNAL_MAX_LEN = JOURNAL_CHUNK - 128 };

struct journal_entry {
	uint64_t conn;
	uint64_t at_ns; /* as given */
	uint64_t no;    /* 1, 2, 3, ...: never used again */
	uint32_t at;    /* where in its chunk it begins */
	uint16_t len;   /* bytes of data */
	uint16_t type;  /* as given */
	uint8_t data[]; /* begins at a multiple of 8 */
};

struct journal_chunk;

struct journal {
	struct journal_chunk *first, *last; /* NULL: there are no entries */
	struct journal_chunk *spare;
	size_t chunks, max_chunks, spares; /* chunks: those with entries */
	uint64_t last_no;
	uint16_t quiet;
	/* An entry is about to leave, whatever for. Not called for those of the quiet type. */
	void (*dropped)(void *user, const struct journal_entry *e);
	void *user;
};

/* max_bytes is a multiple of JOURNAL_CHUNK. */
void journal_init(struct journal *j, size_t max_bytes, uint16_t quiet,
	void (*dropped)(void *user, const struct journal_entry *e), void *user);
void journal_free(struct journal *j); /* drops everything */

/* Adds an entry of a connection (not 0), dropping a chunk of the oldest where there is no room for
 * it. TD_ERR_LIMIT: more than JOURNAL_MAX_LEN; TD_ERR_NOMEM: not even one chunk can be had. */
int journal_add(struct journal *j, uint64_t conn, uint64_t at_ns, uint16_t type, const void *data,
	size_t len);

/* The entry behind `after`, or the oldest (NULL); NULL: no more. Valid until something is added. */
struct journal_entry *journal_next(const struct journal *j, const struct journal_entry *after);

void journal_drop(struct journal *j, struct journal_entry *e); /* any entry */
/* The oldest entries, as long as their number is at most `no` and their time before before_ns.
 * Quiet ones may stay until that is true of a whole chunk. */
void journal_trim(struct journal *j, uint64_t no, uint64_t before_ns);

#endif
