/* SPDX-License-Identifier: ISC */
#include "sinks/file_track.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/file_name.h"
#include "sinks/file_outage.h"
#include "sinks/file_preroll.h"
#include "sinks/folder.h"
#include "sinks/outfile.h"
#include "sinks/shape.h"

enum { NAME_TRIES = 4096, TITLE_MAX = 32 };
/* Silence is written in pieces no shorter than this where the size of the file is watched; and no
 * format takes more bytes for a sample than this. */
enum { SIZE_PIECE = 960, SIZE_SAMPLE_BYTES = 4 };
#define NEVER UINT64_MAX

/* A place in the list of cuts that only moves forward. */
struct cut_cursor {
	uint32_t index;
	uint64_t before; /* samples of the cuts before it */
};

/*
 * Three counts of samples:
 *   position  of the session, at 48 kHz: everything the track was given
 *   sound     at 48 kHz: what was not cut out of it
 *   out       the same sound at the rate of the file
 * With another rate, `out` lags behind: the resampler holds back a little. What happens in time is
 * therefore seen from `out`: when it gets there, everything about that time is known.
 *
 * Without a writer the disk does not take what comes, or did not lately: the counts go on as if it
 * did, and the next part begins where they are then.
 */
struct file_track {
	struct file_session *session;
	uint64_t user_id;
	uint32_t ssrc;
	bool failed; /* for good */
	bool full;   /* the last part goes on whatever it was asked for */
	char stem[FILE_STEM_MAX], title[TITLE_MAX];
	unsigned take; /* of the stem */

	uint64_t position, cut_samples, out;
	uint64_t quiet;         /* position samples of silence that came last */
	struct spill_list cuts; /* struct td_cut, but for the last one */
	struct td_cut cut;      /* that one, of cut_count */
	uint32_t cut_count;
	bool cuts_full;

	struct shape *shape;          /* NULL: the rate stays */
	struct file_preroll *preroll; /* NULL: not needed */

	struct td_part *parts; /* their files are names[] */
	char **names;
	uint32_t part_count, part_cap;
	uint64_t stored;            /* samples of the parts that are closed */
	uint64_t ended;             /* sound where this part begins, or the next one will */
	uint64_t part_out;          /* out where this part begins */
	uint64_t boundary;          /* position of the next one, with split=SECONDS */
	struct cut_cursor now, due; /* at `out`; at `boundary` */

	/* The part being written. */
	struct outfile *file;
	struct td_output output;
	struct td_writer_conf conf;
	void *writer; /* NULL: none */
	struct outfile_besides besides;
	struct outage_track outage;
	uint64_t folder; /* which one this part was made in */
};

static uint32_t parts_max = FILE_PARTS_MAX, cuts_max = FILE_CUTS_MAX;

void file_track_test_max(uint32_t parts, uint32_t cuts)
{
	parts_max = parts != 0 ? parts : FILE_PARTS_MAX;
	cuts_max = cuts != 0 ? cuts : FILE_CUTS_MAX;
}

/* ---- events ---- */

static void say_file(const struct file_track *t, uint32_t type, const char *name, uint64_t samples)
{
	const struct td_host *host = t->session->host;
	struct td_event event = {
		.size = sizeof(event),
		.type = type,
		.path = name,
		.user_id = t->user_id,
		.samples = samples,
	};

	host->event(host->user, &event);
}

__attribute__((format(printf, 3, 4))) static void say(const struct file_track *t, uint32_t type,
	const char *fmt, ...)
{
	const struct td_host *host = t->session->host;
	char text[512];
	struct td_event event = { .size = sizeof(event), .type = type, .text = text };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	host->event(host->user, &event);
}

/* The track ends here for good, with one event: r is no fault of the disk. */
static int fail(struct file_track *t, const char *name, int r, const char *so)
{
	if (!t->failed) {
		t->failed = t->session->outage.failed = true;
		say(t, TD_EVENT_FAILED, "%s: %s; %s", name, td_strerror(r), so);
	}
	return TD_ERR_IO;
}

static const char *last_name(const struct file_track *t)
{
	return t->part_count > 0 ? t->names[t->part_count - 1] : t->stem;
}

static int fail_here(struct file_track *t, int r)
{
	return fail(t, last_name(t), r, "this speaker is not recorded any more");
}

/* ---- times ---- */

static uint64_t muldiv(uint64_t n, uint32_t mul, uint32_t div)
{
	return n / div * mul + n % div * mul / div;
}

/* Rounded as the resampler does. */
static uint64_t sound_to_out(const struct file_track *t, uint64_t sound)
{
	uint32_t rate = t->session->conf.rate;

	return sound / TD_RATE * rate + (sound % TD_RATE * rate * 2 + TD_RATE) / (2 * TD_RATE);
}

static uint64_t out_to_sound(const struct file_track *t, uint64_t out)
{
	return muldiv(out, TD_RATE, t->session->conf.rate);
}

static uint64_t sound(const struct file_track *t)
{
	return t->position - t->cut_samples;
}

static struct td_cut cut_at(const struct file_track *t, uint32_t i)
{
	static const struct td_cut unreadable = { UINT64_MAX, 0 };
	struct td_cut cut = t->cut;

	if (i + 1 < t->cut_count &&
		spill_read(t->session->spill, &t->cuts, i * sizeof(cut), &cut, sizeof(cut)) < 0)
		return unreadable;
	return cut;
}

/* Position of a sample of the sound; called with ever later ones that have been written. */
static uint64_t position_of(struct file_track *t, uint64_t at)
{
	struct cut_cursor *c = &t->now;
	struct td_cut cut;

	for (; c->index < t->cut_count; c->index++) {
		cut = cut_at(t, c->index);
		if (cut.position - c->before > at)
			break;
		c->before += cut.samples;
	}
	return at + c->before;
}

/* The sound before a position; called with ever later ones that have been reached. */
static uint64_t sound_before(struct file_track *t, uint64_t position)
{
	struct cut_cursor *c = &t->due;
	struct td_cut cut;

	for (; c->index < t->cut_count; c->index++) {
		cut = cut_at(t, c->index);
		if (cut.position + cut.samples > position)
			return (cut.position < position ? cut.position : position) - c->before;
		c->before += cut.samples;
	}
	return position - c->before;
}

/* ---- parts ---- */

static bool is_split(const struct file_track *t)
{
	return t->session->conf.split_seconds > 0 || t->session->conf.split_bytes > 0;
}

static void make_name(const struct file_track *t, char ret[static FILE_NAME_MAX], unsigned take,
	uint32_t part)
{
	bool numbered = is_split(t) || part > 0;

	file_name(ret, t->stem, take, numbered ? part + 1 : 0, t->session->conf.writer->name);
}

/* Adds to the list; what it says of the file is filled in later. */
static int list_part(struct file_track *t, const char *name, uint64_t position)
{
	char *copy = strdup(name);

	if (copy == NULL)
		return TD_ERR_NOMEM;
	if (t->part_count == t->part_cap) {
		uint32_t cap = t->part_cap > 0 ? t->part_cap * 2 : 1;
		struct td_part *parts = realloc(t->parts, cap * sizeof(*parts));
		char **names;

		if (parts != NULL)
			t->parts = parts;
		names = parts != NULL ? realloc(t->names, cap * sizeof(*names)) : NULL;
		if (names == NULL) {
			free(copy);
			return TD_ERR_NOMEM;
		}
		t->names = names;
		t->part_cap = cap;
	}
	t->names[t->part_count] = copy;
	t->parts[t->part_count] = (struct td_part){ .file = copy, .position = position };
	t->part_count++;
	return TD_OK;
}

/* Calls the new file by the first name that is free. */
static int take_name(struct file_track *t, char ret_name[static FILE_NAME_MAX])
{
	int r = TD_ERR_IO;

	for (unsigned take = t->take; take < t->take + NAME_TRIES; take++) {
		make_name(t, ret_name, take, t->part_count);
		if ((r = outfile_take_name(t->file, ret_name)) == TD_OK) {
			if (t->part_count == 0)
				t->take = take;
			return r;
		}
		if (r != TD_ERR_IO || errno != EEXIST)
			break;
	}
	return r;
}

static void make_conf(struct file_track *t, uint64_t position)
{
	const struct file_session *s = t->session;

	if (t->user_id != 0)
		snprintf(t->title, sizeof(t->title), "%" PRIu64, t->user_id);
	else
		snprintf(t->title, sizeof(t->title), "ssrc-%" PRIu32, t->ssrc);
	t->conf = (struct td_writer_conf){ .size = sizeof(t->conf),
		.source = s->conf.source,
		.channels = s->conf.channels,
		.rate = s->conf.rate,
		.position = position,
		.title = t->title,
		.album = s->info->name,
		.options = s->conf.writer_options,
		.live = s->info->live };
	if (s->info->start_utc_ns != 0)
		t->conf.start_utc_ns =
			s->info->start_utc_ns + (uint64_t)td_samples_to_ns((int64_t)position);
	if (t->preroll != NULL && t->out > 0)
		t->conf.preroll = preroll_length(t->preroll, t->out);
}

/* A writer over a new file that nobody has seen yet. */
static int open_writer(struct file_track *t, const char *hidden)
{
	const struct file_session *s = t->session;
	int r;

	if ((r = outfile_create(&t->file, s->info->dir_fd, hidden)) < 0)
		return r;
	t->output = outfile_output(t->file);
	if ((r = s->conf.writer->open(&t->writer, &t->output, &t->conf)) < 0) {
		t->writer = NULL;
		return r;
	}
	if (t->conf.preroll > 0 &&
		(r = preroll_write(t->preroll, t->conf.preroll, s->conf.writer, t->writer)) < 0)
		return r;
	return outfile_flush(t->file);
}

/* Nobody ever sees a file under its name without a valid header. *ret_cause: errno. */
static int make_part(struct file_track *t, uint64_t position, int *ret_cause)
{
	char name[FILE_NAME_MAX], hidden[FILE_NAME_MAX + 8];
	uint64_t samples;
	int r;

	make_conf(t, position);
	make_name(t, name, t->take, t->part_count);
	snprintf(hidden, sizeof(hidden), ".%s.part", name);
	if ((r = open_writer(t, hidden)) < 0)
		goto out;
	if ((r = take_name(t, name)) < 0)
		goto out;
	if ((r = list_part(t, name, position)) < 0)
		goto out;
	t->part_out = t->out;
	t->folder = folder_id(t->session->info->dir_fd);
	say_file(t, TD_EVENT_FILE_OPENED, name, 0);
out:
	if (r < 0) {
		*ret_cause = t->file != NULL && outfile_errno(t->file) != 0 ? outfile_errno(t->file)
									    : errno;
		if (t->writer != NULL)
			t->session->conf.writer->close(t->writer, &samples);
		t->writer = NULL;
		if (t->file != NULL)
			outfile_unlink(t->file);
		outfile_free(t->file);
		t->file = NULL;
	}
	return r;
}

/* The disk did not take it: no part is open now. */
static void interrupted(struct file_track *t, const char *name, int r, int cause, const char *so)
{
	struct outage *o = &t->session->outage;

	/* The host says so, for all files of the session. */
	if (cause == ENOENT && folder_is_gone(t->session->info->dir_fd))
		outage_ended_quietly(o, &t->outage);
	else
		outage_ended(o, &t->outage, name, r, cause, so);
}

static int open_part(struct file_track *t, uint64_t position)
{
	char name[FILE_NAME_MAX];
	int r, cause;

	if ((r = make_part(t, position, &cause)) < 0) {
		make_name(t, name, t->take, t->part_count);
		interrupted(t, name, r, cause,
			"nothing more of this speaker is written until it can be made");
	}
	return r;
}

static void forget_part(struct file_track *t)
{
	free(t->names[--t->part_count]);
}

/* sync: until the disk has it. *ret_cause: errno. */
static int close_part(struct file_track *t, bool sync, int *ret_cause)
{
	struct td_part *part = &t->parts[t->part_count - 1];
	uint64_t given = t->out - t->part_out, held = 0, end;
	int r = t->session->conf.writer->close(t->writer, &held);

	t->writer = NULL;
	if (r == TD_OK)
		r = sync ? outfile_sync(t->file) : outfile_flush(t->file);
	*ret_cause = outfile_errno(t->file) != 0 ? outfile_errno(t->file) : errno;
	/* What is given at the end of a track is all there is; before, it is counted in samples of
	 * the file, so that parts add up. */
	end = out_to_sound(t, t->part_out + (held < given ? held : given));
	if (held >= given && sync && r == TD_OK)
		end = sound(t);
	part->samples = end > t->ended ? end - t->ended : 0;
	t->ended += part->samples;
	t->stored += part->samples;
	t->besides = *outfile_besides(t->file);
	return r;
}

static void part_closed(struct file_track *t)
{
	say_file(t, TD_EVENT_FILE_CLOSED, last_name(t), t->parts[t->part_count - 1].samples);
	outfile_free(t->file);
	t->file = NULL;
}

/* The part cannot go on. What it holds stays; one that holds nothing was an attempt. */
static void interrupt(struct file_track *t, int r)
{
	bool attempt;
	int cause, e;

	/* Half a page at its end makes programs wonder how long a file is. */
	if (t->session->conf.source == TD_WANT_OPUS)
		outfile_cut(t->file);
	e = close_part(t, false, &cause);
	interrupted(t, last_name(t), e < 0 ? e : r, cause,
		"this file ends here, and the next one begins when it can be written");
	attempt = t->parts[t->part_count - 1].samples == 0;
	if (attempt)
		outfile_unlink(t->file);
	part_closed(t);
	if (attempt)
		forget_part(t);
}

/* There is sound, and no part: begins one if it may. */
static void resume(struct file_track *t)
{
	struct outage *o = &t->session->outage;
	uint64_t began_ns = outage_now(), ended = t->ended;
	int cause;

	if (t->failed || t->part_count >= parts_max || !outage_may_try(o, &t->outage))
		return;
	t->ended = out_to_sound(t, t->out);
	if (make_part(t, position_of(t, t->ended), &cause) == TD_OK) {
		outage_tried(o, &t->outage, began_ns, last_name(t));
		return;
	}
	t->ended = ended;
	outage_tried(o, &t->outage, began_ns, NULL);
	if (cause == ENOENT && folder_is_gone(t->session->info->dir_fd))
		outage_ended_quietly(o, &t->outage);
}

/* Where on `out` the next part begins by the clock; NEVER: not in what there is yet. */
static uint64_t next_boundary(struct file_track *t)
{
	uint64_t step = t->session->conf.split_seconds * TD_RATE, out;

	if (step == 0 || t->full)
		return NEVER;
	/* None begins where this one has no sample yet. */
	for (; t->boundary <= t->position; t->boundary += step) {
		out = sound_to_out(t, sound_before(t, t->boundary));
		if (out > t->part_out)
			return out;
	}
	return NEVER;
}

static bool is_full_size(const struct file_track *t)
{
	uint64_t size = t->session->conf.split_bytes;

	return size > 0 && !t->full && t->out > t->part_out && outfile_length(t->file) >= size;
}

static void next_part(struct file_track *t)
{
	int r, cause;

	if (t->part_count >= parts_max) {
		t->full = true;
		say(t, TD_EVENT_WARNING, "%s: no more than %" PRIu32 " parts; this one goes on",
			last_name(t), parts_max);
		return;
	}
	r = close_part(t, false, &cause);
	if (r < 0)
		interrupted(t, last_name(t), r, cause,
			"this file ends here, and the next one begins when it can be written");
	part_closed(t);
	if (r == TD_OK)
		open_part(t, position_of(t, out_to_sound(t, t->out)));
}

/* How many of n samples belong to this part; begins the next one when that is none. There may be no
 * part then. */
static uint64_t room(struct file_track *t, uint64_t n)
{
	uint64_t at = next_boundary(t);

	if (t->out >= at || is_full_size(t)) {
		next_part(t);
		at = next_boundary(t);
	}
	return n < at - t->out ? n : at - t->out;
}

/* ---- sound at the rate of the file ---- */

static int put_audio(void *user, const int16_t *pcm, uint32_t samples)
{
	struct file_track *t = user;
	uint64_t n;
	int r;

	if (t->writer == NULL)
		resume(t);
	while (samples > 0 && t->writer != NULL) {
		n = room(t, samples);
		if (t->writer == NULL)
			break;
		r = t->session->conf.writer->write(t->writer, pcm, (uint32_t)n);
		t->out += n;
		pcm += n * t->session->conf.channels;
		samples -= (uint32_t)n;
		if (r < 0)
			interrupt(t, r);
	}
	t->out += samples;
	return TD_OK;
}

static int put_silence(void *user, uint64_t samples)
{
	struct file_track *t = user;
	uint64_t n, size = t->session->conf.split_bytes;
	int r;

	if (t->preroll != NULL && (r = preroll_silence(t->preroll, samples)) < 0)
		return r;
	while (samples > 0 && t->writer != NULL) {
		n = room(t, samples);
		if (t->writer == NULL)
			break;
		if (size > 0 && !t->full) {
			uint64_t length = outfile_length(t->file), piece = SIZE_PIECE;

			if (length < size && (size - length) / SIZE_SAMPLE_BYTES > piece)
				piece = (size - length) / SIZE_SAMPLE_BYTES;
			if (n > piece)
				n = piece;
		}
		r = t->session->conf.writer->silence(t->writer, n);
		t->out += n;
		samples -= n;
		if (r < 0)
			interrupt(t, r);
	}
	t->out += samples;
	return TD_OK;
}

/* It is not cut: a part begins before or after it, whichever is nearer. TD_ERR_UNSUPPORTED: no
 * decoder would understand it. */
static int write_packet(struct file_track *t, const struct td_packet *packet)
{
	uint64_t at = next_boundary(t);
	int r;

	if (at != NEVER && at < t->out + packet->samples / 2 && t->out > t->part_out) {
		/* So it is behind us even if `out` is not. */
		t->boundary += t->session->conf.split_seconds * TD_RATE;
		at = t->out;
	}
	if (t->out >= at || is_full_size(t))
		next_part(t);
	if (t->writer == NULL)
		return TD_OK;
	r = t->session->conf.writer->packet(t->writer, packet);
	if (r == TD_ERR_UNSUPPORTED)
		return r;
	t->out += packet->samples;
	if (r < 0)
		interrupt(t, r);
	t->out -= packet->samples;
	return TD_OK;
}

static int put_packet(struct file_track *t, const struct td_packet *packet)
{
	int r = TD_OK;

	if (t->writer == NULL)
		resume(t);
	if (t->writer != NULL)
		r = write_packet(t, packet);
	if (r < 0)
		return r;
	t->out += packet->samples;
	return t->preroll != NULL ? preroll_packet(t->preroll, packet) : TD_OK;
}

/* ---- the track ---- */

static int keep_silence(struct file_track *t, uint64_t n)
{
	if (n == 0)
		return TD_OK;
	t->position += n;
	return t->shape != NULL ? shape_silence(t->shape, n, put_audio, put_silence, t)
				: put_silence(t, n);
}

/* The last one ends at the present position. */
static bool cut_goes_on(const struct file_track *t)
{
	return t->cut_count > 0 && t->cut.position + t->cut.samples == t->position;
}

static int cut_silence(struct file_track *t, uint64_t n)
{
	int r;

	if (!cut_goes_on(t)) {
		if (t->cut_count > 0 &&
			(r = spill_append(t->session->spill, &t->cuts, &t->cut, sizeof(t->cut))) <
				0)
			return r;
		t->cut_count++;
		t->cut = (struct td_cut){ .position = t->position };
	}
	t->cut.samples += n;
	t->position += n;
	t->cut_samples += n;
	return TD_OK;
}

/* Whether silence may be left out at the present position. */
static bool may_cut(struct file_track *t)
{
	if (t->cut_count < cuts_max || cut_goes_on(t))
		return true;
	if (!t->cuts_full) {
		t->cuts_full = true;
		say(t, TD_EVENT_WARNING, "%s: no more than %" PRIu32 " pauses are shortened",
			last_name(t), cuts_max);
	}
	return false;
}

int file_track_silence(void *track, uint64_t n)
{
	struct file_track *t = track;
	uint64_t max = t->session->conf.max_silence, keep;
	int r;

	keep = t->quiet >= max ? 0 : max - t->quiet;
	if (keep > n)
		keep = n;
	if (t->quiet + n < t->quiet)
		return fail_here(t, TD_ERR_LIMIT);
	t->quiet += n;
	if ((r = keep_silence(t, keep)) == TD_OK && keep < n)
		r = may_cut(t) ? cut_silence(t, n - keep) : keep_silence(t, n - keep);
	return r < 0 ? fail_here(t, r) : TD_OK;
}

/* Somebody removed the file: what was in it is lost, and it is listed no more. So is everything
 * else when it is the folder that is gone; about that the host has something to say. */
static void forget_files(struct file_track *t)
{
	struct outage *o = &t->session->outage;
	int dir_fd = t->session->info->dir_fd;
	bool alone = !folder_is_gone(dir_fd) && folder_id(dir_fd) == t->folder;
	uint64_t samples;

	t->session->conf.writer->close(t->writer, &samples);
	t->writer = NULL;
	if (alone)
		outage_ended(o, &t->outage, last_name(t), TD_ERR_IO, ENOENT,
			"somebody removed it, and what was in it is lost");
	else
		outage_ended_quietly(o, &t->outage);
	t->parts[t->part_count - 1].samples = 0;
	part_closed(t);
	do {
		forget_part(t);
	} while (!alone && t->part_count > 0);
	t->stored = 0;
	for (uint32_t i = 0; i < t->part_count; i++)
		t->stored += t->parts[i].samples;
	t->outage.retry_ns = 0;
}

/* There is sound after a pause: where it goes may have been removed meanwhile. */
static void sound_begins(struct file_track *t)
{
	if (t->quiet > 0 && t->writer != NULL && outfile_is_gone(t->file))
		forget_files(t);
	t->quiet = 0;
}

int file_track_audio(void *track, const int16_t *pcm, uint32_t samples)
{
	struct file_track *t = track;
	int r;

	sound_begins(t);
	t->position += samples;
	r = t->shape != NULL ? shape_audio(t->shape, pcm, samples, put_audio, t)
			     : put_audio(t, pcm, samples);
	return r < 0 ? fail_here(t, r) : TD_OK;
}

int file_track_packet(void *track, const struct td_packet *packet)
{
	struct file_track *t = track;
	uint64_t max = t->session->conf.max_silence;
	uint64_t kept = t->quiet < max ? t->quiet : max;
	struct td_packet p = *packet;
	int r;

	if (p.lost > kept)
		p.lost = (uint32_t)kept;
	sound_begins(t);
	t->position += p.samples;
	r = put_packet(t, &p);
	/* A packet that no decoder would understand: nothing is heard of it. */
	if (r == TD_ERR_UNSUPPORTED && !t->failed)
		r = put_silence(t, p.samples);
	return r < 0 ? fail_here(t, r) : TD_OK;
}

int file_track_refresh(void *track)
{
	struct file_track *t = track;
	int r;

	if (t->writer == NULL)
		return TD_OK;
	if (outfile_is_gone(t->file))
		forget_files(t);
	else if ((r = t->session->conf.writer->refresh(t->writer)) < 0 ||
		(r = outfile_flush(t->file)) < 0)
		interrupt(t, r);
	return TD_OK;
}

static void make_stem(struct file_track *t)
{
	const struct file_session *s = t->session;
	const struct file_name_fields fields = { t->user_id, t->ssrc, s->info->name,
		s->info->start_utc_ns, s->conf.writer->name };

	file_name_stem(t->stem, s->conf.name, &fields);
	t->take = 1;
}

void file_track_free(void *track)
{
	struct file_track *t = track;
	uint64_t samples;

	if (t == NULL)
		return;
	if (t->writer != NULL)
		t->session->conf.writer->close(t->writer, &samples);
	outfile_free(t->file);
	shape_free(t->shape);
	if (t->preroll != NULL)
		preroll_free(t->preroll);
	free(t->preroll);
	for (uint32_t i = 0; i < t->part_count; i++)
		free(t->names[i]);
	free(t->names);
	free(t->parts);
	spill_list_free(&t->cuts);
	free(t);
}

int file_track_open(void **ret_track, void *session, const struct td_track *track)
{
	struct file_session *s = session;
	const struct file_conf *conf = &s->conf;
	struct file_track *t = calloc(1, sizeof(*t));
	int r = TD_ERR_NOMEM;

	if (t == NULL)
		return r;
	t->session = s;
	t->user_id = track->user_id;
	t->ssrc = track->ssrc;
	t->boundary = conf->split_seconds * TD_RATE;
	make_stem(t);
	if (conf->rate != TD_RATE &&
		(r = shape_new(&t->shape, TD_RATE, conf->channels, conf->rate, conf->channels)) < 0)
		goto out;
	if (conf->source == TD_WANT_OPUS && (t->preroll = calloc(1, sizeof(*t->preroll))) == NULL)
		goto out;
	open_part(t, 0);
	*ret_track = t;
	t = NULL;
	r = TD_OK;
out:
	if (t != NULL)
		fail(t, t->stem, r, "this speaker is not recorded");
	file_track_free(t);
	return r;
}

/* The parts that were closed before the end are on the disk now, too. Somebody may have taken one
 * away since; that one is no concern of ours. */
static void sync_parts(struct file_track *t, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (outfile_sync_name(t->session->info->dir_fd, t->names[i]) < 0 &&
			errno != ENOENT) {
			outage_ended(&t->session->outage, &t->outage, t->names[i], TD_ERR_IO, errno,
				"it may not last");
			return;
		}
	}
}

int file_track_end(void *track)
{
	struct file_track *t = track;
	uint32_t closed = t->part_count;
	int r, cause;

	if (t->shape != NULL && !t->failed && (r = shape_end(t->shape, put_audio, t)) < 0)
		fail_here(t, r);
	if (t->writer != NULL) {
		closed = t->part_count - 1;
		if ((r = close_part(t, true, &cause)) < 0)
			outage_ended(&t->session->outage, &t->outage, last_name(t), r, cause,
				"this file ends here");
		part_closed(t);
	}
	sync_parts(t, closed);
	return t->failed ? TD_ERR_IO : TD_OK;
}

/* ---- names ---- */

/* Part i is called by the first free name of the stem from *take on. */
static int rename_part(struct file_track *t, uint32_t i, unsigned *take)
{
	char name[FILE_NAME_MAX], *copy;
	int r = TD_ERR_IO;

	for (unsigned n = 0; n < NAME_TRIES; n++) {
		make_name(t, name, *take + n, i);
		if ((copy = strdup(name)) == NULL)
			return TD_ERR_NOMEM;
		if (i + 1 == t->part_count && t->file != NULL)
			r = outfile_take_name(t->file, name);
		else
			r = outfile_rename_all(t->session->info->dir_fd, t->names[i], name,
				&t->besides);
		if (r == TD_OK) {
			free(t->names[i]);
			t->parts[i].file = t->names[i] = copy;
			*take += n;
			return r;
		}
		free(copy);
		if (r != TD_ERR_IO || errno != EEXIST)
			break;
	}
	return r;
}

void file_track_named(void *track, uint64_t user_id, uint32_t own)
{
	struct file_track *t = track;
	char was[FILE_STEM_MAX];
	unsigned was_take = t->take, take;
	int r;

	t->user_id = user_id;
	if (!own)
		return;
	memcpy(was, t->stem, sizeof(was));
	make_stem(t);
	if (strcmp(was, t->stem) == 0) {
		t->take = was_take;
		return;
	}
	for (uint32_t i = 0; i < t->part_count; i++) {
		take = t->take;
		if ((r = rename_part(t, i, &take)) < 0) {
			/* The sound is safe under its old name too, and the manifest tells whose it
			 * is. */
			say(t, TD_EVENT_WARNING, "%s could not be renamed to its speaker: %s",
				t->names[i], r == TD_ERR_IO ? strerror(errno) : td_strerror(r));
			return;
		}
		if (i == 0)
			t->take = take;
	}
}

void file_session_unlist(struct file_session *s)
{
	spill_unload(s->listed, s->listed_len, sizeof(*s->listed));
	s->listed = NULL;
}

/* NULL, with their number, where they cannot be read. */
static void list_cuts(const struct file_track *t, struct td_file *file)
{
	struct file_session *s = t->session;

	file_session_unlist(s);
	file->cut_count = t->cut_count;
	if ((s->listed = spill_load(s->spill, &t->cuts, sizeof(t->cut))) == NULL)
		return;
	s->listed_len = t->cuts.len;
	s->listed[t->cut_count - 1] = t->cut;
	file->cuts = s->listed;
}

void file_track_describe(void *track, struct td_file *file)
{
	struct file_track *t = track;

	if (t->part_count == 0)
		return;
	file->file = t->names[0];
	file->format = t->session->conf.writer->name;
	file->channels = t->session->conf.channels;
	file->rate = t->session->conf.rate;
	file->samples = t->stored;
	if (t->writer != NULL) {
		struct td_part *part = &t->parts[t->part_count - 1];
		uint64_t end = sound(t);

		part->samples = end > t->ended ? end - t->ended : 0;
		file->samples += part->samples;
	}
	if (is_split(t) || t->part_count > 1 || t->parts[0].position > 0) {
		file->parts = t->parts;
		file->part_count = t->part_count;
	}
	if (t->cut_count > 0)
		list_cuts(t, file);
}
