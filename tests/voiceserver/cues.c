/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"
#include "tests/voiceserver/cues.h"
#include "tests/voiceserver/talk.h"

/* The script ends so much after the last packet: what is still under way shall arrive. */
enum { TAIL_MS = 300 };

/* At the same time the order is that of enum cue_kind. */
static int cue_compare(const void *a, const void *b)
{
	const struct cue *x = a, *y = b;

	if (x->at_ns != y->at_ns)
		return x->at_ns < y->at_ns ? -1 : 1;
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static size_t stay_cues(struct cue *out, const struct scenario_speaker *s, size_t index,
	size_t stay)
{
	const struct span *p = &s->present[stay];
	int64_t name_ns = (int64_t)talk_start_ns(s, stay) + s->speaking_delay_ns;
	size_t n = 0;

	if (name_ns < (int64_t)p->from_ns)
		name_ns = (int64_t)p->from_ns;
	if (p->from_ns > 0)
		out[n++] = (struct cue){ p->from_ns, CUE_JOIN, index, stay };
	if ((uint64_t)name_ns < p->to_ns)
		out[n++] = (struct cue){ (uint64_t)name_ns, CUE_NAME, index, stay };
	if (p->to_ns < UINT64_MAX)
		out[n++] = (struct cue){ p->to_ns, CUE_LEAVE, index, stay };
	return n;
}

static bool event_renews(const struct scenario_event *e)
{
	return e->new_info || e->kind == EVENT_NEW_SERVER;
}

int cues_new(struct cue **ret, size_t *ret_n, const struct scenario_guild *g, uint64_t length_ns)
{
	size_t i, k, n = 0, room = 1 + 2 * g->n_events;
	struct cue *cues;

	for (i = 0; i < g->n_speakers; i++)
		room += 3 * g->speakers[i].n_present;
	if ((cues = calloc(room, sizeof(*cues))) == NULL)
		return TD_ERR_NOMEM;
	for (i = 0; i < g->n_speakers; i++)
		for (k = 0; k < g->speakers[i].n_present; k++)
			n += stay_cues(cues + n, &g->speakers[i], i, k);
	for (i = 0; i < g->n_events; i++) {
		const struct scenario_event *e = &g->events[i];

		cues[n++] = (struct cue){ e->at_ns, CUE_EVENT, i, 0 };
		if (event_renews(e))
			cues[n++] = (struct cue){ e->at_ns + e->new_info_ns, CUE_NEW_INFO, i, 0 };
	}
	cues[n++] = (struct cue){ length_ns + TAIL_MS * TD_MS_NS, CUE_END, 0, 0 };
	qsort(cues, n, sizeof(*cues), cue_compare);
	*ret = cues;
	*ret_n = n;
	return TD_OK;
}
