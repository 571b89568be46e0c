/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_BENCH_PROCESS_H
#define TD_TESTS_BENCH_PROCESS_H

#include <stddef.h>
#include <sys/types.h>

/* Programs that are measured. */

struct process_usage {
	double cpu_us; /* of it and everything it started */
	double wall_us;
};

enum { PROCESS_ANY_CPU = -1 };

/* Starts argv (NULL at its end), on one CPU or on any of them; its standard output goes to out_fd.
 */
pid_t process_start(char *const *argv, int cpu, int out_fd);
/* Waits for its end. Anything but exit status 0 ends the bench. */
double process_cpu_us(pid_t pid, const char *name);

/* Both, and what it printed, NUL behind it. */
struct process_usage process_run(char *const *argv, char *out, size_t out_len);

/* Resident memory of it and what it started, in bytes. */
size_t process_memory(pid_t pid);

double process_wall_us(void);
void empty_folder(const char *path);  /* the files in it stay, with nothing in them */
void remove_folder(const char *path); /* and everything in it; fine when it is not there */

#endif
