/* SPDX-License-Identifier: ISC */
#include "sinks/spec.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

/* One line for the user: what they typed may hold anything. */
__attribute__((format(printf, 3, 4))) static int refuse(char *err, size_t err_len, const char *fmt,
	...)
{
	va_list ap;

	va_start(ap, fmt);
	if (err_len > 0) {
		vsnprintf(err, err_len, fmt, ap);
		for (char *p = err; *p != '\0'; p++) {
			if ((unsigned char)*p < ' ' || *p == 0x7f)
				*p = '?';
		}
	}
	va_end(ap);
	return TD_ERR_USAGE;
}

/* Appends ", name" to a list; what does not fit is left out. */
static void list_add(char *list, size_t len, const char *name)
{
	size_t used = strlen(list);

	snprintf(list + used, len - used, "%s%s", used > 0 ? ", " : "", name);
}

static int refuse_name(const char *name, char *err, size_t err_len)
{
	const struct registry_sink *s;
	char known[128] = "";

	for (size_t i = 0; (s = registry_sink_at(i)) != NULL; i++)
		list_add(known, sizeof(known), s->name);
	return refuse(err, err_len, "--sink: no sink is called '%.40s'; there is: %s", name, known);
}

static int refuse_key(const struct registry_sink *ops, const char *key, char *err, size_t err_len)
{
	char known[128] = "";

	for (const struct td_option *o = ops->options; o != NULL && o->name != NULL; o++)
		list_add(known, sizeof(known), o->name);
	return refuse(err, err_len, "--sink: %s has no option '%.40s'; it has: %s", ops->name, key,
		known[0] != '\0' ? known : "none");
}

static bool is_choice(const char *choices, const char *value)
{
	size_t len = strlen(value);
	const char *p = choices;

	while (len > 0 && (p = strstr(p, value)) != NULL) {
		if ((p == choices || p[-1] == '|') && (p[len] == '|' || p[len] == '\0') &&
			strchr(value, '|') == NULL)
			return true;
		p++;
	}
	return false;
}

/* A whole number as people write it: digits only, no zero in front. */
static bool is_number(const struct td_option *o, const char *value)
{
	uint64_t n = 0;

	if (value[0] == '\0' || (value[0] == '0' && value[1] != '\0'))
		return false;
	for (const char *p = value; *p != '\0'; p++) {
		if (*p < '0' || *p > '9' || __builtin_mul_overflow(n, 10, &n) ||
			__builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return false;
	}
	return n >= o->min && n <= o->max;
}

static int check_value(const struct registry_sink *ops, const struct td_option *o,
	const char *value, char *err, size_t err_len)
{
	if (o->type == TD_OPTION_NUMBER) {
		if (is_number(o, value))
			return TD_OK;
		return refuse(err, err_len,
			"--sink: %s: %s cannot be '%.40s'; it is a number from %" PRIu64
			" to %" PRIu64,
			ops->name, o->name, value, o->min, o->max);
	}
	if (is_choice(o->choices, value))
		return TD_OK;
	return refuse(err, err_len, "--sink: %s: %s cannot be '%.40s'; it is one of: %s", ops->name,
		o->name, value, o->choices);
}

/* One key=value; it is cut up in place. */
static int parse_option(struct sink_spec *spec, char *item, bool given[static SPEC_OPTIONS_MAX],
	char *err, size_t err_len)
{
	const struct td_option *o = spec->kind->options;
	char *value = strchr(item, '=');
	size_t i = 0;
	int r;

	if (value != NULL)
		*value++ = '\0';
	while (o != NULL && o[i].name != NULL && strcmp(o[i].name, item) != 0)
		i++;
	if (o == NULL || o[i].name == NULL)
		return refuse_key(spec->kind, item, err, err_len);
	if (value == NULL)
		return refuse(err, err_len, "--sink: %s: %s needs a value: %s=...",
			spec->kind->name, item, item);
	if (given[i])
		return refuse(err, err_len, "--sink: %s: %s is given twice", spec->kind->name,
			item);
	if ((r = check_value(spec->kind, &o[i], value, err, err_len)) < 0)
		return r;
	given[i] = true;
	spec->options[2 * i + 1] = value;
	return TD_OK;
}

int sink_spec_parse(struct sink_spec **ret, const char *text, char *err, size_t err_len)
{
	bool given[SPEC_OPTIONS_MAX] = { false };
	struct sink_spec *spec;
	char *rest, *item;
	int r = TD_ERR_NOMEM;

	if ((spec = calloc(1, sizeof(*spec))) == NULL || (spec->text = strdup(text)) == NULL) {
		refuse(err, err_len, "--sink: %s", td_strerror(r));
		goto out;
	}
	if ((rest = strchr(spec->text, ':')) != NULL)
		*rest++ = '\0';
	if ((spec->kind = registry_sink(spec->text)) == NULL) {
		r = refuse_name(spec->text, err, err_len);
		goto out;
	}
	for (size_t i = 0; spec->kind->options != NULL && spec->kind->options[i].name != NULL;
		i++) {
		spec->options[2 * i] = spec->kind->options[i].name;
		spec->options[2 * i + 1] = spec->kind->options[i].fallback;
	}
	while ((item = strsep(&rest, ",")) != NULL) {
		if ((r = parse_option(spec, item, given, err, err_len)) < 0)
			goto out;
	}
	*ret = spec;
	spec = NULL;
	r = TD_OK;
out:
	sink_spec_free(spec);
	return r;
}

void sink_spec_free(struct sink_spec *spec)
{
	if (spec == NULL)
		return;
	free(spec->text);
	free(spec);
}

void sink_spec_wants(const struct sink_spec *spec, struct td_wants *ret)
{
	*ret = (struct td_wants){ .size = sizeof(*ret) };
	if (spec->kind->sink != NULL)
		spec->kind->sink->wants(spec->options, ret);
	else
		spec->kind->track->wants(spec->options, ret);
}
