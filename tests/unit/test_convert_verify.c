/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sndfile.h>

#include "common/err.h"
#include "sinks/convert/verify.h"
#include "tests/unit/convert_dir.h"

/* So many samples of silence at 48 kHz, stereo. */
static void put_sound(const char *name, int format, sf_count_t samples)
{
	static const short zeros[2 * 48000];
	SF_INFO info = { .samplerate = 48000, .channels = 2, .format = format };
	SNDFILE *snd = sf_open(name, SFM_WRITE, &info);

	assert_non_null(snd);
	assert_int_equal(sf_writef_short(snd, zeros, samples), samples);
	sf_close(snd);
}

static void lengths(void **state)
{
	enum { WAV = SF_FORMAT_WAV | SF_FORMAT_PCM_16, FLAC = SF_FORMAT_FLAC | SF_FORMAT_PCM_16 };
	static const struct {
		const char *format; /* of what it is said to be */
		int is;             /* 0: raw bytes */
		uint64_t wanted;    /* of 9600 */
		uint32_t channels;
		int r;
		bool checked;
	} cases[] = {
		{ "wav", WAV, 9600, 2, TD_OK, true },
		{ "wav", WAV, 9599, 2, TD_ERR_MALFORMED, false },
		{ "wav", WAV, 9601, 2, TD_ERR_MALFORMED, false },
		{ "wav", WAV, 9600, 1, TD_ERR_MALFORMED, false },
		{ "wav", 0, 9600, 2, TD_ERR_MALFORMED, false },
		{ "flac", FLAC, 9600, 2, TD_OK, true },
		{ "flac", FLAC, 9601, 2, TD_ERR_MALFORMED, false },
		/* one frame of the codec more or less */
		{ "mp3", WAV, 9600 + 1152, 2, TD_OK, true },
		{ "mp3", WAV, 9600 - 1153, 2, TD_ERR_MALFORMED, false },
		{ "opus", WAV, 9600 - 960, 2, TD_OK, true },
		{ "opus", WAV, 9600 + 961, 2, TD_ERR_MALFORMED, false },
		{ "pcm", 0, 9600, 2, TD_OK, true },
		{ "pcm", 0, 9601, 2, TD_ERR_MALFORMED, false },
		/* nobody here can tell */
		{ "ape", 0, 1, 2, TD_OK, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		static const char raw[4 * 9600];
		const struct verify v = { cases[i].format, 48000, cases[i].channels,
			cases[i].wanted };
		struct fault fault = { "" };
		bool checked = true;
		int fd, r;

		if (cases[i].is != 0)
			put_sound("x", cases[i].is, 9600);
		else
			put_file("x", raw, sizeof(raw));
		fd = open("x", O_RDONLY);
		r = verify_output(&v, fd, &checked, &fault);
		close(fd);
		if (r != cases[i].r || checked != cases[i].checked ||
			(r < 0) != (fault.text[0] != '\0'))
			fail_msg("case %zu: %d %s", i, r, fault.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lengths, scratch_enter, scratch_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
