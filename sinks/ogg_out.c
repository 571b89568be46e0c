/* SPDX-License-Identifier: ISC */
#include "sinks/ogg_out.h"

#include <ogg/ogg.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"

enum { SEGMENTS_MAX = 255, SEGMENT = 255 };
/* RFC 3533 section 6: where things are in the header of a page. */
enum {
	AT_FLAGS = 5,
	AT_GRANULE = 6,
	AT_SERIAL = 14,
	AT_PAGE_NO = 18,
	AT_CRC = 22,
	AT_SEGMENTS = 26
};
enum { FLAG_EOS = 4 };

/* A page of sound that may have to become the last one. */
struct page_mark {
	uint64_t at, granule;
	uint32_t len, crc;
};

struct ogg_out {
	const struct td_output *out;
	ogg_stream_state stream;
	int error;
	uint64_t at;      /* length of the output when all is stored */
	uint64_t samples; /* of all packets */
	uint32_t serial, page_count;
	uint32_t page_samples, page_segments; /* of the page that is being filled */
	/* The pages of the last OGG_OUT_WINDOW bytes at least. */
	struct page_mark *marks;
	size_t mark_count, mark_cap;
};

static void put_le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static void put_le64(uint8_t *p, uint64_t v)
{
	put_le32(p, (uint32_t)v);
	put_le32(p + 4, (uint32_t)(v >> 32));
}

static uint32_t get_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int ogg_out_new(struct ogg_out **ret, const struct td_output *out, uint32_t serial)
{
	struct ogg_out *o = calloc(1, sizeof(*o));

	if (o == NULL)
		return TD_SINK_ERR_NOMEM;
	if (ogg_stream_init(&o->stream, (int)serial) != 0) {
		free(o);
		return TD_SINK_ERR_NOMEM;
	}
	o->out = out;
	o->serial = serial;
	*ret = o;
	return TD_OK;
}

void ogg_out_free(struct ogg_out *o)
{
	if (o == NULL)
		return;
	ogg_stream_clear(&o->stream);
	free(o->marks);
	free(o);
}

uint64_t ogg_out_samples(const struct ogg_out *o)
{
	return o->samples;
}

/* Remembers a page; forgets those that the output cannot take back any more. */
static int mark_add(struct ogg_out *o, const ogg_page *page, uint32_t len)
{
	size_t old = 0;

	if (o->mark_count == o->mark_cap) {
		while (old < o->mark_count &&
			o->marks[old].at + o->marks[old].len + OGG_OUT_WINDOW < o->at)
			old++;
		/* Moving them costs: only when that makes much room. */
		if (old > 0 && old >= o->mark_count / 4) {
			o->mark_count -= old;
			memmove(o->marks, o->marks + old, o->mark_count * sizeof(*o->marks));
		} else {
			size_t cap = o->mark_cap > 0 ? 2 * o->mark_cap : 16;
			struct page_mark *p = realloc(o->marks, cap * sizeof(*p));

			if (p == NULL)
				return TD_SINK_ERR_NOMEM;
			o->marks = p;
			o->mark_cap = cap;
		}
	}
	o->marks[o->mark_count++] = (struct page_mark){
		.at = o->at,
		.len = len,
		.granule = o->samples,
		.crc = get_le32(page->header + AT_CRC),
	};
	return TD_OK;
}

static int page_write(struct ogg_out *o, ogg_page *page)
{
	uint32_t len = (uint32_t)(page->header_len + page->body_len);
	int r;

	if (o->samples > 0 && (r = mark_add(o, page, len)) < 0)
		return r;
	o->at += len;
	o->page_count++;
	if ((r = o->out->append(o->out->user, page->header, (size_t)page->header_len)) < 0)
		return r;
	return o->out->append(o->out->user, page->body, (size_t)page->body_len);
}

int ogg_out_flush(struct ogg_out *o)
{
	ogg_page page;

	/* By itself libogg would end a page after 4 KiB. */
	while (o->error == TD_OK &&
		ogg_stream_flush_fill(&o->stream, &page, SEGMENTS_MAX * SEGMENT + 1) != 0)
		o->error = page_write(o, &page);
	o->page_samples = o->page_segments = 0;
	return o->error;
}

static int packet_add(struct ogg_out *o, const uint8_t *data, size_t len, uint32_t samples)
{
	ogg_packet op = {
		.packet = (unsigned char *)(uintptr_t)data, /* libogg only reads it */
		.bytes = (long)len,
		.granulepos = (ogg_int64_t)(o->samples + samples),
	};

	if (o->error != TD_OK)
		return o->error;
	if (ogg_stream_packetin(&o->stream, &op) != 0)
		return o->error = TD_SINK_ERR_NOMEM;
	o->samples += samples;
	o->page_samples += samples;
	o->page_segments += (uint32_t)(len / SEGMENT + 1);
	return TD_OK;
}

int ogg_out_header(struct ogg_out *o, const uint8_t *data, size_t len)
{
	int r = packet_add(o, data, len, 0);

	return r == TD_OK ? ogg_out_flush(o) : r;
}

int ogg_out_packet(struct ogg_out *o, const uint8_t *data, size_t len, uint32_t samples)
{
	int r;

	if ((o->page_samples + samples > TD_RATE ||
		    o->page_segments + len / SEGMENT + 1 > SEGMENTS_MAX) &&
		(r = ogg_out_flush(o)) < 0)
		return r;
	return packet_add(o, data, len, samples);
}

/* One more byte into the checksum of RFC 3533. */
static uint32_t crc_byte(uint32_t crc, uint8_t byte)
{
	crc ^= (uint32_t)byte << 24;
	for (int i = 0; i < 8; i++)
		crc = crc << 1 ^ ((crc & 0x80000000u) != 0 ? 0x04c11db7u : 0);
	return crc;
}

/*
 * Makes a stored page the last one, without having it any more: the checksum is linear, so that of
 * the bits that change, with zeros for the rest of the page, is what it changes by.
 */
static int mark_end(struct ogg_out *o, const struct page_mark *m, uint64_t granule)
{
	uint32_t no = o->page_count - (uint32_t)(o->marks + o->mark_count - m);
	uint8_t header[AT_SEGMENTS] = { 0 };
	uint32_t change = 0;

	header[AT_FLAGS] = FLAG_EOS; /* it had no flag before */
	put_le64(header + AT_GRANULE, granule ^ m->granule);
	for (uint32_t i = AT_FLAGS; i < m->len; i++)
		change = crc_byte(change, i < AT_SERIAL ? header[i] : 0);
	put_le64(header + AT_GRANULE, granule);
	put_le32(header + AT_SERIAL, o->serial);
	put_le32(header + AT_PAGE_NO, no);
	put_le32(header + AT_CRC, m->crc ^ change);
	return o->out->patch(o->out->user, m->at + AT_FLAGS, header + AT_FLAGS,
		AT_SEGMENTS - AT_FLAGS);
}

/* The last page that is stored whole; NULL: there is none. */
static const struct page_mark *mark_stored(const struct ogg_out *o)
{
	uint64_t len = o->out->length(o->out->user);
	size_t i = o->mark_count;

	while (i > 0 && o->marks[i - 1].at + o->marks[i - 1].len > len)
		i--;
	return i > 0 ? &o->marks[i - 1] : NULL;
}

int ogg_out_finish(struct ogg_out *o, uint64_t total, uint64_t *ret_stored)
{
	const struct page_mark *m, *again;
	uint64_t granule;
	int r;

	(void)ogg_out_flush(o);
	*ret_stored = 0;
	while ((m = mark_stored(o)) != NULL) {
		granule = *ret_stored = m->granule < total ? m->granule : total;
		r = mark_end(o, m, granule);
		if (r < 0 && o->error == TD_OK)
			o->error = r;
		/* What was buffered so far has to reach the file first, and may be lost then. */
		if (r == TD_OK || (again = mark_stored(o)) == m)
			break;
		*ret_stored = 0;
	}
	return o->error;
}
