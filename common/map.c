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

/* Where the key is, or the free entry where it belongs. The table has a free entry. */
static struct map_entry *find(const struct map *m, uint64_t key)
{
	size_t i = home(m, key);

	while (m->table[i].value != NULL && m->table[i].key != key)
		i = (i + 1) & (m->cap - 1);
	return &m->table[i];
}

void map_free(struct map *m)
{
	free(m->table);
	memset(m, 0, sizeof(*m));
}

void *map_get(const struct map *m, uint64_t key)
{
	return m->len > 0 ? find(m, key)->value : NULL;
}

static int grow(struct map *m)
{
	struct map bigger = { .cap = m->cap > 0 ? m->cap * 2 : MAP_MIN_CAP, .len = m->len };
	size_t i;

	if ((bigger.table = calloc(bigger.cap, sizeof(*bigger.table))) == NULL)
		return TD_ERR_NOMEM;
	for (i = 0; i < m->cap; i++) {
		if (m->table[i].value != NULL)
			*find(&bigger, m->table[i].key) = m->table[i];
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
	e = find(m, key);
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
	hole = (size_t)(find(m, key) - m->table);
	for (i = (hole + 1) & mask; m->table[i].value != NULL; i = (i + 1) & mask) {
		if (((i - home(m, m->table[i].key)) & mask) >= ((i - hole) & mask)) {
			m->table[hole] = m->table[i];
			hole = i;
		}
	}
	m->table[hole].value = NULL;
	m->len--;
}
