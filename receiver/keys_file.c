/* SPDX-License-Identifier: ISC */
#include "receiver/keys_file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/ipc.h"
#include "receiver/json_read.h"

enum { KEYS_FILE_MAX = 16 * 1024 * 1024, MAX_SPEAKERS = 65536, MAX_EPOCHS = 65536, SCHEMA = 1 };
/* Ten years: beyond any capture, and nowhere near an overflow. */
#define MAX_FROM_US (315360000 * 1000000ll)

/* Where complaints go. */
struct complaint {
	char *text;
	size_t len;
};

static int wrong(const struct complaint *to, const char *member, const char *what)
{
	snprintf(to->text, to->len, "%s: %s", member, what);
	return TD_ERR_USAGE;
}

static int read_id(uint64_t *ret, const json_t *from, const char *member,
	const struct complaint *to)
{
	const json_t *v = json_object_get(from, member);

	if (json_read_id(ret, v) == TD_OK)
		return TD_OK;
	return wrong(to, member, v == NULL ? "missing" : "not an id (a decimal string)");
}

static int read_mode_and_key(struct keys_file *k, json_t *root, const struct complaint *to)
{
	json_t *mode = json_object_get(root, "mode"), *key = json_object_get(root, "secret_key");
	size_t len = 0;
	int r = TD_OK;

	if (!json_is_string(mode))
		return wrong(to, "mode", mode == NULL ? "missing" : "not a string");
	if (transport_mode_parse(&k->mode, json_string_value(mode)) != TD_OK)
		return wrong(to, "mode", "not a mode of voice gateway v8");
	if (k->mode == TRANSPORT_NONE)
		return TD_OK;
	if (!json_is_string(key))
		return wrong(to, "secret_key", key == NULL ? "missing" : "not a string");
	if (json_string_length(key) != 2 * TRANSPORT_KEY_LEN ||
		sodium_hex2bin(k->secret_key, sizeof(k->secret_key), json_string_value(key),
			json_string_length(key), NULL, &len, NULL) != 0 ||
		len != TRANSPORT_KEY_LEN)
		r = wrong(to, "secret_key", "not 64 hexadecimal digits");
	json_read_wipe(key);
	return r;
}

static int read_server(struct keys_file *k, const json_t *root, const struct complaint *to)
{
	const json_t *server = json_object_get(root, "server");
	const char *ip = json_string_value(json_object_get(server, "ip"));
	int64_t port;

	if (server == NULL || json_is_null(server))
		return TD_OK;
	if (!json_is_object(server))
		return wrong(to, "server", "not an object");
	if (ip == NULL)
		return wrong(to, "server.ip", "missing");
	if (json_read_int(&port, json_object_get(server, "port"), 1, 65535) != TD_OK)
		return wrong(to, "server.port", "not a port");
	if (inet_pton(AF_INET, ip, k->server.ip) == 1)
		k->server.family = 4;
	else if (inet_pton(AF_INET6, ip, k->server.ip) == 1)
		k->server.family = 6;
	else
		return wrong(to, "server.ip", "not an address");
	k->server.port = (uint16_t)port;
	k->has_server = true;
	return TD_OK;
}

static int read_speaker(struct keys_speaker *ret, const json_t *v, const struct complaint *to)
{
	const json_t *from = json_object_get(v, "from_us");
	int64_t ssrc = 0, from_us = 0;

	if (!json_is_object(v))
		return wrong(to, "speakers", "holds something that is not an object");
	ret->left = json_is_true(json_object_get(v, "left"));
	if (!ret->left && json_read_int(&ssrc, json_object_get(v, "ssrc"), 0, UINT32_MAX) != TD_OK)
		return wrong(to, "speakers.ssrc", "not a number of 32 bits");
	if (json_read_id(&ret->user_id, json_object_get(v, "user_id")) != TD_OK)
		return wrong(to, "speakers.user_id", "not an id (a decimal string)");
	if (from != NULL && json_read_int(&from_us, from, 0, MAX_FROM_US) != TD_OK)
		return wrong(to, "speakers.from_us", "not a number of microseconds");
	ret->ssrc = (uint32_t)ssrc;
	ret->from_ns = (uint64_t)from_us * TD_US_NS;
	return TD_OK;
}

/* Insertion sort: files are in order nearly always, and equal times must stay as they are. */
static void sort_speakers(struct keys_file *k)
{
	size_t i, j;

	for (i = 1; i < k->speaker_count; i++) {
		struct keys_speaker s = k->speakers[i];

		for (j = i; j > 0 && k->speakers[j - 1].from_ns > s.from_ns; j--)
			k->speakers[j] = k->speakers[j - 1];
		k->speakers[j] = s;
	}
}

static int read_speakers(struct keys_file *k, const json_t *root, const struct complaint *to)
{
	const json_t *speakers = json_object_get(root, "speakers");
	size_t i, n = json_array_size(speakers);
	int r = TD_OK;

	if (!json_is_array(speakers))
		return wrong(to, "speakers", speakers == NULL ? "missing" : "not an array");
	if (n > MAX_SPEAKERS)
		return wrong(to, "speakers", "too many");
	if ((k->speakers = calloc(n > 0 ? n : 1, sizeof(*k->speakers))) == NULL)
		return TD_ERR_NOMEM;
	for (i = 0; i < n && r == TD_OK; i++)
		r = read_speaker(&k->speakers[i], json_array_get(speakers, i), to);
	k->speaker_count = n;
	sort_speakers(k);
	return r;
}

static int read_sender(struct dave_sender *ret, const json_t *v, const struct complaint *to)
{
	json_t *secret = json_object_get(v, "secret");
	size_t len = 0;
	bool good;

	if (json_read_id(&ret->user_id, json_object_get(v, "user_id")) != TD_OK)
		return wrong(to, "dave.senders.user_id", "not an id (a decimal string)");
	good = json_is_string(secret) &&
		sodium_hex2bin(ret->secret, sizeof(ret->secret), json_string_value(secret),
			json_string_length(secret), NULL, &len, NULL) == 0 &&
		len == DAVE_SECRET_LEN && json_string_length(secret) == 2 * DAVE_SECRET_LEN;
	json_read_wipe(secret);
	return good ? TD_OK : wrong(to, "dave.senders.secret", "not 32 hexadecimal digits");
}

static int read_epoch(struct keys_epoch *ret, const json_t *v, const struct complaint *to)
{
	const json_t *senders = json_object_get(v, "senders");
	int64_t from_us = 0, version, epoch = 0;
	size_t i, n = json_array_size(senders);
	int r = TD_OK;

	if (!json_is_object(v))
		return wrong(to, "dave", "holds something that is not an object");
	if (json_object_get(v, "from_us") != NULL &&
		json_read_int(&from_us, json_object_get(v, "from_us"), 0, MAX_FROM_US) != TD_OK)
		return wrong(to, "dave.from_us", "not a number of microseconds");
	if (json_read_int(&version, json_object_get(v, "protocol_version"), 0, DAVE_MAX_VERSION) !=
		TD_OK)
		return wrong(to, "dave.protocol_version", "not 0 or 1");
	if (json_object_get(v, "epoch") != NULL &&
		json_read_int(&epoch, json_object_get(v, "epoch"), 0, INT64_MAX) != TD_OK)
		return wrong(to, "dave.epoch", "not a number");
	if ((senders != NULL && !json_is_array(senders)) || n > IPC_DAVE_MAX_SENDERS)
		return wrong(to, "dave.senders", "not an array of at most 2048");
	if ((ret->senders = sodium_allocarray(n, sizeof(*ret->senders))) == NULL)
		return TD_ERR_NOMEM;
	for (i = 0; i < n && r == TD_OK; i++)
		r = read_sender(&ret->senders[i], json_array_get(senders, i), to);
	ret->sender_count = n;
	ret->from_ns = (uint64_t)from_us * TD_US_NS;
	ret->epoch = (uint64_t)epoch;
	ret->protocol_version = (unsigned)version;
	return r;
}

static int read_dave(struct keys_file *k, const json_t *root, const struct complaint *to)
{
	const json_t *dave = json_object_get(root, "dave");
	size_t i, j, n = json_array_size(dave);
	int r;

	if (dave == NULL || json_is_null(dave))
		return TD_OK;
	if (!json_is_array(dave) || n > MAX_EPOCHS)
		return wrong(to, "dave", "not an array, or too long");
	if ((k->dave = calloc(n > 0 ? n : 1, sizeof(*k->dave))) == NULL)
		return TD_ERR_NOMEM;
	for (i = 0; i < n; i++) {
		struct keys_epoch e;

		k->dave_count = i + 1;
		if ((r = read_epoch(&k->dave[i], json_array_get(dave, i), to)) != TD_OK)
			return r;
		e = k->dave[i];
		for (j = i; j > 0 && k->dave[j - 1].from_ns > e.from_ns; j--)
			k->dave[j] = k->dave[j - 1];
		k->dave[j] = e;
	}
	return TD_OK;
}

static int read_root(struct keys_file *k, json_t *root, const struct complaint *to)
{
	const json_t *schema = json_object_get(root, "schema");
	int64_t number;
	int r;

	if (!json_is_object(root))
		return wrong(to, "file", "not a JSON object");
	if (json_read_int(&number, schema, SCHEMA, SCHEMA) != TD_OK)
		return wrong(to, "schema", schema == NULL ? "missing" : "not 1");
	if ((r = read_id(&k->guild_id, root, "guild_id", to)) != TD_OK ||
		(r = read_id(&k->channel_id, root, "channel_id", to)) != TD_OK ||
		(r = read_id(&k->user_id, root, "user_id", to)) != TD_OK ||
		(r = read_mode_and_key(k, root, to)) != TD_OK ||
		(r = read_server(k, root, to)) != TD_OK)
		return r;
	if ((r = read_speakers(k, root, to)) != TD_OK)
		return r;
	return read_dave(k, root, to);
}

int keys_file_parse(struct keys_file **ret, const char *text, size_t len, char *err, size_t err_len)
{
	struct complaint to = { err, err_len };
	struct keys_file *k = sodium_malloc(sizeof(*k));
	json_t *root = NULL;
	json_error_t e;
	int r = TD_ERR_NOMEM;

	if (k == NULL)
		goto out;
	memset(k, 0, sizeof(*k));
	/* jansson's own text quotes what it read, and that may be the key. */
	if ((root = json_read_text(text, len, JSON_REJECT_DUPLICATES, &e)) == NULL) {
		r = errno == ENOMEM ? TD_ERR_NOMEM : TD_ERR_USAGE;
		if (r == TD_ERR_NOMEM)
			snprintf(err, err_len, "%s", td_strerror(r));
		else
			snprintf(err, err_len, "not JSON near line %d, column %d", e.line,
				e.column);
		goto out;
	}
	if ((r = read_root(k, root, &to)) != TD_OK)
		goto out;
	*ret = k;
	k = NULL;
out:
	json_decref(root);
	keys_file_free(k);
	return r;
}

int keys_file_read(struct keys_file **ret, const char *path, char *err, size_t err_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = TD_ERR_IO;
	size_t len = 0, cap = 0;
	char *text = NULL;
	ssize_t n = -1;

	while (fd >= 0 && len < KEYS_FILE_MAX) {
		if (cap - len < 4096) {
			char *bigger = sodium_malloc(cap * 2 + 65536);

			if (bigger == NULL)
				break;
			if (text != NULL)
				memcpy(bigger, text, len);
			sodium_free(text);
			text = bigger;
			cap = cap * 2 + 65536;
		}
		n = read(fd, text + len, cap - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (n == 0)
		r = keys_file_parse(ret, text, len, err, err_len);
	else
		snprintf(err, err_len, "%s", len >= KEYS_FILE_MAX ? "too large" : strerror(errno));
	sodium_free(text);
	if (fd >= 0)
		close(fd);
	return r;
}

void keys_file_free(struct keys_file *k)
{
	size_t i;

	if (k == NULL)
		return;
	for (i = 0; i < k->dave_count; i++)
		sodium_free(k->dave[i].senders);
	free(k->dave);
	free(k->speakers);
	sodium_free(k);
}
