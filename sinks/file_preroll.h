/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_FILE_PREROLL_H
#define TD_SINKS_FILE_PREROLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sinks/sink.h"

/*
 * The last 80 ms of a track of Opus packets: what the decoder of a part that begins now has to hear
 * first, so that it is in the state it would have been in (RFC 7845 section 4.2).
 */
enum { PREROLL_SAMPLES = 3840, PREROLL_ITEMS = 80, PREROLL_ITEMS_MIN = 8 };

struct preroll_item {
	uint32_t samples;
	bool sound;              /* a packet; else silence */
	struct td_packet packet; /* its data is ours */
	uint8_t *data;
	size_t cap;
};

/* Zeroed: empty. */
struct file_preroll {
	struct preroll_item *items; /* a ring of cap, no larger than it has to be */
	uint32_t first, count, cap;
	uint64_t samples; /* of all of them */
};

void preroll_free(struct file_preroll *p);

/* What the track was given, in order. TD_ERR_NOMEM. */
int preroll_packet(struct file_preroll *p, const struct td_packet *packet);
int preroll_silence(struct file_preroll *p, uint64_t n);

/* How long it is for a part that begins `at` samples into the sound of the track: at least 80 ms,
 * and such that packets stay at the same multiples of 2.5 ms. */
uint32_t preroll_length(struct file_preroll *p, uint64_t at);
/* Gives a new writer that much. */
int preroll_write(struct file_preroll *p, uint32_t length, const struct td_writer_ops *ops,
	void *writer);

#endif
