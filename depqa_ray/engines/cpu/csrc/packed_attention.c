/* Attention over a pool of keys and values in which prefixes are shared, for CPUs.
 *
 * engines/shared_prefix/attention.py describes what it computes, and does the same with torch alone. Here a task is a
 * run of packed tokens of sibling nodes, with the query heads that share a head of keys: it reads each range once for
 * all of them, keeps a running softmax, and writes its outputs once. Tasks run in torch's own threads: its OpenMP
 * runtime is passed in, since a second pool would compete with workers of the first that spin while they wait.
 *
 * All variants are compiled into one library on any processor; a check at run time decides which may run.
 */

#include "packed_attention.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define UNROLL(n) PRAGMA(clang loop unroll(full))
#define BEGIN_TARGET(names) PRAGMA(clang attribute push(__attribute__((target(names))), apply_to = function))
#define END_TARGET PRAGMA(clang attribute pop)
#else
#define UNROLL(n) PRAGMA(GCC unroll n)
#define BEGIN_TARGET(names) PRAGMA(GCC push_options) PRAGMA(GCC target(names))
#define END_TARGET PRAGMA(GCC pop_options)
#endif

#define HIDDEN -1e30f /* a finite score with no weight beside any other */

/* The content of a lane: a float, or the bits of two bfloat16. */
typedef float Unit __attribute__((may_alias));

/* Memory to prefetch, line by line between other work: from `at` to `end`, and the same `offset` bytes further. */
typedef struct {
    const char *at, *end;
    int64_t offset;
} Fetch;

INLINE void fetch_line(Fetch *fetch) {
    if (fetch->at >= fetch->end) return;
    __builtin_prefetch(fetch->at, 0, 2);
    __builtin_prefetch(fetch->at + fetch->offset, 0, 2);
    fetch->at += 64;
}

INLINE const Unit *widen(float *to, const uint16_t *from, int count) {
    uint32_t *bits = (uint32_t *)to;
    for (int i = 0; i < count; i++) bits[i] = (uint32_t)from[i] << 16;
    return to;
}

/* A task's position in its run: slot `slot` of range or chunk number `index`, chunks after ranges. */
typedef struct {
    const Call *call;
    const Run *run;
    int64_t head, index, slot;
} Walk;

static int fill_block(Walk *walk, Block *block, int64_t start, int64_t capacity, int64_t length) {
    const Call *call = walk->call;
    int64_t vector = start * call->kv_heads + walk->head * capacity + walk->slot;
    int64_t bytes = vector * call->dim * (call->bf16 ? 2 : 4), left = length - walk->slot;
    block->keys = (const char *)call->keys + bytes;
    block->values = (const char *)call->values + bytes;
    block->length = (int)(left < BLOCK ? left : BLOCK);
    walk->slot += block->length;
    if (walk->slot == length) walk->slot = 0, walk->index++;
    return 1;
}

/* The next block of keys that queries of the run attend to; returns 0 after the last. */
static int next_block(Walk *walk, Block *block) {
    const Run *run = walk->run;
    int64_t group = walk->call->group, ranges = run->ranges_end - run->ranges;
    if (walk->index < ranges) {
        const Range *range = &walk->call->ranges[run->ranges + walk->index];
        block->first = 0;
        block->queries = (int)(run->count * group);
        block->hidden_from = BLOCK;
        return fill_block(walk, block, range->start, range->capacity, range->length);
    }
    if (walk->index - ranges == run->chunks_end - run->chunks) return 0;
    const Chunk *chunk = &walk->call->chunks[run->chunks + walk->index - ranges];
    block->first = (int)((chunk->first - run->first) * group);
    block->queries = (int)(chunk->count * group);
    block->hidden_from = chunk->index + 1 - walk->slot;
    return fill_block(walk, block, chunk->start, chunk->capacity, chunk->index + chunk->count);
}

#define JOIN(a, b) a##b

#if defined(__x86_64__)

BEGIN_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")
/* Two vectors of floats as one vector of bfloat16 pairs. */
INLINE __m512 pair_paired(__m512 even, __m512 odd) {
    const __m512i order = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
        23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0
    );
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(odd, even)));
}

/* Two rows of values each as one row of pairs; an odd last row is paired with zeros. */
INLINE const Unit *interleave_paired(float *to, const uint16_t *values, int length, int dim) {
    for (int k = 0; k < length; k += 2) {
        for (int d = 0; d < dim; d += 16) {
            const uint16_t *even = values + k * dim + d;
            __m512i pairs = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)even));
            if (k + 1 < length) {
                __m512i odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(even + dim)));
                pairs = _mm512_or_si512(pairs, _mm512_slli_epi32(odd, 16));
            }
            _mm512_storeu_si512(to + k / 2 * dim + d, pairs);
        }
    }
    return to;
}

#define NAME(x) JOIN(x, _paired)
#define LANES 16
#define PAIRED 1
#define SPLAT(x) _mm512_set1_ps(x)
#define MAXIMUM(a, b) _mm512_max_ps(a, b)
#define MULTIPLY_ADD(sum, a, b) _mm512_dpbf16_ps(sum, (__m512bh)(a), (__m512bh)(b))
#include "packed_attention_variant.h"
END_TARGET

BEGIN_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#define NAME(x) JOIN(x, _avx512)
#define LANES 16
#define PAIRED 0
#define SPLAT(x) _mm512_set1_ps(x)
#define MAXIMUM(a, b) _mm512_max_ps(a, b)
#define MULTIPLY_ADD(sum, a, b) _mm512_fmadd_ps(a, b, sum)
#include "packed_attention_variant.h"
END_TARGET

BEGIN_TARGET("avx2,fma")
#define NAME(x) JOIN(x, _avx2)
#define LANES 8
#define PAIRED 0
#define SPLAT(x) _mm256_set1_ps(x)
#define MAXIMUM(a, b) _mm256_max_ps(a, b)
#define MULTIPLY_ADD(sum, a, b) _mm256_fmadd_ps(a, b, sum)
#include "packed_attention_variant.h"
END_TARGET

#endif

typedef float Four __attribute__((vector_size(16)));
typedef int32_t FourIntegers __attribute__((vector_size(16)));
INLINE Four splat_portable(float x) { return (Four){x, x, x, x}; }
INLINE Four maximum_portable(Four a, Four b) {
    FourIntegers higher = a > b;
    return (Four)((higher & (FourIntegers)a) | (~higher & (FourIntegers)b));
}

#define NAME(x) JOIN(x, _portable)
#define LANES 4
#define PAIRED 0
#define SPLAT(x) splat_portable(x)
#define MAXIMUM(a, b) maximum_portable(a, b)
#define MULTIPLY_ADD(sum, a, b) ((sum) + (a) * (b))
#include "packed_attention_variant.h"

enum { PORTABLE, AVX2, AVX512, PAIRS };

/* The number of variants that this processor can run; the last of them is the fastest. */
int packed_attention_variants(int bf16) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return PORTABLE + 1;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
        return AVX2 + 1;
    return bf16 && __builtin_cpu_supports("avx512bf16") ? PAIRS + 1 : AVX512 + 1;
#else
    return PORTABLE + 1;
#endif
}

#ifndef SOURCES
#define SOURCES ""
#endif

/* The digest of the sources that this library was built from. */
const char *packed_attention_sources(void) { return SOURCES; }

/* Detects a library that was built for another layout of Call. */
int packed_attention_call_size(void) { return sizeof(Call); }

typedef struct {
    const Call *call;
    int64_t taken;
} Shared;

static int64_t take(Shared *shared) { return __atomic_fetch_add(&shared->taken, 1, __ATOMIC_RELAXED); }

static Walk task_walk(const Call *call, int64_t task) {
    return (Walk){call, &call->runs[task % call->run_count], task / call->run_count, 0, 0};
}

static _Thread_local Scratch scratch __attribute__((aligned(64)));

/* Head by head, so that ranges shared by several runs stay in a thread's cache. */
static void attend(void *data) {
    Shared *shared = data;
    const Call *call = shared->call;
    const int64_t tasks = call->run_count * call->kv_heads;
    void (*task)(Scratch *, const Call *, const Run *, int64_t, const Block *) = task_portable;
#if defined(__x86_64__)
    if (call->variant == PAIRS) task = task_paired;
    if (call->variant == AVX512) task = task_avx512;
    if (call->variant == AVX2) task = task_avx2;
#endif
    int64_t i = take(shared);
    while (i < tasks) {
        const int64_t next = take(shared);
        Walk walk = task_walk(call, next);
        Block after = {0};
        if (next < tasks) next_block(&walk, &after);
        walk = task_walk(call, i);
        task(&scratch, call, walk.run, walk.head, &after);
        i = next;
    }
}

/* Writes keys and values of the new tokens to the pool. Even tasks are a head's keys, odd ones its values. */
static void write(void *data) {
    Shared *shared = data;
    const Call *call = shared->call;
    const int64_t size = call->bf16 ? 2 : 4, bytes = call->dim * size;
    int64_t i;
    while ((i = take(shared)) < 2 * call->kv_heads) {
        const int64_t head = i / 2, *slot_mapping = call->slot_mapping + head * call->tokens;
        const int64_t stride = (i % 2 ? call->value_token : call->key_token) * size;
        const char *from = i % 2 ? (const char *)call->value + head * call->value_head * size
                                 : (const char *)call->key + head * call->key_head * size;
        char *to = i % 2 ? call->values : call->keys;
        for (int64_t token = 0; token < call->tokens; token++)
            memcpy(to + slot_mapping[token] * bytes, from + token * stride, bytes);
    }
}

void packed_attention(const Call *call) {
    Shared written = {call, 0}, attended = {call, 0};
    /* Two regions: a task reads keys that any thread may have written. */
    call->parallel(write, &written, call->threads, 0);
    call->parallel(attend, &attended, call->threads, 0);
}
