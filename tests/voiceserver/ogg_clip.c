/* SPDX-License-Identifier: ISC */
#include <ogg/ogg.h>
#include <opus.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "tests/voiceserver/ogg_clip.h"

enum { READ_SIZE = 65536, HEADERS = 2, MAX_PACKET = 1275 * 6 };

struct clip_reader {
	FILE *file;
	ogg_sync_state sync;
	ogg_stream_state stream;
	bool started; /* stream is in use */
	unsigned headers;
	size_t *ends; /* end of packet i in clip->bytes */
	size_t room, bytes_room, bytes_len;
	struct ogg_clip *clip;
};

static int grow(void **p, size_t *room, size_t need, size_t size)
{
	size_t n = *room > 0 ? *room : 1024;
	void *bigger;

	if (need <= *room)
		return TD_OK;
	while (n < need)
		n *= 2;
	if ((bigger = realloc(*p, n * size)) == NULL)
		return TD_ERR_NOMEM;
	*p = bigger;
	*room = n;
	return TD_OK;
}

static int packet_add(struct clip_reader *rd, const ogg_packet *op)
{
	struct ogg_clip *c = rd->clip;
	size_t len = (size_t)op->bytes;
	int r;

	if (rd->headers < HEADERS) {
		if (rd->headers++ == 0 && (len < 8 || memcmp(op->packet, "OpusHead", 8) != 0))
			return TD_ERR_MALFORMED;
		return TD_OK;
	}
	if (len == 0 || len > MAX_PACKET ||
		opus_packet_get_nb_samples(op->packet, (opus_int32)len, 48000) <= 0)
		return TD_ERR_MALFORMED;
	if ((r = grow((void **)&c->bytes, &rd->bytes_room, rd->bytes_len + len, 1)) != TD_OK ||
		(r = grow((void **)&rd->ends, &rd->room, c->n + 1, sizeof(*rd->ends))) != TD_OK)
		return r;
	memcpy(c->bytes + rd->bytes_len, op->packet, len);
	rd->bytes_len += len;
	rd->ends[c->n++] = rd->bytes_len;
	return TD_OK;
}

static int page_add(struct clip_reader *rd, ogg_page *page)
{
	ogg_packet op;
	int r;

	if (!rd->started) {
		if (ogg_stream_init(&rd->stream, ogg_page_serialno(page)) != 0)
			return TD_ERR_NOMEM;
		rd->started = true;
	}
	if (ogg_stream_pagein(&rd->stream, page) != 0)
		return TD_ERR_MALFORMED;
	while ((r = ogg_stream_packetout(&rd->stream, &op)) == 1)
		if ((r = packet_add(rd, &op)) != TD_OK)
			return r;
	return r == 0 ? TD_OK : TD_ERR_MALFORMED;
}

static int pages_read(struct clip_reader *rd)
{
	ogg_page page;
	char *room;
	size_t n;
	int r;

	for (;;) {
		while ((r = ogg_sync_pageout(&rd->sync, &page)) == 1)
			if ((r = page_add(rd, &page)) != TD_OK)
				return r;
		if (r < 0)
			return TD_ERR_MALFORMED;
		if ((room = ogg_sync_buffer(&rd->sync, READ_SIZE)) == NULL)
			return TD_ERR_NOMEM;
		n = fread(room, 1, READ_SIZE, rd->file);
		ogg_sync_wrote(&rd->sync, (long)n);
		if (n == 0)
			return ferror(rd->file) ? TD_ERR_IO : TD_OK;
	}
}

/* Only now do the bytes stay where they are. */
static int packets_point(struct clip_reader *rd)
{
	struct ogg_clip *c = rd->clip;
	size_t i, from = 0;

	if (c->n == 0)
		return TD_ERR_MALFORMED;
	if ((c->packets = calloc(c->n, sizeof(*c->packets))) == NULL)
		return TD_ERR_NOMEM;
	for (i = 0; i < c->n; i++) {
		c->packets[i].data = c->bytes + from;
		c->packets[i].len = rd->ends[i] - from;
		c->packets[i].samples = (unsigned)opus_packet_get_nb_samples(c->packets[i].data,
			(opus_int32)c->packets[i].len, 48000);
		from = rd->ends[i];
	}
	return TD_OK;
}

int ogg_clip_load(struct ogg_clip **ret, const char *path)
{
	struct clip_reader rd = { 0 };
	int r = TD_ERR_NOMEM;

	ogg_sync_init(&rd.sync);
	if ((rd.clip = calloc(1, sizeof(*rd.clip))) == NULL)
		goto out;
	r = TD_ERR_IO;
	if ((rd.file = fopen(path, "rbe")) == NULL)
		goto out;
	if ((r = pages_read(&rd)) != TD_OK || (r = packets_point(&rd)) != TD_OK)
		goto out;
	*ret = rd.clip;
	rd.clip = NULL;
out:
	if (rd.file != NULL)
		fclose(rd.file);
	if (rd.started)
		ogg_stream_clear(&rd.stream);
	ogg_sync_clear(&rd.sync);
	free(rd.ends);
	ogg_clip_free(rd.clip);
	return r;
}

void ogg_clip_free(struct ogg_clip *c)
{
	if (c == NULL)
		return;
	free(c->packets);
	free(c->bytes);
	free(c);
}
