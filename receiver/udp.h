/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_UDP_H
#define TD_RECEIVER_UDP_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/transport.h"

/*
 * The UDP socket of one voice connection (voice-gateway.md sections 8 and 13): connected, so that
 * datagrams of anybody else never arrive, nor take its room, and are counted; IP discovery;
 * reception in batches with the kernel's arrival times; keepalives and the few packets of silence
 * that open the way back. Network thread.
 */
struct udp;

/*
 * Reads the sockets of all connections. What comes alone is read at once; when more comes within
 * `latency_ms`, everything is left in the sockets for so long and then read together: what costs is
 * to wake up, not the packets. Where very much comes it is read sooner, before a socket is full.
 * Datagrams have the kernel's arrival times either way.
 */
struct udp_reader;

/* TD_ERR_NOMEM, TD_ERR_SYS with errno. */
int udp_reader_new(struct udp_reader **ret, uv_loop_t *loop, unsigned latency_ms);
/* Reads what has arrived up to now. Nothing from a callback of one that is being read. */
void udp_reader_catch_up(struct udp_reader *r);
/* After the last of its sockets. The loop has to run once more. NULL is fine. */
void udp_reader_free(struct udp_reader *r);

struct udp_conf {
	uv_loop_t *loop;
	struct udp_reader *reader;
	const char *host; /* IPv4 address as text */
	uint16_t port;
	uint32_t ssrc; /* our own */
	/* IP discovery succeeded: our address as the server sees it. */
	void (*discovered)(void *user, const char *address, uint16_t port);
	/* Five requests went unanswered. udp_free() may be called from here.
	 */
	void (*failed)(void *user, const char *why);
	/* A datagram that is no discovery answer; borrowed for the call. Arrival times never fall.
	 */
	void (*datagram)(void *user, uint64_t arrival_ns, const uint8_t *data, size_t len);
	/* The kernel's receive buffer was full: n more datagrams are lost. */
	void (*kernel_dropped)(void *user, uint32_t n);
	/* n more datagrams came from another address or port than the server's. Told every few
	 * seconds, and by udp_free(). */
	void (*foreign)(void *user, uint32_t n);
	void *user;
};

/* Opens the socket and begins IP discovery. TD_ERR_SYS with errno, TD_ERR_MALFORMED (host). */
int udp_new(struct udp **ret, const struct udp_conf *conf);
void udp_free(struct udp *u); /* NULL is fine */

/* From here on keepalives are sent, and first five packets of silence. After the first udp_key().
 */
void udp_media(struct udp *u);

/* The connection's key, for what is sent. TD_ERR_NOMEM, TD_ERR_UNSUPPORTED. */
int udp_key(struct udp *u, enum transport_mode mode, const uint8_t key[static TRANSPORT_KEY_LEN]);

#endif
