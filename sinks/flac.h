/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_FLAC_H
#define TD_SINKS_FLAC_H

#include "sinks/sink.h"

/*
 * FLAC (RFC 9639): 16 bit, 1 or 2 channels, any rate up to 1048575 Hz, by libFLAC. TITLE, ALBUM and
 * DATE (the start, RFC 3339 in UTC) are its comments. Until it is closed, the file says how many
 * samples it had at the last refresh, all but the last block (64-128 ms), and no MD5.
 *
 * Of hours of silence only the MD5 costs anything: 15 bytes and one hashed block for every block. A
 * live call does not wait for that: a pause of 20 minutes and more leaves the file without MD5.
 * Option: level, 0 (fast) to 8 (small).
 */
extern const struct td_writer_ops flac_writer;

#endif
