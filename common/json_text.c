/* SPDX-License-Identifier: ISC */
#include "common/json_text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_FIRST = 512 };

struct text {
	char *data;
	size_t len, cap;
	bool failed;
};

static int on_bytes(const char *bytes, size_t len, void *user)
{
	struct text *t = user;
	size_t cap = t->cap > 0 ? t->cap : TEXT_FIRST;
	char *p;

	while (cap - t->len <= len)
		cap *= 2;
	if (!t->failed && cap > t->cap) {
		t->failed = (p = realloc(t->data, cap)) == NULL;
		t->data = t->failed ? t->data : p;
		t->cap = t->failed ? t->cap : cap;
	}
	if (t->failed)
		return -1; /* nothing behind a gap */
	memcpy(t->data + t->len, bytes, len);
	t->len += len;
	t->data[t->len] = '\0';
	return 0;
}

char *json_text(const json_t *json, size_t flags)
{
	struct text t = { .data = NULL };

	if (json_dump_callback(json, on_bytes, &t, flags) == 0 && !t.failed)
		return t.data;
	free(t.data);
	return NULL;
}

json_t *json_any_text(const char *text)
{
	json_t *json = text != NULL ? json_string(text) : json_null();
	char *copy;

	if (json != NULL || (copy = strdup(text)) == NULL)
		return json;
	for (char *p = copy; *p != '\0'; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	json = json_string(copy);
	free(copy);
	return json;
}
