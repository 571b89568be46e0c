/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "tests/tools/truth_read.h"

/* A spurt goes on while the next packet is due within this of the end of the one before. */
enum { SPURT_SLACK_US = 5000 };

struct run {
	uint64_t at_us;
	int64_t ssrc, samples, opus, count;
	const char *kind;
	json_t *faults;
};

static int run_read(struct run *ret, json_t *v)
{
	json_int_t at, ssrc, samples, opus, count;

	if (json_unpack(v, "{s:I, s:s, s:I, s:I, s:I, s:I, s:o}", "at_us", &at, "kind", &ret->kind,
		    "ssrc", &ssrc, "samples", &samples, "opus", &opus, "count", &count, "faults",
		    &ret->faults) != 0 ||
		at < 0 || count < 1 || samples < 0 || samples > 5760)
		return TD_ERR_MALFORMED;
	ret->at_us = (uint64_t)at;
	ret->ssrc = ssrc;
	ret->samples = samples;
	ret->opus = opus;
	ret->count = count;
	return TD_OK;
}

static bool fate_loses(const char *fate, bool delayed_is_lost)
{
	if (strcmp(fate, "delayed") == 0)
		return delayed_is_lost;
	return strcmp(fate, "duplicated") != 0;
}

static int faults_apply(struct truth_packet *first, const struct run *run, bool delayed_is_lost)
{
	json_int_t packet;
	const char *fate;
	size_t i;
	json_t *v;

	json_array_foreach(run->faults, i, v)
	{
		if (json_unpack(v, "[I, s]", &packet, &fate) != 0 || packet < 0 ||
			packet >= run->count)
			return TD_ERR_MALFORMED;
		first[packet].lost = fate_loses(fate, delayed_is_lost);
	}
	return TD_OK;
}

static int run_add(struct truth_speaker *s, const struct run *run, uint64_t *end_us, bool late_lost)
{
	uint64_t step_us = (uint64_t)td_samples_to_ns(run->samples) / TD_US_NS;
	struct truth_packet *bigger, *p;
	int64_t i;

	bigger = realloc(s->packets, (s->n + (size_t)run->count) * sizeof(*bigger));
	if (bigger == NULL)
		return TD_ERR_NOMEM;
	s->packets = bigger;
	for (i = 0; i < run->count; i++) {
		p = &bigger[s->n + (size_t)i];
		*p = (struct truth_packet){ .at_us = run->at_us + (uint64_t)i * step_us,
			.ssrc = (uint32_t)run->ssrc,
			.opus = run->kind[0] == 'v' ? (int32_t)(run->opus + i) : -1,
			.continues = i > 0 };
	}
	p = &bigger[s->n];
	p->continues = s->n > 0 && p[-1].ssrc == p->ssrc && p->at_us < *end_us + SPURT_SLACK_US;
	s->n += (size_t)run->count;
	*end_us = run->at_us + (uint64_t)run->count * step_us;
	return faults_apply(p, run, late_lost);
}

int truth_speaker_read(struct truth_speaker *ret, json_t *speaker, bool delayed_is_lost)
{
	struct truth_speaker s = { .clip = json_string_value(json_object_get(speaker, "clip")) };
	const char *id = json_string_value(json_object_get(speaker, "user_id"));
	json_t *runs = json_object_get(speaker, "runs"), *v;
	uint64_t end_us = 0;
	struct run run;
	size_t i;
	int r;

	if ((r = td_id_parse(&s.user_id, id)) != TD_OK)
		goto out;
	r = s.clip != NULL && json_is_array(runs) ? TD_OK : TD_ERR_MALFORMED;
	json_array_foreach(runs, i, v)
	{
		if (r != TD_OK || (r = run_read(&run, v)) != TD_OK)
			goto out;
		if (run.kind[0] != 'p' && run.ssrc != 0 &&
			(r = run_add(&s, &run, &end_us, delayed_is_lost)) != TD_OK)
			goto out;
	}
	*ret = s;
	s.packets = NULL;
out:
	free(s.packets);
	return r;
}

void truth_speaker_free(struct truth_speaker *s)
{
	free(s->packets);
	s->packets = NULL;
}
