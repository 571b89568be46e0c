/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_FORMAT_H
#define TD_CONVERT_FORMAT_H

#include <stdbool.h>

#include "sinks/convert/fault.h"
#include "sinks/spec.h"

/* What -f asked for: FORMAT[:key=value,...], a writer and its options. */
struct format {
	const struct td_writer_ops *writer;
	const char *options[SPEC_VALUES_MAX]; /* key, value, ..., NULL */
	bool chosen;                          /* options were given */
	char *text;
};

/* The writer is a known one or comes from a plugin folder. TD_ERR_USAGE, TD_ERR_NOMEM. */
int format_parse(struct format *ret, const char *text, struct fault *fault);
void format_free(struct format *f);

/* What an output has. *rate and *channels: asked for, or 0 for as the input, then another rate is
 * taken where the format cannot have it: 48000. Written on success. TD_ERR_USAGE. */
int format_fit(const struct format *f, uint32_t in_rate, uint32_t in_channels, uint32_t *rate,
	uint32_t *channels, struct fault *fault);

#endif
