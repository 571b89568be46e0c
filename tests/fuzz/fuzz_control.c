/* SPDX-License-Identifier: ISC */
/* Control lines: any bytes; what comes out is whole and says no secret. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "receiver/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static bool ends_within(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static void check_good(const struct control *c, uint64_t guild)
{
	const struct connection_info *i = &c->info;

	check(ends_within(i->token, sizeof(i->token)) && ends_within(i->host, sizeof(i->host)) &&
		ends_within(i->session_id, sizeof(i->session_id)));
	if (c->type == CONTROL_IGNORED) {
		check(i->guild_id == 0 && i->token[0] == '\0' && i->host[0] == '\0');
		return;
	}
	check(i->guild_id != 0 && guild != 0);
	if (c->type == CONTROL_INFO)
		check(i->channel_id != 0 && i->user_id != 0 && i->token[0] != '\0' &&
			i->session_id[0] != '\0' && i->host[0] != '\0' && i->port != 0);
	if (c->type == CONTROL_EXPECT)
		check(i->user_id != 0 && i->token[0] == '\0' && i->host[0] == '\0');
	if (c->type == CONTROL_VOICE_SERVER)
		check(c->gone ? i->host[0] == '\0' : i->host[0] != '\0' && i->port != 0);
	if (i->host[0] != '\0' && !i->tls)
		check(strncmp(i->host, "127.", 4) == 0 || strchr(i->host, ':') != NULL ||
			(i->host[0] | 0x20) == 'l');
	check(strpbrk(i->host, "/?#@ []") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* An exact copy, so that reading one byte too far shows. */
	char *line = malloc(size + (size == 0)), err[64];
	struct control c;
	uint64_t guild = 1;
	int r;

	check(line != NULL);
	if (size > 0)
		memcpy(line, data, size);
	memset(&c, 0, sizeof(c));
	memset(err, 1, sizeof(err));
	r = control_parse(&c, &guild, line, size, err, sizeof(err));
	check(r == TD_OK || r == TD_ERR_USAGE);
	if (r == TD_OK)
		check_good(&c, guild);
	else
		check(ends_within(err, sizeof(err)) && err[0] != '\0');
	connection_info_wipe(&c.info);
	free(line);
	return 0;
}
