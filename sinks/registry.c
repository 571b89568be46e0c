/* SPDX-License-Identifier: ISC */
#include "sinks/registry.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "sinks/file_sink.h"
#include "sinks/spec.h"
#include "sinks/wav.h"

enum { REGISTRY_MAX = 64 };

struct writer {
	const struct td_writer_ops *ops;
	const char *origin;
};

static struct registry_sink sinks[REGISTRY_MAX];
static struct writer writers[REGISTRY_MAX];
static size_t sink_count, writer_count;

static void add_sink(const struct td_sink_ops *sink, const struct td_track_ops *track,
	const char *origin)
{
	struct registry_sink *s = &sinks[sink_count++];

	s->name = sink != NULL ? sink->name : track->name;
	s->meaning = sink != NULL ? sink->meaning : track->meaning;
	s->options = sink != NULL ? sink->options : track->options;
	s->sink = sink;
	s->track = track;
	s->origin = origin;
}

static void add_writer(const struct td_writer_ops *ops, const char *origin)
{
	writers[writer_count++] = (struct writer){ ops, origin };
}

/* The built-in ones come first, whoever asks first. */
static void fill(void)
{
	static const struct td_writer_ops *const formats[] = { &wav_writer };

	if (sink_count > 0)
		return;
	add_sink(NULL, &file_sink, NULL);
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		add_writer(formats[i], NULL);
}

void registry_reset(void)
{
	sink_count = writer_count = 0;
}

const struct registry_sink *registry_sink_at(size_t i)
{
	fill();
	return i < sink_count ? &sinks[i] : NULL;
}

const struct td_writer_ops *registry_writer_at(size_t i, const char **ret_origin)
{
	fill();
	if (i >= writer_count)
		return NULL;
	if (ret_origin != NULL)
		*ret_origin = writers[i].origin;
	return writers[i].ops;
}

const struct registry_sink *registry_sink(const char *name)
{
	const struct registry_sink *s;

	for (size_t i = 0; (s = registry_sink_at(i)) != NULL; i++) {
		if (strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

const struct td_writer_ops *registry_writer(const char *name)
{
	const struct td_writer_ops *w;

	for (size_t i = 0; (w = registry_writer_at(i, NULL)) != NULL; i++) {
		if (strcmp(w->name, name) == 0)
			return w;
	}
	return NULL;
}

static bool options_fit(const struct td_option *o)
{
	size_t count = 0;

	while (o != NULL && o[count].name != NULL)
		count++;
	return count <= SPEC_OPTIONS_MAX;
}

static bool sink_fits(const struct td_sink_ops *ops)
{
	return ops->abi >= 1 && ops->abi <= TD_SINK_ABI && TD_HAS(ops, close) &&
		ops->wants != NULL && ops->open != NULL && ops->finish != NULL &&
		ops->name != NULL && options_fit(ops->options);
}

int registry_add(const struct td_plugin *plugin, const char *origin, char *err, size_t err_len)
{
	fill();
	if (plugin->sink != NULL) {
		if (!sink_fits(plugin->sink)) {
			snprintf(err, err_len, "%s does not fit this program (ABI %u)", origin,
				TD_SINK_ABI);
			return TD_ERR_UNSUPPORTED;
		}
		add_sink(plugin->sink, NULL, origin);
	}
	return TD_OK;
}
