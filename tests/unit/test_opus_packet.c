/* SPDX-License-Identifier: ISC */
#include <math.h>
#include <opus.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/opus_packet.h"

/* RFC 6716 table 2: one row of four or two durations per range of configurations. */
static void knows_the_duration_of_every_configuration(void **state)
{
	static const int silk[] = { 480, 960, 1920, 2880 };
	static const int celt[] = { 120, 240, 480, 960 };
	int config;

	(void)state;
	for (config = 0; config < 32; config++) {
		int frame = config < 12 ? silk[config % 4]
			: config < 16   ? silk[config % 2]
					: celt[config % 4];
		uint8_t toc = (uint8_t)(config << 3), packet[64] = { toc };
		int count;

		assert_int_equal(opus_packet_samples(packet, 2), frame);
		assert_int_equal(opus_packet_channels(packet, 2), 1);
		assert_int_equal(opus_packet_is_celt(packet, 2), config >= 16);
		packet[0] = toc | 4;
		assert_int_equal(opus_packet_channels(packet, 2), 2);
		packet[0] = toc | 1; /* two frames of one size */
		assert_int_equal(opus_packet_samples(packet, 3), 2 * frame);
		assert_int_equal(opus_packet_samples(packet, 4), TD_ERR_MALFORMED);
		packet[0] = toc | 3; /* any number of them, up to 120 ms */
		for (count = 0; count < 64; count++) {
			int all = count * frame;

			packet[1] = (uint8_t)count;
			assert_int_equal(opus_packet_samples(packet, 2),
				count > 0 && all <= OPUS_MAX_SAMPLES ? all : TD_ERR_MALFORMED);
		}
	}
}

/* What is not taken apart is taken for what libopus takes it for. */
static void one_frame_is_what_libopus_says(void **state)
{
	static uint8_t packet[1300];
	const unsigned char *frames[48];
	opus_int16 sizes[48];
	unsigned char toc;

	(void)state;
	for (unsigned config = 0; config < 64; config++) {
		packet[0] = (uint8_t)(config << 2);
		for (size_t len = 1; len <= sizeof(packet); len++) {
			int n = opus_packet_parse(packet, (opus_int32)len, &toc, frames, sizes,
				NULL);

			if (n == 1)
				n = opus_packet_get_nb_samples(packet, (opus_int32)len, 48000);
			else
				n = TD_ERR_MALFORMED;
			assert_int_equal(opus_packet_samples(packet, len), n);
		}
	}
}

static void refuses_what_is_no_packet(void **state)
{
	static const struct {
		uint8_t bytes[8];
		size_t len;
	} cases[] = {
		{ { 0 }, 0 },
		{ { 0xff }, 1 },                   /* code 3 without its count */
		{ { 0xff, 0x00 }, 2 },             /* no frames */
		{ { 0xff, 0x82, 0x08, 0x00 }, 4 }, /* a first frame longer than the packet */
		{ { 0xff, 0x41, 0xff }, 3 },       /* padding that goes on past the end */
		{ { 0xfa, 0xff }, 2 },             /* code 2 with half a length */
		{ { 0xfa, 0x05, 0x00 }, 3 },
	};
	static const uint8_t huge[40000] = { 0xfc };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(opus_packet_samples(cases[i].bytes, cases[i].len),
			TD_ERR_MALFORMED);
		assert_false(opus_packet_has_fec(cases[i].bytes, cases[i].len));
	}
	assert_int_equal(opus_packet_samples(huge, sizeof(huge)), TD_ERR_MALFORMED);
	assert_int_equal(opus_packet_channels(huge, 0), 0);
	assert_false(opus_packet_is_celt(huge, 0));
}

static void knows_the_silence_frame(void **state)
{
	static const uint8_t silence[] = { 0xf8, 0xff, 0xfe, 0x00 };

	(void)state;
	assert_true(opus_packet_is_silence(silence, 3));
	assert_false(opus_packet_is_silence(silence, 2));
	assert_false(opus_packet_is_silence(silence, 4));
	assert_false(opus_packet_is_silence(silence + 1, 3));
	assert_false(opus_packet_is_silence(silence, 0));
	assert_int_equal(opus_packet_samples(silence, 3), 960);
}

/* RFC 6716 sections 4.2.3 and 4.2.4: per channel the VAD flags, then the LBRR flag. */
static void finds_the_flag_of_either_channel(void **state)
{
	static const struct {
		uint8_t toc, bits; /* bits: those that mean LBRR */
	} cases[] = {
		{ 0x40, 0x40 }, /* 10 ms mono */
		{ 0x48, 0x40 }, /* 20 ms */
		{ 0x50, 0x20 }, /* 40 ms */
		{ 0x58, 0x10 }, /* 60 ms */
		{ 0x44, 0x50 }, /* the same in stereo */
		{ 0x4c, 0x50 },
		{ 0x54, 0x24 },
		{ 0x5c, 0x11 },
		{ 0x78, 0x40 }, /* hybrid */
		{ 0x7c, 0x50 },
		{ 0x80, 0x00 }, /* CELT has none */
		{ 0xfc, 0x00 },
	};
	size_t i, bit;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (bit = 0; bit < 8; bit++) {
			uint8_t packet[] = { cases[i].toc, (uint8_t)(1u << bit), 0, 0 };

			assert_int_equal(opus_packet_has_fec(packet, sizeof(packet)),
				(cases[i].bits >> bit & 1) != 0);
		}
	}
}

/* A voice-like sound that comes and goes, so that VAD flags and LBRR vary. */
static void make_sound(int16_t *pcm, int samples, int channels, int64_t at)
{
	int i, c;

	for (i = 0; i < samples; i++) {
		double t = (double)(at + i) / 48000;
		double loud = fmod(t, 1.0) < 0.7 ? 9000 : 3;
		double v = sin(t * 2 * M_PI * 180) +
			0.5 * sin(t * 2 * M_PI * (700 + 300 * sin(t * 9)));

		for (c = 0; c < channels; c++)
			pcm[i * channels + c] = (int16_t)(loud * v * (c == 0 ? 1 : 0.3));
	}
}

/*
 * libopus itself is the judge: when a packet carries no copy of the one before, asking for the copy
 * gives what concealment gives; when it does, something else. Mono frames of 20 to 60 ms and
 * stereo, each as encoded by libopus.
 */
static void finds_fec_where_libopus_finds_it(void **state)
{
	static const struct {
		int channels, samples, bandwidth;
	} cases[] = {
		{ 1, 480, OPUS_BANDWIDTH_WIDEBAND },
		{ 1, 960, OPUS_BANDWIDTH_WIDEBAND },
		{ 1, 1920, OPUS_BANDWIDTH_NARROWBAND },
		{ 1, 2880, OPUS_BANDWIDTH_WIDEBAND },
		{ 2, 960, OPUS_BANDWIDTH_WIDEBAND },
		{ 2, 2880, OPUS_BANDWIDTH_MEDIUMBAND },
		{ 1, 960, OPUS_BANDWIDTH_FULLBAND },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int ch = cases[i].channels, n = cases[i].samples, e, with = 0, without = 0, k;
		OpusEncoder *enc = opus_encoder_create(48000, ch, OPUS_APPLICATION_VOIP, &e);
		OpusDecoder *dec = opus_decoder_create(48000, ch, &e);
		size_t size = (size_t)opus_decoder_get_size(ch);
		OpusDecoder *copy = malloc(size);

		opus_encoder_ctl(enc,
			OPUS_SET_BITRATE(cases[i].bandwidth == OPUS_BANDWIDTH_FULLBAND
					? 80000
					: 28000 * ch));
		opus_encoder_ctl(enc, OPUS_SET_BANDWIDTH(cases[i].bandwidth));
		opus_encoder_ctl(enc, OPUS_SET_INBAND_FEC(1));
		opus_encoder_ctl(enc, OPUS_SET_PACKET_LOSS_PERC(20));
		opus_encoder_ctl(enc, OPUS_SET_SIGNAL(OPUS_SIGNAL_VOICE));
		for (k = 0; k < 300; k++) {
			int16_t pcm[2880 * 2], fec[2880 * 2], plc[2880 * 2];
			uint8_t packet[1500];
			int len;

			make_sound(pcm, n, ch, (int64_t)k * n);
			len = opus_encode(enc, pcm, n, packet, sizeof(packet));
			assert_true(len > 0);
			if (k > 0 && !opus_packet_is_celt(packet, (size_t)len)) {
				bool hybrid = packet[0] >> 3 >= 12, differs, has;

				memcpy(copy, dec, size);
				assert_int_equal(opus_decode(copy, packet, len, fec, n, 1), n);
				memcpy(copy, dec, size);
				assert_int_equal(opus_decode(copy, NULL, 0, plc, n, 0), n);
				differs = memcmp(fec, plc, sizeof(*fec) * (size_t)(n * ch)) != 0;
				has = opus_packet_has_fec(packet, (size_t)len);
				/* The upper band of a hybrid frame has no copy and differs anyway.
				 */
				assert_true(hybrid ? differs || !has : has == differs);
				*(has ? &with : &without) += 1;
			}
			assert_int_equal(opus_decode(dec, packet, len, pcm, n, 0), n);
		}
		print_message("%d channels, %d samples: %d with, %d without\n", ch, n, with,
			without);
		assert_true(with > 20 && without > 20);
		free(copy);
		opus_encoder_destroy(enc);
		opus_decoder_destroy(dec);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_the_duration_of_every_configuration),
		cmocka_unit_test(one_frame_is_what_libopus_says),
		cmocka_unit_test(refuses_what_is_no_packet),
		cmocka_unit_test(knows_the_silence_frame),
		cmocka_unit_test(finds_the_flag_of_either_channel),
		cmocka_unit_test(finds_fec_where_libopus_finds_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
