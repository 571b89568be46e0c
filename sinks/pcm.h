/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_PCM_H
#define TD_SINKS_PCM_H

#include "sinks/sink.h"

/*
 * Raw samples: s16le, interleaved, nothing before, between or after; silence is a hole. What they
 * are stands beside them, in a file called the same with ".json" appended, one object:
 *
 *   format     "s16le"
 *   rate       samples per second and channel
 *   channels   1 or 2
 *   samples    per channel, as of the last refresh; the file never holds fewer, after a crash it
 *              may hold more, which are good too but for a last one that is not whole
 *   start      of the first sample: RFC 3339 in UTC with microseconds; null: not known
 *   position   of the first sample in the session, samples at 48 kHz
 *   title      of the speaker; null: not known
 *   album      of the session; null: not known
 */
extern const struct td_writer_ops pcm_writer;

#endif
