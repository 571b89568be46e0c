/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_WAV_H
#define TD_SINKS_WAV_H

#include "sinks/sink.h"

/*
 * WAV: 16 bit, 1 or 2 channels, any rate. No times and no titles: every chunk more would be one
 * more thing to keep at one length; the manifest has them. A plain RIFF header
 * (format tag 1, which every reader knows) up to 4 GiB, RF64 (EBU Tech 3306) beyond; both are
 * WAV_DATA_OFFSET bytes, so the change needs no copying and happens with one write.
 */
enum { WAV_DATA_OFFSET = 112 };

extern const struct td_writer_ops wav_writer;

/* So many samples per channel, s16le, were appended to the output of this writer by somebody else.
 */
void wav_appended(void *state, uint64_t samples);

#endif
