/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_LAYOUT_H
#define TD_TESTS_LAYOUT_H

#include <stddef.h>

/* Where a member is, or which number a name has (size 0), in one version of sinks/sink.h. */
struct layout {
	const char *name;
	long long at;
	size_t size;
};

/* Rows of layout_members.h, one for each; the last has name NULL. */
#define LAYOUT_M(s, m) { #s "." #m, offsetof(struct s, m), sizeof(((struct s *)NULL)->m) },
#define LAYOUT_S(s) { #s, 0, sizeof(struct s) },
#define LAYOUT_N(n) { #n, n, 0 },

/* As of the header that ABI 1 was published with. */
extern const struct layout layout_abi1[];

#endif
