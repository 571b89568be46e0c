/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_RNG_H
#define TD_TESTS_VOICESERVER_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Repeatable random numbers: one stream per purpose, so that what one speaker draws does not
 * depend on when another one does. The generator is splitmix64. Never for a real secret.
 */
struct rng {
	uint64_t state;
};

static inline uint64_t rng_u64(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* The stream of `seed` for one purpose: three numbers that name it. */
static inline struct rng rng_stream(uint64_t seed, uint64_t a, uint64_t b, uint64_t c)
{
	struct rng r = { seed };

	r.state = rng_u64(&r) ^ a;
	r.state = rng_u64(&r) ^ b;
	r.state = rng_u64(&r) ^ c;
	return r;
}

/* What the third number of a stream stands for. */
enum rng_purpose {
	RNG_TALK = 1,
	RNG_TICKET,
	RNG_SESSION,
	RNG_PEER,
	RNG_GARBAGE,
	RNG_DAVE,
};

static inline uint32_t rng_u32(struct rng *r)
{
	return (uint32_t)(rng_u64(r) >> 32);
}

/* 0 to n - 1; n is not 0. The bias of the remainder does not matter here. */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_u64(r) % n;
}

/* True with probability p. Draws one number whatever p is. */
static inline bool rng_chance(struct rng *r, double p)
{
	return (double)(rng_u64(r) >> 11) * 0x1p-53 < p;
}

static inline void rng_fill(struct rng *r, uint8_t *out, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		out[i] = (uint8_t)(rng_u64(r) >> 56);
}

#endif
