/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_ERR_H
#define TD_COMMON_ERR_H

#include <stdbool.h>

/*
 * One error space in three sizes. A function returns 0 or one of these, never both meanings.
 *
 *    -1 .. -49   costs this packet or message: drop it, count it, carry on
 *   -50 .. -99   costs this peer, session or file
 *  -100 ..       costs this process
 */
enum td_err {
	TD_OK = 0,
	TD_ERR_TRUNCATED = -1,   /* ends before it is complete */
	TD_ERR_MALFORMED = -2,   /* complete, and breaks its format */
	TD_ERR_AUTH = -3,        /* an authentication tag or signature does not verify */
	TD_ERR_DUPLICATE = -4,   /* seen before, or a nonce used twice */
	TD_ERR_LATE = -5,        /* its place has been given up already */
	TD_ERR_UNSUPPORTED = -6, /* well formed, and not something we do */
	TD_ERR_NOKEY = -7,       /* no key for it (yet) */
	TD_ERR_LIMIT = -50,      /* a stated bound was reached */
	TD_ERR_STATE = -51,      /* not allowed now */
	TD_ERR_PEER_GONE = -52,  /* the other side closed or died */
	TD_ERR_IO = -53,         /* a read or write failed; errno holds the cause */
	TD_ERR_USAGE = -54,      /* an option or a record given by the user makes no sense */
	TD_ERR_NOMEM = -101,
	TD_ERR_SYS = -102, /* a system call failed; errno holds the cause */
};

static inline bool td_err_is_fatal(int e)
{
	return e <= -100;
}

/* A short lower-case text for an enum td_err; static, never NULL. */
const char *td_strerror(int e);

#endif
