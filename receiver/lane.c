/* SPDX-License-Identifier: ISC */
#include "receiver/lane.h"

#include <errno.h>
#include <inttypes.h>
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
#include "receiver/lane_requests.h"
#include "receiver/worker_process.h"

enum {
	QUEUE_CONGESTED = 256 * 1024,
	RESPAWN_MAX_MS = 1000,
	/* Workers in a row that could not even get through what the one before left undone, and
	 * that nobody killed: it is what we send that kills them. Packets first ... */
	FAILURES_OF_PACKETS = 2,
	FAILURES_MAX = 10, /* ... and if that was not it, there is no help. */
	HANG_LOOKS = 5,    /* of the watch, a quarter of a second apart */
	TOLD_A_SECOND = 3, /* losses; the others are told together */
};
#define RELIEVED_NS (3 * TD_SEC_NS)       /* nothing was shed for so long: an overload is over */
#define HELD_UP_NS (5 * TD_SEC_NS)        /* a sink that takes this long is named, ... */
#define HELD_UP_AGAIN_NS (60 * TD_SEC_NS) /* ... and then so often */
#define SETTLED_NS (1 * TD_SEC_NS) /* a worker that lived this long did not die of its start */

struct lane {
	struct lane_conf conf;
	struct lane_thread *thread;
	struct worker_process worker;
	uint64_t said_held_up_ns;
	struct lane_requests requests;
	uint64_t last_packet_ns;
	bool congested; /* and somebody waits for conf.drained */
	bool ending, abandoned;

	uv_async_t *down;    /* the lane thread found the worker gone */
	uv_poll_t *writable; /* the request pipe has room again */
	uv_timer_t *respawn;
	_Atomic(const char *) down_why;
	uint64_t started_ns;
	unsigned respawn_ms; /* 0: at once */
	unsigned failures;

	bool pinged; /* a PING waits for its PONG, since ping_heard was heard: */
	uint64_t ping_heard;
	unsigned unanswered; /* so many looks of the watch */
	bool hung;           /* we killed it for that */

	struct {
		uint64_t undecoded, dropped; /* when it was looked last */
		uint64_t begin_undecoded, begin_dropped, last_ns;
		bool on, drops;
	} overload;

	uint64_t told_ns; /* the second in which `told` losses were told began then */
	unsigned told, untold;
	char untold_how[160]; /* the latest */
};

/* uv handles outlive the lane until the loop has closed them. */
static void handle_freed(uv_handle_t *handle)
{
	free(handle);
}

static void handle_close(void *handle)
{
	if (handle != NULL)
		uv_close(handle, handle_freed);
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
	size_t again;
	int r;

	if ((l->writable = malloc(sizeof(*l->writable))) == NULL)
		return TD_ERR_NOMEM;
	if ((r = worker_process_start(&l->worker, l->conf.unpacker)) != TD_OK ||
		uv_poll_init(l->conf.loop, l->writable, l->worker.request_fd) != 0) {
		if (r == TD_OK)
			close(l->worker.reply_fd);
		free(l->writable);
		l->writable = NULL;
		return TD_ERR_SYS;
	}
	l->writable->data = l;
	l->started_ns = td_mono_ns();
	l->pinged = false;
	l->hung = false;
	if ((again = lane_requests_retell(&l->requests)) > 0)
		log_info("lane %u: %zu packets given to the new unpacker again", l->conf.index,
			again);
	lane_thread_worker(l->thread, l->worker.reply_fd);
	lane_flush(l);
	return TD_OK;
}

static bool worker_stop(struct lane *l, char *how, size_t how_len)
{
	handle_close(l->writable);
	l->writable = NULL;
	return worker_process_end(&l->worker, how, how_len);
}

static void abandon(struct lane *l, const char *why)
{
	char how[64];

	worker_stop(l, how, sizeof(how));
	lane_requests_disconnect(&l->requests);
	lane_requests_give_up(&l->requests);
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

/* A storm of losses is told a few at a time. */
static void tell_lost(struct lane *l, const char *how)
{
	uint64_t now_ns = td_mono_ns();
	char text[224];

	if (now_ns - l->told_ns >= TD_SEC_NS) {
		l->told_ns = now_ns;
		l->told = 0;
	}
	if (l->told == TOLD_A_SECOND) {
		l->untold++;
		snprintf(l->untold_how, sizeof(l->untold_how), "%s", how);
		return;
	}
	l->told++;
	if (l->untold > 0)
		snprintf(text, sizeof(text), "%s; and %u more before it", how, l->untold);
	else
		snprintf(text, sizeof(text), "%s", how);
	l->untold = 0;
	l->conf.worker_lost(l->conf.user, l->conf.index, text, false);
}

/* Those that were left out, once there is room for them. */
static void tell_untold(struct lane *l)
{
	if (l->untold == 0 || td_mono_ns() - l->told_ns < TD_SEC_NS)
		return;
	l->untold--;
	tell_lost(l, l->untold_how);
}

/* What the death of a worker says about what it was given. False: no other will live, either. */
static bool is_worth_another(struct lane *l, bool killed)
{
	size_t n;

	if (lane_requests_caught_up(&l->requests))
		l->failures = 0;
	else if (!killed)
		l->failures++;
	if (l->failures == FAILURES_OF_PACKETS && (n = lane_requests_give_up(&l->requests)) > 0)
		log_warn("lane %u: the last %zu packets may be what ends unpackers: they are "
			 "dropped",
			l->conf.index, n);
	return l->failures <= FAILURES_MAX;
}

/* The lane thread has read the last of the old worker; now a new one can take its place. */
static void on_down(uv_async_t *async)
{
	struct lane *l = async->data;
	const char *why = atomic_exchange(&l->down_why, NULL);
	char how[64] = "", text[160];
	bool killed, lived;

	if (why == NULL || l->ending || l->abandoned)
		return;
	killed = worker_stop(l, how, sizeof(how)) && *why == '\0' && !l->hung;
	if (l->hung)
		why = "did not answer";
	snprintf(text, sizeof(text), "%s%s%s", why, *why != '\0' ? ", " : "", how);

	lived = td_mono_ns() - l->started_ns > SETTLED_NS && lane_requests_caught_up(&l->requests);
	if (!is_worth_another(l, killed)) {
		abandon(l, text);
		return;
	}
	lane_requests_disconnect(&l->requests);
	tell_lost(l, text);
	if (lived)
		l->respawn_ms = 0;
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

static void tell_overload(struct lane *l, const char *what)
{
	char text[160];

	snprintf(text, sizeof(text), "lane %u: overload: %s", l->conf.index, what);
	l->conf.overload(l->conf.user, l->conf.index, text);
}

/* What is shed is told when it begins and when it is over. */
static void watch_load(struct lane *l, uint64_t now_ns)
{
	struct lane_requests *q = &l->requests;
	bool drops, shed;
	char text[128];

	lane_requests_watch(q);
	drops = q->dropped != l->overload.dropped;
	shed = drops || q->undecoded != l->overload.undecoded;
	if (shed && !l->overload.on) {
		l->overload.begin_undecoded = l->overload.undecoded;
		l->overload.begin_dropped = l->overload.dropped;
		l->overload.drops = false;
		if (!drops)
			tell_overload(l, "the oldest packets are kept, but not decoded");
	}
	if (drops && !l->overload.drops) {
		l->overload.drops = true;
		tell_overload(l, "the oldest packets are dropped");
	}
	if (shed) {
		l->overload.on = true;
		l->overload.last_ns = now_ns;
	} else if (l->overload.on && now_ns - l->overload.last_ns >= RELIEVED_NS) {
		l->overload.on = false;
		snprintf(text, sizeof(text),
			"over; %" PRIu64 " packets were not decoded, %" PRIu64 " dropped",
			q->undecoded - l->overload.begin_undecoded,
			q->dropped - l->overload.begin_dropped);
		tell_overload(l, text);
	}
	l->overload.undecoded = q->undecoded;
	l->overload.dropped = q->dropped;
}

static void watch_sinks(struct lane *l, uint64_t now_ns)
{
	uint64_t since_ns;
	const char *sink = lane_thread_working(l->thread, &since_ns);

	if (sink == NULL || now_ns < since_ns + HELD_UP_NS)
		return;
	if (l->said_held_up_ns != 0 && now_ns - l->said_held_up_ns < HELD_UP_AGAIN_NS)
		return;
	l->said_held_up_ns = now_ns;
	l->conf.held_up(l->conf.user, l->conf.index, sink, now_ns - since_ns);
}

void lane_watch(struct lane *l, uint64_t now_ns)
{
	uint64_t heard = lane_thread_heard(l->thread);

	watch_sinks(l, now_ns);
	watch_load(l, now_ns);
	tell_untold(l);
	if (l->worker.pid <= 0)
		return;
	if (!l->pinged || heard != l->ping_heard) {
		lane_requests_ping(&l->requests);
		l->pinged = true;
		l->ping_heard = heard;
		l->unanswered = 0;
		return;
	}
	/* A lane thread that is busy with its disk hears nothing either: not the worker's fault.
	 * Nor is it what time went by when we did not run ourselves: so looks are counted. */
	if (!lane_thread_waiting(l->thread)) {
		l->unanswered = 0;
	} else if (++l->unanswered == HANG_LOOKS) {
		l->hung = true;
		kill(l->worker.pid, SIGKILL);
	}
}

/* ---- connections ---- */

int lane_conn_open(struct lane *l, uint64_t conn)
{
	lane_thread_allow(l->thread, conn, 0);
	return lane_requests_open(&l->requests, conn);
}

void lane_conn_close(struct lane *l, uint64_t conn)
{
	struct lane_control *forget = calloc(1, sizeof(*forget));

	lane_requests_close(&l->requests, conn);
	/* Without memory for it, a few names stay allowed. */
	if (forget != NULL) {
		forget->type = LANE_FORGET;
		lane_control(l, conn, forget);
	}
}

void lane_conn_flush(struct lane *l, uint64_t conn)
{
	lane_requests_add(&l->requests, conn, IPC_CONN_FLUSH, NULL, 0);
}

void lane_conn_reset(struct lane *l, uint64_t conn)
{
	lane_requests_add(&l->requests, conn, IPC_CONN_RESET, NULL, 0);
}

void lane_conn_key(struct lane *l, uint64_t conn, enum transport_mode mode, uint32_t own_ssrc,
	const uint8_t key[static TRANSPORT_KEY_LEN])
{
	lane_requests_key(&l->requests, conn, lane_key_new(mode, own_ssrc, key));
}

void lane_conn_speaker(struct lane *l, uint64_t conn, uint64_t user_id, uint32_t ssrc)
{
	const struct ipc_speaker speaker = { .user_id = user_id, .ssrc = ssrc };

	lane_thread_allow(l->thread, conn, user_id);
	lane_requests_add(&l->requests, conn, IPC_SPEAKER, &speaker, sizeof(speaker));
}

void lane_conn_speaker_gone(struct lane *l, uint64_t conn, uint64_t user_id)
{
	const struct ipc_speaker_gone gone = { .user_id = user_id };

	lane_requests_add(&l->requests, conn, IPC_SPEAKER_GONE, &gone, sizeof(gone));
}

void lane_conn_dave_epoch(struct lane *l, uint64_t conn, uint64_t at_ns, uint64_t epoch,
	const struct dave_sender *senders, size_t count)
{
	if (count <= IPC_DAVE_MAX_SENDERS)
		lane_requests_epoch(&l->requests, conn,
			lane_epoch_new(at_ns, epoch, senders, count));
}

void lane_conn_dave_passthrough(struct lane *l, uint64_t conn, uint64_t until_ns)
{
	const struct ipc_dave_passthrough body = { .until_ns = until_ns };

	lane_requests_add(&l->requests, conn, IPC_DAVE_PASSTHROUGH, &body, sizeof(body));
}

/* ---- packets, time, controls ---- */

void lane_packet(struct lane *l, uint64_t conn, uint64_t arrival_ns, const uint8_t *data,
	size_t len)
{
	if (arrival_ns > l->last_packet_ns)
		l->last_packet_ns = arrival_ns;
	if (l->abandoned)
		lane_count(l, conn, COUNTER_OVERLOAD, 1);
	else
		lane_requests_packet(&l->requests, conn, arrival_ns, data, len);
}

void lane_tick(struct lane *l, uint64_t now_ns)
{
	lane_requests_tick(&l->requests, now_ns);
}

uint64_t lane_last_packet_ns(const struct lane *l)
{
	return l->last_packet_ns;
}

void lane_count(struct lane *l, uint64_t conn, enum td_counter what, uint64_t n)
{
	lane_requests_count(&l->requests, conn, what, n);
}

static void control_put(struct lane *l, uint64_t conn, struct lane_control *c)
{
	struct ipc_control body;

	c->conn = conn;
	body.serial = lane_thread_post(l->thread, c);
	if (!l->abandoned)
		lane_requests_add(&l->requests, conn, IPC_CONTROL, &body, sizeof(body));
}

void lane_control(struct lane *l, uint64_t conn, struct lane_control *c)
{
	struct lane_conn *lc = lane_requests_conn(&l->requests, conn);
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

	if (l->requests.queue.len == 0 || l->writable == NULL)
		return;
	r = lane_requests_write(&l->requests, l->worker.request_fd);
	if (r == 1) {
		uv_poll_start(l->writable, UV_WRITABLE, on_writable);
	} else {
		/* An error means that the worker is gone; the lane thread will find out, too. */
		uv_poll_stop(l->writable);
	}
	if (l->congested && l->requests.queue.len <= QUEUE_CONGESTED) {
		l->congested = false;
		l->conf.drained(l->conf.user);
	}
}

bool lane_congested(struct lane *l)
{
	/* While there is no worker nothing leaves, so nothing may come. */
	l->congested =
		!l->abandoned && (l->worker.pid <= 0 || l->requests.queue.len > QUEUE_CONGESTED);
	return l->congested;
}

/* ---- the lane ---- */

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
	const struct ipc_conn_open open = { .reorder_ns = conf->reorder_ns,
		.hold_ns = conf->hold_ns,
		.want = conf->want,
		.channels = conf->channels };
	struct lane *l = calloc(1, sizeof(*l));
	struct lane_thread_conf thread_conf = { .ops = conf->ops,
		.decodes = (conf->want & IPC_WANT_PCM) != 0,
		.live = conf->live,
		.user = conf->user,
		.worker_down = on_worker_down,
		.worker_user = l };
	int r = TD_ERR_NOMEM;

	if (l == NULL)
		goto out;
	l->conf = *conf;
	l->worker.request_fd = -1;
	if ((r = handles_init(l)) != TD_OK ||
		(r = lane_thread_new(&l->thread, &thread_conf)) != TD_OK)
		goto out;
	lane_requests_init(&l->requests, &open, conf->live, l->thread);
	if ((r = worker_start(l)) != TD_OK)
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
	handle_close(l->writable);
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
	if (l->thread != NULL)
		lane_requests_free(&l->requests);
	free(l);
}
