/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_KEYS_FILE_H
#define TD_RECEIVER_KEYS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/transport.h"
#include "receiver/dave_session.h"
#include "receiver/link_layer.h"

/* The keys of a capture: what the gateway told the client that made it. */
struct keys_speaker {
	uint64_t user_id;
	uint64_t from_ns; /* after the capture's first packet */
	uint32_t ssrc;
	bool left; /* has left: without SSRC */
};

/* Keys of end-to-end encryption from some time on, as a DAVE session would have brought them. */
struct keys_epoch {
	uint64_t from_ns, epoch;
	unsigned protocol_version;   /* 0: from here on nothing is encrypted */
	struct dave_sender *senders; /* locked memory */
	size_t sender_count;
};

struct keys_file {
	uint64_t guild_id, channel_id, user_id; /* user_id: the client itself */
	enum transport_mode mode;
	uint8_t secret_key[TRANSPORT_KEY_LEN];
	bool has_server;
	struct link_address server;
	struct keys_speaker *speakers; /* by from_ns, as given where equal */
	size_t speaker_count;
	struct keys_epoch *dave; /* by from_ns, as given where equal */
	size_t dave_count;
};

/*
 * Parses the text of a keys file (schema 1; unknown members are ignored). TD_ERR_USAGE and a
 * one-line reason in err that names the member and never quotes the key; TD_ERR_NOMEM. Free with
 * keys_file_free(), which wipes.
 */
int keys_file_parse(struct keys_file **ret, const char *text, size_t len, char *err,
	size_t err_len);
/* As above from a file; TD_ERR_IO with a reason when it cannot be read. */
int keys_file_read(struct keys_file **ret, const char *path, char *err, size_t err_len);
void keys_file_free(struct keys_file *k); /* NULL is fine */

#endif
