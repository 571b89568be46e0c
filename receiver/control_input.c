/* SPDX-License-Identifier: ISC */
#include "receiver/control_input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "receiver/console.h"
#include "receiver/wipe.h"

/* Cuts bytes into lines. A line longer than CONTROL_LINE_MAX is refused once and skipped. */
struct line_cutter {
	const struct control_input_handlers *handlers;
	unsigned number;
	bool skipping;
	size_t len;
	char line[CONTROL_LINE_MAX];
};

static void bad_line(struct line_cutter *cutter, uint64_t guild_id, const char *why)
{
	char text[256];

	snprintf(text, sizeof(text), "line %u: %s", cutter->number, why);
	cutter->handlers->bad(cutter->handlers->user, guild_id, text);
}

static void line_end(struct line_cutter *cutter)
{
	struct control control;
	uint64_t guild_id = 0;
	char why[200];

	cutter->number++;
	if (cutter->skipping) {
		bad_line(cutter, 0, "too long");
	} else if (control_parse(&control, &guild_id, cutter->line, cutter->len, why,
			   sizeof(why)) != TD_OK) {
		bad_line(cutter, guild_id, why);
	} else {
		cutter->handlers->control(cutter->handlers->user, &control);
		connection_info_wipe(&control.info);
	}
	sodium_memzero(cutter->line, cutter->len);
	wipe_stack();
	cutter->len = 0;
	cutter->skipping = false;
}

static void line_bytes(struct line_cutter *cutter, const char *bytes, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (bytes[i] == '\n')
			line_end(cutter);
		else if (cutter->len == sizeof(cutter->line))
			cutter->skipping = true;
		else
			cutter->line[cutter->len++] = bytes[i];
	}
}

static void input_end(struct line_cutter *cutter)
{
	if (cutter->len > 0 || cutter->skipping)
		line_end(cutter);
}

int control_input_read_file(const char *path, const struct control_input_handlers *handlers)
{
	struct line_cutter *cutter = sodium_malloc(sizeof(*cutter));
	int fd = open(path, O_RDONLY | O_CLOEXEC), saved, r = TD_ERR_IO;
	char bytes[4096];
	ssize_t n = -1;

	if (cutter == NULL || fd < 0)
		goto out;
	sodium_memzero(cutter, sizeof(*cutter));
	cutter->handlers = handlers;
	while ((n = read(fd, bytes, sizeof(bytes))) > 0 || (n < 0 && errno == EINTR)) {
		if (n > 0)
			line_bytes(cutter, bytes, (size_t)n);
	}
	if (n < 0)
		goto out;
	input_end(cutter);
	r = TD_OK;
out:
	saved = errno;
	sodium_memzero(bytes, sizeof(bytes));
	if (fd >= 0)
		close(fd);
	sodium_free(cutter);
	errno = saved;
	return r;
}

/*
 * Standard input is read by a thread of its own: it may be a file, which no event loop can wait
 * for, or shared with the shell that started us, which would not like it non-blocking.
 */
struct control_input { /* in locked memory */
	struct control_input_handlers handlers;
	struct line_cutter cutter;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t taken;
	uv_async_t more;
	int wake[2]; /* the thread ends when this pipe does */
	size_t len;  /* of bytes; the thread waits until it is 0 */
	bool end, stop;
	char bytes[4096];
};

/* Bytes of standard input, 0 at its end or when we are to stop. */
static size_t read_some(struct control_input *in, char *bytes, size_t len)
{
	struct pollfd fds[] = { { .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = in->wake[0], .events = POLLIN } };
	ssize_t n;

	do {
		if (poll(fds, 2, -1) < 0)
			n = -1;
		else if (fds[1].revents != 0)
			return 0;
		else
			n = read(STDIN_FILENO, bytes, len);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	return n > 0 ? (size_t)n : 0;
}

static void *input_run(void *arg)
{
	struct control_input *in = arg;
	char bytes[sizeof(in->bytes)];
	bool stop = false;
	size_t len;

	do {
		len = read_some(in, bytes, sizeof(bytes));
		pthread_mutex_lock(&in->lock);
		memcpy(in->bytes, bytes, len);
		in->len = len;
		in->end = len == 0;
		if (!in->stop)
			uv_async_send(&in->more);
		while (in->len > 0 && !in->stop)
			pthread_cond_wait(&in->taken, &in->lock);
		stop = in->stop;
		pthread_mutex_unlock(&in->lock);
		sodium_memzero(bytes, len);
	} while (len > 0 && !stop);
	return NULL;
}

static void on_more(uv_async_t *async)
{
	struct control_input *in = async->data;
	char bytes[sizeof(in->bytes)];
	size_t len;
	bool end;

	pthread_mutex_lock(&in->lock);
	len = in->len;
	end = in->end;
	memcpy(bytes, in->bytes, len);
	sodium_memzero(in->bytes, len);
	in->len = 0;
	in->end = false;
	pthread_cond_signal(&in->taken);
	pthread_mutex_unlock(&in->lock);
	line_bytes(&in->cutter, bytes, len);
	sodium_memzero(bytes, len);
	if (end) {
		input_end(&in->cutter);
		in->handlers.end(in->handlers.user);
	}
}

int control_input_stdin(struct control_input **ret, uv_loop_t *loop,
	const struct control_input_handlers *handlers)
{
	struct control_input *in = sodium_malloc(sizeof(*in));

	if (in == NULL)
		return TD_ERR_NOMEM;
	sodium_memzero(in, sizeof(*in));
	in->handlers = *handlers;
	in->cutter.handlers = &in->handlers;
	pthread_mutex_init(&in->lock, NULL);
	pthread_cond_init(&in->taken, NULL);
	if (pipe2(in->wake, O_CLOEXEC) != 0) {
		sodium_free(in);
		return TD_ERR_SYS;
	}
	if (uv_async_init(loop, &in->more, on_more) != 0 ||
		pthread_create(&in->thread, NULL, input_run, in) != 0)
		console_out_of_memory();
	in->more.data = in;
	*ret = in;
	return TD_OK;
}

static void on_async_closed(uv_handle_t *handle)
{
	struct control_input *in = handle->data;

	pthread_cond_destroy(&in->taken);
	pthread_mutex_destroy(&in->lock);
	sodium_free(in); /* wipes */
}

void control_input_free(struct control_input *in)
{
	if (in == NULL)
		return;
	pthread_mutex_lock(&in->lock);
	in->stop = true;
	pthread_cond_signal(&in->taken);
	pthread_mutex_unlock(&in->lock);
	close(in->wake[1]);
	pthread_join(in->thread, NULL);
	close(in->wake[0]);
	uv_close((uv_handle_t *)&in->more, on_async_closed);
}
