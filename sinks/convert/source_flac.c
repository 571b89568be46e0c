/* SPDX-License-Identifier: ISC */
#include <FLAC/stream_decoder.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/err.h"
#include "sinks/convert/source_kinds.h"

/*
 * FLAC by libFLAC itself: libsndfile stops at the first frame that is damaged, and checks neither
 * the MD5 nor what the decoder complains about. Every frame says where it belongs; what is missing
 * before it is silence, so everything stays at its time.
 */
enum { FLAC_HOLE_MAX_S = 3600 }; /* what a frame may claim where the header does not say more */

struct source_flac {
	FLAC__StreamDecoder *decoder;
	uint64_t total;    /* as its header says; 0: it does not */
	uint64_t next;     /* the sample that comes next */
	uint64_t silence;  /* of it, before what is in pcm */
	uint64_t lost;     /* samples that could not be decoded */
	uint64_t first;    /* where the first damage is */
	uint64_t bad_end;  /* where a frame that is damaged would have ended */
	const char *error; /* the first one; NULL: none */
	bool failed;       /* there was an error just before the frame that comes */
	bool over;
	uint32_t at, len; /* samples in pcm */
	int16_t pcm[FLAC__MAX_BLOCK_SIZE * RAW_CHANNELS_MAX];
};

static FLAC__StreamDecoderReadStatus on_read(const FLAC__StreamDecoder *decoder, FLAC__byte buf[],
	size_t *len, void *user)
{
	struct source *s = user;
	size_t got = 0;
	int r = input_read(&s->in, buf, *len, s->pos, &got);

	(void)decoder;
	*len = got;
	s->pos += got;
	if (r < 0 || s->in.shrank)
		return FLAC__STREAM_DECODER_READ_STATUS_ABORT;
	return got > 0 ? FLAC__STREAM_DECODER_READ_STATUS_CONTINUE
		       : FLAC__STREAM_DECODER_READ_STATUS_END_OF_STREAM;
}

static FLAC__StreamDecoderSeekStatus on_seek(const FLAC__StreamDecoder *decoder, FLAC__uint64 at,
	void *user)
{
	struct source *s = user;

	(void)decoder;
	s->pos = at;
	return FLAC__STREAM_DECODER_SEEK_STATUS_OK;
}

static FLAC__StreamDecoderTellStatus on_tell(const FLAC__StreamDecoder *decoder,
	FLAC__uint64 *ret_at, void *user)
{
	const struct source *s = user;

	(void)decoder;
	*ret_at = s->pos;
	return FLAC__STREAM_DECODER_TELL_STATUS_OK;
}

static FLAC__StreamDecoderLengthStatus on_length(const FLAC__StreamDecoder *decoder,
	FLAC__uint64 *ret_len, void *user)
{
	const struct source *s = user;

	(void)decoder;
	*ret_len = s->in.size;
	return FLAC__STREAM_DECODER_LENGTH_STATUS_OK;
}

static FLAC__bool on_eof(const FLAC__StreamDecoder *decoder, void *user)
{
	const struct source *s = user;

	(void)decoder;
	return s->pos >= s->in.size;
}

static void take_comment(struct source *s, const FLAC__StreamMetadata_VorbisComment_Entry *e)
{
	const char *text = (const char *)e->entry;

	if (text == NULL)
		return;
	if (e->length > 6 && strncasecmp(text, "TITLE=", 6) == 0)
		snprintf(s->info.title, SOURCE_TEXT, "%.*s", (int)e->length - 6, text + 6);
	else if (e->length > 6 && strncasecmp(text, "ALBUM=", 6) == 0)
		snprintf(s->info.album, SOURCE_TEXT, "%.*s", (int)e->length - 6, text + 6);
}

static void on_metadata(const FLAC__StreamDecoder *decoder, const FLAC__StreamMetadata *m,
	void *user)
{
	struct source *s = user;

	(void)decoder;
	if (m->type == FLAC__METADATA_TYPE_STREAMINFO) {
		s->info.rate = m->data.stream_info.sample_rate;
		s->info.channels = m->data.stream_info.channels;
		s->flac->total = m->data.stream_info.total_samples;
	} else if (m->type == FLAC__METADATA_TYPE_VORBIS_COMMENT) {
		for (uint32_t i = 0; i < m->data.vorbis_comment.num_comments; i++)
			take_comment(s, &m->data.vorbis_comment.comments[i]);
	}
}

static void note_error(struct source_flac *f, const char *error)
{
	if (f->error != NULL)
		return;
	f->error = error;
	f->first = f->next;
}

static void on_error(const FLAC__StreamDecoder *decoder, FLAC__StreamDecoderErrorStatus status,
	void *user)
{
	struct source *s = user;
	struct source_flac *f = s->flac;

	(void)decoder;
	/* Tags of other formats at the end are not part of it. */
	if (f->total > 0 && f->next >= f->total)
		return;
	f->failed = true;
	switch (status) {
	case FLAC__STREAM_DECODER_ERROR_STATUS_LOST_SYNC:
		note_error(f, "lost sync");
		break;
	case FLAC__STREAM_DECODER_ERROR_STATUS_BAD_HEADER:
		note_error(f, "bad header of a frame");
		break;
	case FLAC__STREAM_DECODER_ERROR_STATUS_FRAME_CRC_MISMATCH:
		note_error(f, "CRC mismatch");
		break;
	case FLAC__STREAM_DECODER_ERROR_STATUS_BAD_METADATA:
		note_error(f, "bad metadata");
		break;
	default:
		note_error(f, "not to be parsed");
		break;
	}
}

static bool is_silent(const FLAC__Frame *frame, const FLAC__int32 *const pcm[])
{
	for (uint32_t c = 0; c < frame->header.channels; c++) {
		for (uint32_t i = 0; i < frame->header.blocksize; i++) {
			if (pcm[c][i] != 0)
				return false;
		}
	}
	return true;
}

static int16_t to_16(FLAC__int32 v, uint32_t bits)
{
	if (bits > 16)
		return raw_form_float((float)v / (float)(UINT64_C(1) << (bits - 1)));
	return (int16_t)(v * (1 << (16 - bits)));
}

/* Whether there may be so much silence before `number`. */
static bool is_believable(const struct source *s, uint64_t number, uint32_t len)
{
	const struct source_flac *f = s->flac;

	return number + len <= f->total ||
		number - f->next <= (uint64_t)FLAC_HOLE_MAX_S * s->info.rate;
}

static FLAC__StreamDecoderWriteStatus on_write(const FLAC__StreamDecoder *decoder,
	const FLAC__Frame *frame, const FLAC__int32 *const pcm[], void *user)
{
	const uint32_t len = frame->header.blocksize, bits = frame->header.bits_per_sample;
	const uint64_t number = frame->header.number.sample_number;
	struct source *s = user;
	struct source_flac *f = s->flac;
	uint32_t skip = 0;

	(void)decoder;
	if (frame->header.channels != s->info.channels ||
		frame->header.sample_rate != s->info.rate || bits > 32 || bits < 4 ||
		len > FLAC__MAX_BLOCK_SIZE) {
		note_error(f, "a frame of another rate or number of channels");
		return FLAC__STREAM_DECODER_WRITE_STATUS_CONTINUE;
	}
	/* libFLAC makes silence of a frame whose CRC is wrong, and of some that are missing: how
	 * much there has to be shows with the next good one. */
	if (f->failed && is_silent(frame, pcm)) {
		if (number >= f->next && number + len > f->bad_end && number + len <= f->total)
			f->bad_end = number + len;
		return FLAC__STREAM_DECODER_WRITE_STATUS_CONTINUE;
	}
	if (number > f->next) {
		note_error(f, "frames are missing");
		if (!is_believable(s, number, len))
			return FLAC__STREAM_DECODER_WRITE_STATUS_CONTINUE;
		f->lost += number - f->next;
		f->silence += number - f->next;
		f->next = number;
	} else if (number < f->next) {
		note_error(f, "frames are not in order");
		if (f->next - number >= len)
			return FLAC__STREAM_DECODER_WRITE_STATUS_CONTINUE;
		skip = (uint32_t)(f->next - number);
	}
	/* One call may come with two frames: what is not taken yet would be lost. */
	if (f->len > 0) {
		f->lost += f->len;
		f->silence += f->len;
		note_error(f, "frames are missing");
	}
	f->at = 0;
	f->len = len - skip;
	f->next += f->len;
	for (uint32_t i = 0; i < f->len; i++) {
		for (uint32_t c = 0; c < s->info.channels; c++)
			f->pcm[i * s->info.channels + c] = to_16(pcm[c][skip + i], bits);
	}
	return FLAC__STREAM_DECODER_WRITE_STATUS_CONTINUE;
}

bool source_flac_is(struct source *s)
{
	uint8_t head[10];
	uint64_t at = 0;
	size_t n;

	if (input_read(&s->in, head, sizeof(head), 0, &n) < 0 || n < sizeof(head))
		return false;
	/* A tag of ID3v2 may come first. */
	if (memcmp(head, "ID3", 3) == 0) {
		at = sizeof(head) +
			((uint64_t)(head[6] & 0x7f) << 21 | (head[7] & 0x7f) << 14 |
				(head[8] & 0x7f) << 7 | (head[9] & 0x7f));
		if (input_read(&s->in, head, 4, at, &n) < 0 || n < 4)
			return false;
	}
	return memcmp(head, "fLaC", 4) == 0;
}

int source_flac_open(struct source *s, struct fault *fault)
{
	struct source_flac *f = calloc(1, sizeof(*f));
	FLAC__StreamDecoder *d = FLAC__stream_decoder_new();

	s->flac = f;
	if (f == NULL || d == NULL) {
		if (d != NULL)
			FLAC__stream_decoder_delete(d);
		free(f);
		s->flac = NULL;
		return fault_set(fault, TD_ERR_NOMEM, "%s", td_strerror(TD_ERR_NOMEM));
	}
	f->decoder = d;
	FLAC__stream_decoder_set_md5_checking(d, true);
	FLAC__stream_decoder_set_metadata_respond(d, FLAC__METADATA_TYPE_VORBIS_COMMENT);
	if (FLAC__stream_decoder_init_stream(d, on_read, on_seek, on_tell, on_length, on_eof,
		    on_write, on_metadata, on_error, s) != FLAC__STREAM_DECODER_INIT_STATUS_OK)
		return fault_set(fault, TD_ERR_NOMEM, "%s", td_strerror(TD_ERR_NOMEM));
	if (!FLAC__stream_decoder_process_until_end_of_metadata(d) || s->info.channels == 0)
		return fault_set(fault, TD_ERR_UNSUPPORTED,
			"not a sound file that can be read: a FLAC file without a header");
	if (s->info.channels > RAW_CHANNELS_MAX)
		return fault_set(fault, TD_ERR_UNSUPPORTED,
			"%" PRIu32 " channels; 1 or 2 can be converted", s->info.channels);
	if (s->info.rate < RAW_RATE_MIN || s->info.rate > RAW_RATE_MAX)
		return fault_set(fault, TD_ERR_UNSUPPORTED, "rate %" PRIu32 " is not from %d to %d",
			s->info.rate, RAW_RATE_MIN, RAW_RATE_MAX);
	s->info.samples = f->total > 0 ? f->total : SOURCE_UNKNOWN;
	return TD_OK;
}

void source_flac_free(struct source_flac *f)
{
	if (f == NULL)
		return;
	if (f->decoder != NULL)
		FLAC__stream_decoder_delete(f->decoder);
	free(f);
}

/* Nothing more comes: what was wrong with it. */
static void flac_end(struct source *s)
{
	struct source_flac *f = s->flac;
	bool same = FLAC__stream_decoder_finish(f->decoder);

	if (f->error != NULL) {
		witness_warn(s->conf->witness,
			"damaged at %.3f s: %s; silence in place of %" PRIu64 " samples",
			(double)f->first / s->info.rate, f->error, f->lost);
		s->damaged = true;
	}
	if (f->total > 0 && f->next < f->total) {
		witness_warn(s->conf->witness,
			"damaged: only %" PRIu64 " of %" PRIu64 " samples can be decoded", f->next,
			f->total);
		s->damaged = true;
	} else if (f->total > 0 && f->next > f->total) {
		witness_warn(s->conf->witness,
			"its header is wrong: everything up to the end of the file is taken");
		s->damaged = true;
	} else if (f->error == NULL && !same) {
		witness_warn(s->conf->witness,
			"damaged: its samples are not those its MD5 was made of");
		s->damaged = true;
	}
}

/* More samples or more silence, or the end. */
static void flac_step(struct source *s)
{
	struct source_flac *f = s->flac;

	f->failed = false;
	if (!FLAC__stream_decoder_process_single(f->decoder))
		note_error(f, "it cannot be read on");
	else if (FLAC__stream_decoder_get_state(f->decoder) != FLAC__STREAM_DECODER_END_OF_STREAM)
		return;
	f->over = true;
	if (f->bad_end > f->next) {
		f->lost += f->bad_end - f->next;
		f->silence += f->bad_end - f->next;
		f->next = f->bad_end;
	}
}

int source_flac_read(struct source *s, int16_t *pcm, uint32_t max, uint64_t *ret_n,
	bool *ret_silent, struct fault *fault)
{
	struct source_flac *f = s->flac;

	*ret_n = 0;
	*ret_silent = false;
	while (f->len == 0 && f->silence == 0 && !f->over && !s->in.shrank)
		flac_step(s);
	if (s->in.shrank)
		return fault_set(fault, TD_ERR_TRUNCATED, "became shorter while it was read");
	if (f->over && f->next == f->lost && (f->error != NULL || f->total > 0))
		return fault_set(fault, TD_ERR_MALFORMED, "nothing in it can be decoded");
	if (f->silence > 0 && (f->len == 0 || f->at == 0)) {
		*ret_n = f->silence;
		*ret_silent = true;
		f->silence = 0;
	} else if (f->len > 0) {
		*ret_n = f->len < max ? f->len : max;
		memcpy(pcm, f->pcm + (size_t)f->at * s->info.channels,
			(size_t)*ret_n * s->info.channels * sizeof(*pcm));
		f->at += (uint32_t)*ret_n;
		f->len -= (uint32_t)*ret_n;
	} else {
		flac_end(s);
	}
	s->got += *ret_n;
	return TD_OK;
}
