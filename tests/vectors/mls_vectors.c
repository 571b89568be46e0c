/* SPDX-License-Identifier: ISC */
/*
 * mls_vectors FOLDER: runs the vector files of the MLS working group (RFC 9420) it finds in the
 * folder, by name. What to skip is decided by what a case holds, and said. The last line counts;
 * exit status 1 if anything failed or nothing was found.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/vectors/mls_run.h"

struct memory {
	struct memory *next;
	uint8_t bytes[];
};

struct vector_file {
	const char *name;
	bool any_suite; /* cases without a suite, or where the suite's keys are opaque */
	void (*run)(struct run *v);
};

static const struct vector_file files[] = {
	{ "tree-math.json", true, run_tree_math },
	{ "deserialization.json", true, run_deserialization },
	{ "crypto-basics.json", false, run_crypto_basics },
	{ "psk_secret.json", false, run_psk_secret_case },
	{ "key-schedule.json", false, run_key_schedule },
	{ "transcript-hashes.json", false, run_transcript_hashes },
	{ "secret-tree.json", false, run_secret_tree },
	{ "tree-operations.json", true, run_tree_operations },
	{ "tree-validation.json", false, run_tree_validation },
	{ "treekem.json", false, run_treekem },
	{ "message-protection.json", false, run_message_protection },
	{ "messages.json", true, run_messages },
	{ "welcome.json", false, run_welcome },
	{ "passive-client-welcome.json", false, run_passive_client },
	{ "passive-client-handling-commit.json", false, run_passive_client },
	{ "passive-client-random.json", false, run_passive_client },
};

void *run_hold(struct run *v, size_t n)
{
	struct memory *m = calloc(1, sizeof(*m) + n);

	if (m == NULL) {
		fputs("mls_vectors: out of memory\n", stderr);
		exit(1);
	}
	m->next = v->held;
	v->held = m;
	return m->bytes;
}

static void release(struct run *v)
{
	struct memory *m;

	while ((m = v->held) != NULL) {
		v->held = m->next;
		free(m);
	}
}

bool run_want(struct run *v, bool ok, const char *what, const char *file, int line)
{
	v->checks++;
	if (ok)
		return true;
	printf("FAIL %s case %zu: %s (%s:%d)%s%s\n", v->file, v->index, what, file, line,
		v->cx.why != NULL ? ": " : "", v->cx.why != NULL ? v->cx.why : "");
	v->failed++;
	return false;
}

/* Reasons are told once per file, with the number of times: a full set skips thousands. */
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

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct mls_span run_hex_value(struct run *v, const json_t *value)
{
	const char *s = json_string_value(value);
	uint8_t *out;
	size_t n;
	size_t i;

	if (json_is_null(value))
		return mls_span(NULL, 0);
	if (!run_want(v, s != NULL && strlen(s) % 2 == 0, "bytes in hex", __FILE__, __LINE__))
		return mls_span(NULL, 0);
	n = strlen(s) / 2;
	out = run_hold(v, n + 1);
	for (i = 0; i < n; i++) {
		if (nibble(s[2 * i]) < 0 || nibble(s[2 * i + 1]) < 0) {
			run_want(v, false, "bytes in hex", __FILE__, __LINE__);
			return mls_span(NULL, 0);
		}
		out[i] = (uint8_t)(nibble(s[2 * i]) << 4 | nibble(s[2 * i + 1]));
	}
	return mls_span(out, n);
}

struct mls_span run_hex(struct run *v, const json_t *o, const char *key)
{
	json_t *value = json_object_get(o, key);

	if (!run_want(v, value != NULL, key, __FILE__, __LINE__))
		return mls_span(NULL, 0);
	return run_hex_value(v, value);
}

uint64_t run_number(struct run *v, const json_t *o, const char *key)
{
	json_t *value = json_object_get(o, key);

	run_want(v, json_is_integer(value), key, __FILE__, __LINE__);
	return (uint64_t)json_integer_value(value);
}

const char *run_text(struct run *v, const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	run_want(v, s != NULL, key, __FILE__, __LINE__);
	return s != NULL ? s : "";
}

json_t *run_array(struct run *v, const json_t *o, const char *key)
{
	json_t *value = json_object_get(o, key);

	run_want(v, json_is_array(value), key, __FILE__, __LINE__);
	return value;
}

const uint8_t *run_fixed(struct run *v, const json_t *o, const char *key, size_t n)
{
	static const uint8_t zeros[64];
	struct mls_span s = run_hex(v, o, key);

	return run_want(v, s.len == n, key, __FILE__, __LINE__) ? s.p : zeros;
}

/* The counters of a case are its runner's if it counted anything, else the case is one unit. */
static void run_case(struct run *v, const struct vector_file *f)
{
	unsigned failed = v->failed;
	unsigned before = v->passed + v->failed + v->skipped;
	char why[64];
	json_t *suite = json_object_get(v->c, "cipher_suite");

	v->checks = 0;
	v->cx.why = NULL;
	if (suite != NULL && !f->any_suite && json_integer_value(suite) != MLS_SUITE) {
		snprintf(why, sizeof(why), "cipher suite %d", (int)json_integer_value(suite));
		run_skip(v, why);
		return;
	}
	f->run(v);
	if (v->passed + v->failed + v->skipped == before &&
		run_want(v, v->checks > 0, "something compared", __FILE__, __LINE__))
		v->passed++;
	if (v->failed > failed + 1)
		v->failed = failed + 1; /* a case fails once, whatever follows from it */
	release(v);
}

/* False when the file is not there. */
static bool run_file(const char *folder, const struct vector_file *f, struct run *v)
{
	char path[4096];
	json_error_t error;
	json_t *root;
	unsigned passed = v->passed;
	unsigned failed = v->failed;
	unsigned skipped = v->skipped;
	FILE *in;

	snprintf(path, sizeof(path), "%s/%s", folder, f->name);
	v->file = f->name;
	v->index = 0;
	if ((in = fopen(path, "rb")) == NULL) {
		printf("absent: %s\n", f->name);
		return false;
	}
	root = json_loadf(in, 0, &error);
	fclose(in);
	if (run_want(v, json_is_array(root) && json_array_size(root) > 0, "an array of cases",
		    __FILE__, __LINE__))
		json_array_foreach(root, v->index, v->c) run_case(v, f);
	json_decref(root);
	tell_reasons(v);
	printf("%s: %u passed, %u failed, %u skipped\n", f->name, v->passed - passed,
		v->failed - failed, v->skipped - skipped);
	return true;
}

int main(int argc, char **argv)
{
	struct run v = { .cx = { .random = mls_random_system } };
	unsigned found = 0;
	size_t i;

	if (argc != 2) {
		fprintf(stderr, "usage: mls_vectors FOLDER\n");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		found += run_file(argv[1], &files[i], &v);
	if (found == 0)
		printf("no vector file in %s\n", argv[1]);
	printf("%u passed, %u failed, %u skipped\n", v.passed, v.failed, v.skipped);
	return v.failed > 0 || found == 0;
}
