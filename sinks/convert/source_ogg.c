/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <inttypes.h>
#include <ogg/ogg.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "sinks/convert/source_kinds.h"

/* What libsndfile does not tell of an Ogg file: pages that are damaged or missing, and no end. */
enum { OGG_BLOCK = 1 << 16, OGG_STREAMS = 16 };

struct walk {
	struct {
		int serial;
		uint32_t next; /* number of its next page */
		bool ended;
	} streams[OGG_STREAMS];
	size_t count;
	uint64_t skipped; /* bytes that are in no page */
	uint64_t missing; /* pages, by their numbers */
	bool other;       /* more streams than that, or pages that belong to none */
};

static void walk_page(struct walk *w, const ogg_page *page)
{
	const int serial = ogg_page_serialno(page);
	const uint32_t number = (uint32_t)ogg_page_pageno(page);
	size_t i = 0;

	while (i < w->count && w->streams[i].serial != serial)
		i++;
	if (i == w->count) {
		if (i == OGG_STREAMS || !ogg_page_bos(page)) {
			w->other = true;
			return;
		}
		w->count++;
		w->streams[i].serial = serial;
		w->streams[i].next = number;
	}
	if (number != w->streams[i].next)
		w->missing += number - w->streams[i].next < UINT32_MAX / 2
			? number - w->streams[i].next
			: 1;
	w->streams[i].next = number + 1;
	w->streams[i].ended = ogg_page_eos(page) != 0;
}

/* Every page there is. TD_ERR_IO, TD_ERR_NOMEM. */
static int walk_file(struct walk *w, struct input *in)
{
	ogg_sync_state sync;
	uint64_t at = 0;
	int r = TD_OK;
	size_t n;

	ogg_sync_init(&sync);
	do {
		char *buf = ogg_sync_buffer(&sync, OGG_BLOCK);
		ogg_page page;
		long len;

		n = 0;
		if (buf == NULL) {
			r = TD_ERR_NOMEM;
			break;
		}
		if ((r = input_read(in, buf, OGG_BLOCK, at, &n)) < 0)
			break;
		at += n;
		ogg_sync_wrote(&sync, (long)n);
		while ((len = ogg_sync_pageseek(&sync, &page)) != 0) {
			if (len > 0)
				walk_page(w, &page);
			else
				w->skipped += (uint64_t)-len;
		}
	} while (n > 0);
	/* Half a page. */
	w->skipped += (uint64_t)(sync.fill - sync.returned);
	ogg_sync_clear(&sync);
	return r;
}

void source_ogg_check(struct source *s)
{
	struct input in = s->in; /* beside what libsndfile does with it */
	struct walk w = { .count = 0 };
	bool ended = true;

	if (walk_file(&w, &in) < 0 || in.shrank) {
		witness_warn(s->conf->witness, "cannot be checked: %s", strerror(errno));
		s->damaged = true;
		return;
	}
	for (size_t i = 0; i < w.count; i++)
		ended = ended && w.streams[i].ended;
	if (w.missing > 0 || w.skipped > 0 || w.other) {
		witness_warn(s->conf->witness,
			"damaged: missing pages: %" PRIu64 ", bytes in no page: %" PRIu64
			"; what comes after them may be too early",
			w.missing, w.skipped);
		s->damaged = true;
	}
	if (!ended) {
		witness_warn(s->conf->witness, "ends early: its last page is missing");
		s->damaged = true;
	}
}
