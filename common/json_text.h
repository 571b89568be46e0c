/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_JSON_TEXT_H
#define TD_COMMON_JSON_TEXT_H

#include <jansson.h>

/* As json_dumps(), which leaves out a key for which there was no memory, and goes on. NULL: no
 * memory, or a value that cannot be written; free() it. */
char *json_text(const json_t *json, size_t flags);

/* Text that need not be UTF-8: then only its ASCII survives. NULL becomes null. NULL: no memory. */
json_t *json_any_text(const char *text);

#endif
