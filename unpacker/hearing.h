/* SPDX-License-Identifier: ISC */
#ifndef TD_UNPACKER_HEARING_H
#define TD_UNPACKER_HEARING_H

#include <stddef.h>
#include <stdint.h>

#include "unpacker/decoder.h"

/*
 * What one stream is decoded with, in the channels it is coded in. libopus computes both channels
 * of what was coded in mono, one like the other, for a third of its time more. So a stream begins
 * in mono where its packets do, and becomes stereo at the first that is coded in stereo, for good:
 * the silence frames between stereo packets are coded in mono.
 *
 * The one channel is, to the bit, the left one that a stereo decoder gives as long as nothing is
 * concealed. Concealed CELT is noise, and another one; so is what libopus makes up itself for the
 * 2.5 ms in which it changes from SILK or hybrid to CELT.
 *
 * A decoder that becomes stereo is given the last packets again: all there were, and then it is as
 * if it had decoded them in stereo from the start; or the last 12, after which a few frames can be
 * off by up to a hundredth of full scale, and then none.
 */
enum { HEARING_KEPT = 12 };

struct hearing {
	struct decoder *decoder; /* NULL until the first packet */
	int channels;            /* of what it gives */
	size_t count, head;      /* of kept: the last packets, oldest at head */
	struct hearing_packet {
		uint8_t *data;
		size_t len, size;
	} kept[HEARING_KEPT]; /* while it may become stereo */
};

/* Has a decoder for the packet ready, of at most `most` channels. TD_ERR_NOMEM. */
int hearing_ready(struct hearing *h, struct decoder_pool *pool, int most, const uint8_t *packet,
	size_t len);
/* The packet was decoded. TD_ERR_NOMEM. */
int hearing_keep(struct hearing *h, int most, const uint8_t *packet, size_t len);
void hearing_end(struct hearing *h, struct decoder_pool *pool); /* of one all zero, too */

#endif
