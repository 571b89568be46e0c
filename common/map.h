/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MAP_H
#define TD_COMMON_MAP_H

#include <stddef.h>
#include <stdint.h>

/*
 * Numbers (SSRCs, connections) to pointers: an open-addressing table, linear probing, at most half
 * full. Its order depends on nothing but what was put and deleted: a replay is a replay. The map
 * owns its table, never what it points to. All zero is an empty map.
 */
struct map_entry {
	uint64_t key;
	void *value; /* NULL: free */
};
struct map {
	struct map_entry *table;
	size_t cap; /* 0 or a power of two */
	size_t len;
};

/* A number, mixed: any of its bits depend on all of the key's. */
static inline uint64_t map_hash(uint64_t key)
{
	/* SSRCs are random, connections count up: mix both well. */
	key = (key ^ key >> 31) * 0x9e3779b97f4a7c15u;
	key = (key ^ key >> 29) * 0xbf58476d1ce4e5b9u;
	return key ^ key >> 32;
}

/* Where the key is, or the free entry where it belongs. The table has a free entry. */
static inline struct map_entry *map_find(const struct map *m, uint64_t key)
{
	size_t i = (size_t)map_hash(key) & (m->cap - 1);

	while (m->table[i].value != NULL && m->table[i].key != key)
		i = (i + 1) & (m->cap - 1);
	return &m->table[i];
}

/* NULL: not there. */
static inline void *map_get(const struct map *m, uint64_t key)
{
	return m->len > 0 ? map_find(m, key)->value : NULL;
}

void map_free(struct map *m); /* leaves an empty map */
/* A key that is not in the map, and a value that is not NULL. TD_ERR_NOMEM. */
int map_put(struct map *m, uint64_t key, void *value);
void map_del(struct map *m, uint64_t key); /* a key that is not there is fine */

#endif
