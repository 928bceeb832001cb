"""A causal language model of transformers with its tokenizer, loaded and ready: what the local engines share."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from depqa_ray.config import EMBEDDED, DtypeName
from depqa_ray.engines import chat
from depqa_ray.engines.base import EngineInfo, EngineSpec
from depqa_ray.errors import EngineError
from depqa_ray.models import Completion, Prompt
from depqa_ray.reader import weights_folder

WARM_UP = Prompt("warm-up", "Answer.", "Passage: none.\n\n", "Question: none?", 2)
"""What an engine answers before it says that it is ready."""


class LanguageModel:
    """One model on one device: a GPU where the process sees one, the CPU where it does not.

    Raises EngineError where the model cannot be loaded.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self.name = spec.model_name
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = torch_dtype(spec.dtype, self.device)
        source = model_source(self.name)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it has no types
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(source, padding_side="left", trust_remote_code=False)
            model: Any = AutoModelForCausalLM.from_pretrained(
                source, dtype=self.dtype, use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise EngineError(
                f"cannot load the model {self.name!r}: {reason} (give a folder with a causal LM in safetensors, a hub "
                f"id that this machine can reach, or --model-name {EMBEDDED})"
            ) from error
        self.model = model.to(self.device).eval()
        eos = self.model.generation_config.eos_token_id
        ids = [self.tokenizer.eos_token_id, *(eos if isinstance(eos, list) else [eos])]
        self.eos: frozenset[int] = frozenset(id_ for id_ in ids if id_ is not None)
        pad = self.tokenizer.pad_token_id
        self.pad: int = pad if pad is not None else next(iter(self.eos), 0)
        self.window: int = getattr(self.model.config, "max_position_embeddings", None) or 1 << 30

    def info(self, engine: str) -> EngineInfo:
        """What runs here, for the manifest."""
        on_gpu = self.device.type == "cuda"
        return EngineInfo(
            engine=engine,
            model=self.name,
            device=torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads",
            dtype=str(self.dtype).removeprefix("torch."),
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
        )

    def text(self, prompt: Prompt) -> str:
        """The prompt through the model's chat template, thinking off; joined by blank lines where it has none."""
        return chat.prompt_text(self.tokenizer, prompt)

    def token_ids(self, text: str) -> list[int]:
        """The tokens of what :meth:`text` made. A template writes its special tokens itself."""
        return chat.token_ids(self.tokenizer, text)

    def too_long(self, prompt: Prompt, tokens: int) -> Completion | None:
        """The refusal of a prompt that, with its answer, exceeds the model's window; None where it fits."""
        return chat.too_long(prompt, tokens, self.window)

    def completion(self, prompt: Prompt, prompt_tokens: int, new: list[int], seconds: float) -> Completion:
        """The completion that ``new`` (through EOS, where it ended so) stands for."""
        stopped = bool(new) and new[-1] in self.eos
        return Completion(
            prompt_id=prompt.id,
            text=self.tokenizer.decode(new, skip_special_tokens=True),
            prompt_tokens=prompt_tokens,
            generated_tokens=len(new),
            finish_reason="stop" if stopped else "length",
            seconds=seconds,
        )


def model_source(model_name: str) -> str:
    """What ``from_pretrained`` loads for a model's name in the settings."""
    return str(weights_folder()) if model_name == EMBEDDED else model_name


def torch_dtype(dtype: DtypeName, device: torch.device) -> torch.dtype:
    """The type of the weights on a device; "auto" is bfloat16 on a GPU and float32 on a CPU."""
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32
