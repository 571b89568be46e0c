/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_EDITOR_H
#define TD_SINKS_EDITOR_H

#include <stddef.h>
#include <stdint.h>

#include "sinks/sink.h"

/*
 * What opens a finished session in an editor, beside its files:
 *
 *   labels.txt   Audacity, Import > Labels: who spoke when, marks, warnings; in session time
 *   session.lof  Audacity, Open: every file at its place
 *   session.rpp  REAPER: a track for every track, markers for marks; where silence was cut out, the
 *                items are cut as well, so that everything is in its place
 *
 * A speaker who was recorded in several formats is there once, in the first one that can be opened.
 * One thread.
 */
enum {
	EDITOR_FILES = 3,
	/* Beyond these many a file is not made; no editor would open it. Items: pieces of sound,
	 * and files. */
	EDITOR_LABELS_MAX = 500000,
	EDITOR_ITEMS_MAX = 500000,
};
extern const char *const editor_file_names[EDITOR_FILES];

struct editor;

/* TD_ERR_NOMEM. Running out of memory later is an error of editor_write(). */
int editor_new(struct editor **ret);
void editor_free(struct editor *e); /* NULL is fine */

/* The tracks that are added next are of the next sink. */
void editor_sink(struct editor *e);
/* Adds a track; a td_file_fn. One without file is none. */
void editor_file(void *editor, const struct td_file *file);
/* Adds an event of the session; a manifest_event_fn. */
void editor_event(void *editor, uint64_t at, const char *type, const char *text);

/* Writes editor_file_names[i]; nothing, when there was no track. TD_ERR_IO with errno,
 * TD_ERR_NOMEM, TD_ERR_LIMIT. */
int editor_write(struct editor *e, int dir_fd, size_t i);

#endif
