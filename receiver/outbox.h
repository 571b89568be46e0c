/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_OUTBOX_H
#define TD_RECEIVER_OUTBOX_H

#include <stddef.h>
#include <stdint.h>

/*
 * Text on its way to a descriptor that may block for as long as its reader likes (a bot's pipe, a
 * terminal, a journal). A thread of its own writes, so that neither the network thread nor a lane
 * ever waits. Bounded: what does not fit is dropped whole and counted.
 */
struct outbox;

/* TD_ERR_NOMEM, TD_ERR_SYS. The descriptor stays the caller's. */
int outbox_new(struct outbox **ret, int fd);
/* Waits at most two seconds for what is queued to be written, then frees. NULL is fine. */
void outbox_free(struct outbox *box);
/* Queues a whole piece of text (a line with its newline) behind the others. Any thread. */
void outbox_put(struct outbox *box, const char *text, size_t len);
/* Waits at most two seconds for what is queued to be written. Any thread. */
void outbox_flush(struct outbox *box);
/* Pieces dropped so far, because the reader was too slow or has gone. Any thread. */
uint64_t outbox_dropped(struct outbox *box);

#endif
