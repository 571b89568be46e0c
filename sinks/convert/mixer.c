/* SPDX-License-Identifier: ISC */
#include "sinks/convert/mixer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

struct lane {
	struct reel *reel;
	uint64_t have; /* samples read and not mixed yet */
	uint32_t used; /* of pcm */
	bool silent, ended;
	int16_t pcm[MIXER_BLOCK * RAW_CHANNELS_MAX];
};

struct mixer {
	struct source_info info;
	struct lane *lanes;
	size_t count;
};

int mixer_open(struct mixer **ret, const struct job *job, const struct witness *witness,
	struct fault *fault)
{
	struct mixer *m = calloc(1, sizeof(*m));
	int r = TD_ERR_NOMEM;

	if (m == NULL || (m->lanes = calloc(job->track_count, sizeof(*m->lanes))) == NULL) {
		fault_set(fault, r, "%s", td_strerror(r));
		goto out;
	}
	for (m->count = 0; m->count < job->track_count; m->count++) {
		const struct reel_conf conf = { .track = &job->tracks[m->count],
			.input_flags = INPUT_NOFOLLOW,
			.restored = true,
			.witness = witness };
		const struct source_info *info;
		struct fault inner;

		if ((r = reel_open(&m->lanes[m->count].reel, &conf, &inner)) < 0) {
			fault_set(fault, r, "%s: %s", conf.track->parts[0].path, inner.text);
			goto out;
		}
		info = reel_info(m->lanes[m->count].reel);
		if (m->count == 0)
			m->info = *info;
		if (info->rate != m->info.rate) {
			r = fault_set(fault, TD_ERR_UNSUPPORTED,
				"%s: another rate than the tracks before",
				conf.track->parts[0].path);
			m->count++;
			goto out;
		}
		if (info->channels > m->info.channels)
			m->info.channels = info->channels;
		if (info->samples > m->info.samples || info->samples == SOURCE_UNKNOWN)
			m->info.samples = info->samples;
	}
	m->info.title[0] = m->info.album[0] = '\0';
	*ret = m;
	m = NULL;
	r = TD_OK;
out:
	mixer_free(m);
	return r;
}

void mixer_free(struct mixer *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; m->lanes != NULL && i < m->count; i++)
		reel_free(m->lanes[i].reel);
	free(m->lanes);
	free(m);
}

const struct source_info *mixer_info(const struct mixer *m)
{
	return &m->info;
}

static int lane_fill(struct lane *l, struct fault *fault)
{
	int r;

	if (l->ended || l->have > 0)
		return TD_OK;
	if ((r = reel_read(l->reel, l->pcm, MIXER_BLOCK, &l->have, &l->silent, fault)) < 0)
		return r;
	l->used = 0;
	l->ended = l->have == 0;
	return TD_OK;
}

static void lane_add(struct lane *l, int32_t *sum, uint32_t n, uint32_t channels)
{
	uint32_t own = reel_info(l->reel)->channels;
	const int16_t *pcm = l->pcm + (size_t)l->used * own;

	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t c = 0; c < channels; c++)
			sum[i * channels + c] += pcm[i * own + (own > 1 ? c : 0)];
	}
	l->used += n;
}

int mixer_read(struct mixer *m, int32_t *sum, uint32_t max, uint64_t *ret_n, bool *ret_silent,
	struct fault *fault)
{
	uint64_t n = UINT64_MAX;
	bool silent = true;
	int r;

	*ret_n = 0;
	for (size_t i = 0; i < m->count; i++) {
		struct lane *l = &m->lanes[i];

		if ((r = lane_fill(l, fault)) < 0)
			return r;
		if (l->ended)
			continue;
		silent = silent && l->silent;
		n = l->have < n ? l->have : n;
	}
	*ret_silent = silent;
	if (n == UINT64_MAX)
		return TD_OK;
	if (!silent) {
		n = n < max ? n : max;
		memset(sum, 0, (size_t)n * m->info.channels * sizeof(*sum));
	}
	for (size_t i = 0; i < m->count; i++) {
		struct lane *l = &m->lanes[i];

		if (l->ended)
			continue;
		if (!l->silent)
			lane_add(l, sum, (uint32_t)n, m->info.channels);
		l->have -= n;
	}
	*ret_n = n;
	return TD_OK;
}

enum source_end mixer_finish(struct mixer *m)
{
	enum source_end end = SOURCE_WHOLE;

	for (size_t i = 0; i < m->count; i++) {
		enum source_end e = reel_finish(m->lanes[i].reel);

		end = e > end ? e : end;
	}
	return end;
}

struct timespec mixer_newest(const struct mixer *m)
{
	struct timespec newest = { 0 };

	for (size_t i = 0; i < m->count; i++) {
		struct timespec t = reel_newest(m->lanes[i].reel);

		if (t.tv_sec > newest.tv_sec ||
			(t.tv_sec == newest.tv_sec && t.tv_nsec > newest.tv_nsec))
			newest = t;
	}
	return newest;
}

uint32_t mixer_peak(const int32_t *sum, size_t len)
{
	uint32_t peak = 0;

	for (size_t i = 0; i < len; i++) {
		uint32_t x = sum[i] < 0 ? 0u - (uint32_t)sum[i] : (uint32_t)sum[i];

		peak = x > peak ? x : peak;
	}
	return peak;
}

double mixer_gain(uint32_t peak, uint32_t ceiling)
{
	return peak > ceiling ? (double)ceiling / peak : 1.0;
}

void mixer_scale(int16_t *out, const int32_t *sum, size_t len, double gain)
{
	/* No sample is beyond the peak: nothing can be out of range. */
	for (size_t i = 0; i < len; i++)
		out[i] = (int16_t)lrint(sum[i] * gain);
}
