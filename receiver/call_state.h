/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_CALL_STATE_H
#define TD_RECEIVER_CALL_STATE_H

#include "common/early.h"
#include "receiver/call.h"
#include "receiver/dave_session.h"
#include "receiver/udp.h"

/*
 * Inside a call: call.c keeps its life and its connection info, call_gateway.c does what the
 * gateway engine asks for, call_dave.c what the DAVE session does, call_roster.c knows who is
 * there, call_recording.c what is recorded. Nobody else includes this.
 */
enum recording {
	RECORDING_NOT_YET, /* no session of files: the connection was never ready */
	RECORDING_ON,
	RECORDING_PAUSED,
	RECORDING_STOPPED,
};

struct participant {
	uint64_t user_id;
	uint32_t ssrc; /* 0: not known */
	bool missing;  /* not named again since the session was made anew */
};

struct call {
	struct call_conf conf;
	struct connection_info *info; /* locked memory; what is known so far */
	uint64_t server_at_ns; /* when a VOICE_SERVER_UPDATE came without its other half; 0: none */
	bool state_fresh;      /* a VOICE_STATE_UPDATE came without its other half */
	uint64_t conn;
	struct lane *lane;
	struct vgw *vgw; /* NULL: info is not whole yet */
	struct ws *ws;
	struct udp *udp;
	struct dave_session *dave;
	bool pumping;
	bool ready;         /* this session's key is known */
	struct early early; /* what came before it was */

	enum recording recording;
	unsigned sessions; /* of files, not closed yet */
	unsigned opening;  /* of these: not said to have opened, or not to be able to */
	unsigned stops;    /* commands that wait for their answer */
	bool ended;        /* VGW_ENDED came */
	bool reported;     /* conf.ended was called */
	enum vgw_verdict verdict;
	char reason[160];

	struct participant *participants;
	size_t participant_count, participant_cap;

	/* uv handles */
	uv_timer_t deadline, rejoin, roll_call;
	int closing;
};

/* call.c */
void call_emit(struct call *c, const char *event, const char *member, const char *text);
void call_post(struct call *c, struct lane_control *control); /* NULL: out of memory, logged */
void call_post_mark(struct call *c, const char *name, const char *text);
void call_random(void *user, uint8_t *out, size_t len);

/* call_gateway.c: carries out what the engine asks for, until it asks for nothing more. */
void call_pump(struct call *c);
/* Before anything begins or ends: what has arrived up to now, and waits unread, belongs to what
 * was.
 */
void call_catch_up(struct call *c);

/* call_dave.c: the same for the DAVE session, and what the gateway brings it. */
void call_dave_pump(struct call *c);
void call_dave_action(struct call *c, const struct vgw_action *a);

/* call_roster.c */
struct participant *roster_find(struct call *c, uint64_t user_id);
/* The participant, a new one announced; NULL for ourselves and without memory. */
struct participant *roster_join(struct call *c, uint64_t user_id);
void roster_leave(struct call *c, struct participant *p);
void roster_speaker(struct call *c, uint64_t user_id, uint32_t ssrc);
void roster_post_speaker(struct call *c, const struct participant *p);
/* A new session: everybody has to be named again, or has left when the roll is called. */
void roster_renew(struct call *c);
void roster_roll_call(uv_timer_t *timer);

/* call_recording.c */
void call_recording_begin(struct call *c);
void call_recording_end(struct call *c, const char *reason);
/* The engine has ended; once the files are closed, call_report_end() says so and c may be gone. */
void call_ended(struct call *c, const struct vgw_action *a);
void call_report_end(struct call *c);

#endif
