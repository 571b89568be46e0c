/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "tests/voiceserver/live.h"
#include "tests/voiceserver/ws.h"

/* After the script: time for close frames to get through, or for clients to leave by themselves. */
enum { LINGER_MS = 300, LEAVE_MS = 10000, RECEIVE_MAX = 2048, RECEIVE_ROUNDS = 64 };

struct live {
	struct server *server;
	uv_loop_t loop;
	uv_timer_t next, limit;
	uv_poll_t poll;
	uv_signal_t signals[2];
	int fd;
	bool started, stopping;
	struct ws *ws;
};

void live_datagram(void *user, const struct sockaddr_in *to, const uint8_t *data, size_t len)
{
	const struct live_udp *udp = user;

	/* What the kernel does not take is lost, as anywhere on the way. */
	if (sendto(udp->fd, data, len, 0, (const struct sockaddr *)to, sizeof(*to)) < 0)
		log_warn("sendto: %s", strerror(errno));
}

static void enter(void *user)
{
	struct live *l = user;

	l->server->now_ns = td_mono_ns();
}

static void stop(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

static void due(uv_timer_t *timer);

/* Does what is due and sleeps until the next thing is. */
static void leave(void *user)
{
	struct live *l = user;
	struct server *s = l->server;
	uint64_t next, now, wait_ms;

	server_run(s);
	if (server_ended(s) && !l->stopping) {
		l->stopping = true;
		uv_timer_start(&l->limit, stop, s->sc->end == END_CLOSE ? LINGER_MS : LEAVE_MS, 0);
	}
	if (l->stopping && s->gws == NULL)
		uv_timer_start(&l->limit, stop, 0, 0);
	next = server_next_ns(s);
	if (next == UINT64_MAX) {
		uv_timer_stop(&l->next);
		return;
	}
	now = td_mono_ns();
	/* Never at once: the loop would not look at its sockets before all timers have run out. */
	wait_ms = next > now ? (next - now + TD_MS_NS - 1) / TD_MS_NS : 1;
	uv_update_time(&l->loop);
	uv_timer_start(&l->next, due, wait_ms, 0);
}

static void due(uv_timer_t *timer)
{
	enter(timer->data);
	leave(timer->data);
}

static void readable(uv_poll_t *poll, int status, int events)
{
	struct live *l = poll->data;
	uint8_t data[RECEIVE_MAX];
	struct sockaddr_in from;
	socklen_t from_len;
	ssize_t n;
	int i;

	(void)status;
	(void)events;
	enter(l);
	for (i = 0; i < RECEIVE_ROUNDS; i++) {
		from_len = sizeof(from);
		n = recvfrom(l->fd, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&from,
			&from_len);
		if (n < 0)
			break;
		server_datagram(l->server, &from, data, (size_t)n);
	}
	leave(l);
}

static void signalled(uv_signal_t *handle, int number)
{
	(void)number;
	uv_stop(handle->loop);
}

static int udp_open(struct live *l)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	l->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
		getsockname(l->fd, (struct sockaddr *)&at, &len) != 0)
		return TD_ERR_SYS;
	l->server->udp_port = ntohs(at.sin_port);
	return TD_OK;
}

static void live_stop(struct live *l)
{
	int i;

	/* The WebSocket library closes its own handles when the loop runs once more. */
	ws_stop(l->ws);
	if (l->started) {
		uv_close((uv_handle_t *)&l->next, NULL);
		uv_close((uv_handle_t *)&l->limit, NULL);
		uv_close((uv_handle_t *)&l->poll, NULL);
		for (i = 0; i < 2; i++)
			uv_close((uv_handle_t *)&l->signals[i], NULL);
	}
	uv_run(&l->loop, UV_RUN_DEFAULT);
	ws_free(l->ws);
	uv_loop_close(&l->loop);
	if (l->fd >= 0)
		close(l->fd);
}

static void live_start(struct live *l, double max_seconds)
{
	static const int numbers[2] = { SIGTERM, SIGINT };
	int i;

	l->started = true;
	uv_timer_init(&l->loop, &l->next);
	uv_timer_init(&l->loop, &l->limit);
	uv_poll_init(&l->loop, &l->poll, l->fd);
	l->next.data = l->poll.data = l;
	uv_poll_start(&l->poll, UV_READABLE, readable);
	uv_timer_start(&l->limit, stop, (uint64_t)(max_seconds * 1000), 0);
	for (i = 0; i < 2; i++) {
		uv_signal_init(&l->loop, &l->signals[i]);
		uv_signal_start(&l->signals[i], signalled, numbers[i]);
	}
}

int live_run(struct server *s, const struct live_conf *conf)
{
	struct live l = { .server = s, .fd = -1 };
	struct ws_hooks hooks = { &l, enter, leave };
	struct live_udp *udp = s->io.user;
	int r;

	enter(&l);
	s->utc_ns = (int64_t)(td_utc_ns() - s->now_ns);
	if (uv_loop_init(&l.loop) != 0)
		return TD_ERR_SYS;
	if ((r = udp_open(&l)) != TD_OK)
		goto out;
	udp->fd = l.fd;
	live_start(&l, conf->max_seconds);
	if ((r = ws_new(&l.ws, &l.loop, s, conf->certs, &hooks)) != TD_OK ||
		(r = conf->ready(conf->user)) != TD_OK)
		goto out;
	uv_run(&l.loop, UV_RUN_DEFAULT);
out:
	live_stop(&l);
	return r;
}
