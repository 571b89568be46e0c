/* SPDX-License-Identifier: ISC */
#include "common/counters.h"

static const char *const names[COUNTER_COUNT] = {
#define X(name, text) [COUNTER_##name] = text,
	TD_COUNTERS(X)
#undef X
};

const char *td_counter_name(enum td_counter c)
{
	return (unsigned)c < COUNTER_COUNT ? names[c] : "?";
}
