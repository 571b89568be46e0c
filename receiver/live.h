/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_LIVE_H
#define TD_RECEIVER_LIVE_H

#include <stdint.h>
#include <uv.h>

#include "receiver/events.h"
#include "receiver/options.h"
#include "receiver/recorder.h"

/* --join: any number of calls at once, told what to do by lines of control. Network thread. */
struct live;

/* Starts: reads the file, or begins to read standard input. -1, or the exit status when it cannot
 * be started, the reason logged; *ret is to be freed either way. */
int live_new(struct live **ret, uv_loop_t *loop, const struct options *options,
	struct recorder *recorder, struct events *events);
/* Ends all that is left. Then the loop has to run until its handles are closed, then comes
 * live_free(). NULL is fine for both. */
void live_end(struct live *l);
void live_free(struct live *l);

/* Finishes everything: files, connections, then the loop stops. */
void live_stop(struct live *l);
/* The same because the disk is nearly full, as EXIT_FAILED. */
void live_disk_full(struct live *l);
/* The worst that happened to any call, as an exit status. */
int live_status(const struct live *l);

/* From the recorder. */
void live_catch_up(struct live *l);
void live_session_opened(struct live *l, uint64_t conn, int r);
void live_session_closed(struct live *l, uint64_t conn);
void live_broken(struct live *l, uint64_t conn);
void live_failing(struct live *l, uint64_t conn, uint64_t user_id);

#endif
