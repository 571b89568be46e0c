/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_BYTES_H
#define TD_COMMON_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * The one reader and the one writer of wire formats. Big endian unless a name says otherwise.
 *
 * Both are sticky: after the first underrun or overflow `bad` is set, every later read gives zero
 * or NULL, every later write is dropped. Read everything, then ask rd_done() once. Decode into a
 * local struct and publish it only after that.
 *
 * A struct rd borrows the bytes it reads; it never writes, allocates or frees. Any thread.
 */
struct rd {
	const uint8_t *p, *end;
	bool bad;
};

static inline void rd_init(struct rd *r, const void *buf, size_t len)
{
	r->p = buf;
	r->end = len > 0 ? r->p + len : r->p;
	r->bad = false;
}

static inline size_t rd_left(const struct rd *r)
{
	return (size_t)(r->end - r->p);
}

/* The next n bytes, borrowed from the input; NULL and bad when fewer are left. */
static inline const uint8_t *rd_bytes(struct rd *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->bad || n > rd_left(r)) {
		r->bad = true;
		r->p = r->end;
		return NULL;
	}
	if (n > 0)
		r->p += n;
	return p;
}

static inline uint8_t rd_u8(struct rd *r)
{
	const uint8_t *p = rd_bytes(r, 1);

	return p != NULL ? p[0] : 0;
}

static inline uint16_t rd_u16(struct rd *r)
{
	const uint8_t *p = rd_bytes(r, 2);

	return p != NULL ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

static inline uint32_t rd_u32(struct rd *r)
{
	const uint8_t *p = rd_bytes(r, 4);

	return p != NULL ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]
			 : 0;
}

static inline uint64_t rd_u64(struct rd *r)
{
	uint64_t hi = rd_u32(r);

	return hi << 32 | rd_u32(r);
}

/* Copies n bytes to out; on underrun out is left alone and r is bad. */
static inline void rd_copy(struct rd *r, void *out, size_t n)
{
	const uint8_t *p = rd_bytes(r, n);

	if (p != NULL && n > 0)
		memcpy(out, p, n);
}

/* A reader over the next n bytes alone; bad from the start when fewer were left. */
static inline struct rd rd_window(struct rd *r, size_t n)
{
	const uint8_t *p = rd_bytes(r, n);
	struct rd w = { p, p, p == NULL };

	if (p != NULL && n > 0)
		w.end = p + n;
	return w;
}

/* True when nothing went wrong and nothing is left. */
static inline bool rd_done(const struct rd *r)
{
	return !r->bad && r->p == r->end;
}

/* Writes into the caller's array; `len` is what was written so far, `bad` says it did not fit. */
struct wr {
	uint8_t *buf;
	size_t len, cap;
	bool bad;
};

static inline void wr_init(struct wr *w, void *buf, size_t cap)
{
	w->buf = buf;
	w->len = 0;
	w->cap = cap;
	w->bad = false;
}

/* Room for n bytes, counted as written; NULL and bad when they do not fit. */
static inline uint8_t *wr_room(struct wr *w, size_t n)
{
	uint8_t *p;

	if (w->bad || n > w->cap - w->len) {
		w->bad = true;
		return NULL;
	}
	p = w->buf + w->len;
	w->len += n;
	return p;
}

static inline void wr_bytes(struct wr *w, const void *src, size_t n)
{
	uint8_t *p = wr_room(w, n);

	if (p != NULL && n > 0)
		memcpy(p, src, n);
}

static inline void wr_zeros(struct wr *w, size_t n)
{
	uint8_t *p = wr_room(w, n);

	if (p != NULL && n > 0)
		memset(p, 0, n);
}

static inline void wr_u8(struct wr *w, uint8_t v)
{
	wr_bytes(w, &v, 1);
}

static inline void wr_u16(struct wr *w, uint16_t v)
{
	uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	wr_bytes(w, b, sizeof(b));
}

static inline void wr_u32(struct wr *w, uint32_t v)
{
	wr_u16(w, (uint16_t)(v >> 16));
	wr_u16(w, (uint16_t)v);
}

static inline void wr_u64(struct wr *w, uint64_t v)
{
	wr_u32(w, (uint32_t)(v >> 32));
	wr_u32(w, (uint32_t)v);
}

#endif
