/* SPDX-License-Identifier: ISC */
#include "receiver/call.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/log.h"
#include "receiver/dave_session.h"
#include "receiver/early.h"
#include "receiver/udp.h"

/* A move's two dispatches come together; in which order is not said. */
#define DISPATCH_PAIR_NS (5 * TD_SEC_NS)
/* After a fresh session everybody present has been named again by then. */
enum { ROLL_CALL_MS = 10000 };

enum recording {
	RECORDING_NOT_YET, /* no session of files: the connection was never ready */
	RECORDING_ON,
	RECORDING_PAUSED,
	RECORDING_STOPPED,
};

struct participant {
	uint64_t user_id;
	uint32_t ssrc; /* 0: not known */
	bool missing;  /* not named again since the session was made anew */
};

struct call {
	struct call_conf conf;
	struct connection_info *info; /* locked memory; what is known so far */
	uint64_t server_at_ns;        /* when the last VOICE_SERVER_UPDATE came */
	uint64_t conn;
	struct lane *lane;
	struct vgw *vgw; /* NULL: info is not whole yet */
	struct ws *ws;
	struct udp *udp;
	struct dave_session *dave;
	bool pumping;
	bool ready;         /* this session's key is known */
	struct early early; /* what came before it was */

	enum recording recording;
	unsigned sessions; /* of files, not closed yet */
	bool stopping;     /* a stop command waits for its answer */
	bool ended;        /* VGW_ENDED came */
	bool reported;     /* conf.ended was called */
	enum vgw_verdict verdict;
	char reason[160];

	struct participant *participants;
	size_t participant_count, participant_cap;

	/* uv handles */
	uv_timer_t deadline, rejoin, roll_call;
	int closing;
};

static void call_pump(struct call *c);

static void emit(struct call *c, const char *event, const char *member, const char *text)
{
	if (member == NULL)
		event_emit(c->conf.events, event, c->info->guild_id, "");
	else
		event_emit(c->conf.events, event, c->info->guild_id, "ss", member, text);
}

static void post(struct call *c, struct lane_control *control)
{
	if (control == NULL)
		log_error("out of memory");
	else
		lane_control(c->lane, c->conn, control);
}

static void post_mark(struct call *c, const char *name, const char *text)
{
	struct lane_control *control = recorder_control(LANE_MARK, td_mono_ns());

	if (control != NULL) {
		control->name = name;
		snprintf(control->text, sizeof(control->text), "%s", text);
	}
	post(c, control);
}

/* ---- participants ---- */

static struct participant *participant_find(struct call *c, uint64_t user_id)
{
	size_t i;

	for (i = 0; i < c->participant_count; i++) {
		if (c->participants[i].user_id == user_id)
			return &c->participants[i];
	}
	return NULL;
}

/* The participant, new ones announced; NULL for ourselves and without memory. */
static struct participant *participant_join(struct call *c, uint64_t user_id)
{
	struct participant *p = participant_find(c, user_id);
	char id[TD_ID_TEXT];

	if (user_id == c->info->user_id)
		return NULL;
	if (p != NULL) {
		p->missing = false;
		return p;
	}
	if (c->participant_count == c->participant_cap) {
		size_t cap = c->participant_cap > 0 ? c->participant_cap * 2 : 8;

		if ((p = reallocarray(c->participants, cap, sizeof(*p))) == NULL)
			return NULL;
		c->participants = p;
		c->participant_cap = cap;
	}
	p = &c->participants[c->participant_count++];
	*p = (struct participant){ .user_id = user_id };
	emit(c, "speaker_joined", "user_id", td_id_format(id, user_id));
	return p;
}

static void participant_leave(struct call *c, struct participant *p)
{
	struct lane_control *control = recorder_control(LANE_SPEAKER_LEFT, td_mono_ns());
	char id[TD_ID_TEXT];

	emit(c, "speaker_left", "user_id", td_id_format(id, p->user_id));
	lane_conn_speaker_gone(c->lane, c->conn, p->user_id);
	if (control != NULL)
		control->user_id = p->user_id;
	post(c, control);
	*p = c->participants[--c->participant_count];
}

static void post_speaker(struct call *c, const struct participant *p)
{
	struct lane_control *control = recorder_control(LANE_SPEAKER, td_mono_ns());

	if (control != NULL) {
		control->user_id = p->user_id;
		control->ssrc = p->ssrc;
	}
	post(c, control);
}

static void speaker(struct call *c, uint64_t user_id, uint32_t ssrc)
{
	struct participant *p = participant_join(c, user_id);

	if (p == NULL)
		return;
	p->ssrc = ssrc;
	/* The sinks first: a track begun under the SSRC must be the user's before the first frame
	 * that bears the user's name. */
	post_speaker(c, p);
	lane_conn_speaker(c->lane, c->conn, user_id, ssrc);
}

static void on_roll_call(uv_timer_t *timer)
{
	struct call *c = timer->data;
	size_t i;

	for (i = c->participant_count; i-- > 0;) {
		if (c->participants[i].missing)
			participant_leave(c, &c->participants[i]);
	}
}

/* ---- recording ---- */

static void recording_begin(struct call *c)
{
	size_t i;

	uint64_t now_ns = td_mono_ns(), start_ns = early_since_ns(&c->early, now_ns);

	if (recorder_session_open(c->conf.recorder, c->conn, c->info->channel_id, c->info->user_id,
		    start_ns, td_utc_ns() - (now_ns - start_ns)) != TD_OK) {
		log_error("out of memory");
		return;
	}
	c->sessions++;
	c->recording = RECORDING_ON;
	for (i = 0; i < c->participant_count; i++) {
		if (c->participants[i].ssrc != 0)
			post_speaker(c, &c->participants[i]);
	}
}

static void recording_end(struct call *c, const char *reason)
{
	if (c->recording == RECORDING_ON || c->recording == RECORDING_PAUSED)
		recorder_session_close(c->conf.recorder, c->conn, td_mono_ns(), reason);
	c->recording = RECORDING_STOPPED;
}

static void refuse(struct call *c, enum control_command command, const char *why)
{
	event_emit(c->conf.events, "error", c->info->guild_id, "ss, ss", "command",
		control_command_name(command), "message", why);
	log_warn("%s: %s", control_command_name(command), why);
}

static void command_pause(struct call *c)
{
	if (c->recording != RECORDING_ON) {
		refuse(c, COMMAND_PAUSE, "nothing is being recorded");
		return;
	}
	lane_conn_flush(c->lane, c->conn);
	post(c, recorder_control(LANE_PAUSE, td_mono_ns()));
	c->recording = RECORDING_PAUSED;
	emit(c, "paused", NULL, NULL);
}

static void command_resume(struct call *c)
{
	if (c->recording != RECORDING_PAUSED) {
		refuse(c, COMMAND_RESUME, "the recording is not paused");
		return;
	}
	post(c, recorder_control(LANE_RESUME, td_mono_ns()));
	c->recording = RECORDING_ON;
	emit(c, "resumed", NULL, NULL);
}

void call_command(struct call *c, enum control_command command)
{
	switch (command) {
	case COMMAND_PAUSE:
		command_pause(c);
		break;
	case COMMAND_RESUME:
		command_resume(c);
		break;
	case COMMAND_STOP:
		if (c->recording != RECORDING_ON && c->recording != RECORDING_PAUSED) {
			refuse(c, command, "nothing is being recorded");
			break;
		}
		c->stopping = true;
		recording_end(c, "stopped");
		break;
	case COMMAND_LISTEN:
		if (c->recording == RECORDING_NOT_YET)
			refuse(c, command, "the connection is not ready");
		else if (c->recording != RECORDING_STOPPED)
			refuse(c, command, "already recording");
		else
			recording_begin(c);
		break;
	case COMMAND_LEAVE:
		call_stop(c, "left");
		break;
	}
}

/* ---- the end ---- */

static const char *verdict_name(enum vgw_verdict verdict)
{
	switch (verdict) {
	case VGW_LEFT:
		return "left";
	case VGW_REMOVED:
		return "removed";
	case VGW_INFO_NEEDED:
		return "connection_info_needed";
	case VGW_REFUSED:
		return "refused";
	case VGW_UNREACHABLE:
		return "unreachable";
	}
	return "?";
}

static void report_end(struct call *c)
{
	if (!c->ended || c->sessions > 0 || c->reported)
		return;
	c->reported = true;
	event_emit(c->conf.events, "closed", c->info->guild_id, "ss, ss", "code",
		verdict_name(c->verdict), "reason", c->reason);
	if (c->verdict == VGW_LEFT)
		log_info("left");
	else
		log_error("the call ended: %s", c->reason);
	c->conf.ended(c->conf.user, c, c->verdict);
}

static void on_ended(struct call *c, const struct vgw_action *a)
{
	udp_free(c->udp);
	c->udp = NULL;
	c->ended = true;
	c->verdict = a->verdict;
	snprintf(c->reason, sizeof(c->reason), "%s", a->text);
	uv_timer_stop(&c->deadline);
	uv_timer_stop(&c->rejoin);
	recording_end(c, verdict_name(c->verdict));
}

void call_stop(struct call *c, const char *reason)
{
	struct vgw_action a = { .verdict = VGW_LEFT, .text = reason };

	if (c->ended)
		return;
	if (c->vgw != NULL) {
		vgw_stop(c->vgw, VGW_LEFT, reason, td_mono_ns());
		call_pump(c);
	} else {
		on_ended(c, &a);
		report_end(c);
	}
}

/* ---- WebSocket and UDP ---- */

static void on_ws_opened(void *user)
{
	struct call *c = user;

	vgw_opened(c->vgw, td_mono_ns());
	call_pump(c);
}

static void on_ws_text(void *user, const char *text, size_t len)
{
	struct call *c = user;

	vgw_text(c->vgw, text, len, td_mono_ns());
	call_pump(c);
}

static void on_ws_binary(void *user, const uint8_t *data, size_t len)
{
	struct call *c = user;

	vgw_binary(c->vgw, data, len, td_mono_ns());
	call_pump(c);
}

static void on_ws_closed(void *user, uint16_t code, const char *reason, bool fatal)
{
	struct call *c = user;

	c->ws = NULL;
	log_debug("voice gateway: closed, code %u: %s", code, reason);
	vgw_closed(c->vgw, code, reason, fatal, td_mono_ns());
	call_pump(c);
}

static void act_connect(struct call *c, const struct vgw_action *a)
{
	struct ws_conf conf = { .host = a->host,
		.path = "/?v=8",
		.port = a->port,
		.tls = a->tls,
		.opened = on_ws_opened,
		.text = on_ws_text,
		.binary = on_ws_binary,
		.closed = on_ws_closed,
		.user = c };

	log_debug("voice gateway: connecting to %s port %u", a->host, a->port);
	if (ws_open(&c->ws, c->conf.ws, &conf) != TD_OK) {
		c->ws = NULL;
		vgw_closed(c->vgw, 0, "cannot connect", false, td_mono_ns());
	}
}

static void on_discovered(void *user, const char *address, uint16_t port)
{
	struct call *c = user;

	vgw_discovered(c->vgw, address, port, td_mono_ns());
	call_pump(c);
}

static void on_udp_failed(void *user, const char *why)
{
	struct call *c = user;

	log_debug("udp: %s", why);
	vgw_discovery_failed(c->vgw, td_mono_ns());
	call_pump(c);
}

static void on_datagram(void *user, uint64_t arrival_ns, const uint8_t *data, size_t len)
{
	struct call *c = user;

	if (!c->ready) {
		early_put(&c->early, arrival_ns, data, len);
	} else if (c->recording == RECORDING_ON) {
		lane_packet(c->lane, c->conn, arrival_ns, data, len);
		recorder_awake(c->conf.recorder);
	} else if (c->recording == RECORDING_PAUSED) {
		lane_count(c->lane, c->conn, COUNTER_PAUSED, 1);
	}
}

static void on_kernel_dropped(void *user, uint32_t n)
{
	struct call *c = user;

	lane_count(c->lane, c->conn, COUNTER_KERNEL_DROPPED, n);
}

static void act_udp_open(struct call *c, const struct vgw_action *a)
{
	struct udp_conf conf = { .loop = c->conf.loop,
		.host = a->host,
		.port = a->port,
		.ssrc = a->ssrc,
		.discovered = on_discovered,
		.failed = on_udp_failed,
		.datagram = on_datagram,
		.kernel_dropped = on_kernel_dropped,
		.user = c };

	udp_free(c->udp);
	c->udp = NULL;
	if (udp_new(&c->udp, &conf) != TD_OK) {
		log_warn("udp: cannot open a socket to %s port %u", a->host, a->port);
		vgw_discovery_failed(c->vgw, td_mono_ns());
	}
}

static void act_key(struct call *c, const struct vgw_action *a)
{
	lane_conn_key(c->lane, c->conn, a->mode, a->ssrc, a->key);
	if (c->udp != NULL && udp_key(c->udp, a->mode, a->key) != TD_OK)
		log_error("out of memory");
}

/* ---- end-to-end encryption ---- */

static void dave_code(struct call *c, const struct dave_action *a)
{
	struct lane_control *control = recorder_control(LANE_CODE, td_mono_ns());
	json_t *members = json_array();
	char id[TD_ID_TEXT];
	size_t i;

	for (i = 0; i < a->member_count; i++)
		json_array_append_new(members, json_string(td_id_format(id, a->members[i])));
	event_emit(c->conf.events, "privacy_code", c->info->guild_id, "sI, ss, so", "epoch",
		(json_int_t)a->epoch, "code", a->text, "members", members);
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
	post(c, control);
}

/* Carries out what the DAVE session asks for, as call_pump() does for the gateway. */
static void dave_pump(struct call *c)
{
	struct dave_action a;

	while (dave_next(c->dave, &a) == 1) {
		switch (a.type) {
		case DAVE_SEND:
			if (c->vgw != NULL)
				vgw_dave_send(c->vgw, a.opcode, a.data, a.len);
			break;
		case DAVE_EPOCH:
			lane_conn_dave_epoch(
				c->lane, c->conn, td_mono_ns(), a.epoch, a.senders, a.sender_count);
			break;
		case DAVE_PASSTHROUGH:
			lane_conn_dave_passthrough(c->lane, c->conn, a.until_ns);
			break;
		case DAVE_CODE:
			dave_code(c, &a);
			break;
		case DAVE_WARNING:
			log_warn("%s", a.text);
			emit(c, "warning", "message", a.text);
			break;
		}
	}
}

static void act_dave(struct call *c, const struct vgw_action *a)
{
	int r = TD_OK;

	if (a->type == VGW_DAVE_VERSION)
		dave_session_version(c->dave, a->dave_version, td_mono_ns());
	else
		r = dave_session_message(c->dave, a->opcode, a->data, a->len, td_mono_ns());
	if (r != TD_OK)
		log_debug("DAVE: opcode %u: %s", a->opcode, td_strerror(r));
	dave_pump(c);
}

/* ---- the engine's other actions ---- */

static void act_session_new(struct call *c)
{
	size_t i;

	c->ready = false;
	early_clear(&c->early);
	lane_conn_reset(c->lane, c->conn);
	dave_session_reset(c->dave, c->info->channel_id, td_mono_ns());
	dave_pump(c);
	for (i = 0; i < c->participant_count; i++) {
		c->participants[i].ssrc = 0;
		c->participants[i].missing = true;
	}
}

static void act_ready(struct call *c)
{
	char channel[TD_ID_TEXT], user[TD_ID_TEXT];
	struct early_datagram *d;

	event_emit(c->conf.events, "ready", c->info->guild_id, "ss, ss", "channel_id",
		td_id_format(channel, c->info->channel_id), "user_id",
		td_id_format(user, c->info->user_id));
	uv_timer_start(&c->roll_call, on_roll_call, ROLL_CALL_MS, 0);
	if (c->recording == RECORDING_NOT_YET) {
		log_info("connected to channel %s, recording", channel);
		recording_begin(c);
	} else {
		log_info("connected again");
		post_mark(c, "reconnected", "new session");
	}
	c->ready = true;
	while ((d = early_take(&c->early)) != NULL) {
		on_datagram(c, d->arrival_ns, d->data, d->len);
		free(d);
	}
}

static void on_rejoin_timeout(uv_timer_t *timer)
{
	struct call *c = timer->data;

	vgw_stop(c->vgw, VGW_INFO_NEEDED, c->reason, td_mono_ns());
	call_pump(c);
}

static void act_need_info(struct call *c, const struct vgw_action *a)
{
	/* A server that never answered is no matter of fresher info. */
	bool never = c->recording == RECORDING_NOT_YET && a->verdict == VGW_UNREACHABLE;

	snprintf(c->reason, sizeof(c->reason), "%s%s",
		never ? "" : "new connection info is needed: ", a->text);
	if (c->conf.rejoin_timeout_ns == 0) {
		vgw_stop(
			c->vgw, never ? VGW_UNREACHABLE : VGW_INFO_NEEDED, c->reason, td_mono_ns());
		return;
	}
	log_warn("%s", c->reason);
	emit(c, "need_connection_info", "reason", a->text);
	post_mark(c, "need_connection_info", a->text);
	uv_timer_start(&c->rejoin, on_rejoin_timeout, c->conf.rejoin_timeout_ns / TD_MS_NS, 0);
}

static void act_reconnecting(struct call *c, const struct vgw_action *a)
{
	log_warn("reconnecting: %s", a->text);
	event_emit(c->conf.events, "reconnecting", c->info->guild_id, "ss, si", "reason", a->text,
		"attempt", (int)a->attempt);
	post_mark(c, "reconnecting", a->text);
}

static void act_left(struct call *c, uint64_t user_id)
{
	struct participant *p = participant_find(c, user_id);

	dave_session_user(c->dave, user_id, false);
	dave_pump(c);
	if (p != NULL)
		participant_leave(c, p);
}

static void call_act(struct call *c, const struct vgw_action *a)
{
	switch (a->type) {
	case VGW_CONNECT:
		act_connect(c, a);
		break;
	case VGW_SEND_TEXT:
	case VGW_SEND_BINARY:
		if (c->ws != NULL &&
			ws_send(c->ws, a->type == VGW_SEND_BINARY, a->data, a->len) != TD_OK)
			log_error("out of memory");
		break;
	case VGW_DISCONNECT:
		ws_close(c->ws, a->code);
		c->ws = NULL;
		break;
	case VGW_UDP_OPEN:
		act_udp_open(c, a);
		break;
	case VGW_UDP_CLOSE:
		udp_free(c->udp);
		c->udp = NULL;
		break;
	case VGW_SESSION_NEW:
		act_session_new(c);
		break;
	case VGW_KEY:
		act_key(c, a);
		break;
	case VGW_SPEAKER:
		speaker(c, a->user_id, a->ssrc);
		break;
	case VGW_MEDIA_READY:
		if (c->udp != NULL)
			udp_media(c->udp);
		break;
	case VGW_USER_JOINED:
		participant_join(c, a->user_id);
		dave_session_user(c->dave, a->user_id, true);
		dave_pump(c);
		break;
	case VGW_USER_LEFT:
		act_left(c, a->user_id);
		break;
	case VGW_READY:
		act_ready(c);
		break;
	case VGW_RECONNECTING:
		act_reconnecting(c, a);
		break;
	case VGW_RESUMED:
		log_info("connected again, same session");
		emit(c, "reconnected", NULL, NULL);
		post_mark(c, "reconnected", "same session");
		break;
	case VGW_NEED_INFO:
		act_need_info(c, a);
		break;
	case VGW_DAVE:
	case VGW_DAVE_VERSION:
		act_dave(c, a);
		break;
	case VGW_WARNING:
		log_warn("voice gateway: %s", a->text);
		emit(c, "warning", "message", a->text);
		break;
	case VGW_ENDED:
		on_ended(c, a);
		break;
	}
}

static void on_deadline(uv_timer_t *timer)
{
	struct call *c = timer->data;

	vgw_tick(c->vgw, td_mono_ns());
	call_pump(c);
}

/* Carries out what the engine asks for, until it asks for nothing more. Inputs made meanwhile (a
 * connect that fails at once) only add to what it asks for. */
static void call_pump(struct call *c)
{
	struct vgw_action a;
	uint64_t deadline_ns, now_ns;

	if (c->pumping)
		return;
	c->pumping = true;
	while (vgw_next(c->vgw, &a) == 1)
		call_act(c, &a);
	c->pumping = false;
	if (c->ended) {
		report_end(c);
		return;
	}
	deadline_ns = vgw_deadline(c->vgw);
	now_ns = td_mono_ns();
	if (deadline_ns == UINT64_MAX)
		uv_timer_stop(&c->deadline);
	else
		uv_timer_start(&c->deadline, on_deadline,
			deadline_ns > now_ns ? (deadline_ns - now_ns + TD_MS_NS - 1) / TD_MS_NS : 0,
			0);
}

/* ---- connection info ---- */

static void on_random(void *user, uint8_t *out, size_t len)
{
	(void)user;
	randombytes_buf(out, len);
}

static uint64_t on_utc_ms(void *user)
{
	(void)user;
	return td_utc_ns() / TD_MS_NS;
}

static bool info_whole(const struct connection_info *info)
{
	return info->session_id[0] != '\0' && info->token[0] != '\0' && info->host[0] != '\0';
}

/* Connects as soon as everything needed for it is known, and anew when it has changed. */
static void info_changed(struct call *c)
{
	struct vgw_conf conf = { .random = on_random,
		.utc_ms = on_utc_ms,
		.user = c,
		.max_dave_version = DAVE_MAX_VERSION };

	if (c->ended || !info_whole(c->info))
		return;
	uv_timer_stop(&c->rejoin);
	if (c->vgw != NULL) {
		vgw_new_info(c->vgw, c->info, td_mono_ns());
	} else {
		conf.info = *c->info;
		if (vgw_new(&c->vgw, &conf) == TD_OK)
			vgw_start(c->vgw, td_mono_ns());
		else
			log_error("out of memory");
		connection_info_wipe(&conf.info);
	}
	if (c->vgw != NULL)
		call_pump(c);
}

void call_new_info(struct call *c, const struct connection_info *info)
{
	*c->info = *info;
	info_changed(c);
}

static void dispatch_state(struct call *c, const struct connection_info *state)
{
	struct vgw_action removed = { .verdict = VGW_REMOVED,
		.text = "disconnected from the voice channel" };
	bool changed;

	if (state->user_id != c->info->user_id)
		return;
	if (state->channel_id == 0) {
		if (c->vgw != NULL) {
			vgw_stop(c->vgw, VGW_REMOVED, removed.text, td_mono_ns());
			call_pump(c);
		} else {
			on_ended(c, &removed);
			report_end(c);
		}
		return;
	}
	/* Muting and the like are voice states too. */
	changed = c->info->channel_id != state->channel_id ||
		strcmp(c->info->session_id, state->session_id) != 0;
	c->info->channel_id = state->channel_id;
	memcpy(c->info->session_id, state->session_id, sizeof(c->info->session_id));
	/* The server's half of a pair usually follows; when it came first, it was used too early.
	 */
	if (changed &&
		(c->vgw == NULL ||
			(c->server_at_ns != 0 &&
				td_mono_ns() - c->server_at_ns < DISPATCH_PAIR_NS)))
		info_changed(c);
}

void call_dispatch(struct call *c, const struct control *control)
{
	const struct connection_info *info = &control->info;

	if (c->ended)
		return;
	if (control->type == CONTROL_VOICE_STATE) {
		dispatch_state(c, info);
		return;
	}
	if (control->gone) {
		c->info->host[0] = '\0';
		if (c->vgw != NULL) {
			vgw_server_gone(c->vgw, td_mono_ns());
			call_pump(c);
		}
		return;
	}
	memcpy(c->info->token, info->token, sizeof(c->info->token));
	memcpy(c->info->host, info->host, sizeof(c->info->host));
	c->info->port = info->port;
	c->info->tls = info->tls;
	c->server_at_ns = td_mono_ns();
	info_changed(c);
}

/* ---- from the recorder ---- */

void call_session_opened(struct call *c, int r)
{
	if (r == TD_OK) {
		emit(c, "listening", NULL, NULL);
		return;
	}
	/* The sinks have said why. What is left is a connection that records nothing: with somebody
	 * to talk to, that one may try `listen` again. */
	c->sessions--;
	c->recording = RECORDING_STOPPED;
	if (c->conf.rejoin_timeout_ns == 0)
		call_stop(c, "nothing can be recorded");
	else
		report_end(c);
}

void call_session_closed(struct call *c)
{
	c->sessions--;
	if (c->stopping) {
		c->stopping = false;
		emit(c, "stopped", NULL, NULL);
	}
	report_end(c);
}

/* ---- life ---- */

uint64_t call_guild(const struct call *c)
{
	return c->info->guild_id;
}

uint64_t call_conn(const struct call *c)
{
	return c->conn;
}

bool call_ending(const struct call *c)
{
	return c->ended;
}

int call_new(struct call **ret, const struct call_conf *conf, const struct connection_info *info)
{
	struct dave_conf dave = { .random = on_random };
	struct call *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return TD_ERR_NOMEM;
	c->conf = *conf;
	c->info = sodium_malloc(sizeof(*c->info));
	c->conn = recorder_connect(conf->recorder, info->guild_id, &c->lane);
	dave.identity = conf->identity;
	dave.channel_id = info->channel_id;
	dave.user_id = info->user_id;
	if (c->info == NULL || c->conn == 0 || dave_session_new(&c->dave, &dave) != TD_OK) {
		sodium_free(c->info);
		free(c);
		return TD_ERR_NOMEM;
	}
	*c->info = *info;
	uv_timer_init(conf->loop, &c->deadline);
	uv_timer_init(conf->loop, &c->rejoin);
	uv_timer_init(conf->loop, &c->roll_call);
	c->deadline.data = c->rejoin.data = c->roll_call.data = c;
	*ret = c;
	info_changed(c);
	return TD_OK;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct call *c = handle->data;

	if (--c->closing == 0)
		free(c);
}

void call_free(struct call *c)
{
	if (c == NULL)
		return;
	ws_close(c->ws, 1000);
	udp_free(c->udp);
	vgw_free(c->vgw);
	dave_session_free(c->dave);
	recorder_disconnect(c->conf.recorder, c->conn);
	sodium_free(c->info);
	early_clear(&c->early);
	free(c->participants);
	c->closing = 3;
	uv_close((uv_handle_t *)&c->deadline, on_handle_closed);
	uv_close((uv_handle_t *)&c->rejoin, on_handle_closed);
	uv_close((uv_handle_t *)&c->roll_call, on_handle_closed);
}
