/* SPDX-License-Identifier: ISC */
#include "receiver/harden.h"

#include <errno.h>
#include <grp.h>
#include <jansson.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/capabilities.h"
#include "common/err.h"
#include "receiver/wipe.h"

struct ids {
	uid_t uid;
	gid_t gid;
};

/* As root there is no limit but the one we take down here; a plain user has some. */
static void allow_locking(void)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	if (setrlimit(RLIMIT_MEMLOCK, &limit) == 0 || getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_MEMLOCK, &limit);
}

void harden(void)
{
	const struct rlimit none = { 0, 0 };

	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &none);
	umask(077);
	allow_locking();
	json_set_alloc_funcs(wipe_malloc, wipe_free);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow costs that file */
}

/* ---- another user ---- */

/* All digits, and a number that is an id: (uid_t)-1 stands for none. */
static bool parse_id(unsigned *ret, const char *text)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || n >= UINT32_MAX)
		return false;
	*ret = (unsigned)n;
	return true;
}

static int find_group(struct ids *ids, const char *name, char *err, size_t err_len)
{
	const struct group *group;
	unsigned gid;

	if (parse_id(&gid, name)) {
		ids->gid = gid;
	} else if ((group = getgrnam(name)) != NULL) {
		ids->gid = group->gr_gid;
	} else {
		snprintf(err, err_len, "no such group: %s", name);
		return TD_ERR_USAGE;
	}
	return TD_OK;
}

static int find_user(struct ids *ids, const char *name, const char *group, char *err,
	size_t err_len)
{
	const struct passwd *user;
	unsigned uid;
	bool number = parse_id(&uid, name);

	user = number ? getpwuid(uid) : getpwnam(name);
	if (user == NULL && !number) {
		snprintf(err, err_len, "no such user: %s", name);
		return TD_ERR_USAGE;
	}
	if (user == NULL && group == NULL) {
		snprintf(err, err_len, "user %s is in no list, so a group is needed: %s:GID", name,
			name);
		return TD_ERR_USAGE;
	}
	ids->uid = number ? uid : user->pw_uid;
	if (user != NULL)
		ids->gid = user->pw_gid;
	return group != NULL ? find_group(ids, group, err, err_len) : TD_OK;
}

static int parse_user(struct ids *ids, const char *text, char *err, size_t err_len)
{
	char *name = strdup(text), *colon = name != NULL ? strchr(name, ':') : NULL;
	int r = TD_ERR_NOMEM;

	if (name == NULL) {
		snprintf(err, err_len, "out of memory");
		return r;
	}
	if (colon != NULL)
		*colon = '\0';
	r = find_user(ids, name, colon != NULL ? colon + 1 : NULL, err, err_len);
	if (r == TD_OK && (ids->uid == 0 || ids->gid == 0)) {
		snprintf(err, err_len, "%s is what it is to be given up",
			ids->uid == 0 ? "root" : "root's group");
		r = TD_ERR_USAGE;
	}
	free(name);
	return r;
}

/* Nothing of root is left, and there is no way back. */
static bool is_only(const struct ids *ids)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	return getresuid(&ruid, &euid, &suid) == 0 && getresgid(&rgid, &egid, &sgid) == 0 &&
		ruid == ids->uid && euid == ids->uid && suid == ids->uid && rgid == ids->gid &&
		egid == ids->gid && sgid == ids->gid && getgroups(0, NULL) == 0 && setuid(0) != 0 &&
		seteuid(0) != 0 && setgid(0) != 0 && setegid(0) != 0;
}

int harden_become(const char *user, char *err, size_t err_len)
{
	struct ids ids = { 0, 0 };
	int r;

	if ((r = parse_user(&ids, user, err, err_len)) != TD_OK)
		return r;
	if (geteuid() != 0) {
		snprintf(err, err_len, "only root can become another user");
		return TD_ERR_STATE;
	}
	errno = 0;
	/* The bounding set goes while we still may take from it; the ids need capabilities of their
	 * own, and go before the rest. */
	if (setgroups(0, NULL) != 0 || setresgid(ids.gid, ids.gid, ids.gid) != 0 ||
		capabilities_bound() != TD_OK || setresuid(ids.uid, ids.uid, ids.uid) != 0 ||
		capabilities_drop() != TD_OK || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		/* The kernel may make a process that changes its user dumpable again. */
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || !is_only(&ids)) {
		snprintf(err, err_len, "root cannot be given up: %s", strerror(errno));
		return TD_ERR_SYS;
	}
	return TD_OK;
}
