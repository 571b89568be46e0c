/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_UTC_H
#define TD_SINKS_UTC_H

#include <stdint.h>

/* Wall time as RFC 3339 with microseconds: "2026-01-02T03:04:05.678901Z". */
enum { UTC_TEXT = 40 };
void utc_text(char ret[static UTC_TEXT], uint64_t utc_ns);

#endif
