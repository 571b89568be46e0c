/* SPDX-License-Identifier: ISC */
#include "common/clock.h"

#include <time.h>

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * TD_SEC_NS + (uint64_t)ts.tv_nsec;
}

uint64_t td_mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t td_utc_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}
