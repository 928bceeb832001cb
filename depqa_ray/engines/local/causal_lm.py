"""A causal language model of transformers with its tokenizer: what the local engines share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import logging as transformers_logging

from depqa_ray.answering.json_objects import THINK_OPEN
from depqa_ray.core import Prompt
from depqa_ray.engines.base import EngineInfo, EngineSpec
from depqa_ray.engines.local.chat import WARM_UP, prompt_text
from depqa_ray.engines.local.detokenizer import TokenTexts
from depqa_ray.engines.local.generation import Generation
from depqa_ray.errors import EngineError
from depqa_ray.reader import weights_folder
from depqa_ray.settings.types import EMBEDDED, DtypeName

MODEL_ADVICE: Final = (
    f"give a folder with a causal LM in safetensors, a hub id that this machine can reach, or --model-name {EMBEDDED}"
)
"""The advice if a model cannot be loaded."""


class CausalLM:
    """One model on one device: a GPU if the process sees one, otherwise the CPU.

    ``window`` is the most tokens of a prompt with its answer. Raises EngineError if the model cannot be loaded.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self.name = spec.model_name
        self.device = torch_device()
        self.dtype = torch_dtype(spec.dtype, self.device)
        source = model_source(self.name)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it has no types
        with as_engine_error(self.name):
            self.tokenizer: Any = AutoTokenizer.from_pretrained(source, padding_side="left", trust_remote_code=False)
            model: Any = AutoModelForCausalLM.from_pretrained(
                source, dtype=self.dtype, use_safetensors=True, trust_remote_code=False
            )
        self.model = model.to(self.device).eval()
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        eos = self.model.generation_config.eos_token_id
        ids = [self.tokenizer.eos_token_id, *(eos if isinstance(eos, list) else [eos])]
        self.eos: frozenset[int] = frozenset(id_ for id_ in ids if id_ is not None)
        # Only SamplingParams count, not what a model's folder suggests, such as a repetition penalty.
        self.model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # it has no types
        pad = self.tokenizer.pad_token_id
        self.pad: int = pad if pad is not None else next(iter(self.eos), 0)
        self.sampling_params = spec.sampling_params
        self.window: int = getattr(self.model.config, "max_position_embeddings", None) or 1 << 30
        self._texts = TokenTexts(self.tokenizer)

    def info(self, engine: str) -> EngineInfo:
        """Describe the model and its device, for the manifest."""
        on_gpu = self.device.type == "cuda"
        return EngineInfo(
            engine=engine,
            model=self.name,
            device=torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads",
            dtype=str(self.dtype).removeprefix("torch."),
            parameters=self.parameters,
        )

    @property
    def memory_flag(self) -> str:
        """The flag that sets the memory for keys and values."""
        return "--gpu-memory-utilization" if self.device.type == "cuda" else "--kv-gib"

    @cached_property
    def _thinking(self) -> bool:
        """Whether the chat template opens a thought although thinking is off; some always do."""
        return prompt_text(self.tokenizer, WARM_UP).rstrip().endswith(THINK_OPEN)

    def generation(self, prompt: Prompt) -> Generation:
        """A generation for the prompt, without tokens yet."""
        return Generation(prompt, self.sampling_params, self._texts, self.eos, self._thinking)


def load_config(model_name: str) -> Any:
    """The model's configuration, without its weights. Raises EngineError if it cannot be loaded."""
    with as_engine_error(model_name):
        return AutoConfig.from_pretrained(model_source(model_name), trust_remote_code=False)


@contextmanager
def as_engine_error(model_name: str) -> Iterator[None]:
    """Turns an error of loading into one line: what cannot be loaded, why, and what to do."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EngineError(f"cannot load the model {model_name!r}: {reason} ({MODEL_ADVICE})") from error


def model_source(model_name: str) -> str:
    """What ``from_pretrained`` loads for a model's name in the settings."""
    return str(weights_folder()) if model_name == EMBEDDED else model_name


def torch_device() -> torch.device:
    """A GPU if the process sees one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def torch_dtype(dtype: DtypeName, device: torch.device) -> torch.dtype:
    """The type of the weights. "auto" is bfloat16 on a GPU and on a CPU with instructions for it, else float32."""
    if dtype == "auto":
        native = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32
