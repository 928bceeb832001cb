"""Continuous batching over shared prefixes, a step at a time: which tokens to compute, and what becomes of the rows.

A step is one forward pass over packed tokens: for a row that decodes its newest token, for one that has just come a
piece of its prompt, for a prefix that nobody has read yet a piece of that. Rows join and leave at any step. Siblings
that come together wait for one reading of their prefix.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineCounts
from depqa_ray.engines.local.causal_lm import LanguageModel
from depqa_ray.engines.local.generation import Answer
from depqa_ray.engines.local.memory import give_back_memory, is_out_of_memory
from depqa_ray.engines.local.sampler import choose
from depqa_ray.engines.requests import Caller, Finished
from depqa_ray.engines.shared_prefix.batch import PackedBatch, Piece, pack
from depqa_ray.engines.shared_prefix.kv_pool import KVStore
from depqa_ray.engines.shared_prefix.output_rows import NeededRows
from depqa_ray.engines.shared_prefix.prefix_cache import PrefixCache, Span

_STEP_TOKENS = 1024  # prompt tokens a step; more would stall the rows that decode
_LEAST_STEP_TOKENS = 64

_log = logging.getLogger(__name__)


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
        self._needed = NeededRows()
        self._needed.bind(lm.model.base_model, lm.model.config.hidden_size)
        self._step_tokens = _STEP_TOKENS
        self._failures = 0  # steps in a row that ran out of memory
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all counts, and the prefixes that nothing builds on."""
        self.cache.drop_unused()
        self.cache.found = self._asked = self._decode_steps = self._out_of_memory = 0
        self._decode_seconds = 0.0

    def busy(self) -> bool:
        """See :class:`~depqa_ray.engines.local.loop.Stepper`."""
        return bool(self._waiting or self._running)

    def counts(self) -> EngineCounts:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        found = self.cache.found
        return EngineCounts(self._asked - found, found, self._decode_steps, self._decode_seconds, self._out_of_memory)

    def advance(self, arrivals: Sequence[tuple[Request, Caller]], departed: set[Caller]) -> Finished:
        """See :class:`~depqa_ray.engines.local.loop.Stepper`."""
        ended: Finished = []
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
            ended += self._guarded_step()
        elif self._waiting:  # an empty store has no room for it, and nothing will make more
            row = self._waiting.pop(0)
            ended.append((row.caller, self._no_room(row.request)))
        else:
            self._failures = 0
        return ended

    def _too_large(self, request: Request) -> Completion | None:
        needed = request.prompt_tokens + request.prompt.max_new_tokens
        return self._no_room(request) if needed > self.cache.slots.capacity else None

    def _no_room(self, request: Request) -> Completion:
        needed, there = request.prompt_tokens + request.prompt.max_new_tokens, self.cache.slots.capacity
        error = f"prompt and answer need {needed} KV slots, but {self._lm.memory_flag} has room for {there}"
        return Completion(request.prompt.id, error=error)

    def _admit(self) -> None:
        """First come, first served: what finds no room yet is not overtaken by what is smaller."""
        while self._waiting and len(self._running) < self._max_rows:
            row = self._waiting[0]
            row.span = self.cache.admit(row.request.parts, row.request.prompt.max_new_tokens)
            if row.span is None:
                return
            self._asked += row.request.prompt_tokens
            self._running.append(self._waiting.pop(0))

    def _guarded_step(self) -> Finished:
        """A step. Where memory runs out: half the rows wait, the step is taken again; twice in a row: its rows fail."""
        done = self._step_or_none()
        if done is not None:
            self._failures = 0
            return [(row.caller, self._complete(row)) for row in done]
        # Only here, when the error that held the failed step's tensors has gone.
        self._out_of_memory += 1
        self._failures += 1
        give_back_memory()
        self.cache.drop_unused()
        if self._failures > 1:
            return self._fail_running(f"out of memory twice in a step of {len(self._running)} prompts")
        self._retreat()
        return []

    def _step_or_none(self) -> list[_Row] | None:
        try:
            return self._step()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _retreat(self) -> None:
        """Let the newer half of the rows wait, to be begun again; rows and steps stay as few and small from then on."""
        self._max_rows = max(1, len(self._running) // 2)
        self._step_tokens = max(_LEAST_STEP_TOKENS, self._step_tokens // 2)
        _log.warning("out of memory; from now on %d prompts are generated together", self._max_rows)
        for row in self._running[: self._max_rows - 1 : -1]:
            self._leave(row)
            request = replace(row.request, answer=self._lm.answer(row.request.prompt))
            self._waiting.insert(0, _Row(request, row.caller))

    def _fail_running(self, error: str) -> Finished:
        self._failures = 0
        failed = list(self._running)
        for row in failed:
            self._leave(row)
        return [(row.caller, Completion(row.request.prompt.id, error=error)) for row in failed]

    @torch.inference_mode()
    def _step(self) -> list[_Row]:
        """Compute one packed batch; returns the rows that have ended."""
        began = time.perf_counter()
        batch = pack(self._plan(), self._store, self._group)
        ready = self._ready(batch.pieces)
        decodes = len(ready) == len(batch.pieces) and all(row.decodes for row, _ in ready)
        chosen = self._compute(batch, ready)
        for piece in batch.pieces:
            piece.span.computed = piece.place + piece.count
            piece.span.source = None
        now = time.perf_counter()
        if decodes:
            self._decode_steps += 1
            self._decode_seconds += now - began
        return [row for (row, _), token in zip(ready, chosen, strict=True) if self._append(row, token, now)]

    def _ready(self, pieces: Sequence[Piece]) -> list[tuple[_Row, int]]:
        """The rows whose next token the step gives, and the packed index of the token that gives it."""
        rows = {row.span: row for row in self._running}
        return [
            (rows[piece.span], piece.last)
            for piece in pieces
            if piece.span in rows and piece.place + piece.count == len(piece.span.tokens)
        ]

    def _compute(self, batch: PackedBatch, ready: Sequence[tuple[_Row, int]]) -> list[int]:
        """Run the model over the batch; the next token of each row that is ready."""
        rows = torch.tensor([last for _, last in ready], dtype=torch.long, device=batch.tokens.device)
        self._needed.rows = rows if len(ready) < batch.tokens.shape[1] else None
        output = self._lm.model.base_model(
            input_ids=batch.tokens, position_ids=batch.positions, use_cache=False, packed_step=batch.step
        )
        if not ready:
            return []
        logits = self._lm.model.get_output_embeddings()(output.last_hidden_state[0, rows])
        answers = [row.request.answer for row, _ in ready]
        chosen: list[int] = choose(logits, answers, self._lm.sampling_params).tolist()
        return chosen

    def _plan(self) -> list[Piece]:
        """Which spans compute how many tokens now.

        Rows that decode always go; prompts fill what is left of the step, first come, first served.
        """
        budget = self._step_tokens
        chosen: dict[Span, Piece] = {}
        for row in self._running:
            assert row.span is not None
            for span in (*row.span.lineage, row.span):
                if span not in chosen:
                    piece = _next_piece(span, chosen, len(span.tokens) if row.decodes else budget)
                    if piece is not None:
                        chosen[span] = piece
                        budget -= 0 if row.decodes else piece.count
                if _done(span, chosen) < len(span.tokens):
                    break  # what follows a prefix goes with its last piece or later
        return list(chosen.values())

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


def _next_piece(span: Span, chosen: Mapping[Span, Piece], limit: int) -> Piece | None:
    """What a span computes next, ``limit`` tokens at most; None where it has nothing to, or cannot borrow yet."""
    place, turn = span.computed, 0
    if span.source is not None:
        if _done(span.source, chosen) < span.borrowed:
            return None
        lender = chosen.get(span.source)
        turn = 1 + lender.turn if lender is not None and span.source.source is not None else 0
        place = span.borrowed
    count = min(len(span.tokens) - place, limit)
    return Piece(span, place, count, turn) if count > 0 else None


def _done(span: Span, chosen: Mapping[Span, Piece]) -> int:
    """How many of a span's tokens are computed once the chosen pieces are."""
    piece = chosen.get(span)
    return piece.place + piece.count if piece is not None else span.computed
