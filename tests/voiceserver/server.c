/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/err.h"
#include "tests/voiceserver/call.h"
#include "tests/voiceserver/gateway.h"
#include "tests/voiceserver/packet.h"

enum { KEEPALIVE_LEN = 8, PING = 0x1337cafe, PONG = 0x1337f00d };
/* What a client behind address translation looks like from outside (RFC 5737). */
#define NAT_ADDRESS "198.51.100.7"
enum { NAT_PORT_BITS = 0x2a00 };

int server_new(struct server **ret, const struct scenario *sc, const struct server_io *io)
{
	struct server *s = calloc(1, sizeof(*s));
	int r = TD_ERR_NOMEM;

	if (s == NULL)
		goto out;
	s->sc = sc;
	s->io = *io;
	if ((s->calls = calloc(sc->n_guilds, sizeof(*s->calls))) == NULL)
		goto out;
	for (; s->n_calls < sc->n_guilds; s->n_calls++)
		if ((r = call_new(&s->calls[s->n_calls], s, s->n_calls)) != TD_OK)
			goto out;
	*ret = s;
	s = NULL;
	r = TD_OK;
out:
	server_free(s);
	return r;
}

void server_free(struct server *s)
{
	if (s == NULL)
		return;
	while (s->n_calls > 0)
		call_free(s->calls[--s->n_calls]);
	free(s->calls);
	free(s);
}

void server_event(struct server *s, json_t *event)
{
	if (event != NULL)
		s->io.event(s->io.user, event);
	json_decref(event);
}

struct session *server_session_by_ssrc(const struct server *s, uint32_t ssrc)
{
	struct session *found;
	size_t i;

	for (i = 0; i < s->n_calls; i++)
		for (found = s->calls[i]->sessions; found != NULL; found = found->next)
			if (found->ssrc == ssrc)
				return found;
	return NULL;
}

static struct session *session_by_address(const struct server *s, const struct sockaddr_in *from)
{
	struct session *found;
	size_t i;

	for (i = 0; i < s->n_calls; i++)
		for (found = s->calls[i]->sessions; found != NULL; found = found->next)
			if (found->address.sin_port == from->sin_port &&
				found->address.sin_addr.s_addr == from->sin_addr.s_addr)
				return found;
	return NULL;
}

static void discover(struct server *s, const struct sockaddr_in *from, uint32_t ssrc)
{
	struct session *x = server_session_by_ssrc(s, ssrc), *old;
	uint8_t answer[PACKET_DISCOVERY_LEN];

	if (x == NULL || x->discoveries++ < s->sc->discovery_loss)
		return;
	/* A port that was another session's is this one's now. */
	if ((old = session_by_address(s, from)) != NULL)
		old->address.sin_port = 0;
	x->address = *from;
	if (s->sc->nat) {
		strcpy(x->told_address, NAT_ADDRESS);
		x->told_port = ntohs(from->sin_port) ^ NAT_PORT_BITS;
	} else {
		inet_ntop(AF_INET, &from->sin_addr, x->told_address, sizeof(x->told_address));
		x->told_port = ntohs(from->sin_port);
	}
	packet_discovery_answer(answer, ssrc, x->told_address, x->told_port);
	session_datagram(x, answer, sizeof(answer));
}

static void keepalive(struct session *x, const uint8_t data[static KEEPALIVE_LEN])
{
	uint8_t echo[KEEPALIVE_LEN];
	struct rd r;
	struct wr w;

	rd_init(&r, data, KEEPALIVE_LEN);
	memcpy(echo, data, sizeof(echo));
	if (rd_u32(&r) == PING) {
		wr_init(&w, echo, sizeof(echo));
		wr_u32(&w, PONG);
	}
	session_datagram(x, echo, sizeof(echo));
}

void server_datagram(struct server *s, const struct sockaddr_in *from, const uint8_t *data,
	size_t len)
{
	struct session *x;
	uint32_t ssrc;

	if (packet_is_discovery(data, len, &ssrc))
		discover(s, from, ssrc);
	else if ((x = session_by_address(s, from)) == NULL)
		return;
	else if (len == KEEPALIVE_LEN)
		keepalive(x, data);
	else
		call_datagram(x, data, len);
}

uint64_t server_next_ns(const struct server *s)
{
	uint64_t next = UINT64_MAX, ns;
	const struct gw *g;
	size_t i;

	for (i = 0; i < s->n_calls; i++)
		if ((ns = call_next_ns(s->calls[i])) < next)
			next = ns;
	for (g = s->gws; g != NULL; g = g->next)
		if ((ns = gw_next_ns(g)) < next)
			next = ns;
	return next;
}

void server_run(struct server *s)
{
	struct gw *g;
	size_t i;

	for (i = 0; i < s->n_calls; i++)
		call_run(s->calls[i]);
	for (g = s->gws; g != NULL; g = g->next)
		gw_run(g);
}

bool server_ended(const struct server *s)
{
	size_t i;

	for (i = 0; i < s->n_calls; i++)
		if (s->calls[i]->end_ns == 0)
			return false;
	return true;
}
