/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sndfile.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/outfile.h"
#include "sinks/wav.h"

enum { FRAME = 960 };
static char dir[64];
static int dir_fd = -1;

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_wav.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
	return dir_fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	static const char *const names[] = { "a.wav", "b.wav", "c.wav", "link" };

	(void)state;
	outfile_test_sys(NULL);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlinkat(dir_fd, names[i], 0);
	close(dir_fd);
	return rmdir(dir);
}

/* The samples of frame n: never zero, different everywhere. */
static void fill(int16_t *pcm, int channels, int n)
{
	for (int i = 0; i < FRAME * channels; i++)
		pcm[i] = (int16_t)(1 + (n * 7919 + i * 13) % 30000);
}

struct out {
	struct outfile *file;
	struct td_output output;
	struct td_writer_conf conf;
	void *wav;
};

static void out_open(struct out *o, const char *name, uint32_t channels)
{
	assert_int_equal(outfile_create(&o->file, dir_fd, name), 0);
	o->output = outfile_output(o->file);
	o->conf = (struct td_writer_conf){ .size = sizeof(o->conf),
		.source = TD_WANT_PCM,
		.channels = channels,
		.rate = 48000 };
	assert_int_equal(wav_writer.open(&o->wav, &o->output, &o->conf), 0);
}

static uint64_t out_close(struct out *o, int want)
{
	uint64_t samples;

	assert_int_equal(wav_writer.close(o->wav, &samples), want);
	outfile_free(o->file);
	return samples;
}

static SNDFILE *in_open(const char *name, SF_INFO *info)
{
	char path[128];
	SNDFILE *snd;

	memset(info, 0, sizeof(*info));
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if ((snd = sf_open(path, SFM_READ, info)) == NULL)
		fail_msg("%s: %s", path, sf_strerror(NULL));
	assert_int_equal(info->samplerate, 48000);
	return snd;
}

static void expect_frame(SNDFILE *snd, int channels, sf_count_t at, int n)
{
	int16_t want[FRAME * 2], got[FRAME * 2];

	fill(want, channels, n);
	assert_int_equal(sf_seek(snd, at, SEEK_SET), at);
	assert_int_equal(sf_readf_short(snd, got, FRAME), FRAME);
	assert_memory_equal(got, want, sizeof(int16_t) * FRAME * (size_t)channels);
}

static void expect_zeros(SNDFILE *snd, int channels, sf_count_t from, sf_count_t to)
{
	static int16_t got[48000 * 2];

	assert_int_equal(sf_seek(snd, from, SEEK_SET), from);
	while (from < to) {
		sf_count_t n = to - from < 48000 ? to - from : 48000;

		assert_int_equal(sf_readf_short(snd, got, n), n);
		for (sf_count_t i = 0; i < n * channels; i++)
			assert_int_equal(got[i], 0);
		from += n;
	}
}

static void sound_and_silence_read_back(void **state)
{
	/* From nothing to beyond the buffer, and its edges with the header in front. */
	static const uint64_t gaps[] = { 0, 1, 959, 16355, 16356, 16384, 32768, 48000, 480000 };
	int16_t pcm[FRAME * 2];

	(void)state;
	for (int channels = 1; channels <= 2; channels++) {
		sf_count_t at = 0;
		struct out o;
		SF_INFO info;
		SNDFILE *snd;

		out_open(&o, "a.wav", (uint32_t)channels);
		for (int n = 0; n < 9; n++) {
			assert_int_equal(wav_writer.silence(o.wav, gaps[n]), 0);
			fill(pcm, channels, n);
			assert_int_equal(wav_writer.write(o.wav, pcm, FRAME), 0);
			if (n % 2 == 0)
				assert_int_equal(wav_writer.refresh(o.wav), 0);
		}
		assert_int_equal(wav_writer.silence(o.wav, 100), 0);
		snd = NULL;
		assert_int_equal(out_close(&o, 0), 610823 + 9 * FRAME + 100);
		snd = in_open("a.wav", &info);
		assert_int_equal(info.channels, channels);
		assert_int_equal(info.format, SF_FORMAT_WAV | SF_FORMAT_PCM_16);
		assert_int_equal(info.frames, 610823 + 9 * FRAME + 100);
		for (int n = 0; n < 9; n++) {
			expect_zeros(snd, channels, at, at + (sf_count_t)gaps[n]);
			at += (sf_count_t)gaps[n];
			expect_frame(snd, channels, at, n);
			at += FRAME;
		}
		expect_zeros(snd, channels, at, at + 100);
		sf_close(snd);
		unlinkat(dir_fd, "a.wav", 0);
	}
}

static void rates_as_asked(void **state)
{
	static const uint32_t rates[] = { 8000, 11025, 44100, 96000, 192000 };

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		const struct td_writer_conf conf = { .size = sizeof(conf),
			.source = TD_WANT_PCM,
			.channels = 1,
			.rate = rates[i] };
		int16_t pcm[FRAME], got[FRAME];
		char path[128], err[64] = "";
		struct td_output output;
		struct outfile *file;
		uint64_t samples;
		SF_INFO info = { 0 };
		SNDFILE *snd;
		void *wav;

		assert_int_equal(wav_writer.check(&conf, err, sizeof(err)), 0);
		assert_string_equal(err, "");
		assert_int_equal(outfile_create(&file, dir_fd, "a.wav"), 0);
		output = outfile_output(file);
		assert_int_equal(wav_writer.open(&wav, &output, &conf), 0);
		fill(pcm, 1, 1);
		assert_int_equal(wav_writer.silence(wav, 100), 0);
		assert_int_equal(wav_writer.write(wav, pcm, FRAME), 0);
		assert_int_equal(wav_writer.close(wav, &samples), 0);
		outfile_free(file);
		assert_int_equal(samples, FRAME + 100);
		snprintf(path, sizeof(path), "%s/a.wav", dir);
		snd = sf_open(path, SFM_READ, &info);
		assert_non_null(snd);
		assert_int_equal(info.samplerate, rates[i]);
		assert_int_equal(info.channels, 1);
		assert_int_equal(info.frames, FRAME + 100);
		assert_int_equal(sf_seek(snd, 100, SEEK_SET), 100);
		assert_int_equal(sf_readf_short(snd, got, FRAME), FRAME);
		assert_memory_equal(got, pcm, sizeof(got));
		sf_close(snd);
		unlinkat(dir_fd, "a.wav", 0);
	}
}

static void check_says_what_it_takes(void **state)
{
	static const struct td_writer_conf bad[] = {
		{ .source = TD_WANT_PCM, .channels = 0, .rate = 48000 },
		{ .source = TD_WANT_PCM, .channels = 3, .rate = 48000 },
		{ .source = TD_WANT_PCM, .channels = 1, .rate = 0 },
		{ .source = TD_WANT_PCM, .channels = 2, .rate = 0x20000000 },
		{ .source = TD_WANT_PCM, .channels = 2, .rate = UINT32_MAX },
		{ .source = TD_WANT_OPUS, .channels = 2, .rate = 48000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char err[64] = "";

		assert_int_equal(wav_writer.check(&bad[i], err, sizeof(err)), TD_ERR_USAGE);
		assert_string_not_equal(err, "");
	}
}

/* Sound and silence in pieces of all sizes, against an array. */
static void random_sequences_read_back(void **state)
{
	enum { MODEL_MAX = 300000 };
	static int16_t model[2 * MODEL_MAX], got[2 * MODEL_MAX];
	uint32_t noise = 1;

	(void)state;
	for (uint32_t run = 0; run < 20; run++) {
		uint32_t channels = 1 + run % 2, at = 0;
		struct out o;
		SF_INFO info;
		SNDFILE *snd;

		memset(model, 0, sizeof(model));
		out_open(&o, "a.wav", channels);
		while (at < MODEL_MAX - 60000) {
			uint32_t n, kind;

			noise = noise * 1664525u + 1013904223u;
			kind = noise >> 29;
			n = (noise >> 8) % (kind % 2 == 0 ? 60000 : 3000);
			if (kind < 4) {
				int16_t *p = model + at * channels;

				for (uint32_t i = 0; i < n * channels; i++)
					p[i] = (int16_t)(noise + i * 7919);
				assert_int_equal(wav_writer.write(o.wav, p, n), 0);
			} else if (kind < 7) {
				assert_int_equal(wav_writer.silence(o.wav, n), 0);
			} else {
				assert_int_equal(wav_writer.refresh(o.wav), 0);
				snd = in_open("a.wav", &info);
				assert_int_equal(info.frames, at);
				sf_close(snd);
				n = 0;
			}
			at += n;
		}
		assert_int_equal(out_close(&o, 0), at);
		snd = in_open("a.wav", &info);
		assert_int_equal(info.frames, at);
		assert_int_equal(sf_readf_short(snd, got, MODEL_MAX), at);
		assert_memory_equal(got, model, at * channels * 2);
		sf_close(snd);
		unlinkat(dir_fd, "a.wav", 0);
	}
}

static void file_without_sound_is_valid(void **state)
{
	struct out o;
	SF_INFO info;

	(void)state;
	out_open(&o, "a.wav", 2);
	assert_int_equal(out_close(&o, 0), 0);
	sf_close(in_open("a.wav", &info));
	assert_int_equal(info.frames, 0);
}

/* What a plain header says is in the file, whatever a lenient reader makes of it. */
static void expect_header_kept(const char *name)
{
	uint8_t h[WAV_DATA_OFFSET];
	uint32_t riff, data;
	struct stat st;
	int fd = openat(dir_fd, name, O_RDONLY);

	assert_int_equal(pread(fd, h, sizeof(h), 0), sizeof(h));
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	assert_memory_equal(h, "RIFF", 4);
	memcpy(&riff, h + 4, 4);
	memcpy(&data, h + WAV_DATA_OFFSET - 4, 4);
	assert_true(riff + 8 <= st.st_size);
	assert_true(WAV_DATA_OFFSET + data <= st.st_size);
	assert_int_equal(riff, data + WAV_DATA_OFFSET - 8);
}

static void header_never_promises_more_than_there_is(void **state)
{
	int16_t pcm[FRAME * 2];
	struct out o;

	(void)state;
	out_open(&o, "a.wav", 2);
	assert_int_equal(outfile_flush(o.file), 0);
	for (int n = 0; n < 200; n++) {
		expect_header_kept("a.wav");
		fill(pcm, 2, n);
		assert_int_equal(wav_writer.write(o.wav, pcm, FRAME), 0);
		if (n % 3 == 0)
			assert_int_equal(wav_writer.silence(o.wav, (uint64_t)n * 300), 0);
		if (n % 7 == 0)
			assert_int_equal(wav_writer.refresh(o.wav), 0);
	}
	out_close(&o, 0);
	expect_header_kept("a.wav");
}

static int run(const char *program, const char *name)
{
	char command[256];

	snprintf(command, sizeof(command),
		"command -v %.20s >/dev/null || exit 77; %s '%s/%s' 2>&1", program, program, dir,
		name);
	return system(command);
}

/* Both say nothing when they are content; a machine without them is no failure. */
static void expect_tools_content(const char *name)
{
	int r = run("ffprobe -v error", name);

	assert_true(r == 0 || WEXITSTATUS(r) == 77);
	r = run("soxi -D", name);
	assert_true(r == 0 || WEXITSTATUS(r) == 77);
}

/* Ends like a kill: nothing is flushed, nothing is closed. */
static void killed_file_is_valid(void **state)
{
	int16_t pcm[FRAME * 2];
	SF_INFO info;
	SNDFILE *snd;
	pid_t pid;
	int status;

	(void)state;
	if ((pid = fork()) == 0) {
		struct out o;

		out_open(&o, "a.wav", 2);
		for (int n = 0; n < 100; n++) {
			fill(pcm, 2, n);
			wav_writer.write(o.wav, pcm, FRAME);
			if (n == 89)
				wav_writer.silence(o.wav, 480000);
			if (n % 30 == 29)
				wav_writer.refresh(o.wav);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	snd = in_open("a.wav", &info);
	assert_int_equal(info.frames, 90 * FRAME + 480000);
	for (int n = 0; n < 90; n++)
		expect_frame(snd, 2, (sf_count_t)n * FRAME, n);
	expect_zeros(snd, 2, 90 * FRAME, info.frames);
	sf_close(snd);
	expect_tools_content("a.wav");
}

/* Hours of silence are neither written nor kept in memory; beyond 4 GiB the header is RF64. */
static void beyond_4_gib(void **state)
{
	const uint64_t gap = UINT64_C(1073700000);
	int16_t pcm[FRAME * 2];
	struct stat st;
	struct out o;
	SF_INFO info;
	SNDFILE *snd;
	pid_t pid;
	int status;

	(void)state;
	out_open(&o, "a.wav", 2);
	fill(pcm, 2, 1);
	assert_int_equal(wav_writer.write(o.wav, pcm, FRAME), 0);
	assert_int_equal(wav_writer.silence(o.wav, gap), 0);
	assert_int_equal(wav_writer.refresh(o.wav), 0);
	snd = in_open("a.wav", &info);
	assert_int_equal(info.format, SF_FORMAT_WAV | SF_FORMAT_PCM_16);
	assert_int_equal(info.frames, gap + FRAME);
	sf_close(snd);
	/* In a child that is killed half way: the header on disk is always one or the other. */
	if ((pid = fork()) == 0) {
		for (int n = 0; n < 100; n++) {
			fill(pcm, 2, n);
			if (wav_writer.write(o.wav, pcm, FRAME) < 0)
				_exit(1);
			if (n % 10 == 9 && wav_writer.refresh(o.wav) < 0)
				_exit(2);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	snd = in_open("a.wav", &info);
	assert_int_equal(info.format & SF_FORMAT_TYPEMASK, SF_FORMAT_RF64);
	assert_int_equal(info.frames, gap + 101 * FRAME);
	expect_frame(snd, 2, 0, 1);
	expect_frame(snd, 2, (sf_count_t)gap + 100 * FRAME, 99);
	sf_close(snd);
	assert_int_equal(fstatat(dir_fd, "a.wav", &st, 0), 0);
	assert_true(st.st_size > INT64_C(4294967296));
	assert_true(st.st_blocks < 4096); /* of 512 bytes: holes */
	status = run("ffprobe -v error", "a.wav");
	assert_true(status == 0 || WEXITSTATUS(status) == 77);
	/* And one step across by silence, closed properly. */
	assert_int_equal(wav_writer.silence(o.wav, 300000000), 0);
	assert_int_equal(out_close(&o, 0), gap + 300000000 + FRAME);
	snd = in_open("a.wav", &info);
	assert_int_equal(info.frames, gap + 300000000 + FRAME);
	sf_close(snd);
}

/* Every byte of both headers, as libsndfile 1.2 writes them. */
static void headers(void **state)
{
	static const uint8_t riff[WAV_DATA_OFFSET] = "RIFF\x68\x0f\0\0WAVE"
						     "fmt \x10\0\0\0\1\0\2\0\x80\xbb\0\0"
						     "\0\xee\2\0\4\0\x10\0JUNK\x3c";
	static const uint8_t rf64[WAV_DATA_OFFSET] =
		"RF64\xff\xff\xff\xff"
		"WAVEds64\x1c\0\0\0\x68\xbc\xa0\x65\1\0\0\0\0\xbc\xa0\x65\1\0\0\0"
		"\0\x5e\xd0\xb2\0\0\0\0\0\0\0\0"
		"fmt \x28\0\0\0\xfe\xff\1\0\x80\xbb\0\0\0\x77\1\0\2\0\x10\0\x16\0\x10\0"
		"\4\0\0\0\1\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
		"PAD \0\0\0\0data\xff\xff\xff\xff";
	uint8_t got[WAV_DATA_OFFSET], want[WAV_DATA_OFFSET];
	struct out o;
	int fd;

	(void)state;
	out_open(&o, "a.wav", 2);
	assert_int_equal(wav_writer.silence(o.wav, FRAME), 0);
	assert_int_equal(out_close(&o, 0), FRAME);
	memcpy(want, riff, sizeof(want));
	memcpy(want + WAV_DATA_OFFSET - 8, "data\0\x0f\0\0", 8);
	fd = openat(dir_fd, "a.wav", O_RDONLY);
	assert_int_equal(pread(fd, got, sizeof(got), 0), sizeof(got));
	assert_memory_equal(got, want, sizeof(want));
	close(fd);
	out_open(&o, "b.wav", 1);
	assert_int_equal(wav_writer.silence(o.wav, 3000000000), 0);
	assert_int_equal(out_close(&o, 0), 3000000000);
	fd = openat(dir_fd, "b.wav", O_RDONLY);
	assert_int_equal(pread(fd, got, sizeof(got), 0), sizeof(got));
	assert_memory_equal(got, rf64, sizeof(got));
	close(fd);
}

/* ---- the file layer under failures ---- */

static size_t disk_left, calls;
static int interrupts;

static ssize_t small_pwrite(int fd, const void *data, size_t len, off_t at)
{
	struct stat st;

	calls++;
	if (interrupts > 0 && calls % 2 == 0) {
		interrupts--;
		errno = EINTR;
		return -1;
	}
	/* Short writes all the time; overwriting needs no room. */
	if (len > 1000)
		len = len / 2 + 1;
	if (fstat(fd, &st) == 0 && (size_t)at + len > (size_t)st.st_size) {
		size_t more = (size_t)at + len - (size_t)st.st_size;

		if (more > disk_left) {
			if (len <= more - disk_left) {
				errno = ENOSPC;
				return -1;
			}
			len -= more - disk_left;
			more = disk_left;
		}
		disk_left -= more;
	}
	return pwrite(fd, data, len, at);
}

static const struct outfile_sys small_disk = { small_pwrite, ftruncate, fsync };

static void short_and_interrupted_writes(void **state)
{
	int16_t pcm[FRAME * 2];
	struct out o;
	SF_INFO info;
	SNDFILE *snd;

	(void)state;
	disk_left = SIZE_MAX / 2;
	interrupts = 1000;
	outfile_test_sys(&small_disk);
	out_open(&o, "a.wav", 2);
	for (int n = 0; n < 100; n++) {
		fill(pcm, 2, n);
		assert_int_equal(wav_writer.write(o.wav, pcm, FRAME), 0);
	}
	assert_int_equal(out_close(&o, 0), 100 * FRAME);
	snd = in_open("a.wav", &info);
	assert_int_equal(info.frames, 100 * FRAME);
	for (int n = 0; n < 100; n++)
		expect_frame(snd, 2, (sf_count_t)n * FRAME, n);
	sf_close(snd);
	assert_true(interrupts < 1000);
}

/* The disk takes so many bytes and no more: what it took is a valid file. */
static void disk_full(void **state)
{
	int16_t pcm[FRAME * 2];

	(void)state;
	outfile_test_sys(&small_disk);
	for (size_t room = WAV_DATA_OFFSET; room < 500000; room += 49999) {
		struct out o;
		SF_INFO info;
		SNDFILE *snd;
		int r = 0, n;

		disk_left = room;
		out_open(&o, "a.wav", 2);
		for (n = 0; n < 1000 && r == 0; n++) {
			fill(pcm, 2, n);
			r = wav_writer.write(o.wav, pcm, FRAME);
		}
		assert_int_equal(r, TD_ERR_IO);
		assert_int_equal(outfile_errno(o.file), ENOSPC);
		/* it stays that way, also when there is room again */
		disk_left = SIZE_MAX / 2;
		assert_int_equal(wav_writer.write(o.wav, pcm, FRAME), TD_ERR_IO);
		assert_int_equal(wav_writer.silence(o.wav, 10), TD_ERR_IO);
		assert_int_equal(wav_writer.refresh(o.wav), TD_ERR_IO);
		assert_int_equal(out_close(&o, TD_ERR_IO), (room - WAV_DATA_OFFSET) / 4);
		snd = in_open("a.wav", &info);
		assert_int_equal(info.frames, (room - WAV_DATA_OFFSET) / 4);
		expect_header_kept("a.wav");
		for (int k = 0; (k + 1) * FRAME <= info.frames; k++)
			expect_frame(snd, 2, (sf_count_t)k * FRAME, k);
		sf_close(snd);
		unlinkat(dir_fd, "a.wav", 0);
	}
}

static void disk_full_at_open(void **state)
{
	const struct td_writer_conf conf = { .size = sizeof(conf),
		.source = TD_WANT_PCM,
		.channels = 2,
		.rate = 48000 };
	struct outfile *f;
	struct td_output output;
	void *wav = NULL;

	(void)state;
	disk_left = 50;
	outfile_test_sys(&small_disk);
	assert_int_equal(outfile_create(&f, dir_fd, "a.wav"), 0);
	output = outfile_output(f);
	/* buffered: the file layer notices when it is flushed */
	if (wav_writer.open(&wav, &output, &conf) == 0) {
		uint64_t samples = 1;

		assert_int_equal(outfile_flush(f), TD_ERR_IO);
		assert_true(wav_writer.close(wav, &samples) < 0);
		assert_int_equal(samples, 0);
	}
	outfile_free(f);
}

/* A limit of the real kernel, in a child of its own. */
static void file_size_limit(void **state)
{
	int16_t pcm[FRAME * 2];
	SF_INFO info;
	SNDFILE *snd;
	pid_t pid;
	int status;

	(void)state;
	if ((pid = fork()) == 0) {
		const struct rlimit limit = { 300001, 300001 };
		uint64_t samples;
		struct out o;
		int r = 0;

		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		out_open(&o, "a.wav", 1);
		for (int n = 0; n < 1000 && r == 0; n++) {
			fill(pcm, 1, n);
			r = wav_writer.write(o.wav, pcm, FRAME);
		}
		if (r != TD_ERR_IO || outfile_errno(o.file) != EFBIG)
			_exit(1);
		if (wav_writer.close(o.wav, &samples) != TD_ERR_IO)
			_exit(2);
		_exit(samples == (300001 - WAV_DATA_OFFSET) / 2 ? 0 : 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	snd = in_open("a.wav", &info);
	assert_int_equal(info.frames, (300001 - WAV_DATA_OFFSET) / 2);
	expect_frame(snd, 1, 100 * FRAME, 100);
	sf_close(snd);
}

static int failing_fsync(int fd)
{
	(void)fd;
	errno = EIO;
	return -1;
}

static int failing_ftruncate(int fd, off_t len)
{
	(void)fd;
	(void)len;
	errno = EIO;
	return -1;
}

static void failed_sync_and_hole_are_told(void **state)
{
	static const struct outfile_sys sys = { pwrite, failing_ftruncate, failing_fsync };
	struct outfile *f;

	(void)state;
	outfile_test_sys(&sys);
	assert_int_equal(outfile_create(&f, dir_fd, "a.wav"), 0);
	assert_int_equal(outfile_append(f, "abc", 3), 0);
	assert_int_equal(outfile_sync(f), TD_ERR_IO);
	assert_int_equal(outfile_errno(f), EIO);
	outfile_free(f);
	assert_int_equal(outfile_create(&f, dir_fd, "b.wav"), 0);
	assert_int_equal(outfile_append(f, "abc", 3), 0);
	assert_int_equal(outfile_zeros(f, 1 << 20), 0);
	assert_int_equal(outfile_length(f), 3 + (1 << 20));
	assert_int_equal(outfile_flush(f), TD_ERR_IO);
	assert_int_equal(outfile_length(f), 3);
	outfile_free(f);
}

static void names_are_taken_once(void **state)
{
	struct outfile *f, *g;
	mode_t mask = umask(0);
	struct stat st;

	(void)state;
	assert_int_equal(outfile_create(&f, dir_fd, "a.wav"), 0);
	umask(0777);
	assert_int_equal(outfile_create(&g, dir_fd, "b.wav"), 0);
	umask(mask);
	assert_int_equal(fstatat(dir_fd, "a.wav", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(fstatat(dir_fd, "b.wav", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	outfile_free(g);
	assert_int_equal(outfile_create(&g, dir_fd, "a.wav"), TD_ERR_IO);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(symlinkat("c.wav", dir_fd, "link"), 0);
	assert_int_equal(outfile_create(&g, dir_fd, "link"), TD_ERR_IO);
	assert_int_equal(outfile_rename(dir_fd, "a.wav", "b.wav"), TD_ERR_IO);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(outfile_rename(dir_fd, "a.wav", "c.wav"), 0);
	assert_int_equal(outfile_append(f, "x", 1), 0);
	assert_int_equal(outfile_flush(f), 0);
	assert_int_equal(fstatat(dir_fd, "c.wav", &st, 0), 0);
	assert_int_equal(st.st_size, 1);
	outfile_free(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sound_and_silence_read_back),
		TEST(random_sequences_read_back),
		TEST(rates_as_asked),
		TEST(check_says_what_it_takes),
		TEST(file_without_sound_is_valid),
		TEST(header_never_promises_more_than_there_is),
		TEST(killed_file_is_valid),
		TEST(beyond_4_gib),
		TEST(headers),
		TEST(short_and_interrupted_writes),
		TEST(disk_full),
		TEST(disk_full_at_open),
		TEST(file_size_limit),
		TEST(failed_sync_and_hole_are_told),
		TEST(names_are_taken_once),
	};

	return cmocka_run_group_tests_name("wav", tests, NULL, NULL);
}
