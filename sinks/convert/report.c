/* SPDX-License-Identifier: ISC */
#include "sinks/convert/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/json_text.h"
#include "sinks/convert/fault.h"

enum { DRAW_NS = 200000000, LINE_MAX_LEN = 512, WIDTH_DEFAULT = 80, BAR_MAX = 40 };

struct report {
	struct report_conf conf;
	const struct job *jobs;
	size_t count;
	size_t done, skipped, failed, warnings;
	uint64_t start_ns, drawn_ns;
	bool drawn; /* the line that moves is on the screen */
};

int report_new(struct report **ret, const struct report_conf *conf, const struct job *jobs,
	size_t count)
{
	struct report *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return TD_ERR_NOMEM;
	r->conf = *conf;
	r->jobs = jobs;
	r->count = count;
	r->start_ns = td_mono_ns();
	*ret = r;
	return TD_OK;
}

void report_free(struct report *r)
{
	free(r);
}

/* ---- the line that moves ---- */

static void format_time(char *ret, size_t len, double seconds)
{
	uint64_t s = seconds < 359999 ? (uint64_t)(seconds + 0.5) : 359999;

	if (s >= 3600)
		snprintf(ret, len, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600, s / 60 % 60,
			s % 60);
	else
		snprintf(ret, len, "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
}

void report_line(char *ret, size_t len, const struct report_state *s, int width)
{
	double part = s->all_cost > 0 ? s->cost / s->all_cost : 0;
	char left[32] = "-:--", tail[128], bar[BAR_MAX + 1];
	int room;

	part = part < 0 ? 0 : part > 1 ? 1 : part;
	/* Nothing can be foretold from nothing. */
	if (part > 0 && s->elapsed >= 1)
		format_time(left, sizeof(left), s->elapsed / part * (1 - part));
	snprintf(tail, sizeof(tail), "%3.0f%%  %zu/%zu  %.1fx  %s left", part * 100, s->files,
		s->all_files, s->elapsed > 0 ? s->sound / s->elapsed : 0, left);
	room = width - 1 - (int)strlen(tail) - 3;
	room = room > BAR_MAX ? BAR_MAX : room;
	if (room < 4) {
		snprintf(ret, len, "%.*s", width > 1 ? width - 1 : 0, tail);
		return;
	}
	for (int i = 0; i < room; i++)
		bar[i] = i < (int)(part * room) ? '#' : '.';
	bar[room] = '\0';
	snprintf(ret, len, "[%s] %s", bar, tail);
}

static int terminal_width(const struct report *r)
{
	struct winsize size;

	if (r->conf.width > 0)
		return r->conf.width;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return WIDTH_DEFAULT;
}

static bool moves(const struct report *r)
{
	return r->conf.terminal && !r->conf.json && !r->conf.quiet;
}

static void clear_line(struct report *r)
{
	if (r->drawn)
		fputs("\r\033[K", stderr);
	r->drawn = false;
}

static void draw(struct report *r)
{
	struct report_state s = { .elapsed = (double)(td_mono_ns() - r->start_ns) / TD_SEC_NS };
	char line[LINE_MAX_LEN];

	for (size_t i = 0; i < r->count; i++) {
		const struct job *job = &r->jobs[i];
		bool over = job->state == JOB_DONE || job->state == JOB_FAILED;
		/* A file without any cost is one, too. */
		double cost = (double)job->cost + 1;

		if (job->state == JOB_SKIPPED || job->state == JOB_REFUSED)
			continue;
		s.all_files++;
		s.files += over;
		s.all_cost += cost;
		if (over)
			s.cost += cost;
		else if (job->total > 0 && job->total != UINT64_MAX && job->samples < job->total)
			s.cost += cost * (double)job->samples / (double)job->total;
		if (job->rate > 0)
			s.sound += (double)job->samples / job->rate;
	}
	report_line(line, sizeof(line), &s, terminal_width(r));
	fprintf(stderr, "\r%s\033[K", line);
	fflush(stderr);
	r->drawn = true;
}

void report_tick(struct report *r)
{
	uint64_t now = td_mono_ns();

	if (!moves(r) || now - r->drawn_ns < DRAW_NS)
		return;
	r->drawn_ns = now;
	draw(r);
}

/* ---- JSON ---- */

/* Steals line. */
static void put_json(json_t *line)
{
	char *text = line != NULL ? json_text(line, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;

	if (text != NULL)
		puts(text);
	fflush(stdout);
	free(text);
	json_decref(line);
}

static json_t *job_json(const char *event, const struct job *job)
{
	json_t *line = json_pack("{s:s, s:o, s:o}", "event", event, "input",
		json_any_text(job->input), "output", json_any_text(job->output));

	if (line != NULL && job->rate > 0) {
		uint64_t n =
			job->state == JOB_STARTED && job->samples == 0 ? job->total : job->samples;

		if (n != UINT64_MAX) {
			json_object_set_new(line, "samples", json_integer((json_int_t)n));
			json_object_set_new(line, "seconds", json_real((double)n / job->rate));
		}
		json_object_set_new(line, "rate", json_integer(job->rate));
	}
	return line;
}

/* ---- what happens ---- */

__attribute__((format(printf, 3, 4))) static void put_line(struct report *r, const char *input,
	const char *fmt, ...)
{
	struct fault line, name;
	va_list ap;

	clear_line(r);
	va_start(ap, fmt);
	vsnprintf(line.text, sizeof(line.text), fmt, ap);
	va_end(ap);
	fault_clean(line.text);
	fault_set(&name, 0, "%s", input);
	fprintf(stderr, "%s: %s: %s\n", r->conf.program, name.text, line.text);
}

void report_started(struct report *r, const struct job *job)
{
	if (r->conf.json)
		put_json(job_json("started", job));
	else if (r->conf.verbose)
		put_line(r, job->input, "begins, to become %s", job->output);
}

void report_progress(struct report *r, const struct job *job)
{
	json_t *line;

	if (!r->conf.json)
		return;
	line = job_json("progress", job);
	if (line != NULL && job->total != UINT64_MAX)
		json_object_set_new(line, "total", json_integer((json_int_t)job->total));
	put_json(line);
}

void report_warning(struct report *r, const char *input, const char *text)
{
	r->warnings++;
	if (r->conf.json)
		put_json(json_pack("{s:s, s:o, s:o}", "event", "warning", "input",
			json_any_text(input), "text", json_any_text(text)));
	else
		put_line(r, input, "warning: %s", text);
}

void report_deleted(struct report *r, const char *path)
{
	if (r->conf.json)
		put_json(json_pack("{s:s, s:o}", "event", "deleted", "input", json_any_text(path)));
	else if (r->conf.verbose)
		put_line(r, path, "deleted");
}

static void ended_done(struct report *r, const struct job *job)
{
	char length[32];
	json_t *line;

	r->done++;
	if (r->conf.json) {
		line = job_json("done", job);
		if (line != NULL)
			json_object_set_new(line, "warnings", json_integer(job->warnings));
		if (line != NULL && job->copied)
			json_object_set_new(line, "copied", json_true());
		put_json(line);
		return;
	}
	if (r->conf.quiet || (moves(r) && !r->conf.verbose))
		return;
	format_time(length, sizeof(length), job->rate > 0 ? (double)job->samples / job->rate : 0);
	put_line(r, job->input, "%s (%s%s)", job->output, length,
		job->copied ? ", copied: it is that already" : "");
}

void report_ended(struct report *r, const struct job *job)
{
	json_t *line;

	if (job->state == JOB_DONE) {
		ended_done(r, job);
	} else if (job->state == JOB_SKIPPED) {
		r->skipped++;
		if (r->conf.json) {
			line = job_json("skipped", job);
			if (line != NULL)
				json_object_set_new(line, "reason", json_any_text(job->reason));
			put_json(line);
		} else if (!r->conf.quiet && (!moves(r) || r->conf.verbose)) {
			put_line(r, job->input, "skipped: %s", job->reason);
		}
	} else {
		r->failed++;
		if (r->conf.json) {
			line = job_json("failed", job);
			if (line != NULL)
				json_object_set_new(line, "error", json_any_text(job->reason));
			put_json(line);
		} else {
			put_line(r, job->input, "%s", job->reason);
		}
	}
}

size_t report_end(struct report *r, bool interrupted)
{
	double elapsed = (double)(td_mono_ns() - r->start_ns) / TD_SEC_NS;

	clear_line(r);
	if (r->conf.json) {
		put_json(json_pack("{s:s, s:I, s:I, s:I, s:b, s:f}", "event", "end", "done",
			(json_int_t)r->done, "skipped", (json_int_t)r->skipped, "failed",
			(json_int_t)r->failed, "interrupted", interrupted ? 1 : 0, "elapsed",
			elapsed));
	} else if (!r->conf.quiet || interrupted) {
		fprintf(stderr, "%s: %s%zu converted, %zu skipped, %zu failed", r->conf.program,
			interrupted ? "interrupted: " : "", r->done, r->skipped, r->failed);
		if (interrupted)
			fprintf(stderr, ", %zu not done",
				r->count - r->done - r->skipped - r->failed);
		fputc('\n', stderr);
	}
	/* Named again where one line among many is easily missed. */
	if (r->failed > 0) {
		fprintf(stderr, "%s: failed:\n", r->conf.program);
		for (size_t i = 0; i < r->count; i++) {
			struct fault name;

			if (r->jobs[i].state != JOB_FAILED && r->jobs[i].state != JOB_REFUSED)
				continue;
			fault_set(&name, 0, "%s", r->jobs[i].input);
			fprintf(stderr, "  %s\n", name.text);
		}
	}
	return r->failed;
}
