/* What the kernels for processors with AVX512-BF16 share. */

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#define LOG2E 1.4426950408889634f

typedef uint16_t half;   /* a number in bf16 */
typedef uint32_t pair;   /* two of them, as the units multiply them */

ALWAYS int min(int a, int b) { return a < b ? a : b; }
ALWAYS __m256i narrow(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }
ALWAYS void put(half *at, __m256i x) { _mm256_storeu_si256((void *)at, x); }
ALWAYS __m256i get(const half *at) { return _mm256_loadu_si256((const void *)at); }

/* Bits of `low` beside those of `high`. */
ALWAYS __m512i paired(__m256i low, __m256i high) {
    return _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

/* 2^x for x <= 0, 2 in a million off at most; what is not a number stays so. */
ALWAYS __m512 power_of_2(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-125), x);
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 part = _mm512_sub_ps(x, whole);
    __m512 y = _mm512_set1_ps(1.8775767e-3f);
    y = _mm512_fmadd_ps(y, part, _mm512_set1_ps(8.9893397e-3f));
    y = _mm512_fmadd_ps(y, part, _mm512_set1_ps(5.5826318e-2f));
    y = _mm512_fmadd_ps(y, part, _mm512_set1_ps(2.4015361e-1f));
    y = _mm512_fmadd_ps(y, part, _mm512_set1_ps(6.9315308e-1f));
    y = _mm512_fmadd_ps(y, part, _mm512_set1_ps(1));
    return _mm512_scalef_ps(y, whole);
}

/* By this function a library that was compiled for such a processor is known. */
int needs_avx512_bf16(void) { return 1; }
