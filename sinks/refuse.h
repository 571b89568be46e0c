/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_REFUSE_H
#define TD_SINKS_REFUSE_H

#include <stddef.h>

/* Puts one line for the user into err, control bytes replaced (what they typed, or what a plugin
 * says, may hold anything), and returns r. err_len 0 is fine. */
__attribute__((format(printf, 4, 5))) int refuse(int r, char *err, size_t err_len, const char *fmt,
	...);

/* Appends `name` to a list, with `between` unless it is the first; what does not fit is left out.
 */
void refuse_list(char *list, size_t len, const char *between, const char *name);

#endif
