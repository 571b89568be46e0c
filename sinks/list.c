/* SPDX-License-Identifier: ISC */
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sinks/host.h"
#include "sinks/plugin.h"
#include "sinks/registry.h"
#include "sinks/spec.h"

/* Columns: of a page, of names, of what is said about them, of options and about those. */
enum { WIDTH = 80, NAME = 2, ABOUT = 16, OPTION = 16, ABOUT_OPTION = 34, TEXT_MAX = 1024 };

/* Puts text at a column, from where `at` is now, and goes on below when a line is full. */
static void put(FILE *out, int at, int column, const char *text)
{
	const char *end;

	if (at >= column && at > 0) {
		fputc('\n', out);
		at = 0;
	}
	while (*text != '\0') {
		end = text + strcspn(text, " ");
		if (at > column && at + 1 + (int)(end - text) > WIDTH) {
			fputc('\n', out);
			at = 0;
		}
		at += fprintf(out, "%*s%.*s", at < column ? column - at : 1, "", (int)(end - text),
			text);
		text = end + strspn(end, " ");
	}
	fputc('\n', out);
}

__attribute__((format(printf, 3, 4))) static void add(char *text, const char *between,
	const char *fmt, ...)
{
	size_t used = strlen(text);
	va_list ap;

	if (used > 0)
		used += (size_t)snprintf(text + used, TEXT_MAX - used, "%s", between);
	if (used >= TEXT_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text + used, TEXT_MAX - used, fmt, ap);
	va_end(ap);
}

static void put_options(FILE *out, const struct td_option *o)
{
	for (; o != NULL && o->name != NULL; o++) {
		char text[TEXT_MAX] = "";
		int at = fprintf(out, "%*s%s=%s", OPTION, "", o->name, o->fallback);

		add(text, "", "%s", o->meaning);
		if (o->type == TD_OPTION_CHOICE)
			add(text, "; ", "one of %s", o->choices);
		else if (o->type == TD_OPTION_NUMBER)
			add(text, "; ", "%" PRIu64 " to %" PRIu64, o->min, o->max);
		else if (o->type == TD_OPTION_FORMAT)
			add(text, "; ", "one of the formats below, or several: a+b");
		put(out, at, ABOUT_OPTION, text);
	}
}

static void add_what(char *text, uint32_t what, uint32_t channels)
{
	char list[TEXT_MAX] = "";

	if ((what & TD_WANT_PCM) != 0 && channels > 0)
		add(list, ", ", "PCM of %s", channels == 1 ? "1 channel" : "2 channels");
	else if ((what & TD_WANT_PCM) != 0)
		add(list, ", ", "PCM");
	if ((what & TD_WANT_OPUS) != 0)
		add(list, ", ", "Opus packets");
	if ((what & TD_WANT_RTCP) != 0)
		add(list, ", ", "RTCP");
	add(text, "; ", "takes %s", list[0] != '\0' ? list : "no sound");
}

static void put_origin(FILE *out, const char *origin)
{
	char text[TEXT_MAX] = "";

	if (origin == NULL)
		return;
	add(text, "", "from %s", origin);
	put(out, 0, ABOUT, text);
}

static void put_sink(FILE *out, const struct registry_sink *s)
{
	const char *options[SPEC_VALUES_MAX];
	const char *format = spec_defaults(options, s->options, NULL);
	struct td_wants wants;
	char text[TEXT_MAX] = "";

	if (format != NULL)
		spec_defaults(options, s->options, registry_writer(format));
	spec_wants(s, options, &wants);
	add(text, "", "%s", s->meaning);
	add_what(text, wants.what, wants.channels);
	put(out, fprintf(out, "%*s%s", NAME, "", s->name), ABOUT, text);
	put_origin(out, s->origin);
	put_options(out, s->options);
}

static void put_writer(FILE *out, const struct td_writer_ops *w, const char *origin)
{
	char text[TEXT_MAX] = "";

	add(text, "", "%s", w->meaning);
	add_what(text, w->takes, 0);
	put(out, fprintf(out, "%*sformat=%s", NAME, "", w->name), ABOUT, text);
	put_origin(out, origin);
	put_options(out, w->options);
}

/* ---- what could not be loaded ---- */

struct refusals {
	char **lines;
	size_t count;
};

static void on_refused(void *user, const char *reason)
{
	struct refusals *r = user;
	char **more = reallocarray(r->lines, r->count + 1, sizeof(*more));

	if (more == NULL)
		return;
	r->lines = more;
	if ((r->lines[r->count] = strdup(reason)) != NULL)
		r->count++;
}

static int put_folder(void *user, const char *path)
{
	put(user, 0, NAME, path);
	return 0;
}

void sink_list(FILE *out)
{
	const struct registry_sink *s;
	const struct td_writer_ops *w;
	struct refusals refusals = { NULL, 0 };
	const char *origin;

	plugin_load_all(on_refused, &refusals);
	fputs("Sinks, for --sink NAME or --sink NAME:key=value,...\n", out);
	for (size_t i = 0; (s = registry_sink_at(i)) != NULL; i++) {
		fputc('\n', out);
		put_sink(out, s);
	}
	fputs("\nFormats, for --sink file:format=NAME and convert -f NAME\n", out);
	for (size_t i = 0; (w = registry_writer_at(i, &origin)) != NULL; i++) {
		fputc('\n', out);
		put_writer(out, w, origin);
	}
	fputs("\nPlugins are looked for in\n\n", out);
	plugin_folders(put_folder, out);
	if (refusals.count > 0)
		fputs("\nNot loaded\n\n", out);
	for (size_t i = 0; i < refusals.count; i++) {
		put(out, 0, NAME, refusals.lines[i]);
		free(refusals.lines[i]);
	}
	free(refusals.lines);
}
