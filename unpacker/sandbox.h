/* SPDX-License-Identifier: ISC */
#ifndef TD_UNPACKER_SANDBOX_H
#define TD_UNPACKER_SANDBOX_H

/*
 * From here on the process reads IPC_FD_REQUEST, writes IPC_FD_REPLY, manages its memory and exits;
 * any other system call kills it. Whatever needs a file, a locale or a random number is done
 * before. It has these two descriptors and no other, no capabilities and no way to any, little
 * memory to waste, and is not dumpable. Nothing of it takes a namespace or a privilege: it is the
 * same as root, as a plain user and inside a container. With an address or thread sanitizer, whose
 * runtime needs more than that, the system call filter and the limits it trips over are left out.
 *
 * TD_ERR_SYS: the process must not go on.
 */
int sandbox_enter(void);

#endif
