/* SPDX-License-Identifier: ISC */
#include "unpacker/stream.h"

#include <opus.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/opus_packet.h"

#define IDLE_NS (200 * TD_MS_NS)       /* this long without a packet ends a talk spurt */
#define SPURT_HOLD_NS (180 * TD_MS_NS) /* how long its start waits at most: less than IDLE_NS */
#define SPURT_JUMP_NS (100 * TD_MS_NS) /* a spurt this far from its clock is placed anew */
#define LAG_NS (1500 * TD_MS_NS)       /* a sender that was late for this long has stalled */
#define PACKET_JUMP_NS (1 * TD_SEC_NS) /* so is a packet this far from the one before */
enum { SILENCE_RUN = 3 };              /* senders put five; two may be lost */
enum { GAP_SAMPLES = 9600 };           /* 200 ms */
enum { CONCEAL_SAMPLES = 4800 };       /* 100 ms: what made-up sound fades to zero over */
enum { CONCEAL_STEP = 120 };           /* 2.5 ms: Opus conceals multiples of this */

int stream_new(struct stream **ret, const struct stream_conf *conf, uint32_t ssrc, uint64_t *count)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return TD_ERR_NOMEM;
	s->conf = conf;
	s->ssrc = ssrc;
	s->count = count;
	s->prev_seq = s->anchor_seq = INT64_MIN;
	reorder_init(&s->reorder, conf->reorder_ns);
	*ret = s;
	return TD_OK;
}

int stream_conf_tell(const struct stream_conf *conf, uint64_t user_id, uint32_t ssrc,
	const struct stream_done *done, uint64_t *count)
{
	static const uint64_t none[COUNTER_COUNT];
	struct ipc_counters m = { .user_id = user_id,
		.arrival_ns = done->arrival_ns,
		.ssrc = ssrc,
		.seq = done->seq,
		.any = done->any };

	if (memcmp(count, none, sizeof(none)) == 0)
		return TD_OK;
	memcpy(m.delta, count, sizeof(m.delta));
	memset(count, 0, sizeof(m.delta));
	return ipc_queue_put(conf->out, IPC_COUNTERS, conf->conn, &m, sizeof(m), NULL, 0);
}

struct stream_done stream_done(const struct stream *s)
{
	struct stream_done d = s->done;

	if (s->stray != NULL)
		d.arrival_ns = s->stray->arrival_ns;
	return d;
}

/* A packet that leaves nothing but its count. */
static void end_quietly(struct stream *s, const struct packet *p, enum td_counter what)
{
	ipc_count_packet(s->count, what, p->flags);
	s->untold |= !p->again;
}

int stream_tell_quiet(struct stream *s)
{
	struct stream_done d = stream_done(s);

	if (!s->untold)
		return TD_OK;
	s->untold = false;
	return stream_conf_tell(s->conf, s->user_id, s->ssrc, &d, s->count);
}

/* Before p's own messages: what was counted so far. */
static int tell_counted(struct stream *s, const struct packet *p)
{
	return p->again ? TD_OK : stream_tell_quiet(s);
}

void stream_free(struct stream *s)
{
	if (s == NULL)
		return;
	hearing_end(&s->hearing, s->conf->pool);
	reorder_free(&s->reorder);
	free(s->stray);
	free(s);
}

/* How far two packets' timestamps are from what lies between their arrivals, in ns. */
static uint64_t disagreement(uint32_t ts, uint64_t arrival_ns, uint32_t before_ts,
	uint64_t before_arrival_ns)
{
	int64_t by_rtp = td_samples_to_ns((int32_t)(ts - before_ts));
	int64_t by_arrival = (int64_t)(arrival_ns - before_arrival_ns);

	return (uint64_t)(by_rtp > by_arrival ? by_rtp - by_arrival : by_arrival - by_rtp);
}

/* ---- time, as packets arrive ---- */

/* `again`: the packet that shows that was counted by another worker, and this with it. */
static void forget_clock(struct stream *s, int64_t from_seq, bool again)
{
	s->old_clock = s->clock;
	s->clock = (struct rtp_clock){ 0 };
	s->anchor_spurt = s->spurt;
	s->anchor_seq = from_seq;
	if (s->quiet_spurt == s->spurt)
		s->quiet_spurt = 0;
	s->count[COUNTER_TIME_JUMPS] += !again;
}

/* The hold of a spurt is over: its quickest packet says whether the clock still tells its time. */
static void settle_spurt(struct stream *s)
{
	int64_t off = s->quickest_d - s->clock.min_d;

	if (!s->has_quickest)
		return;
	s->has_quickest = false;
	if (s->clock.set && (uint64_t)(off < 0 ? -off : off) > SPURT_JUMP_NS)
		forget_clock(s, INT64_MIN, s->quickest_again);
	rtp_clock_add(&s->clock, rtp_clock_unwrap(&s->clock, s->quickest_ts, s->quickest_ns),
		s->quickest_ns);
}

static void begin_spurt(struct stream *s, uint64_t now_ns)
{
	s->spurt++;
	s->anchor_seq = INT64_MIN;
	reorder_hold(&s->reorder, s->spurt, now_ns + SPURT_HOLD_NS);
}

/* A held spurt is not added to the clock before it was compared with it. */
static void feed_clock(struct stream *s, const struct packet *p, int64_t ts, bool begins,
	uint64_t now_ns)
{
	int64_t d = rtp_clock_d(ts, p->arrival_ns);
	bool held = reorder_holds(&s->reorder, now_ns);

	if (!begins && !held) {
		rtp_clock_add(&s->clock, ts, p->arrival_ns);
		return;
	}
	if (!s->has_quickest || d < s->quickest_d) {
		s->has_quickest = true;
		s->quickest_d = d;
		s->quickest_ts = p->ts;
		s->quickest_ns = p->arrival_ns;
		s->quickest_again = p->again;
	}
	if (!held)
		settle_spurt(s);
}

/*
 * A sender that stalls without its timestamps noticing falls behind a little each time. The network
 * may be slow for a moment; one that brings nothing in time any more, for a second and a half and
 * more, is not what is late.
 */
static bool has_lagged(struct stream *s, const struct packet *p, int64_t ts)
{
	int64_t late;

	if (!s->clock.set || reorder_holds(&s->reorder, p->arrival_ns))
		return false;
	late = rtp_clock_d(ts, p->arrival_ns) - s->clock.min_d;
	if (late <= (int64_t)SPURT_JUMP_NS) {
		s->late_since_ns = 0;
		return false;
	}
	if (s->late_since_ns == 0)
		s->late_since_ns = p->arrival_ns;
	if (p->arrival_ns - s->late_since_ns < LAG_NS)
		return false;
	s->late_since_ns = 0;
	return true;
}

/* Finds the spurt of a packet that carries sound, and takes its time. */
static void observe(struct stream *s, struct packet *p, uint64_t now_ns)
{
	bool silence = opus_packet_is_silence(p->data, p->len);
	bool first = s->prev_seq == INT64_MIN && s->prev_arrival_ns == 0;
	bool idle = first || p->arrival_ns - s->prev_arrival_ns > IDLE_NS;
	bool after_silence = s->silence_run >= SILENCE_RUN && !silence;
	bool ahead = p->seq > s->prev_seq; /* one that was overtaken begins and ends nothing */
	int64_t ts = rtp_clock_unwrap(&s->clock, p->ts, p->arrival_ns);
	uint32_t before = s->spurt;

	if (ahead && !reorder_holds(&s->reorder, now_ns) && (idle || after_silence)) {
		begin_spurt(s, now_ns);
		s->quiet_spurt = idle ? 0 : s->spurt;
	} else if (!first && ahead &&
		disagreement(p->ts, p->arrival_ns, s->prev_ts, s->prev_arrival_ns) >
			PACKET_JUMP_NS) {
		settle_spurt(s);
		s->spurt++;
		forget_clock(s, p->seq, p->again);
	} else if (ahead && has_lagged(s, p, ts)) {
		s->spurt++;
		forget_clock(s, p->seq, p->again);
	}
	p->spurt = p->seq < s->anchor_seq ? s->spurt - 1 : s->spurt;
	if (s->spurt != before) /* maybe on another clock */
		ts = rtp_clock_unwrap(&s->clock, p->ts, p->arrival_ns);
	if (p->spurt == s->spurt)
		feed_clock(s, p, ts, s->spurt != before, now_ns);

	if (ahead) {
		s->silence_run = silence ? s->silence_run + 1 : 0;
		s->prev_seq = p->seq;
		s->prev_ts = p->ts;
		s->prev_arrival_ns = p->arrival_ns;
	}
}

/* ---- sound, as it leaves ---- */

static bool wants(const struct stream *s, uint32_t what)
{
	return (s->conf->want & what) != 0;
}

static bool on_old_clock(const struct stream *s, uint32_t spurt)
{
	return spurt < s->anchor_spurt;
}

static int64_t sent_ns(const struct stream *s, const struct packet *p)
{
	const struct rtp_clock *c = on_old_clock(s, p->spurt) ? &s->old_clock : &s->clock;

	return rtp_clock_sent_ns(c, rtp_clock_unwrap(c, p->ts, p->arrival_ns));
}

/* Whether what p gives from `ts` on starts a spurt behind what ends at `e`. */
static bool starts_spurt(const struct stream *s, const struct stream_end *e, const struct packet *p,
	uint32_t ts)
{
	return !e->any || (p->spurt > e->spurt && p->spurt != s->quiet_spurt) ||
		(int32_t)(ts - e->ts) > GAP_SAMPLES;
}

static void end_with(struct stream_end *e, const struct packet *p, int samples)
{
	*e = (struct stream_end){ .any = true,
		.ts = p->ts + (uint32_t)samples,
		.spurt = p->spurt,
		.samples = samples,
		.celt = opus_packet_is_celt(p->data, p->len) };
}

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* What belongs in the gap before a packet, in samples. */
struct fill {
	int due;     /* missing because packets were lost: the rest is a pause */
	int made_up; /* of these, concealed; from the start of the gap */
	int copied;  /* and recovered from the packet; right before it */
};

/* Of the gap between what ends at `e` and p. */
static struct fill fill_before(const struct stream *s, const struct stream_end *e,
	const struct packet *p)
{
	int64_t missing = (int32_t)(p->ts - e->ts), due = min64(missing, e->lost * e->samples);
	struct fill f = { 0 };
	int copied;

	/* Nothing to go on: no sound before, or timestamps that have nothing in common with it. */
	if (!e->any || on_old_clock(s, e->spurt) != on_old_clock(s, p->spurt))
		return f;
	/* Where a pause lies next to the loss, more time is missing than sound; and what is lost
	 * between probes in a pause was a probe, too. */
	if (due <= 0 || (s->gap.by_padding && missing > due))
		return f;
	copied = opus_packet_get_samples_per_frame(p->data, TD_RATE);
	f.due = (int)due;
	/* libopus makes sound up, copy or not, when what it decoded last was CELT alone. */
	if (due >= copied && !e->celt && opus_packet_has_fec(p->data, p->len))
		f.copied = copied;
	f.made_up = (int)min64(due - f.copied, CONCEAL_SAMPLES);
	f.made_up -= f.made_up % CONCEAL_STEP;
	return f;
}

/* Linear, to zero at CONCEAL_SAMPLES; `at` is how much of the gap was made up before. */
static void fade(int16_t *pcm, int samples, int channels, int at)
{
	int i;

	for (i = 0; i < samples * channels; i++) {
		int left = CONCEAL_SAMPLES - at - i / channels;

		pcm[i] = (int16_t)(pcm[i] * left / CONCEAL_SAMPLES);
	}
}

/* One frame, decoded straight into the queue. `p` is the packet that it comes from or that ends
 * its gap. TD_ERR_MALFORMED: Opus refused, nothing was sent. */
static int send_frame(struct stream *s, const struct packet *p, enum ipc_frame_kind kind,
	uint32_t ts, int64_t seq, int samples)
{
	struct hearing *h = &s->hearing;
	struct ipc_queue *q = s->conf->out;
	size_t mark = q->len;
	struct ipc_frame f = { .user_id = s->user_id,
		.arrival_ns = p->arrival_ns,
		.ssrc = s->ssrc };
	int16_t *pcm;
	int r;

	r = hearing_ready(h, s->conf->pool, s->conf->channels, p->data, p->len);
	if (r != TD_OK)
		return r;
	f.sent_ns = sent_ns(s, p) - td_samples_to_ns((int32_t)(p->ts - ts));
	f.rtp_ts = ts;
	f.seq = (uint16_t)seq;
	f.samples = (uint16_t)samples;
	f.kind = (uint8_t)kind;
	f.channels = (uint8_t)h->channels;
	if (kind == IPC_FRAME_DECODED || kind == IPC_FRAME_SILENCE) {
		f.flags = p->flags;
		f.nonce = p->nonce;
		f.epoch_no = p->epoch_no;
		f.lost = s->closed.lost;
		f.recovered = s->closed.recovered;
		f.concealed = s->closed.concealed;
	}
	/* Concealment goes on where the sound before the gap ended. */
	if (kind != IPC_FRAME_CONCEALED && starts_spurt(s, &s->sound, p, ts))
		f.flags |= IPC_FRAME_SPURT;
	pcm = (int16_t *)(void *)ipc_queue_put_room(q, IPC_FRAME, s->conf->conn, &f, sizeof(f),
		(size_t)(samples * h->channels) * sizeof(*pcm));
	if (pcm == NULL)
		return TD_ERR_NOMEM;

	if (kind == IPC_FRAME_CONCEALED)
		r = decoder_conceal(h->decoder, pcm, samples);
	else if (kind == IPC_FRAME_FEC)
		r = decoder_recover(h->decoder, pcm, samples, p->data, p->len);
	else
		r = decoder_decode(h->decoder, pcm, samples, p->data, p->len);
	if (r != TD_OK) {
		q->len = mark; /* takes the message back: nothing of it was written yet */
		return r;
	}
	if (kind != IPC_FRAME_CONCEALED)
		s->sound.spurt = p->spurt;
	s->sound.ts = ts + (uint32_t)samples;
	s->sound.any = true;
	if (kind == IPC_FRAME_CONCEALED || kind == IPC_FRAME_FEC)
		return TD_OK;
	return hearing_keep(h, s->conf->channels, p->data, p->len);
}

/* Makes up `samples` from where the sound ended. *ret is how many there are in the end. */
static int conceal(struct stream *s, const struct packet *p, int samples, int *ret)
{
	int at, r = TD_OK;
	int64_t seq = s->gap.first_seq;

	for (at = 0; at < samples; seq++) {
		int n = (int)min64(samples - at, s->sound.samples);
		struct ipc_queue *q = s->conf->out;
		size_t pcm_len;

		r = send_frame(s, p, IPC_FRAME_CONCEALED, s->sound.ts, seq, n);
		if (r != TD_OK)
			break;
		/* The last thing in the queue is the sound: its length is a multiple of 8. */
		pcm_len = (size_t)(n * s->hearing.channels) * sizeof(int16_t);
		fade((int16_t *)(void *)(q->buf + q->head + q->len - pcm_len), n,
			s->hearing.channels, at);
		at += n;
	}
	*ret = at;
	return td_err_is_fatal(r) ? r : TD_OK;
}

/* What came and did not open was filled like what never came, and is counted by its own reason. */
static void count_gap(struct stream *s, int64_t fec, int64_t concealed)
{
	int64_t lost = s->sound.lost - s->gap.unopened;

	if (s->sound.lost == 0) {
		s->gap = (struct stream_gap){ 0 };
		return;
	}
	if (s->gap.last_unopened)
		fec = 0;
	concealed = min64(concealed, lost - fec);
	s->count[COUNTER_LOST] += (uint64_t)lost;
	s->count[COUNTER_FEC] += (uint64_t)fec;
	s->count[COUNTER_CONCEALED] += (uint64_t)concealed;
	s->count[COUNTER_SKIPPED] += (uint64_t)(lost - fec - concealed);
	s->closed = (struct stream_lost){ .lost = (uint16_t)min64(lost, UINT16_MAX),
		.recovered = (uint16_t)fec,
		.concealed = (uint16_t)min64(concealed, UINT16_MAX) };
	s->gap = (struct stream_gap){ 0 };
	s->sound.lost = 0;
}

/* Fills what was lost before p as far as that makes sense. *ret_fec and *ret_concealed: how many of
 * the lost packets that made up for. */
static int fill_gap(struct stream *s, const struct packet *p, int64_t *ret_fec,
	int64_t *ret_concealed)
{
	struct fill f = fill_before(s, &s->sound, p);
	int64_t most = s->sound.lost - (f.copied > 0);
	int made_up = 0, r = TD_OK;

	if (f.made_up > 0) {
		r = conceal(s, p, f.made_up, &made_up);
		*ret_concealed = min64(most, (made_up + s->sound.samples - 1) / s->sound.samples);
	}
	if (r == TD_OK && f.copied > 0) {
		r = send_frame(s, p, IPC_FRAME_FEC, p->ts - (uint32_t)f.copied, s->gap.last_seq,
			f.copied);
		*ret_fec = r == TD_OK;
	}
	return td_err_is_fatal(r) ? r : TD_OK;
}

/* What was lost before p is done with: filled, and counted. */
static int close_gap(struct stream *s, const struct packet *p)
{
	int64_t fec = 0, concealed = 0;
	int r = fill_gap(s, p, &fec, &concealed);

	count_gap(s, fec, concealed);
	return r;
}

/* `lost` numbers before before_seq will give no sound. */
static void widen_gap(struct stream *s, int64_t lost, int64_t before_seq)
{
	if (lost <= 0)
		return;
	if (s->sound.lost == 0)
		s->gap.first_seq = before_seq - lost;
	s->gap.last_seq = before_seq - 1;
	s->gap.last_unopened = false;
	s->sound.lost += lost;
}

/* p as it is. What libopus thinks of it, or thought of those before it, makes no difference: there
 * may be nobody who decodes them. */
static int pass_on(struct stream *s, const struct packet *p, int samples)
{
	struct fill f = fill_before(s, &s->passed, p);
	struct ipc_opus m = { .user_id = s->user_id,
		.arrival_ns = p->arrival_ns,
		.sent_ns = sent_ns(s, p),
		.nonce = p->nonce,
		.ssrc = s->ssrc,
		.rtp_ts = p->ts,
		.lost = (uint32_t)f.due,
		.epoch_no = p->epoch_no,
		.seq = (uint16_t)p->seq,
		.samples = (uint16_t)samples,
		.flags = p->flags,
		.silence = opus_packet_is_silence(p->data, p->len) };

	/* Where there are no frames, it is what the gap is counted with. */
	if (!wants(s, IPC_WANT_PCM)) {
		count_gap(s, 0, 0);
		m.missing = s->closed.lost;
	}
	/* As the first frame that p gives, recovered or its own, behind what is made up. */
	if (starts_spurt(s, &s->passed, p, p->ts - (uint32_t)(f.made_up + f.copied)))
		m.flags |= IPC_FRAME_SPURT;
	end_with(&s->passed, p, samples);
	return ipc_queue_put(s->conf->out, IPC_OPUS, s->conf->conn, &m, sizeof(m), p->data, p->len);
}

/* The sound of p and of what was lost before it. TD_ERR_MALFORMED: Opus refused p. */
static int sound_of(struct stream *s, const struct packet *p, int samples)
{
	bool silence = opus_packet_is_silence(p->data, p->len);
	int r = TD_OK;

	if (!wants(s, IPC_WANT_PCM))
		count_gap(s, 0, 0);
	else if ((r = close_gap(s, p)) == TD_OK)
		r = send_frame(s, p, silence ? IPC_FRAME_SILENCE : IPC_FRAME_DECODED, p->ts, p->seq,
			samples);
	if (r == TD_OK)
		end_with(&s->sound, p, samples);
	return r;
}

/* One that came and will not be opened any more. */
static void skip_unopened(struct stream *s, const struct packet *p)
{
	s->sealed -= p->state == PACKET_SEALED;
	end_quietly(s, p, (enum td_counter)p->reason);
	widen_gap(s, 1, p->seq + 1);
	s->passed.lost++;
	s->gap.unopened++;
	s->gap.last_unopened = true;
}

/* One that is passed on and not decoded, to save time: the same gap, but for those who got it. */
static void skip_undecoded(struct stream *s, const struct packet *p)
{
	end_quietly(s, p, COUNTER_UNDECODED);
	widen_gap(s, 1, p->seq + 1);
	s->gap.unopened++;
	s->gap.last_unopened = true;
}

/* A packet that leaves the window. */
static int play_packet(struct stream *s, const struct packet *p, int64_t lost)
{
	int samples, r;

	widen_gap(s, lost, p->seq);
	s->passed.lost += lost;
	if (p->state != PACKET_OPEN) {
		skip_unopened(s, p);
		return TD_OK;
	}
	if (p->len == 0) {
		end_quietly(s, p, COUNTER_PADDING);
		s->gap.by_padding = true;
		return TD_OK;
	}
	samples = opus_packet_samples(p->data, p->len);
	if (samples < 0) {
		end_quietly(s, p, COUNTER_UNDECODABLE);
		return TD_OK;
	}
	if ((r = tell_counted(s, p)) != TD_OK)
		return r;
	if (wants(s, IPC_WANT_OPUS) && (r = pass_on(s, p, samples)) != TD_OK)
		return r;
	if (p->undecoded && wants(s, IPC_WANT_PCM)) {
		skip_undecoded(s, p);
		return TD_OK;
	}
	r = sound_of(s, p, samples);
	if (r == TD_ERR_MALFORMED) {
		end_quietly(s, p, COUNTER_UNDECODABLE);
		return TD_OK;
	}
	if (r != TD_OK)
		return r;
	ipc_count_packet(s->count, COUNTER_DECODED, p->flags);
	s->count[COUNTER_SILENCE] += opus_packet_is_silence(p->data, p->len);
	return TD_OK;
}

/* As if it came first, but nothing of it is counted or leaves. */
static int play_again(struct stream *s, const struct packet *p, int64_t lost)
{
	uint64_t uncounted[COUNTER_COUNT] = { 0 }, *count = s->count;
	size_t mark = s->conf->out->len;
	int r;

	s->count = uncounted;
	r = play_packet(s, p, lost);
	s->count = count;
	s->conf->out->len = mark; /* nothing of it was written yet */
	return r;
}

/* The next packet in sequence; `lost` numbers before it were given up. */
static int play(struct stream *s, const struct packet *p, int64_t lost)
{
	int r;

	s->closed = (struct stream_lost){ 0 };
	r = p->again ? play_again(s, p, lost) : play_packet(s, p, lost);
	s->done.seq = (uint16_t)p->seq;
	s->done.any = true;
	return r;
}

/* ---- end-to-end encryption ---- */

static void drop(struct packet *p, enum td_counter reason)
{
	p->state = PACKET_DROPPED;
	p->reason = (uint8_t)reason;
	p->sealed_until_ns = 0;
}

/* What fits no key may be of an epoch still to come. The gravest reason of all tries is kept. */
static void seal(struct stream *s, struct packet *p, enum dave_verdict v)
{
	static const enum td_counter reasons[] = {
		[DAVE_STAGE_NO_KEY] = COUNTER_DAVE_NO_KEY,
		[DAVE_STAGE_LIMIT] = COUNTER_DAVE_REPLAY,
		[DAVE_STAGE_AUTH] = COUNTER_DAVE_AUTH,
	};

	if (p->state == PACKET_SEALED && v == DAVE_STAGE_NO_KEY)
		return;
	if (p->state == PACKET_SEALED && v == DAVE_STAGE_LIMIT && p->reason == COUNTER_DAVE_AUTH)
		return;
	p->state = PACKET_SEALED;
	p->reason = (uint8_t)reasons[v];
	p->sealed_until_ns = p->arrival_ns + s->conf->dave->wait_ns;
}

/* Opens p, or finds out what is to become of it. Its plaintext is the stage's. */
static int open_packet(struct stream *s, struct packet *p, bool newest_alone)
{
	struct dave_stage *d = s->conf->dave;
	enum dave_verdict v;
	unsigned flags = (p->plain_ok ? DAVE_STAGE_PLAIN_OK : 0u) |
		(newest_alone ? DAVE_STAGE_NEWEST_ALONE : 0u) |
		(p->opened ? DAVE_STAGE_OPENED_BEFORE : 0u);
	int r = dave_stage_open(d, &v, s->user_id, p->data, p->len, p->arrival_ns, flags);

	if (r != TD_OK)
		return r;
	switch (v) {
	case DAVE_STAGE_OPENED:
		p->flags |= IPC_FRAME_DAVE_OPENED;
		p->nonce = d->nonce;
		p->epoch_no = d->epoch_no;
		p->data = d->plain;
		p->len = (uint16_t)d->frame.media_len;
		p->state = PACKET_OPEN;
		p->sealed_until_ns = 0;
		break;
	case DAVE_STAGE_PLAIN:
		p->flags |= IPC_FRAME_DAVE_PLAIN;
		break;
	case DAVE_STAGE_CLEAR:
		break;
	case DAVE_STAGE_REFUSED:
		drop(p, COUNTER_DAVE_REFUSED);
		break;
	case DAVE_STAGE_REPLAYED:
		drop(p, COUNTER_DAVE_REPLAY);
		break;
	case DAVE_STAGE_NO_KEY:
	case DAVE_STAGE_LIMIT:
	case DAVE_STAGE_AUTH:
		seal(s, p, v);
		break;
	}
	return TD_OK;
}

/* ---- from arriving to leaving ---- */

/* Lets leave what may at now_ns; REORDER_NEVER: all of it. */
static int release(struct stream *s, uint64_t now_ns)
{
	struct packet *p;
	int64_t lost;
	int r = TD_OK;

	if (!reorder_holds(&s->reorder, now_ns))
		settle_spurt(s);
	while (r == TD_OK && (p = reorder_pop(&s->reorder, now_ns, &lost)) != NULL) {
		r = play(s, p, lost);
		free(p);
	}
	return r;
}

/* A packet whose number fits. */
static int accept_packet(struct stream *s, struct packet *p, uint64_t now_ns)
{
	bool started = s->reorder.started;
	int r;

	if (started && p->seq < s->reorder.highest)
		p->flags |= IPC_FRAME_REORDERED;
	/* So far ahead of a gap that it would not fit: the gap has to go before its time. */
	if (started && p->seq - s->reorder.next >= REORDER_SLOTS &&
		(r = release(s, REORDER_NEVER)) != TD_OK)
		return r;
	if ((r = open_packet(s, p, false)) != TD_OK)
		return r;
	s->sealed += p->state == PACKET_SEALED;
	if (p->len > 0)
		observe(s, p, now_ns);
	else if (!started)
		begin_spurt(s, now_ns);
	if (p->len == 0)
		p->spurt = s->spurt;

	if (reorder_pass(&s->reorder, p, now_ns))
		r = play(s, p, 0);
	else
		r = reorder_put(&s->reorder, p);
	return r == TD_OK ? release(s, now_ns) : r;
}

/* Those that were the same as the stray one are done with when it is known what that was. */
static void count_stray_again(struct stream *s)
{
	s->untold |= s->stray_again > 0;
	for (; s->stray_again > 0; s->stray_again--)
		ipc_count_packet(s->count, COUNTER_DUPLICATE, 0);
}

static void drop_stray(struct stream *s)
{
	if (s->stray == NULL)
		return;
	count_stray_again(s);
	if (!s->stray->again)
		end_quietly(s, s->stray, COUNTER_RESTARTED);
	free(s->stray);
	s->stray = NULL;
}

/* How many numbers were given up between what ends at `e` and p, far ahead: none if the sender
 * counts anew. If that much was lost, the timestamps went on with the clock, and far enough for
 * that many packets. */
static int64_t lost_in_outage(const struct stream *s, const struct stream_end *e,
	const struct packet *p)
{
	int64_t ahead = p->seq - s->reorder.next;
	bool outage = e->any && ahead > 0 &&
		(int32_t)(p->ts - s->prev_ts) >= ahead * e->samples / 2 &&
		disagreement(p->ts, p->arrival_ns, s->prev_ts, s->prev_arrival_ns) <=
			PACKET_JUMP_NS;

	return outage ? ahead : 0;
}

/* Two packets in a row of another numbering: go on with it from the first. */
static int restart(struct stream *s, struct packet *second)
{
	struct packet *first = s->stray;
	int r;

	s->stray = NULL;
	s->done.arrival_ns = first->arrival_ns;
	second->seq = first->seq + 1;
	if ((r = release(s, REORDER_NEVER)) != TD_OK)
		goto out;
	widen_gap(s, lost_in_outage(s, &s->sound, first), first->seq);
	s->passed.lost += lost_in_outage(s, &s->passed, first);
	reorder_restart(&s->reorder, first->seq);
	/* What is counted from here on is about the new numbers, and the first is not among it. */
	s->done = (struct stream_done){ second->arrival_ns, (uint16_t)(first->seq - 1), true };
	count_stray_again(s);
	s->prev_seq = s->anchor_seq = INT64_MIN;
	if ((r = accept_packet(s, first, second->arrival_ns)) == TD_OK)
		r = accept_packet(s, second, second->arrival_ns);
out:
	free(first);
	return r;
}

static int far_packet(struct stream *s, struct packet *p)
{
	if (s->stray != NULL && (uint16_t)p->seq == (uint16_t)s->stray->seq) {
		s->stray_again += !p->again && !p->counted;
		return TD_OK;
	}
	if (s->stray != NULL && (uint16_t)p->seq == (uint16_t)(s->stray->seq + 1))
		return restart(s, p);
	drop_stray(s);
	s->stray = packet_keep(p);
	return s->stray != NULL ? TD_OK : TD_ERR_NOMEM;
}

int stream_packet(struct stream *s, const struct packet *in)
{
	struct packet p = *in;
	enum reorder_verdict verdict;
	int r;

	if ((r = stream_advance(s, p.arrival_ns)) != TD_OK)
		return r;
	s->done.arrival_ns = p.arrival_ns;
	verdict = reorder_check(&s->reorder, (uint16_t)in->seq, &p.seq);
	if (verdict == REORDER_FAR)
		return far_packet(s, &p);
	drop_stray(s);
	if (verdict == REORDER_FITS)
		return accept_packet(s, &p, p.arrival_ns);
	if (!p.again && !(p.counted && verdict == REORDER_DUPLICATE))
		end_quietly(s, &p, verdict == REORDER_LATE ? COUNTER_LATE : COUNTER_DUPLICATE);
	return TD_OK;
}

int stream_retry(struct stream *s, bool new_epoch, uint64_t at_ns, uint64_t now_ns)
{
	size_t left = s->sealed;
	int64_t seq;
	int r;

	if (left == 0)
		return TD_OK;
	for (seq = s->reorder.next; left > 0 && seq <= s->reorder.highest; seq++) {
		struct packet *p = reorder_at(&s->reorder, seq);
		uint8_t *own;

		if (p == NULL || p->state != PACKET_SEALED)
			continue;
		left--;
		if (p->sealed_until_ns <= at_ns)
			continue;
		own = (uint8_t *)(p + 1);
		if ((r = open_packet(s, p, new_epoch)) != TD_OK)
			return r;
		s->sealed -= p->state != PACKET_SEALED;
		if (p->state == PACKET_OPEN) {
			memcpy(own, p->data, p->len);
			p->data = own;
		}
	}
	return release(s, now_ns);
}

uint64_t stream_due(const struct stream *s)
{
	return reorder_due(&s->reorder);
}

int stream_advance(struct stream *s, uint64_t now_ns)
{
	uint64_t due;
	int r = TD_OK;

	while (r == TD_OK && (due = stream_due(s)) <= now_ns)
		r = release(s, due);
	return r;
}

int stream_relieve(struct stream *s)
{
	return release(s, REORDER_NEVER);
}

int stream_finish(struct stream *s)
{
	int r;

	drop_stray(s);
	r = release(s, REORDER_NEVER);
	count_gap(s, 0, 0);
	return r;
}
