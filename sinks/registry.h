/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_REGISTRY_H
#define TD_SINKS_REGISTRY_H

#include <stddef.h>

#include "sinks/sink.h"

/*
 * What there is to choose from by name: sinks of both heights and writers, built in or brought by
 * plugins (sinks/plugin.h). Filled at start, by one thread; after that it only is looked at, by
 * any.
 */
enum { REGISTRY_OPTIONS_MAX = 16 }; /* of one table */

struct registry_sink {
	const char *name, *meaning;
	const struct td_option *options; /* NULL: none */
	const struct td_sink_ops *sink;  /* one of these two */
	const struct td_track_ops *track;
	const char *origin; /* the file it came from; NULL: built in */
};

/* NULL: there is none of this name. */
const struct registry_sink *registry_sink(const char *name);
const struct td_writer_ops *registry_writer(const char *name);

/* All of them, in the order they came; NULL beyond the last. */
const struct registry_sink *registry_sink_at(size_t i);
const struct td_writer_ops *registry_writer_at(size_t i, const char **ret_origin);

/* Takes in what a plugin brings, after a look at all of it; plugin and origin stay borrowed for
 * good. TD_ERR_UNSUPPORTED (another ABI, a method missing, options that make no sense),
 * TD_ERR_USAGE (a name that is taken or is none), TD_ERR_LIMIT, with one line in err that names
 * origin and reason. */
int registry_add(const struct td_plugin *plugin, const char *origin, char *err, size_t err_len);

/* For tests: forgets everything that was added. */
void registry_reset(void);

#endif
