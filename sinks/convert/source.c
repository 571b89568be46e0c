/* SPDX-License-Identifier: ISC */
#include "sinks/convert/source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/convert/riff.h"
#include "sinks/convert/source_kinds.h"

bool source_is_raw_name(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot != NULL && (strcmp(dot, ".pcm") == 0 || strcmp(dot, ".raw") == 0);
}

int source_beside(char ret[static SOURCE_PATH_MAX], const char *path)
{
	const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
	size_t stem = dot != NULL && (slash == NULL || dot > slash + 1) && dot != path
		? (size_t)(dot - path)
		: strlen(path);

	if (strlen(path) + sizeof(".json") > SOURCE_PATH_MAX) {
		errno = ENAMETOOLONG;
		return TD_ERR_IO;
	}
	snprintf(ret, SOURCE_PATH_MAX, "%s.json", path);
	if (access(ret, F_OK) == 0)
		return TD_OK;
	snprintf(ret, SOURCE_PATH_MAX, "%.*s.json", (int)stem, path);
	return access(ret, F_OK) == 0 ? TD_OK : TD_ERR_IO;
}

/* The description beside raw samples. */
static int read_about(struct raw_about *ret, const struct source_conf *conf, struct fault *fault)
{
	char path[SOURCE_PATH_MAX], *text = NULL;
	struct input in = { .fd = -1 };
	struct fault inner;
	size_t len;
	int r;

	if (source_beside(path, conf->path) < 0)
		return fault_set(fault, TD_ERR_UNSUPPORTED,
			"raw samples need their .json beside them, or --raw");
	if ((r = input_open(&in, path, conf->input_flags, &inner)) < 0)
		return fault_set(fault, r, "%s: %s", path, inner.text);
	r = TD_ERR_NOMEM;
	if ((text = malloc(RAW_JSON_MAX)) == NULL)
		goto out;
	if (in.size > RAW_JSON_MAX) {
		r = fault_set(fault, TD_ERR_MALFORMED, "%s: more than %d bytes", path,
			RAW_JSON_MAX);
		goto out;
	}
	if ((r = input_read(&in, text, RAW_JSON_MAX, 0, &len)) < 0) {
		fault_set(fault, r, "%s: %s", path, strerror(errno));
		goto out;
	}
	if ((r = raw_form_json(ret, text, len, &inner)) < 0)
		fault_set(fault, r, "%s: %s", path, inner.text);
out:
	free(text);
	input_close(&in);
	return r;
}

/* Raw samples with a description beside them. */
static int open_captured(struct source *s, struct fault *fault)
{
	struct raw_about about;
	int r;

	if ((r = read_about(&about, s->conf, fault)) < 0)
		return r;
	s->info.start_utc_ns = about.start_utc_ns;
	_Static_assert(sizeof(about.title) == SOURCE_TEXT, "copied as a whole");
	memcpy(s->info.title, about.title, SOURCE_TEXT);
	memcpy(s->info.album, about.album, SOURCE_TEXT);
	if ((r = source_raw_open(s, &about.form, 0, s->in.size, fault)) < 0)
		return r;
	if (about.samples != UINT64_MAX && s->info.samples < about.samples) {
		witness_warn(s->conf->witness,
			"its .json says %" PRIu64 " samples, %" PRIu64 " are there", about.samples,
			s->info.samples);
		s->damaged = true;
	}
	return TD_OK;
}

/* A WAV whose samples can be read as they are; TD_ERR_UNSUPPORTED: let libsndfile try. */
static int open_riff(struct source *s, struct fault *fault)
{
	struct riff riff;
	int r = riff_read(&riff, &s->in);

	if (r == TD_ERR_IO)
		return fault_set(fault, r, "cannot be read: %s", strerror(errno));
	if (r < 0)
		return r;
	if (riff.mended) {
		witness_warn(s->conf->witness,
			"its header is wrong: everything up to the end of the file is taken");
		s->damaged = true;
	}
	return source_raw_open(s, &riff.form, riff.at, riff.len, fault);
}

static int open_kind(struct source *s, struct fault *fault)
{
	int r;

	if (s->conf->raw != NULL)
		return source_raw_open(s, s->conf->raw, 0, s->in.size, fault);
	if (source_is_raw_name(s->conf->path))
		return open_captured(s, fault);
	if (s->in.size == 0)
		return fault_set(fault, TD_ERR_TRUNCATED, "empty");
	if ((r = open_riff(s, fault)) != TD_ERR_UNSUPPORTED)
		return r;
	if (source_flac_is(s))
		return source_flac_open(s, fault);
	return source_snd_open(s, fault);
}

int source_open(struct source **ret, const struct source_conf *conf, struct fault *fault)
{
	struct source *s = calloc(1, sizeof(*s));
	unsigned flags = conf->input_flags | (conf->raw == NULL ? INPUT_SPOOL : 0);
	int r;

	if (s == NULL)
		return fault_set(fault, TD_ERR_NOMEM, "%s", td_strerror(TD_ERR_NOMEM));
	s->conf = conf;
	s->in.fd = -1;
	s->hush = HUSH_NONE;
	if ((r = input_open(&s->in, conf->path, flags, fault)) < 0)
		goto out;
	if ((r = open_kind(s, fault)) < 0)
		goto out;
	*ret = s;
	s = NULL;
out:
	source_free(s);
	return r;
}

void source_free(struct source *s)
{
	if (s == NULL)
		return;
	if (s->snd != NULL)
		sf_close(s->snd);
	hush_close(&s->hush);
	source_flac_free(s->flac);
	input_close(&s->in);
	free(s->floats);
	free(s->buf);
	free(s);
}

const struct source_info *source_info(const struct source *s)
{
	return &s->info;
}

const struct input *source_input(const struct source *s)
{
	return &s->in;
}

int source_read(struct source *s, int16_t *pcm, uint32_t max, uint64_t *ret_n, bool *ret_silent,
	struct fault *fault)
{
	*ret_silent = false;
	if (s->snd != NULL)
		return source_snd_read(s, pcm, max, ret_n, fault);
	if (s->flac != NULL)
		return source_flac_read(s, pcm, max, ret_n, ret_silent, fault);
	return source_raw_read(s, pcm, max, ret_n, ret_silent, fault);
}

bool source_is_plain(const struct source *s)
{
	return s->snd == NULL && s->flac == NULL && s->form.format == RAW_S16LE && !s->in.stream;
}

uint64_t source_offset(const struct source *s)
{
	return s->at;
}

enum source_end source_finish(struct source *s)
{
	switch (input_changed(&s->in, s->conf->path)) {
	case INPUT_GREW:
		witness_warn(s->conf->witness,
			"grew while it was read: what was there at the start is converted");
		return SOURCE_CHANGED;
	case INPUT_CHANGED:
		witness_warn(s->conf->witness, "changed while it was read");
		return SOURCE_CHANGED;
	case INPUT_SAME:
		break;
	}
	if (s->ogg)
		source_ogg_check(s);
	return s->damaged ? SOURCE_DAMAGED : SOURCE_WHOLE;
}
