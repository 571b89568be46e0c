/* SPDX-License-Identifier: ISC */
#include "tests/bench/process.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"

enum { MAX_FOLDERS_OPEN = 16 };

double process_wall_us(void)
{
	struct timespec t;

	BENCH_MUST(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

pid_t process_start(char *const *argv, int cpu, int out_fd)
{
	cpu_set_t set;
	pid_t pid;

	/* What outlives its parent becomes a child of ours. */
	BENCH_MUST(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	fflush(NULL);
	BENCH_MUST((pid = fork()) >= 0);
	if (pid > 0)
		return pid;
	if (cpu != PROCESS_ANY_CPU) {
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		BENCH_MUST(sched_setaffinity(0, sizeof(set), &set) == 0);
	}
	BENCH_MUST(dup2(out_fd, STDOUT_FILENO) >= 0);
	execvp(argv[0], argv);
	fprintf(stderr, "bench: %s cannot be run\n", argv[0]);
	_exit(127);
}

static double cpu_us(const struct rusage *u)
{
	return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1e6 +
		(double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec);
}

double process_cpu_us(pid_t pid, const char *name)
{
	struct rusage usage;
	int status;

	BENCH_MUST(wait4(pid, &status, 0, &usage) == pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "bench: %s failed (%s %d)\n", name,
			WIFEXITED(status) ? "exit status" : "signal",
			WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
		exit(1);
	}
	return cpu_us(&usage);
}

struct process_usage process_run(char *const *argv, char *out, size_t out_len)
{
	struct process_usage u;
	size_t have = 0;
	ssize_t n;
	pid_t pid;
	int fd[2];

	BENCH_MUST(pipe2(fd, O_CLOEXEC) == 0);
	u.wall_us = process_wall_us();
	pid = process_start(argv, PROCESS_ANY_CPU, fd[1]);
	close(fd[1]);
	while ((n = read(fd[0], out + have, out_len - 1 - have)) > 0)
		BENCH_MUST((have += (size_t)n) < out_len - 1);
	out[have] = '\0';
	close(fd[0]);
	u.cpu_us = process_cpu_us(pid, argv[0]);
	u.wall_us = process_wall_us() - u.wall_us;
	/* What outlives its parent is not in that. */
	BENCH_MUST(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
	return u;
}

/* ---- memory ---- */

static size_t rss(pid_t pid)
{
	char path[64], line[256];
	unsigned long kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	BENCH_MUST((f = fopen(path, "r")) != NULL);
	while (fgets(line, sizeof(line), f) != NULL && sscanf(line, "VmRSS: %lu", &kib) != 1)
		;
	fclose(f);
	BENCH_MUST(kib > 0);
	return 1024 * kib;
}

size_t process_memory(pid_t pid)
{
	char path[64];
	size_t sum = rss(pid);
	int child;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	BENCH_MUST((f = fopen(path, "r")) != NULL);
	while (fscanf(f, "%d", &child) == 1)
		sum += rss(child);
	fclose(f);
	return sum;
}

/* ---- folders ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int empty_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	return type == FTW_F ? truncate(path, 0) : 0;
}

void empty_folder(const char *path)
{
	BENCH_MUST(nftw(path, empty_one, MAX_FOLDERS_OPEN, FTW_PHYS) == 0);
}

void remove_folder(const char *path)
{
	if (access(path, F_OK) == 0)
		BENCH_MUST(nftw(path, remove_one, MAX_FOLDERS_OPEN, FTW_DEPTH | FTW_PHYS) == 0);
}
