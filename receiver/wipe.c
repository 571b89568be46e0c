/* SPDX-License-Identifier: ISC */
#include "receiver/wipe.h"

#include <malloc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* Deeper than anything that parses, decrypts or signs gets; threads have a hundred times as much.
 */
enum { STACK_DEPTH = 64 * 1024 };

static _Thread_local bool was_short;

void *wipe_malloc(size_t n)
{
	void *p = malloc(n);

	if (p == NULL)
		was_short = true;
	return p;
}

bool wipe_was_short(void)
{
	bool was = was_short;

	was_short = false;
	return was;
}

void wipe_free(void *p)
{
	if (p != NULL)
		sodium_memzero(p, malloc_usable_size(p));
	free(p);
}

void *wipe_realloc(void *p, size_t n)
{
	size_t had = p != NULL ? malloc_usable_size(p) : 0;
	void *bigger;

	if (n == 0) {
		wipe_free(p);
		return NULL;
	}
	/* realloc() would leave the old block as it is. */
	if ((bigger = malloc(n)) == NULL)
		return NULL;
	if (p != NULL)
		memcpy(bigger, p, had < n ? had : n);
	wipe_free(p);
	return bigger;
}

void wipe_stack(void)
{
	sodium_stackzero(STACK_DEPTH);
}
