/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_SEGMENTS_H
#define TD_SINKS_SEGMENTS_H

#include "sinks/sink.h"

/*
 * --sink segments: one file per utterance, in the folder "segments" of the session, and a line of
 * JSON each in segments.jsonl (docs/session.md): what a transcriber wants to be fed while the call
 * goes on. A file has its name, and its line follows, only when it is complete.
 *
 * An utterance begins with the first sound and ends with the last before so much silence, or when
 * it is as long as one may be; shorter ones than the least are dropped. Digital silence counts as
 * silence, whether it was sent or nothing was.
 */
extern const struct td_track_ops segments_sink;

#endif
