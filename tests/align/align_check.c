/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <opus.h>
#include <sndfile.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "tests/align/beeps.h"
#include "tests/voiceserver/ogg_clip.h"

/*
 * align_check TRUTH SESSION: where in a recording is what the speakers of align_call said, and is
 * it there to the last bit?
 *
 * Once by ear: the beeps are looked for in the whole track by their pitch, whatever the truth says,
 * and only then compared with it. Once by what was sent: the packets of every stretch of speech are
 * decoded here once more and must be found in one piece, so that not one sample was put in or taken
 * out. And nothing else may sound in the track. Calls of more speakers are checked six at a time:
 * GROUP counts from 0.
 */
enum { BLOCK = TD_RATE, FRAME = CLIP_FRAME, LOUD = 2500, EAR = 144, NEAR = 2 * TD_RATE };
/* An Opus decoder conceals this much of a loss, the worker writes it, and the stretch ends. */
enum { CONCEAL = 4800, BREAK = 10 };
/* How far from its place a stretch is looked for. */
enum { SEARCH = 2 * TD_RATE };
/* A beep needs the packets it is in, and those before it that a decoder builds on. */
enum { SETTLE = 3 };
enum { PITCHES = BEEP_SPEAKERS * BEEP_CODES };
#define TOLERANCE_MS 20.0

struct packet {
	double at_ns; /* when its first sample was said, call time */
	uint32_t ssrc, ts;
	int opus; /* -1: a silence frame */
	bool lost;
};

struct beep {
	double at_ns; /* true time: of its middle */
	unsigned code;
	bool whole;        /* all of it came: it must be found */
	double found;      /* position in samples; < 0: not found */
	double trusted_ms; /* off by so much if RTP time were trusted from the first packet on */
};

/* One stretch of speech as it must sound. */
struct stretch {
	double at_ns;
	int16_t *pcm;
	size_t samples, room;
	size_t probe;      /* loudest frame */
	double probe_loud; /* 0: all too quiet */
	bool whole;        /* nothing lost in it */
};

struct track {
	SNDFILE *file;
	int64_t samples;
	int fd;
};

struct speaker {
	unsigned number;
	uint64_t user_id;
	double ppm;
	struct ogg_clip *clip;
	struct packet *packets;
	size_t n_packets, room;
	struct beep *beeps;
	size_t n_beeps, beeps_room;
	struct track track;
	/* findings */
	uint64_t sounding, explained; /* samples that are not zero: all; in stretches */
	unsigned stretches, whole, exact, missing, beyond;
	unsigned heard, strange;
};

struct check {
	const char *media;
	json_t *truth, *session;
	const char *folder;
	double zero_ns; /* position 0, call time */
	int64_t samples;
	unsigned group; /* of as many speakers as there are in align_call's call */
	bool verbose;
};

static void *grown(void *list, size_t *room, size_t need, size_t size)
{
	if (need <= *room)
		return list;
	*room = 2 * need + 64;
	if ((list = realloc(list, *room * size)) == NULL) {
		fprintf(stderr, "align_check: out of memory\n");
		exit(3);
	}
	return list;
}

static double position(const struct check *c, double at_ns)
{
	return (at_ns - c->zero_ns) * TD_RATE / 1e9;
}

/* ---- the track ---- */

static int track_open(struct track *t, const char *path)
{
	SF_INFO info = { 0 };

	if ((t->file = sf_open(path, SFM_READ, &info)) == NULL ||
		(t->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return TD_ERR_IO;
	if (info.channels != 1 || info.samplerate != TD_RATE)
		return TD_ERR_UNSUPPORTED;
	t->samples = info.frames;
	return TD_OK;
}

static void track_close(struct track *t)
{
	if (t->file != NULL)
		sf_close(t->file);
	if (t->fd > 0)
		close(t->fd);
}

/* Samples outside of the track are silence. */
static void track_read(const struct track *t, int64_t from, int16_t *pcm, int64_t n)
{
	memset(pcm, 0, (size_t)n * sizeof(*pcm));
	if (from < 0) {
		pcm -= from;
		n += from;
		from = 0;
	}
	if (n > 0 && from < t->samples && sf_seek(t->file, from, SEEK_SET) == from)
		sf_readf_short(t->file, pcm, n);
}

/* The first sample at `from` or later that may sound: long silence is a hole in the file. */
static int64_t track_skip(const struct track *t, int64_t from)
{
	off_t at = lseek(t->fd, (off_t)from * 2, SEEK_DATA);

	/* The header shifts everything by less than a block of the file. */
	return at < 0 ? from : (at / 2 > from ? at / 2 - 4096 : from);
}

/* ---- the truth ---- */

static void run_add(struct speaker *s, json_t *v)
{
	json_int_t at_us, ssrc, ts, samples, opus, count, which;
	const char *kind, *fate;
	struct packet *p;
	json_t *faults, *f;
	json_int_t i;
	size_t k;

	if (json_unpack(v, "{s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "at_us", &at_us, "kind",
		    &kind, "ssrc", &ssrc, "ts", &ts, "samples", &samples, "opus", &opus, "count",
		    &count, "faults", &faults) != 0 ||
		samples != FRAME || kind[0] == 'p') {
		fprintf(stderr, "align_check: a run of the truth is none of ours\n");
		exit(3);
	}
	s->packets = grown(s->packets, &s->room, s->n_packets + (size_t)count, sizeof(*p));
	p = s->packets + s->n_packets;
	for (i = 0; i < count; i++)
		p[i] = (struct packet){ (double)at_us * 1e3 +
				(double)i * FRAME * 1e9 / TD_RATE * (1 + s->ppm * 1e-6),
			(uint32_t)ssrc, (uint32_t)(ts + i * samples),
			kind[0] == 'v' ? (int)((opus + i) % (json_int_t)s->clip->n) : -1, false };
	json_array_foreach(faults, k, f)
	{
		if (json_unpack(f, "[I, s]", &which, &fate) == 0 && strcmp(fate, "lost") == 0)
			p[which].lost = true;
	}
	s->n_packets += (size_t)count;
}

static int speaker_load(struct check *c, struct speaker *s, json_t *obj)
{
	const char *clip = json_string_value(json_object_get(obj, "clip"));
	char path[4096], id[TD_ID_TEXT];
	size_t i;
	json_t *v;
	int r;

	if (clip == NULL ||
		td_id_parse(&s->user_id, json_string_value(json_object_get(obj, "user_id"))) !=
			TD_OK)
		return TD_ERR_MALFORMED;
	s->ppm = json_number_value(json_object_get(obj, "skew_ppm"));
	snprintf(path, sizeof(path), "%s/%s", c->media, clip);
	if ((r = ogg_clip_load(&s->clip, path)) != TD_OK)
		return r;
	json_array_foreach(json_object_get(obj, "runs"), i, v) run_add(s, v);
	snprintf(path, sizeof(path), "%s/%s.wav", c->folder, td_id_format(id, s->user_id));
	return track_open(&s->track, path);
}

/* ---- by ear ---- */

/* Goertzel's filter for every pitch at once. */
static unsigned pitch_find(const int16_t pcm[static BEEP_SAMPLES])
{
	static double k[PITCHES];
	double a[PITCHES] = { 0 }, b[PITCHES] = { 0 }, t, e, best = -1;
	unsigned p, ret = 0;
	int i;

	for (p = 0; p < PITCHES && k[p] == 0; p++)
		k[p] = 2 * cos(2 * M_PI * beep_hz(0, p) / TD_RATE);
	for (i = 0; i < BEEP_SAMPLES; i++) {
		for (p = 0; p < PITCHES; p++) {
			t = pcm[i] + k[p] * a[p] - b[p];
			b[p] = a[p];
			a[p] = t;
		}
	}
	for (p = 0; p < PITCHES; p++) {
		e = a[p] * a[p] + b[p] * b[p] - k[p] * a[p] * b[p];
		if (e > best) {
			best = e;
			ret = p;
		}
	}
	return ret;
}

/* How many samples after pcm + EAR the beep begins that sounds there. */
static int beep_find(const int16_t pcm[static BEEP_SAMPLES + 2 * EAR], unsigned *ret_pitch)
{
	int16_t shape[BEEP_SAMPLES];
	int32_t sum, best = INT32_MIN;
	int i, lag, ret = 0;

	*ret_pitch = pitch_find(pcm + EAR);
	for (i = 0; i < BEEP_SAMPLES; i++)
		shape[i] = (int16_t)lround(100 * beep_value(0, *ret_pitch, i));
	for (lag = 0; lag <= 2 * EAR; lag++) {
		for (sum = 0, i = 0; i < BEEP_SAMPLES; i++)
			sum += pcm[lag + i] * shape[i];
		if (sum > best) {
			best = sum;
			ret = lag - EAR;
		}
	}
	return ret;
}

/* The beep of the truth that this one is: the nearest one of its code that nobody else is. */
static struct beep *beep_match(const struct check *c, struct speaker *s, size_t *first, double pos,
	unsigned code)
{
	struct beep *best = NULL, *b;
	double off, least = NEAR;
	size_t i;

	while (*first < s->n_beeps && position(c, s->beeps[*first].at_ns) < pos - 30.0 * TD_RATE)
		++*first;
	for (i = *first; i < s->n_beeps; i++) {
		b = &s->beeps[i];
		off = fabs(position(c, b->at_ns) - pos);
		if (position(c, b->at_ns) > pos + NEAR)
			break;
		if (b->code == code && b->found < 0 && off < least) {
			least = off;
			best = b;
		}
	}
	return best;
}

static void beep_heard(const struct check *c, struct speaker *s, size_t *first, int64_t at)
{
	int16_t pcm[BEEP_SAMPLES + 2 * EAR];
	double pos;
	unsigned pitch;
	struct beep *b = NULL;

	track_read(&s->track, at - EAR, pcm, BEEP_SAMPLES + 2 * EAR);
	pos = (double)(at + beep_find(pcm, &pitch)) + BEEP_SAMPLES / 2.0;
	s->heard++;
	if (pitch / BEEP_CODES == s->number)
		b = beep_match(c, s, first, pos, pitch % BEEP_CODES);
	if (b != NULL) {
		b->found = pos;
		return;
	}
	s->strange++;
	if (c->verbose)
		printf("  %.3f s: a beep that is not due (speaker %u, code %u)\n", pos / TD_RATE,
			pitch / BEEP_CODES, pitch % BEEP_CODES);
}

/* Goes through the track, counts what sounds in it and finds where beeps begin. */
static void track_listen(const struct check *c, struct speaker *s)
{
	int16_t pcm[BLOCK];
	int64_t from, deaf_until = 0;
	size_t first = 0;
	int i, loud = 0;

	for (from = 0; from < s->track.samples; from += BLOCK) {
		from = track_skip(&s->track, from);
		track_read(&s->track, from, pcm, BLOCK);
		for (i = 0; i < BLOCK && from + i < s->track.samples; i++) {
			s->sounding += pcm[i] != 0;
			if (from + i < deaf_until)
				continue;
			loud = abs(pcm[i]) > LOUD ? loud + 4 : loud > 0 ? loud - 1 : 0;
			if (loud < 48)
				continue;
			/* About 3 ms into it. */
			beep_heard(c, s, &first, from + i - 100);
			deaf_until = from + i + 2 * BEEP_SAMPLES;
			loud = 0;
		}
	}
}

/* ---- by what was sent ---- */

/* Looks for the stretch; -1: it is not there. */
static int64_t stretch_find(const struct check *c, const struct speaker *s,
	const struct stretch *st)
{
	int64_t want = (int64_t)llround(position(c, st->at_ns)) + (int64_t)st->probe, away, pos;
	static int16_t around[2 * SEARCH + FRAME];
	const int16_t *probe = st->pcm + st->probe;

	track_read(&s->track, want - SEARCH, around, 2 * SEARCH + FRAME);
	for (away = 0; away <= 2 * SEARCH; away++) {
		/* 0, 1, -1, 2, -2, ... */
		pos = SEARCH + (away % 2 != 0 ? (away + 1) / 2 : -away / 2);
		if (memcmp(around + pos, probe, FRAME * sizeof(*probe)) == 0)
			return want - SEARCH + pos - (int64_t)st->probe;
	}
	return INT64_MIN;
}

static void stretch_check(const struct check *c, struct speaker *s, const struct stretch *st)
{
	int64_t pos, want = (int64_t)llround(position(c, st->at_ns));
	double off_ms;
	int16_t *have;
	size_t i, wrong = 0;

	if (st->samples == 0)
		return;
	s->stretches++;
	s->whole += st->whole;
	pos = stretch_find(c, s, st);
	if (pos == INT64_MIN) {
		s->missing++;
		if (c->verbose)
			printf("  %.3f s: %.2f s of speech%s are not there\n",
				(double)want / TD_RATE, (double)st->samples / TD_RATE,
				st->whole ? "" : " (with losses)");
		return;
	}
	off_ms = ((double)pos - position(c, st->at_ns)) * 1000 / TD_RATE;
	if (fabs(off_ms) > TOLERANCE_MS)
		s->beyond++;
	if ((have = malloc(st->samples * sizeof(*have))) == NULL)
		exit(3);
	track_read(&s->track, pos, have, (int64_t)st->samples);
	/* What was said before position 0 is not there. */
	for (i = pos < 0 ? (size_t)-pos : 0; i < st->samples; i++) {
		wrong += have[i] != st->pcm[i];
		s->explained += have[i] != 0;
	}
	free(have);
	if (wrong == 0)
		s->exact++;
	else if (c->verbose)
		printf("  %.3f s: %zu of %zu samples differ\n", (double)want / TD_RATE, wrong,
			st->samples);
	if (c->verbose && fabs(off_ms) > TOLERANCE_MS)
		printf("  %.3f s: off by %+.1f ms\n", (double)want / TD_RATE, off_ms);
}

static int16_t *stretch_room(struct stretch *st, size_t samples)
{
	st->pcm = grown(st->pcm, &st->room, st->samples + samples, sizeof(*st->pcm));
	return st->pcm + st->samples;
}

static void frame_decode(OpusDecoder *d, struct stretch *st, const struct speaker *s, int opus)
{
	static const uint8_t silence[] = { 0xf8, 0xff, 0xfe };
	const uint8_t *data = opus >= 0 ? s->clip->packets[opus].data : silence;
	size_t len = opus >= 0 ? s->clip->packets[opus].len : sizeof(silence), i;
	int16_t *pcm = stretch_room(st, FRAME);
	double loud = 0;

	if (opus_decode(d, data, (opus_int32)len, pcm, FRAME, 0) != FRAME)
		exit(3);
	for (i = 0; i < FRAME; i++)
		loud += abs(pcm[i]);
	if (opus >= 0 && loud > st->probe_loud) {
		st->probe = st->samples;
		st->probe_loud = loud;
	}
	st->samples += FRAME;
}

/* What the decoder makes up for `samples` that are missing, fading away. */
static void conceal(OpusDecoder *d, struct stretch *st, int samples)
{
	int at, n, i;
	int16_t *pcm;

	for (at = 0; at < samples; at += n) {
		n = samples - at < FRAME ? samples - at : FRAME;
		pcm = stretch_room(st, FRAME);
		if (opus_decode(d, NULL, 0, pcm, n, 0) != n)
			exit(3);
		for (i = 0; i < n; i++)
			pcm[i] = (int16_t)(pcm[i] * (CONCEAL - at - i) / CONCEAL);
		st->samples += (size_t)n;
	}
}

static void silence(struct stretch *st, int64_t samples)
{
	memset(stretch_room(st, (size_t)samples), 0, (size_t)samples * sizeof(*st->pcm));
	st->samples += (size_t)samples;
}

/* Packet i begins a stretch: the one before it in time was not right before it. */
static bool begins(const struct packet *p, size_t i)
{
	return i == 0 || p[i].ssrc != p[i - 1].ssrc ||
		p[i].at_ns > p[i - 1].at_ns + FRAME * 1e9 / TD_RATE + 5e6;
}

static void beeps_note(struct speaker *s, size_t from, size_t to, size_t first_of_ssrc)
{
	const struct packet *p = s->packets, *f = &p[first_of_ssrc];
	double stretch_ms = 1 + s->ppm * 1e-6;
	size_t i, k;

	for (i = from; i < to; i++) {
		struct beep *b;
		unsigned code;

		if (p[i].opus < 0 || p[i].opus % (TD_RATE / FRAME) != BEEP_AT / FRAME)
			continue;
		code = (unsigned)p[i].opus / (TD_RATE / FRAME);
		s->beeps = grown(s->beeps, &s->beeps_room, s->n_beeps + 1, sizeof(*b));
		b = &s->beeps[s->n_beeps++];
		*b = (struct beep){ .code = code, .found = -1, .whole = i >= from + SETTLE };
		b->at_ns = p[i].at_ns +
			(BEEP_AT % FRAME + BEEP_SAMPLES / 2.0) * 1e9 / TD_RATE * stretch_ms;
		b->trusted_ms =
			(uint32_t)(p[i].ts - f->ts) * 1e3 / TD_RATE - (p[i].at_ns - f->at_ns) / 1e6;
		for (k = i >= SETTLE ? i - SETTLE : 0; k <= i + 1; k++)
			if (k >= to || p[k].lost || p[k].opus < 0)
				b->whole = false;
	}
}

/* Plays all packets of the speaker as a decoder of each SSRC hears them. */
static void speaker_replay(const struct check *c, struct speaker *s)
{
	struct packet *p = s->packets;
	struct stretch st = { 0 };
	OpusDecoder *d = NULL;
	size_t i, first = 0, spurt = 0;
	uint32_t end_ts = 0;
	int64_t lost = 0, missing;
	bool played = false;

	for (i = 0; i < s->n_packets; i++) {
		bool fresh = i == 0 || p[i].ssrc != p[i - 1].ssrc, cut = begins(p, i);

		if (cut) {
			beeps_note(s, spurt, i, first);
			spurt = i;
		}
		if (fresh) {
			stretch_check(c, s, &st);
			st.samples = 0;
			if (d != NULL)
				opus_decoder_destroy(d);
			d = opus_decoder_create(TD_RATE, 1, NULL);
			first = i;
			lost = 0;
			played = false;
		}
		if (p[i].lost) {
			lost++;
			st.whole = false;
			continue;
		}
		missing = played ? (int32_t)(p[i].ts - end_ts) : 0;
		if (lost > 0 && missing > 0) {
			int64_t due = lost * FRAME < missing ? lost * FRAME : missing;

			conceal(d, &st, (int)(due < CONCEAL ? due : CONCEAL));
			missing -= due < CONCEAL ? due : CONCEAL;
		}
		cut = cut || spurt + (size_t)lost >= i || lost >= BREAK;
		if (cut || !played) {
			if (!fresh)
				stretch_check(c, s, &st);
			st = (struct stretch){ .pcm = st.pcm,
				.room = st.room,
				.at_ns = p[i].at_ns,
				.whole = lost == 0 };
		} else if (missing > 0) {
			silence(&st, missing);
		}
		frame_decode(d, &st, s, p[i].opus);
		end_ts = p[i].ts + FRAME;
		lost = 0;
		played = true;
	}
	beeps_note(s, spurt, i, first);
	stretch_check(c, s, &st);
	if (d != NULL)
		opus_decoder_destroy(d);
	free(st.pcm);
}

/* ---- verdict ---- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static bool report(const struct check *c, const struct speaker *s, FILE *csv)
{
	double *off = calloc(s->n_beeps + 1, sizeof(*off)), sum = 0, worst, ms;
	unsigned due = 0, unheard = 0;
	size_t i, n = 0;
	bool ok;

	if (off == NULL)
		return false;
	for (i = 0; i < s->n_beeps; i++) {
		const struct beep *b = &s->beeps[i];

		due += b->whole;
		unheard += b->whole && b->found < 0;
		if (b->whole && b->found < 0 && c->verbose)
			printf("  %.3f s: no beep\n", position(c, b->at_ns) / TD_RATE);
		if (!b->whole || b->found < 0)
			continue;
		ms = (b->found - position(c, b->at_ns)) * 1000 / TD_RATE;
		fprintf(csv, "%u,%g,%.3f,%.3f,%.3f\n", s->number + 1, s->ppm,
			position(c, b->at_ns) / TD_RATE, ms, b->trusted_ms);
		off[n++] = fabs(ms);
		sum += fabs(ms);
	}
	qsort(off, n, sizeof(*off), by_size);
	worst = n > 0 ? off[n - 1] : -1;
	ok = n > 0 && unheard == 0 && s->strange == 0 && worst <= TOLERANCE_MS && s->missing == 0 &&
		s->beyond == 0 && s->exact == s->stretches && s->sounding == s->explained &&
		s->track.samples == c->samples;
	printf("%s speaker %u, %+4.0f ppm: %5u beeps, %u not heard, %u not due; off by %.2f ms at "
	       "most, p99 %.2f, mean %.2f; %u stretches, %u of them whole, %u exact, %u missing, %u "
	       "misplaced; %lld samples of nobody\n",
		ok ? "ok  " : "FAIL", s->number + 1, 0 - s->ppm, due, unheard, s->strange, worst,
		n > 0 ? off[n * 99 / 100] : 0, n > 0 ? sum / (double)n : 0, s->stretches, s->whole,
		s->exact, s->missing, s->beyond, (long long)(s->sounding - s->explained));
	if (s->track.samples != c->samples)
		printf("FAIL speaker %u: %lld samples, of %lld\n", s->number + 1,
			(long long)s->track.samples, (long long)c->samples);
	free(off);
	return ok;
}

/* One process a speaker: there is more than one processor. 0 right, 1 wrong, 3 not to be read. */
static int speaker_run(struct check *c, unsigned number, json_t *obj, const char *csv_path)
{
	struct speaker s = { .number = number };
	FILE *csv = fopen(csv_path, "we");
	int r = TD_ERR_IO;
	bool ok = false;

	if (csv != NULL && (r = speaker_load(c, &s, obj)) == TD_OK) {
		speaker_replay(c, &s);
		track_listen(c, &s);
		ok = report(c, &s, csv);
	}
	if (csv != NULL && fclose(csv) != 0)
		r = TD_ERR_IO;
	if (r != TD_OK)
		fprintf(stderr, "align_check: speaker %u: %s\n", number + 1, td_strerror(r));
	track_close(&s.track);
	ogg_clip_free(s.clip);
	free(s.packets);
	free(s.beeps);
	return r != TD_OK ? 3 : ok ? 0 : 1;
}

static int part_copy(FILE *out, const char *path)
{
	FILE *in = fopen(path, "re");
	char line[256];

	if (in == NULL)
		return TD_ERR_IO;
	while (fgets(line, sizeof(line), in) != NULL)
		fputs(line, out);
	fclose(in);
	unlink(path);
	return TD_OK;
}

static int all_run(struct check *c, json_t *speakers, const char *csv_path)
{
	size_t i, first = c->group * BEEP_SPEAKERS, n = json_array_size(speakers) - first;
	char part[4096], line[256];
	int status, worst = 0;
	FILE *csv, *said[BEEP_SPEAKERS];

	n = n < BEEP_SPEAKERS ? n : BEEP_SPEAKERS;
	fflush(stdout);
	for (i = 0; i < n; i++) {
		snprintf(part, sizeof(part), "%s.%zu", csv_path, i);
		if ((said[i] = tmpfile()) == NULL)
			return 3;
		if (fork() == 0) {
			dup2(fileno(said[i]), STDOUT_FILENO);
			status = speaker_run(c, (unsigned)i, json_array_get(speakers, first + i),
				part);
			fflush(stdout);
			_exit(status);
		}
	}
	while (wait(&status) > 0) {
		status = WIFEXITED(status) ? WEXITSTATUS(status) : 3;
		worst = status > worst ? status : worst;
	}
	for (i = 0; i < n; i++) {
		rewind(said[i]);
		while (fgets(line, sizeof(line), said[i]) != NULL)
			fputs(line, stdout);
		fclose(said[i]);
	}
	if ((csv = fopen(csv_path, "we")) == NULL)
		return 3;
	fprintf(csv, "speaker,slow_ppm,true_s,off_ms,trusted_ms\n");
	for (i = 0; i < n; i++) {
		snprintf(part, sizeof(part), "%s.%zu", csv_path, i);
		if (part_copy(csv, part) != TD_OK)
			worst = 3;
	}
	return fclose(csv) != 0 ? 3 : worst;
}

static int tracks_differ(const struct check *c, json_t *speakers)
{
	printf("FAIL %zu tracks of %zu speakers\n",
		json_array_size(json_object_get(c->session, "tracks")), json_array_size(speakers));
	return 1;
}

int main(int argc, char **argv)
{
	struct check c = { 0 };
	json_t *guild, *speakers;
	char path[4096];
	int opt, r = 3;

	while ((opt = getopt(argc, argv, "vg:")) == 'v' || opt == 'g') {
		if (opt == 'v')
			c.verbose = true;
		else
			c.group = (unsigned)atoi(optarg);
	}
	if (opt != -1 || argc - optind != 3) {
		fprintf(stderr,
			"usage: align_check [-v] [-g GROUP] TRUTH.json SESSION-FOLDER ERRORS.csv\n");
		return 2;
	}
	c.folder = argv[optind + 1];
	snprintf(path, sizeof(path), "%s/session.json", c.folder);
	c.truth = json_load_file(argv[optind], 0, NULL);
	c.session = json_load_file(path, 0, NULL);
	c.media = json_string_value(json_object_get(c.truth, "media"));
	guild = json_array_get(json_object_get(c.truth, "guilds"), 0);
	speakers = json_object_get(guild, "speakers");
	c.samples = json_integer_value(json_object_get(c.session, "samples"));
	c.zero_ns = json_number_value(json_object_get(guild, "first_datagram_us")) * 1e3;
	if (c.media == NULL || c.samples <= 0 ||
		json_array_size(speakers) <= c.group * BEEP_SPEAKERS)
		fprintf(stderr, "align_check: this is not a call of align_call\n");
	else if (json_array_size(json_object_get(c.session, "tracks")) == json_array_size(speakers))
		r = all_run(&c, speakers, argv[optind + 2]);
	else
		r = tracks_differ(&c, speakers);
	json_decref(c.truth);
	json_decref(c.session);
	return r;
}
