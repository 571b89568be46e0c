/* SPDX-License-Identifier: ISC */
#include "receiver/console.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/json_text.h"
#include "common/log.h"
#include "receiver/outbox.h"

#define ERASE_LINE "\r\033[K"

struct console {
	struct console_conf conf;
	bool tty;
	struct outbox *box;
	pthread_mutex_t lock;
	char progress[256];
};

static struct console *newest; /* whose box has the last words */

static void put(struct console *c, const char *text)
{
	outbox_put(c->box, text, strlen(text));
}

/* What stands on the progress line moves down below the text. */
static void put_above_progress(struct console *c, const char *text)
{
	pthread_mutex_lock(&c->lock);
	if (c->progress[0] != '\0')
		put(c, ERASE_LINE);
	put(c, text);
	if (c->progress[0] != '\0')
		put(c, c->progress);
	pthread_mutex_unlock(&c->lock);
}

static void log_json(struct console *c, enum td_log_level level, const char *text, size_t len)
{
	uint64_t now_ns = td_utc_ns();
	time_t seconds = (time_t)(now_ns / TD_SEC_NS);
	char stamp[40], day[24], *line, *with_newline = NULL;
	struct tm tm;
	json_t *obj;

	gmtime_r(&seconds, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(stamp, sizeof(stamp), "%s.%06uZ", day, (unsigned)(now_ns % TD_SEC_NS / 1000));
	obj = json_pack("{ss, ss, ss%}", "ts", stamp, "level", td_log_level_name(level), "msg",
		text, len);
	line = obj != NULL ? json_text(obj, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	if (line == NULL || asprintf(&with_newline, "%s\n", line) < 0)
		with_newline = NULL;
	put(c,
		with_newline != NULL ? with_newline
				     : "{\"level\":\"error\",\"msg\":\"out of memory\"}\n");
	free(with_newline);
	free(line);
	json_decref(obj);
}

static void on_log(void *user, enum td_log_level level, const char *text, size_t len)
{
	struct console *c = user;
	char line[1200];

	if (c->conf.json) {
		log_json(c, level, text, len);
		return;
	}
	snprintf(line, sizeof(line), "%.100s: %s%s%.*s\n", program_invocation_short_name,
		level == TD_LOG_INFO ? "" : td_log_level_name(level),
		level == TD_LOG_INFO ? "" : ": ", (int)len, text);
	put_above_progress(c, line);
}

int console_new(struct console **ret, const struct console_conf *conf)
{
	struct console *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return TD_ERR_NOMEM;
	c->conf = *conf;
	c->tty = isatty(STDERR_FILENO) == 1;
	if ((r = outbox_new(&c->box, STDERR_FILENO)) != TD_OK) {
		free(c);
		return r;
	}
	pthread_mutex_init(&c->lock, NULL);
	td_log_set_level(conf->debug ? TD_LOG_DEBUG : conf->quiet ? TD_LOG_ERROR : TD_LOG_INFO);
	td_log_set_hook(on_log, c);
	newest = c;
	*ret = c;
	return TD_OK;
}

void console_free(struct console *c)
{
	if (c == NULL)
		return;
	console_progress(c, "");
	td_log_set_hook(NULL, NULL);
	newest = NULL;
	outbox_free(c->box);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void console_out_of_memory(void)
{
	log_error("out of memory: cannot go on; files are right up to a second ago");
	if (newest != NULL)
		outbox_flush(newest->box);
	_exit(EXIT_FAILURE);
}

bool console_has_progress(const struct console *c)
{
	return c->tty && !c->conf.quiet && !c->conf.json;
}

void console_progress(struct console *c, const char *text)
{
	if (!console_has_progress(c))
		return;
	pthread_mutex_lock(&c->lock);
	if (c->progress[0] != '\0' || text[0] != '\0')
		put(c, ERASE_LINE);
	snprintf(c->progress, sizeof(c->progress), "%s", text);
	put(c, c->progress);
	pthread_mutex_unlock(&c->lock);
}

void console_print(struct console *c, const char *text)
{
	if (!c->conf.quiet && !c->conf.json)
		put_above_progress(c, text);
}
