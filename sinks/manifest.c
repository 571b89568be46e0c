/* SPDX-License-Identifier: ISC */
#include "sinks/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <malloc.h>
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

enum { TRIM_LEN = 32 * 1024 };

/* An array of pairs as text, for a member of a track that is called `key`. */
struct pairs {
	const char *key;
	char *text;
};

struct manifest {
	struct manifest_conf conf;
	char *continues; /* NULL: nothing */
	json_t *events, *pauses, *codes, *tracks;
	uint64_t events_dropped, pauses_dropped, codes_dropped;
	struct pairs *pairs; /* of the tracks, in the order they are in the document */
	size_t pairs_count;
	uint64_t counters[COUNTER_COUNT];
	bool paused;     /* the last of pauses has no end yet */
	bool incomplete; /* out of memory while this version was put together */
};

static void pairs_clear(struct manifest *m)
{
	for (size_t i = 0; i < m->pairs_count; i++)
		free(m->pairs[i].text);
	m->pairs_count = 0;
}

int manifest_new(struct manifest **ret, const struct manifest_conf *conf)
{
	struct manifest *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return TD_ERR_NOMEM;
	m->conf = *conf;
	m->events = json_array();
	m->pauses = json_array();
	m->codes = json_array();
	m->tracks = json_array();
	if (m->events == NULL || m->pauses == NULL || m->codes == NULL || m->tracks == NULL) {
		manifest_free(m);
		return TD_ERR_NOMEM;
	}
	*ret = m;
	return TD_OK;
}

void manifest_free(struct manifest *m)
{
	if (m == NULL)
		return;
	json_decref(m->events);
	json_decref(m->pauses);
	json_decref(m->codes);
	json_decref(m->tracks);
	pairs_clear(m);
	free(m->pairs);
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
static void list_add(json_t *list, json_t *item, uint64_t *dropped)
{
	if (json_array_size(list) >= MANIFEST_EVENTS_MAX) {
		json_decref(item);
		++*dropped;
	} else if (json_array_append_new(list, item) < 0) {
		++*dropped;
	}
}

void manifest_event(struct manifest *m, const char *type, const char *text, uint64_t at)
{
	list_add(m->events,
		json_pack("{s:I, s:o, s:o}", "at", (json_int_t)at, "type", json_any_text(type),
			"text", json_any_text(text)),
		&m->events_dropped);
}

void manifest_pause(struct manifest *m, uint64_t at)
{
	uint64_t dropped = m->pauses_dropped;

	if (m->paused)
		return;
	list_add(m->pauses, json_pack("{s:I, s:n}", "from", (json_int_t)at, "to"),
		&m->pauses_dropped);
	m->paused = dropped == m->pauses_dropped;
}

void manifest_resume(struct manifest *m, uint64_t at)
{
	size_t count = json_array_size(m->pauses);

	if (!m->paused)
		return;
	if (json_object_set_new(json_array_get(m->pauses, count - 1), "to",
		    json_integer((json_int_t)at)) < 0)
		m->pauses_dropped++;
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
	list_add(m->codes,
		json_pack("{s:I, s:I, s:s, s:o}", "at", (json_int_t)at, "epoch", (json_int_t)epoch,
			"code", code, "members", ids),
		&m->codes_dropped);
}

void manifest_begin(struct manifest *m, const uint64_t counters[static COUNTER_COUNT])
{
	json_array_clear(m->tracks);
	pairs_clear(m);
	memcpy(m->counters, counters, sizeof(m->counters));
	m->incomplete = false;
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

static char *put_number(char *to, uint64_t n)
{
	char digits[20];
	size_t len = 0;

	do {
		digits[len++] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	while (len > 0)
		*to++ = digits[--len];
	return to;
}

/* Begins a list of pairs for `key` of the track that is being put together; there can be so many
 * that a JSON library takes too long over them. The document gets "" in its place. */
static char *pairs_begin(struct manifest *m, json_t *track, const char *key, uint32_t count)
{
	/* "[" and "]"; each two numbers of 20 digits and "[, ], " */
	size_t max = 3 + (size_t)count * 46;
	struct pairs *array = realloc(m->pairs, (m->pairs_count + 1) * sizeof(*array));
	char *text = malloc(max);

	if (array != NULL)
		m->pairs = array;
	if (array == NULL || text == NULL || json_object_set_new(track, key, json_string("")) < 0) {
		free(text);
		m->incomplete = true;
		return NULL;
	}
	m->pairs[m->pairs_count++] = (struct pairs){ key, text };
	*text++ = '[';
	return text;
}

static char *put_pair(char *to, bool first, uint64_t a, uint64_t b)
{
	if (!first) {
		*to++ = ',';
		*to++ = ' ';
	}
	*to++ = '[';
	to = put_number(to, a);
	*to++ = ',';
	*to++ = ' ';
	to = put_number(to, b);
	*to++ = ']';
	return to;
}

static void pairs_end(char *to)
{
	*to++ = ']';
	*to = '\0';
}

static void add_spurts(struct manifest *m, json_t *track, const struct td_file *file)
{
	char *p = pairs_begin(m, track, "spurts", file->spurt_count);

	for (uint32_t i = 0; p != NULL && i < file->spurt_count; i++)
		p = put_pair(p, i == 0, file->spurts[i].first_sample, file->spurts[i].samples);
	if (p != NULL)
		pairs_end(p);
}

static void add_cuts(struct manifest *m, json_t *track, const struct td_file *file)
{
	char *p = pairs_begin(m, track, "cuts", file->cut_count);

	for (uint32_t i = 0; p != NULL && i < file->cut_count; i++)
		p = put_pair(p, i == 0, file->cuts[i].position, file->cuts[i].samples);
	if (p != NULL)
		pairs_end(p);
}

static json_t *parts_json(const struct td_file *file)
{
	json_t *json = json_array();

	for (uint32_t i = 0; i < file->part_count; i++)
		json = add(json,
			json_pack("{s:o, s:I, s:I}", "file", json_any_text(file->parts[i].file),
				"position", (json_int_t)file->parts[i].position, "samples",
				(json_int_t)file->parts[i].samples));
	return json;
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
	if (file->part_count > 0 && json_object_set_new(json, "parts", parts_json(file)) < 0)
		m->incomplete = true;
	add_spurts(m, json, file);
	if (file->cut_count > 0)
		add_cuts(m, json, file);
	if (json_array_append_new(m->tracks, json) < 0)
		m->incomplete = true;
}

void manifest_each_event(const struct manifest *m, manifest_event_fn *fn, void *user)
{
	const json_t *event;
	size_t i;

	json_array_foreach(m->events, i, event)
		fn(user, (uint64_t)json_integer_value(json_object_get(event, "at")),
			json_string_value(json_object_get(event, "type")),
			json_string_value(json_object_get(event, "text")));
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

static json_t *start_json(uint64_t utc_ns)
{
	char text[UTC_TEXT];

	utc_text(text, utc_ns);
	return json_string(text);
}

static json_t *document(const struct manifest *m, uint64_t samples, bool complete,
	const char *reason)
{
	json_t *json =
		json_pack("{s:i, s:{s:s, s:s}, s:s, s:o, s:o, s:o, s:o, s:i, s:I, s:o, s:O, s:o, "
			  "s:O, s:I, s:O, s:I, s:O, s:I}",
			"schema", MANIFEST_SCHEMA, "software", "name", "tapedeck", "version",
			TD_VERSION, "state", complete ? "complete" : "recording", "guild_id",
			id_json(m->conf.guild_id), "channel_id", id_json(m->conf.channel_id),
			"user_id", id_json(m->conf.user_id), "start",
			start_json(m->conf.start_utc_ns), "rate", TD_RATE, "samples",
			(json_int_t)samples, "reason", json_any_text(complete ? reason : NULL),
			"tracks", m->tracks, "counters", counters_json(m->counters, COUNTER_COUNT),
			"pauses", m->pauses, "pauses_dropped", (json_int_t)m->pauses_dropped,
			"privacy_codes", m->codes, "privacy_codes_dropped",
			(json_int_t)m->codes_dropped, "events", m->events, "events_dropped",
			(json_int_t)m->events_dropped);

	if (json != NULL && m->continues != NULL &&
		json_object_set_new(json, "continues", json_any_text(m->continues)) < 0) {
		json_decref(json);
		json = NULL;
	}
	return json;
}

/* Puts the lists of pairs where the document says "". No text has quotes that are bare, so that a
 * key is found and nothing else. NULL: no memory. */
static char *fill_in(const struct manifest *m, const char *text, size_t *ret_len)
{
	size_t len = strlen(text) + 2; /* with what ends it */
	char *filled, *to, pattern[32];

	for (size_t i = 0; i < m->pairs_count; i++)
		len += strlen(m->pairs[i].text);
	if ((filled = to = malloc(len)) == NULL)
		return NULL;
	for (size_t i = 0; i < m->pairs_count; i++) {
		const char *at;

		snprintf(pattern, sizeof(pattern), "\"%s\": \"\"", m->pairs[i].key);
		if ((at = strstr(text, pattern)) == NULL) {
			free(filled);
			return NULL;
		}
		at += strlen(pattern) - 2;
		to = mempcpy(to, text, (size_t)(at - text));
		to = stpcpy(to, m->pairs[i].text);
		text = at + 2;
	}
	to = stpcpy(stpcpy(to, text), "\n");
	*ret_len = (size_t)(to - filled);
	return filled;
}

int manifest_write(struct manifest *m, int dir_fd, uint64_t samples, bool complete,
	const char *reason, bool sync)
{
	json_t *json = NULL;
	char *text = NULL, *filled = NULL;
	size_t len = 0;
	int r = TD_ERR_NOMEM;

	if (m->incomplete)
		goto out;
	if (complete)
		manifest_resume(m, samples);
	if ((json = document(m, samples, complete, reason)) == NULL)
		goto out;
	if ((text = json_text(json, JSON_INDENT(1))) == NULL)
		goto out;
	if ((filled = fill_in(m, text, &len)) == NULL)
		goto out;
	r = outfile_replace(dir_fd, MANIFEST_FILE, filled, len, sync);
out:
	free(filled);
	free(text);
	json_decref(json);
	pairs_clear(m);
	/* What a long one took is given back: the next one may be minutes away. */
	if (len >= TRIM_LEN)
		malloc_trim(0);
	return r;
}
