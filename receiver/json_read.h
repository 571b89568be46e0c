/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_JSON_READ_H
#define TD_RECEIVER_JSON_READ_H

#include <jansson.h>
#include <stdint.h>

/* What every reader of Discord's JSON needs. NULL is a value that is missing. Any thread. */

/* json_loadb(), but NULL with errno ENOMEM where memory was short: the library would leave digits
 * out and go on. errno is 0 otherwise. */
json_t *json_read_text(const char *text, size_t len, size_t flags, json_error_t *ret_error);

/* A snowflake: a decimal string, or an integer (exact up to 2^63 - 1; a fraction never is). 0 or
 * TD_ERR_MALFORMED; *ret is written on success only. */
int json_read_id(uint64_t *ret, const json_t *v);

/* An integer within [lo, hi]. 0 or TD_ERR_MALFORMED; *ret is written on success only. */
int json_read_int(int64_t *ret, const json_t *v, int64_t lo, int64_t hi);

/* Overwrites a string's characters in place: what came in it is a secret. Its length stays. */
void json_read_wipe(json_t *v);

#endif
