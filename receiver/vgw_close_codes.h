/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_VGW_CLOSE_CODES_H
#define TD_RECEIVER_VGW_CLOSE_CODES_H

#include <stdint.h>

#include "receiver/voice_gateway.h"

/* What a close of the voice WebSocket asks of us (voice-gateway.md section 7). */
enum vgw_close_action {
	VGW_CLOSE_RESUME,      /* the session lives on: resume it, rejoin when that fails */
	VGW_CLOSE_REJOIN,      /* the session is gone: new connection info */
	VGW_CLOSE_REJOIN_ONCE, /* the same, but a second time in a row means no */
	VGW_CLOSE_GRACE, /* over, unless new connection info comes by itself within a short time */
	VGW_CLOSE_STOP,  /* over, with the row's verdict */
};

struct vgw_close_code {
	uint16_t code;
	uint16_t delay_s; /* rejoin no sooner than this */
	enum vgw_close_action action;
	enum vgw_verdict verdict; /* of STOP and GRACE */
	const char *meaning;
};

/* The row of a code, 0 meaning that there was none. Never NULL: what we do not know is a loss of
 * the connection. Static. */
const struct vgw_close_code *vgw_close_code_find(uint16_t code);

#endif
