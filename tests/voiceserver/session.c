/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "tests/voiceserver/call.h"
#include "tests/voiceserver/dave.h"
#include "tests/voiceserver/gateway.h"
#include "tests/voiceserver/packet.h"
#include "tests/voiceserver/session.h"

/* Number and opcode of a binary message. */
enum { BINARY_HEAD = 3 };

struct numbered {
	struct numbered *next;
	uint16_t number;
	bool binary;
	size_t len;
	char *text; /* with a NUL behind it */
};

int session_new(struct session **ret, struct call *call, uint64_t user_id, size_t number)
{
	struct session *s = calloc(1, sizeof(*s));
	int r = TD_ERR_NOMEM;

	if (s == NULL)
		goto out;
	s->call = call;
	s->user_id = user_id;
	s->number = number;
	s->next_number = (uint16_t)call->server->sc->first_number;
	s->rng = rng_stream(call->server->sc->seed ^ call->guild->guild_id, user_id, number,
		RNG_SESSION);
	do
		s->ssrc = 1000 + 2 * (uint32_t)rng_below(&s->rng, 500000);
	while (server_session_by_ssrc(call->server, s->ssrc) != NULL);
	s->nonce = rng_u32(&s->rng) & 0xffff;
	if ((r = wire_new(&s->wire)) != TD_OK)
		goto out;
	*ret = s;
	s = NULL;
out:
	session_free(s);
	return r;
}

static void numbered_drop(struct session *s)
{
	struct numbered *n = s->first;

	s->first = n->next;
	if (s->first == NULL)
		s->last = NULL;
	s->n_kept--;
	free(n->text);
	free(n);
}

void session_free(struct session *s)
{
	if (s == NULL)
		return;
	while (s->first != NULL)
		numbered_drop(s);
	transport_free(s->transport);
	wire_free(s->wire);
	free(s->peers);
	free(s);
}

void session_say(struct session *s, int op, json_t *d)
{
	char *text;
	json_t *m = json_pack("{s:i, s:o}", "op", op, "d", d);

	text = m != NULL ? json_dumps(m, JSON_COMPACT) : NULL;
	if (text != NULL && s->gw != NULL)
		gw_send_text(s->gw, text);
	free(text);
	json_decref(m);
}

static void numbered_deliver(struct session *s, const struct numbered *n)
{
	if (n->binary)
		gw_send_binary(s->gw, n->text, n->len);
	else
		gw_send_text(s->gw, n->text);
}

/* Takes n over. */
static void numbered_send(struct session *s, struct numbered *n)
{
	n->number = s->next_number++;
	if (s->last != NULL)
		s->last->next = n;
	else
		s->first = n;
	s->last = n;
	if (s->gw != NULL)
		numbered_deliver(s, n);
	if (++s->n_kept > s->call->server->sc->resume_buffer)
		numbered_drop(s);
}

void session_say_numbered(struct session *s, int op, json_t *d)
{
	struct numbered *n = calloc(1, sizeof(*n));
	json_t *m = json_pack("{s:i, s:o, s:i}", "op", op, "d", d, "seq",
		n != NULL ? (int)s->next_number : 0);

	if (n == NULL || m == NULL || (n->text = json_dumps(m, JSON_COMPACT)) == NULL) {
		free(n);
		goto out;
	}
	n->len = strlen(n->text);
	numbered_send(s, n);
out:
	json_decref(m);
}

void session_say_binary(struct session *s, uint8_t op, const uint16_t *id, const uint8_t *data,
	size_t len)
{
	size_t room = BINARY_HEAD + sizeof(*id) + len;
	struct numbered *n = calloc(1, sizeof(*n));
	struct wr w;

	if (n == NULL || (n->text = malloc(room)) == NULL) {
		free(n);
		return;
	}
	wr_init(&w, n->text, room);
	wr_u16(&w, s->next_number);
	wr_u8(&w, op);
	if (id != NULL)
		wr_u16(&w, *id);
	wr_bytes(&w, data, len);
	n->binary = true;
	n->len = w.len;
	numbered_send(s, n);
}

int session_redeliver(struct session *s, int64_t ack)
{
	uint16_t from = ack < 0 ? (uint16_t)s->call->server->sc->first_number : (uint16_t)(ack + 1);
	struct numbered *n;

	if (from == s->next_number)
		return TD_OK;
	for (n = s->first; n != NULL && n->number != from; n = n->next)
		continue;
	if (n == NULL)
		return TD_ERR_LIMIT;
	for (; n != NULL; n = n->next)
		numbered_deliver(s, n);
	return TD_OK;
}

static bool ssrc_taken(const struct session *s, uint32_t ssrc)
{
	size_t i;

	for (i = 0; i < s->n_peers; i++)
		if (s->peers[i].ssrc == ssrc)
			return true;
	return ssrc == s->ssrc;
}

struct peer *session_peer(struct session *s, uint64_t user_id, size_t stay)
{
	struct peer *p, *bigger;
	size_t i;

	for (i = 0; i < s->n_peers; i++)
		if (s->peers[i].user_id == user_id && s->peers[i].stay == stay)
			return &s->peers[i];
	if ((bigger = realloc(s->peers, (s->n_peers + 1) * sizeof(*bigger))) == NULL)
		return NULL;
	s->peers = bigger;
	p = &s->peers[s->n_peers];
	memset(p, 0, sizeof(*p));
	p->user_id = user_id;
	p->stay = stay;
	p->stream.rng = rng_stream(s->call->server->sc->seed ^ s->call->guild->guild_id, user_id,
		s->number * SCENARIO_MAX_LIST + stay, RNG_PEER);
	do
		p->ssrc = 1000 + 2 * (uint32_t)rng_below(&p->stream.rng, 500000);
	while (ssrc_taken(s, p->ssrc));
	s->n_peers++;
	return p;
}

int session_key(struct session *s, enum transport_mode mode)
{
	struct transport *t = NULL;
	int r;

	rng_fill(&s->rng, s->key, sizeof(s->key));
	if (mode != TRANSPORT_NONE && (r = transport_new(&t, mode, s->key)) != TD_OK)
		return r;
	transport_free(s->transport);
	s->transport = t;
	s->mode = mode;
	if (s->recorder && s->call->capture != NULL)
		capture_key(s->call->capture, mode, s->key, s->call->server->udp_port);
	return TD_OK;
}

void session_describe(struct session *s)
{
	json_t *key = json_array();
	size_t i;

	for (i = 0; i < sizeof(s->key); i++)
		json_array_append_new(key, json_integer(s->key[i]));
	session_say_numbered(s, GW_SESSION_DESCRIPTION,
		json_pack("{s:s, s:o, s:i, s:s, s:s, s:s}", "mode", transport_mode_name(s->mode),
			"secret_key", key, "dave_protocol_version", dave_version(s), "audio_codec",
			"opus", "video_codec", "H264", "media_session_id", s->session_id));
	s->described = true;
}

void session_name(struct session *s, uint64_t user_id, size_t stay, unsigned bits)
{
	struct server *sv = s->call->server;
	struct peer *p = session_peer(s, user_id, stay);
	char id[TD_ID_TEXT];

	if (p == NULL)
		return;
	td_id_format(id, user_id);
	session_say_numbered(s, GW_SPEAKING,
		json_pack("{s:i, s:I, s:s}", "speaking", (int)bits, "ssrc", (json_int_t)p->ssrc,
			"user_id", id));
	if (s->recorder && s->call->capture != NULL)
		capture_speaker(s->call->capture, sv->now_ns + (uint64_t)sv->utc_ns, p->ssrc,
			user_id);
}

bool session_hears(const struct session *s)
{
	enum media_after after = s->call->server->sc->media_after;

	return s->described && s->address.sin_port != 0 &&
		(after != AFTER_SPEAKING || s->speaking) && (after != AFTER_UDP || s->udp_heard);
}

enum wire_fate session_media(struct session *s, uint64_t user_id, size_t stay,
	const struct media *m, const struct faults *faults, uint32_t *ret_ssrc)
{
	struct server *sv = s->call->server;
	struct peer *p = session_peer(s, user_id, stay);
	uint8_t packet[PACKET_MAX];
	size_t len;

	if (p == NULL)
		return WIRE_LOST;
	*ret_ssrc = p->ssrc;
	if (s->recorder && sv->now_ns < s->call->outage_until_ns)
		return WIRE_LOST;
	len = packet_build(packet, s->transport, m, p->ssrc, s->nonce++);
	return wire_push(s->wire, faults, &p->stream, sv->now_ns, sv->now_ns - s->call->start_ns,
		packet, len);
}

void session_datagram(struct session *s, const uint8_t *data, size_t len)
{
	struct server *sv = s->call->server;

	if (s->address.sin_port == 0)
		return;
	sv->io.datagram(sv->io.user, &s->address, data, len);
}

void session_run(struct session *s)
{
	struct server *sv = s->call->server;
	const uint8_t *data;
	size_t len;

	while (wire_next_ns(s->wire) <= sv->now_ns) {
		len = wire_pop(s->wire, &data);
		if (s->recorder && sv->truth != NULL)
			truth_first_datagram(sv->truth, s->call->number,
				sv->now_ns - s->call->start_ns);
		if (s->recorder && s->call->capture != NULL)
			capture_datagram(s->call->capture, sv->now_ns + (uint64_t)sv->utc_ns, data,
				len);
		session_datagram(s, data, len);
	}
}
