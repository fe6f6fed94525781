/* The three products of linear layers in bf16 for training on a CPU with AVX512-BF16, or with AMX.
 *
 * torch's products lose an eighth of the units' speed on matrices that come from memory, make a bf16 copy
 * of the weights first, and round the gradients of weights to bf16. Here the weights are read in fp32,
 * and turned while they are copied into the order in which the units take them; their gradients are
 * written in fp32 as they were summed. Every sum runs in one order, so results do not depend on the
 * number of threads.
 *
 * ../model/native_linear.py calls it. TileConfig: M rows, N outputs, K inputs, the last two multiples of 32. Layers
 * that read the same input are computed together: x is [M, K], and for each layer y and its gradient g are
 * [M, N], w is [N, K]. `room` is memory for the copies, aligned to 64 bytes. The gradients of weights are
 * summed `step` rows at a time, a multiple of 32.
 *
 * Source: Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication". */

#ifdef __AVX512BF16__
#include "bf16.h"
#include "amx.h"
#include <omp.h>

#ifdef __AMX_BF16__
#define ROWS 32           /* of a tile of sums */
#define TAIL_ROWS(rows) (rows) /* of fewer than ROWS that are computed at once */
#define STORE _mm512_stream_si512 /* past the cache, in which there is no room for what is made */
#else
#define ROWS 8 /* of a tile, whose sums stay in registers */
#define TAIL_ROWS(rows) 1
#define STORE _mm512_storeu_si512
#endif
#define COLUMNS 32 /* of a tile */
#define BLOCK 128  /* rows that stay in a core's cache while all columns pass */
#define PAIRS 2    /* of rows that are paired in turns, so that a line is filled while it is near */

typedef __m512 Sums[ROWS][2];

/* Matrices come from memory, faster if asked for ahead; an address past the end does no harm. */
ALWAYS void prefetch(const void *at) { _mm_prefetch(at, _MM_HINT_T0); }

/* Of the `k` pairs of 32 columns after b, which a block needs next, what rows m.. shall ask for. */
ALWAYS const pair *next_part(int m, size_t k, const pair *b) {
    return b + k * COLUMNS + m % BLOCK * k * COLUMNS / BLOCK;
}

/* This thread's share of `count`: from *first to the result. */
static int share(int count, int *first) {
    const int threads = omp_get_num_threads(), me = omp_get_thread_num();
    *first = (int)((int64_t)count * me / threads);
    return (int)((int64_t)count * (me + 1) / threads);
}

/* Tiles from row to row_end and from column to column_end. */
typedef struct {
    int row, row_end, column, column_end;
} Part;

/* This thread's next part of rows x columns tiles, of which it had `done` rows; 0 if there is none. Where
 * rows alone are too few for an even share, columns are divided too. */
static int next_tiles(int rows, int columns, int *done, Part *part) {
    const int parts = min(columns, (4 * omp_get_num_threads() + rows - 1) / rows);
    int first;
    const int last = share(rows * parts, &first), at = first + *done;
    if (at >= last) return 0;
    part->row = at % rows;
    part->row_end = min(rows, part->row + last - at);
    part->column = (int)((int64_t)columns * (at / rows) / parts);
    part->column_end = (int)((int64_t)columns * (at / rows + 1) / parts);
    *done += part->row_end - part->row;
    return 1;
}

/* A factor of a sum of products: a[M][K] times what `b`, [N / 32][K / 2][32] pairs, is a copy of. */
typedef struct {
    int K;
    const half *a;
    const pair *b;
} Factors;

#ifdef __AMX_BF16__
/* sums[R][32] of rows m.. and columns n.. of the sum of `count` products. */
ALWAYS void sum_of(const int R, int m, int n, int count, const Factors *factors, Sums sums) {
    configure_tiles(R, TILE);
    clear_tiles();
    for (const Factors *factor = factors; factor < factors + count; factor++) {
        const size_t pairs = factor->K / 2;
        const pair *b = factor->b + n * pairs;
        multiply_tiles(pairs, factor->a + m * 2 * pairs, pairs, TILE * pairs, TILE, b, COLUMNS, next_part(m, pairs, b));
    }
    store_tiles((float *)sums, COLUMNS);
}

/* sums[32][32] of a gradient's rows n.. and columns k.., with g as pair_gradient and x as pair_rows made it. */
ALWAYS void gradient_of(int n, int k, size_t pairs, const pair *g, const pair *x, Sums sums) {
    configure_tiles(ROWS, TILE);
    clear_tiles();
    const pair *b = x + k * pairs;
    multiply_tiles(pairs, g + n * pairs, TILE, TILE * pairs, TILE * TILE, b, COLUMNS, next_part(n, pairs, b));
    store_tiles((float *)sums, COLUMNS);
}
#else
ALWAYS void clear(const int R, Sums sums) {
    UNROLL for (int i = 0; i < R; i++) sums[i][0] = sums[i][1] = _mm512_setzero_ps();
}

ALWAYS void prefetch_next(const int R, int m, size_t k, const pair *b) {
    const char *next = (const char *)next_part(m, k, b);
    for (size_t byte = 0; byte < 4 * k * COLUMNS * R / BLOCK; byte += 64) _mm_prefetch(next + byte, _MM_HINT_T1);
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

/* sums[R][32] of rows m.. and columns n.. of the sum of `count` products. */
ALWAYS void sum_of(const int R, int m, int n, int count, const Factors *factors, Sums sums) {
    clear(R, sums);
    for (const Factors *factor = factors; factor < factors + count; factor++) {
        const size_t pairs = factor->K / 2;
        const pair *b = factor->b + n * pairs;
        prefetch_next(R, m, pairs, b);
        multiply(R, pairs, factor->a + m * 2 * pairs, pairs, 1, b, sums);
    }
}

/* sums[8][32] of a gradient's rows n.. and columns k.., with g as pair_gradient and x as pair_rows made it. */
ALWAYS void gradient_of(int n, int k, size_t pairs, const pair *g, const pair *x, Sums sums) {
    clear(ROWS, sums);
    const pair *b = x + k * pairs;
    prefetch_next(ROWS, n, pairs, b);
    multiply(ROWS, pairs, (const half *)(g + n * pairs), 1, ROWS, b, sums);
}
#endif

/* c[R][32] at row m and column n of the sum of `count` products. */
ALWAYS void rows_of(const int R, int m, int n, int N, int count, const Factors *parts, half *c) {
    Sums sums;
    sum_of(R, m, n, count, parts, sums);
    UNROLL for (int i = 0; i < R; i++)
        STORE((void *)(c + (size_t)(m + i) * N + n), (__m512i)_mm512_cvtne2ps_pbh(sums[i][1], sums[i][0]));
}

/* c[M][N] = the sum of `count` products; every thread of a team calls it. */
static void sum_products(int M, int N, int count, const Factors *factors, half *c) {
    Part part;
    for (int done = 0; next_tiles((M + ROWS - 1) / ROWS, N / COLUMNS, &done, &part);)
        for (int block = part.row * ROWS; block < min(M, part.row_end * ROWS); block += BLOCK)
            for (int n = part.column * COLUMNS; n < part.column_end * COLUMNS; n += COLUMNS) {
                const int end = min(block + BLOCK, min(M, part.row_end * ROWS));
                int m = block;
                for (; m + ROWS <= end; m += ROWS) rows_of(ROWS, m, n, N, count, factors, c);
                for (; m < end; m += TAIL_ROWS(end - m)) rows_of(TAIL_ROWS(end - m), m, n, N, count, factors, c);
            }
    _mm_sfence();
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

/* Pairs of M rows, a multiple of 16: zeros where there is no row. */
ALWAYS int pairs_of(int M) { return (M + 31) / 32 * 16; }

/* Pair p of rows of x[M][N], 16 columns from n on. */
ALWAYS __m512i pair_at(int p, int n, int M, int N, const half *x) {
    const half *at = x + (size_t)p * 2 * N + n;
    const __m256i zero = _mm256_setzero_si256();
    return paired(2 * p < M ? get(at) : zero, 2 * p + 1 < M ? get(at + N) : zero);
}

/* x[M][N] as [N / W][pairs][W] pairs of rows; W is 8 or 32. */
ALWAYS void pair_rows_by(const int W, int M, int N, const half *x, pair *to) {
    const int pairs = pairs_of(M);
    int first, last = share(pairs, &first);
    for (int some = first; some < last; some += PAIRS)
        for (int n = 0; n < N; n += 16)
            for (int p = some; p < min(some + PAIRS, last); p++) {
                prefetch(x + (size_t)(p + PAIRS) * 2 * N + n);
                prefetch(x + ((size_t)(p + PAIRS) * 2 + 1) * N + n);
                const __m512i both = pair_at(p, n, M, N, x);
                pair *out = to + (size_t)(n / W) * pairs * W + (size_t)p * W + n % W;
                if (W == COLUMNS) {
                    _mm512_stream_si512((void *)out, both);
                } else {
                    _mm256_store_si256((void *)out, _mm512_castsi512_si256(both));
                    _mm256_store_si256((void *)(out + (size_t)pairs * W), _mm512_extracti64x4_epi64(both, 1));
                }
            }
}

static void pair_rows(int M, int N, const half *x, pair *to) { pair_rows_by(COLUMNS, M, N, x, to); }

#ifdef __AMX_BF16__
/* g[M][N] as [N / 16][pairs / 16][16][16] pairs of rows, of the same column side by side. */
static void pair_gradient(int M, int N, const half *g, pair *to) {
    const int pairs = pairs_of(M);
    int first, last = share(pairs / TILE, &first);
    for (int p = first * TILE; p < last * TILE; p += TILE)
        for (int n = 0; n < N; n += TILE) {
            __m512i x[16];
            UNROLL for (int i = 0; i < 16; i++) x[i] = pair_at(p + i, n, M, N, g);
            transpose(x);
            pair *out = to + (size_t)n * pairs + (size_t)p * TILE;
            UNROLL for (int i = 0; i < 16; i++) _mm512_store_si512(out + TILE * i, x[i]);
        }
}
#else
static void pair_gradient(int M, int N, const half *g, pair *to) { pair_rows_by(ROWS, M, N, g, to); }
#endif

/* w_grad[N][K] = or += what some rows give; every thread of a team calls it. */
static void add_weight_gradient(int N, int K, int pairs, const pair *g, const pair *x, float *w_grad,
                                int is_first, int is_last) {
    Part part;
    for (int done = 0; next_tiles(N / ROWS, K / COLUMNS, &done, &part);)
        for (int block = part.row * ROWS; block < part.row_end * ROWS; block += BLOCK)
            for (int k = part.column * COLUMNS; k < part.column_end * COLUMNS; k += COLUMNS)
                for (int n = block; n < min(block + BLOCK, part.row_end * ROWS); n += ROWS) {
                    Sums sums;
                    gradient_of(n, k, pairs, g, x, sums);
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
            pair_rows(min(step, M - m), K, x + (size_t)m * K, rows + (size_t)m / 2 * K);
        _mm_sfence();
#pragma omp barrier
        TileConfig before;
        begin_tiles(&before);
        for (int i = 0, done = 0; i < count; done += N[i++])
            sum_products(M, N[i], 1, &(Factors){K, x, room + (size_t)done * (K / 2)}, y[i]);
        end_tiles(&before);
    }
}

/* The gradient of x: the sum of all g w, with the `outputs` of the forward pass. */
void linear_input_gradient(int M, int K, int count, int threads, const int *N, const half **g,
                           const pair *outputs, half *x_grad) {
    Factors parts[count];
    for (int i = 0, done = 0; i < count; done += N[i++])
        parts[i] = (Factors){N[i], g[i], outputs + (size_t)done * (K / 2)};
#pragma omp parallel num_threads(threads)
    {
        TileConfig before;
        begin_tiles(&before);
        sum_products(M, K, count, parts, x_grad);
        end_tiles(&before);
    }
}

/* The gradients of w: g^T x, with the `rows` of the forward pass; room for min(M, step) rows, rounded up
 * to 32, of all g. Every w_grad is aligned as `room` is. */
void linear_weight_gradient(int M, int K, int count, int threads, const int *N, const half **g,
                            const pair *rows, float **w_grad, pair *room, int step) {
#pragma omp parallel num_threads(threads)
    {
        TileConfig before;
        begin_tiles(&before);
        for (int m = 0; m < M; m += step) {
            const int some = min(step, M - m), pairs = pairs_of(some);
            pair *gs = room;
            for (int i = 0; i < count; gs += (size_t)N[i++] * pairs)
                pair_gradient(some, N[i], g[i] + (size_t)m * N[i], gs);
#pragma omp barrier
            gs = room;
            for (int i = 0; i < count; gs += (size_t)N[i++] * pairs)
                add_weight_gradient(N[i], K, pairs, gs, rows + (size_t)m / 2 * K, w_grad[i], m == 0, m + step >= M);
#pragma omp barrier
        }
        end_tiles(&before);
    }
}
#endif
