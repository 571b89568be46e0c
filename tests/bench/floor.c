/* SPDX-License-Identifier: ISC */
/*
 * What the libraries alone cost: one plain loop over the packets of a capture that opens, decodes
 * and writes each of them. Nothing of the product is in it but what reads the keys before the loop.
 * It restores no order, places nothing in time and checks nothing a library does not.
 */
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <lame/lame.h>
#include <openssl/evp.h>
#include <opus.h>
#include <pcap/pcap.h>
#include <sndfile.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "common/dave_ratchet.h"
#include "tests/bench/bench.h"

enum { RATE = 48000, MAX_SAMPLES = 5760, MAX_PACKET = 2048, SLOTS = 1 << 18 };
enum { IP_UDP_LEN = 28, RTP_LEN = 12, TAG_LEN = 16, NONCE_LEN = 4, OPUS_TYPE = 120 };
enum { DAVE_TAG_LEN = 8 };
enum mode { MODE_NONE, MODE_GCM, MODE_XCHACHA };
enum to { TO_NONE, TO_WAV, TO_MP3 };

struct packet {
	uint32_t len;
	uint8_t data[];
};

struct stream {
	uint32_t ssrc;
	bool known;
	EVP_CIPHER_CTX *dave;
	OpusDecoder *decoder;
	SNDFILE *wav;
	lame_t lame;
	FILE *mp3;
};

static struct {
	enum mode mode;
	enum to to;
	int channels;
	const char *out;
	uint8_t key[32];
	EVP_CIPHER_CTX *gcm;
	struct stream stream[SLOTS]; /* by SSRC */
	struct packet **packets;
	size_t n_packets, samples;
} fl;

static struct stream *stream_of(uint32_t ssrc)
{
	uint32_t at = ssrc * 2654435761u;

	for (at %= SLOTS; fl.stream[at].known && fl.stream[at].ssrc != ssrc; at = (at + 1) % SLOTS)
		;
	fl.stream[at].known = true;
	fl.stream[at].ssrc = ssrc;
	return &fl.stream[at];
}

/* ---- before the loop ---- */

static void hex(uint8_t *out, size_t len, const char *text)
{
	size_t n;

	BENCH_MUST(
		text != NULL && sodium_hex2bin(out, len, text, strlen(text), NULL, &n, NULL) == 0);
	BENCH_MUST(n == len);
}

static EVP_CIPHER_CTX *gcm_new(const EVP_CIPHER *cipher, const uint8_t *key)
{
	EVP_CIPHER_CTX *cx = EVP_CIPHER_CTX_new();

	BENCH_MUST(cx != NULL && EVP_DecryptInit_ex(cx, cipher, NULL, key, NULL) == 1);
	return cx;
}

/* The key of generation 0 for whichever SSRC is this sender's. */
static void dave_key(const json_t *keys, const json_t *sender)
{
	const char *user = json_string_value(json_object_get(sender, "user_id"));
	uint8_t secret[DAVE_RATCHET_BASE_LEN], key[DAVE_FRAME_KEY_LEN];
	const json_t *s;
	size_t i;

	hex(secret, sizeof(secret), json_string_value(json_object_get(sender, "secret")));
	dave_ratchet_key(key, secret, 0, 0);
	json_array_foreach(json_object_get(keys, "speakers"), i,
		s) if (strcmp(json_string_value(json_object_get(s, "user_id")), user) == 0)
		stream_of((uint32_t)json_integer_value(json_object_get(s, "ssrc")))
			->dave = gcm_new(EVP_aes_128_gcm(), key);
}

static void keys_read(const char *path)
{
	json_t *keys = json_load_file(path, 0, NULL), *sender;
	const char *mode = json_string_value(json_object_get(keys, "mode"));
	size_t i;

	BENCH_MUST(keys != NULL && mode != NULL);
	if (strcmp(mode, "none") != 0) {
		fl.mode = strcmp(mode, "aead_aes256_gcm_rtpsize") == 0 ? MODE_GCM : MODE_XCHACHA;
		hex(fl.key, sizeof(fl.key), json_string_value(json_object_get(keys, "secret_key")));
		fl.gcm = gcm_new(EVP_aes_256_gcm(), fl.key);
	}
	json_array_foreach(json_object_get(json_array_get(json_object_get(keys, "dave"), 0),
				   "senders"),
		i, sender) dave_key(keys, sender);
	json_decref(keys);
}

static void capture_read(const char *path)
{
	char err[PCAP_ERRBUF_SIZE];
	pcap_t *pcap = pcap_open_offline(path, err);
	struct pcap_pkthdr *h;
	const u_char *data;
	size_t room = 0;

	BENCH_MUST(pcap != NULL && pcap_datalink(pcap) == DLT_RAW);
	while (pcap_next_ex(pcap, &h, &data) == 1) {
		struct packet *p = malloc(sizeof(*p) + h->caplen);

		BENCH_MUST(p != NULL && h->caplen > IP_UDP_LEN && h->caplen <= MAX_PACKET);
		p->len = h->caplen - IP_UDP_LEN;
		memcpy(p->data, data + IP_UDP_LEN, p->len);
		if (fl.n_packets == room) {
			room = room > 0 ? 2 * room : 4096;
			fl.packets = realloc(fl.packets, room * sizeof(*fl.packets));
			BENCH_MUST(fl.packets != NULL);
		}
		fl.packets[fl.n_packets++] = p;
	}
	pcap_close(pcap);
}

/* ---- the loop ---- */

static size_t transport_open_packet(uint8_t *plain, const uint8_t *data, size_t len, size_t aad)
{
	uint8_t nonce[24] = { 0 };
	unsigned long long long_len;
	size_t sealed;
	int n;

	if (fl.mode == MODE_NONE) {
		memcpy(plain, data + aad, len - aad);
		return len - aad;
	}
	BENCH_MUST(len >= aad + TAG_LEN + NONCE_LEN);
	sealed = len - aad - TAG_LEN - NONCE_LEN;
	memcpy(nonce, data + len - NONCE_LEN, NONCE_LEN);
	if (fl.mode == MODE_XCHACHA) {
		BENCH_MUST(crypto_aead_xchacha20poly1305_ietf_decrypt(plain, &long_len, NULL,
				   data + aad, sealed + TAG_LEN, data, aad, nonce, fl.key) == 0);
		return (size_t)long_len;
	}
	BENCH_MUST(EVP_DecryptInit_ex(fl.gcm, NULL, NULL, NULL, nonce) == 1);
	BENCH_MUST(EVP_DecryptUpdate(fl.gcm, NULL, &n, data, (int)aad) == 1);
	BENCH_MUST(EVP_DecryptUpdate(fl.gcm, plain, &n, data + aad, (int)sealed) == 1);
	memcpy(nonce, data + aad + sealed, TAG_LEN);
	BENCH_MUST(EVP_CIPHER_CTX_ctrl(fl.gcm, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, nonce) == 1);
	BENCH_MUST(EVP_DecryptFinal_ex(fl.gcm, plain + n, &n) == 1);
	return sealed;
}

/* media | tag 8 | nonce, ULEB128 | ranges: none in speech | length of all this | FA FA */
static size_t dave_open_frame(EVP_CIPHER_CTX *cx, uint8_t *plain, const uint8_t *data, size_t len)
{
	uint8_t iv[12] = { 0 }, tag[DAVE_TAG_LEN];
	size_t media, at;
	uint32_t nonce = 0;
	int n, shift = 0;

	BENCH_MUST(len > 3 && data[len - 1] == 0xfa && data[len - 2] == 0xfa);
	BENCH_MUST(data[len - 3] < len);
	media = len - data[len - 3];
	at = media + DAVE_TAG_LEN;
	do
		nonce |= (uint32_t)(data[at] & 0x7f) << shift, shift += 7;
	while (data[at++] & 0x80);
	for (n = 0; n < 4; n++)
		iv[8 + n] = (uint8_t)(nonce >> 8 * n);
	memcpy(tag, data + media, DAVE_TAG_LEN);
	BENCH_MUST(EVP_DecryptInit_ex(cx, NULL, NULL, NULL, iv) == 1);
	BENCH_MUST(EVP_DecryptUpdate(cx, plain, &n, data, (int)media) == 1);
	BENCH_MUST(EVP_CIPHER_CTX_ctrl(cx, EVP_CTRL_AEAD_SET_TAG, DAVE_TAG_LEN, tag) == 1);
	BENCH_MUST(EVP_DecryptFinal_ex(cx, plain + n, &n) == 1);
	return media;
}

static void stream_begin(struct stream *s)
{
	char path[4096];
	SF_INFO info = { .samplerate = RATE,
		.channels = fl.channels,
		.format = SF_FORMAT_WAV | SF_FORMAT_PCM_16 };

	s->decoder = opus_decoder_create(RATE, fl.channels, NULL);
	BENCH_MUST(s->decoder != NULL);
	snprintf(path, sizeof(path), "%s/%" PRIu32 ".%s", fl.out, s->ssrc,
		fl.to == TO_WAV ? "wav" : "mp3");
	if (fl.to == TO_WAV) {
		BENCH_MUST((s->wav = sf_open(path, SFM_WRITE, &info)) != NULL);
	} else if (fl.to == TO_MP3) {
		BENCH_MUST((s->lame = lame_init()) != NULL);
		lame_set_in_samplerate(s->lame, RATE);
		lame_set_num_channels(s->lame, fl.channels);
		lame_set_mode(s->lame, fl.channels == 1 ? MONO : JOINT_STEREO);
		lame_set_quality(s->lame, 5);
		lame_set_VBR(s->lame, vbr_default);
		lame_set_VBR_quality(s->lame, 2);
		BENCH_MUST(lame_init_params(s->lame) == 0);
		BENCH_MUST((s->mp3 = fopen(path, "wb")) != NULL);
	}
}

static void mp3_write(struct stream *s, int16_t *pcm, int samples)
{
	uint8_t out[MAX_SAMPLES * 5 / 4 + 7200];
	int n;

	if (samples == 0)
		n = lame_encode_flush(s->lame, out, sizeof(out));
	else if (fl.channels == 1)
		n = lame_encode_buffer(s->lame, pcm, pcm, samples, out, sizeof(out));
	else
		n = lame_encode_buffer_interleaved(s->lame, pcm, samples, out, sizeof(out));
	BENCH_MUST(n >= 0 && fwrite(out, 1, (size_t)n, s->mp3) == (size_t)n);
}

static void stream_end(struct stream *s)
{
	size_t n;
	uint8_t tag[2880];

	if (s->wav != NULL)
		sf_close(s->wav);
	if (s->mp3 != NULL) {
		mp3_write(s, NULL, 0);
		n = lame_get_lametag_frame(s->lame, tag, sizeof(tag));
		rewind(s->mp3);
		BENCH_MUST(n <= sizeof(tag) && fwrite(tag, 1, n, s->mp3) == n);
		fclose(s->mp3);
		lame_close(s->lame);
	}
	if (s->decoder != NULL)
		opus_decoder_destroy(s->decoder);
}

static void take(const uint8_t *data, size_t len)
{
	static int16_t pcm[2 * MAX_SAMPLES];
	uint8_t plain[MAX_PACKET], media[MAX_PACKET];
	const uint8_t *payload = plain;
	struct stream *s;
	size_t aad = RTP_LEN, skip = 0, n;
	int samples;

	if (len < RTP_LEN + 4 || data[0] >> 6 != 2 || (data[1] & 0x7f) != OPUS_TYPE)
		return;
	aad += 4u * (data[0] & 0xf);
	if (data[0] & 0x10) {
		skip = 4u * (unsigned)(data[aad + 2] << 8 | data[aad + 3]);
		aad += 4;
	}
	s = stream_of((uint32_t)data[8] << 24 | (uint32_t)data[9] << 16 | (uint32_t)data[10] << 8 |
		data[11]);
	n = transport_open_packet(plain, data, len, aad);
	BENCH_MUST(n > skip);
	payload += skip;
	n -= skip;
	if (s->dave != NULL) {
		n = dave_open_frame(s->dave, media, payload, n);
		payload = media;
	}
	if (s->decoder == NULL)
		stream_begin(s);
	samples = opus_decode(s->decoder, payload, (opus_int32)n, pcm, MAX_SAMPLES, 0);
	BENCH_MUST(samples > 0);
	fl.samples += (size_t)samples;
	if (fl.to == TO_WAV)
		BENCH_MUST(sf_writef_short(s->wav, pcm, samples) == samples);
	else if (fl.to == TO_MP3)
		mp3_write(s, pcm, samples);
}

/* ---- */

static double cpu_us(void)
{
	struct timespec t;

	BENCH_MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
	static const struct option list[] = {
		{ "pcap", required_argument, NULL, 'p' },
		{ "keys", required_argument, NULL, 'k' },
		{ "channels", required_argument, NULL, 'c' },
		{ "to", required_argument, NULL, 't' },
		{ "out", required_argument, NULL, 'o' },
		{ 0 },
	};
	const char *pcap = NULL, *keys = NULL, *to = "wav";
	struct rlimit files;
	double begin, loop;
	size_t i;
	int c;

	fl.channels = 2;
	while ((c = getopt_long(argc, argv, "", list, NULL)) != -1) {
		if (c == 'p')
			pcap = optarg;
		else if (c == 'k')
			keys = optarg;
		else if (c == 'c')
			fl.channels = atoi(optarg);
		else if (c == 't')
			to = optarg;
		else if (c == 'o')
			fl.out = optarg;
	}
	fl.to = strcmp(to, "wav") == 0 ? TO_WAV : strcmp(to, "mp3") == 0 ? TO_MP3 : TO_NONE;
	if (pcap == NULL || keys == NULL || (fl.out == NULL && fl.to != TO_NONE) ||
		fl.channels < 1 || fl.channels > 2 ||
		(fl.to == TO_NONE && strcmp(to, "none") != 0)) {
		fprintf(stderr,
			"usage: bench_floor --pcap FILE --keys FILE --channels 1|2\n"
			"       --to wav|mp3|none --out DIR\n");
		return 2;
	}
	BENCH_MUST(sodium_init() >= 0 && getrlimit(RLIMIT_NOFILE, &files) == 0);
	files.rlim_cur = files.rlim_max;
	BENCH_MUST(setrlimit(RLIMIT_NOFILE, &files) == 0);
	keys_read(keys);
	capture_read(pcap);
	begin = cpu_us();
	for (i = 0; i < fl.n_packets; i++)
		take(fl.packets[i]->data, fl.packets[i]->len);
	for (i = 0; i < SLOTS; i++)
		stream_end(&fl.stream[i]);
	loop = cpu_us() - begin;
	printf("{\"packets\": %zu, \"samples\": %zu, \"cpu_us\": %.0f, \"us_per_packet\": %.3f}\n",
		fl.n_packets, fl.samples, loop, loop / (double)fl.n_packets);
	return 0;
}
