/* SPDX-License-Identifier: ISC */
/* An end-to-end encrypted call of a hundred, in memory; one of its members is timed. */
#include "tests/bench/bench.h"
#include "tests/unit/dave_sim.h"

enum { MEMBERS = 100, BATCH = 11 };
_Static_assert((MEMBERS - 1) % BATCH == 0, "the last one comes alone");

struct bench_row bench_join = { .name = "join_100",
	.what = "join a call of 100: its Welcome to keys and code",
	.unit = "ms",
	.target = 150 };
struct bench_row bench_answer = { .name = "remove_answer_100",
	.what = "answer a Remove proposal of 100 with a commit of ours",
	.unit = "ms" };
struct bench_row bench_follow = { .name = "remove_commit_100",
	.what = "follow the commit of that Remove by another",
	.unit = "ms" };

/* Says it to one alone, and how many milliseconds it took until its actions were out. */
static double timed_say(struct sim *s, size_t i, uint8_t op, const void *data, size_t len)
{
	double begin = bench_cpu_ns();

	SIM_MUST(sim_say(s, i, op, data, len) == TD_OK);
	return (bench_cpu_ns() - begin) / 1e6;
}

/* Everybody proposed is in, by a commit of `committer`. */
static void add_missing(struct sim *s, size_t committer)
{
	uint16_t id = s->next_id++;

	sim_propose_missing(s);
	sim_announce(s, committer, id);
	sim_execute(s, id);
}

/* All but one, in batches whose commits come from all over the tree: with one commit alone nearly
 * all of its inner nodes would be blank, and nobody would have to check them. */
static struct sim *grow(void)
{
	struct sim *s = sim_new_call(1, BATCH);
	size_t i;

	while (s->n < MEMBERS - 1) {
		size_t committer = s->n - BATCH / 2;

		for (i = 0; i < BATCH; i++)
			sim_enter(s);
		add_missing(s, committer);
	}
	sim_check(s);
	return s;
}

/* The hundredth comes: us. Only we are timed. */
static size_t join_once(struct sim *s, int run)
{
	size_t i, committer, us = sim_enter(s);
	struct sim_bytes commit, welcome;
	uint16_t id = s->next_id++;
	char text[32];
	int n;

	committer = sim_propose_missing(s);
	commit = sim_half(s, committer, id, false);
	welcome = sim_half(s, committer, id, true);
	sim_forget(s);
	bench_join.run[run] = timed_say(s, us, 30, welcome.b, welcome.len);
	for (i = 0; i < us; i++)
		if (s->c[i].connected)
			SIM_MUST(sim_say(s, i, 29, commit.b, commit.len) == TD_OK);
	n = snprintf(text, sizeof(text), "{\"transition_id\":%u}", id);
	bench_join.run[run] += timed_say(s, us, 22, text, (size_t)n);
	SIM_MUST(s->c[us].n_epochs == 1 && s->c[us].n_members == MEMBERS);
	SIM_MUST(s->c[us].n_senders == MEMBERS - 1 && s->c[us].code[0] != '\0');
	for (i = 0; i < us; i++)
		if (s->c[i].connected)
			sim_say_text(s, i, 22, text);
	sim_check(s);
	free(commit.b);
	free(welcome.b);
	return us;
}

/* `gone` goes, `committer` says so: both the proposal and the commit are timed at ours. */
static void remove_once(struct sim *s, size_t us, size_t gone, size_t committer, int run)
{
	uint32_t leaf = sim_leaf(s, gone);
	uint16_t id = s->next_id++;
	struct sim_bytes commit;
	struct sim_list l;
	struct mls_span p;
	size_t i;

	s->c[gone].connected = false;
	for (i = 0; i < s->n; i++) {
		if (s->c[i].connected)
			dave_session_user(s->c[i].d, s->c[gone].user_id, false);
		sim_take(&s->c[i]);
	}
	l = sim_list(s);
	sim_propose_remove(s, &l, leaf);
	p = sim_finish(&l);
	sim_forget(s);
	for (i = 0; i < us; i++)
		if (s->c[i].connected)
			sim_say(s, i, 27, p.p, p.len);
	bench_answer.run[run] = timed_say(s, us, 27, p.p, p.len);
	SIM_MUST(s->c[us].n_commits == 1);
	commit = sim_half(s, committer, id, false);
	bench_follow.run[run] = timed_say(s, us, 29, commit.b, commit.len);
	for (i = 0; i < us; i++)
		if (s->c[i].connected)
			SIM_MUST(sim_say(s, i, 29, commit.b, commit.len) == TD_OK);
	sim_execute(s, id);
	sim_check(s);
	SIM_MUST(s->c[us].n_members == MEMBERS - 1);
	free(commit.b);
}

void bench_call(void)
{
	struct sim *s = grow();
	int run;

	for (run = 0; run < BENCH_RUNS; run++) {
		size_t us = join_once(s, run);

		remove_once(s, us, 7 + 13 * (size_t)run, 50, run);
	}
	sim_free(s);
}
