/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "tests/voiceserver/gateway.h"
#include "tests/voiceserver/ws.h"

enum { MESSAGE_MAX = 65536, RX_SIZE = 4096 };

struct ws_conn;

struct ws {
	struct lws_context *context;
	struct server *server;
	struct ws_hooks hooks;
	uv_timer_t doom;
	struct ws_conn *doomed;
};

/* What the library keeps per connection, zeroed. */
struct ws_conn {
	struct ws *ws;
	struct lws *wsi;
	struct gw *gw;
	unsigned peer_code; /* of the client's close frame */
	uint8_t *in;        /* message being received */
	size_t in_len;
	bool in_binary;
	struct gw_msg *out; /* message being sent */
	size_t out_sent;
	bool pausing; /* between two pieces */
	bool closing; /* doomed, now or before */
	struct ws_conn *next_doomed;
};

static void wake(void *user)
{
	struct ws_conn *c = user;

	lws_callback_on_writable(c->wsi);
}

/* The client sees the connection reset. Disconnecting is the one way past the orderly shutdown that
 * the library does before it closes a socket. */
static void reset(struct lws *wsi)
{
	struct sockaddr nowhere = { .sa_family = AF_UNSPEC };

	if (connect(lws_get_socket_fd(wsi), &nowhere, sizeof(nowhere)) != 0)
		log_warn("reset: %s", strerror(errno));
}

/* Sends the next piece of c->out. */
static int piece_send(struct ws_conn *c)
{
	size_t left = c->out->len - c->out_sent, size = left;
	unsigned limit = c->gw->fragment_size;
	int kind = c->out->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
	int flags = c->out_sent == 0 ? kind : LWS_WRITE_CONTINUATION;
	uint8_t *buf;

	if (limit > 0 && size > limit)
		size = limit;
	if (size < left)
		flags |= LWS_WRITE_NO_FIN;
	if ((buf = malloc(LWS_PRE + size)) == NULL)
		return -1;
	memcpy(buf + LWS_PRE, c->out->text + c->out_sent, size);
	if (lws_write(c->wsi, buf + LWS_PRE, size, (enum lws_write_protocol)flags) < 0) {
		free(buf);
		return -1;
	}
	free(buf);
	c->out_sent += size;
	if (c->out_sent == c->out->len) {
		free(c->out);
		c->out = NULL;
		gw_sent(c->gw);
	}
	return 0;
}

/*
 * Closes what has been doomed, outside of the library's callbacks. The usual way (a reason, then -1
 * from the callback) sends no close frame in Debian 12 with libuv: that build closes a second time
 * at once, as a test of itself, and the second time kills the connection.
 */
static void doom_run(uv_timer_t *timer)
{
	struct ws *w = timer->data;
	struct ws_conn *c;
	char reason[100];
	int n;

	while ((c = w->doomed) != NULL) {
		w->doomed = c->next_doomed;
		c->next_doomed = NULL;
		/* The library takes the text without const and does not change it. */
		n = snprintf(reason, sizeof(reason), "%s", c->gw->close_reason);
		lws_close_reason(c->wsi, (enum lws_close_status)c->gw->close_code,
			(unsigned char *)reason, (size_t)n);
		lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
	}
}

static void doom(struct ws_conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	c->next_doomed = c->ws->doomed;
	c->ws->doomed = c;
	uv_timer_start(&c->ws->doom, doom_run, 0, 0);
}

static void doom_forget(struct ws_conn *c)
{
	struct ws_conn **at;

	for (at = &c->ws->doomed; *at != NULL && *at != c; at = &(*at)->next_doomed)
		continue;
	if (*at == c)
		*at = c->next_doomed;
}

static int writable(struct ws_conn *c)
{
	struct gw *g = c->gw;

	if (g->cut) {
		reset(c->wsi);
		return -1;
	}
	if (c->pausing || c->closing)
		return 0;
	if (c->out == NULL) {
		c->out = gw_take(g);
		c->out_sent = 0;
	}
	if (c->out == NULL && g->close_code != 0)
		doom(c);
	if (c->out == NULL)
		return 0;
	if (piece_send(c) != 0)
		return -1;
	if (c->out != NULL && g->fragment_ns > 0) {
		c->pausing = true;
		lws_set_timer_usecs(c->wsi, (lws_usec_t)(g->fragment_ns / TD_US_NS));
	} else {
		lws_callback_on_writable(c->wsi);
	}
	return 0;
}

static int received(struct ws_conn *c, const void *data, size_t len)
{
	uint8_t *bigger;

	if (c->in_len + len > MESSAGE_MAX || (bigger = realloc(c->in, c->in_len + len + 1)) == NULL)
		return -1;
	c->in = bigger;
	if (c->in_len == 0)
		c->in_binary = lws_frame_is_binary(c->wsi);
	if (len > 0)
		memcpy(c->in + c->in_len, data, len);
	c->in_len += len;
	if (!lws_is_final_fragment(c->wsi) || lws_remaining_packet_payload(c->wsi) > 0)
		return 0;
	if (c->in_binary)
		gw_binary(c->gw, c->in, c->in_len);
	else
		gw_text(c->gw, (const char *)c->in, c->in_len);
	c->in_len = 0;
	return 0;
}

static void closed(struct ws_conn *c)
{
	/* A connection that was turned away is closed without ever having been established. */
	if (c == NULL || c->ws == NULL)
		return;
	doom_forget(c);
	gw_free(c->gw, c->peer_code);
	free(c->in);
	free(c->out);
	memset(c, 0, sizeof(*c));
}

/* Only "/?v=8" is served; the real one refuses versions below 4 and has more above. */
static bool version_is_served(struct lws *wsi)
{
	char arg[16];
	const char *version = lws_get_urlarg_by_name(wsi, "v=", arg, sizeof(arg));

	return version != NULL && strcmp(version, "8") == 0;
}

static int conn_callback(struct ws *w, struct ws_conn *c, struct lws *wsi,
	enum lws_callback_reasons reason, const void *in, size_t len)
{
	const uint8_t *bytes = in;

	switch (reason) {
	case LWS_CALLBACK_ESTABLISHED:
		c->ws = w;
		c->wsi = wsi;
		return gw_new(&c->gw, w->server, wake, c) == TD_OK ? 0 : -1;
	case LWS_CALLBACK_RECEIVE:
		return received(c, in, len);
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return writable(c);
	case LWS_CALLBACK_TIMER:
		c->pausing = false;
		lws_callback_on_writable(wsi);
		return 0;
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		c->peer_code = len >= 2 ? (unsigned)(bytes[0] << 8 | bytes[1]) : 1005;
		return 0;
	case LWS_CALLBACK_CLOSED:
		closed(c);
		return 0;
	default:
		return 0;
	}
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
	size_t len)
{
	struct ws *w = lws_context_user(lws_get_context(wsi));
	int r;

	switch (reason) {
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		return version_is_served(wsi) ? 0 : -1;
	case LWS_CALLBACK_ESTABLISHED:
	case LWS_CALLBACK_RECEIVE:
	case LWS_CALLBACK_SERVER_WRITEABLE:
	case LWS_CALLBACK_TIMER:
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
	case LWS_CALLBACK_CLOSED:
		w->hooks.enter(w->hooks.user);
		r = conn_callback(w, user, wsi, reason, in, len);
		w->hooks.leave(w->hooks.user);
		return r;
	default:
		return lws_callback_http_dummy(wsi, reason, user, in, len);
	}
}

static const struct lws_protocols protocols[] = {
	{ "voice", callback, sizeof(struct ws_conn), RX_SIZE, 0, NULL, 0 },
	{ NULL, NULL, 0, 0, 0, NULL, 0 },
};

static void lws_log(int level, const char *line)
{
	if (level & (LLL_ERR | LLL_WARN))
		log_warn("libwebsockets: %.*s", (int)strcspn(line, "\n"), line);
}

static int listen_on(struct ws *w, struct lws_context_creation_info *info, size_t i)
{
	static const char *const names[SERVER_ENDPOINTS] = { "first", "second" };
	bool tls = info->server_ssl_cert_mem != NULL;
	struct lws_vhost *vhost;

	info->vhost_name = names[i];
	if ((vhost = lws_create_vhost(w->context, info)) == NULL)
		return TD_ERR_SYS;
	snprintf(w->server->endpoints[i], SERVER_ENDPOINT_LEN,
		tls ? "localhost:%d" : "ws://127.0.0.1:%d", lws_get_vhost_listen_port(vhost));
	return TD_OK;
}

int ws_new(struct ws **ret, uv_loop_t *loop, struct server *s, const struct certs *certs,
	const struct ws_hooks *hooks)
{
	struct lws_context_creation_info info = { 0 };
	struct ws *w = calloc(1, sizeof(*w));
	void *loops[] = { loop };
	size_t i;
	int r = TD_ERR_SYS;

	if (w == NULL)
		return TD_ERR_NOMEM;
	w->server = s;
	w->hooks = *hooks;
	uv_timer_init(loop, &w->doom);
	w->doom.data = w;
	lws_set_log_level(LLL_ERR | LLL_WARN, lws_log);
	info.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
		LWS_SERVER_OPTION_DISABLE_IPV6;
	if (certs != NULL) {
		info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
		info.server_ssl_cert_mem = certs->cert;
		info.server_ssl_cert_mem_len = (unsigned)strlen(certs->cert) + 1;
		info.server_ssl_private_key_mem = certs->key;
		info.server_ssl_private_key_mem_len = (unsigned)strlen(certs->key) + 1;
	}
	info.port = 0;
	info.iface = "127.0.0.1";
	info.protocols = protocols;
	info.foreign_loops = loops;
	info.user = w;
	info.gid = info.uid = -1;
	if ((w->context = lws_create_context(&info)) == NULL)
		goto out;
	for (i = 0; i < SERVER_ENDPOINTS; i++)
		if ((r = listen_on(w, &info, i)) != TD_OK)
			goto out;
out:
	/* On failure too: what there is already can only be closed by a running loop. */
	*ret = w;
	return r;
}

void ws_stop(struct ws *w)
{
	if (w == NULL)
		return;
	if (w->context != NULL)
		lws_context_destroy(w->context);
	uv_close((uv_handle_t *)&w->doom, NULL);
}

void ws_free(struct ws *w)
{
	if (w == NULL)
		return;
	/* With a loop of ours the library frees itself only when it is told a second time. */
	if (w->context != NULL)
		lws_context_destroy(w->context);
	free(w);
}
