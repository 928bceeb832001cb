"""The default engine: each shared prefix is computed once, and all sequences decode together.

The life of a request, and the module to open for each stage:

1. ``engine``: a prompt becomes tokens, cut into segments where other prompts may begin to differ.
2. ``sequence``, ``scheduler``: a ``Sequence`` waits, is admitted and takes part in steps until its generation ends.
   A step has four phases: admit, schedule, forward, postprocess.
3. ``prefix_cache``, ``allocator``: each segment becomes a ``PrefixNode`` with a range of slots; the last one is the
   sequence's leaf. Nodes of other sequences are reused.
4. ``batch``: the step's ``Chunk``s (the tokens that it computes in each node) are packed side by side, with the
   ``AttentionMetadata``: which tokens attend to which slots.
5. ``attention``, ``kv_pool``: each layer writes keys and values to its slots and attends; on a CPU by the compiled
   kernel of :mod:`depqa_ray.engines.cpu`. ``output_rows`` keeps the last layer to the tokens that are sampled.
6. ``scheduler``: the sampled token joins the leaf, or ends the generation and gives the caller its completion.

A slot holds one token's keys and values. A slab is a row of equal slot ranges, for leaves.
"""
