/* SPDX-License-Identifier: ISC */
#ifndef TD_UNPACKER_WORKER_H
#define TD_UNPACKER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ipc.h"
#include "common/log.h"
#include "common/map.h"
#include "unpacker/conn.h"
#include "unpacker/decoder.h"

/*
 * The whole worker as a function from messages to messages: requests in, replies into a queue. It
 * reads no clock and does no I/O.
 */
TAILQ_HEAD(conn_list, conn);

struct worker {
	struct ipc_queue *out;
	struct decoder_pool pool;
	struct conn_scratch scratch;
	struct map conns; /* number to struct conn, every one of: */
	struct conn_list list;
	uint64_t unknown; /* messages about connections that are not open */
	bool greeted;     /* HELLO came */
};

/* Replies go to `out`, borrowed. */
void worker_init(struct worker *w, struct ipc_queue *out);
void worker_free(struct worker *w);

/*
 * One request. A message about a connection that is not open is logged and ignored. Errors end the
 * worker: TD_ERR_STATE (before HELLO, or another HELLO), TD_ERR_UNSUPPORTED (a HELLO of another
 * build), TD_ERR_MALFORMED (a value that cannot be), TD_ERR_NOMEM.
 */
int worker_message(struct worker *w, const struct ipc_msg *m);

/* A td_log_fn: `user` is a struct ipc_queue, which gets a LOG. */
void worker_log(void *user, enum td_log_level level, const char *text, size_t len);

#endif
