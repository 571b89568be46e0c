/* SPDX-License-Identifier: ISC */
/*
 * dave_vectors FOLDER: runs every recorded DAVE session, case, code and frame it finds in the
 * folder's JSON files, by their `format`. What is skipped is said. The last line counts; exit
 * status 1 if anything failed or nothing was found.
 */
#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>

#include "common/ids.h"
#include "tests/vectors/dave_run.h"

struct memory {
	struct memory *next;
	uint8_t bytes[];
};

static const struct {
	const char *format;
	void (*run)(struct run *v, const json_t *root);
} formats[] = {
	{ "dave-transcript/1", run_transcript },
	{ "dave-cases/1", run_cases },
	{ "dave-codes/1", run_codes },
	{ "dave-frames/1", run_frames },
};

static void *hold(struct run *v, size_t n)
{
	struct memory *m = calloc(1, sizeof(*m) + n);

	if (m == NULL) {
		fputs("dave_vectors: out of memory\n", stderr);
		exit(1);
	}
	m->next = v->held;
	v->held = m;
	return m->bytes;
}

bool run_want(struct run *v, bool ok, const char *what, const char *file, int line)
{
	v->checks++;
	if (ok)
		return true;
	if (!v->broken) { /* what follows from it is not worth a line */
		printf("FAIL %s, %s", v->file, v->what);
		if (v->step >= 0)
			printf(", step %ld", v->step);
		printf(": %s (%s:%d)\n", what, file, line);
	}
	v->broken = true;
	return false;
}

/* Reasons are told once per file, with the number of times. */
static struct reason {
	char why[120];
	unsigned times;
} reasons[64];

void run_skip(struct run *v, const char *why)
{
	const size_t last = sizeof(reasons) / sizeof(reasons[0]) - 1;
	size_t i = 0;

	v->skipped++;
	while (i < last && reasons[i].times > 0 && strcmp(reasons[i].why, why) != 0)
		i++;
	snprintf(reasons[i].why, sizeof(reasons[i].why), "%s", i < last ? why : "other reasons");
	reasons[i].times++;
}

static void tell_reasons(const struct run *v)
{
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]) && reasons[i].times > 0; i++)
		printf("skip %s: %u x %s\n", v->file, reasons[i].times, reasons[i].why);
	memset(reasons, 0, sizeof(reasons));
}

void run_begin(struct run *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(v->what, sizeof(v->what), fmt, ap);
	va_end(ap);
	v->step = -1;
	v->checks = 0;
	v->broken = false;
}

void run_end(struct run *v)
{
	struct memory *m;

	run_want(v, v->checks > 0, "something compared", __FILE__, __LINE__);
	if (v->broken)
		v->failed++;
	else
		v->passed++;
	while ((m = v->held) != NULL) {
		v->held = m->next;
		free(m);
	}
}

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct mls_span run_hex_value(struct run *v, const json_t *value)
{
	const char *s = json_string_value(value);
	size_t n = s != NULL ? strlen(s) : 1;
	uint8_t *bytes;
	size_t i;

	if (!run_want(v, n % 2 == 0, "a hex string", __FILE__, __LINE__))
		return mls_span(NULL, 0);
	bytes = hold(v, n / 2 + 1);
	for (i = 0; i < n; i += 2) {
		int hi = nibble(s[i]);
		int lo = nibble(s[i + 1]);

		if (hi < 0 || lo < 0) {
			run_want(v, false, "a hex string", __FILE__, __LINE__);
			return mls_span(NULL, 0);
		}
		bytes[i / 2] = (uint8_t)(hi << 4 | lo);
	}
	return mls_span(bytes, n / 2);
}

struct mls_span run_hex(struct run *v, const json_t *o, const char *key)
{
	if (!run_want(v, json_object_get(o, key) != NULL, key, __FILE__, __LINE__))
		return mls_span(NULL, 0);
	return run_hex_value(v, json_object_get(o, key));
}

const uint8_t *run_fixed(struct run *v, const json_t *o, const char *key, size_t n)
{
	struct mls_span s = run_hex(v, o, key);

	return run_want(v, s.len == n, key, __FILE__, __LINE__) ? s.p : hold(v, 128);
}

uint64_t run_number(struct run *v, const json_t *o, const char *key)
{
	json_t *n = json_object_get(o, key);

	if (!run_want(v, json_is_integer(n) && json_integer_value(n) >= 0, key, __FILE__, __LINE__))
		return 0;
	return (uint64_t)json_integer_value(n);
}

uint64_t run_id(struct run *v, const json_t *o, const char *key)
{
	uint64_t id = 0;

	run_want(v, td_id_parse(&id, json_string_value(json_object_get(o, key))) == 0, key,
		__FILE__, __LINE__);
	return id;
}

const char *run_text(struct run *v, const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return run_want(v, s != NULL, key, __FILE__, __LINE__) ? s : "";
}

const json_t *run_array(struct run *v, const json_t *o, const char *key)
{
	const json_t *a = json_object_get(o, key);

	run_want(v, json_is_array(a), key, __FILE__, __LINE__);
	return a;
}

static void run_root(struct run *v, const json_t *root)
{
	const char *format = json_string_value(json_object_get(root, "format"));
	unsigned before = v->passed + v->failed + v->skipped;
	size_t i;

	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (format != NULL && strcmp(format, formats[i].format) == 0)
			break;
	if (i == sizeof(formats) / sizeof(formats[0])) {
		run_skip(v, format == NULL ? "a file without a format" : "another format");
		return;
	}
	formats[i].run(v, root);
	run_begin(v, "the whole file");
	if (!run_want(v, v->passed + v->failed + v->skipped > before, "something to run", __FILE__,
		    __LINE__))
		v->failed++;
}

static void run_file(struct run *v, const char *folder, const char *name)
{
	unsigned passed = v->passed;
	unsigned failed = v->failed;
	unsigned skipped = v->skipped;
	char path[4096];
	json_t *root;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	v->file = name;
	root = json_load_file(path, 0, NULL);
	run_begin(v, "the whole file");
	if (run_want(v, root != NULL, "JSON", __FILE__, __LINE__))
		run_root(v, root);
	else
		v->failed++;
	json_decref(root);
	tell_reasons(v);
	printf("%s: %u passed, %u failed, %u skipped\n", name, v->passed - passed,
		v->failed - failed, v->skipped - skipped);
}

static int is_json(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 5 && strcmp(e->d_name + n - 5, ".json") == 0;
}

int main(int argc, char **argv)
{
	struct run v = { .file = "" };
	struct dirent **names;
	int n, i;

	if (argc != 2) {
		fprintf(stderr, "usage: dave_vectors FOLDER\n");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if ((n = scandir(argv[1], &names, is_json, alphasort)) < 0) {
		perror(argv[1]);
		return 1;
	}
	for (i = 0; i < n; i++) {
		run_file(&v, argv[1], names[i]->d_name);
		free(names[i]);
	}
	free(names);
	if (v.passed + v.failed == 0)
		printf("no recorded session in %s\n", argv[1]);
	printf("%u passed, %u failed, %u skipped\n", v.passed, v.failed, v.skipped);
	return v.failed > 0 || v.passed == 0;
}
