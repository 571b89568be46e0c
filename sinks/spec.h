/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_SPEC_H
#define TD_SINKS_SPEC_H

#include <stddef.h>

#include "sinks/host.h"
#include "sinks/registry.h"
#include "sinks/sink.h"

/* What --sink asked for, inside the host. */
enum { SPEC_OPTIONS_MAX = 16 };

struct sink_spec {
	const struct registry_sink *kind;
	/* Every option of it in its table's order: key, value, ..., NULL. Values point into text,
	 * keys and fallbacks into the table. */
	const char *options[2 * SPEC_OPTIONS_MAX + 1];
	char *text;
};

#endif
