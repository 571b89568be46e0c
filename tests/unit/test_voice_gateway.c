/* SPDX-License-Identifier: ISC */
/*
 * The voice gateway engine, driven by scripts: what comes in, and every action that has to come
 * out, as text. A step's input is one of
 *
 *   start | open | t JSON | b HEX | close CODE [REASON] | fatal REASON
 *   found ADDRESS PORT | notfound | info NAME | gone | stop | dave OPCODE DATA
 *   +MS (time passes, then a tick) | due (time passes up to the deadline, then a tick)
 *
 * and its output one line per action; a line that ends in * is compared up to there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "receiver/vgw_queue.h"
#include "receiver/voice_gateway.h"

struct step {
	const char *in, *out;
};

struct rig {
	struct vgw *g;
	uint64_t now_ns;
	uint32_t random; /* what the engine draws */
	char out[65536];
	size_t len;
	bool ended;
};

/* ---- the rig ---- */

static void rig_random(void *user, uint8_t *out, size_t len)
{
	const struct rig *t = user;

	assert_int_equal(len, sizeof(t->random));
	memcpy(out, &t->random, len);
}

static uint64_t rig_utc_ms(void *user)
{
	(void)user;
	return 1501184119561u;
}

static struct connection_info info_named(const char *name)
{
	struct connection_info i = { .guild_id = 41771983423143937u,
		.channel_id = 127121515262115840u,
		.user_id = 104694319306248192u,
		.session_id = "30f32c5d54ae86130fc4a215c7474263",
		.token = "66d29164ee8cd919",
		.host = "a.example",
		.port = 2053,
		.tls = true };

	if (strcmp(name, "b") == 0) {
		strcpy(i.host, "b.example");
		strcpy(i.token, "tokenb");
	} else if (strcmp(name, "token") == 0) {
		strcpy(i.token, "another");
	} else if (strcmp(name, "odd") == 0) {
		strcpy(i.token, "q\"b\\n\n\x01\xc3\xa4");
	} else if (strcmp(name, "guild") == 0) {
		i.guild_id++;
	} else if (strcmp(name, "user") == 0) {
		i.user_id++;
	} else if (strcmp(name, "long") == 0) {
		memset(i.host, 'a', sizeof(i.host) - 1);
	} else if (strcmp(name, "local") == 0) {
		strcpy(i.host, "127.0.0.1");
		i.tls = false;
	} else {
		assert_string_equal(name, "a");
	}
	return i;
}

static void rig_up(struct rig *t, const char *info)
{
	struct connection_info said = info_named(info);
	struct vgw_conf conf = { .info = &said,
		.random = rig_random,
		.user = t,
		.utc_ms = rig_utc_ms,
		.max_dave_version = 1 };

	memset(t, 0, sizeof(*t));
	t->now_ns = 1000 * TD_SEC_NS;
	t->random = 0x80000000u;
	assert_int_equal(vgw_new(&t->g, &conf), TD_OK);
	assert_true(vgw_deadline(t->g) == UINT64_MAX);
}

static void put(struct rig *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct rig *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->out + t->len, sizeof(t->out) - t->len, fmt, ap);
	va_end(ap);
	assert_in_range(n, 0, (int)(sizeof(t->out) - t->len) - 1);
	t->len += (size_t)n;
}

static void put_hex(struct rig *t, const uint8_t *data, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		put(t, "%02x", data[i]);
}

static const char *const verdicts[] = {
	[VGW_LEFT] = "left",
	[VGW_REMOVED] = "removed",
	[VGW_INFO_NEEDED] = "info-needed",
	[VGW_REFUSED] = "refused",
	[VGW_UNREACHABLE] = "unreachable",
};

static void put_action(struct rig *t, const struct vgw_action *a)
{
	switch (a->type) {
	case VGW_CONNECT:
		put(t, "connect %s %u%s", a->host, a->port, a->tls ? "" : " plain");
		break;
	case VGW_SEND_TEXT:
		put(t, "> %.*s", (int)a->len, (const char *)a->data);
		break;
	case VGW_SEND_BINARY:
		put(t, ">b ");
		put_hex(t, a->data, a->len);
		break;
	case VGW_DISCONNECT:
		put(t, "disconnect %u", a->code);
		break;
	case VGW_UDP_OPEN:
		put(t, "udp %s %u %" PRIu32, a->host, a->port, a->ssrc);
		break;
	case VGW_UDP_CLOSE:
		put(t, "udp-close");
		break;
	case VGW_SESSION_NEW:
		put(t, "session");
		break;
	case VGW_KEY:
		put(t, "key %d %" PRIu32 " ", (int)a->mode, a->ssrc);
		put_hex(t, a->key, TRANSPORT_KEY_LEN);
		break;
	case VGW_MEDIA_READY:
		put(t, "media %" PRIu32, a->ssrc);
		break;
	case VGW_SPEAKER:
		put(t, "speaker %" PRIu32 " %" PRIu64, a->ssrc, a->user_id);
		break;
	case VGW_USER_JOINED:
		put(t, "joined %" PRIu64, a->user_id);
		break;
	case VGW_USER_LEFT:
		put(t, "left %" PRIu64, a->user_id);
		break;
	case VGW_READY:
		put(t, "ready");
		break;
	case VGW_RECONNECTING:
		put(t, "reconnecting %u: %s", a->attempt, a->text);
		break;
	case VGW_RESUMED:
		put(t, "resumed");
		break;
	case VGW_NEED_INFO:
		put(t, "need-info: %s", a->text);
		break;
	case VGW_ENDED:
		put(t, "ended %s: %s", verdicts[a->verdict], a->text);
		t->ended = true;
		break;
	case VGW_WARNING:
		put(t, "warning: %s", a->text);
		break;
	case VGW_DAVE:
		put(t, "dave %u ", a->opcode);
		if (a->opcode <= 24)
			put(t, "%.*s", (int)a->len, (const char *)a->data);
		else
			put_hex(t, a->data, a->len);
		break;
	case VGW_DAVE_VERSION:
		put(t, "dave-version %u", a->dave_version);
		break;
	}
	put(t, "\n");
}

static void drain(struct rig *t)
{
	struct vgw_action a;

	while (vgw_next(t->g, &a) == 1) {
		assert_false(t->ended);
		put_action(t, &a);
	}
	if (t->ended)
		assert_true(vgw_deadline(t->g) == UINT64_MAX);
}

static size_t unhex(uint8_t *out, size_t cap, const char *hex)
{
	size_t n = 0;
	unsigned byte;

	for (; hex[0] != '\0' && hex[1] != '\0'; hex += 2) {
		assert_true(n < cap);
		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		out[n++] = (uint8_t)byte;
	}
	return n;
}

static void input_dave(struct rig *t, const char *arg)
{
	unsigned op = (unsigned)strtoul(arg, NULL, 10);
	const char *data = strchr(arg, ' ') + 1;
	uint8_t bytes[64];
	size_t n;
	int r;

	if (op == 23 || op == 31) {
		r = vgw_dave_send(t->g, (uint8_t)op, (const uint8_t *)data, strlen(data));
	} else {
		n = unhex(bytes, sizeof(bytes), data);
		r = vgw_dave_send(t->g, (uint8_t)op, bytes, n);
	}
	if (r != TD_OK)
		put(t, "dave-send: %d\n", r);
}

static void input_close(struct rig *t, const char *arg, bool fatal)
{
	const char *reason = strchr(arg, ' ');

	if (fatal)
		vgw_closed(t->g, 0, arg, true, t->now_ns);
	else
		vgw_closed(t->g, (uint16_t)strtoul(arg, NULL, 10),
			reason != NULL ? reason + 1 : NULL, false, t->now_ns);
}

/* An exact copy on the heap: reading beyond the message shows under the sanitizers. */
static void input_message(struct rig *t, bool binary, const void *data, size_t len)
{
	void *copy = malloc(len + (len == 0));

	assert_non_null(copy);
	memcpy(copy, data, len);
	if (binary)
		vgw_binary(t->g, copy, len, t->now_ns);
	else
		vgw_text(t->g, copy, len, t->now_ns);
	memset(copy, 0xdd, len);
	free(copy);
}

static bool is(const char **arg, const char *in, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(in, word, n) != 0 || (in[n] != '\0' && in[n] != ' '))
		return false;
	*arg = in[n] == ' ' ? in + n + 1 : in + n;
	return true;
}

static void input(struct rig *t, const char *in)
{
	struct connection_info info;
	uint8_t bytes[256];
	char word[64];
	const char *arg;

	if (is(&arg, in, "start")) {
		vgw_start(t->g, t->now_ns);
	} else if (is(&arg, in, "open")) {
		vgw_opened(t->g, t->now_ns);
	} else if (is(&arg, in, "t")) {
		input_message(t, false, arg, strlen(arg));
	} else if (is(&arg, in, "b")) {
		size_t n = unhex(bytes, sizeof(bytes), arg);

		input_message(t, true, bytes, n);
	} else if (is(&arg, in, "close")) {
		input_close(t, arg, false);
	} else if (is(&arg, in, "fatal")) {
		input_close(t, arg, true);
	} else if (is(&arg, in, "found")) {
		assert_int_equal(sscanf(arg, "%63s", word), 1);
		vgw_discovered(t->g, word, (uint16_t)strtoul(strchr(arg, ' ') + 1, NULL, 10),
			t->now_ns);
	} else if (is(&arg, in, "notfound")) {
		vgw_discovery_failed(t->g, t->now_ns);
	} else if (is(&arg, in, "info")) {
		info = info_named(arg);
		vgw_new_info(t->g, &info, t->now_ns);
	} else if (is(&arg, in, "gone")) {
		vgw_server_gone(t->g, t->now_ns);
	} else if (is(&arg, in, "stop")) {
		vgw_stop(t->g, VGW_LEFT, "asked to leave", t->now_ns);
	} else if (is(&arg, in, "dave")) {
		input_dave(t, arg);
	} else if (is(&arg, in, "due")) {
		assert_true(vgw_deadline(t->g) != UINT64_MAX);
		assert_true(vgw_deadline(t->g) >= t->now_ns);
		t->now_ns = vgw_deadline(t->g);
		vgw_tick(t->g, t->now_ns);
	} else if (in[0] == '+') {
		t->now_ns += strtoull(in + 1, NULL, 10) * TD_MS_NS;
		vgw_tick(t->g, t->now_ns);
	} else {
		fail_msg("no such input: %s", in);
	}
	drain(t);
}

static bool matches(const char *got, const char *want)
{
	while (*want != '\0') {
		size_t g = strcspn(got, "\n"), w = strcspn(want, "\n");

		if (w > 0 && want[w - 1] == '*') {
			if (g < w - 1 || strncmp(got, want, w - 1) != 0)
				return false;
		} else if (g != w || strncmp(got, want, w) != 0) {
			return false;
		}
		got += g + (got[g] == '\n');
		want += w + (want[w] == '\n');
	}
	return *got == '\0';
}

static void step(struct rig *t, const char *in, const char *out)
{
	t->len = 0;
	t->out[0] = '\0';
	input(t, in);
	if (!matches(t->out, out))
		fail_msg("%s\n--- wanted\n%s\n--- got\n%s", in, out, t->out);
}

static void run(struct rig *t, const struct step *steps)
{
	for (; steps->in != NULL; steps++)
		step(t, steps->in, steps->out);
}

/* ---- what both sides usually say ---- */

#define HELLO "t {\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":13750}}"
#define IDENTIFY                                                                                \
	"> {\"op\":0,\"d\":{\"server_id\":\"41771983423143937\",\"user_id\":"                   \
	"\"104694319306248192\",\"session_id\":\"30f32c5d54ae86130fc4a215c7474263\",\"token\":" \
	"\"66d29164ee8cd919\",\"max_dave_protocol_version\":1}}"
#define RESUME(seq)                                                                            \
	"> {\"op\":7,\"d\":{\"server_id\":\"41771983423143937\",\"session_id\":"               \
	"\"30f32c5d54ae86130fc4a215c7474263\",\"token\":\"66d29164ee8cd919\",\"seq_ack\":" seq \
	"}}"
#define READY                                                                                \
	"t {\"op\":2,\"d\":{\"ssrc\":345,\"ip\":\"203.0.113.9\",\"port\":50004,\"modes\":["  \
	"\"aead_aes256_gcm_rtpsize\",\"aead_xchacha20_poly1305_rtpsize\"],\"experiments\":[" \
	"\"fixed_keyframe_interval\"],\"streams\":[],\"heartbeat_interval\":1}}"
#define SELECT                                                                                     \
	"> {\"op\":1,\"d\":{\"protocol\":\"udp\",\"data\":{\"address\":\"198.51.100.7\",\"port\":" \
	"41234,\"mode\":\"aead_aes256_gcm_rtpsize\"}}}"
#define KEY32 "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,"
#define DESCRIPTION                                                                                \
	"t {\"op\":4,\"d\":{\"mode\":\"aead_aes256_gcm_rtpsize\",\"secret_key\":[" KEY32           \
	"255],\"dave_protocol_version\":1,\"audio_codec\":\"opus\",\"media_session_id\":\"89f1\"}" \
	",\"seq\":1}"
#define KEY_HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff"
#define SPEAKING "> {\"op\":5,\"d\":{\"speaking\":1,\"delay\":0,\"ssrc\":345}}"
#define LIVE "dave-version 1\nkey 1 345 " KEY_HEX "\nready\n" SPEAKING "\nmedia 345"
#define BEAT(seq) "> {\"op\":3,\"d\":{\"t\":1501184119561,\"seq_ack\":" seq "}}"
#define ACK "t {\"op\":6,\"d\":{\"t\":1501184119561}}"
#define RESUMED "t {\"op\":9,\"d\":null}"

static const struct step to_open[] = {
	{ "start", "connect a.example 2053" },
	{ "open", "" },
	{ NULL, NULL },
};
static const struct step to_identified[] = {
	{ "start", "connect a.example 2053" },
	{ "open", "" },
	{ HELLO, "session\n" IDENTIFY },
	{ NULL, NULL },
};
static const struct step identified_to_live[] = {
	{ READY, "udp 203.0.113.9 50004 345" },
	{ "found 198.51.100.7 41234", SELECT },
	{ DESCRIPTION, LIVE },
	{ NULL, NULL },
};

static void rig_live(struct rig *t)
{
	rig_up(t, "a");
	run(t, to_identified);
	run(t, identified_to_live);
}

static void rig_down(struct rig *t)
{
	vgw_free(t->g);
	t->g = NULL;
}

/* Runs steps from a fresh engine, or from a live session. */
static void run_fresh(const struct step *steps)
{
	struct rig t;

	rig_up(&t, "a");
	run(&t, steps);
	rig_down(&t);
}

static void run_live(const struct step *steps)
{
	struct rig t;

	rig_live(&t);
	run(&t, steps);
	rig_down(&t);
}

/* ---- connecting ---- */

static void test_connects(void **state)
{
	struct rig t;

	(void)state;
	rig_live(&t);
	/* Nothing more to do than to keep the heart beating: half an interval after Hello. */
	assert_true(vgw_deadline(t.g) == t.now_ns + 6875 * TD_MS_NS);
	step(&t, "+6874", "");
	step(&t, "+1", BEAT("1"));
	assert_true(vgw_deadline(t.g) == t.now_ns + 13750 * TD_MS_NS);
	rig_down(&t);
	vgw_free(NULL);

	rig_up(&t, "local");
	step(&t, "start", "connect 127.0.0.1 2053 plain");
	rig_down(&t);

	rig_up(&t, "long");
	vgw_start(t.g, t.now_ns);
	drain(&t);
	assert_int_equal(t.len, strlen("connect ") + CONNECTION_HOST_MAX - 1 + strlen(" 2053\n"));
	rig_down(&t);
}

static void test_escapes_token(void **state)
{
	struct rig t;

	(void)state;
	rig_up(&t, "odd");
	run(&t, to_open);
	step(&t, HELLO,
		"session\n> {\"op\":0,\"d\":{\"server_id\":\"41771983423143937\",\"user_id\":"
		"\"104694319306248192\",\"session_id\":\"30f32c5d54ae86130fc4a215c7474263\","
		"\"token\":\"q\\\"b\\\\n\\u000a\\u0001\xc3\xa4\",\"max_dave_protocol_version\":1}"
		"}");
	rig_down(&t);
}

#define MODES(list)                                                                              \
	"t {\"op\":2,\"d\":{\"ssrc\":345,\"ip\":\"203.0.113.9\",\"port\":50004,\"modes\":[" list \
	"]}}"
#define GCM "\"aead_aes256_gcm_rtpsize\""
#define XCHACHA "\"aead_xchacha20_poly1305_rtpsize\""

static void test_picks_mode(void **state)
{
	static const struct {
		const char *ready, *mode;
	} cases[] = {
		{ MODES(XCHACHA "," GCM), "aes256_gcm" },
		{ MODES(XCHACHA ",\"new\""), "xchacha20_poly1305" },
		{ MODES("5,null," XCHACHA), "xchacha20_poly1305" },
		{ MODES(""), NULL },
		{ MODES("\"none\""), NULL },
		{ MODES("\"aead_aes256_gcm\",\"xsalsa20_poly1305\""), NULL },
	};
	struct rig t;
	char want[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rig_up(&t, "a");
		run(&t, to_identified);
		if (cases[i].mode == NULL) {
			step(&t, cases[i].ready,
				"disconnect 1000\nended refused: the voice server offers no*");
			rig_down(&t);
			continue;
		}
		step(&t, cases[i].ready, "udp 203.0.113.9 50004 345");
		snprintf(want, sizeof(want),
			"> {\"op\":1,\"d\":{\"protocol\":\"udp\",\"data\":{\"address\":"
			"\"198.51.100.7\",\"port\":41234,\"mode\":\"aead_%s_rtpsize\"}}}",
			cases[i].mode);
		step(&t, "found 198.51.100.7 41234", want);
		rig_down(&t);
	}
}

/* An attempt fails: 1, 3, 5, 7, 9 s later (a tenth more, at half of the jitter), then new info is
 * asked for; and when that has failed often enough, it is over. */
static void test_gives_up_connecting(void **state)
{
	static const unsigned delays_ms[] = { 1100, 3300, 5500, 7700, 9900 };
	static const unsigned rejoin_ms[] = { 0, 1000, 3000, 5000, 7000 };
	struct rig t;
	char in[20], want[200];
	unsigned i, round;

	(void)state;
	rig_up(&t, "a");
	step(&t, "start", "connect a.example 2053");
	for (round = 0; round < 6; round++) {
		for (i = 0; i < 5; i++) {
			snprintf(want, sizeof(want), "reconnecting %u: could not connect: no route",
				i + 2);
			step(&t, "close 0 no route", want);
			snprintf(in, sizeof(in), "+%u", delays_ms[i] - 1);
			step(&t, in, "");
			step(&t, "+1", "connect a.example 2053");
			assert_true(vgw_deadline(t.g) == t.now_ns + 15 * TD_SEC_NS);
		}
		if (round == 5)
			break;
		step(&t, "close 0 no route",
			"need-info: gave up after 6 attempts: could not connect: no route");
		assert_true(vgw_deadline(t.g) == UINT64_MAX);
		if (rejoin_ms[round] == 0) {
			step(&t, "info a",
				"reconnecting 1: new connection info\nconnect a.example 2053");
			continue;
		}
		step(&t, "info a", "reconnecting 1: new connection info");
		snprintf(in, sizeof(in), "+%u", rejoin_ms[round] - 1);
		step(&t, in, "");
		step(&t, "+1", "connect a.example 2053");
	}
	step(&t, "close 0 no route",
		"ended unreachable: gave up after 5 rejoins: gave up after 6*");
	rig_down(&t);
}

/* Every wait for the server or the driver has an end. */
static void test_timeouts(void **state)
{
	static const struct step connecting[] = {
		{ "start", "connect a.example 2053" },
		{ "+14999", "" },
		{ "+1", "disconnect 0\nreconnecting 2: no connection in time" },
		{ "due", "connect a.example 2053" },
		{ NULL, NULL },
	};
	static const struct step hello[] = {
		{ "start", "connect a.example 2053" },
		{ "+5000", "" },
		{ "open", "" },
		{ "+9999", "" },
		{ "+1", "disconnect 4000\nreconnecting 2: no Hello in time" },
		{ "due", "connect a.example 2053" },
		{ NULL, NULL },
	};
	static const struct step identify[] = {
		{ "start", "connect a.example 2053" },
		{ "open", "" },
		{ HELLO, "session\n" IDENTIFY },
		{ "+9999", BEAT("-1") },
		{ "+1", "disconnect 1000\nreconnecting 2: no answer to Identify in time" },
		{ "due", "connect a.example 2053" },
		{ NULL, NULL },
	};
	static const struct step discovery[] = {
		{ "start", "connect a.example 2053" },
		{ "open", "" },
		{ HELLO, "session\n" IDENTIFY },
		{ READY, "udp 203.0.113.9 50004 345" },
		{ "+14999", BEAT("-1") },
		{ "+1",
			"disconnect 1000\nudp-close\nreconnecting 2: address discovery did not "
			"end" },
		{ NULL, NULL },
	};
	static const struct step description[] = {
		{ "start", "connect a.example 2053" },
		{ "open", "" },
		{ HELLO, "session\n" IDENTIFY },
		{ READY, "udp 203.0.113.9 50004 345" },
		{ "found 198.51.100.7 41234", SELECT },
		{ "+9999", BEAT("-1") },
		{ "+1", "disconnect 1000\nudp-close\nreconnecting 2: no session description*" },
		{ NULL, NULL },
	};

	(void)state;
	run_fresh(connecting);
	run_fresh(hello);
	run_fresh(identify);
	run_fresh(discovery);
	run_fresh(description);
}

static void test_resume_times_out(void **state)
{
	static const struct step resume[] = {
		{ "close 1006",
			"reconnecting 1: connection lost (code 1006)\nconnect a.example 2053" },
		{ "open", "" },
		{ HELLO, RESUME("1") },
		{ "+9999", BEAT("1") },
		{ "+1", "disconnect 4000\nreconnecting 2: no answer to Resume in time" },
		{ "due", "connect a.example 2053" },
		{ "open", "" },
		{ HELLO, RESUME("1") },
		{ "+10000", "disconnect 4000\nudp-close\nneed-info: could not resume: no answer*" },
		{ NULL, NULL },
	};

	(void)state;
	run_live(resume);
}

static void test_discovery(void **state)
{
	/* What is no address is as good as none. */
	static const char *const bad[] = { "notfound", "found 198.51.100.7 0", "found x 1",
		"found 1.2.3.4\",\"x\":\" 5" };
	struct rig t;
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		rig_up(&t, "a");
		run(&t, to_identified);
		step(&t, "found 198.51.100.7 41234", "");
		step(&t, READY, "udp 203.0.113.9 50004 345");
		step(&t, bad[i], "disconnect 1000\nudp-close\nreconnecting 2: address discovery*");
		step(&t, "due", "connect a.example 2053");
		step(&t, "open", "");
		/* All of it again, not a resume: there was no session yet. */
		step(&t, HELLO, "session\n" IDENTIFY);
		run(&t, identified_to_live);
		step(&t, "notfound", "");
		step(&t, "found 1.2.3.4 5", "");
		rig_down(&t);
	}
	rig_up(&t, "a");
	run(&t, to_identified);
	step(&t, READY, "udp 203.0.113.9 50004 345");
	step(&t, "found 2001:db8::1 5", "> {\"op\":1,*");
	rig_down(&t);
}

static void test_wrong_certificate(void **state)
{
	struct rig t;

	(void)state;
	rig_up(&t, "a");
	step(&t, "start", "connect a.example 2053");
	step(&t, "fatal certificate\nverify failed\x1b",
		"ended unreachable: could not connect: certificate?verify failed?");
	step(&t, "info b", "");
	step(&t, "+100000", "");
	rig_down(&t);
}

/* ---- heartbeats ---- */

static void test_heartbeats(void **state)
{
	static const struct step steps[] = {
		{ "due", BEAT("1") },
		{ ACK, "" },
		{ "due", BEAT("1") },
		{ "due", BEAT("1") },
		{ "due", BEAT("1") },
		/* The server's own, and its answer does not count as a missed one. */
		{ "t {\"op\":3,\"d\":{\"t\":5},\"seq\":9}", BEAT("9") },
		{ "t {\"op\":6,\"d\":{\"t\":5},\"seq\":11}", "" },
		{ "due", BEAT("11") },
		{ "due", BEAT("11") },
		{ "due", BEAT("11") },
		{ "due",
			"disconnect 4000\nreconnecting 1: heartbeats stay unanswered\n"
			"connect a.example 2053" },
		{ "open", "" },
		/* Hello starts the count anew. */
		{ HELLO, RESUME("11") },
		{ RESUMED, "resumed\n" SPEAKING },
		{ "due", BEAT("11") },
		{ "due", BEAT("11") },
		{ "due", BEAT("11") },
		{ ACK, "" },
		{ "due", BEAT("11") },
		/* A clock that jumps makes one heartbeat, not a hundred. */
		{ "+1375000", BEAT("11") },
		{ "+13749", "" },
		{ "+1", BEAT("11") },
		{ NULL, NULL },
	};

	(void)state;
	run_live(steps);
}

static void test_hello(void **state)
{
	static const struct {
		const char *hello;
		unsigned first_ms;
		bool warns;
	} cases[] = {
		{ "t {\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":41250.5}}", 20625, false },
		{ "t {\"op\":8,\"d\":{\"heartbeat_interval\":100}}", 50, false },
		{ "t {\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":300000}}", 150000, false },
		{ "t {\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":99}}", 6875, true },
		{ "t {\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":0}}", 6875, true },
		{ "t {\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":-1}}", 6875, true },
		{ "t {\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":1e300}}", 6875, true },
		{ "t {\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":\"5\"}}", 6875, true },
		{ "t {\"op\":8,\"d\":{\"v\":9,\"heartbeat_interval\":13750}}", 6875, true },
		{ "t {\"op\":8,\"d\":null}", 6875, true },
		{ "t {\"op\":8}", 6875, true },
		{ "t {\"op\":8,\"d\":[]}", 6875, true },
	};
	struct rig t;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t first;

		rig_up(&t, "a");
		run(&t, to_open);
		step(&t, cases[i].hello,
			cases[i].warns ? "warning: the voice server*\nsession\n" IDENTIFY
				       : "session\n" IDENTIFY);
		/* The wait for Ready may end sooner than the first interval. */
		first = cases[i].first_ms < 10000 ? cases[i].first_ms : 10000;
		assert_true(vgw_deadline(t.g) == t.now_ns + first * TD_MS_NS);
		rig_down(&t);
	}
	/* A second Hello changes the interval and never identifies twice (4005). */
	rig_live(&t);
	step(&t, "t {\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":1000}}", "");
	step(&t, "+500", BEAT("1"));
	step(&t, "+1000", BEAT("1"));
	rig_down(&t);
}

/* ---- sequence numbers ---- */

static void test_sequence(void **state)
{
	static const struct step steps[] = {
		{ "start", "connect a.example 2053" },
		{ "open", "" },
		{ "t {\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":1000},\"seq\":77}",
			"session\n" IDENTIFY },
		{ "+500", BEAT("-1") },
		/* The first number may be 0. */
		{ "t {\"op\":11,\"d\":{\"user_ids\":[]},\"seq\":0}", "" },
		{ "+1000", BEAT("0") },
		{ ACK, "" },
		/* Binary and JSON share one counter; it wraps; the last one counts. */
		{ "b 000519aabb", "dave 25 aabb" },
		{ "+1000", BEAT("5") },
		{ "t {\"op\":18,\"d\":{},\"seq\":65535}", "" },
		{ "+1000", BEAT("65535") },
		{ "b 000019", "dave 25 " },
		{ "t {\"op\":3}", BEAT("0") },
		/* Unknown, ignored or malformed: still a message that came. */
		{ "t {\"op\":99,\"seq\":7}", "" },
		{ "t {\"op\":3}", BEAT("7") },
		{ "t {\"op\":5,\"d\":{},\"seq\":8}", "warning: malformed*" },
		{ "t {\"op\":3}", BEAT("8") },
		{ "b 0009c8aabb", "" },
		{ "t {\"op\":3}", BEAT("9") },
		{ "b 000a1a", "warning: opcode 26*" },
		{ "t {\"op\":3}", BEAT("10") },
		/* Out of turn: heard all the same. */
		{ "t {\"op\":9,\"seq\":11}", "warning: opcode 9 out of turn*" },
		{ "t {\"op\":3}", BEAT("11") },
		/* No number: the last one stays. */
		{ "t {\"op\":18,\"d\":{}}", "" },
		{ "t {\"op\":18,\"d\":{},\"seq\":null}", "" },
		{ "t {\"op\":18,\"d\":{},\"seq\":\"12\"}", "" },
		{ "t {\"op\":18,\"d\":{},\"seq\":-3}", "" },
		{ "t {\"op\":18,\"d\":{},\"seq\":1.5}", "" },
		{ "t {\"op\":18,\"d\":{},\"seq\":9007199254740992}", "" },
		{ "t {\"op\":3}", BEAT("11") },
		{ NULL, NULL },
	};
	static const struct step resumes_from_zero[] = {
		{ "t {\"op\":18,\"d\":{},\"seq\":0}", "" },
		{ "close 0", "reconnecting 1: connection lost\nconnect a.example 2053" },
		{ "open", "" },
		{ "t {\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":13750},\"seq\":3}",
			RESUME("0") },
		{ NULL, NULL },
	};

	(void)state;
	run_fresh(steps);
	run_live(resumes_from_zero);
}

/* ---- messages ---- */

static void test_speakers(void **state)
{
	static const struct step steps[] = {
		{ "t {\"op\":11,\"d\":{\"user_ids\":[\"852892297661906993\",\"2\"]},\"seq\":3}",
			"joined 852892297661906993\njoined 2" },
		{ "t "
		  "{\"op\":5,\"d\":{\"speaking\":1,\"ssrc\":110,\"user_id\":\"852892297661906993\"}"
		  "}",
			"speaker 110 852892297661906993" },
		{ "t "
		  "{\"op\":5,\"d\":{\"speaking\":0,\"delay\":0,\"ssrc\":4294967295,\"user_id\":"
		  "\"2\"}}",
			"speaker 4294967295 2" },
		/* Video: the SSRC of the voice, if it is there. */
		{ "t {\"op\":12,\"d\":{\"user_id\":\"2\",\"audio_ssrc\":7,\"video_ssrc\":8,"
		  "\"rtx_ssrc\":9,\"streams\":[]}}",
			"speaker 7 2" },
		{ "t {\"op\":12,\"d\":{\"user_id\":\"2\",\"audio_ssrc\":0,\"video_ssrc\":8}}", "" },
		{ "t {\"op\":12,\"d\":{\"user_id\":\"2\",\"video_ssrc\":8}}", "" },
		{ "t {\"op\":12,\"d\":null}", "" },
		/* Ourselves are not a speaker and do not come or go. */
		{ "t {\"op\":5,\"d\":{\"speaking\":1,\"ssrc\":345,\"user_id\":\"2\"}}", "" },
		{ "t "
		  "{\"op\":5,\"d\":{\"speaking\":1,\"ssrc\":3,\"user_id\":\"104694319306248192\"}}",
			"" },
		{ "t {\"op\":11,\"d\":{\"user_ids\":[\"104694319306248192\",\"4\"]}}", "joined 4" },
		{ "t {\"op\":13,\"d\":{\"user_id\":\"104694319306248192\"}}", "" },
		{ "t {\"op\":13,\"d\":{\"user_id\":\"2\"},\"seq\":40}", "left 2" },
		/* One bad id costs itself alone. */
		{ "t {\"op\":11,\"d\":{\"user_ids\":[\"5\",null,\"\",7]}}",
			"joined 5\nwarning: malformed*\nwarning: malformed*\njoined 7" },
		{ NULL, NULL },
	};

	(void)state;
	run_live(steps);
}

static void test_ignored(void **state)
{
	static const unsigned ops[] = { 0, 1, 7, 10, 14, 15, 16, 17, 18, 19, 20, 23, 25, 26, 31, 32,
		33, 100, 255 };
	static const char *const ds[] = { "{}", "null", "[]", "{\"user_id\":\"5\",\"flags\":3}" };
	struct rig t;
	char in[100];
	size_t i, j;

	(void)state;
	rig_live(&t);
	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		for (j = 0; j < 4; j++) {
			snprintf(in, sizeof(in), "t {\"op\":%u,\"d\":%s}", ops[i], ds[j]);
			step(&t, in, "");
		}
	}
	rig_down(&t);
}

/* Before Ready and before the key, in whatever order. */
static void test_any_order(void **state)
{
	static const struct step extras[] = {
		{ "t {\"op\":11,\"d\":{\"user_ids\":[\"5\"]},\"seq\":1}", "joined 5" },
		{ "t {\"op\":18,\"d\":{\"user_id\":\"5\",\"flags\":3},\"seq\":2}", "" },
		{ "t {\"op\":20,\"d\":{\"user_id\":\"5\",\"platform\":0},\"seq\":3}", "" },
		{ "b 000419404104", "dave 25 404104" },
		{ "t {\"op\":5,\"d\":{\"speaking\":1,\"ssrc\":9,\"user_id\":\"5\"},\"seq\":5}",
			"speaker 9 5" },
		{ "t {\"op\":12,\"d\":{\"user_id\":\"5\",\"audio_ssrc\":9},\"seq\":6}",
			"speaker 9 5" },
		{ "t {\"op\":13,\"d\":{\"user_id\":\"5\"},\"seq\":7}", "left 5" },
		{ "t {\"op\":24,\"d\":{\"epoch\":1,\"protocol_version\":1},\"seq\":8}",
			"dave 24 {\"epoch\":1,\"protocol_version\":1}" },
		{ "b 00091b00", "dave 27 00" },
	};
	enum { EXTRAS = sizeof(extras) / sizeof(extras[0]) };
	struct rig t;
	size_t first, at, i;

	(void)state;
	for (first = 0; first < EXTRAS; first++) {
		for (at = 0; at < 3; at++) {
			rig_up(&t, "a");
			run(&t, to_identified);
			if (at > 0)
				step(&t, READY, "udp 203.0.113.9 50004 345");
			if (at > 1)
				step(&t, "found 198.51.100.7 41234", SELECT);
			for (i = 0; i < EXTRAS; i++)
				step(&t, extras[(first + i) % EXTRAS].in,
					extras[(first + i) % EXTRAS].out);
			run(&t, &identified_to_live[at]);
			rig_down(&t);
		}
	}
}

static void test_out_of_turn(void **state)
{
	static const struct step early[] = {
		{ "start", "connect a.example 2053" },
		/* Not even open. */
		{ HELLO, "" },
		{ "b 000019", "" },
		{ "open", "" },
		{ READY, "warning: opcode 2 out of turn*" },
		{ DESCRIPTION, "warning: opcode 4 out of turn*" },
		{ "b 000019", "warning: opcode 25 out of turn*" },
		{ "t {\"op\":11,\"d\":{\"user_ids\":[\"5\"]},\"seq\":1}", "warning: opcode 11*" },
		{ HELLO, "session\n" IDENTIFY },
		{ DESCRIPTION, "warning: opcode 4 out of turn*" },
		{ RESUMED, "warning: opcode 9 out of turn*" },
		{ READY, "udp 203.0.113.9 50004 345" },
		{ READY, "warning: opcode 2 out of turn*" },
		{ DESCRIPTION, "warning: opcode 4 out of turn*" },
		{ "found 198.51.100.7 41234", SELECT },
		{ "found 198.51.100.7 41234", "" },
		{ "open", "" },
		{ "start", "" },
		{ NULL, NULL },
	};

	(void)state;
	run_fresh(early);
}

/* The newest key and mode count; the session began once. */
static void test_description_again(void **state)
{
	static const struct step steps[] = {
		{ "t "
		  "{\"op\":4,\"d\":{\"mode\":\"aead_xchacha20_poly1305_rtpsize\",\"secret_key\":"
		  "[" KEY32 "1],\"dave_protocol_version\":0},\"seq\":9}",
			"dave-version 0\nkey 2 345 "
			"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e01" },
		{ "t {\"op\":4,\"d\":{\"mode\":\"aead_aes256_gcm_rtpsize\",\"secret_key\":[" KEY32
		  "2]}}",
			"dave-version 0\nkey 1 345 *" },
		/* While resuming, too. */
		{ "close 1001", "reconnecting 1: *\nconnect a.example 2053" },
		{ "open", "" },
		{ HELLO, RESUME("9") },
		{ DESCRIPTION, "dave-version 1\nkey 1 345 " KEY_HEX },
		{ RESUMED, "resumed\n" SPEAKING },
		{ NULL, NULL },
	};

	(void)state;
	run_live(steps);
}

static void test_bad_description(void **state)
{
#define D(mode, key, more) "t {\"op\":4,\"d\":{\"mode\":" mode ",\"secret_key\":" key more "}}"
	static const char *const bad[] = {
		D(GCM, "[" KEY32 "256]", ""),
		D(GCM, "[" KEY32 "-1]", ""),
		D(GCM, "[" KEY32 "1.0]", ""),
		D(GCM, "[" KEY32 "\"1\"]", ""),
		D(GCM, "[" KEY32 "null]", ""),
		D(GCM, "[1,2,3]", ""),
		D(GCM, "[]", ""),
		D(GCM, "[" KEY32 "1,2]", ""),
		D(GCM, "\"" KEY_HEX "\"", ""),
		D(GCM, "null", ""),
		D("\"none\"", "[" KEY32 "1]", ""),
		D("\"aead_aes256_gcm\"", "[" KEY32 "1]", ""),
		D("null", "[" KEY32 "1]", ""),
		D("7", "[" KEY32 "1]", ""),
		D(GCM, "[" KEY32 "1]", ",\"dave_protocol_version\":-1"),
		D(GCM, "[" KEY32 "1]", ",\"dave_protocol_version\":65536"),
		D(GCM, "[" KEY32 "1]", ",\"dave_protocol_version\":\"1\""),
		"t {\"op\":4}",
		"t {\"op\":4,\"d\":[]}",
		"t {\"op\":4,\"d\":{\"mode\":" GCM "}}",
	};
#undef D
	struct rig t;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rig_up(&t, "a");
		run(&t, to_identified);
		run(&t,
			(const struct step[]){ identified_to_live[0], identified_to_live[1],
				{ NULL, NULL } });
		step(&t, bad[i], "warning: malformed*");
		/* Still waiting, and a good one is taken. */
		step(&t, DESCRIPTION, LIVE);
		step(&t, bad[i], "warning: malformed*");
		rig_down(&t);
	}
}

static void test_bad_ready(void **state)
{
#define R(ssrc, ip, port, modes) \
	"t {\"op\":2,\"d\":{\"ssrc\":" ssrc ",\"ip\":" ip ",\"port\":" port ",\"modes\":" modes "}}"
	static const char *const bad[] = {
		R("0", "\"203.0.113.9\"", "1", "[" GCM "]"),
		R("-1", "\"203.0.113.9\"", "1", "[" GCM "]"),
		R("4294967296", "\"203.0.113.9\"", "1", "[" GCM "]"),
		R("\"5\"", "\"203.0.113.9\"", "1", "[" GCM "]"),
		R("5.5", "\"203.0.113.9\"", "1", "[" GCM "]"),
		R("5", "\"voice.example\"", "1", "[" GCM "]"),
		R("5", "\"203.0.113.9:80\"", "1", "[" GCM "]"),
		R("5", "\"\"", "1", "[" GCM "]"),
		R("5", "7", "1", "[" GCM "]"),
		R("5", "\"1111111111111111111111111111111111111111111111111111111\"", "1",
			"[" GCM "]"),
		R("5", "\"203.0.113.9\"", "0", "[" GCM "]"),
		R("5", "\"203.0.113.9\"", "65536", "[" GCM "]"),
		R("5", "\"203.0.113.9\"", "1", GCM),
		R("5", "\"203.0.113.9\"", "1", "null"),
		"t {\"op\":2}",
		"t {\"op\":2,\"d\":\"x\"}",
	};
#undef R
	struct rig t;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rig_up(&t, "a");
		run(&t, to_identified);
		step(&t, bad[i], "warning: malformed*");
		run(&t, identified_to_live);
		rig_down(&t);
	}
}

static void test_hostile_json(void **state)
{
	static const char *const bad[] = {
		"t ",
		"t {",
		"t []",
		"t 7",
		"t null",
		"t \"op\"",
		"t {}",
		"t {\"op\":null}",
		"t {\"op\":\"8\"}",
		"t {\"op\":-1}",
		"t {\"op\":256}",
		"t {\"op\":1e3}",
		"t {\"op\":9999999999999999999999}",
		"t {\"op\":5,\"d\":{}} x",
		"t {\"op\":5,\"d\":\"\\ud800\"}",
		"t {\"op\":5,\"d\":\"\xff\"}",
		"t {\"op\":5}",
		"t {\"op\":5,\"d\":[]}",
		"t {\"op\":5,\"d\":{\"ssrc\":1}}",
		"t {\"op\":5,\"d\":{\"user_id\":\"1\"}}",
		"t {\"op\":5,\"d\":{\"ssrc\":0,\"user_id\":\"1\"}}",
		"t {\"op\":5,\"d\":{\"ssrc\":4294967296,\"user_id\":\"1\"}}",
		"t {\"op\":5,\"d\":{\"ssrc\":1,\"user_id\":\"0\"}}",
		"t {\"op\":5,\"d\":{\"ssrc\":1,\"user_id\":null}}",
		"t {\"op\":5,\"d\":{\"ssrc\":1,\"user_id\":\"-1\"}}",
		"t {\"op\":11}",
		"t {\"op\":11,\"d\":{\"user_ids\":\"5\"}}",
		"t {\"op\":11,\"d\":{\"user_ids\":[[]]}}",
		"t {\"op\":13}",
		"t {\"op\":13,\"d\":{\"user_id\":{}}}",
		"t {\"op\":21}",
		"t {\"op\":22,\"d\":5}",
		"t {\"op\":24,\"d\":null}",
		/* Frames that are too short, and JSON where it does not belong. */
		"b ",
		"b 00",
		"b 0001",
		"b 7b226f70223a357d",
		"b 00011a00",
		"b 00011c00",
	};
	struct rig t;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rig_live(&t);
		step(&t, bad[i], "warning: *");
		step(&t, "due", "> {\"op\":3,*");
		rig_down(&t);
	}
	/* JSON in a binary frame has no number of its own. */
	rig_live(&t);
	step(&t, "b 7b226f70223a357d", "warning: malformed*");
	step(&t, "t {\"op\":3}", BEAT("1"));
	rig_down(&t);
}

/* Warnings become rare; messages do not. */
static void test_warnings_are_few(void **state)
{
	struct rig t;
	unsigned i, warned = 0;

	(void)state;
	rig_live(&t);
	for (i = 0; i < 10000; i++) {
		t.len = 0;
		t.out[0] = '\0';
		input(&t, "t {");
		warned += t.len > 0;
	}
	assert_in_range(warned, 8, 20);
	step(&t, "t {\"op\":13,\"d\":{\"user_id\":\"2\"}}", "left 2");
	rig_down(&t);
}

static void test_sizes(void **state)
{
	size_t max = VGW_MESSAGE_MAX, i;
	char *text = malloc(max + 1);
	struct rig t;

	(void)state;
	assert_non_null(text);
	for (i = 0; i < 2; i++) {
		memset(text, ' ', max + 1);
		memcpy(text, i == 0 ? "{\"op\":13,\"d\":{\"user_id\":\"2\"}}" : "\0\1\17",
			i == 0 ? 29 : 3);
		rig_live(&t);
		t.len = 0;
		t.out[0] = '\0';
		input_message(&t, i == 1, text, max);
		drain(&t);
		assert_string_equal(t.out, i == 0 ? "left 2\n" : "");
		input_message(&t, i == 1, text, max + 1);
		t.len = 0;
		t.out[0] = '\0';
		drain(&t);
		assert_string_equal(t.out,
			"disconnect 4000\nreconnecting 1: a message of more than "
			"1 MiB\nconnect a.example 2053\n");
		rig_down(&t);
	}
	/* Deep nesting, and very many users. */
	rig_live(&t);
	memset(text, '[', max);
	input_message(&t, false, text, max);
	t.len = 0;
	drain(&t);
	assert_true(matches(t.out, "warning: malformed*"));
	i = (size_t)sprintf(text, "{\"op\":11,\"d\":{\"user_ids\":[1");
	while (i < max - 4) {
		memcpy(text + i, ",2", 2);
		i += 2;
	}
	memcpy(text + i, "]}}", 3);
	input_message(&t, false, text, i + 3);
	for (i = 0;; i++) {
		struct vgw_action a;

		if (vgw_next(t.g, &a) == 0)
			break;
		assert_int_equal(a.type, VGW_USER_JOINED);
	}
	assert_in_range(i, 500000, 600000);
	rig_down(&t);
	free(text);
}

/* What a long list took is given back once it was taken, not before. */
static void test_queue_shrinks(void **state)
{
	struct vgw_queue q;
	struct vgw_action a;
	uint64_t i, taken = 0;
	size_t small;

	(void)state;
	assert_int_equal(vgw_queue_init(&q), TD_OK);
	small = q.cap;
	for (i = 0; i < 1000; i++)
		vgw_queue_push(&q, VGW_USER_JOINED)->user_id = i;
	vgw_queue_recycle(&q);
	for (i = 0; i < 1000; i++) {
		assert_int_equal(vgw_queue_next(&q, &a), 1);
		taken += a.user_id == i;
	}
	assert_int_equal(taken, 1000);
	assert_true(q.cap >= 1000);
	vgw_queue_recycle(&q);
	assert_int_equal(q.cap, small);
	assert_true(small * sizeof(*q.v) <= 2048); /* each connection has one */
	for (i = 0; i < 40; i++)
		vgw_queue_push(&q, VGW_USER_JOINED)->user_id = i;
	for (i = 0; vgw_queue_next(&q, &a) == 1; i++)
		assert_int_equal(a.user_id, i);
	assert_int_equal(i, 40);
	vgw_queue_free(&q);
}

/* A message there is no memory for costs the connection and comes again. (Not always: jansson calls
 * some failures invalid tokens.) */
static int allocations; /* that succeed; negative: all */

static void *scarce_malloc(size_t n)
{
	if (allocations == 0)
		return NULL;
	if (allocations > 0)
		allocations--;
	return malloc(n);
}

static void test_out_of_memory(void **state)
{
	const char *in = "t {\"op\":21,\"d\":{\"transition_id\":7},\"seq\":9}";
	struct rig t;
	int n, lost = 0;

	(void)state;
	json_set_alloc_funcs(scarce_malloc, free);
	for (n = 0; n < 100; n++) {
		allocations = -1;
		rig_live(&t);
		t.len = 0;
		allocations = n;
		input(&t, in);
		allocations = -1;
		if (matches(t.out, "dave 21 {\"transition_id\":7}"))
			break;
		if (matches(t.out, "disconnect 4000\nreconnecting 1: out of memory\nconnect*"))
			lost++;
		else if (!matches(t.out, "warning: malformed*"))
			fail_msg("after %d: %s", n, t.out);
		rig_down(&t);
	}
	assert_in_range(n, 5, 99);
	assert_in_range(lost, 4, n);
	rig_down(&t);
	json_set_alloc_funcs(malloc, free);
}

/* Actions that are taken late are whole, and none is missing. */
static void test_actions_wait(void **state)
{
	struct vgw_action a;
	struct rig t;

	(void)state;
	rig_live(&t);
	vgw_text(t.g, &ACK[2], strlen(&ACK[2]), t.now_ns);
	vgw_binary(t.g, (const uint8_t *)"\0\2\31\252", 4, t.now_ns);
	vgw_tick(t.g, t.now_ns + 6875 * TD_MS_NS);
	vgw_closed(t.g, 4006, "bye", false, t.now_ns);
	t.len = 0;
	drain(&t);
	assert_true(matches(t.out,
		"dave 25 aa\n" BEAT("2") "\nudp-close\nneed-info: session no "
					 "longer valid (code 4006): bye"));
	rig_down(&t);

	/* What fails while it is carried out may be said at once. */
	rig_up(&t, "a");
	vgw_start(t.g, t.now_ns);
	assert_int_equal(vgw_next(t.g, &a), 1);
	assert_int_equal(a.type, VGW_CONNECT);
	vgw_closed(t.g, 0, "cannot connect", false, t.now_ns);
	t.len = 0;
	drain(&t);
	assert_string_equal(t.out, "reconnecting 2: could not connect: cannot connect\n");
	rig_down(&t);
}

/* ---- close codes ---- */

#define CLOSED(code, what) what " (code " #code ")"
#define RESUMES(code, what) "reconnecting 1: " CLOSED(code, what) "\nconnect a.example 2053"
#define REJOINS(code, what) "udp-close\nneed-info: " CLOSED(code, what)
#define STOPS(code, what) "udp-close\nended refused: " CLOSED(code, what)
#define WAITS(code, what) \
	"udp-close\nwarning: " CLOSED(code, what) "; waiting 10 s for new connection info"
#define LOSS "connection lost"

/* Section 7, row by row, and what it does not name. */
static const struct step close_codes[] = {
	{ "close 0", "reconnecting 1: " LOSS "\nconnect a.example 2053" },
	{ "close 1000", REJOINS(1000, "closed normally") },
	{ "close 1001", RESUMES(1001, LOSS) },
	{ "close 1002", RESUMES(1002, LOSS) },
	{ "close 1006", RESUMES(1006, LOSS) },
	{ "close 1011", RESUMES(1011, LOSS) },
	{ "close 1015", RESUMES(1015, LOSS) },
	{ "close 3999", RESUMES(3999, LOSS) },
	{ "close 4000", RESUMES(4000, LOSS) },
	{ "close 4001", STOPS(4001, "unknown opcode, a bug of ours") },
	{ "close 4002", STOPS(4002, "undecodable payload, a bug of ours") },
	{ "close 4003", STOPS(4003, "not authenticated, a bug of ours") },
	{ "close 4004", REJOINS(4004, "authentication failed") },
	{ "close 4005", STOPS(4005, "already authenticated, a bug of ours") },
	{ "close 4006", REJOINS(4006, "session no longer valid") },
	{ "close 4007", RESUMES(4007, LOSS) },
	{ "close 4009", REJOINS(4009, "session timed out") },
	{ "close 4010", RESUMES(4010, LOSS) },
	{ "close 4011", REJOINS(4011, "voice server not found") },
	{ "close 4012", STOPS(4012, "unknown protocol, a bug of ours") },
	{ "close 4013", RESUMES(4013, "media worker crashed") },
	{ "close 4014", WAITS(4014, "disconnected: kicked, moved or channel deleted") },
	{ "close 4015", RESUMES(4015, "voice server crashed") },
	{ "close 4016", STOPS(4016, "unknown encryption mode, a bug of ours") },
	{ "close 4017", STOPS(4017, "end-to-end encryption required") },
	{ "close 4018", RESUMES(4018, LOSS) },
	{ "close 4020", STOPS(4020, "bad request, a bug of ours") },
	{ "close 4021", STOPS(4021, "rate limited") },
	{ "close 4022", WAITS(4022, "call terminated") },
	{ "close 4023", RESUMES(4023, LOSS) },
	{ "close 65535", RESUMES(65535, LOSS) },
};

static void test_close_codes(void **state)
{
	struct rig t;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(close_codes) / sizeof(close_codes[0]); i++) {
		rig_live(&t);
		run(&t, (const struct step[]){ close_codes[i], { NULL, NULL } });
		/* Whatever it was: nobody beats on a closed connection, and a second close of it is
		 * nothing. */
		step(&t, "close 4006",
			strstr(close_codes[i].out, "\nconnect") != NULL
				? "reconnecting 2: could not connect (code 4006)"
				: "");
		rig_down(&t);
	}
}

/* The same codes where there is no session yet: nothing to resume, so all of it again. */
static void test_close_codes_while_identifying(void **state)
{
	struct rig t;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(close_codes) / sizeof(close_codes[0]); i++) {
		const char *out = close_codes[i].out;

		rig_up(&t, "a");
		run(&t, to_identified);
		if (strncmp(out, "udp-close\n", 10) == 0) {
			step(&t, close_codes[i].in, out + 10);
		} else {
			step(&t, close_codes[i].in, "reconnecting 2: *");
			step(&t, "due", "connect a.example 2053");
			step(&t, "open", "");
			step(&t, HELLO, "session\n" IDENTIFY);
		}
		rig_down(&t);
	}
}

static void test_close_reason(void **state)
{
	static const struct step steps[] = {
		{ "close 4006 gone\x1b[31m\xff\x7f",
			"udp-close\nneed-info: session no longer valid (code 4006): gone?[31m??" },
		{ NULL, NULL },
	};

	(void)state;
	run_live(steps);
}

static void test_authentication_failed_twice(void **state)
{
	static const struct step steps[] = {
		{ "start", "connect a.example 2053" },
		{ "open", "" },
		{ HELLO, "session\n" IDENTIFY },
		{ "close 4004", "need-info: authentication failed (code 4004)" },
		{ "info b", "reconnecting 1: new connection info\nconnect b.example 2053" },
		{ "open", "" },
		{ HELLO, "session\n> {\"op\":0,*" },
		{ "close 4004", "ended refused: authentication failed (code 4004)" },
		{ NULL, NULL },
	};
	/* A session in between: the next one is a first one again. */
	static const struct step forgiven[] = {
		{ "close 4004", "udp-close\nneed-info: authentication failed (code 4004)" },
		{ "info a", "reconnecting 1: *\nconnect a.example 2053" },
		{ "open", "" },
		{ HELLO, "session\n" IDENTIFY },
		{ READY, "udp 203.0.113.9 50004 345" },
		{ "found 198.51.100.7 41234", SELECT },
		{ DESCRIPTION, LIVE },
		{ "close 4004", "udp-close\nneed-info: authentication failed (code 4004)" },
		{ NULL, NULL },
	};

	(void)state;
	run_fresh(steps);
	run_live(forgiven);
}

static void test_grace(void **state)
{
	static const struct step kicked[] = {
		{ "close 4014", WAITS(4014, "disconnected: kicked, moved or channel deleted") },
		{ "+9999", "" },
		{ "+1",
			"ended removed: disconnected: kicked, moved or channel deleted (code "
			"4014)" },
		{ "info b", "" },
		{ NULL, NULL },
	};
	static const struct step moved[] = {
		{ "close 4022", WAITS(4022, "call terminated") },
		{ "+9999", "" },
		{ "info b", "reconnecting 1: new connection info\nconnect b.example 2053" },
		{ "+1", "" },
		{ "open", "" },
		{ HELLO, "session\n> {\"op\":0,*" },
		{ NULL, NULL },
	};
	static const struct step gone[] = {
		{ "close 4014", "udp-close\nwarning: *" },
		{ "gone", "need-info: the voice server went away" },
		{ "+60000", "" },
		{ "info b", "reconnecting 1: new connection info\nconnect b.example 2053" },
		{ NULL, NULL },
	};

	(void)state;
	run_live(kicked);
	run_live(moved);
	run_live(gone);
}

static void test_server_not_found(void **state)
{
	static const struct step steps[] = {
		{ "close 4011", REJOINS(4011, "voice server not found") },
		{ "info a", "reconnecting 1: new connection info" },
		{ "+4999", "" },
		{ "+1", "connect a.example 2053" },
		{ NULL, NULL },
	};

	(void)state;
	run_live(steps);
}

/* ---- resume ---- */

static void test_resume(void **state)
{
	static const struct step steps[] = {
		{ "t {\"op\":18,\"d\":{},\"seq\":10}", "" },
		{ "close 1006",
			"reconnecting 1: connection lost (code 1006)\nconnect a.example 2053" },
		{ "open", "" },
		{ HELLO, RESUME("10") },
		/* What was missed comes before Resumed, after it, and counts. */
		{ "t {\"op\":13,\"d\":{\"user_id\":\"2\"},\"seq\":11}", "left 2" },
		{ "b 000c1e0007aabb", "dave 30 0007aabb" },
		{ "t {\"op\":22,\"d\":{\"transition_id\":7},\"seq\":13}",
			"dave 22 {\"transition_id\":7}" },
		{ RESUMED, "resumed\n" SPEAKING },
		{ "b 000e1d0008cc", "dave 29 0008cc" },
		{ "t {\"op\":3}", BEAT("14") },
		/* Straight after, again: now it takes longer each time ... */
		{ "close 1006", "reconnecting 2: *" },
		{ "+1099", "" },
		{ "+1", "connect a.example 2053" },
		{ "open", "" },
		{ HELLO, RESUME("14") },
		{ RESUMED, "resumed\n" SPEAKING },
		{ "close 1006", "reconnecting 3: *" },
		{ "+3299", "" },
		{ "+1", "connect a.example 2053" },
		{ "open", "" },
		{ HELLO, RESUME("14") },
		{ RESUMED, "resumed\n" SPEAKING },
		/* ... until one has stood for a while. */
		{ "+15000", BEAT("14") },
		{ "+15000", BEAT("14") },
		{ "close 0", "reconnecting 1: *\nconnect a.example 2053" },
		{ NULL, NULL },
	};

	(void)state;
	run_live(steps);
}

static void test_resume_fails(void **state)
{
	static const struct step dead[] = {
		{ "close 4015", RESUMES(4015, "voice server crashed") },
		{ "open", "" },
		{ HELLO, RESUME("1") },
		/* The UDP socket stays until it is certain that the session is gone. */
		{ "close 4006", REJOINS(4006, "session no longer valid") },
		{ "info b", "reconnecting 1: new connection info\nconnect b.example 2053" },
		{ "open", "" },
		/* Fresh: no number of the old session goes into the new one. */
		{ HELLO, "session\n> {\"op\":0,*" },
		{ "t {\"op\":3}", BEAT("-1") },
		{ NULL, NULL },
	};
	static const struct step never_answered[] = {
		{ "close 4015", RESUMES(4015, "voice server crashed") },
		{ "open", "" },
		{ HELLO, RESUME("1") },
		{ "close 4015", "reconnecting 2: voice server crashed (code 4015)" },
		{ "due", "connect a.example 2053" },
		{ "open", "" },
		{ HELLO, RESUME("1") },
		{ "close 4015",
			"udp-close\nneed-info: could not resume: voice server crashed (code "
			"4015)" },
		{ NULL, NULL },
	};

	(void)state;
	run_live(dead);
	run_live(never_answered);
}

static void test_resume_later(void **state)
{
	/* One Resume that was lost is forgiven by one that was not. */
	static const struct step lost_twice[] = {
		{ "close 0", "reconnecting 1: *\nconnect a.example 2053" },
		{ "open", "" },
		{ HELLO, RESUME("1") },
		{ "close 0", "reconnecting 2: connection lost" },
		{ "due", "connect a.example 2053" },
		{ "open", "" },
		{ HELLO, RESUME("1") },
		{ RESUMED, "resumed\n" SPEAKING },
		{ "close 0", "reconnecting 3: connection lost" },
		{ "due", "connect a.example 2053" },
		{ "open", "" },
		{ HELLO, RESUME("1") },
		{ "close 0", "reconnecting 4: connection lost" },
		{ NULL, NULL },
	};
	/* No way to the server: that says nothing of the session. */
	static const struct step no_network[] = {
		{ "close 0", "reconnecting 1: *\nconnect a.example 2053" },
		{ "close 0", "reconnecting 2: *" },
		{ "due", "connect a.example 2053" },
		{ "close 0", "reconnecting 3: *" },
		{ "due", "connect a.example 2053" },
		{ "close 0", "reconnecting 4: *" },
		{ "due", "connect a.example 2053" },
		{ "open", "" },
		{ "+10000", "disconnect 4000\nreconnecting 5: no Hello in time" },
		{ "due", "connect a.example 2053" },
		{ "open", "" },
		{ HELLO, RESUME("1") },
		{ RESUMED, "resumed\n" SPEAKING },
		{ NULL, NULL },
	};

	(void)state;
	run_live(lost_twice);
	run_live(no_network);
}

/* ---- new information ---- */

static void test_new_info(void **state)
{
	static const struct step moved[] = {
		{ "info b",
			"disconnect 1000\nudp-close\nreconnecting 1: moved: new connection info\n"
			"connect b.example 2053" },
		{ "open", "" },
		{ HELLO, "session\n> {\"op\":0,*" },
		{ READY, "udp 203.0.113.9 50004 345" },
		{ "found 198.51.100.7 41234", SELECT },
		{ DESCRIPTION, LIVE },
		/* Said twice, and others' business. */
		{ "info b", "" },
		{ "info guild", "warning: connection info of another guild or user ignored" },
		{ "info user", "warning: connection info of another guild or user ignored" },
		/* Same server, new token: the old session is dead all the same. */
		{ "info a",
			"disconnect 1000\nudp-close\nreconnecting 1: *\nconnect a.example 2053" },
		{ "info token", "disconnect 1000\nreconnecting 1: *\nconnect a.example 2053" },
		{ "info token", "" },
		{ NULL, NULL },
	};
	static const struct step while_waiting[] = {
		{ "start", "connect a.example 2053" },
		{ "close 0", "reconnecting 2: *" },
		{ "info a", "" },
		{ "info b", "reconnecting 1: *\nconnect b.example 2053" },
		{ NULL, NULL },
	};
	/* Each refused at once. The next has to wait longer, whatever comes meanwhile, up to half a
	 * minute; one that stands makes it all forgotten. */
#define NOW(info, server)                                                       \
	{ "info " info, "reconnecting 1: *\nconnect " server ".example 2053" }, \
	{                                                                       \
		"close 0", "reconnecting 2: *"                                  \
	}
#define LATER(info, server, just_before)                            \
	{ "info " info, "reconnecting 1: *" }, { just_before, "" }, \
		{ "+1", "connect " server ".example 2053" },        \
	{                                                           \
		"close 0", "reconnecting 2: *"                      \
	}
	static const struct step without_end[] = {
		{ "start", "connect a.example 2053" },
		{ "close 0", "reconnecting 2: *" },
		NOW("b", "b"),
		NOW("a", "a"),
		LATER("b", "b", "+999"),
		LATER("a", "a", "+1999"),
		LATER("b", "b", "+3999"),
		LATER("a", "a", "+7999"),
		LATER("b", "b", "+15999"),
		LATER("a", "a", "+29999"),
		{ "info b", "reconnecting 1: *" },
		{ "+10000", "" },
		{ "info token", "reconnecting 1: *" },
		{ "+10000", "" },
		LATER("b", "b", "+9999"),
		{ "info a", "reconnecting 1: *" },
		{ "+30000", "connect a.example 2053" },
		{ "open", "" },
		{ HELLO, "session\n> {\"op\":0,*" },
		{ READY, "udp 203.0.113.9 50004 345" },
		{ "found 198.51.100.7 41234", SELECT },
		{ DESCRIPTION, LIVE },
		{ "info b",
			"disconnect 1000\nudp-close\nreconnecting 1: *\nconnect b.example 2053" },
		{ NULL, NULL },
	};
	static const struct step before_start[] = {
		{ "info b", "" },
		{ "start", "connect b.example 2053" },
		{ NULL, NULL },
	};
	static const struct step while_resuming[] = {
		{ "close 0", "reconnecting 1: *\nconnect a.example 2053" },
		{ "open", "" },
		{ HELLO, RESUME("1") },
		{ "info b",
			"disconnect 1000\nudp-close\nreconnecting 1: *\nconnect b.example 2053" },
		{ "open", "" },
		{ HELLO, "session\n> {\"op\":0,*" },
		{ NULL, NULL },
	};

	(void)state;
	run_live(moved);
	run_fresh(while_waiting);
	run_fresh(without_end);
	run_fresh(before_start);
	run_live(while_resuming);
}

static void test_server_gone(void **state)
{
	static const struct step live[] = {
		{ "gone", "disconnect 1000\nudp-close\nneed-info: the voice server went away" },
		{ "gone", "" },
		{ "close 1000", "" },
		{ "+1000000", "" },
		/* The old information is all there is: the asker knows. */
		{ "info a", "reconnecting 1: new connection info\nconnect a.example 2053" },
		{ NULL, NULL },
	};
	static const struct step connecting[] = {
		{ "start", "connect a.example 2053" },
		{ "gone", "disconnect 1000\nneed-info: the voice server went away" },
		{ "open", "" },
		{ NULL, NULL },
	};
	static const struct step waiting[] = {
		{ "start", "connect a.example 2053" },
		{ "close 0", "reconnecting 2: *" },
		{ "gone", "need-info: the voice server went away" },
		{ "+100000", "" },
		{ "stop", "ended left: asked to leave" },
		{ NULL, NULL },
	};

	(void)state;
	run_live(live);
	run_fresh(connecting);
	run_fresh(waiting);
}

static void test_stop(void **state)
{
	static const struct step live[] = {
		{ "stop", "disconnect 1000\nudp-close\nended left: asked to leave" },
		{ "stop", "" },
		{ "close 1000", "" },
		{ "start", "" },
		{ "info b", "" },
		{ "gone", "" },
		{ "+100000", "" },
		{ "dave 26 00", "dave-send: -51" },
		{ NULL, NULL },
	};
	static const struct step connecting[] = {
		{ "start", "connect a.example 2053" },
		{ "stop", "disconnect 1000\nended left: asked to leave" },
		{ NULL, NULL },
	};
	static const struct step idle[] = {
		{ "stop", "ended left: asked to leave" },
		{ NULL, NULL },
	};

	(void)state;
	run_live(live);
	run_fresh(connecting);
	run_fresh(idle);
}

/* ---- end-to-end encryption ---- */

static void test_dave(void **state)
{
	static const struct step steps[] = {
		{ "b ffff19404104", "dave 25 404104" },
		{ "b 00011b00", "dave 27 00" },
		{ "b 00021d0001ff", "dave 29 0001ff" },
		{ "b 00031e", "dave 30 " },
		{ "t {\"op\":21,\"d\":{\"transition_id\":10,\"protocol_version\":0},\"seq\":50}",
			"dave 21 {\"transition_id\":10,\"protocol_version\":0}" },
		{ "t {\"op\":22,\"d\":{\"transition_id\":0}}", "dave 22 {\"transition_id\":0}" },
		{ "t {\"op\":24,\"d\":{\"epoch\":\"1\",\"protocol_version\":1}}",
			"dave 24 {\"epoch\":\"1\",\"protocol_version\":1}" },
		/* A number whose bytes look like JSON is still a number. */
		{ "b 7b2219aa", "dave 25 aa" },
		{ "t {\"op\":3}", BEAT("31522") },
		{ "dave 23 {\"transition_id\":10}", "> {\"op\":23,\"d\":{\"transition_id\":10}}" },
		{ "dave 31 {\"transition_id\":32}", "> {\"op\":31,\"d\":{\"transition_id\":32}}" },
		{ "dave 26 000100", ">b 1a000100" },
		{ "dave 28 ", ">b 1c" },
		{ "dave 25 00", "dave-send: -54" },
		{ "dave 3 00", "dave-send: -54" },
		{ NULL, NULL },
	};

	(void)state;
	run_live(steps);
}

/* The next thing said after Session Description is the key package, whatever waits. */
static void test_dave_answers_first(void **state)
{
	static const uint8_t package[] = { 0, 1 }, commit[] = { 2 };
	const char *description = &DESCRIPTION[2];
	struct vgw_action a;
	struct rig t;

	(void)state;
	rig_up(&t, "a");
	run(&t, to_identified);
	run(&t,
		(const struct step[]){ identified_to_live[0], identified_to_live[1],
			{ NULL, NULL } });
	vgw_text(t.g, description, strlen(description), t.now_ns);
	assert_int_equal(vgw_next(t.g, &a), 1);
	assert_int_equal(a.type, VGW_DAVE_VERSION);
	assert_int_equal(vgw_dave_send(t.g, 26, package, 2), TD_OK);
	assert_int_equal(vgw_dave_send(t.g, 28, commit, 1), TD_OK);
	t.len = 0;
	drain(&t);
	assert_true(
		matches(t.out, ">b 1a0001\n>b 1c02\nkey 1 345 *\nready\n" SPEAKING "\nmedia 345"));
	rig_down(&t);
}

/* While the connection is away what has to be said waits; without a session it is refused. */
static void test_dave_while_away(void **state)
{
	static const struct step early[] = {
		{ "dave 26 00", "dave-send: -51" },
		{ "start", "connect a.example 2053" },
		{ "open", "" },
		{ HELLO, "session\n" IDENTIFY },
		{ "dave 26 00", "dave-send: -51" },
		{ READY, "udp 203.0.113.9 50004 345" },
		{ "dave 26 00", "dave-send: -51" },
		{ "found 198.51.100.7 41234", SELECT },
		{ "dave 26 00", ">b 1a00" },
		{ NULL, NULL },
	};
	static const struct step held[] = {
		{ "close 0", "reconnecting 1: *\nconnect a.example 2053" },
		{ "dave 23 {\"transition_id\":1}", "" },
		{ "open", "" },
		{ HELLO, RESUME("1") },
		{ "b 00021d0002ff", "dave 29 0002ff" },
		{ "dave 23 {\"transition_id\":2}", "" },
		{ "dave 28 aa", "" },
		{ RESUMED,
			"resumed\n" SPEAKING "\n> {\"op\":23,\"d\":{\"transition_id\":1}}\n"
			"> {\"op\":23,\"d\":{\"transition_id\":2}}\n>b 1caa" },
		{ "dave 28 bb", ">b 1cbb" },
		{ NULL, NULL },
	};
	static const struct step dropped[] = {
		{ "close 0", "reconnecting 1: *\nconnect a.example 2053" },
		{ "dave 23 {\"transition_id\":1}", "" },
		{ "open", "" },
		{ HELLO, RESUME("1") },
		{ "close 4006", "udp-close\nneed-info: *" },
		{ "dave 23 {\"transition_id\":1}", "dave-send: -51" },
		{ "info a", "reconnecting 1: *\nconnect a.example 2053" },
		{ "open", "" },
		{ HELLO, "session\n" IDENTIFY },
		{ READY, "udp 203.0.113.9 50004 345" },
		{ "found 198.51.100.7 41234", SELECT },
		{ DESCRIPTION, LIVE },
		{ "close 0", "reconnecting 1: *\nconnect a.example 2053" },
		{ "open", "" },
		{ HELLO, RESUME("1") },
		{ RESUMED, "resumed\n" SPEAKING },
		{ NULL, NULL },
	};

	(void)state;
	run_fresh(early);
	run_live(held);
	run_live(dropped);
}

static void test_dave_bounds(void **state)
{
	uint8_t *big = calloc(1, VGW_MESSAGE_MAX + 1);
	struct rig t;

	(void)state;
	assert_non_null(big);
	rig_live(&t);
	assert_int_equal(vgw_dave_send(t.g, 28, big, VGW_MESSAGE_MAX + 1), TD_ERR_LIMIT);
	assert_int_equal(vgw_dave_send(t.g, 28, big, VGW_MESSAGE_MAX), TD_OK);
	t.len = 0;
	vgw_closed(t.g, 0, NULL, false, t.now_ns);
	assert_int_equal(vgw_dave_send(t.g, 28, big, VGW_MESSAGE_MAX), TD_OK);
	assert_int_equal(vgw_dave_send(t.g, 28, big, VGW_MESSAGE_MAX), TD_ERR_LIMIT);
	/* What was said is not held any more. */
	vgw_opened(t.g, t.now_ns);
	vgw_text(t.g, &HELLO[2], strlen(&HELLO[2]), t.now_ns);
	vgw_text(t.g, &RESUMED[2], strlen(&RESUMED[2]), t.now_ns);
	vgw_closed(t.g, 0, NULL, false, t.now_ns);
	assert_int_equal(vgw_dave_send(t.g, 28, big, VGW_MESSAGE_MAX), TD_OK);
	rig_down(&t);
	free(big);
}

/* ---- a whole session, cut everywhere ---- */

/* What a server has to say once the session stands; the number of each is its place. */
static const struct step life[] = {
	{ "t {\"op\":11,\"d\":{\"user_ids\":[\"5\",\"6\"]},\"seq\":%u}", "joined 5\njoined 6" },
	{ "b %04x19404104", "dave 25 404104" },
	{ "t {\"op\":5,\"d\":{\"speaking\":1,\"ssrc\":9,\"user_id\":\"5\"},\"seq\":%u}",
		"speaker 9 5" },
	{ "t {\"op\":18,\"d\":{\"user_id\":\"5\",\"flags\":3},\"seq\":%u}", "" },
	{ "b %04x1b00", "dave 27 00" },
	{ "b %04x1d0007aa", "dave 29 0007aa" },
	{ "t {\"op\":22,\"d\":{\"transition_id\":7},\"seq\":%u}", "dave 22 {\"transition_id\":7}" },
	{ "t {\"op\":13,\"d\":{\"user_id\":\"5\"},\"seq\":%u}", "left 5" },
	{ "t {\"op\":24,\"d\":{\"epoch\":1,\"protocol_version\":1},\"seq\":%u}",
		"dave 24 {\"epoch\":1,\"protocol_version\":1}" },
	{ "t {\"op\":12,\"d\":{\"user_id\":\"6\",\"audio_ssrc\":10},\"seq\":%u}", "speaker 10 6" },
};
enum { LIFE = sizeof(life) / sizeof(life[0]), FIRST_SEQ = 65531 }; /* wraps on the way */

/* A server in a few lines: it answers the engine's actions, numbers what it says, buffers it. */
struct server {
	struct rig t;
	char heard[8192]; /* what the engine made of `life` in this session */
	size_t heard_len;
	unsigned said;   /* messages of `life` said in this session */
	int cut_in;      /* inputs to the engine until the cut; -1: done */
	const char *cut; /* how */
	bool lose;       /* the message at the cut is lost: said, and never heard */
	bool up, resumed_late;
	unsigned sessions, cuts;
	char todo[8][512]; /* what the server or the driver does next */
	unsigned todo_len;
};

static void later(struct server *s, const char *in)
{
	assert_true(s->todo_len < 8 && strlen(in) < sizeof(s->todo[0]));
	strcpy(s->todo[s->todo_len++], in);
}

static void say_life(struct server *s, unsigned n, char out[static 256])
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(out, 256, life[n].in, (unsigned)(uint16_t)(FIRST_SEQ + n));
#pragma GCC diagnostic pop
	(void)s;
}

static void resume_from(struct server *s, const char *line)
{
	char text[256];
	unsigned next, i;
	long ack = strtol(strstr(line, "\"seq_ack\":") + 10, NULL, 10);

	/* The description was number FIRST_SEQ - 1. */
	next = (uint16_t)((uint16_t)ack - FIRST_SEQ + 1);
	assert_in_range(next, 0, s->said);
	if (!s->resumed_late)
		step(&s->t, RESUMED, "resumed\n" SPEAKING);
	for (i = next; i < s->said; i++) {
		say_life(s, i, text);
		step(&s->t, text, life[i].out);
		s->heard_len += (size_t)sprintf(s->heard + s->heard_len, "%s\n", life[i].out);
	}
	if (s->resumed_late)
		step(&s->t, RESUMED, "resumed\n" SPEAKING);
	s->up = true;
}

static void react(struct server *s, const char *line)
{
	if (strncmp(line, "connect ", 8) == 0) {
		later(s, "open");
		later(s, "hello");
	} else if (strncmp(line, "> {\"op\":0,", 10) == 0) {
		later(s, "ready");
	} else if (strncmp(line, "udp ", 4) == 0) {
		later(s, "found 198.51.100.7 41234");
	} else if (strncmp(line, "> {\"op\":1,", 10) == 0) {
		later(s, "description");
	} else if (strncmp(line, "> {\"op\":7,", 10) == 0) {
		later(s, line);
	} else if (strncmp(line, "session", 7) == 0) {
		s->heard_len = 0;
		s->heard[0] = '\0';
		s->said = 0;
		s->up = false;
		s->sessions++;
	} else if (strncmp(line, "ready", 5) == 0) {
		s->up = true;
	} else if (strncmp(line, "need-info", 9) == 0) {
		later(s, "info a");
	} else if (strncmp(line, "disconnect", 10) == 0) {
		s->todo_len = 0;
		s->up = false;
	} else if (strncmp(line, "ended", 5) == 0) {
		fail_msg("%s", line);
	}
}

static void feed(struct server *s, const char *in)
{
	char copy[sizeof(s->t.out)], *line, *save;

	s->t.len = 0;
	s->t.out[0] = '\0';
	input(&s->t, in);
	strcpy(copy, s->t.out);
	for (line = strtok_r(copy, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
		react(s, line);
}

/* The connection goes away: at once, with a code, or by silence until the engine notices. */
static void cut(struct server *s)
{
	unsigned i;

	s->cuts++;
	s->todo_len = 0;
	s->up = false;
	if (strcmp(s->cut, "silence") != 0) {
		feed(s, s->cut);
		return;
	}
	for (i = 0; i < 8 && s->todo_len == 0 && vgw_deadline(s->t.g) != UINT64_MAX; i++)
		feed(s, "due");
}

/* One message or event, unless this is where the cut comes. */
static void serve_one(struct server *s)
{
	char text[256], first[512];

	if (s->cut_in == 0) {
		s->cut_in = -1;
		if (s->lose && s->up && s->said < LIFE)
			s->said++;
		cut(s);
		return;
	}
	if (s->cut_in > 0)
		s->cut_in--;
	if (s->todo_len > 0) {
		strcpy(first, s->todo[0]);
		memmove(s->todo[0], s->todo[1], --s->todo_len * sizeof(s->todo[0]));
		if (strcmp(first, "hello") == 0)
			feed(s, HELLO);
		else if (strcmp(first, "ready") == 0)
			feed(s, READY);
		else if (strcmp(first, "description") == 0)
			feed(s,
				"t {\"op\":4,\"d\":{\"mode\":\"aead_aes256_gcm_rtpsize\","
				"\"secret_key\":[" KEY32 "1],\"dave_protocol_version\":1},"
				"\"seq\":65530}");
		else if (strncmp(first, "> {\"op\":7", 9) == 0)
			resume_from(s, first);
		else
			feed(s, first);
	} else if (s->up) {
		say_life(s, s->said, text);
		step(&s->t, text, life[s->said].out);
		s->heard_len += (size_t)sprintf(s->heard + s->heard_len, "%s\n", life[s->said].out);
		s->said++;
	} else {
		feed(s, "due");
	}
}

static void test_cut_everywhere(void **state)
{
	static const char *const cuts[] = { "close 0", "close 1006", "close 4015", "close 4006",
		"silence" };
	enum { INPUTS = 5 + LIFE };
	char whole[2048] = "";
	unsigned how, at, i, variant;

	(void)state;
	for (i = 0; i < LIFE; i++) {
		strcat(whole, life[i].out);
		strcat(whole, "\n");
	}
	for (how = 0; how < 5 * 4; how++) {
		variant = how / 5;
		for (at = 0; at < INPUTS; at++) {
			struct server s = { .cut = cuts[how % 5],
				.cut_in = (int)at,
				.lose = (variant & 1) != 0,
				.resumed_late = (variant & 2) != 0 };
			bool session;

			rig_up(&s.t, "a");
			feed(&s, "start");
			for (i = 0; i < 200 && (s.said < LIFE || s.cut_in >= 0 || !s.up); i++)
				serve_one(&s);
			if (s.cuts != 1 || strcmp(s.heard, whole) != 0)
				fail_msg("%s at %u, variant %u:\n%s", cuts[how % 5], at, variant,
					s.heard);
			/* A session that stood is resumed, any other begins anew. */
			session = at >= 5;
			if (how % 5 == 3)
				assert_in_range(s.sessions, at >= 2 ? 2 : 1, 2);
			else
				assert_int_equal(s.sessions, session || at < 2 ? 1 : 2);
			rig_down(&s.t);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connects),
		cmocka_unit_test(test_escapes_token),
		cmocka_unit_test(test_picks_mode),
		cmocka_unit_test(test_gives_up_connecting),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_resume_times_out),
		cmocka_unit_test(test_discovery),
		cmocka_unit_test(test_wrong_certificate),
		cmocka_unit_test(test_heartbeats),
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_sequence),
		cmocka_unit_test(test_speakers),
		cmocka_unit_test(test_ignored),
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_out_of_turn),
		cmocka_unit_test(test_description_again),
		cmocka_unit_test(test_bad_description),
		cmocka_unit_test(test_bad_ready),
		cmocka_unit_test(test_hostile_json),
		cmocka_unit_test(test_warnings_are_few),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_queue_shrinks),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_actions_wait),
		cmocka_unit_test(test_close_codes),
		cmocka_unit_test(test_close_codes_while_identifying),
		cmocka_unit_test(test_close_reason),
		cmocka_unit_test(test_authentication_failed_twice),
		cmocka_unit_test(test_grace),
		cmocka_unit_test(test_server_not_found),
		cmocka_unit_test(test_resume),
		cmocka_unit_test(test_resume_fails),
		cmocka_unit_test(test_resume_later),
		cmocka_unit_test(test_new_info),
		cmocka_unit_test(test_server_gone),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_dave),
		cmocka_unit_test(test_dave_answers_first),
		cmocka_unit_test(test_dave_while_away),
		cmocka_unit_test(test_dave_bounds),
		cmocka_unit_test(test_cut_everywhere),
	};

	return cmocka_run_group_tests_name("voice_gateway", tests, NULL, NULL);
}
