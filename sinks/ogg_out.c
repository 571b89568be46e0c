/* SPDX-License-Identifier: ISC */
#include "sinks/ogg_out.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__) && __has_include(<sys/platform/x86.h>)
#include <immintrin.h>
#include <sys/platform/x86.h>
#define WITH_CLMUL 1
#endif

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
	AT_SEGMENTS = 26,
	AT_LACING = 27
};
enum { FLAG_BOS = 2, FLAG_EOS = 4 };
/* Room in front of a page's packets for the longest header; what is allocated at first. */
enum { HEADER_MAX = AT_LACING + SEGMENTS_MAX, PAGE_ROOM = 4096 };

/* A page of sound that may have to become the last one. */
struct page_mark {
	uint64_t at, granule;
	uint32_t len, crc;
};

struct ogg_out {
	const struct td_output *out;
	int error;
	uint64_t at;      /* length of the output when all is stored */
	uint64_t samples; /* of all packets */
	uint32_t serial, page_count;
	/* The page that is being filled; its packets begin at HEADER_MAX. */
	uint32_t page_samples, page_segments;
	size_t body_len, page_cap;
	uint8_t *page;
	uint8_t lacing[SEGMENTS_MAX];
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

/* ---- the checksum of RFC 3533 ---- */

#define POLYNOMIAL 0x04c11db7u

/* [n][b] is that of b and n zero bytes. */
static uint32_t crc_table[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

/* As polynomials, modulo that of the checksum. */
static uint32_t times_x(uint32_t v)
{
	return v << 1 ^ ((v & 0x80000000u) != 0 ? POLYNOMIAL : 0);
}

#ifdef WITH_CLMUL
/* x^n modulo it, for x^64 and 1 times what is moved on by 16 bytes and by 64; 0: not to be used. */
static uint64_t crc_by_16[2], crc_by_64[2];

static uint32_t power_of_x(unsigned n)
{
	uint32_t v = 1;

	while (n-- > 0)
		v = times_x(v);
	return v;
}

static void clmul_fill(void)
{
	if (!CPU_FEATURE_ACTIVE(PCLMULQDQ) || !CPU_FEATURE_ACTIVE(SSSE3))
		return;
	for (unsigned i = 0; i < 2; i++) {
		crc_by_16[i] = power_of_x(128 + 64 * i);
		crc_by_64[i] = power_of_x(512 + 64 * i);
	}
}

/* The first byte is the highest. */
__attribute__((target("ssse3"))) static inline __m128i turned(__m128i v)
{
	return _mm_shuffle_epi8(v,
		_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

__attribute__((target("ssse3"))) static inline __m128i load_16(const uint8_t *p)
{
	return turned(_mm_loadu_si128((const __m128i *)(const void *)p));
}

/* `v` and as many bytes of zeros as `by` stands for, in short. */
__attribute__((target("pclmul"))) static inline __m128i moved_on(__m128i v, const uint64_t by[2])
{
	__m128i factors = _mm_set_epi64x((long long)by[1], (long long)by[0]);

	return _mm_xor_si128(_mm_clmulepi64_si128(v, factors, 0x11),
		_mm_clmulepi64_si128(v, factors, 0x00));
}

/* Sixteen bytes with the checksum of all whole 64 there are at p; returns how many bytes these are.
 */
__attribute__((target("pclmul,ssse3"))) static size_t clmul_fold(uint8_t ret[16], const uint8_t *p,
	size_t len)
{
	__m128i v[4];
	size_t at;

	for (size_t i = 0; i < 4; i++)
		v[i] = load_16(p + 16 * i);
	for (at = 64; len - at >= 64; at += 64) {
		for (size_t i = 0; i < 4; i++)
			v[i] = _mm_xor_si128(moved_on(v[i], crc_by_64), load_16(p + at + 16 * i));
	}
	for (size_t i = 1; i < 4; i++)
		v[i] = _mm_xor_si128(moved_on(v[i - 1], crc_by_16), v[i]);
	_mm_storeu_si128((__m128i *)(void *)ret, turned(v[3]));
	return at;
}
#endif

static void crc_fill(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b << 24;

		for (int bit = 0; bit < 8; bit++)
			crc = times_x(crc);
		crc_table[0][b] = crc;
	}
	for (uint32_t n = 1; n < 8; n++) {
		for (uint32_t b = 0; b < 256; b++) {
			uint32_t crc = crc_table[n - 1][b];

			crc_table[n][b] = crc << 8 ^ crc_table[0][crc >> 24];
		}
	}
#ifdef WITH_CLMUL
	clmul_fill();
#endif
}

static uint32_t crc_byte(uint32_t crc, uint8_t byte)
{
	return crc << 8 ^ crc_table[0][crc >> 24 ^ byte];
}

/* Eight bytes a step. */
static uint32_t crc_add(uint32_t crc, const uint8_t *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8)
		crc = crc_table[7][crc >> 24 ^ p[0]] ^ crc_table[6][(crc >> 16 & 0xff) ^ p[1]] ^
			crc_table[5][(crc >> 8 & 0xff) ^ p[2]] ^ crc_table[4][(crc & 0xff) ^ p[3]] ^
			crc_table[3][p[4]] ^ crc_table[2][p[5]] ^ crc_table[1][p[6]] ^
			crc_table[0][p[7]];
	for (; len > 0; p++, len--)
		crc = crc_byte(crc, *p);
	return crc;
}

static uint32_t crc_of(const uint8_t *p, size_t len)
{
	uint32_t crc = 0;
#ifdef WITH_CLMUL
	uint8_t folded[16];
	size_t n;

	if (len >= 64 && crc_by_16[0] != 0) {
		n = clmul_fold(folded, p, len);
		crc = crc_add(0, folded, sizeof(folded));
		p += n;
		len -= n;
	}
#endif
	return crc_add(crc, p, len);
}

/* ---- pages ---- */

int ogg_out_new(struct ogg_out **ret, const struct td_output *out, uint32_t serial)
{
	struct ogg_out *o = calloc(1, sizeof(*o));

	if (o == NULL)
		return TD_SINK_ERR_NOMEM;
	if ((o->page = malloc(PAGE_ROOM)) == NULL) {
		free(o);
		return TD_SINK_ERR_NOMEM;
	}
	pthread_once(&crc_once, crc_fill);
	o->page_cap = PAGE_ROOM;
	o->out = out;
	o->serial = serial;
	*ret = o;
	return TD_OK;
}

void ogg_out_free(struct ogg_out *o)
{
	if (o == NULL)
		return;
	free(o->page);
	free(o->marks);
	free(o);
}

uint64_t ogg_out_samples(const struct ogg_out *o)
{
	return o->samples;
}

/* Remembers a page; forgets those that the output cannot take back any more. */
static int mark_add(struct ogg_out *o, uint32_t crc, uint32_t len)
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
		.crc = crc,
	};
	return TD_OK;
}

int ogg_out_flush(struct ogg_out *o)
{
	uint8_t *p = o->page + HEADER_MAX - AT_LACING - o->page_segments;
	uint32_t len = (uint32_t)(AT_LACING + o->page_segments + o->body_len), crc;

	if (o->error != TD_OK || o->page_segments == 0)
		return o->error;
	memcpy(p, "OggS\0", AT_FLAGS);
	p[AT_FLAGS] = o->page_count == 0 ? FLAG_BOS : 0;
	put_le64(p + AT_GRANULE, o->samples);
	put_le32(p + AT_SERIAL, o->serial);
	put_le32(p + AT_PAGE_NO, o->page_count);
	put_le32(p + AT_CRC, 0);
	p[AT_SEGMENTS] = (uint8_t)o->page_segments;
	memcpy(p + AT_LACING, o->lacing, o->page_segments);
	crc = crc_of(p, len);
	put_le32(p + AT_CRC, crc);
	o->page_samples = o->page_segments = 0;
	o->body_len = 0;
	if (o->samples > 0 && (o->error = mark_add(o, crc, len)) < 0)
		return o->error;
	o->at += len;
	o->page_count++;
	return o->error = o->out->append(o->out->user, p, len);
}

static int packet_add(struct ogg_out *o, const uint8_t *data, size_t len, uint32_t samples)
{
	size_t end = HEADER_MAX + o->body_len, cap = o->page_cap, rest;

	if (o->error != TD_OK)
		return o->error;
	while (cap < end + len)
		cap *= 2;
	if (cap > o->page_cap) {
		uint8_t *page = realloc(o->page, cap);

		if (page == NULL)
			return o->error = TD_SINK_ERR_NOMEM;
		o->page = page;
		o->page_cap = cap;
	}
	memcpy(o->page + end, data, len);
	o->body_len += len;
	for (rest = len; rest >= SEGMENT; rest -= SEGMENT)
		o->lacing[o->page_segments++] = SEGMENT;
	o->lacing[o->page_segments++] = (uint8_t)rest;
	o->samples += samples;
	o->page_samples += samples;
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
