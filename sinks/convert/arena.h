/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_ARENA_H
#define TD_CONVERT_ARENA_H

#include <stddef.h>

/* Memory that is freed all at once. Out of memory ends the process: nothing has begun yet. */
struct arena {
	struct arena_piece *pieces;
};

void *arena_zeroed(struct arena *a, size_t size);
char *arena_copy(struct arena *a, const char *text);
__attribute__((format(printf, 2, 3))) char *arena_format(struct arena *a, const char *fmt, ...);
void arena_free(struct arena *a);

#endif
