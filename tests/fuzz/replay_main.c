/* SPDX-License-Identifier: ISC */
/* Runs a fuzz target without a fuzzer: on every file given, and every file of a folder given. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned inputs;

static int fail(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	return 1;
}

static int run_file(const char *path, size_t size)
{
	FILE *f = fopen(path, "rb");
	/* Of exactly the input's size, so that a sanitizer sees one byte too many. */
	uint8_t *data = malloc(size > 0 ? size : 1);
	int r = 1;

	if (f == NULL || data == NULL || fread(data, 1, size, f) != size) {
		fail(path);
		goto out;
	}
	fprintf(stderr, "%s\n", path); /* the last one named is the one that failed */
	LLVMFuzzerTestOneInput(data, size);
	inputs++;
	r = 0;
out:
	free(data);
	if (f != NULL)
		fclose(f);
	return r;
}

static int run(const char *path)
{
	char inner[PATH_MAX];
	struct dirent **names;
	struct stat st;
	int i, n, r = 0;

	if (stat(path, &st) != 0)
		return fail(path);
	if (!S_ISDIR(st.st_mode))
		return run_file(path, (size_t)st.st_size);
	if ((n = scandir(path, &names, NULL, alphasort)) < 0)
		return fail(path);
	for (i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.') {
			snprintf(inner, sizeof(inner), "%s/%s", path, names[i]->d_name);
			r |= run(inner);
		}
		free(names[i]);
	}
	free(names);
	return r;
}

int main(int argc, char **argv)
{
	int i, r = 0;

	for (i = 1; i < argc; i++)
		r |= run(argv[i]);
	if (inputs == 0)
		r = 1;
	printf("%s 1 - %u inputs\n1..1\n", r == 0 ? "ok" : "not ok", inputs);
	return r;
}
