/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>

#include "sinks/pcm.h"
#include "sinks/utc.h"
#include "tests/unit/sparse_output.h"

enum { MODEL_MAX = 400000 };

static struct sparse sparse;
static struct td_output output;

static const struct td_writer_conf plain = {
	.size = sizeof(struct td_writer_conf),
	.source = TD_WANT_PCM,
	.channels = 2,
	.rate = 48000,
};

static int setup(void **state)
{
	(void)state;
	output = sparse_output(&sparse);
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

/* What the file beside says of its samples; the rest of it is as the conf says. */
static uint64_t told(const struct td_writer_conf *conf)
{
	json_t *json = json_loads(sparse.beside, JSON_REJECT_DUPLICATES, NULL);
	uint64_t samples;

	assert_string_equal(sparse.ending, "json");
	assert_non_null(json);
	assert_int_equal(json_object_size(json), 8);
	assert_string_equal(json_string_value(json_object_get(json, "format")), "s16le");
	assert_int_equal(json_integer_value(json_object_get(json, "rate")), conf->rate);
	assert_int_equal(json_integer_value(json_object_get(json, "channels")), conf->channels);
	assert_true(json_is_integer(json_object_get(json, "samples")));
	assert_true(json_is_integer(json_object_get(json, "position")));
	assert_int_equal(json_integer_value(json_object_get(json, "position")), conf->position);
	if (conf->title == NULL)
		assert_true(json_is_null(json_object_get(json, "title")));
	if (conf->album == NULL)
		assert_true(json_is_null(json_object_get(json, "album")));
	if (conf->start_utc_ns == 0)
		assert_true(json_is_null(json_object_get(json, "start")));
	samples = (uint64_t)json_integer_value(json_object_get(json, "samples"));
	json_decref(json);
	return samples;
}

static void random_sequences_read_back(void **state)
{
	static int16_t model[2 * MODEL_MAX], got[2 * MODEL_MAX];

	teardown(state);
	for (uint32_t run = 0; run < 30; run++) {
		struct td_writer_conf conf = plain;
		uint64_t at = 0, samples;
		struct stat st;
		void *pcm;

		setup(state);
		conf.channels = 1 + run % 2;
		memset(model, 0, sizeof(model));
		assert_int_equal(pcm_writer.open(&pcm, &output, &conf), 0);
		assert_int_equal(told(&conf), 0);
		while (at < MODEL_MAX - 60000) {
			uint32_t n = rnd(3) == 0 ? rnd(60000) : rnd(2000), kind = rnd(5);

			if (kind < 2) {
				int16_t *p = model + at * conf.channels;

				for (uint32_t i = 0; i < n * conf.channels; i++)
					p[i] = (int16_t)rnd(65536);
				assert_int_equal(pcm_writer.write(pcm, p, n), 0);
				at += n;
			} else if (kind < 4) {
				assert_int_equal(pcm_writer.silence(pcm, n), 0);
				at += n;
			} else {
				assert_int_equal(pcm_writer.refresh(pcm), 0);
				assert_int_equal(told(&conf), at);
				assert_int_equal(fstat(sparse.fd, &st), 0);
				assert_int_equal(st.st_size, at * conf.channels * 2);
			}
			/* what is told is there */
			assert_int_equal(fstat(sparse.fd, &st), 0);
			assert_true(told(&conf) * conf.channels * 2 <= (uint64_t)st.st_size);
		}
		assert_int_equal(pcm_writer.close(pcm, &samples), 0);
		assert_int_equal(samples, at);
		assert_int_equal(told(&conf), at);
		assert_int_equal(pread(sparse.fd, got, sizeof(got), 0), at * conf.channels * 2);
		assert_memory_equal(got, model, at * conf.channels * 2);
		teardown(state);
	}
	setup(state);
}

static void what_stands_beside(void **state)
{
	struct td_writer_conf conf = plain;
	uint64_t samples;
	json_t *json;
	void *pcm;

	(void)state;
	conf.channels = 1;
	conf.rate = 16000;
	conf.position = 123456789012;
	conf.start_utc_ns = UINT64_C(1700000000000999999);
	conf.title = "J\xc3\xb6rg \"the\" \\ \n speaker";
	conf.album = "standup";
	assert_int_equal(pcm_writer.open(&pcm, &output, &conf), 0);
	assert_int_equal(told(&conf), 0);
	json = json_loads(sparse.beside, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(json, "start")),
		"2023-11-14T22:13:20.000999Z");
	assert_string_equal(json_string_value(json_object_get(json, "title")), conf.title);
	assert_string_equal(json_string_value(json_object_get(json, "album")), "standup");
	json_decref(json);
	assert_int_equal(pcm_writer.silence(pcm, 7), 0);
	assert_int_equal(pcm_writer.close(pcm, &samples), 0);
	assert_int_equal(told(&conf), 7);
	/* a text that is none is no reason to lose the sound */
	conf.title = "\xff\xfe";
	assert_int_equal(pcm_writer.open(&pcm, &output, &conf), 0);
	json = json_loads(sparse.beside, 0, NULL);
	assert_true(json_is_null(json_object_get(json, "title")));
	json_decref(json);
	assert_int_equal(pcm_writer.close(pcm, &samples), 0);
}

/* Only what changed is written again. */
static void told_when_it_changed(void **state)
{
	int16_t pcm_of_2[4] = { 1, 2, 3, 4 };
	uint64_t samples;
	void *pcm;

	(void)state;
	assert_int_equal(pcm_writer.open(&pcm, &output, &plain), 0);
	assert_int_equal(sparse.besides, 1);
	assert_int_equal(pcm_writer.refresh(pcm), 0);
	assert_int_equal(sparse.besides, 1);
	assert_int_equal(pcm_writer.write(pcm, pcm_of_2, 2), 0);
	assert_int_equal(sparse.besides, 1);
	assert_int_equal(pcm_writer.refresh(pcm), 0);
	assert_int_equal(sparse.besides, 2);
	assert_int_equal(pcm_writer.close(pcm, &samples), 0);
	assert_int_equal(sparse.besides, 2);
	assert_int_equal(samples, 2);
}

static void hours_are_a_hole(void **state)
{
	const uint64_t day = 24 * 3600 * 48000ull;
	int16_t one[2] = { 1, -1 }, got[2];
	uint64_t samples;
	struct stat st;
	void *pcm;

	(void)state;
	assert_int_equal(pcm_writer.open(&pcm, &output, &plain), 0);
	assert_int_equal(pcm_writer.silence(pcm, day), 0);
	assert_int_equal(pcm_writer.write(pcm, one, 1), 0);
	assert_int_equal(pcm_writer.silence(pcm, UINT64_MAX), TD_ERR_LIMIT);
	assert_int_equal(pcm_writer.write(pcm, one, 1), TD_ERR_LIMIT);
	assert_int_equal(pcm_writer.close(pcm, &samples), TD_ERR_LIMIT);
	assert_int_equal(samples, day + 1);
	assert_int_equal(told(&plain), day + 1);
	assert_int_equal(sparse_flush(&sparse), 0);
	assert_int_equal(fstat(sparse.fd, &st), 0);
	assert_int_equal(st.st_size, (day + 1) * 4);
	assert_true(st.st_blocks < 100);
	assert_int_equal(pread(sparse.fd, got, 4, (off_t)day * 4), 4);
	assert_memory_equal(got, one, 4);
}

static void disk_full(void **state)
{
	static int16_t model[2 * 100000], got[2 * 100000];

	teardown(state);
	for (size_t i = 0; i < sizeof(model) / sizeof(model[0]); i++)
		model[i] = (int16_t)rnd(65536);
	for (uint64_t room = 0; room < 390000; room += 39001) {
		uint64_t samples = 1, at = 0;
		void *pcm;
		int r = 0;

		setup(state);
		sparse.room = room;
		assert_int_equal(pcm_writer.open(&pcm, &output, &plain), 0);
		while (r == 0 && at + 500 <= 100000) {
			r = pcm_writer.write(pcm, model + 2 * at, 500);
			at += 500;
		}
		if (r < 0) {
			sparse.room = UINT64_MAX / 4;
			assert_int_equal(pcm_writer.write(pcm, model, 1), TD_ERR_IO);
			assert_int_equal(pcm_writer.silence(pcm, 1), TD_ERR_IO);
			assert_int_equal(pcm_writer.refresh(pcm), TD_ERR_IO);
		}
		assert_int_equal(pcm_writer.close(pcm, &samples), TD_ERR_IO);
		assert_int_equal(samples, room / 4);
		assert_int_equal(told(&plain), room / 4);
		assert_int_equal(pread(sparse.fd, got, sizeof(got), 0), room);
		assert_memory_equal(got, model, room);
		teardown(state);
	}
	setup(state);
}

/* Without the file beside nothing begins; later it holds nothing up, and close() tells. */
static void failure_beside(void **state)
{
	int16_t one[2] = { 1, -1 };
	uint64_t samples;
	void *pcm;

	(void)state;
	sparse.beside_fails = true;
	assert_int_equal(pcm_writer.open(&pcm, &output, &plain), TD_ERR_IO);
	sparse.beside_fails = false;
	assert_int_equal(pcm_writer.open(&pcm, &output, &plain), 0);
	sparse.beside_fails = true;
	assert_int_equal(pcm_writer.write(pcm, one, 1), 0);
	assert_int_equal(pcm_writer.refresh(pcm), 0);
	assert_int_equal(pcm_writer.write(pcm, one, 1), 0);
	assert_int_equal(pcm_writer.close(pcm, &samples), TD_ERR_IO);
	assert_int_equal(samples, 2);
	teardown(state);
	/* one that is over by the end is forgotten */
	setup(state);
	assert_int_equal(pcm_writer.open(&pcm, &output, &plain), 0);
	sparse.beside_fails = true;
	assert_int_equal(pcm_writer.write(pcm, one, 1), 0);
	assert_int_equal(pcm_writer.refresh(pcm), 0);
	sparse.beside_fails = false;
	assert_int_equal(pcm_writer.close(pcm, &samples), 0);
	assert_int_equal(told(&plain), 1);
	/* a host from before files beside */
	output.size = offsetof(struct td_output, beside);
	assert_int_equal(pcm_writer.open(&pcm, &output, &plain), TD_ERR_UNSUPPORTED);
}

static void check_says_what_it_takes(void **state)
{
	struct td_writer_conf conf = plain;
	char err[128] = "";

	(void)state;
	assert_int_equal(pcm_writer.check(&conf, err, sizeof(err)), 0);
	assert_string_equal(err, "");
	conf.rate = 0;
	assert_int_equal(pcm_writer.check(&conf, err, sizeof(err)), TD_ERR_USAGE);
	assert_string_not_equal(err, "");
	conf = plain;
	conf.channels = 3;
	assert_int_equal(pcm_writer.check(&conf, err, sizeof(err)), TD_ERR_USAGE);
	conf.channels = 0;
	assert_int_equal(pcm_writer.check(&conf, err, sizeof(err)), TD_ERR_USAGE);
	conf = plain;
	conf.source = TD_WANT_OPUS;
	assert_int_equal(pcm_writer.check(&conf, err, sizeof(err)), TD_ERR_USAGE);
}

static void times_as_text(void **state)
{
	char text[UTC_TEXT];

	(void)state;
	utc_text(text, 0);
	assert_string_equal(text, "1970-01-01T00:00:00.000000Z");
	utc_text(text, UINT64_C(1709209845678901234));
	assert_string_equal(text, "2024-02-29T12:30:45.678901Z");
	utc_text(text, UINT64_MAX);
	assert_string_equal(text, "2554-07-21T23:34:33.709551Z");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(random_sequences_read_back),
		TEST(what_stands_beside),
		TEST(told_when_it_changed),
		TEST(hours_are_a_hole),
		TEST(disk_full),
		TEST(failure_beside),
		TEST(check_says_what_it_takes),
		TEST(times_as_text),
	};

	return cmocka_run_group_tests_name("pcm", tests, NULL, NULL);
}
