/* SPDX-License-Identifier: ISC */
/*
 * What tapedeck costs beside the libraries it is made of. Programs are run as a user would run
 * them, one after the other, every one of them once a round; what counts is the CPU time of a
 * program and all that it started, from its start to its end. So the floor pays for its start and
 * for reading the capture as the receiver does, and whatever disturbs a round disturbs both.
 *
 * Nothing here fails for being slow: a busy machine is no bug. A target that is missed is said.
 */
#include <fcntl.h>
#include <fnmatch.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <opus.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/process.h"

enum { MAX_RUNS = 101, MAX_ARGS = 32, MAX_TEXT = 512, MAX_CPUS = 64 };
enum { MEMORY_AFTER_US = 2500000, FEW = 10, MANY = 200 }; /* speakers */
enum { WRITE_BUFFER = 64 * 1024 }; /* of a track's file: see sinks/outfile.c */

static struct {
	const char *build, *json, *work, *rows;
	unsigned runs;
} o = { .build = "build",
	.json = "build/bench.json",
	.work = "build/bench",
	.rows = "*",
	.runs = 5 };

/* ---- the calls that are replayed: bench_workload's options ---- */

struct load {
	const char *name, *speakers, *seconds, *coded, *mode, *more[2];
	size_t packets; /* 0: not made yet */
};
#define GCM "aead_aes256_gcm_rtpsize"
#define XCHACHA "aead_xchacha20_poly1305_rtpsize"

static struct load loads[] = {
	{ "tiny", "1", "1", "stereo", GCM, { 0 }, 0 },
	{ "1", "1", "500", "stereo", GCM, { 0 }, 0 },
	{ "10", "10", "50", "stereo", GCM, { 0 }, 0 },
	{ "100", "100", "5", "stereo", GCM, { 0 }, 0 },
	{ "1000", "1000", "2", "stereo", GCM, { 0 }, 0 },
	{ "mono", "10", "50", "mono", GCM, { 0 }, 0 },
	{ "xchacha", "10", "50", "stereo", XCHACHA, { 0 }, 0 },
	{ "dave", "10", "50", "stereo", GCM, { "--dave" }, 0 },
	{ "dave-xchacha", "10", "50", "stereo", XCHACHA, { "--dave" }, 0 },
	{ "pauses", "10", "75", "stereo", GCM, { "--pauses" }, 0 },
	{ "mp3", "10", "10", "stereo", GCM, { 0 }, 0 },
	/* For what costs next to nothing a packet. */
	{ "long", "10", "600", "stereo", GCM, { 0 }, 0 },
	{ "long-none", "10", "600", "stereo", "none", { 0 }, 0 },
	{ "long-xchacha", "10", "600", "stereo", XCHACHA, { 0 }, 0 },
	{ "long-dave", "10", "600", "stereo", GCM, { "--dave" }, 0 },
	/* For the memory of FEW and of MANY. */
	{ "few", "10", "4", "stereo", GCM, { 0 }, 0 },
	{ "many", "200", "4", "stereo", GCM, { 0 }, 0 },
	/* For convert: what one speaker left behind. */
	{ "pcm", "1", "60", "stereo", GCM, { 0 }, 0 },
	{ "mid-pcm", "1", "240", "stereo", GCM, { 0 }, 0 },
	{ "long-pcm", "1", "1200", "stereo", GCM, { 0 }, 0 },
};

/* ---- what is run ---- */

enum kind {
	FLOOR,    /* bench_floor; arg: CHANNELS and TO */
	RECEIVER, /* arg: its sink */
	LANE,     /* one on a CPU of its own */
	LANES,    /* one for every CPU, all at once */
	MEMORY,   /* at the speed of the capture: what it has after a while; arg: its sink */
	COPY,     /* cp */
	ENCODER,  /* bench_encode; arg: the format */
	CONVERT,  /* arg: the format */
};

struct measure {
	const char *name;
	enum kind kind;
	const char *load, *arg;
	bool needed;
	double packets;
	double cpu_us[MAX_RUNS], wall_us[MAX_RUNS];
	double loop_us[MAX_RUNS]; /* FLOOR: without its start */
	double bytes[MAX_RUNS];   /* MEMORY */
};

static struct measure measures[] = {
	{ .name = "start", .kind = RECEIVER, .load = "tiny", .arg = "null:nothing" },
	{ .name = "floor 1", .kind = FLOOR, .load = "1", .arg = "2 wav" },
	{ .name = "wav 1", .kind = RECEIVER, .load = "1", .arg = "file" },
	{ .name = "floor 10", .kind = FLOOR, .load = "10", .arg = "2 wav" },
	{ .name = "wav 10", .kind = RECEIVER, .load = "10", .arg = "file" },
	{ .name = "floor 100", .kind = FLOOR, .load = "100", .arg = "2 wav" },
	{ .name = "wav 100", .kind = RECEIVER, .load = "100", .arg = "file" },
	{ .name = "floor 1000", .kind = FLOOR, .load = "1000", .arg = "2 wav" },
	{ .name = "wav 1000", .kind = RECEIVER, .load = "1000", .arg = "file" },
	{ .name = "floor to mono", .kind = FLOOR, .load = "10", .arg = "1 wav" },
	{ .name = "wav to mono", .kind = RECEIVER, .load = "10", .arg = "file:channels=1" },
	{ .name = "floor mono", .kind = FLOOR, .load = "mono", .arg = "1 wav" },
	{ .name = "wav mono", .kind = RECEIVER, .load = "mono", .arg = "file" },
	{ .name = "wav mono to mono", .kind = RECEIVER, .load = "mono", .arg = "file:channels=1" },
	{ .name = "floor xchacha", .kind = FLOOR, .load = "xchacha", .arg = "2 wav" },
	{ .name = "wav xchacha", .kind = RECEIVER, .load = "xchacha", .arg = "file" },
	{ .name = "floor dave", .kind = FLOOR, .load = "dave", .arg = "2 wav" },
	{ .name = "wav dave", .kind = RECEIVER, .load = "dave", .arg = "file" },
	{ .name = "floor dave-xchacha", .kind = FLOOR, .load = "dave-xchacha", .arg = "2 wav" },
	{ .name = "wav dave-xchacha", .kind = RECEIVER, .load = "dave-xchacha", .arg = "file" },
	{ .name = "floor pauses", .kind = FLOOR, .load = "pauses", .arg = "2 wav" },
	{ .name = "wav pauses", .kind = RECEIVER, .load = "pauses", .arg = "file" },
	{ .name = "floor mp3", .kind = FLOOR, .load = "mp3", .arg = "2 mp3" },
	{ .name = "mp3", .kind = RECEIVER, .load = "mp3", .arg = "file:format=mp3" },
	{ .name = "opus", .kind = RECEIVER, .load = "long", .arg = "file:format=opus" },
	{ .name = "opus dave", .kind = RECEIVER, .load = "long-dave", .arg = "file:format=opus" },
	{ .name = "one lane", .kind = LANE, .load = "10", .arg = "file" },
	{ .name = "all lanes", .kind = LANES, .load = "10", .arg = "file" },
	{ .name = "few", .kind = MEMORY, .load = "few", .arg = "file" },
	{ .name = "many", .kind = MEMORY, .load = "many", .arg = "file" },
	{ .name = "sound", .kind = RECEIVER, .load = "10", .arg = "null:sound" },
	{ .name = "packets", .kind = RECEIVER, .load = "long", .arg = "null:packets" },
	{ .name = "nothing", .kind = RECEIVER, .load = "long", .arg = "null:nothing" },
	{ .name = "nothing none", .kind = RECEIVER, .load = "long-none", .arg = "null:nothing" },
	{ .name = "nothing xchacha",
		.kind = RECEIVER,
		.load = "long-xchacha",
		.arg = "null:nothing" },
	{ .name = "nothing dave", .kind = RECEIVER, .load = "long-dave", .arg = "null:nothing" },
	{ .name = "cp", .kind = COPY, .load = "long-pcm" },
	{ .name = "convert wav", .kind = CONVERT, .load = "long-pcm", .arg = "wav" },
	{ .name = "encode flac", .kind = ENCODER, .load = "mid-pcm", .arg = "flac" },
	{ .name = "convert flac", .kind = CONVERT, .load = "mid-pcm", .arg = "flac" },
	{ .name = "encode mp3", .kind = ENCODER, .load = "pcm", .arg = "mp3" },
	{ .name = "convert mp3", .kind = CONVERT, .load = "pcm", .arg = "mp3" },
	{ .name = "encode opus", .kind = ENCODER, .load = "pcm", .arg = "opus" },
	{ .name = "convert opus", .kind = CONVERT, .load = "pcm", .arg = "opus" },
};

/* ---- what is said of it ---- */

enum row_kind {
	RATIO,    /* CPU time a packet of a to that of b */
	COST,     /* CPU time a packet of a */
	STAGE,    /* CPU time a packet of a, without its start, less that of b and c */
	START,    /* CPU time of a, in ms */
	WALL,     /* time of a to that of b */
	SPEED,    /* time of b to that of a: at least the target */
	CPU_EACH, /* CPU time of b to that of a for each CPU: at least the target */
	PER_SPEAKER,
};

struct row {
	const char *name, *what;
	enum row_kind kind;
	const char *a, *b, *c;
	double target; /* 0: none */
};

static const struct row rows[] = {
	{ "wav", "replay -> wav, stereo", RATIO, "wav 10", "floor 10", NULL, 1.02 },
	{ "wav_channels1", "replay -> wav, channels=1", RATIO, "wav to mono", "floor to mono", NULL,
		1.02 },
	{ "wav_mono", "mono packets -> wav, beside the mono floor", RATIO, "wav mono", "floor mono",
		NULL, 1.02 },
	{ "wav_mono_channels1", "mono packets -> wav, channels=1", RATIO, "wav mono to mono",
		"floor mono", NULL, 1.02 },
	{ "wav_xchacha", "replay -> wav, XChaCha20", RATIO, "wav xchacha", "floor xchacha", NULL,
		1.02 },
	{ "wav_dave", "replay -> wav, DAVE", RATIO, "wav dave", "floor dave", NULL, 1.02 },
	{ "wav_dave_xchacha", "replay -> wav, DAVE, XChaCha20", RATIO, "wav dave-xchacha",
		"floor dave-xchacha", NULL, 1.02 },
	{ "wav_pauses", "replay -> wav, with pauses", RATIO, "wav pauses", "floor pauses", NULL,
		1.02 },
	{ "wav_speakers1", "replay -> wav, 1 speaker", RATIO, "wav 1", "floor 1", NULL, 1.02 },
	{ "wav_speakers100", "replay -> wav, 100 speakers", RATIO, "wav 100", "floor 100", NULL,
		1.02 },
	{ "wav_speakers1000", "replay -> wav, 1000 speakers", RATIO, "wav 1000", "floor 1000", NULL,
		1.02 },
	{ "speakers", "a packet of 1000 speakers / of 10", RATIO, "wav 1000", "wav 10", NULL,
		1.10 },
	{ "speakers_floor", "the same of the floor", RATIO, "floor 1000", "floor 10", NULL, 0 },
	{ "opus", "replay -> opus", COST, "opus", NULL, NULL, 1.0 },
	{ "opus_dave", "replay -> opus, DAVE", COST, "opus dave", NULL, NULL, 0 },
	{ "mp3", "replay -> mp3, beside floor + LAME", RATIO, "mp3", "floor mp3", NULL, 1.04 },
	{ "lanes", "speed of every CPU's lane / one alone", SPEED, "all lanes", "one lane", NULL,
		0.95 },
	{ "lanes_cpu", "the same in CPU time", CPU_EACH, "all lanes", "one lane", NULL, 0.95 },
	{ "memory", "memory of a speaker -> wav, buffer apart", PER_SPEAKER, "many", "few", NULL,
		64 },
	{ "convert_wav", "convert pcm -> wav, beside cp", RATIO, "convert wav", "cp", NULL, 1.2 },
	{ "convert_wav_wall", "the same in time", WALL, "convert wav", "cp", NULL, 1.2 },
	{ "convert_flac", "convert pcm -> flac, beside libFLAC", RATIO, "convert flac",
		"encode flac", NULL, 1.05 },
	{ "convert_mp3", "convert pcm -> mp3, beside LAME", RATIO, "convert mp3", "encode mp3",
		NULL, 1.05 },
	{ "convert_opus", "convert pcm -> opus, beside libopus", RATIO, "convert opus",
		"encode opus", NULL, 1.05 },
	{ "stage_carry", "stage: read, carry, put in order", STAGE, "nothing none", NULL, NULL, 0 },
	{ "stage_open", "stage: open AES-256-GCM", STAGE, "nothing", "nothing none", NULL, 0 },
	{ "stage_open_xchacha", "stage: open XChaCha20-Poly1305", STAGE, "nothing xchacha",
		"nothing none", NULL, 0 },
	{ "stage_dave", "stage: open DAVE", STAGE, "nothing dave", "nothing", NULL, 0 },
	{ "stage_decode", "stage: decode, stereo, and carry the sound back", STAGE, "sound",
		"nothing", NULL, 0 },
	{ "stage_wav", "stage: place and write wav", STAGE, "wav 10", "sound", NULL, 0 },
	{ "stage_packets", "stage: carry packets back", STAGE, "packets", "nothing", NULL, 0 },
	{ "stage_ogg", "stage: place and write Ogg", STAGE, "opus", "packets", NULL, 0 },
	{ "start", "start and end of the receiver", START, "start", NULL, NULL, 0 },
};

enum {
	LOADS = sizeof(loads) / sizeof(loads[0]),
	MEASURES = sizeof(measures) / sizeof(measures[0]),
	ROWS = sizeof(rows) / sizeof(rows[0]),
};

static struct load *load_named(const char *name)
{
	size_t i;

	for (i = 0; i < LOADS && strcmp(loads[i].name, name) != 0; i++)
		;
	BENCH_MUST(i < LOADS);
	return &loads[i];
}

static struct measure *measure_named(const char *name)
{
	size_t i;

	for (i = 0; i < MEASURES && strcmp(measures[i].name, name) != 0; i++)
		;
	BENCH_MUST(i < MEASURES);
	return &measures[i];
}

/* Whether --rows has a pattern that this matches. */
static bool wanted(const char *name)
{
	char copy[MAX_TEXT], *word, *rest = copy;

	snprintf(copy, sizeof(copy), "%s", o.rows);
	while ((word = strsep(&rest, " ,")) != NULL)
		if (fnmatch(word, name, 0) == 0)
			return true;
	return false;
}

/* ---- commands ---- */

struct command {
	char *argv[MAX_ARGS + 1];
	size_t n;
};

__attribute__((format(printf, 2, 3))) static void arg(struct command *c, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	BENCH_MUST(c->n < MAX_ARGS && vasprintf(&c->argv[c->n++], format, ap) >= 0);
	va_end(ap);
}

static void command_clear(struct command *c)
{
	while (c->n > 0)
		free(c->argv[--c->n]);
	memset(c, 0, sizeof(*c));
}

/* The folder that programs write to, empty. What was in it stays until the end, without its bytes:
 * ext4 without a journal looks at every inode that was freed in the last minutes whenever it needs
 * one, and a program would pay for what others left behind. */
static void out_renew(void)
{
	char path[MAX_TEXT], was[MAX_TEXT];
	static unsigned n;

	snprintf(path, sizeof(path), "%s/out", o.work);
	snprintf(was, sizeof(was), "%s/was.%u", o.work, n++);
	if (access(path, F_OK) == 0) {
		empty_folder(path);
		BENCH_MUST(rename(path, was) == 0);
	}
	BENCH_MUST(mkdir(path, 0700) == 0);
}

static void receiver(struct command *c, const struct measure *m, unsigned n)
{
	arg(c, "%s/receiver", o.build);
	arg(c, "--quiet");
	arg(c, "--replay");
	arg(c, "%s/%s.pcap", o.work, m->load);
	arg(c, "--keys");
	arg(c, "%s/%s.json", o.work, m->load);
	arg(c, "--out");
	arg(c, "%s/out", o.work);
	arg(c, "--session-name");
	arg(c, "s%u", n);
	arg(c, "--sink");
	if (strncmp(m->arg, "null:", 5) == 0)
		arg(c, "%s%s/tests/bench_null.so:want=%s", o.build[0] == '/' ? "" : "./", o.build,
			m->arg + 5);
	else
		arg(c, "%s", m->arg);
	if (m->kind == LANE || m->kind == LANES) {
		arg(c, "--workers");
		arg(c, "1");
	}
	if (m->kind == MEMORY)
		arg(c, "--realtime");
}

static void build_command(struct command *c, const struct measure *m)
{
	switch (m->kind) {
	case FLOOR:
		arg(c, "%s/tests/bench_floor", o.build);
		arg(c, "--pcap");
		arg(c, "%s/%s.pcap", o.work, m->load);
		arg(c, "--keys");
		arg(c, "%s/%s.json", o.work, m->load);
		arg(c, "--channels");
		arg(c, "%c", m->arg[0]);
		arg(c, "--to");
		arg(c, "%s", m->arg + 2);
		arg(c, "--out");
		arg(c, "%s/out", o.work);
		break;
	case RECEIVER:
	case LANE:
	case LANES:
	case MEMORY:
		receiver(c, m, 0);
		break;
	case COPY:
		arg(c, "cp");
		arg(c, "%s/%s.pcm", o.work, m->load);
		arg(c, "%s/out/copy", o.work);
		break;
	case ENCODER:
		arg(c, "%s/tests/bench_encode", o.build);
		arg(c, "%s", m->arg);
		arg(c, "%s/%s.pcm", o.work, m->load);
		arg(c, "%s/out/%s", o.work, m->arg);
		break;
	case CONVERT:
		arg(c, "%s/convert", o.build);
		arg(c, "--quiet");
		arg(c, "-f");
		arg(c, "%s", m->arg);
		arg(c, "-o");
		arg(c, "%s/out", o.work);
		arg(c, "%s/%s.pcm", o.work, m->load);
		break;
	}
}

/* ---- the calls ---- */

/* The samples of the one speaker of this capture, for convert. */
static void load_pcm(const struct load *l)
{
	const struct measure m = { .kind = RECEIVER, .load = l->name, .arg = "file:format=pcm" };
	static const char *const endings[] = { "pcm", "pcm.json" };
	char from[MAX_TEXT], to[MAX_TEXT], said[MAX_TEXT];
	struct command c = { 0 };
	size_t i;

	out_renew();
	receiver(&c, &m, 0);
	process_run(c.argv, said, sizeof(said));
	command_clear(&c);
	for (i = 0; i < 2; i++) {
		snprintf(from, sizeof(from), "%s/out/s0/300000000000000000.%s", o.work, endings[i]);
		snprintf(to, sizeof(to), "%s/%s.%s", o.work, l->name, endings[i]);
		BENCH_MUST(rename(from, to) == 0);
	}
}

static void load_make(struct load *l)
{
	struct command c = { 0 };
	char said[MAX_TEXT];
	size_t i;

	if (l->packets > 0)
		return;
	arg(&c, "%s/tests/bench_workload", o.build);
	arg(&c, "--speakers");
	arg(&c, "%s", l->speakers);
	arg(&c, "--seconds");
	arg(&c, "%s", l->seconds);
	arg(&c, "--coded");
	arg(&c, "%s", l->coded);
	arg(&c, "--mode");
	arg(&c, "%s", l->mode);
	arg(&c, "--seed");
	arg(&c, "1");
	arg(&c, "--pcap");
	arg(&c, "%s/%s.pcap", o.work, l->name);
	arg(&c, "--keys");
	arg(&c, "%s/%s.json", o.work, l->name);
	for (i = 0; i < 2 && l->more[i] != NULL; i++)
		arg(&c, "%s", l->more[i]);
	process_run(c.argv, said, sizeof(said));
	command_clear(&c);
	BENCH_MUST(sscanf(said, "%zu packets", &l->packets) == 1 && l->packets > 0);
	if (strstr(l->name, "pcm") != NULL)
		load_pcm(l);
}

/* ---- running it ---- */

/* A receiver that lost something would be fast: what it counted has to be what was sent. */
static void session_check(const struct measure *m, unsigned n)
{
	char path[MAX_TEXT];
	json_t *session, *track;
	json_int_t received = 0;
	size_t i;

	snprintf(path, sizeof(path), "%s/out/s%u/session.json", o.work, n);
	session = json_load_file(path, 0, NULL);
	json_array_foreach(json_object_get(session, "tracks"), i, track) received +=
		json_integer_value(json_object_get(json_object_get(track, "counters"),
			strncmp(m->arg, "file", 4) == 0 && strstr(m->arg, "opus") == NULL
				? "decoded"
				: "received"));
	if (received == 0)
		received = json_integer_value(
			json_object_get(json_object_get(session, "counters"), "received"));
	json_decref(session);
	if ((double)received == m->packets)
		return;
	fprintf(stderr, "bench: %s: %.0f packets were sent, %lld arrived\n", m->name, m->packets,
		(long long)received);
	exit(1);
}

static void run_simple(struct measure *m, unsigned run)
{
	struct process_usage u;
	struct command c = { 0 };
	char said[MAX_TEXT];
	size_t packets;
	double loop;

	build_command(&c, m);
	u = process_run(c.argv, said, sizeof(said));
	command_clear(&c);
	m->cpu_us[run] = u.cpu_us;
	m->wall_us[run] = u.wall_us;
	if (m->kind == RECEIVER)
		session_check(m, 0);
	if (m->kind != FLOOR)
		return;
	BENCH_MUST(sscanf(said, "{\"packets\": %zu, \"samples\": %*u, \"cpu_us\": %lf", &packets,
			   &loop) == 2);
	BENCH_MUST((double)packets == m->packets);
	m->loop_us[run] = loop;
}

/* One on the first CPU, or as many as there are CPUs, wherever the kernel puts them. */
static void run_lanes(struct measure *m, unsigned run)
{
	unsigned n = m->kind == LANE ? 1 : (unsigned)sysconf(_SC_NPROCESSORS_ONLN), i;
	pid_t pid[MAX_CPUS];
	struct command c = { 0 };

	n = n > MAX_CPUS ? MAX_CPUS : n;
	m->wall_us[run] = process_wall_us();
	for (i = 0; i < n; i++) {
		receiver(&c, m, i);
		pid[i] =
			process_start(c.argv, m->kind == LANE ? 0 : PROCESS_ANY_CPU, STDERR_FILENO);
		command_clear(&c);
	}
	for (m->cpu_us[run] = 0, i = 0; i < n; i++)
		m->cpu_us[run] += process_cpu_us(pid[i], "receiver") / n;
	m->wall_us[run] = process_wall_us() - m->wall_us[run];
	for (i = 0; i < n; i++)
		session_check(m, i);
}

static void run_memory(struct measure *m, unsigned run)
{
	struct command c = { 0 };
	pid_t pid;

	receiver(&c, m, 0);
	pid = process_start(c.argv, PROCESS_ANY_CPU, STDERR_FILENO);
	command_clear(&c);
	usleep(MEMORY_AFTER_US);
	m->bytes[run] = (double)process_memory(pid);
	process_cpu_us(pid, "receiver");
	session_check(m, 0);
}

static void measure_run(struct measure *m, unsigned run)
{
	out_renew();
	if (m->kind == MEMORY)
		run_memory(m, run);
	else if (m->kind == LANE || m->kind == LANES)
		run_lanes(m, run);
	else
		run_simple(m, run);
	out_renew();
}

static void run_all(void)
{
	struct measure *start = measure_named("start");
	unsigned run;
	size_t i;

	for (i = 0; i < ROWS; i++) {
		if (!wanted(rows[i].name))
			continue;
		measure_named(rows[i].a)->needed = true;
		if (rows[i].b != NULL)
			measure_named(rows[i].b)->needed = true;
		if (rows[i].c != NULL)
			measure_named(rows[i].c)->needed = true;
		start->needed |= rows[i].kind == STAGE;
	}
	for (i = 0; i < MEASURES; i++) {
		if (!measures[i].needed)
			continue;
		load_make(load_named(measures[i].load));
		measures[i].packets = (double)load_named(measures[i].load)->packets;
	}
	for (run = 0; run < o.runs; run++) {
		fprintf(stderr, "bench: round %u of %u\n", run + 1, o.runs);
		for (i = 0; i < MEASURES; i++)
			if (measures[i].needed)
				measure_run(&measures[i], run);
	}
}

/* ---- rows ---- */

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(const double *run, size_t n)
{
	double sorted[MAX_RUNS];

	BENCH_MUST(n > 0 && n <= MAX_RUNS);
	memcpy(sorted, run, n * sizeof(*run));
	qsort(sorted, n, sizeof(sorted[0]), compare);
	return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

static double rounded(double x)
{
	return round(x * 1e4) / 1e4;
}

static json_t *list(const double *run)
{
	json_t *l = json_array();
	unsigned i;

	for (i = 0; i < o.runs; i++)
		json_array_append_new(l, json_real(rounded(run[i])));
	return l;
}

static void set(json_t *row, const char *member, double x)
{
	json_object_set_new(row, member, json_real(rounded(x)));
}

/* A packet of m without start and end, which every call has once. */
static double net_us(const struct measure *m, unsigned run)
{
	if (m == NULL)
		return 0;
	if (m->kind == FLOOR)
		return m->loop_us[run] / m->packets;
	return (m->cpu_us[run] - measure_named("start")->cpu_us[run]) / m->packets;
}

struct figures {
	double value[MAX_RUNS], floor[MAX_RUNS], ratio[MAX_RUNS], loop[MAX_RUNS];
	bool has_floor;
};

static const char *figures_take(struct figures *f, const struct row *r, unsigned run)
{
	const struct measure *a = measure_named(r->a),
			     *b = r->b != NULL ? measure_named(r->b) : NULL,
			     *c = r->c != NULL ? measure_named(r->c) : NULL;

	f->has_floor = b != NULL;
	switch (r->kind) {
	case RATIO:
		f->value[run] = a->cpu_us[run] / a->packets;
		f->floor[run] = b->cpu_us[run] / b->packets;
		f->loop[run] = b->loop_us[run] / b->packets;
		f->ratio[run] = f->value[run] / f->floor[run];
		return "us";
	case WALL:
	case SPEED:
		f->value[run] = a->wall_us[run] / 1e6;
		f->floor[run] = b->wall_us[run] / 1e6;
		f->ratio[run] = r->kind == WALL ? f->value[run] / f->floor[run]
						: f->floor[run] / f->value[run];
		return "s";
	case CPU_EACH:
		f->value[run] = a->cpu_us[run] / 1e6;
		f->floor[run] = b->cpu_us[run] / 1e6;
		f->ratio[run] = f->floor[run] / f->value[run];
		return "s";
	case STAGE:
		f->has_floor = false;
		f->value[run] = net_us(a, run) - net_us(b, run) - net_us(c, run);
		return "us";
	case COST:
		f->value[run] = a->cpu_us[run] / a->packets;
		return "us";
	case START:
		f->value[run] = a->cpu_us[run] / 1e3;
		return "ms";
	case PER_SPEAKER:
		f->has_floor = false;
		f->value[run] =
			((a->bytes[run] - b->bytes[run]) / (MANY - FEW) - WRITE_BUFFER) / 1024;
		return "KiB";
	}
	return "";
}

static json_t *row_json(const struct row *r)
{
	static struct figures f;
	const char *unit = "";
	json_t *row;
	unsigned run;

	for (run = 0; run < o.runs; run++)
		unit = figures_take(&f, r, run);
	row = json_pack("{s:s, s:s, s:s}", "name", r->name, "what", r->what, "unit", unit);
	set(row, "value", median(f.value, o.runs));
	json_object_set_new(row, "runs", list(f.value));
	if (r->target > 0)
		set(row, "target", r->target);
	if (!f.has_floor)
		return row;
	set(row, "floor", median(f.floor, o.runs));
	if (r->kind == RATIO && f.loop[0] > 0)
		set(row, "floor_loop", median(f.loop, o.runs));
	set(row, "ratio", median(f.ratio, o.runs));
	json_object_set_new(row, "ratios", list(f.ratio));
	if (r->kind == SPEED || r->kind == CPU_EACH)
		json_object_set_new(row, "at_least", json_true());
	return row;
}

/* Another program's rows: a line of JSON each. */
static void rows_of(json_t *all, struct command *c)
{
	static char said[1 << 16];
	char *line, *rest = said;
	json_t *row;

	if (access(c->argv[0], X_OK) != 0)
		return;
	fprintf(stderr, "bench: %s\n", c->argv[0]);
	process_run(c->argv, said, sizeof(said));
	while ((line = strsep(&rest, "\n")) != NULL)
		if ((row = json_loads(line, 0, NULL)) != NULL)
			json_array_append_new(all, row);
}

static json_t *rows_take(void)
{
	json_t *all = json_array();
	struct command c = { 0 };
	size_t i;

	for (i = 0; i < ROWS; i++)
		if (wanted(rows[i].name))
			json_array_append_new(all, row_json(&rows[i]));
	if (wanted("live")) {
		arg(&c, "%s/tests/bench_live", o.build);
		arg(&c, "-b");
		arg(&c, "%s", o.build);
		arg(&c, "-r");
		arg(&c, "%u", o.runs);
		rows_of(all, &c);
		command_clear(&c);
	}
	if (wanted("parts")) {
		arg(&c, "%s/tests/bench_parts", o.build);
		rows_of(all, &c);
		command_clear(&c);
	}
	return all;
}

/* ---- the report ---- */

static json_t *machine(void)
{
	char line[256], model[200] = "unknown";
	FILE *f = fopen("/proc/cpuinfo", "r");
	struct utsname u;
	double load = 0;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		char *colon = strchr(line, ':');

		if (strncmp(line, "model name", 10) != 0 || colon == NULL)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(model, sizeof(model), "%s", colon + 2);
		break;
	}
	if (f != NULL)
		fclose(f);
	BENCH_MUST(uname(&u) == 0 && getloadavg(&load, 1) == 1);
	return json_pack("{s:s, s:I, s:s, s:s, s:f}", "model", model, "cpus",
		(json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "kernel", u.release, "libopus",
		opus_get_version_string(), "load_before", load);
}

static double number(const json_t *row, const char *member)
{
	return json_number_value(json_object_get(row, member));
}

/* Half of what lies between the lowest and the highest, in percent of the middle. */
static double spread(const json_t *row, size_t *n)
{
	const json_t *l = json_object_get(row, "ratios");
	double low = INFINITY, high = -INFINITY, x;
	const json_t *v;
	size_t i;

	if (l == NULL)
		l = json_object_get(row, "runs");
	json_array_foreach(l, i, v)
	{
		x = json_number_value(v);
		low = fmin(low, x);
		high = fmax(high, x);
	}
	*n = json_array_size(l);
	return *n > 0 ? 100 * (high - low) / fabs(high + low) : 0;
}

static void row_print(const json_t *row)
{
	bool has_ratio = json_object_get(row, "ratio") != NULL;
	double target = number(row, "target"), value = number(row, "value"), wide;
	double judged = has_ratio ? number(row, "ratio") : value;
	size_t n;

	wide = spread(row, &n);
	printf("%-52s %9.*f %-3s", json_string_value(json_object_get(row, "what")),
		fabs(value) < 1000 ? 2 : 0, value, json_string_value(json_object_get(row, "unit")));
	if (has_ratio)
		printf(" %9.2f %7.3f", number(row, "floor"), judged);
	else
		printf(" %9s %7s", "", "");
	printf(" %4.0f%% ", wide);
	if (target > 0)
		printf(" %s%-6g %s",
			json_is_true(json_object_get(row, "at_least")) ? ">=" : "<=", target,
			(json_is_true(json_object_get(row, "at_least")) ? judged >= target
									: judged <= target)
				? "holds"
				: "MISSED");
	printf("\n");
}

static void report(json_t *all, json_t *host)
{
	const json_t *row;
	size_t i;

	printf("On %lld x %s, %s, Linux %s, load %.1f. Median of %u runs; +- is half of their range.\n"
	       "CPU time of all processes, us a packet of 20 ms where nothing else is said.\n\n",
		(long long)json_integer_value(json_object_get(host, "cpus")),
		json_string_value(json_object_get(host, "model")),
		json_string_value(json_object_get(host, "libopus")),
		json_string_value(json_object_get(host, "kernel")), number(host, "load_before"),
		o.runs);
	printf("%-52s %13s %9s %7s %5s  %s\n", "", "ours", "floor", "ratio", "+-", "target");
	json_array_foreach(all, i, row) row_print(row);
}

static void options_read(int argc, char **argv)
{
	static const struct option names[] = {
		{ "build", required_argument, NULL, 'b' },
		{ "json", required_argument, NULL, 'j' },
		{ "work", required_argument, NULL, 'w' },
		{ "rows", required_argument, NULL, 'r' },
		{ "runs", required_argument, NULL, 'n' },
		{ 0 },
	};
	bool bad = false;
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (c == 'b')
			o.build = optarg;
		else if (c == 'j')
			o.json = optarg;
		else if (c == 'w')
			o.work = optarg;
		else if (c == 'r')
			o.rows = optarg;
		else if (c == 'n')
			o.runs = (unsigned)atoi(optarg);
		else
			bad = true;
	}
	if (!bad && optind == argc && o.runs >= 1 && o.runs <= MAX_RUNS)
		return;
	fprintf(stderr,
		"usage: bench [--build DIR] [--json FILE] [--work DIR] [--runs N]\n"
		"       [--rows 'NAME...'] with * and ? in it\n");
	exit(2);
}

int main(int argc, char **argv)
{
	json_t *host, *all;
	int r;

	options_read(argc, argv);
	host = machine();
	remove_folder(o.work);
	BENCH_MUST(mkdir(o.work, 0700) == 0);
	run_all();
	all = rows_take();
	remove_folder(o.work);
	report(all, host);
	all = json_pack("{s:o, s:i, s:o}", "machine", host, "runs", (int)o.runs, "rows", all);
	r = json_dump_file(all, o.json, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
	json_decref(all);
	if (r != 0) {
		fprintf(stderr, "bench: %s was not written\n", o.json);
		return 1;
	}
	return 0;
}
