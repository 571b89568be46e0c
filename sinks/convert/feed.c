/* SPDX-License-Identifier: ISC */
#include "sinks/convert/feed.h"

#include <stdlib.h>

#include "common/err.h"

struct feed {
	const struct job *job;
	const struct witness *witness;
	struct reel *reel;   /* one of these two */
	struct mixer *mixer; /* NULL once something failed */
	double gain;
	int32_t sum[MIXER_BLOCK * RAW_CHANNELS_MAX];
};

int feed_open(struct feed **ret, const struct job *job, const struct raw_form *raw,
	const struct witness *witness, struct fault *fault)
{
	struct feed *f = calloc(1, sizeof(*f));
	int r;

	if (f == NULL)
		return fault_set(fault, TD_ERR_NOMEM, "%s", td_strerror(TD_ERR_NOMEM));
	f->job = job;
	f->witness = witness;
	f->gain = 1;
	if (job->mix) {
		r = mixer_open(&f->mixer, job, witness, fault);
	} else {
		const struct reel_conf conf = { .track = &job->tracks[0],
			.raw = job->session ? NULL : raw,
			.input_flags = job->session ? INPUT_NOFOLLOW : 0,
			.witness = witness };

		r = reel_open(&f->reel, &conf, fault);
	}
	if (r < 0) {
		feed_free(f);
		return r;
	}
	*ret = f;
	return TD_OK;
}

void feed_free(struct feed *f)
{
	if (f == NULL)
		return;
	reel_free(f->reel);
	mixer_free(f->mixer);
	free(f);
}

const struct source_info *feed_info(const struct feed *f)
{
	return f->reel != NULL ? reel_info(f->reel) : mixer_info(f->mixer);
}

const struct source *feed_source(const struct feed *f)
{
	return f->reel != NULL && f->job->tracks[0].part_count == 1 ? reel_source(f->reel) : NULL;
}

static void say_nothing(void *user, const char *text)
{
	(void)user;
	(void)text;
}

int feed_measure(struct feed *f, uint32_t ceiling, struct fault *fault)
{
	/* What is to be said is said the first time. */
	static const struct witness quiet = { .warn = say_nothing };
	uint32_t channels, peak = 0, p;
	bool silent;
	uint64_t n;
	int r;

	if (f->mixer == NULL)
		return TD_OK;
	channels = mixer_info(f->mixer)->channels;
	do {
		if ((r = mixer_read(f->mixer, f->sum, MIXER_BLOCK, &n, &silent, fault)) < 0)
			return r;
		if (!silent && (p = mixer_peak(f->sum, (size_t)n * channels)) > peak)
			peak = p;
	} while (n > 0);
	f->gain = mixer_gain(peak, ceiling);
	mixer_free(f->mixer);
	f->mixer = NULL;
	return mixer_open(&f->mixer, f->job, &quiet, fault);
}

int feed_read(struct feed *f, int16_t *pcm, uint32_t max, uint64_t *ret_n, bool *ret_silent,
	struct fault *fault)
{
	int r;

	if (f->reel != NULL)
		return reel_read(f->reel, pcm, max, ret_n, ret_silent, fault);
	if ((r = mixer_read(f->mixer, f->sum, max < MIXER_BLOCK ? max : MIXER_BLOCK, ret_n,
		     ret_silent, fault)) < 0)
		return r;
	if (!*ret_silent)
		mixer_scale(pcm, f->sum, (size_t)*ret_n * mixer_info(f->mixer)->channels, f->gain);
	return TD_OK;
}

enum source_end feed_finish(struct feed *f)
{
	return f->reel != NULL ? reel_finish(f->reel) : mixer_finish(f->mixer);
}

struct timespec feed_newest(const struct feed *f)
{
	return f->reel != NULL ? reel_newest(f->reel) : mixer_newest(f->mixer);
}
