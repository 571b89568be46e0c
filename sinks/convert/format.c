/* SPDX-License-Identifier: ISC */
#include "sinks/convert/format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/inspect.h"
#include "sinks/plugin.h"
#include "sinks/refuse.h"

static int refuse_name(const char *name, const char *why, struct fault *fault)
{
	const struct td_writer_ops *w;
	char known[256] = "";

	for (size_t i = 0; (w = registry_writer_at(i, NULL)) != NULL; i++)
		refuse_list(known, sizeof(known), ", ", w->name);
	return fault_set(fault, TD_ERR_USAGE, "no format is called '%.40s'; there is: %s%s%s", name,
		known, why[0] != '\0' ? "; " : "", why);
}

static int refuse_key(const struct td_writer_ops *w, const char *key, struct fault *fault)
{
	char known[256] = "";

	for (const struct td_option *o = w->options; o != NULL && o->name != NULL; o++)
		refuse_list(known, sizeof(known), ", ", o->name);
	return fault_set(fault, TD_ERR_USAGE, "%s has no option '%.40s'; it has: %s", w->name, key,
		known[0] != '\0' ? known : "none");
}

static int refuse_value(const struct td_writer_ops *w, const struct td_option *o, const char *value,
	struct fault *fault)
{
	if (o->type == TD_OPTION_NUMBER)
		return fault_set(fault, TD_ERR_USAGE,
			"%s: %s cannot be '%.40s'; it is a number from %" PRIu64 " to %" PRIu64,
			w->name, o->name, value, o->min, o->max);
	return fault_set(fault, TD_ERR_USAGE, "%s: %s cannot be '%.40s'%s%s", w->name, o->name,
		value, o->type == TD_OPTION_CHOICE ? "; it is one of: " : "",
		o->type == TD_OPTION_CHOICE ? o->choices : "");
}

/* One key=value, cut up in place. */
static int set_option(struct format *f, char *item, struct fault *fault)
{
	const struct td_option *o = f->writer->options;
	char *value = strchr(item, '=');
	size_t i = 0;

	if (value != NULL)
		*value++ = '\0';
	while (o != NULL && o[i].name != NULL && strcmp(o[i].name, item) != 0)
		i++;
	if (o == NULL || o[i].name == NULL)
		return refuse_key(f->writer, item, fault);
	if (value == NULL)
		return fault_set(fault, TD_ERR_USAGE, "%s: %s needs a value: %s=...",
			f->writer->name, item, item);
	if (!inspect_value(&o[i], value))
		return refuse_value(f->writer, &o[i], value, fault);
	f->options[2 * i + 1] = value;
	f->chosen = true;
	return TD_OK;
}

int format_parse(struct format *ret, const char *text, struct fault *fault)
{
	struct format f = { .text = strdup(text) };
	char why[512] = "", *rest, *item;
	int r = TD_ERR_NOMEM;

	if (f.text == NULL) {
		fault_set(fault, r, "%s", td_strerror(r));
		goto out;
	}
	if ((rest = strchr(f.text, ':')) != NULL)
		*rest++ = '\0';
	if ((r = plugin_writer(&f.writer, f.text, why, sizeof(why))) != TD_OK) {
		r = r == PLUGIN_NOWHERE ? refuse_name(f.text, why, fault)
					: fault_set(fault, TD_ERR_USAGE, "%s", why);
		goto out;
	}
	if ((f.writer->takes & TD_WANT_PCM) == 0 || !TD_HAS(f.writer, write)) {
		r = fault_set(fault, TD_ERR_USAGE, "%s does not take sound, only Opus packets",
			f.writer->name);
		goto out;
	}
	spec_defaults(f.options, NULL, f.writer);
	while ((item = strsep(&rest, ",")) != NULL) {
		if ((r = set_option(&f, item, fault)) < 0)
			goto out;
	}
	*ret = f;
	f.text = NULL;
	r = TD_OK;
out:
	free(f.text);
	return r;
}

void format_free(struct format *f)
{
	free(f->text);
	f->text = NULL;
}

int format_fit(const struct format *f, uint32_t in_rate, uint32_t in_channels, uint32_t *rate,
	uint32_t *channels, struct fault *fault)
{
	struct td_writer_conf conf = {
		.size = sizeof(conf),
		.source = TD_WANT_PCM,
		.rate = *rate != 0 ? *rate : in_rate,
		.channels = *channels != 0 ? *channels : in_channels,
		.options = f->options,
	};
	char err[256] = "it cannot be written";

	if (f->writer->check(&conf, err, sizeof(err)) < 0) {
		if (*rate != 0 || conf.rate == TD_RATE)
			return fault_set(fault, TD_ERR_USAGE, "%s", err);
		conf.rate = TD_RATE;
		if (f->writer->check(&conf, err, sizeof(err)) < 0)
			return fault_set(fault, TD_ERR_USAGE, "%s", err);
	}
	*rate = conf.rate;
	*channels = conf.channels;
	return TD_OK;
}
