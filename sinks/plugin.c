/* SPDX-License-Identifier: ISC */
#include "sinks/plugin.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/host.h"
#include "sinks/refuse.h"

enum { LOADED_MAX = 64 };

/* What was loaded before, by what it is and not by what it is called. */
static struct loaded {
	dev_t dev;
	ino_t ino;
	const struct td_plugin *plugin;
} loaded[LOADED_MAX];
static size_t loaded_count;

void plugin_reset(void)
{
	loaded_count = 0;
	registry_reset();
}

/* ---- one file ---- */

/* Why others could have put it there; NULL: only root and we could. */
static const char *foreign(const struct stat *st)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return "belongs to another user";
	if ((st->st_mode & S_IWOTH) != 0 && !(S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX) != 0))
		return "can be written by everybody";
	return NULL;
}

static int check_place(const char *file, const char *real, struct stat *ret, char *err,
	size_t err_len)
{
	char folder[PATH_MAX];
	struct stat st;
	const char *why;

	snprintf(folder, sizeof(folder), "%s", real);
	*(strrchr(folder, '/') + (strrchr(folder, '/') == folder)) = '\0';
	if (stat(real, ret) != 0 || stat(folder, &st) != 0)
		return refuse(TD_ERR_IO, err, err_len, "%s: %s", file, strerror(errno));
	if (!S_ISREG(ret->st_mode))
		return refuse(TD_ERR_UNSUPPORTED, err, err_len, "%s: is not a file", file);
	if ((why = foreign(ret)) != NULL)
		return refuse(TD_ERR_UNSUPPORTED, err, err_len, "%s: not loaded, for it %s", file,
			why);
	if ((why = foreign(&st)) != NULL)
		return refuse(TD_ERR_UNSUPPORTED, err, err_len, "%s: not loaded, for its folder %s",
			file, why);
	return TD_OK;
}

/* Whether all of the file is there that its program headers speak of: the loader maps it unseen,
 * and one that was cut off kills the program. What is no shared object at all the loader says
 * itself. */
static bool is_whole(const char *real)
{
	ElfW(Ehdr) head;
	ElfW(Phdr) part;
	struct stat st;
	bool whole = true;
	int fd = open(real, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return true;
	if (fstat(fd, &st) != 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
		memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_phentsize != sizeof(part))
		goto out;
	for (size_t i = 0; i < head.e_phnum && whole; i++) {
		off_t at = (off_t)(head.e_phoff + i * sizeof(part));

		whole = pread(fd, &part, sizeof(part), at) == sizeof(part) &&
			(part.p_type != PT_LOAD ||
				(part.p_offset <= (uint64_t)st.st_size &&
					part.p_filesz <= (uint64_t)st.st_size - part.p_offset));
	}
out:
	close(fd);
	return whole;
}

/* What dlerror() says without the name of the file, which it mostly begins with. */
static const char *load_error(const char *real)
{
	const char *text = dlerror();
	size_t len = strlen(real);

	if (text == NULL)
		return "no reason given";
	return strncmp(text, real, len) == 0 && text[len] == ':' ? text + len + 2 : text;
}

static int load(const struct td_plugin **ret, const char *file, char *err, size_t err_len)
{
	char real[PATH_MAX], *origin;
	union {
		void *object;
		td_plugin_fn *function;
	} symbol;
	struct stat st;
	void *handle;
	int r;

	if (realpath(file, real) == NULL)
		return refuse(TD_ERR_IO, err, err_len, "%s: %s", file, strerror(errno));
	if ((r = check_place(file, real, &st, err, err_len)) < 0)
		return r;
	for (size_t i = 0; i < loaded_count; i++) {
		if (loaded[i].dev == st.st_dev && loaded[i].ino == st.st_ino) {
			*ret = loaded[i].plugin;
			return TD_OK;
		}
	}
	if (loaded_count == LOADED_MAX)
		return refuse(TD_ERR_LIMIT, err, err_len, "%s: %d plugins are loaded already", file,
			LOADED_MAX);
	if (!is_whole(real))
		return refuse(TD_ERR_UNSUPPORTED, err, err_len,
			"%s: is not all there: it was cut off", file);
	if ((handle = dlopen(real, RTLD_NOW | RTLD_LOCAL)) == NULL)
		return refuse(TD_ERR_UNSUPPORTED, err, err_len, "%s: cannot be loaded: %s", file,
			load_error(real));
	if ((symbol.object = dlsym(handle, TD_PLUGIN_SYMBOL)) == NULL)
		return refuse(TD_ERR_UNSUPPORTED, err, err_len,
			"%s: is no plugin: it has no function " TD_PLUGIN_SYMBOL "()", file);
	if ((*ret = symbol.function(TD_SINK_ABI)) == NULL)
		return refuse(TD_ERR_UNSUPPORTED, err, err_len,
			"%s: does not fit this program, which has ABI %u", file, TD_SINK_ABI);
	if ((origin = strdup(file)) == NULL)
		return refuse(TD_ERR_NOMEM, err, err_len, "%s: %s", file,
			td_strerror(TD_ERR_NOMEM));
	if ((r = registry_add(*ret, origin, err, err_len)) < 0) {
		free(origin);
		return r;
	}
	loaded[loaded_count++] = (struct loaded){ st.st_dev, st.st_ino, *ret };
	return TD_OK;
}

int sink_plugin_load(const char *file, char *err, size_t err_len)
{
	const struct td_plugin *plugin;

	return load(&plugin, file, err, err_len);
}

/* ---- folders ---- */

static int own_folders(int (*folder)(void *user, const char *path), void *user)
{
	char path[PATH_MAX + 32], self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	int r;

	if (n <= 0)
		return 0;
	self[n] = '\0';
	if ((slash = strrchr(self, '/')) == NULL)
		return 0;
	*slash = '\0';
	snprintf(path, sizeof(path), "%s/plugins", self);
	if ((r = folder(user, path)) != 0)
		return r;
	if ((slash = strrchr(self, '/')) == NULL)
		return 0;
	*slash = '\0';
	snprintf(path, sizeof(path), "%s/lib/tapedeck/plugins", self);
	return folder(user, path);
}

int plugin_folders(int (*folder)(void *user, const char *path), void *user)
{
	const char *env = secure_getenv("TAPEDECK_PLUGIN_PATH");
	char *copy, *rest, *path;
	int r = 0;

	if (env == NULL)
		return own_folders(folder, user);
	if ((copy = rest = strdup(env)) == NULL)
		return 0;
	while (r == 0 && (path = strsep(&rest, ":")) != NULL) {
		if (path[0] != '\0')
			r = folder(user, path);
	}
	free(copy);
	return r;
}

/* ---- by name ---- */

struct search {
	const char *name;
	char file[PATH_MAX + 64];
	char folders[400]; /* where it was not */
	int r;
	char *err;
	size_t err_len;
};

/* The first file of that name decides, whether or not it can be loaded. */
static int search_folder(void *user, const char *path)
{
	struct search *s = user;

	snprintf(s->file, sizeof(s->file), "%s/%s.so", path, s->name);
	if (access(s->file, F_OK) != 0) {
		refuse_list(s->folders, sizeof(s->folders), ", ", path);
		return 0;
	}
	s->r = sink_plugin_load(s->file, s->err, s->err_len);
	return 1;
}

static bool is_plain(const char *name)
{
	return name[0] != '\0' && strlen(name) < 32 &&
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

/* Loads the file of this name. PLUGIN_NOWHERE: there is none; err says where it was looked for. */
static int search(struct search *s, const char *name, char *err, size_t err_len)
{
	*s = (struct search){ .name = name, .err = err, .err_len = err_len };
	refuse(0, err, err_len, "%s", "");
	if (!is_plain(name))
		return PLUGIN_NOWHERE;
	if (plugin_folders(search_folder, s) != 0)
		return s->r;
	return refuse(PLUGIN_NOWHERE, err, err_len, "no %s.so in: %s", name, s->folders);
}

static int refuse_sink(const char *name, const char *where, char *err, size_t err_len)
{
	const struct registry_sink *s;
	char known[256] = "";

	for (size_t i = 0; (s = registry_sink_at(i)) != NULL; i++)
		refuse_list(known, sizeof(known), ", ", s->name);
	return refuse(TD_ERR_USAGE, err, err_len, "no sink is called '%.40s'; there is: %s%s%s",
		name, known, where[0] != '\0' ? "; and " : "", where);
}

/* --sink ./meter.so: the one sink that it brings. */
static int sink_of_file(const struct registry_sink **ret, const char *file, char *err,
	size_t err_len)
{
	const struct td_plugin *p;
	int r;

	if ((r = load(&p, file, err, err_len)) < 0)
		return r;
	if (p->sink != NULL && p->track != NULL)
		return refuse(TD_ERR_USAGE, err, err_len,
			"%s: brings two sinks; name one, '%s' or '%s', after --plugin", file,
			p->sink->name, p->track->name);
	if (p->sink == NULL && p->track == NULL)
		return refuse(TD_ERR_USAGE, err, err_len,
			"%s: brings no sink, but the format '%s': --plugin, then file:format=%s",
			file, p->writer->name, p->writer->name);
	*ret = registry_sink(p->sink != NULL ? p->sink->name : p->track->name);
	return TD_OK;
}

int plugin_sink(const struct registry_sink **ret, const char *name, char *err, size_t err_len)
{
	struct search s;
	char why[512];
	int r;

	if (strchr(name, '/') != NULL)
		return sink_of_file(ret, name, err, err_len);
	if ((*ret = registry_sink(name)) != NULL)
		return TD_OK;
	if ((r = search(&s, name, why, sizeof(why))) == PLUGIN_NOWHERE)
		return refuse_sink(name, why, err, err_len);
	if (r < 0)
		return refuse(r, err, err_len, "%s", why);
	if ((*ret = registry_sink(name)) != NULL)
		return TD_OK;
	return refuse(TD_ERR_UNSUPPORTED, err, err_len, "%s: brings no sink '%s'", s.file, name);
}

int plugin_writer(const struct td_writer_ops **ret, const char *format, char *err, size_t err_len)
{
	struct search s;
	int r;

	refuse(0, err, err_len, "%s", "");
	if ((*ret = registry_writer(format)) != NULL)
		return TD_OK;
	if ((r = search(&s, format, err, err_len)) != TD_OK)
		return r;
	if ((*ret = registry_writer(format)) != NULL)
		return TD_OK;
	return refuse(TD_ERR_UNSUPPORTED, err, err_len, "%s: brings no writer '%s'", s.file,
		format);
}

/* ---- all of them ---- */

struct sweep {
	void (*refused)(void *user, const char *reason);
	void *user;
};

static int is_object(const struct dirent *e)
{
	size_t len = strlen(e->d_name);

	return len > 3 && e->d_name[0] != '.' && strcmp(e->d_name + len - 3, ".so") == 0;
}

static int sweep_folder(void *user, const char *path)
{
	struct sweep *s = user;
	struct dirent **entries;
	int n = scandir(path, &entries, is_object, alphasort);

	if (n < 0 && errno != ENOENT) {
		char reason[512];

		refuse(0, reason, sizeof(reason), "%s: %s", path, strerror(errno));
		s->refused(s->user, reason);
	}
	for (int i = 0; i < n; i++) {
		char file[PATH_MAX], reason[512];

		snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
		free(entries[i]);
		if (sink_plugin_load(file, reason, sizeof(reason)) < 0)
			s->refused(s->user, reason);
	}
	if (n >= 0)
		free(entries);
	return 0;
}

void plugin_load_all(void (*refused)(void *user, const char *reason), void *user)
{
	struct sweep s = { refused, user };

	plugin_folders(sweep_folder, &s);
}
