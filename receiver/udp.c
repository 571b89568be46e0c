/* SPDX-License-Identifier: ISC */
#include "receiver/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/rtp.h"
#include "receiver/discovery.h"

enum {
	RECEIVE_BUFFER = 4 * 1024 * 1024,
	BATCH = 32,
	BATCHES_A_TURN = 8, /* one loud connection must not starve the others */
	READY = 128,        /* sockets asked for at once */
	READY_TURNS = 16,
	/* 16384 datagrams of each: more than a receive buffer holds, and it has to end. */
	CATCH_UP_TURNS = 64,
	DISCOVERY_TRIES = 5,
	DISCOVERY_MS = 1000,
	KEEPALIVE_MS = 5000,
	KEEPALIVE_SLOT_MS = 250, /* those of all connections go out together so often */
	KEEPALIVE_LEN = 8,
	/* Of one socket between two readings, if it can be: where net.core.rmem_max is small there
	 * is room for some two hundred. */
	MANY = 64,
	SHORTEST_MS = 4,
	SILENCE_MS = 20,
	SILENCE_PACKETS = 5,
	SILENCE_SAMPLES = 960,
};
/* A wall clock that moved against the monotonic one by more was set, not merely slewed: the kernel
 * slews by 0.5 ms a second, and keepalives are answered more often than every 5 s. */
#define CLOCK_STEP_NS (3 * (int64_t)TD_MS_NS)
/* Two clocks read one after the other this far apart say nothing about each other. */
#define CLOCK_READ_NS (TD_MS_NS / 10)
enum { CLOCK_READS = 5 };

struct batch_clock {
	uint64_t mono_ns, wall_ns;
};

struct udp_reader {
	uv_timer_t *timer; /* runs: the sockets are not watched, but read when it is due */
	uv_poll_t *poll;   /* all sockets behind one descriptor */
	int epoll;
	unsigned latency_ms;
	unsigned most;    /* of one socket, when it was read last */
	uint64_t wait_ms; /* until it is read again, while there is something */
	uint64_t read_ns; /* when it was read last; 0: never */
	bool left;        /* not all that was there then */
	bool reading;
	struct batch_clock clock;
};

struct udp {
	struct udp_conf conf;
	int fd;
	int foreign_fd; /* at the same address and port, not connected: gets what fd does not; -1:
	                   there is none */
	uv_timer_t discovery, keepalive, silence;
	int closing; /* handles not closed yet */
	bool found;  /* discovery is over */
	unsigned tries;

	uint64_t last_arrival_ns;
	int64_t wall_offset_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC at the last batch */
	uint32_t kernel_dropped, foreign;

	struct transport *transport;
	uint32_t nonce, keepalives, timestamp;
	uint16_t sequence;
	unsigned silence_left;
	bool media; /* udp_media() was called */
};

/* One batch for all connections: the network thread reads one socket at a time. */
static struct {
	uint8_t data[BATCH][IPC_MAX_DGRAM];
	uint8_t control[BATCH][CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(sizeof(uint32_t))];
	struct iovec iov[BATCH];
	struct mmsghdr msgs[BATCH];
} batch;

/* Ready for the next n datagrams; what the kernel leaves alone stays as it is. */
static void batch_reset(size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		batch.iov[i] = (struct iovec){ batch.data[i], sizeof(batch.data[i]) };
		batch.msgs[i].msg_hdr = (struct msghdr){ .msg_iov = &batch.iov[i],
			.msg_iovlen = 1,
			.msg_control = batch.control[i],
			.msg_controllen = sizeof(batch.control[i]) };
	}
}

/* Both clocks, as of one moment if the scheduler lets us. */
static struct batch_clock clock_read(void)
{
	struct batch_clock c = { 0 };
	int i;

	for (i = 0; i < CLOCK_READS; i++) {
		c.mono_ns = td_mono_ns();
		c.wall_ns = td_utc_ns();
		if (td_mono_ns() - c.mono_ns <= CLOCK_READ_NS)
			break;
	}
	return c;
}

/* Whether stamps may be from before the wall clock was set. */
static bool clock_stepped(struct udp *u)
{
	const struct batch_clock *c = &u->conf.reader->clock;
	int64_t offset = (int64_t)(c->wall_ns - c->mono_ns), moved = offset - u->wall_offset_ns;

	u->wall_offset_ns = offset;
	return moved > CLOCK_STEP_NS || moved < -CLOCK_STEP_NS;
}

/* On the monotonic base; *stepped is brought up to date. */
static uint64_t stamp_arrival(struct udp *u, uint64_t stamp_ns, bool *stepped)
{
	struct batch_clock *clock = &u->conf.reader->clock;

	if (stamp_ns > clock->wall_ns) { /* it came after we had looked at the clocks */
		*clock = clock_read();
		*stepped = clock_stepped(u) || *stepped;
	}
	if (*stepped || stamp_ns > clock->wall_ns)
		return clock->mono_ns;
	return clock->mono_ns - (clock->wall_ns - stamp_ns);
}

/* Reads the kernel's stamp and drop count; arrival on the monotonic base, never falling. */
static uint64_t datagram_arrival(struct udp *u, struct msghdr *msg, bool *stepped)
{
	uint64_t arrival_ns = u->conf.reader->clock.mono_ns;
	struct cmsghdr *cm;
	struct timespec ts;
	uint32_t dropped;

	for (cm = CMSG_FIRSTHDR(msg); cm != NULL; cm = CMSG_NXTHDR(msg, cm)) {
		if (cm->cmsg_level != SOL_SOCKET)
			continue;
		if (cm->cmsg_type == SO_TIMESTAMPNS) {
			memcpy(&ts, CMSG_DATA(cm), sizeof(ts));
			arrival_ns = stamp_arrival(u,
				(uint64_t)ts.tv_sec * TD_SEC_NS + (uint64_t)ts.tv_nsec, stepped);
		} else if (cm->cmsg_type == SO_RXQ_OVFL) {
			memcpy(&dropped, CMSG_DATA(cm), sizeof(dropped));
			if (dropped != u->kernel_dropped)
				u->conf.kernel_dropped(u->conf.user, dropped - u->kernel_dropped);
			u->kernel_dropped = dropped;
		}
	}
	if (arrival_ns < u->last_arrival_ns)
		arrival_ns = u->last_arrival_ns;
	u->last_arrival_ns = arrival_ns;
	return arrival_ns;
}

/* True when the datagram was about discovery, whatever came of it. */
static bool discovery_take(struct udp *u, const uint8_t *data, size_t len)
{
	char address[INET6_ADDRSTRLEN];
	uint16_t port;

	if (datagram_classify(data, len) != DATAGRAM_DISCOVERY)
		return false;
	if (u->found || discovery_response(address, &port, data, len, u->conf.ssrc) != TD_OK)
		return true;
	u->found = true;
	uv_timer_stop(&u->discovery);
	u->conf.discovered(u->conf.user, address, port);
	return true;
}

/* True when there may be more. */
static bool socket_read(struct udp *u)
{
	struct udp_reader *r = u->conf.reader;
	bool stepped = clock_stepped(u);
	unsigned count = 0;
	int turn, n, i;

	for (turn = 0; turn < BATCHES_A_TURN; turn++) {
		n = recvmmsg(u->fd, batch.msgs, BATCH, MSG_DONTWAIT, NULL);
		/* ECONNREFUSED and its kin are old news about datagrams we sent: the gateway
		 * tells when the server is gone. */
		if (n <= 0)
			return false;
		count += (unsigned)n;
		if (count > r->most)
			r->most = count;
		for (i = 0; i < n && u->closing == 0; i++) {
			uint64_t arrival_ns = datagram_arrival(u, &batch.msgs[i].msg_hdr, &stepped);
			const uint8_t *data = batch.data[i];
			size_t len = batch.msgs[i].msg_len;

			if (!discovery_take(u, data, len))
				u->conf.datagram(u->conf.user, arrival_ns, data, len);
		}
		batch_reset((size_t)n);
		if (n < BATCH || u->closing > 0) /* a callback has freed us */
			return false;
	}
	return true;
}

/* ---- what is not the server's ---- */

/* The other socket takes nothing in: the kernel counts what it throws away. */
static void tell_foreign(struct udp *u)
{
	uint32_t info[SK_MEMINFO_VARS], n;
	socklen_t len = sizeof(info);

	if (u->foreign_fd < 0 ||
		getsockopt(u->foreign_fd, SOL_SOCKET, SO_MEMINFO, info, &len) != 0 ||
		len < (SK_MEMINFO_DROPS + 1) * sizeof(info[0]))
		return;
	n = info[SK_MEMINFO_DROPS] - u->foreign;
	u->foreign += n;
	if (n > 0)
		u->conf.foreign(u->conf.user, n);
}

/* The kernel gives a datagram to the socket that is connected to its sender, if there is one. */
static int foreign_open(int fd)
{
	struct sock_filter nothing[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_fprog filter = { 1, nothing };
	struct sockaddr_in here;
	socklen_t len = sizeof(here);
	int other, on = 1, off = 0;

	if ((other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0)
		return -1;
	/* Two sockets share an address if both allow it; nobody else shall. */
	if (setsockopt(other, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0 &&
		getsockname(fd, (struct sockaddr *)&here, &len) == 0 &&
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
		setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
		bind(other, (const struct sockaddr *)&here, sizeof(here)) == 0 &&
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &off, sizeof(off)) == 0 &&
		setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &off, sizeof(off)) == 0)
		return other;
	close(other);
	return -1;
}

/* ---- all sockets ---- */

/* As long as we may, and no longer than MANY take to come as they came since the last time. */
static uint64_t next_wait_ms(const struct udp_reader *r, uint64_t since_ns)
{
	uint64_t ms = since_ns / TD_MS_NS * MANY / (r->most > 0 ? r->most : 1);

	if (ms < SHORTEST_MS)
		ms = SHORTEST_MS;
	return ms < r->latency_ms ? ms : r->latency_ms;
}

/* Whether there was anything to read. */
static bool read_all(struct udp_reader *r)
{
	struct epoll_event ready[READY];
	int turn, n = READY, i;
	bool any = false;
	uint64_t last_ns = r->read_ns;

	r->clock = clock_read();
	r->read_ns = r->clock.mono_ns;
	r->left = false;
	r->most = 0;
	r->reading = true;
	/* Those that were told last are told last again: everybody has their turn. */
	for (turn = 0; turn < READY_TURNS && n == READY; turn++) {
		n = epoll_wait(r->epoll, ready, READY, 0);
		for (i = 0; i < n; i++) {
			struct udp *u = ready[i].data.ptr;

			/* What is freed meanwhile is not gone before this turn of the loop is. */
			if (u->closing == 0 && socket_read(u))
				r->left = true;
		}
		any = any || n > 0;
	}
	r->left = r->left || n == READY;
	r->wait_ms = next_wait_ms(r, r->read_ns - last_ns);
	r->reading = false;
	return any;
}

static void on_timer(uv_timer_t *timer);
static void on_readable(uv_poll_t *poll, int status, int events);

/* Reads again when the timer is due, or else as soon as there is anything. */
static void go_on(struct udp_reader *r, bool later, uint64_t ms)
{
	if (later) {
		uv_poll_stop(r->poll);
		uv_timer_start(r->timer, on_timer, ms, 0);
	} else {
		uv_timer_stop(r->timer);
		uv_poll_start(r->poll, UV_READABLE, on_readable);
	}
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct udp_reader *r = poll->data;
	uint64_t since_ms = (td_mono_ns() - r->read_ns) / TD_MS_NS;

	(void)status;
	(void)events;
	if (r->left || since_ms >= r->wait_ms)
		read_all(r);
	else
		go_on(r, true, r->wait_ms - since_ms);
}

static void on_timer(uv_timer_t *timer)
{
	struct udp_reader *r = timer->data;

	bool any = read_all(r);

	/* What is left does not wait again: it would become more and more. */
	go_on(r, any && !r->left, r->wait_ms);
}

void udp_reader_catch_up(struct udp_reader *r)
{
	int turn = 0;

	if (r->reading) /* what is read lies in the one batch */
		return;
	do
		read_all(r);
	while (r->left && ++turn < CATCH_UP_TURNS);
	if (uv_is_active((uv_handle_t *)r->timer))
		go_on(r, !r->left, r->wait_ms);
}

int udp_reader_new(struct udp_reader **ret, uv_loop_t *loop, unsigned latency_ms)
{
	struct udp_reader *r = calloc(1, sizeof(*r));
	int status = TD_ERR_NOMEM;

	if (r == NULL)
		return TD_ERR_NOMEM;
	r->epoll = -1;
	r->timer = malloc(sizeof(*r->timer));
	r->poll = malloc(sizeof(*r->poll));
	if (r->timer == NULL || r->poll == NULL)
		goto fail;
	status = TD_ERR_SYS;
	if ((r->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0 ||
		uv_poll_init(loop, r->poll, r->epoll) != 0)
		goto fail;
	uv_timer_init(loop, r->timer);
	r->latency_ms = r->wait_ms = latency_ms;
	r->timer->data = r->poll->data = r;
	batch_reset(BATCH);
	uv_poll_start(r->poll, UV_READABLE, on_readable);
	*ret = r;
	return TD_OK;
fail:
	if (r->epoll >= 0)
		close(r->epoll);
	free(r->timer);
	free(r->poll);
	free(r);
	return status;
}

static void handle_freed(uv_handle_t *handle)
{
	free(handle);
}

void udp_reader_free(struct udp_reader *r)
{
	if (r == NULL)
		return;
	uv_close((uv_handle_t *)r->timer, handle_freed);
	uv_close((uv_handle_t *)r->poll, handle_freed);
	close(r->epoll);
	free(r);
}

/* ---- what is sent ---- */

/* What we send is never worth an error: it is repeated, or not needed. */
static void send_quietly(struct udp *u, const uint8_t *data, size_t len)
{
	if (send(u->fd, data, len, MSG_DONTWAIT) < 0)
		log_debug("udp: send: %s", strerror(errno));
}

static void on_discovery(uv_timer_t *timer)
{
	struct udp *u = timer->data;
	uint8_t request[DISCOVERY_LEN];

	if (u->tries++ == DISCOVERY_TRIES) {
		uv_timer_stop(timer);
		u->conf.failed(u->conf.user, "no answer to IP discovery");
		return;
	}
	discovery_request(request, u->conf.ssrc);
	send_quietly(u, request, sizeof(request));
}

static void on_keepalive(uv_timer_t *timer)
{
	struct udp *u = timer->data;
	uint8_t data[KEEPALIVE_LEN];
	struct wr w;

	tell_foreign(u);
	wr_init(&w, data, sizeof(data));
	wr_u64(&w, u->keepalives++);
	send_quietly(u, data, sizeof(data));
	uv_timer_start(timer, on_keepalive, KEEPALIVE_MS - uv_now(timer->loop) % KEEPALIVE_SLOT_MS,
		0);
}

static void on_silence(uv_timer_t *timer)
{
	static const uint8_t silence[] = { 0xf8, 0xff, 0xfe };
	struct udp *u = timer->data;
	uint8_t header[RTP_MIN_HEADER];
	uint8_t packet[RTP_MIN_HEADER + sizeof(silence) + TRANSPORT_TAG_LEN + TRANSPORT_NONCE_LEN];
	size_t len;

	rtp_write(header, RTP_OPUS_PAYLOAD_TYPE, u->sequence++, u->timestamp, u->conf.ssrc);
	u->timestamp += SILENCE_SAMPLES;
	len = transport_seal(u->transport, packet, header, sizeof(header), silence, sizeof(silence),
		u->nonce++);
	if (len > 0)
		send_quietly(u, packet, len);
	if (--u->silence_left > 0)
		return;
	uv_timer_stop(timer);
	/* Nothing more is sealed on this socket. */
	transport_free(u->transport);
	u->transport = NULL;
}

static int socket_open(const struct udp_conf *conf)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(conf->port) };
	int one = 1, size = RECEIVE_BUFFER, fd;

	if (inet_pton(AF_INET, conf->host, &to.sin_addr) != 1) {
		errno = EINVAL;
		return -1;
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	/* More than net.core.rmem_max where we may; what we get is what we get. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof(one)) != 0 ||
		connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int udp_new(struct udp **ret, const struct udp_conf *conf)
{
	struct udp *u = calloc(1, sizeof(*u));
	struct batch_clock now = clock_read();
	struct epoll_event watch = { .events = EPOLLIN, .data.ptr = u };

	if (u == NULL)
		return TD_ERR_NOMEM;
	u->conf = *conf;
	u->conf.host = NULL; /* borrowed for the call */
	if ((u->fd = socket_open(conf)) < 0 ||
		epoll_ctl(conf->reader->epoll, EPOLL_CTL_ADD, u->fd, &watch) != 0) {
		if (u->fd >= 0)
			close(u->fd);
		free(u);
		return TD_ERR_SYS;
	}
	/* It counts what is not for us: no call is worse without it. */
	if ((u->foreign_fd = foreign_open(u->fd)) < 0)
		log_debug("udp: datagrams of others are not counted: %s", strerror(errno));
	u->wall_offset_ns = (int64_t)(now.wall_ns - now.mono_ns);
	uv_timer_init(conf->loop, &u->discovery);
	uv_timer_init(conf->loop, &u->keepalive);
	uv_timer_init(conf->loop, &u->silence);
	u->discovery.data = u->keepalive.data = u->silence.data = u;
	uv_timer_start(&u->discovery, on_discovery, 0, DISCOVERY_MS);
	*ret = u;
	return TD_OK;
}

static void on_closed(uv_handle_t *handle)
{
	struct udp *u = handle->data;

	if (--u->closing > 0)
		return;
	transport_free(u->transport);
	free(u);
}

void udp_free(struct udp *u)
{
	if (u == NULL)
		return;
	tell_foreign(u);
	u->closing = 3;
	uv_close((uv_handle_t *)&u->discovery, on_closed);
	uv_close((uv_handle_t *)&u->keepalive, on_closed);
	uv_close((uv_handle_t *)&u->silence, on_closed);
	/* A worker that is just being started has a copy of the descriptor: closing ours is not
	 * enough. */
	epoll_ctl(u->conf.reader->epoll, EPOLL_CTL_DEL, u->fd, NULL);
	close(u->fd);
	if (u->foreign_fd >= 0)
		close(u->foreign_fd);
}

int udp_key(struct udp *u, enum transport_mode mode, const uint8_t key[static TRANSPORT_KEY_LEN])
{
	struct transport *t;
	int r;

	if (u->media && u->silence_left == 0)
		return TD_OK; /* nothing will be sealed with it */
	if ((r = transport_new(&t, mode, key)) != TD_OK)
		return r;
	transport_free(u->transport);
	u->transport = t;
	return TD_OK;
}

void udp_media(struct udp *u)
{
	if (u->transport == NULL)
		return;
	u->media = true;
	u->silence_left = SILENCE_PACKETS;
	uv_timer_start(&u->silence, on_silence, 0, SILENCE_MS);
	uv_timer_start(&u->keepalive, on_keepalive, 0, 0);
}
