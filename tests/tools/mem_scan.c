/* SPDX-License-Identifier: ISC */

/*
 * mem_scan SECRETS PID|FILE...: looks for secrets in the memory of processes, and in files. Each
 * find is a line on standard output: whose, where, which secret, in which form. Exit status: 0
 * nothing was found, 1 something was, 2 it could not be looked for.
 * mem_scan --dump FILE PID: keeps all readable memory of a process, to be looked through later.
 *
 * SECRETS is a file of lines: NAME text VALUE, or NAME key HEX. A key is looked for as its bytes,
 * as hexadecimal text, as base64, and as the numbers of a JSON array; all of it in pieces, so that
 * a copy that is overwritten in part is found as well.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_NEEDLES = 4096, PIECE = 12, STEP = 4, NUMBERS = 7, BLOCK = 1 << 20, OVERLAP = 64 };

struct needle {
	char name[48];
	const char *form;
	size_t len;
	unsigned char bytes[64];
};

static struct needle needles[MAX_NEEDLES];
static size_t needle_count;
static unsigned char starts[1 << 16][2]; /* index of a needle that begins with these bytes, + 1 */
static uint16_t next_of[MAX_NEEDLES];
static unsigned found;

static void add(const char *name, const char *form, const void *bytes, size_t len)
{
	struct needle *n = &needles[needle_count];

	if (needle_count == MAX_NEEDLES || len > sizeof(n->bytes) || len < 2) {
		fprintf(stderr, "mem_scan: too many secrets\n");
		exit(2);
	}
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->form = form;
	n->len = len;
	memcpy(n->bytes, bytes, len);
	needle_count++;
}

static void add_pieces(const char *name, const char *form, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;
	size_t at;

	for (at = 0; at == 0 || at + PIECE <= len; at += STEP)
		add(name, form, p + at, len < PIECE ? len : PIECE);
}

static void add_key(const char *name, const char *hex)
{
	unsigned char key[256];
	char text[1024];
	size_t len, i, k, n;

	if (sodium_hex2bin(key, sizeof(key), hex, strlen(hex), NULL, &len, NULL) != 0 || len == 0) {
		fprintf(stderr, "mem_scan: %s: not hexadecimal\n", name);
		exit(2);
	}
	add_pieces(name, "bytes", key, len);
	sodium_bin2hex(text, sizeof(text), key, len);
	add_pieces(name, "hexadecimal", text, strlen(text));
	for (i = 0; i < 3 && i < len; i++) { /* base64 of what it may stand in the middle of */
		sodium_bin2base64(text, sizeof(text), key + i, (len - i) / 3 * 3,
			sodium_base64_VARIANT_ORIGINAL);
		add_pieces(name, "base64", text, strlen(text));
	}
	for (i = 0; i + NUMBERS <= len; i += 2) {
		for (k = 0; k < 2; k++) {
			for (n = 0, *text = '\0'; n < NUMBERS; n++)
				snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u",
					n == 0           ? ""
						: k == 0 ? ","
							 : ", ",
					key[i + n]);
			add(name, "numbers", text, strlen(text));
		}
	}
}

static void read_secrets(const char *path)
{
	char line[2048], name[48], kind[8], value[1024];
	FILE *f = fopen(path, "r");
	size_t i;

	if (f == NULL) {
		fprintf(stderr, "mem_scan: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%47s %7s %1023s", name, kind, value) != 3)
			continue;
		if (strcmp(kind, "key") == 0)
			add_key(name, value);
		else
			add_pieces(name, "text", value, strlen(value));
	}
	fclose(f);
	if (needle_count == 0) {
		fprintf(stderr, "mem_scan: %s: no secrets in it\n", path);
		exit(2);
	}
	for (i = 0; i < needle_count; i++) {
		unsigned char *start = starts[needles[i].bytes[0] << 8 | needles[i].bytes[1]];

		next_of[i] = (uint16_t)(start[0] << 8 | start[1]);
		start[0] = (unsigned char)((i + 1) >> 8);
		start[1] = (unsigned char)(i + 1);
	}
}

static void show(const char *where, uint64_t at, const struct needle *n, const unsigned char *p,
	const unsigned char *lo, const unsigned char *hi)
{
	const unsigned char *from = p - lo > 24 ? p - 24 : lo, *to = hi - p > 64 ? p + 64 : hi;

	found++;
	printf("%s 0x%llx: %s, as %s: ", where, (unsigned long long)at, n->name, n->form);
	for (; from < to; from++)
		putchar(isprint(*from) ? *from : '.');
	putchar('\n');
}

/* `base`: where data[0] is. */
static void search(const char *where, uint64_t base, const unsigned char *data, size_t len)
{
	size_t at, quiet_until = 0;
	uint16_t i;

	for (at = 0; at + 1 < len; at++) {
		const unsigned char *start = starts[data[at] << 8 | data[at + 1]];

		for (i = (uint16_t)(start[0] << 8 | start[1]); i != 0; i = next_of[i - 1]) {
			const struct needle *n = &needles[i - 1];

			if (len - at < n->len || memcmp(data + at, n->bytes, n->len) != 0)
				continue;
			if (at >= quiet_until) /* pieces of what was shown are no news */
				show(where, base + at, n, data + at, data, data + len);
			quiet_until = at + n->len + 64;
			break;
		}
	}
}

/* Reads what can be read. The end of a block is looked at again with the next one, so that nothing
 * is cut in two; what lies whole in it is shown twice then. */
static void search_fd(int fd, const char *where, uint64_t from, uint64_t to)
{
	static unsigned char block[BLOCK];

	while (from < to) {
		ssize_t n = pread(fd, block, to - from < BLOCK ? to - from : BLOCK, (off_t)from);

		if (n <= 0)
			return;
		search(where, from, block, (size_t)n);
		from += n > OVERLAP && from + (uint64_t)n < to ? (uint64_t)n - OVERLAP
							       : (uint64_t)n;
	}
}

/* 0, or -1: the process cannot be looked into. */
static int each_region(const char *pid, void (*take)(void *, int, const char *, uint64_t, uint64_t),
	void *user)
{
	char path[64], line[512], where[600];
	unsigned long long from, to;
	int fd, name_at, regions = 0;
	char mode[8];
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%.20s/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%.20s/maps", pid);
	maps = fopen(path, "r");
	while (fd >= 0 && maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
		if (sscanf(line, "%llx-%llx %7s %*s %*s %*s %n", &from, &to, mode, &name_at) < 3 ||
			mode[0] != 'r' || strstr(line, "[vvar") != NULL)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(where, sizeof(where), "%.20s %s", pid, line + name_at);
		take(user, fd, where, from, to);
		regions++;
	}
	if (maps != NULL)
		fclose(maps);
	if (fd >= 0)
		close(fd);
	return regions > 0 ? 0 : -1;
}

static void take_search(void *user, int fd, const char *where, uint64_t from, uint64_t to)
{
	(void)user;
	search_fd(fd, where, from, to);
}

static void take_dump(void *user, int fd, const char *where, uint64_t from, uint64_t to)
{
	static unsigned char block[BLOCK];

	(void)where;
	while (from < to) {
		ssize_t n = pread(fd, block, to - from < BLOCK ? to - from : BLOCK, (off_t)from);

		if (n <= 0)
			return;
		fwrite(block, 1, (size_t)n, user);
		from += (size_t)n;
	}
}

static int dump(const char *path, const char *pid)
{
	FILE *out = fopen(path, "w");
	int r = -1;

	if (out != NULL) {
		r = each_region(pid, take_dump, out);
		if (ferror(out) != 0 || fclose(out) != 0)
			r = -1;
	}
	return r == 0 ? 0 : 2;
}

static int look_in(const char *what)
{
	struct stat st;
	int fd;

	if (strspn(what, "0123456789") == strlen(what))
		return each_region(what, take_search, NULL);
	if ((fd = open(what, O_RDONLY | O_CLOEXEC)) < 0)
		return -1;
	if (fstat(fd, &st) == 0)
		search_fd(fd, what, 0,
			S_ISREG(st.st_mode) && st.st_size > 0 ? (uint64_t)st.st_size : BLOCK);
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	int i;

	if (argc == 4 && strcmp(argv[1], "--dump") == 0)
		return dump(argv[2], argv[3]);
	if (argc < 3 || sodium_init() < 0) {
		fprintf(stderr,
			"usage: mem_scan SECRETS PID|FILE...\n"
			"       mem_scan --dump FILE PID\n");
		return 2;
	}
	read_secrets(argv[1]);
	for (i = 2; i < argc; i++) {
		if (look_in(argv[i]) != 0) {
			fprintf(stderr, "mem_scan: %s: %s\n", argv[i], strerror(errno));
			return 2;
		}
	}
	return found > 0 ? 1 : 0;
}
