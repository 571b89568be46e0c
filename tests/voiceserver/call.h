/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_CALL_H
#define TD_TESTS_VOICESERVER_CALL_H

#include "common/transport.h"
#include "tests/voiceserver/cues.h"
#include "tests/voiceserver/ogg_clip.h"
#include "tests/voiceserver/server.h"
#include "tests/voiceserver/session.h"
#include "tests/voiceserver/talk.h"

/*
 * The call of one guild: who is in it, scripted and real, and the script as it runs. Call time
 * starts with the first session description to the recorder, in an encrypted call when it has its
 * first keys.
 */

/* What a bot would know about one real client: renewed when the server hands out new info. */
struct ticket {
	uint64_t user_id;
	char session_id[TICKET_TEXT], token[TICKET_TEXT];
	size_t endpoint;
};

/* One stay of a scripted speaker. */
struct member {
	size_t speaker, stay;
	bool present, named; /* named: their op 5 has been sent */
	struct talk *talk;
};

struct call {
	struct server *server;
	const struct scenario_guild *guild;
	size_t number;
	struct ticket *tickets; /* one per real client of the scenario */
	struct session *sessions;
	size_t n_sessions; /* ever */
	struct member *members;
	size_t n_members;
	struct ogg_clip **clips;     /* per speaker */
	struct ogg_clip *users_clip; /* what real clients play; NULL: not known */
	struct cue *cues;
	size_t n_cues, next_cue;
	uint64_t start_ns, end_ns; /* server time; 0: not yet */
	unsigned messages;         /* either way, on the connections of its clients */
	uint64_t outage_until_ns;  /* server time: the recorder is sent no media before */
	struct rng rng;
	struct capture *capture; /* of the recorder; NULL: none */
	struct dave_call *dave;
};

/* Borrows what is in s. TD_ERR_NOMEM, TD_ERR_IO (a clip). Free with call_free(). */
int call_new(struct call **ret, struct server *s, size_t number);
void call_free(struct call *c); /* NULL is fine */
struct call *call_find(const struct server *s, uint64_t guild_id);

/* Starts call time now. */
void call_start(struct call *c);
uint64_t call_next_ns(const struct call *c);
void call_run(struct call *c);

struct ticket *call_ticket(struct call *c, uint64_t user_id); /* NULL: not one of ours */
/* The connection info that ticket stands for, as a bot would hand it to the receiver. */
json_t *call_record(const struct call *c, const struct ticket *t);

/* New texts for the ticket: the old ones are worth nothing from now on. */
void call_ticket_renew(struct call *c, struct ticket *t);

/* A fresh session for the ticket's user; an older one of theirs ends. NULL: out of memory. */
struct session *call_session_new(struct call *c, const struct ticket *t);
/* The session that a resume names; NULL: none, or it is too old. */
struct session *call_session_find(const struct server *s, uint64_t guild_id, const char *session_id,
	const char *token);
/* Ends and frees s. Its connection, if any, stays open without a session. */
void call_session_end(struct session *s);

/* What a client did: sent Identify, chose a mode, said that it speaks, sent a datagram. */
void call_identified(struct session *s);
void call_selected(struct session *s, enum transport_mode mode);
void call_speaking(struct session *s, unsigned bits);
void call_datagram(struct session *s, const uint8_t *data, size_t len);

#endif
