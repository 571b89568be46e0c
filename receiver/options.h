/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_OPTIONS_H
#define TD_RECEIVER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sinks/host.h"

/* The command line of receiver. Exit statuses are its contract with scripts. */
enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1, /* failed while running */
	EXIT_WRONG_USAGE = 2,
	EXIT_TURNED_AWAY = 3, /* new connection info is needed, or the server will not have us */
	EXIT_AT_ONCE = 130,   /* a second SIGINT or SIGTERM */
};

enum { OPTIONS_MAX_SINKS = 16, OPTIONS_MAX_PLUGINS = 32, OPTIONS_MAX_WORKERS = 256 };

struct options {
	const char *join;   /* a file, or "-" */
	const char *replay; /* a capture */
	const char *keys;
	const char *ca_file, *out, *session_name;
	const char *plugins[OPTIONS_MAX_PLUGINS], *sink_texts[OPTIONS_MAX_SINKS];
	struct sink_spec *sinks[OPTIONS_MAX_SINKS];
	size_t plugin_count, sink_count;
	unsigned workers, latency_ms;
	uint64_t duration_ns; /* 0: no end */
	uint64_t min_free;    /* bytes; 0: the disk may be filled */
	uint64_t rejoin_timeout_ns;
	const char *user; /* who we have become; NULL: who we were */
	bool latency_given, list_sinks, realtime, events, log_json, verbose, quiet;
};

/* Reads the command line; strings are borrowed from argv. Returns -1 to go on, or the exit status
 * when all is said (help, version, an error and its reason). Free with options_free(). */
int options_parse(struct options *ret, int argc, char **argv);
void options_free(struct options *o);

#endif
