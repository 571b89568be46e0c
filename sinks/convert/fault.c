/* SPDX-License-Identifier: ISC */
#include "sinks/convert/fault.h"

#include <stdarg.h>
#include <stdio.h>

void fault_clean(char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
	}
}

int fault_set(struct fault *f, int r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	fault_clean(f->text);
	return r;
}

void witness_warn(const struct witness *w, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fault_clean(text);
	w->warn(w->user, text);
}
