/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_MP3_H
#define TD_SINKS_MP3_H

#include "sinks/sink.h"

/*
 * MP3 (ISO 11172-3, 13818-3, and MPEG-2.5 below 16 kHz), 1 or 2 channels, at one of the nine rates
 * of MPEG, by LAME at its quality 5. An ID3v2.4 tag in front: TIT2, TALB, TDRC, TSSE. Then the
 * Xing/Info frame with LAME's extension: a player that knows it ("gapless") gives back exactly the
 * samples that were written, the first one first.
 *
 * Only whole frames get into the file, and what LAME still holds is not forced out of it: until it
 * is closed, the file ends up to half a second earlier than what was written, and the Info frame
 * says so. What is encoded does not depend on when it was refreshed.
 *
 * In hours of silence LAME comes to repeat itself after a few seconds; from there on its frames are
 * copied instead of made. The smallest ones the format has are 32 kbit/s (8 below 32 kHz):
 * 14.4 MB an hour.
 *
 * Options: vbr, 0 (best) to 9 (smallest); or bitrate, constant, in kbit/s. vbr=2 without either.
 */
extern const struct td_writer_ops mp3_writer;

#endif
