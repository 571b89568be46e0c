/* SPDX-License-Identifier: ISC */
/*
 * The receiving end of a lane's pipes. The first byte is the direction and how the rest is cut;
 * whatever comes out as a message is put into a queue again and must be the same bytes, but for
 * the zeros at its end.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static const struct rule {
	uint16_t type;
	enum ipc_dir dir;
	size_t fixed, max_data;
} rules[] = {
#define X(name, no, dir, fixed, data) { no, dir, sizeof(fixed), data },
	IPC_MESSAGES(X)
#undef X
};

static const struct rule *rule_of(uint16_t type)
{
	size_t i;

	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (rules[i].type == type)
			return &rules[i];
	}
	return NULL;
}

static void count_one(void *user, uint64_t conn)
{
	(void)conn;
	*(size_t *)user += 1;
}

/* Shedding takes packets alone and leaves whole messages. */
static void check_shed(struct ipc_queue *q, size_t keep)
{
	size_t counted = 0, before = q->len, shed = ipc_queue_shed(q, keep, count_one, &counted);
	size_t at = 0;
	bool packet_left = false;

	check(shed == counted && q->len <= before && (shed == 0) == (q->len == before));
	while (at < q->len) {
		struct ipc_hdr h;

		memcpy(&h, q->buf + q->head + at, sizeof(h));
		check(rule_of(h.type) != NULL);
		packet_left |= h.type == IPC_PACKET;
		at += sizeof(h) + ((h.len + 7) & ~(size_t)7);
	}
	check(at == q->len);
	check(q->len <= keep || !packet_left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum ipc_dir dir;
	struct ipc_reader *r;
	struct ipc_queue q;
	struct ipc_msg m;
	size_t at, step, in = 0;
	int e = 0;

	if (size < 1)
		return 0;
	dir = data[0] & 1 ? IPC_TO_RECEIVER : IPC_TO_WORKER;
	step = data[0] >> 1 == 0 ? size : data[0] >> 1;
	check(ipc_reader_new(&r, dir) == TD_OK);
	ipc_queue_init(&q);
	for (at = 1; at < size && e == 0;) {
		size_t room, n = size - at < step ? size - at : step;
		uint8_t *to = ipc_reader_room(r, &room);

		check(room > 0);
		n = n < room ? n : room;
		memcpy(to, data + at, n);
		ipc_reader_fed(r, n);
		at += n;
		while ((e = ipc_reader_next(r, &m)) == 1) {
			const struct rule *rule = rule_of(m.hdr.type);
			size_t len = sizeof(m.hdr) + m.hdr.len, mark = q.len;

			check(rule != NULL && rule->dir == dir && m.data_len <= rule->max_data);
			check(rule->fixed + m.data_len == m.hdr.len);
			check((uintptr_t)m.body % 8 == 0);
			check(ipc_queue_put(&q, (enum ipc_type)m.hdr.type, m.hdr.conn, m.body,
				      rule->fixed, m.data, m.data_len) == TD_OK);
			check(memcmp(q.buf + q.head + mark, data + 1 + in, len) == 0);
			in += (len + 7) & ~(size_t)7;
		}
		check(e == 0 || e == TD_ERR_MALFORMED);
	}
	if (e == TD_ERR_MALFORMED)
		check(ipc_reader_next(r, &m) == TD_ERR_MALFORMED);
	check(q.len <= size + 7);
	check_shed(&q, size / 2);
	ipc_queue_free(&q);
	ipc_reader_free(r);
	return 0;
}
