/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_EVENTS_H
#define TD_RECEIVER_EVENTS_H

#include <stdint.h>

/*
 * --events: one JSON object a line on standard output, for the bot that started us. The names and
 * members are a contract: docs/events.md.
 */
struct events;

/* TD_ERR_NOMEM, TD_ERR_SYS. */
int events_new(struct events **ret);
void events_free(struct events *e); /* NULL is fine; waits a little for a slow reader */

/*
 * Emits {"event": name, "ts": now, "guild_id": "...", members of fmt}. fmt is a jansson pack format
 * of an object without its braces ("ss, si"), or "" for none. guild_id 0: left out. e may be NULL:
 * nothing happens. Any thread.
 */
void event_emit(struct events *e, const char *name, uint64_t guild_id, const char *fmt, ...);

#endif
