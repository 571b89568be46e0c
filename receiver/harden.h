/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_HARDEN_H
#define TD_RECEIVER_HARDEN_H

#include <stddef.h>

/*
 * What a process that holds tokens, keys and voices does first, while it has one thread: no core
 * file, no debugger of the same user, files for nobody else, as much locked memory as it may have,
 * and libraries that wipe what they free.
 */
void harden(void);

/*
 * --user NAME|UID[:GROUP|GID]: from now on this user, for good: its ids, no supplementary groups,
 * no capabilities, and no privileges by any program it starts. Without a group, that of the user in
 * the system's list. Call it with one thread, before anything of somebody else is read.
 * TD_ERR_USAGE (not a user or group, or root), TD_ERR_STATE (we are not root) or TD_ERR_SYS, with
 * one line in err; the process must not go on then.
 */
int harden_become(const char *user, char *err, size_t err_len);

#endif
