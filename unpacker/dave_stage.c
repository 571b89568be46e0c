/* SPDX-License-Identifier: ISC */
#include "unpacker/dave_stage.h"

void dave_stage_open(
	uint64_t user_id, const uint8_t *frame, size_t len, const uint8_t **ret, size_t *ret_len)
{
	(void)user_id;
	*ret = frame;
	*ret_len = len;
}
