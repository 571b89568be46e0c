/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "tests/voiceserver/rng.h"
#include "tests/voiceserver/talk.h"

/* A speaker who comes back needs a moment before the first word. */
enum { REJOIN_MS = 100, FRAME = 960, BURST = 20, BURST_STEP_MS = 2, VIDEO_STEP_MS = 100 };
enum { VIDEO_MAX = 900 };

static const uint8_t silence_frame[] = { 0xf8, 0xff, 0xfe };

struct talk {
	const struct scenario_speaker *s;
	const struct ogg_clip *clip;
	struct rng rng;
	uint64_t start_ns, end_ns;
	double ns_per_sample;

	/* voice */
	uint64_t position; /* samples of the sender's clock since start_ns */
	uint64_t spurt_end_ns, resume_ns;
	size_t next_pause, next_packet;
	unsigned silence_left;
	bool fresh, done; /* first packet of a spurt; nothing more to say */
	uint16_t sequence;
	uint32_t timestamp, last_timestamp;
	uint64_t last_ns;

	uint64_t burst_ns; /* next packet of a padding burst */
	unsigned burst_left;
	uint64_t rtcp_ns, video_ns;
	uint16_t video_sequence;
	uint32_t video_timestamp;
	uint32_t packets, octets;
	uint8_t video[VIDEO_MAX];
};

uint64_t talk_start_ns(const struct scenario_speaker *s, size_t stay)
{
	uint64_t joined = s->present[stay].from_ns;

	if (joined > 0)
		joined += REJOIN_MS * TD_MS_NS;
	return s->start_ns > joined ? s->start_ns : joined;
}

static uint64_t voice_ns(const struct talk *t)
{
	return t->done ? UINT64_MAX
		       : t->start_ns + (uint64_t)((double)t->position * t->ns_per_sample);
}

/* Decides where the spurt that begins at now_ns ends, and when the next one begins. */
static void spurt_plan(struct talk *t, uint64_t now_ns)
{
	const struct scenario_speaker *s = t->s;

	t->spurt_end_ns = t->resume_ns = UINT64_MAX;
	t->silence_left = s->silence_frames;
	t->fresh = true;
	if (s->n_pauses > 0) {
		while (t->next_pause < s->n_pauses && s->pauses[t->next_pause].from_ns <= now_ns)
			t->next_pause++;
		if (t->next_pause < s->n_pauses) {
			t->spurt_end_ns = s->pauses[t->next_pause].from_ns;
			t->resume_ns = s->pauses[t->next_pause].to_ns;
		}
	} else if (s->spurt_ns > 0) {
		t->spurt_end_ns = now_ns + s->spurt_ns;
		t->resume_ns = t->spurt_end_ns + s->pause_ns;
	}
}

/* Moves the sender's clock to the first frame at or after the end of the pause. */
static void pause_skip(struct talk *t)
{
	uint64_t from = t->position, frames;
	double samples;

	if (t->resume_ns >= t->end_ns) {
		t->done = true;
		return;
	}
	samples = (double)(t->resume_ns - t->start_ns) / t->ns_per_sample;
	if (samples > (double)from) {
		frames = (uint64_t)((samples - (double)from) / FRAME) + 1;
		t->position += frames * FRAME;
		if (!t->s->freeze)
			t->timestamp += (uint32_t)(frames * FRAME);
	}
	spurt_plan(t, voice_ns(t));
}

/* Leaves the state such that voice_ns() is when the next voice packet is due, or done. */
static void voice_settle(struct talk *t)
{
	if (!t->s->loop && t->next_packet >= t->clip->n && t->spurt_end_ns > voice_ns(t)) {
		t->spurt_end_ns = voice_ns(t);
		t->resume_ns = UINT64_MAX;
	}
	if (!t->done && voice_ns(t) >= t->spurt_end_ns && t->silence_left == 0)
		pause_skip(t);
	if (voice_ns(t) >= t->end_ns)
		t->done = true;
}

int talk_new(struct talk **ret, const struct scenario_speaker *s, const struct ogg_clip *clip,
	uint64_t seed, size_t stay, uint64_t end_ns)
{
	struct talk *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return TD_ERR_NOMEM;
	t->s = s;
	t->clip = clip;
	t->rng = rng_stream(seed, s->user_id, stay, RNG_TALK);
	t->start_ns = talk_start_ns(s, stay);
	t->end_ns = s->present[stay].to_ns < end_ns ? s->present[stay].to_ns : end_ns;
	t->ns_per_sample = (double)TD_SEC_NS / TD_RATE * (1 + s->skew_ppm * 1e-6);
	t->sequence = (uint16_t)rng_u32(&t->rng);
	t->timestamp = rng_u32(&t->rng);
	if (s->near_wrap) {
		t->sequence = (uint16_t)(0x10000 - 20 - t->sequence % 100);
		t->timestamp = 0u - (30 + t->timestamp % 150) * FRAME;
	}
	if (s->sequence >= 0)
		t->sequence = (uint16_t)s->sequence;
	if (s->timestamp >= 0)
		t->timestamp = (uint32_t)s->timestamp;
	t->last_timestamp = t->timestamp;
	t->video_sequence = (uint16_t)rng_u32(&t->rng);
	t->video_timestamp = rng_u32(&t->rng);
	t->last_ns = t->start_ns;
	t->burst_ns = t->rtcp_ns = t->video_ns = UINT64_MAX;
	if (s->padding_burst_ns > 0)
		t->burst_ns = t->start_ns + s->padding_burst_ns;
	if (s->rtcp_ns > 0)
		t->rtcp_ns = t->start_ns + s->rtcp_ns / 3;
	if (s->video)
		t->video_ns = t->start_ns + VIDEO_STEP_MS / 2 * TD_MS_NS;
	t->burst_left = BURST;
	spurt_plan(t, t->start_ns);
	voice_settle(t);
	*ret = t;
	return TD_OK;
}

void talk_free(struct talk *t)
{
	free(t);
}

uint64_t talk_next_ns(const struct talk *t)
{
	uint64_t ns = voice_ns(t);

	if (t->burst_ns < ns)
		ns = t->burst_ns;
	if (t->rtcp_ns < ns)
		ns = t->rtcp_ns;
	if (t->video_ns < ns)
		ns = t->video_ns;
	return ns < t->end_ns ? ns : UINT64_MAX;
}

static void voice_next(struct talk *t, struct media *m)
{
	m->sequence = t->sequence++;
	m->timestamp = t->last_timestamp = t->timestamp;
	t->last_ns = m->at_ns;
	if (m->at_ns >= t->spurt_end_ns) {
		m->kind = MEDIA_SILENCE;
		m->payload = silence_frame;
		m->len = sizeof(silence_frame);
		m->samples = FRAME;
		t->silence_left--;
	} else {
		m->kind = MEDIA_VOICE;
		m->opus = (unsigned)(t->next_packet++ % t->clip->n);
		m->payload = t->clip->packets[m->opus].data;
		m->len = t->clip->packets[m->opus].len;
		m->samples = t->clip->packets[m->opus].samples;
		m->marker = t->fresh;
		t->fresh = false;
	}
	if (rng_chance(&t->rng, t->s->padding))
		m->padding = 1 + (unsigned)rng_below(&t->rng, 24);
	t->position += m->samples;
	t->timestamp += m->samples;
	t->packets++;
	t->octets += (uint32_t)m->len;
	voice_settle(t);
}

static void burst_next(struct talk *t, struct media *m)
{
	m->kind = MEDIA_PADDING;
	m->sequence = t->sequence++;
	m->timestamp = t->last_timestamp;
	m->padding = 200 + (unsigned)rng_below(&t->rng, 56);
	t->burst_ns += BURST_STEP_MS * TD_MS_NS;
	if (--t->burst_left == 0) {
		t->burst_left = BURST;
		t->burst_ns += t->s->padding_burst_ns;
	}
}

static void video_next(struct talk *t, struct media *m)
{
	m->kind = MEDIA_VIDEO;
	m->sequence = t->video_sequence++;
	m->timestamp = t->video_timestamp;
	m->len = 1 + (size_t)rng_below(&t->rng, sizeof(t->video));
	rng_fill(&t->rng, t->video, m->len);
	m->payload = t->video;
	t->video_timestamp += 90 * VIDEO_STEP_MS;
	t->video_ns += VIDEO_STEP_MS * TD_MS_NS;
}

void talk_next(struct talk *t, struct media *ret)
{
	struct media m = { 0 };

	m.at_ns = talk_next_ns(t);
	m.extension = t->s->extension;
	if (m.at_ns == voice_ns(t)) {
		voice_next(t, &m);
	} else if (m.at_ns == t->burst_ns) {
		burst_next(t, &m);
	} else if (m.at_ns == t->rtcp_ns) {
		m.kind = MEDIA_RTCP;
		m.timestamp = t->last_timestamp +
			(uint32_t)td_ns_to_samples((int64_t)(m.at_ns - t->last_ns));
		t->rtcp_ns += t->s->rtcp_ns;
	} else {
		video_next(t, &m);
	}
	m.packets = t->packets;
	m.octets = t->octets;
	*ret = m;
}
