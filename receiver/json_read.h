/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_JSON_READ_H
#define TD_RECEIVER_JSON_READ_H

#include <jansson.h>
#include <stdint.h>

/* What every reader of Discord's JSON needs. NULL is a value that is missing. Any thread. */

/* A snowflake: a decimal string, or an integer (exact up to 2^63 - 1; a fraction never is). 0 or
 * TD_ERR_MALFORMED; *ret is written on success only. */
int json_read_id(uint64_t *ret, const json_t *v);

/* An integer within [lo, hi]. 0 or TD_ERR_MALFORMED; *ret is written on success only. */
int json_read_int(int64_t *ret, const json_t *v, int64_t lo, int64_t hi);

/* Overwrites a string's characters in place: what came in it is a secret. Its length stays. */
void json_read_wipe(json_t *v);

#endif
