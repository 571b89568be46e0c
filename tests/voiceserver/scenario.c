/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "tests/voiceserver/scenario.h"

#define F(type, member, kind)                                \
	{                                                    \
#member, kind, offsetof(struct type, member) \
	}
#define MS(type, member)                                                    \
	{                                                                   \
#member "_ms", FIELD_MS, offsetof(struct type, member##_ns) \
	}
#define OTHER(name)                  \
	{                            \
		name, FIELD_OTHER, 0 \
	}

static const struct field faults_fields[] = {
	F(faults, loss, FIELD_PERCENT),
	F(faults, burst_loss, FIELD_PERCENT),
	F(faults, burst_length, FIELD_COUNT),
	F(faults, duplicate, FIELD_PERCENT),
	F(faults, reorder, FIELD_PERCENT),
	F(faults, reorder_depth, FIELD_COUNT),
	MS(faults, jitter),
	MS(faults, delay),
	MS(faults, deviation),
	F(faults, spike, FIELD_PERCENT),
	MS(faults, spike),
	F(faults, garbage, FIELD_PERCENT),
	F(faults, truncate, FIELD_PERCENT),
	F(faults, corrupt, FIELD_PERCENT),
	MS(faults, from),
	MS(faults, to),
	{ NULL, FIELD_OTHER, 0 },
};

static const struct field span_fields[] = {
	MS(span, from),
	MS(span, to),
	{ NULL, FIELD_OTHER, 0 },
};

static const struct field speaker_fields[] = {
	F(scenario_speaker, user_id, FIELD_ID),
	F(scenario_speaker, clip, FIELD_TEXT),
	MS(scenario_speaker, start),
	F(scenario_speaker, loop, FIELD_BOOL),
	MS(scenario_speaker, spurt),
	MS(scenario_speaker, pause),
	OTHER("pauses"),
	OTHER("present"),
	F(scenario_speaker, freeze, FIELD_BOOL),
	F(scenario_speaker, skew_ppm, FIELD_NUMBER),
	F(scenario_speaker, sequence, FIELD_INT),
	F(scenario_speaker, timestamp, FIELD_INT),
	F(scenario_speaker, near_wrap, FIELD_BOOL),
	{ "speaking_delay_ms", FIELD_SIGNED_MS,
		offsetof(struct scenario_speaker, speaking_delay_ns) },
	F(scenario_speaker, silence_frames, FIELD_COUNT),
	F(scenario_speaker, extension, FIELD_BOOL),
	F(scenario_speaker, video, FIELD_BOOL),
	F(scenario_speaker, early_keys, FIELD_BOOL),
	F(scenario_speaker, padding, FIELD_PERCENT),
	MS(scenario_speaker, padding_burst),
	MS(scenario_speaker, rtcp),
	OTHER("faults"),
	{ NULL, FIELD_OTHER, 0 },
};

static const struct field event_fields[] = {
	{ "at_ms", FIELD_MS, offsetof(struct scenario_event, at_ns) },
	OTHER("do"),
	F(scenario_event, code, FIELD_COUNT),
	F(scenario_event, keep, FIELD_BOOL),
	F(scenario_event, new_info, FIELD_BOOL),
	MS(scenario_event, new_info),
	F(scenario_event, null_endpoint, FIELD_BOOL),
	F(scenario_event, close_old, FIELD_BOOL),
	F(scenario_event, count, FIELD_COUNT),
	F(scenario_event, size, FIELD_COUNT),
	MS(scenario_event, length),
	F(scenario_event, user_id, FIELD_ID),
	F(scenario_event, to_user_id, FIELD_ID),
	{ NULL, FIELD_OTHER, 0 },
};

static const struct field guild_fields[] = {
	F(scenario_guild, guild_id, FIELD_ID),
	F(scenario_guild, channel_id, FIELD_ID),
	F(scenario_guild, dave, FIELD_BOOL),
	F(scenario_guild, cut_after, FIELD_COUNT),
	F(scenario_guild, stall_after, FIELD_COUNT),
	F(scenario_guild, sender_early, FIELD_BOOL),
	F(scenario_guild, users_clip, FIELD_TEXT),
	OTHER("users"),
	OTHER("speakers"),
	OTHER("events"),
	{ NULL, FIELD_OTHER, 0 },
};

static const struct field scenario_fields[] = {
	F(scenario, seed, FIELD_INT),
	OTHER("seconds"),
	{ "media", FIELD_TEXT, offsetof(struct scenario, media_dir) },
	F(scenario, tls, FIELD_BOOL),
	OTHER("modes"),
	F(scenario, nat, FIELD_BOOL),
	F(scenario, noise, FIELD_BOOL),
	F(scenario, number_acks, FIELD_BOOL),
	F(scenario, first_number, FIELD_COUNT),
	F(scenario, resume_buffer, FIELD_COUNT),
	MS(scenario, resume),
	F(scenario, resumed_last, FIELD_BOOL),
	F(scenario, require_dave, FIELD_BOOL),
	MS(scenario, heartbeat),
	F(scenario, discovery_loss, FIELD_COUNT),
	OTHER("media_after"),
	OTHER("end"),
	OTHER("faults"),
	OTHER("guilds"),
	{ NULL, FIELD_OTHER, 0 },
};

/* Names of an enumeration, in the order of its values. */
static const char *const event_names[] = { "cut", "close", "new_server", "rekey", "fragment",
	"noise", "mute_acks", "ask_heartbeat", "junk", "garbage", "outage", "move_ssrc",
	"dave_churn", "dave_recreate", "dave_downgrade", "dave_upgrade", "dave_bad_commit",
	"dave_bad_welcome", "dave_late", "dave_revoke", "dave_unexpected", "dave_corrupt",
	"dave_replay", "dave_plain", NULL };
static const char *const end_names[] = { "close", "leave", "stay", NULL };
static const char *const after_names[] = { "description", "speaking", "udp", NULL };

/* The place of v's text in names; -1 and a reason when it has none. */
static int name_index(const char *const *names, json_t *v, const char *what,
	char err[static FIELDS_ERR_LEN])
{
	const char *text = json_string_value(v);
	int i;

	for (i = 0; text != NULL && names[i] != NULL; i++)
		if (strcmp(names[i], text) == 0)
			return i;
	snprintf(err, FIELDS_ERR_LEN, "unknown %s \"%.60s\"", what, text != NULL ? text : "");
	return -1;
}

static int faults_load(struct faults *ret, json_t *obj, char err[static FIELDS_ERR_LEN])
{
	return obj == NULL ? TD_OK : fields_load(ret, faults_fields, obj, "faults", err);
}

/* An array of v's length for its elements, none when v is NULL. */
static int list_room(void **ret, size_t *ret_n, size_t size, json_t *v, const char *what,
	char err[static FIELDS_ERR_LEN])
{
	size_t n = json_array_size(v);
	void *list = NULL;

	if (v != NULL && (!json_is_array(v) || n > SCENARIO_MAX_LIST)) {
		snprintf(err, FIELDS_ERR_LEN, "\"%s\" is not a list, or a very long one", what);
		return TD_ERR_USAGE;
	}
	if (n > 0 && (list = calloc(n, size)) == NULL)
		return TD_ERR_NOMEM;
	*ret = list;
	*ret_n = n;
	return TD_OK;
}

static int spans_load(struct span **ret, size_t *ret_n, json_t *v, const char *what,
	char err[static FIELDS_ERR_LEN])
{
	uint64_t before = 0;
	size_t i;
	int r;

	if ((r = list_room((void **)ret, ret_n, sizeof(**ret), v, what, err)) != TD_OK)
		return r;
	for (i = 0; i < *ret_n; i++) {
		(*ret)[i].to_ns = UINT64_MAX;
		r = fields_load(&(*ret)[i], span_fields, json_array_get(v, i), what, err);
		if (r != TD_OK)
			return r;
		if ((*ret)[i].from_ns < before || (*ret)[i].to_ns < (*ret)[i].from_ns) {
			snprintf(err, FIELDS_ERR_LEN, "\"%s\" are not in order", what);
			return TD_ERR_USAGE;
		}
		before = (*ret)[i].to_ns;
	}
	return TD_OK;
}

static int speaker_load(struct scenario_speaker *s, const struct scenario *sc, size_t number,
	json_t *obj, char err[static FIELDS_ERR_LEN])
{
	static const char *const clips[] = { "alto.opus", "bass-mono.opus", "tenor-fec.opus",
		"wide.opus" };
	int r;

	s->user_id = 200000000000000001u + number;
	s->clip = clips[number % 4];
	s->loop = s->extension = true;
	s->sequence = s->timestamp = -1;
	s->silence_frames = 5;
	s->faults = sc->faults;
	if ((r = fields_load(s, speaker_fields, obj, "speaker", err)) != TD_OK ||
		(r = faults_load(&s->faults, json_object_get(obj, "faults"), err)) != TD_OK ||
		(r = spans_load(&s->pauses, &s->n_pauses, json_object_get(obj, "pauses"), "pauses",
			 err)) != TD_OK)
		return r;
	r = spans_load(&s->present, &s->n_present, json_object_get(obj, "present"), "present", err);
	if (r != TD_OK || s->n_present > 0)
		return r;
	if ((s->present = calloc(1, sizeof(*s->present))) == NULL)
		return TD_ERR_NOMEM;
	s->n_present = 1;
	s->present[0].to_ns = UINT64_MAX;
	return TD_OK;
}

static int event_load(struct scenario_event *e, json_t *obj, char err[static FIELDS_ERR_LEN])
{
	int kind, r;

	if ((r = fields_load(e, event_fields, obj, "event", err)) != TD_OK)
		return r;
	if ((kind = name_index(event_names, json_object_get(obj, "do"), "event", err)) < 0)
		return TD_ERR_USAGE;
	e->kind = (enum event_kind)kind;
	if (e->kind == EVENT_CLOSE && (e->code < 1000 || e->code > 4999)) {
		snprintf(err, FIELDS_ERR_LEN, "a close event needs a code of 1000-4999");
		return TD_ERR_USAGE;
	}
	return TD_OK;
}

static int users_load(struct scenario_guild *g, json_t *v, char err[static FIELDS_ERR_LEN])
{
	static const struct field user_fields[] = { { "id", FIELD_ID, 0 },
		{ NULL, FIELD_OTHER, 0 } };
	json_t *list = v != NULL ? json_incref(v) : json_pack("[s]", "100000000000000001");
	json_t *obj;
	size_t i;
	int r;

	r = list_room((void **)&g->users, &g->n_users, sizeof(*g->users), list, "users", err);
	for (i = 0; r == TD_OK && i < g->n_users; i++) {
		if ((obj = json_pack("{s:O}", "id", json_array_get(list, i))) == NULL)
			r = TD_ERR_NOMEM;
		else
			r = fields_load(&g->users[i], user_fields, obj, "users", err);
		json_decref(obj);
	}
	if (r == TD_OK && g->n_users == 0) {
		snprintf(err, FIELDS_ERR_LEN, "\"users\" names nobody to record");
		r = TD_ERR_USAGE;
	}
	json_decref(list);
	return r;
}

static int guild_load(struct scenario_guild *g, const struct scenario *sc, size_t number,
	json_t *obj, char err[static FIELDS_ERR_LEN])
{
	json_t *speakers = json_object_get(obj, "speakers");
	json_t *events = json_object_get(obj, "events");
	size_t i;
	int r;

	g->guild_id = 300000000000000001u + number;
	g->channel_id = 400000000000000001u + number;
	g->sender_early = true;
	if ((r = fields_load(g, guild_fields, obj, "guild", err)) != TD_OK ||
		(r = users_load(g, json_object_get(obj, "users"), err)) != TD_OK ||
		(r = list_room((void **)&g->speakers, &g->n_speakers, sizeof(*g->speakers),
			 speakers, "speakers", err)) != TD_OK ||
		(r = list_room((void **)&g->events, &g->n_events, sizeof(*g->events), events,
			 "events", err)) != TD_OK)
		return r;
	for (i = 0; r == TD_OK && i < g->n_speakers; i++)
		r = speaker_load(&g->speakers[i], sc, i, json_array_get(speakers, i), err);
	for (i = 0; r == TD_OK && i < g->n_events; i++)
		r = event_load(&g->events[i], json_array_get(events, i), err);
	return r;
}

static int modes_load(struct scenario *s, json_t *v, char err[static FIELDS_ERR_LEN])
{
	enum transport_mode mode;
	size_t i;

	if (v == NULL)
		return TD_OK;
	s->modes = 0;
	for (i = 0; i < json_array_size(v); i++) {
		const char *name = json_string_value(json_array_get(v, i));

		if (name == NULL || transport_mode_parse(&mode, name) != TD_OK)
			break;
		s->modes |= 1u << mode;
	}
	if (s->modes != 0 && i == json_array_size(v))
		return TD_OK;
	snprintf(err, FIELDS_ERR_LEN, "\"modes\" is not a list of encryption modes");
	return TD_ERR_USAGE;
}

static int choices_load(struct scenario *s, json_t *root, char err[static FIELDS_ERR_LEN])
{
	json_t *seconds = json_object_get(root, "seconds"), *v;
	int i;

	if (seconds != NULL) {
		if (!json_is_number(seconds) || json_number_value(seconds) < 0 ||
			json_number_value(seconds) > 1e7) {
			snprintf(err, FIELDS_ERR_LEN, "\"seconds\" makes no sense");
			return TD_ERR_USAGE;
		}
		s->length_ns = (uint64_t)(json_number_value(seconds) * (double)TD_SEC_NS);
	}
	if ((v = json_object_get(root, "end")) != NULL) {
		if ((i = name_index(end_names, v, "end", err)) < 0)
			return TD_ERR_USAGE;
		s->end = (enum scenario_end)i;
	}
	if ((v = json_object_get(root, "media_after")) != NULL) {
		if ((i = name_index(after_names, v, "media_after", err)) < 0)
			return TD_ERR_USAGE;
		s->media_after = (enum media_after)i;
	}
	return TD_OK;
}

static void defaults(struct scenario *s)
{
	s->seed = 1;
	s->length_ns = 10 * TD_SEC_NS;
	s->media_dir = "tests/media";
	s->modes = 1u << TRANSPORT_AES256_GCM | 1u << TRANSPORT_XCHACHA20;
	s->nat = s->noise = s->number_acks = true;
	s->resume_buffer = 256;
	s->resume_ns = 60 * TD_SEC_NS;
	s->heartbeat_ns = 13750 * TD_MS_NS;
	s->faults.burst_length = 4;
	s->faults.reorder_depth = 1;
	s->faults.to_ns = UINT64_MAX;
}

int scenario_new(struct scenario **ret, json_t *root, char err[static FIELDS_ERR_LEN])
{
	json_t *guilds = json_object_get(root, "guilds");
	struct scenario *s = calloc(1, sizeof(*s));
	size_t i;
	int r = TD_ERR_NOMEM;

	if (s == NULL) {
		json_decref(root);
		goto out;
	}
	s->root = root;
	defaults(s);
	if ((r = fields_load(s, scenario_fields, root, "scenario", err)) != TD_OK ||
		(r = choices_load(s, root, err)) != TD_OK ||
		(r = modes_load(s, json_object_get(root, "modes"), err)) != TD_OK ||
		(r = faults_load(&s->faults, json_object_get(root, "faults"), err)) != TD_OK ||
		(r = list_room((void **)&s->guilds, &s->n_guilds, sizeof(*s->guilds), guilds,
			 "guilds", err)) != TD_OK)
		goto out;
	if (s->n_guilds == 0 || s->n_guilds > SCENARIO_MAX_GUILDS) {
		snprintf(err, FIELDS_ERR_LEN, "a scenario has 1 to %d guilds", SCENARIO_MAX_GUILDS);
		r = TD_ERR_USAGE;
		goto out;
	}
	for (i = 0; r == TD_OK && i < s->n_guilds; i++)
		r = guild_load(&s->guilds[i], s, i, json_array_get(guilds, i), err);
	if (r != TD_OK)
		goto out;
	*ret = s;
	s = NULL;
out:
	scenario_free(s);
	return r;
}

void scenario_free(struct scenario *s)
{
	size_t i, k;

	if (s == NULL)
		return;
	for (i = 0; i < s->n_guilds; i++) {
		for (k = 0; k < s->guilds[i].n_speakers; k++) {
			free(s->guilds[i].speakers[k].pauses);
			free(s->guilds[i].speakers[k].present);
		}
		free(s->guilds[i].users);
		free(s->guilds[i].speakers);
		free(s->guilds[i].events);
	}
	free(s->guilds);
	json_decref(s->root);
	free(s);
}
