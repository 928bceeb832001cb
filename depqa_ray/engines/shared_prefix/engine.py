"""transformers models with each shared prefix read once and all rows decoded together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineCounts, EngineInfo, EngineSpec
from depqa_ray.engines.cpu.layers import speed_up
from depqa_ray.engines.local.causal_lm import LanguageModel, load_config
from depqa_ray.engines.local.chat import WARM_UP
from depqa_ray.engines.local.loop import StepLoop, compute_thread
from depqa_ray.engines.local.memory import is_out_of_memory
from depqa_ray.engines.local.transformers import TransformersEngine
from depqa_ray.engines.shared_prefix.attention import NAME, register
from depqa_ray.engines.shared_prefix.kv_pool import KVStore, slot_bytes
from depqa_ray.engines.shared_prefix.prefix_cache import common_length
from depqa_ray.engines.shared_prefix.scheduler import PackedDecoder, Request
from depqa_ray.errors import EngineError

_SUPPORTED = frozenset({"qwen3", "qwen2", "llama", "mistral"})
_STEADY_ROPE = frozenset({"default", "linear", "llama3", "yarn"})  # the others depend on the length of the batch

_log = logging.getLogger(__name__)


class SharedPrefixEngine:
    """Continuous batching over a store of keys and values in which prefixes are shared.

    Models whose attention or positions this does not cover are answered by :class:`TransformersEngine`, and a warning
    says so.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._fallback: TransformersEngine | None = None
        self._thread = compute_thread()
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="read-prompts")
        self._head: Callable[[str], list[int]]
        self._lm: LanguageModel
        self._decoder: PackedDecoder
        self._loop: StepLoop[Request] | None = None

    async def start(self) -> EngineInfo:
        """Load the model, set the store up, and answer one prompt."""
        reason = await asyncio.get_running_loop().run_in_executor(self._thread, self._load)
        if reason:
            _log.warning("%s: %s; falling back to batched generate", self._spec.model_name, reason)
            self._fallback = TransformersEngine(self._spec)
            return await self._fallback.start()
        self._loop = StepLoop(self._decoder, self._thread)
        async for (completion,) in self.submit([WARM_UP]):
            if completion.error:
                raise EngineError(f"{self._spec.model_name}: {completion.error}")
        self._decoder.begin_anew()
        return self._lm.info("shared_prefix")

    def _load(self) -> str:
        """Returns why the model cannot be served; "" where it can."""
        reason = why_unsupported(load_config(self._spec.model_name))
        if reason:
            return reason
        self._lm = LanguageModel(self._spec)
        self._head = lru_cache(maxsize=512)(self._lm.token_ids)  # siblings have theirs in common
        register()
        self._lm.model.set_attn_implementation(NAME)
        config, dtype = self._lm.model.config, self._lm.dtype
        if self._lm.device.type == "cpu" and dtype == torch.bfloat16:
            speed_up(self._lm.model)
        capacity = int(self._budget() // slot_bytes(config, dtype))
        store = self._store(config, capacity)
        self._decoder = PackedDecoder(self._lm, store, capacity, self._spec.max_batch_size)
        return ""

    async def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        """Completions in groups, as rows end. Who stops iterating gives up its rows at the next step."""
        if self._fallback:
            async for group in self._fallback.submit(prompts):
                yield group
            return
        assert self._loop is not None, "start() comes first"
        self._loop.require_whole()
        began = time.perf_counter()
        try:
            parts = await asyncio.get_running_loop().run_in_executor(self._reading, self._read, list(prompts))
        except asyncio.CancelledError:
            self._loop.require_whole()  # it may be closing, and not the caller leaving, that cancelled the reading
            raise
        cuts = list(zip(prompts, parts, strict=True))
        refused = [Completion(prompt.id, error=cut) for prompt, cut in cuts if isinstance(cut, str)]
        if refused:
            yield refused
        requests = [Request(p, self._lm.answer(p), cut, began) for p, cut in cuts if not isinstance(cut, str)]
        async for group in self._loop.submit(requests):
            yield group

    def counts(self) -> EngineCounts:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        return self._fallback.counts() if self._fallback else self._decoder.counts()

    async def reset_prefix_cache(self) -> None:
        """See :class:`~depqa_ray.engines.base.Engine`. Prefixes that rows use are kept."""
        if self._fallback:
            await self._fallback.reset_prefix_cache()
            return
        assert self._loop is not None, "start() comes first"
        await self._loop.between_steps(self._decoder.cache.drop_unused)

    async def close(self) -> None:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        if self._fallback:
            await self._fallback.close()
        if self._loop:
            await self._loop.close()
        self._reading.shutdown(wait=False, cancel_futures=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _store(self, config: Any, capacity: int) -> KVStore:
        """The store. Raises EngineError where there is no memory for it."""
        try:
            if capacity < 1:
                raise MemoryError
            return KVStore(config, capacity, self._lm.dtype, self._lm.device)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise EngineError(
                f"no memory for the keys and values of {max(0, capacity)} tokens: change {self._lm.memory_flag}"
            ) from error

    def _budget(self) -> float:
        """The bytes for keys and values."""
        if self._lm.device.type != "cuda":
            return self._spec.kv_bytes
        free, total = torch.cuda.mem_get_info()
        return free - (1 - self._spec.gpu_memory_utilization) * total

    def _read(self, prompts: Sequence[Prompt]) -> list[list[list[int]] | str]:
        """Each prompt's tokens, cut; or why it has none."""
        return [self._cut_or_reason(prompt) for prompt in prompts]

    def _cut_or_reason(self, prompt: Prompt) -> list[list[int]] | str:
        try:
            return self._cut(prompt)
        except Exception as error:  # a model's own template runs here, and may raise what it likes
            return f"the prompt cannot be turned into tokens: {' '.join(str(error).split()) or type(error).__name__}"

    def _cut(self, prompt: Prompt) -> list[list[int]]:
        """A prompt's tokens, cut where others may begin to differ: system line, passage, known answers, rest.

        Cuts are made in the tokens of the whole prompt, so that they never change what the model reads.
        """
        text = self._lm.text(prompt)
        ids = self._lm.token_ids(text)
        user = text.find(prompt.passage_text + prompt.question_text)
        passage = user + len(prompt.passage_text)
        ends = [user, passage, passage + prompt.context_chars] if user >= 0 else []
        cuts = [0]
        for end in ends:
            cut = common_length(self._head(text[:end]), ids[:-1])
            if cut > cuts[-1]:
                cuts.append(cut)
        return [ids[a:b] for a, b in zip(cuts, [*cuts[1:], len(ids)], strict=True)]


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
