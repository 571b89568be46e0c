/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_TEXT_H
#define TD_SINKS_TEXT_H

#include <stddef.h>

/* Text for a tag: well-formed UTF-8 (Unicode 15, table 3-7), U+FFFD for every byte that is none of
 * it, a blank for what no line of text may hold; too long a text is cut between characters. Writes
 * at most max bytes and no NUL, and returns how many. */
size_t text_clean(char *ret, size_t max, const char *text);

#endif
