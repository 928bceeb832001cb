/* Row by row over a bfloat16 matrix: the norm, and the index of the first maximum. */

#include <math.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_CPU __attribute__((target_clones("default", "avx2", "arch=skylake-avx512")))
#else
#define FOR_EACH_CPU
#endif

enum { LANES = 32 };

typedef struct {
    const uint16_t *in, *weight; /* [rows, size], [size] */
    uint16_t *out;               /* [rows, size] */
    int64_t *indices;            /* [rows] */
    int64_t rows, size, chunk, taken;
    float eps;
} Rows;

static inline float widen(uint16_t x) {
    union { uint32_t bits; float value; } u = {(uint32_t)x << 16};
    return u.value;
}

static inline uint16_t narrow(float x) { /* to the nearest, ties to even */
    union { float value; uint32_t bits; } u = {x};
    return (uint16_t)((u.bits + 0x7fff + ((u.bits >> 16) & 1)) >> 16);
}

FOR_EACH_CPU static void norm_row(const uint16_t *in, const uint16_t *weight, uint16_t *out, int64_t size, float eps) {
    float squares[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES)
        for (int lane = 0; lane < LANES; lane++) squares[lane] += widen(in[i + lane]) * widen(in[i + lane]);
    for (; i < size; i++) sum += widen(in[i]) * widen(in[i]);
    for (int lane = 0; lane < LANES; lane++) sum += squares[lane];
    const float scale = 1 / sqrtf(sum / size + eps);
    for (i = 0; i < size; i++) out[i] = narrow(widen(in[i]) * scale * widen(weight[i]));
}

/* An integer that sorts like the number; both zeros are equal. NaNs come first or last, by their sign. */
static inline int16_t ordered(uint16_t x) {
    return x == 0x8000 ? 0 : (int16_t)(x ^ ((uint16_t)((int16_t)x >> 15) & 0x7fff));
}

enum { INFINITE = 0x7f80, MINUS_INFINITE = -0x7f81 }; /* as `ordered` has them; beyond them are the NaNs */

/* -1 if there is a NaN, or if the maximum is infinite. */
FOR_EACH_CPU static int64_t argmax(const uint16_t *in, int64_t size) {
    int16_t best[LANES], worst[LANES], highest = INT16_MIN, lowest = INT16_MAX;
    for (int lane = 0; lane < LANES; lane++) best[lane] = INT16_MIN, worst[lane] = INT16_MAX;
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES)
        for (int lane = 0; lane < LANES; lane++) {
            const int16_t x = ordered(in[i + lane]);
            best[lane] = x > best[lane] ? x : best[lane];
            worst[lane] = x < worst[lane] ? x : worst[lane];
        }
    for (; i < size; i++) {
        const int16_t x = ordered(in[i]);
        highest = x > highest ? x : highest;
        lowest = x < lowest ? x : lowest;
    }
    for (int lane = 0; lane < LANES; lane++) {
        highest = best[lane] > highest ? best[lane] : highest;
        lowest = worst[lane] < lowest ? worst[lane] : lowest;
    }
    if (highest >= INFINITE || highest <= MINUS_INFINITE || lowest < MINUS_INFINITE) return -1;
    for (i = 0; ordered(in[i]) != highest; i++) {}
    return i;
}

static void work(void *data) {
    Rows *rows = data;
    int64_t first;
    while ((first = __atomic_fetch_add(&rows->taken, rows->chunk, __ATOMIC_RELAXED)) < rows->rows)
        for (int64_t row = first; row < first + rows->chunk && row < rows->rows; row++) {
            const uint16_t *in = rows->in + row * rows->size;
            if (rows->indices) rows->indices[row] = argmax(in, rows->size);
            else norm_row(in, rows->weight, rows->out + row * rows->size, rows->size, rows->eps);
        }
}

typedef void (*Parallel)(void (*)(void *), void *, unsigned, unsigned); /* GOMP_parallel */

static void run(Rows *rows, int threads, Parallel parallel) {
    enum { WORTH_IT = 1 << 14 }; /* elements: fewer are done before another thread wakes up */
    const int64_t size = rows->size > 0 ? rows->size : 1;
    rows->chunk = 1 + (WORTH_IT / 4) / size;
    if (rows->rows * rows->size < WORTH_IT) work(rows);
    else parallel(work, rows, threads, 0);
}

void rms_norm_rows(
    const uint16_t *in, const uint16_t *weight, uint16_t *out, int64_t rows, int64_t size, float eps, int threads,
    Parallel parallel
) {
    Rows all = {.in = in, .weight = weight, .out = out, .rows = rows, .size = size, .eps = eps};
    run(&all, threads, parallel);
}

void argmax_rows(const uint16_t *in, int64_t *indices, int64_t rows, int64_t size, int threads, Parallel parallel) {
    Rows all = {.in = in, .indices = indices, .rows = rows, .size = size};
    run(&all, threads, parallel);
}
