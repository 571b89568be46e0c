/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_LOG_H
#define TD_COMMON_LOG_H

#include <stdarg.h>
#include <stddef.h>

/*
 * Diagnostics for people and for journals: one line each, to the hook of the process (stderr when
 * there is none). Never a key, a token or sound. Any thread.
 */
enum td_log_level { TD_LOG_ERROR, TD_LOG_WARN, TD_LOG_INFO, TD_LOG_DEBUG };

/* A finished text without newline, control bytes replaced; called under the log's lock. */
typedef void td_log_fn(void *user, enum td_log_level level, const char *text, size_t len);

/* Lines above `max` are not made. Set before threads start. */
void td_log_set_level(enum td_log_level max);
void td_log_set_hook(td_log_fn *fn, void *user);
const char *td_log_level_name(enum td_log_level level); /* "error", "warn", "info", "debug" */

#define log_error(...) td_log(TD_LOG_ERROR, __VA_ARGS__)
#define log_warn(...) td_log(TD_LOG_WARN, __VA_ARGS__)
#define log_info(...) td_log(TD_LOG_INFO, __VA_ARGS__)
#define log_debug(...) td_log(TD_LOG_DEBUG, __VA_ARGS__)

void td_log(enum td_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
