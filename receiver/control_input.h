/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_CONTROL_INPUT_H
#define TD_RECEIVER_CONTROL_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "receiver/control.h"

/* Control lines as they come: from a file at once, or from standard input on the loop. */
struct control_input_handlers {
	/* A good line; wiped after the call. */
	void (*control)(void *user, const struct control *control);
	/* A bad one: guild_id 0 when it names none. why: one line, without what was in it. */
	void (*bad)(void *user, uint64_t guild_id, const char *why);
	/* The input is at its end. Not called by control_input_read_file(). */
	void (*end)(void *user);
	void *user;
};

/* Reads a whole file. TD_ERR_IO with errno. */
int control_input_read_file(const char *path, const struct control_input_handlers *handlers);

struct control_input;

/* Reads standard input line by line, whatever it is: a pipe, a terminal, a file. TD_ERR_SYS,
 * TD_ERR_NOMEM. */
int control_input_stdin(struct control_input **ret, uv_loop_t *loop,
	const struct control_input_handlers *handlers);
/* Stops reading; NULL is fine. */
void control_input_free(struct control_input *in);

#endif
