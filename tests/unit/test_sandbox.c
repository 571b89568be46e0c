/* SPDX-License-Identifier: ISC */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/capabilities.h"
#include "common/dave_frame.h"
#include "common/dave_ratchet.h"
#include "common/ipc.h"
#include "unpacker/sandbox.h"

/* A sanitizer's runtime makes calls of its own: there is no filter to test. */
#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static void *page;
static pid_t parent;

static void call_nothing(void)
{
}

static void call_pipes(void)
{
	char c = 0;

	if (read(IPC_FD_REQUEST, &c, 1) != 1 || c != 'x' || write(IPC_FD_REPLY, &c, 1) != 1)
		_exit(3);
}

static void call_memory(void)
{
	char *big = malloc(50u << 20), *small = malloc(100);
	uint8_t *key;

	memset(big, 1, 50u << 20);
	big = realloc(big, 90u << 20);
	small = realloc(small, 300000);
	free(small);
	free(big);
	if ((key = sodium_malloc(32)) == NULL)
		_exit(3);
	sodium_free(key);
}

static void call_too_much_memory(void)
{
	if (malloc((size_t)8 << 30) != NULL)
		_exit(3);
}

static void call_too_much_stack(void)
{
	volatile char deep[4 << 20];

	deep[0] = deep[sizeof(deep) - 1] = 1;
}

/* ---- what kills ---- */

/* Numbers newer than this system's headers. */
enum {
	NR_URETPROBE = 335, /* these two the kernel lets by before any filter, and to no avail: */
	NR_UPROBE = 336,    /* they fail unless a tracer's trampoline calls them */
	NR_MAP_SHADOW_STACK = 453,
	NR_MSEAL = 462,
	NR_LAST = 600, /* behind every call there is for now */
	NR_X32 = 0x40000000,
};

static long plain(long nr, long a, long b, long c, long d)
{
	return syscall(nr, a, b, c, d, 0L, 0L);
}

#define PTR(x) ((long)(intptr_t)(x))

static char true_path[] = "/bin/true", null_path[] = "/dev/null";
static char *true_argv[] = { true_path, NULL };

/* With arguments that would work, as far as the caller may. */
static const struct forbidden {
	const char *name;
	long nr, a, b, c, d;
} forbidden[] = {
#ifdef SYS_open
	{ "open", SYS_open, PTR(null_path), O_RDONLY, 0, 0 },
	{ "creat", SYS_creat, PTR("/tmp/tapedeck-escaped"), 0600, 0, 0 },
	{ "fork", SYS_fork, 0, 0, 0, 0 },
	{ "vfork", SYS_vfork, 0, 0, 0, 0 },
	{ "modify_ldt", SYS_modify_ldt, 0, 0, 0, 0 },
	{ "iopl", SYS_iopl, 3, 0, 0, 0 },
#endif
	{ "openat", SYS_openat, AT_FDCWD, PTR(null_path), O_RDONLY, 0 },
	{ "openat2", SYS_openat2, AT_FDCWD, PTR(null_path), 0, 0 },
	{ "unlinkat", SYS_unlinkat, AT_FDCWD, PTR("/tmp/tapedeck-escaped"), 0, 0 },
	{ "socket", SYS_socket, AF_INET, SOCK_DGRAM, 0, 0 },
	{ "socket unix", SYS_socket, AF_UNIX, SOCK_STREAM, 0, 0 },
	{ "socketpair", SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, 0 },
	{ "connect", SYS_connect, IPC_FD_REPLY, 0, 0, 0 },
	{ "bind", SYS_bind, IPC_FD_REPLY, 0, 0, 0 },
	{ "sendmsg", SYS_sendmsg, IPC_FD_REPLY, 0, 0, 0 },
	{ "execve", SYS_execve, PTR(true_path), PTR(true_argv), 0, 0 },
	{ "execveat", SYS_execveat, AT_FDCWD, PTR(true_path), PTR(true_argv), 0 },
	{ "clone", SYS_clone, SIGCHLD, 0, 0, 0 },
	{ "clone3", SYS_clone3, 0, 0, 0, 0 },
	{ "ptrace", SYS_ptrace, PTRACE_TRACEME, 0, 0, 0 },
	{ "tgkill", SYS_tgkill, 1, 1, 0, 0 },
	{ "pidfd_open", SYS_pidfd_open, 1, 0, 0, 0 },
	{ "process_vm_readv", SYS_process_vm_readv, 1, 0, 0, 0 },
	{ "process_vm_writev", SYS_process_vm_writev, 1, 0, 0, 0 },
	{ "process_madvise", SYS_process_madvise, 0, 0, 0, 0 },
	{ "prctl dumpable", SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0 },
	{ "prctl name", SYS_prctl, PR_SET_NAME, PTR("x"), 0, 0 },
	{ "seccomp", SYS_seccomp, 0, 0, 0, 0 },
	{ "setuid", SYS_setuid, 0, 0, 0, 0 },
	{ "setgid", SYS_setgid, 0, 0, 0, 0 },
	{ "setgroups", SYS_setgroups, 0, 0, 0, 0 },
	{ "setresuid", SYS_setresuid, 0, 0, 0, 0 },
	{ "capset", SYS_capset, 0, 0, 0, 0 },
	{ "setrlimit", SYS_setrlimit, RLIMIT_NOFILE, 0, 0, 0 },
	{ "prlimit64", SYS_prlimit64, 0, RLIMIT_NOFILE, 0, 0 },
	{ "unshare", SYS_unshare, CLONE_NEWUSER, 0, 0, 0 },
	{ "setns", SYS_setns, 0, 0, 0, 0 },
	{ "mount", SYS_mount, 0, 0, 0, 0 },
	{ "chroot", SYS_chroot, PTR("/"), 0, 0, 0 },
	{ "io_uring_setup", SYS_io_uring_setup, 1, 0, 0, 0 },
	{ "io_uring_enter", SYS_io_uring_enter, 0, 0, 0, 0 },
	{ "memfd_create", SYS_memfd_create, PTR("x"), 0, 0, 0 },
	{ "bpf", SYS_bpf, 0, 0, 0, 0 },
	{ "perf_event_open", SYS_perf_event_open, 0, 0, 0, 0 },
	{ "userfaultfd", SYS_userfaultfd, 0, 0, 0, 0 },
	{ "keyctl", SYS_keyctl, 0, 0, 0, 0 },
	{ "add_key", SYS_add_key, 0, 0, 0, 0 },
	{ "personality", SYS_personality, READ_IMPLIES_EXEC, 0, 0, 0 },
	{ "ioctl", SYS_ioctl, IPC_FD_REQUEST, 0x541b /* FIONREAD */, 0, 0 },
	{ "fcntl", SYS_fcntl, IPC_FD_REPLY, F_GETFL, 0, 0 },
	{ "dup", SYS_dup, IPC_FD_REPLY, 0, 0, 0 },
	{ "splice", SYS_splice, IPC_FD_REQUEST, 0, IPC_FD_REPLY, 0 },
	{ "sendfile", SYS_sendfile, IPC_FD_REPLY, IPC_FD_REQUEST, 0, 1 },
	{ "shmget", SYS_shmget, 0, 4096, 0600, 0 },
	{ "rt_sigaction", SYS_rt_sigaction, SIGSYS, 0, 0, 8 },
	{ "rt_sigprocmask", SYS_rt_sigprocmask, 0, 0, 0, 8 },
	{ "clock", SYS_clock_gettime, CLOCK_REALTIME, 0, 0, 0 },
	{ "sleep", SYS_nanosleep, 0, 0, 0, 0 },
	{ "random", SYS_getrandom, 0, 0, 0, 0 },
	{ "getpid", SYS_getpid, 0, 0, 0, 0 },
	{ "init_module", SYS_init_module, 0, 0, 0, 0 },
	{ "kexec_load", SYS_kexec_load, 0, 0, 0, 0 },
	{ "reboot", SYS_reboot, 0, 0, 0, 0 },
	{ "pkey_mprotect", SYS_pkey_mprotect, 0, 0, PROT_READ, -1 },
	{ "remap_file_pages", SYS_remap_file_pages, 0, 0, 0, 0 },
	{ "map_shadow_stack", NR_MAP_SHADOW_STACK, 0, 4096, 0, 0 },
	{ "mseal", NR_MSEAL, 0, 0, 0, 0 },
	/* the calls that are allowed, with arguments that are not */
	{ "read stdin", SYS_read, STDIN_FILENO, 0, 0, 0 },
	{ "read the reply pipe", SYS_read, IPC_FD_REPLY, 0, 0, 0 },
	{ "write to stderr", SYS_write, STDERR_FILENO, 0, 0, 0 },
	{ "write to the request pipe", SYS_write, IPC_FD_REQUEST, 0, 0, 0 },
	{ "futex wait", SYS_futex, 0, FUTEX_WAIT_PRIVATE, 0, 0 },
	{ "futex of others", SYS_futex, 0, FUTEX_WAKE, 0, 0 },
	{ "mmap executable", SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS },
	{ "mmap writable and executable", SYS_mmap, 0, 4096, PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS },
	{ "mmap of a file", SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE },
	{ "mmap shared", SYS_mmap, 0, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS },
	{ "madvise merge", SYS_madvise, 0, 4096, MADV_MERGEABLE, 0 },
	{ "madvise keep on fork", SYS_madvise, 0, 4096, MADV_DOFORK, 0 },
	/* and by the numbers of another kind of program */
	{ "x32 read", SYS_read | NR_X32, IPC_FD_REQUEST, 0, 0, 0 },
	{ "x32 exit_group", SYS_exit_group | NR_X32, 0, 0, 0, 0 },
	{ "no call at all", -1, 0, 0, 0, 0 },
};

static void call_mprotect_exec(void)
{
	(void)plain(SYS_mprotect, PTR(page), 4096, PROT_READ | PROT_EXEC, 0);
}

static void call_mprotect_growsdown_exec(void)
{
	(void)plain(SYS_mprotect, PTR(page), 4096, PROT_EXEC | PROT_GROWSDOWN, 0);
}

static void call_kill_parent(void)
{
	(void)plain(SYS_kill, parent, SIGKILL, 0, 0);
}

#ifdef __x86_64__
/* 32-bit calls have other numbers: 4 is write there, and 11 execve. */
static void call_32_bit(void)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(4L), "b"(1L), "c"(0L), "d"(0L) : "memory");
	(void)r;
}
#endif

/* ---- as whom ---- */

enum who { AS_IS, ROOT_WITHOUT_CAPABILITIES, PLAIN_USER, IN_A_CONTAINER, WHOS };
static const char *const who_names[] = { "as is", "root without capabilities", "a plain user",
	"in a container" };
enum { NOBODY = 65534 };

/* A container gives no namespaces: what makes or joins one is refused before we begin. */
static bool contain(void)
{
	static const int refused[] = { SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(mount),
		SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot) };
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	bool good = ctx != NULL;
	size_t i;

	for (i = 0; good && i < sizeof(refused) / sizeof(refused[0]); i++)
		good = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), refused[i], 0) == 0;
	good = good &&
		seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER)) == 0 &&
		seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0 &&
		seccomp_load(ctx) == 0;
	seccomp_release(ctx);
	return good && unshare(CLONE_NEWUSER) < 0 && errno == EPERM;
}

/* In a child. */
static bool become(enum who who)
{
	switch (who) {
	case ROOT_WITHOUT_CAPABILITIES:
		return capabilities_drop() == 0;
	case PLAIN_USER:
		return geteuid() != 0 ||
			(setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
				setresuid(NOBODY, NOBODY, NOBODY) == 0);
	case IN_A_CONTAINER:
		return contain();
	default:
		return true;
	}
}

/* Root without capabilities cannot become anybody. */
static bool can_become(enum who who)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(become(who) ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		print_message("%s: not possible here\n", who_names[who]);
	return status == 0;
}

/* ---- */

static const struct forbidden *attempt;

static void call_attempt(void)
{
	(void)plain(attempt->nr, attempt->a, attempt->b, attempt->c, attempt->d);
}

/* Runs a child in the sandbox; returns its wait status. */
static int run(enum who who, void (*call)(void))
{
	int in[2], out[2], status = 0;
	pid_t pid;

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	assert_int_equal(write(in[1], "x", 1), 1);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int request = dup2(in[0], 200), reply = dup2(out[1], 201);

		if (!become(who))
			_exit(4);
		if (dup2(request, IPC_FD_REQUEST) < 0 || dup2(reply, IPC_FD_REPLY) < 0 ||
			sandbox_enter() != 0)
			_exit(2);
		call();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(in[0]);
	close(in[1]);
	close(out[0]);
	close(out[1]);
	return status;
}

static void must_die(enum who who, const char *name, void (*call)(void))
{
	int status = run(who, call);

	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
		fail_msg("%s, %s: wait status %x", who_names[who], name, (unsigned)status);
}

static void must_live(enum who who, const char *name, void (*call)(void))
{
	int status = run(who, call);

	if (status != 0)
		fail_msg("%s, %s: wait status %x", who_names[who], name, (unsigned)status);
}

static void what_is_allowed_works(void **state)
{
	enum who who;

	(void)state;
	if (SANITIZED)
		skip();
	for (who = AS_IS; who < WHOS; who++) {
		if (!can_become(who))
			continue;
		must_live(who, "nothing", call_nothing);
		must_live(who, "the two pipes", call_pipes);
		must_live(who, "memory", call_memory);
		must_live(who, "too much memory", call_too_much_memory);
	}
	assert_int_equal(WTERMSIG(run(AS_IS, call_too_much_stack)), SIGSEGV);
}

static void everything_forbidden_kills(void **state)
{
	enum who who;
	size_t i;

	(void)state;
	if (SANITIZED)
		skip();
	for (who = AS_IS; who < WHOS; who++) {
		if (!can_become(who))
			continue;
		for (i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
			attempt = &forbidden[i];
			must_die(who, attempt->name, call_attempt);
		}
		must_die(who, "mprotect executable", call_mprotect_exec);
		must_die(who, "mprotect executable, stack", call_mprotect_growsdown_exec);
		must_die(who, "kill the parent", call_kill_parent);
	}
#ifdef __x86_64__
	/* A kernel without 32-bit programs knows no such call. */
	assert_true(WIFSIGNALED(run(AS_IS, call_32_bit)));
#endif
}

static bool is_allowed(long nr)
{
	static const long allowed[] = { SYS_read, SYS_write, SYS_mmap, SYS_mprotect, SYS_brk,
		SYS_munmap, SYS_mremap, SYS_madvise, SYS_mlock, SYS_munlock, SYS_futex, SYS_exit,
		SYS_exit_group };
	size_t i;

	for (i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
		if (allowed[i] == nr)
			return true;
	}
	return false;
}

/* Those that nobody thought of as well, and those still to be invented. */
static void every_other_number_kills(void **state)
{
	static struct forbidden f = { .name = "" };

	(void)state;
	if (SANITIZED)
		skip();
	attempt = &f;
	for (f.nr = 0; f.nr <= NR_LAST; f.nr++) {
		char name[32];

		if (is_allowed(f.nr) || f.nr == NR_URETPROBE || f.nr == NR_UPROBE)
			continue;
		snprintf(name, sizeof(name), "call %ld", f.nr);
		must_die(AS_IS, name, call_attempt);
	}
}

/* What may be read might be executed as well: nothing the filter could see. */
static void readable_is_not_executable(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		personality(READ_IMPLIES_EXEC);
		_exit(sandbox_enter() == 0 ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- the program itself ---- */

struct child {
	pid_t pid;
	int request, reply;
};

/* The unpacker built next to this test: <build>/tests/test_sandbox, <build>/unpacker. */
static int program(char *path, size_t cap)
{
	ssize_t n = readlink("/proc/self/exe", path, cap - 32);
	char *slash;

	assert_true(n > 0);
	path[n] = '\0';
	slash = strrchr(path, '/');
	*slash = '\0';
	slash = strrchr(path, '/');
	strcpy(slash, "/unpacker");
	return access(path, X_OK);
}

static void start_as(struct child *c, const char *path, enum who who)
{
	char name[] = "unpacker", *argv[] = { name, NULL }, *envp[] = { NULL };
	/* Opened now: another user may not get there. */
	int in[2], out[2], image = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(image >= 0);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	fflush(NULL);
	c->pid = fork();
	assert_true(c->pid >= 0);
	if (c->pid == 0) {
		int request = dup2(in[0], 200), reply = dup2(out[1], 201);

		image = fcntl(image, F_DUPFD_CLOEXEC, 202);
		if (dup2(request, IPC_FD_REQUEST) < 0 || dup2(reply, IPC_FD_REPLY) < 0 ||
			!become(who))
			_exit(9);
		fexecve(image, argv, envp);
		_exit(9);
	}
	close(image);
	close(in[0]);
	close(out[1]);
	c->request = in[1];
	c->reply = out[0];
}

static void start(struct child *c, const char *path)
{
	start_as(c, path, AS_IS);
}

/* Waits for the next message of a type; false at the end of the pipe. */
static bool wait_for(struct child *c, struct ipc_reader *r, enum ipc_type type)
{
	struct ipc_msg m;

	for (;;) {
		size_t room;
		uint8_t *to;
		ssize_t n;

		while (ipc_reader_next(r, &m) == 1) {
			if (m.hdr.type == type)
				return true;
		}
		to = ipc_reader_room(r, &room);
		n = read(c->reply, to, room);
		assert_true(n >= 0);
		if (n == 0)
			return false;
		ipc_reader_fed(r, (size_t)n);
	}
}

static int finish(struct child *c)
{
	int status = 0;

	close(c->request);
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	close(c->reply);
	return status;
}

static void put_hello(struct ipc_queue *q)
{
	const struct ipc_hello h = { IPC_VERSION, sizeof(struct ipc_hdr) };

	assert_int_equal(ipc_queue_put(q, IPC_HELLO, 0, &h, sizeof(h), NULL, 0), 0);
}

/* The whole worker with the filter on: keys of every mode, bad tags, sound, signals, the end. */
static void the_program_serves_and_leaves(void **state)
{
	static const uint8_t silence[] = { 0xf8, 0xff, 0xfe };
	struct ipc_conn_open open = { .want = IPC_WANT_PCM, .channels = 2 };
	struct ipc_control control = { 5 };
	struct ipc_packet packet = { 0 };
	struct ipc_key key = { 0 };
	struct ipc_reader *r;
	struct ipc_queue q;
	char path[PATH_MAX];
	struct child c;
	uint8_t rtp[64];
	unsigned i;
	int status;

	(void)state;
	if (program(path, sizeof(path)) != 0)
		skip();
	start(&c, path);
	ipc_queue_init(&q);
	assert_int_equal(ipc_reader_new(&r, IPC_TO_RECEIVER), 0);
	put_hello(&q);
	assert_int_equal(ipc_queue_put(&q, IPC_CONN_OPEN, 1, &open, sizeof(open), NULL, 0), 0);
	for (i = 0; i < 300; i++) {
		memset(rtp, 0, sizeof(rtp));
		rtp[0] = 0x80;
		rtp[1] = 0x78;
		rtp[3] = (uint8_t)i;
		rtp[2] = (uint8_t)(i >> 8);
		rtp[11] = 1;
		memcpy(rtp + 12, silence, 3);
		key.mode = 2 - i / 100; /* XChaCha20, AES, none */
		packet.arrival_ns = 1000000000ull * 3600 + i * 20000000ull;
		if (i % 100 == 0)
			assert_int_equal(ipc_queue_put(&q, IPC_KEY, 1, &key, sizeof(key), NULL, 0),
				0);
		assert_int_equal(ipc_queue_put(&q, IPC_PACKET, 1, &packet, sizeof(packet), rtp,
					 i < 200 ? sizeof(rtp) : 15),
			0);
		assert_int_equal(ipc_queue_put(&q, IPC_PACKET, 99, &packet, sizeof(packet), rtp,
					 15),
			0);
	}
	assert_int_equal(ipc_queue_put(&q, IPC_CONTROL, 1, &control, sizeof(control), NULL, 0), 0);
	assert_int_equal(ipc_queue_write(&q, c.request), 0);
	assert_true(wait_for(&c, r, IPC_READY));
	assert_true(wait_for(&c, r, IPC_LOG));
	assert_true(wait_for(&c, r, IPC_FRAME));
	assert_true(wait_for(&c, r, IPC_CONTROL_ECHO));
	/* ^C and a service manager's stop are not for a worker. */
	assert_int_equal(kill(c.pid, SIGINT), 0);
	assert_int_equal(kill(c.pid, SIGTERM), 0);
	assert_int_equal(ipc_queue_put(&q, IPC_PING, 0, NULL, 0, NULL, 0), 0);
	assert_int_equal(ipc_queue_write(&q, c.request), 0);
	assert_true(wait_for(&c, r, IPC_PONG));
	status = finish(&c);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	ipc_reader_free(r);
	ipc_queue_free(&q);
}

enum { DAVE_SENDERS = IPC_DAVE_MAX_SENDERS, DAVE_EPOCHS = 24 };

static struct ipc_dave_sender senders[DAVE_SENDERS];

/* Packet `seq` of speaker i, sealed with the secret that the speaker has in every epoch. */
static void put_sealed(struct ipc_queue *q, unsigned i, unsigned seq, uint64_t at_ns)
{
	static const uint8_t voice[] = { 0xf8, 0xff, 0xfe };
	uint8_t rtp[64] = { 0x80, 0x78, 0, (uint8_t)seq, 0, 0, 0, 0, 0, 0, 0, (uint8_t)(1 + i) };
	struct ipc_packet packet = { .arrival_ns = at_ns };
	uint8_t key[DAVE_FRAME_KEY_LEN];
	struct dave_frame_key *k;
	size_t n;

	dave_ratchet_key(key, senders[i].secret, 0, 0);
	assert_int_equal(dave_frame_key_new(&k, key), 0);
	assert_int_equal(dave_frame_seal(k, rtp + 12, &n, voice, sizeof(voice), seq, NULL, 0), 0);
	dave_frame_key_free(k);
	assert_int_equal(ipc_queue_put(q, IPC_PACKET, 1, &packet, sizeof(packet), rtp, 12 + n), 0);
}

/* Keys by the thousand, frames that fit and frames that do not, in memory that may not be locked:
 * nothing of it asks the kernel for more than it gives. */
static void the_program_decrypts(void **state)
{
	const struct ipc_conn_open open = { .want = IPC_WANT_PCM,
		.channels = 1,
		.hold_ns = 2000000000 };
	const struct ipc_dave_passthrough closed = { 0 };
	const struct rlimit unlocked = { 0, 0 };
	struct ipc_key key = { .mode = 0 };
	uint64_t now_ns = 1000000000ull * 3600;
	struct ipc_tick tick;
	struct ipc_reader *r;
	struct ipc_queue q;
	char path[PATH_MAX];
	struct child c;
	unsigned e, i;
	int status;

	(void)state;
	if (program(path, sizeof(path)) != 0)
		skip();
	start(&c, path);
	assert_int_equal(prlimit(c.pid, RLIMIT_MEMLOCK, &unlocked, NULL), 0);
	ipc_queue_init(&q);
	assert_int_equal(ipc_reader_new(&r, IPC_TO_RECEIVER), 0);
	put_hello(&q);
	assert_int_equal(ipc_queue_put(&q, IPC_CONN_OPEN, 1, &open, sizeof(open), NULL, 0), 0);
	assert_int_equal(ipc_queue_put(&q, IPC_KEY, 1, &key, sizeof(key), NULL, 0), 0);
	assert_int_equal(ipc_queue_put(&q, IPC_DAVE_PASSTHROUGH, 1, &closed, sizeof(closed), NULL,
				 0),
		0);
	for (i = 0; i < DAVE_SENDERS; i++) {
		senders[i].user_id = 1 + i;
		memset(senders[i].secret, (int)i, sizeof(senders[i].secret));
	}
	for (i = 0; i < 8; i++) {
		const struct ipc_speaker s = { .user_id = 1 + i, .ssrc = 1 + i };

		assert_int_equal(ipc_queue_put(&q, IPC_SPEAKER, 1, &s, sizeof(s), NULL, 0), 0);
	}
	/* The first packet of each waits for the first key. */
	for (e = 0; e < DAVE_EPOCHS; e++) {
		const struct ipc_dave_epoch epoch = { .at_ns = now_ns, .epoch = e };

		for (i = 0; i < 8; i++)
			put_sealed(&q, i, e, now_ns += 1000000);
		assert_int_equal(ipc_queue_put(&q, IPC_DAVE_EPOCH, 1, &epoch, sizeof(epoch),
					 senders, sizeof(senders)),
			0);
		/* The start of a spurt is held back for a moment. */
		tick.now_ns = now_ns += 1000000000;
		assert_int_equal(ipc_queue_put(&q, IPC_TICK, 0, &tick, sizeof(tick), NULL, 0), 0);
		assert_int_equal(ipc_queue_write(&q, c.request), 0);
		for (i = 0; i < 8; i++)
			assert_true(wait_for(&c, r, IPC_FRAME));
	}
	assert_int_equal(ipc_queue_put(&q, IPC_CONN_CLOSE, 1, NULL, 0, NULL, 0), 0);
	assert_int_equal(ipc_queue_put(&q, IPC_PING, 0, NULL, 0, NULL, 0), 0);
	assert_int_equal(ipc_queue_write(&q, c.request), 0);
	assert_true(wait_for(&c, r, IPC_PONG));
	status = finish(&c);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	ipc_reader_free(r);
	ipc_queue_free(&q);
}

/* What breaks the protocol ends the worker with a reason and a status of 1. */
static void the_program_refuses_nonsense(void **state)
{
	static const struct {
		bool hello;
		struct ipc_hdr hdr;
	} cases[] = {
		{ false, { 0, IPC_PING, 0, 0 } },
		{ true, { 0, 4711, 0, 0 } },
		{ true, { 8, IPC_PONG, 0, 0 } },
		{ true, { 7, IPC_TICK, 0, 0 } },
		{ true, { 24, IPC_CONN_OPEN, 0, 0 } },
	};
	static const uint8_t zeros[64];
	char path[PATH_MAX];
	size_t i;

	(void)state;
	if (program(path, sizeof(path)) != 0)
		skip();
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ipc_reader *r;
		struct ipc_queue q;
		struct child c;
		int status;

		start(&c, path);
		ipc_queue_init(&q);
		assert_int_equal(ipc_reader_new(&r, IPC_TO_RECEIVER), 0);
		if (cases[i].hello)
			put_hello(&q);
		if (q.len > 0)
			assert_int_equal(ipc_queue_write(&q, c.request), 0);
		assert_int_equal(write(c.request, &cases[i].hdr, 16), 16);
		assert_int_equal(write(c.request, zeros, 64), 64);
		assert_true(wait_for(&c, r, IPC_LOG));
		status = finish(&c);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 1);
		ipc_reader_free(r);
		ipc_queue_free(&q);
	}
}

/* A line of a file in /proc/PID, behind its name; "" when there is none. */
static const char *proc_line(char *buf, size_t cap, pid_t pid, const char *file, const char *name)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(buf, (int)cap, f) != NULL) {
		if (strncmp(buf, name, strlen(name)) != 0)
			continue;
		fclose(f);
		buf[strcspn(buf, "\n")] = '\0';
		return buf + strlen(name);
	}
	fclose(f);
	return "";
}

static void assert_limit(pid_t pid, const char *name, unsigned long most)
{
	unsigned long soft = ULONG_MAX, hard = ULONG_MAX;
	char line[256];

	assert_int_equal(sscanf(proc_line(line, sizeof(line), pid, "limits", name), " %lu %lu",
				 &soft, &hard),
		2);
	assert_int_equal(soft, most);
	assert_int_equal(hard, most);
}

/* What the kernel shows from outside of a worker that is ready. */
static void inspect(pid_t pid, enum who who)
{
	static const char *const caps[] = { "CapInh:\t", "CapPrm:\t", "CapEff:\t", "CapAmb:\t",
		"CapBnd:\t" };
	/* A plain user cannot take anything from it, and gets nothing out of it. */
	size_t i, sets = who == PLAIN_USER || geteuid() != 0 ? 4 : 5;
	char line[256], path[64], fds_path[64];
	struct dirent *entry;
	struct stat st;
	DIR *d;
	int fds = 0, environment;

	for (i = 0; i < sets; i++) {
		const char *set = proc_line(line, sizeof(line), pid, "status", caps[i]);

		if (strcmp(set, "0000000000000000") != 0)
			fail_msg("%s: %s%s", who_names[who], caps[i], set);
	}
	assert_string_equal(proc_line(line, sizeof(line), pid, "status", "NoNewPrivs:\t"), "1");
	assert_string_equal(proc_line(line, sizeof(line), pid, "status", "Seccomp:\t"), "2");
	assert_limit(pid, "Max core file size", 0);
	assert_limit(pid, "Max open files", 0);
	assert_limit(pid, "Max file size", 0);
	assert_limit(pid, "Max processes", 0);
	assert_limit(pid, "Max address space", 4ul << 30);
	assert_limit(pid, "Max stack size", 1ul << 20);
	snprintf(fds_path, sizeof(fds_path), "/proc/%d/fd", (int)pid);
	/* Not dumpable: what is in /proc is root's, whoever it is. */
	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);
	if ((environment = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
		assert_int_equal(read(environment, line, sizeof(line)), 0);
		close(environment);
	}
	if ((d = opendir(fds_path)) == NULL)
		return; /* not for us to read: we are not root, or not all of it */
	while ((entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		fds++;
		assert_in_range(atoi(entry->d_name), IPC_FD_REQUEST, IPC_FD_REPLY);
	}
	closedir(d);
	assert_int_equal(fds, 2);
}

/* Somebody else of the same user can neither attach to a worker nor look into it. */
static int spy(pid_t pid)
{
	char path[64];
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (!become(PLAIN_USER))
			_exit(4);
		snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
		if (open(path, O_RDONLY) >= 0)
			_exit(1);
		if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) == 0)
			_exit(2);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void the_program_is_locked_in(void **state)
{
	char path[PATH_MAX];
	enum who who;

	(void)state;
	if (SANITIZED || program(path, sizeof(path)) != 0)
		skip();
	for (who = AS_IS; who < WHOS; who++) {
		struct ipc_reader *r;
		struct ipc_queue q;
		struct child c;

		if (!can_become(who))
			continue;
		start_as(&c, path, who);
		ipc_queue_init(&q);
		assert_int_equal(ipc_reader_new(&r, IPC_TO_RECEIVER), 0);
		put_hello(&q);
		assert_int_equal(ipc_queue_write(&q, c.request), 0);
		assert_true(wait_for(&c, r, IPC_READY));
		inspect(c.pid, who);
		if (who == PLAIN_USER)
			assert_int_equal(spy(c.pid), 0);
		assert_int_equal(finish(&c), 0);
		ipc_reader_free(r);
		ipc_queue_free(&q);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_allowed_works),
		cmocka_unit_test(everything_forbidden_kills),
		cmocka_unit_test(every_other_number_kills),
		cmocka_unit_test(readable_is_not_executable),
		cmocka_unit_test(the_program_serves_and_leaves),
		cmocka_unit_test(the_program_decrypts),
		cmocka_unit_test(the_program_refuses_nonsense),
		cmocka_unit_test(the_program_is_locked_in),
	};

	if (sodium_init() < 0)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	parent = getpid();
	alarm(100); /* a worker that says nothing is a failure, not a wait */
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
