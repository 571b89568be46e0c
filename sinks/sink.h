/* SPDX-License-Identifier: ISC */
#ifndef TAPEDECK_SINK_H
#define TAPEDECK_SINK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * How a sink plugs in; installed as <tapedeck/sink.h>, described in tapedeck-sink(3). Three heights
 * to build at:
 *
 *   sink    sees everything of a session: frames and packets as they come, RTCP, speakers, counters
 *   track   one speaker: sound in order, placed on the session's clock, gaps filled
 *   writer  one output file of one format, for file:, segments: and convert
 *
 * Rules for every struct and method here:
 *  - Every ops struct starts with the ABI number and its size. Members are only ever appended; what
 *    lies beyond `size` is absent. Structs handed to a method start with their size and grow the
 *    same way.
 *  - All calls about one session come from one thread, one at a time, never from inside another
 *    call to the same object. Different sessions may be on different threads: no globals.
 *  - What a method is given is borrowed until it returns, unless it says otherwise.
 *  - int results: 0, or a negative TD_SINK_ERR_*. Who allocates, frees.
 *  - Positions and lengths are samples per channel at 48 kHz unless they say otherwise; position 0
 *    is the start of the session and the same instant for every speaker. Samples are interleaved
 *    s16. Times in ns are on one monotonic clock, utc ones on the wall's.
 *  - Texts are UTF-8 and end with NUL.
 *  - A plugin runs inside the receiver. One that crashes takes the receiver with it; one that waits
 *    holds up every session of its lane.
 */
#define TD_SINK_ABI 1u

/* True when the ops struct o reaches as far as method m and has it. */
#define TD_HAS(o, m) ((o)->size >= offsetof(__typeof__(*(o)), m) + sizeof((o)->m) && (o)->m != NULL)

enum {
	TD_SINK_ERR_UNSUPPORTED = -6,
	TD_SINK_ERR_LIMIT = -50,
	TD_SINK_ERR_IO = -53, /* errno says why */
	TD_SINK_ERR_USAGE = -54,
	TD_SINK_ERR_NOMEM = -101,
};

/* ---- what the host hands in ---- */

enum {
	TD_EVENT_FILE_OPENED = 1, /* path, user_id */
	TD_EVENT_FILE_CLOSED = 2, /* path, user_id, samples */
	TD_EVENT_WARNING = 3,     /* text */
	TD_EVENT_FAILED = 4,      /* text: something of this sink writes no more */
};
struct td_event {
	uint32_t size, type; /* TD_EVENT_* */
	const char *path;    /* inside the folder of the session; NULL when the event has none */
	const char *text;    /* one clear sentence; NULL when the event has none */
	uint64_t user_id, samples;
};

enum { TD_LEVEL_ERROR = 0, TD_LEVEL_WARN = 1, TD_LEVEL_INFO = 2, TD_LEVEL_DEBUG = 3 };

struct td_writer_ops;

/* Services of the host; valid until close() returned. */
struct td_host {
	uint32_t abi, size;
	void *user; /* first argument of every service */
	void (*event)(void *user, const struct td_event *event);
	/* One line for the receiver's log; the sink's name is put before it. */
	void (*log)(void *user, uint32_t level, const char *text);
	/* The name of a counter (see count()); NULL beyond the last. Static. */
	const char *(*counter_name)(void *user, uint32_t counter);
	/* The writer of a format (see TD_OPTION_FORMAT); NULL: there is none. Static. */
	const struct td_writer_ops *(*writer)(void *user, const char *name);
};

struct td_session {
	uint32_t size;
	int32_t dir_fd;                /* the folder of the session, open until close() returned */
	const char *name;              /* of that folder */
	uint64_t start_ns;             /* position 0, on the clock of every other time here */
	uint64_t start_utc_ns;         /* the same instant in wall time */
	uint64_t guild_id, channel_id; /* 0: not known */
	uint32_t live; /* 1: calls come as sound does, and what a sink holds up for long is lost;
	                  0: a replay, which waits */
	uint32_t zero;
};

/* What a sink needs. Nothing is decoded for a session in which nobody wants PCM. */
enum { TD_WANT_PCM = 1u << 0, TD_WANT_OPUS = 1u << 1, TD_WANT_RTCP = 1u << 2 };
struct td_wants {
	uint32_t size;
	uint32_t what;     /* TD_WANT_* */
	uint32_t channels; /* of decoded frames: 1 or 2 */
};

/* What a decoded frame came from. */
enum { TD_FRAME_DECODED = 0, TD_FRAME_SILENCE = 1, TD_FRAME_FEC = 2, TD_FRAME_CONCEALED = 3 };
enum { TD_FRAME_SPURT = 1u << 0 }; /* the first of a talk spurt: placed by sent_ns */

/* One stretch of sound of one stream. Within a stream frames come in order. */
struct td_frame {
	uint32_t size;
	uint32_t ssrc;
	uint64_t user_id;    /* 0: not known */
	uint64_t arrival_ns; /* of the packet */
	int64_t sent_ns;     /* when the first sample was recorded, on our clock */
	uint32_t rtp_ts;     /* of the first sample */
	uint32_t samples;    /* per channel, 1-5760 */
	uint16_t seq;
	uint8_t kind;       /* TD_FRAME_* */
	uint8_t channels;   /* as the sink wants them */
	uint32_t flags;     /* TD_FRAME_SPURT */
	const int16_t *pcm; /* interleaved */
};

/* One Opus packet as it was sent, decrypted. Within a stream packets come in order, and before the
 * frame that was decoded from them. */
struct td_packet {
	uint32_t size;
	uint32_t ssrc;
	uint64_t user_id;
	uint64_t arrival_ns;
	int64_t sent_ns;
	uint32_t rtp_ts;
	uint32_t samples; /* what it decodes to, 120-5760 */
	uint32_t lost;    /* samples missing right before it because packets were lost, and not
	                     because nobody spoke */
	uint16_t seq;
	uint8_t silence; /* 1: the three bytes that stand for silence */
	uint8_t zero;
	uint32_t flags; /* TD_FRAME_SPURT */
	uint32_t len;   /* bytes, at least 1 */
	const uint8_t *data;
};

/* A stretch of a track in which there is sound. */
struct td_spurt {
	uint64_t first_sample, samples;
};

/* A track may be spread over several files that follow each other. */
struct td_part {
	const char *file;  /* name inside the folder of the session */
	uint64_t position; /* of its first sample */
	uint64_t samples;
};

/* Silence that was left out of a file: `samples` that would have followed `position`. */
struct td_cut {
	uint64_t position, samples;
};

/* One track as it stands now. With file NULL: counters that belong to no file. */
#define TD_NO_SAMPLE UINT64_MAX
struct td_file {
	uint32_t size;
	uint32_t channels, rate; /* as in the file */
	uint32_t counter_count;
	const char *file;         /* name inside the folder of the session; the first part */
	const char *format;       /* "wav", ... */
	uint64_t user_id;         /* 0: the speaker is not known */
	uint64_t samples;         /* of all parts, cuts not counted */
	uint64_t first_sample;    /* position of the first sound; TD_NO_SAMPLE: none */
	const uint64_t *counters; /* td_host.counter_name tells which */
	const uint32_t *ssrcs;    /* in order of appearance */
	const struct td_spurt *spurts;
	const struct td_part *parts; /* none: the track is one file */
	const struct td_cut *cuts;
	uint32_t ssrc_count, spurt_count, part_count, cut_count;
};
typedef void td_file_fn(void *user, const struct td_file *file);

/* ---- options ---- */

enum {
	TD_OPTION_CHOICE = 1,
	TD_OPTION_NUMBER = 2,
	TD_OPTION_TEXT = 3,
	/* The name of a writer; at most one in a table of a sink or track. The options of that
	 * writer may be given too, where the table has none of that name. Of several names with "+"
	 * between them each makes a sink of its own. */
	TD_OPTION_FORMAT = 4,
};

/*
 * One option. A table of them has at most 16 and ends with name NULL; this struct never grows. A
 * method is given them as key, value, key, value, ..., NULL: every option of the table once,
 * checked, in the table's order; after them those of the chosen writer, in its table's order.
 */
struct td_option {
	const char *name;     /* [a-z0-9-] */
	const char *fallback; /* the value when it is not given; "": none, and "" may be given */
	const char *choices;  /* TD_OPTION_CHOICE: "wav|flac" */
	uint64_t min, max;    /* TD_OPTION_NUMBER: a whole number in this range; TD_OPTION_TEXT: of
	                         this many bytes */
	const char *meaning;  /* for --list-sinks: half a sentence */
	uint32_t type;        /* TD_OPTION_* */
};

/* ---- height 1: sink ---- */

struct td_sink_ops {
	uint32_t abi, size;
	const char *name;                /* [a-z0-9_], unique */
	const char *meaning;             /* for --list-sinks: half a sentence */
	const struct td_option *options; /* NULL: none */

	/* Mandatory. */

	/* What it needs with these options; ret is zeroed but for its size. Any thread. */
	void (*wants)(const char *const *options, struct td_wants *ret);
	/* A session begins. *ret_state is the first argument of everything below; written on
	 * success only. host, session and options stay valid until close(). */
	int (*open)(void **ret_state, const struct td_host *host, const struct td_session *session,
		const char *const *options);
	/* The session ends at end_ns: everything is written out and closed. TD_SINK_ERR_IO when
	 * anything could not be written, now or before. Once; only files() and close() follow. */
	int (*finish)(void *state, uint64_t end_ns);
	/* Frees the state. Once after every good open(), also without finish(). */
	void (*close)(void *state);

	/* Optional. Negative: this sink is done, nothing but files() and close() follows. All may
	 * write to disk. */

	/* TD_WANT_PCM; mandatory with it. */
	int (*frame)(void *state, const struct td_frame *frame);
	/* TD_WANT_OPUS; mandatory with it. */
	int (*packet)(void *state, const struct td_packet *packet);
	/* TD_WANT_RTCP: a decrypted, well-formed RTCP compound. */
	int (*rtcp)(void *state, uint64_t arrival_ns, uint64_t user_id, uint32_t ssrc,
		const uint8_t *compound, size_t len);
	/* ssrc is user_id's from now on. */
	int (*speaker)(void *state, uint64_t user_id, uint32_t ssrc);
	/* The user left: every SSRC of theirs is released. */
	int (*speaker_left)(void *state, uint64_t user_id);
	/* Adds to the counters of a stream. user_id 0: not known; ssrc is never 0. */
	int (*count)(void *state, uint32_t ssrc, uint64_t user_id, const uint64_t *delta,
		uint32_t delta_count);
	/* About twice a second: what was received is made to last. now_ns: on the clock of
	 * start_ns; 0 in a replay, where only what comes tells the time. */
	int (*tick)(void *state, uint64_t now_ns);
	/* Calls file for every track, ordered by user (unknown ones last) and SSRC, and for
	 * counters that belong to none. A sink without it leaves counting to the host. */
	void (*files)(void *state, td_file_fn *file, void *user);
	/* Whether these options make sense together. TD_SINK_ERR_USAGE and one line in err. Any
	 * thread. */
	int (*check)(const char *const *options, char *err, size_t err_len);
	/* abi 2 and later: append below */
};

/* ---- height 2: track ---- */

struct td_track {
	uint32_t size;
	uint32_t ssrc;    /* of the first frame */
	uint64_t user_id; /* 0: not known */
};

/*
 * What a track gets is one unbroken run of samples from position 0 on: audio() or packet() and
 * silence() follow each other without gap or overlap.
 */
struct td_track_ops {
	uint32_t abi, size;
	const char *name;                /* [a-z0-9_], unique */
	const char *meaning;             /* for --list-sinks: half a sentence */
	const struct td_option *options; /* NULL: none */

	/* Mandatory. */

	/* As of td_sink_ops; exactly one of TD_WANT_PCM and TD_WANT_OPUS. */
	void (*wants)(const char *const *options, struct td_wants *ret);
	/* A session begins; as td_sink_ops.open(). */
	int (*begin)(void **ret_state, const struct td_host *host, const struct td_session *session,
		const char *const *options);
	/* The first sound of a speaker is there. After an error the track is not tried again. */
	int (*open)(void **ret_track, void *state, const struct td_track *track);
	/* n may be hours. Negative: this track is done, nothing but end(), describe()
	 * and free() follow. */
	int (*silence)(void *track, uint64_t n);
	/* The track has its full length. Once; the object stays valid until free(). */
	int (*end)(void *track);
	/* Once after every good open(), also without end(). */
	void (*free)(void *track);
	/* The session has ended, every track is freed. Once after every good begin(). */
	void (*close)(void *state);

	/* Optional; negative results as of silence(). */

	/* TD_WANT_PCM; mandatory with it. samples per channel, in the channels it wants. */
	int (*audio)(void *track, const int16_t *pcm, uint32_t samples);
	/* TD_WANT_OPUS; mandatory with it. Takes packet->samples; packet->lost of the silence
	 * before it stand for lost packets. */
	int (*packet)(void *track, const struct td_packet *packet);
	/* The speaker of a track opened with user_id 0 became known. own: no other track is theirs,
	 * so this is the user's track from now on; 0: later sound goes to the track they have. */
	void (*named)(void *track, uint64_t user_id, uint32_t own);
	/* About twice a second, when anything came since: what was received is made to last. */
	int (*refresh)(void *track);
	/* For tracks that are files: fills in file, format, channels, rate, samples, parts and
	 * cuts; the rest is there. What it points to stays valid until the next call. */
	void (*describe)(void *track, struct td_file *file);
	/* As td_sink_ops.tick(), after refresh(). Negative: the whole sink is done. */
	int (*tick)(void *state, uint64_t now_ns);
	/* The session ended and every track with it; before the last describe(). */
	int (*finish)(void *state);
	/* As td_sink_ops.check(). */
	int (*check)(const char *const *options, char *err, size_t err_len);
	/* abi 2 and later: append below */
};

/* ---- height 3: writer ---- */

/*
 * Where a writer puts its bytes: a file that grows at its end, whose start may be overwritten.
 * After the first failure append() and zeros() keep failing, and length() is what could be stored.
 */
struct td_output {
	uint32_t size;
	void *user; /* first argument of every method */
	int (*append)(void *user, const void *data, size_t len);
	/* As append() of len zero bytes, in constant memory; a hole in the file where it can be. */
	int (*zeros)(void *user, uint64_t len);
	/* Overwrites bytes before the end, after everything appended so far is in the file: so a
	 * header never promises what is not there. Works after a failure too. */
	int (*patch)(void *user, uint64_t at, const void *data, size_t len);
	uint64_t (*length)(void *user);
	/* A small file beside this one, called as it is with "." and ending appended, wherever it
	 * is renamed to; takes the place of the one before. */
	int (*beside)(void *user, const char *ending, const void *data, size_t len);
};

struct td_writer_conf {
	uint32_t size;
	uint32_t source;         /* TD_WANT_PCM or TD_WANT_OPUS: what it will be given */
	uint32_t channels, rate; /* of PCM. TD_WANT_OPUS: what a decoder should make of it, 48000 */
	uint32_t preroll;  /* TD_WANT_OPUS: so many samples at the start, whole packets, are of what
	                      came before: to be decoded and not played */
	uint32_t live;     /* as td_session.live */
	uint64_t position; /* of the first sample in the session */
	uint64_t start_utc_ns;      /* wall time of the first sample; 0: not known */
	const char *title, *album;  /* the speaker, the session; NULL: not known */
	const char *const *options; /* the writer's own */
};

struct td_writer_ops {
	uint32_t abi, size;
	const char *name;                /* of the format, and the ending of its files: [a-z0-9] */
	const char *meaning;             /* for --list-sinks: half a sentence */
	const struct td_option *options; /* NULL: none */
	uint32_t takes;                  /* TD_WANT_PCM, TD_WANT_OPUS or both */
	uint32_t zero;

	/* Mandatory. */

	/* Whether it can write this: TD_SINK_ERR_USAGE and one line in err. Titles and times are
	 * not there yet. Any thread. */
	int (*check)(const struct td_writer_conf *conf, char *err, size_t err_len);
	/* out is empty; out and conf stay valid until close() returned. Leaves a valid file without
	 * sound. */
	int (*open)(void **ret_state, const struct td_output *out,
		const struct td_writer_conf *conf);
	/* samples per channel at conf->rate; TD_WANT_OPUS: at 48 kHz. n may be hours. */
	int (*silence)(void *state, uint64_t n);
	/* Makes the file valid with everything that was written so far. */
	int (*refresh)(void *state);
	/* Finishes the file, also after a failure, and frees the state. *ret_samples: per channel
	 * at conf->rate, what the file holds; written always. */
	int (*close)(void *state, uint64_t *ret_samples);

	/* Optional. */

	/* TD_WANT_PCM; mandatory with it. samples per channel at conf->rate, interleaved. */
	int (*write)(void *state, const int16_t *pcm, uint32_t samples);
	/* TD_WANT_OPUS; mandatory with it; as td_track_ops.packet(). */
	int (*packet)(void *state, const struct td_packet *packet);
	/* abi 2 and later: append below */
};

/* ---- the one symbol of a plugin ---- */

struct td_plugin {
	uint32_t abi, size;
	/* What it brings, NULL for what it does not. */
	const struct td_sink_ops *sink;
	const struct td_track_ops *track;
	const struct td_writer_ops *writer;
	/* abi 2 and later: append below */
};

/* host_abi: of the program that loads it. NULL: does not fit. A plugin is never unloaded. */
typedef const struct td_plugin *td_plugin_fn(uint32_t host_abi);

#define TD_PLUGIN_SYMBOL "td_plugin"

/* At the end of a plugin's source: TD_PLUGIN(my_plugin) with a struct td_plugin my_plugin. */
#ifdef __cplusplus
#define TD_PLUGIN_LINKAGE extern "C" __attribute__((visibility("default")))
#else
#define TD_PLUGIN_LINKAGE __attribute__((visibility("default")))
#endif
#define TD_PLUGIN(plugin)                                                       \
	TD_PLUGIN_LINKAGE const struct td_plugin *td_plugin(uint32_t host_abi); \
	TD_PLUGIN_LINKAGE const struct td_plugin *td_plugin(uint32_t host_abi)  \
	{                                                                       \
		return host_abi >= TD_SINK_ABI ? &(plugin) : NULL;              \
	}

#ifdef __cplusplus
}
#endif

#endif
