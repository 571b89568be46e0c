/* SPDX-License-Identifier: ISC */
/*
 * What people and plugins say about sinks. The first byte of an input picks: a plugin whose option
 * tables are the input's, and a --sink text for it; a name template and what is filled in; an
 * endpoint. Texts end with a NUL or the input.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/err.h"
#include "receiver/connection_info.h"
#include "sinks/file_name.h"
#include "sinks/inspect.h"
#include "sinks/plugin.h"
#include "sinks/spec.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXTS_MAX = 256, TABLE_MAX = REGISTRY_OPTIONS_MAX + 2 };

static char *texts[TEXTS_MAX];
static size_t text_count;

/* Up to a NUL, of exactly its size; freed in the end. */
static const char *next_text(struct rd *r)
{
	size_t len = 0, left = rd_left(r);
	char *text;

	while (len < left && r->p[len] != '\0')
		len++;
	CHECK((text = calloc(1, len + 1)) != NULL && text_count < TEXTS_MAX);
	rd_copy(r, text, len);
	if (len < left)
		rd_u8(r);
	return texts[text_count++] = text;
}

static void check_line(const char *err, size_t size)
{
	CHECK(memchr(err, '\0', size) != NULL && err[0] != '\0');
	CHECK(strchr(err, '\n') == NULL);
}

/* ---- a plugin ---- */

static struct td_option sink_table[TABLE_MAX + 1], writer_table[TABLE_MAX + 1];
static struct td_sink_ops sink;
static struct td_writer_ops writer;
static uint32_t wants_what;

/* What a method is given is what it was promised. */
static void check_values(const char *const *options, const struct td_option *table)
{
	size_t i;

	for (i = 0; table[i].name != NULL; i++) {
		CHECK(options[2 * i] != NULL && strcmp(options[2 * i], table[i].name) == 0);
		CHECK(options[2 * i + 1] != NULL && inspect_value(&table[i], options[2 * i + 1]));
	}
	/* Behind them is what the writer has, or nothing. */
	for (; options[2 * i] != NULL; i++)
		CHECK(options[2 * i + 1] != NULL);
}

static void sink_wants(const char *const *options, struct td_wants *ret)
{
	check_values(options, sink_table);
	ret->what = wants_what;
	ret->channels = 2;
}

static int sink_check(const char *const *options, char *err, size_t err_len)
{
	check_values(options, sink_table);
	if (options[0] == NULL || options[1][0] != '!')
		return TD_OK;
	snprintf(err, err_len, "will not");
	return TD_SINK_ERR_USAGE;
}

static int sink_open(void **ret_state, const struct td_host *host, const struct td_session *session,
	const char *const *options)
{
	(void)ret_state;
	(void)host;
	(void)session;
	(void)options;
	return TD_ERR_NOMEM;
}

static int sink_finish(void *state, uint64_t end_ns)
{
	(void)state;
	(void)end_ns;
	return TD_OK;
}

static void sink_close(void *state)
{
	(void)state;
}

static int sink_frame(void *state, const struct td_frame *frame)
{
	(void)state;
	(void)frame;
	return TD_OK;
}

static int sink_packet(void *state, const struct td_packet *packet)
{
	(void)state;
	(void)packet;
	return TD_OK;
}

static int writer_check(const struct td_writer_conf *conf, char *err, size_t err_len)
{
	(void)err;
	(void)err_len;
	CHECK(conf->options != NULL);
	return TD_OK;
}

static int writer_open(void **ret_state, const struct td_output *out,
	const struct td_writer_conf *conf)
{
	(void)ret_state;
	(void)out;
	(void)conf;
	return TD_ERR_NOMEM;
}

static int writer_silence(void *state, uint64_t n)
{
	(void)state;
	(void)n;
	return TD_OK;
}

static int writer_refresh(void *state)
{
	(void)state;
	return TD_OK;
}

static int writer_close(void *state, uint64_t *ret_samples)
{
	(void)state;
	*ret_samples = 0;
	return TD_OK;
}

static int writer_write(void *state, const int16_t *pcm, uint32_t samples)
{
	(void)state;
	(void)pcm;
	(void)samples;
	return TD_OK;
}

static void read_table(struct td_option *table, struct rd *r)
{
	size_t n = rd_u8(r) % (TABLE_MAX + 1), i;

	memset(table, 0, (TABLE_MAX + 1) * sizeof(*table));
	for (i = 0; i < n; i++) {
		struct td_option *o = &table[i];
		uint8_t how = rd_u8(r);

		o->name = next_text(r);
		o->fallback = (how & 0xf0) == 0xf0 ? NULL : next_text(r);
		o->choices = (how & 7) == TD_OPTION_CHOICE ? next_text(r) : NULL;
		o->meaning = (how & 0xf0) == 0xe0 ? NULL : "what it is for";
		o->type = how & 7;
		o->min = rd_u8(r);
		o->max = (how & 8) != 0 ? rd_u64(r) : rd_u8(r);
	}
}

static void fuzz_plugin(struct rd *r)
{
	uint8_t how = rd_u8(r);
	struct td_plugin plugin = { .abi = TD_SINK_ABI, .size = sizeof(plugin) };
	struct sink_spec *spec = NULL;
	struct td_wants wants;
	char err[160] = "";
	int e;

	plugin_reset();
	registry_reset();
	read_table(sink_table, r);
	read_table(writer_table, r);
	wants_what = how & 3;
	sink = (struct td_sink_ops){ .abi = TD_SINK_ABI,
		.size = sizeof(sink),
		.name = (how & 4) != 0 ? next_text(r) : "tested",
		.meaning = "a sink",
		.options = sink_table,
		.wants = sink_wants,
		.open = sink_open,
		.finish = sink_finish,
		.close = sink_close,
		.frame = (how & 0x20) != 0 ? NULL : sink_frame,
		.packet = (how & 0x40) != 0 ? NULL : sink_packet,
		.check = (how & 8) != 0 ? sink_check : NULL };
	writer = (struct td_writer_ops){ .abi = TD_SINK_ABI,
		.size = sizeof(writer),
		.name = (how & 4) != 0 ? next_text(r) : "testing",
		.meaning = "a writer",
		.options = writer_table,
		.takes = TD_WANT_PCM,
		.check = writer_check,
		.open = writer_open,
		.silence = writer_silence,
		.refresh = writer_refresh,
		.close = writer_close,
		.write = writer_write };
	plugin.sink = &sink;
	plugin.writer = (how & 16) != 0 ? &writer : NULL;
	e = registry_add(&plugin, "plugin.so", err, sizeof(err));
	if (e != TD_OK) {
		check_line(err, sizeof(err));
		return;
	}
	CHECK(registry_sink(sink.name) != NULL);
	for (int n = 0; n < 8 && rd_left(r) > 0; n++) {
		err[0] = '\0';
		if (sink_spec_parse(&spec, next_text(r), err, sizeof(err)) != TD_OK) {
			check_line(err, sizeof(err));
			continue;
		}
		for (const struct sink_spec *s = spec; s != NULL; s = s->next) {
			if (s->kind->sink == &sink)
				check_values(s->options, sink_table);
		}
		CHECK(spec_parts(spec) >= 1 && spec_parts(spec) <= SPEC_FORMATS_MAX);
		sink_spec_wants(spec, &wants);
		sink_spec_free(spec);
	}
}

/* ---- names ---- */

static void check_name(const char *name, size_t size)
{
	CHECK(memchr(name, '\0', size) != NULL && name[0] != '\0' && name[0] != '.');
	for (const char *p = name; *p != '\0'; p++)
		CHECK((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') ||
			(*p >= '0' && *p <= '9') || strchr("._-", *p) != NULL);
	CHECK(strcmp(name, "session.json") != 0 && strcmp(name, "labels.txt") != 0);
}

static void fuzz_name(struct rd *r)
{
	const char *template = next_text(r);
	const struct file_name_fields fields = { .session = next_text(r),
		.user_id = rd_u8(r) % 2 != 0 ? rd_u64(r) : rd_u8(r),
		.ssrc = rd_u32(r),
		.start_utc_ns = rd_u64(r),
		.format = "flac" };
	/* Of exactly their sizes. */
	char *stem = malloc(FILE_STEM_MAX), *name = malloc(FILE_NAME_MAX), err[160] = "";

	CHECK(stem != NULL && name != NULL);
	if (file_name_check(template, err, sizeof(err)) != TD_OK) {
		CHECK(err[0] != '\0');
	} else {
		file_name_stem(stem, template, &fields);
		CHECK(memchr(stem, '\0', FILE_STEM_MAX) != NULL);
		for (uint32_t i = 0; i < 3; i++) {
			static const char *const formats[] = { "json", "txt", "opus" };

			file_name(name, stem, rd_u32(r), rd_u32(r), formats[i]);
			check_name(name, FILE_NAME_MAX);
		}
	}
	free(stem);
	free(name);
}

static void fuzz_endpoint(struct rd *r)
{
	struct connection_info info = { .port = 0 };
	char err[160] = "";

	if (connection_endpoint_parse(&info, next_text(r), err, sizeof(err)) != TD_OK) {
		check_line(err, sizeof(err));
		CHECK(info.port == 0 && info.host[0] == '\0');
		return;
	}
	CHECK(memchr(info.host, '\0', sizeof(info.host)) != NULL && info.host[0] != '\0');
	CHECK(info.port != 0 && strpbrk(info.host, "/?#@ []%\"\\") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd r;

	setenv("TAPEDECK_PLUGIN_PATH", "/nonexistent", 1);
	rd_init(&r, data, size);
	switch (rd_u8(&r) % 3) {
	case 0:
		fuzz_plugin(&r);
		break;
	case 1:
		fuzz_name(&r);
		break;
	default:
		fuzz_endpoint(&r);
	}
	plugin_reset();
	registry_reset();
	while (text_count > 0)
		free(texts[--text_count]);
	return 0;
}
