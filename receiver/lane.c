/* SPDX-License-Identifier: ISC */
#include "receiver/lane.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/rtp.h"
#include "receiver/journal.h"
#include "receiver/lane_memory.h"
#include "receiver/worker_process.h"

enum {
	QUEUE_MAX = 8 * 1024 * 1024,  /* live: shed beyond this ... */
	QUEUE_KEEP = 6 * 1024 * 1024, /* ... down to this */
	QUEUE_CONGESTED = 256 * 1024,
	RESPAWN_MAX_MS = 1000,
	JOURNAL_MAX = 16 * 1024 * 1024,
	REFUSALS_MAX = 10, /* in a row: what kills them is what we send */
};
#define HANG_NS (1000 * TD_MS_NS)
/* Live: more than it takes to find out that a worker hangs, and what waits in its windows. A
 * replay's times say nothing about when things happen here. */
#define JOURNAL_NS (6 * TD_SEC_NS)
#define SETTLED_NS (1 * TD_SEC_NS) /* a worker that lived this long did not die of its start */

struct lane {
	struct lane_conf conf;
	struct lane_thread *thread;
	struct worker_process worker;
	struct ipc_queue queue;
	struct journal journal;
	struct lane_conn *conns;
	uint64_t last_packet_ns;
	uint64_t newest_ns; /* the latest time the worker was told */
	bool congested;     /* and somebody waits for conf.drained */
	bool ending, abandoned;

	uv_async_t *down;    /* the lane thread found the worker gone */
	uv_poll_t *writable; /* the request pipe has room again */
	uv_timer_t *respawn;
	_Atomic(const char *) down_why;
	uint64_t started_ns;
	unsigned respawn_ms;   /* 0: at once */
	unsigned refusals;     /* workers in a row that ended by themselves, or never began */
	uint64_t heard_before; /* of the workers before this one */

	uint64_t ping_ns, ping_heard; /* a PING waits for its PONG since; 0: none */
};

/* uv handles outlive the lane until the loop has closed them. */
static void handle_freed(uv_handle_t *handle)
{
	free(handle);
}

static struct lane_conn **conn_find(struct lane *l, uint64_t conn)
{
	struct lane_conn **at;

	for (at = &l->conns; *at != NULL && (*at)->conn != conn; at = &(*at)->next)
		;
	return at;
}

static _Noreturn void out_of_memory(void)
{
	log_error("out of memory");
	abort();
}

/* Messages that must arrive: without memory for them the process cannot do its work. A worker that
 * is not there yet will be told by retell(). */
static void put(struct lane *l, enum ipc_type type, uint64_t conn, const void *body,
	size_t body_len)
{
	if (l->worker.pid > 0 &&
		ipc_queue_put(&l->queue, type, conn, body, body_len, NULL, 0) != TD_OK)
		out_of_memory();
}

static struct ipc_conn_open conn_open(const struct lane *l)
{
	return (struct ipc_conn_open){ .reorder_ns = l->conf.reorder_ns,
		.hold_ns = l->conf.hold_ns,
		.want = l->conf.want,
		.channels = l->conf.channels };
}

static void put_control(struct lane *l, uint64_t conn, uint64_t serial)
{
	struct ipc_control control = { .serial = serial };

	put(l, IPC_CONTROL, conn, &control, sizeof(control));
}

/* ---- what a fresh worker is told ---- */

/* The controls that are still to be carried out are those from `first` on. */
struct retelling {
	struct lane *lane;
	uint64_t first, journaled; /* serials; journaled: the lowest one in the journal */
	size_t packets;
};

static void find_first(void *user, uint64_t conn, uint64_t serial)
{
	struct retelling *again = user;

	(void)conn;
	if (again->first == 0)
		again->first = serial;
}

static void find_journaled(void *user, const struct journal_entry *e)
{
	struct retelling *again = user;

	if (again->journaled == 0 && e->serial != 0)
		again->journaled = e->serial;
}

/* A control that is older than all the journal knows. */
static void retell_control(void *user, uint64_t conn, uint64_t serial)
{
	struct retelling *again = user;

	if (again->journaled == 0 || serial < again->journaled)
		put_control(again->lane, conn, serial);
}

static void retell_entry(void *user, const struct journal_entry *e)
{
	struct ipc_packet packet = { .arrival_ns = e->at_ns };
	enum delivered_state state = DELIVERED_NOT;
	struct retelling *again = user;
	struct lane *l = again->lane;
	struct rtp_header rtp;

	if (e->serial != 0) {
		if (again->first != 0 && e->serial >= again->first)
			put_control(l, e->conn, e->serial);
		return;
	}
	if (rtp_parse(&rtp, e->data, e->len) == TD_OK)
		state = lane_thread_delivered(l->thread, e->conn, rtp.ssrc, rtp.sequence);
	if (state == DELIVERED_LONG_AGO)
		return;
	if (state == DELIVERED_LATELY)
		packet.flags = IPC_PACKET_AGAIN;
	else
		again->packets++;
	if (ipc_queue_put(&l->queue, IPC_PACKET, e->conn, &packet, sizeof(packet), e->data,
		    e->len) != TD_OK)
		lane_count(l, e->conn, COUNTER_OVERLOAD, 1);
}

/* Everything a fresh worker must know, and everything that has not come back from the one before,
 * in its order. */
static void retell(struct lane *l)
{
	const struct ipc_hello hello = { .version = IPC_VERSION,
		.hdr_size = sizeof(struct ipc_hdr) };
	const struct ipc_conn_open open = conn_open(l);
	struct retelling again = { .lane = l };
	struct lane_conn *c;

	put(l, IPC_HELLO, 0, &hello, sizeof(hello));
	for (c = l->conns; c != NULL; c = c->next) {
		if (lane_conn_tell(c, &open, &l->queue) != TD_OK)
			out_of_memory();
	}
	lane_thread_pending(l->thread, find_first, &again);
	journal_each(&l->journal, find_journaled, &again);
	lane_thread_pending(l->thread, retell_control, &again);
	journal_each(&l->journal, retell_entry, &again);
	if (again.packets > 0)
		log_info("lane %u: %zu packets given to the new unpacker again", l->conf.index,
			again.packets);
}

/* ---- the worker's life ---- */

static void on_writable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	lane_flush(poll->data);
}

static int worker_start(struct lane *l)
{
	int r;

	if ((r = worker_process_start(&l->worker, l->conf.unpacker)) != TD_OK)
		return r;
	if ((l->writable = malloc(sizeof(*l->writable))) == NULL)
		return TD_ERR_NOMEM;
	uv_poll_init(l->conf.loop, l->writable, l->worker.request_fd);
	l->writable->data = l;
	l->started_ns = td_mono_ns();
	l->ping_ns = 0;
	l->heard_before = lane_thread_heard(l->thread);
	ipc_queue_free(&l->queue);
	retell(l);
	lane_thread_worker(l->thread, l->worker.reply_fd);
	return TD_OK;
}

static void abandon(struct lane *l, const char *why)
{
	l->abandoned = true;
	lane_thread_abandon(l->thread);
	l->conf.worker_lost(l->conf.user, l->conf.index, why, true);
}

bool lane_abandoned(const struct lane *l)
{
	return l->abandoned;
}

static void worker_start_or_abandon(struct lane *l)
{
	if (worker_start(l) != TD_OK)
		abandon(l, strerror(errno));
}

static void on_respawn(uv_timer_t *timer)
{
	worker_start_or_abandon(timer->data);
}

static void count_shed(void *user, uint64_t conn)
{
	lane_count(user, conn, COUNTER_OVERLOAD, 1);
}

static bool worker_stop(struct lane *l, char *how, size_t how_len)
{
	if (l->writable != NULL)
		uv_close((uv_handle_t *)l->writable, handle_freed);
	l->writable = NULL;
	return worker_process_end(&l->worker, how, how_len);
}

/* The lane thread has read the last of the old worker; now a new one can take its place. */
static void on_down(uv_async_t *async)
{
	struct lane *l = async->data;
	const char *why = atomic_exchange(&l->down_why, NULL);
	char how[64] = "", text[160];
	bool refused;

	if (why == NULL || l->ending)
		return;
	refused = worker_stop(l, how, sizeof(how));
	snprintf(text, sizeof(text), "%s%s%s", why, *why != '\0' ? ", " : "", how);

	if (td_mono_ns() - l->started_ns > SETTLED_NS)
		l->respawn_ms = l->refusals = 0;
	if (lane_thread_heard(l->thread) == l->heard_before)
		refused = true; /* not one word: something it needs is not there */
	l->refusals = refused ? l->refusals + 1 : 0;
	if (l->refusals > REFUSALS_MAX) {
		abandon(l, text);
		return;
	}
	l->conf.worker_lost(l->conf.user, l->conf.index, text, false);
	if (l->respawn_ms == 0)
		worker_start_or_abandon(l);
	else
		uv_timer_start(l->respawn, on_respawn, l->respawn_ms, 0);
	l->respawn_ms = l->respawn_ms == 0 ? 5 : l->respawn_ms * 2;
	if (l->respawn_ms > RESPAWN_MAX_MS)
		l->respawn_ms = RESPAWN_MAX_MS;
}

/* On the lane thread. */
static void on_worker_down(void *user, const char *why)
{
	struct lane *l = user;

	atomic_store(&l->down_why, why);
	uv_async_send(l->down);
}

void lane_watch(struct lane *l, uint64_t now_ns)
{
	uint64_t heard = lane_thread_heard(l->thread);

	if (l->worker.pid <= 0)
		return;
	if (l->ping_ns == 0 || heard != l->ping_heard) {
		put(l, IPC_PING, 0, NULL, 0);
		l->ping_ns = now_ns;
		l->ping_heard = heard;
		return;
	}
	/* A lane thread that is busy with its disk hears nothing either: not the worker's fault. */
	if (!lane_thread_waiting(l->thread))
		l->ping_ns = now_ns;
	else if (now_ns - l->ping_ns > HANG_NS)
		kill(l->worker.pid, SIGKILL);
}

/* ---- connections ---- */

int lane_conn_open(struct lane *l, uint64_t conn)
{
	const struct ipc_conn_open open = conn_open(l);
	struct lane_conn *c;
	int r;

	if ((r = lane_conn_new(&c, conn)) != TD_OK)
		return r;
	c->next = l->conns;
	l->conns = c;
	put(l, IPC_CONN_OPEN, conn, &open, sizeof(open));
	return TD_OK;
}

void lane_conn_close(struct lane *l, uint64_t conn)
{
	struct lane_conn **at = conn_find(l, conn), *c = *at;

	if (c == NULL)
		return;
	*at = c->next;
	lane_conn_free(c);
	journal_forget(&l->journal, conn);
	put(l, IPC_CONN_CLOSE, conn, NULL, 0);
}

void lane_conn_flush(struct lane *l, uint64_t conn)
{
	journal_forget(&l->journal, conn);
	put(l, IPC_CONN_FLUSH, conn, NULL, 0);
}

void lane_conn_reset(struct lane *l, uint64_t conn)
{
	struct lane_conn *c = *conn_find(l, conn);

	if (c == NULL)
		return;
	lane_conn_forget(c);
	journal_forget(&l->journal, conn);
	put(l, IPC_CONN_RESET, conn, NULL, 0);
}

void lane_conn_key(struct lane *l, uint64_t conn, enum transport_mode mode, uint32_t own_ssrc,
	const uint8_t key[static TRANSPORT_KEY_LEN])
{
	struct lane_conn *c = *conn_find(l, conn);

	if (c == NULL)
		return;
	c->key->mode = mode;
	c->key->own_ssrc = own_ssrc;
	memcpy(c->key->key, key, TRANSPORT_KEY_LEN);
	c->has_key = true;
	put(l, IPC_KEY, conn, c->key, sizeof(*c->key));
}

void lane_conn_speaker(struct lane *l, uint64_t conn, uint64_t user_id, uint32_t ssrc)
{
	const struct ipc_speaker speaker = { .user_id = user_id, .ssrc = ssrc };
	struct lane_conn *c = *conn_find(l, conn);

	if (c == NULL)
		return;
	put(l, IPC_SPEAKER, conn, &speaker, sizeof(speaker));
	lane_conn_add_speaker(c, user_id, ssrc);
}

void lane_conn_speaker_gone(struct lane *l, uint64_t conn, uint64_t user_id)
{
	const struct ipc_speaker_gone gone = { .user_id = user_id };
	struct lane_conn *c = *conn_find(l, conn);

	if (c == NULL)
		return;
	lane_conn_drop_speaker(c, user_id);
	put(l, IPC_SPEAKER_GONE, conn, &gone, sizeof(gone));
}

/* The worker knows this time now, and may date a packet that comes a little late by it. */
static void time_told(struct lane *l, uint64_t at_ns)
{
	if (at_ns > l->newest_ns)
		l->newest_ns = at_ns;
	lane_thread_newest(l->thread, l->newest_ns);
}

void lane_conn_dave_epoch(struct lane *l, uint64_t conn, uint64_t at_ns, uint64_t epoch,
	const struct dave_sender *senders, size_t count)
{
	struct lane_conn *c = *conn_find(l, conn);
	const struct lane_epoch *e;

	if (c == NULL || count > IPC_DAVE_MAX_SENDERS)
		return;
	if ((e = lane_conn_add_epoch(c, at_ns, epoch, senders, count)) == NULL)
		out_of_memory();
	time_told(l, at_ns);
	if (l->worker.pid > 0 &&
		ipc_queue_put(&l->queue, IPC_DAVE_EPOCH, conn, &e->body, sizeof(e->body),
			e->senders, e->count * sizeof(e->senders[0])) != TD_OK)
		out_of_memory();
}

void lane_conn_dave_passthrough(struct lane *l, uint64_t conn, uint64_t until_ns)
{
	const struct ipc_dave_passthrough body = { .until_ns = until_ns };
	struct lane_conn *c = *conn_find(l, conn);

	if (c == NULL)
		return;
	c->passthrough_ns = until_ns;
	put(l, IPC_DAVE_PASSTHROUGH, conn, &body, sizeof(body));
}

/* ---- packets, time, controls ---- */

static bool is_voice(const uint8_t *data, size_t len)
{
	struct rtp_header rtp;

	return datagram_classify(data, len) == DATAGRAM_RTP &&
		rtp_parse(&rtp, data, len) == TD_OK && rtp.payload_type == RTP_OPUS_PAYLOAD_TYPE;
}

void lane_packet(struct lane *l, uint64_t conn, uint64_t arrival_ns, const uint8_t *data,
	size_t len)
{
	struct ipc_packet packet = { .arrival_ns = arrival_ns };

	if (arrival_ns > l->last_packet_ns)
		l->last_packet_ns = arrival_ns;
	time_told(l, arrival_ns);
	if (l->abandoned) {
		lane_count(l, conn, COUNTER_OVERLOAD, 1);
		return;
	}
	if (is_voice(data, len))
		journal_add(&l->journal, conn, arrival_ns, 0, data, len);
	if (l->worker.pid <= 0)
		return; /* its replacement will be told */
	if (ipc_queue_put(&l->queue, IPC_PACKET, conn, &packet, sizeof(packet), data, len) != TD_OK)
		lane_count(l, conn, COUNTER_OVERLOAD, 1);
	if (l->conf.live && l->queue.len > QUEUE_MAX)
		ipc_queue_shed(&l->queue, QUEUE_KEEP, count_shed, l);
}

void lane_tick(struct lane *l, uint64_t now_ns)
{
	struct ipc_tick tick = { .now_ns = now_ns };

	time_told(l, now_ns);
	put(l, IPC_TICK, 0, &tick, sizeof(tick));
}

uint64_t lane_last_packet_ns(const struct lane *l)
{
	return l->last_packet_ns;
}

void lane_count(struct lane *l, uint64_t conn, enum td_counter what, uint64_t n)
{
	struct lane_conn *c = *conn_find(l, conn);

	if (c == NULL || n == 0)
		return;
	c->counters[what] += n;
	c->counted = true;
}

static void control_put(struct lane *l, uint64_t conn, struct lane_control *c)
{
	uint64_t serial;

	c->conn = conn;
	serial = lane_thread_post(l->thread, c);
	journal_add(&l->journal, conn, l->newest_ns, serial, NULL, 0);
	put_control(l, conn, serial);
}

void lane_control(struct lane *l, uint64_t conn, struct lane_control *c)
{
	struct lane_conn *lc = *conn_find(l, conn);
	struct lane_control *count;

	if (lc != NULL && lc->counted && (count = calloc(1, sizeof(*count))) != NULL) {
		count->type = LANE_COUNT;
		memcpy(count->counters, lc->counters, sizeof(count->counters));
		memset(lc->counters, 0, sizeof(lc->counters));
		lc->counted = false;
		control_put(l, conn, count);
	}
	control_put(l, conn, c);
}

void lane_flush(struct lane *l)
{
	int r;

	if (l->queue.len == 0 || l->writable == NULL)
		return;
	r = ipc_queue_write(&l->queue, l->worker.request_fd);
	if (r == 1) {
		uv_poll_start(l->writable, UV_WRITABLE, on_writable);
	} else {
		/* An error means that the worker is gone; the lane thread will find out, too. */
		uv_poll_stop(l->writable);
	}
	if (l->congested && l->queue.len <= QUEUE_CONGESTED) {
		l->congested = false;
		l->conf.drained(l->conf.user);
	}
}

bool lane_congested(struct lane *l)
{
	l->congested = l->queue.len > QUEUE_CONGESTED;
	return l->congested;
}

/* ---- the lane ---- */

static void handle_close(void *handle)
{
	if (handle != NULL)
		uv_close(handle, handle_freed);
}

/* Both handles or none. */
static int handles_init(struct lane *l)
{
	l->down = malloc(sizeof(*l->down));
	l->respawn = malloc(sizeof(*l->respawn));
	if (l->down == NULL || l->respawn == NULL ||
		uv_async_init(l->conf.loop, l->down, on_down) != 0) {
		free(l->down);
		free(l->respawn);
		l->down = NULL;
		l->respawn = NULL;
		return TD_ERR_NOMEM;
	}
	uv_timer_init(l->conf.loop, l->respawn);
	l->down->data = l->respawn->data = l;
	return TD_OK;
}

int lane_new(struct lane **ret, const struct lane_conf *conf)
{
	struct lane *l = calloc(1, sizeof(*l));
	struct lane_thread_conf thread_conf = { .ops = conf->ops,
		.decodes = (conf->want & IPC_WANT_PCM) != 0,
		.user = conf->user,
		.worker_down = on_worker_down,
		.worker_user = l };
	int r = TD_ERR_NOMEM;

	if (l == NULL)
		goto out;
	l->conf = *conf;
	l->worker.request_fd = -1;
	ipc_queue_init(&l->queue);
	journal_init(&l->journal, JOURNAL_MAX, conf->live ? JOURNAL_NS : 0);
	if ((r = handles_init(l)) != TD_OK ||
		(r = lane_thread_new(&l->thread, &thread_conf)) != TD_OK ||
		(r = worker_start(l)) != TD_OK)
		goto out;
	*ret = l;
	l = NULL;
	r = TD_OK;
out:
	lane_free(l);
	return r;
}

void lane_free(struct lane *l)
{
	char how[64];
	int tries;

	if (l == NULL)
		return;
	l->ending = true;
	if (l->thread != NULL)
		lane_thread_end(l->thread);
	if (l->writable != NULL)
		uv_close((uv_handle_t *)l->writable, handle_freed);
	l->writable = NULL;
	/* A worker ends when its request pipe does; one that does not is ended. */
	if (l->worker.request_fd >= 0)
		close(l->worker.request_fd);
	l->worker.request_fd = -1;
	for (tries = 0; l->worker.pid > 0 && tries < 100; tries++) {
		if (waitpid(l->worker.pid, NULL, WNOHANG) == l->worker.pid)
			l->worker.pid = 0;
		else
			nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	worker_stop(l, how, sizeof(how));
	lane_thread_free(l->thread);
	handle_close(l->down);
	handle_close(l->respawn);
	while (l->conns != NULL)
		lane_conn_close(l, l->conns->conn);
	ipc_queue_free(&l->queue);
	journal_free(&l->journal);
	free(l);
}
