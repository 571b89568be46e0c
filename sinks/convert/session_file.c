/* SPDX-License-Identifier: ISC */
#include "sinks/convert/session_file.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "sinks/convert/input.h"
#include "sinks/convert/raw_form.h"

enum { SESSION_SSRCS_MAX = 10000, SESSION_SSRC_TEXT = 11 }; /* " 4294967295" */

/* A name inside the folder and nothing else. */
static bool is_plain_name(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > 255 || name[0] == '.')
		return false;
	for (const char *p = name; *p != '\0'; p++) {
		if (*p == '/' || (unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	}
	return true;
}

static bool position_read(uint64_t *ret, const json_t *v)
{
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < 0 || (uint64_t)n > SESSION_POSITION_MAX)
		return false;
	*ret = (uint64_t)n;
	return true;
}

/* NULL, or what is wrong. */
static const char *parts_read(struct job_track *ret, struct arena *arena, const char *folder,
	const json_t *parts)
{
	size_t count = json_array_size(parts);
	uint64_t free_from = 0;

	if (count > SESSION_PARTS_MAX)
		return "too many parts";
	ret->parts = arena_zeroed(arena, count * sizeof(*ret->parts));
	ret->part_count = count;
	for (size_t i = 0; i < count; i++) {
		const json_t *v = json_array_get(parts, i);
		const char *file = json_string_value(json_object_get(v, "file"));
		struct job_part *p = &ret->parts[i];

		if (file == NULL || !is_plain_name(file))
			return "a part has no file name";
		if (!position_read(&p->position, json_object_get(v, "position")) ||
			!position_read(&p->samples, json_object_get(v, "samples")))
			return "a part has no position or no length";
		if (p->position < free_from)
			return "its parts are not in order";
		free_from = p->position + p->samples;
		p->path = arena_format(arena, "%s/%s", folder, file);
	}
	/* The last one may have grown since. */
	if (count > 0)
		ret->parts[count - 1].samples = JOB_TO_END;
	return NULL;
}

static const char *cuts_read(struct job_track *ret, struct arena *arena, const json_t *cuts)
{
	size_t count = json_array_size(cuts);
	uint64_t free_from = 0;

	if (count > SESSION_PARTS_MAX)
		return "too many cuts";
	ret->cuts = arena_zeroed(arena, count * sizeof(*ret->cuts));
	ret->cut_count = count;
	for (size_t i = 0; i < count; i++) {
		const json_t *v = json_array_get(cuts, i);
		struct job_cut *c = &ret->cuts[i];

		if (!position_read(&c->position, json_array_get(v, 0)) ||
			!position_read(&c->samples, json_array_get(v, 1)))
			return "a cut has no position or no length";
		if (c->position < free_from)
			return "its cuts are not in order";
		free_from = c->position + c->samples;
	}
	return NULL;
}

/* The name without its ending, and for one of several parts without its number. */
static const char *stem_of(struct arena *arena, const char *file, bool parts)
{
	char *stem = arena_copy(arena, file), *p = strrchr(stem, '.');

	if (p != NULL && p != stem)
		*p = '\0';
	/* A track that was not split may have parts, too; its first one has no number. */
	if (parts && (p = strrchr(stem, '-')) != NULL && p != stem && strcmp(p, "-001") == 0)
		*p = '\0';
	return stem;
}

/* The same sound may have been recorded in several formats: by the same streams, in the same order.
 */
static const char *speaker_of(struct arena *arena, const json_t *v, const char *stem)
{
	const json_t *ssrcs = json_object_get(v, "ssrcs");
	size_t count = json_array_size(ssrcs), used = 0;
	char *text;

	if (count == 0 || count > SESSION_SSRCS_MAX)
		return stem;
	text = arena_zeroed(arena, count * SESSION_SSRC_TEXT + 1);
	for (size_t i = 0; i < count; i++)
		used += (size_t)sprintf(text + used, " %" PRIu32,
			(uint32_t)json_integer_value(json_array_get(ssrcs, i)));
	return text;
}

static void track_read(struct session_track *ret, struct arena *arena, const char *folder,
	const json_t *v)
{
	const char *file = json_string_value(json_object_get(v, "file"));
	const char *user = json_string_value(json_object_get(v, "user_id"));
	const char *format = json_string_value(json_object_get(v, "format"));
	const json_t *parts = json_object_get(v, "parts");

	ret->stem = ret->speaker = "track";
	ret->format = format != NULL ? arena_copy(arena, format) : "";
	if (file == NULL || !is_plain_name(file)) {
		ret->bad = "it has no file name";
		return;
	}
	ret->stem = stem_of(arena, file, json_array_size(parts) > 0);
	ret->speaker = speaker_of(arena, v, ret->stem);
	ret->title = user != NULL && user[0] != '\0' ? arena_copy(arena, user) : ret->stem;
	if (json_array_size(parts) > 0) {
		ret->bad = parts_read(&ret->track, arena, folder, parts);
	} else {
		ret->track.parts = arena_zeroed(arena, sizeof(*ret->track.parts));
		ret->track.parts[0] = (struct job_part){
			.path = arena_format(arena, "%s/%s", folder, file),
			.samples = JOB_TO_END,
		};
		ret->track.part_count = 1;
	}
	if (ret->bad == NULL)
		ret->bad = cuts_read(&ret->track, arena, json_object_get(v, "cuts"));
}

int session_file_parse(struct session_file *ret, struct arena *arena, const char *folder,
	const char *text, size_t len, struct fault *fault)
{
	struct session_file s = { 0 };
	const char *state, *start;
	const json_t *tracks;
	json_error_t e;
	json_t *json;
	int r = TD_ERR_MALFORMED;

	if ((json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e)) == NULL) {
		fault_set(fault, r, "line %d: %s", e.line, e.text);
		goto out;
	}
	if (json_integer_value(json_object_get(json, "schema")) != 1) {
		fault_set(fault, r, "its schema is not 1");
		goto out;
	}
	tracks = json_object_get(json, "tracks");
	if (!json_is_array(tracks)) {
		fault_set(fault, r, "it has no tracks");
		goto out;
	}
	if (json_array_size(tracks) > SESSION_TRACKS_MAX) {
		r = fault_set(fault, TD_ERR_LIMIT, "more than %d tracks", SESSION_TRACKS_MAX);
		goto out;
	}
	state = json_string_value(json_object_get(json, "state"));
	s.complete = state != NULL && strcmp(state, "complete") == 0;
	start = json_string_value(json_object_get(json, "start"));
	s.start_utc_ns = start != NULL ? utc_parse(start) : 0;
	position_read(&s.samples, json_object_get(json, "samples"));
	s.track_count = json_array_size(tracks);
	s.tracks = arena_zeroed(arena, s.track_count * sizeof(*s.tracks));
	for (size_t i = 0; i < s.track_count; i++)
		track_read(&s.tracks[i], arena, folder, json_array_get(tracks, i));
	*ret = s;
	r = TD_OK;
out:
	json_decref(json);
	return r;
}

int session_file_read(struct session_file *ret, struct arena *arena, const char *folder,
	struct fault *fault)
{
	const char *path = arena_format(arena, "%s/%s", folder, SESSION_FILE);
	struct input in = { .fd = -1 };
	char *text = NULL;
	size_t len;
	int r;

	if ((r = input_open(&in, path, INPUT_NOFOLLOW, fault)) < 0)
		return r;
	if (in.size > SESSION_FILE_MAX) {
		r = fault_set(fault, TD_ERR_LIMIT, "more than %d MiB", SESSION_FILE_MAX >> 20);
		goto out;
	}
	if ((text = malloc((size_t)in.size + 1)) == NULL) {
		r = fault_set(fault, TD_ERR_NOMEM, "%s", td_strerror(TD_ERR_NOMEM));
		goto out;
	}
	if ((r = input_read(&in, text, (size_t)in.size, 0, &len)) < 0) {
		fault_set(fault, r, "%s", strerror(errno));
		goto out;
	}
	r = session_file_parse(ret, arena, folder, text, len, fault);
out:
	free(text);
	input_close(&in);
	return r;
}
