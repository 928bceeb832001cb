"""Any causal language model of transformers, by batched ``generate``: greedy, padded left, cut at the first EOS."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

import torch

from depqa_ray.engines.base import EngineCounts, EngineInfo, EngineSpec
from depqa_ray.engines.batching import BatchMerger, StepLoop
from depqa_ray.engines.language_model import WARM_UP, LanguageModel
from depqa_ray.models import Completion, Prompt


class TransformersEngine:
    """Batched ``generate`` on one model.

    Batches are padded on the left and masked, so that a row's tokens do not depend on what stands beside it (up to the
    rounding of the dtype). Prompt tokens are counted without padding. Generated tokens include the token that ended
    the answer: the model had to generate it.
    """

    def __init__(self, spec: EngineSpec, model: LanguageModel | None = None) -> None:
        """``model`` is one that is loaded already; otherwise :meth:`start` loads it."""
        self._spec = spec
        self._loop = StepLoop(BatchMerger(self._generate, spec.max_batch_size), "generate")
        self._loaded = model

    async def start(self) -> EngineInfo:
        """Load the model, and generate once so that the first measured prompt does not pay for what happens once."""
        self._loaded = self._loaded or LanguageModel(self._spec)
        async for _ in self.submit([WARM_UP]):
            pass
        return self._loaded.info("transformers")

    def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        return self._loop.submit(prompts)

    def counts(self) -> EngineCounts:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        return EngineCounts()

    async def close(self) -> None:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        await self._loop.close()

    def _generate(self, prompts: list[Prompt]) -> list[Completion]:
        began = time.perf_counter()
        lm = self._loaded
        assert lm is not None, "start() comes first"
        ids = [lm.token_ids(lm.text(prompt)) for prompt in prompts]
        refusals = [lm.too_long(prompt, len(row)) for prompt, row in zip(prompts, ids, strict=True)]
        fits = [index for index, refusal in enumerate(refusals) if refusal is None]
        rows = self._generate_rows(lm, [ids[index] for index in fits], [prompts[index] for index in fits])
        generated = dict(zip(fits, rows, strict=True))
        seconds = time.perf_counter() - began
        return [
            refusal or lm.completion(prompt, len(ids[index]), generated[index], seconds)
            for index, (prompt, refusal) in enumerate(zip(prompts, refusals, strict=True))
        ]

    @torch.inference_mode()
    def _generate_rows(self, lm: LanguageModel, rows: list[list[int]], prompts: list[Prompt]) -> list[list[int]]:
        """The new tokens of each row, through the first EOS or to the prompt's own limit."""
        if not rows:
            return []
        width = max(map(len, rows))
        input_ids = torch.tensor([[lm.pad] * (width - len(row)) + row for row in rows], device=lm.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=lm.device)
        output = lm.model.generate(
            input_ids=input_ids,
            attention_mask=mask,
            max_new_tokens=max(prompt.max_new_tokens for prompt in prompts),
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=sorted(lm.eos) or None,
            pad_token_id=lm.pad,
        )
        new = output[:, width:].tolist()
        return [_trim(row, prompt.max_new_tokens, lm.eos) for row, prompt in zip(new, prompts, strict=True)]


def _trim(row: list[int], limit: int, eos: frozenset[int]) -> list[int]:
    end = next((index + 1 for index, token in enumerate(row) if token in eos), len(row))
    return row[: min(end, limit)]
