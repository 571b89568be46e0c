/* SPDX-License-Identifier: ISC */
#include "receiver/lane_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/map.h"
#include "common/opus_packet.h"
#include "common/rtcp.h"
#include "receiver/console.h"

/* A worker counts losses between two packets; more than a day of them is not one. */
#define MAX_LOST ((uint32_t)TD_RATE * 3600 * 24)

/* Files of live calls are made to last so often: at the fourth batch that comes after
 * LATENCY_FILES_MS (receiver/options.c), so that no more than half a second is lost with us, what
 * waits in sockets and all. */
enum { REFRESH_MS = 350 };

enum { NAMED_SETS = 1024, NAMED_WAYS = 4 }; /* a power of two; and so many in a cache line */

/* A session of files on this lane, found by the connection it records. */
struct lane_session {
	TAILQ_ENTRY(lane_session) link;
	uint64_t conn;
	struct sink_session *sinks;
	struct lane_thread *thread;
};

/* A user of a connection. */
struct allowed {
	uint64_t conn, user_id;
};

struct lane_thread {
	struct lane_thread_conf conf;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	int next_fd; /* a new worker's reply pipe; -1: none yet */
	bool ending, abandoned;
	uint64_t last_serial;
	struct lane_control *pending, **pending_end;
	struct allowed *allowed; /* who may be named */
	size_t allowed_count, allowed_cap;

	/* What both threads look at, neither writes with every message: it would change between
	 * their caches each time. */
	atomic_uint_fast64_t heard, pongs, newest_ns;
	atomic_uint_least32_t epoch_no; /* the latest */
	atomic_bool waits;              /* of the latest pong */
	atomic_bool waiting;

	/* the thread's own */
	int fd;
	bool ready; /* this worker has said READY */
	TAILQ_HEAD(, lane_session) sessions;
	struct map by_conn; /* the same */
	/* some of `allowed`: only this thread takes any away */
	struct allowed named[NAMED_SETS][NAMED_WAYS];
	struct sink_working working;
	unsigned sound; /* samples that nobody was told of yet */
	struct delivered
		delivered; /* lent to the network thread while this one waits for a worker */
	uint64_t ticked_ns;
};

static struct sink_session *session_of(struct lane_thread *t, uint64_t conn)
{
	const struct lane_session *s = map_get(&t->by_conn, conn);

	return s != NULL ? s->sinks : NULL;
}

/* ---- what the sinks say ---- */

static void on_sink_event(void *user, const struct sink_event *event)
{
	struct lane_session *s = user;

	s->thread->conf.ops.session_event(s->thread->conf.user, s->conn, event);
}

static void on_track(void *user, const struct sink_track_summary *track)
{
	struct lane_session *s = user;

	s->thread->conf.ops.session_track(s->thread->conf.user, s->conn, track);
}

/* ---- who may be named ---- */

/* Where a user is in the sorted list, or would be; the lock is held. */
static size_t allowed_index(const struct lane_thread *t, uint64_t conn, uint64_t user_id)
{
	size_t lo = 0, hi = t->allowed_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct allowed *a = &t->allowed[mid];

		if (a->conn < conn || (a->conn == conn && a->user_id < user_id))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool is_at(const struct lane_thread *t, size_t i, uint64_t conn, uint64_t user_id)
{
	return i < t->allowed_count && t->allowed[i].conn == conn &&
		t->allowed[i].user_id == user_id;
}

void lane_thread_allow(struct lane_thread *t, uint64_t conn, uint64_t user_id)
{
	size_t i;

	pthread_mutex_lock(&t->lock);
	i = allowed_index(t, conn, user_id);
	if (is_at(t, i, conn, user_id))
		goto out;
	if (t->allowed_count == t->allowed_cap) {
		size_t cap = t->allowed_cap > 0 ? t->allowed_cap * 2 : 16;
		struct allowed *bigger = reallocarray(t->allowed, cap, sizeof(*bigger));

		if (bigger == NULL)
			console_out_of_memory(); /* the worker would be taken for an impostor */
		t->allowed = bigger;
		t->allowed_cap = cap;
	}
	memmove(&t->allowed[i + 1], &t->allowed[i], (t->allowed_count - i) * sizeof(*t->allowed));
	t->allowed[i] = (struct allowed){ conn, user_id };
	t->allowed_count++;
out:
	pthread_mutex_unlock(&t->lock);
}

static void forget_allowed(struct lane_thread *t, uint64_t conn)
{
	size_t from, to;

	pthread_mutex_lock(&t->lock);
	from = allowed_index(t, conn, 0);
	to = allowed_index(t, conn + 1, 0);
	memmove(&t->allowed[from], &t->allowed[to], (t->allowed_count - to) * sizeof(*t->allowed));
	t->allowed_count -= to - from;
	pthread_mutex_unlock(&t->lock);
	memset(t->named, 0, sizeof(t->named));
}

/* Whether the worker may say this of this user, or of nobody: 0. */
static bool may_name(struct lane_thread *t, uint64_t conn, uint64_t user_id)
{
	struct allowed *known = t->named[map_hash(conn ^ user_id) % NAMED_SETS];
	bool may;

	if (conn == 0)
		return false;
	for (size_t i = 0; i < NAMED_WAYS; i++) {
		if (known[i].user_id == user_id && known[i].conn == conn)
			return true;
	}
	pthread_mutex_lock(&t->lock);
	may = is_at(t, allowed_index(t, conn, user_id), conn, user_id);
	pthread_mutex_unlock(&t->lock);
	if (may) {
		memmove(known + 1, known, (NAMED_WAYS - 1) * sizeof(*known));
		*known = (struct allowed){ conn, user_id };
	}
	return may;
}

/* ---- controls ---- */

static void session_open(struct lane_thread *t, struct lane_control *c)
{
	struct lane_session *s = calloc(1, sizeof(*s));
	int r = TD_ERR_NOMEM;

	if (s == NULL || map_get(&t->by_conn, c->conn) != NULL ||
		map_put(&t->by_conn, c->conn, s) != TD_OK)
		goto out;
	s->conn = c->conn;
	s->thread = t;
	c->conf.event = on_sink_event;
	c->conf.user = s;
	c->conf.working = &t->working;
	if ((r = sink_session_open(&s->sinks, &c->conf)) != TD_OK) {
		map_del(&t->by_conn, c->conn);
		goto out;
	}
	TAILQ_INSERT_HEAD(&t->sessions, s, link);
	s = NULL;
out:
	free(s);
	t->conf.ops.session_opened(t->conf.user, c->conn, r);
}

static void session_close(struct lane_thread *t, uint64_t conn, uint64_t end_ns, const char *reason)
{
	struct lane_session *s = map_get(&t->by_conn, conn);
	int r;

	if (s == NULL)
		return; /* it could not be opened, which was reported then */
	r = sink_session_close(s->sinks, end_ns, reason, on_track, s);
	map_del(&t->by_conn, conn);
	TAILQ_REMOVE(&t->sessions, s, link);
	free(s);
	delivered_forget(&t->delivered, conn);
	t->conf.ops.session_closed(t->conf.user, conn, r);
}

/* What came back is told once for many messages, and before whatever comes behind it. */
static void tell_sound(struct lane_thread *t)
{
	if (t->sound > 0)
		t->conf.ops.sound(t->conf.user, t->sound);
	t->sound = 0;
}

static void control_carry_out(struct lane_thread *t, struct lane_control *c)
{
	struct sink_session *sinks = session_of(t, c->conn);

	tell_sound(t);
	if (c->type == LANE_SESSION_OPEN) {
		session_open(t, c);
		return;
	}
	if (c->type == LANE_FORGET) {
		forget_allowed(t, c->conn);
		return;
	}
	if (c->type == LANE_SESSION_CLOSE) {
		session_close(t, c->conn, c->at_ns, c->text);
		return;
	}
	if (sinks == NULL)
		return; /* its folder could not be made, which was reported then */
	switch (c->type) {
	case LANE_SPEAKER:
		sink_session_speaker(sinks, c->user_id, c->ssrc, c->at_ns);
		break;
	case LANE_SPEAKER_LEFT:
		sink_session_speaker_left(sinks, c->user_id, c->at_ns);
		break;
	case LANE_PAUSE:
		sink_session_pause(sinks, c->at_ns);
		break;
	case LANE_RESUME:
		sink_session_resume(sinks, c->at_ns);
		break;
	case LANE_MARK:
		sink_session_mark(sinks, c->name, c->text, c->at_ns);
		break;
	case LANE_COUNT:
		sink_session_count(sinks, 0, 0, c->counters);
		break;
	case LANE_CODE:
		sink_session_code(sinks, c->epoch, c->text, c->members, c->member_count, c->at_ns);
		break;
	case LANE_SESSION_OPEN:
	case LANE_SESSION_CLOSE:
	case LANE_FORGET:
		break;
	}
}

void lane_control_free(struct lane_control *c)
{
	if (c == NULL)
		return;
	free(c->members);
	free(c);
}

uint64_t lane_thread_post(struct lane_thread *t, struct lane_control *c)
{
	uint64_t serial;

	pthread_mutex_lock(&t->lock);
	serial = c->serial = ++t->last_serial;
	c->next = NULL;
	*t->pending_end = c;
	t->pending_end = &c->next;
	if (t->abandoned)
		pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
	return serial; /* c may be carried out and freed by now */
}

void lane_thread_pending(struct lane_thread *t,
	void (*each)(void *user, uint64_t conn, uint64_t serial), void *user)
{
	struct lane_control *c;

	pthread_mutex_lock(&t->lock);
	for (c = t->pending; c != NULL; c = c->next)
		each(user, c->conn, c->serial);
	pthread_mutex_unlock(&t->lock);
}

/* The oldest control; the lock is held. */
static struct lane_control *control_pop(struct lane_thread *t)
{
	struct lane_control *c = t->pending;

	if (c != NULL && (t->pending = c->next) == NULL)
		t->pending_end = &t->pending;
	return c;
}

/* The oldest control, when it has this serial: echoes come in order or the worker is broken. */
static struct lane_control *control_take(struct lane_thread *t, uint64_t serial)
{
	struct lane_control *c = NULL;

	pthread_mutex_lock(&t->lock);
	if (t->pending != NULL && t->pending->serial == serial)
		c = control_pop(t);
	pthread_mutex_unlock(&t->lock);
	return c;
}

/* Of what only this thread writes. */
static void count_up(atomic_uint_fast64_t *n)
{
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
		memory_order_release);
}

/* ---- messages from the worker, which may have been taken over ---- */

/* Numbers that are too high would stand for the latest epochs, and push the real ones out of what
 * is known of their nonces. */
static bool is_epoch(const struct lane_thread *t, uint8_t flags, uint32_t no)
{
	return (flags & IPC_FRAME_DAVE_OPENED) == 0 ||
		no <= atomic_load_explicit(&t->epoch_no, memory_order_relaxed);
}

static int on_frame(struct lane_thread *t, const struct ipc_msg *msg)
{
	const struct ipc_frame *f = msg->body;
	struct sink_session *sinks = session_of(t, msg->hdr.conn);
	struct td_frame frame;

	if (f->samples == 0 || f->samples > 5760 || f->channels < 1 || f->channels > 2 ||
		f->kind >= IPC_FRAME_KINDS || msg->data_len != 2u * f->samples * f->channels ||
		f->recovered + f->concealed > f->lost || !is_epoch(t, f->flags, f->epoch_no) ||
		!may_name(t, msg->hdr.conn, f->user_id) ||
		f->arrival_ns > atomic_load_explicit(&t->newest_ns, memory_order_relaxed))
		return TD_ERR_MALFORMED;
	if (!delivered_frame(&t->delivered, msg->hdr.conn, f))
		return TD_OK;
	t->sound += f->samples;
	if (sinks == NULL)
		return TD_OK;
	frame = (struct td_frame){ .size = sizeof(frame),
		.user_id = f->user_id,
		.arrival_ns = f->arrival_ns,
		.sent_ns = f->sent_ns,
		.ssrc = f->ssrc,
		.rtp_ts = f->rtp_ts,
		.seq = f->seq,
		.samples = f->samples,
		.kind = f->kind,
		.channels = f->channels,
		.flags = (f->flags & IPC_FRAME_SPURT) != 0 ? TD_FRAME_SPURT : 0,
		.pcm = (const int16_t *)(const void *)msg->data };
	sink_session_frame(sinks, &frame);
	if (!t->conf.live)
		sink_session_tick(sinks, f->arrival_ns);
	return TD_OK;
}

static int on_opus(struct lane_thread *t, const struct ipc_msg *msg)
{
	const struct ipc_opus *o = msg->body;
	struct sink_session *sinks = session_of(t, msg->hdr.conn);
	struct td_packet packet;

	if (o->samples == 0 || o->samples > 5760 || msg->data_len == 0 ||
		opus_packet_samples(msg->data, msg->data_len) != o->samples || o->lost > MAX_LOST ||
		!is_epoch(t, o->flags, o->epoch_no) || !may_name(t, msg->hdr.conn, o->user_id) ||
		o->arrival_ns > atomic_load_explicit(&t->newest_ns, memory_order_relaxed))
		return TD_ERR_MALFORMED;
	if (!delivered_opus(&t->delivered, msg->hdr.conn, o))
		return TD_OK;
	if (!t->conf.decodes)
		t->sound += o->samples;
	if (sinks == NULL)
		return TD_OK;
	packet = (struct td_packet){ .size = sizeof(packet),
		.user_id = o->user_id,
		.arrival_ns = o->arrival_ns,
		.sent_ns = o->sent_ns,
		.ssrc = o->ssrc,
		.rtp_ts = o->rtp_ts,
		.samples = o->samples,
		.lost = o->lost,
		.seq = o->seq,
		.silence = opus_packet_is_silence(msg->data, msg->data_len),
		.flags = (o->flags & IPC_FRAME_SPURT) != 0 ? TD_FRAME_SPURT : 0,
		.len = (uint32_t)msg->data_len,
		.data = msg->data };
	sink_session_packet(sinks, &packet);
	if (!t->conf.live)
		sink_session_tick(sinks, o->arrival_ns);
	return TD_OK;
}

static int on_rtcp(struct lane_thread *t, const struct ipc_msg *msg)
{
	const struct ipc_rtcp *rtcp = msg->body;
	struct sink_session *sinks = session_of(t, msg->hdr.conn);
	uint32_t ssrc;

	if (rtcp_check(msg->data, msg->data_len, &ssrc) != TD_OK || ssrc != rtcp->ssrc ||
		!may_name(t, msg->hdr.conn, rtcp->user_id) ||
		rtcp->arrival_ns > atomic_load_explicit(&t->newest_ns, memory_order_relaxed))
		return TD_ERR_MALFORMED;
	if (sinks != NULL)
		sink_session_rtcp(sinks, rtcp->arrival_ns, rtcp->user_id, rtcp->ssrc, msg->data,
			msg->data_len);
	return TD_OK;
}

static int on_counters(struct lane_thread *t, const struct ipc_msg *msg)
{
	const struct ipc_counters *c = msg->body;
	struct sink_session *sinks = session_of(t, msg->hdr.conn);

	if (!may_name(t, msg->hdr.conn, c->user_id) ||
		c->arrival_ns > atomic_load_explicit(&t->newest_ns, memory_order_relaxed))
		return TD_ERR_MALFORMED;
	t->conf.ops.counted(t->conf.user, c->delta);
	if (c->ssrc != 0)
		delivered_counted(&t->delivered, msg->hdr.conn, c);
	if (c->user_id != 0 && c->delta[COUNTER_DAVE_OPENED] == 0 &&
		c->delta[COUNTER_DAVE_NO_KEY] + c->delta[COUNTER_DAVE_AUTH] > 0)
		t->conf.ops.failing(t->conf.user, msg->hdr.conn, c->user_id);
	if (sinks != NULL)
		sink_session_count(sinks, c->ssrc, c->user_id, c->delta);
	return TD_OK;
}

static int on_control_echo(struct lane_thread *t, const struct ipc_msg *msg)
{
	const struct ipc_control *body = msg->body;
	struct lane_control *c = control_take(t, body->serial);

	if (c == NULL)
		return TD_ERR_MALFORMED;
	control_carry_out(t, c);
	lane_control_free(c);
	return TD_OK;
}

static int on_ready(struct lane_thread *t, const struct ipc_msg *msg)
{
	const struct ipc_hello *hello = msg->body;

	if (t->ready || hello->version != IPC_VERSION || hello->hdr_size != sizeof(struct ipc_hdr))
		return TD_ERR_MALFORMED;
	t->ready = true;
	return TD_OK;
}

static int dispatch(struct lane_thread *t, const struct ipc_msg *msg)
{
	const struct ipc_log *text = msg->body;
	const struct ipc_pong *pong = msg->body;

	if (!t->ready && msg->hdr.type != IPC_READY && msg->hdr.type != IPC_LOG)
		return TD_ERR_MALFORMED;
	switch (msg->hdr.type) {
	case IPC_READY:
		return on_ready(t, msg);
	case IPC_FRAME:
		return on_frame(t, msg);
	case IPC_OPUS:
		return on_opus(t, msg);
	case IPC_COUNTERS:
		return on_counters(t, msg);
	case IPC_CONTROL_ECHO:
		return on_control_echo(t, msg);
	case IPC_RTCP:
		return on_rtcp(t, msg);
	case IPC_LOG:
		td_log(text->level <= TD_LOG_DEBUG ? (enum td_log_level)text->level : TD_LOG_WARN,
			"unpacker: %.*s", (int)msg->data_len, (const char *)msg->data);
		return TD_OK;
	case IPC_PONG:
		atomic_store_explicit(&t->waits, pong->waits != 0, memory_order_relaxed);
		count_up(&t->pongs);
		return TD_OK;
	}
	return TD_ERR_MALFORMED;
}

/* ---- the thread ---- */

/* Files are kept valid whether or not anybody speaks. */
static void tick_sessions(struct lane_thread *t)
{
	uint64_t now_ns = td_mono_ns();
	struct lane_session *s;

	if (!t->conf.live || now_ns - t->ticked_ns < REFRESH_MS * TD_MS_NS)
		return;
	t->ticked_ns = now_ns;
	TAILQ_FOREACH(s, &t->sessions, link)
	sink_session_tick(s->sinks, now_ns);
}

/* As read(2) on the reply pipe, with the sessions ticked while it waits. */
static ssize_t read_ticking(struct lane_thread *t, uint8_t *room, size_t len)
{
	for (;;) {
		struct pollfd pfd = { .fd = t->fd, .events = POLLIN };
		ssize_t n;
		int ready;

		atomic_store(&t->waiting, true);
		ready = poll(&pfd, 1, !TAILQ_EMPTY(&t->sessions) ? 500 : -1);
		atomic_store(&t->waiting, false);
		tick_sessions(t);
		if (ready <= 0)
			continue;
		n = read(t->fd, room, len);
		if (n < 0 && errno == EINTR)
			continue;
		return n;
	}
}

/* Reads one worker's replies to their end; returns what was wrong with them, "" for a plain end. */
static const char *serve_worker(struct lane_thread *t)
{
	struct ipc_reader *reader = NULL;
	struct ipc_msg msg;
	const char *why = "";
	size_t room_len;
	uint8_t *room;
	ssize_t n;
	int r = 0;

	if (ipc_reader_new(&reader, IPC_TO_RECEIVER) != TD_OK)
		return "out of memory";
	t->ready = false;
	for (;;) {
		room = ipc_reader_room(reader, &room_len);
		if ((n = read_ticking(t, room, room_len)) <= 0)
			break;
		ipc_reader_fed(reader, (size_t)n);
		count_up(&t->heard);
		while ((r = ipc_reader_next(reader, &msg)) == 1) {
			if ((r = dispatch(t, &msg)) != TD_OK)
				break;
		}
		tell_sound(t);
		if (r != 0) {
			why = "sent a malformed message";
			break;
		}
	}
	ipc_reader_free(reader);
	return why;
}

static int next_worker(struct lane_thread *t)
{
	int fd;

	pthread_mutex_lock(&t->lock);
	while (t->next_fd < 0 && !t->ending) {
		struct lane_control *c = t->abandoned ? control_pop(t) : NULL;

		if (c == NULL) {
			pthread_cond_wait(&t->changed, &t->lock);
			continue;
		}
		pthread_mutex_unlock(&t->lock);
		control_carry_out(t, c);
		lane_control_free(c);
		pthread_mutex_lock(&t->lock);
	}
	fd = t->next_fd;
	t->next_fd = -1;
	pthread_mutex_unlock(&t->lock);
	return fd;
}

/* What came back and was not counted any more. */
static void count_delivered(void *user, uint64_t conn, uint32_t ssrc, uint64_t user_id,
	const uint64_t delta[static COUNTER_COUNT])
{
	struct lane_thread *t = user;
	struct sink_session *sinks = session_of(t, conn);

	t->conf.ops.counted(t->conf.user, delta);
	if (sinks != NULL)
		sink_session_count(sinks, ssrc, user_id, delta);
}

enum delivered_state lane_thread_delivered(const struct lane_thread *t, uint64_t conn,
	uint32_t ssrc, uint16_t seq, uint64_t at_ns)
{
	return delivered_look(&t->delivered, conn, ssrc, seq, at_ns);
}

void lane_thread_used(const struct lane_thread *t, uint64_t conn, uint32_t epoch_no,
	delivered_nonces *each, void *user)
{
	delivered_used(&t->delivered, conn, epoch_no, each, user);
}

static void *lane_thread_run(void *arg)
{
	struct lane_thread *t = arg;

	while ((t->fd = next_worker(t)) >= 0) {
		const char *why = serve_worker(t);

		close(t->fd);
		delivered_worker_lost(&t->delivered, count_delivered, t);
		t->conf.worker_down(t->conf.worker_user, why);
	}
	while (!TAILQ_EMPTY(&t->sessions))
		session_close(t, TAILQ_FIRST(&t->sessions)->conn, 0, "aborted");
	return NULL;
}

int lane_thread_new(struct lane_thread **ret, const struct lane_thread_conf *conf)
{
	struct lane_thread *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return TD_ERR_NOMEM;
	t->conf = *conf;
	t->delivered.decodes = conf->decodes;
	t->next_fd = -1;
	t->pending_end = &t->pending;
	TAILQ_INIT(&t->sessions);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->changed, NULL);
	if (pthread_create(&t->thread, NULL, lane_thread_run, t) != 0) {
		free(t);
		return TD_ERR_SYS;
	}
	*ret = t;
	return TD_OK;
}

void lane_thread_end(struct lane_thread *t)
{
	pthread_mutex_lock(&t->lock);
	t->ending = true;
	pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

void lane_thread_free(struct lane_thread *t)
{
	struct lane_control *c;

	if (t == NULL)
		return;
	lane_thread_end(t);
	pthread_join(t->thread, NULL);
	while ((c = t->pending) != NULL) {
		t->pending = c->next;
		lane_control_free(c);
	}
	delivered_free(&t->delivered);
	map_free(&t->by_conn);
	free(t->allowed);
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void lane_thread_abandon(struct lane_thread *t)
{
	pthread_mutex_lock(&t->lock);
	t->abandoned = true;
	pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

void lane_thread_worker(struct lane_thread *t, int reply_fd)
{
	pthread_mutex_lock(&t->lock);
	t->next_fd = reply_fd;
	pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

void lane_thread_newest(struct lane_thread *t, uint64_t arrival_ns)
{
	atomic_store_explicit(&t->newest_ns, arrival_ns, memory_order_relaxed);
}

void lane_thread_epoch(struct lane_thread *t, uint32_t no)
{
	atomic_store_explicit(&t->epoch_no, no, memory_order_relaxed);
}

uint64_t lane_thread_heard(const struct lane_thread *t)
{
	return atomic_load(&t->heard);
}

const char *lane_thread_working(const struct lane_thread *t, uint64_t *ret_since_ns)
{
	const char *name = atomic_load_explicit(&t->working.name, memory_order_acquire);

	*ret_since_ns = atomic_load_explicit(&t->working.since_ns, memory_order_relaxed);
	return name;
}

bool lane_thread_waiting(const struct lane_thread *t)
{
	return atomic_load(&t->waiting);
}

uint64_t lane_thread_pongs(const struct lane_thread *t, bool *ret_waits)
{
	uint64_t n = atomic_load(&t->pongs);

	*ret_waits = atomic_load_explicit(&t->waits, memory_order_relaxed);
	return n;
}
