/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_EVENTS_H
#define TD_TESTS_VOICESERVER_EVENTS_H

#include "tests/voiceserver/call.h"

/* The faults of a script on the control side: they befall the recorder's session. */
void event_run(struct call *c, const struct scenario_event *e);
/* What a bot would be told afterwards: a new ticket, and its record as an event. */
void event_new_info(struct call *c, const struct scenario_event *e);
/* Opcodes and fields nobody has heard of. */
void event_noise(struct session *s);
/* The end of the script: the clients are sent away or left alone, as the scenario says. */
void event_end(struct call *c);

#endif
