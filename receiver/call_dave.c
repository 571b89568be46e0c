/* SPDX-License-Identifier: ISC */
#include "receiver/call_state.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/log.h"

static void dave_code(struct call *c, const struct dave_action *a)
{
	struct lane_control *control = recorder_control(LANE_CODE, td_mono_ns());
	json_t *members = json_array();
	char id[TD_ID_TEXT];
	size_t i;

	for (i = 0; i < a->member_count; i++)
		json_array_append_new(members, json_string(td_id_format(id, a->members[i])));
	event_emit(c->conf.events, "privacy_code", c->info->guild_id, "sI, ss, sO", "epoch",
		(json_int_t)a->epoch, "code", a->text, "members", members);
	json_decref(members);
	if (control != NULL) {
		control->epoch = a->epoch;
		snprintf(control->text, sizeof(control->text), "%s", a->text);
		control->members = calloc(a->member_count, sizeof(*control->members));
		if (control->members != NULL) {
			memcpy(control->members, a->members,
				a->member_count * sizeof(*control->members));
			control->member_count = a->member_count;
		}
	}
	call_post(c, control);
}

static void dave_send(struct call *c, const struct dave_action *a)
{
	int r = c->vgw != NULL ? vgw_dave_send(c->vgw, a->opcode, a->data, a->len) : TD_ERR_STATE;

	if (r == TD_ERR_STATE)
		log_debug("DAVE: opcode %u not said: there is no connection", a->opcode);
	else if (r != TD_OK)
		log_warn("DAVE: opcode %u not said: %s", a->opcode, td_strerror(r));
}

/* Carries out what the DAVE session asks for, as call_pump() does for the gateway. */
void call_dave_pump(struct call *c)
{
	struct dave_action a;

	while (dave_next(c->dave, &a) == 1) {
		switch (a.type) {
		case DAVE_SEND:
			dave_send(c, &a);
			break;
		case DAVE_EPOCH:
			lane_conn_dave_epoch(c->lane, c->conn, td_mono_ns(), a.epoch, a.senders,
				a.sender_count);
			break;
		case DAVE_PASSTHROUGH:
			lane_conn_dave_passthrough(c->lane, c->conn, a.until_ns);
			break;
		case DAVE_CODE:
			dave_code(c, &a);
			break;
		case DAVE_WARNING:
			log_warn("%s", a.text);
			call_emit(c, "warning", "message", a.text);
			break;
		}
	}
}

void call_dave_action(struct call *c, const struct vgw_action *a)
{
	int r = TD_OK;

	if (a->type == VGW_DAVE_VERSION)
		dave_session_version(c->dave, a->dave_version, td_mono_ns());
	else
		r = dave_session_message(c->dave, a->opcode, a->data, a->len, td_mono_ns());
	if (r != TD_OK)
		log_debug("DAVE: opcode %u: %s", a->opcode, td_strerror(r));
	call_dave_pump(c);
}

void call_failing(struct call *c, uint64_t user_id)
{
	dave_session_failing(c->dave, user_id, td_mono_ns());
	call_dave_pump(c);
	/* What DAVE had to say is an action of the gateway's engine now. */
	if (c->vgw != NULL && !c->ended)
		call_pump(c);
}
