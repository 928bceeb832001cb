"""The reader's checkpoint on disk: what transformers' ``from_pretrained`` needs, in bfloat16."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase, Qwen3ForCausalLM


def save_checkpoint(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights, configuration, greedy generation settings and tokenizer; the model itself stays as it is."""
    small = deepcopy(model)
    small.bfloat16()
    small.config.eos_token_id = tokenizer.eos_token_id
    small.config.pad_token_id = tokenizer.pad_token_id
    small.config.dtype = torch.bfloat16
    small.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    small.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
