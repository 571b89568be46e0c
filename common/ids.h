/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_IDS_H
#define TD_COMMON_IDS_H

#include <stdint.h>

/* Snowflake ids are unsigned 64-bit numbers that travel as decimal strings; 0 is never one. */
enum { TD_ID_TEXT = 21 }; /* 20 digits and NUL */

/* Parses a whole string of 1-20 digits. 0, or TD_ERR_MALFORMED (empty, NULL, signs, spaces, over
 * 2^64 - 1, or zero); *ret is written on success only. Any thread. */
int td_id_parse(uint64_t *ret, const char *text);

/* Writes id in decimal with a NUL and returns out. */
char *td_id_format(char out[static TD_ID_TEXT], uint64_t id);

#endif
