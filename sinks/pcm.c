/* SPDX-License-Identifier: ISC */
#include "sinks/pcm.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/json_text.h"
#include "sinks/utc.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "samples are written as they are");

struct pcm {
	const struct td_output *out;
	const struct td_writer_conf *conf;
	uint32_t frame_size; /* bytes of one sample of every channel */
	uint64_t samples;
	uint64_t told; /* samples the file beside says; PCM_UNTOLD: there is none of ours yet */
	int error;
};
#define PCM_UNTOLD UINT64_MAX

/* What is no UTF-8 is null. NULL: no memory, which jansson does not tell from that. */
static json_t *text_json(const char *text)
{
	json_t *json;

	if (text == NULL)
		return json_null();
	if ((json = json_string(text)) != NULL || (json = json_string_nocheck(text)) == NULL)
		return json;
	if (json_string_set(json, text) == 0)
		return json;
	json_decref(json);
	return json_null();
}

static json_t *start_json(uint64_t utc_ns)
{
	char text[UTC_TEXT];

	if (utc_ns == 0)
		return json_null();
	utc_text(text, utc_ns);
	return json_string(text);
}

/* Before this, `samples` are in the file. */
static int pcm_tell(struct pcm *p, uint64_t samples)
{
	const struct td_writer_conf *conf = p->conf;
	json_t *json;
	char *text = NULL;
	int r = TD_ERR_NOMEM;

	if (p->told == samples)
		return TD_OK;
	json = json_pack("{s:s, s:I, s:I, s:I, s:o, s:I, s:o, s:o}", "format", "s16le", "rate",
		(json_int_t)conf->rate, "channels", (json_int_t)conf->channels, "samples",
		(json_int_t)samples, "start", start_json(conf->start_utc_ns), "position",
		(json_int_t)conf->position, "title", text_json(conf->title), "album",
		text_json(conf->album));
	if (json == NULL || (text = json_text(json, JSON_INDENT(2))) == NULL)
		goto out;
	r = p->out->beside(p->out->user, "json", text, strlen(text));
	if (r == TD_OK)
		p->told = samples;
out:
	json_decref(json);
	free(text);
	return r;
}

static int pcm_check(const struct td_writer_conf *conf, char *err, size_t err_len)
{
	if (conf->source == TD_WANT_PCM && conf->rate > 0 && conf->channels >= 1 &&
		conf->channels <= 2)
		return TD_OK;
	snprintf(err, err_len, "pcm takes decoded sound of 1 or 2 channels");
	return TD_ERR_USAGE;
}

static int pcm_open(void **ret_state, const struct td_output *out,
	const struct td_writer_conf *conf)
{
	struct pcm *p;
	int r;

	if (!TD_HAS(out, beside))
		return TD_ERR_UNSUPPORTED;
	if ((p = calloc(1, sizeof(*p))) == NULL)
		return TD_ERR_NOMEM;
	p->out = out;
	p->conf = conf;
	p->frame_size = 2 * conf->channels;
	p->told = PCM_UNTOLD;
	if ((r = pcm_tell(p, 0)) < 0) {
		free(p);
		return r;
	}
	*ret_state = p;
	return TD_OK;
}

static int pcm_write(void *state, const int16_t *pcm, uint32_t samples)
{
	struct pcm *p = state;

	if (p->error == TD_OK)
		p->error = p->out->append(p->out->user, pcm, (size_t)samples * p->frame_size);
	if (p->error == TD_OK)
		p->samples += samples;
	return p->error;
}

static int pcm_silence(void *state, uint64_t n)
{
	struct pcm *p = state;

	if (p->error == TD_OK && n > (INT64_MAX / p->frame_size) - p->samples)
		p->error = TD_ERR_LIMIT;
	if (p->error == TD_OK)
		p->error = p->out->zeros(p->out->user, n * p->frame_size);
	if (p->error == TD_OK)
		p->samples += n;
	return p->error;
}

static int pcm_refresh(void *state)
{
	struct pcm *p = state;

	if (p->error == TD_OK)
		p->error = p->out->patch(p->out->user, 0, "", 0); /* for what it does before */
	/* The samples are good without the file beside, as long as close() can put it right. */
	if (p->error == TD_OK)
		(void)pcm_tell(p, p->samples);
	return p->error;
}

static int pcm_close(void *state, uint64_t *ret_samples)
{
	struct pcm *p = state;
	int r = pcm_refresh(p), told;

	*ret_samples = p->out->length(p->out->user) / p->frame_size;
	told = pcm_tell(p, *ret_samples);
	free(p);
	return r < 0 ? r : told;
}

const struct td_writer_ops pcm_writer = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_writer_ops),
	.name = "pcm",
	.meaning = "raw samples, s16le, and a JSON file that describes them",
	.takes = TD_WANT_PCM,
	.check = pcm_check,
	.open = pcm_open,
	.write = pcm_write,
	.silence = pcm_silence,
	.refresh = pcm_refresh,
	.close = pcm_close,
};
