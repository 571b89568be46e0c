/* SPDX-License-Identifier: ISC */
#include "sinks/convert/reel.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"

struct reel {
	struct reel_conf conf;
	struct source_conf source_conf;
	struct source *source; /* of part `part`; NULL: it is not open (any more) */
	struct source_info info;
	struct timespec newest;
	size_t part, cut;    /* the next of each */
	uint64_t out;        /* samples so far, at the rate of the files */
	uint64_t part_end;   /* where the part has to end; UINT64_MAX: where it likes */
	uint64_t part_got;   /* samples that came from it */
	uint64_t held;       /* silence of it that is not passed on yet */
	enum source_end end; /* so far */
};

/* A position of the session at the rate of the files. */
static uint64_t scale(const struct reel *r, uint64_t position)
{
	return position / TD_RATE * r->info.rate + position % TD_RATE * r->info.rate / TD_RATE;
}

static const struct job_part *part_at(const struct reel *r, size_t i)
{
	return i < r->conf.track->part_count ? &r->conf.track->parts[i] : NULL;
}

/* Where part i begins in what comes out. */
static uint64_t part_start(const struct reel *r, const struct job_part *part)
{
	uint64_t position = part->position;

	for (size_t i = 0; !r->conf.restored && i < r->conf.track->cut_count; i++) {
		const struct job_cut *c = &r->conf.track->cuts[i];

		if (c->position >= part->position)
			break;
		position -= c->samples < position ? c->samples : position;
	}
	return scale(r, position);
}

static int part_open(struct reel *r, struct fault *fault)
{
	const struct job_part *part = part_at(r, r->part), *next = part_at(r, r->part + 1);
	const struct source_info *info;
	const struct stat *st;
	struct fault inner;
	int e;

	r->source_conf.path = part->path;
	if ((e = source_open(&r->source, &r->source_conf, &inner)) < 0)
		return r->conf.track->part_count == 1
			? fault_set(fault, e, "%s", inner.text)
			: fault_set(fault, e, "%s: %s", part->path, inner.text);
	info = source_info(r->source);
	if (r->part == 0)
		r->info = *info;
	if (info->rate != r->info.rate || info->channels != r->info.channels)
		return fault_set(fault, TD_ERR_UNSUPPORTED,
			"%s: another rate or number of channels than the parts before", part->path);
	st = &source_input(r->source)->stat;
	if (st->st_mtim.tv_sec > r->newest.tv_sec ||
		(st->st_mtim.tv_sec == r->newest.tv_sec && st->st_mtim.tv_nsec > r->newest.tv_nsec))
		r->newest = st->st_mtim;
	r->part_end = next != NULL ? part_start(r, next) : UINT64_MAX;
	r->part_got = r->held = 0;
	return TD_OK;
}

/* How long the whole will be, as far as its parts and their manifest say. */
static uint64_t total(const struct reel *r)
{
	const struct job_track *t = r->conf.track;
	uint64_t last = r->info.samples, n;

	if (t->part_count > 1) {
		/* The last one is opened later: its share is a guess, for progress alone. */
		last = scale(r, t->parts[t->part_count - 2].samples);
	}
	if (last == SOURCE_UNKNOWN)
		return last;
	n = part_start(r, &t->parts[t->part_count - 1]) + last;
	for (size_t i = 0; r->conf.restored && i < t->cut_count; i++) {
		if (t->cuts[i].position >= t->parts[t->part_count - 1].position)
			n += scale(r, t->cuts[i].samples);
	}
	return n;
}

int reel_open(struct reel **ret, const struct reel_conf *conf, struct fault *fault)
{
	struct reel *r = calloc(1, sizeof(*r));
	int e;

	if (r == NULL)
		return fault_set(fault, TD_ERR_NOMEM, "%s", td_strerror(TD_ERR_NOMEM));
	r->conf = *conf;
	r->source_conf = (struct source_conf){ .raw = conf->raw,
		.input_flags = conf->input_flags,
		.witness = conf->witness };
	if ((e = part_open(r, fault)) < 0) {
		reel_free(r);
		return e;
	}
	r->info.samples = total(r);
	*ret = r;
	return TD_OK;
}

void reel_free(struct reel *r)
{
	if (r == NULL)
		return;
	source_free(r->source);
	free(r);
}

const struct source_info *reel_info(const struct reel *r)
{
	return &r->info;
}

const struct source *reel_source(const struct reel *r)
{
	return r->source;
}

struct timespec reel_newest(const struct reel *r)
{
	return r->newest;
}

/* The next cut that is to be put back, and where; NULL: none. */
static const struct job_cut *next_cut(const struct reel *r)
{
	return r->conf.restored && r->cut < r->conf.track->cut_count ? &r->conf.track->cuts[r->cut]
								     : NULL;
}

/* Silence up to a place in what comes out; false: it is there already. */
static bool silence_to(struct reel *r, uint64_t place, uint64_t *ret_n, bool *ret_silent)
{
	if (r->out >= place)
		return false;
	*ret_n = place - r->out;
	*ret_silent = true;
	r->out = place;
	return true;
}

static void spoil(struct reel *r, enum source_end end)
{
	r->end = end > r->end ? end : r->end;
}

static void part_close(struct reel *r)
{
	const struct job_part *part = part_at(r, r->part);

	/* One less is what rounding to another rate can cost. */
	if (part->samples != JOB_TO_END &&
		r->part_got + (r->info.rate != TD_RATE) < scale(r, part->samples)) {
		witness_warn(r->conf.witness, "%s ends early: silence in its place", part->path);
		spoil(r, SOURCE_DAMAGED);
	}
	spoil(r, source_finish(r->source));
	source_free(r->source);
	r->source = NULL;
	r->part++;
}

/* From the part that is open, up to the next cut or the next part's place. *ret_n 0: it is over. */
static int part_read(struct reel *r, int16_t *pcm, uint32_t max, uint64_t *ret_n, bool *ret_silent,
	struct fault *fault)
{
	const struct job_cut *cut = next_cut(r);
	bool several = r->conf.track->part_count > 1;
	uint64_t room = r->part_end - r->out;
	struct fault inner;
	int e;

	if (cut != NULL && scale(r, cut->position) - r->out < room)
		room = scale(r, cut->position) - r->out;
	if (r->held > 0) {
		*ret_n = r->held;
		*ret_silent = true;
	} else if ((e = source_read(r->source, pcm, room < max ? (uint32_t)room : max, ret_n,
			    ret_silent, &inner)) < 0) {
		return several
			? fault_set(fault, e, "%s: %s", part_at(r, r->part)->path, inner.text)
			: fault_set(fault, e, "%s", inner.text);
	}
	if (*ret_silent) {
		r->held = *ret_n > room ? *ret_n - room : 0;
		*ret_n -= r->held;
	}
	r->part_got += *ret_n;
	r->out += *ret_n;
	return TD_OK;
}

/* What is left in a part whose place is full belongs nowhere. */
static int part_full(struct reel *r, int16_t *pcm, struct fault *fault)
{
	uint64_t n = r->held;
	bool silent;
	int e;

	if (n == 0 && (e = source_read(r->source, pcm, 1, &n, &silent, fault)) < 0)
		return e;
	if (n > 0) {
		spoil(r, SOURCE_DAMAGED);
		witness_warn(r->conf.witness, "%s is longer than its place: cut off",
			part_at(r, r->part)->path);
	}
	part_close(r);
	return TD_OK;
}

int reel_read(struct reel *r, int16_t *pcm, uint32_t max, uint64_t *ret_n, bool *ret_silent,
	struct fault *fault)
{
	const struct job_cut *cut;
	int e;

	*ret_n = 0;
	*ret_silent = false;
	for (;;) {
		cut = next_cut(r);
		if (cut != NULL && r->out >= scale(r, cut->position)) {
			r->cut++;
			if (silence_to(r, scale(r, cut->position + cut->samples), ret_n,
				    ret_silent))
				return TD_OK;
			continue;
		}
		if (r->source == NULL && part_at(r, r->part) == NULL)
			return TD_OK;
		if (r->source == NULL && (e = part_open(r, fault)) < 0)
			return e;
		if (silence_to(r, part_start(r, part_at(r, r->part)), ret_n, ret_silent))
			return TD_OK;
		if (r->out >= r->part_end) {
			if ((e = part_full(r, pcm, fault)) < 0)
				return e;
			continue;
		}
		if ((e = part_read(r, pcm, max, ret_n, ret_silent, fault)) < 0)
			return e;
		if (*ret_n > 0)
			return TD_OK;
		part_close(r);
	}
}

enum source_end reel_finish(struct reel *r)
{
	if (r->source != NULL)
		spoil(r, source_finish(r->source));
	return r->end;
}
