/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sinks/convert/plan_add.h"

/* A file that is read, to be found by what it is and not by how it is called. */
struct inode {
	dev_t dev;
	ino_t ino;
	const struct job *job;
};

/* An output by where it will really be. */
struct place {
	char *path;
	struct job *job;
};

static int by_inode(const void *left, const void *right)
{
	const struct inode *a = left, *b = right;

	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	return a->ino < b->ino ? -1 : a->ino > b->ino;
}

static int by_place(const void *left, const void *right)
{
	const struct place *a = left, *b = right;
	int d = strcmp(a->path, b->path);

	return d != 0 ? d : a->job < b->job ? -1 : a->job > b->job;
}

/* Every file that is read, sorted. */
static struct inode *collect_inodes(struct planner *p, size_t *ret_count)
{
	struct plan *plan = p->plan;
	size_t room = 0, n = 0;
	struct inode *inodes;
	struct stat st;

	for (size_t i = 0; i < plan->count; i++) {
		for (size_t t = 0; t < plan->jobs[i].track_count; t++)
			room += plan->jobs[i].tracks[t].part_count;
	}
	inodes = arena_zeroed(&plan->arena, (room + 1) * sizeof(*inodes));
	for (size_t i = 0; i < plan->count; i++) {
		const struct job *job = &plan->jobs[i];

		for (size_t t = 0; t < job->track_count; t++) {
			for (size_t k = 0; k < job->tracks[t].part_count; k++) {
				if (stat(job->tracks[t].parts[k].path, &st) == 0)
					inodes[n++] = (struct inode){ st.st_dev, st.st_ino, job };
			}
		}
	}
	if (n > 0)
		qsort(inodes, n, sizeof(*inodes), by_inode);
	*ret_count = n;
	return inodes;
}

/* The folder as it really is called; as far as it is there yet. */
static char *real_path(struct arena *arena, const char *path)
{
	char *copy = arena_copy(arena, path), *slash, *real, *ret;
	size_t len = strlen(copy);

	for (;;) {
		real = realpath(len > 0 ? copy : path[0] == '/' ? "/" : ".", NULL);
		if (real != NULL || len == 0)
			break;
		slash = strrchr(copy, '/');
		len = slash != NULL ? (size_t)(slash - copy) : 0;
		copy[len] = '\0';
	}
	ret = arena_format(arena, "%s/%s", real != NULL ? real : "",
		path + len + strspn(path + len, "/"));
	free(real);
	for (len = strlen(ret); len > 1 && ret[len - 1] == '/'; len--)
		ret[len - 1] = '\0';
	return ret;
}

static bool same_input(const struct job *a, const struct job *b)
{
	struct stat x, y;

	return !a->mix && !b->mix && a->track_count == 1 && b->track_count == 1 &&
		stat(a->tracks[0].parts[0].path, &x) == 0 &&
		stat(b->tracks[0].parts[0].path, &y) == 0 && x.st_dev == y.st_dev &&
		x.st_ino == y.st_ino;
}

/* Of several jobs with one output the first one keeps it. */
static void check_places(struct planner *p)
{
	struct plan *plan = p->plan;
	struct place *places = arena_zeroed(&plan->arena, (plan->count + 1) * sizeof(*places));
	size_t n = 0, first = 0;

	for (size_t i = 0; i < plan->count; i++) {
		struct job *job = &plan->jobs[i];

		if (job->folder == NULL || job->state == JOB_REFUSED)
			continue;
		places[n++] = (struct place){
			arena_format(&plan->arena, "%s/%s", real_path(&plan->arena, job->folder),
				job->name),
			job,
		};
	}
	if (n > 0)
		qsort(places, n, sizeof(*places), by_place);
	for (size_t i = 1; i < n; i++) {
		if (strcmp(places[i].path, places[first].path) != 0) {
			first = i;
		} else if ((places[i].job->mix && places[first].job->mix) ||
			same_input(places[i].job, places[first].job)) {
			places[i].job->state = JOB_SKIPPED;
			places[i].job->reason = "given twice";
		} else {
			planner_refuse(p, places[i].job, "would become %s, and so does %s",
				places[i].job->output, places[first].job->input);
		}
	}
}

/* What is there where the output will be. */
static void check_there(struct planner *p, struct job *job, const struct inode *inodes,
	size_t count)
{
	struct inode key;
	struct stat st;

	if (lstat(job->output, &st) < 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			planner_refuse(p, job, "%s: %s", job->output, strerror(errno));
		return;
	}
	key = (struct inode){ st.st_dev, st.st_ino, NULL };
	if (count > 0 && bsearch(&key, inodes, count, sizeof(key), by_inode) != NULL) {
		planner_refuse(p, job, "%s is an input itself; -o FOLDER puts the output elsewhere",
			job->output);
		return;
	}
	if (!S_ISREG(st.st_mode)) {
		planner_refuse(p, job, "%s is there and not a regular file", job->output);
		return;
	}
	if (p->args->force || job->newest.tv_sec == 0 || job->newest.tv_sec > st.st_mtim.tv_sec ||
		(job->newest.tv_sec == st.st_mtim.tv_sec &&
			job->newest.tv_nsec > st.st_mtim.tv_nsec))
		return;
	job->state = JOB_SKIPPED;
	job->reason = "up to date";
}

void planner_clashes(struct planner *p)
{
	struct plan *plan = p->plan;
	struct inode *inodes;
	size_t count, to_stdout = 0;

	check_places(p);
	inodes = collect_inodes(p, &count);
	for (size_t i = 0; i < plan->count; i++) {
		struct job *job = &plan->jobs[i];

		if (job->state == JOB_PLANNED && job->folder != NULL)
			check_there(p, job, inodes, count);
		if (job->state == JOB_PLANNED && job->folder == NULL && to_stdout++ > 0)
			planner_refuse(p, job, "only one output fits on standard output");
	}
}
