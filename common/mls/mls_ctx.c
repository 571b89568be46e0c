/* SPDX-License-Identifier: ISC */
#include "common/mls/mls_ctx.h"

#include <sodium.h>

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
	void *p;

	if (sodium_init() < 0) /* guarded memory needs the page size it finds out */
		return NULL;
	p = sodium_malloc(n);
	if (p != NULL)
		sodium_memzero(p, n);
	return p;
}

void mls_secret_free(void *p)
{
	sodium_free(p);
}
