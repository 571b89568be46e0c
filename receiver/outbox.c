/* SPDX-License-Identifier: ISC */
#include "receiver/outbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"

enum { OUTBOX_CAP = 1024 * 1024, OUTBOX_END_SECONDS = 2 };

struct outbox {
	int fd;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool busy, ending, done, abandoned;
	atomic_uint_fast64_t dropped;
	size_t len;
	char *filling, *writing; /* OUTBOX_CAP each; the thread swaps them */
};

static void outbox_destroy(struct outbox *box)
{
	pthread_cond_destroy(&box->changed);
	pthread_mutex_destroy(&box->lock);
	free(box->filling);
	free(box->writing);
	free(box);
}

/* False when nobody will ever read again. */
static bool write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
			if (errno == EAGAIN)
				nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
			continue;
		}
		if (n < 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

static void *outbox_run(void *arg)
{
	struct outbox *box = arg;
	bool gone = false, abandoned;

	pthread_mutex_lock(&box->lock);
	for (;;) {
		char *text = box->filling;
		size_t len = box->len;

		if (len == 0 && box->ending)
			break;
		if (len == 0) {
			pthread_cond_wait(&box->changed, &box->lock);
			continue;
		}
		box->filling = box->writing;
		box->writing = text;
		box->len = 0;
		box->busy = true;
		pthread_mutex_unlock(&box->lock);
		if (!gone)
			gone = !write_all(box->fd, text, len);
		if (gone)
			atomic_fetch_add(&box->dropped, 1);
		pthread_mutex_lock(&box->lock);
		box->busy = false;
		pthread_cond_broadcast(&box->changed);
	}
	box->done = true;
	abandoned = box->abandoned;
	pthread_cond_broadcast(&box->changed);
	pthread_mutex_unlock(&box->lock);
	if (abandoned)
		outbox_destroy(box);
	return NULL;
}

int outbox_new(struct outbox **ret, int fd)
{
	struct outbox *box = calloc(1, sizeof(*box));

	if (box == NULL)
		return TD_ERR_NOMEM;
	box->fd = fd;
	pthread_mutex_init(&box->lock, NULL);
	pthread_cond_init(&box->changed, NULL);
	box->filling = malloc(OUTBOX_CAP);
	box->writing = malloc(OUTBOX_CAP);
	if (box->filling == NULL || box->writing == NULL) {
		outbox_destroy(box);
		return TD_ERR_NOMEM;
	}
	if (pthread_create(&box->thread, NULL, outbox_run, box) != 0) {
		outbox_destroy(box);
		return TD_ERR_SYS;
	}
	*ret = box;
	return TD_OK;
}

static struct timespec end_of_patience(void)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += OUTBOX_END_SECONDS;
	return until;
}

void outbox_flush(struct outbox *box)
{
	struct timespec until = end_of_patience();

	pthread_mutex_lock(&box->lock);
	while ((box->len > 0 || box->busy) &&
		pthread_cond_clockwait(&box->changed, &box->lock, CLOCK_MONOTONIC, &until) == 0)
		;
	pthread_mutex_unlock(&box->lock);
}

void outbox_free(struct outbox *box)
{
	struct timespec until = end_of_patience();
	bool done;

	if (box == NULL)
		return;
	pthread_mutex_lock(&box->lock);
	box->ending = true;
	pthread_cond_broadcast(&box->changed);
	while (!box->done &&
		pthread_cond_clockwait(&box->changed, &box->lock, CLOCK_MONOTONIC, &until) == 0)
		;
	done = box->done;
	/* A reader that never reads must not keep us: the thread cleans up behind itself. */
	box->abandoned = !done;
	if (!done)
		pthread_detach(box->thread);
	pthread_mutex_unlock(&box->lock);
	if (done) {
		pthread_join(box->thread, NULL);
		outbox_destroy(box);
	}
}

void outbox_put(struct outbox *box, const char *text, size_t len)
{
	pthread_mutex_lock(&box->lock);
	if (len <= OUTBOX_CAP - box->len) {
		memcpy(box->filling + box->len, text, len);
		box->len += len;
		pthread_cond_broadcast(&box->changed);
	} else {
		atomic_fetch_add(&box->dropped, 1);
	}
	pthread_mutex_unlock(&box->lock);
}

uint64_t outbox_dropped(struct outbox *box)
{
	return atomic_load(&box->dropped);
}
