/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_OGG_READ_H
#define TD_TESTS_OGG_READ_H

#include <ogg/ogg.h>
#include <opus.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sinks/sink.h"

/*
 * For tests of what writes Ogg Opus: an output in memory that can fail, and a reader that takes a
 * file apart with libogg and holds it to RFC 3533 and RFC 7845. READ_CHECK says what happens when
 * something does not hold.
 */
#ifndef READ_CHECK
#define READ_CHECK(x)                                                           \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort();                                                \
		}                                                               \
	} while (0)
#endif

/* ---- the output ---- */

struct mem {
	uint8_t *data;
	size_t len, cap;
	size_t room;  /* it takes this many bytes and then fails */
	size_t block; /* and then has only whole blocks of this size; 0: all it took */
	size_t appends, patches;
	bool failed, patch_fails;
};

static int mem_append(void *user, const void *data, size_t len)
{
	struct mem *m = user;
	size_t n = len < m->room - m->len ? len : m->room - m->len;

	READ_CHECK(len > 0);
	m->appends++;
	if (m->failed)
		return TD_SINK_ERR_IO;
	if (m->len + n > m->cap) {
		m->cap = 2 * (m->len + n);
		READ_CHECK((m->data = realloc(m->data, m->cap)) != NULL);
	}
	if (n > 0)
		memcpy(m->data + m->len, data, n);
	m->len += n;
	if (n == len)
		return 0;
	m->failed = true;
	if (m->block > 0)
		m->len -= m->len % m->block;
	return TD_SINK_ERR_IO;
}

static int mem_patch(void *user, uint64_t at, const void *data, size_t len)
{
	struct mem *m = user;

	m->patches++;
	READ_CHECK(at <= m->len && len <= m->len - at);
	if (m->patch_fails)
		return TD_SINK_ERR_IO;
	memcpy(m->data + at, data, len);
	return 0;
}

static uint64_t mem_length(void *user)
{
	return ((struct mem *)user)->len;
}

static inline struct td_output mem_output(struct mem *m)
{
	*m = (struct mem){ .room = SIZE_MAX };
	return (struct td_output){
		.size = sizeof(struct td_output),
		.user = m,
		.append = mem_append,
		.patch = mem_patch,
		.length = mem_length,
	};
}

/* ---- the reader ---- */

struct read_packet {
	size_t at; /* in bytes */
	uint32_t len, samples;
	int64_t position; /* 0: the first sample that is played */
};

struct read_file {
	uint8_t *bytes;
	size_t bytes_len, bytes_cap;
	struct read_packet *packets;
	size_t count, cap;
	uint8_t head[19];
	uint8_t *tags;
	size_t tags_len;
	uint32_t pre_skip, serial;
	size_t pages;        /* of sound */
	size_t longest_page; /* in samples */
	uint64_t granule;    /* of the last page */
	uint64_t length;     /* samples that are played */
	bool eos;
};

static void read_free(struct read_file *f)
{
	free(f->bytes);
	free(f->packets);
	free(f->tags);
}

static uint32_t read_le(const uint8_t *p, int n)
{
	uint32_t v = 0;

	while (n-- > 0)
		v = v << 8 | p[n];
	return v;
}

static void read_sound(struct read_file *f, const ogg_packet *op, uint64_t *samples)
{
	int n = opus_packet_get_nb_samples(op->packet, (opus_int32)op->bytes, 48000);

	READ_CHECK(op->bytes > 0 && n > 0);
	if (f->count == f->cap) {
		f->cap = f->cap > 0 ? 2 * f->cap : 1024;
		READ_CHECK(
			(f->packets = realloc(f->packets, f->cap * sizeof(*f->packets))) != NULL);
	}
	if (f->bytes_len + (size_t)op->bytes > f->bytes_cap) {
		f->bytes_cap = 2 * (f->bytes_len + (size_t)op->bytes);
		READ_CHECK((f->bytes = realloc(f->bytes, f->bytes_cap)) != NULL);
	}
	memcpy(f->bytes + f->bytes_len, op->packet, (size_t)op->bytes);
	f->packets[f->count++] = (struct read_packet){ f->bytes_len, (uint32_t)op->bytes,
		(uint32_t)n, (int64_t)*samples - f->pre_skip };
	f->bytes_len += (size_t)op->bytes;
	*samples += (uint64_t)n;
}

static void read_head(struct read_file *f, const ogg_packet *op)
{
	READ_CHECK(op->bytes == sizeof(f->head) && memcmp(op->packet, "OpusHead", 8) == 0);
	memcpy(f->head, op->packet, sizeof(f->head));
	f->pre_skip = read_le(f->head + 10, 2);
}

static void read_tags(struct read_file *f, const ogg_packet *op)
{
	READ_CHECK(op->bytes >= 16 && memcmp(op->packet, "OpusTags", 8) == 0);
	f->tags_len = (size_t)op->bytes;
	READ_CHECK((f->tags = malloc(f->tags_len)) != NULL);
	memcpy(f->tags, op->packet, f->tags_len);
}

/* Every rule about pages is here. */
static void read_page(struct read_file *f, ogg_stream_state *stream, ogg_page *page, size_t no,
	uint64_t *samples)
{
	uint64_t before = *samples, granule = (uint64_t)ogg_page_granulepos(page);
	ogg_packet op;
	int r;

	READ_CHECK(!f->eos);
	READ_CHECK((size_t)ogg_page_pageno(page) == no);
	READ_CHECK(!ogg_page_continued(page) && ogg_page_packets(page) > 0);
	READ_CHECK((ogg_page_bos(page) != 0) == (no == 0));
	READ_CHECK((uint32_t)ogg_page_serialno(page) == f->serial);
	READ_CHECK(ogg_stream_pagein(stream, page) == 0);
	while ((r = ogg_stream_packetout(stream, &op)) == 1) {
		if (no == 0)
			read_head(f, &op);
		else if (no == 1)
			read_tags(f, &op);
		else
			read_sound(f, &op, samples);
	}
	READ_CHECK(r == 0);
	f->eos = ogg_page_eos(page) != 0;
	if (no < 2) {
		READ_CHECK(granule == 0 && ogg_page_packets(page) == 1 && !f->eos);
		return;
	}
	f->pages++;
	if (*samples - before > f->longest_page)
		f->longest_page = *samples - before;
	if (f->eos)
		READ_CHECK(granule <= *samples && granule >= before && granule >= f->pre_skip);
	else
		READ_CHECK(granule == *samples);
	f->granule = granule;
	f->length = granule > f->pre_skip ? granule - f->pre_skip : 0;
}

/* All whole pages; what follows the last one is its beginning. Free with read_free(). */
static inline struct read_file read_mem(const struct mem *m)
{
	struct read_file f = { 0 };
	uint64_t samples = 0;
	ogg_stream_state stream;
	ogg_sync_state sync;
	size_t no = 0, used = 0;
	ogg_page page;

	ogg_sync_init(&sync);
	if (m->len > 0) {
		char *room = ogg_sync_buffer(&sync, (long)m->len);

		READ_CHECK(room != NULL);
		memcpy(room, m->data, m->len);
		ogg_sync_wrote(&sync, (long)m->len);
	}
	/* -1 would be bytes between pages, or a checksum that is wrong */
	for (int r; (r = ogg_sync_pageout(&sync, &page)) != 0; no++) {
		READ_CHECK(r == 1);
		if (no == 0) {
			f.serial = (uint32_t)ogg_page_serialno(&page);
			READ_CHECK(ogg_stream_init(&stream, (int)f.serial) == 0);
		}
		read_page(&f, &stream, &page, no, &samples);
		used += (size_t)(page.header_len + page.body_len);
	}
	READ_CHECK(m->len - used < 65307);
	if (no > 0)
		ogg_stream_clear(&stream);
	ogg_sync_clear(&sync);
	return f;
}

static inline const uint8_t *read_data(const struct read_file *f, size_t i)
{
	return f->bytes + f->packets[i].at;
}

#endif
