/* SPDX-License-Identifier: ISC */
#include "receiver/worker_process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/err.h"
#include "common/ipc.h"

enum { PIPE_SIZE = 1024 * 1024, EXEC_FAILED = 127 };

int worker_process_path(char *ret, size_t len)
{
	/* From the folder of this program: as built, as installed. */
	static const char *const places[] = { "unpacker", "../libexec/tapedeck/unpacker" };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	size_t i;

	if (n < 0)
		return TD_ERR_SYS;
	self[n] = '\0';
	if ((slash = strrchr(self, '/')) != NULL)
		*slash = '\0';
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int written = snprintf(ret, len, "%s/%s", self, places[i]);

		if (written < 0 || (size_t)written >= len)
			return TD_ERR_LIMIT;
		if (access(ret, X_OK) == 0)
			return TD_OK;
	}
	return TD_ERR_SYS;
}

/* In the child of a process with threads, in our memory: system calls only, up to exec. */
static _Noreturn void become_worker(const char *path, int request_fd, int reply_fd)
{
	char name[] = "unpacker", *argv[] = { name, NULL }, *envp[] = { NULL };
	int null_fd = open("/dev/null", O_RDWR), persona = personality(0xffffffff);
	sigset_t none;

	/* What may be read may be executed, for old programs: it would be inherited. */
	if (persona >= 0 && (persona & READ_IMPLIES_EXEC) != 0)
		personality((unsigned)persona & ~(unsigned)READ_IMPLIES_EXEC);

	/* Away from the low numbers first: one of them may be where another has to go. */
	request_fd = fcntl(request_fd, F_DUPFD, 16);
	reply_fd = fcntl(reply_fd, F_DUPFD, 16);
	if (request_fd < 0 || reply_fd < 0)
		_exit(EXEC_FAILED);
	dup2(null_fd, STDIN_FILENO);
	dup2(null_fd, STDOUT_FILENO);
#ifndef __SANITIZE_ADDRESS__
	dup2(null_fd, STDERR_FILENO);
#endif
	dup2(request_fd, IPC_FD_REQUEST);
	dup2(reply_fd, IPC_FD_REPLY);
	close_range(IPC_FD_REPLY + 1, ~0u, 0);

	/* Ctrl-C and a service's stop reach the whole group; a worker ends when its pipe does. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(path, argv, envp);
	_exit(EXEC_FAILED);
}

/* As fork(), but no page of ours is copied, however many there are: until it is a worker, the child
 * is in our memory, and this thread waits. */
static pid_t spawn(const char *path, int request_fd, int reply_fd)
{
	sigset_t all, before;
	pid_t pid;

	/* A signal between fork and exec would run our handlers in the child. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = vfork();
	if (pid == 0)
		become_worker(path, request_fd, reply_fd);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pid;
}

int worker_process_start(struct worker_process *ret, const char *path)
{
	int request[2] = { -1, -1 }, reply[2] = { -1, -1 }, saved, r = TD_ERR_SYS;
	pid_t pid;

	if (access(path, X_OK) != 0 || pipe2(request, O_CLOEXEC) != 0 ||
		pipe2(reply, O_CLOEXEC) != 0)
		goto out;
	/* Best effort: a plain user may have used up what all pipes together may hold. */
	fcntl(request[1], F_SETPIPE_SZ, PIPE_SIZE);
	fcntl(reply[1], F_SETPIPE_SZ, PIPE_SIZE);
	if (fcntl(request[1], F_SETFL, O_NONBLOCK) != 0)
		goto out;
	if ((pid = spawn(path, request[0], reply[1])) < 0)
		goto out;
	ret->pid = pid;
	ret->request_fd = request[1];
	ret->reply_fd = reply[0];
	request[1] = reply[0] = -1;
	r = TD_OK;
out:
	saved = errno;
	if (request[0] >= 0)
		close(request[0]);
	if (request[1] >= 0)
		close(request[1]);
	if (reply[0] >= 0)
		close(reply[0]);
	if (reply[1] >= 0)
		close(reply[1]);
	errno = saved;
	return r;
}

bool worker_process_end(struct worker_process *w, char *text, size_t len)
{
	int status = 0;

	if (w->request_fd >= 0)
		close(w->request_fd);
	w->request_fd = -1;
	if (w->pid <= 0)
		return false;
	kill(w->pid, SIGKILL);
	while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
		;
	w->pid = 0;
	if (WIFSIGNALED(status))
		snprintf(text, len, "killed by signal %d", WTERMSIG(status));
	else
		snprintf(text, len, "exit status %d%s", WEXITSTATUS(status),
			WEXITSTATUS(status) == EXEC_FAILED ? ", it cannot be executed" : "");
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}
