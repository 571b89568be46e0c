/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_RIFF_H
#define TD_CONVERT_RIFF_H

#include <stdbool.h>
#include <stdint.h>

#include "sinks/convert/input.h"
#include "sinks/convert/raw_form.h"

/*
 * Where the samples of a WAV or RF64 file are. Uncompressed ones are read straight from there:
 * holes can be skipped, and a file whose writer was killed, or that outgrew its 32 bits, has more
 * than its header says.
 */
struct riff {
	struct raw_form form;
	uint64_t at, len; /* of the samples, inside the file */
	/* The header says another length, and len is what is there. */
	bool mended;
};

/* Untrusted. TD_ERR_UNSUPPORTED: no such file, or something in it that somebody else has to look
 * at; TD_ERR_IO with errno. */
int riff_read(struct riff *ret, struct input *in);

#endif
