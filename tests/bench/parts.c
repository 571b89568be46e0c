/* SPDX-License-Identifier: ISC */
/*
 * What end-to-end encryption costs, in CPU time of this process: joining a large call and following
 * it, and opening a packet. A line of JSON for each on stdout, as bench reads them.
 */
#include <opus.h>
#include <sodium.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/dave_ratchet.h"
#include "common/err.h"
#include "tests/bench/bench.h"
#include "unpacker/dave_stage.h"

double bench_cpu_ns(void)
{
	struct timespec t;

	BENCH_MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(const struct bench_row *r)
{
	double sorted[BENCH_RUNS];

	memcpy(sorted, r->run, sizeof(sorted));
	qsort(sorted, BENCH_RUNS, sizeof(sorted[0]), compare);
	return sorted[BENCH_RUNS / 2];
}

/* ---- packets ---- */

enum { PACKETS = 20000, DECODES = 2000, MEDIA_LEN = 160, FRAME_SAMPLES = 960, BITRATE = 64000 };
static const uint64_t user = 42;

struct packets {
	uint8_t media[DECODES][MEDIA_LEN];
	uint8_t sealed[PACKETS][MEDIA_LEN + DAVE_FRAME_MAX_TRAILER];
	size_t len[PACKETS];
};

static struct bench_row stage = { .name = "dave_stage",
	.what = "open a frame of 160 bytes in the DAVE stage",
	.unit = "ns",
	.target = 1000 };
static struct bench_row decode = { .name = "opus_decode",
	.what = "decode it: 20 ms of stereo, Opus, 64 kbit/s",
	.unit = "ns" };

/* A chord with some noise on it, at a rate that makes packets of exactly MEDIA_LEN. */
static void encode(struct packets *p)
{
	OpusEncoder *e = opus_encoder_create(TD_RATE, 2, OPUS_APPLICATION_AUDIO, NULL);
	int16_t pcm[2 * FRAME_SAMPLES];
	uint32_t phase[4] = { 0 }, noise = 1;
	size_t i, k;

	BENCH_MUST(e != NULL && opus_encoder_ctl(e, OPUS_SET_VBR(0)) == OPUS_OK);
	BENCH_MUST(opus_encoder_ctl(e, OPUS_SET_BITRATE(BITRATE)) == OPUS_OK);
	for (i = 0; i < DECODES; i++) {
		for (k = 0; k < FRAME_SAMPLES; k++) {
			noise = noise * 1664525 + 1013904223;
			phase[0] += 19685267; /* 220 Hz in 2^32 a turn */
			phase[1] += 24838057;
			pcm[2 * k] = (int16_t)(((int32_t)phase[0] >> 18) + (noise >> 21));
			pcm[2 * k + 1] = (int16_t)(((int32_t)phase[1] >> 18) - (noise >> 21));
		}
		BENCH_MUST(opus_encode(e, pcm, FRAME_SAMPLES, p->media[i], MEDIA_LEN) == MEDIA_LEN);
	}
	opus_encoder_destroy(e);
}

static void seal(struct packets *p, const uint8_t secret[static DAVE_RATCHET_BASE_LEN])
{
	uint8_t key[DAVE_FRAME_KEY_LEN];
	struct dave_frame_key *k;
	uint32_t i;

	dave_ratchet_key(key, secret, 0, 0);
	BENCH_MUST(dave_frame_key_new(&k, key) == TD_OK);
	for (i = 0; i < PACKETS; i++)
		BENCH_MUST(dave_frame_seal(k, p->sealed[i], &p->len[i], p->media[i % DECODES],
				   MEDIA_LEN, i, NULL, 0) == TD_OK);
	dave_frame_key_free(k);
}

static double open_all(const struct packets *p, const struct ipc_dave_sender *sender)
{
	static struct dave_stage d;
	static uint8_t plain[IPC_MAX_DGRAM];
	const struct ipc_dave_epoch e = { .at_ns = TD_REPLAY_BASE_NS, .epoch = 1 };
	enum dave_verdict v;
	double begin = 0;
	size_t i;

	dave_stage_init(&d, 100 * TD_MS_NS, plain);
	BENCH_MUST(dave_stage_epoch(&d, &e, (const uint8_t *)sender, 1) == TD_OK);
	for (i = 0; i < PACKETS; i++) {
		if (i == 1)
			begin = bench_cpu_ns(); /* the first one derived the key */
		BENCH_MUST(dave_stage_open(&d, &v, user, p->sealed[i], p->len[i],
				   e.at_ns + i * 20 * TD_MS_NS, 0) == TD_OK);
		BENCH_MUST(v == DAVE_STAGE_OPENED && d.frame.media_len == MEDIA_LEN);
	}
	begin = (bench_cpu_ns() - begin) / (PACKETS - 1);
	BENCH_MUST(memcmp(d.plain, p->media[(PACKETS - 1) % DECODES], MEDIA_LEN) == 0);
	dave_stage_reset(&d);
	return begin;
}

static double decode_all(const struct packets *p)
{
	OpusDecoder *o = opus_decoder_create(TD_RATE, 2, NULL);
	int16_t pcm[2 * FRAME_SAMPLES];
	double begin;
	size_t i;

	BENCH_MUST(o != NULL);
	begin = bench_cpu_ns();
	for (i = 0; i < DECODES; i++)
		BENCH_MUST(opus_decode(o, p->media[i], MEDIA_LEN, pcm, FRAME_SAMPLES, 0) ==
			FRAME_SAMPLES);
	begin = (bench_cpu_ns() - begin) / DECODES;
	opus_decoder_destroy(o);
	return begin;
}

static void bench_packets(void)
{
	struct ipc_dave_sender sender = { .user_id = user, .secret = "a base secret.." };
	struct packets *p = calloc(1, sizeof(*p));
	int run;

	BENCH_MUST(p != NULL);
	encode(p);
	seal(p, sender.secret);
	for (run = 0; run < BENCH_RUNS; run++) {
		stage.run[run] = open_all(p, &sender);
		decode.run[run] = decode_all(p);
	}
	free(p);
}

/* ---- the report ---- */

static void print_row(const struct bench_row *r)
{
	int i;

	printf("{\"name\": \"%s\", \"what\": \"%s\", \"unit\": \"%s\", \"value\": %.4f", r->name,
		r->what, r->unit, median(r));
	if (r->target > 0)
		printf(", \"target\": %g", r->target);
	printf(", \"runs\": [");
	for (i = 0; i < BENCH_RUNS; i++)
		printf("%s%.4f", i > 0 ? ", " : "", r->run[i]);
	printf("]}\n");
}

int main(void)
{
	static const struct bench_row *const rows[] = { &bench_join, &bench_answer, &bench_follow,
		&stage, &decode };
	size_t i;

	BENCH_MUST(sodium_init() >= 0);
	bench_packets();
	bench_call();
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		print_row(rows[i]);
	return 0;
}
