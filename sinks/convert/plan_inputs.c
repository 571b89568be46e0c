/* SPDX-License-Identifier: ISC */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/convert/plan_add.h"
#include "sinks/convert/session_file.h"
#include "sinks/convert/source.h"

enum { PLAN_DEPTH_MAX = 32 };

/* What is taken in folders, by its name, and how much sound is in a byte, roughly. */
static const struct {
	const char *ending;
	unsigned weight;
} endings[] = {
	{ "wav", 1 },
	{ "wave", 1 },
	{ "rf64", 1 },
	{ "w64", 1 },
	{ "pcm", 1 },
	{ "raw", 1 },
	{ "flac", 2 },
	{ "mp3", 8 },
	{ "opus", 12 },
	{ "ogg", 12 },
	{ "oga", 12 },
};

static const char *ending_of(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot != NULL && dot != name ? dot + 1 : "";
}

/* 0: not one of those. */
static unsigned weight_of(const char *name)
{
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		if (strcasecmp(endings[i].ending, ending_of(name)) == 0)
			return endings[i].weight;
	}
	return 0;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static char *join(struct planner *p, const char *folder, const char *name)
{
	if (folder[0] == '\0' || strcmp(folder, ".") == 0)
		return arena_copy(&p->plan->arena, name);
	return arena_format(&p->plan->arena, "%s%s%s", folder,
		folder[strlen(folder) - 1] == '/' ? "" : "/", name);
}

static bool newer(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

/* What a file adds to the work and the age of its job. */
static void count_file(struct job *job, const char *path)
{
	unsigned weight = weight_of(base_of(path));
	struct stat st;
	uint64_t size;

	if (stat(path, &st) < 0)
		return;
	size = (uint64_t)st.st_size;
	/* Holes cost nothing. */
	if ((uint64_t)st.st_blocks * 512 < size)
		size = (uint64_t)st.st_blocks * 512;
	job->cost += size * (weight > 0 ? weight : 1);
	if (newer(&st.st_mtim, &job->newest))
		job->newest = st.st_mtim;
}

/* "x.wav" becomes "x.mp3". */
static char *output_name(struct planner *p, const char *name)
{
	const char *dot = strrchr(name, '.');
	int len = dot != NULL && dot != name ? (int)(dot - name) : (int)strlen(name);

	return arena_format(&p->plan->arena, "%.*s.%s", len, name, p->args->format.writer->name);
}

static bool to_stdout(const struct args *args)
{
	return args->out != NULL && strcmp(args->out, "-") == 0;
}

/* Where the outputs of things in `folder` go; sub: where that is below the INPUT. */
static const char *output_folder(struct planner *p, const char *folder, const char *sub)
{
	if (to_stdout(p->args))
		return NULL;
	if (p->args->out == NULL)
		return folder;
	return sub[0] != '\0' ? join(p, p->args->out, sub) : p->args->out;
}

static void set_track(struct planner *p, struct job *job, const char *path)
{
	job->tracks = arena_zeroed(&p->plan->arena, sizeof(*job->tracks));
	job->tracks[0].parts = arena_zeroed(&p->plan->arena, sizeof(*job->tracks[0].parts));
	job->tracks[0].parts[0] = (struct job_part){
		.path = arena_copy(&p->plan->arena, path),
		.samples = JOB_TO_END,
	};
	job->tracks[0].part_count = 1;
	job->track_count = 1;
}

static void add_file(struct planner *p, const char *path, const char *folder, const char *sub)
{
	struct job *job =
		planner_job(p, path, output_folder(p, folder, sub), output_name(p, base_of(path)));
	char beside[SOURCE_PATH_MAX];

	set_track(p, job, path);
	count_file(job, path);
	if (!p->args->have_raw && source_is_raw_name(path) && source_beside(beside, path) == TD_OK)
		count_file(job, beside);
}

static void add_stdin(struct planner *p)
{
	const char *folder = p->args->out != NULL && !to_stdout(p->args) ? p->args->out : NULL;
	struct job *job = planner_job(p, "-", folder, output_name(p, "stdin"));

	set_track(p, job, "-");
	job->cost = UINT64_C(1) << 40; /* nobody knows: it begins first */
}

/* ---- sessions ---- */

static void name_job(struct job *job, const struct session_file *s, const char *album)
{
	job->session = true;
	job->album = album;
	job->start_utc_ns = s->start_utc_ns;
}

/* The formats that lose nothing come first, but for the one that is wanted. */
static unsigned preference(struct planner *p, const struct session_track *t)
{
	static const char *const order[] = { "wav", "flac", "pcm" };
	size_t i = 0;

	if (strcmp(t->format, p->args->format.writer->name) == 0)
		return 0;
	while (i < sizeof(order) / sizeof(order[0]) && strcmp(order[i], t->format) != 0)
		i++;
	return 1 + (unsigned)i;
}

/* Whether another track is the same sound and a better one to take. */
static bool is_other_format(struct planner *p, const struct session_file *s,
	const struct session_track *t)
{
	for (size_t i = 0; i < s->track_count; i++) {
		const struct session_track *o = &s->tracks[i];
		unsigned theirs = preference(p, o), ours = preference(p, t);

		if (o == t || o->bad != NULL || strcmp(o->speaker, t->speaker) != 0)
			continue;
		/* As tracks, two recordings with two names are two. */
		if (!p->args->mix && strcmp(o->stem, t->stem) != 0)
			continue;
		if (theirs < ours || (theirs == ours && o < t))
			return true;
	}
	return false;
}

/* Whether none of its files is there. */
static bool all_gone(const struct job_track *track)
{
	struct stat st;

	for (size_t i = 0; i < track->part_count; i++) {
		if (lstat(track->parts[i].path, &st) == 0 || errno != ENOENT)
			return false;
	}
	return track->part_count > 0;
}

/* A track whose files are gone is what they were converted to, if that is in the folder: one file,
 * from the track's start, with its cuts left out. */
static void take_converted(struct planner *p, const char *path, struct session_track *t)
{
	struct stat st;

	if (t->bad != NULL || !all_gone(&t->track))
		return;
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		const char *name =
			arena_format(&p->plan->arena, "%s.%s", t->stem, endings[i].ending);
		const char *file = join(p, path, name);

		if (lstat(file, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		t->track.parts = arena_zeroed(&p->plan->arena, sizeof(*t->track.parts));
		t->track.parts[0] = (struct job_part){ .path = file, .samples = JOB_TO_END };
		t->track.part_count = 1;
		t->format = endings[i].ending;
		p->note(p->user, file, "its recording is gone: this is taken in its place");
		return;
	}
	t->bad = "its files are gone, and nothing they were converted to is in the folder";
}

static void add_mix(struct planner *p, const char *path, const char *name, const char *sub,
	struct session_file *s)
{
	const char *format = p->args->format.writer->name;
	struct arena *arena = &p->plan->arena;
	struct job *job;

	if (p->args->out == NULL)
		job = planner_job(p, path, path, arena_format(arena, "mix.%s", format));
	else
		job = planner_job(p, path, output_folder(p, path, sub),
			arena_format(arena, "%s-mix.%s", name, format));
	name_job(job, s, name);
	job->mix = true;
	job->title = "mix";
	job->tracks = arena_zeroed(arena, (s->track_count + 1) * sizeof(*job->tracks));
	count_file(job, join(p, path, SESSION_FILE));
	for (size_t i = 0; i < s->track_count; i++) {
		if (s->tracks[i].bad != NULL) {
			planner_refuse(p, job, "track %s: %s", s->tracks[i].stem, s->tracks[i].bad);
			return;
		}
		if (is_other_format(p, s, &s->tracks[i]))
			continue;
		take_converted(p, path, &s->tracks[i]);
		if (s->tracks[i].bad != NULL) {
			planner_refuse(p, job, "track %s: %s", s->tracks[i].stem, s->tracks[i].bad);
			return;
		}
		job->tracks[job->track_count++] = s->tracks[i].track;
		for (size_t k = 0; k < s->tracks[i].track.part_count; k++)
			count_file(job, s->tracks[i].track.parts[k].path);
	}
	if (s->track_count == 0)
		planner_refuse(p, job, "the session has no tracks");
}

static void add_track(struct planner *p, const char *path, const char *name, const char *folder,
	const struct session_file *s, struct session_track *t)
{
	const char *input = t->track.part_count > 0 ? t->track.parts[0].path : path;
	struct job *job = planner_job(p, input, folder,
		arena_format(&p->plan->arena, "%s.%s", t->stem, p->args->format.writer->name));
	struct stat st;

	name_job(job, s, name);
	job->title = t->title;
	job->tracks = &t->track;
	job->track_count = 1;
	if (t->bad != NULL) {
		planner_refuse(p, job, "%s", t->bad);
		return;
	}
	if (folder != NULL && all_gone(&t->track) && lstat(job->output, &st) == 0 &&
		S_ISREG(st.st_mode)) {
		job->state = JOB_SKIPPED;
		job->reason = "its input is gone, the output is there";
		return;
	}
	take_converted(p, path, t);
	if (t->bad != NULL) {
		planner_refuse(p, job, "%s", t->bad);
		return;
	}
	job->input = t->track.parts[0].path;
	if (folder != NULL && p->args->out == NULL && t->track.part_count == 1 &&
		strcmp(base_of(t->track.parts[0].path), job->name) == 0) {
		job->state = JOB_SKIPPED;
		job->reason = "it is that already";
		return;
	}
	count_file(job, join(p, path, SESSION_FILE));
	job->cost = 0; /* of the sound alone */
	for (size_t i = 0; i < t->track.part_count; i++) {
		char beside[SOURCE_PATH_MAX];

		count_file(job, t->track.parts[i].path);
		if (source_is_raw_name(t->track.parts[i].path) &&
			source_beside(beside, t->track.parts[i].path) == TD_OK)
			count_file(job, beside);
	}
}

/* above: where the folder the session is in is below the INPUT. */
static void add_session(struct planner *p, const char *path, const char *above)
{
	struct arena *arena = &p->plan->arena;
	struct session_file s;
	struct fault fault;
	char *real = realpath(path, NULL);
	const char *name = arena_copy(arena, real != NULL ? base_of(real) : base_of(path));
	const char *manifest = join(p, path, SESSION_FILE);

	free(real);
	if (session_file_read(&s, arena, path, &fault) < 0) {
		planner_refuse(p, planner_job(p, manifest, NULL, NULL), "%s", fault.text);
		return;
	}
	if (!s.complete)
		p->note(p->user, path,
			"the session is not complete: what is there now is converted");
	if (p->args->mix) {
		add_mix(p, path, name, above, &s);
		return;
	}
	for (size_t i = 0; i < s.track_count; i++) {
		if (s.tracks[i].bad != NULL || !is_other_format(p, &s, &s.tracks[i]))
			add_track(p, path, name, output_folder(p, path, join(p, above, name)), &s,
				&s.tracks[i]);
	}
	if (s.track_count == 0)
		p->note(p->user, path, "the session has no tracks");
}

/* ---- folders ---- */

static bool is_session(struct planner *p, const char *path)
{
	struct stat st;

	return lstat(join(p, path, SESSION_FILE), &st) == 0;
}

static int visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

/* Whether a file in a folder is meant. */
static bool is_wanted(struct planner *p, const char *path, const char *name)
{
	char beside[SOURCE_PATH_MAX];

	if (p->args->mix || weight_of(name) == 0)
		return false;
	/* Outputs of earlier runs are among the inputs. */
	if (p->beside && strcasecmp(ending_of(name), p->args->format.writer->name) == 0)
		return false;
	/* Raw samples nobody describes are only taken when they are named. */
	if (source_is_raw_name(name) && !p->args->have_raw)
		return source_beside(beside, path) == TD_OK;
	return true;
}

/* Whether this is DIR of -o. */
static bool is_out(struct planner *p, const char *path)
{
	struct stat a, b;

	return p->args->out != NULL && stat(path, &a) == 0 && stat(p->args->out, &b) == 0 &&
		a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static void add_folder(struct planner *p, const char *path, const char *sub, unsigned depth)
{
	size_t before = p->plan->count;
	struct dirent **entries;
	int n;

	/* What it holds are outputs. */
	if (depth > 0 && is_out(p, path))
		return;
	if ((n = scandir(path, &entries, visible, alphasort)) < 0) {
		planner_refuse(p, planner_job(p, path, NULL, NULL), "%s", strerror(errno));
		return;
	}
	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name, *inner = join(p, path, name);
		struct stat st, target;

		p->plan->groups++;
		if (lstat(inner, &st) < 0) {
			planner_refuse(p, planner_job(p, inner, NULL, NULL), "%s", strerror(errno));
		} else if (S_ISDIR(st.st_mode) && is_session(p, inner)) {
			add_session(p, inner, sub);
		} else if (S_ISDIR(st.st_mode) && depth < PLAN_DEPTH_MAX) {
			add_folder(p, inner, join(p, sub, name), depth + 1);
		} else if (is_wanted(p, inner, name) &&
			(!S_ISLNK(st.st_mode) ||
				(stat(inner, &target) == 0 && S_ISREG(target.st_mode))) &&
			!S_ISDIR(st.st_mode)) {
			add_file(p, inner, path, sub);
		}
		free(entries[i]);
	}
	free(entries);
	if (depth == 0 && p->plan->count == before)
		p->note(p->user, path,
			p->args->mix ? "there is no session in it"
				     : "there is nothing to convert in it");
}

void planner_input(struct planner *p, const char *path)
{
	struct stat st;

	p->beside = p->args->out == NULL || is_out(p, path);
	if (strcmp(path, "-") == 0) {
		add_stdin(p);
	} else if (stat(path, &st) < 0) {
		planner_refuse(p, planner_job(p, path, NULL, NULL), "%s", strerror(errno));
	} else if (S_ISDIR(st.st_mode)) {
		if (is_session(p, path))
			add_session(p, path, "");
		else
			add_folder(p, path, "", 0);
	} else if (!S_ISREG(st.st_mode)) {
		planner_refuse(p, planner_job(p, path, NULL, NULL), "not a regular file");
	} else if (p->args->mix) {
		planner_refuse(p, planner_job(p, path, NULL, NULL),
			"--mix takes folders of sessions");
	} else {
		const char *base = base_of(path);

		add_file(p, path,
			base == path ? "."
				     : arena_format(&p->plan->arena, "%.*s",
					       (int)(base - path > 1 ? base - path - 1 : 1), path),
			"");
	}
}
