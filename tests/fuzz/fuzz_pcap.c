/* SPDX-License-Identifier: ISC */
/*
 * A capture. An even first byte: the rest is the file, read through libpcap. An odd one: the second
 * is a link type, the rest a frame of it. Every datagram that comes out goes to a worker, as in a
 * replay, whose time must never fall and whose accounts must be right.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/transport.h"
#include "receiver/capture.h"
#include "unpacker/worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PACKETS_MAX = 2000, CONN = 1 };

struct rig {
	struct worker w;
	struct ipc_queue out;
	uint64_t datagrams, counted;
};

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void no_log(void *user, enum td_log_level level, const char *text, size_t len)
{
	(void)user;
	(void)level;
	check(strlen(text) == len);
}

static void check_datagram(const struct link_datagram *d, const uint8_t *frame, size_t len)
{
	check((d->source.family == 4 || d->source.family == 6) &&
		d->destination.family == d->source.family);
	check(link_address_equal(&d->source, &d->source));
	if (frame != NULL && d->len > 0)
		check(d->data >= frame && d->data + d->len <= frame + len);
}

static void ask(struct rig *g, enum ipc_type type, const void *body, const void *data, size_t len)
{
	const struct ipc_msg m = { .hdr = { .type = type, .conn = CONN },
		.body = body,
		.data = data,
		.data_len = len };

	check(worker_message(&g->w, &m) == TD_OK);
}

static void begin(struct rig *g)
{
	const struct ipc_hello hello = { IPC_VERSION, sizeof(struct ipc_hdr) };
	const struct ipc_conn_open open = { .reorder_ns = 100 * TD_MS_NS,
		.hold_ns = 2 * TD_SEC_NS,
		.want = IPC_WANT_OPUS | IPC_WANT_RTCP,
		.channels = 2 };
	const struct ipc_key key = { .mode = TRANSPORT_NONE };

	ipc_queue_init(&g->out);
	worker_init(&g->w, &g->out);
	ask(g, IPC_HELLO, &hello, NULL, 0);
	ask(g, IPC_CONN_OPEN, &open, NULL, 0);
	ask(g, IPC_KEY, &key, NULL, 0);
}

static void packet(struct rig *g, uint64_t at_ns, const struct link_datagram *d)
{
	const struct ipc_packet p = { .arrival_ns = TD_REPLAY_BASE_NS + at_ns };
	/* Of exactly its size. */
	uint8_t *copy;

	if (d->len > IPC_MAX_DGRAM)
		return;
	copy = malloc(d->len + (d->len == 0));
	check(copy != NULL);
	if (d->len > 0)
		memcpy(copy, d->data, d->len);
	ask(g, IPC_PACKET, &p, copy, d->len);
	free(copy);
	g->datagrams++;
}

/* Everything that came in was counted, as one thing or another. */
static void end(struct rig *g)
{
	static const enum td_counter kinds[] = { COUNTER_RECEIVED, COUNTER_AUTH, COUNTER_NO_KEY,
		COUNTER_SHORT, COUNTER_BAD_VERSION, COUNTER_BAD_PADDING, COUNTER_OTHER_PAYLOAD,
		COUNTER_OWN, COUNTER_NOT_VOICE, COUNTER_STREAM_LIMIT, COUNTER_RTCP,
		COUNTER_RTCP_BAD };
	size_t at = 0;

	ask(g, IPC_CONN_CLOSE, NULL, NULL, 0);
	while (at < g->out.len) {
		const uint8_t *p = g->out.buf + g->out.head + at;
		struct ipc_counters c;
		struct ipc_hdr h;

		memcpy(&h, p, sizeof(h));
		if (h.type == IPC_COUNTERS) {
			memcpy(&c, p + sizeof(h), sizeof(c));
			for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
				g->counted += c.delta[kinds[i]];
		}
		at += sizeof(h) + ((h.len + 7) & ~(size_t)7);
	}
	check(g->counted == g->datagrams);
	worker_free(&g->w);
	ipc_queue_free(&g->out);
}

static void fuzz_file(const uint8_t *data, size_t size)
{
	struct capture_packet p;
	struct capture *c = NULL;
	struct rig g = { .datagrams = 0 };
	char path[64], err[256] = "";
	uint64_t before = 0;
	int fd = memfd_create("fuzz", MFD_CLOEXEC), r;

	check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = capture_open(&c, path, err, sizeof(err));
	close(fd);
	check((r == TD_OK) == (c != NULL));
	if (r != TD_OK) {
		check((r == TD_ERR_IO || r == TD_ERR_UNSUPPORTED) && err[0] != '\0' &&
			strchr(err, '\n') == NULL);
		return;
	}
	begin(&g);
	while (g.datagrams < PACKETS_MAX && (r = capture_next(c, &p, err, sizeof(err))) == 1) {
		check(p.at_ns >= before);
		before = p.at_ns;
		check_datagram(&p.datagram, NULL, 0);
		packet(&g, p.at_ns, &p.datagram);
	}
	check(r >= 0 || (r == TD_ERR_IO && err[0] != '\0'));
	capture_close(c);
	end(&g);
}

static void fuzz_frame(int type, const uint8_t *data, size_t size)
{
	static const int known[] = { 0, 1, 12, 101, 108, 113, 228, 229, 276 };
	uint8_t *frame = malloc(size + (size == 0));
	struct link_datagram d;
	int r;

	check(frame != NULL);
	if (size > 0)
		memcpy(frame, data, size);
	type = type < 128 ? known[(size_t)type % (sizeof(known) / sizeof(known[0]))] : type;
	r = link_udp(&d, type, frame, size);
	check(r == TD_OK || r == TD_ERR_UNSUPPORTED || r == TD_ERR_TRUNCATED ||
		r == TD_ERR_MALFORMED);
	if (r == TD_OK) {
		struct rig g = { .datagrams = 0 };

		check(link_type_known(type));
		check_datagram(&d, frame, size);
		begin(&g);
		packet(&g, 0, &d);
		end(&g);
	}
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	td_log_set_hook(no_log, NULL);
	if (data[0] % 2 == 0)
		fuzz_file(data + 1, size - 1);
	else
		fuzz_frame(data[1], data + 2, size - 2);
	return 0;
}
