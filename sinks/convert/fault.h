/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_FAULT_H
#define TD_CONVERT_FAULT_H

#include <stdint.h>

/* Why something did not work, in one line for the user. What comes from files and names may hold
 * anything: control characters become '?'. */
struct fault {
	char text[512];
};

/* Fills it and returns r. */
__attribute__((format(printf, 3, 4))) int fault_set(struct fault *f, int r, const char *fmt, ...);

/* Replaces control characters in place. */
void fault_clean(char *text);

/* Something the user should know that stopped nothing; who is told. Text is one line. */
struct witness {
	void (*warn)(void *user, const char *text);
	/* So many samples of the input are done; often. NULL: not wanted. */
	void (*progress)(void *user, uint64_t done);
	void *user;
};
__attribute__((format(printf, 2, 3))) void witness_warn(const struct witness *w, const char *fmt,
	...);

#endif
