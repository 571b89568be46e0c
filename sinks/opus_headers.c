/* SPDX-License-Identifier: ISC */
#include "sinks/opus_headers.h"

#include <string.h>

#include "common/bytes.h"
#include "sinks/utc.h"

/* Both packets are little endian; struct wr is not. */
static void put_le16(struct wr *w, uint32_t v)
{
	wr_u8(w, (uint8_t)v);
	wr_u8(w, (uint8_t)(v >> 8));
}

static void put_le32(struct wr *w, uint32_t v)
{
	put_le16(w, v);
	put_le16(w, v >> 16);
}

void opus_head_make(uint8_t ret[static OPUS_HEAD_LEN], uint32_t channels, uint32_t pre_skip,
	uint32_t rate)
{
	struct wr w;

	wr_init(&w, ret, OPUS_HEAD_LEN);
	wr_bytes(&w, "OpusHead", 8);
	wr_u8(&w, 1);
	wr_u8(&w, (uint8_t)channels);
	put_le16(&w, pre_skip);
	put_le32(&w, rate);
	put_le16(&w, 0); /* gain */
	wr_u8(&w, 0);    /* mapping family */
}

/* How many bytes at s are one character of UTF-8 as Unicode 15 table 3-7 has it; 0: none is. */
static size_t utf8_char(const char *s)
{
	const uint8_t *p = (const uint8_t *)s;
	uint8_t low = 0x80, high = 0xbf;
	size_t len = p[0] < 0x80 ? 1
		: p[0] < 0xc2    ? 0
		: p[0] < 0xe0    ? 2
		: p[0] < 0xf0    ? 3
		: p[0] < 0xf5    ? 4
				 : 0;

	if (p[0] == 0xe0)
		low = 0xa0; /* could be shorter */
	else if (p[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (p[0] == 0xf0)
		low = 0x90; /* could be shorter */
	else if (p[0] == 0xf4)
		high = 0x8f; /* beyond U+10FFFF */
	for (size_t i = 1; i < len; i++) {
		if (p[i] < low || p[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return len;
}

/* Writes text as UTF-8, U+FFFD for every byte that is not part of it, and at most max bytes. */
static void put_text(struct wr *w, const char *text, size_t max)
{
	size_t end = w->len + max;

	while (*text != '\0') {
		size_t len = utf8_char(text);
		const char *from = len > 0 ? text : "\xef\xbf\xbd";
		size_t n = len > 0 ? len : 3;

		if (w->len + n > end)
			break;
		wr_bytes(w, from, n);
		text += len > 0 ? len : 1;
	}
}

/* One comment; NULL or empty: none. Returns how many it wrote. */
static uint32_t put_comment(struct wr *w, const char *key, const char *value)
{
	size_t at = w->len;
	struct wr length;

	if (value == NULL || value[0] == '\0')
		return 0;
	put_le32(w, 0);
	wr_bytes(w, key, strlen(key));
	wr_u8(w, '=');
	put_text(w, value, OPUS_TEXT_MAX);
	wr_init(&length, w->buf + at, 4);
	put_le32(&length, (uint32_t)(w->len - at - 4));
	return 1;
}

size_t opus_tags_make(uint8_t ret[static OPUS_TAGS_MAX], const char *vendor,
	const struct td_writer_conf *conf)
{
	struct wr w, count_at;
	char date[UTC_TEXT] = "";
	uint32_t count = 0;
	size_t at;

	wr_init(&w, ret, OPUS_TAGS_MAX);
	wr_bytes(&w, "OpusTags", 8);
	put_le32(&w, (uint32_t)strlen(vendor));
	wr_bytes(&w, vendor, strlen(vendor));
	at = w.len;
	put_le32(&w, 0);
	count += put_comment(&w, "TITLE", conf->title);
	count += put_comment(&w, "ALBUM", conf->album);
	if (conf->start_utc_ns != 0)
		utc_text(date, conf->start_utc_ns);
	count += put_comment(&w, "DATE", date);
	count += put_comment(&w, "ENCODER", "tapedeck " TD_VERSION);
	wr_init(&count_at, ret + at, 4);
	put_le32(&count_at, count);
	return w.len;
}
