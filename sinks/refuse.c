/* SPDX-License-Identifier: ISC */
#include "sinks/refuse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int refuse(int r, char *err, size_t err_len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (err_len > 0) {
		vsnprintf(err, err_len, fmt, ap);
		for (char *p = err; *p != '\0'; p++) {
			if ((unsigned char)*p < ' ' || *p == 0x7f)
				*p = '?';
		}
	}
	va_end(ap);
	return r;
}

void refuse_list(char *list, size_t len, const char *between, const char *name)
{
	size_t used = strlen(list);

	snprintf(list + used, len - used, "%s%s", used > 0 ? between : "", name);
}
