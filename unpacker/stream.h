/* SPDX-License-Identifier: ISC */
#ifndef TD_UNPACKER_STREAM_H
#define TD_UNPACKER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ipc.h"
#include "unpacker/dave_stage.h"
#include "unpacker/hearing.h"
#include "unpacker/packet.h"
#include "unpacker/reorder.h"
#include "unpacker/rtp_clock.h"

/*
 * One SSRC: packets in as they arrive, frames and the packets themselves out in order as far as
 * they are wanted, each with its time. Everything depends on the packets and their arrival times
 * alone: when stream_advance() is called in between, and how often, changes nothing.
 *
 * A talk spurt begins with the first packet, after 200 ms without one, after a run of silence
 * frames, and where timestamps jump. Its first packets are held for a moment, so that its place on
 * our clock comes from the quickest of them and not from whichever was first.
 */

/* What the streams of a connection share; outlives them. */
struct stream_conf {
	struct ipc_queue *out;
	struct decoder_pool *pool;
	struct dave_stage *dave;
	uint64_t conn;
	uint64_t reorder_ns;
	uint32_t want; /* IPC_WANT_* */
	int channels;  /* at most */
};

/* Where what left ends. */
struct stream_end {
	bool any;       /* something did: */
	uint32_t ts;    /* behind its last sample */
	uint32_t spurt; /* the spurt it belonged to */
	int samples;    /* of its last packet */
	bool celt;      /* that packet was CELT alone */
	int64_t lost;   /* sequence numbers given up since, and not accounted for yet: padding may
	                   stand between them and the packet that tells how much is missing */
};

/* Of those that sound lacks: */
struct stream_gap {
	int64_t first_seq, last_seq;
	bool by_padding;
	int64_t unopened; /* of these: came and did not open, which is counted elsewhere */
	bool last_unopened;
};

/* What was lost in a gap that is closed, until the packet behind it tells. */
struct stream_lost {
	uint16_t lost, recovered, concealed;
};

/* How far a stream is with what it was given: struct ipc_counters. */
struct stream_done {
	uint64_t arrival_ns;
	uint16_t seq;
	bool any;
};

struct stream {
	const struct stream_conf *conf;
	uint64_t *count; /* [COUNTER_COUNT], the owner's */
	bool untold;     /* of what is in it, not all will be told by frames and packets */
	struct stream_done done;
	uint64_t user_id; /* the owner sets it, at any time; 0: not named */
	uint32_t ssrc;

	/* As packets arrive. */
	struct reorder reorder;
	struct packet *stray; /* far out of sequence; the next one tells what it was */
	size_t stray_again;   /* came with the same number */
	uint32_t spurt;       /* number of the latest talk spurt; 0: none yet */
	uint32_t quiet_spurt; /* one that follows silence frames without a pause; 0: none */
	uint32_t silence_run; /* silence frames in a row */
	size_t sealed;        /* packets in the window that wait for their key */
	int64_t prev_seq;     /* the highest one that was not padding, and its times: */
	uint32_t prev_ts;
	uint64_t prev_arrival_ns;
	uint64_t late_since_ns; /* nothing has come in time since then; 0: something has */

	/* Time: clock places packets of anchor_spurt and later ones, old_clock those before. */
	struct rtp_clock clock, old_clock;
	uint32_t anchor_spurt;
	int64_t anchor_seq; /* lower numbers belong to the spurt before, however late they come */
	bool has_quickest;  /* of the spurt that is held: */
	bool quickest_again;
	uint32_t quickest_ts;
	uint64_t quickest_ns;
	int64_t quickest_d;

	/* As sound leaves. */
	struct hearing hearing;
	struct stream_gap gap;
	struct stream_lost closed;
	struct stream_end sound;  /* of the frames; of the packets if there are no frames */
	struct stream_end passed; /* of the packets passed on, even one that libopus refused */
};

/* What was counted leaves as COUNTERS, and counting begins anew; nothing if that is nothing.
 * TD_ERR_NOMEM. */
int stream_conf_tell(const struct stream_conf *conf, uint64_t user_id, uint32_t ssrc,
	const struct stream_done *done, uint64_t *count);

/* `count` and `conf` are borrowed. TD_ERR_NOMEM. */
int stream_new(struct stream **ret, const struct stream_conf *conf, uint32_t ssrc, uint64_t *count);
void stream_free(struct stream *s); /* NULL is fine; what waits is dropped: finish it first */

/* A packet, `seq` as on the wire; its bytes are borrowed. Everything due at its arrival or before
 * leaves first. TD_ERR_NOMEM. */
int stream_packet(struct stream *s, const struct packet *in);

/* The user was named, or (new_epoch) the newest epoch has come: opens what waits for its key, in
 * order, and lets leave what may. Packets whose time to wait was over at at_ns are left.
 * TD_ERR_NOMEM. */
int stream_retry(struct stream *s, bool new_epoch, uint64_t at_ns, uint64_t now_ns);

/* When something leaves whatever comes; REORDER_NEVER when nothing waits. */
uint64_t stream_due(const struct stream *s);
/* Lets everything leave that is due at now_ns or before. TD_ERR_NOMEM. */
int stream_advance(struct stream *s, uint64_t now_ns);
/* Lets everything leave that waits, as if it had waited long enough. TD_ERR_NOMEM. */
int stream_relieve(struct stream *s);
/* Lets everything leave. Nothing but stream_done() and stream_free() after this. TD_ERR_NOMEM. */
int stream_finish(struct stream *s);
/* Counters leave, if something is counted of which neither a frame nor a packet tells.
 * TD_ERR_NOMEM. */
int stream_tell_quiet(struct stream *s);
/* What counters that leave now are about. */
struct stream_done stream_done(const struct stream *s);

#endif
