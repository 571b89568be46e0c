/* SPDX-License-Identifier: ISC */
#include "sinks/inspect.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "sinks/refuse.h"
#include "sinks/registry.h"

enum { NAME_MAX_LEN = 31 };

/* What is looked at: for what is said about it. */
struct look {
	const char *origin, *kind, *name;
	char *err;
	size_t err_len;
};

__attribute__((format(printf, 3, 4))) static int no(const struct look *l, int r, const char *fmt,
	...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (l->name == NULL)
		return refuse(r, l->err, l->err_len, "%s: its %s %s", l->origin, l->kind, what);
	return refuse(r, l->err, l->err_len, "%s: its %s '%.40s' %s", l->origin, l->kind, l->name,
		what);
}

static bool is_name(const char *name, const char *more)
{
	size_t len = 0;

	for (; name[len] != '\0' && len <= NAME_MAX_LEN; len++) {
		if (!(name[len] >= 'a' && name[len] <= 'z') &&
			!(name[len] >= '0' && name[len] <= '9') && strchr(more, name[len]) == NULL)
			return false;
	}
	return len > 0 && len <= NAME_MAX_LEN;
}

/* ---- options ---- */

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

bool inspect_value(const struct td_option *o, const char *value)
{
	size_t len = strlen(value);

	if (len == 0 && o->fallback[0] == '\0')
		return true;
	switch (o->type) {
	case TD_OPTION_CHOICE:
		return is_choice(o->choices, value);
	case TD_OPTION_NUMBER:
		return is_number(o, value);
	case TD_OPTION_TEXT:
		return len >= o->min && len <= o->max;
	}
	return len > 0;
}

static int look_at_option(const struct look *l, const struct td_option *o, bool format)
{
	if (!is_name(o->name, "-"))
		return no(l, TD_ERR_USAGE, "has an option named '%.40s'; names are of [a-z0-9-]",
			o->name);
	if (o->type < TD_OPTION_CHOICE || o->type > TD_OPTION_FORMAT ||
		(o->type == TD_OPTION_FORMAT && !format))
		return no(l, TD_ERR_UNSUPPORTED,
			"has option %s of a type that cannot be (%" PRIu32 ")", o->name, o->type);
	if (o->meaning == NULL || o->fallback == NULL)
		return no(l, TD_ERR_UNSUPPORTED, "has option %s without %s", o->name,
			o->meaning == NULL ? "a meaning" : "a fallback");
	if (o->type == TD_OPTION_CHOICE && (o->choices == NULL || o->choices[0] == '\0'))
		return no(l, TD_ERR_UNSUPPORTED, "has option %s without choices", o->name);
	if (o->min > o->max)
		return no(l, TD_ERR_UNSUPPORTED, "has option %s from %" PRIu64 " to %" PRIu64,
			o->name, o->min, o->max);
	if (!inspect_value(o, o->fallback))
		return no(l, TD_ERR_UNSUPPORTED,
			"has option %s, which cannot be its fallback '%.40s'", o->name,
			o->fallback);
	return TD_OK;
}

static int look_at_options(const struct look *l, const struct td_option *table, bool format)
{
	int r;

	for (size_t i = 0; table != NULL && table[i].name != NULL; i++) {
		if (i == REGISTRY_OPTIONS_MAX)
			return no(l, TD_ERR_UNSUPPORTED, "has more than %d options",
				REGISTRY_OPTIONS_MAX);
		if ((r = look_at_option(l, &table[i], format)) < 0)
			return r;
		for (size_t j = 0; j < i; j++) {
			if (strcmp(table[j].name, table[i].name) == 0)
				return no(l, TD_ERR_UNSUPPORTED, "has option %s twice",
					table[i].name);
		}
		if (table[i].type == TD_OPTION_FORMAT)
			format = false; /* one is enough */
	}
	return TD_OK;
}

/* ---- ops ---- */

/* What every struct of methods begins with; only there when `size` says so. */
static int look_at_head(struct look *l, uint32_t abi, uint32_t size, size_t least)
{
	if (abi < 1 || abi > TD_SINK_ABI)
		return no(l, TD_ERR_UNSUPPORTED,
			"is of ABI %" PRIu32 ", and this program of ABI %u", abi, TD_SINK_ABI);
	if (size < least)
		return no(l, TD_ERR_UNSUPPORTED, "has %" PRIu32 " bytes, and ABI 1 at least %zu",
			size, least);
	return TD_OK;
}

static int look_at_name(struct look *l, const char *name, const char *meaning, const char *more)
{
	if (name == NULL)
		return no(l, TD_ERR_USAGE, "has no name");
	l->name = name;
	if (!is_name(name, more))
		return no(l, TD_ERR_USAGE, "needs a name of [a-z0-9%s], at most %d of them", more,
			NAME_MAX_LEN);
	if (meaning == NULL)
		return no(l, TD_ERR_UNSUPPORTED, "does not say what it means");
	return TD_OK;
}

struct method {
	const char *name;
	bool there;
};

static int look_at_methods(const struct look *l, const struct method *m)
{
	for (; m->name != NULL; m++) {
		if (!m->there)
			return no(l, TD_ERR_UNSUPPORTED, "has no %s()", m->name);
	}
	return TD_OK;
}

static int look_at_sink(struct look l, const struct td_sink_ops *s)
{
	int r;

	l.kind = "sink";
	if ((r = look_at_head(&l, s->abi, s->size, offsetof(struct td_sink_ops, frame))) < 0 ||
		(r = look_at_name(&l, s->name, s->meaning, "_")) < 0 ||
		(r = look_at_options(&l, s->options, true)) < 0)
		return r;
	return look_at_methods(&l,
		(struct method[]){ { "wants", s->wants != NULL }, { "open", s->open != NULL },
			{ "finish", s->finish != NULL }, { "close", s->close != NULL }, { 0 } });
}

static int look_at_track(struct look l, const struct td_track_ops *t)
{
	int r;

	l.kind = "track";
	if ((r = look_at_head(&l, t->abi, t->size, offsetof(struct td_track_ops, audio))) < 0 ||
		(r = look_at_name(&l, t->name, t->meaning, "_")) < 0 ||
		(r = look_at_options(&l, t->options, true)) < 0)
		return r;
	return look_at_methods(&l,
		(struct method[]){ { "wants", t->wants != NULL }, { "begin", t->begin != NULL },
			{ "open", t->open != NULL }, { "silence", t->silence != NULL },
			{ "end", t->end != NULL }, { "free", t->free != NULL },
			{ "close", t->close != NULL }, { 0 } });
}

static int look_at_writer(struct look l, const struct td_writer_ops *w)
{
	const uint32_t all = TD_WANT_PCM | TD_WANT_OPUS;
	int r;

	l.kind = "writer";
	if ((r = look_at_head(&l, w->abi, w->size, offsetof(struct td_writer_ops, write))) < 0 ||
		(r = look_at_name(&l, w->name, w->meaning, "")) < 0 ||
		(r = look_at_options(&l, w->options, false)) < 0)
		return r;
	if (w->takes == 0 || (w->takes & ~all) != 0)
		return no(&l, TD_ERR_UNSUPPORTED, "takes neither PCM nor Opus packets alone");
	return look_at_methods(&l,
		(struct method[]){ { "check", w->check != NULL }, { "open", w->open != NULL },
			{ "silence", w->silence != NULL }, { "refresh", w->refresh != NULL },
			{ "close", w->close != NULL },
			{ "write", (w->takes & TD_WANT_PCM) == 0 || TD_HAS(w, write) },
			{ "packet", (w->takes & TD_WANT_OPUS) == 0 || TD_HAS(w, packet) }, { 0 } });
}

int inspect_plugin(const struct td_plugin *p, const char *origin, char *err, size_t err_len)
{
	struct look l = { .origin = origin, .kind = "plugin", .err = err, .err_len = err_len };
	int r;

	if ((r = look_at_head(&l, p->abi, p->size,
		     offsetof(struct td_plugin, writer) + sizeof(p->writer))) < 0)
		return r;
	if (p->sink == NULL && p->track == NULL && p->writer == NULL)
		return no(&l, TD_ERR_UNSUPPORTED, "brings no sink, no track and no writer");
	if (p->sink != NULL && (r = look_at_sink(l, p->sink)) < 0)
		return r;
	if (p->track != NULL && (r = look_at_track(l, p->track)) < 0)
		return r;
	return p->writer != NULL ? look_at_writer(l, p->writer) : TD_OK;
}

bool inspect_wants(const struct td_sink_ops *sink, const struct td_track_ops *track,
	const struct td_wants *wants, char *err, size_t err_len)
{
	const uint32_t all = TD_WANT_PCM | TD_WANT_OPUS | TD_WANT_RTCP, what = wants->what;
	const char *why = NULL;

	if ((what & ~all) != 0)
		why = "wants something this program does not know";
	else if ((what & TD_WANT_PCM) != 0 && (wants->channels < 1 || wants->channels > 2))
		why = "wants PCM of neither 1 nor 2 channels";
	else if (track != NULL && what != TD_WANT_PCM && what != TD_WANT_OPUS)
		why = "has to want either PCM or Opus packets";
	else if (track != NULL && what == TD_WANT_PCM && !TD_HAS(track, audio))
		why = "wants PCM and has no audio()";
	else if (track != NULL && what == TD_WANT_OPUS && !TD_HAS(track, packet))
		why = "wants Opus packets and has no packet()";
	else if (sink != NULL && (what & TD_WANT_PCM) != 0 && !TD_HAS(sink, frame))
		why = "wants PCM and has no frame()";
	else if (sink != NULL && (what & TD_WANT_OPUS) != 0 && !TD_HAS(sink, packet))
		why = "wants Opus packets and has no packet()";
	if (why != NULL)
		refuse(0, err, err_len, "%s", why);
	return why == NULL;
}
