/* SPDX-License-Identifier: ISC */
#include <jansson.h>
#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/log.h"
#include "tests/voiceserver/capture.h"

enum { IP_LEN = 20, UDP_LEN = 8, CLIENT_PORT = 40000, LOOPBACK = 0x7f000001, MAX_DATAGRAM = 4096 };

struct capture {
	pcap_t *pcap;
	pcap_dumper_t *dumper;
	char *keys_path;
	json_t *keys, *speakers;
	uint16_t port;
	uint64_t first_ns; /* of the first datagram; 0: none yet */
	bool keyed, ended;
	size_t datagrams; /* written */
};

static void capture_free(struct capture *c)
{
	if (c == NULL)
		return;
	if (c->dumper != NULL)
		pcap_dump_close(c->dumper);
	if (c->pcap != NULL)
		pcap_close(c->pcap);
	json_decref(c->keys);
	free(c->keys_path);
	free(c);
}

int capture_new(struct capture **ret, const char *pcap_path, const char *keys_path,
	uint64_t guild_id, uint64_t channel_id, uint64_t user_id)
{
	char guild[TD_ID_TEXT], channel[TD_ID_TEXT], user[TD_ID_TEXT];
	struct capture *c = calloc(1, sizeof(*c));
	int r = TD_ERR_NOMEM;

	if (c == NULL || (keys_path != NULL && (c->keys_path = strdup(keys_path)) == NULL))
		goto out;
	c->keys = json_pack("{s:i, s:s, s:s, s:s, s:[]}", "schema", 1, "guild_id",
		td_id_format(guild, guild_id), "channel_id", td_id_format(channel, channel_id),
		"user_id", td_id_format(user, user_id), "speakers");
	if (c->keys == NULL)
		goto out;
	c->speakers = json_object_get(c->keys, "speakers");
	r = TD_ERR_IO;
	if (pcap_path != NULL) {
		if ((c->pcap = pcap_open_dead(DLT_RAW, 65535)) == NULL)
			goto out;
		if ((c->dumper = pcap_dump_open(c->pcap, pcap_path)) == NULL) {
			log_error("%s", pcap_geterr(c->pcap));
			goto out;
		}
	}
	*ret = c;
	c = NULL;
	r = TD_OK;
out:
	capture_free(c);
	return r;
}

size_t capture_count(const struct capture *c)
{
	return c != NULL ? c->datagrams : 0;
}

int capture_close(struct capture *c)
{
	int r = TD_OK;

	if (c == NULL)
		return TD_OK;
	if (c->keys_path != NULL &&
		json_dump_file(c->keys, c->keys_path, JSON_INDENT(1) | JSON_SORT_KEYS) != 0)
		r = TD_ERR_IO;
	capture_free(c);
	return r;
}

void capture_key(struct capture *c, enum transport_mode mode,
	const uint8_t key[static TRANSPORT_KEY_LEN], uint16_t server_port)
{
	char hex[2 * TRANSPORT_KEY_LEN + 1];
	size_t i;

	if (c->keyed) {
		if (!c->ended)
			log_warn("the key changes: the capture ends here");
		c->ended = true;
		return;
	}
	for (i = 0; i < TRANSPORT_KEY_LEN; i++)
		snprintf(hex + 2 * i, 3, "%02x", key[i]);
	json_object_set_new(c->keys, "mode", json_string(transport_mode_name(mode)));
	json_object_set_new(c->keys, "secret_key", json_string(hex));
	json_object_set_new(c->keys, "server",
		json_pack("{s:s, s:i}", "ip", "127.0.0.1", "port", (int)server_port));
	c->port = server_port;
	c->keyed = true;
}

static uint16_t ip_checksum(const uint8_t *header)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < IP_LEN; i += 2)
		sum += (uint32_t)header[i] << 8 | header[i + 1];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

void capture_datagram(struct capture *c, uint64_t utc_ns, const uint8_t *data, size_t len)
{
	uint8_t packet[MAX_DATAGRAM];
	struct pcap_pkthdr hdr = { 0 };
	uint16_t sum;
	struct wr w;

	if (c->ended || !c->keyed || len > sizeof(packet) - IP_LEN - UDP_LEN)
		return;
	if (c->first_ns == 0)
		c->first_ns = utc_ns;
	if (c->dumper == NULL)
		return;
	c->datagrams++;
	wr_init(&w, packet, sizeof(packet));
	wr_u16(&w, 0x4500);
	wr_u16(&w, (uint16_t)(IP_LEN + UDP_LEN + len));
	wr_u32(&w, 0x4000); /* don't fragment */
	wr_u32(&w, 0x40110000);
	wr_u32(&w, LOOPBACK);
	wr_u32(&w, LOOPBACK);
	sum = ip_checksum(packet);
	packet[10] = (uint8_t)(sum >> 8);
	packet[11] = (uint8_t)sum;
	wr_u16(&w, c->port);
	wr_u16(&w, CLIENT_PORT);
	wr_u16(&w, (uint16_t)(UDP_LEN + len));
	wr_u16(&w, 0); /* no checksum */
	wr_bytes(&w, data, len);
	hdr.ts.tv_sec = (time_t)(utc_ns / TD_SEC_NS);
	hdr.ts.tv_usec = (suseconds_t)(utc_ns % TD_SEC_NS / TD_US_NS);
	hdr.caplen = hdr.len = (bpf_u_int32)w.len;
	pcap_dump((u_char *)c->dumper, &hdr, packet);
}

/* Time counts from the first datagram; what was known before it counts from there, too. */
static json_int_t from_us(const struct capture *c, uint64_t utc_ns)
{
	if (c->first_ns == 0 || utc_ns < c->first_ns)
		return 0;
	return (json_int_t)((utc_ns - c->first_ns) / TD_US_NS);
}

void capture_dave(struct capture *c, uint64_t utc_ns, unsigned version, uint64_t epoch,
	json_t *senders)
{
	json_t *list = json_object_get(c->keys, "dave");

	if (c->ended) {
		json_decref(senders);
		return;
	}
	if (list == NULL && json_object_set_new(c->keys, "dave", list = json_array()) != 0)
		return;
	json_array_append_new(list,
		json_pack("{s:I, s:i, s:I, s:o}", "from_us", from_us(c, utc_ns), "protocol_version",
			(int)version, "epoch", (json_int_t)epoch, "senders", senders));
}

void capture_speaker(struct capture *c, uint64_t utc_ns, uint32_t ssrc, uint64_t user_id)
{
	char id[TD_ID_TEXT];

	if (!c->ended)
		json_array_append_new(c->speakers,
			json_pack("{s:I, s:s, s:I}", "ssrc", (json_int_t)ssrc, "user_id",
				td_id_format(id, user_id), "from_us", from_us(c, utc_ns)));
}

void capture_left(struct capture *c, uint64_t utc_ns, uint64_t user_id)
{
	char id[TD_ID_TEXT];

	if (!c->ended)
		json_array_append_new(c->speakers,
			json_pack("{s:s, s:I, s:b}", "user_id", td_id_format(id, user_id),
				"from_us", from_us(c, utc_ns), "left", 1));
}
