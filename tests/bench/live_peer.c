/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/transport.h"
#include "tests/bench/live.h"
#include "tests/bench/speech.h"
#include "tests/voiceserver/call.h"
#include "tests/voiceserver/live.h"
#include "tests/voiceserver/packet.h"

enum { RATE_OF_ONE = 50, MEDIA = 1500, SEND_MAX = 64, FIRST_NONCE = 1 << 20 };
#define FIRST_SPEAKER UINT64_C(900000000000000000)
#define TURN_NS TD_MS_NS /* the sender looks so often at what is due */

const uint8_t live_key[32] = "a key that everybody may know..";

struct command {
	double seconds;
	uint16_t port;
};

struct speaker {
	struct transport *transport; /* of its connection */
	uint32_t *nonce;
	struct sockaddr_in to;
	uint32_t ssrc, timestamp;
	uint16_t sequence;
	size_t media; /* which comes next */
};

struct side {
	struct live_peer_conf conf;
	struct scenario *scenario;
	struct server *server;
	struct certs *certs;
	struct live_udp udp;
	struct speech_packet *media;
	int from, to;
	unsigned described;
	bool *named;
	pthread_t thread;

	struct transport **transports;
	uint32_t *nonces;
	struct speaker *speakers;
	size_t n_speakers;
};

static uint64_t user_id(unsigned speaker)
{
	return FIRST_SPEAKER + speaker;
}

/* ---- on the server's thread ---- */

static struct scenario *scenario_make(const struct live_peer_conf *conf)
{
	char err[FIELDS_ERR_LEN] = "";
	json_t *guilds = json_array(), *root;
	struct scenario *sc;

	for (unsigned i = 0; i < conf->connections; i++)
		json_array_append_new(guilds, json_pack("{s:[]}", "speakers"));
	root = json_pack("{s:i, s:i, s:b, s:b, s:s, s:o}", "seed", 1, "seconds", 3600, "noise", 0,
		"tls", conf->tls, "end", "stay", "guilds", guilds);
	if (scenario_new(&sc, root, err) != TD_OK) {
		fprintf(stderr, "bench_live: %s\n", err);
		exit(1);
	}
	return sc;
}

static void datagram_hook(void *user, const struct sockaddr_in *to, const uint8_t *data, size_t len)
{
	live_datagram(user, to, data, len);
}

/* Whoever has their key is told the speakers. */
static void event_hook(void *user, json_t *event)
{
	struct side *p = (struct side *)((char *)user - offsetof(struct side, udp));
	const char *name = json_string_value(json_object_get(event, "event"));
	struct server *s = p->server;

	if (name == NULL || strcmp(name, "described") != 0)
		return;
	for (size_t i = 0; i < s->n_calls; i++) {
		struct session *session = s->calls[i]->sessions;

		if (p->named[i] || session == NULL || !session->described)
			continue;
		p->named[i] = true;
		p->described++;
		for (unsigned k = (unsigned)i; k < p->conf.speakers; k += p->conf.connections)
			session_name(session, user_id(k), 0, 1);
	}
	if (p->described == p->conf.connections)
		LIVE_MUST(write(p->to, "d", 1) == 1);
}

static void text_write(const char *folder, const char *name, const char *text)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "we");
	LIVE_MUST(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void *sender_run(void *arg);

/* Everything listens. */
static int ready(void *user)
{
	struct side *p = user;
	struct server *s = p->server;
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/join.json", p->conf.folder);
	LIVE_MUST((f = fopen(path, "we")) != NULL);
	for (size_t i = 0; i < s->n_calls; i++) {
		json_t *one = call_record(s->calls[i], &s->calls[i]->tickets[0]);

		json_dumpf(one, f, JSON_COMPACT);
		fputc('\n', f);
		json_decref(one);
	}
	LIVE_MUST(fclose(f) == 0);
	LIVE_MUST(pthread_create(&p->thread, NULL, sender_run, p) == 0);
	LIVE_MUST(write(p->to, "r", 1) == 1);
	return TD_OK;
}

static _Noreturn void peer_run(const struct live_peer_conf *conf, int from, int to)
{
	static struct side p;
	struct live_conf live = { NULL, 3600, ready, &p };
	struct server_io io = { &p.udp, datagram_hook, event_hook };

	p.conf = *conf;
	p.from = from;
	p.to = to;
	p.named = calloc(conf->connections, sizeof(*p.named));
	p.media = calloc(MEDIA, sizeof(*p.media));
	LIVE_MUST(p.named != NULL && p.media != NULL);
	speech_encode(p.media, MEDIA, 2, 1);
	p.scenario = scenario_make(conf);
	LIVE_MUST(server_new(&p.server, p.scenario, &io) == TD_OK);
	if (conf->tls) {
		LIVE_MUST(certs_new(&p.certs, CERTS_GOOD) == TD_OK);
		text_write(conf->folder, "ca.pem", p.certs->root);
		live.certs = p.certs;
	}
	_exit(live_run(p.server, &live) == TD_OK ? 0 : 1);
}

/* ---- on the sender's thread ---- */

/* Who says what to whom. The server is left alone by its clients by now: nothing of it changes. */
static void speakers_make(struct side *p, uint16_t port)
{
	struct sockaddr_in floor = { .sin_family = AF_INET, .sin_port = htons(port) };

	floor.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (p->transports == NULL) {
		p->transports = calloc(p->conf.connections + 1, sizeof(struct transport *));
		p->nonces = calloc(p->conf.connections + 1, sizeof(*p->nonces));
		p->speakers = calloc(p->conf.speakers + 1, sizeof(*p->speakers));
		LIVE_MUST(p->transports != NULL && p->nonces != NULL && p->speakers != NULL);
	}
	for (unsigned k = 0; k < p->conf.speakers; k++) {
		unsigned i = port != 0 ? p->conf.connections : k % p->conf.connections;
		struct session *s = port != 0 ? NULL : p->server->calls[i]->sessions;
		struct speaker *to = &p->speakers[k];

		if (p->transports[i] == NULL) {
			LIVE_MUST(transport_new(&p->transports[i],
					  s != NULL ? s->mode : TRANSPORT_AES256_GCM,
					  s != NULL ? s->key : live_key) == TD_OK);
			p->nonces[i] = FIRST_NONCE;
		}
		to->transport = p->transports[i];
		to->nonce = &p->nonces[i];
		to->to = s != NULL ? s->address : floor;
		to->ssrc = s != NULL ? session_peer(s, user_id(k), 0)->ssrc : k + 1;
		to->media = (size_t)k * 37 % MEDIA;
	}
}

static size_t speaker_packet(struct side *p, struct speaker *s, uint8_t out[static PACKET_MAX])
{
	struct media m = { .kind = MEDIA_VOICE,
		.sequence = s->sequence++,
		.timestamp = s->timestamp,
		.payload = p->media[s->media].data,
		.len = p->media[s->media].len,
		.extension = true };

	s->timestamp += SPEECH_SAMPLES;
	s->media = (s->media + 1) % MEDIA;
	return packet_build(out, s->transport, &m, s->ssrc, (*s->nonce)++);
}

/* Packets from `from` to `to`, one after the other of all speakers in turn. */
static void send_some(struct side *p, uint64_t from, uint64_t to)
{
	static uint8_t bytes[SEND_MAX][PACKET_MAX];
	struct mmsghdr msgs[SEND_MAX] = { 0 };
	struct iovec iov[SEND_MAX];
	unsigned n = 0, sent = 0;

	for (; from < to; from++, n++) {
		struct speaker *s = &p->speakers[from % p->conf.speakers];

		iov[n] = (struct iovec){ bytes[n], speaker_packet(p, s, bytes[n]) };
		msgs[n].msg_hdr = (struct msghdr){ .msg_name = &s->to,
			.msg_namelen = sizeof(s->to),
			.msg_iov = &iov[n],
			.msg_iovlen = 1 };
	}
	while (sent < n) {
		int r = sendmmsg(p->udp.fd, msgs + sent, n - sent, 0);

		LIVE_MUST(r > 0 || errno == EAGAIN || errno == ECONNREFUSED);
		sent += r > 0 ? (unsigned)r : errno == ECONNREFUSED;
	}
}

static uint64_t talk(struct side *p, double seconds)
{
	const uint64_t rate = (uint64_t)p->conf.speakers * RATE_OF_ONE;
	const uint64_t total = (uint64_t)(seconds * (double)rate);
	const uint64_t begin_ns = td_mono_ns();
	struct timespec at;
	uint64_t done = 0;

	for (uint64_t turn = 1; done < total; turn++) {
		uint64_t ns = begin_ns + turn * TURN_NS, due;

		at = (struct timespec){ (time_t)(ns / TD_SEC_NS), (long)(ns % TD_SEC_NS) };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		due = (td_mono_ns() - begin_ns) * rate / TD_SEC_NS;
		if (due > total)
			due = total;
		for (; done < due; done += due - done < SEND_MAX ? due - done : SEND_MAX)
			send_some(p, done, due - done < SEND_MAX ? due : done + SEND_MAX);
	}
	return total;
}

static void *sender_run(void *arg)
{
	struct side *p = arg;
	struct command c;

	while (read(p->from, &c, sizeof(c)) == sizeof(c)) {
		uint64_t total = 0;

		if (p->conf.speakers > 0) {
			speakers_make(p, c.port);
			total = talk(p, c.seconds);
		}
		LIVE_MUST(write(p->to, &total, sizeof(total)) == sizeof(total));
	}
	raise(SIGTERM);
	return NULL;
}

/* ---- the bench's side ---- */

static void expect(struct live_peer *p, char what)
{
	char c = 0;

	LIVE_MUST(read(p->from, &c, 1) == 1 && c == what);
}

void live_peer_start(struct live_peer *p, const struct live_peer_conf *conf)
{
	int down[2], up[2];

	LIVE_MUST(pipe(down) == 0 && pipe(up) == 0);
	fflush(NULL);
	LIVE_MUST((p->pid = fork()) >= 0);
	if (p->pid == 0) {
		close(down[1]);
		close(up[0]);
		peer_run(conf, down[0], up[1]);
	}
	close(down[0]);
	close(up[1]);
	p->to = down[1];
	p->from = up[0];
	expect(p, 'r');
}

void live_peer_wait(struct live_peer *p)
{
	expect(p, 'd');
}

uint64_t live_peer_talk(struct live_peer *p, double seconds, uint16_t port)
{
	struct command c = { .seconds = seconds, .port = port };
	uint64_t total;

	LIVE_MUST(write(p->to, &c, sizeof(c)) == sizeof(c));
	LIVE_MUST(read(p->from, &total, sizeof(total)) == sizeof(total));
	return total;
}

void live_peer_end(struct live_peer *p)
{
	close(p->to);
	waitpid(p->pid, NULL, 0);
	close(p->from);
}
