/* SPDX-License-Identifier: ISC */

/*
 * A format as a plugin: AU (also .snd), 28 bytes of header and big-endian samples.
 *
 *   receiver ... --sink file:format=au
 *   convert -f au ...
 *
 * Height 3: one object for each file, bytes go to the struct td_output it is given.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tapedeck/sink.h>

enum { HEADER = 28, ENCODING_S16 = 3, BLOCK = 1024 };

struct au {
	const struct td_output *out;
	const struct td_writer_conf *conf;
};

static void put_u32(unsigned char *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* The header of a file with so many bytes of sound; more than it can say is "not known". */
static void au_header(const struct au *au, unsigned char ret[HEADER], uint64_t bytes)
{
	memcpy(ret, ".snd", 4);
	put_u32(ret + 4, HEADER);
	put_u32(ret + 8, bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX);
	put_u32(ret + 12, ENCODING_S16);
	put_u32(ret + 16, au->conf->rate);
	put_u32(ret + 20, au->conf->channels);
	put_u32(ret + 24, 0); /* an empty annotation: some readers want one */
}

static uint64_t au_bytes(const struct au *au)
{
	uint64_t length = au->out->length(au->out->user), frame = 2 * au->conf->channels;

	/* After a failure the last sample may not be whole. */
	return length < HEADER ? 0 : (length - HEADER) / frame * frame;
}

static int au_check(const struct td_writer_conf *conf, char *err, size_t err_len)
{
	if (conf->source == TD_WANT_PCM && conf->channels >= 1 && conf->rate >= 1)
		return 0;
	snprintf(err, err_len, "au is written from PCM");
	return TD_SINK_ERR_USAGE;
}

static int au_open(void **ret_state, const struct td_output *out, const struct td_writer_conf *conf)
{
	unsigned char header[HEADER];
	struct au *au = calloc(1, sizeof(*au));
	int r;

	if (au == NULL)
		return TD_SINK_ERR_NOMEM;
	au->out = out;
	au->conf = conf;
	au_header(au, header, 0);
	if ((r = out->append(out->user, header, HEADER)) < 0) {
		free(au);
		return r;
	}
	*ret_state = au;
	return 0;
}

static int au_write(void *state, const int16_t *pcm, uint32_t samples)
{
	struct au *au = state;
	size_t left = (size_t)samples * au->conf->channels, n;
	unsigned char block[2 * BLOCK];
	int r = 0;

	for (; left > 0 && r == 0; left -= n, pcm += n) {
		n = left < BLOCK ? left : BLOCK;
		for (size_t i = 0; i < n; i++) {
			block[2 * i] = (unsigned char)((uint16_t)pcm[i] >> 8);
			block[2 * i + 1] = (unsigned char)pcm[i];
		}
		r = au->out->append(au->out->user, block, 2 * n);
	}
	return r;
}

static int au_silence(void *state, uint64_t n)
{
	struct au *au = state;

	return au->out->zeros(au->out->user, n * 2 * au->conf->channels);
}

static int au_refresh(void *state)
{
	struct au *au = state;
	unsigned char header[HEADER];

	au_header(au, header, au_bytes(au));
	return au->out->patch(au->out->user, 0, header, HEADER);
}

static int au_close(void *state, uint64_t *ret_samples)
{
	struct au *au = state;
	int r = au_refresh(au);

	*ret_samples = au_bytes(au) / (2 * au->conf->channels);
	free(au);
	return r;
}

static const struct td_writer_ops writer = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_writer_ops),
	.name = "au",
	.meaning = "AU, 16 bit, big-endian",
	.takes = TD_WANT_PCM,
	.check = au_check,
	.open = au_open,
	.silence = au_silence,
	.refresh = au_refresh,
	.close = au_close,
	.write = au_write,
};

static const struct td_plugin plugin = { TD_SINK_ABI, sizeof(plugin), NULL, NULL, &writer };

TD_PLUGIN(plugin)
