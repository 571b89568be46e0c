/* SPDX-License-Identifier: ISC */
#include "common/capabilities.h"

#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/err.h"

/* Capabilities are numbered without gaps; the kernel knows no number behind its last one. */
int capabilities_bound(void)
{
	int cap, there;

	for (cap = 0; (there = prctl(PR_CAPBSET_READ, cap, 0, 0, 0)) >= 0; cap++) {
		if (there > 0 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno != EPERM)
			return TD_ERR_SYS;
	}
	return TD_OK;
}

int capabilities_drop(void)
{
	struct __user_cap_header_struct hdr = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = { { 0, 0, 0 } };
	size_t i;

	/* The bounding set first: CAP_SETPCAP goes with the others. */
	if (capabilities_bound() != TD_OK ||
		prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 ||
		syscall(SYS_capset, &hdr, sets) != 0 || syscall(SYS_capget, &hdr, sets) != 0)
		return TD_ERR_SYS;
	for (i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		if ((sets[i].effective | sets[i].permitted | sets[i].inheritable) != 0) {
			errno = EPERM;
			return TD_ERR_SYS;
		}
	}
	return TD_OK;
}
