/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_PLUGIN_H
#define TD_SINKS_PLUGIN_H

#include <stddef.h>

#include "sinks/registry.h"

/*
 * Plugins as shared objects. A sink or a format that is not known by name is looked for as
 * <name>.so in the plugin folders: those of TAPEDECK_PLUGIN_PATH (colons between them) when that is
 * set, or else plugins and ../lib/tapedeck/plugins from where this program is. What is built in
 * always wins.
 *
 * sink_plugin_load() of sinks/host.h loads a file and adds what it brings (registry_add()). A file
 * is loaded once and never unloaded. It runs inside this process from then on, so one that others
 * could have written is refused: writable for everybody, or its folder without the sticky bit;
 * owned by somebody who is neither root nor us, or its folder.
 *
 * At start, one thread. Results: 0, or negative with one line in err that names file and reason.
 */

/* The sink of this name: a known one, one from a plugin folder or, when there is a '/' in it, the
 * one that this file brings. TD_ERR_USAGE: there is none. */
int plugin_sink(const struct registry_sink **ret, const char *name, char *err, size_t err_len);

/* The writer of a format, known or from a plugin folder. 1 (PLUGIN_NOWHERE): there is none; err
 * says where it was looked for, and is empty when it was not. */
enum { PLUGIN_NOWHERE = 1 };
int plugin_writer(const struct td_writer_ops **ret, const char *format, char *err, size_t err_len);

/* Calls folder for every plugin folder, there or not, in their order; until it returns other than
 * 0, which is returned. */
int plugin_folders(int (*folder)(void *user, const char *path), void *user);

/* Loads everything in the plugin folders, by name; refused is called for what could not be. */
void plugin_load_all(void (*refused)(void *user, const char *reason), void *user);

/* For tests: forgets what was loaded, as registry_reset(). */
void plugin_reset(void);

#endif
