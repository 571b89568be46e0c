/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MLS_CTX_H
#define TD_COMMON_MLS_CTX_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/*
 * What the MLS code needs from outside, and where it says why it refused something. There is no
 * clock in it: lifetimes of leaves are not judged (members of a DAVE group do not).
 *
 * One context per thread; the caller owns it, every function only borrows it for the call.
 *
 * All keys, path secrets and epoch secrets we make come from `random`. One thing does not: the
 * per-signature nonce of ECDSA is drawn inside libcrypto, so signatures differ from run to run
 * even when `random` does not.
 */
struct mls_ctx {
	/* Fills out with n unpredictable bytes; 0, or a negative TD_ERR_* that is passed on. */
	int (*random)(void *user, uint8_t *out, size_t n);
	void *user;
	/* Set by every call that fails with a reason worth a log line: static text without data
	 * from the message. Stays until the next refusal, and may stay through a TD_ERR_NOMEM;
	 * clear it yourself if that matters. */
	const char *why;
};

/* Notes the reason and returns r, for `return mls_fail(cx, TD_ERR_AUTH, "...")`. */
static inline int mls_fail(struct mls_ctx *cx, int r, const char *why)
{
	cx->why = r == TD_ERR_NOMEM ? "out of memory" : why;
	return r;
}

/* A `random` for struct mls_ctx on the system's generator (libsodium). */
int mls_random_system(void *user, uint8_t *out, size_t n);

/*
 * Secrets that outlive one function live in memory from here: common/locked.h. What a single
 * function needs in passing is on its stack and wiped before it returns. (Inside libcrypto, private
 * keys are on its heap for the time of a call.)
 */
void *mls_secret_new(size_t n); /* n zero bytes, or NULL */
void mls_secret_free(void *p);  /* wipes; NULL is fine */

#endif
