"""The shared parts of the engines that compute in their own process, and the simplest of these engines.

- ``transformers``: the engine of batched ``generate``.
- ``causal_lm``: the model with its tokenizer; ``devices``: where it computes.
- ``chat``: from a prompt to tokens, by ``templates`` (its text, and which of it is the template's own) and
  ``prompt_encoder`` (its tokens: ``control_tokens`` come from the template alone).
- ``model_files``, ``loading``: what is loaded, and what is refused because it is damaged, not whole or of another kind.
- ``loop``: callers on one side, a ``BatchRunner`` in the compute thread on the other.
- ``generation``: when a generation ends; ``detokenizer``: its text; ``sampler``: its next token.
- ``memory``: detecting out-of-memory errors, and releasing memory.
"""
