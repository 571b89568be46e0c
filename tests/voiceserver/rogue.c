/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "tests/voiceserver/rogue.h"

/* A connection is a thread that reads and writes as it likes, and ends when the other side does. */
enum { TEXT = 0x81, BINARY = 0x82, CLOSE = 0x88, PING = 0x89, MORE = 0x01, NEXT = 0x00 };
enum { KINDS_MAX = 32, MEGABYTE = 1024 * 1024 };
#define HELLO "{\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":5000}}"

static bool put(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;
	ssize_t n;

	for (; len > 0; p += n, len -= (size_t)n) {
		if ((n = send(fd, p, len, MSG_NOSIGNAL)) <= 0)
			return false;
	}
	return true;
}

static void nap(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

/* A frame's head; the length is what is claimed. */
static bool head(int fd, int first, uint64_t len)
{
	uint8_t h[10] = { (uint8_t)first, (uint8_t)len };
	size_t n = 2, i;

	if (len > 125) {
		n = len > 65535 ? 10 : 4;
		h[1] = n == 10 ? 127 : 126;
		for (i = n; i-- > 2; len >>= 8)
			h[i] = (uint8_t)len;
	}
	return put(fd, h, n);
}

static bool frame(int fd, int first, const void *data, size_t len)
{
	return head(fd, first, len) && put(fd, data, len);
}

static bool text(int fd, const char *s)
{
	return frame(fd, TEXT, s, strlen(s));
}

static void close_with(int fd, unsigned code)
{
	const uint8_t body[2] = { (uint8_t)(code >> 8), (uint8_t)code };

	frame(fd, CLOSE, body, sizeof(body));
	nap(50);
}

/* Waits for something of the other side. */
static bool hear(int fd)
{
	char buf[4096];

	return recv(fd, buf, sizeof(buf), 0) > 0;
}

/* The request, and `Sec-WebSocket-Accept` for it. */
static bool request(int fd, char accept[static 64])
{
	static const char name[] = "Sec-WebSocket-Key: ",
			  magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char buf[4096], key[128] = "", *at;
	unsigned char digest[EVP_MAX_MD_SIZE];
	size_t len = 0;
	ssize_t n;

	do {
		if ((n = recv(fd, buf + len, sizeof(buf) - 1 - len, 0)) <= 0)
			return false;
		len += (size_t)n;
		buf[len] = '\0';
	} while (strstr(buf, "\r\n\r\n") == NULL && len < sizeof(buf) - 1);
	if ((at = strcasestr(buf, name)) != NULL)
		snprintf(key, sizeof(key), "%.24s%s", at + strlen(name), magic);
	EVP_Digest(key, strlen(key), digest, NULL, EVP_sha1(), NULL);
	EVP_EncodeBlock((unsigned char *)accept, digest, 20);
	return true;
}

static bool upgraded(int fd)
{
	char accept[64], buf[256];
	int n;

	if (!request(fd, accept))
		return false;
	n = snprintf(buf, sizeof(buf),
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
		"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		accept);
	return put(fd, buf, (size_t)n);
}

static void random_bytes(int fd, size_t len)
{
	uint8_t buf[4096];
	unsigned seed = 1;
	size_t i;

	for (i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(rand_r(&seed) >> 8);
	for (; len > 0; len -= len < sizeof(buf) ? len : sizeof(buf)) {
		if (!put(fd, buf, len < sizeof(buf) ? len : sizeof(buf)))
			return;
	}
}

/* ---- the kinds ---- */

static void not_found(int fd, int port)
{
	char accept[64];

	(void)port;
	if (request(fd, accept))
		put(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 46);
}

/* To somebody who speaks TLS. */
static void plain_answer(int fd, int port)
{
	(void)port;
	if (hear(fd))
		put(fd, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", 47);
}

static void redirect(int fd, int port)
{
	char accept[64], buf[256];
	int n;

	n = snprintf(buf, sizeof(buf),
		"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:%d/?v=8\r\n"
		"Content-Length: 0\r\n\r\n",
		port);
	if (request(fd, accept))
		put(fd, buf, (size_t)n);
}

static void garbage(int fd, int port)
{
	(void)port;
	random_bytes(fd, 100000);
	nap(200);
}

static void wrong_accept(int fd, int port)
{
	static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
				     "Connection: Upgrade\r\n"
				     "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
	char accept[64];

	(void)port;
	if (request(fd, accept))
		put(fd, answer, sizeof(answer) - 1);
	hear(fd);
}

/* Whoever answers has understood Hello, and is told that it may not come in. */
static void answer_slow(int fd)
{
	if (hear(fd))
		close_with(fd, 4004);
}

/* A byte every 10 ms, the head of the frame too. */
static void slow_bytes(int fd, int port)
{
	static const char hello[] = HELLO;
	uint8_t bytes[2 + sizeof(hello)] = { TEXT, sizeof(hello) - 1 };
	size_t i;

	(void)port;
	memcpy(bytes + 2, hello, sizeof(hello));
	if (!upgraded(fd))
		return;
	for (i = 0; i < sizeof(hello) + 1 && put(fd, bytes + i, 1); i++)
		nap(10);
	answer_slow(fd);
}

/* A frame for every byte, and pings in between, as is allowed. */
static void slow_frames(int fd, int port)
{
	static const char hello[] = HELLO;
	size_t i, last = sizeof(hello) - 2;

	(void)port;
	if (!upgraded(fd))
		return;
	for (i = 0; i <= last; i++) {
		frame(fd, (i == 0 ? MORE : NEXT) | (i == last ? 0x80 : 0), hello + i, 1);
		if (i % 7 == 0)
			frame(fd, PING, "x", 1);
		nap(10);
	}
	answer_slow(fd);
}

static void large_frame(int fd, int port)
{
	(void)port;
	if (upgraded(fd) && head(fd, TEXT, 16 * MEGABYTE))
		random_bytes(fd, 16 * MEGABYTE);
}

/* The length is a lie: no more than that comes. */
static void claimed_frame(int fd, int port)
{
	(void)port;
	if (upgraded(fd) && head(fd, BINARY, UINT64_MAX >> 1))
		random_bytes(fd, 4 * MEGABYTE);
}

static void endless_message(int fd, int port)
{
	static uint8_t zeros[60000];
	int i;

	(void)port;
	if (!upgraded(fd) || !frame(fd, MORE, "[", 1))
		return;
	for (i = 0; i < 400 && frame(fd, NEXT, zeros, sizeof(zeros)); i++)
		continue;
}

static void empty_fragments(int fd, int port)
{
	int i;

	(void)port;
	if (!upgraded(fd) || !frame(fd, MORE, "[", 1))
		return;
	for (i = 0; i < 100000 && head(fd, NEXT, 0); i++)
		continue;
}

static void pings(int fd, int port)
{
	int i;

	(void)port;
	if (!upgraded(fd))
		return;
	for (i = 0; i < 50000 && frame(fd, PING, "ping", 4); i++)
		continue;
}

/* Frames that the protocol does not know, a different one each time. */
static void bad_frames(int fd, int port)
{
	static const uint8_t frames[][6] = {
		{ 0xc1, 1, '{' },           /* reserved bit */
		{ 0x83, 1, '{' },           /* unknown opcode */
		{ 0x8b, 1, '{' },           /* unknown control opcode */
		{ 0x80, 1, '{' },           /* continues nothing */
		{ 0x09, 1, '{' },           /* half a ping */
		{ 0x88, 1, 3 },             /* half a close code */
		{ 0x81, 0x81, 0, 0, 0, 0 }, /* masked */
	};
	static unsigned next;
	unsigned i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);

	(void)port;
	if (!upgraded(fd) || !text(fd, HELLO))
		return;
	put(fd, frames[i % 7], 6);
	put(fd, frames[i % 7], 6);
	nap(300);
}

/* As large as a message may be, and nothing in it. */
static void large_nonsense(int fd, int port)
{
	static const char starts[] = "[{\"0 ";
	char *big = malloc(MEGABYTE);
	size_t i;

	(void)port;
	if (big == NULL || !upgraded(fd) || !text(fd, HELLO))
		goto out;
	for (i = 0; i < sizeof(starts) - 1; i++) {
		memset(big, starts[i], MEGABYTE);
		if (!frame(fd, TEXT, big, MEGABYTE) || !frame(fd, BINARY, big, MEGABYTE))
			goto out;
	}
	/* Objects in objects in objects. */
	for (i = 0; i + 5 <= MEGABYTE; i += 5)
		memcpy(big + i, "{\"a\":", 5);
	frame(fd, TEXT, big, MEGABYTE);
	if (hear(fd))
		close_with(fd, 4006);
out:
	free(big);
}

static void hangs_up(int fd, int port)
{
	(void)port;
	if (upgraded(fd) && text(fd, HELLO) && hear(fd))
		close_with(fd, 4015);
}

/* These take their time: whoever waits for them gives up. */
static void silent(int fd, int port)
{
	(void)port;
	while (hear(fd))
		continue;
}

static void no_hello(int fd, int port)
{
	(void)port;
	if (upgraded(fd))
		silent(fd, port);
}

static void no_ready(int fd, int port)
{
	(void)port;
	if (upgraded(fd) && text(fd, HELLO))
		silent(fd, port);
}

static const struct kind {
	const char *name;
	void (*serve)(int fd, int port);
	bool tls, slow; /* slow: minutes until somebody gives up; not of "all" */
} kinds[] = {
	{ "not-found", not_found, false, false },
	{ "redirect", redirect, false, false },
	{ "garbage", garbage, false, false },
	{ "tls-garbage", garbage, true, false },
	{ "tls-plain", plain_answer, true, false },
	{ "wrong-accept", wrong_accept, false, false },
	{ "slow-bytes", slow_bytes, false, false },
	{ "slow-frames", slow_frames, false, false },
	{ "large-frame", large_frame, false, false },
	{ "claimed-frame", claimed_frame, false, false },
	{ "endless-message", endless_message, false, false },
	{ "empty-fragments", empty_fragments, false, false },
	{ "pings", pings, false, false },
	{ "bad-frames", bad_frames, false, false },
	{ "large-nonsense", large_nonsense, false, false },
	{ "hangs-up", hangs_up, false, false },
	{ "silent", silent, false, true },
	{ "tls-silent", silent, true, true },
	{ "no-hello", no_hello, false, true },
	{ "no-ready", no_ready, false, true },
};

/* ---- sockets ---- */

struct listener {
	const struct kind *kind;
	int fd, port;
};

struct visit {
	const struct kind *kind;
	int fd, port;
};

static void *visit_run(void *arg)
{
	struct visit v = *(struct visit *)arg;

	free(arg);
	v.kind->serve(v.fd, v.port);
	close(v.fd);
	return NULL;
}

static void *listener_run(void *arg)
{
	const struct listener *l = arg;
	struct timeval patience = { .tv_sec = 20 };
	int fd;

	while ((fd = accept(l->fd, NULL, NULL)) >= 0) {
		struct visit *v = malloc(sizeof(*v));
		pthread_t thread;

		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
		if (v == NULL) {
			close(fd);
			continue;
		}
		*v = (struct visit){ l->kind, fd, l->port };
		if (pthread_create(&thread, NULL, visit_run, v) != 0) {
			close(fd);
			free(v);
			continue;
		}
		pthread_detach(thread);
	}
	return NULL;
}

static int listen_for(struct listener *l, const struct kind *k)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	l->kind = k;
	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
		listen(l->fd, 64) != 0 || getsockname(l->fd, (struct sockaddr *)&at, &len) != 0)
		return TD_ERR_SYS;
	l->port = ntohs(at.sin_port);
	return TD_OK;
}

static bool is_named(const char *list, const struct kind *k)
{
	size_t len = strlen(k->name);
	const char *at = list;

	if (strcmp(list, "all") == 0)
		return !k->slow;
	while ((at = strstr(at, k->name)) != NULL) {
		if ((at == list || at[-1] == ',') && (at[len] == '\0' || at[len] == ','))
			return true;
		at += len;
	}
	return false;
}

int rogue_run(const char *names, const char *join_out, double max_seconds)
{
	static struct listener listeners[KINDS_MAX];
	struct timespec limit = { (time_t)max_seconds, 0 };
	FILE *f = fopen(join_out, "we");
	sigset_t ends;
	size_t i, n = 0;
	int r = f != NULL ? TD_OK : TD_ERR_IO;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	for (i = 0; r == TD_OK && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct listener *l = &listeners[n];
		pthread_t thread;

		if (!is_named(names, &kinds[i]))
			continue;
		if ((r = listen_for(l, &kinds[i])) != TD_OK)
			break;
		if (pthread_create(&thread, NULL, listener_run, l) != 0)
			r = TD_ERR_SYS;
		fprintf(f,
			"{\"guild_id\":\"%zu\",\"channel_id\":\"%zu\",\"user_id\":\"1\","
			"\"session_id\":\"s\",\"token\":\"t\",\"endpoint\":\"%s:%d\"}\n",
			n + 1, n + 1001, kinds[i].tls ? "localhost" : "ws://127.0.0.1", l->port);
		printf("{\"event\":\"rogue\",\"guild_id\":\"%zu\",\"kind\":\"%s\"}\n", ++n,
			kinds[i].name);
	}
	fflush(stdout);
	if (f != NULL && fclose(f) != 0)
		r = TD_ERR_IO;
	if (r == TD_OK)
		sigtimedwait(&ends, NULL, &limit);
	return r;
}
