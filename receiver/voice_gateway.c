/* SPDX-License-Identifier: ISC */
#include "receiver/voice_gateway.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/locked.h"
#include "receiver/vgw_close_codes.h"
#include "receiver/vgw_engine.h"

enum {
	CONNECT_S = 15,  /* name, TCP, TLS, upgrade */
	STABLE_S = 30,   /* a connection that stood this long forgives what was before it */
	GRACE_S = 10,    /* section 7, code 4014 */
	RESUMES_MAX = 2, /* said and never answered, then the session counts as gone */
	REJOINS_MAX = 5,
	UNANSWERED_MAX = 3,
	HELD_MAX = 2 * VGW_MESSAGE_MAX,
};

/* Before the first attempt after a connection that stood, the second, ... */
static const uint8_t backoff_s[] = { 0, 1, 3, 5, 7, 9 };
enum { ATTEMPTS_MAX = sizeof(backoff_s) };
/* Between two attempts with new info, none of which led to a connection that stood. What comes in
 * two halves may be used too early once. */
static const uint8_t info_backoff_s[] = { 0, 0, 1, 2, 4, 8, 16, 30 };
enum { INFO_BACKOFFS = sizeof(info_backoff_s) };

/* ---- small things ---- */

static const char *say_v(struct vgw *g, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
static const char *say_v(struct vgw *g, const char *fmt, va_list ap)
{
	char *text = vgw_queue_alloc(&g->queue, VGW_PHRASE_MAX, false);
	int n;

	if (text == NULL)
		return "out of memory";
	n = vsnprintf(text, VGW_PHRASE_MAX, fmt, ap);
	if (n < 0)
		text[0] = '\0';
	return text;
}

const char *vgw_say(struct vgw *g, const char *fmt, ...)
{
	const char *text;
	va_list ap;

	va_start(ap, fmt);
	text = say_v(g, fmt, ap);
	va_end(ap);
	return text;
}

void vgw_warn(struct vgw *g, const char *fmt, ...)
{
	const char *text;
	va_list ap;

	/* Each of the first, then each power of two: a hostile server fills no log. */
	g->warnings++;
	if (g->warnings > 8 && (g->warnings & (g->warnings - 1)) != 0)
		return;
	va_start(ap, fmt);
	text = say_v(g, fmt, ap);
	va_end(ap);
	if (g->warnings > 8)
		text = vgw_say(g, "%s (warning number %u)", text, g->warnings);
	vgw_queue_push(&g->queue, VGW_WARNING)->text = text;
}

double vgw_random(struct vgw *g)
{
	uint32_t bits;

	g->conf.random(g->conf.user, (uint8_t *)&bits, sizeof(bits));
	return (double)bits / 4294967296.0;
}

void vgw_enter(struct vgw *g, enum vgw_state state, uint64_t now_ns, uint64_t wait_ns)
{
	g->state = state;
	g->timer_at = wait_ns == VGW_NEVER ? VGW_NEVER : vgw_after(now_ns, wait_ns);
}

struct wr vgw_writer(struct vgw *g, size_t room, bool secret)
{
	void *buf = vgw_queue_alloc(&g->queue, room, secret);
	struct wr w;

	wr_init(&w, buf, buf != NULL ? room : 0);
	w.bad = buf == NULL;
	return w;
}

void vgw_send_text(struct vgw *g, const struct wr *w, bool answer)
{
	struct vgw_action *a;

	if (w->bad) {
		g->broken = true;
		return;
	}
	a = answer ? vgw_queue_answer(&g->queue, VGW_SEND_TEXT)
		   : vgw_queue_push(&g->queue, VGW_SEND_TEXT);
	a->data = w->buf;
	a->len = w->len;
}

/* Text of the other side, made fit for a log and an event. */
static const char *clean(struct vgw *g, const char *text)
{
	char *copy;
	unsigned char *p;

	copy = vgw_queue_alloc(&g->queue, VGW_PHRASE_MAX / 2, false);
	if (copy == NULL)
		return "";
	snprintf(copy, VGW_PHRASE_MAX / 2, "%s", text);
	for (p = (unsigned char *)copy; *p != '\0'; p++) {
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	}
	return copy;
}

/* ---- the session ---- */

static void drop_held(struct vgw *g)
{
	struct vgw_held *h, *next;

	for (h = g->held; h != NULL; h = next) {
		next = h->next;
		sodium_memzero(h->data, h->len);
		free(h);
	}
	g->held = NULL;
	g->held_end = &g->held;
	g->held_bytes = 0;
}

static void end_session(struct vgw *g)
{
	if (g->udp_open)
		vgw_queue_push(&g->queue, VGW_UDP_CLOSE);
	g->udp_open = false;
	g->session = false;
	g->ssrc = 0;
	g->seq = -1;
	g->resume_failures = 0;
	drop_held(g);
}

/* The WebSocket is no more. One that stood for a while has earned its successor a fresh start. */
static void socket_gone(struct vgw *g, uint64_t now_ns)
{
	g->socket = false;
	g->beat_at = VGW_NEVER;
	if (g->state == VGW_S_LIVE && now_ns >= vgw_after(g->live_since, STABLE_S * TD_SEC_NS)) {
		g->attempt = 0;
		g->rejoins = 0;
	}
}

static void close_socket(struct vgw *g, uint16_t code, uint64_t now_ns)
{
	if (g->socket)
		vgw_queue_push(&g->queue, VGW_DISCONNECT)->code = code;
	socket_gone(g, now_ns);
}

void vgw_end(struct vgw *g, enum vgw_verdict verdict, const char *why, uint64_t now_ns)
{
	struct vgw_action *a;

	close_socket(g, VGW_CLOSE_DONE, now_ns);
	end_session(g);
	g->state = VGW_S_ENDED;
	g->timer_at = VGW_NEVER;
	a = vgw_queue_push(&g->queue, VGW_ENDED);
	a->verdict = verdict;
	a->text = why;
}

/* ---- connecting, and connecting again ---- */

static void connect_now(struct vgw *g, uint64_t now_ns)
{
	struct vgw_action *a = vgw_queue_push(&g->queue, VGW_CONNECT);
	char *host = vgw_queue_alloc(&g->queue, sizeof(g->info->host), false);

	vgw_enter(g, VGW_S_CONNECTING, now_ns, CONNECT_S * TD_SEC_NS);
	g->socket = true;
	if (g->new_info) {
		g->new_info = false;
		g->infos++;
		g->info_at = now_ns;
	}
	a->host = g->info->host;
	if (host != NULL)
		a->host = memcpy(host, g->info->host, sizeof(g->info->host));
	a->port = g->info->port;
	a->tls = g->info->tls;
}

static void wait_for_info(struct vgw *g, enum vgw_verdict without, const char *why)
{
	struct vgw_action *a;

	end_session(g);
	g->state = VGW_S_NEED_INFO;
	g->timer_at = VGW_NEVER;
	g->attempt = 0;
	a = vgw_queue_push(&g->queue, VGW_NEED_INFO);
	a->verdict = without;
	a->text = why;
}

/* The session is gone, the call may not be. Each time in a row it takes longer, and some time it
 * is enough. */
static void rejoin(struct vgw *g, enum vgw_verdict without, const char *why, unsigned delay_s,
	uint64_t now_ns)
{
	if (g->rejoins >= REJOINS_MAX) {
		vgw_end(g, VGW_UNREACHABLE,
			vgw_say(g, "gave up after %u rejoins: %s", g->rejoins, why), now_ns);
		return;
	}
	if (delay_s < backoff_s[g->rejoins])
		delay_s = backoff_s[g->rejoins];
	g->rejoins++;
	g->not_before = vgw_after(now_ns, delay_s * TD_SEC_NS);
	wait_for_info(g, without, why);
}

/* The next attempt, now or later. */
static void reconnect(struct vgw *g, const char *why, uint64_t now_ns)
{
	struct vgw_action *a;
	uint64_t wait, at;

	if (g->attempt >= ATTEMPTS_MAX) {
		rejoin(g, VGW_UNREACHABLE,
			vgw_say(g, "gave up after %u attempts: %s", g->attempt, why), 0, now_ns);
		return;
	}
	/* Up to a fifth more, so that a server that comes back is not met by all at once. */
	wait = backoff_s[g->attempt] * TD_SEC_NS;
	wait += (uint64_t)((double)wait * vgw_random(g) / 5);
	at = vgw_after(now_ns, wait);
	if (at < g->not_before)
		at = g->not_before;
	g->attempt++;
	a = vgw_queue_push(&g->queue, VGW_RECONNECTING);
	a->text = why;
	a->attempt = g->attempt;
	if (at > now_ns)
		vgw_enter(g, VGW_S_BACKOFF, now_ns, at - now_ns);
	else
		connect_now(g, now_ns);
}

/* No connection any more: resume the session, or begin anew. */
static void lost(struct vgw *g, const char *why, uint64_t now_ns)
{
	if (g->state == VGW_S_RESUMING && ++g->resume_failures >= RESUMES_MAX) {
		rejoin(g, VGW_INFO_NEEDED, vgw_say(g, "could not resume: %s", why), 0, now_ns);
		return;
	}
	if (!g->session)
		end_session(g);
	reconnect(g, why, now_ns);
}

void vgw_drop(struct vgw *g, uint16_t code, const char *why, uint64_t now_ns)
{
	close_socket(g, code, now_ns);
	lost(g, why, now_ns);
}

/* ---- the interface ---- */

/* Around every input: what pointed to old memory has been taken, and what could not be said for
 * want of memory costs the connection, not the process. */
static bool begin(struct vgw *g)
{
	vgw_queue_recycle(&g->queue);
	return g->state != VGW_S_ENDED;
}

static void finish(struct vgw *g, uint64_t now_ns)
{
	if (!g->broken)
		return;
	g->broken = false;
	if (vgw_is_in(g, VGW_IN_OPEN))
		vgw_drop(g, VGW_CLOSE_AGAIN, "out of memory", now_ns);
}

int vgw_new(struct vgw **ret, const struct vgw_conf *conf)
{
	struct vgw *g = NULL;
	int r = TD_ERR_NOMEM;

	if (sodium_init() < 0 || (g = calloc(1, sizeof(*g))) == NULL)
		goto out;
	g->conf = *conf;
	g->conf.info = NULL;
	g->timer_at = g->beat_at = VGW_NEVER;
	g->seq = -1;
	g->held_end = &g->held;
	if ((g->info = locked_new(sizeof(*g->info))) == NULL || vgw_queue_init(&g->queue) != TD_OK)
		goto out;
	*g->info = *conf->info;
	*ret = g;
	g = NULL;
	r = TD_OK;
out:
	vgw_free(g);
	return r;
}

void vgw_free(struct vgw *g)
{
	if (g == NULL)
		return;
	drop_held(g);
	vgw_queue_free(&g->queue);
	locked_free(g->info);
	sodium_memzero(g, sizeof(*g));
	free(g);
}

void vgw_start(struct vgw *g, uint64_t now_ns)
{
	if (!begin(g) || g->state != VGW_S_IDLE)
		return;
	g->attempt = 1;
	connect_now(g, now_ns);
}

static bool same_connection(const struct connection_info *a, const struct connection_info *b)
{
	return a->port == b->port && a->tls == b->tls && a->channel_id == b->channel_id &&
		strcmp(a->host, b->host) == 0 && strcmp(a->session_id, b->session_id) == 0 &&
		strcmp(a->token, b->token) == 0;
}

/* Whoever sends info again and again is not quicker by it. */
static uint64_t next_info_at(const struct vgw *g)
{
	unsigned i = g->infos < INFO_BACKOFFS ? g->infos : INFO_BACKOFFS - 1;

	return vgw_after(g->info_at, info_backoff_s[i] * TD_SEC_NS);
}

void vgw_new_info(struct vgw *g, const struct connection_info *info, uint64_t now_ns)
{
	bool waiting = vgw_is_in(g, VGW_IN(VGW_S_NEED_INFO) | VGW_IN(VGW_S_GRACE));

	if (!begin(g))
		return;
	if (info->guild_id != g->info->guild_id || info->user_id != g->info->user_id) {
		vgw_warn(g, "connection info of another guild or user ignored");
		return;
	}
	/* Said twice it names the session we have: to identify again would end that. */
	if (!waiting && same_connection(info, g->info))
		return;
	close_socket(g, VGW_CLOSE_DONE, now_ns);
	end_session(g);
	*g->info = *info;
	if (g->state == VGW_S_IDLE)
		return;
	g->attempt = 0;
	g->new_info = true;
	if (g->not_before < next_info_at(g))
		g->not_before = next_info_at(g);
	reconnect(g, waiting ? "new connection info" : "moved: new connection info", now_ns);
}

void vgw_server_gone(struct vgw *g, uint64_t now_ns)
{
	if (!begin(g) || g->state == VGW_S_NEED_INFO)
		return;
	close_socket(g, VGW_CLOSE_DONE, now_ns);
	wait_for_info(g, VGW_INFO_NEEDED, "the voice server went away");
}

void vgw_stop(struct vgw *g, enum vgw_verdict verdict, const char *text, uint64_t now_ns)
{
	if (begin(g))
		vgw_end(g, verdict, vgw_say(g, "%s", text != NULL ? text : ""), now_ns);
}

void vgw_opened(struct vgw *g, uint64_t now_ns)
{
	if (begin(g) && g->state == VGW_S_CONNECTING)
		vgw_enter(g, VGW_S_HELLO, now_ns, VGW_PATIENCE_S * TD_SEC_NS);
}

void vgw_text(struct vgw *g, const char *text, size_t len, uint64_t now_ns)
{
	if (!begin(g) || !vgw_is_in(g, VGW_IN_OPEN))
		return;
	if (len > VGW_MESSAGE_MAX)
		vgw_drop(g, VGW_CLOSE_AGAIN, "a message of more than 1 MiB", now_ns);
	else
		vgw_receive_text(g, text, len, now_ns);
	finish(g, now_ns);
}

void vgw_binary(struct vgw *g, const uint8_t *data, size_t len, uint64_t now_ns)
{
	if (!begin(g) || !vgw_is_in(g, VGW_IN_OPEN))
		return;
	if (len > VGW_MESSAGE_MAX)
		vgw_drop(g, VGW_CLOSE_AGAIN, "a message of more than 1 MiB", now_ns);
	else
		vgw_receive_binary(g, data, len);
	finish(g, now_ns);
}

static void closed_with(struct vgw *g, const struct vgw_close_code *row, const char *why,
	uint64_t now_ns)
{
	switch (row->action) {
	case VGW_CLOSE_RESUME:
		lost(g, why, now_ns);
		break;
	case VGW_CLOSE_REJOIN_ONCE:
		if (g->refusals++ > 0)
			vgw_end(g, row->verdict, why, now_ns);
		else
			rejoin(g, VGW_INFO_NEEDED, why, row->delay_s, now_ns);
		break;
	case VGW_CLOSE_REJOIN:
		rejoin(g, VGW_INFO_NEEDED, why, row->delay_s, now_ns);
		break;
	case VGW_CLOSE_GRACE:
		end_session(g);
		vgw_enter(g, VGW_S_GRACE, now_ns, GRACE_S * TD_SEC_NS);
		snprintf(g->grace_text, sizeof(g->grace_text), "%s", why);
		vgw_queue_push(&g->queue, VGW_WARNING)->text =
			vgw_say(g, "%s; waiting %d s for new connection info", why, GRACE_S);
		break;
	case VGW_CLOSE_STOP:
		vgw_end(g, row->verdict, why, now_ns);
		break;
	}
}

void vgw_closed(struct vgw *g, uint16_t code, const char *reason, bool fatal, uint64_t now_ns)
{
	const struct vgw_close_code *row;
	const char *why;
	bool said = reason != NULL && reason[0] != '\0';

	if (!begin(g) || !g->socket)
		return;
	socket_gone(g, now_ns);
	/* A code counts only from a server that was there to give it. */
	row = vgw_close_code_find(g->state == VGW_S_CONNECTING ? 0 : code);
	why = g->state == VGW_S_CONNECTING ? "could not connect" : row->meaning;
	if (code != 0)
		why = vgw_say(g, "%s (code %u)", why, code);
	if (said)
		why = vgw_say(g, "%s: %s", why, clean(g, reason));
	if (fatal)
		vgw_end(g, VGW_UNREACHABLE, why, now_ns);
	else
		closed_with(g, row, why, now_ns);
}

void vgw_discovered(struct vgw *g, const char *address, uint16_t port, uint64_t now_ns)
{
	unsigned char addr[sizeof(struct in6_addr)];
	struct wr w;

	if (!begin(g) || g->state != VGW_S_DISCOVERING)
		return;
	if (port == 0 ||
		(inet_pton(AF_INET, address, addr) != 1 &&
			inet_pton(AF_INET6, address, addr) != 1)) {
		vgw_drop(g, VGW_CLOSE_DONE, "address discovery gave no address", now_ns);
		return;
	}
	w = vgw_writer(g, VGW_TEXT_MAX, false);
	vgw_write_select(&w, address, port, g->mode);
	vgw_send_text(g, &w, false);
	vgw_enter(g, VGW_S_SELECTING, now_ns, VGW_PATIENCE_S * TD_SEC_NS);
	finish(g, now_ns);
}

void vgw_discovery_failed(struct vgw *g, uint64_t now_ns)
{
	if (begin(g) && g->state == VGW_S_DISCOVERING)
		vgw_drop(g, VGW_CLOSE_DONE, "address discovery failed", now_ns);
}

/* ---- end-to-end encryption ---- */

static bool is_text_op(uint8_t opcode)
{
	return opcode == VGW_OP_DAVE_TRANSITION_READY ||
		opcode == VGW_OP_DAVE_INVALID_COMMIT_WELCOME;
}

static void say_dave(struct vgw *g, uint8_t opcode, const uint8_t *data, size_t len, bool answer)
{
	struct wr w = vgw_writer(g, len + 32, false);
	struct vgw_action *a;

	if (is_text_op(opcode)) {
		vgw_write_dave(&w, opcode, data, len);
		vgw_send_text(g, &w, answer);
		return;
	}
	wr_u8(&w, opcode);
	wr_bytes(&w, data, len);
	if (w.bad) {
		g->broken = true;
		return;
	}
	a = answer ? vgw_queue_answer(&g->queue, VGW_SEND_BINARY)
		   : vgw_queue_push(&g->queue, VGW_SEND_BINARY);
	a->opcode = opcode;
	a->data = w.buf;
	a->len = w.len;
}

void vgw_say_held(struct vgw *g)
{
	const struct vgw_held *h;

	for (h = g->held; h != NULL; h = h->next)
		say_dave(g, h->opcode, h->data, h->len, false);
	drop_held(g);
}

static int hold(struct vgw *g, uint8_t opcode, const uint8_t *data, size_t len)
{
	struct vgw_held *h;

	if (len + sizeof(*h) > HELD_MAX - g->held_bytes)
		return TD_ERR_LIMIT;
	if ((h = malloc(sizeof(*h) + len)) == NULL)
		return TD_ERR_NOMEM;
	h->next = NULL;
	h->opcode = opcode;
	h->len = len;
	if (len > 0)
		memcpy(h->data, data, len);
	*g->held_end = h;
	g->held_end = &h->next;
	g->held_bytes += len + sizeof(*h);
	return TD_OK;
}

int vgw_dave_send(struct vgw *g, uint8_t opcode, const uint8_t *data, size_t len)
{
	if (!is_text_op(opcode) && opcode != VGW_OP_DAVE_KEY_PACKAGE &&
		opcode != VGW_OP_DAVE_COMMIT_WELCOME)
		return TD_ERR_USAGE;
	if (len > VGW_MESSAGE_MAX)
		return TD_ERR_LIMIT;
	if (g->state == VGW_S_SELECTING || g->state == VGW_S_LIVE) {
		say_dave(g, opcode, data, len, true);
		if (!g->broken)
			return TD_OK;
		g->broken = false;
		return TD_ERR_NOMEM;
	}
	/* Before Resumed the server would take it for a message of somebody unknown (4003). */
	return g->session ? hold(g, opcode, data, len) : TD_ERR_STATE;
}

/* ---- actions and time ---- */

int vgw_next(struct vgw *g, struct vgw_action *ret)
{
	return vgw_queue_next(&g->queue, ret);
}

uint64_t vgw_deadline(const struct vgw *g)
{
	return g->timer_at < g->beat_at ? g->timer_at : g->beat_at;
}

void vgw_beat(struct vgw *g, uint64_t now_ns)
{
	uint64_t nonce = g->conf.utc_ms != NULL ? g->conf.utc_ms(g->conf.user) : now_ns / TD_MS_NS;
	struct wr w = vgw_writer(g, 96, false);

	vgw_write_heartbeat(&w, nonce, g->seq);
	vgw_send_text(g, &w, false);
}

static void timer_ran_out(struct vgw *g, uint64_t now_ns)
{
	g->timer_at = VGW_NEVER;
	switch (g->state) {
	case VGW_S_BACKOFF:
		connect_now(g, now_ns);
		break;
	case VGW_S_GRACE:
		vgw_end(g, VGW_REMOVED, vgw_say(g, "%s", g->grace_text), now_ns);
		break;
	case VGW_S_CONNECTING:
		vgw_drop(g, 0, "no connection in time", now_ns);
		break;
	case VGW_S_HELLO:
		vgw_drop(g, VGW_CLOSE_AGAIN, "no Hello in time", now_ns);
		break;
	case VGW_S_RESUMING:
		vgw_drop(g, VGW_CLOSE_AGAIN, "no answer to Resume in time", now_ns);
		break;
	case VGW_S_IDENTIFYING:
		vgw_drop(g, VGW_CLOSE_DONE, "no answer to Identify in time", now_ns);
		break;
	case VGW_S_DISCOVERING:
		vgw_drop(g, VGW_CLOSE_DONE, "address discovery did not end", now_ns);
		break;
	case VGW_S_SELECTING:
		vgw_drop(g, VGW_CLOSE_DONE, "no session description in time", now_ns);
		break;
	case VGW_S_IDLE:
	case VGW_S_NEED_INFO:
	case VGW_S_LIVE:
	case VGW_S_ENDED:
		break;
	}
}

void vgw_tick(struct vgw *g, uint64_t now_ns)
{
	if (!begin(g))
		return;
	if (now_ns >= g->timer_at)
		timer_ran_out(g, now_ns);
	if (now_ns >= g->beat_at && g->unanswered >= UNANSWERED_MAX) {
		vgw_drop(g, VGW_CLOSE_AGAIN, "heartbeats stay unanswered", now_ns);
	} else if (now_ns >= g->beat_at) {
		g->unanswered++;
		g->beat_at = vgw_after(now_ns, g->interval_ns);
		vgw_beat(g, now_ns);
	}
	finish(g, now_ns);
}
