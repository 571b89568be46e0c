/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_ARGS_H
#define TD_CONVERT_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sinks/convert/format.h"
#include "sinks/convert/raw_form.h"

/* The command line. */
enum {
	CONVERT_DONE = 0,
	CONVERT_FAILED = 1,
	CONVERT_USAGE = 2,
	CONVERT_SOME = 3,
	CONVERT_INTERRUPTED = 130,
};
enum { CONVERT_WORKERS_MAX = 256 };

struct args {
	const char *program; /* as it was called */
	struct format format;
	const char *out; /* NULL: beside the inputs; "-": standard output */
	unsigned workers;
	uint32_t rate, channels; /* 0: as the input */
	bool have_raw;
	struct raw_form raw;
	bool json, force, delete_inputs, mix, quiet, verbose;
	char **inputs;
	size_t input_count;
};

/* -1: go on; else the exit status, and what there was to say is said. Plugins are loaded. Texts
 * stay argv's; args_free() in any case. */
int args_parse(struct args *ret, int argc, char **argv);
void args_free(struct args *args);

#endif
