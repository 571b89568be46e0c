/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/track.h"

enum { FRAME = 960, MEMORY = 400000, RECORDERS = 16 };
#define START (1000 * TD_SEC_NS)

/* Tracks that keep their samples in memory; mono. */
struct recorder {
	uint64_t user_id, named, samples, silence;
	uint32_t ssrc;
	bool own, ended, freed;
	uint64_t fail_at; /* samples it takes before it fails */
	int16_t pcm[MEMORY];
};
static struct recorder *recorders;
static size_t opened;
static int open_result;
static uint64_t fail_at;

static int recorder_open(void **ret_track, void *user, const struct td_track *track)
{
	struct recorder *r = &recorders[opened];

	assert_ptr_equal(user, &recorders);
	if (open_result < 0)
		return open_result;
	assert_true(opened < RECORDERS);
	opened++;
	r->user_id = track->user_id;
	r->ssrc = track->ssrc;
	r->fail_at = fail_at;
	*ret_track = r;
	return 0;
}

static int recorder_take(struct recorder *r, const int16_t *pcm, uint64_t n)
{
	assert_false(r->ended || r->freed);
	if (r->samples >= r->fail_at) {
		r->fail_at = 0;
		return TD_ERR_IO;
	}
	for (uint64_t i = 0; i < n; i++) {
		if (r->samples < MEMORY)
			r->pcm[r->samples] = pcm != NULL ? pcm[i] : 0;
		r->samples++;
	}
	return 0;
}

static int recorder_audio(void *track, const int16_t *pcm, uint32_t samples)
{
	return recorder_take(track, pcm, samples);
}

static int recorder_silence(void *track, uint64_t n)
{
	struct recorder *r = track;

	assert_true(n > 0);
	r->silence += n;
	if (n > MEMORY) {
		r->samples += n;
		return 0;
	}
	return recorder_take(r, NULL, n);
}

static int recorder_end(void *track)
{
	struct recorder *r = track;

	assert_false(r->ended);
	r->ended = true;
	return 0;
}

static void recorder_free(void *track)
{
	struct recorder *r = track;

	assert_false(r->freed);
	r->freed = true;
}

static void recorder_named(void *track, uint64_t user_id, uint32_t own)
{
	struct recorder *r = track;

	r->named = user_id;
	r->own = own != 0;
}

static const struct td_track_ops recorder_ops = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_track_ops),
	.open = recorder_open,
	.audio = recorder_audio,
	.silence = recorder_silence,
	.end = recorder_end,
	.free = recorder_free,
	.named = recorder_named,
};

static struct track_set *set;

static int setup(void **state)
{
	(void)state;
	recorders = calloc(RECORDERS, sizeof(*recorders));
	opened = 0;
	open_result = 0;
	fail_at = UINT64_MAX;
	return track_set_new(&set, &recorder_ops, &recorders, START, 1, NULL);
}

static int teardown(void **state)
{
	(void)state;
	track_set_free(set);
	for (size_t i = 0; i < opened; i++) {
		if (!recorders[i].freed)
			return -1;
	}
	free(recorders);
	return 0;
}

/* A frame of one value, sent and received at `ms`. */
static void frame_at(uint64_t user_id, uint32_t ssrc, int64_t ms, uint32_t rtp_ts, bool spurt,
	int16_t value, uint8_t kind)
{
	int16_t pcm[FRAME];
	struct td_frame f = {
		.size = sizeof(f),
		.ssrc = ssrc,
		.user_id = user_id,
		.arrival_ns = START + (uint64_t)ms * TD_MS_NS,
		.sent_ns = (int64_t)(START + (uint64_t)ms * TD_MS_NS),
		.rtp_ts = rtp_ts,
		.samples = FRAME,
		.kind = kind,
		.channels = 1,
		.flags = spurt ? TD_FRAME_SPURT : 0,
		.pcm = pcm,
	};

	for (size_t i = 0; i < FRAME; i++)
		pcm[i] = value;
	assert_int_equal(track_set_frame(set, &f), 0);
}

static void frame_kind(uint64_t user_id, uint32_t ssrc, int64_t ms, bool spurt, int16_t value,
	uint8_t kind)
{
	frame_at(user_id, ssrc, ms, (uint32_t)(ms * 48 + ssrc * 1000), spurt, value, kind);
}

static void frame(uint64_t user_id, uint32_t ssrc, int64_t ms, bool spurt, int16_t value)
{
	frame_kind(user_id, ssrc, ms, spurt, value, TD_FRAME_DECODED);
}

/* Milliseconds [from, to) of a track hold this value. */
static void expect(size_t track, size_t from, size_t to, int16_t value)
{
	assert_true(track < opened);
	assert_true(to * 48 <= recorders[track].samples);
	for (size_t i = from * 48; i < to * 48; i++) {
		if (recorders[track].pcm[i] != value)
			fail_msg("track %zu: sample %zu is %d, not %d", track, i,
				recorders[track].pcm[i], value);
	}
}

static const struct track *track_at(size_t i)
{
	size_t count;
	struct track *const *tracks = track_set_sorted(set, &count);

	assert_true(i < count);
	return tracks[i];
}

static void expect_tracks(size_t want)
{
	size_t count;

	track_set_sorted(set, &count);
	assert_int_equal(count, want);
}

static void two_speakers_are_aligned(void **state)
{
	(void)state;
	for (int ms = 100; ms < 200; ms += 20)
		frame(7, 70, ms, ms == 100, 1);
	for (int ms = 140; ms < 200; ms += 20)
		frame(8, 80, ms, ms == 140, 2);
	frame(7, 70, 1100, true, 3);
	track_set_finish(set, START + 2 * TD_SEC_NS);
	assert_int_equal(opened, 2);
	assert_int_equal(recorders[0].samples, 96000);
	assert_int_equal(recorders[1].samples, 96000);
	expect(0, 0, 100, 0);
	expect(0, 100, 200, 1);
	expect(0, 200, 1100, 0);
	expect(0, 1100, 1120, 3);
	expect(0, 1120, 2000, 0);
	expect(1, 0, 140, 0);
	expect(1, 140, 200, 2);
	expect(1, 200, 2000, 0);
	assert_int_equal(track_at(0)->first_sample, 4800);
	assert_true(recorders[0].ended && recorders[1].ended);
}

static void gap_10min(void **state)
{
	(void)state;
	frame(7, 70, 0, true, 1);
	frame(7, 70, 600000, true, 1);
	assert_int_equal(recorders[0].samples, 28800960);
	assert_int_equal(recorders[0].silence, 28800000 - 960);
}

static void ssrc_change_same_user(void **state)
{
	(void)state;
	frame(7, 70, 0, true, 1);
	frame(7, 70, 20, false, 1);
	track_set_speaker(set, 7, 71);
	frame(7, 71, 500, true, 2);
	/* the old one beside the new one: dropped, not mixed */
	frame(7, 70, 520, true, 9);
	frame(7, 71, 520, false, 2);
	frame(7, 70, 540, false, 9);
	frame(7, 71, 540, false, 2);
	track_set_finish(set, START + TD_SEC_NS);
	assert_int_equal(opened, 1);
	expect(0, 0, 40, 1);
	expect(0, 40, 500, 0);
	expect(0, 500, 560, 2);
	expect(0, 560, 1000, 0);
	assert_int_equal(track_at(0)->counters[COUNTER_OVERLAP], 2);
	assert_int_equal(track_at(0)->ssrc_count, 2);
	assert_int_equal(track_at(0)->ssrcs[0], 70);
	assert_int_equal(track_at(0)->ssrcs[1], 71);
}

static void first_heard_is_newest_without_a_name(void **state)
{
	(void)state;
	frame(7, 70, 0, true, 1);
	frame(7, 71, 20, true, 2);
	frame(7, 70, 40, true, 9);
	frame(7, 71, 40, false, 2);
	expect(0, 20, 60, 2);
	assert_int_equal(track_at(0)->counters[COUNTER_OVERLAP], 1);
}

/* A frame cut in front keeps the right end of its samples, with every channel in its place. */
static void cut_frames_keep_their_end(void **state)
{
	int16_t pcm[FRAME];
	struct td_frame f = {
		.size = sizeof(f),
		.ssrc = 70,
		.user_id = 7,
		.arrival_ns = START,
		.sent_ns = (int64_t)START - 130 * (int64_t)TD_MS_NS,
		.samples = FRAME,
		.channels = 1,
		.pcm = pcm,
	};

	(void)state;
	for (int i = 0; i < FRAME; i++)
		pcm[i] = (int16_t)i;
	/* The spurt began too early to be moved; its seventh frame lies across the start. */
	for (int k = 0; k < 7; k++) {
		f.flags = k == 0 ? TD_FRAME_SPURT : 0;
		assert_int_equal(track_set_frame(set, &f), 0);
		f.rtp_ts += FRAME;
		f.sent_ns += 20 * (int64_t)TD_MS_NS;
	}
	assert_int_equal(recorders[0].samples, 480);
	for (int i = 0; i < 480; i++)
		assert_int_equal(recorders[0].pcm[i], 480 + i);
}

static void last_words_of_the_old_ssrc_are_kept(void **state)
{
	(void)state;
	frame(7, 70, 0, true, 1);
	/* named, and not yet heard: what the old one still has is sound nobody else has */
	track_set_speaker(set, 7, 71);
	frame(7, 70, 20, false, 1);
	frame(7, 71, 300, true, 2);
	/* long after the new one fell silent */
	frame(7, 70, 420, true, 3);
	expect(0, 0, 40, 1);
	expect(0, 300, 320, 2);
	expect(0, 420, 440, 3);
	assert_int_equal(track_at(0)->counters[COUNTER_OVERLAP], 0);
	/* named again: now it is the newest */
	track_set_speaker(set, 7, 70);
	frame(7, 70, 440, false, 4);
	frame(7, 71, 445, true, 9);
	expect(0, 440, 460, 4);
	assert_int_equal(track_at(0)->counters[COUNTER_OVERLAP], 1);
}

static void overlap_with_what_is_written_is_cut(void **state)
{
	(void)state;
	for (int ms = 0; ms < 400; ms += 20)
		frame(7, 70, ms, ms == 0, 1);
	frame(7, 71, 290, true, 2);
	for (int ms = 310; ms < 410; ms += 20)
		frame(7, 71, ms, false, 2);
	expect(0, 0, 400, 1);
	expect(0, 400, 410, 2);
	assert_int_equal(recorders[0].samples, 410 * 48);
	assert_int_equal(track_at(0)->counters[COUNTER_OVERLAP], 6);
}

static void rejoin(void **state)
{
	(void)state;
	frame(7, 70, 0, true, 1);
	track_set_speaker_left(set, 7);
	track_set_speaker(set, 7, 71);
	frame(7, 71, 2000, true, 2);
	assert_int_equal(opened, 1);
	expect(0, 20, 2000, 0);
	expect(0, 2000, 2020, 2);
	/* The old SSRC is nobody's now, and then somebody else's. */
	frame(0, 70, 3000, true, 3);
	assert_int_equal(opened, 2);
	track_set_speaker(set, 8, 70);
	frame(8, 70, 3020, false, 3);
	assert_int_equal(opened, 2);
	assert_int_equal(recorders[1].named, 8);
	expect(1, 3000, 3040, 3);
}

static void ssrc_of_one_user_goes_to_another(void **state)
{
	(void)state;
	frame(7, 70, 0, true, 1);
	track_set_speaker(set, 8, 70);
	frame(8, 70, 20, false, 2);
	frame(7, 71, 40, true, 1);
	assert_int_equal(opened, 2);
	expect(0, 0, 20, 1);
	expect(0, 20, 40, 0);
	expect(1, 0, 20, 0);
	expect(1, 20, 40, 2);
	/* Placed by the clock there, although RTP time goes on from what the other one said. */
	frame(7, 72, 1000, true, 1);
	track_set_speaker(set, 8, 72);
	frame_at(8, 72, 1050, 1020 * 48 + 72000, false, 2, TD_FRAME_DECODED);
	expect(1, 1030, 1050, 0);
	expect(1, 1050, 1070, 2);
}

static void unknown_ssrc_then_speaking(void **state)
{
	(void)state;
	frame(0, 70, 0, true, 1);
	frame(0, 80, 0, true, 5);
	assert_int_equal(opened, 2);
	assert_int_equal(recorders[0].user_id, 0);
	track_set_speaker(set, 7, 70);
	assert_int_equal(recorders[0].named, 7);
	assert_true(recorders[0].own);
	assert_int_equal(track_at(0)->user_id, 7);
	frame(7, 70, 20, false, 2);
	assert_int_equal(opened, 2);
	expect(0, 0, 20, 1);
	expect(0, 20, 40, 2);
	/* by the frame alone, without an announcement */
	frame(8, 80, 20, false, 6);
	assert_int_equal(opened, 2);
	assert_int_equal(recorders[1].named, 8);
	expect(1, 20, 40, 6);
}

static void unknown_ssrc_of_a_user_who_has_a_track(void **state)
{
	(void)state;
	frame(7, 70, 0, true, 1);
	frame(0, 71, 100, true, 2);
	track_set_speaker(set, 7, 71);
	assert_int_equal(recorders[1].named, 7);
	assert_false(recorders[1].own);
	frame(7, 71, 200, true, 3);
	track_set_finish(set, START + TD_SEC_NS);
	assert_int_equal(opened, 2);
	expect(0, 0, 20, 1);
	expect(0, 20, 200, 0);
	expect(0, 200, 220, 3);
	expect(1, 100, 120, 2);
	assert_int_equal(recorders[0].samples, 48000);
	assert_int_equal(recorders[1].samples, 48000);
	/* the user's own first */
	assert_true(track_at(0)->own);
	assert_int_equal(track_at(1)->user_id, 7);
	assert_int_equal(track_at(1)->ssrc_count, 1);
}

static void frame_without_user_of_a_known_ssrc(void **state)
{
	(void)state;
	track_set_speaker(set, 7, 70);
	frame(0, 70, 0, true, 1);
	assert_int_equal(opened, 1);
	assert_int_equal(recorders[0].user_id, 7);
}

static void all_silent(void **state)
{
	(void)state;
	frame_kind(7, 70, 0, true, 0, TD_FRAME_SILENCE);
	frame_kind(7, 70, 20, false, 0, TD_FRAME_SILENCE);
	assert_int_equal(track_at(0)->first_sample, -1);
	frame_kind(7, 70, 500, true, 4, TD_FRAME_FEC);
	assert_int_equal(track_at(0)->first_sample, 24000);
}

static void no_packets_at_all(void **state)
{
	(void)state;
	track_set_speaker(set, 7, 70);
	track_set_finish(set, START + TD_SEC_NS);
	assert_int_equal(opened, 0);
	expect_tracks(1);
	assert_false(track_at(0)->open);
}

static void before_the_start_makes_no_track(void **state)
{
	(void)state;
	frame(7, 70, -120, true, 1);
	assert_int_equal(opened, 0);
	frame(7, 70, 0, false, 2);
	expect(0, 0, 20, 2);
}

static void end_before_the_longest_track(void **state)
{
	(void)state;
	frame(7, 70, 0, true, 1);
	frame(8, 80, 500, true, 1);
	track_set_finish(set, START + 100 * TD_MS_NS);
	assert_int_equal(recorders[0].samples, 520 * 48);
	assert_int_equal(recorders[1].samples, 520 * 48);
}

static void counts(void **state)
{
	uint64_t delta[COUNTER_COUNT] = { [COUNTER_RECEIVED] = 5 };

	(void)state;
	/* before any sound, with and without a user */
	assert_int_equal(track_set_count(set, 70, 7, delta), 0);
	assert_int_equal(track_set_count(set, 80, 0, delta), 0);
	expect_tracks(2);
	frame(7, 70, 0, true, 1);
	assert_int_equal(opened, 1);
	/* the one without sound goes over to the user it turns out to be */
	track_set_speaker(set, 7, 80);
	expect_tracks(1);
	assert_int_equal(track_at(0)->counters[COUNTER_RECEIVED], 10);
	/* late, after they left */
	track_set_speaker_left(set, 7);
	assert_int_equal(track_set_count(set, 70, 7, delta), 0);
	expect_tracks(1);
	assert_int_equal(track_at(0)->counters[COUNTER_RECEIVED], 15);
	/* which does not give the SSRC back to them */
	frame(0, 70, 100, true, 1);
	assert_int_equal(opened, 2);
}

static void a_failed_track_is_left_alone(void **state)
{
	(void)state;
	fail_at = 960;
	frame(7, 70, 0, true, 1);
	fail_at = UINT64_MAX;
	for (int ms = 20; ms < 100; ms += 20) {
		frame(7, 70, ms, false, 1);
		frame(8, 80, ms, ms == 20, 2);
	}
	track_set_finish(set, START + TD_SEC_NS);
	assert_int_equal(recorders[0].samples, 960);
	assert_true(recorders[0].ended);
	assert_int_equal(recorders[1].samples, 48000);
	expect(1, 20, 100, 2);
}

static void a_track_that_cannot_open_is_not_tried_again(void **state)
{
	(void)state;
	open_result = TD_ERR_IO;
	frame(7, 70, 0, true, 1);
	open_result = 0;
	frame(7, 70, 20, false, 1);
	frame(8, 80, 20, true, 1);
	assert_int_equal(opened, 1);
	assert_int_equal(recorders[0].user_id, 8);
}

static void there_is_an_end_to_tracks(void **state)
{
	uint64_t delta[COUNTER_COUNT] = { [COUNTER_AUTH] = 1 };

	(void)state;
	for (uint32_t ssrc = 1; ssrc <= TRACK_MAX; ssrc++)
		assert_int_equal(track_set_count(set, ssrc, 1000 + ssrc, delta), 0);
	expect_tracks(TRACK_MAX);
	frame(0, 99999, 0, true, 1);
	frame(5, 99998, 0, true, 1);
	track_set_speaker(set, 6, 99997);
	assert_int_equal(track_set_count(set, 99996, 7, delta), 0);
	expect_tracks(TRACK_MAX);
	assert_int_equal(opened, 0);
	assert_int_equal(track_set_rest(set)[COUNTER_STREAM_LIMIT], 2);
	assert_int_equal(track_set_rest(set)[COUNTER_AUTH], 1);
	/* those there are go on */
	frame(1005, 5, 0, true, 1);
	assert_int_equal(opened, 1);
}

/* The list of spurts of a long session, most of which is in a file: whatever that takes. */
static void spurts_of_a_long_session(void **state)
{
	enum { SPURTS = 1000 };
	static const rlim_t sizes[] = { RLIM_INFINITY, 4096, 4500, 0 };
	struct rlimit was;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct rlimit now = { sizes[i], was.rlim_max };
		const struct track *t;
		struct td_spurt *spurts;
		struct spill *spill;
		uint32_t count;

		track_set_free(set);
		opened = 0;
		memset(recorders, 0, RECORDERS * sizeof(*recorders));
		assert_int_equal(spill_new(&spill), 0);
		spill_open(spill, AT_FDCWD);
		assert_int_equal(track_set_new(&set, &recorder_ops, &recorders, START, 1, spill),
			0);
		for (int n = 0; n < SPURTS; n++) {
			/* The disk is full, and then it is not. */
			now.rlim_cur = n < SPURTS / 2 ? sizes[i] : was.rlim_cur;
			assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
			frame(7, 70, n * 500, true, 1);
			frame(7, 70, n * 500 + 20, false, 1);
			frame(8, 80, n * 500 + 20 * (n % 7), true, 1);
		}
		for (size_t k = 0; k < 2; k++) {
			t = track_at(k);
			assert_true(
				t->spurts.tail_cap <= 2 * SPILL_BLOCK || sizes[i] != RLIM_INFINITY);
			spurts = track_spurts(set, t, &count);
			assert_int_equal(count, SPURTS);
			for (unsigned n = 0; n < SPURTS; n++) {
				assert_int_equal(spurts[n].first_sample,
					n * 24000 + (k == 1 ? n % 7 * FRAME : 0));
				assert_int_equal(spurts[n].samples, k == 1 ? FRAME : 2 * FRAME);
			}
			track_spurts_free(t, spurts);
			/* As much went to the file as if it had been there always. */
			assert_in_range(t->spurts.len -
					t->spurts.block_count * (uint64_t)SPILL_BLOCK,
				0, SPILL_BLOCK - 1);
		}
		spill_free(spill);
	}
}

/* Speakers without a name, thousands: who has one finds room. */
static void room_for_those_with_a_name(void **state)
{
	uint64_t delta[COUNTER_COUNT] = { [COUNTER_RECEIVED] = 1 }, sum = 0;
	size_t count;
	struct track *const *tracks;

	(void)state;
	open_result = TD_OK;
	for (uint32_t ssrc = 1; ssrc <= 100000; ssrc++)
		assert_int_equal(track_set_count(set, ssrc * 7919, 0, delta), 0);
	expect_tracks(TRACK_UNKNOWN_MAX);
	/* What was counted of those that made room is not lost. */
	tracks = track_set_sorted(set, &count);
	for (size_t i = 0; i < count; i++)
		sum += tracks[i]->counters[COUNTER_RECEIVED];
	assert_int_equal(sum + track_set_rest(set)[COUNTER_RECEIVED], 100000);
	/* Nor is a stream that sounds. */
	frame(0, 5, 0, true, 1);
	for (uint32_t ssrc = 1; ssrc <= 1000; ssrc++)
		assert_int_equal(track_set_count(set, ssrc * 104729, 0, delta), 0);
	expect_tracks(TRACK_UNKNOWN_MAX);
	frame(0, 5, 20, false, 1);
	frame(9, 90, 40, true, 2);
	track_set_speaker(set, 10, 6);
	assert_int_equal(opened, 2);
	assert_int_equal(recorders[0].ssrc, 5);
	assert_int_equal(recorders[1].user_id, 9);
	assert_int_equal(track_set_rest(set)[COUNTER_STREAM_LIMIT], 0);
	/* With a file they stay, and no more are begun. */
	open_result = TD_ERR_IO;
	for (uint32_t ssrc = 1; ssrc <= TRACK_UNKNOWN_MAX + 10; ssrc++)
		frame(0, 1000000000 + ssrc, 60, true, 1);
	expect_tracks(TRACK_UNKNOWN_MAX + 2);
	assert_int_equal(track_set_rest(set)[COUNTER_STREAM_LIMIT], 11);
	open_result = TD_OK;
	frame(11, 110, 80, true, 3);
	assert_int_equal(opened, 3);
}

static void unknown_users_come_last(void **state)
{
	(void)state;
	frame(0, 3, 0, true, 1);
	frame(UINT64_MAX, 4, 0, true, 1);
	frame(9, 2, 0, true, 1);
	frame(0, 1, 0, true, 1);
	assert_int_equal(track_at(0)->user_id, 9);
	assert_int_equal(track_at(1)->user_id, UINT64_MAX);
	assert_int_equal(track_at(2)->ssrc, 1);
	assert_int_equal(track_at(3)->ssrc, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(two_speakers_are_aligned),
		TEST(gap_10min),
		TEST(ssrc_change_same_user),
		TEST(first_heard_is_newest_without_a_name),
		TEST(cut_frames_keep_their_end),
		TEST(last_words_of_the_old_ssrc_are_kept),
		TEST(overlap_with_what_is_written_is_cut),
		TEST(rejoin),
		TEST(ssrc_of_one_user_goes_to_another),
		TEST(unknown_ssrc_then_speaking),
		TEST(unknown_ssrc_of_a_user_who_has_a_track),
		TEST(frame_without_user_of_a_known_ssrc),
		TEST(all_silent),
		TEST(no_packets_at_all),
		TEST(before_the_start_makes_no_track),
		TEST(end_before_the_longest_track),
		TEST(counts),
		TEST(a_failed_track_is_left_alone),
		TEST(a_track_that_cannot_open_is_not_tried_again),
		TEST(there_is_an_end_to_tracks),
		TEST(spurts_of_a_long_session),
		TEST(room_for_those_with_a_name),
		TEST(unknown_users_come_last),
	};

	return cmocka_run_group_tests_name("track", tests, NULL, NULL);
}
