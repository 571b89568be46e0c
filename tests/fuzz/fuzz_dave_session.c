/* SPDX-License-Identifier: ISC */
/*
 * A DAVE session on hostile messages, with a real call behind it: three sessions of ours and a
 * gateway that signs. The bytes are a script of what the gateway does; good messages can have bytes
 * changed, cut or added on their way to the session under test, member 0. Whatever came before, at
 * the end a call made anew has to work.
 */
#include "tests/unit/dave_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMBERS = 3, STEPS_MAX = 24 };

/* Says it to member 0 with up to three bytes changed, and to the others as it is. */
static void say_changed(struct sim *s, uint8_t op, struct mls_span good, struct rd *script)
{
	unsigned changes = rd_u8(script);
	uint8_t *bytes = malloc(good.len + 1);
	size_t len = good.len;
	size_t i;

	SIM_MUST(bytes != NULL);
	memcpy(bytes, good.p, good.len);
	for (i = 0; i < (changes & 3) && len > 0; i++) {
		size_t at = rd_u16(script) % len;

		bytes[at] ^= rd_u8(script);
	}
	if ((changes & 4) != 0)
		len = rd_u16(script) % (len + 1);
	if ((changes & 8) != 0 && len == good.len)
		bytes[len++] = rd_u8(script);
	sim_say(s, 0, op, bytes, len);
	if ((changes & 16) != 0)
		sim_say(s, 0, op, bytes, len);
	for (i = 1; i < s->n; i++)
		if (s->c[i].connected && (changes & 32) == 0)
			sim_say(s, i, op, good.p, good.len);
	free(bytes);
}

static void propose(struct sim *s, struct rd *script)
{
	struct sim_list l = sim_list(s);
	unsigned n = rd_u8(script) % 4;
	struct sim_bytes copy = { NULL, 0 };
	struct mls_span payload;

	while (n-- > 0) {
		uint8_t what = rd_u8(script);

		if ((what & 1) != 0)
			sim_propose_add(s, &l, (what >> 1) % s->n);
		else
			sim_propose_remove(s, &l, what >> 1);
	}
	payload = sim_finish(&l);
	sim_set(&copy, payload.p, payload.len);
	say_changed(s, 27, mls_span(copy.b, copy.len), script);
	free(copy.b);
}

/* The newest commit of a member, as opcode 29 or 30. */
static void announce(struct sim *s, uint8_t op, struct rd *script)
{
	uint8_t who = rd_u8(script);
	struct sim_bytes half;

	if (s->c[who % s->n].commit.len == 0)
		return;
	half = sim_half(s, who % s->n, (uint16_t)(who >> 4), op == 30);
	say_changed(s, op, mls_span(half.b, half.len), script);
	free(half.b);
}

static void revoke(struct sim *s, struct rd *script)
{
	const struct mls_group *g = sim_group(s, 0)->group;
	uint8_t payload[2 + 33] = { 1, 33, 32 };

	if (g != NULL && mls_group_n_proposals(g) > 0)
		memcpy(payload + 3, mls_group_proposal(g, 0)->ref, 32);
	say_changed(s, 27, mls_span(payload, sizeof(payload)), script);
}

static void text(struct sim *s, struct rd *script)
{
	static const uint8_t ops[] = { 21, 22, 24, 24 };
	uint8_t what = rd_u8(script);
	char json[96];

	snprintf(json, sizeof(json), "{\"transition_id\":%u,\"protocol_version\":%u,\"epoch\":%u}",
		what >> 4, what >> 2 & 1, 1 + (what >> 3 & 1));
	say_changed(s, ops[what & 3], mls_span(json, strlen(json)), script);
}

static void other(struct sim *s, struct rd *script)
{
	uint8_t what = rd_u8(script);
	struct dave_session *d = s->c[0].d;

	switch (what % 6) {
	case 0:
		dave_session_version(d, what >> 6, s->now_ns);
		break;
	case 1:
		dave_session_user(d, s->c[(what >> 4) % s->n].user_id, (what & 8) != 0);
		break;
	case 2:
		dave_session_failing(d, s->c[(what >> 4) % s->n].user_id, s->now_ns);
		break;
	case 3:
		if ((what & 8) != 0)
			dave_session_reset(d, s->channel_id, s->now_ns);
		break;
	case 4:
		say_changed(s, 25, mls_span(s->sender, s->sender_len), script);
		break;
	case 5:
		s->now_ns += (uint64_t)(what >> 3) * TD_SEC_NS;
		break;
	}
	sim_take(&s->c[0]);
}

static void raw(struct sim *s, struct rd *script)
{
	uint8_t op = (uint8_t)(20 + rd_u8(script) % 12);
	size_t len = rd_u8(script);
	const uint8_t *bytes;

	if (len > rd_left(script))
		len = rd_left(script);
	bytes = rd_bytes(script, len);
	sim_say(s, 0, op, bytes, len);
}

static void step(struct sim *s, struct rd *script)
{
	switch (rd_u8(script) % 8) {
	case 0:
		propose(s, script);
		break;
	case 1:
	case 2:
		announce(s, 29, script);
		break;
	case 3:
		announce(s, 30, script);
		break;
	case 4:
		revoke(s, script);
		break;
	case 5:
		text(s, script);
		break;
	case 6:
		other(s, script);
		break;
	case 7:
		raw(s, script);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sim *s = sim_new(1);
	struct rd script;
	unsigned steps;
	size_t i;

	rd_init(&script, data, size);
	for (i = 0; i < MEMBERS; i++)
		sim_enter(s);
	if ((rd_u8(&script) & 1) != 0)
		sim_join_all(s);
	sim_enter(s); /* waits */
	for (steps = 0; steps < STEPS_MAX && rd_left(&script) > 0; steps++)
		step(s, &script);
	/* Identified anew, all find together. */
	for (i = 0; i < s->n; i++) {
		s->c[i].connected = false;
		dave_session_reset(s->c[i].d, s->channel_id, s->now_ns);
		sim_take(&s->c[i]);
	}
	for (i = 0; i < s->n; i++)
		sim_connect(s, i);
	sim_join_all(s);
	sim_check(s);
	sim_free(s);
	return 0;
}
