/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_CONTROL_H
#define TD_RECEIVER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "receiver/connection_info.h"

/*
 * The lines a bot writes to us: connection info, commands, and the main gateway's own dispatches.
 * Pure parsing, one line in, one struct out; docs/events.md is the user's description.
 */
enum control_type {
	CONTROL_INFO,   /* a whole record: info */
	CONTROL_EXPECT, /* command join: guild_id, user_id (ours), channel_id or 0; the dispatches
	                   of this guild will bring the rest */
	CONTROL_VOICE_STATE,  /* VOICE_STATE_UPDATE: guild_id, user_id, channel_id (0: left),
	                         session_id */
	CONTROL_VOICE_SERVER, /* VOICE_SERVER_UPDATE: guild_id, token, host/port/tls; gone: endpoint
	                         null */
	CONTROL_COMMAND,      /* command, guild_id */
	CONTROL_IGNORED,      /* a dispatch that is none of ours, or an empty line */
};
enum control_command {
	COMMAND_PAUSE,
	COMMAND_RESUME,
	COMMAND_STOP,
	COMMAND_LISTEN,
	COMMAND_LEAVE,
	COMMAND_MARK, /* text */
};

enum { CONTROL_MARK_MAX = 159 }; /* bytes of a mark's text */

struct control {
	enum control_type type;
	enum control_command command;
	struct connection_info info; /* the members its type has; the others are zero */
	char text[CONTROL_MARK_MAX + 1];
	bool gone;
};

enum { CONTROL_LINE_MAX = 64 * 1024 };

/*
 * Parses one line (without its newline). Ids are decimal strings; numbers are taken too where JSON
 * holds them exactly. Unknown members are ignored. TD_ERR_USAGE and a one-line reason in err that
 * names the member ("endpoint: missing") and never quotes token or line. *ret_guild, when the line
 * names a guild, is set even on an error (0 otherwise), for the error event. Wipe ret->info with
 * connection_info_wipe() after use; the caller wipes the line.
 */
int control_parse(struct control *ret, uint64_t *ret_guild, const char *line, size_t len, char *err,
	size_t err_len);

/* "pause", "resume", ... ; static. */
const char *control_command_name(enum control_command c);

#endif
