/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_TRACK_H
#define TD_SINKS_TRACK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/counters.h"
#include "sinks/sink.h"
#include "sinks/spill.h"

/*
 * The speakers of one session as tracks: frames or packets of SSRCs in, what struct td_track_ops
 * describes out.
 *
 * A track belongs to a user, who may have many SSRCs over time; the newest one (named last, or else
 * heard last for the first time) speaks, an older one only where the newest is silent. An SSRC
 * without user has a track of its own until it gets one. Of these there are few enough that whoever
 * is named finds room; those without sound make room for others, and what was counted of them
 * becomes the set's.
 *
 * Writes nothing itself. One thread.
 */
enum {
	TRACK_MAX = 2048,        /* tracks of one session */
	TRACK_UNKNOWN_MAX = 256, /* of them, those whose speaker is not known */
	TRACK_STREAM_MAX = 4096, /* SSRCs of one session at a time, and listed per track */
	TRACK_SPURT_MAX = 65536, /* listed per track; beyond it the last one grows */
	TRACK_SPURT_GAP = 9600,  /* 200 ms: a pause this short does not end a spurt */
};

struct track {
	uint64_t user_id; /* 0: not known */
	uint32_t ssrc;    /* the first one */
	uint32_t newest;
	uint32_t *ssrcs; /* every one, in order of appearance */
	uint32_t ssrc_count;
	bool own;  /* the track of its user; false with a user: sound from before they were known */
	bool open; /* ops->open() was good: state is valid */
	bool failed;              /* writes no more */
	bool dirty;               /* written to since the last track_set_refresh() */
	int64_t written;          /* samples, failed or not */
	int64_t first_sample;     /* -1: no sound yet */
	struct spill_list spurts; /* struct td_spurt, but for the last one */
	struct td_spurt spurt;    /* that one; 0 samples: none */
	uint64_t counters[COUNTER_COUNT];
	void *state; /* of ops */
};

struct track_set;

/* user is for ops->open(); samples come in `channels`; spill is borrowed, and has the lists of
 * spurts (NULL: they are in memory). TD_ERR_NOMEM. */
int track_set_new(struct track_set **ret, const struct td_track_ops *ops, void *user,
	uint64_t start_ns, uint32_t channels, struct spill *spill);
/* failed is called when a method of ops fails and the track is left alone from then on; r is what
 * it returned. */
void track_set_on_failure(struct track_set *set,
	void (*failed)(void *user, const struct track *t, int r), void *user);
/* Frees every track; NULL is fine. */
void track_set_free(struct track_set *set);

/* TD_ERR_NOMEM; nothing else stops the set, a track that fails is left alone from then on. */
int track_set_frame(struct track_set *set, const struct td_frame *frame);
int track_set_packet(struct track_set *set, const struct td_packet *packet);
int track_set_speaker(struct track_set *set, uint64_t user_id, uint32_t ssrc);
void track_set_speaker_left(struct track_set *set, uint64_t user_id);
int track_set_count(struct track_set *set, uint32_t ssrc, uint64_t user_id,
	const uint64_t delta[static COUNTER_COUNT]);

/* Has every track refreshed that was written to. */
void track_set_refresh(struct track_set *set);

/* Fills every track to end_ns (or to the end of the longest one) and ends it. */
void track_set_finish(struct track_set *set, uint64_t end_ns);

/* The tracks ordered by user (unknown ones last), own ones first, and SSRC; borrowed until the next
 * call. Tracks that were never opened are among them. */
struct track *const *track_set_sorted(struct track_set *set, size_t *ret_count);
/* The spurts of a track, to be given back by track_spurts_free(); none when they cannot be read. */
struct td_spurt *track_spurts(const struct track_set *set, const struct track *t,
	uint32_t *ret_count);
void track_spurts_free(const struct track *t, struct td_spurt *spurts);

/* What was counted for streams that found no room for a track; borrowed. */
const uint64_t *track_set_rest(const struct track_set *set);

#endif
