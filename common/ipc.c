/* SPDX-License-Identifier: ISC */
#include "common/ipc.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"

struct ipc_rule {
	const char *name; /* NULL: no such message */
	uint32_t fixed, max_data;
	enum ipc_dir dir;
};

static const struct ipc_rule rules[] = {
#define X(name, no, dir, fixed, data) [no] = { #name, sizeof(fixed), (data), (dir) },
	IPC_MESSAGES(X)
#undef X
};

static const struct ipc_rule *rule_find(uint16_t type)
{
	if (type >= sizeof(rules) / sizeof(rules[0]) || rules[type].name == NULL)
		return NULL;
	return &rules[type];
}

const char *ipc_type_name(uint16_t type)
{
	const struct ipc_rule *rule = rule_find(type);

	return rule != NULL ? rule->name : "?";
}

/* Of a whole message that begins at `at`. */
static size_t wire_size(const uint8_t *at)
{
	struct ipc_hdr hdr;

	memcpy(&hdr, at, sizeof(hdr));
	return ipc_wire_size(hdr.len);
}

/* ---- receiving ---- */

/* One large message must fit behind a read of many small ones. */
enum { READER_CAP = 256 * 1024 };
/* More than that is not kept by a queue that has nothing to do; a replay keeps it busy with less.
 */
enum { QUEUE_REST = 1024 * 1024 };
_Static_assert((int)IPC_MAX_MSG + 8 <= (int)READER_CAP, "a message does not fit");

struct ipc_reader {
	enum ipc_dir dir;
	bool broken;
	size_t secret;     /* this many bytes before head are a key that was handed out */
	size_t head, tail; /* buf[head .. tail) is not looked at yet */
	_Alignas(8) uint8_t buf[READER_CAP];
};

int ipc_reader_new(struct ipc_reader **ret, enum ipc_dir dir)
{
	struct ipc_reader *r = malloc(sizeof(*r));

	if (r == NULL)
		return TD_ERR_NOMEM;
	r->dir = dir;
	r->broken = false;
	r->secret = r->head = r->tail = 0;
	*ret = r;
	return TD_OK;
}

void ipc_reader_free(struct ipc_reader *r)
{
	if (r == NULL)
		return;
	sodium_memzero(r->buf, sizeof(r->buf));
	free(r);
}

/* A key is wiped as soon as whoever got it asks for something else. */
static void forget_secret(struct ipc_reader *r)
{
	if (r->secret > 0)
		sodium_memzero(r->buf + r->head - r->secret, r->secret);
	r->secret = 0;
}

uint8_t *ipc_reader_room(struct ipc_reader *r, size_t *ret_len)
{
	size_t left = r->tail - r->head;

	forget_secret(r);
	/* head is a multiple of 8, so what moves to the front stays aligned. */
	if (r->head > 0) {
		memmove(r->buf, r->buf + r->head, left);
		/* Half a key may be what moved. */
		sodium_memzero(r->buf + (left > r->head ? left : r->head),
			left > r->head ? r->head : left);
		r->tail = left;
		r->head = 0;
	}
	*ret_len = sizeof(r->buf) - r->tail;
	return r->buf + r->tail;
}

void ipc_reader_fed(struct ipc_reader *r, size_t len)
{
	r->tail += len;
}

int ipc_reader_next(struct ipc_reader *r, struct ipc_msg *ret)
{
	const uint8_t *at = r->buf + r->head;
	size_t have = r->tail - r->head;
	const struct ipc_rule *rule;
	struct ipc_hdr hdr;
	size_t size;

	forget_secret(r);
	if (r->broken)
		return TD_ERR_MALFORMED;
	if (have < sizeof(hdr))
		return 0;
	memcpy(&hdr, at, sizeof(hdr));
	rule = rule_find(hdr.type);
	if (rule == NULL || rule->dir != r->dir || hdr.zero != 0 || hdr.len < rule->fixed ||
		hdr.len - rule->fixed > rule->max_data) {
		r->broken = true;
		return TD_ERR_MALFORMED;
	}
	size = ipc_wire_size(hdr.len);
	if (have < size)
		return 0;

	ret->hdr = hdr;
	ret->body = at + sizeof(hdr);
	ret->data = at + sizeof(hdr) + rule->fixed;
	ret->data_len = hdr.len - rule->fixed;
	r->head += size;
	r->secret = hdr.type == IPC_KEY || hdr.type == IPC_DAVE_EPOCH ? size - sizeof(hdr) : 0;
	return 1;
}

/* ---- sending ---- */

void ipc_queue_init(struct ipc_queue *q)
{
	memset(q, 0, sizeof(*q));
}

void ipc_queue_free(struct ipc_queue *q)
{
	if (q->buf != NULL)
		sodium_memzero(q->buf, q->cap);
	free(q->buf);
	ipc_queue_init(q);
}

/* Room for n more bytes behind what waits. Keys may lie in the old block, so it is wiped. */
static int queue_grow(struct ipc_queue *q, size_t n)
{
	size_t cap = q->cap > 0 ? q->cap : 64 * 1024;
	uint8_t *buf;

	if (n <= q->cap - q->head - q->len)
		return TD_OK;
	/* Moving what waits pays only when that makes as much room as it moves. */
	if (n <= q->cap - q->len && q->head >= q->len) {
		memcpy(q->buf, q->buf + q->head, q->len);
		sodium_memzero(q->buf + q->head, q->len);
		q->head = 0;
		return TD_OK;
	}
	if (q->cap > 0)
		cap *= 2;
	while (n > cap - q->len)
		cap *= 2;
	if ((buf = malloc(cap)) == NULL)
		return TD_ERR_NOMEM;
	if (q->buf != NULL) {
		memcpy(buf, q->buf + q->head, q->len);
		sodium_memzero(q->buf, q->cap);
		free(q->buf);
	}
	q->buf = buf;
	q->cap = cap;
	q->head = 0;
	return TD_OK;
}

uint8_t *ipc_queue_put_room(struct ipc_queue *q, enum ipc_type type, uint64_t conn,
	const void *body, size_t body_len, size_t data_len)
{
	struct ipc_hdr hdr = { .len = (uint32_t)(body_len + data_len),
		.type = (uint16_t)type,
		.conn = conn };
	size_t total = ipc_wire_size(hdr.len);
	uint8_t *at;

	if (queue_grow(q, total) != TD_OK)
		return NULL;
	at = q->buf + q->head + q->len;
	memset(at + total - 8, 0, 8); /* what pads it is among these */
	memcpy(at, &hdr, sizeof(hdr));
	if (body_len > 0)
		memcpy(at + sizeof(hdr), body, body_len);
	q->len += total;
	return at + sizeof(hdr) + body_len;
}

int ipc_queue_put(struct ipc_queue *q, enum ipc_type type, uint64_t conn, const void *body,
	size_t body_len, const void *data, size_t data_len)
{
	uint8_t *room = ipc_queue_put_room(q, type, conn, body, body_len, data_len);

	if (room == NULL)
		return TD_ERR_NOMEM;
	if (data_len > 0)
		memcpy(room, data, data_len);
	return TD_OK;
}

int ipc_queue_write_some(struct ipc_queue *q, int fd, size_t max)
{
	size_t next;

	while (q->len > 0 && max > 0) {
		ssize_t n = write(fd, q->buf + q->head, q->len < max ? q->len : max);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 1;
		if (n < 0)
			return errno == EPIPE ? TD_ERR_PEER_GONE : TD_ERR_SYS;
		/* Where the next whole message begins, for ipc_queue_shed(). */
		next = (size_t)n < q->len ? q->torn : (size_t)n;
		for (; next < (size_t)n; next += wire_size(q->buf + q->head + next))
			;
		q->torn = next - (size_t)n;
		sodium_memzero(q->buf + q->head, (size_t)n); /* keys, voices */
		q->head += (size_t)n;
		q->len -= (size_t)n;
		max -= (size_t)n;
	}
	if (q->len == 0)
		q->head = 0;
	/* What a stall or a new worker made it take. All of it was wiped as it was written. */
	if (q->len == 0 && q->cap > QUEUE_REST) {
		free(q->buf);
		ipc_queue_init(q);
	}
	return 0;
}

int ipc_queue_write(struct ipc_queue *q, int fd)
{
	return ipc_queue_write_some(q, fd, SIZE_MAX);
}

size_t ipc_queue_shed(struct ipc_queue *q, size_t keep, void (*dropped)(void *user, uint64_t conn),
	void *user)
{
	size_t from = q->head + q->torn, to = from, end = q->head + q->len, shed = 0;

	while (from < end) {
		size_t total = wire_size(q->buf + from);
		struct ipc_hdr hdr;

		memcpy(&hdr, q->buf + from, sizeof(hdr));
		if (hdr.type == IPC_PACKET && q->len > keep) {
			q->len -= total;
			shed++;
			dropped(user, hdr.conn);
		} else {
			memmove(q->buf + to, q->buf + from, total);
			to += total;
		}
		from += total;
	}
	if (shed > 0)
		sodium_memzero(q->buf + to, end - to);
	return shed;
}
