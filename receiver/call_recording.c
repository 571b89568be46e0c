/* SPDX-License-Identifier: ISC */
#include "receiver/call_state.h"

#include <jansson.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"

void call_recording_begin(struct call *c)
{
	size_t i;

	uint64_t now_ns = td_mono_ns(), start_ns = early_since_ns(&c->early, now_ns);

	if (recorder_session_open(c->conf.recorder, c->conn, c->info->channel_id, c->info->user_id,
		    start_ns, td_utc_ns() - (now_ns - start_ns)) != TD_OK) {
		log_error("out of memory");
		return;
	}
	c->sessions++;
	c->opening++;
	c->recording = RECORDING_ON;
	for (i = 0; i < c->participant_count; i++) {
		if (c->participants[i].ssrc != 0)
			roster_post_speaker(c, &c->participants[i]);
	}
}

void call_recording_end(struct call *c, const char *reason)
{
	if (c->recording == RECORDING_ON || c->recording == RECORDING_PAUSED) {
		call_catch_up(c);
		recorder_session_close(c->conf.recorder, c->conn, td_mono_ns(), reason);
	}
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
		refuse(c, COMMAND_PAUSE,
			c->recording == RECORDING_PAUSED ? "already paused"
							 : "nothing is being recorded");
		return;
	}
	call_catch_up(c);
	lane_conn_flush(c->lane, c->conn);
	call_post(c, recorder_control(LANE_PAUSE, td_mono_ns()));
	c->recording = RECORDING_PAUSED;
	call_emit(c, "paused", NULL, NULL);
}

static void command_resume(struct call *c)
{
	if (c->recording != RECORDING_PAUSED) {
		refuse(c, COMMAND_RESUME, "the recording is not paused");
		return;
	}
	call_catch_up(c);
	call_post(c, recorder_control(LANE_RESUME, td_mono_ns()));
	c->recording = RECORDING_ON;
	call_emit(c, "resumed", NULL, NULL);
}

static void command_mark(struct call *c, const char *text)
{
	if (c->recording != RECORDING_ON && c->recording != RECORDING_PAUSED) {
		refuse(c, COMMAND_MARK, "nothing is being recorded");
		return;
	}
	call_post_mark(c, "mark", text);
	call_emit(c, "marked", "text", text);
}

void call_command(struct call *c, enum control_command command, const char *text)
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
		c->stops++;
		call_recording_end(c, "stopped");
		break;
	case COMMAND_LISTEN:
		if (c->recording == RECORDING_NOT_YET) {
			refuse(c, command, "the connection is not ready");
		} else if (c->recording != RECORDING_STOPPED) {
			refuse(c, command, "already recording");
		} else {
			call_catch_up(c);
			call_recording_begin(c);
		}
		break;
	case COMMAND_LEAVE:
		call_stop(c, "left");
		break;
	case COMMAND_MARK:
		command_mark(c, text);
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
	case VGW_FAILED:
		return "failed";
	}
	return "?";
}

void call_report_end(struct call *c)
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

void call_ended(struct call *c, const struct vgw_action *a)
{
	udp_free(c->udp);
	c->udp = NULL;
	c->ended = true;
	c->verdict = a->verdict;
	snprintf(c->reason, sizeof(c->reason), "%s", a->text);
	uv_timer_stop(&c->deadline);
	uv_timer_stop(&c->rejoin);
	uv_timer_stop(&c->roll_call);
	call_recording_end(c, verdict_name(c->verdict));
}

static void end(struct call *c, enum vgw_verdict verdict, const char *reason)
{
	struct vgw_action a = { .verdict = verdict, .text = reason };

	if (c->ended)
		return;
	if (c->vgw != NULL) {
		vgw_stop(c->vgw, verdict, reason, td_mono_ns());
		call_pump(c);
	} else {
		call_ended(c, &a);
		call_report_end(c);
	}
}

void call_stop(struct call *c, const char *reason)
{
	end(c, VGW_LEFT, reason);
}

void call_disk_full(struct call *c)
{
	call_recording_end(c, "disk_full");
	end(c, VGW_FAILED, "the disk is nearly full");
}

/* ---- from the recorder ---- */

void call_broken(struct call *c)
{
	call_emit(c, "error", "message", "the unpacker of this call cannot be kept running");
	end(c, VGW_FAILED, "the unpacker of this call cannot be kept running");
}

void call_session_opened(struct call *c, int r)
{
	bool newest = --c->opening == 0;

	if (r == TD_OK) {
		call_emit(c, "listening", NULL, NULL);
		return;
	}
	/* The sinks have said why. It was stopped before that was known: it is, and what was begun
	 * since goes on. */
	if (c->stops > 0 && (!newest || c->recording == RECORDING_STOPPED)) {
		call_session_closed(c);
		return;
	}
	/* What is left is a connection that records nothing: with somebody to talk to, that one may
	 * try `listen` again. */
	c->sessions--;
	c->recording = RECORDING_STOPPED;
	if (c->conf.rejoin_timeout_ns == 0 && !c->ended)
		call_stop(c, "nothing can be recorded");
	else
		call_report_end(c);
}

void call_session_closed(struct call *c)
{
	c->sessions--;
	if (c->stops > 0) {
		c->stops--;
		call_emit(c, "stopped", NULL, NULL);
	}
	call_report_end(c);
}
