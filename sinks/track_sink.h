/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_TRACK_SINK_H
#define TD_SINKS_TRACK_SINK_H

#include "sinks/sink.h"
#include "sinks/spill.h"

/*
 * The sink that stands under every sink of track height: places what comes on tracks and hands
 * those their sound. One thread.
 */

/* As td_sink_ops.open(), for the tracks of ops; spill is borrowed (sinks/track.h). */
int track_sink_open(void **ret_state, const struct td_track_ops *ops, const struct td_host *host,
	const struct td_session *session, const char *const *options, struct spill *spill);

/* Position of the end of a track, as far as it is in files. */
uint64_t track_file_end(const struct td_file *file);

/* Everything else; its open, options and wants are not there. */
extern const struct td_sink_ops track_sink;

#endif
