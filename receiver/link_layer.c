/* SPDX-License-Identifier: ISC */
#include "receiver/link_layer.h"

#include <string.h>

#include "common/bytes.h"
#include "common/err.h"

/* Numbers of the pcap link type registry; DLT_RAW has a second one in files of some systems. */
enum {
	LINK_NULL = 0,
	LINK_ETHERNET = 1,
	LINK_RAW_BSD = 12,
	LINK_RAW_OPENBSD = 14,
	LINK_RAW = 101,
	LINK_LOOP = 108,
	LINK_LINUX_SLL = 113,
	LINK_IPV4 = 228,
	LINK_IPV6 = 229,
	LINK_LINUX_SLL2 = 276,
};
enum { TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86dd, TYPE_VLAN = 0x8100, TYPE_QINQ = 0x88a8 };
enum { PROTOCOL_UDP = 17, MAX_VLAN_TAGS = 4 };
enum { IPV4_HEADER = 20, UDP_HEADER = 8 };

bool link_type_known(int link_type)
{
	switch (link_type) {
	case LINK_NULL:
	case LINK_ETHERNET:
	case LINK_RAW_BSD:
	case LINK_RAW_OPENBSD:
	case LINK_RAW:
	case LINK_LOOP:
	case LINK_LINUX_SLL:
	case LINK_IPV4:
	case LINK_IPV6:
	case LINK_LINUX_SLL2:
		return true;
	}
	return false;
}

/* Fixed headers are windows: whether there is enough is asked once, and not for every field. */
static int read_udp(struct rd *r, struct link_datagram *d)
{
	struct rd h = rd_window(r, UDP_HEADER);
	size_t len;

	if (h.bad)
		return TD_ERR_TRUNCATED;
	d->source.port = rd_u16(&h);
	d->destination.port = rd_u16(&h);
	len = rd_u16(&h); /* behind it a checksum: the AEAD tag of the packet says more */
	if (len < UDP_HEADER)
		return TD_ERR_MALFORMED;
	d->len = len - UDP_HEADER;
	d->data = rd_bytes(r, d->len);
	return d->data != NULL ? TD_OK : TD_ERR_TRUNCATED;
}

static int read_ipv4(struct rd *r, struct link_datagram *d)
{
	struct rd h = rd_window(r, IPV4_HEADER);
	uint8_t first, protocol;
	size_t header, total;
	uint16_t fragment;

	if (h.bad)
		return TD_ERR_TRUNCATED;
	first = rd_u8(&h);
	rd_u8(&h);
	total = rd_u16(&h);
	rd_u16(&h);
	fragment = rd_u16(&h);
	rd_u8(&h);
	protocol = rd_u8(&h);
	rd_u16(&h);
	rd_copy(&h, d->source.ip, 4);
	rd_copy(&h, d->destination.ip, 4);
	header = 4u * (first & 0x0f);
	if (first >> 4 != 4 || header < IPV4_HEADER || total < header)
		return TD_ERR_MALFORMED;
	/* Any part of a fragmented datagram: offset not zero, or more to come. */
	if (protocol != PROTOCOL_UDP || (fragment & 0x3fff) != 0)
		return TD_ERR_UNSUPPORTED;
	d->source.family = d->destination.family = 4;
	rd_bytes(r, header - IPV4_HEADER);
	return read_udp(r, d);
}

static int read_ipv6(struct rd *r, struct link_datagram *d)
{
	uint8_t next;

	if (rd_u32(r) >> 28 != 6)
		return r->bad ? TD_ERR_TRUNCATED : TD_ERR_MALFORMED;
	rd_u16(r);
	next = rd_u8(r);
	rd_u8(r);
	rd_copy(r, d->source.ip, 16);
	rd_copy(r, d->destination.ip, 16);
	if (r->bad)
		return TD_ERR_TRUNCATED;
	if (next != PROTOCOL_UDP)
		return TD_ERR_UNSUPPORTED;
	d->source.family = d->destination.family = 6;
	return read_udp(r, d);
}

static int read_ip(struct rd *r, struct link_datagram *d)
{
	if (rd_left(r) == 0)
		return TD_ERR_TRUNCATED;
	return *r->p >> 4 == 6 ? read_ipv6(r, d) : read_ipv4(r, d);
}

static int read_ether_type(struct rd *r, struct link_datagram *d, uint16_t type)
{
	int tags;

	for (tags = 0; (type == TYPE_VLAN || type == TYPE_QINQ) && tags < MAX_VLAN_TAGS; tags++) {
		rd_u16(r);
		type = rd_u16(r);
	}
	if (r->bad)
		return TD_ERR_TRUNCATED;
	if (type == TYPE_IPV4)
		return read_ipv4(r, d);
	return type == TYPE_IPV6 ? read_ipv6(r, d) : TD_ERR_UNSUPPORTED;
}

int link_udp(struct link_datagram *ret, int link_type, const uint8_t *frame, size_t len)
{
	struct link_datagram d = { 0 };
	uint16_t type;
	struct rd r;
	int e;

	rd_init(&r, frame, len);
	switch (link_type) {
	case LINK_ETHERNET:
		rd_bytes(&r, 12);
		e = read_ether_type(&r, &d, rd_u16(&r));
		break;
	case LINK_LINUX_SLL:
		rd_bytes(&r, 14);
		e = read_ether_type(&r, &d, rd_u16(&r));
		break;
	case LINK_LINUX_SLL2:
		type = rd_u16(&r);
		rd_bytes(&r, 18);
		e = read_ether_type(&r, &d, type);
		break;
	case LINK_NULL:
	case LINK_LOOP:
		/* An address family in some host's byte order; the IP version says the same. */
		rd_u32(&r);
		e = read_ip(&r, &d);
		break;
	default:
		e = link_type_known(link_type) ? read_ip(&r, &d) : TD_ERR_UNSUPPORTED;
		break;
	}
	if (e == TD_OK)
		*ret = d;
	return e;
}

bool link_address_equal(const struct link_address *a, const struct link_address *b)
{
	return a->family == b->family && a->port == b->port &&
		memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}
