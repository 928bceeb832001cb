"""Any causal language model of transformers, by batched ``generate``: greedy, padded left, cut at the first EOS."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from depqa_ray.config import EMBEDDED
from depqa_ray.engines.base import EngineInfo, EngineSpec
from depqa_ray.engines.batching import BatchMerger
from depqa_ray.errors import EngineError
from depqa_ray.models import Completion, Prompt
from depqa_ray.reader import weights_folder

_WARM_UP = Prompt("warm-up", "Answer.", "Passage: none.\n\n", "Question: none?", 2)


class TransformersEngine:
    """One model on one device: a GPU where the process sees one, the CPU where it does not.

    Batches are padded on the left and masked, so that a row's tokens do not depend on what stands beside it (up to the
    rounding of the dtype). Prompt tokens are counted without padding. Generated tokens include the token that ended
    the answer: the model had to generate it.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._merger = BatchMerger(self._generate, spec.max_batch_size)
        self._model: Any = None
        self._tokenizer: Any = None
        self._eos: frozenset[int] = frozenset()
        self._pad = 0

    async def start(self) -> EngineInfo:
        """Load the model, and generate once so that the first measured prompt does not pay for what happens once."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = self._dtype(device)
        self._load(device, dtype)
        async for _ in self.submit([_WARM_UP]):
            pass
        return EngineInfo(
            engine="transformers",
            model=self._spec.model_name,
            device=torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads",
            dtype=str(dtype).removeprefix("torch."),
            parameters=sum(parameter.numel() for parameter in self._model.parameters()),
        )

    def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        return self._merger.submit(prompts)

    async def close(self) -> None:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        await self._merger.close()

    def _dtype(self, device: torch.device) -> torch.dtype:
        if self._spec.dtype == "auto":
            return torch.bfloat16 if device.type == "cuda" else torch.float32
        return torch.bfloat16 if self._spec.dtype == "bfloat16" else torch.float32

    def _load(self, device: torch.device, dtype: torch.dtype) -> None:
        name = self._spec.model_name
        source = str(weights_folder()) if name == EMBEDDED else name
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it has no types
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", trust_remote_code=False)
            model: Any = AutoModelForCausalLM.from_pretrained(
                source, dtype=dtype, use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise EngineError(
                f"cannot load the model {name!r}: {reason} (give a folder with a causal LM in safetensors, a hub id "
                f"that this machine can reach, or --model-name {EMBEDDED})"
            ) from error
        self._model = model.to(device).eval()
        eos = self._model.generation_config.eos_token_id
        ids = [self._tokenizer.eos_token_id, *(eos if isinstance(eos, list) else [eos])]
        self._eos = frozenset(id_ for id_ in ids if id_ is not None)
        pad = self._tokenizer.pad_token_id
        self._pad = pad if pad is not None else next(iter(self._eos), 0)

    def _token_ids(self, prompt: Prompt) -> list[int]:
        """The prompt through the model's chat template, thinking off; joined by blank lines where it has none."""
        user = prompt.shared + prompt.own
        if not self._tokenizer.chat_template:
            return list(self._tokenizer(f"{prompt.system}\n\n{user}\n\n").input_ids)
        messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": user}]
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)

    def _generate(self, prompts: list[Prompt]) -> list[Completion]:
        began = time.perf_counter()
        ids = [self._token_ids(prompt) for prompt in prompts]
        window = getattr(self._model.config, "max_position_embeddings", None) or 1 << 30
        fits = [index for index, row in enumerate(ids) if len(row) + prompts[index].max_new_tokens <= window]
        rows = self._generate_rows([ids[index] for index in fits], [prompts[index] for index in fits])
        generated = dict(zip(fits, rows, strict=True))
        seconds = time.perf_counter() - began
        return [
            self._completion(prompt, len(ids[index]), generated[index], seconds)
            if index in generated
            else Completion(
                prompt.id,
                error=f"prompt of {len(ids[index])} tokens and {prompt.max_new_tokens} new ones exceed the model's "
                f"window of {window}",
            )
            for index, prompt in enumerate(prompts)
        ]

    @torch.inference_mode()
    def _generate_rows(self, rows: list[list[int]], prompts: list[Prompt]) -> list[list[int]]:
        """The new tokens of each row, through the first EOS or to the prompt's own limit."""
        if not rows:
            return []
        width = max(map(len, rows))
        device = self._model.device
        input_ids = torch.tensor([[self._pad] * (width - len(row)) + row for row in rows], device=device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
        output = self._model.generate(
            input_ids=input_ids,
            attention_mask=mask,
            max_new_tokens=max(prompt.max_new_tokens for prompt in prompts),
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=sorted(self._eos) or None,
            pad_token_id=self._pad,
        )
        new = output[:, width:].tolist()
        return [self._trim(row, prompt.max_new_tokens) for row, prompt in zip(new, prompts, strict=True)]

    def _trim(self, row: list[int], limit: int) -> list[int]:
        end = next((index + 1 for index, token in enumerate(row) if token in self._eos), len(row))
        return row[: min(end, limit)]

    def _completion(self, prompt: Prompt, prompt_tokens: int, new: list[int], seconds: float) -> Completion:
        stopped = bool(new) and new[-1] in self._eos
        return Completion(
            prompt_id=prompt.id,
            text=self._tokenizer.decode(new, skip_special_tokens=True),
            prompt_tokens=prompt_tokens,
            generated_tokens=len(new),
            finish_reason="stop" if stopped else "length",
            seconds=seconds,
        )
