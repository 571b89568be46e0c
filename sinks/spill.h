/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_SPILL_H
#define TD_SINKS_SPILL_H

#include <stddef.h>
#include <stdint.h>

/*
 * Lists that grow for as long as a session lasts, and that nobody needs in memory until they are
 * written down. Blocks of them go to a file without a name, which is gone with this process; in
 * memory are the last block of each, and four bytes for every block before it. What the disk does
 * not take stays in memory until it does.
 *
 * One thread.
 */
enum { SPILL_BLOCK = 1024 };

struct spill;

int spill_new(struct spill **ret); /* TD_ERR_NOMEM */
/* Makes the file, in the folder dir_fd. Before that, and where none can be made, lists are kept in
 * memory. */
void spill_open(struct spill *s, int dir_fd);
void spill_free(struct spill *s); /* NULL is fine; its lists cannot be read any more */

/* All zero is empty. Bytes that are there do not change. */
struct spill_list {
	uint64_t len;
	uint32_t *blocks; /* numbers in the file */
	uint32_t block_count, block_cap;
	uint8_t *tail; /* what is behind these */
	size_t tail_cap;
};

/* s NULL: in memory. TD_ERR_NOMEM: nothing of it was added. */
int spill_append(struct spill *s, struct spill_list *l, const void *data, size_t len);
/* TD_ERR_IO: some of it cannot be read, or is not there. */
int spill_read(const struct spill *s, const struct spill_list *l, uint64_t at, void *to,
	size_t len);
void spill_list_free(struct spill_list *l);

/* A whole list, with `room` bytes more behind it, in memory that goes back to the system when it is
 * unloaded, unless it is little; len: as long as the list was. NULL: no memory, or it cannot be
 * read. */
void *spill_load(const struct spill *s, const struct spill_list *l, size_t room);
void spill_unload(void *p, uint64_t len, size_t room);

#endif
