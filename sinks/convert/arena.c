/* SPDX-License-Identifier: ISC */
#include "sinks/convert/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arena_piece {
	struct arena_piece *next;
	alignas(max_align_t) unsigned char bytes[];
};

void *arena_zeroed(struct arena *a, size_t size)
{
	struct arena_piece *p = calloc(1, sizeof(*p) + size);

	if (p == NULL) {
		fputs("convert: out of memory\n", stderr);
		exit(1);
	}
	p->next = a->pieces;
	a->pieces = p;
	return p->bytes;
}

char *arena_copy(struct arena *a, const char *text)
{
	return arena_format(a, "%s", text);
}

char *arena_format(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	char *text;
	int len;

	va_start(ap, fmt);
	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, ap);
	text = arena_zeroed(a, len > 0 ? (size_t)len + 1 : 1);
	if (len > 0)
		vsnprintf(text, (size_t)len + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return text;
}

void arena_free(struct arena *a)
{
	while (a->pieces != NULL) {
		struct arena_piece *p = a->pieces;

		a->pieces = p->next;
		free(p);
	}
}
