/* The arguments of the attention kernel, and what all its variants share. Mirrored in engines/cpu/attention.py. */

#ifndef DEPQA_PACKED_ATTENTION_H
#define DEPQA_PACKED_ATTENTION_H

#include <stdint.h>

/* Packed tokens of sibling nodes: they attend to all slots of some ranges, then each to its own chunk's node. */
typedef struct {
    int64_t first, count;           /* tokens of the packed batch */
    int64_t ranges, ranges_end;
    int64_t chunks, chunks_end;
} Run;

/* The first `length` slots of a node: an ancestor of all tokens of a run. */
typedef struct {
    int64_t start, capacity, length;
} Range;

/* `count` tokens of one node, from its token `index` on: each attends to the node's tokens up to itself. */
typedef struct {
    int64_t first, count;
    int64_t start, capacity, index;
} Chunk;

typedef struct {
    const void *query, *key, *value;                  /* of the packed tokens; the last dimension is contiguous */
    int64_t query_head, query_token;                  /* strides, in elements */
    int64_t key_head, key_token, value_head, value_token;
    void *keys, *values;                              /* the layer's pool, see kv_pool.py */
    void *out;                                        /* [tokens, heads, dim] */
    const int64_t *slot_mapping;                      /* [kv_heads, tokens]: the new tokens' vectors in the pool */
    const Run *runs;
    const Range *ranges;
    const Chunk *chunks;
    int64_t run_count, tokens, kv_heads, group, dim;
    float scaling;
    int32_t bf16;                                     /* elements are bfloat16, otherwise float */
    int32_t variant;
    int32_t threads;
    void (*parallel)(void (*)(void *), void *, unsigned, unsigned); /* GOMP_parallel */
} Call;

enum {
    MAX_DIM = 256,
    MAX_QUERIES = 64, /* of a run: its tokens times the heads that share keys */
    BLOCK = 64,       /* keys between two updates of the weights */
    STRIDE = 80,      /* MAX_QUERIES and the widest vector, so that a vector may start at any query */
};

/* Per thread; large, so kept between calls. */
typedef struct {
    float queries[MAX_DIM * STRIDE]; /* [units of a vector, queries] */
    float scores[BLOCK * STRIDE];    /* [keys, queries], then overwritten by the weights */
    float keys[BLOCK * MAX_DIM];
    float values[BLOCK * MAX_DIM];
    float rest[16 * MAX_DIM];
    float out[MAX_QUERIES * MAX_DIM];
    float highest[STRIDE], total[STRIDE], shrink[STRIDE];
} Scratch;

/* Up to BLOCK keys and values of one head, and the queries that attend to them. */
typedef struct {
    const char *keys, *values;
    int length;
    int first, queries; /* of the run's queries */
    int64_t hidden_from; /* the first key that the first of them must not see, counted from this block's first */
} Block;

#endif
