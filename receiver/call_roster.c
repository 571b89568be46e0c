/* SPDX-License-Identifier: ISC */
#include "receiver/call_state.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/ids.h"

/* Far beyond any call; what a hostile gateway may make us search. */
enum { ROSTER_MAX = 4096 };

struct participant *roster_find(struct call *c, uint64_t user_id)
{
	size_t i;

	for (i = 0; i < c->participant_count; i++) {
		if (c->participants[i].user_id == user_id)
			return &c->participants[i];
	}
	return NULL;
}

/* The participant, new ones announced; NULL for ourselves and without memory. */
struct participant *roster_join(struct call *c, uint64_t user_id)
{
	struct participant *p = roster_find(c, user_id);
	char id[TD_ID_TEXT];

	if (user_id == c->info->user_id)
		return NULL;
	if (p != NULL) {
		p->missing = false;
		return p;
	}
	if (c->participant_count == ROSTER_MAX)
		return NULL;
	if (c->participant_count == c->participant_cap) {
		size_t cap = c->participant_cap > 0 ? c->participant_cap * 2 : 8;

		if ((p = reallocarray(c->participants, cap, sizeof(*p))) == NULL)
			return NULL;
		c->participants = p;
		c->participant_cap = cap;
	}
	p = &c->participants[c->participant_count++];
	*p = (struct participant){ .user_id = user_id };
	call_emit(c, "speaker_joined", "user_id", td_id_format(id, user_id));
	return p;
}

void roster_leave(struct call *c, struct participant *p)
{
	struct lane_control *control = recorder_control(LANE_SPEAKER_LEFT, td_mono_ns());
	char id[TD_ID_TEXT];

	call_emit(c, "speaker_left", "user_id", td_id_format(id, p->user_id));
	lane_conn_speaker_gone(c->lane, c->conn, p->user_id);
	if (control != NULL)
		control->user_id = p->user_id;
	call_post(c, control);
	*p = c->participants[--c->participant_count];
}

void roster_post_speaker(struct call *c, const struct participant *p)
{
	struct lane_control *control = recorder_control(LANE_SPEAKER, td_mono_ns());

	if (control != NULL) {
		control->user_id = p->user_id;
		control->ssrc = p->ssrc;
	}
	call_post(c, control);
}

void roster_speaker(struct call *c, uint64_t user_id, uint32_t ssrc)
{
	struct participant *p = roster_join(c, user_id);

	if (p == NULL)
		return;
	p->ssrc = ssrc;
	/* The sinks first: a track begun under the SSRC must be the user's before the first frame
	 * that bears the user's name. */
	roster_post_speaker(c, p);
	lane_conn_speaker(c->lane, c->conn, user_id, ssrc);
}

void roster_roll_call(uv_timer_t *timer)
{
	struct call *c = timer->data;
	size_t i;

	for (i = c->participant_count; i-- > 0;) {
		if (c->participants[i].missing)
			roster_leave(c, &c->participants[i]);
	}
}

void roster_renew(struct call *c)
{
	size_t i;

	for (i = 0; i < c->participant_count; i++) {
		c->participants[i].ssrc = 0;
		c->participants[i].missing = true;
	}
}
