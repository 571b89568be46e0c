/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/err.h"
#include "sinks/convert/mixer.h"
#include "tests/unit/convert_dir.h"

/* ---- numbers ---- */

static void no_sample_clips(void **state)
{
	/* Every peak a sum can have: scaled it is the ceiling at most, and what fits is untouched.
	 */
	(void)state;
	for (int64_t peak = 1; peak <= INT64_C(32768) * 10000; peak += peak < 70000 ? 1 : 65521) {
		const int32_t sum[2] = { (int32_t)peak, (int32_t)-peak };
		int16_t out[2];
		double gain = mixer_gain((uint32_t)peak, 32767);

		mixer_scale(out, sum, 2, gain);
		if (peak <= 32767 && (out[0] != peak || out[1] != -peak))
			fail_msg("%d was changed to %d %d", (int)peak, out[0], out[1]);
		if (peak > 32767 && (out[0] != 32767 || out[1] != -32767))
			fail_msg("%d became %d %d", (int)peak, out[0], out[1]);
	}
}

static void peaks(void **state)
{
	const int32_t a[] = { 3, -7, 5 }, b[] = { INT32_MIN, INT32_MAX };

	(void)state;
	assert_int_equal(mixer_peak(a, 3), 7);
	assert_int_equal(mixer_peak(a, 1), 3);
	assert_int_equal(mixer_peak(a, 0), 0);
	assert_int_equal(mixer_peak(b, 2), UINT32_C(1) << 31);
}

/* ---- tracks ---- */

/* A WAV of samples of 16 bit. */
static void put_wav(const char *name, uint32_t rate, uint16_t channels, const int16_t *pcm,
	uint32_t samples)
{
	uint32_t len = samples * channels * 2, riff = len + 36, sixteen = 16;
	uint16_t tag = 1, align = (uint16_t)(channels * 2), bits = 16;
	uint8_t b[4096];

	memcpy(b, "RIFF....WAVEfmt ", 16);
	memcpy(b + 4, &riff, 4);
	memcpy(b + 16, &sixteen, 4);
	memcpy(b + 20, &tag, 2);
	memcpy(b + 22, &channels, 2);
	memcpy(b + 24, &rate, 4);
	memset(b + 28, 0, 4);
	memcpy(b + 32, &align, 2);
	memcpy(b + 34, &bits, 2);
	memcpy(b + 36, "data", 4);
	memcpy(b + 40, &len, 4);
	if (len > 0)
		memcpy(b + 44, pcm, len);
	put_file(name, b, 44 + len);
}

static struct job_part part_a = { "a.wav", 0, JOB_TO_END }, part_b = { "b.wav", 0, JOB_TO_END };
static struct job_cut cut_b = { 1, 3 };

static void sums(void **state)
{
	struct job_track tracks[] = { { &part_a, NULL, 1, 0 }, { &part_b, &cut_b, 1, 1 } };
	const struct job job = { .tracks = tracks, .track_count = 2, .mix = true };
	const int16_t a[] = { 30000, 1, 30000, 2, -30000, 3 }, b[] = { 30000, 7, -30000 };
	/* b is one channel for both, and three samples of silence follow its first */
	const int32_t want[] = { 60000, 30001, 30000, 2, -30000, 3, 0, 0, 7, 7, -30000, -30000 };
	int32_t sum[MIXER_BLOCK * 2], got[32] = { 0 };
	struct fault fault = { "" };
	struct mixer *m;
	uint64_t n, all = 0;
	bool silent;

	(void)state;
	put_wav("a.wav", 48000, 2, a, 3);
	put_wav("b.wav", 48000, 1, b, 3);
	if (mixer_open(&m, &job, &witness, &fault) < 0)
		fail_msg("%s", fault.text);
	assert_int_equal(mixer_info(m)->channels, 2);
	assert_int_equal(mixer_info(m)->samples, 6);
	do {
		assert_int_equal(mixer_read(m, sum, MIXER_BLOCK, &n, &silent, &fault), TD_OK);
		if (!silent)
			memcpy(got + 2 * all, sum, n * 2 * sizeof(*sum));
		all += n;
		assert_true(all <= 16);
	} while (n > 0);
	assert_int_equal(all, 6);
	assert_memory_equal(got, want, sizeof(want));
	assert_int_equal(mixer_finish(m), SOURCE_WHOLE);
	mixer_free(m);
}

static void refusals(void **state)
{
	struct job_track tracks[] = { { &part_a, NULL, 1, 0 }, { &part_b, NULL, 1, 0 } };
	const struct job job = { .tracks = tracks, .track_count = 2, .mix = true };
	struct mixer *m = NULL;
	struct fault fault;

	(void)state;
	put_wav("a.wav", 48000, 2, NULL, 0);
	assert_int_equal(mixer_open(&m, &job, &witness, &fault), TD_ERR_IO);
	assert_non_null(strstr(fault.text, "b.wav: No such file"));
	put_wav("b.wav", 44100, 2, NULL, 0);
	assert_int_equal(mixer_open(&m, &job, &witness, &fault), TD_ERR_UNSUPPORTED);
	assert_non_null(strstr(fault.text, "b.wav: another rate"));
	assert_null(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_sample_clips),
		cmocka_unit_test(peaks),
		cmocka_unit_test_setup_teardown(sums, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(refusals, scratch_enter, scratch_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
