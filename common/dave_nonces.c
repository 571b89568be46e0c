/* SPDX-License-Identifier: ISC */
#include "common/dave_nonces.h"

#include <string.h>

static bool is_seen(const struct dave_nonces *s, uint64_t n)
{
	uint64_t bit = n % DAVE_NONCES_WINDOW;

	return (s->seen[bit / 64] >> bit % 64 & 1) != 0;
}

bool dave_nonces_used(const struct dave_nonces *s, uint64_t n)
{
	if (!is_seen(s, s->top) || n > s->top)
		return false;
	return s->top - n >= DAVE_NONCES_WINDOW || is_seen(s, n);
}

void dave_nonces_add(struct dave_nonces *s, uint64_t n)
{
	bool any = is_seen(s, s->top);
	uint64_t i, bit = n % DAVE_NONCES_WINDOW;

	if (dave_nonces_used(s, n))
		return;
	if (!any || (n > s->top && n - s->top >= DAVE_NONCES_WINDOW)) {
		memset(s->seen, 0, sizeof(s->seen));
	} else {
		for (i = s->top + 1; i < n; i++)
			s->seen[i % DAVE_NONCES_WINDOW / 64] &= ~((uint64_t)1 << i % 64);
	}
	if (!any || n > s->top)
		s->top = n;
	s->seen[bit / 64] |= (uint64_t)1 << bit % 64;
}
