/* SPDX-License-Identifier: ISC */
#include "common/err.h"

const char *td_strerror(int e)
{
	switch (e) {
	case TD_OK:
		return "ok";
	case TD_ERR_TRUNCATED:
		return "truncated";
	case TD_ERR_MALFORMED:
		return "malformed";
	case TD_ERR_AUTH:
		return "authentication failed";
	case TD_ERR_DUPLICATE:
		return "duplicate";
	case TD_ERR_LATE:
		return "too late";
	case TD_ERR_UNSUPPORTED:
		return "not supported";
	case TD_ERR_NOKEY:
		return "no key";
	case TD_ERR_LIMIT:
		return "limit reached";
	case TD_ERR_STATE:
		return "not allowed in this state";
	case TD_ERR_PEER_GONE:
		return "peer is gone";
	case TD_ERR_IO:
		return "input/output error";
	case TD_ERR_USAGE:
		return "wrong usage";
	case TD_ERR_NOMEM:
		return "out of memory";
	case TD_ERR_SYS:
		return "system call failed";
	}
	return "unknown error";
}
