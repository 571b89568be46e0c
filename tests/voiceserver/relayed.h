/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_RELAYED_H
#define TD_TESTS_VOICESERVER_RELAYED_H

#include "tests/voiceserver/talk.h"
#include "tests/voiceserver/wire.h"

/*
 * What a real client sends, as the truth knows it. The server cannot look into encrypted frames, so
 * the scenario says which clip the clients play: each session sends its packets in order, and the
 * Opus silence frame in clear.
 */
struct session;

struct relayed {
	bool begun;
	uint64_t base_ns;   /* call time of ... */
	uint32_t base_ts;   /* ... this RTP time */
	size_t next_packet; /* of the clip */
};

/* A frame of `from`, on its way to the recorder with that SSRC. m's time and samples are set here.
 */
void relayed_frame(struct session *from, const struct media *m, uint32_t ssrc, enum wire_fate fate);

#endif
