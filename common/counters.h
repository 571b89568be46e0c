/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_COUNTERS_H
#define TD_COMMON_COUNTERS_H

#include <stdint.h>

/*
 * Everything that is counted, in one list: what came in, what became of it, and a reason for every
 * single thing that was dropped. The text is the name in session.json and in docs.
 *
 * A packet of a stream is counted `received` once its transport tag verified, then exactly one of:
 * decoded (it became sound), padding, duplicate, late, undecodable, restarted, held_dropped,
 * overload_undecoded, dave_no_key, dave_auth_failed, dave_replayed, dave_plain_refused.
 * `lost` are sequence numbers that never came; each is also one of fec, concealed, or skipped.
 */
#define TD_COUNTERS(X)                                                                             \
	X(RECEIVED, "received")   /* RTP packets, payload type Opus, that opened */                \
	X(DECODED, "decoded")     /* packets that became sound, silence frames included */         \
	X(SILENCE, "silence")     /* of these: Opus silence frames */                              \
	X(LOST, "lost")           /* sequence numbers that did not come in time */                 \
	X(FEC, "recovered")       /* lost, recovered from in-band FEC */                           \
	X(CONCEALED, "concealed") /* lost, concealed by the decoder */                             \
	X(SKIPPED, "skipped") /* lost, left silent: the gap was too long, or no sound was due */   \
	X(REORDERED, "reordered")     /* came after one with a higher sequence number, in time */  \
	X(PADDING, "padding")         /* nothing but padding inside */                             \
	X(DUPLICATE, "duplicate")     /* same SSRC and sequence number as one before */            \
	X(LATE, "late")               /* its place had been given up */                            \
	X(UNDECODABLE, "undecodable") /* Opus refused it */                                        \
	X(RESTARTED, "restarted")     /* one stray packet far out of sequence */                   \
	X(UNDECODED, "overload_undecoded") /* passed on as a packet, and not decoded: too much */  \
	X(HELD, "held") /* waited for its speaker to be named (and was used later) */              \
	X(HELD_DROPPED, "held_dropped") /* waited, and fell out of the full hold */                \
	X(DAVE_OPENED, "dave_opened")   /* end-to-end encrypted frames that opened */              \
	X(DAVE_PLAIN, "dave_plain")     /* taken unencrypted in a call that is or was encrypted */ \
	X(DAVE_NO_KEY, "dave_no_key") /* dropped: no key of the sender within the time to wait */  \
	X(DAVE_AUTH, "dave_auth_failed") /* dropped: no live key of the sender fits the tag */     \
	X(DAVE_REPLAY, "dave_replayed")  /* dropped: nonce used before, or out of bounds */        \
	X(DAVE_REFUSED, "dave_plain_refused") /* dropped: not encrypted where it has to be */      \
	X(AUTH, "auth_failed")                /* transport tag did not verify */                   \
	X(NO_KEY, "no_key")                   /* no transport key yet */                           \
	X(SHORT, "short")                     /* shorter than what it claims to be */              \
	X(BAD_VERSION, "bad_version")         /* not RTP version 2 */                              \
	X(BAD_PADDING, "bad_padding")         /* padding or extension longer than the packet */    \
	X(OTHER_PAYLOAD, "other_payload")     /* payload type is not Opus: video, RTX, unknown */  \
	X(OWN, "own")                         /* our own SSRC */                                   \
	X(NOT_VOICE, "not_voice") /* keepalive echoes, discovery answers, unrelated datagrams */   \
	X(STREAM_LIMIT, "stream_limit")     /* too many SSRCs at once */                           \
	X(RTCP, "rtcp")                     /* RTCP compounds that opened and were well formed */  \
	X(RTCP_BAD, "rtcp_bad")             /* RTCP that opened and was not */                     \
	X(KERNEL_DROPPED, "kernel_dropped") /* lost in the socket's receive buffer */              \
	X(OVERLOAD, "overload_dropped") /* waited for too long, or the lane's queue was full */    \
	X(PAUSED, "paused")             /* arrived while the recording was paused or stopped */    \
	X(OVERLAP, "overlap_dropped")   /* frames of an older SSRC of a user beside a newer one */ \
	X(TIME_JUMPS, "time_jumps") /* RTP time disagreed with the clock: stream placed anew */    \
	X(FOREIGN, "foreign")       /* datagrams from another address than the server's */

#define X(name, text) COUNTER_##name,
enum td_counter { TD_COUNTERS(X) COUNTER_COUNT };
#undef X

/* The text of a counter in the list above; static. */
const char *td_counter_name(enum td_counter c);

#endif
