/* SPDX-License-Identifier: ISC */
#include "sinks/utc.h"

#include <stdio.h>
#include <time.h>

#include "common/clock.h"

void utc_text(char ret[static UTC_TEXT], uint64_t utc_ns)
{
	/* 64 bits of nanoseconds end in the year 2554: this cannot fail. */
	time_t at = (time_t)(utc_ns / TD_SEC_NS);
	char day[UTC_TEXT / 2 + 4] = "";
	struct tm tm;

	if (gmtime_r(&at, &tm) != NULL)
		strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret, UTC_TEXT, "%s.%06uZ", day, (unsigned)(utc_ns % TD_SEC_NS / TD_US_NS));
}
