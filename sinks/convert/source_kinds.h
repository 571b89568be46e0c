/* SPDX-License-Identifier: ISC */
#ifndef TD_CONVERT_SOURCE_KINDS_H
#define TD_CONVERT_SOURCE_KINDS_H

#include <sndfile.h>

#include "sinks/convert/hush.h"
#include "sinks/convert/source.h"

/* The inside of a source, for the three kinds there are. */
struct source {
	const struct source_conf *conf;
	struct source_info info;
	struct input in;
	bool damaged; /* not everything could be read */

	/* raw samples, of a raw file or inside a WAV */
	struct raw_form form;
	uint64_t at, end; /* bytes still to read; end UINT64_MAX: a stream */
	uint8_t *buf;

	/* libsndfile; NULL: raw */
	SNDFILE *snd;
	uint64_t pos; /* in bytes, as libsndfile sees it */
	bool fine;    /* more than 16 bits: read as floating point */
	float *floats;
	uint64_t got; /* samples so far */
	bool ogg;
	struct hush hush; /* open: MP3 */

	struct source_flac *flac; /* NULL: another kind */
};

enum { SOURCE_BLOCK = 4096 }; /* samples read at once */

/* s->in is open; what is in it is this, from at on. */
int source_raw_open(struct source *s, const struct raw_form *form, uint64_t at, uint64_t len,
	struct fault *fault);
int source_raw_read(struct source *s, int16_t *pcm, uint32_t max, uint64_t *ret_n, bool *ret_silent,
	struct fault *fault);

int source_snd_open(struct source *s, struct fault *fault);
int source_snd_read(struct source *s, int16_t *pcm, uint32_t max, uint64_t *ret_n,
	struct fault *fault);

/* Whether s->in is FLAC. */
bool source_flac_is(struct source *s);
int source_flac_open(struct source *s, struct fault *fault);
void source_flac_free(struct source_flac *f);
int source_flac_read(struct source *s, int16_t *pcm, uint32_t max, uint64_t *ret_n,
	bool *ret_silent, struct fault *fault);

/* At the end of an Ogg file: reads it once more, and warns of what is wrong with its pages. */
void source_ogg_check(struct source *s);

#endif
