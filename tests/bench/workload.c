/* SPDX-License-Identifier: ISC */
/*
 * A call for `receiver --replay` and for the floor: N people who speak for S seconds, with 50
 * packets a second each, or with --pauses about two thirds of that. The same seed gives the same
 * files.
 */
#include <getopt.h>
#include <sodium.h>
#include <string.h>

#include "common/clock.h"
#include "common/dave_frame.h"
#include "common/dave_ratchet.h"
#include "common/err.h"
#include "common/ids.h"
#include "tests/bench/bench.h"
#include "tests/bench/speech.h"
#include "tests/voiceserver/capture.h"
#include "tests/voiceserver/packet.h"
#include "tests/voiceserver/rng.h"

/* So many texts, of ten seconds; everybody reads one again and again from somewhere in it. */
enum { CLIPS = 8, CLIP_PACKETS = 500 };
enum { SERVER_PORT = 50004, SILENCE_FRAMES = 5, FIRST_SSRC = 1001 };
enum { SPURT_MIN = 50, SPURT_MAX = 250, PAUSE_MIN = 20, PAUSE_MAX = 125 }; /* packets */
#define START_NS (UINT64_C(1767268800) * TD_SEC_NS)
#define PERIOD_NS (20 * TD_MS_NS)
#define FIRST_USER UINT64_C(300000000000000000)

struct options {
	unsigned long speakers, seconds, seed;
	unsigned long lose; /* of each speaker, one packet of so many; 0: none */
	int channels;
	enum transport_mode mode;
	bool dave, pauses;
	const char *pcap, *keys;
};

struct speaker {
	struct rng rng;
	uint32_t ssrc, timestamp, nonce;
	uint16_t sequence;
	const struct speech_packet *clip;
	size_t at;
	unsigned spurt, silence, pause; /* packets left of each, one after the other */
	bool begins;
	uint8_t secret[DAVE_RATCHET_BASE_LEN];
	struct dave_frame_key *key;
};

struct call {
	const struct options *o;
	struct capture *capture;
	struct transport *transport;
	struct speech_packet clips[CLIPS][CLIP_PACKETS];
	uint32_t nonce;
	size_t packets;
	struct speaker speakers[];
};

static unsigned long number(const char *text, unsigned long max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || n < 1 || n > max) {
		fprintf(stderr, "bench_workload: no number of 1 to %lu: %s\n", max, text);
		exit(2);
	}
	return n;
}

static void options_read(struct options *o, int argc, char **argv)
{
	static const struct option list[] = {
		{ "speakers", required_argument, NULL, 'n' },
		{ "seconds", required_argument, NULL, 's' },
		{ "coded", required_argument, NULL, 'c' },
		{ "mode", required_argument, NULL, 'm' },
		{ "dave", no_argument, NULL, 'd' },
		{ "pauses", no_argument, NULL, 'p' },
		{ "lose", required_argument, NULL, 'l' },
		{ "seed", required_argument, NULL, 'r' },
		{ "pcap", required_argument, NULL, 'o' },
		{ "keys", required_argument, NULL, 'k' },
		{ 0 },
	};
	int c;
	bool bad = false;

	*o = (struct options){ .speakers = 10,
		.seconds = 10,
		.seed = 1,
		.channels = 2,
		.mode = TRANSPORT_AES256_GCM };
	while ((c = getopt_long(argc, argv, "", list, NULL)) != -1) {
		if (c == 'n')
			o->speakers = number(optarg, 100000);
		else if (c == 's')
			o->seconds = number(optarg, 86400);
		else if (c == 'c')
			o->channels = strcmp(optarg, "mono") == 0 ? 1
				: strcmp(optarg, "stereo") == 0   ? 2
								  : 0;
		else if (c == 'm')
			bad |= transport_mode_parse(&o->mode, optarg) != TD_OK;
		else if (c == 'd')
			o->dave = true;
		else if (c == 'p')
			o->pauses = true;
		else if (c == 'l')
			o->lose = number(optarg, 10000);
		else if (c == 'r')
			o->seed = number(optarg, ~0ul);
		else if (c == 'o')
			o->pcap = optarg;
		else if (c == 'k')
			o->keys = optarg;
		else
			bad = true;
	}
	if (!bad && optind == argc && o->channels != 0 && o->pcap != NULL && o->keys != NULL)
		return;
	fprintf(stderr,
		"usage: bench_workload --pcap FILE --keys FILE [--speakers N] [--seconds S]\n"
		"       [--coded stereo|mono] [--mode NAME] [--dave] [--pauses] [--lose N]\n"
		"       [--seed N]\n");
	exit(2);
}

static void speaker_init(struct call *c, struct speaker *s, size_t i)
{
	uint8_t key[DAVE_FRAME_KEY_LEN];

	s->rng = rng_stream(c->o->seed, i, 0, RNG_PEER);
	s->ssrc = FIRST_SSRC + 2 * (uint32_t)i;
	s->timestamp = rng_u32(&s->rng);
	s->sequence = (uint16_t)rng_u32(&s->rng);
	s->clip = c->clips[i % CLIPS];
	s->at = rng_below(&s->rng, CLIP_PACKETS);
	s->begins = true;
	rng_fill(&s->rng, s->secret, sizeof(s->secret));
	if (c->o->dave) {
		dave_ratchet_key(key, s->secret, 0, 0);
		BENCH_MUST(dave_frame_key_new(&s->key, key) == TD_OK);
	}
}

static void keys_say(struct call *c)
{
	json_t *senders = json_array();
	char id[TD_ID_TEXT], hex[2 * DAVE_RATCHET_BASE_LEN + 1];
	size_t i;

	for (i = 0; i < c->o->speakers; i++) {
		const struct speaker *s = &c->speakers[i];

		capture_speaker(c->capture, START_NS, s->ssrc, FIRST_USER + i);
		sodium_bin2hex(hex, sizeof(hex), s->secret, sizeof(s->secret));
		json_array_append_new(senders,
			json_pack("{s:s, s:s}", "user_id", td_id_format(id, FIRST_USER + i),
				"secret", hex));
	}
	if (c->o->dave)
		capture_dave(c->capture, START_NS, 1, 1, senders);
	else
		json_decref(senders);
}

static void send_frame(struct call *c, struct speaker *s, uint64_t at_ns, const uint8_t *data,
	size_t len)
{
	uint8_t sealed[SPEECH_MAX_LEN + DAVE_FRAME_MAX_TRAILER], out[PACKET_MAX];
	struct media m = { .at_ns = at_ns,
		.kind = MEDIA_VOICE,
		.sequence = s->sequence++,
		.timestamp = s->timestamp,
		.payload = data,
		.len = len,
		.extension = true,
		.marker = s->begins };

	if (s->key != NULL) {
		BENCH_MUST(dave_frame_seal(s->key, sealed, &m.len, data, len, s->nonce++, NULL,
				   0) == TD_OK);
		m.payload = sealed;
	}
	len = packet_build(out, c->transport, &m, s->ssrc, c->nonce++);
	BENCH_MUST(len > 0);
	if (c->o->lose > 0 && s->sequence % c->o->lose == 0)
		return;
	capture_datagram(c->capture, at_ns, out, len);
	s->begins = false;
	c->packets++;
}

static unsigned draw(struct speaker *s, unsigned min, unsigned max)
{
	return min + (unsigned)rng_below(&s->rng, max - min);
}

/* 20 ms of one speaker: speech, the silence behind it, or nothing. */
static void speak(struct call *c, struct speaker *s, uint64_t at_ns)
{
	static const uint8_t silence[] = { 0xf8, 0xff, 0xfe };

	if (c->o->pauses && s->spurt + s->silence + s->pause == 0) {
		s->spurt = draw(s, SPURT_MIN, SPURT_MAX);
		s->silence = SILENCE_FRAMES;
		s->pause = draw(s, PAUSE_MIN, PAUSE_MAX);
		s->begins = true;
	}
	if (!c->o->pauses || s->spurt > 0) {
		s->spurt -= s->spurt > 0;
		send_frame(c, s, at_ns, s->clip[s->at].data, s->clip[s->at].len);
		s->at = (s->at + 1) % CLIP_PACKETS;
	} else if (s->silence > 0) {
		s->silence--;
		send_frame(c, s, at_ns, silence, sizeof(silence));
	} else {
		s->pause--;
	}
	s->timestamp += SPEECH_SAMPLES;
}

int main(int argc, char **argv)
{
	uint8_t key[TRANSPORT_KEY_LEN] = { 0 };
	struct options o;
	struct rng rng;
	struct call *c;
	size_t i, n;

	options_read(&o, argc, argv);
	BENCH_MUST(sodium_init() >= 0);
	c = calloc(1, sizeof(*c) + o.speakers * sizeof(c->speakers[0]));
	BENCH_MUST(c != NULL);
	c->o = &o;
	rng = rng_stream(o.seed, 0, 0, RNG_SESSION);
	if (o.mode != TRANSPORT_NONE)
		rng_fill(&rng, key, sizeof(key));
	if (capture_new(&c->capture, o.pcap, o.keys, 41771983423143937, 127121515262115840,
		    104694319306248192) != TD_OK)
		return 1;
	capture_key(c->capture, o.mode, key, SERVER_PORT);
	BENCH_MUST(transport_new(&c->transport, o.mode, key) == TD_OK);
	for (i = 0; i < CLIPS && i < o.speakers; i++)
		speech_encode(c->clips[i], CLIP_PACKETS, o.channels, o.seed + i);
	for (i = 0; i < o.speakers; i++)
		speaker_init(c, &c->speakers[i], i);
	keys_say(c);
	for (n = 0; n < o.seconds * TD_SEC_NS / PERIOD_NS; n++)
		for (i = 0; i < o.speakers; i++)
			speak(c, &c->speakers[i],
				START_NS + n * PERIOD_NS + i * PERIOD_NS / o.speakers);
	printf("%zu packets\n", c->packets);
	for (i = 0; i < o.speakers; i++)
		dave_frame_key_free(c->speakers[i].key);
	transport_free(c->transport);
	n = (size_t)capture_close(c->capture);
	free(c);
	return n != 0;
}
