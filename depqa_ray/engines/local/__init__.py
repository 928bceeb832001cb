"""What the engines that compute in their own process share, and the simplest of them.

- ``transformers``: the engine of batched ``generate``.
- ``causal_lm``: the model with its tokenizer; ``chat``: from a prompt to tokens.
- ``loop``: callers on one side, a ``BatchRunner`` in the compute thread on the other.
- ``generation``: when a generation ends; ``detokenizer``: its text; ``sampler``: its next token.
- ``memory``: errors of running out of memory, and releasing it.
"""
