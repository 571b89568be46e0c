/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_IPC_H
#define TD_COMMON_IPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/counters.h"
#include "common/dave_nonces.h"

/*
 * What crosses a lane's two pipes: the request pipe (receiver to unpacker) and the reply pipe
 * (unpacker to receiver). Every message is a struct ipc_hdr, the struct of its type, then
 * `len` - sizeof(struct) bytes of data where the type has data, then zeros up to a multiple of 8,
 * so that every struct lies aligned. Host byte order: both ends are the same build on the same
 * host, which IPC_HELLO and IPC_READY check.
 *
 * `conn` names the voice connection the message is about: a number the receiver gives out once and
 * never again; 0 where a message is about the worker itself.
 */
enum { IPC_VERSION = 1, IPC_MAX_DGRAM = 2048, IPC_MAX_PCM = 5760 * 2 * 2, IPC_MAX_LOG = 512 };

/* Fixed descriptors of an unpacker; everything else is closed. */
enum { IPC_FD_REQUEST = 3, IPC_FD_REPLY = 4 };

struct ipc_hdr {
	uint32_t len; /* bytes behind this header, without the zeros at the end */
	uint16_t type;
	uint16_t zero;
	uint64_t conn;
};

/* HELLO, READY: the two builds agree on the layout, or the worker is refused. */
struct ipc_hello {
	uint32_t version;
	uint32_t hdr_size;
};

/* CONN_OPEN: a voice connection begins. No keys, no speakers, no streams yet. */
struct ipc_conn_open {
	uint64_t reorder_ns; /* how long a packet waits for those before it */
	uint64_t hold_ns;  /* how long a packet waits for its speaker's name, a frame for its key */
	uint32_t want;     /* IPC_WANT_* */
	uint32_t channels; /* of decoded frames at most: 1 or 2 */
};
enum { IPC_WANT_PCM = 1u << 0, IPC_WANT_RTCP = 1u << 1, IPC_WANT_OPUS = 1u << 2 };

/* KEY: packets of the connection are opened with this; for a moment also with the one before, and
 * those that came a moment ago and did not open are tried again. */
struct ipc_key {
	uint32_t mode;     /* enum transport_mode */
	uint32_t own_ssrc; /* packets that carry it are ours: ignored; 0: none */
	uint8_t key[32];
};

/* SPEAKER: this SSRC is this user's from now on. A second one for the same SSRC re-assigns it. */
struct ipc_speaker {
	uint64_t user_id;
	uint32_t ssrc;
	uint32_t zero;
};

/* SPEAKER_GONE: the user left; every SSRC of theirs is released, finished and forgotten. */
struct ipc_speaker_gone {
	uint64_t user_id;
};

/* DAVE_EPOCH: from at_ns on the senders behind it (struct ipc_dave_sender) may encrypt under this
 * epoch, too. Every older epoch expires 10 s after at_ns. No senders: nothing new, the older ones
 * expire. */
struct ipc_dave_epoch {
	uint64_t at_ns;
	uint64_t epoch; /* for messages to people; groups made anew count from 1 again */
	uint32_t no;    /* of the lane's, never used again; a later one is higher */
	uint32_t zero;
};
struct ipc_dave_sender {
	uint64_t user_id;
	uint8_t secret[16]; /* base secret of the sender's ratchet (dave.md section 8) */
};
enum { IPC_DAVE_MAX_SENDERS = 2048 };

/* DAVE_USED: what came back from the worker before this one was opened with these nonces. After its
 * epoch. */
struct ipc_dave_used {
	uint64_t user_id;
	uint32_t epoch_no;
	uint32_t zero;
	struct dave_nonces nonces;
};

/* DAVE_PASSTHROUGH: frames that are not encrypted are taken as they are until then; UINT64_MAX:
 * always (how a connection begins), 0: not any more. */
struct ipc_dave_passthrough {
	uint64_t until_ns;
};

/* PACKET: one datagram as received; its bytes follow. Arrival times of a connection never fall.
 * Again: its sound has come back from the worker before this one. Decoder and clocks are to know
 * it; it is not counted, and nothing is sent for it.
 * Opened: with Again, and it is what its DAVE nonce was used for.
 * Counted: if it is a duplicate, the worker before this one has counted it.
 * Undecoded: there is more than can be decoded. It is passed on as it is, and its sound is a gap.
 */
struct ipc_packet {
	uint64_t arrival_ns;
	uint32_t flags; /* IPC_PACKET_* */
	uint32_t zero;
};
enum {
	IPC_PACKET_AGAIN = 1u << 0,
	IPC_PACKET_UNDECODED = 1u << 1,
	IPC_PACKET_COUNTED = 1u << 2,
	IPC_PACKET_OPENED = 1u << 3,
};

/* TICK: no packet that arrives later will be older than this. */
struct ipc_tick {
	uint64_t now_ns;
};

/* CONTROL, CONTROL_ECHO: a bookmark in the stream. What it stands for never leaves the receiver;
 * the worker answers each in its place, after everything that it caused before. */
struct ipc_control {
	uint64_t serial;
};

/* FRAME: one stretch of sound of one stream, interleaved s16 samples behind it. Within a stream
 * frames come in order. Time is as the packet says; placing it is the sinks' work. */
struct ipc_frame {
	uint64_t user_id;    /* 0: not known */
	uint64_t arrival_ns; /* of the packet (for concealed sound: of the one after the gap) */
	int64_t sent_ns;     /* when the first sample was recorded, on our clock: the RTP timestamp
	                        through the minimum-delay map of the stream */
	uint64_t nonce; /* with IPC_FRAME_DAVE_OPENED: what it was opened with, generation and all,
	                 */
	uint32_t epoch_no; /* and the epoch: struct ipc_dave_epoch */
	uint32_t ssrc;
	uint32_t rtp_ts;  /* of the first sample */
	uint16_t seq;     /* of the packet; of the lost one for fec and concealed */
	uint16_t samples; /* per channel, 48 kHz; 1-5760 */
	/* Of decoded and silence: packets of the gap before it, which are counted with it. */
	uint16_t lost, recovered, concealed;
	uint8_t kind;     /* enum ipc_frame_kind */
	uint8_t channels; /* 1 or 2: not more than its stream has shown to need */
	uint8_t flags;    /* IPC_FRAME_* */
	uint8_t zero[7];
};
enum ipc_frame_kind {
	IPC_FRAME_DECODED,   /* from its own packet */
	IPC_FRAME_SILENCE,   /* from a packet that is the Opus silence frame F8 FF FE */
	IPC_FRAME_FEC,       /* lost, recovered from the in-band FEC of the next packet */
	IPC_FRAME_CONCEALED, /* lost, made up by the decoder */
	IPC_FRAME_KINDS,
};
enum {
	/* The first frame of a talk spurt: take the position from sent_ns, not from the frame
	 * before. */
	IPC_FRAME_SPURT = 1u << 0,
	/* What the packet is counted as beside received and decoded. */
	IPC_FRAME_HELD = 1u << 1,
	IPC_FRAME_REORDERED = 1u << 2,
	IPC_FRAME_DAVE_OPENED = 1u << 3,
	IPC_FRAME_DAVE_PLAIN = 1u << 4,
};

/* OPUS: one Opus packet as it was sent, decrypted, behind it: in the order in which the frames
 * come, and before the frame that is decoded from it. Never one that Opus would refuse for its
 * framing. */
struct ipc_opus {
	uint64_t user_id; /* these as in struct ipc_frame */
	uint64_t arrival_ns;
	int64_t sent_ns;
	uint64_t nonce;
	uint32_t epoch_no;
	uint32_t ssrc;
	uint32_t rtp_ts;
	uint32_t lost; /* samples missing right before it because packets were lost; a pause is not
	                */
	uint16_t seq;
	uint16_t samples; /* per channel, 48 kHz: what it decodes to; 120-5760 */
	uint8_t flags;    /* IPC_FRAME_* */
	uint8_t silence;  /* 1: it is the Opus silence frame */
	uint16_t missing; /* packets that are counted as lost with it; 0 where there are frames */
};

/* RTCP: a decrypted, well-formed compound packet behind it, for those who want it. */
struct ipc_rtcp {
	uint64_t arrival_ns;
	uint64_t user_id; /* of the sender SSRC; 0: not known */
	uint32_t ssrc;
	uint32_t zero;
};

/* COUNTERS: what was counted since the last such message, per stream (ssrc) or, with ssrc 0, for
 * what no stream can be named. Sent once a second of stream time, before every CONTROL_ECHO and
 * when a stream or connection ends; never all zero. A packet is counted when it is done with. One
 * that leaves no message of its own is in counters that come before any later message of its
 * stream: so what has come back tells, at any moment, what was counted and what was not. */
struct ipc_counters {
	uint64_t user_id;
	uint64_t arrival_ns; /* done with: whatever came by then and has no place in the sequence */
	uint32_t ssrc;
	uint16_t seq; /* and what has one up to this number, */
	uint8_t any;  /* if it means something: 1 */
	uint8_t zero;
	uint64_t delta[COUNTER_COUNT];
};

/* PONG: the answer to PING, behind counters of whatever leaves nothing else behind. waits, 1: some
 * packet waits for a name, for a key, or for the next one to tell what it was; 0: none waits for
 * more than those before it. */
struct ipc_pong {
	uint32_t waits;
	uint32_t zero;
};

/* LOG: text without NUL behind it; level is enum td_log_level. */
struct ipc_log {
	uint32_t level;
};

enum ipc_dir { IPC_TO_WORKER, IPC_TO_RECEIVER };

/* The whole protocol. Numbers are never used again for anything else.
 *    name          no  direction        fixed part             data up to */
#define IPC_MESSAGES(X)                                                                            \
	X(HELLO, 1, IPC_TO_WORKER, struct ipc_hello, 0)                                            \
	X(CONN_OPEN, 2, IPC_TO_WORKER, struct ipc_conn_open, 0)                                    \
	/* release and finish everything, then forget the connection */                            \
	X(CONN_CLOSE, 3, IPC_TO_WORKER, struct ipc_empty, 0)                                       \
	/* release and finish every stream; speakers and keys stay: what comes next starts anew */ \
	X(CONN_FLUSH, 4, IPC_TO_WORKER, struct ipc_empty, 0)                                       \
	/* as CONN_FLUSH, and forget key and speakers: a new voice session (fresh Identify) */     \
	X(CONN_RESET, 5, IPC_TO_WORKER, struct ipc_empty, 0)                                       \
	X(KEY, 6, IPC_TO_WORKER, struct ipc_key, 0)                                                \
	X(SPEAKER, 7, IPC_TO_WORKER, struct ipc_speaker, 0)                                        \
	X(SPEAKER_GONE, 8, IPC_TO_WORKER, struct ipc_speaker_gone, 0)                              \
	X(PACKET, 9, IPC_TO_WORKER, struct ipc_packet, IPC_MAX_DGRAM)                              \
	X(TICK, 10, IPC_TO_WORKER, struct ipc_tick, 0)                                             \
	X(CONTROL, 11, IPC_TO_WORKER, struct ipc_control, 0)                                       \
	/* are you there? conn 0; answered by PONG at once */                                      \
	X(PING, 12, IPC_TO_WORKER, struct ipc_empty, 0)                                            \
	X(DAVE_EPOCH, 13, IPC_TO_WORKER, struct ipc_dave_epoch,                                    \
		IPC_DAVE_MAX_SENDERS * sizeof(struct ipc_dave_sender))                             \
	X(DAVE_PASSTHROUGH, 14, IPC_TO_WORKER, struct ipc_dave_passthrough, 0)                     \
	X(DAVE_USED, 15, IPC_TO_WORKER, struct ipc_dave_used, 0)                                   \
	X(READY, 64, IPC_TO_RECEIVER, struct ipc_hello, 0)                                         \
	X(FRAME, 65, IPC_TO_RECEIVER, struct ipc_frame, IPC_MAX_PCM)                               \
	X(RTCP, 66, IPC_TO_RECEIVER, struct ipc_rtcp, IPC_MAX_DGRAM)                               \
	X(COUNTERS, 67, IPC_TO_RECEIVER, struct ipc_counters, 0)                                   \
	X(CONTROL_ECHO, 68, IPC_TO_RECEIVER, struct ipc_control, 0)                                \
	X(PONG, 69, IPC_TO_RECEIVER, struct ipc_pong, 0)                                           \
	X(LOG, 70, IPC_TO_RECEIVER, struct ipc_log, IPC_MAX_LOG)                                   \
	X(OPUS, 71, IPC_TO_RECEIVER, struct ipc_opus, IPC_MAX_DGRAM)

struct ipc_empty {
	char none[0];
};

#define X(name, no, dir, fixed, data) IPC_##name = (no),
enum ipc_type { IPC_MESSAGES(X) };
#undef X

/* The largest message with its header: what a reader must have room for. */
enum {
	IPC_MAX_MSG = sizeof(struct ipc_hdr) + sizeof(struct ipc_dave_epoch) +
		IPC_DAVE_MAX_SENDERS * sizeof(struct ipc_dave_sender)
};

_Static_assert(sizeof(struct ipc_hdr) == 16, "ipc_hdr has padding");
_Static_assert(sizeof(struct ipc_conn_open) == 24, "ipc_conn_open has padding");
_Static_assert(sizeof(struct ipc_key) == 40, "ipc_key has padding");
_Static_assert(sizeof(struct ipc_dave_sender) == 24, "ipc_dave_sender has padding");
_Static_assert(sizeof(struct ipc_frame) == 64, "ipc_frame has padding");
_Static_assert(offsetof(struct ipc_frame, zero) + 7 == sizeof(struct ipc_frame),
	"ipc_frame has padding at its end");
_Static_assert(sizeof(struct ipc_opus) == 56, "ipc_opus has padding");
_Static_assert(sizeof(struct ipc_rtcp) == 24, "ipc_rtcp has padding");
_Static_assert(sizeof(struct ipc_counters) == 24 + 8 * COUNTER_COUNT, "ipc_counters has padding");

/* Counts a packet that is done with: `end` is what became of it, flags are IPC_FRAME_*. */
static inline void ipc_count_packet(uint64_t count[static COUNTER_COUNT], enum td_counter end,
	unsigned flags)
{
	count[COUNTER_RECEIVED]++;
	count[end]++;
	count[COUNTER_HELD] += (flags & IPC_FRAME_HELD) != 0;
	count[COUNTER_REORDERED] += (flags & IPC_FRAME_REORDERED) != 0;
	count[COUNTER_DAVE_OPENED] += (flags & IPC_FRAME_DAVE_OPENED) != 0;
	count[COUNTER_DAVE_PLAIN] += (flags & IPC_FRAME_DAVE_PLAIN) != 0;
}

/* A message as a reader hands it out: pointers into the reader's buffer, valid until its next
 * ipc_reader_* call. `body` is the fixed part (aligned for its struct), `data` what follows. */
struct ipc_msg {
	struct ipc_hdr hdr;
	const void *body;
	const uint8_t *data;
	size_t data_len;
};

/* Of a whole message with so many bytes behind its header, zeros and all. */
static inline size_t ipc_wire_size(uint32_t len)
{
	return sizeof(struct ipc_hdr) + ((len + (size_t)7) & ~(size_t)7);
}

/* The name of a type as in the list ("PACKET"); "?" for a number not in it. */
const char *ipc_type_name(uint16_t type);

/*
 * The receiving end: bytes as read(2) gives them in, whole and checked messages out.
 *
 *	while ((room = ipc_reader_room(r, &n)), (got = read(fd, room, n)) > 0) {
 *		ipc_reader_fed(r, got);
 *		while ((e = ipc_reader_next(r, &msg)) == 1)
 *			...
 *	}
 */
struct ipc_reader;

/* A reader of messages that travel in `dir`. Free with ipc_reader_free(). TD_ERR_NOMEM. */
int ipc_reader_new(struct ipc_reader **ret, enum ipc_dir dir);
void ipc_reader_free(struct ipc_reader *r); /* NULL is fine; wipes what it held (keys) */
/* Where to read to, and how many bytes fit (never 0 after ipc_reader_next() gave 0). */
uint8_t *ipc_reader_room(struct ipc_reader *r, size_t *ret_len);
void ipc_reader_fed(struct ipc_reader *r, size_t len);
/* 1 and a message; 0: needs more bytes; TD_ERR_MALFORMED: unknown type, wrong direction, wrong
 * size: the peer is broken, the reader stays so. */
int ipc_reader_next(struct ipc_reader *r, struct ipc_msg *ret);

/*
 * The sending end: messages in, bytes for write(2) out. Not thread safe.
 */
struct ipc_queue {
	uint8_t *buf;
	size_t head, len, cap; /* buf[head .. head+len) waits to be written */
	size_t torn;           /* bytes at head that belong to a message partly written */
};

void ipc_queue_init(struct ipc_queue *q);
void ipc_queue_free(struct ipc_queue *q); /* wipes */
/* Appends a message. Any of body and data may be NULL with length 0; body_len is sizeof the type's
 * struct. TD_ERR_NOMEM and nothing appended, else 0. */
int ipc_queue_put(struct ipc_queue *q, enum ipc_type type, uint64_t conn, const void *body,
	size_t body_len, const void *data, size_t data_len);
/* As ipc_queue_put(), and returns where data_len bytes of data are to be written by the caller
 * before the next call on q (8-byte aligned at its message's start while writes were whole, as on
 * a blocking fd); NULL when out of memory. */
uint8_t *ipc_queue_put_room(struct ipc_queue *q, enum ipc_type type, uint64_t conn,
	const void *body, size_t body_len, size_t data_len);
/* Writes what fd takes. 0: nothing is left; 1: fd would block, more is left; TD_ERR_PEER_GONE
 * (EPIPE); TD_ERR_SYS. On a blocking fd: everything or an error. */
int ipc_queue_write(struct ipc_queue *q, int fd);
/* As that, but at most `max` bytes. */
int ipc_queue_write_some(struct ipc_queue *q, int fd, size_t max);
/* Takes whole PACKET messages out, oldest first, until at most `keep` bytes wait or no packet is
 * left; the message being written stays. Returns how many, and adds their number per connection
 * through the callback. */
size_t ipc_queue_shed(struct ipc_queue *q, size_t keep, void (*dropped)(void *user, uint64_t conn),
	void *user);

#endif
