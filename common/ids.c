/* SPDX-License-Identifier: ISC */
#include "common/ids.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/err.h"

int td_id_parse(uint64_t *ret, const char *text)
{
	uint64_t id = 0;
	const char *p;

	if (text == NULL || *text == '\0')
		return TD_ERR_MALFORMED;
	for (p = text; *p != '\0'; p++) {
		if (*p < '0' || *p > '9' || __builtin_mul_overflow(id, 10, &id) ||
			__builtin_add_overflow(id, (uint64_t)(*p - '0'), &id))
			return TD_ERR_MALFORMED;
	}
	if (id == 0)
		return TD_ERR_MALFORMED;
	*ret = id;
	return TD_OK;
}

char *td_id_format(char out[static TD_ID_TEXT], uint64_t id)
{
	snprintf(out, TD_ID_TEXT, "%" PRIu64, id);
	return out;
}
