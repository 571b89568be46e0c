/* SPDX-License-Identifier: ISC */
#include "receiver/dave_users.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"

void dave_users_free(struct dave_users *u)
{
	free(u->v);
	*u = (struct dave_users){ .v = NULL };
}

/* The place of the first id that is not below this one. */
static size_t place(const struct dave_users *u, uint64_t id)
{
	size_t lo = 0, hi = u->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (u->v[mid] < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool is_at(const struct dave_users *u, size_t at, uint64_t id)
{
	return at < u->n && u->v[at] == id;
}

bool dave_users_have(const struct dave_users *u, uint64_t id)
{
	return is_at(u, place(u, id), id);
}

int dave_users_add(struct dave_users *u, uint64_t id)
{
	size_t at = place(u, id);

	if (is_at(u, at, id))
		return TD_OK;
	if (u->n == DAVE_MAX_USERS)
		return TD_ERR_LIMIT;
	if (u->n == u->cap) {
		size_t cap = u->cap > 0 ? u->cap * 2 : 16;
		uint64_t *v = realloc(u->v, cap * sizeof(*v));

		if (v == NULL)
			return TD_ERR_NOMEM;
		u->v = v;
		u->cap = cap;
	}
	memmove(&u->v[at + 1], &u->v[at], (u->n - at) * sizeof(*u->v));
	u->v[at] = id;
	u->n++;
	return TD_OK;
}

void dave_users_remove(struct dave_users *u, uint64_t id)
{
	size_t at = place(u, id);

	if (!is_at(u, at, id))
		return;
	u->n--;
	memmove(&u->v[at], &u->v[at + 1], (u->n - at) * sizeof(*u->v));
}
