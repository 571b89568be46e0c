/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_DAVE_GROUP_H
#define TD_TESTS_VOICESERVER_DAVE_GROUP_H

#include "tests/voiceserver/call.h"
#include "tests/voiceserver/dave_speaker.h"
#include "tests/voiceserver/dave_wire.h"
#include "tests/voiceserver/packet.h"

/*
 * The group of a call as the delivery service sees it: who sits on which leaf, what was proposed,
 * which transition is under way. It has no key of the group; it knows what commits say in clear.
 */

/* Somebody in the call who speaks DAVE. */
struct dave_member {
	struct dave_member *next;
	struct dave_call *dave;
	uint64_t user_id;
	struct session *session;      /* real client, or the recorder of an offline call */
	struct dave_speaker *speaker; /* answers for it; NULL: the client does */
	const struct member *scripted;
	struct rng rng;

	uint8_t *package; /* key package not used yet; NULL: none */
	size_t package_len;
	uint8_t package_ref[MLS_HASH_LEN];
	bool told;             /* has seen the outstanding proposals */
	bool in_group, broken; /* broken: has said op 31, is to be removed and added */
	uint32_t leaf;
	uint64_t from_serial, to_serial; /* whose keys it has: from <= serial < to */
	uint64_t hold_until_ns;          /* messages wait until then */
	uint64_t answered_ns;            /* when the last answer arrives */

	/* faults */
	bool flip_commit, flip_welcome, corrupt, replay;
	uint64_t late_ns, plain_until_ns;
	uint8_t last[PACKET_MAX]; /* frame, sealed */
	size_t last_len;
};

struct dave_leaf {
	bool used;
	uint64_t user_id;
	struct dave_member *member; /* NULL: gone */
};

/* A proposal that is out. */
struct dave_out {
	struct dave_proposal p;
	bool add, phantom; /* phantom: nobody by that name is in the call */
	uint64_t user_id;
	uint32_t leaf; /* Remove */
	uint8_t package_ref[MLS_HASH_LEN];
	bool moot; /* to be revoked */
};

/* Sent, and not executed yet. */
struct dave_transition {
	uint16_t id;
	unsigned version;
	uint64_t deadline_ns; /* 0: there is none under way */
	struct dave_member **waiting;
	size_t n_waiting;
};

enum { DAVE_MAX_OUT = 256 };

struct dave_call {
	struct call *call;
	struct rng rng;
	struct dave_external external;
	struct dave_member *members;
	struct dave_post *posts; /* on their way, by time */
	bool speakers_in;        /* the scripted speakers have begun */
	uint64_t start_by_ns;    /* the script begins then at the latest; 0: does not wait */

	unsigned version, forced_version;
	bool grouped, first; /* first: the next commit is transition 0 */
	uint64_t epoch, serial, captured;
	struct dave_leaf *leaves;
	uint32_t n_leaves;
	struct dave_out out[DAVE_MAX_OUT];
	size_t n_out;
	struct dave_transition transition;
	uint16_t next_id;
	uint64_t gather_until_ns; /* a new group waits for everybody's key package, no longer */
	uint64_t plan_ns;         /* look for changes then; UINT64_MAX: no need */
	uint64_t phantom_ns;      /* the phantom's Add is revoked then; UINT64_MAX: there is none */
	uint64_t phantom_id;
	bool phantom_announced;
};

/* Looks at who is there and sends what follows from it, a moment later: changes that come close to
 * each other share an epoch. */
void dave_group_changed(struct dave_call *d);
void dave_group_plan(struct dave_call *d);

/* Everybody starts over with op 24. */
void dave_group_recreate(struct dave_call *d);
/* Somebody is gone: not waited for any more, to be removed. */
void dave_group_forget(struct dave_call *d, struct dave_member *m);

/* What members say. */
void dave_group_package(struct dave_member *m, const uint8_t *data, size_t len);
void dave_group_commit(struct dave_member *m, const uint8_t *data, size_t len);
void dave_group_ready(struct dave_member *m, uint16_t id);
void dave_group_invalid(struct dave_member *m, uint16_t id);

/* The transition under way waits no longer than this; UINT64_MAX: there is none. */
uint64_t dave_group_next_ns(const struct dave_call *d);
void dave_group_run(struct dave_call *d);

/* Proposes a user who is in nobody's call, and revokes it after length_ns. announced: op 11 has
 * named them. */
void dave_group_phantom(struct dave_call *d, bool announced, uint64_t length_ns);

/* dave.c: the way out. */
void dave_tell(struct dave_member *m, const struct dave_msg *msg);
void dave_tell_all(struct dave_call *d, const struct dave_msg *msg);
/* Op 11 or 13 to everybody. */
void dave_say_presence(struct dave_call *d, uint64_t user_id, bool present);
void dave_log(struct dave_call *d, const struct dave_member *m, json_t *event);

#endif
