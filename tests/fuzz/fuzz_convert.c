/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/err.h"
#include "sinks/convert/reel.h"
#include "sinks/convert/session_file.h"
#include "tests/fuzz/check.h"

/*
 * What convert reads. The first byte of an input picks one: a --raw text; the .json of captured
 * samples and samples with it; a manifest and the tracks in it; a sound file, whole.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What comes out is never more than what is in that many bytes, silence apart. */
enum { BLOCK = 512, READS_MAX = 20000 };

static void on_warning(void *user, const char *text)
{
	(void)user;
	CHECK(text[0] != '\0' && strchr(text, '\n') == NULL);
}

static const struct witness witness = { .warn = on_warning };

static void check_fault(int r, const struct fault *fault)
{
	if (r == TD_OK)
		return;
	CHECK(r < 0 && fault->text[0] != '\0' && strlen(fault->text) < sizeof(fault->text));
	for (const char *p = fault->text; *p != '\0'; p++)
		CHECK((unsigned char)*p >= ' ');
}

/* A file of these bytes that has a name. */
static int memory_file(char path[static 64], const void *data, size_t len)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	CHECK(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

static void check_form(const struct raw_form *form)
{
	CHECK(form->rate >= RAW_RATE_MIN && form->rate <= RAW_RATE_MAX);
	CHECK(form->channels >= 1 && form->channels <= RAW_CHANNELS_MAX);
	CHECK(raw_form_frame(form) >= 1 && raw_form_frame(form) <= 8);
}

static void read_reel(const struct reel_conf *conf)
{
	/* Of exactly the size a reader may use. */
	int16_t *pcm = malloc(BLOCK * RAW_CHANNELS_MAX * sizeof(*pcm));
	struct fault fault = { "" };
	struct reel *r = NULL;
	uint64_t n = 1;
	bool silent;
	int e = reel_open(&r, conf, &fault);

	CHECK(pcm != NULL && (e == TD_OK) == (r != NULL));
	for (int i = 0; e == TD_OK && n > 0 && i < READS_MAX; i++) {
		e = reel_read(r, pcm, BLOCK, &n, &silent, &fault);
		CHECK(e < 0 || silent || n <= BLOCK);
	}
	check_fault(e, &fault);
	if (r != NULL) {
		CHECK(reel_info(r)->rate >= RAW_RATE_MIN && reel_info(r)->rate <= RAW_RATE_MAX);
		reel_finish(r);
	}
	reel_free(r);
	free(pcm);
}

static void read_file(const void *data, size_t len, const struct raw_form *raw)
{
	char path[64];
	int fd = memory_file(path, data, len);
	struct job_part part = { path, 0, JOB_TO_END };
	const struct job_track track = { .parts = &part, .part_count = 1 };
	const struct reel_conf conf = { .track = &track, .raw = raw, .witness = &witness };

	read_reel(&conf);
	close(fd);
}

static void fuzz_text(struct rd *r)
{
	size_t len = rd_left(r);
	char *text = calloc(1, len + 1);
	struct fault fault = { "" };
	struct raw_form form;
	int e;

	CHECK(text != NULL);
	rd_copy(r, text, len);
	e = raw_form_parse(&form, text, &fault);
	check_fault(e, &fault);
	if (e == TD_OK)
		check_form(&form);
	utc_parse(text);
	free(text);
}

/* 16 bits of length, so much .json, samples. */
static void fuzz_captured(struct rd *r)
{
	size_t len = rd_u16(r);
	struct raw_about about;
	struct fault fault = { "" };
	const uint8_t *json;
	int e;

	len = len < rd_left(r) ? len : rd_left(r);
	json = rd_bytes(r, len);
	e = raw_form_json(&about, (const char *)json, len, &fault);
	check_fault(e, &fault);
	if (e == TD_OK) {
		check_form(&about.form);
		CHECK(strlen(about.title) < sizeof(about.title));
		read_file(r->p, rd_left(r), &about.form);
	}
}

/* Every track of the manifest, its files replaced by one that is there. */
static void fuzz_session(struct rd *r)
{
	static const int16_t sound[3000] = { 1, 2, 3 };
	static const struct raw_form form = { 48000, 1, RAW_S16LE };
	struct arena arena = { NULL };
	struct fault fault = { "" };
	struct session_file s = { 0 };
	char path[64];
	int fd = memory_file(path, sound, sizeof(sound));
	int e = session_file_parse(&s, &arena, "folder", (const char *)r->p, rd_left(r), &fault);

	check_fault(e, &fault);
	for (size_t i = 0; e == TD_OK && i < s.track_count && i < 8; i++) {
		struct session_track *t = &s.tracks[i];
		struct reel_conf conf = { .track = &t->track,
			.raw = &form,
			.restored = i % 2 != 0,
			.witness = &witness };

		CHECK(strchr(t->stem, '/') == NULL);
		if (t->bad != NULL)
			continue;
		CHECK(t->track.part_count > 0);
		for (size_t k = 0; k < t->track.part_count; k++) {
			CHECK(strncmp(t->track.parts[k].path, "folder/", 7) == 0 &&
				strchr(t->track.parts[k].path + 7, '/') == NULL);
			t->track.parts[k].path = path;
		}
		read_reel(&conf);
	}
	close(fd);
	arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd r;

	rd_init(&r, data, size);
	switch (rd_u8(&r) % 4) {
	case 0:
		fuzz_text(&r);
		break;
	case 1:
		fuzz_captured(&r);
		break;
	case 2:
		fuzz_session(&r);
		break;
	default:
		read_file(r.p, rd_left(&r), NULL);
	}
	return 0;
}
