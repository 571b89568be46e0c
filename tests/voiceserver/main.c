/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/ids.h"
#include "common/log.h"
#include "tests/voiceserver/call.h"
#include "tests/voiceserver/live.h"
#include "tests/voiceserver/offline.h"
#include "tests/voiceserver/options.h"
#include "tests/voiceserver/rogue.h"

/* voiceserver: options, scenario, certificates, server, then live or offline, then the files. */
struct run {
	struct options o;
	struct certs *certs;
	struct truth *truth;
	struct server *server;
	struct live_udp udp;
};

static void event_line(void *user, json_t *event)
{
	struct run *run = user;
	const char *name = json_string_value(json_object_get(event, "event"));

	if (!run->o.verbose && name != NULL && strcmp(name, "heartbeat") == 0)
		return;
	json_dumpf(event, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
}

/* The driver's user is the UDP socket when live; events need the run around it. */
static void event_hook(void *user, json_t *event)
{
	event_line((char *)user - offsetof(struct run, udp), event);
}

static void datagram_nowhere(void *user, const struct sockaddr_in *to, const uint8_t *data,
	size_t len)
{
	(void)user;
	(void)to;
	(void)data;
	(void)len;
}

static int text_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	int r = TD_OK;

	if (f == NULL || fputs(text, f) < 0)
		r = TD_ERR_IO;
	if (f != NULL && fclose(f) != 0)
		r = TD_ERR_IO;
	if (r != TD_OK)
		fprintf(stderr, "voiceserver: cannot write %s\n", path);
	return r;
}

/* Everything listens: says where, and leaves behind what clients need. */
static int ready(void *user)
{
	struct run *run = user;
	struct server *s = run->server;
	json_t *joins = json_array(), *one;
	char *line;
	FILE *f = NULL;
	size_t i, k;
	int r = TD_OK;

	if (run->o.join_out != NULL && (f = fopen(run->o.join_out, "we")) == NULL) {
		fprintf(stderr, "voiceserver: cannot write %s\n", run->o.join_out);
		r = TD_ERR_IO;
	}
	for (i = 0; i < s->n_calls; i++)
		for (k = 0; k < s->calls[i]->guild->n_users; k++) {
			one = call_record(s->calls[i], &s->calls[i]->tickets[k]);
			line = json_dumps(one, JSON_COMPACT);
			if (f != NULL && k == 0 && line != NULL)
				fprintf(f, "%s\n", line);
			free(line);
			json_array_append_new(joins, one);
		}
	if (f != NULL && fclose(f) != 0)
		r = TD_ERR_IO;
	server_event(s,
		json_pack("{s:s, s:s, s:s, s:i, s:o}", "event", "ready", "endpoint",
			s->endpoints[0], "endpoint2", s->endpoints[1], "udp_port", (int)s->udp_port,
			"joins", joins));
	return r;
}

/* "calls-%g.pcap" names a file per guild; without it only the first guild has one. NULL: none. */
static char *guild_path(const char *pattern, const struct scenario_guild *g, size_t number)
{
	const char *at = pattern != NULL ? strstr(pattern, "%g") : NULL;
	char id[TD_ID_TEXT], *path = NULL;

	if (pattern == NULL || (at == NULL && number > 0))
		return NULL;
	if (at == NULL)
		return strdup(pattern);
	if (asprintf(&path, "%.*s%s%s", (int)(at - pattern), pattern, td_id_format(id, g->guild_id),
		    at + 2) < 0)
		return NULL;
	return path;
}

static int captures_open(struct run *run)
{
	struct call *c;
	char *pcap, *keys;
	int r = TD_OK;
	size_t i;

	for (i = 0; r == TD_OK && i < run->server->n_calls; i++) {
		c = run->server->calls[i];
		pcap = guild_path(run->o.pcap, c->guild, i);
		keys = guild_path(run->o.keys_out, c->guild, i);
		if (pcap != NULL || keys != NULL)
			r = capture_new(&c->capture, pcap, keys, c->guild->guild_id,
				c->guild->channel_id, c->guild->users[0]);
		free(pcap);
		free(keys);
	}
	return r;
}

static int captures_close(struct run *run)
{
	int r = TD_OK, one;
	size_t i;

	for (i = 0; run->server != NULL && i < run->server->n_calls; i++) {
		if (capture_count(run->server->calls[i]->capture) > 0)
			server_event(run->server,
				json_pack("{s:s, s:I}", "event", "captured", "datagrams",
					(json_int_t)capture_count(run->server->calls[i]->capture)));
		if ((one = capture_close(run->server->calls[i]->capture)) != TD_OK)
			r = one;
		run->server->calls[i]->capture = NULL;
	}
	return r;
}

static int run_script(struct run *run)
{
	const struct scenario *sc = run->o.scenario;
	struct live_conf conf = { NULL, run->o.max_seconds, ready, run };
	enum transport_mode mode = run->o.mode;
	int r;

	if (run->o.offline) {
		if (mode == TRANSPORT_MODES)
			mode = sc->modes & 1u << TRANSPORT_AES256_GCM ? TRANSPORT_AES256_GCM
								      : TRANSPORT_XCHACHA20;
		return offline_run(run->server, mode);
	}
	if (sc->tls) {
		if ((r = certs_new(&run->certs, run->o.certs)) != TD_OK)
			return r;
		if (run->o.ca_out != NULL &&
			(r = text_write(run->o.ca_out, run->certs->root)) != TD_OK)
			return r;
		conf.certs = run->certs;
	}
	return live_run(run->server, &conf);
}

int main(int argc, char **argv)
{
	char err[FIELDS_ERR_LEN] = "";
	struct run run = { .udp = { -1 } };
	struct server_io io = { &run.udp, live_datagram, event_hook };
	int r, late;

	if ((r = options_parse(&run.o, argc, argv, err)) != TD_OK)
		goto out;
	if (run.o.help) {
		fputs(options_help, stdout);
		goto out;
	}
	if (run.o.rogue != NULL) {
		r = run.o.join_out == NULL
			? TD_ERR_USAGE
			: rogue_run(run.o.rogue, run.o.join_out, run.o.max_seconds);
		goto out;
	}
	if (run.o.offline)
		io.datagram = datagram_nowhere;
	if ((r = server_new(&run.server, run.o.scenario, &io)) != TD_OK ||
		(r = truth_new(&run.truth, run.o.scenario)) != TD_OK)
		goto out;
	run.server->truth = run.truth;
	if ((r = captures_open(&run)) != TD_OK)
		goto out;
	r = run_script(&run);
	late = captures_close(&run);
	if (r == TD_OK)
		r = late;
	if (r == TD_OK && run.o.truth != NULL)
		r = truth_write(run.truth, run.o.truth);
out:
	if (r != TD_OK)
		fprintf(stderr, "voiceserver: %s\n", err[0] != '\0' ? err : td_strerror(r));
	captures_close(&run);
	server_free(run.server);
	truth_free(run.truth);
	certs_free(run.certs);
	scenario_free(run.o.scenario);
	return r == TD_OK ? 0 : r == TD_ERR_USAGE ? 2 : 1;
}
