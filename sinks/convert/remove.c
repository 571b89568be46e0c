/* SPDX-License-Identifier: ISC */
#include "sinks/convert/remove.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "sinks/convert/source.h"

static void remove_one(const char *path, remove_tell_fn *tell, void *user)
{
	tell(user, path, unlink(path) == 0 ? NULL : strerror(errno));
}

static void remove_job(const struct job *job, bool raw, remove_tell_fn *tell, void *user)
{
	char beside[SOURCE_PATH_MAX];

	for (size_t i = 0; i < job->tracks[0].part_count; i++) {
		const char *path = job->tracks[0].parts[i].path;

		if (strcmp(path, "-") == 0)
			continue;
		/* Looked for while what it describes is there. */
		if (raw && source_is_raw_name(path) && source_beside(beside, path) == 0)
			remove_one(beside, tell, user);
		remove_one(path, tell, user);
	}
}

void remove_inputs(const struct plan *plan, const struct job *ended, remove_tell_fn *tell,
	void *user)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct job *job = &plan->jobs[i];

		if (job->group == ended->group && (job->state != JOB_DONE || !job->deletable)) {
			/* Told once, when nothing of the group is still to come. */
			if (job == ended && job->state == JOB_DONE)
				tell(user, job->input,
					"kept: it or its output could not be checked completely");
			return;
		}
	}
	for (size_t i = 0; i < plan->count; i++) {
		if (plan->jobs[i].group == ended->group)
			remove_job(&plan->jobs[i], !plan->jobs[i].mix, tell, user);
	}
}
