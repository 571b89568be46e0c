/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_TOOLS_TRUTH_READ_H
#define TD_TESTS_TOOLS_TRUTH_READ_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the voice server says it sent (tests/voiceserver/README.md, "Truth"), as one list of packets
 * per speaker, in order of time. Padding is left out: it makes no sound.
 */
struct truth_packet {
	uint64_t at_us;
	uint32_t ssrc;
	int32_t opus; /* which packet of the clip; -1: the Opus silence frame */
	bool lost;
	bool continues; /* follows right behind the one before: the same talk spurt */
};
struct truth_speaker {
	uint64_t user_id;
	const char *clip; /* borrowed from the JSON */
	struct truth_packet *packets;
	size_t n;
};

/* One speaker of the truth's "speakers". delayed_is_lost: count packets that others overtook as
 * lost. TD_ERR_MALFORMED, TD_ERR_NOMEM. Free with truth_speaker_free(). */
int truth_speaker_read(struct truth_speaker *ret, json_t *speaker, bool delayed_is_lost);
void truth_speaker_free(struct truth_speaker *s);

#endif
