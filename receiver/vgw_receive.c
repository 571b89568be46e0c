/* SPDX-License-Identifier: ISC */
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/json_text.h"
#include "receiver/json_read.h"
#include "receiver/vgw_engine.h"

/* seq is stored as it was last seen, never as a maximum: it wraps (section 5). */
#define SEQ_MAX ((INT64_C(1) << 53) - 1)

struct message {
	uint8_t op;
	json_t *d; /* NULL when there is none */
	uint64_t now_ns;
};

static void bad(struct vgw *g, const char *what)
{
	vgw_warn(g, "malformed message from the voice server ignored: %s", what);
}

/* ---- connection ---- */

static void identify(struct vgw *g)
{
	struct wr w;

	vgw_queue_push(&g->queue, VGW_SESSION_NEW);
	w = vgw_writer(g, VGW_TEXT_MAX, true);
	vgw_write_identify(&w, g->info, g->conf.max_dave_version);
	vgw_send_text(g, &w, false);
}

static void resume(struct vgw *g)
{
	struct wr w = vgw_writer(g, VGW_TEXT_MAX, true);

	vgw_write_resume(&w, g->info, g->seq);
	vgw_send_text(g, &w, false);
}

static void on_hello(struct vgw *g, const struct message *m)
{
	struct vgw_hello hello;

	vgw_read_hello(&hello, m->d);
	if (!hello.sensible)
		vgw_warn(g, "the voice server's heartbeat interval makes no sense");
	if (!hello.version_8)
		vgw_warn(g, "the voice server speaks another version than 8");
	g->interval_ns = hello.interval_ns;
	g->beat_at = vgw_after(m->now_ns, (uint64_t)((double)hello.interval_ns * vgw_random(g)));
	g->unanswered = 0;
	if (g->state != VGW_S_HELLO)
		return;
	if (g->session)
		resume(g);
	else
		identify(g);
	vgw_enter(g, g->session ? VGW_S_RESUMING : VGW_S_IDENTIFYING, m->now_ns,
		VGW_PATIENCE_S * TD_SEC_NS);
}

static void on_heartbeat(struct vgw *g, const struct message *m)
{
	vgw_beat(g, m->now_ns);
}

static void on_ack(struct vgw *g, const struct message *m)
{
	(void)m;
	g->unanswered = 0;
}

static void on_ready(struct vgw *g, const struct message *m)
{
	struct vgw_action *a;
	struct vgw_ready ready;
	char *ip;

	if (vgw_read_ready(&ready, m->d) != TD_OK) {
		bad(g, "Ready");
		return;
	}
	if (ready.modes[TRANSPORT_AES256_GCM]) {
		g->mode = TRANSPORT_AES256_GCM;
	} else if (ready.modes[TRANSPORT_XCHACHA20]) {
		g->mode = TRANSPORT_XCHACHA20;
	} else {
		vgw_end(g, VGW_REFUSED, "the voice server offers no encryption mode we know",
			m->now_ns);
		return;
	}
	if ((ip = vgw_queue_alloc(&g->queue, sizeof(ready.ip), false)) == NULL) {
		g->broken = true;
		return;
	}
	memcpy(ip, ready.ip, sizeof(ready.ip));
	g->ssrc = ready.ssrc;
	g->udp_open = true;
	a = vgw_queue_push(&g->queue, VGW_UDP_OPEN);
	a->host = ip;
	a->port = ready.port;
	a->ssrc = ready.ssrc;
	vgw_enter(g, VGW_S_DISCOVERING, m->now_ns, VGW_DISCOVERY_S * TD_SEC_NS);
}

static bool say_key(struct vgw *g, const struct vgw_description *desc)
{
	uint8_t *key = vgw_queue_alloc(&g->queue, TRANSPORT_KEY_LEN, true);
	struct vgw_action *a;

	if (key == NULL) {
		g->broken = true;
		return false;
	}
	memcpy(key, desc->key, TRANSPORT_KEY_LEN);
	a = vgw_queue_push(&g->queue, VGW_DAVE_VERSION);
	a->dave_version = desc->dave_version;
	a = vgw_queue_push(&g->queue, VGW_KEY);
	a->mode = desc->mode;
	a->key = key;
	a->len = TRANSPORT_KEY_LEN;
	a->ssrc = g->ssrc;
	return true;
}

static void say_speaking(struct vgw *g)
{
	struct wr w = vgw_writer(g, 96, false);

	vgw_write_speaking(&w, g->ssrc);
	vgw_send_text(g, &w, false);
}

static void go_live(struct vgw *g, uint64_t now_ns)
{
	vgw_queue_push(&g->queue, VGW_READY);
	/* Speaking first: media of somebody who never said it is refused (section 13). */
	say_speaking(g);
	vgw_queue_push(&g->queue, VGW_MEDIA_READY)->ssrc = g->ssrc;
	vgw_enter(g, VGW_S_LIVE, now_ns, VGW_NEVER);
	g->session = true;
	g->live_since = now_ns;
	g->attempt = 0;
	g->refusals = 0;
	g->infos = 0;
}

/* Comes again whenever the server changes its mind; the newest key counts. */
static void on_description(struct vgw *g, const struct message *m)
{
	struct vgw_description desc;

	if (vgw_read_description(&desc, m->d) != TD_OK) {
		bad(g, "Session Description");
		return;
	}
	if (say_key(g, &desc) && g->state == VGW_S_SELECTING)
		go_live(g, m->now_ns);
	sodium_memzero(&desc, sizeof(desc));
}

static void on_resumed(struct vgw *g, const struct message *m)
{
	vgw_enter(g, VGW_S_LIVE, m->now_ns, VGW_NEVER);
	g->live_since = m->now_ns;
	g->resume_failures = 0;
	vgw_queue_push(&g->queue, VGW_RESUMED);
	/* What we said last may have been lost with the connection; the server says its own again.
	 */
	say_speaking(g);
	vgw_say_held(g);
}

/* ---- who is there ---- */

static void say_speaker(struct vgw *g, const struct vgw_speaker *s)
{
	struct vgw_action *a;

	if (s->ssrc == 0 || s->ssrc == g->ssrc || s->user_id == g->info->user_id)
		return;
	a = vgw_queue_push(&g->queue, VGW_SPEAKER);
	a->ssrc = s->ssrc;
	a->user_id = s->user_id;
}

static void on_speaking(struct vgw *g, const struct message *m)
{
	struct vgw_speaker s;

	if (vgw_read_speaking(&s, m->d) == TD_OK)
		say_speaker(g, &s);
	else
		bad(g, "Speaking");
}

static void on_video(struct vgw *g, const struct message *m)
{
	struct vgw_speaker s;

	/* Undocumented and of use only when it names an audio SSRC: no word about its other forms.
	 */
	if (vgw_read_video(&s, m->d) == TD_OK)
		say_speaker(g, &s);
}

static void say_user(struct vgw *g, enum vgw_action_type type, const json_t *id)
{
	uint64_t user_id;

	if (json_read_id(&user_id, id) != TD_OK)
		bad(g, "user id");
	else if (user_id != g->info->user_id)
		vgw_queue_push(&g->queue, type)->user_id = user_id;
}

static void on_clients_connect(struct vgw *g, const struct message *m)
{
	const json_t *ids = json_object_get(m->d, "user_ids");
	size_t i;

	if (!json_is_array(ids))
		bad(g, "Clients Connect");
	for (i = 0; i < json_array_size(ids); i++)
		say_user(g, VGW_USER_JOINED, json_array_get(ids, i));
}

static void on_client_disconnect(struct vgw *g, const struct message *m)
{
	say_user(g, VGW_USER_LEFT, json_object_get(m->d, "user_id"));
}

/* ---- end-to-end encryption ---- */

static void say_dave(struct vgw *g, uint8_t op, const uint8_t *data, size_t len)
{
	uint8_t *copy = vgw_queue_alloc(&g->queue, len, false);
	struct vgw_action *a;

	if (copy == NULL) {
		g->broken = true;
		return;
	}
	if (len > 0)
		memcpy(copy, data, len);
	a = vgw_queue_push(&g->queue, VGW_DAVE);
	a->opcode = op;
	a->data = copy;
	a->len = len;
}

static void on_dave(struct vgw *g, const struct message *m)
{
	char *text;

	if (!json_is_object(m->d)) {
		bad(g, "end-to-end encryption");
		return;
	}
	if ((text = json_text(m->d, JSON_COMPACT)) == NULL) {
		g->broken = true;
		return;
	}
	say_dave(g, m->op, (const uint8_t *)text, strlen(text));
	free(text);
}

/* ---- dispatch ---- */

struct op_row {
	uint8_t op;
	unsigned states; /* where it is expected; elsewhere it is ignored with a warning */
	void (*handle)(struct vgw *g, const struct message *m);
};

#define ANY VGW_IN_IDENTIFIED
static const struct op_row ops[] = {
	{ VGW_OP_HELLO, ANY | VGW_IN(VGW_S_HELLO), on_hello },
	{ VGW_OP_READY, VGW_IN(VGW_S_IDENTIFYING), on_ready },
	{ VGW_OP_HEARTBEAT, ANY | VGW_IN(VGW_S_HELLO), on_heartbeat },
	{ VGW_OP_DESCRIPTION, VGW_IN(VGW_S_SELECTING) | VGW_IN(VGW_S_LIVE) | VGW_IN(VGW_S_RESUMING),
		on_description },
	{ VGW_OP_SPEAKING, ANY, on_speaking },
	{ VGW_OP_ACK, ANY | VGW_IN(VGW_S_HELLO), on_ack },
	{ VGW_OP_RESUMED, VGW_IN(VGW_S_RESUMING), on_resumed },
	{ VGW_OP_CLIENTS_CONNECT, ANY, on_clients_connect },
	{ VGW_OP_VIDEO, ANY, on_video },
	{ VGW_OP_CLIENT_DISCONNECT, ANY, on_client_disconnect },
	{ VGW_OP_DAVE_PREPARE_TRANSITION, ANY, on_dave },
	{ VGW_OP_DAVE_EXECUTE_TRANSITION, ANY, on_dave },
	{ VGW_OP_DAVE_PREPARE_EPOCH, ANY, on_dave },
};
#undef ANY

static void dispatch(struct vgw *g, const struct message *m)
{
	size_t i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (ops[i].op != m->op)
			continue;
		if (vgw_is_in(g, ops[i].states))
			ops[i].handle(g, m);
		else
			vgw_warn(g, "opcode %u out of turn ignored", m->op);
		return;
	}
}

void vgw_receive_text(struct vgw *g, const char *text, size_t len, uint64_t now_ns)
{
	struct message m = { .now_ns = now_ns };
	int64_t op, seq;
	json_error_t e;
	json_t *v;

	v = json_read_text(text, len, JSON_ALLOW_NUL, &e);
	if (v == NULL) {
		/* Lost for want of memory it comes again after a resume, so tell that apart where
		 * jansson lets us: it has no text for most of it, and one for the malformed. */
		g->broken = e.text[0] == '\0' || json_error_code(&e) == json_error_out_of_memory;
		if (!g->broken)
			bad(g, "not JSON");
		return;
	}
	if (json_read_int(&op, json_object_get(v, "op"), 0, UINT8_MAX) != TD_OK) {
		bad(g, "no opcode");
		goto out;
	}
	/* Before we said who we are, a number would be of nothing we could resume from. */
	if (vgw_is_in(g, VGW_IN_IDENTIFIED) &&
		json_read_int(&seq, json_object_get(v, "seq"), 0, SEQ_MAX) == TD_OK)
		g->seq = seq;
	m.op = (uint8_t)op;
	m.d = json_object_get(v, "d");
	dispatch(g, &m);
out:
	json_decref(v);
}

void vgw_receive_binary(struct vgw *g, const uint8_t *data, size_t len)
{
	struct rd r;
	uint16_t seq;
	uint8_t op;
	bool ours;

	rd_init(&r, data, len);
	seq = rd_u16(&r);
	op = rd_u8(&r);
	ours = op == VGW_OP_DAVE_EXTERNAL_SENDER || op == VGW_OP_DAVE_PROPOSALS ||
		op == VGW_OP_DAVE_ANNOUNCE_COMMIT || op == VGW_OP_DAVE_WELCOME;
	if (r.bad) {
		bad(g, "binary and too short");
		return;
	}
	if (!ours && data[0] == '{') {
		bad(g, "JSON in a binary frame");
		return;
	}
	if (!vgw_is_in(g, VGW_IN_IDENTIFIED)) {
		vgw_warn(g, "opcode %u out of turn ignored", op);
		return;
	}
	g->seq = seq;
	if (ours)
		say_dave(g, op, r.p, rd_left(&r));
	else if (op == VGW_OP_DAVE_KEY_PACKAGE || op == VGW_OP_DAVE_COMMIT_WELCOME)
		vgw_warn(g, "opcode %u is not for a server to say", op);
}
