/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/ids.h"
#include "common/rtp.h"
#include "tests/voiceserver/call.h"
#include "tests/voiceserver/capture.h"
#include "tests/voiceserver/dave.h"
#include "tests/voiceserver/events.h"
#include "tests/voiceserver/gateway.h"
#include "tests/voiceserver/packet.h"

/* ---- making ---- */

void call_ticket_renew(struct call *c, struct ticket *t)
{
	int i;

	for (i = 0; i < TICKET_TEXT - 1; i++) {
		t->session_id[i] = "0123456789abcdef"[rng_below(&c->rng, 16)];
		t->token[i] = "0123456789abcdef"[rng_below(&c->rng, 16)];
	}
}

static int tickets_new(struct call *c)
{
	size_t i;

	if ((c->tickets = calloc(c->guild->n_users, sizeof(*c->tickets))) == NULL)
		return TD_ERR_NOMEM;
	for (i = 0; i < c->guild->n_users; i++) {
		c->tickets[i].user_id = c->guild->users[i];
		call_ticket_renew(c, &c->tickets[i]);
	}
	return TD_OK;
}

static int members_new(struct call *c)
{
	const struct scenario_speaker *speakers = c->guild->speakers;
	const struct scenario *sc = c->server->sc;
	size_t i, k, n = 0;
	int r;

	for (i = 0; i < c->guild->n_speakers; i++)
		n += speakers[i].n_present;
	if (n > 0 && (c->members = calloc(n, sizeof(*c->members))) == NULL)
		return TD_ERR_NOMEM;
	for (i = 0; i < c->guild->n_speakers; i++)
		for (k = 0; k < speakers[i].n_present; k++) {
			struct member *m = &c->members[c->n_members];

			m->speaker = i;
			m->stay = k;
			m->present = speakers[i].present[k].from_ns == 0;
			r = talk_new(&m->talk, &speakers[i], c->clips[i],
				sc->seed ^ c->guild->guild_id, k, sc->length_ns);
			if (r != TD_OK)
				return r;
			c->n_members++;
		}
	return TD_OK;
}

static int clip_new(struct ogg_clip **ret, const struct call *c, const char *name)
{
	char path[4096];
	int r;

	snprintf(path, sizeof(path), "%s/%s", c->server->sc->media_dir, name);
	if ((r = ogg_clip_load(ret, path)) != TD_OK)
		fprintf(stderr, "voiceserver: %s: %s\n", path, td_strerror(r));
	return r;
}

static int clips_new(struct call *c)
{
	size_t i;
	int r;

	if ((c->clips = calloc(c->guild->n_speakers + 1, sizeof(*c->clips))) == NULL)
		return TD_ERR_NOMEM;
	for (i = 0; i < c->guild->n_speakers; i++)
		if ((r = clip_new(&c->clips[i], c, c->guild->speakers[i].clip)) != TD_OK)
			return r;
	if (c->guild->users_clip == NULL)
		return TD_OK;
	return clip_new(&c->users_clip, c, c->guild->users_clip);
}

int call_new(struct call **ret, struct server *s, size_t number)
{
	struct call *c = calloc(1, sizeof(*c));
	int r = TD_ERR_NOMEM;

	if (c == NULL)
		goto out;
	c->server = s;
	c->number = number;
	c->guild = &s->sc->guilds[number];
	c->rng = rng_stream(s->sc->seed, c->guild->guild_id, 0, RNG_TICKET);
	if ((r = tickets_new(c)) != TD_OK || (r = clips_new(c)) != TD_OK ||
		(r = members_new(c)) != TD_OK || (r = dave_new(&c->dave, c)) != TD_OK ||
		(r = cues_new(&c->cues, &c->n_cues, c->guild, s->sc->length_ns)) != TD_OK)
		goto out;
	*ret = c;
	c = NULL;
out:
	call_free(c);
	return r;
}

void call_free(struct call *c)
{
	struct session *s;
	size_t i;

	if (c == NULL)
		return;
	while ((s = c->sessions) != NULL) {
		c->sessions = s->next;
		session_free(s);
	}
	dave_free(c->dave);
	for (i = 0; i < c->n_members; i++)
		talk_free(c->members[i].talk);
	for (i = 0; c->clips != NULL && i < c->guild->n_speakers; i++)
		ogg_clip_free(c->clips[i]);
	ogg_clip_free(c->users_clip);
	free(c->tickets);
	free(c->members);
	free(c->clips);
	free(c->cues);
	free(c);
}

/* ---- looking up ---- */

struct call *call_find(const struct server *s, uint64_t guild_id)
{
	size_t i;

	for (i = 0; i < s->n_calls; i++)
		if (s->calls[i]->guild->guild_id == guild_id)
			return s->calls[i];
	return NULL;
}

struct ticket *call_ticket(struct call *c, uint64_t user_id)
{
	size_t i;

	for (i = 0; i < c->guild->n_users; i++)
		if (c->tickets[i].user_id == user_id)
			return &c->tickets[i];
	return NULL;
}

json_t *call_record(const struct call *c, const struct ticket *t)
{
	char guild[TD_ID_TEXT], channel[TD_ID_TEXT], user[TD_ID_TEXT];

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "guild_id",
		td_id_format(guild, c->guild->guild_id), "channel_id",
		td_id_format(channel, c->guild->channel_id), "user_id",
		td_id_format(user, t->user_id), "session_id", t->session_id, "token", t->token,
		"endpoint", c->server->endpoints[t->endpoint]);
}

struct session *call_session_find(const struct server *s, uint64_t guild_id, const char *session_id,
	const char *token)
{
	struct call *c = call_find(s, guild_id);
	struct session *found;

	for (found = c != NULL ? c->sessions : NULL; found != NULL; found = found->next)
		if (strcmp(found->session_id, session_id) == 0 && strcmp(found->token, token) == 0)
			break;
	if (found != NULL && found->gw == NULL && s->now_ns - found->lost_ns > s->sc->resume_ns)
		return NULL;
	return found;
}

static json_t *id_json(uint64_t id)
{
	char text[TD_ID_TEXT];

	return json_string(td_id_format(text, id));
}

/* ---- sessions ---- */

static void others_say(struct session *from, int op, json_t *d)
{
	struct session *s;

	for (s = from->call->sessions; s != NULL; s = s->next)
		if (s != from && s->described)
			session_say_numbered(s, op, json_incref(d));
	json_decref(d);
}

void call_session_end(struct session *s)
{
	struct session **at = &s->call->sessions;

	while (*at != s)
		at = &(*at)->next;
	if (s->described)
		others_say(s, GW_CLIENT_DISCONNECT,
			json_pack("{s:o}", "user_id", id_json(s->user_id)));
	*at = s->next;
	dave_gone(s);
	if (s->gw != NULL)
		s->gw->session = NULL;
	server_event(s->call->server,
		json_pack("{s:s, s:o, s:i}", "event", "session_end", "user_id", id_json(s->user_id),
			"session", (int)s->number));
	session_free(s);
}

struct session *call_session_new(struct call *c, const struct ticket *t)
{
	struct session *s, *old;

	for (old = c->sessions; old != NULL && old->user_id != t->user_id; old = old->next)
		continue;
	if (old != NULL) {
		if (old->gw != NULL)
			gw_close(old->gw, GW_SESSION_INVALID, "identified elsewhere");
		call_session_end(old);
	}
	if (session_new(&s, c, t->user_id, c->n_sessions) != TD_OK)
		return NULL;
	c->n_sessions++;
	s->recorder = t == &c->tickets[0];
	memcpy(s->session_id, t->session_id, sizeof(s->session_id));
	memcpy(s->token, t->token, sizeof(s->token));
	s->next = c->sessions;
	c->sessions = s;
	return s;
}

static void member_arrives(struct session *s, const struct member *m)
{
	uint64_t id = s->call->guild->speakers[m->speaker].user_id;

	session_say_numbered(s, GW_CLIENTS_CONNECT, json_pack("{s:[o]}", "user_ids", id_json(id)));
	session_say_numbered(s, GW_CLIENT_FLAGS,
		json_pack("{s:o, s:i}", "user_id", id_json(id), "flags", 3));
	session_say_numbered(s, GW_PLATFORM,
		json_pack("{s:o, s:i}", "user_id", id_json(id), "platform", 0));
}

static void ready(struct session *s)
{
	const struct scenario *sc = s->call->server->sc;
	json_t *modes = json_array();
	enum transport_mode mode;

	/* Names that must not be chosen, on both sides of those that may. */
	if (sc->noise)
		json_array_append_new(modes, json_string("aead_aes512_gcm_rtpsize"));
	for (mode = TRANSPORT_AES256_GCM; mode < TRANSPORT_MODES; mode++)
		if (sc->modes & 1u << mode)
			json_array_append_new(modes, json_string(transport_mode_name(mode)));
	if (sc->noise)
		json_array_append_new(modes, json_string("xsalsa20_poly1305_lite"));
	session_say(s, GW_READY,
		json_pack("{s:I, s:s, s:i, s:o, s:[s], s:[], s:i}", "ssrc", (json_int_t)s->ssrc,
			"ip", "127.0.0.1", "port", (int)s->call->server->udp_port, "modes", modes,
			"experiments", "fixed_keyframe_interval", "streams", "heartbeat_interval",
			1));
}

void call_identified(struct session *s)
{
	const struct call *c = s->call;
	struct session *other;
	size_t i;

	server_event(c->server,
		json_pack("{s:s, s:o, s:i}", "event", "identified", "user_id", id_json(s->user_id),
			"session", (int)s->number));
	if (c->server->sc->noise)
		event_noise(s);
	ready(s);
	dave_identified(s);
	for (i = 0; i < c->n_members; i++)
		if (c->members[i].present)
			member_arrives(s, &c->members[i]);
	for (other = c->sessions; other != NULL; other = other->next)
		if (other != s && other->described)
			session_say_numbered(s, GW_CLIENTS_CONNECT,
				json_pack("{s:[o]}", "user_ids", id_json(other->user_id)));
}

static void name_member(struct session *s, const struct member *m)
{
	const struct scenario_speaker *sp = &s->call->guild->speakers[m->speaker];
	struct peer *p = session_peer(s, sp->user_id, m->stay);

	if (sp->video && p != NULL)
		session_say_numbered(s, GW_VIDEO,
			json_pack("{s:o, s:I, s:I, s:i, s:[]}", "user_id", id_json(sp->user_id),
				"audio_ssrc", (json_int_t)p->ssrc, "video_ssrc",
				(json_int_t)p->ssrc + 1, "rtx_ssrc", 0, "streams"));
	session_name(s, sp->user_id, m->stay, 1);
}

void call_selected(struct session *s, enum transport_mode mode)
{
	struct call *c = s->call;
	struct session *other;
	size_t i;

	if (session_key(s, mode) != TD_OK)
		return;
	session_describe(s);
	server_event(c->server,
		json_pack("{s:s, s:o, s:i, s:s}", "event", "described", "user_id",
			id_json(s->user_id), "session", (int)s->number, "mode",
			transport_mode_name(mode)));
	others_say(s, GW_CLIENTS_CONNECT, json_pack("{s:[o]}", "user_ids", id_json(s->user_id)));
	for (i = 0; i < c->n_members; i++)
		if (c->members[i].present && c->members[i].named)
			name_member(s, &c->members[i]);
	for (other = c->sessions; other != NULL; other = other->next)
		if (other != s && other->speaking)
			session_name(s, other->user_id, other->number, 1);
	dave_described(s);
	if (s->recorder && c->start_ns == 0 && !dave_holds_start(c))
		call_start(c);
}

void call_speaking(struct session *s, unsigned bits)
{
	struct session *other;

	s->speaking = true;
	for (other = s->call->sessions; other != NULL; other = other->next)
		if (other != s && other->described)
			session_name(other, s->user_id, s->number, bits);
}

/* ---- media of real clients ---- */

void call_datagram(struct session *s, const uint8_t *data, size_t len)
{
	struct faults none = { 0 };
	uint8_t plain[PACKET_MAX];
	struct rtp_header h;
	struct session *other;
	struct media m = { 0 };
	enum wire_fate fate;
	const uint8_t *payload;
	size_t plain_len;
	uint32_t ssrc;

	if (datagram_classify(data, len) == DATAGRAM_RTCP)
		return;
	if (!s->described || len > sizeof(plain) || rtp_parse(&h, data, len) != TD_OK ||
		h.payload_type != RTP_OPUS_PAYLOAD_TYPE || h.ssrc != s->ssrc ||
		transport_open(s->transport, plain, &plain_len, data, len, h.clear_len) != TD_OK ||
		rtp_payload(&h, plain, plain_len, &payload, &plain_len) != TD_OK) {
		server_event(s->call->server, json_pack("{s:s}", "event", "bad_media"));
		return;
	}
	if (!s->udp_heard)
		server_event(s->call->server,
			json_pack("{s:s, s:o, s:b}", "event", "media", "user_id",
				id_json(s->user_id), "announced", s->speaking));
	s->udp_heard = true;
	m.kind = MEDIA_VOICE;
	m.sequence = h.sequence;
	m.timestamp = h.timestamp;
	m.payload = payload;
	m.len = plain_len;
	m.extension = true;
	m.marker = h.marker;
	for (other = s->call->sessions; other != NULL; other = other->next) {
		if (other == s || !session_hears(other))
			continue;
		fate = session_media(other, s->user_id, s->number, &m, &none, &ssrc);
		if (other->recorder)
			relayed_frame(s, &m, ssrc, fate);
	}
}

/* ---- the script ---- */

void call_start(struct call *c)
{
	c->start_ns = c->server->now_ns;
	server_event(c->server,
		json_pack("{s:s, s:o}", "event", "start", "guild_id", id_json(c->guild->guild_id)));
}

/* The member who speaks next; NULL: nobody ever again. */
static struct member *next_talker(const struct call *c, uint64_t *ret_ns)
{
	struct member *next = NULL;
	uint64_t best = UINT64_MAX, ns;
	size_t i;

	for (i = 0; i < c->n_members; i++)
		if ((ns = talk_next_ns(c->members[i].talk)) < best) {
			best = ns;
			next = &c->members[i];
		}
	*ret_ns = best;
	return next;
}

uint64_t call_next_ns(const struct call *c)
{
	uint64_t next = UINT64_MAX, ns;
	const struct session *s;

	if (c->start_ns != 0 && c->end_ns == 0) {
		next_talker(c, &next);
		if (c->next_cue < c->n_cues && c->cues[c->next_cue].at_ns < next)
			next = c->cues[c->next_cue].at_ns;
		if (next != UINT64_MAX)
			next += c->start_ns;
	}
	if ((ns = dave_next_ns(c)) < next)
		next = ns;
	for (s = c->sessions; s != NULL; s = s->next)
		if ((ns = wire_next_ns(s->wire)) < next)
			next = ns;
	return next;
}

static void talk_run(struct call *c, struct member *m)
{
	const struct scenario_speaker *sp = &c->guild->speakers[m->speaker];
	enum wire_fate fate = WIRE_SENT, one;
	uint32_t recorder_ssrc = 0, ssrc;
	uint8_t sealed[PACKET_MAX];
	enum dave_fate dave;
	struct session *s;
	struct media media;

	talk_next(m->talk, &media);
	dave = dave_frame(c, m, &media, sealed);
	for (s = c->sessions; s != NULL; s = s->next) {
		if (!session_hears(s) || dave == DAVE_UNSENT)
			continue;
		one = session_media(s, sp->user_id, m->stay, &media, &sp->faults, &ssrc);
		if (s->recorder) {
			recorder_ssrc = ssrc;
			fate = one;
		}
	}
	if (dave == DAVE_UNREADABLE && wire_arrives(fate))
		fate = WIRE_UNREADABLE;
	if (c->server->truth != NULL)
		truth_packet(c->server->truth, c->number, m->speaker, &media, recorder_ssrc, fate);
}

static struct member *member_find(struct call *c, size_t speaker, size_t stay)
{
	size_t i;

	for (i = 0; i < c->n_members; i++)
		if (c->members[i].speaker == speaker && c->members[i].stay == stay)
			return &c->members[i];
	return NULL;
}

static void member_cue(struct call *c, const struct cue *q)
{
	struct member *m = member_find(c, q->index, q->stay);
	uint64_t id = c->guild->speakers[q->index].user_id;
	struct session *s;

	if (q->kind == CUE_NAME)
		m->named = true;
	else
		m->present = q->kind == CUE_JOIN;
	if (q->kind == CUE_LEAVE && c->capture != NULL)
		capture_left(c->capture, c->server->now_ns + (uint64_t)c->server->utc_ns, id);
	for (s = c->sessions; s != NULL; s = s->next) {
		if (!s->described)
			continue;
		if (q->kind == CUE_JOIN)
			member_arrives(s, m);
		else if (q->kind == CUE_NAME)
			name_member(s, m);
		else
			session_say_numbered(s, GW_CLIENT_DISCONNECT,
				json_pack("{s:o}", "user_id", id_json(id)));
	}
	if (q->kind == CUE_JOIN)
		dave_joins(c, m);
	else if (q->kind == CUE_LEAVE)
		dave_leaves(c, m);
}

static void cue_run(struct call *c, const struct cue *q)
{
	switch (q->kind) {
	case CUE_JOIN:
	case CUE_NAME:
	case CUE_LEAVE:
		member_cue(c, q);
		break;
	case CUE_EVENT:
		event_run(c, &c->guild->events[q->index]);
		break;
	case CUE_NEW_INFO:
		event_new_info(c, &c->guild->events[q->index]);
		break;
	case CUE_END:
		event_end(c);
		break;
	}
}

static bool recorder_described(const struct call *c)
{
	const struct session *s;

	for (s = c->sessions; s != NULL && !s->recorder; s = s->next)
		continue;
	return s != NULL && s->described;
}

void call_run(struct call *c)
{
	struct session *s;
	struct member *m;
	uint64_t now, ns;

	dave_run(c);
	if (c->start_ns == 0 && recorder_described(c) && !dave_holds_start(c))
		call_start(c);
	while (c->start_ns != 0 && c->end_ns == 0) {
		now = c->server->now_ns - c->start_ns;
		m = next_talker(c, &ns);
		if (c->next_cue < c->n_cues && c->cues[c->next_cue].at_ns <= ns &&
			c->cues[c->next_cue].at_ns <= now)
			cue_run(c, &c->cues[c->next_cue++]);
		else if (m != NULL && ns <= now)
			talk_run(c, m);
		else
			break;
	}
	for (s = c->sessions; s != NULL; s = s->next)
		session_run(s);
}
