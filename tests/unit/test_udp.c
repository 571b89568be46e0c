/* SPDX-License-Identifier: ISC */
#include "receiver/udp.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* after stdarg.h and its kin */
#include <cmocka.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/rtp.h"

/* Two connections to a server that is us. */
enum { CONNECTIONS = 2, LONG_MS = 100000 };

struct place {
	uv_loop_t loop;
	struct udp_reader *reader;
	uint64_t foreign;
	struct {
		struct udp *udp;
		struct sockaddr_in at;
		unsigned got, said;
		uint64_t last_ns;
	} conn[CONNECTIONS];
	int peer;
	bool asks; /* for the others, at each datagram */
};

static void on_datagram(void *user, uint64_t arrival_ns, const uint8_t *data, size_t len)
{
	struct place *p = user;
	unsigned i = data[0];

	assert_int_equal(len, 20);
	assert_in_range(i, 0, CONNECTIONS - 1);
	assert_int_equal(data[1], p->conn[i].got % 256);
	if (p->asks)
		udp_reader_catch_up(p->reader);
	assert_true(arrival_ns >= p->conn[i].last_ns);
	p->conn[i].last_ns = arrival_ns;
	p->conn[i].got++;
}

static void on_foreign(void *user, uint32_t n)
{
	struct place *p = user;

	p->foreign += n;
}

static void on_failed(void *user, const char *why)
{
	(void)user;
	(void)why;
	fail();
}

static void place_open(struct place *p, unsigned latency_ms)
{
	struct sockaddr_in here = { .sin_family = AF_INET };
	struct udp_conf conf = { .loop = &p->loop,
		.host = "127.0.0.1",
		.datagram = on_datagram,
		.failed = on_failed,
		.foreign = on_foreign,
		.user = p };
	socklen_t len = sizeof(here);
	uint8_t request[100];

	memset(p, 0, sizeof(*p));
	uv_loop_init(&p->loop);
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p->peer = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(p->peer, (struct sockaddr *)&here, sizeof(here)), 0);
	assert_int_equal(getsockname(p->peer, (struct sockaddr *)&here, &len), 0);
	conf.port = ntohs(here.sin_port);
	assert_int_equal(udp_reader_new(&p->reader, &p->loop, latency_ms), TD_OK);
	conf.reader = p->reader;
	for (int i = 0; i < CONNECTIONS; i++) {
		assert_int_equal(udp_new(&p->conn[i].udp, &conf), TD_OK);
		uv_run(&p->loop, UV_RUN_NOWAIT); /* asks for our address */
		len = sizeof(p->conn[i].at);
		assert_true(recvfrom(p->peer, request, sizeof(request), 0,
				    (struct sockaddr *)&p->conn[i].at, &len) > 0);
	}
}

static void place_close(struct place *p)
{
	for (int i = 0; i < CONNECTIONS; i++)
		udp_free(p->conn[i].udp);
	udp_reader_free(p->reader);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&p->loop), 0);
	close(p->peer);
}

/* Datagrams to connection i. */
static void say(struct place *p, int i, unsigned count)
{
	uint8_t data[20] = { (uint8_t)i };

	while (count-- > 0) {
		data[1] = (uint8_t)p->conn[i].said++;
		assert_int_equal(sendto(p->peer, data, sizeof(data), 0,
					 (struct sockaddr *)&p->conn[i].at, sizeof(p->conn[i].at)),
			sizeof(data));
	}
}

static void look(struct place *p)
{
	for (int i = 0; i < 10; i++)
		uv_run(&p->loop, UV_RUN_NOWAIT);
}

/* One datagram, read at once: what follows waits. */
static void first_comes(struct place *p)
{
	say(p, 0, 1);
	look(p);
	assert_int_equal(p->conn[0].got, 1);
}

/* What comes alone does not wait, what comes soon after it does, until somebody asks. */
static void waits_for_more(void **state)
{
	static struct place p;

	(void)state;
	place_open(&p, LONG_MS);
	first_comes(&p);
	say(&p, 0, 100);
	say(&p, 1, 3);
	look(&p);
	assert_int_equal(p.conn[0].got, 1);
	assert_int_equal(p.conn[1].got, 0);
	udp_reader_catch_up(p.reader);
	assert_int_equal(p.conn[0].got, 101);
	assert_int_equal(p.conn[1].got, 3);
	say(&p, 1, 1);
	look(&p);
	assert_int_equal(p.conn[1].got, 3);
	place_close(&p);
}

/* More than is read of one connection at once: the rest does not wait for the next time. */
static void much_at_once(void **state)
{
	static struct place p;

	(void)state;
	place_open(&p, LONG_MS);
	first_comes(&p);
	say(&p, 0, 400);
	udp_reader_catch_up(p.reader);
	assert_int_equal(p.conn[0].got, 401);
	place_close(&p);

	place_open(&p, 200);
	first_comes(&p);
	say(&p, 0, 400);
	while (p.conn[0].got < 200)
		uv_run(&p.loop, UV_RUN_ONCE);
	look(&p);
	assert_int_equal(p.conn[0].got, 401);
	place_close(&p);
}

/* Where a socket would be full before the time is over, it is read sooner. */
static void very_much(void **state)
{
	static struct place p;

	(void)state;
	place_open(&p, LONG_MS);
	first_comes(&p);
	say(&p, 0, 400);
	udp_reader_catch_up(p.reader);
	say(&p, 0, 10);
	say(&p, 1, 10);
	while (p.conn[0].got < 411)
		uv_run(&p.loop, UV_RUN_ONCE);
	assert_int_equal(p.conn[1].got, 10);
	place_close(&p);
}

/* What is being read is not read over. */
static void asked_meanwhile(void **state)
{
	static struct place p;

	(void)state;
	place_open(&p, LONG_MS);
	p.asks = true;
	say(&p, 0, 40);
	say(&p, 1, 40);
	look(&p);
	udp_reader_catch_up(p.reader);
	assert_int_equal(p.conn[0].got, 40);
	assert_int_equal(p.conn[1].got, 40);
	place_close(&p);
}

/* However much has come: whoever asks has all of it, and not a part with a time after it. */
static void catches_up(void **state)
{
	static struct place p;
	unsigned got;

	(void)state;
	place_open(&p, LONG_MS);
	say(&p, 0, 20000); /* more than there is room for */
	udp_reader_catch_up(p.reader);
	got = p.conn[0].got;
	assert_true(got >= 100);
	udp_reader_catch_up(p.reader);
	assert_int_equal(p.conn[0].got, got);
	place_close(&p);
}

static void goes_on_by_itself(void **state)
{
	static struct place p;
	unsigned round;

	(void)state;
	place_open(&p, 2);
	for (round = 1; round <= 20; round++) {
		say(&p, 0, 5);
		say(&p, 1, 1);
		while (p.conn[0].got < 5 * round || p.conn[1].got < round)
			uv_run(&p.loop, UV_RUN_ONCE);
		usleep(round % 4 == 0 ? 5000 : 0); /* nothing comes, and it is watched again */
		look(&p);
	}
	assert_int_equal(p.conn[0].got, 100);
	assert_int_equal(p.conn[1].got, 20);
	place_close(&p);
}

static void without_a_wait(void **state)
{
	static struct place p;
	unsigned round;

	(void)state;
	place_open(&p, 0);
	for (round = 1; round <= 20; round++) {
		say(&p, 0, 1);
		look(&p);
		assert_int_equal(p.conn[0].got, round);
	}
	place_close(&p);
}

/* Of a connection that is gone nothing is read any more, of the others everything. */
static void one_goes(void **state)
{
	static struct place p;

	(void)state;
	place_open(&p, LONG_MS);
	first_comes(&p);
	say(&p, 0, 1);
	say(&p, 1, 1);
	udp_free(p.conn[0].udp);
	p.conn[0].udp = NULL;
	udp_reader_catch_up(p.reader);
	assert_int_equal(p.conn[0].got, 1);
	assert_int_equal(p.conn[1].got, 1);
	look(&p);
	place_close(&p);
}

static int socket_at(uint32_t address)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	at.sin_addr.s_addr = htonl(address);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* Datagrams of another port and of another address are counted, whatever they say and however many
 * they are, and take no room from the server's. Nobody else can have our address. */
static void of_others(void **state)
{
	enum { MANY = 20000 };
	static struct place p;
	uint8_t data[1200] = { 0 };
	int port, address, third, one = 1;

	(void)state;
	place_open(&p, LONG_MS);
	port = socket_at(INADDR_LOOPBACK);
	address = socket_at(INADDR_LOOPBACK + 1);
	third = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(setsockopt(third, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_not_equal(bind(third, (struct sockaddr *)&p.conn[0].at, sizeof(p.conn[0].at)),
		0);
	for (unsigned i = 0; i < MANY; i++) {
		assert_true(sendto(port, data, sizeof(data), 0, (struct sockaddr *)&p.conn[0].at,
				    sizeof(p.conn[0].at)) > 0);
		assert_true(sendto(address, data, 20, 0, (struct sockaddr *)&p.conn[0].at,
				    sizeof(p.conn[0].at)) > 0);
		if (i % 200 == 0)
			say(&p, 0, 1);
	}
	assert_int_equal(p.foreign, 0);
	look(&p);
	udp_reader_catch_up(p.reader);
	assert_int_equal(p.conn[0].got, MANY / 200);
	place_close(&p);
	assert_int_equal(p.foreign, 2 * MANY);
	close(port);
	close(address);
	close(third);
}

/* What the server gets until one packet opens that was sealed with this key; keepalives between. */
static void hears_silence(struct place *p, struct transport *key)
{
	uint8_t data[200], plain[200];
	size_t plain_len = 0;
	ssize_t len;

	do {
		uv_run(&p->loop, UV_RUN_NOWAIT);
		len = recv(p->peer, data, sizeof(data), MSG_DONTWAIT);
	} while (len <= 8);
	assert_int_equal(transport_open(key, plain, &plain_len, data, (size_t)len, RTP_MIN_HEADER),
		TD_OK);
	assert_int_equal(plain_len, 3);
}

static void silences(struct place *p, struct udp *u, struct transport *const key[static 2],
	const uint8_t bytes[static 2][TRANSPORT_KEY_LEN])
{
	uint8_t data[200];

	assert_int_equal(udp_key(u, TRANSPORT_AES256_GCM, bytes[0]), TD_OK);
	udp_media(u);
	hears_silence(p, key[0]);
	assert_int_equal(udp_key(u, TRANSPORT_AES256_GCM, bytes[1]), TD_OK);
	for (int i = 1; i < 5; i++)
		hears_silence(p, key[1]);
	assert_int_equal(udp_key(u, TRANSPORT_AES256_GCM, bytes[0]), TD_OK);
	for (uint64_t until_ns = td_mono_ns() + 60 * TD_MS_NS; td_mono_ns() < until_ns;) {
		uv_run(&p->loop, UV_RUN_NOWAIT);
		assert_true(recv(p->peer, data, sizeof(data), MSG_DONTWAIT) <= 8);
	}
}

/* Five packets open the way back, with the newest key; then no key is kept for more. */
static void silence_and_no_key(void **state)
{
	const uint8_t bytes[2][TRANSPORT_KEY_LEN] = { { 1 }, { 2 } };
	static struct place p;
	struct transport *key[2];
	struct mallinfo2 before;

	(void)state;
	place_open(&p, LONG_MS);
	for (int i = 0; i < 2; i++)
		assert_int_equal(transport_new(&key[i], TRANSPORT_AES256_GCM, bytes[i]), TD_OK);
	udp_media(p.conn[1].udp); /* without a key: nothing */
	/* The first time the library fetches its ciphers. */
	silences(&p, p.conn[0].udp, key, bytes);
	before = mallinfo2();
	silences(&p, p.conn[1].udp, key, bytes);
	assert_true(mallinfo2().uordblks <= before.uordblks + 256);
	for (int i = 0; i < 2; i++)
		transport_free(key[i]);
	place_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_for_more),
		cmocka_unit_test(much_at_once),
		cmocka_unit_test(very_much),
		cmocka_unit_test(asked_meanwhile),
		cmocka_unit_test(catches_up),
		cmocka_unit_test(goes_on_by_itself),
		cmocka_unit_test(without_a_wait),
		cmocka_unit_test(one_goes),
		cmocka_unit_test(of_others),
		cmocka_unit_test(silence_and_no_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
