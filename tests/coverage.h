/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_COVERAGE_H
#define TD_TESTS_COVERAGE_H

/* A name of unistd.h that sources which do not include it may use. */
#define revoke unistd_revoke
#include <unistd.h>
#undef revoke

/* make coverage includes this before everything else: processes that leave by _exit() write down
 * which lines they ran, too. */
void __gcov_dump(void);
#define _exit(status) (__gcov_dump(), _exit(status))

#endif
