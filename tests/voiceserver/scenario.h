/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_SCENARIO_H
#define TD_TESTS_VOICESERVER_SCENARIO_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/transport.h"
#include "tests/voiceserver/fields.h"

/*
 * What shall happen, as read from a scenario file: README.md describes every member under the same
 * name. Times are nanoseconds since the media start of the guild's call (the first session
 * description to its recorder).
 */
enum { SCENARIO_MAX_GUILDS = 4096, SCENARIO_MAX_LIST = 20000 };

/* What the network does to datagrams on their way to a client. */
struct faults {
	double loss, burst_loss;
	unsigned burst_length;
	double duplicate;
	double reorder;
	unsigned reorder_depth; /* packets of 20 ms that overtake */
	uint64_t jitter_ns;
	uint64_t delay_ns, deviation_ns; /* a normal distribution, cut at zero */
	double spike;
	uint64_t spike_ns;
	double garbage, truncate, corrupt;
	uint64_t from_ns, to_ns; /* outside: no faults */
};

struct span {
	uint64_t from_ns, to_ns;
};

struct scenario_speaker {
	uint64_t user_id;
	const char *clip;
	uint64_t start_ns; /* first packet, and not before it joined */
	bool loop;         /* the clip, again and again */
	uint64_t spurt_ns, pause_ns;
	struct span *pauses; /* where given, instead of the two above */
	size_t n_pauses;
	struct span *present; /* in the call; each one has a stream of its own */
	size_t n_present;
	bool freeze; /* timestamps stand still in pauses */
	double skew_ppm;
	int64_t sequence, timestamp; /* of the first packet; -1: random */
	bool near_wrap;              /* random, and soon to wrap */
	int64_t speaking_delay_ns;   /* of op 5, after the first packet */
	unsigned silence_frames;
	bool extension, video, early_keys;
	double padding; /* share of packets with padding behind the frame */
	uint64_t padding_burst_ns, rtcp_ns;
	struct faults faults;
};

enum event_kind {
	EVENT_CUT,           /* socket: TCP reset, the session lives on */
	EVENT_CLOSE,         /* close frame with `code` */
	EVENT_NEW_SERVER,    /* a voice server update: another port, a new token */
	EVENT_REKEY,         /* a second op 4 with a new key */
	EVENT_FRAGMENT,      /* messages come in pieces from now on; size 0: whole again */
	EVENT_NOISE,         /* opcodes and fields nobody has heard of */
	EVENT_MUTE_ACKS,     /* heartbeats are not answered for length_ms */
	EVENT_ASK_HEARTBEAT, /* server sends op 3 */
	EVENT_JUNK,          /* every message we may say, with nonsense in it */
	EVENT_GARBAGE,       /* `count` datagrams of random bytes at once */
	EVENT_OUTAGE,        /* no media reaches the recorder for length_ms */
	EVENT_MOVE_SSRC,     /* op 5 gives the SSRC of one speaker to another user id */
	/* end-to-end encryption */
	EVENT_DAVE_CHURN,       /* a speaker is removed and added again: a new epoch */
	EVENT_DAVE_RECREATE,    /* the group begins anew (op 24) */
	EVENT_DAVE_DOWNGRADE,   /* to protocol version 0 */
	EVENT_DAVE_UPGRADE,     /* back to 1 */
	EVENT_DAVE_BAD_COMMIT,  /* the recorder's next op 29 has a bit flipped */
	EVENT_DAVE_BAD_WELCOME, /* and its next op 30 */
	EVENT_DAVE_LATE,       /* the next one of either, and all behind it, comes length_ms late */
	EVENT_DAVE_REVOKE,     /* an Add is proposed and revoked length_ms later */
	EVENT_DAVE_UNEXPECTED, /* the same with a user whom no op 11 has named */
	EVENT_DAVE_CORRUPT,    /* a speaker's next frame has a bit flipped */
	EVENT_DAVE_REPLAY,     /* a speaker's next frame is the one before once more */
	EVENT_DAVE_PLAIN,      /* a speaker does not encrypt for length_ms */
};
struct scenario_event {
	uint64_t at_ns;
	enum event_kind kind;
	unsigned code;
	bool keep;            /* the session may be resumed after the close */
	bool new_info;        /* a bot would get new connection info */
	uint64_t new_info_ns; /* this long after the event */
	bool null_endpoint;   /* and a record without endpoint at once */
	bool close_old;       /* new_server: 4014 for the old connection */
	unsigned count, size;
	uint64_t length_ns;           /* mute_acks, outage: how long; fragment: between pieces */
	uint64_t user_id, to_user_id; /* move_ssrc */
};

struct scenario_guild {
	uint64_t guild_id, channel_id;
	bool dave; /* encrypted end to end */
	unsigned cut_after,
		stall_after; /* messages either way to and from the recorder; 0: never */
	bool sender_early;   /* op 25 comes before op 4, for every other session of the recorder */
	const char *users_clip; /* what real clients play; NULL: not known */
	uint64_t *users;        /* real clients; the first is the recorder */
	size_t n_users;
	struct scenario_speaker *speakers;
	size_t n_speakers;
	struct scenario_event *events;
	size_t n_events;
};

enum scenario_end { END_CLOSE, END_LEAVE, END_STAY };
enum media_after { AFTER_DESCRIPTION, AFTER_SPEAKING, AFTER_UDP };

struct scenario {
	uint64_t seed;
	uint64_t length_ns;
	const char *media_dir;
	bool tls;
	unsigned modes; /* bit per enum transport_mode */
	bool nat;       /* discovery answers an address that is not the client's own */
	bool noise;
	bool number_acks;
	unsigned first_number; /* seq of the first numbered message */
	unsigned resume_buffer;
	uint64_t resume_ns;
	bool resumed_last; /* op 9 behind what is delivered again */
	bool require_dave;
	uint64_t heartbeat_ns;
	unsigned discovery_loss;
	enum media_after media_after;
	enum scenario_end end;
	struct faults faults;
	struct scenario_guild *guilds;
	size_t n_guilds;
	json_t *root; /* owns the texts */
};

/* Takes over root, also on failure. 0, TD_ERR_NOMEM, or TD_ERR_USAGE and a reason in err. */
int scenario_new(struct scenario **ret, json_t *root, char err[static FIELDS_ERR_LEN]);
void scenario_free(struct scenario *s); /* NULL is fine */

#endif
