/* SPDX-License-Identifier: ISC */
/*
 * A keys file, which comes from wherever the capture comes from: what is taken is whole and in
 * order, what is refused says why in one line and never quotes the key.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/ipc.h"
#include "receiver/keys_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_file(const struct keys_file *k)
{
	uint64_t sum = 0;

	check((unsigned)k->mode < TRANSPORT_MODES);
	if (k->has_server)
		check((k->server.family == 4 || k->server.family == 6) && k->server.port != 0);
	for (size_t i = 0; i < k->speaker_count; i++) {
		check(i == 0 || k->speakers[i - 1].from_ns <= k->speakers[i].from_ns);
		check(k->speakers[i].user_id != 0);
	}
	for (size_t i = 0; i < k->dave_count; i++) {
		const struct keys_epoch *e = &k->dave[i];

		check(i == 0 || k->dave[i - 1].from_ns <= e->from_ns);
		check(e->sender_count <= IPC_DAVE_MAX_SENDERS && e->protocol_version <= 1);
		for (size_t n = 0; n < e->sender_count; n++)
			sum += e->senders[n].user_id + e->senders[n].secret[DAVE_SECRET_LEN - 1];
	}
	for (size_t i = 0; i < TRANSPORT_KEY_LEN; i++)
		sum += k->secret_key[i];
	check(sum != 1); /* all of it is there to be read */
}

/* Not one run of the input's digits, as long as keys are, is in what people are told. */
static void check_text(const char *err, const uint8_t *data, size_t size)
{
	check(err[0] != '\0');
	for (const char *p = err; *p != '\0'; p++)
		check((unsigned char)*p >= ' ');
	for (size_t at = 0; at + 16 <= size; at++) {
		char run[17] = "";
		size_t n = 0;

		while (n < 16 && strchr("0123456789abcdefABCDEF", data[at + n]) != NULL &&
			data[at + n] != '\0')
			n++;
		if (n < 16)
			continue;
		memcpy(run, data + at, 16);
		check(strstr(err, run) == NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* An exact copy, so that reading one byte too far shows. */
	char *text = malloc(size + (size == 0)), err[128] = "";
	struct keys_file *k = NULL;
	int r;

	check(sodium_init() >= 0 && text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	r = keys_file_parse(&k, text, size, err, sizeof(err));
	check((r == TD_OK) == (k != NULL) && (r == TD_OK || r == TD_ERR_USAGE));
	if (r == TD_OK)
		check_file(k);
	else
		check_text(err, data, size);
	keys_file_free(k);
	free(text);
	return 0;
}
