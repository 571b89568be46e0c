/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_TARGET_H
#define TD_CONVERT_TARGET_H

#include <time.h>

#include "sinks/convert/fault.h"
#include "sinks/sink.h"

/*
 * The output of a job. Until it is committed it is ".NAME.part" in its folder, locked against
 * another convert at the same time; one that was left behind is replaced. Then it takes its name in
 * one step, and the place of what was called so before: a symbolic link is replaced, not followed.
 * Modes are 0600, and 0700 of folders.
 *
 * Standard output gets everything at the commit, from an unnamed file: nothing at all when the job
 * fails.
 */
struct target;

/* Makes the folder, too. folder NULL: standard output. TD_ERR_IO, TD_ERR_STATE (another convert is
 * at it), TD_ERR_NOMEM. */
int target_open(struct target **ret, const char *folder, const char *name, struct fault *fault);
/* Removes what was not committed. NULL is fine. */
void target_free(struct target *t);

/* Where a writer writes; lives as long as the target. */
const struct td_output *target_output(struct target *t);
/* Appends some of the len bytes of another file from `at` on without a look at them. *ret_n: how
 * many; 0: these two files cannot do that, or there are none: reading finds out. Errors are of the
 * output. */
int target_carry(struct target *t, int fd, uint64_t at, uint64_t len, size_t *ret_n);
/* Why it failed; "" when it did not. */
const char *target_error(const struct target *t);

/* Waits until everything is on the disk. *ret_fd: to read it from; stays the target's. */
int target_sync(struct target *t, int *ret_fd, struct fault *fault);

/* After target_sync(). mtime: of the output; NULL: now. */
int target_commit(struct target *t, const struct timespec *mtime, struct fault *fault);

/* Removes what a worker that died left behind. */
void target_clean(const char *folder, const char *name);

#endif
