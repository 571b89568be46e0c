/* SPDX-License-Identifier: ISC */
#include "receiver/replay.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/rtp.h"
#include "receiver/capture.h"
#include "receiver/discovery.h"
#include "receiver/keys_file.h"

enum { PACKETS_A_TURN = 256 };
#define PLAIN_UNDER_WAY_NS (10 * TD_SEC_NS)
/* What the last packet brings lasts beyond its arrival: one ordinary frame. */
#define LAST_FRAME_NS (20 * TD_MS_NS)

struct replay {
	const struct options *options;
	struct events *events;
	struct recorder *recorder;
	uv_loop_t *loop;
	struct capture *capture;
	struct keys_file *keys;
	uv_idle_t *idle;  /* turns the crank as fast as the lane takes it */
	uv_timer_t *pace; /* --realtime: until the next packet is due */
	uint64_t conn, started_ns, last_ns;
	struct lane *lane;
	struct capture_packet packet; /* read and not yet sent */
	bool has_packet, voice, encrypted, ended;
	bool stopped; /* before the end: what is missing proves nothing */
	const char *reason;
	size_t speakers_named, epochs_given;
	int status;
};

/* ---- packets ---- */

/* Nothing of them is kept in mind any more. */
static void forget_speaker(struct replay *p, const struct keys_speaker *s)
{
	struct lane_control *control =
		recorder_control(LANE_SPEAKER_LEFT, TD_REPLAY_BASE_NS + s->from_ns);

	lane_conn_speaker_gone(p->lane, p->conn, s->user_id);
	if (control == NULL)
		return;
	control->user_id = s->user_id;
	lane_control(p->lane, p->conn, control);
}

/* Speakers are named at their time, which is between two packets. */
static void name_speakers(struct replay *p, uint64_t at_ns)
{
	while (p->speakers_named < p->keys->speaker_count &&
		p->keys->speakers[p->speakers_named].from_ns <= at_ns) {
		const struct keys_speaker *s = &p->keys->speakers[p->speakers_named++];
		struct lane_control *control;

		if (s->user_id == p->keys->user_id)
			continue;
		if (s->left) {
			forget_speaker(p, s);
			continue;
		}
		control = recorder_control(LANE_SPEAKER, TD_REPLAY_BASE_NS + s->from_ns);
		if (control != NULL) {
			control->user_id = s->user_id;
			control->ssrc = s->ssrc;
			lane_control(p->lane, p->conn, control);
		}
		lane_conn_speaker(p->lane, p->conn, s->user_id, s->ssrc);
	}
}

/* So are the keys of end-to-end encryption. A call that becomes encrypted may have frames under way
 * that are not. */
static void give_epochs(struct replay *p, uint64_t at_ns)
{
	while (p->epochs_given < p->keys->dave_count &&
		p->keys->dave[p->epochs_given].from_ns <= at_ns) {
		const struct keys_epoch *e = &p->keys->dave[p->epochs_given++];
		uint64_t from_ns = TD_REPLAY_BASE_NS + e->from_ns;

		lane_conn_dave_epoch(p->lane, p->conn, from_ns, e->epoch, e->senders,
			e->sender_count);
		if (e->protocol_version == 0)
			lane_conn_dave_passthrough(p->lane, p->conn, UINT64_MAX);
		else if (!p->encrypted)
			lane_conn_dave_passthrough(p->lane, p->conn,
				e->from_ns == 0 ? 0 : from_ns + PLAIN_UNDER_WAY_NS);
		p->encrypted = e->protocol_version > 0;
	}
}

/* A client's IP discovery request goes to its voice server, and so names it. */
static void learn_server(struct replay *p, const struct link_datagram *d)
{
	uint8_t request[DISCOVERY_LEN];

	if (p->keys->has_server || d->len != DISCOVERY_LEN)
		return;
	discovery_request(request, 0);
	if (memcmp(d->data, request, 4) != 0)
		return;
	p->keys->server = d->destination;
	p->keys->has_server = true;
}

static void send_packet(struct replay *p)
{
	const struct link_datagram *d = &p->packet.datagram;
	uint64_t arrival_ns = TD_REPLAY_BASE_NS + p->packet.at_ns;

	name_speakers(p, p->packet.at_ns);
	give_epochs(p, p->packet.at_ns);
	p->last_ns = arrival_ns;
	learn_server(p, d);
	if ((p->keys->has_server && !link_address_equal(&d->source, &p->keys->server)) ||
		d->len > IPC_MAX_DGRAM) {
		lane_count(p->lane, p->conn, COUNTER_NOT_VOICE, 1);
		return;
	}
	p->voice = true;
	lane_packet(p->lane, p->conn, arrival_ns, d->data, d->len);
}

static void finish(struct replay *p, const char *reason)
{
	if (p->ended)
		return;
	p->ended = true;
	p->reason = reason;
	uv_idle_stop(p->idle);
	uv_timer_stop(p->pace);
	if (capture_cut(p->capture) > 0)
		log_warn("%s: %" PRIu64 " packets are cut short in the capture", p->options->replay,
			capture_cut(p->capture));
	if (capture_steps(p->capture) > 0)
		log_warn("%s: its clock was set %" PRIu64
			 " times by more than an hour; these jumps are left out",
			p->options->replay, capture_steps(p->capture));
	recorder_session_close(p->recorder, p->conn, p->last_ns + LAST_FRAME_NS, reason);
}

/* True when there is a packet to send; at the end of the capture, or of what we are to do with it,
 * everything is finished instead. */
static bool read_packet(struct replay *p)
{
	char why[256];
	int r;

	if (p->has_packet)
		return true;
	r = capture_next(p->capture, &p->packet, why, sizeof(why));
	if (r < 0) {
		log_error("%s: %s; what was read up to there is recorded", p->options->replay, why);
		p->status = EXIT_FAILED;
	}
	if (r != 1 || (p->options->duration_ns > 0 && p->packet.at_ns >= p->options->duration_ns)) {
		finish(p, r == 1 ? "duration" : "end of capture");
		return false;
	}
	p->has_packet = true;
	return true;
}

static void on_pace(uv_timer_t *timer);

/* --realtime: true when the packet read is due; else comes back when it is. */
static bool is_due(struct replay *p)
{
	uint64_t elapsed_ns;

	if (!p->options->realtime)
		return true;
	elapsed_ns = td_mono_ns() - p->started_ns;
	if (p->packet.at_ns <= elapsed_ns)
		return true;
	uv_idle_stop(p->idle);
	uv_timer_start(p->pace, on_pace, (p->packet.at_ns - elapsed_ns) / TD_MS_NS + 1, 0);
	return false;
}

static void on_idle(uv_idle_t *idle)
{
	struct replay *p = idle->data;
	int n;

	for (n = 0; n < PACKETS_A_TURN && !p->ended; n++) {
		if (lane_congested(p->lane)) {
			uv_idle_stop(idle); /* until replay_drained() */
			return;
		}
		if (!read_packet(p) || !is_due(p))
			return;
		send_packet(p);
		p->has_packet = false;
	}
}

static void on_pace(uv_timer_t *timer)
{
	struct replay *p = timer->data;

	uv_idle_start(p->idle, on_idle);
}

void replay_drained(struct replay *p)
{
	if (!p->ended && p->idle != NULL)
		uv_idle_start(p->idle, on_idle);
}

/* ---- the recorder ---- */

void replay_session_opened(struct replay *p, int r)
{
	if (r == TD_OK)
		return;
	p->status = EXIT_FAILED;
	uv_stop(p->loop);
}

void replay_session_closed(struct replay *p)
{
	uint64_t totals[COUNTER_COUNT], samples;
	unsigned files;

	recorder_totals(p->recorder, totals, &samples, &files);
	if (p->stopped) {
		/* nothing to say */
	} else if (!p->voice) {
		log_error("%s: no voice packets in it", p->options->replay);
		p->status = EXIT_FAILED;
	} else if (totals[COUNTER_RECEIVED] == 0 && totals[COUNTER_AUTH] > 0) {
		log_error("%s: none of %" PRIu64 " packets could be opened: wrong key or mode",
			p->options->replay, totals[COUNTER_AUTH]);
		p->status = EXIT_FAILED;
	} else if (totals[COUNTER_RECEIVED] == 0) {
		log_error("%s: no Opus packets in it", p->options->replay);
		p->status = EXIT_FAILED;
	}
	event_emit(p->events, "closed", p->keys->guild_id, "ss, ss", "code", "end", "reason",
		p->reason);
	uv_stop(p->loop);
}

/* ---- life ---- */

int replay_status(const struct replay *p)
{
	return p->status;
}

void replay_stop(struct replay *p)
{
	p->stopped = true;
	finish(p, "stopped");
}

void replay_disk_full(struct replay *p)
{
	p->stopped = true;
	p->status = EXIT_FAILED;
	finish(p, "disk_full");
}

int replay_new(struct replay **ret, const struct options *options, struct events *events)
{
	struct replay *p = calloc(1, sizeof(*p));
	char why[256] = "out of memory";
	int status = EXIT_FAILED, r;

	if (p == NULL) {
		log_error("%s", why);
		goto out;
	}
	p->options = options;
	p->events = events;
	if ((r = keys_file_read(&p->keys, options->keys, why, sizeof(why))) != TD_OK) {
		log_error("%s: %s", options->keys, why);
		status = r == TD_ERR_USAGE ? EXIT_WRONG_USAGE : EXIT_FAILED;
		goto out;
	}
	if (capture_open(&p->capture, options->replay, why, sizeof(why)) != TD_OK) {
		log_error("%s: %s", options->replay, why);
		goto out;
	}
	*ret = p;
	p = NULL;
	status = -1;
out:
	replay_free(p);
	return status;
}

/* What the client itself sent may be in the capture, too, and is nobody's track. */
static uint32_t own_ssrc(const struct keys_file *k)
{
	size_t i;

	for (i = 0; i < k->speaker_count; i++) {
		if (k->speakers[i].user_id == k->user_id && !k->speakers[i].left)
			return k->speakers[i].ssrc;
	}
	return 0;
}

/* The first packet is read before anything else: it is position 0, and names the day. */
int replay_start(struct replay *p, uv_loop_t *loop, struct recorder *recorder)
{
	const struct keys_file *k = p->keys;
	char why[256];
	int r;

	if ((r = capture_next(p->capture, &p->packet, why, sizeof(why))) != 1) {
		log_error("%s: %s", p->options->replay, r < 0 ? why : "no voice packets in it");
		return EXIT_FAILED;
	}
	p->has_packet = true;
	p->loop = loop;
	p->recorder = recorder;
	p->idle = malloc(sizeof(*p->idle));
	p->pace = malloc(sizeof(*p->pace));
	p->conn = recorder_connect(recorder, k->guild_id, &p->lane);
	if (p->idle == NULL || p->pace == NULL || p->conn == 0) {
		free(p->idle);
		free(p->pace);
		p->idle = NULL;
		p->pace = NULL;
		log_error("out of memory");
		return EXIT_FAILED;
	}
	uv_idle_init(loop, p->idle);
	uv_timer_init(loop, p->pace);
	p->idle->data = p->pace->data = p;
	p->started_ns = td_mono_ns();
	p->last_ns = TD_REPLAY_BASE_NS;
	if (recorder_session_open(recorder, p->conn, k->channel_id, k->user_id, TD_REPLAY_BASE_NS,
		    capture_start_utc_ns(p->capture)) != TD_OK) {
		log_error("out of memory");
		return EXIT_FAILED;
	}
	lane_conn_key(p->lane, p->conn, k->mode, own_ssrc(k), k->secret_key);
	uv_idle_start(p->idle, on_idle);
	return -1;
}

static void handle_freed(uv_handle_t *handle)
{
	free(handle);
}

void replay_free(struct replay *p)
{
	if (p == NULL)
		return;
	if (p->idle != NULL) {
		uv_close((uv_handle_t *)p->idle, handle_freed);
		uv_close((uv_handle_t *)p->pace, handle_freed);
	}
	capture_close(p->capture);
	keys_file_free(p->keys);
	free(p);
}
