/* SPDX-License-Identifier: ISC */
#include "receiver/lane_requests.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/locked.h"
#include "common/log.h"
#include "common/rtp.h"
#include "receiver/console.h"

enum {
	QUEUE_MAX = 16 * 1024 * 1024,  /* live: shed beyond this ... */
	QUEUE_KEEP = 12 * 1024 * 1024, /* ... down to this */
	/* The same for their sound, where packets are wanted, too. */
	UNDECODED_MAX = 8 * 1024 * 1024,
	UNDECODED_KEEP = 6 * 1024 * 1024,
	/* Live. What does not fit is lost only if the worker is, too. */
	JOURNAL_LIVE = 16 * 1024 * 1024,
	/* A replay waits for the queue, so its pipes hold 12 MiB of journal at most: 1 MiB of
	 * requests, and 1 MiB of replies that may be a seventh of what they are made of. The rest
	 * is for its windows: six seconds of 40000 packets. */
	JOURNAL_REPLAY = 256 * 1024 * 1024,
	PING_BYTES = 256 * 1024,
};
/* What a worker holds back is out after this, by the times it is told: two seconds for a name, two
 * for a key, and the reorder window. */
#define WINDOWS_NS (6 * TD_SEC_NS)
/* And so long after the reorder window where it says that nothing waits for a name or a key: the
 * beginning of a spurt is held for 180 ms, and a new worker hears the last 240 ms again. It knows
 * nothing any more of who was silent for longer, so this is longer than most pauses. */
#define SETTLED_NS (900 * TD_MS_NS)
/* The effect of some goes on: packets still open with the key before, or are a leaver's. */
#define LASTING_NS (2 * TD_SEC_NS)
/* Live: whatever kills workers faster than they can catch up is not kept for longer. */
#define JOURNAL_NS (30 * TD_SEC_NS)

/* Live, nothing waits for longer: behind a disk that is slow, or when there is more than can be
 * decoded. */
#define LATEST_NS (10 * TD_SEC_NS)
#define UNDECODED_NS (5 * TD_SEC_NS)
#define PING_NS (250 * TD_MS_NS) /* with as much traffic between two pings at most */
#define UNDECODED_TO_NS (4 * TD_SEC_NS)

struct lane_conn *lane_requests_conn(const struct lane_requests *q, uint64_t conn)
{
	return map_get(&q->by_number, conn);
}

void lane_requests_count(struct lane_requests *q, uint64_t conn, enum td_counter what, uint64_t n)
{
	struct lane_conn *c = lane_requests_conn(q, conn);

	if (c == NULL || n == 0)
		return;
	c->counters[what] += n;
	c->counted = true;
}

/* ---- entries of the journal ---- */

/* What lies in locked memory is in the journal as a pointer. */
static void *secret_of(const void *data)
{
	void *secret;

	memcpy(&secret, data, sizeof(secret));
	return secret;
}

/* What the message made of what the worker knew. */
static void apply(struct lane_conn *c, uint16_t type, const void *data)
{
	const struct ipc_speaker_gone *gone = data;
	const struct ipc_dave_passthrough *passthrough = data;
	const struct ipc_speaker *speaker = data;

	switch (type) {
	case IPC_KEY:
		lane_conn_set_key(c, secret_of(data));
		break;
	case IPC_DAVE_EPOCH:
		lane_conn_add_epoch(c, secret_of(data));
		break;
	case IPC_DAVE_PASSTHROUGH:
		c->passthrough_ns = passthrough->until_ns;
		break;
	case IPC_SPEAKER:
		lane_conn_add_speaker(c, speaker->user_id, speaker->ssrc);
		break;
	case IPC_SPEAKER_GONE:
		lane_conn_drop_speaker(c, gone->user_id);
		break;
	case IPC_CONN_RESET:
		lane_conn_forget(c);
		break;
	}
}

static void on_dropped(void *user, const struct journal_entry *e)
{
	struct lane_requests *q = user;

	if (e->type != IPC_CONTROL)
		apply(lane_requests_conn(q, e->conn), e->type, e->data);
}

/* Without memory for it the process cannot do its work. */
static void put(struct lane_requests *q, enum ipc_type type, uint64_t conn, const void *body,
	size_t len)
{
	if (ipc_queue_put(&q->queue, type, conn, body, len, NULL, 0) != TD_OK)
		console_out_of_memory();
}

static void put_entry(struct lane_requests *q, uint64_t conn, uint16_t type, const void *data,
	size_t len)
{
	if (type == IPC_KEY) {
		put(q, type, conn, secret_of(data), sizeof(struct ipc_key));
	} else if (type == IPC_DAVE_EPOCH) {
		if (lane_epoch_tell(secret_of(data), conn, &q->queue) != TD_OK)
			console_out_of_memory();
	} else {
		put(q, type, conn, data, len);
	}
}

static void put_packet(struct lane_requests *q, uint64_t conn, uint64_t arrival_ns, uint32_t flags,
	const uint8_t *data, size_t len)
{
	struct ipc_packet packet = { .arrival_ns = arrival_ns, .flags = flags };

	if (ipc_queue_put(&q->queue, IPC_PACKET, conn, &packet, sizeof(packet), data, len) !=
			TD_OK &&
		(flags & IPC_PACKET_AGAIN) == 0)
		lane_requests_count(q, conn, COUNTER_OVERLOAD, 1);
}

/* ---- how far the worker is ---- */

void lane_requests_ping(struct lane_requests *q)
{
	unsigned i = q->sent % LANE_PINGS;

	if (!q->connected || q->sent - q->answered == LANE_PINGS)
		return;
	q->ping[i].no = q->journal.last_no;
	q->ping[i].newest_ns = q->newest_ns;
	q->sent++;
	q->pinged_ns = q->newest_ns;
	q->since_ping = 0;
	put(q, IPC_PING, 0, NULL, 0);
}

static uint64_t before(uint64_t ns, uint64_t by_ns)
{
	return ns > by_ns ? ns - by_ns : 0;
}

/* Looks for answers, and lets go what they are about. */
static void look(struct lane_requests *q)
{
	bool waits;
	uint64_t pongs = lane_thread_pongs(q->thread, &waits) - q->pongs_before;
	unsigned i;

	if (!q->connected || pongs <= q->answered)
		return;
	/* A worker that answers more than it was asked gains nothing by it. */
	q->answered = pongs < q->sent ? (unsigned)pongs : q->sent;
	if (q->written < q->answered)
		q->written = q->answered;
	i = (q->answered - 1) % LANE_PINGS;
	q->answered_no = q->ping[i].no;
	journal_trim(&q->journal, q->answered_no,
		before(q->ping[i].newest_ns, waits ? WINDOWS_NS : q->open.reorder_ns + SETTLED_NS));
}

int lane_requests_write(struct lane_requests *q, int fd)
{
	struct ipc_queue *from = &q->queue;
	size_t at = from->torn, len = from->len, total, pings[LANE_UNDER_WAY];
	unsigned room, found = 0;
	int r;

	look(q);
	lane_thread_newest(q->thread, q->newest_ns);
	if (!q->live || q->sent == q->answered)
		return ipc_queue_write(from, fd);
	room = q->answered + LANE_UNDER_WAY - q->written;
	for (; found < room && at < len; at += total) {
		struct ipc_hdr hdr;

		memcpy(&hdr, from->buf + from->head + at, sizeof(hdr));
		total = ipc_wire_size(hdr.len);
		if (hdr.type == IPC_PING)
			pings[found++] = at;
	}
	r = ipc_queue_write_some(from, fd, at);
	for (unsigned i = 0; i < found; i++)
		q->written += pings[i] < len - from->len;
	return r;
}

bool lane_requests_caught_up(struct lane_requests *q)
{
	look(q);
	return q->answered > 0;
}

static void journal(struct lane_requests *q, uint64_t conn, uint64_t at_ns, uint16_t type,
	const void *data, size_t len)
{
	look(q);
	if (q->live)
		journal_trim(&q->journal, UINT64_MAX, before(q->newest_ns, JOURNAL_NS));
	/* Without memory a message has its effect at once, and a packet none. */
	if (journal_add(&q->journal, conn, at_ns, type, data, len) != TD_OK && type != IPC_PACKET &&
		type != IPC_CONTROL)
		apply(lane_requests_conn(q, conn), type, data);
	q->since_ping += sizeof(struct journal_entry) + len;
}

/* ---- what a fresh worker is told ---- */

/* Serials of controls; they count on by one. */
struct controls {
	uint64_t next, last; /* to be told again: those from next to last */
};

static void find_pending(void *user, uint64_t conn, uint64_t serial)
{
	struct controls *c = user;

	(void)conn;
	if (c->next > serial)
		c->next = serial;
	c->last = serial;
}

static uint64_t serial_of(const struct journal_entry *e)
{
	struct ipc_control body;

	memcpy(&body, e->data, sizeof(body));
	return body.serial;
}

/* Those up to this one. Where the journal has lost one, it is all connections' affair. */
static void retell_controls(struct lane_requests *q, struct controls *c, uint64_t serial,
	uint64_t conn)
{
	for (; c->next <= serial && c->next <= c->last; c->next++) {
		struct ipc_control body = { .serial = c->next };

		put(q, IPC_CONTROL, c->next == serial ? conn : 0, &body, sizeof(body));
	}
}

/* A flush that the worker is known to have got to has let out everything before it. */
static void find_finished(struct lane_requests *q, const struct controls *c)
{
	const struct journal_entry *e = NULL;
	uint64_t past = q->answered_no;

	while ((e = journal_next(&q->journal, e)) != NULL) {
		if (e->type == IPC_CONTROL && serial_of(e) < c->next && e->no > past)
			past = e->no;
	}
	while ((e = journal_next(&q->journal, e)) != NULL && e->no <= past) {
		if (e->type == IPC_CONN_FLUSH || e->type == IPC_CONN_RESET)
			lane_requests_conn(q, e->conn)->finished_no = e->no;
	}
}

/* The controls that are older than all the journal knows. */
static void retell_oldest(struct lane_requests *q, struct controls *c)
{
	const struct journal_entry *e = NULL;

	while ((e = journal_next(&q->journal, e)) != NULL && e->type != IPC_CONTROL)
		;
	retell_controls(q, c, e != NULL ? serial_of(e) - 1 : c->last, 0);
}

static size_t retell_packet(struct lane_requests *q, const struct journal_entry *e)
{
	enum delivered_state state = DELIVERED_NOT;
	struct rtp_header rtp;
	uint32_t flags = 0;

	if (e->no < lane_requests_conn(q, e->conn)->finished_no)
		return 0;
	if (rtp_parse(&rtp, e->data, e->len) == TD_OK)
		state = lane_thread_delivered(q->thread, e->conn, rtp.ssrc, rtp.sequence, e->at_ns);
	if (state == DELIVERED_LONG_AGO)
		return 0;
	if (state == DELIVERED_LATELY)
		flags = IPC_PACKET_AGAIN;
	else if (state == DELIVERED_OPENED)
		flags = IPC_PACKET_AGAIN | IPC_PACKET_OPENED;
	else if (state == DELIVERED_COUNTED)
		flags = IPC_PACKET_COUNTED;
	put_packet(q, e->conn, e->at_ns, flags, e->data, e->len);
	return (flags & IPC_PACKET_AGAIN) == 0;
}

/* Frames that came back do not open a second time. */
static void retell_used(void *user, uint64_t conn, uint32_t epoch_no, uint64_t user_id,
	const struct dave_nonces *nonces)
{
	struct ipc_dave_used u = { .user_id = user_id, .epoch_no = epoch_no, .nonces = *nonces };
	struct lane_requests *q = user;

	put(q, IPC_DAVE_USED, conn, &u, sizeof(u));
}

size_t lane_requests_retell(struct lane_requests *q)
{
	const struct ipc_hello hello = { .version = IPC_VERSION,
		.hdr_size = sizeof(struct ipc_hdr) };
	const struct ipc_tick tick = { .now_ns = q->tick_ns };
	struct controls controls = { .next = UINT64_MAX };
	const struct journal_entry *e = NULL;
	struct lane_conn *c;
	size_t packets = 0;
	bool waits;

	q->connected = true;
	q->sent = q->answered = q->written = 0;
	q->pongs_before = lane_thread_pongs(q->thread, &waits);
	put(q, IPC_HELLO, 0, &hello, sizeof(hello));
	for (c = q->conns; c != NULL; c = c->next) {
		if (lane_conn_tell(c, &q->open, &q->queue) != TD_OK)
			console_out_of_memory();
		for (const struct lane_epoch *k = c->epochs; k != NULL; k = k->next)
			lane_thread_used(q->thread, c->conn, k->body.no, retell_used, q);
	}
	lane_thread_pending(q->thread, find_pending, &controls);
	find_finished(q, &controls);
	retell_oldest(q, &controls);
	while ((e = journal_next(&q->journal, e)) != NULL) {
		if (e->type == IPC_PACKET)
			packets += retell_packet(q, e);
		else if (e->type == IPC_CONTROL)
			retell_controls(q, &controls, serial_of(e), e->conn);
		else
			put_entry(q, e->conn, e->type, e->data, e->len);
		if (e->type == IPC_DAVE_EPOCH) {
			const struct lane_epoch *k = secret_of(e->data);

			lane_thread_used(q->thread, e->conn, k->body.no, retell_used, q);
		}
	}
	retell_controls(q, &controls, controls.last, 0);
	if (q->tick_ns > 0)
		put(q, IPC_TICK, 0, &tick, sizeof(tick));
	lane_requests_ping(q);
	return packets;
}

void lane_requests_disconnect(struct lane_requests *q)
{
	look(q);
	q->connected = false;
	ipc_queue_free(&q->queue);
}

size_t lane_requests_give_up(struct lane_requests *q)
{
	struct journal_entry *e = NULL;
	size_t n = 0;

	while ((e = journal_next(&q->journal, e)) != NULL) {
		if (e->type != IPC_PACKET)
			continue;
		journal_drop(&q->journal, e);
		n++;
	}
	return n;
}

/* ---- messages ---- */

int lane_requests_open(struct lane_requests *q, uint64_t conn)
{
	struct lane_conn *c;
	int r;

	if ((r = lane_conn_new(&c, conn)) != TD_OK)
		return r;
	if ((r = map_put(&q->by_number, conn, c)) != TD_OK) {
		lane_conn_free(c);
		return r;
	}
	c->next = q->conns;
	q->conns = c;
	if (q->connected)
		put(q, IPC_CONN_OPEN, conn, &q->open, sizeof(q->open));
	return TD_OK;
}

void lane_requests_close(struct lane_requests *q, uint64_t conn)
{
	struct lane_conn *c = lane_requests_conn(q, conn), **at;
	struct journal_entry *e = NULL;

	if (c == NULL)
		return;
	while ((e = journal_next(&q->journal, e)) != NULL) {
		if (e->conn == conn && e->type != IPC_CONTROL)
			journal_drop(&q->journal, e);
	}
	for (at = &q->conns; *at != c; at = &(*at)->next)
		;
	*at = c->next;
	map_del(&q->by_number, conn);
	lane_conn_free(c);
	if (q->connected)
		put(q, IPC_CONN_CLOSE, conn, NULL, 0);
}

void lane_requests_add(struct lane_requests *q, uint64_t conn, enum ipc_type type, const void *body,
	size_t len)
{
	bool lasts = type == IPC_KEY || type == IPC_SPEAKER_GONE;

	if (type != IPC_CONTROL && lane_requests_conn(q, conn) == NULL)
		return;
	if (q->connected)
		put_entry(q, conn, type, body, len);
	journal(q, conn, q->newest_ns + (lasts ? LASTING_NS : 0), type, body, len);
}

void lane_requests_key(struct lane_requests *q, uint64_t conn, struct ipc_key *key)
{
	if (key == NULL)
		console_out_of_memory();
	if (lane_requests_conn(q, conn) != NULL)
		lane_requests_add(q, conn, IPC_KEY, &key, sizeof(key));
	else
		locked_free(key);
}

/* The worker knows this time now, and may date a packet that comes a little late by it. */
static void time_told(struct lane_requests *q, uint64_t at_ns)
{
	if (at_ns > q->newest_ns)
		q->newest_ns = at_ns;
}

void lane_requests_epoch(struct lane_requests *q, uint64_t conn, struct lane_epoch *e)
{
	if (e == NULL)
		console_out_of_memory();
	if (lane_requests_conn(q, conn) == NULL) {
		locked_free(e);
		return;
	}
	e->body.no = ++q->epochs;
	lane_thread_epoch(q->thread, e->body.no);
	time_told(q, e->body.at_ns);
	lane_requests_add(q, conn, IPC_DAVE_EPOCH, &e, sizeof(e));
}

void lane_requests_tick(struct lane_requests *q, uint64_t now_ns)
{
	struct ipc_tick tick = { .now_ns = now_ns };

	time_told(q, now_ns);
	q->tick_ns = now_ns;
	if (q->connected)
		put(q, IPC_TICK, 0, &tick, sizeof(tick));
}

/* ---- packets ---- */

static bool is_voice(const uint8_t *data, size_t len)
{
	struct rtp_header rtp;

	return datagram_classify(data, len) == DATAGRAM_RTP &&
		rtp_parse(&rtp, data, len) == TD_OK && rtp.payload_type == RTP_OPUS_PAYLOAD_TYPE;
}

/* The next packet that waits, from *at on in the queue; false: there is none. */
static bool next_waiting(const struct ipc_queue *from, size_t *at, struct ipc_packet *ret,
	size_t *ret_at, size_t *ret_total)
{
	struct ipc_hdr hdr;

	for (; *at < from->head + from->len; *at += *ret_total) {
		memcpy(&hdr, from->buf + *at, sizeof(hdr));
		*ret_total = ipc_wire_size(hdr.len);
		if (hdr.type != IPC_PACKET)
			continue;
		*ret_at = *at + sizeof(hdr);
		memcpy(ret, from->buf + *ret_at, sizeof(*ret));
		*at += *ret_total;
		return true;
	}
	return false;
}

/* Bytes of the queue behind the packets that came before before_ns. */
static size_t bytes_behind(const struct ipc_queue *from, uint64_t before_ns)
{
	size_t at = from->head + from->torn, left = from->len, where, total;
	struct ipc_packet p;

	while (next_waiting(from, &at, &p, &where, &total) && p.arrival_ns < before_ns)
		left -= total;
	return left;
}

/* The sound of the oldest packets is not made, so that no more than `keep` bytes wait with theirs.
 * What an unpacker only passes on takes it a twentieth of the time. */
static void shed_sound(struct lane_requests *q, size_t keep)
{
	struct ipc_queue *from = &q->queue;
	size_t at = from->head + from->torn, left = from->len, where, total;
	struct ipc_packet p;

	while (left > keep && next_waiting(from, &at, &p, &where, &total)) {
		left -= total;
		if ((p.flags & (IPC_PACKET_AGAIN | IPC_PACKET_UNDECODED)) != 0)
			continue;
		p.flags |= IPC_PACKET_UNDECODED;
		memcpy(from->buf + where, &p, sizeof(p));
		q->undecoded++;
	}
}

static void shed_one(void *user, uint64_t conn)
{
	(void)user;
	(void)conn;
}

/* Takes the packets out of the journal that ipc_queue_shed() is going to take out of the queue:
 * they are lost and counted, and must not come again. */
static void shed(struct lane_requests *q, size_t keep)
{
	struct ipc_queue *from = &q->queue;
	size_t at = from->head + from->torn, left = from->len, total;
	struct journal_entry *e = journal_next(&q->journal, NULL);

	for (; left > keep && at < from->head + from->len; at += total) {
		const uint8_t *data = from->buf + at + sizeof(struct ipc_hdr);
		struct ipc_packet packet;
		struct ipc_hdr hdr;
		size_t len;

		memcpy(&hdr, from->buf + at, sizeof(hdr));
		total = ipc_wire_size(hdr.len);
		if (hdr.type != IPC_PACKET)
			continue;
		left -= total;
		memcpy(&packet, data, sizeof(packet));
		data += sizeof(packet);
		len = hdr.len - sizeof(packet);
		/* One that comes again was counted when it came first. */
		if ((packet.flags & IPC_PACKET_AGAIN) == 0) {
			lane_requests_count(q, hdr.conn, COUNTER_OVERLOAD, 1);
			q->dropped++;
		}
		if (!is_voice(data, len))
			continue;
		/* Both are in the same order. */
		for (; e != NULL; e = journal_next(&q->journal, e)) {
			if (e->type == IPC_PACKET && e->conn == hdr.conn && e->len == len &&
				memcmp(e->data, data, len) == 0)
				break;
		}
		if (e != NULL)
			journal_drop(&q->journal, e);
		else
			e = journal_next(&q->journal, NULL);
	}
	ipc_queue_shed(from, keep, shed_one, NULL);
}

/* Whether packets are of use without their sound. */
static bool keeps_packets(const struct lane_requests *q)
{
	return (q->open.want & IPC_WANT_PCM) != 0 && (q->open.want & IPC_WANT_OPUS) != 0;
}

void lane_requests_watch(struct lane_requests *q)
{
	size_t keep;

	if (!q->live || !q->connected)
		return;
	if (keeps_packets(q) &&
		bytes_behind(&q->queue, before(q->newest_ns, UNDECODED_NS)) < q->queue.len)
		shed_sound(q, bytes_behind(&q->queue, before(q->newest_ns, UNDECODED_TO_NS)));
	keep = bytes_behind(&q->queue, before(q->newest_ns, LATEST_NS));
	if (keep < q->queue.len)
		shed(q, keep);
}

void lane_requests_packet(struct lane_requests *q, uint64_t conn, uint64_t arrival_ns,
	const uint8_t *data, size_t len)
{
	time_told(q, arrival_ns);
	if (lane_requests_conn(q, conn) == NULL)
		return;
	if (is_voice(data, len))
		journal(q, conn, arrival_ns, IPC_PACKET, data, len);
	if (!q->connected)
		return; /* the next worker will be told */
	put_packet(q, conn, arrival_ns, 0, data, len);
	if (q->since_ping >= PING_BYTES || (q->live && q->newest_ns >= q->pinged_ns + PING_NS))
		lane_requests_ping(q);
	q->since_marked += sizeof(struct ipc_hdr) + sizeof(struct ipc_packet) + len;
	/* What is marked still waits; the rest grows until it is too much, too. */
	if (q->live && keeps_packets(q) && q->queue.len > UNDECODED_MAX &&
		q->since_marked > UNDECODED_MAX - UNDECODED_KEEP) {
		shed_sound(q, UNDECODED_KEEP);
		q->since_marked = 0;
	}
	if (q->live && q->queue.len > QUEUE_MAX)
		shed(q, QUEUE_KEEP);
}

/* ---- life ---- */

void lane_requests_init(struct lane_requests *q, const struct ipc_conn_open *open, bool live,
	struct lane_thread *thread)
{
	*q = (struct lane_requests){ .open = *open, .live = live, .thread = thread };
	ipc_queue_init(&q->queue);
	journal_init(&q->journal, live ? JOURNAL_LIVE : JOURNAL_REPLAY, IPC_PACKET, on_dropped, q);
}

void lane_requests_free(struct lane_requests *q)
{
	journal_free(&q->journal);
	while (q->conns != NULL)
		lane_requests_close(q, q->conns->conn);
	map_free(&q->by_number);
	ipc_queue_free(&q->queue);
}
