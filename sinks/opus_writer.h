/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_OPUS_WRITER_H
#define TD_SINKS_OPUS_WRITER_H

#include "sinks/sink.h"

/*
 * Ogg Opus (RFC 7845).
 *
 * TD_WANT_OPUS: packets are written as they were received, byte for byte, nothing is decoded.
 * Opus has no time finer than 2.5 ms: a packet begins at most 60 samples from its position, the
 * whole file is as long as it should be to the sample. What was lost, 100 ms of it at most, asks
 * the decoder for concealment; the rest of a gap, and all of one longer than a second, is packets
 * of digital silence. In front is what is not played: conf->preroll, or 10 ms of silence. A packet
 * that is no Opus, or not as long as it says, is refused with TD_SINK_ERR_UNSUPPORTED, and nothing
 * has changed.
 *
 * TD_WANT_PCM: encoded with libopus, frames of 20 ms, VBR; the file begins at the first sample and
 * ends at the last. refresh() leaves out what is no whole frame yet. After a second of silence no
 * more of it is encoded: it becomes packets of digital silence.
 *
 * A second of sound per page at most. Same input, same file.
 */
extern const struct td_writer_ops opus_writer;

/* conf->preroll is this at most: 16 bits in the header. */
enum { OPUS_WRITER_PREROLL_MAX = 65535 };

#endif
