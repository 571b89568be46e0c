/* SPDX-License-Identifier: ISC */
#include "common/mls/mls_codec.h"

#include <stdlib.h>

#include "common/err.h"

uint32_t mls_rd_varint(struct rd *r)
{
	uint8_t first = rd_u8(r);
	uint32_t v = first & 0x3f;
	unsigned more = first >> 6 == 2 ? 3 : first >> 6;
	uint32_t least = more == 3 ? 1u << 14 : more == 1 ? 1u << 6 : 0;

	if (first >> 6 == 3) {
		r->bad = true;
		return 0;
	}
	while (more-- > 0)
		v = v << 8 | rd_u8(r);
	if (v < least)
		r->bad = true;
	return r->bad ? 0 : v;
}

struct mls_span mls_rd_vec(struct rd *r)
{
	uint32_t n = mls_rd_varint(r);
	const uint8_t *p = rd_bytes(r, n);

	return mls_span(p, p != NULL ? n : 0);
}

struct rd mls_rd_open(struct rd *r)
{
	uint32_t n = mls_rd_varint(r);
	bool bad = r->bad;
	struct rd inner = rd_window(r, n);

	inner.bad = bad || r->bad;
	return inner;
}

void mls_rd_close(struct rd *r, const struct rd *inner)
{
	if (!rd_done(inner))
		r->bad = true;
}

bool mls_rd_present(struct rd *r)
{
	uint8_t v = rd_u8(r);

	if (v > 1)
		r->bad = true;
	return v == 1 && !r->bad;
}

size_t mls_varint_size(size_t n)
{
	return n < 1u << 6 ? 1 : n < 1u << 14 ? 2 : 4;
}

void mls_wr_varint(struct wr *w, size_t n)
{
	if (n > MLS_VEC_MAX)
		w->bad = true;
	else if (n < 1u << 6)
		wr_u8(w, (uint8_t)n);
	else if (n < 1u << 14)
		wr_u16(w, (uint16_t)(n | 1u << 14));
	else
		wr_u32(w, (uint32_t)n | 2u << 30);
}

void mls_wr_span(struct wr *w, struct mls_span s)
{
	wr_bytes(w, s.p, s.len);
}

void mls_wr_vec(struct wr *w, struct mls_span s)
{
	mls_wr_varint(w, s.len);
	mls_wr_span(w, s);
}

size_t mls_wr_open(const struct wr *w)
{
	return w->len;
}

void mls_wr_close(struct wr *w, size_t mark)
{
	size_t n = w->len - mark;
	size_t head = mls_varint_size(n);
	struct wr header;

	if (wr_room(w, head) == NULL)
		return;
	memmove(w->buf + mark + head, w->buf + mark, n);
	wr_init(&header, w->buf + mark, head);
	mls_wr_varint(&header, n);
	w->bad = header.bad;
}

int mls_wr_new(struct wr *w, size_t cap)
{
	uint8_t *buf = calloc(1, cap > 0 ? cap : 1);

	if (buf == NULL)
		return TD_ERR_NOMEM;
	wr_init(w, buf, cap);
	return TD_OK;
}

bool mls_ext_next(struct rd *r, uint16_t *type, struct mls_span *data)
{
	if (r->bad || rd_left(r) == 0)
		return false;
	*type = rd_u16(r);
	*data = mls_rd_vec(r);
	return !r->bad;
}

int mls_ext_check(struct mls_span list)
{
	uint16_t seen[MLS_EXT_MAX];
	struct mls_span data;
	uint16_t type;
	struct rd r;
	size_t n = 0;
	size_t i;

	rd_init(&r, list.p, list.len);
	while (mls_ext_next(&r, &type, &data)) {
		if (n == MLS_EXT_MAX)
			return TD_ERR_LIMIT;
		for (i = 0; i < n; i++)
			if (seen[i] == type)
				return TD_ERR_MALFORMED;
		seen[n++] = type;
	}
	return r.bad ? TD_ERR_MALFORMED : TD_OK;
}

bool mls_ext_find(struct mls_span list, uint16_t type, struct mls_span *data)
{
	struct mls_span found;
	uint16_t got;
	struct rd r;

	rd_init(&r, list.p, list.len);
	while (mls_ext_next(&r, &got, &found)) {
		if (got == type) {
			*data = found;
			return true;
		}
	}
	return false;
}

bool mls_u16s_have(struct mls_span list, uint16_t v)
{
	struct rd r;

	rd_init(&r, list.p, list.len);
	while (rd_left(&r) >= 2)
		if (rd_u16(&r) == v)
			return true;
	return false;
}
