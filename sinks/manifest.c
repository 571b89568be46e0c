/* SPDX-License-Identifier: ISC */
#include "sinks/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/json_text.h"
#include "sinks/outfile.h"
#include "sinks/utc.h"

enum { COPY_LEN = 1024 };

/* JSON of objects, as JSON_INDENT(1) writes them, each behind the end of a line and all but the
 * first behind a comma. */
struct list {
	struct spill_list text;
	uint64_t count, dropped;
};

struct manifest {
	struct manifest_conf conf;
	char *continues; /* NULL: nothing */
	struct spill *spill;
	struct list events, pauses, codes;
	bool paused; /* since: */
	uint64_t paused_at;

	/* The version that is being written: */
	struct outfile *out;
	int r, error; /* the first failure, and errno */
	uint64_t counters[COUNTER_COUNT];
	uint64_t tracks;
};

int manifest_new(struct manifest **ret, const struct manifest_conf *conf, struct spill *spill)
{
	struct manifest *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return TD_ERR_NOMEM;
	m->conf = *conf;
	m->spill = spill;
	*ret = m;
	return TD_OK;
}

void manifest_free(struct manifest *m)
{
	if (m == NULL)
		return;
	spill_list_free(&m->events.text);
	spill_list_free(&m->pauses.text);
	spill_list_free(&m->codes.text);
	outfile_free(m->out);
	free(m->continues);
	free(m);
}

void manifest_continues(struct manifest *m, const char *folder)
{
	free(m->continues);
	m->continues = strdup(folder);
}

static json_t *id_json(uint64_t id)
{
	char text[TD_ID_TEXT];

	return id != 0 ? json_string(td_id_format(text, id)) : json_null();
}

static json_t *counters_json(const uint64_t *counters, size_t count)
{
	json_t *json = json_object();

	for (size_t c = 0; json != NULL && c < COUNTER_COUNT; c++) {
		json_int_t n = c < count ? (json_int_t)counters[c] : 0;

		if (json_object_set_new(json, td_counter_name((enum td_counter)c),
			    json_integer(n)) < 0) {
			json_decref(json);
			json = NULL;
		}
	}
	return json;
}

/* Steals item (NULL: out of memory). */
static void list_add(struct manifest *m, struct list *list, json_t *item)
{
	char *text = NULL, *entry = NULL;
	bool full = list->count >= MANIFEST_EVENTS_MAX;
	int len = -1;

	if (!full && item != NULL && (text = json_text(item, JSON_INDENT(1))) != NULL)
		len = asprintf(&entry, "%s\n%s", list->count > 0 ? "," : "", text);
	if (len >= 0 && spill_append(m->spill, &list->text, entry, (size_t)len) == TD_OK)
		list->count++;
	else
		list->dropped++;
	if (len >= 0)
		free(entry);
	free(text);
	json_decref(item);
}

void manifest_event(struct manifest *m, const char *type, const char *text, uint64_t at)
{
	list_add(m, &m->events,
		json_pack("{s:I, s:o, s:o}", "at", (json_int_t)at, "type", json_any_text(type),
			"text", json_any_text(text)));
}

void manifest_pause(struct manifest *m, uint64_t at)
{
	if (m->paused)
		return;
	m->paused = m->pauses.count < MANIFEST_EVENTS_MAX;
	m->paused_at = at;
	m->pauses.dropped += !m->paused;
}

void manifest_resume(struct manifest *m, uint64_t at)
{
	if (m->paused)
		list_add(m, &m->pauses,
			json_pack("{s:I, s:I}", "from", (json_int_t)m->paused_at, "to",
				(json_int_t)at));
	m->paused = false;
}

void manifest_code(struct manifest *m, uint64_t epoch, const char *code, const uint64_t *members,
	size_t count, uint64_t at)
{
	json_t *ids = json_array();
	size_t i;

	/* A code is of all of its members, or not listed. */
	for (i = 0; ids != NULL && i < count; i++) {
		if (json_array_append_new(ids, id_json(members[i])) < 0) {
			json_decref(ids);
			ids = NULL;
		}
	}
	list_add(m, &m->codes,
		json_pack("{s:I, s:I, s:s, s:o}", "at", (json_int_t)at, "epoch", (json_int_t)epoch,
			"code", code, "members", ids));
}

/* ---- a version ---- */

static void put(struct manifest *m, const char *data, size_t len)
{
	if (m->r == TD_OK && (m->r = outfile_append(m->out, data, len)) < 0)
		m->error = errno;
}

static void put_text(struct manifest *m, const char *text)
{
	put(m, text, strlen(text));
}

/* JSON that begins so many columns farther in. No text in it has an end of line that is bare. */
static void put_indented(struct manifest *m, const char *text, size_t len, size_t indent)
{
	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t n = end != NULL ? (size_t)(end - text) + 1 : len;

		put(m, text, n);
		if (end != NULL)
			put(m, "    ", indent);
		text += n;
		len -= n;
	}
}

/* Steals json (NULL: out of memory). open: its closing bracket is to come. */
static void put_json(struct manifest *m, json_t *json, size_t indent, bool open)
{
	static const size_t closing = 2; /* the end of a line and "}" */
	char *text = json != NULL ? json_text(json, JSON_INDENT(1) | JSON_ENCODE_ANY) : NULL;

	if (text != NULL)
		put_indented(m, text, strlen(text) - (open ? closing : 0), indent);
	else if (m->r == TD_OK)
		m->r = TD_ERR_NOMEM;
	free(text);
	json_decref(json);
}

static void put_number(struct manifest *m, uint64_t n)
{
	char digits[20];
	size_t len = sizeof(digits);

	do {
		digits[--len] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	put(m, digits + len, sizeof(digits) - len);
}

/* There can be so many that a JSON library takes too long over them. */
static void put_pair(struct manifest *m, bool first, uint64_t a, uint64_t b)
{
	put_text(m, first ? "[" : ", [");
	put_number(m, a);
	put_text(m, ", ");
	put_number(m, b);
	put_text(m, "]");
}

/* One that the disk does not give back any more is dropped: no version could ever be written. */
static void drop_unreadable(struct manifest *m, struct list *list)
{
	char copy[COPY_LEN];
	uint64_t done = 0;
	size_t n;

	for (; done < list->text.len; done += n) {
		n = list->text.len - done < sizeof(copy) ? (size_t)(list->text.len - done)
							 : sizeof(copy);
		if (spill_read(m->spill, &list->text, done, copy, n) == TD_OK)
			continue;
		spill_list_free(&list->text);
		list->dropped += list->count;
		list->count = 0;
	}
}

/* A member behind others, of the document, but for its end. */
static void put_list(struct manifest *m, const char *key, const struct list *list)
{
	char copy[COPY_LEN];
	uint64_t done = 0;

	put_text(m, ",\n \"");
	put_text(m, key);
	put_text(m, "\": [");
	while (done < list->text.len) {
		size_t n = list->text.len - done < sizeof(copy) ? (size_t)(list->text.len - done)
								: sizeof(copy);

		if (spill_read(m->spill, &list->text, done, copy, n) == TD_OK)
			put_indented(m, copy, n, 2);
		else if (m->r == TD_OK) {
			m->r = TD_ERR_IO;
			m->error = errno;
		}
		done += n;
	}
}

static void put_list_end(struct manifest *m, const char *key, const struct list *list, bool empty)
{
	put_text(m, empty ? "],\n \"" : "\n ],\n \"");
	put_text(m, key);
	put_text(m, "\": ");
	put_number(m, list->dropped);
}

static json_t *start_json(uint64_t utc_ns)
{
	char text[UTC_TEXT];

	utc_text(text, utc_ns);
	return json_string(text);
}

void manifest_begin(struct manifest *m, int dir_fd, uint64_t samples, bool complete,
	const char *reason, const uint64_t counters[static COUNTER_COUNT])
{
	memcpy(m->counters, counters, sizeof(m->counters));
	m->tracks = 0;
	if (complete)
		manifest_resume(m, samples);
	m->r = outfile_replace_begin(&m->out, dir_fd, MANIFEST_FILE);
	m->error = errno;
	put_json(m,
		json_pack("{s:i, s:{s:s, s:s}, s:s, s:o, s:o, s:o, s:o, s:i, s:I, s:o}", "schema",
			MANIFEST_SCHEMA, "software", "name", "tapedeck", "version", TD_VERSION,
			"state", complete ? "complete" : "recording", "guild_id",
			id_json(m->conf.guild_id), "channel_id", id_json(m->conf.channel_id),
			"user_id", id_json(m->conf.user_id), "start",
			start_json(m->conf.start_utc_ns), "rate", TD_RATE, "samples",
			(json_int_t)samples, "reason", json_any_text(complete ? reason : NULL)),
		0, true);
	put_text(m, ",\n \"tracks\": [");
}

/* Steals item and, when there is no memory for either, array. */
static json_t *add(json_t *array, json_t *item)
{
	if (array != NULL && json_array_append_new(array, item) == 0)
		return array;
	if (array == NULL)
		json_decref(item);
	json_decref(array);
	return NULL;
}

static json_t *ssrcs_json(const struct td_file *file)
{
	json_t *json = json_array();

	for (uint32_t i = 0; i < file->ssrc_count; i++)
		json = add(json, json_integer((json_int_t)file->ssrcs[i]));
	return json;
}

static void put_spurts(struct manifest *m, const struct td_file *file)
{
	put_text(m, ",\n   \"spurts\": [");
	for (uint32_t i = 0; i < file->spurt_count; i++)
		put_pair(m, i == 0, file->spurts[i].first_sample, file->spurts[i].samples);
	put_text(m, "]");
}

static void put_cuts(struct manifest *m, const struct td_file *file)
{
	put_text(m, ",\n   \"cuts\": [");
	for (uint32_t i = 0; i < file->cut_count; i++)
		put_pair(m, i == 0, file->cuts[i].position, file->cuts[i].samples);
	put_text(m, "]");
}

static void put_parts(struct manifest *m, const struct td_file *file)
{
	put_text(m, ",\n   \"parts\": [");
	for (uint32_t i = 0; i < file->part_count; i++) {
		put_text(m, i == 0 ? "\n    " : ",\n    ");
		put_json(m,
			json_pack("{s:o, s:I, s:I}", "file", json_any_text(file->parts[i].file),
				"position", (json_int_t)file->parts[i].position, "samples",
				(json_int_t)file->parts[i].samples),
			4, false);
	}
	put_text(m, "\n   ]");
}

void manifest_file(struct manifest *m, const struct td_file *file)
{
	size_t count = file->counter_count < COUNTER_COUNT ? file->counter_count : COUNTER_COUNT;
	json_t *first, *json;

	if (file->file == NULL) {
		for (size_t c = 0; c < count; c++)
			m->counters[c] += file->counters[c];
		return;
	}
	first = file->first_sample != TD_NO_SAMPLE ? json_integer((json_int_t)file->first_sample)
						   : json_null();
	json = json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o}", "file",
		json_any_text(file->file), "user_id", id_json(file->user_id), "ssrcs",
		ssrcs_json(file), "first_sample", first, "samples", (json_int_t)file->samples,
		"channels", (json_int_t)file->channels, "rate", (json_int_t)file->rate, "format",
		json_any_text(file->format), "counters", counters_json(file->counters, count));
	put_text(m, m->tracks++ == 0 ? "\n  " : ",\n  ");
	put_json(m, json, 2, true);
	if (file->part_count > 0)
		put_parts(m, file);
	put_spurts(m, file);
	if (file->cut_count > 0)
		put_cuts(m, file);
	put_text(m, "\n  }");
}

int manifest_end(struct manifest *m, bool sync)
{
	struct outfile *out = m->out;
	bool no_pause;

	drop_unreadable(m, &m->pauses);
	drop_unreadable(m, &m->codes);
	drop_unreadable(m, &m->events);
	no_pause = m->pauses.count == 0 && !m->paused;

	put_text(m, m->tracks == 0 ? "],\n \"counters\": " : "\n ],\n \"counters\": ");
	put_json(m, counters_json(m->counters, COUNTER_COUNT), 1, false);
	put_list(m, "pauses", &m->pauses);
	if (m->paused) {
		put_text(m, m->pauses.count > 0 ? ",\n  " : "\n  ");
		put_json(m, json_pack("{s:I, s:n}", "from", (json_int_t)m->paused_at, "to"), 2,
			false);
	}
	put_list_end(m, "pauses_dropped", &m->pauses, no_pause);
	put_list(m, "privacy_codes", &m->codes);
	put_list_end(m, "privacy_codes_dropped", &m->codes, m->codes.count == 0);
	put_list(m, "events", &m->events);
	put_list_end(m, "events_dropped", &m->events, m->events.count == 0);
	if (m->continues != NULL) {
		put_text(m, ",\n \"continues\": ");
		put_json(m, json_any_text(m->continues), 1, false);
	}
	put_text(m, "\n}\n");
	m->out = NULL;
	if (m->r == TD_OK)
		return outfile_replace_end(out, MANIFEST_FILE, sync);
	if (out != NULL)
		outfile_unlink(out);
	outfile_free(out);
	errno = m->error;
	return m->r;
}

void manifest_each_event(const struct manifest *m, manifest_event_fn *fn, void *user)
{
	const struct spill_list *list = &m->events.text;
	char *text = malloc(list->len + 2);
	json_t *events = NULL, *event;
	size_t i;

	if (text != NULL && spill_read(m->spill, list, 0, text + 1, list->len) == TD_OK) {
		text[0] = '[';
		text[list->len + 1] = ']';
		events = json_loadb(text, list->len + 2, 0, NULL);
	}
	json_array_foreach(events, i, event)
		fn(user, (uint64_t)json_integer_value(json_object_get(event, "at")),
			json_string_value(json_object_get(event, "type")),
			json_string_value(json_object_get(event, "text")));
	json_decref(events);
	free(text);
}

/* The value of a member of the document itself, as it is written; NULL: not here. */
static const char *peek_member(const char *head, const char *key)
{
	char pattern[32];
	const char *at;

	snprintf(pattern, sizeof(pattern), "\n \"%s\": ", key);
	return (at = strstr(head, pattern)) != NULL ? at + strlen(pattern) : NULL;
}

static bool peek_id(uint64_t *ret, const char *head, const char *key)
{
	const char *value = peek_member(head, key);
	char text[TD_ID_TEXT] = "";

	*ret = 0;
	if (value != NULL && strncmp(value, "null", 4) == 0)
		return true;
	return value != NULL && sscanf(value, "\"%20[0-9]\"", text) == 1 &&
		td_id_parse(ret, text) == TD_OK;
}

static bool peek_start(uint64_t *ret, const char *head)
{
	const char *value = peek_member(head, "start"), *end;
	struct tm tm = { 0 };
	unsigned us;

	if (value == NULL || (end = strptime(value, "\"%Y-%m-%dT%H:%M:%S.", &tm)) == NULL ||
		sscanf(end, "%6uZ", &us) != 1)
		return false;
	*ret = (uint64_t)timegm(&tm) * TD_SEC_NS + us * TD_US_NS;
	return true;
}

int manifest_peek(int dir_fd, struct manifest_conf *ret)
{
	struct manifest_conf conf;
	char head[4096];
	ssize_t n;
	int fd;

	if ((fd = openat(dir_fd, MANIFEST_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)) <
		0)
		return TD_ERR_IO;
	n = read(fd, head, sizeof(head) - 1);
	close(fd);
	if (n < 0)
		return TD_ERR_IO;
	head[n] = '\0';
	if (!peek_id(&conf.guild_id, head, "guild_id") ||
		!peek_id(&conf.channel_id, head, "channel_id") ||
		!peek_id(&conf.user_id, head, "user_id") || !peek_start(&conf.start_utc_ns, head))
		return TD_ERR_MALFORMED;
	*ret = conf;
	return TD_OK;
}
