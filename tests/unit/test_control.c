/* SPDX-License-Identifier: ISC */
/* Connection info and control lines: what is taken, what is refused, and what no error may say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "receiver/connection_info.h"
#include "receiver/control.h"

#define TOKEN "66d29164ee8cd919"
#define SESSION "30f32c5d54ae86130fc4a215c7474263"
#define IDS                                                                         \
	"\"guild_id\":\"41771983423143937\",\"channel_id\":\"127121515262115840\"," \
	"\"user_id\":\"104694319306248192\""
#define SECRETS "\"session_id\":\"" SESSION "\",\"token\":\"" TOKEN "\""
#define GUILD 41771983423143937u

struct endpoint_case {
	const char *text, *host; /* host NULL: refused */
	uint16_t port;
	bool tls;
	const char *err;
};

static const struct endpoint_case endpoints[] = {
	{ "c-fra01.discord.media:2053", "c-fra01.discord.media", 2053, true, NULL },
	{ "c-fra01.discord.media", "c-fra01.discord.media", 443, true, NULL },
	{ "wss://a.example", "a.example", 443, true, NULL },
	{ "WSS://a.example:65535/", "a.example", 65535, true, NULL },
	{ "a.example/", "a.example", 443, true, NULL },
	{ "a.example.", "a.example.", 443, true, NULL },
	{ "192.0.2.7:1", "192.0.2.7", 1, true, NULL },
	{ "ws://127.0.0.1:8080", "127.0.0.1", 8080, false, NULL },
	{ "ws://127.255.1.2", "127.255.1.2", 80, false, NULL },
	{ "ws://localhost:9", "localhost", 9, false, NULL },
	{ "ws://LocalHost", "LocalHost", 80, false, NULL },
	{ "ws://[::1]:8080/", "::1", 8080, false, NULL },
	{ "[2001:db8::1]", "2001:db8::1", 443, true, NULL },
	{ "wss://[::1]:5", "::1", 5, true, NULL },

	{ "ws://a.example:80", NULL, 0, false, "loopback" },
	{ "ws://128.0.0.1", NULL, 0, false, "loopback" },
	{ "ws://127.0.0.1.example.com", NULL, 0, false, "loopback" },
	{ "ws://localhost.example.com", NULL, 0, false, "loopback" },
	{ "ws://127.1", NULL, 0, false, "loopback" },
	{ "ws://[::2]", NULL, 0, false, "loopback" },
	{ "ws://[::ffff:8.8.8.8]", NULL, 0, false, "loopback" },
	{ "http://a.example", NULL, 0, false, "scheme" },
	{ "https://a.example", NULL, 0, false, "scheme" },
	{ "://a", NULL, 0, false, "scheme" },
	{ "", NULL, 0, false, "no host" },
	{ "wss://", NULL, 0, false, "no host" },
	{ ":443", NULL, 0, false, "no host" },
	{ "[]:443", NULL, 0, false, "no host" },
	{ "/", NULL, 0, false, "no host" },
	{ "a:0", NULL, 0, false, "1-65535" },
	{ "a:", NULL, 0, false, "1-65535" },
	{ "a:65536", NULL, 0, false, "1-65535" },
	{ "a:99999999999999999999", NULL, 0, false, "1-65535" },
	{ "a:+1", NULL, 0, false, "not a number" },
	{ "a: 1", NULL, 0, false, "not a number" },
	{ "a:1:2", NULL, 0, false, "not a number" },
	{ "::1", NULL, 0, false, "no host" },
	{ "a/?v=8", NULL, 0, false, "path" },
	{ "a?v=8", NULL, 0, false, "path" },
	{ "a#x", NULL, 0, false, "path" },
	{ "a/b", NULL, 0, false, "path" },
	{ "a//", NULL, 0, false, "path" },
	{ "user@a.example", NULL, 0, false, "character" },
	{ "user:pass@a.example", NULL, 0, false, "not a number" },
	{ "a b", NULL, 0, false, "character" },
	{ "a\nb", NULL, 0, false, "character" },
	{ "a..b", NULL, 0, false, "character" },
	{ ".a", NULL, 0, false, "character" },
	{ "\xc3\xa4.example", NULL, 0, false, "character" },
	{ "[::1", NULL, 0, false, "bracket is not closed" },
	{ "[::1/]", NULL, 0, false, "path" },
	{ "[::1]x", NULL, 0, false, "follows its bracket" },
	{ "[::1]443", NULL, 0, false, "follows its bracket" },
	{ "[a.example]", NULL, 0, false, "IPv6" },
	{ "[fe80::1%eth0]", NULL, 0, false, "IPv6" },
};

static void test_endpoints(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
		const struct endpoint_case *c = &endpoints[i];
		struct connection_info info, before;
		char err[160] = "";
		int r;

		memset(&info, 0x5a, sizeof(info));
		before = info;
		r = connection_endpoint_parse(&info, c->text, err, sizeof(err));
		if (c->host == NULL) {
			if (r != TD_ERR_USAGE || strstr(err, c->err) == NULL)
				fail_msg("%s: %d, \"%s\"", c->text, r, err);
			assert_memory_equal(err, "endpoint: ", 10);
			assert_memory_equal(&info, &before, sizeof(info));
			continue;
		}
		if (r != TD_OK)
			fail_msg("%s: %s", c->text, err);
		assert_string_equal(info.host, c->host);
		assert_int_equal(info.port, c->port);
		assert_int_equal(info.tls, c->tls);
		assert_int_equal(info.guild_id, before.guild_id);
	}
}

static void test_endpoint_length(void **state)
{
	char text[400], err[160];
	struct connection_info info;

	(void)state;
	memset(text, 'a', sizeof(text));
	text[CONNECTION_HOST_MAX - 1] = '\0';
	assert_int_equal(connection_endpoint_parse(&info, text, err, sizeof(err)), TD_OK);
	assert_int_equal(strlen(info.host), CONNECTION_HOST_MAX - 1);
	text[CONNECTION_HOST_MAX - 1] = 'a';
	text[CONNECTION_HOST_MAX] = '\0';
	assert_int_equal(connection_endpoint_parse(&info, text, err, sizeof(err)), TD_ERR_USAGE);
	assert_non_null(strstr(err, "too long"));
}

static int parse(struct control *c, uint64_t *guild, const char *line, char err[static 160])
{
	err[0] = '\0';
	return control_parse(c, guild, line, strlen(line), err, 160);
}

static void test_info(void **state)
{
	/* The members in another order, ids as numbers, members we do not know. */
	static const char *const lines[] = {
		"{" IDS "," SECRETS ",\"endpoint\":\"a.example:2053\"}",
		"{\"endpoint\":\"wss://a.example:2053\"," SECRETS ",\"later\":{\"x\":[1]}," IDS "}",
		" {\"guild_id\":41771983423143937,\"channel_id\":127121515262115840,"
		"\"user_id\":104694319306248192," SECRETS ",\"endpoint\":\"a.example:2053\"} \r\n",
	};
	struct control c;
	uint64_t guild;
	char err[160];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(parse(&c, &guild, lines[i], err), TD_OK);
		assert_int_equal(c.type, CONTROL_INFO);
		assert_int_equal(guild, GUILD);
		assert_int_equal(c.info.guild_id, GUILD);
		assert_int_equal(c.info.channel_id, 127121515262115840u);
		assert_int_equal(c.info.user_id, 104694319306248192u);
		assert_string_equal(c.info.session_id, SESSION);
		assert_string_equal(c.info.token, TOKEN);
		assert_string_equal(c.info.host, "a.example");
		assert_int_equal(c.info.port, 2053);
		assert_true(c.info.tls);
		assert_false(c.gone);
	}
}

static void test_commands(void **state)
{
	static const char *const names[] = { "pause", "resume", "stop", "listen", "leave" };
	char line[120], err[160];
	struct control c;
	uint64_t guild;
	unsigned i;

	(void)state;
	for (i = 0; i < 5; i++) {
		snprintf(line, sizeof(line),
			"{\"command\":\"%s\",\"guild_id\":\"41771983423143937\"}", names[i]);
		assert_int_equal(parse(&c, &guild, line, err), TD_OK);
		assert_int_equal(c.type, CONTROL_COMMAND);
		assert_int_equal(c.command, i);
		assert_int_equal(c.info.guild_id, GUILD);
		assert_string_equal(control_command_name((enum control_command)i), names[i]);
	}
	assert_string_equal(control_command_name((enum control_command)99), "unknown");
}

/* A mark has a text, which may be anything that fits; other commands have none. */
static void test_mark(void **state)
{
	static const struct {
		const char *text, *err; /* text: as JSON; NULL: the member is absent */
	} cases[] = {
		{ "\"K\\u00fcrzung\\n\"", NULL },
		{ "\"\"", NULL },
		{ NULL, "text: missing" },
		{ "null", "text: null" },
		{ "5", "text: not a string" },
		{ "\"\\u0000\"", "line: not JSON" },
	};
	char line[400], longest[2 * CONTROL_MARK_MAX], err[160];
	struct control c;
	uint64_t guild;
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(line, sizeof(line), "{\"command\":\"mark\",\"guild_id\":\"5\"%s%s}",
			cases[i].text != NULL ? ",\"text\":" : "",
			cases[i].text != NULL ? cases[i].text : "");
		if (cases[i].err == NULL) {
			assert_int_equal(parse(&c, &guild, line, err), TD_OK);
			assert_int_equal(c.command, COMMAND_MARK);
			assert_string_equal(c.text, i == 0 ? "K\xc3\xbcrzung\n" : "");
		} else {
			assert_int_equal(parse(&c, &guild, line, err), TD_ERR_USAGE);
			assert_non_null(strstr(err, cases[i].err));
		}
	}
	for (i = CONTROL_MARK_MAX; i <= CONTROL_MARK_MAX + 1; i++) {
		memset(longest, 'a', i);
		longest[i] = '\0';
		snprintf(line, sizeof(line),
			"{\"command\":\"mark\",\"guild_id\":\"5\",\"text\":\"%s\"}", longest);
		assert_int_equal(parse(&c, &guild, line, err),
			i == CONTROL_MARK_MAX ? TD_OK : TD_ERR_USAGE);
	}
	assert_int_equal(parse(&c, &guild, "{\"command\":\"stop\",\"guild_id\":\"5\",\"text\":7}",
				 err),
		TD_OK);
}

/* Who we are in a guild whose dispatches bring the rest. */
static void test_join(void **state)
{
	static const struct {
		const char *line, *err;
	} bad[] = {
		{ "{\"command\":\"join\",\"user_id\":\"2\"}", "guild_id: missing" },
		{ "{\"command\":\"join\",\"guild_id\":\"1\"}", "user_id: missing" },
		{ "{\"command\":\"join\",\"guild_id\":\"1\",\"user_id\":null}", "user_id: null" },
		{ "{\"command\":\"join\",\"guild_id\":\"1\",\"user_id\":\"2\",\"channel_id\":"
		  "\"x\"}",
			"channel_id: not an id (a decimal string)" },
	};
	struct control c;
	uint64_t guild;
	char err[160];
	size_t i;

	(void)state;
	assert_int_equal(parse(&c, &guild,
				 "{\"command\":\"join\",\"guild_id\":\"41771983423143937\","
				 "\"user_id\":\"2\",\"channel_id\":\"3\"}",
				 err),
		TD_OK);
	assert_int_equal(c.type, CONTROL_EXPECT);
	assert_int_equal(c.info.guild_id, GUILD);
	assert_int_equal(c.info.user_id, 2);
	assert_int_equal(c.info.channel_id, 3);
	assert_int_equal(guild, GUILD);
	assert_int_equal(parse(&c, &guild,
				 "{\"command\":\"join\",\"guild_id\":\"1\",\"user_id\":\"2\"}",
				 err),
		TD_OK);
	assert_int_equal(c.info.channel_id, 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(&c, &guild, bad[i].line, err), TD_ERR_USAGE);
		assert_string_equal(err, bad[i].err);
	}
}

static void test_voice_state(void **state)
{
	struct control c;
	uint64_t guild;
	char err[160];

	(void)state;
	/* As the main gateway sends it, with all it carries beside. */
	assert_int_equal(
		parse(&c, &guild,
			"{\"t\":\"VOICE_STATE_UPDATE\",\"s\":7,\"op\":0,\"d\":{\"member\":"
			"{\"user\":{\"username\":\"x\"}},\"user_id\":\"104694319306248192\","
			"\"suppress\":false,\"session_id\":\"" SESSION "\",\"self_mute\":true,"
			"\"guild_id\":\"41771983423143937\",\"channel_id\":\"127121515262115840\"}"
			"}",
			err),
		TD_OK);
	assert_int_equal(c.type, CONTROL_VOICE_STATE);
	assert_int_equal(c.info.user_id, 104694319306248192u);
	assert_int_equal(c.info.channel_id, 127121515262115840u);
	assert_string_equal(c.info.session_id, SESSION);
	assert_int_equal(guild, GUILD);

	assert_int_equal(parse(&c, &guild,
				 "{\"op\":0,\"t\":\"VOICE_STATE_UPDATE\",\"d\":{\"user_id\":12,"
				 "\"session_id\":\"" SESSION "\",\"guild_id\":41771983423143937,"
				 "\"channel_id\":null}}",
				 err),
		TD_OK);
	assert_int_equal(c.info.channel_id, 0);
	assert_int_equal(c.info.user_id, 12);
	assert_int_equal(guild, GUILD);

	assert_int_equal(parse(&c, &guild,
				 "{\"t\":\"VOICE_STATE_UPDATE\",\"d\":{\"user_id\":\"12\",\"guild_"
				 "id\":"
				 "\"41771983423143937\",\"channel_id\":\"5\",\"session_id\":null}}",
				 err),
		TD_ERR_USAGE);
	assert_string_equal(err, "d.session_id: missing");
}

static void test_voice_server(void **state)
{
	struct control c;
	uint64_t guild;
	char err[160];

	(void)state;
	assert_int_equal(parse(&c, &guild,
				 "{\"op\":0,\"t\":\"VOICE_SERVER_UPDATE\",\"d\":{\"token\":\"" TOKEN
				 "\",\"guild_id\":\"41771983423143937\",\"endpoint\":\"a.example:"
				 "2053\"}}",
				 err),
		TD_OK);
	assert_int_equal(c.type, CONTROL_VOICE_SERVER);
	assert_false(c.gone);
	assert_string_equal(c.info.token, TOKEN);
	assert_string_equal(c.info.host, "a.example");
	assert_int_equal(c.info.port, 2053);

	assert_int_equal(parse(&c, &guild,
				 "{\"op\":0,\"t\":\"VOICE_SERVER_UPDATE\",\"d\":{\"token\":\"" TOKEN
				 "\",\"guild_id\":\"41771983423143937\",\"endpoint\":null}}",
				 err),
		TD_OK);
	assert_int_equal(c.type, CONTROL_VOICE_SERVER);
	assert_true(c.gone);
	assert_string_equal(c.info.host, "");
	assert_int_equal(guild, GUILD);
}

static void test_ignored(void **state)
{
	static const char *const lines[] = {
		"",
		"  \t ",
		"\r\n",
		"{\"op\":11}",
		"{\"op\":10,\"d\":{\"heartbeat_interval\":41250},\"s\":null,\"t\":null}",
		"{\"op\":0,\"t\":\"GUILD_CREATE\",\"d\":{}}",
		"{\"op\":0,\"t\":\"voice_state_update\",\"d\":7}",
		"{\"op\":7,\"t\":\"VOICE_STATE_UPDATE\"}",
		"{\"op\":\"0\",\"t\":\"VOICE_STATE_UPDATE\"}",
		"{\"t\":3}",
		"{\"t\":null,\"command\":\"pause\"}",
	};
	struct control c;
	uint64_t guild;
	char err[160];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (parse(&c, &guild, lines[i], err) != TD_OK || c.type != CONTROL_IGNORED)
			fail_msg("%s: \"%s\"", lines[i], err);
	}
}

struct refusal {
	const char *line, *err;
	uint64_t guild;
};

#define REST "\"channel_id\":\"1\",\"user_id\":\"2\""
static const struct refusal refusals[] = {
	{ "{}", "guild_id: missing", 0 },
	{ "{" REST "," SECRETS ",\"endpoint\":\"a\"}", "guild_id: missing", 0 },
	{ "{\"guild_id\":\"41771983423143937\"," SECRETS ",\"endpoint\":\"a\"}",
		"channel_id: missing", GUILD },
	{ "{" IDS ",\"token\":\"" TOKEN "\",\"endpoint\":\"a\"}", "session_id: missing", GUILD },
	{ "{" IDS ",\"session_id\":\"" SESSION "\",\"endpoint\":\"a\"}", "token: missing", GUILD },
	{ "{" IDS "," SECRETS "}", "endpoint: missing", GUILD },
	{ "{" IDS "," SECRETS ",\"endpoint\":null}", "endpoint: null", GUILD },
	{ "{" IDS "," SECRETS ",\"endpoint\":7}", "endpoint: not a string", GUILD },
	{ "{" IDS "," SECRETS ",\"endpoint\":\"\"}", "endpoint: has no host", GUILD },
	{ "{" IDS "," SECRETS ",\"endpoint\":\"ws://a.example\"}",
		"endpoint: ws:// is for loopback addresses only; use wss://", GUILD },
	{ "{" IDS ",\"session_id\":\"\",\"token\":\"" TOKEN "\",\"endpoint\":\"a\"}",
		"session_id: empty", GUILD },
	{ "{" IDS ",\"session_id\":5,\"token\":\"" TOKEN "\",\"endpoint\":\"a\"}",
		"session_id: not a string", GUILD },
	{ "{" IDS ",\"session_id\":\"" SESSION "\",\"token\":[\"" TOKEN "\"],\"endpoint\":\"a\"}",
		"token: not a string", GUILD },
	{ "{" IDS ",\"session_id\":\"" SESSION "\",\"token\":\"\",\"endpoint\":\"a\"}",
		"token: empty", GUILD },
	{ "{\"guild_id\":\"x\"," REST "," SECRETS ",\"endpoint\":\"a\"}",
		"guild_id: not an id (a decimal string)", 0 },
	{ "{\"guild_id\":\"0\"," REST "," SECRETS ",\"endpoint\":\"a\"}",
		"guild_id: not an id (a decimal string)", 0 },
	{ "{\"guild_id\":0," REST "," SECRETS ",\"endpoint\":\"a\"}",
		"guild_id: not an id (a decimal string)", 0 },
	{ "{\"guild_id\":-4," REST "," SECRETS ",\"endpoint\":\"a\"}",
		"guild_id: not an id (a decimal string)", 0 },
	{ "{\"guild_id\":4.5," REST "," SECRETS ",\"endpoint\":\"a\"}",
		"guild_id: not an id (a decimal string)", 0 },
	{ "{\"guild_id\":4e3," REST "," SECRETS ",\"endpoint\":\"a\"}",
		"guild_id: not an id (a decimal string)", 0 },
	{ "{\"guild_id\":\"18446744073709551616\"," REST "," SECRETS ",\"endpoint\":\"a\"}",
		"guild_id: not an id (a decimal string)", 0 },
	{ "{\"guild_id\":\"41771983423143937\",\"channel_id\":null,\"user_id\":\"2\"," SECRETS
	  ",\"endpoint\":\"a\"}",
		"channel_id: null", GUILD },
	{ "{\"command\":\"pause\"}", "guild_id: missing", 0 },
	{ "{\"command\":\"reboot\",\"guild_id\":\"41771983423143937\"}",
		"command: none of join, pause, resume, stop, listen, leave, mark", GUILD },
	{ "{\"command\":null,\"guild_id\":\"41771983423143937\"}", "command: null", GUILD },
	{ "{\"command\":1,\"guild_id\":\"41771983423143937\"}",
		"command: none of join, pause, resume, stop, listen, leave, mark", GUILD },
	{ "{\"op\":0,\"t\":\"VOICE_STATE_UPDATE\"}", "d: missing", 0 },
	{ "{\"op\":0,\"t\":\"VOICE_STATE_UPDATE\",\"d\":[]}", "d: not an object", 0 },
	{ "{\"op\":0,\"t\":\"VOICE_STATE_UPDATE\",\"d\":{\"user_id\":\"5\"}}",
		"d.guild_id: missing", 0 },
	{ "{\"op\":0,\"t\":\"VOICE_SERVER_UPDATE\",\"d\":{\"guild_id\":\"41771983423143937\","
	  "\"token\":\"" TOKEN "\"}}",
		"d.endpoint: missing", GUILD },
	{ "{\"op\":0,\"t\":\"VOICE_SERVER_UPDATE\",\"d\":{\"guild_id\":\"41771983423143937\","
	  "\"endpoint\":\"a\"}}",
		"d.token: missing", GUILD },
	{ "{\"op\":0,\"t\":\"VOICE_SERVER_UPDATE\",\"d\":{\"guild_id\":\"41771983423143937\","
	  "\"token\":\"" TOKEN "\",\"endpoint\":\"a/b\"}}",
		"d.endpoint: a path or query is not allowed", GUILD },
	{ "[]", "line: not a JSON object", 0 },
	{ "7", "line: not", 0 },
	{ "\"" TOKEN "\"", "line: not", 0 },
	{ TOKEN, "line: not JSON", 0 },
	{ "{\"token\":\"" TOKEN "\"", "line: not JSON", 0 },
	{ "{\"token\":\"" TOKEN "\"} x", "line: not JSON", 0 },
	{ "{\"token\":" TOKEN "}", "line: not JSON", 0 },
	{ "{\"token\":\"" TOKEN "\\u0000\"}", "line: not JSON", 0 },
	{ "{\"token\":\"" TOKEN "\xff\"}", "line: not JSON", 0 },
	{ "{\"guild_id\":\"1\",\"guild_id\":\"2\",\"token\":\"" TOKEN "\"}", "line: not JSON", 0 },
	{ "{\"guild_id\":99999999999999999999}", "line: not JSON", 0 },
};

static void test_refusals(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const struct refusal *f = &refusals[i];
		struct control c, before;
		uint64_t guild = 77;
		char err[160];
		int r;

		memset(&c, 0x5a, sizeof(c));
		before = c;
		r = parse(&c, &guild, f->line, err);
		if (r != TD_ERR_USAGE || strncmp(err, f->err, strlen(f->err)) != 0)
			fail_msg("%s: %d, \"%s\"", f->line, r, err);
		if (strstr(err, TOKEN) != NULL || strstr(err, SESSION) != NULL ||
			strchr(err, '\n') != NULL)
			fail_msg("%s: says \"%s\"", f->line, err);
		assert_int_equal(guild, f->guild);
		assert_memory_equal(&c, &before, sizeof(c));
	}
}

/* Texts at their bounds, and a message too long for its buffer. */
static void test_lengths(void **state)
{
	char line[4096], text[1024], err[160], tiny[9];
	struct control c;
	uint64_t guild;
	size_t n;

	(void)state;
	for (n = CONNECTION_TOKEN_MAX - 2; n < CONNECTION_TOKEN_MAX + 2; n++) {
		memset(text, 't', n);
		text[n] = '\0';
		snprintf(line, sizeof(line),
			"{" IDS ",\"session_id\":\"s\",\"token\":\"%s\",\"endpoint\":\"a\"}", text);
		if (n < CONNECTION_TOKEN_MAX) {
			assert_int_equal(parse(&c, &guild, line, err), TD_OK);
			assert_string_equal(c.info.token, text);
		} else {
			assert_int_equal(parse(&c, &guild, line, err), TD_ERR_USAGE);
			assert_string_equal(err, "token: too long");
		}
	}
	for (n = CONNECTION_SESSION_MAX - 2; n < CONNECTION_SESSION_MAX + 2; n++) {
		memset(text, 's', n);
		text[n] = '\0';
		snprintf(line, sizeof(line),
			"{" IDS ",\"session_id\":\"%s\",\"token\":\"t\",\"endpoint\":\"a\"}", text);
		assert_int_equal(parse(&c, &guild, line, err),
			n < CONNECTION_SESSION_MAX ? TD_OK : TD_ERR_USAGE);
	}
	memset(tiny, 'x', sizeof(tiny));
	assert_int_equal(control_parse(&c, &guild, "{}", 2, tiny, 8), TD_ERR_USAGE);
	assert_string_equal(tiny, "guild_i");
	assert_int_equal(tiny[8], 'x');
}

static void test_hostile_lines(void **state)
{
	size_t max = CONTROL_LINE_MAX;
	char *line = malloc(max + 2), err[160];
	struct control c;
	uint64_t guild;

	(void)state;
	assert_non_null(line);
	/* As long as allowed, then one more. */
	memset(line, ' ', max + 1);
	memcpy(line, "{\"op\":11}", 9);
	assert_int_equal(control_parse(&c, &guild, line, max, err, sizeof(err)), TD_OK);
	assert_int_equal(control_parse(&c, &guild, line, max + 1, err, sizeof(err)), TD_ERR_USAGE);
	assert_non_null(strstr(err, "line: longer"));
	/* Nested as deep as the line is long. */
	memset(line, '[', max);
	assert_int_equal(control_parse(&c, &guild, line, max, err, sizeof(err)), TD_ERR_USAGE);
	assert_non_null(strstr(err, "line: not JSON"));
	/* NUL bytes inside, at the end, alone. */
	memcpy(line, "{\"op\":11}\0", 10);
	assert_int_equal(control_parse(&c, &guild, line, 10, err, sizeof(err)), TD_ERR_USAGE);
	assert_string_equal(err, "line: has a NUL byte");
	assert_int_equal(control_parse(&c, &guild, "\0", 1, err, sizeof(err)), TD_ERR_USAGE);
	free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_endpoint_length),
		cmocka_unit_test(test_info),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_mark),
		cmocka_unit_test(test_join),
		cmocka_unit_test(test_voice_state),
		cmocka_unit_test(test_voice_server),
		cmocka_unit_test(test_ignored),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_hostile_lines),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
