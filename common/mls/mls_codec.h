/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MLS_CODEC_H
#define TD_COMMON_MLS_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"

/*
 * The encoding of RFC 9420 section 2.1 over the readers and writers of common/bytes.h: vectors with
 * a length header of 1, 2 or 4 bytes, and optional<T>. Any thread; nothing here keeps state.
 *
 * Readers are sticky as everywhere: read on, ask rd_done() or `bad` once.
 */

/* Borrowed bytes: lives as long as what it points into. p may be NULL when len is 0. */
struct mls_span {
	const uint8_t *p;
	size_t len;
};

enum { MLS_VEC_MAX = (1 << 30) - 1 }; /* what the longest header can say */

static inline struct mls_span mls_span(const void *p, size_t len)
{
	struct mls_span s = { p, len };

	return s;
}

/* For public bytes only: takes as long as the common prefix. */
static inline bool mls_span_equal(struct mls_span a, struct mls_span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* The bytes read since `from`, which is an earlier value of r->p; empty when r is bad. */
static inline struct mls_span mls_rd_since(const struct rd *r, const uint8_t *from)
{
	return r->bad ? mls_span(NULL, 0) : mls_span(from, (size_t)(r->p - from));
}

/* A length header (section 2.1.2). Bad: top bits 11, or not the shortest form. Allocates nothing.
 */
uint32_t mls_rd_varint(struct rd *r);

/* opaque x<V>: header and content; the content is borrowed from the input. */
struct mls_span mls_rd_vec(struct rd *r);

/* The content of a vector as a reader of its own, bad from the start when it is cut. Give it back
 * with mls_rd_close(), which makes r bad if the content was not used up exactly. */
struct rd mls_rd_open(struct rd *r);
void mls_rd_close(struct rd *r, const struct rd *inner);

/* The presence octet of optional<T> (section 2.1.1): 0 or 1, anything else is bad. */
bool mls_rd_present(struct rd *r);

/* Bytes a length header for n takes: 1, 2 or 4. */
size_t mls_varint_size(size_t n);

/* n over MLS_VEC_MAX makes w bad. */
void mls_wr_varint(struct wr *w, size_t n);
void mls_wr_span(struct wr *w, struct mls_span s); /* content alone */
void mls_wr_vec(struct wr *w, struct mls_span s);  /* header and content */

/* A vector whose length is not known yet: write the content between the two. The header goes in
 * front of it at the end, so w needs up to 4 bytes more room than the content. */
size_t mls_wr_open(const struct wr *w);
void mls_wr_close(struct wr *w, size_t mark);

/* Points w at a fresh array of cap bytes; w->buf is the caller's to free(). TD_ERR_NOMEM. */
int mls_wr_new(struct wr *w, size_t cap);

/*
 * Lists of extensions (sections 7.2, 10, 12.4.3): u16 type, data<V>, repeated. `list` is the
 * content of the vector, without its header.
 */
enum mls_extension_type {
	MLS_EXT_APPLICATION_ID = 1,
	MLS_EXT_RATCHET_TREE = 2,
	MLS_EXT_REQUIRED_CAPABILITIES = 3,
	MLS_EXT_EXTERNAL_PUB = 4,
	MLS_EXT_EXTERNAL_SENDERS = 5,
};
enum { MLS_EXT_MAX = 64 }; /* entries in one list */

/* Reads the next entry; false at the end of the list or when it is malformed (then r->bad). */
bool mls_ext_next(struct rd *r, uint16_t *type, struct mls_span *data);

/* 0, TD_ERR_MALFORMED (cut, or a type twice) or TD_ERR_LIMIT (more than MLS_EXT_MAX entries). */
int mls_ext_check(struct mls_span list);

/* True and *data when the list has an entry of that type. */
bool mls_ext_find(struct mls_span list, uint16_t type, struct mls_span *data);

/* True when a list of u16 (its content, without header) holds v. */
bool mls_u16s_have(struct mls_span list, uint16_t v);

#endif
