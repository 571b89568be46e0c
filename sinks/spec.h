/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_SPEC_H
#define TD_SINKS_SPEC_H

#include <stddef.h>

#include "sinks/host.h"
#include "sinks/sink.h"

/* What --sink asked for, inside the host. */
enum { SPEC_OPTIONS_MAX = 16 };

struct sink_spec {
	const struct td_sink_ops *ops;
	/* Every option of ops in its table's order: key, value, ..., NULL. Values point into text,
	 * keys and fallbacks into the table. */
	const char *options[2 * SPEC_OPTIONS_MAX + 1];
	char *text;
};

/* As sink_spec_parse(), against a table of sinks that ends with NULL. TD_ERR_UNSUPPORTED: the sink
 * was built for another ABI, or lacks a mandatory method. */
int spec_parse(struct sink_spec **ret, const struct td_sink_ops *const *table, const char *text,
	char *err, size_t err_len);

#endif
