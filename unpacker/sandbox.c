/* SPDX-License-Identifier: ISC */
#include "unpacker/sandbox.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

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

/* Everything a worker may ask of the kernel. */
static const struct allowed {
	int call;
	unsigned checks; /* arguments that are checked: 0 or 1 */
	struct scmp_arg_cmp check;
} allowed[] = {
	{ SCMP_SYS(read), 1, { 0, SCMP_CMP_EQ, IPC_FD_REQUEST, 0 } },
	{ SCMP_SYS(write), 1, { 0, SCMP_CMP_EQ, IPC_FD_REPLY, 0 } },
	/* Memory, none of it ever executable. */
	{ SCMP_SYS(mmap), 1, { 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0 } },
	{ SCMP_SYS(mprotect), 1, { 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0 } },
	{ SCMP_SYS(brk), 0, { 0 } },
	{ SCMP_SYS(munmap), 0, { 0 } },
	{ SCMP_SYS(mremap), 0, { 0 } },
	{ SCMP_SYS(madvise), 0, { 0 } },
	/* libsodium locks the pages of keys. */
	{ SCMP_SYS(mlock), 0, { 0 } },
	{ SCMP_SYS(munlock), 0, { 0 } },
	/* Every pthread_once() wakes whoever waits for it; there is one thread, it never waits. */
	{ SCMP_SYS(futex), 1, { 1, SCMP_CMP_EQ, FUTEX_WAKE_PRIVATE, 0 } },
	{ SCMP_SYS(exit), 0, { 0 } },
	{ SCMP_SYS(exit_group), 0, { 0 } },
};

static const struct limit {
	int resource;
	bool sanitized_too;
} limits[] = {
	{ RLIMIT_CORE, true },
	{ RLIMIT_FSIZE, false },
	{ RLIMIT_NOFILE, false },
	{ RLIMIT_NPROC, false },
};

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
			&allowed[i].check);
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
	const struct rlimit none = { 0, 0 };
	size_t i;

	if (close_range(IPC_FD_REPLY + 1, UINT_MAX, 0) != 0 ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return TD_ERR_SYS;
	for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		if ((limits[i].sanitized_too || !SANITIZED) &&
			setrlimit((__rlimit_resource_t)limits[i].resource, &none) != 0)
			return TD_ERR_SYS;
	}
	if (SANITIZED)
		return TD_OK;
	/* No core file, and nobody of the same user reads its keys from /proc. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return TD_ERR_SYS;
	return filter_calls();
}
