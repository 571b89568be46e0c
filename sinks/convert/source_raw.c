/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "sinks/convert/source_kinds.h"

int source_raw_open(struct source *s, const struct raw_form *form, uint64_t at, uint64_t len,
	struct fault *fault)
{
	uint32_t frame = raw_form_frame(form);

	s->form = *form;
	s->info.rate = form->rate;
	s->info.channels = form->channels;
	s->at = at;
	if ((s->buf = malloc((size_t)SOURCE_BLOCK * frame)) == NULL)
		return fault_set(fault, TD_ERR_NOMEM, "%s", td_strerror(TD_ERR_NOMEM));
	if (s->in.stream) {
		s->end = s->info.samples = SOURCE_UNKNOWN;
		return TD_OK;
	}
	s->info.samples = len / frame;
	s->end = at + len - len % frame;
	if (len % frame != 0)
		witness_warn(s->conf->witness,
			"the last %" PRIu64 " byte%s no whole sample: left out", len % frame,
			len % frame == 1 ? " is" : "s are");
	return TD_OK;
}

/* A hole of a second or more, in whole samples; 0: there is none here. */
static uint64_t hole_samples(struct source *s)
{
	uint32_t frame = raw_form_frame(&s->form);
	uint64_t n;

	if (s->form.format == RAW_U8) /* a zero byte is no silence there */
		return 0;
	n = input_hole(&s->in, s->at);
	if (n > s->end - s->at)
		n = s->end - s->at;
	n /= frame;
	return n >= s->form.rate ? n : 0;
}

/* Samples that nobody wants to see: at most max, none of them behind the next hole. */
static uint64_t pass_over(struct source *s, uint32_t max)
{
	uint32_t frame = raw_form_frame(&s->form);
	uint64_t len = s->end - s->at, hole = s->in.data_end;

	if (hole > s->at && hole - s->at < len)
		len = hole - s->at;
	len = (len + frame - 1) / frame;
	len = len < max ? len : max;
	s->at += len * frame;
	return len;
}

int source_raw_read(struct source *s, int16_t *pcm, uint32_t max, uint64_t *ret_n, bool *ret_silent,
	struct fault *fault)
{
	uint32_t frame = raw_form_frame(&s->form);
	size_t want = (size_t)(max < SOURCE_BLOCK ? max : SOURCE_BLOCK) * frame, got;
	/* Samples that are as they should be are read into their place. */
	bool same = s->form.format == RAW_S16LE;

	*ret_n = 0;
	*ret_silent = false;
	if (!s->in.stream) {
		if ((*ret_n = hole_samples(s)) > 0) {
			s->at += *ret_n * frame;
			*ret_silent = true;
			return TD_OK;
		}
		if (pcm == NULL) {
			*ret_n = pass_over(s, max);
			return TD_OK;
		}
		if (want > s->end - s->at)
			want = (size_t)(s->end - s->at);
	}
	if (input_read(&s->in, same ? (void *)pcm : s->buf, want, s->at, &got) < 0)
		return fault_set(fault, TD_ERR_IO, "cannot be read: %s", strerror(errno));
	if (s->in.shrank)
		return fault_set(fault, TD_ERR_TRUNCATED, "became shorter while it was read");
	if (got % frame != 0)
		witness_warn(s->conf->witness, "the last %zu byte%s no whole sample: left out",
			got % frame, got % frame == 1 ? " is" : "s are");
	s->at += got;
	*ret_n = got / frame;
	if (!same)
		raw_form_samples(pcm, s->buf, got / frame * s->form.channels, s->form.format);
	return TD_OK;
}
