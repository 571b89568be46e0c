/* SPDX-License-Identifier: ISC */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ids.h"
#include "tests/voiceserver/fields.h"

static bool number_in(json_t *v, double low, double high)
{
	return json_is_number(v) && json_number_value(v) >= low && json_number_value(v) <= high;
}

static bool ms_load(void *to, json_t *v, bool is_signed)
{
	double limit = 1e10; /* 115 days */
	int64_t ns;

	if (!number_in(v, is_signed ? -limit : 0, limit))
		return false;
	ns = (int64_t)(json_number_value(v) * (double)TD_MS_NS);
	if (is_signed)
		*(int64_t *)to = ns;
	else
		*(uint64_t *)to = (uint64_t)ns;
	return true;
}

static bool field_load(void *to, enum field_type type, json_t *v)
{
	switch (type) {
	case FIELD_MS:
		return ms_load(to, v, false);
	case FIELD_SIGNED_MS:
		return ms_load(to, v, true);
	case FIELD_PERCENT:
		if (!number_in(v, 0, 100))
			return false;
		*(double *)to = json_number_value(v) / 100;
		return true;
	case FIELD_NUMBER:
		if (!number_in(v, -1e12, 1e12))
			return false;
		*(double *)to = json_number_value(v);
		return true;
	case FIELD_COUNT:
		if (!json_is_integer(v) || !number_in(v, 0, 1e6))
			return false;
		*(unsigned *)to = (unsigned)json_integer_value(v);
		return true;
	case FIELD_INT:
		if (!json_is_integer(v))
			return false;
		*(int64_t *)to = json_integer_value(v);
		return true;
	case FIELD_BOOL:
		if (!json_is_boolean(v))
			return false;
		*(bool *)to = json_is_true(v);
		return true;
	case FIELD_ID:
		return td_id_parse(to, json_string_value(v)) == TD_OK;
	case FIELD_TEXT:
		if (!json_is_string(v))
			return false;
		*(const char **)to = json_string_value(v);
		return true;
	case FIELD_OTHER:
		return true;
	}
	return false;
}

int fields_load(void *base, const struct field *table, json_t *obj, const char *where,
	char err[static FIELDS_ERR_LEN])
{
	const struct field *f;
	const char *key;
	json_t *v;

	if (!json_is_object(obj)) {
		snprintf(err, FIELDS_ERR_LEN, "%s is not an object", where);
		return TD_ERR_USAGE;
	}
	json_object_foreach(obj, key, v)
	{
		for (f = table; f->name != NULL && strcmp(f->name, key) != 0; f++)
			continue;
		if (f->name == NULL) {
			snprintf(err, FIELDS_ERR_LEN, "%s has no \"%.60s\"", where, key);
			return TD_ERR_USAGE;
		}
		if (!field_load((char *)base + f->offset, f->type, v)) {
			snprintf(err, FIELDS_ERR_LEN, "\"%s\" of %s makes no sense", key, where);
			return TD_ERR_USAGE;
		}
	}
	return TD_OK;
}
