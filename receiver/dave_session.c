/* SPDX-License-Identifier: ISC */
#include "receiver/dave_session.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "receiver/json_read.h"

enum dave_opcode {
	PREPARE_TRANSITION = 21,
	EXECUTE_TRANSITION = 22,
	TRANSITION_READY = 23,
	PREPARE_EPOCH = 24,
};

struct dave_session {
	char ready[48]; /* JSON of opcode 23 */
	int ready_len;  /* 0: nothing to send */
	const char *warning;
	bool warned; /* once a session: it concerns every frame of it */
};

int dave_session_new(struct dave_session **ret)
{
	struct dave_session *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return TD_ERR_NOMEM;
	*ret = d;
	return TD_OK;
}

void dave_session_free(struct dave_session *d)
{
	free(d);
}

void dave_session_reset(struct dave_session *d)
{
	*d = (struct dave_session){ .ready_len = 0 };
}

static void warn(struct dave_session *d)
{
	if (!d->warned)
		d->warning = "the call is end-to-end encrypted: what is said cannot be heard";
	d->warned = true;
}

void dave_session_version(struct dave_session *d, unsigned version)
{
	if (version > DAVE_MAX_VERSION)
		warn(d);
}

/* Transition id 0 is carried out without a word; every other one waits for all to be ready. */
static int prepare_transition(struct dave_session *d, const json_t *root)
{
	int64_t id, version;

	if (json_read_int(&id, json_object_get(root, "transition_id"), 0, UINT16_MAX) != TD_OK ||
		json_read_int(&version, json_object_get(root, "protocol_version"), 0, UINT16_MAX) !=
			TD_OK)
		return TD_ERR_MALFORMED;
	if (version > DAVE_MAX_VERSION)
		warn(d);
	if (id != 0)
		d->ready_len =
			snprintf(d->ready, sizeof(d->ready), "{\"transition_id\":%d}", (int)id);
	return TD_OK;
}

static int message_json(struct dave_session *d, uint8_t opcode, const uint8_t *data, size_t len)
{
	json_t *root = json_loadb((const char *)data, len, 0, NULL);
	int r = TD_OK;

	if (!json_is_object(root))
		r = TD_ERR_MALFORMED;
	else if (opcode == PREPARE_TRANSITION)
		r = prepare_transition(d, root);
	else if (opcode == PREPARE_EPOCH)
		warn(d); /* there are no epochs in version 0 */
	json_decref(root);
	return r;
}

int dave_session_message(struct dave_session *d, uint8_t opcode, const uint8_t *data, size_t len)
{
	switch (opcode) {
	case PREPARE_TRANSITION:
	case EXECUTE_TRANSITION:
	case PREPARE_EPOCH:
		return message_json(d, opcode, data, len);
	}
	return TD_ERR_UNSUPPORTED; /* MLS messages: no group, nothing to do with them */
}

int dave_session_next(struct dave_session *d, struct dave_action *ret)
{
	if (d->warning != NULL) {
		*ret = (struct dave_action){ .type = DAVE_WARNING, .text = d->warning };
		d->warning = NULL;
		return 1;
	}
	if (d->ready_len == 0)
		return 0;
	*ret = (struct dave_action){ .type = DAVE_SEND,
		.opcode = TRANSITION_READY,
		.data = (const uint8_t *)d->ready,
		.len = (size_t)d->ready_len };
	d->ready_len = 0;
	return 1;
}
