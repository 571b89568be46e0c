/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "common/clock.h"
#include "tests/voiceserver/call.h"
#include "tests/voiceserver/dave.h"
#include "tests/voiceserver/relayed.h"

/* A sender whose packets come so far from their RTP time has paused with a clock that stood. */
enum { REBASE_MS = 500, FRAME = 960 };

static const uint8_t silence_frame[] = { 0xf8, 0xff, 0xfe };

/* When m would have come from a sender without jitter. */
static uint64_t even_ns(struct relayed *r, uint64_t now_ns, uint32_t timestamp)
{
	int64_t at = (int64_t)r->base_ns + td_samples_to_ns((int32_t)(timestamp - r->base_ts));

	if (!r->begun || at - (int64_t)now_ns > REBASE_MS * (int64_t)TD_MS_NS ||
		(int64_t)now_ns - at > REBASE_MS * (int64_t)TD_MS_NS) {
		r->begun = true;
		r->base_ns = now_ns;
		r->base_ts = timestamp;
		return now_ns;
	}
	return (uint64_t)at;
}

void relayed_frame(struct session *from, const struct media *m, uint32_t ssrc, enum wire_fate fate)
{
	struct call *c = from->call;
	size_t user = (size_t)(call_ticket(c, from->user_id) - c->tickets);
	struct relayed *r = &from->relayed;
	struct media told = *m;

	if (c->users_clip == NULL || c->server->truth == NULL || c->start_ns == 0)
		return;
	told.at_ns = even_ns(r, c->server->now_ns - c->start_ns, m->timestamp);
	if (m->len == sizeof(silence_frame) && memcmp(m->payload, silence_frame, m->len) == 0) {
		told.kind = MEDIA_SILENCE;
		told.samples = FRAME;
	} else {
		told.opus = (unsigned)(r->next_packet++ % c->users_clip->n);
		told.samples = c->users_clip->packets[told.opus].samples;
		if (wire_arrives(fate) && !dave_recorder_reads(c))
			fate = WIRE_UNREADABLE;
	}
	truth_packet(c->server->truth, c->number, c->guild->n_speakers + user, &told, ssrc, fate);
}
