/* SPDX-License-Identifier: ISC */
#include "sinks/memstream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

enum { MEMSTREAM_FIRST = 4096 };

static ssize_t on_write(void *cookie, const char *bytes, size_t len)
{
	struct memstream *m = cookie;
	size_t cap = m->cap > 0 ? m->cap : MEMSTREAM_FIRST;
	char *p;

	if (m->failed)
		return 0; /* nothing behind a gap */
	while (cap - m->len <= len)
		cap *= 2;
	if (cap > m->cap) {
		if ((p = realloc(m->data, cap)) == NULL) {
			m->failed = true;
			return 0;
		}
		m->data = p;
		m->cap = cap;
	}
	memcpy(m->data + m->len, bytes, len);
	m->len += len;
	m->data[m->len] = '\0';
	return (ssize_t)len;
}

bool memstream_open(struct memstream *m)
{
	static const cookie_io_functions_t io = { .write = on_write };

	*m = (struct memstream){ .cap = 0 };
	if ((m->data = malloc(MEMSTREAM_FIRST)) == NULL)
		return false;
	m->data[0] = '\0';
	m->cap = MEMSTREAM_FIRST;
	if ((m->stream = fopencookie(m, "w", io)) != NULL)
		return true;
	free(m->data);
	m->data = NULL;
	return false;
}

bool memstream_close(struct memstream *m)
{
	bool good = m->stream != NULL && !ferror(m->stream);

	if (m->stream != NULL && fclose(m->stream) != 0)
		good = false;
	m->stream = NULL;
	return good && !m->failed;
}
