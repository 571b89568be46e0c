/* SPDX-License-Identifier: ISC */
#include "receiver/ws.h"

#include <arpa/inet.h>
#include <libwebsockets.h>
#include <malloc.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/err.h"
#include "common/locked.h"
#include "common/log.h"
#include "receiver/wipe.h"

#if defined(LWS_WITH_MBEDTLS) || defined(USE_WOLFSSL)
#error "libwebsockets must be built with OpenSSL: what it calls SSL is given to OpenSSL here"
#endif

#define WS_PATH "/?v=8"
enum { CLOSE_SECONDS = 5 };
enum { TRIM_MS = 3000 };
enum { MESSAGE_MIN = 24 };
/* Of every connection in the library; what is longer comes in pieces. Messages with a secret are
 * shorter: find_in_library() knows them whole. */
enum { RX_BUFFER = 2048 };

struct ws_message { /* in locked memory */
	struct ws_message *next;
	size_t len;
	bool binary;
	uint8_t bytes[]; /* LWS_PRE of room for the frame header, then the message */
};

struct ws {
	struct ws_conf conf;
	struct ws_context *ctx;
	struct lws *wsi;
	struct ws *next_doomed;
	uv_getaddrinfo_t resolving;
	bool opening;     /* inside connect_to() */
	bool established; /* there is a peer to send a close frame to */
	bool doomed;
	bool detached; /* the caller has called ws_close(): no callbacks any more */
	uint16_t close_code, peer_code;
	const char *why; /* we could not go on; NULL: we could */
	int refused;     /* X509_V_OK, or why the certificate was not taken */
	struct ws_message *out, **out_end;
	uint8_t *in; /* locked memory */
	size_t in_len, in_cap;
	char host[]; /* conf.host */
};

struct ws_context {
	struct lws_context *lws;
	uv_loop_t *loop;
	uv_timer_t *doom;
	struct ws *doomed;
	uv_timer_t *wipe; /* of what the library has read */
	uv_timer_t *trim; /* of what handshakes have left */
};

/* ---- memory ---- */

/*
 * The library reads into a buffer of its own, somewhere in its context, and leaves there what it
 * has read last: the session's key, until something as long comes. It tells nobody where. So each
 * message is looked for, with the head of its frame; where messages have been found is that buffer,
 * and is wiped whenever the library has gone through what it has read. One context a process.
 */
static struct {
	uint8_t *context;
	size_t len;
	size_t from, to; /* where messages were found; to 0: nowhere */
} library;

/* All of the library's memory, wiped where it ends. */
static void *library_realloc(void *p, size_t n, const char *what)
{
	uint8_t *fresh = wipe_realloc(p, n);

	if (p != NULL && p == library.context)
		library.context = NULL;
	if (fresh != NULL && strcmp(what, "context") == 0) {
		library.context = fresh;
		library.len = n;
		library.from = library.to = 0;
	}
	return fresh;
}

/* Short ones hold no secret, and may be anywhere by chance. */
static void find_in_library(const uint8_t *data, size_t len)
{
	const size_t head = len < 126 ? 2 : 4;
	uint8_t *found = NULL;
	size_t at;

	if (library.context != NULL && len >= MESSAGE_MIN)
		found = memmem(library.context, library.len, data, len);
	if (found == NULL || (size_t)(found - library.context) < head ||
		found[-1] != (uint8_t)len || (found[-(ptrdiff_t)head] & 0x0f) > 2)
		return;
	at = (size_t)(found - library.context);
	if (library.to == 0 || at < library.from)
		library.from = at;
	if (at + len > library.to)
		library.to = at + len;
}

/* On a turn of the loop of its own: inside a callback there may be more in it, still to be read. */
static void on_wipe(uv_timer_t *timer)
{
	(void)timer;
	if (library.context != NULL && library.to > 0)
		sodium_memzero(library.context + library.from, library.to - library.from);
}

/* One buffer to read into, in locked memory, is kept for whoever is next, unless a message was far
 * longer than they are. All on one thread. */
enum { SPARE_MAX = 64 * 1024 };
static struct {
	uint8_t *in;
	size_t in_cap;
} spare;

/* Nothing of a message is in it any more. */
static void in_put(struct ws *w)
{
	if (spare.in == NULL && w->in_cap <= SPARE_MAX) {
		spare.in = w->in;
		spare.in_cap = w->in_cap;
	} else {
		locked_free(w->in);
	}
	w->in = NULL;
	w->in_cap = 0;
}

static void in_take(struct ws *w)
{
	w->in = spare.in;
	w->in_cap = spare.in_cap;
	spare.in = NULL;
	spare.in_cap = 0;
}

static void spare_free(void)
{
	locked_free(spare.in);
	memset(&spare, 0, sizeof(spare));
}

static void ws_free(struct ws *w)
{
	struct ws_message *m;

	while ((m = w->out) != NULL) {
		w->out = m->next;
		locked_free(m);
	}
	locked_free(w->in);
	free(w);
}

/* ---- closing ---- */

/*
 * Closes what is to be closed, outside of the library's callbacks: the usual way, a reason and then
 * -1 from a callback, loses the close frame in libwebsockets 4.1 on libuv.
 */
static void doom_run(struct ws_context *ctx)
{
	struct ws *w;

	while ((w = ctx->doomed) != NULL) {
		bool established = w->established;

		ctx->doomed = w->next_doomed;
		if (established && w->close_code != 0)
			lws_close_reason(w->wsi, w->close_code, NULL, 0);
		if (!established)
			lws_set_opaque_user_data(w->wsi, NULL); /* no callback comes for it */
		lws_set_timeout(w->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
		if (!established)
			ws_free(w);
	}
}

static void on_doom(uv_timer_t *timer)
{
	doom_run(timer->data);
}

static void doom(struct ws *w)
{
	if (w->doomed)
		return;
	w->doomed = true;
	w->next_doomed = w->ctx->doomed;
	w->ctx->doomed = w;
	uv_timer_start(w->ctx->doom, on_doom, 0, 0);
}

static void doom_forget(struct ws *w)
{
	struct ws **at;

	for (at = &w->ctx->doomed; *at != NULL && *at != w; at = &(*at)->next_doomed)
		;
	if (*at == w)
		*at = w->next_doomed;
}

/* ---- callbacks of libwebsockets ---- */

/*
 * libwebsockets verifies names but not addresses: an endpoint given as an address is matched
 * against the certificate's addresses here. Keeps the reason of a refusal for the message.
 */
static void verify_certificate(struct ws *w, X509_STORE_CTX *store)
{
	int error = X509_STORE_CTX_get_error(store);
	X509 *cert = X509_STORE_CTX_get_current_cert(store);

	if (error == X509_V_ERR_HOSTNAME_MISMATCH && cert != NULL &&
		X509_check_ip_asc(cert, w->conf.host, 0) == 1) {
		X509_STORE_CTX_set_error(store, X509_V_OK);
		return;
	}
	if (error != X509_V_OK)
		w->refused = error;
}

/* The certificate shown last, and found good. Most connections are to one of a few servers that
 * have the same: each would keep its own copy, for as long as it stands. All on one thread. */
static X509 *seen;

static void seen_free(void)
{
	X509_free(seen);
	seen = NULL;
}

/* The other side's certificates have been found good: if the first of them is, byte for byte, the
 * one that was seen last, that one takes its place. Who shows a certificate has still to prove that
 * its key is theirs. A certificate that is an authority's itself is left alone: the chain then has
 * the authority's copy, and nobody else this one. */
static void certificate_share(STACK_OF(X509) * shown, STACK_OF(X509) * verified)
{
	X509 *leaf = sk_X509_value(shown, 0);

	if (leaf == NULL || leaf == seen || sk_X509_value(verified, 0) != leaf)
		return;
	if (seen != NULL && X509_cmp(seen, leaf) == 0 && X509_up_ref(seen) == 1) {
		sk_X509_set(shown, 0, seen);
		X509_free(leaf); /* the chain that was verified still has it */
	} else if (X509_up_ref(leaf) == 1) {
		X509_free(seen);
		seen = leaf;
	}
}

/* Verifies as OpenSSL does by itself; libwebsockets' callback is in the store. */
static int on_certificate(X509_STORE_CTX *store, void *user)
{
	int good = X509_verify_cert(store);

	(void)user;
	if (good == 1 && X509_STORE_CTX_get_error(store) == X509_V_OK)
		certificate_share(X509_STORE_CTX_get0_untrusted(store),
			X509_STORE_CTX_get0_chain(store));
	return good > 0 ? good : 0;
}

static void key_empty(EVP_PKEY *key)
{
	if (EVP_PKEY_set_type(key, EVP_PKEY_get_base_id(key)) != 1)
		ERR_clear_error();
	EVP_PKEY_free(key);
}

static void certificates_drop(STACK_OF(X509) * chain)
{
	while (sk_X509_num(chain) > 0)
		X509_free(sk_X509_pop(chain));
}

/*
 * Once the handshake is over OpenSSL keeps what it was made of until the connection ends: both
 * ephemeral keys, which nobody should have any longer, and all certificates but for the first,
 * which belongs to the session, twice. The keys and the stacks are OpenSSL's, which frees them;
 * they are only emptied. There will be no other handshake: renegotiation is off.
 */
static void handshake_forget(SSL *ssl)
{
	EVP_PKEY *key;

	if (SSL_get_tmp_key(ssl, &key) == 1)
		key_empty(key);
	if (SSL_get_peer_tmp_key(ssl, &key) == 1)
		key_empty(key);
	certificates_drop(SSL_get_peer_cert_chain(ssl));
	certificates_drop(SSL_get0_verified_chain(ssl));
}

/* Handshakes take tens of KiB each, many of them at a time, and leave it behind in pieces. */
static void on_trim(uv_timer_t *timer)
{
	(void)timer;
	malloc_trim(0);
}

/* Not at each one: that would be a thousand times when a thousand calls begin. */
static void trim_later(struct ws_context *ctx)
{
	if (!uv_is_active((uv_handle_t *)ctx->trim))
		uv_timer_start(ctx->trim, on_trim, TRIM_MS, 0);
}

/* Never by returning -1: see doom_run(). Without a detour through the caller, who is told when it
 * is done. */
static int fail(struct ws *w, uint16_t code, const char *why)
{
	w->close_code = code;
	w->why = why;
	doom(w);
	return 0;
}

static int take_bytes(struct ws *w, struct lws *wsi, const uint8_t *data, size_t len)
{
	if (w->doomed || w->detached)
		return 0;
	if (len > WS_MAX_MESSAGE - w->in_len)
		return fail(w, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE, "a message of more than 1 MiB");
	if (w->in == NULL)
		in_take(w);
	if (w->in_len + len > w->in_cap) {
		size_t cap = (w->in_len + len) * 2 + 4096;
		uint8_t *bigger = locked_new(cap);

		if (bigger == NULL)
			return fail(w, 0, "out of memory");
		if (w->in_len > 0)
			memcpy(bigger, w->in, w->in_len);
		locked_free(w->in);
		w->in = bigger;
		w->in_cap = cap;
	}
	if (len > 0)
		memcpy(w->in + w->in_len, data, len);
	w->in_len += len;
	if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi) > 0)
		return 0;
	len = w->in_len;
	w->in_len = 0;
	if (lws_frame_is_binary(wsi))
		w->conf.binary(w->conf.user, w->in, len);
	else
		w->conf.text(w->conf.user, (const char *)w->in, len);
	sodium_memzero(w->in, len); /* it may have been the session's key */
	in_put(w);
	wipe_stack();
	return 0;
}

static int on_receive(struct ws *w, struct lws *wsi, uint8_t *data, size_t len)
{
	struct ws_context *ctx = w->ctx;
	int r = take_bytes(w, wsi, data, len);

	/* The library's copies: where it has read the message, and where it has put it together. */
	find_in_library(data, len);
	uv_timer_start(ctx->wipe, on_wipe, 0, 0);
	sodium_memzero(data, len);
	return r;
}

static int on_writeable(struct ws *w, struct lws *wsi)
{
	struct ws_message *m = w->out;
	int n;

	if (w->doomed)
		return 0;
	if (m == NULL) {
		if (w->detached)
			doom(w);
		return 0;
	}
	n = lws_write(wsi, m->bytes + LWS_PRE, m->len,
		m->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
	if (n < (int)m->len)
		return fail(w, 0, "cannot send");
	w->out = m->next;
	if (w->out == NULL)
		w->out_end = &w->out;
	locked_free(m);
	wipe_stack();
	if (w->out != NULL || w->detached)
		lws_callback_on_writable(wsi);
	return 0;
}

static void on_gone(struct ws *w, const char *reason)
{
	bool fatal = w->refused != X509_V_OK;
	char refused[160];

	snprintf(refused, sizeof(refused), "certificate of %.80s refused: %s", w->host,
		X509_verify_cert_error_string(w->refused));
	w->wsi = NULL;
	doom_forget(w);
	if (w->opening)
		return; /* connect_to() reports it */
	if (!w->detached)
		w->conf.closed(w->conf.user, w->peer_code,
			fatal                    ? refused
				: w->why != NULL ? w->why
						 : reason,
			fatal);
	ws_free(w);
}

/* libwebsockets says that it failed; the socket knows why. */
static const char *connect_error(struct lws *wsi, const char *said)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(lws_get_socket_fd(wsi), SOL_SOCKET, SO_ERROR, &error, &len) == 0 &&
		error != 0)
		return strerror(error);
	return said != NULL ? said : "connection failed";
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *session, void *in,
	size_t len)
{
	struct ws *w = wsi != NULL ? lws_get_opaque_user_data(wsi) : NULL;
	const uint8_t *bytes = in;

	if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_CLIENT_VERIFY_CERTS) {
		SSL_CTX_set_cert_verify_callback(session, on_certificate, NULL);
		/* A server that resumes a session shows no certificate. Later versions of the
		 * library keep sessions. */
		SSL_CTX_set_session_cache_mode(session, SSL_SESS_CACHE_OFF);
	}
	if (w == NULL)
		return 0;
	switch (reason) {
	case LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION:
		verify_certificate(w, session); /* here the store comes in its place */
		return 0;
	case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER: /* TLS stands, HTTP is to begin */
		if (w->conf.tls)
			handshake_forget(lws_get_ssl(wsi));
		return 0;
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		w->established = true;
		trim_later(w->ctx);
		if (!w->detached)
			w->conf.opened(w->conf.user);
		return 0;
	case LWS_CALLBACK_CLIENT_RECEIVE:
		return on_receive(w, wsi, in, len);
	case LWS_CALLBACK_CLIENT_WRITEABLE:
		return on_writeable(w, wsi);
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		if (len >= 2)
			w->peer_code = (uint16_t)(bytes[0] << 8 | bytes[1]);
		return 0;
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		lws_set_opaque_user_data(wsi, NULL);
		on_gone(w, connect_error(wsi, in));
		return 0;
	case LWS_CALLBACK_CLIENT_CLOSED:
		lws_set_opaque_user_data(wsi, NULL);
		on_gone(w, "connection closed");
		return 0;
	default:
		return 0;
	}
}

/* ---- the interface ---- */

int ws_context_new(struct ws_context **ret, uv_loop_t *loop, const char *ca_file, char *err,
	size_t err_len)
{
	static const struct lws_protocols protocols[] = {
		{ .name = "voice", .callback = on_event, .rx_buffer_size = RX_BUFFER },
		{ 0 },
	};
	void *loops[] = { loop };
	SSL_CTX *probe;
	struct lws_context_creation_info info = { .port = CONTEXT_PORT_NO_LISTEN,
		.protocols = protocols,
		.foreign_loops = loops,
		.client_ssl_ca_filepath = ca_file,
		.ssl_client_options_set = SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_RENEGOTIATION,
		.http_proxy_address = "", /* and not the environment's */
		.gid = (gid_t)-1,
		.uid = (uid_t)-1,
		.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT };
	struct ws_context *ctx;

	if (ca_file != NULL) {
		X509_STORE *store = X509_STORE_new();
		bool good = store != NULL && X509_STORE_load_file(store, ca_file) == 1;

		X509_STORE_free(store);
		if (!good) {
			snprintf(err, err_len, "--ca-file %s: no certificates can be read from it",
				ca_file);
			return TD_ERR_USAGE;
		}
	}
	/* Short of memory, libwebsockets would begin without TLS, and crash at its end. */
	if ((probe = SSL_CTX_new(TLS_client_method())) == NULL)
		return TD_ERR_NOMEM;
	SSL_CTX_free(probe);
	ctx = calloc(1, sizeof(*ctx));
	if (ctx == NULL || (ctx->doom = malloc(sizeof(*ctx->doom))) == NULL ||
		(ctx->wipe = malloc(sizeof(*ctx->wipe))) == NULL ||
		(ctx->trim = malloc(sizeof(*ctx->trim))) == NULL) {
		if (ctx != NULL) {
			free(ctx->doom);
			free(ctx->wipe);
		}
		free(ctx);
		return TD_ERR_NOMEM;
	}
	lws_set_allocator(library_realloc);
	lws_set_log_level(0, NULL);
	if ((ctx->lws = lws_create_context(&info)) == NULL) {
		free(ctx->doom);
		free(ctx->wipe);
		free(ctx->trim);
		free(ctx);
		snprintf(err, err_len,
			"libwebsockets could not start (is its libuv plugin there?)");
		return TD_ERR_SYS;
	}
	ctx->loop = loop;
	uv_timer_init(loop, ctx->doom);
	uv_timer_init(loop, ctx->wipe);
	uv_timer_init(loop, ctx->trim);
	ctx->doom->data = ctx;
	*ret = ctx;
	return TD_OK;
}

static void handle_freed(uv_handle_t *handle)
{
	free(handle);
}

void ws_context_end(struct ws_context *ctx)
{
	if (ctx == NULL)
		return;
	doom_run(ctx);
	lws_context_destroy(ctx->lws);
	uv_close((uv_handle_t *)ctx->doom, handle_freed);
	uv_close((uv_handle_t *)ctx->wipe, handle_freed);
	uv_close((uv_handle_t *)ctx->trim, handle_freed);
}

void ws_context_free(struct ws_context *ctx)
{
	if (ctx == NULL)
		return;
	/* With a loop of ours the library frees itself only when it is told a second time, and then
	 * takes away the code that closes its handles. */
	lws_context_destroy(ctx->lws);
	seen_free();
	spare_free();
	free(ctx);
}

/* The connection failed before libwebsockets had any: nothing to close but ours. */
static void open_failed(struct ws *w, const char *reason)
{
	if (!w->detached)
		w->conf.closed(w->conf.user, 0, reason, false);
	ws_free(w);
}

static void connect_to(struct ws *w, const char *address)
{
	struct lws_client_connect_info info = { .context = w->ctx->lws,
		.address = address,
		.host = w->host, /* for the request, SNI and verification */
		.path = WS_PATH,
		.port = w->conf.port,
		.ssl_connection =
			(w->conf.tls ? LCCSCF_USE_SSL : 0) | LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
		.ietf_version_or_minus_one = -1,
		.opaque_user_data = w };

	w->opening = true;
	w->wsi = lws_client_connect_via_info(&info);
	w->opening = false;
	if (w->wsi == NULL)
		open_failed(w, "cannot connect");
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
	char address[INET6_ADDRSTRLEN];
	struct ws *w = request->data;

	if (w->detached || status != 0 ||
		getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof(address), NULL, 0,
			NI_NUMERICHOST) != 0)
		open_failed(w, status != 0 ? uv_strerror(status) : "no address");
	else
		connect_to(w, address);
	uv_freeaddrinfo(found);
}

int ws_open(struct ws **ret, struct ws_context *ctx, const struct ws_conf *conf)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	size_t host_len = strlen(conf->host);
	struct ws *w = calloc(1, sizeof(*w) + host_len + 1);

	if (w == NULL)
		return TD_ERR_NOMEM;
	w->conf = *conf;
	w->ctx = ctx;
	w->out_end = &w->out;
	w->resolving.data = w;
	memcpy(w->host, conf->host, host_len);
	w->conf.host = w->host;
	/* On a thread of the loop's: a resolver that is down must not stop the other calls. */
	if (uv_getaddrinfo(ctx->loop, &w->resolving, on_resolved, w->host, NULL, &hints) != 0) {
		ws_free(w);
		return TD_ERR_NOMEM;
	}
	*ret = w;
	return TD_OK;
}

int ws_send(struct ws *w, bool binary, const uint8_t *data, size_t len)
{
	struct ws_message *m = locked_new(sizeof(*m) + LWS_PRE + len);

	if (m == NULL)
		return TD_ERR_NOMEM;
	m->next = NULL;
	m->len = len;
	m->binary = binary;
	memcpy(m->bytes + LWS_PRE, data, len);
	*w->out_end = m;
	w->out_end = &m->next;
	if (w->wsi != NULL)
		lws_callback_on_writable(w->wsi);
	return TD_OK;
}

void ws_close(struct ws *w, uint16_t code)
{
	if (w == NULL)
		return;
	w->detached = true;
	w->close_code = code;
	if (w->wsi == NULL)
		return; /* its name is being resolved; on_resolved() frees it */
	if (code == 0 || !w->established || w->out == NULL) {
		doom(w);
		return;
	}
	/* What is queued goes first, if the peer takes it. */
	lws_callback_on_writable(w->wsi);
	lws_set_timeout(w->wsi, PENDING_TIMEOUT_USER_OK, CLOSE_SECONDS);
}
