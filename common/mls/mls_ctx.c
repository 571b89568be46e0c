/* SPDX-License-Identifier: ISC */
#include "common/mls/mls_ctx.h"

#include <sodium.h>

#include "common/locked.h"

int mls_random_system(void *user, uint8_t *out, size_t n)
{
	(void)user;
	if (sodium_init() < 0)
		return TD_ERR_SYS;
	randombytes_buf(out, n);
	return TD_OK;
}

void *mls_secret_new(size_t n)
{
	return locked_new(n);
}

void mls_secret_free(void *p)
{
	locked_free(p);
}
