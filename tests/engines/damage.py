"""What can be wrong with a model's folder, done to a whole one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

NO_SYSTEM_ROLE = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{% endfor %}[model]"
)
"""A template as Gemma's: it refuses a system role."""

SILENT_ON_SYSTEM = "{% for m in messages if m.role == 'user' %}[user]{{ m.content }}{% endfor %}[model]"
"""A template that leaves the system line out."""


def change_config(folder: Path, **values: Any) -> None:
    """Set values of config.json; None removes one."""
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8")) | values
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}), "utf-8")


def change_tensors(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Save the weights as ``change`` returns them."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def drop_tensors(folder: Path, part: str) -> None:
    """Leave out the tensors whose name holds ``part``."""
    change_tensors(folder, lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name})


def prefix_tensors(folder: Path, prefix: str) -> None:
    """Put a prefix before every name."""
    change_tensors(folder, lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()})


def write_nan(folder: Path, part: str, row: int | None = None) -> None:
    """Overwrite the tensors whose name holds ``part``, or one row of them, with NaN of either sign."""

    def overwrite(tensors: dict[str, Any]) -> dict[str, Any]:
        for name, tensor in tensors.items():
            if part in name:
                (tensor if row is None else tensor[row]).view(-1)[0::2] = float("nan")
                (tensor if row is None else tensor[row]).view(-1)[1::2] = -float("nan")
        return tensors

    change_tensors(folder, overwrite)


def split_weights(folder: Path, files: int = 2) -> list[str]:
    """Distribute the weights over several files with an index; returns the files' names."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"model-{number + 1:05}-of-{files:05}.safetensors" for number in range(files)]
    file_of = {tensor: names[number % files] for number, tensor in enumerate(sorted(tensors))}
    for name in names:
        save_file({t: tensors[t] for t in tensors if file_of[t] == name}, folder / name, {"format": "pt"})
    index = {"metadata": {}, "weight_map": file_of}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    return names


def truncate(path: Path, share: float = 0.5) -> None:
    """Keep the first part of a file, as a download does that was cut off."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def remove_tokenizer(folder: Path) -> None:
    """Remove the tokenizer's files: transformers then builds one without vocabulary."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
