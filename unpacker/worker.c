/* SPDX-License-Identifier: ISC */
#include "unpacker/worker.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "common/err.h"

/* 146 years: nothing is later, and half as much again still fits a signed number. */
#define MAX_TIME_NS ((uint64_t)1 << 62)

void worker_init(struct worker *w, struct ipc_queue *out)
{
	memset(w, 0, sizeof(*w));
	w->out = out;
	TAILQ_INIT(&w->list);
}

static void forget_conn(struct worker *w, struct conn *c)
{
	TAILQ_REMOVE(&w->list, c, link);
	map_del(&w->conns, c->conf.conn);
	conn_free(c);
}

void worker_free(struct worker *w)
{
	while (!TAILQ_EMPTY(&w->list))
		forget_conn(w, TAILQ_FIRST(&w->list));
	map_free(&w->conns);
	decoder_pool_free(&w->pool);
}

void worker_log(void *user, enum td_log_level level, const char *text, size_t len)
{
	struct ipc_log m = { .level = (uint32_t)level };

	if (len > IPC_MAX_LOG)
		len = IPC_MAX_LOG;
	/* Out of memory: whoever called finds out, and there is nobody to tell. */
	(void)ipc_queue_put(user, IPC_LOG, 0, &m, sizeof(m), text, len);
}

/* ---- one function for each type; `c` is the connection, or NULL for a type that needs none ----
 */

static int on_hello(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	const struct ipc_hello mine = { IPC_VERSION, sizeof(struct ipc_hdr) };

	(void)c;
	if (w->greeted)
		return TD_ERR_STATE;
	if (memcmp(m->body, &mine, sizeof(mine)) != 0)
		return TD_ERR_UNSUPPORTED;
	w->greeted = true;
	return ipc_queue_put(w->out, IPC_READY, 0, &mine, sizeof(mine), NULL, 0);
}

static int on_open(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	int r;

	if (m->hdr.conn == 0)
		return TD_ERR_MALFORMED;
	if (map_get(&w->conns, m->hdr.conn) != NULL) {
		log_warn("conn %" PRIu64 " opened twice: ignored", m->hdr.conn);
		return TD_OK;
	}
	if ((r = conn_new(&c, m->hdr.conn, m->body, w->out, &w->pool, &w->scratch)) != TD_OK)
		return r;
	if ((r = map_put(&w->conns, m->hdr.conn, c)) != TD_OK) {
		conn_free(c);
		return r;
	}
	TAILQ_INSERT_TAIL(&w->list, c, link);
	return TD_OK;
}

static int on_close(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	int r = conn_flush(c);

	(void)m;
	forget_conn(w, c);
	return r;
}

static int on_flush(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	(void)w;
	(void)m;
	return conn_flush(c);
}

static int on_reset(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	(void)w;
	(void)m;
	return conn_reset(c);
}

static int on_key(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	(void)w;
	return conn_key(c, m->body);
}

static int on_speaker(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	const struct ipc_speaker *s = m->body;

	(void)w;
	return conn_speaker(c, s->ssrc, s->user_id);
}

static int on_speaker_gone(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	const struct ipc_speaker_gone *s = m->body;

	(void)w;
	return conn_speaker_gone(c, s->user_id);
}

static int on_packet(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	const struct ipc_packet *p = m->body;

	(void)w;
	if (p->arrival_ns > MAX_TIME_NS)
		return TD_ERR_MALFORMED;
	return conn_packet(c, p->arrival_ns, p->flags, m->data, m->data_len);
}

static int on_dave_epoch(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	const struct ipc_dave_epoch *e = m->body;
	size_t count = m->data_len / sizeof(struct ipc_dave_sender);

	(void)w;
	if (e->at_ns > MAX_TIME_NS || m->data_len % sizeof(struct ipc_dave_sender) != 0)
		return TD_ERR_MALFORMED;
	return conn_dave_epoch(c, e, m->data, count);
}

static int on_dave_used(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	(void)w;
	return dave_stage_used(&c->dave, m->body);
}

static int on_dave_passthrough(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	const struct ipc_dave_passthrough *p = m->body;

	(void)w;
	conn_dave_passthrough(c, p->until_ns);
	return TD_OK;
}

static int on_tick(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	const struct ipc_tick *t = m->body;
	int r = TD_OK;

	if (t->now_ns > MAX_TIME_NS)
		return TD_ERR_MALFORMED;
	TAILQ_FOREACH(c, &w->list, link)
	{
		/* Without a key nothing waits, and packets may be on their way with an older time.
		 */
		if (r == TD_OK && c->transport != NULL)
			r = conn_advance(c, t->now_ns);
	}
	return r;
}

/* Answered whether or not the connection is still open: somebody waits for it. */
static int on_control(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	int r = TD_OK;

	TAILQ_FOREACH(c, &w->list, link)
	{
		if (r == TD_OK && (m->hdr.conn == 0 || m->hdr.conn == c->conf.conn))
			r = conn_send_counters(c);
	}
	if (r != TD_OK)
		return r;
	return ipc_queue_put(w->out, IPC_CONTROL_ECHO, m->hdr.conn, m->body,
		sizeof(struct ipc_control), NULL, 0);
}

static int on_ping(struct worker *w, struct conn *c, const struct ipc_msg *m)
{
	struct ipc_pong pong = { 0 };
	bool waits = false;
	int r;

	TAILQ_FOREACH(c, &w->list, link)
	{
		if ((r = conn_settle(c, &waits)) != TD_OK)
			return r;
		pong.waits |= waits;
	}
	return ipc_queue_put(w->out, IPC_PONG, m->hdr.conn, &pong, sizeof(pong), NULL, 0);
}

static const struct handler {
	int (*handle)(struct worker *w, struct conn *c, const struct ipc_msg *m);
	bool needs_conn;
} handlers[] = {
	[IPC_PACKET] = { on_packet, true },
	[IPC_TICK] = { on_tick, false },
	[IPC_HELLO] = { on_hello, false },
	[IPC_CONN_OPEN] = { on_open, false },
	[IPC_CONN_CLOSE] = { on_close, true },
	[IPC_CONN_FLUSH] = { on_flush, true },
	[IPC_CONN_RESET] = { on_reset, true },
	[IPC_KEY] = { on_key, true },
	[IPC_SPEAKER] = { on_speaker, true },
	[IPC_SPEAKER_GONE] = { on_speaker_gone, true },
	[IPC_DAVE_EPOCH] = { on_dave_epoch, true },
	[IPC_DAVE_USED] = { on_dave_used, true },
	[IPC_DAVE_PASSTHROUGH] = { on_dave_passthrough, true },
	[IPC_CONTROL] = { on_control, false },
	[IPC_PING] = { on_ping, false },
};

/* Says so at the first, second, fourth, ... time: a stream of them is one mistake, not thousands.
 */
static void ignore_unknown(struct worker *w, const struct ipc_msg *m)
{
	w->unknown++;
	if ((w->unknown & (w->unknown - 1)) == 0)
		log_warn("%s for conn %" PRIu64 ", which is not open: ignored (%" PRIu64 " so far)",
			ipc_type_name(m->hdr.type), m->hdr.conn, w->unknown);
}

int worker_message(struct worker *w, const struct ipc_msg *m)
{
	uint16_t type = m->hdr.type;
	const struct handler *h;
	struct conn *c = NULL;

	if (type >= sizeof(handlers) / sizeof(handlers[0]) || handlers[type].handle == NULL)
		return TD_ERR_UNSUPPORTED;
	h = &handlers[type];
	if (!w->greeted && type != IPC_HELLO)
		return TD_ERR_STATE;
	if (h->needs_conn && (c = map_get(&w->conns, m->hdr.conn)) == NULL) {
		ignore_unknown(w, m);
		return TD_OK;
	}
	return h->handle(w, c, m);
}
