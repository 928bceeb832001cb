"""Any causal language model of transformers, by batched ``generate``: padded left, rows cut where answers end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineCounts, EngineInfo, EngineSpec, SamplingParams
from depqa_ray.engines.local.causal_lm import LanguageModel
from depqa_ray.engines.local.chat import WARM_UP
from depqa_ray.engines.local.generation import Answer
from depqa_ray.engines.local.loop import BatchMerger, StepLoop, compute_thread
from depqa_ray.engines.local.sampler import choose


class TransformersEngine:
    """Batched ``generate`` on one model.

    Batches are padded on the left and masked, so that a row's tokens do not depend on what stands beside it (up to the
    rounding of the dtype). Prompt tokens are counted without padding. Generated tokens include the token that ended
    the answer: the model had to generate it.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._thread = compute_thread()
        self._loop = StepLoop(BatchMerger(self._generate, spec.max_batch_size), self._thread)
        self._loaded: LanguageModel | None = None

    async def start(self) -> EngineInfo:
        """Load the model, and generate once so that the first measured prompt does not pay for what happens once."""
        loop = asyncio.get_running_loop()
        self._loaded = await loop.run_in_executor(self._thread, LanguageModel, self._spec)
        async for _ in self.submit([WARM_UP]):
            pass
        return self._loaded.info("transformers")

    def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        return self._loop.submit(prompts)

    def counts(self) -> EngineCounts:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        return EngineCounts()

    async def reset_prefix_cache(self) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        await self._loop.close()

    def _generate(self, prompts: list[Prompt]) -> list[Completion]:
        began = time.perf_counter()
        lm = self._loaded
        assert lm is not None, "start() comes first"
        ids = [lm.token_ids(lm.text(prompt)) for prompt in prompts]
        refusals = [lm.too_long(prompt, len(row)) for prompt, row in zip(prompts, ids, strict=True)]
        answers = [lm.answer(prompt) for prompt in prompts]
        fits = [index for index, refusal in enumerate(refusals) if refusal is None]
        _generate_rows(lm, [ids[index] for index in fits], [answers[index] for index in fits])
        seconds = time.perf_counter() - began
        return [
            refusal or lm.completion(answer, len(row), seconds)
            for answer, row, refusal in zip(answers, ids, refusals, strict=True)
        ]


@torch.inference_mode()
def _generate_rows(lm: LanguageModel, rows: list[list[int]], answers: list[Answer]) -> None:
    """Generate until each of the answers, which belong to the rows, has ended."""
    if not rows:
        return
    width = max(map(len, rows))
    lm.model.generate(
        input_ids=torch.tensor([[lm.pad] * (width - len(row)) + row for row in rows], device=lm.device),
        attention_mask=torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=lm.device),
        max_new_tokens=max(answer.prompt.max_new_tokens for answer in answers),
        do_sample=False,
        pad_token_id=lm.pad,
        logits_processor=[_Drawn(answers, lm.sampling_params)] if lm.sampling_params.temperature else [],
        stopping_criteria=[_Ended(answers)],
    )


class _Ended(StoppingCriteria):
    """Hands each row's newest token to its answer, and says which rows have ended.

    ``generate`` goes on with a row that has ended until all have; what it makes up meanwhile is not kept.
    """

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        for answer, token in zip(self._answers, input_ids[:, -1].tolist(), strict=True):
            if answer.reason is None:
                answer.add(token)
        ended = [answer.reason is not None for answer in self._answers]
        return torch.tensor(ended, device=input_ids.device)  # type: ignore[return-value]  # its class is of stubs only


class _Drawn(LogitsProcessor):
    """Leaves each row nothing but the token that was drawn for it, so that the greedy choice takes that."""

    def __init__(self, answers: Sequence[Answer], sampling_params: SamplingParams) -> None:
        self._answers, self._decoding = answers, sampling_params

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        chosen = choose(scores, self._answers, self._decoding)
        return torch.full_like(scores, float("-inf")).scatter_(-1, chosen[:, None], 0.0)
