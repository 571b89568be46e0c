/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_TALK_H
#define TD_TESTS_VOICESERVER_TALK_H

#include "tests/voiceserver/ogg_clip.h"
#include "tests/voiceserver/scenario.h"

/*
 * One stay of a scripted speaker in the call: everything they send, in order of time. Knows no
 * clock, no key and no SSRC; the same seed gives the same packets.
 */
enum media_kind {
	MEDIA_VOICE,
	MEDIA_SILENCE, /* F8 FF FE */
	MEDIA_PADDING, /* nothing inside but padding */
	MEDIA_VIDEO,
	MEDIA_RTCP, /* sender report */
};
struct media {
	uint64_t at_ns;
	enum media_kind kind;
	uint16_t sequence;
	uint32_t timestamp;
	const uint8_t *payload; /* valid until the next talk_* call */
	size_t len;
	unsigned samples;
	unsigned opus;    /* which packet of the clip */
	unsigned padding; /* bytes of padding; 0: none, and no P bit */
	bool extension, marker;
	uint32_t packets, octets; /* for sender reports */
};

struct talk;

/* The stay present[n] of s. Borrows s and clip. TD_ERR_NOMEM. Free with talk_free(). */
int talk_new(struct talk **ret, const struct scenario_speaker *s, const struct ogg_clip *clip,
	uint64_t seed, size_t stay, uint64_t end_ns);
void talk_free(struct talk *t); /* NULL is fine */

/* When the first packet of the stay is due. */
uint64_t talk_start_ns(const struct scenario_speaker *s, size_t stay);

/* When the next packet is due; UINT64_MAX: never. */
uint64_t talk_next_ns(const struct talk *t);
/* That packet. Only while talk_next_ns() gives a time. */
void talk_next(struct talk *t, struct media *ret);

#endif
