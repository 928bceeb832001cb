"""Continuous batching over shared prefixes, a step at a time: which tokens to compute, and what becomes of the rows.

A step is one forward pass over packed tokens: for a row that decodes its newest token, for one that has just come a
piece of its prompt, for a prefix that nobody has read yet a piece of that. Rows join and leave at any step. Siblings
that come together wait for one reading of their prefix.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from depqa_ray.engines.base import EngineCounts
from depqa_ray.engines.batching import Caller, Ended
from depqa_ray.engines.decoding import Answer
from depqa_ray.engines.kv_cache import PrefixCache, Span
from depqa_ray.engines.kv_store import KVStore
from depqa_ray.engines.language_model import LanguageModel
from depqa_ray.engines.packing import PackedBatch, Piece, pack
from depqa_ray.engines.sampling import choose
from depqa_ray.models import Completion, Prompt

_STEP_TOKENS = 512  # prompt tokens a step; more would stall the rows that decode


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt, its tokens cut where other prompts may begin to differ, the answer to it, and when it came."""

    prompt: Prompt
    answer: Answer
    parts: list[list[int]]
    began: float

    @property
    def prompt_tokens(self) -> int:
        """How many tokens the prompt has."""
        return sum(map(len, self.parts))


@dataclass(slots=True, eq=False)
class _Row:
    """A request on its way. ``span`` is None while it waits for room in the store."""

    request: Request
    caller: Caller
    span: Span | None = None
    first_at: float = 0.0

    @property
    def decodes(self) -> bool:
        """Whether its prompt has been read."""
        return bool(self.request.answer.tokens)


class PackedDecoder:
    """A stepper (see batching) for one model over one store.

    Invariant: a request is in ``_waiting``, in ``_running`` with a span in the cache, or has ended.
    """

    def __init__(self, lm: LanguageModel, store: KVStore, capacity: int, max_rows: int) -> None:
        self.cache = PrefixCache(capacity)
        self._lm, self._store, self._max_rows = lm, store, max_rows
        self._group = lm.model.config.num_attention_heads // store.kv_heads
        self._waiting: list[_Row] = []
        self._running: list[_Row] = []
        self._computed = self._cached = self._decode_steps = 0
        self._decode_seconds = 0.0

    def busy(self) -> bool:
        """See :class:`~depqa_ray.engines.batching.Stepper`."""
        return bool(self._waiting or self._running)

    def counts(self) -> EngineCounts:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        return EngineCounts(self._computed, self._cached, self._decode_steps, self._decode_seconds)

    def advance(self, arrivals: Sequence[tuple[Request, Caller]], departed: set[Caller]) -> Ended:
        """See :class:`~depqa_ray.engines.batching.Stepper`."""
        ended: Ended = []
        for request, caller in arrivals:
            refusal = self._lm.too_long(request.prompt, request.prompt_tokens) or self._too_large(request)
            if refusal:
                ended.append((caller, refusal))
            else:
                self._waiting.append(_Row(request, caller))
        self._waiting = [row for row in self._waiting if row.caller not in departed]
        for row in [row for row in self._running if row.caller in departed]:
            self._leave(row)
        self._admit()
        if self._running:
            ended += [(row.caller, self._complete(row)) for row in self._step()]
        return ended

    def _too_large(self, request: Request) -> Completion | None:
        needed, there = request.prompt_tokens + request.prompt.max_new_tokens, self.cache.slots.capacity
        if needed <= there:
            return None
        error = f"prompt and answer need {needed} KV slots, but --kv-gib has room for {there}"
        return Completion(request.prompt.id, error=error)

    def _admit(self) -> None:
        """First come, first served: what finds no room yet is not overtaken by what is smaller."""
        while self._waiting and len(self._running) < self._max_rows:
            row = self._waiting[0]
            admitted = self.cache.admit(row.request.parts, row.request.prompt.max_new_tokens)
            if admitted is None:
                return
            row.span, found = admitted
            self._cached += found
            self._computed += row.request.prompt_tokens - found
            self._running.append(self._waiting.pop(0))

    @torch.inference_mode()
    def _step(self) -> list[_Row]:
        """Compute one packed batch; returns the rows that have ended."""
        began = time.perf_counter()
        batch = pack(self._plan(), self._store, self._group)
        hidden = self._forward(batch)
        last = {}
        for piece in batch.pieces:
            last[piece.span] = piece.last
            piece.span.computed += piece.count
        ready = [row for row in self._running if row.span in last and row.span.computed == len(row.span.tokens)]
        only_decoding = all(row.decodes for row in ready) and len(ready) == len(batch.pieces)
        chosen = self._choose(hidden[[last[row.span] for row in ready if row.span]], ready) if ready else []
        now = time.perf_counter()
        if only_decoding:
            self._decode_steps += 1
            self._decode_seconds += now - began
        return [row for row, token in zip(ready, chosen, strict=True) if self._append(row, token, now)]

    def _plan(self) -> list[Piece]:
        """Which spans compute how many tokens now.

        Rows that decode always go; prompts fill what is left of the step, first come, first served.
        """
        budget = _STEP_TOKENS
        chosen: dict[Span, int] = {}
        for row in self._running:
            assert row.span is not None
            for span in (*row.span.lineage, row.span):
                left = len(span.tokens) - span.computed
                if left and span not in chosen:
                    count = left if row.decodes else min(left, budget)
                    budget -= 0 if row.decodes else count
                    if count:
                        chosen[span] = count
                if left > chosen.get(span, 0):
                    break  # what follows a prefix goes with its last piece or later
        return [Piece(span, count) for span, count in chosen.items()]

    def _forward(self, batch: PackedBatch) -> Tensor:
        """The last hidden states, [tokens, hidden_size]."""
        output = self._lm.model.base_model(
            input_ids=batch.tokens, position_ids=batch.positions, use_cache=False, packed_step=batch.step
        )
        hidden: Tensor = output.last_hidden_state[0]
        return hidden

    def _choose(self, hidden: Tensor, rows: Sequence[_Row]) -> list[int]:
        """The next token of each row, from its last hidden state [rows, hidden_size]."""
        logits = self._lm.model.get_output_embeddings()(hidden)
        chosen: list[int] = choose(logits, [row.request.answer for row in rows], self._lm.decoding).tolist()
        return chosen

    def _append(self, row: _Row, token: int, now: float) -> bool:
        """Give the row its token; returns whether it has ended."""
        assert row.span is not None
        row.first_at = row.first_at or now
        if row.request.answer.add(token):
            return True
        row.span.tokens.append(token)
        return False

    def _leave(self, row: _Row) -> None:
        self._running.remove(row)
        assert row.span is not None
        self.cache.release(row.span)

    def _complete(self, row: _Row) -> Completion:
        self._leave(row)
        request = row.request
        seconds = time.perf_counter() - request.began
        return self._lm.completion(request.answer, request.prompt_tokens, seconds, row.first_at - request.began)
