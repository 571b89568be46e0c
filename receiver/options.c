/* SPDX-License-Identifier: ISC */
#include "receiver/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "receiver/harden.h"

/* A packet may wait: a wake-up costs more than the packets it is for. A few milliseconds where a
 * plugin may want to hear what is said while it is said; longer for files, which are made to last
 * twice a second. */
enum { SESSION_NAME_MAX = 191, LATENCY_MS = 4, LATENCY_FILES_MS = 100, LATENCY_MAX_MS = 100 };
#define SIZE_LIMIT (UINT64_C(1) << 50)

static const char usage[] =
	"Usage: %1$s --join FILE|- [OPTION]...\n"
	"       %1$s --replay CAPTURE --keys FILE [OPTION]...\n"
	"\n"
	"Records a Discord voice call: one aligned file per speaker, and session.json.\n"
	"\n"
	"Where the call comes from:\n"
	"  --join FILE           connection info, a JSON object a line, a guild each\n"
	"  --join -              the same and commands from standard input while it runs\n"
	"  --replay CAPTURE      a capture file (pcap or pcapng) instead of the network\n"
	"  --keys FILE           keys and speakers of the capture\n"
	"  --realtime            replay at the speed of the capture\n"
	"\n"
	"What becomes of it:\n"
	"  --out DIR             folder of the recordings (default: recordings)\n"
	"  --session-name NAME   folder of this session (default: guild-channel-start)\n"
	"  --sink SPEC           NAME[:key=value,...], repeatable (default: file)\n"
	"  --min-free SIZE       stop when less is left on the disk (500M; default: off)\n"
	"  --plugin FILE         load sinks and formats of a shared object, repeatable\n"
	"  --list-sinks          sinks, formats and their options, plugins' too\n"
	"\n"
	"How it runs:\n"
	"  --workers N           unpacker processes (default: number of CPUs; 1 for a replay)\n"
	"  --latency MS          how long a packet may wait for others, 0 to 100 (default:\n"
	"                        100 where all sinks are built in, else 4)\n"
	"  --duration SECONDS    stop after this much recording\n"
	"  --user NAME[:GROUP]   started as root: become this user before anything else\n"
	"  --rejoin-timeout SECONDS  wait for new connection info on stdin (default: 60)\n"
	"  --ca-file PEM         trust these roots too\n"
	"  --events              events as JSON lines on standard output\n"
	"  --log-format text|json\n"
	"  -v, --verbose         say more\n"
	"  -q, --quiet           say only what went wrong\n"
	"  -h, --help            this text\n"
	"  -V, --version         version\n"
	"\n"
	"A sink or format that is not built in is looked for as NAME.so in the folders of\n"
	"TAPEDECK_PLUGIN_PATH (a:b), or else in plugins and ../lib/tapedeck/plugins from\n"
	"where this program is; --sink ./NAME.so:key=value takes it from a file.\n"
	"Exit status: 0 done, 1 failed while running, 2 wrong usage, 3 new connection\n"
	"info is needed or the server turned us away for good, 130 ended by a second\n"
	"signal.\n"
	"docs/events.md describes the input lines and the events, docs/session.md what is\n"
	"written.\n";

enum option_id {
	OPT_JOIN = 256,
	OPT_REPLAY,
	OPT_KEYS,
	OPT_REALTIME,
	OPT_OUT,
	OPT_SESSION_NAME,
	OPT_SINK,
	OPT_MIN_FREE,
	OPT_PLUGIN,
	OPT_LIST_SINKS,
	OPT_WORKERS,
	OPT_LATENCY,
	OPT_DURATION,
	OPT_REJOIN_TIMEOUT,
	OPT_CA_FILE,
	OPT_EVENTS,
	OPT_LOG_FORMAT,
	OPT_USER,
};

static const struct option long_options[] = {
	{ "join", required_argument, NULL, OPT_JOIN },
	{ "replay", required_argument, NULL, OPT_REPLAY },
	{ "keys", required_argument, NULL, OPT_KEYS },
	{ "realtime", no_argument, NULL, OPT_REALTIME },
	{ "out", required_argument, NULL, OPT_OUT },
	{ "session-name", required_argument, NULL, OPT_SESSION_NAME },
	{ "sink", required_argument, NULL, OPT_SINK },
	{ "min-free", required_argument, NULL, OPT_MIN_FREE },
	{ "plugin", required_argument, NULL, OPT_PLUGIN },
	{ "list-sinks", no_argument, NULL, OPT_LIST_SINKS },
	{ "workers", required_argument, NULL, OPT_WORKERS },
	{ "latency", required_argument, NULL, OPT_LATENCY },
	{ "duration", required_argument, NULL, OPT_DURATION },
	{ "rejoin-timeout", required_argument, NULL, OPT_REJOIN_TIMEOUT },
	{ "ca-file", required_argument, NULL, OPT_CA_FILE },
	{ "events", no_argument, NULL, OPT_EVENTS },
	{ "log-format", required_argument, NULL, OPT_LOG_FORMAT },
	{ "user", required_argument, NULL, OPT_USER },
	{ "verbose", no_argument, NULL, 'v' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static int complain(const char *option, const char *value, const char *what)
{
	fprintf(stderr, "%s: %s%s%s: %s\n", program_invocation_short_name, option,
		value != NULL ? " " : "", value != NULL ? value : "", what);
	return EXIT_WRONG_USAGE;
}

/* Seconds with a fraction, above zero and below 10 years. */
static int parse_seconds(uint64_t *ret_ns, const char *option, const char *text)
{
	double seconds;
	char *end;

	errno = 0;
	seconds = strtod(text, &end);
	if (end == text || *end != '\0' || errno != 0 || !isfinite(seconds) || seconds <= 0 ||
		seconds > 315360000)
		return complain(option, text, "not a number of seconds above 0");
	*ret_ns = (uint64_t)(seconds * 1e9);
	return -1;
}

/* Bytes, with k, M or G behind them. */
static int parse_size(uint64_t *ret, const char *option, const char *text)
{
	uint64_t n = 0;
	unsigned shift;
	const char *p;

	for (p = text; *p >= '0' && *p <= '9' && n <= SIZE_LIMIT; p++)
		n = n * 10 + (uint64_t)(*p - '0');
	shift = *p == 'k' ? 10 : *p == 'M' ? 20 : *p == 'G' ? 30 : 0;
	if (p == text || *(p + (shift > 0)) != '\0' || n > SIZE_LIMIT >> shift)
		return complain(option, text, "not a size (0, 800k, 500M, 2G)");
	*ret = n << shift;
	return -1;
}

static int parse_number(unsigned *ret, const char *option, const char *text, unsigned min,
	unsigned max)
{
	unsigned long n;
	char *end, what[64];

	errno = 0;
	n = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || n < min || n > max) {
		snprintf(what, sizeof(what), "not a number from %u to %u", min, max);
		return complain(option, text, what);
	}
	*ret = (unsigned)n;
	return -1;
}

/* Sinks are made once every plugin is loaded. */
static int take_sink(struct options *o, const char *text)
{
	if (o->sink_count == OPTIONS_MAX_SINKS)
		return complain("--sink", text, "too many sinks");
	o->sink_texts[o->sink_count++] = text;
	return -1;
}

static int take_plugin(struct options *o, const char *file)
{
	if (o->plugin_count == OPTIONS_MAX_PLUGINS)
		return complain("--plugin", file, "too many plugins");
	o->plugins[o->plugin_count++] = file;
	return -1;
}

static int load_plugins(const struct options *o)
{
	char err[1024];

	for (size_t i = 0; i < o->plugin_count; i++) {
		if (sink_plugin_load(o->plugins[i], err, sizeof(err)) < 0)
			return complain("--plugin", NULL, err);
	}
	return -1;
}

static int make_sinks(struct options *o)
{
	bool built_in = true;
	char err[1024];

	if (o->sink_count == 0)
		take_sink(o, "file:format=wav");
	for (size_t i = 0; i < o->sink_count; i++) {
		if (sink_spec_parse(&o->sinks[i], o->sink_texts[i], err, sizeof(err)) != TD_OK) {
			/* it names the option */
			fprintf(stderr, "%s: %s\n", program_invocation_short_name, err);
			return EXIT_WRONG_USAGE;
		}
		built_in = built_in && sink_spec_is_built_in(o->sinks[i]);
	}
	if (!o->latency_given)
		o->latency_ms = built_in ? LATENCY_FILES_MS : LATENCY_MS;
	return -1;
}

/* It becomes a folder's name: one path component that hides nothing, with room for a number. */
static int parse_session_name(struct options *o, const char *text)
{
	const char *p;

	for (p = text; *p != '\0' && *p != '/' && (unsigned char)*p >= 0x20 && *p != 0x7f; p++)
		;
	if (*text == '\0' || *text == '.' || *p != '\0' || p - text > SESSION_NAME_MAX)
		return complain("--session-name", text,
			"not a folder name (no '/', no leading '.', at most 191 bytes)");
	o->session_name = text;
	return -1;
}

static int parse_one(struct options *o, int id, const char *value)
{
	switch (id) {
	case OPT_JOIN:
		o->join = value;
		return -1;
	case OPT_REPLAY:
		o->replay = value;
		return -1;
	case OPT_KEYS:
		o->keys = value;
		return -1;
	case OPT_REALTIME:
		o->realtime = true;
		return -1;
	case OPT_OUT:
		o->out = value;
		return *value != '\0' ? -1 : complain("--out", value, "empty");
	case OPT_SESSION_NAME:
		return parse_session_name(o, value);
	case OPT_SINK:
		return take_sink(o, value);
	case OPT_MIN_FREE:
		return parse_size(&o->min_free, "--min-free", value);
	case OPT_PLUGIN:
		return take_plugin(o, value);
	case OPT_LIST_SINKS:
		o->list_sinks = true;
		return -1;
	case OPT_WORKERS:
		return parse_number(&o->workers, "--workers", value, 1, OPTIONS_MAX_WORKERS);
	case OPT_LATENCY:
		o->latency_given = true;
		return parse_number(&o->latency_ms, "--latency", value, 0, LATENCY_MAX_MS);
	case OPT_DURATION:
		return parse_seconds(&o->duration_ns, "--duration", value);
	case OPT_REJOIN_TIMEOUT:
		return parse_seconds(&o->rejoin_timeout_ns, "--rejoin-timeout", value);
	case OPT_CA_FILE:
		o->ca_file = value;
		return -1;
	case OPT_EVENTS:
		o->events = true;
		return -1;
	case OPT_LOG_FORMAT:
		if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0)
			return complain("--log-format", value, "neither text nor json");
		o->log_json = strcmp(value, "json") == 0;
		return -1;
	case OPT_USER:
		o->user = value;
		return -1;
	case 'v':
		o->verbose = true;
		return -1;
	case 'q':
		o->quiet = true;
		return -1;
	case 'h':
		printf(usage, program_invocation_short_name);
		return EXIT_DONE;
	case 'V':
		printf("%s (tapedeck) %s\n", program_invocation_short_name, TD_VERSION);
		return EXIT_DONE;
	}
	/* getopt has said what is wrong */
	fprintf(stderr, "Try '%s --help'.\n", program_invocation_short_name);
	return EXIT_WRONG_USAGE;
}

/* What only makes sense, or only is complete, together. */
static int check_together(struct options *o)
{
	long cpus;

	if ((o->join == NULL) == (o->replay == NULL))
		return complain("--join or --replay", NULL, "exactly one of them is needed");
	if (o->replay != NULL && o->keys == NULL)
		return complain("--replay", NULL, "needs --keys");
	if (o->replay == NULL && (o->keys != NULL || o->realtime))
		return complain(o->keys != NULL ? "--keys" : "--realtime", NULL,
			"goes with --replay");
	if (o->workers == 0) {
		/* A replay is one call, and a call has one worker. */
		cpus = o->replay != NULL ? 1 : sysconf(_SC_NPROCESSORS_ONLN);
		o->workers = cpus < 1                ? 1
			: cpus > OPTIONS_MAX_WORKERS ? OPTIONS_MAX_WORKERS
						     : (unsigned)cpus;
	}
	return -1;
}

int options_parse(struct options *ret, int argc, char **argv)
{
	char err[256];
	int id, status;

	*ret = (struct options){ .out = "recordings", .rejoin_timeout_ns = 60 * TD_SEC_NS };
	argv[0] = program_invocation_short_name; /* getopt speaks in its name, too */
	while ((id = getopt_long(argc, argv, "vqhV", long_options, NULL)) != -1) {
		if ((status = parse_one(ret, id, optarg)) >= 0)
			return status;
	}
	if (optind < argc)
		return complain(argv[optind], NULL, "there are no arguments without an option");
	/* Plugins are code of others: root is gone before they come. */
	if (ret->user != NULL && harden_become(ret->user, err, sizeof(err)) != TD_OK)
		return complain("--user", ret->user, err);
	if ((status = load_plugins(ret)) >= 0)
		return status;
	if (ret->list_sinks) {
		sink_list(stdout);
		return EXIT_DONE;
	}
	if ((status = check_together(ret)) >= 0)
		return status;
	return make_sinks(ret);
}

void options_free(struct options *o)
{
	while (o->sink_count > 0)
		sink_spec_free(o->sinks[--o->sink_count]);
}
