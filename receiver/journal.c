/* SPDX-License-Identifier: ISC */
#include "receiver/journal.h"

#include <stdlib.h>
#include <string.h>

enum { JOURNAL_CAP_MIN = 64 * 1024 };
/* An entry that is skipped: of a connection that was forgotten, or the rest of the ring before its
 * end. */
#define NOBODY 0

void journal_init(struct journal *j, size_t max_bytes, uint64_t max_age_ns)
{
	*j = (struct journal){ .max_bytes = max_bytes, .max_age_ns = max_age_ns };
}

void journal_free(struct journal *j)
{
	free(j->buf);
	j->buf = NULL;
	j->cap = 0;
	j->head = j->tail = 0;
}

static struct journal_entry *entry_at(const struct journal *j, uint64_t at)
{
	return (struct journal_entry *)(void *)(j->buf + at % j->cap);
}

/* What is left of the ring at `at` before it begins again, when it has room for no entry. */
static size_t stub_at(const struct journal *j, uint64_t at)
{
	size_t left = j->cap - (size_t)(at % j->cap);

	return left < sizeof(struct journal_entry) ? left : 0;
}

static uint64_t after(const struct journal *j, uint64_t at)
{
	size_t stub = stub_at(j, at);

	return at + (stub > 0 ? stub : entry_at(j, at)->size);
}

static void drop_first(struct journal *j)
{
	j->head = after(j, j->head);
}

/* Puts an entry at the end; the ring has room for it there. */
static struct journal_entry *place(struct journal *j, size_t size)
{
	struct journal_entry *e = entry_at(j, j->tail);

	*e = (struct journal_entry){ .size = (uint32_t)size };
	j->tail += size;
	return e;
}

/* The bytes an entry of this size takes with what is skipped at the end of the ring. */
static size_t with_skip(const struct journal *j, size_t size)
{
	size_t left = j->cap - (size_t)(j->tail % j->cap);

	return left < size ? left + size : size;
}

/* Everything in a ring of another size. */
static bool grow(struct journal *j, size_t cap)
{
	struct journal bigger = *j;
	uint64_t at;

	if ((bigger.buf = malloc(cap)) == NULL)
		return false;
	bigger.cap = cap;
	bigger.head = bigger.tail = 0;
	for (at = j->head; at < j->tail; at = after(j, at)) {
		const struct journal_entry *e = entry_at(j, at);

		if (stub_at(j, at) > 0 || e->conn == NOBODY)
			continue;
		memcpy(place(&bigger, e->size), e, e->size);
	}
	free(j->buf);
	*j = bigger;
	return true;
}

static bool make_room(struct journal *j, size_t size)
{
	if (j->cap == 0 &&
		!grow(j, JOURNAL_CAP_MIN < j->max_bytes ? JOURNAL_CAP_MIN : j->max_bytes))
		return false;
	while (with_skip(j, size) > j->cap - (j->tail - j->head)) {
		if (j->cap * 2 <= j->max_bytes && grow(j, j->cap * 2))
			continue;
		if (j->head == j->tail) {
			j->head = j->tail = 0;
			return size <= j->cap;
		}
		drop_first(j);
	}
	return true;
}

void journal_add(struct journal *j, uint64_t conn, uint64_t at_ns, uint64_t serial,
	const uint8_t *data, size_t len)
{
	size_t size = (sizeof(struct journal_entry) + len + 7) & ~(size_t)7, left;
	struct journal_entry *e;

	while (j->head < j->tail &&
		(stub_at(j, j->head) > 0 || entry_at(j, j->head)->conn == NOBODY ||
			(j->max_age_ns > 0 && entry_at(j, j->head)->at_ns + j->max_age_ns < at_ns)))
		drop_first(j);
	if (!make_room(j, size))
		return;
	left = j->cap - (size_t)(j->tail % j->cap);
	if (left < sizeof(*e))
		j->tail += left;
	else if (left < size)
		place(j, left);
	e = place(j, size);
	e->conn = conn;
	e->at_ns = at_ns;
	e->serial = serial;
	e->len = (uint32_t)len;
	if (len > 0)
		memcpy(e->data, data, len);
}

void journal_forget(struct journal *j, uint64_t conn)
{
	uint64_t at;

	for (at = j->head; at < j->tail; at = after(j, at)) {
		if (stub_at(j, at) == 0 && entry_at(j, at)->conn == conn &&
			entry_at(j, at)->serial == 0)
			entry_at(j, at)->conn = NOBODY;
	}
}

void journal_each(const struct journal *j, void (*each)(void *user, const struct journal_entry *e),
	void *user)
{
	uint64_t at;

	for (at = j->head; at < j->tail; at = after(j, at)) {
		if (stub_at(j, at) == 0 && entry_at(j, at)->conn != NOBODY)
			each(user, entry_at(j, at));
	}
}
