/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_FILE_TRACK_H
#define TD_SINKS_FILE_TRACK_H

#include <stdint.h>

#include "sinks/file_conf.h"
#include "sinks/file_outage.h"
#include "sinks/sink.h"
#include "sinks/spill.h"

/*
 * One track of the file sink: its sound, with long pauses shortened and at the rate it was asked
 * for, goes to a file, or to parts that follow each other without a sample missing or twice.
 *
 * What cannot be written is an event (sinks/file_outage.h) and a gap: the file ends where that is,
 * and a new part begins with the first sound for which one can be made. A track whose first file
 * could not be made has none until then.
 *
 * Methods are those of struct td_track_ops, with its rules.
 */
enum { FILE_PARTS_MAX = 100000, FILE_CUTS_MAX = 100000 }; /* beyond: no more are begun */

/* What the tracks of a session share; borrowed by them. */
struct file_session {
	struct file_conf conf;
	const struct td_host *host;
	const struct td_session *info;
	struct outage outage;
	struct spill *spill;   /* of the cuts; a file if there will be any */
	struct td_cut *listed; /* by file_track_describe() */
	uint64_t listed_len;   /* of the spill_list it was */
};

/* What file_track_describe() pointed to is not needed any more. */
void file_session_unlist(struct file_session *s);

int file_track_open(void **ret_track, void *session, const struct td_track *track);
int file_track_audio(void *track, const int16_t *pcm, uint32_t samples);
int file_track_packet(void *track, const struct td_packet *packet);
int file_track_silence(void *track, uint64_t n);
int file_track_refresh(void *track);
int file_track_end(void *track);
void file_track_free(void *track);
void file_track_named(void *track, uint64_t user_id, uint32_t own);
void file_track_describe(void *track, struct td_file *file);

/* The bounds, to be replaced by tests; 0: the real ones. Not for threads. */
void file_track_test_max(uint32_t parts, uint32_t cuts);

#endif
