"""A causal language model of transformers with its tokenizer: what the local engines share."""

from __future__ import annotations

from typing import Any

import torch
from transformers import GenerationConfig

from depqa_ray.core import Prompt
from depqa_ray.engines.base import Engine, EngineInfo, EngineSpec
from depqa_ray.engines.local.chat import WARM_UP, Chat
from depqa_ray.engines.local.detokenizer import TokenTexts
from depqa_ray.engines.local.devices import torch_device, torch_dtype
from depqa_ray.engines.local.generation import NOT_FINITE, Generation
from depqa_ray.engines.local.loading import (
    as_start_error,
    checked_folder,
    is_fault_of_machine,
    load_tokenizer,
    load_weights,
    vocabulary_of,
)
from depqa_ray.engines.local.memory import release_memory
from depqa_ray.errors import EngineError, StartError


class CausalLM:
    """One whole model on one device, always from a folder.

    ``window`` is the most tokens of a prompt with its answer; ``notes`` is for EngineInfo. Raises StartError if the
    model or the device cannot be used, InputError if the hub does not give the model, another EngineError if the
    machine fails.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self.name = spec.model_name
        self.device = torch_device(spec.device)
        self.dtype = torch_dtype(spec.dtype, self.device)
        with as_start_error(self.name):
            folder, config = checked_folder(self.name, spec.revision)
            self.tokenizer: Any = load_tokenizer(folder)
            self.chat = Chat(self.tokenizer, vocabulary_of(config))
            model, notes = load_weights(folder, self.dtype)
            self.model: Any = model.to(self.device).eval()
        self.notes = (*notes, *self.chat.notes)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        eos = self.model.generation_config.eos_token_id
        ids = [self.tokenizer.eos_token_id, *(eos if isinstance(eos, list) else [eos])]
        self.eos: frozenset[int] = frozenset(id_ for id_ in ids if id_ is not None)
        # Only SamplingParams count, not what a model's folder suggests, such as a repetition penalty.
        self.model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # it has no types
        pad = self.tokenizer.pad_token_id
        rows = self.model.get_input_embeddings().weight.shape[0]
        known = pad is not None and pad < rows  # one that was added for training may have no embedding
        self.pad: int = pad if known else next(iter(self.eos), 0)
        self.sampling_params = spec.sampling_params
        self.window = window_of(self.model.config)
        self._texts = TokenTexts(self.tokenizer)

    def info(self, engine: str, *notes: str) -> EngineInfo:
        """Describe the model and its device, with what the engine itself has to note."""
        on_gpu = self.device.type == "cuda"
        return EngineInfo(
            engine=engine,
            model=self.name,
            device=torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads",
            dtype=self._dtype_name,
            parameters=self.parameters,
            notes=(*notes, *self.notes),
        )

    def free(self) -> None:
        """Free the weights, and on a GPU all that torch keeps there unused. Nothing can be generated afterwards."""
        self.model = None
        if self.device.type == "cuda":
            release_memory()

    @property
    def memory_flag(self) -> str:
        """The flag that sets the memory for keys and values."""
        return "--gpu-memory-utilization" if self.device.type == "cuda" else "--kv-gib"

    @property
    def _dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    def generation(self, prompt: Prompt) -> Generation:
        """A generation for the prompt, without tokens yet."""
        return Generation(prompt, self.sampling_params, self._texts, self.eos, self.chat.opens_thought)

    async def warm_up(self, engine: Engine) -> None:
        """Let the engine answer one prompt. Raises StartError if the model is why it cannot."""
        try:
            async for (completion,) in engine.submit([WARM_UP]):
                if completion.error:
                    raise StartError(f"{self.name}: {completion.error}{self._advice(completion.error)}")
        except EngineError as error:
            cause = error.__cause__
            if cause is None or is_fault_of_machine(cause):
                raise
            raise StartError(f"{self.name}: the model fails at its first prompt: {error}") from cause

    def _advice(self, error: str) -> str:
        if error != NOT_FINITE:
            return ""
        advice = "fetch it again, or give another model"
        return f" in {self._dtype_name}; {advice if self.dtype == torch.float32 else f'try --dtype float32, {advice}'}"


def window_of(config: Any) -> int:
    """The most positions of a model; 2^30 if its configuration names none.

    YaRN multiplies the original ones: configurations often still name these as the most.
    """
    config = config.get_text_config()
    most = int(getattr(config, "max_position_embeddings", None) or 1 << 30)
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "yarn":
        return most
    return max(most, int((rope.get("original_max_position_embeddings") or most) * (rope.get("factor") or 1)))
