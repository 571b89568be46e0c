/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_MEMSTREAM_H
#define TD_SINKS_MEMSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* A stream into memory. As open_memstream(), but that without memory it says so: glibc's leaves
 * bytes out, and neither ferror() nor fclose() knows. */
struct memstream {
	FILE *stream; /* NULL: not open */
	char *data;   /* what was written and flushed, and a NUL; the caller's to free() */
	size_t len, cap;
	bool failed;
};

/* False: no memory. m is all zero or closed, and its data freed. */
bool memstream_open(struct memstream *m);
/* True: all that was written is in data. One that is not open is fine, and false. */
bool memstream_close(struct memstream *m);

#endif
