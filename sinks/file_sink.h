/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_FILE_SINK_H
#define TD_SINKS_FILE_SINK_H

#include "sinks/sink.h"

/*
 * --sink file: one file per speaker in the folder of the session, in any format there is a writer
 * of, whole or in parts. file_conf.h has its options, file_name.h what files are called,
 * file_track.h what becomes of the sound. A file that cannot be written any more ends with one
 * TD_EVENT_FAILED; everything else goes on.
 */
extern const struct td_track_ops file_sink;

#endif
