"""transformers models with each shared prefix read once and all rows decoded together, step by step.

A step is one forward pass over packed tokens: for a row that decodes its newest token, for one that has just come a
piece of its prompt, for a prefix that nobody has read yet a piece of that. Rows join and leave at any step. Siblings
that come together wait for one reading of their prefix.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from depqa_ray.engines.base import EngineCounts, EngineInfo, EngineSpec
from depqa_ray.engines.batching import Caller, deliver
from depqa_ray.engines.kv_cache import PrefixCache, Span
from depqa_ray.engines.language_model import WARM_UP, LanguageModel
from depqa_ray.engines.shared_prefix_attention import NAME, PackedStep, Reach, causal_mask, register
from depqa_ray.engines.transformers import TransformersEngine
from depqa_ray.errors import EngineError
from depqa_ray.models import Completion, Prompt

_SUPPORTED = frozenset({"qwen3", "qwen2", "llama", "mistral"})
_STEADY_ROPE = frozenset({"default", "linear", "llama3", "yarn"})  # the others depend on the length of the batch
_STEP_TOKENS = 512  # prompt tokens a step; more would stall the rows that decode
_GIB = 1 << 30

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Row:
    """One prompt on its way. ``span`` is None while it waits for room in the store."""

    prompt: Prompt
    caller: Caller
    began: float
    parts: list[list[int]]
    span: Span | None = None
    new: list[int] = field(default_factory=list)

    @property
    def prompt_tokens(self) -> int:
        return sum(map(len, self.parts))


class SharedPrefixEngine:
    """Greedy, continuous batching over a store of keys and values in which prefixes are shared.

    Models whose attention or positions this does not cover are answered by :class:`TransformersEngine`, and a warning
    says so. Invariant: a prompt is in ``_arrivals``, ``_waiting`` or ``_running``, or answered; a broken engine stays
    broken, and all of ``_callers`` hear of it. ``_waiting``, ``_running`` and ``_cache`` belong to the engine's thread
    while a step runs.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._fallback: TransformersEngine | None = None
        self._arrivals: list[tuple[Prompt, Caller]] = []
        self._callers: set[Caller] = set()
        self._departed: set[Caller] = set()
        self._waiting: list[_Row] = []
        self._running: list[_Row] = []
        self._worker: asyncio.Task[None] | None = None
        self._broken: EngineError | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shared-prefix")
        self._lm: LanguageModel
        self._cache: PrefixCache
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._group = 1  # query heads for each key-value head

    async def start(self) -> EngineInfo:
        """Load the model, set the store up, and answer one prompt."""
        self._lm = LanguageModel(self._spec)
        reason = why_unsupported(self._lm.model.config)
        if reason:
            _log.warning("%s: %s; falling back to batched generate", self._spec.model_name, reason)
            self._fallback = TransformersEngine(self._spec, self._lm)
            return await self._fallback.start()
        register()
        self._lm.model.set_attn_implementation(NAME)
        self._set_up_store()
        async for _ in self.submit([WARM_UP]):
            pass
        return self._lm.info("shared_prefix")

    async def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        """Completions in groups, as rows end. Who stops iterating gives up its rows at the next step."""
        if self._fallback:
            async for group in self._fallback.submit(prompts):
                yield group
            return
        if self._broken:
            raise self._broken
        caller = Caller(waiting=len(prompts))
        self._callers.add(caller)
        self._arrivals += [(prompt, caller) for prompt in prompts]
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            async for group in caller.drain():
                yield group
        finally:
            self._callers.remove(caller)
            if caller.waiting:
                self._departed.add(caller)

    def counts(self) -> EngineCounts:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        return EngineCounts()

    async def close(self) -> None:
        """End whoever still waits, and the thread. A step that is running runs to its end unheard."""
        if self._fallback:
            await self._fallback.close()
        self._break(EngineError("the engine was closed"))
        if self._worker is not None:
            self._worker.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        # One turn of the event loop first, so that callers who come at the same moment share the first step.
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        while (self._arrivals or self._waiting or self._running) and not self._broken:
            arrivals, self._arrivals = self._arrivals, []
            departed, self._departed = self._departed, set()
            try:
                ended = await loop.run_in_executor(self._thread, self._advance, arrivals, departed)
            except Exception as error:  # whatever broke the model: everyone who waits has to hear of it
                self._break(EngineError(f"generation failed: {error!r}"))
                return
            deliver(ended)

    def _break(self, error: EngineError) -> None:
        self._broken = self._broken or error
        for caller in self._callers:
            caller.groups.put_nowait(self._broken)

    def _set_up_store(self) -> None:
        config = self._lm.model.config
        kv_heads = config.num_key_value_heads
        self._group = config.num_attention_heads // kv_heads
        dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        slot_bytes = 2 * config.num_hidden_layers * kv_heads * dim * self._lm.dtype.itemsize
        budget = self._spec.kv_gib * _GIB
        if self._lm.device.type == "cuda":
            budget = min(budget, 0.9 * torch.cuda.mem_get_info()[0])
        self._cache = PrefixCache(int(budget // slot_bytes))
        shape = (kv_heads, self._cache.slots.capacity, dim)
        layers = range(config.num_hidden_layers)
        # Zeros, not empty memory: a kernel that multiplies a masked slot by zero must not meet a NaN.
        self._keys = [torch.zeros(shape, dtype=self._lm.dtype, device=self._lm.device) for _ in layers]
        self._values = [torch.zeros(shape, dtype=self._lm.dtype, device=self._lm.device) for _ in layers]

    def _advance(
        self, arrivals: Sequence[tuple[Prompt, Caller]], departed: set[Caller]
    ) -> list[tuple[Caller, Completion]]:
        """One step: take in what came, let go of what nobody waits for, compute. Returns what ended."""
        ended: list[tuple[Caller, Completion]] = []
        for prompt, caller in arrivals:
            row = _Row(prompt, caller, time.perf_counter(), self._parts(prompt))
            refusal = self._lm.too_long(prompt, row.prompt_tokens) or self._too_large(row)
            if refusal:
                ended.append((caller, refusal))
            else:
                self._waiting.append(row)
        self._waiting = [row for row in self._waiting if row.caller not in departed]
        for row in [row for row in self._running if row.caller in departed]:
            self._leave(row)
        while self._waiting and len(self._running) < self._spec.max_batch_size:
            row = self._waiting[0]
            row.span = self._cache.admit(row.parts, row.prompt.max_new_tokens)
            if row.span is None:
                break
            self._running.append(self._waiting.pop(0))
        if self._running:
            ended += [(row.caller, self._complete(row)) for row in self._step()]
        return ended

    def _too_large(self, row: _Row) -> Completion | None:
        needed, there = row.prompt_tokens + row.prompt.max_new_tokens, self._cache.slots.capacity
        if needed <= there:
            return None
        return Completion(
            row.prompt.id, error=f"prompt and answer need {needed} KV slots, but --kv-gib has room for {there}"
        )

    def _parts(self, prompt: Prompt) -> list[list[int]]:
        """The prompt's tokens, cut where other prompts may begin to differ: system line, passage, own part.

        Cuts are made in the tokens of the whole prompt, so that they never change what the model reads.
        """
        text = self._lm.text(prompt)
        ids = self._lm.token_ids(text)
        user = text.find(prompt.shared + prompt.own)
        ends = [user, user + len(prompt.shared)] if user >= 0 else []
        cuts = [0]
        for end in ends:
            cut = _common(self._lm.token_ids(text[:end]), ids[:-1])
            if cut > cuts[-1]:
                cuts.append(cut)
        return [ids[a:b] for a, b in zip(cuts, [*cuts[1:], len(ids)], strict=True)]

    @torch.inference_mode()
    def _step(self) -> list[_Row]:
        """Compute one packed batch; returns the rows that have ended."""
        pieces = self._plan()
        step, tokens, positions = self._pack(pieces)
        device = self._lm.device
        hidden = self._lm.model.base_model(
            input_ids=torch.tensor([tokens], device=device),
            position_ids=torch.tensor([positions], device=device),
            use_cache=False,
            packed_step=step,
        ).last_hidden_state[0]
        for span, count in pieces:
            span.computed += count
        last = {own_span: part.last - 1 for (own_span, _), part in zip(pieces, step.own, strict=True)}
        ready = [row for row in self._running if row.span in last and row.span.computed == len(row.span.tokens)]
        if not ready:
            return []
        logits = self._lm.model.get_output_embeddings()(hidden[[last[row.span] for row in ready if row.span]])
        ended = []
        # max, not argmax: the same first maximum, and five times as fast for bfloat16 on a CPU.
        for row, token in zip(ready, logits.max(-1).indices.tolist(), strict=True):
            row.new.append(token)
            if token in self._lm.eos or len(row.new) == row.prompt.max_new_tokens:
                ended.append(row)
            elif row.span:
                row.span.tokens.append(token)
        return ended

    def _plan(self) -> list[tuple[Span, int]]:
        """Which spans compute how many tokens now, ordered so that what shares a prefix stands side by side.

        Rows that decode always go; prompts fill what is left of the step, first come, first served.
        """
        budget = _STEP_TOKENS
        chosen: dict[Span, int] = {}
        for row in self._running:
            assert row.span is not None
            for span in (*row.span.lineage, row.span):
                left = len(span.tokens) - span.computed
                if left and span not in chosen:
                    decodes = span is row.span and bool(row.new)
                    count = left if decodes else min(left, budget)
                    if count:
                        chosen[span] = count
                    budget -= 0 if decodes else count
                if left:
                    break  # what follows an unread prefix waits for it
        return sorted(chosen.items(), key=lambda item: [node.start for node in (*item[0].lineage, item[0])])

    def _pack(self, pieces: Sequence[tuple[Span, int]]) -> tuple[PackedStep, list[int], list[int]]:
        """The step's attention, and the tokens and positions of its packed batch."""
        tokens: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        own: list[Reach] = []
        below: dict[Span, list[int]] = {}
        for span, count in pieces:
            first, done = len(tokens), span.computed
            tokens += span.tokens[done : done + count]
            positions += range(span.offset + done, span.offset + done + count)
            slots += range(span.start + done, span.start + done + count)
            mask = causal_mask(count, done + count, self._group, like=self._keys[0])
            own.append(Reach(first, len(tokens), span.start, done + count, mask))
            for node in span.lineage:
                below.setdefault(node, [first, 0])[1] = len(tokens)
        shared = [Reach(first, last, node.start, len(node.tokens)) for node, (first, last) in below.items()]
        where = torch.tensor(slots, device=self._lm.device)
        return PackedStep(self._keys, self._values, where, shared, own), tokens, positions

    def _leave(self, row: _Row) -> None:
        self._running.remove(row)
        assert row.span is not None
        self._cache.release(row.span)

    def _complete(self, row: _Row) -> Completion:
        self._leave(row)
        return self._lm.completion(row.prompt, row.prompt_tokens, row.new, time.perf_counter() - row.began)


def why_unsupported(config: object) -> str:
    """Why a model's config cannot be served with shared prefixes; "" where it can."""
    model_type = getattr(config, "model_type", "")
    if model_type not in _SUPPORTED:
        return f"shared prefixes are not supported for {model_type or 'this kind of'} models"
    layers = getattr(config, "layer_types", None)
    sliding = any(kind != "full_attention" for kind in layers) if layers else getattr(config, "sliding_window", None)
    if sliding:
        return "shared prefixes are not supported with sliding-window attention"
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return "" if rope in _STEADY_ROPE else f"shared prefixes are not supported with {rope} rotary positions"


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences have in common from the start."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
