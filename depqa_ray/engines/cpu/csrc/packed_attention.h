/* What a call to the attention kernel is told, and what all its variants share. Mirrored in native_attention.py. */

#ifndef DEPQA_PACKED_ATTENTION_H
#define DEPQA_PACKED_ATTENTION_H

#include <stdint.h>

/* Packed tokens that follow the same span: they see all slots of some ranges, then each its own piece's. */
typedef struct {
    int64_t first, count;           /* which tokens of the packed batch */
    int64_t above, above_end;       /* which ranges */
    int64_t pieces, pieces_end;     /* which pieces */
} Run;

/* The first `length` slots of a span: an ancestor of all tokens of a run. */
typedef struct {
    int64_t start, room, length;
} Range;

/* `count` tokens of one span, from its place `place` on: the token at a place sees the span up to that place. */
typedef struct {
    int64_t first, count;
    int64_t start, room, place;
} Piece;

typedef struct {
    const void *query, *key, *value;                  /* of the packed tokens; the last dimension is contiguous */
    int64_t query_head, query_token;                  /* strides, in elements */
    int64_t key_head, key_token, value_head, value_token;
    void *keys, *values;                              /* the layer's store, see kv_store.py */
    void *out;                                        /* [tokens, heads, dim] */
    const int64_t *where;                             /* [kv_heads, tokens]: the new tokens' vectors in the store */
    const Run *runs;
    const Range *ranges;
    const Piece *pieces;
    int64_t run_count, tokens, kv_heads, group, dim;
    float scaling;
    int32_t bf16;                                     /* elements are bfloat16, otherwise float */
    int32_t variant;
    int32_t threads;
    void (*parallel)(void (*)(void *), void *, unsigned, unsigned); /* GOMP_parallel */
} Call;

enum {
    MAX_DIM = 256,
    MAX_QUERIES = 64, /* of a run, times the heads that share keys */
    BLOCK = 64,       /* keys that are read before the weights are brought up to date */
    STRIDE = 80,      /* MAX_QUERIES and the widest vector, so that a vector may begin at any query */
};

/* Per thread, and large: kept between calls. */
typedef struct {
    float queries[MAX_DIM * STRIDE]; /* [units of a vector, queries] */
    float scores[BLOCK * STRIDE];    /* [keys, queries], then in its place the weights */
    float keys[BLOCK * MAX_DIM];
    float values[BLOCK * MAX_DIM];
    float rest[16 * MAX_DIM];
    float out[MAX_QUERIES * MAX_DIM];
    float highest[STRIDE], total[STRIDE], shrink[STRIDE];
} Scratch;

/* Up to BLOCK keys and values of one head, who sees them, and what is read next. */
typedef struct {
    const char *keys, *values;
    int length;
    int first, queries; /* which of the run's queries */
    int64_t hidden_from; /* the slot that the first of them does not see any more, counted from this block's first */
} Block;

#endif
