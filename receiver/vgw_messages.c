/* SPDX-License-Identifier: ISC */
#include "receiver/vgw_messages.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "receiver/json_read.h"

/* The bounds keep a senseless interval from flooding the server or from never beating. */
#define INTERVAL_MIN_MS 100.0
#define INTERVAL_MAX_MS 300000.0
#define INTERVAL_USUAL_MS 13750.0

void vgw_read_hello(struct vgw_hello *ret, const json_t *d)
{
	const json_t *v = json_object_get(d, "v"), *interval;
	double ms;

	interval = json_object_get(d, "heartbeat_interval");
	ms = json_number_value(interval);
	ret->version_8 = v == NULL || (json_is_integer(v) && json_integer_value(v) == 8);
	ret->sensible = json_is_number(interval) && ms >= INTERVAL_MIN_MS && ms <= INTERVAL_MAX_MS;
	ret->interval_ns = (uint64_t)((ret->sensible ? ms : INTERVAL_USUAL_MS) * (double)TD_MS_NS);
}

int vgw_read_ready(struct vgw_ready *ret, const json_t *d)
{
	const json_t *ip = json_object_get(d, "ip"), *modes = json_object_get(d, "modes");
	unsigned char addr[sizeof(struct in6_addr)];
	struct vgw_ready r = { 0 };
	int64_t ssrc, port;
	size_t i;

	if (json_read_int(&ssrc, json_object_get(d, "ssrc"), 1, UINT32_MAX) != TD_OK ||
		json_read_int(&port, json_object_get(d, "port"), 1, UINT16_MAX) != TD_OK ||
		!json_is_string(ip) || json_string_length(ip) >= sizeof(r.ip) ||
		!json_is_array(modes))
		return TD_ERR_MALFORMED;
	memcpy(r.ip, json_string_value(ip), json_string_length(ip) + 1);
	if (inet_pton(AF_INET, r.ip, addr) != 1 && inet_pton(AF_INET6, r.ip, addr) != 1)
		return TD_ERR_MALFORMED;
	for (i = 0; i < json_array_size(modes); i++) {
		const char *name = json_string_value(json_array_get(modes, i));
		enum transport_mode mode;

		if (name != NULL && transport_mode_parse(&mode, name) == TD_OK)
			r.modes[mode] = true;
	}
	r.ssrc = (uint32_t)ssrc;
	r.port = (uint16_t)port;
	*ret = r;
	return TD_OK;
}

static int read_key(uint8_t key[static TRANSPORT_KEY_LEN], json_t *list)
{
	int64_t byte;
	size_t i;
	int r = TD_OK;

	if (!json_is_array(list))
		return TD_ERR_MALFORMED;
	if (json_array_size(list) != TRANSPORT_KEY_LEN)
		r = TD_ERR_MALFORMED;
	for (i = 0; i < json_array_size(list); i++) {
		json_t *v = json_array_get(list, i);

		if (json_read_int(&byte, v, 0, UINT8_MAX) != TD_OK)
			r = TD_ERR_MALFORMED;
		else if (i < TRANSPORT_KEY_LEN)
			key[i] = (uint8_t)byte;
		json_integer_set(v, 0);
	}
	return r;
}

int vgw_read_description(struct vgw_description *ret, json_t *d)
{
	const char *name = json_string_value(json_object_get(d, "mode"));
	const json_t *dave = json_object_get(d, "dave_protocol_version");
	struct vgw_description r = { 0 };
	int64_t version = 0;
	int err;

	err = read_key(r.key, json_object_get(d, "secret_key"));
	if (name == NULL || transport_mode_parse(&r.mode, name) != TD_OK ||
		r.mode == TRANSPORT_NONE)
		err = TD_ERR_MALFORMED;
	/* Sessions without end-to-end encryption say 0 or leave it out. */
	if (dave != NULL && !json_is_null(dave) &&
		json_read_int(&version, dave, 0, UINT16_MAX) != TD_OK)
		err = TD_ERR_MALFORMED;
	r.dave_version = (unsigned)version;
	if (err == TD_OK)
		*ret = r;
	sodium_memzero(&r, sizeof(r));
	return err;
}

static int read_speaker(struct vgw_speaker *ret, const json_t *d, const char *name, int64_t lo)
{
	struct vgw_speaker s;
	int64_t ssrc;

	if (json_read_id(&s.user_id, json_object_get(d, "user_id")) != TD_OK ||
		json_read_int(&ssrc, json_object_get(d, name), lo, UINT32_MAX) != TD_OK)
		return TD_ERR_MALFORMED;
	s.ssrc = (uint32_t)ssrc;
	*ret = s;
	return TD_OK;
}

int vgw_read_speaking(struct vgw_speaker *ret, const json_t *d)
{
	return read_speaker(ret, d, "ssrc", 1);
}

int vgw_read_video(struct vgw_speaker *ret, const json_t *d)
{
	return read_speaker(ret, d, "audio_ssrc", 0);
}

static void put(struct wr *w, const char *text)
{
	wr_bytes(w, text, strlen(text));
}

static void put_number(struct wr *w, int64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, n);
	put(w, text);
}

static void put_id(struct wr *w, uint64_t id)
{
	char text[TD_ID_TEXT];

	wr_u8(w, '"');
	put(w, td_id_format(text, id));
	wr_u8(w, '"');
}

/* By hand, because a JSON library would leave copies of the token in memory it frees unwiped. */
static void put_string(struct wr *w, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p;

	wr_u8(w, '"');
	for (p = (const unsigned char *)text; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\') {
			wr_u8(w, '\\');
			wr_u8(w, *p);
		} else if (*p < 0x20) {
			put(w, "\\u00");
			wr_u8(w, (uint8_t)hex[*p >> 4]);
			wr_u8(w, (uint8_t)hex[*p & 15]);
		} else {
			wr_u8(w, *p);
		}
	}
	wr_u8(w, '"');
}

void vgw_write_identify(struct wr *w, const struct connection_info *info, unsigned max_dave)
{
	put(w, "{\"op\":0,\"d\":{\"server_id\":");
	put_id(w, info->guild_id);
	put(w, ",\"user_id\":");
	put_id(w, info->user_id);
	put(w, ",\"session_id\":");
	put_string(w, info->session_id);
	put(w, ",\"token\":");
	put_string(w, info->token);
	put(w, ",\"max_dave_protocol_version\":");
	put_number(w, max_dave);
	put(w, "}}");
}

void vgw_write_resume(struct wr *w, const struct connection_info *info, int64_t seq)
{
	put(w, "{\"op\":7,\"d\":{\"server_id\":");
	put_id(w, info->guild_id);
	put(w, ",\"session_id\":");
	put_string(w, info->session_id);
	put(w, ",\"token\":");
	put_string(w, info->token);
	put(w, ",\"seq_ack\":");
	put_number(w, seq);
	put(w, "}}");
}

void vgw_write_select(struct wr *w, const char *address, uint16_t port, enum transport_mode mode)
{
	put(w, "{\"op\":1,\"d\":{\"protocol\":\"udp\",\"data\":{\"address\":");
	put_string(w, address);
	put(w, ",\"port\":");
	put_number(w, port);
	put(w, ",\"mode\":");
	put_string(w, transport_mode_name(mode));
	put(w, "}}}");
}

void vgw_write_heartbeat(struct wr *w, uint64_t nonce, int64_t seq)
{
	put(w, "{\"op\":3,\"d\":{\"t\":");
	/* What a double holds exactly: anything larger is answered with 4020. */
	put_number(w, (int64_t)(nonce & ((UINT64_C(1) << 53) - 1)));
	put(w, ",\"seq_ack\":");
	put_number(w, seq);
	put(w, "}}");
}

void vgw_write_speaking(struct wr *w, uint32_t ssrc)
{
	/* 1 and not 0: silence packets follow, and audio from one who never spoke up is refused. */
	put(w, "{\"op\":5,\"d\":{\"speaking\":1,\"delay\":0,\"ssrc\":");
	put_number(w, ssrc);
	put(w, "}}");
}

void vgw_write_dave(struct wr *w, uint8_t opcode, const uint8_t *d, size_t len)
{
	put(w, "{\"op\":");
	put_number(w, opcode);
	put(w, ",\"d\":");
	wr_bytes(w, d, len);
	put(w, "}");
}
