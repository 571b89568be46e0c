/* SPDX-License-Identifier: ISC */
/*
 * The DAVE session in calls of several of our own, against a gateway in memory (dave_sim.h): how
 * calls begin, grow, shrink, race, fail and recover.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/mls/mls_group_state.h"
#include "receiver/dave_code.h"
#include "tests/unit/dave_sim.h"

#define TEN_S (10 * TD_SEC_NS)

static void codes(void **state)
{
	static const uint8_t zero[65];
	const struct dave_fingerprint_user a = { 1234, zero, 33 };
	const struct dave_fingerprint_user b = { 5678, zero, 65 };
	const uint8_t data[30] = { 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0xcc,
		0xdd, 0xee, 0xff, 0xaa, 0xdd, 0xee, 0xff, 0xaa, 0xbb, 0xee, 0xff, 0xaa, 0xbb, 0xcc,
		0xff, 0xaa, 0xbb, 0xcc, 0xdd };
	uint8_t one[DAVE_FINGERPRINT_LEN];
	uint8_t two[DAVE_FINGERPRINT_LEN];
	char text[46] = "untouched";

	(void)state;
	assert_int_equal(dave_code(text, 30, data, 29), TD_ERR_TRUNCATED);
	assert_int_equal(dave_code(text, 29, data, 30), TD_ERR_TRUNCATED);
	assert_string_equal(text, "untouched");
	assert_int_equal(dave_code(text, 5, data, 5), TD_OK);
	assert_string_equal(text, "05870");
	assert_int_equal(dave_code(text, 30, data, 30), TD_OK);
	assert_string_equal(text, "058708105556138052119572494877");
	assert_int_equal(dave_fingerprint(one, &a, &b), TD_OK);
	assert_int_equal(dave_fingerprint(two, &b, &a), TD_OK);
	assert_memory_equal(one, two, sizeof(one));
	assert_int_equal(dave_code(text, DAVE_FINGERPRINT_DIGITS, one, sizeof(one)), TD_OK);
	assert_string_equal(text, "167087148466685475014767895181229783641225826");
}

static void users(void **state)
{
	struct dave_users u = { NULL, 0, 0 };
	uint64_t i;

	(void)state;
	for (i = DAVE_MAX_USERS; i > 0; i--)
		assert_int_equal(dave_users_add(&u, i * 3), TD_OK);
	assert_int_equal(dave_users_add(&u, 3), TD_OK);
	assert_int_equal(dave_users_add(&u, 4), TD_ERR_LIMIT);
	assert_true(dave_users_have(&u, 3 * DAVE_MAX_USERS));
	assert_false(dave_users_have(&u, 4));
	dave_users_remove(&u, 4);
	dave_users_remove(&u, 6);
	assert_false(dave_users_have(&u, 6));
	assert_true(dave_users_have(&u, 9));
	assert_int_equal(u.n, DAVE_MAX_USERS - 1);
	dave_users_free(&u);
	assert_false(dave_users_have(&u, 9));
}

/* A plain call: nothing is said, and nothing of DAVE happens to it. */
static void plain(void **state)
{
	struct sim *s = sim_new(1);
	size_t i = sim_client(s);
	struct dave_action a;

	(void)state;
	dave_session_version(s->c[i].d, 0, s->now_ns);
	assert_int_equal(dave_next(s->c[i].d, &a), 0);
	assert_int_equal(sim_say(s, i, 27, "\0\0", 2), TD_ERR_STATE);
	assert_int_equal(sim_say(s, i, 26, "", 0), TD_ERR_UNSUPPORTED);
	dave_session_version(s->c[i].d, 2, s->now_ns);
	sim_take(&s->c[i]);
	assert_int_equal(s->c[i].n_warnings, 1);
	assert_int_equal(s->c[i].n_packages, 0);
	sim_free(s);
}

/* Alone: a key package and nothing more, whatever order opcodes 4 and 25 come in. */
static void first(void **state)
{
	struct sim *s = sim_new(2);
	size_t i = sim_client(s);
	struct dave_session *d = s->c[i].d;
	uint8_t sender[128], before[1024];

	(void)state;
	dave_session_resumed(d);
	sim_take(&s->c[i]);
	assert_int_equal(s->c[i].n_packages, 0);
	dave_session_version(d, 1, s->now_ns);
	sim_take(&s->c[i]);
	assert_int_equal(s->c[i].n_packages, 1);
	assert_null(d->group.group);
	assert_memory_equal(s->c[i].package.b, "\0\1\0\2\x40\x41\x04", 7); /* bare */
	assert_int_equal(sim_say(s, i, 25, s->sender, s->sender_len), TD_OK);
	assert_non_null(d->group.group);
	assert_false(dave_group_is_established(&d->group));
	/* Again, as after a resume, and with a new transport key. */
	assert_int_equal(sim_say(s, i, 25, s->sender, s->sender_len), TD_OK);
	dave_session_version(d, 1, s->now_ns);
	sim_take(&s->c[i]);
	assert_int_equal(s->c[i].n_packages, 1);
	assert_int_equal(s->c[i].n_warnings, 0);
	/* Another one replaces it while there is no group, which people should know. */
	sim_new_sender(s);
	assert_int_equal(sim_say(s, i, 25, s->sender, s->sender_len), TD_OK);
	assert_int_equal(s->c[i].n_warnings, 1);
	assert_int_equal(s->c[i].n_packages, 1);
	/* What is none changes nothing. */
	memcpy(sender, s->sender, s->sender_len);
	sender[20] ^= 1;
	assert_int_equal(sim_say(s, i, 25, sender, s->sender_len), TD_ERR_MALFORMED);
	assert_int_equal(sim_say(s, i, 25, s->sender, s->sender_len - 1), TD_ERR_MALFORMED);
	assert_memory_equal(d->group.sender, s->sender, s->sender_len);
	assert_int_equal(s->c[i].pass_until_ns, UINT64_MAX);
	/* The connection was cut, and perhaps before the key package had arrived. */
	assert_true(s->c[i].package.len <= sizeof(before));
	memcpy(before, s->c[i].package.b, s->c[i].package.len);
	dave_session_resumed(d);
	sim_take(&s->c[i]);
	assert_int_equal(s->c[i].n_packages, 2);
	assert_memory_equal(s->c[i].package.b, before, s->c[i].package.len);
	sim_free(s);
}

/* The first two: either commit may win, the other side comes in by a Welcome. */
static void two(void **state)
{
	size_t winner;

	(void)state;
	for (winner = 0; winner < 2; winner++) {
		struct sim *s = sim_new(3);
		const struct sim_client *c;

		sim_enter(s);
		sim_enter(s);
		sim_propose_missing(s);
		assert_int_equal(s->c[0].n_commits, 1);
		assert_int_equal(s->c[1].n_commits, 1);
		sim_announce(s, winner, 0);
		sim_check(s);
		dave_session_resumed(s->c[0].d);
		sim_take(&s->c[0]);
		assert_int_equal(s->c[0].n_packages, 1);
		assert_int_equal(s->c[0].epoch, 1);
		c = &s->c[1 - winner];
		assert_int_equal(c->n_ready, 0); /* id 0 is executed at once */
		assert_true(c->d->executed);
		assert_int_equal(c->pass_until_ns, s->now_ns + TEN_S);
		assert_null(c->d->group.package);
		sim_free(s);
	}
}

/* Opcode 29 that also comes to those who are welcomed is left alone. */
static void foreign_while_pending(void **state)
{
	struct sim *s = sim_new(4);
	struct sim_bytes commit;

	(void)state;
	sim_enter(s);
	sim_enter(s);
	sim_propose_missing(s);
	commit = sim_half(s, 1, 5, false);
	assert_int_equal(sim_say(s, 0, 29, commit.b, commit.len), TD_OK);
	assert_int_equal(s->c[0].n_invalid + s->c[0].n_ready, 0);
	assert_false(sim_in(s, 0));
	sim_announce(s, 1, 5);
	sim_check(s);
	assert_int_equal(s->c[0].n_ready, 1);
	assert_int_equal(s->c[0].ready_id, 5);
	free(commit.b);
	sim_free(s);
}

/* Random joins and leaves, any member's commit; everybody says ready once a transition. */
static void churn(void **state)
{
	struct sim *s = sim_new_call(5, 2);
	unsigned round;

	(void)state;
	for (round = 0; round < 40; round++) {
		uint32_t dice;
		size_t i, in[SIM_MAX], n = 0;

		sim_draw(s, (uint8_t *)&dice, sizeof(dice));
		for (i = 0; i < s->n; i++)
			if (s->c[i].connected)
				in[n++] = i;
		sim_forget(s);
		if (n < 3 || (dice & 1) != 0) {
			sim_enter(s);
			sim_join_all(s);
		} else {
			size_t gone = in[(dice >> 1) % n];
			size_t committer = in[(dice >> 9) % n];

			sim_leave(s, gone, committer == gone ? in[gone == in[0]] : committer);
		}
		sim_check(s);
		for (i = 0; i < s->n; i++)
			if (s->c[i].connected) {
				assert_int_equal(s->c[i].n_ready, 1);
				assert_int_equal(s->c[i].n_invalid + s->c[i].n_warnings, 0);
				assert_int_equal(s->c[i].d->n_pending, 0);
				assert_int_equal(s->c[i].d->group.n_own, 0);
			}
		s->now_ns += TD_SEC_NS;
	}
	assert_true(sim_epoch(s) > 40);
	sim_free(s);
}

/* Everybody's commit competes, and an earlier one of ours may be the one that is taken. */
static void race(void **state)
{
	struct sim *s = sim_new_call(6, 3);
	struct sim_bytes early;
	struct sim_list l;
	size_t i;

	(void)state;
	sim_enter(s);
	l = sim_list(s);
	sim_propose_add(s, &l, 3);
	sim_say_all(s, 27, sim_finish(&l));
	early = sim_half(s, 1, 9, false);
	l = sim_list(s);
	sim_propose_remove(s, &l, sim_leaf(s, 2));
	sim_say_all(s, 27, sim_finish(&l));
	assert_int_equal(s->c[1].n_commits, 2);
	assert_int_equal(s->c[1].d->group.n_own, 2);
	assert_int_equal(s->c[2].n_commits, 1); /* nobody removes themselves */
	for (i = 0; i < 3; i++)
		assert_int_equal(sim_say(s, i, 29, early.b, early.len), TD_OK);
	for (i = 0; i < 3; i++) {
		assert_int_equal(s->c[i].epoch, 2);
		assert_int_equal(s->c[i].n_members, 4);
		assert_string_equal(s->c[i].code, s->c[0].code);
	}
	/* A loser's commit for the epoch gone by is an invalid one. */
	free(early.b);
	early = sim_half(s, 0, 10, false);
	assert_int_equal(sim_say(s, 2, 29, early.b, early.len), TD_ERR_STATE);
	assert_int_equal(s->c[2].invalid_id, 10);
	free(early.b);
	sim_free(s);
}

/* An invalid commit: opcode 31, a new key package, out and in again by one commit. */
static void recovery(void **state)
{
	struct sim *s = sim_new_call(7, 3);
	struct sim_bytes commit, package;
	struct sim_list l;
	uint32_t leaf;

	(void)state;
	sim_enter(s);
	l = sim_list(s);
	sim_propose_add(s, &l, 3);
	sim_say_all(s, 27, sim_finish(&l));
	commit = sim_half(s, 0, 2, false);
	commit.b[commit.len - 40] ^= 1;
	leaf = sim_leaf(s, 2);
	assert_int_equal(sim_say(s, 2, 29, commit.b, commit.len), TD_ERR_AUTH);
	assert_int_equal(s->c[2].n_invalid, 1);
	assert_int_equal(s->c[2].invalid_id, 2);
	assert_int_equal(s->c[2].n_packages, 1);
	assert_int_equal(s->c[2].n_warnings, 1);
	assert_int_equal(s->c[2].n_epochs, 0); /* the old keys stay */
	assert_int_equal(s->c[2].pass_until_ns, s->now_ns + TEN_S);
	package = s->c[2].package;
	/* Within ten seconds nothing more is said, whatever comes. */
	assert_int_equal(sim_say(s, 2, 30, commit.b, commit.len), TD_ERR_MALFORMED);
	assert_int_equal(s->c[2].n_invalid, 1);
	assert_ptr_equal(s->c[2].package.b, package.b);
	/* The others take the good one; we are proposed to go and to come. */
	sim_announce(s, 0, 2);
	sim_execute(s, 2);
	sim_forget(s);
	l = sim_list(s);
	sim_propose_remove(s, &l, leaf);
	sim_propose_add(s, &l, 2);
	sim_say_all(s, 27, sim_finish(&l));
	assert_int_equal(s->c[0].n_commits, 1);
	assert_int_equal(s->c[2].n_commits, 0);
	sim_announce(s, 0, 3);
	sim_check(s);
	assert_int_equal(s->c[2].ready_id, 3);
	assert_false(s->c[2].d->recovering);
	s->now_ns += 20 * TD_SEC_NS;
	sim_execute(s, 3);
	assert_int_equal(s->c[2].n_invalid, 0); /* what waited is forgotten */
	free(commit.b);
	sim_free(s);
}

/* What failed within the guard time is asked for again after it. */
static void recovery_again(void **state)
{
	struct sim *s = sim_new_call(8, 2);
	const struct sim_client *c = &s->c[1];

	(void)state;
	assert_int_equal(sim_say(s, 1, 29, "\0\5xyz", 5), TD_ERR_MALFORMED);
	assert_int_equal(c->n_invalid, 1);
	s->now_ns += 9 * TD_SEC_NS;
	assert_int_equal(sim_say(s, 1, 30, "\0\6xyz", 5), TD_ERR_MALFORMED);
	assert_int_equal(c->n_invalid, 1);
	s->now_ns += TD_SEC_NS;
	dave_session_failing(c->d, s->c[0].user_id, s->now_ns);
	sim_take(&s->c[1]);
	assert_int_equal(c->n_invalid, 2);
	assert_int_equal(c->invalid_id, 6);
	assert_int_equal(c->n_packages, 2);
	s->now_ns += 20 * TD_SEC_NS;
	dave_session_failing(c->d, s->c[0].user_id, s->now_ns);
	sim_take(&s->c[1]);
	assert_int_equal(c->n_invalid, 2); /* once */
	sim_free(s);
}

/* Only the newest key package is good for anything. */
static void old_welcome(void **state)
{
	struct sim *s = sim_new_call(9, 2);
	struct sim_bytes old = { NULL, 0 };
	struct sim_list l;

	(void)state;
	sim_enter(s);
	sim_set(&old, s->c[2].package.b, s->c[2].package.len);
	assert_int_equal(sim_say_text(s, 2, 24, "{\"epoch\":\"1\",\"protocol_version\":1}"), TD_OK);
	assert_int_equal(s->c[2].n_packages, 2);
	l = sim_list(s);
	sim_propose_package(s, &l, old);
	sim_say_all(s, 27, sim_finish(&l));
	sim_announce(s, 0, 4);
	assert_int_equal(s->c[2].last, TD_ERR_NOKEY);
	assert_int_equal(s->c[2].invalid_id, 4);
	assert_int_equal(s->c[2].n_packages, 3);
	sim_execute(s, 4);
	l = sim_list(s);
	sim_propose_remove(s, &l, sim_leaf(s, 2));
	sim_propose_add(s, &l, 2);
	sim_say_all(s, 27, sim_finish(&l));
	sim_announce(s, 1, 5);
	sim_check(s);
	free(old.b);
	sim_free(s);
}

/* Opcode 24 with epoch 1: all start anew, and speak plainly meanwhile. */
static void recreation(void **state)
{
	struct sim *s = sim_new_call(10, 3);
	size_t i;

	(void)state;
	s->now_ns += 60 * TD_SEC_NS;
	for (i = 0; i < 3; i++) {
		uint64_t before = s->c[i].pass_until_ns;

		assert_true(before < s->now_ns);
		assert_int_equal(sim_say_text(s, i, 24,
					 "{\"epoch\":1,\"protocol_version\":1,\"transition_id\":"
					 "null}"),
			TD_OK);
		assert_int_equal(s->c[i].pass_until_ns, UINT64_MAX);
		assert_int_equal(s->c[i].n_packages, 1);
		assert_int_equal(s->c[i].n_epochs, 0); /* the old keys stay for now */
		assert_false(sim_in(s, i));
	}
	sim_join_all(s);
	sim_check(s);
	for (i = 0; i < 3; i++) {
		assert_int_equal(s->c[i].epoch, 1);
		assert_int_equal(s->c[i].pass_until_ns, s->now_ns + TEN_S);
	}
	sim_free(s);
}

/* A transition of the old group that is executed late does not close what the new one opened. */
static void late_execute(void **state)
{
	struct sim *s = sim_new_call(11, 2);
	size_t committer;

	(void)state;
	sim_enter(s);
	committer = sim_propose_missing(s);
	sim_announce(s, committer, 7);
	assert_int_equal(sim_say_text(s, 0, 24, "{\"epoch\":1,\"protocol_version\":1}"), TD_OK);
	assert_int_equal(sim_say_text(s, 0, 22, "{\"transition_id\":7}"), TD_OK);
	assert_int_equal(s->c[0].d->last_id, 7);
	assert_int_equal(s->c[0].pass_until_ns, UINT64_MAX);
	sim_free(s);
}

static void downgrade(void **state)
{
	struct sim *s = sim_new_call(12, 2);
	struct sim_client *c = &s->c[0];

	(void)state;
	s->now_ns += 60 * TD_SEC_NS;
	assert_int_equal(sim_say_text(s, 0, 21, "{\"transition_id\":30,\"protocol_version\":0}"),
		TD_OK);
	sim_say_text(s, 0, 21, "{\"transition_id\":30,\"protocol_version\":0}"); /* again */
	assert_int_equal(c->d->n_pending, 1);
	assert_int_equal(c->n_ready, 2);
	assert_int_equal(c->ready_id, 30);
	assert_int_equal(c->pass_until_ns, UINT64_MAX);
	assert_true(sim_in(s, 0)); /* still encrypted */
	assert_int_equal(c->n_epochs, 0);
	assert_int_equal(sim_say_text(s, 0, 22, "{\"transition_id\":30}"), TD_OK);
	assert_int_equal(c->n_epochs, 1);
	assert_int_equal(c->n_senders, 0);
	assert_null(c->d->group.group);
	assert_null(c->d->group.package);
	sim_say_text(s, 1, 21, "{\"transition_id\":0,\"protocol_version\":0}"); /* at once */
	assert_int_equal(s->c[1].d->version, 0);
	assert_int_equal(s->c[1].n_ready, 0);
	assert_int_equal(s->c[1].pass_until_ns, UINT64_MAX);
	/* Plain for a while; a new transport key says version 0, too. */
	dave_session_version(c->d, 0, s->now_ns);
	sim_take(c);
	assert_int_equal(c->n_packages, 0);
	/* And up again. */
	sim_say_text(s, 0, 24, "{\"epoch\":1,\"protocol_version\":1}");
	sim_say_text(s, 1, 24, "{\"epoch\":1,\"protocol_version\":1}");
	dave_session_version(c->d, 0, s->now_ns); /* said before the new group stands */
	sim_take(c);
	assert_int_equal(c->n_packages, 1);
	sim_join_all(s);
	sim_check(s);
	assert_int_equal(c->d->version, 1);
	assert_int_equal(c->pass_until_ns, s->now_ns + TEN_S);
	sim_free(s);
}

/* A downgrade that was announced and overtaken by a new epoch does not leave the door open. */
static void downgrade_overtaken(void **state)
{
	struct sim *s = sim_new_call(13, 2);
	size_t committer;

	(void)state;
	s->now_ns += 60 * TD_SEC_NS;
	sim_say_text(s, 0, 21, "{\"transition_id\":30,\"protocol_version\":0}");
	sim_enter(s);
	committer = sim_propose_missing(s);
	sim_announce(s, committer, 31);
	assert_int_equal(s->c[0].d->n_pending, 2);
	assert_int_equal(s->c[0].pass_until_ns, UINT64_MAX);
	sim_execute(s, 31);
	assert_int_equal(s->c[0].pass_until_ns, s->now_ns + TEN_S);
	assert_true(sim_in(s, 0));
	sim_free(s);
}

/* A downgrade announced later than what is executed is still to come. */
static void downgrade_ahead(void **state)
{
	struct sim *s = sim_new_call(35, 2);
	size_t committer;

	(void)state;
	s->now_ns += 60 * TD_SEC_NS;
	sim_enter(s);
	committer = sim_propose_missing(s);
	sim_announce(s, committer, 31);
	sim_say_text(s, 0, 21, "{\"transition_id\":32,\"protocol_version\":0}");
	sim_execute(s, 31);
	assert_int_equal(s->c[0].pass_until_ns, UINT64_MAX);
	sim_execute(s, 32);
	assert_int_equal(s->c[0].d->version, 0);
	sim_free(s);
}

/* All others left: a new group of ourselves, executed at once; then somebody comes. */
static void sole_member(void **state)
{
	struct sim *s = sim_new_call(14, 2);

	(void)state;
	s->c[1].connected = false;
	dave_session_user(s->c[0].d, s->c[1].user_id, false);
	sim_say_text(s, 0, 24, "{\"protocol_version\":1,\"epoch\":1}");
	assert_int_equal(s->c[0].n_packages, 1);
	assert_int_equal(sim_say_text(s, 0, 21, "{\"transition_id\":0,\"protocol_version\":1}"),
		TD_OK);
	assert_int_equal(s->c[0].n_ready, 0);
	assert_int_equal(s->c[0].d->last_id, 0);
	assert_true(s->c[0].d->executed);
	assert_int_equal(s->c[0].pass_until_ns, s->now_ns + TEN_S);
	sim_enter(s);
	sim_join_all(s);
	sim_check(s);
	sim_free(s);
}

/* Everything twice, as after a resume: same calls, same keys. */
static void resumed(void **state)
{
	struct sim *s = sim_new(15);
	uint16_t id;

	(void)state;
	s->twice = true;
	sim_enter(s);
	sim_enter(s);
	sim_join_all(s);
	sim_check(s);
	sim_enter(s);
	sim_forget(s);
	id = s->next_id;
	sim_announce(s, sim_propose_missing(s), id);
	sim_check(s);
	assert_int_equal(s->c[0].n_commits, 2); /* answered again, in the same words */
	assert_int_equal(s->c[0].d->group.n_own, 0);
	assert_int_equal(s->c[0].n_ready, 2);
	assert_int_equal(s->c[2].n_ready, 2);
	assert_int_equal(s->c[2].n_epochs, 1);
	sim_execute(s, id);
	assert_int_equal(s->c[0].last, TD_OK);
	s->next_id++;
	sim_leave(s, 0, 2);
	sim_check(s);
	sim_say_text(s, 1, 24, "{\"epoch\":1,\"protocol_version\":1}");
	sim_say_text(s, 2, 24, "{\"epoch\":1,\"protocol_version\":1}");
	sim_join_all(s);
	sim_check(s);
	assert_int_equal(s->c[1].n_invalid + s->c[2].n_invalid, 0);
	sim_free(s);
}

/* An Add of somebody nobody named: no commit, no group with them; until opcode 11 names them. */
static void unexpected_user(void **state)
{
	struct sim *s = sim_new_call(16, 2);
	struct mls_span payload;
	struct sim_list l;
	struct sim_bytes commit;

	(void)state;
	sim_client(s); /* 2: known to nobody */
	dave_session_version(s->c[2].d, 1, s->now_ns);
	sim_take(&s->c[2]);
	l = sim_list(s);
	sim_propose_add(s, &l, 2);
	payload = sim_finish(&l);
	assert_int_equal(sim_say(s, 0, 27, payload.p, payload.len), TD_OK);
	assert_int_equal(s->c[0].n_commits, 0);
	assert_int_equal(s->c[0].n_warnings, 1);
	assert_non_null(strstr(s->c[0].warning, "1014"));
	/* It is named: what was put aside is used. */
	dave_session_user(s->c[0].d, s->c[2].user_id, true);
	sim_take(&s->c[0]);
	assert_int_equal(s->c[0].n_commits, 1);
	/* To the other one it never is, so it does not follow. */
	assert_int_equal(sim_say(s, 1, 27, payload.p, payload.len), TD_OK);
	assert_int_equal(s->c[1].n_commits, 0);
	commit = sim_half(s, 0, 3, false);
	assert_int_equal(sim_say(s, 1, 29, commit.b, commit.len), TD_ERR_NOKEY);
	assert_int_equal(s->c[1].invalid_id, 3);
	free(commit.b);
	sim_free(s);
}

/* One whom nobody named stops the commit of the whole message, other epochs lead to none. */
static void no_commit(void **state)
{
	struct sim *s = sim_new_call(36, 2);
	struct mls_span payload;
	struct sim_list l;

	(void)state;
	sim_enter(s);
	sim_client(s); /* 3: known to nobody */
	dave_session_version(s->c[3].d, 1, s->now_ns);
	sim_take(&s->c[3]);
	l = sim_list(s);
	sim_propose_add(s, &l, 3);
	sim_propose_add(s, &l, 2);
	payload = sim_finish(&l);
	assert_int_equal(sim_say(s, 0, 27, payload.p, payload.len), TD_OK);
	assert_int_equal(s->c[0].n_commits, 0);
	assert_int_equal(mls_group_n_proposals(sim_group(s, 0)->group), 1);
	l = sim_list(s);
	l.epoch++;
	sim_propose_add(s, &l, 2);
	payload = sim_finish(&l);
	assert_int_equal(sim_say(s, 0, 27, payload.p, payload.len), TD_OK);
	assert_int_equal(s->c[0].n_commits, 0);
	sim_free(s);
}

/* The external sender of a group is there for life. */
static void sender_for_life(void **state)
{
	struct sim *s = sim_new_call(37, 2);
	struct dave_group *g = sim_group(s, 0);
	uint8_t before[128];

	(void)state;
	memcpy(before, s->sender, s->sender_len);
	sim_new_sender(s);
	assert_int_equal(sim_say(s, 0, 25, s->sender, s->sender_len), TD_ERR_STATE);
	assert_int_equal(s->c[0].n_warnings, 1);
	assert_memory_equal(g->sender, before, g->sender_len);
	assert_true(sim_in(s, 0));
	sim_free(s);
}

/* A member may propose in MLS, not in DAVE. */
static void member_proposes(void **state)
{
	struct sim *s = sim_new_call(38, 3);
	const struct mls_group *g = sim_group(s, 1)->group;
	struct mls_public_message m = { 0 };
	uint8_t tag[MLS_HASH_LEN];
	uint8_t sig[MLS_SIG_MAX];
	struct sim_list l = sim_list(s);
	struct mls_span payload;
	size_t at, len;
	struct rd r;

	(void)state;
	mls_message_head_write(&l.w, MLS_WIRE_PUBLIC_MESSAGE);
	at = l.w.len;
	mls_wr_vec(&l.w, g->context.group_id);
	wr_u64(&l.w, g->context.epoch);
	wr_u8(&l.w, MLS_SENDER_MEMBER);
	wr_u32(&l.w, g->own);
	mls_wr_varint(&l.w, 0);
	wr_u8(&l.w, MLS_CONTENT_PROPOSAL);
	wr_u16(&l.w, MLS_PROPOSAL_REMOVE);
	wr_u32(&l.w, sim_leaf(s, 2));
	rd_init(&r, l.w.buf + at, l.w.len - at);
	mls_framed_content_read(&r, &m.content);
	assert_true(rd_done(&r));
	assert_int_equal(mls_public_message_sign(&m.content, sig, &len, s->c[1].identity->key,
				 g->context.raw),
		0);
	m.signature = mls_span(sig, len);
	mls_public_message_membership_tag(tag, &m, g->keys->epoch.membership_key, g->context.raw);
	mls_wr_vec(&l.w, m.signature);
	mls_wr_vec(&l.w, mls_span(tag, sizeof(tag)));
	payload = sim_finish(&l);
	assert_int_equal(sim_say(s, 0, 27, payload.p, payload.len), TD_ERR_AUTH);
	assert_int_equal(mls_group_n_proposals(sim_group(s, 0)->group), 0);
	sim_free(s);
}

/* A user who is in the group already, with another key; and one who is none. The commit is made
 * past the session of member 1, which would make none. */
static void impostor(void **state)
{
	uint64_t row;

	(void)state;
	for (row = 0; row < 2; row++) {
		struct sim *s = sim_new_call(39, 2);
		struct dave_group *g = sim_group(s, sim_client(s));
		struct mls_own_commit *made = NULL;
		struct mls_proposal *p = NULL;
		uint64_t user_id = row == 0 ? s->c[1].user_id : 0;
		struct mls_span payload;
		struct sim_list l;
		struct wr w;

		wr_init(&w, g->identity, sizeof(g->identity));
		wr_u64(&w, user_id);
		sim_say(s, 2, 25, s->sender, s->sender_len);
		dave_session_version(s->c[2].d, 1, s->now_ns);
		sim_take(&s->c[2]);
		l = sim_list(s);
		sim_propose_add(s, &l, 2);
		payload = sim_finish(&l);
		assert_int_equal(sim_say(s, 0, 27, payload.p, payload.len),
			row == 0 ? TD_ERR_DUPLICATE : TD_ERR_MALFORMED);
		assert_int_equal(s->c[0].n_commits, 0);
		/* payload: operation, 2 bytes of length, the message */
		assert_int_equal(mls_proposal_open(&sim_group(s, 1)->cx, sim_group(s, 1)->group,
					 mls_span(payload.p + 3, payload.len - 3), &p),
			0);
		assert_int_equal(mls_group_store(&sim_group(s, 1)->cx, sim_group(s, 1)->group, p),
			0);
		assert_int_equal(mls_group_commit(&sim_group(s, 1)->cx, sim_group(s, 1)->group, 0,
					 &made),
			0);
		memcpy(s->scratch.b, "\0\7", 2);
		memcpy(s->scratch.b + 2, made->message, made->message_len);
		assert_int_equal(sim_say(s, 0, 29, s->scratch.b, made->message_len + 2),
			row == 0 ? TD_ERR_DUPLICATE : TD_ERR_NOKEY);
		assert_int_equal(s->c[0].invalid_id, 7);
		memcpy(s->scratch.b + 2, made->welcome, made->welcome_len);
		assert_int_equal(sim_say(s, 2, 30, s->scratch.b, made->welcome_len + 2),
			row == 0 ? TD_ERR_DUPLICATE : TD_ERR_MALFORMED);
		assert_int_equal(s->c[2].n_epochs, 0);
		mls_own_commit_free(made);
		sim_free(s);
	}
}

/* An Add that was put aside can be revoked; more than are kept are refused. */
static void aside(void **state)
{
	struct sim *s = sim_new_call(17, 2);
	struct dave_group *g = sim_group(s, 0);
	uint8_t revoke[2 + 33] = { 1, 33, 32 };
	struct mls_span payload;
	struct sim_list l;
	size_t i;

	(void)state;
	for (i = 2; i < 3 + DAVE_MAX_ASIDE; i++) {
		sim_client(s);
		dave_session_version(s->c[i].d, 1, s->now_ns);
		sim_take(&s->c[i]);
		l = sim_list(s);
		sim_propose_add(s, &l, i);
		payload = sim_finish(&l);
		assert_int_equal(sim_say(s, 0, 27, payload.p, payload.len),
			i < 2 + DAVE_MAX_ASIDE ? TD_OK : TD_ERR_LIMIT);
		assert_int_equal(sim_say(s, 0, 27, payload.p, payload.len),
			i < 2 + DAVE_MAX_ASIDE ? TD_OK : TD_ERR_LIMIT);
	}
	assert_int_equal(g->n_aside, DAVE_MAX_ASIDE);
	memcpy(revoke + 3, g->aside[5]->ref, 32);
	assert_int_equal(sim_say(s, 0, 27, revoke, sizeof(revoke)), TD_OK);
	assert_int_equal(g->n_aside, DAVE_MAX_ASIDE - 1);
	assert_int_equal(sim_say(s, 0, 27, revoke, sizeof(revoke)), TD_ERR_NOKEY);
	assert_int_equal(s->c[0].n_commits, 0);
	/* With the epoch they are gone. */
	sim_connect(s, 2);
	sim_join_all(s);
	assert_int_equal(g->n_aside, 0);
	assert_int_equal(g->aside_bytes, 0);
	sim_free(s);
}

static void revoked(void **state)
{
	struct sim *s = sim_new_call(18, 2);
	uint8_t revoke[2 + 33] = { 1, 33, 32 };
	struct sim_list l;
	size_t i;

	(void)state;
	sim_enter(s);
	sim_enter(s);
	for (i = 2; i < 4; i++) {
		l = sim_list(s);
		sim_propose_add(s, &l, i);
		sim_say_all(s, 27, sim_finish(&l));
	}
	memcpy(revoke + 3, mls_group_proposal(sim_group(s, 0)->group, 0)->ref, 32);
	i = s->c[0].commit.len;
	sim_say(s, 0, 27, revoke, sizeof(revoke));
	assert_int_equal(s->c[0].n_commits, 3);
	assert_true(s->c[0].commit.len < i); /* without what was revoked */
	memcpy(revoke + 3, mls_group_proposal(sim_group(s, 0)->group, 0)->ref, 32);
	assert_int_equal(sim_say(s, 0, 27, revoke, sizeof(revoke)), TD_OK);
	assert_int_equal(s->c[0].n_commits, 3); /* nothing is left to commit */
	assert_int_equal(sim_say(s, 0, 27, revoke, sizeof(revoke)), TD_ERR_NOKEY);
	sim_free(s);
}

/* Somebody comes back before it is seen that they left: the Add before the Remove. */
static void add_before_remove(void **state)
{
	struct sim *s = sim_new_call(19, 3);
	uint32_t leaf = sim_leaf(s, 2);
	struct sim_list l;

	(void)state;
	sim_say_text(s, 2, 24, "{\"epoch\":1,\"protocol_version\":1}");
	l = sim_list(s);
	sim_propose_add(s, &l, 2);
	sim_say_all(s, 27, sim_finish(&l));
	assert_int_equal(s->c[0].n_commits, 0); /* twice in the group */
	l = sim_list(s);
	sim_propose_remove(s, &l, leaf);
	sim_say_all(s, 27, sim_finish(&l));
	assert_int_equal(s->c[0].n_commits, 1);
	sim_announce(s, 1, 4);
	sim_check(s);
	sim_free(s);
}

/* A bad proposal is passed over, and there is no commit of ours to its message. */
static void bad_among_good(void **state)
{
	struct sim *s = sim_new_call(34, 3);
	struct mls_span payload;
	struct sim_list l;
	size_t i;

	(void)state;
	sim_enter(s);
	sim_enter(s);
	l = sim_list(s);
	sim_propose_add(s, &l, 3);
	sim_propose_remove(s, &l, 3); /* nobody there */
	sim_propose_add(s, &l, 4);
	payload = sim_finish(&l);
	for (i = 0; i < 2; i++) {
		assert_int_equal(sim_say(s, i, 27, payload.p, payload.len), TD_ERR_MALFORMED);
		assert_int_equal(s->c[i].n_commits, 0);
		assert_int_equal(s->c[i].n_invalid, 0);
		assert_int_equal(mls_group_n_proposals(sim_group(s, i)->group), 2);
	}
	s->c[2].connected = false;
	l = sim_list(s);
	sim_propose_remove(s, &l, sim_leaf(s, 2));
	sim_say_all(s, 27, sim_finish(&l));
	sim_announce(s, 1, 6);
	sim_check(s);
	assert_int_equal(s->c[0].n_members, 4);
	/* Enough is enough. */
	l = sim_list(s);
	for (i = 0; i < 100; i++)
		sim_propose_remove(s, &l, 4000 + (uint32_t)i);
	sim_propose_remove(s, &l, 1);
	payload = sim_finish(&l);
	assert_true(sim_say(s, 0, 27, payload.p, payload.len) < 0);
	assert_int_equal(mls_group_n_proposals(sim_group(s, 0)->group), 0);
	sim_free(s);
}

/* The next commit comes before the one before it was executed. */
static void several_pending(void **state)
{
	struct sim *s = sim_new_call(20, 2);
	uint16_t id;
	size_t i;

	(void)state;
	s->now_ns += 60 * TD_SEC_NS;
	for (id = 100; id < 100 + DAVE_MAX_TRANSITIONS + 2; id++) {
		sim_enter(s);
		sim_announce(s, sim_propose_missing(s), id);
		assert_int_equal(s->c[0].ready_id, id);
	}
	sim_check(s);
	assert_int_equal(s->c[0].d->n_pending, DAVE_MAX_TRANSITIONS);
	assert_int_equal(sim_say_text(s, 0, 22, "{\"transition_id\":101}"), TD_ERR_STATE);
	for (id = 102; id < 100 + DAVE_MAX_TRANSITIONS + 2; id++)
		sim_execute(s, id);
	for (i = 0; i < 2; i++) {
		assert_int_equal(s->c[i].d->n_pending, 0);
		assert_int_equal(s->c[i].d->last_id, id - 1);
		assert_true(s->c[i].pass_until_ns < s->now_ns); /* opened by none of them */
	}
	sim_check(s);
	sim_free(s);
}

/* Frames that do not open: only when nothing else explains it. */
static void failing(void **state)
{
	struct sim *s = sim_new_call(21, 2);
	struct sim_client *c = &s->c[0];
	uint64_t other = s->c[1].user_id;
	unsigned i;

	(void)state;
	/* For the first seconds after a transition it is normal. */
	for (i = 0; i < 49; i++, s->now_ns += 100 * TD_MS_NS)
		dave_session_failing(c->d, other, s->now_ns);
	sim_take(c);
	assert_int_equal(c->n_invalid, 0);
	/* Not in the group; not for long enough; with a pause. */
	s->now_ns += 60 * TD_SEC_NS;
	for (i = 0; i < 40; i++, s->now_ns += 100 * TD_MS_NS)
		dave_session_failing(c->d, 77, s->now_ns);
	for (i = 0; i < 15; i++, s->now_ns += 100 * TD_MS_NS)
		dave_session_failing(c->d, other, s->now_ns);
	s->now_ns += 10 * TD_SEC_NS;
	for (i = 0; i < 15; i++, s->now_ns += 100 * TD_MS_NS)
		dave_session_failing(c->d, other, s->now_ns);
	s->now_ns += 10 * TD_SEC_NS;
	for (i = 0; i < 15; i++, s->now_ns += 2 * TD_SEC_NS) /* every other second is well */
		dave_session_failing(c->d, other, s->now_ns);
	/* A transition is pending. */
	sim_say_text(s, 0, 21, "{\"transition_id\":50,\"protocol_version\":1}");
	for (i = 0; i < 100; i++, s->now_ns += 100 * TD_MS_NS)
		dave_session_failing(c->d, other, s->now_ns);
	sim_take(c);
	assert_int_equal(c->n_invalid, 0);
	sim_say_text(s, 0, 22, "{\"transition_id\":50}");
	for (i = 0; i < 60 && c->n_invalid == 0; i++, s->now_ns += 100 * TD_MS_NS) {
		dave_session_failing(c->d, other, s->now_ns);
		sim_take(c);
	}
	assert_int_equal(i, 51);
	assert_int_equal(c->invalid_id, 50);
	assert_int_equal(c->n_packages, 1);
	/* A transition that nobody executes stands in the way for half a minute. */
	c = &s->c[1];
	sim_say_text(s, 1, 21, "{\"transition_id\":51,\"protocol_version\":1}");
	for (i = 0; i < 400 && c->n_invalid == 0; i++, s->now_ns += 100 * TD_MS_NS) {
		dave_session_failing(c->d, s->c[0].user_id, s->now_ns);
		sim_take(c);
	}
	assert_int_equal(i, 301);
	sim_free(s);
}

/* Opcode 31 may be about transition 0. */
static void failing_zero(void **state)
{
	struct sim *s = sim_new(22);
	struct sim_client *c = &s->c[0];
	unsigned i;

	(void)state;
	sim_enter(s);
	sim_enter(s);
	sim_announce(s, sim_propose_missing(s), 0);
	for (i = 0; i < 80 && c->n_invalid == 0; i++, s->now_ns += 100 * TD_MS_NS) {
		dave_session_failing(c->d, s->c[1].user_id, s->now_ns);
		sim_take(c);
	}
	assert_int_equal(c->n_invalid, 1);
	assert_int_equal(c->invalid_id, 0);
	sim_free(s);
}

/* A fresh Identify, in another channel: nothing is left but the process's key. */
static void moved(void **state)
{
	struct sim *s = sim_new_call(23, 2);
	struct dave_session *d = s->c[0].d;

	(void)state;
	s->now_ns += 60 * TD_SEC_NS;
	sim_say_text(s, 0, 21, "{\"transition_id\":9,\"protocol_version\":1}");
	dave_session_reset(d, 42, s->now_ns);
	assert_int_equal(d->n_pending, 0);
	assert_false(d->executed);
	sim_take(&s->c[0]);
	assert_int_equal(s->c[0].n_epochs, 1);
	assert_int_equal(s->c[0].n_senders, 0);
	assert_int_equal(s->c[0].pass_until_ns, UINT64_MAX);
	assert_null(d->group.group);
	assert_int_equal(d->group.sender_len, 0);
	assert_int_equal(d->group.users.n, 0);
	dave_session_version(d, 1, s->now_ns);
	sim_take(&s->c[0]);
	assert_int_equal(s->c[0].n_packages, 1);
	assert_int_equal(sim_say(s, 0, 25, s->sender, s->sender_len), TD_OK);
	assert_memory_equal(mls_group_context(d->group.group)->group_id.p, "\0\0\0\0\0\0\0\x2a", 8);
	sim_free(s);
}

/* Removed without having asked for it. */
static void removed(void **state)
{
	struct sim *s = sim_new_call(24, 3);
	struct sim_list l;

	(void)state;
	l = sim_list(s);
	sim_propose_remove(s, &l, sim_leaf(s, 2));
	sim_propose_package(s, &l, s->c[2].package); /* known to all: no reason to fail */
	sim_say_all(s, 27, sim_finish(&l));
	assert_int_equal(s->c[2].last, TD_OK);
	assert_int_equal(s->c[2].n_commits, 0);
	sim_announce(s, 0, 3);
	assert_int_equal(s->c[2].last, TD_OK);
	assert_false(sim_in(s, 2));
	assert_int_equal(s->c[2].n_warnings, 1);
	assert_int_equal(s->c[2].n_invalid, 0);
	assert_int_equal(s->c[2].n_epochs, 0);
	sim_free(s);
}

/* A Welcome into a group with another external sender, or another id. */
static void foreign_group(void **state)
{
	struct sim *s = sim_new_call(25, 2);
	struct sim_bytes welcome;
	size_t i;

	(void)state;
	for (i = 2; i < 4; i++) {
		sim_enter(s);
		sim_propose_missing(s);
		welcome = sim_half(s, 0, 9, true);
		if (i == 2) {
			struct sim other = *s;

			sim_new_sender(&other);
			sim_say(s, i, 25, other.sender, other.sender_len);
			s->counter = other.counter;
		} else {
			dave_group_set_channel(sim_group(s, i), 5);
		}
		assert_int_equal(sim_say(s, i, 30, welcome.b, welcome.len),
			i == 2 ? TD_ERR_AUTH : TD_ERR_STATE);
		assert_int_equal(s->c[i].invalid_id, 9);
		assert_int_equal(s->c[i].n_epochs, 0);
		s->c[i].connected = false;
		free(welcome.b);
	}
	/* A Welcome is taken with its MLSMessage head, too. */
	sim_enter(s);
	sim_propose_missing(s);
	welcome = sim_half(s, 0, 10, true);
	welcome.b = realloc(welcome.b, welcome.len + 4);
	assert_non_null(welcome.b);
	memmove(welcome.b + 6, welcome.b + 2, welcome.len - 2);
	memcpy(welcome.b + 2, "\0\1\0\3", 4);
	assert_int_equal(sim_say(s, 4, 30, welcome.b, welcome.len + 4), TD_OK);
	assert_int_equal(s->c[4].n_members, 5); /* the other two came in for the gateway */
	free(welcome.b);
	sim_free(s);
}

/* Hostile payloads */

/* What a message must not do: say anything but a recovery, take an epoch. */
static int refuse(struct sim *s, size_t i, uint8_t op, const uint8_t *data, size_t len)
{
	struct sim_client *c = &s->c[i];
	int r;

	sim_forget(s);
	s->now_ns += 11 * TD_SEC_NS;
	r = sim_say(s, i, op, data, len);
	assert_false(td_err_is_fatal(r));
	assert_int_equal(c->n_ready + c->n_commits + c->n_epochs, 0);
	return r;
}

static void hostile_proposals(void **state)
{
	struct sim *s = sim_new_call(30, 3);
	struct sim_bytes good = { NULL, 0 };
	static const struct {
		uint64_t epoch, group_id;
		uint32_t sender;
		int want;
	} rows[] = {
		{ 1, 0, 1, TD_ERR_MALFORMED }, /* no second external sender */
		{ 1, 9, 0, TD_ERR_STATE },     /* another group */
		{ 0, 0, 0, TD_OK },            /* other epochs are no fault, */
		{ 2, 0, 0, TD_OK },            /* and nothing is done with them */
	};
	struct mls_span payload;
	struct sim_list l;
	uint8_t *bytes;
	size_t i;

	(void)state;
	sim_enter(s);
	l = sim_list(s);
	sim_propose_add(s, &l, 3);
	payload = sim_finish(&l);
	sim_set(&good, payload.p, payload.len);
	bytes = malloc(good.len + 1);
	assert_non_null(bytes);
	for (i = 0; i < good.len; i++) {
		memcpy(bytes, good.b, good.len);
		assert_true(refuse(s, 0, 27, bytes, i) < 0);
		bytes[i] ^= (uint8_t)(1 << i % 8);
		/* In the epoch it is another epoch's proposal. */
		assert_int_equal(refuse(s, 0, 27, bytes, good.len) == TD_OK, i >= 16 && i < 24);
	}
	assert_true(refuse(s, 0, 27, good.b, good.len + 1) < 0);
	free(bytes);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		l = sim_list(s);
		l.epoch = rows[i].epoch;
		l.group_id = rows[i].group_id != 0 ? rows[i].group_id : s->channel_id;
		l.sender = rows[i].sender;
		sim_propose_add(s, &l, 3);
		payload = sim_finish(&l);
		assert_int_equal(sim_say(s, 0, 27, payload.p, payload.len) < 0, rows[i].want < 0);
		assert_int_equal(s->c[0].n_commits, 0);
	}
	for (i = 0; i < 2; i++) { /* a leaf out of range, a blank one */
		l = sim_list(s);
		sim_propose_remove(s, &l, i == 0 ? 3 : 4000000000u);
		payload = sim_finish(&l);
		assert_true(sim_say(s, 0, 27, payload.p, payload.len) < 0);
	}
	assert_int_equal(mls_group_n_proposals(sim_group(s, 0)->group), 0);
	/* Nothing of it stuck. */
	assert_int_equal(sim_say(s, 0, 27, good.b, good.len), TD_OK);
	assert_int_equal(s->c[0].n_commits, 1);
	free(good.b);
	sim_free(s);
}

/* Below the session, which would be out of the group after the first of them. */
static void hostile_commits(void **state)
{
	struct sim *s = sim_new_call(31, 2);
	struct sim_bytes commit;
	struct mls_span payload;
	struct sim_list l;
	uint8_t *bytes;
	size_t at;

	(void)state;
	sim_enter(s);
	l = sim_list(s);
	sim_propose_add(s, &l, 2);
	sim_propose_remove(s, &l, sim_leaf(s, 1));
	payload = sim_finish(&l);
	sim_say(s, 0, 27, payload.p, payload.len);
	commit = sim_half(s, 0, 8, false);
	bytes = malloc(commit.len);
	assert_non_null(bytes);
	for (at = 0; at < commit.len; at += 1 + at / 64) {
		struct mls_ctx *cx = &sim_group(s, 1)->cx;
		enum dave_verdict verdict;
		struct mls_group *next;

		assert_true(
			dave_group_commit(sim_group(s, 1),
				mls_span(commit.b + 2, at < 2 ? 0 : at - 2), &verdict, &next) < 0);
		assert_non_null(cx->why);
		memcpy(bytes, commit.b, commit.len);
		bytes[at] ^= (uint8_t)(1 << at % 8);
		if (at >= 2)
			assert_true(
				dave_group_commit(sim_group(s, 1),
					mls_span(bytes + 2, commit.len - 2), &verdict, &next) < 0);
	}
	assert_true(refuse(s, 1, 29, commit.b, commit.len - 1) < 0);
	assert_int_equal(s->c[1].n_invalid, 1);
	assert_int_equal(s->c[1].n_packages, 1);
	assert_true(refuse(s, 1, 29, commit.b, 1) < 0); /* without an id there is nothing to say */
	assert_int_equal(s->c[1].n_invalid, 0);
	free(bytes);
	free(commit.b);
	sim_free(s);
}

static void hostile_welcomes(void **state)
{
	struct sim *s = sim_new_call(32, 2);
	struct sim_bytes welcome;
	struct dave_group *g;
	uint8_t *bytes;
	size_t at;

	(void)state;
	g = sim_group(s, sim_enter(s));
	sim_propose_missing(s);
	welcome = sim_half(s, 0, 8, true);
	bytes = malloc(welcome.len);
	assert_non_null(bytes);
	for (at = 2; at < welcome.len; at += 1 + at / 64) {
		enum dave_verdict verdict;
		struct mls_group *next;

		assert_true(dave_group_welcome(g, mls_span(welcome.b + 2, at - 2), &verdict,
				    &next) < 0);
		memcpy(bytes, welcome.b, welcome.len);
		bytes[at] ^= (uint8_t)(1 << at % 8);
		assert_true(dave_group_welcome(g, mls_span(bytes + 2, welcome.len - 2), &verdict,
				    &next) < 0);
	}
	assert_true(refuse(s, 2, 30, welcome.b, welcome.len - 1) < 0);
	assert_int_equal(s->c[2].invalid_id, 8);
	/* To an established member a Welcome is nothing. */
	assert_int_equal(sim_say(s, 0, 30, welcome.b, welcome.len), TD_OK);
	assert_true(sim_in(s, 0));
	free(bytes);
	free(welcome.b);
	sim_free(s);
}

static void hostile_json(void **state)
{
	static const struct {
		uint8_t op;
		const char *text;
		int want;
	} rows[] = {
		{ 21, "{\"transition_id\":65536,\"protocol_version\":1}", TD_ERR_MALFORMED },
		{ 21, "{\"transition_id\":-1,\"protocol_version\":1}", TD_ERR_MALFORMED },
		{ 21, "{\"transition_id\":1.5,\"protocol_version\":1}", TD_ERR_MALFORMED },
		{ 21, "{\"transition_id\":1}", TD_ERR_MALFORMED },
		{ 21, "{\"protocol_version\":1}", TD_ERR_MALFORMED },
		{ 21, "{\"transition_id\":1,\"protocol_version\":2}", TD_ERR_UNSUPPORTED },
		{ 21, "[]", TD_ERR_MALFORMED },
		{ 21, "", TD_ERR_MALFORMED },
		{ 22, "{}", TD_ERR_MALFORMED },
		{ 22, "null", TD_ERR_MALFORMED },
		{ 22, "{\"transition_id\":\"1\"}", TD_ERR_MALFORMED },
		{ 22, "{\"transition_id\":77}", TD_ERR_STATE },
		{ 22, "{\"transition_id\":0}", TD_ERR_STATE },
		{ 24, "{\"epoch\":0,\"protocol_version\":1}", TD_ERR_MALFORMED },
		{ 24, "{\"epoch\":1}", TD_ERR_MALFORMED },
		{ 24, "{\"epoch\":\"x\",\"protocol_version\":1}", TD_ERR_MALFORMED },
		{ 24, "{\"epoch\":1,\"protocol_version\":9}", TD_ERR_UNSUPPORTED },
		{ 24, "{\"epoch\":1,\"protocol_version\":1,\"transition_id\":{}}",
			TD_ERR_MALFORMED },
		{ 24, "{\"epoch\":5,\"protocol_version\":1}", TD_OK },
	};
	struct sim *s = sim_new_call(33, 2);
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		sim_forget(s);
		assert_int_equal(sim_say_text(s, 0, rows[i].op, rows[i].text), rows[i].want);
		for (len = 0; len < strlen(rows[i].text); len++)
			assert_int_equal(sim_say(s, 0, rows[i].op, rows[i].text, len),
				TD_ERR_MALFORMED);
		assert_int_equal(s->c[0].n_ready + s->c[0].n_packages + s->c[0].n_invalid, 0);
		assert_true(sim_in(s, 0));
	}
	/* Epoch 5 with an id: the same group under another version; it has to be executed. */
	assert_int_equal(sim_say_text(s, 0, 24,
				 "{\"epoch\":5,\"protocol_version\":1,\"transition_id\":9}"),
		TD_OK);
	assert_int_equal(s->c[0].ready_id, 9);
	assert_int_equal(sim_say_text(s, 0, 24, "{\"epoch\":1,\"protocol_version\":0}"), TD_OK);
	assert_int_equal(s->c[0].d->version, 0);
	sim_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codes),
		cmocka_unit_test(users),
		cmocka_unit_test(plain),
		cmocka_unit_test(first),
		cmocka_unit_test(two),
		cmocka_unit_test(foreign_while_pending),
		cmocka_unit_test(churn),
		cmocka_unit_test(race),
		cmocka_unit_test(recovery),
		cmocka_unit_test(recovery_again),
		cmocka_unit_test(old_welcome),
		cmocka_unit_test(recreation),
		cmocka_unit_test(late_execute),
		cmocka_unit_test(downgrade),
		cmocka_unit_test(downgrade_overtaken),
		cmocka_unit_test(downgrade_ahead),
		cmocka_unit_test(sole_member),
		cmocka_unit_test(resumed),
		cmocka_unit_test(unexpected_user),
		cmocka_unit_test(no_commit),
		cmocka_unit_test(sender_for_life),
		cmocka_unit_test(member_proposes),
		cmocka_unit_test(impostor),
		cmocka_unit_test(aside),
		cmocka_unit_test(revoked),
		cmocka_unit_test(add_before_remove),
		cmocka_unit_test(bad_among_good),
		cmocka_unit_test(several_pending),
		cmocka_unit_test(failing),
		cmocka_unit_test(failing_zero),
		cmocka_unit_test(moved),
		cmocka_unit_test(removed),
		cmocka_unit_test(foreign_group),
		cmocka_unit_test(hostile_proposals),
		cmocka_unit_test(hostile_commits),
		cmocka_unit_test(hostile_welcomes),
		cmocka_unit_test(hostile_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
