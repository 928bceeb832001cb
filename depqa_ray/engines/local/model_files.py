"""Looks at a model's files before they are loaded: what is missing, damaged or of another kind. Imports no torch."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from depqa_ray import hub
from depqa_ray.errors import StartError
from depqa_ray.reader import weights_folder
from depqa_ray.settings.types import EMBEDDED

MODEL_ADVICE: Final = (
    f"give a folder with a causal LM in safetensors, a hub id that this machine can reach, or --model-name {EMBEDDED}"
)
"""The advice if there is no better one."""

_WEIGHTS: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_JSON: Final = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    _INDEX,
)
_TOKENIZER: Final = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
_LONGEST_HEADER: Final = 100_000_000  # safetensors' own bound, in bytes


class UnusableModelError(Exception):
    """A model cannot be used, on whichever machine: ``reason`` says why, ``fix`` what the user can do."""

    def __init__(self, reason: str, fix: str = MODEL_ADVICE) -> None:
        super().__init__(f"{reason}; {fix}")

    def of(self, model_name: str) -> StartError:
        """The error that names the model, for the user."""
        return StartError(f"cannot load the model {model_name!r}: {self}")


def model_source(model_name: str, revision: str = "") -> Path:
    """The folder that a model is loaded from. ``revision`` is the commit of a hub's model.

    Raises UnusableModelError, or InputError if the hub does not give it.
    """
    if model_name == EMBEDDED:
        return weights_folder()
    folder = Path(model_name)
    if folder.is_dir():
        return folder
    if folder.is_absolute() or model_name.startswith((".", "~")) or len(folder.parts) > 2:
        raise UnusableModelError("there is no such folder")
    return hub.model_folder(model_name, revision)


def require_whole(model_name: str) -> None:
    """Raise StartError if a file of the model in a folder is missing or damaged. Reads no weights."""
    try:
        check_files(Path(model_name))
    except UnusableModelError as error:
        raise error.of(model_name) from error


def check_files(folder: Path) -> None:
    """Raises UnusableModelError if a file that the model needs is missing or damaged. Reads no weights."""
    read_config(folder)
    if (folder / "adapter_config.json").is_file():
        raise UnusableModelError(
            f"{folder} holds an adapter (adapter_config.json), not a whole model", "merge it into its base model"
        )
    for name in _JSON:
        if (folder / name).is_file():
            read_json(folder / name)
    for path in weight_files(folder):
        _check_safetensors(path)


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration in a folder, as its file has it. Raises UnusableModelError if there is none."""
    if not (folder / "config.json").is_file():
        raise UnusableModelError(f"{folder} has no config.json{_what_is_there(folder)}")
    return read_json(folder / "config.json")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises UnusableModelError if it holds none."""
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UnusableModelError(f"{path} is damaged: it is not JSON", _refetch(path)) from error
    if not isinstance(found, dict):
        raise UnusableModelError(f"{path} is damaged: it holds no JSON object", _refetch(path))
    return found


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model, all of them there. Raises UnusableModelError if there are none or one lacks."""
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    if not (folder / _INDEX).is_file():
        raise UnusableModelError(f"{folder} has neither {_WEIGHTS} nor {_INDEX}{_what_is_there(folder)}")
    of_tensors = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(of_tensors, dict) or not of_tensors:
        raise UnusableModelError(f"{folder / _INDEX} is damaged: it names no files", _refetch(folder / _INDEX))
    names = sorted({str(name) for name in of_tensors.values()})
    missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if missing:
        raise UnusableModelError(f"{folder} lacks {examples(missing)}, named in {_INDEX}", "fetch or copy it again")
    return [folder / name for name in names]


def missing_tokenizer_files(folder: Path) -> str:
    """A remark if a folder has no file with a vocabulary; "" if it has one."""
    if any(path.name in _TOKENIZER or path.suffix in (".model", ".tiktoken") for path in folder.iterdir()):
        return ""
    return f" ({folder} has none of {', '.join(_TOKENIZER)})"


def examples(names: Iterable[str], most: int = 3) -> str:
    """The first few names, and the number of the others."""
    ordered = sorted(names)
    more = len(ordered) - most
    return ", ".join(ordered[:most]) + (f" and {more} more" if more > 0 else "")


def one_line(error: BaseException) -> str:
    """An error's text in one line, shortened; its type if it has none."""
    text = textwrap.shorten(str(error), 300)
    return f"{type(error).__name__} {text}".strip() if isinstance(error, KeyError) or not text else text


def _check_safetensors(path: Path) -> None:
    """Compare a file's size with what its header says: finds files that were cut off or overwritten."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if 2 <= length <= min(size - 8, _LONGEST_HEADER) else b""
    try:
        tensors = [entry for name, entry in json.loads(header).items() if name != "__metadata__"]
        needed = 8 + length + max((int(entry["data_offsets"][1]) for entry in tensors), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UnusableModelError(f"{path} is damaged: it has no whole safetensors header", _refetch(path)) from error
    if size != needed:
        raise UnusableModelError(f"{path} is damaged: it has {size:,} bytes instead of {needed:,}", _refetch(path))


def _refetch(path: Path) -> str:
    """The advice for a damaged file. The hub's cache links to it: only deleting the file itself fetches it again."""
    return f"delete {path.resolve()} and run again" if path.is_symlink() else "copy or fetch it again"


def _what_is_there(folder: Path) -> str:
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return f", only {examples(names)}" if names else ": it is empty"
