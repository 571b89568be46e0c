/* SPDX-License-Identifier: ISC */
#include "common/map.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"

enum { MAP_MIN_CAP = 16 };

/* Where the key would like to be. */
static size_t home(const struct map *m, uint64_t key)
{
	return (size_t)map_hash(key) & (m->cap - 1);
}

void map_free(struct map *m)
{
	free(m->table);
	memset(m, 0, sizeof(*m));
}

static int grow(struct map *m)
{
	struct map bigger = { .cap = m->cap > 0 ? m->cap * 2 : MAP_MIN_CAP, .len = m->len };
	size_t i;

	if ((bigger.table = calloc(bigger.cap, sizeof(*bigger.table))) == NULL)
		return TD_ERR_NOMEM;
	for (i = 0; i < m->cap; i++) {
		if (m->table[i].value != NULL)
			*map_find(&bigger, m->table[i].key) = m->table[i];
	}
	free(m->table);
	*m = bigger;
	return TD_OK;
}

int map_put(struct map *m, uint64_t key, void *value)
{
	struct map_entry *e;

	if (2 * (m->len + 1) > m->cap && grow(m) != TD_OK)
		return TD_ERR_NOMEM;
	e = map_find(m, key);
	e->key = key;
	e->value = value;
	m->len++;
	return TD_OK;
}

void map_del(struct map *m, uint64_t key)
{
	size_t mask = m->cap - 1, hole, i;

	if (map_get(m, key) == NULL)
		return;
	/* Whoever was pushed past the hole moves back into it, so that no search ends early. */
	hole = (size_t)(map_find(m, key) - m->table);
	for (i = (hole + 1) & mask; m->table[i].value != NULL; i = (i + 1) & mask) {
		if (((i - home(m, m->table[i].key)) & mask) >= ((i - hole) & mask)) {
			m->table[hole] = m->table[i];
			hole = i;
		}
	}
	m->table[hole].value = NULL;
	m->len--;
}
