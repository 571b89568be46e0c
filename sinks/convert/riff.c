/* SPDX-License-Identifier: ISC */
#include "sinks/convert/riff.h"

#include <string.h>

#include "common/err.h"

enum { RIFF_CHUNKS_MAX = 1000, FMT_MIN = 16, FMT_MAX = 40 };
enum { TAG_PCM = 1, TAG_FLOAT = 3, TAG_EXTENSIBLE = 0xfffe };

struct chunk {
	char id[4];
	uint32_t size;
	uint64_t at; /* of what is in it */
};

static uint32_t le16(const uint8_t *p)
{
	return (uint32_t)p[1] << 8 | p[0];
}

static uint32_t le32(const uint8_t *p)
{
	return le16(p + 2) << 16 | le16(p);
}

static int chunk_read(struct chunk *ret, struct input *in, uint64_t at)
{
	uint8_t head[8];
	size_t got;
	int r;

	if ((r = input_read(in, head, sizeof(head), at, &got)) < 0)
		return r;
	if (got < sizeof(head))
		return TD_ERR_UNSUPPORTED;
	memcpy(ret->id, head, sizeof(ret->id));
	ret->size = le32(head + 4);
	ret->at = at + sizeof(head);
	return TD_OK;
}

/* Where the next one begins: sizes are even. */
static uint64_t chunk_next(const struct chunk *c)
{
	return c->at + c->size + (c->size & 1);
}

static int fmt_read(struct raw_form *ret, struct input *in, const struct chunk *c)
{
	static const uint8_t guid_tail[14] = { 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b,
		0x71 };
	uint8_t b[FMT_MAX] = { 0 };
	uint32_t tag, bits;
	size_t got;
	int r;

	if ((r = input_read(in, b, c->size < FMT_MAX ? c->size : FMT_MAX, c->at, &got)) < 0)
		return r;
	if (got < FMT_MIN)
		return TD_ERR_UNSUPPORTED;
	tag = le16(b);
	bits = le16(b + 14);
	if (tag == TAG_EXTENSIBLE && got == FMT_MAX &&
		memcmp(b + 26, guid_tail, sizeof(guid_tail)) == 0)
		tag = le16(b + 24);
	ret->channels = le16(b + 2);
	ret->rate = le32(b + 4);
	if (tag == TAG_PCM && bits == 8)
		ret->format = RAW_U8;
	else if (tag == TAG_PCM && bits == 16)
		ret->format = RAW_S16LE;
	else if (tag == TAG_PCM && bits == 24)
		ret->format = RAW_S24LE;
	else if (tag == TAG_PCM && bits == 32)
		ret->format = RAW_S32LE;
	else if (tag == TAG_FLOAT && bits == 32)
		ret->format = RAW_F32LE;
	else
		return TD_ERR_UNSUPPORTED;
	if (ret->channels < 1 || ret->channels > RAW_CHANNELS_MAX || ret->rate < RAW_RATE_MIN ||
		ret->rate > RAW_RATE_MAX || le16(b + 12) != raw_form_frame(ret))
		return TD_ERR_UNSUPPORTED;
	return TD_OK;
}

/* Whether what is at `at` is chunks up to the very end of the file. */
static bool chunks_follow(struct input *in, uint64_t at)
{
	struct chunk c;

	for (unsigned n = 0; n < RIFF_CHUNKS_MAX && at < in->size; n++) {
		if (chunk_read(&c, in, at) < 0)
			return false;
		for (size_t i = 0; i < sizeof(c.id); i++) {
			if (c.id[i] < ' ' || c.id[i] > '~')
				return false;
		}
		at = chunk_next(&c);
	}
	/* The last one may have been left without its padding. */
	return at == in->size || at == in->size + 1;
}

/* Sizes that stand for "not known", as programs write them that cannot seek back. */
static bool is_unknown(uint64_t size)
{
	return size == 0 || (size >= 0x7ffff000 && size <= 0x7fffffff) ||
		(size >= 0xfffff000 && size <= 0xffffffff);
}

/* How much of the file is samples; the header claims some length. */
static void measure(struct riff *riff, struct input *in, uint64_t claimed)
{
	uint64_t there = in->size - riff->at, rest;

	riff->len = claimed;
	if (claimed > there) {
		riff->len = there;
		riff->mended = true;
		return;
	}
	rest = there - claimed;
	if (rest == 0 || chunks_follow(in, riff->at + claimed + (claimed & 1)))
		return;
	if (is_unknown(claimed))
		riff->len = there;
	else
		riff->len = claimed + (rest >> 32 << 32); /* 32 bits were too few */
	riff->mended = riff->len != claimed;
}

int riff_read(struct riff *ret, struct input *in)
{
	uint8_t head[12], ds64[16] = { 0 };
	struct riff riff = { 0 };
	bool have_fmt = false;
	uint64_t at = sizeof(head);
	struct chunk c;
	size_t got;
	int r;

	if (in->stream)
		return TD_ERR_UNSUPPORTED;
	if ((r = input_read(in, head, sizeof(head), 0, &got)) < 0)
		return r;
	if (got < sizeof(head) || (memcmp(head, "RIFF", 4) != 0 && memcmp(head, "RF64", 4) != 0) ||
		memcmp(head + 8, "WAVE", 4) != 0)
		return TD_ERR_UNSUPPORTED;
	for (unsigned n = 0; n < RIFF_CHUNKS_MAX; n++, at = chunk_next(&c)) {
		if ((r = chunk_read(&c, in, at)) < 0)
			return r;
		if (memcmp(c.id, "fmt ", 4) == 0) {
			if ((r = fmt_read(&riff.form, in, &c)) < 0)
				return r;
			have_fmt = true;
		} else if (memcmp(c.id, "ds64", 4) == 0) {
			if ((r = input_read(in, ds64, sizeof(ds64), c.at, &got)) < 0)
				return r;
		} else if (memcmp(c.id, "data", 4) == 0) {
			uint64_t claimed = c.size;

			if (!have_fmt)
				return TD_ERR_UNSUPPORTED;
			if (head[1] == 'F' && claimed == UINT32_MAX)
				claimed = (uint64_t)le32(ds64 + 12) << 32 | le32(ds64 + 8);
			riff.at = c.at;
			measure(&riff, in, claimed);
			*ret = riff;
			return TD_OK;
		}
	}
	return TD_ERR_UNSUPPORTED;
}
