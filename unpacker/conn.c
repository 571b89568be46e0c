/* SPDX-License-Identifier: ISC */
#include "unpacker/conn.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/rtcp.h"
#include "common/rtp.h"
#include "common/transport.h"
#include "unpacker/hold.h"

#define GONE_NS (2 * TD_SEC_NS) /* how long a leaver's packets may be under way */
#define OLD_KEY_NS (2 * TD_SEC_NS)
#define UNOPENED_NS (500 * TD_MS_NS)
#define COUNTERS_NS (1 * TD_SEC_NS)
#define MAX_WAIT_NS (3600 * TD_SEC_NS) /* far past sense, and sums of times still fit */

struct source {
	TAILQ_ENTRY(source) link;
	uint64_t user_id; /* 0: not named */
	uint32_t ssrc;
	struct source_list *list; /* of the connection's lists, the one it is in */
	uint64_t gone_until_ns; /* the user left: until then late packets are still theirs; 0: here
	                         */
	struct stream *stream;  /* at most one of these two */
	struct hold *hold;
	uint64_t hold_due_ns;
	/* As of the last time something happened to it: */
	uint64_t due_ns;         /* REORDER_NEVER: nothing waits, and it is not in the heap */
	uint64_t order;          /* at the same time, the lower one is due first */
	size_t at;               /* in the heap */
	size_t waiting;          /* packets, in its stream */
	struct stream_done done; /* of its last stream */
	uint64_t count[COUNTER_COUNT];
};

/* ---- counters ---- */

static void drop_unopened(struct conn *c);

static int source_send_counters(struct conn *c, struct source *src)
{
	struct stream_done done = src->stream != NULL ? stream_done(src->stream) : src->done;

	return stream_conf_tell(&c->conf, src->user_id, src->ssrc, &done, src->count);
}

int conn_send_counters(struct conn *c)
{
	struct stream_done done = { .arrival_ns = c->now_ns };
	struct source *src;
	int r;

	drop_unopened(c);
	r = stream_conf_tell(&c->conf, 0, 0, &done, c->count);
	/* What waits for a name is counted under that name, not under none. */
	TAILQ_FOREACH(src, &c->active, link)
	{
		if (r == TD_OK)
			r = source_send_counters(c, src);
	}
	c->counters_due_ns = REORDER_NEVER;
	return r;
}

int conn_settle(struct conn *c, bool *ret)
{
	struct stream_done done = { .arrival_ns = c->now_ns };
	bool waits = c->holds > 0 || c->unopened.count > 0;
	struct source *src;
	int r = stream_conf_tell(&c->conf, 0, 0, &done, c->count);

	TAILQ_FOREACH(src, &c->active, link)
	{
		if (r == TD_OK)
			r = stream_tell_quiet(src->stream);
		waits = waits || src->stream->sealed > 0 || src->stream->stray != NULL;
	}
	if (r == TD_OK)
		*ret = waits;
	return r;
}

/* ---- deadlines ---- */

/* Something was counted at now_ns: the counters leave a second later, however time is told. */
static void touch(struct conn *c)
{
	if (c->counters_due_ns == REORDER_NEVER)
		c->counters_due_ns = c->now_ns + COUNTERS_NS;
}

static bool is_before(const struct source *a, const struct source *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void heap_set(struct conn *c, size_t at, struct source *src)
{
	c->due[at] = src;
	src->at = at;
}

/* Finds src its place, up or down from the free one. */
static void heap_sift(struct conn *c, size_t at, struct source *src)
{
	size_t child;

	for (; at > 0 && is_before(src, c->due[(at - 1) / 2]); at = (at - 1) / 2)
		heap_set(c, at, c->due[(at - 1) / 2]);
	for (; (child = 2 * at + 1) < c->due_len; at = child) {
		if (child + 1 < c->due_len && is_before(c->due[child + 1], c->due[child]))
			child++;
		if (!is_before(c->due[child], src))
			break;
		heap_set(c, at, c->due[child]);
	}
	heap_set(c, at, src);
}

/* Before one more stream or hold: whatever is due when, the heap has room. */
static int heap_reserve(struct conn *c)
{
	size_t cap = c->due_cap > 0 ? c->due_cap * 2 : 4;
	struct source **due;

	if (c->streams + c->holds < c->due_cap)
		return TD_OK;
	if ((due = reallocarray(c->due, cap, sizeof(struct source *))) == NULL)
		return TD_ERR_NOMEM;
	c->due = due;
	c->due_cap = cap;
	return TD_OK;
}

/* Something has happened to src: when it is due now, and what waits in it. */
static void reschedule(struct conn *c, struct source *src)
{
	bool was_in = src->due_ns != REORDER_NEVER;
	size_t waiting = src->stream != NULL ? src->stream->reorder.waiting : 0;

	c->waiting += waiting - src->waiting;
	src->waiting = waiting;
	if (src->stream != NULL)
		src->due_ns = stream_due(src->stream);
	else
		src->due_ns = src->hold != NULL ? src->hold_due_ns : REORDER_NEVER;
	if (src->due_ns != REORDER_NEVER) {
		heap_sift(c, was_in ? src->at : c->due_len++, src);
	} else if (was_in) {
		struct source *last = c->due[--c->due_len];

		if (last != src)
			heap_sift(c, src->at, last);
	}
}

/* ---- sources ---- */

static void list_in(struct source *src, struct source_list *list)
{
	TAILQ_REMOVE(src->list, src, link);
	src->list = list;
	TAILQ_INSERT_TAIL(list, src, link);
}

static int source_new(struct source **ret, struct conn *c, uint32_t ssrc, uint64_t user_id)
{
	struct source *src = calloc(1, sizeof(*src));

	if (src == NULL || map_put(&c->sources, ssrc, src) != TD_OK) {
		free(src);
		return TD_ERR_NOMEM;
	}
	src->ssrc = ssrc;
	src->user_id = user_id;
	src->due_ns = REORDER_NEVER;
	src->list = &c->named;
	TAILQ_INSERT_TAIL(src->list, src, link);
	*ret = src;
	return TD_OK;
}

static void count_dropped(struct source *src, size_t n)
{
	for (; n > 0; n--)
		ipc_count_packet(src->count, COUNTER_HELD_DROPPED, 0);
}

/* Gives back what the source holds, counting what is lost by it. */
static void source_clear(struct conn *c, struct source *src)
{
	if (src->stream != NULL) {
		c->streams--;
		c->unnamed -= src->user_id == 0;
	}
	if (src->stream != NULL)
		src->done = stream_done(src->stream);
	if (src->hold != NULL) {
		c->holds--;
		count_dropped(src, hold_clear(src->hold));
	}
	stream_free(src->stream);
	free(src->hold);
	src->stream = NULL;
	src->hold = NULL;
	reschedule(c, src);
}

static void source_free(struct conn *c, struct source *src)
{
	source_clear(c, src);
	TAILQ_REMOVE(src->list, src, link);
	map_del(&c->sources, src->ssrc);
	free(src);
}

/* Room for one more stream: of a user, or of nobody in particular. Where packets wait for no name,
 * none is missed. */
static bool has_room(const struct conn *c, uint64_t user_id)
{
	return c->streams < CONN_MAX_STREAMS &&
		(user_id != 0 || c->hold_ns == 0 || c->unnamed < CONN_MAX_UNNAMED);
}

static int source_start(struct conn *c, struct source *src)
{
	int r = heap_reserve(c);

	if (r != TD_OK || (r = stream_new(&src->stream, &c->conf, src->ssrc, src->count)) != TD_OK)
		return r;
	src->stream->user_id = src->user_id;
	c->streams++;
	c->unnamed += src->user_id == 0;
	src->order = ++c->order;
	list_in(src, &c->active);
	return TD_OK;
}

/* After a packet: too many wait, and many of them here. Whoever fills the memory with what it does
 * not complete has waited long enough. */
static int source_relieve(struct conn *c, struct source *src)
{
	int r = TD_OK;

	if (c->waiting > CONN_MAX_WAITING && src->waiting > CONN_SHARE_WAITING) {
		r = stream_relieve(src->stream);
		reschedule(c, src);
	}
	return r;
}

/* The end of waiting for a name, with or without one: the packets become a stream, as if they came
 * now what they came then. */
static int source_release(struct conn *c, struct source *src)
{
	struct hold *hold = src->hold;
	struct packet *p;
	int r;

	if (!has_room(c, src->user_id)) {
		source_clear(c, src);
		return TD_OK;
	}
	if ((r = source_start(c, src)) != TD_OK)
		return r;
	src->hold = NULL;
	c->holds--;
	while (r == TD_OK && (p = hold_pop(hold)) != NULL) {
		p->flags |= IPC_FRAME_HELD;
		r = stream_packet(src->stream, p);
		free(p);
	}
	reschedule(c, src);
	touch(c);
	hold_clear(hold);
	free(hold);
	return r;
}

/* Everything that waits leaves, the stream ends; who has a user stays known. */
static int source_finish(struct conn *c, struct source *src)
{
	int r = TD_OK;

	if (src->hold != NULL)
		r = source_release(c, src);
	if (r == TD_OK && src->stream != NULL)
		r = stream_finish(src->stream);
	source_clear(c, src);
	if (r == TD_OK)
		r = source_send_counters(c, src);
	if (src->user_id == 0)
		source_free(c, src);
	else if (src->list != &c->named)
		list_in(src, &c->named);
	return r;
}

static int source_advance(struct conn *c, struct source *src, uint64_t now_ns)
{
	int r;

	if (src->stream != NULL) {
		r = stream_advance(src->stream, now_ns);
		reschedule(c, src);
		return r;
	}
	r = source_release(c, src);
	if (r == TD_OK && src->stream == NULL)
		r = source_finish(c, src);
	return r;
}

int conn_advance(struct conn *c, uint64_t now_ns)
{
	int r = TD_OK;

	while (r == TD_OK) {
		struct source *first = c->due_len > 0 ? c->due[0] : NULL;
		uint64_t due = c->counters_due_ns;

		/* At the same time, sound leaves before what counts it. */
		if (first != NULL && first->due_ns <= due)
			due = first->due_ns;
		else
			first = NULL;
		/* Before the keys go, what could wait for them has left. */
		if (dave_stage_due(&c->dave) < due) {
			due = dave_stage_due(&c->dave);
			if (due > now_ns)
				break;
			dave_stage_advance(&c->dave, due);
			continue;
		}
		if (due > now_ns || due == REORDER_NEVER)
			break;
		if (due > c->now_ns)
			c->now_ns = due;
		if (first == NULL) {
			r = conn_send_counters(c);
			continue;
		}
		r = source_advance(c, first, due);
		touch(c);
	}
	if (now_ns > c->now_ns)
		c->now_ns = now_ns;
	return r;
}

/* ---- packets ---- */

/* Of those that wait for a name, the oldest of those with the fewest packets: somebody who speaks
 * has more to lose than one of many SSRCs that were made up. There is one. */
static struct source *cheapest_hold(struct conn *c)
{
	struct source *src, *least = TAILQ_FIRST(&c->held);

	TAILQ_FOREACH(src, &c->held, link)
	{
		if (src->hold->len < least->hold->len)
			least = src;
	}
	return least;
}

/* Keeps a packet of an SSRC that nobody was named for. */
static int hold_packet(struct conn *c, struct source *src, const struct packet *p)
{
	struct source *victim;
	size_t dropped;
	int r;

	if (src->hold == NULL) {
		if (c->holds >= CONN_MAX_HELD) {
			victim = cheapest_hold(c);
			source_clear(c, victim);
			if ((r = source_finish(c, victim)) != TD_OK)
				return r;
		}
		if ((r = heap_reserve(c)) != TD_OK)
			return r;
		if ((src->hold = calloc(1, sizeof(*src->hold))) == NULL)
			return TD_ERR_NOMEM;
		c->holds++;
		src->hold_due_ns = p->arrival_ns + c->hold_ns;
		src->order = ++c->order;
		list_in(src, &c->held);
		reschedule(c, src);
	}
	if ((r = hold_push(src->hold, p, &dropped)) != TD_OK)
		return r;
	count_dropped(src, dropped);
	return TD_OK;
}

/* A packet that opened: to its stream, or to wait for its speaker. */
static int source_packet(struct conn *c, const struct rtp_header *h, const struct packet *p)
{
	struct source *src = map_get(&c->sources, h->ssrc);
	bool wait;
	int r;

	if (src != NULL && src->gone_until_ns != 0 && src->gone_until_ns <= p->arrival_ns) {
		if ((r = source_finish(c, src)) != TD_OK)
			return r;
		source_free(c, src);
		src = NULL;
	}
	wait = c->hold_ns > 0 && (src == NULL || src->user_id == 0);

	if (src == NULL || src->stream == NULL) {
		if ((!wait && !has_room(c, src != NULL ? src->user_id : 0)) ||
			(src == NULL && c->sources.len >= CONN_MAX_SOURCES)) {
			c->count[COUNTER_STREAM_LIMIT]++;
			return TD_OK;
		}
		if (src == NULL && (r = source_new(&src, c, h->ssrc, 0)) != TD_OK)
			return r;
		if (wait)
			return hold_packet(c, src, p);
		if ((r = source_start(c, src)) != TD_OK)
			return r;
	}
	r = stream_packet(src->stream, p);
	reschedule(c, src);
	return r == TD_OK ? source_relieve(c, src) : r;
}

/* With the key in force, or for a moment with the one before it: the server's datagrams overtake
 * its word of a new key, and are overtaken by it. */
static int open_datagram(struct conn *c, uint64_t arrival_ns, uint8_t *plain, size_t *ret_len,
	const uint8_t *data, size_t len, size_t aad_len)
{
	int r = transport_open(c->transport, plain, ret_len, data, len, aad_len);

	if (r == TD_ERR_AUTH && c->old_transport != NULL && arrival_ns < c->old_until_ns)
		r = transport_open(c->old_transport, plain, ret_len, data, len, aad_len);
	return r;
}

/* What is not going to be opened any more. */
static void drop_unopened(struct conn *c)
{
	c->count[COUNTER_AUTH] += c->unopened.count;
	early_clear(&c->unopened);
}

static void count_failure(struct conn *c, int error)
{
	c->count[error == TD_ERR_TRUNCATED ? COUNTER_SHORT : COUNTER_AUTH]++;
}

static int rtp_datagram(struct conn *c, uint64_t arrival_ns, uint32_t flags, const uint8_t *data,
	size_t len)
{
	struct packet p = {
		.arrival_ns = arrival_ns,
		.plain_ok = dave_stage_takes_plain(&c->dave, arrival_ns),
		.again = (flags & IPC_PACKET_AGAIN) != 0,
		.opened = (flags & IPC_PACKET_OPENED) != 0,
		.counted = (flags & IPC_PACKET_COUNTED) != 0,
		.undecoded = (flags & IPC_PACKET_UNDECODED) != 0,
	};
	struct rtp_header h;
	size_t plain_len, payload_len;
	int r;

	if (rtp_parse(&h, data, len) != TD_OK) {
		c->count[COUNTER_SHORT]++; /* the version was looked at before */
		return TD_OK;
	}
	if (h.payload_type != RTP_OPUS_PAYLOAD_TYPE) {
		c->count[COUNTER_OTHER_PAYLOAD]++;
		return TD_OK;
	}
	if (h.ssrc == c->own_ssrc && c->own_ssrc != 0) {
		c->count[COUNTER_OWN]++;
		return TD_OK;
	}
	if (c->transport == NULL) {
		c->count[COUNTER_NO_KEY]++;
		return TD_OK;
	}
	r = open_datagram(c, arrival_ns, c->scratch->plain, &plain_len, data, len, h.clear_len);
	if (r == TD_ERR_AUTH) {
		c->count[COUNTER_AUTH] += early_put(&c->unopened, arrival_ns, flags, data, len);
		return TD_OK;
	}
	if (r != TD_OK) {
		count_failure(c, r);
		return TD_OK;
	}
	if (rtp_payload(&h, c->scratch->plain, plain_len, &p.data, &payload_len) != TD_OK) {
		c->count[COUNTER_BAD_PADDING]++;
		return TD_OK;
	}
	p.seq = h.sequence;
	p.ts = h.timestamp;
	p.len = (uint16_t)payload_len;
	return source_packet(c, &h, &p);
}

static int rtcp_datagram(struct conn *c, uint64_t arrival_ns, const uint8_t *data, size_t len)
{
	struct ipc_rtcp m = { .arrival_ns = arrival_ns };
	const struct source *src;
	size_t plain_len;
	int r;

	if (c->transport == NULL) {
		c->count[COUNTER_NO_KEY]++;
		return TD_OK;
	}
	r = open_datagram(c, arrival_ns, c->scratch->plain + RTCP_CLEAR_LEN, &plain_len, data, len,
		RTCP_CLEAR_LEN);
	if (r != TD_OK) {
		count_failure(c, r);
		return TD_OK;
	}
	memcpy(c->scratch->plain, data, RTCP_CLEAR_LEN);
	plain_len += RTCP_CLEAR_LEN;
	if (rtcp_check(c->scratch->plain, plain_len, &m.ssrc) != TD_OK) {
		c->count[COUNTER_RTCP_BAD]++;
		return TD_OK;
	}
	c->count[COUNTER_RTCP]++;
	if ((c->conf.want & IPC_WANT_RTCP) == 0)
		return TD_OK;
	src = map_get(&c->sources, m.ssrc);
	m.user_id = src != NULL ? src->user_id : 0;
	return ipc_queue_put(c->conf.out, IPC_RTCP, c->conf.conn, &m, sizeof(m), c->scratch->plain,
		plain_len);
}

int conn_packet(struct conn *c, uint64_t arrival_ns, uint32_t flags, const uint8_t *data,
	size_t len)
{
	int r;

	if ((r = conn_advance(c, arrival_ns)) != TD_OK)
		return r;
	touch(c);
	switch (datagram_classify(data, len)) {
	case DATAGRAM_RTP:
		return rtp_datagram(c, c->now_ns, flags, data, len);
	case DATAGRAM_RTCP:
		return rtcp_datagram(c, c->now_ns, data, len);
	case DATAGRAM_DISCOVERY:
	case DATAGRAM_KEEPALIVE:
		c->count[COUNTER_NOT_VOICE]++;
		break;
	case DATAGRAM_SHORT:
		c->count[COUNTER_SHORT]++;
		break;
	case DATAGRAM_BAD_VERSION:
		c->count[COUNTER_BAD_VERSION]++;
		break;
	}
	return TD_OK;
}

/* ---- what the receiver says ---- */

int conn_new(struct conn **ret, uint64_t id, const struct ipc_conn_open *open,
	struct ipc_queue *out, struct decoder_pool *pool, struct conn_scratch *scratch)
{
	struct conn *c;

	if (open->channels < 1 || open->channels > 2)
		return TD_ERR_MALFORMED;
	if ((c = calloc(1, sizeof(*c))) == NULL)
		return TD_ERR_NOMEM;
	c->conf = (struct stream_conf){
		.out = out,
		.pool = pool,
		.dave = &c->dave,
		.conn = id,
		.reorder_ns = open->reorder_ns < MAX_WAIT_NS ? open->reorder_ns : MAX_WAIT_NS,
		.want = open->want,
		.channels = (int)open->channels,
	};
	c->hold_ns = open->hold_ns < MAX_WAIT_NS ? open->hold_ns : MAX_WAIT_NS;
	c->scratch = scratch;
	dave_stage_init(&c->dave, c->hold_ns, scratch->opened);
	c->counters_due_ns = REORDER_NEVER;
	TAILQ_INIT(&c->active);
	TAILQ_INIT(&c->held);
	TAILQ_INIT(&c->named);
	*ret = c;
	return TD_OK;
}

static void forget_sources(struct conn *c)
{
	struct source_list *lists[] = { &c->active, &c->held, &c->named };
	size_t i;

	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		while (!TAILQ_EMPTY(lists[i]))
			source_free(c, TAILQ_FIRST(lists[i]));
	}
}

void conn_free(struct conn *c)
{
	if (c == NULL)
		return;
	forget_sources(c);
	map_free(&c->sources);
	early_clear(&c->unopened);
	transport_free(c->old_transport);
	transport_free(c->transport);
	dave_stage_reset(&c->dave);
	free(c->due);
	free(c);
}

/* What came shortly before its key, in order. What still does not open is done with. */
static int retry_unopened(struct conn *c)
{
	struct early waiting = c->unopened;
	struct early_datagram *d;
	int r = TD_OK;

	c->unopened = (struct early){ 0 };
	while ((d = early_take(&waiting)) != NULL) {
		if (r == TD_OK && d->arrival_ns + UNOPENED_NS > c->now_ns)
			r = rtp_datagram(c, d->arrival_ns, d->flags, d->data, d->len);
		else
			c->count[COUNTER_AUTH]++;
		free(d);
	}
	drop_unopened(c);
	touch(c);
	return r;
}

int conn_key(struct conn *c, const struct ipc_key *key)
{
	struct transport *t;
	int r = transport_new(&t, (enum transport_mode)key->mode, key->key);

	if (r != TD_OK)
		return r == TD_ERR_UNSUPPORTED ? TD_ERR_MALFORMED : r;
	transport_free(c->old_transport);
	c->old_transport = c->transport;
	c->old_until_ns = c->now_ns + OLD_KEY_NS;
	c->transport = t;
	c->own_ssrc = key->own_ssrc;
	return retry_unopened(c);
}

static int source_retry(struct conn *c, struct source *src, bool new_epoch, uint64_t at_ns)
{
	int r;

	if (src->stream->sealed == 0)
		return TD_OK;
	r = stream_retry(src->stream, new_epoch, at_ns, c->now_ns);
	reschedule(c, src);
	touch(c);
	return r;
}

int conn_dave_epoch(struct conn *c, const struct ipc_dave_epoch *e, const uint8_t *senders,
	size_t count)
{
	struct source *src;
	int r = dave_stage_epoch(&c->dave, e, senders, count);

	TAILQ_FOREACH(src, &c->active, link)
	{
		if (r == TD_OK && count > 0)
			r = source_retry(c, src, true, e->at_ns);
	}
	return r == TD_OK ? conn_advance(c, c->now_ns) : r;
}

void conn_dave_passthrough(struct conn *c, uint64_t until_ns)
{
	c->dave.plain_until_ns = until_ns;
}

int conn_speaker(struct conn *c, uint32_t ssrc, uint64_t user_id)
{
	struct source *src = map_get(&c->sources, ssrc);
	int r = TD_OK;

	if (user_id == 0 || (src == NULL && c->sources.len >= CONN_MAX_SOURCES)) {
		log_warn("conn %llu: speaker of ssrc %u ignored", (unsigned long long)c->conf.conn,
			(unsigned)ssrc);
		return TD_OK;
	}
	if (src == NULL)
		return source_new(&src, c, ssrc, user_id);
	src->gone_until_ns = 0;
	if (src->user_id == user_id)
		return TD_OK;
	/* Not one frame of one user under another's name, nor a packet counted under it. */
	if (src->user_id != 0)
		r = source_finish(c, src);
	else if (src->stream != NULL)
		r = source_send_counters(c, src);
	if (r != TD_OK)
		return r;
	if (src->stream != NULL && src->user_id == 0)
		c->unnamed--;
	src->user_id = user_id;
	if (src->stream != NULL) {
		src->stream->user_id = user_id;
		if ((r = source_retry(c, src, false, 0)) != TD_OK)
			return r;
	}
	if (src->hold != NULL && (r = source_release(c, src)) == TD_OK && src->stream == NULL)
		r = source_finish(c, src);
	/* What the packets brought along may be due by now. */
	return r == TD_OK ? conn_advance(c, c->now_ns) : r;
}

/* Those whose last packets must be here by now. */
static void forget_gone(struct conn *c)
{
	struct source *src, *next;

	for (src = TAILQ_FIRST(&c->named); src != NULL; src = next) {
		next = TAILQ_NEXT(src, link);
		if (src->gone_until_ns != 0 && src->gone_until_ns <= c->now_ns)
			source_free(c, src);
	}
}

int conn_speaker_gone(struct conn *c, uint64_t user_id)
{
	struct source_list *lists[] = { &c->active, &c->named }; /* those held are nobody's */
	struct source *src, *next;
	int i, r = TD_OK;

	forget_gone(c);
	for (i = 0; user_id != 0 && i < 2; i++) {
		for (src = TAILQ_FIRST(lists[i]); src != NULL && r == TD_OK; src = next) {
			next = TAILQ_NEXT(src, link);
			if (src->user_id != user_id)
				continue;
			r = source_finish(c, src);
			src->gone_until_ns = c->now_ns + GONE_NS;
		}
	}
	return r;
}

int conn_flush(struct conn *c)
{
	int r = TD_OK;

	while (r == TD_OK && !TAILQ_EMPTY(&c->held))
		r = source_finish(c, TAILQ_FIRST(&c->held));
	while (r == TD_OK && !TAILQ_EMPTY(&c->active))
		r = source_finish(c, TAILQ_FIRST(&c->active));
	return r == TD_OK ? conn_send_counters(c) : r;
}

int conn_reset(struct conn *c)
{
	int r = conn_flush(c);

	forget_sources(c);
	transport_free(c->transport);
	transport_free(c->old_transport);
	c->transport = c->old_transport = NULL;
	c->own_ssrc = 0;
	dave_stage_reset(&c->dave);
	return r;
}
