/* SPDX-License-Identifier: ISC */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "tests/voiceserver/options.h"

const char options_help[] =
	"usage: voiceserver [options]\n"
	"A Discord voice server on the loopback interface, for tests.\n"
	"\n"
	"what happens\n"
	"  --scenario FILE     a script (README.md); the options below change it\n"
	"  --speakers N        without a script: N scripted speakers (default 3)\n"
	"  --seconds S         length of the script (default 10)\n"
	"  --seed N            same seed, same call (default 1)\n"
	"  --mode NAME         offer this encryption mode alone; offline also \"none\"\n"
	"  --dave              every call is encrypted end to end\n"
	"  --loss P, --burst-loss P, --duplicate P, --reorder P, --garbage P, --corrupt P,\n"
	"  --truncate P        faults on the way to clients, percent of the packets\n"
	"  --burst-length N, --reorder-depth N, --jitter MS\n"
	"  --end close|leave|stay   what becomes of clients after the script\n"
	"  --media DIR         folder of the clips (default tests/media)\n"
	"  --max-seconds S     ends at the latest (default 120)\n"
	"connections\n"
	"  --tls               wss; without it ws\n"
	"  --cert KIND         good, wrong-host, expired, untrusted, not-yet\n"
	"  --ca-out FILE       the root certificate that clients shall trust\n"
	"  --rogue KINDS       no voice server at all: bad ones, a port each (README.md)\n"
	"  --join-out FILE     connection info, one JSON record per guild and line\n"
	"results\n"
	"  --truth FILE        what was sent to the recorders, as JSON\n"
	"  --pcap FILE, --keys-out FILE   the datagrams to the recorder, and what a replay needs;\n"
	"                      %g in the name is the guild's id\n"
	"  --offline           no network: the script at once, into the files above\n"
	"  --verbose           print heartbeats too\n";

enum option_name {
	OPT_SCENARIO = 256,
	OPT_SPEAKERS,
	OPT_CERT,
	OPT_CA_OUT,
	OPT_JOIN_OUT,
	OPT_TRUTH,
	OPT_PCAP,
	OPT_KEYS_OUT,
	OPT_MODE,
	OPT_MAX_SECONDS,
	OPT_OFFLINE,
	OPT_VERBOSE,
	OPT_ROGUE,
	OPT_HELP,
	/* members of the scenario */
	OPT_TLS,
	OPT_DAVE,
	OPT_END,
	OPT_MEDIA,
	OPT_NUMBER, /* "seconds", "seed": long name = member */
	OPT_FAULT,  /* long name = member of "faults" */
	OPT_FAULT_MS,
};

static const struct option longs[] = {
	{ "scenario", required_argument, NULL, OPT_SCENARIO },
	{ "speakers", required_argument, NULL, OPT_SPEAKERS },
	{ "cert", required_argument, NULL, OPT_CERT },
	{ "ca-out", required_argument, NULL, OPT_CA_OUT },
	{ "join-out", required_argument, NULL, OPT_JOIN_OUT },
	{ "truth", required_argument, NULL, OPT_TRUTH },
	{ "pcap", required_argument, NULL, OPT_PCAP },
	{ "keys-out", required_argument, NULL, OPT_KEYS_OUT },
	{ "mode", required_argument, NULL, OPT_MODE },
	{ "max-seconds", required_argument, NULL, OPT_MAX_SECONDS },
	{ "offline", no_argument, NULL, OPT_OFFLINE },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "tls", no_argument, NULL, OPT_TLS },
	{ "dave", no_argument, NULL, OPT_DAVE },
	{ "end", required_argument, NULL, OPT_END },
	{ "media", required_argument, NULL, OPT_MEDIA },
	{ "seconds", required_argument, NULL, OPT_NUMBER },
	{ "rogue", required_argument, NULL, OPT_ROGUE },
	{ "seed", required_argument, NULL, OPT_NUMBER },
	{ "loss", required_argument, NULL, OPT_FAULT },
	{ "burst-loss", required_argument, NULL, OPT_FAULT },
	{ "burst-length", required_argument, NULL, OPT_FAULT },
	{ "duplicate", required_argument, NULL, OPT_FAULT },
	{ "reorder", required_argument, NULL, OPT_FAULT },
	{ "reorder-depth", required_argument, NULL, OPT_FAULT },
	{ "garbage", required_argument, NULL, OPT_FAULT },
	{ "corrupt", required_argument, NULL, OPT_FAULT },
	{ "truncate", required_argument, NULL, OPT_FAULT },
	{ "jitter", required_argument, NULL, OPT_FAULT_MS },
	{ NULL, 0, NULL, 0 },
};

/* A member of obj named after a long option: dashes become underscores. NULL: not a number. */
static int number_set(json_t *obj, const char *option, const char *suffix, const char *text)
{
	char name[64], *end;
	double value = strtod(text, &end);
	size_t i;

	if (end == text || *end != 0)
		return TD_ERR_USAGE;
	snprintf(name, sizeof(name), "%s%s", option, suffix);
	for (i = 0; name[i] != '\0'; i++)
		if (name[i] == '-')
			name[i] = '_';
	json_object_set_new(obj, name,
		strchr(text, '.') == NULL ? json_integer((json_int_t)value) : json_real(value));
	return TD_OK;
}

/* The usual suspects: every speaker has a habit or two that a client must cope with. */
static json_t *speaker_json(int i)
{
	return json_pack("{s:i, s:i, s:i, s:i, s:f, s:b, s:b, s:b, s:i, s:i}", "start_ms",
		200 + 270 * i, "spurt_ms", 2400 + 310 * i, "pause_ms", 700 + 170 * (i % 5),
		"speaking_delay_ms",
		i % 3 == 0           ? -100
			: i % 3 == 1 ? 120
				     : 0,
		"padding", i % 3 == 1 ? 20.0 : 0.0, "near_wrap", i % 3 == 1, "freeze", i % 3 == 2,
		"video", i % 3 == 0, "rtcp_ms", 1500, "padding_burst_ms", i % 3 == 2 ? 1700 : 0);
}

static json_t *plain_scenario(int speakers)
{
	json_t *list = json_array();
	int i;

	for (i = 0; i < speakers; i++)
		json_array_append_new(list, speaker_json(i));
	return json_pack("{s:[{s:o}]}", "guilds", "speakers", list);
}

static int scenario_make(struct options *o, const char *path, int speakers, bool dave,
	json_t *changes, json_t *faults, char err[static FIELDS_ERR_LEN])
{
	json_t *root, *had, *guild;
	json_error_t where;
	size_t i;

	if (path == NULL)
		root = plain_scenario(speakers);
	else
		root = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
	if (root == NULL) {
		snprintf(err, FIELDS_ERR_LEN, "%.60s:%d: %.100s", path != NULL ? path : "",
			path != NULL ? where.line : 0, path != NULL ? where.text : "no memory");
		return TD_ERR_USAGE;
	}
	json_object_update(root, changes);
	had = json_object_get(root, "faults");
	if (had != NULL)
		json_object_update(had, faults);
	else
		json_object_set(root, "faults", faults);
	json_array_foreach(json_object_get(root, "guilds"), i, guild)
	{
		if (dave)
			json_object_set_new(guild, "dave", json_true());
	}
	return scenario_new(&o->scenario, root, err);
}

/* One option; TD_ERR_USAGE when its argument makes no sense. */
static int option_take(struct options *o, int opt, const char *name, const char *arg,
	json_t *changes, json_t *faults)
{
	char *end;

	switch (opt) {
	case OPT_CERT:
		return (o->certs = certs_kind_parse(arg)) != CERTS_KINDS ? TD_OK : TD_ERR_USAGE;
	case OPT_CA_OUT:
		o->ca_out = arg;
		return TD_OK;
	case OPT_ROGUE:
		o->rogue = arg;
		return TD_OK;
	case OPT_JOIN_OUT:
		o->join_out = arg;
		return TD_OK;
	case OPT_TRUTH:
		o->truth = arg;
		return TD_OK;
	case OPT_PCAP:
		o->pcap = arg;
		return TD_OK;
	case OPT_KEYS_OUT:
		o->keys_out = arg;
		return TD_OK;
	case OPT_MODE:
		json_object_set_new(changes, "modes", json_pack("[s]", arg));
		return transport_mode_parse(&o->mode, arg) == TD_OK ? TD_OK : TD_ERR_USAGE;
	case OPT_MAX_SECONDS:
		o->max_seconds = strtod(arg, &end);
		return *end == '\0' && o->max_seconds > 0 && o->max_seconds < 1e6 ? TD_OK
										  : TD_ERR_USAGE;
	case OPT_TLS:
		json_object_set_new(changes, "tls", json_true());
		return TD_OK;
	case OPT_END:
	case OPT_MEDIA:
		json_object_set_new(changes, name, json_string(arg));
		return TD_OK;
	case OPT_NUMBER:
		return number_set(changes, name, "", arg);
	case OPT_FAULT:
		return number_set(faults, name, "", arg);
	case OPT_FAULT_MS:
		return number_set(faults, name, "_ms", arg);
	}
	return TD_ERR_USAGE;
}

int options_parse(struct options *ret, int argc, char **argv, char err[static FIELDS_ERR_LEN])
{
	json_t *changes = json_object(), *faults = json_object();
	struct options o = { .mode = TRANSPORT_MODES, .max_seconds = 120 };
	const char *path = NULL;
	int opt, at = 0, speakers = 3, r = TD_OK;
	bool dave = false;

	while (r == TD_OK && (opt = getopt_long(argc, argv, "h", longs, &at)) != -1) {
		if (opt == OPT_SCENARIO)
			path = optarg;
		else if (opt == OPT_SPEAKERS)
			speakers = atoi(optarg);
		else if (opt == OPT_OFFLINE)
			o.offline = true;
		else if (opt == OPT_DAVE)
			dave = true;
		else if (opt == OPT_VERBOSE)
			o.verbose = true;
		else if (opt == OPT_HELP || opt == 'h')
			o.help = true;
		else if (opt == '?')
			r = TD_ERR_USAGE;
		else
			r = option_take(&o, opt, longs[at].name, optarg, changes, faults);
	}
	if (r != TD_OK || optind < argc || speakers < 0 || speakers > SCENARIO_MAX_LIST) {
		snprintf(err, FIELDS_ERR_LEN, "bad option %.100s; try --help",
			optind < argc ? argv[optind] : argv[optind - 1]);
		r = TD_ERR_USAGE;
	} else if (!o.help) {
		r = scenario_make(&o, path, speakers, dave, changes, faults, err);
	}
	json_decref(changes);
	json_decref(faults);
	if (r == TD_OK)
		*ret = o;
	return r;
}
