/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_MANIFEST_H
#define TD_SINKS_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/counters.h"
#include "sinks/sink.h"
#include "sinks/spill.h"

/*
 * session.json: what was recorded, as docs/session.md describes it. Always a whole document: a new
 * one takes the place of the old one in one step. One thread.
 */
#define MANIFEST_FILE "session.json"
enum { MANIFEST_SCHEMA = 1, MANIFEST_EVENTS_MAX = 10000 };

struct manifest;

struct manifest_conf {
	uint64_t guild_id, channel_id, user_id;
	uint64_t start_utc_ns;
};

/* spill is borrowed, and has the lists. TD_ERR_NOMEM. */
int manifest_new(struct manifest **ret, const struct manifest_conf *conf, struct spill *spill);
void manifest_free(struct manifest *m); /* NULL is fine */

/* The folder of the recording that goes on in this one; copied. */
void manifest_continues(struct manifest *m, const char *folder);

/* Whose manifest is in a folder. Reads no more than its beginning: it must be one of ours.
 * TD_ERR_IO, TD_ERR_MALFORMED. */
int manifest_peek(int dir_fd, struct manifest_conf *ret);

/* Adds to the lists of events and pauses; `at` in samples. Beyond MANIFEST_EVENTS_MAX they are only
 * counted. Texts may hold anything. A pause inside a pause, an end without one: nothing happens. */
void manifest_event(struct manifest *m, const char *type, const char *text, uint64_t at);
/* Calls fn for every event, in order. text may be NULL. */
typedef void manifest_event_fn(void *user, uint64_t at, const char *type, const char *text);
void manifest_each_event(const struct manifest *m, manifest_event_fn *fn, void *user);
void manifest_pause(struct manifest *m, uint64_t at);
void manifest_resume(struct manifest *m, uint64_t at);

/* The voice privacy code of an epoch of the call's encryption (30 digits) and its members, from
 * `at` on. */
void manifest_code(struct manifest *m, uint64_t epoch, const char *code, const uint64_t *members,
	size_t count, uint64_t at);

/* A version of the document, in memory of its own no larger than a track's without its lists:
 * begin, every file (see td_file for those without name), then end. complete: the session has ended
 * for this reason (NULL: none known). counters: those of the session. */
void manifest_begin(struct manifest *m, int dir_fd, uint64_t samples, bool complete,
	const char *reason, const uint64_t counters[static COUNTER_COUNT]);
void manifest_file(struct manifest *m, const struct td_file *file);

/* sync: waits until the disk has it. TD_ERR_IO with errno, TD_ERR_NOMEM: the old document is still
 * there. */
int manifest_end(struct manifest *m, bool sync);

#endif
