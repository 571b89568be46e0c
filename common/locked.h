/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_LOCKED_H
#define TD_COMMON_LOCKED_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Memory for keys and tokens: locked where the system lets us, left out of core files, wiped when
 * freed. Small blocks share pages: one of sodium_malloc()'s for each would take three pages and a
 * dozen system calls. The pages are sodium_malloc()'s, so what runs past a whole region hits a
 * guard page at once; what runs over into the next block is noticed when either of the two is
 * freed, and ends the process (abort()), as does freeing twice. Blocks of more than about 2 KB have
 * pages and guards of their own.
 *
 * Any thread.
 */
void *locked_new(size_t n); /* n zero bytes, aligned for anything; NULL: no memory */
void locked_free(void *p);  /* wipes; NULL is fine */

/* Every block has pages and guards of its own, and asks the system for them. For tests, and so with
 * the address sanitizer; set it while there is one thread. */
extern bool locked_alone;

#endif
