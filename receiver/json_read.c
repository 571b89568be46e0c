/* SPDX-License-Identifier: ISC */
#include "receiver/json_read.h"

#include <errno.h>
#include <sodium.h>

#include "common/err.h"
#include "common/ids.h"
#include "receiver/wipe.h"

json_t *json_read_text(const char *text, size_t len, size_t flags, json_error_t *ret_error)
{
	json_t *v;
	bool was_short;

	(void)wipe_was_short();
	v = json_loadb(text, len, flags, ret_error);
	if ((was_short = wipe_was_short())) {
		json_decref(v);
		v = NULL;
	}
	errno = was_short ? ENOMEM : 0;
	return v;
}

int json_read_id(uint64_t *ret, const json_t *v)
{
	if (json_is_string(v))
		return td_id_parse(ret, json_string_value(v));
	if (!json_is_integer(v) || json_integer_value(v) <= 0)
		return TD_ERR_MALFORMED;
	*ret = (uint64_t)json_integer_value(v);
	return TD_OK;
}

int json_read_int(int64_t *ret, const json_t *v, int64_t lo, int64_t hi)
{
	if (!json_is_integer(v) || json_integer_value(v) < lo || json_integer_value(v) > hi)
		return TD_ERR_MALFORMED;
	*ret = json_integer_value(v);
	return TD_OK;
}

void json_read_wipe(json_t *v)
{
	/* jansson hands its own heap memory out as const; nobody else looks at it any more. */
	if (json_is_string(v))
		sodium_memzero((void *)(uintptr_t)json_string_value(v), json_string_length(v));
}
