/* SPDX-License-Identifier: ISC */
#include "receiver/journal.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"

enum { JOURNAL_CAP_MIN = 64 * 1024 };
enum { CACHE_LINE = 64, LOOK_AHEAD = 2048 };
/* An entry that is skipped: one that was dropped out of turn, or the rest of the ring before its
 * end. */
#define NOBODY 0

_Static_assert(sizeof(struct journal_entry) == 32, "journal_entry has padding");

void journal_init(struct journal *j, size_t max_bytes,
	void (*dropped)(void *user, const struct journal_entry *e), void *user)
{
	*j = (struct journal){ .max_bytes = max_bytes, .dropped = dropped, .user = user };
}

static struct journal_entry *entry_at(const struct journal *j, uint64_t at)
{
	return (struct journal_entry *)(void *)(j->buf + (at & (j->cap - 1)));
}

/* What is left of the ring at `at` before it begins again, when it has room for no entry. */
static size_t stub_at(const struct journal *j, uint64_t at)
{
	size_t left = j->cap - (size_t)(at & (j->cap - 1));

	return left < sizeof(struct journal_entry) ? left : 0;
}

static uint64_t behind(const struct journal *j, uint64_t at)
{
	size_t stub = stub_at(j, at);

	return at + (stub > 0 ? stub : entry_at(j, at)->size);
}

/* The first entry from `at` on that somebody cares for. */
static struct journal_entry *find(const struct journal *j, uint64_t at)
{
	for (; at < j->tail; at = behind(j, at)) {
		if (stub_at(j, at) == 0 && entry_at(j, at)->conn != NOBODY)
			return entry_at(j, at);
	}
	return NULL;
}

struct journal_entry *journal_next(const struct journal *j, const struct journal_entry *after)
{
	uint64_t into;

	if (after == NULL)
		return find(j, j->head);
	/* How far behind head it is, in a ring. */
	into = ((uint64_t)((const uint8_t *)after - j->buf) - j->head) & (j->cap - 1);
	return find(j, j->head + into + after->size);
}

void journal_drop(struct journal *j, struct journal_entry *e)
{
	j->dropped(j->user, e);
	e->conn = NOBODY;
}

/* What is trimmed was written seconds ago, and is in no cache by now: that takes longer than all
 * that is done with it. */
static void fetch(const struct journal *j, uint64_t from, uint64_t to)
{
	for (; from < to; from += CACHE_LINE)
		__builtin_prefetch(j->buf + (from & (j->cap - 1)));
}

static void drop_first(struct journal *j)
{
	uint64_t head = j->head;

	if (stub_at(j, head) == 0 && entry_at(j, head)->conn != NOBODY)
		j->dropped(j->user, entry_at(j, head));
	j->head = behind(j, head);
	fetch(j, head + LOOK_AHEAD, j->head + LOOK_AHEAD);
}

void journal_free(struct journal *j)
{
	while (j->head < j->tail)
		drop_first(j);
	free(j->buf);
	j->buf = NULL;
	j->cap = 0;
	j->head = j->tail = 0;
}

void journal_trim(struct journal *j, uint64_t no, uint64_t before_ns)
{
	while (j->head < j->tail) {
		const struct journal_entry *e = entry_at(j, j->head);

		if (stub_at(j, j->head) == 0 && e->conn != NOBODY &&
			(e->no > no || e->at_ns >= before_ns))
			return;
		drop_first(j);
	}
}

/* ---- adding ---- */

/* Puts an entry at the end; the ring has room for it there. */
static struct journal_entry *place(struct journal *j, size_t size)
{
	struct journal_entry *e = entry_at(j, j->tail);

	e->conn = NOBODY;
	e->size = (uint32_t)size;
	j->tail += size;
	return e;
}

/* What has to be skipped so that an entry of this size does not wrap. */
static size_t skip_before(const struct journal *j, size_t size)
{
	size_t left = j->cap - (size_t)(j->tail & (j->cap - 1));

	return left < size ? left : 0;
}

/* Everything in a ring of another size. */
static bool grow(struct journal *j, size_t cap)
{
	struct journal bigger = *j;
	const struct journal_entry *e = NULL;

	if ((bigger.buf = malloc(cap)) == NULL)
		return false;
	bigger.cap = cap;
	bigger.head = bigger.tail = 0;
	while ((e = journal_next(j, e)) != NULL)
		memcpy(place(&bigger, e->size), e, e->size);
	free(j->buf);
	*j = bigger;
	return true;
}

static int make_room(struct journal *j, size_t size)
{
	size_t first = JOURNAL_CAP_MIN < j->max_bytes ? JOURNAL_CAP_MIN : j->max_bytes;

	if (size > j->max_bytes)
		return TD_ERR_LIMIT;
	while (first < size)
		first *= 2;
	if (j->cap == 0 && !grow(j, first))
		return TD_ERR_NOMEM;
	for (;;) {
		if (j->head == j->tail)
			j->head = j->tail = 0;
		if (skip_before(j, size) + size <= j->cap - (size_t)(j->tail - j->head))
			return TD_OK;
		if (j->cap < j->max_bytes && grow(j, j->cap * 2))
			continue;
		if (j->head == j->tail)
			return TD_ERR_NOMEM;
		drop_first(j);
	}
}

int journal_add(struct journal *j, uint64_t conn, uint64_t at_ns, uint16_t type, const void *data,
	size_t len)
{
	size_t size = (sizeof(struct journal_entry) + len + 7) & ~(size_t)7, skip;
	struct journal_entry *e;
	int r;

	if (len > UINT16_MAX)
		return TD_ERR_LIMIT;
	/* What was dropped out of turn takes up room for no longer than it must. */
	while (j->head < j->tail &&
		(stub_at(j, j->head) > 0 || entry_at(j, j->head)->conn == NOBODY))
		drop_first(j);
	if ((r = make_room(j, size)) != TD_OK)
		return r;
	skip = skip_before(j, size);
	if (skip >= sizeof(*e))
		place(j, skip);
	else
		j->tail += skip;
	e = place(j, size);
	e->conn = conn;
	e->at_ns = at_ns;
	e->no = ++j->last_no;
	e->len = (uint16_t)len;
	e->type = type;
	if (len > 0)
		memcpy(e->data, data, len);
	return TD_OK;
}
