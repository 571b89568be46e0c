/* SPDX-License-Identifier: ISC */
#include "sinks/convert/pool.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/convert/pool_message.h"
#include "sinks/convert/target.h"

enum { POOL_TICK_MS = 200 };

struct seat {
	pid_t pid; /* 0: nobody sits here */
	int fd;
	struct job *job; /* NULL: none */
};

struct pool {
	struct job *const *jobs;
	size_t count, next;
	const struct pool_conf *conf;
	struct seat *seats;
	struct pollfd *polls;
	sigset_t as_before; /* signals while waiting, and of workers */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

/* The child: nothing of the other workers stays open in it. */
_Noreturn static void become_worker(struct pool *p, int fd, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	for (unsigned i = 0; i < p->conf->workers; i++) {
		if (p->seats[i].pid > 0)
			close(p->seats[i].fd);
	}
	/* Ctrl-C goes to all of us; who cleans up is the parent. */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	signal(SIGXFSZ, SIG_IGN); /* a write that fails can be told about */
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_SETMASK, &p->as_before, NULL);
	pool_worker(fd, p->jobs, p->count, p->conf->work);
}

static int seat_fill(struct pool *p, struct seat *s)
{
	pid_t parent = getpid(), pid;
	int pair[2], saved;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return TD_ERR_SYS;
	fflush(NULL);
	if ((pid = fork()) == 0) {
		close(pair[0]);
		become_worker(p, pair[1], parent);
	}
	saved = errno;
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		errno = saved;
		return TD_ERR_SYS;
	}
	*s = (struct seat){ .pid = pid, .fd = pair[0] };
	return TD_OK;
}

static void job_end(struct pool *p, struct job *job, enum job_state state, const char *text)
{
	job->state = state;
	p->conf->tell(p->conf->user, job, POOL_ENDED, text);
}

/* The next job, or the end of its work. */
static void seat_feed(struct pool *p, struct seat *s)
{
	uint32_t index = (uint32_t)p->next;

	s->job = NULL;
	if (p->next == p->count) {
		shutdown(s->fd, SHUT_WR);
		return;
	}
	/* When it died meanwhile the job waits for another one. */
	if (send(s->fd, &index, sizeof(index), MSG_NOSIGNAL) != (ssize_t)sizeof(index))
		return;
	p->next++;
	s->job = p->jobs[index];
	s->job->state = JOB_STARTED;
}

/* It is gone: what it was at has failed. */
static void seat_empty(struct pool *p, struct seat *s)
{
	struct job *job = s->job;
	char text[64] = "the worker died";
	int status = 0;

	close(s->fd);
	while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
		;
	*s = (struct seat){ .fd = -1 };
	if (job == NULL)
		return;
	target_clean(job->folder, job->name);
	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "the worker died (signal %d)", WTERMSIG(status));
	else if (WIFEXITED(status))
		snprintf(text, sizeof(text), "the worker died (exit status %d)",
			WEXITSTATUS(status));
	job_end(p, job, JOB_FAILED, text);
}

static void hear(struct pool *p, struct seat *s, const struct message *m)
{
	struct job *job = s->job;

	if (job == NULL)
		return;
	switch (m->type) {
	case MESSAGE_STARTED:
		job->total = m->samples;
		job->rate = m->rate;
		p->conf->tell(p->conf->user, job, POOL_STARTED, "");
		break;
	case MESSAGE_PROGRESS:
		job->samples = m->samples;
		p->conf->tell(p->conf->user, job, POOL_PROGRESS, "");
		break;
	case MESSAGE_WARNING:
		job->warnings++;
		p->conf->tell(p->conf->user, job, POOL_WARNING, m->text);
		break;
	case MESSAGE_DONE:
		job->samples = m->samples;
		job->rate = m->rate;
		job->deletable = (m->flags & MESSAGE_DELETABLE) != 0;
		job->copied = (m->flags & MESSAGE_COPIED) != 0;
		job_end(p, job, JOB_DONE, "");
		seat_feed(p, s);
		break;
	case MESSAGE_FAILED:
		job_end(p, job, JOB_FAILED, m->text);
		seat_feed(p, s);
		break;
	}
}

/* One message, or the end of a worker. */
static void seat_read(struct pool *p, struct seat *s)
{
	struct message m = { 0 };
	ssize_t n = recv(s->fd, &m, sizeof(m), MSG_DONTWAIT);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= (ssize_t)offsetof(struct message, text) || m.text[sizeof(m.text) - 1] != '\0') {
		if (s->job == NULL || n > 0)
			kill(s->pid, SIGKILL);
		seat_empty(p, s);
		return;
	}
	hear(p, s, &m);
}

static unsigned seats_taken(const struct pool *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->conf->workers; i++)
		n += p->seats[i].pid > 0;
	return n;
}

/* Somebody for every job that waits. */
static int fill_seats(struct pool *p)
{
	size_t waiting = p->count - p->next;

	for (unsigned i = 0; i < p->conf->workers && waiting > 0; i++) {
		struct seat *s = &p->seats[i];

		if (s->pid > 0)
			continue;
		if (seat_fill(p, s) < 0)
			return seats_taken(p) > 0 ? TD_OK : TD_ERR_SYS;
		seat_feed(p, s);
		waiting--;
	}
	return TD_OK;
}

static int pool_loop(struct pool *p)
{
	const struct timespec tick = { .tv_nsec = POOL_TICK_MS * 1000000L };
	int r;

	while (!interrupted) {
		if ((r = fill_seats(p)) < 0)
			return r;
		if (seats_taken(p) == 0)
			return TD_OK;
		for (unsigned i = 0; i < p->conf->workers; i++)
			p->polls[i] = (struct pollfd){ p->seats[i].fd, POLLIN, 0 };
		if (ppoll(p->polls, p->conf->workers, &tick, &p->as_before) < 0 && errno != EINTR)
			return TD_ERR_SYS;
		for (unsigned i = 0; i < p->conf->workers; i++) {
			if (p->seats[i].pid > 0 && p->polls[i].revents != 0)
				seat_read(p, &p->seats[i]);
		}
		p->conf->tick(p->conf->user);
	}
	return TD_ERR_STATE;
}

/* All workers end now, and what they were writing is removed. */
static void pool_stop(struct pool *p)
{
	for (unsigned i = 0; i < p->conf->workers; i++) {
		struct seat *s = &p->seats[i];

		if (s->pid == 0)
			continue;
		kill(s->pid, SIGKILL);
		while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
			;
		close(s->fd);
		if (s->job != NULL)
			target_clean(s->job->folder, s->job->name);
	}
}

int pool_run(struct job *const *jobs, size_t count, const struct pool_conf *conf)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	enum { NUMBERS = sizeof(numbers) / sizeof(numbers[0]) };
	struct pool p = { .jobs = jobs, .count = count, .conf = conf };
	struct sigaction action = { .sa_handler = on_signal }, old[NUMBERS];
	int r = TD_ERR_SYS, saved;
	sigset_t block;

	sigemptyset(&block);
	for (size_t i = 0; i < NUMBERS; i++) {
		sigaction(numbers[i], &action, &old[i]);
		sigaddset(&block, numbers[i]);
	}
	/* They are only taken while waiting: nothing else is ever interrupted. */
	sigprocmask(SIG_BLOCK, &block, &p.as_before);
	p.seats = calloc(conf->workers, sizeof(*p.seats));
	p.polls = calloc(conf->workers, sizeof(*p.polls));
	if (p.seats != NULL && p.polls != NULL) {
		for (unsigned i = 0; i < conf->workers; i++)
			p.seats[i].fd = -1;
		r = pool_loop(&p);
		saved = errno;
		pool_stop(&p);
		errno = saved;
	}
	free(p.seats);
	free(p.polls);
	sigprocmask(SIG_SETMASK, &p.as_before, NULL);
	for (size_t i = 0; i < NUMBERS; i++)
		sigaction(numbers[i], &old[i], NULL);
	return r;
}
