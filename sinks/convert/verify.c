/* SPDX-License-Identifier: ISC */
#include "sinks/convert/verify.h"

#include <inttypes.h>
#include <sndfile.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/convert/hush.h"

static const struct {
	const char *format;
	uint32_t frame, rate; /* how far its length may be off: so many samples at this rate */
} known[] = {
	{ "wav", 0, 1 },
	{ "flac", 0, 1 },
	{ "mp3", 1152, 0 },
	{ "opus", 960, 48000 },
};

static int compare(const struct verify *v, uint64_t found, uint32_t rate, uint64_t slack,
	struct fault *fault)
{
	/* Opus files may be read at another rate than they were written with. */
	uint64_t samples = found / rate * v->rate + found % rate * v->rate / rate;
	uint64_t off = samples > v->samples ? samples - v->samples : v->samples - samples;

	if (off <= slack)
		return TD_OK;
	return fault_set(fault, TD_ERR_MALFORMED,
		"the output has %" PRIu64 " samples instead of %" PRIu64, samples, v->samples);
}

static int verify_pcm(const struct verify *v, int fd, struct fault *fault)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size % (2 * v->channels) != 0)
		return fault_set(fault, TD_ERR_MALFORMED, "the output has an odd length");
	return compare(v, (uint64_t)st.st_size / (2 * v->channels), v->rate, 0, fault);
}

int verify_output(const struct verify *v, int fd, bool *ret_checked, struct fault *fault)
{
	SF_INFO info = { 0 };
	uint64_t slack = 0;
	struct hush hush;
	SNDFILE *snd = NULL;
	size_t i = 0;
	int r;

	*ret_checked = false;
	if (strcmp(v->format, "pcm") == 0) {
		r = verify_pcm(v, fd, fault);
		*ret_checked = r == TD_OK;
		return r;
	}
	while (i < sizeof(known) / sizeof(known[0]) && strcmp(known[i].format, v->format) != 0)
		i++;
	if (i == sizeof(known) / sizeof(known[0]))
		return TD_OK;
	hush_open(&hush);
	hush_begin(&hush);
	if (lseek(fd, 0, SEEK_SET) == 0)
		snd = sf_open_fd(fd, SFM_READ, &info, SF_FALSE);
	hush_end(&hush);
	hush_close(&hush);
	if (snd == NULL)
		return fault_set(fault, TD_ERR_MALFORMED, "the output cannot be opened again: %s",
			sf_strerror(NULL));
	if (known[i].frame > 0)
		slack = known[i].rate == 0 ? known[i].frame
					   : (uint64_t)known[i].frame * v->rate / known[i].rate;
	if (info.samplerate < 1 || info.frames < 0)
		r = fault_set(fault, TD_ERR_MALFORMED, "the output has no length");
	else if (info.channels != (int)v->channels)
		r = fault_set(fault, TD_ERR_MALFORMED, "the output has %d channels instead of %u",
			info.channels, v->channels);
	else
		r = compare(v, (uint64_t)info.frames, (uint32_t)info.samplerate, slack, fault);
	sf_close(snd);
	*ret_checked = r == TD_OK;
	return r;
}
