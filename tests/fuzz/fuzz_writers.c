/* SPDX-License-Identifier: ISC */
/*
 * WAV, FLAC, MP3 and raw samples: sound, silence and refreshes in any order and length, over an
 * output that is full when the input says so. What comes out is read with libsndfile and compared
 * with what went in: the same samples, or of MP3 as many. What a writer says it holds is what a
 * reader finds, whether its output failed or not, and so it is at every refresh.
 */
#include <sndfile.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/bytes.h"
#include "sinks/registry.h"
#include "tests/fuzz/check.h"
#include "tests/unit/sparse_output.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OPS_MAX = 200, SOUND_MAX = 6000, SILENCE_MAX = 48000 * 2, MODEL_MAX = 48000 * 60 };

struct fuzz {
	struct rd r;
	const struct td_writer_ops *ops;
	struct td_writer_conf conf;
	void *writer;
	uint64_t given; /* samples */
	bool failed;
	uint32_t noise;
};

static struct sparse sparse;
static int16_t model[MODEL_MAX * 2], found[4096 * 2];

static SNDFILE *open_file(const struct fuzz *f, SF_INFO *info)
{
	char path[64];

	memset(info, 0, sizeof(*info));
	if (strcmp(f->ops->name, "pcm") == 0) {
		info->format = SF_FORMAT_RAW | SF_FORMAT_PCM_16 | SF_ENDIAN_LITTLE;
		info->channels = (int)f->conf.channels;
		info->samplerate = (int)f->conf.rate;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", sparse.fd);
	return sf_open(path, SFM_READ, info);
}

/* How many samples there are; all of them are those of the model, unless it is lossy. */
static uint64_t read_all(const struct fuzz *f)
{
	bool lossy = strcmp(f->ops->name, "mp3") == 0;
	size_t channels = f->conf.channels;
	uint64_t at = 0;
	sf_count_t n;
	SF_INFO info;
	SNDFILE *s = open_file(f, &info);

	/* An MP3 without one frame of sound is none that a reader knows. */
	if (s == NULL && lossy)
		return 0;
	CHECK(s != NULL);
	CHECK(info.channels == (int)channels && info.samplerate == (int)f->conf.rate);
	while ((n = sf_readf_short(s, found, 4096)) > 0) {
		CHECK(at + (uint64_t)n <= f->given || lossy);
		CHECK(lossy ||
			memcmp(found, model + at * channels,
				(size_t)n * channels * sizeof(*found)) == 0);
		at += (uint64_t)n;
	}
	sf_close(s);
	return at;
}

static void put(struct fuzz *f, uint64_t samples, bool sound)
{
	size_t channels = f->conf.channels;
	int16_t *at = model + f->given * channels;
	uint8_t how = sound ? rd_u8(&f->r) : 0;
	int r;

	if (samples > MODEL_MAX - f->given)
		samples = MODEL_MAX - f->given;
	for (size_t i = 0; i < samples * channels; i++) {
		f->noise = f->noise * 1664525u + 1013904223u;
		at[i] = !sound           ? 0
			: (how & 1) != 0 ? (int16_t)(f->noise >> 16)
			: (how & 2) != 0 ? (int16_t)(i / channels * how)
					 : (int16_t)((f->noise >> 24) * (i % 97 == 0));
	}
	if (sound) {
		/* Of exactly its size. */
		int16_t *copy = malloc(samples * channels * sizeof(*at) + (samples == 0));

		CHECK(copy != NULL);
		memcpy(copy, at, samples * channels * sizeof(*at));
		r = f->ops->write(f->writer, copy, (uint32_t)samples);
		free(copy);
	} else {
		r = f->ops->silence(f->writer, samples);
	}
	CHECK(r == 0 || sparse.failed || sparse.beside_fails);
	CHECK(r < 0 || !f->failed);
	f->failed = f->failed || r < 0;
	f->given += samples;
}

/* What a kill would leave now. */
static void refresh(struct fuzz *f, bool look)
{
	int r = f->ops->refresh(f->writer);

	CHECK(r == 0 || sparse.failed || sparse.beside_fails);
	f->failed = f->failed || r < 0;
	if (r == 0 && look)
		CHECK(read_all(f) <= f->given);
}

static void step(struct fuzz *f)
{
	uint8_t op = rd_u8(&f->r);

	switch (op & 7) {
	case 0:
		refresh(f, op >= 0x80);
		break;
	case 1:
		put(f, rd_u8(&f->r), false);
		break;
	case 2:
		put(f, (uint64_t)rd_u16(&f->r) * 3 % SILENCE_MAX, false);
		break;
	case 3:
		sparse.beside_fails = op >= 0xf0;
		break;
	case 4:
		put(f, rd_u8(&f->r), true);
		break;
	case 5:
		put(f, 960, true);
		break;
	default:
		put(f, rd_u16(&f->r) % SOUND_MAX, true);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "wav", "flac", "mp3", "pcm" };
	static const uint32_t rates[] = { 48000, 8000, 16000, 44100, 11025, 24000, 32000, 48000 };
	static const char *vbr[] = { "0", "2", "9", "" }, *levels[] = { "0", "5", "8", "2" };
	const char *options[] = { NULL, NULL, "bitrate", "", NULL };
	struct fuzz f = { .noise = 1 };
	struct td_output out = sparse_output(&sparse);
	uint64_t samples = UINT64_MAX;
	char err[160] = "", title[17] = "";
	uint8_t setup, more;
	int r;

	rd_init(&f.r, data, size);
	setup = rd_u8(&f.r);
	more = rd_u8(&f.r);
	f.ops = registry_writer(names[setup & 3]);
	options[0] = (setup & 3) == 1 ? "level" : "vbr";
	options[1] = (setup & 3) == 1 ? levels[more & 3] : vbr[more & 3];
	if ((setup & 3) == 2 && (more & 3) == 3)
		options[3] = "64";
	if ((setup & 3) == 1)
		options[2] = NULL;
	rd_copy(&f.r, title, (setup & 0x40) != 0 ? 16 : 0);
	f.conf = (struct td_writer_conf){ .size = sizeof(f.conf),
		.source = TD_WANT_PCM,
		.channels = 1 + (setup >> 2 & 1),
		.rate = rates[more >> 2 & 7],
		.start_utc_ns = 1700000000000000000u * (setup >> 3 & 1),
		.title = title,
		.options = (setup & 3) == 1 || (setup & 3) == 2 ? options : options + 4 };
	if ((setup & 0x10) != 0)
		sparse.room = rd_u16(&f.r) * ((setup & 0x20) != 0 ? 64u : 1u);
	if (f.ops->check(&f.conf, err, sizeof(err)) < 0) {
		CHECK(err[0] != '\0');
	} else if ((r = f.ops->open(&f.writer, &out, &f.conf)) < 0) {
		CHECK(sparse.failed);
	} else {
		for (int n = 0; n < OPS_MAX && rd_left(&f.r) > 0; n++)
			step(&f);
		sparse.beside_fails = false;
		r = f.ops->close(f.writer, &samples);
		CHECK(samples <= f.given);
		CHECK((r < 0) == (f.failed || sparse.failed) || sparse.failed || f.failed);
		if (!sparse.failed) {
			CHECK(sparse_flush(&sparse) == 0 || sparse.failed);
		}
		CHECK(r < 0 || sparse.failed || samples == f.given);
		if (r == 0 && !sparse.failed)
			CHECK(read_all(&f) == samples);
	}
	close(sparse.fd);
	return 0;
}
