/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/convert/pool_message.h"

enum { PROGRESS_NS = 100000000 };

struct worker {
	int fd;
	uint64_t told_ns; /* of the last progress */
};

static void say(const struct worker *w, struct message *m, const char *text)
{
	size_t len = strlen(text);

	if (len >= sizeof(m->text))
		len = sizeof(m->text) - 1;
	memcpy(m->text, text, len);
	m->text[len] = '\0';
	while (send(w->fd, m, offsetof(struct message, text) + len + 1, MSG_NOSIGNAL) < 0) {
		if (errno != EINTR)
			_exit(1); /* nobody listens any more */
	}
}

static void on_started(void *user, uint64_t total, uint32_t rate)
{
	struct message m = { .type = MESSAGE_STARTED, .samples = total, .rate = rate };
	struct worker *w = user;

	w->told_ns = td_mono_ns();
	say(w, &m, "");
}

static void on_warning(void *user, const char *text)
{
	struct message m = { .type = MESSAGE_WARNING };

	say(user, &m, text);
}

static void on_progress(void *user, uint64_t done)
{
	struct message m = { .type = MESSAGE_PROGRESS, .samples = done };
	struct worker *w = user;
	uint64_t now = td_mono_ns();

	if (now - w->told_ns < PROGRESS_NS)
		return;
	w->told_ns = now;
	say(w, &m, "");
}

_Noreturn void pool_worker(int fd, struct job *const *jobs, size_t count,
	const struct work_conf *conf)
{
	struct worker w = { .fd = fd };
	const struct work_observer observer = {
		.witness = { .warn = on_warning, .progress = on_progress, .user = &w },
		.started = on_started,
	};
	uint32_t index;

	while (recv(fd, &index, sizeof(index), 0) == (ssize_t)sizeof(index) && index < count) {
		struct work_result result = { 0 };
		struct message m = { .type = MESSAGE_FAILED };
		struct fault fault = { "" };

		if (work_run(jobs[index], conf, &observer, &result, &fault) == TD_OK) {
			m.type = MESSAGE_DONE;
			m.samples = result.samples;
			m.rate = result.rate;
			m.flags = (result.deletable ? MESSAGE_DELETABLE : 0) |
				(result.copied ? MESSAGE_COPIED : 0);
		}
		say(&w, &m, m.type == MESSAGE_FAILED ? fault.text : "");
	}
	_exit(0);
}
