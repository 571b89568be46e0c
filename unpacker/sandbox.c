/* SPDX-License-Identifier: ISC */
#include "unpacker/sandbox.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/capabilities.h"
#include "common/err.h"
#include "common/ipc.h"

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||       \
	HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer) || \
	HAS_FEATURE(memory_sanitizer)
enum { SANITIZED = true };
#else
enum { SANITIZED = false };
#endif

/*
 * Everything a worker may ask of the kernel, and what for. All that is not here kills it: other
 * calls, other arguments, other architectures' numbers for the same calls.
 */
#define ARG(n, op, ...)                        \
	{                                      \
		n, SCMP_CMP_##op, __VA_ARGS__, \
	}
static const struct allowed {
	int call;
	unsigned checks; /* arguments that are checked */
	struct scmp_arg_cmp check[2];
} allowed[] = {
	/* requests, from the one pipe that brings them */
	{ SCMP_SYS(read), 1, { ARG(0, EQ, IPC_FD_REQUEST, 0) } },
	/* replies, to the one pipe that takes them */
	{ SCMP_SYS(write), 1, { ARG(0, EQ, IPC_FD_REPLY, 0) } },
	/* malloc: memory of our own, of no file, shared with nobody, and never executable */
	{ SCMP_SYS(mmap), 2,
		{ ARG(2, MASKED_EQ, PROT_EXEC, 0),
			ARG(3, MASKED_EQ, MAP_TYPE | MAP_ANONYMOUS,
				MAP_PRIVATE | MAP_ANONYMOUS) } },
	/* guard pages around keys; what was writable does not become executable */
	{ SCMP_SYS(mprotect), 1, { ARG(2, MASKED_EQ, PROT_EXEC, 0) } },
	/* malloc: small blocks */
	{ SCMP_SYS(brk), 0, { { 0 } } },
	/* free */
	{ SCMP_SYS(munmap), 0, { { 0 } } },
	/* realloc of large blocks; protection stays what it is */
	{ SCMP_SYS(mremap), 0, { { 0 } } },
	/* free gives pages back; keys are left out of core files, and their pages put back in */
	{ SCMP_SYS(madvise), 1, { ARG(2, EQ, MADV_DONTNEED, 0) } },
	{ SCMP_SYS(madvise), 1, { ARG(2, EQ, MADV_DONTDUMP, 0) } },
	{ SCMP_SYS(madvise), 1, { ARG(2, EQ, MADV_DODUMP, 0) } },
	/* pages with keys are not swapped */
	{ SCMP_SYS(mlock), 0, { { 0 } } },
	{ SCMP_SYS(munlock), 0, { { 0 } } },
	/* every pthread_once() wakes whoever waits for it; there is one thread, it never waits */
	{ SCMP_SYS(futex), 1, { ARG(1, EQ, FUTEX_WAKE_PRIVATE, 0) } },
	/* the end */
	{ SCMP_SYS(exit), 0, { { 0 } } },
	{ SCMP_SYS(exit_group), 0, { { 0 } } },
};
#undef ARG

/*
 * Hard limits. Those of 0 say once more what the filter says. Memory is bounded so that a worker
 * that loses its head ends itself and not the machine.
 */
static const struct limit {
	int resource;
	rlim_t most;
	bool sanitized_too;
} limits[] = {
	{ RLIMIT_CORE, 0, true },
	{ RLIMIT_FSIZE, 0, false },
	{ RLIMIT_NOFILE, 0, false },
	{ RLIMIT_NPROC, 0, false },
	{ RLIMIT_AS, (rlim_t)4 << 30, false },
	{ RLIMIT_STACK, (rlim_t)1 << 20, false },
};

/* Where we may, keys are to have all the locked memory they need: CAP_IPC_LOCK is about to go. */
static void allow_locking(void)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	if (setrlimit(RLIMIT_MEMLOCK, &all) == 0 || getrlimit(RLIMIT_MEMLOCK, &all) != 0)
		return;
	all.rlim_cur = all.rlim_max;
	(void)setrlimit(RLIMIT_MEMLOCK, &all);
}

static int set_limits(void)
{
	struct rlimit limit;
	size_t i;

	for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		if (SANITIZED && !limits[i].sanitized_too)
			continue;
		if (getrlimit((__rlimit_resource_t)limits[i].resource, &limit) != 0)
			return TD_ERR_SYS;
		if (limit.rlim_max > limits[i].most)
			limit.rlim_max = limits[i].most;
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit((__rlimit_resource_t)limits[i].resource, &limit) != 0)
			return TD_ERR_SYS;
	}
	return TD_OK;
}

/* The two pipes are all there is to keep; a sanitizer's last words go to standard error. */
static int close_all_but_pipes(void)
{
	if (close_range(IPC_FD_REPLY + 1, UINT_MAX, 0) != 0)
		return TD_ERR_SYS;
	if (!SANITIZED && close_range(0, IPC_FD_REQUEST - 1, 0) != 0)
		return TD_ERR_SYS;
	return TD_OK;
}

static int filter_calls(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = TD_ERR_SYS, e;
	size_t i;

	if (ctx == NULL)
		return TD_ERR_NOMEM;
	/* Another architecture's numbers for calls are not checked, they kill. */
	if ((e = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)) != 0)
		goto out;
	for (i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
		e = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, allowed[i].call, allowed[i].checks,
			allowed[i].check);
		if (e != 0)
			goto out;
	}
	if ((e = seccomp_load(ctx)) == 0)
		r = TD_OK;
out:
	if (e != 0)
		errno = -e;
	seccomp_release(ctx);
	return r;
}

int sandbox_enter(void)
{
	int persona = personality(0xffffffff);

	/* With this inherited everything readable could be executed. */
	if (persona < 0 || (persona & READ_IMPLIES_EXEC) != 0) {
		errno = EPERM;
		return TD_ERR_SYS;
	}
	allow_locking();
	if (close_all_but_pipes() != TD_OK || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		capabilities_drop() != TD_OK || set_limits() != TD_OK)
		return TD_ERR_SYS;
	if (SANITIZED)
		return TD_OK;
	/* No core file, and nobody of the same user reads its keys from /proc. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return TD_ERR_SYS;
	return filter_calls();
}
