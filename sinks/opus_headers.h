/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_OPUS_HEADERS_H
#define TD_SINKS_OPUS_HEADERS_H

#include <stddef.h>
#include <stdint.h>

#include "sinks/sink.h"

/* The two packets that every Ogg Opus file begins with (RFC 7845 section 5). */

enum { OPUS_HEAD_LEN = 19 };
/* Of a title or an album: what is longer is cut between two characters. */
enum { OPUS_TEXT_MAX = 4096 };
/* More than the longest comment packet. */
enum { OPUS_TAGS_MAX = 2 * OPUS_TEXT_MAX + 1024 };

/* channels: 1 or 2. rate: of what was encoded. Family 0, no gain. */
void opus_head_make(uint8_t ret[static OPUS_HEAD_LEN], uint32_t channels, uint32_t pre_skip,
	uint32_t rate);

/*
 * TITLE, ALBUM, DATE (when it started, RFC 3339) and ENCODER, as far as conf knows them. Whatever
 * bytes its texts are made of, what is written is UTF-8. vendor: at most 256 bytes. Returns the
 * length.
 */
size_t opus_tags_make(uint8_t ret[static OPUS_TAGS_MAX], const char *vendor,
	const struct td_writer_conf *conf);

#endif
