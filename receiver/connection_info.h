/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_CONNECTION_INFO_H
#define TD_RECEIVER_CONNECTION_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONNECTION_TOKEN_MAX = 512, CONNECTION_SESSION_MAX = 128, CONNECTION_HOST_MAX = 256 };

/*
 * What a bot knows about a voice connection once its main gateway has sent both dispatches
 * (voice-gateway.md section 1.3). Plain data; copy by assignment, wipe with
 * connection_info_wipe(): it holds the token.
 */
struct connection_info {
	uint64_t guild_id, channel_id, user_id;
	char session_id[CONNECTION_SESSION_MAX];
	char token[CONNECTION_TOKEN_MAX];
	char host[CONNECTION_HOST_MAX]; /* without scheme, port and brackets */
	uint16_t port;
	bool tls; /* false only for ws:// and a loopback address */
};

void connection_info_wipe(struct connection_info *info);

/*
 * Splits "host", "host:port", "wss://host[:port]", "ws://127.0.0.1:port" (also [::1], localhost)
 * into host, port (443 when absent, 80 for ws) and tls. A path other than "/" or a query is
 * refused. TD_ERR_USAGE and a one-line reason in err; ret is written on success only.
 */
int connection_endpoint_parse(struct connection_info *ret, const char *endpoint, char *err,
	size_t err_len);

#endif
