/* SPDX-License-Identifier: ISC */
/*
 * The whole voice gateway engine under a script of inputs. The first byte is flags; then each
 * input is a byte that says what happens, and what it needs:
 *
 *   0 text LEN16 bytes | 1 binary LEN16 bytes | 2 opened | 3 closed CODE16 | 4 tick after BYTE*64
 * ms 5 tick at the deadline | 6 discovered | 7 discovery failed | 8 new info BYTE | 9 server gone
 *   10 dave_send OPCODE LEN16 bytes | 11 a message of the table below BYTE | 12 closed, fatal
 *   13 stop | 14 all it takes to a live session
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/err.h"
#include "receiver/voice_gateway.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	FLAG_LAZY = 1,   /* actions pile up: memory alone is looked at */
	FLAG_ANSWER = 2, /* end-to-end encryption answers from within the drain */
	FLAG_NO_UTC = 4,
	STEPS_MAX = 300,
};
#define TOKEN "do-not-say-this"

static const char *const said[] = {
	"{\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":13750}}",
	"{\"op\":2,\"d\":{\"ssrc\":345,\"ip\":\"203.0.113.9\",\"port\":50004,\"modes\":["
	"\"aead_aes256_gcm_rtpsize\"]}}",
	"{\"op\":4,\"d\":{\"mode\":\"aead_aes256_gcm_rtpsize\",\"secret_key\":[0,1,2,3,4,5,6,7,8,9,"
	"10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31],"
	"\"dave_protocol_version\":1},\"seq\":1}",
	"{\"op\":9,\"d\":null}",
	"{\"op\":6,\"d\":{\"t\":1},\"seq\":2}",
	"{\"op\":3,\"d\":{\"t\":1}}",
	"{\"op\":11,\"d\":{\"user_ids\":[\"5\",\"6\"]},\"seq\":3}",
	"{\"op\":5,\"d\":{\"speaking\":1,\"ssrc\":110,\"user_id\":\"5\"},\"seq\":65535}",
	"{\"op\":13,\"d\":{\"user_id\":\"5\"},\"seq\":0}",
	"{\"op\":21,\"d\":{\"transition_id\":10,\"protocol_version\":0},\"seq\":50}",
	"{\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":100}}",
	"{\"op\":2,\"d\":{\"ssrc\":345,\"ip\":\"203.0.113.9\",\"port\":50004,\"modes\":[]}}",
};
enum { SAID = sizeof(said) / sizeof(said[0]) };

struct model {
	struct vgw *g;
	uint64_t now_ns;
	struct rd script;
	unsigned flags;
	uint32_t random;
	bool socket, opened, udp, keyed, ready, media, session, ended;
	volatile unsigned sum;
};

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void model_random(void *user, uint8_t *out, size_t len)
{
	struct model *m = user;
	size_t i;

	for (i = 0; i < len; i++) {
		m->random = m->random * 1664525u + 1013904223u;
		out[i] = (uint8_t)(m->random >> 24);
	}
}

static uint64_t model_utc_ms(void *user)
{
	const struct model *m = user;

	return (uint64_t)m->random << 32 | m->random;
}

static struct connection_info model_info(unsigned n)
{
	struct connection_info i = { .guild_id = 4,
		.channel_id = 5,
		.user_id = 6,
		.port = 443,
		.session_id = "session",
		.token = TOKEN,
		.host = "a.example",
		.tls = true };

	i.host[0] = (char)('a' + n % 4);
	i.guild_id += n == 255;
	return i;
}

/* Reads everything an action points to, and looks for what must not be in a text for people. */
static void touch(struct model *m, const struct vgw_action *a)
{
	size_t i;

	for (i = 0; i < a->len && a->data != NULL; i++)
		m->sum += a->data[i];
	for (i = 0; i < TRANSPORT_KEY_LEN && a->key != NULL; i++)
		m->sum += a->key[i];
	if (a->host != NULL)
		check(strlen(a->host) < CONNECTION_HOST_MAX);
	/* Nobody runs out of memory here: a malformed message must not look like it. */
	if (a->text != NULL)
		check(strstr(a->text, TOKEN) == NULL && strlen(a->text) < 512 &&
			strstr(a->text, "out of memory") == NULL);
}

static void check_socket(struct model *m, const struct vgw_action *a)
{
	switch (a->type) {
	case VGW_CONNECT:
		check(!m->socket && a->host != NULL && a->port != 0);
		m->socket = true;
		m->opened = false;
		break;
	case VGW_DISCONNECT:
		check(m->socket);
		m->socket = m->opened = false;
		break;
	case VGW_SEND_TEXT:
	case VGW_SEND_BINARY:
		check(m->opened && a->data != NULL && a->len > 0);
		if (a->type == VGW_SEND_TEXT)
			check(a->data[0] == '{' && a->data[a->len - 1] == '}');
		break;
	case VGW_UDP_OPEN:
		check(!m->udp && a->host != NULL && a->ssrc != 0);
		m->udp = true;
		break;
	case VGW_UDP_CLOSE:
		check(m->udp);
		m->udp = false;
		break;
	default:
		break;
	}
}

static void check_session(struct model *m, const struct vgw_action *a)
{
	switch (a->type) {
	case VGW_SESSION_NEW:
		check(!m->udp);
		m->session = true;
		m->keyed = m->ready = m->media = false;
		break;
	case VGW_KEY:
		check(m->session && m->udp && a->key != NULL && a->mode != TRANSPORT_NONE);
		m->keyed = true;
		break;
	case VGW_READY:
		check(m->keyed && !m->ready);
		m->ready = true;
		break;
	case VGW_MEDIA_READY:
		check(m->ready && !m->media);
		m->media = true;
		break;
	case VGW_RESUMED:
		check(m->media && m->opened);
		break;
	case VGW_SPEAKER:
		check(a->ssrc != 0 && a->user_id != 0 && a->user_id != 6);
		break;
	case VGW_USER_JOINED:
	case VGW_USER_LEFT:
		check(a->user_id != 0 && a->user_id != 6);
		break;
	case VGW_RECONNECTING:
	case VGW_NEED_INFO:
	case VGW_WARNING:
		check(a->text != NULL);
		break;
	case VGW_ENDED:
		check(a->text != NULL && !m->socket && !m->udp);
		m->ended = true;
		break;
	default:
		break;
	}
}

static void drain(struct model *m)
{
	static const uint8_t answer[] = "{}";
	struct vgw_action a;

	while (vgw_next(m->g, &a) == 1) {
		check(!m->ended);
		touch(m, &a);
		if ((m->flags & FLAG_LAZY) == 0) {
			check_socket(m, &a);
			check_session(m, &a);
		}
		if ((m->flags & FLAG_ANSWER) != 0 && a.type == VGW_DAVE_VERSION)
			(void)vgw_dave_send(m->g, 26, answer, 2);
		if ((m->flags & FLAG_ANSWER) != 0 && a.type == VGW_DAVE)
			(void)vgw_dave_send(m->g, a.opcode % 2 != 0 ? 23 : 28, answer, 2);
		touch(m, &a);
		if (a.type == VGW_ENDED)
			m->ended = true;
	}
}

/* Time asked for is neither behind us for ever nor in another age. */
static void check_deadline(struct model *m)
{
	uint64_t at = vgw_deadline(m->g);

	check(!m->ended || at == UINT64_MAX);
	check(at == UINT64_MAX || at <= m->now_ns + 301 * TD_SEC_NS);
}

static void tick(struct model *m, uint64_t now_ns)
{
	uint64_t before = vgw_deadline(m->g);

	m->now_ns = now_ns;
	vgw_tick(m->g, now_ns);
	/* Who comes when he is called is not called again at once. */
	check(before > now_ns || vgw_deadline(m->g) > now_ns);
}

static void message(struct model *m, bool binary, const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len + (len == 0));

	check(copy != NULL);
	if (len > 0)
		memcpy(copy, data, len);
	if (binary)
		vgw_binary(m->g, copy, len, m->now_ns);
	else
		vgw_text(m->g, (const char *)copy, len, m->now_ns);
	free(copy);
}

/* As many bytes as the script says, or as it has left. */
static const uint8_t *take(struct model *m, size_t *ret_len)
{
	size_t len = rd_u16(&m->script);

	*ret_len = len < rd_left(&m->script) ? len : rd_left(&m->script);
	return rd_bytes(&m->script, *ret_len);
}

static void opened(struct model *m)
{
	m->opened = m->socket;
	vgw_opened(m->g, m->now_ns);
}

static void closed(struct model *m, uint16_t code, bool fatal)
{
	m->socket = m->opened = false;
	vgw_closed(m->g, code, "a \x01 reason", fatal, m->now_ns);
}

static void say(struct model *m, unsigned n)
{
	message(m, false, (const uint8_t *)said[n % SAID], strlen(said[n % SAID]));
}

static void go_live(struct model *m)
{
	opened(m);
	drain(m);
	say(m, 0);
	drain(m);
	say(m, 1);
	drain(m);
	vgw_discovered(m->g, "198.51.100.7", 41234, m->now_ns);
	drain(m);
	say(m, 2);
}

static void step(struct model *m)
{
	unsigned what = rd_u8(&m->script), n;
	struct connection_info info;
	const uint8_t *data;
	size_t len;

	switch (what % 15) {
	case 0:
	case 1:
		data = take(m, &len);
		message(m, what % 15 == 1, data, len);
		break;
	case 2:
		opened(m);
		break;
	case 3:
		closed(m, rd_u16(&m->script), false);
		break;
	case 4:
		tick(m, m->now_ns + rd_u8(&m->script) * 64 * TD_MS_NS);
		break;
	case 5:
		if (vgw_deadline(m->g) != UINT64_MAX)
			tick(m, vgw_deadline(m->g) > m->now_ns ? vgw_deadline(m->g) : m->now_ns);
		break;
	case 6:
		n = rd_u8(&m->script);
		vgw_discovered(m->g, n < 8 ? "no \" address" : "198.51.100.7", (uint16_t)n,
			m->now_ns);
		break;
	case 7:
		vgw_discovery_failed(m->g, m->now_ns);
		break;
	case 8:
		info = model_info(rd_u8(&m->script));
		vgw_new_info(m->g, &info, m->now_ns);
		break;
	case 9:
		vgw_server_gone(m->g, m->now_ns);
		break;
	case 10:
		n = rd_u8(&m->script);
		data = take(m, &len);
		(void)vgw_dave_send(m->g, (uint8_t)n, data, len);
		break;
	case 11:
		say(m, rd_u8(&m->script));
		break;
	case 12:
		closed(m, 0, true);
		break;
	case 13:
		vgw_stop(m->g, VGW_LEFT, "asked", m->now_ns);
		break;
	case 14:
		go_live(m);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model m = { .now_ns = 1000 * TD_SEC_NS };
	struct connection_info info = model_info(0);
	struct vgw_conf conf = { .info = &info,
		.random = model_random,
		.user = &m,
		.max_dave_version = 1 };
	unsigned steps;

	rd_init(&m.script, data, size);
	m.flags = rd_u8(&m.script);
	if ((m.flags & FLAG_NO_UTC) == 0)
		conf.utc_ms = model_utc_ms;
	check(vgw_new(&m.g, &conf) == TD_OK);
	vgw_start(m.g, m.now_ns);
	for (steps = 0; steps < STEPS_MAX && rd_left(&m.script) > 0; steps++) {
		if ((m.flags & FLAG_LAZY) == 0 || steps % 16 == 0)
			drain(&m);
		step(&m);
		if ((m.flags & FLAG_LAZY) == 0)
			drain(&m);
		check_deadline(&m);
	}
	vgw_stop(m.g, VGW_LEFT, "asked", m.now_ns);
	drain(&m);
	check(m.ended && vgw_deadline(m.g) == UINT64_MAX);
	vgw_free(m.g);
	return 0;
}
