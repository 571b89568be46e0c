/* SPDX-License-Identifier: ISC */
#include "receiver/call_state.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/log.h"
#include "common/rtp.h"

/* After a fresh session everybody present has been named again by then. */
enum { ROLL_CALL_MS = 10000 };

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
		early_put(&c->early, arrival_ns, 0, data, len);
	} else if (c->recording == RECORDING_ON &&
		datagram_classify(data, len) == DATAGRAM_KEEPALIVE) {
		/* An echo of ours: nothing to wake a worker for, and its time need not go on. */
		lane_count(c->lane, c->conn, COUNTER_NOT_VOICE, 1);
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

void call_catch_up(struct call *c)
{
	if (c->ready)
		udp_reader_catch_up(c->conf.udp);
}

static void on_foreign(void *user, uint32_t n)
{
	struct call *c = user;

	lane_count(c->lane, c->conn, COUNTER_FOREIGN, n);
}

static void act_udp_open(struct call *c, const struct vgw_action *a)
{
	struct udp_conf conf = { .loop = c->conf.loop,
		.reader = c->conf.udp,
		.host = a->host,
		.port = a->port,
		.ssrc = a->ssrc,
		.discovered = on_discovered,
		.failed = on_udp_failed,
		.datagram = on_datagram,
		.kernel_dropped = on_kernel_dropped,
		.foreign = on_foreign,
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

/* ---- the engine's other actions ---- */

static void act_session_new(struct call *c)
{
	c->ready = false;
	early_clear(&c->early);
	uv_timer_stop(&c->roll_call); /* it was the old session's */
	lane_conn_reset(c->lane, c->conn);
	dave_session_reset(c->dave, c->info->channel_id, td_mono_ns());
	call_dave_pump(c);
	roster_renew(c);
}

static void act_ready(struct call *c)
{
	char channel[TD_ID_TEXT], user[TD_ID_TEXT];
	struct early_datagram *d;

	event_emit(c->conf.events, "ready", c->info->guild_id, "ss, ss", "channel_id",
		td_id_format(channel, c->info->channel_id), "user_id",
		td_id_format(user, c->info->user_id));
	uv_timer_start(&c->roll_call, roster_roll_call, ROLL_CALL_MS, 0);
	if (c->recording == RECORDING_NOT_YET) {
		log_info("connected to channel %s, recording", channel);
		call_recording_begin(c);
	} else {
		log_info("connected again");
		call_post_mark(c, "reconnected", "new session");
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
		vgw_stop(c->vgw, never ? VGW_UNREACHABLE : VGW_INFO_NEEDED, c->reason,
			td_mono_ns());
		return;
	}
	log_warn("%s", c->reason);
	call_emit(c, "need_connection_info", "reason", a->text);
	call_post_mark(c, "need_connection_info", a->text);
	uv_timer_start(&c->rejoin, on_rejoin_timeout, c->conf.rejoin_timeout_ns / TD_MS_NS, 0);
}

static void act_reconnecting(struct call *c, const struct vgw_action *a)
{
	log_warn("reconnecting: %s", a->text);
	event_emit(c->conf.events, "reconnecting", c->info->guild_id, "ss, si", "reason", a->text,
		"attempt", (int)a->attempt);
	call_post_mark(c, "reconnecting", a->text);
}

static void act_left(struct call *c, uint64_t user_id)
{
	struct participant *p = roster_find(c, user_id);

	dave_session_user(c->dave, user_id, false);
	call_dave_pump(c);
	if (p != NULL)
		roster_leave(c, p);
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
		call_catch_up(c);
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
		roster_speaker(c, a->user_id, a->ssrc);
		break;
	case VGW_MEDIA_READY:
		if (c->udp != NULL)
			udp_media(c->udp);
		break;
	case VGW_USER_JOINED:
		roster_join(c, a->user_id);
		dave_session_user(c->dave, a->user_id, true);
		call_dave_pump(c);
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
		call_emit(c, "reconnected", NULL, NULL);
		call_post_mark(c, "reconnected", "same session");
		dave_session_resumed(c->dave);
		call_dave_pump(c);
		break;
	case VGW_NEED_INFO:
		act_need_info(c, a);
		break;
	case VGW_DAVE:
	case VGW_DAVE_VERSION:
		call_dave_action(c, a);
		break;
	case VGW_WARNING:
		log_warn("voice gateway: %s", a->text);
		call_emit(c, "warning", "message", a->text);
		break;
	case VGW_ENDED:
		call_ended(c, a);
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
void call_pump(struct call *c)
{
	struct vgw_action a;
	uint64_t deadline_ns, now_ns;

	if (c->pumping)
		return;
	c->pumping = true;
	while (vgw_next(c->vgw, &a) == 1) {
		/* Datagrams wait unread, and came before what the gateway says now. */
		if (a.type != VGW_SEND_TEXT && a.type != VGW_SEND_BINARY)
			call_catch_up(c);
		call_act(c, &a);
	}
	c->pumping = false;
	if (c->ended) {
		call_report_end(c);
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
