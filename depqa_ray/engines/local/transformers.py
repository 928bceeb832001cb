"""Any causal language model of transformers, by batched ``generate``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria
from typing_extensions import override

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import Engine, EngineInfo, EngineSpec, SamplingParams
from depqa_ray.engines.local.causal_lm import CausalLM
from depqa_ray.engines.local.chat import read_prompt
from depqa_ray.engines.local.generation import Generation
from depqa_ray.engines.local.loop import EngineLoop, StaticBatcher, compute_thread
from depqa_ray.engines.local.sampler import sample


class TransformersEngine(Engine):
    """Batched ``generate`` on one model.

    Batches are padded on the left and masked, so a row's tokens do not depend on its batch (up to the rounding of the
    dtype). Prompt tokens are counted without padding, generated tokens with the one that ended the generation.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._thread = compute_thread()
        self._loop = EngineLoop(StaticBatcher(self._generate, spec.max_batch_size, self._free), self._thread)
        self._lm: CausalLM | None = None

    @override
    async def start(self) -> EngineInfo:
        lm = self._lm = await asyncio.get_running_loop().run_in_executor(self._thread, CausalLM, self._spec)
        await lm.warm_up(self)
        return lm.info("transformers")

    @override
    def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        return self._loop.submit(prompts)

    @override
    async def close(self) -> None:
        await self._loop.close()

    def _free(self) -> None:
        if self._lm is not None:
            self._lm.free()

    def _generate(self, prompts: list[Prompt]) -> list[Completion]:
        started = time.perf_counter()
        lm = self._lm
        assert lm is not None, "start() comes first"
        read = [(prompt, read_prompt(lm.chat, prompt, lm.window)) for prompt in prompts]
        rows = [(lm.generation(prompt), row) for prompt, row in read if isinstance(row, list)]
        _generate_rows(lm, [row for _, row in rows], [generation for generation, _ in rows])
        seconds = time.perf_counter() - started
        answered = (generation.completion(len(row), seconds) for generation, row in rows)
        return [next(answered) if isinstance(row, list) else row for _, row in read]


@torch.inference_mode()
def _generate_rows(lm: CausalLM, rows: list[list[int]], generations: list[Generation]) -> None:
    """Generate from each row of tokens until its generation has ended."""
    if not rows:
        return
    width = max(map(len, rows))
    choice = _Choice(generations, lm.sampling_params)
    lm.model.generate(
        input_ids=torch.tensor([[lm.pad] * (width - len(row)) + row for row in rows], device=lm.device),
        attention_mask=torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=lm.device),
        max_new_tokens=max(generation.prompt.max_new_tokens for generation in generations),
        do_sample=False,
        pad_token_id=lm.pad,
        logits_processor=[choice],
        stopping_criteria=[_Stopping(generations, choice)],
    )


class _Choice(LogitsProcessor):
    """Chooses each row's token and masks all others, so that the greedy choice of ``generate`` takes it.

    ``tokens`` [rows] are the last ones chosen, -1 where the logits are not finite.
    """

    def __init__(self, generations: Sequence[Generation], sampling_params: SamplingParams) -> None:
        self._generations, self._sampling_params = generations, sampling_params
        self.tokens: torch.Tensor

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.tokens = sample(scores, self._generations, self._sampling_params)
        return torch.full_like(scores, float("-inf")).scatter_(-1, self.tokens.clamp(min=0)[:, None], 0.0)


class _Stopping(StoppingCriteria):
    """Appends each row's newest token to its generation, and reports which have ended.

    ``generate`` continues a row until all have ended; those further tokens are dropped.
    """

    def __init__(self, generations: Sequence[Generation], choice: _Choice) -> None:
        self._generations, self._choice = generations, choice

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        for generation, token in zip(self._generations, self._choice.tokens.tolist(), strict=True):
            if generation.finish_reason is None:
                generation.add(token)
        ended = [generation.finish_reason is not None for generation in self._generations]
        return torch.tensor(ended, device=input_ids.device)  # type: ignore[return-value]  # its class is of stubs only
