/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_OPTIONS_H
#define TD_TESTS_VOICESERVER_OPTIONS_H

#include "common/transport.h"
#include "tests/voiceserver/certs.h"
#include "tests/voiceserver/scenario.h"

/* The command line. Paths are borrowed from argv, NULL when not given. */
struct options {
	struct scenario *scenario;
	const char *ca_out, *join_out, *rogue, *truth, *pcap, *keys_out;
	enum certs_kind certs;
	enum transport_mode mode; /* TRANSPORT_MODES: not given */
	double max_seconds;
	bool offline, help, verbose;
};

/* TD_ERR_USAGE and a reason in err, TD_ERR_NOMEM, TD_ERR_IO. The scenario is the caller's to
 * free. */
int options_parse(struct options *ret, int argc, char **argv, char err[static FIELDS_ERR_LEN]);
extern const char options_help[];

#endif
