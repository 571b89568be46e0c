/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_REPLAY_H
#define TD_RECEIVER_REPLAY_H

#include <stdint.h>
#include <uv.h>

#include "receiver/events.h"
#include "receiver/options.h"
#include "receiver/recorder.h"

/*
 * --replay: a capture instead of a network, through the same lanes. Time is the capture's; nothing
 * is ever dropped for lack of speed; the files depend on the capture alone. Network thread.
 */
struct replay;

/* Opens capture and keys, before anything is written anywhere. -1, or the exit status, the reason
 * logged. */
int replay_new(struct replay **ret, const struct options *options, struct events *events);
void replay_free(struct replay *p); /* NULL is fine; the loop has to run once more */

/* Begins. -1 or an exit status. */
int replay_start(struct replay *p, uv_loop_t *loop, struct recorder *recorder);
/* Ends here as if the capture did; the loop stops when the files are closed. */
void replay_stop(struct replay *p);
/* As replay_stop(), because the disk is nearly full: EXIT_FAILED. */
void replay_disk_full(struct replay *p);
int replay_status(const struct replay *p);

/* From the recorder. */
void replay_drained(struct replay *p);
void replay_session_opened(struct replay *p, int r);
void replay_session_closed(struct replay *p);

#endif
