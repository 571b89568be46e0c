/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_LIVE_H
#define TD_TESTS_VOICESERVER_LIVE_H

#include "tests/voiceserver/certs.h"
#include "tests/voiceserver/server.h"

/*
 * The server on loopback sockets, in real time: until the script has ended, SIGTERM or SIGINT, or
 * max_seconds. `ready` is called once everything listens and the server knows its ports.
 * certs NULL: without TLS. TD_ERR_SYS, or what ready gave.
 */
struct live_conf {
	const struct certs *certs;
	double max_seconds;
	int (*ready)(void *user);
	void *user;
};
int live_run(struct server *s, const struct live_conf *conf);

/* The io.datagram of a live server; its user is a struct live_udp. */
struct live_udp {
	int fd;
};
void live_datagram(void *user, const struct sockaddr_in *to, const uint8_t *data, size_t len);

#endif
