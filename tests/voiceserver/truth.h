/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_TRUTH_H
#define TD_TESTS_VOICESERVER_TRUTH_H

#include "tests/voiceserver/scenario.h"
#include "tests/voiceserver/talk.h"
#include "tests/voiceserver/wire.h"

/*
 * What was sent to the recorders, packet by packet, for tests to compare with. Packets that follow
 * each other evenly are one run, so that a call of many hours stays a small file.
 */
struct truth;

int truth_new(struct truth **ret, const struct scenario *sc); /* TD_ERR_NOMEM; borrows sc */
void truth_free(struct truth *t);                             /* NULL is fine */

/* A packet of a scripted speaker, or of a real client: number n_speakers + its place in `users`.
 * ssrc 0: there was nobody to send it to. Video and RTCP are left out. Out of memory shows in
 * truth_write(). */
void truth_packet(struct truth *t, size_t guild, size_t speaker, const struct media *m,
	uint32_t ssrc, enum wire_fate fate);
/* The first datagram of a guild's recorder left at this time of the call. Later calls are ignored.
 */
void truth_first_datagram(struct truth *t, size_t guild, uint64_t at_ns);

/* TD_ERR_IO, TD_ERR_NOMEM. */
int truth_write(const struct truth *t, const char *path);

#endif
