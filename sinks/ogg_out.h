/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_OGG_OUT_H
#define TD_SINKS_OGG_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "sinks/sink.h"

/*
 * One logical Ogg stream (RFC 3533) on its way into a td_output. Granule positions are the samples
 * of all packets so far, at 48 kHz (RFC 7845 section 4).
 *
 * A page holds a second of sound at most, and whole packets only. The mark that ends the stream is
 * patched into the last page when all is over: so nothing is held back for it, and an output that
 * failed gets its mark too, in the last page it has all of.
 *
 * One thread at a time. Results: 0, TD_SINK_ERR_NOMEM, or what the output said; after the first
 * error nothing is written any more.
 */
struct ogg_out;

/* The longest packet: it leaves room in a page for its own end. */
enum { OGG_OUT_PACKET_MAX = 255 * 254 };
/* What the output may have buffered and take back when it fails. */
enum { OGG_OUT_WINDOW = 128 * 1024 };

/* out is empty, and stays valid until ogg_out_free(), which takes NULL, too. */
int ogg_out_new(struct ogg_out **ret, const struct td_output *out, uint32_t serial);
void ogg_out_free(struct ogg_out *o);

/* A packet of the codec's headers, on a page of its own. len is 1 to OGG_OUT_PACKET_MAX here and
 * below. */
int ogg_out_header(struct ogg_out *o, const uint8_t *data, size_t len);
/* samples: at 48 kHz, what it decodes to. */
int ogg_out_packet(struct ogg_out *o, const uint8_t *data, size_t len, uint32_t samples);
/* Ends the page: every packet is in the output. No page when there is none. */
int ogg_out_flush(struct ogg_out *o);
/* Of all packets. */
uint64_t ogg_out_samples(const struct ogg_out *o);

/*
 * Ends the stream after `total` samples: none of the packets before the last one is beyond them.
 * After a failure it ends with the last page that is stored whole. *ret_stored: the samples up to
 * there, at most total; written always. Returns the first error there was. Once; only
 * ogg_out_free() follows.
 */
int ogg_out_finish(struct ogg_out *o, uint64_t total, uint64_t *ret_stored);

#endif
