/* SPDX-License-Identifier: ISC */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/bytes.h"
#include "common/opus_packet.h"
#include "sinks/opus_writer.h"
#include "tests/unit/ogg_read.h"

/*
 * Packets, silences and refreshes into the Opus writer, over an output that fails when the input
 * says so; what comes out is taken apart again. One bit of the first byte: sound to be encoded
 * instead of packets.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OPS_MAX = 400, PCM_OPS_MAX = 30, PCM_MAX = 1500, SILENCE_MAX = 48000 * 3 };

struct expected {
	const uint8_t *data;
	uint32_t len;
	uint64_t at; /* its true position */
};

struct fuzz {
	struct rd r;
	struct td_writer_conf conf;
	struct mem mem;
	void *writer;
	struct expected packets[OPS_MAX];
	size_t count;
	uint64_t given; /* samples at conf.rate */
	bool failed;
};

static void fuzz_packet(struct fuzz *f)
{
	uint32_t lost = rd_u16(&f->r), len = rd_u16(&f->r) % 2048, lie = rd_u8(&f->r);
	const uint8_t *data;
	struct td_packet p = { .size = sizeof(p), .lost = lost, .len = len };
	int samples, r;

	if (len > rd_left(&f->r))
		len = p.len = (uint32_t)rd_left(&f->r);
	p.data = data = rd_bytes(&f->r, len);
	samples = opus_packet_samples(data, len);
	p.samples = samples > 0 && lie < 250 ? (uint32_t)samples : lie;
	r = opus_writer.packet(f->writer, &p);
	if (f->failed || f->mem.failed) {
		READ_CHECK(r < 0 || !f->failed);
		f->failed = r < 0;
		return;
	}
	READ_CHECK(
		r == (samples > 0 && (uint32_t)samples == p.samples ? 0 : TD_SINK_ERR_UNSUPPORTED));
	if (r < 0)
		return;
	f->packets[f->count++] = (struct expected){ data, len, f->given };
	f->given += p.samples;
}

static void fuzz_pcm(struct fuzz *f)
{
	static int16_t pcm[PCM_MAX * 2];
	uint32_t samples = rd_u16(&f->r) % PCM_MAX, step = rd_u8(&f->r);

	for (uint32_t i = 0; i < samples * f->conf.channels; i++)
		pcm[i] = (int16_t)(i * step * 259u);
	f->failed |= opus_writer.write(f->writer, pcm, samples) < 0;
	f->given += samples;
}

static void fuzz_silence(struct fuzz *f, uint8_t op)
{
	uint64_t n = op == 1 ? rd_u32(&f->r) % SILENCE_MAX
		: op & 1     ? rd_u16(&f->r) % 6000
			     : rd_u8(&f->r);

	f->failed |= opus_writer.silence(f->writer, n) < 0;
	f->given += n;
}

/* The packets that were put in are there, in order, at their places. */
static void check_packets(const struct fuzz *f, const struct read_file *file)
{
	size_t next = 0;

	for (size_t i = 0; i < file->count && next < f->count; i++) {
		const struct expected *e = &f->packets[next];
		int64_t off = file->packets[i].position + file->pre_skip - (int64_t)e->at;

		/* What looks like a filler may be one: it is only there when its time has come. */
		if (file->packets[i].len != e->len || off < -60 || off > 60 ||
			memcmp(read_data(file, i), e->data, e->len) != 0)
			continue;
		next++;
	}
	READ_CHECK(next == f->count);
}

static void check_file(struct fuzz *f, int r, uint64_t samples)
{
	struct read_file file = read_mem(&f->mem);
	uint32_t per = 48000 / f->conf.rate;

	READ_CHECK(file.longest_page <= 48000);
	READ_CHECK(file.length / per == samples);
	READ_CHECK(file.eos == (file.pages > 0));
	READ_CHECK((r < 0) == f->mem.failed);
	if (r == 0) {
		uint64_t want = f->given;

		if (f->conf.source == TD_WANT_OPUS) {
			want = want > file.pre_skip ? want - file.pre_skip : 0;
			check_packets(f, &file);
		}
		READ_CHECK(samples == want);
	}
	read_free(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t rates[] = { 8000, 12000, 16000, 24000, 48000 };
	static const char *options[] = { "bitrate", "", NULL };
	static struct fuzz f;
	struct td_output out = mem_output(&f.mem);
	uint64_t samples = UINT64_MAX;
	char title[9] = "";
	uint8_t setup, more;
	int r, most;

	rd_init(&f.r, data, size);
	setup = rd_u8(&f.r);
	more = rd_u8(&f.r);
	rd_copy(&f.r, title, 8);
	f.conf = (struct td_writer_conf){
		.size = sizeof(f.conf),
		.source = setup & 1 ? TD_WANT_PCM : TD_WANT_OPUS,
		.channels = 1 + (setup >> 1 & 1),
		.rate = setup & 1 ? rates[more % 5] : 48000,
		.preroll = setup & 4 && (setup & 1) == 0 ? more * 120u : 0,
		.title = title,
		.options = options,
	};
	if (setup & 8)
		f.mem.room = (size_t)rd_u16(&f.r);
	if (setup & 16)
		f.mem.block = 1 + more * 16u;
	f.count = 0;
	f.given = f.conf.source == TD_WANT_OPUS && f.conf.preroll == 0 ? 480 : 0;
	f.failed = false;
	if ((r = opus_writer.open(&f.writer, &out, &f.conf)) < 0) {
		READ_CHECK(f.mem.failed);
		free(f.mem.data);
		return 0;
	}
	/* encoding takes its time */
	most = f.conf.source == TD_WANT_OPUS ? OPS_MAX : PCM_OPS_MAX;
	for (int n = 0; n < most && rd_left(&f.r) > 0; n++) {
		uint8_t op = rd_u8(&f.r);

		if (op < 64)
			fuzz_silence(&f, op);
		else if (op < 96)
			f.failed |= opus_writer.refresh(f.writer) < 0;
		else if (f.conf.source == TD_WANT_OPUS)
			fuzz_packet(&f);
		else
			fuzz_pcm(&f);
	}
	r = opus_writer.close(f.writer, &samples);
	check_file(&f, r, samples);
	free(f.mem.data);
	return 0;
}
