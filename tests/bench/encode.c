/* SPDX-License-Identifier: ISC */
/*
 * An encoder alone: s16le, stereo, 48 kHz in, a file out, with the settings that convert has when
 * nothing else is asked for (LAME: V2 at quality 5).
 */
#include <FLAC/stream_encoder.h>
#include <lame/lame.h>
#include <ogg/ogg.h>
#include <opus.h>
#include <string.h>

#include "tests/bench/bench.h"

enum { RATE = 48000, CHANNELS = 2, CHUNK = 960, OPUS_MAX = 1500 };

static FILE *in, *out;

/* Samples per channel; 0 at the end. */
static size_t next(int16_t pcm[static CHUNK * CHANNELS])
{
	return fread(pcm, CHANNELS * sizeof(*pcm), CHUNK, in);
}

static void write_out(const void *data, size_t len)
{
	BENCH_MUST(fwrite(data, 1, len, out) == len);
}

static void mp3(void)
{
	int16_t pcm[CHUNK * CHANNELS];
	uint8_t buf[CHUNK * 5 / 4 + 7200];
	lame_t l = lame_init();
	size_t n;
	int r;

	BENCH_MUST(l != NULL);
	lame_set_in_samplerate(l, RATE);
	lame_set_num_channels(l, CHANNELS);
	lame_set_mode(l, JOINT_STEREO);
	lame_set_quality(l, 5);
	lame_set_VBR(l, vbr_default);
	lame_set_VBR_quality(l, 2);
	BENCH_MUST(lame_init_params(l) == 0);
	while ((n = next(pcm)) > 0) {
		BENCH_MUST((r = lame_encode_buffer_interleaved(l, pcm, (int)n, buf, sizeof(buf))) >=
			0);
		write_out(buf, (size_t)r);
	}
	BENCH_MUST((r = lame_encode_flush(l, buf, sizeof(buf))) >= 0);
	write_out(buf, (size_t)r);
	lame_close(l);
}

static FLAC__StreamEncoderWriteStatus flac_write(const FLAC__StreamEncoder *e,
	const FLAC__byte *data, size_t len, uint32_t samples, uint32_t frame, void *user)
{
	(void)e;
	(void)samples;
	(void)frame;
	(void)user;
	write_out(data, len);
	return FLAC__STREAM_ENCODER_WRITE_STATUS_OK;
}

static void flac(void)
{
	FLAC__StreamEncoder *e = FLAC__stream_encoder_new();
	int16_t pcm[CHUNK * CHANNELS];
	FLAC__int32 wide[CHUNK * CHANNELS];
	size_t n, i;

	BENCH_MUST(e != NULL && FLAC__stream_encoder_set_channels(e, CHANNELS) &&
		FLAC__stream_encoder_set_bits_per_sample(e, 16) &&
		FLAC__stream_encoder_set_sample_rate(e, RATE) &&
		FLAC__stream_encoder_set_compression_level(e, 5));
	BENCH_MUST(FLAC__stream_encoder_init_stream(e, flac_write, NULL, NULL, NULL, NULL) ==
		FLAC__STREAM_ENCODER_INIT_STATUS_OK);
	while ((n = next(pcm)) > 0) {
		for (i = 0; i < n * CHANNELS; i++)
			wide[i] = pcm[i];
		BENCH_MUST(FLAC__stream_encoder_process_interleaved(e, wide, (uint32_t)n));
	}
	BENCH_MUST(FLAC__stream_encoder_finish(e));
	FLAC__stream_encoder_delete(e);
}

static void pages(ogg_stream_state *s, int (*page_out)(ogg_stream_state *, ogg_page *))
{
	ogg_page page;

	while (page_out(s, &page) != 0) {
		write_out(page.header, (size_t)page.header_len);
		write_out(page.body, (size_t)page.body_len);
	}
}

static void opus(void)
{
	uint8_t head[] = "OpusHead\1\2\0\0\x80\xbb\0\0\0\0", tags[] = "OpusTags\0\0\0\0\0\0\0\0";
	OpusEncoder *e = opus_encoder_create(RATE, CHANNELS, OPUS_APPLICATION_AUDIO, NULL);
	int16_t pcm[CHUNK * CHANNELS];
	uint8_t packet[OPUS_MAX];
	ogg_packet p = { .packet = head, .bytes = 19, .b_o_s = 1 };
	ogg_stream_state s;
	opus_int32 len;

	BENCH_MUST(e != NULL && opus_encoder_ctl(e, OPUS_SET_COMPLEXITY(10)) == OPUS_OK);
	BENCH_MUST(ogg_stream_init(&s, 1) == 0 && ogg_stream_packetin(&s, &p) == 0);
	pages(&s, ogg_stream_flush);
	p = (ogg_packet){ .packet = tags, .bytes = 16, .packetno = 1 };
	BENCH_MUST(ogg_stream_packetin(&s, &p) == 0);
	pages(&s, ogg_stream_flush);
	while (next(pcm) == CHUNK) {
		BENCH_MUST((len = opus_encode(e, pcm, CHUNK, packet, sizeof(packet))) > 0);
		p = (ogg_packet){ .packet = packet,
			.bytes = len,
			.granulepos = p.granulepos + CHUNK,
			.packetno = p.packetno + 1 };
		BENCH_MUST(ogg_stream_packetin(&s, &p) == 0);
		pages(&s, ogg_stream_pageout);
	}
	pages(&s, ogg_stream_flush);
	ogg_stream_clear(&s);
	opus_encoder_destroy(e);
}

int main(int argc, char **argv)
{
	if (argc != 4 || (in = fopen(argv[2], "rb")) == NULL ||
		(out = fopen(argv[3], "wb")) == NULL) {
		fprintf(stderr, "usage: bench_encode mp3|flac|opus IN OUT\n");
		return 2;
	}
	if (strcmp(argv[1], "mp3") == 0)
		mp3();
	else if (strcmp(argv[1], "flac") == 0)
		flac();
	else
		opus();
	BENCH_MUST(fclose(out) == 0);
	return 0;
}
