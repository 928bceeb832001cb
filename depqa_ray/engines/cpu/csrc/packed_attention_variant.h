/* The kernel for one kind of processor: included once per variant, with these macros set:
 *
 * NAME(x)   x with the variant's suffix
 * LANES     floats in a vector
 * PAIRED    1 if a lane holds two bfloat16 that one instruction multiplies and adds; 0 if it holds a float
 * SPLAT(x)  a float in all lanes, bits unchanged
 * MAXIMUM(a, b), MULTIPLY_ADD(sum, a, b)
 *
 * Each lane holds another query. So a key is broadcast straight from the pool, the softmax needs no sums across lanes,
 * and only the queries are transposed, once a run.
 */

typedef float NAME(Vector) __attribute__((vector_size(4 * LANES)));
typedef int32_t NAME(Integers) __attribute__((vector_size(4 * LANES)));
typedef float NAME(Loose) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define Vector NAME(Vector)
#define Integers NAME(Integers)
#define LOAD(p) ((Vector) * (const NAME(Loose) *)(p))
#define STORE(p, v) (*(NAME(Loose) *)(p) = (v))
#define UNITS(dim) (PAIRED ? (dim) / 2 : (dim)) /* lanes that a key fills */
#define MANY_KEYS (LANES == 16 ? 16 : 8)
#define FEW_KEYS (LANES == 16 ? 8 : 4)
#define WIDE (LANES == 16 ? 4 : 2)

/* 2 to the power of x, for x <= 0; below the range of a float, the smallest normal number; NaN of NaN. */
INLINE Vector NAME(power)(Vector x) {
    const Vector shift = SPLAT(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
    x = MAXIMUM(SPLAT(-126.0f), x); /* in this order a NaN stays: the second is taken if either is one */
    Vector rounded = x + shift;
    Vector rest = x - (rounded - shift);
    Vector y = SPLAT(1.5403530e-4f);
    y = y * rest + SPLAT(1.3333558e-3f);
    y = y * rest + SPLAT(9.6181291e-3f);
    y = y * rest + SPLAT(5.5504109e-2f);
    y = y * rest + SPLAT(2.4022651e-1f);
    y = y * rest + SPLAT(6.9314718e-1f);
    y = y * rest + SPLAT(1.0f);
    return (Vector)((Integers)y + ((Integers)rounded << 23));
}

INLINE void NAME(store_some)(float *to, Vector from, int count) {
    if (count >= LANES) {
        STORE(to, from);
        return;
    }
    float lanes[LANES];
    STORE(lanes, from);
    for (int i = 0; i < count; i++) to[i] = lanes[i];
}

/* The products of `vectors` vectors of queries with `count` keys. Both are constants once inlined. */
INLINE void NAME(products)(
    const float *queries, const Unit *keys, int64_t units, float *scores, int vectors, int count, Fetch *fetch
) {
    Vector sum[2 * 16];
    UNROLL(32) for (int i = 0; i < vectors * count; i++) sum[i] = SPLAT(0.0f);
    for (int64_t d = 0; d < units; d++) {
        fetch_line(fetch);
        Vector query[2];
        UNROLL(2) for (int v = 0; v < vectors; v++) query[v] = LOAD(queries + d * STRIDE + v * LANES);
        UNROLL(16) for (int k = 0; k < count; k++) {
            Vector key = SPLAT(keys[k * units + d]);
            UNROLL(2) for (int v = 0; v < vectors; v++)
                sum[k * vectors + v] = MULTIPLY_ADD(sum[k * vectors + v], query[v], key);
        }
    }
    UNROLL(16) for (int k = 0; k < count; k++)
        UNROLL(2) for (int v = 0; v < vectors; v++) STORE(scores + k * STRIDE + v * LANES, sum[k * vectors + v]);
}

/* The same for all keys of a block, `count` at a time. Beyond its last key, scores hold anything. */
INLINE void NAME(scores)(
    Scratch *s, const Block *block, const Unit *keys, int units, int at, int vectors, int count, Fetch *fetch
) {
    const float *queries = s->queries + block->first + at;
    for (int k = 0; k < block->length; k += count) {
        const Unit *some = keys + k * units;
        int left = block->length - k < count ? block->length - k : count;
        if (left < count) some = memcpy(s->rest, some, sizeof(float) * left * units);
        NAME(products)(queries, some, units, s->scores + k * STRIDE + at, vectors, count, fetch);
    }
}

/* Masks later keys. Queries are ordered by token, `group` heads each. */
INLINE void NAME(hide)(Scratch *s, const Block *block, int group) {
    for (int q = 0; q < block->queries; q++) {
        int64_t from = block->hidden_from + q / group;
        for (int64_t k = from < 0 ? 0 : from; k < block->length; k++) s->scores[k * STRIDE + q] = HIDDEN;
    }
}

/* Scores to weights. If a query has a new highest score, its earlier sums shrink: merging by log-sum-exp. */
INLINE void NAME(soften)(Scratch *s, const Block *block, float scale) {
    for (int at = 0; at < block->queries; at += LANES) {
        float *scores = s->scores + at, *highest = s->highest + block->first + at, *total = s->total + block->first + at;
        Vector before = LOAD(highest), most = LOAD(scores);
        for (int k = 1; k < block->length; k++) most = MAXIMUM(most, LOAD(scores + k * STRIDE));
        Vector now = MAXIMUM(before, most * SPLAT(scale)), sum = SPLAT(0.0f);
#if PAIRED
        for (int k = 0; k < block->length; k += 2) {
            Vector even = NAME(power)(LOAD(scores + k * STRIDE) * SPLAT(scale) - now), odd = SPLAT(0.0f);
            if (k + 1 < block->length) odd = NAME(power)(LOAD(scores + (k + 1) * STRIDE) * SPLAT(scale) - now);
            sum += even + odd;
            STORE(scores + k / 2 * STRIDE, NAME(pair)(even, odd));
        }
#else
        for (int k = 0; k < block->length; k++) {
            Vector weight = NAME(power)(LOAD(scores + k * STRIDE) * SPLAT(scale) - now);
            sum += weight;
            STORE(scores + k * STRIDE, weight);
        }
#endif
        int count = block->queries - at;
        Vector shrink = NAME(power)(before - now);
        STORE(s->shrink + at, shrink);
        NAME(store_some)(total, LOAD(total) * shrink + sum, count);
        NAME(store_some)(highest, now, count);
    }
}

/* Adds the weighted values: `count` queries, `wide` vectors of their outputs. Both are constants once inlined. */
INLINE void NAME(add)(
    const float *weights, const float *shrink, const Unit *values, int rows, int dim, float *out, int count, int wide
) {
    Vector sum[4 * 4];
    UNROLL(4) for (int q = 0; q < count; q++)
        UNROLL(4) for (int v = 0; v < wide; v++)
            sum[q * wide + v] = LOAD(out + q * dim + v * LANES) * SPLAT(shrink[q]);
    for (int64_t r = 0; r < rows; r++) {
        Vector value[4];
        UNROLL(4) for (int v = 0; v < wide; v++) value[v] = LOAD(values + r * dim + v * LANES);
        UNROLL(4) for (int q = 0; q < count; q++) {
            Vector weight = SPLAT(weights[r * STRIDE + q]);
            UNROLL(4) for (int v = 0; v < wide; v++)
                sum[q * wide + v] = MULTIPLY_ADD(sum[q * wide + v], value[v], weight);
        }
    }
    UNROLL(4) for (int q = 0; q < count; q++)
        UNROLL(4) for (int v = 0; v < wide; v++) STORE(out + q * dim + v * LANES, sum[q * wide + v]);
}

INLINE void NAME(add_queries)(Scratch *s, const Block *block, const Unit *values, int rows, int dim, int q, int count) {
    const float *weights = s->scores + q, *shrink = s->shrink + q;
    float *out = s->out + (block->first + q) * dim;
    int d = 0;
    for (; d + WIDE * LANES <= dim; d += WIDE * LANES)
        NAME(add)(weights, shrink, values + d, rows, dim, out + d, count, WIDE);
    for (; d < dim; d += LANES) NAME(add)(weights, shrink, values + d, rows, dim, out + d, count, 1);
}

INLINE void NAME(add_block)(Scratch *s, const Block *block, const Unit *values, int rows, int dim) {
    int q = 0;
    for (; q + 4 <= block->queries; q += 4) NAME(add_queries)(s, block, values, rows, dim, q, 4);
    for (; q + 2 <= block->queries; q += 2) NAME(add_queries)(s, block, values, rows, dim, q, 2);
    if (q < block->queries) NAME(add_queries)(s, block, values, rows, dim, q, 1);
}

/* Lets a block's queries attend to its keys, and prefetches those of `ahead`. */
INLINE void NAME(attend)(Scratch *s, const Block *block, const Block *ahead, const Call *call, float scale, int dim) {
    const int units = UNITS(dim), rows = PAIRED ? (block->length + 1) / 2 : block->length;
    Fetch fetch = {ahead->keys, ahead->keys + (int64_t)ahead->length * dim * (call->bf16 ? 2 : 4),
                   ahead->values - ahead->keys};
    const Unit *keys = (const Unit *)block->keys, *values = (const Unit *)block->values;
    if (!PAIRED && call->bf16) keys = widen(s->keys, (const uint16_t *)block->keys, block->length * dim);
    int at = 0;
    for (; at + LANES < block->queries; at += 2 * LANES) NAME(scores)(s, block, keys, units, at, 2, FEW_KEYS, &fetch);
    if (at < block->queries) NAME(scores)(s, block, keys, units, at, 1, MANY_KEYS, &fetch);
    if (block->hidden_from < block->length) NAME(hide)(s, block, (int)call->group);
    NAME(soften)(s, block, scale);
    while (fetch.at < fetch.end) fetch_line(&fetch);
#if PAIRED
    values = NAME(interleave)(s->values, (const uint16_t *)block->values, block->length, dim);
#else
    if (call->bf16) values = widen(s->values, (const uint16_t *)block->values, block->length * dim);
#endif
    NAME(add_block)(s, block, values, rows, dim);
}

/* Loads a run's queries of one head of the pool, transposed: [units, queries]. */
INLINE void NAME(load_queries)(Scratch *s, const Call *call, const Run *run, int64_t head, int dim) {
    int q = 0;
    for (int64_t token = run->first; token < run->first + run->count; token++) {
        for (int64_t g = 0; g < call->group; g++, q++) {
            int64_t from = token * call->query_token + (head * call->group + g) * call->query_head;
            if (PAIRED || !call->bf16) {
                const Unit *query = (const Unit *)((const char *)call->query + from * (call->bf16 ? 2 : 4));
                for (int d = 0; d < UNITS(dim); d++) s->queries[d * STRIDE + q] = query[d];
            } else {
                const Unit *query = widen(s->rest, (const uint16_t *)call->query + from, dim);
                for (int d = 0; d < dim; d++) s->queries[d * STRIDE + q] = query[d];
            }
        }
    }
}

INLINE void NAME(store_outputs)(const Scratch *s, const Call *call, const Run *run, int64_t head, int dim) {
    int q = 0;
    for (int64_t token = run->first; token < run->first + run->count; token++) {
        int64_t to = (token * call->kv_heads + head) * call->group * dim;
        for (int64_t g = 0; g < call->group; g++, q++, to += dim) {
            const float *from = s->out + q * dim;
            const Vector share = SPLAT(1.0f / s->total[q]);
            if (call->bf16) {
                for (int d = 0; d < dim; d += LANES) {
                    Integers bits = (Integers)(LOAD(from + d) * share);
                    bits += 0x7fff + ((bits >> 16) & 1); /* round to nearest, ties to even */
                    for (int i = 0; i < LANES; i++) ((uint16_t *)call->out)[to + d + i] = (uint32_t)bits[i] >> 16;
                }
            } else {
                for (int d = 0; d < dim; d += LANES) STORE((float *)call->out + to + d, LOAD(from + d) * share);
            }
        }
    }
}

INLINE void NAME(sized_task)(
    Scratch *s, const Call *call, const Run *run, int64_t head, const Block *after, int dim
) {
    const float scale = call->scaling * 1.44269504f; /* for powers of 2 instead of e */
    const int queries = (int)(run->count * call->group);
    NAME(load_queries)(s, call, run, head, dim);
    for (int q = 0; q < queries; q++) s->highest[q] = HIDDEN, s->total[q] = 0.0f;
    memset(s->out, 0, sizeof(float) * queries * dim);
    Walk walk = {call, run, head, 0, 0};
    Block block, ahead;
    for (int more = next_block(&walk, &block); more; block = ahead) {
        more = next_block(&walk, &ahead);
        NAME(attend)(s, &block, more ? &ahead : after, call, scale, dim);
    }
    NAME(store_outputs)(s, call, run, head, dim);
}

/* `after` is the first block of the next task. */
static void NAME(task)(Scratch *s, const Call *call, const Run *run, int64_t head, const Block *after) {
    if (call->dim == 128)
        NAME(sized_task)(s, call, run, head, after, 128);
    else if (call->dim == 64)
        NAME(sized_task)(s, call, run, head, after, 64);
    else
        NAME(sized_task)(s, call, run, head, after, (int)call->dim);
}

#undef Vector
#undef Integers
#undef LOAD
#undef STORE
#undef UNITS
#undef MANY_KEYS
#undef FEW_KEYS
#undef WIDE
#undef NAME
#undef LANES
#undef PAIRED
#undef SPLAT
#undef MAXIMUM
#undef MULTIPLY_ADD
