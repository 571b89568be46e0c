/* SPDX-License-Identifier: ISC */
#include "sinks/spec.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "sinks/inspect.h"
#include "sinks/plugin.h"
#include "sinks/refuse.h"

struct item {
	char *key, *value; /* NULL: no value given */
};

/* One --sink while it is read. */
struct reading {
	const struct registry_sink *kind;
	struct sink_spec *spec;
	struct item items[SPEC_ITEMS_MAX];
	size_t item_count;
	const struct td_writer_ops *writers[SPEC_FORMATS_MAX]; /* of the parts */
	size_t writer_count;
	char *err;
	size_t err_len;
};

#define REFUSE(g, ...) refuse(TD_ERR_USAGE, (g)->err, (g)->err_len, "--sink: " __VA_ARGS__)

/* ---- tables ---- */

static size_t table_len(const struct td_option *table)
{
	size_t n = 0;

	while (table != NULL && table[n].name != NULL)
		n++;
	return n;
}

static const struct td_option *table_find(const struct td_option *table, const char *name)
{
	for (; table != NULL && table->name != NULL; table++) {
		if (strcmp(table->name, name) == 0)
			return table;
	}
	return NULL;
}

static const struct td_option *table_format(const struct td_option *table)
{
	for (; table != NULL && table->name != NULL; table++) {
		if (table->type == TD_OPTION_FORMAT)
			return table;
	}
	return NULL;
}

const char *spec_defaults(const char *ret[static SPEC_VALUES_MAX], const struct td_option *table,
	const struct td_writer_ops *writer)
{
	const struct td_option *const tables[] = { table, writer != NULL ? writer->options : NULL };
	const struct td_option *format = table_format(table);
	size_t n = 0;

	for (size_t t = 0; t < 2; t++) {
		for (const struct td_option *o = tables[t]; o != NULL && o->name != NULL; o++) {
			ret[n++] = o->name;
			ret[n++] = o == format && writer != NULL ? writer->name : o->fallback;
		}
	}
	ret[n] = NULL;
	return format != NULL ? format->fallback : NULL;
}

void spec_wants(const struct registry_sink *kind, const char *const *options, struct td_wants *ret)
{
	*ret = (struct td_wants){ .size = sizeof(*ret) };
	if (kind->sink != NULL)
		kind->sink->wants(options, ret);
	else
		kind->track->wants(options, ret);
}

/* ---- the text ---- */

/* Takes "\," and "\\" for what they stand for; *rest goes on behind the comma, NULL at the end. */
static char *next_item(char **rest)
{
	char *item = *rest, *to = item, *from = item;

	for (; *from != '\0' && *from != ','; from++) {
		if (*from == '\\' && (from[1] == ',' || from[1] == '\\'))
			from++;
		*to++ = *from;
	}
	*rest = *from == ',' ? from + 1 : NULL;
	*to = '\0';
	return item;
}

static int split(struct reading *g, char *rest)
{
	while (rest != NULL) {
		struct item *item = &g->items[g->item_count];

		if (g->item_count == SPEC_ITEMS_MAX)
			return REFUSE(g, "%s: too many options", g->kind->name);
		g->item_count++;
		item->key = next_item(&rest);
		if ((item->value = strchr(item->key, '=')) != NULL)
			*item->value++ = '\0';
	}
	return TD_OK;
}

/* ---- formats ---- */

static int refuse_format(struct reading *g, const char *key, const char *name, const char *why)
{
	const struct td_writer_ops *w;
	char known[256] = "";

	for (size_t i = 0; (w = registry_writer_at(i, NULL)) != NULL; i++)
		refuse_list(known, sizeof(known), ", ", w->name);
	return REFUSE(g, "%s: %s cannot be '%.40s'; it is one of: %s%s%s", g->kind->name, key, name,
		known, why[0] != '\0' ? "; " : "", why);
}

static int add_format(struct reading *g, const char *key, const char *name)
{
	const struct td_writer_ops *writer;
	char why[512] = "";
	int r;

	if ((r = plugin_writer(&writer, name, why, sizeof(why))) == PLUGIN_NOWHERE)
		return refuse_format(g, key, name, why);
	if (r < 0)
		return REFUSE(g, "%s: %s '%.40s': %s", g->kind->name, key, name, why);
	for (size_t i = 0; i < g->writer_count; i++) {
		if (g->writers[i] == writer)
			return REFUSE(g, "%s: %s '%s' is given twice", g->kind->name, key, name);
	}
	if (g->writer_count == SPEC_FORMATS_MAX)
		return REFUSE(g, "%s: %s: at most %d", g->kind->name, key, SPEC_FORMATS_MAX);
	g->writers[g->writer_count++] = writer;
	return TD_OK;
}

/* The formats come first: they decide which options there are. */
static int find_formats(struct reading *g)
{
	const struct td_option *format = table_format(g->kind->options);
	const char *value;
	char *names, *rest, *name;
	int r = TD_OK;

	if (format == NULL)
		return TD_OK;
	value = format->fallback;
	for (size_t i = 0; i < g->item_count; i++) {
		if (strcmp(g->items[i].key, format->name) == 0 && g->items[i].value != NULL)
			value = g->items[i].value;
	}
	if (value[0] == '\0' && format->fallback[0] == '\0')
		return TD_OK;
	if ((names = rest = strdup(value)) == NULL)
		return REFUSE(g, "%s", td_strerror(TD_ERR_NOMEM));
	while (r == TD_OK && (name = strsep(&rest, "+")) != NULL)
		r = add_format(g, format->name, name);
	free(names);
	return r;
}

static const struct td_option *writer_table(const struct reading *g, size_t part)
{
	return part < g->writer_count ? g->writers[part]->options : NULL;
}

/* ---- options ---- */

static int refuse_key(struct reading *g, const char *key)
{
	char known[384] = "";

	for (const struct td_option *o = g->kind->options; o != NULL && o->name != NULL; o++)
		refuse_list(known, sizeof(known), ", ", o->name);
	for (size_t i = 0; i < g->writer_count; i++) {
		for (const struct td_option *o = writer_table(g, i); o != NULL && o->name != NULL;
			o++) {
			if (o == writer_table(g, i)) {
				refuse_list(known, sizeof(known), "; with ", g->writers[i]->name);
				refuse_list(known, sizeof(known), ": ", o->name);
			} else {
				refuse_list(known, sizeof(known), ", ", o->name);
			}
		}
	}
	return REFUSE(g, "%s has no option '%.40s'; it has: %s", g->kind->name, key,
		known[0] != '\0' ? known : "none");
}

static int refuse_value(struct reading *g, const struct td_option *o, const char *value)
{
	if (o->type == TD_OPTION_NUMBER)
		return REFUSE(g,
			"%s: %s cannot be '%.40s'; it is a number from %" PRIu64 " to %" PRIu64,
			g->kind->name, o->name, value, o->min, o->max);
	if (o->type == TD_OPTION_TEXT)
		return REFUSE(g,
			"%s: %s cannot be '%.40s'; it is a text of %" PRIu64 " to %" PRIu64
			" bytes",
			g->kind->name, o->name, value, o->min, o->max);
	return REFUSE(g, "%s: %s cannot be '%.40s'; it is one of: %s", g->kind->name, o->name,
		value, o->choices);
}

/* Gives the item to every part that has an option of its name. */
static int set_item(struct reading *g, size_t index)
{
	const struct item *item = &g->items[index];
	const struct td_option *own = table_find(g->kind->options, item->key);
	size_t own_count = table_len(g->kind->options), part = 0;
	const char *name = g->kind->name;
	bool found = own != NULL;

	for (size_t i = 0; i < g->writer_count; i++)
		found = found || table_find(writer_table(g, i), item->key) != NULL;
	if (!found)
		return refuse_key(g, item->key);
	if (item->value == NULL)
		return REFUSE(g, "%s: %s needs a value: %s=...", name, item->key, item->key);
	for (size_t i = 0; i < index; i++) {
		if (strcmp(g->items[i].key, item->key) == 0)
			return REFUSE(g, "%s: %s is given twice", name, item->key);
	}
	if (own != NULL && own->type == TD_OPTION_FORMAT)
		return TD_OK; /* the parts are made of it */
	for (struct sink_spec *s = g->spec; s != NULL; s = s->next, part++) {
		const struct td_option *table = g->kind->options, *o = own;
		size_t at = 0;

		if (own == NULL) {
			table = writer_table(g, part);
			at = own_count;
			if ((o = table_find(table, item->key)) == NULL)
				continue;
		}
		if (!inspect_value(o, item->value))
			return refuse_value(g, o, item->value);
		at += (size_t)(o - table);
		s->options[2 * at + 1] = item->value;
	}
	return TD_OK;
}

static int make_parts(struct reading *g)
{
	struct sink_spec **end = &g->spec;

	for (size_t i = 0; i == 0 || i < g->writer_count; i++) {
		struct sink_spec *part = calloc(1, sizeof(*part));

		if (part == NULL)
			return REFUSE(g, "%s", td_strerror(TD_ERR_NOMEM));
		part->kind = g->kind;
		spec_defaults(part->options, g->kind->options,
			i < g->writer_count ? g->writers[i] : NULL);
		*end = part;
		end = &part->next;
	}
	return TD_OK;
}

/* Whether the options of a part make sense together. */
static int check_part(struct reading *g, const struct sink_spec *part)
{
	const struct td_sink_ops *sink = g->kind->sink;
	const struct td_track_ops *track = g->kind->track;
	struct td_wants wants;
	char why[256] = "its options make no sense together";
	int r = TD_OK;

	if (sink != NULL && TD_HAS(sink, check))
		r = sink->check(part->options, why, sizeof(why));
	else if (track != NULL && TD_HAS(track, check))
		r = track->check(part->options, why, sizeof(why));
	if (r < 0)
		return REFUSE(g, "%s: %s", g->kind->name, why);
	spec_wants(g->kind, part->options, &wants);
	if (!inspect_wants(sink, track, &wants, why, sizeof(why)))
		return REFUSE(g, "%s %s", g->kind->name, why);
	return TD_OK;
}

int sink_spec_parse(struct sink_spec **ret, const char *text, char *err, size_t err_len)
{
	struct reading g = { .err = err, .err_len = err_len };
	char *copy = strdup(text), *rest, why[512];
	int r;

	if (copy == NULL) {
		r = REFUSE(&g, "%s", td_strerror(TD_ERR_NOMEM));
		goto out;
	}
	if ((rest = strchr(copy, ':')) != NULL)
		*rest++ = '\0';
	if (plugin_sink(&g.kind, copy, why, sizeof(why)) < 0) {
		r = REFUSE(&g, "%s", why);
		goto out;
	}
	if ((r = split(&g, rest)) < 0 || (r = find_formats(&g)) < 0 || (r = make_parts(&g)) < 0)
		goto out;
	for (size_t i = 0; i < g.item_count; i++) {
		if ((r = set_item(&g, i)) < 0)
			goto out;
	}
	for (const struct sink_spec *part = g.spec; part != NULL; part = part->next) {
		if ((r = check_part(&g, part)) < 0)
			goto out;
	}
	g.spec->text = copy;
	*ret = g.spec;
	g.spec = NULL;
	copy = NULL;
out:
	sink_spec_free(g.spec);
	free(copy);
	return r;
}

void sink_spec_free(struct sink_spec *spec)
{
	while (spec != NULL) {
		struct sink_spec *next = spec->next;

		free(spec->text);
		free(spec);
		spec = next;
	}
}

size_t spec_parts(const struct sink_spec *spec)
{
	size_t n = 0;

	for (; spec != NULL; spec = spec->next)
		n++;
	return n;
}

void sink_spec_wants(const struct sink_spec *spec, struct td_wants *ret)
{
	struct td_wants all = { .size = sizeof(all) }, one;

	for (; spec != NULL; spec = spec->next) {
		spec_wants(spec->kind, spec->options, &one);
		all.what |= one.what;
		if (one.channels > all.channels)
			all.channels = one.channels;
	}
	*ret = all;
}

bool sink_spec_is_built_in(const struct sink_spec *spec)
{
	return spec->kind->origin == NULL; /* parts are of one kind */
}
