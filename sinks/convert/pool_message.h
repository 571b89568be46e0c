/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_POOL_MESSAGE_H
#define TD_CONVERT_POOL_MESSAGE_H

#include <stdint.h>

#include "sinks/convert/work.h"

/* What a worker says; one of these is one packet of a socket pair, cut off behind its text. To the
 * worker go numbers of jobs, a uint32_t each. */
enum { MESSAGE_STARTED = 1, MESSAGE_PROGRESS, MESSAGE_WARNING, MESSAGE_DONE, MESSAGE_FAILED };
enum { MESSAGE_DELETABLE = 1u, MESSAGE_COPIED = 2u };

struct message {
	uint32_t type;
	uint32_t rate;
	uint64_t samples; /* of the input, so far or in all */
	uint32_t flags;
	char text[sizeof(struct fault)];
};

/* The life of a worker: jobs from fd until it is closed. Never returns. */
_Noreturn void pool_worker(int fd, struct job *const *jobs, size_t count,
	const struct work_conf *conf);

#endif
