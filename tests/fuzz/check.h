/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_FUZZ_CHECK_H
#define TD_TESTS_FUZZ_CHECK_H

#include <stdio.h>
#include <stdlib.h>

/* What has to hold whatever the input was. */
#define CHECK(x)                                                                \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort();                                                \
		}                                                               \
	} while (0)

#endif
