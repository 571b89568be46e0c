/* SPDX-License-Identifier: ISC */

/*
 * A sink to begin with. It counts what it is given and leaves the numbers in sink_template.txt.
 *
 *  1 copy it                 cp examples/sink_template.c my_sink.c
 *  2 rename it, everywhere   sed -i s/sink_template/my_sink/g my_sink.c
 *  3 build it, unchanged     cc -shared -fPIC -o my_sink.so my_sink.c \
 *                                $(pkg-config --cflags tapedeck)    (or -Ibuild/include)
 *  4 look at it              receiver --list-sinks --plugin ./my_sink.so
 *  5 test it                 examples/try_sink.sh ./my_sink.so      (a made-up call)
 *  6 now edit; 3 and 5 again
 *  7 install it              cp my_sink.so $(pkg-config --variable=plugindir tapedeck)
 *                            from then on: receiver --sink my_sink:what=sound
 *
 * Every method there is at this height is here. Only the first four have to be: throw out what you
 * do not need, here and in the table at the end. The contract is in <tapedeck/sink.h>. In short:
 * one object for each session; its calls come one at a time; other sessions may be on other
 * threads, so no globals; do not wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tapedeck/sink.h>

/* ---- options: --sink sink_template:what=sound,note=hello ---- */

static const struct td_option options[] = {
	{ .name = "what",
		.type = TD_OPTION_CHOICE,
		.fallback = "all",
		.choices = "sound|packets|all",
		.meaning = "is counted" },
	{ .name = "channels",
		.type = TD_OPTION_NUMBER,
		.fallback = "2",
		.min = 1,
		.max = 2,
		.meaning = "of the sound" },
	{ .name = "note",
		.type = TD_OPTION_TEXT,
		.fallback = "",
		.max = 100,
		.meaning = "on the first line of the file" },
	{ .name = NULL },
};

/* What methods are given: key, value, key, value, ... in the order of the table. */
enum { WHAT = 1, CHANNELS = 3, NOTE = 5 };

/* One session. */
struct sink_template {
	const struct td_host *host;
	int dir_fd;
	const char *note;
	uint64_t frames, samples, packets, bytes, rtcp, speakers, left, counts, ticks;
};

/* ---- mandatory ---- */

/* What has to come in. Nothing is decoded for you alone when you do not want PCM. */
static void sink_wants(const char *const *values, struct td_wants *ret)
{
	if (strcmp(values[WHAT], "packets") != 0)
		ret->what |= TD_WANT_PCM;
	if (strcmp(values[WHAT], "sound") != 0)
		ret->what |= TD_WANT_OPUS | TD_WANT_RTCP;
	ret->channels = values[CHANNELS][0] == '1' ? 1 : 2;
}

/* A session begins: host, session and values stay where they are until close(). */
static int sink_open(void **ret_state, const struct td_host *host, const struct td_session *session,
	const char *const *values)
{
	struct sink_template *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return TD_SINK_ERR_NOMEM;
	s->host = host;
	s->dir_fd = session->dir_fd;
	s->note = values[NOTE];
	host->log(host->user, TD_LEVEL_DEBUG, session->live ? "live" : "replay");
	*ret_state = s;
	return 0;
}

/* The session is over: write out what there is. */
static int sink_finish(void *state, uint64_t end_ns)
{
	const struct sink_template *s = state;
	int fd = openat(s->dir_fd, "sink_template.txt", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		0600);
	int r;

	(void)end_ns;
	if (fd < 0)
		return TD_SINK_ERR_IO; /* errno says why */
	r = dprintf(fd,
		"%s\n%" PRIu64 " frames, %" PRIu64 " samples\n%" PRIu64 " packets, %" PRIu64
		" bytes\n%" PRIu64 " RTCP\n%" PRIu64 " speakers, %" PRIu64 " left\n%" PRIu64
		" counts\n%" PRIu64 " ticks\n",
		s->note, s->frames, s->samples, s->packets, s->bytes, s->rtcp, s->speakers, s->left,
		s->counts, s->ticks);
	if (close(fd) != 0 || r < 0)
		return TD_SINK_ERR_IO;
	return 0;
}

static void sink_close(void *state)
{
	free(state);
}

/* ---- optional ---- */

/* Decoded sound of one stream, frame->pcm; it goes away when this returns. */
static int sink_frame(void *state, const struct td_frame *frame)
{
	struct sink_template *s = state;

	s->frames++;
	s->samples += frame->samples;
	return 0;
}

/* An Opus packet as it was sent, decrypted. */
static int sink_packet(void *state, const struct td_packet *packet)
{
	struct sink_template *s = state;

	s->packets++;
	s->bytes += packet->len;
	return 0;
}

static int sink_rtcp(void *state, uint64_t arrival_ns, uint64_t user_id, uint32_t ssrc,
	const uint8_t *compound, size_t len)
{
	struct sink_template *s = state;

	(void)arrival_ns;
	(void)user_id;
	(void)ssrc;
	(void)compound;
	(void)len;
	s->rtcp++;
	return 0;
}

/* From now on this stream is that user's. */
static int sink_speaker(void *state, uint64_t user_id, uint32_t ssrc)
{
	struct sink_template *s = state;

	(void)user_id;
	(void)ssrc;
	s->speakers++;
	return 0;
}

static int sink_speaker_left(void *state, uint64_t user_id)
{
	struct sink_template *s = state;

	(void)user_id;
	s->left++;
	return 0;
}

/* What was received and lost: host->counter_name() tells what delta[i] counts. */
static int sink_count(void *state, uint32_t ssrc, uint64_t user_id, const uint64_t *delta,
	uint32_t delta_count)
{
	struct sink_template *s = state;

	(void)ssrc;
	(void)user_id;
	(void)delta;
	(void)delta_count;
	s->counts++;
	return 0;
}

/* About once a second: the place to flush files, and to say what went wrong meanwhile. */
static int sink_tick(void *state, uint64_t now_ns)
{
	struct sink_template *s = state;

	(void)now_ns;
	s->ticks++;
	return 0;
}

/* Only for values that are good alone and bad together. */
static int sink_check(const char *const *values, char *err, size_t err_len)
{
	if (strcmp(values[WHAT], "packets") != 0 || values[CHANNELS][0] == '2')
		return 0;
	snprintf(err, err_len, "packets have the channels they have");
	return TD_SINK_ERR_USAGE;
}

/* ---- what the receiver is shown ---- */

static const struct td_sink_ops sink = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_sink_ops),
	.name = "sink_template", /* and the name of the file, with .so */
	.meaning = "counts what it is given",
	.options = options,
	.wants = sink_wants,
	.open = sink_open,
	.finish = sink_finish,
	.close = sink_close,
	.frame = sink_frame,
	.packet = sink_packet,
	.rtcp = sink_rtcp,
	.speaker = sink_speaker,
	.speaker_left = sink_speaker_left,
	.count = sink_count,
	.tick = sink_tick,
	/* For sinks that write a file for each speaker, which are to be in session.json. Height 2
	 * (see pipe.c) is less work for those. */
	.files = NULL,
	.check = sink_check,
};

static const struct td_plugin plugin = { TD_SINK_ABI, sizeof(plugin), &sink, NULL, NULL };

TD_PLUGIN(plugin)
