/* SPDX-License-Identifier: ISC */
#include "tests/voiceserver/dave.h"
#include "common/err.h"

enum { DAVE_KEY_PACKAGE = 26, DAVE_COMMIT_WELCOME = 28 };

int dave_version(const struct session *s)
{
	(void)s;
	return 0;
}

bool dave_admits(bool require_dave, int64_t max_version)
{
	return !require_dave || max_version >= 1;
}

void dave_text(struct session *s, int op, json_t *d)
{
	(void)s;
	(void)op;
	(void)d;
}

int dave_binary(struct session *s, const uint8_t *data, size_t len)
{
	(void)s;
	if (len < 1 || (data[0] != DAVE_KEY_PACKAGE && data[0] != DAVE_COMMIT_WELCOME))
		return TD_ERR_UNSUPPORTED;
	return TD_OK;
}
