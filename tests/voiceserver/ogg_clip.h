/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_OGG_CLIP_H
#define TD_TESTS_VOICESERVER_OGG_CLIP_H

#include <stddef.h>
#include <stdint.h>

/* The Opus packets of an Ogg Opus file, in memory. */
struct ogg_clip_packet {
	const uint8_t *data;
	size_t len;
	unsigned samples; /* per channel at 48 kHz */
};
struct ogg_clip {
	struct ogg_clip_packet *packets;
	size_t n;
	uint8_t *bytes; /* of all packets */
};

/* Reads all of path, headers left out. TD_ERR_NOMEM, TD_ERR_IO, TD_ERR_MALFORMED. Free with
 * ogg_clip_free(). */
int ogg_clip_load(struct ogg_clip **ret, const char *path);
void ogg_clip_free(struct ogg_clip *c); /* NULL is fine */

#endif
