/* One decoding step of a transformer on a CPU, for a few texts at once.
 *
 * At one token per text a step is bound by reading the weights, once each. So weights are read in
 * the form they are kept in (fp32, bf16, or 8 or 4 bits with steps for every 32), everything else is
 * fp32, and one parallel region spans all layers. The dot products of a text do not depend on
 * which other texts take part, nor on the number of threads: its logits are the same bits.
 *
 * Plain C with the vector extensions of GCC and Clang; `native.py` compiles and calls it, and
 * ../decoder.py does the same with torch. Shapes as there: B texts, D width, H query heads, G
 * key/value heads, K head width, F feed-forward width, S positions. D, F and H * K are multiples
 * of 32, K of 16. */

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef float vec __attribute__((vector_size(64)));        /* 16 numbers */
typedef int32_t ints __attribute__((vector_size(64)));
typedef uint32_t words __attribute__((vector_size(64)));
typedef uint16_t halves __attribute__((vector_size(32)));
typedef int8_t bytes __attribute__((vector_size(16)));
typedef uint8_t nibbles __attribute__((vector_size(16)));

#define ALWAYS static inline __attribute__((always_inline))
#define GROUP 32   /* weights that share a scale */
#define ROWS 4     /* rows of a matrix computed together */
#define TEXTS 4    /* texts computed together */
#define AHEAD 8    /* rows that are fetched before they are needed */

enum kind { FP32, BF16, INT8, INT4 };

typedef struct {
    int32_t kind, rows, cols;
    const void *weights;     /* [rows, cols]; INT8 plus 128; INT4 two per byte, the first 16 of a
                                group low, with their top bits turned */
    const float *scales;     /* INT8: steps [rows, cols / GROUP]; INT4: steps and least numbers
                                [rows, cols / GROUP, 2] */
    const float *bias;       /* [rows] or NULL */
} matrix;

typedef struct {
    matrix qkv, out, gate_up, down;
    const float *attention_norm, *mlp_norm;  /* [D] */
    const float *q_norm, *k_norm;            /* [K] or NULL */
} layer;

typedef struct {
    int32_t n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, relu2;
    float norm_eps;
    const layer *layers;
    matrix embedding, head;
    const float *norm;       /* [D] */
    const float *cos, *sin;  /* [positions of the context, K] */
} model;

typedef struct {
    int32_t kind, positions;     /* FP32 or BF16; positions that a slot has room for */
    void *const *keys;           /* per layer: [slots, G, positions, K] */
    void *const *values;
} cache;

/* ------------------------------------------------------------------ numbers */

ALWAYS vec load(const float *p) { vec v; memcpy(&v, p, sizeof v); return v; }
ALWAYS void store(float *p, vec v) { memcpy(p, &v, sizeof v); }

ALWAYS vec load_bf16(const uint16_t *p)
{
    halves h;
    memcpy(&h, p, sizeof h);
    return (vec)(__builtin_convertvector(h, words) << 16);
}

/* 16 bytes as integers, after exchanging the bits of `flip` (GCC widens registers only). */
ALWAYS ints widen_signed(const void *p, int flip)
{
    bytes b;
    memcpy(&b, p, sizeof b);
    return __builtin_convertvector(b ^ (int8_t)flip, ints);
}

ALWAYS ints widen_unsigned(const void *p, int flip)
{
    nibbles b;
    memcpy(&b, p, sizeof b);
    return __builtin_convertvector(b ^ (uint8_t)flip, ints);
}

ALWAYS vec load_as(enum kind kind, const void *p, size_t at)
{
    return kind == FP32 ? load((const float *)p + at) : load_bf16((const uint16_t *)p + at);
}

ALWAYS void store_as(enum kind kind, void *p, size_t at, float value)
{
    if (kind == FP32) {
        ((float *)p)[at] = value;
        return;
    }
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    ((uint16_t *)p)[at] = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;  /* round to nearest even */
}

ALWAYS vec larger(vec a, vec b)
{
    ints first = a > b;
    return (vec)((first & (ints)a) | (~first & (ints)b));
}

ALWAYS float sum(vec v)
{
    float s[16], total = 0;
    memcpy(s, &v, sizeof v);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        total += (s[i] + s[i + 4]) + (s[i + 8] + s[i + 12]);
    return total;
}

/* The sums of 16 vectors, as one vector: halves are added pair by pair, four times. */
ALWAYS vec sums(vec v[16])
{
#define STEP(count, ...)                                                                      \
    _Pragma("GCC unroll 8") for (int i = 0; i < count; i++) {                                 \
        const ints first = {__VA_ARGS__}, second = first + count;                             \
        v[i] = __builtin_shuffle(v[2 * i], v[2 * i + 1], first)                               \
             + __builtin_shuffle(v[2 * i], v[2 * i + 1], second);                             \
    }
    STEP(8, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
    STEP(4, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
    STEP(2, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29)
    STEP(1, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#undef STEP
    return v[0];
}

/* e^x to about one unit in the last place, for x below 88; e^-87, which is as good as 0, below. */
ALWAYS vec exponential(vec x)
{
    const float magic = 12582912.0f;  /* 1.5 * 2^23: adding it rounds to an integer */
    x = larger(x, (vec){} - 87.0f);
    vec n = (x * 1.44269504f + magic) - magic;
    vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    vec p = (vec){} + 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * (vec)((__builtin_convertvector(n, ints) + 127) << 23);
}

/* ----------------------------------------------------------------- matrices */

/* 32 weights of one row from column k, without step and least number. */
ALWAYS void weights_at(enum kind kind, const matrix *m, size_t row, int k, vec w[2])
{
    size_t at = row * m->cols + k;
    size_t ahead = (size_t)AHEAD * m->cols;  /* rows that are needed soon */
    if (kind == INT8) {
        const uint8_t *p = (const uint8_t *)m->weights + at;
        if (k % 64 == 0)
            __builtin_prefetch(p + ahead);
        w[0] = __builtin_convertvector(widen_signed(p, 0x80), vec);
        w[1] = __builtin_convertvector(widen_signed(p + 16, 0x80), vec);
    } else if (kind == INT4) {
        const uint8_t *p = (const uint8_t *)m->weights + at / 2;
        if (k % 128 == 0)
            __builtin_prefetch(p + ahead / 2);
        const vec values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        ints pairs = widen_unsigned(p, 0x88);
        w[0] = __builtin_shuffle(values, pairs);  /* looks at the lowest four bits */
        w[1] = __builtin_shuffle(values, pairs >> 4);
    } else {
        __builtin_prefetch((const char *)m->weights + (at + ahead) * (kind == FP32 ? 4 : 2));
        w[0] = load_as(kind, m->weights, at);
        w[1] = load_as(kind, m->weights, at + 16);
    }
}

/* Rows row..row + nr of the matrix times texts 0..nb of x, into y. */
ALWAYS void tile(enum kind kind, int nr, int nb, const matrix *m, int row, const float *x,
                 float *y, int y_stride, int add)
{
    vec acc[ROWS][TEXTS] = {};
    for (int k = 0; k < m->cols; k += GROUP)
#pragma GCC unroll 8
        for (int r = 0; r < nr; r++) {
            vec w[2];
            weights_at(kind, m, row + r, k, w);
            size_t group = ((size_t)(row + r) * m->cols + k) / GROUP;
            float step = kind == INT8 ? m->scales[group] : kind == INT4 ? m->scales[2 * group] : 1;
            float least = kind == INT4 ? m->scales[2 * group + 1] : 0;
#pragma GCC unroll 8
            for (int b = 0; b < nb; b++) {
                const float *p = x + (size_t)b * m->cols + k;
                if (kind == INT8 || kind == INT4) {
                    acc[r][b] += (w[0] * load(p) + w[1] * load(p + 16)) * step;
                    if (kind == INT4)
                        acc[r][b] += (load(p) + load(p + 16)) * least;
                } else {
                    acc[r][b] += w[0] * load(p);
                    acc[r][b] += w[1] * load(p + 16);
                }
            }
        }
#pragma GCC unroll 8
    for (int r = 0; r < nr; r++)
#pragma GCC unroll 8
        for (int b = 0; b < nb; b++) {
            float *to = y + (size_t)b * y_stride + row + r;
            float value = sum(acc[r][b]) + (m->bias ? m->bias[row + r] : 0);
            *to = add ? *to + value : value;
        }
}

ALWAYS void tiles(enum kind kind, int nb, const matrix *m, int row, int last, const float *x,
                  float *y, int y_stride, int add)
{
    for (; row + ROWS <= last; row += ROWS)
        tile(kind, ROWS, nb, m, row, x, y, y_stride, add);
    for (; row < last; row++)
        tile(kind, 1, nb, m, row, x, y, y_stride, add);
}

/* y[b][row] = W[row] x[b], or += with `add`, for rows first..last and all texts.
 * x is [B, cols], y has `rows` numbers per text. */
static void multiply(const matrix *m, int first, int last, const float *x, int B, float *y, int add)
{
#define WITH(KIND)                                                                            \
    case KIND:                                                                                \
        for (; B >= TEXTS; B -= TEXTS, x += TEXTS * m->cols, y += TEXTS * m->rows)            \
            tiles(KIND, TEXTS, m, first, last, x, y, m->rows, add);                           \
        for (; B > 0; B--, x += m->cols, y += m->rows)                                        \
            tiles(KIND, 1, m, first, last, x, y, m->rows, add);                               \
        break;
    switch (m->kind) { WITH(FP32) WITH(BF16) WITH(INT8) WITH(INT4) }
#undef WITH
}

/* ------------------------------------------------------------------- layers */

static void rms_norm(const float *x, const float *weight, int width, float eps, float *y)
{
    vec squares = {};
    for (int i = 0; i < width; i += 16)
        squares += load(x + i) * load(x + i);
    float scale = 1 / sqrtf(sum(squares) / width + eps);
    for (int i = 0; i < width; i += 16)
        store(y + i, load(x + i) * scale * load(weight + i));
}

/* Turn one head by the angles of its position. */
static void rotate(float *x, const float *cos, const float *sin, int K)
{
    for (int i = 0; i < K / 2; i++) {
        float left = x[i], right = x[i + K / 2];
        x[i] = left * cos[i] - right * sin[i];
        x[i + K / 2] = right * cos[i + K / 2] + left * sin[i + K / 2];
    }
}

/* Query heads [heads, K], one or two, over the same S keys and values [S, K].
 * scores is [heads, S rounded up to 16]. */
ALWAYS void attend_heads(enum kind kind, int heads, const float *q, const void *keys,
                         const void *values, int S, int K, float *scores, float *out)
{
    const int stride = (S + 15) / 16 * 16;
    const float scale = 1 / sqrtf(K);
    vec inverse[2];
    for (int s = 0; s < S; s += 16) {
        vec rows[2][16];
        for (int r = 0; r < 16; r++) {
            size_t row = s + r < S ? s + r : S - 1;
            __builtin_prefetch((const char *)values + row * K * (kind == FP32 ? 4 : 2));
            __builtin_prefetch((const char *)keys + (row + 32) * K * (kind == FP32 ? 4 : 2));
            vec acc[2] = {};
            for (int i = 0; i < K; i += 16) {
                vec k = load_as(kind, keys, row * K + i);
                for (int h = 0; h < heads; h++)
                    acc[h] += load(q + h * K + i) * k;
            }
            for (int h = 0; h < heads; h++)
                rows[h][r] = acc[h];
        }
        for (int h = 0; h < heads; h++)
            store(scores + h * stride + s, sums(rows[h]) * scale);
    }
    for (int h = 0; h < heads; h++) {
        float *row = scores + h * stride;
        for (int s = S; s < stride; s++)
            row[s] = -INFINITY;
        vec tops = load(row);
        for (int s = 16; s < stride; s += 16)
            tops = larger(tops, load(row + s));
        float top = tops[0];
        for (int lane = 1; lane < 16; lane++)
            top = tops[lane] > top ? tops[lane] : top;
        vec total = {};
        for (int s = 0; s < stride; s += 16) {
            vec p = exponential(load(row + s) - top);
            store(row + s, p);
            total += p;
        }
        inverse[h] = (vec){} + 1 / sum(total);
    }
    for (int i = 0; i < K; i += 16) {
        vec even[2] = {}, odd[2] = {};
        for (int s = 0; s < S; s += 2) {
            /* the last one may be read twice, with a probability of 0 */
            vec v = load_as(kind, values, (size_t)s * K + i);
            vec next = load_as(kind, values, (size_t)(s + 1 < S ? s + 1 : s) * K + i);
            for (int h = 0; h < heads; h++) {
                even[h] += scores[h * stride + s] * v;
                odd[h] += (s + 1 < S ? scores[h * stride + s + 1] : 0) * next;
            }
        }
        for (int h = 0; h < heads; h++)
            store(out + h * K + i, (even[h] + odd[h]) * inverse[h]);
    }
}

/* The query heads of key/value head g of one text: normalise, rotate, store, attend. */
static void attend(const model *m, const layer *l, const cache *c, int number, int g, int slot,
                   int position, float *qkv, float *scores, float *out)
{
    int K = m->head_dim, each = m->n_heads / m->n_kv_heads;
    const float *cos = m->cos + (size_t)position * K, *sin = m->sin + (size_t)position * K;
    float *q = qkv + (size_t)g * each * K, *k = qkv + (size_t)(m->n_heads + g) * K;
    const float *v = k + (size_t)m->n_kv_heads * K;
    size_t head = ((size_t)slot * m->n_kv_heads + g) * c->positions * K;
    size_t width = c->kind == FP32 ? 4 : 2;
    char *keys = (char *)c->keys[number] + head * width;
    char *values = (char *)c->values[number] + head * width;

    if (l->k_norm)
        rms_norm(k, l->k_norm, K, m->norm_eps, k);
    rotate(k, cos, sin, K);
    for (int i = 0; i < K; i++) {
        store_as(c->kind, keys, (size_t)position * K + i, k[i]);
        store_as(c->kind, values, (size_t)position * K + i, v[i]);
    }
    for (int h = 0; h < each; h++) {
        if (l->q_norm)
            rms_norm(q + h * K, l->q_norm, K, m->norm_eps, q + h * K);
        rotate(q + h * K, cos, sin, K);
    }
    for (int h = 0; h < each; h += 2) {
        float *from = q + h * K, *to = out + ((size_t)g * each + h) * K;
        int S = position + 1;
        if (c->kind == FP32 && h + 1 < each)
            attend_heads(FP32, 2, from, keys, values, S, K, scores, to);
        else if (c->kind == FP32)
            attend_heads(FP32, 1, from, keys, values, S, K, scores, to);
        else if (h + 1 < each)
            attend_heads(BF16, 2, from, keys, values, S, K, scores, to);
        else
            attend_heads(BF16, 1, from, keys, values, S, K, scores, to);
    }
}

/* gate <- act(gate) * up for columns first..last. */
static void activate(int relu2, float *gate, const float *up, int first, int last)
{
    for (int i = first; i < last; i += 16) {
        vec g = load(gate + i), positive = larger(g, (vec){});
        vec a;
        if (relu2)
            a = positive * positive;
        else
            a = g / (1 + exponential(-larger(g, (vec){} - 87.0f)));
        store(gate + i, a * load(up + i));
    }
}

/* The part of `count` that thread t of n works on, in whole blocks. */
#define SHARE(count, block, t, n) ((int)((int64_t)(count) / (block) * (t) / (n)) * (block))

/* The attention of thread t of n: Q, K and V [B, (H + 2 G) K] -> mixed [B, H K]. */
static void attend_share(const model *m, const cache *c, int number, int B, const int64_t *slots,
                         const int64_t *positions, float *qkv, float *scores, float *mixed, int t,
                         int n)
{
    const int G = m->n_kv_heads, HK = m->n_heads * m->head_dim, QKV = HK + 2 * G * m->head_dim;
    for (int job = B * G * t / n; job < B * G * (t + 1) / n; job++) {
        int b = job / G;
        attend(m, m->layers + number, c, number, job % G, slots[b], positions[b],
               qkv + (size_t)b * QKV, scores, mixed + (size_t)b * HK);
    }
}

static int largest(const int64_t *numbers, int count)
{
    int most = 0;
    for (int i = 0; i < count; i++)
        most = numbers[i] > most ? numbers[i] : most;
    return most;
}

/* One layer's attention alone, where the products of a larger batch are torch's. */
void attend_texts(const model *m, const cache *c, int number, int B, const int64_t *slots,
                  const int64_t *positions, float *qkv, float *mixed, int threads)
{
    const size_t own = 2 * largest(positions, B) + 64;
    float *scores = malloc(sizeof *scores * threads * own);
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num();
        attend_share(m, c, number, B, slots, positions, qkv, scores + t * own, mixed, t,
                     omp_get_num_threads());
    }
    free(scores);
}

/* Logits [B, rows of head] of one more token of each of B texts.
 * ids, slots and positions are [B]; the cache gets the new keys and values. */
void decode(const model *m, const cache *c, int B, const int64_t *ids, const int64_t *slots,
            const int64_t *positions, float *logits, int threads)
{
    const int D = m->d_model, F = m->d_ff, G = m->n_kv_heads, HK = m->n_heads * m->head_dim;
    const int QKV = HK + 2 * G * m->head_dim;
    const size_t own = (size_t)B * D + 2 * largest(positions, B) + 64;  /* each thread's */
    float *work = malloc(sizeof *work * ((size_t)B * (D + QKV + HK + 3 * F) + threads * own));
    float *x = work, *qkv = x + (size_t)B * D, *mixed = qkv + (size_t)B * QKV;
    float *wide = mixed + (size_t)B * HK, *hidden = wide + (size_t)B * 2 * F;
    float *private = hidden + (size_t)B * F;
    for (int b = 0; b < B; b++)
        for (int i = 0; i < D; i += 16)
            store(x + (size_t)b * D + i,
                  load_as(m->embedding.kind, m->embedding.weights, (size_t)ids[b] * D + i));

#pragma omp parallel num_threads(threads)
    {
        const int t = omp_get_thread_num(), n = omp_get_num_threads();
        float *normed = private + t * own, *scores = normed + (size_t)B * D;
#define BOUNDS(count, block) SHARE(count, block, t, n), SHARE(count, block, t + 1, n)
#define NORMED(weight)                                                                        \
    for (int b = 0; b < B; b++)                                                               \
        rms_norm(x + (size_t)b * D, weight, D, m->norm_eps, normed + (size_t)b * D)

        for (int i = 0; i < m->n_layers; i++) {
            const layer *l = m->layers + i;
            NORMED(l->attention_norm);
            multiply(&l->qkv, BOUNDS(QKV, 16), normed, B, qkv, 0);
#pragma omp barrier
            attend_share(m, c, i, B, slots, positions, qkv, scores, mixed, t, n);
#pragma omp barrier
            multiply(&l->out, BOUNDS(D, 16), mixed, B, x, 1);
#pragma omp barrier
            NORMED(l->mlp_norm);
            const int first = SHARE(F, 16, t, n), last = SHARE(F, 16, t + 1, n);
            multiply(&l->gate_up, first, last, normed, B, wide, 0);
            multiply(&l->gate_up, F + first, F + last, normed, B, wide, 0);
            for (int b = 0; b < B; b++) {
                float *gate = wide + (size_t)b * 2 * F;
                activate(m->relu2, gate, gate + F, first, last);
                memcpy(hidden + (size_t)b * F + first, gate + first, sizeof(float) * (last - first));
            }
#pragma omp barrier
            multiply(&l->down, BOUNDS(D, 16), hidden, B, x, 1);
#pragma omp barrier
        }
        NORMED(m->norm);
        multiply(&m->head, t * (int64_t)m->head.rows / n, (t + 1) * (int64_t)m->head.rows / n, normed,
                 B, logits, 0);
    }
    free(work);
}
