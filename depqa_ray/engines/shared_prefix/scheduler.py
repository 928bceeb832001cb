"""Continuous batching over shared prefixes: one step is one forward pass over packed chunks.

A decoding sequence contributes its newest token, a new one a chunk of its prompt, a prefix that is not computed yet a
chunk of that. Sequences join and leave at any step. Siblings that arrive together wait for one pass over their prefix.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

import torch
from typing_extensions import override

from depqa_ray.core import Completion
from depqa_ray.engines.base import EngineCounts
from depqa_ray.engines.local.causal_lm import CausalLM
from depqa_ray.engines.local.chat import too_long
from depqa_ray.engines.local.loop import BatchRunner
from depqa_ray.engines.local.memory import is_out_of_memory, release_memory
from depqa_ray.engines.local.sampler import sample
from depqa_ray.engines.requests import Caller, Finished
from depqa_ray.engines.shared_prefix.batch import Chunk, pack
from depqa_ray.engines.shared_prefix.decoder import Decoder
from depqa_ray.engines.shared_prefix.kv_pool import KVPool, group_size
from depqa_ray.engines.shared_prefix.prefix_cache import PrefixCache, PrefixNode
from depqa_ray.engines.shared_prefix.sequence import Sequence

_STEP_TOKENS = {"cpu": 1024, "cuda": 8192}
"""Prompt tokens of a step by kind of device: more would stall the sequences that decode."""
_LEAST_STEP_TOKENS = 64

_log = logging.getLogger(__name__)


class ContinuousBatcher(BatchRunner[Sequence]):
    """Continuous batching of one model over one pool.

    Invariant: a sequence is in ``_waiting``, in ``_running`` with a leaf in the cache, or finished.
    """

    def __init__(self, lm: CausalLM, pool: KVPool, decoder: Decoder, max_sequences: int) -> None:
        self.cache = PrefixCache(pool.capacity)
        self._lm, self._pool, self._max_sequences = lm, pool, max_sequences
        self._group = group_size(lm.model.config)
        self._waiting: list[Sequence] = []
        self._running: list[Sequence] = []
        self._decoder = decoder
        self._step_tokens = _STEP_TOKENS[pool.device.type]
        self._failures = 0  # consecutive steps that ran out of memory
        self._pool_holds_nan = False
        self.reset()

    def reset(self) -> None:
        """Evict unused prefixes and count from zero."""
        self.cache.evict_unused()
        self.cache.hit_tokens = self._prompt_tokens = self._decode_steps = self._out_of_memory = 0
        self._decode_seconds = 0.0

    def counts(self) -> EngineCounts:
        """The counts since the last reset."""
        hits, steps = self.cache.hit_tokens, self._decode_steps
        return EngineCounts(self._prompt_tokens - hits, hits, steps, self._decode_seconds, self._out_of_memory)

    @override
    def busy(self) -> bool:
        return bool(self._waiting or self._running)

    @override
    def step(self, arrivals: Iterable[tuple[Sequence, Caller]], departed: set[Caller]) -> Finished:
        finished = self._admit(arrivals, departed)
        if self._running:
            started = time.perf_counter()
            chunks = self._schedule()
            tokens = self._forward_or_none(chunks)
            finished += self._recover() if tokens is None else self._postprocess(chunks, tokens, started)
        return finished

    @override
    def close(self) -> None:
        self._waiting.clear()
        self._running.clear()
        del self._pool, self._decoder
        self._lm.free()

    def _admit(self, arrivals: Iterable[tuple[Sequence, Caller]], departed: set[Caller]) -> Finished:
        """Remove sequences of departed callers, then admit waiting ones; returns those refused.

        First come, first served: a sequence that has to wait for slots is not overtaken by a smaller one.
        """
        refused = self._receive(arrivals)
        self._waiting = [sequence for sequence in self._waiting if sequence.caller not in departed]
        for sequence in [sequence for sequence in self._running if sequence.caller in departed]:
            self._remove(sequence)
        while self._waiting and len(self._running) < self._max_sequences and self._allocate(self._waiting[0]):
            self._running.append(self._waiting.pop(0))
        assert self._running or not self._waiting, "an empty pool has slots for any sequence that may wait"
        if not self._running:
            self._failures = 0
        return refused

    def _receive(self, arrivals: Iterable[tuple[Sequence, Caller]]) -> Finished:
        """Let the arrivals wait, except those that can never run: returns these."""
        refused: Finished = []
        for sequence, caller in arrivals:
            sequence.caller = caller
            refusal = too_long(sequence.prompt, sequence.prompt_tokens, self._lm.window)
            needed, capacity = sequence.prompt_tokens + sequence.prompt.max_new_tokens, self.cache.slots.capacity
            if refusal is None and needed > capacity:
                error = f"prompt and answer need {needed} KV slots, but {self._lm.memory_flag} has room for {capacity}"
                refusal = Completion(sequence.prompt.id, error=error)
            if refusal:
                refused.append((caller, refusal))
            else:
                self._waiting.append(sequence)
        return refused

    def _allocate(self, sequence: Sequence) -> bool:
        leaf = self.cache.admit(sequence.segments, sequence.prompt.max_new_tokens)
        if leaf is None:
            return False
        sequence.leaf = leaf
        if self._pool_holds_nan:
            self._clear_slots(leaf)
        self._prompt_tokens += sequence.prompt_tokens
        return True

    def _clear_slots(self, leaf: PrefixNode) -> None:
        """Clear what earlier nodes left in a leaf's and its prefixes' slots: a masked NaN still turns a sum to NaN."""
        for node in (*leaf.ancestors, leaf):
            if not node.computed:
                self._pool.clear(node.start, node.capacity)

    def _schedule(self) -> list[Chunk]:
        """Choose the chunks of this step.

        Decoding sequences always take part; prompts fill the rest of the step's tokens, first come, first served.
        """
        budget = self._step_tokens
        scheduled: dict[PrefixNode, Chunk] = {}
        for sequence in self._running:
            for node in (*sequence.leaf.ancestors, sequence.leaf):
                if node not in scheduled:
                    chunk = _next_chunk(node, scheduled, len(node.tokens) if sequence.decoding else budget)
                    if chunk is not None:
                        scheduled[node] = chunk
                        budget -= 0 if sequence.decoding else chunk.count
                if _computed_after(node, scheduled) < len(node.tokens):
                    break  # the nodes below wait for the last chunk of this one
        return list(scheduled.values())

    def _forward_or_none(self, chunks: list[Chunk]) -> dict[Sequence, int] | None:
        """As :meth:`_forward`; None if memory ran out."""
        try:
            return self._forward(chunks)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    @torch.inference_mode()
    def _forward(self, chunks: list[Chunk]) -> dict[Sequence, int]:
        """Run the model over the chunks; returns the next token of each sequence that is then fully computed."""
        batch = pack(chunks, self._pool, self._group)
        last_tokens = self._last_tokens(batch.chunks)
        logits = self._decoder.logits(batch, list(last_tokens.values()))
        if logits is None:
            return {}
        generations = [sequence.generation for sequence in last_tokens]
        tokens: list[int] = sample(logits, generations, self._lm.sampling_params).tolist()
        return dict(zip(last_tokens, tokens, strict=True))

    def _last_tokens(self, chunks: list[Chunk]) -> dict[Sequence, int]:
        """The packed index of the last token of each sequence that the chunks complete."""
        sequences = {sequence.leaf: sequence for sequence in self._running}
        return {
            sequences[chunk.node]: chunk.first + chunk.count - 1
            for chunk in chunks
            if chunk.node in sequences and chunk.end == len(chunk.node.tokens)
        }

    def _postprocess(self, chunks: list[Chunk], tokens: dict[Sequence, int], started: float) -> Finished:
        """Mark the chunks as computed and append the tokens; returns the sequences that have ended."""
        decode_only = len(tokens) == len(chunks) and all(sequence.decoding for sequence in tokens)
        for chunk in chunks:
            chunk.node.computed, chunk.node.copy_from = chunk.end, None
        now = time.perf_counter()
        if decode_only:
            self._decode_steps += 1
            self._decode_seconds += now - started
        self._failures = 0
        ended = [sequence for sequence, token in tokens.items() if _append(sequence, token, now)]
        return [(sequence.caller, self._complete(sequence)) for sequence in ended]

    def _complete(self, sequence: Sequence) -> Completion:
        self._remove(sequence)
        self._pool_holds_nan |= bool(sequence.generation.error)
        seconds = time.perf_counter() - sequence.submitted_at
        first_token_seconds = sequence.first_token_at - sequence.submitted_at
        return sequence.generation.completion(sequence.prompt_tokens, seconds, first_token_seconds)

    def _remove(self, sequence: Sequence) -> None:
        self._running.remove(sequence)
        self.cache.release(sequence.leaf)

    def _recover(self) -> Finished:
        """After a step without memory: repeat it with half of the sequences; after two in a row, fail its sequences.

        Call it after the ``except`` block: the error's traceback holds the tensors of the failed step.
        """
        self._out_of_memory += 1
        self._failures += 1
        release_memory()
        self.cache.evict_unused()
        if self._failures > 1:
            return self._fail_running(f"out of memory twice in a step of {len(self._running)} prompts")
        self._shrink_batch()
        return []

    def _shrink_batch(self) -> None:
        """Restart the newer half of the sequences later; batches and steps stay as small from now on."""
        self._max_sequences = max(1, len(self._running) // 2)
        self._step_tokens = max(_LEAST_STEP_TOKENS, self._step_tokens // 2)
        _log.warning("out of memory; from now on %d prompts are generated together", self._max_sequences)
        for sequence in self._running[: self._max_sequences - 1 : -1]:
            self._remove(sequence)
            sequence.generation, sequence.first_token_at = self._lm.generation(sequence.prompt), 0.0
            self._waiting.insert(0, sequence)

    def _fail_running(self, error: str) -> Finished:
        self._failures = 0
        failed = list(self._running)
        for sequence in failed:
            self._remove(sequence)
        return [(sequence.caller, Completion(sequence.prompt.id, error=error)) for sequence in failed]


def _append(sequence: Sequence, token: int, now: float) -> bool:
    """Append a token; returns whether the sequence has ended."""
    sequence.first_token_at = sequence.first_token_at or now
    if sequence.generation.add(token):
        return True
    sequence.leaf.tokens.append(token)
    return False


def _next_chunk(node: PrefixNode, scheduled: Mapping[PrefixNode, Chunk], limit: int) -> Chunk | None:
    """A node's next ``limit`` tokens at most; None if none are left, or if its copy has to wait for the source."""
    index, copy_round = node.computed, 0
    source = node.copy_from
    if source is not None:
        if _computed_after(source, scheduled) < node.copied_tokens:
            return None
        source_chunk = scheduled.get(source)
        copy_round = 1 + source_chunk.copy_round if source_chunk is not None and source.copy_from is not None else 0
        index = node.copied_tokens
    count = min(len(node.tokens) - index, limit)
    return Chunk(node, index, count, copy_round) if count > 0 else None


def _computed_after(node: PrefixNode, scheduled: Mapping[PrefixNode, Chunk]) -> int:
    """The number of a node's tokens that are computed after the scheduled chunks."""
    chunk = scheduled.get(node)
    return chunk.end if chunk is not None else node.computed
