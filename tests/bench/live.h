/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_BENCH_LIVE_H
#define TD_TESTS_BENCH_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#define LIVE_MUST(cond)                                                                    \
	do {                                                                               \
		if (!(cond)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
			exit(1);                                                           \
		}                                                                          \
	} while (0)

/* ---- the other side: a voice server in a process of its own ---- */

struct live_peer_conf {
	const char *folder; /* join.json and ca.pem are put there */
	unsigned connections, speakers;
	bool tls;
};

struct live_peer {
	pid_t pid;
	int to, from; /* pipes */
};

/* The server, listening. */
void live_peer_start(struct live_peer *p, const struct live_peer_conf *conf);
/* Waits until every connection has its key and knows its speakers. */
void live_peer_wait(struct live_peer *p);
/* 50 packets a second of every speaker, evenly, for so long; returns how many. port 0: to the
 * connections; else all of them to this port of the loopback interface, sealed with live_key. */
uint64_t live_peer_talk(struct live_peer *p, double seconds, uint16_t port);
void live_peer_end(struct live_peer *p);

extern const uint8_t live_key[32];

/* ---- the floor: one process, one socket, and the libraries ---- */

enum live_floor_kind { LIVE_FLOOR_WAV, LIVE_FLOOR_RECEIVE };

struct live_floor {
	pid_t pid;
	int from;
	uint16_t port;
};

void live_floor_start(struct live_floor *f, enum live_floor_kind kind, const char *folder);
/* Ends it. Returns the packets it received. */
uint64_t live_floor_end(struct live_floor *f);

#endif
