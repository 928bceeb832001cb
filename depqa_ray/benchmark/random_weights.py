"""Models of a real shape with random weights, to benchmark a model without its checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from depqa_ray.engines.local.devices import torch_device, torch_dtype
from depqa_ray.errors import InputError
from depqa_ray.settings.types import DtypeName

_TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
)
_SHARD: Final = "2GB"  # held twice while it is written


def save_random_model(config_folder: Path, folder: Path, dtype: DtypeName, seed: int) -> None:
    """Save a model of ``config_folder``'s configuration, drawn as transformers initialises it, and its tokenizer.

    Weights are created in their final type, on the GPU if there is one, and written in shards: memory holds them once.
    Raises InputError if the folder has no configuration of a causal LM or no tokenizer.
    """
    if not (config_folder / "config.json").is_file():
        raise InputError("has no config.json", str(config_folder), "give the folder of a model's configuration")
    if not any((config_folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise InputError("has no tokenizer", str(config_folder), "put the model's tokenizer.json beside config.json")
    try:
        config: Any = AutoConfig.from_pretrained(config_folder, trust_remote_code=False)
        torch.manual_seed(seed)
        with torch_device() as device:
            of_type = torch_dtype(dtype, device)
            model: Any = AutoModelForCausalLM.from_config(config, dtype=of_type, trust_remote_code=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, KeyError) as error:
        raise InputError((str(error).strip() or type(error).__name__).splitlines()[0], str(config_folder)) from error
    model.save_pretrained(folder, max_shard_size=_SHARD)
    for name in _TOKENIZER_FILES:
        if (config_folder / name).is_file():
            shutil.copy(config_folder / name, folder / name)
