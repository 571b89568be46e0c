/* SPDX-License-Identifier: ISC */
#include "receiver/call_state.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/locked.h"
#include "common/log.h"

/* A move's two dispatches come together; in which order is not said. */
#define DISPATCH_PAIR_NS (5 * TD_SEC_NS)

void call_emit(struct call *c, const char *event, const char *member, const char *text)
{
	if (member == NULL)
		event_emit(c->conf.events, event, c->info->guild_id, "");
	else
		event_emit(c->conf.events, event, c->info->guild_id, "ss", member, text);
}

void call_post(struct call *c, struct lane_control *control)
{
	if (control == NULL)
		log_error("out of memory");
	else
		lane_control(c->lane, c->conn, control);
}

void call_post_mark(struct call *c, const char *name, const char *text)
{
	struct lane_control *control = recorder_control(LANE_MARK, td_mono_ns());

	if (control != NULL) {
		control->name = name;
		snprintf(control->text, sizeof(control->text), "%s", text);
	}
	call_post(c, control);
}

/* ---- connection info ---- */

void call_random(void *user, uint8_t *out, size_t len)
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
	struct vgw_conf conf = { .info = c->info,
		.random = call_random,
		.utc_ms = on_utc_ms,
		.user = c,
		.max_dave_version = DAVE_MAX_VERSION };

	if (c->ended || !info_whole(c->info))
		return;
	uv_timer_stop(&c->rejoin);
	if (c->vgw != NULL)
		vgw_new_info(c->vgw, c->info, td_mono_ns());
	else if (vgw_new(&c->vgw, &conf) == TD_OK)
		vgw_start(c->vgw, td_mono_ns());
	else
		log_error("out of memory");
	if (c->vgw != NULL)
		call_pump(c);
}

void call_new_info(struct call *c, const struct connection_info *info)
{
	if (info->user_id != c->info->user_id) {
		call_emit(c, "error", "message", "connection info of another user: leave first");
		log_warn("connection info of another user: leave first");
		return;
	}
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
			call_ended(c, &removed);
			call_report_end(c);
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
	if (!changed)
		return;
	if (c->server_at_ns == 0 || td_mono_ns() - c->server_at_ns >= DISPATCH_PAIR_NS) {
		c->state_fresh = true;
		if (c->vgw != NULL)
			return;
	}
	c->server_at_ns = 0;
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
	/* With a state that came before it this is the whole pair. */
	c->server_at_ns = c->state_fresh ? 0 : td_mono_ns();
	c->state_fresh = false;
	info_changed(c);
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
	struct dave_conf dave = { .random = call_random };
	struct call *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return TD_ERR_NOMEM;
	c->conf = *conf;
	c->info = locked_new(sizeof(*c->info));
	c->conn = recorder_connect(conf->recorder, info->guild_id, &c->lane);
	dave.identity = conf->identity;
	dave.channel_id = info->channel_id;
	dave.user_id = info->user_id;
	if (c->info == NULL || c->conn == 0 || dave_session_new(&c->dave, &dave) != TD_OK) {
		recorder_disconnect(conf->recorder, c->conn);
		locked_free(c->info);
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
	locked_free(c->info);
	early_clear(&c->early);
	free(c->participants);
	c->closing = 3;
	uv_close((uv_handle_t *)&c->deadline, on_handle_closed);
	uv_close((uv_handle_t *)&c->rejoin, on_handle_closed);
	uv_close((uv_handle_t *)&c->roll_call, on_handle_closed);
}
