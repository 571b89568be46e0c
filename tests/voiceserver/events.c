/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/ids.h"
#include "tests/voiceserver/dave.h"
#include "tests/voiceserver/events.h"
#include "tests/voiceserver/gateway.h"

static struct session *recorder(const struct call *c)
{
	struct session *s;

	for (s = c->sessions; s != NULL && !s->recorder; s = s->next)
		continue;
	return s;
}

/* Which sessions survive a close: those the client is told to resume. */
static bool code_keeps(unsigned code)
{
	return code == 4015 || code == 4013 || (code < 4000 && code != 1000);
}

static void event_close(struct session *s, const struct scenario_event *e)
{
	if (s->gw != NULL)
		gw_close(s->gw, e->code, "scripted");
	if (!e->keep && !code_keeps(e->code))
		call_session_end(s);
}

void event_noise(struct session *s)
{
	char id[TD_ID_TEXT];

	td_id_format(id, s->user_id);
	session_say_numbered(s, GW_CLIENT_FLAGS,
		json_pack("{s:s, s:i}", "user_id", id, "flags", 3));
	session_say_numbered(s, GW_PLATFORM, json_pack("{s:s, s:n}", "user_id", id, "platform"));
	session_say(s, GW_MEDIA_SINK_WANTS, json_pack("{s:i, s:{}}", "any", 100, "pixelCounts"));
	session_say_numbered(s, GW_SESSION_UPDATE,
		json_pack("{s:s, s:s}", "audio_codec", "opus", "media_session_id", "x"));
	session_say(s, GW_VERSION, json_pack("{s:s}", "voice", "0.0.1"));
	session_say_numbered(s, 250, json_pack("[i, s, n]", 1, "unheard of"));
	session_say(s, 99, json_null());
	if (s->gw != NULL)
		gw_send_text(s->gw,
			"{\"op\":97,\"d\":{\"deep\":[[[[[[[[]]]]]]]]},\"x\":"
			"\"\\u0000\\ud83d\\ude00\"}");
}

static void rekey(struct session *s)
{
	if (s->described && session_key(s, s->mode) == TD_OK)
		session_describe(s);
}

/* Values of every type where others belong; and bytes behind each binary opcode. */
static void junk(struct session *s)
{
	static const char *const values[] = { "null", "7", "-1", "1e400", "\"x\"", "[]", "{}",
		"[[null]]", "{\"ssrc\":\"1\",\"user_id\":1,\"transition_id\":-1,\"epoch\":\"1\"}",
		"{\"ssrc\":null,\"user_id\":null,\"user_ids\":{},\"transition_id\":70000}",
		"{\"user_ids\":[1,null,[],\"-5\"],\"transition_id\":null,\"protocol_version\":9}",
		"{\"mode\":\"aead_aes256_gcm_rtpsize\",\"secret_key\":[1,2,3]}",
		"{\"epoch\":99999999999999999999,\"protocol_version\":1,\"transition_id\":3}" };
	static const uint8_t text_ops[] = { 2, 4, 5, 6, 9, 11, 12, 13, 21, 22, 24 };
	static const uint8_t binary_ops[] = { 25, 27, 29, 30 };
	struct rng rng =
		rng_stream(s->call->server->sc->seed, s->user_id, s->call->next_cue, RNG_GARBAGE);
	uint8_t bytes[1200];
	char text[400];
	size_t i, k;

	if (s->gw == NULL)
		return;
	rng_fill(&rng, bytes, sizeof(bytes));
	for (i = 0; i < sizeof(text_ops); i++) {
		for (k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
			snprintf(text, sizeof(text), "{\"op\":%d,\"d\":%s}", text_ops[i],
				values[k]);
			gw_send_text(s->gw, text);
		}
	}
	for (i = 0; i < sizeof(binary_ops); i++) {
		for (k = 0; k < sizeof(bytes); k = k * 2 + 1)
			session_say_binary(s, binary_ops[i], NULL, bytes, k);
	}
}

static void garbage(struct session *s, unsigned count)
{
	struct rng rng =
		rng_stream(s->call->server->sc->seed, s->user_id, s->call->next_cue, RNG_GARBAGE);

	while (count-- > 0)
		wire_garbage(s->wire, &rng, s->call->server->now_ns);
}

static void move_ssrc(struct session *s, const struct scenario_event *e)
{
	size_t i;

	for (i = s->n_peers; i > 0 && s->peers[i - 1].user_id != e->user_id; i--)
		continue;
	if (i > 0) {
		char id[TD_ID_TEXT];

		session_say_numbered(s, GW_SPEAKING,
			json_pack("{s:i, s:I, s:s}", "speaking", 1, "ssrc",
				(json_int_t)s->peers[i - 1].ssrc, "user_id",
				td_id_format(id, e->to_user_id)));
	}
}

/* Faults of the connection itself: nothing happens while the socket is lost. */
static void connection_event(struct gw *g, const struct scenario_event *e)
{
	if (g == NULL)
		return;
	if (e->kind == EVENT_CUT) {
		gw_cut(g);
	} else if (e->kind == EVENT_FRAGMENT) {
		g->fragment_size = e->size;
		g->fragment_ns = e->length_ns;
	} else if (e->kind == EVENT_MUTE_ACKS) {
		g->mute_until_ns = g->server->now_ns + e->length_ns;
	} else if (e->kind == EVENT_ASK_HEARTBEAT) {
		gw_send_text(g, "{\"op\":3,\"d\":null}");
	}
}

/* What makes sense without a connection, and leaves a capture its one key. */
static bool works_offline(enum event_kind kind)
{
	return kind >= EVENT_GARBAGE;
}

void event_run(struct call *c, const struct scenario_event *e)
{
	struct session *s = recorder(c);

	if (s == NULL || (c->server->offline && !works_offline(e->kind)))
		return;
	switch (e->kind) {
	case EVENT_CUT:
	case EVENT_FRAGMENT:
	case EVENT_MUTE_ACKS:
	case EVENT_ASK_HEARTBEAT:
		connection_event(s->gw, e);
		break;
	case EVENT_CLOSE:
		event_close(s, e);
		break;
	case EVENT_NEW_SERVER:
		if (e->close_old && s->gw != NULL) {
			gw_close(s->gw, GW_DISCONNECTED, "moved");
			call_session_end(s);
		}
		break;
	case EVENT_REKEY:
		rekey(s);
		break;
	case EVENT_NOISE:
		event_noise(s);
		break;
	case EVENT_JUNK:
		junk(s);
		break;
	case EVENT_GARBAGE:
		garbage(s, e->count);
		break;
	case EVENT_OUTAGE:
		c->outage_until_ns = c->server->now_ns + e->length_ns;
		break;
	case EVENT_MOVE_SSRC:
		move_ssrc(s, e);
		break;
	default:
		dave_event(c, e);
		break;
	}
	if (e->null_endpoint) {
		json_t *record = call_record(c, &c->tickets[0]);

		json_object_set_new(record, "endpoint", json_null());
		server_event(c->server,
			json_pack("{s:s, s:o}", "event", "new_info", "record", record));
	}
}

void event_new_info(struct call *c, const struct scenario_event *e)
{
	struct ticket *t = &c->tickets[0];

	call_ticket_renew(c, t);
	if (e->kind == EVENT_NEW_SERVER)
		t->endpoint = (t->endpoint + 1) % SERVER_ENDPOINTS;
	server_event(c->server,
		json_pack("{s:s, s:o}", "event", "new_info", "record", call_record(c, t)));
}

static void everybody_leaves(struct call *c)
{
	const struct scenario_speaker *speakers = c->guild->speakers;
	char id[TD_ID_TEXT];
	struct session *s;
	size_t i;

	for (s = c->sessions; s != NULL; s = s->next)
		for (i = 0; i < c->n_members; i++)
			if (c->members[i].present)
				session_say_numbered(s, GW_CLIENT_DISCONNECT,
					json_pack("{s:s}", "user_id",
						td_id_format(id,
							speakers[c->members[i].speaker].user_id)));
}

void event_end(struct call *c)
{
	struct session *s, *next;

	c->end_ns = c->server->now_ns;
	server_event(c->server, json_pack("{s:s}", "event", "script_end"));
	if (c->server->sc->end == END_LEAVE)
		everybody_leaves(c);
	if (c->server->sc->end != END_CLOSE)
		return;
	for (s = c->sessions; s != NULL; s = next) {
		next = s->next;
		if (s->gw != NULL)
			gw_close(s->gw, GW_DISCONNECTED, "the call is over");
		call_session_end(s);
	}
}
