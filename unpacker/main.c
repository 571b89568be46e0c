/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#include "common/dave_frame.h"
#include "common/err.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/transport.h"
#include "unpacker/sandbox.h"
#include "unpacker/worker.h"

#ifdef TD_COVERAGE_NOT_SANDBOXED
/* make coverage alone: in its sandbox a process could not write down which lines it ran. */
#define sandbox_enter() TD_OK
#endif

/* Replies are written together, but not so late that the receiver waits for them. */
enum { WRITE_AT = 128 * 1024 };

static int ignore_signals(void);
static int warm_up(struct worker *w);
static int serve(struct worker *w, struct ipc_reader *in);

/*
 * A sandboxed worker, started by the receiver with the request pipe at fd 3 and the reply pipe at
 * fd 4. Exit 0: the receiver closed the request pipe; 1: anything else.
 */
int main(void)
{
	struct ipc_reader *in = NULL;
	struct ipc_queue out;
	struct worker w;
	int r;

	if (fcntl(IPC_FD_REQUEST, F_GETFD) < 0 || fcntl(IPC_FD_REPLY, F_GETFD) < 0) {
		fprintf(stderr,
			"unpacker: the receiver starts me; by hand there is nothing to do\n");
		return 1;
	}
	ipc_queue_init(&out);
	worker_init(&w, &out);
	td_log_set_hook(worker_log, &out);     /* 1 what is logged goes to the receiver */
	if ((r = ignore_signals()) == TD_OK && /* 2 stopping is the receiver's business */
		(r = ipc_reader_new(&in, IPC_TO_WORKER)) == TD_OK &&
		(r = warm_up(&w)) == TD_OK &&   /* 3 whatever needs files, CPU or random bits */
		(r = sandbox_enter()) == TD_OK) /* 4 from here on: two pipes and memory */
		r = serve(&w, in);              /* 5 until the receiver closes its end */

	if (r != TD_OK && r != TD_ERR_PEER_GONE) {
		log_error("worker ends: %s", td_strerror(r));
		(void)ipc_queue_write(&out, IPC_FD_REPLY);
	}
	worker_free(&w);
	ipc_reader_free(in);
	ipc_queue_free(&out);
	return r == TD_OK ? 0 : 1;
}

/* A terminal's ^C and a service manager's stop reach every process of the group at once. The
 * receiver ends its recordings first, and a worker by closing its pipe. */
static int ignore_signals(void)
{
	static const int ignored[] = { SIGPIPE, SIGINT, SIGTERM, SIGHUP };
	size_t i;

	for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
		if (signal(ignored[i], SIG_IGN) == SIG_ERR)
			return TD_ERR_SYS;
	}
	return TD_OK;
}

static int warm_up_dave(void)
{
	static const uint8_t zeros[DAVE_FRAME_KEY_LEN];
	uint8_t sealed[sizeof(zeros) + DAVE_FRAME_MAX_TRAILER], plain[sizeof(zeros)];
	struct dave_frame_key *k;
	struct dave_frame f;
	size_t len;
	int r;

	if ((r = dave_frame_key_new(&k, zeros)) != TD_OK)
		return r;
	if ((r = dave_frame_seal(k, sealed, &len, zeros, sizeof(zeros), 0, NULL, 0)) == TD_OK &&
		(r = dave_frame_parse(&f, sealed, len)) == TD_OK)
		r = dave_frame_open(k, plain, &f, sealed);
	dave_frame_key_free(k);
	return r;
}

/* Does once what every library does differently the first time: read its configuration, ask the
 * CPU, fetch random bits, find its tables. */
static int warm_up(struct worker *w)
{
	static const size_t lens[] = { 8, 512 }; /* different code, perhaps */
	static const uint8_t key[TRANSPORT_KEY_LEN], aad[12], zeros[512];
	uint8_t sealed[640], plain[640];
	struct decoder *d;
	size_t len, plain_len, i;
	int mode, channels, r;

	/* No configuration: it is of services and certificates, and takes longer to read than the
	 * rest of this. */
	if (sodium_init() < 0 ||
		OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL) !=
			1)
		return TD_ERR_SYS;
	for (mode = 0; mode < TRANSPORT_MODES; mode++) {
		struct transport *t;

		if ((r = transport_new(&t, (enum transport_mode)mode, key)) != TD_OK)
			return r;
		for (i = 0; r == TD_OK && i < sizeof(lens) / sizeof(lens[0]); i++) {
			len = transport_seal(t, sealed, aad, sizeof(aad), zeros, lens[i], 1);
			r = transport_open(t, plain, &plain_len, sealed, len, sizeof(aad));
		}
		transport_free(t);
		if (r != TD_OK)
			return r;
	}
	if ((r = warm_up_dave()) != TD_OK)
		return r;
	for (channels = 1; channels <= 2; channels++) {
		if ((r = decoder_get(&d, &w->pool, channels)) != TD_OK)
			return r;
		decoder_put(&w->pool, d);
	}
	return TD_OK;
}

static int flush_replies(struct worker *w)
{
	int r = ipc_queue_write(w->out, IPC_FD_REPLY);

	/* The pipe blocks, whatever the receiver made of its own end. */
	return r == 1 ? TD_ERR_SYS : r;
}

static int handle_all(struct worker *w, struct ipc_reader *in)
{
	struct ipc_msg m;
	int r;

	while ((r = ipc_reader_next(in, &m)) == 1) {
		if ((r = worker_message(w, &m)) != TD_OK) {
			log_error("request %s: %s", ipc_type_name(m.hdr.type), td_strerror(r));
			return r;
		}
		if (w->out->len > WRITE_AT && (r = flush_replies(w)) != TD_OK)
			return r;
	}
	return r == TD_OK ? flush_replies(w) : r;
}

static int serve(struct worker *w, struct ipc_reader *in)
{
	for (;;) {
		size_t room;
		uint8_t *to = ipc_reader_room(in, &room);
		ssize_t n = read(IPC_FD_REQUEST, to, room);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return TD_ERR_SYS;
		if (n == 0)
			return TD_OK;
		ipc_reader_fed(in, (size_t)n);
		if ((r = handle_all(w, in)) != TD_OK)
			return r;
	}
}
