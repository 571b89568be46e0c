/* SPDX-License-Identifier: ISC */
#include "sinks/registry.h"

#include <string.h>

#include "common/err.h"
#include "sinks/file_sink.h"
#include "sinks/flac.h"
#include "sinks/inspect.h"
#include "sinks/mp3.h"
#include "sinks/opus_writer.h"
#include "sinks/pcm.h"
#include "sinks/refuse.h"
#include "sinks/segments.h"
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

static struct registry_sink as_sink(const struct td_sink_ops *sink,
	const struct td_track_ops *track, const char *origin)
{
	return (struct registry_sink){ .name = sink != NULL ? sink->name : track->name,
		.meaning = sink != NULL ? sink->meaning : track->meaning,
		.options = sink != NULL ? sink->options : track->options,
		.sink = sink,
		.track = track,
		.origin = origin };
}

/* The built-in ones come first, whoever asks first. */
static void fill(void)
{
	static const struct td_track_ops *const tracks[] = { &file_sink, &segments_sink };
	static const struct td_writer_ops *const formats[] = { &wav_writer, &flac_writer,
		&mp3_writer, &opus_writer, &pcm_writer };

	if (sink_count > 0)
		return;
	for (size_t i = 0; i < sizeof(tracks) / sizeof(tracks[0]); i++)
		sinks[sink_count++] = as_sink(NULL, tracks[i], NULL);
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		writers[writer_count++] = (struct writer){ formats[i], NULL };
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

/* ---- what plugins bring ---- */

/* What it wants with all options as they are when not given, writers of its own included. */
static int check_wants(const struct td_plugin *p, const struct registry_sink *s, const char *origin,
	char *err, size_t err_len)
{
	const char *options[SPEC_VALUES_MAX], *format;
	struct td_wants wants = { .size = sizeof(wants) };
	const struct td_writer_ops *writer = NULL;
	char why[128];

	format = spec_defaults(options, s->options, NULL);
	if (format != NULL && format[0] != '\0') {
		writer = registry_writer(format);
		if (writer == NULL && p->writer != NULL && strcmp(p->writer->name, format) == 0)
			writer = p->writer;
		if (writer == NULL)
			return refuse(TD_ERR_UNSUPPORTED, err, err_len,
				"%s: its '%s' writes '%.40s', which no writer here does", origin,
				s->name, format);
		spec_defaults(options, s->options, writer);
	}
	spec_wants(s, options, &wants);
	if (!inspect_wants(s->sink, s->track, &wants, why, sizeof(why)))
		return refuse(TD_ERR_UNSUPPORTED, err, err_len, "%s: its '%s' %s", origin, s->name,
			why);
	return TD_OK;
}

static int refuse_taken(const char *kind, const char *name, const char *by, const char *origin,
	char *err, size_t err_len)
{
	return refuse(TD_ERR_USAGE, err, err_len, "%s: there is a %s '%s' already, %s%s", origin,
		kind, name, by != NULL ? "from " : "built in", by != NULL ? by : "");
}

int registry_add(const struct td_plugin *plugin, const char *origin, char *err, size_t err_len)
{
	const struct registry_sink *taken;
	const struct td_writer_ops *w;
	struct registry_sink brought[2];
	size_t count = 0;
	int r;

	fill();
	if ((r = inspect_plugin(plugin, origin, err, err_len)) < 0)
		return r;
	if (plugin->sink != NULL)
		brought[count++] = as_sink(plugin->sink, NULL, origin);
	if (plugin->track != NULL)
		brought[count++] = as_sink(NULL, plugin->track, origin);
	if (sink_count + count > REGISTRY_MAX || writer_count == REGISTRY_MAX)
		return refuse(TD_ERR_LIMIT, err, err_len, "%s: there are %d plugins already",
			origin, REGISTRY_MAX);
	for (size_t i = 0; i < count; i++) {
		if ((taken = registry_sink(brought[i].name)) != NULL)
			return refuse_taken("sink", taken->name, taken->origin, origin, err,
				err_len);
	}
	if (count == 2 && strcmp(brought[0].name, brought[1].name) == 0)
		return refuse_taken("sink", brought[0].name, origin, origin, err, err_len);
	for (size_t i = 0; plugin->writer != NULL && i < writer_count; i++) {
		w = writers[i].ops;
		if (strcmp(w->name, plugin->writer->name) == 0)
			return refuse_taken("writer", w->name, writers[i].origin, origin, err,
				err_len);
	}
	for (size_t i = 0; i < count; i++) {
		if ((r = check_wants(plugin, &brought[i], origin, err, err_len)) < 0)
			return r;
	}
	for (size_t i = 0; i < count; i++)
		sinks[sink_count++] = brought[i];
	if (plugin->writer != NULL)
		writers[writer_count++] = (struct writer){ plugin->writer, origin };
	return TD_OK;
}
