/* SPDX-License-Identifier: ISC */
#include "sinks/text.h"

#include <stdint.h>
#include <string.h>

/* The bytes of the character of well-formed UTF-8 at p; 0: there is none. */
static size_t utf8_length(const uint8_t *p)
{
	static const struct {
		uint8_t first, last, from, to, more; /* from, to: of the second byte */
	} shapes[] = {
		{ 0x00, 0x7f, 0x00, 0xff, 0 },
		{ 0xc2, 0xdf, 0x80, 0xbf, 1 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 2 },
		{ 0xe1, 0xec, 0x80, 0xbf, 2 },
		{ 0xed, 0xed, 0x80, 0x9f, 2 },
		{ 0xee, 0xef, 0x80, 0xbf, 2 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 3 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 3 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 3 },
	};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		if (p[0] < shapes[i].first || p[0] > shapes[i].last)
			continue;
		for (size_t k = 1; k <= shapes[i].more; k++) {
			if (p[k] < (k == 1 ? shapes[i].from : 0x80) ||
				p[k] > (k == 1 ? shapes[i].to : 0xbf))
				return 0;
		}
		return 1u + shapes[i].more;
	}
	return 0;
}

size_t text_clean(char *ret, size_t max, const char *text)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t len = 0;

	while (*p != 0) {
		size_t n = utf8_length(p);
		const void *from = n == 0        ? "\xef\xbf\xbd"
			: *p < ' ' || *p == 0x7f ? " "
						 : (const void *)p;
		size_t add = n == 0 ? 3 : n;

		if (len + add > max)
			break;
		memcpy(ret + len, from, add);
		len += add;
		p += n == 0 ? 1 : n;
	}
	return len;
}
