/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/err.h"
#include "sinks/host.h"
#include "sinks/outfile.h"
#include "sinks/timeline.h"
#include "sinks/track.h"
#include "tests/fuzz/check.h"

/*
 * The first byte of an input picks one of three: a --sink text; frames on tracks that check what
 * they get; a whole session on a disk that fails when the input says so.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define START (1000 * TD_SEC_NS)

static void fuzz_spec(struct rd *r)
{
	struct sink_spec *spec = NULL;
	struct td_wants wants;
	size_t len = rd_left(r);
	char *text = calloc(1, len + 1), err[80] = "";

	CHECK(text != NULL);
	rd_copy(r, text, len);
	if (sink_spec_parse(&spec, text, err, sizeof(err)) == TD_OK) {
		sink_spec_wants(spec, &wants);
		CHECK((wants.what & TD_WANT_PCM) == 0 ||
			(wants.channels >= 1 && wants.channels <= 2));
		CHECK(err[0] == '\0');
	} else {
		CHECK(spec == NULL);
		CHECK(err[0] != '\0' && strchr(err, '\n') == NULL);
	}
	sink_spec_free(spec);
	free(text);
}

/* ---- frames ---- */

static int16_t pcm[5760 * 2];

/* Times near the last one, or anything at all. */
static uint64_t next_time(struct rd *r, uint64_t last, uint8_t how)
{
	switch (how & 3) {
	case 0:
		return last + 20 * TD_MS_NS;
	case 1:
		return last + rd_u32(r);
	case 2:
		return last + ((uint64_t)rd_u16(r) - 32768) * TD_MS_NS;
	default:
		return rd_u64(r);
	}
}

static struct td_frame next_frame(struct rd *r, uint64_t *now, uint32_t *rtp)
{
	uint8_t flags = rd_u8(r);
	struct td_frame f = {
		.ssrc = rd_u8(r) % 8,
		.user_id = rd_u8(r) % 4,
		.kind = flags >> 6,
		.channels = (uint8_t)(1 + (flags >> 5 & 1)),
		.flags = (flags & 16) != 0 ? TD_FRAME_SPURT : 0,
		.pcm = pcm,
	};

	*now = next_time(r, *now, flags);
	f.arrival_ns = *now;
	f.sent_ns = (int64_t)next_time(r, *now - 20 * TD_MS_NS, flags >> 2);
	f.samples = (uint16_t)(1 + rd_u16(r) % 5760);
	f.rtp_ts = rd_u8(r) % 4 == 0 ? rd_u32(r) : *rtp;
	*rtp = f.rtp_ts + f.samples;
	return f;
}

/* A track that checks that it gets an unbroken run. */
struct checked {
	uint64_t samples;
	bool ended;
};
static uint64_t open_tracks;

static int checked_open(void **ret_track, void *user, const struct td_track *track)
{
	(void)user;
	if (track->ssrc == 7)
		return TD_ERR_IO;
	open_tracks++;
	return (*ret_track = calloc(1, sizeof(struct checked))) != NULL ? 0 : TD_ERR_NOMEM;
}

static int checked_audio(void *track, const int16_t *in, uint32_t samples)
{
	struct checked *t = track;

	CHECK(!t->ended && samples > 0);
	CHECK(in >= pcm && in + (size_t)samples * 2 <= pcm + 5760 * 2);
	t->samples += samples;
	return 0;
}

static int checked_silence(void *track, uint64_t n)
{
	struct checked *t = track;

	CHECK(!t->ended && n > 0 && n <= (uint64_t)TIMELINE_MAX_POS * 2);
	t->samples += n;
	return 0;
}

static int checked_end(void *track)
{
	struct checked *t = track;

	CHECK(!t->ended);
	t->ended = true;
	return 0;
}

static void checked_free(void *track)
{
	open_tracks--;
	free(track);
}

static const struct td_track_ops checked_ops = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_track_ops),
	.open = checked_open,
	.audio = checked_audio,
	.silence = checked_silence,
	.end = checked_end,
	.free = checked_free,
};

/* No track is longer than the latest arrival allows, and each got all it is said to have. */
static void check_tracks(struct track_set *set, int64_t longest)
{
	size_t count;
	struct track *const *tracks = track_set_sorted(set, &count);

	for (size_t i = 0; i < count; i++) {
		const struct checked *t = tracks[i]->state;

		CHECK(tracks[i]->written >= 0 && tracks[i]->written <= longest);
		CHECK(tracks[i]->first_sample < tracks[i]->written);
		CHECK(!tracks[i]->open || t->samples == (uint64_t)tracks[i]->written);
	}
}

static void fuzz_tracks(struct rd *r)
{
	const uint64_t delta[COUNTER_COUNT] = { 1 };
	uint64_t now = START;
	struct track_set *set;
	int64_t longest = 0;
	uint32_t rtp = 0;

	CHECK(track_set_new(&set, &checked_ops, NULL, START, 2, NULL) == TD_OK);
	while (rd_left(r) > 0) {
		uint8_t op = rd_u8(r);

		if (op < 240) {
			struct td_frame f = next_frame(r, &now, &rtp);
			int64_t at = timeline_position(START,
				now > INT64_MAX ? INT64_MAX : (int64_t)now);

			CHECK(track_set_frame(set, &f) == TD_OK);
			if (at + TIMELINE_MAX_LEAD + f.samples > longest)
				longest = at + TIMELINE_MAX_LEAD + f.samples;
		} else if (op < 248) {
			CHECK(track_set_speaker(set, rd_u8(r) % 4, op % 8u) == TD_OK);
		} else if (op < 252) {
			track_set_speaker_left(set, op % 4u);
		} else {
			CHECK(track_set_count(set, rd_u8(r) % 8, op % 4u, delta) == TD_OK);
		}
		check_tracks(set, longest);
	}
	track_set_finish(set, START + TD_SEC_NS);
	check_tracks(set, longest > TD_RATE ? longest : TD_RATE);
	track_set_free(set);
	CHECK(open_tracks == 0);
}

/* ---- a session ---- */

static char dir[64];
static size_t disk_left;

/* Takes everything and keeps nothing, until it is full. */
static ssize_t fuzz_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
	(void)fd;
	(void)bytes;
	CHECK(at >= 0);
	if (disk_left == 0) {
		errno = ENOSPC;
		return -1;
	}
	len = len < disk_left ? len : disk_left;
	disk_left -= len;
	return (ssize_t)len;
}

static int fuzz_ftruncate(int fd, off_t len)
{
	(void)fd;
	(void)len;
	return 0;
}

static int fuzz_fsync(int fd)
{
	(void)fd;
	return 0;
}

static void session_path(char *path, size_t len, const char *file)
{
	snprintf(path, len, "%s/s/%s", dir, file);
}

static void remove_dir(void)
{
	rmdir(dir);
}

static void remove_track(void *user, const struct sink_track_summary *track)
{
	(void)user;
	CHECK(strncmp(track->path, dir, strlen(dir)) == 0);
	CHECK(unlink(track->path) == 0);
}

static void fuzz_session(struct rd *r)
{
	static const struct outfile_sys sys = { fuzz_pwrite, fuzz_ftruncate, fuzz_fsync };
	static const char *const beside[] = { "session.json", "labels.txt", "session.lof",
		"session.rpp" };
	const uint64_t delta[COUNTER_COUNT] = { 1 };
	uint8_t setup = rd_u8(r);
	struct sink_spec *spec = NULL;
	struct sink_session *s = NULL;
	uint64_t now = START;
	uint32_t rtp = 0;
	char err[80], path[128];

	if (dir[0] == '\0') {
		strcpy(dir, "/tmp/fuzz_sinks.XXXXXX");
		CHECK(mkdtemp(dir) != NULL);
		atexit(remove_dir);
	}
	outfile_test_sys(&sys);
	disk_left = (setup & 2) != 0 ? 3000 + (size_t)setup * 2000 : SIZE_MAX;
	CHECK(sink_spec_parse(&spec, (setup & 1) != 0 ? "file:channels=1" : "file", err,
		      sizeof(err)) == TD_OK);
	const struct sink_session_conf conf = { .out_dir = dir,
		.name = "s",
		.start_ns = START,
		.specs = (const struct sink_spec *const[]){ spec },
		.spec_count = 1 };

	CHECK(sink_session_open(&s, &conf) == TD_OK);
	for (int n = 0; n < 1000 && rd_left(r) > 0; n++) {
		uint8_t op = rd_u8(r);

		if (op < 200) {
			struct td_frame f = next_frame(r, &now, &rtp);

			sink_session_frame(s, &f);
		} else if (op < 216) {
			sink_session_speaker(s, rd_u8(r) % 4, op % 8u, now);
		} else if (op < 220) {
			sink_session_speaker_left(s, op % 4u, now);
		} else if (op < 236) {
			sink_session_tick(s, now);
		} else if (op < 240) {
			sink_session_pause(s, now);
		} else if (op < 244) {
			sink_session_resume(s, now);
		} else if (op < 248) {
			char text[2] = { (char)rd_u8(r), '\0' };

			sink_session_mark(s, text, text, now);
		} else {
			sink_session_count(s, op % 8u, rd_u8(r) % 4, delta);
		}
	}
	sink_session_close(s, now, NULL, remove_track, NULL);
	sink_spec_free(spec);
	outfile_test_sys(NULL);
	for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
		session_path(path, sizeof(path), beside[i]);
		unlink(path);
	}
	session_path(path, sizeof(path), "");
	CHECK(rmdir(path) == 0); /* nothing else was left behind */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd r;

	rd_init(&r, data, size);
	switch (rd_u8(&r) % 3) {
	case 0:
		fuzz_spec(&r);
		break;
	case 1:
		fuzz_tracks(&r);
		break;
	default:
		fuzz_session(&r);
	}
	return 0;
}
