/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

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

static void call_open(void)
{
	(void)open("/dev/null", O_RDONLY);
}

static void call_socket(void)
{
	(void)socket(AF_INET, SOCK_DGRAM, 0);
}

static void call_fork(void)
{
	(void)fork();
}

static void call_exec(void)
{
	(void)execl("/bin/true", "true", NULL);
}

static void call_ptrace(void)
{
	(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void call_kill(void)
{
	(void)kill(getppid(), 0);
}

static void call_prctl(void)
{
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static void call_mmap_exec(void)
{
	(void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void call_mprotect_exec(void)
{
	(void)mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static void call_stderr(void)
{
	(void)!write(STDERR_FILENO, "x", 1);
}

static void call_read_stdin(void)
{
	char c;

	(void)!read(STDIN_FILENO, &c, 1);
}

static void call_clock(void)
{
	struct timespec ts;

	(void)syscall(SYS_clock_gettime, CLOCK_REALTIME, &ts);
}

static void call_random(void)
{
	char c;

	(void)syscall(SYS_getrandom, &c, 1, 0);
}

static void call_dup(void)
{
	(void)!dup(IPC_FD_REPLY);
}

static const struct {
	const char *name;
	void (*call)(void);
	int dies;
} calls[] = {
	{ "nothing", call_nothing, 0 },
	{ "the two pipes", call_pipes, 0 },
	{ "memory", call_memory, 0 },
	{ "open", call_open, 1 },
	{ "socket", call_socket, 1 },
	{ "fork", call_fork, 1 },
	{ "exec", call_exec, 1 },
	{ "ptrace", call_ptrace, 1 },
	{ "kill", call_kill, 1 },
	{ "prctl", call_prctl, 1 },
	{ "mmap executable", call_mmap_exec, 1 },
	{ "mprotect executable", call_mprotect_exec, 1 },
	{ "write to stderr", call_stderr, 1 },
	{ "read stdin", call_read_stdin, 1 },
	{ "clock", call_clock, 1 },
	{ "random", call_random, 1 },
	{ "dup", call_dup, 1 },
};

/* Runs a child in the sandbox; returns its wait status. */
static int run(void (*call)(void))
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

static void only_what_is_allowed_survives(void **state)
{
	size_t i;

	(void)state;
	if (SANITIZED)
		skip();
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int status = run(calls[i].call);

		print_message("%s: status %x\n", calls[i].name, (unsigned)status);
		if (calls[i].dies) {
			assert_true(WIFSIGNALED(status));
			assert_int_equal(WTERMSIG(status), SIGSYS);
		} else {
			assert_true(WIFEXITED(status));
			assert_int_equal(WEXITSTATUS(status), 0);
		}
	}
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

static void start(struct child *c, const char *path)
{
	int in[2], out[2];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	fflush(NULL);
	c->pid = fork();
	assert_true(c->pid >= 0);
	if (c->pid == 0) {
		int request = dup2(in[0], 200), reply = dup2(out[1], 201);

		if (dup2(request, IPC_FD_REQUEST) < 0 || dup2(reply, IPC_FD_REPLY) < 0)
			_exit(9);
		execl(path, "unpacker", (char *)NULL);
		_exit(9);
	}
	close(in[0]);
	close(out[1]);
	c->request = in[1];
	c->reply = out[0];
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
		{ true, { 0, IPC_PONG, 0, 0 } },
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

/* The limits and flags that the kernel shows from outside. */
static void the_program_is_locked_in(void **state)
{
	char path[PATH_MAX], line[256], proc[64];
	struct ipc_reader *r;
	struct ipc_queue q;
	struct child c;
	FILE *f;
	int seen = 0, extra, status;

	(void)state;
	if (SANITIZED || program(path, sizeof(path)) != 0)
		skip();
	extra = open("/dev/null", O_RDONLY); /* inherited, and closed */
	start(&c, path);
	ipc_queue_init(&q);
	assert_int_equal(ipc_reader_new(&r, IPC_TO_RECEIVER), 0);
	put_hello(&q);
	assert_int_equal(ipc_queue_write(&q, c.request), 0);
	assert_true(wait_for(&c, r, IPC_READY));
	snprintf(proc, sizeof(proc), "/proc/%d/status", (int)c.pid);
	f = fopen(proc, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		seen += strcmp(line, "NoNewPrivs:\t1\n") == 0;
		seen += strcmp(line, "Seccomp:\t2\n") == 0;
	}
	fclose(f);
	assert_int_equal(seen, 2);
	snprintf(proc, sizeof(proc), "/proc/%d/limits", (int)c.pid);
	f = fopen(proc, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		unsigned long soft = 1, hard = 1;

		if (sscanf(line, "Max core file size %lu %lu", &soft, &hard) == 2 ||
			sscanf(line, "Max open files %lu %lu", &soft, &hard) == 2 ||
			sscanf(line, "Max file size %lu %lu", &soft, &hard) == 2 ||
			sscanf(line, "Max processes %lu %lu", &soft, &hard) == 2) {
			assert_int_equal(soft, 0);
			assert_int_equal(hard, 0);
			seen++;
		}
	}
	fclose(f);
	assert_int_equal(seen, 6);
	snprintf(proc, sizeof(proc), "/proc/%d/fd/%d", (int)c.pid, extra);
	assert_int_not_equal(readlink(proc, line, sizeof(line)), sizeof("/dev/null") - 1);
	close(extra);
	status = finish(&c);
	assert_int_equal(status, 0);
	ipc_reader_free(r);
	ipc_queue_free(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_is_allowed_survives),
		cmocka_unit_test(the_program_serves_and_leaves),
		cmocka_unit_test(the_program_decrypts),
		cmocka_unit_test(the_program_refuses_nonsense),
		cmocka_unit_test(the_program_is_locked_in),
	};

	if (sodium_init() < 0)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
