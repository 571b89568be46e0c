/* SPDX-License-Identifier: ISC */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <sndfile.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/voiceserver/rng.h"

/*
 * kill_check [options] OUT COMMAND...: starts recorders, kills each with SIGKILL at a random moment
 * of its recording, and judges what is in its folder. In COMMAND "{}" becomes the name of the
 * session, and "{slot}" which of the parallel ones it is.
 *
 * Every file opens and can be read to its end. In a live call (--live) of speakers who do not stop
 * talking every file reaches to a second before the kill; in a replay (--reference) what is in a
 * file is what a recording that was not killed has in the same place. The manifest is whole.
 */
enum { MAX_PARALLEL = 64, NAME = 256, CHUNK = 4096, START_SECONDS = 20, POLL_MS = 2 };
/* An MP3 lacks what its encoder looks ahead, and frames borrow bits from those before them. */
enum { MP3_HELD_MS = 500, MP3_TAIL = 2 * 1152 + 1105 };
/* Nobody talks so quietly for so long. */
enum { LOUD = 50, QUIET_MAX = TD_RATE / 2 };

struct options {
	const char *out, *reference;
	bool live, keep;
	unsigned times, parallel, from_ms, to_ms;
	unsigned first_ms; /* live: somebody is heard by then */
	unsigned lost_ms;  /* live: what may be missing */
	uint64_t seed;
	char **command;
};

struct recorder {
	pid_t pid;
	char name[64];
	bool recording;
	uint64_t started_ns, due_ns;       /* due: when it is killed */
	uint64_t killed_ns, killed_utc_ns; /* when it was alive for the last time */
};

struct verdict {
	struct rng rng;
	unsigned killed, files, parts, ended, bad;
	unsigned worst_ms[2]; /* missing at the end: MP3, all others */
	uint64_t slow_ns;     /* how late this machine let us be */
};

static struct options o = { .times = 10,
	.parallel = 4,
	.from_ms = 200,
	.to_ms = 4000,
	.first_ms = 700,
	.lost_ms = 1000,
	.seed = 1 };
static struct verdict v;

static void complain(const struct recorder *r, const char *file, const char *what)
{
	v.bad++;
	printf("%s/%s/%s: %s\n", o.out, r->name, file, what);
}

/* ---- starting and killing ---- */

/* A copy of the argument with what stands for name and slot replaced. */
static char *argument(const char *text, const char *name, unsigned slot)
{
	const char *at;
	char *copy;
	int n;

	if ((at = strstr(text, "{}")) != NULL)
		n = asprintf(&copy, "%.*s%s%s", (int)(at - text), text, name, at + 2);
	else if ((at = strstr(text, "{slot}")) != NULL)
		n = asprintf(&copy, "%.*s%u%s", (int)(at - text), text, slot, at + 6);
	else
		n = asprintf(&copy, "%s", text);
	return n >= 0 ? copy : NULL;
}

static void become(const char *name, unsigned slot)
{
	char *argv[64] = { 0 };
	size_t i;
	int fd;

	for (i = 0; o.command[i] != NULL && i < 63; i++)
		argv[i] = argument(o.command[i], name, slot);
	if ((fd = open("/dev/null", O_RDWR)) >= 0) {
		dup2(fd, STDIN_FILENO);
		dup2(fd, STDOUT_FILENO);
	}
	execv(argv[0], argv);
	_exit(127);
}

static void start(struct recorder *r, unsigned number, unsigned slot)
{
	char path[2 * NAME];

	*r = (struct recorder){ .started_ns = td_mono_ns() };
	snprintf(r->name, sizeof(r->name), "k%u", number);
	snprintf(path, sizeof(path), "%s/%s", o.out, r->name);
	if (access(path, F_OK) == 0)
		complain(r, "", "was there before");
	if ((r->pid = fork()) == 0)
		become(r->name, slot);
}

/* The recording has begun when its manifest is there. */
static void look(struct recorder *r)
{
	char path[2 * NAME];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s/session.json", o.out, r->name);
	if (r->recording || stat(path, &st) != 0)
		return;
	r->recording = true;
	r->due_ns =
		td_mono_ns() + (o.from_ms + rng_below(&v.rng, o.to_ms - o.from_ms + 1)) * TD_MS_NS;
}

/* True when it is dead. */
static bool end(struct recorder *r)
{
	uint64_t now_ns = td_mono_ns();
	int status;

	if (!r->recording && now_ns - r->started_ns < START_SECONDS * TD_SEC_NS &&
		waitpid(r->pid, &status, WNOHANG) == 0)
		return false;
	if (r->recording && now_ns < r->due_ns)
		return false;
	r->killed_ns = now_ns;
	r->killed_utc_ns = td_utc_ns();
	kill(r->pid, SIGKILL);
	while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (!r->recording)
		complain(r, "", "no recording began");
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		v.killed++;
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		v.ended++; /* a replay that was faster */
	else
		complain(r, "", "ended by itself before it was killed");
	return true;
}

/* ---- sound ---- */

struct sound {
	int16_t *pcm;
	int64_t frames;
	int channels;
};

static bool has_ending(const char *name, const char *ending)
{
	size_t len = strlen(name), end_len = strlen(ending);

	return len > end_len && strcmp(name + len - end_len, ending) == 0;
}

/* All of it, whatever the header says of its length. NULL: fine, or why not. */
static const char *sound_read(struct sound *s, const char *path)
{
	SF_INFO info = { 0 };
	SNDFILE *file = sf_open(path, SFM_READ, &info);
	const char *why = NULL;
	sf_count_t n = 0;

	*s = (struct sound){ 0 };
	if (file == NULL)
		return sf_strerror(NULL);
	s->channels = info.channels;
	do {
		void *more = realloc(s->pcm,
			(size_t)(s->frames + CHUNK) * (size_t)info.channels * sizeof(*s->pcm));

		if (more == NULL) {
			fprintf(stderr, "kill_check: out of memory\n");
			exit(3);
		}
		s->pcm = more;
		n = sf_readf_short(file, s->pcm + s->frames * info.channels, CHUNK);
		s->frames += n > 0 ? n : 0;
	} while (n > 0);
	if (sf_error(file) != SF_ERR_NO_ERROR)
		why = "cannot be read to its end";
	else if (has_ending(path, ".wav") && s->frames != info.frames)
		why = "is not as long as its header says";
	sf_close(file);
	return why;
}

/* What is here is there, in the same place. */
static bool is_beginning(const struct sound *s, const struct sound *whole, const char *name)
{
	int64_t n = s->frames;

	if (has_ending(name, ".mp3"))
		n = n > MP3_TAIL ? n - MP3_TAIL : 0;
	return s->channels == whole->channels && n <= whole->frames &&
		(n == 0 ||
			memcmp(s->pcm, whole->pcm,
				(size_t)n * (size_t)s->channels * sizeof(*s->pcm)) == 0);
}

/* The longest stretch in which nothing sounds, behind the first sound. */
static int64_t longest_quiet(const struct sound *s)
{
	int64_t i, last = -1, longest = 0;

	for (i = 0; i < s->frames * s->channels; i++) {
		if (abs(s->pcm[i]) < LOUD)
			continue;
		if (last >= 0 && i - last > longest)
			longest = i - last;
		last = i;
	}
	return longest / s->channels;
}

/* ---- a folder ---- */

/* Parts of a track, by the name they share: how long all of them are. */
struct track {
	char name[NAME];
	int64_t frames;
};

struct folder {
	const struct recorder *r;
	struct track tracks[64];
	size_t track_count;
	double recorded_s; /* from position 0 to the kill */
};

static void track_count(struct folder *f, const char *name, int64_t frames)
{
	const char *dot = strrchr(name, '.'), *dash = strrchr(name, '-');
	char key[NAME];
	size_t i;

	if (dash != NULL && dot - dash == 4)
		snprintf(key, sizeof(key), "%.*s%s", (int)(dash - name), name, dot);
	else
		snprintf(key, sizeof(key), "%s", name);
	for (i = 0; i < f->track_count && strcmp(f->tracks[i].name, key) != 0; i++)
		continue;
	if (i == f->track_count && i < sizeof(f->tracks) / sizeof(f->tracks[0]))
		strcpy(f->tracks[f->track_count++].name, key);
	if (i < f->track_count)
		f->tracks[i].frames += frames;
}

static void judge_sound(struct folder *f, const char *name)
{
	char path[3 * NAME];
	struct sound s, whole;
	const char *why;

	snprintf(path, sizeof(path), "%s/%s/%s", o.out, f->r->name, name);
	if ((why = sound_read(&s, path)) != NULL) {
		complain(f->r, name, why);
	} else if (o.live) {
		if (longest_quiet(&s) > QUIET_MAX)
			complain(f->r, name, "has a hole");
	} else if (o.reference != NULL) {
		snprintf(path, sizeof(path), "%s/%s", o.reference, name);
		why = sound_read(&whole, path);
		if (why != NULL || !is_beginning(&s, &whole, name))
			complain(f->r, name, "is not what was sent");
		free(whole.pcm);
	}
	track_count(f, name, s.frames);
	v.files++;
	free(s.pcm);
}

static bool is_there(const struct recorder *r, const char *file)
{
	char path[3 * NAME];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s/%s", o.out, r->name, file);
	return stat(path, &st) == 0;
}

/* What it lists is there, unless the speaker was named since. */
static void judge_list(const struct recorder *r, json_t *tracks)
{
	json_t *track, *part;
	const char *file;
	size_t i, k;

	json_array_foreach(tracks, i, track)
	{
		file = json_string_value(json_object_get(track, "file"));
		if (file == NULL || (!is_there(r, file) && strncmp(file, "ssrc-", 5) != 0))
			complain(r, file != NULL ? file : "", "is in the manifest alone");
		json_array_foreach(json_object_get(track, "parts"), k, part)
		{
			v.parts++;
			file = json_string_value(json_object_get(part, "file"));
			if (file == NULL || (!is_there(r, file) && strncmp(file, "ssrc-", 5) != 0))
				complain(r, "", "a part is in the manifest alone");
		}
	}
}

static void judge_manifest(struct folder *f)
{
	const struct recorder *r = f->r;
	const char *state, *start;
	char path[2 * NAME];
	double fraction = 0;
	struct tm tm = { 0 };
	json_t *m;

	snprintf(path, sizeof(path), "%s/%s/session.json", o.out, r->name);
	if ((m = json_load_file(path, 0, NULL)) == NULL) {
		complain(r, "session.json", "cannot be read");
		return;
	}
	state = json_string_value(json_object_get(m, "state"));
	start = json_string_value(json_object_get(m, "start"));
	if (state == NULL || start == NULL || !json_is_array(json_object_get(m, "tracks")))
		complain(r, "session.json", "is not whole");
	else if (strcmp(state, "recording") != 0 && o.live)
		complain(r, "session.json", "says it is complete");
	judge_list(r, json_object_get(m, "tracks"));
	if (start != NULL && strptime(start, "%Y-%m-%dT%H:%M:%S", &tm) != NULL &&
		strchr(start, '.') != NULL)
		fraction = strtod(strchr(start, '.'), NULL);
	f->recorded_s = (double)r->killed_utc_ns / 1e9 - ((double)timegm(&tm) + fraction);
	json_decref(m);
}

static void judge_length(const struct folder *f, const struct track *t)
{
	bool mp3 = has_ending(t->name, ".mp3");
	double missing_ms = 1000 * (f->recorded_s - (double)t->frames / TD_RATE);
	double may_ms = o.lost_ms + (mp3 ? MP3_HELD_MS : 0) + 3 * (double)v.slow_ns / 1e6;
	unsigned *worst = &v.worst_ms[!mp3];

	if (missing_ms > *worst)
		*worst = (unsigned)missing_ms;
	if (missing_ms > may_ms) {
		complain(f->r, t->name, "ends too early");
		printf("  %.0f ms are missing of %.3f s, %.0f may be\n", missing_ms, f->recorded_s,
			may_ms);
	}
}

static void judge(const struct recorder *r)
{
	static const char *const sounds[] = { ".wav", ".flac", ".mp3", ".opus" };
	struct folder f = { .r = r };
	char path[2 * NAME];
	struct dirent *e;
	size_t i;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%s", o.out, r->name);
	if (!r->recording || (dir = opendir(path)) == NULL)
		return;
	judge_manifest(&f);
	while ((e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue; /* what was not ready to be seen */
		for (i = 0; i < 4 && !has_ending(e->d_name, sounds[i]); i++)
			continue;
		if (i < 4)
			judge_sound(&f, e->d_name);
		else if (has_ending(e->d_name, ".part"))
			complain(r, e->d_name, "is not ready to be seen");
	}
	closedir(dir);
	for (i = 0; o.live && i < f.track_count; i++)
		judge_length(&f, &f.tracks[i]);
	if (o.live && f.track_count == 0 && f.recorded_s * 1000 > o.first_ms + o.lost_ms)
		complain(r, "", "nothing was recorded");
}

static void forget(const struct recorder *r)
{
	char path[3 * NAME];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%s", o.out, r->name);
	if (o.keep || (dir = opendir(path)) == NULL)
		return;
	while ((e = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s/%s", o.out, r->name, e->d_name);
		unlink(path);
	}
	closedir(dir);
	snprintf(path, sizeof(path), "%s/%s", o.out, r->name);
	rmdir(path);
}

/* ---- all of them ---- */

/* Sleeps a moment; remembers how much longer it became than asked for. */
static void rest(void)
{
	struct timespec moment = { 0, POLL_MS * (long)TD_MS_NS };
	uint64_t before_ns = td_mono_ns(), late_ns;

	nanosleep(&moment, NULL);
	late_ns = td_mono_ns() - before_ns - POLL_MS * TD_MS_NS;
	if (late_ns > v.slow_ns)
		v.slow_ns = late_ns;
}

/* One generation: all are started, all are killed, then all are judged. */
static void round_run(unsigned first, unsigned count)
{
	struct recorder rs[MAX_PARALLEL];
	bool dead[MAX_PARALLEL] = { false };
	unsigned i, left = count;

	v.slow_ns = 0;
	for (i = 0; i < count; i++)
		start(&rs[i], first + i, i);
	while (left > 0) {
		rest();
		for (i = 0; i < count; i++) {
			if (dead[i])
				continue;
			look(&rs[i]);
			if ((dead[i] = end(&rs[i])))
				left--;
		}
	}
	for (i = 0; i < count; i++) {
		unsigned bad = v.bad;

		judge(&rs[i]);
		if (v.bad == bad)
			forget(&rs[i]);
	}
}

static const char help[] =
	"usage: kill_check [options] OUT COMMAND...\n"
	"Kills recorders at random moments and judges what they leave in OUT.\n"
	"  --live           calls of speakers who talk all the time: nothing but the last second is\n"
	"                   missing\n"
	"  --reference DIR  replays: the session as it must be\n"
	"  --times N        kill so many (10), ...\n"
	"  --parallel N     ... so many at a time (4)\n"
	"  --from, --to MS  when, after the recording began (200, 4000)\n"
	"  --lost MS        live: what may be missing (1000)\n"
	"  --first MS       live: somebody is heard by then (700)\n"
	"  --seed N         of the moments (1)\n"
	"  --keep           leave their folders\n"
	"Exit status: 0 all is right, 1 it is not, 2 usage.\n";

static bool options_take(int argc, char **argv)
{
	static const struct option longs[] = { { "live", no_argument, NULL, 'l' },
		{ "reference", required_argument, NULL, 'r' },
		{ "times", required_argument, NULL, 'n' },
		{ "parallel", required_argument, NULL, 'p' },
		{ "from", required_argument, NULL, 'f' }, { "to", required_argument, NULL, 't' },
		{ "lost", required_argument, NULL, 'm' }, { "first", required_argument, NULL, 'b' },
		{ "seed", required_argument, NULL, 's' }, { "keep", no_argument, NULL, 'k' },
		{ NULL, 0, NULL, 0 } };
	int opt;

	while ((opt = getopt_long(argc, argv, "+", longs, NULL)) != -1) {
		if (opt == 'l')
			o.live = true;
		else if (opt == 'r')
			o.reference = optarg;
		else if (opt == 'n')
			o.times = (unsigned)atoi(optarg);
		else if (opt == 'p')
			o.parallel = (unsigned)atoi(optarg);
		else if (opt == 'f')
			o.from_ms = (unsigned)atoi(optarg);
		else if (opt == 't')
			o.to_ms = (unsigned)atoi(optarg);
		else if (opt == 'm')
			o.lost_ms = (unsigned)atoi(optarg);
		else if (opt == 'b')
			o.first_ms = (unsigned)atoi(optarg);
		else if (opt == 's')
			o.seed = strtoull(optarg, NULL, 10);
		else if (opt == 'k')
			o.keep = true;
		else
			return false;
	}
	if (argc - optind < 2 || o.times < 1 || o.parallel < 1 || o.parallel > MAX_PARALLEL ||
		o.to_ms < o.from_ms || o.live == (o.reference != NULL))
		return false;
	o.out = argv[optind];
	o.command = argv + optind + 1;
	return true;
}

int main(int argc, char **argv)
{
	unsigned i, n;

	if (!options_take(argc, argv)) {
		fputs(help, stderr);
		return 2;
	}
	v.rng = rng_stream(o.seed, 0, 0, RNG_TALK);
	for (i = 0; i < o.times; i += n) {
		n = o.times - i < o.parallel ? o.times - i : o.parallel;
		round_run(i, n);
	}
	printf("%u killed, %u had ended; %u files, %u parts listed; %u faults", v.killed, v.ended,
		v.files, v.parts, v.bad);
	if (o.live)
		printf("; missing at most %u ms, of MP3 %u ms", v.worst_ms[1], v.worst_ms[0]);
	printf("\n");
	return v.bad > 0 ? 1 : 0;
}
