/* SPDX-License-Identifier: ISC */
/*
 * What a live call costs: the real receiver against a voice server on the loopback interface. Only
 * the receiver and its unpackers count, and only while packets come. A JSON object a line on
 * standard output for each thing measured. Nothing here fails for being slow.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/live.h"

enum { RUNS_MAX = 25, PROCESSES_MAX = 300, CONNECTIONS = 40, SPEAKERS = 200, TARGET_IDLE_KIB = 40 };

struct options {
	const char *build, *latency, *only;
	unsigned runs, speakers, half, connections, idle, workers;
	double seconds;
	bool tls, keep;
} o = { .build = "build",
	.runs = 5,
	.speakers = SPEAKERS,
	.half = SPEAKERS,
	.connections = CONNECTIONS,
	.idle = 1000,
	.workers = 2,
	.seconds = 10 };

static char folder[2048]; /* of this run, in TMPDIR or /tmp */

/* ---- processes ---- */

struct group {
	pid_t pids[PROCESSES_MAX]; /* the receiver and its unpackers */
	size_t count;
	int input; /* its standard input */
};

static void children_find(struct group *g)
{
	char path[64];
	FILE *f;
	int pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)g->pids[0], (int)g->pids[0]);
	LIVE_MUST((f = fopen(path, "re")) != NULL);
	for (g->count = 1; g->count < PROCESSES_MAX && fscanf(f, "%d", &pid) == 1;)
		g->pids[g->count++] = pid;
	fclose(f);
}

static double cpu_ns(const struct group *g)
{
	double sum = 0;

	for (size_t i = 0; i < g->count; i++) {
		struct timespec t;
		clockid_t id;

		LIVE_MUST(clock_getcpuclockid(g->pids[i], &id) == 0 && clock_gettime(id, &t) == 0);
		sum += (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
	}
	return sum;
}

/* What it holds alone, in KiB: shared pages of programs and libraries do not count. */
static double memory_kib(const struct group *g)
{
	double sum = 0;

	for (size_t i = 0; i < g->count; i++) {
		char path[64], line[256];
		unsigned long kib;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/status", (int)g->pids[i]);
		LIVE_MUST((f = fopen(path, "re")) != NULL);
		while (fgets(line, sizeof(line), f) != NULL) {
			if (sscanf(line, "RssAnon: %lu kB", &kib) == 1 ||
				sscanf(line, "RssShmem: %lu kB", &kib) == 1)
				sum += (double)kib;
		}
		fclose(f);
	}
	return sum;
}

static void text(char *out, size_t size, const char *a, const char *b)
{
	LIVE_MUST((size_t)snprintf(out, size, "%s%s", a, b) < size);
}

static void receiver_start(struct group *g, bool tls, const char *const *more)
{
	char program[4096], out[4096], ca[4096], log[4096], workers[16];
	char *args[40] = { program, strdup("--join"), strdup("-"), strdup("--out"), out,
		strdup("--workers"), workers };
	size_t n = 7;
	int in[2];

	text(program, sizeof(program), o.build, "/receiver");
	text(out, sizeof(out), folder, "/out");
	text(ca, sizeof(ca), folder, "/ca.pem");
	text(log, sizeof(log), folder, "/receiver.log");
	snprintf(workers, sizeof(workers), "%u", o.workers);
	if (tls) {
		args[n++] = strdup("--ca-file");
		args[n++] = ca;
	}
	if (o.latency != NULL) {
		args[n++] = strdup("--latency");
		args[n++] = strdup(o.latency);
	}
	while (*more != NULL)
		args[n++] = strdup(*more++);
	LIVE_MUST(pipe2(in, O_CLOEXEC) == 0);
	fflush(NULL);
	LIVE_MUST((g->pids[0] = fork()) >= 0);
	if (g->pids[0] == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

		dup2(in[0], 0);
		dup2(fd, 1);
		dup2(fd, 2);
		execv(program, args);
		_exit(127);
	}
	close(in[0]);
	g->input = in[1];
	g->count = 1;
}

static void receiver_join(struct group *g)
{
	char path[4096], line[4096];
	FILE *f;

	text(path, sizeof(path), folder, "/join.json");
	LIVE_MUST((f = fopen(path, "re")) != NULL);
	while (fgets(line, sizeof(line), f) != NULL)
		LIVE_MUST(write(g->input, line, strlen(line)) == (ssize_t)strlen(line));
	fclose(f);
}

static void receiver_end(struct group *g)
{
	int status;

	close(g->input);
	LIVE_MUST(waitpid(g->pids[0], &status, 0) == g->pids[0]);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fprintf(stderr, "bench_live: the receiver ended with %d, see %s/receiver.log\n",
			status, folder);
}

/* ---- the folder ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	return ftw->level > 0 || !o.keep ? remove(path) : 0;
}

static void folder_clear(const char *name)
{
	char path[4096];

	text(path, sizeof(path), folder, name);
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static uint64_t counter_of(const json_t *o_, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(json_object_get(o_, "counters"), name));
}

/* Packets of all sessions that were received by what their manifests say. */
static uint64_t received(void)
{
	char path[4096];
	uint64_t sum = 0;
	struct dirent *e;
	DIR *d;

	text(path, sizeof(path), folder, "/out");
	LIVE_MUST((d = opendir(path)) != NULL);
	while ((e = readdir(d)) != NULL) {
		char file[8192];
		json_t *root, *tracks, *track;
		size_t i;

		snprintf(file, sizeof(file), "%s/%s/session.json", path, e->d_name);
		if ((root = json_load_file(file, 0, NULL)) == NULL)
			continue;
		sum += counter_of(root, "received");
		tracks = json_object_get(root, "tracks");
		json_array_foreach(tracks, i, track) sum += counter_of(track, "received");
		json_decref(root);
	}
	closedir(d);
	return sum;
}

/* ---- results ---- */

struct result {
	const char *name, *what, *unit;
	double target; /* of the ratio where there is a floor, else of the value; 0: none */
	double run[RUNS_MAX], floor[RUNS_MAX];
	unsigned runs;
	bool has_floor;
};

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(const double *run, unsigned runs)
{
	double sorted[RUNS_MAX];

	memcpy(sorted, run, runs * sizeof(*run));
	qsort(sorted, runs, sizeof(sorted[0]), compare);
	return sorted[runs / 2];
}

static void print_result(const struct result *r)
{
	double ratio[RUNS_MAX];

	printf("{\"name\":\"%s\",\"what\":\"%s\",\"unit\":\"%s\",\"value\":%.3f", r->name, r->what,
		r->unit, median(r->run, r->runs));
	if (r->has_floor) {
		for (unsigned i = 0; i < r->runs; i++)
			ratio[i] = r->run[i] / r->floor[i];
		printf(",\"floor\":%.3f,\"ratio\":%.4f", median(r->floor, r->runs),
			median(ratio, r->runs));
	}
	if (r->target > 0)
		printf(",\"target\":%g", r->target);
	printf(",\"runs\":[");
	for (unsigned i = 0; i < r->runs; i++)
		printf("%s%.3f", i > 0 ? "," : "", r->run[i]);
	printf("]}\n");
	fflush(stdout);
}

/* ---- what is measured ---- */

/* CPU time of the receiver in nanoseconds a packet. */
static double live_run(const char *const *more, unsigned speakers, unsigned connections)
{
	struct live_peer_conf conf = { folder, connections, speakers, o.tls };
	struct live_peer peer;
	struct group g;
	uint64_t packets, warm;
	double begin, end;

	live_peer_start(&peer, &conf);
	receiver_start(&g, o.tls, more);
	receiver_join(&g);
	live_peer_wait(&peer);
	usleep(500000);
	warm = live_peer_talk(&peer, 1, 0);
	children_find(&g);
	begin = cpu_ns(&g);
	packets = live_peer_talk(&peer, o.seconds, 0);
	usleep(50000);
	end = cpu_ns(&g);
	usleep(500000);
	receiver_end(&g);
	live_peer_end(&peer);
	if (received() != packets + warm)
		fprintf(stderr, "bench_live: %" PRIu64 " packets sent, %" PRIu64 " received\n",
			packets + warm, received());
	if (!o.keep)
		folder_clear("/out");
	return (end - begin) / (double)packets;
}

static double floor_run(enum live_floor_kind kind, unsigned speakers)
{
	struct live_peer_conf conf = { folder, 1, speakers, false };
	char out[4096];
	struct live_peer peer;
	struct live_floor f;
	struct group g = { .count = 1 };
	uint64_t packets, warm, got;
	double begin, end;

	text(out, sizeof(out), folder, "/floor");
	LIVE_MUST(mkdir(out, 0700) == 0);
	live_peer_start(&peer, &conf);
	live_floor_start(&f, kind, out);
	g.pids[0] = f.pid;
	warm = live_peer_talk(&peer, 1, f.port);
	usleep(50000);
	begin = cpu_ns(&g);
	packets = live_peer_talk(&peer, o.seconds, f.port);
	usleep(50000);
	end = cpu_ns(&g);
	got = live_floor_end(&f);
	live_peer_end(&peer);
	folder_clear("/floor");
	if (got != packets + warm)
		fprintf(stderr,
			"bench_live: floor: %" PRIu64 " packets sent, %" PRIu64 " received\n",
			packets + warm, got);
	return (end - begin) / ((double)packets * (double)got / (double)(packets + warm));
}

static void bench_wav(void)
{
	static const char *const more[] = { "--sink", "file:format=wav", NULL };
	struct result r = { .name = "live_wav",
		.what = "live to wav: CPU of all processes a packet",
		.unit = "ns",
		.target = 1.10,
		.runs = o.runs,
		.has_floor = true };

	for (unsigned i = 0; i < o.runs; i++) {
		r.run[i] = live_run(more, o.speakers, o.connections);
		r.floor[i] = floor_run(LIVE_FLOOR_WAV, o.speakers);
	}
	print_result(&r);
}

static void bench_opus(void)
{
	static const char *const more[] = { "--sink", "file:format=opus", NULL };
	struct result r = { .name = "live_opus",
		.what = "live to opus: CPU of all processes a packet",
		.unit = "ns",
		.target = 3000,
		.runs = o.runs };

	for (unsigned i = 0; i < o.runs; i++)
		r.run[i] = live_run(more, o.speakers, o.connections);
	print_result(&r);
}

static void bench_receive(void)
{
	struct result r = { .name = "live_recvmmsg",
		.what = "a bare recvmmsg loop on the same traffic, a packet",
		.unit = "ns",
		.runs = o.runs };

	for (unsigned i = 0; i < o.runs; i++)
		r.run[i] = floor_run(LIVE_FLOOR_RECEIVE, o.speakers);
	print_result(&r);
}

static void bench_latency(void)
{
	char plugin[4096], spec[8192], file[4096];
	const char *const more[] = { "--plugin", plugin, "--sink", spec, NULL };
	struct result r[2] = {
		{ .name = "latency_p50",
			.what = "arrival of a datagram to its frame at a sink, half",
			.unit = "ms",
			.runs = o.runs },
		{ .name = "latency_p99",
			.what = "arrival of a datagram to its frame at a sink, 99 %",
			.unit = "ms",
			.target = 10,
			.runs = o.runs },
	};

	text(plugin, sizeof(plugin), o.build, "/tests/latency.so");
	text(file, sizeof(file), folder, "/latency.txt");
	text(spec, sizeof(spec), "latency:file=", file);
	for (unsigned i = 0; i < o.runs; i++) {
		double p50, p90, p99, p999, longest;
		uint64_t frames;
		FILE *f;

		live_run(more, o.half, o.connections);
		LIVE_MUST((f = fopen(file, "re")) != NULL);
		LIVE_MUST(fscanf(f, "%" SCNu64 " %lf %lf %lf %lf %lf", &frames, &p50, &p90, &p99,
				  &p999, &longest) == 6);
		fclose(f);
		fprintf(stderr,
			"latency of %" PRIu64 " frames: p50 %.2f p90 %.2f p99 %.2f p99.9 %.2f max "
			"%.2f ms\n",
			frames, p50 / 1e3, p90 / 1e3, p99 / 1e3, p999 / 1e3, longest / 1e3);
		r[0].run[i] = p50 / 1e3;
		r[1].run[i] = p99 / 1e3;
	}
	print_result(&r[0]);
	print_result(&r[1]);
}

/* Everybody is there and says nothing. */
static void bench_idle(bool tls)
{
	static const char *const more[] = { "--sink", "file:format=wav", NULL };
	struct live_peer_conf conf = { folder, o.idle, 0, tls };
	struct result cpu = { .name = tls ? "idle_cpu_tls" : "idle_cpu",
		.what = tls ? "connections joined by wss, nobody speaks: of one core"
			    : "connections joined by ws, nobody speaks: of one core",
		.unit = "%",
		.target = 2,
		.runs = 1 };
	struct result memory = { .name = tls ? "idle_memory_tls" : "idle_memory",
		.what = "memory of each of them",
		.unit = "KiB",
		.target = TARGET_IDLE_KIB,
		.runs = 1 };
	struct live_peer peer;
	struct group g;
	double begin, kib;

	live_peer_start(&peer, &conf);
	receiver_start(&g, tls, more);
	usleep(500000);
	children_find(&g);
	kib = memory_kib(&g);
	receiver_join(&g);
	live_peer_wait(&peer);
	sleep(12); /* the roll is called ten seconds after a session began */
	begin = cpu_ns(&g);
	usleep((useconds_t)(o.seconds * 1e6));
	cpu.run[0] = (cpu_ns(&g) - begin) / o.seconds / 1e7;
	memory.run[0] = (memory_kib(&g) - kib) / o.idle;
	receiver_end(&g);
	live_peer_end(&peer);
	folder_clear("/out");
	print_result(&cpu);
	print_result(&memory);
}

static bool wanted(const char *name)
{
	return o.only == NULL || strcmp(o.only, name) == 0;
}

static void options_read(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "b:r:s:n:h:c:i:w:l:o:tk")) != -1) {
		switch (c) {
		case 'b':
			o.build = optarg;
			break;
		case 'r':
			o.runs = (unsigned)atoi(optarg);
			break;
		case 's':
			o.seconds = atof(optarg);
			break;
		case 'n':
			o.speakers = (unsigned)atoi(optarg);
			break;
		case 'h':
			o.half = (unsigned)atoi(optarg);
			break;
		case 'c':
			o.connections = (unsigned)atoi(optarg);
			break;
		case 'i':
			o.idle = (unsigned)atoi(optarg);
			break;
		case 'w':
			o.workers = (unsigned)atoi(optarg);
			break;
		case 'l':
			o.latency = optarg;
			break;
		case 'o':
			o.only = optarg;
			break;
		case 't':
			o.tls = true;
			break;
		case 'k':
			o.keep = true;
			break;
		default:
			fprintf(stderr,
				"usage: bench_live [-b BUILD] [-r RUNS] [-s SECONDS] [-n SPEAKERS] "
				"[-h SPEAKERS at half load] [-c CONNECTIONS] [-i IDLE connections] "
				"[-w WORKERS] [-l LATENCY] [-t] [-k] "
				"[-o wav|opus|receive|latency|idle]\n");
			exit(2);
		}
	}
	LIVE_MUST(o.runs >= 1 && o.runs <= RUNS_MAX && o.seconds > 0);
}

int main(int argc, char **argv)
{
	options_read(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	text(folder, sizeof(folder), getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp",
		"/bench_live.XXXXXX");
	LIVE_MUST(mkdtemp(folder) != NULL);
	if (wanted("wav"))
		bench_wav();
	if (wanted("opus"))
		bench_opus();
	if (wanted("receive"))
		bench_receive();
	if (wanted("latency"))
		bench_latency();
	if (wanted("idle")) {
		if (!o.tls)
			bench_idle(false);
		bench_idle(true);
	}
	if (!o.keep)
		folder_clear("");
	return 0;
}
