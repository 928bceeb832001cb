"""transformers' own continuous batching over paged keys and values, to measure other engines against.

Prompts share complete pages. A page can be shared once the step that fills it has run, so siblings that arrive together
share only what an earlier step computed: hence small pages and steps of few tokens.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from transformers.generation.configuration_utils import ContinuousBatchingConfig, GenerationConfig
from typing_extensions import override

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import Engine, EngineCounts, EngineInfo, EngineSpec
from depqa_ray.engines.local.causal_lm import CausalLM
from depqa_ray.engines.local.chat import WARM_UP, read_prompt
from depqa_ray.engines.local.loop import compute_thread
from depqa_ray.engines.shared_prefix.kv_pool import slot_bytes
from depqa_ray.errors import EngineError


class ContinuousEngine(Engine):
    """``generate`` with paged attention. Greedy only. transformers cannot drop its pages.

    - ``page_size`` and ``step_tokens`` (the most that a step computes) are in tokens.
    - ``_prompt`` counts all prompt tokens, ``_cached`` those found in pages, cancelled prompts included.
    """

    def __init__(self, spec: EngineSpec, page_size: int, step_tokens: int) -> None:
        self._spec, self._page_size, self._step_tokens = spec, page_size, step_tokens
        self._closed = False
        self._asked = self._cached = self._prompt = 0
        self._lm: CausalLM
        self._manager: Any = None

    @override
    async def start(self) -> EngineInfo:
        # This thread ends after loading: from then on only the manager's own computes (see compute_thread).
        with compute_thread() as thread:
            await asyncio.get_running_loop().run_in_executor(thread, self._load)
        with torch.inference_mode():
            self._manager.start()
        async for _ in self.submit([WARM_UP]):
            pass
        return replace(self._lm.info("transformers_continuous"), can_reset_cache=False)

    def _load(self) -> None:
        self._lm = CausalLM(self._spec)
        # No kernels from the hub: attention is transformers' own or an installed flash-attn.
        self._manager = self._lm.model.init_continuous_batching(
            generation_config=GenerationConfig(  # type: ignore[no-untyped-call]
                do_sample=False,
                max_new_tokens=self._lm.window,
                eos_token_id=self._eos(),
                pad_token_id=self._lm.pad,
            ),
            continuous_batching_config=self._config(),
        )
        with torch.inference_mode():
            try:
                self._manager.warmup()
            except MemoryError as error:
                raise EngineError(f"no room for the pages, their masks and indices: {error}; lower kv_gib") from error
            self._count_hits()

    @override
    async def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        self._raise_if_broken()
        results: asyncio.Queue[Any] = asyncio.Queue()
        refused: list[Completion] = []
        waiting: dict[str, tuple[Prompt, int, float]] = {}
        rows: list[tuple[Prompt, list[int]]] = []
        for prompt in prompts:
            read = read_prompt(self._lm.chat, prompt, self._lm.window)
            if isinstance(read, Completion):
                refused.append(read)
            else:
                rows.append((prompt, read))
        # Sorted as in transformers' own generate_batch, so that prompts with a common prefix are neighbours.
        for prompt, ids in sorted(rows, key=lambda row: row[1], reverse=True):
            key = self._add(prompt, ids, results)
            waiting[key] = (prompt, len(ids), time.perf_counter())
        try:
            if refused:
                yield refused
            while waiting:
                output = await results.get()
                if output is None:
                    self._raise_if_broken()
                yield [self._completion(output, *waiting.pop(output.request_id))]
        finally:
            for key in waiting:
                self._manager.cancel_request(key)

    @override
    def counts(self) -> EngineCounts:
        return EngineCounts(computed_tokens=self._prompt - self._cached, cached_tokens=self._cached)

    @override
    async def close(self) -> None:
        if self._manager is not None and not self._closed:
            await asyncio.to_thread(self._manager.stop, block=True, hard_stop=True)
        self._closed = True

    def _add(self, prompt: Prompt, ids: list[int], results: asyncio.Queue[Any]) -> str:
        self._asked += 1
        key = str(self._asked)
        self._manager.register_result_handler(key, results.put_nowait)
        added = self._manager.add_request(
            ids,
            request_id=key,
            max_new_tokens=prompt.max_new_tokens,
            record_timestamps=True,
            eos_token_id=self._eos(),
        )
        if added is None:
            self._raise_if_broken()
            raise EngineError("continuous batching takes no more prompts")
        self._prompt += len(ids)
        return key

    def _completion(self, output: Any, prompt: Prompt, tokens: int, submitted: float) -> Completion:
        if output.error:
            self._raise_if_broken()
            return Completion(prompt.id, error=str(output.error))
        seconds = time.perf_counter() - submitted
        generation = self._lm.generation(prompt)
        for token in output.generated_tokens:
            generation.add(token)
        first_token_seconds = output.timestamps[0] - submitted if output.timestamps else None
        return generation.completion(tokens, seconds, first_token_seconds)

    def _raise_if_broken(self) -> None:
        if self._closed:
            raise EngineError("the engine was closed")
        if self._manager.background_thread_status.fatal_error is not None:
            raise EngineError(f"generation failed: {self._manager.background_thread_status.fatal_error!r}")

    def _config(self) -> ContinuousBatchingConfig:
        # Versions of transformers differ in the name.
        names = {field.name for field in fields(ContinuousBatchingConfig)}
        page: dict[str, Any] = {"page_size" if "page_size" in names else "block_size": self._page_size}
        config = ContinuousBatchingConfig(
            **page,
            max_requests_per_batch=self._spec.max_batch_size,
            max_batch_tokens=self._step_tokens,
        )
        if self._lm.device.type == "cuda":
            config.max_memory_percent = self._spec.gpu_memory_utilization
        else:
            page_bytes = slot_bytes(self._lm.model.config, self._lm.dtype) * self._page_size
            config.num_blocks = self._spec.kv_bytes // page_bytes
        return config

    def _eos(self) -> list[int]:
        return [-1] if self._spec.sampling_params.fixed_length else sorted(self._lm.eos) or [-1]

    def _count_hits(self) -> None:
        """Count the page cache's hits, which transformers does not report."""
        cache = self._manager.batch_processor.cache
        search = cache.search_prefix_match

        def counted(request_id: str, prompt_ids: list[int]) -> int:
            found = int(search(request_id, prompt_ids))
            self._cached += found
            return found

        cache.search_prefix_match = counted
