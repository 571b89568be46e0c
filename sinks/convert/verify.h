/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_VERIFY_H
#define TD_CONVERT_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "sinks/convert/fault.h"

/* What a finished output has to be. */
struct verify {
	const char *format; /* name of its writer */
	uint32_t rate, channels;
	uint64_t samples; /* per channel, at that rate */
};

/*
 * Opens it again, with libsndfile, and compares its length: exactly, or within one frame of a codec
 * that has no finer one (mp3, opus). pcm is as long as its bytes. *ret_checked false: nobody here
 * reads this format. TD_ERR_MALFORMED.
 */
int verify_output(const struct verify *v, int fd, bool *ret_checked, struct fault *fault);

#endif
