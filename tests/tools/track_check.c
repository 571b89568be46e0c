/* SPDX-License-Identifier: ISC */
#include <getopt.h>
#include <math.h>
#include <opus.h>
#include <sndfile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "tests/tools/truth_read.h"
#include "tests/voiceserver/ogg_clip.h"

/*
 * track_check TRUTH SESSION: compares the tracks of a recorded session with what the voice server
 * sent. Per speaker, one talk spurt after the other: the packets that arrived are decoded here once
 * more, looked for in the track, and compared sample by sample where no loss has touched the
 * decoder. Whatever sounds in a track outside of its speaker's spurts is somebody else's.
 */
enum { MAX_SPEAKERS = 1000, MAX_TOLD = 10, MAX_CHANNELS = 2, FRAME_MAX = 5760 };
/* Behind a loss: so many packets are not compared at all, those after it roughly. */
enum { SETTLE_PACKETS = 5 };
enum { REFINE = 96 }; /* samples around a likely place to look for a better one */
/* A recording is missing what it cannot have: the last words before it ended. */
enum { END_SLACK_MS = 200 };
/* Sound may follow a spurt for so long: concealment of a loss at its end. */
enum { TAIL_MS = 140 };
/* Quieter than this (RMS of s16) no frame is worth looking for, or called different. */
#define QUIET 60.0
/* Error energy over signal energy: of a frame that a loss before it has touched but that is still
 * clearly itself, and of all such frames of a track together. How a decoder conceals is its own
 * affair, and it takes its time to forget. */
#define NEAR 0.05
#define TOUCHED_MAX 0.1

enum sureness { SURE, TOUCHED, UNKNOWN };

struct frame {
	size_t at; /* of its first sample in the spurt */
	unsigned samples;
	enum sureness sureness;
	double rms;
};

/* One talk spurt as it must sound. */
struct spurt {
	int64_t nominal; /* position by the truth's clock */
	int16_t *pcm;
	size_t samples, room;
	struct frame *frames;
	size_t n_frames, frames_room;
};

/* All that was recorded of one user, in memory: tests are short or have room. */
struct track {
	int16_t *pcm;
	size_t n, channels; /* n: values in pcm */
	int64_t samples;    /* per channel */
	unsigned files;
	bool wrong_length; /* a file is not as long as the manifest says */
};

struct result {
	struct truth_speaker truth;
	struct ogg_clip *clip;
	struct track track;
	unsigned spurts, missing, beyond;
	unsigned long exact, near, rough, skipped, bad;
	double touched_error, touched_signal;
	uint64_t foreign;
	double *offsets; /* ms, per spurt found */
	size_t n_offsets;
};

struct check {
	const char *truth_path, *session_path, *media;
	double tolerance_ms, window_ms;
	bool absolute, complete, delayed_is_lost, verbose;
	json_t *truth, *session, *guild;
	struct result *results;
	size_t n;
	int64_t session_samples; /* how long the recording is */
	int64_t shift;           /* add to nominal positions */
	bool shift_known;
	bool failed;
};

static size_t to_samples(double ms)
{
	return (size_t)(ms * TD_RATE / 1000);
}

/* ---- one spurt ---- */

static double rms_of(const int16_t *pcm, size_t n)
{
	double sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += (double)pcm[i] * pcm[i];
	return n > 0 ? sqrt(sum / (double)n) : 0;
}

static int spurt_room(struct spurt *s, int channels)
{
	void *bigger;

	if (s->samples + FRAME_MAX > s->room) {
		s->room = 2 * s->room + 2 * FRAME_MAX;
		bigger = realloc(s->pcm, s->room * (size_t)channels * sizeof(*s->pcm));
		if (bigger == NULL)
			return TD_ERR_NOMEM;
		s->pcm = bigger;
	}
	if (s->n_frames == s->frames_room) {
		s->frames_room = 2 * s->frames_room + 64;
		bigger = realloc(s->frames, s->frames_room * sizeof(*s->frames));
		if (bigger == NULL)
			return TD_ERR_NOMEM;
		s->frames = bigger;
	}
	return TD_OK;
}

/* What a stream's decoder has been through. */
struct ear {
	OpusDecoder *decoder;
	uint32_t ssrc;
	bool lossy;         /* something of this stream was lost so far */
	unsigned unsettled; /* packets until a loss is forgotten, roughly */
};

/* A new stream gets a decoder that has never heard anything: resetting one is not quite the same.
 */
static int ear_begin(struct ear *e, uint32_t ssrc, int channels)
{
	if (e->decoder != NULL)
		opus_decoder_destroy(e->decoder);
	if ((e->decoder = opus_decoder_create(TD_RATE, channels, NULL)) == NULL)
		return TD_ERR_NOMEM;
	e->ssrc = ssrc;
	e->lossy = false;
	e->unsettled = 0;
	return TD_OK;
}

static struct ogg_clip_packet packet_of(const struct ogg_clip *clip, const struct truth_packet *p)
{
	static const uint8_t silence[] = { 0xf8, 0xff, 0xfe };

	if (p->opus < 0)
		return (struct ogg_clip_packet){ silence, sizeof(silence), 960 };
	return clip->packets[(size_t)p->opus % clip->n];
}

/* Decodes p, or makes up for it; `next` is the packet behind it, NULL: none. */
static int packet_hear(struct ear *e, struct spurt *s, const struct truth_packet *p,
	const struct truth_packet *next, const struct ogg_clip *clip, int channels)
{
	struct ogg_clip_packet o = packet_of(clip, p);
	struct frame *f;
	bool fec = false;
	int n, r;

	if ((r = spurt_room(s, channels)) != TD_OK)
		return r;
	n = (int)o.samples;
	f = &s->frames[s->n_frames++];
	*f = (struct frame){ s->samples, (unsigned)n, SURE, 0 };
	if (p->lost) {
		e->lossy = true;
		e->unsettled = SETTLE_PACKETS + 1;
		fec = next != NULL && next->continues && !next->lost;
		o.data = NULL;
		if (fec)
			o = packet_of(clip, next);
	}
	n = opus_decode(e->decoder, o.data, o.data != NULL ? (opus_int32)o.len : 0,
		s->pcm + s->samples * (size_t)channels, n, fec);
	if (n < 0)
		return TD_ERR_MALFORMED;
	if (e->unsettled > 0 || p->opus < 0)
		f->sureness = UNKNOWN;
	else if (e->lossy)
		f->sureness = TOUCHED;
	if (e->unsettled > 0)
		e->unsettled--;
	f->rms = rms_of(s->pcm + s->samples * (size_t)channels, (size_t)n * (size_t)channels);
	s->samples += (size_t)n;
	return TD_OK;
}

/* ---- finding it ---- */

static bool frame_equal(const struct track *t, int64_t pos, const int16_t *pcm, size_t samples)
{
	size_t channels = t->channels;

	return pos >= 0 && pos + (int64_t)samples <= t->samples &&
		memcmp(t->pcm + (size_t)pos * channels, pcm, samples * channels * sizeof(*pcm)) ==
		0;
}

/* Error and signal energy of a frame at pos. */
static void frame_energies(const struct track *t, int64_t pos, const int16_t *pcm, size_t samples,
	double *ret_error, double *ret_signal)
{
	size_t n = samples * t->channels, i;
	double error = 0, signal = 1, d;
	const int16_t *have;

	have = t->pcm + (size_t)pos * t->channels;
	for (i = 0; i < n; i++) {
		d = (double)have[i] - pcm[i];
		error += d * d;
		signal += (double)pcm[i] * pcm[i];
	}
	*ret_error = error;
	*ret_signal = signal;
}

/* One over the other; 1 and more is nothing alike. */
static double frame_error(const struct track *t, int64_t pos, const int16_t *pcm, size_t samples)
{
	double error, signal;

	if (pos < 0 || pos + (int64_t)samples > t->samples)
		return 1;
	frame_energies(t, pos, pcm, samples, &error, &signal);
	return error / signal;
}

/* True when a frame that ends at this nominal position cannot be expected: the recording ended
 * before. */
static bool is_beyond(const struct check *c, int64_t nominal)
{
	double slack_ms = c->complete ? -c->tolerance_ms : END_SLACK_MS;

	return nominal + c->shift + (int64_t)(slack_ms * TD_RATE / 1000) > c->session_samples;
}

/* The loudest frame, and one that must be exact if there is any. NULL: all too quiet, or beyond
 * the end. */
static const struct frame *probe_choose(const struct check *c, const struct spurt *s)
{
	const struct frame *best = NULL, *f;
	size_t i;

	for (i = 0; i < s->n_frames; i++) {
		f = &s->frames[i];
		if (f->sureness == UNKNOWN || f->rms < QUIET ||
			is_beyond(c, s->nominal + (int64_t)(f->at + f->samples)))
			continue;
		if (best == NULL || f->sureness < best->sureness ||
			(f->sureness == best->sureness && f->rms > best->rms))
			best = f;
	}
	return best;
}

static bool probe_at(const struct track *t, int64_t pos, const int16_t *pcm, const struct frame *f)
{
	return f->sureness == SURE ? frame_equal(t, pos, pcm, f->samples)
				   : frame_error(t, pos, pcm, f->samples) < NEAR;
}

/* The place around pos where it sounds most like the probe: one that only resembles what is in the
 * track also does so a few samples beside its place. */
static int64_t probe_refine(const struct track *t, int64_t pos, const int16_t *pcm,
	const struct frame *f)
{
	int64_t best = pos, away;
	double least = 1, error;

	for (away = -REFINE; away <= REFINE; away++) {
		error = frame_error(t, pos + away, pcm, f->samples);
		if (error < least) {
			least = error;
			best = pos + away;
		}
	}
	return best;
}

/* The nearest place within the window where the probe sounds in the track. */
static bool spurt_find(const struct check *c, const struct track *t, const struct spurt *s,
	const struct frame *probe, int64_t *ret)
{
	double window_ms = c->shift_known ? c->window_ms : 20 * c->window_ms;
	const int16_t *pcm = s->pcm + probe->at * t->channels;
	int64_t middle = s->nominal + c->shift + (int64_t)probe->at, away, pos;

	for (away = 0; away <= 2 * (int64_t)to_samples(window_ms); away++) {
		/* 0, 1, -1, 2, -2, ... */
		pos = middle + (away % 2 != 0 ? (away + 1) / 2 : -away / 2);
		if (!probe_at(t, pos, pcm, probe))
			continue;
		if (probe->sureness != SURE)
			pos = probe_refine(t, pos, pcm, probe);
		*ret = pos - (int64_t)probe->at;
		return true;
	}
	return false;
}

/* A frame that a loss has touched, at its place within the track. */
static void touched_compare(struct result *r, const struct frame *f, const int16_t *pcm,
	int64_t pos)
{
	double error, signal;

	frame_energies(&r->track, pos, pcm, f->samples, &error, &signal);
	r->touched_error += error;
	r->touched_signal += signal;
	if (f->rms < QUIET || error / signal < NEAR)
		r->near++;
	else
		r->rough++;
}

static void spurt_compare(const struct check *c, struct result *r, const struct spurt *s,
	int64_t at)
{
	const struct track *t = &r->track;
	const struct frame *f;
	const int16_t *pcm;
	int64_t pos;
	size_t i;

	for (i = 0; i < s->n_frames; i++) {
		f = &s->frames[i];
		pcm = s->pcm + f->at * t->channels;
		pos = at + (int64_t)f->at;
		/* What was said before position 0, on a slow way, is cut. */
		if (f->sureness == UNKNOWN || pos < 0 || pos + f->samples > c->session_samples) {
			r->skipped++;
		} else if (frame_equal(t, pos, pcm, f->samples)) {
			r->exact++;
		} else if (!c->complete &&
			pos + f->samples + END_SLACK_MS * TD_RATE / 1000 > c->session_samples) {
			r->skipped++; /* under way when the recording ended */
		} else if (f->sureness == TOUCHED && pos + f->samples <= t->samples) {
			touched_compare(r, f, pcm, pos);
		} else {
			r->bad++;
			if (c->verbose && r->bad <= MAX_TOLD)
				printf("  differs at %.3f s (frame %zu of its spurt, error %.3f)\n",
					(double)pos / TD_RATE, i,
					frame_error(t, pos, pcm, f->samples));
		}
	}
}

static uint64_t sounding(const struct track *t, int64_t from, int64_t to)
{
	size_t channels = t->channels, i;
	uint64_t n = 0;

	if (to > t->samples)
		to = t->samples;
	for (; from < to; from++)
		for (i = 0; i < channels; i++)
			if (t->pcm[(size_t)from * channels + i] != 0) {
				n++;
				break;
			}
	return n;
}

/* Looks for s and compares. *ret_end: where its sound may last to. */
static void spurt_check(struct check *c, struct result *r, const struct spurt *s, int64_t *heard_to)
{
	const struct frame *probe = probe_choose(c, s);
	int64_t want = s->nominal + c->shift, at = want;

	r->spurts++;
	if (is_beyond(c, s->nominal + (int64_t)s->samples))
		r->beyond++;
	if (probe == NULL) {
		r->skipped += s->n_frames;
		at -= (int64_t)to_samples(c->tolerance_ms);
		r->foreign += sounding(&r->track, *heard_to, at);
	} else if (spurt_find(c, &r->track, s, probe, &at)) {
		r->offsets[r->n_offsets++] = ((double)at - (double)s->nominal) * 1000.0 / TD_RATE;
		if (!c->shift_known)
			c->shift = at - s->nominal;
		c->shift_known = true;
		r->foreign += sounding(&r->track, *heard_to, at);
		spurt_compare(c, r, s, at);
	} else {
		r->missing++;
		if (c->verbose)
			printf("  spurt of %.2f s, due at %.3f s, is not there\n",
				(double)s->samples / TD_RATE, (double)want / TD_RATE);
	}
	at += (int64_t)(s->samples + to_samples(TAIL_MS));
	if (at > *heard_to)
		*heard_to = at;
}

static int speaker_check(struct check *c, struct result *r)
{
	const struct truth_speaker *truth = &r->truth;
	int channels = (int)r->track.channels, e = TD_ERR_NOMEM;
	struct spurt s = { 0 };
	struct ear ear = { 0 };
	int64_t heard_to = 0;
	size_t i = 0;

	r->offsets = calloc(truth->n + 1, sizeof(*r->offsets));
	if (r->offsets == NULL)
		goto out;
	while (i < truth->n) {
		s.samples = s.n_frames = 0;
		s.nominal = (int64_t)(truth->packets[i].at_us * 48 / 1000);
		if ((i == 0 || truth->packets[i].ssrc != ear.ssrc) &&
			(e = ear_begin(&ear, truth->packets[i].ssrc, channels)) != TD_OK)
			goto out;
		do {
			if ((e = packet_hear(&ear, &s, &truth->packets[i],
				     i + 1 < truth->n ? &truth->packets[i + 1] : NULL, r->clip,
				     channels)) != TD_OK)
				goto out;
			i++;
		} while (i < truth->n && truth->packets[i].continues);
		spurt_check(c, r, &s, &heard_to);
	}
	r->foreign += sounding(&r->track, heard_to, r->track.samples);
	e = TD_OK;
out:
	if (ear.decoder != NULL)
		opus_decoder_destroy(ear.decoder);
	free(s.pcm);
	free(s.frames);
	return e;
}

/* ---- files ---- */

/* Adds the sound of a file to a track. Files of one user do not sound at the same time; where they
 * do after all, the sum is not what was sent. */
static int track_add(struct track *t, const char *path, int64_t samples)
{
	SF_INFO info = { 0 };
	SNDFILE *file = sf_open(path, SFM_READ, &info);
	int16_t *pcm = NULL, *longer;
	size_t i, n, had = t->n;
	int e = TD_ERR_IO;

	if (file == NULL) {
		fprintf(stderr, "track_check: %s: %s\n", path, sf_strerror(NULL));
		goto out;
	}
	if (info.samplerate != TD_RATE || info.channels > MAX_CHANNELS ||
		(t->channels != 0 && t->channels != (size_t)info.channels)) {
		fprintf(stderr, "track_check: %s: not 48 kHz mono or stereo\n", path);
		e = TD_ERR_UNSUPPORTED;
		goto out;
	}
	t->wrong_length = t->wrong_length || info.frames != samples;
	t->channels = (size_t)info.channels;
	n = (size_t)info.frames * t->channels;
	e = TD_ERR_NOMEM;
	if ((pcm = calloc(n + 1, sizeof(*pcm))) == NULL)
		goto out;
	if (n > had) {
		if ((longer = realloc(t->pcm, n * sizeof(*longer))) == NULL)
			goto out;
		memset(longer + had, 0, (n - had) * sizeof(*longer));
		t->pcm = longer;
		t->n = n;
	}
	e = TD_ERR_IO;
	if (sf_readf_short(file, pcm, info.frames) != info.frames)
		goto out;
	for (i = 0; i < n; i++)
		t->pcm[i] = (int16_t)(t->pcm[i] + pcm[i]);
	t->samples = (int64_t)(t->n / t->channels);
	t->files++;
	e = TD_OK;
out:
	if (file != NULL)
		sf_close(file);
	free(pcm);
	return e;
}

static void track_free(struct track *t)
{
	free(t->pcm);
	t->pcm = NULL;
}

/* All files of one user: what came before they were named may be in one of its own. */
static int tracks_load(struct check *c, struct result *r)
{
	char path[4096];
	uint64_t id;
	size_t i;
	json_t *v;
	int e;

	json_array_foreach(json_object_get(c->session, "tracks"), i, v)
	{
		if (td_id_parse(&id, json_string_value(json_object_get(v, "user_id"))) != TD_OK ||
			id != r->truth.user_id)
			continue;
		snprintf(path, sizeof(path), "%s/%s", c->session_path,
			json_string_value(json_object_get(v, "file")));
		e = track_add(&r->track, path, json_integer_value(json_object_get(v, "samples")));
		if (e != TD_OK)
			return e;
	}
	return TD_OK;
}

static int result_open(struct check *c, struct result *r, json_t *speaker)
{
	char path[4096];
	int e;

	if ((e = truth_speaker_read(&r->truth, speaker, c->delayed_is_lost)) != TD_OK)
		return e;
	snprintf(path, sizeof(path), "%s/%s", c->media, r->truth.clip);
	if ((e = ogg_clip_load(&r->clip, path)) != TD_OK) {
		fprintf(stderr, "track_check: %s: %s\n", path, td_strerror(e));
		return e;
	}
	return tracks_load(c, r);
}

/* The guild of the truth that the session is about. */
static json_t *guild_find(const struct check *c)
{
	const char *want = json_string_value(json_object_get(c->session, "guild_id")), *have;
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(c->truth, "guilds"), i, v)
	{
		have = json_string_value(json_object_get(v, "guild_id"));
		if (want != NULL && have != NULL && strcmp(have, want) == 0)
			return v;
	}
	return NULL;
}

static int check_open(struct check *c)
{
	char path[4096];
	json_error_t err;
	json_t *first;

	if ((c->truth = json_load_file(c->truth_path, 0, &err)) == NULL) {
		fprintf(stderr, "track_check: %s: %s\n", c->truth_path, err.text);
		return TD_ERR_IO;
	}
	snprintf(path, sizeof(path), "%s/session.json", c->session_path);
	if ((c->session = json_load_file(path, 0, &err)) == NULL) {
		fprintf(stderr, "track_check: %s: %s\n", path, err.text);
		return TD_ERR_IO;
	}
	if ((c->guild = guild_find(c)) == NULL) {
		fprintf(stderr, "track_check: the session is of no guild of the truth\n");
		return TD_ERR_MALFORMED;
	}
	if (c->media == NULL)
		c->media = json_string_value(json_object_get(c->truth, "media"));
	c->session_samples = json_integer_value(json_object_get(c->session, "samples"));
	first = json_object_get(c->guild, "first_datagram_us");
	if (c->absolute && json_is_integer(first)) {
		c->shift = -(int64_t)(json_integer_value(first) * 48 / 1000);
		c->shift_known = true;
	}
	return c->media != NULL ? TD_OK : TD_ERR_MALFORMED;
}

/* ---- verdict ---- */

static int double_compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* What all spurts of all speakers are off by, in ms: the time between the two clocks' zeros. */
static double common_offset(const struct check *c)
{
	size_t i, k, n = 0;
	double *all, middle = 0;

	if (c->absolute)
		return (double)c->shift * 1000.0 / TD_RATE;
	for (i = 0; i < c->n; i++)
		n += c->results[i].n_offsets;
	if (n == 0 || (all = calloc(n, sizeof(*all))) == NULL)
		return 0;
	for (n = 0, i = 0; i < c->n; i++)
		for (k = 0; k < c->results[i].n_offsets; k++)
			all[n++] = c->results[i].offsets[k];
	qsort(all, n, sizeof(*all), double_compare);
	middle = all[n / 2];
	free(all);
	return middle;
}

static bool result_report(const struct check *c, const struct result *r, double common)
{
	double low = 0, high = 0, off;
	bool ok;
	size_t i;

	for (i = 0; i < r->n_offsets; i++) {
		off = r->offsets[i] - common;
		if (i == 0 || off < low)
			low = off;
		if (i == 0 || off > high)
			high = off;
	}
	ok = r->bad == 0 && r->touched_error <= TOUCHED_MAX * r->touched_signal &&
		r->missing == 0 && (r->beyond == 0 || !c->complete) && r->foreign == 0 &&
		-low <= c->tolerance_ms && high <= c->tolerance_ms && !r->track.wrong_length &&
		(r->track.files > 0 ? r->n_offsets > 0 : r->truth.n == 0);
	if (r->track.wrong_length)
		printf("FAIL user %llu: a file is not as long as its manifest says\n",
			(unsigned long long)r->truth.user_id);
	printf("%s user %llu %s: %u spurts (%u missing, %u beyond the end), packets %lu exact "
	       "%lu near %lu rough %lu skipped %lu wrong, %+.1f to %+.1f ms, %llu foreign "
	       "samples\n",
		ok ? "ok  " : "FAIL", (unsigned long long)r->truth.user_id,
		r->track.files > 0 ? r->truth.clip : "no track", r->spurts, r->missing, r->beyond,
		r->exact, r->near, r->rough, r->skipped, r->bad, low, high,
		(unsigned long long)r->foreign);
	return ok;
}

/* Every track must be some speaker's. */
static bool tracks_known(const struct check *c)
{
	const char *id;
	bool ok = true;
	size_t i, k;
	json_t *v;
	uint64_t user;

	json_array_foreach(json_object_get(c->session, "tracks"), i, v)
	{
		id = json_string_value(json_object_get(v, "user_id"));
		for (k = 0; k < c->n; k++)
			if (td_id_parse(&user, id) == TD_OK && user == c->results[k].truth.user_id)
				break;
		if (k < c->n)
			continue;
		printf("FAIL track %s belongs to nobody who spoke\n",
			json_string_value(json_object_get(v, "file")));
		ok = false;
	}
	return ok;
}

static int check_run(struct check *c)
{
	json_t *speakers = json_object_get(c->guild, "speakers");
	double common;
	size_t i;
	int e;

	c->n = json_array_size(speakers);
	if (c->n > MAX_SPEAKERS || (c->results = calloc(c->n + 1, sizeof(*c->results))) == NULL)
		return TD_ERR_NOMEM;
	for (i = 0; i < c->n; i++) {
		struct result *r = &c->results[i];

		if ((e = result_open(c, r, json_array_get(speakers, i))) != TD_OK ||
			(r->track.files > 0 && (e = speaker_check(c, r)) != TD_OK))
			return e;
		track_free(&r->track);
	}
	common = common_offset(c);
	printf("offset of all: %.1f ms%s\n", common, c->absolute ? " (by the truth)" : "");
	for (i = 0; i < c->n; i++)
		if (!result_report(c, &c->results[i], common))
			c->failed = true;
	if (c->n == 0 || !tracks_known(c))
		c->failed = true;
	return TD_OK;
}

static void check_close(struct check *c)
{
	size_t i;

	for (i = 0; c->results != NULL && i < c->n; i++) {
		truth_speaker_free(&c->results[i].truth);
		ogg_clip_free(c->results[i].clip);
		track_free(&c->results[i].track);
		free(c->results[i].offsets);
	}
	free(c->results);
	json_decref(c->truth);
	json_decref(c->session);
}

static const char help[] =
	"usage: track_check [options] TRUTH.json SESSION-FOLDER\n"
	"Compares a recorded session with what the voice server sent.\n"
	"  --absolute          position 0 is the first datagram: replays. Without it one common\n"
	"                      offset of all speakers is found first: live recordings\n"
	"  --complete          it must go on to the end of the script (--absolute implies this)\n"
	"  --tolerance MS      how far a spurt may be from its place (default 20)\n"
	"  --window MS         how far from its place to look for it (default 1000)\n"
	"  --late-is-lost      packets that others overtook need not have been used\n"
	"  --media DIR         folder of the clips (default: as the truth says)\n"
	"  --verbose           what is missing, and the first differences\n"
	"Exit status: 0 all is right, 1 it is not, 2 usage, 3 a file cannot be read.\n";

static bool options_take(struct check *c, int argc, char **argv)
{
	static const struct option longs[] = { { "absolute", no_argument, NULL, 'a' },
		{ "complete", no_argument, NULL, 'c' },
		{ "tolerance", required_argument, NULL, 't' },
		{ "window", required_argument, NULL, 'w' },
		{ "late-is-lost", no_argument, NULL, 'l' },
		{ "media", required_argument, NULL, 'm' }, { "verbose", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 } };
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (opt == 'a')
			c->absolute = c->complete = true;
		else if (opt == 'c')
			c->complete = true;
		else if (opt == 't')
			c->tolerance_ms = atof(optarg);
		else if (opt == 'w')
			c->window_ms = atof(optarg);
		else if (opt == 'l')
			c->delayed_is_lost = true;
		else if (opt == 'm')
			c->media = optarg;
		else if (opt == 'v')
			c->verbose = true;
		else
			return false;
	}
	if (argc - optind != 2)
		return false;
	c->truth_path = argv[optind];
	c->session_path = argv[optind + 1];
	return true;
}

int main(int argc, char **argv)
{
	struct check c = { .tolerance_ms = 20, .window_ms = 1000 };
	int e;

	if (!options_take(&c, argc, argv)) {
		fputs(help, stderr);
		return 2;
	}
	if ((e = check_open(&c)) == TD_OK)
		e = check_run(&c);
	if (e != TD_OK)
		fprintf(stderr, "track_check: %s\n", td_strerror(e));
	check_close(&c);
	return e != TD_OK ? 3 : c.failed ? 1 : 0;
}
