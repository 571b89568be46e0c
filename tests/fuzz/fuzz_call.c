/* SPDX-License-Identifier: ISC */
/*
 * A whole call: gateway engine, DAVE session, roster and recording as they are in the receiver,
 * between sockets, lanes, timers and a clock that are this file's. What happens is a script of
 * bytes; the messages it can send are good ones, of a real encrypted call with two other members,
 * or changed ones, or anything at all, as text and as binary. What the call does is checked: every
 * session of files that opens is closed, nothing goes to a lane that has no such connection,
 * nothing is recorded without a key, what arrived is read before anything changes, and at the end
 * it ends, once.
 */
#include <jansson.h>
#include <stdarg.h>
#include <uv.h>

#include "common/bytes.h"
#include "common/log.h"
#include "receiver/call.h"
#include "receiver/events.h"
#include "receiver/udp.h"
#include "tests/unit/dave_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK SIM_MUST
#define TOKEN "do-not-say-this"

enum { STEPS_MAX = 200, TIMERS = 3, CONN = 7, OTHERS = 2, GUILD = 4 };

struct ws {
	struct ws_conf conf;
	char host[CONNECTION_HOST_MAX];
	bool opened;
};
struct udp {
	struct udp_conf conf;
	bool keyed;
};

static struct rig {
	struct rd script;
	struct call *call;
	uint64_t now_ns;
	struct ws *ws;
	struct udp *udp;
	bool connected, keyed, udp_fails, ended, freed, lane_gone;
	bool heard;  /* datagrams go to the lane, or would if it were recorded */
	bool unread; /* one has arrived */
	unsigned opening, open, closing; /* sessions of files */
	struct {
		uv_timer_t *timer;
		uv_timer_cb cb;
		uint64_t at_ns;
	} timers[TIMERS];
	uint32_t random;
	uint16_t seq;
	struct sim *sim;          /* the others; client 0 stands for the call */
	struct sim_bytes package; /* the call's newest */
} g;

/* ---- in the place of the world ---- */

uint64_t td_mono_ns(void)
{
	return g.now_ns;
}

uint64_t td_utc_ns(void)
{
	return 1700000000 * TD_SEC_NS + g.now_ns;
}

int uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
	(void)loop;
	for (size_t i = 0; i < TIMERS; i++) {
		if (g.timers[i].timer == NULL) {
			g.timers[i].timer = timer;
			return 0;
		}
	}
	abort();
}

static size_t timer_index(const uv_timer_t *timer)
{
	size_t i = 0;

	while (g.timers[i].timer != timer)
		CHECK(++i < TIMERS);
	return i;
}

int uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t ms, uint64_t repeat)
{
	size_t i = timer_index(timer);

	CHECK(cb != NULL && repeat == 0 && ms <= 301 * 1000);
	g.timers[i].cb = cb;
	g.timers[i].at_ns = g.now_ns + ms * TD_MS_NS;
	return 0;
}

int uv_timer_stop(uv_timer_t *timer)
{
	g.timers[timer_index(timer)].cb = NULL;
	return 0;
}

void uv_close(uv_handle_t *handle, uv_close_cb cb)
{
	size_t i = timer_index((uv_timer_t *)handle);

	g.timers[i].cb = NULL;
	g.timers[i].timer = NULL;
	cb(handle);
}

int ws_open(struct ws **ret, struct ws_context *ctx, const struct ws_conf *conf)
{
	(void)ctx;
	CHECK(g.ws == NULL && conf->port != 0 && strlen(conf->host) < CONNECTION_HOST_MAX);
	CHECK((g.ws = calloc(1, sizeof(*g.ws))) != NULL);
	g.ws->conf = *conf;
	strcpy(g.ws->host, conf->host);
	*ret = g.ws;
	return TD_OK;
}

int ws_send(struct ws *w, bool binary, const uint8_t *data, size_t len)
{
	CHECK(w == g.ws && w->opened && len > 0);
	if (!binary) {
		json_t *v = json_loadb((const char *)data, len, 0, NULL);

		CHECK(v != NULL);
		json_decref(v);
	} else if (data[0] == 26) {
		sim_set(&g.package, data + 1, len - 1);
	} else if (g.sim != NULL && data[0] == 28) {
		sim_set(&g.sim->c[0].commit, data + 1, len - 1);
	}
	return TD_OK;
}

void ws_close(struct ws *w, uint16_t code)
{
	(void)code;
	if (w == NULL)
		return;
	CHECK(w == g.ws);
	free(w);
	g.ws = NULL;
}

int udp_new(struct udp **ret, const struct udp_conf *conf)
{
	CHECK(g.udp == NULL && conf->ssrc != 0);
	if (g.udp_fails)
		return TD_ERR_SYS;
	CHECK((g.udp = calloc(1, sizeof(*g.udp))) != NULL);
	g.udp->conf = *conf;
	*ret = g.udp;
	return TD_OK;
}

void udp_free(struct udp *u)
{
	if (u == NULL)
		return;
	CHECK(u == g.udp && !g.unread);
	free(u);
	g.udp = NULL;
}

void udp_reader_catch_up(struct udp_reader *r)
{
	(void)r;
	if (!g.unread)
		return;
	g.unread = false;
	g.udp->conf.datagram(g.udp->conf.user, g.now_ns, (const uint8_t *)"\x80\x78 datagram", 10);
}

int udp_key(struct udp *u, enum transport_mode mode, const uint8_t key[static TRANSPORT_KEY_LEN])
{
	CHECK(u == g.udp && mode != TRANSPORT_NONE && key != NULL);
	u->keyed = true;
	return TD_OK;
}

void udp_media(struct udp *u)
{
	CHECK(u == g.udp && u->keyed);
}

uint64_t recorder_connect(struct recorder *r, uint64_t guild_id, struct lane **ret_lane)
{
	(void)r;
	CHECK(!g.connected && guild_id == GUILD);
	g.connected = true;
	*ret_lane = (struct lane *)(void *)&g;
	return CONN;
}

static void check_lane(struct lane *l, uint64_t conn)
{
	CHECK((void *)l == (void *)&g && conn == CONN && g.connected);
}

/* Nothing that came before is still unread: it would be taken for something that came behind. */
static void check_order(struct lane *l, uint64_t conn)
{
	check_lane(l, conn);
	CHECK(!g.heard || !g.unread);
}

void recorder_disconnect(struct recorder *r, uint64_t conn)
{
	(void)r;
	CHECK(conn == CONN && g.connected);
	g.connected = false;
}

int recorder_session_open(struct recorder *r, uint64_t conn, uint64_t channel_id, uint64_t user_id,
	uint64_t start_ns, uint64_t start_utc_ns)
{
	(void)r;
	(void)channel_id;
	(void)user_id;
	(void)start_utc_ns;
	CHECK(conn == CONN && start_ns <= g.now_ns && !g.unread);
	g.opening++;
	return TD_OK;
}

void recorder_session_close(struct recorder *r, uint64_t conn, uint64_t end_ns, const char *reason)
{
	(void)r;
	CHECK(conn == CONN && end_ns == g.now_ns && reason != NULL);
	CHECK(g.opening + g.open > 0 && !g.unread);
	g.closing++;
}

struct lane_control *recorder_control(enum lane_control_type type, uint64_t at_ns)
{
	struct lane_control *c = calloc(1, sizeof(*c));

	CHECK(c != NULL);
	c->type = type;
	c->at_ns = at_ns;
	return c;
}

void recorder_awake(struct recorder *r)
{
	(void)r;
}

void lane_control(struct lane *l, uint64_t conn, struct lane_control *c)
{
	check_lane(l, conn);
	CHECK(memchr(c->text, '\0', sizeof(c->text)) != NULL);
	CHECK(strstr(c->text, TOKEN) == NULL);
	CHECK(c->type != LANE_SPEAKER || (c->user_id != 0 && c->ssrc != 0));
	CHECK((c->type != LANE_PAUSE && c->type != LANE_RESUME) || !g.unread);
	lane_control_free(c);
}

void lane_conn_flush(struct lane *l, uint64_t conn)
{
	check_lane(l, conn);
}

void lane_conn_reset(struct lane *l, uint64_t conn)
{
	check_lane(l, conn);
	CHECK(!g.unread);
	g.keyed = g.heard = false;
}

void lane_conn_key(struct lane *l, uint64_t conn, enum transport_mode mode, uint32_t own_ssrc,
	const uint8_t key[static TRANSPORT_KEY_LEN])
{
	check_order(l, conn);
	CHECK(mode != TRANSPORT_NONE && key != NULL && own_ssrc != 0);
	g.keyed = true;
}

void lane_conn_speaker(struct lane *l, uint64_t conn, uint64_t user_id, uint32_t ssrc)
{
	check_order(l, conn);
	CHECK(user_id != 0 && ssrc != 0);
}

void lane_conn_speaker_gone(struct lane *l, uint64_t conn, uint64_t user_id)
{
	check_order(l, conn);
	CHECK(user_id != 0);
}

void lane_conn_dave_epoch(struct lane *l, uint64_t conn, uint64_t at_ns, uint64_t epoch,
	const struct dave_sender *senders, size_t count)
{
	check_order(l, conn);
	CHECK(at_ns == g.now_ns && count <= IPC_DAVE_MAX_SENDERS);
	for (size_t i = 0; i < count; i++)
		CHECK(senders[i].user_id != 0);
	(void)epoch;
}

void lane_conn_dave_passthrough(struct lane *l, uint64_t conn, uint64_t until_ns)
{
	check_order(l, conn);
	(void)until_ns;
}

void lane_packet(struct lane *l, uint64_t conn, uint64_t arrival_ns, const uint8_t *data,
	size_t len)
{
	check_lane(l, conn);
	CHECK(g.keyed && g.opening + g.open > g.closing && arrival_ns <= g.now_ns);
	CHECK(len == 0 || data[0] + data[len - 1] >= 0);
	g.heard = true;
}

void lane_count(struct lane *l, uint64_t conn, enum td_counter what, uint64_t n)
{
	check_lane(l, conn);
	CHECK(what < COUNTER_COUNT && n > 0);
}

/* Every event can be said, and none says what nobody may know. */
void event_emit(struct events *e, const char *name, uint64_t guild_id, const char *fmt, ...)
{
	char format[128], *text;
	json_t *members;
	va_list ap;

	(void)e;
	CHECK(name != NULL && guild_id == GUILD);
	snprintf(format, sizeof(format), "{%s}", fmt);
	va_start(ap, fmt);
	members = json_vpack_ex(NULL, 0, format, ap);
	va_end(ap);
	CHECK(members != NULL);
	CHECK((text = json_dumps(members, JSON_COMPACT)) != NULL);
	CHECK(strstr(text, TOKEN) == NULL);
	free(text);
	json_decref(members);
}

static void check_log(void *user, enum td_log_level level, const char *text, size_t len)
{
	(void)user;
	(void)level;
	CHECK(strlen(text) == len && strstr(text, TOKEN) == NULL);
	CHECK(strstr(text, "out of memory") == NULL);
}

/* ---- what happens ---- */

static void draw(void *user, uint8_t *out, size_t len)
{
	(void)user;
	for (size_t i = 0; i < len; i++) {
		g.random = g.random * 1664525u + 1013904223u;
		out[i] = (uint8_t)(g.random >> 24);
	}
}

static void on_ended(void *user, struct call *c, enum vgw_verdict verdict)
{
	(void)user;
	(void)verdict;
	CHECK(c == g.call && !g.ended && g.opening + g.open == 0);
	g.ended = true;
}

static void free_if_ended(void)
{
	if (!g.ended || g.freed)
		return;
	g.freed = true;
	call_free(g.call);
	g.call = NULL;
	CHECK(g.ws == NULL && g.udp == NULL && !g.connected);
}

static struct connection_info info_of(unsigned n)
{
	struct connection_info i = { .guild_id = GUILD,
		.channel_id = 1402345678901234567,
		.user_id = 1000,
		.port = 443,
		.session_id = "session",
		.token = TOKEN,
		.host = "a.example",
		.tls = true };

	i.host[0] = (char)('a' + n % 4);
	i.session_id[0] = (char)('a' + (n >> 2) % 4);
	i.user_id += n == 255;
	return i;
}

/* As bytes of exactly their number. */
static void say(bool binary, const void *data, size_t len)
{
	uint8_t *copy;

	if (g.ws == NULL || !g.ws->opened)
		return;
	copy = malloc(len + (len == 0));
	CHECK(copy != NULL);
	if (len > 0)
		memcpy(copy, data, len);
	if (binary)
		g.ws->conf.binary(g.ws->conf.user, copy, len);
	else
		g.ws->conf.text(g.ws->conf.user, (const char *)copy, len);
	free(copy);
}

static void say_text(const char *text)
{
	say(false, text, strlen(text));
}

/* Opcode and payload as the gateway sends them, with some bytes changed if the script wants that.
 */
static void say_dave(uint8_t op, const void *payload, size_t len, bool changed)
{
	uint8_t *m = malloc(len + 4);
	size_t n = len + 3;

	CHECK(m != NULL);
	m[0] = (uint8_t)(++g.seq >> 8);
	m[1] = (uint8_t)g.seq;
	m[2] = op;
	if (len > 0)
		memcpy(m + 3, payload, len);
	if (changed) {
		uint8_t how = rd_u8(&g.script);

		for (unsigned i = how & 3; i > 0; i--) {
			size_t at = rd_u16(&g.script) % n;

			m[at] ^= rd_u8(&g.script);
		}
		if ((how & 4) != 0)
			n = rd_u16(&g.script) % (n + 1);
		if ((how & 8) != 0 && n == len + 3)
			m[n++] = rd_u8(&g.script);
		if ((how & 0x80) != 0)
			say(true, m, n);
	}
	say(true, m, n);
	free(m);
}

static void go_live(unsigned version)
{
	static const char ready[] = "{\"op\":2,\"d\":{\"ssrc\":345,\"ip\":\"203.0.113.9\",\"port\":"
				    "50004,\"modes\":[\"aead_aes256_gcm_rtpsize\"]}}";
	char text[512];
	size_t n;

	if (g.ws != NULL && !g.ws->opened) {
		g.ws->opened = true;
		g.ws->conf.opened(g.ws->conf.user);
	}
	say_text("{\"op\":8,\"d\":{\"v\":8,\"heartbeat_interval\":13750}}");
	say_text(ready);
	if (g.udp != NULL)
		g.udp->conf.discovered(g.udp->conf.user, "198.51.100.7", 41234);
	n = (size_t)snprintf(text, sizeof(text),
		"{\"op\":4,\"d\":{\"mode\":\"aead_aes256_gcm_rtpsize\",\"dave_protocol_version\":%u,"
		"\"secret_key\":[0",
		version);
	for (int i = 1; i < 32; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, ",%d", i);
	snprintf(text + n, sizeof(text) - n, "]},\"seq\":%u}", ++g.seq);
	say_text(text);
	say_text("{\"op\":11,\"d\":{\"user_ids\":[\"1007\",\"1014\"]},\"seq\":4}");
	say_text("{\"op\":5,\"d\":{\"speaking\":1,\"ssrc\":110,\"user_id\":\"1007\"},\"seq\":5}");
}

/* ---- the encrypted call ---- */

static void dave_begin(void)
{
	size_t i;

	if (g.sim != NULL)
		return;
	g.sim = sim_new(3);
	sim_client(g.sim); /* the call; never connected here */
	for (i = 0; i < OTHERS; i++)
		sim_enter(g.sim);
	sim_join_all(g.sim);
	for (i = 1; i <= OTHERS; i++)
		dave_session_user(g.sim->c[i].d, g.sim->c[0].user_id, true);
}

/* The call is added, or whom the script says is removed or added; what comes of it is announced. */
static void dave_step(bool changed)
{
	uint8_t what = rd_u8(&g.script);
	struct sim_bytes list = { NULL, 0 }, half;
	struct mls_span payload;
	struct sim_list l;
	char text[48];
	uint16_t id;

	dave_begin();
	switch (what & 7) {
	case 0:
		say_dave(25, g.sim->sender, g.sim->sender_len, changed);
		return;
	case 1:
		snprintf(text, sizeof(text),
			"{\"op\":24,\"d\":{\"protocol_version\":%u,\"epoch\":1}}", what >> 7);
		say_text(text);
		return;
	case 2:
		snprintf(text, sizeof(text), "{\"op\":%u,\"d\":{\"transition_id\":%u}}",
			(what & 8) != 0 ? 22u : 21u, what >> 4);
		say_text(text);
		return;
	default:
		break;
	}
	if (g.package.len == 0)
		return;
	l = sim_list(g.sim);
	if ((what & 8) == 0)
		sim_propose_package(g.sim, &l, g.package);
	if ((what & 16) != 0)
		sim_propose_remove(g.sim, &l, what >> 6);
	payload = sim_finish(&l);
	sim_set(&list, payload.p, payload.len);
	say_dave(27, list.b, list.len, changed);
	for (size_t i = 1; i <= OTHERS; i++)
		sim_say(g.sim, i, 27, list.b, list.len);
	free(list.b);
	if (g.sim->c[1].commit.len == 0)
		return;
	/* What has come of the last commit may be heard again. */
	id = g.sim->next_id++;
	half = sim_half(g.sim, 1, id, (what & 32) == 0);
	say_dave((what & 32) == 0 ? 30 : 29, half.b, half.len, changed);
	free(half.b);
	half = sim_half(g.sim, 1, id, false);
	for (size_t i = 1; i <= OTHERS; i++)
		sim_say(g.sim, i, 29, half.b, half.len);
	free(half.b);
	sim_execute(g.sim, id);
	snprintf(text, sizeof(text), "{\"op\":22,\"d\":{\"transition_id\":%u}}", id);
	say_text(text);
}

/* ---- the script ---- */

static const uint8_t *take(size_t *ret_len)
{
	size_t len = rd_u16(&g.script);

	*ret_len = len < rd_left(&g.script) ? len : rd_left(&g.script);
	return rd_bytes(&g.script, *ret_len);
}

static void timers(uint64_t pass_ns)
{
	udp_reader_catch_up(NULL);
	g.now_ns += pass_ns;
	for (size_t i = 0; i < TIMERS && !g.ended; i++) {
		uv_timer_cb cb = g.timers[i].cb;

		if (cb == NULL || g.timers[i].at_ns > g.now_ns)
			continue;
		g.timers[i].cb = NULL;
		cb(g.timers[i].timer);
	}
}

static void ws_step(uint8_t how)
{
	struct ws *w = g.ws;
	struct ws_conf conf;
	uint16_t code;
	char reason[65] = "";

	if (w == NULL)
		return;
	if ((how & 1) != 0 && !w->opened) {
		w->opened = true;
		w->conf.opened(w->conf.user);
		return;
	}
	code = rd_u16(&g.script);
	rd_copy(&g.script, reason, (how & 2) != 0 && rd_left(&g.script) >= 8 ? 8 : 0);
	conf = w->conf;
	free(w);
	g.ws = NULL;
	conf.closed(conf.user, (how & 4) != 0 ? 4000 + code % 24 : code, reason,
		(how & 0xc0) == 0xc0);
}

static void udp_step(uint8_t how)
{
	struct udp_conf conf;

	g.udp_fails = (how & 0x40) != 0;
	if (g.udp == NULL)
		return;
	conf = g.udp->conf;
	switch (how & 3) {
	case 0:
		conf.discovered(conf.user, "198.51.100.7", how);
		break;
	case 1:
		conf.failed(conf.user, "no answer");
		break;
	case 2:
		conf.kernel_dropped(conf.user, 1u + how);
		conf.foreign(conf.user, 1u + how);
		break;
	default:
		if ((how & 0x80) != 0 && g.heard) {
			g.unread = true;
			break;
		}
		conf.datagram(conf.user, g.now_ns, (const uint8_t *)"\x80\x78 datagram", how % 11);
		break;
	}
}

static void recorder_step(uint8_t how)
{
	if (g.opening > 0) {
		g.opening--;
		if ((how & 0xe0) == 0xe0) {
			/* One that could not be opened is not closed either. */
			if (g.closing > g.open)
				g.closing--;
			call_session_opened(g.call, TD_ERR_IO);
		} else {
			g.open++;
			call_session_opened(g.call, TD_OK);
		}
	} else if (g.closing > 0 && g.open > 0) {
		g.open--;
		g.closing--;
		call_session_closed(g.call);
	}
}

static void bot_step(uint8_t how)
{
	struct control c = { .info = info_of(rd_u8(&g.script)) };
	char text[9] = "";

	/* Whose call is over is not spoken to any more (receiver/live.c). */
	if (call_ending(g.call) && how % 12 != 9 && how % 12 != 10)
		return;
	switch (how % 12) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 5:
		call_command(g.call, (enum control_command)(how % 12), text);
		break;
	case 4:
		if (how >= 0xc0)
			call_command(g.call, COMMAND_LEAVE, text);
		break;
	case 6:
		call_new_info(g.call, &c.info);
		break;
	case 7:
		c.type = CONTROL_VOICE_STATE;
		if (how >= 0xf0)
			c.info.channel_id = 0;
		call_dispatch(g.call, &c);
		break;
	case 8:
		c.type = CONTROL_VOICE_SERVER;
		c.gone = how >= 0xc0;
		call_dispatch(g.call, &c);
		break;
	case 9:
		call_failing(g.call, 1007);
		break;
	case 10:
		if (how >= 0xf0)
			call_broken(g.call);
		break;
	default:
		call_command(g.call, COMMAND_MARK, "a mark");
		break;
	}
}

static void step(void)
{
	uint8_t op = rd_u8(&g.script);
	const uint8_t *p;
	size_t len;

	switch (op & 15) {
	case 0:
	case 1:
		p = take(&len);
		say((op & 15) == 1, p, len);
		break;
	case 2:
		ws_step(rd_u8(&g.script));
		break;
	case 3:
		udp_step(rd_u8(&g.script));
		break;
	case 4:
	case 5:
		recorder_step(op);
		break;
	case 6:
		bot_step(rd_u8(&g.script));
		break;
	case 7:
		timers((uint64_t)rd_u8(&g.script) * 200 * TD_MS_NS);
		break;
	case 8:
		go_live(op >> 7);
		break;
	case 9:
	case 10:
		dave_step(false);
		break;
	case 11:
		dave_step(true);
		break;
	case 12:
		p = take(&len);
		say_dave(21 + (op >> 4) % 11, p, len, false);
		break;
	case 13:
		go_live(1);
		dave_begin();
		say_dave(25, g.sim->sender, g.sim->sender_len, false);
		recorder_step(0);
		break;
	case 14:
		udp_step(3 | (op & 0xf0 & ~0x40));
		break;
	default:
		timers(20 * TD_MS_NS);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dave_identity *identity;
	struct call_conf conf = { .ended = on_ended };
	struct connection_info info = info_of(0);
	uint8_t flags;

	CHECK(sodium_init() >= 0);
	td_log_set_hook(check_log, NULL);
	memset(&g, 0, sizeof(g));
	rd_init(&g.script, data, size);
	flags = rd_u8(&g.script);
	g.now_ns = 1000 * TD_SEC_NS;
	if (identity == NULL)
		CHECK(dave_identity_new(&identity, draw, NULL) == TD_OK);
	conf.identity = identity;
	conf.rejoin_timeout_ns = (flags & 1) != 0 ? 30 * TD_SEC_NS : 0;
	if ((flags & 2) != 0)
		info.token[0] = info.host[0] = '\0';
	CHECK(call_new(&g.call, &conf, &info) == TD_OK);
	for (int n = 0; n < STEPS_MAX && rd_left(&g.script) > 0 && !g.ended; n++)
		step();
	if (!g.ended)
		call_stop(g.call, "asked");
	/* What was opened and closed comes back, and then it is over. */
	for (int n = 0; n < 2 * STEPS_MAX && !g.ended; n++)
		recorder_step(0);
	CHECK(g.ended);
	free_if_ended();
	free(g.package.b);
	if (g.sim != NULL)
		sim_free(g.sim);
	return 0;
}
