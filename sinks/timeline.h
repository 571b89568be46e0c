/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_TIMELINE_H
#define TD_SINKS_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Where the frames of one SSRC belong on the session's clock: in samples at 48 kHz since start_ns.
 *
 * A talk spurt is placed by the clock (sent_ns), what follows in it by RTP time, so that inside
 * speech nothing is inserted or removed and clock skew is taken up by silence. Pure; one thread.
 */
enum {
	TIMELINE_SLACK = 4800,     /* 100 ms: differences this small are no reason to cut sound */
	TIMELINE_MAX_LEAD = 48000, /* 1 s: nothing is placed later than this after its arrival */
};
/* No frame is placed beyond this plus the lead, whatever it says: 265 days. */
#define TIMELINE_MAX_POS (INT64_C(1) << 40)

struct timeline {
	bool begun;
	int64_t next_rtp; /* unwrapped RTP time just behind the frame before */
	int64_t next_pos; /* position just behind the frame before, dropped or not */
};

struct timeline_frame {
	uint64_t arrival_ns;
	int64_t sent_ns;
	uint32_t rtp_ts, samples;
	bool spurt;
};

/* Samples [skip, samples) of the frame go to pos + skip; skip == samples: nothing of it. */
struct timeline_place {
	int64_t pos;
	uint32_t skip;
	bool overlap; /* samples were skipped because the track has sound there already */
	bool jump;    /* RTP time made no sense: placed anew by the clock */
};

/* at_ns as a position, within +-TIMELINE_MAX_POS. */
int64_t timeline_position(uint64_t start_ns, int64_t at_ns);

/* Places the next frame of a stream (zeroed struct: the first one) on a track of which `written`
 * samples are written. */
struct timeline_place timeline_place(struct timeline *t, uint64_t start_ns,
	const struct timeline_frame *frame, int64_t written);

#endif
