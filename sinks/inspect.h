/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_INSPECT_H
#define TD_SINKS_INSPECT_H

#include <stdbool.h>
#include <stddef.h>

#include "sinks/sink.h"

/*
 * Whether what a plugin brings holds to sinks/sink.h, as far as that can be seen without calling
 * it. No state; any thread.
 */

/* All of a plugin. TD_ERR_UNSUPPORTED, TD_ERR_USAGE (a name that is none), with one line in err
 * that begins with origin. */
int inspect_plugin(const struct td_plugin *plugin, const char *origin, char *err, size_t err_len);

/* Whether a sink (or track, the other is NULL) can be what it wants: its methods are there. Half a
 * sentence in err. */
bool inspect_wants(const struct td_sink_ops *sink, const struct td_track_ops *track,
	const struct td_wants *wants, char *err, size_t err_len);

/* Whether the option can have this value; of TD_OPTION_FORMAT only whether that may be empty. */
bool inspect_value(const struct td_option *option, const char *value);

#endif
