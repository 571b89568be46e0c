/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>

#include "common/clock.h"
#include "common/err.h"
#include "tests/voiceserver/call.h"
#include "tests/voiceserver/offline.h"

enum { SERVER_PORT = 50004, CLIENT_PORT = 40000 };
/* Every capture begins at the same moment: 2026-01-01 12:00:00 UTC. */
#define START_NS (UINT64_C(1767268800) * TD_SEC_NS)

static int recorder_join(struct call *c, enum transport_mode mode)
{
	struct session *s = call_session_new(c, &c->tickets[0]);

	if (s == NULL)
		return TD_ERR_NOMEM;
	s->address.sin_family = AF_INET;
	s->address.sin_port = htons(CLIENT_PORT);
	s->speaking = s->udp_heard = true;
	s->max_dave = 1;
	call_identified(s);
	call_selected(s, mode);
	return s->described ? TD_OK : TD_ERR_NOMEM;
}

int offline_run(struct server *s, enum transport_mode mode)
{
	uint64_t next;
	size_t i;
	int r;

	s->now_ns = START_NS;
	s->udp_port = SERVER_PORT;
	s->offline = true;
	for (i = 0; i < s->n_calls; i++)
		if ((r = recorder_join(s->calls[i], mode)) != TD_OK)
			return r;
	while (!server_ended(s) && (next = server_next_ns(s)) != UINT64_MAX) {
		if (next > s->now_ns)
			s->now_ns = next;
		server_run(s);
	}
	return TD_OK;
}
