/* SPDX-License-Identifier: ISC */
#include "unpacker/to_s16.h"

#include <math.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

bool to_s16_plain(int16_t *to, const float *from, size_t n)
{
	bool within = true;
	size_t i;

	for (i = 0; i < n; i++) {
		float x = from[i] * 32768;

		within &= from[i] >= -1 && from[i] <= 1;
		x = x > -32768 ? x : -32768; /* what is no number, too */
		to[i] = (int16_t)lrintf(x < 32767 ? x : 32767);
	}
	return within;
}

#ifdef __SSE2__
/* Compilers do not vectorise lrintf() by themselves. */
bool to_s16(int16_t *to, const float *from, size_t n)
{
	const __m128 scale = _mm_set1_ps(32768), top = _mm_set1_ps(32767), one = _mm_set1_ps(1);
	const __m128 sign = _mm_set1_ps(-0.0f);
	__m128 beyond = _mm_setzero_ps();
	size_t i;

	for (i = 0; i + 8 <= n; i += 8) {
		__m128 a = _mm_loadu_ps(from + i), b = _mm_loadu_ps(from + i + 4);

		beyond = _mm_or_ps(beyond, _mm_cmpnle_ps(_mm_andnot_ps(sign, a), one));
		beyond = _mm_or_ps(beyond, _mm_cmpnle_ps(_mm_andnot_ps(sign, b), one));
		/* What is too low, or no number, becomes the lowest number of 32 bits, then of 16.
		 */
		a = _mm_min_ps(top, _mm_mul_ps(a, scale));
		b = _mm_min_ps(top, _mm_mul_ps(b, scale));
		_mm_storeu_si128((__m128i *)(void *)(to + i),
			_mm_packs_epi32(_mm_cvtps_epi32(a), _mm_cvtps_epi32(b)));
	}
	return to_s16_plain(to + i, from + i, n - i) && _mm_movemask_ps(beyond) == 0;
}
#else
bool to_s16(int16_t *to, const float *from, size_t n)
{
	return to_s16_plain(to, from, n);
}
#endif
