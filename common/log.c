/* SPDX-License-Identifier: ISC */
#include "common/log.h"

#include <pthread.h>
#include <stdio.h>

static enum td_log_level max_level = TD_LOG_INFO;
static td_log_fn *hook;
static void *hook_user;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void td_log_set_level(enum td_log_level max)
{
	max_level = max;
}

void td_log_set_hook(td_log_fn *fn, void *user)
{
	hook = fn;
	hook_user = user;
}

const char *td_log_level_name(enum td_log_level level)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };

	return (unsigned)level < sizeof(names) / sizeof(names[0]) ? names[level] : "?";
}

void td_log(enum td_log_level level, const char *fmt, ...)
{
	char text[1024];
	size_t len, i;
	va_list ap;
	int n;

	if (level > max_level)
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	len = (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
	/* Texts from peers end up in here; a terminal must not obey them. */
	for (i = 0; i < len; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
	}

	pthread_mutex_lock(&lock);
	if (hook != NULL)
		hook(hook_user, level, text, len);
	else
		fprintf(stderr, "%s: %s\n", td_log_level_name(level), text);
	pthread_mutex_unlock(&lock);
}
