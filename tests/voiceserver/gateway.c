/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "tests/voiceserver/call.h"
#include "tests/voiceserver/dave.h"
#include "tests/voiceserver/gateway.h"
#include "tests/voiceserver/session.h"

/* Heartbeats that may be missing before the session times out. */
enum { MISSED_HEARTBEATS = 3 };
#define NONCE_LIMIT (INT64_C(1) << 53)

static void gw_send(struct gw *g, const void *data, size_t len, bool binary)
{
	struct gw_msg *m;

	if (g->close_code != 0 || g->cut || g->stalled ||
		(m = malloc(sizeof(*m) + len + 1)) == NULL)
		return;
	m->next = NULL;
	m->len = len;
	m->binary = binary;
	memcpy(m->text, data, len);
	m->text[len] = '\0';
	if (g->last != NULL)
		g->last->next = m;
	else
		g->first = m;
	g->last = m;
	g->wake(g->user);
}

void gw_send_text(struct gw *g, const char *text)
{
	gw_send(g, text, strlen(text), false);
}

void gw_send_binary(struct gw *g, const void *data, size_t len)
{
	gw_send(g, data, len, true);
}

struct gw_msg *gw_take(struct gw *g)
{
	struct gw_msg *m = g->stalled ? NULL : g->first;

	if (m != NULL && (g->first = m->next) == NULL)
		g->last = NULL;
	return m;
}

/* Cuts the tie between a connection and its session; the session may be resumed. */
static void release(struct gw *g)
{
	if (g->session != NULL && g->session->gw == g) {
		g->session->gw = NULL;
		g->session->lost_ns = g->server->now_ns;
	}
	g->session = NULL;
}

void gw_close(struct gw *g, unsigned code, const char *reason)
{
	if (g->close_code != 0 || g->cut)
		return;
	server_event(g->server,
		json_pack("{s:s, s:i, s:s}", "event", "closing", "code", (int)code, "reason",
			reason));
	g->close_code = code;
	g->close_reason = reason;
	release(g);
	g->wake(g->user);
}

void gw_cut(struct gw *g)
{
	server_event(g->server, json_pack("{s:s}", "event", "cutting"));
	g->cut = true;
	release(g);
	g->wake(g->user);
}

int gw_new(struct gw **ret, struct server *s, void (*wake)(void *user), void *user)
{
	double interval = (double)s->sc->heartbeat_ns / (double)TD_MS_NS;
	struct gw *g = calloc(1, sizeof(*g));
	json_t *hello = NULL;
	char *text = NULL;
	int r = TD_ERR_NOMEM;

	if (g == NULL)
		goto out;
	g->server = s;
	g->wake = wake;
	g->user = user;
	g->heard_ns = s->now_ns;
	hello = json_pack("{s:i, s:{s:i, s:f}}", "op", GW_HELLO, "d", "v", 8, "heartbeat_interval",
		interval);
	if (hello == NULL || (text = json_dumps(hello, JSON_COMPACT)) == NULL)
		goto out;
	gw_send_text(g, text);
	if ((g->next = s->gws) != NULL)
		g->next->prev = g;
	s->gws = g;
	*ret = g;
	g = NULL;
	r = TD_OK;
out:
	free(g);
	free(text);
	json_decref(hello);
	return r;
}

void gw_free(struct gw *g, unsigned code)
{
	if (g == NULL)
		return;
	server_event(g->server, json_pack("{s:s, s:i}", "event", "closed", "code", (int)code));
	/* A client that says goodbye properly does not come back to this session. */
	if (g->session != NULL && (code == 1000 || code == 1001))
		call_session_end(g->session);
	release(g);
	if (g->prev != NULL)
		g->prev->next = g->next;
	else
		g->server->gws = g->next;
	if (g->next != NULL)
		g->next->prev = g->prev;
	g->stalled = false;
	while (g->first != NULL)
		free(gw_take(g));
	free(g);
}

/*
 * One message more has passed between the recorder of a guild and us. Whose a connection is becomes
 * clear with its first message: Hello counts when that is known.
 */
static void passed(struct gw *g)
{
	struct server *sv = g->server;
	struct session *s = g->session;
	const struct scenario_guild *guild;
	struct call *c;

	if (s == NULL || !s->recorder) {
		g->unowned++;
		return;
	}
	c = s->call;
	guild = c->guild;
	for (g->unowned++; g->unowned > 0; g->unowned--) {
		if (++c->messages == guild->cut_after) {
			gw_cut(g);
		} else if (c->messages == guild->stall_after) {
			server_event(sv, json_pack("{s:s}", "event", "stalling"));
			g->stalled = true;
			release(g);
		}
	}
}

void gw_sent(struct gw *g)
{
	if (g->close_code == 0 && !g->cut && !g->stalled)
		passed(g);
}

static uint64_t timeout_ns(const struct gw *g)
{
	return g->heard_ns + (MISSED_HEARTBEATS + 1) * g->server->sc->heartbeat_ns;
}

uint64_t gw_next_ns(const struct gw *g)
{
	return g->close_code == 0 && !g->cut && !g->stalled ? timeout_ns(g) : UINT64_MAX;
}

void gw_run(struct gw *g)
{
	struct session *s = g->session;

	if (gw_next_ns(g) > g->server->now_ns)
		return;
	gw_close(g, GW_SESSION_TIMEOUT, "no heartbeat for too long");
	if (s != NULL)
		call_session_end(s);
}

static const char *text_of(json_t *d, const char *key)
{
	return json_string_value(json_object_get(d, key));
}

static void attach(struct gw *g, struct session *s)
{
	g->session = s;
	g->identified = true;
	s->gw = g;
	s->lost_ns = 0;
}

static void identify(struct gw *g, json_t *d)
{
	const char *token = text_of(d, "token"), *session_id = text_of(d, "session_id");
	json_t *dave = json_object_get(d, "max_dave_protocol_version");
	uint64_t guild_id, user_id;
	struct ticket *ticket;
	struct session *s;
	struct call *call;

	if (g->identified) {
		gw_close(g, GW_ALREADY_AUTHENTICATED, "identified before");
		return;
	}
	if (token == NULL || session_id == NULL ||
		td_id_parse(&guild_id, text_of(d, "server_id")) != TD_OK ||
		td_id_parse(&user_id, text_of(d, "user_id")) != TD_OK ||
		(dave != NULL && !json_is_integer(dave))) {
		gw_close(g, GW_UNDECODABLE, "identify lacks a field");
		return;
	}
	if ((call = call_find(g->server, guild_id)) == NULL) {
		gw_close(g, GW_SERVER_NOT_FOUND, "no such guild here");
		return;
	}
	if ((ticket = call_ticket(call, user_id)) == NULL || strcmp(ticket->token, token) != 0) {
		gw_close(g, GW_AUTHENTICATION_FAILED, "wrong token or user");
		return;
	}
	if (strcmp(ticket->session_id, session_id) != 0) {
		gw_close(g, GW_SESSION_INVALID, "wrong session");
		return;
	}
	if (!dave_admits(g->server->sc->require_dave, json_integer_value(dave))) {
		gw_close(g, GW_DAVE_REQUIRED, "end-to-end encryption required");
		return;
	}
	if ((s = call_session_new(call, ticket)) == NULL) {
		gw_close(g, GW_SESSION_INVALID, "no room for another session");
		return;
	}
	s->max_dave = json_integer_value(dave);
	attach(g, s);
	call_identified(s);
}

static void resume(struct gw *g, json_t *d)
{
	json_t *ack = json_object_get(d, "seq_ack");
	int64_t after = json_is_integer(ack) ? json_integer_value(ack) : -1;
	bool last = g->server->sc->resumed_last;
	struct session *s = NULL;
	uint64_t guild_id;
	int r;

	if (g->identified) {
		gw_close(g, GW_ALREADY_AUTHENTICATED, "identified before");
		return;
	}
	if (td_id_parse(&guild_id, text_of(d, "server_id")) != TD_OK ||
		text_of(d, "token") == NULL || text_of(d, "session_id") == NULL) {
		gw_close(g, GW_UNDECODABLE, "resume lacks a field");
		return;
	}
	s = call_session_find(g->server, guild_id, text_of(d, "session_id"), text_of(d, "token"));
	if (s == NULL) {
		gw_close(g, GW_SESSION_INVALID, "no such session to resume");
		return;
	}
	if (s->gw != NULL)
		gw_close(s->gw, GW_SESSION_INVALID, "resumed elsewhere");
	attach(g, s);
	if (!last)
		session_say(s, GW_RESUMED, json_null());
	r = session_redeliver(s, after);
	if (last)
		session_say(s, GW_RESUMED, json_null());
	if (r != TD_OK) {
		gw_close(g, GW_SESSION_INVALID, "too much was missed");
		call_session_end(s);
		return;
	}
	server_event(g->server,
		json_pack("{s:s, s:I}", "event", "resumed", "seq_ack", (json_int_t)after));
}

static void select_protocol(struct gw *g, json_t *d)
{
	json_t *data = json_object_get(d, "data"), *port = json_object_get(data, "port");
	const char *protocol = text_of(d, "protocol"), *mode_name = text_of(data, "mode");
	struct session *s = g->session;
	enum transport_mode mode;

	if (protocol == NULL || strcmp(protocol, "udp") != 0) {
		gw_close(g, GW_UNKNOWN_PROTOCOL, "protocol is not udp");
		return;
	}
	if (mode_name == NULL || text_of(data, "address") == NULL || !json_is_integer(port)) {
		gw_close(g, GW_UNDECODABLE, "select protocol lacks a field");
		return;
	}
	if (transport_mode_parse(&mode, mode_name) != TD_OK || mode == TRANSPORT_NONE ||
		(g->server->sc->modes & 1u << mode) == 0) {
		gw_close(g, GW_UNKNOWN_MODE, "mode was not offered");
		return;
	}
	if (s->told_port == 0 || strcmp(s->told_address, text_of(data, "address")) != 0 ||
		json_integer_value(port) != s->told_port) {
		gw_close(g, GW_BAD_REQUEST, "not the address that was discovered");
		return;
	}
	if (s->described) {
		gw_close(g, GW_BAD_REQUEST, "protocol selected before");
		return;
	}
	call_selected(s, mode);
}

static void heartbeat(struct gw *g, json_t *d)
{
	json_t *t = json_object_get(d, "t"), *ack = json_object_get(d, "seq_ack");
	struct session *s = g->session;
	json_t *answer;
	char *text;

	if (!json_is_integer(t) || json_integer_value(t) < 0 ||
		json_integer_value(t) >= NONCE_LIMIT ||
		(ack != NULL && !json_is_integer(ack) && !json_is_null(ack))) {
		gw_close(g, GW_BAD_REQUEST, "heartbeat nonce is not an integer");
		return;
	}
	g->heard_ns = g->server->now_ns;
	server_event(g->server,
		json_pack("{s:s, s:o, s:i}", "event", "heartbeat", "seq_ack",
			json_is_integer(ack) ? json_incref(ack) : json_null(), "seq",
			s != NULL ? (int)(uint16_t)(s->next_number - 1) : -1));
	if (g->server->now_ns < g->mute_until_ns)
		return;
	answer = json_pack("{s:O}", "t", t);
	if (s != NULL && g->server->sc->number_acks) {
		session_say_numbered(s, GW_HEARTBEAT_ACK, answer);
	} else {
		answer = json_pack("{s:i, s:o}", "op", GW_HEARTBEAT_ACK, "d", answer);
		if ((text = json_dumps(answer, JSON_COMPACT)) != NULL)
			gw_send_text(g, text);
		free(text);
		json_decref(answer);
	}
}

static void speaking(struct gw *g, json_t *d)
{
	json_t *bits = json_object_get(d, "speaking"), *ssrc = json_object_get(d, "ssrc");

	if (!json_is_integer(bits) || !json_is_integer(ssrc)) {
		gw_close(g, GW_UNDECODABLE, "speaking lacks a field");
		return;
	}
	if (json_integer_value(ssrc) != g->session->ssrc) {
		gw_close(g, GW_BAD_REQUEST, "speaking with an SSRC of somebody else");
		return;
	}
	call_speaking(g->session, (unsigned)json_integer_value(bits) & 7);
}

/* What only a session may say. */
static void dispatch(struct gw *g, int64_t op, json_t *d)
{
	switch (op) {
	case GW_SELECT_PROTOCOL:
		select_protocol(g, d);
		break;
	case GW_SPEAKING:
		speaking(g, d);
		break;
	case GW_VERSION:
		session_say(g->session, GW_VERSION,
			json_pack("{s:s, s:s}", "voice", "0.0.1", "rtc_worker", "0.0.1"));
		break;
	case GW_VIDEO:
	case GW_SESSION_UPDATE:
	case GW_MEDIA_SINK_WANTS:
	case GW_SPEED_TEST:
	case GW_NO_ROUTE:
		break;
	case GW_DAVE_TRANSITION_READY:
	case GW_DAVE_INVALID_COMMIT_WELCOME:
		dave_text(g->session, (int)op, d);
		break;
	default:
		gw_close(g, GW_UNKNOWN_OP, "a client sends no such opcode");
	}
}

void gw_text(struct gw *g, const char *text, size_t len)
{
	json_t *m = json_loadb(text, len, 0, NULL), *op = json_object_get(m, "op");
	json_t *d = json_object_get(m, "d");

	if (g->close_code != 0 || g->cut || g->stalled)
		goto out;
	if (!json_is_integer(op)) {
		gw_close(g, GW_UNDECODABLE, "not a message");
		goto out;
	}
	switch (json_integer_value(op)) {
	case GW_IDENTIFY:
		identify(g, d);
		break;
	case GW_RESUME:
		resume(g, d);
		break;
	case GW_HEARTBEAT:
		heartbeat(g, d);
		break;
	default:
		if (g->session == NULL)
			gw_close(g, GW_NOT_AUTHENTICATED, "not identified yet");
		else
			dispatch(g, json_integer_value(op), d);
	}
	gw_sent(g);
out:
	json_decref(m);
}

void gw_binary(struct gw *g, const uint8_t *data, size_t len)
{
	if (g->close_code != 0 || g->cut || g->stalled)
		return;
	if (g->session == NULL)
		gw_close(g, GW_NOT_AUTHENTICATED, "not identified yet");
	else if (dave_binary(g->session, data, len) != TD_OK)
		gw_close(g, GW_UNKNOWN_OP, "a client sends no such binary opcode");
	gw_sent(g);
}
