/* SPDX-License-Identifier: ISC */
#include "receiver/journal.h"

#include <string.h>
#include <sys/mman.h>

#include "common/err.h"

/* An entry that is skipped: it was dropped out of turn. */
#define NOBODY 0

struct journal_chunk {
	struct journal_chunk *next;
	uint32_t begin, end; /* of its entries, in bytes from here */
	uint32_t live, loud; /* entries not yet dropped, and those of them that are not quiet */
	uint64_t newest_ns;  /* the highest time of its entries, */
	uint64_t last_no;    /* and number */
	struct journal_entry entries[]; /* of various sizes */
};

enum { ENTRIES_AT = offsetof(struct journal_chunk, entries) };

_Static_assert(sizeof(struct journal_entry) == 32, "journal_entry has padding");
_Static_assert(ENTRIES_AT + sizeof(struct journal_entry) + JOURNAL_MAX_LEN <= JOURNAL_CHUNK,
	"an entry fits into a chunk");

void journal_init(struct journal *j, size_t max_bytes, uint16_t quiet,
	void (*dropped)(void *user, const struct journal_entry *e), void *user)
{
	*j = (struct journal){
		.max_chunks = max_bytes / JOURNAL_CHUNK,
		.quiet = quiet,
		.dropped = dropped,
		.user = user,
	};
}

static uint32_t size_for(size_t len)
{
	return (uint32_t)((sizeof(struct journal_entry) + len + 7) & ~(size_t)7);
}

static struct journal_entry *entry_at(struct journal_chunk *c, uint32_t at)
{
	return (struct journal_entry *)(void *)((uint8_t *)c + at);
}

static struct journal_chunk *chunk_of(const struct journal_entry *e)
{
	return (struct journal_chunk *)(void *)((uint8_t *)(uintptr_t)e - e->at);
}

/* The first entry of the chunk from `at` on, or of those behind it, that somebody cares for. */
static struct journal_entry *find(struct journal_chunk *c, uint32_t at)
{
	while (c != NULL) {
		for (; at < c->end; at += size_for(entry_at(c, at)->len)) {
			if (entry_at(c, at)->conn != NOBODY)
				return entry_at(c, at);
		}
		if ((c = c->next) != NULL)
			at = c->begin;
	}
	return NULL;
}

struct journal_entry *journal_next(const struct journal *j, const struct journal_entry *after)
{
	if (after != NULL)
		return find(chunk_of(after), after->at + size_for(after->len));
	return j->first != NULL ? find(j->first, j->first->begin) : NULL;
}

void journal_drop(struct journal *j, struct journal_entry *e)
{
	struct journal_chunk *c = chunk_of(e);

	if (e->type != j->quiet) {
		j->dropped(j->user, e);
		c->loud--;
	}
	c->live--;
	e->conn = NOBODY;
}

/* ---- chunks ---- */

static struct journal_chunk *pop_spare(struct journal *j)
{
	struct journal_chunk *c = j->spare;

	if (c != NULL) {
		j->spare = c->next;
		j->spares--;
	}
	return c;
}

static void give_back_spares(struct journal *j, size_t keep)
{
	while (j->spares > keep)
		munmap(pop_spare(j), JOURNAL_CHUNK);
}

/* Nothing is wanted of it any more. Chunks become free many at once where much is under way, and
 * are wanted again: in a replay the pipes empty and fill in an instant, which is what it may hold
 * the most for. */
static void remove_first(struct journal *j)
{
	struct journal_chunk *c = j->first;

	if ((j->first = c->next) == NULL)
		j->last = NULL;
	j->chunks--;
	c->next = j->spare;
	j->spare = c;
	j->spares++;
	give_back_spares(j, 1 + j->chunks / 4 + j->max_chunks / 128);
}

static void drop_first(struct journal *j)
{
	struct journal_chunk *c = j->first;
	struct journal_entry *e;

	for (; c->loud > 0; c->begin += size_for(e->len)) {
		e = entry_at(c, c->begin);
		if (e->conn != NOBODY)
			journal_drop(j, e);
	}
	remove_first(j);
}

void journal_free(struct journal *j)
{
	while (j->first != NULL)
		drop_first(j);
	give_back_spares(j, 0);
}

/* Mapped and not from malloc(), so that what is given back is the system's at once. */
static struct journal_chunk *take(struct journal *j)
{
	struct journal_chunk *c;

	if (j->chunks == j->max_chunks)
		return NULL;
	if ((c = pop_spare(j)) != NULL)
		return c;
	c = mmap(NULL, JOURNAL_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return c != MAP_FAILED ? c : NULL;
}

static int add_chunk(struct journal *j)
{
	struct journal_chunk *c = take(j);

	if (c == NULL && j->first != NULL) {
		drop_first(j);
		c = pop_spare(j);
	}
	if (c == NULL)
		return TD_ERR_NOMEM;
	*c = (struct journal_chunk){ .begin = ENTRIES_AT, .end = ENTRIES_AT };
	if (j->last != NULL)
		j->last->next = c;
	else
		j->first = c;
	j->last = c;
	j->chunks++;
	return TD_OK;
}

/* ---- in and out ---- */

void journal_trim(struct journal *j, uint64_t no, uint64_t before_ns)
{
	struct journal_chunk *c;
	struct journal_entry *e;

	while ((c = j->first) != NULL && c->last_no <= no && c->newest_ns < before_ns)
		drop_first(j);
	if (c == NULL)
		return;
	for (; c->loud > 0; c->begin += size_for(e->len)) {
		e = entry_at(c, c->begin);
		if (e->conn == NOBODY)
			continue;
		if (e->no > no || e->at_ns >= before_ns)
			return;
		journal_drop(j, e);
	}
}

int journal_add(struct journal *j, uint64_t conn, uint64_t at_ns, uint16_t type, const void *data,
	size_t len)
{
	uint32_t size = size_for(len);
	struct journal_chunk *c;
	struct journal_entry *e;
	int r;

	if (len > JOURNAL_MAX_LEN)
		return TD_ERR_LIMIT;
	/* What was dropped out of turn takes up room for no longer than it must. */
	while (j->first != NULL && j->first->live == 0)
		remove_first(j);
	if (j->last == NULL || size > JOURNAL_CHUNK - j->last->end) {
		if ((r = add_chunk(j)) != TD_OK)
			return r;
	}
	c = j->last;
	e = entry_at(c, c->end);
	e->conn = conn;
	e->at_ns = at_ns;
	e->no = ++j->last_no;
	e->at = c->end;
	e->len = (uint16_t)len;
	e->type = type;
	if (len > 0)
		memcpy(e->data, data, len);
	c->end += size;
	c->live++;
	c->loud += type != j->quiet;
	c->last_no = e->no;
	if (at_ns > c->newest_ns)
		c->newest_ns = at_ns;
	return TD_OK;
}
