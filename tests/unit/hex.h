/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_UNIT_HEX_H
#define TD_TESTS_UNIT_HEX_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of a vector as documents print them: hex digits, anything else between them is skipped. */
static inline size_t hex(uint8_t *out, size_t cap, const char *text)
{
	static const char digits[] = "0123456789abcdef";
	size_t nibbles = 0;

	for (; *text != '\0'; text++) {
		const char *d = strchr(digits, *text);

		if (d == NULL || nibbles / 2 >= cap)
			continue;
		if (nibbles % 2 == 0)
			out[nibbles / 2] = (uint8_t)((d - digits) << 4);
		else
			out[nibbles / 2] |= (uint8_t)(d - digits);
		nibbles++;
	}
	return nibbles / 2;
}

#endif
