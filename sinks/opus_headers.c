/* SPDX-License-Identifier: ISC */
#include "sinks/opus_headers.h"

#include <string.h>

#include "common/bytes.h"
#include "sinks/text.h"
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
	const uint8_t head[OPUS_HEAD_LEN] = { 'O', 'p', 'u', 's', 'H', 'e', 'a', 'd',
		1, /* version */
		(uint8_t)channels, (uint8_t)pre_skip, (uint8_t)(pre_skip >> 8), (uint8_t)rate,
		(uint8_t)(rate >> 8), (uint8_t)(rate >> 16), (uint8_t)(rate >> 24), 0, 0, /* gain */
		0 /* mapping family */ };

	memcpy(ret, head, sizeof(head));
}

/* One comment; NULL or empty: none. Returns how many it wrote. */
static uint32_t put_comment(struct wr *w, const char *key, const char *value)
{
	char text[OPUS_TEXT_MAX];
	size_t at = w->len;
	struct wr length;

	if (value == NULL || value[0] == '\0')
		return 0;
	put_le32(w, 0);
	wr_bytes(w, key, strlen(key));
	wr_u8(w, '=');
	wr_bytes(w, text, text_clean(text, sizeof(text), value));
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
