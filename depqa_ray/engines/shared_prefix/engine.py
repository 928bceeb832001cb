"""The engine itself: it loads the model, allocates the pool, and turns prompts into sequences."""

from __future__ import annotations

import asyncio
import time
from collections import abc
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from typing_extensions import override

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import Engine, EngineCounts, EngineInfo, EngineSpec
from depqa_ray.engines.cpu.attention import kernel_note
from depqa_ray.engines.cpu.layers import optimize_for_cpu
from depqa_ray.engines.cuda.plan import missing_note, supports_kernels
from depqa_ray.engines.local.causal_lm import CausalLM
from depqa_ray.engines.local.chat import refusal
from depqa_ray.engines.local.loading import load_config
from depqa_ray.engines.local.loop import EngineLoop, compute_thread
from depqa_ray.engines.local.memory import is_out_of_memory, release_memory
from depqa_ray.engines.local.prompt_encoder import UnreadablePromptError
from depqa_ray.engines.local.transformers import TransformersEngine
from depqa_ray.engines.shared_prefix.attention import NAME, register
from depqa_ray.engines.shared_prefix.decoder import Decoder, TransformersDecoder
from depqa_ray.engines.shared_prefix.kv_pool import KVPool, group_size, slot_bytes
from depqa_ray.engines.shared_prefix.scheduler import ContinuousBatcher
from depqa_ray.engines.shared_prefix.sequence import Sequence
from depqa_ray.errors import EngineError

_SUPPORTED = frozenset({"qwen3", "qwen2", "llama", "mistral"})
_SUPPORTED_ROPE = frozenset({"default", "linear", "llama3", "yarn"})  # the others depend on the length of the batch


class SharedPrefixEngine(Engine):
    """Continuous batching over a pool of keys and values in which prefixes are shared.

    If it does not support the model's attention or positions, :class:`TransformersEngine` answers, and a note says so.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._fallback: TransformersEngine | None = None
        self._thread = compute_thread()
        self._tokenize_thread = ThreadPoolExecutor(1, thread_name_prefix="tokenize-prompts")
        self._lm: CausalLM
        self._batcher: ContinuousBatcher
        self._kernel_note: tuple[str, ...] = ()
        self._loop: EngineLoop[Sequence] | None = None

    @override
    async def start(self) -> EngineInfo:
        reason = await asyncio.get_running_loop().run_in_executor(self._thread, self._load)
        if reason:
            self._fallback = TransformersEngine(self._spec)
            info = await self._fallback.start()
            note = f"Batched generate of transformers answers instead of shared_prefix: {reason}."
            return replace(info, notes=(note, *info.notes))
        self._loop = EngineLoop(self._batcher, self._thread)
        await self._lm.warm_up(self)
        self._batcher.reset()
        return self._lm.info("shared_prefix", *self._kernel_note)

    def _load(self) -> str:
        """Load the model and allocate the pool; returns why the model is not supported, "" if it is."""
        reason = _why_unsupported(load_config(self._spec.model_name, self._spec.revision))
        if reason:
            return reason
        self._lm = CausalLM(self._spec)
        register()
        self._lm.model.set_attn_implementation(NAME)
        if self._lm.device.type == "cpu" and self._lm.dtype == torch.bfloat16:
            optimize_for_cpu(self._lm.model)
        pool, group, most = self._allocate_pool(), group_size(self._lm.model.config), self._spec.max_batch_size
        self._kernel_note = (*kernel_note(pool, group), *missing_note(pool, group))
        with _memory_for(f"decoding {most} prompts", f"lower {self._lm.memory_flag} or --max-batch-size"):
            decoder = _build_decoder(self._lm.model, pool, most)
        self._batcher = ContinuousBatcher(self._lm, pool, decoder, most)
        return ""

    @override
    async def submit(self, prompts: abc.Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        if self._fallback:
            async for group in self._fallback.submit(prompts):
                yield group
            return
        assert self._loop is not None, "start() comes first"
        work = partial(self._tokenize, prompts, time.perf_counter())
        sequences, refused = await self._loop.call(self._tokenize_thread, work)
        if refused:
            yield refused
        async for group in self._loop.submit(sequences):
            yield group

    @override
    def counts(self) -> EngineCounts:
        return self._fallback.counts() if self._fallback else self._batcher.counts()

    @override
    async def reset_prefix_cache(self) -> None:
        if self._fallback:
            await self._fallback.reset_prefix_cache()
            return
        assert self._loop is not None, "start() comes first"
        await self._loop.call(self._thread, self._batcher.cache.evict_unused)

    @override
    async def close(self) -> None:
        if self._fallback:
            await self._fallback.close()
        if self._loop:
            await self._loop.close()
        self._tokenize_thread.shutdown(wait=False, cancel_futures=True)
        self._thread.shutdown(wait=False)

    def _allocate_pool(self) -> KVPool:
        """Raises EngineError if there is no memory for the pool."""
        config, dtype = self._lm.model.config, self._lm.dtype
        capacity = int(self._kv_bytes() // slot_bytes(config, dtype))
        slots = f"the keys and values of {max(0, capacity)} tokens"
        with _memory_for(slots, f"change {self._lm.memory_flag}"):
            if capacity < 1:
                raise MemoryError
            return KVPool(config, capacity, dtype, self._lm.device)

    def _kv_bytes(self) -> float:
        """The memory for keys and values, in bytes."""
        if self._lm.device.type != "cuda":
            return self._spec.kv_bytes
        release_memory()  # an engine that was closed in this process may have left some
        free, total = torch.cuda.mem_get_info()
        return free - (1 - self._spec.gpu_memory_utilization) * total

    def _tokenize(self, prompts: abc.Sequence[Prompt], submitted_at: float) -> tuple[list[Sequence], list[Completion]]:
        """The prompts' sequences, and the refusals of those that cannot be tokenized."""
        sequences, refused = [], []
        for prompt in prompts:
            try:
                segments = self._lm.chat.segments(prompt)
            except UnreadablePromptError as error:
                refused.append(refusal(prompt, error))
            else:
                sequences.append(Sequence(self._lm.generation(prompt), segments, submitted_at))
        return sequences, refused


@contextmanager
def _memory_for(what: str, advice: str) -> Iterator[None]:
    """Raises EngineError if memory runs out within."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise EngineError(f"no memory for {what}: {advice}") from error


def _build_decoder(model: Any, pool: KVPool, max_sequences: int) -> Decoder:
    """The fastest decoder for a model and its pool. One for a GPU takes over the model's layers."""
    if not supports_kernels(pool, group_size(model.config)):
        return TransformersDecoder(model)
    from depqa_ray.engines.cuda.decoder import CudaDecoder

    return CudaDecoder(model, pool, max_sequences)


def _why_unsupported(config: object) -> str:
    """Why shared prefixes are not supported for a model's config; "" if they are."""
    model_type = getattr(config, "model_type", "")
    if model_type not in _SUPPORTED:
        return f"shared prefixes are not supported for {model_type or 'this kind of'} models"
    layers = getattr(config, "layer_types", None)
    sliding = any(kind != "full_attention" for kind in layers) if layers else getattr(config, "sliding_window", None)
    if sliding:
        return "shared prefixes are not supported with sliding-window attention"
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return "" if rope in _SUPPORTED_ROPE else f"shared prefixes are not supported with {rope} rotary positions"
