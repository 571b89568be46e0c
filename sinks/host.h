/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_HOST_H
#define TD_SINKS_HOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/counters.h"
#include "sinks/sink.h"

/*
 * The sink host: what a lane thread hands everything to that comes back from its unpacker. The one
 * header of sinks/ that the receiver includes.
 *
 * A host and its sessions belong to one thread. No locks: lanes share nothing. Calls may write to
 * disk and so take their time.
 */

/* ---- what the user asked for: --sink NAME[:key=value,...] ---- */

struct sink_spec; /* one parsed --sink */

/* TD_ERR_USAGE and a one-line reason in err (name unknown, option unknown, value impossible).
 * Free with sink_spec_free(). */
int sink_spec_parse(struct sink_spec **ret, const char *text, char *err, size_t err_len);
void sink_spec_free(struct sink_spec *spec);
/* What has to reach a session for it. */
void sink_spec_wants(const struct sink_spec *spec, struct td_wants *ret);
/* Not from a plugin. Those built in write files, for which a moment more or less is nothing; what a
 * plugin does nobody knows. */
bool sink_spec_is_built_in(const struct sink_spec *spec);

/* --plugin: loads a file and adds what it brings. Negative, and one line in err that names it and
 * the reason. Before threads start, as the parsing of specs, which may load plugins. */
int sink_plugin_load(const char *file, char *err, size_t err_len);
/* --list-sinks: every sink and format there is, those of the plugin folders too, which are loaded
 * for it, and what there could not be loaded. At most 80 columns, but for what has no blanks. */
void sink_list(FILE *out);

/* Makes the folder (0700, parents too) and tries to write in it. TD_ERR_IO and a one-line reason.
 */
int sink_out_prepare(const char *dir, char *err, size_t err_len);
/* Whether min_free bytes are left where the folder is: TD_ERR_LIMIT, and one line that says what
 * is. Where that cannot be found out, they are. */
int sink_out_has_room(const char *dir, uint64_t min_free, char *err, size_t err_len);

/* ---- sessions ---- */

/* What a session of files reports while it lives; texts are borrowed for the call. The receiver
 * makes events of them (docs/events.md). */
enum sink_event_type {
	SINK_EVENT_FILE_OPENED, /* path, user_id */
	SINK_EVENT_FILE_CLOSED, /* path, user_id, samples */
	SINK_EVENT_WARNING,     /* text: one clear sentence */
	SINK_EVENT_FAILED,      /* text: something cannot be written; the recording is incomplete */
	SINK_EVENT_FULL, /* text: less than min_free is left. Once; the session should be closed */
};
struct sink_event {
	enum sink_event_type type;
	const char *path; /* inside the out folder: "<session>/<file>" */
	const char *text;
	uint64_t user_id, samples;
};

/* One track as the final table and session.json show it; texts are borrowed for the call. */
struct sink_track_summary {
	const char *path;         /* with the out folder */
	uint64_t user_id;         /* 0: the speaker never became known */
	uint64_t samples;         /* length of the file, per channel at 48 kHz */
	const uint64_t *counters; /* COUNTER_COUNT of them */
};

/* The sink that is at work on a thread right now, for whoever watches from another one. */
struct sink_working {
	_Atomic(const char *) name;    /* static; NULL: none */
	atomic_uint_fast64_t since_ns; /* td_mono_ns() */
};

struct sink_session_conf {
	const char *out_dir;
	const char
		*name; /* folder of the session below out_dir; NULL: <guild>-<channel>-<UTC start>.
	                  When it exists, "-2", "-3", ... is appended: nothing is overwritten */
	uint64_t guild_id, channel_id, user_id; /* user_id: ourselves */
	uint64_t start_ns;                      /* position 0 of every track */
	uint64_t start_utc_ns;                  /* the same instant in wall time */
	bool live;         /* what comes does not wait: a sink that is slow is reported */
	bool realtime;     /* as live is: a replay at the speed of its capture */
	uint64_t min_free; /* bytes; 0: the disk may be filled */
	const struct sink_spec *const *specs;
	size_t spec_count;
	void (*event)(void *user, const struct sink_event *event);
	void *user;
	struct sink_working *working; /* NULL: nobody watches; else it outlives the session */
};

struct sink_session;

/* Creates the folder and the first session.json. All of conf is copied, specs are borrowed until
 * close. TD_ERR_IO (and a SINK_EVENT_FAILED), TD_ERR_NOMEM. */
int sink_session_open(struct sink_session **ret, const struct sink_session_conf *conf);

/* Sound and packets of one stream in order; borrowed for the call. Channels of a frame are 1 or 2,
 * whatever a sink wants. */
void sink_session_frame(struct sink_session *s, const struct td_frame *frame);
void sink_session_packet(struct sink_session *s, const struct td_packet *packet);

/* A decrypted RTCP compound, checked; borrowed for the call. */
void sink_session_rtcp(struct sink_session *s, uint64_t arrival_ns, uint64_t user_id, uint32_t ssrc,
	const uint8_t *compound, size_t len);

/* ssrc is user_id's from now on. A track begun as ssrc-<n> becomes (part of) the user's. */
void sink_session_speaker(struct sink_session *s, uint64_t user_id, uint32_t ssrc, uint64_t at_ns);
void sink_session_speaker_left(struct sink_session *s, uint64_t user_id, uint64_t at_ns);

/* Adds to the counters of a stream (ssrc, user_id 0 when unknown) or of the session (ssrc 0). */
void sink_session_count(struct sink_session *s, uint32_t ssrc, uint64_t user_id,
	const uint64_t delta[static COUNTER_COUNT]);

/* What happened at at_ns, for the manifest: a pause and its end; anything else as (type, text). */
void sink_session_pause(struct sink_session *s, uint64_t at_ns);
void sink_session_resume(struct sink_session *s, uint64_t at_ns);
void sink_session_mark(struct sink_session *s, const char *type, const char *text, uint64_t at_ns);

/* The voice privacy code of an epoch of the call's end-to-end encryption (30 digits) and whom it
 * covers, from at_ns on: for the manifest. */
void sink_session_code(struct sink_session *s, uint64_t epoch, const char *code,
	const uint64_t *members, size_t count, uint64_t at_ns);

/* Time has come this far: files are refreshed, at most every 400 ms (ten seconds in a fast replay),
 * and the manifest, at most once a second. A folder that somebody removed is made anew then, and
 * every file in it: what is said now cannot be recorded later, and a folder is soon removed again.
 */
void sink_session_tick(struct sink_session *s, uint64_t now_ns);

/* Ends at end_ns: every track is filled with silence up to there, finished and closed; the manifest
 * is final. Calls track once for each, ordered by user and ssrc, when it is not NULL. Frees s.
 * reason: for the manifest ("stopped", "left", ...). TD_ERR_IO when anything of the session could
 * not be written, now or before. */
int sink_session_close(struct sink_session *s, uint64_t end_ns, const char *reason,
	void (*track)(void *user, const struct sink_track_summary *track), void *user);

#endif
