/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_FILE_CONF_H
#define TD_SINKS_FILE_CONF_H

#include <stddef.h>
#include <stdint.h>

#include "sinks/sink.h"

/* The options of the file sink and what they come to. */
extern const struct td_option file_options[];

#define FILE_KEEP_ALL UINT64_MAX

struct file_conf {
	const struct td_writer_ops *writer;
	const char *const *writer_options;
	uint32_t source; /* TD_WANT_OPUS whenever the writer takes it: nothing is decoded */
	uint32_t channels, rate;
	uint64_t split_seconds, split_bytes; /* one of them, or both 0: one file per track */
	uint64_t max_silence;                /* samples at 48 kHz, or FILE_KEEP_ALL */
	const char *name;                    /* template */
};

/* Options of a td_track_ops method become ret, whose texts they stay. TD_ERR_USAGE and one line in
 * err: they make no sense together. Any thread. */
int file_conf_read(struct file_conf *ret, const char *const *options, char *err, size_t err_len);

#endif
