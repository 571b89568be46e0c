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
 */
struct journal_entry {
	uint64_t conn;
	uint64_t at_ns; /* as given */
	uint64_t no;    /* 1, 2, 3, ...: never used again */
	uint32_t size;  /* of the whole entry in the ring */
	uint16_t len;   /* bytes of data */
	uint16_t type;  /* as given */
	uint8_t data[]; /* begins at a multiple of 8 */
};

struct journal {
	uint8_t *buf;          /* a ring; entries do not wrap, each begins at a multiple of 8 */
	size_t cap, max_bytes; /* powers of two */
	uint64_t head, tail;   /* bytes dropped and added so far: buf[head % cap .. tail % cap) */
	uint64_t last_no;
	/* An entry is about to leave, whatever for. */
	void (*dropped)(void *user, const struct journal_entry *e);
	void *user;
};

/* max_bytes is a power of two. */
void journal_init(struct journal *j, size_t max_bytes,
	void (*dropped)(void *user, const struct journal_entry *e), void *user);
void journal_free(struct journal *j); /* drops everything */

/* Adds an entry of a connection (not 0), dropping the oldest where there is no room for it.
 * TD_ERR_LIMIT: larger than the whole journal; TD_ERR_NOMEM: not even a small ring can be had. */
int journal_add(struct journal *j, uint64_t conn, uint64_t at_ns, uint16_t type, const void *data,
	size_t len);

/* The entry behind `after`, or the oldest (NULL); NULL: no more. Valid until something is added. */
struct journal_entry *journal_next(const struct journal *j, const struct journal_entry *after);

void journal_drop(struct journal *j, struct journal_entry *e); /* any entry */
/* The oldest entries, as long as their number is at most `no` and their time before before_ns. */
void journal_trim(struct journal *j, uint64_t no, uint64_t before_ns);

#endif
