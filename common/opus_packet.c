/* SPDX-License-Identifier: ISC */
#include "common/opus_packet.h"

#include <opus.h>

#include "common/clock.h"
#include "common/err.h"

enum { SILK_FRAME_SAMPLES = 960 }; /* 20 ms at 48 kHz */
enum { OPUS_MAX_FRAMES = 48, OPUS_MAX_FRAME_LEN = 1275 };

/* libopus takes lengths as int; a datagram never comes near, and nothing longer is Opus. */
static bool has_length(size_t len)
{
	return len > 0 && len <= INT16_MAX;
}

static int samples_of_several(const uint8_t *packet, size_t len)
{
	unsigned char toc;
	const unsigned char *frames[OPUS_MAX_FRAMES];
	opus_int16 sizes[OPUS_MAX_FRAMES];
	int n;

	/* The count in the second byte can promise frames that are not there: parse them all. */
	if (opus_packet_parse(packet, (opus_int32)len, &toc, frames, sizes, NULL) < 1)
		return TD_ERR_MALFORMED;
	n = opus_packet_get_nb_samples(packet, (opus_int32)len, TD_RATE);
	return n > 0 && n <= OPUS_MAX_SAMPLES ? n : TD_ERR_MALFORMED;
}

int opus_packet_samples(const uint8_t *packet, size_t len)
{
	if (!has_length(len))
		return TD_ERR_MALFORMED;
	/* One frame, as nearly all of them are: there is nothing to take apart. */
	if ((packet[0] & 3) == 0)
		return len - 1 <= OPUS_MAX_FRAME_LEN
			? opus_packet_get_samples_per_frame(packet, TD_RATE)
			: TD_ERR_MALFORMED;
	return samples_of_several(packet, len);
}

int opus_packet_channels(const uint8_t *packet, size_t len)
{
	return len > 0 ? opus_packet_get_nb_channels(packet) : 0;
}

bool opus_packet_has_fec(const uint8_t *packet, size_t len)
{
	const unsigned char *frames[OPUS_MAX_FRAMES];
	opus_int16 sizes[OPUS_MAX_FRAMES];
	int silk_frames, samples;
	unsigned char toc;

	if (!has_length(len) || opus_packet_is_celt(packet, len) ||
		opus_packet_parse(packet, (opus_int32)len, &toc, frames, sizes, NULL) < 1 ||
		sizes[0] < 1)
		return false;
	/*
	 * The first symbols of the first frame, each with a probability of one half and so each one
	 * bit from the top: per channel, one VAD flag for each SILK frame of 20 ms, then the LBRR
	 * flag.
	 */
	samples = opus_packet_get_samples_per_frame(packet, TD_RATE);
	silk_frames = samples > SILK_FRAME_SAMPLES ? samples / SILK_FRAME_SAMPLES : 1;
	if (frames[0][0] & (0x80 >> silk_frames))
		return true;
	return opus_packet_get_nb_channels(packet) == 2 &&
		(frames[0][0] & (0x80 >> (2 * silk_frames + 1))) != 0;
}
