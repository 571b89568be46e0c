/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_FOLDER_H
#define TD_SINKS_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sinks/manifest.h"

/* The out folder and the folders of sessions in it (sink_out_prepare() of sinks/host.h is here
 * too). Modes are 0700 whatever the umask. */
enum { FOLDER_NAME_MAX = 200 };

/* "<guild>-<channel>-<UTC as 20261120T070000Z>". */
void folder_session_name(char ret[static FOLDER_NAME_MAX], uint64_t guild_id, uint64_t channel_id,
	uint64_t utc_ns);

/* Creates a new folder in out_dir: `name`, or "<name>-2", ... when it exists. *ret_fd is open on
 * it, ret_name what it is called. TD_ERR_USAGE: name is not a plain file name; TD_ERR_IO: see
 * errno. */
int folder_create(int *ret_fd, char ret_name[static FOLDER_NAME_MAX], const char *out_dir,
	const char *name);

/* Which recording goes on in the folder `made` that was created for `name`: the last one before it
 * of the same name with the ids of conf, and an earlier start. "": none. */
void folder_continues(char ret[static FOLDER_NAME_MAX], const char *out_dir, const char *name,
	const char *made, const struct manifest_conf *conf);

/* Whether min_free bytes are left where dir_fd is; TD_ERR_LIMIT, and one line that says what is.
 * Where that cannot be found out, they are. */
int folder_has_room(int dir_fd, uint64_t min_free, char *err, size_t err_len);

/* Whether somebody removed the folder that dir_fd is open on. */
bool folder_is_gone(int dir_fd);
/* Tells it from others that are there at the same time. */
uint64_t folder_id(int dir_fd);

#endif
