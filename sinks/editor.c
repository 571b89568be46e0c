/* SPDX-License-Identifier: ISC */
#include "sinks/editor.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/memstream.h"
#include "sinks/outfile.h"

const char *const editor_file_names[EDITOR_FILES] = { "labels.txt", "session.lof", "session.rpp" };

enum { WHO_MAX = 32 };

struct label {
	uint64_t from, to;
	uint32_t order;
	uint32_t who; /* index in seen; of no meaning where there is a text */
	char *text;
};

/* A speaker's track that is in already, and from which sink. */
struct seen {
	uint64_t user_id;
	uint32_t ssrc;
	unsigned sink;
	bool open; /* in the projects; else in the labels alone */
};

struct editor {
	unsigned sink;
	bool failed;                 /* no memory */
	bool too_many[EDITOR_FILES]; /* of what is in this file */
	struct label *labels;
	size_t label_count, label_cap;
	struct seen *seen;
	size_t seen_count, seen_cap;
	size_t mark_count, file_count, item_count;
	struct memstream lof, marks, tracks; /* marks and tracks are the REAPER project's */
};

int editor_new(struct editor **ret)
{
	struct editor *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return TD_ERR_NOMEM;
	if (!memstream_open(&e->lof) || !memstream_open(&e->marks) || !memstream_open(&e->tracks)) {
		editor_free(e);
		return TD_ERR_NOMEM;
	}
	*ret = e;
	return TD_OK;
}

void editor_free(struct editor *e)
{
	if (e == NULL)
		return;
	memstream_close(&e->lof);
	memstream_close(&e->marks);
	memstream_close(&e->tracks);
	free(e->lof.data);
	free(e->marks.data);
	free(e->tracks.data);
	for (size_t i = 0; i < e->label_count; i++)
		free(e->labels[i].text);
	free(e->labels);
	free(e->seen);
	free(e);
}

void editor_sink(struct editor *e)
{
	e->sink++;
}

/* Room for one more. */
static bool grow(struct editor *e, void **array, size_t *cap, size_t count, size_t size)
{
	size_t want = *cap > 0 ? *cap * 2 : 16;
	void *p;

	if (count < *cap)
		return true;
	if ((p = realloc(*array, want * size)) == NULL) {
		e->failed = true;
		return false;
	}
	*array = p;
	*cap = want;
	return true;
}

/* ---- what editors read ---- */

/* Seconds with six decimals, whatever the locale. */
static void put_seconds(FILE *f, uint64_t samples)
{
	fprintf(f, "%" PRIu64 ".%06" PRIu64, samples / TD_RATE,
		(samples % TD_RATE * 1000000 + TD_RATE / 2) / TD_RATE);
}

/* A text on one line. */
static void put_line(FILE *f, const char *text, char quote, char instead)
{
	for (const char *p = text; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p;

		fputc(c < ' ' || c == 0x7f ? ' ' : *p == quote && quote != '\0' ? instead : *p, f);
	}
}

/* A string as REAPER has them: in whichever of three kinds of quotes is not in it. */
static void put_quoted(FILE *f, const char *text)
{
	char quote = strchr(text, '"') == NULL ? '"' : strchr(text, '\'') == NULL ? '\'' : '`';

	fputc(quote, f);
	put_line(f, text, quote, '\'');
	fputc(quote, f);
}

/* What REAPER calls a format; NULL: it does not open files like that, and neither does Audacity. */
static const char *source_type(const char *format)
{
	static const struct {
		const char *format, *type;
	} types[] = {
		{ "wav", "WAVE" },
		{ "aiff", "WAVE" },
		{ "flac", "FLAC" },
		{ "mp3", "MP3" },
		{ "opus", "OPUS" },
		{ "ogg", "VORBIS" },
		{ "wv", "WAVPACK" },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(types[i].format, format) == 0)
			return types[i].type;
	}
	return NULL;
}

/* ---- tracks ---- */

/* Whether a sink before this one had the speaker, *ret_open: and in the projects. */
static bool seen_before(const struct editor *e, const struct seen *s, bool *ret_open)
{
	bool found = false;

	*ret_open = false;
	for (size_t i = 0; i < e->seen_count; i++) {
		const struct seen *o = &e->seen[i];

		if (o->sink == s->sink || o->user_id != s->user_id || o->ssrc != s->ssrc)
			continue;
		found = true;
		*ret_open = *ret_open || o->open;
	}
	return found;
}

static void add_label(struct editor *e, uint64_t from, uint64_t to, size_t who, char *text)
{
	void *array = e->labels;
	struct label *l;

	e->too_many[0] = e->too_many[0] || e->label_count >= EDITOR_LABELS_MAX;
	if (e->too_many[0] || !grow(e, &array, &e->label_cap, e->label_count, sizeof(*e->labels))) {
		free(text);
		return;
	}
	e->labels = array;
	l = &e->labels[e->label_count];
	*l = (struct label){ from, to, (uint32_t)e->label_count++, (uint32_t)who, text };
}

/* `samples` of a file from `offset` on, at `position` of the session. */
static void put_item(struct editor *e, const char *type, const char *file, uint64_t position,
	uint64_t offset, uint64_t samples)
{
	FILE *f = e->tracks.stream;

	if (samples == 0)
		return;
	e->too_many[2] = e->too_many[2] || e->item_count >= EDITOR_ITEMS_MAX;
	if (e->too_many[2])
		return;
	e->item_count++;
	fputs("    <ITEM\n      POSITION ", f);
	put_seconds(f, position);
	fputs("\n      LENGTH ", f);
	put_seconds(f, samples);
	fputs("\n      LOOP 0\n      FADEIN 1 0 0\n      FADEOUT 1 0 0\n      NAME ", f);
	put_quoted(f, file);
	fputs("\n      SOFFS ", f);
	put_seconds(f, offset);
	fprintf(f, "\n      <SOURCE %s\n        FILE ", type);
	put_quoted(f, file);
	fputs("\n      >\n    >\n", f);
}

/* A part as one item, or several where silence was cut out of it; *cut goes on from part to part.
 */
static void put_part(struct editor *e, const struct td_file *file, const struct td_part *part,
	uint32_t *cut)
{
	const char *type = source_type(file->format);
	uint64_t position = part->position, offset = 0;

	while (offset < part->samples) {
		uint64_t rest = part->samples - offset, n = rest;
		const struct td_cut *c = NULL;

		while (*cut < file->cut_count && file->cuts[*cut].position < position)
			++*cut;
		if (*cut < file->cut_count && file->cuts[*cut].position - position < rest) {
			c = &file->cuts[(*cut)++];
			n = c->position - position;
		}
		put_item(e, type, part->file, position, offset, n);
		offset += n;
		position = c != NULL ? c->position + c->samples : position + n;
	}
}

/* In a list of files a quotation mark or the end of a line cannot be written. */
static bool fits_lof(const char *name)
{
	for (const char *p = name; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f || *p == '"')
			return false;
	}
	return true;
}

static void add_track(struct editor *e, const struct td_file *file, const char *who)
{
	const struct td_part whole = { file->file, 0, file->samples };
	const struct td_part *parts = file->part_count > 0 ? file->parts : &whole;
	uint32_t count = file->part_count > 0 ? file->part_count : 1, cut = 0;
	FILE *f = e->tracks.stream;

	fputs("  <TRACK\n    NAME ", f);
	put_quoted(f, who);
	fputs("\n", f);
	for (uint32_t i = 0; i < count; i++) {
		put_part(e, file, &parts[i], &cut);
		if (parts[i].samples == 0 || !fits_lof(parts[i].file))
			continue;
		e->too_many[1] = e->too_many[1] || e->file_count >= EDITOR_ITEMS_MAX;
		if (e->too_many[1])
			continue;
		e->file_count++;
		fprintf(e->lof.stream, "file \"%s\" offset ", parts[i].file);
		put_seconds(e->lof.stream, parts[i].position);
		fputs("\n", e->lof.stream);
	}
	fputs("  >\n", f);
}

static void name_speaker(char ret[static WHO_MAX], const struct seen *s)
{
	if (s->user_id != 0)
		snprintf(ret, WHO_MAX, "%" PRIu64, s->user_id);
	else
		snprintf(ret, WHO_MAX, "ssrc-%" PRIu32, s->ssrc);
}

void editor_file(void *editor, const struct td_file *file)
{
	struct editor *e = editor;
	struct seen s = { file->user_id, file->ssrc_count > 0 ? file->ssrcs[0] : 0, e->sink,
		false };
	bool found, opened;
	void *array = e->seen;
	char who[WHO_MAX];

	if (file->file == NULL)
		return;
	name_speaker(who, &s);
	found = seen_before(e, &s, &opened);
	for (uint32_t i = 0; i < file->spurt_count && !found; i++)
		add_label(e, file->spurts[i].first_sample,
			file->spurts[i].first_sample + file->spurts[i].samples, e->seen_count,
			NULL);
	s.open = !opened && source_type(file->format) != NULL;
	if (s.open)
		add_track(e, file, who);
	if (!grow(e, &array, &e->seen_cap, e->seen_count, sizeof(*e->seen)))
		return;
	e->seen = array;
	e->seen[e->seen_count++] = s;
}

void editor_event(void *editor, uint64_t at, const char *type, const char *text)
{
	struct editor *e = editor;
	bool mark = strcmp(type, "mark") == 0;
	char *copy;

	if (!mark && strcmp(type, "warning") != 0 && strcmp(type, "failed") != 0)
		return;
	if (text == NULL || text[0] == '\0')
		text = type;
	if ((copy = strdup(text)) == NULL) {
		e->failed = true;
		return;
	}
	if (mark) {
		fprintf(e->marks.stream, "  MARKER %zu ", ++e->mark_count);
		put_seconds(e->marks.stream, at);
		fputs(" ", e->marks.stream);
		put_quoted(e->marks.stream, text);
		fputs(" 0\n", e->marks.stream);
	}
	add_label(e, at, at, 0, copy);
}

/* ---- the files ---- */

static int by_time(const void *a, const void *b)
{
	const struct label *x = a, *y = b;

	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static void put_labels(struct editor *e, FILE *f)
{
	if (e->label_count > 0)
		qsort(e->labels, e->label_count, sizeof(*e->labels), by_time);
	for (size_t i = 0; i < e->label_count; i++) {
		const struct label *l = &e->labels[i];
		char who[WHO_MAX];

		if (l->text == NULL)
			name_speaker(who, &e->seen[l->who]);
		put_seconds(f, l->from);
		fputs("\t", f);
		put_seconds(f, l->to);
		fputs("\t", f);
		put_line(f, l->text != NULL ? l->text : who, '\0', '\0');
		fputs("\n", f);
	}
}

/* What was put into t so far; its stream stays open. */
static void put_text(FILE *f, struct memstream *t)
{
	if (fflush(t->stream) == 0)
		fwrite(t->data, 1, t->len, f);
}

static void put_project(struct editor *e, FILE *f)
{
	fprintf(f, "<REAPER_PROJECT 0.1 \"6.0\" 0\n  TEMPO 120 4 4\n  SAMPLERATE %d 1 0\n",
		TD_RATE);
	put_text(f, &e->marks);
	put_text(f, &e->tracks);
	fputs(">\n", f);
}

int editor_write(struct editor *e, int dir_fd, size_t i)
{
	struct memstream t;
	bool good;
	int r = TD_ERR_NOMEM;

	if (e->seen_count == 0 && !e->failed)
		return TD_OK;
	if (e->too_many[i])
		return TD_ERR_LIMIT;
	if (!memstream_open(&t))
		return r;
	if (i == 0)
		put_labels(e, t.stream);
	else if (i == 1)
		put_text(t.stream, &e->lof);
	else
		put_project(e, t.stream);
	good = memstream_close(&t) && !e->failed && !e->lof.failed && !e->marks.failed &&
		!e->tracks.failed;
	if (good)
		r = outfile_replace(dir_fd, editor_file_names[i], t.data, t.len, true);
	free(t.data);
	return r;
}
