/* SPDX-License-Identifier: ISC */
#include "sinks/convert/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/host.h"

static const char usage[] =
	"Usage: %s [OPTION]... INPUT...\n"
	"\n"
	"Converts recordings: WAV, RF64, FLAC, Ogg Opus, MP3, captured samples (NAME.pcm\n"
	"with NAME.pcm.json), folders of them, and folders of sessions, whose names and\n"
	"tags come from session.json. INPUT - is standard input.\n"
	"\n"
	"What comes out:\n"
	"  -f FORMAT[:key=value,...]  wav, flac, mp3, opus, pcm, or what a plugin brings;\n"
	"                          with its options, as mp3:vbr=4 (default: mp3)\n"
	"  -o DIR                  folder of the outputs (default: beside each input)\n"
	"  -o -                    standard output, for a single input\n"
	"  -r RATE                 8000-192000 (default: as the input)\n"
	"  -c CHANNELS             1 or 2 (default: as the input)\n"
	"  --mix                   one file for all tracks of a session, never clipped\n"
	"\n"
	"What goes in:\n"
	"  --raw RATE:CHANNELS:FORMAT  inputs are raw s16le, s16be or f32le samples\n"
	"  --keep                  keep the inputs (default)\n"
	"  --delete                delete each when its output is on the disk and checked\n"
	"\n"
	"How it runs:\n"
	"  -j N                    workers (default: number of CPUs)\n"
	"  --force                 convert also where the output is up to date\n"
	"  --plugin FILE           load a plugin, repeatable\n"
	"  --json                  what happens as JSON lines on standard output\n"
	"  -v, --verbose           say more\n"
	"  -q, --quiet             say only what went wrong\n"
	"  -h, --help              this text\n"
	"  -V, --version           version\n"
	"\n"
	"Exit status: 0 done, 1 could not run, 2 wrong usage, 3 some inputs failed (they\n"
	"are named at the end), 130 interrupted. docs/convert.md says more.\n";

enum option_id { OPT_MIX = 256, OPT_RAW, OPT_KEEP, OPT_DELETE, OPT_FORCE, OPT_PLUGIN, OPT_JSON };

static const struct option long_options[] = {
	{ "mix", no_argument, NULL, OPT_MIX },
	{ "raw", required_argument, NULL, OPT_RAW },
	{ "keep", no_argument, NULL, OPT_KEEP },
	{ "delete", no_argument, NULL, OPT_DELETE },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "plugin", required_argument, NULL, OPT_PLUGIN },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "verbose", no_argument, NULL, 'v' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static int complain(const struct args *a, const char *option, const char *value, const char *what)
{
	struct fault line;

	fault_set(&line, 0, "%s%s%s: %s", option, value != NULL ? " " : "",
		value != NULL ? value : "", what);
	fprintf(stderr, "%s: %s\n", a->program, line.text);
	return CONVERT_USAGE;
}

static int parse_number(const struct args *a, uint32_t *ret, const char *option, const char *text,
	unsigned long min, unsigned long max, const char *what)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || n < min || n > max)
		return complain(a, option, text, what);
	*ret = (uint32_t)n;
	return -1;
}

static int parse_raw(struct args *a, const char *text)
{
	struct fault fault;

	if (raw_form_parse(&a->raw, text, &fault) < 0)
		return complain(a, "--raw", text, fault.text);
	a->have_raw = true;
	return -1;
}

static int parse_plugin(struct args *a, const char *file)
{
	char err[512];

	if (sink_plugin_load(file, err, sizeof(err)) < 0)
		return complain(a, "--plugin", NULL, err);
	return -1;
}

static int parse_one(struct args *a, int id, const char *value, const char **format)
{
	switch (id) {
	case 'f':
		*format = value;
		return -1;
	case 'o':
		a->out = value;
		return *value != '\0' ? -1 : complain(a, "-o", value, "empty");
	case 'r':
		return parse_number(a, &a->rate, "-r", value, RAW_RATE_MIN, RAW_RATE_MAX,
			"not a rate from 8000 to 192000");
	case 'c':
		return parse_number(a, &a->channels, "-c", value, 1, RAW_CHANNELS_MAX,
			"neither 1 nor 2");
	case 'j':
		return parse_number(a, &a->workers, "-j", value, 1, CONVERT_WORKERS_MAX,
			"not a number from 1 to 256");
	case OPT_MIX:
		a->mix = true;
		return -1;
	case OPT_RAW:
		return parse_raw(a, value);
	case OPT_KEEP:
	case OPT_DELETE:
		a->delete_inputs = id == OPT_DELETE;
		return -1;
	case OPT_FORCE:
		a->force = true;
		return -1;
	case OPT_PLUGIN:
		return parse_plugin(a, value);
	case OPT_JSON:
		a->json = true;
		return -1;
	case 'v':
		a->verbose = true;
		return -1;
	case 'q':
		a->quiet = true;
		return -1;
	case 'h':
		printf(usage, a->program);
		return CONVERT_DONE;
	case 'V':
		printf("%s (tapedeck) %s\n", a->program, TD_VERSION);
		return CONVERT_DONE;
	}
	fprintf(stderr, "Try '%s --help'.\n", a->program); /* getopt has said what is wrong */
	return CONVERT_USAGE;
}

/* What only makes sense together. */
static int check_together(struct args *a)
{
	bool to_stdout = a->out != NULL && strcmp(a->out, "-") == 0;
	size_t stdins = 0;

	if (a->input_count == 0)
		return complain(a, "INPUT", NULL, "at least one is needed");
	for (size_t i = 0; i < a->input_count; i++) {
		if (a->inputs[i][0] == '\0')
			return complain(a, "INPUT", "''", "empty");
		stdins += strcmp(a->inputs[i], "-") == 0;
	}
	if (stdins > 1)
		return complain(a, "INPUT -", NULL, "can be read once only");
	to_stdout = to_stdout || (stdins > 0 && a->out == NULL);
	if (to_stdout && a->input_count > 1)
		return complain(a, "-o -", NULL, "takes a single input");
	if (to_stdout && a->json)
		return complain(a, "--json", NULL, "does not go with output on standard output");
	if (to_stdout && isatty(STDOUT_FILENO))
		return complain(a, "standard output", NULL,
			"is a terminal; -o FOLDER or a pipe would do");
	if (a->mix && a->delete_inputs)
		return complain(a, "--mix", NULL,
			"does not go with --delete: a mix does not replace its tracks");
	if (stdins > 0 && a->mix)
		return complain(a, "--mix", NULL, "takes folders of sessions");
	return -1;
}

int args_parse(struct args *ret, int argc, char **argv)
{
	const char *format = "mp3", *slash = strrchr(argv[0], '/');
	struct fault fault;
	long cpus;
	int id, status;

	*ret = (struct args){ .program = slash != NULL ? slash + 1 : argv[0] };
	argv[0] += slash != NULL ? slash + 1 - argv[0] : 0; /* getopt speaks in its name, too */
	while ((id = getopt_long(argc, argv, "f:o:r:c:j:vqhV", long_options, NULL)) != -1) {
		if ((status = parse_one(ret, id, optarg, &format)) >= 0)
			return status;
	}
	ret->inputs = argv + optind;
	ret->input_count = (size_t)(argc - optind);
	if ((status = check_together(ret)) >= 0)
		return status;
	/* A plugin may come after the format it brings. */
	if (format_parse(&ret->format, format, &fault) < 0)
		return complain(ret, "-f", NULL, fault.text);
	if (ret->rate != 0 || ret->channels != 0) {
		uint32_t rate = ret->rate, channels = ret->channels;

		if (format_fit(&ret->format, 48000, 2, &rate, &channels, &fault) < 0)
			return complain(ret, "-f", NULL, fault.text);
	}
	if (ret->workers == 0) {
		cpus = sysconf(_SC_NPROCESSORS_ONLN);
		ret->workers = cpus < 1              ? 1
			: cpus > CONVERT_WORKERS_MAX ? CONVERT_WORKERS_MAX
						     : (unsigned)cpus;
	}
	return -1;
}

void args_free(struct args *args)
{
	format_free(&args->format);
}
