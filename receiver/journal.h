/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_JOURNAL_H
#define TD_RECEIVER_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What went down a lane lately, in order: datagrams, and bookmarks (controls). A worker that dies
 * takes with it what was in its pipes and waited in its reorder windows; its replacement gets that
 * again from here. Bounded by bytes and age: the oldest entries fall out. One thread.
 */
struct journal {
	uint8_t *buf; /* a ring; entries do not wrap, each begins at a multiple of 8 */
	size_t cap;
	uint64_t head, tail; /* bytes ever dropped and ever added: buf[head % cap .. tail % cap) */
	size_t max_bytes;
	uint64_t max_age_ns;
};

struct journal_entry {
	uint64_t conn;
	uint64_t at_ns;  /* arrival of a datagram; of a bookmark: what it was added with */
	uint64_t serial; /* of a bookmark; 0: a datagram */
	uint32_t len;    /* bytes of data */
	uint32_t size;   /* of the whole entry in the ring */
	uint8_t data[];
};

void journal_init(struct journal *j, size_t max_bytes, uint64_t max_age_ns);
void journal_free(struct journal *j);

/* Adds an entry; serial 0: a datagram. Without memory the entry is not kept: only a replacement
 * worker would miss it. */
void journal_add(struct journal *j, uint64_t conn, uint64_t at_ns, uint64_t serial,
	const uint8_t *data, size_t len);
/* Forgets the datagrams of a connection: nothing of them may come again. */
void journal_forget(struct journal *j, uint64_t conn);
/* Every entry, oldest first; borrowed for the call. */
void journal_each(const struct journal *j, void (*each)(void *user, const struct journal_entry *e),
	void *user);

#endif
