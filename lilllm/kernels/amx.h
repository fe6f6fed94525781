/* Products of 32 x 32 numbers in the tile registers of AMX.
 *
 * Registers 0 to 3 hold the sums, 4 and 5 what comes from the left, 6 and 7 what comes from the right.
 * The compiler does not see what tiles read and write, so memory is declared as changed around them.
 *
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18. */

#if defined __AMXBF16__ && !defined __AMX_BF16__ /* its name in old versions of clang */
#define __AMX_BF16__ 1
#endif

#ifdef __AMX_BF16__
#define TILE 16 /* rows of a register; each has 64 bytes */
#define AHEAD 8 /* lines that are asked for at each step of a product */

typedef struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} TileConfig; /* of all registers, as the processor reads them */

ALWAYS void compiler_barrier(void) { __asm__ volatile("" ::: "memory"); }

static _Thread_local int tile_rows, tile_depth;

/* Prepare for sums of `rows`, 1 to 32, over steps of `depth` pairs, 1 to 16. What registers hold is lost if that is new. */
static void configure_tiles(int rows, int depth) {
    if (rows == tile_rows && depth == tile_depth) return;
    TileConfig config = {.palette = 1};
    for (int i = 0; i < 4; i++) {
        const int count = i < 2 ? min(TILE, rows) : rows > TILE ? rows - TILE : 1; /* none cannot be */
        config.rows[i] = count, config.bytes[i] = 64;
        config.rows[4 + i / 2] = count, config.bytes[4 + i / 2] = 4 * depth;
        config.rows[6 + i % 2] = depth, config.bytes[6 + i % 2] = 64;
    }
    compiler_barrier();
    _tile_loadconfig(&config);
    tile_rows = rows, tile_depth = depth;
}

/* Every thread begins and ends so: whoever else multiplies in it finds the registers configured as before, and empty. */
ALWAYS void begin_tiles(TileConfig *before) {
    _tile_storeconfig(before);
    compiler_barrier();
    tile_rows = 0;
}

ALWAYS void end_tiles(const TileConfig *before) {
    compiler_barrier();
    _tile_loadconfig(before);
}

ALWAYS void clear_tiles(void) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

/* sums[rows][32] += a[rows][k] b[k][32] for pairs; k is the depth, or a multiple of it if that is 16. A row of a is `row` pairs
 * from the one before, row 16 `lower` pairs from row 0, the next 16 pairs `step` from the first; rows of
 * b are `next` pairs apart. A part of what `ahead` points to is asked for at each step, unless it is NULL. */
ALWAYS void multiply_tiles(int k, const void *a, size_t row, size_t lower, size_t step, const pair *b, size_t next,
                           const pair *ahead) {
    const pair *left = a;
    if (tile_rows <= TILE) lower = 0;
    compiler_barrier();
    for (int p = 0; p < k; p += TILE, left += step, b += TILE * next) {
        for (int i = 0; i < AHEAD && ahead != NULL; i++, ahead += 16) _mm_prefetch(ahead, _MM_HINT_T1);
        _tile_loadd(4, left, 4 * row);
        _tile_loadd(6, b, 4 * next);
        _tile_loadd(7, b + 16, 4 * next);
        _tile_loadd(5, left + lower, 4 * row);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

/* Read sums from c, whose rows are `next` apart, or write them there. */
ALWAYS void load_tiles(const float *c, size_t next) {
    compiler_barrier();
    _tile_loadd(0, c, 4 * next);
    _tile_loadd(1, c + 16, 4 * next);
    if (tile_rows <= TILE) return;
    _tile_loadd(2, c + TILE * next, 4 * next);
    _tile_loadd(3, c + TILE * next + 16, 4 * next);
}

ALWAYS void store_tiles(float *c, size_t next) {
    _tile_stored(0, c, 4 * next);
    _tile_stored(1, c + 16, 4 * next);
    if (tile_rows > TILE) {
        _tile_stored(2, c + TILE * next, 4 * next);
        _tile_stored(3, c + TILE * next + 16, 4 * next);
    }
    compiler_barrier();
}
#else
/* By this function a library without tiles is known. */
int multiplies_in_vectors(void) { return 1; }

typedef struct { char none; } TileConfig;
ALWAYS void begin_tiles(TileConfig *before) { (void)before; }
ALWAYS void end_tiles(const TileConfig *before) { (void)before; }
#endif
