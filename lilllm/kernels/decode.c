/* One decoding step of a transformer on a CPU, for a few texts at once.
 *
 * At one token per text a step is bound by reading the weights, once each. So weights are read in
 * the form they are kept in (fp32, bf16, or 8 or 4 bits with steps for every 32), everything else is
 * fp32, and one parallel region spans all layers. The dot products of a text do not depend on
 * which other texts take part, nor on the number of threads: its logits are the same bits. That is
 * `decode`. Of more texts torch does the products, which round by their number of rows, and the
 * functions at the end do what is between them.
 *
 * Plain C with the vector extensions of GCC; ../inference/native.py calls it, and
 * ../inference/decoder.py does the same with torch. Shapes as there: B texts, D width, H query
 * heads, G key/value heads, K head width, F feed-forward width, S positions. D, F and H * K are
 * multiples of 32, K of 16. */

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

ALWAYS void store_as(enum kind kind, void *p, size_t at, vec value)
{
    if (kind == FP32) {
        store((float *)p + at, value);
        return;
    }
    words bits = (words)value;  /* rounded to nearest even */
    halves h = __builtin_convertvector((bits + 0x7fff + (bits >> 16 & 1)) >> 16, halves);
    memcpy((uint16_t *)p + at, &h, sizeof h);
}

/* Bytes of a number that is kept as FP32 or BF16. */
ALWAYS size_t size_of(enum kind kind) { return kind == FP32 ? 4 : 2; }

/* `count` numbers, a multiple of 16, into the form `kind`. */
static void write_as(enum kind kind, const float *from, int count, void *to)
{
    for (int i = 0; i < count; i += 16)
        store_as(kind, to, i, load(from + i));
}

/* `count` numbers, a multiple of 16, out of the form `kind`. */
static void read_as(enum kind kind, const void *from, int count, float *to)
{
    for (int i = 0; i < count; i += 16)
        store(to + i, load_as(kind, from, i));
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

/* Query heads [heads, K], one or two, over the same S keys and values [S, K]; `together` columns of
 * the values are mixed in one pass. scores is [heads, S rounded up to 16]. */
ALWAYS void attend_heads(enum kind kind, int heads, int K, int together, const float *q,
                         const void *keys, const void *values, int S, float *scores, float *out)
{
    const int stride = (S + 15) / 16 * 16;
    const float scale = 1 / sqrtf(K);
    vec inverse[2];
    for (int s = 0; s < S; s += 16) {
        vec rows[2][16];
        for (int r = 0; r < 16; r++) {
            size_t row = s + r < S ? s + r : S - 1;
            __builtin_prefetch((const char *)values + row * K * size_of(kind));
            __builtin_prefetch((const char *)keys + (row + 32) * K * size_of(kind));
            vec acc[2] = {};
#pragma GCC unroll 4
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
    for (int first = 0; first < K; first += together) {
        vec even[2][4] = {}, odd[2][4] = {};
        for (int s = 0; s < S; s += 2) {
            /* the last one may be read twice, with a probability of 0 */
            size_t row = (size_t)s * K + first, next = s + 1 < S ? row + K : row;
#pragma GCC unroll 4
            for (int i = 0; i < together / 16; i++) {
                vec v = load_as(kind, values, row + 16 * i), w = load_as(kind, values, next + 16 * i);
                for (int h = 0; h < heads; h++) {
                    even[h][i] += scores[h * stride + s] * v;
                    odd[h][i] += (s + 1 < S ? scores[h * stride + s + 1] : 0) * w;
                }
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < together / 16; i++)
            for (int h = 0; h < heads; h++)
                store(out + h * K + first + 16 * i, (even[h][i] + odd[h][i]) * inverse[h]);
    }
}

/* The query heads of key/value head g of one text: normalise, rotate, store, attend.
 * q is [H / G, K], k and v are [K]; q and k are changed; out is [H / G, K]. */
static void attend(const model *m, const layer *l, const cache *c, int number, int g, int slot,
                   int position, float *q, float *k, const float *v, float *scores, float *out)
{
    int K = m->head_dim, each = m->n_heads / m->n_kv_heads;
    const float *cos = m->cos + (size_t)position * K, *sin = m->sin + (size_t)position * K;
    size_t head = ((size_t)slot * m->n_kv_heads + g) * c->positions * K;
    size_t width = size_of(c->kind);
    char *keys = (char *)c->keys[number] + head * width;
    char *values = (char *)c->values[number] + head * width;

    if (l->k_norm)
        rms_norm(k, l->k_norm, K, m->norm_eps, k);
    rotate(k, cos, sin, K);
    write_as(c->kind, k, K, keys + (size_t)position * K * width);
    write_as(c->kind, v, K, values + (size_t)position * K * width);
    for (int h = 0; h < each; h++) {
        if (l->q_norm)
            rms_norm(q + h * K, l->q_norm, K, m->norm_eps, q + h * K);
        rotate(q + h * K, cos, sin, K);
    }
    for (int h = 0; h < each; h += 2) {
        const int heads = h + 1 < each ? 2 : 1, S = position + 1;
        float *from = q + h * K, *to = out + (size_t)h * K;
#define WITH(KIND, HEADS, WIDTH, TOGETHER)                                                    \
    if (c->kind == KIND && heads == HEADS && WIDTH == K) {                                    \
        attend_heads(KIND, HEADS, WIDTH, TOGETHER, from, keys, values, S, scores, to);        \
        continue;                                                                             \
    }
#define WITH_WIDTHS(KIND, HEADS)                                                              \
    WITH(KIND, HEADS, 32, 32) WITH(KIND, HEADS, 64, 64) WITH(KIND, HEADS, K, 16)
        WITH_WIDTHS(BF16, 2) WITH_WIDTHS(BF16, 1) WITH_WIDTHS(FP32, 2) WITH_WIDTHS(FP32, 1)
#undef WITH
#undef WITH_WIDTHS
    }
}

ALWAYS vec activated(int relu2, vec gate)
{
    if (relu2) {
        vec positive = larger(gate, (vec){});
        return positive * positive;
    }
    return gate / (1 + exponential(-larger(gate, (vec){} - 87.0f)));
}

/* The part of `count` that thread t of n works on, in whole blocks. */
#define SHARE(count, block, t, n) ((int)((int64_t)(count) / (block) * (t) / (n)) * (block))

static int largest(const int64_t *numbers, int count)
{
    int most = 0;
    for (int i = 0; i < count; i++)
        most = numbers[i] > most ? numbers[i] : most;
    return most;
}

/* Logits [B, rows of head] of one more token of each of B texts.
 * ids, slots and positions are [B]; the cache gets the new keys and values. */
void decode(const model *m, const cache *c, int B, const int64_t *ids, const int64_t *slots,
            const int64_t *positions, float *logits, int threads)
{
    const int D = m->d_model, F = m->d_ff, G = m->n_kv_heads, K = m->head_dim;
    const int HK = m->n_heads * K, QKV = HK + 2 * G * K;
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
            for (int job = B * G * t / n; job < B * G * (t + 1) / n; job++) {
                const int b = job / G, g = job % G, group_width = HK / G;
                float *of_text = qkv + (size_t)b * QKV, *k = of_text + HK + (size_t)g * K;
                attend(m, l, c, i, g, slots[b], positions[b], of_text + g * group_width, k, k + G * K,
                       scores, mixed + (size_t)b * HK + g * group_width);
            }
#pragma omp barrier
            multiply(&l->out, BOUNDS(D, 16), mixed, B, x, 1);
#pragma omp barrier
            NORMED(l->mlp_norm);
            const int first = SHARE(F, 16, t, n), last = SHARE(F, 16, t + 1, n);
            multiply(&l->gate_up, first, last, normed, B, wide, 0);
            multiply(&l->gate_up, F + first, F + last, normed, B, wide, 0);
            for (int b = 0; b < B; b++) {
                const float *gate = wide + (size_t)b * 2 * F, *up = gate + F;
                for (int i = first; i < last; i += 16)
                    store(hidden + (size_t)b * F + i, activated(m->relu2, load(gate + i)) * load(up + i));
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

/* ------------------------------------------------- between the products of many texts
 *
 * Of more than a few texts torch computes the matrix products, in the form `kind` (FP32 or BF16),
 * and these do what is between them. */

/* One layer's attention: Q, K and V [B, (H + 2 G) K] -> mixed [B, H K]. */
void attend_texts(const model *m, const cache *c, int number, enum kind kind, int B,
                  const int64_t *slots, const int64_t *positions, const void *qkv, void *mixed,
                  int threads)
{
    const int G = m->n_kv_heads, K = m->head_dim, HK = m->n_heads * K, group_width = HK / G;
    const size_t width = size_of(kind);
    const size_t own = 2 * largest(positions, B) + 64 + 2 * group_width + 2 * K;
    float *work = malloc(sizeof *work * threads * own);
#pragma omp parallel num_threads(threads)
    {
        const int t = omp_get_thread_num(), n = omp_get_num_threads();
        float *q = work + t * own, *k = q + group_width, *v = k + K, *out = v + K, *scores = out + group_width;
        for (int job = B * G * t / n; job < B * G * (t + 1) / n; job++) {
            const int b = job / G, g = job % G;
            const char *of_text = (const char *)qkv + (size_t)b * (HK + 2 * G * K) * width;
            read_as(kind, of_text + (size_t)g * group_width * width, group_width, q);
            read_as(kind, of_text + (size_t)(HK + g * K) * width, K, k);
            read_as(kind, of_text + (size_t)(HK + G * K + g * K) * width, K, v);
            attend(m, m->layers + number, c, number, g, slots[b], positions[b], q, k, v, scores, out);
            write_as(kind, out, group_width, (char *)mixed + ((size_t)b * HK + g * group_width) * width);
        }
    }
    free(work);
}

/* The residual stream x [B, D] gets a sub-layer's output, and is normed by `weight` [D]. So small
 * that a second thread would not be worth waking. */
void norm_texts(const model *m, const float *weight, enum kind kind, int B, float *x,
                const void *sublayer_out, void *normed)
{
    const int D = m->d_model;
    float y[D];
    for (int b = 0; b < B; b++, x += D) {
        for (int i = 0; i < D; i += 16)
            store(x + i, load(x + i) + load_as(kind, sublayer_out, (size_t)b * D + i));
        rms_norm(x, weight, D, m->norm_eps, y);
        write_as(kind, y, D, (char *)normed + (size_t)b * D * size_of(kind));
    }
}

/* gate and up [B, 2 F] -> act(gate) * up [B, F]. */
void activate_texts(const model *m, enum kind kind, int B, const void *gate_up, void *hidden,
                    int threads)
{
    const int F = m->d_ff;
#pragma omp parallel for num_threads(threads)
    for (int b = 0; b < B; b++)
        for (int i = 0; i < F; i += 16) {
            const size_t at = (size_t)b * 2 * F + i;
            store_as(kind, hidden, (size_t)b * F + i,
                     activated(m->relu2, load_as(kind, gate_up, at)) * load_as(kind, gate_up, at + F));
        }
}
