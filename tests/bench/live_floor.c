/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <opus.h>

#include <poll.h>
#include <sndfile.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/err.h"
#include "common/rtp.h"
#include "common/transport.h"
#include "tests/bench/live.h"

/* One loop: what has come is read, opened, decoded and written, frame by frame. */
enum { BATCH = 32, DATAGRAM_MAX = 2048, SPEAKERS_MAX = 4096, BUFFER = 4 * 1024 * 1024 };

struct out {
	OpusDecoder *decoder;
	SNDFILE *file;
};

static struct {
	enum live_floor_kind kind;
	const char *folder;
	int fd;
	struct transport *transport;
	struct out out[SPEAKERS_MAX];
	uint8_t data[BATCH][DATAGRAM_MAX];
	uint64_t received;
} f;

static void out_open(struct out *o, uint32_t ssrc)
{
	SF_INFO info = { .samplerate = 48000,
		.channels = 2,
		.format = SF_FORMAT_WAV | SF_FORMAT_PCM_16 };
	char path[4096];

	snprintf(path, sizeof(path), "%s/%u.wav", f.folder, ssrc);
	o->decoder = opus_decoder_create(48000, 2, NULL);
	o->file = sf_open(path, SFM_WRITE, &info);
	LIVE_MUST(o->decoder != NULL && o->file != NULL);
}

static void take(const uint8_t *data, size_t len)
{
	static int16_t pcm[2 * 5760];
	static uint8_t plain[DATAGRAM_MAX];
	const uint8_t *payload;
	struct rtp_header h;
	size_t plain_len;
	struct out *o;
	int n;

	LIVE_MUST(rtp_parse(&h, data, len) == TD_OK && h.ssrc < SPEAKERS_MAX);
	LIVE_MUST(transport_open(f.transport, plain, &plain_len, data, len, h.clear_len) == TD_OK);
	LIVE_MUST(rtp_payload(&h, plain, plain_len, &payload, &plain_len) == TD_OK);
	o = &f.out[h.ssrc];
	if (o->decoder == NULL)
		out_open(o, h.ssrc);
	n = opus_decode(o->decoder, payload, (opus_int32)plain_len, pcm, 5760, 0);
	LIVE_MUST(n > 0 && sf_writef_short(o->file, pcm, n) == n);
}

static _Noreturn void floor_run(int to)
{
	static struct mmsghdr msgs[BATCH];
	static struct iovec iov[BATCH];

	LIVE_MUST(transport_new(&f.transport, TRANSPORT_AES256_GCM, live_key) == TD_OK);
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ f.data[i], DATAGRAM_MAX };
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	for (;;) {
		int n = recvmmsg(f.fd, msgs, BATCH, MSG_WAITFORONE, NULL);

		LIVE_MUST(n > 0);
		for (int i = 0; i < n; i++) {
			if (msgs[i].msg_len == 1) { /* the end */
				LIVE_MUST(write(to, &f.received, sizeof(f.received)) > 0);
				_exit(0);
			}
			f.received++;
			if (f.kind == LIVE_FLOOR_WAV)
				take(f.data[i], msgs[i].msg_len);
		}
	}
}

void live_floor_start(struct live_floor *ret, enum live_floor_kind kind, const char *folder)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	int size = BUFFER, up[2];
	socklen_t len = sizeof(at);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	f.kind = kind;
	f.folder = folder;
	f.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	LIVE_MUST(f.fd >= 0 && bind(f.fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	if (setsockopt(f.fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
		setsockopt(f.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	LIVE_MUST(getsockname(f.fd, (struct sockaddr *)&at, &len) == 0 && pipe(up) == 0);
	fflush(NULL);
	LIVE_MUST((ret->pid = fork()) >= 0);
	if (ret->pid == 0)
		floor_run(up[1]);
	close(up[1]);
	ret->from = up[0];
	ret->port = ntohs(at.sin_port);
}

uint64_t live_floor_end(struct live_floor *ret)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(ret->port) };
	uint64_t received;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	/* One that did not keep up has a full buffer. */
	do
		LIVE_MUST(sendto(f.fd, "e", 1, 0, (struct sockaddr *)&at, sizeof(at)) == 1);
	while (poll(&(struct pollfd){ .fd = ret->from, .events = POLLIN }, 1, 100) == 0);
	LIVE_MUST(read(ret->from, &received, sizeof(received)) == sizeof(received));
	waitpid(ret->pid, NULL, 0);
	close(ret->from);
	close(f.fd);
	return received;
}
