/* SPDX-License-Identifier: ISC */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "tests/voiceserver/truth.h"

/* Two packets still follow each other evenly when the rounding of times differs by so much. */
enum { SLACK_NS = 20000 };

struct run_fault {
	uint32_t packet; /* counted in its run */
	enum wire_fate fate;
};

struct run {
	uint64_t at_ns, last_ns;
	enum media_kind kind;
	uint16_t sequence;
	uint32_t timestamp, ssrc;
	unsigned samples, opus;
	uint32_t count;
	struct run_fault *faults;
	size_t n_faults;
};

struct told {
	struct run *runs;
	size_t n;
};

struct truth {
	const struct scenario *sc;
	struct told **told; /* [guild][speaker, or speakers + user] */
	uint64_t *first_ns; /* [guild] */
	bool nomem;
};

/* The scripted speakers, then the real clients. */
static size_t n_tellers(const struct scenario_guild *g)
{
	return g->n_speakers + g->n_users;
}

int truth_new(struct truth **ret, const struct scenario *sc)
{
	struct truth *t = calloc(1, sizeof(*t));
	int r = TD_ERR_NOMEM;
	size_t i;

	if (t == NULL)
		goto out;
	t->sc = sc;
	if ((t->told = calloc(sc->n_guilds, sizeof(*t->told))) == NULL ||
		(t->first_ns = calloc(sc->n_guilds, sizeof(*t->first_ns))) == NULL)
		goto out;
	for (i = 0; i < sc->n_guilds; i++) {
		t->first_ns[i] = UINT64_MAX;
		t->told[i] = calloc(n_tellers(&sc->guilds[i]), sizeof(**t->told));
		if (t->told[i] == NULL)
			goto out;
	}
	*ret = t;
	t = NULL;
	r = TD_OK;
out:
	truth_free(t);
	return r;
}

void truth_free(struct truth *t)
{
	size_t i, k, j;

	if (t == NULL)
		return;
	for (i = 0; t->told != NULL && i < t->sc->n_guilds; i++) {
		for (k = 0; t->told[i] != NULL && k < n_tellers(&t->sc->guilds[i]); k++) {
			for (j = 0; j < t->told[i][k].n; j++)
				free(t->told[i][k].runs[j].faults);
			free(t->told[i][k].runs);
		}
		free(t->told[i]);
	}
	free(t->told);
	free(t->first_ns);
	free(t);
}

/* Room in steps of powers of two: n is a power of two (or zero) exactly when the room is used up.
 */
static bool list_grow(void **list, size_t n, size_t size)
{
	void *bigger;

	if ((n & (n - 1)) != 0)
		return true;
	if ((bigger = realloc(*list, (n > 0 ? 2 * n : 1) * size)) == NULL)
		return false;
	*list = bigger;
	return true;
}

static bool follows(const struct run *r, const struct media *m, uint32_t ssrc)
{
	uint64_t due = r->last_ns + (uint64_t)td_samples_to_ns(r->samples);

	if (r->kind != m->kind || r->ssrc != ssrc ||
		(uint16_t)(r->sequence + r->count) != m->sequence || r->samples != m->samples ||
		r->timestamp + r->count * r->samples != m->timestamp)
		return false;
	/* Padding has no place in time that matters. */
	return r->kind == MEDIA_PADDING ||
		((r->kind != MEDIA_VOICE || r->opus + r->count == m->opus) &&
			m->at_ns + SLACK_NS >= due && m->at_ns <= due + SLACK_NS);
}

void truth_packet(struct truth *t, size_t guild, size_t speaker, const struct media *m,
	uint32_t ssrc, enum wire_fate fate)
{
	struct told *told = &t->told[guild][speaker];
	struct run *r = told->n > 0 ? &told->runs[told->n - 1] : NULL;

	if (m->kind == MEDIA_VIDEO || m->kind == MEDIA_RTCP)
		return;
	if (r == NULL || !follows(r, m, ssrc)) {
		if (!list_grow((void **)&told->runs, told->n, sizeof(*told->runs))) {
			t->nomem = true;
			return;
		}
		r = &told->runs[told->n++];
		*r = (struct run){ .at_ns = m->at_ns,
			.kind = m->kind,
			.sequence = m->sequence,
			.timestamp = m->timestamp,
			.ssrc = ssrc,
			.samples = m->samples,
			.opus = m->opus };
	}
	if (fate != WIRE_SENT && ssrc != 0) {
		if (!list_grow((void **)&r->faults, r->n_faults, sizeof(*r->faults)))
			t->nomem = true;
		else
			r->faults[r->n_faults++] = (struct run_fault){ r->count, fate };
	}
	r->last_ns = m->at_ns;
	r->count++;
}

void truth_first_datagram(struct truth *t, size_t guild, uint64_t at_ns)
{
	if (t->first_ns[guild] == UINT64_MAX)
		t->first_ns[guild] = at_ns;
}

static void run_write(FILE *f, const struct run *r)
{
	static const char *const kinds[] = { "voice", "silence", "padding" };
	size_t i;

	fprintf(f,
		"{\"at_us\":%" PRIu64 ",\"kind\":\"%s\",\"ssrc\":%u,\"seq\":%u,\"ts\":%u,"
		"\"samples\":%u,\"opus\":%u,\"count\":%u,\"faults\":[",
		(uint64_t)(r->at_ns / TD_US_NS), kinds[r->kind], r->ssrc, r->sequence, r->timestamp,
		r->samples, r->opus, r->count);
	for (i = 0; i < r->n_faults; i++)
		fprintf(f, "%s[%u,\"%s\"]", i > 0 ? "," : "", r->faults[i].packet,
			wire_fate_name(r->faults[i].fate));
	fprintf(f, "]}");
}

static void speaker_write(FILE *f, const struct told *told, uint64_t user_id, const char *clip,
	double skew_ppm, bool first)
{
	char id[TD_ID_TEXT];
	size_t k;

	fprintf(f, "%s\n{\"user_id\":\"%s\",\"clip\":\"%s\",\"skew_ppm\":%g,\"runs\":[",
		first ? "" : ",", td_id_format(id, user_id), clip, skew_ppm);
	for (k = 0; k < told->n; k++) {
		fprintf(f, "%s\n", k > 0 ? "," : "");
		run_write(f, &told->runs[k]);
	}
	fprintf(f, "]}");
}

static void guild_write(FILE *f, const struct truth *t, size_t guild)
{
	const struct scenario_guild *g = &t->sc->guilds[guild];
	const struct told *told = t->told[guild];
	char id[TD_ID_TEXT], channel[TD_ID_TEXT];
	size_t i, k;

	fprintf(f, "{\"guild_id\":\"%s\",\"channel_id\":\"%s\",\"user_id\":",
		td_id_format(id, g->guild_id), td_id_format(channel, g->channel_id));
	fprintf(f, "\"%s\",\"first_datagram_us\":", td_id_format(id, g->users[0]));
	if (t->first_ns[guild] == UINT64_MAX)
		fprintf(f, "null");
	else
		fprintf(f, "%" PRIu64, (uint64_t)(t->first_ns[guild] / TD_US_NS));
	fprintf(f, ",\"speakers\":[");
	for (i = 0; i < g->n_speakers; i++)
		speaker_write(f, &told[i], g->speakers[i].user_id, g->speakers[i].clip,
			g->speakers[i].skew_ppm, i == 0);
	for (k = 0; g->users_clip != NULL && k < g->n_users; k++)
		if (told[i + k].n > 0)
			speaker_write(f, &told[i + k], g->users[k], g->users_clip, 0, i + k == 0);
	fprintf(f, "]}");
}

int truth_write(const struct truth *t, const char *path)
{
	FILE *f;
	size_t i;
	bool bad;

	if (t->nomem)
		return TD_ERR_NOMEM;
	if ((f = fopen(path, "we")) == NULL)
		return TD_ERR_IO;
	fprintf(f, "{\"schema\":1,\"media\":\"%s\",\"guilds\":[", t->sc->media_dir);
	for (i = 0; i < t->sc->n_guilds; i++) {
		fprintf(f, "%s\n", i > 0 ? "," : "");
		guild_write(f, t, i);
	}
	fprintf(f, "]}\n");
	bad = ferror(f);
	return fclose(f) != 0 || bad ? TD_ERR_IO : TD_OK;
}
