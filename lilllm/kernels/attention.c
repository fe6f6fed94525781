/* Causal attention in bf16 for training on a CPU with AVX512-BF16, or with AMX, forward and backward.
 *
 * torch's kernel leaves the units idle at narrow heads, and products over blocks in torch write every
 * score to memory several times. Here a block of scores is computed, made weights and used while it is
 * in the cache. Scores, weights and sums are fp32; what products read is bf16. Every head of keys
 * is one thread's alone, so results do not depend on the number of threads.
 *
 * ../model/native_attention.py calls it. TileConfig: N heads of keys of all texts, G of them a text, T
 * positions, R query heads to a head of keys, K head width, a multiple of 32. q is [N, T R, K], scaled;
 * k and v are [N, T, K]. Equal segments [N / G, T] are adjacent, or NULL: one segment.
 *
 * Source: Dao 2023, "FlashAttention-2", arXiv:2307.08691, algorithms 1 and 2. Rows of scores are whole
 * here, so there is no running maximum. */

#ifdef __AVX512BF16__
#include "bf16.h"
#include "amx.h"
#include <math.h>
#include <stdlib.h>

#ifdef __AMX_BF16__
#define QUERIES 32 /* rows of queries at once */
#define KEYS 32    /* keys at once, even */
#else
#define QUERIES 24
#define KEYS 24
#endif
_Static_assert(KEYS <= 32 && KEYS % 2 == 0, "half of the keys are one step of a product");

static int up(int x, int to) { return (x + to - 1) / to * to; }

/* The next `bytes` of a thread's memory, which is zeros; without memory, only counts them. */
static void *take(char *memory, size_t *used, size_t bytes) {
    void *part = memory == NULL ? NULL : memory + *used;
    *used += (bytes + 63) / 64 * 64;
    return part;
}

static char *zeros(size_t bytes) {
    char *memory = aligned_alloc(64, bytes);
    return memory == NULL ? NULL : memset(memory, 0, bytes);
}

/* ---- products ------------------------------------------------------------------------------ */

#ifdef __AMX_BF16__
/* c[M][N] = or += a[M][2 k] b[k][N]; N is a multiple of 32, k of 16 unless it is less. */
static void product(int M, int N, int k, const half *a, int lda, const pair *b, int ldb, float *c,
                    int ldc, int add) {
    const size_t row = lda / 2;
    for (int m = 0; m < M; m += 2 * TILE) {
        configure_tiles(min(2 * TILE, M - m), min(TILE, k));
        for (int n = 0; n < N; n += 2 * TILE) {
            float *sums = c + (size_t)m * ldc + n;
            if (add)
                load_tiles(sums, ldc);
            else
                clear_tiles();
            multiply_tiles(k, a + (size_t)m * lda, row, TILE * row, TILE, b + n, ldb, NULL);
            store_tiles(sums, ldc);
        }
    }
}
#else
/* c[MR][16 NR] = or += a[MR][2 k] b[k][16 NR]; all in registers once MR and NR are constants. */
ALWAYS void tile(const int MR, const int NR, int k, const half *a, int lda, const pair *b, int ldb,
                 float *c, int ldc, int add) {
    __m512 sums[12][4];
    UNROLL for (int i = 0; i < MR; i++)
        UNROLL for (int j = 0; j < NR; j++)
            sums[i][j] = add ? _mm512_loadu_ps(c + i * ldc + 16 * j) : _mm512_setzero_ps();
    for (int p = 0; p < k; p++) {
        __m512bh row[4];
        UNROLL for (int j = 0; j < NR; j++)
            row[j] = (__m512bh)_mm512_loadu_si512(b + (size_t)p * ldb + 16 * j);
        UNROLL for (int i = 0; i < MR; i++) {
            int32_t two;
            memcpy(&two, a + i * lda + 2 * p, 4);
            UNROLL for (int j = 0; j < NR; j++)
                sums[i][j] = _mm512_dpbf16_ps(sums[i][j], (__m512bh)_mm512_set1_epi32(two), row[j]);
        }
    }
    UNROLL for (int i = 0; i < MR; i++)
        UNROLL for (int j = 0; j < NR; j++) _mm512_storeu_ps(c + i * ldc + 16 * j, sums[i][j]);
}

#define TILES(MR, NR)                                                                            \
    for (; m + MR <= M; m += MR)                                                                 \
    tile(MR, NR, k, a + (size_t)m * lda, lda, b + n, ldb, c + (size_t)m * ldc + n, ldc, add)

/* c[M][N] = or += a[M][2 k] b[k][N]; N is a multiple of 32. */
static void product(int M, int N, int k, const half *a, int lda, const pair *b, int ldb, float *c,
                    int ldc, int add) {
    int n = 0;
    for (; n + 64 <= N; n += 64) {
        int m = 0;
        TILES(6, 4);
        TILES(1, 4);
    }
    for (; n < N; n += 32) {
        int m = 0;
        TILES(12, 2);
        TILES(4, 2);
        TILES(1, 2);
    }
}
#endif

/* Pairs of columns: x[rows][2 pairs] as y[pairs][rows]. */
static void pair_columns(int rows, int pairs, const half *x, pair *y, int ldy) {
    for (int i = 0; i < rows; i++)
        for (int p = 0; p < pairs; p++) memcpy(y + (size_t)p * ldy + i, x + 2 * ((size_t)i * pairs + p), 4);
}

/* Pairs of rows: x[rows][columns] as y[rows / 2, rounded up][columns]. */
static void pair_rows(int rows, int columns, const half *x, pair *y) {
    for (int i = 0; i < rows; i += 2)
        for (int c = 0; c < columns; c += 16) {
            const half *at = x + (size_t)i * columns + c;
            const __m256i next = i + 1 < rows ? get(at + columns) : _mm256_setzero_si256();
            _mm512_storeu_si512(y + (size_t)i / 2 * columns + c, paired(get(at), next));
        }
}

/* ---- segments ------------------------------------------------------------------------------ */

/* The first position of each position's segment. */
static void find_starts(int T, const int64_t *segments, int *starts) {
    for (int t = 0; t < T; t++)
        starts[t] = t == 0 || segments == NULL ? 0 : segments[t] == segments[t - 1] ? starts[t - 1] : t;
}

/* The position after the last of each position's segment. */
static void find_ends(int T, const int64_t *segments, int *ends) {
    for (int t = T - 1; t >= 0; t--)
        ends[t] = t == T - 1 || segments == NULL ? T : segments[t] == segments[t + 1] ? ends[t + 1] : t + 1;
}

/* ---- the two passes ------------------------------------------------------------------------ */

/* weights[even] in bf16 from scores, of the keys from `start` to `seen`; others are 0.
 * Returns the sum of the weights; `top` is the greatest score, times log2 e. */
static float softmax(int start, int seen, int even, const float *scores, half *weights, float *top) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512 log2e = _mm512_set1_ps(LOG2E);
    __m512 most = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps();
    for (int j = 0; j < seen; j += 16) {
        const __m512i key = _mm512_add_epi32(lane, _mm512_set1_epi32(j));
        const __mmask16 mask = _mm512_cmplt_epi32_mask(key, _mm512_set1_epi32(seen)) &
                               _mm512_cmpge_epi32_mask(key, _mm512_set1_epi32(start));
        most = _mm512_mask_max_ps(most, mask, most, _mm512_loadu_ps(scores + j));
    }
    *top = _mm512_reduce_max_ps(most) * LOG2E;
    for (int j = 0; j < even; j += 16) {
        const __m512i key = _mm512_add_epi32(lane, _mm512_set1_epi32(j));
        const __mmask16 mask = _mm512_cmplt_epi32_mask(key, _mm512_set1_epi32(seen)) &
                               _mm512_cmpge_epi32_mask(key, _mm512_set1_epi32(start));
        const __m512 score = _mm512_maskz_loadu_ps(mask, scores + j);
        const __m512 weight = _mm512_maskz_mov_ps(
            mask, power_of_2(_mm512_fmsub_ps(score, log2e, _mm512_set1_ps(*top))));
        sum = _mm512_add_ps(sum, weight);
        put(weights + j, narrow(weight));
    }
    return _mm512_reduce_add_ps(sum);
}

typedef struct {
    pair *k_columns, *v_rows;
    float *scores, *mixed;
    half *weights;
    int *starts;
} Forward;

static size_t lay_out_forward(Forward *w, char *memory, int T, int K) {
    const size_t W = up(T, 64);
    size_t used = 0;
    w->k_columns = take(memory, &used, sizeof(pair) * K / 2 * W);
    w->v_rows = take(memory, &used, sizeof(pair) * W / 2 * K);
    w->scores = take(memory, &used, sizeof(float) * QUERIES * W);
    w->mixed = take(memory, &used, sizeof(float) * QUERIES * K);
    w->weights = take(memory, &used, sizeof(half) * QUERIES * W);
    w->starts = take(memory, &used, sizeof(int) * T);
    return used;
}

/* out [N, T R, K]; logs [N, T R]: log2 of the sum of exp(scores), which the backward pass wants.
 * Returns 0, or 1 if there is not enough memory. */
int attend_forward(int N, int G, int T, int R, int K, int threads, const half *q, const half *k,
                   const half *v, const int64_t *segments, half *out, float *logs) {
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        const int L = T * R, W = up(T, 64);
        Forward w;
        char *memory = NULL; /* of threads that get a head */
        TileConfig before;
        begin_tiles(&before);
        float sums[QUERIES];
#pragma omp for schedule(dynamic)
        for (int n = 0; n < N; n++) {
            if (memory == NULL && (memory = zeros(lay_out_forward(&w, NULL, T, K))) == NULL) {
#pragma omp atomic write
                failed = 1;
                continue;
            }
            lay_out_forward(&w, memory, T, K);
            const half *queries = q + (size_t)n * L * K;
            pair_columns(T, K / 2, k + (size_t)n * T * K, w.k_columns, W);
            pair_rows(T, K, v + (size_t)n * T * K, w.v_rows);
            find_starts(T, segments == NULL ? NULL : segments + (size_t)n / G * T, w.starts);
            for (int r = 0; r < L; r += QUERIES) {
                const int rows = min(QUERIES, L - r), from = w.starts[r / R] / 64 * 64;
                const int keys = (r + rows - 1) / R + 1 - from, even = up(keys, 32);
                product(rows, even, K / 2, queries + (size_t)r * K, K, w.k_columns + from, W, w.scores, W, 0);
                for (int i = 0; i < rows; i++) {
                    const int t = (r + i) / R;
                    float top;
                    sums[i] = softmax(w.starts[t] - from, t + 1 - from, even, w.scores + i * W,
                                      w.weights + i * W, &top);
                    logs[(size_t)n * L + r + i] = top + log2f(sums[i]);
                }
                product(rows, K, even / 2, w.weights, W, w.v_rows + (size_t)from / 2 * K, K, w.mixed, K, 0);
                for (int i = 0; i < rows; i++)
                    for (int c = 0; c < K; c += 16)
                        put(out + ((size_t)n * L + r + i) * K + c,
                            narrow(_mm512_div_ps(_mm512_loadu_ps(w.mixed + i * K + c), _mm512_set1_ps(sums[i]))));
            }
        }
        end_tiles(&before);
        free(memory);
    }
    return failed;
}

/* For one head of keys: what a block of keys needs of all its queries. Scores are [keys, queries] here. */
typedef struct {
    pair *q_columns, *g_columns, *q_rows, *g_rows; /* queries and gradients, in pairs of either kind */
    float *logs, *means;                           /* of each row of queries */
    float *scores, *pulls, *q_grad;                /* q_grad is [K, queries] */
    half *weights, *pulled, *k_columns;
    pair *pulled_rows;
    float *k_sums, *v_sums;
    int *ends;
} Backward;

static size_t lay_out_backward(Backward *w, char *memory, int T, int R, int K) {
    const size_t W = up(T * R, 64);
    size_t used = 0;
    w->q_columns = take(memory, &used, sizeof(pair) * K / 2 * W);
    w->g_columns = take(memory, &used, sizeof(pair) * K / 2 * W);
    w->q_rows = take(memory, &used, sizeof(pair) * W / 2 * K);
    w->g_rows = take(memory, &used, sizeof(pair) * W / 2 * K);
    w->logs = take(memory, &used, sizeof(float) * W);
    w->means = take(memory, &used, sizeof(float) * W);
    w->scores = take(memory, &used, sizeof(float) * KEYS * W);
    w->pulls = take(memory, &used, sizeof(float) * KEYS * W);
    w->q_grad = take(memory, &used, sizeof(float) * K * W);
    w->weights = take(memory, &used, sizeof(half) * KEYS * W);
    w->pulled = take(memory, &used, sizeof(half) * KEYS * W);
    w->k_columns = take(memory, &used, sizeof(half) * K * KEYS);
    w->pulled_rows = take(memory, &used, sizeof(pair) * KEYS / 2 * W);
    w->k_sums = take(memory, &used, sizeof(float) * KEYS * K);
    w->v_sums = take(memory, &used, sizeof(float) * KEYS * K);
    w->ends = take(memory, &used, sizeof(int) * T);
    return used;
}

/* Weights, and the gradients of scores, of keys `key` and the next one (if `two`) for queries from
 * `from` on. A query sees a key if it is not before it and before its segment's end. */
static void differentiate(int key, int two, int R, int from, int wide, int W, Backward *w, int j) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int r = 0; r < wide; r += 16) {
        const __m512i row = _mm512_add_epi32(lane, _mm512_set1_epi32(from + r));
        const __m512 log = _mm512_loadu_ps(w->logs + from + r), mean = _mm512_loadu_ps(w->means + from + r);
        __m256i pulled[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        for (int h = 0; h <= two; h++) {
            const size_t at = (size_t)(j + h) * W + r;
            const __mmask16 sees =
                _mm512_cmpge_epi32_mask(row, _mm512_set1_epi32((key + h) * R)) &
                _mm512_cmplt_epi32_mask(row, _mm512_set1_epi32(w->ends[key + h] * R));
            const __m512 weight = _mm512_maskz_mov_ps(
                sees, power_of_2(_mm512_fmsub_ps(_mm512_loadu_ps(w->scores + at), _mm512_set1_ps(LOG2E), log)));
            const __m512 pull = _mm512_sub_ps(_mm512_loadu_ps(w->pulls + at), mean);
            pulled[h] = narrow(_mm512_maskz_mul_ps(sees, weight, pull));
            put(w->weights + at, narrow(weight));
            put(w->pulled + at, pulled[h]);
        }
        _mm512_storeu_si512(w->pulled_rows + (size_t)j / 2 * W + r, paired(pulled[0], pulled[1]));
    }
}

/* The gradients of q, k and v from that of out, g [N, T R, K]. Returns as the forward pass does. */
int attend_backward(int N, int G, int T, int R, int K, int threads, const half *q, const half *k,
                    const half *v, const int64_t *segments, const half *out, const float *logs,
                    const half *g, half *q_grad, half *k_grad, half *v_grad) {
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        const int L = T * R, W = up(L, 64);
        Backward w;
        char *memory = NULL; /* of threads that get a head */
        TileConfig before;
        begin_tiles(&before);
#pragma omp for schedule(dynamic)
        for (int n = 0; n < N; n++) {
            if (memory == NULL && (memory = zeros(lay_out_backward(&w, NULL, T, R, K))) == NULL) {
#pragma omp atomic write
                failed = 1;
                continue;
            }
            lay_out_backward(&w, memory, T, R, K);
            const half *queries = q + (size_t)n * L * K, *grads = g + (size_t)n * L * K;
            const half *keys = k + (size_t)n * T * K, *values = v + (size_t)n * T * K;
            pair_columns(L, K / 2, queries, w.q_columns, W);
            pair_columns(L, K / 2, grads, w.g_columns, W);
            pair_rows(L, K, queries, w.q_rows);
            pair_rows(L, K, grads, w.g_rows);
            find_ends(T, segments == NULL ? NULL : segments + (size_t)n / G * T, w.ends);
            for (int r = 0; r < L; r++) { /* what the derivative of softmax subtracts in each row */
                __m512 sum = _mm512_setzero_ps();
                for (int c = 0; c < K; c += 32)
                    sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_loadu_si512(grads + (size_t)r * K + c),
                                           (__m512bh)_mm512_loadu_si512(out + ((size_t)n * L + r) * K + c));
                w.means[r] = _mm512_reduce_add_ps(sum);
                w.logs[r] = logs[(size_t)n * L + r];
            }
            memset(w.q_grad, 0, sizeof(float) * K * W);
            for (int first = 0; first < T; first += KEYS) {
                const int count = min(KEYS, T - first), pairs = up(count, 2) / 2;
                const int from = first * R / 64 * 64, wide = up(w.ends[first + count - 1] * R - from, 64);
                const half *block = keys + (size_t)first * K;
                product(count, wide, K / 2, block, K, w.q_columns + from, W, w.scores, W, 0);
                product(count, wide, K / 2, values + (size_t)first * K, K, w.g_columns + from, W, w.pulls, W, 0);
                for (int j = 0; j < count; j += 2)
                    differentiate(first + j, j + 1 < count, R, from, wide, W, &w, j);
                product(count, K, wide / 2, w.weights, W, w.g_rows + (size_t)from / 2 * K, K, w.v_sums, K, 0);
                product(count, K, wide / 2, w.pulled, W, w.q_rows + (size_t)from / 2 * K, K, w.k_sums, K, 0);
                for (int i = 0; i < count * K; i += 16) {
                    const size_t at = ((size_t)n * T + first) * K + i;
                    put(v_grad + at, narrow(_mm512_loadu_ps(w.v_sums + i)));
                    put(k_grad + at, narrow(_mm512_loadu_ps(w.k_sums + i)));
                }
                for (int c = 0; c < K; c++)
                    for (int j = 0; j < 2 * pairs; j++)
                        w.k_columns[c * KEYS + j] = j < count ? block[(size_t)j * K + c] : 0;
                product(K, wide, pairs, w.k_columns, KEYS, w.pulled_rows, W, w.q_grad + from, W, 1);
            }
            for (int r = 0; r < L; r += 16)
                for (int c = 0; c < K; c++) {
                    half some[16];
                    put(some, narrow(_mm512_loadu_ps(w.q_grad + (size_t)c * W + r)));
                    for (int i = 0; i < min(16, L - r); i++)
                        q_grad[((size_t)n * L + r + i) * K + c] = some[i];
                }
        }
        end_tiles(&before);
        free(memory);
    }
    return failed;
}
#endif
