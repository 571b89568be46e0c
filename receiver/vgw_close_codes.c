/* SPDX-License-Identifier: ISC */
#include "receiver/vgw_close_codes.h"

#include <stddef.h>

static const struct vgw_close_code codes[] = {
	{ 1000, 0, VGW_CLOSE_REJOIN, VGW_REMOVED, "closed normally" },
	{ 4001, 0, VGW_CLOSE_STOP, VGW_REFUSED, "unknown opcode, a bug of ours" },
	{ 4002, 0, VGW_CLOSE_STOP, VGW_REFUSED, "undecodable payload, a bug of ours" },
	{ 4003, 0, VGW_CLOSE_STOP, VGW_REFUSED, "not authenticated, a bug of ours" },
	{ 4004, 0, VGW_CLOSE_REJOIN_ONCE, VGW_REFUSED, "authentication failed" },
	{ 4005, 0, VGW_CLOSE_STOP, VGW_REFUSED, "already authenticated, a bug of ours" },
	{ 4006, 0, VGW_CLOSE_REJOIN, VGW_REMOVED, "session no longer valid" },
	{ 4009, 0, VGW_CLOSE_REJOIN, VGW_REMOVED, "session timed out" },
	{ 4011, 5, VGW_CLOSE_REJOIN, VGW_REMOVED, "voice server not found" },
	{ 4012, 0, VGW_CLOSE_STOP, VGW_REFUSED, "unknown protocol, a bug of ours" },
	{ 4013, 0, VGW_CLOSE_RESUME, VGW_REMOVED, "media worker crashed" },
	{ 4014, 0, VGW_CLOSE_GRACE, VGW_REMOVED, "disconnected: kicked, moved or channel deleted" },
	{ 4015, 0, VGW_CLOSE_RESUME, VGW_REMOVED, "voice server crashed" },
	{ 4016, 0, VGW_CLOSE_STOP, VGW_REFUSED, "unknown encryption mode, a bug of ours" },
	{ 4017, 0, VGW_CLOSE_STOP, VGW_REFUSED, "end-to-end encryption required" },
	{ 4020, 0, VGW_CLOSE_STOP, VGW_REFUSED, "bad request, a bug of ours" },
	{ 4021, 0, VGW_CLOSE_STOP, VGW_REFUSED, "rate limited" },
	{ 4022, 0, VGW_CLOSE_GRACE, VGW_REMOVED, "call terminated" },
};

const struct vgw_close_code *vgw_close_code_find(uint16_t code)
{
	static const struct vgw_close_code none = { 0, 0, VGW_CLOSE_RESUME, VGW_REMOVED,
		"connection lost" };
	size_t i;

	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (codes[i].code == code)
			return &codes[i];
	}
	return &none;
}
