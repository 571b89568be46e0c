/* SPDX-License-Identifier: ISC */
#include "receiver/events.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/json_text.h"
#include "common/log.h"
#include "receiver/outbox.h"

struct events {
	struct outbox *box;
};

int events_new(struct events **ret)
{
	struct events *e = calloc(1, sizeof(*e));
	int r;

	if (e == NULL)
		return TD_ERR_NOMEM;
	if ((r = outbox_new(&e->box, STDOUT_FILENO)) != TD_OK) {
		free(e);
		return r;
	}
	*ret = e;
	return TD_OK;
}

void events_free(struct events *e)
{
	if (e == NULL)
		return;
	if (outbox_dropped(e->box) > 0)
		log_warn("events: the reader was too slow or has gone; events were dropped");
	outbox_free(e->box);
	free(e);
}

void event_emit(struct events *e, const char *name, uint64_t guild_id, const char *fmt, ...)
{
	char format[128], id[TD_ID_TEXT], *line = NULL;
	json_t *obj = NULL, *members = NULL;
	size_t len;
	va_list ap;

	if (e == NULL)
		return;
	obj = json_pack("{ss, sf}", "event", name, "ts", (double)(td_utc_ns() / 1000) / 1e6);
	if (obj == NULL)
		goto out;
	if (guild_id != 0)
		json_object_set_new(obj, "guild_id", json_string(td_id_format(id, guild_id)));
	snprintf(format, sizeof(format), "{%s}", fmt);
	va_start(ap, fmt);
	members = json_vpack_ex(NULL, 0, format, ap);
	va_end(ap);
	if (members == NULL || json_object_update(obj, members) != 0)
		log_error("event %s: a text in it is not UTF-8", name);
	line = json_text(obj, JSON_COMPACT);
	if (line != NULL) {
		/* The newline takes the place of the NUL: one line, one piece. */
		len = strlen(line);
		line[len] = '\n';
		outbox_put(e->box, line, len + 1);
	}
out:
	if (line == NULL)
		log_error("event %s: out of memory", name);
	free(line);
	json_decref(members);
	json_decref(obj);
}
