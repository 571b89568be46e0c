/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_SPEC_H
#define TD_SINKS_SPEC_H

#include <stddef.h>

#include "sinks/host.h"
#include "sinks/registry.h"
#include "sinks/sink.h"

/*
 * What --sink asked for, inside the host: NAME[:key=value,...]. In a value "\," is a comma and "\\"
 * a backslash. "format=a+b" makes two parts, each a sink of its own; an option of a writer is given
 * to the parts that have it.
 */
enum {
	SPEC_ITEMS_MAX = 2 * REGISTRY_OPTIONS_MAX,      /* keys of one --sink */
	SPEC_FORMATS_MAX = 8,                           /* parts */
	SPEC_VALUES_MAX = 4 * REGISTRY_OPTIONS_MAX + 1, /* the sink's and the writer's, and NULL */
};

struct sink_spec {
	const struct registry_sink *kind;
	/* key, value, ..., NULL, as struct td_option says. Values point into text or into tables.
	 */
	const char *options[SPEC_VALUES_MAX];
	struct sink_spec *next; /* part */
	char *text;             /* of the first part */
};

size_t spec_parts(const struct sink_spec *spec);

/* Every option as it is when not given; writer: NULL for none. Returns the value of the option of
 * type TD_OPTION_FORMAT; NULL: there is none. */
const char *spec_defaults(const char *ret[static SPEC_VALUES_MAX], const struct td_option *table,
	const struct td_writer_ops *writer);

/* What a sink wants with these options. */
void spec_wants(const struct registry_sink *kind, const char *const *options, struct td_wants *ret);

#endif
