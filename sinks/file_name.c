/* SPDX-License-Identifier: ISC */
#include "sinks/file_name.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/clock.h"
#include "common/err.h"

enum { FILE_FORMAT_MAX = 16 };

enum field { FIELD_USER, FIELD_SSRC, FIELD_SESSION, FIELD_START, FIELD_FORMAT, FIELD_COUNT };
static const char *const field_names[FIELD_COUNT] = { "user", "ssrc", "session", "start",
	"format" };

/* Stems that, with one ending or another, are names of the session's own files. */
static const char *const own_stems[] = { "session", "labels" };

/* The field a "{" begins, *ret_end behind its "}"; FIELD_COUNT: none. */
static enum field field_at(const char *brace, const char **ret_end)
{
	const char *close = strchr(brace, '}');
	enum field f = 0;

	if (close == NULL)
		return FIELD_COUNT;
	while (f < FIELD_COUNT &&
		(strlen(field_names[f]) != (size_t)(close - brace - 1) ||
			strncmp(field_names[f], brace + 1, (size_t)(close - brace - 1)) != 0))
		f++;
	*ret_end = close + 1;
	return f;
}

int file_name_check(const char *template, char *err, size_t err_len)
{
	for (const char *p = template; *p != '\0';) {
		const char *begin = p++;

		if (*begin == '}') {
			snprintf(err, err_len, "name: a '}' without '{'");
			return TD_ERR_USAGE;
		}
		if (*begin != '{')
			continue;
		if (strcspn(begin + 1, "{}") == strcspn(begin + 1, "{")) {
			snprintf(err, err_len, "name: a '{' is never closed");
			return TD_ERR_USAGE;
		}
		if (field_at(begin, &p) == FIELD_COUNT) {
			snprintf(err, err_len,
				"name: there is no field '%.*s'; there is: {user}, {ssrc}, "
				"{session}, {start}, {format}",
				(int)(p - begin > 40 ? 40 : p - begin), begin);
			return TD_ERR_USAGE;
		}
	}
	return TD_OK;
}

static void field_value(char *ret, size_t len, enum field field, const struct file_name_fields *f)
{
	time_t at = (time_t)(f->start_utc_ns / TD_SEC_NS);
	struct tm tm;

	ret[0] = '\0';
	if (field == FIELD_USER && f->user_id != 0)
		snprintf(ret, len, "%" PRIu64, f->user_id);
	else if (field == FIELD_USER)
		snprintf(ret, len, "ssrc-%" PRIu32, f->ssrc);
	else if (field == FIELD_SSRC)
		snprintf(ret, len, "%" PRIu32, f->ssrc);
	else if (field == FIELD_SESSION)
		snprintf(ret, len, "%s", f->session);
	else if (field == FIELD_FORMAT)
		snprintf(ret, len, "%s", f->format);
	else if (field == FIELD_START && gmtime_r(&at, &tm) != NULL)
		strftime(ret, len, "%Y%m%dT%H%M%SZ", &tm);
}

static bool is_plain(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		c == '.' || c == '_' || c == '-';
}

void file_name_stem(char ret[static FILE_STEM_MAX], const char *template,
	const struct file_name_fields *fields)
{
	/* The last byte is kept for the "_" of a stem that is taken. */
	size_t room = FILE_STEM_MAX - 2, used = 0;
	char value[FILE_STEM_MAX];

	for (const char *p = template; *p != '\0' && used < room;) {
		const char *text = p, *end = p + 1;
		enum field field = *p == '{' ? field_at(p, &end) : FIELD_COUNT;
		size_t len = 1;

		if (field < FIELD_COUNT) {
			field_value(value, sizeof(value), field, fields);
			text = value;
			len = strlen(value);
		}
		for (size_t i = 0; i < len && used < room; i++)
			ret[used++] = is_plain(text[i]) ? text[i] : '_';
		p = end;
	}
	if (used == 0)
		ret[used++] = '_';
	if (ret[0] == '.')
		ret[0] = '_';
	ret[used] = '\0';
	/* On some file systems small and capital letters are the same. */
	for (size_t i = 0; i < sizeof(own_stems) / sizeof(own_stems[0]); i++) {
		if (strcasecmp(ret, own_stems[i]) == 0)
			strcat(ret, "_");
	}
}

void file_name(char ret[static FILE_NAME_MAX], const char *stem, unsigned take, uint32_t part,
	const char *format)
{
	char again[12] = "", number[12] = "";

	if (take > 1)
		snprintf(again, sizeof(again), "-%u", take);
	if (part > 0)
		snprintf(number, sizeof(number), "-%03" PRIu32, part);
	snprintf(ret, FILE_NAME_MAX, "%.*s%s%s.%.*s", FILE_STEM_MAX, stem, again, number,
		FILE_FORMAT_MAX, format);
}
