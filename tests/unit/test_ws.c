/* SPDX-License-Identifier: ISC */
/*
 * WebSocket connections over TLS to a server that is a process of our own: what it may say after
 * the handshake, the certificates it may have, and what a quiet connection costs.
 */
#include "receiver/ws.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
/* after stdarg.h and its kin */
#include <cmocka.h>

#include "common/err.h"
#include "tests/voiceserver/certs.h"

enum { MAX_CONNECTIONS = 64, FAR_TOO_LONG_MS = 60000, QUIET_KIB = 20 };

/* ---- the server, in a process of its own ---- */

struct server {
	const struct certs *certs;
	int version;
	char groups[16]; /* "": all */
	unsigned connections;
	void (*talk)(SSL *ssl); /* NULL: nothing is said, and the next may come */
	uint16_t port;
	pid_t pid;
};

#define EXPECT(what)                                                               \
	do {                                                                       \
		if (!(what)) {                                                     \
			fprintf(stderr, "server, line %d: %s\n", __LINE__, #what); \
			ERR_print_errors_fp(stderr);                               \
			_exit(1);                                                  \
		}                                                                  \
	} while (0)

static void say(SSL *ssl, const char *text)
{
	uint8_t frame[128] = { 0x81, (uint8_t)strlen(text) };

	memcpy(frame + 2, text, frame[1]);
	EXPECT(SSL_write(ssl, frame, frame[1] + 2) == frame[1] + 2);
}

static void read_whole(SSL *ssl, uint8_t *data, int len)
{
	for (int got = 0, n; got < len; got += n)
		EXPECT((n = SSL_read(ssl, data + got, len - got)) > 0);
}

/* A frame of this type, with this inside. */
static void hear(SSL *ssl, uint8_t type, const void *data, size_t len)
{
	uint8_t head[6], body[128];

	read_whole(ssl, head, sizeof(head));
	EXPECT(head[0] == type && head[1] == (0x80 | len));
	read_whole(ssl, body, (int)len);
	for (size_t i = 0; i < len; i++)
		body[i] ^= head[2 + i % 4];
	EXPECT(memcmp(body, data, len) == 0);
}

static void hear_text(SSL *ssl, const char *text)
{
	hear(ssl, 0x81, text, strlen(text));
}

/* "bye" makes the client close the connection: by the book. */
static void hear_close(SSL *ssl)
{
	const uint8_t code[] = { 1000 >> 8, 1000 & 0xff },
		      close_frame[] = { 0x88, 2, code[0], code[1] };
	uint8_t byte;

	say(ssl, "bye");
	hear(ssl, 0x88, code, sizeof(code));
	SSL_write(ssl, close_frame, sizeof(close_frame));
	EXPECT(SSL_read(ssl, &byte, 1) <= 0);
}

static void upgrade(SSL *ssl)
{
	static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	uint8_t hash[EVP_MAX_MD_SIZE], accept[64];
	char request[4096] = "", text[512];
	size_t len = 0;
	char *key, *end;

	while (strstr(request, "\r\n\r\n") == NULL) {
		EXPECT(len < sizeof(request) - 1 && SSL_read(ssl, request + len, 1) == 1);
		len++;
	}
	EXPECT((key = strcasestr(request, "Sec-WebSocket-Key: ")) != NULL);
	key += strlen("Sec-WebSocket-Key: ");
	EXPECT((end = strstr(key, "\r\n")) != NULL);
	snprintf(text, sizeof(text), "%.*s%s", (int)(end - key), key, magic);
	EXPECT(EVP_Digest(text, strlen(text), hash, NULL, EVP_sha1(), NULL) == 1);
	EVP_EncodeBlock(accept, hash, 20);
	len = (size_t)snprintf(text, sizeof(text),
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: %s\r\n\r\n",
		accept);
	EXPECT(SSL_write(ssl, text, (int)len) == (int)len);
}

static SSL_CTX *server_context(struct server *s)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	BIO *cert = BIO_new_mem_buf(s->certs->cert, -1), *key = BIO_new_mem_buf(s->certs->key, -1);
	X509 *x = PEM_read_bio_X509(cert, NULL, NULL, NULL);
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);

	EXPECT(SSL_CTX_use_certificate(ctx, x) == 1 && SSL_CTX_use_PrivateKey(ctx, pkey) == 1);
	EXPECT(SSL_CTX_set_min_proto_version(ctx, s->version) == 1);
	EXPECT(SSL_CTX_set_max_proto_version(ctx, s->version) == 1);
	EXPECT(s->groups[0] == '\0' || SSL_CTX_set1_groups_list(ctx, s->groups) == 1);
	X509_free(x);
	EVP_PKEY_free(pkey);
	BIO_free(cert);
	BIO_free(key);
	return ctx;
}

static _Noreturn void server_run(struct server *s, int listener)
{
	SSL_CTX *ctx = server_context(s);
	SSL *ssl[MAX_CONNECTIONS];

	signal(SIGPIPE, SIG_IGN);
	alarm(FAR_TOO_LONG_MS / 1000);
	for (unsigned i = 0; i < s->connections; i++) {
		int fd = accept(listener, NULL, NULL);

		EXPECT(fd >= 0 && (ssl[i] = SSL_new(ctx)) != NULL && SSL_set_fd(ssl[i], fd) == 1);
		if (SSL_accept(ssl[i]) != 1) /* the client did not like it */
			continue;
		EXPECT(!SSL_session_reused(ssl[i])); /* it has looked at the certificate */
		upgrade(ssl[i]);
		if (s->talk != NULL)
			s->talk(ssl[i]);
	}
	pause();
	_exit(0);
}

static void server_start(struct server *s)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(at);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, MAX_CONNECTIONS), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	s->port = ntohs(at.sin_port);
	fflush(NULL);
	assert_true((s->pid = fork()) >= 0);
	if (s->pid == 0)
		server_run(s, fd);
	close(fd);
}

/* It has found nothing wrong. */
static void server_end(const struct server *s)
{
	int status;

	kill(s->pid, SIGTERM);
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

/* ---- the client ---- */

struct client {
	struct place *place;
	struct ws *ws;
	bool opened, answered, said_bye, closed, fatal;
	uint16_t code;
	char reason[200];
};

struct place {
	uv_loop_t loop;
	uv_timer_t late;
	struct ws_context *ctx;
	char ca[64];
	struct client client[MAX_CONNECTIONS];
	unsigned opened;
};

static void on_late(uv_timer_t *timer)
{
	(void)timer;
	fail_msg("nothing happens");
}

static void place_open(struct place *p, const struct certs *certs)
{
	char err[256] = "";
	int fd;

	memset(p, 0, sizeof(*p));
	strcpy(p->ca, "/tmp/test_ws.XXXXXX");
	assert_true((fd = mkstemp(p->ca)) >= 0);
	assert_true(write(fd, certs->root, strlen(certs->root)) > 0);
	close(fd);
	uv_loop_init(&p->loop);
	uv_timer_init(&p->loop, &p->late);
	uv_timer_start(&p->late, on_late, FAR_TOO_LONG_MS, 0);
	uv_unref((uv_handle_t *)&p->late);
	assert_int_equal(ws_context_new(&p->ctx, &p->loop, p->ca, err, sizeof(err)), TD_OK);
	unlink(p->ca);
}

static void place_close(struct place *p)
{
	ws_context_end(p->ctx);
	uv_close((uv_handle_t *)&p->late, NULL);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	ws_context_free(p->ctx);
	uv_loop_close(&p->loop);
}

static void on_opened(void *user)
{
	struct client *c = user;

	c->opened = true;
	c->place->opened++;
}

static void on_text(void *user, const char *text, size_t len)
{
	struct client *c = user;
	char answer[128];

	if (len == 3 && memcmp(text, "bye", 3) == 0) {
		ws_close(c->ws, 1000);
		c->said_bye = true;
		return;
	}
	snprintf(answer, sizeof(answer), "got %.*s", (int)len, text);
	assert_int_equal(ws_send(c->ws, false, (const uint8_t *)answer, strlen(answer)), TD_OK);
	c->answered = true;
}

static void on_closed(void *user, uint16_t code, const char *reason, bool fatal)
{
	struct client *c = user;

	c->closed = true;
	c->code = code;
	c->fatal = fatal;
	snprintf(c->reason, sizeof(c->reason), "%s", reason);
}

static void client_open(struct place *p, struct client *c, const char *host, uint16_t port)
{
	struct ws_conf conf = { .host = host,
		.port = port,
		.tls = true,
		.opened = on_opened,
		.text = on_text,
		.closed = on_closed,
		.user = c };

	memset(c, 0, sizeof(*c));
	c->place = p;
	assert_int_equal(ws_open(&c->ws, p->ctx, &conf), TD_OK);
}

/* What became of a connection: open, or closed. */
static void client_try(struct place *p, struct client *c, const char *host, uint16_t port)
{
	client_open(p, c, host, port);
	while (!c->opened && !c->closed)
		uv_run(&p->loop, UV_RUN_ONCE);
}

/* ---- what a server may say later ---- */

static void talk_later(SSL *ssl)
{
	say(ssl, "one");
	hear_text(ssl, "got one");
	if (SSL_version(ssl) == TLS1_3_VERSION) {
		EXPECT(SSL_new_session_ticket(ssl) == 1);
		say(ssl, "two");
		hear_text(ssl, "got two");
		for (int i = 0; i < 3; i++) {
			EXPECT(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1);
			say(ssl, "new key");
			hear_text(ssl, "got new key");
			EXPECT(SSL_new_session_ticket(ssl) == 1);
			say(ssl, "ticket");
			hear_text(ssl, "got ticket");
			EXPECT(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1);
			say(ssl, "half");
			hear_text(ssl, "got half");
		}
	}
	hear_close(ssl);
}

/* Tickets, new keys, a close: of a connection that has forgotten its handshake, whatever that was.
 */
static void later_messages(void **state)
{
	static const struct {
		int version;
		const char *groups;
	} cases[] = {
		{ TLS1_3_VERSION, "" },
		{ TLS1_3_VERSION, "P-256" }, /* asks for another key */
		{ TLS1_3_VERSION, "ffdhe2048" },
		{ TLS1_2_VERSION, "" },
		{ TLS1_2_VERSION, "P-384" },
	};
	static struct place p;
	struct certs *certs;

	(void)state;
	assert_int_equal(certs_new(&certs, CERTS_GOOD), TD_OK);
	place_open(&p, certs);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct server s = { .certs = certs,
			.version = cases[i].version,
			.connections = 3,
			.talk = talk_later };

		strcpy(s.groups, cases[i].groups);
		server_start(&s);
		for (int k = 0; k < 3; k++) {
			client_try(&p, &p.client[0], "localhost", s.port);
			while (!p.client[0].said_bye && !p.client[0].closed)
				uv_run(&p.loop, UV_RUN_ONCE);
			assert_true(p.client[0].said_bye);
		}
		server_end(&s);
	}
	place_close(&p);
	certs_free(certs);
}

static void talk_end(SSL *ssl)
{
	say(ssl, "one");
	hear_text(ssl, "got one");
	SSL_shutdown(ssl);
}

/* A connection that opens, and that this talk ends. */
static void ended_by(void (*talk)(SSL *ssl), int version)
{
	static struct place p;
	struct certs *certs;
	struct server s = { .version = version, .connections = 1, .talk = talk };

	assert_int_equal(certs_new(&certs, CERTS_GOOD), TD_OK);
	s.certs = certs;
	place_open(&p, certs);
	server_start(&s);
	client_try(&p, &p.client[0], "localhost", s.port);
	while (!p.client[0].closed)
		uv_run(&p.loop, UV_RUN_ONCE);
	assert_true(p.client[0].opened);
	assert_false(p.client[0].fatal);
	server_end(&s);
	place_close(&p);
	certs_free(certs);
}

/* The end of TLS is the connection's. */
static void server_shuts_down(void **state)
{
	(void)state;
	ended_by(talk_end, TLS1_3_VERSION);
}

static void talk_again(SSL *ssl)
{
	uint8_t byte;

	say(ssl, "one");
	hear_text(ssl, "got one");
	EXPECT(SSL_renegotiate(ssl) == 1 && SSL_do_handshake(ssl) == 1);
	EXPECT(SSL_read(ssl, &byte, 1) <= 0);
	EXPECT(ERR_GET_REASON(ERR_peek_error()) == SSL_R_NO_RENEGOTIATION);
	SSL_free(ssl);
	ERR_clear_error();
}

/* There is no second handshake, with another certificate perhaps. */
static void renegotiation_is_refused(void **state)
{
	(void)state;
	ended_by(talk_again, TLS1_2_VERSION);
}

/* ---- certificates ---- */

static void bad_certificates(void **state)
{
	static const struct {
		enum certs_kind kind;
		const char *why;
	} cases[] = { { CERTS_WRONG_HOST, "mismatch" }, { CERTS_EXPIRED, "expired" },
		{ CERTS_UNTRUSTED, "unable to get local issuer|signature failure|self-signed" },
		{ CERTS_NOT_YET, "not yet valid" } };
	static struct place p;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct server s = { .version = TLS1_3_VERSION, .connections = 2 };
		struct client *c = &p.client[0];
		struct certs *certs;
		bool named = false;
		char why[100], *word, *rest = why;

		assert_int_equal(certs_new(&certs, cases[i].kind), TD_OK);
		s.certs = certs;
		place_open(&p, certs);
		server_start(&s);
		for (int k = 0; k < 2; k++) { /* the second time it was seen, but not found good */
			client_try(&p, c, "localhost", s.port);
			assert_true(c->closed && c->fatal && !c->opened);
			assert_non_null(strstr(c->reason, "certificate of localhost refused: "));
			snprintf(why, sizeof(why), "%s", cases[i].why);
			for (rest = why, named = false; (word = strsep(&rest, "|")) != NULL;)
				named = named || strstr(c->reason, word) != NULL;
			if (!named)
				fail_msg("%s: %s", cases[i].why, c->reason);
		}
		server_end(&s);
		place_close(&p);
		certs_free(certs);
	}
}

/* A certificate that was good elsewhere is good for its own names alone, and another one of that
 * name is none. */
static void good_ones_help_no_bad_ones(void **state)
{
	static struct place p;
	struct certs *certs, *others;
	struct server s = { .version = TLS1_3_VERSION, .connections = 5 }, other = s;
	struct client *c = p.client;

	(void)state;
	assert_int_equal(certs_new(&certs, CERTS_GOOD), TD_OK);
	assert_int_equal(certs_new(&others, CERTS_GOOD), TD_OK);
	s.certs = certs;
	other.certs = others;
	place_open(&p, certs);
	server_start(&s);
	server_start(&other);
	for (int k = 0; k < 2; k++) {
		client_try(&p, &c[k], "localhost", s.port);
		assert_true(c[k].opened);
		client_try(&p, &c[2], "127.0.0.2", s.port);
		assert_true(c[2].closed && c[2].fatal);
		assert_non_null(strstr(c[2].reason, "certificate of 127.0.0.2 refused: "));
		client_try(&p, &c[2], "localhost", other.port);
		assert_true(c[2].closed && c[2].fatal);
	}
	client_try(&p, &c[3], "127.0.0.1", s.port);
	assert_true(c[3].opened);
	server_end(&s);
	server_end(&other);
	place_close(&p);
	certs_free(certs);
	certs_free(others);
}

/* Two servers with two certificates, in turns: each is taken for what it is. */
static void two_certificates(void **state)
{
	static struct place p;
	struct certs *certs;
	struct server s[2] = { { .version = TLS1_3_VERSION, .connections = 4 },
		{ .version = TLS1_2_VERSION, .connections = 4 } };

	(void)state;
	assert_int_equal(certs_new(&certs, CERTS_GOOD), TD_OK);
	place_open(&p, certs);
	for (int i = 0; i < 2; i++) {
		s[i].certs = certs;
		server_start(&s[i]);
		assert_int_equal(certs_renew(certs), TD_OK);
	}
	for (int i = 0; i < 8; i++) {
		client_try(&p, &p.client[i], "localhost", s[i % 2].port);
		assert_true(p.client[i].opened);
	}
	for (int i = 0; i < 2; i++)
		server_end(&s[i]);
	place_close(&p);
	certs_free(certs);
}

/* ---- memory ---- */

static void talk_little(SSL *ssl)
{
	say(ssl, "one");
	hear_text(ssl, "got one");
}

/* TLS may cost no more than it has to: measured on the heap, behind some connections that filled
 * the caches. */
static void a_quiet_connection_is_small(void **state)
{
	enum { FIRST = 8, N = 40 };
	static const char *const groups[] = { "", "P-256" };
	static struct place p;
	struct certs *certs;

	(void)state;
	assert_int_equal(certs_new(&certs, CERTS_GOOD), TD_OK);
	for (size_t g = 0; g < 2; g++) {
		struct server s = { .certs = certs,
			.version = TLS1_3_VERSION,
			.connections = N,
			.talk = talk_little };
		size_t before = 0;

		strcpy(s.groups, groups[g]);
		place_open(&p, certs);
		server_start(&s);
		for (int i = 0; i < N; i++) {
			if (i == FIRST)
				before = mallinfo2().uordblks;
			client_try(&p, &p.client[i], "localhost", s.port);
			assert_true(p.client[i].opened);
			while (!p.client[i].answered)
				uv_run(&p.loop, UV_RUN_ONCE);
		}
		before = (mallinfo2().uordblks - before) / (N - FIRST);
		print_message("%zu bytes\n", before);
		assert_true(before <= QUIET_KIB * 1024);
		server_end(&s);
		place_close(&p);
	}
	certs_free(certs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(later_messages),
		cmocka_unit_test(server_shuts_down),
		cmocka_unit_test(renegotiation_is_refused),
		cmocka_unit_test(bad_certificates),
		cmocka_unit_test(good_ones_help_no_bad_ones),
		cmocka_unit_test(two_certificates),
		cmocka_unit_test(a_quiet_connection_is_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
