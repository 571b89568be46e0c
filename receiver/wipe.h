/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_WIPE_H
#define TD_RECEIVER_WIPE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * malloc() and friends that wipe what is freed, for libraries tokens and keys pass through. Memory
 * from them may be freed with free(), and is not wiped then. Any thread.
 */
void *wipe_malloc(size_t n);
void *wipe_realloc(void *p, size_t n); /* n 0: frees, and is NULL */
void wipe_free(void *p);               /* NULL is fine */
/* Whether wipe_malloc() had nothing to give since this was last asked. Of the calling thread. */
bool wipe_was_short(void);

/* Wipes what functions that have returned may have left below the caller's frame: copies in their
 * locals, and registers saved while a library's function was looked up for the first time. */
void wipe_stack(void);

#endif
