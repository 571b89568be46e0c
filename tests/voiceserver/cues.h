/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_CUES_H
#define TD_TESTS_VOICESERVER_CUES_H

#include "tests/voiceserver/scenario.h"

/* What a guild's script does besides media, in order of time. */
enum cue_kind {
	CUE_JOIN,     /* a speaker comes; not for those who are there from the start */
	CUE_NAME,     /* op 5 */
	CUE_LEAVE,    /* op 13 */
	CUE_EVENT,    /* scenario event `index` */
	CUE_NEW_INFO, /* what a bot is told later on, after event `index` */
	CUE_END,
};
struct cue {
	uint64_t at_ns;
	enum cue_kind kind;
	size_t index; /* of the speaker or the event */
	size_t stay;
};

/* All cues of g. TD_ERR_NOMEM. Free with free(). */
int cues_new(struct cue **ret, size_t *ret_n, const struct scenario_guild *g, uint64_t length_ns);

#endif
