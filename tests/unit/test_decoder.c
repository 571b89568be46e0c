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
#include "unpacker/decoder.h"
#include "unpacker/hearing.h"
#include "unpacker/to_s16.h"

enum { MAX_PACKET = 1275, SECONDS = 8 };

static uint32_t seed;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)seed * below >> 32);
}

/* ---- samples ---- */

/* libopus' celt/float_cast.h: what to_s16() is to be. */
static int16_t float2int16(float x)
{
	x = x * 32768.f;
	x = x > -32768 ? x : -32768;
	x = x < 32767 ? x : 32767;
	return (int16_t)lrintf(x);
}

/* Floats of every size, halves between two samples, and the edges of the range; at every offset. */
static void samples_are_rounded_as_libopus_does(void **state)
{
	enum { N = 4096 + 7 };
	static float from[N];
	static int16_t to[N], plain[N];
	uint32_t bits = 0;
	int round, i;

	(void)state;
	for (round = 0; round < 300; round++) {
		bool within = true;

		for (i = 0; i < N; i++) {
			bits += 0x9e3779b1;
			if (round % 3 == 0)
				memcpy(&from[i], &bits, sizeof(bits)); /* infinite and none, too */
			else
				from[i] = (float)((int32_t)bits >> 13) / (2 * 32768.f) /
					(round % 3 == 1 ? 1 : 4);
		}
		for (i = round % 8; i < N; i++)
			within &= from[i] >= -1 && from[i] <= 1;
		i = round % 8;
		assert_int_equal(to_s16(to + i, from + i, (size_t)(N - i)), within);
		assert_int_equal(to_s16_plain(plain + i, from + i, (size_t)(N - i)), within);
		assert_memory_equal(to + i, plain + i, (size_t)(N - i) * sizeof(*to));
		for (; i < N; i++)
			assert_int_equal(to[i], float2int16(from[i]));
	}
}

/* One sample beyond full scale is found wherever it is. */
static void one_that_clips_is_found(void **state)
{
	static const float beyond[] = { 1.0000001f, -1.0000001f, 3, -3, INFINITY, NAN };
	float from[19] = { 1, -1, 0.5f };
	int16_t to[19];
	size_t i, k;

	(void)state;
	assert_true(to_s16(to, from, 19));
	assert_true(to_s16(to, from, 0));
	for (i = 0; i < 19; i++) {
		for (k = 0; k < sizeof(beyond) / sizeof(beyond[0]); k++) {
			float before = from[i];

			from[i] = beyond[k];
			assert_false(to_s16(to, from, 19));
			assert_false(to_s16_plain(to, from, 19));
			assert_true(to_s16(to, from, i));
			from[i] = before;
		}
	}
}

/* ---- decoding ---- */

/* A decoder, and libopus driven directly. */
struct pair {
	struct decoder_pool pool;
	struct decoder *d;
	OpusDecoder *plain;
	int channels;
	int frames, clipped;
};

static void pair_init(struct pair *p, int channels)
{
	int e;

	*p = (struct pair){ .channels = channels };
	assert_int_equal(decoder_get(&p->d, &p->pool, channels), TD_OK);
	p->plain = opus_decoder_create(48000, channels, &e);
}

static void pair_free(struct pair *p)
{
	decoder_put(&p->pool, p->d);
	decoder_pool_free(&p->pool);
	opus_decoder_destroy(p->plain);
}

enum how { DECODE, RECOVER, CONCEAL };

/* Both give the same samples, or refuse. */
static void both(struct pair *p, enum how how, int samples, const uint8_t *packet, int len)
{
	static int16_t got[OPUS_MAX_SAMPLES * 2], want[OPUS_MAX_SAMPLES * 2];
	int n, r, i;

	if (how == DECODE)
		r = decoder_decode(p->d, got, samples, packet, (size_t)len);
	else if (how == RECOVER)
		r = decoder_recover(p->d, got, samples, packet, (size_t)len);
	else
		r = decoder_conceal(p->d, got, samples);
	n = opus_decode(p->plain, how == CONCEAL ? NULL : packet, how == CONCEAL ? 0 : len, want,
		samples, how == RECOVER);
	assert_int_equal(r == TD_OK, n == samples);
	if (r != TD_OK)
		return;
	assert_memory_equal(got, want, (size_t)(n * p->channels) * sizeof(*got));
	p->frames++;
	for (i = 0; i < n * p->channels; i++) {
		if (want[i] >= 32767 || want[i] <= -32767) {
			p->clipped++;
			break;
		}
	}
}

static const struct coded {
	const char *about;
	int channels, application, bitrate, samples, loud, fec;
} coded[] = {
	{ "SILK", 1, OPUS_APPLICATION_VOIP, 10000, 960, 0, 0 },
	{ "SILK with FEC", 1, OPUS_APPLICATION_VOIP, 16000, 960, 0, 1 },
	{ "SILK, long frames", 2, OPUS_APPLICATION_VOIP, 16000, 2880, 1, 1 },
	{ "hybrid with FEC", 2, OPUS_APPLICATION_VOIP, 36000, 960, 0, 1 },
	{ "hybrid, loud", 1, OPUS_APPLICATION_VOIP, 28000, 960, 1, 0 },
	{ "CELT", 2, OPUS_APPLICATION_AUDIO, 96000, 960, 0, 0 },
	{ "CELT, loud", 2, OPUS_APPLICATION_AUDIO, 64000, 960, 1, 0 },
	{ "CELT, mono and loud", 1, OPUS_APPLICATION_AUDIO, 48000, 960, 1, 0 },
	{ "CELT, short and loud", 2, OPUS_APPLICATION_RESTRICTED_LOWDELAY, 96000, 120, 1, 0 },
};

static OpusEncoder *encoder_of(const struct coded *c)
{
	int e;
	OpusEncoder *enc = opus_encoder_create(48000, c->channels, c->application, &e);

	assert_non_null(enc);
	opus_encoder_ctl(enc, OPUS_SET_BITRATE(c->bitrate));
	opus_encoder_ctl(enc, OPUS_SET_COMPLEXITY(1));
	opus_encoder_ctl(enc, OPUS_SET_FORCE_CHANNELS(c->channels));
	opus_encoder_ctl(enc, OPUS_SET_INBAND_FEC(c->fec));
	opus_encoder_ctl(enc, OPUS_SET_PACKET_LOSS_PERC(c->fec * 20));
	if (c->application == OPUS_APPLICATION_VOIP)
		opus_encoder_ctl(enc, OPUS_SET_SIGNAL(OPUS_SIGNAL_VOICE));
	return enc;
}

/* Something like vowels and hisses, between nothing and far too loud. */
static int sound(OpusEncoder *enc, const struct coded *c, int frame, uint8_t *packet)
{
	static int16_t pcm[OPUS_MAX_SAMPLES * 2];
	double volume = (frame / 25 % 4) / 3.0 * (c->loud ? 150000 : 9000);
	int i, k, len;

	for (i = 0; i < c->samples; i++) {
		double t = ((double)frame * c->samples + i) / 48000;
		double pitch = 110 + 40 * sin(t), v = 0;

		for (k = 1; k < 12; k++)
			v += sin(2 * M_PI * pitch * k * t) / k / 2;
		v += frame / 10 % 3 == 0 ? rnd(2000) / 1000.0 - 1 : 0;
		v *= volume;
		v = v > 32767 ? 32767 : v < -32768 ? -32768 : v;
		for (k = 0; k < c->channels; k++)
			pcm[i * c->channels + k] = (int16_t)(k == 0 ? v : v * 0.7);
	}
	len = opus_encode(enc, pcm, c->samples, packet, MAX_PACKET);
	assert_true(len > 0);
	return len;
}

/* Encoders of every kind, with losses, to one and two channels. */
static void sound_is_what_opus_decode_gives(void **state)
{
	int silk = 0, hybrid = 0, celt = 0, fec = 0, clipped = 0;
	size_t i;

	(void)state;
	for (i = 0; i < 2 * sizeof(coded) / sizeof(coded[0]); i++) {
		const struct coded *c = &coded[i / 2];
		OpusEncoder *enc = encoder_of(c);
		uint8_t packet[MAX_PACKET];
		struct pair p;
		int frame, len, missing = 0;

		pair_init(&p, 1 + (int)i % 2);
		for (frame = 0; frame < SECONDS * 48000 / c->samples; frame++) {
			len = sound(enc, c, frame, packet);
			silk += packet[0] >> 3 < 12;
			hybrid += packet[0] >> 3 >= 12 && packet[0] >> 3 < 16;
			celt += opus_packet_is_celt(packet, (size_t)len);
			if (rnd(5) == 0) {
				missing++;
				continue;
			}
			for (; missing > 1; missing--)
				both(&p, CONCEAL, c->samples, NULL, 0);
			if (missing == 1 && opus_packet_has_fec(packet, (size_t)len)) {
				both(&p, RECOVER, c->samples, packet, len);
				fec++;
			} else if (missing == 1) {
				both(&p, CONCEAL, c->samples, NULL, 0);
			}
			missing = 0;
			both(&p, DECODE, c->samples, packet, len);
		}
		clipped += p.clipped;
		pair_free(&p);
		opus_encoder_destroy(enc);
	}
	assert_true(silk > 1000 && hybrid > 1000 && celt > 1000 && fec > 100 && clipped > 1000);
}

/* Bytes that no encoder made: every mode, hard changes between them, and mostly far too loud. */
static void noise_is_what_opus_decode_gives(void **state)
{
	uint8_t packet[300];
	int i, k, len, samples;
	struct pair p;

	(void)state;
	for (i = 0; i < 2; i++) {
		pair_init(&p, 1 + i);
		for (k = 0; k < 10000; k++) {
			if (k % 25 == 0) { /* a new stream with the old decoder */
				decoder_put(&p.pool, p.d);
				assert_int_equal(decoder_get(&p.d, &p.pool, p.channels), TD_OK);
				opus_decoder_ctl(p.plain, OPUS_RESET_STATE);
			}
			len = 1 + (int)rnd(sizeof(packet) - 1);
			while (len-- > 0)
				packet[len] = (uint8_t)rnd(256);
			len = rnd(20) == 0 ? 3 : 1 + (int)rnd(sizeof(packet) - 1);
			if (rnd(4) > 0) /* as the one before, for a while */
				packet[0] = (uint8_t)((unsigned)(k / 100) * 8 % 256 | rnd(8));
			if (len == 3)
				memcpy(packet, "\xf8\xff\xfe", 3);
			samples = opus_packet_samples(packet, (size_t)len);
			if (rnd(10) == 0)
				both(&p, CONCEAL, 120 * (1 + (int)rnd(20)), NULL, 0);
			if (samples < 0)
				continue;
			if (rnd(10) == 0)
				both(&p, RECOVER, opus_packet_get_samples_per_frame(packet, 48000),
					packet, len);
			both(&p, DECODE, samples, packet, len);
		}
		assert_true(p.frames > 6000 && p.clipped > 1000);
		pair_free(&p);
	}
}

/* ---- as many channels as needed ---- */

static const struct coded in_mono[] = {
	{ "SILK with FEC", 1, OPUS_APPLICATION_VOIP, 16000, 960, 0, 1 },
	{ "hybrid", 1, OPUS_APPLICATION_VOIP, 28000, 960, 0, 0 },
	{ "CELT", 1, OPUS_APPLICATION_AUDIO, 64000, 960, 1, 0 },
};
static const struct coded in_stereo[] = {
	{ "SILK with FEC", 2, OPUS_APPLICATION_VOIP, 20000, 960, 0, 1 },
	{ "hybrid", 2, OPUS_APPLICATION_VOIP, 40000, 960, 0, 0 },
	{ "CELT", 2, OPUS_APPLICATION_AUDIO, 96000, 960, 1, 0 },
};
enum { KINDS = sizeof(in_mono) / sizeof(in_mono[0]) };

static const uint8_t silence[] = { 0xf8, 0xff, 0xfe };

/* What a stream hears, and how far that is from what a stereo decoder gives for the same: the
 * left channel of it, where the stream hears one. */
struct listener {
	struct decoder_pool pool;
	struct hearing h;
	OpusDecoder *stereo;
};

static void listener_init(struct listener *l)
{
	int e;

	*l = (struct listener){ 0 };
	l->stereo = opus_decoder_create(48000, 2, &e);
}

static void listener_free(struct listener *l)
{
	hearing_end(&l->h, &l->pool);
	decoder_pool_free(&l->pool);
	opus_decoder_destroy(l->stereo);
}

static int listen_to(struct listener *l, enum how how, const uint8_t *packet, int len)
{
	int16_t got[960 * 2], want[960 * 2];
	int i, r, step, most = 0;

	assert_int_equal(hearing_ready(&l->h, &l->pool, 2, packet, (size_t)len), TD_OK);
	if (how == DECODE)
		r = decoder_decode(l->h.decoder, got, 960, packet, (size_t)len);
	else if (how == RECOVER)
		r = decoder_recover(l->h.decoder, got, 960, packet, (size_t)len);
	else
		r = decoder_conceal(l->h.decoder, got, 960);
	assert_int_equal(r, TD_OK);
	if (how == DECODE)
		assert_int_equal(hearing_keep(&l->h, 2, packet, (size_t)len), TD_OK);
	assert_int_equal(opus_decode(l->stereo, how == CONCEAL ? NULL : packet,
				 how == CONCEAL ? 0 : len, want, 960, how == RECOVER),
		960);
	step = 2 / l->h.channels;
	for (i = 0; i < 960 * l->h.channels; i++) {
		int off = abs(got[i] - want[i * step]);

		most = off > most ? off : most;
		assert_true(how != DECODE || l->h.channels == 2 || want[2 * i] == want[2 * i + 1]);
	}
	return most;
}

/* Of SILK with losses, of hybrid and CELT without. */
static void mono_is_what_a_stereo_decoder_gives(void **state)
{
	uint8_t packet[MAX_PACKET];
	int kind, k, len, lost = 0;

	(void)state;
	for (kind = 0; kind < KINDS; kind++) {
		OpusEncoder *enc = encoder_of(&in_mono[kind]);
		struct listener l;

		listener_init(&l);
		for (k = 0; k < 1000; k++) {
			len = sound(enc, &in_mono[kind], k, packet);
			assert_int_equal(opus_packet_channels(packet, (size_t)len), 1);
			if (kind == 0 && k > 0 && rnd(8) == 0) {
				lost++;
				continue;
			}
			for (; lost > 1; lost--)
				assert_int_equal(listen_to(&l, CONCEAL, packet, len), 0);
			if (lost == 1)
				assert_int_equal(listen_to(&l, RECOVER, packet, len), 0);
			lost = 0;
			assert_int_equal(listen_to(&l, DECODE, packet, len), 0);
			assert_int_equal(l.h.channels, 1);
		}
		listener_free(&l);
		opus_encoder_destroy(enc);
	}
}

/* After packets and silence frames in mono comes stereo: as if it had been stereo all along, or
 * soon nearly so, and it stays. */
static void mono_becomes_stereo_once(void **state)
{
	static const int before[] = { 0, 1, 5, HEARING_KEPT, HEARING_KEPT + 1, 50, 333 };
	uint8_t packet[MAX_PACKET];
	size_t i;
	int kind, k, len, r;

	(void)state;
	for (i = 0; i < KINDS * sizeof(before) / sizeof(before[0]); i++) {
		int n = before[i / KINDS];
		OpusEncoder *mono, *stereo;
		struct listener l;

		kind = (int)i % KINDS;
		mono = encoder_of(&in_mono[kind]);
		stereo = encoder_of(&in_stereo[kind]);
		listener_init(&l);
		for (k = 0; k < n; k++) {
			len = sound(mono, &in_mono[kind], k, packet);
			assert_int_equal(listen_to(&l, DECODE, packet, len), 0);
			assert_int_equal(l.h.channels, 1);
		}
		for (k = 0; k < 60; k++) {
			len = sound(stereo, &in_stereo[kind], n + k, packet);
			assert_int_equal(opus_packet_channels(packet, (size_t)len), 2);
			if (k == 40) {
				memcpy(packet, silence, sizeof(silence));
				len = sizeof(silence);
			}
			r = listen_to(&l, DECODE, packet, len);
			if (n <= HEARING_KEPT)
				assert_int_equal(r, 0);
			else
				assert_in_range(r, 0, k < 20 ? 1000 : k < 40 ? 1 : 200);
			assert_int_equal(l.h.channels, 2);
		}
		listener_free(&l);
		opus_encoder_destroy(mono);
		opus_encoder_destroy(stereo);
	}
}

/* Where one channel is all that is wanted, stereo packets are heard in one. */
static void one_channel_stays_one(void **state)
{
	OpusEncoder *enc = encoder_of(&in_stereo[2]);
	struct decoder_pool pool = { 0 };
	struct hearing h = { 0 };
	uint8_t packet[MAX_PACKET];
	int16_t pcm[960];
	int k, len;

	(void)state;
	for (k = 0; k < 5; k++) {
		len = sound(enc, &in_stereo[2], k, packet);
		assert_int_equal(hearing_ready(&h, &pool, 1, packet, (size_t)len), TD_OK);
		assert_int_equal(h.channels, 1);
		assert_int_equal(decoder_decode(h.decoder, pcm, 960, packet, (size_t)len), TD_OK);
		assert_int_equal(hearing_keep(&h, 1, packet, (size_t)len), TD_OK);
		assert_int_equal(h.count, 0);
	}
	hearing_end(&h, &pool);
	decoder_pool_free(&pool);
	opus_encoder_destroy(enc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(samples_are_rounded_as_libopus_does),
		cmocka_unit_test(one_that_clips_is_found),
		cmocka_unit_test(sound_is_what_opus_decode_gives),
		cmocka_unit_test(noise_is_what_opus_decode_gives),
		cmocka_unit_test(mono_is_what_a_stereo_decoder_gives),
		cmocka_unit_test(mono_becomes_stereo_once),
		cmocka_unit_test(one_channel_stays_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
