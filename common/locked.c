/* SPDX-License-Identifier: ISC */
#include "common/locked.h"

#include <pthread.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/queue.h>

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
bool locked_alone = true;
#else
bool locked_alone = false;
#endif

/* In front of every block, also of those that are free. */
struct head {
	struct region *region; /* NULL: it has pages of its own */
	uint64_t mark;         /* says whether it is in use, and that nobody wrote over it */
};
_Static_assert(sizeof(struct head) == _Alignof(max_align_t), "blocks would not be aligned");

struct free_block {
	struct head head;
	struct free_block *next;
};

struct region {
	LIST_ENTRY(region)
	link; /* of its class: in `open` while a block is free, else in no list */
	unsigned class;
	size_t blocks, used;
	struct free_block *free;
	uint8_t *at; /* sodium_malloc() */
};

/* With their heads. What there is one of for each connection wastes little: keys, what transports
 * make of them, and connection infos. */
static const size_t sizes[] = { 64, 128, 256, 576, 960, 2048 };
enum { CLASSES = sizeof(sizes) / sizeof(sizes[0]) };
/* A call alone needs little; a thousand of them few system calls. */
enum { REGION_FIRST = 8192, REGION_MORE = 65536 };

static struct {
	pthread_mutex_t lock;
	LIST_HEAD(, region) open[CLASSES];
	size_t regions[CLASSES];
} all = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t mark_of(const void *block, bool used)
{
	return (uint64_t)(uintptr_t)block ^ (used ? 0x5ec12e7b10c4d00du : 0xf4eeb10cf4eeb10cu);
}

static void check(bool good)
{
	if (!good)
		abort(); /* somebody wrote past the end of a secret, or freed it twice */
}

static bool region_has(const struct region *r, const void *block)
{
	return (const uint8_t *)block < r->at + r->blocks * sizes[r->class];
}

static struct region *region_new(unsigned class)
{
	size_t size = all.regions[class] == 0 ? REGION_FIRST : REGION_MORE;
	struct region *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->class = class;
	r->blocks = size / sizes[class];
	if ((r->at = sodium_malloc(r->blocks * sizes[class])) == NULL) {
		free(r);
		return NULL;
	}
	sodium_memzero(r->at, r->blocks * sizes[class]);
	/* The lowest is the first to be used. */
	for (size_t i = r->blocks; i-- > 0;) {
		struct free_block *b = (void *)(r->at + i * sizes[class]);

		b->head = (struct head){ r, mark_of(b, false) };
		b->next = r->free;
		r->free = b;
	}
	all.regions[class]++;
	LIST_INSERT_HEAD(&all.open[class], r, link);
	return r;
}

/* One that is empty is kept if none else of its class has room. */
static void region_free(struct region *r)
{
	LIST_REMOVE(r, link);
	if (LIST_EMPTY(&all.open[r->class])) {
		LIST_INSERT_HEAD(&all.open[r->class], r, link);
		return;
	}
	all.regions[r->class]--;
	sodium_free(r->at);
	free(r);
}

static void *block_take(unsigned class)
{
	struct region *r = LIST_FIRST(&all.open[class]);
	struct free_block *b;

	if (r == NULL && (r = region_new(class)) == NULL)
		return NULL;
	b = r->free;
	check(b->head.mark == mark_of(b, false) && b->head.region == r);
	b->head.mark = mark_of(b, true);
	r->free = b->next;
	b->next = NULL;
	r->used++;
	if (r->free == NULL)
		LIST_REMOVE(r, link);
	return &b->head + 1;
}

static void block_give(struct region *r, struct head *h)
{
	struct free_block *b = (void *)h;
	struct head *next = (void *)((uint8_t *)h + sizes[r->class]);

	if (region_has(r, next))
		check(next->region == r &&
			(next->mark == mark_of(next, true) || next->mark == mark_of(next, false)));
	sodium_memzero(h + 1, sizes[r->class] - sizeof(*h));
	h->mark = mark_of(b, false);
	if (r->free == NULL)
		LIST_INSERT_HEAD(&all.open[r->class], r, link);
	b->next = r->free;
	r->free = b;
	if (--r->used == 0)
		region_free(r);
}

/* Rounded up, because sodium_malloc() puts the end of it at the guard page. */
static void *pages_new(size_t n)
{
	struct head *h;

	n = (n + sizeof(*h) - 1) / sizeof(*h) * sizeof(*h);
	if ((h = sodium_malloc(sizeof(*h) + n)) == NULL)
		return NULL;
	sodium_memzero(h, sizeof(*h) + n);
	h->mark = mark_of(h, true);
	return h + 1;
}

void *locked_new(size_t n)
{
	unsigned class = 0;
	void *p;

	/* Guarded memory needs the page size that this finds out. */
	if (sodium_init() < 0 || n > SIZE_MAX / 2)
		return NULL;
	while (class < CLASSES && sizes[class] - sizeof(struct head) < n)
		class ++;
	if (class == CLASSES || locked_alone)
		return pages_new(n);
	pthread_mutex_lock(&all.lock);
	p = block_take(class);
	pthread_mutex_unlock(&all.lock);
	return p;
}

void locked_free(void *p)
{
	struct head *h = p;

	if (p == NULL)
		return;
	h--;
	pthread_mutex_lock(&all.lock);
	check(h->mark == mark_of(h, true));
	if (h->region != NULL)
		block_give(h->region, h);
	else
		sodium_free(h);
	pthread_mutex_unlock(&all.lock);
}
