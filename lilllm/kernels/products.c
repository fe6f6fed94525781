/* The three products of linear layers in bf16 for training on a CPU with AVX512-BF16.
 *
 * torch's products lose an eighth of the units' speed on matrices that come from memory, make a bf16 copy
 * of the weights first, and round the gradients of weights to bf16. Here the weights are read in fp32,
 * and turned while they are copied into the order in which the units take them; their gradients are
 * written in fp32 as they were summed. Every sum runs in one order, so results do not depend on the
 * number of threads.
 *
 * ../model/native_linear.py calls it. Shapes: M rows, N outputs, K inputs, the last two multiples of 32. Layers
 * that read the same input are computed together: x is [M, K], and for each layer y and its gradient g are
 * [M, N], w is [N, K]. `room` is memory for the copies, aligned to 64 bytes. The gradients of weights are
 * summed `step` rows at a time, an even number.
 *
 * Source: Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication". */

#ifdef __AVX512BF16__
#include "bf16.h"
#include <omp.h>

#define ROWS 8       /* of a tile, whose sums stay in registers */
#define COLUMNS 32   /* of a tile */
#define BLOCK 128    /* rows that stay in a core's cache while all columns pass */
#define PAIRS 2      /* of rows that are paired in turns, so that a line is filled while it is near */

typedef __m512 Sums[ROWS][2];

/* Matrices come from memory, faster if asked for ahead; an address past the end does no harm. */
ALWAYS void prefetch(const void *at) { _mm_prefetch(at, _MM_HINT_T0); }

/* One of BLOCK / ROWS parts of the `k` pairs of 32 columns that a block will need next. */
ALWAYS void prefetch_part(int part, int k, const pair *next) {
    const int lines = (2 * k * ROWS + BLOCK - 1) / BLOCK;
    for (int i = part * lines; i < (part + 1) * lines; i++) _mm_prefetch(next + 16 * i, _MM_HINT_T1);
}

ALWAYS void clear(const int R, Sums sums) {
    UNROLL for (int i = 0; i < R; i++) sums[i][0] = sums[i][1] = _mm512_setzero_ps();
}

/* sums[R][32] += a[R][k] b[k][32] for pairs; a's rows and pairs lie `row` and `step` pairs apart. */
ALWAYS void multiply(const int R, int k, const half *a, size_t row, size_t step, const pair *b, Sums sums) {
    for (int p = 0; p < k; p++, b += COLUMNS) {
        const __m512bh left = (__m512bh)_mm512_load_si512(b), right = (__m512bh)_mm512_load_si512(b + 16);
        UNROLL for (int i = 0; i < R; i++) {
            int32_t two;
            memcpy(&two, a + 2 * (i * row + p * step), 4);
            const __m512bh all = (__m512bh)_mm512_set1_epi32(two);
            sums[i][0] = _mm512_dpbf16_ps(sums[i][0], all, left);
            sums[i][1] = _mm512_dpbf16_ps(sums[i][1], all, right);
        }
    }
}

/* This thread's share of `count`: from *first to the result. */
static int share(int count, int *first) {
    const int threads = omp_get_num_threads(), me = omp_get_thread_num();
    *first = (int)((int64_t)count * me / threads);
    return (int)((int64_t)count * (me + 1) / threads);
}

/* A factor of a sum of products: a[M][K] times what `b`, [N / 32][K / 2][32] pairs, is a copy of. */
typedef struct {
    int K;
    const half *a;
    const pair *b;
} Factors;

/* c[R][32] at row m and column n of the sum of `count` products. */
ALWAYS void rows_of(const int R, int m, int n, int N, int count, const Factors *parts, half *c) {
    Sums sums;
    clear(R, sums);
    for (const Factors *part = parts; part < parts + count; part++) {
        const int K = part->K;
        multiply(R, K / 2, part->a + (size_t)m * K, K / 2, 1, part->b + (size_t)n * (K / 2), sums);
    }
    UNROLL for (int i = 0; i < R; i++)
        _mm512_storeu_si512(c + (size_t)(m + i) * N + n, (__m512i)_mm512_cvtne2ps_pbh(sums[i][1], sums[i][0]));
}

/* c[M][N] = the sum of `count` products; every thread of a team calls it. */
static void sum_products(int M, int N, int count, const Factors *parts, half *c) {
    int first, last = share((M + ROWS - 1) / ROWS, &first);
    for (int block = first * ROWS; block < min(M, last * ROWS); block += BLOCK)
        for (int n = 0; n < N; n += COLUMNS) {
            const int end = min(block + BLOCK, min(M, last * ROWS));
            int m = block;
            for (; m + ROWS <= end; m += ROWS) {
                for (const Factors *part = parts; part < parts + count; part++)
                    prefetch_part((m - block) / ROWS, part->K / 2, part->b + (size_t)(n + COLUMNS) * (part->K / 2));
                rows_of(ROWS, m, n, N, count, parts, c);
            }
            for (; m < end; m++) rows_of(1, m, n, N, count, parts, c);
        }
}

/* Turn 16 rows of 16 pairs into 16 columns. */
ALWAYS void transpose(__m512i x[16]) {
    __m512i y[16];
    UNROLL for (int i = 0; i < 16; i += 2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    UNROLL for (int i = 0; i < 16; i += 4) {
        UNROLL for (int j = 0; j < 2; j++) {
            x[i + 2 * j] = _mm512_unpacklo_epi64(y[i + j], y[i + 2 + j]);
            x[i + 2 * j + 1] = _mm512_unpackhi_epi64(y[i + j], y[i + 2 + j]);
        }
    }
    UNROLL for (int i = 0; i < 4; i++) { /* now each 128 bits are 4 rows of a column, i mod 4 */
        const __m512i low = _mm512_shuffle_i32x4(x[i], x[i + 4], 0x44);
        const __m512i high = _mm512_shuffle_i32x4(x[i], x[i + 4], 0xee);
        const __m512i low2 = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0x44);
        const __m512i high2 = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0xee);
        y[i] = _mm512_shuffle_i32x4(low, low2, 0x88);
        y[i + 4] = _mm512_shuffle_i32x4(low, low2, 0xdd);
        y[i + 8] = _mm512_shuffle_i32x4(high, high2, 0x88);
        y[i + 12] = _mm512_shuffle_i32x4(high, high2, 0xdd);
    }
    UNROLL for (int i = 0; i < 16; i++) x[i] = y[i];
}

/* w[N][K] as `inputs` [N / 32][K / 2][32], pairs of inputs, and, unless that is NULL, as `outputs`
 * [K / 32][N / 2][32], pairs of outputs. */
static void pair_weights(int N, int K, const float *w, pair *inputs, pair *outputs) {
    int first, last = share(N / 16, &first);
    for (int n = first * 16; n < last * 16; n += 16)
        for (int k = 0; k < K; k += 32) {
            __m512i x[16];
            UNROLL for (int i = 0; i < 16; i++) {
                const float *at = w + (size_t)(n + i) * K + k;
                prefetch(at + 32);
                prefetch(at + 48);
                x[i] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(at + 16), _mm512_loadu_ps(at));
            }
            if (outputs != NULL) {
                pair *out = outputs + (size_t)k * (N / 2) + (size_t)n / 2 * COLUMNS;
                UNROLL for (int i = 0; i < 16; i += 2) {
                    const __m512i low = paired(_mm512_castsi512_si256(x[i]), _mm512_castsi512_si256(x[i + 1]));
                    const __m512i high =
                        paired(_mm512_extracti64x4_epi64(x[i], 1), _mm512_extracti64x4_epi64(x[i + 1], 1));
                    _mm512_stream_si512((void *)(out + i / 2 * COLUMNS), low);
                    _mm512_stream_si512((void *)(out + i / 2 * COLUMNS + 16), high);
                }
            }
            transpose(x);
            pair *out = inputs + (size_t)(n / COLUMNS * COLUMNS) * (K / 2) + (size_t)k / 2 * COLUMNS + n % COLUMNS;
            UNROLL for (int p = 0; p < 16; p++) _mm512_store_si512(out + p * COLUMNS, x[p]);
        }
}

/* x[M][N] as [N / W][M / 2, rounded up][W] pairs of rows; W is 8 or 32. */
ALWAYS void pair_rows(const int W, int M, int N, const half *x, pair *to) {
    const int pairs = (M + 1) / 2;
    int first, last = share(pairs, &first);
    for (int some = first; some < last; some += PAIRS)
        for (int n = 0; n < N; n += 16)
            for (int p = some; p < min(some + PAIRS, last); p++) {
                const half *at = x + (size_t)p * 2 * N + n;
                pair *out = to + (size_t)(n / W) * pairs * W + (size_t)p * W + n % W;
                prefetch(at + PAIRS * 2 * N);
                prefetch(at + (PAIRS * 2 + 1) * N);
                const __m256i next = 2 * p + 1 < M ? get(at + N) : _mm256_setzero_si256();
                const __m512i both = paired(get(at), next);
                if (W == COLUMNS) {
                    _mm512_stream_si512((void *)out, both);
                } else {
                    _mm256_store_si256((void *)out, _mm512_castsi512_si256(both));
                    _mm256_store_si256((void *)(out + (size_t)pairs * W), _mm512_extracti64x4_epi64(both, 1));
                }
            }
}

/* w_grad[N][K] = or += what some rows give, as pair_rows made them; every thread of a team calls it. */
static void add_weight_gradient(int N, int K, int pairs, const pair *g, const pair *x, float *w_grad,
                                int is_first, int is_last) {
    int first, last = share(N / ROWS, &first);
    for (int block = first * ROWS; block < last * ROWS; block += BLOCK)
        for (int k = 0; k < K; k += COLUMNS)
            for (int n = block; n < min(block + BLOCK, last * ROWS); n += ROWS) {
                prefetch_part((n - block) / ROWS, pairs, x + (size_t)(k + COLUMNS) * pairs);
                Sums sums;
                clear(ROWS, sums);
                multiply(ROWS, pairs, (const half *)(g + (size_t)n * pairs), 1, ROWS, x + (size_t)k * pairs, sums);
                UNROLL for (int i = 0; i < ROWS; i++)
                    UNROLL for (int j = 0; j < 2; j++) {
                        float *at = w_grad + (size_t)(n + i) * K + k + 16 * j;
                        if (!is_first) sums[i][j] = _mm512_add_ps(sums[i][j], _mm512_load_ps(at));
                        if (is_last)
                            _mm512_stream_ps(at, sums[i][j]); /* nobody reads it soon */
                        else
                            _mm512_store_ps(at, sums[i][j]);
                    }
            }
    _mm_sfence();
}

/* y = x w^T of each of `count` layers. Copies what the gradients will want, unless that is NULL: of all w
 * to `outputs`, of x to `rows`. */
void linear_forward(int M, int K, int count, int threads, const int *N, const half *x, const float **w,
                    half **y, pair *room, pair *outputs, pair *rows, int step) {
#pragma omp parallel num_threads(threads)
    {
        for (int i = 0, done = 0; i < count; done += N[i++]) {
            const size_t at = (size_t)done * (K / 2);
            pair_weights(N[i], K, w[i], room + at, outputs == NULL ? NULL : outputs + at);
        }
        for (int m = 0; m < M && rows != NULL; m += step)
            pair_rows(COLUMNS, min(step, M - m), K, x + (size_t)m * K, rows + (size_t)m / 2 * K);
        _mm_sfence();
#pragma omp barrier
        for (int i = 0, done = 0; i < count; done += N[i++])
            sum_products(M, N[i], 1, &(Factors){K, x, room + (size_t)done * (K / 2)}, y[i]);
    }
}

/* The gradient of x: the sum of all g w, with the `outputs` of the forward pass. */
void linear_input_gradient(int M, int K, int count, int threads, const int *N, const half **g,
                           const pair *outputs, half *x_grad) {
    Factors parts[count];
    for (int i = 0, done = 0; i < count; done += N[i++])
        parts[i] = (Factors){N[i], g[i], outputs + (size_t)done * (K / 2)};
#pragma omp parallel num_threads(threads)
    sum_products(M, K, count, parts, x_grad);
}

/* The gradients of w: g^T x, with the `rows` of the forward pass; room for min(M, step) rows, rounded up
 * to 2, of all g. Every w_grad is aligned as `room` is. */
void linear_weight_gradient(int M, int K, int count, int threads, const int *N, const half **g,
                            const pair *rows, float **w_grad, pair *room, int step) {
#pragma omp parallel num_threads(threads)
    for (int m = 0; m < M; m += step) {
        const int some = min(step, M - m), pairs = (some + 1) / 2;
        pair *gs = room;
        for (int i = 0; i < count; gs += (size_t)N[i++] * pairs)
            pair_rows(ROWS, some, N[i], g[i] + (size_t)m * N[i], gs);
#pragma omp barrier
        gs = room;
        for (int i = 0; i < count; gs += (size_t)N[i++] * pairs)
            add_weight_gradient(N[i], K, pairs, gs, rows + (size_t)m / 2 * K, w_grad[i], m == 0, m + step >= M);
#pragma omp barrier
    }
}
#endif
