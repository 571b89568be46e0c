/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_CAPABILITIES_H
#define TD_COMMON_CAPABILITIES_H

/*
 * Gives up every capability this thread has, for good: effective, permitted, inheritable, ambient,
 * and of the bounding set what it may take from it (all of it as root, nothing as a plain user, who
 * has no use for it without a setuid program). Call it while there is one thread. What is left is
 * asked for afterwards. TD_ERR_SYS with errno: the process must not go on.
 */
int capabilities_drop(void);

/* The bounding set's part of it alone. */
int capabilities_bound(void);

#endif
