/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <sndfile.h>

#include "sinks/flac.h"
#include "tests/unit/sparse_output.h"

enum { CHUNK = 5000, MODEL_MAX = 400000 };

static struct sparse sparse;
static struct td_output output;
static const char *options[] = { "level", "5", NULL };

static const struct td_writer_conf plain = {
	.size = sizeof(struct td_writer_conf),
	.source = TD_WANT_PCM,
	.channels = 2,
	.rate = 48000,
	.options = options,
};

static int setup(void **state)
{
	(void)state;
	output = sparse_output(&sparse);
	options[1] = "5";
	return sparse.fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	return close(sparse.fd);
}

static uint32_t noise = 1;

static uint32_t rnd(uint32_t below)
{
	noise = noise * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)noise * below >> 32);
}

/* The file as it is now, read by libsndfile. */
static SNDFILE *in_open(SF_INFO *info)
{
	int fd = dup(sparse.fd);
	SNDFILE *snd;

	memset(info, 0, sizeof(*info));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	if ((snd = sf_open_fd(fd, SFM_READ, info, SF_TRUE)) == NULL)
		fail_msg("%s", sf_strerror(NULL));
	assert_int_equal(info->format, SF_FORMAT_FLAC | SF_FORMAT_PCM_16);
	return snd;
}

/* The first frames of the file are those of the model, `frames` of them at least. */
static void expect_model(const int16_t *model, uint64_t frames, uint32_t channels)
{
	static int16_t got[2 * MODEL_MAX];
	SF_INFO info;
	SNDFILE *snd = in_open(&info);

	assert_int_equal(info.channels, channels);
	assert_int_equal(info.frames, frames);
	assert_int_equal(sf_readf_short(snd, got, MODEL_MAX), frames);
	assert_memory_equal(got, model, frames * channels * 2);
	sf_close(snd);
}

static uint64_t streaminfo_samples(void)
{
	uint8_t b[5];

	assert_int_equal(pread(sparse.fd, b, 5, 21), 5);
	return (uint64_t)(b[0] & 15) << 32 | (uint64_t)b[1] << 24 | (uint64_t)b[2] << 16 |
		(uint64_t)b[3] << 8 | b[4];
}

/* The MD5 of the samples, as the header should have it; NULL: none. */
static void expect_md5(const int16_t *model, size_t len)
{
	uint8_t got[16], want[EVP_MAX_MD_SIZE] = { 0 };

	assert_int_equal(pread(sparse.fd, got, 16, 26), 16);
	if (model != NULL)
		assert_int_equal(EVP_Digest(model, len, want, NULL, EVP_md5(), NULL), 1);
	assert_memory_equal(got, want, 16);
}

static void expect_tools_content(void)
{
	assert_in_set(sparse_run(&sparse, "flac -ts", ""), ((unsigned long[]){ 0, 77 }), 2);
	assert_in_set(sparse_run(&sparse, "ffmpeg -nostdin -v warning -i", "-f null -"),
		((unsigned long[]){ 0, 77 }), 2);
	assert_in_set(sparse_run(&sparse, "sox -V2 -t flac", "-n"), ((unsigned long[]){ 0, 77 }),
		2);
}

static void file_without_sound_is_valid(void **state)
{
	uint64_t samples = 1;
	SF_INFO info;
	void *flac;

	(void)state;
	assert_int_equal(flac_writer.open(&flac, &output, &plain), 0);
	assert_int_equal(sparse_flush(&sparse), 0);
	sf_close(in_open(&info));
	assert_int_equal(flac_writer.close(flac, &samples), 0);
	assert_int_equal(samples, 0);
	sf_close(in_open(&info));
	assert_int_equal(info.channels, 2);
	assert_int_equal(info.samplerate, 48000);
	expect_md5((const int16_t *)"", 0);
}

/* Sound and silence in pieces of all sizes, against an array. */
static void random_sequences_read_back(void **state)
{
	static const uint32_t rates[] = { 8000, 11025, 12000, 12345, 16000, 22050, 44100, 48000,
		96000, 192000, 655350, 1048575, 1 };
	static int16_t model[2 * MODEL_MAX];
	static const char *const levels[] = { "0", "1", "2", "4", "5", "8" };

	for (uint32_t run = 0; run < 48; run++) {
		struct td_writer_conf conf = plain;
		uint64_t at = 0, samples, limit = MODEL_MAX - 100000;
		void *flac;

		setup(state);
		conf.channels = 1 + run % 2;
		conf.rate = rates[run / 2 % (sizeof(rates) / sizeof(rates[0]))];
		options[1] = levels[run % 6];
		memset(model, 0, sizeof(model));
		assert_int_equal(flac_writer.open(&flac, &output, &conf), 0);
		while (at < limit) {
			uint32_t n = rnd(10) == 0 ? rnd(50000) : rnd(CHUNK), kind = rnd(8);

			if (run % 5 == 4 && rnd(3) == 0) /* at the edges of blocks */
				n = 4096 - at % 4096 + rnd(3);
			if (kind < 4) {
				int16_t *p = model + at * conf.channels;

				for (uint32_t i = 0; i < n * conf.channels; i++)
					p[i] = kind == 0 ? 0 : (int16_t)(rnd(65536) >> kind);
				assert_int_equal(flac_writer.write(flac, p, n), 0);
			} else if (kind < 7) {
				assert_int_equal(flac_writer.silence(flac, n), 0);
			} else {
				assert_int_equal(flac_writer.refresh(flac), 0);
				n = 0;
			}
			at += n;
		}
		assert_int_equal(flac_writer.close(flac, &samples), 0);
		assert_int_equal(samples, at);
		expect_model(model, at, conf.channels);
		expect_md5(model, at * conf.channels * 2);
		if (run % 4 == 1 && conf.rate > 1)
			expect_tools_content();
		teardown(state);
	}
	setup(state);
}

/* Frames of other sounds are as small as those of silence; and silence of all lengths about blocks.
 */
static void silence_at_the_edges_of_blocks(void **state)
{
	static int16_t model[MODEL_MAX];
	struct td_writer_conf conf = plain;

	conf.channels = 1;
	teardown(state);
	for (uint32_t run = 0; run < 150; run++) {
		uint32_t lead = run % 3 == 0 ? 2 * 4096 : 4096 * (run % 3) + run * 7,
			 n = 4095 + 1024 * (run % 25) + (run / 3) % 3;
		uint64_t samples;
		void *flac;

		setup(state);
		memset(model, 0, sizeof(model));
		assert_int_equal(flac_writer.open(&flac, &output, &conf), 0);
		for (uint32_t i = 0; i < lead; i++)
			model[i] = 1000;
		assert_int_equal(flac_writer.write(flac, model, lead), 0);
		assert_int_equal(flac_writer.silence(flac, n), 0);
		model[lead + n] = 1;
		assert_int_equal(flac_writer.write(flac, model + lead + n, 1), 0);
		assert_int_equal(flac_writer.close(flac, &samples), 0);
		assert_int_equal(samples, lead + n + 1);
		expect_model(model, samples, 1);
		expect_md5(model, samples * 2);
		teardown(state);
	}
	setup(state);
}

/* A kill keeps what was there at the last refresh, but for a block. */
static void killed_file_is_valid(void **state)
{
	static int16_t model[2 * MODEL_MAX];
	uint64_t at = 0, samples;
	void *flac;

	(void)state;
	for (size_t i = 0; i < sizeof(model) / sizeof(model[0]); i++)
		model[i] = (int16_t)(rnd(65536) >> 3);
	assert_int_equal(flac_writer.open(&flac, &output, &plain), 0);
	for (int second = 0; second < 7; second++) {
		for (int i = 0; i < 50; i++, at += 960)
			assert_int_equal(flac_writer.write(flac, model + 2 * at, 960), 0);
		assert_int_equal(flac_writer.refresh(flac), 0);
		assert_true(streaminfo_samples() <= at && streaminfo_samples() + 4096 >= at);
		expect_model(model, streaminfo_samples(), 2);
		expect_md5(NULL, 0);
		/* and a second of which nobody says anything */
		for (int i = 0; i < 6; i++, at += 960)
			assert_int_equal(flac_writer.write(flac, model + 2 * at, 960), 0);
		expect_model(model, streaminfo_samples(), 2);
	}
	assert_int_equal(flac_writer.close(flac, &samples), 0);
	assert_int_equal(samples, at);
	expect_model(model, at, 2);
	expect_md5(model, at * 4);
}

/* Hours: a small file, in which the sound after them is where it belongs. */
/* A live call does not wait for the MD5 of a long pause; anything else does. */
static void long_pauses_of_live_calls_are_not_hashed(void **state)
{
	static const struct {
		uint32_t live, seconds;
		bool hashed;
	} cases[] = { { 1, 1199, true }, { 1, 1200, false }, { 0, 1200, true } };
	struct td_writer_conf conf = plain;
	int16_t pcm[2 * 960];
	uint64_t samples;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t got[16], none[16] = { 0 };
		void *flac;

		if (i > 0)
			setup(state);
		memset(pcm, 1, sizeof(pcm));
		conf.live = cases[i].live;
		conf.channels = 1;
		conf.rate = 8000;
		assert_int_equal(flac_writer.open(&flac, &output, &conf), 0);
		assert_int_equal(flac_writer.write(flac, pcm, 960), 0);
		assert_int_equal(flac_writer.silence(flac, 8000ull * cases[i].seconds), 0);
		assert_int_equal(flac_writer.write(flac, pcm, 960), 0);
		assert_int_equal(flac_writer.close(flac, &samples), 0);
		assert_int_equal(samples, 8000ull * cases[i].seconds + 2 * 960);
		assert_int_equal(pread(sparse.fd, got, 16, 26), 16);
		assert_int_equal(memcmp(got, none, 16) != 0, cases[i].hashed);
		if (i + 1 < sizeof(cases) / sizeof(cases[0]))
			teardown(state);
	}
}

static void hours_of_silence_are_small(void **state)
{
	const uint64_t hour = 3600 * 48000, night = 5ull * 3600 * 8000;
	struct td_writer_conf conf = plain;
	int16_t sound[960], got[960];
	uint64_t samples, before;
	SF_INFO info;
	SNDFILE *snd;
	void *flac;

	assert_int_equal(flac_writer.open(&flac, &output, &plain), 0);
	before = output.length(output.user);
	assert_int_equal(flac_writer.silence(flac, hour), 0);
	assert_int_equal(flac_writer.close(flac, &samples), 0);
	assert_int_equal(samples, hour);
	assert_true(output.length(output.user) - before < 1000000);
	teardown(state);
	/* Frame numbers of every length there can be, and the MD5, as flac sees them. */
	setup(state);
	conf.channels = 1;
	conf.rate = 8000;
	for (int i = 0; i < 960; i++)
		sound[i] = (int16_t)(1 + rnd(30000));
	assert_int_equal(flac_writer.open(&flac, &output, &conf), 0);
	assert_int_equal(flac_writer.write(flac, sound, 960), 0);
	assert_int_equal(flac_writer.silence(flac, night), 0);
	assert_int_equal(flac_writer.write(flac, sound, 960), 0);
	assert_int_equal(flac_writer.close(flac, &samples), 0);
	assert_int_equal(samples, night + 1920);
	snd = in_open(&info);
	assert_int_equal(info.frames, samples);
	assert_int_equal(sf_readf_short(snd, got, 960), 960);
	assert_memory_equal(got, sound, sizeof(got));
	assert_int_equal(sf_seek(snd, (sf_count_t)night + 959, SEEK_SET), night + 959);
	assert_int_equal(sf_readf_short(snd, got, 1), 1);
	assert_int_equal(got[0], 0);
	assert_int_equal(sf_readf_short(snd, got, 960), 960);
	assert_memory_equal(got, sound, sizeof(got));
	sf_close(snd);
	assert_in_set(sparse_run(&sparse, "flac -ts", ""), ((unsigned long[]){ 0, 77 }), 2);
}

/* The disk takes so much and no more: what it took is a valid file that says how much it is. */
static void disk_full(void **state)
{
	static int16_t model[2 * MODEL_MAX];
	int failed = 0;

	teardown(state);
	for (size_t i = 0; i < sizeof(model) / sizeof(model[0]); i++)
		model[i] = i / 100000 % 2 == 0 ? (int16_t)(rnd(65536) >> 3) : 0;
	for (uint64_t room = 0; room < 500000; room += 33331) {
		bool with_refresh = failed % 2 == 0;
		uint64_t at = 0, samples, in_file;
		void *flac;
		int r = 0;

		setup(state);
		sparse.room = room;
		assert_int_equal(flac_writer.open(&flac, &output, &plain), 0);
		while (r == 0 && at + 960 < MODEL_MAX) {
			r = at / 50000 % 2 == 0 || rnd(2) == 0
				? flac_writer.write(flac, model + 2 * at, 960)
				: flac_writer.silence(flac, 960);
			if (at / 50000 % 2 != 0)
				memset(model + 2 * at, 0, 960 * 4);
			at += 960;
			if (r == 0 && with_refresh && at % 48000 == 0)
				r = flac_writer.refresh(flac);
		}
		if (r < 0) {
			failed++;
			assert_int_equal(r, TD_ERR_IO);
			sparse.room = UINT64_MAX / 4; /* it stays that way */
			assert_int_equal(flac_writer.write(flac, model, 960), TD_ERR_IO);
			assert_int_equal(flac_writer.silence(flac, 1000000), TD_ERR_IO);
			assert_int_equal(flac_writer.refresh(flac), TD_ERR_IO);
		}
		assert_int_equal(flac_writer.close(flac, &samples), TD_ERR_IO);
		if (room > 0) {
			assert_int_equal(samples, streaminfo_samples());
			expect_model(model, samples, 2);
			/* all whole frames: less than one is missing */
			in_file = sparse.stored;
			assert_true(samples == 0 ? in_file < 33331 : in_file > 0);
			assert_int_equal(in_file, room);
			assert_int_equal(samples % 4096, 0);
			expect_md5(NULL, 0);
		} else {
			assert_int_equal(samples, 0);
		}
		teardown(state);
	}
	assert_true(failed > 8);
	setup(state);
}

enum { STEPS = 480, STEP = 512 };
static uint64_t ends[STEPS];

/* Step k of a recording of sound and silence. */
static int step(void *flac, int k)
{
	int16_t pcm[2 * STEP];

	if (k == 0)
		noise = 7;
	for (int i = 0; i < 2 * STEP; i++)
		pcm[i] = k / 80 % 2 == 0 ? (int16_t)(rnd(65536) >> 4) : 0;
	return flac_writer.write(flac, pcm, STEP);
}

/* Where each of its frames ends, the header first. Returns how many there are. */
static int find_ends(void)
{
	uint64_t samples;
	void *flac;
	int n = 1;

	assert_int_equal(flac_writer.open(&flac, &output, &plain), 0);
	ends[0] = output.length(output.user);
	for (int k = 0; k < STEPS; k++) {
		assert_int_equal(step(flac, k), 0);
		assert_int_equal(flac_writer.refresh(flac), 0);
		if (output.length(output.user) != ends[n - 1])
			ends[n++] = output.length(output.user);
	}
	assert_int_equal(flac_writer.close(flac, &samples), 0);
	assert_int_equal(samples, STEPS * STEP);
	teardown(NULL);
	return n;
}

/* No frame that could be stored is left out of the count. */
static void disk_full_counts_every_frame(void **state)
{
	int n = find_ends();

	assert_in_range(n, 50, 60);
	for (int cut = 2; cut < 2 * n; cut++) {
		uint64_t samples;
		int full = 0;
		void *flac;

		setup(state);
		sparse.room = ends[cut / 2] - (uint64_t)(cut % 2);
		assert_int_equal(flac_writer.open(&flac, &output, &plain), 0);
		for (int k = 0; k < STEPS; k++) {
			if (step(flac, k) < 0)
				break;
			if (cut % 3 == 0 && k % 90 == 0)
				(void)flac_writer.refresh(flac);
		}
		assert_int_equal(flac_writer.close(flac, &samples), TD_ERR_IO);
		while (full + 1 < n && ends[full + 1] <= sparse.room)
			full++;
		assert_int_equal(samples, (uint64_t)full * 4096);
		assert_int_equal(streaminfo_samples(), samples);
		teardown(state);
	}
	setup(state);
}

/* Whenever a kill comes between two calls, the file ends with a whole frame. */
static void killed_file_ends_with_a_frame(void **state)
{
	int n = find_ends(), changes = 0;
	uint64_t samples, stored;
	void *flac;

	setup(state);
	assert_int_equal(flac_writer.open(&flac, &output, &plain), 0);
	assert_int_equal(sparse_flush(&sparse), 0);
	stored = sparse.stored;
	for (int k = 0; k < STEPS; k++) {
		int i = 0;

		assert_int_equal(step(flac, k), 0);
		if (k % 200 == 199)
			assert_int_equal(flac_writer.refresh(flac), 0);
		while (i < n && ends[i] != sparse.stored)
			i++;
		assert_true(i < n);
		assert_int_equal(streaminfo_samples(), (uint64_t)i * 4096);
		changes += sparse.stored != stored;
		stored = sparse.stored;
		if (k == STEPS / 2) {
			assert_in_set(sparse_run(&sparse, "ffmpeg -nostdin -v warning -i",
					      "-f null -"),
				((unsigned long[]){ 0, 77 }), 2);
			assert_in_set(sparse_run(&sparse, "sox -V2 -t flac", "-n"),
				((unsigned long[]){ 0, 77 }), 2);
		}
	}
	assert_true(changes > 2);
	assert_int_equal(flac_writer.close(flac, &samples), 0);
}

static void tags_are_there(void **state)
{
	static char long_text[5000];
	struct td_writer_conf conf = plain;
	uint64_t samples;
	SF_INFO info;
	SNDFILE *snd;
	void *flac;

	conf.title = "J\xc3\xb6rg = the \"speaker\"";
	conf.album = "standup";
	conf.start_utc_ns = UINT64_C(1700000000123456789);
	assert_int_equal(flac_writer.open(&flac, &output, &conf), 0);
	assert_int_equal(flac_writer.silence(flac, 5000), 0);
	assert_int_equal(flac_writer.close(flac, &samples), 0);
	snd = in_open(&info);
	assert_string_equal(sf_get_string(snd, SF_STR_TITLE), conf.title);
	assert_string_equal(sf_get_string(snd, SF_STR_ALBUM), "standup");
	assert_string_equal(sf_get_string(snd, SF_STR_DATE), "2023-11-14T22:13:20.123456Z");
	sf_close(snd);
	expect_tools_content();
	teardown(state);
	/* too long is cut; what is not known is not there */
	setup(state);
	memset(long_text, 'x', sizeof(long_text) - 1);
	conf.title = long_text;
	conf.album = "";
	conf.start_utc_ns = 0;
	assert_int_equal(flac_writer.open(&flac, &output, &conf), 0);
	assert_int_equal(flac_writer.close(flac, &samples), 0);
	snd = in_open(&info);
	assert_int_equal(strlen(sf_get_string(snd, SF_STR_TITLE)), 4096);
	assert_null(sf_get_string(snd, SF_STR_ALBUM));
	assert_null(sf_get_string(snd, SF_STR_DATE));
	sf_close(snd);
}

static void check_says_what_it_takes(void **state)
{
	struct td_writer_conf conf = plain;
	char err[128] = "";

	(void)state;
	assert_int_equal(flac_writer.check(&conf, err, sizeof(err)), 0);
	assert_string_equal(err, "");
	conf.rate = 1048575;
	assert_int_equal(flac_writer.check(&conf, err, sizeof(err)), 0);
	conf.rate++;
	assert_int_equal(flac_writer.check(&conf, err, sizeof(err)), TD_ERR_USAGE);
	assert_string_not_equal(err, "");
	conf.rate = 0;
	assert_int_equal(flac_writer.check(&conf, err, sizeof(err)), TD_ERR_USAGE);
	conf = plain;
	conf.channels = 3;
	assert_int_equal(flac_writer.check(&conf, err, sizeof(err)), TD_ERR_USAGE);
	conf.channels = 0;
	assert_int_equal(flac_writer.check(&conf, err, sizeof(err)), TD_ERR_USAGE);
	conf = plain;
	conf.source = TD_WANT_OPUS;
	assert_int_equal(flac_writer.check(&conf, err, sizeof(err)), TD_ERR_USAGE);
}

/* The level is used, and the same input gives the same bytes however it comes in pieces. */
static void levels_and_determinism(void **state)
{
	static int16_t model[2 * 100000];
	static uint8_t bytes[2][600000];
	static const char *const levels[] = { "0", "8", "8" };
	uint64_t samples, len[3];
	void *flac;

	for (int i = 0; i < 100000; i++)
		model[2 * i] = model[2 * i + 1] =
			(int16_t)((i * 7 % 2001 - 1000) * 8 + (int)rnd(64));
	teardown(state);
	for (int run = 0; run < 3; run++) {
		setup(state);
		options[1] = levels[run];
		assert_int_equal(flac_writer.open(&flac, &output, &plain), 0);
		for (uint32_t at = 0, n; at < 100000; at += n) {
			n = run == 1 ? 1000 : 1 + rnd(5000);
			if (n > 100000 - at)
				n = 100000 - at;
			assert_int_equal(flac_writer.write(flac, model + 2 * at, n), 0);
			if (run == 1)
				flac_writer.refresh(flac);
		}
		assert_int_equal(flac_writer.silence(flac, 1000000), 0);
		assert_int_equal(flac_writer.close(flac, &samples), 0);
		len[run] = output.length(output.user);
		assert_int_equal(pread(sparse.fd, bytes[run / 2], sizeof(bytes[0]), 0), len[run]);
		if (run == 1)
			assert_int_equal(pread(sparse.fd, bytes[0], sizeof(bytes[0]), 0), len[1]);
		teardown(state);
	}
	assert_true(len[1] < len[0]);
	assert_int_equal(len[1], len[2]);
	assert_memory_equal(bytes[0], bytes[1], len[1]);
	setup(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(file_without_sound_is_valid),
		TEST(random_sequences_read_back),
		TEST(silence_at_the_edges_of_blocks),
		TEST(killed_file_is_valid),
		TEST(long_pauses_of_live_calls_are_not_hashed),
		TEST(hours_of_silence_are_small),
		TEST(disk_full),
		TEST(disk_full_counts_every_frame),
		TEST(killed_file_ends_with_a_frame),
		TEST(tags_are_there),
		TEST(check_says_what_it_takes),
		TEST(levels_and_determinism),
	};

	return cmocka_run_group_tests_name("flac", tests, NULL, NULL);
}
