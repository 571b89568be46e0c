/* SPDX-License-Identifier: ISC */
/*
 * bench_count CAPTURE KEYS CHANNELS pcm|opus: an unpacker's work on a capture in this process, for
 * counting instructions: an unpacker itself, in its sandbox, cannot be looked at. Requests are made
 * first; feed_worker() is what counts. Says on stdout how many packets that were.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ipc.h"
#include "common/log.h"
#include "receiver/capture.h"
#include "receiver/keys_file.h"
#include "tests/bench/bench.h"
#include "unpacker/worker.h"

enum { CONN = 1, READ = 64 * 1024 };

static void put(struct ipc_queue *q, enum ipc_type type, const void *body, size_t body_len,
	const void *data, size_t data_len)
{
	BENCH_MUST(ipc_queue_put(q, type, type == IPC_HELLO ? 0 : CONN, body, body_len, data,
			   data_len) == TD_OK);
}

/* What a receiver tells before the first packet. */
static void put_beginning(struct ipc_queue *q, const struct keys_file *k, uint32_t channels,
	uint32_t want)
{
	const struct ipc_hello hello = { IPC_VERSION, sizeof(struct ipc_hdr) };
	const struct ipc_conn_open open = { .reorder_ns = 500 * TD_MS_NS,
		.hold_ns = 2 * TD_SEC_NS,
		.want = want,
		.channels = channels };
	const struct ipc_dave_passthrough never = { 0 };
	struct ipc_key key = { .mode = (uint32_t)k->mode };
	size_t i, n;

	put(q, IPC_HELLO, &hello, sizeof(hello), NULL, 0);
	put(q, IPC_CONN_OPEN, &open, sizeof(open), NULL, 0);
	memcpy(key.key, k->secret_key, sizeof(key.key));
	put(q, IPC_KEY, &key, sizeof(key), NULL, 0);
	for (i = 0; i < k->speaker_count; i++) {
		struct ipc_speaker s = { k->speakers[i].user_id, k->speakers[i].ssrc, 0 };

		put(q, IPC_SPEAKER, &s, sizeof(s), NULL, 0);
	}
	for (i = 0; i < k->dave_count; i++) {
		const struct keys_epoch *from = &k->dave[i];
		struct ipc_dave_epoch e = { .at_ns = TD_REPLAY_BASE_NS + from->from_ns,
			.epoch = from->epoch };
		struct ipc_dave_sender *to = calloc(from->sender_count, sizeof(*to));

		BENCH_MUST(to != NULL && from->sender_count > 0);
		for (n = 0; n < from->sender_count; n++) {
			to[n].user_id = from->senders[n].user_id;
			memcpy(to[n].secret, from->senders[n].secret, sizeof(to[n].secret));
		}
		put(q, IPC_DAVE_EPOCH, &e, sizeof(e), to, from->sender_count * sizeof(*to));
		put(q, IPC_DAVE_PASSTHROUGH, &never, sizeof(never), NULL, 0);
		free(to);
	}
}

static size_t put_packets(struct ipc_queue *q, const char *path)
{
	struct capture *c;
	struct capture_packet p;
	char why[256];
	size_t n = 0;

	BENCH_MUST(capture_open(&c, path, why, sizeof(why)) == TD_OK);
	while (capture_next(c, &p, why, sizeof(why)) == 1) {
		struct ipc_packet m = { .arrival_ns = TD_REPLAY_BASE_NS + p.at_ns };

		put(q, IPC_PACKET, &m, sizeof(m), p.datagram.data, p.datagram.len);
		n++;
	}
	put(q, IPC_CONN_FLUSH, NULL, 0, NULL, 0);
	capture_close(c);
	return n;
}

/* As unpacker/main.c: what a read brings is answered by one write. By name for callgrind. */
void feed_worker(struct worker *w, struct ipc_reader *reader, struct ipc_queue *from,
	struct ipc_queue *out);
void __attribute__((noinline)) feed_worker(struct worker *w, struct ipc_reader *reader,
	struct ipc_queue *from, struct ipc_queue *out)
{
	size_t done = 0, room;
	struct ipc_msg msg;
	int r;

	while (done < from->len) {
		uint8_t *to = ipc_reader_room(reader, &room);

		if (room > READ)
			room = READ;
		if (room > from->len - done)
			room = from->len - done;
		memcpy(to, from->buf + from->head + done, room);
		done += room;
		ipc_reader_fed(reader, room);
		while ((r = ipc_reader_next(reader, &msg)) == 1)
			BENCH_MUST(worker_message(w, &msg) == TD_OK);
		BENCH_MUST(r == 0);
		out->head = out->len = 0;
	}
}

int main(int argc, char **argv)
{
	struct ipc_queue from, out;
	struct ipc_reader *reader;
	struct keys_file *keys;
	struct worker worker;
	char why[256];
	size_t packets;

	BENCH_MUST(argc == 5 && sodium_init() >= 0);
	BENCH_MUST(keys_file_read(&keys, argv[2], why, sizeof(why)) == TD_OK);
	ipc_queue_init(&from);
	ipc_queue_init(&out);
	put_beginning(&from, keys, (uint32_t)atoi(argv[3]),
		strcmp(argv[4], "pcm") == 0 ? IPC_WANT_PCM : IPC_WANT_OPUS);
	packets = put_packets(&from, argv[1]);
	BENCH_MUST(ipc_reader_new(&reader, IPC_TO_WORKER) == TD_OK);
	worker_init(&worker, &out);

	feed_worker(&worker, reader, &from, &out);

	printf("%zu\n", packets);
	worker_free(&worker);
	ipc_reader_free(reader);
	ipc_queue_free(&from);
	ipc_queue_free(&out);
	keys_file_free(keys);
	return 0;
}
