/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_FIELDS_H
#define TD_TESTS_VOICESERVER_FIELDS_H

#include <jansson.h>
#include <stddef.h>

/*
 * Members of a JSON object into members of a struct, by table. A member that is not in the table
 * is an error: a misspelt fault must not become a test that passes without testing.
 */
enum field_type {
	FIELD_MS,        /* uint64_t of ns, from milliseconds >= 0, fractions allowed */
	FIELD_SIGNED_MS, /* int64_t of ns */
	FIELD_PERCENT,   /* double of 0 to 1, from 0 to 100 */
	FIELD_NUMBER,    /* double */
	FIELD_COUNT,     /* unsigned, 0 to 1e6 */
	FIELD_INT,       /* int64_t */
	FIELD_BOOL,      /* bool */
	FIELD_ID,        /* uint64_t, from a decimal string */
	FIELD_TEXT,      /* const char *, borrowed from the JSON */
	FIELD_OTHER,     /* known, and read by the caller */
};
struct field {
	const char *name;
	enum field_type type;
	size_t offset;
};

enum { FIELDS_ERR_LEN = 200 };

/* What obj lacks keeps its value in base. `where` names obj in err. 0 or TD_ERR_USAGE and a reason
 * in err. The table ends with a NULL name. */
int fields_load(void *base, const struct field *table, json_t *obj, const char *where,
	char err[static FIELDS_ERR_LEN]);

#endif
