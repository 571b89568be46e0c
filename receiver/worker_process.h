/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_WORKER_PROCESS_H
#define TD_RECEIVER_WORKER_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * An unpacker process: a fresh image, never a plain fork, so that it inherits neither keys nor the
 * address layout of the receiver. It gets its two pipes as IPC_FD_REQUEST and IPC_FD_REPLY, an
 * empty environment, and nothing else.
 */
struct worker_process {
	pid_t pid;
	int request_fd; /* non-blocking */
	int reply_fd;   /* blocking */
};

/* Finds the unpacker beside the running program, or in ../libexec/tapedeck as installed. TD_ERR_SYS
 * with errno (ret names the last place looked at); TD_ERR_LIMIT: path too long. */
int worker_process_path(char *ret, size_t len);

/* Starts one. TD_ERR_SYS with errno. End it with worker_process_end(). */
int worker_process_start(struct worker_process *ret, const char *path);

/* Kills the process if it still runs, waits for it, closes request_fd (reply_fd belongs to the lane
 * thread) and says in text how it ended ("killed by signal 9", "exit status 1"). True when SIGKILL
 * ended it: nothing it did itself. */
bool worker_process_end(struct worker_process *w, char *text, size_t len);

#endif
