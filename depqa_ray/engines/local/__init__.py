"""The shared parts of the engines that compute in their own process, and the simplest of these engines.

- ``transformers``: the engine of batched ``generate``.
- ``causal_lm``: the model with its tokenizer; ``chat``: from a prompt to tokens.
- ``loop``: callers on one side, a ``BatchRunner`` in the compute thread on the other.
- ``generation``: when a generation ends; ``detokenizer``: its text; ``sampler``: its next token.
- ``memory``: detecting out-of-memory errors, and releasing memory.
"""
