/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_CONSOLE_H
#define TD_RECEIVER_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Standard error, for people and journals: log lines (through common/log.h, whose hook this is), a
 * progress line on a terminal, and the table of tracks at the end.
 */
struct console;

struct console_conf {
	bool json;  /* log lines as JSON objects: ts, level, msg */
	bool quiet; /* errors only; no progress, no table */
	bool debug;
};

/* Takes the log hook. TD_ERR_NOMEM, TD_ERR_SYS. Free last, when no thread logs any more. */
int console_new(struct console **ret, const struct console_conf *conf);
void console_free(struct console *c); /* NULL is fine */

/* Where the work cannot go on without memory: says so and ends the process at once, status 1. What
 * a killed one leaves is left: every file valid up to a second ago. Any thread. */
_Noreturn void console_out_of_memory(void);

/* True when console_progress() shows anything. */
bool console_has_progress(const struct console *c);
/* Replaces the progress line; len 0 takes it away. Any thread. */
void console_progress(struct console *c, const char *text);
/* Text as it is, several lines if need be; nothing when quiet or JSON. Any thread. */
void console_print(struct console *c, const char *text);

#endif
