/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_SINK_H
#define TD_SINKS_SINK_H

#include <stddef.h>
#include <stdint.h>

/*
 * How a sink plugs in. Three heights to build at:
 *
 *   sink    sees everything of a session: frames as they come, RTCP, speakers, counters, time
 *   track   one speaker: sound in order, placed on the session's clock, gaps filled
 *   writer  one output file of one format
 *
 * The file sink is all three: a sink that places frames on tracks, whose tracks write files.
 *
 * Rules for every struct and method here:
 *  - Every ops struct starts with the ABI number and its size. Members are only ever appended; what
 *    lies beyond `size` is absent. Structs handed to a method start with their size and grow the
 *    same way.
 *  - All calls about one session come from one thread, one at a time, never from inside another
 *    call to the same object. Different sessions may be on different threads: no globals.
 *  - What a method is given is borrowed until it returns, unless it says otherwise.
 *  - int results: 0, or a negative enum td_err. Who allocates, frees.
 *  - Positions and lengths are samples per channel at 48 kHz; position 0 is the start of the
 * session and the same instant for every speaker.
 */
#define TD_SINK_ABI 1u

/* True when the ops struct o reaches as far as method m and has it. */
#define TD_HAS(o, m) ((o)->size >= offsetof(__typeof__(*(o)), m) + sizeof((o)->m) && (o)->m != NULL)

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

/* Services of the host; valid until close() returned. */
struct td_host {
	uint32_t abi, size;
	void *user; /* first argument of every service */
	void (*event)(void *user, const struct td_event *event);
};

struct td_session {
	uint32_t size;
	int32_t dir_fd;    /* the folder of the session, open until close() returned */
	uint64_t start_ns; /* position 0, on the clock of every other time here */
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
	uint8_t channels;   /* 1 or 2 */
	uint32_t flags;     /* TD_FRAME_SPURT */
	const int16_t *pcm; /* interleaved */
};

/* One output file as it stands now. With file NULL: counters that belong to no file. */
#define TD_NO_SAMPLE UINT64_MAX
struct td_file {
	uint32_t size;
	uint32_t channels;
	const char *file;   /* name inside the folder of the session */
	const char *format; /* "wav", ... */
	uint64_t user_id;   /* 0: the speaker is not known */
	uint64_t samples;
	uint64_t first_sample; /* position of the first sound; TD_NO_SAMPLE: none */
	const uint32_t *ssrcs; /* in order of appearance */
	const uint64_t *counters;
	uint32_t ssrc_count, counter_count; /* counters in the order of common/counters.h */
};
typedef void td_file_fn(void *user, const struct td_file *file);

/* ---- options ---- */

enum { TD_OPTION_CHOICE = 1, TD_OPTION_NUMBER = 2 };

/* One option of a sink. A table of them ends with name NULL; this struct never grows. */
struct td_option {
	const char *name;
	const char *fallback; /* the value when it is not given */
	const char *choices;  /* TD_OPTION_CHOICE: "wav|flac" */
	uint64_t min, max;    /* TD_OPTION_NUMBER: a whole number in this range */
	const char *meaning;  /* for --help: half a sentence */
	uint32_t type;        /* TD_OPTION_* */
};

/* ---- height 1: sink ---- */

/*
 * Options come as key, value, key, value, ..., NULL: every option of the table once, checked, in
 * the table's order.
 */
struct td_sink_ops {
	uint32_t abi, size;
	const char *name;    /* [a-z0-9_], unique */
	const char *meaning; /* for --help: half a sentence */
	const struct td_option *options;

	/* Mandatory. */

	/* Channels of decoded frames it needs: 1 or 2; 0: no decoded frames. Any thread. */
	uint32_t (*channels)(const char *const *options);
	/* A session begins. *ret_state is the first argument of everything below; written on
	 * success only. host and session stay valid until close(). */
	int (*open)(void **ret_state, const struct td_host *host, const struct td_session *session,
		const char *const *options);
	/* May write to disk. Negative: this sink is done, nothing but close() follows. */
	int (*frame)(void *state, const struct td_frame *frame);
	/* The session ends at end_ns: everything is written out and closed. TD_ERR_IO when anything
	 * could not be written, now or before. Once; only files() and close() follow. */
	int (*finish)(void *state, uint64_t end_ns);
	/* Frees the state. Once after every good open(), also without finish(). */
	void (*close)(void *state);

	/* Optional; negative results as of frame(). */

	/* A decrypted, well-formed RTCP compound. */
	int (*rtcp)(void *state, uint64_t arrival_ns, uint64_t user_id, uint32_t ssrc,
		const uint8_t *compound, size_t len);
	/* ssrc is user_id's from now on. */
	int (*speaker)(void *state, uint64_t user_id, uint32_t ssrc);
	/* The user left: every SSRC of theirs is released. */
	int (*speaker_left)(void *state, uint64_t user_id);
	/* Adds to the counters of a stream. user_id 0: not known; ssrc is never 0. */
	int (*count)(void *state, uint32_t ssrc, uint64_t user_id, const uint64_t *delta,
		uint32_t delta_count);
	/* About once a second: what was received is made to last. */
	int (*tick)(void *state);
	/* Calls file for every output file, ordered by user (unknown ones last) and SSRC, and for
	 * counters that belong to none. A sink without it leaves counting to the host. */
	void (*files)(void *state, td_file_fn *file, void *user);
	/* abi 2 and later: append below */
};

/* ---- height 2: track ---- */

struct td_track {
	uint32_t size;
	uint32_t ssrc;    /* of the first frame */
	uint64_t user_id; /* 0: not known */
};

/*
 * What a track gets is one unbroken run of samples from position 0 on: audio() and silence() follow
 * each other without gap or overlap.
 */
struct td_track_ops {
	uint32_t abi, size;

	/* Mandatory. */

	/* The first sound of a speaker is there. user is what the tracks were made with. After an
	 * error the track is not tried again. */
	int (*open)(void **ret_track, void *user, const struct td_track *track);
	/* samples per channel, interleaved; channels 1 or 2 and free to change. Negative: this
	 * track is done, nothing but end() follows. */
	int (*audio)(void *track, const int16_t *pcm, uint32_t samples, uint32_t channels);
	/* n may be hours. Negative: as audio(). */
	int (*silence)(void *track, uint64_t n);
	/* The track has its full length. Once; the object stays valid until free(). */
	int (*end)(void *track);
	/* Once after every good open(), also without end(). */
	void (*free)(void *track);

	/* Optional. */

	/* The speaker of a track opened with user_id 0 became known. own: no other track is theirs,
	 * so this is the user's track from now on; 0: later sound goes to the track they have. */
	void (*named)(void *track, uint64_t user_id, uint32_t own);
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
};

struct td_writer_ops {
	uint32_t abi, size;
	const char *name; /* of the format, and the ending of its files */

	/* Mandatory. */

	/* out is empty and stays valid until close() returned. Leaves a valid file without sound.
	 */
	int (*open)(void **ret_state, const struct td_output *out, uint32_t channels);
	/* samples per channel, interleaved, in the channels of open(). */
	int (*write)(void *state, const int16_t *pcm, uint32_t samples);
	int (*silence)(void *state, uint64_t samples);
	/* Makes the file valid with everything that was written so far. */
	int (*refresh)(void *state);
	/* Finishes the file, also after a failure, and frees the state. *ret_samples: per channel,
	 * what the file holds; written always. */
	int (*close)(void *state, uint64_t *ret_samples);
	/* abi 2 and later: append below */
};

#endif
