/* SPDX-License-Identifier: ISC */
#include "receiver/control.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "receiver/json_read.h"

/* Where a parse stands: what it fills, and where its complaint goes. */
struct ctl {
	struct control *c;
	const char *prefix; /* "d." inside a dispatch */
	char *err;
	size_t err_len;
};

enum member_kind {
	MEMBER_ID,
	MEMBER_ID_OR_NULL, /* null and absent: 0 */
	MEMBER_TEXT,
	MEMBER_TEXT_OR_NULL, /* null and absent: "" */
	MEMBER_ENDPOINT,
	MEMBER_ENDPOINT_OR_NULL, /* null: gone; absent is an error */
	MEMBER_COMMAND,
	MEMBER_MARK, /* the text of command mark */
};
struct member {
	const char *name;
	enum member_kind kind;
	size_t offset, size; /* of an id or text in struct connection_info; size: a text's array */
};

#define ID(m, kind)                                                             \
	{                                                                       \
#m, kind, offsetof(struct connection_info, m), sizeof(uint64_t) \
	}
#define TEXT(m, kind)                                               \
	{                                                           \
#m, kind, offsetof(struct connection_info, m),      \
			sizeof(((struct connection_info *)NULL)->m) \
	}
static const struct member info_members[] = {
	ID(guild_id, MEMBER_ID),
	ID(channel_id, MEMBER_ID),
	ID(user_id, MEMBER_ID),
	TEXT(session_id, MEMBER_TEXT),
	TEXT(token, MEMBER_TEXT),
	{ "endpoint", MEMBER_ENDPOINT, 0, 0 },
	{ NULL, MEMBER_ID, 0, 0 },
};
/* Everybody's voice states come this way, and one who left has no session. */
static const struct member state_members[] = {
	ID(guild_id, MEMBER_ID),
	ID(user_id, MEMBER_ID),
	ID(channel_id, MEMBER_ID_OR_NULL),
	TEXT(session_id, MEMBER_TEXT_OR_NULL),
	{ NULL, MEMBER_ID, 0, 0 },
};
static const struct member server_members[] = {
	ID(guild_id, MEMBER_ID),
	TEXT(token, MEMBER_TEXT),
	{ "endpoint", MEMBER_ENDPOINT_OR_NULL, 0, 0 },
	{ NULL, MEMBER_ID, 0, 0 },
};
static const struct member gone_members[] = {
	ID(guild_id, MEMBER_ID),
	TEXT(token, MEMBER_TEXT_OR_NULL),
	{ "endpoint", MEMBER_ENDPOINT_OR_NULL, 0, 0 },
	{ NULL, MEMBER_ID, 0, 0 },
};
static const struct member expect_members[] = {
	ID(guild_id, MEMBER_ID),
	ID(user_id, MEMBER_ID),
	ID(channel_id, MEMBER_ID_OR_NULL),
	{ NULL, MEMBER_ID, 0, 0 },
};
static const struct member command_members[] = {
	{ "command", MEMBER_COMMAND, 0, 0 },
	ID(guild_id, MEMBER_ID),
	{ "text", MEMBER_MARK, 0, 0 },
	{ NULL, MEMBER_ID, 0, 0 },
};
#undef ID
#undef TEXT

static const char *const command_names[] = {
	[COMMAND_PAUSE] = "pause",
	[COMMAND_RESUME] = "resume",
	[COMMAND_STOP] = "stop",
	[COMMAND_LISTEN] = "listen",
	[COMMAND_LEAVE] = "leave",
	[COMMAND_MARK] = "mark",
};
enum { COMMANDS = sizeof(command_names) / sizeof(command_names[0]) };

const char *control_command_name(enum control_command c)
{
	return (unsigned)c < COMMANDS ? command_names[c] : "unknown";
}

static int wrong(const struct ctl *s, const struct member *m, const char *what)
{
	snprintf(s->err, s->err_len, "%s%s: %s", s->prefix, m->name, what);
	return TD_ERR_USAGE;
}

static int read_text(const struct ctl *s, const struct member *m, const json_t *v)
{
	char *out = (char *)&s->c->info + m->offset;

	if (!json_is_string(v))
		return wrong(s, m, "not a string");
	if (json_string_length(v) == 0)
		return wrong(s, m, "empty");
	if (json_string_length(v) >= m->size)
		return wrong(s, m, "too long");
	memcpy(out, json_string_value(v), json_string_length(v) + 1);
	return TD_OK;
}

static int read_endpoint(const struct ctl *s, const struct member *m, const json_t *v)
{
	char what[128];

	if (!json_is_string(v))
		return wrong(s, m, "not a string");
	if (connection_endpoint_parse(&s->c->info, json_string_value(v), what, sizeof(what)) ==
		TD_OK)
		return TD_OK;
	snprintf(s->err, s->err_len, "%s%s", s->prefix, what);
	return TD_ERR_USAGE;
}

static int read_command(const struct ctl *s, const struct member *m, const json_t *v)
{
	unsigned i;

	for (i = 0; i < COMMANDS && json_is_string(v); i++) {
		if (strcmp(json_string_value(v), command_names[i]) == 0) {
			s->c->command = (enum control_command)i;
			return TD_OK;
		}
	}
	return wrong(s, m, "none of join, pause, resume, stop, listen, leave, mark");
}

static int read_mark(const struct ctl *s, const struct member *m, const json_t *v)
{
	if (!json_is_string(v))
		return wrong(s, m, "not a string");
	if (json_string_length(v) > CONTROL_MARK_MAX)
		return wrong(s, m, "too long");
	memcpy(s->c->text, json_string_value(v), json_string_length(v) + 1);
	return TD_OK;
}

static int read_id(const struct ctl *s, const struct member *m, const json_t *v)
{
	uint64_t id;

	if (json_read_id(&id, v) != TD_OK)
		return wrong(s, m, "not an id (a decimal string)");
	memcpy((char *)&s->c->info + m->offset, &id, sizeof(id));
	return TD_OK;
}

static int read_member(const struct ctl *s, const struct member *m, const json_t *v)
{
	bool null = v == NULL || json_is_null(v);

	if (m->kind == MEMBER_MARK && s->c->command != COMMAND_MARK)
		return TD_OK; /* means nothing to the others */
	if (null && (m->kind == MEMBER_ID_OR_NULL || m->kind == MEMBER_TEXT_OR_NULL))
		return TD_OK;
	if (v == NULL)
		return wrong(s, m, "missing");
	if (null && m->kind == MEMBER_ENDPOINT_OR_NULL) {
		s->c->gone = true;
		return TD_OK;
	}
	if (null)
		return wrong(s, m, "null");
	switch (m->kind) {
	case MEMBER_ID:
	case MEMBER_ID_OR_NULL:
		return read_id(s, m, v);
	case MEMBER_TEXT:
	case MEMBER_TEXT_OR_NULL:
		return read_text(s, m, v);
	case MEMBER_ENDPOINT:
	case MEMBER_ENDPOINT_OR_NULL:
		return read_endpoint(s, m, v);
	case MEMBER_COMMAND:
		return read_command(s, m, v);
	case MEMBER_MARK:
		return read_mark(s, m, v);
	}
	return TD_ERR_USAGE;
}

static int read_members(const struct ctl *s, enum control_type type, const struct member *m,
	const json_t *from)
{
	int r = TD_OK;

	s->c->type = type;
	for (; m->name != NULL && r == TD_OK; m++)
		r = read_member(s, m, json_object_get(from, m->name));
	return r;
}

/* What the main gateway sends (voice-gateway.md section 1.1), handed on as it came. */
static int read_dispatch(struct ctl *s, const json_t *line)
{
	const json_t *op = json_object_get(line, "op"), *t = json_object_get(line, "t");
	const json_t *d = json_object_get(line, "d");
	const char *name = json_string_value(t);
	bool dispatch = op == NULL || json_is_null(op) ||
		(json_is_integer(op) && json_integer_value(op) == 0);
	bool state = name != NULL && strcmp(name, "VOICE_STATE_UPDATE") == 0;
	bool server = name != NULL && strcmp(name, "VOICE_SERVER_UPDATE") == 0;

	if (!dispatch || (!state && !server)) {
		s->c->type = CONTROL_IGNORED;
		return TD_OK;
	}
	if (!json_is_object(d)) {
		snprintf(s->err, s->err_len, "d: %s", d == NULL ? "missing" : "not an object");
		return TD_ERR_USAGE;
	}
	s->prefix = "d.";
	if (server)
		return read_members(s, CONTROL_VOICE_SERVER,
			json_is_null(json_object_get(d, "endpoint")) ? gone_members
								     : server_members,
			d);
	if (read_members(s, CONTROL_VOICE_STATE, state_members, d) != TD_OK)
		return TD_ERR_USAGE;
	if (s->c->info.channel_id != 0 && s->c->info.session_id[0] == '\0') {
		snprintf(s->err, s->err_len, "d.session_id: missing");
		return TD_ERR_USAGE;
	}
	return TD_OK;
}

/* The guild is wanted even when the rest is wrong, so it is looked for first and quietly. */
static uint64_t find_guild(const json_t *line)
{
	uint64_t id = 0;

	if (json_read_id(&id, json_object_get(line, "guild_id")) != TD_OK)
		(void)json_read_id(&id, json_object_get(json_object_get(line, "d"), "guild_id"));
	return id;
}

static void wipe_line(json_t *line)
{
	static const char *const secret[] = { "token", "session_id" };
	unsigned i;

	for (i = 0; i < 2; i++) {
		json_read_wipe(json_object_get(line, secret[i]));
		json_read_wipe(json_object_get(json_object_get(line, "d"), secret[i]));
	}
	json_decref(line);
}

/* The whole line as an object; *ret stays NULL for a line of white space. */
static int load(json_t **ret, const char *line, size_t len, char *err, size_t err_len)
{
	json_error_t e;
	json_t *v;

	if (len > CONTROL_LINE_MAX) {
		snprintf(err, err_len, "line: longer than %d bytes", CONTROL_LINE_MAX);
		return TD_ERR_USAGE;
	}
	while (len > 0 && strchr(" \t\r\n", line[len - 1]) != NULL && line[len - 1] != '\0')
		len--;
	if (len == 0)
		return TD_OK;
	if (memchr(line, '\0', len) != NULL) {
		snprintf(err, err_len, "line: has a NUL byte");
		return TD_ERR_USAGE;
	}
	/* jansson's own text quotes the line, and the line may hold the token. */
	v = json_read_text(line, len, JSON_REJECT_DUPLICATES, &e);
	if (v == NULL) {
		snprintf(err, err_len, "line: not JSON near byte %d", e.position);
		return TD_ERR_USAGE;
	}
	if (!json_is_object(v)) {
		json_decref(v);
		snprintf(err, err_len, "line: not a JSON object");
		return TD_ERR_USAGE;
	}
	*ret = v;
	return TD_OK;
}

static bool is_join(const json_t *line)
{
	const char *command = json_string_value(json_object_get(line, "command"));

	return command != NULL && strcmp(command, "join") == 0;
}

int control_parse(struct control *ret, uint64_t *ret_guild, const char *line, size_t len, char *err,
	size_t err_len)
{
	struct control c = { .type = CONTROL_IGNORED };
	struct ctl s = { .c = &c, .prefix = "", .err = err, .err_len = err_len };
	uint64_t guild = 0;
	json_t *v = NULL;
	int r;

	r = load(&v, line, len, err, err_len);
	if (r != TD_OK || v == NULL)
		goto out;
	guild = find_guild(v);
	if (json_object_get(v, "op") != NULL || json_object_get(v, "t") != NULL)
		r = read_dispatch(&s, v);
	else if (is_join(v))
		r = read_members(&s, CONTROL_EXPECT, expect_members, v);
	else if (json_object_get(v, "command") != NULL)
		r = read_members(&s, CONTROL_COMMAND, command_members, v);
	else
		r = read_members(&s, CONTROL_INFO, info_members, v);
out:
	if (r == TD_OK)
		*ret = c;
	*ret_guild = guild;
	connection_info_wipe(&c.info);
	wipe_line(v);
	return r;
}
