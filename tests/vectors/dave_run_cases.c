/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "common/err.h"
#include "receiver/dave_code.h"
#include "tests/vectors/dave_run.h"

/* Single messages to judge, and verification codes. */

/* Everybody a commit or Welcome might add is known here: what is judged is the message. */
static void name_all(struct live *l, const json_t *c)
{
	struct mls_span payload;
	json_t *s;
	size_t i, at;

	json_array_foreach(run_array(l->v, c, "setup"), i, s)
	{
		if (run_number(l->v, s, "op") != 27)
			continue;
		payload = run_hex(l->v, s, "payload");
		/* An Add's identity: basic credential, 8 bytes, then the capabilities. */
		for (at = 0; at + 15 <= payload.len; at++) {
			static const uint8_t before[] = { 0, 1, 8 };
			static const uint8_t behind[] = { 2, 0, 1, 2 };
			struct rd rd;

			if (memcmp(payload.p + at, before, 3) != 0 ||
				memcmp(payload.p + at + 11, behind, 4) != 0)
				continue;
			rd_init(&rd, payload.p + at + 3, 8);
			dave_session_user(l->d, rd_u64(&rd), true);
			live_take(l);
		}
	}
}

static void set_up(struct live *l, const json_t *c)
{
	const json_t *keys = json_object_get(c, "keys");
	struct run *v = l->v;
	json_t *s;
	size_t i;

	dave_session_version(l->d, 1, l->now_ns);
	live_take(l);
	WANT(v, live_said(l, 26, -1));
	live_use_package(l, keys, run_hex(v, keys, "key_package"));
	json_array_foreach(run_array(v, c, "setup"), i, s)
	{
		WANT(v,
			live_message(l, (unsigned)run_number(v, s, "op"),
				run_hex(v, s, "payload")) == TD_OK);
	}
	if (json_object_get(c, "setup_epoch_authenticator") != NULL) {
		WANT(v, dave_group_is_established(&l->d->group));
		WANT(v,
			run_same(mls_group_authenticator(live_group(l)), MLS_HASH_LEN,
				run_hex(v, c, "setup_epoch_authenticator")));
	}
}

static void judge(struct live *l, const json_t *c)
{
	const json_t *message = json_object_get(c, "message");
	const char *expect = run_text(l->v, c, "expect");
	struct run *v = l->v;
	bool accept = strcmp(expect, "accept") == 0;
	int r;

	l->n_sent = 0;
	r = live_message(l, (unsigned)run_number(v, message, "op"), run_hex(v, message, "payload"));
	if (strcmp(expect, "either") == 0)
		accept = r == TD_OK;
	else
		WANT(v, strcmp(expect, "accept") == 0 || strcmp(expect, "refuse") == 0);
	if (!accept) {
		WANT(v, r < 0);
		WANT(v, !td_err_is_fatal(r));
		if (run_number(v, message, "op") == 27)
			return;
		WANT(v, live_said(l, 31, -1));
		WANT(v, live_said(l, 26, -1));
		return;
	}
	WANT(v, r == TD_OK);
	if (json_object_get(c, "epoch_authenticator") == NULL)
		return;
	WANT(v, live_group(l) != NULL);
	WANT(v,
		run_same(mls_group_authenticator(live_group(l)), MLS_HASH_LEN,
			run_hex(v, c, "epoch_authenticator")));
}

static void run_case(struct run *v, const json_t *root, const json_t *c)
{
	struct live l;
	uint64_t user_id = run_id(v, json_object_get(c, "user_id") != NULL ? c : root, "user_id");

	if (!run_want(v, live_open(&l, v, run_id(v, root, "channel_id"), user_id), "a session",
		    __FILE__, __LINE__))
		return;
	name_all(&l, c);
	if (!v->broken)
		set_up(&l, c);
	if (!v->broken)
		judge(&l, c);
	live_close(&l);
}

void run_cases(struct run *v, const json_t *root)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(root, "cases"), i, c)
	{
		run_begin(v, "case %s", run_text(v, c, "name"));
		run_case(v, root, c);
		run_end(v);
	}
}

static void run_code(struct run *v, const json_t *c)
{
	struct mls_span data = run_hex(v, c, "data");
	size_t digits = run_number(v, c, "digits");
	char text[128];

	WANT(v, run_number(v, c, "group") == DAVE_CODE_GROUP && digits < sizeof(text));
	WANT(v, dave_code(text, digits, data.p, data.len) == TD_OK);
	WANT(v, strcmp(text, run_text(v, c, "code")) == 0);
}

static void run_fingerprint(struct run *v, const json_t *c)
{
	struct mls_span local = run_hex(v, c, "local_public");
	struct mls_span remote = run_hex(v, c, "remote_public");
	struct dave_fingerprint_user a = { run_id(v, c, "local_user_id"), local.p, local.len };
	struct dave_fingerprint_user b = { run_id(v, c, "remote_user_id"), remote.p, remote.len };
	uint8_t out[DAVE_FINGERPRINT_LEN];
	char text[DAVE_FINGERPRINT_DIGITS + 1];

	WANT(v, run_number(v, c, "version") == 0);
	WANT(v, dave_fingerprint(out, &a, &b) == TD_OK);
	WANT(v, run_same(out, sizeof(out), run_hex(v, c, "fingerprint")));
	WANT(v, dave_code(text, DAVE_FINGERPRINT_DIGITS, out, sizeof(out)) == TD_OK);
	WANT(v, strcmp(text, run_text(v, c, "code")) == 0);
}

void run_codes(struct run *v, const json_t *root)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(root, "displayable_codes"), i, c)
	{
		run_begin(v, "code %zu", i);
		run_code(v, c);
		run_end(v);
	}
	json_array_foreach(json_object_get(root, "pairwise_fingerprints"), i, c)
	{
		run_begin(v, "fingerprint %zu", i);
		run_fingerprint(v, c);
		run_end(v);
	}
}
