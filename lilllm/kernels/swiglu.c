/* The gate of a feed-forward network, silu(gate) up, in bf16 for training on a CPU with AVX512-BF16.
 *
 * What torch compiles for it is bound by its exponentials: it computes two where one will do, each to
 * the last bit of fp32. Here everything between reading and writing bf16 is fp32.
 *
 * ../model/native_swiglu.py calls it. Shapes: M rows, F feed-forward width, a multiple of 32; all arrays are
 * [M, F].
 *
 * Source: Shazeer 2020, "GLU Variants Improve Transformer", arXiv:2002.05202. */

#ifdef __AVX512BF16__
#include "bf16.h"

ALWAYS __m512 widen(const half *at) { return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(get(at)), 16); }

/* 1 / (1 + exp(-x)) */
ALWAYS __m512 sigmoid(__m512 x) {
    const __m512 one = _mm512_set1_ps(1);
    const __m512 power = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(-LOG2E));
    const __mmask16 seen = _mm512_cmp_ps_mask(power, _mm512_set1_ps(-125), _CMP_NLT_UQ);
    const __m512 e = _mm512_maskz_mov_ps(seen, power_of_2(power)); /* 0 where it is less, for a huge x */
    const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    return _mm512_div_ps(_mm512_mask_mov_ps(one, negative, e), _mm512_add_ps(one, e));
}

void swiglu_forward(int M, int F, int threads, const half *gate, const half *up, half *out) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < (int64_t)M * F; i += 16) {
        const __m512 x = widen(gate + i);
        put(out + i, narrow(_mm512_mul_ps(_mm512_mul_ps(x, sigmoid(x)), widen(up + i))));
    }
}

void swiglu_backward(int M, int F, int threads, const half *grad, const half *gate, const half *up,
                     half *gate_grad, half *up_grad) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < (int64_t)M * F; i += 16) {
        const __m512 g = widen(grad + i), x = widen(gate + i), s = sigmoid(x);
        const __m512 silu = _mm512_mul_ps(x, s); /* its derivative is s + silu (1 - s) */
        const __m512 slope = _mm512_fmadd_ps(silu, _mm512_sub_ps(_mm512_set1_ps(1), s), s);
        put(up_grad + i, narrow(_mm512_mul_ps(g, silu)));
        put(gate_grad + i, narrow(_mm512_mul_ps(_mm512_mul_ps(g, widen(up + i)), slope)));
    }
}
#endif
