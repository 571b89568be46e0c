/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_FILE_SINK_H
#define TD_SINKS_FILE_SINK_H

#include "sinks/sink.h"

/*
 * --sink file: one file per speaker in the folder of the session, <user_id>.<format>, or
 * ssrc-<n>.<format> while the speaker is not known. A file that cannot be written any more ends
 * with one TD_EVENT_FAILED; everything else goes on.
 */
extern const struct td_track_ops file_sink;

#endif
