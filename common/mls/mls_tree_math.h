/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_MLS_TREE_MATH_H
#define TD_COMMON_MLS_TREE_MATH_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The tree as an array (RFC 9420 appendix C): leaf i is node 2 i, the subtree of a node of level k
 * is the 2^(k+1) - 1 nodes around it. n_leaves is a power of two. The relations only shift bits:
 * whoever asks for a child of a leaf, or the parent of the root, checks first. Any thread.
 */
static inline uint32_t mls_n_nodes(uint32_t n_leaves)
{
	return n_leaves == 0 ? 0 : 2 * n_leaves - 1;
}

static inline uint32_t mls_root(uint32_t n_leaves)
{
	return n_leaves - 1;
}

static inline bool mls_is_leaf(uint32_t x)
{
	return (x & 1) == 0;
}

/* Trailing one bits: 0 for a leaf. */
static inline unsigned mls_level(uint32_t x)
{
	return (unsigned)__builtin_ctz(~x);
}

static inline uint32_t mls_left(uint32_t x)
{
	return x ^ (1u << (mls_level(x) - 1));
}

static inline uint32_t mls_right(uint32_t x)
{
	return x ^ (3u << (mls_level(x) - 1));
}

static inline uint32_t mls_parent(uint32_t x)
{
	unsigned k = mls_level(x);

	return (x | 1u << k) ^ ((x >> (k + 1) & 1) << (k + 1));
}

static inline uint32_t mls_sibling(uint32_t x)
{
	uint32_t p = mls_parent(x);

	return x < p ? mls_right(p) : mls_left(p);
}

/* First and last node of the subtree of x. */
static inline uint32_t mls_first_below(uint32_t x)
{
	return x - ((1u << mls_level(x)) - 1);
}

static inline uint32_t mls_last_below(uint32_t x)
{
	return x + ((1u << mls_level(x)) - 1);
}

/* Whether y is x or below it. */
static inline bool mls_is_below(uint32_t y, uint32_t x)
{
	return y >= mls_first_below(x) && y <= mls_last_below(x);
}

#endif
