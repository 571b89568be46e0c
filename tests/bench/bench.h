/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_BENCH_H
#define TD_TESTS_BENCH_H

#include <stdio.h>
#include <stdlib.h>

enum { BENCH_RUNS = 5 };

#define BENCH_MUST(cond)                                                                   \
	do {                                                                               \
		if (!(cond)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                           \
		}                                                                          \
	} while (0)

/* One thing that was measured. */
struct bench_row {
	const char *name, *what, *unit;
	double target; /* 0: none */
	double run[BENCH_RUNS];
};

double bench_cpu_ns(void); /* of this process so far */

/* A large call: it needs what the session is made of, and that shares names with the unpacker. */
extern struct bench_row bench_join, bench_answer, bench_follow;
void bench_call(void);

#endif
